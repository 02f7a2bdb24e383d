//! Reads a journal file that cannot seek: standard input, a pipe from another box, `x.journal.zst`.
//!
//! `systemd-journal-reader` does it, behind a guard: it allocates whatever size an object claims, unpacks without a
//! bound, keeps every field of the file, takes LZ4 and XZ for text and every error for the end. So the guard reads each
//! object first, refuses what cannot be, and makes fields of no interest into objects that the crate skips.
//! What the crate cannot do stays so: bytes that are no UTF-8 come out as U+FFFD, and of several values of a field
//! the last counts. A file that can be opened is read by `disk`, which knows no such limits.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use systemd_journal_reader::JournalReader;

use super::Error;
use super::disk::{OBJECT_DATA, OBJECT_ENTRY};
use super::entry::{Entry, Field};
use super::head::{MAGIC, OBJECT_MAX, flag, u32_at, u64_at};
use super::unpack::{self, Compression};

/// What the crate may remember of a journal, in bytes. journald's own files are 128 MiB at most by default, of which
/// our six fields are the smaller part.
const MEMORY_MAX: u64 = 128 << 20;

/// What the crate needs for a field beside its text.
const FIELD_COST: u64 = 160;

/// The shortest header that has all we look at.
const HEADER_MIN: u64 = 208;

/// The header of systemd 257 has 272 bytes.
const HEADER_MAX: u64 = 64 << 10;

/// An object that the crate skips.
const UNUSED: u8 = 0;

/// What the crate reads of the header at first.
const HEAD: usize = 240;

/// A journal that comes as a stream.
pub(super) struct Stream {
    reader: JournalReader<Guard>,
    problem: Rc<RefCell<Option<Error>>>,
}

impl Stream {
    pub(super) fn new(source: impl Read + 'static, name: &Path) -> Result<Self, Error> {
        let problem = Rc::new(RefCell::new(None));
        let guard = Guard {
            source: Box::new(source),
            name: name.to_owned(),
            problem: Rc::clone(&problem),
            flags: 0,
            offset: 0,
            memory: 0,
            bytes: Vec::new(),
            given: 0,
            passing: 0,
        };
        let reader = JournalReader::new(guard).map_err(|cause| match problem.borrow_mut().take() {
            Some(problem) => problem,
            None => Error::Read { path: name.to_owned(), cause },
        })?;
        Ok(Stream { reader, problem })
    }

    /// Reads the next entry; `false` at the end.
    pub(super) fn next(&mut self, entry: &mut Entry) -> Result<bool, Error> {
        entry.clear();
        let Some(found) = self.reader.next_entry() else {
            return self.problem.borrow_mut().take().map_or(Ok(false), Err);
        };
        entry.realtime = found.realtime;
        for (name, value) in &found.fields {
            if let Some(field) = Field::of(name.as_bytes()) {
                entry.set(field, value.as_bytes());
            }
        }
        Ok(true)
    }
}

/// Gives out a journal object by object, each checked.
struct Guard {
    source: Box<dyn Read>,
    name: PathBuf,
    problem: Rc<RefCell<Option<Error>>>,
    flags: u32,
    /// Where in the stream the next object begins; 0 = the header was not read.
    offset: u64,
    memory: u64,
    /// What was checked and is to be given out.
    bytes: Vec<u8>,
    given: usize,
    /// Bytes behind them that need no check.
    passing: u64,
}

impl Read for Guard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.give(buf).map_err(|problem| {
            // The crate takes an error for the end; ours is asked for then.
            *self.problem.borrow_mut() = Some(problem);
            ErrorKind::InvalidData.into()
        })
    }
}

impl Guard {
    fn give(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            let checked = &self.bytes[self.given..];
            if !checked.is_empty() {
                let count = checked.len().min(buf.len());
                buf[..count].copy_from_slice(&checked[..count]);
                self.given += count;
                return Ok(count);
            }
            if self.passing > 0 {
                let max = usize::try_from(self.passing).map_or(buf.len(), |passing| passing.min(buf.len()));
                let count = self.read_once(&mut buf[..max])?;
                self.passing -= count as u64;
                return if count == 0 { Err(self.damaged("the stream ends here")) } else { Ok(count) };
            }
            if self.offset == 0 {
                self.header()?;
            } else if !self.object()? {
                return Ok(0);
            }
        }
    }

    /// Reads what there is; 0 = the end.
    fn read_once(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.source.read(buf) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|cause| Error::Read { path: self.name.clone(), cause }),
            }
        }
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { path: self.name.clone(), offset: self.offset, what }
    }

    /// Reads `len` bytes behind those that are there.
    fn fetch(&mut self, len: usize) -> Result<(), Error> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + len, 0);
        self.source.read_exact(&mut self.bytes[begin..]).map_err(|cause| match cause.kind() {
            ErrorKind::UnexpectedEof => self.damaged("the stream ends here"),
            _ => Error::Read { path: self.name.clone(), cause },
        })
    }

    fn header(&mut self) -> Result<(), Error> {
        self.fetch(HEAD)?;
        if !self.bytes.starts_with(MAGIC) {
            return Err(self.damaged("it does not begin as a journal does"));
        }
        self.flags = u32_at(&self.bytes, 12);
        if self.flags & !flag::KNOWN != 0 {
            return Err(Error::Unsupported { path: self.name.clone(), flags: self.flags & !flag::KNOWN });
        }
        let (size, arena) = (u64_at(&self.bytes, 88), u64_at(&self.bytes, 96));
        if !(HEADER_MIN..=HEADER_MAX).contains(&size) || arena > 1 << 60 {
            return Err(self.damaged("its header's sizes are impossible"));
        }
        // The crate wants 240 bytes of header; shorter ones are of systemd before 187.
        let Some(rest) = size.checked_sub(HEAD as u64) else {
            return Err(self.damaged("its header is too short for a stream; name the file"));
        };
        (self.passing, self.offset) = (rest, size);
        Ok(())
    }

    /// Fetches and checks the next object; `false` behind the last.
    fn object(&mut self) -> Result<bool, Error> {
        self.bytes.clear();
        self.given = 0;
        let mut first = [0];
        if self.read_once(&mut first)? == 0 {
            return Ok(false); // between objects: vacuumed and archived files end so
        }
        self.bytes.push(first[0]);
        self.fetch(15)?;
        let (kind, flags, size) = (self.bytes[0], self.bytes[1], u64_at(&self.bytes, 8));
        if size == 0 && kind == 0 {
            self.bytes.clear();
            return Ok(false); // room that was not used yet
        }
        if !(16..=1 << 60).contains(&size) {
            return Err(self.damaged("this object's size is impossible"));
        }
        let padded = size.next_multiple_of(8);
        match kind {
            OBJECT_DATA => self.bytes[0] = self.data(flags, size)?,
            OBJECT_ENTRY => {
                if !(64..=OBJECT_MAX).contains(&size) {
                    return Err(self.damaged("this entry's size is impossible"));
                }
                self.fetch(size as usize - 16)?;
            }
            // Tables and lists: the crate reads past them.
            _ => {}
        }
        self.passing = padded - self.bytes.len() as u64;
        self.offset = self.offset.saturating_add(padded);
        Ok(true)
    }

    /// Reads a field, and says as which kind of object it goes to the crate: what is not one of ours is to be skipped.
    fn data(&mut self, flags: u8, size: u64) -> Result<u8, Error> {
        let payload = if self.flags & flag::COMPACT != 0 { 72 } else { 64 };
        if size < payload {
            return Err(self.damaged("this field's size is impossible"));
        }
        if size > OBJECT_MAX {
            return Ok(UNUSED);
        }
        self.fetch(size as usize - 16)?;
        let text = &self.bytes[payload as usize..];
        let cost = match Compression::of(flags) {
            None => cost(text),
            Some(Compression::Zstd) if self.flags & flag::ZSTD != 0 => {
                let text = unpack::beginning(text, Compression::Zstd, OBJECT_MAX as usize + 1);
                let damaged = |cause| Error::Unpack { path: self.name.clone(), offset: self.offset, cause };
                let text = text.map_err(damaged)?;
                if text.len() as u64 > OBJECT_MAX { None } else { cost(&text) }
            }
            Some(Compression::Zstd) => return Err(self.damaged("this field is compressed as its journal is not")),
            Some(how) => {
                let compression = if how == Compression::Lz4 { "LZ4" } else { "XZ" };
                return Err(Error::NeedsFile { path: self.name.clone(), compression });
            }
        };
        let Some(cost) = cost else { return Ok(UNUSED) };
        self.memory += cost;
        if self.memory > MEMORY_MAX {
            return Err(
                self.damaged("a journal of this size cannot be read as a stream; unpack it to a file and name that")
            );
        }
        Ok(OBJECT_DATA)
    }
}

/// What remembering a field costs the crate; `None` of one that is not ours.
fn cost(text: &[u8]) -> Option<u64> {
    Field::leading(text)?;
    // Each byte that is no UTF-8 becomes three.
    let factor = if str::from_utf8(text).is_ok() { 1 } else { 3 };
    Some(FIELD_COST + factor * text.len() as u64)
}
