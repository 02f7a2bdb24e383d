//! One connection: what each of its sources said of it, and what that is worth.

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::detect::address::Address;

use super::{Key, Late, Login, Name, Place, Trust, host_of};

/// What one source said of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    pub(super) source: SourceId,
    /// How far all that it said is to be trusted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) trust: Trust,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) tries: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) pam_tries: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) begun: bool,
    /// Logins, where nothing tells one connection from the next.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) logins: u32,
}

impl Side {
    /// Attempts: judged tries, by the larger of the two accounts of them; else one for a login begun.
    pub(super) fn attempts(&self) -> u32 {
        self.tries.max(self.pam_tries).max(u32::from(self.begun))
    }
}

/// What is as it was at first is not written: there may be a hundred thousand sessions.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub(super) peer: Option<Address>,
    /// How far the lines are to be trusted that say so.
    #[serde(default)]
    pub(super) peer_trust: Trust,
    pub(super) port: Option<u16>,
    /// When its last line was written.
    pub(super) last: Timestamp,
    /// What its host's clock said when that line came. Later than `last` where lines come out of order: in the hour
    /// that autumn repeats, from a second log of the host, from an outage.
    pub(super) seen: Timestamp,
    /// Attempts that were given out so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) counted: u32,
    /// Of them, those that strangers cannot have made up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) counted_sound: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) user_unknown: bool,
    /// Who it was, while what it is worth awaits an address, or its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Box<[u8]>>,
    /// Keys or `none` were refused, as the most trusted of such lines said; worth one attempt if the connection ends so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) offered: Option<Trust>,
    /// It logged in, as the most trusted of such lines said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) succeeded: Option<Trust>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) probed: bool,
    pub(super) side: Side,
    /// Further sources; nearly always empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) more: Vec<Side>,
}

impl Session {
    pub(super) fn new(place: Place, seen: Timestamp) -> Self {
        Session {
            peer: None,
            peer_trust: Trust::Sound,
            port: None,
            last: place.at,
            seen,
            counted: 0,
            counted_sound: 0,
            user_unknown: false,
            user: None,
            offered: None,
            succeeded: None,
            probed: false,
            side: Side { source: place.source, trust: place.trust, ..Side::default() },
            more: Vec::new(),
        }
    }

    /// Whether a line of this peer and port can be of this connection, or the pid was used again.
    pub(super) fn fits(&self, peer: Option<Address>, port: Option<u16>) -> bool {
        let same =
            |ours: Option<Address>, theirs: Option<Address>| ours.is_none() || theirs.is_none() || ours == theirs;
        same(self.peer, peer) && (self.port.is_none() || port.is_none() || self.port == port)
    }

    /// What the source of a line says. One line that may be forged spoils the rest of what its source says.
    pub(super) fn side(&mut self, place: Place) -> &mut Side {
        let known = self.more.iter().position(|side| side.source == place.source);
        let side = match known {
            _ if self.side.source == place.source => &mut self.side,
            Some(at) => &mut self.more[at],
            None => {
                self.more.push(Side { source: place.source, ..Side::default() });
                self.more.last_mut().expect("one was pushed")
            }
        };
        side.trust = side.trust.max(place.trust);
        side
    }

    /// Whether it logged in, for lines of that trust: what may be forged ends nothing that was not.
    pub(super) fn succeeded(&self, trust: Trust) -> bool {
        self.succeeded.is_some_and(|told| told <= trust)
    }

    /// Whether one more login that `source` tells of is another one. Where a process or a port names the connection,
    /// there is one; else there are as many as that source tells of which tells of most.
    pub(super) fn is_new_login(&mut self, key: Key, place: Place) -> bool {
        if !matches!(key, Key::Rule(..)) {
            return false;
        }
        let known = self.more.iter().map(|side| side.logins).fold(self.side.logins, u32::max);
        let side = self.side(place);
        side.logins += 1;
        side.logins > known
    }

    /// Whether a source tells of it whose lines nobody made up.
    pub(super) fn is_sound(&self) -> bool {
        std::iter::once(&self.side).chain(&self.more).any(|side| side.trust == Trust::Sound)
    }

    /// What is kept of a login when all else is forgotten.
    pub(super) fn of_login(key: Key, login: &Login) -> Self {
        let place = Place {
            host: host_of(key),
            source: SourceId::default(),
            trust: login.trust,
            pid: None,
            at: login.seen,
            received: login.seen,
        };
        Session { succeeded: Some(login.trust), ..Session::new(place, login.seen) }
    }

    /// What it is worth, as lines of that trust or a better one tell.
    pub(super) fn attempts(&self, trust: Trust) -> u32 {
        let told = |side: &Side| if side.trust <= trust { side.attempts() } else { 0 };
        self.more.iter().map(told).fold(told(&self.side), u32::max)
    }

    /// The address, as a line says it.
    pub(super) fn learn(&mut self, peer: Option<Address>, trust: Trust) {
        self.peer_trust = if self.peer.is_some() { self.peer_trust.min(trust) } else { trust };
        self.peer = peer;
    }

    /// Attempts that are due now, and how many more than before are sound: only once the address is known.
    pub(super) fn settle(&mut self) -> (u32, u32) {
        if self.peer.is_none() {
            return (0, 0);
        }
        let due = self.attempts(Trust::Forgeable).saturating_sub(self.counted);
        // Who may have been named by strangers is held nothing against that is as sure as what others said.
        let attempts = if self.peer_trust == Trust::Sound { self.attempts(Trust::Sound) } else { 0 };
        let sound = attempts.saturating_sub(self.counted_sound);
        self.counted += due;
        self.counted_sound += sound;
        (due, sound)
    }
}

impl Session {
    /// A connection that only offered keys, and of whose end no line told, is worth its attempt in the end.
    pub(super) fn overdue(&self, key: Key) -> Option<Late> {
        let trust = self.offered.filter(|trust| !self.succeeded(*trust))?;
        let due = self.attempts(Trust::Forgeable) == 0;
        let user = Name::cut(self.user.as_deref().unwrap_or_default());
        let Session { last: at, seen, side: Side { source, .. }, .. } = *self;
        let late = |peer| Late { host: host_of(key), source, trust, peer, at, seen, user, pid: None, modules: 0 };
        self.peer.filter(|_| due).map(late)
    }
}
