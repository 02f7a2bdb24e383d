//! When the failures of a prefix happened, where only those within a window count (`within`).
//!
//! A tally says how many there are and when the last was. Here is when each was, so that a count is that of the fullest
//! window that holds the failure which has just come: records of several inputs come in no order. It is not kept over a
//! restart: what a tally has then happened when its last failure did, as far as anybody knows.

use indexmap::IndexMap;

use super::policy::Class;
use super::prefix::Prefix;
use super::rooms::forgeable;

/// Windows that are remembered, of which something is certain: 40 MB at most. At the bound one whose last failure was
/// longer ago than its neighbours' is forgotten, and counted.
pub const WINDOWS_MAX: usize = 65_536;
/// Windows beside them of which nothing is certain.
pub const FORGEABLE_WINDOWS_MAX: usize = forgeable(WINDOWS_MAX);
/// Seconds of a window that are told apart, and as many of what strangers may have made up; beyond, the two oldest
/// become one.
const RUNS_MAX: usize = 32;
/// Of how many the one to forget is chosen.
const SAMPLE: usize = 8;

/// Failures, as a tally has them of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// When the last was: seconds since the epoch.
    pub at: u32,
    /// How many there are.
    pub times: u32,
    /// Of them, those that are certain.
    pub sound: u32,
}

/// Failures of one second.
#[derive(Clone, Copy, Debug)]
struct Run {
    at: u32,
    times: u32,
}

/// When each failure was, by second.
#[derive(Debug)]
struct Window {
    /// Those that are certain, and the others: these move nothing of those.
    runs: [Vec<Run>; 2],
    /// How many the tally was told of. Where it has another number, somebody forgot or forgave some since.
    told: u32,
}

type Room = IndexMap<(Prefix, Class), Window, foldhash::fast::RandomState>;

/// All windows, in two rooms: what is certain of none never takes the room of another.
#[derive(Debug, Default)]
pub struct Windows {
    rooms: [Room; 2],
    /// How many were forgotten because there were too many.
    forgotten: u64,
}

impl Windows {
    /// Adds failures of one second to those that a prefix is `known` for; returns what the fullest window of so many
    /// seconds has that holds the new ones.
    pub(super) fn add(&mut self, key: (Prefix, Class), known: Failures, new: Failures, within: u32) -> Failures {
        let found = self.rooms.iter_mut().find_map(|room| room.swap_remove(&key));
        let found = found.filter(|window| window.told == known.times);
        let mut window = found.unwrap_or_else(|| {
            let mut window = Window { runs: Default::default(), told: 0 };
            window.put(known);
            window
        });
        window.runs.iter_mut().for_each(|runs| trim(runs, within));
        window.put(new);
        let [certain, others] = &window.runs;
        let all = fullest(&[certain, others], new.at, within);
        // What strangers may have made up changes nothing of what is certain.
        let sound = if new.sound > 0 { fullest(&[certain], new.at, within) } else { known.sound };
        window.told = all.max(sound);
        let told = Failures { at: known.at.max(new.at), times: window.told, sound };
        self.insert(key, window);
        told
    }

    fn insert(&mut self, key: (Prefix, Class), window: Window) {
        let (room, most) = match window.runs[0].is_empty() {
            true => (&mut self.rooms[1], FORGEABLE_WINDOWS_MAX),
            false => (&mut self.rooms[0], WINDOWS_MAX),
        };
        if room.len() >= most {
            let nth = self.forgotten as usize * SAMPLE;
            let sample = (0..SAMPLE).map(|step| (nth + step) % room.len());
            let oldest = sample.min_by_key(|index| room.get_index(*index).map(|(_, window)| window.last()));
            oldest.map(|index| room.swap_remove_index(index));
            self.forgotten += 1;
        }
        room.insert(key, window);
    }

    /// How many were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Window {
    /// Adds failures of one second.
    fn put(&mut self, Failures { at, times, sound }: Failures) {
        let parts = [sound, times.saturating_sub(sound)];
        for (runs, times) in self.runs.iter_mut().zip(parts).filter(|(_, times)| *times > 0) {
            let place = runs.partition_point(|run| run.at < at);
            match runs.get_mut(place).filter(|run| run.at == at) {
                Some(run) => run.times = run.times.saturating_add(times),
                None => runs.insert(place, Run { at, times }),
            }
        }
    }

    /// When the last failure was.
    fn last(&self) -> u32 {
        self.runs.iter().filter_map(|runs| runs.last()).map(|run| run.at).max().unwrap_or(0)
    }
}

/// How many failures the fullest window has of those that hold the second `at`: it begins with a failure.
fn fullest(all: &[&Vec<Run>], at: u32, within: u32) -> u32 {
    let runs = || all.iter().copied().flatten();
    let begins = runs().map(|run| run.at).filter(|begin| (at.saturating_sub(within)..=at).contains(begin));
    let full = begins.map(|begin| {
        let inside = runs().filter(|run| (begin..=begin.saturating_add(within)).contains(&run.at));
        inside.map(|run| run.times).fold(0, u32::saturating_add)
    });
    full.max().unwrap_or(0)
}

/// Makes room for one more: the two oldest become one, of the later's time; what is not within a window of the newest goes.
fn trim(runs: &mut Vec<Run>, within: u32) {
    let newest = runs.last().map_or(0, |run| run.at);
    while runs.len() >= RUNS_MAX {
        let oldest = runs.remove(0);
        if oldest.at.saturating_add(within) >= newest {
            runs[0].times = runs[0].times.saturating_add(oldest.times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> (Prefix, Class) {
        (Prefix::host(std::net::Ipv4Addr::from_bits(n)), Class::Valid)
    }

    const NONE: Failures = Failures { at: 0, times: 0, sound: 0 };

    /// A failure.
    fn one(at: u32, sound: u32) -> Failures {
        Failures { at, times: 1, sound }
    }

    /// Failures one after the other, each by its second; what the fullest window of ten seconds has each time that holds
    /// it, whether they are certain or not.
    #[track_caller]
    fn check(seconds: &[u32], want: &[u32]) {
        for sound in [0, 1] {
            let (mut windows, mut known) = (Windows::default(), NONE);
            let add = |at: &u32| {
                known = windows.add(key(1), known, one(*at, sound), 10);
                assert_eq!(known.sound, sound * known.times);
                known.times
            };
            assert_eq!(seconds.iter().map(add).collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn a_failure_counts_with_those_of_the_fullest_window_that_holds_it() {
        check(&[100, 105, 110, 111, 120, 121], &[1, 2, 3, 3, 3, 3]);
        check(&[100, 100, 100, 111], &[1, 2, 3, 1]);
        // Whatever comes first: 105 is with 100, 115 with 105 or with 120.
        check(&[100, 120, 105, 115, 121], &[1, 1, 2, 2, 3]);
        check(&[121, 115, 105, 120, 100], &[1, 2, 2, 3, 2]);
        check(&[100, 110, 120, 130, 105], &[1, 2, 2, 2, 3]);
        // More seconds than are told apart become fewer, and none is lost.
        let all: Vec<u32> = (0..40).map(|n| 1_000 + n / 4).collect();
        check(&all, &(1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_window_loses_none_and_a_forgotten_one_is_of_its_last_failure() {
        let (mut windows, mut known) = (Windows::default(), NONE);
        for at in 1..=100 {
            known = windows.add(key(1), known, one(at, 0), 1_000);
            assert_eq!(known.times, at);
        }
        // After a restart.
        assert_eq!(Windows::default().add(key(1), known, one(1_050, 0), 1_000).times, 101);
        assert_eq!(Windows::default().add(key(1), known, one(1_101, 0), 1_000).times, 1);
        // What was forgiven since is none of it.
        assert_eq!(windows.add(key(1), NONE, one(101, 0), 1_000).times, 1);
    }

    #[test]
    fn what_is_forged_moves_nothing_of_what_is_certain() {
        let (mut windows, mut known) = (Windows::default(), NONE);
        let mut add = |at, sound| {
            known = windows.add(key(1), known, one(at, sound), 100);
            (known.times, known.sound)
        };
        assert_eq!([100, 110, 120].map(|at| add(at, 1)), [(1, 1), (2, 2), (3, 3)]);
        // More than are told apart, within the window and long after it.
        for at in (121..=180).chain(9_000..=9_050) {
            assert_eq!(add(at, 0).1, 3);
        }
        assert_eq!([add(200, 1).1, add(201, 1).1, add(215, 1).1], [4, 4, 4], "120, 200, 201 and 215 at last");
    }

    #[test]
    fn windows_are_bounded_and_what_is_forged_takes_no_room_of_what_is_not() {
        let mut windows = Windows::default();
        windows.add(key(0), NONE, one(1, 1), 10);
        for n in 1..=FORGEABLE_WINDOWS_MAX as u32 + 9 {
            windows.add(key(n), NONE, one(n, 0), 10);
        }
        assert_eq!(
            (windows.rooms[0].len(), windows.rooms[1].len(), windows.forgotten()),
            (1, FORGEABLE_WINDOWS_MAX, 9)
        );
    }
}
