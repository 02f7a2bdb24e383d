//! The desk: engine and store together, and what people may ask of them.
//!
//! The daemon has one, behind its control socket; with the daemon stopped the command line opens one itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use inputs::cursor::Cursor;
use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decide::allow::AllowList;
use crate::decide::engine::{Command, Engine, Input};
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, Claim};
use crate::deny::{AllowRange, DenySet, Diff};
use crate::store::{Commit, Decision, Evidence, Loaded, Store, StoreError, decision};
use crate::text::printable;

mod answer;
pub mod control;
pub mod reply;

/// The note that has the names of the inputs, by their numbers.
const INPUTS: &str = "inputs";
/// What stands for the message of an attempt that was decided after its line.
const LATE: &[u8] = b"(a PAM line, or refused keys, that no line of sshd itself followed)";
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
        desk.engine.step(now, Input::Command(Command::Allowed));
        desk.engine.step(now, Input::Command(Command::ReleaseWideLinks));
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
            self.store.set_note(INPUTS, &serde_json::to_string(&all).unwrap_or_default())?;
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
        for change in std::mem::take(&mut self.engine.changes) {
            match change {
                Change::Late(attempt) => {
                    let source = self.inputs.get(usize::from(attempt.source.0)).map_or("", String::as_str);
                    self.pending.evidence.push(Evidence::of(&attempt, source, LATE));
                }
                change => self.pending.changes.push(change),
            }
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

    /// How many prefixes the projections were told to deny.
    pub fn wanted_len(&self) -> usize {
        self.published.len()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use inputs::record::SourceId;
    use inputs::syslog::parse::Parser;

    use super::*;
    use crate::decide::state::Claimant;
    use crate::intake::{Counts, Source, fold};

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
        let mut source = Source::new(SourceId(0), None, "here");
        let batch = Parser::default().batch(NOW, [line.as_bytes()]);
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
    fn a_link_that_an_earlier_version_denied_is_released() {
        let dir = Dir::new("link");
        let mut desk = dir.open(Policy::default(), NOW);
        let claim = Claim { since: NOW, until: None, class: None, count: 2, enforceable: true };
        let [link, host, other] = ["fe80::/64", "fe80::7", "2001:db8::/64"].map(|text| text.parse().expect("a prefix"));
        for prefix in [link, host, other] {
            desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
        }
        let wide: Prefix = "fe80::/10".parse().expect("a prefix");
        desk.answer(&Request::Deny { prefix: wide, seconds: None, force: true, caller: None }, NOW).expect("denied");
        desk.gather();
        desk.commit(NOW).expect("it can be written");
        drop(desk);
        let desk = dir.open(Policy::default(), NOW);
        let left: BTreeSet<_> = desk.engine.state.denies.keys().copied().collect();
        assert_eq!(left, BTreeSet::from([host, other, wide]), "what a person denied stays");
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
