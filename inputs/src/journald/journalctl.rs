//! Follows the journal through a `journalctl` child: for journals of a later systemd than our own reader knows.
//!
//! Promises every entry once that `journalctl` gives. Its traps (systemd 252): `-f` shows only ten entries unless told
//! `--no-tail`, even behind a cursor; `--after-cursor` skips a good entry if the cursor's own is gone, so `--cursor`
//! is used, which includes it, and our own is dropped; `-o json` costs four times what `-o export` does.
//! Between several boxes' journals in a directory its one cursor goes by time: what arrives late while we are not
//! running is lost. A child that ends is started again, after a pause that doubles. One that hangs holds up nobody:
//! whatever it says is read when it comes.

use std::io::{self, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Error;
use super::export::{Export, Stop};
use super::here::has_namespaces;
use crate::cursor::{Cursor, JournalCursor, Place};
use crate::input::{self, Counters, FRAMES_MAX, Input, Now, Progress, Start, Wake};
use crate::record::Batch;

/// What is read from the child at once.
const READ_SIZE: usize = 64 << 10;

/// How many reads of what the child says on standard error a poll does at most.
const READS_MAX: usize = 256;

/// How much of what the child says on standard error is kept.
const SAID_MAX: usize = 500;

/// The pause before a child is started again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What is told of a child that says no more.
const ENDED: &str = "it ended";

/// What the child says on standard error is taken so often at the least.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// A child that has closed its standard output ends so soon that it is waited for.
const ENDS_WITHIN: Duration = Duration::from_millis(10);

/// All that a record is made of; what begins with two underscores comes unasked.
const FIELDS: &str = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_HOSTNAME,_UID,_PID,_TRANSPORT,_COMM";

/// Follows by a child. See the module.
pub(super) struct Journalctl {
    program: PathBuf,
    directory: Option<PathBuf>,
    start: Start,
    last: Option<Place>,
    /// What the cursor had beside `last` when we began.
    volatile: Option<Place>,
    child: Option<Running>,
    /// Not before this time, by the clock that is never set, is a child started again.
    due: Duration,
    pause: Duration,
}

impl Input for Journalctl {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        let progress = self.advance(now, batch);
        let (volatile, places) = (self.volatile, None);
        batch.cursor = self.last.map(|last| Cursor::Journal(JournalCursor { last, volatile, places }));
        Ok(progress?)
    }

    fn wake(&mut self) -> Wake<'_> {
        match &self.child {
            Some(running) if running.ended => Wake { fd: None, within: ENDS_WITHIN },
            running => Wake { fd: running.as_ref().map(|running| running.out.get_ref().as_fd()), within: LISTEN_EVERY },
        }
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl Journalctl {
    pub(super) fn new(directory: Option<PathBuf>, start: Start) -> Self {
        let cursor = match &start {
            Start::Cursor(Cursor::Journal(cursor)) => Some(cursor),
            _ => None,
        };
        Journalctl {
            program: PathBuf::from("journalctl"),
            directory,
            last: cursor.map(|cursor| cursor.last),
            volatile: cursor.and_then(|cursor| cursor.volatile),
            start,
            child: None,
            due: Duration::ZERO,
            pause: PAUSE_MIN,
        }
    }

    #[cfg(test)]
    pub(super) fn program(&mut self, program: PathBuf) {
        self.program = program;
    }

    fn advance(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, Error> {
        let running = match &mut self.child {
            Some(running) => running,
            None if self.due > now.steady => return Ok(Progress::Idle),
            None => match self.begin(now) {
                Ok(running) => self.child.insert(running),
                Err(cause) => {
                    self.end(now);
                    return Err(Error::Journalctl(format!("cannot start it: {cause}")));
                }
            },
        };
        let ended = running.fill(batch, &mut self.last);
        if !batch.is_empty() {
            self.pause = PAUSE_MIN;
        }
        let what = match ended {
            Ok(()) if batch.is_empty() => return Ok(Progress::Pending),
            Ok(()) => return Ok(Progress::More),
            Err(what) => what,
        };
        running.listen();
        let said = running.said.trim_ascii().escape_ascii().to_string();
        if running.asks == Asks::Newest && what == ENDED {
            // Where there is no entry it says 1, and nothing else.
            match running.child.try_wait().ok().flatten() {
                Some(status) if status.success() || said.is_empty() => {
                    self.start = Start::Beginning; // of a journal that is empty now, unless there was an entry
                    self.child = None;
                    return Ok(Progress::More);
                }
                Some(_) => {
                    self.end(now);
                    return Err(Error::Journalctl(said));
                }
                None => {
                    running.ended = true;
                    return Ok(Progress::Pending);
                }
            }
        }
        self.end(now);
        Err(Error::Journalctl(if said.is_empty() { what } else { format!("{what}: {said}") }))
    }

    /// Ends the child, if there is one, and the next is not started at once.
    fn end(&mut self, now: Now) {
        self.child = None;
        self.due = now.steady + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Starts a child: one that follows, or, to begin behind what is there, first one that says what is the last of it.
    fn begin(&self, now: Now) -> io::Result<Running> {
        let mut command = self.command();
        if self.start == Start::Now {
            command.args(["--lines=1", "--output-fields=_UID"]);
            return Running::start(command, Asks::Newest);
        }
        command.args(["--follow", "--no-tail", FIELDS]);
        match (self.last, &self.start) {
            (Some(last), _) => {
                command.arg(format!("--cursor={last}"));
            }
            (None, Start::Back(time)) => {
                command.arg(format!("--since=@{}", now.wall.before(*time).secs().max(0)));
            }
            (None, _) => {}
        }
        Running::start(command, Asks::Entries { own: self.last })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--no-pager", "--output=export"]).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            command.arg("--directory").arg(directory);
        } else if has_namespaces() {
            // Unknown before systemd 245, which has no namespaces.
            command.arg("--namespace=*");
        }
        command
    }
}

/// What a child is there for.
#[derive(PartialEq)]
enum Asks {
    /// The place of the last entry that there is now.
    Newest,
    /// All entries; `own`: the one that we have already, which comes first.
    Entries { own: Option<Place> },
}

/// A child that runs.
struct Running {
    asks: Asks,
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
    export: Export,
    /// The beginning of what it said on standard error.
    said: Vec<u8>,
    /// It has closed its standard output, and has not ended yet.
    ended: bool,
}

impl Running {
    fn start(mut command: Command, asks: Asks) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let out = BufReader::with_capacity(READ_SIZE, out);
        // From here on a failure ends the child, too.
        let running = Running { asks, child, out, err, export: Export::default(), said: Vec::new(), ended: false };
        for fd in [running.out.get_ref().as_fd(), running.err.as_fd()] {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(running)
    }

    /// Takes what there is, as much as fits; says why there will be no more.
    fn fill(&mut self, batch: &mut Batch, last: &mut Option<Place>) -> Result<(), String> {
        self.listen();
        // Each time one entry, or one read.
        for _ in 0..FRAMES_MAX {
            match self.export.read_from(&mut self.out) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => continue,
                Ok(None) => return Err(ENDED.to_owned()),
                Err(Stop::Read(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(Stop::Read(error)) => return Err(error.to_string()),
                Err(Stop::Broken(what)) => return Err(format!("cannot read what it prints: {what}")),
            }
            // Without a cursor of its own an entry could be neither counted nor come back to.
            let place = self.export.place.ok_or("it prints an entry without a cursor")?;
            if let Asks::Entries { own } = &mut self.asks {
                let is_own = |own: Place| (own.seqnum_id, own.seqnum) == (place.seqnum_id, place.seqnum);
                if !own.take().is_some_and(is_own) {
                    self.export.entry.push(batch);
                }
            }
            *last = Some(place);
        }
        Ok(())
    }

    /// Takes what it says on standard error, and keeps the beginning: a pipe that nobody empties would stop it.
    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..READS_MAX {
            match self.err.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => {
                    let room = SAID_MAX - self.said.len();
                    self.said.extend_from_slice(&bytes[..count.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return, // nothing for now
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails if it has ended
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::input::{Bell, Worker};
    use crate::record::{SourceId, Timestamp};

    fn entry(number: u32, message: &str) -> String {
        let id = "00000000000000000000000000000001";
        let realtime = 1_000_000 + number;
        format!(
            "__CURSOR=s={id};i={number:x};b={id};m=1;t={realtime:x};x=1\n__REALTIME_TIMESTAMP={realtime}\nMESSAGE={message}\n\n"
        )
    }

    /// A program in place of `journalctl`, which first writes down how it was called.
    fn program(directory: &Path, script: &str) -> PathBuf {
        fs::write(directory.join("script"), script).unwrap();
        let path = directory.join("program");
        let fake = kit::root().join("tests/kit/fake-journalctl");
        std::os::unix::fs::symlink(fake, &path).unwrap();
        path
    }

    /// Polls until the child ends, and says what it gave and why it ended.
    fn until_end(child: &mut Journalctl, now: Timestamp) -> (Vec<String>, String) {
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        let bell = Bell::new().unwrap();
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        while std::time::Instant::now() < patience {
            let result = child.refill(now.into(), &mut batch);
            all.extend(batch.records().map(|record| record.message.escape_ascii().to_string()));
            match result {
                Ok(Progress::More) => {}
                Ok(_) => bell.wait(child.wake()),
                Err(error) => return (all, error.to_string()),
            }
        }
        panic!("it does not end: {all:?}");
    }

    #[test]
    fn starts_again_behind_the_last_entry() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("out"), entry(1, "one") + &entry(2, "two")).unwrap();
        let script = format!("cat {}; echo no\u{1} more >&2; exit 3", directory.path().join("out").display());
        let mut child = Journalctl::new(Some("/x y".into()), Start::Beginning);
        child.program(program(directory.path(), &script));
        let now = Timestamp::from_secs(1000);
        let (all, error) = until_end(&mut child, now);
        assert_eq!((all, error.as_str()), (vec!["one".into(), "two".into()], r"journalctl: it ended: no\x01 more"));
        // Not at once.
        let mut batch = Batch::default();
        assert_eq!(child.refill(now.into(), &mut batch).unwrap(), Progress::Idle);
        assert!(matches!(&batch.cursor, Some(Cursor::Journal(cursor)) if cursor.last.seqnum == 2));
        // Then with its cursor, whose own entry is dropped.
        fs::write(directory.path().join("out"), entry(2, "two") + &entry(3, "three")).unwrap();
        let (all, _) = until_end(&mut child, now.after(PAUSE_MAX));
        assert_eq!(all, ["three"]);
        // And if that entry is gone, nothing is dropped.
        fs::write(directory.path().join("out"), entry(5, "five")).unwrap();
        let (all, _) = until_end(&mut child, now.after(2 * PAUSE_MAX));
        assert_eq!(all, ["five"]);
        let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
        let calls: Vec<&str> = calls.lines().collect();
        let common = format!("--quiet --no-pager --output=export --directory /x y --follow --no-tail {FIELDS}");
        assert_eq!(calls[0], common);
        let id = "00000000000000000000000000000001";
        assert_eq!(calls[1], format!("{common} --cursor=s={id};i=2;b={id};m=1;t=f4242;x=1"));
        assert_eq!(calls.len(), 3);
    }

    #[test]
    fn begins_where_it_is_told() {
        let check = |start: Start, script: &str, want: &str| {
            let directory = tempfile::tempdir().unwrap();
            let mut child = Journalctl::new(None, start);
            child.program(program(directory.path(), script));
            until_end(&mut child, Timestamp::from_secs(1000));
            let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
            let last = calls.lines().next_back().unwrap();
            assert_eq!(last, format!("--quiet --no-pager --output=export --follow --no-tail {FIELDS}{want}"));
        };
        check(Start::Beginning, "", "");
        check(Start::Back(Duration::from_secs(600)), "", " --since=@400");
        check(Start::Back(Duration::from_secs(6000)), "", " --since=@0");
        check(Start::Now, "exit 1", ""); // there is no entry: from the beginning of what will be
        let id = "00000000000000000000000000000001";
        let script = format!("printf '%s\\n\\n' '__CURSOR=s={id};i=9;b={id};m=1;t=1;x=1'");
        check(Start::Now, &script, &format!(" --cursor=s={id};i=9;b={id};m=1;t=1;x=1"));
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |start: Start, script: &str, want: &str| {
            let directory = tempfile::tempdir().unwrap();
            let mut child = Journalctl::new(None, start);
            child.program(program(directory.path(), script));
            let (_, error) = until_end(&mut child, Timestamp::from_secs(1000));
            assert_eq!(error, want);
        };
        check(Start::Beginning, "echo MESSAGE=x; echo", "journalctl: it prints an entry without a cursor");
        check(Start::Beginning, "echo =x; echo", "journalctl: cannot read what it prints: a field has no name");
        check(Start::Now, "echo you may not >&2; exit 1", "journalctl: you may not");
        let mut child = Journalctl::new(None, Start::Beginning);
        child.program("/nonexistent/journalctl".into());
        let error = child.refill(Timestamp(0).into(), &mut Batch::default()).unwrap_err().to_string();
        assert_eq!(error, "journalctl: cannot start it: No such file or directory (os error 2)");
    }

    #[test]
    fn the_child_goes_with_us() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Journalctl::new(None, Start::Beginning);
        child.program(program(directory.path(), "exec sleep 1000"));
        child.refill(Timestamp(0).into(), &mut Batch::default()).unwrap();
        let pid = child.child.as_ref().unwrap().child.id();
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    /// Whether it hangs before it says where the journal ends or after, a stop does not wait for it.
    #[test]
    fn one_that_hangs_holds_up_no_stop() {
        for start in [Start::Now, Start::Beginning] {
            let directory = tempfile::tempdir().unwrap();
            let mut child = Journalctl::new(None, start);
            child.program(program(directory.path(), "exec sleep 1000"));
            let clock = || Timestamp(0).into();
            let worker = Worker::start("journal", SourceId(0), Box::new(child), clock, |_| true).unwrap();
            let is_called = || fs::exists(directory.path().join("calls")).unwrap();
            while !is_called() {
                std::thread::yield_now();
            }
            worker.reins.stop();
            assert!(worker.wait(Duration::from_secs(30)));
        }
    }
}
