//! A configuration on trial: it goes back to what was unless a person keeps it in time.
//!
//! The order stands in a file of the `state_dir` from before the configuration holds until it is kept. So a start that finds
//! one goes back, whatever ended the daemon.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Config, kept};
use crate::text::At;
use crate::whose;

/// Beside the database.
pub(super) const FILE: &str = "trial.json";

/// The order to try a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it was ordered, by the wall clock: for people.
    pub since: At,
    /// Until when it was to be kept, by the wall clock then: for people.
    pub until: At,
    /// The number of the newest decision when it was ordered: what was denied after it is forgiven when it goes back.
    pub decided: i64,
    /// The configuration that held before, whole, as TOML; `None` = nothing was enforced.
    pub before: Option<String>,
    /// Whether it went back for good: whom it denied is let in again, and that is written.
    pub ended: bool,
}

impl Trial {
    /// The order of this `state_dir` that nobody kept, if there is one. One that cannot be read, or that somebody else could
    /// have written, is an error: nobody can tell what was before.
    pub fn read(state_dir: &Path) -> io::Result<Option<Trial>> {
        let text = whose::read(&state_dir.join(FILE))?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }

    /// Writes it so that it outlasts a power cut from now on.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        kept::replace(&state_dir.join(FILE), &serde_json::to_vec(self)?)
    }

    /// Removes it for good: the configuration was kept.
    pub fn remove(state_dir: &Path) -> io::Result<()> {
        match fs::remove_file(state_dir.join(FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => fs::File::open(state_dir)?.sync_all(),
        }
    }

    /// The configuration that held before `now`, reachable as that one is; `None` = nothing was enforced, or this version
    /// does not understand what was.
    pub fn before(&self, now: &Config) -> Option<Config> {
        let before = Config::parse(Path::new(FILE), self.before.as_deref()?).ok()?;
        let Config { state_dir, control_socket, .. } = now.clone();
        Some(Config { state_dir, control_socket, ..before })
    }
}
