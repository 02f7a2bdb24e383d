//! Addresses and ports as sshd prints them, read from bytes.
//!
//! Two ways to find one, and a shape uses the one that attacker's text cannot reach: [`leading`] where the
//! address comes before any such text, [`trailing`] where it comes behind it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in its canonical form: an IPv4-mapped IPv6 address is the IPv4 address, and there is no zone id.
///
/// As two words, IPv4 as `::ffff:a.b.c.d`. An [`IpAddr`] is a tag and bytes; each record's is copied a dozen times on
/// its way, and to load as a whole what was stored as parts stalls the processor each time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    high: u64,
    low: u64,
}

/// What stands before the 32 bits of an IPv4 address.
const IPV4: u64 = 0xffff << 32;

impl Address {
    /// The address of these bits, in the order of the network.
    pub fn from_bits(bits: u128) -> Self {
        Address { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// Its 128 bits.
    pub fn to_bits(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// Whether it is of IPv4.
    pub fn is_ipv4(self) -> bool {
        self.high == 0 && self.low & !0xffff_ffff == IPV4
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Address { high: 0, low: IPV4 | u64::from(address.to_bits()) }
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Address::from_bits(address.to_bits())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from_bits(address.low as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        IpAddr::from(*self).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IpAddr::deserialize(deserializer).map(Address::from)
    }
}

/// Where the peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer<'a> {
    /// At this address.
    Address(Address),
    /// At a host of this name. Names in logs are the attacker's to choose: they are never resolved.
    Name(&'a [u8]),
    /// The line does not say.
    #[default]
    Unsaid,
}

impl Peer<'_> {
    /// The address, if the line carries one.
    pub fn address(&self) -> Option<Address> {
        match self {
            Peer::Address(address) => Some(*address),
            _ => None,
        }
    }
}

/// The longest textual IPv6 address (45 bytes) with `%` and an interface name (15 bytes, `IFNAMSIZ`).
const ADDRESS_MAX: usize = 61;

/// Reads an address: IPv4, IPv6, mapped (becomes IPv4), with or without a zone id (dropped).
#[inline(always)]
pub fn parse(text: &[u8]) -> Option<Address> {
    if text.len() > ADDRESS_MAX {
        return None;
    }
    match v4(text) {
        Some(v4) => Some(Ipv4Addr::from_bits(v4).into()),
        None => v6(text).map(Address::from_bits),
    }
}

/// `a.b.c.d` in decimal, no leading zeros, nothing else. By words, not bytes: see [`octet`].
fn v4(text: &[u8]) -> Option<u32> {
    if !(7..=15).contains(&text.len()) {
        return None;
    }
    let (first, last) = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let seven = text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            (seven, seven << 8)
        }
    };
    let (high, bits) = two_octets(first)?;
    let left = 8 * text.len() as u32 - bits;
    if !(24..=56).contains(&left) {
        return None;
    }
    let (low, bits) = two_octets(last >> (64 - left) | u64::from(b'.') << left)?;
    (bits == left + 8).then_some(high << 16 | low)
}

/// `a.b.` at the low end of a word, and how many bits it takes.
#[inline(always)]
fn two_octets(word: u64) -> Option<(u32, u32)> {
    let (first, bits) = octet(word as u32)?;
    let (second, more) = octet((word >> bits) as u32)?;
    Some((first << 8 | second, bits + more))
}

/// `a.` at the low end of a word, and how many bits it takes. Its digits are read at once: how many there are, no
/// processor guesses, and a wrong guess takes longer than all of this.
#[inline(always)]
fn octet(word: u32) -> Option<(u32, u32)> {
    /// The least that so many digits are, without leading zeros.
    const LEAST: [u32; 5] = [u32::MAX, 0, 10, 100, u32::MAX];
    let digits = word ^ u32::from_le_bytes(*b"0000"); // a digit is its value now
    let others = (digits.wrapping_add(0x7676_7676) | digits) & 0x8080_8080;
    let len = others.trailing_zeros() / 8;
    let [_, hundreds, tens, ones] = digits.wrapping_shl(32 - 8 * len).to_le_bytes().map(u32::from);
    let octet = 100 * hundreds + 10 * tens + ones;
    let is_one = (LEAST[len as usize]..=255).contains(&octet) && word.wrapping_shr(8 * len) as u8 == b'.';
    is_one.then_some((octet, 8 * len + 8))
}

/// Eight groups of hexadecimal digits, of which `::` leaves out some that are zero. An IPv4 address
/// may be the last two.
#[inline(never)]
fn v6(text: &[u8]) -> Option<u128> {
    let text = match memchr::memchr(b'%', text) {
        Some(at) if at + 1 < text.len() => &text[..at],
        Some(_) => return None,
        None => text,
    };
    let mut before_gap = text.starts_with(b"::").then_some(0);
    let mut at = if before_gap.is_some() { 2 } else { 0 };
    let (mut bits, mut groups) = (0u128, 0);
    while at < text.len() {
        let (begin, mut group) = (at, 0);
        while let Some(digit @ 0..16) = text.get(at).map(|byte| HEX[usize::from(*byte)]) {
            (group, at) = (group << 4 | u128::from(digit), at + 1);
        }
        if !(1..=4).contains(&(at - begin)) {
            return None;
        }
        if text.get(at) == Some(&b'.') {
            (bits, groups) = (bits << 32 | u128::from(v4(&text[begin..])?), groups + 2);
            break;
        }
        (bits, groups) = (bits << 16 | group, groups + 1);
        at += match text[at..] {
            [] => 0,
            [b':', b':', ..] if before_gap.is_none() => {
                (before_gap, bits) = (Some(bits.rotate_right(16 * groups)), 0);
                2
            }
            [b':', _, ..] => 1,
            _ => return None,
        };
    }
    match before_gap {
        None => (groups == 8).then_some(bits),
        Some(before) => (groups < 8).then_some(before | bits),
    }
}

/// What bytes are as hexadecimal digits; 16 where they are none.
const HEX: [u8; 256] = {
    let (mut hex, mut digit) = ([16; 256], 0);
    while digit < 16 {
        hex[b"0123456789abcdef"[digit] as usize] = digit as u8;
        hex[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    hex
};

/// The greatest port.
const PORT_MAX: u32 = 65_535;

/// Reads a decimal number of at most ten digits.
pub fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut value = 0u64;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    u32::try_from(value).ok()
}

/// The peer that a text names: an address, or a host name.
///
/// `UNKNOWN` (what sshd prints when the socket is gone) is neither.
#[inline(always)]
pub fn peer(text: &[u8]) -> Peer<'_> {
    match parse(text) {
        Some(address) => Peer::Address(address),
        None if is_name(text) => Peer::Name(text),
        None => Peer::Unsaid,
    }
}

fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text != b"UNKNOWN"
        && !text.iter().all(u8::is_ascii_digit)
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Where a peer was found: the peer, its port, and the text on the other side of it.
pub type Found<'a> = ((Peer<'a>, Option<u16>), &'a [u8]);

/// The peer that a word names, where sshd has one: [`Peer::Unsaid`] if it says that it does not know.
#[inline(always)]
fn said(word: &[u8]) -> Option<Peer<'_>> {
    match peer(word) {
        Peer::Unsaid if word != b"UNKNOWN" => None,
        found => Some(found),
    }
}

/// Reads `ADDR[ port N]` at the start of `text`; returns what follows it.
pub fn leading(text: &[u8]) -> Option<Found<'_>> {
    let (word, rest) = text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()));
    let Some(after) = rest.strip_prefix(b" port ") else {
        // `192.0.2.1: 11: Bye`: old sshd has no port, and the colon directly behind the address, which may end in two
        let is_mark = word.ends_with(b":") && (!word.ends_with(b"::") || word.ends_with(b":::"));
        let word = &word[..word.len() - usize::from(is_mark)];
        return Some(((said(word)?, None), &text[word.len()..]));
    };
    let (port, digits) = digits(after);
    Some(((said(word)?, Some(port?)), &after[digits..]))
}

/// Reads `ADDR[ port N]` at the end of `text`; returns what precedes it, without the blank between.
#[inline(always)]
pub fn trailing(text: &[u8]) -> Option<Found<'_>> {
    let (before, port) = before_port(text).map_or((text, None), |(before, port)| (before, Some(port)));
    let (head, word) = last_word(before);
    Some(((said(word)?, port), head))
}

/// The port that the digits at the start of `text` are, if they are one, and how many they are.
fn digits(text: &[u8]) -> (Option<u16>, usize) {
    let mut port = 0u32;
    let mut len = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        port = (port * 10 + u32::from(digit - b'0')).min(PORT_MAX + 1);
        len += 1;
    }
    (u16::try_from(port).ok().filter(|_| len > 0), len)
}

/// What stands before ` port N` at the end of `text`, and N.
fn before_port(text: &[u8]) -> Option<(&[u8], u16)> {
    let (mut port, mut unit) = (0, 1);
    let mut head = text;
    while let [before @ .., digit @ b'0'..=b'9'] = head {
        port += u32::from(digit - b'0') * unit;
        // Six digits are no port, unless they begin with zeros: then the rest of them adds nothing.
        if port > PORT_MAX {
            return None;
        }
        unit = (unit * 10).min(PORT_MAX + 1);
        head = before;
    }
    let port = u16::try_from(port).ok().filter(|_| head.len() < text.len())?;
    Some((head.strip_suffix(b" port ")?, port))
}

/// Splits at the last blank; without one all of it is the word.
#[inline(always)]
fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b' ', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&text[..0], text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(parse(text.as_bytes()).map(|a| a.to_string()).as_deref(), want, "{text}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check("255.255.255.255", Some("255.255.255.255"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("fe80::1%eth0", Some("fe80::1"));
        check("::", Some("::"));
        for bad in
            ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4%eth0", "fe80::1%", "1..2.3", "a.b.c.d", "::g"]
        {
            check(bad, None);
        }
    }

    /// As the standard library reads it, which knows no zone.
    fn by_std(text: &str) -> Option<Address> {
        match text.split_once('%') {
            Some((address, zone)) if !zone.is_empty() => address.parse().ok().map(|v6: Ipv6Addr| v6.into()),
            _ => text.parse().ok().map(|address: IpAddr| address.into()),
        }
    }

    #[test]
    fn reads_addresses_as_the_standard_library_does() {
        const PARTS: [&str; 24] = [
            "",
            ":",
            ".",
            "::",
            "0",
            "1",
            "9",
            "a",
            "F",
            "g",
            "%",
            "%eth0",
            "00",
            "10",
            "99",
            "100",
            "255",
            "256",
            "1000",
            "ffff",
            "10000",
            "::ffff:",
            "192.0.2.1",
            "2001:db8:0:0:1:2:3:4",
        ];
        kit::property("addresses", 20_000, |random| {
            let mut text = match random.below(3) {
                0 => String::new(),
                1 => Ipv4Addr::from_bits(random.number() as u32).to_string(),
                // Groups of which many are zero, so that some are left out.
                _ => Ipv6Addr::from(std::array::from_fn::<u16, 8, _>(|_| {
                    random.below(0x2_0000u32).try_into().unwrap_or(0)
                }))
                .to_string(),
            };
            for _ in 0..random.below(if text.is_empty() { 12 } else { 3 }) {
                let at = random.below(text.len() + 1);
                let end = at + random.below(2).min(text.len() - at);
                text.replace_range(at..end, random.pick(&PARTS));
            }
            assert_eq!(parse(text.as_bytes()), by_std(&text).filter(|_| text.len() <= ADDRESS_MAX), "{text}");
        });
    }

    #[test]
    fn finds_the_peer_at_either_end() {
        let show = |found: Option<Found<'_>>| match found {
            Some(((Peer::Address(a), port), rest)) => format!("{a} {port:?} {}", String::from_utf8_lossy(rest)),
            Some(((Peer::Name(n), port), rest)) => {
                format!("name {} {port:?} {}", String::from_utf8_lossy(n), String::from_utf8_lossy(rest))
            }
            Some(((Peer::Unsaid, port), _)) => format!("unsaid {port:?}"),
            None => "-".to_owned(),
        };
        assert_eq!(show(trailing(b"root from 192.0.2.1 port 22")), "192.0.2.1 Some(22) root from");
        assert_eq!(show(trailing(b"root from 192.0.2.1")), "192.0.2.1 None root from");
        assert_eq!(show(trailing(b"192.0.2.1 port 22")), "192.0.2.1 Some(22) ");
        assert_eq!(show(trailing(b"x from 192.0.2.1 port 99999")), "-");
        assert_eq!(show(trailing(b"")), "-");
        assert_eq!(show(leading(b"192.0.2.1 port 22:11: Bye")), "192.0.2.1 Some(22) :11: Bye");
        assert_eq!(show(leading(b"192.0.2.1: 11: Bye")), "192.0.2.1 None : 11: Bye");
        assert_eq!(show(leading(b"192.0.2.1:")), "192.0.2.1 None :");
        assert_eq!(show(leading(b"2001:db8::: 11: Bye")), "2001:db8:: None : 11: Bye");
        assert_eq!(show(leading(b"2001:db8::")), "2001:db8:: None ");
        assert_eq!(show(leading(b"2001:db8::5: 11: Bye")), "2001:db8::5 None : 11: Bye");
        assert_eq!(show(leading(b"host.example.org port 5")), "name host.example.org Some(5) ");
        assert_eq!(show(leading(b"UNKNOWN port 65535 [preauth]")), "unsaid Some(65535)");
        assert_eq!(show(trailing(b"root from UNKNOWN port 65535")), "unsaid Some(65535)");
    }
}
