//! Reads values out of TOML tables, and collects every problem with its line.
//!
//! A value that is wrong is reported and its default taken, so that one run finds all problems of a file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{Problem, What, place};

/// The longest value that a message quotes, in characters.
const FOUND_MAX: usize = 60;

/// How many problems of a configuration are kept: finding the line of each is a walk through the file, and
/// somebody will name a log file of a hundred thousand lines as his configuration.
pub(super) const PROBLEMS_MAX: usize = 200;

/// Reads one file.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    tables: &'static [Keys],
    problems: Vec<Problem>,
}

/// A table and its keys.
pub(super) type Keys = (&'static str, &'static [&'static str]);

/// One table of the file; without entries if the file does not have it.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// As it is written: `[decide]`.
    name: &'static str,
    keys: &'static [&'static str],
    entries: Option<&'a DeTable<'a>>,
    /// Where it begins.
    at: usize,
}

/// Every table with its keys; what is not here is an error.
pub(super) const TABLES: [Keys; 6] = [
    ("", &["state_dir", "control_socket", "log_level", "rules_dir", "decide", "deny", "input"]),
    (
        "[decide]",
        &[
            "threshold_invalid",
            "threshold_valid",
            "threshold_root",
            "threshold_restricted",
            "threshold_probe",
            "age_reset_invalid",
            "age_reset_valid",
            "age_reset_root",
            "age_reset_restricted",
            "age_reset_probe",
            "reset_on_success",
            "deny_for",
            "permanent_after",
            "ipv4_prefix",
            "ipv6_prefix",
            "replay_max_age",
            "restricted_users",
            "restricted_users_file",
            "allow",
            "allow_file",
        ],
    ),
    ("[deny]", &["backends", "nftables", "hosts_deny"]),
    ("[deny.nftables]", &["table"]),
    ("[deny.hosts_deny]", &["path", "service", "comment"]),
    (
        "[[input]]",
        &[
            "name",
            "kind",
            "host",
            "timezone",
            "path",
            "format",
            "first_read",
            "directory",
            "reader",
            "identifier",
            "listen",
            "from",
            "trust_network",
            "unwrap_imfile",
            "max_connections",
            "max_per_sender",
            "max_rate",
            "idle_timeout",
            "framing",
            "certificate",
            "key",
            "client_ca",
            "permitted",
            "socket_mode",
        ],
    ),
];

/// The tables of a file of rules.
pub(super) const RULE_TABLES: [Keys; 3] = [
    ("", &["rule"]),
    ("[[rule]]", &["name", "identifiers", "event", "account", "uids", "pattern", "hit", "miss"]),
    ("[[rule.hit]]", &["message", "addr", "user", "times"]),
];

impl<'a> Reader<'a> {
    /// Reads `file`, which has these tables.
    pub(super) fn new(file: &'a Path, text: &'a str, tables: &'static [Keys]) -> Self {
        Reader { file, text, tables, problems: Vec::new() }
    }

    fn keys_of(&self, table: &str) -> &'static [&'static str] {
        self.tables.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| *keys)
    }

    /// The problems so far: those of the configuration by line, then those of the files that it names.
    pub(super) fn problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| (problem.file != self.file, problem.file.clone(), problem.line));
        self.problems
    }

    /// The keys before the first table.
    pub(super) fn top(&mut self, entries: &'a DeTable<'a>) -> Table<'a> {
        let top = Table { name: "", keys: self.keys_of(""), entries: Some(entries), at: 0 };
        self.refuse_unknown(&top);
        top
    }

    /// The table `name`, written `[…]`, that is the value of `key`.
    pub(super) fn table(&mut self, parent: &Table<'a>, key: &str, name: &'static str) -> Table<'a> {
        let none = Table { name, keys: self.keys_of(name), entries: None, at: 0 };
        let Some((span, value)) = parent.find(key) else { return none };
        match value {
            DeValue::Table(entries) => {
                let table = Table { entries: Some(entries), at: span.start, ..none };
                self.refuse_unknown(&table);
                table
            }
            _ => {
                self.no_table(parent, key, span, format!("expected a table; write {name} on a line of its own"));
                none
            }
        }
    }

    /// The tables that are written `[[…]]` under `key`.
    pub(super) fn tables(&mut self, parent: &Table<'a>, key: &str, name: &'static str) -> Vec<Table<'a>> {
        let expected = || format!("expected tables; write {name}, in double brackets, before each");
        let Some((span, value)) = parent.find(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.no_table(parent, key, span, expected());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(entries) => {
                    let keys = self.keys_of(name);
                    let table = Table { name, keys, entries: Some(entries), at: item.span().start };
                    self.refuse_unknown(&table);
                    tables.push(table);
                }
                _ => self.no_table(parent, key, item.span(), expected()),
            }
        }
        tables
    }

    /// The value of `key`, or `default` where it is missing or wrong. `parse` says what it expected.
    pub(super) fn value<T>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        default: T,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> T {
        let Some((span, value)) = table.find(key) else { return default };
        match parse(value) {
            Ok(value) => value,
            Err(expected) => {
                self.wrong_value(table, key, span, expected);
                default
            }
        }
    }

    /// The same for a key that has no default.
    pub(super) fn optional<T>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        self.value(table, key, None, |value| parse(value).map(Some))
    }

    /// The values of the list `key`, without the wrong ones; `None` where there is no list.
    pub(super) fn list<T>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        mut parse: impl FnMut(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let (span, value) = table.find(key)?;
        let DeValue::Array(items) = value else {
            self.wrong_value(table, key, span, "expected a list in brackets, such as [\"a\", \"b\"]".to_owned());
            return None;
        };
        let mut values = Vec::new();
        for item in items.iter() {
            match parse(item.get_ref()) {
                Ok(value) => values.push(value),
                Err(expected) => {
                    let (table, key) = (table.name.to_owned(), key.to_owned());
                    let found = self.found(item.span());
                    self.problem(item.span().start, What::Item { table, key, found, expected });
                }
            }
        }
        Some(values)
    }

    /// Reports that the value of `key` is wrong, also in the light of other keys.
    pub(super) fn wrong(&mut self, table: &Table<'a>, key: &str, expected: String) {
        if let Some((span, _)) = table.find(key) {
            self.wrong_value(table, key, span, expected);
        }
    }

    /// How many problems there are so far; as many as are kept may be more.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// Reports a problem at the value of `key`, or at one of its list.
    pub(super) fn problem_at(&mut self, table: &Table<'a>, key: &str, item: Option<usize>, what: What) {
        let at = table.find(key).map_or(table.at, |(span, value)| match (item, value) {
            (Some(index), DeValue::Array(items)) => items.get(index).map_or(span.start, |item| item.span().start),
            _ => span.start,
        });
        self.problem(at, what);
    }

    /// Reports that `key` is missing.
    pub(super) fn missing(&mut self, table: &Table<'a>, key: &str, expected: &str) {
        let what = What::Missing { table: table.name.to_owned(), key: key.to_owned(), expected: expected.to_owned() };
        self.problem(table.at, what);
    }

    /// Reports each of `keys` that is there, though it means nothing.
    pub(super) fn unsuited(&mut self, table: &Table<'a>, keys: &[&str], reason: &str) {
        for key in keys {
            if let Some(at) = table.key_at(key) {
                let (table, key) = (table.name.to_owned(), (*key).to_owned());
                self.problem(at, What::Unsuited { table, key, reason: reason.to_owned() });
            }
        }
    }

    /// Reports a problem at a byte of the file.
    pub(super) fn problem(&mut self, at: usize, what: What) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let line = self.line(at);
        self.problems.push(Problem { file: self.file.to_owned(), line, what });
    }

    /// Reports a problem in a file that the configuration names.
    pub(super) fn problem_elsewhere(&mut self, file: &Path, line: usize, what: What) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { file: PathBuf::from(file), line, what });
        }
    }

    /// The line, from 1, that holds the byte `at`.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }

    fn wrong_value(&mut self, table: &Table<'_>, key: &str, span: Range<usize>, expected: String) {
        let (table, key) = (table.name.to_owned(), key.to_owned());
        let found = self.found(span.clone());
        self.problem(span.start, What::Value { table, key, found, expected });
    }

    /// Reports a value that should be a table. A header such as `[input]` is quoted as it stands.
    fn no_table(&mut self, parent: &Table<'_>, key: &str, span: Range<usize>, expected: String) {
        let found = self.found(span.clone());
        if found.starts_with('[') && found.contains(key) {
            self.problem(span.start, What::Syntax(format!("{found}: {expected}")));
        } else {
            self.wrong_value(parent, key, span, expected);
        }
    }

    fn found(&self, span: Range<usize>) -> String {
        shorten(self.text.get(span).unwrap_or_default())
    }

    fn refuse_unknown(&mut self, table: &Table<'a>) {
        for (key, _) in table.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !table.keys.contains(&name) {
                let what = What::UnknownKey {
                    table: table.name.to_owned(),
                    key: shorten(name),
                    remedy: meant(name, table, self.tables),
                };
                self.problem(key.span().start, what);
            }
        }
    }
}

impl<'a> Table<'a> {
    /// Whether the file says anything of `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether `key` is there and is not an empty list.
    pub(super) fn has_items(&self, key: &str) -> bool {
        self.find(key).is_some_and(|(_, value)| !matches!(value, DeValue::Array(items) if items.is_empty()))
    }

    /// How many values the list `key` has; 0 if there is none.
    pub(super) fn items(&self, key: &str) -> usize {
        self.find(key).map_or(0, |(_, value)| if let DeValue::Array(items) = value { items.len() } else { 0 })
    }

    fn find(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        debug_assert!(self.keys.contains(&key), "{key} is not listed as a key of {}", self.name);
        self.entries?.get(key).map(|value| (value.span(), value.get_ref()))
    }

    fn key_at(&self, key: &str) -> Option<usize> {
        self.entries?.get_key_value(key).map(|(key, _)| key.span().start)
    }
}

/// A piece of a file as a message quotes it: its first line, not too long, nothing that a terminal obeys.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(FOUND_MAX).flat_map(quoted).collect();
    let cut = line.chars().count() > FOUND_MAX || line.len() < text.trim_end().len();
    if cut { shown + "…" } else { shown }
}

fn quoted(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// What DenyHosts called some of our keys, in lower case; those with a name much like ours are not here.
const DENYHOSTS: [(&str, &str, &str); 9] = [
    ("deny_threshold_invalid", "threshold_invalid", "[decide]"),
    ("deny_threshold_valid", "threshold_valid", "[decide]"),
    ("deny_threshold_root", "threshold_root", "[decide]"),
    ("deny_threshold_restricted", "threshold_restricted", "[decide]"),
    ("purge_deny", "deny_for", "[decide]"),
    ("purge_threshold", "permanent_after", "[decide]"),
    ("block_service", "service", "[deny.hosts_deny]"),
    ("secure_log", "path", "[[input]]"),
    ("work_dir", "state_dir", ""),
];

/// What was meant by an unknown key: DenyHosts' name for it, the same key elsewhere, or one that is
/// written much alike.
fn meant(key: &str, table: &Table<'_>, tables: &'static [Keys]) -> String {
    let key = key.to_lowercase();
    let denyhosts =
        DENYHOSTS.iter().find(|(theirs, ours, _)| *theirs == key && tables.iter().any(|(_, keys)| keys.contains(ours)));
    if let Some((_, ours, owner)) = denyhosts {
        return format!("DenyHosts' key of that name is now `{ours}` {}", place(owner));
    }
    // Not this table: there the key is right but for its capitals.
    let owners = tables.iter().filter(|(owner, keys)| *owner != table.name && keys.contains(&key.as_str()));
    let owners: Vec<String> = owners.map(|(owner, _)| place(owner)).collect();
    if !owners.is_empty() && !table.keys.contains(&key.as_str()) {
        return format!("it belongs {}", owners.join(" or "));
    }
    let mut nearest: Option<(usize, &str)> = None;
    for known in table.keys {
        let far = distance(&key, known);
        if far <= (known.len() / 3).max(1) && nearest.is_none_or(|(least, _)| far < least) {
            nearest = Some((far, known));
        }
    }
    if let Some((_, known)) = nearest {
        return format!("did you mean `{known}`?");
    }
    format!("known there: {}", table.keys.join(", "))
}

/// How many letters must be changed, added, left out, or swapped with their neighbour to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    /// No key is longer; what is, is not compared.
    const COMPARED_MAX: usize = 40;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > COMPARED_MAX {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
