//! What is wrong with a configuration, said so that the reader can mend it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::decide::allow::BadEntry;
use crate::detect::rule::Refusal;

/// How many problems are shown.
const SHOWN_MAX: usize = 50;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A directory of rules, or what is in it, cannot be used.
    #[error("{}: {problem}", path.display())]
    Unsuited {
        /// The directory or the file.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// The file was read, and these are its problems, in its order. There is at least one.
    #[error("{}", shown(.0))]
    Wrong(Vec<Problem>),
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
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: What,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// What is wrong. `table` is as it is written in the file, `[decide]`; empty for the keys before the first table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that there is not.
    #[error("unknown key `{key}` {}; {remedy}", place(table))]
    UnknownKey {
        /// The table.
        table: String,
        /// The key, escaped.
        key: String,
        /// What was meant, as far as we can guess.
        remedy: String,
    },
    /// A key whose value is not what it may be.
    #[error("{}{key} = {found}: {expected}", prefix(table))]
    Value {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The value as it is written, shortened.
        found: String,
        /// What may stand there, or what to do.
        expected: String,
    },
    /// One value of a list.
    #[error("{}{key}, {found}: {expected}", prefix(table))]
    Item {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The value as it is written, shortened.
        found: String,
        /// What may stand there, or what to do.
        expected: String,
    },
    /// A key that must be there and is not.
    #[error("{}without `{key}`; {expected}", prefix(table))]
    Missing {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// What to write.
        expected: String,
    },
    /// A known key that means nothing beside the others.
    #[error("{}{key} has no meaning {reason}; remove it", prefix(table))]
    Unsuited {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// Beside what.
        reason: String,
    },
    /// A rule that is refused.
    #[error("rule \"{name}\": {refusal}")]
    Rule {
        /// The rule's name, escaped and shortened.
        name: String,
        /// Why.
        refusal: Refusal,
    },
    /// A line of the allow file.
    #[error(transparent)]
    Allow(#[from] BadEntry),
    /// A line of the file of restricted users.
    #[error("user name {0}: expected one name of at most 255 bytes a line, without control characters")]
    UserName(String),
}

fn prefix(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!("{table} ") }
}

/// Where the keys of a table stand, in words.
pub(super) fn place(table: &str) -> String {
    if table.is_empty() { "before the first table".to_owned() } else { format!("in {table}") }
}
