//! What was forgiven, and when: what failed before counts nothing, by whatever input it is read later.

use std::collections::BTreeMap;

use inputs::record::Timestamp;

use super::prefix::Prefix;

/// Forgives that are remembered; only people make them. At the bound the oldest is forgotten, and counted.
pub const FORGIVES_MAX: usize = 16_384;

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
    /// When a prefix was forgiven last: it, one that holds it, or a part of it.
    pub fn of(&self, prefix: &Prefix) -> Option<Timestamp> {
        let wider = self.lengths.keys().filter(|(is_ipv4, len)| *is_ipv4 == prefix.is_ipv4() && *len < prefix.bits());
        let wider = wider.filter_map(|(_, len)| self.at.get(&Prefix::of(prefix.address(), *len)));
        wider.chain(self.within(prefix).map(|(_, at)| at)).max().copied()
    }

    /// Whether what a prefix did at `at` was forgiven since.
    #[inline]
    pub fn cover(&self, prefix: &Prefix, at: Timestamp) -> bool {
        at <= self.newest && self.of(prefix).is_some_and(|forgiven| at <= forgiven)
    }

    /// Those of a prefix and of parts of it.
    pub(super) fn within(&self, prefix: &Prefix) -> impl Iterator<Item = (&Prefix, &Timestamp)> {
        let all = self.at.range(*prefix..=Prefix::host(prefix.last()));
        all.filter(move |(other, _)| prefix.contains(other))
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

    /// What to forget where there is no room for one more.
    pub(super) fn victim(&self) -> Option<Prefix> {
        let oldest = self.at.iter().min_by_key(|(_, at)| **at);
        oldest.filter(|_| self.at.len() >= FORGIVES_MAX).map(|(prefix, _)| *prefix)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }
}
