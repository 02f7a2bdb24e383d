//! Of how many failures the message is kept: a flood must not wash out the evidence about all others.

use inputs::record::Timestamp;

use crate::decide::rooms::forgeable;

/// Failures by sockets of which the message is kept at once, and how many more a second.
const AT_ONCE: u64 = 20_000;
const A_SECOND: u64 = 8_000;

/// The same of those that strangers may have made up.
const FORGEABLE_AT_ONCE: u64 = forgeable(AT_ONCE as usize) as u64;
const FORGEABLE_A_SECOND: u64 = forgeable(A_SECOND as usize) as u64;

/// Of how many failures the message is kept.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    at_once: u64,
    a_second: u64,
    /// Up to when it was refilled.
    refilled: Timestamp,
    /// Failures that counted, and of which no message was kept.
    pub(super) untold: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::of(AT_ONCE, A_SECOND)
    }
}

impl Budget {
    fn of(at_once: u64, a_second: u64) -> Self {
        Budget { left: at_once, at_once, a_second, refilled: Timestamp::default(), untold: 0 }
    }

    /// That of what strangers may have made up.
    pub(super) fn forgeable() -> Self {
        Budget::of(FORGEABLE_AT_ONCE, FORGEABLE_A_SECOND)
    }

    /// Time has passed: it is `now`, or the clock was set.
    pub(super) fn refill(&mut self, now: Timestamp) {
        let passed_us = u64::try_from(now.0.saturating_sub(self.refilled.0)).unwrap_or(0);
        let gained = passed_us / (1_000_000 / self.a_second);
        self.left = self.left.saturating_add(gained).min(self.at_once);
        // The rest, too short for one, counts the next time.
        self.refilled = Timestamp(now.0.saturating_sub_unsigned(passed_us % (1_000_000 / self.a_second)));
    }

    /// Whether one more message may be kept.
    pub(super) fn spend(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            self.untold += 1;
            return false;
        };
        self.left = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_leaves_as_many_as_come_in_the_time() {
        let start = Timestamp::from_secs(1_795_304_306);
        let mut budget = Budget::default();
        let mut told = |at: Timestamp| {
            budget.refill(at);
            (0..30_000).filter(|_| budget.spend()).count() as u64
        };
        assert_eq!(told(start), AT_ONCE);
        assert_eq!(told(start), 0);
        assert_eq!(told(start.after(Duration::from_millis(250))), A_SECOND / 4);
        // Many short times are as much as one long.
        let short = (1..=1_000).map(|n| told(start.after(Duration::from_micros(250_000 + 1_001 * n)))).sum::<u64>();
        assert_eq!(short, 1_001_000 * A_SECOND / 1_000_000);
        assert_eq!(told(start), 0, "the clock was set back");
        assert_eq!(told(start.after(Duration::from_secs(3_600))), AT_ONCE);
        assert_eq!(budget.untold, 1_005 * 30_000 - 2 * AT_ONCE - A_SECOND / 4 - short);
    }
}
