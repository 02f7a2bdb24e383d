//! Who else refuses an address on this machine: lines of hosts.allow and hosts.deny, and of list files that they name; rules
//! of iptables and nftables for that address or a network that it is in; sets of others, of which a rule drops all members; and
//! routes that lead nowhere. So that nobody is told that an address gets in while something that is not ours still refuses it.
//!
//! It looks, and changes nothing but by [`Refusal::remove`], which a person asks for after it was shown. What cannot be looked
//! at is said. Whether an earlier rule lets the address in is not asked, nor what
//! sshd itself refuses (its penalties), of which nothing but its log tells.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::choose::{self, Settings};
use super::hosts_deny::edit::{self, Edit};
use super::hosts_deny::libwrap::{Answer, Line, Name, Rules, Tables};
use super::ledger::Lines;
use super::{ports, program};
use crate::decide::prefix::Prefix;
use crate::text::printable;

mod members;
mod rules;

/// How long a program may take to list rules, or to delete one.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Refusals of one address that are told.
const TOLD_MAX: usize = 50;

/// All that may refuse, as it was read once.
pub struct Elsewhere {
    tables: Rules,
    /// Whether sshd asks libwrap.
    is_asked: bool,
    /// The lines that are denyd's own, and the file in which they are.
    own: (PathBuf, Lines),
    /// What each of iptables' programs saved.
    iptables: Vec<(&'static str, String)>,
    nft: String,
    /// Routes that lead nowhere.
    routes: String,
    chain: String,
    table: String,
    /// Where sshd listens.
    ports: Vec<u16>,
    /// What could not be looked at, and why.
    pub problems: Vec<String>,
}

/// Something that refuses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands, for people: `line 17 of /etc/hosts.deny`.
    pub place: String,
    /// What stands there, escaped for terminals.
    pub text: String,
    /// What has to be so that it refuses; empty if nothing has.
    pub only: &'static str,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// A line of a file that libwrap reads, and whether it is denyd's own.
    Line(Line, bool),
    /// The program and its arguments that delete the rule, the element or the route.
    Rule(&'static str, Vec<String>),
    /// What refuses others, too.
    Wider,
}

impl Elsewhere {
    /// Reads it. `own` is the ledger of hosts.deny, as far as it is known: the lines in it are denyd's own.
    pub fn read(settings: &Settings, own: Lines) -> Elsewhere {
        let mut problems = Vec::new();
        let is_root = nix::unistd::geteuid().is_root();
        let mut ask = |name: &'static str, arguments: &[&str]| {
            if !is_root || program::find(name).is_none() {
                return String::new();
            }
            ask(name, arguments).unwrap_or_else(|error| {
                problems.push(format!("could not look at what {name} lists: {error}"));
                String::new()
            })
        };
        let iptables =
            [("iptables", "iptables-save"), ("ip6tables", "ip6tables-save")].map(|(name, save)| (name, ask(save, &[])));
        let nft = ask("nft", &["-a", "-t", "list", "ruleset"]);
        let kinds = ["-4", "-6"].into_iter().flat_map(|family| members::NOWHERE.iter().map(move |kind| (family, kind)));
        let routes =
            kinds.map(|(family, kind)| ask("ip", &[family, "route", "show", "table", "all", "type", kind])).collect();
        if !is_root {
            problems.push("could not look at rules of firewalls, which only root may list".to_owned());
        }
        Elsewhere {
            tables: Tables::of(&settings.hosts_deny.path).rules(),
            is_asked: choose::sshd_reads_hosts_deny(),
            own: (settings.hosts_deny.path.clone(), own),
            iptables: iptables.into(),
            nft,
            routes,
            chain: settings.iptables.chain.to_string(),
            table: settings.nftables.table.to_string(),
            ports: if is_root { ports::of_sshd() } else { Vec::new() },
            problems,
        }
    }

    /// Reads the lines again, of which denyd's own go by themselves.
    pub fn look_again(&mut self, settings: &Settings, own: Lines) {
        self.tables = Tables::of(&settings.hosts_deny.path).rules();
        self.own.1 = own;
    }

    /// What refuses an address or network: libwrap, all of it by one line; sets, if it is one address; rules and routes.
    pub fn of(&self, prefix: &Prefix) -> Vec<Refusal> {
        let mut found = self.lines(prefix);
        for (program, saved) in &self.iptables {
            found.extend(rules::of_iptables(program, saved, prefix, &self.chain, &self.ports));
        }
        let has_saved = self.iptables.iter().any(|(_, saved)| saved.contains("\n*") || saved.starts_with('*'));
        found.extend(rules::of_nft(&self.nft, prefix, &self.table, has_saved, &self.ports));
        found.extend(self.of_sets(prefix, has_saved));
        found.extend(members::routes(&self.routes, prefix).into_iter().map(|(text, delete, alone)| Refusal {
            place: "the routes of this machine".to_owned(),
            text: printable(text.as_bytes()),
            only: "",
            at: if alone { At::Rule("ip", delete) } else { At::Wider },
        }));
        found.truncate(TOLD_MAX);
        found
    }

    /// The sets of others that an address is in, and of which a rule refuses all members.
    fn of_sets(&self, prefix: &Prefix, has_saved: bool) -> Vec<Refusal> {
        let mut sets: Vec<(members::Set, String, &'static str)> = Vec::new();
        for (_, saved) in &self.iptables {
            for words in saved.lines().filter_map(|line| line.strip_prefix("-A ")).map(rules::unquoted) {
                if !rules::is_ours(&words, &self.chain)
                    && let Some((set, rest)) = members::of_iptables(&words)
                {
                    sets.push((set, words.join(" "), rules::only_of_iptables(&rest, &self.ports)));
                }
            }
        }
        for rule in rules::of_ruleset(&self.nft) {
            if rule.is_of_others(&self.table, has_saved)
                && let Some(set) = members::of_nft(rule.family, rule.table, &rule.spoken())
                && let Some(only) = rule.only(&self.ports)
            {
                sets.push((set, rule.text.to_owned(), only));
            }
        }
        // A set may be asked by several rules: what refuses for certain is told.
        sets.sort_by_key(|(_, _, only)| !only.is_empty());
        let mut asked = Vec::new();
        let mut found = Vec::new();
        let address = prefix.address().to_string();
        for (set, rule, only) in sets.into_iter().filter(|_| prefix.is_host()) {
            if asked.len() == members::SETS_MAX || asked.contains(&set) {
                continue;
            }
            if set.has(&address) {
                let (program, delete) = set.without(&address);
                let (place, text) = (printable(set.place().as_bytes()), printable(rule.as_bytes()));
                found.push(Refusal { place, text, only, at: At::Rule(program, delete) });
            }
            asked.push(set);
        }
        found
    }

    fn lines(&self, prefix: &Prefix) -> Vec<Refusal> {
        let answer = |address| self.tables.answer("sshd", address, Name::Unasked);
        let first = answer(prefix.address());
        let asked = if self.is_asked { "" } else { "to programs that ask libwrap, which this machine's sshd does not" };
        let refusal = |line: &Line, only| Refusal {
            place: format!("line {} of {}", line.number, line.file.display()),
            text: line.text.clone(),
            only,
            at: At::Line(line.clone(), line.file == self.own.0 && self.own.1.contains_key(&line.text)),
        };
        // Of a network only what refuses its first and its last address.
        let is_of_all = |found: &Answer| prefix.is_host() || found.line == answer(prefix.last()).line;
        match first.line.as_ref().filter(|_| first.refused && is_of_all(&first)) {
            // The lines before it let in.
            Some(line) if !first.by_name.is_empty() => {
                vec![refusal(line, "unless a line before it lets in the name of the address")]
            }
            Some(line) => vec![refusal(line, asked)],
            None if !prefix.is_host() => Vec::new(),
            None => first.by_name.iter().map(|line| refusal(line, "if the name of the address is such")).collect(),
        }
    }
}

impl Refusal {
    /// Whether it refuses for certain, and sshd.
    pub fn is_certain(&self) -> bool {
        self.only.is_empty()
    }

    /// Whether it is a line of denyd's own, which goes by itself.
    pub fn is_own(&self) -> bool {
        matches!(&self.at, At::Line(_, true))
    }

    /// Removes it, and nothing else, if it names exactly this one; returns where the file is kept as it was, if one was changed.
    pub fn remove(&self, prefix: &Prefix) -> Result<Option<PathBuf>, String> {
        match &self.at {
            At::Line(_, true) => Err("it is denyd's own, and goes by itself".to_owned()),
            At::Line(line, false) => {
                let edit = Edit::This { line: line.number, shown: &line.text, prefix };
                let edited = edit::carry_out(&line.file, edit, &TimeZone::system(), None);
                let edited = edited.map_err(|error| error.to_string())?;
                match edited.released.is_empty() {
                    true => Err(format!("it names more than {prefix}: edit {} yourself", line.file.display())),
                    false => Ok(edited.backup),
                }
            }
            At::Wider => Err(format!("it is of more than {prefix}: see to it yourself")),
            At::Rule(..) if !self.is_certain() => {
                Err("it may be meant for something else than sshd: delete it yourself".to_owned())
            }
            At::Rule(program, arguments) => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                ask(program, &arguments).map(|_| None)
            }
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let only = if self.is_certain() { String::new() } else { format!(" ({})", self.only) };
        write!(f, "{}: {}{only}", self.place, self.text)
    }
}

/// What a program prints.
fn ask(name: &str, arguments: &[&str]) -> Result<String, String> {
    let path = program::find(name).ok_or_else(|| format!("there is no {name}"))?;
    let child = program::start(&path, arguments).map_err(|error| error.to_string())?;
    let said = program::finish_within(TIME_MAX, child, b"").map_err(|error| error.to_string())?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        false => Err(printable(said.stderr.trim_ascii())),
    }
}
