//! What survives: one SQLite database, one transaction for cursors and all that follows from the records before them.
//!
//! State lives in memory; a commit writes what is dirty, as absolute values. A record whose cursor is committed
//! counted once; one whose cursor is not will be read again. One writer: the state directory is locked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use inputs::cursor::Cursor;
use inputs::record::Timestamp;
use nix::fcntl::Flock;
use rusqlite::Connection;

use crate::decide::state::{Change, State};
use crate::whose;

mod copies;
mod error;
mod evidence;
mod history;
mod load;
mod notes;
mod open;
mod pairs;
mod suspected;
#[cfg(test)]
mod tests;
mod write;

pub use copies::{Before, Restored, backup, restore, undo};
pub use error::StoreError;
pub use evidence::Evidence;
pub use history::{
    Decided, Decision, FORGEABLE_HISTORY_MAX, Follower, HISTORY_FOLLOWED_MAX, HISTORY_MAX, decision, wave_on,
};
pub use notes::read_note;
use open::{connect, copy, copy_of_files, is_set_aside, lock, set_aside};
pub use pairs::{FORGEABLE_PAIRS_MAX, PAIRS_MAX, PAIRS_PER_PREFIX, Pair, Released, Wanted};
pub use suspected::{Login, SUSPECTED_MAX};
use write::{json, run};

/// The database's name in the state directory.
pub const FILE: &str = "denyd.db";
/// The file in the state directory that its owner locks.
const LOCK: &str = "lock";
/// The note that has the PAM lines that wait.
const WAITING: &str = "waiting";
/// What a database is called that was set aside because it could not be read.
const CORRUPT: &str = "corrupt";
/// The note that says that the database before was lost, until what it denied was taken over: [`LOST_YES`] or [`LOST_NO`].
pub const LOST: &str = "lost";
/// It was, and it is not yet.
pub const LOST_YES: &str = "yes";
/// What was denied then was taken over.
pub const LOST_NO: &str = "no";
/// The note that says when the last commit was, in microseconds since the epoch.
const WALL: &str = "wall";
/// The note that says what stood in files when the daemon ended well. Empty since the next start.
pub const STOPPED: &str = "stopped";
/// The note that has which hosts are one.
const NAMESAKES: &str = "namesakes";

/// Whether a file of the state directory is the store's: the database with what belongs to it, one that was set aside, the
/// lock.
pub fn is_ours(name: &str) -> bool {
    name == LOCK || name.starts_with(FILE)
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
    /// The last decision that followers have done with, by their names.
    pub acknowledged: BTreeMap<String, i64>,
    /// The entries that `allow` added, or removed.
    pub allowed: BTreeMap<String, bool>,
    /// Small values that parts of the program keep for themselves, by name.
    pub notes: BTreeMap<String, String>,
    /// The same, where none of that name is kept.
    pub first_notes: BTreeMap<String, String>,
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

/// A connection to the database.
pub struct Database {
    file: PathBuf,
    db: Connection,
    /// Of a store in memory because of the disk, what another thread has: a note goes to the file first, or is not kept.
    is_apart: bool,
    /// The names of those that were kept here since it was opened.
    noted: RefCell<BTreeSet<String>>,
}

/// The open database, and what is known of it.
pub struct Store {
    /// Its connection, which keeps notes.
    pub database: Database,
    /// None of a rehearsal, nor where the disk has no room for its file.
    lock: Option<Flock<File>>,
    is_rehearsal: bool,
    /// Why it is in memory, although it is no rehearsal: the disk. The first commit that can opens the file.
    pub without_disk: Option<StoreError>,
    /// How many rows the bounded tables have, about: trimmed when they are well above their bounds.
    evidence: i64,
    pairs: i64,
    /// Pairs that were forgotten to make room, since the start.
    pub pairs_untold: u64,
    history: history::Rows,
    /// The number of the newest decision.
    newest: i64,
    /// PAM lines that waited at the last commit, so that an unchanged list is not written again.
    waiting: String,
    /// Where a corrupt database was moved, if that happened at this start.
    pub set_aside: Option<PathBuf>,
}

impl Store {
    /// Opens the store in `dir`, makes it where there is none, and takes its lock. Where the disk is full, broken or cannot be
    /// written, it begins with what can be read, in memory, and each commit is an error until the file can be opened.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        match Store::on_disk(dir) {
            Err(error) if error.is_of_the_disk() => Store::in_memory(dir, error),
            opened => opened,
        }
    }

    /// Whether another denyd has it now.
    pub fn is_locked(dir: &Path) -> bool {
        matches!(lock(dir), Err(StoreError::Locked { .. }))
    }

    fn in_memory(dir: &Path, why: StoreError) -> Result<Store, StoreError> {
        let lock = match lock(dir) {
            Ok(lock) => Some(lock),
            Err(error) if error.is_of_the_disk() => None,
            Err(error) => return Err(error),
        };
        let file = dir.join(FILE);
        let db = copy(&file).or_else(|_| copy_of_files(&file)).or_else(|_| {
            let db = copy(Path::new(""))?;
            // What cannot be read is as lost as what is corrupt.
            let is_lost = if file.exists() { LOST_YES } else { LOST_NO };
            notes::write(&db, LOST, is_lost).map_err(|error| open::failed(&file, "cannot write", error))?;
            Ok(db)
        })?;
        let store = Store { without_disk: Some(why), is_rehearsal: false, ..Store::with(file, db, lock)? };
        store.database.noted.borrow_mut().insert(LOST.to_owned());
        Ok(store)
    }

    /// Opens the file at last, with the notes that were kept here meanwhile. What other threads kept is in the file.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let dir = self.database.file.parent().unwrap_or(Path::new(""));
        if self.lock.is_none() {
            self.lock = Some(lock(dir)?);
        }
        let db = connect(&self.database.file)?;
        let ours = self.database.noted.borrow().clone();
        notes::copy_some(&self.database.db, &db, |name| ours.contains(name))
            .map_err(|error| self.error("cannot write", error))?;
        let lock = self.lock.take();
        *self = Store {
            waiting: std::mem::take(&mut self.waiting),
            pairs_untold: self.pairs_untold,
            ..Store::with(self.database.file.clone(), db, lock)?
        };
        Ok(())
    }

    fn on_disk(dir: &Path) -> Result<Store, StoreError> {
        let lock = lock(dir)?;
        let file = dir.join(FILE);
        match connect(&file) {
            Ok(db) => Store::with(file, db, Some(lock)),
            Err(error) if error.is_corrupt() => {
                let aside =
                    set_aside(&file, CORRUPT).map_err(|error| StoreError::Directory { dir: dir.to_owned(), error })?;
                let db = connect(&file)?;
                notes::write(&db, LOST, LOST_YES).map_err(|error| open::failed(&file, "cannot write", error))?;
                Ok(Store { set_aside: Some(aside), ..Store::with(file, db, Some(lock))? })
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
        Store::with(file, db, Some(lock))
    }

    /// A store in memory, gone when it is dropped, that begins with what the one in `dir` holds. That one is only read,
    /// and a daemon may be writing it. What is corrupt is an error.
    pub fn rehearse(dir: &Path) -> Result<Store, StoreError> {
        let file = dir.join(FILE);
        let db = copy(&file)?;
        Store::with(file, db, None)
    }

    fn with(file: PathBuf, db: Connection, lock: Option<Flock<File>>) -> Result<Store, StoreError> {
        let number = |sql| db.query_row(sql, [], |row| row.get(0));
        let counted = || -> rusqlite::Result<(i64, i64, history::Rows, i64)> {
            let newest = number("SELECT coalesce(max(id), 0) FROM history")?;
            let rows = history::Rows::count(&db)?;
            Ok((number("SELECT count(*) FROM evidence")?, pairs::count(&db)?, rows, newest))
        };
        let failed = |error| open::failed(&file, "cannot count", error);
        let (evidence, pairs, history, newest) = counted().map_err(failed)?;
        let database = Database { file, db, is_apart: false, noted: RefCell::default() };
        let is_rehearsal = lock.is_none();
        let (without_disk, waiting, set_aside) = (None, String::new(), None);
        Ok(Store {
            database,
            lock,
            is_rehearsal,
            without_disk,
            evidence,
            pairs,
            pairs_untold: 0,
            history,
            newest,
            waiting,
            set_aside,
        })
    }

    /// Whether the database before was lost, and what it denied was not taken over yet. A daemon that is killed meanwhile
    /// would else begin with nothing at its next start, and release everybody.
    pub fn is_lost(&self) -> Result<bool, StoreError> {
        let is_lost = self.database.note(LOST)?.map(|note| note == LOST_YES);
        // It may have been killed, or the disk been full, after one was set aside and before that was noted.
        let is_fresh = || Ok(self.newest == 0 && self.last_wall()?.is_none());
        match is_lost {
            Some(is_lost) => Ok(is_lost),
            None => Ok(is_fresh()? && is_set_aside(&self.database.file, CORRUPT)),
        }
    }

    /// When the last commit was made, as far as the clock was believed then.
    pub fn last_wall(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.database.note(WALL)?.and_then(|note| note.parse().ok()).map(Timestamp))
    }

    /// The user whose database it is, if this process is root and he is not: what it says of files counts for nothing then.
    pub fn of_another(&self) -> Option<u32> {
        whose::of_another(self.database.file.parent()?)
    }

    /// Whether it is in memory only: see [`Store::rehearse`].
    pub fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    /// Takes back all that is remembered: the state, the cursors by input, and the entries that `allow` added.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        // Nearly all of it is read once: its pages are not worth the memory.
        let shrunk = |loaded| self.database.db.execute_batch("PRAGMA shrink_memory").map(|()| loaded);
        self.try_load().and_then(shrunk).map_err(|error| self.error("cannot load the state", error))
    }

    /// Writes everything that changed, in one transaction. On an error nothing was written, and all is still to be.
    /// `state` is what the changes led to.
    pub fn commit(&mut self, commit: &Commit, state: &State) -> Result<(), StoreError> {
        if self.without_disk.is_some() {
            self.catch_up()?;
        }
        let waiting = json(&state.sessions.waiting());
        let result = (|| {
            let tx = self.database.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            write::changes(&tx, &commit.changes, state)?;
            let mut pairs = self.pairs;
            let untold = pairs::write(&tx, &commit.evidence, &commit.changes, &mut pairs, PAIRS_MAX)?;
            suspected::write(&tx, &commit.changes)?;
            if waiting != self.waiting {
                notes::write(&tx, WAITING, &waiting)?;
            }
            for (entry, is_there) in &commit.allowed {
                let [put, take] = ["INSERT OR IGNORE INTO allowed VALUES(?1)", "DELETE FROM allowed WHERE entry = ?1"];
                run(&tx, if *is_there { put } else { take }, [entry])?;
            }
            notes::write(&tx, WALL, &commit.wall.0.to_string())?;
            for (name, value) in &commit.notes {
                notes::write(&tx, name, value)?;
            }
            for (name, value) in &commit.first_notes {
                run(&tx, "INSERT OR IGNORE INTO notes VALUES(?1, ?2)", [name, value])?;
            }
            for (input, cursor) in &commit.cursors {
                run(&tx, "INSERT OR REPLACE INTO cursors VALUES(?1, ?2)", [input, &json(cursor)])?;
            }
            let mut kept = self.evidence + evidence::write(&tx, &commit.evidence, state)?;
            evidence::trim(&tx, &mut kept, evidence::EVIDENCE_MAX)?;
            let mut history = self.history;
            let newest = self.newest + history::write(&tx, commit, &mut history)?;
            history::acknowledge(&tx, commit)?;
            history::trim(&tx, newest, &mut history, HISTORY_MAX, HISTORY_FOLLOWED_MAX)?;
            tx.commit()?;
            Ok((kept, (pairs, untold), history, newest))
        })();
        let (evidence, (pairs, untold), history, newest) =
            result.map_err(|error| self.error("cannot commit", error))?;
        (self.evidence, self.history, self.newest, self.waiting) = (evidence, history, newest, waiting);
        (self.pairs, self.pairs_untold) = (pairs, self.pairs_untold + untold);
        Ok(())
    }

    fn error(&self, tried: &'static str, error: rusqlite::Error) -> StoreError {
        self.database.error(tried, error)
    }
}

impl Database {
    /// It cannot be written from now on, or can again.
    #[cfg(test)]
    pub(crate) fn spoil(&self, is_spoilt: bool) {
        self.db.pragma_update(None, "query_only", is_spoilt).unwrap();
    }

    fn error(&self, tried: &'static str, error: rusqlite::Error) -> StoreError {
        open::failed(&self.file, tried, error)
    }
}
