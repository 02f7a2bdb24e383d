//! Denies in pf, the packet filter of the BSDs, by `pfctl`.
//!
//! **Nobody has tried it on a BSD**: what is said to `pfctl` and what it says follow pfctl(8) and pf.conf(5), and are tested
//! against a program that keeps tables in files.
//!
//! # Two ways
//!
//! With an anchor, its rules and its table are ours alone: pf.conf has the line `anchor "denyd"`, and denyd writes what is in
//! it. Without one, an administrator's own rules name the table, which others may write to as well: what is ours there is
//! known by a ledger, and is added and deleted entry by entry.
//!
//! # What it says
//!
//! Who is denied is blocked by `block … quick`. There is no `pass` rule of ours, let alone a quick one: it would let in what
//! an administrator's later rules block. So what is allowed inside a wider deny is a negated entry (`!192.0.2.7`): of the
//! entries that hold an address the narrowest decides. Loopback goes its way, and so does what is neither TCP nor UDP in
//! IPv6: without neighbour discovery a deny of an on-link prefix would cut us off.
//!
//! # What it does not do
//!
//! pf asks no rule about a connection that it has a state of: one that is open stays so, unless connections are to be cut;
//! then the states of whoever is newly denied are killed, to whatever port. An entry has no end there: the engine releases it,
//! and while denyd is stopped nobody is released. Nothing is counted. A log sender that is denied does not reach our
//! listeners, but for what stands before the anchor.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use inputs::record::Timestamp;

use super::effect::{Action, Effect};
use super::ledger::Ledger;
use super::overlap::without;
use super::{DenyBackend, DenyError, DenySet, Diff, Kept, Probe};
use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use entry::{Entry, Wanted};
use pfctl::{OURS, Pfctl, lines};

mod entry;
mod pfctl;
#[cfg(test)]
mod tests;

/// The pf back end. Needs root and the program `pfctl`.
pub struct Pf {
    pfctl: Pfctl,
    effect: Effect,
    /// Whether states of those who are newly denied are killed.
    cuts: bool,
    /// What is ours in an administrator's table; without lines where the table is our own.
    ledger: Ledger,
    /// What of ours is in the table, as it was last written.
    held: BTreeSet<Entry>,
    /// What others have in it.
    foreign: BTreeSet<Entry>,
    /// The rules of our anchor, as they were listed after we wrote them.
    rules: Option<String>,
}

/// What an administrator decides of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The anchor that is ours; `None` where the table is named by an administrator's own rules. Default `denyd`.
    pub anchor: Option<Name>,
    /// The table. Default `denyd`.
    pub table: Name,
}

impl Default for Settings {
    fn default() -> Self {
        let name = || Name("denyd".to_owned());
        Settings { anchor: Some(name()), table: name() }
    }
}

/// The name of an anchor or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if letters && text.len() <= NAME_MAX {
            return Ok(Name(text.to_owned()));
        }
        Err(format!("expected a name of pf's: letters, digits, _ and -, a letter first, at most {NAME_MAX}"))
    }
}

impl Settings {
    /// Asks whether pf can be used so; changes nothing.
    pub fn usable(&self) -> Result<(), DenyError> {
        Pfctl { settings: self.clone(), binary: None }.usable()
    }

    /// The name of its ledger, and of what no other denyd may write to.
    pub(crate) fn place(&self) -> String {
        match &self.anchor {
            Some(anchor) => format!("{NAME} anchor {anchor} table {}", self.table),
            None => format!("{NAME} table {}", self.table),
        }
    }

    /// The settings of such a place.
    pub(super) fn of_place(at: &str) -> Option<Settings> {
        let words: Vec<&str> = at.split(' ').collect();
        match words.as_slice() {
            ["anchor", anchor, "table", table] => {
                Some(Settings { anchor: Some(anchor.parse().ok()?), table: table.parse().ok()? })
            }
            ["table", table] => Some(Settings { anchor: None, table: table.parse().ok()? }),
            _ => None,
        }
    }

    /// The rules of our anchor, and its table, in the language of pf.conf(5). A table that is there keeps its entries.
    fn anchored(&self, effect: &Effect) -> String {
        let table = &self.table;
        let block = match effect.action {
            Action::Drop => "block drop",
            Action::Reject => "block return",
        };
        let rule = |what: &str, to: &str| format!("{block} in quick on ! lo0 {what} from <{table}> to any{to}\n");
        let rules = match effect.ports() {
            Some(ports) => rule("proto tcp", &format!(" port {{ {} }}", ports.replace(',', ", "))),
            None => rule("inet", "") + &rule("inet6 proto { tcp, udp }", ""),
        };
        format!("table <{table}> persist\n{rules}")
    }
}

impl Pf {
    /// A back end for this table, of which `ledger` says what is ours.
    pub fn new(settings: Settings, ledger: Ledger) -> Self {
        Pf {
            pfctl: Pfctl { settings, binary: None },
            effect: Effect::default(),
            cuts: false,
            ledger,
            held: BTreeSet::new(),
            foreign: BTreeSet::new(),
            rules: None,
        }
    }

    /// Refuses packets in this way; ports and action are an administrator's where the rules are.
    pub fn with_effect(self, effect: Effect) -> Self {
        Pf { effect, ..self }
    }

    /// Kills the states of those who are newly denied.
    pub fn cutting(self, cuts: bool) -> Self {
        Pf { cuts, ..self }
    }

    /// Uses this program instead of looking for `pfctl`.
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Pf { pfctl: Pfctl { binary: Some(binary), ..self.pfctl }, ..self }
    }

    /// Writes the rules of our anchor, if there is one.
    fn write_rules(&mut self) -> Result<(), DenyError> {
        if self.pfctl.settings.anchor.is_none() {
            return Ok(());
        }
        self.rules = None;
        self.pfctl.inside(
            "write the rules of the anchor",
            &["-f", "-"],
            &self.pfctl.settings.anchored(&self.effect),
        )?;
        self.rules = Some(self.pfctl.listed_rules()?);
        Ok(())
    }

    /// Puts entries into the table and takes others out: first those that go, since an entry and its negation are one.
    fn change(&mut self, gone: BTreeSet<Entry>, new: BTreeSet<Entry>) -> Result<(), DenyError> {
        if !gone.is_empty() {
            self.pfctl.table("delete", &lines(&gone))?;
            self.held.retain(|entry| !gone.contains(entry));
        }
        if !new.is_empty() {
            self.pfctl.table("add", &lines(&new))?;
            self.held.extend(new);
        }
        Ok(())
    }

    /// Notes that what we hold is ours, and that this will be, in a table which others may write to.
    fn note(&mut self, more: &BTreeSet<Entry>) -> Result<(), DenyError> {
        if self.pfctl.settings.anchor.is_some() {
            return Ok(());
        }
        let lines = self.held.union(more).map(|entry| (entry.to_string(), entry.prefix)).collect();
        self.ledger.keep(lines).map_err(|cause| DenyError::new(NAME, "note which entries are ours", cause))
    }

    /// Kills the states of those who are denied by these entries, but for those who are allowed or logged in.
    fn cut(&self, new: &BTreeSet<Entry>, want: &DenySet) -> Result<(), DenyError> {
        if !self.cuts {
            return Ok(());
        }
        let kept = want.kept.iter().map(|(peer, _)| Range::from(Prefix::host(*peer)));
        let spared = merge(want.allowed.iter().copied().chain(kept).collect());
        let denied = new.iter().filter(|entry| !entry.not);
        let pieces: Vec<_> = denied.flat_map(|entry| without(entry.prefix, &spared, KILLS_MAX)).flatten().collect();
        if pieces.len() > KILLS_MAX {
            let left = pieces.len() - KILLS_MAX;
            tracing::warn!(backend = NAME, left, limit = KILLS_MAX, "too many states to kill at once; these stay open");
        }
        for piece in pieces.iter().take(KILLS_MAX) {
            self.pfctl.ask("kill states", &["-q", "-k", &piece.to_string()], "")?;
        }
        Ok(())
    }
}

impl DenyBackend for Pf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.pfctl.usable()?;
        self.write_rules()?;
        let there = self.pfctl.show()?;
        let mut wanted = Wanted::new(want, now).all();
        let new: BTreeSet<Entry>;
        if self.pfctl.settings.anchor.is_some() {
            new = wanted.difference(&there).copied().collect();
            self.pfctl.table("replace", &lines(&wanted))?;
        } else {
            let ours: BTreeSet<Entry> = self.ledger.lines().keys().filter_map(|line| line.parse().ok()).collect();
            self.foreign = there.difference(&ours).copied().collect();
            wanted.retain(|entry| !entry.is_of(&self.foreign));
            self.held = there.intersection(&ours).copied().collect();
            self.note(&wanted)?;
            new = wanted.difference(&self.held).copied().collect();
            self.change(self.held.difference(&wanted).copied().collect(), new.clone())?;
            self.note(&BTreeSet::new())?;
        }
        self.held = wanted;
        // That a program says it is done is no proof.
        let there = self.pfctl.show()?;
        if let Some(missing) = self.held.difference(&there).next() {
            return Err(self.pfctl.failed(
                format!("find all entries in table {}", self.pfctl.settings.table),
                format!("{missing} is not there"),
            ));
        }
        self.cut(&new, want)
    }

    /// One process or two, and one more for each state that is killed.
    fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let wanted = Wanted::new(want, now);
        let (mut gone, mut new) = (BTreeSet::new(), BTreeSet::new());
        if diff.allowed.is_some() {
            let mut all = wanted.all();
            all.retain(|entry| !entry.is_of(&self.foreign));
            gone.extend(self.held.difference(&all));
            new.extend(all.difference(&self.held));
        } else {
            for entry in diff.denies.keys().flat_map(|prefix| wanted.touched(prefix)) {
                match (wanted.has(&entry), self.held.contains(&entry)) {
                    (true, false) if !entry.is_of(&self.foreign) => _ = new.insert(entry),
                    (false, true) => _ = gone.insert(entry),
                    _ => {}
                }
            }
        }
        self.note(&new)?;
        self.change(gone, new.clone())?;
        self.note(&BTreeSet::new())?;
        self.cut(&new, want)
    }

    /// Costs three or four processes; one of them lists the whole table.
    fn probe(&mut self, _want: &DenySet, _now: Timestamp) -> Result<Probe, DenyError> {
        self.pfctl.usable()?;
        if let Some(rules) = &self.rules
            && *rules != self.pfctl.listed_rules()?
        {
            return Err(self.pfctl.wrong("find the anchor as we left it", "its rules are others", OURS));
        }
        let there = self.pfctl.show()?;
        let missing = self.held.difference(&there).filter(|entry| !entry.not).count();
        let more = if self.pfctl.settings.anchor.is_some() { there.difference(&self.held).count() } else { 0 };
        let less = self.held.difference(&there).count();
        if less + more == 0 {
            return Ok(Probe::Ours);
        }
        let what = format!("table {}: {less} entries are gone, {more} are not ours", self.pfctl.settings.table);
        Ok(Probe::Changed { what, missing })
    }

    fn take_away(&mut self, _now: Timestamp) -> Result<(), DenyError> {
        self.rules = None;
        if self.pfctl.settings.anchor.is_some() {
            self.pfctl.inside("empty the anchor", &["-F", "rules"], "")?;
            self.pfctl.inside("empty the anchor", &["-F", "Tables"], "")?;
        } else {
            let ours: BTreeSet<Entry> = self.ledger.lines().keys().filter_map(|line| line.parse().ok()).collect();
            if !ours.is_empty() {
                self.pfctl.table("delete", &lines(&ours))?;
            }
            self.held.clear();
            self.note(&BTreeSet::new())?;
        }
        self.held.clear();
        Ok(())
    }

    /// What our own table holds, whose entries have no end; of an administrator's nobody can tell what was ours.
    fn kept(&mut self, _now: Timestamp) -> Result<Kept, DenyError> {
        let entries = self.pfctl.own()?.into_iter().filter(|entry| !entry.not);
        Ok(entries.map(|entry| (entry.prefix, None)).collect())
    }

    fn allowed(&mut self, _now: Timestamp) -> Result<Vec<Prefix>, DenyError> {
        let entries = self.pfctl.own()?.into_iter().filter(|entry| entry.not);
        Ok(entries.map(|entry| entry.prefix).collect())
    }
}

pub(super) const NAME: &str = "pf";
/// The longest name, in bytes (`PF_TABLE_NAME_SIZE`, net/pfvar.h, is 32 with the end).
const NAME_MAX: usize = 31;
/// States that are killed at once: each costs a process.
const KILLS_MAX: usize = 256;
