//! Who ran DenyHosts goes on with its configuration, and the same addresses are denied.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use denyd::decide::attempt::{Attempt, Classes};
use denyd::decide::engine::{Engine, Input};
use denyd::decide::policy::{Policy, Threshold};
use denyd::decide::session::HostId;
use denyd::detect::address::{self, Address};
use denyd::detect::event::Account;
use inputs::record::{SourceId, Timestamp};
use regex::Regex;
use serde_json::Value;

/// The names that were restricted where the real DenyHosts ran.
const RESTRICTED: [&str; 3] = ["mysql", "oracle", "postgres"];

fn seed() -> std::path::PathBuf {
    kit::data("denyhosts/seed.conf")
}

fn denyd(arguments: &[&str]) -> (Option<i32>, String, String) {
    let (status, out, err) = kit::run(arguments, b"");
    (status.code(), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// A page of the web, copied as it is, comments in Chinese behind values and all.
#[test]
fn a_denyhosts_conf_loads_as_it_is() {
    let (code, out, err) = denyd(&["--config", seed().to_str().unwrap(), "check", "--print"]);
    assert_eq!(code, Some(0), "{err}");
    for want in [
        "threshold_invalid = 1",
        "threshold_valid = 3",
        "threshold_root = 2",
        "threshold_restricted = 1",
        r#"age_reset_invalid = "10d""#,
        r#"age_reset_valid = "5d""#,
        r#"age_reset_root = "25d""#,
        r#"deny_for = "forever""#,
        r#"service = "ALL""#,
        r#"path = "/etc/hosts.deny""#,
        r#"work_dir = "/var/lib/denyhosts""#,
        "forgive_deleted = true",
    ] {
        assert!(out.lines().any(|line| line == want), "{want} is not in\n{out}");
    }
    // What is not as the file says is said with its line.
    let (_, out, _) = denyd(&["--config", seed().to_str().unwrap(), "check"]);
    for want in [
        "SECURE_LOG = /var/log/secure is not there",
        "PURGE_DENY is blank",
        "WORK_DIR = /var/lib/denyhosts is not there",
    ] {
        assert!(out.contains(want), "{want} is not in\n{out}");
    }
}

/// What `import` prints and the file itself are one configuration.
#[test]
fn what_import_prints_is_what_run_goes_by() {
    let dir = tempfile::tempdir().unwrap();
    let more = "SECURE_LOG = DIR/log\nHOSTS_DENY = DIR/hosts.deny\nWORK_DIR = DIR\nPURGE_DENY = 4w\nPURGE_THRESHOLD = 2\n\
                BLOCK_SERVICE = sshd\nDENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\n\
                RESET_ON_SUCCESS = yes\nBLOCKPORT = 22, 2222\n";
    let other = dir.path().join("denyhosts.cfg");
    fs::write(&other, more.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    for name in ["log", "allowed-hosts", "restricted-usernames"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    for file in [seed(), other] {
        let file = file.to_str().unwrap();
        let (code, toml, err) = denyd(&["import", file]);
        assert_eq!(code, Some(0), "{err}");
        let ours = dir.path().join("denyd.toml");
        fs::write(&ours, toml).unwrap();
        let printed = |file: &str| denyd(&["--config", file, "check", "--print"]);
        let (theirs, ours) = (printed(file), printed(ours.to_str().unwrap()));
        assert!(ours.0 == Some(0) && theirs.1 == ours.1, "{file}:\n{}\nis not\n{}{}", theirs.1, ours.1, ours.2);
    }
}

/// The lists of WORK_DIR: the example of DenyHosts' FAQ is read, and one that cannot be looked at is no list that is absent.
#[test]
fn lists_of_the_work_dir_are_read_or_it_is_told_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let (file, list) = (dir.path().join("denyhosts.conf"), dir.path().join("allowed-hosts"));
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nBLOCK_SERVICE =\n";
    fs::write(&file, format!("{whole}WORK_DIR = {}\n", dir.path().display())).unwrap();
    let check = || denyd(&["--config", file.to_str().unwrap(), "check", "--print"]);
    fs::write(&list, "127.0.0.1\n1.1.1.1\nfoo\n1.1.1.*\n1.1.1.[6-23]\n").unwrap();
    let (code, out, err) = check();
    let want = format!("allow_file = \"{}\"", list.display());
    assert!(code == Some(0) && out.lines().any(|line| line == want), "{code:?} {out}{err}");
    // As without the right to look into the directory, which root always has.
    for name in ["allowed-hosts", "restricted-usernames"] {
        let list = dir.path().join(name);
        let _ = fs::remove_file(&list);
        std::os::unix::fs::symlink(name, &list).unwrap();
        let (code, out, err) = check();
        assert!(code == Some(2) && err.contains(list.to_str().unwrap()), "{code:?} {out}{err}");
        fs::remove_file(&list).unwrap();
    }
    assert_eq!(check().0, Some(0));
}

/// A problem stands at its line of DenyHosts' file, by DenyHosts' name.
#[test]
fn a_mistake_is_told_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let check = |line: &str, want: &str| {
        let file = dir.path().join("denyhosts.conf");
        let whole = "SECURE_LOG = /x\nDENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nBLOCK_SERVICE =\n";
        fs::write(&file, format!("{whole}{line}\n")).unwrap();
        let (code, out, err) = denyd(&["--config", file.to_str().unwrap(), "check"]);
        let want = want.replace("FILE", file.to_str().unwrap());
        assert!(code == Some(2) && err.contains(&want), "{code:?} {out}{err}");
    };
    check("PURGE_DENY = 10 minutes", "FILE:7: PURGE_DENY: `10 minutes`: DenyHosts would have taken it for 600 seconds");
    check("PURGE_DENY = 9999w", "FILE:7: PURGE_DENY, as [decide] deny_for");
    check("SMTP_FROM = $[NO_SUCH_VARIABLE]", "FILE:7: SMTP_FROM: there is no variable `NO_SUCH_VARIABLE`");
}

/// Who is told by a mistake is not told, and whoever fails is denied.
#[test]
fn a_mistake_in_whom_it_tells_is_a_remark() {
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("denyhosts.conf"), dir.path().join("log"));
    fs::write(&log, "").unwrap();
    let check = |line: &str, want: &str| {
        let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
        let more = format!("SECURE_LOG = {}\nHOSTS_DENY = {}/hosts.deny\n", log.display(), dir.path().display());
        fs::write(&file, format!("{whole}{more}{line}\n")).unwrap();
        let (code, out, err) = denyd(&["--config", file.to_str().unwrap(), "check"]);
        assert!(code != Some(2) && format!("{out}{err}").contains(want), "{line}: {code:?} {out}{err}");
        let (code, out, _) = denyd(&["--config", file.to_str().unwrap(), "check", "--print"]);
        assert!(code == Some(0) && out.contains("threshold_root = 1"), "{line}: {out}");
    };
    check("ADMIN_EMAIL = not an address@@x", "ADMIN_EMAIL: no mail is sent, as [mail] to");
    check("ADMIN_EMAIL = root@localhost\nSMTP_PORT = smtp", "SMTP_PORT: no mail is sent, as [mail] server");
    check("DAEMON_LOG = /x\nDAEMON_LOG_MESSAGE_FORMAT = %(message)q", "DAEMON_LOG_MESSAGE_FORMAT: it is left out, as");
    check("PLUGIN_DENY = /bin/true >/dev/null", "no program is run by PLUGIN_DENY");
}

/// Whom the real DenyHosts 3.1.2 denied by this log, by thresholds 1 to 10.
fn expected() -> Vec<([u32; 4], BTreeSet<String>)> {
    let all: Value = serde_json::from_slice(&fs::read(kit::data("denyhosts/expected.json")).unwrap()).unwrap();
    let runs = all.as_object().unwrap().values().map(|run| {
        let limit = |name: &str| u32::try_from(run["thresholds"][name].as_u64().unwrap()).unwrap();
        let denied = run["denied"].as_array().unwrap().iter().map(|host| host.as_str().unwrap().to_owned());
        (["invalid", "valid", "root", "restricted"].map(limit), denied.collect())
    });
    let runs: Vec<_> = runs.collect();
    assert_eq!(runs.len(), 10);
    runs
}

/// A daemon that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example of DenyHosts' FAQ for `allowed-hosts`: each entry lets in what it names, and nothing else.
#[test]
fn each_entry_of_the_faqs_allowed_hosts_lets_in_what_it_names() {
    if !kit::in_box("denyhosts::each_entry_of_the_faqs_allowed_hosts_lets_in_what_it_names") {
        return;
    }
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n").unwrap();
    fs::write("/etc/hosts", "127.0.0.1 localhost\n192.0.2.50 foo\n").unwrap();
    let tried = [
        "1.1.1.1",
        "1.1.1.2",
        "1.1.1.5",
        "1.1.1.6",
        "1.1.1.23",
        "1.1.1.24",
        "1.1.2.6",
        "11.1.1.1",
        "192.0.2.50",
        "192.0.2.51",
    ];
    let check = |entries: &str, let_in: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let at = |second: i64| kit::now() - jiff::SignedDuration::from_secs(60 - second);
        let line = |(n, host): (i64, &&str)| {
            format!("{} web sshd[{n}]: Failed password for root from {host} port 9 ssh2\n", at(n))
        };
        let lines: String = (0..).zip(&tried).map(line).collect();
        fs::write(path("log"), "").unwrap();
        fs::create_dir(path("work")).unwrap();
        fs::write(path("work/allowed-hosts"), entries).unwrap();
        let config = "SECURE_LOG = @/log\nHOSTS_DENY = @/list\nBLOCK_SERVICE =\nWORK_DIR = @/work\nLOCK_FILE = @/lock\n\
                      PURGE_DENY =\nDENY_THRESHOLD_INVALID = 0\nDENY_THRESHOLD_VALID = 0\nDENY_THRESHOLD_ROOT = 0\n";
        fs::write(path("denyhosts.conf"), config.replace('@', dir.path().to_str().unwrap())).unwrap();
        let _ = fs::remove_dir_all("/var/lib/denyd");
        let out = fs::File::create(path("out")).unwrap();
        let mut command = kit::denyd(&["--config", path("denyhosts.conf").to_str().unwrap(), "run"]);
        let running = Running(command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap());
        let said = || fs::read_to_string(path("out")).unwrap();
        kit::until_or("it runs", said, || said().contains("running").then_some(()));
        fs::write(path("log"), lines).unwrap();
        let want: BTreeSet<String> =
            tried.iter().filter(|host| !let_in.contains(host)).map(|host| (*host).to_owned()).collect();
        let denied = || -> BTreeSet<String> {
            fs::read_to_string(path("list")).unwrap_or_default().lines().map(str::to_owned).collect()
        };
        // The last one that was tried is denied: so all others were heard of.
        let log = || format!("{entries:?}: {:?}\n{}", denied(), fs::read_to_string(path("out")).unwrap());
        kit::until_or("who is not let in is denied", log, || (denied() == want).then_some(()));
        drop(running);
    };
    check("127.0.0.1\n", &[]);
    check("1.1.1.1\n", &["1.1.1.1"]);
    check("foo\n", &["192.0.2.50"]);
    check("1.1.1.[6-23]\n", &["1.1.1.6", "1.1.1.23"]);
    let wild = ["1.1.1.1", "1.1.1.2", "1.1.1.5", "1.1.1.6", "1.1.1.23", "1.1.1.24"];
    check("1.1.1.*\n", &wild);
    check("127.0.0.1\n1.1.1.1\nfoo\n1.1.1.*\n1.1.1.[6-23]\n", &[&wild[..], &["192.0.2.50"]].concat());
}

#[test]
fn the_oracle_says_what_denyhosts_did() {
    let thresholds = expected().into_iter().map(|(limits, _)| limits.map(|limit| limit.to_string()).join(","));
    let output = Command::new("python3")
        .arg(kit::root().join("tests/denyhosts_oracle.py"))
        .args(["--restricted", &RESTRICTED.join(",")])
        .arg(kit::data("denyhosts/auth.log.gz"))
        .args(thresholds)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (limits, denied) in expected() {
        let said = said[limits.map(|limit| limit.to_string()).join(",")].as_array().unwrap();
        let said: BTreeSet<String> = said.iter().map(|host| host.as_str().unwrap().to_owned()).collect();
        assert_eq!(said, denied, "{limits:?}");
    }
}

/// The engine decides as DenyHosts did where it is told what DenyHosts saw: each line by its patterns, no connections.
#[test]
fn told_what_denyhosts_saw_the_engine_denies_whom_denyhosts_denied() {
    let log = Command::new("gzip").arg("-dc").arg(kit::data("denyhosts/auth.log.gz")).output().unwrap().stdout;
    let log = String::from_utf8_lossy(&log);
    let seen = Seen::new();
    let failures: Vec<_> = log.lines().filter_map(|line| seen.failure(line)).collect();
    assert!(failures.len() > 2000, "{}", failures.len());
    for (limits, denied) in expected() {
        let policy = strict(limits);
        let mut engine = Engine::new(policy.clone());
        for (at, (peer, user, is_invalid)) in (1_700_000_000_000_000..).step_by(1_000_000).zip(&failures) {
            let account = if *is_invalid { Account::Unknown } else { Account::Known };
            let classes = match *is_invalid {
                // Root is root only where the pattern tells valid users from invalid ones.
                true if user.as_str() == "root" => Classes::of(b"-", account, &policy),
                _ => Classes::of(user.as_bytes(), account, &policy),
            };
            // A valid user that is restricted counts twice: a fault of DenyHosts' that users would miss nothing by.
            let twice = !*is_invalid && user != "root" && RESTRICTED.contains(&user.as_str());
            let at = Timestamp(at);
            engine.step(
                at,
                Input::Attempt(Attempt {
                    peer: *peer,
                    prefix: policy.prefix(*peer),
                    host: HostId(0),
                    source: SourceId(0),
                    at,
                    from: at,
                    user: user.as_bytes().into(),
                    account,
                    classes,
                    times: if twice { 2 } else { 1 },
                    sound: if twice { 2 } else { 1 },
                }),
            );
        }
        let found: BTreeSet<String> = engine.state.denies.keys().map(|prefix| prefix.to_string()).collect();
        assert_eq!(found, denied, "{limits:?}");
    }
}

/// Thresholds of these classes, and nothing that DenyHosts had not.
fn strict([invalid, valid, root, restricted]: [u32; 4]) -> Policy {
    let mut thresholds = [None; 5];
    use denyd::decide::policy::Class;
    for (class, limit) in
        [(Class::Invalid, invalid), (Class::Valid, valid), (Class::Root, root), (Class::Restricted, restricted)]
    {
        thresholds[class as usize] = Some(Threshold(limit));
    }
    Policy {
        thresholds,
        age_reset: [None; 5],
        deny_for: None,
        probation: None,
        wider_nets: false,
        restricted: RESTRICTED.map(|name| name.as_bytes().to_vec()).into(),
        ..Policy::default()
    }
}

/// What DenyHosts sees of a line.
struct Seen {
    framing: Regex,
    failures: Vec<Regex>,
}

impl Seen {
    fn new() -> Seen {
        let address = r"(?:::ffff:)?(?<host>\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})";
        let failures = [
            r"Failed \S* for (?<invalid>invalid user |illegal user )?(?<user>.*) from ADDRESS(?: port \d+)?(?: ssh2)?$",
            r"(?<invalid>Illegal|Invalid) user (?<user>.*) from ADDRESS[ port\d]*$",
            r"Authentication failure for (?<user>.*) .*from ADDRESS",
            r"User (?<user>.*) .*from (?<host>.*) not allowed because none of user's groups are listed in AllowGroups$",
            r"Did not receive identification string .*from ADDRESS",
            r"User (?<user>.*) .*from ADDRESS not allowed because not listed in AllowUsers",
            r"Connection closed by ADDRESS(?: port \d+)? \[preauth\]",
        ];
        let compile = |pattern: &str| Regex::new(&pattern.replace("ADDRESS", address)).unwrap();
        Seen { framing: compile(r".* (?:\[sshd\]|sshd[^:]*:) (?<message>.*)"), failures: failures.map(compile).into() }
    }

    /// The address, the user, and whether that is invalid to DenyHosts: it is where the pattern cannot tell.
    fn failure(&self, line: &str) -> Option<(Address, String, bool)> {
        let message = self.framing.captures(line)?.name("message")?.as_str();
        let (pattern, found) = self.failures.iter().find_map(|one| Some((one, one.captures(message)?)))?;
        let tells = pattern.capture_names().flatten().any(|name| name == "invalid");
        let peer = address::parse(found["host"].as_bytes())?;
        let user = found.name("user").map_or("", |user| user.as_str());
        is_public(&found["host"]).then(|| (peer, user.to_owned(), !tells || found.name("invalid").is_some()))
    }
}

/// Whether DenyHosts 3.x counts the address, of those in the log: none of IPv6, and no private one.
fn is_public(host: &str) -> bool {
    let host = host.parse::<std::net::Ipv4Addr>();
    host.is_ok_and(|host| !(host.is_private() || host.is_documentation() || host.is_loopback() || host.is_link_local()))
}

/// What a file holds reaches no terminal as it is; and a reader who goes away ends nothing badly.
#[test]
fn what_is_said_is_said_in_letters() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("denyhosts.conf");
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nBLOCK_SERVICE =\n\
                 IPTABLES=/no\u{1b}]0;x\u{7}\nSECURE_LOG=/no\u{1b}[2J\u{202e}\n";
    fs::write(&file, whole).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [&["--config", file, "check"][..], &["--config", file, "import"], &["import", file]] {
        let (_, out, err) = denyd(arguments);
        let said = format!("{out}{err}");
        assert!(said.contains("there is no such program"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{said:?}");
    }
    // A blank service refuses nobody in hosts.deny.
    let (_, out, _) = denyd(&["--config", file, "check"]);
    assert!(out.contains("FAIL deny by: a line of an address alone refuses nobody in /etc/hosts.deny"), "{out}");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = kit::denyd(&["--config", file, "check"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// The usual place is looked into without being told.
#[test]
fn import_says_where_it_looked() {
    if Path::new("/etc/denyhosts.conf").exists() {
        return kit::skip("import_says_where_it_looked", "this machine has an /etc/denyhosts.conf");
    }
    let (code, _, err) = denyd(&["import"]);
    assert!(code == Some(2) && err.contains("/etc/denyhosts.conf") && err.contains("denyd import FILE"), "{err}");
}

/// SECURE_LOG of a machine whose log daemon is gone: the journal is read in its place, and it alone once it is written.
#[test]
fn a_log_that_nobody_writes_gives_way_to_the_journal() {
    if !kit::journald::in_box("denyhosts::a_log_that_nobody_writes_gives_way_to_the_journal") {
        return;
    }
    let journald = kit::journald::Journald::start();
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("denyhosts.conf"), dir.path().join("log"));
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nBLOCK_SERVICE =\n";
    fs::write(&file, format!("{whole}SECURE_LOG = {}\n", log.display())).unwrap();
    let denyd = |arguments: &[&str]| denyd(&[&["--config", file.to_str().unwrap()], arguments].concat()).1;
    let check = |want: Option<&str>| {
        let (said, printed) = (denyd(&["check"]), denyd(&["check", "--print"]));
        match want {
            Some(why) => {
                let want = format!("SECURE_LOG = {} {why}: the journal is read instead", log.display());
                assert!(said.contains(&want), "{want}: {said}");
                assert!(denyd(&["doctor"]).contains(&want), "doctor says so, too");
                let input = format!("[[input]]\nname = {:?}\nkind = \"journald\"", log.display().to_string());
                assert!(printed.contains(&input), "{printed}");
            }
            None => assert!(!said.contains("SECURE_LOG =") && printed.contains("kind = \"file\""), "{said}{printed}"),
        }
    };
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let written = |text: &str, at| {
        fs::write(&log, text).unwrap();
        fs::File::options().append(true).open(&log).unwrap().set_modified(at).unwrap();
    };
    written("", hour_ago);
    kit::journald::logger(0, &["-t", "CRON", "-p", "auth.info", "it is quiet"]);
    kit::journald::logger(
        65534,
        &["-t", "sshd", "-p", "auth.info", "Failed password for root from 192.0.2.7 port 22 ssh2"],
    );
    kit::journald::journalctl(&["--sync"]);
    // Nothing of sshd's is elsewhere: who is nobody can write what he likes.
    check(None);
    kit::journald::logger(
        0,
        &["-t", "sshd", "-p", "auth.info", "Failed password for root from 192.0.2.7 port 22 ssh2"],
    );
    kit::journald::journalctl(&["--sync"]);
    check(Some("is empty, and the journal has records of sshd"));
    written("Nov 21 23:26:32 web sshd[9]: x\n", hour_ago);
    check(Some("is not written any more, and the journal has records of sshd"));
    written("Nov 21 23:26:32 web sshd[9]: x\n", std::time::SystemTime::now());
    check(None);
    fs::remove_file(&log).unwrap();
    check(Some("is not there"));
    journald.kill();
}

/// The daemon goes over to the log within seconds once it is written again, and what is in both counts once.
#[test]
fn a_log_that_comes_alive_is_read_alone_again() {
    if !kit::journald::in_box("denyhosts::a_log_that_comes_alive_is_read_alone_again") {
        return;
    }
    let journald = kit::journald::Journald::start();
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("denyhosts.conf"), dir.path().join("log"));
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 3\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
    let place = dir.path().display();
    fs::write(&file, format!("{whole}HOSTS_DENY = {place}/hosts.deny\nSECURE_LOG = {place}/log\n")).unwrap();
    let failed = |port: u16| format!("Failed password for root from 192.0.2.7 port {port} ssh2");
    let journal = |port| kit::journald::logger(0, &["-t", "sshd", "-p", "auth.info", &failed(port)]);
    fs::write(&log, "").unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().append(true).open(&log).unwrap().set_modified(hour_ago).unwrap();
    journal(1);
    kit::journald::journalctl(&["--sync"]);
    let config = file.to_str().unwrap();
    let mut daemon = kit::denyd(&["--config", config, "run", "--dry-run"]).spawn().unwrap();
    let input = || {
        let (_, out, _) = denyd(&["--config", config, "status", "--json"]);
        let status: Value = serde_json::from_str(&out).ok()?;
        Some((kit::text(&status["inputs"][0]["kind"]), status["inputs"][0]["understood"].as_u64()?))
    };
    let denied = || {
        let (_, out, _) = denyd(&["--config", config, "list", "hosts", "--json"]);
        out.contains("192.0.2.7")
    };
    kit::until("the journal is read", || input().filter(|(kind, _)| kind == "journald"));
    (2..=4).for_each(journal);
    kit::until("three failures came by it", || input().filter(|(_, understood)| *understood >= 3));
    let line = |port| format!("{} web sshd[{port}]: {}\n", jiff::Timestamp::now(), failed(port));
    fs::write(&log, line(4)).unwrap();
    kit::until("the log is read", || input().filter(|(kind, _)| kind == "file"));
    assert!(!denied(), "what both have counts once");
    let append = |text: String| {
        fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(text.as_bytes()).unwrap();
    };
    // A log daemon that is late writes what the journal had before: by the same process.
    let last = kit::journald::journalctl(&["-t", "sshd", "-n", "1", "-o", "json", "--output-fields=_PID"]);
    let last: Value = serde_json::from_slice(&last).unwrap();
    append(line(4).replace("sshd[4]", &format!("sshd[{}]", kit::text(&last["_PID"]))));
    kit::until("the late line", || {
        let (_, out, _) = denyd(&["--config", config, "status", "--json"]);
        let status: Value = serde_json::from_str(&out).ok()?;
        (status["inputs"][0]["duplicates"] == 1).then_some(())
    });
    assert!(!denied(), "what both have counts once, whichever is late");
    append(line(5));
    kit::until("the fourth failure", || denied().then_some(()));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    journald.kill();
}

/// The journal stands in once the log falls silent while the daemon runs, from where the log ended.
#[test]
fn a_log_that_falls_silent_gives_way_to_the_journal() {
    if !kit::journald::in_box("denyhosts::a_log_that_falls_silent_gives_way_to_the_journal") {
        return;
    }
    let journald = kit::journald::Journald::start();
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("denyhosts.conf"), dir.path().join("log"));
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 3\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
    let place = dir.path().display();
    fs::write(&file, format!("{whole}HOSTS_DENY = {place}/hosts.deny\nSECURE_LOG = {place}/log\n")).unwrap();
    let failed = |port: u16| format!("Failed password for root from 192.0.2.7 port {port} ssh2");
    let journal = |port| kit::journald::logger(0, &["-t", "sshd", "-p", "auth.info", &failed(port)]);
    fs::write(&log, "").unwrap();
    let config = file.to_str().unwrap();
    let mut daemon = kit::denyd(&["--config", config, "run", "--dry-run"]).spawn().unwrap();
    let input = || {
        let (_, out, _) = denyd(&["--config", config, "status", "--json"]);
        let status: Value = serde_json::from_str(&out).ok()?;
        Some((kit::text(&status["inputs"][0]["kind"]), status["inputs"][0]["understood"].as_u64()?))
    };
    let root = || {
        let (_, out, _) = denyd(&["--config", config, "list", "addresses", "--json"]);
        serde_json::from_str::<Value>(&out).ok()?[0]["root"].as_u64()
    };
    kit::until("the log is read", || input().filter(|(kind, _)| kind == "file"));
    fs::write(&log, format!("{} web sshd[1]: {}\n", jiff::Timestamp::now(), failed(1))).unwrap();
    kit::until("the first failure", || root().filter(|root| *root == 1));
    // The log daemon ends: an hour ago, as the file says.
    (2..=3).for_each(journal);
    kit::journald::journalctl(&["--sync"]);
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().append(true).open(&log).unwrap().set_modified(hour_ago).unwrap();
    kit::until("the journal is read", || input().filter(|(kind, _)| kind == "journald"));
    kit::until("what it had since", || root().filter(|root| *root == 3));
    journal(4);
    kit::until("the fourth failure", || {
        let (_, out, _) = denyd(&["--config", config, "list", "hosts", "--json"]);
        out.contains("192.0.2.7").then_some(())
    });
    assert_eq!(root(), Some(4), "each counts once");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    journald.kill();
}

/// `sshd -T`, of which the configuration is made, hangs: nobody who is to be denied waits for that, and what else is asked of
/// configurations waits its turn.
#[test]
fn an_sshd_that_hangs_at_a_reload_delays_no_deny() {
    if !kit::in_box("denyhosts::an_sshd_that_hangs_at_a_reload_delays_no_deny") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let path = |name: &str| dir.path().join(name);
    // It is linked with no libwrap, so a firewall is to enforce, whose ports it is asked for.
    let sshd = format!("#!/bin/sh\n[ -e {place}/hang ] || exit 1\n: >{place}/asked\nexec sleep 60\n");
    fs::write(path("sshd"), sshd).unwrap();
    fs::set_permissions(path("sshd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    kit::journald::run(std::process::Command::new("mount").arg("--bind").arg(path("sshd")).arg("/usr/sbin/sshd"));
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 3\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
    fs::write(path("denyhosts.conf"), format!("{whole}HOSTS_DENY = {place}/hosts.deny\nSECURE_LOG = {place}/log\n"))
        .unwrap();
    fs::write(path("log"), "").unwrap();
    let config = path("denyhosts.conf");
    let arguments = |verb: &[&'static str]| [&["--config", config.to_str().unwrap()], verb].concat().join("\n");
    let start = |verb: &[&'static str]| kit::denyd(&arguments(verb).split('\n').collect::<Vec<_>>()).spawn().unwrap();
    let ask = |verb: &[&'static str]| denyd(&arguments(verb).split('\n').collect::<Vec<_>>());
    let mut daemon = start(&["run", "--dry-run"]);
    kit::until("it runs", || (ask(&["status", "--json"]).1.contains("\"file\"")).then_some(()));
    fs::write(path("hang"), "").unwrap();
    let mut reloads = [start(&["reload"]), start(&["reload"])];
    kit::until("sshd is asked", || path("asked").exists().then_some(()));
    let failed = |port: u16| {
        format!("{} web sshd[9]: Failed password for root from 192.0.2.7 port {port} ssh2\n", jiff::Timestamp::now())
    };
    fs::write(path("log"), (1..=4).map(failed).collect::<String>()).unwrap();
    kit::until("the deny", || ask(&["list", "hosts", "--json"]).1.contains("192.0.2.7").then_some(()));
    let is_at_work = |reload: &mut std::process::Child| reload.try_wait().unwrap().is_none();
    assert!(reloads.iter_mut().all(is_at_work), "it was denied while sshd hung");
    fs::remove_file(path("hang")).unwrap();
    for reload in &mut reloads {
        assert!(reload.wait().unwrap().success(), "both were done, one after the other");
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// R9: where sshd is not linked with libwrap, hosts.deny refuses nobody: a firewall enforces as well, at sshd's ports (R10), and
/// `check` says so; hosts.deny alone fails it.
#[test]
fn an_sshd_without_libwrap_brings_a_firewall() {
    if !kit::in_box("denyhosts::an_sshd_without_libwrap_brings_a_firewall") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let path = |name: &str| dir.path().join(name);
    let whole = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 3\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
    fs::write(path("log"), "").unwrap();
    fs::write(path("denyhosts.conf"), format!("{whole}HOSTS_DENY = {place}/hosts.deny\nSECURE_LOG = {place}/log\n"))
        .unwrap();
    let ours = format!(
        "state_dir = \"{place}/state\"\ncontrol_socket = \"{place}/control\"\ndeny.backends = [\"hosts.deny\"]\n\
         deny.hosts_deny.path = \"{place}/hosts.deny\"\n[[input]]\nkind = \"file\"\npath = \"{place}/log\"\n"
    );
    fs::write(path("denyd.toml"), ours).unwrap();
    let in_place_of = |program: &std::path::Path| {
        for sshd in ["/usr/sbin/sshd", "/usr/lib/openssh/sshd-session"].iter().filter(|sshd| fs::exists(sshd).unwrap())
        {
            kit::journald::run(std::process::Command::new("mount").arg("--bind").arg(program).arg(sshd));
        }
    };
    let check = |asks: bool, ports: &str| {
        let config = path("denyhosts.conf");
        let (_, printed, err) = denyd(&["--config", config.to_str().unwrap(), "check", "--print"]);
        let has_firewall = printed.contains("backends = [\"hosts.deny\", \"");
        assert_eq!((has_firewall, printed.contains(ports)), (!asks, true), "{printed}{err}");
        let (_, said, _) = denyd(&["--config", config.to_str().unwrap(), "check"]);
        assert_eq!(said.contains("this machine's sshd does not look into hosts.deny"), !asks, "{said}");
        let (code, said, _) = denyd(&["--config", path("denyd.toml").to_str().unwrap(), "check"]);
        let fails = said.lines().any(|line| line.contains("FAIL deny by") && line.contains("libwrap"));
        assert_eq!((fails, code), (!asks, Some(i32::from(!asks))), "{said}");
    };
    // Debian's own is linked with it; where it is not, there is nothing to compare.
    let real = fs::read("/usr/sbin/sshd").unwrap();
    if real.windows(10).any(|part| part == b"libwrap.so") {
        check(true, "");
    }
    // A program that knows nothing of libwrap; and one that says where it listens.
    fs::copy("/bin/true", path("true")).unwrap();
    in_place_of(&path("true"));
    check(false, "ports = [22]");
    fs::write(path("sshd"), "#!/bin/sh\necho port 2222\n").unwrap();
    fs::set_permissions(path("sshd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    in_place_of(&path("sshd"));
    check(false, "ports = [2222]");
}
