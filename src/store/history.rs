//! What was decided, in order, and who follows it.
//!
//! An output that must tell each decision once (mail, a list that is shared) is a follower, known by its name. It
//! reads what was decided after what it has acknowledged, does its work, and acknowledges in a commit. What it did in
//! between it may do again after a crash: a decision's number is how it knows. Decisions wait for the slowest
//! follower, up to a bound.

use inputs::record::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::write::{json, run};
use super::{Commit, Database, Store, StoreError};
use crate::decide::claim::{Claimant, Part};
use crate::decide::live::Spared;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::rooms::forgeable;
use crate::decide::state::{Change, Who, Why};
use crate::decide::wave::Turn;
use crate::text::printable;

/// Decisions that are kept in all.
pub const HISTORY_MAX: i64 = 1_000_000;
/// Of them, those that rest on what strangers may have made up.
pub const FORGEABLE_HISTORY_MAX: i64 = forgeable(HISTORY_MAX as usize) as i64;
/// Decisions that are kept while a follower has not had them all. Beyond it has missed some, and they are counted.
pub const HISTORY_FOLLOWED_MAX: i64 = 2 * HISTORY_MAX;

/// Decisions on one prefix that are looked at for the last one of the policy's.
const PREFIX_MAX: usize = 100;

/// A decision, as `history` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Decision {
    /// A prefix was denied.
    Denied {
        /// Who wants it.
        by: Claimant,
        /// Why.
        class: Option<Class>,
        /// That class' count.
        count: u32,
        /// Until when; absent = for ever.
        until: Option<Timestamp>,
        /// Whether it was enforced when it was decided.
        enforced: bool,
        /// Why, in the words of the person who wants it; or of which wave it is part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Box<str>>,
        /// Whether it is the policy's own, in full, and rests on what strangers cannot have made up: others may be told of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        certain: bool,
    },
    /// A claim ended.
    Released {
        /// Whose.
        by: Claimant,
        /// Why.
        why: Why,
        /// Who did it, where a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Who,
    },
    /// A prefix came to be over a threshold, and is not denied because somebody is logged in from there.
    Spared {
        /// Who is logged in: bytes of the log.
        user: Vec<u8>,
        /// Of which class.
        class: Class,
        /// That class' count.
        count: u32,
        /// Above how many it is denied.
        most: u32,
    },
    /// A slow attack by many began, or is over.
    Wave {
        /// On which account: bytes of the log; empty = on our hosts.
        user: Vec<u8>,
        /// Whether it is over.
        over: bool,
        /// How many addresses took part.
        addresses: u32,
        /// On how many hosts.
        hosts: u32,
        /// Since when.
        since: Timestamp,
    },
    /// An entry came onto the allow list, or left it.
    Allowed {
        /// As it was written.
        entry: String,
        /// Whether it left.
        removed: bool,
    },
    /// Somebody logged in from where too many failed.
    Suspicious {
        /// From where.
        address: std::net::IpAddr,
        /// As whom: bytes of the log.
        user: Vec<u8>,
        /// By what: a password, a key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<Box<str>>,
    },
}

/// A decision and its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Its number: each is greater than the one before, across restarts too.
    pub id: i64,
    /// When it was decided, by its record's time.
    pub at: Timestamp,
    /// About whom.
    pub prefix: Option<Prefix>,
    /// What.
    pub decision: Decision,
}

/// Somebody who is to see every decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Follower {
    /// Its name.
    pub name: String,
    /// The last decision that it acknowledged.
    #[serde(skip)]
    pub seen: i64,
    /// How many it has not.
    pub behind: i64,
    /// How many were forgotten before it saw them.
    pub missed: i64,
}

impl Database {
    /// The newest `limit` decisions, oldest first; of one prefix and what lies in it, or of all.
    pub fn history(&self, prefix: Option<Prefix>, limit: usize) -> Result<Vec<Decided>, StoreError> {
        // Two ways, since an OR would keep SQLite from its index.
        let sql = match prefix {
            // Of prefixes that begin where it does the wider ones are sorted before it, and so are left out. IPv4 is
            // sorted within IPv6, and is none of it.
            Some(_) => {
                "SELECT id, at, prefix, decision FROM history
                 WHERE prefix BETWEEN ?1 AND ?2 AND (?3 OR prefix NOT BETWEEN ?4 AND ?5) ORDER BY id DESC LIMIT ?6"
            }
            None => {
                "SELECT id, at, prefix, decision FROM history
                 WHERE coalesce(?1, ?2, ?3, ?4, ?5) IS NOT NULL ORDER BY id DESC LIMIT ?6"
            }
        };
        let ends = |prefix: Prefix| [prefix.to_bytes(), Prefix::host(prefix.last()).to_bytes()];
        let ([first, last], is_ipv4) = (prefix.map(ends).unwrap_or_default(), prefix.is_none_or(|one| one.is_ipv4()));
        let [ipv4_first, ipv4_last] = ends(Prefix::all()[0]);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = self.decided(sql, params![first, last, is_ipv4, ipv4_first, ipv4_last, most], limit)?;
        found.reverse();
        Ok(found)
    }

    /// The newest `limit` logins from where too many had failed, the oldest first.
    pub fn suspicious(&self, limit: usize) -> Result<Vec<Decided>, StoreError> {
        // By an index that has these rows alone.
        let sql = "SELECT id, at, prefix, decision FROM history
                   WHERE substr(decision, 1, 24) = '{\"decision\":\"suspicious\"' ORDER BY id DESC";
        let mut found = self.decided(sql, params![], limit)?;
        found.reverse();
        Ok(found)
    }

    /// Who is denied now, where that is enforced: by the policy, or by anybody.
    pub fn denied(&self, by_anybody: bool, now: Timestamp) -> Result<Vec<Prefix>, StoreError> {
        let sql = "SELECT DISTINCT prefix FROM denies
                   WHERE enforceable AND (until IS NULL OR until > ?1) AND (?2 OR claimant = ?3) ORDER BY prefix";
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut query = self.db.prepare_cached(sql)?;
            let row = |row: &Row<'_>| Ok(Prefix::from_bytes(&row.get::<_, Vec<u8>>(0)?));
            let policy = Claimant::Policy.to_string();
            query.query_map(params![now.0, by_anybody, policy], row)?.filter_map(Result::transpose).collect()
        };
        read().map_err(|error| self.error("cannot read denies", error))
    }

    /// The first `limit` rows that this version knows: what a later one decided is no reason to stop there for ever.
    fn decided(&self, sql: &str, values: &[&dyn ToSql], limit: usize) -> Result<Vec<Decided>, StoreError> {
        let row = |row: &Row<'_>| {
            let (id, at, prefix, json): (_, _, Option<Vec<u8>>, String) = row.try_into()?;
            let prefix = prefix.and_then(|key| Prefix::from_bytes(&key));
            let decision = serde_json::from_str(&json).ok();
            Ok(decision.map(|decision| Decided { id, at: Timestamp(at), prefix, decision }))
        };
        let read = || -> rusqlite::Result<_> {
            let mut query = self.db.prepare_cached(sql)?;
            query.query_map(values, row)?.filter_map(Result::transpose).take(limit).collect()
        };
        read().map_err(|error| self.error("cannot read history", error))
    }
}

impl Decision {
    /// Whether the policy denies from now on, where this says so.
    pub fn by_policy(&self) -> Option<bool> {
        match self {
            Decision::Denied { by: Claimant::Policy, .. } => Some(true),
            Decision::Released { by: Claimant::Policy, .. } => Some(false),
            _ => None,
        }
    }
}

impl Store {
    /// The first `limit` decisions behind the one of number `after`.
    pub fn history_after(&self, after: i64, limit: usize) -> Result<Vec<Decided>, StoreError> {
        let sql = "SELECT id, at, prefix, decision FROM history WHERE id > ?1 ORDER BY id";
        self.database.decided(sql, params![after], limit)
    }

    /// Whether the policy denied a prefix once the decision of number `id` was made, as far as is kept.
    pub fn denied_at(&self, prefix: Prefix, id: i64) -> Result<bool, StoreError> {
        let sql = "SELECT id, at, prefix, decision FROM history WHERE prefix = ?1 AND id <= ?2 ORDER BY id DESC";
        let rows = self.database.decided(sql, params![prefix.to_bytes(), id], PREFIX_MAX)?;
        Ok(rows.iter().find_map(|row| row.decision.by_policy()).unwrap_or(false))
    }

    /// What claimants decided of a prefix before the decision of number `id`, the oldest first, as far as is kept: whether it
    /// denies, and that was enforced.
    pub fn claims_before(&self, prefix: Prefix, id: i64) -> Result<Vec<(Claimant, bool)>, StoreError> {
        let sql = "SELECT id, at, prefix, decision FROM history WHERE prefix = ?1 AND id < ?2 ORDER BY id DESC";
        let rows = self.database.decided(sql, params![prefix.to_bytes(), id], PREFIX_MAX)?;
        let claim = |decision: &Decision| match decision {
            Decision::Denied { by, enforced, .. } => Some((*by, *enforced)),
            Decision::Released { by, .. } => Some((*by, false)),
            _ => None,
        };
        Ok(rows.iter().rev().filter_map(|row| claim(&row.decision)).collect())
    }

    /// The number of the newest decision; 0 before the first. When it grows, followers have something to read.
    pub fn newest_decision(&self) -> i64 {
        self.newest
    }

    /// From now on those of these names follow what is decided, and nobody else does. One that is new begins with what
    /// is decided next; the others go on where they were.
    pub fn follow(&mut self, names: &[&str]) -> Result<Vec<Follower>, StoreError> {
        let newest = self.newest;
        let result = (|| {
            // It writes after it has read: a transaction that began as a reader would fail where somebody else writes meanwhile.
            let tx = self.database.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let known = followers(&tx, newest)?;
            for gone in known.iter().filter(|known| !names.contains(&known.name.as_str())) {
                tx.execute("DELETE FROM followers WHERE name = ?1", [&gone.name])?;
            }
            for name in names {
                tx.execute("INSERT OR IGNORE INTO followers VALUES(?1, ?2, 0)", params![name, newest])?;
            }
            let following = followers(&tx, newest)?;
            tx.commit()?;
            Ok(following)
        })();
        result.map_err(|error| self.error("cannot follow the history", error))
    }

    /// Who follows what is decided, and how far behind each is.
    pub fn followers(&self) -> Result<Vec<Follower>, StoreError> {
        followers(&self.database.db, self.newest).map_err(|error| self.error("cannot read the followers", error))
    }
}

fn followers(db: &rusqlite::Connection, newest: i64) -> rusqlite::Result<Vec<Follower>> {
    let mut query = db.prepare_cached("SELECT name, seen, missed FROM followers ORDER BY name")?;
    let follower = |row: &rusqlite::Row<'_>| {
        let (name, seen, missed) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Follower { name, seen, behind: newest - seen, missed })
    };
    query.query_map([], follower)?.collect()
}

/// How many decisions are kept, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// In all.
    pub(super) all: i64,
    /// Of them, those about denies that rest on what strangers may have made up.
    pub(super) forgeable: i64,
}

impl Rows {
    pub(super) fn count(db: &rusqlite::Connection) -> rusqlite::Result<Rows> {
        let number = |sql| db.query_row(sql, [], |row| row.get(0));
        let forgeable = number("SELECT count(*) FROM history WHERE forgeable")?;
        Ok(Rows { all: number("SELECT count(*) FROM history")?, forgeable })
    }
}

/// Writes the decisions among the changes, and counts them; returns how many.
pub(super) fn write(tx: &Transaction<'_>, commit: &Commit, rows: &mut Rows) -> rusqlite::Result<i64> {
    let before = rows.all;
    for change in &commit.changes {
        let Some((at, prefix, decision)) = decision(change, commit.wall) else { continue };
        let forgeable = match change {
            // What a server tells of must not wash out what we decided, either.
            Change::Denied { by: Claimant::Sync, .. } | Change::Released { by: Claimant::Sync, .. } => true,
            Change::Denied { claim, .. } => claim.is_forgeable(),
            Change::Released { forgeable, .. } => *forgeable,
            Change::Spared { spared, .. } => spared.forgeable,
            _ => false,
        };
        let row = params![at.0, prefix.map(|prefix| prefix.to_bytes()), json(&decision), forgeable];
        run(tx, "INSERT INTO history(at, prefix, decision, forgeable) VALUES(?1, ?2, ?3, ?4)", row)?;
        rows.all += 1;
        rows.forgeable += i64::from(forgeable);
    }
    for (entry, is_there) in &commit.allowed {
        let decision = Decision::Allowed { entry: entry.clone(), removed: !is_there };
        let sql = "INSERT INTO history(at, prefix, decision, forgeable) VALUES(?1, NULL, ?2, 0)";
        run(tx, sql, params![commit.wall.0, json(&decision)])?;
        rows.all += 1;
    }
    Ok(rows.all - before)
}

/// What `history` says of a change; counts alone are no decision.
pub fn decision(change: &Change, wall: Timestamp) -> Option<(Timestamp, Option<Prefix>, Decision)> {
    match change {
        Change::Denied { prefix, by, claim } => {
            let (class, count, until) = (claim.reason.class(), claim.reason.count(), claim.until);
            let enforced = claim.is_due(wall);
            let part = |part: &Part| format!("part of a wave on {}", wave_on(&part.user)).into();
            let because = claim.reason.because().map(Box::from).or_else(|| claim.reason.wave().map(part));
            let certain = *by == Claimant::Policy && claim.is_certain();
            Some((
                claim.since,
                Some(*prefix),
                Decision::Denied { by: *by, class, count, until, enforced, because, certain },
            ))
        }
        Change::Released { prefix, by, at, why, who, .. } => {
            Some((*at, Some(*prefix), Decision::Released { by: *by, why: *why, who: who.clone() }))
        }
        Change::Spared { spared, at } => {
            let Spared { prefix, user, class, count, most, .. } = &**spared;
            let decision = Decision::Spared { user: user.to_vec(), class: *class, count: *count, most: *most };
            Some((*at, Some(*prefix), decision))
        }
        Change::Suspicious { address, user, method, at } => {
            let decision =
                Decision::Suspicious { address: *address, user: user.clone(), method: method.map(Box::from) };
            Some((*at, Some(Prefix::host(*address)), decision))
        }
        Change::Wave { turn, by, at } => {
            let Turn { name, is_over, wave } = &**turn;
            let decision = Decision::Wave {
                user: name.to_vec(),
                over: *is_over,
                addresses: wave.addresses,
                hosts: wave.hosts(),
                since: Timestamp::from_secs(i64::from(wave.since)),
            };
            Some((*at, *by, decision))
        }
        _ => None,
    }
}

/// What a wave is on, for people.
pub fn wave_on(user: &[u8]) -> String {
    if user.is_empty() { "our hosts".to_owned() } else { printable(user) }
}

/// Writes how far each follower has come.
pub(super) fn acknowledge(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<()> {
    for (name, seen) in &commit.acknowledged {
        run(tx, "UPDATE followers SET seen = max(seen, ?2) WHERE name = ?1", params![name, seen])?;
    }
    Ok(())
}

/// Forgets the oldest decisions when there are a twentieth more than `most`, but none that a follower has not seen,
/// unless there are more than `at_worst`. Of what rests on what strangers may have made up only its part is kept, or a
/// flood of that would wash out the rest.
pub(super) fn trim(
    tx: &Transaction<'_>,
    newest: i64,
    rows: &mut Rows,
    most: i64,
    at_worst: i64,
) -> rusqlite::Result<()> {
    let part = forgeable(most as usize) as i64;
    let (is_crowded, is_full) = (rows.forgeable > part + part / 20, rows.all > most + most / 20);
    if !is_crowded && !is_full {
        return Ok(());
    }
    let slowest: Option<i64> = tx.query_row("SELECT min(seen) FROM followers", [], |row| row.get(0))?;
    let waits_from = slowest.unwrap_or(newest).max(newest - at_worst);
    if is_crowded {
        let sql = "DELETE FROM history WHERE id IN
                   (SELECT id FROM history WHERE forgeable AND id <= ?1 ORDER BY id LIMIT ?2)";
        let gone = tx.prepare_cached(sql)?.execute([waits_from, rows.forgeable - part])? as i64;
        (rows.all, rows.forgeable) = (rows.all - gone, rows.forgeable - gone);
    }
    if rows.all > most + most / 20 {
        // Where some are missing, as many more are older.
        let sql = "SELECT id FROM history ORDER BY id LIMIT 1 OFFSET ?1";
        let oldest = tx.query_row(sql, [rows.all - most - 1], |row| row.get(0))?;
        let last = waits_from.min(oldest);
        run(tx, "UPDATE followers SET missed = missed + ?1 - seen, seen = ?1 WHERE seen < ?1", [last])?;
        tx.prepare_cached("DELETE FROM history WHERE id <= ?1")?.execute([last])?;
        *rows = Rows::count(tx)?;
    }
    Ok(())
}
