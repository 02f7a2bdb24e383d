//! What the kernel holds of our table, against what is wanted.
//!
//! Read after the whole set was written, and where something may not have been heard: never in order to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::message::{Base, Element, NF_ACCEPT, Told, expressions, packets};
use super::plan::{Lengths, Plan, SETS, Set, Touched, USUAL, WIDE};
use super::script::{Chain, PRIORITY, REFUSED, TIMEOUT_MAX_S};
use super::socket::{Ask, Refused, Socket};
use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, before};
use crate::deny::Life;
use crate::deny::effect::Refused as Counted;

/// Our table without its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// A number that no other table has or had, where the kernel tells it.
    handle: Option<u64>,
    /// What each rule of each chain does.
    rules: Vec<Vec<Vec<u8>>>,
}

/// Reads our table, or what is wrong with it, where it is to have these chains; `made` is what it was.
pub(super) fn whole(
    socket: &mut Socket,
    chains: &[Chain],
    made: Option<&Made>,
) -> Result<Result<Made, String>, Refused> {
    let wrong = |what: &str| Ok(Err(what.to_owned()));
    let mut of_table = None;
    socket.list(Ask::Table, |told| {
        if let Told::Table { handle, flags } = told {
            of_table = Some((handle, flags));
        }
        Ok(())
    })?;
    let Some((handle, flags)) = of_table else { return wrong("the table is gone") };
    if flags & NFT_TABLE_F_DORMANT != 0 {
        return wrong("the table is dormant");
    }
    for set in SETS {
        if !socket.list(Ask::Set(set), |_| Ok(()))? {
            return wrong(&format!("set {} is gone", set.name));
        }
    }
    let mut rules = Vec::new();
    for Chain { name, hook, rules: wanted } in chains {
        let mut of_chain = None;
        let there = socket.list(Ask::Chain(name), |told| {
            if let Told::Chain { base, .. } = told {
                of_chain = base;
            }
            Ok(())
        })?;
        if !there {
            return wrong(&format!("chain {name} is gone"));
        }
        let base = Base { hook: NF_INET_PRE_ROUTING, priority: PRIORITY, policy: NF_ACCEPT };
        if of_chain != (!hook.is_empty()).then_some(base) {
            return wrong(&format!("chain {name} is another one"));
        }
        let mut of_rules: Vec<Vec<u8>> = Vec::new();
        socket.list(Ask::Rules(name), |told| {
            if let Told::Rule { does, .. } = told {
                of_rules.push(expressions(does).flatten().copied().collect());
            }
            // Whoever may write there may write without end.
            if of_rules.len() > RULES_MAX { Err(Refused::Unread) } else { Ok(()) }
        })?;
        if of_rules.len() != wanted.len() {
            return Ok(Err(another_count(name, of_rules.len(), wanted.len())));
        }
        rules.push(of_rules);
    }
    match made {
        Some(made) if made.handle != handle => wrong("the table is another one"),
        Some(made) if made.rules != rules => wrong("a rule is another one"),
        _ => Ok(Ok(Made { handle, rules })),
    }
}

/// How a chain is told that has more rules, or fewer.
pub(super) fn another_count(chain: &str, there: usize, wanted: usize) -> String {
    format!("chain {chain} has {there} rules where there were {wanted}")
}

/// What our rules refused since they were written.
pub(super) fn refused(socket: &mut Socket) -> Result<Counted, Refused> {
    let (mut counts, mut rules) = (Vec::new(), 0);
    socket.list(Ask::Rules(REFUSED), |told| {
        if let Told::Rule { does, .. } = told {
            counts.extend(packets(does));
            rules += 1;
        }
        if rules > RULES_MAX { Err(Refused::Unread) } else { Ok(()) }
    })?;
    let (connections, packets) = counts.split_first().ok_or(Refused::Unread)?;
    Ok(Counted { packets: packets.iter().sum(), connections: *connections })
}

/// Packets of the elements of the sets of denies, where they are counted.
pub(super) fn refused_of_each(socket: &mut Socket, usual: Lengths) -> Result<BTreeMap<Prefix, u64>, Refused> {
    let mut counts = BTreeMap::new();
    for set in USUAL.into_iter().chain(WIDE) {
        for (range, element) in ranges(set, elements(socket, set)?) {
            let prefixes = if set.ranges { range.prefixes() } else { vec![usual.prefix(range.first)] };
            counts.extend(prefixes.into_iter().map(|prefix| (prefix, element.packets)));
        }
    }
    Ok(counts)
}

/// What is not as wanted among the elements of all sets.
///
/// The kernel hands out a hash set in several parts and moves its elements while it grows, so that a listing of one that was
/// just written may lack thousands. What several listings agree on is so.
pub(super) fn differences(socket: &mut Socket, plan: &Plan<'_>) -> Result<Touched, Refused> {
    let mut touched = listed(socket, plan)?;
    for _ in 1..LISTINGS_MAX {
        if touched.is_empty() {
            break;
        }
        let again = listed(socket, plan)?;
        touched.anew.retain(|set| again.anew.contains(set));
        touched.elements.retain(|element| again.elements.contains(element));
    }
    Ok(touched)
}

/// The same by one listing.
fn listed(socket: &mut Socket, plan: &Plan<'_>) -> Result<Touched, Refused> {
    let mut touched = Touched::default();
    for set in SETS {
        let elements = elements(socket, set)?;
        if set.ports {
            let there: BTreeSet<_> = elements.iter().map(|element| (element.key, element.port)).collect();
            if !there.into_iter().eq(plan.kept(set)) {
                touched.anew.insert(set);
            }
            continue;
        }
        let wanted = plan.wanted(set);
        if set.ranges {
            if !same_ranges(&wanted, ranges(set, elements)) {
                touched.anew.insert(set);
            }
        } else {
            compare(set, &wanted, elements, &mut touched);
        }
    }
    Ok(touched)
}

fn elements(socket: &mut Socket, set: Set) -> Result<Vec<Element>, Refused> {
    let mut elements = Vec::new();
    socket.list(Ask::Elements(set), |told| {
        if let Told::Elements { elements: some, .. } = told {
            elements.extend(some);
        }
        if elements.len() > ELEMENTS_MAX { Err(Refused::Unread) } else { Ok(()) }
    })?;
    Ok(elements)
}

/// The ranges that elements are, and the first element of each.
fn ranges(set: Set, mut elements: Vec<Element>) -> Vec<(Range, Element)> {
    if !set.ranges {
        return elements.into_iter().map(|one| (Range { first: one.key, last: one.key }, one)).collect();
    }
    // Where one range ends another may begin.
    elements.sort_unstable_by_key(|element| (element.key, !element.ends));
    let mut there = Vec::new();
    let mut open: Option<Element> = None;
    let range = |begun: Element, last: IpAddr| (Range { first: begun.key, last }, begun);
    for element in elements {
        there.extend(open.take().zip(before(element.key)).map(|(begun, last)| range(begun, last)));
        open = (!element.ends).then_some(element);
    }
    there.extend(open.map(|begun| range(begun, if begun.key.is_ipv4() { LAST4 } else { LAST6 })));
    there
}

/// Compares a hash set; both are walked in order.
fn compare(set: Set, wanted: &[(Range, Life)], mut elements: Vec<Element>, touched: &mut Touched) {
    elements.sort_unstable_by_key(|element| element.key);
    elements.dedup_by_key(|element| element.key);
    let mut there = elements.into_iter().peekable();
    for (range, life) in wanted {
        while let Some(odd) = there.next_if(|element| element.key < range.first) {
            touch(set, odd.key, odd.left_ms, touched);
        }
        let here = there.next_if(|element| element.key == range.first);
        let ends_soon = matches!(life, Life::Seconds(left) if *left * 1000 <= SOON_MS);
        if !here.is_some_and(|element| same_end(*life, element.left_ms)) && !ends_soon {
            touched.elements.insert((set, range.first));
        }
    }
    there.for_each(|odd| touch(set, odd.key, odd.left_ms, touched));
}

/// An element that is not wanted, unless it ends by itself.
fn touch(set: Set, key: IpAddr, left_ms: Option<u64>, touched: &mut Touched) {
    if left_ms.is_none_or(|left| left > SOON_MS) {
        touched.elements.insert((set, key));
    }
}

/// Whether a set of ranges is as wanted, but for what ends in these seconds.
fn same_ranges(wanted: &[(Range, Life)], there: Vec<(Range, Element)>) -> bool {
    let mut wanted = wanted.iter().filter(|(_, life)| !matches!(life, Life::Seconds(left) if *left * 1000 <= SOON_MS));
    let mut there = there.iter().filter(|(_, element)| element.left_ms.is_none_or(|left| left > SOON_MS));
    loop {
        match (wanted.next(), there.next()) {
            (None, None) => return true,
            (Some((range, life)), Some((found, element))) if range == found && same_end(*life, element.left_ms) => {}
            _ => return false,
        }
    }
}

/// Whether an end is the wanted one: our clock and the kernel's run apart by little.
fn same_end(life: Life, left_ms: Option<u64>) -> bool {
    match (life, left_ms) {
        (Life::Forever, left) => left.is_none(),
        (Life::Seconds(_) | Life::Over, None) => false,
        (Life::Over, Some(_)) => false,
        // written as the longest that there is, and renewed daily
        (Life::Seconds(wanted), Some(left)) if wanted > TIMEOUT_MAX_S - RENEWED_S => {
            left / 1000 >= TIMEOUT_MAX_S - RENEWED_S
        }
        (Life::Seconds(wanted), Some(left)) => wanted.saturating_mul(1000).abs_diff(left) <= APART_MS,
    }
}

/// What is as good as over, in milliseconds.
const SOON_MS: u64 = 5_000;
/// How far two ends of one deny may be apart, in milliseconds.
const APART_MS: u64 = 60_000;
/// Within this many seconds the set is written anew, whatever happens.
const RENEWED_S: u64 = 2 * 86_400;
/// Elements of a set that are read: twice what we may deny, with both ends of ranges.
const ELEMENTS_MAX: usize = 4_000_000;
/// Listings that are compared where something is not as wanted.
const LISTINGS_MAX: usize = 3;
/// Rules of our chain that are read.
const RULES_MAX: usize = 4096;
const LAST4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
const LAST6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::MAX));
/// linux/netfilter.h
const NF_INET_PRE_ROUTING: u32 = 0;
/// linux/netfilter/nf_tables.h
const NFT_TABLE_F_DORMANT: u32 = 1;

#[cfg(test)]
mod tests {
    use inputs::record::Timestamp;

    use super::*;
    use crate::deny::DenySet;

    /// `192.0.2.1@60000 <192.0.2.9@-`: elements and the milliseconds that they have left; `<` before the end of a range.
    fn there(elements: &str) -> Vec<Element> {
        let item = |item: &str| {
            let (key, left) = item.split_once('@').unwrap();
            let ends = key.starts_with('<');
            let key = key.trim_start_matches('<').parse().unwrap();
            Element { key, port: 0, ends, left_ms: left.parse().ok(), packets: 0 }
        };
        elements.split_whitespace().map(item).collect()
    }

    fn wanted(set: Set, denied: &str) -> Vec<(Range, Life)> {
        let (want, now) = (DenySet::sample(denied, ""), Timestamp::from_secs(100));
        Plan { usual: Lengths::default(), want: &want, now }.wanted(set)
    }

    #[test]
    fn finds_what_is_not_as_wanted() {
        let check = |denied: &str, elements: &str, odd: &str| {
            let mut touched = Touched::default();
            compare(USUAL[0], &wanted(USUAL[0], denied), there(elements), &mut touched);
            let found: Vec<_> = touched.elements.iter().map(|(_, address)| address.to_string()).collect();
            assert_eq!(found.join(" "), odd, "{denied}; {elements}");
        };
        check("192.0.2.1@160 192.0.2.2@-", "192.0.2.2@- 192.0.2.1@60000", "");
        check("192.0.2.1@160 192.0.2.2@-", "192.0.2.2@-", "192.0.2.1");
        check("", "192.0.2.2@- 192.0.2.3@5001 192.0.2.4@5000", "192.0.2.2 192.0.2.3");
        check("192.0.2.2@-", "192.0.2.1@- 192.0.2.2@- 192.0.2.2@- 192.0.2.3@-", "192.0.2.1 192.0.2.3");
        // ends that are apart by more than a minute, or are none
        check("192.0.2.1@1100 192.0.2.2@1100", "192.0.2.1@940000 192.0.2.2@939999", "192.0.2.2");
        check("192.0.2.1@- 192.0.2.2@1100", "192.0.2.1@900000 192.0.2.2@-", "192.0.2.1 192.0.2.2");
        // what is over in five seconds may be over there
        check("192.0.2.1@105 192.0.2.2@106", "", "192.0.2.2");
        // the longest that can be written, two days later
        check("192.0.2.1@9000000000", "192.0.2.1@99827199000", "");
        check("192.0.2.1@9000000000", "192.0.2.1@99827198000", "192.0.2.1");
    }

    #[test]
    fn compares_ranges() {
        let check = |denied: &str, elements: &str, same: bool| {
            assert_eq!(
                same_ranges(&wanted(WIDE[0], denied), ranges(WIDE[0], there(elements))),
                same,
                "{denied}; {elements}"
            );
        };
        let two = "192.0.2.0/25@160 192.0.2.128/25@-";
        // as nft 1.0.6 writes them, and as we do
        check(two, "<0.0.0.0@- 192.0.2.0@60000 192.0.2.128@- <192.0.3.0@-", true);
        check(two, "192.0.2.0@60000 <192.0.2.128@- 192.0.2.128@- <192.0.3.0@-", true);
        check(two, "192.0.2.0@60000 <192.0.2.128@- 192.0.2.129@- <192.0.3.0@-", false);
        check(two, "192.0.2.0@60000 <192.0.2.128@-", false);
        check("", "", true);
        check("", "10.0.0.0@- <11.0.0.0@-", false);
        check("", "10.0.0.0@5000 <11.0.0.0@- <12.0.0.0@-", true);
        // to the last address
        check("255.255.255.0/24@-", "255.255.255.0@-", true);
        check("0.0.0.0/0@-", "0.0.0.0@-", true);
        check("192.0.2.0/25@105", "", true);
    }
}
