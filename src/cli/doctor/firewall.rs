//! Whether what is denied is really refused, and what goes by the firewall.
//!
//! What the daemon says of itself is not believed here: rules and sets are read back. So it is also told while the daemon is
//! stopped.

use std::time::Duration;

use inputs::record::Timestamp;

use super::{Finding, Level};
use crate::cli::office::Office;
use crate::cli::output::count;
use crate::clock;
use crate::config::{Backends, Config};
use crate::decide::prefix::Prefix;
use crate::deny::hosts_deny::advice;
use crate::deny::nft::Lengths;
use crate::deny::{choose, ports, program};
use crate::desk::reply::{Address, Host, Status};
use crate::desk::{Filter, ROWS_MAX, Request, What};
use crate::text::printable;

/// A deny that ends sooner may be over when the kernel is asked.
const LASTS: Duration = Duration::from_secs(30);
/// How long a program may take to say what there is.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Names that are shown.
const NAMED: usize = 5;

/// All of it. Of a back end that fails the daemon has told already, and where nothing is enforced nothing is to be proved.
pub(super) fn findings(config: &Config, status: Option<&Status>, office: &mut Office<'_>) -> Vec<Finding> {
    let mut found: Vec<_> = in_front(&of_here(office)).into_iter().collect();
    found.extend(of_libwrap(config));
    found.extend(of_ports(config));
    let mut denied = || {
        let filter = Filter { limit: Some(ROWS_MAX), ..Filter::default() };
        office.ask::<Vec<Host>>(&Request::List { what: What::Hosts, filter }).unwrap_or_default()
    };
    let at_work: Option<Vec<&str>> = status.map(|status| status.backends.iter().map(|one| &*one.name).collect());
    let fails = status.is_some_and(|status| status.dry_run || status.backends.iter().any(|one| one.error.is_some()));
    let first = denied();
    if fails || status.is_none() && first.is_empty() {
        return found;
    }
    let mut proofs = proofs(config, at_work.as_deref(), &first);
    // The address may have been released meanwhile.
    if proofs.iter().any(|one| one.level == Level::Fail) {
        proofs = self::proofs(config, at_work.as_deref(), &denied());
    }
    found.extend(proofs);
    found.extend(beside());
    found
}

/// What the files that libwrap reads say otherwise than denyd.
fn of_libwrap(config: &Config) -> Vec<Finding> {
    let (deny, policy) = (&config.deny, config.policy());
    let look = |what: String| Finding::new(Level::Look, "libwrap", what);
    let mut found: Vec<_> = deny
        .refuses_nobody()
        .map(|what| Finding::new(Level::Fail, "hosts.deny", what.to_owned()))
        .into_iter()
        .collect();
    if matches!(&deny.backends, Backends::These(kinds) if kinds.iter().any(|kind| kind.name == "hosts.deny")) {
        found.extend(advice::of_list(&deny.hosts_deny).into_iter().map(look));
    }
    if deny.has_firewall() {
        let is_allowed = |prefix: &Prefix| policy.allow.covers(prefix);
        found.extend(advice::admitted(&deny.hosts_deny, is_allowed).into_iter().map(look));
    }
    found
}

/// Ports of sshd that are not closed to who is denied.
fn of_ports(config: &Config) -> Option<Finding> {
    let closed = config.deny.effect.ports.as_ref().filter(|_| config.deny.has_firewall())?;
    let open: Vec<String> = ports::told()?.iter().filter(|port| !closed.contains(port)).map(u16::to_string).collect();
    let what = || {
        format!(
            "sshd listens at port {}, which is open to who is denied: put it into `ports` of [deny] (of a denyhosts.conf: BLOCKPORT)",
            open.join(", ")
        )
    };
    (!open.is_empty()).then(|| Finding::new(Level::Fail, "ports", what()))
}

/// Whether what is denied is refused, as it is read back.
fn proofs(config: &Config, at_work: Option<&[&str]>, denied: &[Host]) -> Vec<Finding> {
    let now = clock::now();
    let finding = |(name, proof): (&str, Result<String, String>)| match proof {
        Ok(how) => Finding::new(Level::Note, name, how),
        Err(cause) if !nix::unistd::geteuid().is_root() => {
            let what = format!("cannot be asked whether it refuses anybody; run denyd doctor as root: {cause}");
            Finding::new(Level::Note, name, what)
        }
        Err(cause) => {
            let remedy = "a denyd that runs writes all of that anew within seconds: start it, systemctl start denyd; where the \
                          configuration was changed, denyd reload; else see the log for what changes it again";
            Finding::new(Level::Fail, name, format!("who is denied may get in: {cause}. {remedy}"))
        }
    };
    let policy = &config.decide.policy;
    let lengths = Lengths { v4: policy.ipv4_bits, v6: policy.ipv6_bits };
    choose::prove(&config.deny, lengths, at_work, newest(denied, now).as_ref(), now).into_iter().map(finding).collect()
}

/// Who failed from this machine itself.
fn of_here(office: &mut Office<'_>) -> Vec<Address> {
    let mut all = Vec::new();
    for net in ["127.0.0.0/8", "::1"] {
        let filter = Filter { within: net.parse().ok(), limit: Some(ROWS_MAX), ..Filter::default() };
        all.extend(office.ask::<Vec<Address>>(&Request::List { what: What::Addresses, filter }).unwrap_or_default());
    }
    all
}

/// The prefix that was denied last, and is for a while.
fn newest(denied: &[Host], now: Timestamp) -> Option<Prefix> {
    let lasts = |host: &&Host| host.enforced && host.until.is_none_or(|until| until.0 > now.after(LASTS));
    denied.iter().filter(lasts).max_by_key(|host| host.since.map(|at| at.0)).map(|host| host.prefix)
}

/// What goes by every rule of a firewall.
fn beside() -> Vec<Finding> {
    let ask = |name: &str, arguments: &[&str]| {
        let said = program::find(name)
            .and_then(|path| program::finish_within(TIME_MAX, program::start(&path, arguments).ok()?, b"").ok());
        said.filter(|said| said.status.success()).map(|said| String::from_utf8_lossy(&said.stdout).into_owned())
    };
    let ruleset = ask("nft", &["-t", "list", "ruleset"]).unwrap_or_default();
    let links = ask("ip", &["-o", "link", "show"]).unwrap_or_default();
    [of_flowtables(&ruleset), of_ingress(&ruleset), of_xdp(&links)].into_iter().flatten().collect()
}

fn note(what: String) -> Finding {
    Finding::new(Level::Note, "firewall", what)
}

/// Connections that the kernel forwards by itself (`nft(8)`, FLOWTABLES).
fn of_flowtables(ruleset: &str) -> Option<Finding> {
    let names: Vec<_> =
        named(ruleset.lines().filter_map(|line| line.trim().strip_prefix("flowtable ")?.strip_suffix(" {")));
    (!names.is_empty()).then(|| {
        note(format!(
            "connections in a flowtable ({}) go by all rules once they are open: what is forwarded for an address goes on when it is \
             denied, until it pauses; no new one begins",
            names.join(", ")
        ))
    })
}

/// Packets that are handed on before any rule of ours is asked.
fn of_ingress(ruleset: &str) -> Option<Finding> {
    let mut chain = "";
    let mut is_ingress = false;
    let mut names = Vec::new();
    for line in ruleset.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
            (chain, is_ingress) = (name, false);
        }
        is_ingress |= line.starts_with("type filter hook ingress ");
        if is_ingress && line.split(' ').any(|word| word == "fwd") {
            names.push(chain);
        }
    }
    names.dedup();
    let names = named(names.into_iter());
    (!names.is_empty()).then(|| {
        note(format!(
            "packets that a chain at hook ingress hands on (fwd in {}) never come to denyd's rules",
            names.join(", ")
        ))
    })
}

/// Interfaces with an XDP program (`ip-link(8)`): it may take packets before any firewall sees them.
fn of_xdp(links: &str) -> Option<Finding> {
    let has_program = |line: &&str| {
        line.split_whitespace().any(|word| word == "xdp" || word.starts_with("xdp") && word.contains("/id:"))
    };
    let names = links.lines().filter(has_program).filter_map(|line| line.split(": ").nth(1));
    let names = named(names);
    (!names.is_empty()).then(|| {
        note(format!(
            "an XDP program is on {}: what it redirects or hands to a program of its own (AF_XDP) no firewall sees",
            names.join(", ")
        ))
    })
}

/// The first names of others, for reading.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.take(NAMED).map(|name| printable(name.as_bytes())).collect()
}

/// Failures of this machine itself: whoever failed came by something in front of sshd.
fn in_front(addresses: &[Address]) -> Option<Finding> {
    let ours = addresses.iter().filter(|one| one.prefix.address().is_loopback());
    let failures: u64 = ours.flat_map(|one| one.counts.all()).map(u64::from).sum();
    (failures > 0).then(|| {
        let failures = count(failures, "failure comes", "failures come");
        let what = format!(
            "{failures} from this machine itself, which is never denied: something in front of sshd (sslh, haproxy, a tunnel, a \
             container's proxy) hides the addresses of those who try. Let it leave them as they are (sslh --transparent; for \
             docker \"userland-proxy\": false)"
        );
        Finding::new(Level::Look, "sshd", what)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_by_the_rules_is_named() {
        let check = |found: Option<Finding>, want: Option<&str>| {
            let what = found.map(|found| found.what).unwrap_or_default();
            assert!(want.map_or(what.is_empty(), |want| what.contains(want)), "{what}");
        };
        let table = "table inet f {\n\tflowtable ft {\n\t\thook ingress priority filter\n\t\tdevices = { eth0 }\n\t}\n\tchain a {\n\t\t\
                     type filter hook forward priority filter; policy accept;\n\t\tflow add @ft\n\t}\n}\n";
        check(of_flowtables(table), Some("a flowtable (ft)"));
        check(of_ingress(table), None);
        let ingress = "table netdev n {\n\tchain in {\n\t\ttype filter hook ingress device \"eth0\" priority 0; policy accept;\n\t\t\
                       ip saddr 192.0.2.1 fwd to \"eth1\"\n\t\tfwd to \"eth2\"\n\t}\n\tchain b {\n\t\tfwd to \"x\"\n\t}\n}\n";
        check(of_ingress(ingress), Some("(fwd in in)"));
        check(of_flowtables(ingress), None);
        let link = "2: eth0: <BROADCAST,UP> mtu 1500 xdpgeneric/id:7 qdisc noqueue state UP\n3: eth1: <UP> mtu 1500 qdisc xdpless\n";
        check(of_xdp(link), Some("is on eth0:"));
        check(of_xdp("4: eth2: <UP> mtu 1500 xdp/id:9 qdisc x\n"), Some("is on eth2:"));
        check(of_xdp("5: eth3: <UP> mtu 1500 qdisc x state UP\n"), None);
    }

    #[test]
    fn who_hides_behind_this_machine_is_named() {
        let check = |prefix: &str, failures: u32, want: Option<&str>| {
            let row = json!({"prefix": prefix, "invalid": failures, "valid": 1, "root": 0, "restricted": 0, "probe": 0,
                "successes": 0, "last": "2026-11-20T10:00:00Z", "denied": false});
            let found = in_front(&[serde_json::from_value(row).expect("a row")]).map(|found| found.what);
            let begins = |what: String| want.is_some_and(|want| what.starts_with(want));
            assert_eq!(found.clone().is_some_and(begins), want.is_some(), "{prefix}: {found:?}");
            assert_eq!(found.is_some(), want.is_some());
        };
        check("127.0.0.1", 2, Some("3 failures come from this machine itself"));
        check("::1", 0, Some("1 failure comes from this machine itself"));
        check("192.0.2.1", 2, None);
    }

    #[test]
    fn the_newest_deny_that_lasts_is_looked_for() {
        let row = |prefix: &str, since: &str, until: Option<&str>, enforced: bool| {
            let row = json!({"prefix": prefix, "since": since, "until": until, "class": null, "count": 0, "claimants": [],
                "times": 0, "hosts": [], "enforced": enforced});
            serde_json::from_value::<Host>(row).expect("a row")
        };
        let now = Timestamp::from_secs(1_795_304_306);
        let (old, new) = ("2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z");
        let rows = [
            row("192.0.2.1", old, None, true),
            row("192.0.2.2", new, Some("2036-11-21T10:00:00Z"), true),
            row("192.0.2.3", new, Some("2026-11-20T10:00:00Z"), true),
            row("192.0.2.4", new, None, false),
        ];
        assert_eq!(newest(&rows, now).map(|prefix| prefix.to_string()).as_deref(), Some("192.0.2.2"));
        assert_eq!(newest(&rows[2..], now), None);
    }
}
