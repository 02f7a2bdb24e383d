//! Reads journals that lie in a file or come by a pipe, once and to their end.
//!
//! Three kinds, told by their first bytes: journal files, the journal export format, and `journalctl -o json`. All
//! give the same entries. A damaged entry is counted and passed over; where nothing more can be made out, what came
//! before is given first, and then an error. Follows nothing and keeps no cursor.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::disk::Journal;
use super::entry::Entry;
use super::export::{Export, Stop};
use super::head::MAGIC;
use super::stream::Stream;
use super::{Error, json};
use crate::file::archive::{self, Archive};
use crate::file::lines::READ_SIZE;
use crate::input::{Counters, FRAMES_MAX};
use crate::record::Batch;

/// How many bytes of a file's content are looked at, at most, to tell what it is.
pub const HEAD_MAX: usize = 16 << 10;

/// After so many damaged entries in a row the rest of a file is given up.
const DAMAGED_MAX: u64 = 10_000;

/// What holds the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A journal file, as journald writes it.
    Journal,
    /// The journal export format: `journalctl -o export`, systemd-journal-upload.
    Export,
    /// `journalctl -o json`, and with `json-seq` or `json-sse`.
    Json,
}

impl Kind {
    /// What the first bytes of a file's content say, up to its first LF or [`HEAD_MAX`] of them; `None` = no journal.
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(MAGIC) {
            return Some(Kind::Journal);
        }
        if head.starts_with(b"__CURSOR=") || head.starts_with(b"__REALTIME_TIMESTAMP=") {
            return Some(Kind::Export);
        }
        let is_json =
            json::object(head).starts_with(b"{") && memchr::memmem::find(head, b"\"__REALTIME_TIMESTAMP\"").is_some();
        is_json.then_some(Kind::Json)
    }

    /// Whether so many first bytes are enough for [`of`](Self::of).
    fn is_told(head: &[u8]) -> bool {
        // `journalctl -o json-pretty` begins with a line that says nothing; the next one shows what it is.
        let ends = if head.starts_with(b"{\n") {
            memchr::memrchr(b'\n', head).is_some_and(|at| at > 1)
        } else {
            head.contains(&b'\n')
        };
        head.len() >= HEAD_MAX || head.starts_with(MAGIC) || ends
    }
}

/// What a file turned out to be.
pub enum Stored {
    /// Lines of text, to be cut by a [`LineReader`](crate::file::lines::LineReader).
    Lines(Archive),
    /// Entries of a journal.
    Entries(Reader),
}

/// Tells a journal from lines of text, whether or not it is compressed. Waits for the first line, or
/// [`HEAD_MAX`] bytes.
pub fn tell(mut archive: Archive) -> Result<Stored, Error> {
    let Some(kind) = Kind::of(archive.look_ahead(Kind::is_told)) else { return Ok(Stored::Lines(archive)) };
    let path = archive.path().to_owned();
    let is_file = archive.size().is_some() && archive.format() == archive::Format::Plain;
    let reader = match kind {
        Kind::Journal if is_file => Reader::file(&path)?,
        _ => Reader::stream(kind, archive, &path)?,
    };
    Ok(Stored::Entries(reader))
}

/// Reads entries. See the module.
pub struct Reader {
    source: Source,
    entry: Entry,
    counters: Counters,
    ended: bool,
    /// What is to be said once the entries before it were given.
    held: Option<Error>,
}

enum Source {
    /// `passed`: damaged entries since the last good one.
    File {
        journal: Box<Journal>,
        next: u64,
        passed: u64,
    },
    Stream(Box<Stream>),
    Export(Box<Text>),
    Json(Box<Text>),
}

/// What entries as text come from.
struct Text {
    source: BufReader<Box<dyn Read>>,
    name: PathBuf,
    /// Where it is in the export format, if it is that.
    export: Export,
}

impl Reader {
    /// Reads a journal file by the number of its entries.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let journal = Box::new(Journal::open(path)?);
        Ok(Reader::new(Source::File { journal, next: 0, passed: 0 }))
    }

    /// Reads what cannot seek. `name` is for errors.
    pub fn stream(kind: Kind, source: impl Read + 'static, name: &Path) -> Result<Self, Error> {
        Ok(Reader::new(match kind {
            Kind::Journal => Source::Stream(Box::new(Stream::new(source, name)?)),
            Kind::Export => Source::Export(Text::new(source, name)),
            Kind::Json => Source::Json(Text::new(source, name)),
        }))
    }

    fn new(source: Source) -> Self {
        Reader { source, entry: Entry::default(), counters: Counters::default(), ended: false, held: None }
    }

    /// Refills `batch` with the next entries, at most [`FRAMES_MAX`]; `false` at the end. An error comes after all
    /// entries before it, and nothing after the error. The batch's times and source are left alone.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.clear();
        while batch.len() < FRAMES_MAX && !self.ended {
            match self.next() {
                Ok(true) => self.entry.push(batch),
                Ok(false) => self.ended = true,
                Err(error) => (self.ended, self.held) = (true, Some(error)),
            }
        }
        match self.held.take_if(|_| batch.is_empty()) {
            Some(error) => Err(error),
            None => Ok(!batch.is_empty()),
        }
    }

    /// Reads the next entry.
    fn next(&mut self) -> Result<bool, Error> {
        match &mut self.source {
            Source::Stream(stream) => stream.next(&mut self.entry),
            Source::Export(text) => text.export(&mut self.entry),
            Source::Json(text) => text
                .json(&mut self.entry, &mut self.counters)
                .map_err(|cause| Error::Read { path: text.name.clone(), cause }),
            Source::File { journal, next, passed } => {
                while *next < journal.head.entries {
                    let index = *next;
                    *next += 1;
                    let read = read_one(journal, index, &mut self.entry, &mut self.counters);
                    match &read {
                        // Counted and not linked: journald was killed, or writes it just now.
                        Ok(false) if journal.is_lost(index) => return read,
                        Ok(false) | Err(Error::Damaged { .. }) => {}
                        _ => {
                            *passed = 0;
                            return read;
                        }
                    }
                    self.counters.damaged += 1;
                    *passed += 1;
                    if *passed > DAMAGED_MAX || journal.is_lost(index) {
                        return read;
                    }
                }
                Ok(false)
            }
        }
    }

    /// What was met so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many entries of how many were read, where that is known: of journal files. For progress.
    pub fn progress(&self) -> Option<(u64, u64)> {
        match &self.source {
            Source::File { journal, next, .. } => Some((*next, journal.head.entries)),
            _ => None,
        }
    }
}

/// Reads an entry by its number; `false` if there is none.
fn read_one(journal: &mut Journal, index: u64, entry: &mut Entry, counters: &mut Counters) -> Result<bool, Error> {
    let Some(found) = journal.find(index)? else { return Ok(false) };
    let skipped = journal.skipped;
    let read = journal.read(&found, entry);
    counters.damaged += journal.skipped - skipped;
    read.map(|()| true)
}

impl Text {
    fn new(source: impl Read + 'static, name: &Path) -> Box<Self> {
        let source = BufReader::with_capacity(READ_SIZE, Box::new(source) as Box<dyn Read>);
        Box::new(Text { source, name: name.to_owned(), export: Export::default() })
    }

    /// The next entry of the export format.
    fn export(&mut self, entry: &mut Entry) -> Result<bool, Error> {
        let Text { source, name, export } = self;
        let found = loop {
            match export.read_from(source) {
                Ok(Some(false)) => {}
                Ok(Some(true)) => break Ok(true),
                Ok(None) => break export.end().map_err(Stop::Broken),
                Err(stop) => break Err(stop),
            }
        };
        let path = || name.clone();
        let found = found.map_err(|stop| match stop {
            Stop::Read(cause) => Error::Read { path: path(), cause },
            Stop::Broken(what) => Error::Damaged { path: path(), offset: export.taken, what },
        })?;
        if found {
            std::mem::swap(entry, &mut export.entry);
        }
        Ok(found)
    }

    /// The next line that is an entry; what is none is counted.
    fn json(&mut self, entry: &mut Entry, counters: &mut Counters) -> io::Result<bool> {
        let mut line = Vec::new();
        loop {
            line.clear();
            // One byte more than may be shows that it is too long.
            self.source.by_ref().take(json::LINE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(false);
            }
            let is_whole = line.pop_if(|byte| *byte == b'\n').is_some() || line.len() <= json::LINE_MAX;
            if !is_whole {
                self.source.skip_until(b'\n')?;
            } else if line.is_empty() {
                continue;
            } else if json::line(&line, entry).is_some() {
                return Ok(true);
            }
            counters.damaged += 1;
        }
    }
}
