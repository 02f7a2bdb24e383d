//! What is wrong with a configuration, said so that the reader can mend it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// How many problems are shown.
const SHOWN_MAX: usize = 50;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, or a directory of rules not be used; says why, and what to do.
    #[error("{0}")]
    Unusable(String),
    /// The file was read, and these are its problems, in its order. There is at least one.
    #[error("{}", shown(.0))]
    Wrong(Vec<Problem>),
}

impl ConfigError {
    pub(super) fn unreadable(file: &Path, cause: io::Error) -> Self {
        ConfigError::Unusable(format!("cannot read {}: {cause}", file.display()))
    }
}

fn shown(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(SHOWN_MAX).map(Problem::to_string).collect();
    if problems.len() > SHOWN_MAX {
        lines.push("and more; mend these first".to_owned());
    }
    lines.join("\n")
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file: the configuration, or one that it names.
    pub file: PathBuf,
    /// The line, from 1; 0 for what the file lacks.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 0 is of no line: something is not there.
        let line = if self.line == 0 { String::new() } else { format!("{}:", self.line) };
        write!(f, "{}:{line} {}", self.file.display(), self.what)
    }
}

/// What stands before a key of a table, which is as it is written in the file; empty for the keys before the first table.
pub(super) fn prefix(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!("{table} ") }
}

/// Where the keys of a table stand, in words.
pub(super) fn place(table: &str) -> String {
    if table.is_empty() { "before the first table".to_owned() } else { format!("in {table}") }
}
