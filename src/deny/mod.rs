//! Deny: makes the world's deny sets equal to the one that was decided.
//!
//! A [`DenyBackend`] knows one kind of set: [`nft`], [`iptables`], [`pf`], [`hosts_deny`], or [`stdout`] for dry runs;
//! [`choose`] has the table of them. A [`reconciler`] drives each, in a thread of its own. A back end is told the whole set that is
//! wanted and makes it so; nothing here decides who is denied, or reads a set in order to know that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use inputs::record::Timestamp;

pub use crate::decide::claim::Until;
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use effect::Refused;

pub mod choose;
pub mod cut;
pub mod effect;
pub mod elsewhere;
pub mod hosts_deny;
pub mod iptables;
pub mod ledger;
pub mod nft;
mod overlap;
pub mod pf;
pub mod places;
pub mod ports;
pub(crate) mod program;
pub mod reconciler;
pub mod stdout;

/// All that is to be denied, and what is allowed inside it.
#[derive(Clone, Debug, Default)]
pub struct DenySet {
    /// Denied prefixes and when each ends.
    pub denied: BTreeMap<Prefix, Until>,
    /// Allowed ranges; may overlap.
    pub allowed: Vec<Range>,
    /// Connections of denied addresses that stay open.
    pub kept: BTreeSet<Connection>,
}

/// A TCP connection to this machine or through it: the peer's address and port. What begins a connection is none.
pub type Connection = (IpAddr, u16);

/// What changed in a [`DenySet`].
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// New denies, and known ones whose end changed; `None` for those that are no more.
    pub denies: BTreeMap<Prefix, Option<Until>>,
    /// The allowed ranges, where they changed.
    pub allowed: Option<Vec<Range>>,
    /// The connections that stay open, where they changed.
    pub kept: Option<BTreeSet<Connection>>,
}

impl Diff {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.denies.is_empty() && self.allowed.is_none() && self.kept.is_none()
    }

    /// Adds what changed after it.
    fn extend(&mut self, later: &Diff) {
        self.denies.extend(&later.denies);
        if let Some(allowed) = &later.allowed {
            self.allowed = Some(allowed.clone());
        }
        if let Some(kept) = &later.kept {
            self.kept = Some(kept.clone());
        }
    }
}

impl DenySet {
    /// Carries out a change.
    pub fn apply(&mut self, diff: &Diff) {
        for (prefix, until) in &diff.denies {
            match until {
                Some(until) => self.denied.insert(*prefix, *until),
                None => self.denied.remove(prefix),
            };
        }
        if let Some(allowed) = &diff.allowed {
            self.allowed.clone_from(allowed);
        }
        if let Some(kept) = &diff.kept {
            self.kept.clone_from(kept);
        }
    }
}

#[cfg(test)]
impl DenySet {
    /// `192.0.2.1@160 2001:db8::/64@-`: denied prefixes and the second in which each ends; and `192.0.2.2-192.0.2.4
    /// 2001:db8::1`: what is allowed.
    fn sample(denied: &str, allowed: &str) -> DenySet {
        let denied = denied.split_whitespace().map(|item| {
            let (prefix, end) = item.split_once('@').unwrap();
            (prefix.parse().unwrap(), end.parse().ok().map(Timestamp::from_secs))
        });
        let allowed = allowed.split_whitespace().map(|text| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Range::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
        });
        DenySet { denied: denied.collect(), allowed: allowed.collect(), ..DenySet::default() }
    }
}

/// What a back end found denied, with the end where it can tell.
pub type Kept = Vec<(Prefix, Option<Until>)>;

/// A way to enforce denies. Each has a thread, and may take its time.
///
/// Whatever fails, the set that was in force stays in force; [`DenyBackend::replace`] is then called until it succeeds.
pub trait DenyBackend: Send {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Whether it denies anybody: one that only cuts connections does not.
    fn denies(&self) -> bool {
        true
    }

    /// Makes the set exactly so, in one step: no moment without it, whatever was there before.
    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError>;

    /// Carries out a change. `want` is the whole set after it, and wins where the two differ.
    fn update(&mut self, _diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.replace(want, now)
    }

    /// Asks whether our set is still as we left it; an error means that it has to be replaced. Cheap, but for `want`, which
    /// it may be compared with where something may have been missed.
    fn probe(&mut self, _want: &DenySet, _now: Timestamp) -> Result<Probe, DenyError> {
        Ok(Probe::Ours)
    }

    /// Takes away all that is ours there, as if it had never run.
    fn take_away(&mut self, now: Timestamp) -> Result<(), DenyError> {
        self.replace(&DenySet::default(), now)
    }

    /// Makes that as wanted which probes found changed.
    fn mend(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.replace(want, now)
    }

    /// What is readable once somebody changed something, so that it is probed at once. Without, it is probed every few
    /// seconds.
    fn stirs(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What was refused since this value was made, as far as that is known without asking; [`DenyBackend::probe`] asks.
    /// `None` for one that cannot tell.
    fn refused(&self) -> Option<Refused> {
        None
    }

    /// How many of the denies that are wanted it leaves out, though nothing failed.
    fn left_out(&self) -> usize {
        0
    }

    /// Packets of single denies that were refused since the set was last written, where they are counted.
    fn refused_of_each(&mut self) -> Result<BTreeMap<Prefix, u64>, DenyError> {
        Ok(BTreeMap::new())
    }

    /// What is allowed there now, the machine's own addresses too: asked once, where the database was lost.
    fn allowed(&mut self, _now: Timestamp) -> Result<Vec<Prefix>, DenyError> {
        Ok(Vec::new())
    }

    /// What is denied there now, whoever wrote it: asked once, where the database was lost.
    fn kept(&mut self, _now: Timestamp) -> Result<Kept, DenyError> {
        Ok(Kept::new())
    }
}

/// What a back end can tell of its set without reading all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nobody touched it.
    Ours,
    /// Somebody changed some of it, which can be mended.
    Changed {
        /// What, and who, where that is known; for people.
        what: String,
        /// How many wanted denies may not be there.
        missing: usize,
    },
}

/// Why a back end could not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: cannot {tried}: {cause}{}", remedy.map(|r| format!(" (remedy: {r})")).unwrap_or_default())]
pub struct DenyError {
    /// The back end's name.
    pub backend: &'static str,
    /// What was tried, and on what: `replace table inet denyd`.
    pub tried: String,
    /// Why it failed, in the words of the kernel or the program. Bounded; holds no log bytes.
    pub cause: String,
    /// What a person can do about it, where we know.
    pub remedy: Option<&'static str>,
}

impl DenyError {
    /// One of which nobody knows what can be done about it.
    fn new(backend: &'static str, tried: impl Into<String>, cause: impl ToString) -> Self {
        DenyError { backend, tried: tried.into(), cause: cause.to_string(), remedy: None }
    }
}

/// How long a deny has still to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It has ended, or ends now: never enforced.
    Over,
    /// Whole seconds, rounded up; at least 1.
    Seconds(u64),
    /// It does not end.
    Forever,
}

impl Life {
    fn left(until: Until, now: Timestamp) -> Life {
        let Some(until) = until else { return Life::Forever };
        match u64::try_from(until.0.saturating_sub(now.0)) {
            Err(_) | Ok(0) => Life::Over,
            Ok(micros) => Life::Seconds(micros.div_ceil(1_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_rounds_up_and_ends() {
        let now = Timestamp::from_secs(100);
        let check = |micros: i64, life: Life| assert_eq!(Life::left(Some(Timestamp(now.0 + micros)), now), life);
        check(-1, Life::Over);
        check(0, Life::Over);
        check(1, Life::Seconds(1));
        check(1_000_000, Life::Seconds(1));
        check(1_000_001, Life::Seconds(2));
        assert_eq!(Life::left(None, now), Life::Forever);
        assert_eq!(Life::left(Some(Timestamp(i64::MIN)), now), Life::Over);
        assert_eq!(Life::left(Some(Timestamp(i64::MAX)), Timestamp(i64::MIN)), Life::Seconds(9_223_372_036_855));
    }

    #[test]
    fn an_error_says_what_to_do() {
        let error = DenyError {
            backend: "nftables",
            tried: "replace table inet denyd".to_owned(),
            cause: "no nft in /usr/sbin".to_owned(),
            remedy: Some("install the package nftables"),
        };
        let text =
            "nftables: cannot replace table inet denyd: no nft in /usr/sbin (remedy: install the package nftables)";
        assert_eq!(error.to_string(), text);
    }
}
