//! What people forgive, and who is let in again.

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Bound, Change, Who, Why};

impl Engine {
    /// Releases a prefix, whatever holds it and is in it, clears their counts, and remembers when; `None` = all.
    pub(super) fn forgive(&mut self, prefix: Option<Prefix>, who: &Who) {
        let [all_ipv4, all_ipv6] = ["0.0.0.0/0", "::/0"].map(|all| all.parse().ok());
        let forgiven: Vec<Prefix> = match prefix {
            Some(prefix) => vec![prefix],
            None => [all_ipv4, all_ipv6].into_iter().flatten().collect(),
        };
        for prefix in forgiven {
            let denied = self.state.denies.keys().filter(|other| prefix.contains(other) || other.contains(&prefix));
            for denied in denied.copied().collect::<Vec<_>>() {
                self.release_all(denied, Why::Forgiven, who);
            }
            let counted = self.state.tallies.iter().map(|(other, _)| other);
            let counted = counted.filter(|other| self.is_forgiven_with(other, &prefix));
            for counted in counted.collect::<Vec<_>>() {
                self.forget(counted);
            }
            let nets = self.state.nets.iter().map(|(net, _)| net).filter(|net| prefix.contains(net));
            for net in nets.collect::<Vec<_>>() {
                self.forget_net(net, true);
            }
            self.remember(prefix, self.wall);
        }
    }

    /// Remembers when a prefix was forgiven.
    fn remember(&mut self, prefix: Prefix, at: Timestamp) {
        // A clock that was set back makes nothing count again.
        let at = self.state.forgives.of(&prefix).map_or(at, |before| before.max(at));
        let within = self.state.forgives.within(&prefix).map(|(other, _)| *other).filter(|other| *other != prefix);
        for prefix in within.collect::<Vec<_>>() {
            self.change(Change::Forgave { prefix, at: None });
        }
        if let Some(victim) = self.state.forgives.victim() {
            self.untold(Bound::Forgives, 1);
            self.change(Change::Forgave { prefix: victim, at: None });
        }
        self.change(Change::Forgave { prefix, at: Some(at) });
    }

    pub(super) fn release_all(&mut self, prefix: Prefix, why: Why, who: &Who) {
        let claims = self.state.denies.get(&prefix).into_iter().flat_map(|deny| deny.claims());
        for by in claims.map(|(by, _)| by).collect::<Vec<_>>() {
            self.release(prefix, by, self.wall, why, who.clone());
        }
    }
}
