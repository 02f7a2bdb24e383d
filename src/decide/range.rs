//! Ranges of addresses: what is allowed, what a wide deny covers, what a firewall lists. Pure arithmetic.

use std::fmt;
use std::net::IpAddr;

use super::prefix::Prefix;
use crate::detect::address::Address;

/// Addresses from `first` to `last`, both included, of one family. In order IPv4 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
}

impl Range {
    /// `None` for what is no range: two families, or the last before the first.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Range> {
        let (first, last) = (first.to_canonical(), last.to_canonical());
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Range { first, last })
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// The length of the widest prefix of its family, of those given for IPv4 and IPv6, if it has more addresses.
    pub fn wider_than(&self, widest: (u8, u8)) -> Option<u8> {
        let (len, bits) = if self.first.is_ipv4() { (widest.0, 32) } else { (widest.1, 128) };
        let [first, last] = [self.first, self.last].map(|end| Address::from(end).to_bits());
        (last - first >= 1 << (bits - len)).then_some(len)
    }

    /// The prefixes that cover it and no other address, in order.
    pub(crate) fn prefixes(&self) -> Vec<Prefix> {
        let most = if self.first.is_ipv4() { 32 } else { 128 };
        let mut covered = Vec::new();
        let mut rest = Some(self.first);
        while let Some(at) = rest.filter(|at| *at <= self.last) {
            let fits = |bits: &u8| {
                let prefix = Prefix::of(at, *bits);
                prefix.address() == at && prefix.last() <= self.last
            };
            let prefix = Prefix::of(at, (0..=most).find(fits).unwrap_or(most));
            rest = next(prefix.last());
            covered.push(prefix);
        }
        covered
    }
}

impl From<Prefix> for Range {
    fn from(prefix: Prefix) -> Self {
        Range { first: prefix.address(), last: prefix.last() }
    }
}

/// `192.0.2.1` or `192.0.2.1-192.0.2.9`, as nft reads it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

/// The same addresses in order, in ranges that neither overlap nor touch.
pub(crate) fn merge(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    ranges.dedup_by(|range, before| {
        let touches = range.first <= before.last || next(before.last) == Some(range.first);
        if touches {
            before.last = before.last.max(range.last);
        }
        touches
    });
    ranges
}

/// The address behind this one; none behind the last of its family.
pub(crate) fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The address before this one; none before the first of its family.
pub(crate) fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|before| IpAddr::V4(before.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|before| IpAddr::V6(before.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges() {
        let check = |given: &str, merged: &str| {
            let range = |text: &str| {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                Range::new(first.parse().unwrap(), last.parse().unwrap())
            };
            let got = merge(given.split_whitespace().filter_map(range).collect());
            assert_eq!(got.iter().map(Range::to_string).collect::<Vec<_>>().join(" "), merged, "{given}");
        };
        check("", "");
        check("192.0.2.1", "192.0.2.1");
        check("192.0.2.9 192.0.2.1-192.0.2.4 192.0.2.3-192.0.2.8", "192.0.2.1-192.0.2.9");
        check("192.0.2.1 192.0.2.3", "192.0.2.1 192.0.2.3");
        check("0.0.0.0-255.255.255.255 192.0.2.3", "0.0.0.0-255.255.255.255");
        check("255.255.255.255 ::", "255.255.255.255 ::");
        check("2001:db8::1 ::ffff:192.0.2.1", "192.0.2.1 2001:db8::1");
        check("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        check("192.0.2.9-192.0.2.1 192.0.2.1-2001:db8::1", "");
    }
}
