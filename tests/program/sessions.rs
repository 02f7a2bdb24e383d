//! Transcripts: what each line of a connection adds, and what is counted in the end.
//!
//! A file of `tests/data/sessions` holds lines of a log, each behind the attempts that it adds and its outcome; comments
//! (`#`) that say why; and what `scan` must have counted in the end: `= PREFIX CLASS COUNT, …`, of nobody else, and
//! `= unresolved COUNT`.

use std::collections::BTreeMap;

/// What is counted, by prefix.
type Counted = BTreeMap<String, BTreeMap<String, u64>>;

/// Checks a transcript; returns what is wrong, and what would be right.
fn check(text: &str) -> (Vec<String>, String) {
    let (mut log, mut want, mut counted, mut unresolved) = (Vec::new(), Vec::new(), Counted::new(), 0);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (first, rest) = line.split_once(' ').unwrap();
        if first != "=" {
            want.push((first.parse::<u64>().unwrap(), rest[..8].trim_end().to_owned()));
            log.push(&rest[9..]);
        } else if let Some(count) = rest.strip_prefix("unresolved ") {
            unresolved = count.parse().unwrap();
        } else {
            let (prefix, classes) = rest.split_once(' ').unwrap();
            let class = |text: &str| text.split_once(' ').map(|(class, n)| (class.to_owned(), n.parse().unwrap()));
            counted.insert(prefix.to_owned(), classes.split(", ").map(|text| class(text).unwrap()).collect());
        }
    }
    let log = kit::file(&log);
    let mut wrong = Vec::new();
    let explained = kit::explain(&log);
    for (row, (attempts, outcome)) in explained.iter().zip(&want) {
        if (&row["attempts"], &row["outcome"]) != (&(*attempts).into(), &outcome.as_str().into()) {
            let line = log.split(|&b| b == b'\n').nth(row["line"].as_u64().unwrap() as usize - 1).unwrap();
            let found = format!("{} {}, not {attempts} {outcome}", row["attempts"], row["outcome"]);
            wrong.push(format!("{found}: {}", line.escape_ascii()));
        }
    }
    let found = kit::scan(&log);
    let tally = |row: &serde_json::Value| {
        let counts = row.as_object().unwrap().iter().filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
        let counts = counts.map(|(class, count)| (class.clone(), count.as_u64().unwrap()));
        (kit::text(&row["prefix"]), counts.collect::<BTreeMap<_, _>>())
    };
    let tallies: Counted = found["tallies"].as_array().unwrap().iter().map(tally).collect();
    if tallies != counted {
        wrong.push(format!("counted {tallies:?}, not {counted:?}"));
    }
    if found["unresolved"] != unresolved {
        wrong.push(format!("{} unresolved, not {unresolved}", found["unresolved"]));
    }
    let mut rows = explained.iter();
    let mut right = String::new();
    for line in text.lines().filter(|line| !line.starts_with("= ")) {
        if !line.is_empty() && !line.starts_with('#') {
            let row = rows.next().unwrap();
            let (_, rest) = line.split_once(' ').unwrap();
            right += &format!("{} {:<8} {}\n", row["attempts"], kit::text(&row["outcome"]), &rest[9..]);
        } else {
            right += &format!("{line}\n");
        }
    }
    for (prefix, classes) in &tallies {
        let classes: Vec<_> = classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
        right += &format!("= {prefix} {}\n", classes.join(", "));
    }
    if found["unresolved"] != 0 {
        right += &format!("= unresolved {}\n", found["unresolved"]);
    }
    (wrong, right)
}

#[test]
fn transcripts() {
    let mut files: Vec<_> =
        std::fs::read_dir(kit::data("sessions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (is_wrong, right) = check(&text);
        if !is_wrong.is_empty() && kit::blesses() {
            std::fs::write(&file, right).unwrap();
            continue;
        }
        wrong.extend(is_wrong.into_iter().map(|what| format!("{}: {what}", file.display())));
    }
    assert!(wrong.is_empty(), "\n{}\nDENYD_BLESS=1 writes what is found instead", wrong.join("\n"));
}

#[test]
fn a_wrong_transcript_is_told() {
    let right = "1 failure  Nov 21 23:10:01 web1 sshd[9]: Failed password for root from 192.0.2.7 port 4022 ssh2\n";
    let right = format!("# why\n{right}= 192.0.2.7 root 1\n");
    let wrong = |text: &str| {
        let (wrong, blessed) = check(text);
        assert_eq!(blessed, right, "what would be blessed");
        wrong.len()
    };
    assert_eq!(wrong(&right), 0);
    assert_eq!(wrong(&right.replace("1 failure", "0 failure").replace("= 192.0.2.7 root 1\n", "")), 2);
    assert_eq!(wrong(&format!("{right}= unresolved 1\n")), 1);
}

#[test]
fn nothing_is_blessed_in_continuous_integration() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sessions::blesses"]).env("DENYD_BLESS", "1").env("CI", "true");
    assert!(!command.output().unwrap().status.success());
    assert!(command.env("CI", "false").output().unwrap().status.success());
}

/// By itself only that `DENYD_BLESS` is understood; see above.
#[test]
fn blesses() {
    kit::blesses();
}

/// By `scan`, `status` and `doctor`, and once in the daemon's own log, without a byte of the stranger's.
#[test]
fn what_is_not_understood_is_shown() {
    let lines = (1..=3).map(|n| {
        let text = format!("Connection from 192.0.2.{n} port 22 on 198.51.100.1 closed \u{1b}[31m\u{e9} weirdly");
        format!("Nov 21 23:10:0{n} web1 sshd[{n}]: {text}")
    });
    // One is understood, or the log would be as good as not there.
    let log = kit::file(lines.chain(["Nov 21 23:10:04 web1 sshd[4]: Server listening on 0.0.0.0 port 22.".to_owned()]));
    let shape = "Connection from * port * on * closed * weirdly";
    let found = kit::scan(&log);
    assert_eq!(
        (&found["unknown"], &found["shapes"]),
        (&3.into(), &serde_json::json!([{"shape": shape, "records": 3}]))
    );
    let home = kit::Home::with_log();
    home.append(&log);
    let daemon = home.start();
    daemon.caught_up();
    let warning = "records of a new shape are not understood";
    kit::until("a warning", || home.stderr().contains(warning).then_some(()));
    let status = home.ask(&["status"]).unwrap();
    assert_eq!(status["shapes"], serde_json::json!([{"input": "auth", "shape": shape, "records": 3}]));
    for verb in ["status", "doctor"] {
        let shown = home.denyd(&[verb]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&shown).contains(shape), "{}", shown.escape_ascii());
    }
    daemon.stop();
    assert_eq!(home.stderr().matches(warning).count(), 1, "{}", home.stderr());
    assert!(home.stderr().contains(shape) && !home.stderr().contains('\u{e9}'), "{}", home.stderr());
}
