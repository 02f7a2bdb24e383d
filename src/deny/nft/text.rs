//! The language of `nft`: a plan written as a script, and what `nft` says.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::plan::{Element, Holds, Op, RULES, Rule, Set};

/// The script that carries out a plan, in one transaction.
pub(super) fn script(table: &str, plan: &[Op]) -> String {
    let mut script = String::new();
    for op in plan {
        match op {
            Op::Remove => script += &format!("add table inet {table}\ndelete table inet {table}\n"),
            Op::Make(rules) => make(&mut script, table, rules),
            Op::Flush(set) => script += &format!("flush set inet {table} {set}\n"),
            Op::Add(set, elements) => name(&mut script, "add", table, *set, elements),
            Op::Delete(set, elements) => name(&mut script, "delete", table, *set, elements),
        }
    }
    script
}

fn make(script: &mut String, table: &str, rules: &[Rule]) {
    *script += &format!("table inet {table} {{\n");
    for set in Set::ALL {
        let family = if set.ipv4 { 4 } else { 6 };
        let flags = match set.holds {
            Holds::Allowed => "interval",
            Holds::Usual => "timeout",
            Holds::Wide => "interval, timeout",
        };
        *script += &format!("set {set} {{ type ipv{family}_addr; flags {flags}; }}\n");
    }
    *script += &format!("chain {CHAIN} {{\ntype filter hook prerouting priority {PRIORITY}; policy accept;\n");
    for each in rules {
        *script += &rule(each);
        script.push('\n');
    }
    *script += "}\n}\n";
}

fn rule(rule: &Rule) -> String {
    let family = |set: &Set| if set.ipv4 { "ip" } else { "ip6" };
    match rule {
        Rule::AcceptLoopback => "iif lo accept".to_owned(),
        Rule::AcceptNeighbours => {
            "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
                .to_owned()
        }
        Rule::Accept(set) => format!("{} saddr @{set} accept", family(set)),
        Rule::Drop(set, bits) => {
            let mask = match (set.ipv4, bits) {
                (true, 32) | (false, 128) => String::new(),
                (true, bits) => format!(" & {}", Ipv4Addr::from(u32::MAX << (32 - bits))),
                (false, bits) => format!(" & {}", Ipv6Addr::from(u128::MAX << (128 - bits))),
            };
            format!("{} saddr{mask} @{set} counter drop", family(set))
        }
    }
}

/// Names elements, in one command for every [`ELEMENTS_MAX`] of them.
fn name(script: &mut String, verb: &str, table: &str, set: Set, elements: &[Element]) {
    for some in elements.chunks(ELEMENTS_MAX) {
        _ = write!(script, "{verb} element inet {table} {set} {{ ");
        for (index, Element { range, timeout_s }) in some.iter().enumerate() {
            _ = write!(script, "{}{range}", if index > 0 { ", " } else { "" });
            if let Some(left) = timeout_s {
                _ = write!(script, " timeout {}s", left.min(&TIMEOUT_MAX_S));
            }
        }
        script.push_str(" }\n");
    }
}

/// What is wrong with our table in a listing of all of family inet, if anything.
pub(super) fn fault(table: &str, listing: &str) -> Option<String> {
    let head = format!("table inet {table} {{");
    let mut lines = listing.lines().skip_while(|line| *line != head);
    if lines.next().is_none() {
        return Some("the table is gone".to_owned());
    }
    let ours: Vec<&str> = lines.take_while(|line| *line != "}").map(str::trim).collect();
    if let Some(set) = Set::ALL.iter().find(|set| !ours.contains(&format!("set {set} {{").as_str())) {
        return Some(format!("set {set} is gone"));
    }
    let mut chain = ours.iter().skip_while(|line| !line.starts_with("type filter hook prerouting"));
    if chain.next().is_none() {
        return Some("the chain is gone".to_owned());
    }
    let rules = chain.take_while(|line| **line != "}").count();
    (rules != RULES).then(|| format!("{rules} rules where there were {RULES}"))
}

/// nft's first complaint, without the place in our script: that changes from try to try.
pub(super) fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let line = line.split_once("Error: ").map_or(line, |(_, rest)| rest).trim();
    Some(line.chars().filter(|c| !c.is_control()).take(COMPLAINT_MAX).collect())
}

pub(super) fn remedy(cause: &str) -> Option<&'static str> {
    if cause.contains("Operation not permitted") {
        Some("run denyd with CAP_NET_ADMIN")
    } else if cause.contains("not supported") {
        Some("the kernel has no nf_tables for family inet: load it, or choose another back end")
    } else if cause.contains("expecting string") {
        Some("the table's name is a word of nft's own: choose another `table` in [deny.nftables]")
    } else {
        None
    }
}

const CHAIN: &str = "prerouting";
const PRIORITY: i32 = -300;
/// Elements a command: 1000 a line is as fast as all in one, and four times one a line.
const ELEMENTS_MAX: usize = 1000;
/// 3 years: nft 1.0.6 reads no more than eight digits. The daily `replace` starts it anew.
const TIMEOUT_MAX_S: u64 = 99_999_999;
/// Characters of nft's complaint that go into an error.
const COMPLAINT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::prefix::Prefix;
    use crate::deny::nft::plan::Lengths;
    use crate::deny::{DenySet, Diff};
    use inputs::record::Timestamp;

    fn set(denied: &str) -> DenySet {
        let item = |item: &str| {
            let (prefix, end) = item.split_once('@').unwrap();
            (prefix.parse().unwrap(), end.parse().ok().map(Timestamp::from_secs))
        };
        DenySet { denied: denied.split_whitespace().map(item).collect(), allowed: Vec::new() }
    }

    fn nft(v4: u8, v6: u8) -> Lengths {
        Lengths { v4, v6 }
    }

    fn write(plan: &[Op]) -> String {
        script("t", plan)
    }

    /// The lines of a script that name elements, without `element inet t`.
    fn elements(script: &str) -> String {
        let lines = script.lines().filter(|line| line.contains(" element ") || line.starts_with("flush"));
        lines.map(|line| line.replace(" element inet t", "").replace(" set inet t", "")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn sorts_prefixes_into_sets() {
        let check = |nft: Lengths, denied: &str, want: &str| {
            assert_eq!(elements(&write(&nft.replace(&set(denied), Timestamp::from_secs(100)))), want, "{denied}");
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

    #[test]
    fn masks() {
        assert_eq!(rule(&nft(24, 56).rules()[4]), "ip saddr & 255.255.255.0 @deny4 counter drop");
        assert_eq!(rule(&nft(32, 56).rules()[5]), "ip6 saddr & ffff:ffff:ffff:ff00:: @deny6 counter drop");
        assert_eq!(rule(&nft(1, 128).rules()[4]), "ip saddr & 128.0.0.0 @deny4 counter drop");
        assert_eq!(rule(&nft(32, 128).rules()[5]), "ip6 saddr @deny6 counter drop");
    }

    #[test]
    fn updates_only_what_changed() {
        let check = |denied: &str, released: &str, after: &str, want: &str| {
            let denied_now = set(denied).denied.into_iter().map(|(prefix, until)| (prefix, Some(until)));
            let released_now = released.split_whitespace().map(|p| (p.parse().unwrap(), None));
            let diff = Diff { denies: denied_now.chain(released_now).collect(), allowed: None };
            let plan = nft(32, 64).update(&diff, &set(after), Timestamp::from_secs(100));
            assert_eq!(elements(&write(&plan)), want, "{denied} released {released}");
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
        let script = write(&nft(32, 64).replace(&DenySet { denied, allowed: Vec::new() }, Timestamp(0)));
        let counts: Vec<usize> =
            script.lines().filter(|l| l.starts_with("add element")).map(|l| l.matches("10.0.").count()).collect();
        assert_eq!(counts, [1000, 1000, 1]);
    }

    #[test]
    fn complains_in_one_line() {
        let check = |stderr: &str, want: Option<&str>| assert_eq!(complaint(stderr.as_bytes()).as_deref(), want);
        check("", None);
        check(
            "/dev/stdin:3:1-9: Error: No such file or directory\nadd element\n^^^\n",
            Some("No such file or directory"),
        );
        check(
            "netlink: Error: cache initialization failed: Operation not permitted\n",
            Some("cache initialization failed: Operation not permitted"),
        );
        check("\n\x1b[1mhm\n", Some("[1mhm"));
        check(&"x".repeat(4000), Some(&"x".repeat(300)));
    }
}
