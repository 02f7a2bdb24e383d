//! What an attempt leads to: it is counted, its prefix is judged, and released in the end.

use std::time::Duration;

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::attempt::{Attempt, Classes};
use crate::decide::claim::{Basis, Claim, Claimant, Reason};
use crate::decide::familiar::seconds;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::rooms::fits;
use crate::decide::session::HostId;
use crate::decide::state::{Bound, Change, RELEASED_MAX, USER_MAX, USERS_MAX, Who, Why};
use crate::decide::tally::Tally;
use crate::decide::window::Failures;
use crate::detect::address::Address;
use crate::detect::event::Account;

impl Engine {
    /// Counts an attempt, and judges its prefix.
    pub(super) fn attempt(&mut self, attempt: &Attempt<'_>) {
        let Attempt { prefix, host, classes, times, sound, at, .. } = *attempt;
        if !attempt.is_probe() {
            self.tried(attempt);
        }
        let allowed = self.policy.allow.contains(attempt.peer.into());
        // What an allowed host does must not weigh against its neighbours.
        if allowed && !prefix.is_host() {
            return;
        }
        if self.state.forgives.cover(&prefix, at, self.wall) {
            return;
        }
        if !allowed && self.is_crowded(attempt) {
            return;
        }
        self.expire(prefix, at);
        let slot = self.state.tallies.find(&prefix);
        let before = self.state.tallies.at(slot).copied().unwrap_or_default();
        let mut tally = before;
        for class in classes.iter() {
            match self.policy.within {
                None => tally.add(class, self.policy.age(class), times, sound, at),
                Some(within) => self.add_in_window(prefix, class, &mut tally, within, (times, sound), at),
            }
        }
        if self.policy.reset_on_success && sound > 0 {
            self.share(prefix, host, classes, sound, tally.counts);
        }
        let nth = self.state.untold(Bound::Tallies);
        if let Some(victim) = self.state.tallies.victim(slot, &tally, &self.policy, nth) {
            self.untold(Bound::Tallies, 1);
            self.forget(victim);
        }
        self.state.count(slot, prefix, &tally);
        self.changes.push(Change::Counted { prefix, tally: Some(tally) });
        if !allowed {
            self.judge(attempt, &before, &tally);
            self.widen(attempt, &before, &tally);
            self.wave(attempt, &before);
        }
    }

    /// Counts failures of a class with those of the fullest window that holds them.
    fn add_in_window(
        &mut self,
        prefix: Prefix,
        class: Class,
        tally: &mut Tally,
        within: Duration,
        (times, sound): (u32, u32),
        at: Timestamp,
    ) {
        let index = class as usize;
        let known = Failures { at: tally.last[index], times: tally.counts[index], sound: tally.sound[index].into() };
        let (new, within) =
            (Failures { at: seconds(at), times, sound }, u32::try_from(within.as_secs()).unwrap_or(u32::MAX));
        let Failures { at, times, sound } = self.state.windows.add((prefix, class), known, new, within);
        tally.sound[index] = u8::try_from(sound).unwrap_or(u8::MAX);
        (tally.counts[index], tally.last[index]) = (times, at);
    }

    /// Counts whom an attempt tried.
    fn tried(&mut self, attempt: &Attempt<'_>) {
        let name = &attempt.user[..attempt.user.len().min(USER_MAX)];
        let known = self.state.users.len();
        let user = match self.state.user(name) {
            Some(user) => user,
            None if !fits(known, USERS_MAX, attempt.sound == 0) => {
                return self.untold(Bound::Users, attempt.times.into());
            }
            None => {
                self.change(Change::User { name: name.into() });
                known
            }
        };
        let mut counts = self.state.users[user];
        counts.attempts += u64::from(attempt.times);
        // A stamp that is ahead of the clock may be a stranger's.
        counts.last = counts.last.max(attempt.at.min(self.wall));
        if attempt.account != Account::Unsaid {
            counts.account = attempt.account;
        }
        self.state.apply(&Change::Tried { user, counts });
        if self.is_kept {
            self.tried.push(user);
        }
    }

    /// Remembers which origin host the attempts came from that are certain: only those may a good login there clear.
    /// Others could name any host, and so clear what another host counted.
    fn share(&mut self, prefix: Prefix, host: HostId, classes: Classes, attempts: u32, counts: [u32; 5]) {
        let mut share = self.state.shares.get(&(prefix, host)).copied().unwrap_or_default();
        for class in classes.iter() {
            let class = class as usize;
            // A count that was begun anew because of its age leaves nothing of older shares.
            share[class] = share[class].saturating_add(attempts).min(counts[class]);
        }
        self.change(Change::Shared { prefix, host: Some(host), counts: share });
    }

    /// Denies a prefix whose count exceeds its threshold, at the moment of the record that made it so: for an hour at
    /// most if it would not without what strangers may have made up, and in full once it would.
    fn judge(&mut self, attempt: &Attempt<'_>, before: &Tally, tally: &Tally) {
        let Attempt { prefix, classes, at, from, .. } = *attempt;
        let over = classes.iter().filter_map(|class| {
            let threshold = self.policy.thresholds[class as usize]?.0;
            let is_over = tally.counts[class as usize] > threshold;
            is_over.then(|| (class, threshold, tally.is_sound(class, threshold)))
        });
        let Some((class, threshold, sound)) = over.reduce(|a, b| if b.2 && !a.2 { b } else { a }) else { return };
        if self.policy.special(attempt.peer).is_some_and(|special| special.is_never_denied) {
            return;
        }
        if self.spares(attempt, before, tally) {
            return;
        }
        let basis = if sound { Basis::Sound } else { Basis::Forgeable };
        let reason =
            Reason::Policy { class, count: tally.counts[class as usize], threshold, basis, parts: 0, probation: false };
        self.sentence(prefix, reason, at, from);
    }

    /// A login that strangers cannot have made up: it may clear counts. Whether it is that of one who guessed until it fitted.
    pub(in crate::decide) fn success(
        &mut self,
        peer: Address,
        (user, method): (&[u8], Option<&'static str>),
        host: HostId,
        at: Timestamp,
    ) -> bool {
        self.at_home(peer, at);
        let prefix = self.policy.prefix(peer);
        // A deny that was over by then has cleared the counts: nothing to suspect.
        self.expire(prefix, at);
        let tally = self.state.tallies.get(&prefix).copied();
        let is_exceeded = |tally: Tally| tally.exceeded(&self.policy, at).is_some();
        let is_suspicious = tally.is_some_and(is_exceeded);
        // Who guessed until it fitted is none of us.
        let guessed = tally.is_some_and(|tally| is_exceeded(tally.certain()));
        if !guessed {
            self.familiarise(prefix, at);
            self.state.waves.take_back(&prefix);
        }
        self.changes.push(Change::LoggedIn { prefix, user: user[..user.len().min(USER_MAX)].into(), at });
        let Some(mut tally) = tally else { return guessed };
        if is_suspicious {
            self.changes.push(Change::Suspicious { address: peer.into(), user: user.to_vec(), method, at });
        }
        tally.successes = tally.successes.saturating_add(1);
        if self.policy.reset_on_success
            && let Some(share) = self.state.shares.get(&(prefix, host)).copied()
        {
            for ((count, sound), share) in tally.counts.iter_mut().zip(&mut tally.sound).zip(share) {
                *count = count.saturating_sub(share);
                *sound = sound.saturating_sub(u8::try_from(share).unwrap_or(u8::MAX));
            }
            self.change(Change::Shared { prefix, host: Some(host), counts: [0; 5] });
        }
        self.change(Change::Counted { prefix, tally: Some(tally) });
        guessed
    }

    /// Releases what a prefix has served by `at`: events know their own time, and need not wait for a tick.
    pub(super) fn expire(&mut self, prefix: Prefix, at: Timestamp) {
        // A clock that leapt ahead, and its records with it, releases nobody while it is not believed.
        let at = at.min(self.wall).min(self.believed.unwrap_or(self.wall));
        // Most often no deny at all is over by then, which is quickly seen.
        if self.state.ends.first().is_none_or(|(until, ..)| *until > at) {
            return;
        }
        let Some(deny) = self.state.denies.get(&prefix) else { return };
        let over = deny.claims().filter_map(|(by, claim)| Some((by, claim.until.filter(|until| *until <= at)?)));
        let over: Vec<_> = over.collect();
        for (by, until) in over {
            self.release(prefix, by, until, Why::Expired, None);
        }
    }

    /// Clears all counts of a prefix.
    pub(super) fn forget(&mut self, prefix: Prefix) {
        self.change(Change::Counted { prefix, tally: None });
        if self.policy.reset_on_success || !self.state.shares.is_empty() {
            self.change(Change::Shared { prefix, host: None, counts: [0; 5] });
        }
    }

    /// Withdraws a claim. The end of the policy's own, and whatever a person withdraws, also clears the prefix' counts,
    /// so that it starts again from zero; the end of an operator's deny does not. A deny that rested on what strangers
    /// may have made up was no sentence, and takes no more with it than that.
    pub(super) fn release(&mut self, prefix: Prefix, by: Claimant, at: Timestamp, why: Why, who: Who) {
        let known = self.state.released.get(&prefix).copied().unwrap_or(0);
        let claim = self.state.denies.get(&prefix).and_then(|deny| deny.claim(by));
        let forgeable = claim.is_some_and(Claim::is_forgeable);
        let ended = by == Claimant::Policy && matches!(why, Why::Expired | Why::Crowded);
        let probation = claim.is_some_and(|claim| claim.reason.is_probation());
        // Who made way served nothing, whatever came up since.
        let forged = ended && (why == Why::Crowded || self.is_forgeable(prefix));
        let received = by == Claimant::Sync && why == Why::Expired && self.counts_received(known);
        let served = (ended && !forged && !probation || received) && !self.goes_on(prefix, by, known);
        let times = if served { known.saturating_add(1) } else { known };
        let crowded = times > known && known == 0 && self.state.released.len() >= RELEASED_MAX;
        if let Some(victim) = self.state.released.first().filter(|_| crowded).map(|(victim, _)| *victim) {
            self.untold(Bound::Tallies, 1);
            self.change(Change::Remembered { prefix: victim, times: 0, last: None });
        }
        self.change(Change::Released { prefix, by, at, why, forgeable, times, who });
        let certain = self.state.tallies.get(&prefix).filter(|_| forged).map(Tally::certain);
        // Whom only a server told of has counted nothing by that; who forgives more clears that himself.
        let clears = by == Claimant::Policy || why != Why::Expired && (by, why) != (Claimant::Sync, Why::Forgiven);
        if clears {
            self.forget_net(prefix, !forged);
            self.state.links.forget(&prefix);
            self.state.waves.forget(&prefix);
        }
        match certain {
            Some(tally) if tally.failures() > 0 => self.change(Change::Counted { prefix, tally: Some(tally) }),
            _ if clears => self.forget(prefix),
            _ => {}
        }
    }

    /// Whether the policy denies a prefix only because of what strangers may have made up: it did when it decided so,
    /// and nothing certain has come up to it since.
    pub(super) fn is_forgeable(&self, prefix: Prefix) -> bool {
        let claim = self.state.denies.get(&prefix).and_then(|deny| deny.claim(Claimant::Policy));
        let Some(Reason::Policy { class, threshold, basis: Basis::Forgeable, .. }) = claim.map(|claim| &claim.reason)
        else {
            return false;
        };
        !self.state.tallies.get(&prefix).is_some_and(|tally| tally.is_sound(*class, *threshold))
    }
}
