//! What is to be done in nftables so that it denies what is wanted, as data: pure, whoever sends it to the kernel.

use std::fmt;

use inputs::record::Timestamp;

use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::deny::overlap::flatten;
use crate::deny::{DenySet, Diff, Life, Until};

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

/// A step of a plan. All steps of a plan are one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Takes the table away, be it there or not.
    Remove,
    /// Makes the table with its empty sets, and these rules in its chain.
    Make(Vec<Rule>),
    /// Empties a set.
    Flush(Set),
    /// Adds elements; one that is there already keeps its end.
    Add(Set, Vec<Element>),
    /// Deletes elements, which must be there.
    Delete(Set, Vec<Element>),
}

/// A set of our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) holds: Holds,
    pub(super) ipv4: bool,
}

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Ranges that are allowed.
    Allowed,
    /// Denied prefixes of the usual length, by their first address.
    Usual,
    /// Denied prefixes of other lengths, as ranges without overlap.
    Wide,
}

impl Set {
    pub(super) const ALL: [Set; 6] = [
        Set { holds: Holds::Allowed, ipv4: true },
        Set { holds: Holds::Usual, ipv4: true },
        Set { holds: Holds::Wide, ipv4: true },
        Set { holds: Holds::Allowed, ipv4: false },
        Set { holds: Holds::Usual, ipv4: false },
        Set { holds: Holds::Wide, ipv4: false },
    ];
    const ALLOWED: [Set; 2] = [Set::ALL[0], Set::ALL[3]];
    const USUAL: [Set; 2] = [Set::ALL[1], Set::ALL[4]];
    const WIDE: [Set; 2] = [Set::ALL[2], Set::ALL[5]];
    pub(super) const DENIED: [Set; 4] = [Set::ALL[1], Set::ALL[4], Set::ALL[2], Set::ALL[5]];
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = match self.holds {
            Holds::Allowed => "allow",
            Holds::Usual => "deny",
            Holds::Wide => "wide",
        };
        write!(f, "{holds}{}", if self.ipv4 { 4 } else { 6 })
    }
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) range: Range,
    /// When the kernel takes it out by itself.
    pub(super) timeout_s: Option<u64>,
}

impl Element {
    /// An element that stays as long as `until`; `None` for one that has ended.
    fn of(range: Range, until: Until, now: Timestamp) -> Option<Element> {
        match Life::left(until, now) {
            Life::Over => None,
            Life::Seconds(left) => Some(Element { range, timeout_s: Some(left) }),
            Life::Forever => Some(Element { range, timeout_s: None }),
        }
    }

    /// The element of a prefix of the usual length.
    fn usual(prefix: &Prefix) -> Range {
        Range { first: prefix.address(), last: prefix.address() }
    }
}

/// A rule of our chain, in which the first that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    AcceptLoopback,
    AcceptNeighbours,
    /// Accepts whom the set holds.
    Accept(Set),
    /// Drops whose address, cut to so many bits, the set holds.
    Drop(Set, u8),
}

/// How many rules there are.
pub(super) const RULES: usize = 8;

impl Lengths {
    /// The set in which a denied prefix is.
    fn set(&self, prefix: &Prefix) -> Set {
        let ipv4 = prefix.is_ipv4();
        let usual = prefix.bits() == if ipv4 { self.v4 } else { self.v6 };
        Set { holds: if usual { Holds::Usual } else { Holds::Wide }, ipv4 }
    }

    pub(super) fn rules(&self) -> [Rule; RULES] {
        let [allow4, allow6] = Set::ALLOWED.map(Rule::Accept);
        let ([usual4, usual6], [wide4, wide6]) = (Set::USUAL, Set::WIDE);
        [
            Rule::AcceptLoopback,
            Rule::AcceptNeighbours,
            allow4,
            allow6,
            Rule::Drop(usual4, self.v4),
            Rule::Drop(usual6, self.v6),
            Rule::Drop(wide4, 32),
            Rule::Drop(wide6, 128),
        ]
    }

    /// Everything anew.
    pub(super) fn replace(&self, want: &DenySet, now: Timestamp) -> Vec<Op> {
        let mut plan = vec![Op::Remove, Op::Make(self.rules().to_vec())];
        add_allowed(&mut plan, &want.allowed);
        for set in Set::USUAL {
            let prefixes = want.denied.iter().filter(|(prefix, _)| self.set(prefix) == set);
            add(
                &mut plan,
                set,
                prefixes.filter_map(|(prefix, until)| Element::of(Element::usual(prefix), *until, now)),
            );
        }
        for set in Set::WIDE {
            self.add_wide(&mut plan, set, want, now);
        }
        plan
    }

    /// Only what `diff` names; what becomes of it is looked up in `want`.
    pub(super) fn update(&self, diff: &Diff, want: &DenySet, now: Timestamp) -> Vec<Op> {
        let mut plan = Vec::new();
        if diff.allowed.is_some() {
            plan.extend(Set::ALLOWED.map(Op::Flush));
            add_allowed(&mut plan, &want.allowed);
        }
        for set in Set::USUAL {
            let touched: Vec<&Prefix> = diff.denies.keys().filter(|prefix| self.set(prefix) == set).collect();
            if touched.is_empty() {
                continue;
            }
            // A delete fails on what is not there, so it is added first. An add does not change the end of
            // what is there on kernels before 6.12, so that is deleted first.
            let all: Vec<_> =
                touched.iter().map(|prefix| Element { range: Element::usual(prefix), timeout_s: None }).collect();
            plan.extend([Op::Add(set, all.clone()), Op::Delete(set, all)]);
            let ends = touched.iter().filter_map(|prefix| Some((Element::usual(prefix), *want.denied.get(prefix)?)));
            add(&mut plan, set, ends.filter_map(|(range, until)| Element::of(range, until, now)));
        }
        for set in Set::WIDE {
            if diff.denies.keys().any(|prefix| self.set(prefix) == set) {
                plan.push(Op::Flush(set));
                self.add_wide(&mut plan, set, want, now);
            }
        }
        plan
    }

    fn add_wide(&self, plan: &mut Vec<Op>, set: Set, want: &DenySet, now: Timestamp) {
        let wide = want.denied.iter().map(|(prefix, until)| (*prefix, *until));
        let wide = wide.filter(|(prefix, until)| self.set(prefix) == set && Life::left(*until, now) != Life::Over);
        add(plan, set, flatten(wide).into_iter().filter_map(|(range, until)| Element::of(range, until, now)));
    }
}

fn add_allowed(plan: &mut Vec<Op>, allowed: &[Range]) {
    let ranges = merge(allowed.to_vec());
    for set in Set::ALLOWED {
        let family = ranges.iter().filter(|range| range.first.is_ipv4() == set.ipv4);
        add(plan, set, family.map(|range| Element { range: *range, timeout_s: None }));
    }
}

/// Adds elements, if there are any.
fn add(plan: &mut Vec<Op>, set: Set, elements: impl Iterator<Item = Element>) {
    let elements: Vec<Element> = elements.collect();
    if !elements.is_empty() {
        plan.push(Op::Add(set, elements));
    }
}
