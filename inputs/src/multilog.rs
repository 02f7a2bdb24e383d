//! Follows the directory of a live multilog, or of a svlogd with `-t`, through rotation and restart.
//!
//! Promises every line exactly once to whoever commits each batch's cursor with the batch's effect: through several
//! rotations between two polls or while nobody read, and where many lines carry one label. A cursor says behind which
//! line reading stopped, not where in which file, so that it holds across copies of the directory. What multilog
//! deleted (its `n`) or processed (its `!`) while nobody read it is lost and counted as a gap; what a processor left
//! of it is read as far as its lines have labels. Once the clock was set back, old files that were finished since and
//! not yet read may be missed, for their names are out of order. Knows nothing of sshd: lines go out as bytes, labels
//! included. Asks no clock.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::cursor::{Cursor, FileId, Label, MultilogCursor};
use crate::file;
use crate::file::follow::{ABSENT, FILES_MAX, Fill, fill};
use crate::file::lines::Lines;
use crate::file::watch::Watch;
use crate::input::{self, Counters, Input, Now, Progress, Start, Wake};
use crate::record::Batch;
use crate::syslog::parse::Parser;
use directory::{Entry, Found, Next, Place};

mod directory;

/// How often the files are listed anew if they are renamed while a place in them is looked for.
const LISTS_MAX: usize = 100;

/// Why a directory cannot be followed. Nothing is lost by it: the next poll tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of it was not read.
    #[error(transparent)]
    File(#[from] file::Error),
    /// Its lines have no labels, so there is no telling where reading stopped.
    #[error(
        "{} has lines without time; make `t` the first action of multilog, as in `multilog t {}`, and start it again",
        .0.join("current").display(), .0.display()
    )]
    Unlabelled(PathBuf),
    /// There is a file where a directory should be.
    #[error("{} is no directory; name the directory that multilog writes, the one that holds `current`", .0.display())]
    NoDirectory(PathBuf),
}

/// Follows one directory. See the module.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    parser: Parser,
    /// Where to begin; nothing once that is settled.
    start: Option<Start>,
    open: Option<Open>,
    lines: Lines,
    /// Behind which line we are.
    place: MultilogCursor,
    watch: Watch,
    counters: Counters,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    /// The last whole line had no label.
    unlabelled: bool,
    /// Some line had none, and was not delivered.
    foreign: bool,
    /// The file before ended within a line: the first line of this one is the rest of it, unless it has a label.
    begins_within: bool,
    /// Lines up to this label were delivered before; nothing once one was later.
    known: Option<Label>,
}

/// What is read after the file that is.
#[derive(Debug, PartialEq, Eq)]
struct Successor {
    entry: Entry,
    /// Where in it.
    offset: u64,
    /// Its lines up to this label were delivered before.
    known: Option<Label>,
    /// What was between the two is gone.
    is_gap: bool,
}

impl Input for Follower {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        self.watch.take();
        let progress = self.advance(batch);
        self.parser.parse(batch);
        let progress = progress?;
        batch.cursor = self.start.is_none().then_some(Cursor::Multilog(self.place));
        Ok(progress)
    }

    fn wake(&mut self) -> Wake<'_> {
        self.watch.wake(&self.directory, self.open.as_ref().map(|open| &open.file))
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Follower {
    /// A follower of `directory`. Nothing is opened before the first read.
    pub fn new(directory: PathBuf, start: Start, parser: Parser) -> Self {
        let (lines, watch, counters) = (Lines::new(0), Watch::new(), Counters::default());
        Follower {
            directory,
            parser,
            start: Some(start),
            open: None,
            lines,
            place: MultilogCursor::default(),
            watch,
            counters,
        }
    }

    fn advance(&mut self, batch: &mut Batch) -> Result<Progress, Error> {
        for _ in 0..FILES_MAX {
            let Some(open) = &self.open else {
                if !self.begin()? {
                    return Ok(Progress::Missing(ABSENT));
                }
                continue;
            };
            // Asked before the file is read to its end: multilog has done with it when it makes the next one.
            let (id, unlabelled) = (open.id, open.unlabelled);
            let next = directory::next(&self.directory, id).map_err(file::Error::read(&self.directory))?;
            let is_same = |position| Ok(open.file.metadata()?.len() >= position);
            match fill(&open.file, &mut self.lines, batch, is_same).map_err(file::Error::read(&self.directory))? {
                Fill::Lines => self.keep_new(batch),
                Fill::Unfinished => return Ok(Progress::More),
                Fill::Rewritten => self.counters.truncations += 1,
                Fill::End => match next {
                    Next::Itself if unlabelled => return Err(Error::Unlabelled(self.directory.clone())),
                    next => match self.successor(next)? {
                        Some(successor) => self.change_to(id, successor, batch)?,
                        None => return Ok(Progress::Idle),
                    },
                },
            }
            if !batch.is_empty() {
                break;
            }
        }
        Ok(Progress::More)
    }

    /// Opens the first file, and says whether there was one.
    fn begin(&mut self) -> Result<bool, Error> {
        for _ in 0..LISTS_MAX {
            let listed = directory::list(&self.directory);
            let files = match listed {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(Error::NoDirectory(self.directory.clone()));
                }
                files => files.map_err(file::Error::read(&self.directory))?,
            };
            if files.is_empty() {
                // What comes is new; but who was here before may only be waiting for a file system.
                self.start.take_if(|start| !matches!(start, Start::Cursor(_)));
                return Ok(false);
            }
            let begun = match self.start {
                Some(Start::Now) => self.begin_at_end(&files)?,
                Some(Start::Cursor(Cursor::Multilog(cursor))) => self.resume(&files, cursor)?,
                Some(_) | None => self.read_from_first(&files, None)? && self.is_settled(&files)?,
            };
            if begun {
                self.start = None;
                return Ok(true);
            }
            self.open = None;
        }
        Ok(false)
    }

    fn begin_at_end(&mut self, files: &[Entry]) -> Result<bool, Error> {
        let Some(end) = directory::end(files)? else { return Ok(false) };
        let Some(place) = end.place else { return Ok(false) };
        if !self.is_settled(files)? {
            return Ok(false);
        }
        self.read_from(place, None).unlabelled = end.unlabelled;
        self.place = end.cursor;
        Ok(true)
    }

    /// Goes on behind the line of `cursor`; if it is not there any more, at the first line that is later.
    fn resume(&mut self, files: &[Entry], cursor: MultilogCursor) -> Result<bool, Error> {
        let first = directory::from(files, cursor);
        let begun = match cursor.lines {
            0 => self.read_from_first(first, None)?,
            _ => match directory::find(files, cursor)? {
                Found::Here(place) => {
                    self.read_from(place, None);
                    true
                }
                Found::Renamed => false,
                Found::Nowhere if !self.is_settled(files)? => false,
                Found::Nowhere => {
                    let begun = self.read_from_first(first, Some(cursor.label))?;
                    self.counters.gaps += u64::from(begun);
                    begun
                }
            },
        };
        if begun {
            self.place = cursor;
        }
        Ok(begun)
    }

    /// Whether the files are what they were: a name and an inode alone may be another file's by now.
    fn is_settled(&self, files: &[Entry]) -> Result<bool, Error> {
        Ok(directory::list(&self.directory).map_err(file::Error::read(&self.directory))? == files)
    }

    fn read_from_first(&mut self, files: &[Entry], known: Option<Label>) -> Result<bool, Error> {
        for entry in files {
            match entry.open() {
                Ok(Some(file)) => {
                    self.read_from(Place::of(entry, file, 0)?, known);
                    return Ok(true);
                }
                Ok(None) => return Ok(false),
                // An old file that we may not read must not keep us from the later ones.
                Err(_) if entry.finished.is_some() => self.counters.gaps += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn read_from(&mut self, place: Place, known: Option<Label>) -> &mut Open {
        let Place { file, id, offset } = place;
        self.watch.forget_file();
        self.lines.restart(offset);
        self.open.insert(Open { file, id, unlabelled: false, foreign: false, begins_within: false, known })
    }

    /// Goes on with the `successor` of the file `id`. Half a line that ends the old file is cut for good: the rest of
    /// it, if there is any, has no label.
    fn change_to(&mut self, id: FileId, successor: Successor, batch: &mut Batch) -> Result<(), Error> {
        let Successor { entry, offset, known, is_gap } = &successor;
        let place = match entry.open() {
            Ok(Some(file)) => Place::of(entry, file, *offset)?,
            Ok(None) => return Ok(()), // renamed since we asked
            // An old file that we may not read must not keep us from the current one.
            Err(error) if entry.finished.is_some() => return self.change_to_current(id, error.into(), batch),
            Err(error) => return Err(error.into()),
        };
        // What a processor is done with is deleted, and a file that came meanwhile may have its inode. Now that ours is
        // open no other can have it.
        let again = directory::next(&self.directory, id).map_err(file::Error::read(&self.directory))?;
        if self.successor(again)?.as_ref() != Some(&successor) {
            return Ok(());
        }
        self.counters.gaps += u64::from(*is_gap);
        self.leave_for(place, *known, batch);
        Ok(())
    }

    fn change_to_current(&mut self, id: FileId, error: Error, batch: &mut Batch) -> Result<(), Error> {
        let files = directory::list(&self.directory).map_err(file::Error::read(&self.directory))?;
        let Some(current) = files.last().filter(|it| it.is_raw() && it.id != id) else { return Err(error) };
        let Some(file) = current.open()? else { return Ok(()) };
        self.counters.gaps += 1;
        self.leave_for(Place::of(current, file, 0)?, None, batch);
        Ok(())
    }

    fn leave_for(&mut self, place: Place, known: Option<Label>, batch: &mut Batch) {
        let begins_within = self.lines.finish(batch);
        if begins_within {
            batch.cut_all();
            self.keep_new(batch);
        }
        self.counters.gaps += u64::from(self.open.as_ref().is_some_and(|open| open.foreign));
        self.counters.rotations += 1;
        self.read_from(place, known).begins_within = begins_within;
    }

    /// The file to go on with where `next` follows ours, which was read to its end.
    fn successor(&self, next: Next) -> Result<Option<Successor>, Error> {
        let is = |entry: &Entry| Successor { entry: entry.clone(), offset: 0, known: None, is_gap: false };
        let files = match next {
            Next::Itself | Next::Nothing => return Ok(None),
            Next::File(entry) => return Ok(Some(is(&entry))),
            Next::Vanished(files) => files,
        };
        // Either multilog fed our file to a processor, and what that made of it has its name now; or it was deleted.
        let later = directory::from(&files, MultilogCursor { lines: 1, ..self.place });
        let Some(first) = later.first() else { return Ok(None) };
        if first.is_raw() {
            return Ok(Some(is(first)));
        }
        let made: Vec<Entry> = later.iter().filter(|entry| !entry.is_raw()).cloned().collect();
        if let Found::Here(Place { id, offset, .. }) = directory::find(&made, self.place)? {
            let entry = made.iter().find(|entry| entry.id == id);
            return Ok(entry.map(|entry| Successor { offset, ..is(entry) }));
        }
        let Ok(Some(file)) = first.open() else { return Ok(Some(is(first))) };
        Ok(match directory::first_label(&file).map_err(file::Error::read(&first.path))? {
            // Made of ours, and nothing that could be read.
            None => later.get(1).map(is),
            Some(label) if label <= self.place.label => Some(Successor { known: Some(self.place.label), ..is(first) }),
            // Files between the two may be deleted, too.
            Some(_) => Some(Successor { is_gap: true, ..is(first) }),
        })
    }

    /// Leaves in `batch` what has a label and was not delivered before, and notes how far that is.
    fn keep_new(&mut self, batch: &mut Batch) {
        let Some(open) = &mut self.open else { return };
        let place = &mut self.place;
        batch.retain(|line| {
            let begins_within = std::mem::take(&mut open.begins_within);
            let Some(label) = Label::leading(line) else {
                open.unlabelled = !begins_within;
                open.foreign |= !begins_within;
                return false;
            };
            open.unlabelled = false;
            if open.known.is_some_and(|known| label <= known) {
                return false;
            }
            open.known = None;
            let lines = if place.label == label { place.lines + 1 } else { 1 };
            *place = MultilogCursor { label, lines };
            true
        });
    }
}

#[cfg(test)]
mod tests;
