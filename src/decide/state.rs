//! All that is remembered, and the one way in which it changes.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::policy::{Class, Policy};
use super::prefix::Prefix;
use super::session::{FNV, HostId, Sessions, fnv};
use super::tally::{Tallies, Tally};
use crate::detect::event::Account;

/// User names that are counted at once; further ones are counted together.
pub const USERS_MAX: usize = 10_000;
/// Bytes of a user's name that are kept; who is told apart by more of it is counted together. sshd's own lines hold some
/// hundreds, forged ones thousands.
pub const USER_MAX: usize = 256;
/// Origin hosts that are known by name. Further ones are told apart by a hash, so that whoever claims to be ten thousand
/// hosts cannot make one of all others.
pub const HOSTS_MAX: usize = 10_000;
/// Numbers of hosts that have no name here.
const UNNAMED: u64 = u16::MAX as u64 + 1 - HOSTS_MAX as u64;
/// Prefixes of which it is remembered how often they were released; further ones push out others.
pub const RELEASED_MAX: usize = 1_000_000;
/// Prefixes that may be denied at once.
pub const DENIES_MAX: usize = 1_000_000;

/// Who wants a deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claimant {
    /// The policy: a count exceeded its threshold.
    Policy,
    /// A person, by `denyd deny`.
    Operator,
}

impl Claimant {
    /// Its name, as stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Claimant::Policy => "policy",
            Claimant::Operator => "operator",
        }
    }
}

/// When something ends; `None` = never.
pub type Until = Option<Timestamp>;

/// One claimant's reason to deny a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// When it was decided: its record's time.
    pub since: Timestamp,
    /// When it ends.
    pub until: Until,
    /// The class that decided it, if the policy did.
    pub class: Option<Class>,
    /// That class' count.
    pub count: u32,
    /// Whether it may be enforced. A permanent deny decided by an old record may not.
    pub enforceable: bool,
}

/// A denied prefix: it stays denied until the last claim ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// Who wants it; nearly always one, so no tree.
    claims: Vec<(Claimant, Claim)>,
}

impl Deny {
    /// Who wants it, and why.
    pub fn claims(&self) -> impl Iterator<Item = (Claimant, &Claim)> {
        self.claims.iter().map(|(by, claim)| (*by, claim))
    }

    /// Why one claimant wants it.
    pub fn claim(&self, by: Claimant) -> Option<&Claim> {
        self.claims().find(|(other, _)| *other == by).map(|(_, claim)| claim)
    }

    fn put(&mut self, by: Claimant, claim: Claim) -> Option<Claim> {
        let old = self.withdraw(by);
        self.claims.reserve_exact(1);
        self.claims.push((by, claim));
        old
    }

    fn withdraw(&mut self, by: Claimant) -> Option<Claim> {
        let at = self.claims.iter().position(|(other, _)| *other == by)?;
        Some(self.claims.swap_remove(at).1)
    }

    /// When it ends: the latest of its claims.
    pub fn until(&self) -> Until {
        self.claims().map(|(_, claim)| claim.until).reduce(latest).unwrap_or(Some(Timestamp::default()))
    }

    /// Whether, and until when, it is to be enforced at `now`.
    pub fn enforced(&self, now: Timestamp) -> Option<Until> {
        let due = |claim: &&Claim| claim.enforceable && claim.until.is_none_or(|until| until > now);
        self.claims().map(|(_, claim)| claim).filter(due).map(|claim| claim.until).reduce(latest)
    }
}

fn latest(a: Until, b: Until) -> Until {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    }
}

/// Why a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Its time was over.
    Expired,
    /// A person forgave it.
    Forgiven,
    /// It is on the allow list now.
    Allowed,
}

/// What changed, in absolute values: applying one twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A prefix' counts.
    Counted {
        /// Whose.
        prefix: Prefix,
        /// All of them as they are now; `None` = forgotten.
        tally: Option<Tally>,
    },
    /// How much of a prefix' counts came from one origin host; kept only where a success may clear it.
    Shared {
        /// Whose.
        prefix: Prefix,
        /// Of which host; `None` = all hosts' shares are gone.
        host: Option<HostId>,
        /// The share as it is now.
        counts: [u32; 5],
    },
    /// A prefix is denied.
    Denied {
        /// Which.
        prefix: Prefix,
        /// Who wants it.
        by: Claimant,
        /// Since when, until when, why.
        claim: Claim,
    },
    /// A claim ended.
    Released {
        /// On which prefix.
        prefix: Prefix,
        /// Whose claim.
        by: Claimant,
        /// When.
        at: Timestamp,
        /// Why.
        why: Why,
        /// How often the prefix has been released now.
        times: u32,
    },
    /// How often a prefix was released is forgotten: there were too many.
    Unremembered {
        /// Which.
        prefix: Prefix,
    },
    /// Somebody logged in from where too many failed.
    Suspicious {
        /// From where.
        address: std::net::IpAddr,
        /// As whom: bytes of the log.
        user: Vec<u8>,
        /// When.
        at: Timestamp,
    },
    /// An attempt that was decided after its line was counted; its counts are beside it.
    Late(Box<Attempt<'static>>),
}

/// How often a user name was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserCounts {
    /// Attempts.
    pub attempts: u64,
    /// What is known of the account.
    pub account: Account,
}

/// All that is remembered between records.
#[derive(Debug, Default)]
pub struct State {
    /// Failures per prefix.
    pub tallies: Tallies,
    /// How much of the counts came from which origin host; empty unless `reset_on_success`.
    pub shares: BTreeMap<(Prefix, HostId), [u32; 5]>,
    /// What is denied.
    pub denies: IndexMap<Prefix, Deny, foldhash::fast::RandomState>,
    /// When claims end, soonest first.
    pub ends: BTreeSet<(Timestamp, Prefix, Claimant)>,
    /// How often prefixes were released; only those that were.
    pub released: IndexMap<Prefix, u32, foldhash::fast::RandomState>,
    /// Users that were tried.
    pub users: IndexMap<Box<[u8]>, UserCounts, foldhash::fast::RandomState>,
    /// Attempts of users beyond [`USERS_MAX`].
    pub users_untold: u64,
    /// Users whose counts changed since they were last taken: places in `users`, as often as each changed.
    pub users_changed: Vec<usize>,
    /// Origin hosts by name; [`HostId`] is the place here.
    pub hosts: IndexMap<Box<[u8]>, (), foldhash::fast::RandomState>,
    /// Records of hosts beyond [`HOSTS_MAX`].
    pub hosts_untold: u64,
    /// Connections.
    pub sessions: Sessions,
    /// Denies that could not be kept because there were too many.
    pub denies_refused: u64,
}

impl State {
    /// Applies a change. The only place where counts and denies change: live, recovered and replayed alike.
    pub fn apply(&mut self, change: &Change, policy: &Policy) {
        match change {
            Change::Counted { prefix, tally: Some(tally) } => *self.tallies.entry(*prefix, policy).0 = *tally,
            Change::Counted { prefix, tally: None } => {
                self.tallies.remove(prefix);
            }
            Change::Shared { prefix, host: Some(host), counts } => {
                self.shares.insert((*prefix, *host), *counts);
            }
            Change::Shared { prefix, host: None, .. } => {
                let all = (*prefix, HostId(0))..=(*prefix, HostId(u16::MAX));
                let keys: Vec<_> = self.shares.range(all).map(|(key, _)| *key).collect();
                for key in keys {
                    self.shares.remove(&key);
                }
            }
            Change::Denied { prefix, by, claim } => {
                let deny = self.denies.entry(*prefix).or_default();
                if let Some(Claim { until: Some(old), .. }) = deny.put(*by, *claim) {
                    self.ends.remove(&(old, *prefix, *by));
                }
                if let Some(until) = claim.until {
                    self.ends.insert((until, *prefix, *by));
                }
            }
            Change::Released { prefix, by, times, .. } => {
                if let Some(deny) = self.denies.get_mut(prefix) {
                    if let Some(Claim { until: Some(until), .. }) = deny.withdraw(*by) {
                        self.ends.remove(&(until, *prefix, *by));
                    }
                    if deny.claims.is_empty() {
                        self.denies.swap_remove(prefix);
                    }
                }
                if *times > 0 {
                    self.released.insert(*prefix, *times);
                }
            }
            Change::Unremembered { prefix } => {
                self.released.swap_remove(prefix);
            }
            Change::Suspicious { .. } | Change::Late(_) => {}
        }
    }

    /// The place in `users` of a user that is counted.
    pub fn user(&self, name: &[u8]) -> Option<usize> {
        self.users.get_index_of(&name[..name.len().min(USER_MAX)])
    }

    /// Counts an attempt of a user.
    pub fn count_user(&mut self, name: &[u8], account: Account, attempts: u32) {
        let name = &name[..name.len().min(USER_MAX)];
        let index = match self.user(name) {
            Some(index) => index,
            None if self.users.len() >= USERS_MAX => {
                self.users_untold += u64::from(attempts);
                return;
            }
            None => self.users.insert_full(name.into(), UserCounts::default()).0,
        };
        let (_, counts) = self.users.get_index_mut(index).expect("the index was just found");
        counts.attempts += u64::from(attempts);
        if account != Account::Unsaid {
            counts.account = account;
        }
        self.users_changed.push(index);
    }

    /// The number of an origin host: the lower-cased first label of what it calls itself.
    pub fn host(&mut self, name: &[u8]) -> HostId {
        let numeric = name.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':'));
        let label = if numeric { name } else { name.split(|&b| b == b'.').next().unwrap_or(name) };
        let mut lower = [0u8; 64];
        let len = label.len().min(lower.len());
        lower[..len].copy_from_slice(&label[..len]);
        lower[..len].make_ascii_lowercase();
        let lower = &lower[..len];
        if let Some(index) = self.hosts.get_index_of(lower) {
            return HostId(index as u16);
        }
        if self.hosts.len() >= HOSTS_MAX {
            self.hosts_untold += 1;
            return HostId(HOSTS_MAX as u16 + (fnv(FNV, lower) % UNNAMED) as u16);
        }
        let (index, _) = self.hosts.insert_full(lower.into(), ());
        HostId(index as u16)
    }

    /// The name of an origin host.
    pub fn host_name(&self, host: HostId) -> &[u8] {
        self.hosts.get_index(usize::from(host.0)).map_or(b"(other)", |(name, ())| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_those_with_names_hosts_are_told_apart_too() {
        let mut state = State::default();
        let named: Vec<_> = (0..HOSTS_MAX).map(|number| state.host(format!("h{number}").as_bytes())).collect();
        let (one, two) = (state.host(b"mail"), state.host(b"web"));
        assert!(one != two && !named.contains(&one) && !named.contains(&two));
        assert_eq!((state.host(b"MAIL.example.org"), state.host_name(one)), (one, &b"(other)"[..]));
        assert_eq!((state.hosts.len(), state.hosts_untold), (HOSTS_MAX, 3));
    }
}
