//! The signals that stop the daemon, and the one that has it read its configuration anew.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::desk::Request;
use crate::desk::control::Ask;

/// The configuration is read so often at most, however many ask for it.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// SIGHUP and SIGUSR1 wait from now on until they are listened for: they would end us. To be called before a thread is started.
pub(super) fn hold() -> nix::Result<()> {
    set(Signal::SIGHUP).thread_block()?;
    set(Signal::SIGUSR1).thread_block()
}

fn set(signal: Signal) -> SigSet {
    let mut set = SigSet::empty();
    set.add(signal);
    set
}

/// Asks for a reload at each SIGHUP.
pub(super) async fn hangup(asks: mpsc::Sender<Ask>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("cannot wait for SIGHUP; there is `denyd reload`");
        return;
    };
    if let Err(error) = set(Signal::SIGHUP).thread_unblock() {
        tracing::error!(%error, "cannot wait for SIGHUP; there is `denyd reload`");
    }
    while hangup.recv().await.is_some() {
        let (reply, answer) = oneshot::channel();
        if asks.send(Ask { request: Request::Reload, caller: None, reply }).await.is_err() {
            return;
        }
        // What came of it is in the log.
        let _ = answer.await;
        tokio::time::sleep(RELOAD_EVERY).await;
    }
}

/// Has the log say more, and less again, at each SIGUSR1.
pub(super) async fn debug(toggle: impl Fn()) {
    let Ok(mut usr1) = signal(SignalKind::user_defined1()) else {
        tracing::error!("cannot wait for SIGUSR1; there is log_level in the configuration");
        return;
    };
    if let Err(error) = set(Signal::SIGUSR1).thread_unblock() {
        tracing::error!(%error, "cannot wait for SIGUSR1; there is log_level in the configuration");
    }
    while usr1.recv().await.is_some() {
        toggle();
    }
}

/// Waits for SIGTERM or SIGINT, and tells it.
pub(super) async fn stop(told: watch::Sender<bool>) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot wait for signals");
        return;
    };
    let mut either = async || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    either().await;
    let _ = told.send(true);
    // A second signal ends us at once: the default action is gone once a handler was set.
    either().await;
    std::process::exit(1);
}
