//! Denies in hosts.deny, or in a list file that it names, in DenyHosts' own format.
//!
//! Lines of others stay as they are, byte for byte. Where lines only come, they are appended, so that who follows the file sees
//! them, and a crash leaves half a line at worst, which the next start mends. Where lines go, the file is at every moment either
//! the old or the new one. An entry whose comment a person deletes is theirs from then on.
//!
//! Allowed addresses inside a denied prefix are cut out of it by writing the prefixes around them: `EXCEPT` does not work in list
//! files (tcpdmatch shows it denied all the same).
//!
//! A list file has addresses alone, and no comment: libwrap takes each of its words for a pattern.
//!
//! libwrap knows no time: a deny ends when the engine releases it. Owner, mode and extended attributes of the file, an
//! SELinux label among them, are kept. An edit that falls between our last look and the rename, some microseconds, is lost.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use inputs::record::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::spot::{Seen, Spot};
use crate::text::asctime;

use super::ledger::{Ledger, Lines, Notes};
use super::{DenyBackend, DenyError, DenySet, Kept, Life, Probe};
pub use file::NAME;
pub use file::copy_attributes;
use file::{read, stat, sync_directory};
use lines::{Known, render};

pub mod advice;
pub mod edit;
mod entry;
mod file;
pub mod libwrap;
mod lines;

/// The hosts.deny back end. Does nothing for an sshd without libwrap.
pub struct HostsDeny {
    path: PathBuf,
    form: Form,
    /// What was noted as ours: more than what is in the file if a write failed.
    ledger: Ledger,
    /// The entries in the file that are ours.
    ours: Lines,
    put_back: BTreeSet<String>,
    left_out: BTreeSet<String>,
    /// What was written last; `None` before the first write.
    want: Option<Lines>,
    /// The file as we left it.
    seen: Option<Seen>,
    warned_attributes: bool,
    /// What outlasts us beside the ledger.
    memo: Memo,
    /// Whether the file was not yet looked at, so that half a line may be left of a crash.
    is_new: bool,
    /// What was said of a list file last.
    warned_list: Vec<String>,
    /// Prefixes that cannot be written, so that each is named once.
    refused: BTreeSet<Prefix>,
}

/// What is remembered of a file beside the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Memo {
    /// Whether each of ours had a comment when the file was written last.
    comments: bool,
    /// Allowed addresses that others' lines deny and that were told of; [`WARNED_MAX`] at most.
    warned: BTreeSet<String>,
}

/// What an administrator decides of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file. Default `/etc/hosts.deny`.
    pub path: PathBuf,
    /// What stands before the colon. Default `sshd`.
    pub service: Service,
    /// Whether a `# DenyHosts:` line with the time stands above each of ours; none in a list file. Default true.
    pub comment: bool,
}

impl Settings {
    /// The entry that denies these addresses.
    pub fn entry(&self, denied: &Prefix) -> String {
        entry_of(&self.service, &self.path, denied)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings { path: PathBuf::from("/etc/hosts.deny"), service: Service("sshd".to_owned()), comment: true }
    }
}

/// What comes before the address: `sshd` writes `sshd: 192.0.2.1`; empty = bare addresses, for a list file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service(String);

impl Service {
    /// Whether the file is a list file.
    fn is_list(&self) -> bool {
        self.0.is_empty()
    }
}

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
        Err("expected the name of one service, such as \"sshd\", or \"ALL\", or \"\" for lines of addresses alone"
            .to_owned())
    }
}

mod written;
pub use written::{Written, entry_of, of_denyhosts, pieces};

/// How entries look.
#[derive(Clone, Debug)]
pub struct Form {
    /// What comes before the address.
    pub service: Service,
    /// Where set, each entry has a comment above it with the time of the deny in this zone, as DenyHosts did; never in a
    /// list file.
    pub stamped: Option<TimeZone>,
    /// Whether entries under a `# DenyHosts:` comment that the ledger does not have are ours all the same: only
    /// where our ledger was lost, else they are DenyHosts' own.
    pub adopt: bool,
}

/// The ledger of the file `path`.
///
/// It is kept before the file is written, with all that will be ours whether or not the write succeeds, and after it with
/// what is. A failure stops the write.
pub fn ledger(path: &Path, notes: Box<dyn Notes>) -> Result<Ledger, String> {
    Ledger::open(&place(path), notes, Some((OLD_LEDGER, entry::denied)))
}

/// The name of its ledger.
pub fn place(path: &Path) -> String {
    format!("{NAME} {}", path.display())
}

/// The file of which the ledger has this name.
pub(super) fn file_of(place: &str) -> Option<&Path> {
    place.strip_prefix(NAME)?.strip_prefix(' ').map(Path::new)
}

/// Those lines of a ledger that deny what they are said to be for, or a piece of it: no other line can be ours, whoever wrote
/// the ledger.
fn denying(lines: &Lines) -> Lines {
    // A service of ours may name an address of this machine, which makes it nobody's entry else.
    let ours = |line: &str| {
        let line = line.strip_suffix(" : deny").unwrap_or(line);
        line.split_once(": ")
            .filter(|(service, _)| service.parse::<Service>().is_ok())
            .and_then(|(_, one)| entry::address(one))
    };
    let denied = |line: &str| entry::denied(line).or_else(|| ours(line));
    let is_one = |(line, prefix): &(&String, &Prefix)| denied(line).is_some_and(|denied| prefix.contains(&denied));
    lines.iter().filter(is_one).map(|(line, prefix)| (line.clone(), *prefix)).collect()
}

/// Whether the file has a line for what is denied, be it in pieces around what is allowed there; an error says that it has not.
pub(super) fn prove(settings: &Settings, denied: Option<&Prefix>) -> Result<String, String> {
    let file = settings.path.display();
    let text = std::fs::read(&settings.path).map_err(|error| format!("{file} cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let Some(prefix) = denied else { return Ok(format!("{file} is there, and nobody is denied")) };
    let is_it = |one: Prefix| one.contains(prefix) || prefix.contains(&one);
    let is_libwraps =
        settings.service.is_list() || ["hosts.deny", "hosts.allow"].iter().any(|name| settings.path.ends_with(name));
    let answer = libwrap::Tables::of(&settings.path).answer("sshd", prefix.address(), libwrap::Name::Unasked);
    match text.lines().filter_map(|line| entry::denied(line.trim())).any(is_it) {
        true if is_libwraps && prefix.is_host() && !answer.refused => Err(match answer.line {
            Some(line) => format!("{prefix} is in {file}, and {line} lets it in to sshd"),
            None => format!("{prefix} is in {file}, and no line of libwrap's own files refuses it to sshd"),
        }),
        true => Ok(format!("{file} has {prefix}, which is denied")),
        false => Err(format!("{file} does not have {prefix}, which is denied")),
    }
}

/// The denies that stand in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Those of which a line stands there that is ours.
    pub ours: BTreeSet<Prefix>,
    /// All that any line there denies, whoever wrote it.
    pub all: BTreeSet<Prefix>,
    /// Lines of more than one address or network: a list, `203.0.113.`, `ALL`, a list file.
    pub odd: libwrap::Lists,
}

impl Standing {
    /// Whether any line there is for the prefix, all of it or a part, whoever wrote it and for whatever program.
    pub fn speaks_of(&self, prefix: &Prefix) -> bool {
        self.odd.name(prefix)
    }
}

/// The note that is the ledger of a file.
pub fn note(path: &Path) -> String {
    super::ledger::note(&place(path))
}

/// The note that has what is remembered of a file beside its ledger.
pub fn memo(path: &Path) -> String {
    format!("{MEMO} {}", place(path))
}

/// Who is allowed and refused all the same by lines of others, and was named in the log, by that note.
pub fn warned(memo: Option<&str>) -> BTreeSet<String> {
    let memo: Option<Memo> = memo.and_then(|memo| serde_json::from_str(memo).ok());
    memo.unwrap_or_default().warned
}

/// Reads a file, and says what stands there by the ledger in a note.
pub fn standing(path: &Path, ledger: Option<&str>) -> Result<Standing, String> {
    let ledger: Lines = serde_json::from_str(ledger.unwrap_or("{}")).map_err(|error| error.to_string())?;
    let ledger = denying(&ledger);
    let Some(target) = file::target(path).map_err(|error| error.to_string())? else { return Ok(Standing::default()) };
    let (bytes, _) = read(&target).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    let mut standing = Standing::default();
    for (_, line) in libwrap::logical(&text) {
        let line = line.trim();
        standing.ours.extend(ledger.get(line));
        match entry::denied(line) {
            Some(prefix) => _ = standing.all.insert(prefix),
            None => standing.odd.add(line, !libwrap::is_own(path)),
        }
    }
    // A deny around what is allowed has a line for each piece.
    standing.all.extend(&standing.ours);
    Ok(standing)
}

impl HostsDeny {
    /// A back end for the file `path`, in which the lines of `ledger` are ours.
    pub fn new(path: PathBuf, mut form: Form, mut ledger: Ledger) -> Self {
        form.stamped = form.stamped.filter(|_| !form.service.is_list());
        // Without it somebody's deleted comment is put back once, and allowed hosts are told of again.
        let memo = ledger.remembered(MEMO).ok().flatten().and_then(|text| serde_json::from_str(&text).ok());
        HostsDeny {
            path,
            form,
            ours: denying(ledger.lines()),
            ledger,
            put_back: BTreeSet::new(),
            left_out: BTreeSet::new(),
            want: None,
            seen: None,
            warned_attributes: false,
            memo: memo.unwrap_or_default(),
            is_new: true,
            warned_list: Vec::new(),
            refused: BTreeSet::new(),
        }
    }

    /// The entries in the file that are ours, and which deny each is for.
    pub fn ours(&self) -> &Lines {
        &self.ours
    }

    /// The entries for `want`.
    fn entries(&mut self, want: &DenySet, now: Timestamp) -> Lines {
        let allowed = merge(want.allowed.clone());
        let mut entries = Lines::new();
        for (prefix, until) in &want.denied {
            if Life::left(*until, now) == Life::Over {
                continue;
            }
            let Some(pieces) = pieces(*prefix, &allowed) else {
                if self.refused.insert(*prefix) {
                    warn!(backend = NAME, %prefix, "too many allowed addresses in it; not denied here");
                }
                continue;
            };
            let entry = |piece: &Prefix| (entry_of(&self.form.service, &self.path, piece), *prefix);
            entries.extend(pieces.iter().map(entry));
        }
        self.refused.retain(|prefix| want.denied.contains_key(prefix));
        entries
    }

    /// What the file is to have of ours, exactly.
    fn write(&mut self, want: Lines, allowed: &[Range], now: Timestamp) -> Result<(), DenyError> {
        let stamp = self.stamp(now);
        self.put_back.retain(|entry| want.contains_key(entry));
        self.left_out.retain(|entry| want.contains_key(entry));
        for _ in 0..TRIES_MAX {
            let Some(target) = file::target(&self.path)? else { return self.has_no_directory(want) };
            let (old, found) = read(&target)?;
            let seen = found.as_ref().map(|found| Seen::of(&found.metadata));
            let new = render(&old, self.known(&want, stamp.as_deref()));
            if new.bytes != old {
                let mut both = self.ours.clone();
                both.extend(new.ledger.clone());
                self.keep(both)?;
                if self.append(&target, &old, &new.bytes, seen)? {
                    self.ours = new.ledger;
                } else {
                    let temporary = file::write(&target, &new.bytes, found.as_ref())?;
                    if stat(&target)? != seen {
                        continue; // somebody else wrote it: once more, with what they wrote
                    }
                    self.warn_attributes(target.path(), &temporary.lost);
                    (self.seen, self.ours) = (Some(file::rename(temporary, &target)?), new.ledger);
                    sync_directory(&target)?;
                }
            } else {
                (self.seen, self.ours) = (seen, new.ledger);
            }
            self.keep(self.ours.clone())?;
            self.is_new = false;
            self.remember(Memo { comments: self.form.stamped.is_some(), ..self.memo.clone() });
            self.warn_list(target.path());
            self.warn_allowed(target.path(), &new.bytes, allowed);
            self.tell(target.path(), new.put_back, new.left_out, &new.given_up);
            self.want = Some(want);
            return Ok(());
        }
        let cause = format!("somebody else changed it {TRIES_MAX} times meanwhile");
        Err(DenyError::new(NAME, format!("write {}", self.path.display()), cause))
    }

    /// Takes away in one step what is ours, but for those of these entries that stand there.
    pub fn leave(&mut self, entries: &BTreeSet<String>, now: Timestamp) -> Result<(), DenyError> {
        let Some(target) = file::target(&self.path)? else { return self.has_no_directory(Lines::new()) };
        let (text, _) = read(&target)?;
        let text = String::from_utf8_lossy(&text);
        let there = text.lines().filter(|line| entries.contains(*line));
        let want = there.filter_map(|line| Some((line.to_owned(), entry::denied(line)?))).collect();
        self.write(want, &[], now)
    }

    fn known<'a>(&'a self, want: &'a Lines, stamp: Option<&'a str>) -> Known<'a> {
        Known {
            want,
            ledger: &self.ours,
            put_back: &self.put_back,
            adopt: self.form.adopt,
            stamp,
            list: self.form.service.is_list(),
            had_comments: self.memo.comments,
            may_be_torn: self.is_new,
        }
    }

    /// Appends to the file if all that is new is at its end, so that it stays the same file; false if it has to be replaced, or
    /// somebody else replaced it meanwhile.
    fn append(&mut self, target: &Spot, old: &[u8], new: &[u8], seen: Option<Seen>) -> Result<bool, DenyError> {
        let (Some(seen), Some(added)) = (seen, new.strip_prefix(old)) else { return Ok(false) };
        self.seen = file::append(target, seen, added)?;
        Ok(self.seen.is_some())
    }

    /// Its directory is missing: that is enough where nobody is denied.
    fn has_no_directory(&mut self, want: Lines) -> Result<(), DenyError> {
        if !want.is_empty() {
            return Err(file::failed("write", &self.path, &ErrorKind::NotFound.into()));
        }
        self.keep(Lines::new())?;
        (self.seen, self.ours, self.want) = (None, Lines::new(), Some(want));
        Ok(())
    }

    fn remember(&mut self, memo: Memo) {
        if self.memo != memo {
            let text = serde_json::to_string(&memo).unwrap_or_default();
            // It is only for the next start, and written again with the next change.
            if self.ledger.remember(MEMO, &text).is_ok() {
                self.memo = memo;
            }
        }
    }

    /// Warns of lines of others that deny who is allowed, each once; DenyHosts did so, too.
    fn warn_allowed(&mut self, target: &Path, text: &[u8], allowed: &[Range]) {
        let mut memo = self.memo.clone();
        let allowed = merge(allowed.to_vec());
        let is_allowed = |address: std::net::IpAddr| {
            let behind = allowed.partition_point(|range| range.first <= address);
            behind > 0 && allowed[behind - 1].contains(address)
        };
        for line in text.split(|&byte| byte == b'\n') {
            let found = std::str::from_utf8(line).ok().and_then(entry::entry);
            let Some(prefix) = found.map(|found| found.prefix).filter(Prefix::is_host) else { continue };
            let address = prefix.address();
            if memo.warned.len() < WARNED_MAX && is_allowed(address) && memo.warned.insert(prefix.to_string()) {
                warn!(path = %target.display(), %prefix, "it is allowed, and somebody's line here refuses it: denyd why {prefix}");
            }
        }
        self.remember(memo);
    }

    fn stamp(&self, now: Timestamp) -> Option<String> {
        self.form.stamped.as_ref().map(|zone| asctime(now, zone))
    }

    fn keep(&mut self, lines: Lines) -> Result<(), DenyError> {
        self.ledger.keep(lines).map_err(|cause| DenyError::new(NAME, "note which lines are ours", cause))
    }

    /// Warns of lines that somebody deleted, each once a way.
    fn tell(&mut self, target: &Path, put_back: Vec<String>, left_out: Vec<String>, given_up: &[String]) {
        let path = target.display();
        if let Some(entry) = given_up.first() {
            let lines = given_up.len();
            info!(%path, lines, %entry, "their comments were deleted, so they are the administrator's now, and stay when the deny ends");
        }
        if let Some(entry) = put_back.first() {
            let lines = put_back.len();
            warn!(%path, lines, %entry, "put back lines that were deleted; to release an address use: denyd forgive ADDRESS");
        }
        self.put_back.extend(put_back);
        for entry in left_out {
            if self.left_out.insert(entry.clone()) {
                warn!(%path, %entry, "deleted again, left so; it still counts as denied: use denyd forgive ADDRESS");
            }
        }
    }

    /// Says what makes a list file useless or dangerous, each once.
    fn warn_list(&mut self, target: &Path) {
        if !self.form.service.is_list() {
            return;
        }
        let now = advice::troubles(target);
        for what in now.iter().filter(|what| !self.warned_list.contains(what)) {
            warn!(path = %target.display(), "{what}");
        }
        self.warned_list = now;
    }

    fn warn_attributes(&mut self, target: &Path, lost: &[String]) {
        if !self.warned_attributes && !lost.is_empty() {
            self.warned_attributes = true;
            let lost = lost.join(", ");
            warn!(path = %target.display(), lost, "rewritten without these attributes; if sshd cannot read it: restorecon");
        }
    }
}

impl DenyBackend for HostsDeny {
    fn name(&self) -> &'static str {
        NAME
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let entries = self.entries(want, now);
        self.write(entries, &want.allowed, now)
    }

    /// Costs a `stat`; the file is read only if it changed.
    fn probe(&mut self, all: &DenySet, now: Timestamp) -> Result<Probe, DenyError> {
        let Some(want) = &self.want else { return Ok(Probe::Ours) };
        let Some(target) = file::target(&self.path)? else {
            return match want.is_empty() {
                true => Ok(Probe::Ours),
                false => Err(file::failed("find our lines in", &self.path, &ErrorKind::NotFound.into())),
            };
        };
        if stat(&target)? == self.seen {
            return Ok(Probe::Ours);
        }
        let (old, found) = read(&target)?;
        let new = render(&old, self.known(want, self.stamp(now).as_deref()));
        if new.bytes == old {
            (self.seen, self.ours) = (found.as_ref().map(|found| Seen::of(&found.metadata)), new.ledger);
            self.keep(self.ours.clone())?;
            self.warn_allowed(target.path(), &old, &all.allowed);
            self.tell(target.path(), Vec::new(), new.left_out, &new.given_up);
            return Ok(Probe::Ours);
        }
        let tried = format!("find our lines in {}", target.path().display());
        let remedy = Some("to release an address use: denyd forgive ADDRESS");
        Err(DenyError { remedy, ..DenyError::new(NAME, tried, "somebody else changed them") })
    }

    fn left_out(&self) -> usize {
        let of = |entry: &String| self.want.as_ref()?.get(entry).copied();
        let left: BTreeSet<Prefix> = self.left_out.iter().filter_map(of).chain(self.refused.iter().copied()).collect();
        left.len()
    }

    /// What stands under `# DenyHosts:` comments; no end is known of it. In a list file nothing says whose an entry is.
    fn kept(&mut self, _now: Timestamp) -> Result<Kept, DenyError> {
        let Some(target) = file::target(&self.path)? else { return Ok(Kept::default()) };
        let (text, _) = read(&target)?;
        if self.form.service.is_list() && !text.trim_ascii().is_empty() {
            let path = self.path.display();
            warn!(%path, "the database was lost, and with it which entries are ours: all of this list file stay; see to them");
        }
        Ok(lines::stamped_entries(&text).filter_map(entry::denied).map(|prefix| (prefix, None)).collect())
    }
}

/// The note of the ledger of earlier versions: lines without the file that they are in.
const OLD_LEDGER: &str = "hosts_deny_ledger";
/// The longest name of a service, in bytes.
const SERVICE_MAX: usize = 255;
/// What [`Memo`] is remembered by.
const MEMO: &str = "lines of";
/// Allowed addresses that are told of, and remembered for that; 64 KB.
const WARNED_MAX: usize = 1000;
/// Rounds against somebody who writes the file at the same time.
const TRIES_MAX: usize = 5;
