//! What the projections were told, so that they are told what is news.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use inputs::record::Timestamp;

use crate::decide::claim::{Claimant, Until};
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use crate::decide::state::{Change, State};
use crate::deny::{Connection, DenySet, Diff};
use crate::detect::address::Address;

/// What the projections were told.
#[derive(Default)]
pub(super) struct Published {
    denied: BTreeMap<Prefix, Until>,
    allowed: Vec<Range>,
    /// Connections that stay open although their addresses are denied.
    kept: BTreeSet<Connection>,
    /// How many of the changes that wait for a commit were looked at.
    early: usize,
}

impl Published {
    /// What they must be told of the changes that wait, to which `state` is led, before the commit: new denies only.
    pub(super) fn early(&mut self, waiting: &[Change], state: &State, now: Timestamp) -> Diff {
        let before = std::mem::replace(&mut self.early, waiting.len());
        self.news(&waiting[before..], state, now, true)
    }

    /// What they must be told once all that waited is committed.
    pub(super) fn late(&mut self, committed: &[Change], state: &State, now: Timestamp) -> Diff {
        self.early = 0;
        self.news(committed, state, now, false)
    }

    /// What they must be told of the changes that wait and could not be written: all of it, since a disk that is full must
    /// neither let in who is denied nor keep out who was forgiven.
    pub(super) fn unwritten(&mut self, waiting: &[Change], state: &State, now: Timestamp) -> Diff {
        self.early = waiting.len();
        self.news(waiting, state, now, false)
    }

    /// How many are denied.
    pub(super) fn denied(&self) -> usize {
        self.denied.len()
    }

    /// Of the changes that wait, all of which were looked at, so many are left.
    pub(super) fn looked_at(&mut self, waiting: usize) {
        self.early = waiting;
    }

    /// What is allowed is this now; returns it where they do not know that yet.
    pub(super) fn allow(&mut self, allowed: Vec<Range>) -> Option<Vec<Range>> {
        if self.allowed == allowed {
            return None;
        }
        self.allowed.clone_from(&allowed);
        Some(allowed)
    }

    /// What is to be enforced is this now, whatever they were told: the clock was set, and by it others are over.
    pub(super) fn renew(&mut self, want: DenySet) -> Diff {
        let news = want.denied.iter().filter(|(prefix, until)| self.denied.get(*prefix) != Some(*until));
        let gone = self.denied.keys().filter(|prefix| !want.denied.contains_key(*prefix)).map(|prefix| (*prefix, None));
        let denies = news.map(|(prefix, until)| (*prefix, Some(*until))).chain(gone).collect();
        self.denied = want.denied;
        let kept = (self.kept != want.kept).then(|| want.kept.clone());
        self.kept = want.kept;
        Diff { denies, allowed: self.allow(want.allowed), kept }
    }

    /// They are told all there is.
    pub(super) fn begin(&mut self, want: &DenySet) {
        self.denied.clone_from(&want.denied);
        self.allowed.clone_from(&want.allowed);
        self.kept.clone_from(&want.kept);
    }

    fn news(&mut self, changes: &[Change], state: &State, now: Timestamp, only_denies: bool) -> Diff {
        let mut diff = Diff::default();
        for change in changes {
            let (Change::Denied { prefix, .. } | Change::Released { prefix, .. }) = change else { continue };
            let denied = state.denies.get(prefix).and_then(|deny| deny.enforced(now));
            if only_denies && (denied.is_none() || matches!(change, Change::Released { .. })) {
                continue;
            }
            let before = match denied {
                Some(until) => self.denied.insert(*prefix, until),
                None => self.denied.remove(prefix),
            };
            if before != denied {
                diff.denies.insert(*prefix, denied);
            }
        }
        diff.kept = self.kept_anew(changes, state, now);
        diff
    }

    /// Which connections stay open after these changes, if that is news. Such a one may be told before the commit: somebody
    /// is logged in there, or is no more.
    fn kept_anew(&mut self, changes: &[Change], state: &State, now: Timestamp) -> Option<BTreeSet<Connection>> {
        if state.live.is_empty() && self.kept.is_empty() {
            return None;
        }
        let mut is_news = false;
        let mut look = |peer: Address, port: u16| {
            let connection = (IpAddr::from(peer), port);
            is_news |= match is_kept(state, peer, port, now) {
                true => self.kept.insert(connection),
                false => self.kept.remove(&connection),
            };
        };
        for change in changes {
            match change {
                Change::Live { key: (peer, port, _), .. } => look(*peer, *port),
                Change::Denied { prefix, .. } | Change::Released { prefix, .. } => {
                    state.live.connections(prefix).for_each(|(peer, port)| look(peer, port));
                }
                _ => {}
            }
        }
        is_news.then(|| self.kept.clone())
    }
}

/// All connections that stay open although their addresses are denied.
pub(super) fn kept(state: &State, now: Timestamp) -> BTreeSet<Connection> {
    let open = state.live.iter().map(|((peer, port, _), _)| (*peer, *port));
    open.filter(|(peer, port)| is_kept(state, *peer, *port, now)).map(|(peer, port)| (peer.into(), port)).collect()
}

/// Whether somebody is logged in by this connection, and its address is denied by no person: who is denied by one is to
/// be gone.
fn is_kept(state: &State, peer: Address, port: u16, now: Timestamp) -> bool {
    let mut denies = state.holding(peer.into()).filter(|(_, deny)| deny.enforced(now).is_some()).peekable();
    state.live.is_open(peer, port)
        && denies.peek().is_some()
        && denies.all(|(_, deny)| deny.claims().all(|(by, _)| matches!(by, Claimant::Policy | Claimant::Sync)))
}
