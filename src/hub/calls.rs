//! A call and its answer: what each method takes, and which fault is what, as denyhosts_sync has them.

use std::collections::HashSet;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::oneshot;

use super::count::{Count, Counters};
use super::due::Wish;
use super::feed::PAGE;
use super::keeper::{Refusal, Task};
use crate::detect::address::{self, Address};
use crate::text::printable;
use crate::xmlrpc::{Answer, Call, Error};

/// How long an answer is waited for. A client waits 30 s.
const ANSWER_TIME: Duration = Duration::from_secs(25);

/// Characters of a stranger's text that a fault gives back.
const TEXT_MAX: usize = 100;

/// An address that is none, or one that nobody outside has.
pub const ILLEGAL_ADDRESS: i64 = 101;
/// Parameters that are none.
pub const ILLEGAL_PARAMETERS: i64 = 102;
/// A timestamp of the future.
pub const ILLEGAL_TIMESTAMP: i64 = 103;
/// Hosts that were not added.
pub const NOT_ADDED: i64 = 104;
/// What is new cannot be told.
pub const NOT_TOLD: i64 = 105;
/// A method that there is not.
pub const NO_METHOD: i64 = 8001;
/// What is no XML-RPC.
pub const NOT_READ: i64 = 8002;

/// There is too much to do.
#[derive(Debug)]
pub struct Busy;

fn fault(code: i64, text: impl Into<String>) -> Answer {
    Answer::Fault { code, text: text.into() }
}

/// Answers the body of a request.
pub async fn answer(
    body: &[u8],
    reporter: String,
    tasks: &SyncSender<Task>,
    counters: &Counters,
) -> Result<Answer, Busy> {
    let call = std::str::from_utf8(body).map_err(|_| Error::Xml("it is not UTF-8".into())).and_then(Call::from_xml);
    match call {
        Ok(Call::AddHosts(hosts)) => {
            counters.add(Count::AddHosts, 1);
            add_hosts(&hosts, reporter, tasks).await
        }
        Ok(Call::GetNewHosts { since, threshold, added, resiliency }) => {
            counters.add(Count::GetNewHosts, 1);
            let known = match addresses(&added) {
                Ok(known) => known,
                Err((_, illegal)) => return Ok(illegal),
            };
            let wish = Wish::new(threshold, resiliency);
            get_new_hosts(wish, since, known.into_iter().collect(), reporter, tasks).await
        }
        // Nobody asked for it, and nothing is kept of it.
        Ok(Call::VersionReport(_)) => {
            counters.add(Count::VersionReport, 1);
            Ok(Answer::Done)
        }
        Ok(Call::Other(name)) => Ok(fault(NO_METHOD, format!("procedure {} not found", shown(&name)))),
        Err(Error::Parameters(_)) => Ok(fault(ILLEGAL_PARAMETERS, "Illegal parameters.")),
        Err(error) => {
            counters.add(Count::Unread, 1);
            Ok(fault(NOT_READ, format!("Can't deserialize input: {}", shown(&error.to_string()))))
        }
    }
}

async fn add_hosts(hosts: &[String], reporter: String, tasks: &SyncSender<Task>) -> Result<Answer, Busy> {
    // What comes before an address that is none is recorded.
    let (legal, illegal) = match addresses(hosts) {
        Ok(legal) => (legal, None),
        Err((legal, illegal)) => (legal, Some(illegal)),
    };
    if legal.len() > PAGE {
        return Ok(fault(NOT_ADDED, format!("Error adding hosts: send {PAGE} at most")));
    }
    if legal.is_empty() {
        return Ok(illegal.unwrap_or(Answer::Done));
    }
    let (reply, told) = oneshot::channel();
    let added = ask(Task::Add { reporter, hosts: legal, reply }, told, tasks).await?;
    Ok(match added {
        // Those for which there was no room are counted here, and not sent again: the client cannot mend that.
        Ok(_) => illegal.unwrap_or(Answer::Done),
        Err(Refusal::Busy) => return Err(Busy),
        Err(Refusal::Rate) => fault(NOT_ADDED, "Error adding hosts: too many in an hour"),
        Err(_) => fault(NOT_ADDED, "Error adding hosts: the hub's database"),
    })
}

async fn get_new_hosts(
    wish: Wish,
    since: u64,
    known: HashSet<Address>,
    reporter: String,
    tasks: &SyncSender<Task>,
) -> Result<Answer, Busy> {
    let (reply, told) = oneshot::channel();
    let page = ask(Task::New { reporter, wish, since, known, reply }, told, tasks).await?;
    Ok(match page {
        Ok(page) => Answer::NewHosts {
            timestamp: page.timestamp.unsigned_abs(),
            hosts: page.hosts.iter().map(ToString::to_string).collect(),
        },
        Err(Refusal::Busy) => return Err(Busy),
        Err(Refusal::Future) => fault(ILLEGAL_TIMESTAMP, "Illegal timestamp."),
        Err(Refusal::Rate) => {
            fault(NOT_TOLD, "Error in get_new_hosts: too many thresholds and resiliencies are asked for")
        }
        Err(Refusal::Broken) => fault(NOT_TOLD, "Error in get_new_hosts: the hub's database"),
    })
}

/// Has the thread do a task, and waits for it.
async fn ask<T>(task: Task, told: oneshot::Receiver<T>, tasks: &SyncSender<Task>) -> Result<T, Busy> {
    tasks.try_send(task).map_err(|_| Busy)?;
    match tokio::time::timeout(ANSWER_TIME, told).await {
        Ok(Ok(told)) => Ok(told),
        _ => Err(Busy),
    }
}

/// The addresses; or those before the first that is none, and the fault about that.
fn addresses(hosts: &[String]) -> Result<Vec<Address>, (Vec<Address>, Answer)> {
    let (mut legal, mut told) = (Vec::with_capacity(hosts.len()), HashSet::new());
    for host in hosts {
        match public(host) {
            // One call is one report of a host, however often it names it.
            Some(address) => legal.extend(told.insert(address).then_some(address)),
            None => return Err((legal, fault(ILLEGAL_ADDRESS, format!("Illegal IP address \"{}\".", shown(host))))),
        }
    }
    Ok(legal)
}

/// The address of a host that anybody may have met: none of a private network, a link, a machine itself, or a group.
/// Those of documentation and benchmarks are let through, as denyhosts_sync does.
pub fn public(host: &str) -> Option<Address> {
    let host = host.trim();
    let address = address::parse(host.as_bytes()).filter(|_| !host.contains('%'))?;
    let is_public = match std::net::IpAddr::from(address) {
        std::net::IpAddr::V4(v4) => {
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.octets()[0] == 0
                || v4.octets()[0] >= 240)
        }
        // ::/8 is reserved, and has loopback in it.
        std::net::IpAddr::V6(v6) => {
            !(v6.octets()[0] == 0 || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local())
                && v6.segments()[0] & 0xffc0 != 0xfec0
        }
    };
    is_public.then_some(address)
}

/// What a stranger sent, for the one who sent it.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(TEXT_MAX).collect();
    printable(short.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reports_a_host_once() {
        let told = ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "192.0.2.1"].map(str::to_owned);
        let legal = addresses(&told).expect("addresses");
        assert_eq!(legal.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
        let (before, _) =
            addresses(&["192.0.2.1", "192.0.2.1", "10.0.0.1", "192.0.2.2"].map(str::to_owned)).unwrap_err();
        assert_eq!(before.len(), 1);
    }

    #[test]
    fn only_addresses_that_anybody_may_have_met_are_taken() {
        let check = |host: &str, want: Option<&str>| {
            assert_eq!(public(host).map(|address| address.to_string()).as_deref(), want, "{host}");
        };
        for fine in ["192.0.2.1", "198.18.0.1", "100.64.0.1", "2001:db8::1", "2001:db8:0:1:2:3:4:5"] {
            check(fine, Some(fine));
        }
        check(" 192.0.2.1\n", Some("192.0.2.1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("2001:DB8:0::1", Some("2001:db8::1"));
        let private =
            ["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"];
        let more =
            ["0.0.0.0", "0.1.2.3", "240.0.0.1", "::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "64:ff9b::1"];
        let none = ["", "x", "192.0.2.1; echo", "192.0.2.0/24", "192.0.2", "192.0.2.1.", "2001:db8::1%eth0", "1", "٣"];
        let mapped = ["::ffff:10.0.0.1", "::ffff:127.0.0.1"];
        [&private[..], &more, &none, &mapped].concat().iter().for_each(|host| check(host, None));
    }
}
