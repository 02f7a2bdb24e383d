//! A firewall and its back end: elements with timeouts that follow no wall clock, an allow list, and whatever goes wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;
use kit::Random;

use super::Plant;
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use crate::deny::{DenyBackend, DenyError, DenySet, Diff, Probe, Until};

/// A call that hangs takes less than so many seconds. A reconciler rests for four times as long.
const HANGS_MAX: u64 = 20;

/// The clock that everybody here reads.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<Mutex<(Timestamp, Instant)>>);

impl Clock {
    pub(super) fn now(&self) -> (Timestamp, Instant) {
        *lock(&self.0)
    }

    pub(super) fn pass(&self, time: Duration) {
        let (wall, at) = &mut *lock(&self.0);
        (*wall, *at) = (wall.after(time), *at + time);
    }

    pub(super) fn step(&self, seconds: i64) {
        lock(&self.0).0.0 += seconds * 1_000_000;
    }
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// When each element goes away by itself.
    elements: BTreeMap<Prefix, Option<Instant>>,
    allowed: Vec<Range>,
}

/// The firewall, and what others and faults do to it.
pub(super) struct Kernel {
    rules: Rules,
    /// What the back end left there; `None` = it has to write all of it.
    left: Option<Rules>,
    /// How many calls in a hundred go wrong.
    pub(super) faults: u32,
    /// What is allowed was not written yet, or somebody took it out and that was not mended.
    pub(super) is_spoilt: bool,
}

impl Default for Kernel {
    fn default() -> Self {
        Kernel { rules: Rules::default(), left: None, faults: 0, is_spoilt: true }
    }
}

/// The back end of a kernel.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    pub(super) clock: Clock,
    pub(super) random: Arc<Mutex<Random>>,
    pub(super) plant: Option<Plant>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    /// Whether it drops what comes from an address.
    pub(super) fn drops(&self, address: IpAddr, time: Instant, plant: Option<Plant>) -> bool {
        let lives = |end: &Option<Instant>| end.is_none_or(|end| end > time) || plant == Some(Plant::ExpiryIgnored);
        let host = Prefix::host(address);
        let mut denied = self.rules.elements.iter().filter(|(_, end)| lives(end)).map(|(prefix, _)| prefix);
        !self.rules.allowed.iter().any(|range| range.contains(address)) && denied.any(|prefix| prefix.contains(&host))
    }

    /// What others do to it.
    pub(super) fn tamper(&mut self, random: &mut Random, some: Prefix, time: Instant) {
        let keys: Vec<_> = self.rules.elements.keys().copied().collect();
        let one = (!keys.is_empty()).then(|| keys[random.below(keys.len())]);
        match (random.below(6), one) {
            (0, Some(one)) => drop(self.rules.elements.remove(&one)),
            (1, Some(one)) => drop(self.rules.elements.insert(one, Some(time + Duration::from_secs(random.below(60))))),
            (2, Some(one)) => drop(self.rules.elements.insert(one, None)),
            (3, _) => drop(self.rules.elements.insert(some, None)),
            (4, _) => self.rules.elements.clear(),
            _ => {
                self.rules.allowed.clear();
                self.is_spoilt = true;
            }
        }
    }
}

impl Model {
    /// Carries out `change`, fails, does both, hangs, or says that it did and did not.
    fn order(&mut self, change: impl Fn(&mut Rules, Instant)) -> Result<(), DenyError> {
        let mut kernel = lock(&self.kernel);
        let mut random = lock(&self.random);
        let is_fault = random.below(100) < kernel.faults;
        let goes = if is_fault { random.below(5) } else { 9 };
        if goes == 0 {
            return if self.plant == Some(Plant::ErrorIgnored) { Ok(()) } else { Err(fault()) };
        }
        if goes == 1 {
            self.clock.pass(Duration::from_secs(random.below(HANGS_MAX)));
        }
        let time = self.clock.now().1;
        let change = |mut rules: Rules| {
            change(&mut rules, time);
            if self.plant == Some(Plant::AllowIgnored) {
                rules.allowed.clear();
            }
            rules
        };
        // What others did in between is not among what it left.
        let left = kernel.left.take().unwrap_or_else(|| kernel.rules.clone());
        kernel.left = Some(change(left));
        if goes == 2 {
            return Ok(()); // it lies
        }
        kernel.rules = change(kernel.rules.clone());
        kernel.is_spoilt &= kernel.rules.allowed.is_empty();
        if goes == 3 { Err(fault()) } else { Ok(()) }
    }
}

fn fault() -> DenyError {
    DenyError { backend: "model", tried: "try".to_owned(), cause: "no".to_owned(), remedy: None }
}

/// When an element goes that is written now: whole seconds, rounded up. `None` = it is over.
fn end(until: Until, now: Timestamp, time: Instant) -> Option<Option<Instant>> {
    let Some(until) = until else { return Some(None) };
    let left = u64::try_from(until.0 - now.0).ok().filter(|left| *left > 0)?;
    Some(Some(time + Duration::from_secs(left.div_ceil(1_000_000))))
}

impl Rules {
    fn put(&mut self, prefix: Prefix, until: Option<Until>, now: Timestamp, time: Instant) {
        match until.and_then(|until| end(until, now, time)) {
            Some(end) => self.elements.insert(prefix, end),
            None => self.elements.remove(&prefix),
        };
    }

    fn of(want: &DenySet, now: Timestamp, time: Instant) -> Rules {
        let mut rules = Rules { allowed: want.allowed.clone(), ..Rules::default() };
        want.denied.iter().for_each(|(prefix, until)| rules.put(*prefix, Some(*until), now, time));
        rules
    }

    /// Without what went away by itself.
    fn at(&self, time: Instant) -> Rules {
        let mut rules = self.clone();
        rules.elements.retain(|_, end| end.is_none_or(|end| end > time));
        rules
    }
}

impl DenyBackend for Model {
    fn name(&self) -> &'static str {
        "model"
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.order(|rules, time| *rules = Rules::of(want, now, time))
    }

    fn update(&mut self, diff: &Diff, _want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let keeps = self.plant == Some(Plant::ReleaseForgotten);
        self.order(|rules, time| {
            for (prefix, until) in diff.denies.iter().filter(|(_, until)| until.is_some() || !keeps) {
                rules.put(*prefix, *until, now, time);
            }
            if let Some(allowed) = &diff.allowed {
                rules.allowed.clone_from(allowed);
            }
        })
    }

    fn probe(&mut self, _want: &DenySet, _now: Timestamp) -> Result<Probe, DenyError> {
        let (kernel, (_, time)) = (lock(&self.kernel), self.clock.now());
        let Some(left) = &kernel.left else { return Ok(Probe::Ours) };
        if left.at(time) == kernel.rules.at(time) || self.plant == Some(Plant::TamperingUnseen) {
            return Ok(Probe::Ours);
        }
        match lock(&self.random).one_in(2) {
            true => Err(fault()),
            false => Ok(Probe::Changed { what: "some".to_owned(), missing: 1 }),
        }
    }
}
