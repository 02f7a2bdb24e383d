//! How long a prefix is denied.

use std::time::Duration;

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::claim::{Basis, Claim, Claimant, FORGEABLE_FOR, Reason};
use crate::decide::familiar::{Known, seconds};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Bound, Change, DENIES_MAX, FORGEABLE_DENIES_MAX, State, Why};

impl Engine {
    /// Denies a prefix for a reason of the policy's, at `at` and to last from `from`: for an hour at most if it rests
    /// on what strangers may have made up, or if it is a wider net that was not denied before; shorter still, once, where
    /// somebody logged in lately.
    pub(super) fn sentence(&mut self, prefix: Prefix, mut reason: Reason, at: Timestamp, from: Timestamp) {
        let sound = matches!(reason, Reason::Policy { basis: Basis::Sound, .. } | Reason::Wave(_));
        let released = self.state.released.get(&prefix).copied().unwrap_or(0);
        let is_link = self.policy.machine.is_link(&prefix);
        let is_short = !sound || is_link || reason.parts() > 0 && released == 0;
        let for_ever = self.policy.permanent_after.is_some_and(|times| released >= times);
        // The hour of a wider net was none of its sentences.
        let served = released.saturating_sub(u32::from(reason.parts() > 0));
        let time = if for_ever { None } else { self.policy.term(served) };
        let time = if is_short { Some(time.unwrap_or(FORGEABLE_FOR).min(FORGEABLE_FOR)) } else { time };
        // What strangers may have made up is as short, and leaves the probation to what is certain.
        let short = self.probation(prefix, at).filter(|short| time.is_none_or(|time| *short < time));
        let on_probation = short.is_some() && sound;
        if let Reason::Policy { probation, .. } = &mut reason {
            *probation = on_probation;
        }
        let time = short.or(time);
        let from = begins(at, from, time);
        let (until, within_the_hour) = (time.map(|time| from.after(time)), from.after(FORGEABLE_FOR));
        let is_news = on_probation || until.is_none_or(|until| until > within_the_hour);
        match self.state.denies.get(&prefix).and_then(|deny| deny.claim(Claimant::Policy)) {
            // It was denied for an hour at most, and now it is certain.
            Some(claim) if sound && is_news && claim.gives_way() => {}
            Some(_) => return,
            None => {}
        }
        let enforceable = until.is_some() || from.after(self.policy.replay_max_age) > self.wall;
        let claim = Claim { since: at, until, reason, enforceable };
        if self.has_room(prefix, &claim) {
            self.change(Change::Denied { prefix, by: Claimant::Policy, claim });
            if on_probation && let Some(known) = self.state.familiar.get(&prefix) {
                let known = Some(Known { probation: seconds(at), ..known });
                self.change(Change::Familiar { prefix, known });
            }
        }
    }

    /// How long a deny lasts that begins at `at`, if it is to be a probation.
    fn probation(&self, prefix: Prefix, at: Timestamp) -> Option<Duration> {
        self.policy.probation.filter(|_| self.state.familiar.get(&prefix).is_some_and(|known| known.has_probation(at)))
    }

    /// Notes a login that strangers cannot have made up.
    pub(super) fn familiarise(&mut self, prefix: Prefix, at: Timestamp) {
        let known = self.state.familiar.get(&prefix).unwrap_or_default().with_login(at);
        if known.is_none() {
            return;
        }
        if let Some(victim) = self.state.familiar.victim(&prefix, self.state.untold(Bound::Familiar)) {
            self.untold(Bound::Familiar, 1);
            self.change(Change::Familiar { prefix: victim, known: None });
        }
        self.change(Change::Familiar { prefix, known });
    }

    /// Whether there is room for a claim of the policy's. One that is certain takes that of one that is not.
    pub(super) fn has_room(&mut self, prefix: Prefix, claim: &Claim) -> bool {
        let State { denies, forgeable, .. } = &self.state;
        let is_full = denies.len() >= DENIES_MAX && !denies.contains_key(&prefix);
        let (has_room, victim) = match claim.is_forgeable() {
            true => (!is_full && forgeable.len() < FORGEABLE_DENIES_MAX, None),
            false if is_full => (!forgeable.is_empty(), forgeable.first().copied()),
            false => (true, None),
        };
        if !has_room || victim.is_some() {
            self.untold(Bound::Denies, 1);
        }
        if let Some(victim) = victim {
            self.release(victim, Claimant::Policy, self.wall, Why::Crowded, None);
        }
        has_room
    }
}

/// No zone's time is nearer to another's, but for a minute.
const LEAST_ZONE: Duration = Duration::from_secs(14 * 60);
/// One part in so many of a deny's time is not worth an end that its record does not tell.
const SHARE: u32 = 10;

/// From when a deny of this `time` lasts, whose record was written at `at`, as it says, and is to be counted from
/// `from`: a lag that no zone makes and that takes hardly any of its time changes nothing, so that a log that is read
/// again says the same end.
fn begins(at: Timestamp, from: Timestamp, time: Option<Duration>) -> Timestamp {
    let slight = time.map_or(LEAST_ZONE, |time| LEAST_ZONE.min(time / SHARE));
    if from <= at.after(slight) { at } else { from }
}
