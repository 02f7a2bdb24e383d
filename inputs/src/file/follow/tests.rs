//! Tests of the follower: each way a file can change under it, alone, then all at random with crashes.

use kit::Random;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use Step::*;
use tempfile::TempDir;

use super::*;
use crate::input::Bell;
use crate::record::{LINE_MAX, Timestamp};

/// What happens to `auth.log`, or to the follower.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// Appended, by a writer who opens the file by its name, and makes it if need be.
    Append(&'a str),
    /// Appended to `auth.log.1`.
    AppendOld(&'a str),
    /// Renamed to `auth.log.1`, that one to `auth.log.2` and so on.
    Rename,
    /// Made anew, empty.
    Create,
    /// Truncated to this many bytes.
    Truncate(u64),
    Delete,
    DeleteOld,
    /// Becomes a link to the file of this name.
    Link(&'a str),
    /// Appended to the file of this name.
    AppendTo(&'a str, &'a str),
    /// Written to another name, which takes the log's.
    Replace(&'a str),
    /// Truncated, and written anew.
    Rewrite(&'a str),
    /// Polled until nothing more comes; ends a group of what is wanted.
    Poll,
    /// The follower is dropped, and one made from its last cursor polls on. The last batch was committed.
    Restart,
    /// As above, but the last polled group was not committed.
    Crash,
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Renames the log to `.1` and its elders one further, as logrotate does.
fn shift(path: &Path) {
    let name = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    let free = (1..).find(|&n| !name(n).exists()).unwrap();
    for n in (1..free).rev() {
        fs::rename(name(n), name(n + 1)).unwrap();
    }
    fs::rename(path, name(1)).unwrap();
}

/// Whenever the follower waits for a file to be at rest, a second goes by.
fn poll_all(follower: &mut Follower, batch: &mut Batch, lines: &mut Vec<String>) -> Progress {
    let mut steady = Duration::ZERO;
    for _ in 0..100_000 {
        let progress = follower.refill(Now { wall: Timestamp(1), steady }, batch).unwrap();
        lines.extend(batch.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        match progress {
            Progress::More => {}
            _ if follower.look.is_some() => steady += Duration::from_secs(1),
            _ => return progress,
        }
    }
    panic!("it never comes to rest");
}

/// Does the steps and compares the lines: those of a poll have spaces between them, polls have `|`.
fn check(start: Start, steps: &[Step], want: &str) -> Counters {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let old = dir.path().join("auth.log.1");
    let follow = |start: &Start| Follower::new(path.clone(), start.clone(), Parser::default());
    let mut follower = follow(&start);
    let (mut committed, mut before) = (start.clone(), start.clone());
    let mut counts = Counters::default();
    let mut batch = Batch::default();
    let mut groups = Vec::new();
    for &step in steps {
        match step {
            Append(text) => append(&path, text),
            AppendOld(text) => append(&old, text),
            Rename => shift(&path),
            Create => drop(File::create_new(&path).unwrap()),
            Truncate(size) => File::options().write(true).open(&path).unwrap().set_len(size).unwrap(),
            Delete => fs::remove_file(&path).unwrap(),
            DeleteOld => fs::remove_file(&old).unwrap(),
            AppendTo(name, text) => append(&dir.path().join(name), text),
            Replace(text) => {
                let copy = dir.path().join("copy");
                fs::write(&copy, text).unwrap();
                fs::rename(copy, &path).unwrap();
            }
            Rewrite(text) => fs::write(&path, text).unwrap(),
            Link(name) => {
                let link = dir.path().join("link");
                symlink(name, &link).unwrap();
                fs::rename(link, &path).unwrap();
            }
            Poll => {
                let mut lines = Vec::new();
                poll_all(&mut follower, &mut batch, &mut lines);
                groups.push(lines.join(" "));
                assert_eq!((batch.received, batch.reference), (Timestamp(1), Timestamp(1)));
                before = committed.clone();
                if let Some(Cursor::File(cursor)) = &batch.cursor {
                    committed = Start::Cursor(Cursor::File(cursor.clone()));
                }
            }
            Restart | Crash => {
                if matches!(step, Crash) {
                    committed = before.clone();
                }
                let now = follower.counters();
                counts.gaps += now.gaps;
                follower = follow(&committed);
            }
        }
    }
    assert_eq!(groups.join("|"), want, "{steps:?}");
    let now = follower.counters();
    Counters { gaps: counts.gaps + now.gaps, ..now }
}

#[test]
fn reads_what_is_appended() {
    check(Start::Beginning, &[Append("a\nb\n"), Poll, Poll, Append("c\n"), Poll], "a b||c");
    check(Start::Beginning, &[Poll, Append("a\n"), Poll], "|a");
    check(Start::Beginning, &[Append("a"), Poll, Append("b"), Poll, Append("c\nd"), Poll], "||abc");
    check(Start::Beginning, &[Append("\n\r\n"), Poll], " ");
}

#[test]
fn begins_where_it_is_told() {
    check(Start::Now, &[Append("a\nb\n"), Poll, Append("c\n"), Poll], "|c");
    check(Start::Now, &[Append("a\nhal"), Poll, Append("f\nc\n"), Poll], "|half c");
    check(Start::Now, &[Append("hal"), Poll, Append("f\n"), Poll], "|half");
    check(Start::Now, &[Poll, Append("a\n"), Poll], "|a");
    check(Start::Now, &[Append("a\n"), Poll, Restart, Append("b\n"), Poll], "|b");
    check(Start::Now, &[Create, Poll, Append("a\n"), Poll], "|a");
    let long = format!("a\n{}", "x".repeat(50_000));
    let steps = [Append(&long), Poll, Append("\nb\n"), Poll];
    let cut = format!("|{} b", "x".repeat(LINE_MAX));
    check(Start::Now, &steps, &cut);
}

#[test]
fn finishes_the_old_file_first() {
    check(Start::Beginning, &[Append("a\n"), Poll, Append("b\n"), Rename, Append("c\n"), Poll], "a|b c");
    // The writer still has the old file.
    let steps =
        [Append("a\n"), Poll, Rename, AppendOld("b\n"), Poll, Create, AppendOld("c\n"), Poll, Append("d\n"), Poll];
    assert_eq!(check(Start::Beginning, &steps, "a|b|c|d").rotations, 1);
    let steps = [Append("a\n"), Poll, Append("ha"), Rename, Poll, AppendOld("lf\n"), Poll, Append("b\n"), Poll];
    check(Start::Beginning, &steps, "a||half|b");
    // Twice and thrice between two polls.
    let steps = [Append("a\n"), Poll, Rename, Append("b\n"), Rename, Append("c\n"), Rename, Append("d\n"), Poll];
    assert_eq!(check(Start::Beginning, &steps, "a|b c d").rotations, 3);
}

#[test]
fn half_a_line_is_a_line_once_its_file_is_done() {
    check(Start::Beginning, &[Append("a\nhalf"), Poll, Rename, Poll, Create, Poll, Append("b\n"), Poll], "a|||half b");
    check(
        Start::Beginning,
        &[Create, Poll, Append("a\nhalf"), Rename, Append("b\n"), Poll, Restart, Poll],
        "|a half b|",
    );
    check(Start::Beginning, &[Append("a\nhalf"), Poll, Rename, Append("b\n"), Restart, Poll], "a|half b");
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let counts = check(Start::Beginning, &[Append("a\nb\n"), Poll, Truncate(0), Append("c\n"), Poll], "a b|c");
    assert_eq!((counts.truncations, counts.rotations), (1, 0));
    check(Start::Beginning, &[Append("a\nb\n"), Poll, Truncate(0), Poll, Append("c\nd\n"), Poll], "a b||c d");
    // Grown to the same size, and beyond, between two polls.
    check(Start::Beginning, &[Append("a\nb\n"), Poll, Truncate(0), Append("c\nd\n"), Poll], "a b|c d");
    check(Start::Beginning, &[Append("a\nb\n"), Poll, Truncate(0), Append("c\nd\ne\n"), Poll], "a b|c d e");
    let steps = [Append("a\nb\n"), Poll, Restart, Truncate(0), Append("c\nd\ne\n"), Poll];
    assert_eq!(check(Start::Beginning, &steps, "a b|c d e").gaps, 1);
    // The first line was half there when it was read, and has grown since.
    check(Start::Beginning, &[Append("a"), Poll, Append("b\nc\n"), Poll, Restart, Poll], "|ab c|");
    check(Start::Beginning, &[Append("abc"), Poll, Truncate(0), Append("d\n"), Poll], "|d");
}

#[test]
fn a_new_file_in_the_old_ones_place() {
    check(Start::Beginning, &[Append("a\n"), Poll, Delete, Poll, Append("b\n"), Poll], "a||b");
    check(Start::Beginning, &[Append("a\n"), Poll, Append("b\n"), Delete, Append("c\n"), Poll], "a|b c");
    let steps = [AppendTo("x", "a\n"), Link("x"), Poll, AppendTo("x", "b\n"), AppendTo("y", "c\n"), Link("y"), Poll];
    check(Start::Beginning, &steps, "a|b c");
    let steps =
        [AppendTo("x", "a\n"), Link("x"), Poll, AppendTo("x", "b\n"), AppendTo("y", "c\n"), Link("y"), Restart, Poll];
    assert_eq!(check(Start::Beginning, &steps, "a|b c").gaps, 0);
}

/// What was read is `abcdefgh`, a letter a line. `steps` replace the file, live and while the follower is away; `want`
/// is what is read then.
fn check_copy(steps: &[Step], want: &str) {
    let read = "a\nb\nc\nd\ne\nf\ng\nh\n";
    for away in [&[][..], &[Restart]] {
        // Where it was read from its beginning, by two polls, and where it was there before.
        for (start, before) in [(Start::Beginning, "a b c d e|f g h"), (Start::Now, "|f g h")] {
            let head = [Append(&read[..10]), Poll, Append(&read[10..]), Poll];
            let all: Vec<_> = [&head, away, steps, &[Poll]].concat();
            check(start, &all, &format!("{before}|{want}"));
        }
    }
}

#[test]
fn a_copy_in_the_files_place_is_read_on() {
    let whole = "a\nb\nc\nd\ne\nf\ng\nh\n";
    let longer = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
    for (copy, want) in [
        (whole, ""),
        (longer, "i"),
        ("d\ne\nf\ng\nh\n", ""),     // its oldest lines are gone
        ("d\ne\nf\ng\nh\ni\n", "i"), // and a new one is there
        ("x\ny\n", "x y"),
        ("h\n", "h"), // a try like the last one
    ] {
        check_copy(&[Replace(copy)], want);
        check_copy(&[Rewrite(copy)], want);
        check_copy(&[Delete, Append(copy)], want);
        check_copy(&[Replace("z\n"), Replace(copy)], want);
        // The log was rotated, and a copy of it is kept in its place.
        check_copy(&[Rename, Append(copy)], want);
        // The same with an editor's name for the old one.
        check_copy(&[AppendTo("x", copy), Link("x")], want);
    }
    // Thrice, with a line between.
    let thrice = [Replace(whole), Poll, Append("i\n"), Poll, Rewrite(longer), Poll, Replace(longer), Append("j\n")];
    check_copy(&thrice, "|i||j");
    // What was written behind the copy's back was read, and is not in it.
    check_copy(&[Append("i\n"), Poll, Replace(whole), Append("j\n")], "i|j");
    // Half a line: the copy has the rest of it.
    check_copy(&[Append("ha"), Poll, Replace("e\nf\ng\nh\nhalf\n")], "|half");
    check_copy(&[Append("ha"), Poll, Replace("x\n")], "|ha x");
}

#[test]
fn a_copy_by_hand_and_a_truncation() {
    let new = [Truncate(0), Poll, Append("h\n"), Poll, Append("i\n")];
    check_copy(&new, "|h|i");
    check_copy(&[Truncate(0), Poll, Restart, Append("x\n")], "|x");
    // It is gone, or empty, when the follower comes, and a copy appears.
    let copy = Append("a\nb\nc\nd\ne\nf\ng\nh\ni\n");
    check_copy(&[Delete, Restart, Poll, copy], "|i");
    check_copy(&[Truncate(0), Restart, Poll, copy], "|i");
    check_copy(&[Replace(""), Restart, Poll, copy], "|i");
}

/// A copy that was looked at, and is gone again, says nothing of how long the next one was looked at.
#[test]
fn a_copy_that_is_gone_is_looked_at_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("auth.log"), dir.path().join("copy"));
    append(&path, "a\nb\nc\nd\n");
    let mut follower = Follower::new(path.clone(), Start::Beginning, Parser::default());
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    poll_all(&mut follower, &mut batch, &mut lines);
    assert_eq!(lines.join(""), "abcd");
    let mut poll = |at| {
        let now = Now { wall: Timestamp(1), steady: Duration::from_millis(at) };
        let mut progress = Progress::More;
        let mut lines = Vec::new();
        while progress == Progress::More {
            progress = follower.refill(now, &mut batch).unwrap();
            lines.extend(batch.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        (lines.join(""), follower.look.is_some())
    };
    let put = |text: &str| {
        fs::write(&copy, text).unwrap();
        fs::rename(&copy, &path).unwrap();
    };
    // Half of each is written when it is seen first.
    put("a\nb\n");
    assert_eq!(poll(0), (String::new(), true));
    fs::remove_file(&path).unwrap();
    assert_eq!(poll(10), (String::new(), false), "nothing is looked at");
    put("a\nb\n");
    assert_eq!(poll(5_000), (String::new(), true));
    put("a\n");
    assert_eq!(poll(10_000), (String::new(), true), "another one");
    append(&path, "b\nc\nd\ne\n");
    assert_eq!(poll(10_010), (String::new(), true), "it grows");
    assert_eq!(poll(10_110), ("e".to_owned(), false));
}

/// What was read is `abc`, a letter a line; then it is truncated. So many milliseconds later this is appended, and
/// looked at. What is read by then.
fn check_growing(copy: &[(u64, &str)], want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    append(&path, "a\nb\nc\n");
    let mut follower = Follower::new(path.clone(), Start::Beginning, Parser::default());
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    poll_all(&mut follower, &mut batch, &mut lines);
    lines.clear();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    for (at, text) in copy {
        append(&path, text);
        let now = Now { wall: Timestamp(1), steady: Duration::from_millis(*at) };
        let mut progress = Progress::More;
        while progress == Progress::More {
            progress = follower.refill(now, &mut batch).unwrap();
            lines.extend(batch.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        assert!(follower.look.is_none() || follower.wake().within <= REST);
    }
    assert_eq!(lines.join(" "), want, "{copy:?}");
}

#[test]
fn a_copy_that_is_still_being_written_is_waited_for_and_not_for_ever() {
    check_growing(&[(0, "a\nb\nc\nd\n")], "d");
    check_growing(&[(0, ""), (9, "a\nb\nc\n"), (9, "d\n")], "d");
    check_growing(&[(0, "a\n"), (9, "b\n"), (10, "c\n"), (99, "d\n"), (198, ""), (199, "")], "d");
    check_growing(&[(0, "a\nb\n"), (99, "")], "");
    check_growing(&[(0, "a\nb\n"), (100, "d\n")], "");
    check_growing(&[(0, "a\nb\n"), (100, "d\n"), (200, "")], "d");
    check_growing(&[(0, "x\n"), (99, "")], "");
    check_growing(&[(0, "x\n"), (100, "")], "x");
    let restless: Vec<_> = (0..30).map(|n| (99 * n, "x\n")).collect();
    check_growing(&restless[..21], "");
    check_growing(&restless[..22], &["x"; 22].join(" "));
}

#[test]
fn goes_on_after_a_restart() {
    let counts = |steps: &[Step], want| check(Start::Beginning, steps, want).gaps;
    assert_eq!(counts(&[Append("a\n"), Poll, Restart, Poll, Append("b\n"), Poll], "a||b"), 0);
    assert_eq!(counts(&[Append("a\n"), Poll, Append("b\n"), Poll, Crash, Poll], "a|b|b"), 0);
    assert_eq!(counts(&[Append("a\nha"), Poll, Restart, Append("lf\n"), Poll], "a|half"), 0);
    assert_eq!(counts(&[Append("a\n"), Poll, Append("b\n"), Rename, Append("c\n"), Restart, Poll], "a|b c"), 0);
    assert_eq!(counts(&[Append("a\n"), Poll, Append("b\n"), Rename, Restart, Poll, Append("c\n"), Poll], "a|b|c"), 0);
    let twice = [Append("a\n"), Poll, Rename, Append("b\n"), Rename, Append("c\n"), Restart, Poll];
    assert_eq!(counts(&twice, "a|b c"), 0);
    assert_eq!(counts(&[Append("a\n"), Poll, Rename, Append("b\n"), DeleteOld, Restart, Poll], "a|b"), 1);
    assert_eq!(counts(&[Append("a\n"), Poll, Rename, DeleteOld, Restart, Poll, Append("b\n"), Poll], "a||b"), 1);
    assert_eq!(counts(&[Append("a\n"), Poll, Delete, Append("b\n"), Restart, Poll], "a|b"), 1);
    // Written anew, and then rotated.
    let anew = [Append("a\n"), Poll, Truncate(0), Append("b\n"), Rename, Append("c\n"), Restart, Poll];
    assert_eq!(counts(&anew, "a|b c"), 1);
    // An empty file has no fingerprint to compare.
    assert_eq!(counts(&[Create, Poll, Restart, Append("a\n"), Poll], "|a"), 0);
}

#[test]
fn goes_on_after_a_restart_as_metalog_rotates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("current");
    let (mut batch, mut start) = (Batch::default(), Start::Beginning);
    let mut lines = Vec::new();
    for n in 0..5 {
        append(&path, &format!("{n}a\n"));
        let mut follower = Follower::new(path.clone(), start, Parser::default());
        poll_all(&mut follower, &mut batch, &mut lines);
        assert_eq!(follower.counters().gaps, 0);
        let Some(Cursor::File(cursor)) = &batch.cursor else { panic!() };
        start = Start::Cursor(Cursor::File(cursor.clone()));
        for rotation in 0..2 {
            append(&path, &format!("{n}b{rotation}\n"));
            fs::rename(&path, dir.path().join(format!("log-2026-11-2{n}-00:00:0{rotation}"))).unwrap();
        }
    }
    append(&path, "5a\n");
    poll_all(&mut Follower::new(path.clone(), start, Parser::default()), &mut batch, &mut lines);
    assert_eq!(lines.join(" "), "0a 0b0 0b1 1a 1b0 1b1 2a 2b0 2b1 3a 3b0 3b1 4a 4b0 4b1 5a");
}

#[test]
fn an_inode_that_was_reused_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let check = |text: &str, change: fn(&mut FileCursor), want: &str, gaps| {
        fs::write(&path, text).unwrap();
        let mut open = Open::new(&path).unwrap();
        open.fingerprint.matches(&open.file).unwrap();
        let mut cursor = open.cursor(2);
        change(&mut cursor);
        let mut follower = Follower::new(path.clone(), Start::Cursor(Cursor::File(cursor)), Parser::default());
        let mut lines = Vec::new();
        poll_all(&mut follower, &mut Batch::default(), &mut lines);
        assert_eq!((lines.join(" ").as_str(), follower.counters().gaps), (want, gaps));
    };
    check("a\nb\n", |_| {}, "b", 0);
    check("a\nb\n", |cursor| cursor.fingerprint.hash ^= 1, "a b", 1);
    check("a\nb\n", |cursor| cursor.fingerprint.len = 300, "a b", 1);
    check("a\nb\n", |cursor| cursor.offset = 5, "a b", 1);
    check("a\nb\n", |cursor| cursor.id.device += 1, "a b", 1);
    check("a\nb\n", |cursor| cursor.fingerprint = Fingerprint::default(), "a b", 1);
}

#[test]
fn a_stranger_on_a_reused_inode_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let check = |name: &str, want: &str| {
        let name = dir.path().join(name);
        fs::write(&name, "secret\n").unwrap();
        let cursor = FileCursor { fingerprint: Fingerprint::default(), ..Open::new(&name).unwrap().cursor(0) };
        fs::write(&path, "a\n").unwrap();
        let mut follower = Follower::new(path.clone(), Start::Cursor(Cursor::File(cursor)), Parser::default());
        let mut lines = Vec::new();
        poll_all(&mut follower, &mut Batch::default(), &mut lines);
        assert_eq!(lines.join(" "), want);
    };
    check("other.log", "a");
    check("auth.log.1.gz", "a");
    check("auth.log.1", "secret a");
}

/// What another program read is not read again, also where the log was rotated since.
#[test]
fn goes_on_behind_what_another_program_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let check = |first: &str, bytes: u64, want: Option<&str>| {
        let cursor = behind(&path, first.as_bytes(), bytes).unwrap();
        let lines = cursor.map(|cursor| {
            let mut follower = Follower::new(path.clone(), Start::Cursor(Cursor::File(cursor)), Parser::default());
            let mut lines = Vec::new();
            poll_all(&mut follower, &mut Batch::default(), &mut lines);
            assert_eq!(follower.counters().gaps, 0);
            lines.join(" ")
        });
        assert_eq!(lines.as_deref(), want, "{first} {bytes}");
    };
    check("a", 0, None);
    fs::write(&path, "a\nb\nc\n").unwrap();
    check("a", 0, Some("a b c"));
    check("a", 2, Some("b c"));
    check("a", 3, Some("b c"));
    check("a", 6, Some(""));
    check("a", 7, None);
    check("b", 2, None);
    check("", 2, None);
    fs::rename(&path, dir.path().join("auth.log.1")).unwrap();
    fs::write(&path, "d\n").unwrap();
    check("a", 4, Some("c d"));
    check("d", 2, Some(""));
}

#[test]
fn fingerprints_are_fnv1a() {
    // From the reference's own test vectors.
    assert_eq!(super::super::fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(super::super::fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(super::super::fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_batch_is_bounded_and_its_cursor_exact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    fs::write(&path, "line\n".repeat(2 * FRAMES_MAX + 1)).unwrap();
    let mut follower = Follower::new(path, Start::Beginning, Parser::default());
    let mut batch = Batch::default();
    for (frames, offset) in [(FRAMES_MAX, 5000), (FRAMES_MAX, 10_000), (1, 10_005), (0, 10_005)] {
        follower.refill(Timestamp(0).into(), &mut batch).unwrap();
        let Some(Cursor::File(cursor)) = &batch.cursor else { panic!() };
        assert_eq!((batch.len(), cursor.offset, cursor.fingerprint.len), (frames, offset, 5));
    }
}

fn check_refused(make: fn(&Path), want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    make(&path);
    let refusal =
        |follower: &mut Follower| follower.refill(Timestamp(0).into(), &mut Batch::default()).unwrap_err().to_string();
    let mut follower = Follower::new(path.clone(), Start::Now, Parser::default());
    for _ in 0..2 {
        assert!(refusal(&mut follower).contains(want), "{}", refusal(&mut follower));
    }
    // The same in place of a file that is being followed, which goes on when there is a file again.
    fs::rename(&path, dir.path().join("bad")).unwrap();
    append(&path, "a\n");
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    let mut follower = Follower::new(path.clone(), Start::Beginning, Parser::default());
    poll_all(&mut follower, &mut batch, &mut lines);
    append(&path, "b\n");
    fs::rename(&path, dir.path().join("auth.log.1")).unwrap();
    fs::rename(dir.path().join("bad"), &path).unwrap();
    follower.refill(Timestamp(0).into(), &mut batch).unwrap();
    assert_eq!(batch.len(), 1);
    assert!(refusal(&mut follower).contains(want));
    fs::rename(&path, dir.path().join("bad")).unwrap();
    append(&path, "c\n");
    poll_all(&mut follower, &mut batch, &mut lines);
    assert_eq!(lines, ["a", "c"]);
}

#[test]
fn refuses_what_is_no_file() {
    check_refused(|path| fs::create_dir(path).unwrap(), "auth.log: it is a directory, not a regular file");
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    check_refused(fifo, "auth.log: it is a fifo, not a regular file");
    check_refused(|path| symlink("/dev/null", path).unwrap(), "auth.log: it is a device, not a regular file");
}

/// Waits in a thread, as long as it takes, and fails if `act` does not end it.
fn check_wakes(what: &str, act: impl FnOnce(&Path, Bell)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    append(&path, "a\n");
    let mut follower = Follower::new(path.clone(), Start::Now, Parser::default());
    follower.refill(Timestamp(0).into(), &mut Batch::default()).unwrap();
    follower.wake(); // sets the watches
    let bell = Bell::new().unwrap();
    let ringer = bell.clone();
    let (ended, end) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        bell.wait(Wake { within: Duration::from_secs(600), ..follower.wake() });
        ended.send(()).unwrap();
    });
    act(&path, ringer);
    end.recv_timeout(Duration::from_secs(20)).expect(what);
    thread.join().unwrap();
}

#[test]
fn waits_for_events() {
    check_wakes("the bell", |_, bell| bell.ring());
    check_wakes("many rings", |_, bell| (0..100_000).for_each(|_| bell.ring()));
    check_wakes("a write", |path, _| append(path, "b\n"));
    check_wakes("a truncation", |path, _| File::options().write(true).open(path).unwrap().set_len(0).unwrap());
    check_wakes("a rename", |path, _| shift(path));
    check_wakes("a deletion", |path, _| fs::remove_file(path).unwrap());
    check_wakes("a write after a rename", |path, _| {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        shift(path);
        file.write_all(b"b\n").unwrap();
    });
}

#[test]
fn is_looked_at_though_nothing_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::new(dir.path().join("no/auth.log"), Start::Now, Parser::default());
    for _ in 0..3 {
        let progress = follower.refill(Timestamp(0).into(), &mut Batch::default()).unwrap();
        assert_eq!(progress, Progress::Missing(ABSENT));
        assert!(follower.wake().within <= Duration::from_millis(250));
    }
    follower.watch.without_inotify();
    let wake = follower.wake();
    assert!(wake.fd.is_none() && wake.within <= Duration::from_millis(250));
}

/// How many descriptors of this process are open on files under `dir`.
fn descriptors(dir: &TempDir) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.starts_with(dir.path())).count()
}

#[test]
fn keeps_one_file_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let mut follower = Follower::new(path.clone(), Start::Beginning, Parser::default());
    let (mut batch, mut lines) = (Batch::default(), Vec::new());
    for n in 0..50 {
        append(&path, &format!("{n}\n"));
        poll_all(&mut follower, &mut batch, &mut lines);
        follower.wake();
        assert_eq!(descriptors(&dir), 1);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!((lines.len(), follower.counters().rotations), (50, 49));
    drop(follower);
    assert_eq!(descriptors(&dir), 0);
}

/// How many lines are committed; the writer waits for it where a real one would lose lines.
#[derive(Default)]
struct Committed {
    lines: Mutex<u64>,
    more: Condvar,
}

impl Committed {
    fn wait_for(&self, count: u64) {
        let lines = self.lines.lock().unwrap();
        let (lines, timeout) =
            self.more.wait_timeout_while(lines, Duration::from_secs(30), |lines| *lines < count).unwrap();
        assert!(!timeout.timed_out(), "{lines} of {count} lines committed: the writer waited in vain");
    }
}

/// Writes numbered lines and rotates at random.
struct Writer {
    random: Random,
    path: PathBuf,
    file: File,
    /// The number of the next line.
    next: u64,
    committed: Arc<Committed>,
}

fn open_append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

impl Writer {
    fn write_lines(&mut self, count: u64) {
        for _ in 0..count {
            let line = format!("{}\n", self.next);
            self.next += 1;
            // Now and then in two pieces.
            let cut = if self.random.below(4) == 0 { self.random.below(line.len() as u64) as usize } else { 0 };
            self.file.write_all(&line.as_bytes()[..cut]).unwrap();
            if cut > 0 {
                std::thread::yield_now();
            }
            self.file.write_all(&line.as_bytes()[cut..]).unwrap();
        }
    }

    fn write_some(&mut self, most: u64) {
        let count = self.random.below(most + 1);
        self.write_lines(count);
    }

    fn rename_and_create(&mut self) {
        let is_link = self.path.is_symlink();
        if is_link {
            // Truncated a moment ago, renamed and found under its own name after a crash, it would be a stranger.
            self.write_lines(1);
            self.committed.wait_for(self.next);
        }
        shift(&self.path);
        self.write_some(3);
        let new = open_append(&self.path);
        self.write_some(3);
        if self.random.below(4) == 0 {
            write!(self.file, "{}", self.next).unwrap(); // and no LF ever
            self.next += 1;
        }
        self.file = new;
        self.write_lines(1);
        if is_link {
            self.committed.wait_for(self.next); // as in `delete_and_create`: a link's target has no number
        }
    }

    fn truncate(&mut self) {
        self.committed.wait_for(self.next);
        let size = self.file.metadata().unwrap().len();
        self.file.set_len(0).unwrap();
        if self.random.below(2) == 0 {
            // Regrown beyond the old place.
            while self.file.metadata().unwrap().len() <= size {
                self.write_lines(1);
            }
        }
    }

    fn copy_and_truncate(&mut self) {
        self.committed.wait_for(self.next);
        let (copy, path) = (self.path.with_extension("copy"), self.path.clone());
        fs::copy(&path, &copy).unwrap();
        self.file.set_len(0).unwrap();
        let target = fs::canonicalize(&path).unwrap();
        if target == fs::canonicalize(path.parent().unwrap()).unwrap().join("auth.log") {
            let free = (1..).map(|n| format!("{}.{n}", path.display())).find(|name| !Path::new(name).exists()).unwrap();
            fs::rename(copy, free).unwrap();
        }
    }

    fn delete_and_create(&mut self) {
        self.committed.wait_for(self.next);
        fs::remove_file(&self.path).unwrap();
        self.write_some(0);
        self.file = open_append(&self.path);
        self.write_lines(1);
        self.committed.wait_for(self.next); // else, rotated again, nothing orders it after the one that is gone
    }

    fn swap_link(&mut self) {
        self.committed.wait_for(self.next);
        let target = self.path.with_extension(format!("target{}", self.next));
        let link = self.path.with_extension("link");
        let new = open_append(&target);
        symlink(&target, &link).unwrap();
        fs::rename(&link, &self.path).unwrap();
        self.file = new;
        self.write_lines(1);
        self.committed.wait_for(self.next);
    }

    /// As `sed -i` does, while lines are written that the copy does not have.
    fn replace_by_copy(&mut self) {
        self.write_lines(12); // a copy is known by some lines
        self.committed.wait_for(self.next);
        let (copy, target) = (self.path.with_extension("copy"), fs::canonicalize(&self.path).unwrap());
        fs::copy(&target, &copy).unwrap();
        self.write_some(3);
        self.committed.wait_for(self.next); // nobody finds the old file after a crash
        fs::rename(copy, target).unwrap();
        self.file = open_append(&self.path);
        self.write_lines(1);
        self.committed.wait_for(self.next);
    }

    /// The oldest lines are dropped, in place and not at once.
    fn drop_oldest(&mut self) {
        self.write_lines(12);
        self.committed.wait_for(self.next);
        let text = fs::read_to_string(&self.path).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let kept = lines[self.random.below(lines.len() as u64 - 11) as usize..].concat();
        let cut = self.random.below(kept.len() as u64) as usize;
        self.file.set_len(0).unwrap();
        self.file.write_all(&kept.as_bytes()[..cut]).unwrap();
        std::thread::yield_now();
        self.file.write_all(&kept.as_bytes()[cut..]).unwrap();
        self.write_lines(1);
    }

    fn run(mut self, rotations: u64) -> u64 {
        for _ in 0..rotations {
            let most = if self.random.below(8) == 0 { 3 * FRAMES_MAX as u64 } else { 20 };
            self.write_some(most);
            match self.random.below(9) {
                0..=2 => self.rename_and_create(),
                3 => self.truncate(),
                4 => self.copy_and_truncate(),
                5 => self.delete_and_create(),
                6 => self.replace_by_copy(),
                7 => self.drop_oldest(),
                _ => self.swap_link(),
            }
        }
        self.write_lines(1);
        self.next
    }
}

/// Follows while another thread writes and rotates, and is killed at random: each line once and in order.
fn torture(seed: u64, rotations: u64) {
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.log");
    let committed = Arc::new(Committed::default());
    let (file, shared) = (open_append(&path), committed.clone());

    let mut random = Random::seeded(!seed);
    let mut follower = Follower::new(path.clone(), Start::Beginning, Parser::default());
    let (mut batch, mut pending, mut next) = (Batch::default(), Vec::new(), 0);
    follower.refill(Timestamp(0).into(), &mut batch).unwrap();
    let Some(Cursor::File(cursor)) = &batch.cursor else { panic!("no cursor at the start") };
    let mut start = Start::Cursor(Cursor::File(cursor.clone()));
    let writer = Writer { random: Random::seeded(seed), path: path.clone(), file, next: 0, committed: shared };
    let writer = std::thread::spawn(move || writer.run(rotations));
    let bell = Bell::new().unwrap();
    let (mut idle_after_end, mut kills, mut steady) = (0, 0, Duration::ZERO);
    loop {
        steady += Duration::from_millis(10);
        let progress = follower.refill(Now { wall: Timestamp(0), steady }, &mut batch).unwrap();
        pending.extend(batch.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        if random.below(10) < 7 {
            for line in pending.drain(..) {
                assert_eq!(line, next.to_string(), "seed {seed}, killed {kills} times, {:?}", follower.counters());
                next += 1;
            }
            if let Some(Cursor::File(cursor)) = &batch.cursor {
                start = Start::Cursor(Cursor::File(cursor.clone()));
            }
            *committed.lines.lock().unwrap() = next;
            committed.more.notify_all();
        }
        if random.below(10) == 0 {
            pending.clear();
            kills += 1;
            follower = Follower::new(path.clone(), start.clone(), Parser::default());
        } else if progress != Progress::More {
            if writer.is_finished() {
                idle_after_end += 1;
            }
            if idle_after_end > 20 && pending.is_empty() && follower.look.is_none() {
                break;
            }
            bell.wait(Wake { within: Duration::from_millis(5), ..follower.wake() });
        }
    }
    assert_eq!(writer.join().unwrap(), next, "seed {seed}");
}

#[test]
fn survives_all_rotations_at_random() {
    let seed = Random::new().number();
    for n in 0..4 {
        torture(seed.wrapping_add(n), 40);
    }
}

/// `cargo test --release -p inputs -- --ignored torture_at_length`
#[test]
#[ignore = "minutes"]
fn torture_at_length() {
    let seed = Random::new().number();
    for n in 0..200 {
        torture(seed.wrapping_add(n), 200);
    }
}
