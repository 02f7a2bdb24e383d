//! Who is told: `ADMIN_EMAIL`, `PLUGIN_DENY`, `DAEMON_LOG` and what belongs to them.
//!
//! A slip in one of these keeps nobody from being denied: it is a remark, and less is told.

use std::path::Path;

use super::Draft;
use crate::compat::conf;
use crate::compat::{Kind, LOG_FIELDS, absolute, command};
use crate::text::quoted;

/// The tables of these keys.
pub(in crate::compat) const TABLES: [&str; 3] = ["[mail]", "[plugin]", "[report]"];

/// DenyHosts' own log, where nothing else is said.
const DAEMON_LOG: &str = "/var/log/denyhosts";
/// Where the password of a mail server is expected.
const PASSWORD: &str = "/etc/denyd/mail-password";

impl Draft<'_> {
    /// Who is written to. DenyHosts encrypted where the server offered it, and asked for no certificate.
    pub(super) fn mail(&mut self) {
        let Some(to) = self.value("ADMIN_EMAIL") else { return };
        let ssl = match self.value("SMTP_SSL").map(|setting| (setting, conf::yes(&setting.value))) {
            Some((setting, Err(what))) => {
                return self.remark(setting.line, format!("no mail is sent: SMTP_SSL: {what}"));
            }
            Some((setting, Ok(yes))) => Some((setting, yes)),
            None => None,
        };
        let line = to.line;
        let names: Vec<&str> = to.value.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        let whole = |one: &&str| if one.contains('@') { (*one).to_owned() } else { format!("{one}@localhost") };
        let all: Vec<String> = names.iter().map(whole).collect();
        if !names.iter().all(|one| one.contains('@')) {
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
        let from = if self.value("SMTP_PORT").is_some() { "SMTP_PORT" } else { "SMTP_HOST" };
        self.set("[mail]", "server", quoted(&format!("{bracketed}:{port}")), from);
        let is_here = host.eq_ignore_ascii_case("localhost") || host.starts_with("127.") || host == "::1";
        let user = self.value("SMTP_USERNAME");
        let ssl = match ssl {
            // As DenyHosts was shipped, and could not work.
            Some((setting, true)) if port == "25" => {
                self.remark(
                    setting.line,
                    "SMTP_SSL = yes: no server speaks TLS first at port 25; it is not used".to_owned(),
                );
                false
            }
            Some((_, yes)) => yes,
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
    pub(super) fn plugins(&mut self) {
        type Read = fn(&str) -> Result<Vec<Vec<String>>, String>;
        for (name, key, read) in
            [("PLUGIN_DENY", "deny", command::list as Read), ("PLUGIN_PURGE", "purge", command::one as Read)]
        {
            let Some(setting) = self.value(name) else { continue };
            let programs = match read(&setting.value) {
                Ok(programs) => programs,
                Err(what) => {
                    self.remark(setting.line, format!("no program is run by {name}: {what}"));
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
    pub(super) fn report(&mut self) {
        match self.value("DAEMON_LOG") {
            Some(setting) => {
                let path = absolute(&setting.value, self.world);
                self.set("[report]", "log_file", quoted(&path.to_string_lossy()), "DAEMON_LOG");
            }
            // One that nobody reads is not begun.
            None if self.get("DAEMON_LOG").is_none() => match (self.world.is_writable)(Path::new(DAEMON_LOG)) {
                true => {
                    self.absent("DAEMON_LOG", "/var/log/denyhosts goes on, as DenyHosts wrote it");
                    self.set("[report]", "log_file", quoted(DAEMON_LOG), "DAEMON_LOG");
                }
                false => self.absent(
                    "DAEMON_LOG",
                    "no log file is written, since /var/log/denyhosts, which DenyHosts wrote, is not there or cannot be written",
                ),
            },
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
                Some((setting, Err(what))) => {
                    let default = if matches!(key, "suspicious_of_allowed") { "yes" } else { "no" };
                    self.remark(setting.line, format!("{name}: {what}; until then it is {default}"));
                }
                None => self.absent(name, holds),
            }
        }
    }
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
