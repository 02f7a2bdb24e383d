//! The log that a DenyHosts configuration names, for which the journal stands in while nobody writes it: whether that has
//! changed. Then the configuration is read anew, as by SIGHUP, if it is still the one that holds.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::OldLog;
use crate::desk::Request;
use crate::desk::control::Ask;

/// Whether the log is quiet, or is written again, is looked at so often; of one that stays quiet so many times more seldom
/// whether the journal has what it lacks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const SELDOM: u32 = 60;
/// After a reload.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// Asks for a reload each time that another log is to be read.
pub(super) async fn watch(log: watch::Receiver<Option<OldLog>>, asks: mpsc::Sender<Ask>) {
    // For so many looks the log has been quiet.
    let mut quiet = 0u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(log) = log.borrow().clone() else { continue };
        // It reads files, and of the journal what a log lacks that is quiet.
        let looked = tokio::task::spawn_blocking(move || {
            let is_quiet = !log.journal_instead && log.is_quiet();
            let is_due = log.journal_instead || (is_quiet && quiet.is_multiple_of(SELDOM));
            (is_quiet, is_due && log.has_changed())
        });
        let (is_quiet, has_changed) = looked.await.unwrap_or_default();
        quiet = if is_quiet { quiet.wrapping_add(1) } else { 0 };
        if !has_changed {
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
