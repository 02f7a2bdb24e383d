//! One world: all connections as they follow from the lines that are told to it, and from nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use inputs::record::{SourceId, Timestamp};

use super::accounts::{Accounts, Own};
use super::connection::{Connection, outcome};
use super::evicted::Evicted;
use super::key::{FNV, Key, fnv, key_by_address};
use super::line::{HostId, Line, Outcome};
use super::recent::Recent;
use super::table::Table;
use super::watermark::Watermarks;
use crate::detect::address::Address;
use crate::detect::event::{Account, Event, Kind};

/// A connection is forgotten after this time without a line.
pub(super) const IDLE: Duration = Duration::from_secs(15 * 60);
/// sshd's LoginGraceTime by default.
pub(super) const GRACE: Duration = Duration::from_secs(2 * 60);
/// Whether one is idle is looked at so much later, so that most are looked at once.
const LINGER: Duration = GRACE;
/// A login is remembered for this long, so that the line that ends it is not taken for a probe.
const LOGIN: Duration = Duration::from_secs(7 * 86_400);
/// Logins that are remembered at once; the oldest are forgotten first.
const LOGINS_MAX: usize = 20_000;

/// Where somebody logged in from: host, and the peer's address and port.
type LoginKey = (HostId, Address, u16);

/// What a line amounts to in a world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    /// Attempts that are due now.
    pub(super) due: u32,
    /// The peer: the connection's, as far as it is known.
    pub(super) peer: Option<Address>,
    /// What is known of the account by now.
    pub(super) account: Account,
    /// Its connection.
    pub(super) key: Option<Key>,
    /// It waits for what comes of it.
    pub(super) waits: bool,
}

impl Judged {
    /// What adds nothing.
    pub(super) fn nothing(outcome: Outcome, event: &Event<'_>) -> Self {
        Judged { outcome, due: 0, peer: event.peer.address(), account: event.account, key: None, waits: false }
    }
}

/// An attempt that is due though no line says so now: a PAM line that stayed alone, or a connection that only offered
/// keys and of whose end no line told.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) host: HostId,
    pub(super) source: SourceId,
    pub(super) peer: Address,
    pub(super) at: Timestamp,
    pub(super) user: Box<[u8]>,
    /// What it is of.
    pub(super) of: Of,
    /// The other world decides for itself.
    pub(super) is_copied: bool,
}

/// What an attempt is of that no line says now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// A connection.
    Connection(Key),
    /// A PAM line, by its process.
    Pam(Option<u32>),
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) connections: Table,
    /// When each key is to be looked at for expiry: the host's watermark at its last line, as far as it was known then.
    pub(super) order: VecDeque<(Timestamp, Key)>,
    /// When there were logins, by the watermarks of their hosts.
    pub(super) logins: Recent<LoginKey, Timestamp, LOGINS_MAX>,
    pub(super) watermarks: Watermarks,
    /// What PAM and sshd told of each address.
    pub(super) accounts: Accounts,
    pub(super) due: VecDeque<Due>,
    /// Keys that changed since they were last taken.
    pub(super) changed: Vec<Key>,
    pub(super) tracks_changes: bool,
    /// Connections forgotten because there were too many.
    pub(super) evicted: Evicted,
    /// What had no room to wait for what came of it.
    pub(super) undecided: u64,
    /// Attempts whose connection never showed an address.
    pub(super) unresolved: u64,
}

impl World {
    /// A line came: moves its host's watermark, and decides what is due by it.
    #[inline]
    pub(super) fn tell(&mut self, line: &Line) {
        if self.watermarks.tell(line) {
            self.accounts.tick(line.host, self.watermarks.of(line.host));
            self.decide_pam(line.host);
            self.forget_idle();
        }
    }

    /// The wall clock moved.
    pub(super) fn tick(&mut self, wall: Timestamp) {
        self.watermarks.tick(wall);
        self.decide_all();
    }

    /// The end of the log: nothing more will come, so all that waits is decided.
    pub(super) fn finish(&mut self) {
        self.watermarks.move_by(IDLE + IDLE);
        self.decide_all();
    }

    fn decide_all(&mut self) {
        for host in self.accounts.hosts() {
            self.decide_pam(host);
        }
        self.forget_idle();
    }

    /// Folds one event of a known service in.
    pub(super) fn fold(&mut self, line: &Line, event: &Event<'_>) -> Judged {
        let address = event.peer.address();
        let nothing = |outcome| Judged::nothing(outcome, event);
        match event.kind {
            Kind::Unknown => nothing(Outcome::Unknown),
            Kind::Refused => nothing(Outcome::Refused),
            Kind::Pam => {
                let waits = self.pam(line, event);
                Judged { peer: waits.or(address), waits: waits.is_some(), ..nothing(Outcome::Ignored) }
            }
            Kind::Opened => {
                self.opened(line, event, address);
                nothing(Outcome::Ignored)
            }
            Kind::Note if !self.awaits(line, event, address) => nothing(Outcome::Ignored),
            // Another process of a connection that logged in writes `Connection closed by A port N` at its end (OpenSSH
            // 9.8 and later).
            Kind::Probe if self.logged_in(line.host, address, event.port) => nothing(Outcome::Ignored),
            _ => match self.key(line, event, address) {
                Some(key) => self.connection(key, line, event, address),
                // No pid and no address: nothing can ever join it.
                None if event.kind == Kind::Accepted => nothing(Outcome::Success),
                None => {
                    self.unresolved += 1;
                    nothing(Outcome::Failure)
                }
            },
        }
    }

    fn connection(&mut self, key: Key, line: &Line, event: &Event<'_>, address: Option<Address>) -> Judged {
        let (key, connection) = self.entry(key, line, event, address);
        let before = connection.standing();
        connection.tell(line, event);
        let after = connection.standing();
        connection.counted += after.due;
        let (peer, account) = (connection.peer, connection.account(event));
        let (is_judged, last) = (connection.is_judged(), connection.last);
        let outcome = outcome(event.kind, before, after);
        if let Some(peer) = peer
            && matches!(outcome, Outcome::Failure | Outcome::Success)
            && !event.is_by_rule()
        {
            self.spoke(line.host, peer, Own { at: line.at, key, user: fnv(FNV, event.user.unwrap_or_default()) });
        }
        if is_judged
            && self.accounts.waits() > 0
            && let (Some(peer), Key::Pid(host, pid)) = (peer, key)
        {
            self.accounts.told_by((host, peer), pid, last);
        }
        self.mark(key);
        if event.kind == Kind::Accepted {
            self.login(key, address, event.port);
        }
        Judged { outcome, due: after.due, peer: address.or(peer), account, key: Some(key), waits: false }
    }

    /// sshd itself told what came of a try.
    pub(super) fn spoke(&mut self, host: HostId, peer: Address, own: Own) {
        self.watermarks.spoke(host);
        self.accounts.tell((host, peer), own);
    }

    /// Remembers a login for long.
    fn login(&mut self, key: Key, address: Option<Address>, port: Option<u16>) {
        let login = match (key, address, port) {
            (Key::Port(host, address, port), ..) | (Key::Pid(host, _), Some(address), Some(port)) => {
                (host, address, port)
            }
            _ => return,
        };
        self.insert_login(login, self.watermarks.of(login.0));
        self.mark(Key::Port(login.0, login.1, login.2));
    }

    pub(super) fn insert_login(&mut self, login: LoginKey, seen: Timestamp) {
        self.logins.insert(login, seen);
        if self.logins.is_full() {
            let mut gone = Vec::new();
            self.logins.rotate(|login, _| {
                gone.push(*login);
                false
            });
            gone.into_iter().for_each(|(host, address, port)| self.mark(Key::Port(host, address, port)));
        }
    }

    /// Whether somebody logged in from there who may be there still.
    fn logged_in(&self, host: HostId, address: Option<Address>, port: Option<u16>) -> bool {
        let login = || self.logins.get(&(host, address?, port?));
        login().is_some_and(|seen| seen.after(LOGIN) >= self.watermarks.of(host))
    }

    /// Whether a line that adds nothing tells where the attempts came from that its process judged before.
    fn awaits(&self, line: &Line, event: &Event<'_>, address: Option<Address>) -> bool {
        let (Some(_), Some(pid)) = (address, line.pid) else { return false };
        let connection = self.connections.get(&Key::Pid(line.host, pid));
        connection.is_some_and(|connection| connection.peer.is_none() && connection.fits(address, event.port))
    }

    /// Learns the address of a connection from a line that says nothing else.
    fn opened(&mut self, line: &Line, event: &Event<'_>, address: Option<Address>) {
        if address.is_some()
            && let Some(pid) = line.pid
        {
            let (key, connection) = self.entry(Key::Pid(line.host, pid), line, event, address);
            connection.open(line, address, event.port);
            self.mark(key);
        }
    }

    /// Copies from another world what a line is about, unless it is known here.
    pub(super) fn copy(&mut self, other: &mut World, line: &Line, event: &Event<'_>) {
        let address = event.peer.address();
        let of_process = line.pid.map(|pid| Key::Pid(line.host, pid));
        let peer = |world: &World| of_process.and_then(|key| world.connections.get(&key)?.peer);
        let mut keys = [of_process, key_by_address(line, event, address), None];
        for about in [address, peer(self), peer(other)].into_iter().flatten().map(|address| (line.host, address)) {
            self.accounts.copy(about, &mut other.accounts);
            keys[2] = self.accounts.own(about, line.at).map(|own| own.key);
        }
        for key in keys.into_iter().flatten() {
            if !self.connections.contains(&key)
                && let Some(known) = other.connections.get_mut(&key)
            {
                let mut copy = known.clone();
                (known.is_copied, copy.is_copied) = (true, false);
                other.mark(key);
                self.insert(key, copy);
            }
        }
        let login = address.zip(event.port).map(|(address, port)| (line.host, address, port));
        if let Some(login) = login.filter(|login| self.logins.get(login).is_none())
            && let Some(seen) = other.logins.get(&login)
        {
            self.insert_login(login, *seen);
        }
    }

    /// A line was told here and in the other world, which decides for itself what came of it there.
    pub(super) fn copied(&mut self, line: &Line, here: Judged, there: Judged) {
        if let (Some(key), true) = (here.key, here.key == there.key)
            && let Some(connection) = self.connections.get_mut(&key)
        {
            connection.is_copied = true;
        }
        if here.waits
            && there.waits
            && let Some(peer) = here.peer
        {
            self.accounts.copied((line.host, peer));
        }
    }

    /// What was decided in the other world is counted: whether it waits here still, where it counts nothing now.
    pub(super) fn forgoes(&mut self, due: &Due) -> bool {
        match due.of {
            Of::Connection(key) => {
                let known = self.connections.get_mut(&key);
                let known = known.filter(|known| known.is_overdue() && known.fits(Some(due.peer), None));
                let waits = known.map(|known| known.counted += 1).is_some();
                self.mark(key);
                waits
            }
            Of::Pam(pid) => self.accounts.forgo((due.host, due.peer), due.at, pid),
        }
    }

    /// Whether what a line is about was copied, or came about, here.
    pub(super) fn knows(&self, line: &Line, event: &Event<'_>, peer: Option<Address>) -> bool {
        let address = event.peer.address().or(peer);
        let of_process = line.pid.map(|pid| Key::Pid(line.host, pid));
        let keys = [of_process, key_by_address(line, event, address)];
        keys.into_iter().flatten().any(|key| self.connections.contains(&key))
            || address.is_some_and(|address| self.accounts.contains((line.host, address)))
    }

    /// Whether a process holds another connection, which is open still.
    pub(super) fn holds_another(&self, line: &Line, event: &Event<'_>) -> bool {
        let connection = line.pid.and_then(|pid| self.connections.get(&Key::Pid(line.host, pid)));
        connection.is_some_and(|connection| {
            connection.last.after(IDLE) >= line.at && !connection.fits(event.peer.address(), event.port)
        })
    }

    /// Forgets the connections that were idle for long.
    fn forget_idle(&mut self) {
        while let Some((seen, key)) = self.order.front().copied() {
            let now = self.watermarks.of(key.host());
            if seen.after(IDLE + LINGER) >= now {
                break;
            }
            self.order.pop_front();
            match self.connections.get(&key) {
                Some(connection) if connection.seen.after(IDLE) >= now => self.order.push_back((connection.seen, key)),
                Some(_) => self.forget(key),
                None => {}
            }
        }
    }

    /// Makes room: forgets the oldest connection. What it did not come to counts nothing: it may have been a login.
    pub(super) fn evict(&mut self) {
        while let Some((_, key)) = self.order.pop_front() {
            let Some(connection) = self.remove(key) else { continue };
            self.evicted.put(key, &connection);
            self.undecided += u64::from(overdue(key, connection).is_some_and(|due| !due.is_copied));
            return;
        }
    }

    /// Forgets a connection whose time is over.
    fn forget(&mut self, key: Key) {
        if let Some(connection) = self.remove(key) {
            self.due.extend(overdue(key, connection));
        }
    }

    fn remove(&mut self, key: Key) -> Option<Connection> {
        let connection = self.connections.remove(&key)?;
        self.mark(key);
        if connection.peer.is_none() && !connection.is_copied {
            self.unresolved += u64::from(connection.worth().max(u32::from(connection.offered)));
        }
        Some(connection)
    }

    pub(super) fn mark(&mut self, key: Key) {
        if self.tracks_changes && self.changed.last() != Some(&key) {
            self.changed.push(key);
        }
    }
}

/// What a connection that ended is worth if no line told of its end.
pub(super) fn overdue(key: Key, ended: Connection) -> Option<Due> {
    let peer = ended.peer.filter(|_| ended.is_overdue())?;
    let Connection { last: at, is_copied, witness, .. } = ended;
    let user = ended.user().into();
    Some(Due { host: key.host(), source: witness.source, peer, at, user, of: Of::Connection(key), is_copied })
}

#[cfg(test)]
mod tests {
    use inputs::record::Record;

    use super::super::join::ORDER_SPARE;
    use super::*;
    use crate::detect::detect;
    use crate::detect::rule::Rules;

    #[test]
    fn what_connections_were_called_is_forgotten() {
        let (mut world, rules) = (World::default(), Rules::default());
        for second in 0..4_000 {
            let tried = format!("Failed password for x from 192.0.2.7 port {} ssh2", 1_000 + second);
            for (message, at) in [("Invalid user x from 192.0.2.7", 12 * second), (&tried, 12 * second + 1)] {
                let (host, source, at) = (HostId(0), SourceId(0), Timestamp::from_secs(1_000_000 + at));
                let line = Line { host, source, pid: None, at, received: at, from: at };
                world.tell(&line);
                let event = detect(&Record::of(b"sshd", message.as_bytes()), &rules).unwrap();
                world.fold(&line, &event);
            }
        }
        let (order, connections) = (world.order.len(), world.connections.len());
        assert!(connections < 200 && order <= 2 * connections + ORDER_SPARE, "{order} {connections}");
    }
}
