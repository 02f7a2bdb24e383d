//! What people forgive, and who is let in again.

use std::collections::BTreeSet;

use super::Engine;
use crate::decide::forgives::Forgives;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Bound, Change, Who, Why};

impl Engine {
    /// Releases prefixes, whatever holds them and is in them, clears their counts, and remembers when: all in one walk,
    /// however many there are.
    pub(super) fn forgive(&mut self, prefixes: &[Prefix], who: &Who) {
        let all = Forgives::at_once(prefixes, self.wall);
        let denied = self.state.denies.keys().filter(|denied| all.of(denied, self.wall).is_some());
        for denied in denied.copied().collect::<Vec<_>>() {
            self.release_all(denied, Why::Forgiven, who);
        }
        let counted = self.state.tallies.iter().map(|(counted, _)| counted).filter(|counted| all.hold(counted));
        let counted: Vec<_> = counted.collect();
        let own = prefixes.iter().map(|prefix| self.policy.prefix(prefix.address().into()));
        let own: Vec<_> = own.filter(|own| self.state.tallies.get(own).is_some()).collect();
        for counted in counted.into_iter().chain(own) {
            self.forget(counted);
        }
        let own = prefixes.iter().map(|prefix| self.policy.prefix(prefix.address().into()));
        let cleared: BTreeSet<Prefix> = own.chain(prefixes.iter().copied()).collect();
        self.changes.extend(cleared.iter().map(|prefix| Change::Cleared { prefix: *prefix }));
        let nets = self.state.nets.iter().map(|(net, _)| net).filter(|net| all.hold(net));
        for net in nets.collect::<Vec<_>>() {
            self.forget_net(net, true);
        }
        let strangers = self.state.waves.strangers().filter(|prefix| all.hold(prefix)).copied();
        for prefix in strangers.chain(cleared).collect::<Vec<_>>() {
            self.state.waves.take_back(&prefix);
        }
        self.remember(&all, prefixes);
    }

    /// Remembers when prefixes were forgiven.
    fn remember(&mut self, all: &Forgives, prefixes: &[Prefix]) {
        // What lies in another one is forgiven with it.
        let new: BTreeSet<Prefix> = prefixes.iter().filter(|prefix| !all.hold_more(prefix)).copied().collect();
        let forgives = &self.state.forgives;
        // A clock that was set back a little makes nothing count again.
        let at = |prefix| forgives.of(prefix, self.wall).map_or(self.wall, |before| before.max(self.wall));
        let now: Vec<_> = new.iter().map(|prefix| (*prefix, at(prefix))).collect();
        let within = new.iter().flat_map(|prefix| forgives.within(prefix)).map(|(other, _)| *other);
        for prefix in within.filter(|other| !new.contains(other)).collect::<Vec<_>>() {
            self.change(Change::Forgave { prefix, at: None });
        }
        for prefix in self.state.forgives.victims(&new) {
            self.untold(Bound::Forgives, 1);
            self.change(Change::Forgave { prefix, at: None });
        }
        for (prefix, at) in now {
            self.change(Change::Forgave { prefix, at: Some(at) });
        }
    }

    pub(super) fn release_all(&mut self, prefix: Prefix, why: Why, who: &Who) {
        let claims = self.state.denies.get(&prefix).into_iter().flat_map(|deny| deny.claims());
        for by in claims.map(|(by, _)| by).collect::<Vec<_>>() {
            self.release(prefix, by, self.wall, why, who.clone());
        }
    }
}
