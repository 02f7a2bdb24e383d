//! How it goes with sharing: what was sent, what came, and what was not taken.

use serde::{Deserialize, Serialize};

use super::At;
use crate::decide::engine::received::Refused;

/// Hosts of which a server told and that are not denied for that, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotTaken {
    /// It told of them before, or our own logs denied them, and that holds.
    pub known: u64,
    /// They are no addresses.
    pub illegal: u64,
    /// They are no hosts of the internet.
    pub special: u64,
    /// They are on the allow list.
    pub allowed: u64,
    /// A person forgave them.
    pub forgiven: u64,
    /// Somebody logs in from there.
    pub in_use: u64,
    /// This machine itself connects there.
    pub ours: u64,
    /// There are too many, in one answer or in all.
    pub too_many: u64,
}

impl NotTaken {
    /// Counts one.
    pub fn add(&mut self, why: Refused) {
        *match why {
            Refused::Known => &mut self.known,
            Refused::Special => &mut self.special,
            Refused::Allowed => &mut self.allowed,
            Refused::Forgiven => &mut self.forgiven,
            Refused::InUse => &mut self.in_use,
            Refused::Ours => &mut self.ours,
            Refused::Full => &mut self.too_many,
        } += 1;
    }

    /// Counts all that another one has.
    pub fn add_all(&mut self, more: &NotTaken) {
        self.known += more.known;
        self.illegal += more.illegal;
        self.special += more.special;
        self.allowed += more.allowed;
        self.forgiven += more.forgiven;
        self.in_use += more.in_use;
        self.ours += more.ours;
        self.too_many += more.too_many;
    }

    /// Each that is not zero, in words.
    pub fn words(&self) -> Vec<String> {
        let all = [
            (self.known, "known already"),
            (self.illegal, "no addresses"),
            (self.special, "no hosts of the internet"),
            (self.allowed, "on the allow list"),
            (self.forgiven, "forgiven here"),
            (self.in_use, "of somebody who logs in here"),
            (self.ours, "whom this machine connects to"),
            (self.too_many, "too many"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// What became of hosts of which a server told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// How many are denied now that were not on its word.
    pub denied: u64,
    /// Those that are not.
    pub refused: NotTaken,
}

/// What one round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synced {
    /// The server, by host and port.
    pub server: String,
    /// Hosts that it took from us; `None` = it is to have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Hosts that are ours and that it does not take, or of which no address is known.
    pub unsent: u64,
    /// Hosts of which it told; `None` = none are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// What became of them.
    #[serde(flatten)]
    pub taken: Taken,
}

/// How it goes with sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sync {
    /// With which server, by host and port.
    pub server: String,
    /// Whether it is told whom we deny.
    pub upload: bool,
    /// Whether those are denied of whom it tells.
    pub download: bool,
    /// Hosts that it took since the daemon began.
    pub sent: u64,
    /// Hosts that it does not take, or of which no address is known.
    pub unsent: u64,
    /// Hosts that wait to be sent.
    pub waiting: u64,
    /// Hosts of which it told since the daemon began.
    pub received: u64,
    /// What became of them.
    #[serde(flatten)]
    pub taken: Taken,
    /// How many are denied now on its word.
    pub denied_now: u64,
    /// When a round went well last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<At>,
    /// Since when it is tried, where none ever went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_since: Option<At>,
    /// When the next one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<At>,
    /// Why none goes well, for reading, cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<At>,
}
