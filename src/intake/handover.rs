//! What one source brought last, so that another one that takes its place and has the same records counts none of them again:
//! the journal stands in for a log that nobody writes, until somebody does.
//!
//! A record is known by its process and message: the two need not have the same stamp of it, nor the same name of its host.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use inputs::record::{Record, Timestamp};

/// How long a record is remembered: for as long as it takes to go over.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Records that are remembered at most; 2 MB of them. In a flood of more the oldest count again.
const REMEMBERED_MAX: usize = 65_536;
/// How long after that the other source may bring one of them: a log daemon writes within seconds.
const KNOWN: Duration = Duration::from_secs(60);

/// Either side of it.
#[derive(Debug, Default)]
pub(super) enum Handover {
    /// There is none.
    #[default]
    None,
    /// What is brought, in order, and when it came.
    Remembers(foldhash::fast::RandomState, VecDeque<(u64, Timestamp)>),
    /// What the source before brought, how often, and until when that is looked for.
    Knows(foldhash::fast::RandomState, HashMap<u64, u32, foldhash::fast::RandomState>, Timestamp),
}

fn hash(hasher: &foldhash::fast::RandomState, record: &Record<'_>) -> u64 {
    hasher.hash_one((record.pid, record.message))
}

impl Handover {
    /// That of a source in whose place another one will come.
    pub(super) fn begin() -> Handover {
        Handover::Remembers(foldhash::fast::RandomState::default(), VecDeque::new())
    }

    /// That of the source which comes in its place at `now`, if anything was remembered for that.
    pub(super) fn take(self, now: Timestamp) -> Option<Handover> {
        let Handover::Remembers(hasher, order) = self else { return None };
        let mut known = HashMap::default();
        for (hash, at) in order {
            if at >= now.before(REMEMBERED) {
                *known.entry(hash).or_default() += 1;
            }
        }
        Some(Handover::Knows(hasher, known, now.after(KNOWN)))
    }

    /// Whether the source before brought this record, which came now; each of its records is known once. Where another one
    /// will come, remembers it.
    #[inline]
    pub(super) fn knows(&mut self, record: &Record<'_>) -> bool {
        match self {
            Handover::None => false,
            Handover::Remembers(hasher, order) => {
                if order.len() == REMEMBERED_MAX {
                    order.pop_front();
                }
                order.push_back((hash(hasher, record), record.received));
                false
            }
            Handover::Knows(_, _, until) if record.received > *until => {
                *self = Handover::None;
                false
            }
            Handover::Knows(hasher, known, _) => match known.get_mut(&hash(hasher, record)) {
                Some(times) if *times > 0 => {
                    *times -= 1;
                    true
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: u32, message: &str, at: i64) -> Record<'_> {
        Record { pid: Some(pid), received: Timestamp::from_secs(at), ..Record::of(b"sshd", message.as_bytes()) }
    }

    #[test]
    fn each_record_of_the_source_before_is_known_once() {
        let mut journal = Handover::begin();
        for (pid, message, at) in [(1, "old", 0), (2, "a", 200), (2, "a", 201), (3, "b", 202)] {
            assert!(!journal.knows(&record(pid, message, at)));
        }
        let mut log = journal.take(Timestamp::from_secs(203)).unwrap();
        let mut check =
            |pid, message, at, want| assert_eq!(log.knows(&record(pid, message, at)), want, "{pid} {message} {at}");
        check(1, "old", 204, false);
        check(2, "a", 204, true);
        check(2, "a", 204, true);
        check(2, "a", 204, false);
        check(9, "b", 204, false);
        check(3, "c", 204, false);
        // After a minute nobody brings it again.
        check(3, "b", 264, false);
        check(3, "b", 204, false);
    }

    #[test]
    fn a_flood_has_a_bound() {
        let mut journal = Handover::begin();
        for pid in 0..=REMEMBERED_MAX as u32 {
            journal.knows(&record(pid, "a", 1));
        }
        let mut log = journal.take(Timestamp::from_secs(1)).unwrap();
        assert!(
            !log.knows(&record(0, "a", 1)) && (1..=REMEMBERED_MAX as u32).all(|pid| log.knows(&record(pid, "a", 1)))
        );
    }
}
