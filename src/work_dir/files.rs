//! The files themselves: what stands in them, how they are written, and whose they must be.
//!
//! Whoever can write them could forgive addresses, so nobody but root and the daemon's own user may. A file is at every moment
//! the old or the new one: it is written beside the old one, synced, and takes its name. As the directory is nobody else's, that is
//! done by paths, and not as [`crate::spot`] does it where others may write, too.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use inputs::record::Timestamp;
use jiff::tz::TimeZone;
use nix::fcntl::OFlag;
use nix::unistd::AccessFlags;

use crate::compat::files::{self as formats, Count, write_counts};
use crate::desk::{Failed, Kept};
use crate::detect::event::Account;
use crate::spot::Seen;
use crate::whose::{self, Others};

/// The files of DenyHosts that say who failed: who is deleted from all of these is forgiven.
const HOSTS: [&str; 4] = [formats::HOSTS, formats::HOSTS_VALID, formats::HOSTS_ROOT, formats::HOSTS_RESTRICTED];
/// All files that are kept current.
const ALL: [&str; 9] = [
    HOSTS[0],
    HOSTS[1],
    HOSTS[2],
    HOSTS[3],
    formats::USERS_INVALID,
    formats::USERS_VALID,
    formats::USERS_HOSTS,
    formats::SUSPICIOUS_LOGINS,
    formats::PURGE_HISTORY,
];
/// What says that the files are ours.
const MARK: &str = ".denyd";
/// What stands in it.
const MARKED: &str =
    "denyd keeps the files of DenyHosts here current. What DenyHosts itself had written is in NAME.denyhosts.\n";
/// What the name of a file ends in that DenyHosts itself had written.
const BEFORE: &str = "denyhosts";

/// What stands in each file.
pub(super) fn render(kept: &Kept, now: Timestamp, zone: &TimeZone) -> Vec<(&'static str, Vec<u8>)> {
    let count = |count: u64, at: Timestamp| Count { count, at: Some(at) };
    let hosts = |(name, failed): (&'static str, &Vec<Failed>)| {
        let rows = failed.iter().map(|(prefix, times, at)| (prefix.address(), count((*times).into(), *at)));
        (name, write_counts(rows, now, zone))
    };
    let is_invalid = |account: Account| account == Account::Unknown;
    let users = |name: &'static str, invalid: bool| {
        let rows = kept.users.iter().filter(|(_, counts)| is_invalid(counts.account) == invalid);
        (name, write_counts(rows.map(|(user, one)| (user.clone(), count(one.attempts, one.last))), now, zone))
    };
    let pair = |user: &[u8], address| formats::Pair { user: user.into(), address };
    let pairs = kept.pairs.iter().filter(|one| one.attempts > 0 && !is_invalid(one.account));
    let pairs = pairs.map(|one| (pair(&one.user, one.prefix.address()), count(one.attempts, one.last)));
    let logins = kept.suspicious.iter().map(|(address, user, times, at)| (pair(user, *address), count(*times, *at)));
    let released = kept.released.iter();
    let released = released.map(|one| (one.prefix.address(), count(one.times.into(), one.last.unwrap_or_default())));
    HOSTS
        .into_iter()
        .zip(&kept.failed)
        .map(hosts)
        .chain([
            users(formats::USERS_INVALID, true),
            users(formats::USERS_VALID, false),
            (formats::USERS_HOSTS, write_counts(pairs, now, zone)),
            (formats::SUSPICIOUS_LOGINS, write_counts(logins, now, zone)),
            (formats::PURGE_HISTORY, write_counts(released, now, zone)),
        ])
        .collect()
}

/// The directory itself, made if it is not there, once it is seen that nobody else may write it or put another in its place.
pub(super) fn own(dir: &Path) -> Result<PathBuf, String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    if let Err(error) = DirBuilder::new().mode(0o700).create(dir)
        && error.kind() != ErrorKind::AlreadyExists
        && !dir.exists()
    {
        return Err(failed(dir, error));
    }
    let others = |others: Others| format!("somebody else could forgive addresses there: {others}");
    whose::closed_place(dir).map_err(|error| failed(dir, error))?.map_err(others)?;
    let real = fs::canonicalize(dir).map_err(|error| failed(dir, error))?;
    match fs::metadata(&real).map_err(|error| failed(&real, error))?.is_dir() {
        true => Ok(real),
        false => Err(format!("{} is no directory", real.display())),
    }
}

/// Sees that [`own`] would take it, and that we may write there.
pub(super) fn usable(dir: &Path) -> Result<(), String> {
    let place = if dir.exists() { dir } else { dir.parent().unwrap_or(dir) };
    let failed = |error: io::Error| format!("{} cannot be written: {error}", place.display());
    let others = |others: Others| format!("somebody else could forgive addresses there: {others}");
    whose::closed_place(place).map_err(failed)?.map_err(others)?;
    if !place.is_dir() {
        return Err(format!("{} is no directory", place.display()));
    }
    nix::unistd::access(place, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| failed(errno.into()))
}

/// Sees that nobody else may write it.
fn closed(path: &Path, found: &fs::Metadata) -> Result<(), String> {
    whose::closed(path, found).map_err(|others| format!("somebody else could forgive addresses there: {others}"))
}

/// Makes the files there ours, the first time: what DenyHosts itself had written is kept beside them.
pub(super) fn take(dir: &Path) -> Result<(), String> {
    let mark = dir.join(MARK);
    if mark.exists() {
        return Ok(());
    }
    for path in ALL.iter().map(|name| dir.join(name)) {
        let before = path.with_extension(BEFORE);
        match fs::hard_link(&path, &before) {
            Err(error) if ![ErrorKind::NotFound, ErrorKind::AlreadyExists].contains(&error.kind()) => {
                return Err(format!("what stands in {} cannot be kept: {error}", path.display()));
            }
            _ => {}
        }
    }
    write(dir, MARK, MARKED.as_bytes(), &mut |_| Ok(())).map(|_| ())
}

/// Whether a file is still as it was seen.
pub(super) fn is_still(seen: &Seen, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| Seen::of(&found) == *seen)
}

/// What may fail on the way, and a test makes fail.
pub(super) type Step<'a> = &'a mut dyn FnMut(&'static str) -> io::Result<()>;

/// Sees that the names of files outlast a crash: once for all that were written.
pub(super) fn sync(dir: &Path) -> Result<(), String> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| format!("cannot sync {}: {error}", dir.display()))
}

/// Puts a file in the place of the old one, whose mode it has, but for others' right to write. [`sync`] is to follow.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8], step: Step<'_>) -> Result<Seen, String> {
    let (target, new) = (dir.join(name), dir.join(format!(".{name}.denyd-new")));
    let mode = fs::symlink_metadata(&target).ok().filter(fs::Metadata::is_file);
    let mode = mode.map_or(0o600, |found| found.mode() & 0o755);
    let _ = fs::remove_file(&new); // left of a crash of ours: the directory is nobody else's
    let mut written = || -> io::Result<Seen> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        step("create")?;
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half])?;
        step("write")?;
        file.write_all(&bytes[half..])?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        step("sync")?;
        file.sync_all()?;
        let seen = Seen::of(&file.metadata()?);
        step("rename")?;
        fs::rename(&new, &target)?;
        step("after it")?;
        Ok(seen)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&new);
        format!("cannot write {}: {error}", target.display())
    })
}

/// The bytes of a file; `None` if it is not there. A link is no file of ours, and one that others may write is none either.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let path = dir.join(name);
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    closed(&path, &found)?;
    let mut bytes = Vec::new();
    file.take(formats::FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > formats::FILE_MAX {
        true => Err(format!("{} has more than {} MiB", path.display(), formats::FILE_MAX >> 20)),
        false => Ok(Some(bytes)),
    }
}

/// Who is listed in the files that say who failed. One that is missing lists nobody, where that `may` be.
pub(super) fn listed(dir: &Path, may_miss: bool) -> Result<BTreeSet<IpAddr>, String> {
    let mut all = BTreeSet::new();
    for name in HOSTS {
        let bytes = match read(dir, name)? {
            None if !may_miss => return Err(format!("{} is missing", dir.join(name).display())),
            bytes => bytes.unwrap_or_default(),
        };
        let found = formats::counts::<IpAddr>(&bytes, &TimeZone::system());
        if let Some(bad) = found.bad.first() {
            return Err(format!("{}:{}: {}", dir.join(name).display(), bad.line, bad.why));
        }
        all.extend(found.records.into_keys());
    }
    Ok(all)
}
