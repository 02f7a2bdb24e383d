//! Records that a source brings a second time: a sender that lost its connection sends again what it is not sure of,
//! and two relays may bring the same.
//!
//! Tries that only look alike are real, so a record is told from another one by its producer's stamp, and only where
//! that is finer than a hundredth of a second: no server judges two passwords of a connection within a millisecond.
//!
//! Who can make up records must not hide others' by it: what may be forged is known by itself, and beside what is
//! sound in a small room.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use inputs::record::{Record, Timestamp};

use crate::decide::rooms::forgeable;
use crate::decide::session::Trust;

/// Records that one source remembers, of all its senders; 2 MB of them.
const REMEMBERED_MAX: usize = 65_536;

/// A stamp that is a multiple of this tells nothing apart: its clock may be no finer. Microseconds.
const COARSE: i64 = 10_000;

/// What a source brought lately.
#[derive(Debug, Default)]
pub(super) struct Redelivered {
    hasher: foldhash::fast::RandomState,
    /// What is as trusted as its source.
    usual: Lately,
    /// What may be forged of a source that is sound, as what a program printed.
    forgeable: Lately,
}

/// The last records, by their hashes.
#[derive(Debug, Default)]
struct Lately {
    order: VecDeque<u64>,
    known: HashSet<u64, foldhash::fast::RandomState>,
}

impl Redelivered {
    /// Whether the source brought this very record, with this stamp, before; remembers it. `of_source` is how far the
    /// source as a whole is trusted.
    #[inline]
    pub(super) fn knows(&mut self, record: &Record<'_>, stamp: Timestamp, trust: Trust, of_source: Trust) -> bool {
        stamp.0 % COARSE != 0 && self.remember(record, stamp, trust == of_source)
    }

    fn remember(&mut self, record: &Record<'_>, stamp: Timestamp, is_usual: bool) -> bool {
        let hash = self.hasher.hash_one((stamp, record.pid, record.host, record.identifier, record.message));
        match is_usual {
            true => self.usual.remember(hash, REMEMBERED_MAX),
            false => self.forgeable.remember(hash, forgeable(REMEMBERED_MAX)),
        }
    }
}

impl Lately {
    fn remember(&mut self, hash: u64, most: usize) -> bool {
        if !self.known.insert(hash) {
            return true;
        }
        if self.order.len() == most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_forged_hides_nothing_and_pushes_nothing_out() {
        let mut source = Redelivered::default();
        let mut knows = |number: usize, trust| {
            let message = format!("Failed password for root from 192.0.2.7 port {number} ssh2");
            let record = Record::of(b"sshd", message.as_bytes());
            source.knows(&record, Timestamp(number as i64 * COARSE + 1), trust, Trust::Sound)
        };
        for number in 0..100 {
            assert!(!knows(number, Trust::Forgeable), "new");
            assert!(!knows(number, Trust::Sound), "it was only forged before");
            assert!(knows(number, Trust::Sound) && knows(number, Trust::Forgeable), "again");
        }
        let flood = 100..100 + 2 * REMEMBERED_MAX;
        assert!(flood.clone().all(|number| !knows(number, Trust::Forgeable)));
        assert!((0..100).all(|number| knows(number, Trust::Sound)), "no flood pushes it out");
        let room = forgeable(REMEMBERED_MAX);
        assert!(knows(flood.end - room, Trust::Forgeable) && !knows(flood.end - room - 1, Trust::Forgeable));
    }
}
