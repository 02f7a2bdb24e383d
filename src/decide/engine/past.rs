//! What another program counted before us becomes ours.

use std::collections::BTreeMap;

use super::Engine;
use crate::decide::past::{Failed, Past};
use crate::decide::prefix::Prefix;
use crate::decide::rooms::fits;
use crate::decide::state::{Bound, Change, RELEASED_MAX, USER_MAX, USERS_MAX};
use crate::decide::tally::Tally;
use crate::detect::event::Account;

impl Engine {
    /// Takes over what another program counted. What is known already is at least as much, and not that much more: so who
    /// takes the same twice changes nothing the second time. Nobody is denied by it; the next failure of an address is judged with
    /// all of its counts.
    pub(super) fn past(&mut self, past: &Past) {
        self.past_failures(past);
        let mut released: BTreeMap<Prefix, u32> = BTreeMap::new();
        for (address, times) in &past.released {
            let known = released.entry(self.policy.prefix((*address).into())).or_default();
            *known = (*known).max(*times);
        }
        for (prefix, times) in released {
            let known = self.state.released.get(&prefix).copied();
            if known.unwrap_or(0) >= times {
                continue;
            }
            if known.is_none() && self.state.released.len() >= RELEASED_MAX {
                self.untold(Bound::Tallies, 1);
                continue;
            }
            self.change(Change::Remembered { prefix, times });
        }
        self.past_users(past);
    }

    fn past_failures(&mut self, past: &Past) {
        let mut tallies: BTreeMap<Prefix, Tally> = BTreeMap::new();
        for Failed { address, class, count, last } in &past.failed {
            let prefix = self.policy.prefix((*address).into());
            let is_allowed = !prefix.is_host() && self.policy.allow.contains(*address);
            if *count > 0 && !is_allowed && !self.state.forgives.cover(&prefix, *last, self.wall) {
                tallies.entry(prefix).or_default().add(*class, None, *count, *count, *last);
            }
        }
        for (prefix, past) in tallies {
            let slot = self.state.tallies.find(&prefix);
            let before = self.state.tallies.at(slot).copied().unwrap_or_default();
            let mut tally = before;
            for class in 0..tally.counts.len() {
                tally.counts[class] = before.counts[class].max(past.counts[class]);
                tally.sound[class] = before.sound[class].max(past.sound[class]);
                tally.last[class] = before.last[class].max(past.last[class]);
            }
            if tally == before {
                continue;
            }
            let nth = self.state.untold(Bound::Tallies);
            if let Some(victim) = self.state.tallies.victim(slot, &tally, &self.policy, nth) {
                self.untold(Bound::Tallies, 1);
                self.forget(victim);
            }
            self.change(Change::Counted { prefix, tally: Some(tally) });
        }
    }

    fn past_users(&mut self, past: &Past) {
        let mut users: BTreeMap<&[u8], (u64, Account)> = BTreeMap::new();
        for (name, attempts, account) in &past.users {
            let (known, said) = users.entry(&name[..name.len().min(USER_MAX)]).or_default();
            *known = known.saturating_add(*attempts);
            if *said != Account::Known {
                *said = *account;
            }
        }
        // Where there are too many, those that were tried most are told apart.
        let mut users: Vec<_> = users.into_iter().collect();
        users.sort_by_key(|(name, (attempts, _))| (std::cmp::Reverse(*attempts), *name));
        for (name, (attempts, account)) in users {
            let known = self.state.users.len();
            let user = match self.state.user(name) {
                Some(user) => user,
                None if !fits(known, USERS_MAX, false) => {
                    self.untold(Bound::Users, attempts);
                    continue;
                }
                None => {
                    self.change(Change::User { name: name.into() });
                    known
                }
            };
            let mut counts = self.state.users[user];
            let before = counts;
            counts.attempts = counts.attempts.max(attempts);
            if counts.account == Account::Unsaid {
                counts.account = account;
            }
            if counts != before || user == known {
                self.change(Change::Tried { user, counts });
            }
        }
    }
}
