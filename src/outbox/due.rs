//! When a mail is due: so that a person soon knows, and never has more of them than he can read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Mails that do not wait, within the period that is from one mail about denies to the next.
const URGENT_MAX: usize = 10;

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// When the last mail was taken.
    sent: Option<Instant>,
    /// When mails were that did not wait, of the last period.
    urgent: VecDeque<Instant>,
}

impl Due {
    /// Nothing was sent since, but for the last mail of an earlier life.
    pub(super) fn since(sent: Option<Instant>) -> Self {
        Due { sent, urgent: VecDeque::new() }
    }

    /// When what waits since `begun` is to be told: what a person must know is at once, a deny after `first` where all was
    /// quiet, and after `every` where it was not.
    pub(super) fn of(
        &mut self,
        begun: Instant,
        is_urgent: bool,
        (first, every): (Duration, Duration),
        now: Instant,
    ) -> Instant {
        while self.urgent.front().is_some_and(|sent| now.saturating_duration_since(*sent) >= every) {
            self.urgent.pop_front();
        }
        if is_urgent && self.urgent.len() < URGENT_MAX {
            return begun;
        }
        // A duration that has no end in this clock is as good as none.
        let after = |from: Instant, time: Duration| from.checked_add(time).unwrap_or(from);
        let first = after(begun, first);
        self.sent.map_or(first, |sent| first.max(after(sent, every)))
    }

    /// A mail was taken.
    pub(super) fn sent(&mut self, is_urgent: bool, now: Instant) {
        self.sent = Some(now);
        if is_urgent {
            self.urgent.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIODS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

    #[test]
    fn the_first_comes_soon_and_the_next_in_an_hour() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut due = Due::default();
        let check = |due: &mut Due, begun, want| assert_eq!(due.of(at(begun), false, PERIODS, at(begun)), at(want));
        check(&mut due, 0, 60);
        due.sent(false, at(60));
        check(&mut due, 61, 3660);
        check(&mut due, 3659, 3719);
        check(&mut due, 9000, 9060);
        check(&mut Due::since(Some(at(0))), 10, 3600);
    }

    #[test]
    fn what_does_not_wait_is_ten_mails_in_a_period() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut due = Due::default();
        for second in 0..10 {
            assert_eq!(due.of(at(second), true, PERIODS, at(second)), at(second));
            due.sent(true, at(second));
        }
        assert_eq!(due.of(at(10), true, PERIODS, at(10)), at(3609));
        assert_eq!(due.of(at(3600), true, PERIODS, at(3600)), at(3600), "the first is a period ago");
    }

    #[test]
    fn times_without_an_end_are_no_times() {
        let now = Instant::now();
        let for_ever = Duration::from_secs(u64::MAX);
        let mut due = Due::since(Some(now));
        assert_eq!(due.of(now, false, (for_ever, for_ever), now), now);
    }
}
