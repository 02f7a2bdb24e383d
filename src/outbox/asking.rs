//! How the threads that tell ask the desk, as any client does.

use std::net::IpAddr;

use tokio::sync::oneshot;

use crate::decide::prefix::Prefix;
use crate::desk::control::{Ask, Line};
use crate::desk::reply::{Evidence, Reply, Why};
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

    /// An address of a denied prefix that failed, by the messages that are kept.
    pub(super) async fn address(&self, prefix: Prefix) -> Result<Option<IpAddr>, Ended> {
        Ok(self.why(prefix).await?.and_then(|why| address_in(&why.evidence, prefix)))
    }
}

/// The last address of this prefix in the newest message that has one. Whatever a stranger writes there is of his own prefix.
fn address_in(evidence: &[Evidence], prefix: Prefix) -> Option<IpAddr> {
    let of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let address = |word: &str| word.parse::<IpAddr>().ok().filter(|ip| prefix.contains(&Prefix::host(*ip)));
    let last = |one: &Evidence| one.message.split(|c| !of_address(c)).rev().find_map(address);
    evidence.iter().rev().find_map(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::reply::At;

    #[test]
    fn the_address_that_failed_is_in_the_messages() {
        let check = |messages: &[&str], want: Option<&str>| {
            let one = |message: &&str| Evidence {
                at: At::default(),
                source: String::new(),
                host: String::new(),
                message: (*message).to_owned(),
                message_b64: None,
                forgiven: false,
            };
            let evidence: Vec<_> = messages.iter().map(one).collect();
            let found = address_in(&evidence, "2001:db8::/64".parse().unwrap());
            assert_eq!(found, want.map(|want| want.parse().unwrap()), "{messages:?}");
        };
        let failed = "Failed password for root from 2001:db8::7 port 22 ssh2";
        check(&[failed], Some("2001:db8::7"));
        check(&["Failed password for 2001:db8::9 from 2001:db8::8 port 22", failed], Some("2001:db8::7"));
        check(&[failed, "Failed password for 2001:db8:1::9 from UNKNOWN"], Some("2001:db8::7"));
        check(&["rhost=2001:db8::a  user=root"], Some("2001:db8::a"));
        check(&[], None);
    }
}
