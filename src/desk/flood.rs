//! What is logged of a flood: of what strangers may have made up, and of what ends, a few lines a
//! second, and then a sum.

use inputs::record::Timestamp;

use crate::decide::state::Change;

/// Lines in one second that tell of one such decision each.
const LINES_A_SECOND: u64 = 10;

/// What was logged lately.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// In which second since the epoch so many lines were logged.
    second: i64,
    lines: u64,
    /// In which the last sum was.
    summed: i64,
    /// Decisions that no line told of: the next sum's.
    untold: Sum,
}

/// Decisions by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    denied: u64,
    released: u64,
    spared: u64,
}

impl Flood {
    /// Whether a change is logged by itself; if not it is counted.
    pub(super) fn tells(&mut self, change: &Change, now: Timestamp) -> bool {
        let count = match change {
            Change::Denied { claim, .. } if claim.is_forgeable() => &mut self.untold.denied,
            Change::Released { .. } => &mut self.untold.released,
            Change::Spared { spared, .. } if spared.forgeable => &mut self.untold.spared,
            _ => return true,
        };
        if self.second != now.secs() {
            (self.second, self.lines) = (now.secs(), 0);
        }
        if self.lines >= LINES_A_SECOND {
            *count += 1;
            return false;
        }
        self.lines += 1;
        true
    }

    /// What no line told of, once a second at most.
    pub(super) fn sum(&mut self, now: Timestamp) -> Option<Sum> {
        if self.untold == Sum::default() || self.summed == now.secs() {
            return None;
        }
        self.summed = now.secs();
        Some(std::mem::take(&mut self.untold))
    }

    /// Logs it.
    pub(super) fn sum_up(&mut self, now: Timestamp) {
        if let Some(Sum { denied, released, spared }) = self.sum(now) {
            tracing::info!(
                denied,
                released,
                spared,
                "more decisions than are logged one by one: `denyd history` shows each"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::claim::{Basis, Claim, Claimant, Reason};
    use crate::decide::live::Spared;
    use crate::decide::policy::Class;
    use crate::decide::prefix::Prefix;

    #[test]
    fn a_flood_of_what_may_be_forged_is_a_few_lines_a_second_and_a_sum() {
        let prefix = Prefix::host(std::net::Ipv4Addr::new(192, 0, 2, 7));
        let deny = |basis| {
            let reason =
                Reason::Policy { class: Class::Root, count: 6, threshold: 5, basis, parts: 0, probation: false };
            let claim = Claim { since: Timestamp(1), until: None, reason, enforceable: true };
            Change::Denied { prefix, by: Claimant::Policy, claim }
        };
        let spare = |forgeable| {
            let spared = Spared { prefix, user: (*b"root").into(), class: Class::Root, count: 2, most: 6, forgeable };
            Change::Spared { spared: Box::new(spared), at: Timestamp(1) }
        };
        let at = Timestamp::from_secs;
        let mut flood = Flood::default();
        let mut lines = |change: Change, now: i64| {
            let lines = (0..1_000).filter(|_| flood.tells(&change, at(now))).count();
            (lines, [flood.sum(at(now)), flood.sum(at(now))])
        };
        let none = [None, None];
        let denied = |denied| [Some(Sum { denied, ..Sum::default() }), None];
        assert_eq!(lines(deny(Basis::Forgeable), 7), (10, denied(990)));
        assert_eq!(lines(deny(Basis::Forgeable), 7), (0, none), "one sum a second");
        assert_eq!(lines(deny(Basis::Sound), 7), (1_000, none), "what is sound is told");
        assert_eq!(lines(deny(Basis::Forgeable), 8), (10, denied(1_990)), "and nothing is left out of the sums");
        assert_eq!(lines(spare(false), 9), (1_000, none));
        assert_eq!(lines(spare(true), 9), (10, [Some(Sum { spared: 990, ..Sum::default() }), None]));
    }
}
