//! Deny: makes the world's deny sets equal to the one that was decided.

use std::collections::BTreeMap;

use inputs::record::Timestamp;

pub use crate::decide::allow::Range as AllowRange;
use crate::decide::prefix::Prefix;

/// When a deny ends; `None` = never.
pub type Until = Option<Timestamp>;

/// All that is to be denied, and what is allowed inside it.
#[derive(Clone, Debug, Default)]
pub struct DenySet {
    /// Denied prefixes and when each ends.
    pub denied: BTreeMap<Prefix, Until>,
    /// Allowed ranges; sorted, may overlap.
    pub allowed: Vec<AllowRange>,
}

/// What changed in a [`DenySet`].
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// New denies, and known ones whose end changed.
    pub denied: Vec<(Prefix, Until)>,
    /// Denies that are no more.
    pub released: Vec<Prefix>,
    /// The allowed ranges, where they changed.
    pub allowed: Option<Vec<AllowRange>>,
}
