//! What earlier configurations wrote is taken away once this one enforces the same.
//!
//! Until then it stays: nobody who is denied gets in between two back ends.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::deny::DenyBackend;
use crate::deny::places::Place;
use crate::deny::reconciler::Enforced;
use crate::desk::Desk;

/// Leaves places.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// Those that could not be left, and why.
    problems: Arc<Mutex<Vec<String>>>,
    /// What has it give up, and what is closed once it has ended.
    at_work: Option<(mpsc::Sender<bool>, mpsc::Receiver<Infallible>)>,
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
        let Some(enforced) = enforced.filter(|_| !left.is_empty()) else { return Ok(Leave::default()) };
        let (end, ended) = mpsc::channel();
        let leave = Leave { problems: Arc::default(), at_work: Some((enforced.give_up.clone(), ended)) };
        let problems = Arc::downgrade(&leave.problems);
        std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
            if enforced.wait() {
                left.into_iter().for_each(|place| {
                    // Without anybody who wants to know, the next configuration may use it again.
                    if let Some(problems) = problems.upgrade() {
                        leave_one(place, &problems);
                    }
                });
            }
            drop(end);
        })?;
        Ok(leave)
    }

    /// Stops leaving, before another configuration may use one of the places again. A place that hangs is not waited for.
    pub(super) fn stop(&mut self) {
        let Leave { at_work, .. } = std::mem::take(self);
        if let Some((give_up, ended)) = at_work {
            let _ = give_up.send(false);
            let _ = ended.recv_timeout(STOP_MAX);
        }
    }

    /// The places that could not be left, and why.
    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn leave_one(mut place: Place, problems: &Mutex<Vec<String>>) {
    match place.leave(clock::now()) {
        Ok(()) => tracing::info!(place = place.name, "not used any more; what was denied there was taken away"),
        Err(error) => {
            tracing::warn!(place = place.name, error, "not used any more, but what was denied there stays");
            problems.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {error}", place.name));
        }
    }
}

/// How long leaving may take to stop: one place, of which a program may hang.
const STOP_MAX: Duration = Duration::from_secs(2);
