//! Copies of the database: taken while a daemon writes it, and put in its place again.
//!
//! What was restored knows that it is a copy. What was logged since it was taken was counted by the database before it, or is
//! another machine's: so the inputs begin at their ends, and the connections and logins of then are forgotten. What is
//! written in files such as hosts.deny is of this machine and of now, so that is known as the database before knew it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use inputs::record::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};

use super::open::{BUSY, beside, connect, failed, lock, opened, set_aside};
use super::write::json;
use super::{Database, FILE, LOST, LOST_YES, STOPPED, Store, StoreError, WAITING, notes};
use crate::text::At;
use crate::whose;

/// The note of a copy that says when it was taken.
const COPIED: &str = "copied";
/// The note of a database that was restored: a [`Restored`].
const RESTORED: &str = "restored";

/// What a database knows of itself that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the copy was taken.
    pub copied: At,
    /// When it was put in place.
    pub restored: At,
    /// The inputs that had been read then: they begin at their ends.
    #[serde(default)]
    pub inputs: Vec<String>,
}

/// The database in whose place a copy was put.
pub struct Before {
    /// Where it is now.
    pub file: PathBuf,
    /// It could not be read.
    pub is_lost: bool,
}

/// Copies the database in `dir` into `file`, which must not be there. It is only read, and a daemon may be writing it: the
/// copy is of one moment, as committed. Nobody else may read the copy.
pub fn backup(dir: &Path, file: &Path, now: Timestamp) -> Result<(), StoreError> {
    let told = |tried| move |error| StoreError::File { tried, file: file.to_owned(), error };
    if file.symlink_metadata().is_ok() {
        return Err(told("cannot write")(io::Error::other("it is there already; name another one")));
    }
    let fresh = beside(file, ".new");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(told("cannot write beside"))?;
    let done = (|| {
        vacuum(&dir.join(FILE), &fresh)?;
        let copy = Connection::open(&fresh).map_err(|error| failed(&fresh, "cannot open the copy", error))?;
        let taken = json(&At(now));
        notes::write(&copy, COPIED, &taken).map_err(|error| failed(&fresh, "cannot write", error))?;
        drop(copy);
        File::open(&fresh).and_then(|copy| copy.sync_all()).map_err(told("cannot write"))?;
        fs::rename(&fresh, file).map_err(told("cannot write"))
    })();
    if done.is_err() {
        let _ = fs::remove_file(fresh);
    }
    done
}

/// Puts a copy in the place of the database in `dir`, which no daemon may use; returns what it knows of itself, and where
/// the database before is now, if there was one. `is_here` says which notes are of this machine, and are taken from that
/// one; where that cannot be read, it was lost: at its next start the daemon takes over what is denied and allowed then. `file`
/// stays as it is.
pub fn restore(
    file: &Path,
    dir: &Path,
    is_here: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Result<(Restored, Option<Before>), StoreError> {
    let taken = fs::metadata(file);
    let taken = taken.map_err(|error| StoreError::File { tried: "cannot read", file: file.to_owned(), error })?;
    let _lock = lock(dir)?;
    let place = dir.join(FILE);
    let fresh = beside(&place, ".fresh");
    let done = (|| {
        remove(&fresh)?;
        vacuum(file, &fresh)?;
        let mut db = connect(&fresh).map_err(|error| match error {
            StoreError::Newer { found, .. } => StoreError::Newer { file: file.to_owned(), found },
            error => error,
        })?;
        let changed = |error| failed(&fresh, "cannot write", error);
        let tx = db.transaction().map_err(changed)?;
        let copied = notes::read(&tx, COPIED).map_err(changed)?.and_then(|note| serde_json::from_str(&note).ok());
        let copied = copied.unwrap_or(At(Timestamp::from_secs(taken.mtime())));
        let restored = mark(&tx, copied, At(now)).map_err(changed)?;
        let known = known_here(&place, is_here);
        let is_lost = known.is_err();
        let known = known.unwrap_or_else(|_| vec![(LOST.to_owned(), LOST_YES.to_owned())]);
        known.iter().try_for_each(|(name, value)| notes::write(&tx, name, value)).map_err(changed)?;
        tx.commit().map_err(changed)?;
        db.close().map_err(|(_, error)| failed(&fresh, "cannot close", error))?;
        Ok((restored, is_lost))
    })();
    let put = |(restored, is_lost)| {
        File::open(&fresh)?.sync_all()?;
        let before = place.exists().then(|| set_aside(&place, "before")).transpose()?;
        let before = before.map(|file| Before { file, is_lost });
        fs::rename(&fresh, &place)?;
        File::open(dir)?.sync_all()?;
        Ok((restored, before))
    };
    let done = done.and_then(|restored| {
        put(restored).map_err(|error| StoreError::File {
            tried: "cannot put the copy into",
            file: dir.to_owned(),
            error,
        })
    });
    if done.is_err() {
        let _ = remove(&fresh);
    }
    done
}

/// Puts a copy in the place of the database in `dir`, as if nothing had happened since it was taken; without one, there is none
/// there any more. Returns where the database before, which is `store`, is now. Nobody else gets at it meanwhile: its lock is
/// held until all is done.
pub fn undo(copy: Option<&Path>, store: Store) -> Result<Option<PathBuf>, StoreError> {
    let Store { database: Database { file: place, db, .. }, lock: _lock, .. } = store;
    let dir = place.parent().unwrap_or(Path::new("."));
    db.close().map_err(|(_, error)| failed(&place, "cannot close", error))?;
    let fresh = beside(&place, ".fresh");
    remove(&fresh)?;
    if let Some(copy) = copy {
        let db = Connection::open(copy).map_err(|error| failed(copy, "cannot open the copy", error))?;
        db.execute("DELETE FROM notes WHERE name = ?1", [COPIED])
            .map_err(|error| failed(copy, "cannot write", error))?;
        db.close().map_err(|(_, error)| failed(copy, "cannot close", error))?;
    }
    let put = || {
        if let Some(copy) = copy {
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            io::copy(&mut File::open(copy)?, &mut out)?;
            whose::give(&out, dir)?;
            out.sync_all()?;
        }
        let before = place.exists().then(|| set_aside(&place, "before")).transpose()?;
        if copy.is_some() {
            fs::rename(&fresh, &place)?;
        }
        File::open(dir)?.sync_all()?;
        Ok(before)
    };
    put().map_err(|error| StoreError::File { tried: "cannot put the copy into", file: dir.to_owned(), error })
}

impl Store {
    /// What is known of it if it was restored.
    pub fn restored(&self) -> Result<Option<Restored>, StoreError> {
        Ok(self.database.note(RESTORED)?.and_then(|note| serde_json::from_str(&note).ok()))
    }
}

/// Makes of a copy a restored database.
fn mark(db: &Connection, copied: At, restored: At) -> rusqlite::Result<Restored> {
    let mut inputs = Vec::new();
    super::load::each(db, "SELECT input FROM cursors ORDER BY input", |row| {
        inputs.push(row.get(0)?);
        Ok(())
    })?;
    let marked = Restored { copied, restored, inputs };
    db.execute_batch("DELETE FROM cursors; DELETE FROM sessions; DELETE FROM live")?;
    db.execute("DELETE FROM notes WHERE name IN (?1, ?2, ?3)", params![WAITING, COPIED, STOPPED])?;
    notes::write(db, RESTORED, &json(&marked))?;
    Ok(marked)
}

/// The notes of this machine, of the database there, if there is one.
fn known_here(place: &Path, is_here: impl Fn(&str) -> bool) -> rusqlite::Result<Vec<(String, String)>> {
    if !place.exists() {
        return Ok(Vec::new());
    }
    let db = opened(place, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut found: Vec<(String, String)> = Vec::new();
    super::load::each(&db, "SELECT name, value FROM notes", |row| {
        found.push((row.get(0)?, row.get(1)?));
        Ok(())
    })?;
    found.retain(|(name, _)| is_here(name));
    Ok(found)
}

/// Writes all that the database `from` holds into `into`, which is empty or not there.
fn vacuum(from: &Path, into: &Path) -> Result<(), StoreError> {
    let failed = |error| failed(from, "cannot copy the database", error);
    let db = opened(from, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    let ours = "SELECT count(*) FROM sqlite_schema WHERE name IN ('cursors', 'denies', 'notes')";
    if db.query_row(ours, [], |row| row.get::<_, i64>(0)).map_err(failed)? != 3 {
        let error = io::Error::other("it is no database of denyd");
        return Err(StoreError::File { tried: "cannot copy", file: from.to_owned(), error });
    }
    db.execute("VACUUM INTO ?1", [into.to_str()]).map_err(failed)?;
    Ok(())
}

/// Removes a database that was left unfinished, and what belongs to it.
fn remove(file: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = beside(file, suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::File { tried: "cannot remove", file, error });
            }
            _ => {}
        }
    }
    Ok(())
}
