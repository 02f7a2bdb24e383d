//! The last configuration with which a daemon ran. It holds while the file is broken: a mistake in it neither opens the
//! door at the next boot nor takes the commands away.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Config, ConfigError, text};
use crate::whose;

/// Beside the database.
pub(super) const FILE: &str = "last-good.toml";

impl Config {
    /// The configuration `file`; where that is broken, the last good one, and what is wrong. Only what was kept of the same
    /// path counts. It is looked for in the `state_dir` that the broken file names, if that much of it can be read.
    pub fn read_or_last(file: &Path) -> Result<(Config, Option<ConfigError>), ConfigError> {
        let (found, error) = match text(file).map(|text| super::made_out(file, &text)) {
            Ok((Some(found), problems)) if problems.is_empty() => return Ok((found, None)),
            Ok((found, problems)) => (found, ConfigError::Wrong(problems)),
            Err(error) => (None, error),
        };
        match last(file, &found.unwrap_or_default().state_dir) {
            Some(config) => Ok((config, Some(error))),
            None => Err(error),
        }
    }

    /// The defaults, with the state directory and the socket that a broken file names, as far as it can be read.
    pub fn reachable(file: &Path) -> Config {
        let found = text(file).ok().and_then(|text| super::made_out(file, &text).0);
        let Config { state_dir, control_socket, .. } = found.unwrap_or_default();
        Config { state_dir, control_socket, ..Config::default() }
    }

    /// Keeps this configuration, which is of `file`, in its `state_dir`, readable by its owner alone, with what the files say
    /// that it names: one of them may be what breaks. The file is replaced whole or not at all.
    pub fn keep(&self, file: &Path) -> io::Result<()> {
        replace(&self.state_dir.join(FILE), format!("{}\n{}", head(file)?, self.whole().to_toml()).as_bytes())
    }

    /// The configuration that was kept last, of `file`, in this one's `state_dir`.
    pub fn kept(&self, file: &Path) -> Option<Config> {
        last(file, &self.state_dir)
    }
}

/// Replaces a file, whole or not at all, so that it outlasts a power cut; only its owner may read it, who is that of the
/// directory.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let dir = path.parent().unwrap_or(Path::new("."));
    let _ = fs::remove_file(&fresh); // left of a crash, or somebody's link
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    out.write_all(bytes)?;
    whose::give(&out, dir)?;
    out.sync_all()?;
    fs::rename(fresh, path)?;
    fs::File::open(dir)?.sync_all()
}

impl Config {
    /// The same with what stands in the files of allowed entries and restricted users, and without these. A user's name that
    /// is no UTF-8 cannot stand in TOML, and is left out.
    pub fn whole(&self) -> Config {
        let mut whole = self.clone();
        let decide = &mut whole.decide;
        if decide.allow_file.take().is_some() {
            decide.allow = decide.policy.allow.entries().map(str::to_owned).collect();
        }
        if !std::mem::take(&mut decide.restricted_users_files).is_empty() {
            let names = decide.policy.restricted.iter();
            decide.restricted_users = names.filter_map(|name| String::from_utf8(name.clone()).ok()).collect();
            decide.restricted_users.sort();
        }
        whole
    }
}

/// The first line of what is kept: of which file it is.
fn head(file: &Path) -> io::Result<String> {
    Ok(format!("# What denyd ran with last, by {:?}. It holds while that file is broken.", std::path::absolute(file)?))
}

fn last(file: &Path, dir: &Path) -> Option<Config> {
    let path = dir.join(FILE);
    // Root runs programs and writes files by it.
    let kept = match whose::read(&path) {
        Ok(kept) => String::from_utf8(kept?).ok()?,
        Err(error) => {
            tracing::warn!("the last good configuration counts for nothing: {error}");
            return None;
        }
    };
    kept.starts_with(&head(file).ok()?).then(|| Config::parse(&path, &kept).ok())?
}
