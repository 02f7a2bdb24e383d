//! Tells steps of the wall clock from time passing.

use std::time::{Duration, Instant};

use inputs::record::Timestamp;

/// The wall clock is a step off if it moved so much more or less than time did.
const STEP: Duration = Duration::from_secs(60);
/// After a step nothing expires until the clock has been steady for so long.
const STEADY: Duration = Duration::from_secs(60);

/// Tells steps of the wall clock from time passing.
#[derive(Debug)]
pub(super) struct WallGuard {
    wall: Timestamp,
    time: Instant,
    /// Since when it has been steady, if it stepped lately.
    unsteady: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wall {
    /// It goes as time does.
    Steady,
    /// It stepped by so many seconds just now.
    Stepped(i64),
    /// It stepped lately: nothing expires yet.
    Unsteady,
    /// It has been steady again for long enough.
    SteadyAgain,
}

impl WallGuard {
    pub(super) fn new(wall: Timestamp, time: Instant) -> Self {
        WallGuard { wall, time, unsteady: None }
    }

    pub(super) fn tick(&mut self, wall: Timestamp, time: Instant) -> Wall {
        let expected = self.wall.after(time.saturating_duration_since(self.time));
        let off = wall.0.saturating_sub(expected.0);
        self.wall = wall;
        self.time = time;
        if off.unsigned_abs() > STEP.as_micros() as u64 {
            self.unsteady = Some(time);
            return Wall::Stepped(off / 1_000_000);
        }
        match self.unsteady {
            Some(since) if time.saturating_duration_since(since) < STEADY => Wall::Unsteady,
            Some(_) => {
                self.unsteady = None;
                Wall::SteadyAgain
            }
            None => Wall::Steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_step_of_the_clock_is_told_from_time_passing() {
        let start = clock::monotonic();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let wall = Timestamp::from_secs;
        let mut guard = WallGuard::new(wall(1_000_000), start);
        assert_eq!(guard.tick(wall(1_000_010), at(10)), Wall::Steady);
        assert_eq!(guard.tick(wall(1_000_069), at(11)), Wall::Steady, "58 s are no step");
        assert_eq!(guard.tick(wall(1_003_670), at(12)), Wall::Stepped(3_600));
        assert_eq!(guard.tick(wall(1_003_671), at(13)), Wall::Unsteady);
        assert_eq!(guard.tick(wall(1_000_072), at(14)), Wall::Stepped(-3_600), "and back");
        assert_eq!(guard.tick(wall(1_000_131), at(73)), Wall::Unsteady);
        assert_eq!(guard.tick(wall(1_000_133), at(75)), Wall::SteadyAgain);
        assert_eq!(guard.tick(wall(1_000_134), at(76)), Wall::Steady);
    }
}
