//! A configuration of DenyHosts as it is found on the web, in a machine of its own: by cron, and as a daemon.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kit::until;

/// Runs the program under a name; its exit status and what it says.
fn run(name: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let output = kit::denyd(words).arg0(name).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Entries of hosts.deny for all services.
fn denied() -> Vec<String> {
    let text = fs::read_to_string("/etc/hosts.deny").unwrap();
    text.lines().filter_map(|line| line.strip_prefix("ALL: 192.0.2.")).map(str::to_owned).collect()
}

fn failures(last: u8) -> String {
    let now = kit::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let line = |n| format!("{now} b sshd[{n}]: Failed password for root from 192.0.2.{last} port {n} ssh2\n");
    (100..103).map(line).collect()
}

/// The seed's SECURE_LOG is missing at first, nobody is at localhost:25, and there is no directory for its LOCK_FILE.
#[test]
fn a_denyhosts_conf_is_run_as_it_is() {
    if !kit::in_box("command::a_denyhosts_conf_is_run_as_it_is") {
        return;
    }
    fs::copy(kit::data("denyhosts/seed.conf"), "/etc/denyhosts.conf").unwrap();
    fs::create_dir_all("/var/lock/subsys").and_then(|()| fs::remove_dir("/var/lock/subsys")).unwrap();
    fs::remove_dir_all("/run/systemd").unwrap();
    fs::write("/etc/hosts.deny", "# mine\nALL: PARANOID\n").unwrap();
    let (code, out, err) = run("denyhosts", &[]);
    assert!(code == Some(1) && out.is_empty() && err.contains("/var/log/secure"), "{code:?} {out}{err}");

    // By cron: it denies for ever, so no time stands above the entry. That nobody takes the mail is said.
    fs::write("/var/log/secure", failures(7)).unwrap();
    let (code, out, err) = run("denyhosts", &[]);
    assert!(code == Some(0) && out.is_empty() && err.contains("could not be told"), "{code:?} {out}{err}");
    assert_eq!(fs::read_to_string("/etc/hosts.deny").unwrap(), "# mine\nALL: PARANOID\nALL: 192.0.2.7\n");
    assert_eq!(run("denyhosts", &["--noemail"]), (Some(0), String::new(), String::new()));

    // As a daemon, which goes on where the last run ended. There is no systemd.
    symlink(kit::program_under_test(), "/etc/daemon-control").unwrap();
    let init = |verb: &str, want: &str| {
        let script = kit::root().join("packaging/init/denyhosts");
        let output = Command::new(script).arg(verb).env("CONTROL", "/etc/daemon-control").output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()),
            (Some(0), want),
            "{output:?}"
        );
    };
    init("start", "starting DenyHosts\n");
    init("restart", "sent DenyHosts SIGTERM\nstarting DenyHosts\n");
    let (code, _, err) = run("daemon-control", &["status"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(Path::new("/var/lock/subsys/denyhosts").exists(), "{err}");
    fs::write("/var/log/secure", failures(7) + &failures(8)).unwrap();
    until("it is denied", || (denied() == ["7", "8"]).then_some(()));
    assert_eq!(run("denyhosts", &["--purgeip", "192.0.2.7"]), (Some(0), String::new(), String::new()));
    until("it is let in", || (denied() == ["8"]).then_some(()));
    init("stop", "sent DenyHosts SIGTERM\n");
    assert_eq!(run("daemon-control", &["status"]).0, Some(3));
    assert_eq!(denied(), ["8"], "nobody is let in by that");
    // Nobody is let in by --purge, as PURGE_DENY is blank; but by --purge-all.
    let (code, _, err) = run("denyhosts", &["--purge"]);
    assert!(code == Some(1) && err.contains("--purge needs a PURGE_DENY"), "{err}");
    until("a second is over", || {
        run("denyhosts", &["--purge-all", "--noemail"]);
        denied().is_empty().then_some(())
    });
    assert_eq!(fs::read_to_string("/etc/hosts.deny").unwrap(), "# mine\nALL: PARANOID\n");
}

/// A log that a log daemon makes with its first message, on a machine that has no journal: it is waited for, whatever else is there.
#[test]
fn a_log_that_is_not_there_yet_is_waited_for() {
    if !kit::in_box("command::a_log_that_is_not_there_yet_is_waited_for") {
        return;
    }
    fs::remove_dir_all("/run/systemd").unwrap();
    fs::write("/var/log/messages", "").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let conf = "SECURE_LOG = /var/log/secure\nHOSTS_DENY = /etc/hosts.deny\nBLOCK_SERVICE = ALL\nPURGE_DENY =\n\
                DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\n";
    let file = dir.path().join("denyhosts.conf");
    fs::write(&file, conf).unwrap();
    fs::write("/etc/hosts.deny", "").unwrap();
    let config = format!("--config={}", file.display());
    let (code, _, err) = run("denyhosts", &[&config, "--daemon"]);
    assert!(code == Some(0) && err.contains("it is waited for"), "{code:?} {err}");
    fs::write("/var/log/secure", failures(7)).unwrap();
    until("it is denied", || (denied() == ["7"]).then_some(()));
    assert_eq!(run("daemon-control", &["stop", &config]).0, Some(0));
}

/// In the background relative paths are below the directory where it was started, after a reload, too; and its own log goes to
/// syslog.
#[test]
fn in_the_background_it_is_where_it_was_started_and_tells_syslog() {
    if !kit::in_box("command::in_the_background_it_is_where_it_was_started_and_tells_syslog") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::remove_file("/dev/log").unwrap();
    let syslog = UnixDatagram::bind("/dev/log").unwrap();
    syslog.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let conf = "SECURE_LOG = log\nHOSTS_DENY = deny\nWORK_DIR = works\nLOCK_FILE = lock\nBLOCK_SERVICE = ALL\nPURGE_DENY =\n\
                DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\n";
    fs::write(at("denyhosts.conf"), conf).unwrap();
    fs::write(at("log"), "").unwrap();
    fs::create_dir(at("works")).unwrap();
    fs::write(at("works/allowed-hosts"), "192.0.2.9\n").unwrap();
    let run = |name: &str, words: &[&str]| {
        let output = kit::denyd(words).arg0(name).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name} {words:?}: {output:?}");
    };
    let hear = |want: &str| {
        let mut heard = [0; 2000];
        while !String::from_utf8_lossy(&heard).contains(want) {
            heard.fill(0);
            syslog.recv(&mut heard).unwrap_or_else(|error| panic!("{want}: {error}"));
        }
        assert!(String::from_utf8_lossy(&heard).contains(" denyd["));
    };
    run("denyhosts", &["-c", "denyhosts.conf", "--daemon"]);
    assert!(at("lock").exists() && !Path::new("/lock").exists() && !Path::new("/works").exists());
    fs::write(at("denyhosts.conf"), format!("{conf}LOCK_FILE = other\n")).unwrap();
    run("daemon-control", &["reload", "-c", "denyhosts.conf"]);
    hear("the configuration was read anew, and holds");
    assert!(at("other").exists() && !at("lock").exists(), "LOCK_FILE, too, is that of the new one");
    fs::write(at("log"), failures(9) + &failures(7)).unwrap();
    let denied = || fs::read_to_string(at("deny")).unwrap_or_default();
    until("who is not allowed is denied", || (denied() == "ALL: 192.0.2.7\n").then_some(()));
    fs::write(at("denyhosts.conf"), conf.replace("ROOT = 1", "ROOT = x")).unwrap();
    run("daemon-control", &["reload", "-c", "denyhosts.conf"]);
    hear("the configuration cannot take the place of the old one");
    run("daemon-control", &["stop", "--config=denyhosts.conf"]);
    // With a broken file the last good one holds, and that is said.
    let output =
        kit::denyd(&["-cdenyhosts.conf", "--daemon"]).arg0("denyhosts").current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("the configuration is broken, and the last good one holds"),
        "{output:?}"
    );
    run("daemon-control", &["stop", "-c", "denyhosts.conf"]);
}
