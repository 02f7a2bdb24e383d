//! Who wants a prefix denied, until when, and why.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Class;

/// How long a deny lasts at most that rests on what strangers may have made up.
pub const FORGEABLE_FOR: Duration = Duration::from_secs(3_600);

/// Who wants a deny. Stored and shown as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Claimant {
    /// The policy: a count exceeded its threshold.
    Policy,
    /// A person, by `denyd deny`.
    Operator,
    /// A server that many share: it told of an address.
    Sync,
    /// Another denyd, by its number.
    Peer(u16),
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claimant::Policy => f.write_str("policy"),
            Claimant::Operator => f.write_str("operator"),
            Claimant::Sync => f.write_str("sync"),
            Claimant::Peer(number) => write!(f, "peer:{number}"),
        }
    }
}

impl FromStr for Claimant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let peer = || text.strip_prefix("peer:")?.parse().ok().map(Claimant::Peer);
        match text {
            "policy" => Ok(Claimant::Policy),
            "operator" => Ok(Claimant::Operator),
            "sync" => Ok(Claimant::Sync),
            _ => peer().ok_or_else(|| format!("nobody who claims denies is called {text:?}")),
        }
    }
}

impl From<Claimant> for String {
    fn from(by: Claimant) -> Self {
        by.to_string()
    }
}

impl TryFrom<String> for Claimant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a deny of the policy rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// On sound records alone the count exceeds its threshold.
    Sound,
    /// Without what strangers may have made up it would not.
    Forgeable,
}

/// Why a prefix is denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A count exceeded its threshold.
    Policy {
        /// Of which class.
        class: Class,
        /// That class' count.
        count: u32,
        /// The threshold, as it was then.
        threshold: u32,
        /// What the count rested on.
        basis: Basis,
        /// From how many /64s it came, or more, where it is a wider net's; 0 elsewhere.
        #[serde(default, skip_serializing_if = "is_zero")]
        parts: u16,
        /// Whether it is short because somebody logged in from there lately: see [`familiar`](super::familiar).
        #[serde(default, skip_serializing_if = "is_false")]
        probation: bool,
    },
    /// It takes part in a slow attack by many.
    Wave(Box<Part>),
    /// A person wants it.
    Operator {
        /// In that person's words, where there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Box<str>>,
    },
    /// It was enforced when the database was lost.
    Adopted,
    /// DenyHosts denied it, and we went on with that.
    Imported,
    /// A server that many share told of it.
    Sync {
        /// Which, by host and port.
        server: Box<str>,
        /// How many had reported it at least: the threshold that was asked for.
        reporters: u32,
    },
    /// Another denyd denies it, the one of that number.
    Peer(u16),
}

/// How a prefix takes part in a [`wave`](super::wave).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The class of the try that decided it.
    pub class: Class,
    /// On how many occasions it tried.
    pub count: u32,
    /// How many are tolerated.
    pub threshold: u32,
    /// The account that the wave is on: bytes of the log; empty = our hosts.
    pub user: Box<[u8]>,
    /// How many addresses took part by then.
    pub addresses: u32,
    /// On how many hosts.
    pub hosts: u32,
    /// Since when.
    pub since: Timestamp,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Reason {
    /// The class that decided it, if the policy did.
    pub fn class(&self) -> Option<Class> {
        match self {
            Reason::Policy { class, .. } => Some(*class),
            Reason::Wave(part) => Some(part.class),
            _ => None,
        }
    }

    /// The wave that it is part of.
    pub fn wave(&self) -> Option<&Part> {
        match self {
            Reason::Wave(part) => Some(part),
            _ => None,
        }
    }

    /// A person's words for it, where there are any.
    pub fn because(&self) -> Option<&str> {
        match self {
            Reason::Operator { because } => because.as_deref(),
            _ => None,
        }
    }

    /// From how many /64s it came, or more, where it is a wider net's; 0 elsewhere.
    pub fn parts(&self) -> u16 {
        match self {
            Reason::Policy { parts, .. } => *parts,
            _ => 0,
        }
    }

    /// Whether it is short because somebody logged in from there lately.
    pub fn is_probation(&self) -> bool {
        matches!(self, Reason::Policy { probation: true, .. })
    }

    /// That class' count.
    pub fn count(&self) -> u32 {
        match self {
            Reason::Policy { count, .. } => *count,
            Reason::Wave(part) => part.count,
            _ => 0,
        }
    }
}

/// When something ends; `None` = never.
pub type Until = Option<Timestamp>;

/// One claimant's wish that a prefix be denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Told", into = "Told")]
pub struct Claim {
    /// When it was decided: its record's time.
    pub since: Timestamp,
    /// When it ends.
    pub until: Until,
    /// Why.
    pub reason: Reason,
    /// Whether it may be enforced. A permanent deny decided by an old record may not.
    pub enforceable: bool,
}

impl Claim {
    /// Whether it ends as soon as one that rests on what strangers may have made up.
    fn is_short(&self) -> bool {
        self.until.is_some_and(|until| until <= self.since.after(FORGEABLE_FOR))
    }

    /// Whether one that rests on sound records alone takes its place. Nobody knows what one rests on that was adopted:
    /// what is left of it must do.
    pub(super) fn gives_way(&self) -> bool {
        match self.reason {
            Reason::Policy { .. } => self.is_forgeable(),
            Reason::Adopted => self.is_short(),
            Reason::Wave(_) | Reason::Operator { .. } | Reason::Imported | Reason::Sync { .. } | Reason::Peer(_) => {
                false
            }
        }
    }

    /// Whether it is the policy's own, in full, and rests on what strangers cannot have made up: others may be told of it.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self.reason, Reason::Policy { basis: Basis::Sound, probation: false, parts: 0, .. })
    }

    /// Whether it rests on what strangers may have made up.
    pub(crate) fn is_forgeable(&self) -> bool {
        matches!(self.reason, Reason::Policy { basis: Basis::Forgeable, .. })
    }

    /// Whether it is to be enforced at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.enforceable && self.until.is_none_or(|until| until > now)
    }
}

/// A claim as it goes over the control socket. The version before has no reason, but the class and its count.
#[derive(Serialize, Deserialize)]
struct Told {
    since: Timestamp,
    until: Until,
    reason: Option<Reason>,
    class: Option<Class>,
    #[serde(default)]
    count: u32,
    enforceable: bool,
}

impl From<Claim> for Told {
    fn from(claim: Claim) -> Self {
        let Claim { since, until, reason, enforceable } = claim;
        let (class, count) = (reason.class(), reason.count());
        Told { since, until, reason: Some(reason), class, count, enforceable }
    }
}

impl From<Told> for Claim {
    fn from(told: Told) -> Self {
        let Told { since, until, reason, class, count, enforceable } = told;
        let mut claim = Claim { since, until, reason: reason.unwrap_or(Reason::Adopted), enforceable };
        if let (Reason::Adopted, Some(class)) = (&claim.reason, class) {
            let basis = if claim.is_short() { Basis::Forgeable } else { Basis::Sound };
            claim.reason =
                Reason::Policy { class, count, threshold: count.saturating_sub(1), basis, parts: 0, probation: false };
        }
        claim
    }
}

/// A denied prefix: it stays denied until the last claim ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deny {
    /// Who wants it; nearly always one.
    first: Option<(Claimant, Claim)>,
    /// Whoever else does.
    more: Box<[(Claimant, Claim)]>,
}

impl Deny {
    /// Who wants it, and why.
    pub fn claims(&self) -> impl Iterator<Item = (Claimant, &Claim)> {
        self.first.iter().chain(&self.more).map(|(by, claim)| (*by, claim))
    }

    /// Why one claimant wants it.
    pub fn claim(&self, by: Claimant) -> Option<&Claim> {
        self.claims().find(|(other, _)| *other == by).map(|(_, claim)| claim)
    }

    pub(super) fn put(&mut self, by: Claimant, claim: Claim) -> Option<Claim> {
        let old = self.withdraw(by);
        match self.first {
            None => self.first = Some((by, claim)),
            Some(_) => self.more = std::mem::take(&mut self.more).into_iter().chain([(by, claim)]).collect(),
        }
        old
    }

    pub(super) fn withdraw(&mut self, by: Claimant) -> Option<Claim> {
        let mut all: Vec<_> = self.first.take().into_iter().chain(std::mem::take(&mut self.more)).collect();
        let at = all.iter().position(|(other, _)| *other == by);
        let old = at.map(|at| all.remove(at).1);
        let mut left = all.into_iter();
        (self.first, self.more) = (left.next(), left.collect());
        old
    }

    /// Whether there is a claim, and each rests on what strangers may have made up.
    pub(super) fn is_forgeable(&self) -> bool {
        self.first.is_some() && self.claims().all(|(_, claim)| claim.is_forgeable())
    }

    /// When it ends: the latest of its claims.
    pub fn until(&self) -> Until {
        self.claims().map(|(_, claim)| claim.until).reduce(latest).unwrap_or(Some(Timestamp::default()))
    }

    /// Whether, and until when, it is to be enforced at `now`.
    pub fn enforced(&self, now: Timestamp) -> Option<Until> {
        self.claims().map(|(_, claim)| claim).filter(|claim| claim.is_due(now)).map(|claim| claim.until).reduce(latest)
    }
}

/// The later of two ends; never is the latest.
pub(crate) fn latest(a: Until, b: Until) -> Until {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_claims_is_stored_by_name() {
        let check = |by: Claimant, name: &str| {
            assert_eq!(serde_json::to_string(&by).unwrap(), format!("{name:?}"));
            assert_eq!(name.parse(), Ok(by));
        };
        check(Claimant::Policy, "policy");
        check(Claimant::Operator, "operator");
        check(Claimant::Sync, "sync");
        check(Claimant::Peer(65_535), "peer:65535");
        for bad in ["", "Policy", "peer:", "peer:65536"] {
            assert!(bad.parse::<Claimant>().is_err(), "{bad}");
        }
        let mut all = [Claimant::Peer(10), Claimant::Operator, Claimant::Peer(9), Claimant::Policy];
        all.sort();
        assert_eq!(all, [Claimant::Policy, Claimant::Operator, Claimant::Peer(9), Claimant::Peer(10)]);
    }

    /// A command line of the version before may ask a daemon of this one.
    #[test]
    fn a_claim_of_the_version_before_is_understood() {
        let claim = |class: &str, until: &str| {
            let json = format!(r#"{{"since":1,"until":{until},"class":{class},"count":6,"enforceable":true}}"#);
            serde_json::from_str::<Claim>(&json).unwrap().reason
        };
        let policy =
            |basis| Reason::Policy { class: Class::Root, count: 6, threshold: 5, basis, parts: 0, probation: false };
        assert_eq!(claim("\"root\"", "null"), policy(Basis::Sound));
        assert_eq!(claim("\"root\"", "3600000001"), policy(Basis::Forgeable));
        assert_eq!(claim("\"root\"", "3600000002"), policy(Basis::Sound));
        assert_eq!(claim("null", "null"), Reason::Adopted);
        for reason in [
            policy(Basis::Forgeable),
            Reason::Operator { because: None },
            Reason::Operator { because: Some("spam".into()) },
            Reason::Adopted,
            Reason::Imported,
            Reason::Sync { server: "hub.example.org:9911".into(), reporters: 3 },
            Reason::Peer(7),
        ] {
            let claim = Claim { since: Timestamp(1), until: None, reason, enforceable: true };
            let json = serde_json::to_string(&claim).unwrap();
            assert_eq!(serde_json::from_str::<Claim>(&json).unwrap(), claim, "{json}");
        }
    }

    #[test]
    fn a_million_denies_are_small() {
        assert!(size_of::<(Claimant, Claim)>() <= 64);
    }
}
