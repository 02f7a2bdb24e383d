//! Where the reading of each file begins that is there at first.

use super::{Native, Tracked};
use crate::cursor::{Cursor, Place};
use crate::input::Start;
use crate::journald::Error;
use crate::record::Timestamp;

impl Native {
    /// Decides for every file that is there where its reading begins.
    pub(super) fn begin(&mut self, now: Timestamp) -> Result<(), Error> {
        self.look(now);
        // What could not be listed would seem new later on, and be read from its beginning.
        if let Some(problem) = self.problem.take_if(|problem| !matches!(problem, Error::Unsupported { .. })) {
            self.files.clear();
            return Err(problem);
        }
        for at in 0..self.files.len() {
            if let Err(error) = self.renumber(at) {
                tracing::warn!(%error, "cannot tell whether numbers were given out again");
            }
        }
        for at in 0..self.files.len() {
            let begin = self.first_of(at, now);
            let file = &mut self.files[at];
            file.next = match begin {
                Ok(begin) => begin,
                Err(error) => {
                    self.counters.damaged += 1;
                    tracing::warn!(%error, "cannot find where to begin");
                    // What the cursor knows as read is told apart by its number.
                    let is_known = self.places.contains_key(&file.journal.head.seqnum_id);
                    if is_known { 0 } else { file.journal.head.entries }
                }
            };
            if file.next >= file.journal.head.entries {
                self.pass(at);
            }
            let file = &mut self.files[at];
            if file.archived {
                file.journal.close();
            }
        }
        if self.last.is_none() {
            self.last = self.places.values().copied().max_by_key(|place| place.realtime);
        }
        // What comes later is new, and read from its beginning.
        self.begun = true;
        Ok(())
    }

    /// Takes the place in a live file's sequence back where journald gives numbers out again: it syncs every few
    /// minutes, so a power cut takes entries that we had read, and a cursor that was committed, whose numbers the next
    /// boot's entries get. By the number alone those would be read already.
    fn renumber(&mut self, at: usize) -> Result<(), Error> {
        let Tracked { journal, archived, .. } = &mut self.files[at];
        let Some(known) = self.places.get(&journal.head.seqnum_id).copied().filter(|_| !*archived) else {
            return Ok(());
        };
        let Some(end) = journal.head.entries.checked_sub(1) else { return Ok(()) };
        let is_later = |other: &Place| other.boot_id != known.boot_id && other.realtime > known.realtime;
        // The entry that has the number now, else the last one.
        let same = journal.first(|other| other.seqnum >= known.seqnum)?.min(end);
        if !journal.find(same)?.is_some_and(|found| is_later(&found.place)) {
            return Ok(());
        }
        let first = journal.first(|other| other.seqnum > known.seqnum || is_later(other))?;
        let Some(seqnum) = journal.find(first)?.map(|found| found.place.seqnum) else { return Ok(()) };
        if seqnum <= known.seqnum {
            tracing::warn!(
                seqnum,
                known = known.seqnum,
                "the journal lost entries that were read; its numbers begin anew"
            );
            self.places.insert(known.seqnum_id, Place { seqnum: seqnum.saturating_sub(1), ..known });
        }
        Ok(())
    }

    /// Remembers a file's last entry as read, so that the cursor says from the start what is not wanted.
    fn pass(&mut self, at: usize) {
        let directory = self.files[at].directory().to_owned();
        let Tracked { journal, volatile, archived, .. } = &mut self.files[at];
        // The header of a live file may give a number whose entry is not linked yet.
        let tail = match journal.head.entries.checked_sub(1) {
            None => None,
            Some(_) if *archived => Some(journal.head.tail),
            Some(last) => journal.find(last).ok().flatten().map(|found| found.place),
        };
        let Some(tail) = tail else { return };
        if self.places.get(&tail.seqnum_id).is_none_or(|known| known.seqnum < tail.seqnum) {
            self.places.insert(tail.seqnum_id, tail);
            if *volatile {
                self.volatile.insert(directory, tail);
            }
        }
    }

    fn first_of(&mut self, at: usize, now: Timestamp) -> Result<u64, Error> {
        let journal = &mut self.files[at].journal;
        match &self.start {
            Start::Now => Ok(journal.head.entries),
            Start::Back(time) => {
                let since = u64::try_from(now.before(*time).0).unwrap_or(0);
                journal.first(|place| place.realtime >= since)
            }
            Start::Cursor(Cursor::Journal(cursor)) => match self.places.get(&journal.head.seqnum_id) {
                Some(place) => journal.first(|other| other.seqnum > place.seqnum),
                None if cursor.places.is_some() => Ok(0),
                None => journal.first(|other| is_later(other, &cursor.last)),
            },
            Start::Beginning | Start::Cursor(_) => Ok(0),
        }
    }
}

/// Whether an entry of another sequence is behind this one, as well as can be told.
fn is_later(place: &Place, last: &Place) -> bool {
    match place.boot_id == last.boot_id {
        true => place.monotonic > last.monotonic,
        false => place.realtime > last.realtime,
    }
}
