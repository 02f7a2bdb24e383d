//! Where a DenyHosts kept what it knew, by its configuration: what is not translated, since it is taken over once.

use std::path::PathBuf;

use super::conf::Setting;
use super::{World, absolute, conf};

/// Where a DenyHosts kept what it knew, and what it did to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Old {
    /// Its counts: `WORK_DIR`.
    pub work_dir: Option<PathBuf>,
    /// Where it denied: `HOSTS_DENY`.
    pub hosts_deny: PathBuf,
    /// What its entries there begin with: `BLOCK_SERVICE`.
    pub service: String,
    /// Which has its process' number while it runs: `LOCK_FILE`.
    pub lock_file: Option<PathBuf>,
    /// What it read: `SECURE_LOG`.
    pub log: Option<PathBuf>,
    /// The program that made its rules: `IPTABLES`.
    pub iptables: Option<PathBuf>,
    /// Programs that it ran, `PLUGIN_DENY` and `PLUGIN_PURGE`, by their keys.
    pub plugins: Vec<(String, String)>,
    /// Its own log: `DAEMON_LOG`.
    pub daemon_log: Option<PathBuf>,
}

/// What the text of a configuration says of that. What is wrong with it, [`super::translate`] says.
pub fn old(text: &str, world: &World<'_>) -> Old {
    let (settings, ..) = conf::read(text, world);
    let value = |name: &str| {
        let setting = settings.iter().rev().find(|setting| setting.name == name);
        setting.filter(|setting| !setting.value.is_empty())
    };
    let text = |name: &str| value(name).map(|Setting { value, .. }| value.clone());
    let path = |name: &str| text(name).map(|value| absolute(&value, world));
    let plugins = ["PLUGIN_DENY", "PLUGIN_PURGE"].into_iter();
    Old {
        work_dir: path("WORK_DIR"),
        hosts_deny: path("HOSTS_DENY").unwrap_or_else(|| PathBuf::from("/etc/hosts.deny")),
        service: text("BLOCK_SERVICE").unwrap_or_default(),
        lock_file: path("LOCK_FILE"),
        log: path("SECURE_LOG"),
        iptables: path("IPTABLES"),
        plugins: plugins.filter_map(|key| Some((key.to_owned(), text(key)?))).collect(),
        daemon_log: path("DAEMON_LOG"),
    }
}
