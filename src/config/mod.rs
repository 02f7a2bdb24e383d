//! The configuration: TOML in, final types out.
//!
//! Every key is checked here, once; nothing behind it can be wrong. A file is taken whole or not at all, and
//! every problem in it is reported at once, with file, line, key, what was found and what is expected. What
//! the keys mean is told to administrators in `packaging/denyd.toml`.

use std::path::{Path, PathBuf};

pub use crate::compat::{Old, Remark, Translation, is_denyhosts};
use crate::decide::policy::Policy;
pub use crate::deny::choose::{Backends, Settings as Deny};
use crate::deny::effect::SPARED_MAX;
use crate::detect::rule::Draft;

use document::{Reader, Table};
use key::{Listed, Section};

mod codec;
mod compat;
mod denyhosts;
mod document;
pub mod duration;
mod error;
mod input;
mod kept;
mod key;
pub mod mail;
pub mod plugin;
mod reference;
pub mod report;
pub mod rules;
mod settings;
mod sources;
pub mod sync;
#[cfg(test)]
mod tests;
mod trial;
mod values;
pub mod webhook;

pub use self::compat::Compat;
pub use denyhosts::OldLog;
pub use error::{ConfigError, Problem};
pub use input::{File, Input, Journald, Source, Syslog};
pub use mail::Mail;
pub use plugin::Plugin;
pub use reference::{manual, packaged};
pub use report::Report;
pub use rules::Loaded;
pub use sources::FORMATS;
pub(crate) use sources::program_name;
pub use sync::Sync;
pub use trial::Trial;
pub use webhook::Webhook;

/// Where the configuration is unless `--config` says otherwise.
pub const FILE: &str = "/etc/denyd/denyd.toml";

/// Everything that an administrator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Holds the database; 0700. Default `/var/lib/denyd`.
    pub state_dir: PathBuf,
    /// Where the command line talks to the daemon. Default `/run/denyd/control`.
    pub control_socket: PathBuf,
    /// The least severe message that is logged. Default `info`.
    pub log_level: tracing::Level,
    /// Holds the rules for other programs' records. Default `/etc/denyd/rules.d`, which need not be there.
    pub rules_dir: PathBuf,
    /// Whether this machine's addresses and gateways are never denied, and its links' addresses counted alone. Default
    /// true.
    pub spare_machine: bool,
    /// What is tolerated.
    pub decide: Decide,
    /// Where denies are enforced.
    pub deny: Deny,
    /// Whom mail goes to.
    pub mail: Mail,
    /// Which address of the web is told the same.
    pub webhook: Webhook,
    /// What is as it was with DenyHosts.
    pub compat: Compat,
    /// Which programs are run for each deny.
    pub plugin: Plugin,
    /// What is told in DenyHosts' words, and what reports say.
    pub report: Report,
    /// With whom denied hosts are shared.
    pub sync: Sync,
    /// What is read; empty = found at start.
    pub inputs: Vec<Input>,
    /// Rules beside those of `rules_dir`, each of which is right.
    pub own_rules: Vec<Draft>,
    /// The log that a configuration names which is DenyHosts', and whether the journal is read in its place.
    pub old_log: Option<OldLog>,
    /// What should be known of a configuration that is DenyHosts'; empty for one of ours.
    pub remarks: Vec<Remark>,
}

/// What is tolerated, and who is spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// All of it, the contents of the two files included.
    pub policy: Policy,
    /// The restricted users that the configuration itself names, in its order.
    pub restricted_users: Vec<String>,
    /// Files that name more of them, one a line.
    pub restricted_users_files: Vec<PathBuf>,
    /// Groups whose users a deny must not lock out while they are logged in. Default sudo, wheel, admin.
    pub protect_groups: Vec<String>,
    /// The entries of the allow list in the configuration itself, in its order.
    pub allow: Vec<String>,
    /// A file with more of them, one a line.
    pub allow_file: Option<PathBuf>,
}

impl Default for Decide {
    fn default() -> Self {
        Decide {
            policy: Policy::default(),
            restricted_users: Vec::new(),
            restricted_users_files: Vec::new(),
            protect_groups: ["sudo", "wheel", "admin"].map(str::to_owned).to_vec(),
            allow: Vec::new(),
            allow_file: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            state_dir: PathBuf::from("/var/lib/denyd"),
            control_socket: PathBuf::from("/run/denyd/control"),
            log_level: tracing::Level::INFO,
            rules_dir: PathBuf::from(rules::USUAL),
            spare_machine: true,
            decide: Decide::default(),
            deny: Deny::default(),
            mail: Mail::default(),
            webhook: Webhook::default(),
            compat: Compat::default(),
            plugin: Plugin::default(),
            report: Report::default(),
            sync: Sync::default(),
            inputs: Vec::new(),
            own_rules: Vec::new(),
            old_log: None,
            remarks: Vec::new(),
        }
    }
}

/// Whether a file of the `state_dir` is what is kept of configurations, or what would have become that.
pub fn is_kept(name: &str) -> bool {
    let is = |file: &str| [Path::new(file), &Path::new(file).with_extension("new")].contains(&Path::new(name));
    is(kept::FILE) || is(trial::FILE)
}

impl Config {
    /// Reads the configuration `file`, and the files that it names.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        Config::parse(file, &text(file)?)
    }

    /// The rules of the configuration, and behind them those of `rules_dir`, which are read.
    pub fn rules(&self) -> Result<Loaded, ConfigError> {
        rules::read(&self.rules_dir, &self.own_rules)
    }

    /// Reads the text of the configuration `file`, and the files that it names.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let (found, problems) = made_out(file, text);
        found.filter(|_| problems.is_empty()).ok_or(ConfigError::Wrong(problems))
    }

    /// The effective configuration, every key written out. Read again it gives the same.
    pub fn to_toml(&self) -> String {
        let tables = settings::sections().map(|section| section.write(&mut self.clone()));
        let tables = tables.into_iter().chain(self.inputs.iter().map(sources::write));
        tables.chain(self.own_rules.iter().map(rules::write)).collect::<Vec<_>>().join("\n")
    }

    /// That whoever a server tells of is denied for ever, if so. A configuration of DenyHosts' says that of its own key.
    pub fn endless_sync(&self) -> Option<&'static str> {
        let is_endless = self.sync.lasts(self.decide.policy.deny_for).is_none();
        let is_said = self.remarks.iter().any(|remark| remark.what.starts_with("PURGE_DENY is blank while"));
        (self.sync.is_wanted() && self.sync.download && is_endless && !is_said).then_some(
            "whoever the server tells of is denied for ever, though addresses change hands; deny_for in [sync] would let them end",
        )
    }

    /// What the engine decides by.
    pub fn policy(&self) -> Policy {
        self.decide.policy.clone()
    }
}

/// All tables and their keys.
fn listed() -> Vec<Listed> {
    let tables = settings::sections();
    tables.iter().map(Section::listed).chain([sources::section().listed()]).chain(rules::listed()).collect()
}

fn config(reader: &mut Reader<'_>, top: &Table<'_>) -> Config {
    let mut config = Config::default();
    let [first, decide, deny, nftables, iptables, pf, hosts_deny, mail, webhook, plugin, report, sync, compat] =
        settings::sections();
    reader.fill_all(top, &first, &mut config);
    let table = reader.table(top, "decide", decide.name);
    reader.fill_all(&table, &decide, &mut config);
    settings::take_names(reader, &table, &mut config);
    let table = reader.table(top, "deny", deny.name);
    reader.fill_all(&table, &deny, &mut config);
    let firewalls = [("nftables", nftables), ("iptables", iptables), ("pf", pf), ("hosts_deny", hosts_deny)];
    for (key, section) in firewalls {
        let table = reader.table(&table, key, section.name);
        reader.fill_all(&table, &section, &mut config);
    }
    let table = reader.table(top, "mail", mail.name);
    reader.fill_all(&table, &mail, &mut config);
    mail::judge(reader, &table, &config.mail);
    let table = reader.table(top, "webhook", webhook.name);
    reader.fill_all(&table, &webhook, &mut config);
    webhook::judge(reader, &table, &config.webhook);
    let table = reader.table(top, "compat", compat.name);
    reader.fill_all(&table, &compat, &mut config);
    let table = reader.table(top, "plugin", plugin.name);
    reader.fill_all(&table, &plugin, &mut config);
    let table = reader.table(top, "report", report.name);
    reader.fill_all(&table, &report, &mut config);
    let table = reader.table(top, "sync", sync.name);
    reader.fill_all(&table, &sync, &mut config);
    sync::judge(reader, &table, &config.sync);
    config.inputs = sources::read(reader, top, &config.control_socket);
    config.own_rules = rules::here(reader, top);
    // Back ends are made of it by the daemon, and by verbs where none runs.
    config.deny.effect.spared = config.inputs.iter().flat_map(Input::spared).take(SPARED_MAX).collect();
    config
}

/// DenyHosts' configuration `file` as the text of one of ours, if that can be read again.
pub(crate) fn translated(file: &Path) -> Result<Translation, ConfigError> {
    let text = text(file)?;
    let (_, problems) = denyhosts::read(file, &text);
    match denyhosts::translated(&text) {
        Ok(translation) if problems.is_empty() => Ok(translation),
        _ => Err(ConfigError::Wrong(problems)),
    }
}

/// Where the DenyHosts of the configuration `file` kept what it knew.
pub(crate) fn old(file: &Path) -> Result<Old, ConfigError> {
    Ok(denyhosts::old(&text(file)?))
}

/// What could be made out of the text of a configuration, and all that is wrong with it.
fn made_out(file: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    match is_denyhosts(file) {
        true => denyhosts::read(file, text),
        false => document::read(file, text, listed(), config),
    }
}

/// The text of a file.
fn text(file: &Path) -> Result<String, ConfigError> {
    let bytes = settings::contents(file).map_err(|cause| ConfigError::unreadable(file, cause))?;
    if is_denyhosts(file) {
        // Its comments are in whatever encoding they were written; a value that is no UTF-8 fits nothing later.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|bad| {
        let (right, bytes) = (bad.utf8_error().valid_up_to(), bad.as_bytes());
        let line = 1 + bytes[..right].iter().filter(|&&byte| byte == b'\n').count();
        let what = "not UTF-8 text; save the file as UTF-8".to_owned();
        ConfigError::Wrong(vec![Problem { file: file.to_owned(), line, what }])
    })
}
