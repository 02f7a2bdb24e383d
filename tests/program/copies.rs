//! A log that real tools put a copy in the place of: each line counts once.

use std::fmt::Write as _;
use std::process::Command;

use kit::{Daemon, Home, until};

/// Wrong passwords of one address: line `n` of the log.
fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        let time = format!("{:02}:{:02}", n / 60, n % 60);
        let line = "Failed password for test from 192.0.2.1 port 4242 ssh2";
        writeln!(text, "Nov 22 10:{time} box sshd[{}]: {line}", 1000 + n).unwrap();
        text
    })
}

/// A home that denies nobody: only the counts matter.
fn home() -> Home {
    let home = Home::with_log();
    let config = std::fs::read_to_string(home.path("config")).unwrap();
    std::fs::write(home.path("config"), format!("decide.threshold_valid = \"off\"\n{config}")).unwrap();
    home
}

/// Runs a shell in the home's directory, as somebody would.
fn sh(home: &Home, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(home.path("")).status().unwrap();
    assert!(status.success(), "{script}");
}

/// How many tries are counted.
fn counted(home: &Home) -> u64 {
    let rows = home.ask(&["list", "addresses"]).unwrap();
    rows[0]["valid"].as_u64().unwrap_or(0)
}

/// Waits until so many are; once the log is read to its end there are no more.
fn expect(home: &Home, daemon: &Daemon<'_>, tries: u64, what: &str) {
    until(what, || (counted(home) >= tries).then_some(()));
    daemon.caught_up();
    assert_eq!(counted(home), tries, "{what}");
}

/// Replaces the log thrice by `script`, while the daemon runs, and once while it does not.
fn check(script: &str) {
    let home = home();
    home.append(lines(0..24).as_bytes());
    let mut daemon = home.start();
    expect(&home, &daemon, 24, script);
    for _ in 0..3 {
        sh(&home, script);
        expect(&home, &daemon, 24, script);
    }
    home.append(lines(24..26).as_bytes());
    expect(&home, &daemon, 26, script);
    daemon.stop();
    home.append(lines(26..27).as_bytes());
    sh(&home, script);
    daemon = home.start();
    expect(&home, &daemon, 27, script);
    home.append(lines(27..30).as_bytes());
    expect(&home, &daemon, 30, script);
    daemon.stop();
}

#[test]
fn each_line_counts_once_however_the_log_is_copied() {
    check("sed -i s/x/x/ log");
    check("sed -i.bak s/x/x/ log");
    check("cp log .log.Xy; mv .log.Xy log"); // as rsync does
    check("cp log copy; cat copy > log");
    check("tail -n 20 log > copy; mv copy log");
    check("tail -n 20 log > copy; cat copy > log");
    check("cp log /dev/shm/denyd-$$; rm log; cp /dev/shm/denyd-$$ log; rm /dev/shm/denyd-$$"); // log2ram
}

#[test]
fn what_is_written_behind_a_truncation_is_new() {
    let home = home();
    home.append(lines(0..24).as_bytes());
    let daemon = home.start();
    for n in 1..4 {
        expect(&home, &daemon, u64::from(24 * n), "truncated");
        sh(&home, "cp log log.1; : > log");
        home.append(lines(24 * n..24 * (n + 1)).as_bytes());
    }
    expect(&home, &daemon, 96, "truncated");
    daemon.stop();
}
