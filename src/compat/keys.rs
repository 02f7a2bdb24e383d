//! What each key of `denyhosts.conf` means here.
//!
//! Every key that a DenyHosts ever had is in one of the lists: it is translated, or a remark says what takes its place. A key that
//! is absent has DenyHosts' default, not ours.

use std::path::{Path, PathBuf};

use super::conf::{self, Setting};
use super::{Kind, Origin, Remark, Translation, World, absolute};
use crate::text::quoted;
use framing::{FORMAT, Framing};
use patterns::{Rule, literal};

mod enforcing;
mod framing;
pub(super) mod names;
mod patterns;
mod sharing;
mod telling;

/// Tables of ours, in their order.
const TABLES: &[&str] = &[
    "",
    "[decide]",
    "[deny]",
    "[deny.pf]",
    "[deny.hosts_deny]",
    "[compat]",
    "[mail]",
    "[plugin]",
    "[report]",
    "[sync]",
    "[[input]]",
];

/// Those of them that say who is told.
pub(super) use telling::TABLES as TELLING;

/// How long the name of an input may be, in bytes.
const LOG_NAME_MAX: usize = 64;

/// A key of ours.
struct Entry {
    table: &'static str,
    key: &'static str,
    /// As TOML writes it.
    value: String,
    origin: Origin,
}

struct Draft<'a> {
    settings: &'a [Setting],
    world: &'a World<'a>,
    entries: Vec<Entry>,
    rules: Vec<Rule>,
    log: Option<(PathBuf, bool)>,
    remarks: Vec<Remark>,
    problems: Vec<(usize, String)>,
    /// Keys that nobody knows, by their lines.
    unknown: Vec<(usize, String)>,
}

/// See [`super::translate`].
pub(super) fn translate(
    settings: &[Setting],
    world: &World<'_>,
    remarks: Vec<Remark>,
    problems: Vec<(usize, String)>,
) -> Result<Translation, Vec<(usize, String)>> {
    let mut draft = Draft {
        settings,
        world,
        entries: Vec::new(),
        rules: Vec::new(),
        log: None,
        remarks,
        problems,
        unknown: Vec::new(),
    };
    draft.name_odd_keys();
    draft.thresholds();
    draft.ages();
    draft.lengths();
    draft.lists();
    draft.back_ends();
    draft.mail();
    draft.plugins();
    draft.report();
    draft.sharing();
    draft.log();
    draft.lock_file();
    draft.patterns();
    if !draft.problems.is_empty() {
        // A key that is missing may be there, misspelt.
        draft.problems.extend(draft.unknown);
        draft.problems.sort_by_key(|&(line, _)| if line == 0 { usize::MAX } else { line });
        draft.problems.dedup();
        return Err(draft.problems);
    }
    draft.remarks.sort_by_key(|remark| if remark.line == 0 { usize::MAX } else { remark.line });
    Ok(draft.written())
}

/// Where the logs of who logs in are on the usual systems, read where SECURE_LOG is that of another one.
const LOGS: [&str; 3] = ["/var/log/auth.log", "/var/log/secure", "/var/log/authlog"];

impl<'a> Draft<'a> {
    /// The last setting of a name, which is the one that holds.
    fn get(&self, name: &str) -> Option<&'a Setting> {
        self.settings.iter().rev().find(|setting| setting.name == name)
    }

    /// The same, if its value is not blank.
    fn value(&self, name: &str) -> Option<&'a Setting> {
        self.get(name).filter(|setting| !setting.value.is_empty())
    }

    fn remark(&mut self, line: usize, what: String) {
        self.remarks.push(Remark { line, what, differs: true });
    }

    /// That a key is absent, and what holds then.
    fn absent(&mut self, name: &str, holds: &str) {
        self.remarks.push(Remark { line: 0, what: format!("{name} is absent: {holds}"), differs: false });
    }

    fn problem(&mut self, setting: &Setting, what: String) {
        self.problems.push((setting.line, format!("{}: {what}", setting.name)));
    }

    fn set(&mut self, table: &'static str, key: &'static str, value: String, from: &str) {
        let origin = Origin { line: self.get(from).map_or(0, |setting| setting.line), key: from.to_owned() };
        self.entries.push(Entry { table, key, value, origin });
    }

    fn thresholds(&mut self) {
        let old = self.get("DENY_THRESHOLD_INVALID").is_none() && self.get("DENY_THRESHOLD").is_some();
        if old {
            self.absent("DENY_THRESHOLD_INVALID", "the old DENY_THRESHOLD takes its place");
        }
        let invalid = if old { "DENY_THRESHOLD" } else { "DENY_THRESHOLD_INVALID" };
        self.threshold(invalid, "threshold_invalid");
        self.threshold("DENY_THRESHOLD_VALID", "threshold_valid");
        self.threshold("DENY_THRESHOLD_ROOT", "threshold_root");
        if self.get("DENY_THRESHOLD_RESTRICTED").is_some() {
            self.threshold("DENY_THRESHOLD_RESTRICTED", "threshold_restricted");
        } else {
            self.absent("DENY_THRESHOLD_RESTRICTED", "that of DENY_THRESHOLD_ROOT holds");
            self.threshold("DENY_THRESHOLD_ROOT", "threshold_restricted");
        }
    }

    fn threshold(&mut self, name: &str, key: &'static str) {
        let Some(setting) = self.get(name) else { return };
        match setting.value.parse::<i64>() {
            Ok(0) => {
                self.remark(
                    setting.line,
                    format!("{name} = 0 denies at the first failure; DenyHosts would not have started"),
                );
                self.set("[decide]", key, "0".to_owned(), name);
            }
            Ok(count @ 1..=0xffff_ffff) => self.set("[decide]", key, count.to_string(), name),
            Ok(_) => self.problem(
                setting,
                "below zero DenyHosts denied everybody who ever logged in; write 0 or more".to_owned(),
            ),
            Err(_) => self.problem(
                setting,
                format!("`{}` is no whole number, and DenyHosts would not have started", setting.value),
            ),
        }
    }

    fn ages(&mut self) {
        for (name, key) in [
            ("AGE_RESET_INVALID", "age_reset_invalid"),
            ("AGE_RESET_VALID", "age_reset_valid"),
            ("AGE_RESET_ROOT", "age_reset_root"),
            ("AGE_RESET_RESTRICTED", "age_reset_restricted"),
        ] {
            match self.value(name) {
                Some(setting) => match conf::seconds(&setting.value) {
                    Ok(seconds) => self.set("[decide]", key, time(seconds), name),
                    Err(what) => self.problem(setting, what),
                },
                None => {
                    self.absent(name, "these counts never begin anew");
                    self.set("[decide]", key, quoted("never"), name);
                }
            }
        }
        match self.value("RESET_ON_SUCCESS") {
            Some(setting) => match conf::yes(&setting.value) {
                Ok(yes) => self.set("[decide]", "reset_on_success", yes.to_string(), "RESET_ON_SUCCESS"),
                Err(what) => self.problem(setting, what),
            },
            None => self.absent("RESET_ON_SUCCESS", "a good login sets no count back"),
        }
    }

    /// How long denies last.
    fn lengths(&mut self) {
        let never_purges = self.get("DAEMON_PURGE").is_some_and(|setting| setting.value.is_empty());
        match self.value("PURGE_DENY") {
            Some(setting) => match conf::seconds(&setting.value) {
                Ok(seconds) if never_purges => {
                    let what = "DAEMON_PURGE is blank, so that the daemon purges nothing: denies last until `denyhosts --purge`";
                    self.remark(setting.line, what.to_owned());
                    self.set("[decide]", "deny_for", quoted("forever"), "DAEMON_PURGE");
                    self.set("[compat]", "purge_after", time(seconds), "PURGE_DENY");
                }
                Ok(seconds) => self.set("[decide]", "deny_for", time(seconds), "PURGE_DENY"),
                Err(what) => self.problem(setting, what),
            },
            None => {
                self.set("[decide]", "deny_for", quoted("forever"), "PURGE_DENY");
                if let Some(setting) = self.get("PURGE_DENY") {
                    let what = "PURGE_DENY is blank: denies last for ever, though addresses change hands; 4w would let them end";
                    self.remarks.push(Remark { line: setting.line, what: what.to_owned(), differs: false });
                }
            }
        }
        let Some(setting) = self.value("PURGE_THRESHOLD") else {
            return self.absent("PURGE_THRESHOLD", "no number of releases makes a deny last for ever");
        };
        match setting.value.parse::<u32>() {
            Ok(0) => self.set("[decide]", "permanent_after", quoted("never"), "PURGE_THRESHOLD"),
            Ok(count) => self.set("[decide]", "permanent_after", count.to_string(), "PURGE_THRESHOLD"),
            Err(_) => self.problem(setting, format!("`{}` is no count of purges; write 0 or more", setting.value)),
        }
    }

    /// Who is spared, and who is restricted.
    fn lists(&mut self) {
        let work_dir = self.value("WORK_DIR").map(|setting| absolute(&setting.value, self.world));
        match &work_dir {
            Some(dir) => self.set("[compat]", "work_dir", quoted(&dir.to_string_lossy()), "WORK_DIR"),
            None => self.absent("WORK_DIR", "no files of DenyHosts' are written; DenyHosts would not have started"),
        }
        self.set("[compat]", "forgive_deleted", "true".to_owned(), "WORK_DIR");
        if let Some(dir) = &work_dir {
            let file = dir.join("allowed-hosts");
            if (self.world.is_there)(&file) == Some(Kind::File) {
                self.set("[decide]", "allow_file", quoted(&file.to_string_lossy()), "WORK_DIR");
            }
            if (self.world.is_there)(dir).is_none() {
                let what = "is not there, so no allowed-hosts is read from it; a unit with ProtectHome=yes sees nothing in /home and /root";
                self.remark(
                    self.get("WORK_DIR").map_or(0, |setting| setting.line),
                    format!("WORK_DIR = {} {what}", dir.display()),
                );
            }
        }
        let etc_dir = self
            .value("ETC_DIR")
            .map_or_else(|| Path::new("/etc").to_owned(), |setting| absolute(&setting.value, self.world));
        // Since 2.7 it is in ETC_DIR, before and in all comments in WORK_DIR: whoever put names into one of them meant them.
        let places = [Some((etc_dir, "ETC_DIR")), work_dir.map(|dir| (dir, "WORK_DIR"))];
        let mut files: Vec<_> =
            places.into_iter().flatten().map(|(dir, key)| (dir.join("restricted-usernames"), key)).collect();
        files.dedup_by(|(one, _), (before, _)| one == before);
        files.retain(|(file, _)| (self.world.is_there)(file) == Some(Kind::File));
        let shown: Vec<_> = files.iter().map(|(file, _)| quoted(&file.to_string_lossy())).collect();
        match (&shown[..], files.first()) {
            ([one], Some((_, key))) => self.set("[decide]", "restricted_users_file", one.clone(), key),
            (all, Some((_, key))) => {
                self.set("[decide]", "restricted_users_file", format!("[{}]", all.join(", ")), key);
            }
            _ => {}
        }
    }

    /// What is read.
    fn log(&mut self) {
        let framing = self.framing();
        let Some(setting) = self.value("SECURE_LOG") else {
            return self.absent("SECURE_LOG", "denyd finds sshd's log itself; DenyHosts would not have started");
        };
        let path = absolute(&setting.value, self.world);
        if path.ends_with("asl.log") {
            let what = "is Apple's system log, whose format denyd does not read; have it forwarded by syslog";
            return self.problem(setting, format!("{} {what}", path.display()));
        }
        if let Some(why) = (self.world.journal_instead)(&path) {
            let (line, shown) = (setting.line, path.display().to_string());
            self.remark(
                line,
                format!("SECURE_LOG = {shown} {why}: the journal is read instead, until it is written again"),
            );
            // By the log's name: a cursor of the one is none of the other, so neither goes on where both have been.
            self.log = Some((path, true));
            self.set("[[input]]", "kind", quoted("journald"), "SECURE_LOG");
            if shown.len() <= LOG_NAME_MAX {
                self.set("[[input]]", "name", quoted(&shown), "SECURE_LOG");
            }
            return;
        }
        let (path, kind) = match (self.world.is_there)(&path) {
            Some(Kind::Directory) => (path, "multilog"),
            Some(Kind::File) => (path, "file"),
            None => {
                let is_there = |usual: &&&str| (self.world.is_there)(Path::new(usual)) == Some(Kind::File);
                let (read, what) = match LOGS.iter().find(is_there) {
                    Some(usual) => ((PathBuf::from(usual), "file"), format!("{usual} is read instead")),
                    // A log daemon makes it with the first message, and DenyHosts waited for it, too.
                    None => {
                        let kind = if setting.value.ends_with('/') { "multilog" } else { "file" };
                        ((path.clone(), kind), "there is no journal to read instead, and it is waited for".to_owned())
                    }
                };
                self.remark(setting.line, format!("SECURE_LOG = {} is not there: {what}", path.display()));
                read
            }
        };
        self.log = Some((path.clone(), false));
        self.set("[[input]]", "kind", quoted(kind), "SECURE_LOG");
        self.set("[[input]]", "path", quoted(&path.to_string_lossy()), "SECURE_LOG");
        match framing {
            Some(Framing::Multilog) => {
                if kind == "file" {
                    self.set("[[input]]", "format", quoted("multilog"), FORMAT);
                }
                self.set("[[input]]", "identifier", quoted("sshd"), FORMAT);
            }
            Some(Framing::Other(pattern)) => self.set("[[input]]", "format_regex", literal(&pattern), FORMAT),
            Some(Framing::Auto) | None => {}
        }
    }

    fn lock_file(&mut self) {
        if let Some(setting) = self.value("LOCK_FILE") {
            let path = absolute(&setting.value, self.world);
            self.set("[compat]", "lock_file", quoted(&path.to_string_lossy()), "LOCK_FILE");
        }
    }

    /// The text, table by table.
    fn written(self) -> Translation {
        let mut written = Translation { remarks: self.remarks, log: self.log, ..Translation::default() };
        let mut put = |line: String, origin: Option<Origin>| {
            written.toml += &line;
            written.toml.push('\n');
            written.lines.push(origin);
        };
        for table in TABLES {
            let entries = self.entries.iter().filter(|entry| entry.table == *table);
            for (index, Entry { key, value, origin, .. }) in entries.enumerate() {
                if index == 0 && !table.is_empty() {
                    put(String::new(), None);
                    put((*table).to_owned(), None);
                }
                put(comment(self.settings, origin), None);
                put(format!("{key} = {value}"), Some(origin.clone()));
            }
        }
        for Rule { lines, origin } in self.rules {
            put(String::new(), None);
            put(comment(self.settings, &origin), None);
            lines.into_iter().for_each(|line| put(line, Some(origin.clone())));
        }
        written
    }
}

/// What stood in DenyHosts' file, as a comment.
fn comment(settings: &[Setting], origin: &Origin) -> String {
    let comment = match settings.iter().find(|setting| setting.line == origin.line) {
        Some(setting) if setting.name == "SMTP_PASSWORD" => "# SMTP_PASSWORD".to_owned(),
        Some(setting) => format!("# {} = {}", setting.name, crate::text::plain(&setting.value)),
        None => format!("# {} is absent", origin.key),
    };
    comment.trim_end().to_owned()
}

/// A duration as TOML writes it.
fn time(seconds: u64) -> String {
    let (unit, worth) = [("d", 86_400), ("h", 3600), ("m", 60)]
        .into_iter()
        .find(|(_, worth)| seconds.is_multiple_of(*worth))
        .unwrap_or(("s", 1));
    quoted(&format!("{}{unit}", seconds / worth))
}
