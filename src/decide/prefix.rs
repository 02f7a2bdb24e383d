//! Addresses as they are counted and denied: prefixes.
//!
//! `::ffff:a.b.c.d` is a.b.c.d everywhere. An IPv6 zone id is not part of an address here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::detect::address::Address;

/// A network prefix; a single host is a prefix of full length. Bits behind the length are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Address,
    /// 0 to 128; IPv4 lengths are stored plus 96.
    len: u8,
}

/// A prefix in 20 bytes, for where there are a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    words: [u32; 4],
    len: u8,
}

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a prefix such as 192.0.2.0/24 or 2001:db8::/64")]
pub struct BadPrefix(String);

impl Packed {
    #[inline]
    pub(super) fn prefix(self) -> Prefix {
        let bits = self.words.iter().fold(0, |bits, word| bits << 32 | u128::from(*word));
        Prefix { address: Address::from_bits(bits), len: self.len }
    }
}

impl Prefix {
    /// The host `address` alone.
    #[inline]
    pub fn host(address: impl Into<Address>) -> Self {
        Prefix { address: address.into(), len: 128 }
    }

    /// The prefix of `len` bits that holds `address`; `len` counts in the family of the address and is cut to 32 or 128.
    #[inline]
    pub fn of(address: impl Into<Address>, len: u8) -> Self {
        let address = address.into();
        let len = if address.is_ipv4() { len.min(32) + 96 } else { len.min(128) };
        let masked = match len {
            0 => 0,
            128 => return Prefix { address, len },
            len => address.to_bits() & (u128::MAX << (128 - u32::from(len))),
        };
        Prefix { address: Address::from_bits(masked), len }
    }

    /// All there are, by family.
    pub fn all() -> [Self; 2] {
        [Prefix::of(Ipv4Addr::UNSPECIFIED, 0), Prefix::of(Ipv6Addr::UNSPECIFIED, 0)]
    }

    /// The same in less space.
    pub(super) fn packed(&self) -> Packed {
        let bits = self.address.to_bits();
        Packed { words: [96, 64, 32, 0].map(|shift| (bits >> shift) as u32), len: self.len }
    }

    /// Its 17 bytes: 16 of address, one of length. Sorted as bytes they are sorted as prefixes.
    pub fn to_bytes(&self) -> [u8; 17] {
        let mut all = [0; 17];
        all[..16].copy_from_slice(&self.address.to_bits().to_be_bytes());
        all[16] = self.len;
        all
    }

    /// What [`Prefix::to_bytes`] gave; `None` for anything else.
    pub fn from_bytes(all: &[u8]) -> Option<Self> {
        let (bits, len) = (u128::from_be_bytes(all.get(..16)?.try_into().ok()?), *all.get(16)?);
        (all.len() == 17 && len <= 128).then_some(Prefix { address: Address::from_bits(bits), len })
    }

    /// Whether it is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.len >= 96 && self.address.is_ipv4()
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.shown(self.address.to_bits())
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        let free = u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
        self.shown(self.address.to_bits() | free)
    }

    /// An address in it. A prefix that is shorter than all of IPv4 may begin like an IPv4 address and is none.
    fn shown(&self, bits: u128) -> IpAddr {
        if self.is_ipv4() { Address::from_bits(bits).into() } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) }
    }

    /// Its length in bits, in its own family: at most 32 or 128.
    pub fn bits(&self) -> u8 {
        if self.is_ipv4() { self.len - 96 } else { self.len }
    }

    /// Whether it is one address.
    pub fn is_host(&self) -> bool {
        self.len == 128
    }

    /// Whether `other` lies in it, or is the same.
    pub fn contains(&self, other: &Prefix) -> bool {
        self.len <= other.len
            && self.is_ipv4() == other.is_ipv4()
            && (self.len == 0 || (self.address.to_bits() ^ other.address.to_bits()) >> (128 - u32::from(self.len)) == 0)
    }
}

/// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/64`: the length only where it is not a single host.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.address()) } else { write!(f, "{}/{}", self.address(), self.bits()) }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    /// Reads an address or a prefix; host bits behind the length are dropped.
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.chars().take(80).collect());
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let given: IpAddr = address.parse().map_err(|_| bad())?;
        let Some(len) = len else { return Ok(Prefix::host(given)) };
        if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let len: u8 = len.parse().map_err(|_| bad())?;
        let most = if given.is_ipv4() { 32 } else { 128 };
        if len > most {
            return Err(bad());
        }
        match given.to_canonical() {
            // ::ffff:192.0.2.0/120 is 192.0.2.0/24
            IpAddr::V4(v4) if given.is_ipv6() => match len.checked_sub(96) {
                Some(len) => Ok(Prefix::of(IpAddr::V4(v4), len)),
                None => Err(bad()),
            },
            address => Ok(Prefix::of(address, len)),
        }
    }
}

impl serde::Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        let got = text.parse::<Prefix>().map_or_else(|_| "refused".to_owned(), |p| p.to_string());
        assert_eq!(got, shown, "{text}");
    }

    #[test]
    fn reads_and_shows() {
        check("192.0.2.1", "192.0.2.1");
        check("192.0.2.1/32", "192.0.2.1");
        check("192.0.2.77/24", "192.0.2.0/24");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("::ffff:192.0.2.9", "192.0.2.9");
        check("::ffff:192.0.2.9/120", "192.0.2.0/24");
        check("2001:db8:1:2:3::/64", "2001:db8:1:2::/64");
        check("2001:db8::1", "2001:db8::1");
        check("::/0", "::/0");
        for bad in [
            "",
            "all",
            "192.0.2.1/33",
            "2001:db8::/129",
            "192.0.2.1/",
            "192.0.2.1/+8",
            "192.0.2",
            "::ffff:0:0/90",
            "999.1.1.1",
        ] {
            check(bad, "refused");
        }
    }

    #[test]
    fn contains_its_own_family_only() {
        let p = |text: &str| text.parse::<Prefix>().unwrap();
        assert!(p("192.0.2.0/24").contains(&p("192.0.2.7")));
        assert!(!p("192.0.2.0/24").contains(&p("192.0.3.7")));
        assert!(!p("192.0.2.7").contains(&p("192.0.2.0/24")));
        assert!(p("0.0.0.0/0").contains(&p("198.51.100.1")));
        assert!(p("2001:db8::/32").contains(&p("2001:db8:ffff::1")));
        assert!(!p("::/0").contains(&p("192.0.2.1")), "no IPv6 prefix denies IPv4");
        assert!(p("::/0").contains(&p("2001:db8::1")));
    }

    #[test]
    fn first_and_last() {
        let p = |text: &str| text.parse::<Prefix>().unwrap();
        assert_eq!(p("192.0.2.0/24").last().to_string(), "192.0.2.255");
        assert_eq!(p("0.0.0.0/0").last().to_string(), "255.255.255.255");
        assert_eq!(p("2001:db8::/64").last().to_string(), "2001:db8::ffff:ffff:ffff:ffff");
    }
}
