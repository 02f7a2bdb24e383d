//! A configuration of DenyHosts that has all set, among real programs: sshd, libwrap, a mail server, plugins.

use kit::until;
use kit::world::{Route, World};

const CONF: &str = "SECURE_LOG = /var/log/auth.log\nHOSTS_DENY = /etc/hosts.deny\nWORK_DIR = /var/lib/denyhosts\n\
    LOCK_FILE = /run/denyhosts.pid\nBLOCK_SERVICE = sshd\nPURGE_DENY = 10s\nPURGE_THRESHOLD = 5\n\
    DENY_THRESHOLD_INVALID = 1\nDENY_THRESHOLD_VALID = 2\nDENY_THRESHOLD_ROOT = 1\nDENY_THRESHOLD_RESTRICTED = 1\n\
    AGE_RESET_VALID = 1d\nRESET_ON_SUCCESS = yes\nHOSTNAME_LOOKUP = NO\nADMIN_EMAIL = root@localhost\nSMTP_HOST = localhost\n\
    SMTP_PORT = 25\nSMTP_FROM = DenyHosts <nobody@localhost>\nSMTP_SUBJECT = DenyHosts Report from $[HOSTNAME]\n\
    PLUGIN_DENY = /bin/sh /etc/plugin denied\nPLUGIN_PURGE = /bin/sh /etc/plugin purged\n\
    DAEMON_LOG = /var/log/denyhosts\nDAEMON_SLEEP = 30s\nDAEMON_PURGE = 1h\nSYNC_SERVER = http://203.0.113.10:9911\n\
    SYNC_INTERVAL = 1h\nSYNC_UPLOAD = yes\nSYNC_DOWNLOAD = yes\nSYNC_DOWNLOAD_THRESHOLD = 3\nSYNC_DOWNLOAD_RESILIENCY = 5h\n";
const OTHERS: &str = "# mine\nsshd: 192.0.2.99\n";

/// What libwrap answers an address that comes to sshd.
fn libwrap(world: &World, source: &str) -> String {
    let said = world.run(&["sh", "-c", "cd /etc && exec tcpdmatch -d sshd \"$0\"", source]);
    said.lines().find_map(|line| line.strip_prefix("access:   ")).unwrap_or(&said).to_owned()
}

/// Each class is tolerated up to its threshold and denied past it, mailed, told to a plugin, and let in after PURGE_DENY.
#[test]
fn a_denyhosts_conf_with_all_set_does_what_it_says() {
    let Some(mut world) = World::new("a_denyhosts_conf_with_all_set_does_what_it_says") else { return };
    world.start_sshd(Route::File);
    world.write("/etc/hosts.deny", OTHERS);
    world.write("/etc/plugin", "echo \"$1 $2\" >>/run/told\n");
    world.write("/var/lib/denyhosts/restricted-usernames", "games\n");
    world.write("/etc/smtp_sink.py", include_str!("../kit/smtp_sink.py"));
    world.run(&["mkdir", "/run/sink"]);
    let sink = world.spawn(&["python3", "-B", "/etc/smtp_sink.py", "/run/sink", "25", "none"]);
    world.keep(sink);
    until("the mail server listens", || world.path("/run/sink/port").exists().then_some(()));

    // As `import` writes it, with hosts.deny alone, and mail within seconds: nobody waits a minute for a test.
    world.write("/etc/denyhosts.conf", CONF);
    let import = world.denyd(&["import", "/etc/denyhosts.conf"]);
    let remarks = String::from_utf8(import.stderr).unwrap();
    assert!(import.status.success(), "{remarks}");
    let toml = String::from_utf8(import.stdout).unwrap();
    assert!(toml.contains("\n[sync]\n") && toml.contains("server = \"http://203.0.113.10:9911"), "{toml}");
    let (before, after) = toml.split_once("backends = [").unwrap();
    let toml = format!("{before}backends = [\"hosts.deny\"]{}", &after[after.find('\n').unwrap()..]);
    let mut denyd = world.start_denyd(Some(&toml.replacen("[mail]\n", "[mail]\nfirst_within = \"1s\"\n", 1)));
    let pid = world.read("/run/denyhosts.pid");
    assert!(!pid.trim().is_empty(), "LOCK_FILE has the pid");

    let all = [
        ("198.51.100.1", "nobody-here", "invalid", 1),
        ("198.51.100.2", "tbuser", "valid", 2),
        ("198.51.100.3", "root", "root", 1),
        ("198.51.100.4", "games", "restricted", 1),
    ];
    for (source, user, class, tolerated) in all {
        (0..tolerated).for_each(|_| world.attacker.fail(source, user));
        world.wait_count(source, class, tolerated);
        assert!(!world.read("/etc/hosts.deny").contains(source), "{source} is tolerated");
        assert_eq!(libwrap(&world, source), "granted");
        world.attacker.fail(source, user);
        let line = format!(" | sshd: {source}\nsshd: {source}\n");
        until("the lines in hosts.deny", || {
            let text = world.read("/etc/hosts.deny");
            (text.starts_with(OTHERS) && text.contains(&line)).then_some(())
        });
        assert_eq!(libwrap(&world, source), "denied");
    }
    let sshd = std::fs::read(kit::program("sshd").unwrap()).unwrap();
    if sshd.windows(10).any(|bytes| bytes == b"libwrap.so") {
        assert!(!world.attacker.banner("198.51.100.4").starts_with("SSH-2.0"), "sshd asks libwrap");
    }
    let mail = until("the mail", || Some(world.read("/run/sink/1.eml")).filter(|mail| !mail.is_empty()));
    assert!(mail.contains("/etc/hosts.deny") && mail.contains("\r\n198.51.100.1\r\n"), "{mail}");
    assert!(mail.contains("Subject: DenyHosts Report from "), "{mail}");

    until("all are let in again", || (world.read("/etc/hosts.deny") == OTHERS).then_some(()));
    for (source, ..) in all {
        assert_eq!(libwrap(&world, source), "granted");
        let log = world.read("/var/log/denyhosts");
        assert!(log.contains(&format!("'{source}'")), "{log}");
        for what in ["denied", "purged"] {
            let line = format!("{what} {source}\n");
            until(&line, || world.read("/run/told").contains(&line).then_some(()));
        }
        let history = format!("{source}:1:");
        until("purge-history", || world.read("/var/lib/denyhosts/purge-history").contains(&history).then_some(()));
    }
    denyd.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(kit::world::how(denyd.wait()), "exit 0", "{}", denyd.said());
    assert_eq!(world.read("/run/denyhosts.pid"), "", "LOCK_FILE goes with the daemon");
}
