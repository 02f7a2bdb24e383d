//! What of DenyHosts' becomes what of ours. Pure: what is there goes in, what is to be done comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use super::found::Found;
use crate::cli::output::count;
use crate::compat::files::{self, Bad, Count, Key, Pair, User};
use crate::config::{Config, Deny};
use crate::decide::claim::{Claim, Reason, Until, latest};
use crate::decide::past::{self, Failed, Past};
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::deny::hosts_deny::libwrap::Line;
use crate::deny::hosts_deny::{Written, of_denyhosts};
use crate::deny::iptables::old::Old as Rule;
use crate::desk::TakenOver;
use crate::desk::received::{self, Place};
use crate::detect::event::Account;
use crate::detect::special::is_shared;
use crate::outbox::sync;
use crate::text::{plain, printable};

/// Lines of one kind that are shown.
const SHOWN_MAX: usize = 10;

/// Which file counts what.
const CLASSES: [(&str, Class); 4] = [
    (files::HOSTS, Class::Invalid),
    (files::HOSTS_VALID, Class::Valid),
    (files::HOSTS_ROOT, Class::Root),
    (files::HOSTS_RESTRICTED, Class::Restricted),
];

/// What is taken over.
#[derive(Default)]
pub(super) struct Plan {
    /// What the desk is told.
    pub(super) taken: TakenOver,
    /// The entries of hosts.deny that are DenyHosts'.
    pub(super) entries: Vec<Written>,
    /// Its rules.
    pub(super) rules: Vec<Rule>,
    /// All of it for people.
    pub(super) rows: Vec<Row>,
    /// What is not taken over, and why.
    pub(super) left: Vec<String>,
}

/// A row of what is taken over.
pub(super) struct Row {
    /// What it is.
    pub(super) what: String,
    /// How many of them.
    pub(super) many: usize,
    /// What becomes of it.
    pub(super) becomes: String,
}

/// Makes the plan. `policy` is what denyd will decide by, `ours` its whole configuration.
pub(super) fn plan(found: &Found, policy: &Policy, ours: &Config, now: Timestamp, zone: &TimeZone) -> Plan {
    let mut plan = Plan { left: found.problems.clone(), ..Plan::default() };
    let counted: Vec<_> =
        CLASSES.iter().map(|(name, class)| (*class, plan.counts::<IpAddr>(found, name, zone))).collect();
    let purged = plan.counts::<IpAddr>(found, files::PURGE_HISTORY, zone);
    let received = plan.read(found, files::SYNC_RECEIVED, |text| files::received(text, zone));

    // Whom DenyHosts denied, or would have, and of whom it knew at all.
    let thresholds = found.meant.decide.policy.thresholds;
    let is_over =
        |class: Class, count: u64| thresholds[class as usize].is_some_and(|threshold| count > u64::from(threshold.0));
    let mut proven: BTreeSet<IpAddr> = received.keys().copied().collect();
    let mut known: BTreeSet<IpAddr> = purged.keys().copied().chain(proven.iter().copied()).collect();
    for (class, counts) in &counted {
        proven.extend(counts.iter().filter(|(_, one)| is_over(*class, one.count)).map(|(address, _)| *address));
        known.extend(counts.iter().filter(|(_, one)| one.count > 0).map(|(address, _)| *address));
    }

    // Whom DenyHosts would not have purged any more: by what it had purged before.
    let permanent_after = found.meant.decide.policy.permanent_after;
    let is_for_life = |one: &Count| permanent_after.is_some_and(|times| one.count > u64::from(times));
    let for_life: BTreeSet<IpAddr> =
        purged.iter().filter(|(_, one)| is_for_life(one)).map(|(address, _)| *address).collect();
    proven.extend(&for_life);

    let policy = plan.allowed(found, policy);
    let by = By { policy: &policy, proven: &proven, for_life: &for_life };
    let over = plan.denies(found, by, known, now, zone);
    plan.narrowed(&ours.deny);
    plan.differ(found, ours);
    plan.past(&counted, &purged, &over, now);
    plan.users(found, zone);
    plan.sharing(found);
    if let Some((input, cursor)) = found.cursor.clone() {
        plan.row(format!("how far {} was read", plain(&input)), 1, "goes on there");
        plan.taken.cursors.insert(input, cursor);
    }
    plan
}

/// By what an entry is judged.
#[derive(Clone, Copy)]
struct By<'a> {
    /// What denyd will decide by.
    policy: &'a Policy,
    /// Whom DenyHosts denied, by its own files.
    proven: &'a BTreeSet<IpAddr>,
    /// Whom it would never have purged.
    for_life: &'a BTreeSet<IpAddr>,
}

impl Plan {
    fn row(&mut self, what: impl Into<String>, many: usize, becomes: impl Into<String>) {
        if many > 0 {
            self.rows.push(Row { what: what.into(), many, becomes: becomes.into() });
        }
    }

    /// Notes lines that are left where they are, the first of them in full.
    fn leave(&mut self, of: &str, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<_> = lines.into_iter().collect();
        let more = lines.len().saturating_sub(SHOWN_MAX);
        self.left.extend(lines.into_iter().take(SHOWN_MAX));
        if more > 0 {
            self.left.push(format!("{of}: {more} more of that kind"));
        }
    }

    fn read<T: Default>(&mut self, found: &Found, name: &str, read: impl Fn(&[u8]) -> files::Found<T>) -> T {
        let Some(text) = found.files.get(name) else { return T::default() };
        let files::Found { records, bad } = read(text);
        let told = |Bad { line, text, why }: Bad| {
            let text: String = printable(&text).chars().take(80).collect();
            format!("{name}:{line}: {why}, so it stays where it is: {text}")
        };
        self.leave(name, bad.into_iter().map(told));
        records
    }

    fn counts<K: Key>(&mut self, found: &Found, name: &str, zone: &TimeZone) -> BTreeMap<K, Count> {
        self.read(found, name, |text| files::counts(text, zone))
    }

    /// Whom DenyHosts denies, by its entries and rules. Returns whose deny is over by now, and since when.
    fn denies(
        &mut self,
        found: &Found,
        By { policy, proven, for_life }: By<'_>,
        mut known: BTreeSet<IpAddr>,
        now: Timestamp,
        zone: &TimeZone,
    ) -> BTreeMap<IpAddr, Timestamp> {
        let (file, deny_for) = (plain(&found.old.hosts_deny.display().to_string()), found.meant.decide.policy.deny_for);
        let (ours, others): (Vec<_>, Vec<_>) = of_denyhosts(&found.hosts_deny, zone)
            .into_iter()
            // Only a denyd denied networks, those by which it counts; another one is an administrator's.
            .partition(|Written { prefix, stamp, .. }| {
                let is_one = prefix.is_host() || policy.prefix(prefix.address().into()) == *prefix;
                is_one && (stamp.is_some() || proven.contains(&prefix.address()))
            });
        let kept = |one: &Written| {
            let why = "nothing says that DenyHosts wrote it, no comment and not its work directory";
            format!("{file}:{}: {} stays as it is: {why}", one.line, plain(&one.entry))
        };
        self.leave(&file, others.iter().filter(|one| one.prefix.is_host()).map(kept));
        // Nobody purged what has no comment, nor who had been purged too often.
        let is_purged = |one: &Written| !for_life.contains(&one.prefix.address());
        let until =
            |one: &Written| one.stamp.filter(|_| is_purged(one)).and_then(|at| deny_for.map(|time| at.after(time)));
        let is_over = |one: &&Written| until(one).is_some_and(|until| until <= now);
        let lasting: BTreeSet<IpAddr> =
            ours.iter().filter(|one| !is_over(one)).map(|one| one.prefix.address()).collect();
        let mut over: BTreeMap<IpAddr, Timestamp> = BTreeMap::new();
        for one in ours.iter().filter(is_over).filter(|one| !lasting.contains(&one.prefix.address())) {
            let end = over.entry(one.prefix.address()).or_default();
            *end = (*end).max(until(one).unwrap_or_default());
        }
        let mut denied: BTreeMap<Prefix, (Timestamp, Until)> = BTreeMap::new();
        let mut deny = |address: IpAddr, since: Timestamp, until: Until| {
            let prefix = policy.prefix(address.into());
            let claim = denied.entry(prefix).or_insert((since.min(now), until));
            *claim = (claim.0.min(since), latest(claim.1, until));
        };
        for one in ours.iter().filter(|one| !over.contains_key(&one.prefix.address())) {
            deny(one.prefix.address(), one.stamp.unwrap_or(now), until(one));
        }
        known.extend(ours.iter().map(|one| one.prefix.address()));
        let (rules, others): (Vec<_>, Vec<_>) =
            found.rules.iter().cloned().partition(|rule| known.contains(&rule.address));
        let by_entry: BTreeSet<IpAddr> = ours.iter().map(|one| one.prefix.address()).collect();
        let by_rule: BTreeSet<IpAddr> = rules.iter().map(|rule| rule.address).collect();
        for address in by_rule.difference(&by_entry) {
            let deny_for = deny_for.filter(|_| !for_life.contains(address));
            deny(*address, now, deny_for.map(|time| now.after(time)));
        }
        let why = "nothing of DenyHosts' knows this address";
        let told = |rule: &Rule| format!("iptables, INPUT {}: {} stays as it is: {why}", rule.place, plain(&rule.rule));
        self.leave("iptables", others.iter().map(told));
        let (entries, ended) = (ours.len(), over.len());
        let endless = ours.iter().filter(|one| until(one).is_none()).count();
        self.row(
            format!("entries of {file}"),
            entries,
            match deny_for {
                None => "for ever, as PURGE_DENY is blank".to_owned(),
                Some(_) => format!("until PURGE_DENY is over; {endless} for ever: without a time, or purged too often"),
            },
        );
        self.row("  of them over by now", ended, "let in, and counted as released");
        let allowed = denied.keys().filter(|prefix| policy.allow.covers(prefix)).count();
        self.row("  of them allowed", allowed, "let in: the allow list goes first");
        let copies = rules.len() - by_rule.len();
        let addresses = count(by_rule.len() as u64, "address", "addresses");
        self.row(
            "rules of iptables",
            rules.len(),
            format!("denies of {addresses}, {copies} copies; then the rules go"),
        );
        let claim =
            |(prefix, (since, until))| (prefix, Claim { since, until, reason: Reason::Imported, enforceable: true });
        self.taken.denied = denied.into_iter().map(claim).collect();
        (self.entries, self.rules) = (ours, rules);
        over
    }

    /// Says whose deny was of more than ours will be: of all services, or of all ports.
    fn narrowed(&mut self, deny: &Deny) {
        let Some(to) = narrow(deny) else { return };
        let of_all = |one: &&Written| {
            one.entry.split_once(':').is_some_and(|(service, _)| service.trim().eq_ignore_ascii_case("ALL"))
        };
        let (entries, rules) = (self.entries.iter(), self.rules.iter());
        let entries = entries.filter(of_all).count();
        let rules = rules.filter(|rule| !rule.rule.contains("dport")).count();
        let becomes = format!("closed to {to} alone from now on: see BLOCK_SERVICE and BLOCKPORT");
        self.row("entries for ALL services", entries, becomes.clone());
        self.row("rules for all ports", rules, becomes);
    }

    /// What was counted, but for those whose deny is over: they begin again from zero.
    fn past(
        &mut self,
        counted: &[(Class, BTreeMap<IpAddr, Count>)],
        purged: &BTreeMap<IpAddr, Count>,
        over: &BTreeMap<IpAddr, Timestamp>,
        now: Timestamp,
    ) {
        let Past { failed, released, .. } = &mut self.taken.past;
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        for (class, counts) in counted {
            let still = counts.iter().filter(|(address, one)| one.count > 0 && !over.contains_key(address));
            failed.extend(still.map(|(address, Count { count, at })| Failed {
                address: *address,
                class: *class,
                count: number(*count),
                last: at.unwrap_or(now).min(now),
            }));
        }
        let addresses: BTreeSet<IpAddr> = purged.keys().chain(over.keys()).copied().collect();
        released.extend(addresses.into_iter().map(|address| {
            let (before, end) = (purged.get(&address), over.get(&address));
            let times = before.map_or(0, |one| number(one.count)).saturating_add(u32::from(end.is_some()));
            (address, times, before.and_then(known_time).max(end.copied()))
        }));
        let (failing, released) = (failed.iter().map(|one| one.address).collect::<BTreeSet<_>>().len(), released.len());
        self.row("addresses that failed", failing, "counts, in hosts*: denyd list addresses");
        self.row("addresses that were released", released, "counts for permanent_after and escalate");
    }

    fn users(&mut self, found: &Found, zone: &TimeZone) {
        for (name, account) in [(files::USERS_INVALID, Account::Unknown), (files::USERS_VALID, Account::Known)] {
            let users = self.counts::<User>(found, name, zone).into_iter().filter(|(_, one)| one.count > 0);
            let users = users.map(|(user, one)| (user, one.count, account, known_time(&one).unwrap_or_default()));
            self.taken.past.users.extend(users);
        }
        self.row("users that were tried", self.taken.past.users.len(), "counts: denyd list users");
        let mut pairs = |name| -> Vec<past::Pair> {
            let counts = self.counts::<Pair>(found, name, zone).into_iter().filter(|(_, one)| one.count > 0);
            let pair = |(Pair { user, address }, one): (Pair, Count)| past::Pair {
                user,
                address,
                times: one.count,
                last: known_time(&one).unwrap_or_default(),
            };
            counts.map(pair).collect()
        };
        let (tried, logins) = (pairs(files::USERS_HOSTS), pairs(files::SUSPICIOUS_LOGINS));
        self.row("users with an address", tried.len(), "counts: denyd list pairs");
        self.row("suspicious logins", logins.len(), "counts: denyd list suspicious");
        (self.taken.past.pairs, self.taken.past.suspicious) = (tried, logins);
    }

    /// Whom the server is to be told of still, and how far its list was taken.
    fn sharing(&mut self, found: &Found) {
        let mut waiting = BTreeSet::new();
        for name in [files::SYNC_HOSTS_TMP, files::SYNC_HOSTS] {
            waiting.append(&mut self.read(found, name, files::hosts));
        }
        let many = waiting.len();
        waiting.retain(|host| is_shared((*host).into()));
        if !found.meant.sync.sends() {
            if many > 0 {
                let why = "as SYNC_SERVER or SYNC_UPLOAD says that nothing is sent";
                self.left.push(format!("{}: {many} stay there, {why}", files::SYNC_HOSTS));
            }
            waiting.clear();
        } else if many > waiting.len() {
            let others = many - waiting.len();
            self.left.push(format!("{}: {others} are not sent: no hosts of the internet", files::SYNC_HOSTS));
        }
        self.row("hosts that SYNC_SERVER is to be told of", waiting.len(), "are sent in the first round: denyd sync");
        if !waiting.is_empty() {
            let kept =
                sync::Kept { waiting: waiting.into_iter().take(sync::WAITING_MAX).collect(), ..sync::Kept::default() };
            self.taken.notes.insert(sync::NAME.to_owned(), kept.note());
        }
        let timestamp = found.files.get(files::SYNC_TIMESTAMP).and_then(|text| files::timestamp(text));
        if let Some(timestamp) = timestamp.filter(|_| found.meant.sync.is_wanted()) {
            let place = Place { timestamp, ..Place::default() };
            self.taken.notes.insert(received::NOTE.to_owned(), serde_json::to_string(&place).unwrap_or_default());
            self.row("how far the list of SYNC_SERVER was taken", 1, "goes on there");
        }
    }

    /// Whom hosts.allow admits, which no firewall asks, and whom DenyHosts allowed and denyd's own configuration does not.
    /// Returns what denyd will decide by then.
    fn allowed(&mut self, found: &Found, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        let file = |line: &Line| format!("{}:{}", plain(&line.file.display().to_string()), line.number);
        let (mut admits, mut rest) = (Vec::new(), Vec::new());
        for one in &found.admitted {
            let told = |why: String| {
                let shown = format!("{}: not taken, since {why}", file(&one.line));
                format!("{shown}; see to it, and use `denyd allow` for whom it admits: {}", one.line.text)
            };
            for prefix in &one.prefixes {
                let widest = if prefix.address().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
                match prefix.bits() < widest {
                    true => rest.push(told(format!("{prefix} is wider than /8 (/32 of IPv6)"))),
                    false => admits.push(prefix.to_string()),
                }
            }
            let refused = one.refused.iter();
            rest.extend(
                refused.map(|(prefix, line)| told(format!("{} refuses a part of {prefix} before", file(line)))),
            );
            rest.extend(one.others.map(|why| told(why.to_owned())));
        }
        let theirs: Vec<String> = found.meant.decide.policy.allow.entries().map(str::to_owned).collect();
        let new = |policy: &mut Policy, entries: Vec<String>| -> Vec<String> {
            entries.into_iter().filter(|entry| policy.allow.add(entry).unwrap_or(false)).collect()
        };
        let theirs = new(&mut policy, theirs);
        self.row("allowed by DenyHosts, not by denyd's own configuration", theirs.len(), "the allow list: denyd allow");
        self.row("admitted by hosts.allow", admits.len(), "the allow list: denyd allow");
        let _ = new(&mut policy, admits.clone());
        self.taken.allowed = theirs.into_iter().chain(admits).collect();
        self.leave("hosts.allow", rest);
        policy
    }

    /// What denyd's own configuration says otherwise than DenyHosts'.
    fn differ(&mut self, found: &Found, ours: &Config) {
        let (theirs, ours) = (found.meant.to_toml(), ours.to_toml());
        let value = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ").map(str::to_owned));
            line.unwrap_or_else(|| "not set".to_owned())
        };
        let other = DECISIVE.iter().map(|key| (key, value(&ours, key), value(&theirs, key)));
        let other = other.filter(|(_, ours, theirs)| ours != theirs);
        let told = other.map(|(key, ours, theirs)| {
            format!("{key} is {ours} in denyd's own configuration, and {theirs} by DenyHosts': denyd goes by its own")
        });
        self.left.extend(told.collect::<Vec<_>>());
    }
}

/// The widest networks that are taken from hosts.allow, by the lengths of their prefixes.
const WIDEST: (u8, u8) = (8, 32);
/// The keys that say who is denied, for how long, and by what.
const DECISIVE: &[&str] = &[
    "threshold_invalid",
    "threshold_valid",
    "threshold_root",
    "threshold_restricted",
    "age_reset_invalid",
    "age_reset_valid",
    "age_reset_root",
    "age_reset_restricted",
    "reset_on_success",
    "deny_for",
    "permanent_after",
    "backends",
];

/// What a deny of ours closes, where that is not all.
fn narrow(deny: &Deny) -> Option<String> {
    let service = deny.hosts_deny.service.to_string();
    let of_service = |service: &str| !service.is_empty() && !service.eq_ignore_ascii_case("ALL");
    let mut to = Vec::new();
    if deny.has_firewall() {
        let ports = deny.effect.ports.as_ref()?.iter().map(u16::to_string).collect::<Vec<_>>();
        to.push(format!("port {}", ports.join(", ")));
    }
    if deny.has_hosts_deny() {
        to.push(Some(format!("the service {service}")).filter(|_| of_service(&service))?);
    }
    (!to.is_empty()).then(|| to.join(" and "))
}

/// When it was last, where the file tells: `denyd export` writes the epoch where that is not known.
fn known_time(one: &Count) -> Option<Timestamp> {
    one.at.filter(|at| *at > Timestamp::default())
}
