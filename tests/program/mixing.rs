//! Passwords by `keyboard-interactive` and by `password` within one connection: each counts once, in every order of up to
//! six, whatever sshd and PAM say of it.

use std::collections::BTreeMap;
use std::io::Read as _;

/// What a real sshd with PAM logged; see `tests/e2e/mixing.rs`.
fn recorded(level: &str) -> Vec<String> {
    let path = kit::data(&format!("sshd/mixed-{level}.log.xz"));
    let mut text = String::new();
    inputs::file::archive::open(&path).unwrap().read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Each address must have as many failures as tries were made from it.
fn check(what: &str, log: &[String]) {
    let mut orders = BTreeMap::new();
    for order in kit::orders(6) {
        orders.extend([true, false].map(|exists| (kit::source_of(&order, exists), order.clone())));
    }
    assert_eq!(orders.len(), 2 * 126);
    let scanned = kit::scan(&kit::file(log));
    let failures = |row: &serde_json::Value| row["valid"].as_u64().unwrap() + row["invalid"].as_u64().unwrap();
    let tally = |row: &serde_json::Value| (kit::text(&row["prefix"]), failures(row));
    let found: BTreeMap<_, _> = scanned["tallies"].as_array().unwrap().iter().map(tally).collect();
    assert_eq!(found.len(), orders.len(), "{what}: nobody else");
    let wrong = |(source, order): (&String, &String)| {
        let found = found.get(source).copied();
        (found != Some(order.len() as u64)).then(|| format!("{order} from {source}: {found:?}"))
    };
    let wrong: Vec<_> = orders.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{what}: {} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// Where a line of PAM's precedes one of sshd's about a refused try, they change places.
fn swapped(mut log: Vec<String>) -> Vec<String> {
    let mut at = 1;
    while at < log.len() {
        let is_pam = log[at - 1].contains(": error: PAM: ") || log[at - 1].contains(": pam_unix(");
        if is_pam && log[at].contains("]: Failed ") {
            log.swap(at - 1, at);
            at += 1;
        }
        at += 1;
    }
    log
}

#[test]
fn each_password_counts_once_in_any_order_of_methods() {
    for level in ["info", "verbose"] {
        let log = recorded(level);
        assert!(log.len() > 4_000, "{}", log.len());
        check(level, &log);
        check(&format!("{level}, PAM's lines behind sshd's"), &swapped(log.clone()));
        let without = |what| log.iter().filter(|line| !line.contains(what)).cloned().collect::<Vec<_>>();
        check(&format!("{level}, without sshd's account of answers"), &without("]: Failed keyboard-interactive"));
        if level == "verbose" {
            check("verbose, without PAM's account of answers", &without("]: error: PAM: "));
        }
        let pid = |line: &String| {
            let (head, rest) = line.split_once("sshd[").unwrap();
            format!("{head}sshd{}", &rest[rest.find(']').unwrap() + 1..])
        };
        check(&format!("{level}, without pids"), &log.iter().map(pid).collect::<Vec<_>>());
    }
}
