//! With whom denied hosts are shared: `SYNC_SERVER` and what belongs to it.

use url::Url;

use super::{Draft, time};
use crate::compat::conf;
use crate::text::quoted;

/// DenyHosts made no round sooner after the last one, in seconds.
const INTERVAL_MIN: u64 = 300;

impl Draft<'_> {
    /// What is sent and taken. Without a server the other keys say nothing, as with DenyHosts.
    pub(super) fn sharing(&mut self) {
        let Some(server) = self.value("SYNC_SERVER") else { return };
        let is_spoken = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
        match Url::parse(&server.value) {
            Ok(url) if is_spoken(&url) && is_plain(&url) && url.fragment().is_none() => {
                if url.scheme() == "https" {
                    let what = "SYNC_SERVER: https is spoken, and the server's certificate must be right; DenyHosts spoke http there";
                    self.remark(server.line, what.to_owned());
                }
                self.set("[sync]", "server", quoted(url.as_str()), "SYNC_SERVER");
            }
            // What stands before the @ is a secret, which no log and no screen is to have.
            _ if server.value.contains('@') => {
                let what = "SYNC_SERVER has a token in it, so nothing is sent and nothing taken: put the token into a file that others \
                            cannot read, and name server and token_file under [sync] in a configuration of denyd's own, as import writes it";
                return self.remark(server.line, what.to_owned());
            }
            _ => {
                let what = format!(
                    "SYNC_SERVER = {}: that is no URL of a server, so nothing is sent and nothing taken; it is to be as \
                     https://hub.example.org:9911",
                    server.value
                );
                return self.remark(server.line, what);
            }
        }
        match self.value("SYNC_INTERVAL").map(|setting| (setting, conf::seconds(&setting.value))) {
            Some((setting, Err(what))) => self.problem(setting, what),
            Some((setting, Ok(seconds))) => {
                if seconds < INTERVAL_MIN {
                    self.remark(setting.line, "SYNC_INTERVAL is at least 5m, as with DenyHosts".to_owned());
                }
                self.set("[sync]", "interval", time(seconds.max(INTERVAL_MIN)), "SYNC_INTERVAL");
            }
            None => self.absent("SYNC_INTERVAL", "there is a round each hour"),
        }
        let mut both = Vec::new();
        for (name, key, holds) in [
            ("SYNC_UPLOAD", "upload", "the server is told whom our own logs have denied"),
            ("SYNC_DOWNLOAD", "download", "who is told of by the server is denied"),
        ] {
            let yes = match self.value(name).map(|setting| (setting, conf::yes(&setting.value))) {
                Some((setting, Err(what))) => {
                    self.problem(setting, what);
                    false
                }
                Some((_, Ok(yes))) => {
                    self.set("[sync]", key, yes.to_string(), name);
                    yes
                }
                None => {
                    self.absent(name, holds);
                    true
                }
            };
            both.push(yes);
        }
        if !both.contains(&true) {
            let what = "SYNC_UPLOAD and SYNC_DOWNLOAD say no: nothing is sent to SYNC_SERVER, and nothing taken";
            self.remarks.push(super::Remark { line: server.line, what: what.to_owned(), differs: false });
        }
        self.received(both[1]);
        match self.value("SYNC_VERSION").map(|setting| (setting, conf::yes(&setting.value))) {
            Some((setting, Err(what))) => self.problem(setting, what),
            Some((_, Ok(yes))) => self.set("[sync]", "version_report", yes.to_string(), "SYNC_VERSION"),
            None => self.absent("SYNC_VERSION", "the server is told no version; DenyHosts told it"),
        }
    }

    /// Who is taken from the server.
    fn received(&mut self, are_taken: bool) {
        match self.value("SYNC_DOWNLOAD_THRESHOLD").map(|setting| (setting, setting.value.parse::<u32>())) {
            Some((_, Ok(count @ 1..=10_000))) => {
                self.set("[sync]", "threshold", count.to_string(), "SYNC_DOWNLOAD_THRESHOLD");
            }
            Some((setting, _)) => {
                self.problem(setting, format!("`{}` is no number of hosts from 1 to 10000", setting.value));
            }
            None => self.absent("SYNC_DOWNLOAD_THRESHOLD", "3 must have reported an address"),
        }
        match self.value("SYNC_DOWNLOAD_RESILIENCY").map(|setting| (setting, conf::seconds(&setting.value))) {
            Some((setting, Err(what))) => self.problem(setting, what),
            Some((_, Ok(seconds))) => self.set("[sync]", "resiliency", time(seconds), "SYNC_DOWNLOAD_RESILIENCY"),
            None => self.absent("SYNC_DOWNLOAD_RESILIENCY", "an address must have attacked for five hours"),
        }
        if are_taken && self.value("PURGE_DENY").is_none() {
            let line = self.get("PURGE_DENY").map_or(0, |setting| setting.line);
            let what = "PURGE_DENY is blank while SYNC_SERVER is set: whoever it tells of is denied for ever, and HOSTS_DENY \
                        grows; PURGE_DENY = 4w would let them end";
            self.remark(line, what.to_owned());
        }
    }
}
