//! Whom a server tells of, and whom it may be told of.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::Desk;
use super::reply::Taken;
use crate::decide::claim::{Claim, Claimant, Reason};
use crate::decide::engine::received::Refused;
use crate::decide::engine::{Command, Input};
use crate::decide::prefix::Prefix;
use crate::detect::special::is_shared;
use crate::store::{Decision, StoreError};

/// The note that says how far a server's list was taken.
pub const NOTE: &str = "sync-timestamp";
/// Who forgives whom this machine connects to, as the history says it.
const WE: &str = "denyd, which connects there";

/// Hosts of which a server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The server, by host and port.
    pub server: String,
    /// The hosts.
    pub hosts: Vec<IpAddr>,
    /// How many had reported each, at least.
    pub reporters: u32,
    /// How long each is denied, `None` inside = for ever; `None` = as others are.
    pub deny_for: Option<Option<Duration>>,
    /// How many may be denied at once on a server's word.
    pub most: usize,
    /// Whom this machine itself connects to: they are not denied for that, and no longer if they were.
    pub ours: Vec<IpAddr>,
    /// By the server's clock, in seconds since the epoch: all that it told until then is taken with these. It is kept with
    /// the same commit. `None` = there is more.
    pub timestamp: Option<u64>,
}

/// How far the list of a server was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The server, by host and port; empty = whichever there is, as DenyHosts did not keep that.
    pub server: String,
    /// By its clock, in seconds since the epoch.
    pub timestamp: u64,
}

/// Whom a server may be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// What was denied, by the decision's number.
    pub denied: Vec<(i64, Prefix)>,
    /// The last decision that was looked at.
    pub last: i64,
    /// Whether there is none behind it.
    pub is_all: bool,
}

impl Desk {
    /// Denies whom a server told of, where nothing speaks against that.
    pub(super) fn received(&mut self, told: &Received, now: Timestamp) -> Taken {
        let mut taken = Taken::default();
        let ours: HashSet<Prefix> = told.ours.iter().map(|one| self.engine.policy.prefix((*one).into())).collect();
        let withdrawn = Command::Distrust(Some(ours.iter().copied().collect()), Some(WE.into()));
        self.engine.step(now, Input::Command(withdrawn));
        for host in &told.hosts {
            let judged = match self.engine.receives(host.to_canonical(), now) {
                Ok(prefix) if ours.contains(&prefix) => Err(Refused::Ours),
                Ok(_) if self.engine.state.received >= told.most => Err(Refused::Full),
                judged => judged,
            };
            let prefix = match judged {
                Ok(prefix) => prefix,
                Err(why) => {
                    taken.refused.add(why);
                    continue;
                }
            };
            let usual = told.deny_for.unwrap_or(self.engine.policy.deny_for);
            let until = self.engine.lasts(&prefix, usual).map(|time| now.after(time));
            let reason = Reason::Sync { server: told.server.as_str().into(), reporters: told.reporters };
            let claim = Claim { since: now, until, reason, enforceable: true };
            self.engine.step(now, Input::Claim { prefix, by: Claimant::Sync, claim });
            taken.denied += 1;
        }
        if let Some(timestamp) = told.timestamp {
            let place = Place { server: told.server.clone(), timestamp };
            self.set_note(NOTE.to_owned(), serde_json::to_string(&place).unwrap_or_default());
        }
        taken
    }

    /// Whom others may be told of, of the first `limit` decisions behind the one of number `after`: who is denied by our own
    /// policy, for certain and in full, and is one host of the internet.
    pub fn shared_after(&self, after: i64, limit: usize) -> Result<Shared, StoreError> {
        let rows = self.history_after(after, limit)?;
        let last = rows.last().map_or(after, |row| row.id);
        let is_all = rows.len() < limit;
        let policy = &self.engine.policy;
        let denied = rows.into_iter().filter_map(|row| {
            let Decision::Denied { by: Claimant::Policy, certain: true, enforced: true, .. } = row.decision else {
                return None;
            };
            let prefix = row.prefix?;
            // A wider net is many hosts'.
            let is_one = policy.prefix(prefix.address().into()) == prefix;
            (is_one && is_shared(prefix.address().into())).then_some((row.id, prefix))
        });
        Ok(Shared { denied: denied.collect(), last, is_all })
    }

    /// How many are denied on a server's word.
    pub fn received_now(&self) -> usize {
        self.engine.state.received
    }
}
