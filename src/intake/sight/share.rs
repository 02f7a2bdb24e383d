//! How much of what may be sshd's was understood: of the last records, and in the seven days before.

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::Example;

/// Records that are judged at a time, and as many there must be to compare them with.
const JUDGED: u32 = 200;
/// Days that are looked back.
const DAYS: i64 = 7;
const DAY: i64 = 86_400;

/// Some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    records: u32,
    fit: u32,
}

impl Part {
    fn add(&mut self, other: Part) {
        self.records = self.records.saturating_add(other.records);
        self.fit = self.fit.saturating_add(other.fit);
    }

    fn percent(self) -> u64 {
        100 * u64::from(self.fit) / u64::from(self.records.max(1))
    }
}

/// Each day's records, the latest [`DAYS`]: what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days([(i64, Part); DAYS as usize]);

/// How much was understood.
#[derive(Debug, Default)]
pub struct Share {
    now: Part,
    days: Days,
    /// The days have changed since they were kept.
    changed: bool,
    /// The last that were judged, and those before, where these were much better.
    fallen: Option<(Part, Part)>,
    line: Option<Example>,
}

impl Share {
    /// A record that may be sshd's; whether as many have come as are judged.
    #[inline]
    pub(super) fn add(&mut self, at: Timestamp, fits: bool) -> bool {
        self.now.records += 1;
        self.now.fit += u32::from(fits);
        self.now.records == JUDGED && self.judge(at)
    }

    fn judge(&mut self, at: Timestamp) -> bool {
        let (now, today) = (std::mem::take(&mut self.now), at.secs().div_euclid(DAY));
        let mut before = Part::default();
        let past = self.days.0.iter().filter(|(day, _)| (today - DAYS + 1..=today).contains(day));
        past.for_each(|(_, part)| before.add(*part));
        let half = u64::from(before.fit) * u64::from(now.records);
        let is_worse = before.records >= JUDGED && 2 * u64::from(now.fit) * u64::from(before.records) < half;
        self.fallen = (is_worse || now.fit == 0).then_some((now, before));
        // What has fallen is no measure of what comes.
        if self.fallen.is_none() {
            let (day, part) = &mut self.days.0[today.rem_euclid(DAYS) as usize];
            if *day != today {
                (*day, *part) = (today, Part::default());
            }
            part.add(now);
            self.changed = true;
        }
        true
    }

    /// Keeps a line that was not understood among those that were judged last.
    pub(super) fn keep(&mut self, line: Option<Example>) {
        self.line = line;
    }

    /// What to say if the last were understood much less than those before.
    pub(super) fn fallen(&self) -> Option<String> {
        let (now, before) = self.fallen?;
        let (share, seen) = (now.percent(), before.percent());
        let of = format!("of the last {JUDGED} records that may be sshd's or dropbear's");
        Some(match now.fit {
            0 => format!("{of}, none was understood, as this one"),
            _ => format!("{of}, {share} % were understood, and {seen} % in the seven days before, as not this one"),
        })
    }

    /// One of those that were judged last, and not understood.
    pub(super) fn line(&self) -> Option<&Example> {
        self.line.as_ref()
    }

    /// The days, if they are to be kept now.
    pub fn changed(&mut self) -> Option<Days> {
        std::mem::take(&mut self.changed).then(|| self.days.clone())
    }

    /// Goes on with the days that were kept.
    pub fn resume(&mut self, days: Days) {
        self.days = days;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judged each day: how many of 200 were understood, and whether that is much less than before.
    fn check(days: &[(i64, u32, bool)]) {
        let mut share = Share::default();
        for (day, fit, want) in days {
            (0..JUDGED).for_each(|number| _ = share.add(Timestamp::from_secs(day * DAY), number < *fit));
            assert_eq!(share.fallen().is_some(), *want, "{days:?} {day}");
            // After a restart it goes on where it was.
            let days = share.changed().map(|days| serde_json::to_string(&days).unwrap());
            if let Some(days) = days {
                share.resume(serde_json::from_str(&days).unwrap());
            }
        }
    }

    #[test]
    fn the_last_two_hundred_are_compared_with_seven_days() {
        check(&[(0, 200, false), (1, 100, false), (2, 74, true), (2, 75, false)]);
        check(&[(10, 200, false), (16, 90, true), (17, 90, false)]);
        // What has fallen lowers no measure, until the days before are over.
        check(&[(0, 200, false), (1, 10, true), (2, 10, true), (6, 10, true), (7, 10, false)]);
        check(&[(0, 0, true), (0, 1, false)]);
        // A clock that was set back makes no harm.
        check(&[(20, 200, false), (5, 1, false), (20, 1, true)]);
    }
}
