//! Addresses that are not counted as others are, and why: the one table of them.
//!
//! Elsewhere an IPv4 address is one customer's, and so is an IPv6 /64. Here the neighbours are other people's, or one
//! customer has more. What is counted is what is denied, since a back end sees the packet's own address: an IPv4
//! address within another one is never denied by itself, nor is the other one because of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Address;

/// A range of special addresses.
#[derive(Debug)]
pub struct Special {
    /// Where it begins; as an IPv4-mapped address if it is of IPv4.
    first: u128,
    /// The bits of that that are the range's, of 128.
    mask: u128,
    /// By how many bits of 128 an address of it is counted and denied; `None` = as others.
    pub bits: Option<u8>,
    /// Whether it is never denied: nobody can connect from it, and a deny would only hit who has no address yet; or it is
    /// this machine, whose proxy hides who failed.
    pub is_never_denied: bool,
    /// What it is called, and by which document.
    pub name: &'static str,
    /// Why it is counted so.
    pub why: &'static str,
}

/// How an address is counted and denied.
#[derive(Clone, Copy)]
enum How {
    /// As others.
    Usual,
    /// By itself.
    Alone,
    /// By so many bits.
    By(u8),
    /// By itself, and never denied.
    Never,
}
use How::{Alone, By, Never, Usual};

const fn special(first: Ipv6Addr, len: u8, how: How, name: &'static str, why: &'static str) -> Special {
    let bits = match how {
        Usual => None,
        Alone | Never => Some(128),
        By(bits) => Some(bits),
    };
    // A shift by all bits is none.
    let mask = if len == 0 { 0 } else { u128::MAX << (128 - len) };
    Special { first: first.to_bits(), mask, bits, is_never_denied: matches!(how, Never), name, why }
}

const fn v4(net: [u8; 4], len: u8, how: How, name: &'static str, why: &'static str) -> Special {
    let [a, b, c, d] = net;
    special(Ipv4Addr::new(a, b, c, d).to_ipv6_mapped(), 96 + len, how, name, why)
}

const fn v6(net: [u16; 3], len: u8, how: How, name: &'static str, why: &'static str) -> Special {
    let [a, b, c] = net;
    special(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), len, how, name, why)
}

const FORGED: &str = "nobody connects from it: only a forged record has it";
const PROXY: &str = "all of it is this machine: a proxy there hides who failed";
const DHCP: &str = "only a forged record has it, and who asks for an address by DHCP sends from it";
const SITES: &str = "a site numbers its own machines as others do";
const EXAMPLES: &str = "examples and tests use it as any other";

/// Of IPv4; the first that holds an address says how it is counted.
const V4: [Special; 13] = [
    v4([0, 0, 0, 0], 8, Never, "no address (RFC 791)", DHCP),
    v4([127, 0, 0, 0], 8, Never, "loopback (RFC 1122)", PROXY),
    v4([169, 254, 0, 0], 16, Alone, "link-local (RFC 3927)", "the neighbours on a link are other machines"),
    v4([224, 0, 0, 0], 4, Never, "multicast (RFC 5771)", FORGED),
    v4([255, 255, 255, 255], 32, Never, "broadcast (RFC 919)", FORGED),
    v4([10, 0, 0, 0], 8, Usual, "private (RFC 1918)", SITES),
    v4([172, 16, 0, 0], 12, Usual, "private (RFC 1918)", SITES),
    v4([192, 168, 0, 0], 16, Usual, "private (RFC 1918)", SITES),
    v4([100, 64, 0, 0], 10, Usual, "shared (RFC 6598)", "inside its network a carrier gives each customer one"),
    v4([198, 18, 0, 0], 15, Usual, "benchmarking (RFC 2544)", EXAMPLES),
    v4([192, 0, 2, 0], 24, Usual, "documentation (RFC 5737)", EXAMPLES),
    v4([198, 51, 100, 0], 24, Usual, "documentation (RFC 5737)", EXAMPLES),
    v4([203, 0, 113, 0], 24, Usual, "documentation (RFC 5737)", EXAMPLES),
];

/// Of IPv6, in the same way.
const V6: [Special; 14] = [
    v6([0x64, 0xff9b, 0], 96, Alone, "NAT64 (RFC 6052)", "all of IPv4 is in one /96, an address each"),
    v6([0x64, 0xff9b, 1], 48, Alone, "NAT64 (RFC 8215)", "all of IPv4 is in each of its prefixes, an address each"),
    v6([0, 0, 0], 128, Never, "no address (RFC 4291)", FORGED),
    special(Ipv6Addr::LOCALHOST, 128, Never, "loopback (RFC 4291)", PROXY),
    v6([0, 0, 0], 64, Alone, "IPv4 inside (RFC 4291)", "all of IPv4 may be in it, an address each"),
    v6([0, 0, 0], 8, Alone, "reserved (RFC 4291)", "only translators use it, and all of IPv4 may be in a /64"),
    v6([0x2001, 0, 0], 32, Alone, "Teredo (RFC 4380)", "a /64 has all clients of a Teredo server, from all of IPv4"),
    v6([0x2002, 0, 0], 16, By(48), "6to4 (RFC 3056)", "a /48 is one IPv4 address, and answers go to that alone"),
    v6([0xfe80, 0, 0], 10, Alone, "link-local (RFC 4291)", "the neighbours on a link are other machines"),
    v6([0xff00, 0, 0], 8, Never, "multicast (RFC 4291)", FORGED),
    v6([0xfc00, 0, 0], 7, Usual, "unique local (RFC 4193)", SITES),
    v6([0x2001, 2, 0], 48, Usual, "benchmarking (RFC 5180)", EXAMPLES),
    v6([0x2001, 0xdb8, 0], 32, Usual, "documentation (RFC 3849)", EXAMPLES),
    v6([0x3fff, 0, 0], 20, Usual, "documentation (RFC 9637)", EXAMPLES),
];

/// A NAT64 prefix of the site's own, which the configuration names.
pub static SITES_NAT64: Special =
    v6([0, 0, 0], 0, Alone, "this site's NAT64 (nat64_prefixes)", "all of IPv4 is in it, an address each");

/// Whether an address means the same host to everybody: only such a one is told of to others, and taken from them.
pub fn is_shared(address: Address) -> bool {
    let is_assigned = match IpAddr::from(address) {
        // 240.0.0.0/4 is reserved, and 192.0.0.0/24 for protocols (RFC 6890).
        IpAddr::V4(ip) => ip.octets()[0] < 240 && ip.octets()[..3] != [192, 0, 0],
        // All else is not in use (RFC 4291).
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    };
    is_assigned && Special::of(address).is_none()
}

impl Special {
    /// What an address is, if it is special.
    #[inline]
    pub fn of(address: Address) -> Option<&'static Special> {
        let table: &'static [Special] = if address.is_ipv4() { &V4 } else { &V6 };
        table.iter().find(|it| it.holds(address))
    }

    /// By how many bits of 128 an address is counted and denied, if not as others. Each record's is looked for, so the
    /// rows that say nothing of that stand last.
    #[inline]
    pub fn bits(address: Address) -> Option<u8> {
        let table: &[Special] = if address.is_ipv4() { &V4 } else { &V6 };
        table.iter().take_while(|it| it.bits.is_some()).find(|it| it.holds(address))?.bits
    }

    /// Whether an address lies in it.
    fn holds(&self, address: Address) -> bool {
        (address.to_bits() ^ self.first) & self.mask == 0
    }
}

/// For people: `link-local (RFC 4291): the neighbours on a link are other machines`.
impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let never = if self.is_never_denied { "; it is never denied" } else { "" };
        write!(f, "{}: {}{never}", self.name, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_of_the_internet_is_shared() {
        let check = |shared: bool, all: &[&str]| {
            for address in all {
                assert_eq!(is_shared(address.parse::<IpAddr>().unwrap().into()), shared, "{address}");
            }
        };
        check(true, &["20.1.1.1", "223.255.255.255", "192.0.1.1", "2001:4860::1", "2a00::1", "::ffff:20.1.1.1"]);
        check(false, &["0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.0.1", "172.16.0.1", "192.0.0.8"]);
        check(false, &["192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1"]);
        check(
            false,
            &["240.0.0.1", "255.255.255.255", "::", "::1", "64:ff9b::1401:101", "100::1", "2001::1", "2002::1"],
        );
        check(false, &["2001:db8::1", "3fff::1", "4000::1", "fc00::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1"]);
    }

    #[test]
    fn each_is_counted_as_the_table_says() {
        let check = |address: &str, want: Option<(&str, Option<u8>)>| {
            let special = Special::of(crate::detect::address::parse(address.as_bytes()).unwrap());
            let name = |it: &Special| it.name.split([' ', ',']).next().unwrap();
            let got = special.map(|it| (if it.is_never_denied { "never" } else { name(it) }, it.bits));
            assert_eq!(got, want, "{address}");
            assert_eq!(
                Special::bits(crate::detect::address::parse(address.as_bytes()).unwrap()),
                want.and_then(|it| it.1)
            );
        };
        let alone = |name| Some((name, Some(128)));
        let usual = |name| Some((name, None));
        check("0.0.0.0", alone("never"));
        check("127.0.0.1", alone("never"));
        check("127.255.255.255", alone("never"));
        check("128.0.0.1", None);
        check("169.254.7.7", alone("link-local"));
        check("169.255.0.1", None);
        check("224.0.0.1", alone("never"));
        check("239.255.255.255", alone("never"));
        check("240.0.0.1", None);
        check("255.255.255.255", alone("never"));
        check("255.255.255.254", None);
        check("9.255.255.255", None);
        check("10.0.0.1", usual("private"));
        check("172.15.255.255", None);
        check("172.16.0.1", usual("private"));
        check("172.31.255.255", usual("private"));
        check("172.32.0.0", None);
        check("192.168.255.255", usual("private"));
        check("100.63.255.255", None);
        check("100.64.0.1", usual("shared"));
        check("100.127.255.255", usual("shared"));
        check("100.128.0.0", None);
        check("198.17.255.255", None);
        check("198.18.0.1", usual("benchmarking"));
        check("198.19.255.255", usual("benchmarking"));
        check("198.20.0.0", None);
        check("198.51.100.7", usual("documentation"));
        check("198.51.101.0", None);
        check("203.0.113.255", usual("documentation"));
        check("192.0.2.7", Some(("documentation", None)));
        check("::ffff:192.0.2.7", Some(("documentation", None)));
        check("::ffff:127.0.0.1", alone("never"));
        check("::", alone("never"));
        check("::1", alone("never"));
        check("::192.0.2.7", alone("IPv4"));
        check("::ffff:0:192.0.2.7", alone("IPv4"));
        check("64:ff9b::192.0.2.7", alone("NAT64"));
        check("64:ff9b:0:0:0:1:192.0.2.7", alone("reserved"));
        check("64:ff9b:1:fffe::192.0.2.7", alone("NAT64"));
        check("64:ff9b:2::1", alone("reserved"));
        check("100::1", None);
        check("2001:0:c000:207:8000:63bf:3fff:fdd2", alone("Teredo"));
        check("2001:1::1", None);
        check("2002:c000:207::1", Some(("6to4", Some(48))));
        check("2003::1", None);
        check("fe80::1%eth0", alone("link-local"));
        check("febf::1", alone("link-local"));
        check("fec0::1", None);
        check("ff02::1", alone("never"));
        check("2001:2::1", usual("benchmarking"));
        check("2001:2:1::1", None);
        check("3fff:fff::1", usual("documentation"));
        check("3fff:1000::1", None);
        check("fd00::1", Some(("unique", None)));
        check("2001:db8::1", Some(("documentation", None)));
        check("2600::1", None);
    }

    /// The table for people is this one.
    #[test]
    fn the_readme_has_the_table() {
        let told = include_str!("../../packaging/doc/decisions.md");
        for Special { first, mask, bits, is_never_denied, name, why } in V4.iter().chain(&V6) {
            let address = Address::from_bits(*first);
            let len = mask.leading_ones() - if address.is_ipv4() { 96 } else { 0 };
            let counted = match bits {
                None => "as others".to_owned(),
                Some(_) if *is_never_denied => "alone, never denied".to_owned(),
                Some(128) => "alone".to_owned(),
                Some(bits) => format!("by its /{bits}"),
            };
            let row = format!("| `{address}/{len}` | {name} | {counted} | {why} |");
            assert!(told.contains(&row), "packaging/doc/decisions.md should have\n{row}");
        }
    }
}
