//! The same from every way in which rsyslogd hands records on.

use serde_json::json;

use super::attack;
use super::denies::FILE;
use kit::skip;
use kit::world::{ADMIN, Place, Process, SERVER, python};
use kit::world::{Route, World, recipe};
use kit::{program, until};

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
    denies_by("rsyslog_forwards_over_udp", Route::Udp, "udp://127.0.0.1:514", "trust_network = true\n");
}

#[test]
fn rsyslog_forwards_over_tcp() {
    denies_by("rsyslog_forwards_over_tcp", Route::Tcp, "tcp://127.0.0.1:514", "trust_network = true\n");
}

#[test]
fn rsyslog_forwards_over_tcp_octet_counted() {
    denies_by(
        "rsyslog_forwards_over_tcp_octet_counted",
        Route::TcpCounted,
        "tcp://127.0.0.1:514",
        "trust_network = true\n",
    );
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

/// A world with the recipe's certificates.
pub(crate) fn certified(test: &str) -> Option<World> {
    let driver = |directory: &str| std::path::Path::new(directory).join("rsyslog/lmnsd_gtls.so").exists();
    if !["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"].into_iter().any(driver) {
        skip(test, "no rsyslog-gnutls");
        return None;
    }
    if program("openssl").is_none() {
        skip(test, "no openssl");
        return None;
    }
    let world = World::new(test)?;
    world.write("/etc/hosts", &format!("127.0.0.1 localhost\n{SERVER} log.example.org\n"));
    world.run(&["sh", "-ec", &recipe("openssl req -x509")]);
    world.run(&["sh", "-ec", "mkdir /etc/ssl/denyd; cp /etc/denyd/tls/*.pem /etc/denyd/tls/web1*.key /etc/ssl/denyd"]);
    Some(world)
}

/// The serial number of the certificate that denyd shows.
fn serial(world: &World) -> String {
    let ask = "openssl s_client -connect 127.0.0.1:6514 -cert web1.example.org.pem -key web1.example.org.key \
               </dev/null 2>&1 | openssl x509 -noout -serial";
    world.run(&["sh", "-c", &format!("cd /etc/ssl/denyd; {ask}")])
}

#[test]
fn rsyslog_forwards_over_tls() {
    let Some(mut world) = certified("rsyslog_forwards_over_tls") else { return };
    let denyd = world.start_denyd(Some(&recipe("listen = \"tls://")));
    world.start_sshd(Route::Tls);
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let senders = |world: &World| world.status().unwrap()["senders"].clone();
    assert_eq!(senders(&world)[0]["sender"], "certificate web1.example.org");
    let before = serial(&world);

    // a new certificate, while rsyslogd stays connected
    let new = recipe("openssl req -x509").replace("openssl req -x509", ": openssl req -x509");
    world.run(&["sh", "-ec", &new]);
    denyd.signal(nix::sys::signal::Signal::SIGHUP);
    denyd.wait_said("the certificates were read again");
    assert_ne!(serial(&world), before);
    let connected = |world: &World| world.run(&["ss", "-Htn", "state", "established", "sport = :6514"]);
    let connection = connected(&world);
    attack(&mut world, "198.51.100.2", &["admin", "oracle", "test"], 6);
    assert_eq!(connected(&world), connection);

    // a broken one changes nothing
    let before = serial(&world);
    world.write("/etc/denyd/tls/log.example.org.pem", "nothing");
    denyd.signal(nix::sys::signal::Signal::SIGHUP);
    denyd.wait_said("stays in use");
    assert_eq!(serial(&world), before);
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(senders(&world).as_array().unwrap().len(), 1);
}

/// rsyslogd with these certificates, and a record in its queue.
fn send_over_tls(world: &World, certificates: &str) -> Process {
    let stanza = recipe("StreamDriver=");
    let action = stanza.split_once("auth,authpriv.*").unwrap().1;
    let input = "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"/run/sender\")\n";
    world.write("/etc/sender.conf", &format!("{certificates}\n{input}{action}"));
    let _ = std::fs::remove_file(world.path("/run/sender"));
    let sender = world.spawn(&["rsyslogd", "-n", "-f", "/etc/sender.conf", "-i", "/run/sender.pid"]);
    until("rsyslogd to listen", || world.path("/run/sender").exists().then_some(()));
    let message = "Failed password for root from 198.51.100.7 port 22 ssh2";
    world.run(&["logger", "-u", "/run/sender", "-t", "sshd", "-p", "auth.info", message]);
    sender
}

#[test]
fn rsyslog_without_a_permitted_certificate_is_refused() {
    let Some(world) = certified("rsyslog_without_a_permitted_certificate_is_refused") else { return };
    let denyd = world.start_denyd(Some(&recipe("listen = \"tls://")));
    // the same names by another CA, and another name by ours
    let others = recipe("openssl req -x509").replace("/etc/denyd/tls", "/etc/other");
    world.run(&["sh", "-ec", &others]);
    let stranger = recipe("openssl req -x509")
        .replace("openssl req -x509", ": openssl req -x509")
        .replace("log.example.org web1.example.org", "web2.example.org");
    world.run(&["sh", "-ec", &stranger]);
    let certificates = |directory: &str, name: &str| {
        format!(
            "global(DefaultNetstreamDriverCAFile=\"/etc/denyd/tls/ca.pem\" \
             DefaultNetstreamDriverCertFile=\"{directory}/{name}.pem\" \
             DefaultNetstreamDriverKeyFile=\"{directory}/{name}.key\")"
        )
    };
    let input = |world: &World| world.status().unwrap()["inputs"][0].clone();
    let failed = |world: &World| input(world)["handshakes_failed"].as_u64().unwrap();
    let bad = [
        certificates("/etc/other", "web1.example.org"),
        certificates("/etc/denyd/tls", "web2.example.org"),
        "global(DefaultNetstreamDriverCAFile=\"/etc/denyd/tls/ca.pem\")".to_owned(),
    ];
    for certificates in bad {
        let before = failed(&world);
        let _sender = send_over_tls(&world, &certificates);
        until("the handshakes to fail", || (failed(&world) > before).then_some(()));
        assert_eq!(input(&world)["records"], 0, "{certificates}");
    }
    denyd.wait_said("TLS handshakes failed");
    let _sender = send_over_tls(&world, &certificates("/etc/denyd/tls", "web1.example.org"));
    world.wait_count("198.51.100.7", "root", 1);
}

/// Opens the sockets of `listen` and hands them to the program that its arguments name: sd_listen_fds(3).
const MANAGER: &str = r#"
import os, socket, sys
opened = [socket.create_server(("203.0.113.1", 514)), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]
opened[1].bind("/run/given")
high = [os.dup(s.fileno()) for s in opened for _ in range(3)][::3]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="forwarded:denyd.socket")
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn sockets_of_the_service_manager_are_taken() {
    let Some(mut world) = World::new("sockets_of_the_service_manager_are_taken") else { return };
    // one by its name, though the address is another, and one by its path
    let config = "[[input]]\nname = \"forwarded\"\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:5514\"\ntrust_network = true\n\
                  [[input]]\nkind = \"syslog\"\nlisten = \"unix-datagram:///run/given\"\n";
    let mut denyd = world.start_denyd_by(&[python(), "-c", MANAGER], Some(config));
    world.start_sshd(Route::TcpWire);
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let message = "Failed password for root from 198.51.100.7 port 22 ssh2";
    world.run(&["logger", "-u", "/run/given", "-t", "sshd", "-p", "auth.info", message]);
    world.wait_count("198.51.100.7", "root", 1);
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    denyd.wait();
    assert!(world.path("/run/given").exists(), "it is not ours to remove");
}

#[test]
fn losses_of_rsyslogd_are_losses_of_its_input() {
    let Some(world) = World::new("losses_of_rsyslogd_are_losses_of_its_input") else { return };
    let _denyd = world
        .start_denyd(Some("[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:514\"\ntrust_network = true\n"));
    let config = "global(processInternalMessages=\"on\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
                  input(type=\"imuxsock\" Socket=\"/run/sender\" RateLimit.Interval=\"2\" RateLimit.Burst=\"5\")\n\
                  action(type=\"omfwd\" target=\"127.0.0.1\" port=\"514\" protocol=\"tcp\")\n";
    world.write("/etc/sender.conf", config);
    let _sender = world.spawn(&["rsyslogd", "-n", "-f", "/etc/sender.conf", "-i", "/run/sender.pid"]);
    until("rsyslogd to listen", || world.path("/run/sender").exists().then_some(()));
    // one process, since the limit is by process
    let burst = "import socket,time\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.connect('/run/sender')\n\
                 for i in range(40): s.send(b'<38>Nov 22 00:00:00 sshd[9]: x%d'%i)\n\
                 time.sleep(3)\ns.send(b'<38>Nov 22 00:00:03 sshd[9]: y')";
    world.run(&[python(), "-c", burst]);
    until("rsyslogd to tell what it lost", || (world.status()?["inputs"][0]["lost"] == 35).then_some(()));
}

#[test]
fn rsyslogs_queue_is_taken_after_a_restart() {
    let Some(mut world) = World::new("rsyslogs_queue_is_taken_after_a_restart") else { return };
    let config = "[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:514\"\ntrust_network = true\n";
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
    let both = format!("{FILE}[[input]]\nkind = \"syslog\"\nlisten = \"udp://127.0.0.1:514\"\ntrust_network = true\n");
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
