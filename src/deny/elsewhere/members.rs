//! What refuses an address without naming it in a rule: sets of others, of which a rule drops all members, and routes that lead
//! nowhere. Pure, but for asking whether an address is in a set.

use super::ask;
use super::rules::unquoted;
use crate::decide::prefix::Prefix;

/// Sets of others that are asked for one address; whoever has more is not told of the rest.
pub(super) const SETS_MAX: usize = 50;
/// Routes that lead nowhere, as `ip` names them.
pub(super) const NOWHERE: &[&str] = &["blackhole", "unreachable", "prohibit"];

/// A set of which a rule drops or rejects whatever comes from a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// One of nftables: family, table, name.
    Nft(String, String, String),
    /// One of ipset.
    Ipset(String),
}

impl Set {
    /// Whether an address is in it. One that cannot be asked is as if it were not.
    pub(super) fn has(&self, address: &str) -> bool {
        match self {
            Set::Nft(family, table, name) => {
                // Alone in its command, so that an interval which it is in is found, too.
                ask("nft", &["get", "element", family, table, name, &format!("{{ {address} }}")]).is_ok()
            }
            Set::Ipset(name) => ask("ipset", &["test", name, address]).is_ok(),
        }
    }

    /// The program and its arguments that take an address out.
    pub(super) fn without(&self, address: &str) -> (&'static str, Vec<String>) {
        match self {
            Set::Nft(family, table, name) => {
                let element = format!("{{ {address} }}");
                ("nft", ["delete", "element", family, table, name, &element].map(str::to_owned).into())
            }
            Set::Ipset(name) => ("ipset", ["del", name, address].map(str::to_owned).into()),
        }
    }

    /// What it is called, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Set::Nft(family, table, name) => format!("nftables, table {family} {table}, set {name}"),
            Set::Ipset(name) => format!("ipset {name}"),
        }
    }
}

/// The set of whose members a rule of `nft list ruleset` speaks, by what comes from them.
pub(super) fn of_nft(family: &str, table: &str, rule: &[&str]) -> Option<Set> {
    let at = rule.windows(3).find(|three| ["ip", "ip6"].contains(&three[0]) && three[1] == "saddr")?;
    let name = at[2].strip_prefix('@')?;
    Some(Set::Nft(family.to_owned(), table.to_owned(), name.to_owned()))
}

/// The set whose members a rule of `iptables-save` drops or rejects, and the rule without it: `words` are those behind `-A`.
pub(super) fn of_iptables(words: &[String]) -> Option<(Set, Vec<String>)> {
    let refuses = words.windows(2).any(|two| two[0] == "-j" && ["DROP", "REJECT"].contains(&&*two[1]));
    let at = words.iter().position(|word| word == "--match-set").filter(|at| *at > 0 && words[at - 1] != "!")?;
    let is_source = words.get(at + 2).is_some_and(|by| by == "src");
    let begins = if words[..at].ends_with(&["-m".to_owned(), "set".to_owned()]) { at - 2 } else { at };
    let rest = [&words[..begins], words.get(at + 3..).unwrap_or_default()].concat();
    (refuses && is_source).then(|| (Set::Ipset(words[at + 1].clone()), rest))
}

/// The routes of `ip route show` that lead nowhere from here to an address: each with the command that deletes it.
pub(super) fn routes(shown: &str, prefix: &Prefix) -> Vec<(String, Vec<String>, bool)> {
    let of = |line: &str| {
        let words = unquoted(line.trim());
        let [kind, to, rest @ ..] = &words[..] else { return None };
        let to: Prefix = to.parse().ok()?;
        if !NOWHERE.contains(&kind.as_str()) || !to.contains(prefix) {
            return None;
        }
        let family = if prefix.is_ipv4() { "-4" } else { "-6" };
        let table = rest.windows(2).find(|two| two[0] == "table").map_or("main", |two| two[1].as_str());
        let delete = [family, "route", "del", kind, &words[1], "table", table].map(str::to_owned);
        Some((line.trim().to_owned(), delete.into(), to == *prefix))
    };
    shown.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_whose_members_are_refused() {
        let nft = |rule: &str| {
            of_nft("inet", "mine", &rule.split(' ').collect::<Vec<_>>()).map_or(String::new(), |set| set.place())
        };
        assert_eq!(nft("ip saddr @bad counter drop"), "nftables, table inet mine, set bad");
        assert_eq!(nft("tcp dport 22 ip6 saddr @bad6 reject"), "nftables, table inet mine, set bad6");
        for rule in ["ip saddr != @good drop", "ip daddr @bad drop", "ip saddr 192.0.2.1 drop"] {
            assert_eq!(nft(rule), "", "{rule}");
        }
        let iptables = |rule: &str| {
            of_iptables(&unquoted(rule))
                .map_or(String::new(), |(set, rest)| format!("{}: {}", set.place(), rest.join(" ")))
        };
        assert_eq!(iptables("INPUT -m set --match-set bad src -j DROP"), "ipset bad: INPUT -j DROP");
        let mail = "INPUT -p tcp -m set --match-set bad src -m tcp --dport 25 -j DROP";
        assert_eq!(iptables(mail), "ipset bad: INPUT -p tcp -m tcp --dport 25 -j DROP");
        for rule in [
            "INPUT -m set ! --match-set good src -j DROP",
            "INPUT -m set --match-set bad dst -j DROP",
            "INPUT -m set --match-set good src -j ACCEPT",
            "INPUT --match-set",
        ] {
            assert_eq!(iptables(rule), "", "{rule}");
        }
    }

    #[test]
    fn routes_that_lead_nowhere() {
        let shown =
            "blackhole 203.0.113.9 \nunreachable 203.0.113.0/24 table 7 metric 5 \nunreachable default dev lo \n";
        let found = routes(shown, &"203.0.113.9".parse().unwrap());
        let found: Vec<_> = found.iter().map(|(text, delete, alone)| (&**text, delete.join(" "), *alone)).collect();
        let want = [
            ("blackhole 203.0.113.9", "-4 route del blackhole 203.0.113.9 table main".to_owned(), true),
            (
                "unreachable 203.0.113.0/24 table 7 metric 5",
                "-4 route del unreachable 203.0.113.0/24 table 7".to_owned(),
                false,
            ),
        ];
        assert_eq!(found, want);
        assert!(routes(shown, &"192.0.2.1".parse().unwrap()).is_empty());
    }
}
