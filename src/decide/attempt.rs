//! One attempt: the only thing that tallies, evidence and `explain` take, whenever and by whomever it was decided.

use std::borrow::Cow;

use inputs::record::{SourceId, Timestamp};

use super::policy::{Class, Policy};
use super::prefix::Prefix;
use super::session::line::{HostId, Outcome};
use crate::detect::address::Address;
use crate::detect::event::Account;

/// The classes that one attempt counts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes([Option<Class>; 2]);

impl Classes {
    /// Root, unknown or valid; a restricted user is restricted *instead of* valid, *besides* the others.
    pub fn of(user: &[u8], account: Account, policy: &Policy) -> Self {
        let base = match account {
            _ if user == b"root" => Class::Root,
            Account::Unknown => Class::Invalid,
            Account::Known | Account::Unsaid => Class::Valid,
        };
        match (base, policy.restricted.contains(user)) {
            (base, false) => Classes([Some(base), None]),
            (Class::Valid, true) => Classes([Some(Class::Restricted), None]),
            (base, true) => Classes([Some(base), Some(Class::Restricted)]),
        }
    }

    /// A probe's class.
    pub fn probe() -> Self {
        Classes([Some(Class::Probe), None])
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        self.0.into_iter().flatten()
    }
}

/// An attempt of a peer, or several that one record tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Who made it.
    pub peer: Address,
    /// The prefix by which it is counted.
    pub prefix: Prefix,
    /// On which origin host.
    pub host: HostId,
    /// Which input told.
    pub source: SourceId,
    /// When it happened.
    pub at: Timestamp,
    /// From when a deny lasts that it leads to: from when its line came, where nobody can tell yet how late that was.
    pub from: Timestamp,
    /// As whom; empty if no line named one.
    pub user: Cow<'a, [u8]>,
    /// What is known of the account by now.
    pub account: Account,
    /// What it counts as.
    pub classes: Classes,
    /// How often; 0 where a sound source only vouches for what was counted before.
    pub times: u32,
    /// How many more than before are certain: strangers cannot have made them up.
    pub sound: u32,
}

impl Attempt<'_> {
    /// Whether no login was begun: probes count in a class of their own, and are no attempts of a user.
    pub fn is_probe(&self) -> bool {
        self.classes == Classes::probe()
    }
}

/// What a record amounted to, for those who show it.
#[derive(Clone, Debug)]
pub struct Folded<'a> {
    /// What it is.
    pub outcome: Outcome,
    /// The peer: the line's own address, else its connection's.
    pub peer: Option<Address>,
    /// What is known of the account by now.
    pub account: Account,
    /// What counts of it, if anything does, for who believes every line; with what of that is certain, where it is of
    /// the same user and class.
    pub attempt: Option<Attempt<'a>>,
    /// What is certain beside it.
    pub(super) certain: Option<Box<Attempt<'a>>>,
    /// Somebody logged in, for certain.
    pub(super) logged_in: bool,
}

/// What no record brought.
impl Default for Folded<'_> {
    fn default() -> Self {
        Folded {
            outcome: Outcome::Ignored,
            peer: None,
            account: Account::Unsaid,
            attempt: None,
            certain: None,
            logged_in: false,
        }
    }
}

impl Folded<'_> {
    /// How many attempts it adds; probes are none.
    pub fn attempts(&self) -> u32 {
        self.attempt.as_ref().filter(|attempt| !attempt.is_probe()).map_or(0, |attempt| attempt.times)
    }

    /// The classes in which it counts; empty where it adds nothing.
    pub fn classes(&self) -> Classes {
        self.attempt.as_ref().map_or(Classes::default(), |attempt| attempt.classes)
    }
}
