//! Who else refuses an address on this machine: lines of hosts.allow and hosts.deny, and of list files that they name; rules
//! of iptables and nftables for that address or a network that it is in; sets of others, of which a rule drops all members; and
//! routes that lead nowhere. So that nobody is told that an address gets in while something that is not ours still refuses it.
//!
//! It looks, and changes nothing but by [`Refusal::remove`], which a person asks for after it was shown. What cannot be read
//! (only root may list rules) is as if it were not there. Whether an earlier rule lets the address in is not asked, nor what
//! sshd itself refuses (its penalties), of which nothing but its log tells.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::choose::{self, Settings};
use super::hosts_deny::edit::{self, Edit};
use super::hosts_deny::libwrap::{Name, Tables};
use super::program;
use crate::decide::prefix::Prefix;
use crate::text::printable;

mod members;

/// How long a program may take to list rules, or to delete one.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Refusals of one address that are told.
const TOLD_MAX: usize = 50;
/// Tables of iptables, as nftables names them.
const OF_IPTABLES: &[&str] = &["filter", "raw", "mangle", "nat", "security"];

/// All that may refuse, as it was read once.
pub struct Elsewhere {
    tables: Tables,
    /// Whether sshd asks libwrap.
    is_asked: bool,
    /// What each of iptables' programs saved.
    iptables: Vec<(&'static str, String)>,
    nft: String,
    /// Routes that lead nowhere.
    routes: String,
    hosts_deny: PathBuf,
    chain: String,
    table: String,
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
    File(PathBuf),
    /// The program and its arguments that delete the rule, the element or the route.
    Rule(&'static str, Vec<String>),
    /// What refuses others, too.
    Wider,
}

impl Elsewhere {
    /// Reads it.
    pub fn read(settings: &Settings) -> Elsewhere {
        let is_root = nix::unistd::geteuid().is_root();
        let ask = |name: &'static str, arguments: &[&str]| {
            if is_root { ask(name, arguments).unwrap_or_default() } else { String::new() }
        };
        Elsewhere {
            tables: Tables::of(&settings.hosts_deny.path),
            is_asked: choose::sshd_reads_hosts_deny(),
            iptables: [("iptables", "iptables-save"), ("ip6tables", "ip6tables-save")]
                .map(|(name, save)| (name, ask(save, &[])))
                .into(),
            nft: ask("nft", &["-a", "-t", "list", "ruleset"]),
            routes: ["-4", "-6"]
                .into_iter()
                .flat_map(|family| members::NOWHERE.iter().map(move |kind| (family, kind)))
                .map(|(family, kind)| ask("ip", &[family, "route", "show", "table", "all", "type", kind]))
                .collect(),
            hosts_deny: settings.hosts_deny.path.clone(),
            chain: settings.iptables.chain.to_string(),
            table: settings.nftables.table.to_string(),
        }
    }

    /// Reads libwrap's files again: of all that, we ourselves change nothing else.
    pub fn look_again(&mut self) {
        self.tables = Tables::of(&self.hosts_deny);
    }

    /// What refuses an address or network: libwrap and sets, if it is one address; rules and routes.
    pub fn of(&self, prefix: &Prefix) -> Vec<Refusal> {
        let mut found = if prefix.is_host() { self.lines(prefix) } else { Vec::new() };
        for (program, saved) in &self.iptables {
            found.extend(of_iptables(program, saved, prefix, &self.chain));
        }
        let has_saved = self.iptables.iter().any(|(_, saved)| saved.contains("\n*") || saved.starts_with('*'));
        found.extend(of_nft(&self.nft, prefix, &self.table, has_saved));
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
        let mut sets: Vec<(members::Set, String)> = Vec::new();
        for (_, saved) in &self.iptables {
            for words in saved.lines().filter_map(|line| line.strip_prefix("-A ")).map(unquoted) {
                if !is_ours(&words, &self.chain)
                    && let Some(set) = members::of_iptables(&words)
                {
                    sets.push((set, words.join(" ")));
                }
            }
        }
        for Rule { family, table, words, .. } in rules(&self.nft) {
            let is_iptables = has_saved && ["ip", "ip6"].contains(&family) && OF_IPTABLES.contains(&table);
            if table != self.table
                && !is_iptables
                && let Some(set) = members::of_nft(family, table, &words)
            {
                sets.push((set, words.join(" ")));
            }
        }
        let mut asked = Vec::new();
        let mut found = Vec::new();
        let address = prefix.address().to_string();
        for (set, rule) in sets.into_iter().filter(|_| prefix.is_host()) {
            if asked.len() == members::SETS_MAX || asked.contains(&set) {
                continue;
            }
            if set.has(&address) {
                let (program, delete) = set.without(&address);
                let (place, text) = (printable(set.place().as_bytes()), printable(rule.as_bytes()));
                found.push(Refusal { place, text, only: "", at: At::Rule(program, delete) });
            }
            asked.push(set);
        }
        found
    }

    fn lines(&self, prefix: &Prefix) -> Vec<Refusal> {
        let answer = self.tables.answer("sshd", prefix.address(), Name::Unasked);
        let asked = if self.is_asked { "" } else { "to programs that ask libwrap, which this machine's sshd does not" };
        let refusal = |line: &super::hosts_deny::libwrap::Line, only| Refusal {
            place: format!("line {} of {}", line.number, line.file.display()),
            text: line.text.clone(),
            only,
            at: At::File(line.file.clone()),
        };
        match answer.line.as_ref().filter(|_| answer.refused) {
            // The lines before it let in.
            Some(line) if !answer.by_name.is_empty() => {
                vec![refusal(line, "unless a line before it lets in the name of the address")]
            }
            Some(line) => vec![refusal(line, asked)],
            None => answer.by_name.iter().map(|line| refusal(line, "if the name of the address is such")).collect(),
        }
    }
}

impl Refusal {
    /// Whether it refuses for certain, and sshd.
    pub fn is_certain(&self) -> bool {
        self.only.is_empty()
    }

    /// Whether it stands in this file.
    pub fn is_in(&self, file: &Path) -> bool {
        matches!(&self.at, At::File(path) if path == file)
    }

    /// Removes it, if it names exactly this one; returns where the file is kept as it was, if one was changed.
    pub fn remove(&self, prefix: &Prefix) -> Result<Option<PathBuf>, String> {
        match &self.at {
            At::File(path) => {
                let wanted = [*prefix];
                let edited = edit::carry_out(path, Edit::Release(&wanted), &TimeZone::system(), None);
                let edited = edited.map_err(|error| error.to_string())?;
                match edited.released.is_empty() {
                    true => Err(format!("it names more than {prefix}: edit {} yourself", path.display())),
                    false => Ok(edited.backup),
                }
            }
            At::Rule(program, arguments) => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                ask(program, &arguments).map(|_| None)
            }
            At::Wider => Err(format!("it is of more than {prefix}: see to it yourself")),
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

/// Rules of `iptables-save` that drop or reject what comes from exactly `prefix`, but in our chains.
fn of_iptables(program: &'static str, saved: &str, prefix: &Prefix, ours: &str) -> Vec<Refusal> {
    let mut table = "";
    let mut found = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let Some(rule) = line.strip_prefix("-A ") else { continue };
        let words = unquoted(rule);
        let behind = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            (at == 0 || words[at - 1] != "!").then(|| words.get(at + 1)).flatten()
        };
        let refuses = behind("-j").is_some_and(|target| ["DROP", "REJECT"].contains(&target.as_str()));
        let source = behind("-s").and_then(|source| source.parse::<Prefix>().ok());
        let Some(source) = source.filter(|source| source.contains(prefix)) else { continue };
        if refuses && !is_ours(&words, ours) {
            let chain = words.first().map_or("", String::as_str);
            let place =
                format!("{program}, table {}, chain {}", printable(table.as_bytes()), printable(chain.as_bytes()));
            let delete = ["-t", table, "-D"].map(str::to_owned).into_iter().chain(words.clone()).collect();
            let (only, at) = alone(source == *prefix, program, delete);
            found.push(Refusal { place, text: printable(rule.as_bytes()), only, at });
        }
    }
    found
}

/// Whether a rule is in a chain of ours.
fn is_ours(words: &[String], ours: &str) -> bool {
    words.first().is_some_and(|chain| chain == ours || chain.starts_with(&format!("{ours}-")))
}

/// When a rule refuses, and how it is deleted: one that names a wider net is somebody's policy, with whatever else it asks.
fn alone(is_alone: bool, program: &'static str, delete: Vec<String>) -> (&'static str, At) {
    match is_alone {
        true => ("", At::Rule(program, delete)),
        false => ("if all else fits that it asks for", At::Wider),
    }
}

/// Words as iptables-save writes them: one with blanks in it stands in double quotes, where a backslash quotes.
fn unquoted(rule: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut chars = rule.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Rules of `nft -a -t list ruleset` that drop or reject what comes from exactly `prefix`, but in our table, and in those of
/// iptables where that told of them.
fn of_nft(ruleset: &str, prefix: &Prefix, ours: &str, without_iptables: bool) -> Vec<Refusal> {
    let mut found = Vec::new();
    for Rule { family, table, chain, handle, words } in rules(ruleset) {
        let is_iptables = without_iptables && ["ip", "ip6"].contains(&family) && OF_IPTABLES.contains(&table);
        let sources = words.windows(3).filter(|three| ["ip", "ip6"].contains(&three[0]) && three[1] == "saddr");
        let mut sources = sources.filter_map(|three| three[2].parse::<Prefix>().ok());
        let Some(source) = sources.find(|source| source.contains(prefix)) else { continue };
        if !is_iptables && table != ours && words.iter().any(|word| ["drop", "reject"].contains(word)) {
            let place = format!("nftables, table {family} {table}, chain {chain}");
            let delete = ["delete", "rule", family, table, chain, "handle", handle].map(str::to_owned);
            let (only, at) = alone(source == *prefix, "nft", delete.into());
            let text = printable(words.join(" ").as_bytes());
            found.push(Refusal { place: printable(place.as_bytes()), text, only, at });
        }
    }
    found
}

/// A rule of nftables.
struct Rule<'a> {
    family: &'a str,
    table: &'a str,
    chain: &'a str,
    handle: &'a str,
    words: Vec<&'a str>,
}

/// The rules of `nft -a -t list ruleset`.
fn rules(ruleset: &str) -> Vec<Rule<'_>> {
    let (mut family, mut table, mut chain) = ("", "", "");
    let mut found = Vec::new();
    for line in ruleset.lines() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["table", kind, name, "{", ..] => (family, table) = (kind, name),
            ["chain", name, "{", ..] => chain = name,
            [.., "#", "handle", handle] => {
                words.truncate(words.len() - 3);
                found.push(Rule { family, table, chain, handle, words });
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletes(found: Vec<Refusal>) -> Vec<String> {
        let delete = |one: Refusal| match one.at {
            At::Rule(program, arguments) => format!("{program} {}", arguments.join(" ")),
            At::File(file) => file.display().to_string(),
            At::Wider => "wider".to_owned(),
        };
        found.into_iter().map(delete).collect()
    }

    #[test]
    fn rules_of_iptables_for_exactly_this_address() {
        let saved = "# Generated\n*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.1/32 -j DROP\n-A INPUT ! -s 192.0.2.1/32 -j DROP\n\
            -A INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 22 -m comment --comment \"a \\\"b\\\" -j\" -j REJECT --reject-with icmp-port-unreachable\n\
            -A INPUT -s 192.0.2.1/32 -j ACCEPT\n-A INPUT -s 192.0.2.0/24 -j DROP\n-A denyd -s 192.0.2.1/32 -j DROP\n\
            -A denyd-refused -s 192.0.2.1/32 -j DROP\nCOMMIT\n";
        let found = deletes(of_iptables("iptables", saved, &"192.0.2.1".parse().unwrap(), "denyd"));
        let want = [
            "iptables -t filter -D INPUT -s 192.0.2.1/32 -j DROP",
            "iptables -t filter -D INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 22 -m comment --comment a \"b\" -j -j REJECT \
             --reject-with icmp-port-unreachable",
        ];
        // The option in the comment is one word with it.
        let wider = found.iter().position(|one| one == "wider").unwrap();
        assert_eq!(wider, 2, "a network that it is in");
        assert_eq!(found[..2], want);
        assert_eq!(deletes(of_iptables("iptables", saved, &"192.0.2.0/24".parse().unwrap(), "denyd")).len(), 1);
    }

    #[test]
    fn rules_of_nftables_for_exactly_this_address() {
        let ruleset = "table inet denyd { # handle 1\n\tchain in { # handle 2\n\t\tip saddr 192.0.2.1 drop # handle 3\n\t}\n}\n\
            table inet mine { # handle 4\n\tset bad { # handle 9\n\t\ttype ipv4_addr\n\t}\n\tchain input { # handle 5\n\t\t\
            type filter hook input priority filter; policy accept;\n\t\tip saddr 192.0.2.1 tcp dport 22 counter packets 0 bytes 0 drop # handle 6\n\t\t\
            ip saddr != 192.0.2.1 drop # handle 7\n\t\tip saddr @bad drop # handle 8\n\t\tip6 saddr 2001:db8::1 reject # handle 10\n\t}\n}\n\
            table ip filter { # handle 11\n\tchain INPUT { # handle 12\n\t\tip saddr 192.0.2.1 drop # handle 13\n\t}\n}\n";
        let of = |prefix: &str, without| deletes(of_nft(ruleset, &prefix.parse().unwrap(), "denyd", without));
        assert_eq!(of("192.0.2.1", true), ["nft delete rule inet mine input handle 6"]);
        assert_eq!(of("192.0.2.1", false).len(), 2);
        assert_eq!(of("2001:db8::1", true), ["nft delete rule inet mine input handle 10"]);
        assert_eq!(of("192.0.2.2", true), Vec::<String>::new());
    }
}
