//! The entries of a table of pf: pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use inputs::record::Timestamp;

use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::deny::{DenySet, Life};

/// One entry: of those that hold an address the narrowest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) prefix: Prefix,
    /// Whether it takes its addresses out of a wider one.
    pub(super) not: bool,
}

impl Entry {
    /// Whether it, or its negation, is among these: in a table the two are one place.
    pub(super) fn is_of(&self, entries: &BTreeSet<Entry>) -> bool {
        entries.contains(self) || entries.contains(&Entry { not: !self.not, ..*self })
    }
}

/// As pfctl reads it: `192.0.2.1`, `2001:db8::/64`, `!192.0.2.7`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.not { "!" } else { "" }, self.prefix)
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let text = line.trim();
        let (not, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text.trim()));
        let prefix = text.parse().map_err(|_| format!("an entry is unknown: {text:.80}"))?;
        Ok(Entry { prefix, not })
    }
}

/// What is wanted in the table.
pub(super) struct Wanted<'a> {
    want: &'a DenySet,
    now: Timestamp,
    /// What is allowed, in order.
    allowed: Vec<Range>,
    /// The same as prefixes.
    negated: Vec<Prefix>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(want: &'a DenySet, now: Timestamp) -> Self {
        let allowed = merge(want.allowed.clone());
        let mut negated: Vec<Prefix> = allowed.iter().flat_map(Range::prefixes).collect();
        negated.sort_unstable();
        Wanted { want, now, allowed, negated }
    }

    /// All entries.
    pub(super) fn all(&self) -> BTreeSet<Entry> {
        let denied = self.want.denied.keys().map(|prefix| Entry { prefix: *prefix, not: false });
        let negated = self.negated.iter().map(|prefix| Entry { prefix: *prefix, not: true });
        denied.chain(negated).filter(|entry| self.has(entry)).collect()
    }

    /// The entries that may change with a deny.
    pub(super) fn touched(&self, prefix: &Prefix) -> Vec<Entry> {
        let inside = self.negated.iter().filter(|allowed| prefix.contains(allowed));
        let negated = inside.map(|prefix| Entry { prefix: *prefix, not: true });
        negated.chain([Entry { prefix: *prefix, not: false }]).collect()
    }

    /// Whether an entry is wanted.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        if entry.not {
            let mut wider = (0..entry.prefix.bits()).map(|bits| Prefix::of(entry.prefix.address(), bits));
            return self.negated.binary_search(&entry.prefix).is_ok() && wider.any(|wider| self.denies(&wider));
        }
        self.denies(&entry.prefix) && !self.is_allowed(&entry.prefix)
    }

    fn denies(&self, prefix: &Prefix) -> bool {
        self.want.denied.get(prefix).is_some_and(|until| Life::left(*until, self.now) != Life::Over)
    }

    /// Whether all of a prefix is allowed.
    fn is_allowed(&self, prefix: &Prefix) -> bool {
        let range = Range::from(*prefix);
        let at = self.allowed.partition_point(|allowed| allowed.last < range.last);
        self.allowed.get(at).is_some_and(|allowed| allowed.first <= range.first && range.last <= allowed.last)
    }
}
