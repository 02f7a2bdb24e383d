//! Who is never denied: addresses, prefixes, ranges and wildcards.

use std::net::IpAddr;

/// The allowed ranges, sorted and merged.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl AllowList {
    /// Whether `address` is allowed.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|(first, last)| *first <= address && address <= *last)
    }
}
