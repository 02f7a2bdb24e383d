//! Connections that were forgotten for want of room, though lines of them may still come.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use inputs::record::Timestamp;

use super::connection::Connection;
use super::key::Key;
use super::line::SESSIONS_MAX;
use super::recent::Recent;
use crate::detect::address::Address;

/// When the last line came of those of which something had come: what ends them must not count once more. Only a hash
/// of each is kept, with its time; after as many others they are forgotten for good.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    told: Recent<u64, Timestamp, SESSIONS_MAX>,
    hasher: RandomState,
    /// All that were forgotten so.
    pub(super) count: u64,
}

impl Evicted {
    /// One more is forgotten.
    pub(super) fn put(&mut self, key: Key, connection: &Connection) {
        self.count += 1;
        if let Some(peer) = connection.peer.filter(|_| connection.is_told()) {
            self.told.insert(self.hasher.hash_one((key, peer)), connection.last);
            if self.told.is_full() {
                self.told.rotate(|_, _| false);
            }
        }
    }

    /// When the last line of such a one came.
    pub(super) fn of(&self, key: Key, peer: Address) -> Option<Timestamp> {
        (self.count > 0).then(|| self.told.get(&self.hasher.hash_one((key, peer))).copied()).flatten()
    }
}
