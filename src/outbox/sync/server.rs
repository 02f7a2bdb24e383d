//! A server that speaks DenyHosts' protocol: what is asked of it, and what it answers.
//!
//! Nothing that it says is believed: how much it is, how long it takes and what stands in it have limits here, and what it
//! says of hosts is judged by the engine.

use std::net::IpAddr;

use super::super::http::Post;
use super::super::post::{said, secret};
use crate::config::Sync;
use crate::xmlrpc::{Answer, Call};

/// Bytes of an answer, packed and unpacked: some 60 000 hosts.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// What a server calls a host that it does not take.
const ILLEGAL_HOST: i64 = 101;
/// What it calls hosts that it did not add, of which one may be the reason: denyhosts_sync says so of an address that is none to
/// it, and where its database takes no IPv6; older ones say that they cannot read it.
const NOT_ADDED: [i64; 2] = [104, 8002];
/// What it calls a time that has not come.
const ILLEGAL_TIMESTAMP: i64 = 103;

/// A server, and how it is spoken to.
pub(super) struct Server<'a> {
    sync: &'a Sync,
    headers: String,
}

/// Why it did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// One of the hosts is none to it; its words.
    Host(String),
    /// It took not all of them, perhaps because of one, perhaps for a reason of its own; its words.
    Some(String),
    /// The time that it gave is one that has not come.
    Timestamp,
    /// All else, for reading.
    Other(String),
}

impl Failed {
    /// For reading.
    pub(super) fn words(self) -> String {
        match self {
            Failed::Host(text) => format!("fault {ILLEGAL_HOST}: {text}"),
            Failed::Timestamp => format!("fault {ILLEGAL_TIMESTAMP}: its clock was set back"),
            Failed::Some(text) | Failed::Other(text) => text,
        }
    }
}

impl Server<'_> {
    /// The server of a configuration, which has one.
    pub(super) fn new(sync: &Sync) -> Result<Server<'_>, String> {
        let token = sync.token_file.as_deref().map(secret).transpose()?;
        let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        Ok(Server { sync, headers: format!("Content-Type: text/xml\r\nAccept-Encoding: gzip\r\n{token}") })
    }

    /// Tells it whom we deny.
    pub(super) fn add_hosts(&self, hosts: &[IpAddr]) -> Result<(), Failed> {
        self.call(&Call::AddHosts(texts(hosts))).map(|_| ())
    }

    /// Asks it whom others denied since it had this time; returns them as it says, and its time now.
    pub(super) fn get_new_hosts(&self, since: u64, added: &[IpAddr]) -> Result<(Vec<String>, u64), Failed> {
        let Sync { threshold, resiliency, .. } = *self.sync;
        // DenyHosts promised that it means nothing then, and its servers did not keep that.
        let resiliency = resiliency.filter(|_| threshold > 1).map_or(0, |time| time.as_secs());
        let call = Call::GetNewHosts { since, threshold, added: texts(added), resiliency };
        match self.call(&call)? {
            Answer::NewHosts { timestamp, hosts } => Ok((hosts, timestamp)),
            _ => Err(Failed::Other(
                "it does not say whom others denied: is that a server of DenyHosts' kind?".to_owned(),
            )),
        }
    }

    /// Tells it the version of denyd. Whether it wants to know is its affair.
    pub(super) fn version_report(&self) {
        let versions = vec!["-".to_owned(), format!("denyd {}", env!("CARGO_PKG_VERSION"))];
        let _ = self.call(&Call::VersionReport(versions));
    }

    fn call(&self, call: &Call) -> Result<Answer, Failed> {
        let other = |text: &str| Failed::Other(said(text));
        let Some(url) = &self.sync.server else { return Err(other("no server is configured")) };
        let (body, adds) = (call.to_xml(), matches!(call, Call::AddHosts(_)));
        let ca_file = self.sync.ca_file.as_deref();
        let post = Post { url, headers: &self.headers, body: &body, ca_file, wanted: ANSWER_BYTES };
        let answer = post.send().map_err(|error| other(&error))?;
        match answer.code {
            200 => {}
            300..=399 => {
                let what = "it sends us elsewhere, and redirects are not followed";
                return Err(other(&format!("HTTP {}: {what}", answer.code)));
            }
            401 | 403 => return Err(other(&format!("HTTP {}: it does not know us: see to `token_file`", answer.code))),
            404 => {
                return Err(other(
                    "HTTP 404: nothing is there: see to the path in `server`, which is /RPC2 most often",
                ));
            }
            429 => return Err(other("HTTP 429: we ask too often")),
            code => return Err(other(&format!("HTTP {code}"))),
        }
        let text = String::from_utf8(answer.body).map_err(|_| other("its answer is no text in UTF-8"))?;
        match Answer::from_xml(&text).map_err(|error| other(&format!("its answer cannot be read: {error}")))? {
            Answer::Fault { code: ILLEGAL_HOST, text } => Err(Failed::Host(said(&text))),
            Answer::Fault { code: ILLEGAL_TIMESTAMP, .. } => Err(Failed::Timestamp),
            Answer::Fault { code, text } if adds && NOT_ADDED.contains(&code) => {
                Err(Failed::Some(said(&format!("fault {code}: {text}"))))
            }
            Answer::Fault { code, text } => Err(other(&format!("fault {code}: {text}"))),
            answer => Ok(answer),
        }
    }
}

fn texts(hosts: &[IpAddr]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}
