//! How the threads that tell ask the desk, as any client does.

use std::net::IpAddr;

use tokio::sync::oneshot;

use crate::decide::prefix::Prefix;
use crate::desk::control::{Ask, Line};
use crate::desk::reply::{Reply, Why};
use crate::desk::{Desk, Look, Request, explain};

/// By which a thread asks.
pub(super) struct Asking(pub(super) Line);

/// The daemon ends.
pub(super) struct Ended;

impl Asking {
    /// The desk's answer, or why it cannot tell now.
    pub(super) async fn ask(&self, request: Request) -> Result<Result<Reply, String>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.0.asks.send(Ask { request, caller: None, reply }).await.map_err(|_| Ended)?;
        Ok(answer.await.map_err(|_| Ended)?.reply)
    }

    /// What is seen by a look at the desk.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        at: impl FnOnce(&Desk) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (seen, answer) = oneshot::channel();
        let look: Look = Box::new(move |desk, _| drop(seen.send(at(desk))));
        self.0.looks.send(look).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Whether an address is allowed.
    pub(super) async fn allows(&self, address: IpAddr) -> Result<bool, Ended> {
        self.look(move |desk| desk.allows(address)).await
    }

    /// What is known of a prefix, made beside the engine: a wide one would hold it up.
    pub(super) async fn why(&self, prefix: Prefix) -> Result<Option<Why>, Ended> {
        let looks = self.0.looks.clone();
        let (reply, answer) = oneshot::channel();
        // It waits for each look, so it has a thread; where there is none, less is told.
        let begun = std::thread::Builder::new().name("outbox-why".to_owned()).spawn(move || {
            let _ = reply.send(explain(prefix, looks));
        });
        match begun {
            Ok(_) => answer.await.map_err(|_| Ended),
            Err(_) => Ok(None),
        }
    }
}
