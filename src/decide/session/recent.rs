//! A map of what was used of late: two generations, of which the older goes when the younger is full or old itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use inputs::record::Timestamp;

use super::line::HostId;

/// The older generation is not looked through for less than one new entry in so many old ones: a stranger's host may move
/// its clock by leaps, a year in an hour.
const LOOK_SHARE: usize = 4;

type Generation<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// At most `MOST` entries; of these the half that was used last is there for certain.
#[derive(Debug)]
pub(super) struct Recent<K, V, const MOST: usize> {
    young: Generation<K, V>,
    old: Generation<K, V>,
    /// When the younger one began, by the watermark of which host.
    began: (HostId, Timestamp),
}

impl<K, V, const MOST: usize> Default for Recent<K, V, MOST> {
    fn default() -> Self {
        Recent { young: Generation::default(), old: Generation::default(), began: Default::default() }
    }
}

impl<K: Copy + Eq + Hash, V, const MOST: usize> Recent<K, V, MOST> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// Puts it in, among the youngest.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Its value, a new one if there is none; it is among the youngest then.
    #[inline]
    pub(super) fn or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let Recent { young, old, .. } = self;
        young.entry(key).or_insert_with(|| if old.is_empty() { None } else { old.remove(&key) }.unwrap_or_else(new))
    }

    /// The same of a value that is nothing at first.
    pub(super) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.or_insert_with(key, V::default)
    }

    /// Whether the older generation is to go because there are too many.
    pub(super) fn is_full(&self) -> bool {
        self.young.len() > MOST / 2
    }

    /// The host by whose watermark the generations are told.
    pub(super) fn host(&self) -> HostId {
        self.began.0
    }

    /// Our own clock moved the watermark of that host: whether the older generation is to go because the younger one is
    /// that old.
    pub(super) fn is_due(&mut self, now: Timestamp, age: Duration) -> bool {
        let is_due = self.began.1.after(age) < now;
        if is_due {
            self.began.1 = now;
        }
        is_due
    }

    /// The same where a line moved the watermark of a host.
    #[inline]
    pub(super) fn is_over(&mut self, host: HostId, now: Timestamp, age: Duration) -> bool {
        if self.len() == 0 {
            self.began = (host, now);
        }
        self.began.0 == host && self.young.len() >= self.old.len() / LOOK_SHARE && self.is_due(now, age)
    }

    /// The older generation goes; what of it `keep` wants is among the youngest then.
    pub(super) fn rotate(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        std::mem::swap(&mut self.young, &mut self.old);
        // Emptied, it keeps its memory.
        let kept: Vec<_> = self.young.drain().filter(|(key, value)| keep(key, value)).collect();
        self.young.extend(kept);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// How many keys another map has, too.
    pub(super) fn in_both(&self, other: &Self) -> usize {
        let (few, many) = if self.len() < other.len() { (self, other) } else { (other, self) };
        few.young.keys().chain(few.old.keys()).filter(|key| many.get(key).is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_there_and_no_more_than_there_may_be() {
        let mut recent = Recent::<u32, u32, 100>::default();
        let mut forgotten = 0;
        for key in 0..1_000 {
            *recent.entry(7) = 7;
            recent.insert(key, key);
            if recent.is_full() {
                recent.rotate(|gone, _| {
                    forgotten += usize::from(*gone != 8);
                    *gone == 8
                });
            }
            assert!(recent.len() <= 102, "{}", recent.len());
            assert!((key.saturating_sub(40)..=key).all(|key| recent.get(&key) == Some(&key)), "{key}");
        }
        assert_eq!(forgotten + recent.len(), 1_000);
        assert_eq!((recent.remove(&7), recent.get(&7), recent.get(&8)), (Some(7), None, Some(&8)));
    }
}
