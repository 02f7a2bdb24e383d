//! Reads back, for a person, whether what is denied is refused now: by `nft`, which is not the way that wrote it.

use std::time::Duration;

use inputs::record::Timestamp;

use super::plan::{Plan, Set, Step, USUAL, WIDE};
use super::script::{CHAIN, REFUSED};
use super::{Nft, Table, answer};
use crate::decide::prefix::Prefix;
use crate::deny::{DenyError, DenySet};

/// How long `nft` may take.
const WITHIN: Duration = Duration::from_secs(5);

impl Nft {
    /// How a packet is refused whose address is denied: each step of its way is read from the kernel. The error names the step
    /// that it does not take.
    pub fn prove(&self, denied: Option<&Prefix>, now: Timestamp) -> Result<String, DenyError> {
        let listing = self.ask(&["-t", "list", "ruleset", "inet"])?;
        let listing = String::from_utf8_lossy(&listing);
        let fault = |cause: String| self.failed(format!("refuse anybody by table inet {}", self.table), cause, None);
        let packets = refuses(&self.table, &listing).map_err(fault)?;
        let mut of_set = String::new();
        if let Some(prefix) = denied {
            let (set, address) = self.element(prefix, now);
            let name = set.name;
            let element = format!("{{ {address} }}");
            let asked = self.ask(&["get", "element", "inet", &self.table.0, name, &element]);
            asked.map_err(|error| match error.cause.contains("No such file") {
                true => fault(format!("set {name} does not hold {address}, and {prefix} is denied")),
                false => error,
            })?;
            of_set = format!(", where set {name} holds {prefix}");
        }
        let counted = if packets == 1 { "1 packet".to_owned() } else { format!("{packets} packets") };
        Ok(format!(
            "what is denied comes to chain {CHAIN} of table inet {} before all others{of_set}, and is refused there: {counted} since \
             the table was written",
            self.table
        ))
    }

    /// What `nft` says to a person who waits.
    fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, DenyError> {
        let said = self.run_within(WITHIN, "look at", arguments, "")?;
        let slow = || format!("nft took more than {} s", WITHIN.as_secs());
        said.ok_or_else(|| self.failed(self.tried("look at"), slow(), None))
    }

    /// The set that is to hold a denied prefix, and an address by which it does.
    fn element(&self, prefix: &Prefix, now: Timestamp) -> (Set, String) {
        let want = DenySet { denied: [(*prefix, None)].into(), ..DenySet::default() };
        let steps = Plan { usual: self.usual, want: &want, now }.all();
        let set = steps.iter().find_map(|step| match step {
            Step::Add(set, elements) if !elements.is_empty() => Some(*set),
            _ => None,
        });
        let wide = WIDE[usize::from(!prefix.is_ipv4())];
        (set.unwrap_or(wide), prefix.address().to_string())
    }
}

/// How many packets our table refused, in a listing of all of family inet; an error is what keeps it from refusing one.
fn refuses(table: &Table, listing: &str) -> Result<u64, String> {
    let ours = answer::table(table, listing).ok_or("the table is gone")?;
    if answer::is_dormant(&ours) {
        return Err("the table is dormant".to_owned());
    }
    let chain = |name: &str| answer::chain(&ours, name).ok_or_else(|| format!("chain {name} is gone"));
    let (who, what) = (chain(CHAIN)?, chain(REFUSED)?);
    let (hook, who) = who.split_first().ok_or("chain prerouting is empty")?;
    let is_hook =
        ["raw", "-300"].iter().any(|at| hook.contains(&format!("type filter hook prerouting priority {at};")));
    if !is_hook {
        return Err(format!("chain {CHAIN} is not asked: it has no hook, or another one"));
    }
    for set in USUAL.into_iter().chain(WIDE) {
        let leads = format!("@{} goto {REFUSED}", set.name);
        let Some(at) = who.iter().position(|rule| rule.ends_with(&leads)) else {
            return Err(format!("no rule leads from set {} to chain {REFUSED}", set.name));
        };
        if let Some(rule) = who[..at].iter().find(|rule| !is_ours(rule)) {
            return Err(format!("a rule that is not ours comes first: {}", shorten(rule)));
        }
    }
    if let Some(rule) = what.iter().find(|rule| !rule.contains("dport") && rule.ends_with("accept")) {
        return Err(format!("chain {REFUSED} lets pass what it is to refuse: {}", shorten(rule)));
    }
    let refusing: Vec<_> =
        what.iter().filter(|rule| rule.split(' ').any(|word| ["drop", "reject"].contains(&word))).collect();
    if what.last() != refusing.last().copied() || refusing.is_empty() {
        return Err(format!("chain {REFUSED} does not end with drop or reject"));
    }
    let packets = |rule: &&&str| rule.split_once("counter packets ")?.1.split(' ').next()?.parse::<u64>().ok();
    Ok(refusing.iter().filter_map(packets).sum())
}

/// Whether a rule is one of those that come before the denies, or is such a one.
fn is_ours(rule: &str) -> bool {
    let begins = ["iif \"lo\" accept", "icmpv6 type { nd-", "meta l4proto != ", "tcp dport != "];
    let sets = ["@allow4 accept", "@allow6 accept", "@keep4 tcp flags ", "@keep6 tcp flags "];
    begins.iter().any(|begin| rule.starts_with(begin))
        || sets.iter().any(|set| rule.contains(set))
        || rule.ends_with(&format!("goto {REFUSED}"))
}

/// The beginning of what somebody else may have written.
fn shorten(rule: &str) -> String {
    rule.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 lists our table.
    const LISTED: &str = "table inet other {
}
table inet denyd {
	set deny4 {
		type ipv4_addr
		flags timeout
	}

	chain refused {
		ip saddr 192.0.2.1 udp dport 514 accept
		tcp flags syn / fin,syn,rst,ack counter packets 3 bytes 180
		counter packets 5 bytes 300 drop
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif \"lo\" accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip saddr @allow4 accept
		ip6 saddr @allow6 accept
		ip saddr . tcp sport @keep4 tcp flags != syn / fin,syn,rst,ack accept
		ip6 saddr . tcp sport @keep6 tcp flags != syn / fin,syn,rst,ack accept
		ip saddr @deny4 goto refused
		ip6 saddr & ffff:ffff:ffff:ffff:: == @deny6 goto refused
		ip saddr @wide4 goto refused
		ip6 saddr @wide6 goto refused
	}
}
";

    #[test]
    fn each_step_of_the_way_is_seen() {
        let check = |from: &str, to: &str, want: Result<u64, &str>| {
            assert!(LISTED.contains(from), "{from}");
            let got = refuses(&Table::default(), &LISTED.replacen(from, to, 1));
            assert_eq!(got, want.map_err(str::to_owned), "{from:?} {to:?}");
        };
        check("", "", Ok(5));
        check("priority raw", "priority -300", Ok(5));
        check("denyd {", "denyd {\n\tflags dormant\n", Err("the table is dormant"));
        check("table inet denyd", "table inet denied", Err("the table is gone"));
        check("chain refused {", "chain refused2 {", Err("chain refused is gone"));
        check(
            "hook prerouting priority raw",
            "hook input priority raw",
            Err("chain prerouting is not asked: it has no hook, or another one"),
        );
        check(
            "type filter hook prerouting priority raw; policy accept;\n",
            "",
            Err("chain prerouting is not asked: it has no hook, or another one"),
        );
        check("\t\tip saddr @deny4 goto refused\n", "", Err("no rule leads from set deny4 to chain refused"));
        check("@wide6 goto refused", "@wide6 accept", Err("no rule leads from set wide6 to chain refused"));
        check("iif \"lo\" accept", "accept", Err("a rule that is not ours comes first: accept"));
        check(
            "ip saddr @deny4",
            "tcp dport 22 accept\n\t\tip saddr @deny4",
            Err("a rule that is not ours comes first: tcp dport 22 accept"),
        );
        check(
            "counter packets 5 bytes 300 drop",
            "counter packets 5 bytes 300",
            Err("chain refused does not end with drop or reject"),
        );
        check(
            "counter packets 5",
            "accept\n\t\tcounter packets 5",
            Err("chain refused lets pass what it is to refuse: accept"),
        );
        check("300 drop", "300 reject with tcp reset", Ok(5));
    }
}
