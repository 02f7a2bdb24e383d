//! The desk: engine and store together, and what people may ask of them.
//!
//! The daemon has one, behind its control socket; with the daemon stopped the command line opens one itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use inputs::cursor::Cursor;
use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::output::printable;
use crate::decide::allow::AllowList;
use crate::decide::engine::{Command, Engine};
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, Claim, Claimant, Deny, UserCounts};
use crate::decide::tally::Tally;
use crate::deny::{AllowRange, DenySet, Diff};
use crate::store::{Commit, Decision, Evidence, Loaded, Store, StoreError, decision};

/// The note that has the names of the inputs, by their numbers.
const INPUTS: &str = "inputs";
/// The most rows that one answer holds.
pub const ROWS_MAX: usize = 100_000;
/// Denies that one request may apply: they fit into the largest request.
pub const APPLIED_MAX: usize = 200;
/// No person denies wider prefixes than these by mistake; `--force` is for those who mean it.
const WIDEST: (u8, u8) = (8, 32);

/// What people may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Who is denied, which users or which addresses were tried.
    List {
        /// Of what.
        what: What,
    },
    /// Why an address is denied, or is not.
    Why {
        /// Which.
        address: IpAddr,
    },
    /// What was decided.
    History {
        /// Only about prefixes that hold this one.
        prefix: Option<Prefix>,
        /// The newest so many.
        limit: usize,
    },
    /// Deny a prefix.
    Deny {
        /// Which.
        prefix: Prefix,
        /// For how long; `None` = for ever.
        seconds: Option<u64>,
        /// Also what is dangerously wide, or holds `caller`.
        force: bool,
        /// Where the asking person is logged in from.
        caller: Option<IpAddr>,
    },
    /// Enforce what `scan` decided over old logs.
    Apply {
        /// The denies, at most [`APPLIED_MAX`].
        denied: Vec<(Prefix, Claim)>,
    },
    /// Withdraw denies and clear counts; `None` = all.
    Forgive {
        /// Which.
        prefix: Option<Prefix>,
    },
    /// Show the allow list, or change it.
    Allow {
        /// What to add or remove.
        entry: Option<String>,
        /// Remove it.
        remove: bool,
    },
    /// Every record as it is folded, from now on.
    Tap,
}

impl Request {
    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        match self {
            Request::Deny { .. } | Request::Apply { .. } | Request::Forgive { .. } => false,
            Request::Allow { entry, .. } => entry.is_none(),
            _ => true,
        }
    }
}

/// What `list` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Denied prefixes.
    Hosts,
    /// Users that were tried.
    Users,
    /// Counted prefixes.
    Addresses,
}

/// Engine and store.
pub struct Desk {
    /// Decides.
    pub engine: Engine,
    /// Remembers.
    pub store: Store,
    /// The names of the inputs, by their numbers.
    inputs: Vec<String>,
    /// Where each input goes on, as committed.
    pub cursors: BTreeMap<String, Cursor>,
    /// What the next commit writes.
    pub pending: Commit,
    /// The entries of the configuration's own allow list.
    configured: AllowList,
    /// The entries that `allow` added.
    added: BTreeSet<String>,
    /// What the projections were told.
    published: BTreeMap<Prefix, Option<Timestamp>>,
    /// Where in the pending changes those begin that were not published early.
    unpublished: usize,
    allow_changed: bool,
}

impl Desk {
    /// Takes back what the store remembers. What `policy` allows now is released as of `now`.
    pub fn open(mut store: Store, policy: Policy, now: Timestamp) -> Result<Desk, StoreError> {
        let Loaded { state, cursors, allowed: added } = store.load(&policy)?;
        let configured = policy.allow.clone();
        let mut desk = Desk {
            engine: Engine::with(policy, state),
            store,
            inputs: Vec::new(),
            cursors,
            pending: Commit::default(),
            configured,
            added,
            published: BTreeMap::new(),
            unpublished: 0,
            allow_changed: false,
        };
        desk.rebuild_allow_list();
        // The configuration may allow now what was denied before.
        desk.engine.tell_wall(now);
        desk.engine.command(&Command::Allowed);
        Ok(desk)
    }

    /// The numbers of inputs. Each keeps the one that it had, in whatever order they are configured: connections that
    /// are still open know by it what each input said of them. One that is new takes the first that
    /// none of these has.
    pub fn number(&mut self, names: &[&str]) -> Result<Vec<SourceId>, StoreError> {
        let known = self.store.note(INPUTS)?.and_then(|note| serde_json::from_str::<Vec<String>>(&note).ok());
        let mut all = known.clone().unwrap_or_default();
        all.truncate(usize::from(u16::MAX));
        let ids = names.iter().map(|name| {
            let free = |all: &Vec<String>| all.iter().position(|one| !names.contains(&one.as_str()));
            let at = all.iter().position(|one| one == name).or_else(|| free(&all)).unwrap_or(all.len());
            all.resize(all.len().max(at + 1), String::new());
            (*name).clone_into(&mut all[at]);
            SourceId(at as u16) // a configuration has fewer: its file has an end
        });
        let ids = ids.collect();
        if known.as_ref() != Some(&all) {
            self.store.keeper()?.set_note(INPUTS, &serde_json::to_string(&all).unwrap_or_default())?;
        }
        self.inputs = all;
        Ok(ids)
    }

    fn rebuild_allow_list(&mut self) {
        let mut list = self.configured.clone();
        for entry in &self.added {
            if let Err(error) = list.add(entry) {
                tracing::warn!(%error, "an entry that `denyd allow` added is left out");
            }
        }
        self.engine.policy.allow = list;
    }

    /// Gathers what the engine decided since the last call.
    pub fn gather(&mut self) {
        self.pending.changes.append(&mut self.engine.changes);
        for late in std::mem::take(&mut self.engine.late) {
            self.pending.evidence.push(Evidence {
                prefix: self.engine.prefix(late.peer),
                at: late.at,
                host: late.host,
                source: self.inputs.get(usize::from(late.source.0)).cloned().unwrap_or_default(),
                message: b"(a PAM line, or refused keys, that no line of sshd itself followed)".to_vec(),
            });
        }
    }

    /// Whether a commit would write anything but cursors.
    pub fn is_dirty(&self) -> bool {
        !self.pending.changes.is_empty() || !self.pending.evidence.is_empty() || self.engine.state.sessions.changed()
    }

    /// How many rows a commit would write, about.
    pub fn pending_rows(&self) -> usize {
        self.pending.changes.len() + self.pending.evidence.len() + self.engine.state.sessions.changes()
    }

    /// Writes what is pending, and returns the changes in it. On an error it stays pending.
    pub fn commit(&mut self, wall: Timestamp) -> Result<Vec<Change>, StoreError> {
        self.pending.wall = wall;
        self.store.commit(&self.pending, &mut self.engine.state)?;
        self.cursors.append(&mut self.pending.cursors);
        self.pending.evidence.clear();
        self.unpublished = 0;
        Ok(std::mem::take(&mut self.pending.changes))
    }

    /// What is to be enforced at `now`.
    pub fn wanted(&self, now: Timestamp) -> DenySet {
        let denied = self.engine.state.denies.iter();
        let denied = denied.filter_map(|(prefix, deny)| deny.enforced(now).map(|until| (*prefix, until))).collect();
        DenySet { denied, allowed: self.allowed() }
    }

    fn allowed(&self) -> Vec<AllowRange> {
        self.engine.policy.allow.ranges().collect()
    }

    /// Forgets what was published: the projections are about to be told everything.
    pub fn publish_all(&mut self, now: Timestamp) -> DenySet {
        let want = self.wanted(now);
        self.published = want.denied.clone();
        want
    }

    /// What the projections must be told of the pending changes before the commit: new denies only, since an
    /// early deny is harmless and a late one is not.
    pub fn early(&mut self, now: Timestamp) -> Diff {
        let mut diff = Diff::default();
        for change in &self.pending.changes[self.unpublished..] {
            let Change::Denied { prefix, .. } = change else { continue };
            let enforced = self.engine.state.denies.get(prefix).and_then(|deny| deny.enforced(now));
            if let Some(until) = enforced
                && self.published.insert(*prefix, until) != Some(until)
            {
                diff.denied.push((*prefix, until));
            }
        }
        self.unpublished = self.pending.changes.len();
        diff
    }

    /// What they must be told once `changes` are committed.
    pub fn late(&mut self, changes: &[Change], now: Timestamp) -> Diff {
        let mut diff = Diff::default();
        for change in changes {
            let (Change::Denied { prefix, .. } | Change::Released { prefix, .. }) = change else { continue };
            let enforced = self.engine.state.denies.get(prefix).and_then(|deny| deny.enforced(now));
            match enforced {
                Some(until) => {
                    if self.published.insert(*prefix, until) != Some(until) {
                        diff.denied.push((*prefix, until));
                    }
                }
                None => {
                    if self.published.remove(prefix).is_some() {
                        diff.released.push(*prefix);
                    }
                }
            }
        }
        if std::mem::take(&mut self.allow_changed) {
            diff.allowed = Some(self.allowed());
        }
        diff
    }

    /// Answers what needs only engine and store; `Err` is a message for the person who asked.
    pub fn answer(&mut self, request: &Request, now: Timestamp) -> Result<Value, String> {
        self.engine.tell_wall(now);
        match request {
            Request::Status | Request::Tap => Err("only a running daemon can tell".to_owned()),
            Request::List { what } => self.list(*what, now).map_err(|error| error.to_string()),
            Request::Why { address } => self.why(*address, now).map_err(|error| error.to_string()),
            Request::History { prefix, limit } => self.history(*prefix, *limit).map_err(|error| error.to_string()),
            Request::Deny { prefix, seconds, force, caller } => self.deny(*prefix, *seconds, *force, *caller, now),
            Request::Apply { denied } => {
                if denied.len() > APPLIED_MAX {
                    return Err(format!("more than {APPLIED_MAX} denies in one request"));
                }
                Ok(json!({"denied": self.engine.adopt(denied)}))
            }
            Request::Forgive { prefix } => {
                let command = prefix.map_or(Command::ForgiveAll, |prefix| Command::Forgive { prefix });
                let counted = prefix.map_or(self.engine.state.tallies.len(), |prefix| {
                    self.engine.state.tallies.iter().filter(|(other, _)| prefix.contains(other)).count()
                });
                let mut released = self.engine.command(&command);
                released.sort();
                Ok(json!({"released": released, "counts_cleared": counted}))
            }
            Request::Allow { entry: None, .. } => Ok(json!({
                "configured": self.configured.entries().collect::<Vec<_>>(),
                "added": self.added,
            })),
            Request::Allow { entry: Some(entry), remove } => self.allow(entry, *remove),
        }
    }

    fn deny(
        &mut self,
        prefix: Prefix,
        seconds: Option<u64>,
        force: bool,
        caller: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Value, String> {
        let widest = if prefix.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if !force && prefix.bits() < widest {
            return Err(format!("{prefix} is wider than /{widest}; if you mean it, say --force"));
        }
        if let Some(caller) = caller
            && !force
            && prefix.contains(&Prefix::host(caller))
        {
            return Err(format!("{prefix} holds {caller}, from where you are logged in; if you mean it, say --force"));
        }
        if self.engine.policy.allow.covers(&prefix) {
            return Err(format!("{prefix} is on the allow list; take it off first: denyd allow --remove"));
        }
        let until = seconds.map(|seconds| now.after(Duration::from_secs(seconds)));
        self.engine.command(&Command::Deny { prefix, until });
        Ok(json!({"prefix": prefix, "until": until.map(|until| until.to_string())}))
    }

    fn allow(&mut self, entry: &str, remove: bool) -> Result<Value, String> {
        let mut list = self.engine.policy.allow.clone();
        if remove {
            let known: Vec<_> = self.added.iter().filter(|known| same_entry(known, entry)).cloned().collect();
            if known.is_empty() {
                let why = if self.configured.entries().any(|known| same_entry(known, entry)) {
                    "it is in the configuration; take it out there"
                } else {
                    "it is not on the allow list"
                };
                return Err(format!("{}: {why}", printable(entry.as_bytes())));
            }
            for known in known {
                self.store.set_allowed(&known, false).map_err(|error| error.to_string())?;
                self.added.remove(&known);
            }
            self.rebuild_allow_list();
            self.allow_changed = true;
            return Ok(json!({"removed": entry}));
        }
        if !list.add(entry).map_err(|error| error.to_string())? {
            return Ok(json!({"allowed": entry, "released": [], "known": true}));
        }
        self.store.set_allowed(entry, true).map_err(|error| error.to_string())?;
        self.added.insert(entry.to_owned());
        self.rebuild_allow_list();
        self.allow_changed = true;
        let released = self.engine.command(&Command::Allowed);
        Ok(json!({"allowed": entry, "released": released, "known": false}))
    }

    fn list(&self, what: What, now: Timestamp) -> Result<Value, StoreError> {
        let state = &self.engine.state;
        Ok(match what {
            What::Hosts => {
                let hosts = self.store.hosts_by_prefix()?;
                let row = |(prefix, deny): (&Prefix, &Deny)| {
                    let claims: Vec<_> = deny.claims().map(|(by, _)| by.name()).collect();
                    let policy = deny.claim(Claimant::Policy);
                    let since = deny.claims().map(|(_, claim)| claim.since).min();
                    let hosts: Vec<_> =
                        hosts.get(prefix).into_iter().flatten().map(|host| printable(state.host_name(*host))).collect();
                    json!({
                        "prefix": prefix, "since": since.map(|at| at.to_string()),
                        "until": deny.until().map(|until| until.to_string()),
                        "class": policy.and_then(|claim| claim.class),
                        "count": policy.map_or(0, |claim| claim.count), "claimants": claims,
                        "times": state.released.get(prefix).copied().unwrap_or(0), "hosts": hosts,
                        "enforced": deny.enforced(now).is_some(),
                    })
                };
                let mut rows: Vec<_> = state.denies.iter().collect();
                rows.sort_by_key(|(prefix, _)| **prefix);
                rows.into_iter().take(ROWS_MAX).map(row).collect()
            }
            What::Users => {
                let mut rows: Vec<_> = state.users.iter().map(|(name, counts)| (&**name, counts)).collect();
                rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.attempts));
                let row = |(name, counts): &(&[u8], &UserCounts)| {
                    let mut row = json!({"account": counts.account, "attempts": counts.attempts});
                    crate::cli::put_bytes(&mut row, "user", name);
                    row
                };
                rows.iter().take(ROWS_MAX).map(row).collect()
            }
            What::Addresses => {
                let mut rows: Vec<_> = state.tallies.iter().collect();
                rows.sort_by_key(|(prefix, tally)| (std::cmp::Reverse(tally.failures()), **prefix));
                let row = |(prefix, tally): (&Prefix, &Tally)| {
                    let last = Timestamp::from_secs(i64::from(tally.last_failure()));
                    let mut row = json!({"prefix": prefix, "last": last.to_string(), "successes": tally.successes,
                        "denied": state.denies.get(prefix).is_some_and(|deny| deny.enforced(now).is_some())});
                    for class in Class::ALL {
                        row[class.name()] = tally.counts[class as usize].into();
                    }
                    row
                };
                rows.into_iter().take(ROWS_MAX).map(row).collect()
            }
        })
    }

    fn why(&self, address: IpAddr, now: Timestamp) -> Result<Value, StoreError> {
        let state = &self.engine.state;
        let policy = &self.engine.policy;
        let host = Prefix::host(address);
        let address = host.address();
        let own = self.engine.prefix(address);
        let denied = state
            .denies
            .iter()
            .filter(|(prefix, _)| prefix.contains(&host))
            .find_map(|(prefix, deny)| deny.enforced(now).map(|until| (*prefix, until, deny)));
        let tally = state.tallies.get(&own).copied().unwrap_or_default();
        let allowed_by = policy.allow.allowed_by(address);
        let verdict = match (&allowed_by, &denied) {
            (Some(_), _) => "allowed",
            (None, Some(_)) => "denied",
            (None, None) if tally.failures() > 0 || state.denies.contains_key(&own) => "counted",
            (None, None) => "unknown",
        };
        let mut tallies = json!({});
        let mut thresholds = json!({});
        for class in Class::ALL {
            tallies[class.name()] = tally.aged(class, policy.age_reset[class as usize], now).into();
            thresholds[class.name()] =
                policy.thresholds[class as usize].map_or(Value::from("off"), |threshold| threshold.0.into());
        }
        let prefix = denied.as_ref().map_or(own, |(prefix, ..)| *prefix);
        let mut prefixes = vec![own];
        if prefix != own {
            prefixes.push(prefix);
        }
        let evidence: Vec<_> = self
            .store
            .evidence(&prefixes)?
            .into_iter()
            .map(|one| {
                let mut row = json!({"at": one.at.to_string(), "source": one.source,
                    "host": printable(state.host_name(one.host))});
                crate::cli::put_bytes(&mut row, "message", &one.message);
                row
            })
            .collect();
        let claim = denied.as_ref().and_then(|(_, _, deny)| deny.claim(Claimant::Policy));
        Ok(json!({
            "address": address, "verdict": verdict, "prefix": prefix, "tallies": tallies, "thresholds": thresholds,
            "until": denied.as_ref().and_then(|(_, until, _)| until.map(|until| until.to_string())),
            "evidence": evidence, "allowed_by": allowed_by,
            "by": denied.as_ref().map(|(_, _, deny)| deny.claims().map(|(by, _)| by.name()).collect::<Vec<_>>()),
            "class": claim.and_then(|claim| claim.class), "since": claim.map(|claim| claim.since.to_string()),
            "times": state.released.get(&own).copied().unwrap_or(0), "successes": tally.successes,
        }))
    }

    fn history(&self, prefix: Option<Prefix>, limit: usize) -> Result<Value, StoreError> {
        let rows = self.store.history(prefix, limit.min(ROWS_MAX))?;
        Ok(rows.into_iter().map(|(at, prefix, decision)| decision_json(at, prefix, &decision)).collect())
    }
}

/// A decision as `history` and `watch` print it.
pub fn decision_json(at: Timestamp, prefix: Option<Prefix>, decision: &Decision) -> Value {
    let mut row = json!({"at": at.to_string(), "prefix": prefix});
    match decision {
        Decision::Denied { by, class, count, until, enforced } => {
            row["decision"] = "denied".into();
            row["by"] = by.name().into();
            row["class"] = class.map_or(Value::Null, |class| class.name().into());
            row["count"] = (*count).into();
            row["until"] = until.map_or(Value::Null, |until| until.to_string().into());
            row["enforced"] = (*enforced).into();
        }
        Decision::Released { by, why } => {
            row["decision"] = "released".into();
            row["by"] = by.name().into();
            row["why"] = serde_json::to_value(why).unwrap_or_default();
        }
        Decision::Suspicious { address, user } => {
            row["decision"] = "suspicious".into();
            row["address"] = address.to_string().into();
            crate::cli::put_bytes(&mut row, "user", user);
        }
    }
    row
}

/// What is logged of a change; counts alone are not.
pub fn log(change: &Change, wall: Timestamp) {
    let Some((at, prefix, decision)) = decision(change, wall) else { return };
    match decision {
        Decision::Denied { by, class, count, until, enforced } => {
            let until = until.map_or("for ever".to_owned(), |until| until.to_string());
            let class = class.map_or("-", Class::name);
            tracing::info!(%prefix, class, count, %at, until, by = by.name(), enforced, "denied");
        }
        Decision::Released { by, why } => tracing::info!(%prefix, %at, by = by.name(), ?why, "released"),
        Decision::Suspicious { address, user } => {
            tracing::warn!(%address, user = printable(&user), %at, "suspicious login: too many failures before it");
        }
    }
}

/// Whether two entries of an allow list mean the same.
fn same_entry(a: &str, b: &str) -> bool {
    let ranges = |entry: &str| {
        let mut list = AllowList::default();
        list.add(entry).ok().map(|_| list.ranges().collect::<Vec<_>>())
    };
    a == b || ranges(a).is_some_and(|a| Some(a) == ranges(b))
}

#[cfg(test)]
mod tests {
    use inputs::record::{Batch, Frame, SourceId};
    use inputs::syslog::parse::{Format, Parser};

    use super::*;
    use crate::fold::{Counts, Source, fold};

    const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

    /// A state directory of a test's own, which goes with it.
    struct Dir(std::path::PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            Dir(std::env::temp_dir().join(format!("denyd-desk-{name}-{}", std::process::id())))
        }

        fn open(&self, policy: Policy, now: Timestamp) -> Desk {
            Desk::open(Store::open(&self.0).expect("a store"), policy, now).expect("it loads")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn put_line(desk: &mut Desk, line: &str) {
        let mut source = Source::new(SourceId(0), Parser::new(Format::Auto, jiff::tz::TimeZone::UTC), None, "here");
        let frame = Frame { start: 0, len: line.len() as u32, sender: 0, truncated: false };
        let mut batch = Batch { received: NOW, reference: NOW, buf: line.into(), ..Batch::default() };
        batch.frames.push(frame);
        fold(&mut desk.engine, &mut source, &batch, &mut Counts::default(), |_, _| ());
        desk.gather();
    }

    #[test]
    fn what_the_configuration_allows_is_released_when_it_is_read() {
        let dir = Dir::new("allowed");
        let mut desk = dir.open(Policy::default(), NOW);
        let prefix: Prefix = "192.0.2.7".parse().expect("an address");
        desk.answer(&Request::Deny { prefix, seconds: None, force: false, caller: None }, NOW).expect("denied");
        desk.gather();
        desk.commit(NOW).expect("it can be written");
        drop(desk);
        let allow = AllowList::of(["192.0.2.0/24"].into_iter()).expect("an entry");
        let later = NOW.after(Duration::from_secs(60));
        let mut desk = dir.open(Policy { allow, ..Policy::default() }, later);
        desk.gather();
        let released = desk.commit(later).expect("it can be written");
        assert!(matches!(&released[0], Change::Released { at, .. } if *at == later), "{released:?}");
    }

    #[test]
    fn who_only_asks_leaves_a_corrupt_database_to_the_daemon() {
        let dir = Dir::new("corrupt");
        drop(dir.open(Policy::default(), NOW));
        std::fs::write(dir.0.join(crate::store::FILE), [b'x'; 8192]).expect("it is overwritten");
        let refused = Store::open_intact(&dir.0).err().expect("it is corrupt");
        assert!(refused.is_corrupt(), "{refused}");
        assert!(Store::open(&dir.0).expect("set aside").set_aside.is_some());
    }

    #[test]
    fn inputs_keep_their_numbers() {
        let dir = Dir::new("inputs");
        let check = |names: &[&str], want: &[u16]| {
            let mut desk = dir.open(Policy::default(), NOW);
            let ids: Vec<_> = desk.number(names).expect("they are kept").into_iter().map(|id| id.0).collect();
            assert_eq!(ids, want, "{names:?}");
        };
        check(&["a", "b", "c"], &[0, 1, 2]);
        check(&["c", "a", "b"], &[2, 0, 1]);
        check(&["d", "c", "e", "b"], &[0, 2, 3, 1]);
        check(&["b"], &[1]);
    }

    #[test]
    fn evidence_that_is_late_names_its_input() {
        let dir = Dir::new("late");
        let mut desk = dir.open(Policy::default(), NOW);
        desk.number(&["auth"]).expect("it is kept");
        let pam = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=al";
        put_line(&mut desk, &format!("Nov 21 22:00:00 web sshd[7]: {pam}"));
        put_line(&mut desk, "Nov 21 22:01:00 web sshd[1]: Received signal 1; restarting.");
        assert_eq!(desk.pending.evidence.iter().map(|one| one.source.as_str()).collect::<Vec<_>>(), ["auth"]);
    }

    #[test]
    fn a_login_alone_is_worth_a_commit() {
        let dir = Dir::new("login");
        let mut desk = dir.open(Policy::default(), NOW);
        put_line(
            &mut desk,
            "Nov 21 23:00:00 web sshd[7]: Accepted publickey for al from 192.0.2.7 port 41 ssh2: RSA SHA256:x",
        );
        assert!(desk.is_dirty(), "or a box with logins only gathers them for ever");
        desk.commit(NOW).expect("it can be written");
        assert!(!desk.is_dirty());
    }
}
