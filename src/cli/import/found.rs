//! What is there of DenyHosts on this machine. All of it is only read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use inputs::cursor::{Cursor, FileCursor};
use inputs::file::follow;

use crate::compat::files;
use crate::config::{self, Config, Old, Source};
use crate::daemon::feeds;
use crate::deny::hosts_deny::libwrap::{Admitted, Tables};
use crate::deny::iptables::old::{self as rules, Old as Rule};

/// The files of a work directory of which something is taken over.
const TAKEN: &[&str] = &[
    files::HOSTS,
    files::HOSTS_VALID,
    files::HOSTS_ROOT,
    files::HOSTS_RESTRICTED,
    files::USERS_INVALID,
    files::USERS_VALID,
    files::USERS_HOSTS,
    files::SUSPICIOUS_LOGINS,
    files::PURGE_HISTORY,
    files::OFFSET,
    files::SYNC_HOSTS,
    files::SYNC_HOSTS_TMP,
    files::SYNC_RECEIVED,
    files::SYNC_TIMESTAMP,
];

/// Of them, those that a denyd keeps current: see [`work_dir`](crate::work_dir).
const KEPT: &[&str] = TAKEN.split_at(9).0;
/// The file that says that one does.
const MARK: &str = ".denyd";
/// What the names of the files end in that were there before.
const BEFORE: &str = ".denyhosts";

/// What is there.
pub(super) struct Found {
    /// Its configuration.
    pub(super) file: PathBuf,
    /// What that means here.
    pub(super) meant: Config,
    /// Where it kept what it knew.
    pub(super) old: Old,
    /// The files of its work directory that are there, by their names.
    pub(super) files: BTreeMap<&'static str, Vec<u8>>,
    /// Where it denied; nothing where that file is not there.
    pub(super) hosts_deny: Vec<u8>,
    /// Whom libwrap admits beside that.
    pub(super) admitted: Vec<Admitted>,
    /// What may be its rules.
    pub(super) rules: Vec<Rule>,
    /// Where an input of ours goes on that reads its log.
    pub(super) cursor: Option<(String, Cursor)>,
    /// What could not be looked at, and why.
    pub(super) problems: Vec<String>,
}

/// Looks at all of it. `ours` is what denyd will run by.
pub(super) fn find(file: &Path, ours: &Config) -> anyhow::Result<Found> {
    let (meant, old) = (Config::read(file)?, config::old(file)?);
    let mut problems = Vec::new();
    let mut found = BTreeMap::new();
    for name in TAKEN {
        let Some(dir) = &old.work_dir else { break };
        let read = load(dir, name);
        // What cannot be read is not taken for nothing: it would be forgotten for good.
        let read = read.with_context(|| format!("cannot read {}", dir.join(name).display()))?;
        found.extend(read.map(|text| (*name, text)));
    }
    let hosts_deny = beside(&old.hosts_deny)?;
    let tables = Tables::of(&old.hosts_deny);
    // libwrap takes what cannot be read for empty; here it would shut somebody out.
    beside(&tables.allow)?;
    let admitted = tables.admitted(&["sshd", &old.service]);
    let rules = match &old.iptables {
        Some(program) if program.is_file() => rules::find(program).unwrap_or_else(|error| {
            problems.push(format!("{error}"));
            Vec::new()
        }),
        _ => Vec::new(),
    };
    let cursor = match found.get(files::OFFSET).map(|text| (files::offset(text), &old.log)) {
        Some((Some(offset), Some(log))) => behind(&offset, log, ours).unwrap_or_else(|why| {
            problems.push(why);
            None
        }),
        Some((None, _)) => {
            problems.push("offset is cut or damaged, so the log is not read on from there".to_owned());
            None
        }
        _ => None,
    };
    Ok(Found { file: file.to_owned(), meant, old, files: found, hosts_deny, admitted, rules, cursor, problems })
}

/// What DenyHosts wrote into a file of its work directory. Where a denyd keeps that current, it is beside it.
fn load(dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let is_kept = dir.join(MARK).exists();
    match files::load(dir, &format!("{name}{BEFORE}"))? {
        Some(text) if is_kept => Ok(Some(text)),
        _ if is_kept && KEPT.contains(&name) => Ok(None),
        _ => files::load(dir, name),
    }
}

/// What stands in a file; nothing where it is not there.
fn beside(file: &Path) -> anyhow::Result<Vec<u8>> {
    let (dir, name) = (file.parent().unwrap_or(Path::new("/")), file.file_name().unwrap_or_default());
    let text = files::load(dir, &name.to_string_lossy()).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.unwrap_or_default())
}

/// Where the input goes on that reads `log`; or why none does.
fn behind(offset: &files::Offset, log: &Path, ours: &Config) -> Result<Option<(String, Cursor)>, String> {
    let inputs = match ours.inputs.is_empty() {
        true => feeds::found().into_iter().collect(),
        false => ours.inputs.clone(),
    };
    let reads = |source: &Source| matches!(source, Source::File(file) if file.path == log);
    let Some(input) = inputs.iter().find(|input| reads(&input.source)) else {
        return Err(format!("no input of denyd reads {}, so nothing goes on where DenyHosts was", log.display()));
    };
    let cursor: Option<FileCursor> = follow::behind(log, &offset.first_line, offset.bytes)
        .map_err(|error| format!("it cannot be told where DenyHosts was in {}: {error}", log.display()))?;
    let gone = || format!("{} is not the log any more that DenyHosts read last", log.display());
    cursor.map(|cursor| Some((input.name.clone(), Cursor::File(cursor)))).ok_or_else(gone)
}

/// All files of the work directory that a denyd writes which keeps it current. What people write there, `allowed-hosts` and
/// such, is none of them.
pub(super) fn kept_files() -> impl Iterator<Item = String> {
    let before = KEPT.iter().map(|name| format!("{name}{BEFORE}"));
    KEPT.iter().copied().chain([MARK]).map(str::to_owned).chain(before)
}

/// What `error` means for a file that may not be there.
pub(super) fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}
