//! Denies in hosts.deny, or in a list file that it names, in DenyHosts' own format.
//!
//! Promises that lines of others stay as they are, byte for byte, and that the file is at every moment
//! either the old or the new one. Allowed addresses inside a denied prefix are cut out of it by writing the
//! prefixes around them: `EXCEPT` does not work in list files (tcpdmatch shows it denied all the same).
//!
//! libwrap knows no time: a deny ends when the engine releases it. Extended attributes of the file, an SELinux label
//! among them, are *not* carried over; where SELinux is on a warning says so. An edit that falls
//! between our last look and the rename, some microseconds, is lost.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use inputs::record::Timestamp;
use jiff::tz::TimeZone;
use tracing::warn;

use crate::decide::prefix::Prefix;

use super::span::{join, without};
use super::{DenyBackend, DenyError, DenySet, Diff, Life, Probe};
use lines::{Known, pattern, render};

mod lines;

/// The hosts.deny back end. Does nothing for an sshd without libwrap.
#[derive(Debug)]
pub struct HostsDeny {
    state: Arc<Mutex<State>>,
    form: Form,
    /// Prefixes that cannot be written, so that each is named once.
    refused: BTreeSet<Prefix>,
}

/// What an administrator decides of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file. Default `/etc/hosts.deny`.
    pub path: PathBuf,
    /// What stands before the colon. Default `sshd`.
    pub service: Service,
    /// Whether a `# DenyHosts:` line with the time stands above each of ours. Default true.
    pub comment: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { path: PathBuf::from("/etc/hosts.deny"), service: Service("sshd".to_owned()), comment: true }
    }
}

/// What comes before the address: `sshd` writes `sshd: 192.0.2.1`; empty = bare addresses, for a list file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service(String);

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@'));
        if letters && text.len() <= SERVICE_MAX {
            return Ok(Service(text.to_owned()));
        }
        Err("the name of one service, such as \"sshd\", or \"ALL\", or \"\" for lines of addresses alone".to_owned())
    }
}

/// How entries look.
#[derive(Clone, Debug)]
pub struct Form {
    /// What comes before the address.
    pub service: Service,
    /// Where set, each entry has a comment above it with the time of the deny in this zone, as DenyHosts did.
    pub stamped: Option<TimeZone>,
    /// Whether entries under a `# DenyHosts:` comment that the ledger does not have are ours all the same: only
    /// where our ledger was lost, else they are DenyHosts' own.
    pub adopt: bool,
}

/// Keeps the ledger: the entries in the file that are ours, without comments.
///
/// Called before the file is written with all that will be ours whether or not the write succeeds, and after
/// it with what is. A failure stops the write. Runs on a blocking thread.
pub type KeepLedger = Box<dyn FnMut(&BTreeSet<String>) -> Result<(), String> + Send>;

struct State {
    path: PathBuf,
    /// The entries in the file that are ours.
    ledger: BTreeSet<String>,
    adopt: bool,
    /// The ledger as it was given to `keep` last: more than `ledger` if a write failed.
    kept: BTreeSet<String>,
    keep: KeepLedger,
    put_back: BTreeSet<String>,
    left_out: BTreeSet<String>,
    /// What was written last; `None` before the first write.
    want: Option<Arc<BTreeSet<String>>>,
    /// The file as we left it.
    seen: Option<Seen>,
    warned_label: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("path", &self.path).field("ours", &self.ledger.len()).finish_non_exhaustive()
    }
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl HostsDeny {
    /// A back end for the file `path`, in which the entries of `ledger` are ours.
    pub fn new(path: PathBuf, form: Form, ledger: BTreeSet<String>, keep: KeepLedger) -> Self {
        let state = State {
            path,
            kept: ledger.clone(),
            adopt: form.adopt,
            ledger,
            keep,
            put_back: BTreeSet::new(),
            left_out: BTreeSet::new(),
            want: None,
            seen: None,
            warned_label: false,
        };
        HostsDeny { state: Arc::new(Mutex::new(state)), form, refused: BTreeSet::new() }
    }

    /// The entries in the file that are ours; as given to [`KeepLedger`] last.
    pub fn ledger(&self) -> BTreeSet<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ledger.clone()
    }

    /// What is denied in the file now under `# DenyHosts:` comments, whoever wrote them.
    pub async fn kept(&self) -> Result<Vec<Prefix>, DenyError> {
        let state = Arc::clone(&self.state);
        let read = tokio::task::spawn_blocking(move || {
            let path = state.lock().unwrap_or_else(PoisonError::into_inner).path.clone();
            read(&path).map_err(|error| failed("read", &path, &error))
        });
        let failed = |cause: String| DenyError { backend: NAME, tried: "read".to_owned(), cause, remedy: None };
        let (text, ..) = read.await.map_err(|error| failed(error.to_string()))??;
        Ok(lines::stamped_entries(&text).filter_map(super::kept::entry).collect())
    }

    /// The entries for `want`.
    fn entries(&mut self, want: &DenySet, now: Timestamp) -> BTreeSet<String> {
        let allowed = join(&want.allowed);
        let mut entries = BTreeSet::new();
        for (prefix, until) in &want.denied {
            if Life::left(*until, now) == Life::Over {
                continue;
            }
            let Some(pieces) = without(*prefix, &allowed, PIECES_MAX) else {
                if self.refused.insert(*prefix) {
                    warn!(backend = NAME, %prefix, limit = PIECES_MAX, "too many allowed addresses in it; not denied here");
                }
                continue;
            };
            entries.extend(pieces.iter().map(|piece| match self.form.service.0.as_str() {
                "" => pattern(piece),
                service => format!("{service}: {}", pattern(piece)),
            }));
        }
        self.refused.retain(|prefix| want.denied.contains_key(prefix));
        entries
    }

    /// Runs file work where it may block.
    async fn work(
        &self,
        work: impl FnOnce(&mut State) -> Result<(), DenyError> + Send + 'static,
    ) -> Result<(), DenyError> {
        let state = Arc::clone(&self.state);
        let done = tokio::task::spawn_blocking(move || work(&mut state.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.unwrap_or_else(|error| {
            Err(DenyError { backend: NAME, tried: "write".to_owned(), cause: error.to_string(), remedy: None })
        })
    }
}

impl DenyBackend for HostsDeny {
    fn name(&self) -> &str {
        NAME
    }

    async fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let entries = Arc::new(self.entries(want, now));
        let stamp = self.form.stamped.as_ref().map(|zone| asctime(now, zone));
        self.work(move |state| state.write(entries, stamp.as_deref())).await
    }

    /// The same as `replace`: the file has to be read and written as a whole anyway.
    async fn update(&mut self, _diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.replace(want, now).await
    }

    /// Costs a `stat`; the file is read only if it changed.
    async fn probe(&mut self) -> Result<Probe, DenyError> {
        self.work(State::probe).await.map(|()| Probe::Ours)
    }
}

impl State {
    fn write(&mut self, want: Arc<BTreeSet<String>>, stamp: Option<&str>) -> Result<(), DenyError> {
        self.put_back.retain(|entry| want.contains(entry));
        self.left_out.retain(|entry| want.contains(entry));
        for _ in 0..TRIES_MAX {
            let target = self.target()?;
            let (old, seen, metadata) = read(&target).map_err(|error| failed("read", &target, &error))?;
            let known = Known { want: &want, ledger: &self.ledger, put_back: &self.put_back, adopt: self.adopt, stamp };
            let new = render(&old, known);
            if new.bytes != old {
                let both: BTreeSet<String> = self.ledger.union(&new.ledger).cloned().collect();
                self.keep(both)?;
                let temporary = Temporary::write(&target, &new.bytes, metadata.as_ref())?;
                if stat(&target).map_err(|error| failed("look at", &target, &error))? != seen {
                    continue; // somebody else wrote it: once more, with what they wrote
                }
                let written = temporary.seen;
                temporary.rename(&target)?;
                (self.seen, self.ledger) = (Some(written), new.ledger);
                sync_directory(&target)?;
                self.warn_label(&target);
            } else {
                (self.seen, self.ledger) = (seen, new.ledger);
            }
            self.keep(self.ledger.clone())?;
            self.tell(&target, new.put_back, new.left_out);
            self.want = Some(want);
            return Ok(());
        }
        Err(DenyError {
            backend: NAME,
            tried: format!("write {}", self.path.display()),
            cause: format!("somebody else changed it {TRIES_MAX} times meanwhile"),
            remedy: None,
        })
    }

    fn probe(&mut self) -> Result<(), DenyError> {
        let Some(want) = self.want.clone() else { return Ok(()) };
        let target = self.target()?;
        if stat(&target).map_err(|error| failed("look at", &target, &error))? == self.seen {
            return Ok(());
        }
        let (old, seen, _) = read(&target).map_err(|error| failed("read", &target, &error))?;
        // the stamp does not matter: what is compared is whether anything is to do
        let known =
            Known { want: &want, ledger: &self.ledger, put_back: &self.put_back, adopt: self.adopt, stamp: None };
        let new = render(&old, known);
        if new.bytes == old {
            self.seen = seen;
            self.tell(&target, Vec::new(), new.left_out);
            return Ok(());
        }
        Err(DenyError {
            backend: NAME,
            tried: format!("find our lines in {}", target.display()),
            cause: "somebody else changed them".to_owned(),
            remedy: Some("to release an address use: denyd forgive ADDRESS"),
        })
    }

    /// The file itself, where the path is a symbolic link: that stays a link.
    fn target(&self) -> Result<PathBuf, DenyError> {
        match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&self.path).is_err() => {
                Ok(self.path.clone())
            }
            found => found.map_err(|error| failed("follow", &self.path, &error)),
        }
    }

    fn keep(&mut self, ledger: BTreeSet<String>) -> Result<(), DenyError> {
        if ledger != self.kept {
            (self.keep)(&ledger).map_err(|cause| DenyError {
                backend: NAME,
                tried: "note which lines are ours".to_owned(),
                cause,
                remedy: None,
            })?;
            self.kept = ledger;
        }
        Ok(())
    }

    /// Warns of lines that somebody deleted, each once a way.
    fn tell(&mut self, target: &Path, put_back: Vec<String>, left_out: Vec<String>) {
        let path = target.display();
        if let Some(entry) = put_back.first() {
            let lines = put_back.len();
            warn!(%path, lines, %entry, "put back lines that were deleted; to release an address use: denyd forgive ADDRESS");
        }
        self.put_back.extend(put_back);
        for entry in left_out {
            if !self.left_out.contains(&entry) {
                warn!(%path, %entry, "deleted again, left so; it still counts as denied: use denyd forgive ADDRESS");
                self.left_out.insert(entry);
            }
        }
    }

    fn warn_label(&mut self, target: &Path) {
        if !self.warned_label && Path::new("/sys/fs/selinux/enforce").exists() {
            self.warned_label = true;
            warn!(path = %target.display(), "rewritten without its SELinux label; if sshd cannot read it: restorecon");
        }
    }
}

/// A new file beside the old one; removed again if it is not renamed.
struct Temporary {
    path: PathBuf,
    seen: Seen,
    renamed: bool,
}

impl Temporary {
    /// Writes and syncs it, with owner and mode of the old file, or 0644.
    fn write(target: &Path, bytes: &[u8], like: Option<&fs::Metadata>) -> Result<Self, DenyError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.denyd-new"));
        let fail = |error: io::Error| failed("write", &path, &error);
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match open() {
            // of a crash of ours: there is one denyd, and the name is ours
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_file(&path).and_then(|()| open()).map_err(fail)?
            }
            opened => opened.map_err(fail)?,
        };
        let none = Seen { device: 0, inode: 0, size: 0, modified: (0, 0) };
        let mut temporary = Temporary { path: path.clone(), seen: none, renamed: false };
        let mut write = || {
            file.write_all(bytes)?;
            let own = file.metadata()?;
            if let Some(like) = like.filter(|like| (like.uid(), like.gid()) != (own.uid(), own.gid())) {
                std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
            }
            let mode = like.map_or(0o644, |like| like.mode() & 0o7777);
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            file.metadata()
        };
        temporary.seen = Seen::of(&write().map_err(fail)?);
        Ok(temporary)
    }

    fn rename(mut self, target: &Path) -> Result<(), DenyError> {
        fs::rename(&self.path, target).map_err(|error| failed("replace", target, &error))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            _ = fs::remove_file(&self.path); // the error that matters is on its way already
        }
    }
}

fn sync_directory(target: &Path) -> Result<(), DenyError> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = OpenOptions::new().read(true).open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| failed("sync", directory, &error))
}

impl Seen {
    fn of(metadata: &fs::Metadata) -> Seen {
        Seen {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The bytes of a file and what it looked like when they were read; nothing for a missing one.
fn read(path: &Path) -> io::Result<(Vec<u8>, Option<Seen>, Option<fs::Metadata>)> {
    let mut file = match OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None, None)),
        opened => opened?,
    };
    // before the bytes: a change while we read shows as a difference afterwards
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("larger than {} MB", FILE_MAX >> 20)));
    }
    Ok((bytes, Some(Seen::of(&metadata)), Some(metadata)))
}

fn stat(path: &Path) -> io::Result<Option<Seen>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(|metadata| Some(Seen::of(&metadata))),
    }
}

/// `Sat Nov 21 23:38:26 2026`, as C's asctime and DenyHosts.
fn asctime(time: Timestamp, zone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default().to_zoned(zone.clone());
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> DenyError {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("free some space; the old file is still in force"),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(
            "let denyd write its directory (ReadWritePaths= in the unit), or use a list file in its state directory",
        ),
        ErrorKind::ResourceBusy => Some("it is mounted by itself and cannot be replaced: mount its directory instead"),
        ErrorKind::NotFound => Some("make its directory, or correct the path"),
        _ => None,
    };
    DenyError { backend: NAME, tried: format!("{verb} {}", path.display()), cause: error.to_string(), remedy }
}

const NAME: &str = "hosts.deny";
/// The longest name of a service, in bytes.
const SERVICE_MAX: usize = 255;
/// Lines that one denied prefix may take because of allowed addresses inside it. One address in an IPv6
/// /64 takes 64.
const PIECES_MAX: usize = 4096;
/// Rounds against somebody who writes the file at the same time.
const TRIES_MAX: usize = 5;
/// libwrap reads the whole file for every connection; one as large as this is a mistake. 1 000 000 entries fit.
const FILE_MAX: u64 = 128 << 20;
