//! What people ask, answered from engine and store.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;
use inputs::record::Timestamp;

use super::reply::{self, AllowList, Applied, At, Decided, PerClass, Reply, Verdict, Why};
use super::{APPLIED_MAX, Desk, Filter, INSIDE_MAX, ROWS_MAX, Request, SINCE_MAX, What, aside};
use crate::decide::claim::{Claimant, Deny, latest};
use crate::decide::engine::{Command, Input};
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::{Change, UserCounts};
use crate::decide::tally::Tally;
use crate::store::{Decision, StoreError};
use crate::text::{printable, shown};

mod orders;

impl Desk {
    /// Answers what needs only engine and store; `Err` is a message for the person who asked.
    pub(super) fn answer(&mut self, request: &Request, now: Timestamp) -> Result<Reply, String> {
        match request {
            Request::Status
            | Request::Tap
            | Request::Watch
            | Request::Reload
            | Request::Try { .. }
            | Request::Keep { .. } => Err("only a running daemon can tell".to_owned()),
            Request::List { what, filter } => self.list(*what, filter, now),
            Request::Since { id } => self.since(*id).map_err(|error| error.to_string()),
            Request::Why { address } => self.why(*address, now).map_err(|error| error.to_string()),
            Request::History { prefix, limit } => self.history(*prefix, *limit).map_err(|error| error.to_string()),
            Request::Deny { prefix, seconds, force, caller, because } => {
                let order = orders::Deny { prefix: *prefix, seconds: *seconds, force: *force, caller: *caller };
                self.deny(&order, because.as_deref(), now)
            }
            Request::Apply { denied } => {
                if denied.len() > APPLIED_MAX {
                    return Err(format!("more than {APPLIED_MAX} denies in one request"));
                }
                let claims = denied.iter().cloned();
                let claims = claims.map(|(prefix, claim)| Input::Claim { prefix, by: Claimant::Policy, claim });
                Ok(Reply::Applied(Applied { denied: claims.map(|claim| self.changes(now, claim).len()).sum() }))
            }
            Request::Forgive { prefix, who } => {
                let prefixes = prefix.map_or_else(|| Prefix::all().to_vec(), |prefix| vec![prefix]);
                Ok(Reply::Forgiven(self.forgive(prefixes, who.as_deref(), now)))
            }
            Request::ForgiveUser { user, who } => self.forgive_user(user, who.as_deref(), now),
            Request::Allow { entry: None, .. } => Ok(Reply::AllowList(AllowList {
                configured: self.configured.entries().map(str::to_owned).collect(),
                added: self.added.iter().cloned().collect(),
                names: self.named(),
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

    fn list(&self, what: What, filter: &Filter, now: Timestamp) -> Result<Reply, String> {
        let Filter { within, class, by, limit } = *filter;
        let most = limit.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        let is_in = |prefix: &Prefix| within.is_none_or(|within| within.contains(prefix));
        match what {
            What::Hosts => {
                let is_because = |deny: &Deny| class.is_none_or(|class| deny.claims().any(|(_, c)| c.reason.class() == Some(class)));
                let is_by = |deny: &Deny| by.is_none_or(|by| deny.claim(by).is_some());
                let hosts = self.hosts(now, most, |prefix, deny| is_in(prefix) && is_because(deny) && is_by(deny));
                hosts.map(Reply::Hosts).map_err(|error| error.to_string())
            }
            What::Users if (within, class, by) != (None, None, None) => {
                Err("users are counted wherever they were tried from, and whatever class they were of; see denyd list addresses"
                    .to_owned())
            }
            What::Users => Ok(Reply::Users(self.users(most))),
            What::Addresses if by.is_some() => Err("--by is for denies; see denyd list hosts".to_owned()),
            What::Pairs | What::Suspicious if (class, by) != (None, None) => {
                Err("--class and --by are for denies; see denyd list hosts".to_owned())
            }
            What::Pairs => aside::pairs(&self.store.database, within, now, most).map_err(|error| error.to_string()),
            What::Suspicious => {
                let is_in = |address: IpAddr| is_in(&Prefix::host(address));
                self.suspicious(most, is_in).map_err(|error| error.to_string())
            }
            What::Addresses => {
                let failed = |prefix: &Prefix| {
                    let tally = self.engine.state.tallies.get(prefix);
                    class.is_none_or(|class| tally.is_some_and(|tally| tally.counts[class as usize] > 0))
                };
                Ok(Reply::Addresses(self.addresses(now, most, |prefix| is_in(prefix) && failed(prefix))))
            }
        }
    }

    /// The first `most` of those who are denied and wanted, by prefix.
    fn hosts(
        &self,
        now: Timestamp,
        most: usize,
        wanted: impl Fn(&Prefix, &Deny) -> bool,
    ) -> Result<Vec<reply::Host>, StoreError> {
        let state = &self.engine.state;
        let row = |((prefix, deny), hosts): ((&Prefix, &Deny), BTreeSet<HostId>)| {
            let policy = deny.claim(Claimant::Policy);
            reply::Host {
                prefix: *prefix,
                last_login: state
                    .familiar
                    .get(prefix)
                    .filter(|known| known.login > 0)
                    .map(|known| At(Timestamp::from_secs(i64::from(known.login)))),
                since: deny.claims().map(|(_, claim)| At(claim.since)).min(),
                until: deny.until().map(At),
                class: policy.and_then(|claim| claim.reason.class()),
                count: policy.map_or(0, |claim| claim.reason.count()),
                claimants: deny.claims().map(|(by, _)| by).collect(),
                times: state.released.get(prefix).copied().unwrap_or(0),
                hosts: hosts.iter().map(|host| printable(state.host_name(*host))).collect(),
                enforced: deny.enforced(now).is_some(),
                because: deny.claim(Claimant::Operator).and_then(|claim| claim.reason.because()).map(Box::from),
                refused: None,
            }
        };
        let mut rows: Vec<_> = state.denies.iter().filter(|(prefix, deny)| wanted(prefix, deny)).collect();
        rows.sort_by_key(|(prefix, _)| **prefix);
        rows.truncate(most);
        let hosts = self.store.hosts_of(rows.iter().map(|(prefix, _)| *prefix))?;
        Ok(rows.into_iter().zip(hosts).map(row).collect())
    }

    /// Who was tried, most often first.
    fn users(&self, most: usize) -> Vec<reply::User> {
        let mut rows: Vec<_> = self.engine.state.users.iter().map(|(name, counts)| (&**name, counts)).collect();
        rows.sort_by_key(|(_, counts)| Reverse(counts.attempts));
        let row = |(name, counts): (&[u8], &UserCounts)| {
            let (user, user_b64) = shown(name);
            reply::User { user, user_b64, account: counts.account, attempts: counts.attempts }
        };
        rows.into_iter().take(most).map(row).collect()
    }

    /// Who logged in from where too many had failed, the last first.
    fn suspicious(&self, most: usize, wanted: impl Fn(IpAddr) -> bool) -> Result<Reply, StoreError> {
        let mut known: IndexMap<(IpAddr, Vec<u8>), (u64, Timestamp)> = IndexMap::new();
        for one in self.store.suspicious(ROWS_MAX)? {
            if let Decision::Suspicious { address, user, .. } = one.decision
                && wanted(address)
            {
                let (logins, last) = known.entry((address, user)).or_insert((0, one.at));
                (*logins, *last) = (*logins + 1, one.at.max(*last));
            }
        }
        let mut rows: Vec<_> = known.into_iter().collect();
        rows.sort_by_key(|(_, (_, last))| Reverse(*last));
        let row = |((address, user), (logins, last)): ((IpAddr, Vec<u8>), (u64, Timestamp))| {
            let (user, user_b64) = shown(&user);
            reply::Suspicious { address, user, user_b64, logins, last: At(last) }
        };
        Ok(Reply::Suspicious(rows.into_iter().take(most).map(row).collect()))
    }

    /// The first `most` of what is counted and wanted, most failures first.
    fn addresses(&self, now: Timestamp, most: usize, wanted: impl Fn(&Prefix) -> bool) -> Vec<reply::Address> {
        let state = &self.engine.state;
        let mut rows: Vec<_> = state.tallies.iter().filter(|(prefix, _)| wanted(prefix)).collect();
        rows.sort_by_key(|(prefix, tally)| (Reverse(tally.failures()), *prefix));
        let row = |(prefix, tally): (Prefix, &Tally)| reply::Address {
            prefix,
            counts: PerClass::of(|class| tally.counts[class as usize]),
            successes: tally.successes.into(),
            last: At(Timestamp::from_secs(i64::from(tally.last_failure()))),
            denied: state.denies.get(&prefix).is_some_and(|deny| deny.enforced(now).is_some()),
        };
        rows.into_iter().take(most).map(row).collect()
    }

    fn why(&self, asked: Prefix, now: Timestamp) -> Result<Reply, StoreError> {
        let state = &self.engine.state;
        let policy = &self.engine.policy;
        // What is wider than what is counted has members instead of counts.
        let counted = policy.prefix(asked.address().into());
        let is_wide = !counted.contains(&asked);
        let own = if is_wide { asked } else { counted };
        let held: Vec<_> = state.holding(asked.address()).filter(|(prefix, _)| prefix.contains(&asked)).collect();
        // The one that lasts longest, of these the narrowest.
        let is_exception = self.exceptions(now).contains(&own);
        let meant = held.iter().filter(|(prefix, _)| !(is_exception && policy.machine.is_link(prefix)));
        let denied = meant.filter_map(|(prefix, deny)| Some((*prefix, deny.enforced(now)?, *deny)));
        let denied = denied.reduce(|a, b| if latest(a.1, b.1) == b.1 { b } else { a });
        let (denied_inside, counted_inside) = match is_wide {
            true => (
                self.hosts(now, INSIDE_MAX, |prefix, _| asked.contains(prefix) && *prefix != asked)?,
                self.addresses(now, INSIDE_MAX, |prefix| asked.contains(prefix) && *prefix != asked),
            ),
            false => Default::default(),
        };
        let tally = state.tallies.get(&own).copied().unwrap_or_default();
        let is_allowed = policy.allow.covers(&asked);
        let allowed_by = is_allowed.then(|| policy.allow.allowed_by(asked.address())).flatten();
        let is_known = tally.failures() > 0
            || state.denies.contains_key(&own)
            || !denied_inside.is_empty()
            || !counted_inside.is_empty();
        let verdict = match (&allowed_by, &denied) {
            (Some(_), _) => Verdict::Allowed,
            (None, Some(_)) => Verdict::Denied,
            (None, None) if is_known => Verdict::Counted,
            (None, None) => Verdict::Unknown,
        };
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
        let forgiven = state.forgives.of(&own, now);
        let prefix = denied.map_or(own, |(prefix, ..)| prefix);
        let mut prefixes = vec![own, prefix];
        prefixes.dedup();
        let evidence = self.store.evidence(&prefixes)?.into_iter().map(|one| {
            let (message, message_b64) = shown(&one.message);
            let host = printable(state.host_name(one.host));
            let is_forgiven = forgiven.is_some_and(|forgiven| one.at <= forgiven);
            reply::Evidence { at: At(one.at), source: one.source, host, message, message_b64, forgiven: is_forgiven }
        });
        let sessions = state.live.within(&asked, now).take(INSIDE_MAX).map(|session| {
            let (user, user_b64) = shown(&session.user);
            reply::Session { user, user_b64, since: At(session.since) }
        });
        let claim = denied.and_then(|(_, _, deny)| deny.claim(Claimant::Policy));
        Ok(Reply::Why(Box::new(Why {
            address: asked,
            refused: None,
            verdict,
            prefix,
            tallies: PerClass::of(|class| tally.aged(class, policy.age(class), now)),
            thresholds: PerClass::of(|class| policy.thresholds[class as usize].into()),
            until: denied.and_then(|(_, until, _)| until.map(At)),
            allowed_by: allowed_by.map(|entry| self.allowed_as(entry)),
            by: denied.map(|(_, _, deny)| deny.claims().map(|(by, _)| by).collect()),
            class: claim.and_then(|claim| claim.reason.class()),
            parts: claim.map_or(0, |claim| claim.reason.parts()),
            since: claim.map(|claim| At(claim.since)),
            times: state.released.get(&own).copied().unwrap_or(0),
            successes: tally.successes.into(),
            claims,
            forgiven: forgiven.map(At),
            evidence: evidence.collect(),
            sessions: sessions.collect(),
            denied_inside,
            counted_inside,
        })))
    }

    fn history(&self, prefix: Option<Prefix>, limit: usize) -> Result<Reply, StoreError> {
        let rows = self.store.history(prefix, limit.min(ROWS_MAX))?.into_iter();
        Ok(Reply::History(rows.map(Decided::from).collect()))
    }

    fn since(&self, id: i64) -> Result<Reply, StoreError> {
        let rows = self.history_after(id, SINCE_MAX)?.into_iter();
        Ok(Reply::History(rows.map(Decided::from).collect()))
    }
}
