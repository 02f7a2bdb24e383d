//! The files of a multilog directory, in the order in which they were written, and where in them a cursor is.
//!
//! multilog renames `current` to `previous`, opens a new `current`, and gives the old one its last name,
//! `@LABEL.s`, by a link (with `!processor`: gives that name to what the processor made of it). LABEL says when
//! the file was finished, so no line in it has a later one; but what multilog had read by then and not yet
//! written begins the next file with an earlier one.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cursor::{FileId, Label, MultilogCursor};
use crate::file::Error;
use crate::file::lines::Lines;
use crate::record::Batch;

/// How many lines are looked at together when a cursor is looked for.
const LOOKED_AT: usize = 1000;

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    /// When it was finished, as its name says; `None` = `current`, or what is about to be named.
    pub(super) finished: Option<Label>,
}

impl Entry {
    /// Whether lines may still be added to it.
    fn is_current(&self) -> bool {
        self.finished.is_none() && self.path.ends_with("current")
    }

    /// Whether it is as multilog wrote it for certain: no processor's work.
    pub(super) fn is_raw(&self) -> bool {
        self.finished.is_none() && !self.path.ends_with("processed")
    }

    /// Whether a line with this label can be in it.
    fn may_hold(&self, label: Label) -> bool {
        self.finished.is_none_or(|finished| finished >= label)
    }

    /// Opens it, unless it has another name by now.
    pub(super) fn open(&self) -> Result<Option<File>, Error> {
        match crate::file::open_regular(&self.path) {
            Ok((file, metadata)) => Ok((FileId::of(&metadata) == self.id).then_some(file)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All of them, the oldest first; none where there is no directory.
///
/// `current` is looked at first, then `previous`, then `processed`, then the names: what was rotated away before we
/// asked for `current` is one of those when we ask for it, or has its name before we list. So none is missed that
/// lies between two others.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    let current = unfinished(directory.join("current"))?;
    let previous = match unfinished(directory.join("previous"))? {
        Some(previous) => Some(previous),
        None => processed(directory)?,
    };
    let mut files = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(finished) = finished(entry.file_name().as_bytes()) else { continue };
        // A link could name any file of this machine.
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_file() {
            files.push(Entry { path: entry.path(), id: FileId::of(&metadata), finished: Some(finished) });
        }
    }
    // Where svlogd's processor just made `@LABEL.s` of `@LABEL.u`, both are there; the original comes first.
    files.sort_by(|a, b| a.finished.cmp(&b.finished).then(b.path.cmp(&a.path)));
    files.dedup_by(|a, b| a.finished == b.finished);
    for entry in [previous, current].into_iter().flatten() {
        if !files.iter().any(|known| known.id == entry.id) {
            files.push(entry);
        }
    }
    Ok(files)
}

fn unfinished(path: PathBuf) -> io::Result<Option<Entry>> {
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(Entry { path, id: FileId::of(&metadata), finished: None })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a processor made, between the end of the original and its own name; or an original that came meanwhile.
fn processed(directory: &Path) -> io::Result<Option<Entry>> {
    let processed = unfinished(directory.join("processed"))?;
    // Executable, it is whole.
    let is_whole = |entry: &Entry| fs::symlink_metadata(&entry.path).is_ok_and(|it| it.mode() & 0o100 != 0);
    let processed = processed.filter(is_whole);
    Ok(unfinished(directory.join("previous"))?.or(processed))
}

/// The label of `@4000….s`, which is whole, or `@4000….u`, which an outage may have cut.
fn finished(name: &[u8]) -> Option<Label> {
    let label = name.strip_suffix(b".s").or_else(|| name.strip_suffix(b".u"))?;
    Label::leading(label).filter(|_| label.len() == Label::LEN)
}

/// What follows the file `id`.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing: it is `current`.
    Itself,
    /// Nothing yet: the next one is still to be made.
    Nothing,
    /// This one.
    File(Entry),
    /// The file has no name any more; these have.
    Vanished(Vec<Entry>),
}

/// Says what follows the file `id`.
pub(super) fn next(directory: &Path, id: FileId) -> io::Result<Next> {
    if unfinished(directory.join("current"))?.is_some_and(|current| current.id == id) {
        return Ok(Next::Itself);
    }
    let files = list(directory)?;
    Ok(match files.iter().position(|entry| entry.id == id) {
        Some(at) => files.into_iter().nth(at + 1).map_or(Next::Nothing, Next::File),
        None if files.is_empty() => Next::Nothing,
        None => Next::Vanished(files),
    })
}

/// The files from the one on that holds the line of `cursor`, or would if it were still there.
pub(super) fn from(files: &[Entry], cursor: MultilogCursor) -> &[Entry] {
    let holds = |entry: &Entry| match cursor.lines {
        0 => entry.finished.is_none_or(|finished| finished > cursor.label),
        _ => entry.may_hold(cursor.label),
    };
    let at = files.iter().position(holds).unwrap_or(files.len());
    &files[at..]
}

/// A place in a file.
pub(super) struct Place {
    pub(super) file: File,
    pub(super) id: FileId,
    pub(super) offset: u64,
}

impl Place {
    /// The place of `offset` in `file`, which `entry` is.
    pub(super) fn of(entry: &Entry, mut file: File, offset: u64) -> Result<Self, Error> {
        file.seek(SeekFrom::Start(offset)).map_err(Error::read(&entry.path))?;
        Ok(Place { file, id: entry.id, offset })
    }
}

/// What came of a search.
pub(super) enum Found {
    /// The line of the cursor ends here.
    Here(Place),
    /// It is in none of the files.
    Nowhere,
    /// Files were renamed meanwhile: list them again.
    Renamed,
}

/// Finds the line of `cursor`.
///
/// By its place and not by comparing labels: once the clock was set back, later lines have earlier labels. The file
/// that holds it may then have an earlier name, too, so those come last.
pub(super) fn find(files: &[Entry], cursor: MultilogCursor) -> Result<Found, Error> {
    let (earlier, later): (Vec<&Entry>, Vec<&Entry>) = files.iter().partition(|it| !it.may_hold(cursor.label));
    for group in [later, earlier].iter().filter(|_| cursor.lines > 0) {
        let mut seen = 0;
        for entry in group {
            let file = match entry.open() {
                Ok(Some(file)) => file,
                Ok(None) => return Ok(Found::Renamed),
                // One that we may not read must not keep us from the others.
                Err(_) if entry.finished.is_some() => continue,
                Err(error) => return Err(error),
            };
            let mut at = None;
            let scanned = scan(&file, entry.is_current(), |label, offset| {
                seen += u64::from(label == Some(cursor.label));
                at = (seen == cursor.lines).then_some(offset);
                at.is_none()
            });
            scanned.map_err(Error::read(&entry.path))?;
            let Some(offset) = at else { continue };
            return Place::of(entry, file, offset).map(Found::Here);
        }
    }
    Ok(Found::Nowhere)
}

/// Shows `each` the label of every line of `file`, `None` where it has none, and where the line ends, as long as it
/// returns true. Half a line at the end of the file is one if the file `is_growing` no more.
fn scan(mut file: &File, is_growing: bool, mut each: impl FnMut(Option<Label>, u64) -> bool) -> io::Result<()> {
    file.rewind()?;
    let (mut lines, mut batch) = (Lines::new(0), Batch::default());
    loop {
        batch.clear();
        // One at a time, for the offset behind each.
        while lines.cut(&mut batch, 1) > 0 {
            if !each(batch.lines().next_back().and_then(Label::leading), lines.offset()) {
                return Ok(());
            }
            if batch.len() >= LOOKED_AT {
                batch.clear();
            }
        }
        if lines.read_from(&mut file)? == 0 {
            break;
        }
    }
    if !is_growing && lines.finish(&mut batch) {
        each(batch.lines().next_back().and_then(Label::leading), lines.offset());
    }
    Ok(())
}

/// What a file ends in.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// The label of its last line that has one.
    label: Option<Label>,
    /// How many lines with it stand at the end.
    lines: u64,
    /// All lines of the file carry it.
    is_all: bool,
    /// Whether the last line has no label.
    unlabelled: bool,
    /// Where the last line ends.
    end: u64,
}

fn last_run(file: &File, is_growing: bool) -> io::Result<Run> {
    let mut run = Run::default();
    scan(file, is_growing, |label, end| {
        run.end = end;
        run.unlabelled = label.is_none();
        let Some(label) = label else { return true };
        let same = run.label == Some(label);
        run.is_all = run.label.is_none() || (run.is_all && same);
        run.lines = if same { run.lines + 1 } else { 1 };
        run.label = Some(label);
        true
    })?;
    Ok(run)
}

/// The end of the log.
pub(super) struct End {
    /// Of the last file, behind its last whole line; `None` if there is no file.
    pub(super) place: Option<Place>,
    /// What goes on there.
    pub(super) cursor: MultilogCursor,
    /// Whether the last whole line of that file has no label.
    pub(super) unlabelled: bool,
}

/// Finds the end of the log; `None` if files were renamed meanwhile.
pub(super) fn end(files: &[Entry]) -> Result<Option<End>, Error> {
    let mut end = End { place: None, cursor: MultilogCursor::default(), unlabelled: false };
    for entry in files.iter().rev() {
        let file = match entry.open() {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(_) if end.place.is_some() => break,
            Err(error) => return Err(error),
        };
        let run = last_run(&file, entry.is_current()).map_err(Error::read(&entry.path))?;
        if end.place.is_none() {
            end.place = Some(Place::of(entry, file, run.end)?);
            end.unlabelled = run.unlabelled;
        }
        match (run.label, entry.finished) {
            (Some(label), _) if end.cursor.lines == 0 || end.cursor.label == label => {
                end.cursor = MultilogCursor { label, lines: end.cursor.lines + run.lines };
                if !run.is_all {
                    break;
                }
            }
            // Another label: the run begins with the file behind this one.
            (Some(_), _) => break,
            (None, Some(finished)) if end.cursor.lines == 0 => {
                end.cursor.label = finished;
                break;
            }
            (None, _) => {}
        }
    }
    Ok(Some(end))
}

/// The first line's label, if there is a line and it has one.
pub(super) fn first_label(file: &File) -> io::Result<Option<Label>> {
    let mut first = None;
    scan(file, true, |label, _| {
        first = label;
        false
    })?;
    let mut file = file;
    file.rewind()?;
    Ok(first)
}
