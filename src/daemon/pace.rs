//! When to commit: what changed within a quarter of a second, a new deny at once, a flood before it takes long.
//!
//! It is told what waits and what time it is, and says when to wake and whether to commit. It does nothing itself.

use std::time::{Duration, Instant};

use crate::desk::{Progress, Waiting};

/// What changed is committed so soon.
const CHANGES_WITHIN: Duration = Duration::from_millis(250);
/// Progress without effect is committed so soon.
const CURSORS_WITHIN: Duration = Duration::from_secs(1);
/// Rows that are to be written, about, before a commit is made at once: whoever asks for the status waits for it.
const ROWS_MAX: usize = 6_000;
/// New denies make a commit of their own no sooner after the last one: each waits for the disk.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows that may wait for a database that cannot be written, about 50 MB.
pub(super) const UNWRITTEN_MAX: usize = 100_000;
/// Commits that fail take one part in so many of the time.
const RETRY_SHARE: u32 = 20;
/// After a failed commit the next is tried so much later, or more if it took long.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// The clock ticks so often while something waits for it.
const TICK: Duration = Duration::from_millis(250);

/// When to commit, and when the clock ticks.
#[derive(Debug)]
pub(super) struct Pace {
    /// When what waits is to be committed.
    due: Option<Instant>,
    /// When the last commit ended.
    ended: Instant,
    /// Since a commit failed: when the next is tried, even with nothing to write. Only one that succeeds lets the inputs
    /// go on.
    retry: Option<Instant>,
    /// Since then so much waits that nothing more is read.
    is_held: bool,
    /// When the clock ticked last.
    ticked: Instant,
    /// The last tick let the records go first.
    put_off: bool,
}

impl Pace {
    /// The clock ticks so often while nothing waits.
    pub(super) const IDLE: Duration = Duration::from_secs(1);

    pub(super) fn new(now: Instant) -> Self {
        Pace { due: None, ended: now, retry: None, is_held: false, ticked: now, put_off: false }
    }

    /// Told of what waits; whether to commit now.
    pub(super) fn hear(&mut self, waiting: Waiting, now: Instant) -> bool {
        let progress = match waiting.progress {
            Progress::None => None,
            Progress::First => Some(now),
            Progress::More => Some(now + CURSORS_WITHIN),
        };
        let due = [
            self.due,
            progress,
            (waiting.rows > 0).then_some(now + CHANGES_WITHIN),
            (waiting.rows >= ROWS_MAX).then_some(now),
            waiting.denies.then_some(now.max(self.ended + PAUSE)),
        ];
        self.due = due.into_iter().flatten().min();
        self.next().is_some_and(|next| next <= now)
    }

    /// A commit was made; whether it was the first after one that failed.
    pub(super) fn committed(&mut self, now: Instant) -> bool {
        self.ended = now;
        self.due = None;
        self.is_held = false;
        self.retry.take().is_some()
    }

    /// A commit that was begun then failed; whether it was the first that did.
    pub(super) fn failed(&mut self, begun: Instant, now: Instant) -> bool {
        self.ended = now;
        let pause = RETRY_EVERY.max(now.saturating_duration_since(begun) * RETRY_SHARE);
        self.retry.replace(now + pause).is_none()
    }

    /// Whether the last commit failed: what is decided holds, and is not written.
    pub(super) fn is_unwritten(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether so many rows wait for a database that cannot be written that they are to be made fewer.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        self.is_unwritten() && !self.is_held && rows >= UNWRITTEN_MAX
    }

    /// So many rows could not be made fewer: where they leave little room, nothing more is read until a commit succeeds.
    pub(super) fn squeezed(&mut self, rows: usize) {
        self.is_held = rows >= UNWRITTEN_MAX / 2;
    }

    /// Whether nothing is read.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_held
    }

    /// When to wake, for the clock or a commit. `waits`: something waits for the clock.
    pub(super) fn wake(&self, waits: bool) -> Instant {
        let soon = waits || self.put_off || self.due.is_some();
        let tick = self.ticked + if soon { TICK } else { Pace::IDLE };
        self.next().map_or(tick, |next| next.min(tick))
    }

    /// The clock ticks; whether it is told to the desk. After a slow commit the records that wait come first, or their
    /// hosts would seem to have been silent meanwhile: once, and as long as they are held back.
    pub(super) fn ticks(&mut self, records_wait: bool, now: Instant) -> bool {
        self.ticked = now;
        self.put_off = records_wait && (self.is_blocked() || !self.put_off);
        !self.put_off
    }

    fn next(&self) -> Option<Instant> {
        self.retry.or(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// What happens to the desk, and when to wake after it, in milliseconds from the start.
    enum Happens {
        /// So many rows wait.
        Rows(usize),
        /// One row waits, a new deny.
        Deny,
        /// An input was read further.
        Read(Progress),
        /// A commit succeeds; whether that is news.
        Written(bool),
        /// A commit fails; whether that is news.
        Failed(bool),
        /// The clock ticks, with records waiting or not; whether the desk is told.
        Ticks(bool, bool),
    }

    #[test]
    fn a_day_at_the_desk() {
        use Happens::{Deny, Failed, Read, Rows, Ticks, Written};
        let story = [
            // Nothing waits: the clock ticks once a second.
            (0, Ticks(false, true), 1_000, "nothing to do"),
            (1_000, Ticks(false, true), 2_000, "still nothing"),
            // A change is written within a quarter of a second, and what comes meanwhile with it.
            (1_100, Rows(1), 1_250, "the clock ticks faster now"),
            (1_250, Ticks(false, true), 1_350, "the first row is due"),
            (1_300, Rows(2), 1_350, "the second comes with it"),
            (1_350, Rows(3), 0, "now"),
            (1_360, Written(false), 2_250, "and idle again"),
            // Where an input begins is written at once, where it goes on within a second.
            (1_400, Read(Progress::First), 0, "now"),
            (1_410, Written(false), 2_250, "idle"),
            (1_500, Read(Progress::More), 1_500, "ticks, since something waits"),
            (2_300, Ticks(false, true), 2_500, "the cursor"),
            (2_450, Read(Progress::More), 2_500, "not put off by the next"),
            (2_500, Read(Progress::None), 0, "now"),
            (2_510, Written(false), 3_300, "idle"),
            // A deny is written at once, the next only after a pause.
            (2_590, Ticks(false, true), 3_590, "idle"),
            (2_600, Deny, 0, "now"),
            (2_620, Written(false), 3_590, "idle"),
            (2_630, Deny, 2_670, "after the pause"),
            (2_640, Deny, 2_670, "the same"),
            (2_670, Rows(3), 0, "now"),
            (2_680, Written(false), 3_590, "idle"),
            // A flood is written before it takes long.
            (2_700, Rows(ROWS_MAX - 1), 2_840, "not yet"),
            (2_701, Rows(ROWS_MAX), 0, "now"),
            // The disk is full: tried once a second, whatever comes, and also with nothing to write.
            (2_710, Failed(true), 2_840, "blocked"),
            (2_711, Ticks(true, false), 2_961, "a slow commit: the records go first"),
            (2_712, Deny, 2_961, "no sooner for that"),
            (2_961, Ticks(true, true), 3_211, "only once"),
            (3_710, Rows(0), 0, "now"),
            (3_711, Failed(false), 3_211, "no news"),
            (4_711, Rows(0), 0, "now"),
            (4_712, Written(true), 3_961, "the tick is due"),
            (4_713, Ticks(true, false), 4_963, "a slow commit: the records go first"),
            (4_963, Ticks(true, true), 5_963, "only once"),
        ];
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        for (ms, happens, wake, why) in story {
            let now = at(ms);
            let waiting = |rows, denies, progress| Waiting { rows, denies, progress };
            let due = match happens {
                Rows(rows) => pace.hear(waiting(rows, false, Progress::None), now),
                Deny => pace.hear(waiting(1, true, Progress::None), now),
                Read(progress) => pace.hear(waiting(0, false, progress), now),
                Written(news) => {
                    assert_eq!(pace.committed(now), news, "{ms}: {why}");
                    false
                }
                Failed(news) => {
                    assert_eq!(pace.failed(now, now), news, "{ms}: {why}");
                    false
                }
                Ticks(records_wait, told) => {
                    assert_eq!(pace.ticks(records_wait, now), told, "{ms}: {why}");
                    false
                }
            };
            assert_eq!(due, wake == 0, "{ms}: {why}");
            if !due {
                assert_eq!(pace.wake(false), at(wake), "{ms}: {why}");
            }
        }
        assert_eq!(pace.wake(true), at(4_963) + TICK, "something waits for the clock");
    }

    #[test]
    fn a_disk_that_stays_full() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        assert!(!pace.is_full(UNWRITTEN_MAX), "it can be written, as far as is known");
        // A try that took 100 ms is not made again for two seconds.
        assert!(pace.failed(at(0), at(100)));
        assert_eq!(pace.wake(false), at(1_000), "the tick");
        assert!(!pace.hear(Waiting { rows: ROWS_MAX, denies: true, progress: Progress::More }, at(2_099)));
        assert!(pace.hear(Waiting::default(), at(2_100)));
        // What waits is squeezed, and read on, until that leaves too little room.
        for (rows, is_held) in [(UNWRITTEN_MAX / 2 - 1, false), (UNWRITTEN_MAX / 2, true)] {
            assert!(!pace.is_full(UNWRITTEN_MAX - 1) && pace.is_full(UNWRITTEN_MAX));
            pace.squeezed(rows);
            assert_eq!(pace.is_blocked(), is_held);
        }
        assert!(!pace.is_full(UNWRITTEN_MAX), "it was squeezed already");
        assert_eq!([1, 2].map(|second| pace.ticks(true, at(second * 1_000))), [false; 2], "time waits for the records");
        assert!(pace.committed(at(3_000)) && !pace.is_blocked());
    }
}
