//! What takes news, one after the other: what it is told, and where it says how that goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::news::News;
use super::report;
use crate::clock;
use crate::decide::prefix::Prefix;
use crate::desk::reply::{self, At};

/// What fails is logged no more often than so.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What takes news.
pub(super) trait Output: Send {
    /// Begins, before the first is told; it is tried again until there is no error.
    fn begin(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Whether it is to be told first of all that is denied now, since `denyd off` told it that nothing is.
    fn wants_all(&self) -> bool {
        false
    }

    /// It was told all.
    fn has_all(&mut self) {}

    /// Tells these, in their order, and says of each when it is told. An error is why one could not be: it and those behind it
    /// are to be told again.
    fn tell(&mut self, news: &[News], beside: &Beside, told: &Told<'_>) -> Result<(), String>;

    /// The daemon ends.
    fn end(&mut self) {}

    /// Whether it wants to know which addresses failed in a denied prefix.
    fn wants_addresses(&self) -> bool {
        false
    }

    /// What is to be remembered over a restart, if anything.
    fn note(&self) -> Option<String> {
        None
    }
}

/// What is known beside the news.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Of denied prefixes an address that failed there, where that is wanted.
    pub(super) addresses: BTreeMap<Prefix, IpAddr>,
    /// What enforces, each with what is wrong with it, for syslog.
    pub(super) enforced_by: Vec<(String, Option<String>)>,
    /// What is to be shown behind addresses, where that is wanted.
    pub(super) names: HashMap<IpAddr, String>,
}

impl Beside {
    /// An address or a prefix, with its name where that is known.
    pub(super) fn host(&self, prefix: Prefix) -> String {
        report::host(prefix, &self.names)
    }
}

/// Where an output says how it goes.
pub(super) struct Told<'a> {
    pub(super) state: &'a Mutex<reply::Output>,
    pub(super) ends: &'a AtomicBool,
    pub(super) seen: &'a Mutex<i64>,
    pub(super) logged: &'a Mutex<Option<Instant>>,
    pub(super) name: &'static str,
}

impl Told<'_> {
    /// The decision of this number is told, and so are those before it.
    pub(super) fn done(&self, id: i64) {
        *lock(self.seen) = id;
    }

    /// How it went with one, which is done whatever came of it.
    pub(super) fn went(&self, result: Result<(), String>) {
        let mut state = lock(self.state);
        match result {
            Ok(()) => {
                state.told += 1;
                (state.problem, state.failing_since) = (None, None);
            }
            Err(problem) => {
                state.failed += 1;
                self.log(&problem, state.failed);
                fails(&mut state, problem);
            }
        }
    }

    /// Whether the daemon ends: nothing more is to be begun.
    pub(super) fn is_ending(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Logs a failure, if none was lately.
    fn log(&self, problem: &str, failed: u64) {
        let (mut logged, now) = (lock(self.logged), clock::monotonic());
        if logged.is_none_or(|at| now.saturating_duration_since(at) >= LOGGED_EVERY) {
            *logged = Some(now);
            tracing::warn!(by = self.name, problem, failed, "failed; further failures are logged once in ten seconds");
        }
    }
}

/// That something failed, which `status` shows.
pub(super) fn fails(state: &mut reply::Output, problem: String) {
    state.failing_since = state.failing_since.or(Some(At(clock::now())));
    state.problem = Some(problem);
}

/// Locks what another thread may have left in the middle: it is only shown.
pub(super) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
