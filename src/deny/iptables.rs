//! Denies in iptables: a chain of our own, and sets of ipset that its rules look into.
//!
//! Promises that rules and sets of others are never touched, and that there is no moment without the set: new sets are
//! filled beside the old ones and swapped with them (ipset(8)), and the chain is written in one transaction
//! (iptables-restore(8), `--noflush`). Elements carry their remaining time, so denies end even if we are gone, and
//! outlive us till then; ipset knows none of more than 24 days, so the daily `replace` starts longer ones anew.
//!
//! # The chain
//!
//! PREROUTING of table `raw` jumps to it first of all. That is before connection tracking and before DNAT, and sees what
//! goes to this box and what it forwards. REJECT cannot be there: where packets are answered it is INPUT and FORWARD of
//! table `filter` that jump to it, behind DNAT. What is denied goes on to a second chain, which lets log
//! senders reach our listeners and counts what is left. Loopback, neighbour discovery and what is allowed go back by RETURN, never
//! ACCEPT: what others say of them holds. IPv4 and IPv6 have a chain each; where the kernel has no IPv6, that is left out.
//!
//! # The sets
//!
//! `hash:net` takes prefixes of all lengths but 0, also one inside another, so a family has one set of denies and one of
//! what is allowed. A packet costs a look a *length* that is in use. Connections that stay open are in a `hash:ip,port`.
//!
//! # Without ipset
//!
//! Each deny is a rule, and a packet costs all of them. So there are [`rules::RULES_MAX`] a family at most: those denies
//! that end last. What is left out is told in the log. Such a rule ends when the engine releases the deny, not by itself.
//!
//! # What it does not do
//!
//! [`Iptables::probe`] sees a chain that is not as we left it, and sets that hold more or fewer elements. It does not see
//! that an element took the place of another one, or has another end: the daily `replace` mends that.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use inputs::record::Timestamp;

use super::effect::{Effect, NOT_EVERYWHERE, Refused};
use super::{Connection, DenyBackend, DenyError, DenySet, Diff, Kept, Life, Probe, program};
use crate::clock;
use crate::decide::prefix::Prefix;
use rules::{Listing, Place};
use sets::Script;

pub mod old;
mod proof;
mod rules;
mod sets;

/// The iptables back end. Needs CAP_NET_ADMIN, CAP_NET_RAW and the programs of iptables; those of ipset for more than a
/// few denies.
#[derive(Debug)]
pub struct Iptables {
    chain: Chain,
    variant: &'static str,
    without_ipset: bool,
    /// Whether the denies are in sets, since the last `replace`.
    sets: bool,
    /// What we put into the sets of denies, and when it goes by itself.
    held: BTreeMap<Prefix, Option<Instant>>,
    /// The rules of our chains of each family, as they were listed after we wrote them.
    rules: BTreeMap<Family, Vec<String>>,
    effect: Effect,
    /// What rules that we wrote refused, when they were last listed.
    refused: BTreeMap<Family, Refused>,
    /// What those refused that we wrote before them.
    refused_before: Refused,
    /// Whether it was said that some denies have no rule.
    warned: bool,
}

/// What an administrator decides of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name of our chain, and what the names of our sets begin with. Default `denyd`.
    pub chain: Chain,
}

/// The name of our chain. Small letters, so that it is no target of iptables' own, such as LOG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(String);

impl Default for Chain {
    fn default() -> Self {
        Chain("denyd".to_owned())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Chain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if letters && text.len() <= CHAIN_MAX {
            return Ok(Chain(text.to_owned()));
        }
        Err(format!("expected a chain's name: small letters, digits, _ and -, a letter first, at most {CHAIN_MAX}"))
    }
}

/// IPv4 or IPv6: iptables and ipset have all of it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Those that this kernel has.
    fn here() -> &'static [Family] {
        if Path::new("/proc/net/if_inet6").exists() { &[Family::V4, Family::V6] } else { &[Family::V4] }
    }

    fn holds(self, prefix: &Prefix) -> bool {
        prefix.is_ipv4() == (self == Family::V4)
    }

    /// As ipset calls it.
    fn name(self) -> &'static str {
        if self == Family::V4 { "inet" } else { "inet6" }
    }

    /// The connections of it that stay open.
    fn kept(self, want: &DenySet) -> impl Iterator<Item = Connection> {
        want.kept.iter().copied().filter(move |(peer, _)| peer.is_ipv4() == (self == Family::V4))
    }

    fn program(self) -> &'static str {
        match self {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        }
    }
}

impl Iptables {
    /// A back end for the chain of this name in table `raw`, which is ours alone, as are the sets that begin with it.
    pub fn new(chain: Chain) -> Self {
        Iptables {
            chain,
            variant: "",
            without_ipset: false,
            sets: false,
            held: BTreeMap::new(),
            rules: BTreeMap::new(),
            effect: Effect::default(),
            refused: BTreeMap::new(),
            refused_before: Refused::default(),
            warned: false,
        }
    }

    /// Refuses packets in this way.
    pub fn with_effect(self, effect: Effect) -> Self {
        Iptables { effect, ..self }
    }

    /// Uses `iptables-legacy` and its like instead of what the machine takes for iptables.
    pub fn legacy(self) -> Self {
        Iptables { variant: "-legacy", ..self }
    }

    /// Does as where ipset is missing.
    pub fn without_ipset(self) -> Self {
        Iptables { without_ipset: true, ..self }
    }

    /// Asks whether iptables can be used; changes nothing.
    pub fn usable(&self) -> Result<(), DenyError> {
        Family::here().iter().try_for_each(|family| self.listing(*family, self.place()).map(|_| ()))
    }

    /// Takes our chains and sets out of the kernel, and with them every deny. Not an error if there are none.
    pub fn remove(&mut self) -> Result<(), DenyError> {
        (self.held, self.rules) = (BTreeMap::new(), BTreeMap::new());
        for family in Family::here() {
            for place in [&rules::RAW, &rules::FILTER] {
                self.clear(*family, place)?;
            }
        }
        let names = self.sets_there()?;
        let ours = sets::all(&self.chain).into_iter().filter(|name| names.contains(name));
        let script: String = ours.map(|name| format!("destroy {name}\n")).collect();
        if script.is_empty() { Ok(()) } else { self.ipset("remove", &script) }
    }

    /// The names of all sets, where ipset can be used.
    fn set_names(&self) -> Result<Vec<String>, NoSets> {
        if self.without_ipset {
            return Err(NoSets::Here("not to be used".to_owned()));
        }
        let names = program::ask("ipset", &["list", "-n"], "").map_err(NoSets::of)?;
        Ok(String::from_utf8_lossy(&names).lines().map(str::to_owned).collect())
    }

    /// The names of all sets: none where ipset is missing.
    fn sets_there(&self) -> Result<Vec<String>, DenyError> {
        match self.set_names() {
            Err(NoSets::Here(_)) => Ok(Vec::new()),
            Err(NoSets::Told(cause)) => Err(self.failed("list the sets", cause)),
            Ok(names) => Ok(names),
        }
    }

    /// What a set holds.
    fn saved(&self, name: &str) -> Result<String, DenyError> {
        let saved = program::ask("ipset", &["save", name], "");
        let saved = saved.map_err(|cause| self.failed(format!("read set {name}"), cause))?;
        Ok(String::from_utf8_lossy(&saved).into_owned())
    }

    fn ipset(&self, verb: &str, script: &str) -> Result<(), DenyError> {
        let done = program::ask("ipset", &["-exist", "restore"], script);
        done.map(|_| ()).map_err(|cause| self.failed(format!("{verb} the sets of {}", self.chain), cause))
    }

    /// Where our chains are.
    fn place(&self) -> &'static Place {
        Place::of(self.effect.action)[0]
    }

    fn listing(&self, family: Family, place: &'static Place) -> Result<Listing, DenyError> {
        let name = format!("{}{}", family.program(), self.variant);
        let listed = program::ask(&name, &["-w", WAIT_S, "-t", place.table, "-v", "-S"], "");
        let listed = listed.map_err(|cause| self.failed(format!("list table {}", place.table), cause))?;
        Ok(Listing::new(place, &self.chain, &String::from_utf8_lossy(&listed)))
    }

    /// Takes our chains out of a table.
    fn clear(&self, family: Family, place: &'static Place) -> Result<(), DenyError> {
        let listed = self.listing(family, place)?;
        if listed.is_empty() { Ok(()) } else { self.restore("remove", family, &listed.removal(&self.chain)) }
    }

    /// Carries out a script for a table, in one transaction.
    fn restore(&self, verb: &str, family: Family, script: &str) -> Result<(), DenyError> {
        let name = format!("{}{}-restore", family.program(), self.variant);
        let done = program::ask(&name, &["-w", WAIT_S, "--noflush"], script);
        done.map(|_| ()).map_err(|cause| self.failed(format!("{verb} chain {}", self.chain), cause))
    }

    /// Fills new sets and swaps them with ours; `denies` says whether those of denies too.
    fn swap(&mut self, names: &[String], want: &DenySet, now: Timestamp, denies: bool) -> Result<(), DenyError> {
        let mut script = Script::new(&self.chain, names, self.effect.counters);
        let wanted = sets::wanted(want, now);
        for family in Family::here() {
            script.allow(*family, want);
            script.keep(*family, want);
            if denies {
                script.deny(*family, wanted.iter().filter(|(prefix, _)| family.holds(prefix)));
            }
        }
        self.ipset("replace", &script.text)?;
        if denies {
            self.held = wanted.into_iter().map(|(prefix, life)| (prefix, end(life))).collect();
        }
        Ok(())
    }

    /// Writes our chains, has the first of them asked before all others, and looks at what came of it.
    fn write(&mut self, family: Family, rules: &[String]) -> Result<(), DenyError> {
        let before = self.listing(family, self.place())?;
        self.restore("replace", family, &before.script(&self.chain, rules))?;
        if self.rules.contains_key(&family) {
            self.refused_before += before.refused;
        } else {
            // The first time: perhaps the action was another one when denyd last ran.
            self.clear(family, Place::of(self.effect.action)[1])?;
        }
        self.refused.remove(&family);
        let listed = self.listing(family, self.place())?;
        if let Some(cause) = listed.fault(rules.len()) {
            return Err(self.failed(format!("find chain {} as we wrote it", self.chain), cause));
        }
        self.rules.insert(family, listed.rules);
        Ok(())
    }

    /// Writes all of it anew.
    fn replace_all(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let names = match self.set_names() {
            Ok(names) => names,
            Err(NoSets::Here(cause) | NoSets::Told(cause)) => {
                if self.sets || self.rules.is_empty() {
                    tracing::warn!(backend = NAME, cause, "ipset cannot be used, so each deny is a rule of its own");
                }
                self.sets = false;
                return self.plain(want, now);
            }
        };
        self.swap(&names, want, now, true)?;
        for family in Family::here() {
            self.write(*family, &rules::of_sets(&self.chain, *family, &self.effect))?;
        }
        (self.sets, self.warned) = (true, false);
        Ok(())
    }

    fn plain(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let mut left_out = 0;
        for family in Family::here() {
            let (rules, over) = rules::plain(&self.chain, *family, &self.effect, want, now);
            self.write(*family, &rules)?;
            left_out += over;
        }
        if left_out > 0 && !self.warned {
            let limit = rules::RULES_MAX;
            tracing::warn!(backend = NAME, left_out, limit, "more denies than rules; not denied here: install ipset");
        }
        self.warned = left_out > 0;
        Ok(())
    }

    /// What is wrong with the sets in a listing of their heads, if anything.
    fn fault(&self, heads: &str) -> Option<String> {
        for family in Family::here() {
            let name = sets::denied(&self.chain, *family);
            let Some(count) = sets::count(heads, &name) else { return Some(format!("set {name} is gone")) };
            let now = clock::monotonic();
            let ours = self.held.iter().filter(|(prefix, _)| family.holds(prefix));
            let (mut least, mut most) = (0, 0);
            for (_, end) in ours {
                least += usize::from(end.is_none_or(|end| end > now + SLACK));
                most += usize::from(end.is_none_or(|end| end + SLACK > now));
            }
            if count.is_some_and(|count| !(least..=most).contains(&count)) {
                return Some(format!("set {name} has {} elements where there were {most}", count.unwrap_or_default()));
            }
        }
        None
    }

    fn failed(&self, tried: impl Into<String>, cause: String) -> DenyError {
        let remedy = remedy(&cause);
        DenyError { remedy, ..DenyError::new(NAME, tried, cause) }
    }

    fn touched(&self, cause: String) -> DenyError {
        let remedy = Some("look for what changes it: a firewall's reload should leave chains of others alone");
        DenyError { remedy, ..self.failed(format!("find chain {} as we left it", self.chain), cause) }
    }
}

impl DenyBackend for Iptables {
    fn name(&self) -> &'static str {
        NAME
    }

    fn take_away(&mut self, _now: Timestamp) -> Result<(), DenyError> {
        self.remove()
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let failed = match self.replace_all(want, now) {
            Err(error) => error,
            Ok(()) => return Ok(()),
        };
        // It may be that, or anything; nobody denied would be worse than a sender that is not heard.
        let Some(without) = self.effect.without_everywhere() else { return Err(failed) };
        let whole = std::mem::replace(&mut self.effect, without);
        let done = self.replace_all(want, now);
        self.effect = whole; // is tried again by the next one
        if done.is_err() {
            return Err(failed);
        }
        tracing::warn!(backend = NAME, cause = failed.cause, "{NOT_EVERYWHERE}");
        Ok(())
    }

    /// One process of `ipset`, which says of each element what is wanted of it; without ipset all is written anew.
    fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        // These are two elements in a set, or half of such two.
        if !self.sets || diff.denies.keys().any(|prefix| prefix.bits() <= 1) {
            return self.replace(want, now);
        }
        if diff.allowed.is_some() || diff.kept.is_some() {
            let names = self.sets_there()?;
            self.swap(&names, want, now, false)?;
        }
        let mut script = Script::new(&self.chain, &[], self.effect.counters);
        let here = Family::here();
        let prefixes = || diff.denies.keys().filter(|prefix| here.iter().any(|family| family.holds(prefix)));
        let life = |prefix| want.denied.get(prefix).map_or(Life::Over, |until| Life::left(*until, now));
        prefixes().for_each(|prefix| script.set(prefix, life(prefix)));
        if script.text.is_empty() {
            return Ok(());
        }
        self.ipset("update", &script.text)?;
        for prefix in prefixes() {
            match life(prefix) {
                Life::Over => _ = self.held.remove(prefix),
                life => _ = self.held.insert(*prefix, end(life)),
            }
        }
        Ok(())
    }

    /// Costs two or three processes, of some milliseconds each.
    fn probe(&mut self, _want: &DenySet, _now: Timestamp) -> Result<Probe, DenyError> {
        for family in Family::here() {
            let listed = self.listing(*family, self.place())?;
            self.refused.insert(*family, listed.refused);
            let ours = self.rules.get(family).map_or(&[][..], Vec::as_slice);
            let changed = (listed.rules != ours).then(|| "its rules are others".to_owned());
            if let Some(cause) = listed.fault(ours.len()).or(changed) {
                return Err(self.touched(cause));
            }
        }
        if self.sets {
            let heads = program::ask("ipset", &["list", "-t"], "");
            let heads = heads.map_err(|cause| self.failed("list the sets", cause))?;
            if let Some(cause) = self.fault(&String::from_utf8_lossy(&heads)) {
                return Err(self.touched(cause));
            }
        }
        Ok(Probe::Ours)
    }

    fn refused(&self) -> Option<Refused> {
        let mut all = self.refused_before;
        self.refused.values().for_each(|family| all += *family);
        Some(all)
    }

    /// What our sets count; nothing where ipset is missing.
    fn refused_of_each(&mut self) -> Result<BTreeMap<Prefix, u64>, DenyError> {
        let mut counts = BTreeMap::new();
        let names = if self.effect.counters { self.sets_there()? } else { Vec::new() };
        for family in Family::here() {
            let name = sets::denied(&self.chain, *family);
            if names.contains(&name) {
                counts.extend(sets::counted(&self.saved(&name)?));
            }
        }
        Ok(counts)
    }

    /// What our sets hold; where ipset is missing, what is allowed has no rules.
    fn allowed(&mut self, _now: Timestamp) -> Result<Vec<Prefix>, DenyError> {
        let names = self.sets_there()?;
        let ours = Family::here().iter().map(|family| sets::allowed(&self.chain, *family));
        let mut allowed = Vec::new();
        for name in ours.filter(|name| names.contains(name)) {
            allowed.extend(sets::named(&self.saved(&name)?));
        }
        Ok(allowed)
    }

    /// What our sets hold, or else the rules of our chain, of which no end is known.
    fn kept(&mut self, now: Timestamp) -> Result<Kept, DenyError> {
        let mut kept = Kept::new();
        let names = self.sets_there()?;
        for family in Family::here() {
            kept.extend(self.listing(*family, self.place())?.denied().map(|prefix| (prefix, None)));
            let name = sets::denied(&self.chain, *family);
            if names.contains(&name) {
                kept.extend(sets::saved(&self.saved(&name)?, now));
            }
        }
        Ok(kept)
    }
}

/// Why there are no names of sets.
#[derive(Debug, PartialEq, Eq)]
enum NoSets {
    /// There is no ipset here, so there are no sets.
    Here(String),
    /// There may be some: it would not say.
    Told(String),
}

impl NoSets {
    /// What `ipset`'s complaint means, or that it could not be run.
    fn of(cause: String) -> NoSets {
        // the second where the kernel has no ip_set
        let none = cause.starts_with("no ipset in") || cause.contains("Cannot open session to kernel");
        if none { NoSets::Here(cause) } else { NoSets::Told(cause) }
    }
}

/// When an element that was added now goes by itself.
fn end(life: Life) -> Option<Instant> {
    match life {
        Life::Seconds(left) => Some(clock::monotonic() + Duration::from_secs(left.min(sets::TIMEOUT_MAX_S))),
        Life::Over | Life::Forever => None,
    }
}

fn remedy(cause: &str) -> Option<&'static str> {
    if cause.contains("xtables.lock") {
        Some("legacy iptables needs root: run denyd as root, or have the machine use iptables-nft")
    } else if ["Permission denied", "not permitted", "open socket to ipset"].iter().any(|said| cause.contains(said)) {
        Some("run denyd with CAP_NET_ADMIN and CAP_NET_RAW")
    } else if cause.starts_with("no ip") {
        Some("install the package iptables, or choose another back end")
    } else if cause.contains("match `set'") || cause.contains("extension set") {
        Some("the kernel has no xt_set for iptables: load it, or choose another back end")
    } else {
        None
    }
}

pub(super) const NAME: &str = "iptables";
/// The longest name of our chain, in bytes. ipset's own limit is 31 (IPSET_MAXNAMELEN), and `-allow4-new` follows.
const CHAIN_MAX: usize = 20;
/// How long iptables waits for the lock of others, in seconds.
const WAIT_S: &str = "10";
/// An element whose end is as near as this may be there or not.
const SLACK: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names() {
        for bad in ["", "a b", "1a", "-a", "a;b", "LOG", "Denyd", "ä", "a\n", &"a".repeat(21)] {
            assert!(bad.parse::<Chain>().is_err(), "{bad}");
        }
        for good in ["denyd", "a-1_b", &"a".repeat(20)] {
            good.parse::<Chain>().unwrap();
        }
    }

    #[test]
    fn no_ipset_is_no_set() {
        let check = |cause: &str, none: bool| {
            assert_eq!(matches!(NoSets::of(cause.to_owned()), NoSets::Here(_)), none, "{cause}");
        };
        check("no ipset in /usr/sbin, /sbin, /usr/bin, /bin", true);
        check("ipset v7.17: Cannot open session to kernel.", true);
        check("ipset v7.17: Kernel error received: Operation not permitted", false);
        check("ipset took more than 60 s", false);
    }

    /// What the programs say to a user who lacks a capability; what else they say has no remedy that we know.
    #[test]
    fn says_what_to_do() {
        let check = |cause: &str, want: Option<&str>| {
            let got = remedy(cause);
            assert_eq!(got.is_some(), want.is_some(), "{cause}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{cause}: {got:?}");
        };
        check("Fatal: can't open lock file /run/xtables.lock: Permission denied", Some("legacy iptables needs root"));
        check("iptables v1.8.9 (nf_tables): Can't open socket to ipset.", Some("CAP_NET_RAW"));
        check(
            "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied",
            Some("CAP_NET"),
        );
        check("ipset v7.17: Kernel error received: Operation not permitted", Some("CAP_NET_ADMIN"));
        check("no iptables in /usr/sbin, /sbin, /usr/bin, /bin", Some("install the package iptables"));
        check("ipset v7.17: Error in line 7: The sets cannot be swapped: their type does not match", None);
    }
}
