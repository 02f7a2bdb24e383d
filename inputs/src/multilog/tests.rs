//! Tests of the follower: each thing that multilog does to its directory, alone, then the real multilog and crashes.

use kit::Random;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use Step::*;

use super::*;
use crate::input::Bell;
use crate::input::FRAMES_MAX;
use crate::record::Timestamp;

/// What happens to the directory, or to the follower. Labels and names are numbers here.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// Lines appended to `current`: `7a` is `a` with the label 7; what has no number is written as it is.
    Write(&'a str),
    /// The same without the last LF.
    WriteHalf(&'a str),
    /// `current` becomes `previous`, and is made anew.
    Shift,
    /// `previous` becomes the old file of this number and ending.
    Name(u64, &'a str),
    /// Both.
    Rotate(u64),
    /// What a processor makes of `previous`: the old file of this number, with these lines.
    Process(u64, &'a str),
    /// The old file of this number is deleted.
    Delete(u64),
    DeleteCurrent,
    TruncateCurrent,
    /// Polled until nothing more comes; ends a group of what is wanted.
    Poll,
    /// The same; it ends in the error that lines have no labels.
    Refused,
    /// The follower is dropped, and one made from its last cursor polls on. The last batch was committed.
    Restart,
    /// As above, but the last polled group was not committed.
    Crash,
}

fn label(number: u64) -> String {
    format!("@{:016x}{:08x}", (1u64 << 62) + 10 + number, 500)
}

fn labelled(text: &str) -> String {
    let line = |line: &str| {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        match line[..digits].parse() {
            Ok(number) => format!("{} {}\n", label(number), &line[digits..]),
            Err(_) => format!("{line}\n"),
        }
    };
    text.split(' ').map(line).collect()
}

struct Log {
    dir: tempfile::TempDir,
}

impl Log {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path("current")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn old(&self, number: u64, end: &str) -> PathBuf {
        self.path(&format!("{}{end}", label(number)))
    }

    fn change(&self, step: Step) {
        match step {
            Write(text) => self.append(&labelled(text)),
            WriteHalf(text) => self.append(labelled(text).trim_end_matches('\n')),
            Shift => {
                fs::rename(self.path("current"), self.path("previous")).unwrap();
                self.append("");
            }
            Name(number, end) => {
                fs::hard_link(self.path("previous"), self.old(number, end)).unwrap();
                fs::remove_file(self.path("previous")).unwrap();
            }
            Rotate(number) => {
                self.change(Shift);
                self.change(Name(number, ".s"));
            }
            Process(number, text) => {
                fs::write(self.old(number, ".s"), labelled(text)).unwrap();
                fs::remove_file(self.path("previous")).unwrap();
            }
            Delete(number) => fs::remove_file(self.old(number, ".s")).unwrap(),
            DeleteCurrent => fs::remove_file(self.path("current")).unwrap(),
            TruncateCurrent => fs::write(self.path("current"), "").unwrap(),
            Poll | Refused | Restart | Crash => {}
        }
    }
}

/// Polls until nothing more comes; the last cursor is left in `batch`.
fn poll_all(follower: &mut Follower, batch: &mut Batch, lines: &mut Vec<String>) -> Result<Progress, input::Error> {
    for _ in 0..100_000 {
        let progress = follower.refill(Timestamp(1).into(), batch)?;
        assert!(batch.len() <= FRAMES_MAX);
        lines.extend(batch.lines().zip(batch.records()).map(|(line, record)| {
            let line = String::from_utf8_lossy(line).into_owned();
            let cut = if record.truncated { "…" } else { "" };
            format!("{}{cut}", line.split_once(' ').unwrap().1)
        }));
        if progress != Progress::More {
            return Ok(progress);
        }
    }
    panic!("it never comes to rest");
}

fn cursor(batch: &Batch) -> Option<Start> {
    batch.cursor.clone().map(Start::Cursor)
}

/// Does the steps and compares the lines: those of a poll have spaces between them, polls have `|`. Returns how
/// many gaps were counted.
#[track_caller]
fn check(start: Start, steps: &[Step], want: &str) -> u64 {
    let log = Log { dir: tempfile::tempdir().unwrap() };
    let follow = |start: Start| Follower::new(log.dir.path().to_owned(), start, Parser::default());
    let mut follower = follow(start.clone());
    let (mut committed, mut before) = (start.clone(), start);
    let (mut gaps, mut batch, mut groups) = (0, Batch::default(), Vec::new());
    for &step in steps {
        log.change(step);
        match step {
            Poll | Refused => {
                let mut lines = Vec::new();
                let end = poll_all(&mut follower, &mut batch, &mut lines);
                assert_eq!(end.is_err(), matches!(step, Refused), "{end:?}, {steps:?}");
                assert!(end.is_ok() || batch.is_empty() && batch.cursor.is_none());
                groups.push(lines.join(" "));
                before = committed.clone();
                committed = cursor(&batch).unwrap_or(committed);
            }
            Restart | Crash => {
                if matches!(step, Crash) {
                    committed = before.clone();
                }
                gaps += follower.counters().gaps;
                follower = follow(committed.clone());
            }
            _ => {}
        }
    }
    assert_eq!(groups.join("|"), want, "{steps:?}");
    gaps + follower.counters().gaps
}

const NEW: Start = Start::Beginning;

#[test]
fn reads_what_is_written() {
    assert_eq!(check(NEW, &[Write("1a 2b"), Poll, Poll, Write("2c"), Poll], "a b||c"), 0);
    assert_eq!(check(NEW, &[Poll, Write("1a"), Poll], "|a"), 0);
    assert_eq!(check(NEW, &[WriteHalf("1a"), Poll, Write("x 2b"), Poll], "|ax b"), 0);
    assert_eq!(check(NEW, &[Write("1a"), Rotate(1), Write("2b"), Rotate(2), Write("3c"), Poll], "a b c"), 0);
    assert_eq!(check(NEW, &[Write("1a\r 2b\r"), Poll], "a b"), 0);
}

#[test]
fn begins_where_it_is_told() {
    let end = |steps: &[Step], want| assert_eq!(check(Start::Now, steps, want), 0);
    end(&[Write("1a 2b"), Poll, Write("2c"), Poll], "|c");
    end(&[Write("1a"), WriteHalf("2b"), Poll, Write("x"), Poll], "|bx");
    end(&[Poll, Write("1a"), Poll], "|a");
    end(&[Poll, Write("1a"), Restart, Poll], "|a");
    end(&[Write("1a"), Rotate(1), Poll, Write("1b"), Poll], "|b");
    end(&[Write("1a"), Rotate(1), DeleteCurrent, Poll, Write("1b"), Poll], "|b");
    end(&[Write("1a"), Shift, Poll, Write("1b"), Poll], "|b");
    // Every one of these is at a place that a restart must find again.
    end(&[Write("1a 2b"), Poll, Restart, Write("2c"), Poll], "|c");
    end(&[Write("1a 2b"), Rotate(2), Write("2c 2d"), Poll, Restart, Write("2e"), Poll], "|e");
    end(&[Write("2a"), Rotate(2), Write("2b"), Rotate(3), Write("2c"), Poll, Restart, Write("2d"), Poll], "|d");
    end(&[Write("1a"), Rotate(1), Poll, Restart, Write("1b"), Poll], "|b");
    end(&[Write("1a"), Shift, Process(1, "x"), Poll, Restart, Write("1b"), Poll], "|b");
    end(&[Write("1a"), Shift, Process(1, "x"), Poll, Write("1b"), Rotate(2), Restart, Write("2c"), Poll], "|b c");
}

#[test]
fn finishes_the_old_file_first() {
    let live = |steps: &[Step], want| assert_eq!(check(NEW, steps, want), 0);
    live(&[Write("1a"), Poll, Write("2b"), Rotate(2), Write("3c"), Poll], "a|b c");
    live(&[Write("1a"), Poll, Write("2b"), Shift, Write("3c"), Poll, Name(3, ".s"), Write("4d"), Poll], "a|b c|d");
    live(&[Write("1a"), Poll, Shift, Poll, Write("2b"), Name(2, ".s"), Poll], "a||b");
    let thrice = [Write("1a"), Poll, Write("1b"), Rotate(1), Write("2c"), Rotate(2), Write("3d"), Rotate(3), Poll];
    live(&thrice, "a|b c d");
    live(&[Write("1a"), Poll, Rotate(1), Rotate(2), Rotate(3), Write("4b"), Poll], "a|b");
    // An outage, or a kill, and a new multilog.
    live(&[Write("1a"), Poll, Write("2b"), Shift, Name(3, ".u"), Write("3c"), Poll], "a|b c");
}

#[test]
fn goes_on_after_a_restart() {
    let restarts = |steps: &[Step], want| assert_eq!(check(NEW, steps, want), 0);
    restarts(&[Write("1a"), Poll, Restart, Poll, Write("2b"), Poll], "a||b");
    restarts(&[Write("1a"), Poll, Write("2b"), Poll, Crash, Poll], "a|b|b");
    restarts(&[Write("1a"), Poll, Write("1b"), Rotate(1), Write("2c"), Restart, Poll], "a|b c");
    restarts(&[Write("1a"), Poll, Write("2b"), Shift, Write("3c"), Restart, Poll], "a|b c");
    let twice = [Write("1a"), Poll, Write("2b"), Rotate(2), Write("3c"), Rotate(3), Write("4d"), Restart, Poll];
    restarts(&twice, "a|b c d");
    restarts(&[Write("1a"), Rotate(1), Poll, Restart, Write("2b"), Poll], "a|b");
    restarts(&[Write("1a"), Poll, Rotate(1), DeleteCurrent, Restart, Poll, Write("2b"), Poll], "a||b");
}

#[test]
fn counts_lines_of_one_label() {
    let restarts = |steps: &[Step], want| assert_eq!(check(NEW, steps, want), 0);
    restarts(&[Write("1a 1b"), Poll, Write("1c"), Restart, Poll], "a b|c");
    restarts(&[Write("1a 1b"), Poll, Write("1c"), Rotate(1), Write("1d 2e"), Restart, Poll], "a b|c d e");
    // The label goes on in the file behind the one that is named so.
    restarts(
        &[Write("1a"), Rotate(1), Write("1b"), Poll, Restart, Write("1c"), Rotate(2), Write("2d"), Poll],
        "a b|c d",
    );
    restarts(&[Write("1a"), Poll, Write("1b"), Poll, Crash, Rotate(1), Write("1c"), Poll], "a|b|b c");
    // What multilog had read, but not written, when it named the file.
    restarts(&[Write("1a"), Rotate(5), Write("3b 4c"), Poll, Restart, Write("4d"), Poll], "a b c|d");
}

#[test]
fn a_clock_that_was_set_back_loses_nothing() {
    assert_eq!(check(NEW, &[Write("8a"), Poll, Write("2b"), Restart, Poll, Write("3c"), Poll], "a|b|c"), 0);
    assert_eq!(check(NEW, &[Write("8a"), Poll, Write("2b"), Rotate(3), Write("4c"), Restart, Poll], "a|b c"), 0);
    assert_eq!(check(NEW, &[Write("8a"), Poll, Write("2b"), Rotate(3), Write("4c"), Poll], "a|b c"), 0);
}

#[test]
fn what_was_deleted_is_a_gap() {
    let deleted = [Write("1a"), Poll, Write("2b"), Rotate(2), Write("3c"), Rotate(3), Write("4d"), Delete(2)];
    assert_eq!(check(NEW, &[&deleted[..], &[Restart, Poll, Restart, Poll]].concat(), "a|c d|"), 1);
    assert_eq!(check(NEW, &[&deleted[..], &[Poll]].concat(), "a|b c d"), 1, "who has it open still reads it");
    assert_eq!(check(NEW, &[&deleted[..], &[Delete(3), Restart, Poll]].concat(), "a|d"), 1);
    // Truncated by an outage: the line of the cursor is gone, all that is there is later.
    assert_eq!(check(NEW, &[Write("1a 2b"), Poll, TruncateCurrent, Restart, Write("3c"), Poll], "a b|c"), 1);
    assert_eq!(check(NEW, &[Write("1a 1b"), Poll, TruncateCurrent, Write("2c"), Poll], "a b|c"), 0);
}

#[test]
fn what_was_processed_is_read_as_far_as_it_has_labels() {
    // While it is followed nothing is lost.
    let live = |steps: &[Step], want| assert_eq!(check(NEW, steps, want), 0);
    live(&[Write("1a"), Poll, Write("2b"), Shift, Poll, Process(3, "2b"), Write("4c"), Poll], "a|b|c");
    live(&[Write("1a"), Poll, Write("2b"), Shift, Process(3, "1a 2b"), Write("4c"), Poll], "a|b c");
    live(&[Write("1a"), Poll, Write("2b"), Shift, Process(3, "gz"), Write("2c"), Poll], "a|b c");
    live(&[Write("1a"), Poll, Write("2b"), Shift, Process(3, "2b"), Write("2c"), Poll], "a|b c");
    // The file before has a later name than any line of ours.
    let named = [Write("1a"), Rotate(9), Write("2b"), Poll, Shift, Process(10, "2b"), Write("3c"), Poll];
    live(&named, "a b|c");
    // While nobody was there, what the processor left is all there is.
    let away = |steps: &[Step], want| assert_eq!(check(NEW, steps, want), 1, "{steps:?}");
    away(&[Write("1a"), Poll, Write("2b"), Shift, Process(3, "2b"), Write("4c"), Restart, Poll], "a|b c");
    away(&[Write("1a 2b"), Poll, Shift, Process(3, "1a"), Write("4c"), Restart, Poll], "a b|c");
    let gzip = [Write("1a"), Poll, Write("2b"), Shift, Process(3, "gz gz"), Write("4c"), Restart, Poll];
    assert_eq!(check(NEW, &gzip, "a|c"), 2, "its cursor is not found, and it cannot be read");
    assert_eq!(check(NEW, &[Write("1a"), Poll, Shift, Process(3, "1a"), Write("4c"), Restart, Poll], "a|c"), 0);
}

#[test]
fn half_a_line_at_the_end_of_a_file_is_cut() {
    // A line longer than what is left of the file, and one that an outage ended.
    let long = [Write("1a"), WriteHalf("2b"), Poll, Rotate(3), Write("rest 4c"), Poll, Restart, Poll];
    assert_eq!(check(NEW, &long, "a|b… c|"), 0);
    let outage = [Write("1a"), WriteHalf("2b"), Poll, Rotate(3), Write("4c"), Poll, Restart, Write("5d"), Poll];
    assert_eq!(check(NEW, &outage, "a|b… c|d"), 0);
    let between = [Write("1a"), WriteHalf("2b"), Rotate(3), Poll, Restart, Write("4c"), Poll];
    assert_eq!(check(NEW, &between, "a b…|c"), 0);
    let zeros = [Write("1a"), WriteHalf("\0\0"), Poll, Shift, Name(3, ".u"), Write("4c"), Poll];
    assert_eq!(check(NEW, &zeros, "a|c"), 1);
}

#[test]
fn lines_without_labels_are_refused() {
    assert_eq!(check(NEW, &[Write("a b"), Refused, Refused, Write("1c"), Poll, Restart, Poll], "||c|"), 0);
    assert_eq!(check(NEW, &[Write("1a x"), Refused], "a"), 0);
    assert_eq!(check(Start::Now, &[Write("a b"), Refused, Write("1c"), Poll], "|c"), 0);
    assert_eq!(check(NEW, &[Write("a"), Refused, Rotate(1), Write("2b"), Poll], "|b"), 1);
    // Of an old file nobody can say who wrote it.
    assert_eq!(check(NEW, &[Write("a 1b"), Rotate(1), Write("2c"), Poll], "b c"), 1);
}

#[test]
fn says_what_is_wrong() {
    let log = Log { dir: tempfile::tempdir().unwrap() };
    let path = log.dir.path();
    let says = |path: PathBuf, want: &str| {
        let mut follower = Follower::new(path.clone(), Start::Now, Parser::default());
        for _ in 0..2 {
            let said = follower.refill(Timestamp(0).into(), &mut Batch::default()).unwrap_err().to_string();
            assert_eq!(said.replace(&path.display().to_string(), "PATH"), want);
        }
    };
    log.append("Server listening on 0.0.0.0 port 22.\r\n");
    says(
        path.to_owned(),
        "PATH/current has lines without time; make `t` the first action of multilog, as in `multilog t PATH`, and start it again",
    );
    says(
        path.join("current"),
        "PATH is no directory; name the directory that multilog writes, the one that holds `current`",
    );
    let mut follower = Follower::new(path.join("none"), Start::Now, Parser::default());
    assert_eq!(follower.refill(Timestamp(0).into(), &mut Batch::default()).unwrap(), Progress::Missing(ABSENT));
    assert!(follower.wake().within <= Duration::from_millis(250));
}

#[test]
fn strangers_links_are_not_followed() {
    let log = Log { dir: tempfile::tempdir().unwrap() };
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), labelled("1secret")).unwrap();
    std::os::unix::fs::symlink(secret.path(), log.old(1, ".s")).unwrap();
    log.append(&labelled("2a"));
    let mut follower = Follower::new(log.dir.path().to_owned(), NEW, Parser::default());
    let mut lines = Vec::new();
    poll_all(&mut follower, &mut Batch::default(), &mut lines).unwrap();
    assert_eq!(lines, ["a"]);
}

#[test]
fn a_batch_is_bounded_and_its_cursor_exact() {
    let log = Log { dir: tempfile::tempdir().unwrap() };
    log.append(&labelled(&vec!["1x"; 2 * FRAMES_MAX + 1].join(" ")));
    let mut follower = Follower::new(log.dir.path().to_owned(), NEW, Parser::default());
    let mut batch = Batch::default();
    for (frames, lines) in [(FRAMES_MAX, 1000), (FRAMES_MAX, 2000), (1, 2001), (0, 2001)] {
        follower.refill(Timestamp(0).into(), &mut batch).unwrap();
        let Some(Cursor::Multilog(cursor)) = batch.cursor else { panic!() };
        assert_eq!((batch.len(), cursor.lines, cursor.label.to_string()), (frames, lines, label(1)));
    }
}

#[test]
fn a_cursor_is_text() {
    let cursor = Cursor::Multilog(MultilogCursor { label: Label::leading(label(1).as_bytes()).unwrap(), lines: 2 });
    let json = r#"{"kind":"multilog","label":"@400000000000000b000001f4","lines":2}"#;
    assert_eq!(serde_json::to_string(&cursor).unwrap(), json);
    assert_eq!(serde_json::from_str::<Cursor>(json).unwrap(), cursor);
    for bad in ["", "@", "@400000000000000b000001f", "@400000000000000B000001f4", "@400000000000000b000001f4 "] {
        assert!(serde_json::from_str::<Label>(&format!("{bad:?}")).is_err(), "{bad}");
    }
}

/// Who writes the directory.
#[derive(Clone, Copy, Debug)]
enum Writer {
    Multilog,
    /// With a processor, which changes nothing.
    Processed,
    Svlogd,
}

/// A multilog that is killed with this value: without its directory it would wait for ever.
struct Multilog(std::process::Child);

impl Multilog {
    fn new(writer: Writer, path: &Path) -> Self {
        let command = match writer {
            Writer::Multilog => &["multilog", "t", "s4096", "n20"][..],
            Writer::Processed => &["multilog", "t", "s4096", "n20", "!cat"],
            Writer::Svlogd => {
                fs::create_dir_all(path).unwrap();
                fs::write(path.join("config"), "s4096\nn20\n").unwrap();
                &["svlogd", "-t"]
            }
        };
        let mut process = Command::new(command[0]);
        let process =
            process.args(&command[1..]).arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Multilog(process.spawn().unwrap())
    }

    /// Ends it in good order.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Multilog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_there(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin", "/command"].iter().any(|at| Path::new(at).join(program).is_file())
}

/// Follows while a real multilog writes and rotates, and is killed at random: each line once and in order.
///
/// Line N is written when line N - `ahead` is committed: one that is deleted unread is lost to any reader.
fn torture(seed: u64, lines: u64, by: Writer) {
    const AHEAD: u64 = 400; // and as much again; 20 files have 1000 lines
    println!("seed {seed}, {by:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut random = Random::seeded(seed);
    let mut writer = Multilog::new(by, &path);
    let bell = Bell::new().unwrap();
    let (mut written, mut next, mut kills, mut restarts) = (0, 0, 0, 0);
    let mut follower = Follower::new(path.clone(), NEW, Parser::default());
    let (mut start, mut batch, mut pending) = (NEW, Batch::default(), Vec::new());
    let (mut gaps, mut rotations) = (0, 0);
    while next < lines {
        if written < lines && written < next + AHEAD {
            let count = 1 + random.below(AHEAD).min(lines - written - 1);
            let text: String = (written..written + count).map(|n| format!("line {n}\r\n")).collect();
            writer.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
            written += count;
            // Now and then it ends and is started again; it goes on with `current`.
            if random.below(20) == 0 {
                writer.end();
                writer = Multilog::new(by, &path);
                restarts += 1;
            }
        }
        let progress = follower.refill(Timestamp(0).into(), &mut batch).unwrap();
        pending.extend(batch.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        if random.below(10) < 7 {
            for line in pending.drain(..) {
                assert_eq!(
                    line.split_once(' ').unwrap().1,
                    format!("line {next}"),
                    "seed {seed}, {kills} kills, {:?}",
                    follower.counters()
                );
                next += 1;
            }
            start = cursor(&batch).unwrap_or(start);
        }
        if random.below(6) == 0 {
            pending.clear();
            kills += 1;
            gaps += follower.counters().gaps;
            rotations += follower.counters().rotations;
            follower = Follower::new(path.clone(), start.clone(), Parser::default());
        } else if progress != Progress::More {
            bell.wait(Wake { within: Duration::from_millis(5), ..follower.wake() });
        }
    }
    writer.end();
    rotations += follower.counters().rotations;
    println!("{lines} lines, {kills} kills, {rotations} rotations seen, {restarts} restarts of multilog");
    assert_eq!((next, gaps + follower.counters().gaps), (lines, 0), "seed {seed}");
}

#[test]
fn survives_the_real_multilog() {
    if !is_there("multilog") {
        let strict = nix::unistd::geteuid().is_root() || std::env::var("CI").as_deref() == Ok("true");
        assert!(!strict, "there is no multilog; install Debian's daemontools");
        println!("skipped: no multilog (Debian: daemontools)");
        return;
    }
    let seed = Random::new().number();
    torture(seed, 10_000, Writer::Multilog);
    torture(seed, 10_000, Writer::Processed);
    if is_there("svlogd") {
        torture(seed, 10_000, Writer::Svlogd);
    }
}

/// `cargo test --release -p inputs -- --ignored multilog_at_length`
#[test]
#[ignore = "minutes"]
fn multilog_at_length() {
    let seed = Random::new().number();
    for n in 0..100 {
        torture(seed.wrapping_add(n), 10_000, if n % 4 == 0 { Writer::Multilog } else { Writer::Processed });
    }
}
