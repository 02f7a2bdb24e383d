//! What each key of `denyhosts.conf` means here.
//!
//! Every key that a DenyHosts ever had is in one of the lists: it is translated, or a remark says what takes its place. A key that
//! is absent has DenyHosts' default, not ours.

use std::path::{Path, PathBuf};

use super::conf::{self, Setting, UNSAFE};
use super::{Kind, LOG_FIELDS, Origin, Remark, Translation, World, absolute, command};
use crate::text::quoted;
use framing::{FORMAT, Framing};
use patterns::{Rule, USERDEF, is_numbered, literal};

mod framing;
mod patterns;

/// Keys without which DenyHosts does not start, and what each says.
const NEEDED: &[(&str, &str)] = &[
    ("DENY_THRESHOLD_INVALID", "how many failures of users that do not exist are tolerated"),
    ("DENY_THRESHOLD_VALID", "how many failures of users are tolerated"),
    ("DENY_THRESHOLD_ROOT", "how many failures of root are tolerated"),
    ("PURGE_DENY", "how long a deny lasts; blank for ever"),
    ("BLOCK_SERVICE", "what is denied: sshd or ALL; blank writes the addresses alone"),
];

/// Keys that need nothing here: what takes their place.
const NEEDLESS: &[(&str, &str)] = &[
    ("DAEMON_SLEEP", "needs no translation: denyd reads the log when it grows, and denies at once"),
    ("SYNC_PROXY_SERVER", "was dropped by DenyHosts, too"),
    ("ALLOWED_HOSTS_HOSTNAME_LOOKUP", "changes nothing: denyd never believes the names of addresses"),
    ("SMTP_DATE_FORMAT", "is not needed: the date of a mail has the form that RFC 5322 asks for"),
    ("USE_JOURNAL", "is not needed: without a SECURE_LOG that is there, denyd reads the journal"),
    ("JOURNAL_MATCHES", "is not needed: denyd knows sshd's records in a journal by who wrote them"),
    ("LOG_TO_JOURNAL", "is not needed: under systemd the log goes into the journal"),
    ("IPSET_COMMAND", "is not needed: denyd uses ipset with iptables where it is there"),
    ("IPSET_NAME", "is not taken over: denyd has sets of its own"),
];

/// Keys that are not honoured by this version: what to do meanwhile.
const LATER: &[(&str, &str)] = &[
    ("SYNC_SERVER", "nothing is sent to it and nothing taken from it; its public servers are gone"),
    ("SYNC_INTERVAL", "there is no synchronisation yet"),
    ("SYNC_UPLOAD", "there is no synchronisation yet"),
    ("SYNC_DOWNLOAD", "there is no synchronisation yet"),
    ("SYNC_DOWNLOAD_THRESHOLD", "there is no synchronisation yet"),
    ("SYNC_DOWNLOAD_RESILIENCY", "there is no synchronisation yet"),
    ("SYNC_VERSION", "nobody is told of versions"),
];

/// Keys that are translated.
const TRANSLATED: &[&str] = &[
    "SECURE_LOG",
    "SSHD_FORMAT_REGEX",
    "USERDEF_FAILED_ENTRY_REGEX",
    "FAILED_ENTRY_REGEX",
    "SUCCESSFUL_ENTRY_REGEX",
    "DETECT_DOVECOT_LOGIN_ATTEMPTS",
    "FAILED_DOVECOT_ENTRY_REGEX",
    "UNSAFE_REGEX",
    "HOSTS_DENY",
    "PURGE_THRESHOLD",
    "DENY_THRESHOLD",
    "DENY_THRESHOLD_RESTRICTED",
    "WORK_DIR",
    "ETC_DIR",
    "AGE_RESET_INVALID",
    "AGE_RESET_VALID",
    "AGE_RESET_ROOT",
    "AGE_RESET_RESTRICTED",
    "RESET_ON_SUCCESS",
    "DAEMON_PURGE",
    "LOCK_FILE",
    "IPTABLES",
    "BLOCKPORT",
    "PFCTL_PATH",
    "PF_TABLE",
    "ADMIN_EMAIL",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_FROM",
    "SMTP_SUBJECT",
    "SMTP_USERNAME",
    "SMTP_PASSWORD",
    "SMTP_SSL",
    "EMAIL_METHOD",
    "PLUGIN_DENY",
    "PLUGIN_PURGE",
    "DAEMON_LOG",
    "DAEMON_LOG_TIME_FORMAT",
    "DAEMON_LOG_MESSAGE_FORMAT",
    "SYSLOG_REPORT",
    "HOSTNAME_LOOKUP",
    "SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS",
    "PF_TABLE_FILE",
];

/// Where a program without a path is looked for, as a shell did.
const DIRECTORIES: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

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
    "[[input]]",
];

/// How much of a key that nobody knows is shown, in characters.
const NAME_SHOWN_MAX: usize = 60;

/// As many ports as `ports` takes.
const PORTS_MAX: usize = 15;

/// How long the name of an input may be, in bytes.
const LOG_NAME_MAX: usize = 64;

/// Where the password of a mail server is expected.
const PASSWORD: &str = "/etc/denyd/mail-password";

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

    /// Says what is not translated: keys that nobody knows, that come twice, that need nothing here or come later.
    fn name_odd_keys(&mut self) {
        for (index, setting) in self.settings.iter().enumerate() {
            let (line, name) = (setting.line, setting.name.as_str());
            let again = self.settings[index + 1..].iter().find(|later| later.name == name);
            if let Some(later) = again.filter(|_| ![USERDEF, UNSAFE].contains(&name)) {
                self.remark(line, format!("{name} comes again in line {}, and that one holds", later.line));
                continue;
            }
            let find = |list: &[(&'static str, &'static str)]| {
                list.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
            };
            let is_blank = setting.value.is_empty();
            if let Some(instead) = find(NEEDLESS) {
                self.remark(line, format!("{name} {instead}"));
            } else if let Some(meanwhile) = find(LATER) {
                let says_no = is_blank || conf::yes(&setting.value) == Ok(false);
                if !says_no {
                    self.remark(line, format!("{name} is not honoured by this version: {meanwhile}"));
                }
            } else if name.starts_with("FAILED_ENTRY_REGEX") {
                if !is_numbered(name) {
                    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
                    self.remark(
                        line,
                        format!("{shown} sets nothing, as in DenyHosts, which asked FAILED_ENTRY_REGEX and 2 to 9"),
                    );
                }
            } else if !TRANSLATED.contains(&name) && find(NEEDED).is_none() {
                let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
                let what = format!("{shown} is no key of DenyHosts, and sets nothing{}", near(name));
                self.unknown.push((line, what.clone()));
                self.remark(line, what);
            }
        }
        for (name, what) in NEEDED {
            let old = *name == "DENY_THRESHOLD_INVALID" && self.get("DENY_THRESHOLD").is_some();
            if self.get(name).is_none() && !old {
                self.problems.push((0, format!("{name} is missing: {what}; DenyHosts does not start without it")));
            }
        }
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

    /// Where denies are enforced.
    fn back_ends(&mut self) {
        match self.value("HOSTS_DENY") {
            Some(setting) => {
                let path = absolute(&setting.value, self.world);
                self.set("[deny.hosts_deny]", "path", quoted(&path.to_string_lossy()), "HOSTS_DENY");
            }
            None => self.absent("HOSTS_DENY", "/etc/hosts.deny is written; DenyHosts would not have started"),
        }
        if let Some(setting) = self.get("BLOCK_SERVICE") {
            self.set("[deny.hosts_deny]", "service", quoted(&setting.value), "BLOCK_SERVICE");
        }
        // The comment above an entry is what a purge goes by.
        if self.value("PURGE_DENY").is_none() {
            self.set("[deny.hosts_deny]", "comment", "false".to_owned(), "PURGE_DENY");
        }
        let mut names = vec!["hosts.deny"];
        let iptables = self.value("IPTABLES");
        match iptables.map(|setting| (setting, (self.world.is_there)(&absolute(&setting.value, self.world)))) {
            Some((_, Some(Kind::File))) => names.push("iptables"),
            Some((setting, _)) => self.remark(
                setting.line,
                format!("IPTABLES = {}: there is no such program, and iptables is not used", setting.value),
            ),
            None => {}
        }
        let mut from = if names.len() > 1 { "IPTABLES" } else { "HOSTS_DENY" };
        if self.pf() {
            if names.len() > 1 {
                let what = "IPTABLES and PF_TABLE are both set: they are of different systems, and one will not begin";
                self.remark(self.get("PF_TABLE").map_or(0, |setting| setting.line), what.to_owned());
            }
            names.push("pf");
            from = "PF_TABLE";
        }
        let records_only = self.get("BLOCK_SERVICE").is_some_and(|setting| setting.value.is_empty());
        if names.len() == 1 && !records_only && !(self.world.sshd_reads_hosts_deny)() {
            from = "HOSTS_DENY";
            let line = self.get(from).map_or(0, |setting| setting.line);
            match (self.world.firewall)() {
                Some(firewall) => {
                    names.push(firewall);
                    self.remark(line, format!("this machine's sshd does not look into hosts.deny (it is not linked with libwrap), which would refuse nobody; so {firewall} enforces as well"));
                }
                None => self.remark(line, "this machine's sshd does not look into hosts.deny (it is not linked with libwrap), and there is neither nftables nor iptables: NOBODY IS REFUSED; install nftables".to_owned()),
            }
        }
        let has_firewall = names.iter().any(|name| ["nftables", "iptables"].contains(name));
        let names: Vec<String> = names.into_iter().map(quoted).collect();
        self.set("[deny]", "backends", format!("[{}]", names.join(", ")), from);
        let Some(setting) = self.value("BLOCKPORT") else { return self.ports_of_service(has_firewall) };
        let ports: Result<Vec<u16>, _> = setting.value.split(',').map(|port| port.trim().parse::<u16>()).collect();
        match ports {
            Ok(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                self.set("[deny]", "ports", format!("[{}]", ports.join(", ")), "BLOCKPORT");
            }
            Err(_) => self.problem(
                setting,
                format!("`{}` is no list of ports; write them with commas, as in 22,2222", setting.value),
            ),
        }
    }

    /// What a firewall closes for BLOCK_SERVICE: all for `ALL`, sshd's ports for a service.
    fn ports_of_service(&mut self, has_firewall: bool) {
        let service = self.value("BLOCK_SERVICE").filter(|setting| !setting.value.eq_ignore_ascii_case("ALL"));
        let Some(setting) = service.filter(|_| has_firewall) else { return };
        let ports: Vec<String> = (self.world.sshd_ports)().iter().map(u16::to_string).collect();
        if ports.len() > PORTS_MAX {
            let what =
                format!("sshd listens at more than {PORTS_MAX} ports, so a firewall closes all ports to who is denied");
            return self.remark(setting.line, what);
        }
        let ports = ports.join(", ");
        let what = format!(
            "BLOCK_SERVICE = {}: a firewall closes sshd's ports ({ports}) to who is denied, as they are now; BLOCKPORT names others, ALL closes all",
            setting.value
        );
        self.remark(setting.line, what);
        self.set("[deny]", "ports", format!("[{ports}]"), "BLOCK_SERVICE");
    }

    /// Whether pf enforces: into a table of the administrator's, of which others' entries are left alone.
    fn pf(&mut self) -> bool {
        let (path, table) = (self.value("PFCTL_PATH"), self.value("PF_TABLE"));
        let (Some(path), Some(table)) = (path, table) else {
            for one in [path, table].into_iter().flatten() {
                self.remark(
                    one.line,
                    format!("{} alone does nothing, as in DenyHosts: pf needs PFCTL_PATH and PF_TABLE", one.name),
                );
            }
            return false;
        };
        if (self.world.is_there)(&absolute(&path.value, self.world)) != Some(Kind::File) {
            self.remark(
                path.line,
                format!("PFCTL_PATH = {}: there is no such program, and pf is not used", path.value),
            );
            return false;
        }
        self.set("[deny.pf]", "anchor", quoted("none"), "PF_TABLE");
        self.set("[deny.pf]", "table", quoted(&table.value), "PF_TABLE");
        true
    }

    /// Who is written to. DenyHosts encrypted where the server offered it, and asked for no certificate.
    fn mail(&mut self) {
        let Some(to) = self.value("ADMIN_EMAIL") else { return };
        let line = to.line;
        let whole = |one: &str| if one.contains('@') { one.to_owned() } else { format!("{one}@localhost") };
        let all: Vec<String> = to.value.split(',').map(|one| whole(one.trim())).collect();
        if !to.value.split(',').all(|one| one.contains('@')) {
            self.remark(line, format!("ADMIN_EMAIL: a name without @ is one of this machine: {}", all.join(", ")));
        }
        let to: Vec<String> = all.iter().map(|one| quoted(one)).collect();
        self.set("[mail]", "to", format!("[{}]", to.join(", ")), "ADMIN_EMAIL");
        for (name, key) in [("SMTP_FROM", "from"), ("SMTP_SUBJECT", "subject")] {
            match self.value(name) {
                Some(setting) => self.set("[mail]", key, quoted(&setting.value), name),
                None => self.absent(name, "denyd writes one with the name of this machine; DenyHosts would have ended"),
            }
        }
        let method = self.value("EMAIL_METHOD").map_or("SMTP", |setting| setting.value.as_str()).to_uppercase();
        if method == "SENDMAIL" {
            return self.set("[mail]", "server", quoted("sendmail"), "EMAIL_METHOD");
        }
        if let Some(setting) = self.value("EMAIL_METHOD").filter(|_| method != "SMTP") {
            self.remark(setting.line, format!("EMAIL_METHOD = {}: SMTP is used, as DenyHosts did, too", setting.value));
        }
        let host = self.value("SMTP_HOST").map_or("localhost", |setting| setting.value.as_str());
        let port = self.value("SMTP_PORT").map_or("25", |setting| setting.value.as_str());
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        self.set("[mail]", "server", quoted(&format!("{bracketed}:{port}")), "SMTP_HOST");
        let is_here = host.eq_ignore_ascii_case("localhost") || host.starts_with("127.") || host == "::1";
        let user = self.value("SMTP_USERNAME");
        let ssl = match self.value("SMTP_SSL").map(|setting| (setting, conf::yes(&setting.value))) {
            Some((setting, Err(what))) => return self.problem(setting, what),
            // As DenyHosts was shipped, and could not work.
            Some((setting, Ok(true))) if port == "25" => {
                self.remark(
                    setting.line,
                    "SMTP_SSL = yes: no server speaks TLS first at port 25; it is not used".to_owned(),
                );
                false
            }
            Some((_, Ok(yes))) => yes,
            None => false,
        };
        let (tls, from) = match () {
            () if ssl => ("implicit", "SMTP_SSL"),
            () if !is_here && (user.is_some() || port == "587") => ("starttls", "SMTP_HOST"),
            () => ("none", "SMTP_SSL"),
        };
        self.set("[mail]", "tls", quoted(tls), from);
        let Some(user) = user else { return };
        // Both are needed for a login, and a password in a file that everybody may read is none.
        let Some(password) = self.value("SMTP_PASSWORD") else { return };
        if (self.world.is_there)(Path::new(PASSWORD)) == Some(Kind::File) {
            self.set("[mail]", "username", quoted(&user.value), "SMTP_USERNAME");
            self.set("[mail]", "password_file", quoted(PASSWORD), "SMTP_PASSWORD");
        } else {
            let what = "SMTP_PASSWORD: denyd takes a password from a file that nobody else may read";
            self.remark(
                password.line,
                format!("{what}, and logs in nowhere without it: write it alone into {PASSWORD}, and chmod 0600 that"),
            );
        }
    }

    /// Which programs are run. DenyHosts gave them to a shell; here none reads them.
    fn plugins(&mut self) {
        type Read = fn(&str) -> Result<Vec<Vec<String>>, String>;
        for (name, key, read) in
            [("PLUGIN_DENY", "deny", command::list as Read), ("PLUGIN_PURGE", "purge", command::one as Read)]
        {
            let Some(setting) = self.value(name) else { continue };
            let programs = match read(&setting.value) {
                Ok(programs) => programs,
                Err(what) => {
                    self.problem(setting, what);
                    continue;
                }
            };
            let mut all = Vec::new();
            for words in programs {
                if words[0].ends_with("/restorecon.sh") {
                    let what = "needs no plugin: denyd keeps the SELinux label of hosts.deny, and the script goes with DenyHosts' package";
                    self.remark(setting.line, format!("{name} = {}: it {what}", words[0]));
                    continue;
                }
                let Some(program) = self.program(&words[0]) else {
                    let what = format!("{name} = {}: there is no such program, and it is not run", words[0]);
                    self.remark(setting.line, what);
                    continue;
                };
                let words = std::iter::once(program).chain(words.into_iter().skip(1));
                all.push(format!("[{}]", words.map(|word| quoted(&word)).collect::<Vec<_>>().join(", ")));
            }
            if !all.is_empty() {
                self.set("[plugin]", key, format!("[{}]", all.join(", ")), name);
            }
        }
    }

    /// What is written and told in DenyHosts' words.
    fn report(&mut self) {
        match self.value("DAEMON_LOG") {
            Some(setting) => {
                let path = absolute(&setting.value, self.world);
                self.set("[report]", "log_file", quoted(&path.to_string_lossy()), "DAEMON_LOG");
            }
            None if self.get("DAEMON_LOG").is_none() => {
                self.absent("DAEMON_LOG", "no log file is written; DenyHosts wrote /var/log/denyhosts");
            }
            None => {}
        }
        if let Some(setting) = self.value("DAEMON_LOG_TIME_FORMAT") {
            self.set("[report]", "log_time_format", quoted(&setting.value), "DAEMON_LOG_TIME_FORMAT");
        }
        if let Some(setting) = self.value("DAEMON_LOG_MESSAGE_FORMAT") {
            let (format, unknown) = known_fields(&setting.value);
            if !unknown.is_empty() {
                let (unknown, known) = (unknown.join(", "), LOG_FIELDS.join(", "));
                let what = format!("{}: a `-` stands for what denyd has not: {unknown}; it has {known}", setting.name);
                self.remark(setting.line, what);
            }
            self.set("[report]", "log_message_format", quoted(&format), "DAEMON_LOG_MESSAGE_FORMAT");
        }
        if let Some(setting) = self.value("PF_TABLE_FILE") {
            let path = absolute(&setting.value, self.world);
            self.set("[report]", "table_file", quoted(&path.to_string_lossy()), "PF_TABLE_FILE");
        }
        for (name, key, holds) in [
            ("SYSLOG_REPORT", "syslog", "syslog is told nothing"),
            (
                "HOSTNAME_LOOKUP",
                "host_names",
                "no names of addresses are asked for; DenyHosts asked, and attackers saw it",
            ),
            (
                "SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS",
                "suspicious_of_allowed",
                "logins from allowed hosts are told, too",
            ),
        ] {
            match self.value(name).map(|setting| (setting, conf::yes(&setting.value))) {
                Some((_, Ok(yes))) => self.set("[report]", key, yes.to_string(), name),
                Some((setting, Err(what))) => self.problem(setting, what),
                None => self.absent(name, holds),
            }
        }
    }

    /// The path of a program: one that has no slash is looked for.
    fn program(&self, word: &str) -> Option<String> {
        if word.contains('/') {
            return Some(absolute(word, self.world).to_string_lossy().into_owned());
        }
        let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(word));
        let found = paths.into_iter().find(|path| (self.world.is_there)(path) == Some(Kind::File));
        found.map(|path| path.to_string_lossy().into_owned())
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
        let kind = match (self.world.is_there)(&path) {
            Some(Kind::Directory) => "multilog",
            Some(Kind::File) => "file",
            None => {
                let what = "is not there; denyd looks for sshd's log itself instead: the journal, else the usual files";
                return self.remark(setting.line, format!("SECURE_LOG = {} {what}", path.display()));
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

/// A format of Python's logging with `-` in the place of fields that are not known here, and the names of these.
fn known_fields(format: &str) -> (String, Vec<&str>) {
    let (mut known, mut unknown, mut rest) = (String::new(), Vec::new(), format);
    while let Some((before, behind)) = rest.split_once("%(") {
        known += before;
        let Some((name, after)) = behind.split_once(')') else {
            return (known + "%(" + behind, unknown);
        };
        rest = after;
        if LOG_FIELDS.contains(&name) {
            known += &format!("%({name})");
            continue;
        }
        unknown.push(name);
        known.push('-');
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ' ' | '#'));
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    (known + rest, unknown)
}

/// A duration as TOML writes it.
fn time(seconds: u64) -> String {
    let (unit, worth) = [("d", 86_400), ("h", 3600), ("m", 60)]
        .into_iter()
        .find(|(_, worth)| seconds.is_multiple_of(*worth))
        .unwrap_or(("s", 1));
    quoted(&format!("{}{unit}", seconds / worth))
}

/// Every key that a DenyHosts ever had, but for the numbered patterns.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let lists = [NEEDED, NEEDLESS, LATER];
    lists.into_iter().flat_map(|list| list.iter().map(|(known, _)| *known)).chain(TRANSLATED.iter().copied())
}

/// What was meant by a key that nobody knows.
fn near(name: &str) -> String {
    let near = known().filter(|_| name.len() <= 40).map(|known| (strsim::osa_distance(name, known), known));
    let near = near.filter(|(far, known)| *far <= known.len() / 4).min_by_key(|(far, _)| *far);
    near.map_or(String::new(), |(_, known)| format!("; did you mean {known}?"))
}
