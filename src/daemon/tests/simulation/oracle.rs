//! Who must be denied, by plain lists: written from what README says, without a line of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Seconds of the wall clock.
pub(super) type Time = i64;

/// How long the policy denies.
pub(super) const DENY_FOR: Time = 7_200;
/// A forgive so much later than now is of a wrong clock.
const AHEAD: Time = 60;

/// A network, as text has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Net {
    is_ipv4: bool,
    bits: u128,
    len: u32,
}

impl Net {
    /// That of so many leading bits of an address.
    pub(super) fn of(address: IpAddr, len: u32) -> Net {
        let (is_ipv4, bits, all) = match address {
            IpAddr::V4(address) => (true, u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (false, u128::from(address), 128),
        };
        let free = all - len;
        Net { is_ipv4, bits: bits >> free << free, len }
    }

    pub(super) fn host(address: IpAddr) -> Net {
        Net::of(address, if address.is_ipv4() { 32 } else { 128 })
    }

    pub(super) fn contains(&self, other: &Net) -> bool {
        let free = if self.is_ipv4 { 32 } else { 128 } - self.len;
        self.is_ipv4 == other.is_ipv4 && self.len <= other.len && other.bits >> free << free == self.bits
    }

    fn touches(&self, other: &Net) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// What an address is counted by: itself, or its /64.
    pub(super) fn counted(address: IpAddr) -> Net {
        Net::of(address, if address.is_ipv4() { 32 } else { 64 })
    }

    fn first(&self) -> IpAddr {
        match self.is_ipv4 {
            true => IpAddr::V4((self.bits as u32).into()),
            false => IpAddr::V6(self.bits.into()),
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first(), self.len)
    }
}

/// Until when each of the two wants a deny, a person since when; `(_, None)` = for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) policy: Option<Time>,
    pub(super) operator: Option<(Time, Option<Time>)>,
}

/// All that is to be remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    pub(super) claims: BTreeMap<Net, Claims>,
    counts: BTreeMap<Net, u32>,
    forgiven: BTreeMap<Net, Time>,
    /// What people allowed.
    pub(super) allowed: BTreeSet<Net>,
    /// What the configuration allows, and this machine.
    pub(super) always: BTreeSet<Net>,
    /// All addresses of IPv4 there are.
    pub(super) world: Vec<IpAddr>,
}

impl Oracle {
    pub(super) fn new(world: Vec<IpAddr>, always: BTreeSet<Net>) -> Oracle {
        Oracle { world, always, ..Oracle::default() }
    }

    pub(super) fn is_allowed(&self, address: IpAddr) -> bool {
        let host = Net::host(address);
        self.allowed.iter().chain(&self.always).any(|net| net.contains(&host))
    }

    /// Whether an address must be dropped.
    pub(super) fn is_dropped(&self, address: IpAddr, wall: Time) -> bool {
        let host = Net::host(address);
        let wanted = |claims: &Claims| {
            claims.policy.is_some_and(|until| until > wall)
                || claims.operator.is_some_and(|(_, until)| until.is_none_or(|until| until > wall))
        };
        !self.is_allowed(address) && self.claims.iter().any(|(net, claims)| net.contains(&host) && wanted(claims))
    }

    /// A failure of root's, written at `at`; two are too many. None was later than it is read.
    pub(super) fn fails(&mut self, address: IpAddr, at: Time, wall: Time) {
        let at = at.min(wall);
        let net = Net::counted(address);
        let is_allowed = self.is_allowed(address);
        let forgiven = self.forgiven_at(&net, wall).is_some_and(|forgiven| at <= forgiven);
        if forgiven || is_allowed && !net.is_ipv4 {
            return;
        }
        self.expire(at, |other| *other == net);
        let count = self.counts.entry(net).or_default();
        *count += 1;
        let claims = self.claims.entry(net).or_default();
        if *count > 1 && !is_allowed && claims.policy.is_none() {
            claims.policy = Some(at + DENY_FOR);
        }
    }

    pub(super) fn deny(&mut self, net: Net, since: Time, until: Option<Time>) {
        self.claims.entry(net).or_default().operator = Some((since, until));
    }

    /// The clock was ahead when something was decided later than `after`: that is so from now on.
    pub(super) fn set_back(&mut self, after: Time, now: Time) {
        for claims in self.claims.values_mut() {
            claims.policy = claims.policy.map(|until| if until - DENY_FOR > after { now + DENY_FOR } else { until });
            if let Some((since, until)) = claims.operator.filter(|(since, _)| *since > after) {
                claims.operator = Some((now, until.map(|until| now + until - since)));
            }
        }
        self.forgiven.values_mut().filter(|at| **at > after).for_each(|at| *at = now);
    }

    /// Lets in whatever holds a net or lies in it; what failed before counts nothing.
    pub(super) fn forgive(&mut self, net: Net, wall: Time) {
        self.release(|other| net.touches(other));
        let own = Net::counted(net.first());
        self.counts.retain(|other, _| !net.contains(other) && *other != own);
        let at = self.forgiven_at(&net, wall).map_or(wall, |before| before.max(wall));
        self.forgiven.retain(|other, _| !net.contains(other));
        self.forgiven.insert(net, at);
    }

    fn forgiven_at(&self, net: &Net, wall: Time) -> Option<Time> {
        let all = self.forgiven.iter().filter(|(other, at)| other.touches(net) && **at <= wall + AHEAD);
        all.map(|(_, at)| *at).max()
    }

    pub(super) fn allow(&mut self, net: Net) {
        self.allowed.insert(net);
        self.let_in();
    }

    /// Releases what is allowed altogether.
    pub(super) fn let_in(&mut self) {
        let covered = |net: &Net| match net.is_ipv4 {
            true => self.world.iter().filter(|one| net.contains(&Net::host(**one))).all(|one| self.is_allowed(*one)),
            false => self.allowed.iter().chain(&self.always).any(|entry| entry.contains(net)),
        };
        let covered: BTreeSet<Net> = self.claims.keys().filter(|net| covered(net)).copied().collect();
        self.release(|net| covered.contains(net));
    }

    fn release(&mut self, is_meant: impl Fn(&Net) -> bool) {
        let Oracle { claims, counts, .. } = self;
        claims.retain(|net, claims| {
            let is_denied = *claims != Claims::default();
            if is_denied && is_meant(net) {
                counts.remove(net);
            }
            is_denied && !is_meant(net)
        });
    }

    /// Ends what is over by `at`. Who was denied by the policy begins again from zero.
    pub(super) fn expire(&mut self, at: Time, is_meant: impl Fn(&Net) -> bool) {
        let Oracle { claims, counts, .. } = self;
        for (net, claims) in claims.iter_mut().filter(|(net, _)| is_meant(net)) {
            if claims.policy.is_some_and(|until| until <= at) {
                claims.policy = None;
                counts.remove(net);
            }
            if claims.operator.is_some_and(|(_, until)| until.is_some_and(|until| until <= at)) {
                claims.operator = None;
            }
        }
        claims.retain(|_, claims| *claims != Claims::default());
    }
}
