//! What the service manager is told (`sd_notify(3)`): that we are ready, alive, stopping. Without one, nothing.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::log;
use crate::clock;

/// How long after its start a daemon is ready at the latest, whatever hangs: less than the unit's `TimeoutStartSec`, after
/// which the manager would end us, and sshd is waiting.
const READY_WITHIN: Duration = Duration::from_secs(8);
/// The manager hears that we live so often within the time after which it takes us for dead.
const ALIVE_TIMES: u32 = 4;

/// Tells the manager that we are ready once what it is sent is closed: all back ends have tried to enforce what is denied.
/// Until then it holds back what comes after us, which is sshd. It waits from now on, so that nothing of the start can hold
/// up sshd for longer. Where this is dropped before, the start failed, and the manager sees us end. Who started us in the
/// `background` is told at the same moment.
pub(super) fn ready(background: bool) -> std::io::Result<SyncSender<Receiver<Infallible>>> {
    let (tell, told) = mpsc::sync_channel::<Receiver<Infallible>>(1);
    if std::env::var_os("NOTIFY_SOCKET").is_none() && !background {
        return Ok(tell);
    }
    let end = clock::monotonic() + READY_WITHIN;
    let left = move || end.saturating_duration_since(clock::monotonic());
    std::thread::Builder::new().name("ready".to_owned()).spawn(move || {
        let is_slow = match told.recv_timeout(left()) {
            Ok(tried) => tried.recv_timeout(left()) == Err(RecvTimeoutError::Timeout),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if is_slow {
            tracing::warn!("the start hangs: denies are not enforced yet, and what starts after denyd starts now");
        }
        tell_state(&[NotifyState::Ready]);
        if background {
            detach();
        }
    })?;
    Ok(tell)
}

/// What is told at the end of standard error to who started us in the background: no line of the log holds it.
pub(crate) const RUNS: u8 = 0;

/// Tells who started us that we run, and lets go of standard output and standard error: the log goes to syslog from now on.
fn detach() {
    log::leave_stderr();
    let _ = std::io::stderr().write_all(&[RUNS]);
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null");
    let gone = nowhere.map(|nowhere| {
        let _ = nix::unistd::dup2_stdout(&nowhere);
        let _ = nix::unistd::dup2_stderr(&nowhere);
    });
    if let Err(error) = gone {
        tracing::warn!(%error, "/dev/null cannot be opened");
    }
}

/// Tells it that we are about to end.
pub(super) fn tell_stopping() {
    tell_state(&[NotifyState::Stopping]);
}

fn tell_state(state: &[NotifyState<'_>]) {
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
            tell_state(&[NotifyState::Watchdog]);
        }
    }
}
