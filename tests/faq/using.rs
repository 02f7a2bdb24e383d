//! FAQ 3.0 to 3.19.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use kit::{Sink, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Site, good, mail_by, stamp, wrong, wrong_ago};

/// Old, rotated logs are read first, several at once, and whom they convict is denied now.
#[test]
fn q3_0_old_logs_are_read_first() {
    let site = Site::new("PURGE_DENY =\n");
    site.write("secure.2", &(wrong_ago(2000, "root", "192.0.2.1", 2) + &wrong_ago(2000, "root", "192.0.2.2", 1)));
    site.write("secure.1", &wrong_ago(1000, "root", "192.0.2.2", 1));
    let files = ["secure.1", "secure.2"].map(|name| format!("--file={}", site.path(name).display()));
    let (code, _, err) = site.denyhosts(&files.each_ref().map(String::as_str));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(site.denied(), ["192.0.2.1", "192.0.2.2"]);
}

/// Whoever may not write gets the lines on standard output, ready to be pasted into hosts.deny.
#[test]
fn q3_1_it_needs_no_root() {
    let site = Site::new("");
    site.log(&wrong("root", "192.0.2.7", 2));
    // Nothing can be written below a file, whoever tries.
    site.write("config", &site.read("config").replace("/state\"", "/log/state\""));
    assert_eq!(site.denyhosts(&[]), (Some(0), "sshd: 192.0.2.7\n".to_owned(), String::new()));
    assert!(!site.path("hosts.deny").exists());
}

/// A run reads what came since the last one; if nothing came it ends at once.
#[test]
fn q3_2_it_reads_what_is_new() {
    let site = Site::new("");
    site.log(&wrong("root", "192.0.2.7", 1));
    site.quiet(&[]);
    site.quiet(&[]);
    assert_eq!(site.denied(), [""; 0], "what was read is not read again");
    site.log(&wrong("root", "192.0.2.7", 1));
    site.quiet(&[]);
    assert_eq!(site.denied(), ["192.0.2.7"]);
}

/// A log that was rotated is read from its beginning; nothing is lost and nothing counts twice.
#[test]
fn q3_3_rotation_is_noticed() {
    let site = Site::new("");
    site.log(&(wrong("root", "192.0.2.7", 1) + &wrong("root", "192.0.2.8", 1)));
    site.quiet(&[]);
    fs::rename(site.path("log"), site.path("log.1")).unwrap();
    site.write("log", &wrong("root", "192.0.2.7", 1));
    site.quiet(&[]);
    assert_eq!(site.denied(), ["192.0.2.7"]);
}

/// `--ignore`: all of the log again, whatever was read; nothing counts twice.
#[test]
fn q3_4_the_whole_log_may_be_read_again() {
    let site = Site::new("DENY_THRESHOLD_ROOT = 5\n");
    site.log(&(wrong("root", "192.0.2.7", 2) + &wrong("root", "192.0.2.8", 1)));
    site.quiet(&[]);
    site.quiet(&["--ignore"]);
    site.quiet(&["--ignore"]);
    assert_eq!(site.denied(), [""; 0], "once is not twice");
    // Who was tolerated is not any more.
    site.configure("DENY_THRESHOLD_ROOT = 1\n");
    site.quiet(&["--ignore"]);
    assert_eq!(site.denied(), ["192.0.2.7"]);
}

/// It is silent but for errors; `--verbose` says more, `--debug` more still.
#[test]
fn q3_5_it_says_what_one_wants_to_know() {
    let site = Site::new("");
    site.log(&wrong("root", "192.0.2.7", 2));
    site.quiet(&[]);
    let [verbose, debug] = ["--verbose", "--debug"].map(|option| {
        let (code, _, err) = site.denyhosts(&[option]);
        assert_eq!(code, Some(0), "{err}");
        err.lines().count()
    });
    assert!(verbose > 0 && debug >= verbose, "{verbose} lines, then {debug}");
    fs::remove_file(site.path("log")).unwrap();
    let (code, _, err) = site.denyhosts(&[]);
    assert!(code == Some(1) && !err.is_empty(), "{err}");
}

/// No mail with `ADMIN_EMAIL =`, in lower case too, nor with `--noemail`.
#[test]
fn q3_6_mail_is_not_sent_to_who_wants_none() {
    let sink = Sink::new();
    for (lines, options) in [("admin_email=\n", &[][..]), ("", &["--noemail"])] {
        let site = Site::new(&(mail_by(&sink) + lines));
        site.log(&wrong("root", "192.0.2.7", 2));
        site.quiet(options);
        assert_eq!((site.denied(), sink.mails().len()), (vec!["192.0.2.7".to_owned()], 0));
    }
    let site = Site::new(&mail_by(&sink));
    site.log(&wrong("root", "192.0.2.7", 2));
    site.quiet(&[]);
    assert_eq!(sink.mails().len(), 1);
}

/// Addresses in WORK_DIR/allowed-hosts are not denied: the example of the FAQ, with its wildcard and its range in use.
#[test]
fn q3_7_allowed_hosts_are_not_denied() {
    let example =
        "# this is a comment line\n1.1.1.1\n1.1.1.2\n1.1.1.3\n#\n1.1.2.*\n1.1.3.[6-23]\n# the host foo\nfoo\n";
    let site = Site::with("", &[("work/allowed-hosts", example)]);
    let tried = ["1.1.1.1", "1.1.1.3", "1.1.1.4", "1.1.2.200", "1.1.3.5", "1.1.3.6", "1.1.3.23", "1.1.3.24"];
    for address in tried {
        site.log(&wrong("root", address, 2));
    }
    assert_eq!(site.convicted(), ["1.1.1.4", "1.1.3.5", "1.1.3.24"]);
}

/// A log with names instead of addresses has nobody denied who is called so; ALLOWED_HOSTS_HOSTNAME_LOOKUP is taken.
#[test]
fn q3_8_names_in_a_log_deny_nobody() {
    let site = Site::with("ALLOWED_HOSTS_HOSTNAME_LOOKUP=yes\n", &[("work/allowed-hosts", "192.0.2.7\n")]);
    site.log(&(wrong("root", "office.example.org", 5) + &wrong("root", "192.0.2.8", 2)));
    let found = site.scan();
    assert_eq!(found["unresolved"], 5, "{found}");
    assert_eq!(site.convicted(), ["192.0.2.8"]);
}

/// SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS = NO: suspicious logins from allowed hosts are not reported, all others are.
#[test]
fn q3_9_suspicious_logins_of_allowed_hosts() {
    for (value, is_told) in [("YES", true), ("NO", false)] {
        let sink = Sink::new();
        let lines = format!("{}SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS = {value}\n", mail_by(&sink));
        let site = Site::with(&lines, &[("work/allowed-hosts", "192.0.2.7\n")]);
        let daemon = site.start();
        for address in ["192.0.2.7", "192.0.2.8"] {
            site.log(&(wrong_ago(0, "root", address, 3) + &good(0, "root", address)));
        }
        let told = || sink.mails().into_iter().map(|mail| mail.body).collect::<String>();
        let is_suspicious = || told().split_once("uspicious").is_some_and(|(_, all)| all.contains("192.0.2.8"));
        until("the login is told", || is_suspicious().then_some(()));
        daemon.stop();
        assert_eq!(told().contains("192.0.2.7"), is_told, "{}", told());
    }
}

/// A log that is packed by `with` is read by `-f`, and is not unpacked on the disk.
fn packed(with: &str, ending: &str) {
    let site = Site::new("");
    site.write("secure.1", &wrong("root", "192.0.2.7", 2));
    assert!(Command::new(with).arg(site.path("secure.1")).status().unwrap().success());
    let file = site.path(&format!("secure.1.{ending}"));
    let (code, _, err) = site.denyhosts(&["-f", file.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(site.denied(), ["192.0.2.7"]);
    assert!(file.exists() && !site.path("secure.1").exists());
}

/// `-f secure.log.1.gz`.
#[test]
fn q3_10_gzip_is_read() {
    packed("gzip", "gz");
}

/// `-f secure.log.1.bz2`.
#[test]
fn q3_11_bzip2_is_read() {
    packed("bzip2", "bz2");
}

/// `--migrate`: entries without a time get one, the present, and the old file is kept; whose time is deleted stays for good.
/// Without a PURGE_DENY it is an error.
#[test]
fn q3_12_entries_without_a_time_get_one() {
    let site = Site::new("PURGE_DENY = 1d\n");
    let before = "# mine\n\nsshd: 192.0.2.7\nsshd: 192.0.2.8\n";
    site.write("hosts.deny", before);
    site.quiet(&["--migrate", "--yes"]);
    let text = site.read("hosts.deny");
    assert!(
        text.starts_with("# mine\n\n# DenyHosts: ") && text.contains(" | sshd: 192.0.2.8\nsshd: 192.0.2.8\n"),
        "{text}"
    );
    assert_eq!(site.read("hosts.deny.migrate.bak"), before);
    site.quiet(&["--purge"]);
    assert_eq!(site.denied(), ["", "192.0.2.7", "192.0.2.8"], "the time is the present");
    // As by an editor; then two days pass.
    let year = text.lines().find(|line| line.contains("| sshd: 192.0.2.8")).unwrap();
    let old = format!("# DenyHosts: {} | sshd: 192.0.2.7", stamp(2));
    let lines = text.lines().filter(|line| *line != year);
    let lines = lines.map(|line| if line.contains("| sshd: 192.0.2.7") { old.as_str() } else { line });
    site.write("hosts.deny", &(lines.collect::<Vec<_>>().join("\n") + "\n"));
    site.quiet(&["--purge"]);
    assert_eq!(site.denied(), ["", "192.0.2.8"]);
    site.configure("PURGE_DENY =\n");
    let (code, _, err) = site.denyhosts(&["--migrate", "--yes"]);
    assert!(code == Some(1) && err.contains("PURGE_DENY"), "{err}");
}

/// The LOCK_FILE has the pid; a second one says so and ends; the file goes at the end, or by `--unlock` after a crash.
#[test]
fn q3_13_there_is_one_of_it() {
    let site = Site::new("");
    let daemon = site.start();
    let pid = daemon.pid().to_string();
    assert_eq!(site.read("lock").trim(), pid);
    let (code, _, err) = site.denyhosts(&["--daemon"]);
    assert!(code == Some(1) && err.contains(&pid), "{err}");
    daemon.stop();
    assert!(!site.path("lock").exists());
    let daemon = site.start();
    daemon.kill();
    assert!(site.path("lock").exists());
    site.quiet(&["--unlock"]);
    assert!(!site.path("lock").exists());
    site.quiet(&[]);
}

/// "Error sending email": the server's answer is told, the mail is kept, and SMTP_FROM is to be fully qualified.
#[test]
fn q3_14_mail_that_fails_is_told_and_kept() {
    let mut sink = Sink::new();
    let site = Site::new(&(mail_by(&sink) + "SMTP_FROM = DenyHosts <nobody@localhost>\n"));
    let (_, out, _) = site.denyd(&["check"]);
    assert!(out.contains("many servers refuse `from` without a full domain"), "{out}");
    fs::write(sink.path("unknown"), "root@").unwrap();
    let (code, out, err) = site.denyd(&["mail", "--test"]);
    assert!(
        code == Some(1) && [out.as_str(), &err].concat().contains("(550): 5.1.1 nobody of that name"),
        "{out}{err}"
    );
    fs::remove_file(sink.path("unknown")).unwrap();
    sink.stop();
    let daemon = site.start();
    site.log(&wrong("root", "192.0.2.7", 2));
    kit::until_or(
        "it fails",
        || site.denyd(&["doctor"]).1,
        || site.denyd(&["doctor"]).1.contains("nobody listens there").then_some(()),
    );
    sink.begin_again();
    assert!(sink.wait(1)[0].body.contains("192.0.2.7"));
    daemon.stop();
}

/// SMTP_USERNAME and SMTP_PASSWORD: servers that want a login get one. denyd has the password in a file of its own.
#[test]
fn q3_15_mail_servers_may_want_a_login() {
    let sink = Sink::new();
    fs::write(sink.path("password"), "al:secret").unwrap();
    let site = Site::new(&mail_by(&sink));
    assert_eq!(site.denyd(&["mail", "--test"]).0, Some(1), "it wants one");
    site.write("password", "secret\n");
    fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let login = "[mail]\nusername = \"al\"\npassword_file = \"DIR/password\"\n";
    site.write("config", &site.read("config").replacen("[mail]\n", login, 1));
    let (code, out, err) = site.denyd(&["mail", "--test"]);
    assert!(code == Some(0) && sink.mails().len() == 1, "{out}{err}");
    if !std::path::Path::new("/etc/denyd/mail-password").exists() {
        site.write(
            "denyhosts.conf",
            &(super::CONF.to_owned() + &mail_by(&sink) + "SMTP_USERNAME = al\nSMTP_PASSWORD = secret\n"),
        );
        let (code, toml, err) = site.denyd(&["import", site.path("denyhosts.conf").to_str().unwrap()]);
        assert!(code == Some(0) && err.contains("write it alone into /etc/denyd/mail-password"), "{err}");
        assert!(!toml.contains("secret") && !err.contains("secret"), "{toml}{err}");
    }
}

/// Ends a daemon in the background, if the test fails.
struct Ends<'a>(&'a Site);

impl Ends<'_> {
    /// The daemon by its lock file.
    fn pid(&self) -> Option<Pid> {
        let pid: i32 = self.0.read("lock").trim().parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"denyhosts").then_some(Pid::from_raw(pid))
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// `--daemon` and `daemon-control start|stop|restart|debug|status`, with options for start and restart.
#[test]
fn q3_16_it_runs_in_the_background() {
    let site = Site::new("");
    let daemon = Ends(&site);
    let control = |words: &[&str], code: i32, want: &str| {
        let (found, out, err) = site.control(words);
        assert!(found == Some(code) && out.contains(want), "{words:?}: {found:?} {out}{err}");
    };
    control(&["status"], 3, "DenyHosts is not running");
    assert_eq!(site.denyhosts(&["--daemon"]).0, Some(0));
    let first = daemon.pid().expect("it runs");
    control(&["status"], 0, &format!("DenyHosts is running with pid = {first}"));
    site.log(&wrong("root", "192.0.2.7", 2));
    site.wait_denied(&["192.0.2.7"]);
    control(&["debug"], 0, "");
    control(&["restart", "--debug"], 0, "");
    let second = daemon.pid().expect("it runs again");
    assert_ne!(first, second);
    control(&["stop"], 0, "");
    assert!(daemon.pid().is_none() && !site.path("lock").exists());
    control(&["start"], 0, "");
    assert_eq!(site.denied(), ["192.0.2.7"], "nobody was let in meanwhile");
    control(&["stop"], 0, "");
}

/// A daemon that purges: denies end after PURGE_DENY; with DAEMON_PURGE blank they do not.
#[test]
fn q3_16_a_daemon_purges_unless_it_is_not_to() {
    for line in ["", "DAEMON_PURGE =\n"] {
        let site = Site::new(&format!("PURGE_DENY = 2s\n{line}"));
        let daemon = site.start();
        site.log(&wrong_ago(0, "root", "192.0.2.7", 2));
        let ends = line.is_empty();
        until("it is denied, and ends unless it is not to", || {
            let history = site.home.history();
            let is_told = if ends { history.get(1)?["why"] == "expired" } else { history.first()?["until"].is_null() };
            is_told.then_some(())
        });
        site.wait_denied(if ends { &[] } else { &["192.0.2.7"] });
        daemon.stop();
    }
}

/// `--debug` gives what a report of a fault needs: what is configured, read and decided.
#[test]
fn q3_18_a_fault_is_reported_with_debug_output() {
    let site = Site::new("");
    site.log(&wrong("root", "192.0.2.7", 2));
    let (code, _, err) = site.denyhosts(&["--debug"]);
    assert!(code == Some(0) && err.contains("192.0.2.7"), "{err}");
}

/// The files of WORK_DIR: who maintains which, and what stands in them.
#[test]
fn q3_19_the_work_directory_has_its_files() {
    let users = [("work/allowed-hosts", "192.0.2.99\n"), ("work/restricted-usernames", "mysql\n")];
    let site = Site::with("PURGE_DENY = 2s\n", &users);
    let daemon = site.start();
    site.log(
        &(wrong_ago(0, "mysql", "192.0.2.1", 1)
            + &wrong_ago(0, "root", "192.0.2.2", 2)
            + &wrong_ago(0, "bob", "192.0.2.3", 2)),
    );
    site.log(&(wrong_ago(0, "invalid user al", "192.0.2.4", 2) + &good(0, "root", "192.0.2.2")));
    for (name, want) in [
        ("hosts", "192.0.2.4:2:"),
        ("hosts-restricted", "192.0.2.1:1:"),
        ("hosts-valid", "192.0.2.3:2:"),
        ("users-hosts", "bob - 192.0.2.3:2:"),
        ("users-invalid", "al:2:"),
        ("users-valid", "bob:2:"),
        ("suspicious-logins", "root - 192.0.2.2:1:"),
        ("purge-history", "192.0.2.2:1:"),
    ] {
        site.wait_file(&format!("work/{name}"), want);
    }
    daemon.stop();
    assert!(site.read("work/users-valid").contains("root:2:"), "{}", site.read("work/users-valid"));
    for (name, text) in users {
        assert_eq!(site.read(name), text, "{name} is the user's");
    }
}
