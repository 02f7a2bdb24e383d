//! What is to be done in nftables so that it denies what is wanted, in the language of `nft`: pure,
//! whoever hands it over.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use inputs::record::Timestamp;

use super::Table;
use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::deny::overlap::flatten;
use crate::deny::{DenySet, Diff, Life, Until};

/// The prefix lengths that go into hash sets: those that addresses are denied with by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Bits of an IPv4 prefix, 1 to 32.
    pub v4: u8,
    /// Bits of an IPv6 prefix, 1 to 128.
    pub v6: u8,
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { v4: 32, v6: 64 }
    }
}

/// A set of our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    ipv4: bool,
    flags: &'static str,
}

/// Ranges that are allowed.
const ALLOWED: [Set; 2] = both(["allow4", "allow6"], "interval");
/// Denied prefixes of the usual length, by their first address.
pub(super) const USUAL: [Set; 2] = both(["deny4", "deny6"], "timeout");
/// Denied prefixes of other lengths, as ranges without overlap.
pub(super) const WIDE: [Set; 2] = both(["wide4", "wide6"], "interval, timeout");
/// All of them.
pub(super) const SETS: [Set; 6] = [ALLOWED[0], USUAL[0], WIDE[0], ALLOWED[1], USUAL[1], WIDE[1]];

const fn both([v4, v6]: [&'static str; 2], flags: &'static str) -> [Set; 2] {
    [Set { name: v4, ipv4: true, flags }, Set { name: v6, ipv4: false, flags }]
}

/// A script for `nft`: one transaction.
pub(super) struct Script<'a> {
    table: &'a Table,
    /// The lengths of the prefixes that are in hash sets.
    usual: Lengths,
    now: Timestamp,
    pub(super) text: String,
}

impl<'a> Script<'a> {
    /// One that does nothing, for the table of this name.
    pub(super) fn new(table: &'a Table, usual: Lengths, now: Timestamp) -> Self {
        Script { table, usual, now, text: String::new() }
    }

    /// Makes everything anew.
    pub(super) fn replace(mut self, want: &DenySet) -> Self {
        self.remove();
        self.make();
        self.allow(&want.allowed);
        for set in USUAL {
            let prefixes = want.denied.iter().filter(|(prefix, _)| self.set(prefix) == set);
            self.name("add", set, prefixes.map(|(prefix, until)| (first(prefix), *until)).collect());
        }
        WIDE.into_iter().for_each(|set| self.add_wide(set, want));
        self
    }

    /// Does only what `diff` names; what becomes of it is looked up in `want`.
    pub(super) fn update(mut self, diff: &Diff, want: &DenySet) -> Self {
        if diff.allowed.is_some() {
            ALLOWED.into_iter().for_each(|set| self.flush(set));
            self.allow(&want.allowed);
        }
        for set in USUAL {
            let touched: Vec<&Prefix> = diff.denies.keys().filter(|prefix| self.set(prefix) == set).collect();
            // A delete fails on what is not there, so it is added first. An add does not change the end of
            // what is there on kernels before 6.12, so that is deleted first.
            let all: Vec<_> = touched.iter().map(|prefix| (first(prefix), None)).collect();
            self.name("add", set, all.clone());
            self.name("delete", set, all);
            let wanted = touched.iter().filter_map(|prefix| Some((first(prefix), *want.denied.get(prefix)?)));
            self.name("add", set, wanted.collect());
        }
        for set in WIDE {
            if diff.denies.keys().any(|prefix| self.set(prefix) == set) {
                self.flush(set);
                self.add_wide(set, want);
            }
        }
        self
    }

    /// Takes the table away, be it there or not.
    pub(super) fn remove(&mut self) {
        let table = self.table;
        self.text += &format!("add table inet {table}\ndelete table inet {table}\n");
    }

    /// Makes the table with its empty sets and its rules.
    fn make(&mut self) {
        self.text += &format!("table inet {} {{\n", self.table);
        for Set { name, ipv4, flags } in SETS {
            let family = if ipv4 { "ipv4_addr" } else { "ipv6_addr" };
            self.text += &format!("set {name} {{ type {family}; flags {flags}; }}\n");
        }
        self.text += &format!("chain {CHAIN} {{\ntype filter hook prerouting priority {PRIORITY}; policy accept;\n");
        self.text += &self.rules().join("\n");
        self.text += "\n}\n}\n";
    }

    /// The rules of our chain, in which the first that matches decides.
    fn rules(&self) -> [String; RULES] {
        let mask = |all: IpAddr, bits: u8| {
            let mask = Prefix::of(all, bits);
            if mask.is_host() { String::new() } else { format!(" & {}", mask.address()) }
        };
        let mask4 = mask(Ipv4Addr::BROADCAST.into(), self.usual.v4);
        let mask6 = mask(Ipv6Addr::from(u128::MAX).into(), self.usual.v6);
        [
            "iif lo accept".to_owned(),
            "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
                .to_owned(),
            "ip saddr @allow4 accept".to_owned(),
            "ip6 saddr @allow6 accept".to_owned(),
            format!("ip saddr{mask4} @deny4 counter drop"),
            format!("ip6 saddr{mask6} @deny6 counter drop"),
            "ip saddr @wide4 counter drop".to_owned(),
            "ip6 saddr @wide6 counter drop".to_owned(),
        ]
    }

    /// The set in which a denied prefix is.
    fn set(&self, prefix: &Prefix) -> Set {
        let (family, usual) = if prefix.is_ipv4() { (0, self.usual.v4) } else { (1, self.usual.v6) };
        if prefix.bits() == usual { USUAL[family] } else { WIDE[family] }
    }

    fn flush(&mut self, set: Set) {
        self.text += &format!("flush set inet {} {}\n", self.table, set.name);
    }

    fn allow(&mut self, allowed: &[Range]) {
        let ranges = merge(allowed.to_vec());
        for set in ALLOWED {
            let family = ranges.iter().filter(|range| range.first.is_ipv4() == set.ipv4);
            self.name("add", set, family.map(|range| (*range, None)).collect());
        }
    }

    fn add_wide(&mut self, set: Set, want: &DenySet) {
        let wide = want.denied.iter().map(|(prefix, until)| (*prefix, *until));
        self.name("add", set, flatten(wide.filter(|(prefix, _)| self.set(prefix) == set)));
    }

    /// Names the elements that are not over yet, in one command for every [`ELEMENTS_MAX`] of them. One that is added
    /// and is there already keeps its end.
    fn name(&mut self, verb: &str, set: Set, mut elements: Vec<(Range, Until)>) {
        elements.retain(|(_, until)| Life::left(*until, self.now) != Life::Over);
        for some in elements.chunks(ELEMENTS_MAX) {
            _ = write!(self.text, "{verb} element inet {} {} {{ ", self.table, set.name);
            for (index, (range, until)) in some.iter().enumerate() {
                _ = write!(self.text, "{}{range}", if index > 0 { ", " } else { "" });
                if let Life::Seconds(left) = Life::left(*until, self.now) {
                    _ = write!(self.text, " timeout {}s", left.min(TIMEOUT_MAX_S));
                }
            }
            self.text.push_str(" }\n");
        }
    }
}

/// The element of a prefix of the usual length.
fn first(prefix: &Prefix) -> Range {
    Range { first: prefix.address(), last: prefix.address() }
}

/// How many rules there are.
pub(super) const RULES: usize = 8;
const CHAIN: &str = "prerouting";
const PRIORITY: i32 = -300;
/// Elements a command: 1000 a line is as fast as all in one, and four times one a line.
const ELEMENTS_MAX: usize = 1000;
/// 3 years: nft 1.0.6 reads no more than eight digits. The daily `replace` starts it anew.
const TIMEOUT_MAX_S: u64 = 99_999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::policy::Policy;

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

    /// The script for table `t`, 100 s after the epoch.
    fn script(usual: Lengths, write: impl FnOnce(Script<'_>) -> Script<'_>) -> String {
        write(Script::new(&Table("t".to_owned()), usual, Timestamp::from_secs(100))).text
    }

    /// The lines of a script that name elements, without `element inet t`.
    fn elements(script: &str) -> String {
        let lines = script.lines().filter(|line| line.contains(" element ") || line.starts_with("flush"));
        lines.map(|line| line.replace(" element inet t", "").replace(" set inet t", "")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn sorts_prefixes_into_sets() {
        let check = |nft: Lengths, denied: &str, want: &str| {
            assert_eq!(elements(&script(nft, |script| script.replace(&set(denied)))), want, "{denied}");
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
            let want_set = DenySet { denied: [(prefix, None)].into(), allowed: Vec::new() };
            assert_eq!(elements(&script(nft, |script| script.replace(&want_set))), format!("add {want}"), "{address}");
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
    fn masks() {
        let rules = |usual| Script::new(&Table::default(), usual, Timestamp(0)).rules();
        assert_eq!(rules(nft(24, 56))[4], "ip saddr & 255.255.255.0 @deny4 counter drop");
        assert_eq!(rules(nft(32, 56))[5], "ip6 saddr & ffff:ffff:ffff:ff00:: @deny6 counter drop");
        assert_eq!(rules(nft(1, 128))[4], "ip saddr & 128.0.0.0 @deny4 counter drop");
        assert_eq!(rules(nft(32, 128))[5], "ip6 saddr @deny6 counter drop");
    }

    #[test]
    fn updates_only_what_changed() {
        let check = |denied: &str, released: &str, after: &str, want: &str| {
            let denied_now = set(denied).denied.into_iter().map(|(prefix, until)| (prefix, Some(until)));
            let released_now = released.split_whitespace().map(|p| (p.parse().unwrap(), None));
            let diff = Diff { denies: denied_now.chain(released_now).collect(), allowed: None };
            let script = script(nft(32, 64), |script| script.update(&diff, &set(after)));
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
        let script = script(nft(32, 64), |script| script.replace(&DenySet { denied, allowed: Vec::new() }));
        let counts: Vec<usize> =
            script.lines().filter(|l| l.starts_with("add element")).map(|l| l.matches("10.0.").count()).collect();
        assert_eq!(counts, [1000, 1000, 1]);
    }
}
