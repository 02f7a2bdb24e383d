//! Follows one live file through rename, truncation, deletion and restart.
//!
//! Promises every line exactly once to whoever commits each batch's cursor with the batch's effect, with these
//! exceptions, which no reader of files can mend: what was written between our last read and a truncation
//! (logrotate's `copytruncate`) is lost, and half a line before it; what was compressed, deleted or moved to another
//! directory while nobody read it is lost and counted as a gap; a file that was truncated and grew past the old place
//! again with the very same first line is not told from one that only grew. Knows nothing of syslog: lines go out as
//! bytes. Asks no clock.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::lines::Lines;
use super::rotation::{self, Next};
use super::watch::Watch;
use crate::cursor::{Cursor, FINGERPRINT_MAX, FileCursor, FileId, Fingerprint};
use crate::input::{self, Counters, FRAMES_MAX, Input, Now, Progress, Start, Wake};
use crate::record::Batch;
use crate::syslog::parse::Parser;

/// How many reads, of 256 KiB, a poll does at most before it returns without a whole line.
const READS_MAX: usize = 64;

/// How many rotated files a poll passes at most.
pub(crate) const FILES_MAX: usize = 16;

/// How often a file that is renamed while it is opened is looked for again.
const OPENS_MAX: usize = 100;

/// How far back a half-written last line is looked for when following starts at the end.
const HALF_LINE_MAX: u64 = 1 << 20;

/// What is told while there is no file.
pub(crate) const ABSENT: &str = "the file is not there; it will be read from its beginning when it comes";

/// Follows one file. See the module.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    parser: Parser,
    start: Start,
    open: Option<Open>,
    lines: Lines,
    watch: Watch,
    counters: Counters,
}

impl Input for Follower {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        self.watch.take();
        let progress = self.advance(batch);
        self.parser.parse(batch);
        let progress = progress?;
        batch.cursor = self.open.as_ref().map(|open| Cursor::File(open.cursor(self.lines.offset())));
        Ok(progress)
    }

    fn wake(&mut self) -> Wake<'_> {
        self.watch.wake(rotation::directory(&self.path), self.open.as_ref().map(|open| &open.file))
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Follower {
    /// A follower of `path`, which is first opened by a read. A file that is not there yet is read from its beginning.
    pub fn new(path: PathBuf, start: Start, parser: Parser) -> Self {
        let (lines, watch, counters) = (Lines::new(0), Watch::new(), Counters::default());
        Follower { path, parser, start, open: None, lines, watch, counters }
    }

    fn advance(&mut self, batch: &mut Batch) -> Result<Progress, Error> {
        for _ in 0..FILES_MAX {
            let Some(open) = &mut self.open else {
                if !self.begin()? {
                    return Ok(Progress::Missing(ABSENT));
                }
                continue;
            };
            // Asked before the file is read to its end: whoever writes to the next file has done with this one.
            let next = rotation::next(&self.path, open.id).map_err(Error::read(&self.path))?;
            let Open { file, fingerprint, .. } = open;
            let filled = fill(file, &mut self.lines, batch, |position| fingerprint.is_of(file, position));
            match filled.map_err(Error::read(&self.path))? {
                Fill::Lines | Fill::Unfinished => return Ok(Progress::More),
                Fill::Rewritten => {
                    *fingerprint = Fingerprint::default();
                    self.counters.truncations += 1;
                }
                Fill::End => match next {
                    Next::Itself | Next::Empty => return Ok(Progress::Idle),
                    Next::Missing => return Ok(Progress::Missing(ABSENT)),
                    Next::File { path, id } => self.change_to(&path, id, batch)?,
                },
            }
            if !batch.is_empty() {
                break;
            }
        }
        Ok(Progress::More)
    }

    /// Goes on with the file `id` at `path`; a half line that ends the old one is a line now.
    fn change_to(&mut self, path: &Path, id: FileId, batch: &mut Batch) -> Result<(), Error> {
        let next = match Open::new(path) {
            Ok(next) if next.id == id => next,
            Ok(_) => return Ok(()), // renamed since we asked
            Err(error) if error.is_missing() => return Ok(()),
            // A rotated file that we may not read must not keep us from the current one.
            Err(_) if path != self.path => {
                let current = Open::new(&self.path)?;
                self.counters.gaps += 1;
                current
            }
            Err(error) => return Err(error),
        };
        self.lines.finish(batch);
        self.counters.rotations += 1;
        self.read_from(next, 0);
        Ok(())
    }

    fn read_from(&mut self, open: Open, offset: u64) {
        self.watch.forget_file();
        self.lines.restart(offset);
        self.open = Some(open);
    }

    /// Opens the first file, and says whether there was one.
    fn begin(&mut self) -> Result<bool, Error> {
        let resumed = match &self.start {
            Start::Cursor(Cursor::File(cursor)) => self.resume(cursor)?,
            _ => None,
        };
        let begun = match resumed {
            Some(begun) => Some(begun),
            None => self.open_current()?,
        };
        if let Start::Cursor(Cursor::File(cursor)) = &self.start {
            let is_there = |(open, offset): &(Open, u64)| open.id == cursor.id && *offset == cursor.offset;
            self.counters.gaps += u64::from(!begun.as_ref().is_some_and(is_there));
        }
        // Whatever comes to be here later is new, and read from its beginning.
        self.start = Start::Beginning;
        let Some((open, offset)) = begun else { return Ok(false) };
        self.read_from(open, offset);
        Ok(true)
    }

    /// Opens the file that has the name now, and says where to begin in it; `None` if there is none.
    fn open_current(&self) -> Result<Option<(Open, u64)>, Error> {
        let mut open = match Open::new(&self.path) {
            Ok(open) => open,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        let offset = if self.start == Start::Now { open.last_line_end().map_err(Error::read(&self.path))? } else { 0 };
        open.fingerprint.matches(&open.file).map_err(Error::read(&self.path))?;
        open.file.seek(SeekFrom::Start(offset)).map_err(Error::read(&self.path))?;
        Ok(Some((open, offset)))
    }

    /// Opens the file of `cursor`, whatever it is called by now, and says where to go on in it: at its beginning if
    /// it was written anew. `None` if it is not there any more, or not to be read.
    fn resume(&self, cursor: &FileCursor) -> Result<Option<(Open, u64)>, Error> {
        let id = cursor.id;
        for _ in 0..OPENS_MAX {
            let is_current = std::fs::metadata(&self.path).is_ok_and(|metadata| FileId::of(&metadata) == id);
            let name = match is_current {
                true => Some(self.path.clone()),
                false => rotation::find(&self.path, id).map_err(Error::read(&self.path))?,
            };
            let Some(name) = name else { return Ok(None) };
            let mut open = match Open::new(&name) {
                Ok(open) if open.id == id => open,
                Ok(_) => continue, // renamed since we asked
                Err(error) if error.is_missing() => continue,
                Err(_) if name != self.path => return Ok(None),
                Err(error) => return Err(error),
            };
            open.fingerprint = cursor.fingerprint;
            let is_same = open.fingerprint.is_of(&open.file, cursor.offset).map_err(Error::read(&self.path))?;
            if is_same && cursor.fingerprint.len > 0 {
                open.file.seek(SeekFrom::Start(cursor.offset)).map_err(Error::read(&self.path))?;
                return Ok(Some((open, cursor.offset)));
            }
            // Nothing but its name tells a file that was written anew from a stranger on a reused inode.
            if name != self.path && !rotation::is_rotated(&self.path, &name) {
                return Ok(None);
            }
            open.fingerprint = Fingerprint::default();
            open.fingerprint.matches(&open.file).map_err(Error::read(&self.path))?;
            return Ok(Some((open, 0)));
        }
        Ok(None)
    }
}

/// A file that is open, and what it is known by.
#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    fingerprint: Fingerprint,
}

/// What came of reading a file on.
pub(crate) enum Fill {
    /// There are lines in the batch.
    Lines,
    /// A line goes on and on.
    Unfinished,
    /// The file was truncated, or written anew, and is now at its beginning.
    Rewritten,
    End,
}

impl Open {
    fn new(path: &Path) -> Result<Self, Error> {
        let (file, metadata) = super::open_regular(path)?;
        Ok(Open { file, id: FileId::of(&metadata), fingerprint: Fingerprint::default() })
    }

    fn cursor(&self, offset: u64) -> FileCursor {
        FileCursor { id: self.id, offset, fingerprint: self.fingerprint }
    }

    /// Where the last LF of the file ends; what is behind it is half a line.
    fn last_line_end(&self) -> io::Result<u64> {
        let size = self.file.metadata()?.len();
        let mut chunk = [0; 8192];
        let mut end = size;
        while end > 0 && size - end < HALF_LINE_MAX {
            let begin = end.saturating_sub(chunk.len() as u64);
            let part = &mut chunk[..(end - begin) as usize];
            match self.file.read_exact_at(part, begin) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0), // truncated just now
                result => result?,
            }
            if let Some(lf) = memchr::memrchr(b'\n', part) {
                return Ok(begin + lf as u64 + 1);
            }
            end = begin;
        }
        Ok(if end == 0 { 0 } else { size })
    }
}

/// Moves the next lines of `file` into `batch`. `is_same` says whether it is still the file that was read up to there.
pub(crate) fn fill(
    mut file: &File,
    lines: &mut Lines,
    batch: &mut Batch,
    mut is_same: impl FnMut(u64) -> io::Result<bool>,
) -> io::Result<Fill> {
    for _ in 0..READS_MAX {
        if lines.cut(batch, FRAMES_MAX) > 0 {
            return Ok(Fill::Lines);
        }
        let count = lines.read_from(&mut file)?;
        // Only after the read is it certain that what was read is of the file that we know.
        if !is_same(lines.position())? {
            file.rewind()?;
            lines.restart(0);
            return Ok(Fill::Rewritten);
        }
        if count == 0 {
            return Ok(Fill::End);
        }
    }
    Ok(Fill::Unfinished)
}

impl Fingerprint {
    /// Whether `file` is still the one that was read up to `position`.
    fn is_of(&mut self, file: &File, position: u64) -> io::Result<bool> {
        Ok(file.metadata()?.len() >= position && self.matches(file)?)
    }

    /// Whether `file` begins so. If it does, and its first line has grown, covers what there is now.
    fn matches(&mut self, file: &File) -> io::Result<bool> {
        let mut head = [0; FINGERPRINT_MAX];
        let len = super::read_up_to(file, &mut head, 0)?;
        let head = &head[..len];
        // The hash of no bytes is whatever the cursor says: an older one may hold 0.
        if self.len > len || (self.len > 0 && fnv1a(&head[..self.len]) != self.hash) {
            return Ok(false);
        }
        let line = memchr::memchr(b'\n', head).map_or(len, |lf| lf + 1);
        *self = Fingerprint { hash: fnv1a(&head[..line]), len: line };
        Ok(true)
    }
}

/// FNV-1a, 64 bit. Not against forgery: who writes the log can forge it anyway.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests;
