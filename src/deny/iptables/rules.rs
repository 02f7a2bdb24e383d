//! The rules of our chain, in the language of `iptables-restore` (iptables-restore(8)), and what `iptables -S` lists: pure.

use std::cmp::Reverse;

use inputs::record::Timestamp;

use super::{Chain, Family, sets};
use crate::decide::prefix::Prefix;
use crate::decide::range::merge;
use crate::deny::effect::{Action, Effect, Refused, Spared};
use crate::deny::overlap::without;
use crate::deny::{DenySet, Life};

/// Where our chain is, and what jumps to it first of all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) table: &'static str,
    hooks: &'static [&'static str],
}

/// Before connection tracking and DNAT.
pub(super) const RAW: Place = Place { table: "raw", hooks: &["PREROUTING"] };
/// REJECT can be nowhere else.
pub(super) const FILTER: Place = Place { table: "filter", hooks: &["INPUT", "FORWARD"] };

impl Place {
    /// Where packets can be refused like this, and where we may have refused them in another way.
    pub(super) fn of(action: Action) -> [&'static Place; 2] {
        match action {
            Action::Drop => [&RAW, &FILTER],
            Action::Reject => [&FILTER, &RAW],
        }
    }
}

/// What is in a table, as far as it is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    place: &'static Place,
    /// Which of our chains are there.
    chains: Vec<String>,
    /// Which of each hook's rules are nothing but a jump to the first of them.
    jumps: Vec<Vec<usize>>,
    /// Their rules, without what these count.
    pub(super) rules: Vec<String>,
    /// What these count.
    pub(super) refused: Refused,
}

impl Listing {
    /// Reads what `iptables -t TABLE -v -S` says.
    pub(super) fn new(place: &'static Place, chain: &Chain, text: &str) -> Listing {
        let ours = [chain.to_string(), refused(chain)];
        let is_of = |rule: &str, chain: &str| {
            rule.strip_prefix("-A ").is_some_and(|r| r.strip_prefix(chain).is_some_and(|r| r.starts_with(' ')))
        };
        let rules: Vec<(String, u64)> = text.lines().filter(|line| line.starts_with("-A ")).map(uncounted).collect();
        let jumps = |hook: &&str| {
            let hooked = rules.iter().filter(|(rule, _)| is_of(rule, hook)).enumerate();
            let jump = format!("-A {hook} -j {chain}");
            hooked.filter(|(_, (rule, _))| *rule == jump).map(|(index, _)| index).collect()
        };
        let refuses = |rule: &str| is_of(rule, &ours[1]) && !rule.ends_with(" -j RETURN");
        let mut counts = rules.iter().filter(|(rule, _)| refuses(rule)).map(|(_, count)| *count);
        let connections = counts.next().unwrap_or_default();
        Listing {
            place,
            chains: ours.iter().filter(|name| text.lines().any(|line| line == format!("-N {name}"))).cloned().collect(),
            jumps: place.hooks.iter().map(jumps).collect(),
            refused: Refused { packets: counts.sum(), connections },
            rules: rules
                .into_iter()
                .filter(|(rule, _)| ours.iter().any(|name| is_of(rule, name)))
                .map(|(rule, _)| rule)
                .collect(),
        }
    }

    /// Whether nothing of ours is there.
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.iter().all(Vec::is_empty)
    }

    /// What is wrong with it, where our chains are to have this many rules.
    pub(super) fn fault(&self, count: usize) -> Option<String> {
        if self.chains.len() < 2 {
            return Some("the chain is gone".to_owned());
        }
        for (hook, jumps) in self.place.hooks.iter().zip(&self.jumps) {
            match jumps.as_slice() {
                [] => return Some(format!("{hook} does not jump to it")),
                [0] => {}
                _ => return Some(format!("the jump to it is not {hook}'s first rule, or not the only one")),
            }
        }
        let rules = self.rules.len();
        (rules != count).then(|| format!("{rules} rules where there were {count}"))
    }

    /// How it lets in who is denied, be it by this set: `word` is what is to become of that.
    pub(super) fn lets_in(&self, chain: &Chain, set: Option<&str>, word: &str) -> Option<String> {
        let is_open = |rule: &&String| rule.contains("-j ACCEPT") || **rule == format!("-A {chain} -j RETURN");
        if let Some(rule) = self.rules.iter().find(is_open) {
            return Some(format!("a rule that is not ours lets pass: {}", rule.chars().take(80).collect::<String>()));
        }
        let refused = refused(chain);
        if let Some(set) = set {
            let leads = format!("-A {chain} -m set --match-set {set} src -g {refused}");
            if !self.rules.contains(&leads) {
                return Some(format!("no rule leads from set {set} to chain {refused}"));
            }
        }
        let ends = self.rules.iter().rfind(|rule| rule.starts_with(&format!("-A {refused} ")));
        let is_end = ends.is_some_and(|rule| rule.starts_with(&format!("-A {refused} -j {word}")));
        (!is_end).then(|| format!("chain {refused} does not end with {word}"))
    }

    /// Makes our chains of these rules, and the first of them the first thing that is asked.
    pub(super) fn script(&self, chain: &Chain, rules: &[String]) -> String {
        // This also empties chains that are there.
        let mut text = format!("*{}\n:{} - [0:0]\n:{chain} - [0:0]\n", self.place.table, refused(chain));
        for (hook, jumps) in self.place.hooks.iter().zip(&self.jumps) {
            if *jumps != [0] {
                jumps.iter().for_each(|_| text += &format!("-D {hook} -j {chain}\n"));
                text += &format!("-I {hook} 1 -j {chain}\n");
            }
        }
        rules.iter().for_each(|rule| text += &format!("{rule}\n"));
        text + "COMMIT\n"
    }

    /// Takes our chains away.
    pub(super) fn removal(&self, chain: &Chain) -> String {
        let mut text = format!("*{}\n", self.place.table);
        for (hook, jumps) in self.place.hooks.iter().zip(&self.jumps) {
            jumps.iter().for_each(|_| text += &format!("-D {hook} -j {chain}\n"));
        }
        self.chains.iter().for_each(|name| text += &format!("-F {name}\n"));
        self.chains.iter().for_each(|name| text += &format!("-X {name}\n"));
        text + "COMMIT\n"
    }

    /// The prefixes that rules of our chain deny by themselves; versions before this one dropped there.
    pub(super) fn denied(&self) -> impl Iterator<Item = Prefix> {
        self.rules.iter().filter_map(|rule| {
            let words: Vec<&str> = rule.split(' ').skip(2).collect();
            let [source, prefix, how, target] = words.try_into().ok()?;
            (source == "-s" && (how == "-g" || target == "DROP")).then(|| prefix.parse().ok())?
        })
    }
}

/// A rule as it would be listed without `-v`, and the packets that it counted.
fn uncounted(line: &str) -> (String, u64) {
    let mut words: Vec<&str> = line.split(' ').collect();
    let mut packets = 0;
    if let Some(at) = words.iter().rposition(|word| *word == "-c")
        && let Some(Ok(count)) = words.get(at + 1).map(|word| word.parse())
    {
        packets = count;
        words.drain(at..words.len().min(at + 3));
    }
    (words.join(" "), packets)
}

/// The name of the chain of what is denied.
fn refused(chain: &Chain) -> String {
    format!("{chain}-refused")
}

/// What it means to be denied: what is spared goes its way, then the first rule counts connections and goes on, the others
/// count packets.
fn what(chain: &Chain, family: Family, effect: &Effect) -> Vec<String> {
    let name = refused(chain);
    let spared = effect.spared(family == Family::V4).map(|Spared { from, protocol, at, port }| {
        let (to, here) = match at {
            Some(at) => (format!(" -d {at}"), ""),
            // To this machine, and not to one behind it that has the same port open.
            None => (String::new(), " -m addrtype --dst-type LOCAL"),
        };
        format!("-A {name} -s {from}{to} -p {} --dport {port}{here} -j RETURN", protocol.name())
    });
    let rules: &[&str] = match effect.action {
        Action::Drop => &["-j DROP"],
        Action::Reject => &["-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT"],
    };
    let begins = ["-p tcp --syn"];
    spared.chain(begins.iter().chain(rules).map(|rule| format!("-A {name} {rule}"))).collect()
}

/// The rules that look into the sets. The first that matches decides.
pub(super) fn of_sets(chain: &Chain, family: Family, effect: &Effect) -> Vec<String> {
    let set = |name: String, target: &str| format!("-A {chain} -m set --match-set {name} src {target}");
    let mut rules = always(chain, family, effect);
    let kept = sets::kept(chain, family);
    rules.push(set(sets::allowed(chain, family), "-j RETURN"));
    rules.push(format!("-A {chain} {OPEN} -m set --match-set {kept} src,src -j RETURN"));
    rules.push(set(sets::denied(chain, family), &format!("-g {}", refused(chain))));
    rules.extend(what(chain, family, effect));
    rules
}

/// A rule for each deny, those that end last if there are too many; and how many denies have none.
pub(super) fn plain(
    chain: &Chain,
    family: Family,
    effect: &Effect,
    want: &DenySet,
    now: Timestamp,
) -> (Vec<String>, usize) {
    let allowed = merge(want.allowed.clone());
    let denied =
        want.denied.iter().filter(|(prefix, until)| family.holds(prefix) && Life::left(**until, now) != Life::Over);
    let mut denied: Vec<_> = denied.collect();
    denied.sort_by_key(|(prefix, until)| (until.is_some(), Reverse(**until), **prefix));
    let (mut rules, mut left, mut left_out) = (always(chain, family, effect), RULES_MAX, 0);
    let kept = family.kept(want).take(KEPT_MAX);
    rules.extend(kept.map(|(peer, port)| format!("-A {chain} -s {peer} {OPEN} --sport {port} -j RETURN")));
    let refused = refused(chain);
    for (prefix, _) in denied {
        let Some(pieces) = without(*prefix, &allowed, left) else {
            left_out += 1;
            continue;
        };
        left -= pieces.len();
        rules.extend(pieces.iter().map(|piece| format!("-A {chain} -s {piece} -g {refused}")));
    }
    rules.extend(what(chain, family, effect));
    (rules, left_out)
}

/// Loopback; neighbour discovery (RFC 4861, types 133 to 136), without which a deny of an on-link prefix cuts us off; and
/// all but the ports that are closed.
fn always(chain: &Chain, family: Family, effect: &Effect) -> Vec<String> {
    let mut rules = vec![format!("-A {chain} -i lo -j RETURN")];
    if family == Family::V6 {
        rules.extend((133..=136).map(|kind| format!("-A {chain} -p icmpv6 --icmpv6-type {kind} -j RETURN")));
    }
    if let Some(ports) = effect.ports() {
        rules.push(format!("-A {chain} ! -p tcp -j RETURN"));
        rules.push(format!("-A {chain} -p tcp -m multiport ! --dports {ports} -j RETURN"));
    }
    rules
}

/// What does not begin a connection.
const OPEN: &str = "-p tcp ! --syn";
/// Rules of connections that stay open, a family where there is no ipset.
const KEPT_MAX: usize = 100;
/// Rules of denies a family where there is no ipset: a packet is held against each of them.
pub(super) const RULES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::effect::Protocol;

    fn chain() -> Chain {
        Chain::default()
    }

    #[test]
    fn is_hooked_first_and_once() {
        let check = |listing: &str, fault: Option<&str>, script: &str| {
            let listing = Listing::new(&RAW, &chain(), &listing.replace("; ", "\n"));
            assert_eq!(listing.fault(1).as_deref(), fault);
            let rules = ["-A denyd -i lo -j RETURN".to_owned()];
            assert_eq!(listing.script(&chain(), &rules).trim().replace('\n', "; "), script);
        };
        let made = |hook: &str| {
            format!("*raw; :denyd-refused - [0:0]; :denyd - [0:0]; {hook}-A denyd -i lo -j RETURN; COMMIT")
        };
        let ours = "-P PREROUTING ACCEPT -c 7 9; -N denyd; -N denyd-refused; -N denyd2; -A denyd -i lo -j RETURN; -A denyd2 -j DROP";
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
        let more = "-N denyd; -N denyd-refused; -A PREROUTING -j denyd; -A denyd -i lo -j RETURN; -A denyd -j ACCEPT";
        check(more, Some("2 rules where there were 1"), &made(""));
        check("-N denyd; -A PREROUTING -j denyd; -A denyd -i lo -j RETURN", Some("the chain is gone"), &made(""));
    }

    #[test]
    fn takes_away_what_is_there() {
        let check = |listing: &str, script: &str| {
            let listing = Listing::new(&RAW, &chain(), &listing.replace("; ", "\n"));
            assert_eq!(listing.removal(&chain()).trim().replace('\n', "; "), script);
        };
        check("-P PREROUTING ACCEPT", "*raw; COMMIT");
        check("-N denyd", "*raw; -F denyd; -X denyd; COMMIT");
        check(
            "-N denyd-refused; -N denyd; -A PREROUTING -j denyd",
            "*raw; -D PREROUTING -j denyd; -F denyd; -F denyd-refused; -X denyd; -X denyd-refused; COMMIT",
        );
    }

    /// As `iptables -v -S` of 1.8.9 prints them, legacy and of nftables.
    #[test]
    fn reads_what_rules_count() {
        let text = "-P INPUT ACCEPT -c 5 6\n-N denyd\n-N denyd-refused\n-A INPUT -c 7 8 -j denyd\n\
            -A denyd -p tcp -m multiport ! --dports 22,80 -c 9 10 -j RETURN\n\
            -A denyd-refused -s 192.0.2.0/24 -p tcp -m tcp --dport 514 -c 90 90 -j RETURN\n\
            -A denyd-refused -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -c 2 120\n\
            -A denyd-refused -p tcp -c 3 160 -j REJECT --reject-with tcp-reset\n\
            -A denyd-refused -c 4 200 -j REJECT --reject-with icmp-port-unreachable\n";
        let listing = Listing::new(&FILTER, &chain(), text);
        assert_eq!(listing.refused, Refused { packets: 7, connections: 2 });
        assert_eq!(listing.jumps, [vec![0], vec![]]);
        assert_eq!(listing.rules[0], "-A denyd -p tcp -m multiport ! --dports 22,80 -j RETURN");
        assert_eq!(listing.rules.len(), 5);
    }

    #[test]
    fn closes_ports_and_answers() {
        let from = "192.0.2.0/24".parse().unwrap();
        let sender = Spared { from, protocol: Protocol::Tcp, at: Some("198.51.100.1".parse().unwrap()), port: 514 };
        let other = Spared { from: "::/0".parse().unwrap(), at: None, ..sender };
        let effect = Effect {
            ports: Some(vec![22, 80]),
            action: Action::Reject,
            spared: vec![other, sender],
            ..Effect::default()
        };
        assert_eq!(
            of_sets(&chain(), Family::V4, &effect).join("; "),
            "-A denyd -i lo -j RETURN; -A denyd ! -p tcp -j RETURN; -A denyd -p tcp -m multiport ! --dports 22,80 -j RETURN; \
             -A denyd -m set --match-set denyd-allow4 src -j RETURN; -A denyd -p tcp ! --syn -m set --match-set denyd-keep4 src,src -j RETURN; \
             -A denyd -m set --match-set denyd-deny4 src -g denyd-refused; \
             -A denyd-refused -s 192.0.2.0/24 -d 198.51.100.1 -p tcp --dport 514 -j RETURN; \
             -A denyd-refused -p tcp --syn; -A denyd-refused -p tcp -j REJECT --reject-with tcp-reset; -A denyd-refused -j REJECT"
        );
    }

    #[test]
    fn plain_rules() {
        let check = |denied: &str, allowed: &str, want: &str| {
            let set = DenySet::sample(denied, allowed);
            let (rules, left_out) = plain(&chain(), Family::V4, &Effect::default(), &set, Timestamp::from_secs(100));
            let denies: Vec<_> = rules.iter().filter(|rule| rule.contains(" -s ")).cloned().collect();
            let denies = denies.join("; ").replace("-A denyd ", "").replace("-g denyd-refused", "-j DROP");
            assert_eq!((denies, left_out), (want.to_owned(), 0), "{denied}");
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
        let (rules, left_out) = plain(&chain(), Family::V4, &Effect::default(), &set, Timestamp::from_secs(100));
        assert_eq!((rules.len(), left_out), (1 + 1_000 + 2, 10));
        assert_eq!(
            (rules[1].as_str(), rules[1_000].as_str()),
            ("-A denyd -s 10.0.3.241 -g denyd-refused", "-A denyd -s 10.0.0.10 -g denyd-refused")
        );
    }

    #[test]
    fn what_lets_in_who_is_denied_is_seen() {
        const OURS: &str = "-N denyd; -N denyd-refused; -A denyd -i lo -j RETURN; \
                            -A denyd -m set --match-set denyd-deny4 src -g denyd-refused; -A denyd-refused -p tcp --syn; \
                            -A denyd-refused -j DROP";
        let check = |from: &str, to: &str, set: Option<&str>, want: Option<&str>| {
            assert!(OURS.contains(from));
            let listing = Listing::new(&RAW, &chain(), &OURS.replace(from, to).replace("; ", "\n"));
            assert_eq!(listing.lets_in(&chain(), set, "DROP").as_deref(), want, "{from:?} {to:?}");
        };
        let set = Some("denyd-deny4");
        check("", "", set, None);
        check("", "", None, None);
        check("", "", Some("denyd-deny6"), Some("no rule leads from set denyd-deny6 to chain denyd-refused"));
        check(" -j DROP", " -j REJECT", set, Some("chain denyd-refused does not end with DROP"));
        check("; -A denyd-refused -j DROP", "", set, Some("chain denyd-refused does not end with DROP"));
        let rule = "a rule that is not ours lets pass: -A denyd ";
        check("-i lo -j RETURN", "-j RETURN", set, Some(&format!("{rule}-j RETURN")));
        check("-i lo -j RETURN", "-s 192.0.2.1/32 -j ACCEPT", set, Some(&format!("{rule}-s 192.0.2.1/32 -j ACCEPT")));
    }

    #[test]
    fn reads_what_rules_deny() {
        let text = "-N denyd\n-A denyd -i lo -j RETURN\n-A denyd -s 192.0.2.1/32 -j DROP\n-A denyd -s 2001:db8::/64 -c 1 2 -g denyd-refused\n\
                    -A denyd -s 192.0.2.2/32 -j RETURN\n-A other -s 192.0.2.3/32 -j DROP\n";
        let denied: Vec<String> =
            Listing::new(&RAW, &chain(), text).denied().map(|prefix| prefix.to_string()).collect();
        assert_eq!(denied, ["192.0.2.1", "2001:db8::/64"]);
    }
}
