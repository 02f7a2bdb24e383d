//! What is to be done in our table's sets so that they hold what is wanted: pure, whoever hands it to the kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use inputs::record::Timestamp;

use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::deny::overlap::flatten;
use crate::deny::{Connection, DenySet, Diff, Life, Until};

/// The prefix lengths that go into hash sets: those that addresses are denied with by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Bits of an IPv4 prefix, 1 to 32.
    pub v4: u8,
    /// Bits of an IPv6 prefix, 1 to 128.
    pub v6: u8,
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { v4: 32, v6: 64 }
    }
}

/// A set of our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) ipv4: bool,
    pub(super) flags: &'static str,
    /// Whether its elements are ranges, not addresses.
    pub(super) ranges: bool,
    /// Whether its elements are addresses, each with a port.
    pub(super) ports: bool,
}

impl Set {
    /// Whether it is written anew where it was touched: it is small.
    pub(super) fn is_small(self) -> bool {
        self.ranges || self.ports
    }
}

/// Ranges that are allowed.
pub(super) const ALLOWED: [Set; 2] = both(["allow4", "allow6"], "interval", true);
/// Denied prefixes of the usual length, by their first address.
pub(super) const USUAL: [Set; 2] = both(["deny4", "deny6"], "timeout", false);
/// Denied prefixes of other lengths, as ranges without overlap.
pub(super) const WIDE: [Set; 2] = both(["wide4", "wide6"], "interval, timeout", true);
/// Connections of denied addresses that stay open.
pub(super) const KEPT: [Set; 2] = [of_ports("keep4", true), of_ports("keep6", false)];
/// All of them.
pub(super) const SETS: [Set; 8] = [ALLOWED[0], KEPT[0], USUAL[0], WIDE[0], ALLOWED[1], KEPT[1], USUAL[1], WIDE[1]];

const fn both([v4, v6]: [&'static str; 2], flags: &'static str, ranges: bool) -> [Set; 2] {
    [
        Set { name: v4, ipv4: true, flags, ranges, ports: false },
        Set { name: v6, ipv4: false, flags, ranges, ports: false },
    ]
}

const fn of_ports(name: &'static str, ipv4: bool) -> Set {
    Set { name, ipv4, flags: "timeout", ranges: false, ports: true }
}

/// One thing to do, in one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take all elements out.
    Flush(Set),
    /// Put elements in. One that is there already keeps its end.
    Add(Set, Vec<(Range, Life)>),
    /// Take elements out; all of it fails if one is not there.
    Delete(Set, Vec<Range>),
    /// Put connections in.
    Keep(Set, Vec<Connection>),
}

impl Step {
    /// How many elements it names.
    pub(super) fn len(&self) -> usize {
        match self {
            Step::Flush(_) => 0,
            Step::Add(_, elements) => elements.len(),
            Step::Delete(_, elements) => elements.len(),
            Step::Keep(_, connections) => connections.len(),
        }
    }
}

/// What may not be as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Sets that are small, and are written anew.
    pub(super) anew: BTreeSet<Set>,
    /// Elements of the others.
    pub(super) elements: BTreeSet<(Set, IpAddr)>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        self.anew.is_empty() && self.elements.is_empty()
    }
}

/// Makes steps of what is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// The lengths of the prefixes that are in hash sets.
    pub(super) usual: Lengths,
    pub(super) want: &'a DenySet,
    pub(super) now: Timestamp,
}

impl Plan<'_> {
    /// All that is wanted, for empty sets.
    pub(super) fn all(&self) -> Vec<Step> {
        let sets = [ALLOWED, KEPT, USUAL, WIDE].into_iter().flatten();
        sets.map(|set| self.fill(set)).filter(|step| step.len() > 0).collect()
    }

    /// Where a change shows.
    pub(super) fn touched(&self, diff: &Diff) -> Touched {
        let mut touched = Touched::default();
        if diff.allowed.is_some() {
            touched.anew.extend(ALLOWED);
        }
        if diff.kept.is_some() {
            touched.anew.extend(KEPT);
        }
        for prefix in diff.denies.keys() {
            match self.usual.set(prefix) {
                set if set.ranges => _ = touched.anew.insert(set),
                set => _ = touched.elements.insert((set, prefix.address())),
            }
        }
        touched
    }

    /// Makes what was touched as wanted, in transactions: first what passes, and what can be done at once is.
    pub(super) fn mend(&self, touched: &Touched) -> Vec<Vec<Step>> {
        let anew = |sets: [Set; 2]| {
            let sets = sets.into_iter().filter(|set| touched.anew.contains(set));
            sets.flat_map(|set| [Step::Flush(set), self.fill(set)]).collect::<Vec<_>>()
        };
        let elements: Vec<_> = touched.elements.iter().copied().collect();
        let of_one_set = elements.chunk_by(|(set, _), (next, _)| set == next);
        let some = of_one_set.flat_map(|all| all.chunks(TRANSACTION_MAX)).map(|some| self.elements(some));
        let mut transactions: Vec<Vec<Step>> = Vec::new();
        for mut steps in [anew(ALLOWED), anew(KEPT)].into_iter().chain(some).chain([anew(WIDE)]) {
            steps.retain(|step| step.len() > 0 || matches!(step, Step::Flush(_)));
            let len = |steps: &[Step]| steps.iter().map(Step::len).sum::<usize>();
            match transactions.last_mut().filter(|last| len(last) + len(&steps) <= 3 * TRANSACTION_MAX) {
                Some(last) => last.append(&mut steps),
                None if steps.is_empty() => {}
                None => transactions.push(steps),
            }
        }
        transactions
    }

    /// Elements of one set, to what is wanted of each.
    fn elements(&self, some: &[(Set, IpAddr)]) -> Vec<Step> {
        let Some((set, _)) = some.first().copied() else { return Vec::new() };
        let range = |address: IpAddr| Range { first: address, last: address };
        // A delete fails on what is not there, so it is added first. An add does not change the end of
        // what is there on kernels before 6.12, so that is deleted first.
        let there = some.iter().map(|(_, address)| (range(*address), Life::Forever)).collect();
        let gone = some.iter().map(|(_, address)| range(*address)).collect();
        let wanted = some.iter().filter_map(|(_, address)| Some((range(*address), self.life(*address)?)));
        vec![Step::Add(set, there), Step::Delete(set, gone), Step::Add(set, wanted.collect())]
    }

    /// How long the element of this address is to stay in its hash set, if at all.
    pub(super) fn life(&self, address: IpAddr) -> Option<Life> {
        let prefix = self.usual.prefix(address);
        let until = self.want.denied.get(&prefix).filter(|_| prefix.address() == address)?;
        Some(Life::left(*until, self.now)).filter(|life| *life != Life::Over)
    }

    /// Puts all that is wanted into an empty set.
    fn fill(&self, set: Set) -> Step {
        match set.ports {
            true => Step::Keep(set, self.kept(set).collect()),
            false => Step::Add(set, self.wanted(set)),
        }
    }

    /// The connections that are wanted in a set, in order.
    pub(super) fn kept(&self, set: Set) -> impl Iterator<Item = Connection> {
        self.want.kept.iter().copied().filter(move |(peer, _)| peer.is_ipv4() == set.ipv4)
    }

    /// What is wanted in a set, in order.
    pub(super) fn wanted(&self, set: Set) -> Vec<(Range, Life)> {
        let ours = || self.want.denied.iter().filter(|(prefix, _)| self.usual.set(prefix) == set);
        let all: Vec<(Range, Until)> = if ALLOWED.contains(&set) {
            let ranges = merge(self.want.allowed.clone()).into_iter();
            ranges.filter(|range| range.first.is_ipv4() == set.ipv4).map(|range| (range, None)).collect()
        } else if set.ranges {
            flatten(ours().map(|(prefix, until)| (*prefix, *until)))
        } else {
            ours().map(|(prefix, until)| (Range { first: prefix.address(), last: prefix.address() }, *until)).collect()
        };
        let left = all.into_iter().map(|(range, until)| (range, Life::left(until, self.now)));
        left.filter(|(_, life)| *life != Life::Over).collect()
    }
}

impl Lengths {
    /// The set in which a denied prefix is.
    fn set(&self, prefix: &Prefix) -> Set {
        let (family, usual) = if prefix.is_ipv4() { (0, self.v4) } else { (1, self.v6) };
        if prefix.bits() == usual { USUAL[family] } else { WIDE[family] }
    }

    /// The prefix of the usual length that holds an address.
    pub(super) fn prefix(&self, address: IpAddr) -> Prefix {
        Prefix::of(address, if address.is_ipv4() { self.v4 } else { self.v6 })
    }
}

/// Elements of hash sets that one transaction changes; each of them is named three times.
const TRANSACTION_MAX: usize = 300;
