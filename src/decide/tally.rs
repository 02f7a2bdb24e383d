//! How often each prefix failed, per class.

use std::time::Duration;

use indexmap::IndexMap;
use inputs::record::Timestamp;

use super::policy::{Class, Policy};
use super::prefix::Prefix;

/// Prefixes that are counted at once: about 80 MB. At the bound one is forgotten, and counted; see `Tallies::evict`.
pub const TRACKED_MAX: usize = 1_000_000;
/// Of how many the one to forget is chosen.
const SAMPLE: usize = 32;

/// The counts of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failures per class.
    pub counts: [u32; 5],
    /// When each class failed last: seconds since the epoch, 0 = never. 32 bits last until 2106.
    pub last: [u32; 5],
    /// Good logins.
    pub successes: u32,
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
        self.counts[index] = known.saturating_add(attempts);
        self.sound[index] = self.sound[index].saturating_add(u8::try_from(sound).unwrap_or(u8::MAX));
        self.last[index] = self.last[index].max(u32::try_from(at.secs()).unwrap_or(0));
    }

    /// Whether a class' count would exceed a threshold without what strangers may have made up.
    pub fn is_sound(&self, class: Class, threshold: u32) -> bool {
        u32::from(self.sound[class as usize]) > threshold.min(u32::from(u8::MAX) - 1)
    }

    /// The first class whose count exceeds its threshold, with that count.
    pub fn exceeded(&self, policy: &Policy, at: Timestamp) -> Option<(Class, u32)> {
        Class::ALL.into_iter().find_map(|class| {
            let count = self.aged(class, policy.age_reset[class as usize], at);
            policy.thresholds[class as usize].filter(|threshold| count > threshold.0).map(|_| (class, count))
        })
    }
}

/// The counts of all prefixes.
#[derive(Debug, Default)]
pub struct Tallies {
    map: IndexMap<Prefix, Tally, ahash::RandomState>,
    /// Where the next sample begins; any spreading will do, so that a run can be repeated.
    hand: usize,
    /// Prefixes that were forgotten because there were too many.
    pub evicted: u64,
}

impl Tallies {
    /// The counts of a prefix, if it has any.
    pub fn get(&self, prefix: &Prefix) -> Option<&Tally> {
        self.map.get(prefix)
    }

    /// The counts of a prefix, to be changed; makes room where there is none.
    pub fn entry(&mut self, prefix: Prefix, policy: &Policy) -> (&mut Tally, Option<Prefix>) {
        let mut evicted = None;
        if self.map.len() >= TRACKED_MAX && !self.map.contains_key(&prefix) {
            evicted = self.evict(policy);
        }
        (self.map.entry(prefix).or_default(), evicted)
    }

    /// Puts back what an earlier run counted.
    pub fn restore(&mut self, prefix: Prefix, tally: Tally) {
        self.map.insert(prefix, tally);
    }

    /// Forgets a prefix.
    pub fn remove(&mut self, prefix: &Prefix) -> Option<Tally> {
        self.map.swap_remove(prefix)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &Tally)> {
        self.map.iter()
    }

    /// How many prefixes are counted.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Forgets, of a sample, the one with the fewest failures, then the oldest; never one past half a threshold,
    /// so that a flood of strangers cannot make us forget who is about to be denied.
    fn evict(&mut self, policy: &Policy) -> Option<Prefix> {
        let half = |tally: &Tally| {
            Class::ALL.into_iter().any(|class| {
                policy.thresholds[class as usize].is_some_and(|t| tally.counts[class as usize] > t.0.div_ceil(2))
            })
        };
        let len = self.map.len();
        let victim = (0..SAMPLE)
            .map(|step| (self.hand + step * 7919) % len)
            .filter_map(|index| self.map.get_index(index).map(|(_, tally)| (index, tally)))
            .filter(|(_, tally)| !half(tally))
            .min_by_key(|(_, tally)| (tally.failures(), tally.last_failure()))
            .map(|(index, _)| index);
        self.hand = (self.hand + SAMPLE * 7919 + 1) % len;
        // A whole sample past half a threshold: then the first of it goes, since memory has an end.
        let (prefix, _) = self.map.swap_remove_index(victim.unwrap_or(self.hand))?;
        self.evicted += 1;
        Some(prefix)
    }
}
