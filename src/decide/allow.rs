//! Who is never denied: addresses, prefixes, ranges and wildcards.

use std::net::IpAddr;

/// The allowed ranges, sorted and merged.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl AllowList {
    /// Whether all of `prefix` is allowed.
    pub fn covers(&self, prefix: &super::prefix::Prefix) -> bool {
        let (first, last) = (prefix.address(), prefix.last());
        self.ranges.iter().any(|range| range.0 <= first && last <= range.1)
    }

    /// Whether `address` is allowed.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|(first, last)| *first <= address && address <= *last)
    }
}
