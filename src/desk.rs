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
    wave_on,
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
pub mod received;
pub mod reply;
mod request;
#[cfg(test)]
mod tests;
mod unwritten;

pub use aside::{Look, explain};
pub use back_ends::{Taken, back_ends, leave_entries, left, refused_of_each, take_away, take_away_but};
use budget::Budget;
use flood::Flood;
pub use kept::{CLASSES, Failed, Kept, kept};
use published::Published;
use reply::Reply;
pub use request::{Drilling, Filter, Request, What};

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
/// Waves that `status` shows.
const WAVES_SHOWN: usize = 20;
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

    /// What is tolerated.
    pub fn policy(&self) -> &Policy {
        &self.engine.policy
    }

    /// Whether nothing is known of a prefix: it is not counted, not denied by itself or within a wider one, and not allowed.
    pub fn is_stranger(&self, prefix: &Prefix) -> bool {
        let state = &self.engine.state;
        let is_denied = || state.denies.keys().any(|denied| denied.contains(prefix) || prefix.contains(denied));
        !self.allows(prefix.address()) && state.tallies.get(prefix).is_none() && !is_denied()
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
    pub fn take_away(&self, config: &Config, now: Timestamp) -> Result<Vec<Taken>, String> {
        take_away(config, &self.store, now)
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

    /// What claimants decided of a prefix before the decision of number `id`, the oldest first: whether it denies, and that was
    /// enforced. Nothing where that cannot be read.
    pub fn claims_before(&self, prefix: Prefix, id: i64) -> Vec<(Claimant, bool)> {
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
                + state.windows.forgotten()
                + state.waves.forgotten(),
            users_untold: state.untold(Bound::Users),
            hosts_untold: state.untold(Bound::Hosts) + state.namesakes.untold(),
            denies_refused: state.untold(Bound::Denies),
            pairs_untold: self.store.pairs_untold,
            evidence_untold: self.budgets.iter().map(|budget| budget.untold).sum(),
            followers: self.behind(),
            spared: self.spared(),
            waves: state.waves.on().take(WAVES_SHOWN).map(|(user, wave)| reply::Wave::of(user, &wave)).collect(),
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
    let prefix = prefix.map_or("-".to_owned(), |prefix| prefix.to_string());
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
        Decision::Wave { user, over: false, addresses, hosts, since } => {
            let on = wave_on(&user);
            tracing::warn!(on, by = prefix, addresses, hosts, %since, %at, "a wave: a slow attack by many addresses; see denyd status");
        }
        Decision::Wave { user, addresses, hosts, since, .. } => {
            tracing::info!(on = wave_on(&user), addresses, hosts, %since, %at, "a wave is over");
        }
        // No change has it.
        Decision::Allowed { .. } => {}
        Decision::Suspicious { address, user, .. } => {
            tracing::warn!(%address, user = printable(&user), %at, "suspicious login: too many failures before it");
        }
    }
}
