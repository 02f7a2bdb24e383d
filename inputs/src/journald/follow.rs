//! Follows the systemd journal, by whichever reader can.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::journalctl::Journalctl;
use super::native::{Native, Root};
use crate::cursor::Cursor;
use crate::input::{self, Counters, Input, Now, Progress, Start, Wake};
use crate::record::Batch;

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

/// What to follow.
#[derive(Clone, Debug)]
pub struct Options {
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
    /// What the native reader counted before `journalctl` took over.
    before: Counters,
}

enum Inner {
    Native(Box<Native>),
    Journalctl(Box<Journalctl>),
}

impl Inner {
    fn input(&mut self) -> &mut dyn Input {
        match self {
            Inner::Native(native) => &mut **native,
            Inner::Journalctl(child) => &mut **child,
        }
    }
}

impl Input for Follower {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        let result = self.inner.input().read(now, batch);
        let Err(error) = result else {
            self.errors = 0;
            return result;
        };
        self.errors += 1;
        if let (Reader::Auto, Inner::Native(native)) = (self.options.reader, &self.inner)
            && (self.errors >= ERRORS_MAX || matches!(error.downcast_ref(), Some(Error::Unsupported { .. })))
        {
            tracing::warn!(%error, "cannot read the journal's files; going on with journalctl");
            let start =
                native.cursor().map_or(self.options.start.clone(), |cursor| Start::Cursor(Cursor::Journal(cursor)));
            // What cannot be read now is journalctl's affair from here on.
            self.before = Counters { unreadable: 0, ..native.counters() };
            self.inner = Inner::Journalctl(Box::new(Journalctl::new(self.options.directory.clone(), start)));
            self.errors = 0;
            return Ok(Progress::More);
        }
        Err(error)
    }

    fn wake(&mut self) -> Wake<'_> {
        self.inner.input().wake()
    }

    fn counters(&self) -> Counters {
        match &self.inner {
            Inner::Native(native) => native.counters(),
            Inner::Journalctl(_) => self.before,
        }
    }
}

impl Follower {
    /// A follower that has opened nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let (directory, start) = (options.directory.clone(), options.start.clone());
        let inner = match options.reader {
            Reader::Journalctl => Inner::Journalctl(Box::new(Journalctl::new(directory, start))),
            Reader::Auto | Reader::Native => {
                let roots = match directory {
                    Some(path) => vec![Root { path, volatile: false }],
                    None => local()?,
                };
                Inner::Native(Box::new(Native::new(roots, start)))
            }
        };
        Ok(Follower { options, inner, errors: 0, before: Counters::default() })
    }

    /// Which program reads now: never [`Reader::Auto`].
    pub fn reader(&self) -> Reader {
        match self.inner {
            Inner::Native(_) => Reader::Native,
            Inner::Journalctl(_) => Reader::Journalctl,
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
    let id: crate::cursor::Id128 = id.trim_end().parse().map_err(|_| Error::Damaged {
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
