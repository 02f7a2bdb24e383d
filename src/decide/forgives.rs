//! What was forgiven, and when: what failed before counts nothing, by whatever input it is read later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inputs::record::Timestamp;

use super::prefix::Prefix;

/// Forgives that are remembered; only people make them. At the bound the oldest is forgotten, and counted.
pub const FORGIVES_MAX: usize = 16_384;

/// One that is later than this after now is of a clock that was wrong then. It covers nothing, or nobody would be denied
/// there until that time comes.
const AHEAD: Duration = Duration::from_secs(60);

/// All of them, none within another one that is newer.
#[derive(Debug, Default)]
pub struct Forgives {
    at: BTreeMap<Prefix, Timestamp>,
    /// How many there are of each family and length.
    lengths: BTreeMap<(bool, u8), usize>,
    /// The newest there ever was: most records are newer than all.
    newest: Timestamp,
}

impl Forgives {
    /// Some prefixes that are forgiven at once.
    pub(super) fn at_once(prefixes: &[Prefix], at: Timestamp) -> Self {
        let mut all = Forgives::default();
        prefixes.iter().for_each(|prefix| all.put(*prefix, Some(at)));
        all
    }

    /// When a prefix was forgiven last, as of the clock `wall`: it, one that holds it, or a part of it.
    pub fn of(&self, prefix: &Prefix, wall: Timestamp) -> Option<Timestamp> {
        let all = self.wider(prefix).chain(self.within(prefix).map(|(_, at)| at));
        all.filter(|at| **at <= wall.after(AHEAD)).max().copied()
    }

    /// Whether what a prefix did at `at` was forgiven since, as of the clock `wall`.
    #[inline]
    pub fn cover(&self, prefix: &Prefix, at: Timestamp, wall: Timestamp) -> bool {
        at <= self.newest && self.of(prefix, wall).is_some_and(|forgiven| at <= forgiven)
    }

    /// Whether a prefix was forgiven, whenever: it, a part of it, or one that holds it and is not everybody. Who forgives everybody
    /// begins anew, and means nobody.
    pub(super) fn name(&self, prefix: &Prefix, wall: Timestamp) -> bool {
        let is_past = |at: &Timestamp| *at <= wall.after(AHEAD);
        let wider = self
            .lengths
            .keys()
            .filter(|(is_ipv4, len)| *is_ipv4 == prefix.is_ipv4() && (1..=prefix.bits()).contains(len));
        let mut wider = wider.filter_map(|(_, len)| self.at.get(&Prefix::of(prefix.address(), *len)));
        wider.any(is_past) || self.within(prefix).any(|(_, at)| is_past(at))
    }

    /// Whether a prefix is one of them, or lies in one.
    pub(super) fn hold(&self, prefix: &Prefix) -> bool {
        self.at.contains_key(prefix) || self.hold_more(prefix)
    }

    /// Whether a prefix lies in a wider one of them.
    pub(super) fn hold_more(&self, prefix: &Prefix) -> bool {
        self.wider(prefix).next().is_some()
    }

    /// Those of prefixes that hold a prefix.
    fn wider(&self, prefix: &Prefix) -> impl Iterator<Item = &Timestamp> {
        let wider = self.lengths.keys().filter(|(is_ipv4, len)| *is_ipv4 == prefix.is_ipv4() && *len < prefix.bits());
        wider.filter_map(|(_, len)| self.at.get(&Prefix::of(prefix.address(), *len)))
    }

    /// Those of a prefix and of parts of it.
    pub(super) fn within(&self, prefix: &Prefix) -> impl Iterator<Item = (&Prefix, &Timestamp)> {
        let all = self.at.range(*prefix..=Prefix::host(prefix.last()));
        all.filter(move |(other, _)| prefix.contains(other))
    }

    /// Those that were forgiven at some times.
    pub(super) fn of_times(&self, is_it: impl Fn(Timestamp) -> bool) -> Vec<Prefix> {
        self.at.iter().filter(|(_, at)| is_it(**at)).map(|(prefix, _)| *prefix).collect()
    }

    /// Notes when a prefix was forgiven; `None` = that is forgotten.
    pub(super) fn put(&mut self, prefix: Prefix, at: Option<Timestamp>) {
        let length = self.lengths.entry((prefix.is_ipv4(), prefix.bits())).or_default();
        match at {
            Some(at) => {
                self.newest = self.newest.max(at);
                *length += usize::from(self.at.insert(prefix, at).is_none());
            }
            None => *length -= usize::from(self.at.remove(&prefix).is_some()),
        }
        self.lengths.retain(|_, count| *count > 0);
    }

    /// What to forget, where there is no room for these: the oldest of the others.
    pub(super) fn victims(&self, new: &BTreeSet<Prefix>) -> Vec<Prefix> {
        let mut others: Vec<_> = self.at.iter().filter(|(prefix, _)| !new.contains(*prefix)).collect();
        let most = FORGIVES_MAX.saturating_sub(new.len());
        if others.len() <= most {
            return Vec::new();
        }
        others.sort_by_key(|(_, at)| **at);
        others.iter().take(others.len() - most).map(|(prefix, _)| **prefix).collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }
}
