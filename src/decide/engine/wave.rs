//! An attempt that may be part of a slow attack by many.

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::attempt::Attempt;
use crate::decide::claim::{Part, Reason};
use crate::decide::familiar::seconds;
use crate::decide::policy::{Class, Watch};
use crate::decide::state::Change;
use crate::decide::tally::Tally;
use crate::decide::wave::{FEW, OCCASIONS, Try, Turn};

impl Engine {
    /// Counts a failed try for the waves, and denies its prefix if that takes part in one. `before` is what the prefix had.
    #[inline]
    pub(super) fn wave(&mut self, attempt: &Attempt<'_>, before: &Tally) {
        if attempt.sound == 0 || self.policy.waves == Watch::Off || self.is_frequent(before, attempt.at) {
            return;
        }
        self.slow_try(attempt);
    }

    /// Whether a prefix fails more often than those that are slow: thresholds are for that. By what is certain alone, or
    /// whoever makes lines up could hide a slow one.
    #[inline]
    fn is_frequent(&self, before: &Tally, at: Timestamp) -> bool {
        let sound = |of: &dyn Fn(Class) -> bool| {
            Class::ALL.into_iter().filter(|class| of(*class)).map(|class| u32::from(before.sound[class as usize])).sum()
        };
        let all: u32 = sound(&|_| true);
        all > FEW && {
            let left: u32 = sound(&|class| before.aged(class, self.policy.age(class), at) > 0);
            left > FEW
        }
    }

    #[inline(never)]
    fn slow_try(&mut self, attempt: &Attempt<'_>) {
        let Attempt { peer, prefix, host, classes, at, from, .. } = *attempt;
        let is_familiar = self.state.familiar.get(&prefix).is_some_and(|known| known.is_lately(at));
        let is_nobody = self.policy.special(peer).is_some_and(|special| special.is_never_denied);
        if attempt.is_probe() || is_familiar || is_nobody {
            return;
        }
        let (at_s, wall) = (seconds(at.min(self.wall)), seconds(self.wall));
        let one = Try { prefix, user: &attempt.user, host, at: at_s, wall };
        let failed = self.state.waves.fail(&one);
        for turn in failed.turns {
            let by = (turn.name.is_empty() && !turn.is_over).then_some(prefix);
            self.changes.push(Change::Wave { turn: Box::new(turn), by, at });
        }
        let Some((Turn { name, wave, .. }, count)) = failed.part.filter(|_| self.policy.waves == Watch::Deny) else {
            return;
        };
        let is_guest = self.guest(&prefix, at).is_some();
        let Some(class) = classes.iter().next().filter(|_| !is_guest) else { return };
        let part = Part {
            class,
            count: u32::from(count),
            threshold: u32::from(OCCASIONS) - 1,
            user: name,
            addresses: wave.addresses,
            hosts: wave.hosts(),
            since: Timestamp::from_secs(i64::from(wave.since)),
        };
        self.sentence(prefix, Reason::Wave(Box::new(part)), at, from);
    }

    /// Ends the waves that are over by a time.
    pub(super) fn end_waves(&mut self, at: Timestamp) {
        for turn in self.state.waves.end(seconds(at)) {
            self.changes.push(Change::Wave { turn: Box::new(turn), by: None, at });
        }
    }
}
