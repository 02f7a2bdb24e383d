//! What was counted and denied outlasts the daemon's end, however it ends; and there is only ever one.

use nix::sys::signal::Signal;

use super::attack;
use super::denies::FILE;
use kit::until;
use kit::world::{Place, how};
use kit::world::{Route, World};

#[test]
fn counts_go_on_after_a_kill() {
    let Some(mut world) = World::new("counts_go_on_after_a_kill") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    for _ in 0..2 {
        world.attacker.fail("198.51.100.2", "nobody-here");
    }
    world.attacker.fail("198.51.100.3", "root");
    // at once: some of it may not be committed yet
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "stop");
    denyd.signal(Signal::SIGKILL);
    assert_eq!(how(denyd.wait()), "signal 9");
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    // what is logged while it is away is read afterwards
    world.attacker.fail("198.51.100.2", "nobody-here");
    let mut denyd = world.start_denyd(None);
    let seen = watcher.stop();
    assert_eq!(seen["open"], 0, "{seen}");
    world.wait_count("198.51.100.2", "invalid", 3);
    world.wait_count("198.51.100.3", "root", 1);
    // killed again, with all of it committed
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    let _denyd = world.start_denyd(None);
    assert_eq!(world.count("198.51.100.2", "invalid"), 3);
    assert_eq!(world.denied(), ["198.51.100.1"]);
    for count in 4..=5 {
        world.attacker.fail("198.51.100.2", "nobody-here");
        world.wait_count("198.51.100.2", "invalid", count);
    }
    assert!(world.attacker.banner("198.51.100.2").starts_with("SSH-2.0"), "5 are tolerated");
    assert!(world.attacker.banner("198.51.100.3").starts_with("SSH-2.0"), "1 is tolerated of root");
    for (source, user, count) in [("198.51.100.2", "nobody-here", 6), ("198.51.100.3", "root", 2)] {
        let (mut last, mut watcher) = (world.attacker.another(), world.attacker.another());
        watcher.hammer(source, "silent");
        last.start(source, serde_json::json!({"do": "login", "user": user, "tries": ["wrong"]}));
        assert_eq!(watcher.finish()["ended"], "silent");
        let rows = world.denyd_json(&["list", "hosts", "--json"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["prefix"] == source).unwrap();
        assert_eq!(row["count"], count, "{row}");
    }
}

#[test]
fn a_second_daemon_names_the_first() {
    let Some(mut world) = World::new("a_second_daemon_names_the_first") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    let pid = world.status().unwrap()["pid"].to_string();
    let output = world.denyd(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.split(|c: char| !c.is_ascii_digit()).any(|number| number == pid), "{pid} is not in: {said}");
    // with another control socket it is the state that is taken
    let config = format!("control_socket = \"/run/denyd/other\"\n{FILE}");
    world.write("/etc/denyd/other.toml", &config);
    let output = world.denyd(&["--config", "/etc/denyd/other.toml", "run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.split(|c: char| !c.is_ascii_digit()).any(|number| number == pid), "{pid} is not in: {said}");
    // the first goes on
    assert_eq!(world.status().unwrap()["pid"].to_string(), pid);
    attack(&mut world, "198.51.100.1", &["root"], 2);
}

#[test]
fn counts_go_on_over_a_rotation() {
    let Some(mut world) = World::new("counts_go_on_over_a_rotation") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    let fail = |world: &mut World, times: usize| {
        for _ in 0..times {
            world.attacker.fail("198.51.100.2", "nobody-here");
        }
    };
    fail(&mut world, 2);
    // what logrotate does: rename, go on writing to the old file for a while, then tell rsyslogd
    world.run(&["mv", "/var/log/auth.log", "/var/log/auth.log.1"]);
    fail(&mut world, 1);
    world.run(&["sh", "-c", "kill -HUP $(cat /run/rsyslogd.pid)"]);
    fail(&mut world, 2);
    until("the new file", || world.read("/var/log/auth.log").contains("Invalid user").then_some(()));
    world.wait_count("198.51.100.2", "invalid", 5);
    // copytruncate, as some do it
    world.run(&["cp", "/var/log/auth.log", "/var/log/auth.log.2"]);
    world.run(&["truncate", "-s", "0", "/var/log/auth.log"]);
    assert_eq!(world.denied(), [""; 0]);
    let (mut last, mut watcher) = (world.attacker.another(), world.attacker.another());
    watcher.hammer("198.51.100.2", "silent");
    last.start("198.51.100.2", serde_json::json!({"do": "login", "user": "nobody-here", "tries": ["wrong"]}));
    assert_eq!(watcher.finish()["ended"], "silent");
    assert_eq!(world.denyd_json(&["list", "hosts", "--json"])[0]["count"], 6);
}

#[test]
fn verbs_work_with_the_daemon_stopped() {
    let Some(mut world) = World::new("verbs_work_with_the_daemon_stopped") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    attack(&mut world, "198.51.100.2", &["root"], 2);
    denyd.signal(Signal::SIGTERM);
    assert_eq!(how(denyd.wait()), "exit 0", "{}", denyd.said());
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
    let why = world.denyd(&["why", "198.51.100.1", "--json"]);
    assert_eq!(why.status.code(), Some(0), "{why:?}");
    let output = world.denyd(&["forgive", "198.51.100.1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
    assert_eq!(world.attacker.banner("198.51.100.2"), "silent");
    assert_eq!(world.denyd(&["status"]).status.code(), Some(2), "no daemon tells");
    let _denyd = world.start_denyd(None);
    assert_eq!(world.denied(), ["198.51.100.2"]);
    assert_eq!(world.denyd(&["why", "198.51.100.1"]).status.code(), Some(1));
    // the record of the forgiven failures is not read again
    world.attacker.fail("198.51.100.1", "root");
    world.wait_count("198.51.100.1", "root", 1);
}

#[test]
fn denies_come_back_after_a_reboot() {
    let Some(mut world) = World::new("denies_come_back_after_a_reboot") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.wait_count("198.51.100.1", "root", 2);
    let until_before = world.denyd_json(&["list", "hosts", "--json"])[0]["until"].clone();
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    world.run(&["nft", "flush", "ruleset"]);
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"));
    let _denyd = world.start_denyd(None);
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    assert_eq!(world.denyd_json(&["list", "hosts", "--json"])[0]["until"], until_before);
}

#[test]
fn a_corrupt_database_lets_nobody_in() {
    let Some(mut world) = World::new("a_corrupt_database_lets_nobody_in") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    for allowed in ["198.51.100.2", "2001:db8:66::7"] {
        assert!(world.denyd(&["allow", allowed]).status.success());
    }
    denyd.signal(Signal::SIGTERM);
    assert_eq!(how(denyd.wait()), "exit 0", "{}", denyd.said());
    world.write("/var/lib/denyd/denyd.db", &"this is no database\n".repeat(5000));
    let denyd = world.start_denyd(None);
    denyd.wait_said("set aside");
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent", "the kernel's set is what is left");
    assert_eq!(world.denied(), ["198.51.100.1"]);
    // Nor does it deny who was allowed; what is the machine's own is not taken for that.
    let allowed = String::from_utf8(world.denyd(&["allow"]).stdout).unwrap();
    assert!(["198.51.100.2", "2001:db8:66::7"].iter().all(|one| allowed.contains(one)), "{allowed}");
    assert!(!allowed.contains("203.0.113"), "{allowed}");
}

#[test]
fn a_full_disk_opens_no_door() {
    let Some(mut world) = World::new("a_full_disk_opens_no_door") else { return };
    world.run(&["mkdir", "-p", "/var/lib/denyd"]);
    world.run(&["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", "/var/lib/denyd"]);
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.run(&["sh", "-c", "dd if=/dev/zero of=/var/lib/denyd/filler bs=4k 2>/dev/null; true"]);
    // A commit may still find room in pages that are there; not for long.
    for index in 0..5 {
        world.attacker.fail("198.51.100.3", &format!("somebody-{index}"));
    }
    until("the operator to be told", || world.status().filter(|status| status["unwritten"] == true));
    denyd.wait_said("the database cannot be written");
    assert_eq!(world.denyd(&["status"]).status.code(), Some(1));
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent", "what is denied stays denied");
    // Who comes now is denied, who is forgiven is let in, and who asks is told that it is not written.
    attack(&mut world, "198.51.100.2", &["root"], 2);
    for (verb, address) in [("forgive", "198.51.100.1"), ("allow", "198.51.100.3"), ("deny", "198.51.100.4")] {
        let output = world.denyd(&[verb, address]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("not yet written"), "{verb}: {said}");
    }
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"), "it is forgiven");
    assert_eq!(world.attacker.banner("198.51.100.4"), "silent");
    assert_eq!(world.status().unwrap()["held_back"], false);
    world.run(&["rm", "/var/lib/denyd/filler"]);
    until("all to be written", || world.status().filter(|status| status["unwritten"] != true));
    denyd.signal(Signal::SIGKILL);
    assert_eq!(how(denyd.wait()), "signal 9");
    let _denyd = world.start_denyd(None);
    until("what was decided meanwhile", || (world.denied() == ["198.51.100.2", "198.51.100.4"]).then_some(()));
    let allowed = String::from_utf8(world.denyd(&["allow"]).stdout).unwrap();
    assert!(allowed.contains("198.51.100.3"), "{allowed}");
}

/// The file that a page of the web recommends, unchanged: its log is not there, nor is who takes its mail.
#[test]
fn the_configuration_of_denyhosts_goes_on() {
    let Some(mut world) = World::new("the_configuration_of_denyhosts_goes_on") else { return };
    world.start_sshd(Route::File);
    world.write("/etc/denyhosts.conf", include_str!("../data/denyhosts/seed.conf"));
    let denyd = world.spawn(&[&world.program(), "--config", "/etc/denyhosts.conf", "run"]);
    until("denyd to enforce", || {
        assert!(denyd.is_running(), "denyd ended: {}", denyd.said());
        world.status()?["backends"].as_array()?.iter().all(|one| !one["replaced"].is_null()).then_some(())
    });
    // DENY_THRESHOLD_INVALID = 1 denies at the second, DENY_THRESHOLD_ROOT = 2 at the third.
    for (source, user, tolerated) in [("198.51.100.1", "nobody-here", 1), ("198.51.100.2", "root", 2)] {
        for _ in 0..tolerated {
            world.attacker.fail(source, user);
        }
        assert!(!world.read("/etc/hosts.deny").contains(source), "{source} is tolerated");
        world.attacker.fail(source, user);
        let line = format!("ALL: {source}\n");
        until("the line in hosts.deny", || world.read("/etc/hosts.deny").contains(&line).then_some(()));
        assert!(!world.attacker.banner(source).starts_with("SSH-2.0"), "{source} is refused");
    }
    assert!(!world.read("/etc/hosts.deny").contains("# DenyHosts:"), "PURGE_DENY is blank: no stamps");
    let said = denyd.said();
    assert!(said.contains("SECURE_LOG = /var/log/secure is not there"), "{said}");
}
