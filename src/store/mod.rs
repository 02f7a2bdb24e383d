//! What survives: one SQLite database, one transaction for cursors and all that follows from the records before them.
//!
//! State lives in memory; a commit writes what is dirty, as absolute values. A record whose cursor is committed
//! counted once; one whose cursor is not will be read again. One writer: the state directory is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use inputs::cursor::Cursor;
use inputs::record::Timestamp;
use nix::fcntl::Flock;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::decide::attempt::Attempt;
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::{Change, Claimant, State, Why};

mod load;
mod open;
mod write;

use load::{each, prefix_of};
use open::{MIGRATIONS, connect, copy, lock, set_aside};
pub use write::decision;

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

impl Evidence {
    /// What is kept of an attempt that the input `source` told of, by `message`.
    pub fn of(attempt: &Attempt<'_>, source: &str, message: &[u8]) -> Self {
        let message = message[..message.len().min(EVIDENCE_BYTES)].to_vec();
        let Attempt { prefix, at, host, .. } = *attempt;
        Evidence { prefix, at, host, source: source.to_owned(), message }
    }
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
    /// None of what is in memory only.
    _lock: Option<Flock<File>>,
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
            Ok(db) => Store::with(file, db, Some(lock), None),
            Err(error) if error.is_corrupt() => {
                let aside = set_aside(&file).map_err(|error| StoreError::Directory { dir: dir.to_owned(), error })?;
                let db = connect(&file)?;
                Store::with(file, db, Some(lock), Some(aside))
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
        Store::with(file, db, Some(lock), None)
    }

    /// A store in memory, gone when it is dropped, that begins with what the one in `dir` holds. That one is only read,
    /// and a daemon may be writing it. What is corrupt is an error.
    pub fn rehearse(dir: &Path) -> Result<Store, StoreError> {
        let file = dir.join(FILE);
        let db = copy(&file)?;
        Store::with(file, db, None, None)
    }

    fn with(
        file: PathBuf,
        db: Connection,
        lock: Option<Flock<File>>,
        set_aside: Option<PathBuf>,
    ) -> Result<Store, StoreError> {
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

    /// Writes everything that changed, in one transaction. On an error nothing was written.
    ///
    /// `state` lends what is dirty (sessions, users, hosts); its marks are cleared only if the caller goes on, so
    /// after an error the caller must not use this state with a fresh store.
    pub fn commit(&mut self, commit: &Commit, state: &mut State) -> Result<(), StoreError> {
        let sessions = state.sessions.take_changes();
        let mut users = std::mem::take(&mut state.users_changed);
        users.sort_unstable();
        users.dedup();
        let waiting = serde_json::to_string(&state.sessions.waiting()).unwrap_or_default();
        let result = (|| {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            write::state(&tx, commit, state, &sessions, &users, self.hosts)?;
            if waiting != self.waiting {
                tx.execute("INSERT OR REPLACE INTO notes VALUES('waiting', ?1)", [&waiting])?;
            }
            for (input, cursor) in &commit.cursors {
                let json = serde_json::to_string(cursor).unwrap_or_default();
                tx.prepare_cached("INSERT OR REPLACE INTO cursors VALUES(?1, ?2)")?.execute([input, &json])?;
            }
            let history = write::history(&tx, commit)?;
            let evidence = write::evidence(&tx, &commit.evidence, state)?;
            let (mut kept_evidence, mut kept_history) = (self.evidence + evidence, self.history + history);
            write::trim(&tx, "evidence", EVIDENCE_MAX, &mut kept_evidence)?;
            write::trim(&tx, "history", HISTORY_MAX, &mut kept_history)?;
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

    /// Keeps a small value.
    pub fn set_note(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let result = self.db.execute("INSERT OR REPLACE INTO notes VALUES(?1, ?2)", [name, value]);
        result.map(|_| ()).map_err(|error| self.error("cannot write", error))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::decide::state::Claim;
    use crate::decide::tally::Tally;
    use crate::detect::event::Account;

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
        let tally = Tally { counts: [1, 2, 3, 4, 5], last: [6, 7, 8, 9, 10], successes: 11, sound: [1, 0, 3, 0, 5] };
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
    fn a_database_of_the_first_schema_is_taken_on() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join(FILE)).unwrap();
        db.execute_batch(MIGRATIONS[0]).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        let p = prefix("192.0.2.7");
        let row = "INSERT INTO tallies VALUES(?1, 1, 2, 300, 0, 0, 6, 7, 8, 0, 0, 11)";
        db.execute(row, [p.to_bytes()]).unwrap();
        drop(db);
        let tally = Tally { counts: [1, 2, 300, 0, 0], last: [6, 7, 8, 0, 0], successes: 11, sound: [1, 2, 255, 0, 0] };
        let loaded = open(dir.path()).load(&Policy::default()).unwrap();
        assert_eq!(loaded.state.tallies.get(&p), Some(&tally));
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
