//! A configuration is read in a thread of its own, and handed to the owner of the desk when it is whole. It asks files, other
//! programs (`sshd -T`) and the journal, any of which may hang; no deny waits for that.

use std::future::pending;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::configured::Fresh;
use crate::clock;
use crate::desk::control::Ask;

/// How long reading one may take that somebody asks for, and the one from before a trial, without which nothing is enforced.
const ASKED_MAX: Duration = Duration::from_secs(60);
const BACK_MAX: Duration = Duration::from_secs(10);

/// What the configuration is read for.
pub(super) enum Purpose {
    /// Somebody asks that it hold, or be tried.
    Asked(Ask),
    /// Nobody kept the one that was tried.
    Back,
}

/// One that is being read.
pub(super) struct Reading {
    purpose: Purpose,
    fresh: oneshot::Receiver<anyhow::Result<Fresh>>,
    ends: Instant,
}

impl Reading {
    /// Begins to read.
    pub(super) fn begin(
        purpose: Purpose,
        read: impl FnOnce() -> anyhow::Result<Fresh> + Send + 'static,
    ) -> std::io::Result<Reading> {
        let (done, fresh) = oneshot::channel();
        // The log says of each line whether it is a dry run's.
        let span = tracing::Span::current();
        thread::Builder::new().name("configuration".to_owned()).spawn(move || {
            let _told = span.entered();
            // Nobody waits for it any more where that took too long, or denyd was stopped.
            let _ = done.send(read());
        })?;
        let most = if matches!(purpose, Purpose::Back) { BACK_MAX } else { ASKED_MAX };
        Ok(Reading { purpose, fresh, ends: clock::monotonic() + most })
    }

    /// Waits until one is read or takes too long, for ever where none is read: what for, and what came of it. May be dropped
    /// and called again.
    pub(super) async fn done(reading: &mut Option<Reading>) -> (Purpose, anyhow::Result<Fresh>) {
        let Some(Reading { fresh, ends, .. }) = reading else { return pending().await };
        let fresh = match tokio::time::timeout_at((*ends).into(), fresh).await {
            Ok(fresh) => fresh.unwrap_or_else(|_| Err(anyhow!("the thread that read it ended: please report it"))),
            Err(_) => {
                Err(anyhow!("it cannot be read in time: a file system or a program that it asks, as sshd -T, hangs"))
            }
        };
        match reading.take() {
            Some(Reading { purpose, .. }) => (purpose, fresh),
            None => pending().await,
        }
    }

    /// Who asked for it, where somebody did.
    pub(super) fn asked(self) -> Option<Ask> {
        match self.purpose {
            Purpose::Asked(ask) => Some(ask),
            Purpose::Back => None,
        }
    }
}
