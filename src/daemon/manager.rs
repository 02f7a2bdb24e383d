//! What the service manager is told (`sd_notify(3)`): that we are ready, alive, stopping. Without one, nothing.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// How long the first try of the back ends is waited for: less than the unit's `TimeoutStartSec`, after which the manager
/// would end us, and sshd is waiting.
const READY_WITHIN: Duration = Duration::from_secs(8);
/// The manager hears that we live so often within the time after which it takes us for dead.
const ALIVE_TIMES: u32 = 4;

/// Tells the manager that we are ready once `tried` is closed: all back ends have tried to enforce what is denied. Until
/// then it holds back what comes after us, which is sshd.
pub(super) fn tell_ready(tried: Option<Receiver<Infallible>>) -> std::io::Result<()> {
    let Some(tried) = tried.filter(|_| std::env::var_os("NOTIFY_SOCKET").is_some()) else { return Ok(()) };
    std::thread::Builder::new().name("ready".to_owned()).spawn(move || {
        let is_slow = tried.recv_timeout(READY_WITHIN) == Err(RecvTimeoutError::Timeout);
        if is_slow {
            tracing::warn!("a back end hangs: denies are not enforced yet, and what starts after denyd starts now");
        }
        tell(&[NotifyState::Ready]);
    })?;
    Ok(())
}

/// Tells it that we are about to end.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager how we are");
    }
}

/// Tells the manager that the engine's thread goes on, where that wants to know (`WatchdogSec=`).
pub(super) struct Manager {
    every: Option<Duration>,
    told: Instant,
}

impl Manager {
    pub(super) fn new(now: Instant) -> Self {
        Manager { every: sd_notify::watchdog_enabled().map(|limit| limit / ALIVE_TIMES), told: now }
    }

    /// The engine's thread is at work.
    pub(super) fn alive(&mut self, now: Instant) {
        if self.every.is_some_and(|every| now.saturating_duration_since(self.told) >= every) {
            self.told = now;
            tell(&[NotifyState::Watchdog]);
        }
    }
}
