//! A thread that follows a file or the journal and hands over what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use inputs::cursor::Cursor;
use inputs::file::follow as file;
use inputs::file::follow::{Follow, Progress, Waker};
use inputs::journald::follow as journald;
use inputs::multilog;
use inputs::record::{Batch, SourceId};
use tokio::sync::mpsc;

use crate::cli::output::printable;
use crate::clock;
use crate::config::{self, FirstEntry, FirstRead, Source};

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

    fn gaps(&self) -> u64 {
        match self {
            Tail::Lines(file) => file.counts().gaps,
            Tail::Journald(journal) => journal.counts().gaps,
        }
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
            _ => break,
        }
    }
    Ok("can be read; it is empty".to_owned())
}

/// The thread.
pub struct Worker {
    stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: std::thread::JoinHandle<()>,
}

impl Worker {
    /// Starts it.
    pub fn start(name: &str, tail: Tail, sink: mpsc::Sender<Batch>) -> anyhow::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let waker = tail.waker();
        let thread = std::thread::Builder::new().name("follow".to_owned()).spawn({
            let (name, stopping) = (name.to_owned(), stopping.clone());
            move || follow(tail, &name, &sink, &stopping)
        })?;
        Ok(Worker { stopping, waker, thread })
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
fn follow(mut tail: Tail, name: &str, sink: &mpsc::Sender<Batch>, stopping: &AtomicBool) {
    let mut told: Option<String> = None;
    let mut gaps = 0;
    while !stopping.load(Ordering::Acquire) {
        let mut batch = Batch::default();
        let progress = tail.poll(&mut batch);
        if tail.gaps() > gaps {
            // The journal numbers its entries, so that those that are gone can be counted; a file's lines cannot.
            if matches!(tail, Tail::Journald(_)) {
                batch.lost += tail.gaps() - gaps;
            }
            gaps = tail.gaps();
            tracing::warn!(input = name, gaps, "something was gone before it was read: records may be missing");
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
