//! Real lines of sshd against what was really done, through the commands that a user runs.
//!
//! The corpora and the policy: `tests/data/sshd`. The only lines that are excused are those that may stand under the
//! next action: written late, or by the listening process. There is no list of exceptions.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use kit::{Corpus, Home, Row, VERSIONS};
use serde_json::Value;

/// The listeners' own addresses: no peer ever has them.
const OWN: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

#[test]
fn traditional_lines() {
    check("traditional stamps", |row| row.line.clone());
}

/// tinysshd, in the same corpus, names no addresses: nothing must come of it.
#[test]
fn dropbears_lines() {
    check_all("dropbear and tinysshd", &["dropbear-tinyssh"], |row| row.line.clone());
}

#[test]
fn rfc3339_lines() {
    check("RFC 3339 stamps", |row| row.iso.clone());
}

#[test]
fn other_names_of_sshd() {
    for name in ["sshd", "sshd-session", "sshd-auth"] {
        check(name, |row| retagged(&row.line, name));
    }
}

#[test]
fn datagrams_over_a_unix_socket() {
    if kit::skipped_without_root("a record over a unix socket counts from root only; it") {
        return;
    }
    check_live("unix-datagram://DIR/log.sock", "", |home, datagrams, sent| {
        let socket = UnixDatagram::unbound().unwrap();
        for datagram in datagrams {
            // Blocks while the queue is full.
            socket.send_to(datagram, home.path("log.sock")).unwrap();
        }
        sent(datagrams.len());
    });
}

#[test]
fn datagrams_over_udp() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    check_live(&format!("udp://127.0.0.1:{port}"), "trust_network = true\n", |_, datagrams, sent| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // UDP does not push back: so many fit into any receive buffer.
        for (index, some) in datagrams.chunks(100).enumerate() {
            for datagram in some {
                socket.send_to(datagram, ("127.0.0.1", port)).unwrap();
            }
            sent(index * 100 + some.len());
        }
    });
}

/// Explains both corpora, each line as `form` writes it, and compares with the truth.
fn check(what: &str, form: impl Fn(&Row) -> String) {
    check_all(what, &VERSIONS, form);
}

fn check_all(what: &str, versions: &[&'static str], form: impl Fn(&Row) -> String) {
    for &version in versions {
        let corpus = kit::corpus(version);
        let explained = kit::explain(&kit::file(corpus.rows.iter().map(&form)));
        let mut problems = addresses(&corpus, &explained);
        problems.extend(connections(&corpus, &explained));
        assert!(problems.is_empty(), "{version}, {what}: {} problems\n{}", problems.len(), problems.join("\n"));
    }
}

/// Line by line: the peer's address where the line has it, never another one, and every shape known.
fn addresses(corpus: &Corpus, explained: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut carry, mut given) = (0, 0);
    for (row, got) in corpus.rows.iter().zip(explained) {
        let address = kit::address(got);
        if got["outcome"] == "unknown" {
            problems.push(format!("unknown: {}", row.line));
        }
        if address.is_some_and(|address| OWN.contains(&address.to_string().as_str())) {
            problems.push(format!("the server's own address: {}", row.line));
        }
        if row.astray {
            continue;
        }
        if address.is_some() && address != row.src {
            problems.push(format!("{address:?} instead of {:?}: {}", row.src, row.line));
        }
        if row.src_text.as_ref().is_some_and(|src| row.line.contains(src)) {
            carry += 1;
            given += usize::from(address.is_some());
            if address.is_none() {
                problems.push(format!("no address: {}", row.line));
            }
        }
    }
    eprintln!("{}: {given} of {carry} lines that carry the peer's address give it", corpus.version);
    assert!(carry > corpus.rows.len() / 3);
    problems
}

/// Connection by connection: attempts, probe, success, refused; and nothing outside of them.
fn connections(corpus: &Corpus, explained: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut inside = vec![false; explained.len()];
    for connection in &corpus.connections {
        connection.lines.iter().for_each(|&line| inside[line] = true);
        if connection.lines.is_empty() {
            continue;
        }
        let lines: Vec<_> = connection.lines.iter().map(|&line| &explained[line]).collect();
        let attempts: u64 = lines.iter().map(|got| got["attempts"].as_u64().unwrap()).sum();
        let some = |outcome: &str| lines.iter().any(|got| got["outcome"] == outcome);
        let right = (!connection.address_logged || connection.attempts.contains(&attempts))
            && some("probe") == connection.probe
            && some("success") == connection.success
            && some("refused") == connection.refused;
        if !right {
            let text: Vec<_> = connection.lines.iter().map(|&line| corpus.rows[line].line.as_str()).collect();
            problems.push(format!(
                "{}: {attempts} attempts, not {:?}; probe {}, success {}, refused {}\n    {}",
                connection.action,
                connection.attempts,
                some("probe"),
                some("success"),
                some("refused"),
                text.join("\n    ")
            ));
        }
    }
    for ((got, row), _) in explained.iter().zip(&corpus.rows).zip(&inside).filter(|(_, inside)| !**inside) {
        if got["attempts"] != 0 || ["success", "probe", "refused"].iter().any(|outcome| got["outcome"] == *outcome) {
            problems.push(format!("of no connection, but {}: {}", got["outcome"], row.line));
        }
    }
    problems
}

/// Sends both corpora, as they went to /dev/log, to a daemon that listens; it must decide what `scan` decides of the file.
fn check_live(listen: &str, more: &str, send: impl Fn(&Home, &[Vec<u8>], &dyn Fn(usize))) {
    for version in VERSIONS {
        let corpus = kit::corpus(version);
        // The corpus is old: what it denies must not be over by now, or it would count no more.
        let home = Home::new(&format!(
            "decide.deny_for = \"36500d\"\n\
             [[input]]\nkind = \"syslog\"\nlisten = \"{listen}\"\ntimezone = \"UTC\"\n{more}"
        ));
        let daemon = home.start();
        let datagrams: Vec<_> = corpus.rows.iter().map(|row| row.datagram.clone()).collect();
        send(&home, &datagrams, &|sent| daemon.folded(sent as u64));
        daemon.folded(datagrams.len() as u64);
        let status = home.ask(&["status"]).unwrap();
        let input = &status["inputs"][0];
        assert_eq!((&input["unknown"], &input["lost"], &input["forged"]), (&0.into(), &0.into(), &0.into()));
        daemon.stop();
        let config = home.path("config");
        let scan = ["--config", config.to_str().unwrap(), "scan", "--json", "--all", "--timezone", "UTC", "-"];
        let scanned = kit::json(&scan, &kit::file(corpus.rows.iter().map(|row| &row.line))).remove(0);
        let tallies = rows(&home.ask(&["list", "addresses"]).unwrap(), &TALLY);
        assert_eq!(tallies, rows(&scanned["tallies"], &TALLY), "{version}: tallies");
        let denied: Vec<_> = home.history().into_iter().filter(|row| row["decision"] == "denied").collect();
        assert_eq!(rows(&denied.into(), &DENIED), rows(&scanned["denied"], &DENIED), "{version}: denied");
        assert!(!tallies.is_empty());
    }
}

const TALLY: [&str; 7] = ["prefix", "invalid", "valid", "root", "restricted", "probe", "successes"];
const DENIED: [&str; 5] = ["prefix", "at", "class", "count", "until"];

/// The named columns, sorted.
fn rows(all: &Value, columns: &[&str]) -> Vec<String> {
    let row = |row: &Value| columns.iter().map(|column| row[*column].to_string()).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<_> = all.as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

/// A traditional line of sshd, by another of its names: what stands behind stamp (15 bytes), blank, host, blank.
fn retagged(line: &str, name: &str) -> String {
    let tag = 16 + line[16..].find(' ').unwrap() + 1;
    let end = tag + line[tag..].find(['[', ':']).unwrap();
    let ours = matches!(&line[tag..end], "sshd" | "sshd-session" | "sshd-auth");
    if ours { format!("{}{name}{}", &line[..tag], &line[end..]) } else { line.to_owned() }
}
