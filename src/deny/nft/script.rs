//! What is to be done in nftables, in the language of `nft`: pure.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Table;
use super::plan::{Lengths, SETS, Set, Step, USUAL, WIDE};
use crate::decide::prefix::Prefix;
use crate::deny::Life;
use crate::deny::effect::{Action, Effect, Spared};

/// A script for `nft`: one transaction.
pub(super) struct Script<'a> {
    table: &'a Table,
    pub(super) text: String,
}

impl<'a> Script<'a> {
    /// One that does nothing, for the table of this name.
    pub(super) fn new(table: &'a Table) -> Self {
        Script { table, text: String::new() }
    }

    /// Takes the table away, be it there or not.
    pub(super) fn remove(&mut self) {
        let table = self.table;
        self.text += &format!("add table inet {table}\ndelete table inet {table}\n");
    }

    /// Makes the table with its empty sets and its rules, for hash sets of prefixes of these lengths.
    pub(super) fn make(&mut self, usual: Lengths, effect: &Effect) {
        self.text += &format!("table inet {} {{\n", self.table);
        for set in SETS {
            let Set { name, ipv4, flags, ports, .. } = set;
            let family = if ipv4 { "ipv4_addr" } else { "ipv6_addr" };
            let port = if ports { " . inet_service" } else { "" };
            let counts = effect.counters && (USUAL.contains(&set) || WIDE.contains(&set));
            let counter = if counts { " counter;" } else { "" };
            self.text += &format!("set {name} {{ type {family}{port}; flags {flags};{counter} }}\n");
        }
        // The one that the other leads to comes first.
        for Chain { name, hook, rules } in chains(usual, effect).iter().rev() {
            self.text += &format!("chain {name} {{\n{hook}{}\n}}\n", rules.join("\n"));
        }
        self.text += "}\n";
    }

    /// Carries out steps, in one command for every [`ELEMENTS_MAX`] elements.
    pub(super) fn take(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Flush(set) => self.text += &format!("flush set inet {} {}\n", self.table, set.name),
                Step::Add(set, elements) => self.name("add", *set, elements.iter().copied()),
                Step::Delete(set, elements) => {
                    self.name("delete", *set, elements.iter().map(|range| (range, Life::Forever)));
                }
                Step::Keep(set, connections) => {
                    let named = connections.iter().map(|(peer, port)| (format!("{peer} . {port}"), Life::Forever));
                    self.name("add", *set, named);
                }
            }
        }
    }

    fn name(&mut self, verb: &str, set: Set, elements: impl Iterator<Item = (impl Display, Life)>) {
        let mut named = 0;
        for (element, life) in elements {
            match named % ELEMENTS_MAX {
                0 if named > 0 => _ = write!(self.text, " }}\n{verb} element inet {} {} {{ ", self.table, set.name),
                0 => _ = write!(self.text, "{verb} element inet {} {} {{ ", self.table, set.name),
                _ => self.text.push_str(", "),
            }
            _ = write!(self.text, "{element}");
            if let Life::Seconds(left) = life {
                _ = write!(self.text, " timeout {}s", left.min(TIMEOUT_MAX_S));
            }
            named += 1;
        }
        if named > 0 {
            self.text.push_str(" }\n");
        }
    }
}

/// A chain of our table.
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// What makes the kernel ask it; empty for one that only rules lead to.
    pub(super) hook: String,
    /// The first that decides does.
    pub(super) rules: Vec<String>,
}

/// Our chains: who is refused, and what that means.
pub(super) fn chains(usual: Lengths, effect: &Effect) -> [Chain; 2] {
    let mask = |all: IpAddr, bits: u8| {
        let mask = Prefix::of(all, bits);
        if mask.is_host() { String::new() } else { format!(" & {}", mask.address()) }
    };
    let mask4 = mask(Ipv4Addr::BROADCAST.into(), usual.v4);
    let mask6 = mask(Ipv6Addr::from(u128::MAX).into(), usual.v6);
    let mut who = vec![
        "iif lo accept".to_owned(),
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
            .to_owned(),
    ];
    if let Some(ports) = effect.ports() {
        who.extend(["meta l4proto != tcp accept".to_owned(), format!("tcp dport != {{ {ports} }} accept")]);
    }
    who.extend(["ip saddr @allow4 accept".to_owned(), "ip6 saddr @allow6 accept".to_owned()]);
    who.extend([
        format!("ip saddr . tcp sport @keep4 {OPEN} accept"),
        format!("ip6 saddr . tcp sport @keep6 {OPEN} accept"),
        format!("ip saddr{mask4} @deny4 goto {REFUSED}"),
        format!("ip6 saddr{mask6} @deny6 goto {REFUSED}"),
        format!("ip saddr @wide4 goto {REFUSED}"),
        format!("ip6 saddr @wide6 goto {REFUSED}"),
    ]);
    let what: &[&str] = match effect.action {
        Action::Drop => &["counter drop"],
        Action::Reject => &["meta l4proto tcp counter reject with tcp reset", "counter reject"],
    };
    // Counts what would have begun a connection, and goes on.
    let begins = ["tcp flags & (fin | syn | rst | ack) == syn counter"];
    let what = begins.iter().chain(what).map(|rule| (*rule).to_owned());
    let what = [true, false].into_iter().flat_map(|ipv4| effect.spared(ipv4)).map(spares).chain(what).collect();
    let hook = format!("type filter hook prerouting priority {PRIORITY}; policy accept;\n");
    [Chain { name: CHAIN, hook, rules: who }, Chain { name: REFUSED, hook: String::new(), rules: what }]
}

/// Lets those pass to a port who are denied all else.
fn spares(Spared { from, protocol, at, port }: &Spared) -> String {
    let family = if from.is_ipv4() { "ip" } else { "ip6" };
    let source = match (from.bits(), from.is_ipv4()) {
        (0, true) => "meta nfproto ipv4".to_owned(),
        (0, false) => "meta nfproto ipv6".to_owned(),
        _ => format!("{family} saddr {from}"),
    };
    // To this machine, and not to one behind it that has the same port open.
    let at = at.map_or(format!(" {LOCAL}"), |at| format!(" {family} daddr {at}"));
    format!("{source}{at} {} dport {port} accept", protocol.name())
}

/// What does not begin a connection.
/// What is sent to an address of this machine's own; a kernel may lack that (CONFIG_NFT_FIB).
const LOCAL: &str = "fib daddr type local";
const OPEN: &str = "tcp flags & (fin | syn | rst | ack) != syn";
/// The chain that the kernel asks.
pub(super) const CHAIN: &str = "prerouting";
/// The chain of what is denied: what is spared goes its way, then the first rule with a counter counts connections, the
/// others packets.
pub(super) const REFUSED: &str = "refused";
pub(super) const PRIORITY: i32 = -300;
/// Elements a command: 1000 a line is as fast as all in one, and four times one a line.
const ELEMENTS_MAX: usize = 1000;
/// 3 years: nft 1.0.6 reads no more than eight digits. The daily `replace` starts it anew.
pub(super) const TIMEOUT_MAX_S: u64 = 99_999_999;

#[cfg(test)]
mod tests {
    use inputs::record::Timestamp;

    use super::*;
    use crate::decide::policy::Policy;
    use crate::deny::effect::Protocol;
    use crate::deny::nft::plan::Plan;
    use crate::deny::{DenySet, Diff};

    fn set(denied: &str) -> DenySet {
        DenySet::sample(denied, "")
    }

    fn nft(v4: u8, v6: u8) -> Lengths {
        Lengths { v4, v6 }
    }

    /// The script for table `t` that carries these steps out.
    fn script(steps: &[Step]) -> String {
        let table = Table("t".to_owned());
        let mut script = Script::new(&table);
        script.take(steps);
        script.text
    }

    /// What is wanted 100 s after the epoch.
    fn plan(usual: Lengths, want: &DenySet) -> Plan<'_> {
        Plan { usual, want, now: Timestamp::from_secs(100) }
    }

    /// The lines of a script that name elements, without `element inet t`.
    fn elements(script: &str) -> String {
        let lines = script.lines().filter(|line| line.contains(" element ") || line.starts_with("flush"));
        lines.map(|line| line.replace(" element inet t", "").replace(" set inet t", "")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn sorts_prefixes_into_sets() {
        let check = |nft: Lengths, denied: &str, want: &str| {
            assert_eq!(elements(&script(&plan(nft, &set(denied)).all())), want, "{denied}");
        };
        check(nft(32, 64), "192.0.2.1@160 192.0.2.2@- 192.0.2.3@100", "add deny4 { 192.0.2.1 timeout 60s, 192.0.2.2 }");
        check(nft(32, 64), "2001:db8::/64@101", "add deny6 { 2001:db8:: timeout 1s }");
        check(
            nft(32, 64),
            "2001:db8::1@- 2001:db8:1::/48@- 192.0.2.0/24@101",
            "add wide4 { 192.0.2.0-192.0.2.255 timeout 1s }; \
             add wide6 { 2001:db8::1, 2001:db8:1::-2001:db8:1:ffff:ffff:ffff:ffff:ffff }",
        );
        check(nft(24, 128), "192.0.2.0/24@- 2001:db8::1@-", "add deny4 { 192.0.2.0 }; add deny6 { 2001:db8::1 }");
        check(nft(24, 128), "192.0.2.1@-", "add wide4 { 192.0.2.1 }");
        check(nft(32, 64), "192.0.2.1@9000000000", "add deny4 { 192.0.2.1 timeout 99999999s }");
    }

    /// What is denied of a special address is that alone, whatever the usual lengths are.
    #[test]
    fn special_addresses() {
        let check = |nft: Lengths, address: &str, want: &str| {
            let policy = Policy { ipv4_bits: nft.v4, ipv6_bits: nft.v6, ..Policy::default() };
            let prefix = policy.prefix(crate::detect::address::parse(address.as_bytes()).unwrap());
            let want_set = DenySet { denied: [(prefix, None)].into(), ..DenySet::default() };
            assert_eq!(elements(&script(&plan(nft, &want_set).all())), format!("add {want}"), "{address}");
        };
        check(nft(32, 64), "127.0.0.2", "deny4 { 127.0.0.2 }");
        check(nft(24, 64), "127.0.0.2", "wide4 { 127.0.0.2 }");
        check(nft(24, 64), "169.254.7.7", "wide4 { 169.254.7.7 }");
        check(nft(24, 64), "100.64.7.7", "deny4 { 100.64.7.0 }");
        check(nft(32, 64), "::1", "wide6 { ::1 }");
        check(nft(32, 64), "fe80::7%eth0", "wide6 { fe80::7 }");
        check(nft(32, 128), "fe80::7", "deny6 { fe80::7 }");
        check(nft(32, 64), "64:ff9b::9.9.9.7", "wide6 { 64:ff9b::909:907 }");
        check(nft(32, 64), "2001:0:909:907::1", "wide6 { 2001:0:909:907::1 }");
        check(nft(32, 64), "2002:909:907:5::1", "wide6 { 2002:909:907::-2002:909:907:ffff:ffff:ffff:ffff:ffff }");
        check(nft(32, 64), "2001:db8:1:2::3", "deny6 { 2001:db8:1:2:: }");
        check(nft(32, 64), "3fff:1:2:3::4", "deny6 { 3fff:1:2:3:: }");
    }

    #[test]
    fn rules() {
        let check = |usual: Lengths, effect: &Effect, at: usize, want: &str| {
            let all = chains(usual, effect).map(|chain| chain.rules).concat();
            assert_eq!(all[at], want);
        };
        let all = Effect::default();
        check(nft(24, 56), &all, 6, "ip saddr & 255.255.255.0 @deny4 goto refused");
        check(nft(32, 56), &all, 7, "ip6 saddr & ffff:ffff:ffff:ff00:: @deny6 goto refused");
        check(nft(1, 128), &all, 6, "ip saddr & 128.0.0.0 @deny4 goto refused");
        check(nft(32, 128), &all, 7, "ip6 saddr @deny6 goto refused");
        check(nft(32, 64), &all, 11, "counter drop");
        let some = Effect { ports: Some(vec![22, 2222]), action: Action::Reject, ..Effect::default() };
        check(nft(32, 64), &some, 3, "tcp dport != { 22,2222 } accept");
        check(nft(32, 128), &some, 9, "ip6 saddr @deny6 goto refused");
        check(nft(32, 64), &some, 13, "meta l4proto tcp counter reject with tcp reset");
        check(nft(32, 64), &some, 14, "counter reject");
        let spared = |from: &str, protocol, at: Option<&str>| {
            let at = at.map(|at| at.parse().unwrap());
            Spared { from: from.parse().unwrap(), protocol, at, port: 514 }
        };
        let senders = Effect {
            spared: vec![
                spared("192.0.2.0/24", Protocol::Tcp, Some("198.51.100.1")),
                spared("2001:db8::/32", Protocol::Udp, None),
                spared("0.0.0.0/0", Protocol::Tcp, None),
            ],
            ..Effect::default()
        };
        check(nft(32, 64), &senders, 10, "ip saddr 192.0.2.0/24 ip daddr 198.51.100.1 tcp dport 514 accept");
        check(nft(32, 64), &senders, 11, "meta nfproto ipv4 fib daddr type local tcp dport 514 accept");
        check(nft(32, 64), &senders, 12, "ip6 saddr 2001:db8::/32 fib daddr type local udp dport 514 accept");
        check(nft(32, 64), &senders, 14, "counter drop");
    }

    #[test]
    fn updates_only_what_changed() {
        let check = |denied: &str, released: &str, after: &str, want: &str| {
            let denied_now = set(denied).denied.into_iter().map(|(prefix, until)| (prefix, Some(until)));
            let released_now = released.split_whitespace().map(|p| (p.parse().unwrap(), None));
            let diff = Diff { denies: denied_now.chain(released_now).collect(), ..Diff::default() };
            let after = set(after);
            let plan = plan(nft(32, 64), &after);
            let script = script(&plan.mend(&plan.touched(&diff)).concat());
            assert_eq!(elements(&script), want, "{denied} released {released}");
        };
        check("", "", "192.0.2.7@-", "");
        check(
            "192.0.2.1@160",
            "192.0.2.2",
            "192.0.2.1@160 192.0.2.7@-",
            "add deny4 { 192.0.2.1, 192.0.2.2 }; delete deny4 { 192.0.2.1, 192.0.2.2 }; add deny4 { 192.0.2.1 timeout 60s }",
        );
        check("192.0.2.1@99", "", "192.0.2.1@99", "add deny4 { 192.0.2.1 }; delete deny4 { 192.0.2.1 }");
        // the wanted set wins
        check("192.0.2.1@160", "192.0.2.1", "", "add deny4 { 192.0.2.1 }; delete deny4 { 192.0.2.1 }");
        // a wider one is released: the narrower one comes back, the hosts are left alone
        check(
            "",
            "192.0.2.0/24",
            "192.0.2.0/25@160 192.0.2.7@- 2001:db8::/48@-",
            "flush wide4; add wide4 { 192.0.2.0-192.0.2.127 timeout 60s }",
        );
        check("2001:db8::/48@90", "", "2001:db8::/48@90", "flush wide6");
    }

    #[test]
    fn cuts_long_commands() {
        let denied = (0..2001_u32).map(|n| (Prefix::host(Ipv4Addr::from(0x0a00_0000 + n)), None)).collect();
        let want = DenySet { denied, ..DenySet::default() };
        let script = script(&plan(nft(32, 64), &want).all());
        let counts: Vec<usize> =
            script.lines().filter(|l| l.starts_with("add element")).map(|l| l.matches("10.0.").count()).collect();
        assert_eq!(counts, [1000, 1000, 1]);
    }
}
