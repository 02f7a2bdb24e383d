//! Who is logged in now: by an `Accepted` whose end was not told. Where one is of those whom a deny must not lock out, more
//! is tolerated; a connection of any other stays open while its address is denied.
//!
//! Sound records alone open a session and end it. sshd tells of the end twice: by the process of the login, which is
//! root's (`pam_unix(sshd:session): session closed`), and by address and port, which in the journal is the user's own
//! word and not believed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use inputs::record::Timestamp;

use super::policy::Class;
use super::prefix::Prefix;
use super::session::HostId;
use crate::detect::address::Address;

/// Sessions that are remembered at once. At the bound the oldest is forgotten, and counted; of those who are protected only
/// where there are no others, or any user could open so many.
pub const LIVE_MAX: usize = 4_096;

/// Addresses of which it is remembered that a login was guessed; each costs a guess that fitted. The first gives way.
pub const GUESSERS_MAX: usize = 1_000;
/// A session is forgotten after this time: where a machine was switched off no line tells of an end.
pub const LIVE_FOR: Duration = Duration::from_secs(30 * 86_400);

/// How many times what others are denied for is tolerated where somebody is logged in.
pub const LENIENCE: u32 = 3;

/// The peer's address and port, and the host.
pub type LiveKey = (Address, u16, HostId);

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// As whom: bytes of the log, of a user that exists.
    pub user: Box<[u8]>,
    /// The process that told of the login.
    pub pid: Option<u32>,
    /// When it began.
    pub since: Timestamp,
}

/// A prefix that is over a threshold and spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    /// Which.
    pub prefix: Prefix,
    /// Who is logged in from there.
    pub user: Box<[u8]>,
    /// What it is over.
    pub class: Class,
    /// By how many failures.
    pub count: u32,
    /// Above how many it is denied.
    pub most: u32,
    /// Whether it would not be over it without what strangers may have made up.
    pub forgeable: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Live {
    sessions: BTreeMap<LiveKey, Session>,
    by_pid: HashMap<(HostId, u32), LiveKey, foldhash::fast::RandomState>,
}

impl Live {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Those from addresses of a prefix that may be alive at `at`.
    pub fn within(&self, prefix: &Prefix, at: Timestamp) -> impl Iterator<Item = &Session> {
        let [first, last] = [prefix.address(), prefix.last()].map(Address::from);
        let all = self.sessions.range((first, 0, HostId(0))..=(last, u16::MAX, HostId(u16::MAX)));
        let all = all.filter(|((peer, ..), _)| prefix.contains(&Prefix::host(*peer)));
        all.map(|(_, session)| session).filter(move |session| session.since.after(LIVE_FOR) > at)
    }

    /// Whether somebody is logged in from this address and port.
    pub fn is_open(&self, peer: Address, port: u16) -> bool {
        self.sessions.range((peer, port, HostId(0))..=(peer, port, HostId(u16::MAX))).next().is_some()
    }

    /// Those from addresses of a prefix, by address and port.
    pub fn connections(&self, prefix: &Prefix) -> impl Iterator<Item = (Address, u16)> {
        let [first, last] = [prefix.address(), prefix.last()].map(Address::from);
        let all = self.sessions.range((first, 0, HostId(0))..=(last, u16::MAX, HostId(u16::MAX)));
        all.map(|((peer, port, _), _)| (*peer, *port))
    }

    /// All of them, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&LiveKey, &Session)> {
        self.sessions.iter()
    }

    /// The session that a process told of.
    pub(super) fn of_pid(&self, host: HostId, pid: u32) -> Option<LiveKey> {
        self.by_pid.get(&(host, pid)).copied()
    }

    /// Whether a session is known.
    pub(super) fn contains(&self, key: &LiveKey) -> bool {
        self.sessions.contains_key(key)
    }

    /// Puts a session as it is now; `None` = it is over.
    pub(super) fn put(&mut self, key: LiveKey, session: Option<Session>) {
        let host = key.2;
        if let Some(Session { pid: Some(pid), .. }) = self.sessions.remove(&key) {
            self.by_pid.remove(&(host, pid));
        }
        if let Some(session) = session {
            if let Some(pid) = session.pid {
                self.by_pid.insert((host, pid), key);
            }
            self.sessions.insert(key, session);
        }
    }

    /// Whom to forget, where there is no room for one more.
    pub(super) fn victim(&self, is_protected: impl Fn(&Session) -> bool) -> Option<LiveKey> {
        if self.sessions.len() < LIVE_MAX {
            return None;
        }
        let oldest = self.sessions.iter().min_by_key(|(_, session)| (is_protected(session), session.since));
        oldest.map(|(key, _)| *key)
    }
}
