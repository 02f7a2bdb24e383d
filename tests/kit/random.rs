//! Randomness by proptest: a seed repeats a case, a case that fails shrinks, and what failed once is tried first from
//! then on.
//!
//! A generator is plain code that draws from a [`Random`]. What it drew is what shrinks: fewer choices, then smaller
//! ones, so the smallest choice should be the simplest. `DENYD_SEED` repeats a run; a case that failed is kept in
//! `tests/regressions`, in a file of the property's name, to be committed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use proptest::prelude::Rng as _;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestError, TestRng, TestRunner};

/// Tries at a smaller case.
const SHRINKS_MAX: u32 = 4096;

/// Checks that `holds` does not panic, in so many cases. A case that fails is kept, and tried first from then on.
#[track_caller]
pub fn property(name: &str, cases: u32, holds: impl Fn(&mut Random)) {
    check(name, &Choices, config(name, cases, SHRINKS_MAX), holds);
}

/// The same of cases that are checked many at once, since to begin is dear; one of them, alone, is what shrinks.
#[track_caller]
pub fn batches(name: &str, batches: u32, at_once: usize, holds: impl Fn(&mut [Random])) {
    let fails = |cases: &mut [Random]| catch_unwind(AssertUnwindSafe(|| holds(cases))).is_err();
    check(name, &Choices, config(name, batches, 0), |random| {
        let seeds: Vec<_> = (0..at_once).map(|_| random.number()).collect();
        if !fails(&mut seeds.iter().copied().map(Random::seeded).collect::<Vec<_>>()) {
            return;
        }
        if let Some(seed) = seeds.iter().find(|seed| fails(&mut [Random::seeded(**seed)])) {
            let config = Config { failure_persistence: None, ..config(name, 1, SHRINKS_MAX) };
            check(name, &Seeded(*seed), config, |random| holds(std::slice::from_mut(random)));
        }
        panic!("each alone is well; together they are not");
    });
}

fn config(name: &str, cases: u32, shrinks: u32) -> Config {
    let kept = crate::root().join(format!("tests/regressions/{name}.txt"));
    let kept = FileFailurePersistence::Direct(Box::leak(kept.to_string_lossy().into_owned().into_boxed_str()));
    Config {
        cases,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: Some(Box::new(kept)),
        max_shrink_iters: shrinks,
        max_shrink_time: 60_000,
        ..Config::default()
    }
}

#[track_caller]
fn check(name: &str, cases: &impl Strategy<Value = Random>, config: Config, holds: impl Fn(&mut Random)) {
    let seed = config.rng_seed;
    let outcome = TestRunner::new(config).run(cases, |mut random| {
        holds(&mut random);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{name}: {why}\n{seed:?}, {case:?}"),
        Err(TestError::Abort(why)) => panic!("{name}: {why}"),
    }
}

/// `DENYD_SEED`, or any.
fn seed() -> u64 {
    let any = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
    std::env::var("DENYD_SEED").map_or_else(|_| any(), |seed| seed.parse().unwrap())
}

/// Where choices come from: a seed, or the choices of before.
pub struct Random {
    rng: TestRng,
    given: Option<std::vec::IntoIter<u64>>,
    /// What was chosen, where a failing case is to shrink.
    chosen: Option<Arc<Mutex<Vec<u64>>>>,
}

impl Random {
    /// Seeded by `DENYD_SEED`, else by chance; prints the seed. For what cannot be repeated choice by choice, since
    /// processes and clocks have their part in it: everything else is a [`property`].
    pub fn new() -> Self {
        let seed = seed();
        eprintln!("DENYD_SEED={seed}");
        Random::seeded(seed)
    }

    pub fn seeded(seed: u64) -> Self {
        let seed = [seed.to_le_bytes(), (!seed).to_le_bytes()].concat();
        Random { rng: TestRng::from_seed(RngAlgorithm::XorShift, &seed), given: None, chosen: None }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.choose(None)
    }

    /// A number less than `end`.
    pub fn below<N: Number>(&mut self, end: N) -> N {
        N::of(self.choose(Some(end.number())))
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn choose(&mut self, end: Option<u64>) -> u64 {
        let number = match &mut self.given {
            Some(given) => given.next().unwrap_or(0),
            None => self.rng.next_u64(),
        };
        let choice = end.map_or(number, |end| number % end);
        if let Some(chosen) = &self.chosen {
            chosen.lock().unwrap().push(choice);
        }
        choice
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(given) => write!(f, "with the choices {:?}", given.as_slice()),
            None => f.write_str("as it came"),
        }
    }
}

/// What [`Random::below`] counts in.
pub trait Number {
    fn of(number: u64) -> Self;
    fn number(self) -> u64;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Number for $number {
            fn of(number: u64) -> Self {
                number as $number
            }

            fn number(self) -> u64 {
                self as u64
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64 usize i32 i64);

/// Any choices.
#[derive(Debug)]
struct Choices;

impl Strategy for Choices {
    type Tree = Case;
    type Value = Random;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(Case::new(runner.rng().next_u64()))
    }
}

/// The choices of one seed.
#[derive(Debug)]
struct Seeded(u64);

impl Strategy for Seeded {
    type Tree = Case;
    type Value = Random;

    fn new_tree(&self, _: &mut TestRunner) -> NewTree<Self> {
        Ok(Case::new(self.0))
    }
}

/// A case, and how it shrinks: runs of choices are left out, long ones first, and then each is made smaller.
struct Case {
    seed: u64,
    chosen: Arc<Mutex<Vec<u64>>>,
    /// What it is by now; of the seed until it failed once.
    choices: Option<Vec<u64>>,
    /// What comes next: so many choices less (0: none, a smaller one instead), at this place.
    width: usize,
    at: usize,
    /// A choice is tried without all, half, a quarter, … of it: how often that is halved.
    halved: u32,
    /// Where the last edit was, what was there, and how many are there instead.
    undo: (usize, Vec<u64>, usize),
}

impl Case {
    fn new(seed: u64) -> Self {
        Case { seed, chosen: Arc::default(), choices: None, width: 0, at: 0, halved: 0, undo: (0, Vec::new(), 0) }
    }

    /// Makes the next edit; `false` when there is none.
    fn edit(&mut self) -> bool {
        let choices = self.choices.as_mut().unwrap();
        while self.width > 0 {
            if self.at < choices.len() {
                let end = choices.len().min(self.at + self.width);
                self.undo = (self.at, choices.drain(self.at..end).collect(), 0);
                return true;
            }
            (self.at, self.width) = (0, self.width / 2);
        }
        while let Some(choice) = choices.get_mut(self.at) {
            let less = choice.checked_shr(self.halved).unwrap_or(0);
            if less > 0 {
                self.undo = (self.at, vec![*choice], 1);
                *choice -= less;
                return true;
            }
            (self.at, self.halved) = (self.at + 1, 0);
        }
        false
    }
}

impl ValueTree for Case {
    type Value = Random;

    fn current(&self) -> Random {
        self.chosen.lock().unwrap().clear();
        let given = self.choices.clone().map(Vec::into_iter);
        Random { given, chosen: Some(self.chosen.clone()), ..Random::seeded(self.seed) }
    }

    fn simplify(&mut self) -> bool {
        // As they were used: a number of before may be larger than the end that it is drawn below by now.
        let mut chosen = std::mem::take(&mut *self.chosen.lock().unwrap());
        match &self.choices {
            Some(choices) => chosen.truncate(choices.len()),
            None => self.width = chosen.len().next_power_of_two(),
        }
        self.choices = Some(chosen);
        self.edit()
    }

    fn complicate(&mut self) -> bool {
        let (at, was, now) = std::mem::take(&mut self.undo);
        if was.is_empty() {
            return false;
        }
        if self.width > 0 {
            self.at = at + was.len();
        } else {
            self.halved += 1;
        }
        self.choices.as_mut().unwrap().splice(at..at + now, was);
        self.edit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the smallest case is that `holds` fails in, from this seed.
    fn smallest(seed: u64, holds: impl Fn(&mut Random)) -> Vec<u64> {
        let config =
            Config { failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..config("none", 1000, SHRINKS_MAX) };
        let outcome = TestRunner::new(config).run(&Choices, |mut random| {
            holds(&mut random);
            Ok(())
        });
        let Err(TestError::Fail(_, case)) = outcome else { panic!("it did not fail") };
        case.given.unwrap().collect()
    }

    #[test]
    fn a_failing_case_shrinks() {
        std::panic::set_hook(Box::new(|_| {}));
        for seed in 0..300 {
            // One number among many that is too large.
            let small = smallest(seed, |random| {
                for _ in 0..random.below(50) {
                    assert!(random.below(1000) < 700);
                }
            });
            assert_eq!(small, [1, 700], "seed {seed}");
            // A pair that must stay together.
            let small = smallest(seed, |random| {
                let all: Vec<u64> = (0..20).map(|_| random.below(8)).collect();
                assert!(all.windows(2).all(|pair| pair != [3, 5]));
            });
            assert_eq!(small, [3, 5], "seed {seed}");
        }
    }

    #[test]
    fn a_seed_repeats() {
        let draw = |seed| (0..9).map(|_| Random::seeded(seed).number()).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
