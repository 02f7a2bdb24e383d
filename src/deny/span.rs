//! Address arithmetic of the back ends: ranges, what is left of a prefix, and overlaps made disjoint.
//!
//! Pure. Firewalls and hosts.deny differ in what they can say (ranges, prefixes, no overlaps); here the
//! decided set is rewritten into what they take, without changing which address is denied until when.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::decide::prefix::Prefix;

use super::{AllowRange, Until, later};

/// Addresses from `first` to `last`, both included, of one family. IPv4 is in the low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) ipv4: bool,
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Span {
    pub(super) fn of(prefix: &Prefix) -> Span {
        Span { ipv4: prefix.is_ipv4(), first: number(prefix.address()), last: number(prefix.last()) }
    }

    /// `None` for what is no range: two families, or the last before the first.
    fn allowed(range: &AllowRange) -> Option<Span> {
        let (first, last) = (range.first.to_canonical(), range.last.to_canonical());
        let span = Span { ipv4: first.is_ipv4(), first: number(first), last: number(last) };
        (first.is_ipv4() == last.is_ipv4() && span.first <= span.last).then_some(span)
    }

    fn address(&self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(low) if self.ipv4 => IpAddr::V4(Ipv4Addr::from(low)),
            _ => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }
}

/// As nft reads it: `192.0.2.1` or `192.0.2.1-192.0.2.9`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address(self.first))?;
        if self.first != self.last { write!(f, "-{}", self.address(self.last)) } else { Ok(()) }
    }
}

/// The allowed ranges without overlap, neighbours joined, IPv6 before IPv4, in order.
///
/// What is no range is left out: the types let a caller write one, but nothing could match it.
pub(super) fn join(allowed: &[AllowRange]) -> Vec<Span> {
    let mut spans: Vec<Span> = allowed.iter().filter_map(Span::allowed).collect();
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(before) if before.ipv4 == span.ipv4 && span.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(span.last);
            }
            _ => joined.push(span),
        }
    }
    joined
}

/// Disjoint ranges that say of every address how long it is denied: until the latest end of all prefixes
/// that hold it.
///
/// `prefixes` are of one family and in the order of [`Prefix`], so that a prefix comes before those in it.
/// At most two ranges a prefix.
pub(super) fn flatten(prefixes: impl Iterator<Item = (Prefix, Until)>) -> Vec<(Span, Until)> {
    let mut out = Vec::new();
    let mut open: Vec<(Span, Until)> = Vec::new();
    // the first address that no range was written for yet; None behind the last address there is
    let mut next: Option<u128> = Some(0);
    for (prefix, until) in prefixes {
        let span = Span::of(&prefix);
        while let Some(&(outer, end)) = open.last()
            && outer.last < span.first
        {
            next = close(&mut out, outer, end, next);
            open.pop();
        }
        let until = match open.last() {
            Some(&(outer, end)) => {
                if let Some(first) = next.filter(|&first| first < span.first) {
                    emit(&mut out, Span { first, last: span.first - 1, ..outer }, end);
                }
                later(until, end)
            }
            None => until,
        };
        next = Some(span.first);
        open.push((span, until));
    }
    while let Some((outer, end)) = open.pop() {
        next = close(&mut out, outer, end, next);
    }
    out
}

/// Writes what is left of `outer`, and says where to go on.
fn close(out: &mut Vec<(Span, Until)>, outer: Span, end: Until, next: Option<u128>) -> Option<u128> {
    if let Some(first) = next.filter(|&first| first <= outer.last) {
        emit(out, Span { first, ..outer }, end);
    }
    next.and(outer.last.checked_add(1))
}

fn emit(out: &mut Vec<(Span, Until)>, span: Span, end: Until) {
    match out.last_mut() {
        Some((before, same)) if *same == end && before.last.checked_add(1) == Some(span.first) => {
            before.last = span.last;
        }
        _ => out.push((span, end)),
    }
}

/// The prefixes that cover `prefix` but for the allowed spans, in order; `None` if that takes more than `most`.
///
/// `allowed` is as [`join`] returns it.
pub(super) fn without(prefix: Prefix, allowed: &[Span], most: usize) -> Option<Vec<Prefix>> {
    let mut pieces = Vec::new();
    let mut todo = vec![prefix];
    while let Some(piece) = todo.pop() {
        let span = Span::of(&piece);
        let at = allowed.partition_point(|a| (a.ipv4, a.last) < (span.ipv4, span.first));
        match allowed.get(at) {
            Some(a) if a.ipv4 == span.ipv4 && a.first <= span.last => {
                if a.first <= span.first && span.last <= a.last {
                    continue;
                }
                // a single address is either in an allowed span or not, so there is a bit to split at
                let bits = piece.bits() + 1;
                todo.push(Prefix::of(piece.last(), bits));
                todo.push(Prefix::of(piece.address(), bits));
            }
            _ if pieces.len() == most => return None,
            _ => pieces.push(piece),
        }
    }
    Some(pieces)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inputs::record::Timestamp;
    use std::collections::BTreeMap;

    fn range(text: &str) -> AllowRange {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        AllowRange { first: first.parse().unwrap(), last: last.parse().unwrap() }
    }

    fn ranges(text: &str) -> Vec<AllowRange> {
        text.split_whitespace().map(range).collect()
    }

    #[test]
    fn joins() {
        let check = |given: &str, joined: &str| {
            let got: Vec<String> = join(&ranges(given)).iter().map(Span::to_string).collect();
            assert_eq!(got.join(" "), joined, "{given}");
        };
        check("", "");
        check("192.0.2.1", "192.0.2.1");
        check("192.0.2.9 192.0.2.1-192.0.2.4 192.0.2.3-192.0.2.8", "192.0.2.1-192.0.2.9");
        check("192.0.2.1 192.0.2.3", "192.0.2.1 192.0.2.3");
        check("0.0.0.0-255.255.255.255 192.0.2.3", "0.0.0.0-255.255.255.255");
        check("2001:db8::1 ::ffff:192.0.2.1", "2001:db8::1 192.0.2.1");
        check("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        check("192.0.2.9-192.0.2.1 192.0.2.1-2001:db8::1", "");
    }

    #[test]
    fn flattens() {
        let check = |given: &str, flat: &str| {
            let set: BTreeMap<Prefix, Until> = given
                .split_whitespace()
                .map(|item| {
                    let (prefix, end) = item.split_once('@').unwrap();
                    (prefix.parse().unwrap(), end.parse().ok().map(Timestamp))
                })
                .collect();
            let got: Vec<String> = flatten(set.into_iter())
                .iter()
                .map(|(span, end)| format!("{span}@{}", end.map_or("-".to_owned(), |e| e.0.to_string())))
                .collect();
            assert_eq!(got.join(" "), flat, "{given}");
        };
        check("192.0.2.0/24@9", "192.0.2.0-192.0.2.255@9");
        check("192.0.2.0/24@9 192.0.2.64/26@5", "192.0.2.0-192.0.2.255@9");
        check(
            "192.0.2.0/24@5 192.0.2.64/26@9",
            "192.0.2.0-192.0.2.63@5 192.0.2.64-192.0.2.127@9 192.0.2.128-192.0.2.255@5",
        );
        check("192.0.2.0/24@5 192.0.2.0/25@-", "192.0.2.0-192.0.2.127@- 192.0.2.128-192.0.2.255@5");
        check("192.0.2.0/24@5 192.0.2.128/25@9 192.0.2.192/26@7", "192.0.2.0-192.0.2.127@5 192.0.2.128-192.0.2.255@9");
        check("192.0.2.0/25@5 192.0.2.128/25@5", "192.0.2.0-192.0.2.255@5");
        check("0.0.0.0/0@5 255.255.255.255@9", "0.0.0.0-255.255.255.254@5 255.255.255.255@9");
        check(
            "::/0@5 ffff::/16@9 ffff:ffff::/32@5",
            "::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff@5 ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff@9",
        );
    }

    #[test]
    fn leaves_out_the_allowed() {
        let check = |prefix: &str, allowed: &str, left: &str| {
            let pieces = without(prefix.parse().unwrap(), &join(&ranges(allowed)), 128).unwrap();
            let got: Vec<String> = pieces.iter().map(Prefix::to_string).collect();
            assert_eq!(got.join(" "), left, "{prefix} without {allowed}");
        };
        check("192.0.2.0/24", "", "192.0.2.0/24");
        check("192.0.2.0/24", "198.51.100.1 192.0.1.255 192.0.3.0 2001:db8::1", "192.0.2.0/24");
        check("192.0.2.0/24", "192.0.0.0-192.0.2.255", "");
        check("192.0.2.1", "192.0.2.1", "");
        check("192.0.2.0/30", "192.0.2.1", "192.0.2.0 192.0.2.2/31");
        check("192.0.2.0/29", "192.0.2.1 192.0.2.4-192.0.2.5", "192.0.2.0 192.0.2.2/31 192.0.2.6/31");
        check("2001:db8::/126", "2001:db8::3 192.0.2.1", "2001:db8::/127 2001:db8::2");
        let all = join(&ranges("2001:db8::5"));
        assert_eq!(without("2001:db8::/64".parse().unwrap(), &all, 64).unwrap().len(), 64);
        assert_eq!(without("2001:db8::/64".parse().unwrap(), &all, 63), None, "the limit");
    }

    /// Address by address against the plain definitions, in a /27.
    #[test]
    fn agrees_with_the_definition() {
        kit::property("spans", 200, |random| {
            let set: BTreeMap<Prefix, Until> = (0..random.below(9))
                .map(|_| {
                    let address = IpAddr::V4(Ipv4Addr::from(0xc000_0200 + random.below(32) as u32));
                    (Prefix::of(address, 27 + random.below(6) as u8), Some(Timestamp(random.below(4) as i64)))
                })
                .collect();
            let allowed: Vec<AllowRange> = (0..random.below(4))
                .map(|_| {
                    let first = 0xc000_0200 + random.below(32) as u32;
                    let last = IpAddr::V4(Ipv4Addr::from(first + random.below(4) as u32));
                    AllowRange { first: IpAddr::V4(Ipv4Addr::from(first)), last }
                })
                .collect();
            let flat = flatten(set.clone().into_iter());
            for n in 0xc000_0200_u32..0xc000_0220 {
                let host = Prefix::host(IpAddr::V4(Ipv4Addr::from(n)));
                let ends: Vec<Until> = set.iter().filter(|(p, _)| p.contains(&host)).map(|(_, u)| *u).collect();
                let got: Vec<Until> =
                    flat.iter().filter(|(s, _)| (s.first..=s.last).contains(&u128::from(n))).map(|(_, u)| *u).collect();
                assert!(got.len() <= 1, "overlap at {host}");
                assert_eq!(got.first(), ends.iter().max(), "{host}");
                let spared = allowed.iter().any(|a| (a.first..=a.last).contains(&host.address()));
                for prefix in set.keys().filter(|p| p.contains(&host)) {
                    let pieces = without(*prefix, &join(&allowed), 128).unwrap();
                    let hits = pieces.iter().filter(|p| p.contains(&host)).count();
                    assert_eq!(hits, usize::from(!spared), "{prefix}, {host}");
                }
            }
        });
    }
}
