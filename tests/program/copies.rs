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
    check("sed -i 12d log"); // a line out of the middle
    check("sed -i 1,3d log"); // its oldest lines drop
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

/// log2ram and the like swap the whole directory.
#[test]
fn each_line_counts_once_when_the_directory_is_swapped() {
    let home = home();
    let config = std::fs::read_to_string(home.path("config")).unwrap();
    let log = format!("{:?}", home.log());
    let moved = format!("{:?}", home.path("logs/log"));
    assert!(config.contains(&log));
    std::fs::write(home.path("config"), config.replace(&log, &moved)).unwrap();
    // The tests' own way to it.
    sh(&home, "mkdir logs; mv log logs; ln -s logs/log log");
    home.append(lines(0..24).as_bytes());
    let daemon = home.start();
    for n in 0..3 {
        let tries = 24 + n;
        expect(&home, &daemon, tries.into(), "before the swap");
        sh(&home, "cp -a logs ram; mv logs disk; mv ram logs; rm -r disk");
        expect(&home, &daemon, tries.into(), "swapped");
        home.append(lines(tries..tries + 1).as_bytes());
    }
    expect(&home, &daemon, 27, "behind the last swap");
    daemon.stop();
}

/// What cannot be told from another file is another file: equal lines are real tries.
#[test]
fn a_file_that_may_be_another_one_is_new() {
    let home = home();
    home.append(lines(0..1).repeat(6).as_bytes());
    let daemon = home.start();
    expect(&home, &daemon, 6, "equal lines");
    std::fs::write(home.path("other"), lines(0..1).repeat(8)).unwrap();
    sh(&home, "mv other log");
    expect(&home, &daemon, 14, "equal lines again, and more of them");
    std::fs::write(home.path("other"), lines(30..40)).unwrap();
    sh(&home, "mv other log");
    expect(&home, &daemon, 24, "other lines");
    daemon.stop();
}
