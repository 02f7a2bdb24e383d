//! Whom a deny must not lock out: where somebody is logged in of whom the policy says so.

use std::collections::BTreeSet;
use std::time::Duration;

use inputs::record::{Record, Timestamp};

use super::Engine;
use crate::decide::attempt::Attempt;
use crate::decide::claim::Claim;
use crate::decide::live::{GUESSERS_MAX, LENIENCE, LiveKey, Session, Spared};
use crate::decide::logins::{Logins, logins};
use crate::decide::policy::{Class, Threshold};
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::{Bound, Change, USER_MAX};
use crate::decide::tally::Tally;
use crate::detect::address::Address;
use crate::detect::event::Event;

impl Engine {
    /// Who is logged in, as the machine itself knows: it cannot tell who guessed.
    pub fn set_logins(&mut self, mut logins: Logins) {
        logins.retain(|(peer, _), _| !self.guessers.contains(peer));
        self.policy.logins = logins;
    }

    /// A login from there was guessed: what the machine says of that address counts no more. Records may still open sessions.
    pub fn guessed(&mut self, peer: Address) {
        if self.guessers.len() >= GUESSERS_MAX && !self.guessers.contains(&peer) {
            self.guessers.shift_remove_index(0);
        }
        self.guessers.insert(peer);
        self.policy.logins.retain(|(other, _), _| *other != peer);
    }

    /// Notes a login that strangers cannot have made up. One that was guessed opens no session that is spared, unless
    /// somebody is spared there already.
    pub(super) fn logged_in(
        &mut self,
        record: &Record<'_>,
        peer: Address,
        event: &Event<'_>,
        host: HostId,
        guessed: bool,
    ) {
        let (Some(port), Some(user)) = (event.port, event.user) else { return };
        if event.is_by_rule() {
            return;
        }
        let prefix = self.policy.prefix(peer);
        // The machine may have told of this very login before the record did: that makes nobody a guest.
        let before = record.time().before(Duration::from_secs(1));
        let is_stranger = guessed && self.guest(&prefix, before).is_none();
        if is_stranger {
            self.guessed(peer);
        }
        let key = (peer, port, host);
        // A number or a port that is used again was given back.
        let before = record.pid.and_then(|pid| self.state.live.of_pid(host, pid)).filter(|before| *before != key);
        let gone = Some(key).filter(|key| is_stranger && self.state.live.contains(key));
        for key in before.into_iter().chain(gone) {
            self.change(Change::Live { key, session: None });
        }
        if is_stranger {
            return;
        }
        if !self.state.live.contains(&key)
            && let Some(victim) = self.state.live.victim(|session| self.policy.protected.contains(&*session.user))
        {
            self.untold(Bound::Live, 1);
            self.change(Change::Live { key: victim, session: None });
        }
        let user = user[..user.len().min(USER_MAX)].into();
        let session = Some(Session { user, pid: record.pid, since: record.time() });
        self.change(Change::Live { key, session });
    }

    /// Notes the end of a session, that a sound record tells of.
    pub(super) fn logged_out(&mut self, record: &Record<'_>, event: &Event<'_>, host: HostId) {
        if self.state.live.is_empty() || !event.ends_session() {
            return;
        }
        let by_peer = || -> Option<LiveKey> { Some((event.peer.address()?, event.port?, host)) };
        let by_pid = || self.state.live.of_pid(host, record.pid?);
        let key = by_peer().filter(|key| self.state.live.contains(key));
        if let Some(key) = key.or_else(|| by_pid().filter(|_| event.peer.address().is_none())) {
            self.change(Change::Live { key, session: None });
        }
    }

    /// Who is logged in from a prefix at a time, of those who are to be spared. Who logged in later may have guessed until then.
    pub(super) fn guest(&self, prefix: &Prefix, at: Timestamp) -> Option<&[u8]> {
        if self.state.live.is_empty() && self.policy.logins.is_empty() {
            return None;
        }
        let told = self.state.live.within(prefix, at).map(|session| &*session.user);
        // A record may tell of no less than a second.
        let is_before = |since: Timestamp| since.secs() <= at.secs();
        let seen = logins(&self.policy.logins, prefix).filter(|(_, since)| is_before(*since)).map(|(user, _)| user);
        told.chain(seen).find(|user| self.policy.protected.contains(*user))
    }

    /// Whether a prefix that is over a threshold is spared. That is told once, when it comes to be over it.
    pub(super) fn spares(&mut self, attempt: &Attempt<'_>, before: &Tally, tally: &Tally) -> bool {
        let Attempt { prefix, classes, at, .. } = *attempt;
        let Some(user) = self.guest(&prefix, at).map(Box::<[u8]>::from) else { return false };
        // What strangers may have made up locks nobody out who is logged in.
        if classes.iter().any(|class| self.lenient(class).is_some_and(|most| tally.is_sound(class, most))) {
            return false;
        }
        for class in classes.iter() {
            let Some(Threshold(threshold)) = self.policy.thresholds[class as usize] else { continue };
            let count = tally.counts[class as usize];
            let was = before.aged(class, self.policy.age(class), at);
            if count > threshold && was <= threshold {
                let (most, forgeable) = (self.lenient(class).unwrap_or(u32::MAX), !tally.is_sound(class, threshold));
                let spared = Spared { prefix, user: user.clone(), class, count, most, forgeable };
                self.changes.push(Change::Spared { spared: Box::new(spared), at });
            }
        }
        true
    }

    /// Whether somebody is logged in from a prefix who is spared in spite of a claim that was decided elsewhere.
    pub(super) fn spares_claim(&self, prefix: &Prefix, claim: &Claim) -> bool {
        let Some(class) = claim.reason.class() else { return false };
        let is_tolerated = self.lenient(class).is_none_or(|most| claim.is_forgeable() || claim.reason.count() <= most);
        is_tolerated && self.guest(prefix, self.wall).is_some()
    }

    /// How many failures of a class are tolerated where somebody is logged in; `None` = any number.
    pub(super) fn lenient(&self, class: Class) -> Option<u32> {
        let threshold = self.policy.thresholds[class as usize]?.0;
        Some(threshold.saturating_add(1).saturating_mul(LENIENCE))
    }

    /// Who is over a threshold now and not denied because somebody is logged in.
    pub fn spared(&self) -> Vec<Spared> {
        let mut all: Vec<Spared> = Vec::new();
        let told = self.state.live.iter().map(|((peer, ..), _)| *peer);
        let prefixes: BTreeSet<_> =
            told.chain(self.policy.logins.keys().map(|(peer, _)| *peer)).map(|peer| self.policy.prefix(peer)).collect();
        for prefix in prefixes.into_iter().filter(|prefix| !self.state.denies.contains_key(prefix)) {
            let Some(user) = self.guest(&prefix, self.wall) else { continue };
            let Some(tally) = self.state.tallies.get(&prefix) else { continue };
            if let Some((class, count)) = tally.exceeded(&self.policy, self.wall) {
                let (user, most) = (user.into(), self.lenient(class).unwrap_or(u32::MAX));
                let forgeable = tally.certain().exceeded(&self.policy, self.wall).is_none();
                all.push(Spared { prefix, user, class, count, most, forgeable });
            }
        }
        all
    }
}
