//! What people may ask of the desk.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::received::Received;
use crate::decide::claim::{Claim, Claimant};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;

/// What people may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Who is denied, which users or which addresses were tried.
    List {
        /// Of what.
        what: What,
        /// Which of them.
        #[serde(flatten)]
        filter: Filter,
    },
    /// Why an address or a prefix is denied, or is not.
    Why {
        /// Which.
        address: Prefix,
    },
    /// What was decided.
    History {
        /// Only about this prefix and what lies in it.
        prefix: Option<Prefix>,
        /// The newest so many.
        limit: usize,
    },
    /// Deny a prefix.
    Deny {
        /// Which.
        prefix: Prefix,
        /// For how long; `None` = for ever.
        seconds: Option<u64>,
        /// Also what is dangerously wide, or holds `caller`, or is denied for longer already.
        force: bool,
        /// Where the asking person is logged in from.
        caller: Option<IpAddr>,
        /// Why, in that person's words: at most [`super::BECAUSE_MAX`] bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Enforce what `scan` decided over old logs.
    Apply {
        /// The denies, at most [`super::APPLIED_MAX`].
        denied: Vec<(Prefix, Claim)>,
    },
    /// Withdraw denies and clear counts; `None` = all.
    Forgive {
        /// Which.
        prefix: Option<Prefix>,
        /// Who wants it, in a word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
    },
    /// The same for each prefix of which every failure that is kept was one of this user. A request of its own: to a
    /// daemon that does not know it, a `forgive` without a prefix would be one of everybody.
    ForgiveUser {
        /// The name, as the log or as `list users` has it.
        user: String,
        /// Who wants it, in a word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
    },
    /// End the policy's own denies that are so old, but for those that its number of releases made last for ever.
    Purge {
        /// At least so old, in seconds.
        seconds: u64,
    },
    /// Show the allow list, or change it.
    Allow {
        /// What to add or remove.
        entry: Option<String>,
        /// Remove it.
        remove: bool,
        /// Also what is dangerously wide.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
        /// Who wants it, in a word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
    },
    /// Read the configuration anew.
    Reload,
    /// The same, and go back to what was unless somebody asks to [`Request::Keep`] it in time. A request of its own: a daemon
    /// that does not know it must not take it for one that holds for good.
    Try {
        /// Within how many seconds.
        seconds: u64,
    },
    /// Keep the configuration that is tried.
    Keep {
        /// Whether the person who asks is at this machine's own console, and so needs no new session.
        #[serde(default)]
        console: bool,
    },
    /// Lets failures of an address of documentation go all the way, and counts none of them.
    Drill {
        /// How far it is.
        step: Drilling,
        /// By which input; `None` = the first that can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
        /// With an address of IPv6.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ipv6: bool,
    },
    /// Share with the server now.
    Sync,
    /// Take hosts of which a server told. Only the daemon itself asks that.
    #[serde(skip)]
    Received(Received),
    /// Every record as it is folded, from now on.
    Tap,
    /// Every decision as it is made, from now on.
    Watch,
    /// What was decided after the decision of number `id`, the oldest first: what answers [`Request::Watch`].
    Since {
        /// The number.
        id: i64,
    },
}

impl Request {
    /// Whether it is answered beside the engine: by who looks at the desk, see [`Look`](super::Look).
    pub fn is_aside(&self) -> bool {
        matches!(self, Request::List { .. } | Request::Why { .. } | Request::History { .. })
    }

    /// Whether its answer may be long.
    pub fn is_list(&self) -> bool {
        self.is_aside() && !matches!(self, Request::Why { .. })
    }

    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        match self {
            Request::Deny { .. }
            | Request::Apply { .. }
            | Request::Forgive { .. }
            | Request::ForgiveUser { .. }
            | Request::Purge { .. }
            | Request::Reload
            | Request::Sync
            | Request::Received(_)
            | Request::Try { .. }
            | Request::Keep { .. }
            | Request::Drill { .. } => false,
            Request::Allow { entry, .. } => entry.is_none(),
            _ => true,
        }
    }
}

/// What is asked of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drilling {
    /// Begin one.
    Begin,
    /// How it goes.
    Look,
    /// End it: what it denied is denied no more.
    End,
}

/// What a row of `list` must be; without any, all are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// In this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Prefix>,
    /// Denied because of this class, or with failures of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Denied because this one wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Claimant>,
    /// Of this user, by its bytes or as `list users` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Among the first so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What `list` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Denied prefixes.
    Hosts,
    /// Users that were tried.
    Users,
    /// Counted prefixes.
    Addresses,
    /// Users with the addresses from which they were tried, or logged in.
    Pairs,
    /// Good logins from where too many had failed.
    Suspicious,
    /// Prefixes that were denied and released, how often and when last.
    Released,
}
