//! What of the connections must survive a restart.

use serde::{Deserialize, Serialize};

use super::accounts::{Own, Waiting};
use super::connection::Connection;
use super::key::Key;
use super::line::{Line, Trust};
use super::world::World;
use super::worlds::Sessions;

/// By which name a connection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeptKey {
    /// A connection as the sound lines tell of it.
    Sound(Key),
    /// As all lines do, where one may be forged.
    All {
        /// Which.
        all: Key,
    },
}

/// A connection that is kept.
pub type Kept = (KeptKey, Connection);

/// A PAM line that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptWaiting {
    #[serde(flatten)]
    line: Waiting,
    trust: Trust,
}

/// Keeping what a restart needs.
impl Sessions {
    /// From now on, notes which connections change.
    pub fn track_changes(&mut self) {
        self.worlds_mut().for_each(|world| world.tracks_changes = true);
    }

    /// How many changed since they were last taken, or a few more: some twice.
    pub fn changes(&self) -> usize {
        self.worlds().map(|world| world.changed.len()).sum()
    }

    /// The connections that changed since the last call; `None` = forgotten.
    pub fn take_changes(&mut self) -> Vec<(KeptKey, Option<Connection>)> {
        let mut changes = self.sound.take_changes(KeptKey::Sound);
        if let Some(all) = &mut self.all {
            changes.extend(all.take_changes(|all| KeptKey::All { all }));
        }
        changes
    }

    /// Whether any PAM line waits.
    pub fn waits(&self) -> bool {
        self.worlds().any(|world| world.accounts.waits() > 0)
    }

    /// The PAM lines that still wait.
    pub fn waiting(&self) -> Vec<KeptWaiting> {
        let of = |world: &World, trust| -> Vec<_> {
            world.accounts.waiting().map(|line| KeptWaiting { line: line.clone(), trust }).collect()
        };
        let mut waiting = of(&self.sound, Trust::Sound);
        waiting.extend(self.all.iter().flat_map(|all| of(all, Trust::Forgeable)));
        waiting.sort_by_key(|kept| kept.line.seen);
        waiting
    }

    /// Takes back what an earlier run remembered, in any order.
    pub fn restore(&mut self, mut connections: Vec<Kept>, waiting: Vec<KeptWaiting>) {
        connections.sort_by_key(|(_, connection)| connection.seen);
        for (key, connection) in connections {
            match key {
                KeptKey::Sound(key) => self.sound.restore(key, connection),
                KeptKey::All { all } => self.all().restore(all, connection),
            }
        }
        for KeptWaiting { line, trust } in waiting {
            let world = if trust == Trust::Sound { &mut self.sound } else { self.all() };
            let Waiting { host, source, seen, .. } = line;
            world.watermarks.tell(&Line {
                host,
                source,
                pid: None,
                at: seen,
                received: Default::default(),
                from: seen,
            });
            world.accounts.wait(line);
        }
    }
}

impl World {
    fn take_changes(&mut self, kept: impl Fn(Key) -> KeptKey) -> Vec<(KeptKey, Option<Connection>)> {
        let mut keys = std::mem::take(&mut self.changed);
        // In their order, so that the store writes neighbours together.
        keys.sort_unstable();
        keys.dedup();
        let login = |key| match key {
            Key::Port(host, address, port) => self.logins.get(&(host, address, port)),
            _ => None,
        };
        let login = |key| login(key).map(|seen| Connection::of_login(key, *seen));
        keys.into_iter().map(|key| (kept(key), self.connections.get(&key).cloned().or_else(|| login(key)))).collect()
    }

    fn restore(&mut self, key: Key, connection: Connection) {
        let (host, seen) = (key.host(), connection.seen);
        let line = Line {
            host,
            source: connection.witness.source,
            pid: None,
            at: seen,
            received: Default::default(),
            from: seen,
        };
        self.watermarks.tell(&line);
        let is_told = connection.worth() > 0 || connection.succeeded || connection.offered;
        // What a rule knows is not sshd's word.
        if let Some(peer) = connection.peer.filter(|_| is_told && !matches!(key, Key::Rule(..))) {
            self.spoke(host, peer, Own { at: connection.last, key, user: 0 });
        }
        if let Key::Port(host, address, port) = key
            && connection.succeeded
        {
            self.insert_login((host, address, port), seen);
            if connection.peer.is_none() {
                return; // it is what is kept of a login, and no connection
            }
        }
        self.insert(key, connection);
    }
}
