//! The recipes of `packaging/doc`, as they are printed there, tried as somebody would who has just read them.
//!
//! TLS has tests of its own, in [`routes`](super::routes) and [`senders`](super::senders), with the same blocks.

use kit::skip;
use kit::world::{Place, Process};
use kit::world::{World, recipe};
use kit::{program, until, until_or};

/// Debian's own rsyslogd with this beside its configuration, which `change` may have edited, and sshd.
fn start(world: &mut World, stanza: &str, change: impl Fn(String) -> String) {
    // The kernel's log is the machine's, and no business of ours.
    let shipped = world.read("/etc/rsyslog.conf");
    assert!(shipped.contains("module(load=\"imuxsock\")"), "{shipped}");
    let without: String =
        shipped.lines().filter(|line| !line.contains("imklog")).map(|line| format!("{line}\n")).collect();
    world.write("/etc/rsyslog.conf", &change(without));
    world.write("/etc/rsyslog.d/60-denyd.conf", stanza);
    world.run(&["rsyslogd", "-N1"]);
    let rsyslogd = world.spawn(&["rsyslogd", "-n", "-i", "/run/rsyslogd.pid"]);
    world.keep(rsyslogd);
    until("rsyslogd to open /dev/log", || world.path("/dev/log").exists().then_some(()));
    let sshd = world.spawn(&[program("sshd").unwrap().to_str().unwrap(), "-D", "-f", "/etc/ssh/e2e_config"]);
    world.keep(sshd);
    until("sshd to listen", || (world.run(&["ss", "-Hltn", "sport = :22"]).lines().count() >= 2).then_some(()));
}

/// What anybody on the machine can write into its log.
fn forge(world: &World, address: &str) {
    let text = format!("Failed password for root from {address} port 1 ssh2");
    let nobody = ["setpriv", "--reuid=nobody", "--clear-groups"];
    let logger = ["logger", "-t", "sshd", "-p", "auth.info", &text];
    world.run(&[nobody.as_slice(), &logger].concat());
}

#[test]
fn rsyslog_on_the_same_machine() {
    let Some(mut world) = World::new("rsyslog_on_the_same_machine") else { return };
    let _denyd = world.start_denyd(Some(&recipe("listen = \"unix-datagram:///run/denyd/log")));
    start(&mut world, &recipe("$OMUxSockSocket"), |shipped| shipped);
    world.attacker.fail("198.51.100.2", "root");
    world.wait_count("198.51.100.2", "root", 1);
    // As is said there: here nothing shows who wrote it.
    forge(&world, "192.0.2.9");
    world.wait_count("192.0.2.9", "root", 1);
    world.attacker.fail("198.51.100.2", "root");
    until("the deny", || (world.denied() == ["198.51.100.2"]).then_some(()));
}

#[test]
fn rsyslog_forwards_what_root_wrote() {
    let Some(mut world) = World::new("rsyslog_forwards_what_root_wrote") else { return };
    let _denyd = world.start_denyd(Some(&recipe("listen = \"unix-datagram:///run/denyd/log")));
    let module = recipe("SysSock.Annotate");
    let action = "auth,authpriv.* :omuxsock:;RSYSLOG_SyslogProtocol23Format\n";
    let stanza = recipe("$OMUxSockSocket").replace(action, &recipe("$!uid == 0"));
    assert!(stanza.contains("$!uid == 0") && stanza.contains(action), "{stanza}");
    start(&mut world, &stanza, |shipped| shipped.replace("module(load=\"imuxsock\")", &module));
    for _ in 0..5 {
        forge(&world, "192.0.2.9");
    }
    assert!(world.ssh(Place::Admin, kit::world::ADMIN, "Tb-Right-1"));
    for _ in 0..2 {
        world.attacker.fail("198.51.100.2", "root");
    }
    until("the deny", || (world.denied() == ["198.51.100.2"]).then_some(()));
    assert_eq!(world.count("192.0.2.9", "root"), 0);
    assert!(world.read("/var/log/auth.log").contains("192.0.2.9"), "it was written");
}

/// Five machines on the wire, each with an rsyslogd and a host name of its own: `box1` to `box5`, at 192.0.2.1 to .5.
const BOXES: &str = r#"
ip addr add 192.0.2.100/24 dev eth0
for n in 1 2 3 4 5; do
  ip netns add box$n
  ip -n wire link add p-box$n type veth peer name eth0 netns box$n
  ip -n wire link set p-box$n master br0 up
  ip -n box$n addr add 192.0.2.$n/24 dev eth0
  ip -n box$n link set eth0 up
done
"#;

#[test]
fn five_machines_onto_one() {
    let Some(world) = World::new("five_machines_onto_one") else { return };
    world.run(&["sh", "-ec", BOXES]);
    let _denyd = world.start_denyd(Some(&recipe("from = [\"192.0.2.0/24\"]")));
    let action = recipe("target=\"192.0.2.100\"");
    let boxes: Vec<Process> = (1..=5)
        .map(|n| {
            let config = format!(
                "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"/run/box{n}\")\n{action}"
            );
            world.write(&format!("/etc/box{n}.conf"), &config);
            let start = format!("hostname box{n}; exec rsyslogd -n -f /etc/box{n}.conf -i /run/box{n}.pid");
            world.spawn(&["nsenter", &format!("--net=/run/netns/box{n}"), "unshare", "--uts", "sh", "-ec", &start])
        })
        .collect();
    for n in 1..=5 {
        let socket = format!("/run/box{n}");
        until("rsyslogd to listen", || world.path(&socket).exists().then_some(()));
        // one more than anybody may, and nowhere more than two
        for port in 0..if n == 5 { 2 } else { 1 } {
            let text = format!("Invalid user x from 198.51.100.50 port {port}{n}");
            world.run(&["logger", "-u", &socket, "-t", "sshd", "-p", "auth.info", &text]);
        }
    }
    until_or(
        "the deny",
        || world.status().unwrap().to_string(),
        || (world.denied() == ["198.51.100.50"]).then_some(()),
    );
    let row = || world.denyd_json(&["list", "hosts", "--json"])[0].clone();
    assert_eq!((&row()["class"], &row()["count"]), (&"invalid".into(), &6.into()), "{}", row());
    // A deny is enforced before the messages behind it are committed.
    until_or("its hosts", || row().to_string(), || (row()["hosts"].as_array()?.len() == 5).then_some(()));
    assert_eq!(world.status().unwrap()["senders"].as_array().unwrap().len(), 5);
    drop(boxes);
}

#[test]
fn multilog_under_svscan() {
    if program("svscan").is_none() {
        return skip("multilog_under_svscan", "no daemontools");
    }
    let Some(mut world) = World::new("multilog_under_svscan") else { return };
    world.run(&[
        "sh",
        "-ec",
        "ssh-keygen -A; rm -rf /etc/ssh/sshd_config.d; echo PermitRootLogin yes >/etc/ssh/sshd_config",
    ]);
    // The machine's own / is not ours to put a /service in.
    for (path, script) in [("/run/service/sshd/run", "sshd -D -e"), ("/run/service/sshd/log/run", "multilog t ")] {
        world.write(path, &recipe(script));
        world.run(&["chmod", "+x", path]);
    }
    let svscan = world.spawn(&["svscan", "/run/service"]);
    until("multilog to begin", || world.path("/var/log/sshd/current").exists().then_some(()));
    let denyd = world.start_denyd(Some(&recipe("kind = \"multilog\"")));
    until("sshd to listen", || (world.run(&["ss", "-Hltn", "sport = :22"]).lines().count() >= 2).then_some(()));
    for _ in 0..2 {
        world.attacker.fail("198.51.100.2", "root");
    }
    until("the deny", || (world.denied() == ["198.51.100.2"]).then_some(()));
    drop((svscan, denyd));
}

/// Debian 12 has no metalog: these are its lines and names, by a shell.
#[test]
fn metalog_rotates() {
    let Some(world) = World::new("metalog_rotates") else { return };
    world.run(&["mkdir", "/var/log/sshd"]);
    let log = |port: u32| {
        let line = format!("[sshd] Failed password for root from 198.51.100.{port} port {port} ssh2");
        world.run(&["sh", "-ec", "echo \"$(date '+%b %d %H:%M:%S') $1\" >>/var/log/sshd/current", "sh", &line]);
    };
    let rotate = || {
        world.run(&[
            "sh",
            "-ec",
            "cd /var/log/sshd; while [ -e log-$(date +%F-%T) ]; do sleep 0.05; done; mv current log-$(date +%F-%T)",
        ])
    };
    log(1);
    let mut denyd = world.start_denyd(Some(&recipe("format = \"metalog\"")));
    for port in 2..10 {
        log(port);
        if port == 5 {
            rotate();
        }
    }
    world.wait_count("198.51.100.9", "root", 1);
    denyd.signal(nix::sys::signal::Signal::SIGKILL);
    denyd.wait();
    for port in 10..20 {
        log(port);
        if port % 5 == 0 {
            rotate();
        }
    }
    let _denyd = world.start_denyd(None);
    world.wait_count("198.51.100.19", "root", 1);
    for port in 2..20 {
        assert_eq!(world.count(&format!("198.51.100.{port}"), "root"), 1, "{port}");
    }
    assert_eq!(world.count("198.51.100.1", "root"), 0, "it was there before the first start");
}
