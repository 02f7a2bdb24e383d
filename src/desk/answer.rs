//! What people ask, answered from engine and store.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use inputs::record::Timestamp;

use super::reply::{
    self, AllowList, Allowed, Applied, At, Decided, Denied, Forgiven, PerClass, Removed, Reply, Verdict, Why,
};
use super::{APPLIED_MAX, Desk, ROWS_MAX, Request, WIDEST, What};
use crate::decide::allow;
use crate::decide::claim::{Claim, Claimant, Deny, Reason, latest};
use crate::decide::engine::{Command, Input};
use crate::decide::machine::Machine;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, UserCounts, Who};
use crate::decide::tally::Tally;
use crate::store::{self, StoreError};
use crate::text::{printable, shown};

impl Desk {
    /// Answers what needs only engine and store; `Err` is a message for the person who asked.
    pub(super) fn answer(&mut self, request: &Request, now: Timestamp) -> Result<Reply, String> {
        match request {
            Request::Status | Request::Tap => Err("only a running daemon can tell".to_owned()),
            Request::List { what: What::Hosts } => self.hosts(now).map(Reply::Hosts).map_err(|error| error.to_string()),
            Request::List { what: What::Users } => Ok(Reply::Users(self.users())),
            Request::List { what: What::Addresses } => Ok(Reply::Addresses(self.addresses(now))),
            Request::Why { address } => self.why(*address, now).map_err(|error| error.to_string()),
            Request::History { prefix, limit } => self.history(*prefix, *limit).map_err(|error| error.to_string()),
            Request::Deny { prefix, seconds, force, caller } => self.deny(*prefix, *seconds, *force, *caller, now),
            Request::Apply { denied } => {
                if denied.len() > APPLIED_MAX {
                    return Err(format!("more than {APPLIED_MAX} denies in one request"));
                }
                let claims = denied.iter().cloned();
                let claims = claims.map(|(prefix, claim)| Input::Claim { prefix, by: Claimant::Policy, claim });
                Ok(Reply::Applied(Applied { denied: claims.map(|claim| self.changes(now, claim).len()).sum() }))
            }
            Request::Forgive { prefix, who } => {
                let counted = self.engine.state.tallies.iter().map(|(other, _)| other);
                let counted = counted.filter(|other| prefix.is_none_or(|p| self.engine.is_forgiven_with(other, &p)));
                let counted = counted.count();
                let mut released = self.released(now, Command::Forgive(*prefix, person(who.as_deref())));
                released.sort();
                released.dedup();
                Ok(Reply::Forgiven(Forgiven { released, counts_cleared: counted }))
            }
            Request::Allow { entry: None, .. } => Ok(Reply::AllowList(AllowList {
                configured: self.configured.entries().map(str::to_owned).collect(),
                added: self.added.iter().cloned().collect(),
            })),
            Request::Allow { entry: Some(entry), remove: true, .. } => self.disallow(entry),
            Request::Allow { entry: Some(entry), force, who, .. } => self.allow(entry, *force, who.as_deref(), now),
        }
    }

    /// Folds an input in; returns what it changed.
    fn changes(&mut self, now: Timestamp, input: Input<'_>) -> &[Change] {
        let before = self.engine.changes.len();
        self.engine.step(now, input);
        &self.engine.changes[before..]
    }

    /// Does what an operator asks for; returns the prefixes that were released, each once.
    fn released(&mut self, now: Timestamp, command: Command) -> Vec<Prefix> {
        let changes = self.changes(now, Input::Command(command)).iter();
        let released = changes.filter_map(|change| match change {
            Change::Released { prefix, .. } => Some(*prefix),
            _ => None,
        });
        let mut released: Vec<_> = released.collect();
        released.dedup();
        released
    }

    fn deny(
        &mut self,
        prefix: Prefix,
        seconds: Option<u64>,
        force: bool,
        caller: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Reply, String> {
        let widest = if prefix.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if !force && prefix.bits() < widest {
            return Err(format!("{prefix} is wider than /{widest}; if you mean it, say --force"));
        }
        if let Some(caller) = caller
            && !force
            && prefix.contains(&Prefix::host(caller))
        {
            return Err(format!("{prefix} holds {caller}, from where you are logged in; if you mean it, say --force"));
        }
        let Machine { own, gateways, .. } = &self.engine.policy.machine;
        for (what, all) in [("this machine's own address", own), ("this machine's default gateway", gateways)] {
            if all.iter().any(|one| one.contains(&prefix)) {
                return Err(format!("{prefix} is {what}, which is never denied"));
            }
        }
        if self.engine.policy.allow.covers(&prefix) {
            return Err(format!("{prefix} is on the allow list; take it off first: denyd allow --remove"));
        }
        let until = seconds.map(|seconds| now.after(Duration::from_secs(seconds)));
        let ours = self.engine.state.denies.get(&prefix).and_then(|deny| deny.claim(Claimant::Operator));
        if let Some(ours) = ours.filter(|ours| !force && ours.is_due(now) && latest(ours.until, until) != until) {
            let end = ours.until.map_or("for ever".to_owned(), |end| format!("until {end}"));
            return Err(format!("{prefix} is denied {end} already, which is longer; to shorten that, say --force"));
        }
        let claim = Claim { since: now, until, reason: Reason::Operator { because: None }, enforceable: true };
        self.engine.step(now, Input::Claim { prefix, by: Claimant::Operator, claim });
        // Somebody else may want it for longer.
        let until = self.engine.state.denies.get(&prefix).map_or(until, Deny::until);
        Ok(Reply::Denied(Denied { prefix, until: until.map(At) }))
    }

    fn disallow(&mut self, entry: &str) -> Result<Reply, String> {
        let known: Vec<_> = self.added.iter().filter(|known| same_entry(known, entry)).cloned().collect();
        if known.is_empty() {
            let why = if self.configured.entries().any(|known| same_entry(known, entry)) {
                "it is in the configuration; take it out there"
            } else {
                "it is not on the allow list"
            };
            return Err(format!("{}: {why}", printable(entry.as_bytes())));
        }
        for known in known {
            self.added.remove(&known);
            self.pending.allowed.insert(known, false);
        }
        self.rebuild_allow_list();
        self.allow_changed = true;
        Ok(Reply::Removed(Removed { removed: entry.to_owned() }))
    }

    fn allow(&mut self, entry: &str, force: bool, who: Option<&str>, now: Timestamp) -> Result<Reply, String> {
        let alone = allow::AllowList::of([entry].into_iter()).map_err(|error| error.to_string())?;
        if !force && let Some(widest) = alone.ranges().find_map(|range| range.wider_than(WIDEST)) {
            let entry = printable(entry.as_bytes());
            return Err(format!("{entry} is wider than /{widest}; if you mean it, say --force"));
        }
        let mut list = self.engine.policy.allow.clone();
        if !list.add(entry).map_err(|error| error.to_string())? {
            return Ok(Reply::Allowed(Allowed { allowed: entry.to_owned(), released: Vec::new(), known: true }));
        }
        self.pending.allowed.insert(entry.to_owned(), true);
        self.added.insert(entry.to_owned());
        self.rebuild_allow_list();
        self.allow_changed = true;
        let released = self.released(now, Command::Allowed(person(who)));
        Ok(Reply::Allowed(Allowed { allowed: entry.to_owned(), released, known: false }))
    }

    /// Who is denied, by prefix.
    fn hosts(&self, now: Timestamp) -> Result<Vec<reply::Host>, StoreError> {
        let state = &self.engine.state;
        let hosts = self.store.hosts_by_prefix()?;
        let row = |(prefix, deny): (&Prefix, &Deny)| {
            let policy = deny.claim(Claimant::Policy);
            let hosts = hosts.get(prefix).into_iter().flatten();
            reply::Host {
                prefix: *prefix,
                since: deny.claims().map(|(_, claim)| At(claim.since)).min(),
                until: deny.until().map(At),
                class: policy.and_then(|claim| claim.reason.class()),
                count: policy.map_or(0, |claim| claim.reason.count()),
                claimants: deny.claims().map(|(by, _)| by).collect(),
                times: state.released.get(prefix).copied().unwrap_or(0),
                hosts: hosts.map(|host| printable(state.host_name(*host))).collect(),
                enforced: deny.enforced(now).is_some(),
            }
        };
        let mut rows: Vec<_> = state.denies.iter().collect();
        rows.sort_by_key(|(prefix, _)| **prefix);
        Ok(rows.into_iter().take(ROWS_MAX).map(row).collect())
    }

    /// Who was tried, most often first.
    fn users(&self) -> Vec<reply::User> {
        let mut rows: Vec<_> = self.engine.state.users.iter().map(|(name, counts)| (&**name, counts)).collect();
        rows.sort_by_key(|(_, counts)| Reverse(counts.attempts));
        let row = |(name, counts): (&[u8], &UserCounts)| {
            let (user, user_b64) = shown(name);
            reply::User { user, user_b64, account: counts.account, attempts: counts.attempts }
        };
        rows.into_iter().take(ROWS_MAX).map(row).collect()
    }

    /// What is counted, most failures first.
    fn addresses(&self, now: Timestamp) -> Vec<reply::Address> {
        let state = &self.engine.state;
        let mut rows: Vec<_> = state.tallies.iter().collect();
        rows.sort_by_key(|(prefix, tally)| (Reverse(tally.failures()), *prefix));
        let row = |(prefix, tally): (Prefix, &Tally)| reply::Address {
            prefix,
            counts: PerClass::of(|class| tally.counts[class as usize]),
            successes: tally.successes,
            last: At(Timestamp::from_secs(i64::from(tally.last_failure()))),
            denied: state.denies.get(&prefix).is_some_and(|deny| deny.enforced(now).is_some()),
        };
        rows.into_iter().take(ROWS_MAX).map(row).collect()
    }

    fn why(&self, address: IpAddr, now: Timestamp) -> Result<Reply, StoreError> {
        let state = &self.engine.state;
        let policy = &self.engine.policy;
        let host = Prefix::host(address);
        let address = host.address();
        let own = policy.prefix(address.into());
        let held: Vec<_> = state.holding(address).collect();
        // The one that lasts longest, of these the narrowest.
        let is_exception = self.exceptions(now).contains(&own);
        let meant = held.iter().filter(|(prefix, _)| !(is_exception && policy.machine.is_link(prefix)));
        let denied = meant.filter_map(|(prefix, deny)| Some((*prefix, deny.enforced(now)?, *deny)));
        let denied = denied.reduce(|a, b| if latest(a.1, b.1) == b.1 { b } else { a });
        let claims = held.iter().flat_map(|(prefix, deny)| deny.claims().map(move |(by, claim)| (*prefix, by, claim)));
        let claims = claims.map(|(prefix, by, claim)| reply::Held {
            prefix,
            by,
            since: At(claim.since),
            until: claim.until.map(At),
            enforced: claim.is_due(now),
            reason: claim.reason.clone(),
        });
        let claims = claims.collect();
        let forgiven = state.forgives.of(&own);
        let tally = state.tallies.get(&own).copied().unwrap_or_default();
        let allowed_by = policy.allow.allowed_by(address);
        let verdict = match (&allowed_by, &denied) {
            (Some(_), _) => Verdict::Allowed,
            (None, Some(_)) => Verdict::Denied,
            (None, None) if tally.failures() > 0 || state.denies.contains_key(&own) => Verdict::Counted,
            (None, None) => Verdict::Unknown,
        };
        let prefix = denied.map_or(own, |(prefix, ..)| prefix);
        let mut prefixes = vec![own, prefix];
        prefixes.dedup();
        let evidence = self.store.evidence(&prefixes)?.into_iter().map(|one| {
            let (message, message_b64) = shown(&one.message);
            let host = printable(state.host_name(one.host));
            let is_forgiven = forgiven.is_some_and(|forgiven| one.at <= forgiven);
            reply::Evidence { at: At(one.at), source: one.source, host, message, message_b64, forgiven: is_forgiven }
        });
        let claim = denied.and_then(|(_, _, deny)| deny.claim(Claimant::Policy));
        Ok(Reply::Why(Box::new(Why {
            address,
            verdict,
            prefix,
            tallies: PerClass::of(|class| tally.aged(class, policy.age(class), now)),
            thresholds: PerClass::of(|class| policy.thresholds[class as usize].into()),
            until: denied.and_then(|(_, until, _)| until.map(At)),
            allowed_by: allowed_by.map(str::to_owned),
            by: denied.map(|(_, _, deny)| deny.claims().map(|(by, _)| by).collect()),
            class: claim.and_then(|claim| claim.reason.class()),
            parts: claim.map_or(0, |claim| claim.reason.parts()),
            since: claim.map(|claim| At(claim.since)),
            times: state.released.get(&own).copied().unwrap_or(0),
            successes: tally.successes,
            claims,
            forgiven: forgiven.map(At),
            evidence: evidence.collect(),
        })))
    }

    fn history(&self, prefix: Option<Prefix>, limit: usize) -> Result<Reply, StoreError> {
        let rows = self.store.history(prefix, limit.min(ROWS_MAX))?.into_iter();
        let row = |one: store::Decided| Decided { at: At(one.at), prefix: one.prefix, what: one.decision.into() };
        Ok(Reply::History(rows.map(row).collect()))
    }
}

/// Bytes of a person's name that are kept.
const PERSON_MAX: usize = 64;

/// A person who asks for something, as the command line says.
fn person(who: Option<&str>) -> Who {
    let name: String = printable(who.unwrap_or("root").as_bytes()).chars().take(PERSON_MAX).collect();
    Some(name.into())
}

/// Whether two entries of an allow list mean the same.
fn same_entry(a: &str, b: &str) -> bool {
    let ranges = |entry: &str| {
        let mut list = allow::AllowList::default();
        list.add(entry).ok().map(|_| list.ranges().collect::<Vec<_>>())
    };
    a == b || ranges(a).is_some_and(|a| Some(a) == ranges(b))
}
