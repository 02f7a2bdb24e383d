//! What is tolerated, per class: thresholds, ages, and what a deny is worth.

use std::collections::HashSet;
use std::time::Duration;

use super::allow::AllowList;
use super::logins::Logins;
use super::machine::Machine;
use super::prefix::Prefix;
use crate::detect::address::Address;
use crate::detect::special::{SITES_NAT64, Special};

/// The classes of DenyHosts, and probes. A failure counts once in each class that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The user is unknown on that host.
    Invalid,
    /// The user is known, or the log does not say.
    Valid,
    /// The user is root, however sshd calls it.
    Root,
    /// The user is on the list of restricted users.
    Restricted,
    /// A connection in which no login was begun.
    Probe,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Class; 5] = [Class::Invalid, Class::Valid, Class::Root, Class::Restricted, Class::Probe];

    /// Its name, as in configuration and output.
    pub fn name(self) -> &'static str {
        match self {
            Class::Invalid => "invalid",
            Class::Valid => "valid",
            Class::Root => "root",
            Class::Restricted => "restricted",
            Class::Probe => "probe",
        }
    }
}

/// Users whom a deny must not lock out while they are logged in.
pub const PROTECTED_MAX: usize = 10_000;

/// A count that is tolerated: denied when the count *exceeds* it. 0 = the first failure denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(pub u32);

/// What becomes of a slow attack by many: see [`wave`](super::wave).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nobody looks for it.
    Off,
    /// It is told.
    Report,
    /// It is told, and who takes part is denied at the second try while it lasts.
    Deny,
}

/// Everything that turns counts into denies. All of it comes from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Per class (index = `Class as usize`); `None` = off, that class never denies.
    pub thresholds: [Option<Threshold>; 5],
    /// Per class: a count whose last failure is older than this starts again from zero; `None` = never.
    pub age_reset: [Option<Duration>; 5],
    /// Only failures within this time count together; `None` = however far apart, up to `age_reset`.
    pub within: Option<Duration>,
    /// A good login clears the counts that came from its own origin host. It never withdraws a deny.
    pub reset_on_success: bool,
    /// How long a deny lasts; `None` = for ever.
    pub deny_for: Option<Duration>,
    /// How long the second deny of a prefix lasts, the third and so on; the last of these is for all further ones.
    pub escalate: Vec<Duration>,
    /// How long the first deny of a prefix lasts from which somebody logged in lately, once in 30 days; `None` = as any.
    pub probation: Option<Duration>,
    /// A prefix that was released this many times is denied for ever the next time; `None` = never.
    pub permanent_after: Option<u32>,
    /// Users that are counted as restricted; exact bytes, as the log prints them.
    pub restricted: HashSet<Vec<u8>>,
    /// Users whom a deny must not lock out while they are logged in; exact bytes. At most [`PROTECTED_MAX`].
    pub protected: HashSet<Vec<u8>>,
    /// Who is logged in now, beside whom records told of.
    pub logins: Logins,
    /// Addresses that are never denied.
    pub allow: AllowList,
    /// IPv4 addresses are counted and denied by prefixes of this length, in bits; 32 = each alone.
    pub ipv4_bits: u8,
    /// The same for IPv6.
    pub ipv6_bits: u8,
    /// Whether wider nets of IPv6 are counted and denied, too: see [`nets`](super::nets).
    pub wider_nets: bool,
    /// Whether a /24 of IPv4 is counted and denied, too.
    pub ipv4_wider_nets: bool,
    /// What becomes of slow attacks by many.
    pub waves: Watch,
    /// What this machine is: each address of its own prefixes of IPv6 is counted alone.
    pub machine: Machine,
    /// The site's own prefixes in which NAT64 puts IPv4 addresses.
    pub nat64: Vec<Prefix>,
    /// A permanent deny is enforced only if its deciding record is younger than this when it is read.
    pub replay_max_age: Duration,
}

impl Policy {
    /// The prefix by which an address is counted and denied: of the configured length, but where it is special.
    pub fn prefix(&self, peer: Address) -> Prefix {
        let usual = if peer.is_ipv4() { self.ipv4_bits } else { self.ipv6_bits };
        let special = if self.is_nat64(peer) { SITES_NAT64.bits } else { Special::bits(peer) };
        let alone = self.link(peer).map(|_| 128);
        Prefix::of(peer, special.or(alone).unwrap_or(usual))
    }

    /// The machine's own prefix that an address is in, if it is not special otherwise.
    pub fn link(&self, peer: Address) -> Option<Prefix> {
        self.machine.link(peer).filter(|_| self.special(peer).is_none_or(|special| special.bits.is_none()))
    }

    /// After which time without a failure the count of a class begins anew.
    pub fn age(&self, class: Class) -> Option<Duration> {
        match (self.age_reset[class as usize], self.within) {
            (Some(age), Some(within)) => Some(age.min(within)),
            (age, within) => age.or(within),
        }
    }

    /// The same of each.
    pub fn ages(&self) -> [Option<Duration>; 5] {
        Class::ALL.map(|class| self.age(class))
    }

    /// How long a deny lasts in full of a prefix that served so many; `None` = for ever.
    pub fn term(&self, served: u32) -> Option<Duration> {
        let further = (served as usize).min(self.escalate.len());
        if further == 0 { self.deny_for } else { self.deny_for.and(Some(self.escalate[further - 1])) }
    }

    /// What an address is, if it is special.
    pub fn special(&self, peer: Address) -> Option<&'static Special> {
        if self.is_nat64(peer) { Some(&SITES_NAT64) } else { Special::of(peer) }
    }

    /// Whether a translator of the site's own put an IPv4 address into it.
    fn is_nat64(&self, peer: Address) -> bool {
        !self.nat64.is_empty() && self.nat64.iter().any(|net| net.contains(&Prefix::host(peer)))
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Policy {
    /// DenyHosts' defaults, with an end to every deny.
    fn default() -> Self {
        Policy {
            thresholds: [Some(Threshold(5)), Some(Threshold(10)), Some(Threshold(1)), Some(Threshold(1)), None],
            age_reset: [Some(10 * DAY), Some(5 * DAY), Some(25 * DAY), Some(25 * DAY), Some(10 * DAY)],
            within: None,
            reset_on_success: false,
            deny_for: Some(7 * DAY),
            escalate: Vec::new(),
            probation: Some(Duration::from_secs(600)),
            permanent_after: None,
            restricted: HashSet::new(),
            protected: HashSet::from([b"root".to_vec()]),
            logins: Logins::new(),
            allow: AllowList::default(),
            ipv4_bits: 32,
            ipv6_bits: 64,
            wider_nets: true,
            ipv4_wider_nets: false,
            waves: Watch::Report,
            machine: Machine::default(),
            nat64: Vec::new(),
            replay_max_age: DAY,
        }
    }
}
