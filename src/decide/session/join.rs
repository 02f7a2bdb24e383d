//! Which connection a line is of.
//!
//! A process' number names one connection, mostly. In containers that have numbers of their own, and where several
//! hosts call themselves by one name, it names several at once. The last of these to come has the number; the others
//! are known as connections without a number are, by address and port. A line that has neither may be of each of
//! them, and joins none.

use std::collections::HashSet;
use std::time::Duration;

use super::accounts::About;
use super::connection::Connection;
use super::key::{FNV, Key, fnv, key_by_address, plain_key};
use super::line::{Line, SESSIONS_MAX};
use super::world::{GRACE, IDLE, World, overdue};
use crate::detect::address::Address;
use crate::detect::event::Event;

/// A connection that is renamed leaves its old key in the order. So many of these are kept, beside one for each
/// connection: whoever is told of without a port and with one in turn would leave ever more.
pub(super) const ORDER_SPARE: usize = 1_000;
/// Lines without pid and port belong together for this long.
const IDLE_BY_USER: Duration = Duration::from_secs(60);

impl World {
    /// What joins a line to the others of its connection; nothing if it may be of several.
    pub(super) fn key(&mut self, line: &Line, event: &Event<'_>, address: Option<Address>) -> Option<Key> {
        let key = plain_key(line, event, address)?;
        match address {
            Some(address) if matches!(key, Key::Port(..) | Key::User(..)) => {
                Some(self.joined(key, line, event, address))
            }
            None if self.connections.get(&key).is_some_and(|known| known.is_shared) => None,
            _ => Some(key),
        }
    }

    /// The key of a line of which no process is known.
    ///
    /// A line without a port is of the connection that sshd last wrote of, if that was just now, of the same address,
    /// and of the same user where the line names one. So is the first line with a port.
    fn joined(&mut self, key: Key, line: &Line, event: &Event<'_>, address: Address) -> Key {
        let about = (line.host, address);
        let user = event.user.map(|user| fnv(FNV, user));
        let Some(own) = self.accounts.own(about, line.at).filter(|own| user.is_none_or(|user| own.user == user)) else {
            return key;
        };
        let own = *own;
        match (key, own.key) {
            (Key::User(..), Key::Port(..) | Key::User(..)) => own.key,
            (Key::Port(_, _, port), Key::User(..))
                if !self.connections.contains(&key) && self.logins.get(&(line.host, address, port)).is_none() =>
            {
                self.rename(about, own.key, key);
                key
            }
            _ => key,
        }
    }

    /// A connection is known by another key now: its port was told, or it makes way.
    fn rename(&mut self, about: About, from: Key, to: Key) {
        if let Some(connection) = self.connections.remove(&from) {
            self.mark(from);
            self.insert(to, connection);
        }
        self.accounts.rename(about, from, to);
    }

    /// The connection of a line, by its key: the one that is known, or a new one where a process'
    /// number was used again.
    pub(super) fn entry(
        &mut self,
        key: Key,
        line: &Line,
        event: &Event<'_>,
        peer: Option<Address>,
    ) -> (Key, &mut Connection) {
        let seen = self.watermarks.of(line.host);
        if self.connections.len() >= SESSIONS_MAX && !self.connections.contains(&key) {
            self.evict();
        }
        let World { connections, order, logins, due, evicted, .. } = self;
        let mut is_new = false;
        let place = connections.place_or_insert_with(key, || {
            order.push_back((seen, key));
            is_new = true;
            Connection::new(line, seen)
        });
        let connection = connections.at(place);
        let fits = connection.fits(peer, event.port);
        let idle = if matches!(key, Key::User(..)) { IDLE_BY_USER } else { IDLE };
        let is_over = connection.last.after(idle) < line.at;
        if !fits
            && !is_over
            && matches!(key, Key::Pid(..))
            && let (Some(peer), Some(_)) = (peer, connection.peer)
        {
            return self.beside(key, line, event, peer);
        }
        if !fits || is_over {
            let ended = std::mem::replace(connection, Connection::new(line, seen));
            due.extend(overdue(key, ended));
            is_new = true;
        }
        if is_new && let Some(peer) = peer {
            connection.is_rest = evicted.of(key, peer).is_some_and(|last| last.after(idle) >= line.at);
        }
        if is_new && let Key::Port(host, address, port) = key {
            let login = (host, address, port);
            // A line that comes late is of that login still; else it is another connection.
            connection.succeeded = logins.get(&login).is_some_and(|seen| seen.after(IDLE) >= line.at);
            if !connection.succeeded {
                logins.remove(&login);
            }
        }
        connection.seen = seen;
        (key, self.connections.at(place))
    }

    /// The same where another connection has the number: the line's own is looked for by its address; if none is known,
    /// the other one makes way.
    #[cold]
    fn beside(&mut self, key: Key, line: &Line, event: &Event<'_>, peer: Address) -> (Key, &mut Connection) {
        if let Some(own) = key_by_address(line, event, Some(peer)) {
            let own = self.joined(own, line, event, peer);
            if self.connections.contains(&own) {
                return self.entry(own, line, event, Some(peer));
            }
        }
        let mut is_shared = false;
        if let Some(other) = self.connections.get(&key)
            && let Some(address) = other.peer
        {
            // Else it is over, as far as anybody can know, and its process, too.
            is_shared = !other.succeeded && other.last.after(GRACE) >= line.at;
            let about = (line.host, address);
            let told = self.accounts.last(about).filter(|own| own.key == key);
            let user = told.map_or_else(|| fnv(FNV, other.user()), |own| own.user);
            let by_user = Key::User(line.host, address, user);
            let to = other.port.map_or(by_user, |port| Key::Port(line.host, address, port));
            self.rename(about, key, to);
        }
        let (key, connection) = self.entry(key, line, event, Some(peer));
        connection.is_shared = is_shared;
        (key, connection)
    }

    /// Puts a connection in that was known elsewhere.
    pub(super) fn insert(&mut self, key: Key, connection: Connection) {
        if self.connections.len() >= SESSIONS_MAX && !self.connections.contains(&key) {
            self.evict();
        }
        self.order.push_back((connection.seen, key));
        self.connections.insert(key, connection);
        self.mark(key);
        if self.order.len() > 2 * self.connections.len() + ORDER_SPARE {
            let mut known = HashSet::with_hasher(foldhash::fast::RandomState::default());
            self.order.retain(|(_, key)| self.connections.contains(key) && known.insert(*key));
        }
    }
}
