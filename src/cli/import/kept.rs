//! What was before an import, for `--undo`: a copy of each file that is changed by it, or that the daemon keeps from then on.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::found::{Found, all_files, if_there};
use super::plan::Plan;
use crate::compat::files;
use crate::deny::iptables::old::Old as Rule;
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
    /// The lines of hosts.deny that became ours.
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
            let copy = copied(&file, &dir.join(&name)).with_context(failed)?;
            copies.push(Copy { file, copy: copy.map(|(mode, uid, gid)| (name, mode, uid, gid)), is_shared });
        }
        let before = Before {
            at,
            source: found.file.clone(),
            had_database,
            files: copies,
            entries: plan.entries.iter().map(|one| one.entry.clone()).collect(),
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

    /// The copy of the database, if there was one.
    pub(super) fn database(&self, state_dir: &Path) -> Option<PathBuf> {
        self.had_database.then(|| directory(state_dir).join(DATABASE))
    }

    /// Puts the files back; says what was done where that is not simply that.
    pub(super) fn put_back(&self, state_dir: &Path) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        for Copy { file, copy, is_shared } in &self.files {
            let failed = || format!("cannot put {} back", file.display());
            let now = if_there(fs::read(file)).with_context(failed)?;
            let Some((name, mode, uid, gid)) = copy else {
                // It came since; one that others write too may be theirs.
                if now.is_some_and(|now| !is_shared || now.is_empty()) {
                    fs::remove_file(file).with_context(failed)?;
                }
                continue;
            };
            let then = fs::read(directory(state_dir).join(name)).with_context(failed)?;
            let now = now.unwrap_or_default();
            let text = match *is_shared && !self.only_ours_are_missing(&now, &then) {
                false => then,
                true => {
                    told.push(format!(
                        "{} was changed by others since, so the entries of DenyHosts were put back at its end",
                        file.display()
                    ));
                    self.with_entries(now.clone(), &then)
                }
            };
            if text != now {
                replaced(file, &text, *mode, (*uid, *gid)).with_context(failed)?;
            }
        }
        Ok(told)
    }

    /// Whether a file lacks nothing but lines that became ours, with their comments, and has nothing new.
    fn only_ours_are_missing(&self, now: &[u8], then: &[u8]) -> bool {
        let mut now = lines(now).peekable();
        for line in lines(then) {
            if now.peek().is_some_and(|next| ended(next) == ended(line)) {
                now.next();
            } else if !self.is_ours(line) {
                return false;
            }
        }
        now.next().is_none()
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

/// Copies a file, and says its mode, owner and group; `None` if it is not there.
fn copied(file: &Path, copy: &Path) -> io::Result<Option<(u32, u32, u32)>> {
    let (dir, name) = (file.parent().unwrap_or(Path::new("/")), file.file_name().unwrap_or_default());
    let Some(text) = files::load(dir, &name.to_string_lossy())? else { return Ok(None) };
    let found = fs::metadata(file)?;
    written(copy, &text, 0o600)?;
    Ok(Some((found.mode() & 0o7777, found.uid(), found.gid())))
}

/// Writes a file that is not there yet, down to the disk.
fn written(file: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Puts a file in the place of another one, or where there is none.
fn replaced(file: &Path, text: &[u8], mode: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    let file = if_there(fs::canonicalize(file))?.unwrap_or_else(|| file.to_owned());
    let mut fresh = file.clone().into_os_string();
    fresh.push(".denyd-undo");
    let fresh = PathBuf::from(fresh);
    if_there(fs::remove_file(&fresh))?;
    let done = written(&fresh, text, 0o600)
        .and_then(|()| chown(&fresh, Some(uid), Some(gid)))
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&fresh, &file))
        .and_then(|()| File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all());
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}
