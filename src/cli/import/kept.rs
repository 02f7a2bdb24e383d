//! What was before an import, for `--undo`: a copy of each file that is changed by it, or that the daemon keeps from then on.
//!
//! It says which files root is to write and which program to run. So it lies beside the state directory and not in it, which is
//! the daemon's own user's, and counts only where nobody but root could have written it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::found::{Found, if_there, kept_files};
use super::plan::Plan;
use crate::compat::files;
use crate::deny::hosts_deny::{self, edit};
use crate::deny::iptables::old::Old as Rule;
use crate::deny::ledger::Lines;
use crate::text::At;
use crate::whose;

/// What the name of the directory that has all of it ends in, behind that of the state directory.
const BESIDE: &str = ".before-import";
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
    /// How far it came.
    came: Came,
}

/// How far an import came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Came {
    /// All is copied, and nothing of it is changed.
    Copied,
    /// It is in the database.
    Taken,
    /// What denied before is taken away.
    Done,
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
    let mut name = state_dir.as_os_str().to_owned();
    name.push(BESIDE);
    PathBuf::from(name)
}

impl Before {
    /// What was kept of an import, if there was one; an error if somebody else could have written it.
    pub(super) fn read(state_dir: &Path) -> anyhow::Result<Option<Before>> {
        let dir = directory(state_dir);
        if if_there(fs::symlink_metadata(&dir)).is_ok_and(|found| found.is_none()) {
            return Ok(None);
        }
        let refused = |why: String| anyhow::anyhow!("what is in {} counts for nothing: {why}", dir.display());
        own(&dir).map_err(refused)?;
        let file = dir.join(MANIFEST);
        let text = whose::read(&file).map_err(|error| refused(error.to_string()))?;
        let read =
            |text: Vec<u8>| serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()));
        text.map(read).transpose()
    }

    /// Notes how far it came. Once this returns, that outlasts a crash.
    pub(super) fn note(&mut self, came: Came, state_dir: &Path) -> anyhow::Result<()> {
        self.came = came;
        let dir = directory(state_dir);
        let failed = || format!("cannot note in {} how far it came", dir.display());
        let fresh = dir.join("import.new");
        if_there(fs::remove_file(&fresh)).with_context(failed)?;
        written(&fresh, &serde_json::to_vec(&self)?, 0o600)
            .and_then(|()| fs::rename(&fresh, dir.join(MANIFEST)))
            .and_then(|()| File::open(&dir)?.sync_all())
            .with_context(failed)
    }

    /// How far it came.
    pub(super) fn came(&self) -> Came {
        self.came
    }

    /// Copies what an import is about to change. Once this returns, all of it outlasts a crash. What is there is of one that
    /// was broken off before anything was changed.
    pub(super) fn keep(state_dir: &Path, found: &Found, plan: &Plan, at: At) -> anyhow::Result<Before> {
        let ours = written_before(state_dir, &found.old.hosts_deny)?;
        let dir = directory(state_dir);
        let failed = || format!("cannot keep what was before in {}", dir.display());
        if_there(fs::remove_dir_all(&dir)).with_context(failed)?;
        DirBuilder::new().mode(0o700).create(&dir).with_context(failed)?;
        own(&dir).map_err(anyhow::Error::msg).with_context(failed)?;
        let had_database = state_dir.join(crate::store::FILE).exists();
        if had_database {
            crate::store::backup(state_dir, &dir.join(DATABASE), at.0)?;
        }
        let work_dir = found.old.work_dir.iter().flat_map(|dir| kept_files().map(|name| dir.join(name)));
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
            came: Came::Copied,
        };
        let manifest = serde_json::to_vec(&before)?;
        written(&dir.join(MANIFEST), &manifest, 0o600).with_context(failed)?;
        let beside = dir.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for dir in [&*dir, beside] {
            File::open(dir).and_then(|dir| dir.sync_all()).with_context(failed)?;
        }
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

    /// Puts the files back; says what was done where that is not simply that, and whether all could be.
    pub(super) fn put_back(&self, state_dir: &Path) -> anyhow::Result<(Vec<String>, bool)> {
        let (mut told, mut is_all) = (Vec::new(), true);
        for Copy { file, copy, written, is_shared } in &self.files {
            let failed = || format!("cannot put {} back", file.display());
            let now = load(file).with_context(failed)?;
            let Some((name, mode, uid, gid)) = copy else {
                // It came since; one that others write too may be theirs.
                if now.is_some_and(|now| !is_shared || now.is_empty()) {
                    match place(file) {
                        Ok(place) => fs::remove_file(place).with_context(failed)?,
                        Err(why) => told.push(format!("{} stays, since {why}; it was not there", file.display())),
                    }
                }
                continue;
            };
            let copy = directory(state_dir).join(name);
            let then = load(&copy).with_context(failed)?;
            let then = then.with_context(|| format!("the copy of {} is gone", file.display()))?;
            if *is_shared && now.is_some() {
                told.extend(self.mended(file, &then, *written).with_context(failed)?);
                continue;
            }
            let is_as_it_was = |found: fs::Metadata| {
                (found.mode() & 0o7777, found.uid(), found.gid()) == (*mode, *uid, *gid)
                    && written.is_none_or(|written| written == (found.mtime(), found.mtime_nsec()))
            };
            let is_plain = fs::symlink_metadata(file).is_ok_and(|found| found.is_file() && is_as_it_was(found));
            if is_plain && now.as_ref() == Some(&then) {
                continue;
            }
            // Whoever may write there could have put anything in the way.
            match place(file) {
                Ok(place) => replaced(&place, &then, *mode, (*uid, *gid), *written).with_context(failed)?,
                Err(why) => {
                    is_all = false;
                    told.push(format!(
                        "{} stays as it is now, since {why}; as it was it is in {}",
                        file.display(),
                        self.aside(state_dir).join(name).display()
                    ));
                }
            }
        }
        Ok((told, is_all))
    }

    /// Gives the entries of DenyHosts back to a file that others write, too; says so where they did. Owner, mode and attributes
    /// stay, as they may have been changed since; when it was written, it was, where nobody else wrote it.
    fn mended(&self, file: &Path, then: &[u8], written: Option<(i64, i64)>) -> anyhow::Result<Option<String>> {
        let mut is_whole = true;
        edit::rewrite(file, None, &mut |now| {
            is_whole = self.are_alike(now, then);
            Ok(if is_whole { then.to_vec() } else { self.with_entries(now.to_vec(), then) })
        })?;
        if is_whole {
            modified(&OpenOptions::new().append(true).open(file)?, written)?;
            return Ok(None);
        }
        let what = "was changed by others since, so the entries of DenyHosts were put back at its end";
        Ok(Some(format!("{} {what}", file.display())))
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

    /// Forgets what was kept; where not `is_all` of it was put back, it is only out of the way.
    pub(super) fn forget(&self, state_dir: &Path, is_all: bool) -> anyhow::Result<()> {
        let dir = directory(state_dir);
        let done = if is_all { fs::remove_dir_all(&dir) } else { fs::rename(&dir, self.aside(state_dir)) };
        done.with_context(|| format!("cannot remove {}", dir.display()))
    }

    /// Where it is out of the way.
    fn aside(&self, state_dir: &Path) -> PathBuf {
        let mut name = directory(state_dir).into_os_string();
        name.push(format!("-{}", self.at.0.secs()));
        PathBuf::from(name)
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

/// A directory, once it is seen that nobody else may write it or put another one in its place.
fn own(dir: &Path) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("{}: {error}", dir.display());
    whose::closed_place(dir).map_err(failed)?.map_err(|others| others.to_string())?;
    fs::canonicalize(dir).map_err(failed)
}

/// Where a file is to be written, whatever it is now.
fn place(file: &Path) -> Result<PathBuf, String> {
    let dir = own(file.parent().unwrap_or(Path::new("/")))?;
    Ok(dir.join(file.file_name().unwrap_or_default()))
}

/// Puts a file in the place of another one, whose extended attributes it has, or where there is none, in a directory that nobody
/// else may write.
fn replaced(
    file: &Path,
    text: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
    written: Option<(i64, i64)>,
) -> io::Result<()> {
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".denyd-undo");
    let fresh = PathBuf::from(fresh);
    if_there(fs::remove_file(&fresh))?;
    let done = (|| {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        out.write_all(text)?;
        fchown(&out, Some(uid), Some(gid))?;
        let _ = hosts_deny::copy_attributes(file, &out);
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        modified(&out, written)?;
        out.sync_all()?;
        fs::rename(&fresh, file)?;
        File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
    })();
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

/// Has a file be written at that time, in seconds and nanoseconds.
fn modified(file: &File, written: Option<(i64, i64)>) -> io::Result<()> {
    let written = written
        .and_then(|(seconds, nanos)| Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?)));
    written.map_or(Ok(()), |written| file.set_modified(UNIX_EPOCH + written))
}
