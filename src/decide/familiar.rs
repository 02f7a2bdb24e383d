//! From where somebody logged in lately, by a sound record: who mistypes there is most likely one of us.
//!
//! Whoever is counted by such a prefix has a probation: the first deny is short. There is one in 30 days, so that whoever
//! owns an account guesses at the others hardly longer than strangers do.

use indexmap::IndexMap;
use inputs::record::Timestamp;

use super::nets::AT_HOME;
use super::prefix::Prefix;

/// Prefixes with a login that are remembered: 3 MB. Strangers make none. At the bound one that is older than its
/// neighbours is forgotten, and counted.
pub const FAMILIAR_MAX: usize = 65_536;

/// A login is noted anew after so many seconds: whoever logs in each minute need not be written each minute.
const NOTED_FOR: u32 = 3_600;

/// Of how many the one to forget is chosen.
const SAMPLE: usize = 16;

/// What is known of a prefix with a login. Times are seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last login, within [`NOTED_FOR`].
    pub login: u32,
    /// When the last probation began; 0 = there was none.
    pub probation: u32,
}

impl Known {
    /// Whether somebody logged in within 30 days before `at`.
    pub fn is_lately(self, at: Timestamp) -> bool {
        is_within(self.login, at)
    }

    /// Whether a deny that begins at `at` is to be a probation.
    pub fn has_probation(self, at: Timestamp) -> bool {
        self.is_lately(at) && !is_within(self.probation, at)
    }

    /// The same with a login at `at`, if that is worth noting.
    pub(super) fn with_login(self, at: Timestamp) -> Option<Known> {
        let at = seconds(at);
        (self.login == 0 || at >= self.login.saturating_add(NOTED_FOR)).then_some(Known { login: at, ..self })
    }
}

fn is_within(then: u32, at: Timestamp) -> bool {
    then > 0 && Timestamp::from_secs(i64::from(then)).after(AT_HOME) > at
}

/// In 32 bits, which last until 2106.
pub(super) fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.secs()).unwrap_or(0)
}

/// All of them.
#[derive(Debug, Default)]
pub struct Familiar {
    known: IndexMap<Prefix, Known, foldhash::fast::RandomState>,
}

impl Familiar {
    /// What is known of a prefix.
    pub fn get(&self, prefix: &Prefix) -> Option<Known> {
        self.known.get(prefix).copied()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Those within a prefix that logged in lately.
    pub fn within(&self, prefix: &Prefix, at: Timestamp) -> impl Iterator<Item = &Prefix> {
        let all = self.known.iter().filter(move |(other, known)| prefix.contains(other) && known.is_lately(at));
        all.map(|(other, _)| other)
    }

    /// Puts what is known of a prefix; `None` = it is forgotten.
    pub(super) fn put(&mut self, prefix: Prefix, known: Option<Known>) {
        match known {
            Some(known) => self.known.insert(prefix, known),
            None => self.known.swap_remove(&prefix),
        };
    }

    /// Whom to forget, the `nth`, where there is no room for one more: of a sample the one whose login is longest ago.
    pub(super) fn victim(&self, prefix: &Prefix, nth: u64) -> Option<Prefix> {
        if self.known.len() < FAMILIAR_MAX || self.known.contains_key(prefix) {
            return None;
        }
        let sample = (0..SAMPLE).filter_map(|step| self.known.get_index((nth as usize * SAMPLE + step) % FAMILIAR_MAX));
        sample.min_by_key(|(_, known)| known.login).map(|(prefix, _)| *prefix)
    }
}
