//! Addresses and ports as sshd prints them, read from bytes.
//!
//! Two ways to find one, and a shape uses the one that attacker's text cannot reach: [`leading`] where the
//! address comes before any such text, [`trailing`] where it comes behind it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in its canonical form: an IPv4-mapped IPv6 address is the IPv4 address, and there is no zone id.
///
/// As two words, IPv4 as `::ffff:a.b.c.d`. An [`IpAddr`] is a tag and bytes; each record's is copied a dozen times on its
/// way, and to load as a whole what was stored as parts stalls the processor each time.
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

    /// Whether its neighbours are other people's: those of a link (fe80::/10, 169.254.0.0/16; RFC 4291, RFC 3927), this
    /// machine itself (::1, 127.0.0.0/8), and all of IPv4 behind a translator (64:ff9b::/96, RFC 6052). Elsewhere an
    /// IPv6 /64 is one customer's.
    pub fn stands_alone(self) -> bool {
        const NAT64: u64 = 0x0064_ff9b << 32;
        let v4 = self.is_ipv4().then_some(self.low as u32);
        v4.is_some_and(|v4| v4 >> 16 == 0xa9fe || v4 >> 24 == 127)
            || self.high >> 54 == 0xfe80 >> 6
            || self.high == NAT64 && self.low >> 32 == 0
            || self.high == 0 && self.low == 1
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
pub fn parse(text: &[u8]) -> Option<Address> {
    if text.len() > ADDRESS_MAX {
        return None;
    }
    if let Some(v4) = parse_v4(text) {
        return Some(v4.into());
    }
    if !text.contains(&b':') {
        return None;
    }
    let text = match memchr::memchr(b'%', text) {
        Some(at) if at + 1 < text.len() => &text[..at],
        Some(_) => return None,
        None => text,
    };
    let v6: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(v6.into())
}

/// `a.b.c.d` in decimal, no leading zeros, nothing else.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut rest = text;
    for (place, octet) in octets.iter_mut().enumerate() {
        let digit = |byte: u8| u16::from(byte - b'0');
        let (value, len) = match *rest {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => (digit(a) * 100 + digit(b) * 10 + digit(c), 3),
            [a @ b'1'..=b'9', b @ b'0'..=b'9', ..] => (digit(a) * 10 + digit(b), 2),
            [a @ b'0'..=b'9', ..] => (digit(a), 1),
            _ => return None,
        };
        *octet = u8::try_from(value).ok()?;
        rest = &rest[len..];
        if place < 3 {
            rest = rest.strip_prefix(b".")?;
        }
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

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
pub fn trailing(text: &[u8]) -> Option<Found<'_>> {
    if let Some((before, port)) = before_port(text) {
        let (head, word) = last_word(before);
        return Some(((said(word)?, Some(port)), head));
    }
    let (head, last) = last_word(text);
    Some(((said(last)?, None), head))
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
