//! A machine that systemd booted, with sshd as its service and no log but the journal; denyd without a configuration.

use serde_json::Value;

use kit::skip;
use kit::world::World;
use kit::world::tap::{Tap, counted, numbered};
use kit::world::{ADMIN, Place};
use kit::{program, until, until_or};

/// Debian's unit of dropbear.
const UNIT: &str = "lib/systemd/system/dropbear.service";

/// A booted machine, on which denyd runs as a service without a configuration.
fn booted(test: &str) -> Option<World> {
    if !std::path::Path::new("/lib/systemd/systemd").exists() || program("systemctl").is_none() {
        skip(test, "no systemd");
        return None;
    }
    let mut world = World::new(test)?;
    world.boot();
    assert!(!world.path("/var/log/auth.log").exists() && !world.path("/etc/denyd").exists());
    world.run(&["systemctl", "--quiet", "is-active", "ssh", "systemd-journald"]);
    start(&world);
    Some(world)
}

/// Starts denyd as a service.
fn start(world: &World) {
    world.run(&["systemd-run", "--quiet", "--collect", "--unit=denyd", &world.program(), "run"]);
    until_or(
        "denyd to enforce",
        || world.run(&["journalctl", "-u", "denyd"]),
        || world.status()?["backends"].as_array()?.iter().all(|one| !one["replaced"].is_null()).then_some(()),
    );
}

fn input(world: &World) -> Value {
    world.status().unwrap()["inputs"][0].clone()
}

#[test]
fn without_a_configuration_on_a_journald_box() {
    let Some(mut world) = booted("without_a_configuration_on_a_journald_box") else { return };
    assert_eq!(input(&world)["kind"], "journald");

    // good logins and logouts, whose last lines sshd writes as the user
    for _ in 0..3 {
        assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
        assert_eq!(world.attacker.login("198.51.100.9"), "ok");
    }
    let user = format!("_UID={}", world.run(&["id", "-u", "tbuser"]).trim());
    let lines = || world.run(&["journalctl", "-q", "-t", "sshd", "-o", "cat", &user]);
    until_or("sshd's lines under the user's uid", lines, || (lines().lines().count() >= 6).then_some(()));

    // anybody can write sshd's lines, and the journal tells who did
    for _ in 0..5 {
        let text = "Failed password for root from 192.0.2.9 port 1 ssh2";
        let logger = ["setpriv", "--reuid=nobody", "--clear-groups", "logger", "-t", "sshd", "-p", "auth.info", text];
        world.run(&logger);
    }
    until_or("the forged records", || input(&world).to_string(), || (input(&world)["forged"] == 5).then_some(()));
    assert_eq!(world.count("192.0.2.9", "root"), 0);

    for _ in 0..4 {
        world.attacker.fail("198.51.100.2", "nobody-here");
    }
    for _ in 0..2 {
        world.attacker.fail("198.51.100.1", "root");
    }
    until("the deny", || (world.denied() == ["198.51.100.1"]).then_some(()));
    world.wait_count("198.51.100.2", "invalid", 4);

    // killed, with rotation while it is away
    world.run(&["systemctl", "kill", "--signal=KILL", "denyd"]);
    world.run(&["journalctl", "--rotate"]);
    world.attacker.fail("198.51.100.2", "nobody-here");
    world.run(&["journalctl", "--rotate"]);
    world.attacker.fail("198.51.100.2", "nobody-here");
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent", "with denyd killed");
    start(&world);
    world.wait_count("198.51.100.2", "invalid", 6);
    assert_eq!(world.attacker.banner("198.51.100.2"), "silent");
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    let status = input(&world);
    assert_eq!((&status["forged"], &status["lost"], &status["unknown"]), (&0.into(), &0.into(), &0.into()), "{status}");
}

/// Debian's unit runs `dropbear -EF`: its lines reach the journal by stderr, with a pid and a stamp of their own before them.
#[test]
fn dropbear_as_debians_unit_runs_it() {
    let name = "dropbear_as_debians_unit_runs_it";
    let programs = kit::root().join("target/programs");
    if !programs.join("usr/sbin/dropbear").exists() {
        return skip(name, "no dropbear, which tests/setup unpacks");
    }
    let Some(mut world) = booted(name) else { return };
    world.run(&["systemctl", "stop", "ssh"]);
    let mut files = vec!["usr/sbin/dropbear".into(), "usr/bin/dropbearkey".into(), UNIT.into()];
    for directory in ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"] {
        let entries = std::fs::read_dir(programs.join(directory)).into_iter().flatten().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        files.extend(names.filter(|name| name.starts_with("libtom")).map(|name| format!("{directory}/{name}")));
    }
    for file in &files {
        // As a file, whatever links to it; its mode comes with it.
        std::fs::copy(programs.join(file), world.path(&format!("/{file}"))).unwrap();
    }
    world.run(&["mkdir", "-p", "/etc/dropbear"]);
    world.run(&["dropbearkey", "-t", "ed25519", "-f", "/etc/dropbear/dropbear_ed25519_host_key"]);
    world.run(&["systemctl", "daemon-reload"]);
    world.run(&["systemctl", "start", "dropbear"]);
    until("dropbear to listen", || (world.run(&["ss", "-Hltn", "sport = :22"]).lines().count() >= 2).then_some(()));

    let tries = |world: &mut World, source: &str, user: &str, tries: &[&str]| {
        world.attacker.ask(source, serde_json::json!({"do": "login", "user": user, "tries": tries}))
    };
    tries(&mut world, "198.51.100.2", "tbuser", &["a", "b", "c"]);
    tries(&mut world, "198.51.100.3", "nobody-here", &["a", "b"]);
    tries(&mut world, "2001:db8:66:6::1", "tbuser", &["a", "b"]);
    let answer = tries(&mut world, "198.51.100.4", "tbuser", &["a", "Tb-Right-1"]);
    assert_eq!(answer[1], "ok", "{answer}");
    let lines = |world: &World| world.run(&["journalctl", "-q", "-u", "dropbear", "-o", "cat"]);
    assert!(lines(&world).lines().any(|line| line.starts_with('[')), "{}", lines(&world));
    // dropbear names neither the user nor how often that one was tried.
    for (prefix, class, count) in [
        ("198.51.100.2", "valid", 3),
        ("198.51.100.3", "invalid", 1),
        ("2001:db8:66:6::/64", "valid", 2),
        ("198.51.100.4", "valid", 1),
    ] {
        world.wait_count(prefix, class, count);
    }
    tries(&mut world, "198.51.100.1", "root", &["a", "b"]);
    until_or("the deny", || lines(&world), || (world.denied() == ["198.51.100.1"]).then_some(()));
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    let status = input(&world);
    assert_eq!((&status["forged"], &status["unknown"]), (&0.into(), &0.into()), "{status}");
}

#[test]
fn ten_thousand_records_through_the_journal_of_a_booted_machine() {
    let name = "ten_thousand_records_through_the_journal_of_a_booted_machine";
    let Some(world) = booted(name) else { return };
    let send = |numbers: std::ops::Range<u32>| {
        world.write("/run/records", &numbered(numbers));
        world.run(&["logger", "-t", "sshd", "-p", "auth.info", "-f", "/run/records"]);
    };
    let tap = Tap::start(&world);
    // A tap that only begins misses some.
    until("the tap to begin", || {
        world.run(&["logger", "-t", "sshd", "mark"]);
        tap.has_mark("mark").then_some(())
    });
    send(0..5_000);
    tap.wait_number(4_999);
    tap.seen().assert_are(name, 0..5_000);

    world.run(&["systemctl", "kill", "--signal=KILL", "denyd"]);
    send(5_000..10_000);
    world.run(&["journalctl", "--rotate"]);
    start(&world);
    let all = || counted(&world, 0..10_000);
    until("all to be counted", || (all().iter().sum::<u64>() >= 10_000).then_some(()));
    assert!(all().iter().all(|count| *count == 1), "each once");
    assert_eq!(world.denied(), Vec::<String>::new());
}

/// Who is denied knocks on, and sshd's unit exceeds journald's limit.
#[test]
fn a_rate_limit_of_sshds_unit_is_named() {
    let Some(mut world) = booted("a_rate_limit_of_sshds_unit_is_named") else { return };
    // Anybody can write so, and it changes nothing.
    let forged = "Suppressed 4000 messages from cron.service";
    let nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "logger", "-t", "systemd-journald", forged];
    world.run(&nobody);
    // journald makes a limit greater where there is much room: to some four times of it.
    let drop_in = "[Service]\nLogRateLimitIntervalSec=2s\nLogRateLimitBurst=2\n";
    world.write("/etc/systemd/system/ssh.service.d/limit.conf", drop_in);
    world.run(&["systemctl", "daemon-reload"]);
    world.run(&["systemctl", "restart", "ssh"]);
    let mut address = 10;
    let suppressed = until("journald to drop records of sshd's, and to tell", || {
        address += 1;
        world.attacker.banner(&format!("198.51.100.{address}"));
        input(&world)["suppressed"].as_array().cloned()
    });
    let [row] = &suppressed[..] else { panic!("{suppressed:?}") };
    assert_eq!((&row["by"], &row["of"]), (&"journald".into(), &"ssh.service".into()), "{row}");
    let journald = || world.run(&["journalctl", "-q", "-o", "cat", "SYSLOG_IDENTIFIER=systemd-journald", "_UID=0"]);
    let told = |line: &str| line.strip_prefix("Suppressed ")?.split(' ').next()?.parse::<u64>().ok();
    let all = || journald().lines().filter_map(told).sum::<u64>();
    until_or("all to be counted", journald, || (input(&world)["lost"] == all()).then_some(()));
    let doctor = world.denyd(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.status.code() == Some(1) && text.contains("FAIL journald: "), "{text}");
    assert!(text.contains("LogRateLimitIntervalSec=0 in its [Service] (`systemctl edit ssh.service`)"), "{text}");
    assert!(!text.contains("cron.service"), "{text}");
}

#[test]
fn what_was_vacuumed_unread_is_counted() {
    let Some(mut world) = World::new("what_was_vacuumed_unread_is_counted") else { return };
    let journald = world.spawn(&["bash", "-c", kit::world::JOURNALD]);
    world.keep(journald);
    until("journald", || world.path("/run/journald.ready").exists().then_some(()));
    let send = |numbers: std::ops::Range<u32>| {
        world.write("/run/records", &numbered(numbers));
        world.run(&["logger", "-t", "sshd", "-p", "auth.info", "-f", "/run/records"]);
    };
    let all = |numbers: std::ops::Range<u32>| counted(&world, numbers).iter().sum::<u64>();
    let mut denyd = world.start_denyd(Some("[[input]]\nkind = \"journald\"\n"));
    send(0..10);
    until("the first", || (all(0..10) == 10).then_some(()));
    denyd.signal(nix::sys::signal::Signal::SIGKILL);
    denyd.wait();
    send(10..6000);
    world.run(&["journalctl", "-q", "--rotate", "--vacuum-files=1"]);
    send(6000..6010);
    let denyd = world.start_denyd(None);
    until("the last", || (all(6000..6010) == 10).then_some(()));
    denyd.wait_said("something was gone before it was read, or damaged");
    let (missing, lost) = (5990 - all(10..6000), input(&world)["lost"].as_u64().unwrap());
    // journald itself says something of each rotation.
    assert!(missing > 1000 && (missing..missing + 50).contains(&lost), "{missing} are missing, {lost} counted as lost");
    assert_eq!(world.denied(), Vec::<String>::new());
}

/// sshd's unit has a journald of its own. Without a configuration that is read; with one that reads something else, it is said.
#[test]
fn sshd_in_a_namespace_of_the_journal() {
    let Some(mut world) = booted("sshd_in_a_namespace_of_the_journal") else { return };
    world.write("/etc/systemd/system/ssh.service.d/space.conf", "[Service]\nLogNamespace=logins\n");
    world.run(&["systemctl", "daemon-reload"]);
    world.run(&["systemctl", "restart", "ssh"]);
    for _ in 0..2 {
        world.attacker.fail("198.51.100.1", "root");
    }
    let spaces =
        || world.run(&["bash", "-c", "ls /var/log/journal /run/log/journal; journalctl -q --namespace=logins -n 20"]);
    until_or("the deny", spaces, || (world.denied() == ["198.51.100.1"]).then_some(()));
    // Across its rotation, and while denyd is away.
    world.run(&["systemctl", "kill", "--signal=KILL", "denyd"]);
    world.attacker.fail("198.51.100.2", "nobody-here");
    world.run(&["journalctl", "--namespace=logins", "--rotate"]);
    world.attacker.fail("198.51.100.2", "nobody-here");
    start(&world);
    world.wait_count("198.51.100.2", "invalid", 2);
    world.run(&["systemctl", "stop", "denyd"]);

    world.write("/var/log/auth.log", "");
    world.write("/etc/denyd/denyd.toml", "[[input]]\nkind = \"file\"\npath = \"/var/log/auth.log\"\n");
    start(&world);
    let doctor = world.denyd(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL sshd: ssh.service logs into the namespace logins"), "{text}");
}

/// What sshd writes comes nowhere, and somebody logs in.
#[test]
fn a_login_of_which_no_input_tells() {
    let Some(world) = booted("a_login_of_which_no_input_tells") else { return };
    world.run(&["systemctl", "stop", "denyd"]);
    world.write("/var/log/auth.log", "Nov 21 23:26:32 b cron[9]: x\n");
    world.write("/etc/denyd/denyd.toml", "[[input]]\nkind = \"file\"\npath = \"/var/log/auth.log\"\n");
    start(&world);
    let doctor = || String::from_utf8_lossy(&world.denyd(&["doctor"]).stdout).into_owned();
    assert!(!doctor().contains("FAIL"), "{}", doctor());
    let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no";
    let ssh = ["sshpass", "-p", "Tb-Right-1", "ssh"].into_iter().chain(options.split(' '));
    let ssh: Vec<_> = ssh.chain(["-l", "tbuser", "127.0.0.1", "sleep", "1000"]).collect();
    let _session = world.spawn(&ssh);
    let told = || doctor().contains("FAIL sshd: an sshd runs on this machine").then_some(());
    until_or("the login that nobody read", doctor, told);

    // The journal is there, and keeps nothing.
    world.run(&["systemctl", "stop", "denyd"]);
    world.write("/run/systemd/journald.conf.d/none.conf", "[Journal]\nStorage=none\n");
    world.write("/etc/denyd/denyd.toml", "[[input]]\nkind = \"journald\"\n");
    start(&world);
    let told = || doctor().contains("Storage=none in /run/systemd/journald.conf.d/none.conf").then_some(());
    until_or("what the journal keeps", doctor, told);
    // Without a configuration the file is taken.
    world.run(&["systemctl", "stop", "denyd"]);
    world.write("/etc/denyd/denyd.toml", "");
    start(&world);
    assert_eq!(input(&world)["kind"], "file");
}
