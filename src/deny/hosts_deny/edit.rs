//! Edits of hosts.deny that a person asks for: what DenyHosts' `--purge`, `--purge-all`, `--purgeip`, `--migrate` and
//! `--upgrade099` do.
//!
//! They change lines that nobody but a person may change, so [`plan`] shows first what [`carry_out`] would do. Whatever
//! changes, the old file is kept as a backup, and the new one takes its place in one step, with owner, mode and extended
//! attributes of the old one. Who writes the file at the same time is not overwritten: the edit begins again with what they
//! wrote. A change that would change nothing writes nothing, and no backup.
//!
//! An entry goes for good only if nobody wants it any more: release an address first, or the back end puts its line back.

use std::path::{Path, PathBuf};

use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use super::entry::{self, entry};
use super::file::{self, read, stat, sync_directory};
use super::lines::{line_len, trim};
use super::{NAME, TRIES_MAX, libwrap};
use crate::decide::prefix::Prefix;
use crate::deny::DenyError;
use crate::spot::{Seen, Spot};
use crate::text;

/// What is to be done.
#[derive(Clone, Copy)]
pub enum Edit<'a> {
    /// Removes entries under a `# DenyHosts:` comment from before a moment. An entry goes only if the line below the comment is,
    /// byte for byte, the one that the comment names.
    Purge {
        /// The moment; `None` for all that have such a comment.
        before: Option<Timestamp>,
        /// Who is denied for life: they keep entry and comment.
        for_life: &'a dyn Fn(&Prefix) -> bool,
    },
    /// Removes the entries of these addresses or networks, whoever wrote them, and their `# DenyHosts:` comments. A line that
    /// names anything else beside them stays.
    Release(&'a [Prefix]),
    /// Removes this one line, and its `# DenyHosts:` comment, if it still says what was shown and names this prefix alone.
    This {
        /// Its number, from 1.
        line: usize,
        /// What it said, escaped for terminals and cut.
        shown: &'a str,
        /// Whom it is to name.
        prefix: &'a Prefix,
    },
    /// Puts a `# DenyHosts:` comment with this time above each entry of one address that has none, so that a later purge ends it.
    Migrate(Timestamp),
    /// Moves DenyHosts 0.9.8's comments from behind entries to lines above them.
    Upgrade099,
}

/// What an edit changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// What changes, from the top down.
    pub changes: Vec<Change>,
    /// Whose entries go; an address comes as often as its entries.
    pub released: Vec<Prefix>,
    /// Lines that somebody may have expected to change.
    pub left: Vec<Left>,
    /// Where the old file is; `None` if nothing was written.
    pub backup: Option<PathBuf>,
}

/// A changed line; its text is escaped for terminals, and has no line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A line of the old file, by its number from 1.
    Gone(usize, String),
    /// A new line, in the place of or above the line of the old file that has this number.
    New(usize, String),
}

/// A line that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its number in the old file, from 1.
    pub line: usize,
    /// What it says, escaped for terminals.
    pub text: String,
    /// Why it stays.
    pub why: &'static str,
}

/// What an edit of the file would change. Times in it are in this zone. Writes nothing.
pub fn plan(path: &Path, edit: Edit<'_>, zone: &TimeZone) -> Result<Edited, DenyError> {
    let Some(target) = file::target(path)? else { return Ok(Edited::default()) };
    let (old, _) = read(&target)?;
    Ok(edited(&old, edit, zone, lets_in(path)).1)
}

/// Edits the file. An error if that would change anything else than what was `shown`, or if it cannot be written: then it is
/// as it was.
pub fn carry_out(path: &Path, edit: Edit<'_>, zone: &TimeZone, shown: Option<&Edited>) -> Result<Edited, DenyError> {
    let mut done = Edited::default();
    let backup = edit.backup_of(path);
    // A purge takes what DenyHosts or denyd wrote, each day; all else took somebody's lines, which are nowhere else then.
    let backup = if matches!(edit, Edit::Purge { .. }) { backup } else { free(&backup) };
    let is_written = rewrite(path, Some(&backup), &mut |old| {
        let (new, edited) = edited(old, edit, zone, lets_in(path));
        if shown.is_some_and(|shown| shown.changes != edited.changes) {
            return Err(failed(path, "somebody changed it since the changes were shown; nothing was done".to_owned()));
        }
        done = edited;
        Ok(new)
    })?;
    done.backup = is_written.then_some(backup);
    Ok(done)
}

/// What makes the new bytes of a file of the old ones.
pub type Make<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, DenyError>;

/// Puts in the place of a file what is made of its bytes, with owner, mode and attributes of the old one, which is kept as
/// `backup`. Who writes the file meanwhile is not overwritten: then it is made once more. Returns whether anything changed; where
/// nothing does, nothing is written.
pub fn rewrite(path: &Path, backup: Option<&Path>, make: Make<'_>) -> Result<bool, DenyError> {
    for _ in 0..TRIES_MAX {
        let Some(target) = file::target(path)? else { return Ok(false) };
        let (old, found) = read(&target)?;
        let new = make(&old)?;
        if new == old {
            return Ok(false);
        }
        if let Some(backup) = backup {
            // A link that stands there is replaced, and not followed.
            let place = Spot::itself(backup).map_err(|error| file::failed("follow", backup, &error))?;
            file::rename(file::write_edit(&place, &old, found.as_ref())?, &place)?;
        }
        let temporary = file::write_edit(&target, &new, found.as_ref())?;
        if stat(&target)? != found.as_ref().map(|found| Seen::of(&found.metadata)) {
            continue; // somebody else wrote it: once more, with what they wrote
        }
        file::rename(temporary, &target)?;
        sync_directory(&target)?;
        return Ok(true);
    }
    Err(failed(path, format!("somebody else changed it {TRIES_MAX} times meanwhile")))
}

fn failed(path: &Path, cause: String) -> DenyError {
    DenyError::new(NAME, format!("edit {}", path.display()), cause)
}

/// A name that no file has: that one, else with a number behind it. What an earlier edit kept is in no other file.
fn free(name: &Path) -> PathBuf {
    let numbered = (1..).map(|number| {
        let mut name = name.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let is_free = |name: &PathBuf| std::fs::symlink_metadata(name).is_err();
    std::iter::once(name.to_owned()).chain(numbered.take(BACKUPS_MAX)).find(is_free).unwrap_or_else(|| name.to_owned())
}

/// So many files of one name are looked for.
const BACKUPS_MAX: usize = 10_000;

impl Edit<'_> {
    /// Where the file is kept as it was: as DenyHosts did.
    fn backup_of(&self, path: &Path) -> PathBuf {
        let suffix = match self {
            Edit::Purge { .. } => ".purge.bak",
            Edit::Release(_) | Edit::This { .. } => ".purgeip.bak",
            Edit::Migrate(_) => ".migrate.bak",
            Edit::Upgrade099 => ".0.9.9.bak",
        };
        let mut backup = path.as_os_str().to_owned();
        backup.push(suffix);
        backup.into()
    }
}

/// Whether a line of the file lets in if it does not say `: deny`.
fn lets_in(path: &Path) -> bool {
    path.ends_with("hosts.allow")
}

/// The new text, and what is new in it. Pure.
fn edited(old: &[u8], edit: Edit<'_>, zone: &TimeZone, lets_in: bool) -> (Vec<u8>, Edited) {
    let mut lines = Vec::new();
    let mut rest = old;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_len(rest));
        lines.push(line);
        rest = after;
    }
    let mut writer =
        Writer { lines: &lines, lets_in, at: 0, bytes: Vec::with_capacity(old.len()), edited: Edited::default() };
    while writer.at < lines.len() {
        // libwrap joins a line to one before it that ends in a backslash, and it is no entry then.
        if writer.before().is_some_and(|before| before.ends_with(b"\\")) {
            writer.keep();
            continue;
        }
        match edit {
            Edit::Purge { before, for_life } => writer.purge(before, for_life, zone),
            Edit::Release(prefixes) => writer.release(prefixes),
            Edit::This { line, shown, prefix } => {
                let is_it =
                    |at: usize| at == line && lines.get(at - 1).is_some_and(|raw| libwrap::shown(trim(raw)) == shown);
                // The comment is for the line below it.
                let of_comment = entry::stamped(writer.line()).is_some_and(|(_, of)| Some(of) == writer.below());
                match is_it(writer.at + 1 + usize::from(of_comment)) {
                    true => writer.release(std::slice::from_ref(prefix)),
                    false => writer.keep(),
                }
            }
            Edit::Migrate(now) => writer.migrate(&text::asctime(now, zone)),
            Edit::Upgrade099 => writer.upgrade(),
        }
    }
    (writer.bytes, writer.edited)
}

/// Goes through the lines, and writes the new ones.
struct Writer<'a> {
    lines: &'a [&'a [u8]],
    lets_in: bool,
    at: usize,
    bytes: Vec<u8>,
    edited: Edited,
}

impl<'a> Writer<'a> {
    /// The line that is looked at, without its end.
    fn line(&self) -> &'a [u8] {
        trim(self.lines[self.at])
    }

    fn before(&self) -> Option<&'a [u8]> {
        self.at.checked_sub(1).map(|at| trim(self.lines[at]))
    }

    fn below(&self) -> Option<&'a [u8]> {
        self.lines.get(self.at + 1).map(|line| trim(line))
    }

    fn keep(&mut self) {
        self.bytes.extend(self.lines[self.at]);
        self.at += 1;
    }

    /// Keeps the line, and says why.
    fn leave(&mut self, why: &'static str) {
        self.edited.left.push(Left { line: self.at + 1, text: text::printable(self.line()), why });
        self.keep();
    }

    fn remove(&mut self) {
        self.edited.changes.push(Change::Gone(self.at + 1, text::printable(self.line())));
        self.at += 1;
    }

    /// Writes a new line in the place of or above the one that is looked at.
    fn insert(&mut self, line: &[u8]) {
        self.edited.changes.push(Change::New(self.at + 1, text::printable(line)));
        self.bytes.extend(line);
        self.bytes.push(b'\n');
    }

    fn purge(&mut self, before: Option<Timestamp>, for_life: &dyn Fn(&Prefix) -> bool, zone: &TimeZone) {
        let Some((time, named)) = entry::stamped(self.line()) else { return self.keep() };
        let utf8 = |bytes| std::str::from_utf8(bytes).ok();
        let Some(prefix) = utf8(named).and_then(entry::denied) else {
            return self.leave("it is of a rule of somebody's, not of one address");
        };
        if let Some(before) = before {
            match text::from_asctime(time, zone) {
                None => return self.leave("its time cannot be read"),
                Some(time) if time >= before => return self.keep(),
                Some(_) => {}
            }
        }
        match self.below() {
            None => self.leave("there is nothing below it"),
            Some(below) if below != named => self.leave("what is below it is not the entry that it names"),
            Some(_) if for_life(&prefix) => {
                self.leave("it was released too often, and is denied for life");
                self.keep();
            }
            Some(_) => {
                self.remove();
                self.remove();
                self.edited.released.push(prefix);
            }
        }
    }

    fn release(&mut self, prefixes: &[Prefix]) {
        let line = self.line();
        let of_comment = entry::stamped(line).map(|(_, entry)| entry);
        let found = std::str::from_utf8(of_comment.unwrap_or(line)).ok().and_then(entry);
        let denies = found.filter(|found| found.says_deny || !self.lets_in).map(|found| found.prefix);
        match denies.filter(|prefix| prefixes.contains(prefix)) {
            None => self.keep(),
            Some(prefix) => {
                self.remove();
                if of_comment.is_none() {
                    self.edited.released.push(prefix);
                }
            }
        }
    }

    fn migrate(&mut self, now: &str) {
        let line = self.line();
        let is_blank = line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#");
        if is_blank || self.before().and_then(entry::stamped).is_some_and(|(_, entry)| entry == line) {
            return self.keep();
        }
        match std::str::from_utf8(line).ok().and_then(entry) {
            None => self.leave("it is a rule of somebody's, not of one address"),
            Some(found) if self.lets_in && !found.says_deny => self.leave("it lets in"),
            Some(found) if found.service.is_empty() => {
                self.leave("in a file of addresses alone libwrap takes the words of a comment for addresses, too");
            }
            Some(found) if found.comment.starts_with(INLINE) => {
                self.leave("DenyHosts 0.9.8 wrote it: denyhosts --upgrade099");
            }
            Some(found) if !found.comment.is_empty() => self.leave("somebody's comment is behind it"),
            Some(_) => {
                self.insert(&entry::stamp(now, line));
                self.keep();
            }
        }
    }

    fn upgrade(&mut self) {
        let line = self.line();
        let text = std::str::from_utf8(line).unwrap_or_default();
        let is_comment = text.trim_start().starts_with('#');
        if is_comment || !text.contains(INLINE) {
            return self.keep();
        }
        let found = entry(text);
        match found.and_then(|found| Some((found, found.comment.strip_prefix(INLINE)?))) {
            None => self.leave("it is a rule of somebody's, not of one address"),
            Some((found, time)) => {
                self.insert(&entry::stamp(time.trim(), found.text.as_bytes()));
                self.insert(found.text.as_bytes());
                self.remove();
            }
        }
    }
}

/// What DenyHosts 0.9.8 wrote behind an entry, before the time.
const INLINE: &str = "# DenyHosts:";

#[cfg(test)]
mod tests {
    use super::*;

    /// `;` stands for a line end in `old` and `new`. A second time changes nothing.
    #[track_caller]
    fn check(old: &str, edit: Edit<'_>, new: &str, released: &str, left: &[usize]) {
        let old = old.replace(';', "\n");
        let (bytes, what) = edited(old.as_bytes(), edit, &TimeZone::UTC, false);
        assert_eq!(String::from_utf8(bytes.clone()).unwrap().replace('\n', ";"), new);
        let names: Vec<String> = what.released.iter().map(Prefix::to_string).collect();
        assert_eq!(names.join(" "), released);
        assert_eq!(what.left.iter().map(|left| left.line).collect::<Vec<_>>(), left, "{:?}", what.left);
        assert_eq!(what.changes.is_empty(), bytes == old.as_bytes());
        let (again, what) = edited(&bytes, edit, &TimeZone::UTC, false);
        assert_eq!((again, what.changes, what.released), (bytes, vec![], vec![]), "a second time");
    }

    const OLD: &str = "Sat Nov 21 23:38:26 2026";
    const NEW: &str = "Sun Nov 22 23:38:26 2026";

    fn purge<'a>(for_life: &'a dyn Fn(&Prefix) -> bool) -> Edit<'a> {
        Edit::Purge { before: Some(Timestamp::from_secs(1_795_304_307)), for_life }
    }

    #[test]
    fn purges_what_is_old_and_verified() {
        let nobody = |_: &Prefix| false;
        let check = |old: &str, new: &str, released: &str, left: &[usize]| {
            let stamp = |text: &str| {
                text.replace("#OLD", &format!("# DenyHosts: {OLD} |")).replace("#NEW", &format!("# DenyHosts: {NEW} |"))
            };
            check(&stamp(old), purge(&nobody), &stamp(new), released, left);
        };
        check("", "", "", &[]);
        check("a;#OLD sshd: 192.0.2.1;sshd: 192.0.2.1;b;", "a;b;", "192.0.2.1", &[]);
        check("#OLD sshd: 192.0.2.1;sshd: 192.0.2.1", "", "192.0.2.1", &[]);
        check("#NEW sshd: 192.0.2.1;sshd: 192.0.2.1;", "#NEW sshd: 192.0.2.1;sshd: 192.0.2.1;", "", &[]);
        check("#OLD 192.0.2.1;192.0.2.1;", "", "192.0.2.1", &[]);
        check("#OLD sshd: 192.0.2.1 : deny;sshd: 192.0.2.1 : deny;", "", "192.0.2.1", &[]);
        check("#OLD sshd: [2001:db8::1];sshd: [2001:db8::1];", "", "2001:db8::1", &[]);
        check("#OLD sshd: 2001:db8::1;sshd: 2001:db8::1;", "", "2001:db8::1", &[]);
        // without a comment, or with another line below it
        check("sshd: 192.0.2.1;", "sshd: 192.0.2.1;", "", &[]);
        let same = |text: &str, left: &[usize]| check(text, text, "", left);
        same("#OLD sshd: 192.0.2.1;;sshd: 192.0.2.1;", &[1]);
        same("#OLD sshd: 192.0.2.1;sshd: 192.0.2.1 ;", &[1]);
        same("#OLD sshd: 192.0.2.1;sshd: 192.0.2.12;", &[1]);
        same("x;#OLD sshd: 192.0.2.1;", &[2]);
        same("#OLD ALL: PARANOID;ALL: PARANOID;", &[1]);
        same("# DenyHosts: long ago | sshd: 192.0.2.1;sshd: 192.0.2.1;", &[1]);
        same("ALL: a \\;#OLD sshd: 192.0.2.1;sshd: 192.0.2.1;", &[]);
        // one that cannot be verified hides none behind it
        check("#OLD sshd: 192.0.2.1;#OLD sshd: 192.0.2.2;sshd: 192.0.2.2;", "#OLD sshd: 192.0.2.1;", "192.0.2.2", &[1]);
    }

    /// In DenyHosts their comment went while another one was purged, and with it the time.
    #[test]
    fn who_is_denied_for_life_keeps_comment_and_line() {
        let first = |prefix: &Prefix| prefix.to_string() == "192.0.2.1";
        let pair = |host: &str| format!("# DenyHosts: {OLD} | sshd: {host};sshd: {host};");
        let both = pair("192.0.2.1") + &pair("192.0.2.2");
        check(&both, purge(&first), &pair("192.0.2.1"), "192.0.2.2", &[1]);
        check(&pair("192.0.2.1"), purge(&first), &pair("192.0.2.1"), "", &[1]);
    }

    #[test]
    fn purges_all_that_has_a_comment() {
        let text = "# DenyHosts: any time | sshd: 192.0.2.1;sshd: 192.0.2.1;sshd: 192.0.2.2;";
        let all = Edit::Purge { before: None, for_life: &|_| false };
        check(text, all, "sshd: 192.0.2.2;", "192.0.2.1", &[]);
    }

    #[test]
    fn releases_addresses_in_every_form() {
        let wanted = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let check = |old: &str, new: &str, released: &str| check(old, Edit::Release(&wanted), new, released, &[]);
        for line in ["sshd: 192.0.2.1", "192.0.2.1", "ALL: 192.0.2.1", "sshd: 192.0.2.1 : deny", "192.0.2.1 : deny"] {
            check(&format!("a;{line};b;"), "a;b;", "192.0.2.1");
            check(&format!("a;# DenyHosts: T | {line};{line};b;"), "a;b;", "192.0.2.1");
            check(&format!("{line} # DenyHosts: T;b;"), "b;", "192.0.2.1");
            check(&format!("# DenyHosts: T | {line};;{line};"), ";", "192.0.2.1");
        }
        check("sshd: 2001:db8::1;sshd: [2001:db8::1];", "", "2001:db8::1 2001:db8::1");
        let same =
            "sshd: 192.0.2.11;ALL: 192.0.2.1, 192.0.2.2;sshd: 192.0.2.0/255.255.255.0;# 192.0.2.1;a \\;192.0.2.1;";
        check(same, same, "");
    }

    #[test]
    fn releases_the_line_that_was_shown_and_no_other() {
        let prefix = "192.0.2.1".parse().unwrap();
        let old = "# DenyHosts: T | smtp: 192.0.2.1;smtp: 192.0.2.1;# DenyHosts: T | sshd: 192.0.2.1;sshd: 192.0.2.1;ALL: 192.0.2.1, 192.0.2.2;";
        let this = |line: usize, shown: &str, new: &str, released: &str| {
            let old = old.replace(';', "\n");
            let edit = Edit::This { line, shown, prefix: &prefix };
            let (bytes, what) = edited(old.as_bytes(), edit, &TimeZone::UTC, false);
            assert_eq!(String::from_utf8(bytes).unwrap().replace('\n', ";"), new, "{line} {shown}");
            assert_eq!(what.released.iter().map(Prefix::to_string).collect::<Vec<_>>().join(" "), released);
        };
        let smtp = "# DenyHosts: T | smtp: 192.0.2.1;smtp: 192.0.2.1;";
        this(4, "sshd: 192.0.2.1", &format!("{smtp}ALL: 192.0.2.1, 192.0.2.2;"), "192.0.2.1");
        this(4, "sshd: 192.0.2.7", old, "");
        this(3, "sshd: 192.0.2.1", old, "");
        this(5, "ALL: 192.0.2.1, 192.0.2.2", old, "");
        this(9, "sshd: 192.0.2.1", old, "");
    }

    #[test]
    fn what_was_removed_is_in_a_file_that_no_later_edit_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.deny");
        std::fs::write(&path, "sshd: 192.0.2.1\nsshd: 192.0.2.2\n").unwrap();
        let release = |host: &str| {
            let wanted = [host.parse().unwrap()];
            let done = carry_out(&path, Edit::Release(&wanted), &TimeZone::UTC, None).unwrap();
            std::fs::read_to_string(done.backup.unwrap()).unwrap()
        };
        assert_eq!(release("192.0.2.1"), "sshd: 192.0.2.1\nsshd: 192.0.2.2\n");
        assert_eq!(release("192.0.2.2"), "sshd: 192.0.2.2\n");
        let first = std::fs::read_to_string(dir.path().join("hosts.deny.purgeip.bak")).unwrap();
        assert!(first.contains("192.0.2.1") && dir.path().join("hosts.deny.purgeip.bak.1").exists());
    }

    #[test]
    fn migrates_lines_of_one_address() {
        let now = Edit::Migrate(Timestamp::from_secs(1_795_304_306));
        let stamped = |line: &str| format!("# DenyHosts: {OLD} | {line};{line};");
        let old =
            "# mine;;sshd: 192.0.2.1;ALL: PARANOID;ALL: a, b;sshd: 192.0.2.2 : deny;192.0.2.3;sshd: 192.0.2.4 # Bob's;";
        let new = format!(
            "# mine;;{}ALL: PARANOID;ALL: a, b;{}192.0.2.3;sshd: 192.0.2.4 # Bob's;",
            stamped("sshd: 192.0.2.1"),
            stamped("sshd: 192.0.2.2 : deny")
        );
        check(old, now, &new, "", &[4, 5, 7, 8]);
        let old = "# DenyHosts: T | sshd: 192.0.2.1;sshd: 192.0.2.1;sshd: 192.0.2.1;";
        check(
            old,
            now,
            &format!("# DenyHosts: T | sshd: 192.0.2.1;sshd: 192.0.2.1;{}", stamped("sshd: 192.0.2.1")),
            "",
            &[],
        );
        check("sshd: 192.0.2.1 # DenyHosts: T;", now, "sshd: 192.0.2.1 # DenyHosts: T;", "", &[1]);
    }

    #[test]
    fn upgrades_comments_of_old() {
        let old = format!(
            "# x # DenyHosts: T;;sshd: 192.0.2.1 # DenyHosts: {OLD};ALL: PARANOID # DenyHosts: T;sshd: 192.0.2.2;"
        );
        let new = format!(
            "# x # DenyHosts: T;;# DenyHosts: {OLD} | sshd: 192.0.2.1;sshd: 192.0.2.1;ALL: PARANOID # DenyHosts: T;sshd: 192.0.2.2;"
        );
        check(&old, Edit::Upgrade099, &new, "", &[4]);
    }

    #[test]
    fn a_line_of_hosts_allow_that_lets_in_is_no_entry() {
        let old = b"sshd: 192.0.2.1\nsshd: 192.0.2.1 : deny\nALL: ALL : allow\n";
        let edited = |edit| String::from_utf8(edited(old, edit, &TimeZone::UTC, true).0).unwrap();
        let wanted = ["192.0.2.1".parse().unwrap()];
        assert_eq!(edited(Edit::Release(&wanted)), "sshd: 192.0.2.1\nALL: ALL : allow\n");
        assert!(edited(Edit::Migrate(Timestamp::from_secs(0))).starts_with("sshd: 192.0.2.1\n# DenyHosts: "));
    }

    #[test]
    fn bytes_stay_bytes() {
        let old = b"\xff\0\r\n\n\nsshd: 192.0.2.1\r\nx";
        let (new, what) = edited(old, Edit::Release(&["192.0.2.1".parse().unwrap()]), &TimeZone::UTC, false);
        assert_eq!(new, b"\xff\0\r\n\n\nx");
        assert_eq!(what.changes, [Change::Gone(4, "sshd: 192.0.2.1\\r".to_owned())]);
    }

    #[test]
    fn what_a_daemon_is_writing_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("hosts.deny"), dir.path().join(".hosts.deny.denyd-new"));
        std::fs::write(&path, "sshd: 192.0.2.1\nsshd: 192.0.2.2\n").unwrap();
        std::fs::write(&new, "half a li").unwrap();
        let wanted = ["192.0.2.1".parse().unwrap()];
        carry_out(&path, Edit::Release(&wanted), &TimeZone::UTC, None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"sshd: 192.0.2.2\n");
        assert_eq!(std::fs::read(&new).unwrap(), b"half a li");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "the file, its backup, and that");
    }
}
