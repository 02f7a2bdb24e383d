//! What another program counted before us becomes ours.

use std::collections::BTreeMap;

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::past::{Failed, Pair, Past};
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
        let mut released: BTreeMap<Prefix, (u32, Option<Timestamp>)> = BTreeMap::new();
        for (address, times, last) in &past.released {
            let known = released.entry(self.policy.prefix((*address).into())).or_default();
            *known = (known.0.max(*times), known.1.max(*last));
        }
        for (prefix, (times, last)) in released {
            let known = self.state.released.get(&prefix).copied();
            if known.unwrap_or(0) >= times {
                continue;
            }
            if known.is_none() && self.state.released.len() >= RELEASED_MAX {
                self.untold(Bound::Tallies, 1);
                continue;
            }
            self.change(Change::Remembered { prefix, times, last });
        }
        self.past_users(past);
        self.past_pairs(past);
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
        let mut users: BTreeMap<&[u8], (u64, Account, Timestamp)> = BTreeMap::new();
        for (name, attempts, account, at) in &past.users {
            let (known, said, last) = users.entry(&name[..name.len().min(USER_MAX)]).or_default();
            *known = known.saturating_add(*attempts);
            *last = (*last).max(*at);
            if *said != Account::Known {
                *said = *account;
            }
        }
        // Where there are too many, those that were tried most are told apart.
        let mut users: Vec<_> = users.into_iter().collect();
        users.sort_by_key(|(name, (attempts, ..))| (std::cmp::Reverse(*attempts), *name));
        for (name, (attempts, account, last)) in users {
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
            counts.last = counts.last.max(last);
            if counts.account == Account::Unsaid {
                counts.account = account;
            }
            if counts != before || user == known {
                self.change(Change::Tried { user, counts });
            }
        }
    }

    /// Who was tried, and who logged in too late, from where: kept by the database alone.
    fn past_pairs(&mut self, past: &Past) {
        let cut = |user: &[u8]| -> Box<[u8]> { user[..user.len().min(USER_MAX)].into() };
        let mut pairs: BTreeMap<_, (u64, Timestamp)> = BTreeMap::new();
        for Pair { user, address, times, last } in &past.pairs {
            let prefix = self.policy.prefix((*address).into());
            if *times > 0 && !self.state.forgives.cover(&prefix, *last, self.wall) {
                let (known, at) = pairs.entry((prefix, cut(user))).or_default();
                (*known, *at) = (known.saturating_add(*times), (*at).max(*last));
            }
        }
        for ((prefix, user), (times, last)) in pairs {
            self.change(Change::Paired { prefix, user, times, last });
        }
        for Pair { user, address, times, last } in past.suspicious.iter().filter(|one| one.times > 0) {
            self.change(Change::Suspected { address: *address, user: cut(user), times: *times, last: *last });
        }
    }
}
