//! Whether the clock can be believed: one that is set a month ahead for a moment must not make the hub forget all hosts.
//!
//! Reads no clock; it is told the time, and how long the machine has run.

use std::time::Duration;

/// How long the clock must go on without a leap until one ahead is believed, and until anything is forgotten by it.
pub const BELIEVED_AFTER: Duration = Duration::from_secs(600);

/// By how many seconds the clock may differ between two looks from how long the machine ran, and not have leapt.
const LEAP: i64 = 60;

/// What is believed of the clock.
#[derive(Debug)]
pub struct Watch {
    /// The clock less how long the machine has run, in seconds: as it was last.
    last: i64,
    /// The same, as it is believed.
    believed: i64,
    /// When the clock leapt last, by how long the machine had run.
    since: Duration,
}

/// What the time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// In seconds of the epoch, as it is believed.
    pub time: i64,
    /// Whether the clock has not leapt for [`BELIEVED_AFTER`].
    pub is_steady: bool,
}

impl Watch {
    /// Begins with the clock as it is. `ran` is how long the machine has run.
    pub fn new(now: i64, ran: Duration) -> Self {
        let offset = now - seconds(ran);
        Watch { last: offset, believed: offset, since: ran }
    }

    /// Looks at the clock. One that was set back is believed at once, and one that was set ahead to at most `known`, a time
    /// that was already; any other leap is believed later, and until then time goes on as before.
    pub fn look(&mut self, now: i64, ran: Duration, known: i64) -> Seen {
        let offset = now - seconds(ran);
        if (offset - self.last).abs() > LEAP {
            self.since = ran;
            tracing::warn!(seconds = offset - self.last, "the clock of this machine was set");
        }
        self.last = offset;
        let is_steady = ran.saturating_sub(self.since) >= BELIEVED_AFTER;
        if is_steady || offset - self.believed <= LEAP || now <= known {
            self.believed = offset;
        }
        Seen { time: self.believed + seconds(ran), is_steady }
    }
}

fn seconds(ran: Duration) -> i64 {
    i64::try_from(ran.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_700_000_000;
    const MONTH: i64 = 31 * 24 * 3600;

    /// The clock, less what had gone by, at each second that the machine ran; what is believed of it, less the same.
    fn check(looks: &[(u64, i64)], known: i64, want: &[(i64, bool)]) {
        let mut watch = Watch::new(T, Duration::ZERO);
        let told: Vec<_> = looks
            .iter()
            .map(|&(ran, ahead)| {
                let seen = watch.look(T + ran as i64 + ahead, Duration::from_secs(ran), known);
                (seen.time - T - ran as i64, seen.is_steady)
            })
            .collect();
        assert_eq!(told, want, "{looks:?}");
    }

    #[test]
    fn a_leap_ahead_is_believed_after_minutes() {
        check(&[(1, 0), (599, 0), (600, 0), (9999, 0)], 0, &[(0, false), (0, false), (0, true), (0, true)]);
        // For a moment, and for good.
        check(&[(700, 0), (701, MONTH), (702, 0)], 0, &[(0, true), (0, false), (0, false)]);
        check(
            &[(700, 0), (701, MONTH), (1300, MONTH), (1301, MONTH)],
            0,
            &[(0, true), (0, false), (0, false), (MONTH, true)],
        );
        // Each leap begins the minutes anew.
        check(
            &[(700, 0), (701, MONTH), (1300, 2 * MONTH), (1301, 2 * MONTH)],
            0,
            &[(0, true), (0, false), (0, false), (0, false)],
        );
        // Back, or by little, or to a time that was already: at once.
        check(&[(700, 0), (701, -MONTH), (702, 0)], 0, &[(0, true), (-MONTH, false), (-MONTH, false)]);
        check(&[(700, 0), (701, 60), (702, 120)], 0, &[(0, true), (60, true), (120, true)]);
        check(&[(1, 0), (2, MONTH)], T + 2 + MONTH, &[(0, false), (MONTH, false)]);
    }
}
