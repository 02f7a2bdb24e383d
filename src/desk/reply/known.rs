//! What is known of users and addresses: the rows of `list`, and what `why` says.

use std::fmt;
use std::net::IpAddr;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::{At, PerClass};
use crate::decide::claim::{Claimant, Reason};
use crate::decide::policy::{self, Class};
use crate::decide::prefix::Prefix;
use crate::decide::wave;
use crate::detect::event::Account;
use crate::text::shown;

/// A row of `list hosts`: a denied prefix.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Which.
    pub prefix: Prefix,
    /// Since when it is denied.
    pub since: Option<At>,
    /// Until when; `None` = for ever.
    pub until: Option<At>,
    /// The class that decided it, if the policy did.
    pub class: Option<Class>,
    /// That class' count.
    pub count: u32,
    /// Who wants it.
    pub claimants: Vec<Claimant>,
    /// How often it was released before.
    pub times: u32,
    /// The hosts that saw it fail.
    pub hosts: Vec<String>,
    /// Whether it is enforced.
    pub enforced: bool,
    /// The last good login from there within 30 days, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<At>,
    /// Why, in the words of the person who denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Box<str>>,
    /// Packets that were refused since the sets were last written, where they are counted. `list` asks the kernel for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// A row of `list users`: a user that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The name, for reading.
    pub user: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// What is known of the account.
    pub account: Account,
    /// How often.
    pub attempts: u64,
    /// The last time; absent where an earlier version counted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<At>,
}

/// A row of `list released`: a prefix that had served its deny.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Released {
    /// Which.
    pub prefix: Prefix,
    /// How often.
    pub times: u32,
    /// The last time; absent where an earlier version released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<At>,
}

/// A row of `list addresses`: a prefix that is counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Address {
    /// Which.
    pub prefix: Prefix,
    /// Its failures.
    #[serde(flatten)]
    pub counts: PerClass<u32>,
    /// Good logins.
    pub successes: u32,
    /// The last failure.
    pub last: At,
    /// Whether it is denied.
    pub denied: bool,
}

/// A row of `list pairs`: a user and from where it was tried, or logged in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// The name, for reading.
    pub user: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// What is known of the account.
    #[serde(default)]
    pub account: Account,
    /// From where.
    pub prefix: Prefix,
    /// How often it failed since it was forgiven.
    pub attempts: u64,
    /// The last time that it failed or logged in.
    pub last: At,
    /// The last good login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<At>,
    /// Whether it is denied.
    pub denied: bool,
}

/// A row of `list suspicious`: a user who logged in from where too many had failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suspicious {
    /// From where.
    pub address: IpAddr,
    /// As whom, for reading.
    pub user: String,
    /// The name's bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// How often.
    pub logins: u64,
    /// The last time.
    pub last: At,
}

/// The verdict on an address, or on a prefix, and what it rests on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Why {
    /// Which.
    pub address: Prefix,
    /// What.
    pub verdict: Verdict,
    /// The prefix that is denied, else the one that it is counted by.
    pub prefix: Prefix,
    /// Its failures, but those that are too old.
    pub tallies: PerClass<u32>,
    /// Above how many it is denied.
    pub thresholds: PerClass<Threshold>,
    /// When the deny ends; `None` = never.
    pub until: Option<At>,
    /// The entry of the allow list.
    pub allowed_by: Option<String>,
    /// Who wants the deny.
    pub by: Option<Vec<Claimant>>,
    /// The class that decided it, if the policy did.
    pub class: Option<Class>,
    /// From how many of its /64s the failures came, or more, if a wider net is denied; 0 elsewhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parts: u16,
    /// When the policy decided it, if it did.
    pub since: Option<At>,
    /// How often it was released before.
    pub times: u32,
    /// Good logins.
    pub successes: u32,
    /// Packets that were refused since the sets were last written, where they are counted. `why` asks the kernel for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// What refuses it that is not ours, or may. `why` looks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// Every claim that holds the address, those of the widest prefix first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Held>,
    /// When it was forgiven last: what failed until then counts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgiven: Option<At>,
    /// The last failures that were counted.
    pub evidence: Vec<Evidence>,
    /// Who is logged in from there, as far as sound records tell: the first so many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
    /// The slow attacks by many in which it takes part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// On how many occasions it tried, where it takes part in one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub occasions: u16,
    /// Who is denied inside it, where it is wider than what is counted: the first so many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_inside: Vec<Host>,
    /// Who is counted inside it, in the same way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted_inside: Vec<Address>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// A line of a file that libwrap reads, or a rule of a firewall, that refuses an address and is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Where it stands: `line 17 of /etc/hosts.deny`.
    pub place: String,
    /// What stands there, escaped for terminals.
    pub text: String,
    /// What has to be so that sshd refuses by it; empty if nothing has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub only: String,
}

/// A session whose end was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// As whom, for reading.
    pub user: String,
    /// The name's bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// Since when.
    pub since: At,
}

/// A slow attack by many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// On which account, for reading; absent = on our hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name's bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// How many addresses took part.
    pub addresses: u32,
    /// On how many hosts; 32 may be more.
    pub hosts: u32,
    /// Since when: the day when the first of them came.
    pub since: At,
    /// The last try, while it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<At>,
}

/// An account as it is shown, none where it is our hosts.
pub(super) fn account(user: &[u8]) -> (Option<String>, Option<String>) {
    let (text, exact) = shown(user);
    (Some(text).filter(|_| !user.is_empty()), exact)
}

impl Wave {
    /// What is shown of one that is on.
    pub(in crate::desk) fn of(user: &[u8], wave: &wave::Wave) -> Self {
        let (user, user_b64) = account(user);
        let at = |seconds: u32| At(Timestamp::from_secs(i64::from(seconds)));
        let (addresses, hosts, since, last) = (wave.addresses, wave.hosts(), at(wave.since), Some(at(wave.last)));
        Wave { user, user_b64, addresses, hosts, since, last }
    }

    /// What it is on, for people.
    pub fn on(&self) -> &str {
        self.user.as_deref().unwrap_or("our hosts")
    }

    /// Who does what, for people: `3214 addresses tried root on 5 hosts`.
    pub fn told(&self) -> String {
        let Wave { user, addresses, hosts, .. } = self;
        let addresses = format!("{addresses} {}", if *addresses == 1 { "address" } else { "addresses" });
        let or_more = if *hosts == 32 { " or more" } else { "" };
        let on = format!("{hosts}{or_more} {}", if *hosts == 1 { "host" } else { "hosts" });
        match user {
            Some(user) => format!("{addresses} tried {user} on {on}"),
            None => format!("{addresses} tried one host after the other, {on} in all"),
        }
    }
}

/// A claim that holds an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// By which prefix.
    pub prefix: Prefix,
    /// Who wants it.
    pub by: Claimant,
    /// Since when.
    pub since: At,
    /// When it ends; `None` = never.
    pub until: Option<At>,
    /// Whether it is enforced.
    pub enforced: bool,
    /// Why.
    pub reason: Reason,
}

/// What `why` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is never denied.
    Allowed,
    /// It is denied.
    Denied,
    /// It has failed.
    Counted,
    /// Nothing is known against it.
    Unknown,
}

/// A threshold: a number, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Threshold {
    /// The class never denies.
    Off,
    /// What is above it is denied.
    #[serde(untagged)]
    Above(u32),
}

impl From<Option<policy::Threshold>> for Threshold {
    fn from(threshold: Option<policy::Threshold>) -> Self {
        threshold.map_or(Threshold::Off, |threshold| Threshold::Above(threshold.0))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::Above(count) => count.fmt(f),
            Threshold::Off => f.write_str("off"),
        }
    }
}

/// A failure that was counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: At,
    /// Which input delivered it.
    pub source: String,
    /// The host that saw it.
    pub host: String,
    /// The message, for reading.
    pub message: String,
    /// Its bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_b64: Option<String>,
    /// Whether it was forgiven since.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forgiven: bool,
}
