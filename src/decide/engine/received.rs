//! Whom a server tells of that many share: it is believed only where that harms nobody here.

use std::net::IpAddr;
use std::time::Duration;

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::claim::{Claim, Claimant, Deny};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Bound, DENIES_MAX, RECEIVED_MAX, RELEASED_MAX};
use crate::detect::special::is_shared;

/// Why nobody is denied on a server's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It told of it before, or our own logs denied it, and that holds.
    Known,
    /// It is no address of the internet that is one host's.
    Special,
    /// It is on the allow list.
    Allowed,
    /// A person forgave it.
    Forgiven,
    /// Somebody logs in from there.
    InUse,
    /// This machine itself connects there.
    Ours,
    /// There are [`RECEIVED_MAX`].
    Full,
}

impl Engine {
    /// Why a server's word denies nobody here, as of the clock `wall`, if it does not.
    pub fn refuses(&self, prefix: &Prefix, wall: Timestamp) -> Option<Refused> {
        let state = &self.state;
        let deny = state.denies.get(prefix);
        // What we sent comes back, and is no other's word.
        let is_ours = |claim: &Claim| claim.is_certain() && claim.is_due(wall);
        let is_known =
            |deny: &Deny| deny.claim(Claimant::Sync).is_some() || deny.claim(Claimant::Policy).is_some_and(is_ours);
        if deny.is_some_and(is_known) {
            return Some(Refused::Known);
        }
        if !is_shared(prefix.address().into()) || self.policy.special(prefix.address().into()).is_some() {
            return Some(Refused::Special);
        }
        if self.policy.allow.covers(prefix) {
            return Some(Refused::Allowed);
        }
        if state.forgives.name(prefix, wall) {
            return Some(Refused::Forgiven);
        }
        // Whoever poisons a list wants us to lock ourselves out.
        let is_lately = state.familiar.get(prefix).is_some_and(|known| known.is_lately(wall));
        if is_lately || self.guest(prefix, wall).is_some() {
            return Some(Refused::InUse);
        }
        let is_full = deny.is_none() && state.denies.len() >= DENIES_MAX;
        (is_full || state.received >= RECEIVED_MAX).then_some(Refused::Full)
    }

    /// The prefix by which an address is denied of which a server tells, or why it is not.
    pub fn receives(&mut self, address: IpAddr, wall: Timestamp) -> Result<Prefix, Refused> {
        let prefix = self.policy.prefix(address.into());
        match self.refuses(&prefix, wall) {
            None => Ok(prefix),
            Some(refused) => {
                if refused == Refused::Full {
                    self.untold(Bound::Received, 1);
                }
                Err(refused)
            }
        }
    }

    /// For how long a prefix is denied of which a server tells; `None` = for ever.
    pub fn lasts(&self, prefix: &Prefix, usual: Option<Duration>) -> Option<Duration> {
        let served = self.state.released.get(prefix).copied().unwrap_or(0);
        let is_for_life = self.policy.permanent_after.is_some_and(|times| served >= times);
        usual.filter(|_| !is_for_life)
    }

    /// Whether a prefix stays denied where a claim ends, for what counts as one sentence with that: what our logs and a server
    /// say of the same time. The end of the later one counts.
    pub(super) fn goes_on(&self, prefix: Prefix, by: Claimant, known: u32) -> bool {
        let other = |by| self.state.denies.get(&prefix).and_then(|deny| deny.claim(by));
        match by {
            Claimant::Policy => {
                self.counts_received(known) && other(Claimant::Sync).is_some_and(|it| it.until.is_some())
            }
            Claimant::Sync => {
                other(Claimant::Policy).is_some_and(|it| !it.reason.is_probation()) && !self.is_forgeable(prefix)
            }
            Claimant::Operator | Claimant::Peer(_) => false,
        }
    }

    /// Whether the end of such a deny counts as one that was served: where that may make the next one last for ever, and it takes
    /// no room that sound ones need.
    pub(super) fn counts_received(&self, known: u32) -> bool {
        let has_room = known > 0 || self.state.released.len() < RELEASED_MAX / 2;
        self.policy.permanent_after.is_some() && has_room
    }
}
