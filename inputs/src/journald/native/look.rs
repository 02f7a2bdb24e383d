//! Which files there are, and how far each may be read: the two looks that the module above speaks of.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{FILES_MAX, LIST_EVERY, Native, Tracked};
use crate::cursor::Id128;
use crate::journald::Error;
use crate::journald::disk::Journal;
use crate::record::Timestamp;

/// A directory that was changed less long ago may change again without a new stamp: they are as coarse as 10 ms.
const SETTLED: Duration = Duration::from_millis(200);

impl Native {
    /// The two looks. A sequence that is new in the second is read from the next look on.
    pub(super) fn look(&mut self, now: Timestamp) {
        let is_listed = self.settled && self.idle < LIST_EVERY && !self.is_relisted();
        self.idle = 0;
        self.problem = None;
        self.seen.clear();
        self.refresh();
        for file in &self.files {
            let head = &file.journal.head;
            let seen = self.seen.entry(head.seqnum_id).or_default();
            *seen = (*seen).max(head.tail.seqnum);
        }
        if !is_listed {
            let listed = self.list();
            let is_old = |(_, changed): &(_, Option<Timestamp>)| changed.is_none_or(|at| at.after(SETTLED) < now);
            self.settled = listed.is_ok() && self.listed.iter().all(is_old);
            if let Err(problem) = listed {
                self.problem = Some(problem);
            }
        }
        self.refresh();
        self.retire();
    }

    /// Whether a directory was changed since it was listed.
    pub(super) fn is_relisted(&self) -> bool {
        self.listed.iter().any(|(path, changed)| modified(path) != *changed)
    }

    fn refresh(&mut self) {
        for file in self.files.iter_mut().filter(|file| !file.is_final) {
            let was_closed = file.journal.is_closed();
            match file.journal.refresh() {
                Ok(()) => {}
                Err(Error::Open(error)) if error.is_missing() => {} // vacuumed just now
                Err(error) => self.problem = Some(error),
            }
            if was_closed {
                file.journal.close();
            }
            file.is_final = file.archived;
        }
    }

    /// Lets go of files that will give nothing more. An open file that was deleted would keep its place on the disk.
    fn retire(&mut self) {
        let Native { files, done, counters, .. } = self;
        files.retain_mut(|file| {
            let is_read = file.next >= file.journal.head.entries;
            if !is_read || !(file.is_final || file.gone) {
                return true;
            }
            counters.damaged += file.journal.skipped;
            if !file.gone {
                done.insert(std::mem::take(&mut file.path));
            }
            false
        });
    }

    /// Lists the directories, and opens what is new in them.
    fn list(&mut self) -> Result<(), Error> {
        let mut names = HashMap::new();
        self.listed.clear();
        for root in &self.roots {
            let mut directories = vec![root.path.clone()];
            while let Some(directory) = directories.pop() {
                // Before it is listed, so that what comes meanwhile shows.
                self.listed.push((directory.clone(), modified(&directory)));
                match list_one(&directory) {
                    Ok((files, below)) => {
                        let is_top = directory == root.path;
                        if !is_top || root.machine.is_none() {
                            names.extend(files.into_iter().map(|path| (path, root.volatile)));
                        }
                        if is_top {
                            directories.extend(below.into_iter().filter(|path| is_of(path, root.machine)));
                        }
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                    // Not all was seen, so what was not is not gone.
                    Err(cause) => return Err(Error::Read { path: directory, cause }),
                }
            }
        }
        self.done.retain(|path| names.contains_key(path));
        names.retain(|path, _| !self.done.contains(path));
        // An archive keeps its name. Any other name may be another file at each look.
        for file in &mut self.files {
            file.gone = !file.archived || names.remove(&file.path).is_none();
        }
        self.counters.unreadable = 0;
        let mut problem = None;
        for (path, volatile) in names {
            match self.track(path, volatile) {
                Ok(()) => {}
                Err(Error::Open(error)) if error.is_missing() => {}
                Err(error @ Error::Unsupported { .. }) => problem = Some(error),
                // A live file that was just made has no header yet.
                Err(_) => self.counters.unreadable += 1,
            }
        }
        problem.map_or(Ok(()), Err)
    }

    /// Takes a file in, or finds it among those that we have.
    fn track(&mut self, path: PathBuf, volatile: bool) -> Result<(), Error> {
        let mut journal = Journal::open(&path)?;
        let archived = is_archive(&path);
        let file_id = journal.head.file_id;
        // The name says nothing: between listing and opening it may have become another's.
        if let Some(file) = self.files.iter_mut().find(|file| file.journal.head.file_id == file_id) {
            file.journal.rename(&path);
            (file.gone, file.archived, file.path) = (false, archived, path);
            return Ok(());
        }
        // With a cursor most archives are behind it; they are not kept open.
        let place = self.places.get(&journal.head.seqnum_id);
        let is_read = place.is_some_and(|place| journal.head.tail.seqnum <= place.seqnum);
        if archived && (is_read || journal.head.entries == 0) {
            self.done.insert(path);
            return Ok(());
        }
        if self.files.len() >= FILES_MAX {
            let cause = io::Error::other("there are too many journals that were not read yet");
            return Err(Error::Read { path, cause });
        }
        // Taken in again: it was away, or another follower had read of it.
        let next = match place {
            Some(place) if place.seqnum >= journal.head.first.seqnum => {
                journal.first(|other| other.seqnum > place.seqnum).unwrap_or(0)
            }
            _ => 0,
        };
        if archived {
            journal.close();
        }
        let (is_final, gone, found) = (false, false, None);
        self.files.push(Tracked { path, volatile, archived, is_final, gone, journal, next, found });
        Ok(())
    }
}

/// Rotated files are called `system@….journal`, and after an unclean end `….journal~`.
fn is_archive(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.as_encoded_bytes();
        let is_id = |name: &[u8]| {
            let part = name.split(|byte| *byte == b'@').next_back().unwrap_or_default();
            part.len() > 33 && part[..33].iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
        };
        name.ends_with(b"~") || (name.contains(&b'@') && is_id(name))
    })
}

/// Whether a directory is called as one of this machine's is: by its id, and behind a dot the
/// namespace if it is of one.
fn is_of(path: &Path, machine: Option<Id128>) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    machine.is_none_or(|machine| name.starts_with(machine.to_string().as_bytes()))
}

/// The journals in a directory, and the directories in it that are called as those of machines and namespaces are.
fn list_one(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut below) = (Vec::new(), Vec::new());
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let name = name.as_encoded_bytes();
        if name.ends_with(b".journal") || name.ends_with(b".journal~") {
            files.push(item.path());
        } else if let Some((id, rest)) = name.split_at_checked(32)
            && id.iter().all(u8::is_ascii_hexdigit)
            && (rest.is_empty() || rest[0] == b'.')
        {
            below.push(item.path());
        }
    }
    Ok((files, below))
}

/// When a directory was last changed; `None` of one that is not there.
fn modified(path: &Path) -> Option<Timestamp> {
    fs::metadata(path).ok().map(|metadata| crate::file::modified(&metadata))
}
