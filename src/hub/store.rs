//! The hub's SQLite: its tables, and how it is opened. One writes it, whoever holds its lock; others may read meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, OFlag};
use rusqlite::{Connection, OpenFlags};

/// The database in the hub's state directory.
pub const FILE: &str = "hub.db";

/// What a running hub has locked there.
const LOCK: &str = "lock";

/// Migrations, in order; `PRAGMA user_version` counts how many were applied. Never change one that was released.
///
/// All times are seconds of the epoch. A reporter is `token:NAME`, or `net:` and the /32 or /48 that it reports from; none
/// of them leaves the hub. An address is its canonical text. A reporter has up to three rows of a host, see [`super::due`].
const MIGRATIONS: &[&str] = &["
    CREATE TABLE reporters(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_time INT NOT NULL,
        latest_time INT NOT NULL);
    CREATE TABLE hosts(id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, first_time INT NOT NULL,
        latest_time INT NOT NULL, resiliency INT NOT NULL, total_reports INT NOT NULL, current_reports INT NOT NULL);
    CREATE INDEX hosts_by_latest ON hosts(latest_time);
    CREATE INDEX hosts_by_current ON hosts(current_reports, latest_time);
    CREATE TABLE reports(host INT NOT NULL, reporter INT NOT NULL, first_time INT NOT NULL, latest_time INT NOT NULL,
        PRIMARY KEY(host, reporter, first_time)) WITHOUT ROWID;
    CREATE INDEX reports_by_latest ON reports(latest_time);
    CREATE TABLE hours(hour INTEGER PRIMARY KEY, reports INT NOT NULL, new_hosts INT NOT NULL);
    CREATE TABLE days(day INTEGER PRIMARY KEY, reports INT NOT NULL, new_hosts INT NOT NULL, reporters INT NOT NULL);
"];

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory or a file in it.
    #[error("{}: {error}; its owner is who runs the hub (state_dir)", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Somebody else writes it.
    #[error("a hub runs with {}; stop it first", .0.display())]
    Locked(PathBuf),
    /// There is none.
    #[error("there is no hub's database in {}; see state_dir, or --state", .0.display())]
    Missing(PathBuf),
    /// It is of a later version.
    #[error("{} was written by a newer denyd; install that one again", .0.display())]
    Newer(PathBuf),
    /// SQLite.
    #[error("the hub's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Holds the state directory for one writer.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "it is held, not read")] Flock<File>);

/// Makes the state directory (0700) if there is none, and locks it.
pub fn lock(dir: &Path) -> Result<Lock, Error> {
    let failed = |error| Error::File { path: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let file = private(&dir.join(LOCK)).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Lock(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Error::Locked(dir.to_owned())),
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

/// Opens a file that nobody else may read, and that is no link; makes it if it is not there.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens the database for who holds the lock, and makes it if there is none. What was committed is on the disk.
pub fn open(dir: &Path) -> Result<Connection, Error> {
    let path = dir.join(FILE);
    private(&path).map_err(|error| Error::File { path: path.clone(), error })?;
    let db = Connection::open(&path)?;
    set_up(db, &path)
}

fn set_up(mut db: Connection, path: &Path) -> Result<Connection, Error> {
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    let done: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(Error::Newer(path.to_owned()));
    }
    let change = db.transaction()?;
    for migration in &MIGRATIONS[done..] {
        change.execute_batch(migration)?;
    }
    change.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    change.commit()?;
    Ok(db)
}

/// Opens the database only to read it, while a hub may write it.
pub fn open_to_read(dir: &Path) -> Result<Connection, Error> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(Error::Missing(dir.to_owned()));
    }
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(5))?;
    Ok(db)
}

/// Copies the database into `file`, which must not be there, as it is at one moment; a hub may write it meanwhile. Nobody
/// else may read the copy.
pub fn backup(dir: &Path, file: &Path) -> Result<(), Error> {
    let failed = |error| Error::File { path: file.to_owned(), error };
    if file.symlink_metadata().is_ok() {
        return Err(failed(std::io::Error::other("it is there already; name another one")));
    }
    let db = open_to_read(dir)?;
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let done = (|| {
        let mut made = OpenOptions::new();
        made.write(true).create_new(true).mode(0o600).open(&fresh).map_err(failed)?;
        db.execute("VACUUM INTO ?1", [fresh.to_str().ok_or_else(|| failed(std::io::Error::other("not UTF-8")))?])?;
        File::open(&fresh).and_then(|copy| copy.sync_all()).map_err(failed)?;
        fs::rename(&fresh, file).map_err(failed)
    })();
    if done.is_err() {
        let _ = fs::remove_file(fresh);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_and_others_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        assert!(matches!(open_to_read(&state), Err(Error::Missing(_))));
        let held = lock(&state).expect("a lock");
        assert!(matches!(lock(&state), Err(Error::Locked(_))));
        let db = open(&state).expect("a database");
        db.execute("INSERT INTO hosts VALUES(1, '192.0.2.1', 1, 2, 1, 3, 2)", []).expect("a row");
        let reader = open_to_read(&state).expect("a reader");
        let count: i64 = reader.query_row("SELECT count(*) FROM hosts", [], |row| row.get(0)).expect("a count");
        assert_eq!(count, 1);
        assert!(reader.execute("DELETE FROM hosts", []).is_err());
        let mode = |path: PathBuf| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode(state.clone()), mode(state.join(FILE))), (0o700, 0o600));
        db.pragma_update(None, "user_version", 99).expect("a version");
        drop((db, reader));
        assert!(matches!(open(&state), Err(Error::Newer(_))));
        drop(held);
        lock(&state).expect("the lock again");
        assert!(set_up(Connection::open_in_memory().expect("memory"), Path::new(FILE)).is_ok());
    }
}
