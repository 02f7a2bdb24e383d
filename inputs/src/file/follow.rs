//! Follows one live file through rename, truncation, deletion and restart.
//!
//! Promises every line exactly once to whoever commits each batch's cursor with the batch's effect, with these
//! exceptions, which no reader of files can mend: what was written between our last read and a truncation
//! (logrotate's `copytruncate`) is lost, and half a line before it; what was compressed, deleted or moved to another
//! directory while nobody read it is lost and counted as a gap; a file that was truncated and grew past the old place
//! again with the very same first line is not told from one that only grew; and of a copy that takes the file's place
//! lines are read twice if it is not known for one ([`copy`](super::copy)). Knows nothing of syslog: lines go out as
//! bytes. Asks no clock.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::copy::Place;
use super::lines::Lines;
use super::rotation::{self, Next};
use super::watch::Watch;
use crate::cursor::{Cursor, FileCursor, FileId, Fingerprint, Known};
use crate::input::{self, Counters, FRAMES_MAX, Input, Now, Progress, Start, Wake};
use crate::record::Batch;
use crate::syslog::parse::Parser;
use open::Open;

mod open;
pub use open::{behind, end};

/// How many reads, of 64 KiB, a poll does at most before it returns without a whole line.
const READS_MAX: usize = 64;

/// How many rotated files a poll passes at most.
pub(crate) const FILES_MAX: usize = 16;

/// How often a file that is renamed while it is opened is looked for again.
const OPENS_MAX: usize = 100;

/// A file that was replaced, and is no copy as far as it goes, may be one that is still being written. It is read once
/// it did not grow for so long.
const REST: Duration = Duration::from_millis(100);

/// It is read after so long though it grows.
const RESTLESS: Duration = Duration::from_secs(2);

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
    /// The open file was written anew, and nobody knows yet where to go on in it.
    is_rewritten: bool,
    /// That happened while nobody read it.
    was_away: bool,
    /// Set while a file is looked at that may be a copy.
    look: Option<Look>,
    watch: Watch,
    counters: Counters,
}

/// Which file is looked at, since when, how large it was last, and since when it is that.
#[derive(Clone, Copy, Debug)]
struct Look {
    id: FileId,
    begun: Duration,
    size: u64,
    since: Duration,
}

impl Input for Follower {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        self.watch.take();
        let progress = self.advance(now.steady, batch);
        self.parser.parse(batch);
        let progress = progress?;
        batch.cursor = self.open.as_ref().map(|open| Cursor::File(open.cursor(self.lines.offset())));
        Ok(progress)
    }

    fn wake(&mut self) -> Wake<'_> {
        let wake = self.watch.wake(rotation::directory(&self.path), self.open.as_ref().map(|open| &open.file));
        if self.look.is_some() { Wake { within: wake.within.min(REST), ..wake } } else { wake }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Follower {
    /// A follower of `path`, which is first opened by a read. A file that is not there yet is read from its beginning.
    pub fn new(path: PathBuf, start: Start, parser: Parser) -> Self {
        let (lines, watch, counters) = (Lines::new(0), Watch::new(), Counters::default());
        Follower {
            path,
            parser,
            start,
            open: None,
            lines,
            is_rewritten: false,
            was_away: false,
            look: None,
            watch,
            counters,
        }
    }

    fn advance(&mut self, now: Duration, batch: &mut Batch) -> Result<Progress, Error> {
        for _ in 0..FILES_MAX {
            let Some(open) = &self.open else {
                if !self.begin()? {
                    return Ok(Progress::Missing(ABSENT));
                }
                continue;
            };
            // Asked before the file is read to its end: whoever writes to the next file has done with this one.
            let next = rotation::next(&self.path, open.id).map_err(Error::read(&self.path))?;
            match self.read_on(now, batch).map_err(Error::read(&self.path))? {
                Fill::Lines | Fill::Unfinished => return Ok(Progress::More),
                Fill::Rewritten => {}
                Fill::End if self.is_rewritten && self.look.is_some() => return Ok(Progress::Idle),
                Fill::End => match next {
                    Next::Itself | Next::Empty => {
                        self.look = None;
                        return Ok(Progress::Idle);
                    }
                    Next::Missing => {
                        self.look = None;
                        return Ok(Progress::Missing(ABSENT));
                    }
                    Next::File { path, id, is_rotated } => {
                        let Some(next) = self.open_next(&path, id)? else { continue };
                        let whole = is_rotated || path != self.path;
                        let place = self.settle(&next.file, whole, now).map_err(Error::read(&self.path))?;
                        let Some(place) = place else { return Ok(Progress::Idle) };
                        self.change_to(next, place, batch).map_err(Error::read(&self.path))?;
                    }
                },
            }
            if !batch.is_empty() {
                break;
            }
        }
        Ok(Progress::More)
    }

    /// Reads on in the open file.
    fn read_on(&mut self, now: Duration, batch: &mut Batch) -> io::Result<Fill> {
        let Some(Open { file, fingerprint, known, .. }) = &mut self.open else { return Ok(Fill::End) };
        if !self.is_rewritten {
            let behind = self.lines.offset();
            let filled = fill(file, &mut self.lines, batch, |position| fingerprint.is_of(file, position))?;
            match filled {
                Fill::Lines => known.extend(batch),
                Fill::Rewritten => {
                    // The cursor stays where it is until we know more.
                    self.lines.restart(behind);
                    self.is_rewritten = true;
                }
                Fill::Unfinished | Fill::End => {}
            }
            return Ok(filled);
        }
        let mut file = file.try_clone()?;
        if file.metadata()?.len() == 0 {
            self.look = None;
            return Ok(Fill::End);
        }
        let Some(place) = self.settle(&file, false, now)? else { return Ok(Fill::End) };
        file.seek(SeekFrom::Start(place.offset))?;
        match std::mem::take(&mut self.was_away) {
            true => self.counters.gaps += u64::from(place.offset == 0),
            false => self.counters.truncations += u64::from(place.offset == 0),
        }
        self.lines.restart(place.offset);
        self.is_rewritten = false;
        if let Some(open) = &mut self.open {
            (open.fingerprint, open.known) = (Fingerprint::default(), place.known);
            open.fingerprint.matches(&file)?;
        }
        Ok(Fill::Rewritten)
    }

    /// Says where to go on in a file that stands where ours stood; `None`: it may be a copy that is still being
    /// written. What is `whole` is not.
    fn settle(&mut self, file: &File, whole: bool, now: Duration) -> io::Result<Option<Place>> {
        let Some(Open { known, .. }) = &self.open else { return Ok(Some(Place::default())) };
        let metadata = file.metadata()?;
        let (id, size) = (FileId::of(&metadata), metadata.len());
        let known_look = self.look.filter(|look| look.id == id);
        let is_first = known_look.is_none();
        let look = self.look.insert(known_look.unwrap_or(Look { id, begun: now, size, since: now }));
        if look.size != size {
            (look.size, look.since) = (size, now);
        }
        let is_whole = whole || known.is_empty() || now >= look.since + REST || now >= look.begun + RESTLESS;
        if !is_first && !is_whole {
            return Ok(None);
        }
        let place = match known.place_in(file)? {
            Some(place) if is_whole || place.missing == 0 => place,
            None if is_whole => Place::default(),
            _ => return Ok(None),
        };
        self.counters.copies += place.lines;
        self.look = None;
        Ok(Some(place))
    }

    /// Opens the file `id` at `path`; `None` if it is not there any more.
    fn open_next(&mut self, path: &Path, id: FileId) -> Result<Option<Open>, Error> {
        match Open::new(path) {
            Ok(next) if next.id == id => Ok(Some(next)),
            Ok(_) => Ok(None), // renamed since we asked
            Err(error) if error.is_missing() => Ok(None),
            // A rotated file that we may not read must not keep us from the current one.
            Err(_) if path != self.path => {
                let current = Open::new(&self.path)?;
                self.counters.gaps += 1;
                Ok(Some(current))
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on with another file; a half line that ends the old one is a line now, unless the copy has it.
    fn change_to(&mut self, mut next: Open, place: Place, batch: &mut Batch) -> io::Result<()> {
        next.file.seek(SeekFrom::Start(place.offset))?;
        next.known = place.known;
        if place.offset == 0 {
            self.lines.finish(batch);
        }
        self.counters.gaps += u64::from(std::mem::take(&mut self.was_away));
        self.counters.rotations += 1;
        self.read_from(next, place.offset);
        Ok(())
    }

    fn read_from(&mut self, open: Open, offset: u64) {
        self.watch.forget_file();
        self.lines.restart(offset);
        self.is_rewritten = false;
        self.open = Some(open);
    }

    /// Opens the first file, and says whether there was one.
    fn begin(&mut self) -> Result<bool, Error> {
        let open = match &self.start {
            Start::Cursor(Cursor::File(cursor)) => self.find(cursor)?,
            _ => None,
        };
        let open = match open {
            Some(open) => open,
            None => match Open::new(&self.path) {
                Ok(open) => open,
                Err(error) if error.is_missing() => {
                    // What comes to be here is new, unless it is a copy of what was read.
                    if !matches!(self.start, Start::Cursor(_)) {
                        self.start = Start::Beginning;
                    }
                    return Ok(false);
                }
                Err(error) => return Err(error),
            },
        };
        self.begin_in(open).map_err(Error::read(&self.path))?;
        self.start = Start::Beginning;
        Ok(true)
    }

    /// Begins in a file.
    fn begin_in(&mut self, mut open: Open) -> io::Result<()> {
        let (mut offset, mut is_rewritten) = (0, false);
        match &self.start {
            Start::Cursor(Cursor::File(cursor)) if cursor.offset > 0 || cursor.id != open.id => {
                offset = cursor.offset;
                is_rewritten = !open.is_of(cursor)?;
                open.known = match cursor.known.is_empty() && !is_rewritten {
                    true => Known::before(&open.file, offset)?, // an older version's
                    false => cursor.known.clone(),
                };
                if cursor.id == open.id {
                    open.fingerprint = cursor.fingerprint;
                }
            }
            Start::Now => {
                offset = open.last_line_end()?;
                open.known = Known::before(&open.file, offset)?;
            }
            Start::Beginning | Start::Cursor(_) | Start::Back(_) => {}
        }
        if !is_rewritten {
            open.fingerprint.matches(&open.file)?;
            open.file.seek(SeekFrom::Start(offset))?;
        }
        self.read_from(open, offset);
        // A copy that took its place is looked for as if that had happened under our eyes.
        (self.is_rewritten, self.was_away) = (is_rewritten, is_rewritten);
        Ok(())
    }

    /// Opens the file of `cursor`, whatever it is called by now. `None` if it is not there any more, or not to be read.
    fn find(&self, cursor: &FileCursor) -> Result<Option<Open>, Error> {
        let id = cursor.id;
        for _ in 0..OPENS_MAX {
            let is_current = std::fs::metadata(&self.path).is_ok_and(|metadata| FileId::of(&metadata) == id);
            let name = match is_current {
                true => Some(self.path.clone()),
                false => rotation::find(&self.path, id).map_err(Error::read(&self.path))?,
            };
            let Some(name) = name else { return Ok(None) };
            let open = match Open::new(&name) {
                Ok(open) if open.id == id => open,
                Ok(_) => continue, // renamed since we asked
                Err(error) if error.is_missing() => continue,
                Err(_) if name != self.path => return Ok(None),
                Err(error) => return Err(error),
            };
            let is_same = open.is_of(cursor).map_err(Error::read(&self.path))?;
            // Nothing but its name tells a file that was written anew from a stranger on a reused inode.
            let is_ours = is_same || name == self.path || rotation::is_rotated(&self.path, &name);
            return Ok(is_ours.then_some(open));
        }
        Ok(None)
    }
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

#[cfg(test)]
mod tests;
