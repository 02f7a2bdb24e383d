//! A thread that follows a file or the journal and hands over what it reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inputs::cursor::Cursor;
use inputs::file::follow as file;
use inputs::file::follow::{Follow, Progress, Waker};
use inputs::journald::follow as journald;
use inputs::multilog;
use inputs::record::{Batch, SourceId};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::{self, FirstEntry, FirstRead, Source};
use crate::text::printable;

/// How long it sleeps when nothing wakes it.
const TIMEOUT: Duration = Duration::from_millis(250);

/// What is followed.
pub enum Tail {
    /// A plain file, or a multilog directory.
    Lines(Box<dyn Follow>),
    /// A journal.
    Journald(Box<journald::Follower>),
}

impl Tail {
    /// A file, from its cursor if there is one.
    pub fn file(settings: &config::File, id: SourceId, cursor: Option<Cursor>) -> anyhow::Result<Self> {
        let start = match (cursor, settings.first_read) {
            (Some(Cursor::File(cursor)), _) => file::Start::Cursor(cursor),
            (_, FirstRead::Now) => file::Start::End,
            (_, FirstRead::Beginning) => file::Start::Beginning,
        };
        Ok(Tail::Lines(Box::new(file::Follower::new(settings.path.clone(), id, start)?)))
    }

    /// A multilog directory, from its cursor if there is one.
    pub fn multilog(settings: &config::Multilog, id: SourceId, cursor: Option<Cursor>) -> anyhow::Result<Self> {
        let start = match (cursor, settings.first_read) {
            (Some(Cursor::Multilog(cursor)), _) => multilog::Start::Cursor(cursor),
            (_, FirstRead::Now) => multilog::Start::End,
            (_, FirstRead::Beginning) => multilog::Start::Beginning,
        };
        Ok(Tail::Lines(Box::new(multilog::Follower::new(settings.path.clone(), id, start)?)))
    }

    /// A journal, from its cursor if there is one.
    pub fn journald(settings: &config::Journald, source: SourceId, cursor: Option<Cursor>) -> anyhow::Result<Self> {
        let start = match (cursor, settings.first_read) {
            (Some(Cursor::Journal(cursor)), _) => journald::Start::Cursor(cursor),
            (_, FirstEntry::Now) => journald::Start::Now,
            (_, FirstEntry::Beginning) => journald::Start::Beginning,
            (_, FirstEntry::Back(time)) => journald::Start::Back(time),
        };
        let (directory, reader) = (settings.directory.clone(), settings.reader);
        let options = journald::Options { source, directory, reader, start };
        Ok(Tail::Journald(Box::new(journald::Follower::new(options)?)))
    }

    fn poll(&mut self, batch: &mut Batch) -> Result<Progress, String> {
        match self {
            Tail::Lines(file) => file.poll(clock::now(), batch).map_err(|error| error.to_string()),
            Tail::Journald(journal) => journal.poll(clock::now(), batch).map_err(|error| error.to_string()),
        }
    }

    fn wait(&mut self) {
        match self {
            Tail::Lines(file) => file.wait(TIMEOUT),
            Tail::Journald(journal) => journal.wait(TIMEOUT),
        }
    }

    fn waker(&self) -> Waker {
        match self {
            Tail::Lines(file) => file.waker(),
            Tail::Journald(journal) => journal.waker(),
        }
    }

    /// What was gone before it was read, or could not be read: entries of a journal; of lines nobody knows how many,
    /// so each time counts one.
    fn lost(&self) -> u64 {
        match self {
            Tail::Lines(file) => file.counts().gaps,
            Tail::Journald(journal) => journal.counts().gaps + journal.counts().damaged,
        }
    }

    /// Files that cannot be read while others can.
    fn unreadable(&self) -> u64 {
        match self {
            Tail::Lines(_) => 0,
            Tail::Journald(journal) => journal.counts().unreadable,
        }
    }

    /// Whether another program reads: what it has to say comes in its own time.
    fn is_read_by_child(&self) -> bool {
        matches!(self, Tail::Journald(journal) if journal.reader() == journald::Reader::Journalctl)
    }

    fn absent(&self) -> &'static str {
        match self {
            Tail::Lines(_) => "the file is not there; it will be read from its beginning when it comes",
            Tail::Journald(_) => "there is no journal yet",
        }
    }
}

/// Whether a log can be followed: reads its first record, and says what was found.
pub fn try_log(input: &config::Input) -> Result<String, String> {
    /// Polls until a record must have come.
    const POLLS_MAX: usize = 1_000;
    /// Waits, of [`TIMEOUT`] each at most, for a program that reads for us.
    const WAITS_MAX: usize = 20;
    let mut waits = 0;
    let id = SourceId(0);
    let tail = match input.source.clone() {
        Source::File(file) => Tail::file(&config::File { first_read: FirstRead::Beginning, ..file }, id, None),
        Source::Multilog(multilog) => {
            Tail::multilog(&config::Multilog { first_read: FirstRead::Beginning, ..multilog }, id, None)
        }
        Source::Journald(journald) => {
            Tail::journald(&config::Journald { first_read: FirstEntry::Beginning, ..journald }, id, None)
        }
        Source::Syslog(_) => return Err("is no log".to_owned()),
    };
    let mut tail = tail.map_err(|error| format!("{error:#}"))?;
    let mut batch = Batch::default();
    for _ in 0..POLLS_MAX {
        let progress = tail.poll(&mut batch)?;
        if let Some(frame) = batch.frames.first() {
            let record = input.parser().record(&batch, *frame);
            let program = if record.identifier.is_empty() { b"no program" } else { record.identifier };
            return Ok(match record.event {
                Some(at) => format!("can be read; its first record is of {at}, by {}", printable(program)),
                None => {
                    "can be read; its first line has no time that is known, so it counts when it is read".to_owned()
                }
            });
        }
        match progress {
            Progress::More => {}
            Progress::Missing => {
                return match tail {
                    Tail::Lines(_) => {
                        Ok("is not there yet; it will be read from its beginning when it comes".to_owned())
                    }
                    Tail::Journald(_) => Err("there is no journal".to_owned()),
                };
            }
            _ if tail.is_read_by_child() && waits < WAITS_MAX => {
                waits += 1;
                tail.wait();
            }
            _ => break,
        }
    }
    if tail.is_read_by_child() {
        return Ok("journalctl runs, and has said nothing yet".to_owned());
    }
    Ok("can be read; it is empty".to_owned())
}

/// How the following of a log goes; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

/// What [`Health`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Why nothing can be read now, or not all.
    pub problem: Option<String>,
    /// Records that were gone or damaged before they were read, as far as that can be told.
    pub lost: u64,
}

impl Health {
    /// How it is now.
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
pub struct Worker {
    /// How it goes.
    pub health: Health,
    stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: std::thread::JoinHandle<()>,
}

impl Worker {
    /// Starts it.
    pub fn start(name: &str, tail: Tail, sink: mpsc::Sender<Batch>) -> anyhow::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let waker = tail.waker();
        let health = Health::default();
        let thread = std::thread::Builder::new().name("follow".to_owned()).spawn({
            let (name, stopping, health) = (name.to_owned(), stopping.clone(), health.clone());
            move || follow(tail, &name, &sink, &stopping, &health)
        })?;
        Ok(Worker { health, stopping, waker, thread })
    }

    /// Tells it to stop; it hands over what it has read.
    pub fn tell_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for its end.
    pub fn wait(self) {
        if self.thread.join().is_err() {
            tracing::error!("a thread that follows a log had ended");
        }
    }
}

/// Follows until told to stop. Errors are told once, and tried again: a log that is away comes back.
fn follow(mut tail: Tail, name: &str, sink: &mpsc::Sender<Batch>, stopping: &AtomicBool, health: &Health) {
    let mut told: Option<String> = None;
    let mut lost = 0;
    while !stopping.load(Ordering::Acquire) {
        let mut batch = Batch::default();
        let progress = tail.poll(&mut batch);
        if tail.lost() > lost {
            lost = tail.lost();
            tracing::warn!(
                input = name,
                lost,
                "something was gone before it was read, or damaged: records may be missing"
            );
        }
        let problem = match &progress {
            Ok(Progress::Missing) => Some(tail.absent().to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.clone()),
        };
        if problem != told {
            match &problem {
                Some(problem) => tracing::warn!(input = name, problem, "cannot follow"),
                None => tracing::info!(input = name, "following again"),
            }
            told = problem;
        }
        let some = || format!("{} files of the journal cannot be read", tail.unreadable());
        let problem = told.clone().or_else(|| (tail.unreadable() > 0).then(some));
        *health.lock() = State { problem, lost };
        // A batch without records still carries a cursor: where following begins.
        let worth = !batch.frames.is_empty() || batch.cursor.is_some();
        if worth && sink.blocking_send(batch).is_err() {
            return;
        }
        if !matches!(progress, Ok(Progress::More)) {
            tail.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use inputs::cursor::FileCursor;

    use super::*;

    /// Follows a file until its health is as wanted.
    fn check(path: std::path::PathBuf, cursor: FileCursor, want: &dyn Fn(&State) -> bool) {
        let settings =
            config::File { path, format: Default::default(), first_read: FirstRead::Beginning, identifier: None };
        let tail = Tail::file(&settings, SourceId(0), Some(Cursor::File(cursor))).unwrap();
        let (sink, mut batches) = mpsc::channel(16);
        let worker = Worker::start("log", tail, sink).unwrap();
        let end = clock::monotonic() + Duration::from_secs(30);
        while !want(&worker.health.now()) {
            assert!(clock::monotonic() < end, "{:?}", worker.health.now());
            let _ = batches.try_recv();
            std::thread::yield_now();
        }
        worker.tell_to_stop();
        drop(batches);
        worker.wait();
    }

    #[test]
    fn a_journal_is_not_called_empty_while_journalctl_starts() {
        let directory = tempfile::tempdir().unwrap();
        let mut input = config::Input::journald();
        let Source::Journald(journald) = &mut input.source else { unreachable!() };
        (journald.reader, journald.directory) = (journald::Reader::Journalctl, Some(directory.path().join("none")));
        // With no journalctl it cannot be started; with one, there is no such directory.
        assert!(try_log(&input).unwrap_err().starts_with("journalctl: "));
    }

    #[test]
    fn what_cannot_be_read_and_what_was_lost_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        check(log.clone(), FileCursor::default(), &|state| {
            state.problem.as_deref().is_some_and(|it| it.contains("not there"))
        });
        std::fs::create_dir(&log).unwrap();
        check(log.clone(), FileCursor::default(), &|state| state.problem.is_some());
        std::fs::remove_dir(&log).unwrap();
        std::fs::write(&log, "another file\n").unwrap();
        let gone = FileCursor { inode: 1, offset: 9, fingerprint: 7, fingerprint_len: 9, ..FileCursor::default() };
        check(log, gone, &|state| *state == State { problem: None, lost: 1 });
    }
}
