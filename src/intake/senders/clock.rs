//! What is known of the clock of a sender's program, by the stamps of its records and by when they came.
//!
//! How late a record is says little: it may have waited, or its stamp is wrong. How that changes says which. A clock
//! that is off stays off by the same; of what has waited, each comes less late than the one before. Until one of the
//! two is shown, nobody can tell, and what is decided then must be right in both cases.

use inputs::record::Timestamp;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

/// A clock is off if it is off by more.
pub(super) const SKEW: i64 = MINUTE;
/// A lag is the same while it stays within this.
const STEADY: i64 = 2 * SECOND;
/// Where records come in bursts, by a daemon that writes or looks once in a while, while it stays within this.
const IN_BURSTS: i64 = 62 * SECOND;
/// It is the clock's after so many records, over so long.
const SHOWN: (u32, i64) = (20, 30 * SECOND);
/// The same of a sender that says little.
const SHOWN_SLOWLY: (u32, i64) = (3, 10 * MINUTE);
/// The same of one whose records come in bursts.
const SHOWN_IN_BURSTS: (u32, i64) = (20, 10 * MINUTE);
/// Records that come so much less late than others before them have waited: what comes in a burst
/// every minute does not.
const WAITED: i64 = 90 * SECOND;
/// A backlog is one until this much later, unless it goes on.
const BACKLOG: i64 = 3 * SECOND;
/// No two zones are farther apart. What is later is old, whatever its zone.
const ZONES: i64 = 26 * 60 * MINUTE;
/// Zones are whole multiples of this apart.
const ZONE: i64 = 15 * MINUTE;

/// Records whose lag was the same, up to the last.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// None before the first.
    records: u32,
    /// When the first of them came.
    since: Timestamp,
    /// Their least lag and their greatest.
    least: i64,
    most: i64,
}

impl Run {
    /// A record came. Says whether it goes on: whether the lag is within `spread` of all the others.
    fn hear(&mut self, received: Timestamp, lag: i64, spread: i64) -> bool {
        let (least, most) = (self.least.min(lag), self.most.max(lag));
        let goes_on = self.records > 0 && received >= self.since && most.saturating_sub(least) <= spread;
        *self = match goes_on {
            true => Run { records: self.records.saturating_add(1), least, most, ..*self },
            false => Run { records: 1, since: received, least: lag, most: lag },
        };
        goes_on
    }

    /// Whether there are so many records, over so long.
    fn shows(&self, received: Timestamp, (records, at_least): (u32, i64)) -> bool {
        self.records >= records && received.0.saturating_sub(self.since.0) >= at_least
    }
}

/// A sender's clock. See the head of this file. Lags are in microseconds, less than none where a clock is ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// The lag that is its clock's.
    known: Option<i64>,
    /// Records whose lag was the same.
    steady: Run,
    /// The same, in bursts.
    bursts: Run,
    /// The greatest lag since it last grew, or stayed.
    top: i64,
    /// A backlog comes if a record comes before this.
    waited: Timestamp,
}

/// What is known of a record's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Its stamp, set right as far as that is known.
    pub(super) event: Timestamp,
    /// It may have been written just now, whatever its stamp says.
    pub(super) live: bool,
}

impl Clock {
    /// One that was known to be behind, by so many microseconds.
    pub(super) fn behind(by: i64) -> Clock {
        Clock { known: Some(by), ..Clock::default() }
    }

    /// A record came that was written at `event`, as it says.
    pub(super) fn hear(&mut self, received: Timestamp, event: Timestamp) -> Judged {
        let lag = received.0.saturating_sub(event.0);
        // A stamp that would be of the future then is of a time after the clock was set.
        if self.known.is_some_and(|known| lag < known.saturating_sub(SKEW)) {
            *self = Clock::default();
        }
        self.learn(received, lag);
        let event = Timestamp(event.0.saturating_add(self.skew().unwrap_or(0)));
        let late = received.0.saturating_sub(event.0);
        let is_timely = self.known.is_some() && late <= SKEW;
        Judged { event, live: !is_timely && late <= ZONES && received >= self.waited }
    }

    fn learn(&mut self, received: Timestamp, lag: i64) {
        let falls = self.steady.records > 0 && lag < self.steady.least;
        if self.steady.hear(received, lag, STEADY) {
            // A backlog that came before is long over.
            self.top = if self.steady.shows(received, (0, SHOWN.1)) { self.steady.most } else { self.top };
        } else {
            self.top = if falls { self.top } else { lag };
            if self.top.saturating_sub(lag) > WAITED {
                self.waited = Timestamp(received.0.saturating_add(BACKLOG));
            }
        }
        self.bursts.hear(received, lag, IN_BURSTS);
        if [SHOWN, SHOWN_SLOWLY].iter().any(|shown| self.steady.shows(received, *shown)) {
            self.known = Some(self.steady.least);
        } else if self.bursts.shows(received, SHOWN_IN_BURSTS) {
            // The least of them waited least. What was known better stays.
            let least = self.bursts.least;
            self.known = self.known.filter(|known| known.abs_diff(least) <= SKEW.unsigned_abs()).or(Some(least));
        }
    }

    /// How far behind ours it is, in microseconds, less than none where it is ahead; `None` = it is right, or
    /// nobody can tell yet.
    pub(super) fn skew(&self) -> Option<i64> {
        self.known.filter(|known| known.unsigned_abs() > SKEW.unsigned_abs())
    }
}

/// How far off a zone is, in minutes, where that is what makes a clock be off by so many microseconds.
pub fn zone(skew: i64) -> Option<i64> {
    let zones = skew.saturating_add(ZONE / 2).div_euclid(ZONE);
    let is_one = zones != 0 && skew.abs_diff(zones * ZONE) <= SKEW.unsigned_abs() && skew.abs_diff(0) <= ZONES as u64;
    is_one.then_some(zones * ZONE / MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_305_600; // 2026-11-22T00:00:00Z

    /// Records, each by when it came and how late (in seconds); what is known of the last, as `late by 3600 s`, `live`.
    #[track_caller]
    fn check(records: impl IntoIterator<Item = (i64, i64)>, want: (i64, bool), skew: Option<i64>) {
        let (mut clock, mut found) = (Clock::default(), None);
        for (came, lag) in records {
            let received = Timestamp::from_secs(START + came);
            let Judged { event, live } = clock.hear(received, Timestamp::from_secs(START + came - lag));
            found = Some((received.secs() - event.secs(), live));
        }
        assert_eq!((found, clock.skew().map(|skew| skew / SECOND)), (Some(want), skew));
    }

    #[test]
    fn a_lag_that_stays_is_the_clocks() {
        let steady = |records: i64, every: i64, lag: i64| (0..records).map(move |n| (n * every, lag + n % 3));
        for lag in [3_600, -3_600, 100, 10_000_000] {
            // 20 records and 30 s.
            check(steady(20, 2, lag), (19 % 3, false), Some(lag));
            check(steady(31, 1, lag), (0, false), Some(lag));
        }
        check(steady(19, 2, 3_600), (3_600, true), None);
        check(steady(30, 1, 3_600), (3_602, true), None);
        check(steady(20, 2, 30), (31, false), None);
        // Of who says little: three in ten minutes.
        check(steady(3, 300, 3_600), (2, false), Some(3_600));
        check(steady(3, 299, 3_600), (3_602, true), None);
        check(steady(2, 600, 3_600), (3_601, true), None);
        // What jumps by more than two seconds shows it in ten minutes, and by more than a minute never.
        let jumps = |by: i64, records| (0..records).map(move |n| (n * 10, 3_600 + by * (n % 2)));
        check(jumps(3, 60), (3_603, true), None);
        check(jumps(3, 61), (0, false), Some(3_600));
        check(jumps(62, 62), (62, true), Some(3_600));
        check(jumps(63, 200), (3_663, true), None);
        // Nothing is so old for its zone.
        check([(0, 26 * 3_600)], (26 * 3_600, true), None);
        check([(0, 26 * 3_600 + 1)], (26 * 3_600 + 1, false), None);
    }

    #[test]
    fn a_lag_that_falls_is_a_backlogs() {
        // An hour that is worked off at twice, at ten and at 3600 times its pace, once that took a
        // minute and a half off.
        check((0..91).map(|n| (n, 3_600 - n)), (3_510, true), None);
        check((0..94).map(|n| (n, 3_600 - n)), (3_507, false), None);
        check((0..11).map(|n| (n, 3_600 - 9 * n)), (3_510, true), None);
        check((0..12).map(|n| (n, 3_600 - 9 * n)), (3_501, false), None);
        check((0..4).map(|n| (0, 3_600 - 31 * n)), (3_507, false), None);
        check((0..3).map(|n| (0, 3_600 - 31 * n)), (3_538, true), None);
        // Three seconds later it is over.
        let outage = [(0, 20_000), (0, 19_000), (0, 18_000)];
        check(outage.into_iter().chain([(2, 18_000)]), (18_000, false), None);
        check(outage.into_iter().chain([(3, 18_000)]), (18_000, true), None);
        // And half a minute later it is forgotten: a clock that is set right by some seconds is no backlog.
        let after = |end| outage.into_iter().chain((3..=end).step_by(3).map(|n| (n, 18_000))).chain([(end, 17_990)]);
        check(after(27), (17_990, false), None);
        check(after(30), (17_990, true), None);
    }

    /// imfile looks every ten seconds, a cron job every minute: what waited least came when it was written.
    #[test]
    fn what_comes_in_bursts_is_no_backlog_and_shows_a_clock_too() {
        // One record a second, all that came since the last burst at once; the last of the last burst.
        let bursts = |period: i64, seconds: i64, lag: i64| {
            (1..=seconds).map(move |n| ((n + period - 1) / period * period, lag + (period - n % period) % period))
        };
        for period in [1, 2, 3, 10, 30, 60] {
            for lag in [0, 3_600, -3_600, 5 * 3_600 + 45 * 60] {
                let skew = Some(lag).filter(|lag| *lag != 0);
                check(bursts(period, 720, lag), (0, false), skew);
                if period > 3 {
                    check(bursts(period, 540, lag), (lag, true), None);
                }
            }
        }
        // Less often than every minute and a half nobody can tell.
        check(bursts(120, 3_600, 3_600), (3_600, false), None);
    }

    #[test]
    fn a_clock_that_is_known_is_judged_anew_when_it_is_set() {
        let hour = || (0..20).map(|n| (2 * n, 3_600));
        let then = |more: &[(i64, i64)]| hour().chain(more.to_vec()).collect::<Vec<_>>();
        // A backlog of it is late by what it waited, and what comes between is in time.
        check(then(&[(50, 9_000)]), (5_400, true), Some(3_600));
        check(then(&[(50, 9_000), (50, 8_000)]), (4_400, false), Some(3_600));
        check(then(&[(50, 9_000), (50, 3_600)]), (0, false), Some(3_600));
        check(then(&[(50, 9_000), (50, 3_600), (51, 9_000)]), (5_400, false), Some(3_600));
        // Set right, or set on and back by an hour, as in spring and autumn.
        check(then(&[(50, 0)]), (0, true), None);
        check(then(&[(50, 0), (60, 3_600)]), (3_600, true), None);
        check(then(&[(50, 7_200)]), (3_600, true), Some(3_600));
        check(hour().chain((0..20).map(|n| (60 + 2 * n, 7_200))), (0, false), Some(7_200));
    }

    #[test]
    fn zones_are_quarters_of_hours() {
        let check = |seconds: i64, want| assert_eq!(zone(seconds * SECOND), want, "{seconds} s");
        check(0, None);
        check(61, None);
        check(14 * 60, Some(15));
        check(14 * 60 - 1, None);
        check(-16 * 60, Some(-15));
        check(5 * 3_600 + 45 * 60 + 60, Some(345));
        check(-12 * 3_600, Some(-720));
        check(27 * 3_600, None);
        check(i64::MAX / SECOND, None);
        check(i64::MIN / SECOND, None);
    }
}
