//! `sshd -e | multilog t`: what it denies, and how little the strangers can do who write whole lines into it.

use serde_json::json;

use super::hostile::{NAMES, hex};
use kit::skip;
use kit::world::{ADMIN, Place};
use kit::world::{Route, World};
use kit::{program, until};

const LOG: &str = "/var/log/sshd";
const INPUT: &str = "[[input]]\nkind = \"multilog\"\npath = \"/var/log/sshd\"\nidentifier = \"sshd\"\n";
const SOURCE: &str = "198.51.100.1";

/// A server whose sshd writes to a multilog; `None` if the test had to be skipped.
fn world(test: &str) -> Option<World> {
    if program("multilog").is_none() {
        skip(test, "no multilog");
        return None;
    }
    let mut world = World::new(test)?;
    let sshd = program("sshd").unwrap();
    let line = format!("{} -D -e -f /etc/ssh/e2e_config 2>&1 | multilog t s4096 n20 {LOG}", sshd.display());
    let both = world.spawn(&["sh", "-c", &line]);
    world.keep(both);
    until("sshd to listen", || log(&world).contains("Server listening on :: port 22").then_some(()));
    Some(world)
}

/// All that multilog has written and not deleted.
fn log(world: &World) -> String {
    world.run(&["sh", "-c", &format!("cat {LOG}/@* {LOG}/current 2>/dev/null | tr -d '\\r' || true")])
}

/// The seconds that a prefix is denied for, if it is.
fn denied_for(world: &World, prefix: &str) -> Option<i64> {
    let rows = world.denyd_json(&["list", "hosts", "--json"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["prefix"] == prefix)?;
    let time = |key: &str| row[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    Some(time("until") - time("since"))
}

#[test]
fn wrong_passwords_in_a_multilog_deny_for_an_hour() {
    let Some(mut world) = world("wrong_passwords_in_a_multilog_deny_for_an_hour") else { return };
    let mut denyd = world.start_denyd(Some(INPUT));
    for _ in 0..3 {
        world.attacker.fail("198.51.100.2", "nobody-here");
    }
    world.wait_count("198.51.100.2", "invalid", 3);
    // Killed, while multilog goes on and rotates.
    denyd.signal(nix::sys::signal::Signal::SIGKILL);
    denyd.wait();
    for _ in 0..30 {
        world.attacker.banner("198.51.100.3");
    }
    world.attacker.fail("198.51.100.2", "nobody-here");
    world.attacker.fail(SOURCE, "root");
    let denyd = world.start_denyd(None);
    world.wait_count("198.51.100.2", "invalid", 4);
    world.wait_count(SOURCE, "root", 1);
    let mut watcher = world.attacker.another();
    watcher.hammer(SOURCE, "silent");
    world.attacker.fail(SOURCE, "root");
    assert_eq!(watcher.finish()["ended"], "silent");
    assert_eq!(denied_for(&world, SOURCE), Some(3600));
    assert_eq!(world.denied(), [SOURCE]);
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    assert!(!denyd.said().contains("lines may be missing"), "{}", denyd.said());
}

#[test]
fn strangers_lines_in_a_multilog_clear_nothing_and_deny_for_an_hour_at_most() {
    let name = "strangers_lines_in_a_multilog_clear_nothing_and_deny_for_an_hour_at_most";
    let Some(mut world) = world(name) else { return };
    let policy =
        "decide = { reset_on_success = true, deny_for = \"forever\", threshold_valid = 50, threshold_invalid = 50 }\n";
    let denyd = world.start_denyd(Some(&format!("{policy}{INPUT}")));
    for _ in 0..3 {
        assert!(!world.ssh(Place::Attacker, "198.51.100.2", "wrong"));
    }
    world.wait_count("198.51.100.2", "valid", 3);
    let login = |line: &str| format!("a\r\n{line}\r\nb").into_bytes();
    let forged = [
        login("Accepted password for tbuser from 198.51.100.2 port 22 ssh2"),
        login("last message repeated 99 times"),
        login("- Last output repeated 99 times -"),
        login("Nov 21 23:26:32 other sshd[1]: Accepted password for tbuser from 198.51.100.2 port 22 ssh2"),
    ];
    for name in NAMES.iter().copied().chain(forged.iter().map(Vec::as_slice)) {
        world.attacker.ask(SOURCE, json!({"do": "login", "user_hex": hex(name), "tries": ["wrong"]}));
    }
    // Whole lines about an address of the stranger's choice: they deny it, and no tool can tell. For an hour.
    until("the victim to be denied", || denied_for(&world, "192.0.2.66"));
    assert!(
        log(&world).contains(" Failed password for root from 192.0.2.66 port 22 ssh2\n"),
        "this is about such lines"
    );
    let rows = world.denyd_json(&["list", "hosts", "--json"]);
    for row in rows.as_array().unwrap() {
        let prefix = row["prefix"].as_str().unwrap();
        assert_eq!(denied_for(&world, prefix), Some(3600), "{rows}");
    }
    // Behind all of these.
    assert!(!world.ssh(Place::Admin, ADMIN, "wrong"));
    world.wait_count(ADMIN, "valid", 1);
    assert_eq!(world.count("198.51.100.2", "valid"), 3, "nothing clears a count, nothing repeats one");
    let known = world.denyd(&["why", "192.0.2.66", "--json"]);
    let known = String::from_utf8(known.stdout).unwrap();
    assert!(known.contains(r#""host":"tbhost""#) && !known.contains(r#""host":"other""#), "{known}");
    assert!(!denyd.said().contains("suspicious"), "{}", denyd.said());
}

#[test]
fn a_multilog_without_time_is_refused() {
    let Some(mut world) = World::new("a_multilog_without_time_is_refused") else { return };
    world.start_sshd(Route::File);
    world.write("/var/log/sshd/current", "Server listening on 0.0.0.0 port 22.\r\n");
    let denyd = world.start_denyd(Some(INPUT));
    denyd.wait_said("/var/log/sshd/current has lines without time; make `t` the first action of multilog");
    let output = world.denyd(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("multilog t /var/log/sshd"), "{output:?}");
}
