//! What `nft` says.

use super::Table;
use super::plan::SETS;
use super::script::Chain;

/// What is wrong with our table in a listing of all of family inet, if anything, where it is to have these chains.
pub(super) fn fault(table: &Table, chains: &[Chain], listing: &str) -> Option<String> {
    let Some(ours) = self::table(table, listing) else { return Some("the table is gone".to_owned()) };
    if is_dormant(&ours) {
        return Some("the table is dormant".to_owned());
    }
    if let Some(set) = SETS.iter().find(|set| !ours.contains(&format!("set {} {{", set.name).as_str())) {
        return Some(format!("set {} is gone", set.name));
    }
    chains.iter().find_map(|Chain { name, hook, rules }| {
        let Some(lines) = chain(&ours, name) else { return Some(format!("chain {name} is gone")) };
        // nft spells the hook in another way
        let hooks = usize::from(!hook.is_empty());
        let (there, wanted) = (lines.len(), rules.len() + hooks);
        (there != wanted).then(|| super::found::another_count(name, there.saturating_sub(hooks), rules.len()))
    })
}

/// The lines of our table in a listing.
pub(super) fn table<'a>(table: &Table, listing: &'a str) -> Option<Vec<&'a str>> {
    let head = format!("table inet {table} {{");
    let mut lines = listing.lines().skip_while(|line| *line != head);
    lines.next()?;
    Some(lines.take_while(|line| *line != "}").map(str::trim).collect())
}

/// Whether these lines of a table say that it is asked by nobody (`nft(8)`, TABLES).
pub(super) fn is_dormant(ours: &[&str]) -> bool {
    ours.first().is_some_and(|line| line.starts_with("flags ") && line.contains("dormant"))
}

/// The lines of a chain among those of a table: its hook, if it has one, and its rules.
pub(super) fn chain<'a>(ours: &[&'a str], name: &str) -> Option<Vec<&'a str>> {
    let head = format!("chain {name} {{");
    let mut lines = ours.iter().skip_while(|line| **line != head);
    lines.next()?;
    Some(lines.take_while(|line| **line != "}").copied().collect())
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

/// Characters of nft's complaint that go into an error.
const COMPLAINT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_nobody_asks_is_seen() {
        let check = |head: &str, want: &str| {
            let listing = format!("table inet denyd {{\n{head}\tset allow4 {{\n\t\tflags interval\n\t}}\n}}\n");
            assert_eq!(fault(&Table::default(), &[], &listing).as_deref(), Some(want), "{head}");
        };
        check("\tflags dormant\n\n", "the table is dormant");
        check("\tflags owner,dormant\n\n", "the table is dormant");
        check("", "set keep4 is gone");
        check("\tflags owner\n\n", "set keep4 is gone");
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
