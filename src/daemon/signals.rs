//! The signals that stop the daemon.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
