//! The wall clock as it is believed, and its steps, told from time passing.
//!
//! A clock that was set is not believed until it has been steady for a minute: nobody is released by it, and of the two
//! times that it may be the earlier one holds, so that no deny ends too early. The same is so at the start, where the clock
//! is far from when denyd ran last: a machine without a battery begins with any time. Once it is believed again, what was
//! decided by a clock that was ahead moves back with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;

use crate::clock;
use crate::desk::Request;

/// The wall clock is a step off if it moved so much more or less than time did.
const STEP: Duration = Duration::from_secs(60);
/// After a step nothing expires until the clock has been steady for so long.
const STEADY: Duration = Duration::from_secs(60);
/// A start so long after the last commit is taken for a step, too. One before that commit is, in any case.
const AWAY: Duration = Duration::from_secs(86_400);

/// The clock of the daemon, for all of its threads.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<WallGuard>>);

impl Clock {
    /// The clock at the start, where the last commit was made at `last`. Who asks for little and ends does as the daemon does.
    pub(crate) fn begin(last: Option<Timestamp>) -> Self {
        Clock(Arc::new(Mutex::new(WallGuard::begin(last, clock::now(), clock::monotonic()))))
    }

    /// What time it is, as far as that is believed.
    pub(crate) fn now(&self) -> Timestamp {
        self.guard().now(clock::now(), clock::monotonic())
    }

    /// The latest time that it may be.
    fn latest(&self) -> Timestamp {
        self.guard().latest(clock::now(), clock::monotonic())
    }

    /// Of which time a request is that is made now: a person's deny is for at least as long as was said, and what is forgiven is
    /// all that came until now by the clock by which records come.
    pub(crate) fn asked(&self, request: &Request) -> Timestamp {
        match request {
            Request::Deny { .. } => self.latest(),
            Request::Forgive { .. } | Request::ForgiveUser { .. } => clock::now(),
            _ => self.now(),
        }
    }

    /// Whether it is believed.
    pub(crate) fn is_believed(&self) -> bool {
        self.guard().unsteady.is_none()
    }

    /// Whether it goes as time does.
    pub(super) fn tick(&self) -> Wall {
        self.guard().tick(clock::now(), clock::monotonic())
    }

    fn guard(&self) -> MutexGuard<'_, WallGuard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells steps of the wall clock from time passing.
#[derive(Debug)]
pub(super) struct WallGuard {
    wall: Timestamp,
    time: Instant,
    /// If it stepped lately.
    unsteady: Option<Unsteady>,
    /// A time that it was: of the last commit before the start, or of the start.
    was: (Timestamp, Instant),
    /// By how many seconds it stepped since that was last told.
    stepped: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Unsteady {
    /// The last step.
    since: Instant,
    /// What time it would be without any.
    believed: (Timestamp, Instant),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wall {
    /// It goes as time does.
    Steady,
    /// It stepped by so many seconds just now.
    Stepped(i64),
    /// It stepped lately: nothing expires yet.
    Unsteady,
    /// It has been steady again for long enough. What was decided later than then was decided by a clock that was ahead.
    SteadyAgain(Timestamp),
}

impl WallGuard {
    pub(super) fn begin(last: Option<Timestamp>, wall: Timestamp, time: Instant) -> Self {
        let is_far = |last: &Timestamp| wall < last.before(STEP) || wall > last.after(AWAY);
        let unsteady = last.filter(is_far).map(|last| Unsteady { since: time, believed: (last, time) });
        WallGuard { wall, time, unsteady, was: (last.unwrap_or(wall), time), stepped: None }
    }

    fn now(&mut self, wall: Timestamp, time: Instant) -> Timestamp {
        self.see(wall, time);
        self.other(time).map_or(wall, |other| other.min(wall))
    }

    fn latest(&mut self, wall: Timestamp, time: Instant) -> Timestamp {
        self.see(wall, time);
        self.other(time).map_or(wall, |other| other.max(wall))
    }

    /// What time it would be without the step, if there was one lately.
    fn other(&self, time: Instant) -> Option<Timestamp> {
        self.unsteady.map(|unsteady| goes_on(unsteady.believed, time))
    }

    pub(super) fn tick(&mut self, wall: Timestamp, time: Instant) -> Wall {
        self.see(wall, time);
        if let Some(seconds) = self.stepped.take() {
            return Wall::Stepped(seconds);
        }
        match self.unsteady {
            Some(Unsteady { since, .. }) if time.saturating_duration_since(since) < STEADY => Wall::Unsteady,
            Some(Unsteady { believed: (then, _), .. }) => {
                self.unsteady = None;
                // Where it was earlier than it can be, it is the clock of now that is wrong: it was not ahead before.
                let was_ahead = wall >= goes_on(self.was, time).before(STEP);
                let ahead = wall.after(STEP);
                Wall::SteadyAgain(if was_ahead { ahead } else { ahead.max(then) })
            }
            None => Wall::Steady,
        }
    }

    /// Sees whether it stepped.
    fn see(&mut self, wall: Timestamp, time: Instant) {
        let expected = self.wall.after(time.saturating_duration_since(self.time));
        let off = wall.0.saturating_sub(expected.0);
        (self.wall, self.time) = (wall, time);
        if off.unsigned_abs() > STEP.as_micros() as u64 {
            let believed = self.unsteady.map_or((expected, time), |before| before.believed);
            self.unsteady = Some(Unsteady { since: time, believed });
            self.stepped = Some(self.stepped.unwrap_or(0) + off / 1_000_000);
        }
    }
}

/// What time it is by now, if it was that time then.
fn goes_on((wall, then): (Timestamp, Instant), time: Instant) -> Timestamp {
    wall.after(time.saturating_duration_since(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_clock_is_told_from_time_passing() {
        let start = clock::monotonic();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let wall = Timestamp::from_secs;
        let mut guard = WallGuard::begin(None, wall(1_000_000), start);
        assert_eq!(guard.tick(wall(1_000_010), at(10)), Wall::Steady);
        assert_eq!(guard.tick(wall(1_000_069), at(11)), Wall::Steady, "58 s are no step");
        assert_eq!(guard.tick(wall(1_003_670), at(12)), Wall::Stepped(3_600));
        assert_eq!(guard.tick(wall(1_003_671), at(13)), Wall::Unsteady);
        assert_eq!(guard.tick(wall(1_000_072), at(14)), Wall::Stepped(-3_600), "and back");
        assert_eq!(guard.tick(wall(1_000_131), at(73)), Wall::Unsteady);
        assert_eq!(guard.tick(wall(1_000_133), at(75)), Wall::SteadyAgain(wall(1_000_193)));
        assert_eq!(guard.tick(wall(1_000_134), at(76)), Wall::Steady);
    }

    /// Of the two times that it may be the earlier one holds, also where it is asked before it is told, and however often
    /// it steps back and forth by hours.
    #[test]
    fn a_clock_that_was_set_is_not_believed_at_once() {
        let start = clock::monotonic();
        let (at, wall) = (|seconds: u64| start + Duration::from_secs(seconds), Timestamp::from_secs);
        let mut guard = WallGuard::begin(None, wall(1_000_000), start);
        for round in 0..5_u64 {
            let second = round * 10;
            let now = 1_000_000 + second.cast_signed();
            assert_eq!(guard.now(wall(now + 36_000), at(second)), wall(now), "ahead");
            assert_eq!(guard.now(wall(now - 36_000), at(second)), wall(now - 36_000), "behind");
            assert_eq!(guard.now(wall(now + 1), at(second + 1)), wall(now + 1), "right again");
        }
        assert_eq!(guard.tick(wall(1_000_042), at(42)), Wall::Stepped(0), "that it stepped is told");
        assert_eq!(guard.tick(wall(1_000_100), at(100)), Wall::Unsteady);
        assert_eq!(guard.tick(wall(1_000_102), at(102)), Wall::SteadyAgain(wall(1_000_162)));
        // One that stays wrong is believed in the end.
        assert_eq!(guard.now(wall(1_900_000), at(103)), wall(1_000_103));
        assert_eq!(guard.tick(wall(1_900_001), at(104)), Wall::Stepped(899_897));
        assert_eq!(guard.tick(wall(1_900_061), at(164)), Wall::SteadyAgain(wall(1_900_121)));
        assert_eq!(guard.now(wall(1_900_062), at(165)), wall(1_900_062));
    }

    /// What was decided while it was ahead moves back with it; what was decided before it went back by mistake does not.
    #[test]
    fn it_is_known_what_was_decided_ahead_of_time() {
        const HOUR: i64 = 3_600;
        let start = clock::monotonic();
        // From then on, `seconds` later, it is that much off for a while, and then that much.
        let check = |last: i64, offs: &[i64], after: &[i64]| {
            let (begin, wall) = (1_000_000, Timestamp::from_secs);
            let mut guard = WallGuard::begin(Some(wall(last)), wall(begin), start);
            let told = offs.iter().zip(0..).map(|(off, step)| {
                let (seconds, time) = (step * 100, start + Duration::from_secs(step as u64 * 100));
                assert!(matches!(guard.tick(wall(begin + seconds + off), time), Wall::Stepped(_)), "{off}");
                let latest = guard.latest(wall(begin + seconds + off), time).secs() - begin - seconds;
                let time = time + STEADY;
                let Wall::SteadyAgain(after) = guard.tick(wall(begin + seconds + 60 + off), time) else {
                    panic!("{off}")
                };
                (latest, after.secs() - begin - seconds - 60)
            });
            let told: Vec<_> = told.collect();
            assert_eq!(told.iter().map(|(_, after)| *after).collect::<Vec<_>>(), after, "{offs:?}");
            let before = std::iter::once(&0).chain(offs);
            let latest = before.zip(offs).map(|(before, off)| *before.max(off));
            assert_eq!(told.iter().map(|(latest, _)| *latest).collect::<Vec<_>>(), latest.collect::<Vec<_>>());
        };
        // Ahead, and back where it was: all of later times.
        check(999_990, &[HOUR, 0], &[HOUR + 60, 60]);
        // Ahead from the start: back at any time after the last commit.
        check(1_000_000 - 5 * HOUR, &[-4 * HOUR], &[-4 * HOUR + 60]);
        // Back by mistake: what was decided since, by the clock that it was before.
        check(999_990, &[-HOUR, 0], &[-60, 60]);
    }

    #[test]
    fn a_start_far_from_the_last_commit_is_a_step() {
        let start = clock::monotonic();
        let check = |last: Option<i64>, believed: i64, is_steady: bool| {
            let wall = Timestamp::from_secs(1_000_000);
            let mut guard = WallGuard::begin(last.map(Timestamp::from_secs), wall, start);
            assert_eq!(guard.now(wall, start), Timestamp::from_secs(believed), "{last:?}");
            assert_eq!(guard.tick(wall, start) == Wall::Steady, is_steady, "{last:?}");
        };
        check(None, 1_000_000, true);
        check(Some(999_000), 1_000_000, true);
        check(Some(1_000_060), 1_000_000, true);
        check(Some(1_000_061), 1_000_000, false);
        check(Some(1_000_000 - 86_400), 1_000_000, true);
        check(Some(1_000_000 - 86_401), 1_000_000 - 86_401, false);
    }
}
