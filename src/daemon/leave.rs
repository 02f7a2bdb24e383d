//! What earlier configurations wrote is taken away once this one enforces the same.
//!
//! Until then it stays: nobody who is denied gets in between two back ends.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::config::Config;
use crate::deny::DenyBackend;
use crate::deny::places::Place;
use crate::deny::reconciler::Enforced;
use crate::desk::Desk;

/// Leaves places, for as long as this value is there.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// Those that could not be left, and why.
    problems: Arc<Mutex<Vec<String>>>,
}

/// The places that earlier configurations wrote to and that these back ends do not use; none in a dry run.
pub(super) fn left(desk: &Desk, config: &Config, back_ends: &[Box<dyn DenyBackend>], dry_run: bool) -> Vec<Place> {
    let left = if dry_run { Ok(Vec::new()) } else { desk.left(config, back_ends) };
    left.unwrap_or_else(|error| {
        tracing::warn!(error, "cannot tell where earlier configurations denied; what stands there stays");
        Vec::new()
    })
}

impl Leave {
    /// Leaves places once all is enforced, in a thread of its own.
    pub(super) fn begin(left: Vec<Place>, enforced: Option<Enforced>) -> std::io::Result<Leave> {
        let leave = Leave::default();
        let problems = Arc::downgrade(&leave.problems);
        let Some(enforced) = enforced.filter(|_| !left.is_empty()) else { return Ok(leave) };
        std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
            if !enforced.wait() {
                return;
            }
            for mut place in left {
                // Or the next configuration may use it again.
                let Some(problems) = problems.upgrade() else { return };
                match place.leave(clock::now()) {
                    Ok(()) => {
                        tracing::info!(place = place.name, "not used any more; what was denied there was taken away")
                    }
                    Err(error) => {
                        tracing::warn!(place = place.name, error, "not used any more, but what was denied there stays");
                        problems
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{}: {error}", place.name));
                    }
                }
            }
        })?;
        Ok(leave)
    }

    /// The places that could not be left, and why.
    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
