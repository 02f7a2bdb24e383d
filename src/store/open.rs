//! Opening the database: its lock, its schema, and what happens to one that is none any more.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, OFlag};
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use crate::whose;

/// Migrations, in order; `PRAGMA user_version` counts how many were applied. Never change one that was released.
pub(super) const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    ALTER TABLE tallies ADD COLUMN sound BLOB;
",
    // A connection of which a forgeable line told is one of all lines; its facts carry no trust any more.
    "
    UPDATE sessions SET key = '{\"all\":' || key || '}' WHERE session LIKE '%\"Forgeable\"%';
    UPDATE sessions SET session = replace(replace(replace(replace(session,
        '\"offered\":\"Sound\"', '\"offered\":true'), '\"offered\":\"Forgeable\"', '\"offered\":true'),
        '\"succeeded\":\"Sound\"', '\"succeeded\":true'), '\"succeeded\":\"Forgeable\"', '\"succeeded\":true');
",
    // What a deny rested on was told by its length until then: nothing that was forgeable lasted longer than an hour.
    // Its threshold was less than the count.
    r#"
    ALTER TABLE denies ADD COLUMN reason TEXT NOT NULL DEFAULT '"adopted"';
    UPDATE denies SET reason = '{"operator":{}}' WHERE claimant = 'operator';
    UPDATE denies SET reason = json_object('policy', json_object('class', class, 'count', count,
        'threshold', max(count - 1, 0), 'basis', iif(until <= since + 3600000000, 'forgeable', 'sound')))
        WHERE claimant = 'policy' AND class IS NOT NULL;
    ALTER TABLE denies DROP COLUMN class;
    ALTER TABLE denies DROP COLUMN count;
"#,
    "
    CREATE TABLE followers(name TEXT PRIMARY KEY, seen INT NOT NULL, missed INT NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE nets(prefix BLOB, world INT, net TEXT NOT NULL, PRIMARY KEY(prefix, world)) WITHOUT ROWID;
",
    "
    ALTER TABLE history ADD COLUMN forgeable INT NOT NULL DEFAULT 0;
    CREATE INDEX history_forgeable ON history(id) WHERE forgeable;
",
    "
    CREATE TABLE familiar(prefix BLOB PRIMARY KEY, login INT NOT NULL, probation INT NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE live(peer BLOB, port INT, host INT, user BLOB NOT NULL, pid INT, since INT NOT NULL,
        PRIMARY KEY(peer, port, host)) WITHOUT ROWID;
",
    "
    CREATE TABLE forgives(prefix BLOB PRIMARY KEY, at INT NOT NULL) WITHOUT ROWID;
",
    "
    ALTER TABLE evidence ADD COLUMN user BLOB;
    ALTER TABLE evidence ADD COLUMN times INT NOT NULL DEFAULT 1;
    CREATE INDEX history_suspicious ON history(id) WHERE substr(decision, 1, 24) = '{\"decision\":\"suspicious\"';
",
    // Who was tried from where, by what is kept as evidence; and when users were tried and addresses released last.
    "
    CREATE TABLE pairs(prefix BLOB, user BLOB, attempts INT NOT NULL, sound INT NOT NULL, last INT NOT NULL, login INT,
        PRIMARY KEY(prefix, user)) WITHOUT ROWID;
    CREATE INDEX pairs_by_user ON pairs(user);
    CREATE INDEX pairs_forgeable ON pairs(last) WHERE sound = 0 AND login IS NULL;
    INSERT INTO pairs(prefix, user, attempts, sound, last)
        SELECT prefix, user, sum(times), iif(sound = x'0000000000', 0, sum(times)), max(at)
        FROM evidence LEFT JOIN tallies USING (prefix) WHERE user IS NOT NULL GROUP BY prefix, user;
    ALTER TABLE users ADD COLUMN last INT;
    ALTER TABLE released ADD COLUMN last INT;
",
    // Who logged in from where too many had failed, by what another program knew before us.
    "
    CREATE TABLE suspected(address BLOB, user BLOB, times INT NOT NULL, last INT NOT NULL, PRIMARY KEY(address, user))
        WITHOUT ROWID;
",
    // Slow attacks by many: who failed from where nobody logged in, and what they try.
    "
    CREATE TABLE strangers(prefix BLOB PRIMARY KEY, stranger TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE targets(place INTEGER PRIMARY KEY, target TEXT NOT NULL);
",
];

/// Pages of the database that are held in memory, in KiB. With SQLite's own 2000 most are read anew for each commit
/// when many addresses fail.
const CACHE_KIB: i64 = 7 * 1024;

/// Whoever looks into it with sqlite3 holds up the engine no longer than this; a commit is tried again anyway.
pub(super) const BUSY: Duration = Duration::from_millis(200);

/// Where files are in memory: every Linux has it.
const MEMORY: &str = "/dev/shm";

/// Sees that nobody but root and ourselves may write a directory.
fn own(dir: &Path) -> Result<(), StoreError> {
    let found = fs::metadata(dir).map_err(|error| StoreError::Directory { dir: dir.to_owned(), error })?;
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    let open = |why: String, remedy: String| Err(StoreError::Open { dir: dir.to_owned(), why, remedy });
    if mode & 0o022 != 0 {
        return open(format!("its mode is {mode:04o}"), format!("chmod go-w {}", dir.display()));
    }
    // root asks about what the daemon's user has.
    let ours = nix::unistd::geteuid().as_raw();
    if ![0, owner].contains(&ours) && owner != 0 {
        return open(format!("it belongs to uid {owner}"), format!("chown {ours} {}", dir.display()));
    }
    Ok(())
}

/// Makes the state directory (0700) and takes its lock; the holder's pid is in the lock file. Neither lock nor database may be
/// a link: root opens them in a directory that is the daemon's user's.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let failed = |error| StoreError::Directory { dir: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    own(dir)?;
    let path = dir.join(super::LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = options.open(&path);
    // Where nothing can be written, it can be locked.
    let file = file.or_else(|error| options.write(false).create(false).open(&path).map_err(|_| error));
    let file = file.and_then(|file| whose::give(&file, dir).map(|()| file));
    match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // The pid is for people alone, and the disk may be full.
            let _ = lock.set_len(0).and_then(|()| lock.rewind());
            let _ = writeln!(lock, "{}", std::process::id());
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

pub(super) fn connect(file: &Path) -> Result<Connection, StoreError> {
    // People type passwords as user names: nobody else reads this.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(file)
        .and_then(|made| {
            // SQLite gives the files beside it to the same owner.
            whose::give(&made, file.parent().unwrap_or(file))?;
            made.set_permissions(fs::Permissions::from_mode(0o600))
        })
        .map_err(|error| StoreError::Directory { dir: file.parent().unwrap_or(file).to_owned(), error })?;
    let db = opened(file, OpenFlags::default()).map_err(|error| failed(file, "cannot open the database", error))?;
    set_up(db, file)
}

/// Opens a database that is no link, whatever became of the file since it was looked at. The way to it may have links.
pub(super) fn opened(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let real = file.parent().and_then(|dir| fs::canonicalize(dir).ok()).zip(file.file_name());
    let real = real.map_or_else(|| file.to_owned(), |(dir, name)| dir.join(name));
    Connection::open_with_flags(real, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW)
}

/// A copy in memory of what `file` holds, which is only read; empty where there is none.
pub(super) fn copy(file: &Path) -> Result<Connection, StoreError> {
    let failed = |error| failed(file, "cannot read the database", error);
    let mut copy = Connection::open_in_memory().map_err(failed)?;
    if file.exists() {
        let real = opened(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        real.busy_timeout(BUSY).map_err(failed)?;
        let backup = Backup::new(&real, &mut copy).map_err(failed)?;
        // All at once, or a daemon that writes meanwhile would make it begin anew for ever.
        backup.run_to_completion(i32::MAX, BUSY, None).map_err(failed)?;
    }
    set_up(copy, file)
}

/// The same where SQLite cannot read it, since the disk is full or cannot be written: its files are copied to memory first.
/// For a moment they are in a directory there that nobody else may read, nor make before by a name that can be guessed.
pub(super) fn copy_of_files(file: &Path) -> Result<Connection, StoreError> {
    let made = nix::unistd::mkdtemp(&Path::new(MEMORY).join("denyd-XXXXXX"));
    let memory = made.map_err(|errno| StoreError::Directory { dir: MEMORY.into(), error: errno.into() })?;
    let broken = |error| StoreError::Directory { dir: memory.clone(), error };
    let copied = memory.join(super::FILE);
    let all =
        ["", "-wal"].iter().try_for_each(|suffix| match fs::copy(beside(file, suffix), beside(&copied, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
    let read = all.map_err(|error| StoreError::Directory { dir: file.to_owned(), error }).and_then(|()| copy(&copied));
    fs::remove_dir_all(&memory).map_err(broken)?;
    read
}

pub(super) fn failed(file: &Path, tried: &'static str, error: rusqlite::Error) -> StoreError {
    StoreError::Sqlite { file: file.to_owned(), tried, error }
}

/// Sets a connection up, checks what is there, and brings its schema up to date.
fn set_up(mut db: Connection, file: &Path) -> Result<Connection, StoreError> {
    let failed = |tried| move |error| failed(file, tried, error);
    db.busy_timeout(BUSY).map_err(failed("cannot set up"))?;
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
    db.pragma_update(None, "cache_size", -CACHE_KIB).map_err(failed("cannot set up"))?;
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

/// Moves a database, and what belongs to it, out of the way: what it is goes into the name.
pub(super) fn set_aside(file: &Path, what: &str) -> std::io::Result<PathBuf> {
    let stamp = crate::clock::now().secs();
    let aside = beside(file, &format!(".{what}-{stamp}"));
    fs::rename(file, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match fs::rename(beside(file, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Whether such a one was set aside and is still there.
pub(super) fn is_set_aside(file: &Path, what: &str) -> bool {
    let begin = beside(file, &format!(".{what}-"));
    let all = file.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    all.map(|one| one.path())
        .any(|path| path.as_os_str().as_encoded_bytes().starts_with(begin.as_os_str().as_encoded_bytes()))
}

/// The file whose name goes on with `suffix`.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
