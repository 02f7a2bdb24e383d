//! Rules: those of a directory, each `*.toml` in it, in the order of their names, tables `[[rule]]`; and before them those of
//! the configuration itself.
//!
//! All of them are taken or none; every problem is reported at once. What a rule may be,
//! [`detect::rule`](crate::detect::rule) says. Whoever can write these files decides who is denied, so none may be
//! writable by all.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use crate::detect::rule::{Draft, Rule, Rules};

mod rule;

pub(super) use rule::{here, listed, write};

/// Where the rules are unless the configuration says otherwise. It need not be there.
pub const USUAL: &str = "/etc/denyd/rules.d";
/// Files with rules.
const FILES_MAX: usize = 100;
/// The bits of permissions that let everybody write.
const WRITABLE_BY_ALL: u32 = 0o002;

/// The rules of a directory, and those of the configuration.
#[derive(Debug, Default)]
pub struct Loaded {
    /// They themselves.
    pub rules: Rules,
    /// How many are the configuration's.
    pub own: usize,
    /// How many files they are from.
    pub files: usize,
}

impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        if self.own > 0 {
            write!(f, "{} rule{} in the configuration, ", self.own, plural(self.own))?;
        }
        let (rules, files) = (self.rules.iter().len() - self.own, self.files);
        write!(f, "{rules} rule{} in {files} file{}, all examples hold", plural(rules), plural(files))
    }
}

/// Reads a directory of rules. `own` are those of the configuration, which are right.
pub(super) fn read(dir: &Path, own: &[Draft]) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { own: own.len(), ..Loaded::default() };
    for draft in own {
        let added = Rule::compile(draft.clone()).and_then(|rule| loaded.rules.add(rule));
        added.map_err(|(_, why)| ConfigError::Unusable(format!("rule \"{}\": {why}", draft.name)))?;
    }
    let mut problems = Vec::new();
    for file in files(dir)? {
        loaded.files += 1;
        match super::text(&file) {
            Ok(text) => problems.extend(rule::add(&mut loaded.rules, &file, &text)),
            Err(ConfigError::Wrong(more)) => problems.extend(more),
            Err(error) => return Err(error),
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(ConfigError::Wrong(problems)) }
}

/// The files of a directory, in the order of their names. Hidden ones are editors' and no rules.
fn files(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir == Path::new(USUAL) => return Ok(Vec::new()),
        Err(error) => return Err(unsuited(dir, format!("cannot read this directory of rules (`rules_dir`): {error}"))),
        Ok(entries) => entries,
    };
    refuse_open(dir)?;
    let mut files = Vec::new();
    for entry in entries {
        let path =
            entry.map_err(|error| unsuited(dir, format!("cannot read this directory of rules: {error}")))?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") || !name.ends_with(b".toml") {
            continue;
        }
        if !std::fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            return Err(unsuited(&path, "no regular file; remove it, or rename it so that it does not end in .toml"));
        }
        refuse_open(&path)?;
        files.push(path);
        if files.len() > FILES_MAX {
            return Err(unsuited(dir, format!("more than {FILES_MAX} files; put several rules into one")));
        }
    }
    files.sort();
    Ok(files)
}

fn unsuited(path: &Path, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::Unusable(format!("{}: {problem}", path.display()))
}

/// Refuses what everybody may write.
fn refuse_open(path: &Path) -> Result<(), ConfigError> {
    let found = std::fs::metadata(path).map_err(|cause| ConfigError::unreadable(path, cause))?;
    if found.permissions().mode() & WRITABLE_BY_ALL == 0 {
        return Ok(());
    }
    let problem = format!("everybody may write it, and so decide who is denied; chmod o-w {}", path.display());
    Err(unsuited(path, problem))
}

#[cfg(test)]
mod tests;
