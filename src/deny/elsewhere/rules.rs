//! Rules of iptables and nftables that drop or reject what comes from one address, or from a network that it is in, and whether
//! they refuse sshd for certain. Pure: the text of programs goes in.

use super::{At, Refusal};
use crate::decide::prefix::Prefix;
use crate::text::printable;

/// Tables of iptables, as nftables names them.
const OF_IPTABLES: &[&str] = &["filter", "raw", "mangle", "nat", "security"];
/// What has to be so, where a rule is no plain one for what comes in.
const FORWARDED: &str = "to what is forwarded or goes out";
const LED: &str = "if a rule leads there";
const OTHER: &str = "to what else the rule asks for";

/// Rules of `iptables-save` that drop or reject what comes from exactly `prefix`, but in our chains. sshd listens at `ports`.
pub(super) fn of_iptables(
    program: &'static str,
    saved: &str,
    prefix: &Prefix,
    ours: &str,
    ports: &[u16],
) -> Vec<Refusal> {
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
            let only = only_of_iptables(&words, ports);
            let delete = ["-w", "10", "-t", table, "-D"].map(str::to_owned).into_iter().chain(words.clone()).collect();
            let (only, at) = alone(source == *prefix, only, (program, delete));
            found.push(Refusal { place, text: printable(rule.as_bytes()), only, at });
        }
    }
    found
}

/// What has to be so that a rule of iptables refuses who comes to sshd; nothing = it does.
pub(super) fn only_of_iptables(words: &[String], ports: &[u16]) -> &'static str {
    match words {
        [chain, options @ ..] if ["INPUT", "PREROUTING"].contains(&chain.as_str()) => {
            if is_plain(options, ports) {
                ""
            } else {
                OTHER
            }
        }
        [chain, ..] if ["FORWARD", "OUTPUT", "POSTROUTING"].contains(&chain.as_str()) => FORWARDED,
        _ => LED,
    }
}

/// Whether a rule is in a chain of ours.
pub(super) fn is_ours(words: &[String], ours: &str) -> bool {
    words.first().is_some_and(|chain| chain == ours || chain.starts_with(&format!("{ours}-")))
}

/// When a rule refuses, and how it is deleted: one that names a wider net is somebody's policy, with whatever else it asks.
fn alone(is_alone: bool, only: &'static str, (program, delete): (&'static str, Vec<String>)) -> (&'static str, At) {
    match is_alone {
        true => (only, At::Rule(program, delete)),
        false => ("if all else fits that it asks for", At::Wider),
    }
}

/// Whether the options of a rule ask for nothing but a source and what every attempt to reach sshd is.
fn is_plain(words: &[String], ports: &[u16]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = &words[..];
    loop {
        rest = match rest {
            [] => return true,
            ["-s" | "-j" | "--reject-with" | "--comment", _, more @ ..] => more,
            ["-p", "tcp", more @ ..] => more,
            ["-m", "tcp" | "multiport" | "comment" | "conntrack" | "state", more @ ..] => more,
            ["--ctstate" | "--state", states, more @ ..] if states.split(',').any(|state| state == "NEW") => more,
            ["--dport" | "--dports", told, more @ ..] if told.split(',').any(|one| is_of_sshd(one, ports)) => more,
            _ => return false,
        };
    }
}

/// Whether a port, or a range of them, has one at which sshd listens.
fn is_of_sshd(told: &str, ports: &[u16]) -> bool {
    let (first, last) = told.split_once([':', '-']).unwrap_or((told, told));
    let port = |text: &str| if text == "ssh" { Some(22) } else { text.parse::<u16>().ok() };
    let Some((first, last)) = port(first).zip(port(last)) else { return false };
    ports.iter().any(|port| (first..=last).contains(port))
}

/// Words as iptables-save writes them: one with blanks in it stands in double quotes, where a backslash quotes.
pub(super) fn unquoted(rule: &str) -> Vec<String> {
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

/// A rule of nftables.
pub(super) struct Rule<'a> {
    pub(super) family: &'a str,
    pub(super) table: &'a str,
    chain: &'a str,
    /// Where its chain begins, if nothing has to lead there.
    hook: Option<&'a str>,
    handle: &'a str,
    /// What it says.
    pub(super) text: &'a str,
}

impl Rule<'_> {
    /// Whether it is neither in our table nor, where iptables told of them, in one of iptables.
    pub(super) fn is_of_others(&self, ours: &str, without_iptables: bool) -> bool {
        let is_iptables = without_iptables && ["ip", "ip6"].contains(&self.family) && OF_IPTABLES.contains(&self.table);
        self.table != ours && !is_iptables
    }

    /// Its words without what stands in quotes: a comment, or the beginning of a line of a log, says nothing of packets.
    pub(super) fn spoken(&self) -> Vec<&str> {
        self.text.split('"').step_by(2).flat_map(str::split_whitespace).filter(|word| *word != "comment").collect()
    }

    /// What has to be so that it refuses who comes to sshd; an empty text = it does, `None` = it refuses nobody.
    pub(super) fn only(&self, ports: &[u16]) -> Option<&'static str> {
        let words = self.spoken();
        let is_verdict = |at: &usize| words.get(at + 1).is_none_or(|next| *next == "with");
        let rejects = words.iter().rposition(|word| *word == "reject").filter(is_verdict);
        let conditions = match &words[..] {
            [conditions @ .., "drop"] => conditions,
            _ => &words[..rejects?],
        };
        Some(match self.hook {
            None => LED,
            Some("input" | "prerouting" | "ingress") if asks_nothing(conditions, ports) => "",
            Some("input" | "prerouting" | "ingress") => OTHER,
            Some(_) => FORWARDED,
        })
    }
}

/// The rules of `nft -a -t list ruleset`.
pub(super) fn of_ruleset(ruleset: &str) -> Vec<Rule<'_>> {
    let (mut family, mut table, mut chain, mut hook) = ("", "", "", None);
    let mut found = Vec::new();
    for line in ruleset.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["table", kind, name, "{", ..] => (family, table) = (kind, name),
            ["chain", name, "{", ..] => (chain, hook) = (name, None),
            ["type", _, "hook", name, ..] => hook = Some(name),
            [.., "#", "handle", handle] => {
                let text = line.rsplit_once(" # handle ").map_or(line, |(text, _)| text).trim();
                found.push(Rule { family, table, chain, hook, handle, text });
            }
            _ => {}
        }
    }
    found
}

/// Rules of `nft -a -t list ruleset` that drop or reject what comes from `prefix` or from a network that it is in, but in our
/// table, and in those of iptables where that told of them. sshd listens at `ports`.
pub(super) fn of_nft(
    ruleset: &str,
    prefix: &Prefix,
    ours: &str,
    without_iptables: bool,
    ports: &[u16],
) -> Vec<Refusal> {
    let mut found = Vec::new();
    for rule in of_ruleset(ruleset).iter().filter(|rule| rule.is_of_others(ours, without_iptables)) {
        let words = rule.spoken();
        let sources = words.windows(3).filter(|three| ["ip", "ip6"].contains(&three[0]) && three[1] == "saddr");
        let mut sources = sources.filter_map(|three| three[2].parse::<Prefix>().ok());
        let Some(source) = sources.find(|source| source.contains(prefix)) else { continue };
        let Some(only) = rule.only(ports) else { continue };
        let Rule { family, table, chain, handle, .. } = rule;
        let delete = ["delete", "rule", family, table, chain, "handle", handle].map(str::to_owned);
        let (only, at) = alone(source == *prefix, only, ("nft", delete.into()));
        let place = format!("nftables, table {family} {table}, chain {chain}");
        let text = rule.text.split_whitespace().collect::<Vec<_>>().join(" ");
        found.push(Refusal { place: printable(place.as_bytes()), text: printable(text.as_bytes()), only, at });
    }
    found
}

/// The same of a rule of nftables, of the words before its verdict.
fn asks_nothing(conditions: &[&str], ports: &[u16]) -> bool {
    let mut rest = conditions;
    loop {
        rest = match rest {
            [] => return true,
            ["ip" | "ip6", "saddr", _, more @ ..] => more,
            ["counter", "packets", _, "bytes", _, more @ ..] | ["counter", more @ ..] => more,
            ["log", "prefix", more @ ..] | ["log", more @ ..] => more,
            ["ct", "state", states, more @ ..] if states.split(',').any(|state| state == "new") => more,
            ["meta", "l4proto", "tcp", more @ ..] | ["ip", "protocol", "tcp", more @ ..] => more,
            ["tcp", "dport", "{", more @ ..] => {
                let end = more.iter().position(|word| *word == "}").unwrap_or(more.len());
                if !more[..end].iter().any(|one| is_of_sshd(one.trim_end_matches(','), ports)) {
                    return false;
                }
                more.get(end + 1..).unwrap_or(&[])
            }
            ["tcp", "dport", port, more @ ..] if is_of_sshd(port, ports) => more,
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What deletes each, and what has to be so that it refuses sshd.
    fn told(found: Vec<Refusal>) -> Vec<(String, &'static str)> {
        let told = |one: Refusal| match one.at {
            At::Rule(program, arguments) => (format!("{program} {}", arguments.join(" ")), one.only),
            At::Line(line, _) => (line.to_string(), one.only),
            At::Wider => ("wider".to_owned(), one.only),
        };
        found.into_iter().map(told).collect()
    }

    #[test]
    fn rules_of_iptables_for_exactly_this_address() {
        let of = |rule: &str, of: &str| {
            let saved = format!("# Generated\n*filter\n:INPUT ACCEPT [0:0]\n-A {rule}\nCOMMIT\n");
            told(of_iptables("iptables", &saved, &of.parse().unwrap(), "denyd", &[22, 2222]))
        };
        let check = |rule: &str, want: &str| {
            let delete = format!(
                "iptables -w 10 -t filter -D {}",
                rule.replace("\\\"", "'").replace('"', "").replace('\'', "\"")
            );
            assert_eq!(of(rule, "192.0.2.1"), [(delete, want)], "{rule}");
        };
        let source = "INPUT -s 192.0.2.1/32";
        check(&format!("{source} -j DROP"), "");
        // The option in the comment is one word with it.
        check(
            &format!(
                "{source} -p tcp -m tcp --dport 22 -m comment --comment \"a \\\"b\\\" -j\" -j REJECT --reject-with icmp-port-unreachable"
            ),
            "",
        );
        check(&format!("{source} -p tcp -m multiport --dports 25,2000:3000 -j DROP"), "");
        check(&format!("{source} -p tcp -m conntrack --ctstate NEW -j DROP"), "");
        check(&format!("{source} -p tcp -m tcp --dport 25 -j DROP"), OTHER);
        check(&format!("{source} -p udp -m udp --dport 53 -j DROP"), OTHER);
        check(&format!("{source} -i eth1 -j DROP"), OTHER);
        check(&format!("{source} -p tcp -m tcp ! --dport 22 -j DROP"), OTHER);
        check("FORWARD -s 192.0.2.1/32 -j DROP", FORWARDED);
        check("blocked -s 192.0.2.1/32 -j DROP", LED);
        for other in [
            "INPUT ! -s 192.0.2.1/32 -j DROP",
            "INPUT -s 192.0.2.1/32 -j ACCEPT",
            "denyd -s 192.0.2.1/32 -j DROP",
            "denyd-refused -s 192.0.2.1/32 -j DROP",
        ] {
            assert_eq!(of(other, "192.0.2.1"), [], "{other}");
        }
        let net = "INPUT -s 192.0.2.0/24 -j DROP";
        assert_eq!(of(net, "192.0.2.0/24").len(), 1);
        assert_eq!(of(net, "192.0.2.1"), [("wider".to_owned(), "if all else fits that it asks for")]);
    }

    #[test]
    fn rules_of_nftables_for_exactly_this_address() {
        let of = |hook: &str, rule: &str, prefix: &str| {
            let hook = if hook.is_empty() {
                String::new()
            } else {
                format!("\t\ttype filter hook {hook} priority filter; policy accept;\n")
            };
            let ruleset = format!(
                "table inet mine {{ # handle 4\n\tset bad {{ # handle 9\n\t\ttype ipv4_addr\n\t}}\n\tchain input {{ # handle 5\n{hook}\
                 \t\t{rule} # handle 6\n\t}}\n}}\n"
            );
            told(of_nft(&ruleset, &prefix.parse().unwrap(), "denyd", true, &[22]))
        };
        let check = |hook: &str, rule: &str, want: Option<&'static str>| {
            let want: Vec<_> =
                want.map(|only| ("nft delete rule inet mine input handle 6".to_owned(), only)).into_iter().collect();
            assert_eq!(of(hook, rule, "192.0.2.1"), want, "{hook} {rule}");
        };
        check("input", "ip saddr 192.0.2.1 drop", Some(""));
        check("input", "ip saddr 192.0.2.1 tcp dport 22 counter packets 0 bytes 0 drop", Some(""));
        check("input", "tcp dport { 22, 25 } ip saddr 192.0.2.1 ct state new reject with tcp reset", Some(""));
        check("input", "ip saddr 192.0.2.1 log prefix \"no accept \" drop comment \"x accept\"", Some(""));
        check("input", "ip saddr 192.0.2.1 tcp dport 25 drop", Some(OTHER));
        check("input", "ip saddr 192.0.2.1 udp dport 53 drop", Some(OTHER));
        check("input", "iifname \"eth1\" ip saddr 192.0.2.1 drop", Some(OTHER));
        check("input", "ip saddr 192.0.2.1 log prefix \"x\" level info drop", Some(OTHER));
        check("output", "ip saddr 192.0.2.1 drop", Some(FORWARDED));
        check("", "ip saddr 192.0.2.1 drop", Some(LED));
        check("input", "ip saddr 192.0.2.1 accept comment \"never drop this\"", None);
        check("input", "ip saddr 192.0.2.1 accept comment \"drop\"", None);
        check("input", "ip saddr 192.0.2.1 log prefix \"reject with \" accept", None);
        check("input", "accept comment \"ip saddr 192.0.2.1 drop\"", None);
        check("input", "ip saddr != 192.0.2.1 drop", None);
        check("input", "ip saddr @bad drop", None);
        let both = "table inet denyd { # handle 1\n\tchain in { # handle 2\n\t\tip saddr 192.0.2.1 drop # handle 3\n\t}\n}\n\
            table ip filter { # handle 11\n\tchain INPUT { # handle 12\n\t\tip saddr 192.0.2.1 drop # handle 13\n\t}\n}\n";
        let of = |without| of_nft(both, &"192.0.2.1".parse().unwrap(), "denyd", without, &[22]).len();
        assert_eq!((of(true), of(false)), (0, 1));
    }
}
