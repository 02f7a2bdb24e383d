//! What is said to `pfctl` (pfctl(8)), and what it says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::entry::Entry;
use super::{NAME, Settings};
use crate::deny::{DenyError, program};

/// `pfctl`, for one table.
pub(super) struct Pfctl {
    pub(super) settings: Settings,
    /// Where it is, if not where programs are.
    pub(super) binary: Option<PathBuf>,
}

impl Pfctl {
    /// Asks whether pf can be used; changes nothing.
    pub(super) fn usable(&self) -> Result<(), DenyError> {
        self.is_on()?;
        self.is_asked()
    }

    /// Runs `pfctl`, and returns what it says.
    pub(super) fn ask(&self, tried: &str, arguments: &[&str], input: &str) -> Result<String, DenyError> {
        let said = match &self.binary {
            Some(binary) => program::ask_at(binary, "pfctl", arguments, input),
            None => program::ask("pfctl", arguments, input),
        };
        let said = said.map_err(|cause| self.failed(tried, cause))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The same in our anchor, if there is one.
    pub(super) fn inside(&self, tried: &str, arguments: &[&str], input: &str) -> Result<String, DenyError> {
        match &self.settings.anchor {
            Some(anchor) => self.ask(tried, &[&["-q", "-a", &anchor.0], arguments].concat(), input),
            None => self.ask(tried, &[&["-q"], arguments].concat(), input),
        }
    }

    /// The same with our table.
    pub(super) fn table(&self, verb: &str, input: &str) -> Result<String, DenyError> {
        let table = &self.settings.table.0;
        let file: &[&str] = if verb == "show" { &[] } else { &["-f", "-"] };
        self.inside(&format!("{verb} entries of table {table}"), &[&["-t", table, "-T", verb], file].concat(), input)
    }

    pub(super) fn failed(&self, tried: impl Into<String>, cause: impl ToString) -> DenyError {
        let cause = cause.to_string();
        DenyError { remedy: remedy(&cause), ..DenyError::new(NAME, tried, cause) }
    }

    /// An error of which is known what to do.
    pub(super) fn wrong(&self, tried: &str, cause: impl ToString, remedy: &'static str) -> DenyError {
        DenyError { remedy: Some(remedy), ..DenyError::new(NAME, tried, cause) }
    }

    /// Sees that pf filters at all.
    fn is_on(&self) -> Result<(), DenyError> {
        let tried = "ask whether pf filters";
        let info = self.ask(tried, &["-s", "info"], "")?;
        if info.lines().any(|line| line.starts_with("Status: Enabled")) {
            return Ok(());
        }
        Err(self.wrong(tried, "pf is not enabled", ENABLE))
    }

    /// Sees that packets are held against our table, so that what is in it is denied.
    fn is_asked(&self) -> Result<(), DenyError> {
        let table = &self.settings.table;
        let Some(anchor) = &self.settings.anchor else {
            let tried = "find a rule that names the table";
            let tables = self.ask(tried, &["-v", "-s", "Tables"], "")?;
            let ours = tables.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let flags = words.next()?;
                (words.next() == Some(&table.0) && words.next().is_none()).then(|| flags.to_owned())
            });
            // a = active, r = referenced by a rule
            return match ours {
                Some(flags) if flags.contains('a') && flags.contains('r') => Ok(()),
                Some(_) => Err(self.wrong(tried, format!("no rule names table {table}"), NAME_TABLE)),
                None => Err(self.wrong(tried, format!("there is no table {table}"), NAME_TABLE)),
            };
        };
        let tried = "find the anchor in the rules";
        let rules = self.ask(tried, &["-s", "rules"], "")?;
        // What is indented is inside another anchor, which not all may reach.
        let [ours, all] = [format!("anchor \"{anchor}\""), "anchor \"*\"".to_owned()];
        let leads = |line: &str| {
            let rest = line.strip_prefix(&ours).or_else(|| line.strip_prefix(&all));
            rest.is_some_and(|rest| rest.split_whitespace().all(|word| ["in", "quick", "all"].contains(&word)))
        };
        match rules.lines().find(|line| leads(line) || passes_anybody(line)) {
            Some(line) if leads(line) => Ok(()),
            Some(pass) => {
                let cause = format!("before anchor \"{anchor}\" a rule lets anybody in: {pass}");
                Err(self.wrong(tried, cause, ANCHOR))
            }
            None => Err(self.wrong(tried, format!("no rule leads all that comes in to anchor \"{anchor}\""), ANCHOR)),
        }
    }

    pub(super) fn listed_rules(&self) -> Result<String, DenyError> {
        self.inside("list the rules of the anchor", &["-s", "rules"], "")
    }

    /// What is in the table.
    pub(super) fn show(&self) -> Result<BTreeSet<Entry>, DenyError> {
        let shown = self.table("show", "")?;
        let read = |line: &str| line.parse::<Entry>().map_err(|what| self.failed("read the table", what));
        shown.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
    }

    /// What is in our own table; nothing if there is none.
    pub(super) fn own(&self) -> Result<BTreeSet<Entry>, DenyError> {
        if self.settings.anchor.is_none() {
            return Ok(BTreeSet::new());
        }
        match self.show() {
            Err(error) if error.cause.contains(NO_TABLE) => Ok(BTreeSet::new()),
            shown => shown,
        }
    }
}

pub(super) fn lines(entries: &BTreeSet<Entry>) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

/// Whether a rule of the listing ends the matter for a connection of TCP from anywhere. One for chosen senders is there on
/// purpose, so that they are never denied.
fn passes_anybody(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind = |word: &str| words.iter().position(|one| *one == word).and_then(|at| words.get(at + 1)).copied();
    line.starts_with("pass ")
        && words.contains(&"quick")
        && behind("pass") != Some("out")
        && behind("on") != Some("lo0")
        && behind("proto").is_none_or(|protocol| protocol == "tcp")
        && behind("from").is_none_or(|from| from == "any" || from.starts_with('!'))
}

fn remedy(cause: &str) -> Option<&'static str> {
    if cause.starts_with("no pfctl in") {
        Some("pf is of FreeBSD, OpenBSD and their like: choose another back end")
    } else if cause.contains("Permission denied") || cause.contains("not permitted") {
        Some("run denyd as root")
    } else if cause.contains("/dev/pf") {
        Some("load pf: kldload pf")
    } else if cause.contains("pf not enabled") {
        Some(ENABLE)
    } else if cause.contains("Cannot allocate memory") {
        Some("allow more: write `set limit table-entries 1000000` in /etc/pf.conf and load it")
    } else if cause.contains(NO_TABLE) {
        Some(NAME_TABLE)
    } else {
        None
    }
}

const NO_TABLE: &str = "Table does not exist";
const ENABLE: &str = "enable it: pfctl -e, and pf_enable=\"YES\" in /etc/rc.conf of FreeBSD";
const ANCHOR: &str = "write anchor \"denyd\", or its configured name, and nothing behind it, in /etc/pf.conf before all rules \
                      that pass anybody, and load it: pfctl -f /etc/pf.conf";
const NAME_TABLE: &str = "write `table <NAME> persist` and `block in quick from <NAME>` in /etc/pf.conf, and load it: \
                          pfctl -f /etc/pf.conf";
pub(super) const OURS: &str = "look for what changes it: nobody else may write to the anchor";
