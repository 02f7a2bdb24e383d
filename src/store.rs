//! What survives: one SQLite database, one transaction for cursors and all that follows from the records before them.
//!
//! State lives in memory; a commit writes what is dirty, as absolute values. A record whose cursor is committed
//! counted once; one whose cursor is not will be read again. One writer: the state directory is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use inputs::cursor::Cursor;
use inputs::record::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::session::{HostId, Key, Late, Session};
use crate::decide::state::{Change, Claim, Claimant, State, UserCounts, Why};
use crate::decide::tally::Tally;
use crate::detect::event::Account;

/// The database's name in the state directory.
pub const FILE: &str = "denyd.db";
/// Evidence that is kept for one prefix.
pub const EVIDENCE_PER_PREFIX: usize = 20;
/// Evidence that is kept in all.
pub const EVIDENCE_MAX: i64 = 200_000;
/// Bytes of a message that are kept as evidence.
pub const EVIDENCE_BYTES: usize = 512;
/// Decisions that are kept in all.
pub const HISTORY_MAX: i64 = 1_000_000;

/// Migrations, in order; `PRAGMA user_version` counts how many were applied. Never change one that was released.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE cursors(input TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE tallies(prefix BLOB PRIMARY KEY, invalid INT, valid INT, root INT, restricted INT, probe INT,
        invalid_at INT, valid_at INT, root_at INT, restricted_at INT, probe_at INT, successes INT) WITHOUT ROWID;
    CREATE TABLE shares(prefix BLOB, host INT, invalid INT, valid INT, root INT, restricted INT, probe INT,
        PRIMARY KEY(prefix, host)) WITHOUT ROWID;
    CREATE TABLE denies(prefix BLOB, claimant TEXT, since INT NOT NULL, until INT, class TEXT, count INT NOT NULL,
        enforceable INT NOT NULL, PRIMARY KEY(prefix, claimant)) WITHOUT ROWID;
    CREATE TABLE released(prefix BLOB PRIMARY KEY, times INT NOT NULL) WITHOUT ROWID;
    CREATE TABLE users(name BLOB PRIMARY KEY, account TEXT NOT NULL, attempts INT NOT NULL) WITHOUT ROWID;
    CREATE TABLE hosts(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE);
    CREATE TABLE sessions(key TEXT PRIMARY KEY, session TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE allowed(entry TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE notes(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE history(id INTEGER PRIMARY KEY, at INT NOT NULL, prefix BLOB, decision TEXT NOT NULL);
    CREATE INDEX history_by_prefix ON history(prefix);
    CREATE TABLE evidence(id INTEGER PRIMARY KEY, prefix BLOB NOT NULL, at INT NOT NULL, host INT NOT NULL,
        source TEXT NOT NULL, message BLOB NOT NULL);
    CREATE INDEX evidence_by_prefix ON evidence(prefix, id);
"];

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another denyd has the state directory.
    #[error("another denyd (pid {pid}) uses {}; stop it first, or ask it: denyd status", .dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// Its process, as it wrote it.
        pid: String,
    },
    /// The state directory cannot be made, opened or locked.
    #[error("cannot use the state directory {}: {error}", .dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Written by a newer denyd.
    #[error("{} was written by a newer denyd (schema {found}, this one knows {}); install that version again, or move the file away to start anew", .file.display(), MIGRATIONS.len())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: usize,
    },
    /// SQLite says no.
    #[error("{tried} in {}: {error}", .file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What was tried.
        tried: &'static str,
        /// Why not.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the file is no database any more, so that it should be set aside.
    pub fn is_corrupt(&self) -> bool {
        let StoreError::Sqlite { error, .. } = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        )
    }
}

/// One counted failure, as `why` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whose counter it moved.
    pub prefix: Prefix,
    /// When.
    pub at: Timestamp,
    /// On which origin host.
    pub host: HostId,
    /// Which input delivered it.
    pub source: String,
    /// The message, at most [`EVIDENCE_BYTES`].
    pub message: Vec<u8>,
}

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
    },
    /// A claim ended.
    Released {
        /// Whose.
        by: Claimant,
        /// Why.
        why: Why,
    },
    /// Somebody logged in from where too many failed.
    Suspicious {
        /// From where.
        address: std::net::IpAddr,
        /// As whom: bytes of the log.
        user: Vec<u8>,
    },
}

/// What one commit writes.
#[derive(Debug, Default)]
pub struct Commit {
    /// Where each input goes on, by its name.
    pub cursors: BTreeMap<String, Cursor>,
    /// What changed, in order.
    pub changes: Vec<Change>,
    /// What was counted.
    pub evidence: Vec<Evidence>,
    /// The wall clock, to tell which denies are enforced.
    pub wall: Timestamp,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Counts, denies, connections.
    pub state: State,
    /// Where each input goes on, by its name.
    pub cursors: BTreeMap<String, Cursor>,
    /// The entries that `allow` added.
    pub allowed: BTreeSet<String>,
}

/// The open database.
pub struct Store {
    file: PathBuf,
    db: Connection,
    _lock: Flock<File>,
    /// Hosts that were written.
    hosts: usize,
    /// How many rows the bounded tables have, about: trimmed when they are well above their bounds.
    evidence: i64,
    history: i64,
    /// PAM lines that waited at the last commit, so that an unchanged list is not written again.
    waiting: String,
    /// Where a corrupt database was moved, if that happened at this start.
    pub set_aside: Option<PathBuf>,
}

impl Store {
    /// Opens the store in `dir`, makes it where there is none, and takes its lock.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let lock = lock(dir)?;
        let file = dir.join(FILE);
        match connect(&file) {
            Ok(db) => Store::with(file, db, lock, None),
            Err(error) if error.is_corrupt() => {
                let aside = set_aside(&file).map_err(|error| StoreError::Directory { dir: dir.to_owned(), error })?;
                let db = connect(&file)?;
                Store::with(file, db, lock, Some(aside))
            }
            Err(error) => Err(error),
        }
    }

    /// The same for one who only asks: what is corrupt stays as it is, and is an error. The daemon must find it so, or
    /// it would not take over what is denied.
    pub fn open_intact(dir: &Path) -> Result<Store, StoreError> {
        let lock = lock(dir)?;
        let file = dir.join(FILE);
        let db = connect(&file)?;
        Store::with(file, db, lock, None)
    }

    fn with(file: PathBuf, db: Connection, lock: Flock<File>, set_aside: Option<PathBuf>) -> Result<Store, StoreError> {
        let count = |table: &str| -> rusqlite::Result<i64> {
            db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        };
        let failed = |error| StoreError::Sqlite { file: file.clone(), tried: "cannot count", error };
        let (evidence, history) = (count("evidence").map_err(failed)?, count("history").map_err(failed)?);
        Ok(Store { file, db, _lock: lock, hosts: 0, evidence, history, waiting: String::new(), set_aside })
    }

    /// Takes back all that is remembered: the state, the cursors by input, and the entries that `allow` added.
    pub fn load(&mut self, policy: &Policy) -> Result<Loaded, StoreError> {
        let loaded = self.try_load(policy).map_err(|error| self.error("cannot load the state", error))?;
        self.hosts = loaded.state.hosts.len();
        Ok(loaded)
    }

    fn try_load(&self, policy: &Policy) -> rusqlite::Result<Loaded> {
        let mut state = State::default();
        let db = &self.db;
        each(db, "SELECT id, name FROM hosts ORDER BY id", |row| {
            let name: Vec<u8> = row.get(1)?;
            state.hosts.insert(name.into(), ());
            Ok(())
        })?;
        each(
            db,
            "SELECT prefix, invalid, valid, root, restricted, probe, invalid_at, valid_at, root_at, restricted_at,
                    probe_at, successes FROM tallies",
            |row| {
                let mut tally = Tally { successes: row.get(11)?, ..Tally::default() };
                for class in 0..5 {
                    tally.counts[class] = row.get(1 + class)?;
                    tally.last[class] = row.get(6 + class)?;
                }
                if let Some(prefix) = prefix_of(row, 0)? {
                    state.tallies.restore(prefix, tally);
                }
                Ok(())
            },
        )?;
        each(db, "SELECT prefix, host, invalid, valid, root, restricted, probe FROM shares", |row| {
            if let Some(prefix) = prefix_of(row, 0)? {
                let mut counts = [0; 5];
                for (class, count) in counts.iter_mut().enumerate() {
                    *count = row.get(2 + class)?;
                }
                state.shares.insert((prefix, HostId(row.get(1)?)), counts);
            }
            Ok(())
        })?;
        let mut denied = Vec::new();
        each(db, "SELECT prefix, claimant, since, until, class, count, enforceable FROM denies", |row| {
            let by = text_as(row, 1)?;
            let until: Option<i64> = row.get(3)?;
            let class: Option<String> = row.get(4)?;
            let class = class.and_then(|name| Class::ALL.into_iter().find(|class| class.name() == name));
            let claim = Claim {
                since: Timestamp(row.get(2)?),
                until: until.map(Timestamp),
                class,
                count: row.get(5)?,
                enforceable: row.get(6)?,
            };
            if let Some(prefix) = prefix_of(row, 0)? {
                denied.push(Change::Denied { prefix, by, claim });
            }
            Ok(())
        })?;
        for change in denied {
            state.apply(&change, policy);
        }
        each(db, "SELECT prefix, times FROM released", |row| {
            if let Some(prefix) = prefix_of(row, 0)? {
                state.released.insert(prefix, row.get(1)?);
            }
            Ok(())
        })?;
        each(db, "SELECT name, account, attempts FROM users", |row| {
            let name: Vec<u8> = row.get(0)?;
            let account: Account = text_as(row, 1)?;
            let attempts: i64 = row.get(2)?;
            state.users.insert(name.into(), UserCounts { attempts: attempts.unsigned_abs(), account });
            Ok(())
        })?;
        let mut sessions = Vec::new();
        each(db, "SELECT key, session FROM sessions", |row| {
            let (key, session): (String, String) = (row.get(0)?, row.get(1)?);
            if let (Ok(key), Ok(session)) =
                (serde_json::from_str::<Key>(&key), serde_json::from_str::<Session>(&session))
            {
                sessions.push((key, session));
            }
            Ok(())
        })?;
        let waiting = db
            .query_row("SELECT value FROM notes WHERE name = 'waiting'", [], |row| row.get::<_, String>(0))
            .optional()?;
        let waiting: Vec<Late> = waiting.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        state.sessions.restore(sessions, waiting);
        state.sessions.track_changes();
        let mut cursors = BTreeMap::new();
        each(db, "SELECT input, cursor FROM cursors", |row| {
            let (input, cursor): (String, String) = (row.get(0)?, row.get(1)?);
            if let Ok(cursor) = serde_json::from_str(&cursor) {
                cursors.insert(input, cursor);
            }
            Ok(())
        })?;
        let mut allowed = BTreeSet::new();
        each(db, "SELECT entry FROM allowed", |row| {
            allowed.insert(row.get(0)?);
            Ok(())
        })?;
        Ok(Loaded { state, cursors, allowed })
    }

    /// Writes everything that changed, in one transaction. On an error nothing was written.
    ///
    /// `state` lends what is dirty (sessions, users, hosts); its marks are cleared only if the caller goes on, so
    /// after an error the caller must not use this state with a fresh store.
    pub fn commit(&mut self, commit: &Commit, state: &mut State) -> Result<(), StoreError> {
        let sessions = state.sessions.take_changes();
        let users = std::mem::take(&mut state.users_changed);
        let waiting: Vec<&Late> = state.sessions.waiting().collect();
        let waiting = serde_json::to_string(&waiting).unwrap_or_default();
        let result = (|| {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            write_state(&tx, commit, state, &sessions, &users, self.hosts)?;
            if waiting != self.waiting {
                tx.execute("INSERT OR REPLACE INTO notes VALUES('waiting', ?1)", [&waiting])?;
            }
            for (input, cursor) in &commit.cursors {
                let json = serde_json::to_string(cursor).unwrap_or_default();
                tx.prepare_cached("INSERT OR REPLACE INTO cursors VALUES(?1, ?2)")?.execute([input, &json])?;
            }
            let history = write_history(&tx, commit)?;
            let evidence = write_evidence(&tx, &commit.evidence)?;
            let (mut kept_evidence, mut kept_history) = (self.evidence + evidence, self.history + history);
            trim(&tx, "evidence", EVIDENCE_MAX, &mut kept_evidence)?;
            trim(&tx, "history", HISTORY_MAX, &mut kept_history)?;
            tx.commit()?;
            Ok((kept_evidence, kept_history))
        })();
        match result {
            Ok((evidence, history)) => {
                self.evidence = evidence;
                self.history = history;
                self.hosts = state.hosts.len();
                self.waiting = waiting;
                Ok(())
            }
            Err(error) => {
                // What was to be written is still to be written.
                state.sessions.put_back_changes(sessions.into_iter().map(|(key, _)| key));
                state.users_changed.extend(users);
                Err(self.error("cannot commit", error))
            }
        }
    }

    /// Keeps an entry that `allow` added, or removes one.
    pub fn set_allowed(&mut self, entry: &str, allowed: bool) -> Result<(), StoreError> {
        let sql =
            if allowed { "INSERT OR IGNORE INTO allowed VALUES(?1)" } else { "DELETE FROM allowed WHERE entry = ?1" };
        self.db.execute(sql, [entry]).map(|_| ()).map_err(|error| self.error("cannot write the allow list", error))
    }

    /// The newest evidence on the prefixes that hold `address` or lie in it, oldest first.
    pub fn evidence(&self, prefixes: &[Prefix]) -> Result<Vec<Evidence>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Evidence>> {
            let mut found = Vec::new();
            let mut query = self.db.prepare_cached(
                "SELECT prefix, at, host, source, message FROM evidence WHERE prefix = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            for prefix in prefixes {
                let mut rows = query.query(params![prefix.to_bytes(), EVIDENCE_PER_PREFIX as i64])?;
                while let Some(row) = rows.next()? {
                    found.push(Evidence {
                        prefix: *prefix,
                        at: Timestamp(row.get(1)?),
                        host: HostId(row.get(2)?),
                        source: row.get(3)?,
                        message: row.get(4)?,
                    });
                }
            }
            found.sort_by_key(|evidence| evidence.at);
            Ok(found)
        };
        read().map_err(|error| self.error("cannot read evidence", error))
    }

    /// The origin hosts that saw each prefix fail, as far as evidence of it is kept.
    pub fn hosts_by_prefix(&self) -> Result<BTreeMap<Prefix, BTreeSet<HostId>>, StoreError> {
        let mut found: BTreeMap<Prefix, BTreeSet<HostId>> = BTreeMap::new();
        let read = each(&self.db, "SELECT prefix, host FROM evidence", |row| {
            if let Some(prefix) = prefix_of(row, 0)? {
                found.entry(prefix).or_default().insert(HostId(row.get(1)?));
            }
            Ok(())
        });
        read.map_err(|error| self.error("cannot read evidence", error))?;
        Ok(found)
    }

    /// The newest `limit` decisions, oldest first; of one prefix or of all.
    pub fn history(
        &self,
        prefix: Option<Prefix>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Option<Prefix>, Decision)>, StoreError> {
        let read = || -> rusqlite::Result<_> {
            let mut query = self.db.prepare_cached(
                // Two ways, since an OR would keep SQLite from its index.
                match prefix {
                    Some(_) => "SELECT at, prefix, decision FROM history WHERE prefix = ?1 ORDER BY id DESC LIMIT ?2",
                    None => "SELECT at, prefix, decision FROM history WHERE ?1 IS NULL ORDER BY id DESC LIMIT ?2",
                },
            )?;
            let key = prefix.map(|prefix| prefix.to_bytes().to_vec());
            let mut rows = query.query(params![key, i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let json: String = row.get(2)?;
                let key: Option<Vec<u8>> = row.get(1)?;
                if let Ok(decision) = serde_json::from_str(&json) {
                    found.push((Timestamp(row.get(0)?), key.and_then(|key| Prefix::from_bytes(&key)), decision));
                }
            }
            found.reverse();
            Ok(found)
        };
        read().map_err(|error| self.error("cannot read history", error))
    }

    /// A small value that a part of the program keeps for itself.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.db
            .query_row("SELECT value FROM notes WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|error| self.error("cannot read", error))
    }

    /// A second way to the database, for notes only, that another thread may have.
    pub fn keeper(&self) -> Result<Keeper, StoreError> {
        let db = Connection::open(&self.file).map_err(|error| self.error("cannot open the database", error))?;
        Ok(Keeper { file: self.file.clone(), db })
    }

    fn error(&self, tried: &'static str, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.clone(), tried, error }
    }
}

/// Keeps small values; see [`Store::keeper`].
pub struct Keeper {
    file: PathBuf,
    db: Connection,
}

impl Keeper {
    /// Keeps a small value.
    pub fn set_note(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let result = self.db.execute("INSERT OR REPLACE INTO notes VALUES(?1, ?2)", [name, value]);
        result.map(|_| ()).map_err(|error| StoreError::Sqlite { file: self.file.clone(), tried: "cannot write", error })
    }
}

fn each(
    db: &Connection,
    sql: &str,
    mut row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = db.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(found) = rows.next()? {
        row(found)?;
    }
    Ok(())
}

fn prefix_of(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Prefix>> {
    Ok(Prefix::from_bytes(row.get_ref(column)?.as_blob()?))
}

/// A text column that serde knows as a unit variant.
fn text_as<T: for<'de> Deserialize<'de>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn write_state(
    tx: &Transaction<'_>,
    commit: &Commit,
    state: &State,
    sessions: &[(Key, Option<Session>)],
    users: &BTreeSet<usize>,
    hosts_written: usize,
) -> rusqlite::Result<()> {
    for (index, (name, ())) in state.hosts.iter().enumerate().skip(hosts_written) {
        tx.prepare_cached("INSERT OR REPLACE INTO hosts VALUES(?1, ?2)")?.execute(params![index as i64, &**name])?;
    }
    // Only the last value of each prefix counts.
    let tallies: BTreeMap<Prefix, Option<Tally>> = commit
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Counted { prefix, tally } => Some((*prefix, *tally)),
            _ => None,
        })
        .collect();
    for (prefix, tally) in tallies {
        let Some(Tally { counts, last, successes }) = tally else {
            tx.prepare_cached("DELETE FROM tallies WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            continue;
        };
        tx.prepare_cached("INSERT OR REPLACE INTO tallies VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")?.execute(
            params![
                prefix.to_bytes(),
                counts[0],
                counts[1],
                counts[2],
                counts[3],
                counts[4],
                last[0],
                last[1],
                last[2],
                last[3],
                last[4],
                successes
            ],
        )?;
    }
    for change in &commit.changes {
        match change {
            Change::Shared { prefix, host: Some(host), counts } => {
                tx.prepare_cached("INSERT OR REPLACE INTO shares VALUES(?1,?2,?3,?4,?5,?6,?7)")?.execute(params![
                    prefix.to_bytes(),
                    host.0,
                    counts[0],
                    counts[1],
                    counts[2],
                    counts[3],
                    counts[4]
                ])?;
            }
            Change::Shared { prefix, host: None, .. } => {
                tx.prepare_cached("DELETE FROM shares WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            }
            Change::Denied { prefix, by, claim } => {
                tx.prepare_cached("INSERT OR REPLACE INTO denies VALUES(?1,?2,?3,?4,?5,?6,?7)")?.execute(params![
                    prefix.to_bytes(),
                    by.name(),
                    claim.since.0,
                    claim.until.map(|until| until.0),
                    claim.class.map(Class::name),
                    claim.count,
                    claim.enforceable
                ])?;
            }
            Change::Released { prefix, by, times, .. } => {
                tx.prepare_cached("DELETE FROM denies WHERE prefix = ?1 AND claimant = ?2")?
                    .execute(params![prefix.to_bytes(), by.name()])?;
                if *times > 0 {
                    tx.prepare_cached("INSERT OR REPLACE INTO released VALUES(?1, ?2)")?
                        .execute(params![prefix.to_bytes(), times])?;
                }
            }
            Change::Unremembered { prefix } => {
                tx.prepare_cached("DELETE FROM released WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            }
            Change::Counted { .. } | Change::Suspicious { .. } => {}
        }
    }
    for index in users {
        if let Some((name, counts)) = state.users.get_index(*index) {
            let account = serde_json::to_value(counts.account).ok().and_then(|v| v.as_str().map(str::to_owned));
            tx.prepare_cached("INSERT OR REPLACE INTO users VALUES(?1, ?2, ?3)")?.execute(params![
                &**name,
                account.unwrap_or_default(),
                counts.attempts as i64
            ])?;
        }
    }
    for (key, session) in sessions {
        let key = serde_json::to_string(key).unwrap_or_default();
        match session {
            Some(session) => {
                let json = serde_json::to_string(session).unwrap_or_default();
                tx.prepare_cached("INSERT OR REPLACE INTO sessions VALUES(?1, ?2)")?.execute([&key, &json])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([&key])?;
            }
        }
    }
    Ok(())
}

/// Writes the decisions among the changes; returns how many.
fn write_history(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<i64> {
    let mut written = 0;
    for change in &commit.changes {
        let Some((at, prefix, decision)) = decision(change, commit.wall) else { continue };
        let json = serde_json::to_string(&decision).unwrap_or_default();
        tx.prepare_cached("INSERT INTO history(at, prefix, decision) VALUES(?1, ?2, ?3)")?.execute(params![
            at.0,
            prefix.to_bytes(),
            json
        ])?;
        written += 1;
    }
    Ok(written)
}

/// What `history` says of a change; counts alone are no decision.
pub fn decision(change: &Change, wall: Timestamp) -> Option<(Timestamp, Prefix, Decision)> {
    match change {
        Change::Denied { prefix, by, claim } => {
            let enforced = claim.enforceable && claim.until.is_none_or(|until| until > wall);
            let Claim { since, until, class, count, .. } = *claim;
            Some((since, *prefix, Decision::Denied { by: *by, class, count, until, enforced }))
        }
        Change::Released { prefix, by, at, why, .. } => Some((*at, *prefix, Decision::Released { by: *by, why: *why })),
        Change::Suspicious { address, user, at } => {
            let decision = Decision::Suspicious { address: *address, user: user.clone() };
            Some((*at, Prefix::host(*address), decision))
        }
        Change::Counted { .. } | Change::Shared { .. } | Change::Unremembered { .. } => None,
    }
}

/// Writes evidence and keeps only the newest of each prefix; returns by how many rows the table grew.
fn write_evidence(tx: &Transaction<'_>, evidence: &[Evidence]) -> rusqlite::Result<i64> {
    let mut grown = 0;
    let mut per_prefix: BTreeMap<Prefix, Vec<&Evidence>> = BTreeMap::new();
    for one in evidence {
        per_prefix.entry(one.prefix).or_default().push(one);
    }
    for (prefix, all) in per_prefix {
        // Of a flood in one batch only what would be kept is written at all.
        let newest = &all[all.len().saturating_sub(EVIDENCE_PER_PREFIX)..];
        for one in newest {
            let message = &one.message[..one.message.len().min(EVIDENCE_BYTES)];
            tx.prepare_cached("INSERT INTO evidence(prefix, at, host, source, message) VALUES(?1,?2,?3,?4,?5)")?
                .execute(params![prefix.to_bytes(), one.at.0, one.host.0, one.source, message])?;
            grown += 1;
        }
        let removed = tx
            .prepare_cached(
                "DELETE FROM evidence WHERE prefix = ?1 AND id <=
                 (SELECT id FROM evidence WHERE prefix = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![prefix.to_bytes(), EVIDENCE_PER_PREFIX as i64])?;
        grown -= removed as i64;
    }
    Ok(grown)
}

/// Removes the oldest rows of a table that is a twentieth over its bound.
fn trim(tx: &Transaction<'_>, table: &str, most: i64, rows: &mut i64) -> rusqlite::Result<()> {
    if *rows > most + most / 20 {
        let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?1)");
        *rows -= tx.execute(&sql, [*rows - most])? as i64;
    }
    Ok(())
}

/// Makes the state directory (0700) and takes its lock; the holder's pid is in the lock file.
fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let failed = |error| StoreError::Directory { dir: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let path = dir.join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).map_err(failed)?;
            lock.rewind().map_err(failed)?;
            writeln!(lock, "{}", std::process::id()).map_err(failed)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut pid);
            let pid = pid.trim().parse::<u32>().map_or("unknown".to_owned(), |pid| pid.to_string());
            Err(StoreError::Locked { dir: dir.to_owned(), pid })
        }
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

fn connect(file: &Path) -> Result<Connection, StoreError> {
    let failed = |tried| move |error| StoreError::Sqlite { file: file.to_owned(), tried, error };
    // People type passwords as user names: nobody else reads this.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(file)
        .and_then(|made| made.set_permissions(fs::Permissions::from_mode(0o600)))
        .map_err(|error| StoreError::Directory { dir: file.parent().unwrap_or(file).to_owned(), error })?;
    let mut db = Connection::open(file).map_err(failed("cannot open the database"))?;
    // Whoever looks into it with sqlite3 holds up the engine no longer than this; a commit is tried again anyway.
    db.busy_timeout(std::time::Duration::from_millis(200)).map_err(failed("cannot set up"))?;
    let found: usize = db
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map_err(failed("cannot read the schema"))?
        .try_into()
        .unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { file: file.to_owned(), found });
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(failed("cannot use the write-ahead log"))?;
    db.pragma_update(None, "synchronous", "FULL").map_err(failed("cannot set up"))?;
    if found > 0 {
        let verdict: String =
            db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed("cannot check the database"))?;
        if verdict != "ok" {
            let error =
                rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(verdict));
            return Err(failed("the check failed")(error));
        }
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let tx = db.transaction().map_err(failed("cannot migrate"))?;
        tx.execute_batch(migration).map_err(failed("cannot migrate"))?;
        tx.pragma_update(None, "user_version", index as i64 + 1).map_err(failed("cannot migrate"))?;
        tx.commit().map_err(failed("cannot migrate"))?;
    }
    Ok(db)
}

/// Moves a corrupt database, and what belongs to it, out of the way.
fn set_aside(file: &Path) -> std::io::Result<PathBuf> {
    let stamp = crate::clock::now().secs();
    let with = |file: &Path, suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(file, &format!(".corrupt-{stamp}"));
    fs::rename(file, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match fs::rename(with(file, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Store {
        Store::open(dir).unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn evidence(n: usize) -> Evidence {
        let message = vec![b'x'; EVIDENCE_BYTES + n];
        Evidence {
            prefix: prefix("192.0.2.7"),
            at: Timestamp(n as i64),
            host: HostId(0),
            source: "a".to_owned(),
            message,
        }
    }

    #[test]
    fn what_was_committed_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let policy = Policy::default();
        let tally = Tally { counts: [1, 2, 3, 4, 5], last: [6, 7, 8, 9, 10], successes: 11 };
        let claim = Claim {
            since: Timestamp(5),
            until: Some(Timestamp(9)),
            class: Some(Class::Root),
            count: 3,
            enforceable: true,
        };
        let (p, q) = (prefix("192.0.2.7"), prefix("2001:db8::/64"));
        let changes = vec![
            Change::Counted { prefix: p, tally: Some(tally) },
            Change::Shared { prefix: p, host: Some(HostId(0)), counts: [1, 0, 0, 0, 0] },
            Change::Denied { prefix: p, by: Claimant::Policy, claim },
            Change::Denied { prefix: q, by: Claimant::Operator, claim: Claim { until: None, class: None, ..claim } },
            Change::Released { prefix: q, by: Claimant::Operator, at: Timestamp(7), why: Why::Expired, times: 2 },
        ];
        let cursor = Cursor::File(inputs::cursor::FileCursor { offset: 77, ..Default::default() });
        let commit = Commit { cursors: [("log".to_owned(), cursor.clone())].into(), changes, ..Commit::default() };
        let mut state = State::default();
        state.host(b"web1.example.org");
        state.count_user(b"bob\xff", Account::Unknown, 3);
        let mut store = open(dir.path());
        store.commit(&commit, &mut state).unwrap();
        store.set_allowed("192.0.2.0/30", true).unwrap();
        drop(store);
        let Loaded { state, cursors, allowed } = open(dir.path()).load(&policy).unwrap();
        assert_eq!(state.tallies.get(&p), Some(&tally));
        assert_eq!(state.shares[&(p, HostId(0))], [1, 0, 0, 0, 0]);
        assert_eq!(state.denies[&p].claim(Claimant::Policy), Some(&claim));
        assert!(!state.denies.contains_key(&q), "it was released");
        assert_eq!(state.released[&q], 2);
        assert_eq!(state.users[&b"bob\xff"[..]].attempts, 3);
        assert_eq!(state.host_name(HostId(0)), b"web1");
        assert_eq!(cursors["log"], cursor);
        assert_eq!(allowed.into_iter().collect::<Vec<_>>(), ["192.0.2.0/30"]);
        let history = open(dir.path()).history(None, 10).unwrap();
        assert_eq!(history.len(), 3, "counts are no decision");
        assert_eq!(open(dir.path()).history(Some(p), 10).unwrap().len(), 1);
    }

    #[test]
    fn evidence_keeps_the_newest_and_cuts_the_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        for batch in 0..3 {
            let evidence = (0..30).map(|n| evidence(batch * 30 + n)).collect();
            store.commit(&Commit { evidence, ..Commit::default() }, &mut State::default()).unwrap();
        }
        let kept = store.evidence(&[prefix("192.0.2.7")]).unwrap();
        assert_eq!(kept.iter().map(|one| one.at.0).collect::<Vec<_>>(), (70..90).collect::<Vec<_>>());
        assert!(kept.iter().all(|one| one.message.len() == EVIDENCE_BYTES));
    }

    #[test]
    fn the_second_one_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let _first = open(dir.path());
        let refused = Store::open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let file = dir.path().join(FILE);
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = Store::open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("schema 99") && refused.contains("install that version again"), "{refused}");
        assert!(file.exists());
    }

    #[test]
    fn rubbish_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "this is no database\n".repeat(500)).unwrap();
        let store = open(dir.path());
        let aside = store.set_aside.clone().unwrap();
        assert!(fs::read(aside).unwrap().starts_with(b"this is no database"));
        assert_eq!(store.history(None, 10).unwrap(), []);
    }

    #[test]
    fn nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        drop(open(&state));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
    }
}
