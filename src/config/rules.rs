//! The rules of a directory: each `*.toml` in it, in the order of their names, tables `[[rule]]`.
//!
//! All of them are taken or none; every problem is reported at once. What a rule may be,
//! [`detect::rule`](crate::detect::rule) says. Whoever can write these files decides who is denied, so none may be
//! writable by all.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use crate::detect::rule::Rules;

mod rule;

/// Where the rules are unless the configuration says otherwise. It need not be there.
pub const USUAL: &str = "/etc/denyd/rules.d";
/// Files with rules.
const FILES_MAX: usize = 100;
/// The bits of permissions that let everybody write.
const WRITABLE_BY_ALL: u32 = 0o002;

/// The rules of a directory.
#[derive(Debug, Default)]
pub struct Loaded {
    /// They themselves.
    pub rules: Rules,
    /// How many files they are from.
    pub files: usize,
}

impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (rules, files) = (self.rules.iter().len(), self.files);
        write!(f, "{rules} rule{} in {files} file{}, all examples hold", plural(rules), plural(files))
    }
}

/// Reads a directory of rules.
pub(super) fn read(dir: &Path) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded::default();
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
