//! How often each prefix failed, per class.

use std::hash::BuildHasher;
use std::ops::Range;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use inputs::record::Timestamp;

use super::policy::{Class, Policy};
use super::prefix::{Packed, Prefix};
use super::rooms::forgeable;

/// Prefixes that are counted at once, of which something is certain: about 80 MB. At the bound one is forgotten, and
/// counted; see `Tallies::victim`.
pub const TRACKED_MAX: usize = 1_000_000;
/// Prefixes beside them of which nothing is certain.
pub const FORGEABLE_TRACKED_MAX: usize = forgeable(TRACKED_MAX);
/// In a place: it is in the room of those of which nothing is certain.
const FORGEABLE: u32 = 1 << 31;
/// Of how many the one to forget is chosen.
const SAMPLE: usize = 32;

/// The counts of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failures per class.
    pub counts: [u32; 5],
    /// When each class failed last: seconds since the epoch, 0 = never. 32 bits last until 2106.
    pub last: [u32; 5],
    /// Good logins: 65 535 may be more, so that a million tallies are small.
    pub successes: u16,
    /// Of `counts`, what strangers cannot have made up, as far as it fits: 255 may be more.
    pub sound: [u8; 5],
}

impl Tally {
    /// All failures: no class is counted beside another but `restricted`, which may be.
    pub fn failures(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// When it was last seen to fail.
    pub fn last_failure(&self) -> u32 {
        self.last.iter().copied().max().unwrap_or(0)
    }

    /// The count of a class as of `at`: zero where its last failure is older than `age`.
    pub fn aged(&self, class: Class, age: Option<Duration>, at: Timestamp) -> u32 {
        let last = Timestamp::from_secs(i64::from(self.last[class as usize]));
        match age {
            Some(age) if last.after(age) < at => 0,
            _ => self.counts[class as usize],
        }
    }

    /// Counts failures of a class at `at`; of them, `sound` are certain. What was too old by then is forgotten first.
    pub fn add(&mut self, class: Class, age: Option<Duration>, attempts: u32, sound: u32, at: Timestamp) {
        let index = class as usize;
        let known = self.aged(class, age, at);
        if known == 0 {
            self.sound[index] = 0;
        }
        self.sound[index] = self.sound[index].saturating_add(u8::try_from(sound).unwrap_or(u8::MAX));
        // What was counted before it was certain may be forgotten by now.
        self.counts[index] = known.saturating_add(attempts).max(self.sound[index].into());
        self.last[index] = self.last[index].max(u32::try_from(at.secs()).unwrap_or(0));
    }

    /// Whether strangers may have made all of it up.
    fn is_forgeable(&self) -> bool {
        self.sound == [0; 5]
    }

    /// The same without what strangers may have made up.
    pub fn certain(&self) -> Tally {
        let mut tally = *self;
        for (count, sound) in tally.counts.iter_mut().zip(self.sound) {
            *count = if sound == u8::MAX { *count } else { sound.into() };
        }
        tally
    }

    /// Whether a class' count would exceed a threshold without what strangers may have made up.
    pub fn is_sound(&self, class: Class, threshold: u32) -> bool {
        let (count, sound) = (self.counts[class as usize], u32::from(self.sound[class as usize]));
        // 255 may be more, and no more than there are in all.
        count > threshold && sound > threshold.min(u32::from(u8::MAX) - 1)
    }

    /// The first class whose count exceeds its threshold, with that count.
    pub fn exceeded(&self, policy: &Policy, at: Timestamp) -> Option<(Class, u32)> {
        Class::ALL.into_iter().find_map(|class| {
            let count = self.aged(class, policy.age(class), at);
            policy.thresholds[class as usize].filter(|threshold| count > threshold.0).map(|_| (class, count))
        })
    }
}

/// The counts of one prefix, with whose they are.
#[derive(Debug)]
struct Row {
    prefix: Packed,
    tally: Tally,
}

/// Where a prefix is among the tallies, or would be; good until one is removed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    hash: u64,
    place: Option<u32>,
}

impl Slot {
    /// Whether the prefix has no counts yet.
    pub fn is_new(self) -> bool {
        self.place.is_none()
    }
}

/// The counts of all prefixes, in two rooms: what is certain of none of them never takes the room of another.
///
/// An `IndexMap` keeps each hash, and places of 8 bytes: at the bound that would be 16 MB more.
#[derive(Debug, Default)]
pub struct Tallies {
    rows: [Vec<Row>; 2],
    /// Where in which room each prefix is.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Tallies {
    /// Looks for a prefix.
    #[inline]
    pub fn find(&self, prefix: &Prefix) -> Slot {
        let hash = self.hasher.hash_one(prefix);
        let is_it = |&place: &u32| row(&self.rows, place).prefix.prefix() == *prefix;
        Slot { hash, place: self.places.find(hash, is_it).copied() }
    }

    /// The counts at a place; none where it is new.
    #[inline]
    pub fn at(&self, slot: Slot) -> Option<&Tally> {
        slot.place.map(|place| &row(&self.rows, place).tally)
    }

    /// The counts of a prefix, if it has any.
    pub fn get(&self, prefix: &Prefix) -> Option<&Tally> {
        self.at(self.find(prefix))
    }

    /// Puts the counts of a prefix where it was found. Whoever puts a new one, or what is certain
    /// now, makes room first.
    #[inline]
    pub(super) fn put(&mut self, slot: Slot, prefix: Prefix, tally: &Tally) {
        if let Some(place) = slot.place {
            // What was certain of it may be too old by now. It stays where it is: it is forgotten
            // there before the others.
            if place & FORGEABLE == 0 || tally.is_forgeable() {
                self.rows[room(place)][index(place)].tally = *tally;
                return;
            }
            self.remove(&prefix);
        }
        let Tallies { rows, places, hasher } = self;
        let room_bit = if tally.is_forgeable() { FORGEABLE } else { 0 };
        let hash = |&place: &u32| hasher.hash_one(row(rows, place).prefix.prefix());
        places.insert_unique(slot.hash, rows[room(room_bit)].len() as u32 | room_bit, hash);
        rows[room(room_bit)].push(Row { prefix: prefix.packed(), tally: *tally });
    }

    /// Forgets a prefix.
    pub(super) fn remove(&mut self, prefix: &Prefix) {
        let Tallies { rows, places, hasher } = self;
        let is_it = |&place: &u32| row(rows, place).prefix.prefix() == *prefix;
        let Ok(found) = places.find_entry(hasher.hash_one(prefix), is_it) else { return };
        let place = found.remove().0;
        let rows = &mut rows[room(place)];
        rows.swap_remove(index(place));
        // The last one took its place.
        if let Some(moved) = rows.get(index(place)) {
            let last = rows.len() as u32 | place & FORGEABLE;
            let theirs = places.find_mut(hasher.hash_one(moved.prefix.prefix()), |&other| other == last);
            *theirs.expect("each row has its place") = place;
        }
    }

    /// Those at some places of a room, 0 or 1. The last of a room takes the place of one that goes, and what becomes certain
    /// goes to the end of the first.
    pub fn some(&self, room: usize, places: Range<usize>) -> impl Iterator<Item = (Prefix, &Tally)> {
        let some = self.rows[room].get(places).unwrap_or_default();
        some.iter().map(|row| (row.prefix.prefix(), &row.tally))
    }

    /// How many each room has.
    pub fn lengths(&self) -> [usize; 2] {
        [0, 1].map(|room: usize| self.rows[room].len())
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &Tally)> {
        self.rows.iter().flatten().map(|row| (row.prefix.prefix(), &row.tally))
    }

    /// How many prefixes are counted.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// Whom to forget, the `nth`, where there is no more room for counts that are to be put at a place.
    /// `None` where there is.
    pub fn victim(&self, slot: Slot, tally: &Tally, policy: &Policy, nth: u64) -> Option<Prefix> {
        let (rows, bound) = match tally.is_forgeable() {
            true => (&self.rows[1], FORGEABLE_TRACKED_MAX),
            false => (&self.rows[0], TRACKED_MAX),
        };
        let is_new_there = slot.place.is_none_or(|place| place & FORGEABLE != 0 && !tally.is_forgeable());
        (is_new_there && rows.len() >= bound).then(|| least(rows, policy, nth))?
    }
}

/// Which room a place is in.
fn room(place: u32) -> usize {
    usize::from(place & FORGEABLE != 0)
}

/// Where it is there.
fn index(place: u32) -> usize {
    (place & !FORGEABLE) as usize
}

/// The row at a place.
fn row(rows: &[Vec<Row>; 2], place: u32) -> &Row {
    &rows[room(place)][index(place)]
}

/// Of a sample the one of which nothing is certain, which is not past half a threshold, with the fewest failures, the
/// oldest: in that order, so that a flood of strangers cannot make us forget who is about to be denied. The samples are
/// neighbours, since a million rows lie outside the caches.
fn least(rows: &[Row], policy: &Policy, nth: u64) -> Option<Prefix> {
    let is_half = |tally: &Tally| {
        Class::ALL.into_iter().any(|class| {
            policy.thresholds[class as usize].is_some_and(|t| tally.counts[class as usize] > t.0.div_ceil(2))
        })
    };
    let sample = (0..SAMPLE).map(|step| &rows[(nth as usize * SAMPLE + step) % rows.len()]);
    let least = sample.min_by_key(|row| {
        let tally = &row.tally;
        (!tally.is_forgeable(), is_half(tally), tally.failures(), tally.last_failure())
    });
    least.map(|row| row.prefix.prefix())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    /// Against a map whose only merit is to be right.
    #[test]
    fn finds_what_was_put_in_however_much_was_removed() {
        let (mut tallies, mut known) = (Tallies::default(), BTreeMap::new());
        let mut random = kit::Random::new();
        for step in 0..20_000_u32 {
            let prefix = Prefix::host(Ipv4Addr::from_bits(random.below(500)));
            if random.one_in(2) {
                tallies.put(tallies.find(&prefix), prefix, &Tally { successes: step as u16, ..Tally::default() });
                known.insert(prefix, step as u16);
            } else {
                assert_eq!(tallies.get(&prefix).map(|tally| tally.successes), known.remove(&prefix), "step {step}");
                tallies.remove(&prefix);
            }
            assert_eq!(tallies.len(), known.len(), "step {step}");
        }
        let all: BTreeMap<_, _> = tallies.iter().map(|(prefix, tally)| (prefix, tally.successes)).collect();
        assert_eq!(all, known);
        for (prefix, successes) in known {
            assert_eq!(tallies.get(&prefix).map(|tally| tally.successes), Some(successes));
        }
    }

    #[test]
    fn what_is_forged_is_forgotten_first_and_who_is_about_to_be_denied_last() {
        let mut tallies = Tallies::default();
        let policy = Policy::default();
        let prefix = |last: u8| Prefix::host(Ipv4Addr::new(192, 0, 2, last));
        // Of the class valid more than 10 are denied.
        for (last, (times, sound)) in [(1, 1), (9, 9), (9, 0), (2, 0), (1, 0), (2, 2)].into_iter().enumerate() {
            let mut tally = Tally::default();
            tally.add(Class::Valid, None, times, sound, Timestamp::from_secs(1));
            let prefix = prefix(last as u8);
            tallies.put(tallies.find(&prefix), prefix, &tally);
        }
        for last in [4, 3, 2, 0, 5, 1] {
            let least = least(&tallies.rows.iter().flatten().map(|row| Row { ..*row }).collect::<Vec<_>>(), &policy, 3)
                .unwrap();
            assert_eq!(least, prefix(last));
            tallies.remove(&least);
        }
    }

    #[test]
    fn a_million_are_small() {
        assert!(size_of::<Row>() <= 68, "each with its place is to be within 80 bytes");
    }
}
