//! A log that is read from end to end: lines of text, compressed or not, or a journal; a file, or what comes by a pipe.
//!
//! What it is, is told by its content. Follows nothing and keeps no cursor.

use std::path::Path;
use std::time::Duration;

use crate::file::archive::{self, Archive};
use crate::file::lines::{LineReader, STORED_READ_SIZE};
use crate::input::{Counters, Error, Input, Now, Progress, Wake};
use crate::journald::stored::{self, Reader};
use crate::record::{Batch, Timestamp};
use crate::syslog::parse::Parser;

/// What is read. The two are types of their own since lines may be read by several threads, and entries may not.
pub enum Log {
    /// Lines of text.
    Lines(Lines),
    /// A journal, which has no lines.
    Journal(Journal),
}

/// Lines of text.
pub struct Lines {
    reader: LineReader<Archive>,
    parser: Parser,
    size: u64,
    clock: fn() -> Timestamp,
}

/// Entries of a journal.
pub struct Journal {
    reader: Reader,
    reference: Timestamp,
    size: u64,
    clock: fn() -> Timestamp,
}

/// An input that has an end. After an error there is no more.
pub trait Stored: Input {
    /// Its size in bytes, 0 if it is not known.
    fn size(&self) -> u64;

    /// How many of them have been read, about.
    fn consumed(&self) -> u64;
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
        match (stored::tell(archive)?, parser) {
            (stored::Stored::Lines(archive), Some(parser)) => {
                let reader = LineReader::with_reads_of(STORED_READ_SIZE, archive);
                Ok(Log::Lines(Lines { reader, parser, size, clock }))
            }
            (stored::Stored::Lines(_), None) => Err(OpenError::NoJournal(path.display().to_string())),
            (stored::Stored::Entries(reader), _) => Ok(Log::Journal(Journal { reader, reference, size, clock })),
        }
    }

    /// Whichever it is.
    pub fn stored(&mut self) -> &mut dyn Stored {
        match self {
            Log::Lines(lines) => lines,
            Log::Journal(journal) => journal,
        }
    }
}

impl Input for Lines {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, Error> {
        let more = self.reader.fill(batch)?;
        batch.reference = self.reader.source().reference();
        self.parser.parse(batch);
        batch.received = (self.clock)();
        Ok(if more { Progress::More } else { Progress::End })
    }

    fn wake(&mut self) -> Wake<'_> {
        WAITS
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl Stored for Lines {
    fn size(&self) -> u64 {
        self.size
    }

    fn consumed(&self) -> u64 {
        self.reader.source().consumed()
    }
}

impl Input for Journal {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, Error> {
        batch.reference = self.reference;
        let more = self.reader.fill(batch)?;
        batch.received = (self.clock)();
        Ok(if more { Progress::More } else { Progress::End })
    }

    fn wake(&mut self) -> Wake<'_> {
        WAITS
    }

    fn counters(&self) -> Counters {
        self.reader.counters()
    }
}

impl Stored for Journal {
    fn size(&self) -> u64 {
        self.size
    }

    fn consumed(&self) -> u64 {
        self.reader.progress().map_or(0, |(done, of)| self.size.saturating_mul(done) / of.max(1))
    }
}

/// What comes by a pipe is waited for while it is read.
const WAITS: Wake<'static> = Wake { fd: None, within: Duration::ZERO };
