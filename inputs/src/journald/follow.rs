//! Follows the systemd journal, by whichever reader can.

use std::path::PathBuf;

use super::Error;
use super::here::{KEPT_IN, machine};
use super::journalctl::Journalctl;
use super::native::{Native, Root};
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
    /// A directory of journals, or of directories named by machine ids; `None` = this machine's journals, persistent
    /// and volatile, of all namespaces.
    pub directory: Option<PathBuf>,
    /// Which program reads.
    pub reader: Reader,
    /// Where to begin.
    pub start: Start,
}

/// Follows the journal. See the module.
pub struct Follower {
    options: Options,
    /// Which program reads now: never [`Reader::Auto`].
    reader: Reader,
    inner: Box<dyn Input + Send>,
    errors: u32,
    /// What the native reader counted before `journalctl` took over.
    before: Counters,
}

impl Input for Follower {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        let result = self.inner.read(now, batch);
        let Err(error) = result else {
            self.errors = 0;
            return result;
        };
        self.errors += 1;
        if (self.options.reader, self.reader) == (Reader::Auto, Reader::Native)
            && (self.errors >= ERRORS_MAX || matches!(error.downcast_ref(), Some(Error::Unsupported { .. })))
        {
            tracing::warn!(%error, "cannot read the journal's files; going on with journalctl");
            let start = batch.cursor.clone().map_or_else(|| self.options.start.clone(), Start::Cursor);
            // What cannot be read now is journalctl's affair from here on.
            self.before = Counters { unreadable: 0, ..self.inner.counters() };
            self.inner = Box::new(Journalctl::new(self.options.directory.clone(), start));
            (self.reader, self.errors) = (Reader::Journalctl, 0);
            return Ok(Progress::More);
        }
        Err(error)
    }

    fn wake(&mut self) -> Wake<'_> {
        self.inner.wake()
    }

    fn counters(&self) -> Counters {
        match self.reader {
            Reader::Journalctl => self.before,
            Reader::Auto | Reader::Native => self.inner.counters(),
        }
    }
}

impl Follower {
    /// A follower that has opened nothing yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let (directory, start) = (options.directory.clone(), options.start.clone());
        let (reader, inner): (_, Box<dyn Input + Send>) = match options.reader {
            Reader::Journalctl => (Reader::Journalctl, Box::new(Journalctl::new(directory, start))),
            Reader::Auto | Reader::Native => {
                let roots = match directory {
                    Some(path) => vec![Root { path, volatile: false, machine: None }],
                    None => local()?,
                };
                (Reader::Native, Box::new(Native::new(roots, start)))
            }
        };
        Ok(Follower { options, reader, inner, errors: 0, before: Counters::default() })
    }

    /// Which program reads now: never [`Reader::Auto`].
    pub fn reader(&self) -> Reader {
        self.reader
    }
}

/// Where journald keeps this machine's journal, and those of its namespaces.
fn local() -> Result<Vec<Root>, Error> {
    let machine = Some(machine()?);
    let [persistent, volatile] = KEPT_IN.map(PathBuf::from);
    Ok(vec![Root { path: persistent, volatile: false, machine }, Root { path: volatile, volatile: true, machine }])
}
