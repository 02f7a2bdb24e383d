//! Address arithmetic of the back ends: what is left of a prefix, and overlaps made disjoint.
//!
//! Pure. Firewalls and hosts.deny differ in what they can say (ranges, prefixes, no overlaps); here the
//! decided set is rewritten into what they take, without changing which address is denied until when.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::decide::claim::latest;
use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, before, next};

use super::Until;

/// Disjoint ranges that say of every address how long it is denied: until the latest end of all prefixes
/// that hold it.
///
/// `prefixes` are of one family and in the order of [`Prefix`], so that a prefix comes before those in it.
/// At most two ranges a prefix.
pub(super) fn flatten(prefixes: impl Iterator<Item = (Prefix, Until)>) -> Vec<(Range, Until)> {
    // By their first addresses: the last ones, and until when.
    let mut pieces: BTreeMap<IpAddr, (IpAddr, Until)> = BTreeMap::new();
    for (prefix, until) in prefixes {
        let Range { first, last } = prefix.into();
        // What came before holds all of it or nothing.
        let outer = pieces.range(..=first).next_back().map(|(from, (to, end))| (*from, *to, *end));
        let Some((from, to, end)) = outer.filter(|(_, to, _)| *to >= first) else {
            pieces.insert(first, (last, until));
            continue;
        };
        pieces.insert(first, (last, latest(until, end)));
        if let Some(before) = before(first).filter(|_| from < first) {
            pieces.insert(from, (before, end));
        }
        if let Some(next) = next(last).filter(|_| last < to) {
            pieces.insert(next, (to, end));
        }
    }
    let mut out: Vec<(Range, Until)> = Vec::new();
    for (first, (last, end)) in pieces {
        match out.last_mut() {
            Some((range, same)) if *same == end && next(range.last) == Some(first) => range.last = last,
            _ => out.push((Range { first, last }, end)),
        }
    }
    out
}

/// The prefixes that cover `prefix` but for the allowed ranges, in order; `None` if that takes more than `most`.
///
/// `allowed` is as [`crate::decide::range::merge`] returns it.
pub(super) fn without(prefix: Prefix, allowed: &[Range], most: usize) -> Option<Vec<Prefix>> {
    let mut pieces = Vec::new();
    let mut todo = vec![prefix];
    while let Some(piece) = todo.pop() {
        let range = Range::from(piece);
        let at = allowed.partition_point(|allowed| allowed.last < range.first);
        match allowed.get(at) {
            Some(a) if a.first <= range.last => {
                if a.first <= range.first && range.last <= a.last {
                    continue;
                }
                // A single address is either in an allowed range or not, so there is a bit to split at.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::range::merge;
    use crate::deny::DenySet;
    use inputs::record::Timestamp;
    use std::net::Ipv4Addr;

    fn ranges(text: &str) -> Vec<Range> {
        merge(DenySet::sample("", text).allowed)
    }

    #[test]
    fn flattens() {
        let check = |given: &str, flat: &str| {
            let got: Vec<String> = flatten(DenySet::sample(given, "").denied.into_iter())
                .iter()
                .map(|(span, end)| format!("{span}@{}", end.map_or("-".to_owned(), |e| e.secs().to_string())))
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
            let pieces = without(prefix.parse().unwrap(), &ranges(allowed), 128).unwrap();
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
        let all = ranges("2001:db8::5");
        assert_eq!(without("2001:db8::/64".parse().unwrap(), &all, 64).unwrap().len(), 64);
        assert_eq!(without("2001:db8::/64".parse().unwrap(), &all, 63), None, "the limit");
    }

    /// Address by address against the plain definitions, in a /27.
    #[test]
    fn agrees_with_the_definition() {
        kit::property("overlaps", 200, |random| {
            let set: BTreeMap<Prefix, Until> = (0..random.below(9))
                .map(|_| {
                    let address = IpAddr::V4(Ipv4Addr::from(0xc000_0200 + random.below(32) as u32));
                    (Prefix::of(address, 27 + random.below(6) as u8), Some(Timestamp(random.below(4) as i64)))
                })
                .collect();
            let allowed: Vec<Range> = (0..random.below(4))
                .map(|_| {
                    let first = 0xc000_0200 + random.below(32) as u32;
                    let last = IpAddr::V4(Ipv4Addr::from(first + random.below(4) as u32));
                    Range { first: IpAddr::V4(Ipv4Addr::from(first)), last }
                })
                .collect();
            let allowed = merge(allowed);
            let flat = flatten(set.clone().into_iter());
            for n in 0xc000_0200_u32..0xc000_0220 {
                let host = Prefix::host(IpAddr::V4(Ipv4Addr::from(n)));
                let ends: Vec<Until> = set.iter().filter(|(p, _)| p.contains(&host)).map(|(_, u)| *u).collect();
                let got: Vec<Until> =
                    flat.iter().filter(|(s, _)| s.contains(host.address())).map(|(_, u)| *u).collect();
                assert!(got.len() <= 1, "overlap at {host}");
                assert_eq!(got.first(), ends.iter().max(), "{host}");
                let spared = allowed.iter().any(|range| range.contains(host.address()));
                for prefix in set.keys().filter(|p| p.contains(&host)) {
                    let pieces = without(*prefix, &allowed, 128).unwrap();
                    let hits = pieces.iter().filter(|p| p.contains(&host)).count();
                    assert_eq!(hits, usize::from(!spared), "{prefix}, {host}");
                }
            }
        });
    }
}
