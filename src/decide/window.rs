//! When the failures of a prefix happened, where only those within a window count (`within`).
//!
//! A tally says how many there are and when the last was. Here is when each was, so that a count is that of the window
//! which ends with the last. It is not kept over a restart: what a tally has then happened when its last failure did, as
//! far as anybody knows.

use std::collections::VecDeque;

use indexmap::IndexMap;

use super::policy::Class;
use super::prefix::Prefix;
use super::rooms::forgeable;

/// Windows that are remembered, of which something is certain: 30 MB at most. At the bound one whose last failure was
/// longer ago than its neighbours' is forgotten, and counted.
pub const WINDOWS_MAX: usize = 65_536;
/// Windows beside them of which nothing is certain.
pub const FORGEABLE_WINDOWS_MAX: usize = forgeable(WINDOWS_MAX);
/// Seconds of a window that are told apart; beyond, the two oldest become one.
const RUNS_MAX: usize = 32;
/// Of how many the one to forget is chosen.
const SAMPLE: usize = 8;

/// Failures of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Seconds since the epoch.
    pub at: u32,
    /// How many there were.
    pub times: u32,
    /// Of them, those that are certain.
    pub sound: u32,
}

type Room = IndexMap<(Prefix, Class), VecDeque<Run>, foldhash::fast::RandomState>;

/// All windows, in two rooms: what is certain of none never takes the room of another.
#[derive(Debug, Default)]
pub struct Windows {
    rooms: [Room; 2],
    /// How many were forgotten because there were too many.
    forgotten: u64,
}

impl Windows {
    /// Adds failures to those that a prefix is `known` for; returns what is within so many seconds of the newest.
    pub(super) fn add(&mut self, key: (Prefix, Class), known: Run, new: Run, within: u32) -> Run {
        let found = self.rooms.iter_mut().find_map(|room| room.swap_remove(&key));
        // What is not about the same failures is of those that were forgotten since.
        let is_known =
            |runs: &VecDeque<Run>| runs.iter().map(|run| run.times).fold(0, u32::saturating_add) == known.times;
        let mut runs =
            found.filter(is_known).unwrap_or_else(|| VecDeque::from_iter((known.times > 0).then_some(known)));
        let place = runs.partition_point(|run| run.at < new.at);
        match runs.get_mut(place).filter(|run| run.at == new.at) {
            Some(run) => *run = Run { at: run.at, ..together(*run, new) },
            None => runs.insert(place, new),
        }
        let newest = runs.back().map_or(new.at, |run| run.at);
        while let Some(oldest) =
            runs.front().copied().filter(|run| run.at.saturating_add(within) < newest || runs.len() > RUNS_MAX)
        {
            runs.pop_front();
            if oldest.at.saturating_add(within) >= newest
                && let Some(next) = runs.front_mut()
            {
                *next = together(oldest, *next);
            }
        }
        let all = runs.iter().copied().reduce(together).unwrap_or(new);
        let (room, most) = match all.sound {
            0 => (&mut self.rooms[1], FORGEABLE_WINDOWS_MAX),
            _ => (&mut self.rooms[0], WINDOWS_MAX),
        };
        if room.len() >= most {
            let nth = self.forgotten as usize * SAMPLE;
            let sample = (0..SAMPLE).map(|step| (nth + step) % room.len());
            let oldest = sample.min_by_key(|index| room.get_index(*index).and_then(|(_, runs)| Some(runs.back()?.at)));
            oldest.map(|index| room.swap_remove_index(index));
            self.forgotten += 1;
        }
        room.insert(key, runs);
        all
    }

    /// How many were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// Two runs as one, of the later's time.
fn together(a: Run, b: Run) -> Run {
    Run { at: a.at.max(b.at), times: a.times.saturating_add(b.times), sound: a.sound.saturating_add(b.sound) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> (Prefix, Class) {
        (Prefix::host(std::net::Ipv4Addr::from_bits(n)), Class::Valid)
    }

    /// Failures one after the other, each by its second; what the window of ten seconds has each time.
    #[track_caller]
    fn check(seconds: &[u32], want: &[u32]) {
        let (mut windows, mut known) = (Windows::default(), Run { at: 0, times: 0, sound: 0 });
        let add = |at: &u32| {
            known = windows.add(key(1), known, Run { at: *at, times: 1, sound: 1 }, 10);
            known.times
        };
        assert_eq!(seconds.iter().map(add).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_window_ends_with_the_last_failure() {
        check(&[100, 105, 110, 111, 120, 121], &[1, 2, 3, 3, 3, 3]);
        check(&[100, 100, 100, 111], &[1, 2, 3, 1]);
        // What comes late counts if it is within, and makes nothing older.
        check(&[100, 120, 105, 115, 121], &[1, 1, 1, 2, 3]);
        // More seconds than are told apart become fewer, and none is lost.
        let all: Vec<u32> = (0..40).map(|n| 1_000 + n / 4).collect();
        check(&all, &(1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_window_loses_none_and_a_forgotten_one_is_of_its_last_failure() {
        let (mut windows, mut known) = (Windows::default(), Run { at: 0, times: 0, sound: 0 });
        for at in 1..=100 {
            known = windows.add(key(1), known, Run { at, times: 1, sound: 0 }, 1_000);
            assert_eq!(known.times, at);
        }
        // After a restart.
        let new = Run { at: 1_050, times: 1, sound: 0 };
        assert_eq!(Windows::default().add(key(1), known, new, 1_000).times, 101);
        assert_eq!(Windows::default().add(key(1), known, Run { at: 1_101, ..new }, 1_000).times, 1);
    }

    #[test]
    fn windows_are_bounded_and_what_is_forged_takes_no_room_of_what_is_not() {
        let mut windows = Windows::default();
        let none = Run { at: 0, times: 0, sound: 0 };
        windows.add(key(0), none, Run { at: 1, times: 1, sound: 1 }, 10);
        for n in 1..=FORGEABLE_WINDOWS_MAX as u32 + 9 {
            windows.add(key(n), none, Run { at: n, times: 1, sound: 0 }, 10);
        }
        assert_eq!(
            (windows.rooms[0].len(), windows.rooms[1].len(), windows.forgotten()),
            (1, FORGEABLE_WINDOWS_MAX, 9)
        );
    }
}
