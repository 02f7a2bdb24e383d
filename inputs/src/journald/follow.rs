//! Follows the systemd journal, by whichever reader can.
//!
//! A thread drives it: `poll` until it is idle, then `wait`, as [`file::follow`](crate::file::follow).

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Error;
use super::journalctl::Journalctl;
use super::native::{Native, Root};
use crate::cursor::JournalCursor;
pub use crate::file::follow::{Progress, Waker};
use crate::file::watch::Bell;
use crate::record::{Batch, SourceId, Timestamp};

/// How many entries a batch has at most.
pub const FRAMES_MAX: usize = 1000;

/// After so many errors in a row, [`Reader::Auto`] goes on with `journalctl`.
const ERRORS_MAX: u32 = 20;

/// Which program reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// Ours; `journalctl` once ours meets a journal of a later systemd, or fails again and again.
    #[default]
    Auto,
    /// Ours.
    Native,
    /// A `journalctl` child.
    Journalctl,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind the last entry that is there now.
    Now,
    /// At the first entry that is there.
    Beginning,
    /// At the first entry that is not older than this.
    Back(Duration),
    /// Behind the entry where an earlier follower was.
    Cursor(JournalCursor),
}

/// What has happened since the follower was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that were removed before they were read, as far as their numbers tell (native reader).
    pub gaps: u64,
    /// Entries and fields that were damaged, or too great to be read.
    pub damaged: u64,
    /// Files that are there now and cannot be read (native reader).
    pub unreadable: u64,
    /// Copies that were not delivered again.
    pub duplicates: u64,
    /// Messages cut at [`LINE_MAX`](crate::record::LINE_MAX).
    pub truncated: u64,
    /// How often `journalctl` was started.
    pub children: u64,
}

/// What to follow.
#[derive(Clone, Debug)]
pub struct Options {
    /// What batches are marked with.
    pub source: SourceId,
    /// A directory of journals, or of directories named by machine ids; `None` = this machine's journal, persistent
    /// and volatile.
    pub directory: Option<PathBuf>,
    /// Which program reads.
    pub reader: Reader,
    /// Where to begin.
    pub start: Start,
}

/// Follows the journal. See the module.
pub struct Follower {
    options: Options,
    inner: Inner,
    errors: u32,
    bell: Bell,
    /// What the native reader counted before `journalctl` took over.
    before: Counts,
}

enum Inner {
    Native(Box<Native>),
    Journalctl(Box<Journalctl>),
}

impl Follower {
    /// A follower that has opened nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let bell = Bell::new().map_err(|cause| Error::Read { path: PathBuf::from("a socket pair"), cause })?;
        let inner = match options.reader {
            Reader::Auto | Reader::Native => {
                let roots = match &options.directory {
                    Some(path) => vec![Root { path: path.clone(), volatile: false }],
                    None => local()?,
                };
                Inner::Native(Box::new(Native::new(roots, options.start.clone())))
            }
            Reader::Journalctl => {
                Inner::Journalctl(Box::new(Journalctl::new(options.directory.clone(), options.start.clone())))
            }
        };
        Ok(Follower { options, inner, errors: 0, bell, before: Counts::default() })
    }

    /// Refills `batch` with the next entries, at most [`FRAMES_MAX`], and the cursor behind them.
    ///
    /// The cursor is worth committing when the batch is empty too: it says where following began. After an error the
    /// batch may have entries, which are to be folded; the next poll goes on behind them.
    pub fn poll(&mut self, now: Timestamp, batch: &mut Batch) -> Result<Progress, Error> {
        batch.clear();
        (batch.source, batch.received, batch.reference) = (self.options.source, now, now);
        let result = match &mut self.inner {
            Inner::Native(native) => native.poll(now, batch),
            Inner::Journalctl(child) => child.poll(now, batch),
        };
        let Err(error) = result else {
            self.errors = 0;
            return result;
        };
        self.errors += 1;
        if let (Reader::Auto, Inner::Native(native)) = (self.options.reader, &self.inner)
            && (self.errors >= ERRORS_MAX || matches!(error, Error::Unsupported { .. }))
        {
            tracing::warn!(%error, "cannot read the journal's files; going on with journalctl");
            let start = native.cursor().map_or(self.options.start.clone(), Start::Cursor);
            self.before = native.counts();
            self.inner = Inner::Journalctl(Box::new(Journalctl::new(self.options.directory.clone(), start)));
            self.errors = 0;
            return Ok(Progress::More);
        }
        Err(error)
    }

    /// Blocks until there may be more, the waker was used, or `timeout` is over.
    pub fn wait(&mut self, timeout: Duration) {
        match &mut self.inner {
            Inner::Native(native) => native.wait(&self.bell, timeout),
            Inner::Journalctl(child) => child.wait(&self.bell, timeout),
        }
    }

    /// What ends a [`wait`](Self::wait) from another thread.
    pub fn waker(&self) -> Waker {
        self.bell.waker()
    }

    /// Which program reads now: never [`Reader::Auto`].
    pub fn reader(&self) -> Reader {
        match self.inner {
            Inner::Native(_) => Reader::Native,
            Inner::Journalctl(_) => Reader::Journalctl,
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        let (before, now) = match &self.inner {
            Inner::Native(native) => (Counts::default(), native.counts()),
            Inner::Journalctl(child) => (self.before, child.counts()),
        };
        Counts {
            gaps: before.gaps + now.gaps,
            damaged: before.damaged + now.damaged,
            unreadable: now.unreadable,
            duplicates: before.duplicates + now.duplicates,
            truncated: before.truncated + now.truncated,
            children: now.children,
        }
    }
}

/// Whether this machine has a journal that may be there to follow: a journald that runs, or files of one.
pub fn is_here() -> bool {
    local().is_ok_and(|roots| roots.iter().any(|root| root.path.is_dir()))
        || Path::new("/run/systemd/journal/socket").exists()
}

/// Where journald keeps this machine's journal.
fn local() -> Result<Vec<Root>, Error> {
    let path = Path::new("/etc/machine-id");
    let id = fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    let id: super::place::Id128 = id.trim_end().parse().map_err(|_| Error::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: "it is no machine id",
    })?;
    let below = |path: &str| Path::new(path).join(id.to_string());
    Ok(vec![
        Root { path: below("/var/log/journal"), volatile: false },
        Root { path: below("/run/log/journal"), volatile: true },
    ])
}

/// Waits until one of them is readable, and says whether one is.
pub(super) fn wait_on(fds: &[BorrowedFd<'_>], timeout: Duration) -> bool {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)).is_ok_and(|ready| ready > 0)
}
