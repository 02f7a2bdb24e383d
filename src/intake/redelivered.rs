//! Records that a source brings a second time: a sender that lost its connection sends again what it is not sure of,
//! and two relays may bring the same.
//!
//! Tries that only look alike are real, so a record is told from another one by its producer's stamp, and only where
//! that is finer than a hundredth of a second: no server judges two passwords of a connection within a millisecond.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use inputs::record::{Record, Timestamp};

/// Records that one source remembers, of all its senders; 2 MB of them.
const REMEMBERED_MAX: usize = 65_536;

/// A stamp that is a multiple of this tells nothing apart: its clock may be no finer. Microseconds.
const COARSE: i64 = 10_000;

/// What a source brought lately.
#[derive(Debug, Default)]
pub(super) struct Redelivered {
    hasher: foldhash::fast::RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64, foldhash::fast::RandomState>,
}

impl Redelivered {
    /// Whether the source brought this very record, with this stamp, before; remembers it.
    #[inline]
    pub(super) fn knows(&mut self, record: &Record<'_>, stamp: Timestamp) -> bool {
        stamp.0 % COARSE != 0 && self.remember(record, stamp)
    }

    fn remember(&mut self, record: &Record<'_>, stamp: Timestamp) -> bool {
        let hash = self.hasher.hash_one((stamp, record.pid, record.host, record.message));
        if !self.known.insert(hash) {
            return true;
        }
        if self.order.len() == REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        false
    }
}
