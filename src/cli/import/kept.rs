//! What was before an import, for `--undo`: a copy of each file that is changed by it, or that the daemon keeps from then on.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::found::{Found, all_files, if_there};
use super::plan::Plan;
use crate::compat::files;
use crate::deny::hosts_deny;
use crate::deny::iptables::old::Old as Rule;
use crate::deny::ledger::Lines;
use crate::text::At;

/// The directory in the state directory that has all of it.
const DIRECTORY: &str = "before-import";
/// The file in it that says what it has.
const MANIFEST: &str = "import.json";
/// The copy of the database.
const DATABASE: &str = "database";

/// What was before an import.
#[derive(Serialize, Deserialize)]
pub(super) struct Before {
    /// When it was.
    pub(super) at: At,
    /// The configuration of DenyHosts.
    pub(super) source: PathBuf,
    /// Whether there was a database.
    had_database: bool,
    /// The files as they were.
    files: Vec<Copy>,
    /// The lines of hosts.deny that became ours, or were.
    entries: BTreeSet<String>,
    /// The program of the rules.
    iptables: Option<PathBuf>,
    /// The rules that were to be taken away.
    rules: Vec<Rule>,
}

/// A file as it was.
#[derive(Serialize, Deserialize)]
struct Copy {
    file: PathBuf,
    /// Its copy's name, mode, owner and group; `None` if it was not there.
    copy: Option<(String, u32, u32, u32)>,
    /// When it was written, in seconds and nanoseconds; `None` of what an earlier version kept.
    #[serde(default)]
    written: Option<(i64, i64)>,
    /// Whether others write it, too, so that it is only put back as a whole where they did not.
    is_shared: bool,
}

/// Where it is kept.
pub(super) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY)
}

impl Before {
    /// What was kept of an import, if there was one.
    pub(super) fn read(state_dir: &Path) -> anyhow::Result<Option<Before>> {
        let file = directory(state_dir).join(MANIFEST);
        let text = if_there(fs::read(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        let read =
            |text: Vec<u8>| serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()));
        text.map(read).transpose()
    }

    /// Copies what an import is about to change. Once this returns, all of it outlasts a crash.
    pub(super) fn keep(state_dir: &Path, found: &Found, plan: &Plan, at: At) -> anyhow::Result<Before> {
        let ours = written_before(state_dir, &found.old.hosts_deny)?;
        let dir = directory(state_dir);
        let failed = || format!("cannot keep what was before in {}", dir.display());
        // Without a manifest it is the beginning of one that was broken off, before anything was changed.
        if_there(fs::remove_dir_all(&dir)).with_context(failed)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(failed)?;
        let had_database = state_dir.join(crate::store::FILE).exists();
        if had_database {
            crate::store::backup(state_dir, &dir.join(DATABASE), at.0)?;
        }
        let work_dir = found.old.work_dir.iter().flat_map(|dir| all_files().map(|name| dir.join(name)));
        let shared = [(found.old.hosts_deny.clone(), true)];
        let mut copies = Vec::new();
        for (number, (file, is_shared)) in (1..).zip(work_dir.map(|file| (file, false)).chain(shared)) {
            let name = format!("{number}");
            let found = copied(&file, &dir.join(&name)).with_context(failed)?;
            let copy = found.as_ref().map(|found| (name, found.mode() & 0o7777, found.uid(), found.gid()));
            copies.push(Copy {
                file,
                copy,
                written: found.map(|found| (found.mtime(), found.mtime_nsec())),
                is_shared,
            });
        }
        let before = Before {
            at,
            source: found.file.clone(),
            had_database,
            files: copies,
            entries: plan.entries.iter().map(|one| one.entry.clone()).chain(ours).collect(),
            iptables: found.old.iptables.clone(),
            rules: plan.rules.clone(),
        };
        let manifest = serde_json::to_vec(&before)?;
        written(&dir.join(MANIFEST), &manifest, 0o600).with_context(failed)?;
        File::open(state_dir).and_then(|dir| dir.sync_all()).with_context(failed)?;
        Ok(before)
    }

    /// The program of the rules, and the rules; nothing where there are none.
    pub(super) fn rules(&self) -> Option<(&Path, &[Rule])> {
        self.iptables.as_deref().filter(|_| !self.rules.is_empty()).map(|program| (program, &*self.rules))
    }

    /// The lines of hosts.deny that became ours, or were.
    pub(super) fn entries(&self) -> &BTreeSet<String> {
        &self.entries
    }

    /// Whether a file is among those that are put back.
    pub(super) fn has(&self, file: &Path) -> bool {
        self.files.iter().any(|copy| copy.file == file)
    }

    /// The copy of the database, if there was one.
    pub(super) fn database(&self, state_dir: &Path) -> Option<PathBuf> {
        self.had_database.then(|| directory(state_dir).join(DATABASE))
    }

    /// Puts the files back; says what was done where that is not simply that.
    pub(super) fn put_back(&self, state_dir: &Path) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        for Copy { file, copy, written, is_shared } in &self.files {
            let failed = || format!("cannot put {} back", file.display());
            let now = load(file).with_context(failed)?;
            let Some((name, mode, uid, gid)) = copy else {
                // It came since; one that others write too may be theirs.
                if now.is_some_and(|now| !is_shared || now.is_empty()) {
                    fs::remove_file(file).with_context(failed)?;
                }
                continue;
            };
            let then = load(&directory(state_dir).join(name)).with_context(failed)?;
            let then = then.with_context(|| format!("the copy of {} is gone", file.display()))?;
            let is_whole = !is_shared || self.are_alike(now.as_deref().unwrap_or_default(), &then);
            // Who wrote it since is not to be told that it is as it was.
            let written = written.filter(|_| is_whole);
            let is_there = now.is_some();
            let now = now.unwrap_or_default();
            let text = match !is_whole {
                false => then,
                true => {
                    told.push(format!(
                        "{} was changed by others since, so the entries of DenyHosts were put back at its end",
                        file.display()
                    ));
                    self.with_entries(now.clone(), &then)
                }
            };
            let is_as_it_was = |found: fs::Metadata| {
                (found.mode() & 0o7777, found.uid(), found.gid()) == (*mode, *uid, *gid)
                    && written.is_none_or(|written| written == (found.mtime(), found.mtime_nsec()))
            };
            if !is_there || text != now || !fs::metadata(file).is_ok_and(is_as_it_was) {
                replaced(file, &text, *mode, (*uid, *gid), written).with_context(failed)?;
            }
        }
        Ok(told)
    }

    /// Whether two texts differ by nothing but lines that became ours, with their comments.
    fn are_alike(&self, now: &[u8], then: &[u8]) -> bool {
        let others = |text| lines(text).map(ended).filter(|line| !self.is_ours(line)).map(<[u8]>::to_vec);
        others(now).eq(others(then))
    }

    /// The text with the entries of DenyHosts that it lacks.
    fn with_entries(&self, mut now: Vec<u8>, then: &[u8]) -> Vec<u8> {
        let there: BTreeSet<Vec<u8>> = lines(&now).map(|line| ended(line).to_vec()).collect();
        let lost = lines(then).filter(|line| self.is_ours(line) && !there.contains(ended(line)));
        if !now.is_empty() && !now.ends_with(b"\n") {
            now.push(b'\n');
        }
        let lost: Vec<_> = lost.flat_map(|line| [ended(line), b"\n"].concat()).collect();
        now.extend(lost);
        now
    }

    /// Whether a line is an entry that became ours, or the comment of one.
    fn is_ours(&self, line: &[u8]) -> bool {
        let line = ended(line);
        let entry = match line.starts_with(b"# DenyHosts: ") {
            true => line.windows(3).position(|part| part == b" | ").map_or(line, |at| &line[at + 3..]),
            false => line,
        };
        std::str::from_utf8(entry).is_ok_and(|entry| self.entries.contains(entry))
    }

    /// Forgets what was kept.
    pub(super) fn forget(state_dir: &Path) -> anyhow::Result<()> {
        let dir = directory(state_dir);
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
    }
}

/// Lines with their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// A line without its end.
fn ended(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// The lines of hosts.deny that a denyd had written before.
fn written_before(state_dir: &Path, hosts_deny: &Path) -> anyhow::Result<Vec<String>> {
    if !state_dir.join(crate::store::FILE).exists() {
        return Ok(Vec::new());
    }
    let ledger = crate::store::Store::open_intact(state_dir)?.database.note(&hosts_deny::note(hosts_deny))?;
    let lines: Lines = ledger.map_or_else(|| Ok(Lines::new()), |ledger| serde_json::from_str(&ledger))?;
    Ok(lines.into_keys().collect())
}

/// What stands in a file, which has an end; `None` if it is not there.
fn load(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let (dir, name) = (file.parent().unwrap_or(Path::new("/")), file.file_name().unwrap_or_default());
    files::load(dir, &name.to_string_lossy())
}

/// Copies a file, and says what it was like; `None` if it is not there.
fn copied(file: &Path, copy: &Path) -> io::Result<Option<fs::Metadata>> {
    let Some(text) = load(file)? else { return Ok(None) };
    let found = fs::metadata(file)?;
    written(copy, &text, 0o600)?;
    Ok(Some(found))
}

/// Writes a file that is not there yet, down to the disk.
fn written(file: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Puts a file in the place of another one, whose extended attributes it has, or where there is none.
fn replaced(
    file: &Path,
    text: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
    modified: Option<(i64, i64)>,
) -> io::Result<()> {
    let file = if_there(fs::canonicalize(file))?.unwrap_or_else(|| file.to_owned());
    let mut fresh = file.clone().into_os_string();
    fresh.push(".denyd-undo");
    let fresh = PathBuf::from(fresh);
    if_there(fs::remove_file(&fresh))?;
    let done = written(&fresh, text, 0o600)
        .and_then(|()| chown(&fresh, Some(uid), Some(gid)))
        .and_then(|()| {
            let open = OpenOptions::new().write(true).open(&fresh)?;
            let _ = hosts_deny::copy_attributes(&file, &open);
            open.set_permissions(fs::Permissions::from_mode(mode))?;
            let modified = modified.and_then(|(seconds, nanos)| {
                Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
            });
            modified.map_or(Ok(()), |modified| open.set_modified(UNIX_EPOCH + modified))
        })
        .and_then(|()| fs::rename(&fresh, &file))
        .and_then(|()| File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all());
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}
