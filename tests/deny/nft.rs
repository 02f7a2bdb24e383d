//! What is nftables' own.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use denyd::decide::prefix::Prefix;
use denyd::decide::range::Range;
use denyd::deny::effect::{Effect, Protocol, Spared};
use denyd::deny::nft::{Lengths, Nft};
use denyd::deny::{DenyBackend as _, DenySet, Diff, Probe};
use kit::{program, skip};
use tokio::time::Instant;

use crate::both::many;
use crate::world::{PORT, in_namespace};
use crate::{Dir, NOW, diff, set};

/// Hash sets may hold prefixes of other lengths, and an update needs no program.
#[test]
fn other_lengths_in_the_hash_sets() {
    in_namespace("nft::other_lengths_in_the_hash_sets", async |world| {
        let of = || Nft::new("denyd_t".parse().unwrap(), Lengths { v4: 24, v6: 128 });
        of().replace(&set("198.51.100.0/24", ""), NOW).unwrap();
        let want = set("198.51.100.0/24 2001:db8::10 fe80::/10 192.0.2.10", "");
        let added = diff(&want, "2001:db8::10 fe80::/10 192.0.2.10", "");
        of().with_binary("/nonexistent/nft".into()).update(&added, &want, NOW).unwrap();
        world
            .is("198.51.100.200 silent, 2001:db8::10 silent, 2001:db8::11 open, 192.0.2.10 silent, 192.0.2.11 open")
            .await;
    });
}

#[test]
fn notices_what_others_do() {
    in_namespace("nft::notices_what_others_do", async |world| {
        let want = set("192.0.2.10 198.51.100.0/24", "192.0.2.11");
        let other =
            "table inet other { set s { type ipv4_addr; elements = { 192.0.2.99 }; }; chain c { ip saddr @s drop; }; }";
        world.run("nft", &[other]);
        let listed = world.run("nft", &["list", "table", "inet", "other"]);
        // what was done, and what it is taken for by the program alone, and by who listens
        let spoil = [
            ("delete table inet denyd_t", "the table is gone", "the table is gone, by nft"),
            (
                "flush table inet denyd_t",
                "chain prerouting has 0 rules where there were 10",
                "chain prerouting has 0 rules where there were 10, by nft",
            ),
            (
                "insert rule inet denyd_t prerouting accept",
                "chain prerouting has 11 rules where there were 10",
                "chain prerouting has 11 rules where there were 10, by nft",
            ),
            ("delete chain inet denyd_t prerouting", "chain prerouting is gone", "chain prerouting is gone, by nft"),
            (
                "flush chain inet denyd_t refused",
                "chain refused has 0 rules where there were 2",
                "chain refused has 0 rules where there were 2, by nft",
            ),
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
    in_namespace("nft::mends_what_others_change", async |world| {
        let mut want = set("192.0.2.10 192.0.2.12 2001:db8:66::/64 198.51.100.0/24", "192.0.2.11 2001:db8::11");
        want.denied.insert("192.0.2.13".parse().unwrap(), Some(NOW.after(Duration::from_secs(3600))));
        want.kept = [("192.0.2.10".parse().unwrap(), 41)].into();
        let mut nft = world.nft();
        nft.replace(&want, NOW).unwrap();
        let state = || {
            ["allow4", "allow6", "keep4", "deny4", "deny6", "wide4", "wide6"].map(|set| world.elements("denyd_t", set))
        };
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
        check(&mut nft, "add element inet denyd_t keep4 { 192.0.2.10 . 42 }", "keep4, by nft", 0);
        check(&mut nft, "delete element inet denyd_t keep4 { 192.0.2.10 . 41 }", "keep4, by nft", 0);
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
        check(&mut nft, "chain inet denyd_t prerouting { policy drop; }", "chain prerouting is another one");
        let handle = world.run("nft", &["-a", "list", "chain", "inet", "denyd_t", "prerouting"]);
        let last = handle.lines().find(|line| line.contains("@deny4")).unwrap().rsplit(' ').next().unwrap().to_owned();
        let same = format!("replace rule inet denyd_t prerouting handle {last} ip saddr 192.0.2.77 counter drop");
        check(&mut nft, &same, "a rule is another one");
        let handle = world.run("nft", &["-a", "list", "chain", "inet", "denyd_t", "refused"]);
        let last = handle.lines().find(|line| line.contains("drop")).unwrap().rsplit(' ').next().unwrap().to_owned();
        check(
            &mut nft,
            &format!("replace rule inet denyd_t refused handle {last} counter accept"),
            "a rule is another one",
        );
        // the same table, put back from a file: its elements may be any
        let saved = world.run("nft", &["list", "table", "inet", "denyd_t"]);
        check(&mut nft, &format!("delete table inet denyd_t; {saved}"), "the table is another one");
        // what others do elsewhere, and ours over netlink, is none of it
        let other = "add table inet other { set s { type ipv4_addr; elements = { 192.0.2.99 }; };
            set p { type inet_service; elements = { 22, 80 }; };
            set c { type ipv4_addr . inet_service; elements = { 192.0.2.1 . 22 }; };
            map m { type ipv4_addr : verdict; elements = { 192.0.2.1 : drop, * : accept }; }; }";
        world.run("nft", &[other]);
        let another = set("203.0.113.9", "");
        assert_eq!(nft.probe(&another, NOW).unwrap(), Probe::Ours, "our table was not read for that");
        want.denied.insert("192.0.2.14".parse().unwrap(), None);
        nft.update(&diff(&want, "192.0.2.14", ""), &want, NOW).unwrap();
        assert_eq!(nft.probe(&want, NOW).unwrap(), Probe::Ours);
        world.is("192.0.2.14 silent, 192.0.2.11 open, 2001:db8::11 open").await;
    });
}

/// More news than the kernel keeps for us: what was not heard is read.
#[test]
fn what_was_not_heard_is_read() {
    in_namespace("nft::what_was_not_heard_is_read", async |world| {
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
    in_namespace("nft::a_lying_nft_is_seen", async |world| {
        let mut nft = world.nft().with_binary("/bin/true".into());
        let error = nft.replace(&set("192.0.2.10", ""), NOW).unwrap_err();
        assert_eq!(error.cause, "the table is gone");
    });
}

/// What the configuration takes for a table's name, nft takes too; but for the words of its language, which it names.
#[test]
fn takes_every_table_name_that_can_be_configured() {
    in_namespace("nft::takes_every_table_name_that_can_be_configured", async |world| {
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

/// More changes at once than a transaction has, and allowed ranges that are more than netlink takes.
#[test]
fn updates_of_any_size() {
    in_namespace("nft::updates_of_any_size", async |world| {
        let mut nft = world.nft();
        let mut want = DenySet::default();
        nft.replace(&want, NOW).unwrap();
        let host = |n: u32| Prefix::host(IpAddr::V4((0x0a00_0000 + n).into()));
        let mut diff = Diff { denies: (0..16_000).map(|n| (host(n), Some(None))).collect(), ..Diff::default() };
        diff.denies.insert("192.0.2.10".parse().unwrap(), Some(None));
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        let count = || world.run("nft", &["list", "set", "inet", "denyd_t", "deny4"]).matches(['.']).count() / 3;
        assert_eq!(count(), 16_001);
        let range = |n: u32| Range::from(host(0x10_0000 + 2 * n));
        // the first transaction is the program's, and the next one is of netlink
        let added = (16_000..17_000).map(|n| (host(n), Some(None))).collect();
        let diff = Diff { allowed: Some((0..60_000).map(range).collect()), denies: added, kept: None };
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        assert_eq!(nft.probe(&want, NOW).unwrap(), Probe::Ours, "all of it is ours");
        assert_eq!(world.run("nft", &["list", "set", "inet", "denyd_t", "allow4"]).matches(['.']).count() / 3, 60_000);
        assert_eq!(count(), 17_001);
        let diff = Diff {
            denies: want.denied.keys().map(|prefix| (*prefix, None)).collect(),
            allowed: Some(Vec::new()),
            kept: None,
        };
        want.apply(&diff);
        nft.update(&diff, &want, NOW).unwrap();
        assert_eq!(count(), 0);
        world.is("192.0.2.10 open").await;
    });
}

/// Not a test but a measurement, printed: `cargo test --test deny nft::measures -- --ignored --nocapture`.
#[test]
#[ignore = "it takes a minute, and what it finds depends on the machine"]
fn measures() {
    in_namespace("nft::measures", async |world| {
        let mut want = many();
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
                        ..Diff::default()
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
fn says_that_it_may_not() {
    in_namespace("nft::says_that_it_may_not", async |world| {
        let Some(setpriv) = program("setpriv") else { return skip("nft::says_that_it_may_not", "no setpriv") };
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
        let mut nft = world.nft().with_binary(script).without_netlink();
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

/// A kernel without CONFIG_NFT_FIB, as far as its `nft` tells: everybody who is denied is, and a sender is heard where the rule
/// names an address.
#[test]
fn denies_where_the_kernel_cannot_tell_its_addresses() {
    in_namespace("nft::denies_where_the_kernel_cannot_tell_its_addresses", async |world| {
        let dir = Dir::new();
        let old = dir.0.join("nft");
        let real = program("nft").unwrap();
        // Answers as nft 1.0.6 does of an expression that the kernel lacks.
        let script = format!(
            "#!/bin/sh\ntext=$(cat)\ncase $text in *'fib daddr'*)\n  echo \"/dev/stdin:9:2-6: Error: Could not process rule: No such \
             file or directory\n fib daddr type local\" >&2; exit 1;; esac\nprintf '%s\\n' \"$text\" | {} \"$@\"\n",
            real.display()
        );
        std::fs::write(&old, script).unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
        let spared = |from: &str, at: Option<&str>| Spared {
            from: from.parse().unwrap(),
            protocol: Protocol::Tcp,
            at: at.map(|at| at.parse().unwrap()),
            port: PORT,
        };
        let spared = vec![spared("192.0.2.10", None), spared("192.0.2.11", Some("192.0.2.1"))];
        let effect = Effect { spared, ..Effect::default() };
        let mut nft = world.nft().with_binary(old).with_effect(effect);
        let want = set("192.0.2.10 192.0.2.11 198.51.100.1", "");
        nft.replace(&want, NOW).unwrap();
        assert!(matches!(nft.probe(&want, NOW), Ok(Probe::Ours)));
        world.is("192.0.2.10 silent, 192.0.2.11 open, 198.51.100.1 silent, 192.0.2.12 open").await;
    });
}
