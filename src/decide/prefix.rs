//! Addresses as they are counted and denied: a prefix, in 17 bytes.
//!
//! `::ffff:a.b.c.d` is a.b.c.d everywhere. An IPv6 zone id is not part of an address here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network prefix; a single host is a prefix of full length.
///
/// Kept as 16 bytes of IPv6 and a length, IPv4 as `::ffff:a.b.c.d`, so that a million of them stay small
/// and one table serves both families. Bits behind the length are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    bytes: [u8; 16],
    /// 0 to 128; IPv4 lengths are stored plus 96.
    len: u8,
}

/// As one number and a byte: hashed as a slice it takes three times as long.
impl Hash for Prefix {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.bytes));
        state.write_u8(self.len);
    }
}

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a prefix such as 192.0.2.0/24 or 2001:db8::/64")]
pub struct BadPrefix(String);

/// An address in its canonical form: an IPv4-mapped IPv6 address is the IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl Prefix {
    /// The host `address` alone.
    pub fn host(address: IpAddr) -> Self {
        match canonical(address) {
            IpAddr::V4(v4) => Prefix { bytes: v4.to_ipv6_mapped().octets(), len: 128 },
            IpAddr::V6(v6) => Prefix { bytes: v6.octets(), len: 128 },
        }
    }

    /// The prefix of `len` bits that holds `address`; `len` counts in the family of the canonical address
    /// and is cut to 32 or 128.
    pub fn of(address: IpAddr, len: u8) -> Self {
        let host = Prefix::host(address);
        let len = if host.is_ipv4() { len.min(32) + 96 } else { len.min(128) };
        let masked = match len {
            0 => 0,
            len => u128::from_be_bytes(host.bytes) & (u128::MAX << (128 - u32::from(len))),
        };
        Prefix { bytes: masked.to_be_bytes(), len }
    }

    /// Its 17 bytes: 16 of address, one of length. Sorted as bytes they are sorted as prefixes.
    pub fn to_bytes(&self) -> [u8; 17] {
        let mut all = [0; 17];
        all[..16].copy_from_slice(&self.bytes);
        all[16] = self.len;
        all
    }

    /// What [`Prefix::to_bytes`] gave; `None` for anything else.
    pub fn from_bytes(all: &[u8]) -> Option<Self> {
        let (bytes, len) = (all.get(..16)?.try_into().ok()?, *all.get(16)?);
        (all.len() == 17 && len <= 128).then_some(Prefix { bytes, len })
    }

    /// Whether it is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.len >= 96 && self.bytes[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        let v6 = IpAddr::V6(Ipv6Addr::from(self.bytes));
        if self.is_ipv4() { v6.to_canonical() } else { v6 }
    }

    /// Its last address.
    pub fn last(&self) -> IpAddr {
        let free = u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
        let v6 = IpAddr::V6(Ipv6Addr::from(u128::from_be_bytes(self.bytes) | free));
        if self.is_ipv4() { v6.to_canonical() } else { v6 }
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
            && (self.len == 0
                || (u128::from_be_bytes(self.bytes) ^ u128::from_be_bytes(other.bytes)) >> (128 - u32::from(self.len))
                    == 0)
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
        match canonical(given) {
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
