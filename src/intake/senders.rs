//! Who sends to a source: when each was heard last, how much of it was understood, and whether its clock can be
//! believed.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use inputs::record::{Record, Sender, Timestamp};

use super::sight::{Blind, beginning};
use crate::decide::session::{FNV, fnv};
use crate::text::printable;

mod clock;
mod lag;

pub use clock::zone;
use clock::{Clock, SKEW};
pub use lag::Lag;

/// Senders that a source tells apart.
pub const SENDERS_MAX: usize = 1_000;
/// Programs of a sender whose clocks are told apart.
const PROGRAMS_MAX: usize = 4;
/// What is called silence at least.
const SILENCE: Duration = Duration::from_secs(600);
/// Silence is so many times as long as a sender's usual gap.
const SILENCE_GAPS: u32 = 20;
/// Records without which nothing is known of a sender's gaps.
const SAMPLE: u32 = 20;
/// Records of a sender without which nothing is said of how many fit; and those that are remembered.
const JUDGED_MIN: u32 = 10;
const JUDGED_MAX: u32 = 400;
/// Minutes that are looked back.
const MINUTES: i64 = 10;
const MINUTE: i64 = 60_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// How many records came in each of the last ten minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minutes {
    since: Option<Timestamp>,
    each: [Minute; MINUTES as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    number: i64,
    records: u32,
}

impl Minutes {
    /// A record came.
    pub fn add(&mut self, received: Timestamp) {
        self.since.get_or_insert(received);
        let number = received.0.div_euclid(MINUTE);
        let minute = &mut self.each[number.rem_euclid(MINUTES) as usize];
        if minute.number != number {
            *minute = Minute { number, records: 0 };
        }
        minute.records = minute.records.saturating_add(1);
    }

    fn last(&self, now: Timestamp) -> impl Iterator<Item = &Minute> {
        let number = now.0.div_euclid(MINUTE);
        self.each.iter().filter(move |minute| (number - MINUTES + 1..=number).contains(&minute.number))
    }

    /// Records a minute.
    pub fn rate(&self, now: Timestamp) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        let records: u64 = self.last(now).map(|minute| u64::from(minute.records)).sum();
        let minutes = (now.0.saturating_sub(since.0) as f64 / MINUTE as f64).clamp(1.0, MINUTES as f64);
        records as f64 / minutes
    }
}

/// How long the gaps between records were, today and yesterday: how many were below each power of two, in
/// milliseconds.
#[derive(Debug, Default)]
struct Gaps {
    day: i64,
    counts: [[u32; 32]; 2],
}

impl Gaps {
    fn add(&mut self, from: Timestamp, to: Timestamp) {
        let day = to.secs().div_euclid(DAY.as_secs() as i64);
        if day != self.day {
            self.counts = [[0; 32], if day == self.day + 1 { self.counts[0] } else { [0; 32] }];
            self.day = day;
        }
        let milliseconds = to.0.saturating_sub(from.0).max(0) / 1_000;
        let power = (i64::BITS - milliseconds.leading_zeros()).min(31);
        let count = &mut self.counts[0][power as usize];
        *count = count.saturating_add(1);
    }

    /// The median, rounded up to a power of two.
    fn median(&self) -> Option<Duration> {
        let count = |power: usize| u64::from(self.counts[0][power]) + u64::from(self.counts[1][power]);
        let all: u64 = (0..32).map(count).sum();
        let mut below = 0;
        let median = (0..32).find(|power| {
            below += count(*power);
            2 * below >= all
        });
        median.filter(|_| all >= u64::from(SAMPLE)).map(|power| Duration::from_millis(1 << power))
    }
}

/// One sender: what vouches for the last hop, and the origin host that the records claim.
#[derive(Debug)]
pub struct Row {
    /// The last hop.
    pub sender: Sender,
    /// The origin host, as its records claim; empty where they claim none.
    pub host: Box<[u8]>,
    /// Its records.
    pub records: u64,
    /// Of them, a known service's.
    pub understood: u64,
    /// Of those, the ones that no shape fits.
    pub unknown: u64,
    /// Records that are nobody's and look like a known service's.
    pub odd: u64,
    /// Messages that it says were lost on the way to it.
    pub lost: u64,
    /// Its latest records that were judged, and of them those that fit nothing: no header, or no shape.
    judged: [u32; 2],
    /// One that fits nothing.
    example: Option<Box<[u8]>>,
    warned_of_junk: Option<Timestamp>,
    /// When the last record came.
    pub last: Timestamp,
    /// When that was written, as it says.
    pub event: Option<Timestamp>,
    /// The last minutes.
    pub minutes: Minutes,
    gaps: Gaps,
    /// By the beginning of a program's name: one that runs since the zone changed has another than the rest of its
    /// host.
    clocks: [(u64, Clock); PROGRAMS_MAX],
    /// Which is given up for the next that is new.
    oldest: usize,
    /// It has said nothing for much longer than it used to.
    pub is_silent: bool,
    warned_of_silence: Option<Timestamp>,
    warned_of_skew: Option<Timestamp>,
}

impl Row {
    fn new(record: &Record<'_>) -> Self {
        Row {
            sender: record.sender.clone(),
            host: record.host.into(),
            records: 0,
            understood: 0,
            unknown: 0,
            odd: 0,
            lost: 0,
            judged: [0; 2],
            example: None,
            warned_of_junk: None,
            last: record.received,
            event: None,
            minutes: Minutes::default(),
            gaps: Gaps::default(),
            clocks: Default::default(),
            oldest: 0,
            is_silent: false,
            warned_of_silence: None,
            warned_of_skew: None,
        }
    }

    fn hear(&mut self, record: &Record<'_>) {
        if self.records > 0 && self.is_remote() {
            self.gaps.add(self.last, record.received);
        }
        self.records += 1;
        self.minutes.add(record.received);
        self.is_silent = false;
        (self.last, self.event) = (record.received, record.event);
    }

    /// How long its last record took to come; nothing if its clock is ahead.
    pub fn lag(&self) -> Duration {
        let lag = self.event.map_or(0, |event| self.last.0.saturating_sub(event.0).max(0));
        Duration::from_micros(lag.unsigned_abs())
    }

    /// How far its clock is ahead of ours, in microseconds; less than nothing if it is behind. `None` = it is right,
    /// or nobody can tell yet.
    pub fn skew(&self) -> Option<i64> {
        let ahead = self.event.map(|event| event.0.saturating_sub(self.last.0)).filter(|ahead| *ahead > SKEW);
        let skews = self.clocks.iter().filter_map(|(_, clock)| clock.skew());
        ahead.or(skews.max_by_key(|skew| skew.unsigned_abs()).map(|behind| -behind))
    }

    /// One of its records fits nothing, or something.
    pub(super) fn judge(&mut self, is_unfit: bool, record: &Record<'_>) {
        let [all, unfit] = &mut self.judged;
        (*all, *unfit) = (*all + 1, *unfit + u32::from(is_unfit));
        if *all == JUDGED_MAX {
            // What was is forgotten by and by.
            (*all, *unfit) = (*all / 2, *unfit / 2);
        }
        // A new one now and then.
        if is_unfit && (self.example.is_none() || *unfit == JUDGED_MAX / 4) {
            self.example = Some(beginning(record));
        }
    }

    /// How it is blind, if half of its messages fit nothing.
    pub fn blind(&self) -> Option<Blind> {
        let [all, unfit] = self.judged;
        let is_blind = self.is_remote() && all >= JUDGED_MIN && 2 * unfit >= all;
        is_blind.then(|| Blind {
            what: format!("of its last {all} messages {unfit} fit nothing that is known, as this one"),
            line: self.example.as_deref().map(printable).unwrap_or_default(),
            remedy: "let it send RFC 3164 or RFC 5424, and only syslog to this port; see how a line is read: denyd explain 'LINE'"
                .to_owned(),
        })
    }

    /// Only who sends over a network can be cut off.
    pub fn is_remote(&self) -> bool {
        matches!(self.sender, Sender::Peer(_) | Sender::Cert(_))
    }

    /// The clock of a program.
    fn clock(&mut self, program: u64) -> &mut Clock {
        let known = self.clocks.iter().position(|(name, _)| *name == program);
        let at = known.unwrap_or_else(|| {
            let oldest = self.oldest;
            self.oldest = (oldest + 1) % PROGRAMS_MAX;
            self.clocks[oldest] = (program, Clock::default());
            oldest
        });
        &mut self.clocks[at].1
    }

    /// How long it may say nothing before it is called silent.
    fn patience(&self) -> Option<Duration> {
        Some((self.gaps.median()? * SILENCE_GAPS).max(SILENCE))
    }
}

/// What is to be said to the operator about a sender.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has said nothing for so long, and used to.
    Silent(Duration),
    /// Its clock is ahead of ours by so many microseconds, or behind.
    Skewed(i64),
    /// Half of what it sends fits nothing.
    Blind(Blind),
}

/// The senders of a source.
#[derive(Debug, Default)]
pub struct Senders {
    hasher: foldhash::fast::RandomState,
    rows: HashMap<u64, Row, foldhash::fast::RandomState>,
    /// Records of senders beyond [`SENDERS_MAX`].
    pub untold: u64,
    /// Until when there is none to forget, as the last look at all of them found: not every record may cost one.
    crowded_until: Timestamp,
    /// What an earlier run found of those of whom nothing was heard yet.
    lags: Vec<Lag>,
}

/// A row of [`Senders`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RowId(u64);

impl Senders {
    /// A record came. If its sender's clock is known to be off, its stamp is set right; until then one that is ahead
    /// does no harm: no record is judged by a later time than the one when it came. A record that is
    /// [`live`](Record::live) tells of the clock of its `program`, another one is set right by what was known before;
    /// without a program it tells nothing and keeps its stamp.
    #[inline(always)]
    pub(super) fn hear(&mut self, record: &mut Record<'_>, program: Option<&[u8]>) -> Option<RowId> {
        // Of a stored log nobody sends, and no clock is to be known; but that of what is followed may be, since before.
        let is_stored = matches!(record.sender, Sender::Unknown) && !record.live;
        if is_stored && self.lags.is_empty() && self.rows.is_empty() { None } else { self.hear_sent(record, program) }
    }

    fn hear_sent(&mut self, record: &mut Record<'_>, program: Option<&[u8]>) -> Option<RowId> {
        let id = self.hasher.hash_one((record.sender, record.host));
        if !self.rows.contains_key(&id) && self.rows.len() >= SENDERS_MAX && !self.forget(record.received) {
            self.untold += 1;
            return None;
        }
        let lags = &mut self.lags;
        let row = self.rows.entry(id).or_insert_with(|| {
            let mut row = Row::new(record);
            row.recall(lags);
            row
        });
        row.hear(record);
        if let Some(event) = record.event
            && let Some(program) = program
        {
            // `sshd-session` is sshd, and `postfix/smtpd` postfix.
            let name = program.split(|byte| matches!(byte, b'-' | b'/')).next().unwrap_or_default();
            let clock = row.clock(fnv(FNV, name));
            if record.live {
                let judged = clock.hear(record.received, event);
                (record.event, record.live) = (Some(judged.event), judged.live);
            } else {
                record.event = Some(lag::set_right(event, clock.skew(), record.received));
            }
        }
        Some(RowId(id))
    }

    /// What came of the record.
    pub(super) fn tell(&mut self, id: Option<RowId>, tell: impl FnOnce(&mut Row)) {
        if let Some(row) = id.and_then(|id| self.rows.get_mut(&id.0)) {
            tell(row);
        }
    }

    /// Makes room, if one has been silent for a day.
    fn forget(&mut self, now: Timestamp) -> bool {
        if (self.crowded_until.before(DAY)..=self.crowded_until).contains(&now) {
            return false;
        }
        let Some((&id, row)) = self.rows.iter().min_by_key(|(_, row)| row.last) else { return false };
        self.crowded_until = row.last.after(DAY);
        self.crowded_until < now && self.rows.remove(&id).is_some()
    }

    /// All of them, by host and last hop.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<_> = self.rows.values().collect();
        rows.sort_by_cached_key(|row| (row.host.clone(), row.sender.to_string()));
        rows
    }

    /// What is to be said now: of each sender at most once a day, and of a silence once.
    pub fn notices(&mut self, now: Timestamp) -> Vec<(&Row, Notice)> {
        let mut due = Vec::new();
        for row in self.rows.values_mut() {
            let again = |before: Option<Timestamp>| before.is_none_or(|at| at.after(DAY) <= now);
            let silence = Duration::from_micros(now.0.saturating_sub(row.last.0).max(0).unsigned_abs());
            let falls_silent = !row.is_silent && silence > SILENCE;
            if falls_silent && row.is_remote() && row.patience().is_some_and(|patience| silence > patience) {
                row.is_silent = true;
                if again(row.warned_of_silence) {
                    row.warned_of_silence = Some(now);
                    due.push((&*row, Notice::Silent(silence)));
                }
            } else if let Some(skew) = row.skew()
                && again(row.warned_of_skew)
            {
                row.warned_of_skew = Some(now);
                due.push((&*row, Notice::Skewed(skew)));
            } else if again(row.warned_of_junk)
                && let Some(blind) = row.blind()
            {
                row.warned_of_junk = Some(now);
                due.push((&*row, Notice::Blind(blind)));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_305_600; // 2026-11-22T00:00:00Z

    /// Records of web1, each by when it came and how long before that it was written (in seconds), as judged.
    fn heard(senders: &mut Senders, records: impl IntoIterator<Item = (i64, i64)>) -> Vec<i64> {
        let sender = Sender::Peer("192.0.2.1".parse().expect("an address"));
        let judged = records.into_iter().map(|(came, lag)| {
            let received = Timestamp::from_secs(START + came);
            let mut record = record(&sender, b"web1", received, Timestamp::from_secs(START + came - lag));
            senders.hear(&mut record, Some(b"sshd"));
            record.time().secs() - START
        });
        judged.collect()
    }

    fn record<'a>(sender: &'a Sender, host: &'a [u8], received: Timestamp, event: Timestamp) -> Record<'a> {
        Record { sender, host, received, event: Some(event), live: true, ..Record::of(b"sshd", b"x") }
    }

    fn notices(senders: &mut Senders, at: i64) -> Vec<Notice> {
        senders.notices(Timestamp::from_secs(START + at)).into_iter().map(|(_, notice)| notice).collect()
    }

    #[test]
    fn a_clock_that_is_ahead_is_named_and_not_believed() {
        let mut senders = Senders::default();
        assert_eq!(heard(&mut senders, [(10, -50), (20, -61)]), [10, 20]);
        assert_eq!(senders.rows()[0].skew(), Some(61_000_000));
        assert_eq!(notices(&mut senders, 21), [Notice::Skewed(61_000_000)]);
        assert_eq!(notices(&mut senders, 22), [], "once");
        heard(&mut senders, [(30, -50)]);
        assert_eq!(senders.rows()[0].skew(), None);
    }

    #[test]
    fn a_clock_that_is_off_is_named_and_its_stamps_are_set_right() {
        for lag in [3_600, -3_600] {
            let mut senders = Senders::default();
            let judged = heard(&mut senders, (0..25).map(|index| (index * 30, lag + index % 3)));
            let (early, late) = judged.split_at(19);
            let stamped = |index: i64| index * 30 - (lag + index % 3).max(0);
            assert!(early.iter().zip(0..).all(|(at, index)| *at == stamped(index)), "{early:?}");
            assert_eq!(late, [569, 598, 630, 659, 688, 720], "by the smallest lag of 3600, 3601, 3602");
            assert_eq!(notices(&mut senders, 721), [Notice::Skewed(-lag * 1_000_000)]);
        }
    }

    #[test]
    fn who_was_behind_before_is_so_from_the_first_record() {
        let file = Sender::Unknown;
        let mut senders = Senders::default();
        let hear = |senders: &mut Senders, host: &[u8], came: i64, lag: i64, live: bool| {
            let received = Timestamp::from_secs(START + came);
            let stamp = Timestamp::from_secs(START + came - lag);
            let mut record = Record { live, ..record(&file, host, received, stamp) };
            senders.hear(&mut record, Some(b"sshd"));
            (record.event.map(|event| event.secs() - START), record.live)
        };
        for n in 0..20 {
            hear(&mut senders, b"web", 2 * n, 3_600, true);
            hear(&mut senders, b"ahead", 2 * n, -3_600, true);
            hear(&mut senders, b"right", 2 * n, 0, true);
        }
        let lags = senders.lags();
        assert_eq!(lags.len(), 1, "{lags:?}");
        let text = serde_json::to_string(&lags).unwrap();
        let again = || {
            let mut senders = Senders::default();
            senders.recall(serde_json::from_str(&text).unwrap());
            assert_eq!(senders.lags(), lags, "nothing is forgotten before it is heard again");
            senders
        };
        // What was read at the start, and what comes.
        let mut senders = again();
        assert_eq!(hear(&mut senders, b"web", 100, 3_700, false), (Some(0), false));
        assert_eq!(hear(&mut senders, b"right", 100, 100, false), (Some(0), false));
        assert_eq!(hear(&mut senders, b"web", 101, 3_600, true), (Some(101), false));
        assert_eq!(senders.lags(), lags);
        assert_eq!(notices(&mut senders, 102), [Notice::Skewed(-3_600_000_000)]);
        // It was set right meanwhile: first a record of before that.
        let mut senders = again();
        assert_eq!(hear(&mut senders, b"web", 100, 3_650, false), (Some(50), false));
        assert_eq!(hear(&mut senders, b"web", 100, 10, false), (Some(90), false));
        assert_eq!(hear(&mut senders, b"web", 101, 0, true), (Some(101), true));
        assert_eq!((senders.lags(), notices(&mut senders, 102)), (vec![], vec![]));
    }

    /// sshd runs since the zone changed, and has not seen that; cron has.
    #[test]
    fn each_program_has_its_own_clock() {
        let mut senders = Senders::default();
        let sender = Sender::Peer("192.0.2.1".parse().expect("an address"));
        for second in 0..60 {
            let at = Timestamp::from_secs(START + second);
            for (program, lag) in [("sshd", 3_600), ("cron", 0), ("sshd-session", 3_600), ("a", 0), ("b", 7_200)] {
                let mut record = record(&sender, b"web1", at, at.before(Duration::from_secs(lag)));
                senders.hear(&mut record, Some(program.as_bytes()));
                assert!(second < 40 || record.time() == at, "{program} {second}");
            }
        }
        assert_eq!(senders.rows()[0].skew(), Some(-7_200_000_000));
        // With too many, nothing is known of any.
        for n in 0..10_000_u32 {
            let at = Timestamp::from_secs(START + 60 + i64::from(n));
            let mut record = record(&sender, b"web1", at, at.before(Duration::from_secs(3_600)));
            senders.hear(&mut record, Some(&(n % 5).to_be_bytes()));
            assert_eq!(record.from(), at);
        }
        assert_eq!(senders.rows()[0].skew(), None);
    }

    /// In a journal's records of standard output strangers write whole lines; stamps they do not, yet.
    #[test]
    fn what_is_less_to_be_trusted_than_its_source_shifts_nothing() {
        let mut senders = Senders::default();
        for second in 0..100 {
            let at = Timestamp::from_secs(START + second);
            let mut forged = record(&Sender::Uid(0), b"", at, at.before(Duration::from_secs(3_600)));
            senders.hear(&mut forged, None);
            assert_eq!((forged.time(), forged.from()), (at.before(Duration::from_secs(3_600)), at));
        }
        assert_eq!(senders.rows()[0].skew(), None);
    }

    #[test]
    fn who_falls_silent_is_named_once() {
        let mut senders = Senders::default();
        heard(&mut senders, (0..21).map(|index| (index * 60, 0)));
        // The median gap of 60 s is taken for 65.536 s.
        assert_eq!(notices(&mut senders, 1_200 + 1_310), []);
        assert_eq!(notices(&mut senders, 1_200 + 1_311), [Notice::Silent(Duration::from_secs(1_311))]);
        assert_eq!(notices(&mut senders, 1_200 + 4_000), []);
        heard(&mut senders, [(6_000, 0)]);
        assert_eq!(notices(&mut senders, 9_000), [], "within a day");
        heard(&mut senders, [(90_000, 0)]);
        assert_eq!(notices(&mut senders, 93_000).len(), 1);
        // Who is quick may still pause for ten minutes, and of whom little came nothing is known.
        let mut senders = Senders::default();
        heard(&mut senders, (0..21).map(|index| (index, 0)));
        assert_eq!(notices(&mut senders, 20 + 600), []);
        assert_eq!(notices(&mut senders, 20 + 601).len(), 1);
        let mut senders = Senders::default();
        heard(&mut senders, (0..20).map(|index| (index, 0)));
        assert_eq!(notices(&mut senders, 100_000), []);
    }

    #[test]
    fn senders_are_bounded() {
        let mut senders = Senders::default();
        let at = |seconds| Timestamp::from_secs(START + seconds);
        for index in 0..2 * SENDERS_MAX {
            let sender = Sender::Uid(index as u32);
            senders.hear(&mut record(&sender, b"", at(0), at(0)), None);
        }
        assert_eq!((senders.rows().len(), senders.untold), (SENDERS_MAX, SENDERS_MAX as u64));
        // A look at all of them is not taken for every record: strangers can be any number of senders.
        let unseen = Timestamp::from_secs(0);
        let known = senders.rows.values_mut().next().map(|row| std::mem::replace(&mut row.last, unseen));
        senders.hear(&mut record(&Sender::Uid(u32::MAX), b"", at(1), at(1)), None);
        assert_eq!((senders.rows().len(), senders.untold), (SENDERS_MAX, SENDERS_MAX as u64 + 1));
        senders.rows.values_mut().filter(|row| row.last == unseen).for_each(|row| row.last = known.unwrap());
        senders.untold = SENDERS_MAX as u64;
        let late = Sender::Uid(u32::MAX);
        senders.hear(&mut record(&late, b"", at(86_401), at(86_401)), None);
        assert_eq!((senders.rows().len(), senders.untold), (SENDERS_MAX, SENDERS_MAX as u64), "one was forgotten");
    }

    #[test]
    fn the_rate_is_of_the_last_ten_minutes() {
        let mut minutes = Minutes::default();
        for second in 0..1_200 {
            minutes.add(Timestamp::from_secs(START + second));
        }
        assert!((minutes.rate(Timestamp::from_secs(START + 1_199)) - 60.0).abs() < 0.1);
        assert!(minutes.rate(Timestamp::from_secs(START + 3_000)).abs() < 0.1);
    }
}
