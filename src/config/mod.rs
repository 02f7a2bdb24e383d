//! The configuration: TOML in, final types out.
//!
//! Every key is checked here, once; nothing behind it can be wrong. A file is taken whole or not at all, and
//! every problem in it is reported at once, with file, line, key, what was found and what is expected. What
//! the keys mean is told to administrators in `packaging/denyd.toml`.

use std::path::{Path, PathBuf};

use crate::decide::policy::Policy;
pub use crate::deny::choose::{Backend, Backends, Settings as Deny};

pub mod duration;
mod error;
mod input;
mod read;
pub mod rules;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod write;

pub use error::{ConfigError, Problem, What};
pub use input::{File, FirstEntry, FirstRead, Input, Journald, Listen, Multilog, Source, Syslog};
pub use rules::Loaded;

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
    /// What is tolerated.
    pub decide: Decide,
    /// Where denies are enforced.
    pub deny: Deny,
    /// What is read; empty = found at start.
    pub inputs: Vec<Input>,
}

/// What is tolerated, and who is spared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decide {
    /// All of it, the contents of the two files included.
    pub policy: Policy,
    /// The restricted users that the configuration itself names, in its order.
    pub restricted_users: Vec<String>,
    /// A file that names more of them, one a line.
    pub restricted_users_file: Option<PathBuf>,
    /// The entries of the allow list in the configuration itself, in its order.
    pub allow: Vec<String>,
    /// A file with more of them, one a line.
    pub allow_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            state_dir: PathBuf::from("/var/lib/denyd"),
            control_socket: PathBuf::from("/run/denyd/control"),
            log_level: tracing::Level::INFO,
            rules_dir: PathBuf::from(rules::USUAL),
            decide: Decide::default(),
            deny: Deny::default(),
            inputs: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the configuration `file`, and the files that it names.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        read::read(file)
    }

    /// Reads the rules of `rules_dir`.
    pub fn rules(&self) -> Result<Loaded, ConfigError> {
        rules::read(&self.rules_dir)
    }

    /// Reads the text of the configuration `file`, and the files that it names.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        read::parse(file, text)
    }

    /// The effective configuration, every key written out. Read again it gives the same.
    pub fn to_toml(&self) -> String {
        write::write(self)
    }

    /// What the engine decides by.
    pub fn policy(&self) -> Policy {
        self.decide.policy.clone()
    }
}
