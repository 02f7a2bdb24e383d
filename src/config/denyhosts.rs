//! A configuration of DenyHosts, read as the one of ours that [`compat`] makes of it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use inputs::cursor::{Cursor, FileCursor};
use inputs::file::follow;
use inputs::input::{Input as _, Progress, Start};
use inputs::journald::follow::{Follower, Options, Reader};
use inputs::journald::here;
use inputs::record::{Batch, Record, Sender, Timestamp};

use super::error::Problem;
use super::{Config, Input, Source, config, document, listed};
use crate::clock;
use crate::compat::{self, Kind, World};
use crate::deny::{choose, ports, program};
use crate::detect::sshd::is_sshd;
use crate::text::plain;

/// More slips than keys that tell somebody.
const UNTOLD_MAX: usize = 50;

/// Programs of the firewalls that can enforce beside hosts.deny, in the order in which they are taken.
const FIREWALLS: &[(&str, &str)] = &[("nft", "nftables"), ("iptables", "iptables")];

/// What relative paths are below: the directory in which this process read such a file first. A daemon in the background leaves
/// it.
static HERE: OnceLock<PathBuf> = OnceLock::new();

/// What could be made out of the text of DenyHosts' `file`, and all that is wrong with it, by its own lines and keys.
pub(super) fn read(file: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let problem = |line, what: String| Problem { file: file.to_owned(), line, what: plain(&what) };
    let mut translation = match translated(text) {
        Ok(translation) => translation,
        Err(problems) => return (None, problems.into_iter().map(|(line, what)| problem(line, what)).collect()),
    };
    let (found, mut problems) = read_untold(file, &mut translation);
    for one in problems.iter_mut().filter(|one| one.file == file) {
        let origin = translation.lines.get(one.line.wrapping_sub(1)).and_then(Option::as_ref);
        (one.line, one.what) = match origin {
            Some(origin) => (origin.line, format!("{}, as {}", origin.key, plain(&one.what))),
            None => (0, format!("as {}", plain(&one.what))),
        };
    }
    let old_log = translation.log.map(|(log, journal_instead)| OldLog {
        end: if journal_instead { None } else { follow::end(&log).ok() },
        log,
        journal_instead,
        file: file.to_owned(),
        text: text.into(),
    });
    let found = found.map(|found| Config { remarks: translation.remarks, old_log, ..found });
    (found, problems)
}

/// Reads a translation. What is wrong with whom it tells is left out of it, with a remark: a slip there keeps nobody from being
/// denied.
fn read_untold(file: &Path, translation: &mut compat::Translation) -> (Option<Config>, Vec<Problem>) {
    for _ in 0..UNTOLD_MAX {
        let (found, problems) = document::read(file, &translation.toml, listed(), config);
        let mut untold = problems.iter().filter(|problem| problem.file == file);
        let Some(left) = untold.find_map(|problem| translation.without(problem.line, &plain(&problem.what))) else {
            return (found, problems);
        };
        *translation = left;
    }
    document::read(file, &translation.toml, listed(), config)
}

/// The text of DenyHosts' configuration as one of ours, on this machine; or what is wrong with it, by line.
pub(super) fn translated(text: &str) -> Result<compat::Translation, Vec<(usize, String)>> {
    here(text, compat::translate)
}

/// Where the DenyHosts of that configuration kept what it knew.
pub(super) fn old(text: &str) -> compat::Old {
    here(text, compat::old)
}

/// What is made of the text, with what is known of this machine.
fn here<T>(text: &str, of: impl FnOnce(&str, &World<'_>) -> T) -> T {
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let here = HERE.get_or_init(|| std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned()));
    of(
        text,
        &World {
            hostname: &hostname.to_string_lossy(),
            variable: &|name| std::env::var(name).ok(),
            directory: here,
            is_there: &kind,
            is_writable: &|path| path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok(),
            journal_instead: &journal_instead,
            sshd_reads_hosts_deny: &choose::sshd_reads_hosts_deny,
            sshd_ports: &ports::of_sshd,
            has_program: &|name| program::find(name).is_some(),
            service: &ports::of_service,
            firewall: &|| FIREWALLS.iter().find(|(name, _)| program::find(name).is_some()).map(|(_, name)| *name),
        },
    )
}

/// What a path names. What cannot be looked at may be there: it is taken for a file, so that reading it fails and says why.
fn kind(path: &Path) -> Option<Kind> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(Kind::Directory),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Ok(_) | Err(_) => Some(Kind::File),
    }
}

/// The log that DenyHosts' configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldLog {
    log: PathBuf,
    /// The journal is read in its place.
    pub journal_instead: bool,
    /// Where the log ended when this was read, if it is read itself.
    end: Option<FileCursor>,
    /// The configuration, and its text.
    file: PathBuf,
    text: Arc<str>,
}

impl OldLog {
    /// Whether an input is the journal that stands in.
    pub fn is_stand_in(&self, input: &Input) -> bool {
        self.journal_instead
            && matches!(input.source, Source::Journald(_))
            && *input.name == *self.log.to_string_lossy()
    }

    /// Where an input begins that takes the other one's place, whose cursor is known: the journal behind what is in the log, the log
    /// where it ended before the journal was let go. What is in both by then counts once (`Source::take_over`).
    pub fn goes_on(&self, input: &Input, cursor: Option<&Cursor>) -> Option<Start> {
        match (&input.source, cursor?) {
            (Source::Journald(_), Cursor::File(_)) if self.is_stand_in(input) => {
                let written =
                    fs::metadata(&self.log).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                let since = clock::now().0.saturating_sub(Timestamp::from_secs(0).after(written).0);
                Some(Start::Back(Duration::from_micros(u64::try_from(since).ok()?).min(LOOKED_BACK)))
            }
            (Source::File(file), Cursor::Journal(_)) if file.path == self.log => {
                self.end.clone().map(|end| Start::Cursor(Cursor::File(end)))
            }
            _ => None,
        }
    }

    /// Whether the log has been quiet for so long that the journal is looked at. It only asks for the file.
    pub fn is_quiet(&self) -> bool {
        quiet_since(&self.log).is_none_or(|(since, _)| since.is_some())
    }

    /// Whether another one would be read now by the same configuration.
    pub fn has_changed(&self) -> bool {
        let changed = match self.journal_instead {
            true => quiet_since(&self.log).is_some_and(|(since, is_empty)| since.is_none() && !is_empty),
            false => journal_instead(&self.log).is_some(),
        };
        changed && super::text(&self.file).is_ok_and(|text| *text == *self.text)
    }
}

/// A log that was not written for so long is looked at: whether the journal has what it lacks.
const QUIET: Duration = Duration::from_secs(600);
/// So far the journal is looked through for that.
const LOOKED_BACK: Duration = Duration::from_secs(7 * 86_400);
const READS_MAX: usize = 1_000;

/// Why the journal is to be read in place of a log: there is no such log, or nobody has written it while the journal had records
/// of sshd, which root wrote. No log daemon may be installed, or it may write elsewhere.
fn journal_instead(log: &Path) -> Option<String> {
    if !here::is_here() || here::keeps_nothing(Path::new("/")).is_some() {
        return None;
    }
    if kind(log).is_none() {
        return Some("is not there".to_owned());
    }
    let (since, is_empty) = quiet_since(log)?;
    let since = since?;
    let now = clock::now();
    let lacks = now.before(since);
    let start = Start::Back(since.min(LOOKED_BACK));
    let mut journal = Follower::new(Options { directory: None, reader: Reader::Native, start }).ok()?;
    let lacking = |record: Record<'_>| {
        is_sshd(record.identifier) && *record.sender == Sender::Uid(0) && record.event > Some(lacks)
    };
    let mut batch = Batch::default();
    for _ in 0..READS_MAX {
        let progress = journal.refill(now.into(), &mut batch).ok()?;
        if batch.records().any(lacking) {
            let what = if is_empty { "is empty" } else { "is not written any more" };
            return Some(format!("{what}, and the journal has records of sshd"));
        }
        if progress != Progress::More {
            break;
        }
    }
    None
}

/// For how long a file has been quiet beyond [`QUIET`], `None` if it is not; and whether it is empty. Nothing of what is no file.
fn quiet_since(log: &Path) -> Option<(Option<Duration>, bool)> {
    let found = fs::metadata(log).ok().filter(fs::Metadata::is_file)?;
    let written = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let lacks = Timestamp::from_secs(0).after(written).after(QUIET);
    let quiet = u64::try_from(clock::now().0.saturating_sub(lacks.0)).ok().map(Duration::from_micros);
    Some((quiet, found.len() == 0))
}
