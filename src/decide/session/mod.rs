//! One attempt counts once: joins the lines of a connection.
//!
//! sshd writes up to six lines about one wrong password. They belong together by (origin host, pid); without a
//! pid by (host, address, port); without either by (host, address, user). Each source that delivers a
//! connection's lines keeps its own counters, and a connection is worth the *maximum* over its sources: the same
//! line through two paths adds nothing, while equal lines on one path are separate tries (they are, in real logs).

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use indexmap::IndexMap;
use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::detect::address::Address;
use crate::detect::event::{Account, Event, Kind};

mod connection;
mod expire;
mod kept;
mod name;
mod pam;
mod table;

/// Connections that are remembered at once. At the bound the oldest is forgotten, and counted.
pub const SESSIONS_MAX: usize = 100_000;
/// A connection is forgotten after this time without a line. sshd's LoginGraceTime is 2 minutes by default.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Whether one is idle is looked at so much later, so that most are looked at once: LoginGraceTime again.
const LINGER: Duration = Duration::from_secs(2 * 60);
/// Lines without pid and port belong together for this long.
const IDLE_BY_USER: Duration = Duration::from_secs(60);
/// A login is remembered for this long, so that the line that ends it is not taken for a probe.
const LOGIN: Duration = Duration::from_secs(7 * 86_400);
/// Logins that are remembered at once; the oldest are forgotten first.
const LOGINS_MAX: usize = 20_000;
/// How far apart, in event time, a PAM line and sshd's own line about the same try may be.
const PAM_WINDOW: Duration = Duration::from_secs(10);
/// How long it is remembered that sshd wrote about an address.
const OWN_FOR: Duration = Duration::from_secs(3 * PAM_WINDOW.as_secs());

/// Bytes of a user's name that a connection remembers.
const USER_MAX: usize = 100;

/// An origin host, interned by the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u16);

/// What joins the lines of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// The process that held it.
    Pid(HostId, u32),
    /// No pid in the log: the peer's address and port.
    Port(HostId, Address, u16),
    /// Neither: the address and a hash (FNV-1a) of the user.
    User(HostId, Address, u64),
    /// What an administrator's rule knows: the address and a hash of rule and user. Not the process, since one of a
    /// mail server serves many peers.
    Rule(HostId, Address, u64),
}

/// By few whole words: every line of sshd's is looked up by it, and a field at a time takes three times as long.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Key::Pid(host, pid) => state.write_u64(u64::from(host.0) << 32 | u64::from(pid)),
            Key::Port(host, address, port) => {
                address.hash(state);
                state.write_u64(1 << 48 | u64::from(host.0) << 32 | u64::from(port));
            }
            Key::User(host, address, user) => {
                address.hash(state);
                state.write_u64(user);
                state.write_u64(1 << 49 | u64::from(host.0) << 32);
            }
            Key::Rule(host, address, rule) => {
                address.hash(state);
                state.write_u64(rule);
                state.write_u64(1 << 50 | u64::from(host.0) << 32);
            }
        }
    }
}

/// What a record amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A failure; how many attempts it adds is said beside it.
    Failure,
    /// A connection without a login begun.
    Probe,
    /// A login.
    Success,
    /// The server would not talk to the address.
    Refused,
    /// Nothing, or what another line of the connection already said.
    Ignored,
    /// A record of a known service that no shape fits.
    Unknown,
}

/// A record's outcome, given its connection's earlier lines.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// What it amounts to.
    pub outcome: Outcome,
    /// How many attempts it adds.
    pub attempts: u32,
    /// How many more attempts than before are certain: strangers cannot have made them up.
    pub sound: u32,
    /// The peer: the line's own address, else its connection's.
    pub peer: Option<Address>,
    /// What is known of the account by now.
    pub account: Account,
}

/// An attempt that is decided after its line: a PAM line that stayed alone, or a connection that only offered
/// keys and of whose end no line told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// The origin host.
    pub host: HostId,
    /// The source of its line.
    pub source: SourceId,
    /// How far that is to be trusted.
    pub trust: Trust,
    /// The peer.
    pub peer: Address,
    /// When its line was written.
    pub at: Timestamp,
    /// What its host's clock said when it came.
    pub seen: Timestamp,
    /// The user, cut; empty if no line named one.
    pub user: Name,
    /// The process that wrote it.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Which modules of PAM told of it: a bit for each, by a hash of its rule's name.
    #[serde(default)]
    pub modules: u64,
}

pub use connection::Session;
pub use name::Name;
use table::Table;

/// The clock of an origin host, as its lines show it.
#[derive(Clone, Copy, Debug, Default)]
struct HostClock {
    now: Timestamp,
    /// When its last line came; nothing before the first since we started.
    received: Timestamp,
    /// How far behind our clock the most timely of its lines was, in microseconds.
    lag: i64,
    /// Its sshd told of a failure or a login itself.
    speaks: bool,
}

/// Whether strangers may be able to make up the records of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// They are what the origin's syslog wrote.
    #[default]
    Sound,
    /// They may be forged: such a record counts, but clears nothing, and what would not be denied without such records
    /// is denied for [`FORGEABLE_FOR`](super::engine::FORGEABLE_FOR) at most.
    Forgeable,
}

/// Where a line stands: which host and source, which process, when.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The origin host.
    pub host: HostId,
    /// Which input delivered it.
    pub source: SourceId,
    /// How far that input is to be trusted.
    pub trust: Trust,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// When it was written.
    pub at: Timestamp,
    /// When we received it.
    pub received: Timestamp,
}

type LoginKey = (HostId, Address, u16);

/// What is remembered of a login for long: that it was one.
#[derive(Clone, Copy, Debug)]
struct Login {
    /// What its host's clock said at its last line.
    seen: Timestamp,
    trust: Trust,
}

/// sshd's last own line about an address: when it was written, what its host's clock said when it came, and which
/// connection it was of, with a hash of its user.
#[derive(Clone, Copy, Debug)]
struct Own {
    at: Timestamp,
    seen: Timestamp,
    key: Key,
    user: u64,
}

/// All connections that are not forgotten yet.
#[derive(Debug, Default)]
pub struct Sessions {
    map: Table,
    /// When each key is to be looked at for expiry: the host's clock at its last line, as far as it was known then.
    order: VecDeque<(Timestamp, Key)>,
    /// Logins on which nothing more was said for [`IDLE`], by host and the peer's address and port.
    logins: HashMap<LoginKey, Login, foldhash::fast::RandomState>,
    /// Since when each of them has been remembered.
    logins_order: VecDeque<(Timestamp, LoginKey)>,
    clocks: Vec<HostClock>,
    /// PAM lines that wait for sshd's own, for a short time and for a long one: see [`pam`].
    waiting: VecDeque<Late>,
    patient: VecDeque<Late>,
    /// What connections were worth that ended without a line about it.
    overdue: VecDeque<Late>,
    /// When sshd itself last wrote about an address, for the PAM lines beside it.
    own: IndexMap<(HostId, Address), Own, foldhash::fast::RandomState>,
    /// When each of them is to be looked at for expiry: the host's clock at that line, as far as it was known then.
    own_order: VecDeque<(Timestamp, (HostId, Address))>,
    /// Keys that changed since they were last taken.
    dirty: Vec<Key>,
    tracks_dirty: bool,
    /// A clock moved, or a bound was reached, since [`Sessions::expire`] found nothing more to do.
    is_due: bool,
    /// Connections forgotten because there were too many.
    pub evicted: u64,
    /// Attempts whose connection never showed an address.
    pub unresolved: u64,
}

impl Sessions {
    /// Folds one event of a known service in.
    #[inline]
    pub fn fold(&mut self, place: Place, event: &Event<'_>) -> Verdict {
        let address = event.peer.address();
        let only = |outcome| Verdict { outcome, attempts: 0, sound: 0, peer: address, account: event.account };
        match event.kind {
            Kind::Unknown => only(Outcome::Unknown),
            Kind::Refused => only(Outcome::Refused),
            Kind::Pam => {
                self.pam(place, event, address);
                only(Outcome::Ignored)
            }
            Kind::Opened => {
                self.opened(place, event, address);
                only(Outcome::Ignored)
            }
            Kind::Note if !self.awaits(place, event, address) => only(Outcome::Ignored),
            Kind::Timeout => self.connection(Place { pid: event.of_pid.or(place.pid), ..place }, event, address),
            _ => self.connection(place, event, address),
        }
    }

    fn connection(&mut self, place: Place, event: &Event<'_>, address: Option<Address>) -> Verdict {
        let Some(key) = self.key(place, event, address) else {
            // No pid and no address: nothing can ever join it.
            let outcome = if event.kind == Kind::Accepted { Outcome::Success } else { Outcome::Failure };
            if outcome == Outcome::Failure {
                self.unresolved += 1;
            }
            return Verdict { outcome, attempts: 0, sound: 0, peer: None, account: event.account };
        };
        if event.kind == Kind::Probe && self.ends_login(place, event, address) {
            return Verdict { outcome: Outcome::Ignored, attempts: 0, sound: 0, peer: address, account: event.account };
        }
        let session = self.session(key, place, address, event.port);
        if address.is_some() {
            session.learn(address, place.trust);
        }
        session.port = session.port.or(event.port);
        session.last = session.last.max(place.at);
        session.user_unknown |= event.account == Account::Unknown;
        if (session.peer.is_none() || event.kind == Kind::Offered)
            && let Some(user) = event.user
        {
            session.user = Some(user[..user.len().min(USER_MAX)].into());
        }
        let times = event.times;
        let outcome = match event.kind {
            Kind::Tried => {
                session.side(place).tries += times;
                Outcome::Failure
            }
            Kind::PamTried => {
                session.side(place).pam_tries += times;
                Outcome::Failure
            }
            Kind::Begun => {
                session.side(place).begun = true;
                Outcome::Failure
            }
            Kind::Offered => {
                session.offered = Some(session.offered.map_or(place.trust, |told| told.min(place.trust)));
                Outcome::Failure
            }
            // The same login by another path.
            Kind::Accepted => {
                let another = session.is_new_login(key, place);
                if session.succeeded(place.trust) && !another {
                    Outcome::Ignored
                } else {
                    session.succeeded = Some(session.succeeded.map_or(place.trust, |told| told.min(place.trust)));
                    Outcome::Success
                }
            }
            Kind::Note => Outcome::Ignored,
            // A probe or a timeout: the end of a connection in which no line told of a login.
            _ if session.offered.is_some_and(|told| !session.succeeded(told.max(place.trust))) => {
                // As certain as both lines are.
                let trust = session.offered.map_or(place.trust, |told| told.max(place.trust));
                session.side(Place { trust, ..place }).begun = true;
                Outcome::Failure
            }
            _ if session.succeeded(place.trust) || session.probed || session.attempts(Trust::Forgeable) > 0 => {
                Outcome::Ignored
            }
            _ => {
                session.probed = true;
                Outcome::Probe
            }
        };
        let (attempts, sound) = session.settle();
        // A line that ends a connection of which everything was said already.
        let closing = event.kind == Kind::Begun && attempts == 0;
        let outcome = match event.kind {
            Kind::Note if attempts > 0 => Outcome::Failure,
            _ if closing && session.peer.is_some() => Outcome::Ignored,
            _ => outcome,
        };
        let account = if session.user_unknown { Account::Unknown } else { event.account };
        let peer = session.peer;
        if let Some(peer) = peer
            && matches!(outcome, Outcome::Failure | Outcome::Success)
            && event.custom.is_none()
        {
            self.told_itself(place.host, peer, place.at, key, fnv(FNV, event.user.unwrap_or_default()));
        }
        self.mark(key);
        if let (Kind::Accepted, Some(address), Some(port)) = (event.kind, address, event.port)
            && matches!(key, Key::Pid(..))
        {
            let key = Key::Port(place.host, address, port);
            let login = self.session(key, place, Some(address), Some(port));
            login.succeeded = Some(login.succeeded.map_or(place.trust, |told| told.min(place.trust)));
            self.mark(key);
        }
        Verdict { outcome, attempts, sound, peer: address.or(peer), account }
    }

    /// Whether a line that adds nothing tells where the attempts came from that its process judged before.
    fn awaits(&self, place: Place, event: &Event<'_>, address: Option<Address>) -> bool {
        let (Some(_), Some(pid)) = (address, place.pid) else { return false };
        let session = self.map.get(&Key::Pid(place.host, pid));
        session.is_some_and(|session| session.peer.is_none() && session.fits(address, event.port))
    }

    /// Who it was, for a line that names nobody, as an earlier line of its connection said.
    pub fn user(&self, place: Place, event: &Event<'_>) -> Option<&[u8]> {
        let address = event.peer.address();
        let by_port = || Some(Key::Port(place.host, address?, event.port?));
        let key = event.of_pid.or(place.pid).map(|pid| Key::Pid(place.host, pid)).or_else(by_port)?;
        self.map.get(&key).filter(|session| session.fits(address, event.port))?.user.as_deref()
    }

    /// Whether a line without a user is about a connection that logged in: another process of it, with another
    /// pid, writes `Connection closed by A port N` at its end (OpenSSH 9.8 and later).
    fn ends_login(&self, place: Place, event: &Event<'_>, address: Option<Address>) -> bool {
        let (Some(address), Some(port)) = (address, event.port) else { return false };
        let key = Key::Port(place.host, address, port);
        self.map.get(&key).is_some_and(|session| session.succeeded(place.trust))
            || self.login(key).is_some_and(|login| login.trust <= place.trust)
    }

    /// Learns the address of a connection from a line that says nothing else.
    fn opened(&mut self, place: Place, event: &Event<'_>, address: Option<Address>) {
        if address.is_some() && place.pid.is_some() {
            let Some(key) = self.key(place, event, address) else { return };
            let session = self.session(key, place, address, event.port);
            session.learn(address, place.trust);
            session.port = event.port.or(session.port);
            session.last = session.last.max(place.at);
            self.mark(key);
        }
    }

    /// The session of a key: the one that is known, or a new one where the pid was used again.
    fn session(&mut self, key: Key, place: Place, peer: Option<Address>, port: Option<u16>) -> &mut Session {
        let seen = self.clock(place.host);
        if self.len() >= SESSIONS_MAX && !self.map.contains(&key) {
            self.evict();
        }
        let Sessions { map, order, logins, .. } = self;
        let session = map.or_insert_with(key, || {
            order.push_back((seen, key));
            let mut session = Session::new(place, seen);
            // A line that comes late is of that login still; else it is another connection.
            if let Key::Port(host, address, port) = key
                && let Some(login) = logins.remove(&(host, address, port))
                && login.seen.after(IDLE) >= place.at
            {
                session.succeeded = Some(login.trust);
            }
            session
        });
        let idle = if matches!(key, Key::User(..)) { IDLE_BY_USER } else { IDLE };
        if !session.fits(peer, port) || session.last.after(idle) < place.at {
            let ended = std::mem::replace(session, Session::new(place, seen));
            self.overdue.extend(ended.overdue(key));
        }
        session.seen = seen;
        session
    }

    fn told_itself(&mut self, host: HostId, peer: Address, at: Timestamp, key: Key, user: u64) {
        let seen = self.clock(host);
        if let Some(clock) = self.clocks.get_mut(usize::from(host.0)) {
            clock.speaks = true;
        }
        let about = (host, peer);
        if self.own.insert(about, Own { at, seen, key, user }).is_none() {
            self.own_order.push_back((seen, about));
            self.is_due |= self.own.len() > SESSIONS_MAX;
        }
    }

    /// The login of a connection that may be long ago.
    fn login(&self, key: Key) -> Option<&Login> {
        let Key::Port(host, address, port) = key else { return None };
        self.logins.get(&(host, address, port))
    }

    /// What joins a line to the others of its connection.
    ///
    /// Without a pid, a line without a port is of the connection that sshd last wrote of, if that was just now, of the
    /// same address, and of the same user where the line names one. So is the first line with a port.
    ///
    /// Strangers may know the pid of a connection that a sound source tells of: if their line is about another one, that
    /// stands beside it, as without a pid, and not in its place.
    fn key(&mut self, place: Place, event: &Event<'_>, address: Option<Address>) -> Option<Key> {
        if let Some(rule) = event.custom {
            let hash = fnv(fnv(FNV, rule.name.as_bytes()), event.user.unwrap_or_default());
            return Some(Key::Rule(place.host, address?, hash));
        }
        if let Some(key) = place.pid.map(|pid| Key::Pid(place.host, pid)) {
            let is_other = |session: &Session| {
                let is_open = session.last.after(IDLE) >= place.at;
                is_open && session.is_sound() && !session.fits(address, event.port)
            };
            if place.trust == Trust::Sound || !self.map.get(&key).is_some_and(is_other) {
                return Some(key);
            }
        }
        let address = address?;
        let user = fnv(FNV, event.user.unwrap_or_default());
        let key = event.port.map_or(Key::User(place.host, address, user), |port| Key::Port(place.host, address, port));
        let about = (place.host, address);
        let last = self.own.get(&about).filter(|own| near(own.at, place.at));
        let Some(last) = last.filter(|own| event.user.is_none() || own.user == user).map(|own| own.key) else {
            return Some(key);
        };
        match (key, last) {
            (Key::User(..), Key::Port(..) | Key::User(..)) => Some(last),
            (Key::Port(..), Key::User(..)) if !self.map.contains(&key) && self.login(key).is_none() => {
                self.rename(last, key, about);
                Some(key)
            }
            _ => Some(key),
        }
    }

    /// A connection's port became known.
    fn rename(&mut self, from: Key, to: Key, whose: (HostId, Address)) {
        let Some(session) = self.map.remove(&from) else { return };
        self.mark(from);
        self.order.push_back((session.seen, to));
        self.map.insert(to, session);
        self.mark(to);
        if let Some(own) = self.own.get_mut(&whose) {
            own.key = to;
        }
    }

    fn mark(&mut self, key: Key) {
        if self.tracks_dirty && self.dirty.last() != Some(&key) {
            self.dirty.push(key);
        }
    }
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.0.abs_diff(b.0) <= PAM_WINDOW.as_micros() as u64
}

fn host_of(key: Key) -> HostId {
    match key {
        Key::Pid(host, _) | Key::Port(host, ..) | Key::User(host, ..) | Key::Rule(host, ..) => host,
    }
}

/// What FNV-1a begins with.
pub(super) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of bytes behind those of which `hash` is.
pub(super) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
