//! A map of what was used of late: two generations, of which the older goes when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;

type Generation<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// At most `MOST` entries; of these the half that was used last is there for certain.
#[derive(Debug)]
pub(super) struct Recent<K, V, const MOST: usize> {
    young: Generation<K, V>,
    old: Generation<K, V>,
}

impl<K, V, const MOST: usize> Default for Recent<K, V, MOST> {
    fn default() -> Self {
        Recent { young: Generation::default(), old: Generation::default() }
    }
}

impl<K: Copy + Eq + Hash, V: Default, const MOST: usize> Recent<K, V, MOST> {
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

    /// Its value, a default one if it is new; it is among the youngest then.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        let Recent { young, old } = self;
        young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    /// Whether the older generation is to go.
    pub(super) fn is_full(&self) -> bool {
        self.young.len() > MOST / 2
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
