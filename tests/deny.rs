//! The back ends against the real thing: a kernel, real connections, and libwrap.
//!
//! Tests that need a network run themselves once more in a machine of their own, with a wire to a client; nothing
//! outside it is changed. They need root, `ip`, `nft`, `iptables`, `ipset` and `tcpdmatch`.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use denyd::decide::prefix::Prefix;
use denyd::decide::range::Range;
use denyd::deny::choose::{self, Backends, Kind, Means, Settings};
use denyd::deny::hosts_deny::{self, Form, HostsDeny, Service};
use denyd::deny::iptables::Iptables;
use denyd::deny::ledger::{Lines, Notes};
use denyd::deny::nft::{Lengths, Nft};
use denyd::deny::reconciler::{Pace, Reconcilers, Status};
use denyd::deny::{DenyBackend, DenyError, DenySet, Diff, Probe};
use inputs::record::Timestamp;
use kit::{Random, program, skip};
use tokio::time::Instant;

const CONNECTOR: &str = "DENYD_TEST_CONNECTOR";
const PORT: u16 = 7777;
const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

// ---- nftables

#[test]
fn denies_hosts() {
    in_namespace("denies_hosts", async |world| {
        let mut nft = world.nft();
        world.is("192.0.2.10 open, 192.0.2.11 open, 2001:db8:66::1 open, 2001:db8:66:1::1 open").await;
        nft.replace(&set("192.0.2.10 2001:db8:66::/64", "2001:db8:66::7"), NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8:66::1 silent, 2001:db8:66:1::1 open").await;
        world.is("2001:db8:66::7 open, 2001:db8:66::8 silent").await;
        // release and a new one in one update
        let want = set("192.0.2.11 2001:db8:66::/64", "2001:db8:66::8");
        let mut diff = diff(&want, "192.0.2.11", "192.0.2.10 203.0.113.1");
        diff.allowed = Some(want.allowed.clone());
        nft.update(&diff, &want, NOW).unwrap();
        world.is("192.0.2.10 open, 192.0.2.11 silent, 2001:db8:66::7 silent, 2001:db8:66::8 open").await;
        nft.remove().unwrap();
        world.is("192.0.2.11 open, 2001:db8:66::7 open").await;
        nft.remove().unwrap();
    });
}

#[test]
fn denies_end_by_themselves_and_are_extended() {
    in_namespace("denies_end_by_themselves_and_are_extended", async |world| {
        let mut nft = world.nft();
        let mut want = DenySet::default();
        for short in ["192.0.2.10", "192.0.2.11", "198.51.100.0/24"] {
            want.denied.insert(short.parse().unwrap(), Some(NOW.after(Duration::from_millis(1500))));
        }
        want.denied.insert("192.0.2.12".parse().unwrap(), Some(NOW)); // has ended
        want.denied.insert("192.0.2.13".parse().unwrap(), Some(NOW.after(Duration::from_secs(100 * 365 * 86400))));
        nft.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.12 open, 192.0.2.13 silent, 198.51.100.1 silent").await;
        want.denied.insert("192.0.2.11".parse().unwrap(), Some(NOW.after(Duration::from_secs(60))));
        nft.update(&diff(&want, "192.0.2.11", ""), &want, NOW).unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        while world.connect("192.0.2.10").await != "open" {
            assert!(Instant::now() < end, "the timeout did not let it in");
        }
        world.is("192.0.2.11 silent, 192.0.2.13 silent, 198.51.100.1 open").await;
    });
}

#[test]
fn denies_wide_prefixes() {
    in_namespace("denies_wide_prefixes", async |world| {
        let mut nft = world.nft();
        let mut want = set("198.51.100.0/24 2001:db8:66::/48 2001:db8::10", "198.51.100.9 2001:db8:66:5::/64");
        want.denied.insert("198.51.100.128/25".parse().unwrap(), Some(NOW.after(Duration::from_secs(3600))));
        nft.replace(&want, NOW).unwrap();
        world.is("198.51.100.1 silent, 198.51.100.9 open, 198.51.100.200 silent, 192.0.2.10 open").await;
        world.is("2001:db8:66:4::1 silent, 2001:db8:66:5::1 open, 2001:db8::10 silent, 2001:db8::11 open").await;
        // the wider one ends: the narrower one is still there
        want.denied.remove(&"198.51.100.0/24".parse().unwrap());
        nft.update(&diff(&want, "", "198.51.100.0/24"), &want, NOW).unwrap();
        world.is("198.51.100.1 open, 198.51.100.200 silent, 2001:db8:66:4::1 silent").await;
        // other lengths in the hash sets; neighbour discovery goes on when all of IPv6's neighbours are denied
        let mut nft = Nft::new("denyd_t".parse().unwrap(), Lengths { v4: 24, v6: 128 });
        nft.replace(&set("198.51.100.0/24 2001:db8::10 fe80::/10 192.0.2.10", ""), NOW).unwrap();
        world.run("ip", &["neigh", "flush", "all"]);
        world
            .is("198.51.100.200 silent, 2001:db8::10 silent, 2001:db8::11 open, 192.0.2.10 silent, 192.0.2.11 open")
            .await;
        // everything but what is allowed, loopback among it
        nft.replace(&set("0.0.0.0/0 ::/0", "192.0.2.11 2001:db8::11"), NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8::10 silent, 2001:db8::11 open").await;
        for loopback in ["127.0.0.1", "::1", "192.0.2.1"] {
            let to = SocketAddr::new(loopback.parse().unwrap(), PORT);
            tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(to)).await.unwrap().unwrap();
        }
        nft.replace(&set("192.0.2.10", "0.0.0.0/0 ::/0"), NOW).unwrap();
        world.is("192.0.2.10 open").await;
    });
}

#[test]
fn replaces_a_large_set_without_a_gap() {
    in_namespace("replaces_a_large_set_without_a_gap", async |world| {
        let mut nft = world.nft();
        let mut want = set("192.0.2.10", "192.0.2.11");
        for n in 0..100_000_u32 {
            let until = Some(NOW.after(Duration::from_secs(86400 + u64::from(n))));
            want.denied.insert(Prefix::host(IpAddr::V4((0x0a00_0000 + n).into())), until);
        }
        let time = async |what: &str, most: u64, started: Instant| {
            let took = started.elapsed();
            println!("{what}: {} ms", took.as_millis());
            assert!(took < Duration::from_secs(most), "{what}");
        };
        let started = Instant::now();
        nft.replace(&want, NOW).unwrap();
        time("replace 100 001", 10, started).await;
        world.is("192.0.2.10 silent, 192.0.2.11 open").await;
        let started = Instant::now();
        nft.probe(&want, NOW).unwrap();
        time("probe, nothing changed", 1, started).await;
        let started = Instant::now();
        want.denied.insert("192.0.2.12".parse().unwrap(), None);
        nft.update(&diff(&want, "192.0.2.12", ""), &want, NOW).unwrap();
        time("update by one", 2, started).await;
        world.run("nft", &["add", "table", "inet", "other"]);
        let started = Instant::now();
        nft.probe(&want, NOW).unwrap();
        time("probe after a change of others", 2, started).await;
        // While the set is replaced again and again nobody denied gets through, and no rule drops the
        // allowed. (Some of their packets are lost all the same on a busy machine, also while a
        // table without any rule is replaced; so it is the rules' counters that are asked.)
        for _ in 0..6 {
            let hammer = tokio::spawn(world.hammer("192.0.2.10"));
            nft.replace(&want, NOW).unwrap();
            let (open, _) = hammer.await.unwrap();
            assert_eq!(open, 0, "a denied one got through");
            let hammer = tokio::spawn(world.hammer("192.0.2.11"));
            nft.replace(&want, NOW).unwrap();
            let (open, _) = hammer.await.unwrap();
            assert!(open > 0);
            let listing = world.run("nft", &["-t", "list", "ruleset", "inet"]);
            let counters = listing.lines().filter(|line| line.ends_with(" drop"));
            assert!(
                counters.clone().count() == 4 && counters.clone().all(|rule| rule.contains("packets 0 ")),
                "{listing}"
            );
        }
    });
}

#[test]
fn notices_what_others_do() {
    in_namespace("notices_what_others_do", async |world| {
        let want = set("192.0.2.10 198.51.100.0/24", "192.0.2.11");
        let other =
            "table inet other { set s { type ipv4_addr; elements = { 192.0.2.99 }; }; chain c { ip saddr @s drop; }; }";
        world.run("nft", &[other]);
        let listed = world.run("nft", &["list", "table", "inet", "other"]);
        // what was done, and what it is taken for by the program alone, and by who listens
        let spoil = [
            ("delete table inet denyd_t", "the table is gone", "the table is gone, by nft"),
            ("flush table inet denyd_t", "0 rules where there were 8", "0 rules where there were 8, by nft"),
            (
                "insert rule inet denyd_t prerouting accept",
                "9 rules where there were 8",
                "9 rules where there were 8, by nft",
            ),
            ("delete chain inet denyd_t prerouting", "the chain is gone", "the chain is gone, by nft"),
            (
                "flush table inet denyd_t; delete set inet denyd_t deny4",
                "set deny4 is gone",
                "set deny4 is gone, by nft",
            ),
        ];
        for (listens, mut nft) in [(false, world.nft().without_netlink()), (true, world.nft())] {
            if !listens {
                nft.probe(&want, NOW).unwrap_err();
            }
            nft.replace(&want, NOW).unwrap();
            nft.probe(&want, NOW).unwrap();
            for (command, cause, heard) in spoil {
                world.run("nft", &[command]);
                let Err(error) = nft.probe(&want, NOW) else { panic!("not noticed: {command}") };
                assert_eq!(error.cause, if listens { heard } else { cause }, "{command}");
                // an update on top of it fails, or mends nothing: the probe goes on to see it
                _ = nft.update(&diff(&want, "192.0.2.10", ""), &want, NOW);
                assert!(nft.probe(&want, NOW).is_err(), "{command}");
                nft.replace(&want, NOW).unwrap();
                nft.probe(&want, NOW).unwrap();
                world.is("192.0.2.10 silent").await;
            }
            assert_eq!(world.run("nft", &["list", "table", "inet", "other"]), listed, "a table of someone else");
        }
        let mut nft = world.nft();
        nft.replace(&want, NOW).unwrap();
        world.run("nft", &["flush", "ruleset"]);
        assert_eq!(nft.probe(&want, NOW).unwrap_err().cause, "the table is gone, by nft");
        world.is("192.0.2.10 open").await;
        nft.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 198.51.100.3 silent, 192.0.2.11 open").await;
        nft.remove().unwrap();
        let error = nft.update(&diff(&want, "192.0.2.10", ""), &want, NOW).unwrap_err();
        assert_eq!(error.to_string(), "nftables: cannot update table inet denyd_t: No such file or directory");
    });
}

/// Each thing that somebody may do to our table is heard, named, and mended by what it changed.
#[test]
fn mends_what_others_change() {
    in_namespace("mends_what_others_change", async |world| {
        let mut want = set("192.0.2.10 192.0.2.12 2001:db8:66::/64 198.51.100.0/24", "192.0.2.11 2001:db8::11");
        want.denied.insert("192.0.2.13".parse().unwrap(), Some(NOW.after(Duration::from_secs(3600))));
        let mut nft = world.nft();
        nft.replace(&want, NOW).unwrap();
        let state =
            || ["allow4", "allow6", "deny4", "deny6", "wide4", "wide6"].map(|set| world.elements("denyd_t", set));
        let whole = state();
        let ours = |nft: &mut Nft| nft.probe(&want, NOW).unwrap() == Probe::Ours;
        assert!(ours(&mut nft));
        let table = world.run("nft", &["-a", "-t", "list", "table", "inet", "denyd_t"]);
        let check = |nft: &mut Nft, command: &str, told: &str, gone: usize| {
            world.run("nft", &[command]);
            let Ok(Probe::Changed { what, missing }) = nft.probe(&want, NOW) else { panic!("not noticed: {command}") };
            assert_eq!((&*what, missing), (&*format!("elements of table inet denyd_t: {told}"), gone), "{command}");
            nft.mend(&want, NOW).unwrap();
            assert!(ours(nft), "what we mend ourselves is no news: {command}");
            assert_eq!(state(), whole, "{command}");
        };
        check(&mut nft, "delete element inet denyd_t deny4 { 192.0.2.10 }", "1 of deny4, by nft", 1);
        check(&mut nft, "add element inet denyd_t deny4 { 192.0.2.99, 192.0.2.98 }", "2 of deny4, by nft", 0);
        check(&mut nft, "add element inet denyd_t deny6 { 2001:db8:7::7 }", "1 of deny6, by nft", 0);
        check(&mut nft, "flush set inet denyd_t deny4", "3 of deny4, by nft", 3);
        check(&mut nft, "flush set inet denyd_t wide4", "wide4, by nft", 0);
        check(&mut nft, "add element inet denyd_t allow4 { 192.0.2.10 }", "allow4, by nft", 0);
        let shorter = "delete element inet denyd_t deny4 { 192.0.2.13 }; \
            add element inet denyd_t deny4 { 192.0.2.13 timeout 5s }";
        check(&mut nft, shorter, "1 of deny4, by nft", 1);
        let after = world.run("nft", &["-a", "-t", "list", "table", "inet", "denyd_t"]);
        assert_eq!(after, table, "the table itself was not made anew");
        // what spoils the table itself
        let check = |nft: &mut Nft, command: &str, cause: &str| {
            world.run("nft", &[command]);
            let Err(error) = nft.probe(&want, NOW) else { panic!("not noticed: {command}") };
            assert_eq!(error.cause, format!("{cause}, by nft"), "{command}");
            nft.replace(&want, NOW).unwrap();
            assert!(ours(nft));
            assert_eq!(state(), whole, "{command}");
        };
        check(&mut nft, "add table inet denyd_t { flags dormant; }", "the table is dormant");
        check(&mut nft, "chain inet denyd_t prerouting { policy drop; }", "the chain is another one");
        let handle = world.run("nft", &["-a", "list", "chain", "inet", "denyd_t", "prerouting"]);
        let last = handle.lines().find(|line| line.contains("@deny4")).unwrap().rsplit(' ').next().unwrap().to_owned();
        let same = format!("replace rule inet denyd_t prerouting handle {last} ip saddr 192.0.2.77 counter drop");
        check(&mut nft, &same, "a rule is another one");
        // the same table, put back from a file: its elements may be any
        let saved = world.run("nft", &["list", "table", "inet", "denyd_t"]);
        check(&mut nft, &format!("delete table inet denyd_t; {saved}"), "the table is another one");
        // what others do elsewhere, and ours over netlink, is none of it
        world.run("nft", &["add table inet other { set s { type ipv4_addr; elements = { 192.0.2.99 }; }; }"]);
        assert!(ours(&mut nft));
        want.denied.insert("192.0.2.14".parse().unwrap(), None);
        nft.update(&diff(&want, "192.0.2.14", ""), &want, NOW).unwrap();
        assert_eq!(nft.probe(&want, NOW).unwrap(), Probe::Ours);
        world.is("192.0.2.14 silent, 192.0.2.11 open, 2001:db8::11 open").await;
    });
}

/// More news than the kernel keeps for us: what was not heard is read.
#[test]
fn what_was_not_heard_is_read() {
    in_namespace("what_was_not_heard_is_read", async |world| {
        let mut want = set("192.0.2.10", "192.0.2.11");
        for n in 0..20_000_u32 {
            let until = Some(NOW.after(Duration::from_secs(86400 + u64::from(n))));
            want.denied.insert(Prefix::host(IpAddr::V4((0x0a00_0000 + n).into())), until);
        }
        let mut nft = world.nft();
        nft.replace(&want, NOW).unwrap();
        let noise = || {
            let all: Vec<_> = (0..60_000_u32).map(|n| std::net::Ipv4Addr::from(0x0b00_0000 + n).to_string()).collect();
            let script = format!(
                "add table inet other\nadd set inet other s {{ type ipv4_addr; }}\nadd element inet other s {{ {} }}\nflush set \
                 inet other s\n",
                all.join(", ")
            );
            let dir = Dir::new();
            std::fs::write(dir.0.join("script"), script).unwrap();
            world.run("nft", &["-f", dir.0.join("script").to_str().unwrap()]);
        };
        noise();
        world.run("nft", &["delete element inet denyd_t deny4 { 192.0.2.10, 10.0.0.7 }"]);
        let Ok(Probe::Changed { what, missing }) = nft.probe(&want, NOW) else { panic!("not noticed") };
        assert!(what.starts_with("elements of table inet denyd_t: 2 of deny4") && missing == 2, "{what}, {missing}");
        nft.mend(&want, NOW).unwrap();
        assert_eq!(nft.probe(&want, NOW).unwrap(), Probe::Ours);
        world.is("192.0.2.10 silent").await;
        // too much to be mended one by one
        world.run("nft", &["flush set inet denyd_t deny4"]);
        assert_eq!(nft.probe(&want, NOW).unwrap_err().cause, "20001 elements are not as they were, by nft");
        nft.replace(&want, NOW).unwrap();
        assert_eq!(nft.probe(&want, NOW).unwrap(), Probe::Ours);
    });
}

/// A program that says that it did what it did not.
#[test]
fn a_lying_nft_is_seen() {
    in_namespace("a_lying_nft_is_seen", async |world| {
        let mut nft = world.nft().with_binary("/bin/true".into());
        let error = nft.replace(&set("192.0.2.10", ""), NOW).unwrap_err();
        assert_eq!(error.cause, "the table is gone");
    });
}

/// What the configuration takes for a table's name, nft takes too; but for the words of its language, which it names.
#[test]
fn takes_every_table_name_that_can_be_configured() {
    in_namespace("takes_every_table_name_that_can_be_configured", async |world| {
        for name in ["My-Table", "_x", "x-1", "a--", "Z", &"a".repeat(64)] {
            let mut nft = Nft::new(name.parse().unwrap(), Lengths::default());
            nft.usable().unwrap();
            nft.replace(&set("192.0.2.10 2001:db8::10", ""), NOW).unwrap();
            world.is("192.0.2.10 silent, 192.0.2.11 open").await;
            nft.update(&diff(&set("", ""), "", "192.0.2.10"), &set("2001:db8::10", ""), NOW).unwrap();
            world.is("192.0.2.10 open").await;
            nft.remove().unwrap();
        }
        let error = Nft::new("set".parse().unwrap(), Lengths::default()).usable().unwrap_err();
        assert!(error.to_string().starts_with("nftables: cannot make table inet set: "), "{error}");
        assert!(error.to_string().ends_with("choose another `table` in [deny.nftables])"), "{error}");
    });
}

/// After any updates the kernel holds what one `replace` would have written.
#[test]
fn updates_lead_where_replace_does() {
    in_namespace("updates_lead_where_replace_does", async |world| {
        let mut random = Random::new();
        let of = |table: &str| Nft::new(table.parse().unwrap(), Lengths::default());
        let (mut fresh, mut by_program) = (of("denyd_fresh"), of("denyd_p").without_netlink());
        let mut want = DenySet::default();
        world.nft().replace(&want, NOW).unwrap();
        by_program.replace(&want, NOW).unwrap();
        // an update needs no program
        let mut nft = world.nft().with_binary("/nonexistent/nft".into());
        let mut compared = 0;
        for step in 0..60 {
            let mut diff = Diff::default();
            for _ in 0..random.below(6) {
                let prefix = match random.below(2) {
                    0 => Prefix::of(
                        IpAddr::V4((0xc000_0200 + random.below(16) as u32).into()),
                        26 + random.below(7) as u8,
                    ),
                    _ => Prefix::of(
                        IpAddr::V6((0x2001_0db8 << 96 | u128::from(random.below(8_u64)) << 63).into()),
                        60 + random.below(6) as u8,
                    ),
                };
                let until = NOW.after(Duration::from_secs(random.below(4) * 100_000));
                let until = (random.below(5) > 0).then_some(until);
                diff.denies.insert(prefix, (random.below(3) > 0).then_some(until));
            }
            if random.below(4) == 0 {
                diff.allowed =
                    Some(set("", ["192.0.2.4", "192.0.2.0/29 2001:db8::1"][random.below(2) as usize]).allowed);
            }
            want.apply(&diff);
            nft.update(&diff, &want, NOW).unwrap();
            by_program.update(&diff, &want, NOW).unwrap();
            by_program.probe(&want, NOW).unwrap();
            if step % 5 > 0 {
                continue;
            }
            fresh.replace(&want, NOW).unwrap();
            for name in ["allow4", "allow6", "deny4", "deny6", "wide4", "wide6"] {
                let elements = world.elements("denyd_t", name);
                compared += elements.len();
                assert_eq!(elements, world.elements("denyd_fresh", name), "{name}");
                assert_eq!(elements, world.elements("denyd_p", name), "{name}, by the program alone");
            }
        }
        assert!(compared > 20, "too little to compare: {compared} elements");
    });
}

/// More changes at once than a transaction has, and allowed ranges that are more than netlink takes.
#[test]
fn updates_of_any_size() {
    in_namespace("updates_of_any_size", async |world| {
        let mut nft = world.nft();
        let mut want = DenySet::default();
        nft.replace(&want, NOW).unwrap();
        let host = |n: u32| Prefix::host(IpAddr::V4((0x0a00_0000 + n).into()));
        let mut diff = Diff { denies: (0..16_000).map(|n| (host(n), Some(None))).collect(), allowed: None };
        diff.denies.insert("192.0.2.10".parse().unwrap(), Some(None));
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        let count = || world.run("nft", &["list", "set", "inet", "denyd_t", "deny4"]).matches(['.']).count() / 3;
        assert_eq!(count(), 16_001);
        let range = |n: u32| Range::from(host(0x10_0000 + 2 * n));
        let diff = Diff { allowed: Some((0..20_000).map(range).collect()), ..Diff::default() };
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        assert_eq!(world.run("nft", &["list", "set", "inet", "denyd_t", "allow4"]).matches(['.']).count() / 3, 20_000);
        assert_eq!(count(), 16_001);
        let diff =
            Diff { denies: want.denied.keys().map(|prefix| (*prefix, None)).collect(), allowed: Some(Vec::new()) };
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        assert_eq!(count(), 0);
        world.is("192.0.2.10 open").await;
    });
}

/// Not a test but a measurement, printed: `cargo test --test deny measures -- --ignored --nocapture`.
#[test]
#[ignore = "it takes a minute, and what it finds depends on the machine"]
fn measures() {
    in_namespace("measures", async |world| {
        let mut want = set("", "192.0.2.11");
        for n in 0..50_000_u32 {
            let until = Some(NOW.after(Duration::from_secs(86400 + u64::from(n))));
            want.denied.insert(Prefix::host(IpAddr::V4((0x0a00_0000 + n).into())), until);
            want.denied.insert(Prefix::of(IpAddr::V6((0x2001_0db9 << 96 | u128::from(n) << 64).into()), 64), until);
        }
        let by_program = || world.nft().without_netlink();
        for (way, mut nft) in [("by nft alone", by_program()), ("over netlink", world.nft())] {
            let started = Instant::now();
            nft.replace(&want, NOW).unwrap();
            println!("{way}: 100 000 denies, half of them IPv6, from nothing: {} ms", started.elapsed().as_millis());
        }
        for foreign in [false, true] {
            if foreign {
                let elements: Vec<_> =
                    (0..100_000_u32).map(|n| std::net::Ipv4Addr::from(0x0b00_0000 + 2 * n).to_string()).collect();
                let script = format!(
                    "table inet other {{ set s {{ type ipv4_addr; flags interval; }}; }}\nadd element inet other s {{ {} }}\n",
                    elements.join(", ")
                );
                let dir = Dir::new();
                std::fs::write(dir.0.join("script"), script).unwrap();
                world.run("nft", &["-f", dir.0.join("script").to_str().unwrap()]);
            }
            for (way, mut nft, tries) in [("by nft alone", by_program(), 20), ("over netlink", world.nft(), 1000)] {
                let mut took = Vec::new();
                for n in 0..tries {
                    let prefix = Prefix::host(IpAddr::V4((0xc612_0000 + n).into()));
                    let diff = Diff {
                        denies: [(prefix, Some(Some(NOW.after(Duration::from_secs(600)))))].into(),
                        allowed: None,
                    };
                    want.apply(&diff);
                    let started = Instant::now();
                    nft.update(&diff, &want, NOW).unwrap();
                    took.push(started.elapsed());
                }
                took.sort_unstable();
                let of = |share: usize| took[(took.len() - 1) * share / 100].as_micros();
                println!(
                    "{way}{}: one deny among 100 000, {tries} times: p50 {} us, p99 {} us",
                    if foreign { ", beside an interval set of 100 000" } else { "" },
                    of(50),
                    of(99)
                );
            }
        }
    });
}

#[test]
fn the_reconciler_mends_the_kernel() {
    in_namespace("the_reconciler_mends_the_kernel", async |world| {
        let pace = Pace::default();
        let clock = || (NOW, std::time::Instant::now());
        let reconcilers = Reconcilers::start(vec![Box::new(world.nft())], &set("192.0.2.10", ""), clock, pace).unwrap();
        let until = async |what: &str, met: fn(&Status) -> bool| {
            let end = Instant::now() + Duration::from_secs(10);
            while !met(&reconcilers.statuses()[0]) {
                assert!(Instant::now() < end, "{what}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        until("one", |status| status.enforced == 1).await;
        world.is("192.0.2.10 silent, 192.0.2.11 open").await;
        let whole = || panic!("two changes are not too many");
        reconcilers.send(&diff(&set("192.0.2.11", ""), "192.0.2.11", "192.0.2.10"), whole);
        reconcilers.send(&diff(&set("192.0.2.12", ""), "192.0.2.12", ""), whole);
        until("two", |status| status.enforced == 2).await;
        world.is("192.0.2.10 open, 192.0.2.11 silent, 192.0.2.12 silent").await;
        // each is healed at once, and counted
        let harm = [
            "flush ruleset",
            "delete table inet denyd_t",
            "delete element inet denyd_t deny4 { 192.0.2.11 }",
            "flush set inet denyd_t deny4",
            "insert rule inet denyd_t prerouting accept",
        ];
        for (before, command) in harm.into_iter().enumerate() {
            let done = Instant::now();
            world.run("nft", &[command]);
            let end = done + Duration::from_secs(10);
            let healed =
                |status: &Status| status.healed > before as u64 && status.error.is_none() && status.enforced == 2;
            while !healed(&reconcilers.statuses()[0]) {
                assert!(Instant::now() < end, "{command}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            println!("{command}: healed {} ms after nft was started", done.elapsed().as_millis());
            assert_eq!(world.elements("denyd_t", "deny4"), ["192.0.2.11".to_owned(), "192.0.2.12".to_owned()].into());
        }
        assert_eq!(reconcilers.statuses()[0].healed, harm.len() as u64);
        world.is("192.0.2.11 silent, 192.0.2.12 silent").await;
        assert!(reconcilers.stop(Duration::from_secs(10)));
        world.is("192.0.2.11 silent").await; // denies outlive us
    });
}

#[test]
fn says_that_it_may_not() {
    in_namespace("says_that_it_may_not", async |_| {
        let Some(setpriv) = program("setpriv") else { return skip("says_that_it_may_not", "no setpriv") };
        let dir = Dir::new();
        let script = dir.0.join("nft");
        let nft = program("nft").unwrap();
        let text = format!(
            "#!/bin/sh\nexec {} --bounding-set=-all --inh-caps=-all --reuid=65534 {} \"$@\"\n",
            setpriv.display(),
            nft.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut nft = Nft::new("denyd_t".parse().unwrap(), Lengths::default()).with_binary(script);
        for error in
            [nft.replace(&set("192.0.2.10", ""), NOW).unwrap_err(), nft.probe(&set("192.0.2.10", ""), NOW).unwrap_err()]
        {
            println!("{error}");
            assert_eq!(error.remedy, Some("run denyd with CAP_NET_ADMIN"), "{error}");
        }
    });
}

#[test]
fn says_what_is_wrong_with_nft() {
    let check = |binary: &str, want: &str| {
        let mut nft = Nft::new("denyd_t".parse().unwrap(), Lengths::default()).with_binary(PathBuf::from(binary));
        assert_eq!(nft.replace(&set("192.0.2.10", ""), NOW).unwrap_err().to_string(), want);
    };
    let install = "(remedy: install the package nftables, or choose another back end)";
    check(
        "/nonexistent/nft",
        &format!(
            "nftables: cannot replace table inet denyd_t: /nonexistent/nft: No such file or directory (os error 2) {install}"
        ),
    );
    check("/bin/false", "nftables: cannot replace table inet denyd_t: nft ended with exit status: 1");
}

// ---- iptables

#[test]
fn iptables_denies_hosts() {
    in_namespace("iptables_denies_hosts", async |world| {
        for (way, mut iptables) in world.iptables() {
            println!("{way}");
            iptables.usable().unwrap();
            assert!(!world.run("iptables-save", &[]).contains("denyd"), "{way}: to ask changes nothing");
            iptables.replace(&set("192.0.2.10 2001:db8:66::/64", "2001:db8:66::7"), NOW).unwrap();
            iptables.probe(&DenySet::default(), NOW).unwrap();
            world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8:66::1 silent, 2001:db8:66:1::1 open").await;
            world.is("2001:db8:66::7 open, 2001:db8:66::8 silent").await;
            // release and a new one in one update
            let want = set("192.0.2.11 2001:db8:66::/64", "2001:db8:66::8");
            let mut diff = diff(&want, "192.0.2.11", "192.0.2.10 203.0.113.1");
            diff.allowed = Some(want.allowed.clone());
            iptables.update(&diff, &want, NOW).unwrap();
            iptables.probe(&DenySet::default(), NOW).unwrap();
            world.is("192.0.2.10 open, 192.0.2.11 silent, 2001:db8:66::7 silent, 2001:db8:66::8 open").await;
            iptables.remove().unwrap();
            world.is("192.0.2.11 open, 2001:db8:66::7 open").await;
            iptables.remove().unwrap();
            assert_eq!(world.run("ipset", &["list", "-n"]), "", "{way}");
        }
    });
}

#[test]
fn ipset_denies_end_by_themselves_and_are_extended() {
    in_namespace("ipset_denies_end_by_themselves_and_are_extended", async |world| {
        let (_, mut iptables) = world.iptables().remove(0);
        let mut want = DenySet::default();
        for short in ["192.0.2.10", "192.0.2.11", "198.51.100.0/24"] {
            want.denied.insert(short.parse().unwrap(), Some(NOW.after(Duration::from_millis(1500))));
        }
        want.denied.insert("192.0.2.12".parse().unwrap(), Some(NOW)); // has ended
        want.denied.insert("192.0.2.13".parse().unwrap(), Some(NOW.after(Duration::from_secs(100 * 365 * 86400))));
        iptables.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.12 open, 192.0.2.13 silent, 198.51.100.1 silent").await;
        want.denied.insert("192.0.2.11".parse().unwrap(), Some(NOW.after(Duration::from_secs(60))));
        iptables.update(&diff(&want, "192.0.2.11", ""), &want, NOW).unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        while world.connect("192.0.2.10").await != "open" {
            assert!(Instant::now() < end, "the timeout did not let it in");
        }
        world.is("192.0.2.11 silent, 192.0.2.13 silent, 198.51.100.1 open").await;
        iptables.probe(&DenySet::default(), NOW).expect("that they ended is no work of others");
        // 100 years are more than ipset takes: 2147483 s, which the next `replace` starts anew
        let left = || {
            let saved = world.run("ipset", &["save", "denyd-t-deny4"]);
            let line = saved.lines().find(|line| line.contains("192.0.2.13 ")).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
        };
        assert!((2_147_400..2_147_483).contains(&left()), "{}", left());
        iptables.replace(&want, NOW.after(Duration::from_secs(86_400))).unwrap();
        assert!(left() >= 2_147_481, "{}", left());
    });
}

#[test]
fn iptables_denies_wide_prefixes() {
    in_namespace("iptables_denies_wide_prefixes", async |world| {
        for (way, mut iptables) in world.iptables() {
            println!("{way}");
            let mut want = set("198.51.100.0/24 2001:db8:66::/48 2001:db8::10", "198.51.100.9 2001:db8:66:5::/64");
            want.denied.insert("198.51.100.128/25".parse().unwrap(), Some(NOW.after(Duration::from_secs(3600))));
            iptables.replace(&want, NOW).unwrap();
            world.is("198.51.100.1 silent, 198.51.100.9 open, 198.51.100.200 silent, 192.0.2.10 open").await;
            world.is("2001:db8:66:4::1 silent, 2001:db8:66:5::1 open, 2001:db8::10 silent, 2001:db8::11 open").await;
            // the wider one ends: the narrower one is still there
            want.denied.remove(&"198.51.100.0/24".parse().unwrap());
            iptables.update(&diff(&want, "", "198.51.100.0/24"), &want, NOW).unwrap();
            world.is("198.51.100.1 open, 198.51.100.200 silent, 2001:db8:66:4::1 silent").await;
            // neighbour discovery goes on when all of IPv6's neighbours are denied
            iptables.replace(&set("2001:db8::/64 fe80::/10 192.0.2.10", "2001:db8::11"), NOW).unwrap();
            world.run("ip", &["neigh", "flush", "all"]);
            world.is("2001:db8::10 silent, 2001:db8::11 open, 192.0.2.10 silent, 192.0.2.11 open").await;
            // everything but what is allowed, loopback among it
            let all = set("0.0.0.0/0 ::/0", "192.0.2.11 2001:db8::11");
            iptables.replace(&all, NOW).unwrap();
            world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8::10 silent, 2001:db8::11 open").await;
            for loopback in ["127.0.0.1", "::1", "192.0.2.1"] {
                let to = SocketAddr::new(loopback.parse().unwrap(), PORT);
                let opened = tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(to));
                opened.await.unwrap().unwrap();
            }
            // half of it, which is an element of it too
            let half = set("128.0.0.0/1", "");
            iptables.update(&diff(&half, "128.0.0.0/1", "0.0.0.0/0 ::/0"), &half, NOW).unwrap();
            world.is("192.0.2.10 silent, 2001:db8::10 open").await;
            iptables.probe(&DenySet::default(), NOW).unwrap();
            iptables.replace(&set("192.0.2.10", "0.0.0.0/0 ::/0"), NOW).unwrap();
            world.is("192.0.2.10 open").await;
            iptables.remove().unwrap();
        }
    });
}

/// What others made stays as it is and holds, also for what is allowed: RETURN, not ACCEPT.
#[test]
fn iptables_leaves_others_alone_and_notices_what_they_do() {
    in_namespace("iptables_leaves_others_alone_and_notices_what_they_do", async |world| {
        world.run("ipset", &["create", "denyd-t", "hash:ip"]);
        world.run("ipset", &["add", "denyd-t", "192.0.2.99"]);
        for (way, mut iptables) in world.iptables() {
            println!("{way}");
            let run = |command: &str| {
                let (program, rest) = command.split_once(' ').unwrap();
                let legacy = if way.contains("legacy") && program != "ipset" { "-legacy" } else { "" };
                world.run(&format!("{program}{legacy}"), &rest.split(' ').collect::<Vec<_>>())
            };
            let others =
                ["-t raw -N other", "-t raw -A PREROUTING -s 192.0.2.12 -j DROP", "-A INPUT -s 192.0.2.13 -j DROP"];
            others.iter().for_each(|rule| _ = run(&format!("iptables {rule}")));
            let listed = |iptables: &str| run(&format!("{iptables} -t raw -S")) + &run(&format!("{iptables} -S"));
            let before = ["iptables", "ip6tables"].map(listed);
            let sets = run("ipset save");
            iptables.probe(&DenySet::default(), NOW).unwrap_err();
            let want = set("192.0.2.10 198.51.100.0/24 2001:db8:66::/64", "192.0.2.11 192.0.2.12 192.0.2.13");
            iptables.replace(&want, NOW).unwrap();
            iptables.probe(&DenySet::default(), NOW).unwrap();
            world.is("192.0.2.10 silent, 192.0.2.11 open, 192.0.2.12 silent, 192.0.2.13 silent").await;
            let gone = "chain denyd-t";
            let mut spoil = vec![
                ("iptables -t raw -F", "PREROUTING does not jump to it"),
                ("iptables -t raw -F denyd-t", "0 rules where there were"),
                ("ip6tables -t raw -I denyd-t -j ACCEPT", "rules where there were"),
                ("iptables -t raw -R denyd-t 1 -j ACCEPT", "its rules are others"),
                ("iptables -t raw -I PREROUTING -j ACCEPT", "not PREROUTING's first rule"),
                ("iptables -t raw -A PREROUTING -j denyd-t", "or not the only one"),
            ];
            if !way.contains("rules") {
                spoil.push(("ipset flush denyd-t-deny4", "set denyd-t-deny4 has 0 elements where there were 2"));
                spoil.push(("ipset del denyd-t-deny6 2001:db8:66::/64", "set denyd-t-deny6 has 0 elements"));
                spoil.push(("ipset add denyd-t-deny4 192.0.2.11", "set denyd-t-deny4 has 3 elements"));
                spoil.push(("ipset flush", "set denyd-t-deny4 has 0 elements"));
            }
            for (command, cause) in spoil {
                run(command);
                let error = iptables.probe(&DenySet::default(), NOW).unwrap_err();
                assert!(error.cause.contains(cause) && error.tried.contains(gone), "{command}: {error}");
                // an update on top of it mends it, or the probe goes on to see it
                if iptables.update(&diff(&want, "192.0.2.10", ""), &want, NOW).is_err() || !way.contains("rules") {
                    iptables.probe(&DenySet::default(), NOW).unwrap_err();
                }
                iptables.replace(&want, NOW).unwrap();
                iptables.probe(&DenySet::default(), NOW).unwrap();
                world.is("192.0.2.10 silent, 2001:db8:66::1 silent").await;
                if command.ends_with("-F") {
                    others[1..2].iter().for_each(|rule| _ = run(&format!("iptables {rule}")));
                } else if command.contains("-I PREROUTING") {
                    run("iptables -t raw -D PREROUTING -j ACCEPT");
                } else if command == "ipset flush" {
                    run("ipset add denyd-t 192.0.2.99");
                }
            }
            world.is("192.0.2.11 open, 192.0.2.12 silent, 192.0.2.13 silent").await;
            iptables.remove().unwrap();
            assert_eq!(["iptables", "ip6tables"].map(listed), before, "{way}: rules of others");
            assert_eq!(run("ipset save"), sets, "{way}: sets of others");
            let gone = iptables.update(&diff(&want, "192.0.2.10", ""), &want, NOW);
            assert!(gone.is_err() != way.contains("rules"), "{way}: {gone:?}");
            iptables.remove().unwrap();
            for rule in ["-t raw -F", "-t raw -X other", "-F"] {
                run(&format!("iptables {rule}"));
            }
        }
    });
}

/// After any updates the kernel holds what one `replace` would have written.
#[test]
fn ipset_updates_lead_where_replace_does() {
    in_namespace("ipset_updates_lead_where_replace_does", async |world| {
        let mut random = Random::new();
        let (_, mut iptables) = world.iptables().remove(0);
        let mut fresh = Iptables::new("fresh".parse().unwrap());
        let mut want = DenySet::default();
        iptables.replace(&want, NOW).unwrap();
        let mut compared = 0;
        for step in 0..60 {
            let mut diff = Diff::default();
            for _ in 0..random.below(6) {
                let prefix = match random.below(2) {
                    0 => Prefix::of(
                        IpAddr::V4((0xc000_0200 + random.below(16) as u32).into()),
                        26 + random.below(7) as u8,
                    ),
                    _ => Prefix::of(
                        IpAddr::V6((0x2001_0db8 << 96 | u128::from(random.below(8_u64)) << 63).into()),
                        random.below(3) as u8 + [0, 62][random.below(2) as usize],
                    ),
                };
                let until = NOW.after(Duration::from_secs(random.below(4) * 100_000));
                let until = (random.below(5) > 0).then_some(until);
                diff.denies.insert(prefix, (random.below(3) > 0).then_some(until));
            }
            if random.below(4) == 0 {
                diff.allowed =
                    Some(set("", ["192.0.2.4", "192.0.2.0/29 2001:db8::1"][random.below(2) as usize]).allowed);
            }
            want.apply(&diff);
            iptables.update(&diff, &want, NOW).unwrap();
            if step % 5 > 0 {
                continue;
            }
            iptables.probe(&DenySet::default(), NOW).unwrap();
            fresh.replace(&want, NOW).unwrap();
            for name in ["allow4", "allow6", "deny4", "deny6"] {
                // the time that is left to whole minutes
                let elements = |chain: &str| -> BTreeSet<String> {
                    let saved = world.run("ipset", &["save", &format!("{chain}-{name}")]);
                    let added = saved.lines().filter_map(|line| line.strip_prefix("add ")?.split_once(' '));
                    added
                        .map(|(_, element)| match element.split_once(" timeout ") {
                            Some((prefix, left)) => format!("{prefix} {}", left.parse::<u32>().unwrap().div_ceil(60)),
                            None => element.to_owned(),
                        })
                        .collect()
                };
                compared += elements("fresh").len();
                assert_eq!(elements("denyd-t"), elements("fresh"), "{name}");
            }
            fresh.remove().unwrap(); // or both would want to be first
        }
        assert!(compared > 20, "too little to compare: {compared} elements");
    });
}

/// Where the database was lost; and after a crash between two lines of a script, with sets of another form.
#[test]
fn iptables_is_taken_over() {
    in_namespace("iptables_is_taken_over", async |world| {
        for (way, mut iptables) in world.iptables() {
            assert_eq!(iptables.kept(NOW).unwrap(), [], "{way}");
            let mut want = set("192.0.2.10 2001:db8:66::/64", "");
            want.denied.insert("198.51.100.0/24".parse().unwrap(), Some(NOW.after(Duration::from_secs(600))));
            iptables.replace(&want, NOW).unwrap();
            let mut kept = iptables.kept(NOW).unwrap();
            kept.sort_unstable();
            let ends: Vec<String> = kept
                .iter()
                .map(|(prefix, end)| match end {
                    // whole seconds, of which one may have gone
                    Some(Some(end)) => format!("{prefix} {}", (end.secs() - NOW.secs() + 5) / 10),
                    Some(None) => format!("{prefix} -"),
                    None => format!("{prefix} ?"),
                })
                .collect();
            let known = ["192.0.2.10 -", "198.51.100.0/24 60", "2001:db8:66::/64 -"];
            let unknown = ["192.0.2.10 ?", "198.51.100.0/24 ?", "2001:db8:66::/64 ?"];
            assert_eq!(ends, if way.contains("rules") { unknown } else { known }, "{way}");
            iptables.remove().unwrap();
        }
        for left in [
            "denyd-t-deny4 hash:net timeout 9 maxelem 3",
            "denyd-t-deny4-new hash:ip",
            "denyd-t-allow6 hash:net family inet6",
        ] {
            world.run("ipset", &[&["create"][..], &left.split(' ').collect::<Vec<_>>()].concat());
        }
        let (_, mut iptables) = world.iptables().remove(0);
        iptables.replace(&set("192.0.2.10 192.0.2.11 192.0.2.12 192.0.2.13", "2001:db8::10"), NOW).unwrap();
        iptables.probe(&DenySet::default(), NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.13 silent, 192.0.2.14 open").await;
        iptables.remove().unwrap();
        // a set of this name that is none of ours
        world.run("ipset", &["create", "denyd-t-deny4", "bitmap:port", "range", "0-9"]);
        let error = iptables.replace(&set("192.0.2.10", ""), NOW).unwrap_err();
        assert!(error.to_string().starts_with("iptables: cannot replace the sets of denyd-t: "), "{error}");
        println!("{error}");
    });
}

#[test]
fn ipset_replaces_a_large_set_without_a_gap() {
    in_namespace("ipset_replaces_a_large_set_without_a_gap", async |world| {
        let (_, mut iptables) = world.iptables().remove(0);
        let mut want = set("192.0.2.10", "192.0.2.11");
        for n in 0..50_000_u32 {
            let until = Some(NOW.after(Duration::from_secs(86400 + u64::from(n))));
            want.denied.insert(Prefix::host(IpAddr::V4((0x0a00_0000 + n).into())), until);
            want.denied.insert(Prefix::of(IpAddr::V6((0x2001_0db9 << 96 | u128::from(n) << 64).into()), 64), until);
        }
        let time = |what: &str, most: u64, started: Instant| {
            let took = started.elapsed();
            println!("{what}: {} ms", took.as_millis());
            assert!(took < Duration::from_secs(most), "{what}");
        };
        let started = Instant::now();
        iptables.replace(&want, NOW).unwrap();
        time("replace 100 001", 10, started);
        let started = Instant::now();
        iptables.probe(&DenySet::default(), NOW).unwrap();
        time("probe", 2, started);
        let started = Instant::now();
        want.denied.insert("192.0.2.12".parse().unwrap(), None);
        iptables.update(&diff(&want, "192.0.2.12", ""), &want, NOW).unwrap();
        time("update by one", 2, started);
        world.is("192.0.2.10 silent, 192.0.2.12 silent, 192.0.2.11 open").await;
        for _ in 0..4 {
            let hammer = tokio::spawn(world.hammer("192.0.2.10"));
            iptables.replace(&want, NOW).unwrap();
            let (open, _) = hammer.await.unwrap();
            assert_eq!(open, 0, "a denied one got through");
            let hammer = tokio::spawn(world.hammer("192.0.2.11"));
            iptables.replace(&want, NOW).unwrap();
            assert!(hammer.await.unwrap().0 > 0);
        }
    });
}

// ---- a back end of one's own

/// All that a back end needs: it is plugged in by one line.
struct Marks(Arc<Mutex<BTreeSet<String>>>);

impl DenyBackend for Marks {
    fn name(&self) -> &'static str {
        "marks"
    }

    fn replace(&mut self, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
        *self.0.lock().unwrap() = want.denied.keys().map(Prefix::to_string).collect();
        Ok(())
    }
}

static MARKED: std::sync::LazyLock<Arc<Mutex<BTreeSet<String>>>> = std::sync::LazyLock::new(Arc::default);
static MARKS: Kind = Kind::plain("marks", |_| Ok(Box::new(Marks(Arc::clone(&MARKED)))));

#[test]
fn a_back_end_is_a_file_and_a_line() {
    let settings = Settings { backends: Backends::These(vec![&MARKS]), ..Settings::default() };
    let notes = || Ok(Memory::default().notes());
    let means = Means { settings: &settings, lengths: Lengths::default(), notes: &notes, lost: false };
    let back_ends = choose::make(&means).unwrap();
    let clock = || (NOW, std::time::Instant::now());
    let reconcilers = Reconcilers::start(back_ends, &set("192.0.2.1 192.0.2.2", ""), clock, Pace::default()).unwrap();
    let diff = Diff { denies: [("192.0.2.1".parse().unwrap(), None)].into(), allowed: None };
    reconcilers.send(&diff, DenySet::default);
    assert!(reconcilers.stop(Duration::from_secs(10)));
    assert_eq!(*MARKED.lock().unwrap(), ["192.0.2.2".to_owned()].into());
}

// ---- hosts.deny

#[test]
fn libwrap_understands_us() {
    for service in [Some("sshd"), None] {
        let dir = Dir::new();
        let path = dir.0.join(if service.is_some() { "hosts.deny" } else { "list" });
        if service.is_none() {
            std::fs::write(dir.0.join("hosts.deny"), format!("sshd: {}\n", path.display())).unwrap();
        }
        let mut backend = hosts_deny(&path, service);
        let allowed = "192.0.2.7 2001:db8:1::5 203.0.113.64/27 10.9.8.7";
        let denied = "192.0.2.0/24 198.51.100.7 203.0.113.0/25 10.0.0.0/8 2001:db8::/64 2001:db8:1::/64 2001:db8:2::9";
        backend.replace(&set(denied, allowed), NOW).unwrap();
        let truth = "192.0.2.6 denied, 192.0.2.7 granted, 192.0.2.8 denied, 192.0.3.1 granted, 198.51.100.7 denied, \
            198.51.100.8 granted, 203.0.113.63 denied, 203.0.113.64 granted, 203.0.113.95 granted, 203.0.113.96 denied, \
            203.0.113.128 granted, 10.1.1.1 denied, 10.9.8.7 granted, 10.9.8.6 denied, 11.0.0.1 granted, \
            2001:db8::5 denied, 2001:db8:0:1::5 granted, 2001:db8:1::5 granted, 2001:db8:1::4 denied, \
            2001:db8:1:0:ffff::5 denied, 2001:db8:2::9 denied, 2001:db8:2::8 granted";
        for (address, want) in truth.split(", ").map(|case| case.split_once(' ').unwrap()) {
            let Some(got) = tcpdmatch(&dir.0, address) else { return };
            assert_eq!(got, want, "{address}, service {service:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().contains('#'), service.is_some(), "no comment in a list");
        backend.update(&Diff::default(), &DenySet::default(), NOW).unwrap();
        assert_eq!(tcpdmatch(&dir.0, "192.0.2.6").as_deref(), Some("granted"));
    }
}

/// FreeBSD's form: a line of hosts.allow names the list and ends in `: deny`, before the one that allows all.
#[test]
fn a_list_file_is_denied_by_hosts_allow() {
    let dir = Dir::new();
    let path = dir.0.join("list");
    hosts_deny(&path, None).replace(&set("192.0.2.0/24 2001:db8::/64", "192.0.2.7"), NOW).unwrap();
    let allow = format!("sshd : {} : deny\nALL : ALL : allow\n", path.display());
    let truth =
        [("192.0.2.6", "denied"), ("192.0.2.7", "granted"), ("2001:db8::5", "denied"), ("192.0.3.1", "granted")];
    for (address, want) in truth {
        let Some(got) = tcpdmatch_with(&dir.0, address, &allow) else { return };
        assert_eq!(got, want, "{address}");
    }
}

/// A wrapped daemon that is not root reads the list, whatever our umask is; and where it cannot, libwrap denies nobody.
#[test]
fn a_list_file_is_for_daemons_that_are_not_root() {
    let Some(match_of) = program("tcpdmatch").filter(|_| nix::unistd::geteuid().is_root()) else {
        return skip("a_list_file_is_for_daemons_that_are_not_root", "no tcpdmatch, or not root");
    };
    let setpriv = program("setpriv").unwrap();
    let dir = Dir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lists = dir.0.join("lists");
    std::fs::create_dir(&lists).unwrap();
    let path = lists.join("denied-hosts");
    std::fs::write(dir.0.join("hosts.deny"), format!("sshd: {}\n", path.display())).unwrap();
    std::fs::write(dir.0.join("hosts.allow"), "").unwrap();
    hosts_deny(&path, None).replace(&set("192.0.2.6", ""), NOW).unwrap();
    let check = |mode: u32, want: &str| {
        std::fs::set_permissions(&lists, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&match_of);
        let output = command.args(["-d", "sshd", "192.0.2.6"]).current_dir(&dir.0).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let access = text.lines().find_map(|line| line.strip_prefix("access:")).unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(access.trim(), want, "mode {mode:o}");
    };
    check(0o755, "denied");
    check(0o711, "denied");
    check(0o700, "granted");
}

#[test]
fn writes_denyhosts_format() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let mut backend = hosts_deny(&path, Some("sshd"));
    backend.replace(&DenySet::default(), NOW).unwrap();
    assert!(!path.exists(), "nothing to say, nothing written");
    backend.replace(&set("192.0.2.1", ""), Timestamp::from_secs(1_795_304_306)).unwrap();
    let text = "# DenyHosts: Sat Nov 21 23:38:26 2026 | sshd: 192.0.2.1\nsshd: 192.0.2.1\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
    backend.replace(&set("192.0.2.1 192.0.2.2", ""), Timestamp::from_secs(1_793_512_800)).unwrap();
    let text = format!("{text}# DenyHosts: Sun Nov  1 06:00:00 2026 | sshd: 192.0.2.2\nsshd: 192.0.2.2\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(lines(backend.ours()), ["sshd: 192.0.2.1", "sshd: 192.0.2.2"]);
    assert!("a: b\n".parse::<Service>().is_err());
}

#[test]
fn keeps_owner_mode_link_and_foreign_lines() {
    let dir = Dir::new();
    std::fs::create_dir(dir.0.join("real")).unwrap();
    let (real, path) = (dir.0.join("real/deny"), dir.0.join("hosts.deny"));
    symlink("real/deny", &path).unwrap();
    let mut backend = hosts_deny(&path, Some("sshd"));
    let error = backend.replace(&set("192.0.2.1", ""), NOW).unwrap_err();
    assert!(error.to_string().contains("cannot follow"), "a dangling link: {error}");
    std::fs::write(&real, b"# mine\xff\nsshd: 192.0.2.9").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let chowned = std::os::unix::fs::chown(&real, Some(7), Some(8)).is_ok();
    std::fs::write(dir.0.join("real/.deny.denyd-new"), "of a crash").unwrap();
    backend.replace(&set("192.0.2.1 192.0.2.9", ""), NOW).unwrap();
    assert!(path.symlink_metadata().unwrap().is_symlink());
    let metadata = real.metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert!(!chowned || (metadata.uid(), metadata.gid()) == (7, 8));
    backend.replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"# mine\xff\nsshd: 192.0.2.9\n");
    assert_eq!(std::fs::read_dir(dir.0.join("real")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn notices_edits_and_knows_its_lines_after_a_restart() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let memory = Memory::default();
    let make = || HostsDeny::new(path.clone(), bare("sshd"), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let mut backend = make();
    let want = set("192.0.2.1 192.0.2.2", "");
    std::fs::write(&path, "sshd: 192.0.2.3\n").unwrap();
    backend.replace(&want, NOW).unwrap();
    backend.probe(&want, NOW).unwrap();
    // an edit that is none of our business
    std::fs::write(&path, "# hello\nsshd: 192.0.2.1\nsshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    backend.probe(&want, NOW).unwrap();
    std::fs::write(&path, "# hello\nsshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    assert!(backend.probe(&want, NOW).unwrap_err().to_string().contains("denyd forgive"));
    backend.replace(&want, NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# hello\nsshd: 192.0.2.2\nsshd: 192.0.2.3\nsshd: 192.0.2.1\n");
    std::fs::write(&path, "sshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    backend.probe(&want, NOW).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(backend.probe(&want, NOW).is_err());
    backend.replace(&want, NOW).unwrap();
    // another process, which knows only the ledger
    let mut backend = make();
    std::fs::write(&path, "sshd: 192.0.2.3\nsshd: 192.0.2.1\nsshd: 192.0.2.2\n").unwrap();
    backend.replace(&set("192.0.2.2", ""), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "sshd: 192.0.2.3\nsshd: 192.0.2.2\n");
    assert_eq!(lines(make().ours()), ["sshd: 192.0.2.2"]);
}

/// Somebody else appends to the file all the time; nothing of theirs is lost but in the last microseconds.
#[test]
fn starts_over_when_the_file_changes_meanwhile() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    std::fs::write(&path, "a\n").unwrap();
    // the ledger is kept between reading and renaming: the moment for an edit
    let memory = Memory::default();
    let mut backend = HostsDeny::new(path.clone(), bare("sshd"), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let file = path.clone();
    memory.lock().edit = Some(Box::new(move || {
        std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"b\n").unwrap();
    }));
    backend.replace(&set("192.0.2.1", ""), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nsshd: 192.0.2.1\n");
}

/// Each deny is remembered with the file that it was written to, so that it can be taken back when that is no longer used.
#[test]
fn what_was_written_can_be_taken_back_later() {
    let dir = Dir::new();
    let (first, second) = (dir.0.join("first"), dir.0.join("second"));
    let memory = Memory::default();
    let open = |path: &PathBuf| {
        let form = Form { adopt: false, ..bare("sshd") };
        HostsDeny::new(path.clone(), form, hosts_deny::ledger(path, memory.notes()).unwrap())
    };
    std::fs::write(&first, "sshd: 192.0.2.9\n").unwrap();
    open(&first).replace(&set("192.0.2.0/30 192.0.2.9", "192.0.2.1"), NOW).unwrap();
    open(&second).replace(&set("192.0.2.8", ""), NOW).unwrap();
    let wide = "192.0.2.0/30".parse().unwrap();
    let pieces = ["sshd: 192.0.2.0", "sshd: 192.0.2.2/255.255.255.254"].map(|line| (line.to_owned(), wide));
    assert_eq!(*open(&first).ours(), pieces.into(), "the entry that was there before us is not ours");
    assert_eq!(lines(open(&second).ours()), ["sshd: 192.0.2.8"]);
    open(&first).replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&first).unwrap(), "sshd: 192.0.2.9\n");
    assert_eq!(std::fs::read_to_string(&second).unwrap(), "sshd: 192.0.2.8\n");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    in_namespace("a_full_disk_leaves_the_old_file", async |world| {
        let dir = Dir::new();
        // in a mount namespace of our own
        world.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir.0.to_str().unwrap()]);
        let path = dir.0.join("hosts.deny");
        let old = "# mine\n".repeat(5000);
        std::fs::write(&path, &old).unwrap();
        let mut backend = hosts_deny(&path, Some("sshd"));
        let want = set("192.0.2.1", "");
        let error = backend.replace(&want, NOW).unwrap_err();
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert!(error.remedy.unwrap().contains("free some space"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1, "no temporary file is left");
        std::fs::write(&path, "# mine\n").unwrap();
        backend.replace(&want, NOW).unwrap();
        world.run("mount", &["-o", "remount,ro", dir.0.to_str().unwrap()]);
        let error = backend.replace(&DenySet::default(), NOW).unwrap_err();
        assert!(error.to_string().contains("Read-only file system") && error.remedy.is_some(), "{error}");
        world.run("umount", &[dir.0.to_str().unwrap()]);
    });
}

// ---- the world

/// Prefixes without end, and what is allowed: addresses, or prefixes as ranges.
fn set(denied: &str, allowed: &str) -> DenySet {
    let prefixes = |text: &str| text.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<Prefix>>();
    DenySet {
        denied: prefixes(denied).into_iter().map(|prefix| (prefix, None)).collect(),
        allowed: prefixes(allowed).into_iter().map(Range::from).collect(),
    }
}

fn diff(want: &DenySet, denied: &str, released: &str) -> Diff {
    let prefixes = |text: &str| text.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<Prefix>>();
    let denied = prefixes(denied).into_iter().map(|prefix| (prefix, Some(want.denied[&prefix])));
    Diff { denies: prefixes(released).into_iter().map(|prefix| (prefix, None)).chain(denied).collect(), allowed: None }
}

/// What outlasts a back end, as long as this value does.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    texts: BTreeMap<String, String>,
    /// Done at the next write.
    edit: Option<Box<dyn FnOnce() + Send>>,
}

impl Memory {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    fn notes(&self) -> Box<dyn Notes> {
        Box::new(self.clone())
    }
}

impl Notes for Memory {
    fn read(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.lock().texts.get(name).cloned())
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.lock().texts.insert(name.to_owned(), text.to_owned());
        if let Some(edit) = self.lock().edit.take() {
            edit();
        }
        Ok(())
    }
}

fn bare(service: &str) -> Form {
    Form { service: service.parse().unwrap(), stamped: None, adopt: true }
}

fn lines(ours: &Lines) -> Vec<&str> {
    ours.keys().map(String::as_str).collect()
}

fn hosts_deny(path: &Path, service: Option<&str>) -> HostsDeny {
    let form = Form { stamped: Some(jiff::tz::TimeZone::UTC), ..bare(service.unwrap_or("")) };
    HostsDeny::new(path.to_owned(), form, hosts_deny::ledger(path, Memory::default().notes()).unwrap())
}

/// What libwrap says of an address, by the hosts.deny of `dir`; `None` if it is not installed.
fn tcpdmatch(dir: &Path, address: &str) -> Option<String> {
    tcpdmatch_with(dir, address, "")
}

/// The same with this hosts.allow.
fn tcpdmatch_with(dir: &Path, address: &str, allowed: &str) -> Option<String> {
    let path = program("tcpdmatch").or_else(|| {
        skip("libwrap_understands_us", "no tcpdmatch");
        None
    })?;
    let allow = dir.join("hosts.allow");
    std::fs::write(allow, allowed).unwrap();
    let output = Command::new(path).args(["-d", "sshd", address]).current_dir(dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("warning"), "{text}");
    let access = text.lines().find_map(|line| line.strip_prefix("access:")).unwrap_or_else(|| panic!("{text}"));
    Some(access.trim().to_owned())
}

/// A server's namespace, seen from inside, with a client in another one.
struct World {
    connector: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl World {
    fn nft(&self) -> Nft {
        Nft::new("denyd_t".parse().unwrap(), Lengths::default())
    }

    /// By all ways in which iptables is used.
    fn iptables(&self) -> Vec<(&'static str, Iptables)> {
        let new = || Iptables::new("denyd-t".parse().unwrap());
        vec![
            ("ipset", new()),
            ("ipset, legacy", new().legacy()),
            ("rules", new().without_ipset()),
            ("rules, legacy", new().without_ipset().legacy()),
        ]
    }

    /// `192.0.2.1 open, 192.0.2.2 silent`: what becomes of a connection from each.
    async fn is(&self, cases: &str) {
        for (source, want) in cases.split(", ").map(|case| case.split_once(' ').unwrap()) {
            let mut got = self.connect(source).await;
            // a first packet can be lost while neighbours are found; what is denied never opens
            for _ in 0..5 {
                if got == want || want != "open" {
                    break;
                }
                got = self.connect(source).await;
            }
            assert_eq!(got, want, "{source}");
        }
    }

    async fn connect(&self, source: &str) -> String {
        tokio::task::block_in_place(|| self.ask(&format!("connect {source}")))
    }

    /// Connections that opened and that did not, in half a second of tries.
    async fn hammer(&self, source: &str) -> (u32, u32) {
        let answer = tokio::task::spawn_blocking({
            let ask = format!("hammer {source}");
            let me: &'static World = WORLD.get().unwrap();
            move || me.ask(&ask)
        });
        let answer = answer.await.unwrap();
        let (open, not) = answer.split_once(' ').unwrap();
        (open.parse().unwrap(), not.parse().unwrap())
    }

    fn ask(&self, question: &str) -> String {
        let mut connector = self.connector.lock().unwrap();
        writeln!(connector.1, "{question}").unwrap();
        loop {
            let mut line = String::new();
            assert!(connector.2.read_line(&mut line).unwrap() > 0, "the connector ended");
            if let Some(answer) = line.strip_prefix("ANSWER ") {
                return answer.trim().to_owned();
            }
        }
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(program(name).unwrap()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The elements of a set, without the time that is left.
    fn elements(&self, table: &str, set: &str) -> BTreeSet<String> {
        let listing = self.run("nft", &["list", "set", "inet", table, set]);
        let Some((_, elements)) = listing.split_once("elements = {") else { return BTreeSet::new() };
        let elements = elements.split('}').next().unwrap().split(',').map(str::trim);
        elements.map(|e| e.split(" expires").next().unwrap().to_owned()).collect()
    }
}

static WORLD: std::sync::OnceLock<World> = std::sync::OnceLock::new();

/// Runs `body` in a machine of its own, by running this test once more inside it.
fn in_namespace(test: &str, body: impl AsyncFnOnce(&'static World)) {
    if let Some(missing) = ["ip", "nft", "mount", "iptables", "ipset"].iter().find(|name| program(name).is_none()) {
        return skip(test, &format!("no {missing}"));
    }
    if !kit::in_box(test) {
        return;
    }
    wire();
    let mut connector = Command::new(program("ip").unwrap())
        .args(["netns", "exec", "client"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "connector", "--nocapture", "--test-threads=1"])
        .env(CONNECTOR, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (connector.stdin.take().unwrap(), BufReader::new(connector.stdout.take().unwrap()));
    let world = WORLD.get_or_init(|| World { connector: Mutex::new((connector, stdin, stdout)) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("::", PORT)).await.unwrap();
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        tokio::time::timeout(Duration::from_secs(120), body(world)).await.expect("the test takes more than 120 s");
    });
}

/// Not a test: the client of another test, in the client's namespace.
#[test]
fn connector() {
    if std::env::var(CONNECTOR).is_err() {
        return;
    }
    std::fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = async |source: IpAddr, wait: u64| {
        let (socket, to) = match source {
            IpAddr::V4(_) => (tokio::net::TcpSocket::new_v4().unwrap(), "192.0.2.1"),
            IpAddr::V6(_) => (tokio::net::TcpSocket::new_v6().unwrap(), "2001:db8::1"),
        };
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        let to = SocketAddr::new(to.parse().unwrap(), PORT);
        match tokio::time::timeout(Duration::from_millis(wait), socket.connect(to)).await {
            Ok(Ok(_)) => "open".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "silent".to_owned(),
        }
    };
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (verb, source) = line.split_once(' ').unwrap();
        let source: IpAddr = source.parse().unwrap();
        let answer = runtime.block_on(async {
            if verb == "connect" {
                return connect(source, 400).await;
            }
            let (end, mut open, mut not) = (Instant::now() + Duration::from_millis(700), 0, 0);
            while Instant::now() < end {
                // many at once: what is dropped costs waiting only, less than the second after which TCP tries again
                let tries = (0..10).map(|_| connect(source, 900));
                for tried in join_all(tries).await {
                    if tried == "open" { open += 1 } else { not += 1 }
                }
            }
            format!("{open} {not}")
        });
        println!("\nANSWER {answer}");
    }
    std::process::exit(0); // nobody reads what the harness would print
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

/// A wire to a client in a namespace inside of ours; all of it goes with the machine.
fn wire() {
    let ip = |arguments: &str| {
        let output = Command::new(program("ip").unwrap()).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    ip("netns add client");
    ip("link add eth0 type veth peer name eth0 netns client");
    for end in ["", "-n client "] {
        ip(&format!("{end}link set lo up"));
        ip(&format!("{end}link set eth0 up"));
    }
    ip("addr add 192.0.2.1/24 dev eth0");
    ip("addr add 2001:db8::1/64 dev eth0 nodad");
    for host in 10..15 {
        ip(&format!("-n client addr add 192.0.2.{host}/24 dev eth0"));
        ip(&format!("-n client addr add 2001:db8::{host}/64 dev eth0 nodad"));
    }
    // every address of a whole prefix
    for (prefix, via) in [("198.51.100.0/24", "192.0.2.10"), ("2001:db8:66::/48", "2001:db8::14")] {
        ip(&format!("-n client route add local {prefix} dev lo"));
        ip(&format!("route add {prefix} via {via}"));
    }
}

/// A directory that goes with this value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("denyd-t-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
