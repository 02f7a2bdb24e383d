//! The rules of our chain, in the language of `iptables-restore` (iptables-restore(8)), and what `iptables -S` lists: pure.

use std::cmp::Reverse;

use inputs::record::Timestamp;

use super::{Chain, Family, sets};
use crate::decide::prefix::Prefix;
use crate::decide::range::merge;
use crate::deny::overlap::without;
use crate::deny::{DenySet, Life};

/// What is in table `raw`, as far as it is ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Whether our chain is there.
    chain: bool,
    /// Which of PREROUTING's rules are nothing but a jump to it.
    jumps: Vec<usize>,
    /// Its rules.
    pub(super) rules: Vec<String>,
}

impl Listing {
    /// Reads what `iptables -t raw -S` says.
    pub(super) fn new(chain: &Chain, text: &str) -> Listing {
        let (made, jump, rule) = (format!("-N {chain}"), format!("-A {HOOK} -j {chain}"), format!("-A {chain} "));
        let hook = format!("-A {HOOK} ");
        let hooked = text.lines().filter(|line| line.starts_with(&hook));
        Listing {
            chain: text.lines().any(|line| line == made),
            jumps: hooked.enumerate().filter(|(_, line)| *line == jump).map(|(index, _)| index).collect(),
            rules: text.lines().filter(|line| line.starts_with(&rule)).map(str::to_owned).collect(),
        }
    }

    /// What is wrong with it, where our chain is to have this many rules.
    pub(super) fn fault(&self, count: usize) -> Option<String> {
        match (self.chain, self.jumps.as_slice(), self.rules.len()) {
            (false, ..) => Some("the chain is gone".to_owned()),
            (_, [], _) => Some(format!("{HOOK} does not jump to it")),
            (_, [0], rules) => (rules != count).then(|| format!("{rules} rules where there were {count}")),
            _ => Some(format!("the jump to it is not {HOOK}'s first rule, or not the only one")),
        }
    }

    /// Makes our chain of these rules, and the first thing that is asked.
    pub(super) fn script(&self, chain: &Chain, rules: &[String]) -> String {
        // This also empties a chain that is there.
        let mut text = format!("*raw\n:{chain} - [0:0]\n");
        if self.jumps != [0] {
            self.jumps.iter().for_each(|_| text += &format!("-D {HOOK} -j {chain}\n"));
            text += &format!("-I {HOOK} 1 -j {chain}\n");
        }
        rules.iter().for_each(|rule| text += &format!("{rule}\n"));
        text + "COMMIT\n"
    }

    /// Takes our chain away.
    pub(super) fn removal(&self, chain: &Chain) -> String {
        let mut text = "*raw\n".to_owned();
        self.jumps.iter().for_each(|_| text += &format!("-D {HOOK} -j {chain}\n"));
        if self.chain {
            text += &format!("-F {chain}\n-X {chain}\n");
        }
        text + "COMMIT\n"
    }

    /// The prefixes that rules of our chain deny by themselves.
    pub(super) fn denied(&self) -> impl Iterator<Item = Prefix> {
        self.rules.iter().filter_map(|rule| {
            let words: Vec<&str> = rule.split(' ').skip(2).collect();
            let [source, prefix, jump, drop] = words.try_into().ok()?;
            ([source, jump, drop] == ["-s", "-j", "DROP"]).then(|| prefix.parse().ok())?
        })
    }
}

/// The rules that look into the sets. The first that matches decides.
pub(super) fn of_sets(chain: &Chain, family: Family) -> Vec<String> {
    let set = |name: String, target: &str| format!("-A {chain} -m set --match-set {name} src -j {target}");
    let mut rules = always(chain, family);
    let kept = sets::kept(chain, family);
    rules.push(set(sets::allowed(chain, family), "RETURN"));
    rules.push(format!("-A {chain} {OPEN} -m set --match-set {kept} src,src -j RETURN"));
    rules.push(set(sets::denied(chain, family), "DROP"));
    rules
}

/// A rule for each deny, those that end last if there are too many; and how many denies have none.
pub(super) fn plain(chain: &Chain, family: Family, want: &DenySet, now: Timestamp) -> (Vec<String>, usize) {
    let allowed = merge(want.allowed.clone());
    let denied =
        want.denied.iter().filter(|(prefix, until)| family.holds(prefix) && Life::left(**until, now) != Life::Over);
    let mut denied: Vec<_> = denied.collect();
    denied.sort_by_key(|(prefix, until)| (until.is_some(), Reverse(**until), **prefix));
    let (mut rules, mut left, mut left_out) = (always(chain, family), RULES_MAX, 0);
    let kept = family.kept(want).take(KEPT_MAX);
    rules.extend(kept.map(|(peer, port)| format!("-A {chain} -s {peer} {OPEN} --sport {port} -j RETURN")));
    for (prefix, _) in denied {
        let Some(pieces) = without(*prefix, &allowed, left) else {
            left_out += 1;
            continue;
        };
        left -= pieces.len();
        rules.extend(pieces.iter().map(|piece| format!("-A {chain} -s {piece} -j DROP")));
    }
    (rules, left_out)
}

/// Loopback; and neighbour discovery (RFC 4861, types 133 to 136), without which a deny of an on-link prefix cuts us off.
fn always(chain: &Chain, family: Family) -> Vec<String> {
    let mut rules = vec![format!("-A {chain} -i lo -j RETURN")];
    if family == Family::V6 {
        rules.extend((133..=136).map(|kind| format!("-A {chain} -p icmpv6 --icmpv6-type {kind} -j RETURN")));
    }
    rules
}

/// What does not begin a connection.
const OPEN: &str = "-p tcp ! --syn";
/// Rules of connections that stay open, a family where there is no ipset.
const KEPT_MAX: usize = 100;
/// The chain of the kernel that jumps to ours.
const HOOK: &str = "PREROUTING";
/// Rules of denies a family where there is no ipset: a packet is held against each of them.
pub(super) const RULES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain::default()
    }

    #[test]
    fn is_hooked_first_and_once() {
        let check = |listing: &str, fault: Option<&str>, script: &str| {
            let listing = Listing::new(&chain(), &listing.replace("; ", "\n"));
            assert_eq!(listing.fault(1).as_deref(), fault);
            let rules = ["-A denyd -i lo -j RETURN".to_owned()];
            assert_eq!(listing.script(&chain(), &rules).trim().replace('\n', "; "), script);
        };
        let made = |hook: &str| format!("*raw; :denyd - [0:0]; {hook}-A denyd -i lo -j RETURN; COMMIT");
        let ours = "-P PREROUTING ACCEPT; -N denyd; -N denyd2; -A denyd -i lo -j RETURN; -A denyd2 -j DROP";
        check("-P PREROUTING ACCEPT", Some("the chain is gone"), &made("-I PREROUTING 1 -j denyd; "));
        check(ours, Some("PREROUTING does not jump to it"), &made("-I PREROUTING 1 -j denyd; "));
        check(&format!("{ours}; -A PREROUTING -j denyd"), None, &made(""));
        check(&format!("{ours}; -A PREROUTING -j denyd; -A PREROUTING -j ACCEPT; -A OUTPUT -j denyd"), None, &made(""));
        let misplaced = Some("the jump to it is not PREROUTING's first rule, or not the only one");
        check(
            &format!("{ours}; -A PREROUTING -j ACCEPT; -A PREROUTING -j denyd"),
            misplaced,
            &made("-D PREROUTING -j denyd; -I PREROUTING 1 -j denyd; "),
        );
        check(
            &format!("{ours}; -A PREROUTING -j denyd; -A PREROUTING -j denyd"),
            misplaced,
            &made("-D PREROUTING -j denyd; -D PREROUTING -j denyd; -I PREROUTING 1 -j denyd; "),
        );
        check(&format!("{ours}; -A PREROUTING_direct -j ACCEPT; -A PREROUTING -j denyd"), None, &made(""));
        // a jump with a condition is somebody else's
        check(
            &format!("{ours}; -A PREROUTING -i eth0 -j denyd"),
            Some("PREROUTING does not jump to it"),
            &made("-I PREROUTING 1 -j denyd; "),
        );
        let more = "-N denyd; -A PREROUTING -j denyd; -A denyd -i lo -j RETURN; -A denyd -j ACCEPT";
        check(more, Some("2 rules where there were 1"), &made(""));
    }

    #[test]
    fn takes_away_what_is_there() {
        let check = |listing: &str, script: &str| {
            let listing = Listing::new(&chain(), &listing.replace("; ", "\n"));
            assert_eq!(listing.removal(&chain()).trim().replace('\n', "; "), script);
        };
        check("-P PREROUTING ACCEPT", "*raw; COMMIT");
        check("-N denyd", "*raw; -F denyd; -X denyd; COMMIT");
        check("-N denyd; -A PREROUTING -j denyd", "*raw; -D PREROUTING -j denyd; -F denyd; -X denyd; COMMIT");
    }

    #[test]
    fn plain_rules() {
        let check = |denied: &str, allowed: &str, want: &str| {
            let set = DenySet::sample(denied, allowed);
            let (rules, left_out) = plain(&chain(), Family::V4, &set, Timestamp::from_secs(100));
            assert_eq!((rules[1..].join("; ").replace("-A denyd ", ""), left_out), (want.to_owned(), 0), "{denied}");
        };
        check("192.0.2.1@100 2001:db8::1@-", "", "");
        check(
            "192.0.2.1@170 192.0.2.2@- 192.0.2.3@180",
            "",
            "-s 192.0.2.2 -j DROP; -s 192.0.2.3 -j DROP; -s 192.0.2.1 -j DROP",
        );
        check("192.0.2.0/30@-", "192.0.2.1", "-s 192.0.2.0 -j DROP; -s 192.0.2.2/31 -j DROP");
    }

    #[test]
    fn plain_rules_are_few() {
        let host = |n: u32| Prefix::host(std::net::Ipv4Addr::from(0x0a00_0000 + n));
        let denied = (0..1_010).map(|n| (host(n), Some(Timestamp::from_secs(1_000 + i64::from(n)))));
        let set = DenySet { denied: denied.collect(), ..DenySet::default() };
        let (rules, left_out) = plain(&chain(), Family::V4, &set, Timestamp::from_secs(100));
        assert_eq!((rules.len(), left_out), (1 + 1_000, 10));
        assert_eq!(
            (rules[1].as_str(), rules[1_000].as_str()),
            ("-A denyd -s 10.0.3.241 -j DROP", "-A denyd -s 10.0.0.10 -j DROP")
        );
    }

    #[test]
    fn reads_what_rules_deny() {
        let text = "-N denyd\n-A denyd -i lo -j RETURN\n-A denyd -s 192.0.2.1/32 -j DROP\n-A denyd -s 2001:db8::/64 -j DROP\n\
                    -A denyd -s 192.0.2.2/32 -j RETURN\n-A other -s 192.0.2.3/32 -j DROP\n";
        let denied: Vec<String> = Listing::new(&chain(), text).denied().map(|prefix| prefix.to_string()).collect();
        assert_eq!(denied, ["192.0.2.1", "2001:db8::/64"]);
    }
}
