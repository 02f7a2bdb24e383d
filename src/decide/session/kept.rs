//! What of the connections must survive a restart.

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

    /// How many changed since then, or a few more: some twice.
    pub fn changes(&self) -> usize {
        self.dirty.len()
    }

    /// The sessions that changed since the last call; `None` = forgotten.
    pub fn take_changes(&mut self) -> Vec<(Key, Option<Session>)> {
        let mut keys = std::mem::take(&mut self.dirty);
        // In their order, so that the store writes neighbours together.
        keys.sort_unstable();
        keys.dedup();
        let login = |key| self.login(key).map(|login| Session::of_login(key, login));
        keys.into_iter().map(|key| (key, self.map.get(&key).cloned().or_else(|| login(key)))).collect()
    }

    /// Marks sessions as changed again: what was taken could not be kept.
    pub fn put_back_changes(&mut self, keys: impl Iterator<Item = Key>) {
        self.dirty.extend(keys);
    }

    /// The PAM lines that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Late> {
        self.patient.iter().chain(&self.waiting)
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
                && (session.attempts(Trust::Forgeable) > 0 || session.succeeded.is_some() || session.offered.is_some())
            {
                self.told_itself(host, peer, session.last, key, 0);
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
