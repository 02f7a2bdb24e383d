//! The desk: engine and store together, and what people may ask of them.
//!
//! It owns the protocol between the two: what is folded in ([`Desk::fold`]), what the clock and people say
//! ([`Desk::tick`], [`Desk::ask`]) waits in it for the next [`Desk::commit`]. Each returns what is to be told to the
//! projections: new denies at once, since an early deny is harmless and a late one is not; all else when it is
//! committed. The daemon has one, behind its control socket; with the daemon stopped the command line opens one itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use inputs::cursor::Cursor;
use inputs::record::{Batch, SourceId, Timestamp};
use tokio::sync::watch;

use crate::config::Config;
use crate::decide::allow::AllowList;
use crate::decide::claim::{Claim, Claimant, Deny, Reason, Until};
use crate::decide::engine::{Command, Engine, Input};
use crate::decide::live::{GUESSERS_MAX, LIVE_FOR, Spared};
use crate::decide::logins::Logins;
use crate::decide::machine::Machine;
use crate::decide::names::{Name, Names};
use crate::decide::past::Past;
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::range::{self, Range};
use crate::decide::state::{Bound, Change};
use crate::deny::choose::{self, NoBackend};
use crate::deny::ledger;
use crate::deny::places::Place;
use crate::deny::{DenyBackend, DenySet, Diff};
use crate::intake::{self, Counts, Seen, Source};
use crate::store::{
    self, Commit, Database, Decided, Decision, Evidence, Follower, Loaded, Restored, Store, StoreError, decision,
};
use crate::text::{printable, shown};

mod answer;
mod aside;
mod back_ends;
mod budget;
pub mod control;
mod flood;
mod kept;
mod names;
mod published;
pub mod reply;
mod request;
mod unwritten;

pub use aside::{Look, explain};
pub use back_ends::{Taken, back_ends, left, refused_of_each, take_away};
use budget::Budget;
use flood::Flood;
pub use kept::{CLASSES, Failed, Kept, kept};
use published::Published;
use reply::Reply;
pub use request::{Filter, Request, What};

/// The note that has the names of the inputs, by their numbers.
const INPUTS: &str = "inputs";
/// What stands for the message of an attempt that was decided after its line.
const LATE: &[u8] = b"(a PAM line, or refused keys, that no line of sshd itself followed)";
/// The most rows that one answer holds.
pub const ROWS_MAX: usize = 100_000;
/// Denies that one request may apply: they fit into the largest request.
pub const APPLIED_MAX: usize = 200;
/// Decisions that a `watch` is given at once.
const SINCE_MAX: usize = 1_000;
/// Bytes of a person's words for a deny.
pub const BECAUSE_MAX: usize = 200;
/// Rows of each kind that `why` shows of what lies in a prefix.
const INSIDE_MAX: usize = 100;
/// Short names of two hosts that a status shows.
const NAMESAKES_SHOWN: usize = 10;
/// Prefixes that are spared which a status shows.
const SPARED_SHOWN: usize = 10;
/// No person denies wider prefixes than these by mistake; `--force` is for those who mean it.
const WIDEST: (u8, u8) = (8, 32);

/// Engine and store.
pub struct Desk {
    /// Decides.
    engine: Engine,
    /// Remembers.
    store: Store,
    /// That the database is a copy, where it was restored.
    restored: Option<Restored>,
    /// The names of the inputs, by their numbers.
    inputs: Vec<String>,
    /// Where each input goes on, as committed.
    cursors: BTreeMap<String, Cursor>,
    /// What the next commit writes.
    pending: Commit,
    /// Of how many failures by sockets the message is still kept; what is sound, and what strangers may have made up.
    budgets: [Budget; 2],
    /// What is logged of a flood.
    flood: Flood,
    /// The entries of the configuration's own allow list.
    configured: AllowList,
    /// The entries that `allow` added.
    added: BTreeSet<String>,
    /// What the host names among the entries resolve to.
    names: Names,
    /// What the projections were told.
    published: Published,
    allow_changed: bool,
    /// The number of the newest decision, for who follows them.
    decided: watch::Sender<i64>,
    /// Whether anybody does.
    followed: bool,
}

/// What another program knew: see [`Desk::take_past`].
#[derive(Debug, Default)]
pub struct TakenOver {
    /// What it counted.
    pub past: Past,
    /// Whom it denied.
    pub denied: Vec<(Prefix, Claim)>,
    /// Where each input goes on, by its name.
    pub cursors: BTreeMap<String, Cursor>,
    /// Entries of the allow list.
    pub allowed: Vec<String>,
    /// Small values to keep, by their names.
    pub notes: BTreeMap<String, String>,
}

/// What follows from what the desk was told.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// What the projections are to be told now.
    pub publish: Diff,
    /// What waits for a commit.
    pub waiting: Waiting,
}

/// What waits for a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Rows, about.
    pub rows: usize,
    /// Whether somebody has just been denied.
    pub denies: bool,
    /// How far the input was read.
    pub progress: Progress,
}

/// How far an input was read since the last commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// No further.
    #[default]
    None,
    /// For the first time: without it, a crash now would make the next start begin anew.
    First,
    /// Further.
    More,
}

/// What came of a request.
pub struct Asked {
    /// The answer; `Err` is a message for the person who asked.
    pub reply: Result<Reply, String>,
    /// The commit, if one was tried.
    pub committed: Option<Committed>,
}

/// What came of a commit.
#[derive(Debug)]
#[must_use]
pub struct Committed {
    /// What the projections are to be told: all that was decided, also where it could not be written.
    pub publish: Diff,
    /// Whether it was written. What was not goes on waiting.
    pub written: Result<(), StoreError>,
}

impl Desk {
    /// Takes back what the store remembers. What `policy` allows now is released as of `now`.
    pub fn open(store: Store, policy: Policy, now: Timestamp) -> Result<Desk, StoreError> {
        let Loaded { state, cursors, allowed: added } = store.load()?;
        let configured = policy.allow.clone();
        let decided = watch::Sender::new(store.newest_decision());
        let restored = store.restored()?;
        let names = names::kept(&store)?;
        let mut desk = Desk {
            engine: Engine::with(policy, state),
            store,
            restored,
            inputs: Vec::new(),
            cursors,
            pending: Commit::default(),
            budgets: [Budget::default(), Budget::forgeable()],
            flood: Flood::default(),
            configured,
            added,
            names,
            published: Published::default(),
            allow_changed: false,
            decided,
            followed: false,
        };
        for one in desk.store.database.suspicious(GUESSERS_MAX)?.into_iter().filter(|one| one.at.after(LIVE_FOR) >= now)
        {
            if let Decision::Suspicious { address, .. } = one.decision {
                desk.engine.guessed(address.into());
            }
        }
        desk.rebuild_allow_list(now);
        // The configuration may allow now what was denied before.
        desk.engine.step(now, Input::Command(Command::Allowed(Some("the configuration".into()))));
        desk.engine.step(now, Input::Command(Command::ReleaseWideLinks));
        Ok(desk)
    }

    /// Takes over what is denied and allowed since before the database was lost, which it is no longer with the next commit.
    /// Returns what is allowed by that alone: `allow` added it, or somebody logged in there lately.
    ///
    /// Where the configuration allows host names, a single address may be one's, and a stranger's later: each name then takes
    /// them all for what it resolved to last, until it resolves.
    pub fn take_over(&mut self, kept: BTreeMap<Prefix, Until>, allowed: Vec<Prefix>, now: Timestamp) -> Vec<Prefix> {
        self.set_note(store::LOST.to_owned(), store::LOST_NO.to_owned());
        let new = allowed.into_iter().filter(|prefix| !self.engine.policy.allow.covers(prefix));
        let names = self.allowed_names();
        let (singles, new): (Vec<_>, Vec<_>) = new.partition(|prefix| prefix.is_host() && !names.is_empty());
        if !singles.is_empty() {
            let addresses: Vec<_> = singles.iter().map(Prefix::address).collect();
            for name in &names {
                self.names.hear(name, Ok(addresses.clone()), now);
            }
            self.keep_names();
            let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                addresses,
                "allowed before the database was lost, and maybe by a host name: allowed no longer once the names of the allow list \
                 resolve; denyd allow keeps those that are to stay"
            );
        }
        for prefix in &new {
            self.pending.allowed.insert(prefix.to_string(), true);
            self.added.insert(prefix.to_string());
        }
        self.rebuild_allow_list(now);
        for (prefix, until) in kept {
            let claim = Claim { since: now, until, reason: Reason::Adopted, enforceable: true };
            self.engine.step(now, Input::Claim { prefix, by: Claimant::Policy, claim });
        }
        new
    }

    /// Takes over what another program knew: what it counted, whom it denied, how far it read each input, whom it allowed, and
    /// small values that are kept beside. All of it leaves with the next commit. An input that was read already goes on where it
    /// was.
    pub fn take_past(&mut self, past: TakenOver, now: Timestamp) -> Effects {
        let TakenOver { past, denied, cursors, allowed, notes } = past;
        let known = |entry: &String| self.added.contains(entry) || self.configured.entries().any(|one| one == entry);
        let new: Vec<_> = allowed.into_iter().filter(|entry| !known(entry)).collect();
        for entry in new {
            self.pending.allowed.insert(entry.clone(), true);
            self.added.insert(entry);
        }
        self.rebuild_allow_list(now);
        self.allow_changed = true;
        self.engine.step(now, Input::Command(Command::Allowed(Some("the import".into()))));
        self.engine.step(now, Input::Past(&past));
        for (prefix, claim) in denied {
            self.engine.step(now, Input::Claim { prefix, by: Claimant::Policy, claim });
        }
        for (input, cursor) in cursors {
            if self.cursor(&input).is_none() {
                self.pending.cursors.insert(input, cursor);
            }
        }
        self.pending.notes.extend(notes);
        self.effects(now, Progress::More)
    }

    /// The numbers of inputs. Each keeps the one that it had, in whatever order they are configured: connections that
    /// are still open know by it what each input said of them. One that is new takes the first that
    /// none of these has.
    pub fn number(&mut self, names: &[&str]) -> Result<Vec<SourceId>, StoreError> {
        let known = self.store.database.note(INPUTS)?.and_then(|note| serde_json::from_str::<Vec<String>>(&note).ok());
        let mut all = known.clone().unwrap_or_default();
        all.truncate(usize::from(u16::MAX));
        let ids = names.iter().map(|name| {
            let free = |all: &Vec<String>| all.iter().position(|one| !names.contains(&one.as_str()));
            let at = all.iter().position(|one| one == name).or_else(|| free(&all)).unwrap_or(all.len());
            all.resize(all.len().max(at + 1), String::new());
            if all[at] != *name {
                self.engine.renumber(SourceId(at as u16));
                (*name).clone_into(&mut all[at]);
            }
            SourceId(at as u16) // a configuration has fewer: its file has an end
        });
        let ids = ids.collect();
        if known.as_ref() != Some(&all) {
            self.store.database.set_note(INPUTS, &serde_json::to_string(&all).unwrap_or_default())?;
        }
        self.inputs = all;
        self.engine.set_inputs(names.len());
        Ok(ids)
    }

    /// Where an input goes on: behind the last record that was folded in.
    pub fn cursor(&self, input: &str) -> Option<Cursor> {
        self.pending.cursors.get(input).or_else(|| self.cursors.get(input)).cloned()
    }

    /// The places where something was written and where these back ends of a configuration do not write.
    pub fn left(&self, config: &Config, back_ends: &[Box<dyn DenyBackend>]) -> Result<Vec<Place>, String> {
        left(config, &self.store, back_ends)
    }

    /// The back ends of a configuration.
    pub fn back_ends(&self, config: &Config) -> Result<Vec<Box<dyn DenyBackend>>, NoBackend> {
        back_ends(config, &self.store)
    }

    /// Notes the places where these back ends write, with the next commit. Each has done so, unless the disk was full.
    pub fn note_places(&mut self, config: &Config, back_ends: &[Box<dyn DenyBackend>]) {
        let places = choose::places(&config.deny, back_ends);
        self.pending.first_notes.extend(places.iter().map(|place| (ledger::note(place), ledger::NOTHING.to_owned())));
    }

    /// That the database is a copy, where it was restored.
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// Whether an input begins at its end, since a copy was restored in which it had a cursor, and none has come since.
    pub fn begins_anew(&self, input: &str) -> bool {
        let had_cursor = self.restored.as_ref().is_some_and(|copy| copy.inputs.iter().any(|one| one == input));
        had_cursor && !self.cursors.contains_key(input)
    }

    /// A small value that was kept.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.store.database.note(name)
    }

    /// Keeps a small value, with the next commit.
    pub fn set_note(&mut self, name: String, value: String) {
        self.pending.notes.insert(name, value);
    }

    fn rebuild_allow_list(&mut self, now: Timestamp) {
        let mut list = self.configured.clone();
        for entry in &self.added {
            if let Err(error) = list.add(entry) {
                tracing::warn!(%error, "an entry that `denyd allow` added is left out");
            }
        }
        let is_wanted = |name: &Name| list.names().any(|one| one == name);
        if self.names.forget(is_wanted, now) {
            self.keep_names();
        }
        let Machine { own, gateways, .. } = &self.engine.policy.machine;
        let own = own.iter().map(|prefix| ("being an address of this machine", *prefix));
        let gateways = gateways.iter().map(|prefix| ("being its default gateway", *prefix));
        let held: Vec<_> = self.names.held(is_wanted).collect();
        list.hold(own.chain(gateways).chain(held));
        self.engine.policy.allow = list;
    }

    /// Whether an address is never denied.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.engine.policy.allow.contains(address)
    }

    /// What this machine is, as far as we were told.
    pub fn machine(&self) -> &Machine {
        &self.engine.policy.machine
    }

    /// What this machine is has changed.
    pub fn set_machine(&mut self, machine: Machine, now: Timestamp) -> Effects {
        self.engine.set_machine(machine);
        self.policy_changed("this machine", now)
    }

    /// Who is logged in, as this machine knows.
    pub fn set_logins(&mut self, logins: Logins) {
        self.engine.set_logins(logins);
    }

    fn policy_changed(&mut self, by: &str, now: Timestamp) -> Effects {
        self.rebuild_allow_list(now);
        self.allow_changed = true;
        self.engine.step(now, Input::Command(Command::Allowed(Some(by.into()))));
        self.engine.step(now, Input::Command(Command::ReleaseWideLinks));
        self.effects(now, Progress::More)
    }

    /// What is tolerated, and who is spared, has changed. What is allowed now is released.
    pub fn set_policy(&mut self, policy: Policy, now: Timestamp) -> Effects {
        self.configured = policy.allow.clone();
        let (machine, logins) = (policy.machine.clone(), policy.logins.clone());
        self.engine.policy = policy;
        self.engine.set_logins(logins);
        self.engine.set_machine(machine);
        self.policy_changed("the configuration", now)
    }

    /// Other users are protected from now on while they are logged in.
    pub fn set_protected(&mut self, users: HashSet<Vec<u8>>) {
        self.engine.policy.protected = users;
    }

    /// Who logged in lately from one of the machine's own prefixes that is denied, and is not denied alone: the deny is not
    /// meant for these.
    fn exceptions(&self, now: Timestamp) -> Vec<Prefix> {
        let state = &self.engine.state;
        let is_denied = |link: &&Prefix| state.denies.get(*link).is_some_and(|deny| is_ours(deny, now));
        let links = self.engine.policy.machine.links.iter().filter(is_denied);
        let all = links.flat_map(|link| state.familiar.within(link, now));
        all.filter(|prefix| !state.denies.contains_key(*prefix)).copied().collect()
    }

    /// Whether decisions change who is an exception.
    fn changes_exceptions(&self, changes: &[Change]) -> bool {
        let links = &self.engine.policy.machine.links;
        let is_there = |prefix: &Prefix, is_end: bool| {
            let denied = |link: &&Prefix| self.engine.state.denies.contains_key(*link) || is_end && *link == prefix;
            links.iter().filter(denied).any(|link| link.contains(prefix))
        };
        !links.is_empty()
            && changes.iter().any(|change| match change {
                Change::Denied { prefix, .. } | Change::Familiar { prefix, .. } => is_there(prefix, false),
                Change::Released { prefix, .. } => is_there(prefix, true),
                _ => false,
            })
    }

    /// Folds a batch of an input in. `look` is shown each record.
    pub fn fold(
        &mut self,
        source: &mut Source,
        batch: &Batch,
        counts: &mut Counts,
        now: Timestamp,
        mut look: impl FnMut(&Seen<'_>),
    ) -> Effects {
        let Desk { engine, pending, budgets, inputs, .. } = self;
        let name = inputs.get(usize::from(source.id.0)).map_or("", String::as_str);
        engine.believed = Some(now);
        budgets.iter_mut().for_each(|budget| budget.refill(batch.received));
        intake::fold(engine, source, batch, counts, |seen, _| {
            look(seen);
            let attempt = seen.folded.and_then(|folded| folded.attempt.as_ref());
            let Some(attempt) = attempt.filter(|attempt| attempt.times > 0 && !attempt.is_probe()) else { return };
            let budget = &mut budgets[usize::from(attempt.sound == 0)];
            // What has a cursor comes so fast only when it catches up.
            if batch.cursor.is_some() || budget.spend() {
                pending.evidence.push(Evidence::of(attempt, name, seen.record.message));
            }
        });
        let mut progress = Progress::None;
        if let Some(cursor) = &batch.cursor {
            progress = if self.cursors.contains_key(name) { Progress::More } else { Progress::First };
            pending.cursors.insert(name.to_owned(), cursor.clone());
        }
        self.effects(now, progress)
    }

    /// The clock moved on: what is over is released, and what waited long enough is decided.
    pub fn tick(&mut self, now: Timestamp) -> Effects {
        self.engine.step(now, Input::Tick);
        self.flood.sum_up(now);
        self.effects(now, Progress::None)
    }

    /// Whether something will be over within `soon`, or may be.
    pub fn waits(&self, now: Timestamp, soon: Duration) -> bool {
        let state = &self.engine.state;
        state.ends.first().is_some_and(|(until, ..)| *until <= now.after(soon)) || state.sessions.waits()
    }

    /// Takes every deny out of firewalls and files, and keeps who is denied; see [`take_away`].
    pub fn take_away(&self, now: Timestamp) -> Result<Vec<Taken>, String> {
        take_away(&self.store, now)
    }

    /// Answers a request. What it changed is committed at once. Where that cannot be, it holds all the same, and is written
    /// when it can.
    pub fn ask(&mut self, request: &Request, now: Timestamp) -> Asked {
        self.ask_by(request, now, now)
    }

    /// The same, where the request is of another time than the one that is believed now.
    pub fn ask_by(&mut self, request: &Request, at: Timestamp, now: Timestamp) -> Asked {
        let reply = self.answer(request, at);
        if request.only_reads() || reply.is_err() {
            return Asked { reply, committed: None };
        }
        Asked { reply, committed: Some(self.commit(now)) }
    }

    /// Withdraws what the policy denied after the decision of number `id`: it was tried, and nobody kept it. What it denied
    /// before stays, also where it came to last otherwise since; where the history does not reach back so far it goes, too.
    pub fn take_back(&mut self, id: i64, now: Timestamp) -> Result<Committed, StoreError> {
        self.gather();
        // Whom the policy denied by then.
        let mut known: BTreeMap<Prefix, bool> = BTreeMap::new();
        let mut denied: BTreeSet<Prefix> = BTreeSet::new();
        let mut last = id;
        let mut see = |store: &Store, prefix: Prefix, is_denied: bool| -> Result<(), StoreError> {
            let before = match known.insert(prefix, is_denied) {
                Some(before) => before,
                None => is_denied && store.denied_at(prefix, id)?,
            };
            if is_denied && !before {
                denied.insert(prefix);
            }
            Ok(())
        };
        loop {
            let rows = self.store.history_after(last, ROWS_MAX)?;
            let Some(newest) = rows.last() else { break };
            last = newest.id;
            for row in &rows {
                if let Some((prefix, is_denied)) = row.prefix.zip(row.decision.by_policy()) {
                    see(&self.store, prefix, is_denied)?;
                }
            }
        }
        for change in &self.pending.changes {
            match change {
                Change::Denied { prefix, by: Claimant::Policy, .. } => see(&self.store, *prefix, true)?,
                Change::Released { prefix, by: Claimant::Policy, .. } => see(&self.store, *prefix, false)?,
                _ => {}
            }
        }
        let who = Some("a trial that nobody kept".into());
        self.engine.step(now, Input::Command(Command::Withdraw(denied.into_iter().collect(), who)));
        Ok(self.commit(now))
    }

    /// Writes what waits, logs it, and says what is to be told to the projections. On an error it goes on waiting.
    pub fn commit(&mut self, now: Timestamp) -> Committed {
        self.engine.settle();
        self.gather();
        self.pending.wall = now;
        let is_allowed_anew = self.changes_exceptions(&self.pending.changes);
        let written = self.store.commit(&self.pending, &self.engine.state);
        let mut publish = match written {
            Ok(()) => self.written(now),
            Err(_) => self.published.unwritten(&self.pending.changes, &self.engine.state, now),
        };
        if std::mem::take(&mut self.allow_changed) || is_allowed_anew {
            publish.allowed = self.published.allow(self.allowed(now));
        }
        Committed { publish, written }
    }

    /// What waited is written: it is logged, and told to who was not told of it early.
    fn written(&mut self, now: Timestamp) -> Diff {
        self.cursors.append(&mut self.pending.cursors);
        self.pending.evidence.clear();
        self.pending.acknowledged.clear();
        self.pending.allowed.clear();
        self.pending.notes.clear();
        self.pending.first_notes.clear();
        let newest = self.store.newest_decision();
        self.decided.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        let changes = std::mem::take(&mut self.pending.changes);
        let is_rehearsal = self.store.is_rehearsal();
        for change in changes.iter().filter(|change| self.flood.tells(change, now)) {
            log(change, now, is_rehearsal);
        }
        self.flood.sum_up(now);
        self.published.late(&changes, &self.engine.state, now)
    }

    /// Makes what waits for a database that cannot be written as small as can be; returns how many rows are left. Messages
    /// that are kept as evidence are few then.
    pub fn squeeze(&mut self) -> usize {
        self.engine.settle();
        self.gather();
        let forgotten = unwritten::squeeze(&mut self.pending);
        self.budgets[0].untold += forgotten;
        self.published.looked_at(self.pending.changes.len());
        self.pending.changes.len() + self.pending.evidence.len()
    }

    /// From now on those of these names are to see every decision: mail, a list that is shared. Each reads what is
    /// behind what it has acknowledged; what it is given here changes when there is more.
    pub fn follow(&mut self, names: &[&str]) -> Result<(Vec<Follower>, watch::Receiver<i64>), StoreError> {
        self.followed = !names.is_empty();
        Ok((self.store.follow(names)?, self.decided.subscribe()))
    }

    /// The number of the newest decision, which changes when there is a newer one.
    pub fn decided(&self) -> watch::Receiver<i64> {
        self.decided.subscribe()
    }

    /// The first `limit` decisions behind the one of number `id`.
    pub fn history_after(&self, id: i64, limit: usize) -> Result<Vec<Decided>, StoreError> {
        self.store.history_after(id, limit.min(ROWS_MAX))
    }

    /// What each claimant decided last of a prefix before the decision of number `id`: whether it denies, and that was
    /// enforced. Nothing where that cannot be read.
    pub fn claims_before(&self, prefix: Prefix, id: i64) -> BTreeMap<Claimant, bool> {
        self.store.claims_before(prefix, id).unwrap_or_default()
    }

    /// Another way to the database, for who reads much of it in a thread of its own; none where it is in memory only.
    pub fn reader(&self) -> Option<Database> {
        self.store.reader()
    }

    /// These followers are done with the decisions up to the one of that number. That is kept with the next commit.
    pub fn acknowledge(&mut self, followers: &[(&str, i64)], now: Timestamp) -> Effects {
        self.pending.acknowledged.extend(followers.iter().map(|(name, id)| ((*name).to_owned(), *id)));
        self.effects(now, Progress::More)
    }

    /// What the projections must be told when they begin: everything.
    pub fn publish_all(&mut self, now: Timestamp) -> DenySet {
        self.gather();
        let want = self.wanted(now);
        self.published.begin(&want);
        want
    }

    /// What the projections must be told once the clock was set: what is over by it, and what is not over any more. A clock
    /// that was ahead at the start had left that out. What was decided later than `after` was so by a clock that was ahead.
    pub fn clock_was_set(&mut self, after: Timestamp, now: Timestamp) -> Diff {
        self.engine.step(now, Input::Command(Command::SetBack(after)));
        let want = self.wanted(now);
        self.published.renew(want)
    }

    /// What was forgiven at `from` was so at `to`, as is known now.
    pub fn redate(&mut self, from: Timestamp, to: Timestamp, now: Timestamp) {
        self.engine.step(now, Input::Command(Command::Redate(from, to)));
    }

    /// What is to be enforced at `now`.
    pub fn wanted(&self, now: Timestamp) -> DenySet {
        let denied = self.engine.state.denies.iter();
        let denied = denied.filter_map(|(prefix, deny)| deny.enforced(now).map(|until| (*prefix, until))).collect();
        DenySet { denied, allowed: self.allowed(now), kept: published::kept(&self.engine.state, now) }
    }

    fn allowed(&self, now: Timestamp) -> Vec<Range> {
        let exceptions = self.exceptions(now).into_iter().map(Range::from);
        range::merge(self.engine.policy.allow.ranges().chain(exceptions).collect())
    }

    /// The database cannot be written from now on, or can again.
    #[cfg(test)]
    pub(crate) fn spoil(&self, is_spoilt: bool) {
        self.store.database.spoil(is_spoilt);
    }

    /// What it tells of itself to who asks for the status.
    pub fn status(&self) -> reply::Status {
        let state = &self.engine.state;
        reply::Status {
            restored: self.restored.clone(),
            wanted: self.published.denied(),
            tracked: state.tallies.len(),
            sessions: state.sessions.distinct(),
            unresolved: state.sessions.unresolved(),
            undecided: state.sessions.undecided(),
            evicted: state.untold(Bound::Tallies)
                + state.untold(Bound::Familiar)
                + state.untold(Bound::Live)
                + state.untold(Bound::Forgives)
                + state.sessions.evicted()
                + state.nets.forgotten()
                + state.windows.forgotten(),
            users_untold: state.untold(Bound::Users),
            hosts_untold: state.untold(Bound::Hosts) + state.namesakes.untold(),
            denies_refused: state.untold(Bound::Denies),
            pairs_untold: self.store.pairs_untold,
            evidence_untold: self.budgets.iter().map(|budget| budget.untold).sum(),
            followers: self.behind(),
            spared: self.spared(),
            namesakes: self.namesakes().take(NAMESAKES_SHOWN).collect(),
            names: self.named(),
            ..reply::Status::default()
        }
    }

    /// Short names that are two hosts'.
    fn namesakes(&self) -> impl Iterator<Item = reply::Namesake> {
        self.engine.state.namesakes.ambiguous().map(|(source, host)| reply::Namesake {
            input: self.inputs.get(usize::from(source.0)).cloned().unwrap_or_default(),
            host: printable(self.engine.state.host_name(host)),
        })
    }

    /// Who is over a threshold and spared.
    fn spared(&self) -> Vec<reply::Spared> {
        let all = self.engine.spared().into_iter().take(SPARED_SHOWN);
        let row = |Spared { prefix, user, class, count, most, .. }| {
            let (user, user_b64) = shown(&user);
            reply::Spared { prefix, user, user_b64, class, count, denied_above: most }
        };
        all.map(row).collect()
    }

    /// Who has not seen all that was decided.
    fn behind(&self) -> Vec<Follower> {
        let mut followers = if self.followed { self.store.followers().unwrap_or_default() } else { Vec::new() };
        followers.retain(|one| one.behind > 0 || one.missed > 0);
        followers
    }

    fn effects(&mut self, now: Timestamp, progress: Progress) -> Effects {
        self.gather();
        let mut publish = self.published.early(&self.pending.changes, &self.engine.state, now);
        // With a link that is denied leaves whom that is not meant for.
        if !publish.denies.is_empty() && self.changes_exceptions(&self.pending.changes) {
            publish.allowed = self.published.allow(self.allowed(now));
        }
        let rows = self.pending.changes.len() + self.pending.evidence.len() + self.engine.unsettled();
        let waiting = Waiting { rows, denies: !publish.denies.is_empty(), progress };
        Effects { publish, waiting }
    }

    /// Takes what the engine decided.
    fn gather(&mut self) {
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
}

/// Whether the policy alone denies it.
fn is_ours(deny: &Deny, now: Timestamp) -> bool {
    deny.enforced(now).is_some() && deny.claims().all(|(by, _)| by == Claimant::Policy)
}

/// What is logged of a change; counts alone are not.
fn log(change: &Change, wall: Timestamp, is_rehearsal: bool) {
    let Some((at, prefix, decision)) = decision(change, wall) else { return };
    match decision {
        Decision::Denied { by, class, count, until, enforced, .. } => {
            let until = until.map_or("for ever".to_owned(), |until| until.to_string());
            let class = class.map_or("-", Class::name);
            let enforced = enforced && !is_rehearsal;
            tracing::info!(%prefix, class, count, %at, until, by = by.to_string(), enforced, "denied");
        }
        Decision::Released { by, why, who } => {
            let (claim, who) = (by.to_string(), who.as_deref().unwrap_or("denyd"));
            tracing::info!(%prefix, %at, claim, ?why, who, "released");
        }
        Decision::Spared { user, class, count, most } => {
            let (user, class) = (printable(&user), class.name());
            tracing::warn!(%prefix, user, class, count, denied_above = most, %at, "spared: too many failures, from where somebody is logged in");
        }
        // No change has it.
        Decision::Allowed { .. } => {}
        Decision::Suspicious { address, user, .. } => {
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

    fn put_line(desk: &mut Desk, line: &str) -> Effects {
        let mut source = Source::new(SourceId(0), None, "here");
        let batch = Parser::default().batch(NOW, [line.as_bytes()]);
        desk.fold(&mut source, &batch, &mut Counts::default(), NOW, |_| ())
    }

    #[test]
    fn what_the_configuration_allows_is_released_when_it_is_read() {
        let dir = Dir::new("allowed");
        let mut desk = dir.open(Policy::default(), NOW);
        let prefix: Prefix = "192.0.2.7".parse().expect("an address");
        let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
        assert_eq!(asked.committed.expect("it was tried").publish.denies, [(prefix, Some(None))].into());
        drop(desk);
        let allow = AllowList::of(["192.0.2.0/24"].into_iter()).expect("an entry");
        let later = NOW.after(Duration::from_secs(60));
        let mut desk = dir.open(Policy { allow, ..Policy::default() }, later);
        desk.commit(later).written.expect("it can be written");
        let history = desk.store.database.history(Some(prefix), 10).expect("it can be read");
        assert!(
            matches!(&history[1], Decided { at, decision: Decision::Released { .. }, .. } if *at == later),
            "{history:?}"
        );
    }

    /// The address of a host name is a stranger's one day.
    #[test]
    fn what_a_name_may_have_allowed_is_not_taken_over_for_ever() {
        let check = |entries: &[&str], later: bool| {
            let dir = Dir::new(if later { "alone" } else { "named" });
            let allow = AllowList::of(entries.iter().copied()).expect("entries");
            let mut desk = dir.open(Policy { allow, ..Policy::default() }, NOW);
            let allowed = ["192.0.2.7", "198.51.100.0/24"].map(|text| text.parse().expect("a prefix"));
            desk.take_over(BTreeMap::new(), allowed.to_vec(), NOW);
            let address = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert!(desk.allows(address("192.0.2.7")) && desk.allows(address("198.51.100.7")), "{entries:?}");
            for name in desk.allowed_names() {
                let answer = desk.hear_name(&name, Err("no".to_owned()), NOW);
                assert!(desk.allows(address("192.0.2.7")), "{answer:?}");
                let _ = desk.hear_name(&name, Ok(vec![address("203.0.113.1")]), NOW);
            }
            assert_eq!(desk.allows(address("192.0.2.7")), later, "{entries:?}");
            assert!(desk.allows(address("198.51.100.7")), "{entries:?}");
        };
        check(&["home.example.org"], false);
        check(&["203.0.113.9"], true);
    }

    fn said(asked: &Asked) -> String {
        match &asked.reply {
            Ok(reply) => reply::json(reply),
            Err(error) => error.clone(),
        }
    }

    #[test]
    fn a_shorter_deny_shortens_none_unless_that_is_meant() {
        let dir = Dir::new("shorter");
        let mut desk = dir.open(Policy::default(), NOW);
        let prefix = "192.0.2.7".parse().expect("an address");
        let mut deny = |seconds, force| {
            said(&desk.ask(&Request::Deny { prefix, seconds, force, caller: None, because: None }, NOW))
        };
        let until =
            |seconds| format!(r#"{{"prefix":"192.0.2.7","until":"{}"}}"#, NOW.after(Duration::from_secs(seconds)));
        assert_eq!(deny(Some(60), false), until(60));
        assert_eq!(deny(Some(3_600), false), until(3_600));
        let longer = "which is longer; to shorten that, say --force";
        let end = NOW.after(Duration::from_secs(3_600));
        assert_eq!(deny(Some(60), false), format!("192.0.2.7 is denied until {end} already, {longer}"));
        assert_eq!(deny(Some(60), true), until(60));
        assert_eq!(deny(None, false), r#"{"prefix":"192.0.2.7","until":null}"#);
        assert_eq!(deny(Some(60), false), format!("192.0.2.7 is denied for ever already, {longer}"));
        // Whoever else wants it for longer has it.
        let reason = Reason::Adopted;
        let claim = Claim { since: NOW, until: None, reason, enforceable: true };
        let prefix = "192.0.2.8".parse().expect("an address");
        desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
        let asked =
            desk.ask(&Request::Deny { prefix, seconds: Some(60), force: false, caller: None, because: None }, NOW);
        assert_eq!(said(&asked), r#"{"prefix":"192.0.2.8","until":null}"#);
    }

    #[test]
    fn why_shows_every_claim_that_holds_an_address_and_what_was_forgiven() {
        let dir = Dir::new("claims");
        let mut desk = dir.open(Policy::default(), NOW);
        for (text, seconds) in [("192.0.2.0/24", 60), ("192.0.2.7", 30), ("192.0.2.8", 90)] {
            let prefix = text.parse().expect("a prefix");
            let asked = desk
                .ask(&Request::Deny { prefix, seconds: Some(seconds), force: false, caller: None, because: None }, NOW);
            asked.reply.expect("denied");
        }
        let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
        let prefix = "192.0.2.7".parse().expect("an address");
        desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
        let why = |desk: &mut Desk, now| match desk
            .ask(&Request::Why { address: "192.0.2.7".parse().expect("one") }, now)
            .reply
        {
            Ok(Reply::Why(why)) => *why,
            other => panic!("{:?}", other.map(|reply| reply::json(&reply))),
        };
        let held = |why: &reply::Why| {
            let one = |one: &reply::Held| {
                let end = one.until.map_or("ever".to_owned(), |until| (until.0.secs() - NOW.secs()).to_string());
                format!("{} by {} until {end}{}", one.prefix, one.by, if one.enforced { "" } else { ", over" })
            };
            why.claims.iter().map(one).collect::<Vec<_>>()
        };
        let all = why(&mut desk, NOW);
        let wide = "192.0.2.0/24 by operator until 60";
        assert_eq!(held(&all), [wide, "192.0.2.7 by operator until 30", "192.0.2.7 by policy until ever"]);
        assert_eq!((all.prefix, all.until), (prefix, None), "the verdict is of the one that lasts longest");
        let later = NOW.after(Duration::from_secs(45));
        let over = "192.0.2.7 by operator until 30, over";
        assert_eq!(held(&why(&mut desk, later)), [wide, over, "192.0.2.7 by policy until ever"]);
        // Forgiven, what failed before is shown apart.
        let _ = put_line(&mut desk, "Nov 21 23:38:00 web sshd[7]: Failed password for al from 192.0.2.7 port 41 ssh2");
        let _ = desk.ask(&Request::Forgive { prefix: Some(prefix), who: Some("al".to_owned()) }, NOW);
        let forgiven = why(&mut desk, NOW);
        let evidence: Vec<_> = forgiven.evidence.iter().map(|one| one.forgiven).collect();
        assert_eq!((forgiven.forgiven, held(&forgiven).len(), evidence), (Some(reply::At(NOW)), 0, vec![true]));
        let history = desk.store.database.history(Some(prefix), 10).expect("it can be read");
        let by = history
            .iter()
            .filter(|one| matches!(&one.decision, Decision::Released { who: Some(who), .. } if &**who == "al"));
        assert_eq!(by.count(), 2, "{history:?}");
    }

    #[test]
    fn what_a_clock_that_was_ahead_left_out_is_enforced_once_it_is_right() {
        let dir = Dir::new("ahead");
        let mut desk = dir.open(Policy::default(), NOW);
        let prefix: Prefix = "192.0.2.7".parse().expect("an address");
        let request = Request::Deny { prefix, seconds: Some(3_600), force: false, caller: None, because: None };
        desk.ask(&request, NOW).reply.expect("denied");
        drop(desk);
        let (end, ahead) = (NOW.after(Duration::from_secs(3_600)), NOW.after(Duration::from_secs(7_200)));
        let mut desk = dir.open(Policy::default(), ahead);
        assert!(desk.publish_all(ahead).denied.is_empty());
        let told = |diff: Diff| diff.denies.into_iter().collect::<Vec<_>>();
        assert_eq!(told(desk.clock_was_set(NOW, NOW)), [(prefix, Some(Some(end)))]);
        assert!(desk.clock_was_set(NOW, NOW).is_empty(), "it is told once");
        assert_eq!(told(desk.clock_was_set(ahead, ahead)), [(prefix, None)]);
    }

    /// It leapt, and the records that come with it.
    #[test]
    fn a_record_of_a_clock_that_is_not_believed_releases_nobody() {
        let dir = Dir::new("leapt");
        let mut desk = dir.open(Policy::default(), NOW);
        let prefix: Prefix = "192.0.2.7".parse().expect("an address");
        let request = Request::Deny { prefix, seconds: Some(3_600), force: false, caller: None, because: None };
        desk.ask(&request, NOW).reply.expect("denied");
        let later = NOW.after(Duration::from_secs(86_400));
        let mut fails = |pid: u32, now| {
            let line =
                format!("Nov 22 23:00:00 web sshd[{pid}]: Failed password for al from 192.0.2.7 port {pid} ssh2");
            let batch = Parser::default().batch(later, [line.as_bytes()]);
            let _ = desk.fold(&mut Source::new(SourceId(0), None, "here"), &batch, &mut Counts::default(), now, |_| ());
            desk.engine.state.denies.contains_key(&prefix)
        };
        assert_eq!([fails(1, NOW), fails(2, later)], [true, false]);
    }

    /// It was a year ahead.
    #[test]
    fn what_was_decided_by_a_clock_that_was_ahead_moves_back_with_it() {
        let dir = Dir::new("set-back");
        let mut desk = dir.open(Policy { probation: None, ..Policy::default() }, NOW);
        let (ahead, minute) = (NOW.after(Duration::from_secs(365 * 86_400)), Duration::from_secs(60));
        let [before, person, policy, forgiven] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|text| text.parse().expect("an address"));
        let deny = |prefix| Request::Deny { prefix, seconds: Some(600), force: false, caller: None, because: None };
        desk.ask(&deny(before), NOW).reply.expect("denied");
        desk.ask_by(&deny(person), ahead, NOW).reply.expect("denied");
        let claim = |until| Claim { since: ahead, until, reason: Reason::Adopted, enforceable: true };
        let day = Some(ahead.after(Duration::from_secs(86_400)));
        desk.engine.step(ahead, Input::Claim { prefix: policy, by: Claimant::Policy, claim: claim(day) });
        desk.ask_by(&Request::Forgive { prefix: Some(forgiven), who: None }, ahead, NOW).reply.expect("forgiven");
        let covers = |desk: &Desk, at, now| desk.engine.state.forgives.cover(&forgiven, at, now);
        assert_eq!([covers(&desk, ahead, ahead), covers(&desk, NOW, NOW)], [true, false]);
        // Where that clock is right after all, nothing changes.
        let end = |desk: &Desk, prefix: Prefix| desk.engine.state.denies[&prefix].until().expect("an end");
        let ends = |desk: &Desk| [before, person, policy].map(|prefix| end(desk, prefix));
        let known = ends(&desk);
        let _ = desk.clock_was_set(ahead.after(minute), ahead.after(minute));
        assert_eq!(ends(&desk), known);
        let now = NOW.after(minute);
        let _ = desk.clock_was_set(now.after(minute), now);
        let lasts = ends(&desk).map(|end| end.secs() - now.secs());
        assert_eq!(lasts, [540, 600, 86_400]);
        assert!(covers(&desk, NOW, now) && !covers(&desk, now.after(minute), now.after(minute)));
        desk.redate(now, NOW, now);
        assert!(covers(&desk, NOW, now) && !covers(&desk, NOW.after(Duration::from_secs(1)), now));
        desk.commit(now).written.expect("it can be written");
        drop(desk);
        assert_eq!(ends(&dir.open(Policy::default(), now)).map(|end| end.secs() - now.secs()), lasts);
    }

    /// All at once, where they are no more than are remembered.
    #[test]
    fn who_mistyped_is_forgiven_by_name_and_no_flood() {
        use crate::decide::forgives::FORGIVES_MAX;

        let dir = Dir::new("user");
        let mut desk = dir.open(Policy::default(), NOW);
        let host = |n: usize| Prefix::host(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n as u32));
        let tried = |n: usize, user: &str| Evidence {
            prefix: host(n),
            at: NOW,
            host: crate::decide::session::HostId(0),
            source: "a".to_owned(),
            message: format!("Failed password for {user} from {} port 9 ssh2", host(n)).into_bytes(),
            user: user.into(),
            times: 1,
            sound: 1,
        };
        desk.pending.evidence = (0..FORGIVES_MAX).map(|n| tried(n, "al")).collect();
        desk.commit(NOW).written.expect("it can be written");
        let forgive = |desk: &mut Desk| desk.ask(&Request::ForgiveUser { user: "al".to_owned(), who: None }, NOW).reply;
        forgive(&mut desk).expect("they are forgiven");
        assert!(desk.engine.state.forgives.cover(&host(FORGIVES_MAX - 1), NOW, NOW));
        // Who tried others too does not count among them; one more who did not is too many.
        desk.pending.evidence = vec![tried(FORGIVES_MAX, "al"), tried(FORGIVES_MAX, "root")];
        forgive(&mut desk).expect("they are forgiven");
        desk.pending.evidence = vec![tried(FORGIVES_MAX + 1, "al")];
        desk.commit(NOW).written.expect("it can be written");
        let refused = forgive(&mut desk).expect_err("they are too many");
        assert!(refused.starts_with("16385 addresses tried al and nobody else"), "{refused}");
    }

    #[test]
    fn what_is_dangerously_wide_is_allowed_by_force_alone() {
        let dir = Dir::new("wide");
        let mut desk = dir.open(Policy::default(), NOW);
        let mut allow = |entry: &str, force| {
            said(&desk.ask(&Request::Allow { entry: Some(entry.to_owned()), remove: false, force, who: None }, NOW))
        };
        for (entry, widest) in [
            ("0.0.0.0/0", 8),
            ("10.0.0.0/7", 8),
            ("[10-11].*", 8),
            ("1.0.0.0-2.0.0.0", 8),
            ("*.*.*.*", 8),
            ("::/0", 32),
            ("2001:db8::/31", 32),
            ("2001:db8::-2001:db9::", 32),
        ] {
            let refused = format!("{entry} is wider than /{widest}; if you mean it, say --force");
            assert_eq!(allow(entry, false), refused);
        }
        for entry in ["10.0.0.0/8", "11.*", "2001:db8::/32", "192.0.2.7"] {
            assert!(allow(entry, false).contains("allowed"), "{entry}");
        }
        assert!(allow("0.0.0.0/0", true).contains("allowed"));
    }

    /// Failures of root from these addresses, one each.
    fn fail(desk: &mut Desk, addresses: impl Iterator<Item = String>) -> Diff {
        let mut told = Diff::default();
        for (address, pid) in addresses.zip(1..) {
            let line =
                format!("Nov 21 23:38:00 web sshd[{pid}]: Failed password for root from {address} port {pid} ssh2");
            let Diff { denies, allowed, .. } = put_line(desk, &line).publish;
            told.denies.extend(denies);
            told.allowed = allowed.or(told.allowed);
        }
        told
    }

    /// Whoever is logged in keeps that connection while the policy denies the address, and no other; not where a person denies it.
    #[test]
    fn a_session_stays_open_until_its_end_unless_a_person_denies_it() {
        let dir = Dir::new("kept");
        let mut desk = dir.open(Policy { probation: None, ..Policy::default() }, NOW);
        let kept = |set: &BTreeSet<crate::deny::Connection>| set.iter().map(|(_, port)| *port).collect::<Vec<_>>();
        for (second, port) in [(1, 41), (2, 42)] {
            let line = format!("Accepted password for al from 192.0.2.7 port {port} ssh2");
            let told = put_line(&mut desk, &format!("Nov 21 23:37:0{second} web sshd[{port}]: {line}")).publish;
            assert!(told.kept.is_none(), "nobody is denied");
        }
        let failed =
            |n| format!("Nov 21 23:38:00 web sshd[{n}]: Failed password for root from 192.0.2.7 port {n} ssh2");
        let _ = put_line(&mut desk, &failed(101));
        let told = put_line(&mut desk, &failed(102)).publish;
        assert_eq!((told.denies.len(), kept(&told.kept.expect("they are told with the deny"))), (1, vec![41, 42]));
        assert_eq!(kept(&desk.wanted(NOW).kept), [41, 42]);
        let end = "Nov 21 23:38:01 web sshd[41]: pam_unix(sshd:session): session closed for user al";
        assert_eq!(kept(&put_line(&mut desk, end).publish.kept.expect("one is over")), [42]);
        let _ = desk.commit(NOW);
        let mut ask = |request| desk.ask(&request, NOW).committed.expect("a commit").publish;
        let prefix = "192.0.2.7".parse().expect("a prefix");
        let deny = Request::Deny { prefix, seconds: None, force: false, caller: None, because: None };
        assert_eq!(kept(&ask(deny).kept.expect("who is denied by a person is to be gone")), [0; 0]);
        let told = ask(Request::Forgive { prefix: Some(prefix), who: None });
        assert!(told.kept.is_none());
    }

    fn machine() -> Machine {
        let one = |text: &str| vec![text.parse().expect("a prefix")];
        Machine { own: one("192.0.2.1"), gateways: one("192.0.2.254"), links: one("2001:db8::/64") }
    }

    #[test]
    fn a_link_is_denied_but_for_who_logged_in_there_and_what_is_this_machine() {
        let dir = Dir::new("exceptions");
        let mut desk = dir.open(Policy { machine: machine(), ..Policy::default() }, NOW);
        let _ = put_line(
            &mut desk,
            "Nov 21 23:37:00 web sshd[900]: Accepted password for al from 2001:db8::aaaa port 9 ssh2",
        );
        let told = fail(&mut desk, (1..=33).map(|n| format!("2001:db8::{n:x}")));
        let link: Prefix = "2001:db8::/64".parse().expect("a prefix");
        let shown = |allowed: &[Range]| allowed.iter().map(Range::to_string).collect::<Vec<_>>();
        let with = ["192.0.2.1", "192.0.2.254", "2001:db8::aaaa"];
        assert!(told.denies.contains_key(&link));
        assert_eq!(shown(&told.allowed.expect("they are told with the link")), with);
        let wanted = desk.wanted(NOW);
        assert!(wanted.denied.contains_key(&link));
        assert_eq!(shown(&wanted.allowed), with);
        let verdict = |desk: &mut Desk, address: &str| {
            let address = address.parse().expect("an address");
            match desk.ask(&Request::Why { address }, NOW).reply {
                Ok(Reply::Why(why)) => (why.verdict, why.claims.len()),
                _ => panic!("{address}"),
            }
        };
        assert_eq!(verdict(&mut desk, "2001:db8::bbbb"), (reply::Verdict::Denied, 1));
        assert_ne!(verdict(&mut desk, "2001:db8::aaaa").0, reply::Verdict::Denied);
        let _ = desk.commit(NOW);
        // Denied for itself it is no exception any more, and is again when that is over.
        let denied = "2001:db8::aaaa".parse().expect("an address");
        let asked =
            desk.ask(&Request::Deny { prefix: denied, seconds: None, force: false, caller: None, because: None }, NOW);
        let diff = asked.committed.expect("it was tried").publish;
        assert_eq!(shown(&diff.allowed.expect("it changed")), with[..2]);
        let asked = desk.ask(&Request::Forgive { prefix: Some(denied), who: None }, NOW);
        let diff = asked.committed.expect("it was tried").publish;
        // Forgiven, the link is released with it, which held it.
        assert_eq!((diff.allowed, diff.denies.get(&link)), (None, Some(&None)));
    }

    /// While the database cannot be written, all that waits is looked at again each second.
    #[test]
    fn who_is_allowed_is_told_once_while_the_database_cannot_be_written() {
        let dir = Dir::new("unwritten");
        let mut desk = dir.open(Policy { machine: machine(), ..Policy::default() }, NOW);
        desk.publish_all(NOW);
        let _ = fail(&mut desk, (1..=33).map(|n| format!("2001:db8::{n:x}")));
        desk.commit(NOW).written.expect("it can be written");
        let other = rusqlite::Connection::open(dir.0.join(crate::store::FILE)).expect("it opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        let login = "Nov 21 23:39:00 web sshd[900]: Accepted password for al from 2001:db8::aaaa port 9 ssh2";
        let _ = put_line(&mut desk, login);
        let told: Vec<_> = (0..3).map(|_| desk.commit(NOW)).collect();
        assert!(told.iter().all(|one| one.written.is_err()));
        assert_eq!(told.iter().map(|one| one.publish.allowed.is_some()).collect::<Vec<_>>(), [true, false, false]);
        other.execute_batch("ROLLBACK").expect("it ends");
        let last = desk.commit(NOW);
        assert_eq!((last.written.is_ok(), last.publish.allowed), (true, None));
    }

    #[test]
    fn this_machine_and_its_gateway_are_never_denied() {
        let dir = Dir::new("machine");
        let mut desk = dir.open(Policy::default(), NOW);
        let twice = || ["192.0.2.1", "192.0.2.1", "192.0.2.254", "192.0.2.254"].map(str::to_owned).into_iter();
        assert_eq!(fail(&mut desk, twice()).denies.len(), 2);
        // They are released when it is known what they are.
        let _ = desk.set_machine(machine(), NOW);
        let diff = desk.commit(NOW).publish;
        assert_eq!(diff.denies.values().filter(|end| end.is_none()).count(), 2);
        assert_eq!(fail(&mut desk, twice().chain(twice())).denies.len(), 0);
        for (text, what) in [("192.0.2.1", "own address"), ("192.0.2.254", "default gateway")] {
            let prefix = text.parse().expect("an address");
            let asked =
                desk.ask(&Request::Deny { prefix, seconds: None, force: true, caller: None, because: None }, NOW);
            assert_eq!(said(&asked), format!("{text} is this machine's {what}, which is never denied"));
        }
        // Inside a wider deny they stay allowed.
        let prefix = "192.0.2.0/24".parse().expect("a prefix");
        let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
        asked.reply.expect("denied");
        assert_eq!(desk.wanted(NOW).allowed.len(), 2);
    }

    #[test]
    fn what_was_denied_before_a_trial_is_not_taken_back() {
        let dir = Dir::new("trial");
        let mut desk = dir.open(Policy::default(), NOW);
        let [old, again, new, unwritten] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|text| text.parse().expect("an address"));
        let deny = |desk: &mut Desk, prefix: Prefix| {
            let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
            desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
        };
        let forgive = |desk: &mut Desk, prefix| {
            desk.ask(&Request::Forgive { prefix: Some(prefix), who: None }, NOW).reply.expect("forgiven");
        };
        deny(&mut desk, old);
        deny(&mut desk, again);
        desk.commit(NOW).written.expect("it can be written");
        let order = *desk.decided().borrow();
        // The clock is set back: what is denied lasts from now on, which the history tells as a deny.
        desk.engine.step(NOW, Input::Command(Command::SetBack(NOW.before(Duration::from_secs(60)))));
        forgive(&mut desk, again);
        deny(&mut desk, again);
        deny(&mut desk, new);
        desk.commit(NOW).written.expect("it can be written");
        deny(&mut desk, unwritten);
        for _ in 0..2 {
            desk.take_back(order, NOW).expect("the history is read").written.expect("it can be written");
            assert_eq!(desk.engine.state.denies.keys().copied().collect::<Vec<_>>(), [old]);
        }
    }

    #[test]
    fn a_link_that_an_earlier_version_denied_is_released() {
        let dir = Dir::new("link");
        let mut desk = dir.open(Policy::default(), NOW);
        let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
        let [link, host, other] = ["fe80::/64", "fe80::7", "2001:db8::/64"].map(|text| text.parse().expect("a prefix"));
        for prefix in [link, host, other] {
            desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim: claim.clone() });
        }
        let wide: Prefix = "fe80::/10".parse().expect("a prefix");
        desk.ask(&Request::Deny { prefix: wide, seconds: None, force: true, caller: None, because: None }, NOW)
            .reply
            .expect("denied");
        drop(desk);
        let mut desk = dir.open(Policy::default(), NOW);
        desk.commit(NOW).written.expect("it can be written");
        let Ok(Reply::History(told)) = desk.ask(&Request::History { prefix: Some(link), limit: 1 }, NOW).reply else {
            panic!("what was decided is told")
        };
        assert!(reply::json(&told[0]).contains(r#""why":"narrowed""#), "nobody forgave it: {}", reply::json(&told[0]));
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
        let _ = put_line(&mut desk, &format!("Nov 21 22:00:00 web sshd[7]: {pam}"));
        let _ = put_line(&mut desk, "Nov 21 22:01:00 web sshd[1]: Received signal 1; restarting.");
        assert_eq!(desk.pending.evidence.iter().map(|one| one.source.as_str()).collect::<Vec<_>>(), ["auth"]);
    }

    #[test]
    fn a_login_alone_is_worth_a_commit() {
        let dir = Dir::new("login");
        let mut desk = dir.open(Policy::default(), NOW);
        let effects = put_line(
            &mut desk,
            "Nov 21 23:00:00 web sshd[7]: Accepted publickey for al from 192.0.2.7 port 41 ssh2: RSA SHA256:x",
        );
        assert!(effects.waiting.rows > 0, "or a box with logins only gathers them for ever");
        desk.commit(NOW).written.expect("it can be written");
        assert_eq!(desk.tick(NOW).waiting, Waiting::default());
    }

    /// An output that must tell each decision once: it is woken by a commit, reads, tells, and acknowledges.
    struct Mail {
        seen: i64,
        woken: watch::Receiver<i64>,
        told: Vec<String>,
    }

    impl Mail {
        fn begin(desk: &mut Desk) -> Self {
            let (followers, woken) = desk.follow(&["mail"]).expect("it is kept");
            Mail { seen: followers[0].seen, woken, told: Vec::new() }
        }

        /// Tells what there is if it was woken; whether it was.
        fn work(&mut self, desk: &mut Desk) -> bool {
            let is_woken = self.woken.has_changed().expect("the desk is there");
            self.woken.mark_unchanged();
            while let Some(one) = desk.history_after(self.seen, 1).expect("it can be read").pop() {
                self.told.push(one.prefix.map(|prefix| prefix.to_string()).unwrap_or_default());
                self.seen = one.id;
            }
            let _ = desk.acknowledge(&[("mail", self.seen)], NOW);
            is_woken
        }
    }

    #[test]
    fn who_follows_is_woken_by_a_commit_and_told_each_decision_once() {
        let dir = Dir::new("follow");
        let deny = |desk: &mut Desk, text: &str| {
            let prefix = text.parse().expect("a prefix");
            let asked =
                desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
            asked.reply.expect("denied");
        };
        let mut desk = dir.open(Policy::default(), NOW);
        deny(&mut desk, "192.0.2.1");
        let mut mail = Mail::begin(&mut desk);
        assert!(!mail.work(&mut desk), "what was decided before is not its affair");
        assert_eq!(desk.status().followers.len(), 0, "nor is anybody behind");
        deny(&mut desk, "192.0.2.2");
        deny(&mut desk, "192.0.2.3");
        assert_eq!(desk.status().followers[0].behind, 2);
        assert!(mail.work(&mut desk));
        assert_eq!(mail.told, ["192.0.2.2", "192.0.2.3"]);
        desk.commit(NOW).written.expect("it can be written");
        assert!(!mail.work(&mut desk), "a commit that decides nothing wakes nobody");
        deny(&mut desk, "192.0.2.4");
        drop(desk);
        // It has not told of the last, nor is that lost.
        let mut desk = dir.open(Policy::default(), NOW);
        let mut mail = Mail::begin(&mut desk);
        mail.work(&mut desk);
        assert_eq!(mail.told, ["192.0.2.4"]);
    }
}
