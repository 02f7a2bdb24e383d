//! What people ask, answered from engine and store.

use std::time::Duration;

use inputs::record::Timestamp;

use super::aside::{self, Here};
use super::reply::{self, AllowList, Applied, At, Decided, PerClass, Reply, Verdict, Why};
use super::{APPLIED_MAX, Desk, INSIDE_MAX, Request, SINCE_MAX};
use crate::decide::claim::{Claimant, latest};
use crate::decide::engine::{Command, Input};
use crate::decide::logins::logins;
use crate::decide::prefix::Prefix;
use crate::decide::state::Change;
use crate::store::StoreError;
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
            | Request::Sync
            | Request::Try { .. }
            | Request::Keep { .. }
            | Request::Drill { .. } => Err("only a running daemon can tell".to_owned()),
            Request::List { .. } | Request::Why { .. } | Request::History { .. } => {
                aside::answer(request, &mut Here(self, now))
            }
            Request::Received(told) => Ok(Reply::Taken(self.received(told, now))),
            Request::Since { id } => self.since(*id).map_err(|error| error.to_string()),
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
            Request::Purge { seconds } => {
                let age = Duration::from_secs(*seconds);
                Ok(Reply::Forgiven(self.forgiven(now, Command::Purge(now.before(age)))))
            }
            Request::Allow { entry: None, .. } => Ok(Reply::AllowList(AllowList {
                configured: self.configured.entries().map(str::to_owned).collect(),
                added: self.added.iter().cloned().collect(),
                names: self.named(),
            })),
            Request::Allow { entry: Some(entry), remove: true, .. } => self.disallow(entry, now),
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

    /// Why a prefix is denied, and whether it is so wide that it has members instead of counts, which are not told here.
    pub(super) fn why(&self, asked: Prefix, now: Timestamp) -> Result<(Why, bool), StoreError> {
        let state = &self.engine.state;
        let policy = &self.engine.policy;
        let counted = policy.prefix(asked.address().into());
        let is_wide = !counted.contains(&asked);
        let own = if is_wide { asked } else { counted };
        let held: Vec<_> = state.holding(asked.address()).filter(|(prefix, _)| prefix.contains(&asked)).collect();
        // The one that lasts longest, of these the narrowest.
        let is_exception = self.exceptions(now).contains(&own);
        let meant = held.iter().filter(|(prefix, _)| !(is_exception && policy.machine.is_link(prefix)));
        let denied = meant.filter_map(|(prefix, deny)| Some((*prefix, deny.enforced(now)?, *deny)));
        let denied = denied.reduce(|a, b| if latest(a.1, b.1) == b.1 { b } else { a });
        let tally = state.tallies.get(&own).copied().unwrap_or_default();
        let is_allowed = policy.allow.covers(&asked);
        let allowed_by = is_allowed.then(|| policy.allow.allowed_by(asked.address())).flatten();
        let is_known = tally.failures() > 0 || state.denies.contains_key(&own);
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
        let told: Vec<_> = state.live.within(&asked, now).map(|session| (&*session.user, session.since)).collect();
        let is_told = |user: &[u8]| told.iter().any(|(told, _)| *told == user);
        let seen = logins(&policy.logins, &asked).filter(|(user, _)| !is_told(user));
        let sessions = told.iter().copied().chain(seen).take(INSIDE_MAX).map(|(user, since)| {
            let (user, user_b64) = shown(user);
            reply::Session { user, user_b64, since: At(since) }
        });
        let claim = denied.and_then(|(_, _, deny)| deny.claim(Claimant::Policy));
        let why = Why {
            address: asked,
            refused: None,
            elsewhere: Vec::new(),
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
            waves: state.waves.of(&own).map(|(user, wave)| reply::Wave::of(user, &wave)).collect(),
            occasions: state.waves.of(&own).next().and(state.waves.get(&own)).map_or(0, |known| known.tries),
            denied_inside: Vec::new(),
            counted_inside: Vec::new(),
        };
        Ok((why, is_wide))
    }

    fn since(&self, id: i64) -> Result<Reply, StoreError> {
        let rows = self.history_after(id, SINCE_MAX)?.into_iter();
        Ok(Reply::History(rows.map(Decided::from).collect()))
    }
}
