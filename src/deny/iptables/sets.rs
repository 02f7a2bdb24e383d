//! What is to be done in ipset, in the language of `ipset restore` (ipset(8)), and what it lists: pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use inputs::record::Timestamp;

use super::{Chain, Family};
use crate::decide::claim::latest;
use crate::decide::prefix::Prefix;
use crate::decide::range::merge;
use crate::decide::state::DENIES_MAX;
use crate::deny::{DenySet, Life, Until};

/// A script for `ipset -exist restore`. It is no transaction: each line is.
pub(super) struct Script<'a> {
    chain: &'a Chain,
    /// The sets that there are.
    names: &'a [String],
    /// Whether elements of denies count packets.
    counters: bool,
    pub(super) text: String,
}

/// The elements of the sets of denies, and how long each is to stay. Where two denies are one element, the later end.
pub(super) fn wanted(want: &DenySet, now: Timestamp) -> BTreeMap<Prefix, Life> {
    let mut ends: BTreeMap<Prefix, Until> = BTreeMap::new();
    for (prefix, until) in &want.denied {
        for element in elements(prefix) {
            ends.entry(element).and_modify(|end| *end = latest(*end, *until)).or_insert(*until);
        }
    }
    let lives = ends.into_iter().map(|(prefix, until)| (prefix, Life::left(until, now)));
    lives.filter(|(_, life)| *life != Life::Over).collect()
}

/// A prefix of length 0 is two elements: `hash:net` does not take it.
fn elements(prefix: &Prefix) -> impl Iterator<Item = Prefix> {
    let bits = prefix.bits().max(1);
    let second = (prefix.bits() == 0).then(|| Prefix::of(prefix.last(), bits));
    [Prefix::of(prefix.address(), bits)].into_iter().chain(second)
}

impl<'a> Script<'a> {
    /// One that does nothing, where there are sets of these names.
    pub(super) fn new(chain: &'a Chain, names: &'a [String], counters: bool) -> Self {
        Script { chain, names, counters, text: String::new() }
    }

    /// Makes the set of what is allowed.
    pub(super) fn allow(&mut self, family: Family, want: &DenySet) {
        let prefixes = merge(want.allowed.clone()).into_iter().flat_map(|range| range.prefixes());
        let elements: Vec<Prefix> = prefixes
            .flat_map(|prefix| elements(&prefix).collect::<Vec<_>>())
            .filter(|prefix| family.holds(prefix))
            .collect();
        let name = allowed(self.chain, family);
        let size = elements.len().next_power_of_two().max(SIZE_MIN);
        let form = format!("hash:net family {} maxelem {size}", family.name());
        self.make(&name, &form, |text, new| {
            elements.iter().for_each(|prefix| _ = writeln!(text, "add {new} {prefix}"));
        });
    }

    /// Makes the set of connections that stay open.
    pub(super) fn keep(&mut self, family: Family, want: &DenySet) {
        let connections: Vec<_> = family.kept(want).collect();
        let size = connections.len().next_power_of_two().max(SIZE_MIN);
        let form = format!("hash:ip,port family {} maxelem {size}", family.name());
        self.make(&kept(self.chain, family), &form, |text, new| {
            connections.iter().for_each(|(peer, port)| _ = writeln!(text, "add {new} {peer},tcp:{port}"));
        });
    }

    /// Makes the set of denies.
    pub(super) fn deny<'b>(&mut self, family: Family, elements: impl Iterator<Item = (&'b Prefix, &'b Life)>) {
        let name = denied(self.chain, family);
        let counters = if self.counters { " counters" } else { "" };
        let form = format!("hash:net family {} maxelem {DENIED_MAX} timeout 0{counters}", family.name());
        self.make(&name, &form, |text, new| {
            elements.for_each(|(prefix, life)| add(text, new, prefix, *life));
        });
    }

    /// Fills a new set beside the old one and puts it in its place. One that is left of a crash goes first: its form may be
    /// another one.
    fn make(&mut self, name: &str, form: &str, fill: impl FnOnce(&mut String, &str)) {
        let (new, text) = (format!("{name}{NEW}"), &mut self.text);
        if self.names.contains(&new) {
            _ = writeln!(text, "destroy {new}");
        }
        let create = |name: &str| format!("create {name} {form}\n");
        *text += &create(&new);
        fill(text, &new);
        if !self.names.iter().any(|there| there == name) {
            *text += &create(name);
        }
        _ = write!(text, "swap {new} {name}\ndestroy {new}\n");
    }

    /// Makes one element of the sets of denies as it is wanted, be it there or not.
    pub(super) fn set(&mut self, prefix: &Prefix, life: Life) {
        let name = denied(self.chain, if prefix.is_ipv4() { Family::V4 } else { Family::V6 });
        match life {
            Life::Over => _ = writeln!(self.text, "del {name} {prefix}"),
            life => add(&mut self.text, &name, prefix, life),
        }
    }
}

fn add(text: &mut String, name: &str, prefix: &Prefix, life: Life) {
    // 0 is for ever.
    let left = if let Life::Seconds(left) = life { left.min(TIMEOUT_MAX_S) } else { 0 };
    _ = writeln!(text, "add {name} {prefix} timeout {left}");
}

/// The name of a set of denies.
pub(super) fn denied(chain: &Chain, family: Family) -> String {
    format!("{chain}-deny{}", if family == Family::V4 { 4 } else { 6 })
}

/// The name of a set of what is allowed.
pub(super) fn allowed(chain: &Chain, family: Family) -> String {
    format!("{chain}-allow{}", if family == Family::V4 { 4 } else { 6 })
}

/// The name of a set of connections that stay open.
pub(super) fn kept(chain: &Chain, family: Family) -> String {
    format!("{chain}-keep{}", if family == Family::V4 { 4 } else { 6 })
}

/// All names that are ours.
pub(super) fn all(chain: &Chain) -> Vec<String> {
    let of = |family| [denied(chain, family), allowed(chain, family), kept(chain, family)];
    let names = [Family::V4, Family::V6].into_iter().flat_map(of);
    names.flat_map(|name| [format!("{name}{NEW}"), name]).collect()
}

/// How many elements a set has, by `ipset list -t`: `None` if it is not there, `Some(None)` if ipset does not say.
pub(super) fn count(heads: &str, name: &str) -> Option<Option<usize>> {
    let mut lines = heads.lines().skip_while(|line| line.strip_prefix("Name: ") != Some(name));
    lines.next()?;
    let mut lines = lines.take_while(|line| !line.starts_with("Name: "));
    Some(lines.find_map(|line| line.strip_prefix("Number of entries: ")?.parse().ok()))
}

/// The elements in what `ipset save` says, and the packets that each counted.
pub(super) fn counted(text: &str) -> impl Iterator<Item = (Prefix, u64)> {
    text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("add ")?.split(' ').skip(1);
        Some((words.next()?.parse().ok()?, words.skip_while(|word| *word != "packets").nth(1)?.parse().ok()?))
    })
}

/// The elements in what `ipset save` says of a set whose elements have no ends.
pub(super) fn named(text: &str) -> impl Iterator<Item = Prefix> {
    text.lines().filter_map(|line| line.strip_prefix("add ")?.split(' ').nth(1)?.parse().ok())
}

/// The elements in what `ipset save` says, and their ends.
pub(super) fn saved(text: &str, now: Timestamp) -> impl Iterator<Item = (Prefix, Option<Until>)> {
    text.lines().filter_map(move |line| {
        let mut words = line.strip_prefix("add ")?.split(' ').skip(1);
        let prefix = words.next()?.parse().ok()?;
        let left = words.skip_while(|word| *word != "timeout").nth(1)?.parse().ok()?;
        Some((prefix, Some((left > 0).then(|| now.after(Duration::from_secs(left))))))
    })
}

/// What the name of a set ends with that is to take the place of another one.
const NEW: &str = "-new";
/// The longest timeout that ipset takes, 24 days (`IPSET_MAX_TIMEOUT`, include/linux/netfilter/ipset/ip_set_timeout.h:
/// `(UINT_MAX >> 1) / MSEC_PER_SEC`).
pub(super) const TIMEOUT_MAX_S: u64 = 2_147_483;
/// The bound of a set of denies: none is refused for lack of room.
const DENIED_MAX: usize = 1 << 20;
const _: () = assert!(DENIES_MAX + 2 <= DENIED_MAX, "a /0 is two elements");
/// The least bound of a set of what is allowed.
const SIZE_MIN: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);

    #[test]
    fn elements_and_how_long_they_stay() {
        let check = |denied: &str, want: &str| {
            let chain = Chain::default();
            let mut script = Script::new(&chain, &[], false);
            wanted(&DenySet::sample(denied, ""), NOW).iter().for_each(|(prefix, life)| script.set(prefix, *life));
            assert_eq!(script.text.trim().replace('\n', "; "), want, "{denied}");
        };
        check("", "");
        check("192.0.2.1@160 192.0.2.2@100", "add denyd-deny4 192.0.2.1 timeout 60");
        check("2001:db8::/64@-", "add denyd-deny6 2001:db8::/64 timeout 0");
        // 24 days, 20 hours and some: a second below, at, and above
        check("192.0.2.1@2147582", "add denyd-deny4 192.0.2.1 timeout 2147482");
        check("192.0.2.1@2147583", "add denyd-deny4 192.0.2.1 timeout 2147483");
        check("192.0.2.1@2147584", "add denyd-deny4 192.0.2.1 timeout 2147483");
        // one inside another
        check(
            "192.0.2.0/24@160 192.0.2.1@170",
            "add denyd-deny4 192.0.2.0/24 timeout 60; add denyd-deny4 192.0.2.1 timeout 70",
        );
        // length 0
        check("0.0.0.0/0@160", "add denyd-deny4 0.0.0.0/1 timeout 60; add denyd-deny4 128.0.0.0/1 timeout 60");
        check(
            "0.0.0.0/0@160 128.0.0.0/1@-",
            "add denyd-deny4 0.0.0.0/1 timeout 60; add denyd-deny4 128.0.0.0/1 timeout 0",
        );
        check("::/0@-", "add denyd-deny6 ::/1 timeout 0; add denyd-deny6 8000::/1 timeout 0");
    }

    #[test]
    fn makes_sets_beside_the_old_ones() {
        let check = |names: &str, want: &str| {
            let (chain, names) = (Chain::default(), names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            let mut script = Script::new(&chain, &names, false);
            let given = DenySet::sample("192.0.2.1@160", "192.0.2.2-192.0.2.4 2001:db8::1");
            script.allow(Family::V4, &given);
            script.deny(Family::V4, wanted(&given, NOW).iter());
            assert_eq!(script.text, want, "{names:?}");
        };
        let (allow, deny) = ("hash:net family inet maxelem 65536", "hash:net family inet maxelem 1048576 timeout 0");
        let allowed = "add denyd-allow4-new 192.0.2.2/31\nadd denyd-allow4-new 192.0.2.4\n";
        check(
            "",
            &format!(
                "create denyd-allow4-new {allow}\n{allowed}create denyd-allow4 {allow}\n\
                 swap denyd-allow4-new denyd-allow4\ndestroy denyd-allow4-new\n\
                 create denyd-deny4-new {deny}\nadd denyd-deny4-new 192.0.2.1 timeout 60\ncreate denyd-deny4 {deny}\n\
                 swap denyd-deny4-new denyd-deny4\ndestroy denyd-deny4-new\n"
            ),
        );
        check(
            "denyd-allow4 denyd-allow4-new denyd-deny4 others",
            &format!(
                "destroy denyd-allow4-new\ncreate denyd-allow4-new {allow}\n{allowed}\
                 swap denyd-allow4-new denyd-allow4\ndestroy denyd-allow4-new\n\
                 create denyd-deny4-new {deny}\nadd denyd-deny4-new 192.0.2.1 timeout 60\n\
                 swap denyd-deny4-new denyd-deny4\ndestroy denyd-deny4-new\n"
            ),
        );
    }

    #[test]
    fn connections_that_stay_open() {
        let chain = Chain::default();
        let mut script = Script::new(&chain, &[], false);
        let kept = [("192.0.2.7".parse().unwrap(), 41), ("2001:db8::7".parse().unwrap(), 65_535)].into();
        let set = DenySet { kept, ..DenySet::default() };
        script.keep(Family::V6, &set);
        let form = "hash:ip,port family inet6 maxelem 65536";
        let want = format!(
            "create denyd-keep6-new {form}\nadd denyd-keep6-new 2001:db8::7,tcp:65535\ncreate denyd-keep6 {form}\n\
             swap denyd-keep6-new denyd-keep6\ndestroy denyd-keep6-new\n"
        );
        assert_eq!(script.text, want);
    }

    #[test]
    fn reads_what_ipset_lists() {
        let heads = "Name: a\nType: hash:net\nReferences: 0\nNumber of entries: 2\n\nName: ab\nType: hash:net\n";
        let check = |name: &str, want: Option<Option<usize>>| assert_eq!(count(heads, name), want, "{name}");
        check("a", Some(Some(2)));
        check("ab", Some(None));
        check("b", None);
        let text = "create s hash:net family inet timeout 0\nadd s 192.0.2.1 timeout 60\nadd s 192.0.2.0/24 timeout 0\n\
                    add s x timeout 1\nadd s 2001:db8::/64 timeout 7\nadd s 192.0.2.3\nadd s 192.0.2.2 timeo";
        let got: Vec<String> =
            saved(text, NOW).map(|(prefix, until)| format!("{prefix} {:?}", until.unwrap())).collect();
        let end = |second: i64| format!("{:?}", Some(Timestamp::from_secs(second)));
        let want =
            [format!("192.0.2.1 {}", end(160)), "192.0.2.0/24 None".to_owned(), format!("2001:db8::/64 {}", end(107))];
        assert_eq!(got, want);
        let text = "add s 192.0.2.1 timeout 60 packets 3 bytes 180\nadd s 192.0.2.2 timeout 60\n";
        assert_eq!(counted(text).collect::<Vec<_>>(), [("192.0.2.1".parse().unwrap(), 3)]);
    }
}
