//! A log that is read from end to end: lines of text, compressed or not, or a journal; a file, or what comes by a pipe.
//!
//! What it is, is told by its content. Follows nothing and keeps no cursor.

use std::path::Path;
use std::time::Duration;

use crate::file::archive::{self, Archive};
use crate::file::lines::LineReader;
use crate::input::{Counters, Error, Input, Now, Progress, Wake};
use crate::journald::stored::{self, Reader, Stored};
use crate::record::{Batch, Timestamp};
use crate::syslog::parse::Parser;

/// What is read.
pub struct Log {
    inner: Inner,
    size: u64,
    clock: fn() -> Timestamp,
}

enum Inner {
    Lines(Box<LineReader<Archive>>, Parser),
    Journal(Box<Reader>, Timestamp),
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// It is a journal that could not be read.
    #[error(transparent)]
    Journal(#[from] crate::journald::Error),
    /// It has lines, and there is nothing that reads them.
    #[error("{0}: these are no entries of a journal; make them with `journalctl -o json`")]
    NoJournal(String),
}

impl Log {
    /// Opens a file, or standard input for `-`. `parser` reads its lines, if there may be some. `clock` tells when what
    /// comes by a pipe has come, for which a read waits.
    pub fn open(path: &Path, parser: Option<Parser>, clock: fn() -> Timestamp) -> Result<Self, OpenError> {
        let archive = if path == Path::new("-") {
            archive::from_reader(std::io::stdin(), Path::new("standard input"), clock())?
        } else {
            archive::open(path)?
        };
        let (size, reference) = (archive.size().unwrap_or(0), archive.reference());
        let inner = match (stored::tell(archive)?, parser) {
            (Stored::Lines(archive), Some(parser)) => Inner::Lines(Box::new(LineReader::new(archive)), parser),
            (Stored::Lines(_), None) => return Err(OpenError::NoJournal(path.display().to_string())),
            (Stored::Entries(reader), _) => Inner::Journal(Box::new(reader), reference),
        };
        Ok(Log { inner, size, clock })
    }

    /// Whether it is a journal, which has no lines.
    pub fn is_journal(&self) -> bool {
        matches!(self.inner, Inner::Journal(..))
    }

    /// Its size in bytes, 0 if it is not known.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many of them have been read, about.
    pub fn consumed(&self) -> u64 {
        match &self.inner {
            Inner::Lines(lines, _) => lines.source().consumed(),
            Inner::Journal(journal, _) => {
                journal.progress().map_or(0, |(done, of)| self.size.saturating_mul(done) / of.max(1))
            }
        }
    }
}

/// After an error there is no more.
impl Input for Log {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, Error> {
        let more = match &mut self.inner {
            Inner::Lines(lines, parser) => {
                let more = lines.fill(batch)?;
                batch.reference = lines.source().reference();
                parser.parse(batch);
                more
            }
            Inner::Journal(journal, reference) => {
                batch.reference = *reference;
                journal.fill(batch)?
            }
        };
        batch.received = (self.clock)();
        Ok(if more { Progress::More } else { Progress::End })
    }

    /// It waits for what comes by a pipe while it is read.
    fn wake(&mut self) -> Wake<'_> {
        Wake { fd: None, within: Duration::ZERO }
    }

    fn counters(&self) -> Counters {
        match &self.inner {
            Inner::Lines(..) => Counters::default(),
            Inner::Journal(journal, _) => journal.counters(),
        }
    }
}
