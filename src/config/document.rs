//! Reads the tables of a TOML file by the descriptions of their keys, and collects every problem with its line.
//!
//! A value that is wrong is reported and its default kept, so that one run finds all problems of a file.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::codec::Node;
use super::error::{Problem, place, prefix};
use super::key::{Key, Listed, Section};

/// The longest value that a message quotes, in characters.
const FOUND_MAX: usize = 60;

/// How many problems of a configuration are kept: finding the line of each is a walk through the file, and
/// somebody will name a log file of a hundred thousand lines as his configuration.
const PROBLEMS_MAX: usize = 200;

/// Reads one file.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    tables: Vec<Listed>,
    problems: Vec<Problem>,
}

/// One table of the file; without entries if the file does not have it.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// As it is written: `[decide]`.
    pub(super) name: &'static str,
    entries: Option<&'a DeTable<'a>>,
    /// Where it begins.
    at: usize,
}

/// What `take` makes of the text of `file`, if that is TOML with these tables, and all its problems. Where there are some,
/// it is what could be made out.
pub(super) fn read<T>(
    file: &Path,
    text: &str,
    tables: Vec<Listed>,
    take: impl FnOnce(&mut Reader<'_>, &Table<'_>) -> T,
) -> (Option<T>, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { file, text, tables, problems: Vec::new() };
    if errors.is_empty() {
        let top = Table { name: "", entries: Some(document.get_ref()), at: 0 };
        reader.refuse_unknown(&top);
        let taken = take(&mut reader, &top);
        return (Some(taken), reader.problems());
    }
    // What stands behind a mistake of syntax may mean anything: no word on keys before it is mended.
    for error in errors.into_iter().take(PROBLEMS_MAX) {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.lines().nth(reader.line(at) - 1).unwrap_or_default();
        reader.problem(at, syntax(line, error.message()));
    }
    let mut problems = reader.problems();
    problems.dedup_by_key(|problem| problem.line);
    let mut unheard = Reader { file, text, tables: Vec::new(), problems: Vec::new() };
    let top = Table { name: "", entries: Some(document.get_ref()), at: 0 };
    (Some(take(&mut unheard, &top)), problems)
}

/// The parser's message in an administrator's words, where we know what is meant.
fn syntax(line: &str, message: &str) -> String {
    let unquoted = ["quoted", "invalid float", "invalid number", "invalid boolean", "leading zero"];
    let meaning = if unquoted.iter().any(|part| message.contains(part)) {
        "texts, durations and addresses stand in quotes, such as deny_for = \"7d\"; true and false are small letters"
    } else if message == "duplicate key" {
        "this stands in the file already; keep one"
    } else {
        message
    };
    format!("not TOML: {}: {meaning}", shorten(line.trim()))
}

impl Reader<'_> {
    /// The problems: those of the file by line, then those of the files that it names.
    fn problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| (problem.file != self.file, problem.file.clone(), problem.line));
        self.problems
    }

    /// How many problems there are so far, of those that are kept.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// The table `name`, written `[…]`, that is the value of `key`.
    pub(super) fn table<'b>(&mut self, parent: &Table<'b>, key: &str, name: &'static str) -> Table<'b> {
        let none = Table { name, entries: None, at: 0 };
        let Some((span, value)) = parent.find(key) else { return none };
        let DeValue::Table(entries) = value.get_ref() else {
            self.no_table(parent, key, span, &format!("expected a table; write {name} on a line of its own"));
            return none;
        };
        let table = Table { name, entries: Some(entries), at: span.start };
        self.refuse_unknown(&table);
        table
    }

    /// The tables that are written `[[…]]` under `key`.
    pub(super) fn tables<'b>(&mut self, parent: &Table<'b>, key: &str, name: &'static str) -> Vec<Table<'b>> {
        let expected = format!("expected tables; write {name}, in double brackets, before each");
        let Some((span, value)) = parent.find(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.no_table(parent, key, span, &expected);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            if let DeValue::Table(entries) = item.get_ref() {
                let table = Table { name, entries: Some(entries), at: item.span().start };
                self.refuse_unknown(&table);
                tables.push(table);
            } else {
                self.no_table(parent, key, item.span(), &expected);
            }
        }
        tables
    }

    /// Sets all `keys` that the table has. `meaningless` says why a key means nothing beside the others, or that this is
    /// not to be said. Returns whether each key that must be there is there and right.
    pub(super) fn fill<S>(
        &mut self,
        table: &Table<'_>,
        keys: &[Key<S>],
        settings: &mut S,
        meaningless: impl Fn(&S, &Key<S>) -> Option<String>,
    ) -> bool {
        let mut whole = true;
        for key in keys {
            let has_meaning = (key.has_meaning)(settings);
            let Some((span, value)) = table.find(key.name) else {
                if let Some(expected) = key.needed.filter(|_| has_meaning) {
                    self.missing(table, key.name, expected(settings));
                    whole = false;
                }
                continue;
            };
            if !has_meaning && let Some(reason) = meaningless(settings, key) {
                let named = prefix(table.name) + key.name;
                self.problem(span.start, format!("{named} has no meaning {reason}; remove it"));
                continue;
            }
            for bad in (key.set)(settings, value).err().unwrap_or_default() {
                whole &= key.needed.is_none();
                let is = if bad.item.is_some() { "," } else { " =" };
                self.wrong_value(table, key.name, is, bad.item.unwrap_or(span.clone()), &bad.expected);
            }
        }
        whole
    }

    /// Sets all keys of a table in which each always has a meaning.
    pub(super) fn fill_all<S>(&mut self, table: &Table<'_>, section: &Section<S>, settings: &mut S) {
        self.fill(table, &section.keys, settings, |_, _| None);
    }

    /// Reports that the value of `key` is wrong in the light of other keys.
    pub(super) fn wrong(&mut self, table: &Table<'_>, key: &str, expected: &str) {
        if let Some((span, _)) = table.find(key) {
            self.wrong_value(table, key, " =", span, expected);
        }
    }

    fn wrong_value(&mut self, table: &Table<'_>, key: &str, is: &str, span: Range<usize>, expected: &str) {
        let found = self.found(span.clone());
        self.problem(span.start, format!("{}{key}{is} {found}: {expected}", prefix(table.name)));
    }

    /// Reports a problem at the value of `key`, or at one of its list.
    pub(super) fn problem_at(&mut self, table: &Table<'_>, key: &str, item: Option<usize>, what: String) {
        let at = table.find(key).map_or(table.at, |(span, value)| match (item, value.get_ref()) {
            (Some(index), DeValue::Array(items)) => items.get(index).map_or(span.start, |item| item.span().start),
            _ => span.start,
        });
        self.problem(at, what);
    }

    /// Reports that `key` is missing.
    pub(super) fn missing(&mut self, table: &Table<'_>, key: &str, expected: &str) {
        self.problem(table.at, format!("{}without `{key}`; {expected}", prefix(table.name)));
    }

    /// Reports a problem at a byte of the file.
    fn problem(&mut self, at: usize, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problem_elsewhere(self.file, self.line(at), what);
        }
    }

    /// Reports a problem in a file that the configuration names.
    pub(super) fn problem_elsewhere(&mut self, file: &Path, line: usize, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { file: file.to_owned(), line, what });
        }
    }

    /// The line, from 1, that holds the byte `at`.
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }

    /// Reports a value that should be a table. A header such as `[input]` is quoted as it stands.
    fn no_table(&mut self, parent: &Table<'_>, key: &str, span: Range<usize>, expected: &str) {
        let found = self.found(span.clone());
        if found.starts_with('[') && found.contains(key) {
            self.problem(span.start, format!("{found}: {expected}"));
        } else {
            self.wrong_value(parent, key, " =", span, expected);
        }
    }

    fn found(&self, span: Range<usize>) -> String {
        shorten(self.text.get(span).unwrap_or_default())
    }

    fn refuse_unknown(&mut self, table: &Table<'_>) {
        let known = self.tables.iter().find(|listed| listed.name == table.name).map_or(&[][..], |listed| &listed.keys);
        let unknown = table.entries.into_iter().flatten().filter(|(key, _)| !known.contains(&key.get_ref().as_ref()));
        let unknown: Vec<(usize, &str)> = unknown.map(|(key, _)| (key.span().start, key.get_ref().as_ref())).collect();
        for (at, key) in unknown {
            let remedy = meant(key, table.name, &self.tables);
            self.problem(at, format!("unknown key `{}` {}; {remedy}", shorten(key), place(table.name)));
        }
    }
}

impl<'a> Table<'a> {
    /// Whether the file says anything of `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// How many values the list `key` has; 0 if there is none.
    pub(super) fn items(&self, key: &str) -> usize {
        self.find(key).and_then(|(_, value)| value.get_ref().as_array()).map_or(0, |items| items.len())
    }

    /// Where `key` stands, if it has no value of its own, or its value; and that.
    fn find(&self, key: &str) -> Option<(Range<usize>, &'a Node<'a>)> {
        self.entries?.get(key).map(|value| (value.span(), value))
    }
}

/// A piece of a file as a message quotes it: its first line, not too long, nothing that a terminal obeys.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown = String::new();
    for c in line.chars().take(FOUND_MAX) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    let cut = line.chars().count() > FOUND_MAX || line.len() < text.trim_end().len();
    if cut { shown + "…" } else { shown }
}

/// What was meant by an unknown key of `table`: DenyHosts' name for it, the same key elsewhere, or one that is
/// written much alike.
fn meant(key: &str, table: &str, tables: &[Listed]) -> String {
    for Listed { name, denyhosts, .. } in tables {
        if let Some((_, ours)) = denyhosts.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(key)) {
            return format!("DenyHosts' key of that name is now `{ours}` {}", place(name));
        }
    }
    let key = key.to_lowercase();
    let known = tables.iter().find(|listed| listed.name == table).map_or(&[][..], |listed| &listed.keys);
    // Not this table: there the key is right but for its capitals.
    let owners = tables.iter().filter(|listed| listed.name != table && listed.keys.contains(&key.as_str()));
    let owners: Vec<String> = owners.map(|listed| place(listed.name)).collect();
    if !owners.is_empty() && !known.contains(&key.as_str()) {
        return format!("it belongs {}", owners.join(" or "));
    }
    // No key is much longer; what is, is not compared.
    let near = known.iter().filter(|_| key.len() <= 40).map(|known| (strsim::osa_distance(&key, known), known));
    match near.filter(|(far, known)| *far <= (known.len() / 3).max(1)).min_by_key(|(far, _)| *far) {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("known there: {}", known.join(", ")),
    }
}
