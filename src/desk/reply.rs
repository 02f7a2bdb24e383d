//! What the desk answers, as types: the daemon writes them to its socket, the command line reads them back, and every
//! screen is a function of them.
//!
//! Their JSON is what `--json` prints, so a key that has been shown keeps its name. What is not there when it is read
//! is its default: the other side may be a version that does not know it yet. What is text of a log is shown by
//! [`crate::text::shown`], which puts its bytes beside it where they differ.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::decide::claim::Claimant;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::session::Outcome;
use crate::decide::state::{self, Who};
pub use crate::deny::reconciler::Status as BackEnd;
use crate::intake::{self, Seen};
use crate::store;
pub use crate::store::{Follower, Restored};
pub use crate::text::At;
use crate::text::shown;
use known::account;

mod drill;
mod known;
mod status;
mod sync;

pub use drill::{Drill, Way};
pub use known::{
    Address, Elsewhere, Evidence, Held, Host, Pair, Released, Session, Suspicious, User, Verdict, Wave, Why,
};
pub use status::{Input, Mail, Namesake, Output, Sender, Shape, Spared, Status, Suppressed, Trial, WorkDir};
pub use sync::{NotTaken, Sync, Synced, Taken};

/// The answer to one request, whichever it was.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `status`.
    Status(Box<Status>),
    /// To `list hosts`.
    Hosts(Vec<Host>),
    /// To `list users`.
    Users(Vec<User>),
    /// To `list addresses`.
    Addresses(Vec<Address>),
    /// To `list pairs`.
    Pairs(Vec<Pair>),
    /// To `list released`.
    Released(Vec<Released>),
    /// To `list suspicious`.
    Suspicious(Vec<Suspicious>),
    /// To `why`.
    Why(Box<Why>),
    /// To `history`.
    History(Vec<Decided>),
    /// To `deny`.
    Denied(Denied),
    /// To `scan --apply`.
    Applied(Applied),
    /// To `forgive`.
    Forgiven(Forgiven),
    /// To `allow` with no entry.
    AllowList(AllowList),
    /// To `allow ENTRY`.
    Allowed(Allowed),
    /// To `allow ENTRY --remove`.
    Removed(Removed),
    /// To `reload`.
    Reloaded(Reloaded),
    /// To `keep`.
    Kept(Kept),
    /// To `drill`.
    Drill(Box<Drill>),
    /// To `sync`.
    Synced(Synced),
    /// To who received hosts.
    Taken(Taken),
}

/// A line of the socket that answers a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer<T>,
    /// Whether nothing is enforced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether what was done holds, but is not written yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwritten: bool,
}

/// What a person gets who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// Why not, for the person who asked.
    Error(String),
}

/// Any of them as one line of JSON, its keys in the order of the alphabet.
pub fn json(reply: &impl Serialize) -> String {
    serde_json::to_value(reply).unwrap_or_default().to_string()
}

/// The line of the socket that has a reply, which may be long: a row at a time, since as values of JSON all rows would take
/// several times the memory.
pub fn line(reply: Reply, dry_run: bool) -> String {
    let dry_run = if dry_run { r#""dry_run":true,"# } else { "" };
    let mut line = format!(r#"{{{dry_run}"ok":"#);
    match reply {
        Reply::Hosts(all) => rows(&mut line, all),
        Reply::Users(all) => rows(&mut line, all),
        Reply::Addresses(all) => rows(&mut line, all),
        Reply::Pairs(all) => rows(&mut line, all),
        Reply::Suspicious(all) => rows(&mut line, all),
        Reply::History(all) => rows(&mut line, all),
        reply => line.push_str(&json(&reply)),
    }
    line.push('}');
    line
}

fn rows<T: Serialize>(line: &mut String, all: Vec<T>) {
    line.push('[');
    for (index, row) in all.into_iter().enumerate() {
        line.push_str(if index > 0 { "," } else { "" });
        line.push_str(&json(&row));
    }
    line.push(']');
}

/// Something of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerClass<T> {
    /// [`Class::Invalid`].
    pub invalid: T,
    /// [`Class::Valid`].
    pub valid: T,
    /// [`Class::Root`].
    pub root: T,
    /// [`Class::Restricted`].
    pub restricted: T,
    /// [`Class::Probe`].
    pub probe: T,
}

impl<T> PerClass<T> {
    /// What `of` has for each class.
    pub fn of(of: impl FnMut(Class) -> T) -> Self {
        let [invalid, valid, root, restricted, probe] = Class::ALL.map(of);
        PerClass { invalid, valid, root, restricted, probe }
    }

    /// All of them, in the order of [`Class::ALL`].
    pub fn all(self) -> [T; 5] {
        [self.invalid, self.valid, self.root, self.restricted, self.probe]
    }
}

/// A decision: a row of `history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// Its number: each is greater than the one before.
    #[serde(default, skip_serializing_if = "is_unnumbered")]
    pub id: i64,
    /// When.
    pub at: At,
    /// About which prefix.
    pub prefix: Option<Prefix>,
    /// What.
    #[serde(flatten)]
    pub what: Decision,
}

fn is_unnumbered(id: &i64) -> bool {
    *id == 0
}

impl From<store::Decided> for Decided {
    fn from(one: store::Decided) -> Self {
        Decided { id: one.id, at: At(one.at), prefix: one.prefix, what: one.decision.into() }
    }
}

/// What was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Decision {
    /// A prefix was denied.
    Denied {
        /// Who wants it.
        by: Claimant,
        /// The class that decided it, if the policy did.
        class: Option<Class>,
        /// That class' count.
        count: u32,
        /// Until when; `None` = for ever.
        until: Option<At>,
        /// Whether it was enforced when it was decided.
        enforced: bool,
        /// Why, in the words of the person who wants it; or of which wave it is part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Box<str>>,
    },
    /// A claim ended.
    Released {
        /// Whose.
        by: Claimant,
        /// Why.
        why: state::Why,
        /// Who did it, where a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Who,
    },
    /// A prefix came to be over a threshold, and is not denied because somebody is logged in from there.
    Spared {
        /// Who is logged in: for reading.
        user: String,
        /// The name's bytes, where they differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_b64: Option<String>,
        /// Of which class.
        class: Class,
        /// That class' count.
        count: u32,
        /// Above how many it is denied.
        most: u32,
    },
    /// A slow attack by many began, or is over.
    Wave {
        /// Whether it is over.
        over: bool,
        /// Which.
        #[serde(flatten)]
        wave: Wave,
    },
    /// An entry came onto the allow list, or left it.
    Allowed {
        /// As it was written.
        entry: String,
        /// Whether it left.
        removed: bool,
    },
    /// Somebody logged in from where too many failed.
    Suspicious {
        /// From where.
        address: IpAddr,
        /// As whom, for reading.
        user: String,
        /// The name's bytes, where they differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_b64: Option<String>,
        /// By what: `a password`, `a key`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
    },
}

impl From<store::Decision> for Decision {
    fn from(decision: store::Decision) -> Self {
        match decision {
            store::Decision::Denied { by, class, count, until, enforced, because, .. } => {
                Decision::Denied { by, class, count, until: until.map(At), enforced, because }
            }
            store::Decision::Released { by, why, who } => Decision::Released { by, why, who },
            store::Decision::Spared { user, class, count, most } => {
                let (user, user_b64) = shown(&user);
                Decision::Spared { user, user_b64, class, count, most }
            }
            store::Decision::Wave { user, over, addresses, hosts, since } => {
                let (user, user_b64) = account(&user);
                Decision::Wave { over, wave: Wave { user, user_b64, addresses, hosts, since: At(since), last: None } }
            }
            store::Decision::Allowed { entry, removed } => Decision::Allowed { entry, removed },
            store::Decision::Suspicious { address, user, method } => {
                let (user, user_b64) = shown(&user);
                Decision::Suspicious { address, user, user_b64, method: method.map(String::from) }
            }
        }
    }
}

/// That a person's deny is in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Denied {
    /// Of which prefix.
    pub prefix: Prefix,
    /// Until when it is denied, whoever wants it longest; `None` = for ever.
    pub until: Option<At>,
    /// What that does not do, where it drops nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a new configuration changed of what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Inputs that are new.
    pub begun: Vec<String>,
    /// Inputs that are not read any more.
    pub ended: Vec<String>,
    /// Inputs that are read otherwise.
    pub changed: Vec<String>,
    /// Whether the back ends are other ones, or were made otherwise.
    pub back_ends: bool,
    /// That it is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
}

/// That a configuration which was tried holds for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Since when it was tried.
    pub tried_since: At,
    /// Why it is not kept for when its file is broken, where that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
}

/// What came of the denies of a scan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// How many were new.
    pub denied: usize,
}

/// What was forgiven.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forgiven {
    /// Who is let in again.
    pub released: Vec<Prefix>,
    /// How many counted prefixes begin anew.
    pub counts_cleared: usize,
    /// To `forgive --user`: who stays denied, since other users were tried from there too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Prefix>,
}

/// The allow list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllowList {
    /// Its entries in the configuration.
    pub configured: Vec<String>,
    /// Those that `allow` added.
    pub added: Vec<String>,
    /// What is known of the host names among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
}

/// A host name on the allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Its addresses, which are allowed.
    pub addresses: Vec<IpAddr>,
    /// When it resolved to them last; `None` = never.
    pub resolved: Option<At>,
    /// Since when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<At>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// That an entry is on the allow list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Allowed {
    /// Which.
    pub allowed: String,
    /// Who is let in again by that.
    pub released: Vec<Prefix>,
    /// It was on the list before.
    pub known: bool,
    /// The configuration has it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
}

/// That an entry is off the allow list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removed {
    /// Which.
    pub removed: String,
    /// The configuration has it still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
}

/// A line of `tap`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tapped {
    /// So many records went by too fast to be shown.
    Missed {
        /// How many.
        missed: u64,
    },
    /// A record as it was folded.
    Record(Box<Record>),
}

/// A record as it was folded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The input.
    pub source: String,
    /// Its stamp.
    pub time: Option<At>,
    /// When it came.
    pub received: At,
    /// The host that it claims.
    pub host: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_b64: Option<String>,
    /// The program.
    pub identifier: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier_b64: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// The message.
    pub message: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_b64: Option<String>,
    /// What it amounts to.
    pub outcome: Outcome,
    /// The address that it is about.
    pub address: Option<IpAddr>,
    /// How many attempts it adds.
    pub attempts: u32,
}

impl Record {
    /// What `tap` shows of a record that an input brought.
    pub fn of(seen: &Seen<'_>, source: &str) -> Self {
        let record = seen.record;
        let (host, host_b64) = shown(record.host);
        let (identifier, identifier_b64) = shown(record.identifier);
        let (message, message_b64) = shown(record.message);
        Record {
            source: source.to_owned(),
            time: record.event.map(At),
            received: At(record.received),
            host,
            host_b64,
            identifier,
            identifier_b64,
            pid: record.pid,
            message,
            message_b64,
            outcome: seen.outcome(),
            address: intake::address(seen),
            attempts: seen.folded.map_or(0, |folded| folded.attempts()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;
    use crate::desk::Request;

    /// Requests and replies as the daemon before these types wrote them, each request with its line of the socket.
    const REPLIES: &str = include_str!("../../tests/data/replies.tsv");

    /// A reply read as a type, and written again.
    fn again<T: DeserializeOwned + Serialize>(text: &str) -> String {
        json(&serde_json::from_str::<T>(text).expect(text))
    }

    #[test]
    fn a_long_reply_is_written_as_any_other() {
        let pair = |user: &str| Pair {
            user: user.to_owned(),
            user_b64: None,
            account: crate::detect::event::Account::Known,
            prefix: "192.0.2.7".parse().expect("an address"),
            attempts: 3,
            last: At(inputs::record::Timestamp::from_secs(1)),
            login: None,
            denied: true,
        };
        for pairs in [vec![], vec![pair("al")], vec![pair("al"), pair("\"")]] {
            for dry_run in [false, true] {
                let reply = Reply::Pairs(pairs.clone());
                let envelope = Envelope { answer: Answer::Ok(reply.clone()), dry_run, unwritten: false };
                assert_eq!(line(reply, dry_run), json(&envelope));
            }
        }
    }

    /// So an older command line understands this daemon, and this command line an older daemon.
    #[test]
    fn replies_are_what_they_were() {
        for line in REPLIES.lines() {
            let (asked, reply) = line.split_once('\t').expect("two columns");
            let request: Request = serde_json::from_str(asked).expect(asked);
            let mut written = serde_json::to_value(&request).expect("a request");
            // What came since.
            for denied in written.get_mut("denied").and_then(Value::as_array_mut).into_iter().flatten() {
                denied[1].as_object_mut().expect("a claim").remove("reason").expect("a reason");
            }
            assert_eq!(written, serde_json::from_str::<Value>(asked).expect(asked));
            let got = match &request {
                Request::Status => again::<Envelope<Status>>(reply),
                Request::List { what: crate::desk::What::Hosts, .. } => again::<Envelope<Vec<Host>>>(reply),
                Request::List { what: crate::desk::What::Users, .. } => again::<Envelope<Vec<User>>>(reply),
                Request::List { what: crate::desk::What::Addresses, .. } => again::<Envelope<Vec<Address>>>(reply),
                Request::List { what: crate::desk::What::Pairs, .. } => again::<Envelope<Vec<Pair>>>(reply),
                Request::List { what: crate::desk::What::Released, .. } => again::<Envelope<Vec<Released>>>(reply),
                Request::List { what: crate::desk::What::Suspicious, .. } => again::<Envelope<Vec<Suspicious>>>(reply),
                Request::Why { .. } => again::<Envelope<Why>>(reply),
                Request::History { .. } | Request::Since { .. } => again::<Envelope<Vec<Decided>>>(reply),
                Request::Watch => again::<Decided>(reply),
                Request::Deny { .. } => again::<Envelope<Denied>>(reply),
                Request::Apply { .. } => again::<Envelope<Applied>>(reply),
                Request::Forgive { .. } | Request::ForgiveUser { .. } | Request::Purge { .. } => {
                    again::<Envelope<Forgiven>>(reply)
                }
                Request::Allow { entry: None, .. } => again::<Envelope<AllowList>>(reply),
                Request::Allow { remove: true, .. } => again::<Envelope<Removed>>(reply),
                Request::Allow { .. } => again::<Envelope<Allowed>>(reply),
                Request::Reload | Request::Try { .. } => again::<Envelope<Reloaded>>(reply),
                Request::Keep { .. } => again::<Envelope<Kept>>(reply),
                Request::Drill { .. } => again::<Envelope<Drill>>(reply),
                Request::Sync => again::<Envelope<Synced>>(reply),
                Request::Received(_) => unreachable!("it goes over no socket"),
                Request::Tap if reply.contains("\"ok\"") => again::<Envelope<()>>(reply),
                Request::Tap => again::<Tapped>(reply),
            };
            // What came since.
            let got = got.replace(r#""dry_run":false,"#, "");
            assert_eq!(got, reply, "{asked}");
        }
    }
}
