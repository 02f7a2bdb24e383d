//! Hosts that go by a short name in one input and by a full one in another.
//!
//! A whole name is a host: `web1.a` and `web1.b` are two. But the journal of a machine may say `web1` and a relay
//! `web1.a`, and what both tell happened once. They are one where both inputs brought the same message of the same
//! process within a second, by sound records, which nobody can make up. A short name that would be two full ones is a
//! host of its own. What may be forged is taken for the host of which a sound record told the same, and joins nothing
//! but its own input's names.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use inputs::record::{Record, SourceId};
use serde::{Deserialize, Serialize};

use super::rooms::forgeable;
use super::session::{HostId, Trust};

/// Records of which it is remembered who told them, in sets of [`WAYS`].
const TOLD_MAX: usize = 4_096;
/// Records of which a set has room: a few of one moment may share a set, and none displaces another.
const WAYS: usize = 4;
/// Short names of which it is known which full one they are; further ones are hosts of their own.
const JOINED_MAX: usize = 1_000;
/// Microseconds between two stamps of one record, at most.
const APART_MAX: u64 = 1_000_000;

/// An origin host as an input calls it.
type Called = (SourceId, HostId);

/// Who told a record.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Of process and message.
    hash: u64,
    at: i64,
    by: Called,
    /// The host that it was taken for.
    host: HostId,
}

/// Whose records another one's are.
#[derive(Clone, Copy, Debug)]
struct Joined {
    host: HostId,
    /// Whether strangers cannot have made that up.
    is_sound: bool,
}

/// What is known of namesakes.
#[derive(Debug, Default)]
pub struct Namesakes {
    /// In sets by hash, the latest first: a fifth record of a set displaces its first. It is not kept over a restart.
    told: Vec<[Option<Told>; WAYS]>,
    hasher: RandomState,
    /// The full name of a short one, by sound records; `None` = there are two.
    full: IndexMap<Called, Option<HostId>, RandomState>,
    /// Hosts that are another one's.
    joined: IndexMap<Called, Joined, RandomState>,
    /// What is kept changed since it last was.
    is_changed: bool,
    /// Records of short names beyond [`JOINED_MAX`].
    untold: u64,
    /// There is one input, so that no other tells the same: nothing is looked for.
    is_alone: bool,
}

/// What of it is kept over a restart: what is sound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    full: Vec<(Called, Option<HostId>)>,
    joined: Vec<(Called, HostId)>,
}

/// The part of a name before its first dot. An address has none.
fn label(name: &[u8]) -> &[u8] {
    let numeric = name.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':'));
    if numeric { name } else { name.split(|&b| b == b'.').next().unwrap_or(name) }
}

impl Namesakes {
    /// Says whether there is one input alone.
    pub(super) fn set_alone(&mut self, is_alone: bool) {
        self.is_alone = is_alone;
    }

    /// The host that is meant by what an input calls so.
    #[inline]
    pub(super) fn meant(&self, called: Called) -> HostId {
        if self.joined.is_empty() {
            return called.1;
        }
        self.joined.get(&called).map_or(called.1, |joined| joined.host)
    }

    /// Hears a record; says which host it is of, whose name is `name` of those.
    pub(super) fn hear<'n>(
        &mut self,
        record: &Record<'_>,
        called: HostId,
        trust: Trust,
        name: impl Fn(HostId) -> Option<&'n [u8]>,
    ) -> HostId {
        let by = (record.source, called);
        let host = self.meant(by);
        let Some(pid) = record.pid.filter(|_| !self.is_alone) else { return host };
        let (hash, at) = (self.hasher.hash_one((pid, record.message)), record.time().0);
        if self.told.is_empty() {
            self.told = vec![[None; WAYS]; TOLD_MAX / WAYS];
        }
        let sets = self.told.len();
        let set = &mut self.told[hash as usize % sets];
        let is_sound = trust == Trust::Sound;
        let known = set.iter().position(|told| told.is_some_and(|told| told.hash == hash));
        let other = known.and_then(|at| set[at]);
        if is_sound {
            set[..=known.unwrap_or(WAYS - 1)].rotate_right(1);
            set[0] = Some(Told { hash, at, by, host });
        }
        let Some(other) = other.filter(|other| other.at.abs_diff(at) <= APART_MAX) else {
            return host;
        };
        if other.by.0 == by.0 || other.by.1 == called {
            return host;
        }
        let (Some(one), Some(two)) = (name(called), name(other.by.1)) else { return host };
        let (short, full) = if one.len() < two.len() { (by, other.by) } else { (other.by, by) };
        let is_full = label(one) == label(two) && name(short.1) == Some(label(one));
        if !is_full || self.is_two(short, full.1, is_sound) {
            return host;
        }
        if host != other.host && (is_sound || self.joined.len() < forgeable(JOINED_MAX)) {
            self.joined.insert(by, Joined { host: other.host, is_sound });
            self.is_changed |= is_sound;
        }
        if is_sound {
            self.told[hash as usize % sets][0] = Some(Told { hash, at, by, host: other.host });
        }
        other.host
    }

    /// Whether a short name may be another full one than this. If so, it is none from now on, if that is certain.
    fn is_two(&mut self, short: Called, full: HostId, is_sound: bool) -> bool {
        match self.full.get(&short) {
            Some(known) if *known == Some(full) => return false,
            known if !is_sound => return known.is_some(),
            None if self.full.len() < JOINED_MAX => {
                self.full.insert(short, Some(full));
                self.is_changed = true;
                return false;
            }
            None => {
                self.untold += 1;
                return true;
            }
            Some(None) => return true,
            Some(Some(_)) => {}
        }
        self.full.insert(short, None);
        self.joined.retain(|called, joined| *called != short && joined.host != short.1);
        self.is_changed = true;
        true
    }

    /// The short names that are two hosts', each with the input that calls them so.
    pub(crate) fn ambiguous(&self) -> impl Iterator<Item = Called> {
        self.full.iter().filter(|(_, full)| full.is_none()).map(|(short, _)| *short)
    }

    /// How many records were of short names of which there was no room to know whose they are.
    pub(crate) fn untold(&self) -> u64 {
        self.untold
    }

    /// What is to be kept, if that changed since the last call.
    pub(super) fn take_changes(&mut self) -> Option<Kept> {
        let sound = self.joined.iter().filter(|(_, joined)| joined.is_sound);
        std::mem::take(&mut self.is_changed).then(|| Kept {
            full: self.full.iter().map(|(short, full)| (*short, *full)).collect(),
            joined: sound.map(|(called, joined)| (*called, joined.host)).collect(),
        })
    }

    /// Takes back what was kept.
    pub(crate) fn restore(&mut self, kept: Kept) {
        self.full.extend(kept.full.into_iter().take(JOINED_MAX));
        let joined = kept.joined.into_iter().map(|(called, host)| (called, Joined { host, is_sound: true }));
        self.joined.extend(joined);
    }

    /// An input's number is another one's now: that one may call others so.
    pub(super) fn forget(&mut self, input: SourceId) {
        let known = self.full.len() + self.joined.len();
        self.full.retain(|called, _| called.0 != input);
        self.joined.retain(|called, _| called.0 != input);
        self.is_changed |= self.full.len() + self.joined.len() < known;
    }
}
