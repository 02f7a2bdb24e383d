//! A file that is open: whether it is the one that was read, and where to begin in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::cursor::{FINGERPRINT_MAX, FileCursor, FileId, Fingerprint, Known};
use crate::file::{Error, fnv1a, open_regular, read_up_to};

/// How far back a half-written last line is looked for when following starts at the end.
const HALF_LINE_MAX: u64 = 1 << 20;

/// A file that is open, and what it is known by.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) id: FileId,
    pub(super) fingerprint: Fingerprint,
    /// The last lines that were read of it.
    pub(super) known: Known,
}

impl Open {
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let (file, metadata) = open_regular(path)?;
        let (fingerprint, known) = (Fingerprint::default(), Known::default());
        Ok(Open { file, id: FileId::of(&metadata), fingerprint, known })
    }

    /// Whether it is the file of `cursor`, and has what was read up to there.
    pub(super) fn is_of(&self, cursor: &FileCursor) -> io::Result<bool> {
        let mut fingerprint = cursor.fingerprint;
        Ok(self.id == cursor.id
            && fingerprint.len > 0
            && fingerprint.is_of(&self.file, cursor.offset)?
            && cursor.known.are_before(&self.file, cursor.offset)?)
    }

    pub(super) fn cursor(&self, offset: u64) -> FileCursor {
        FileCursor { id: self.id, offset, fingerprint: self.fingerprint, known: self.known.clone() }
    }

    /// Where the last LF of the file ends; what is behind it is half a line.
    pub(super) fn last_line_end(&self) -> io::Result<u64> {
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

/// Behind the last line that a log has now.
pub fn end(path: &Path) -> Result<FileCursor, Error> {
    let mut open = Open::new(path)?;
    let mut end = || {
        let offset = open.last_line_end()?;
        open.fingerprint.matches(&open.file)?;
        open.known = Known::before(&open.file, offset)?;
        Ok(open.cursor(offset))
    };
    end().map_err(Error::read(path))
}

/// Where a [`Follower`](super::Follower) of `path` goes on that takes the place of a program which noted the log's first line,
/// without its end, and how many bytes it read. `None` if neither the log nor the one before it, `PATH.1`, is that log and has so
/// many. A line that was read in part is read again, whole.
pub fn behind(path: &Path, first_line: &[u8], bytes: u64) -> Result<Option<FileCursor>, Error> {
    let mut rotated = path.as_os_str().to_owned();
    rotated.push(".1");
    for name in [path, Path::new(&rotated)] {
        let mut open = match Open::new(name) {
            Err(error) if error.is_missing() => continue,
            opened => opened?,
        };
        if let Some(cursor) = open.behind(first_line, bytes).map_err(Error::read(name))? {
            return Ok(Some(cursor));
        }
    }
    Ok(None)
}

impl Open {
    fn behind(&mut self, first_line: &[u8], bytes: u64) -> io::Result<Option<FileCursor>> {
        let mut head = vec![0; first_line.len() + 1];
        let len = read_up_to(&self.file, &mut head, 0)?;
        let is_it = head[..len].strip_suffix(b"\n") == Some(first_line);
        if !is_it || self.file.metadata()?.len() < bytes {
            return Ok(None);
        }
        let mut part = vec![0; bytes.min(HALF_LINE_MAX) as usize];
        let begin = bytes - part.len() as u64;
        self.file.read_exact_at(&mut part, begin)?;
        let offset = memchr::memrchr(b'\n', &part).map_or(begin, |lf| begin + lf as u64 + 1);
        self.fingerprint.matches(&self.file)?;
        self.known = Known::before(&self.file, offset)?;
        Ok(Some(self.cursor(offset)))
    }
}

impl Fingerprint {
    /// Whether `file` is still the one that was read up to `position`.
    pub(super) fn is_of(&mut self, file: &File, position: u64) -> io::Result<bool> {
        Ok(file.metadata()?.len() >= position && self.matches(file)?)
    }

    /// Whether `file` begins so. If it does, and its first line has grown, covers what there is now.
    pub(super) fn matches(&mut self, file: &File) -> io::Result<bool> {
        let mut head = [0; FINGERPRINT_MAX];
        let len = read_up_to(file, &mut head, 0)?;
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
