//! The log that a DenyHosts configuration names, for which the journal stands in while nobody writes it: whether that has
//! changed. Then the configuration is read anew, as by SIGHUP, if it is still the one that holds.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::OldLog;
use crate::desk::Request;
use crate::desk::control::Ask;

/// Whether the log is written again is looked at so often, and so many times more seldom whether it no longer is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SELDOM: u32 = 60;
/// After a reload.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// Asks for a reload each time that another log is to be read.
pub(super) async fn watch(log: watch::Receiver<Option<OldLog>>, asks: mpsc::Sender<Ask>) {
    for look in 1u32.. {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(log) = log.borrow().clone().filter(|log| log.journal_instead || look.is_multiple_of(SELDOM)) else {
            continue;
        };
        // It reads files.
        if !tokio::task::spawn_blocking(move || log.has_changed()).await.unwrap_or(false) {
            continue;
        }
        tracing::info!("the log of the configuration is written again, or is not any more: it is read anew");
        let (reply, answer) = oneshot::channel();
        if asks.send(Ask { request: Request::Reload, caller: None, reply }).await.is_err() {
            return;
        }
        // What came of it is in the log.
        let _ = answer.await;
        tokio::time::sleep(RELOAD_EVERY).await;
    }
}
