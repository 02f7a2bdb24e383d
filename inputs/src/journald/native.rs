//! Follows a directory of journal files by reading them.
//!
//! Promises every entry once and in the order of its sequence to whoever commits each batch's cursor with the batch's
//! effect: through rotation, vacuuming, an unclean end of journald (`system@….journal~`), a new boot, and the volatile
//! journal's move to the persistent one. What was vacuumed before it was read is counted as a gap, as far as its
//! numbers tell.
//!
//! How: each file is read by the number of its entries, so nothing in it can be passed over. Between files of one
//! sequence the order of numbers holds because of *two looks*: the first asks every live file for its last number, the
//! second lists the directories again and asks every file for its entries. journald links its entries one after the
//! other, so whatever is before a number of the first look is seen by the second, and only that much is delivered.
//!
//! journald writes by a mapping, and only touches a file (for inotify) every quarter of a second at most, so
//! live files are asked: 16 bytes of each, every [`TICK`] while entries come, and every [`PAUSE`] when none came for a
//! while. Knows nothing of clocks but what it is told.

mod begin;
mod look;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::disk::{Found, Journal};
use super::entry::Entry;
use crate::cursor::{Cursor, Id128, JournalCursor, Place};
use crate::input::{self, Counters, FRAMES_MAX, Input, Now, Progress, Start, Wake};
use crate::record::{Batch, Timestamp};

/// How often live files are asked whether there is more. Half of it is what a record waits on average, and the other
/// price is 50 small reads a second.
const TICK: Duration = Duration::from_millis(20);

/// The same when no entry has come for [`QUIET`].
const PAUSE: Duration = Duration::from_millis(100);
const QUIET: Duration = Duration::from_secs(10);

/// Directories are listed again at the latest after so many reads without anything new: the time stamp of a directory
/// is too coarse to show every change.
const LIST_EVERY: u32 = 16;

/// What is told while there is no file.
const ABSENT: &str = "there is no journal yet";

/// Files of a directory that are followed at most; what is more is counted. journald keeps 100 by default.
const FILES_MAX: usize = 4096;

/// Sequences whose places are remembered at most; of more, those that were not read the longest are forgotten.
const PLACES_MAX: usize = 1024;

/// How often a poll looks at most: a second time for what came during the first.
const LOOKS_MAX: u32 = 2;

/// How many entries of no use (copies, damaged ones) a poll passes at most.
const PASSED_MAX: usize = 10_000;

/// A directory of journals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    /// What is here is copied to the other root when that comes up.
    pub(super) volatile: bool,
    /// Only the directories of this machine are read in it, of all its namespaces; `None` = all that is there.
    pub(super) machine: Option<Id128>,
}

/// Follows directories. See the module.
#[derive(Default)]
pub(super) struct Native {
    roots: Vec<Root>,
    /// The directories, and when they had last been changed when they were listed.
    listed: Vec<(PathBuf, Option<Timestamp>)>,
    /// They have not been changed just then, so that the next change will show.
    settled: bool,
    start: Start,
    begun: bool,
    files: Vec<Tracked>,
    /// Files that were read to their end and will not grow: archives.
    done: HashSet<PathBuf>,
    /// How far the first look saw, by sequence.
    seen: HashMap<Id128, u64>,
    places: HashMap<Id128, Place>,
    last: Option<Place>,
    /// How far each volatile journal was read, by the name of its directory: each namespace has its own.
    volatile: HashMap<OsString, Place>,
    idle: u32,
    /// When it was read last, and when that brought something, by the clock that is never set.
    asked: Duration,
    brought: Duration,
    /// What was wrong at the last look; it is told once there is nothing to deliver.
    problem: Option<Error>,
    entry: Entry,
    counters: Counters,
}

struct Tracked {
    path: PathBuf,
    volatile: bool,
    /// Rotated: nothing comes to it any more.
    archived: bool,
    /// It was archived before its header was read last.
    is_final: bool,
    /// The name is gone; what is open can still be read.
    gone: bool,
    journal: Journal,
    /// The number in the file of the next entry.
    next: u64,
    /// Where that is, once it was looked up.
    found: Option<Found>,
}

impl Input for Native {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        self.asked = now.steady;
        let progress = self.advance(now.wall, batch);
        if !batch.is_empty() {
            self.brought = now.steady;
        }
        batch.cursor = self.cursor().map(Cursor::Journal);
        Ok(progress?)
    }

    fn wake(&mut self) -> Wake<'_> {
        let is_quiet = self.asked.saturating_sub(self.brought) > QUIET;
        Wake { fd: None, within: if is_quiet { PAUSE } else { TICK } }
    }

    fn counters(&self) -> Counters {
        let skipped: u64 = self.files.iter().map(|file| file.journal.skipped).sum();
        Counters { damaged: self.counters.damaged + skipped, ..self.counters }
    }
}

impl Native {
    pub(super) fn new(roots: Vec<Root>, start: Start) -> Self {
        let (mut places, mut last, mut volatile) = (HashMap::new(), None, HashMap::new());
        if let Start::Cursor(Cursor::Journal(cursor)) = &start {
            places = cursor.places.iter().flatten().map(|place| (place.seqnum_id, *place)).collect();
            places.insert(cursor.last.seqnum_id, cursor.last);
            last = Some(cursor.last);
            let machine = roots.iter().find_map(|root| root.machine).map(|id| id.to_string().into());
            volatile.extend(machine.zip(cursor.volatile));
        }
        Native { roots, start, places, last, volatile, ..Native::default() }
    }

    /// Where it is; `None` before the first entry ever.
    fn cursor(&self) -> Option<JournalCursor> {
        let mut places: Vec<_> = self.places.values().copied().collect();
        places.sort_unstable_by_key(|place| place.seqnum_id);
        // Of the namespaces it is not kept: only what is flushed while nobody reads would be read again.
        let machine = self.roots.iter().find_map(|root| root.machine).map(|id| OsString::from(id.to_string()));
        let volatile = machine.and_then(|machine| self.volatile.get(&machine).copied());
        Some(JournalCursor { last: self.last?, volatile, places: Some(places) })
    }

    fn has_changed(&self) -> bool {
        self.files.iter().any(|file| !file.archived && file.journal.has_grown()) || self.is_relisted()
    }

    fn advance(&mut self, now: Timestamp, batch: &mut Batch) -> Result<Progress, Error> {
        if !self.begun {
            self.begin(now)?;
        }
        for looks in 0..=LOOKS_MAX {
            if self.deliver(batch) > 0 {
                self.idle = 0;
                return Ok(Progress::More);
            }
            // Everything that the last look saw is delivered.
            self.idle += 1;
            let is_due = self.idle >= LIST_EVERY || self.is_pending() || self.has_changed();
            if looks == LOOKS_MAX || !is_due {
                break;
            }
            self.look(now);
        }
        match (self.problem.take(), self.files.is_empty() && self.done.is_empty()) {
            (Some(problem), _) => {
                self.idle = LIST_EVERY; // look again, and say it again
                Err(problem)
            }
            (None, true) => Ok(Progress::Missing(ABSENT)),
            (None, false) => Ok(Progress::Idle),
        }
    }

    /// Whether there are entries that the first look did not vouch for.
    fn is_pending(&self) -> bool {
        self.files.iter().any(|file| file.next < file.journal.head.entries)
    }

    /// Puts entries into the batch, as many as there are and fit, and says how many it took, those of no use included.
    fn deliver(&mut self, batch: &mut Batch) -> usize {
        let mut taken = 0;
        for _ in 0..PASSED_MAX {
            if batch.len() >= FRAMES_MAX {
                break;
            }
            let Some(at) = self.next_file() else { break };
            match self.take(at, batch) {
                Ok(()) => taken += 1,
                Err(error) => self.fail(at, error),
            }
        }
        taken
    }

    /// The file that has the next entry of all.
    fn next_file(&mut self) -> Option<usize> {
        let mut best: Option<(usize, Place)> = None;
        for at in 0..self.files.len() {
            let place = match self.head_of(at) {
                Ok(Some(place)) => place,
                Ok(None) => continue,
                Err(error) => {
                    self.fail(at, error);
                    continue;
                }
            };
            let is_before = best.is_none_or(|(_, other)| match place.seqnum_id == other.seqnum_id {
                true => place.seqnum < other.seqnum,
                false => (place.realtime, place.seqnum) < (other.realtime, other.seqnum),
            });
            if is_before {
                best = Some((at, place));
            }
        }
        best.map(|(at, _)| at)
    }

    /// Passes over a file until the next look, or over the rest of an archive that will not get better.
    fn fail(&mut self, at: usize, error: Error) {
        let file = &mut self.files[at];
        self.seen.remove(&file.journal.head.seqnum_id);
        let mut passed = 0;
        if file.archived || file.gone {
            passed = file.journal.head.entries.saturating_sub(file.next);
            file.next = file.journal.head.entries;
        }
        match error {
            Error::Open(error) if error.is_missing() => {} // vacuumed; the numbers will show it
            error => {
                self.counters.damaged += passed;
                self.problem = Some(error);
            }
        }
    }

    /// The place of a file's next entry, if it may be delivered.
    fn head_of(&mut self, at: usize) -> Result<Option<Place>, Error> {
        let file = &mut self.files[at];
        let seen = self.seen.get(&file.journal.head.seqnum_id).copied().unwrap_or(0);
        let place = match file.found {
            Some(found) => Some(found.place),
            // An archive is not opened before its turn comes.
            None if file.archived && file.next == 0 && file.journal.is_closed() => {
                (file.journal.head.entries > 0).then_some(file.journal.head.first)
            }
            None => file.find(&mut self.counters)?,
        };
        Ok(place.filter(|place| place.seqnum <= seen))
    }

    /// Delivers the next entry of a file.
    fn take(&mut self, at: usize, batch: &mut Batch) -> Result<(), Error> {
        let file = &mut self.files[at];
        let Some(found) = file.found else {
            // Its turn came by its header. What is really there may be a later entry than another file's.
            return file.find(&mut self.counters).map(|_| ());
        };
        let (place, volatile) = (found.place, file.volatile);
        let known = self.places.get(&place.seqnum_id).copied();
        let is_copy = |other: &Place| {
            other.seqnum_id != place.seqnum_id && other.boot_id == place.boot_id && place.monotonic <= other.monotonic
        };
        let is_read = known.is_some_and(|known| place.seqnum <= known.seqnum);
        let volatile_one = self.volatile.get(file.directory());
        if is_read || (!volatile && volatile_one.is_some_and(is_copy)) {
            self.counters.copies += 1;
        } else {
            match file.journal.read(&found, &mut self.entry) {
                Ok(()) => {
                    self.entry.push(batch);
                }
                Err(Error::Damaged { .. }) => self.counters.damaged += 1,
                Err(error) => return Err(error),
            }
            if let Some(known) = known {
                self.counters.gaps += self.missing(&known, &place);
            }
        }
        let file = &mut self.files[at];
        (file.next, file.found) = (file.next + 1, None);
        if !is_read {
            if volatile {
                self.volatile.insert(file.directory().to_owned(), place);
            }
            self.remember(place);
        }
        Ok(())
    }

    /// How many numbers are missing between two entries of a sequence. Before systemd 254 journald gave the numbers
    /// between to its users' journals, which are other sequences.
    fn missing(&self, known: &Place, place: &Place) -> u64 {
        let missing = place.seqnum - known.seqnum - 1;
        let is_elsewhere = || {
            self.places.values().any(|other| {
                other.seqnum_id != place.seqnum_id && other.boot_id == place.boot_id && other.seqnum > known.seqnum
            }) || self.files.iter().any(|file| {
                let head = &file.journal.head;
                head.seqnum_id != place.seqnum_id && head.tail.seqnum > known.seqnum && head.first.seqnum < place.seqnum
            })
        };
        if missing > 0 && is_elsewhere() { 0 } else { missing }
    }

    fn remember(&mut self, place: Place) {
        self.last = Some(place);
        self.places.insert(place.seqnum_id, place);
        if self.places.len() > PLACES_MAX {
            let oldest = self.places.values().min_by_key(|place| place.realtime).map(|place| place.seqnum_id);
            self.places.remove(&oldest.unwrap_or_default());
        }
    }
}

impl Tracked {
    /// The name of its directory, which all journals of a namespace share.
    fn directory(&self) -> &OsStr {
        self.path.parent().and_then(Path::file_name).unwrap_or_default()
    }

    /// Looks the next entry up, passing those that are damaged, and says where it is; `None` if there is none (yet).
    fn find(&mut self, counters: &mut Counters) -> Result<Option<Place>, Error> {
        for _ in 0..PASSED_MAX {
            if self.found.is_some() || self.next >= self.journal.head.entries {
                break;
            }
            match self.journal.find(self.next) {
                Ok(Some(found)) => self.found = Some(found),
                Ok(None) if !self.is_final => break,
                // Of an archive it will never come.
                Ok(None) | Err(Error::Damaged { .. }) => {
                    counters.damaged += 1;
                    self.next += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if self.found.is_none() {
            self.journal.rest();
        }
        Ok(self.found.map(|found| found.place))
    }
}
