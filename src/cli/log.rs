//! A log to be read from end to end: lines of text, compressed or not, or a journal; a file, or standard input.

use std::path::Path;

use inputs::file::archive::{self, Archive};
use inputs::file::lines::LineReader;
use inputs::journald::stored::{self, Reader, Stored};
use inputs::record::{Batch, Timestamp};
use inputs::syslog::parse::Parser;

use crate::clock;

/// What is read.
pub struct Log {
    inner: Inner,
    size: u64,
}

enum Inner {
    Lines(Box<LineReader<Archive>>, Parser),
    Journal(Reader, Timestamp),
}

impl Log {
    /// Opens a file, or standard input for `-`; what it is, is told by its content. `parser` reads its lines, if there may
    /// be some.
    pub fn open(path: &Path, parser: Option<Parser>) -> anyhow::Result<Self> {
        let archive = if path == Path::new("-") {
            archive::from_reader(std::io::stdin(), Path::new("standard input"), clock::now())?
        } else {
            archive::open(path)?
        };
        let (size, reference) = (archive.size().unwrap_or(0), archive.reference());
        let inner = match stored::tell(archive)? {
            Stored::Lines(archive) => match parser {
                Some(parser) => Inner::Lines(Box::new(LineReader::new(archive)), parser),
                None => anyhow::bail!(
                    "{}: these are no entries of a journal; make them with `journalctl -o json`",
                    path.display()
                ),
            },
            Stored::Entries(reader) => Inner::Journal(reader, reference),
        };
        Ok(Log { inner, size })
    }

    /// Refills `batch`, dated; `false` = there is no more. After an error there is no more either.
    pub fn fill(&mut self, batch: &mut Batch) -> anyhow::Result<bool> {
        let more = match &mut self.inner {
            Inner::Lines(lines, _) => lines.fill(batch)?,
            Inner::Journal(journal, _) => journal.fill(batch)?,
        };
        batch.received = clock::now();
        match &mut self.inner {
            Inner::Lines(lines, parser) => {
                batch.reference = lines.source().reference();
                parser.parse(batch);
            }
            Inner::Journal(_, reference) => batch.reference = *reference,
        }
        Ok(more)
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
