//! A machine that two inputs call otherwise counts once, also over a restart; a name of two machines is told.

use std::fs;
use std::io::Write as _;

use kit::{Home, until};

/// Wrong passwords of one address: of which processes of a host.
fn lines(host: &str, pids: std::ops::Range<u32>) -> String {
    let line = |pid| {
        format!("Nov 22 10:00:{pid:02} {host} sshd[{pid}]: Failed password for test from 192.0.2.1 port {pid} ssh2\n")
    };
    pids.map(line).collect()
}

/// A home whose daemon reads a log and what a relay writes, and denies nobody.
fn home() -> Home {
    let input = |name: &str| {
        format!(
            "[[input]]\nkind = \"file\"\nname = \"{name}\"\npath = \"DIR/{name}\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n"
        )
    };
    let home = Home::new(&format!("decide.threshold_valid = \"off\"\n{}{}", input("log"), input("relay")));
    fs::write(home.log(), "").unwrap();
    fs::write(home.path("relay"), "").unwrap();
    home
}

fn append(home: &Home, name: &str, lines: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(home.path(name)).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// Waits until both are read to their ends; then so many tries are counted.
#[track_caller]
fn expect(home: &Home, tries: u64) {
    until("both are read", || {
        let status = home.ask(&["status"])?;
        let is_read = |n: usize, name| {
            let len = fs::metadata(home.path(name)).unwrap().len();
            status["inputs"][n]["cursor"]["offset"].as_u64() == Some(len)
        };
        (is_read(0, "log") && is_read(1, "relay")).then_some(())
    });
    assert_eq!(home.ask(&["list", "addresses"]).unwrap()[0]["valid"], tries);
}

#[test]
fn a_machine_of_two_names_counts_once_over_a_restart() {
    for [log, relay] in [["web1", "web1.example.org"], ["web1.example.org", "web1"]] {
        let home = home();
        let daemon = home.start();
        append(&home, "log", &lines(log, 1..8));
        expect(&home, 7);
        append(&home, "relay", &lines(relay, 1..4));
        expect(&home, 7);
        daemon.stop();
        // What the log told before, and what both tell for the first time.
        append(&home, "relay", &lines(relay, 4..10));
        let daemon = home.start();
        expect(&home, 9);
        append(&home, "log", &lines(log, 8..12));
        expect(&home, 11);
        daemon.kill();
        append(&home, "relay", &lines(relay, 10..12));
        let daemon = home.start();
        expect(&home, 11);
        assert_eq!(home.ask(&["status"]).unwrap()["namesakes"], serde_json::Value::Null);
        daemon.stop();
    }
}

#[test]
fn a_name_of_two_machines_is_told() {
    let home = home();
    let mut daemon = home.start();
    append(&home, "log", &lines("web1", 1..3));
    expect(&home, 2);
    append(&home, "relay", &(lines("web1.a", 1..2) + &lines("web1.b", 2..3)));
    expect(&home, 3);
    for _ in 0..2 {
        let want = serde_json::json!([{"input": "log", "host": "web1"}]);
        assert_eq!(home.ask(&["status"]).unwrap()["namesakes"], want);
        for verb in ["status", "doctor"] {
            let text = String::from_utf8(home.denyd(&[verb]).output().unwrap().stdout).unwrap();
            assert!(text.contains("log: web1 is two machines by their full names"), "{verb}: {text}");
        }
        daemon.stop();
        daemon = home.start();
    }
    daemon.stop();
}
