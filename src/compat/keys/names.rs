//! The names of all keys that a DenyHosts ever had, and what is said of those that are not translated.

use super::Draft;
use super::patterns::{USERDEF, is_numbered};
use crate::compat::conf::UNSAFE;

/// Keys without which DenyHosts does not start, and what each says.
pub(super) const NEEDED: &[(&str, &str)] = &[
    ("DENY_THRESHOLD_INVALID", "how many failures of users that do not exist are tolerated"),
    ("DENY_THRESHOLD_VALID", "how many failures of users are tolerated"),
    ("DENY_THRESHOLD_ROOT", "how many failures of root are tolerated"),
    ("PURGE_DENY", "how long a deny lasts; blank for ever"),
    ("BLOCK_SERVICE", "write what is denied, sshd or ALL, or nothing behind the = for lines of addresses alone"),
];

/// Keys that need nothing here: what takes their place.
pub(super) const NEEDLESS: &[(&str, &str)] = &[
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

/// Keys that are translated.
pub(super) const TRANSLATED: &[&str] = &[
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
    "SYNC_SERVER",
    "SYNC_INTERVAL",
    "SYNC_UPLOAD",
    "SYNC_DOWNLOAD",
    "SYNC_DOWNLOAD_THRESHOLD",
    "SYNC_DOWNLOAD_RESILIENCY",
    "SYNC_VERSION",
];

/// How much of a key that nobody knows is shown, in characters.
pub(super) const NAME_SHOWN_MAX: usize = 60;

impl Draft<'_> {
    /// Says what is not translated: keys that nobody knows, that come twice, or that need nothing here.
    pub(super) fn name_odd_keys(&mut self) {
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
            if let Some(instead) = find(NEEDLESS) {
                self.remark(line, format!("{name} {instead}"));
            } else if name.starts_with("FAILED_ENTRY_REGEX") {
                if !is_numbered(name) {
                    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
                    self.remark(
                        line,
                        format!("{shown} sets nothing; DenyHosts, too, knew only FAILED_ENTRY_REGEX and FAILED_ENTRY_REGEX2 to 9"),
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
                self.problems.push((0, format!("{name} is missing, and DenyHosts does not start without it: {what}")));
            }
        }
    }
}

/// Every key that a DenyHosts ever had, but for the numbered patterns.
pub(in crate::compat) fn known() -> impl Iterator<Item = &'static str> {
    let lists = [NEEDED, NEEDLESS];
    lists.into_iter().flat_map(|list| list.iter().map(|(known, _)| *known)).chain(TRANSLATED.iter().copied())
}

/// What was meant by a key that nobody knows.
fn near(name: &str) -> String {
    let near = known().filter(|_| name.len() <= 40).map(|known| (strsim::osa_distance(name, known), known));
    let near = near.filter(|(far, known)| *far <= known.len() / 4).min_by_key(|(far, _)| *far);
    near.map_or(String::new(), |(_, known)| format!("; did you mean {known}?"))
}
