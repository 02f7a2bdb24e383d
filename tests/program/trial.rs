//! A configuration on trial: it holds once somebody keeps it who gets in anew, and goes back in all other cases.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;

use kit::{Daemon, Home, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The home's configuration, in which root is denied above so many failures.
fn configure(home: &Home, threshold: u32) {
    let config = fs::read_to_string(home.path("config")).unwrap();
    let rest = config.lines().filter(|line| !line.starts_with("decide.")).collect::<Vec<_>>().join("\n");
    fs::write(home.path("config"), format!("decide.threshold_root = {threshold}\n{rest}\n")).unwrap();
}

/// A home whose daemon denies at the tenth failure of root.
fn home() -> Home {
    let home = Home::with_log();
    configure(&home, 9);
    home
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// Runs a verb, which must end so, and say this.
fn says(home: &Home, arguments: &[&str], code: i32, want: &str) {
    let output = home.denyd(arguments).output().unwrap();
    let said = said(&output);
    assert!(output.status.code() == Some(code) && said.contains(want), "{arguments:?}: {} {said}", output.status);
}

/// `denyd keep` in a session that begins now: of an sshd, as far as the kernel can tell, and of the kernel's audit.
fn keep_anew(home: &Home) -> Output {
    let sshd = home.path("session/sshd");
    fs::create_dir_all(sshd.parent().unwrap()).unwrap();
    let _ = symlink("/bin/sh", &sshd);
    let denyd = home.denyd(&["keep"]);
    let mut session = std::process::Command::new(sshd);
    session.args(["-c", "echo 0 2>/dev/null >/proc/self/loginuid; \"$@\"; exit $?", "sshd"]);
    session.arg(denyd.get_program()).args(denyd.get_args()).output().unwrap()
}

/// Whether two failures of root are enough for a deny now.
fn denies_soon(home: &Home, daemon: &Daemon<'_>, address: &str) -> bool {
    let line = |n: u32| format!("Nov 28 23:00:00 b sshd[{n}]: Failed password for root from {address} port {n} ssh2\n");
    home.append((1..3).map(line).collect::<String>().as_bytes());
    daemon.caught_up();
    is_denied(home, address)
}

fn is_denied(home: &Home, address: &str) -> bool {
    home.ask(&["list"]).unwrap().as_array().unwrap().iter().any(|row| row["prefix"] == address)
}

fn trial(home: &Home) -> Value {
    home.ask(&["status"]).unwrap()["trial"].clone()
}

#[test]
fn what_nobody_keeps_goes_back_and_stays_back() {
    let home = home();
    let daemon = home.start();
    configure(&home, 1);
    says(&home, &["reload", "--confirm", "1h"], 0, "not kept yet: goes back at ");
    assert!(denies_soon(&home, &daemon, "192.0.2.1"), "it holds meanwhile");
    says(&home, &["status"], 0, "not kept yet: goes back at ");
    says(&home, &["keep"], 2, "log in anew");
    says(&home, &["keep", "--console"], 2, "you are at none");
    says(&home, &["reload", "--confirm", "1s"], 0, "not kept yet: goes back at ");
    until("it goes back", || (trial(&home)["ended"] == true).then_some(()));
    assert!(!is_denied(&home, "192.0.2.1"), "whom it denied gets in again");
    assert!(!denies_soon(&home, &daemon, "192.0.2.2"), "what was before holds again");
    assert!(home.stderr().contains("nobody kept the configuration in time"), "{}", home.stderr());
    says(&home, &["doctor"], 1, "so the one before holds");
    let late = keep_anew(&home);
    assert!(late.status.code() == Some(2) && said(&late).contains("so it went back"), "{late:?}");
    // The terminal of whoever was locked out ends, and a machine that does not answer is started again.
    kill(Pid::from_raw(i32::try_from(daemon.pid()).unwrap()), Signal::SIGHUP).unwrap();
    until("the signal is heard", || home.stderr().contains("the configuration was not read").then_some(()));
    daemon.stop();
    let daemon = home.start_with(&["run", "--confirm", "1m"]);
    assert_eq!(trial(&home)["ended"], true);
    assert!(!denies_soon(&home, &daemon, "192.0.2.3"));
    // Whoever means it says so.
    says(&home, &["reload"], 0, "holds");
    assert!(trial(&home).is_null());
    assert!(denies_soon(&home, &daemon, "192.0.2.4"));
    daemon.stop();
    let daemon = home.start();
    assert!(trial(&home).is_null() && denies_soon(&home, &daemon, "192.0.2.5"));
}

#[test]
fn what_is_kept_from_a_new_session_holds() {
    let home = home();
    let daemon = home.start();
    says(&home, &["keep"], 2, "no configuration is on trial");
    configure(&home, 1);
    says(&home, &["reload", "--confirm", "1m"], 0, "not kept yet");
    says(&home, &["reload"], 0, "not kept yet");
    // Whatever becomes of the file meanwhile, what runs is kept.
    let good = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), good.replace("= 1", "= = 1")).unwrap();
    says(&home, &["reload"], 2, "the old configuration stays in use");
    let here = home.denyd(&["keep"]).env("SSH_CONNECTION", "::1 50022 ::1 22").output().unwrap();
    assert!(here.status.code() == Some(2) && said(&here).contains("from this machine itself"), "{here:?}");
    let kept = keep_anew(&home);
    assert!(kept.status.success() && said(&kept).contains("is kept, and holds"), "{kept:?}");
    assert!(trial(&home).is_null());
    daemon.kill();
    let daemon = home.start();
    assert!(trial(&home).is_null() && denies_soon(&home, &daemon, "192.0.2.1"));
}

#[test]
fn whom_it_denied_is_let_in_after_a_crash_before_that_is_written() {
    let home = home();
    let daemon = home.start();
    configure(&home, 1);
    says(&home, &["reload", "--confirm", "1h"], 0, "not kept yet");
    assert!(denies_soon(&home, &daemon, "192.0.2.1"));
    until("the deny is written", || (!home.history().is_empty()).then_some(()));
    let other = rusqlite::Connection::open(home.path("state/denyd.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    says(&home, &["reload", "--confirm", "1s"], 0, "not kept yet");
    until("it goes back", || (trial(&home)["ended"] == true).then_some(()));
    assert!(!is_denied(&home, "192.0.2.1"));
    daemon.kill();
    drop(other);
    let _daemon = home.start();
    assert_eq!(trial(&home)["ended"], true);
    assert!(!is_denied(&home, "192.0.2.1"));
}

#[test]
fn a_crash_goes_back() {
    let home = home();
    // Nothing was enforced before.
    configure(&home, 1);
    let daemon = home.start_with(&["run", "--confirm", "1m"]);
    assert!(denies_soon(&home, &daemon, "192.0.2.1"));
    assert_eq!((&trial(&home)["ended"], &trial(&home)["to_nothing"]), (&false.into(), &true.into()));
    // What is not written is read again, and decided by what holds then.
    until("the deny is written", || (!home.history().is_empty()).then_some(()));
    daemon.kill();
    // Meanwhile nothing is enforced, either.
    says(&home, &["deny", "198.51.100.1"], 0, "this is written to the database only");
    says(&home, &["forgive", "198.51.100.1"], 0, "this is written to the database only");
    // As its service manager starts it again.
    let daemon = home.start_with(&["run", "--confirm", "1m"]);
    assert_eq!((&trial(&home)["ended"], &trial(&home)["to_nothing"]), (&true.into(), &true.into()));
    assert!(!is_denied(&home, "192.0.2.1"));
    let enforced = |home: &Home| home.ask(&["status"]).unwrap()["backends"][0]["wanted"].clone();
    assert!(denies_soon(&home, &daemon, "192.0.2.2"), "it decides");
    assert_eq!(enforced(&home), 0, "and enforces nothing");
    assert!(home.stderr().contains("NOTHING IS ENFORCED") && !home.stdout().contains("192.0.2.2"));
    says(&home, &["doctor"], 1, "NOTHING IS ENFORCED");
    says(&home, &["status"], 1, "NOTHING IS ENFORCED");
    says(&home, &["deny", "192.0.2.99"], 0, "not enforced now: NOTHING IS ENFORCED");
    says(&home, &["forgive", "192.0.2.99"], 0, "");
    // One that is tried again enforces, and its crash goes back to nothing again.
    says(&home, &["reload", "--confirm", "1m"], 0, "nothing is enforced any more unless");
    until("it enforces", || (enforced(&home) == 1).then_some(()));
    daemon.kill();
    let daemon = home.start();
    assert_eq!((&trial(&home)["ended"], enforced(&home)), (&true.into(), 0.into()));
    says(&home, &["reload"], 0, "holds");
    assert!(trial(&home).is_null() && denies_soon(&home, &daemon, "192.0.2.3"));
    // From what holds, it is that to which a crash goes back.
    configure(&home, 0);
    says(&home, &["reload", "--confirm", "1m"], 0, "goes back at");
    daemon.kill();
    let daemon = home.start();
    let shown = trial(&home);
    assert_eq!((&shown["ended"], &shown["to_nothing"]), (&true.into(), &false.into()), "{shown}");
    home.append(b"Nov 28 23:00:00 b sshd[9]: Failed password for root from 192.0.2.9 port 9 ssh2\n");
    daemon.caught_up();
    assert!(!is_denied(&home, "192.0.2.9"));
}

#[test]
fn what_cannot_be_tried_changes_nothing() {
    let home = home();
    let daemon = home.start();
    for (time, want) in [("0s", "a second at least"), ("2d", "1d at most"), ("10", "needs a unit")] {
        says(&home, &["reload", "--confirm", time], 2, want);
    }
    configure(&home, 1);
    let good = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), good.replace("= 1", "= = 1")).unwrap();
    says(&home, &["reload", "--confirm", "1m"], 2, "nothing was changed");
    assert!(trial(&home).is_null() && !home.path("state/trial.json").exists());
    fs::write(home.path("config"), good).unwrap();
    // An order that would not outlast a crash is none.
    fs::create_dir(home.path("state/trial.new")).unwrap();
    says(&home, &["reload", "--confirm", "1m"], 2, "the order to go back cannot be written");
    assert!(trial(&home).is_null() && !denies_soon(&home, &daemon, "192.0.2.1"));
    fs::remove_dir(home.path("state/trial.new")).unwrap();
    // One that nobody can read tells nothing of what was before.
    daemon.stop();
    fs::write(home.path("state/trial.json"), "{").unwrap();
    let _daemon = home.start();
    assert_eq!((&trial(&home)["ended"], &trial(&home)["to_nothing"]), (&true.into(), &true.into()));
}
