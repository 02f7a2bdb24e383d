//! What parts of the program keep for themselves: small values by name, and what `allow` added.

use std::cell::RefCell;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::open::{copy, opened};
use super::write::run;
use super::{Database, Store, StoreError};

impl Database {
    /// A small value that a part of the program keeps for itself.
    pub fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        read(&self.db, name).map_err(|error| self.error("cannot read", error))
    }

    /// The names of all small values.
    pub fn note_names(&self) -> Result<Vec<String>, StoreError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut query = self.db.prepare("SELECT name FROM notes ORDER BY name")?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(|error| self.error("cannot read", error))
    }

    /// Keeps a small value.
    pub fn set_note(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.change(|db| write(db, name, value))?;
        self.noted.borrow_mut().insert(name.to_owned());
        Ok(())
    }

    /// Forgets a small value, if there is one.
    pub fn forget_note(&self, name: &str) -> Result<(), StoreError> {
        self.change(|db| run(db, "DELETE FROM notes WHERE name = ?1", [name]))
    }

    /// Makes a change to the notes, also to those on the disk.
    fn change(&self, change: impl Fn(&Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        if self.is_apart {
            let file = opened(&self.file, OpenFlags::default())
                .map_err(|error| self.error("cannot open the database", error))?;
            change(&file).map_err(|error| self.error("cannot write", error))?;
        }
        change(&self.db).map_err(|error| self.error("cannot write", error))
    }
}

/// A small value of the database in a directory, which is only read, and which a daemon may be writing; `None` where it
/// cannot be read.
pub fn read_note(dir: &Path, name: &str) -> Option<String> {
    let db = opened(&dir.join(super::FILE), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    db.busy_timeout(super::open::BUSY).ok()?;
    read(&db, name).ok()?
}

impl Store {
    /// Another connection, for who reads in a thread of its own; none where the database is in memory only.
    pub fn reader(&self) -> Option<Database> {
        let is_on_disk = !self.is_rehearsal && self.without_disk.is_none();
        let file = is_on_disk.then(|| self.database.file.clone())?;
        let db = opened(&file, OpenFlags::default()).ok()?;
        Some(Database { file, db, is_apart: false, noted: RefCell::default() })
    }

    /// A second way to the database, for notes only, that another thread may have.
    pub fn notes(&self) -> Result<Database, StoreError> {
        let Database { file, db: ours, .. } = &self.database;
        let is_apart = self.without_disk.is_some();
        let failed = |error| self.error("cannot open the database", error);
        let db = if is_apart { copy(Path::new(""))? } else { opened(file, OpenFlags::default()).map_err(failed)? };
        if is_apart {
            copy_some(ours, &db, |_| true).map_err(failed)?;
            // What another one has kept since is there, if it can be read.
            let newer = opened(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
            let _ = newer.and_then(|newer| copy_some(&newer, &db, |_| true));
        }
        Ok(Database { file: file.clone(), db, is_apart, noted: RefCell::default() })
    }
}

/// Writes the notes of these names in one database to another one.
pub(super) fn copy_some(from: &Connection, to: &Connection, is_meant: impl Fn(&str) -> bool) -> rusqlite::Result<()> {
    let mut query = from.prepare("SELECT name, value FROM notes")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if is_meant(&name) {
            write(to, &name, &row.get::<_, String>(1)?)?;
        }
    }
    Ok(())
}

pub(super) fn read(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM notes WHERE name = ?1", [name], |row| row.get(0)).optional()
}

pub(super) fn write(db: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    run(db, "INSERT OR REPLACE INTO notes VALUES(?1, ?2)", [name, value])
}
