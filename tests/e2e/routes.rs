//! The same from every way in which rsyslogd hands records on.

use serde_json::json;

use super::attack;
use super::denies::FILE;
use super::program::{ADMIN, Place, SERVER, until};
use super::world::{Route, World};

fn denies_by(test: &str, route: Route, listen: &str, more: &str) -> Option<World> {
    let mut world = World::new(test)?;
    // the listener first, so that rsyslogd has somebody to send to
    let denyd = world.start_denyd(Some(&format!("[[input]]\nkind = \"syslog\"\nlisten = \"{listen}\"\n{more}")));
    world.start_sshd(route);
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let users = ["admin", "oracle", "test"];
    attack(&mut world, "198.51.100.2", &users, 6);
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    let output = world.denyd(&["forgive", "--all"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "open");
    assert_eq!(watcher.finish()["ended"], "open");
    assert!(world.ssh(Place::Attacker, "198.51.100.1", "Tb-Right-1"));
    world.keep(denyd);
    Some(world)
}

#[test]
fn rsyslog_forwards_over_udp() {
    denies_by("rsyslog_forwards_over_udp", Route::Udp, "udp://127.0.0.1:514", "");
}

#[test]
fn rsyslog_forwards_over_tcp() {
    denies_by("rsyslog_forwards_over_tcp", Route::Tcp, "tcp://127.0.0.1:514", "");
}

#[test]
fn rsyslog_forwards_over_tcp_octet_counted() {
    denies_by("rsyslog_forwards_over_tcp_octet_counted", Route::TcpCounted, "tcp://127.0.0.1:514", "");
}

#[test]
fn rsyslog_writes_to_a_unix_datagram_socket() {
    let name = "rsyslog_writes_to_a_unix_datagram_socket";
    denies_by(name, Route::UnixDatagram, "unix-datagram:///run/denyd/log", "");
}

#[test]
fn a_program_writes_to_a_unix_stream_socket() {
    denies_by("a_program_writes_to_a_unix_stream_socket", Route::UnixStream, "unix:///run/denyd/log", "");
}

#[test]
fn rsyslog_forwards_over_the_wire_by_tcp() {
    let listen = format!("tcp://{SERVER}:514");
    let from = format!("from = [\"{SERVER}\"]");
    let Some(mut world) = denies_by("rsyslog_forwards_over_the_wire_by_tcp", Route::TcpWire, &listen, &from) else {
        return;
    };
    // who is not in `from` is not heard
    let line = format!("{}\n", forged());
    let ask = json!({"do": "raw", "port": 514, "send": line.repeat(5)});
    world.attacker.start("198.51.100.9", ask);
    until("the stranger to be refused", || (refused(&world) >= 1).then_some(()));
    assert_eq!(world.count(ADMIN, "root"), 0);
}

#[test]
fn rsyslog_forwards_over_the_wire_by_udp() {
    let mut world = match World::new("rsyslog_forwards_over_the_wire_by_udp") {
        Some(world) => world,
        None => return,
    };
    let config = format!("[[input]]\nkind = \"syslog\"\nlisten = \"udp://{SERVER}:514\"\nfrom = [\"{SERVER}\"]\n");
    let _denyd = world.start_denyd(Some(&config));
    world.start_sshd(Route::UdpWire);
    for _ in 0..5 {
        world.attacker.ask("198.51.100.9", json!({"do": "udp", "port": 514, "send": forged()}));
    }
    until("the stranger's datagrams to be refused", || (refused(&world) >= 5).then_some(()));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    assert_eq!(world.denied(), ["198.51.100.1"], "and not {ADMIN}");
    // its sender's address may be made up: such a deny is a short one
    let row = &world.denyd_json(&["list", "hosts", "--json"])[0];
    let time = |key: &str| row[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let lasts = time("until").duration_since(time("since"));
    assert!(lasts.as_secs() <= 3600, "{row}");
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
}

#[test]
fn rsyslogs_queue_is_taken_after_a_restart() {
    let Some(mut world) = World::new("rsyslogs_queue_is_taken_after_a_restart") else { return };
    let config = "[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:514\"\n";
    let mut denyd = world.start_denyd(Some(config));
    world.start_sshd(Route::Tcp);
    world.attacker.fail("198.51.100.1", "root");
    world.wait_count("198.51.100.1", "root", 1);
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    for _ in 0..3 {
        world.attacker.fail("198.51.100.2", "nobody-here");
    }
    world.attacker.fail("198.51.100.1", "root");
    let _denyd = world.start_denyd(None);
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "silent");
    assert_eq!(watcher.finish()["ended"], "silent");
    world.wait_count("198.51.100.2", "invalid", 3);
}

#[test]
fn denyd_itself_is_the_log_socket() {
    let Some(mut world) = World::new("denyd_itself_is_the_log_socket") else { return };
    let config = "[[input]]\nkind = \"syslog\"\nlisten = \"unix-datagram:///dev/log\"\nsocket_mode = \"0666\"\n";
    let _denyd = world.start_denyd(Some(config));
    world.start_sshd(Route::None);
    // any user can write to it, and the kernel tells who does
    let message = format!("Failed password for root from {ADMIN} port 22 ssh2");
    for _ in 0..5 {
        let logger =
            ["setpriv", "--reuid=tbuser", "--clear-groups", "logger", "-t", "sshd", "-p", "auth.info", &message];
        world.run(&logger);
    }
    until("the forged records", || (world.status()?["inputs"][0]["forged"] == 5).then_some(()));
    for _ in 0..2 {
        world.attacker.fail("198.51.100.1", "root");
    }
    let mut watcher = world.attacker.another();
    watcher.hammer("198.51.100.1", "silent");
    assert_eq!(watcher.finish()["ended"], "silent");
    assert_eq!(world.denied(), ["198.51.100.1"]);
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
}

#[test]
fn two_ways_of_one_log_count_once() {
    let Some(mut world) = World::new("two_ways_of_one_log_count_once") else { return };
    let both = format!("{FILE}[[input]]\nkind = \"syslog\"\nlisten = \"udp://127.0.0.1:514\"\n");
    let _denyd = world.start_denyd(Some(&both));
    world.start_sshd(Route::FileAndUdp);
    for _ in 0..5 {
        world.attacker.fail("198.51.100.1", "nobody-here");
    }
    world.attacker.fail("198.51.100.2", "root");
    world.wait_count("198.51.100.2", "root", 1);
    world.wait_count("198.51.100.1", "invalid", 5);
    let read = |world: &World| {
        let status = world.status().unwrap();
        [0, 1].map(|input| status["inputs"][input]["understood"].as_u64().unwrap())
    };
    until("both inputs to have read the same", || {
        let [file, udp] = read(&world);
        (file == udp && file > 20).then_some(())
    });
    assert_eq!(world.count("198.51.100.1", "invalid"), 5);
    assert_eq!(world.count("198.51.100.2", "root"), 1);
    assert_eq!(world.denied(), [""; 0]);
}

#[test]
fn repeated_messages_count_each() {
    let Some(mut world) = World::new("repeated_messages_count_each") else { return };
    world.start_sshd(Route::FileReduced);
    let _denyd = world.start_denyd(Some(&format!("decide.threshold_root = 9\n{FILE}")));
    for _ in 0..2 {
        let ask = json!({"do": "login", "user": "root", "tries": ["wrong", "wrong", "wrong", "wrong"]});
        let answer = world.attacker.ask("198.51.100.1", ask);
        assert_eq!(answer.as_array().unwrap().len(), 4, "{answer}");
    }
    world.wait_count("198.51.100.1", "root", 8);
    assert!(world.read("/var/log/auth.log").contains("message repeated"), "rsyslogd wrote what this is about");
    assert_eq!(world.denied(), [""; 0]);
}

/// A record that says the admin failed.
fn forged() -> String {
    format!("<38>{} tbhost sshd[99]: Failed password for root from {ADMIN} port 22 ssh2", jiff::Timestamp::now())
}

fn refused(world: &World) -> u64 {
    world.status().unwrap()["inputs"][0]["refused"].as_u64().unwrap()
}
