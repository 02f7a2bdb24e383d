//! What of the connections must survive a restart.

use indexmap::IndexMap;
use inputs::record::{SourceId, Timestamp};

use super::{HostId, Key, Late, Place, Session, Sessions, Trust, host_of};

/// Keeping what a restart needs.
impl Sessions {
    /// From now on, notes which sessions change.
    pub fn track_changes(&mut self) {
        self.tracks_dirty = true;
    }

    /// Whether any changed since they were last taken.
    pub fn changed(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The sessions that changed since the last call; `None` = forgotten.
    pub fn take_changes(&mut self) -> Vec<(Key, Option<Session>)> {
        let mut keys = std::mem::take(&mut self.dirty);
        let mut seen: IndexMap<Key, (), ahash::RandomState> = IndexMap::default();
        keys.retain(|key| seen.insert(*key, ()).is_none());
        keys.into_iter().map(|key| (key, self.find(&key).cloned())).collect()
    }

    /// Marks sessions as changed again: what was taken could not be kept.
    pub fn put_back_changes(&mut self, keys: impl Iterator<Item = Key>) {
        self.dirty.extend(keys);
    }

    /// The PAM lines that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Late> {
        self.waiting.iter()
    }

    /// How many connections are remembered.
    pub fn len(&self) -> usize {
        self.map.len() + self.logins.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back what an earlier run remembered, in any order.
    pub fn restore(&mut self, mut sessions: Vec<(Key, Session)>, waiting: Vec<Late>) {
        sessions.sort_by_key(|(_, session)| session.seen);
        for (key, session) in sessions {
            let host = host_of(key);
            self.tell(restored(host, session.side.source, session.seen));
            if let Some(peer) = session.peer
                && (session.attempts() > 0 || session.succeeded || session.offered)
            {
                self.told_itself(host, peer, session.last);
            }
            self.order.push_back((session.seen, key));
            self.map.insert(key, session);
        }
        for late in &waiting {
            self.tell(restored(late.host, late.source, late.seen));
        }
        self.waiting = waiting.into();
        self.is_due = true;
    }
}

/// Where a line stood that an earlier run folded.
fn restored(host: HostId, source: SourceId, at: Timestamp) -> Place {
    Place { host, source, trust: Trust::Sound, pid: None, at, received: Timestamp::default() }
}
