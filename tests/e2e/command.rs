//! A configuration of DenyHosts as it is found on the web, in a machine of its own: by cron, and as a daemon.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

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
    assert!(code == Some(1) && out.is_empty() && err.contains("no log of sshd was found"), "{code:?} {out}{err}");

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
