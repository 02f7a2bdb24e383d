//! Who guesses passwords is kept out, nobody else is, and `forgive` lets in again.

use super::{attack, median};
use kit::until;
use kit::world::{ADMIN, Place};
use kit::world::{Route, World};

pub(crate) const FILE: &str = "[[input]]\nkind = \"file\"\npath = \"/var/log/auth.log\"\n";

#[test]
fn wrong_passwords_deny_until_forgiven() {
    let Some(mut world) = World::new("wrong_passwords_deny_until_forgiven") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let users = ["admin", "oracle", "test", "guest", "git", "ubuntu"];
    attack(&mut world, "198.51.100.2", &users, 6);
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
    for source in ["198.51.100.1", "198.51.100.2"] {
        assert_eq!(world.attacker.banner(source), "silent");
        assert!(!world.ssh(Place::Attacker, source, "Tb-Right-1"));
    }
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"), "an innocent address with the right password");
    assert!(world.ssh(Place::Attacker, "198.51.100.3", "Tb-Right-1"), "an address beside the denied ones");

    let output = world.denyd(&["forgive", "198.51.100.2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut other = world.attacker.another();
    other.hammer("198.51.100.2", "open");
    assert_eq!(other.finish()["ended"], "open");
    assert!(world.ssh(Place::Attacker, "198.51.100.2", "Tb-Right-1"));
    assert_eq!(world.denied(), ["198.51.100.1"]);

    // no moment without the deny while denyd ends and starts again
    other.hammer("198.51.100.1", "stop");
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(kit::world::how(denyd.wait()), "exit 0", "{}", denyd.said());
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent", "with denyd stopped");
    let denyd = world.start_denyd(None);
    assert_eq!(world.denied(), ["198.51.100.1"]);
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    let seen = other.stop();
    assert_eq!(seen["open"], 0, "{seen}");
    assert!(seen["silent"].as_u64().unwrap() > 100, "{seen}");
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    drop(denyd);
}

#[test]
fn off_takes_the_table_away_and_a_start_brings_it_back() {
    let Some(mut world) = World::new("off_takes_the_table_away_and_a_start_brings_it_back") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    assert_eq!(world.denyd(&["deny", "198.51.100.1"]).status.code(), Some(0));
    until("the deny to be in force", || (world.attacker.banner("198.51.100.1") == "silent").then_some(()));
    assert_eq!(world.denyd(&["off"]).status.code(), Some(2), "it would be written again");
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    let output = world.denyd(&["off"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(world.run(&["nft", "list", "ruleset"]), "");
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"));
    assert_eq!(world.denyd(&["off"]).status.code(), Some(0), "once more does no harm");
    let _denyd = world.start_denyd(None);
    assert_eq!(world.denied(), ["198.51.100.1"]);
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
}

#[test]
fn off_takes_chains_and_sets_away() {
    let Some(mut world) = World::new("off_takes_chains_and_sets_away") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(&format!("deny.backends = [\"iptables\"]\n{FILE}")));
    assert_eq!(world.denyd(&["deny", "198.51.100.1", "2001:db8:66:3::/64"]).status.code(), Some(0));
    until("the deny to be in force", || (world.attacker.banner("198.51.100.1") == "silent").then_some(()));
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    let output = world.denyd(&["off"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for command in [&["iptables-save", "-t", "raw"][..], &["ip6tables-save", "-t", "raw"], &["ipset", "list", "-n"]] {
        let left = world.run(command);
        assert!(!left.contains("denyd"), "{command:?}: {left}");
    }
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"));
}

/// `packaging/doc/figures.md` has the median of many; a deny that waited for a commit, a poll or a tick would take longer than this.
#[test]
fn denies_within_milliseconds() {
    const BOUND_MS: f64 = 50.0;
    let Some(mut world) = World::new("denies_within_milliseconds") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    let all = (1..=9).map(|n| attack(&mut world, &format!("198.51.100.{n}"), &["root"], 2)).collect();
    let median = median(all);
    assert!(median < BOUND_MS, "{median} ms");
}

#[test]
fn ipv6_is_denied_by_household() {
    let Some(mut world) = World::new("ipv6_is_denied_by_household") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(&format!("decide.allow = [\"2001:db8:66:1::7\"]\n{FILE}")));
    attack(&mut world, "2001:db8:66:1::1", &["nobody-here"], 6);
    assert_eq!(world.denied(), ["2001:db8:66:1::/64"]);
    assert_eq!(world.attacker.banner("2001:db8:66:1::8"), "silent", "another address of the household");
    assert_eq!(world.attacker.login("2001:db8:66:1::7"), "ok", "the one that is allowed");
    assert_eq!(world.attacker.login("2001:db8:66:2::1"), "ok", "another household");
    assert!(world.ssh(Place::Admin, "2001:db8::200", "Tb-Right-1"));
    // a household that uses an address once
    for host in 1..=5 {
        world.attacker.fail(&format!("2001:db8:66:3::{host}"), "nobody-here");
    }
    world.wait_count("2001:db8:66:3::/64", "invalid", 5);
    assert!(world.attacker.banner("2001:db8:66:3::9").starts_with("SSH"));
    let mut last = world.attacker.another();
    last.start("2001:db8:66:3::6", serde_json::json!({"do": "login", "user": "nobody-here", "tries": ["wrong"]}));
    let mut watcher = world.attacker.another();
    watcher.hammer("2001:db8:66:3::9", "silent");
    assert_eq!(watcher.finish()["ended"], "silent");
    // allowed while denied
    let output = world.denyd(&["allow", "2001:db8:66:3::9"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    watcher.hammer("2001:db8:66:3::9", "open");
    assert_eq!(watcher.finish()["ended"], "open");
    assert_eq!(world.attacker.login("2001:db8:66:3::9"), "ok");
    assert_eq!(world.attacker.banner("2001:db8:66:3::1"), "silent");
}

#[test]
fn hosts_deny_makes_sshd_refuse() {
    let name = "hosts_deny_makes_sshd_refuse";
    let Some(mut world) = World::new(name) else { return };
    let sshd = std::fs::read("/usr/sbin/sshd").unwrap();
    if !sshd.windows(10).any(|bytes| bytes == b"libwrap.so") {
        return kit::skip(name, "this sshd is not linked with libwrap");
    }
    const FOREIGN: &str =
        "# mine\nALL: 192.0.2.77\n\n# DenyHosts is no longer used \nin.telnetd: ALL EXCEPT 192.0.2.0/24\n";
    world.write("/etc/hosts.deny", FOREIGN);
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(&format!("deny.backends = [\"hosts.deny\"]\n{FILE}")));
    assert_eq!(world.read("/etc/hosts.deny"), FOREIGN);
    world.attacker.fail("198.51.100.1", "root");
    world.wait_count("198.51.100.1", "root", 1);
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"));
    world.attacker.fail("198.51.100.1", "root");
    until("the address in hosts.deny", || world.read("/etc/hosts.deny").contains("198.51.100.1\n").then_some(()));
    let written = world.read("/etc/hosts.deny");
    assert!(written.starts_with(FOREIGN), "{written}");
    // libwrap takes some 5 s to close
    assert!(["silent", "closed"].contains(&world.attacker.banner("198.51.100.1").as_str()));
    world.logged_at("refused connect", "198.51.100.1", 1);
    assert!(!world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    assert!(!world.run(&["nft", "list", "ruleset"]).contains("denyd"), "no table besides");
    let output = world.denyd(&["forgive", "198.51.100.1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    until("the address to leave hosts.deny", || {
        (!world.read("/etc/hosts.deny").contains("198.51.100.1")).then_some(())
    });
    assert!(world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
    assert_eq!(world.read("/etc/hosts.deny"), FOREIGN);
    let latency = |n: u32| {
        let source = format!("198.51.100.{n}");
        (0..2).for_each(|_| world.attacker.fail(&source, "root"));
        let written = || world.read("/etc/hosts.deny").contains(&format!("{source}\n")).then_some(());
        until("the address in hosts.deny", written);
        (world.changed_at("/etc/hosts.deny") - world.logged_at("Failed password for root", &source, 2)) * 1000.0
    };
    let median = median((11..=15).map(latency).collect());
    println!("LATENCY of hosts.deny {median:.1} ms");
    assert!(median < 50.0, "{median} ms");
}

#[test]
fn runs_without_configuration() {
    let Some(mut world) = World::new("runs_without_configuration") else { return };
    let output = world.denyd(&["run"]);
    assert_eq!(output.status.code(), Some(2), "nothing to read: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no log of sshd was found"), "{output:?}");
    world.start_sshd(Route::File);
    let denyd = world.start_denyd(None);
    let said = denyd.said();
    assert!(said.contains("found: follow /var/log/auth.log"), "{said}");
    assert!(said.contains("enforced_by=\"nftables\""), "{said}");
    attack(&mut world, "198.51.100.1", &["root"], 2);
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    let rules = world.run(&["nft", "list", "table", "inet", "denyd"]);
    assert!(rules.contains("198.51.100.1"), "{rules}");
}

#[test]
fn a_flushed_firewall_is_filled_again() {
    let Some(mut world) = World::new("a_flushed_firewall_is_filled_again") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "silent");
    assert_eq!(watcher.finish()["open"], 0);
    for command in [&["nft", "flush", "ruleset"][..], &["nft", "delete", "table", "inet", "denyd"]] {
        world.run(command);
        watcher.hammer("198.51.100.1", "silent");
        let flushed = super::now();
        let seen = watcher.finish();
        assert_eq!(seen["ended"], "silent", "after {command:?}: {seen}");
        let gap = seen["first_silent"].as_f64().unwrap() - flushed;
        println!("after {command:?}: {gap:.2} s, {} connections, until denied again", seen["open"]);
        until("the table to be whole", || world.run(&["nft", "list", "tables"]).contains("denyd").then_some(()));
    }
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
}

#[test]
fn a_dry_run_enforces_nothing() {
    let Some(mut world) = World::new("a_dry_run_enforces_nothing") else { return };
    world.start_sshd(Route::File);
    world.write("/etc/denyd/denyd.toml", FILE);
    let denyd = world.spawn(&[&world.program(), "run", "--dry-run"]);
    until("denyd to run", || world.status());
    for _ in 0..2 {
        world.attacker.fail("198.51.100.1", "root");
    }
    until("the deny to be printed", || {
        denyd.said().lines().any(|line| line.contains("198.51.100.1") && !line.contains("INFO")).then_some(())
    });
    assert!(world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
    assert_eq!(world.run(&["nft", "list", "ruleset"]), "");
}

/// Within seconds: a cheap probe sees that somebody committed something, not what.
#[test]
fn a_flushed_set_is_filled_again() {
    let Some(mut world) = World::new("a_flushed_set_is_filled_again") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.run(&["nft", "flush", "set", "inet", "denyd", "deny4"]);
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "silent");
    assert_eq!(watcher.finish()["ended"], "silent");
}

#[test]
fn a_deny_ends_and_counting_begins_anew() {
    let Some(mut world) = World::new("a_deny_ends_and_counting_begins_anew") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(&format!("decide.deny_for = \"4s\"\n{FILE}")));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "open");
    let seen = watcher.finish();
    assert_eq!(seen["ended"], "open", "{seen}");
    let lasted = seen["last_open"].as_f64().unwrap() - world.logged_at("Failed password for root", "198.51.100.1", 2);
    // The record's stamp is of whole seconds.
    assert!((2.9..6.0).contains(&lasted), "it lasted {lasted} s");
    until("the deny to be over", || world.denied().is_empty().then_some(()));
    world.attacker.fail("198.51.100.1", "root");
    world.wait_count("198.51.100.1", "root", 1);
    assert_eq!(world.denied(), [""; 0]);
    assert!(world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
}

#[test]
fn an_operator_denies_for_a_while() {
    let Some(mut world) = World::new("an_operator_denies_for_a_while") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    let mut watcher = world.attacker.another();
    let output = world.denyd(&["deny", "198.51.100.0/29", "--for", "5s"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    watcher.hammer("198.51.100.7", "silent");
    assert_eq!(watcher.finish()["ended"], "silent");
    assert!(world.attacker.banner("198.51.100.8").starts_with("SSH-2.0"), "beside the prefix");
    // it ends although nobody is there to end it
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    watcher.hammer("198.51.100.7", "open");
    assert_eq!(watcher.finish()["ended"], "open");
    assert_eq!(world.denied(), [""; 0]);
}

/// Only sshd's port is closed, with an answer; and it is said how often, of each deny, too.
#[test]
fn what_is_refused_is_counted_and_shown() {
    let Some(mut world) = World::new("what_is_refused_is_counted_and_shown") else { return };
    world.start_sshd(Route::File);
    let effect = "[deny]\nports = [22]\naction = \"reject\"\ncounters = true\n";
    let _denyd = world.start_denyd(Some(&format!("{effect}{FILE}")));
    assert_eq!(world.denyd(&["deny", "198.51.100.1", "198.51.100.8/29"]).status.code(), Some(0));
    until("the deny to be in force", || world.attacker.banner("198.51.100.9").ends_with("refused").then_some(()));
    assert!(world.attacker.banner("198.51.100.1").ends_with("refused"));
    assert!(world.attacker.banner("198.51.100.2").starts_with("SSH-2.0"));
    let row = |world: &World, prefix: &str| {
        let rows = world.denyd_json(&["list", "--json"]);
        rows.as_array().unwrap().iter().find(|row| row["prefix"] == prefix).unwrap().clone()
    };
    assert_eq!(row(&world, "198.51.100.1")["refused"], 1);
    let wide = row(&world, "198.51.100.8/29")["refused"].as_u64().unwrap();
    assert!(wide >= 1, "{wide}");
    let said = |arguments: &[&str]| String::from_utf8(world.denyd(arguments).stdout).unwrap();
    let why = said(&["why", "198.51.100.1"]);
    assert!(why.contains("1 packet refused since the sets were last written"), "{why}");
    assert!(said(&["list"]).lines().next().unwrap().ends_with("REFUSED"));
    until("the status to be of now", || {
        // One that is not answered in time knocks again.
        let wide = row(&world, "198.51.100.8/29")["refused"].as_u64().unwrap();
        let refused = world.status().unwrap()["backends"][0]["refused"].clone();
        (refused == serde_json::json!({"packets": wide + 1, "connections": wide + 1})).then_some(())
    });
}

/// Whoever is denied stays so while one firewall takes over from another, and nothing is left of the old one.
#[test]
fn another_firewall_takes_over_without_a_gap() {
    let Some(mut world) = World::new("another_firewall_takes_over_without_a_gap") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    assert_eq!(world.denyd(&["deny", "198.51.100.1"]).status.code(), Some(0));
    until("the deny to be in force", || (world.attacker.banner("198.51.100.1") == "silent").then_some(()));
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "stop");
    let gone = |world: &World, command: &[&str], what: &str| {
        until(&format!("{what} to be gone"), || (!world.run(command).contains(what)).then_some(()));
    };
    let tables = ["nft", "list", "tables", "inet"];
    let configured = |head: &str| format!("{head}{FILE}");
    // another one, while the daemon runs
    world.write("/etc/denyd/denyd.toml", &configured("deny.backends = [\"iptables\"]\n"));
    assert_eq!(world.denyd(&["reload"]).status.code(), Some(0));
    gone(&world, &tables, "denyd");
    assert!(world.run(&["iptables-save", "-t", "raw"]).contains("denyd-refused"));
    // answered, in another table of iptables
    world.write("/etc/denyd/denyd.toml", &configured("deny.backends = [\"iptables\"]\ndeny.action = \"reject\"\n"));
    assert_eq!(world.denyd(&["reload"]).status.code(), Some(0));
    gone(&world, &["iptables-save", "-t", "raw"], "denyd");
    // another table of nftables, at a start
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    let _denyd = world.start_denyd(Some(&configured("deny.nftables.table = \"other\"\n")));
    gone(&world, &["iptables-save", "-t", "filter"], "denyd");
    gone(&world, &["ipset", "list", "-n"], "denyd");
    assert!(world.run(&tables).contains("table inet other"));
    let seen = watcher.stop();
    assert_eq!(seen["open"], 0, "{seen}");
    assert_eq!(world.denied(), ["198.51.100.1"]);
}

#[test]
fn an_address_that_comes_is_the_machines_own() {
    let Some(world) = World::new("an_address_that_comes_is_the_machines_own") else { return };
    let _denyd = world.start_denyd(Some(FILE));
    let deny = |world: &World| String::from_utf8(world.denyd(&["deny", "192.0.2.77"]).stderr).unwrap();
    assert_eq!(deny(&world), "", "it is anybody's");
    assert_eq!(world.denied(), ["192.0.2.77"]);
    world.run(&["ip", "address", "add", "192.0.2.77/32", "dev", "lo"]);
    until("it is released", || world.denied().is_empty().then_some(()));
    assert!(deny(&world).contains("192.0.2.77 is this machine's own address"), "{}", deny(&world));
    world.run(&["ip", "address", "del", "192.0.2.77/32", "dev", "lo"]);
    until("it is anybody's again", || deny(&world).is_empty().then_some(()));
}
