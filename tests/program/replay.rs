//! A log from end to end: what `scan` finds, and what the daemon decides while the same log is written.
//!
//! What must come out is computed here, from the truth about each connection and by the policy, not from
//! anything that the program says: `tests/data/sshd/9.2.jsonl` says how many attempts each connection
//! was, and the text of its lines says at which of them each attempt was complete.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use kit::{Connection, Corpus, Home};
use serde_json::Value;

/// The defaults: denied when a count exceeds it. `valid`, `invalid`, `root`.
const THRESHOLDS: [(&str, u64); 3] = [("invalid", 5), ("valid", 10), ("root", 1)];
const WEEK: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

#[test]
fn scan_finds_what_was_done() {
    let corpus = kit::corpus("9.2");
    let want = Golden::of(&corpus);
    let log = kit::file(corpus.rows.iter().map(|row| &row.line));
    let found = kit::scan(&log);
    let number = |key: &str| found[key].as_u64().unwrap();
    // By hand, from the table in the corpus' README: 485 attempts, 238 probes, 15 successes; 7 connections
    // refused, 4 of them without a line.
    assert_eq!((want.attempts, want.probes, want.successes, want.refused), (485, 238, 15, 3));
    let counted = (number("attempts"), number("probes"), number("successes"), number("refused"));
    assert_eq!(counted, (485, 238, 15, 3));
    assert_eq!((number("lines"), number("records"), number("unknown"), number("truncated")), (2058, 2058, 0, 0));
    let outcomes = ["failures", "probes", "successes", "refused", "ignored", "unknown"].map(number);
    assert_eq!(outcomes.iter().sum::<u64>(), number("records"));
    assert_eq!(number("addresses"), want.addresses);
    assert_eq!(tallies(&found["tallies"]), want.tallies);
    let denied = |at: &dyn Fn(&str) -> String| decisions(found["denied"].as_array().unwrap(), at);
    // Traditional stamps are whole seconds, and have no year.
    assert_eq!(denied(&|at| at[5..].to_owned()), want.denied(|line| corpus.rows[line].iso[5..19].to_owned() + "Z"));
    let mut users = BTreeMap::new();
    for user in found["users"].as_array().unwrap() {
        *users.entry(kit::text(&user["user"])).or_insert(0) += user["attempts"].as_u64().unwrap();
    }
    assert_eq!(users["root"], want.users["root"]);
    assert_eq!(users.values().sum::<u64>(), want.attempts);
    // Of the seven denies, three by eye in 9.2.log: the second `Failed password for root` from 10.66.0.5, the
    // sixth for `oracle` from 10.66.0.7, and the sixth of unknown users of 2001:db8:66::/64, all on 21 November.
    let first: Vec<_> = want.denied.iter().take(3).map(|one| (one.prefix.as_str(), one.class, one.line + 1)).collect();
    assert_eq!(first, [("10.66.0.5", "root", 30), ("10.66.0.7", "invalid", 58), ("2001:db8:66::/64", "invalid", 171)]);
}

#[test]
fn explain_tells_all_of_one_line() {
    let explain = |line: &str| {
        let (status, out, err) = kit::run(&["explain", "--timezone", "UTC", line], b"");
        assert!(status.success() && err.is_empty(), "{}", String::from_utf8_lossy(&err));
        String::from_utf8(out).unwrap()
    };
    let said = explain("2026-11-21T23:26:32Z web sshd[9]: Invalid user a\x1bb from 6.6.6.6 from 2001:db8::7 port 22");
    // The time is shown in this machine's zone.
    let said: String = said.lines().filter(|line| !line.starts_with("time")).map(|line| format!("{line}\n")).collect();
    kit::assert_screen("explain/name-with-an-address.txt", &said);
    let bare = explain("Invalid user a from 192.0.2.7 port 22");
    assert!(bare.ends_with("if it is what sshd itself prints, say --identifier sshd\n"), "{bare}");
    let unknown = explain("Nov 21 23:26:32 web sshd[9]: Failed password for root from UNKNOWN port 65535 ssh2");
    assert!(unknown.contains("   ~ what a stranger can choose\n"), "{unknown}");
    assert!(unknown.contains(": an attempt without an address, which counts against nobody unless"), "{unknown}");
    let tried = "Failed password for root from 192.0.2.7 port 22 ssh2";
    let docker = format!(r#"{{"log":"{tried}\n","stream":"stderr","time":"2026-11-21T23:26:32Z"}}"#);
    let forgeable = "trust      strangers may have made it up: what rests on it denies for an hour at most, and it clears nothing\n";
    for (line, written, is_forgeable) in [
        (format!("Nov 21 23:26:32 web sshd[9]: {tried}"), "as in a file, with an RFC 3164 stamp", false),
        (format!("<38>Nov 21 23:26:32 web sshd[9]: {tried}"), "as sent, RFC 3164", false),
        (format!("<38>1 2026-11-21T23:26:32Z web sshd 9 - - {tried}"), "as sent, RFC 5424", false),
        (format!("1795303592.123456 web sshd[9]: {tried}"), "as in a file, with a stamp that few daemons write", false),
        (format!("Nov 21 23:26:32 [sshd] {tried}"), "by metalog", false),
        (
            format!("2026-11-21T23:26:32Z stderr F {tried}"),
            "by a container's engine (CRI, or docker's syslog driver)",
            true,
        ),
        (docker, "by docker, in its json-file", true),
    ] {
        let said = explain(&line);
        assert!(said.starts_with(&format!("written    {written}\n")), "{said}");
        assert_eq!(said.ends_with(forgeable), is_forgeable, "{said}");
        assert!(said.contains("+1 root of 192.0.2.7;"), "{said}");
    }
}

#[test]
fn explain_tells_one_line_as_json_too() {
    let line = "Nov 21 23:26:32 web sshd[9]: Failed password for root from 192.0.2.7 port 22 ssh2";
    let found = kit::json(&["explain", "--json", line], b"");
    assert_eq!((found.len(), &found[0]["address"], &found[0]["attempts"]), (1, &"192.0.2.7".into(), &1.into()));
}

#[test]
fn explain_names_who_wrote_what_is_not_understood_and_what_is_counted() {
    let check = |line: &str, want: &str| {
        let (_, out, _) = kit::run(&["explain"], line.as_bytes());
        let found = String::from_utf8(out).unwrap();
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), want);
    };
    check("GET / 200", "1 ignored no header GET / 200");
    check("Nov 21 23:26:32 web cron[9]: x", "1 ignored of cron x");
    let tried = |address: &str| format!("Failed password for root from {address} port 22 ssh2");
    let (translated, told) = (tried("2002:c633:6446::1"), "+1 root from 2002:c633:6446::1 (/48) sshd.failed");
    check(&format!("Nov 21 23:26:32 web sshd[9]: {translated}"), &format!("1 failure {told} {translated}"));
}

#[test]
fn a_log_of_last_year_denies_nobody_today() {
    let (home, decided) = check_live(kit::last_year());
    assert!(decided.iter().all(|row| row["enforced"] == false));
    assert_eq!(home.stdout(), "");
    assert!(home.ask(&["list", "hosts"]).unwrap().as_array().unwrap().iter().all(|row| row["enforced"] == false));
}

#[test]
fn a_log_of_now_denies_at_once() {
    let (home, decided) = check_live(kit::now());
    assert!(decided.iter().all(|row| row["enforced"] == true));
    let until = |row: &Value| format!("deny {} until {}", kit::text(&row["prefix"]), kit::text(&row["until"]));
    let want: BTreeSet<_> = decided.iter().map(until).collect();
    let printed: Vec<_> = home.stdout().lines().map(str::to_owned).collect();
    assert_eq!(printed.iter().cloned().collect::<BTreeSet<_>>(), want);
    assert_eq!(printed.len(), want.len(), "each once");
}

/// A dry run begins with what the daemon remembers, decides on it, and leaves the database as it was.
#[test]
fn a_dry_run_keeps_nothing() {
    let home = Home::with_log();
    let now = kit::now();
    let failures = |address: &str, pids: std::ops::Range<u32>| {
        let line = |pid| format!("{now} web sshd[{pid}]: Failed password for root from {address} port {pid} ssh2\n");
        home.append(pids.map(line).collect::<String>().as_bytes());
    };
    let hosts = || {
        let rows = home.ask(&["list", "hosts"]).unwrap();
        rows.as_array().unwrap().iter().map(|row| kit::text(&row["prefix"])).collect::<Vec<_>>()
    };
    failures("192.0.2.1", 1..3);
    failures("192.0.2.2", 3..4);
    let daemon = home.start();
    daemon.caught_up();
    daemon.stop();
    let database = || std::fs::read(home.path("state/denyd.db")).unwrap();
    let before = (database(), home.history());
    let daemon = home.start_with(&["run", "--dry-run"]);
    // The second of 192.0.2.2: the first was counted by the daemon that ran before.
    failures("192.0.2.2", 4..5);
    kit::until("it is denied", || hosts().contains(&"192.0.2.2".to_owned()).then_some(()));
    assert_eq!(home.ask(&["status"]).unwrap()["dry_run"], true);
    for verb in ["status", "list", "doctor"] {
        let output = home.denyd(&[verb]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8(said).unwrap().contains("DRY RUN: nothing"), "{verb}");
    }
    daemon.stop();
    assert!(home.stderr().contains("DRY RUN: nothing is enforced and nothing is kept"), "{}", home.stderr());
    let stderr = home.stderr();
    let denied: Vec<_> = stderr.lines().filter(|line| line.contains("DRY RUN: denied")).collect();
    assert!(!denied.is_empty() && denied.iter().all(|line| line.contains("enforced=false")), "{stderr}");
    assert_eq!((database(), home.history()), before);
    assert_eq!(hosts(), ["192.0.2.1"]);
    // The daemon that comes then reads what the dry run has read.
    let daemon = home.start();
    daemon.caught_up();
    assert_eq!(hosts(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(home.ask(&["status"]).unwrap()["dry_run"], false);
    daemon.stop();
}

/// A daemon follows the log while it is written, its stamps moved so that the last is at `last`: it decides what is
/// right, what `scan` decides, at the same moments. Returns what it decided; it has ended.
fn check_live(last: jiff::Timestamp) -> (Home, Vec<Value>) {
    let corpus = kit::corpus("9.2");
    let want = Golden::of(&corpus);
    let lines = kit::moved(&corpus.rows.iter().map(|row| row.iso.as_str()).collect::<Vec<_>>(), last);
    let stamp = |line: usize| kit::stamped(&lines[line]).0;
    let home = Home::with_weeks();
    let (before, after) = lines.split_at(700);
    home.append(&kit::file(before));
    let daemon = home.start();
    for some in after.chunks(97) {
        home.append(&kit::file(some));
    }
    daemon.caught_up();
    // What is asked now, the store answers: it holds all of it.
    daemon.stop();
    let decided: Vec<_> = home.history().into_iter().filter(|row| row["decision"] == "denied").collect();
    assert_eq!(decisions(&decided, &|at| at.to_owned()), want.denied(|line| stamp(line).to_string()));
    for (row, want) in decided.iter().zip(&want.denied) {
        assert_eq!(row["until"], (stamp(want.line) + WEEK).to_string());
    }
    assert_eq!(tallies(&home.ask(&["list", "addresses"]).unwrap()), want.tallies);
    std::fs::write(home.path("all"), kit::file(&lines)).unwrap();
    let all = home.path("all");
    let scan = ["scan", "--json", "--all", "--timezone", "UTC", all.to_str().unwrap()];
    let scanned: Value = serde_json::from_slice(&home.denyd(&scan).output().unwrap().stdout).unwrap();
    let as_scanned = |rows: &[Value]| -> Vec<Value> {
        let columns = ["prefix", "at", "class", "count", "until", "enforced"];
        let mut rows: Vec<_> = rows.iter().map(|row| columns.map(|column| row[column].clone())).collect();
        rows.sort_by_key(|row| (kit::text(&row[1]), kit::text(&row[0])));
        rows.into_iter().map(|row| row.to_vec().into()).collect()
    };
    assert_eq!(as_scanned(&decided), as_scanned(scanned["denied"].as_array().unwrap()), "as scan decides");
    (home, decided)
}

/// What must come out.
#[derive(Default)]
struct Golden {
    attempts: u64,
    probes: u64,
    successes: u64,
    refused: u64,
    addresses: u64,
    users: BTreeMap<String, u64>,
    /// By prefix: invalid, valid, root, probe, successes (those only of prefixes that failed before).
    tallies: BTreeMap<String, [u64; 5]>,
    /// In order.
    denied: Vec<Denied>,
}

struct Denied {
    prefix: String,
    class: &'static str,
    count: u64,
    line: usize,
}

/// What happened at one line.
enum Moment<'a> {
    Attempt(&'a Connection),
    Probe(&'a Connection),
    Success(&'a Connection),
}

impl Golden {
    fn of(corpus: &Corpus) -> Self {
        let mut golden = Golden::default();
        let mut moments = Vec::new();
        let mut addresses = BTreeSet::new();
        for connection in &corpus.connections {
            let text: Vec<_> = connection.lines.iter().map(|&line| corpus.rows[line].line.as_str()).collect();
            let has = |words: &[&str]| text.iter().position(|line| words.iter().any(|word| line.contains(word)));
            let attempts = attempts(connection, &text);
            assert!(
                connection.attempts.contains(&(attempts.len() as u64)) || !connection.address_logged,
                "this test does not understand {}: {text:#?}",
                connection.action
            );
            moments.extend(attempts.into_iter().map(|at| (connection.lines[at], Moment::Attempt(connection))));
            if connection.success {
                let at = has(&[": Accepted "]).unwrap();
                moments.push((connection.lines[at], Moment::Success(connection)));
            }
            if connection.probe {
                let at = text.iter().position(|line| ends_a_probe(line, &connection.src.unwrap().to_string()));
                let at = at.unwrap_or_else(|| panic!("no probe in {}: {text:#?}", connection.action));
                moments.push((connection.lines[at], Moment::Probe(connection)));
            }
            // One for each line: of five that MaxStartups dropped, one left a line.
            golden.refused += u64::from(connection.refused && !text.is_empty());
        }
        moments.sort_by_key(|(line, _)| *line);
        for (line, moment) in moments {
            let (Moment::Attempt(connection) | Moment::Probe(connection) | Moment::Success(connection)) = moment;
            let src = connection.src.unwrap();
            let prefix = prefix(src);
            match moment {
                Moment::Success(_) => {
                    golden.successes += 1;
                    if let Some(tally) = golden.tallies.get_mut(&prefix) {
                        tally[4] += 1;
                    }
                }
                Moment::Probe(_) => {
                    golden.probes += 1;
                    addresses.insert(src);
                    golden.tallies.entry(prefix).or_default()[3] += 1;
                }
                Moment::Attempt(_) => {
                    golden.attempts += 1;
                    addresses.insert(src);
                    let user = connection.user.clone().unwrap_or_default();
                    let class = match (user.as_str(), connection.account.as_deref()) {
                        ("root", _) => 2,
                        (_, Some("unknown")) => 0,
                        _ => 1,
                    };
                    *golden.users.entry(user).or_default() += 1;
                    let count = &mut golden.tallies.entry(prefix.clone()).or_default()[class];
                    *count += 1;
                    let (name, threshold) = THRESHOLDS[class];
                    if *count > threshold && !golden.denied.iter().any(|one| one.prefix == prefix) {
                        golden.denied.push(Denied { prefix, class: name, count: *count, line });
                    }
                }
            }
        }
        golden.addresses = addresses.len() as u64;
        golden
    }

    /// Whom it must deny: prefix, time, class, count.
    fn denied(&self, at: impl Fn(usize) -> String) -> Vec<(String, String, String, u64)> {
        let row = |one: &Denied| (one.prefix.clone(), at(one.line), one.class.to_owned(), one.count);
        self.denied.iter().map(row).collect()
    }
}

/// At which of a connection's lines its attempts were complete, by the policy in the corpus' README: judged tries, by
/// the larger of sshd's two accounts of them; without any, one for a login begun, unless it succeeded.
fn attempts(connection: &Connection, text: &[&str]) -> Vec<usize> {
    let (mut tried, mut pam, mut begun) = (0u64, 0u64, 0u64);
    let mut done = Vec::new();
    for (at, line) in text.iter().enumerate() {
        let message = line.split_once("]: ").map_or("", |(_, message)| message);
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let is = |start: &str| message.starts_with(start);
        let named = message.contains("invalid user ") || message.contains("authenticating user ");
        if is("Failed password for ") || is("Failed keyboard-interactive") {
            tried += 1;
        } else if is("PAM: ") {
            pam += 1;
        } else if is("Invalid user ")
            || is("maximum authentication attempts exceeded for ")
            || (is("Failed ") && message.contains(" for invalid user "))
            || (is("User ") && message.contains(" not allowed because "))
            || (named && (is("Connection closed by ") || is("Connection reset by ")))
            || (named && (is("Disconnected from ") || is("Disconnecting ")))
        {
            begun = 1;
        }
        // Keys alone (`Failed publickey for`) are worth one too, but a closing line says so.
        let count = tried.max(pam).max(if connection.success { 0 } else { begun });
        while (done.len() as u64) < count {
            done.push(at);
        }
    }
    done
}

/// Whether a line is the end of a connection that began no login.
fn ends_a_probe(line: &str, src: &str) -> bool {
    let message = line.split_once("]: ").map_or("", |(_, message)| message);
    let starts = ["Connection closed by ", "Connection reset by ", "Disconnected from ", "Unable to negotiate with "];
    let connection = ["banner exchange: Connection from ", "ssh_dispatch_run_fatal: Connection from ", "probed from "];
    let other = ["Disconnecting ", "Timeout before authentication for ", "Did not receive identification string from "];
    let all = starts.iter().chain(&connection).chain(&other);
    let message = message.strip_prefix("error: ").or_else(|| message.strip_prefix("fatal: ")).unwrap_or(message);
    all.map(|start| format!("{start}{src} ")).any(|start| message.starts_with(&start))
}

/// IPv4 alone, IPv6 by /64.
fn prefix(src: IpAddr) -> String {
    match src {
        IpAddr::V4(v4) => v4.to_string(),
        // A link's addresses are its neighbours' own: each alone.
        IpAddr::V6(v6) if v6.is_unicast_link_local() => v6.to_string(),
        IpAddr::V6(v6) => format!("{}/64", Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

fn tallies(rows: &Value) -> BTreeMap<String, [u64; 5]> {
    let columns = ["invalid", "valid", "root", "probe", "successes"];
    let row = |row: &Value| (kit::text(&row["prefix"]), columns.map(|column| row[column].as_u64().unwrap()));
    let all = rows.as_array().unwrap();
    assert!(all.iter().all(|row| row["restricted"] == 0));
    all.iter().map(row).collect()
}

fn decisions(rows: &[Value], at: &dyn Fn(&str) -> String) -> Vec<(String, String, String, u64)> {
    let row = |row: &Value| {
        let count = row["count"].as_u64().unwrap();
        (kit::text(&row["prefix"]), at(row["at"].as_str().unwrap()), kit::text(&row["class"]), count)
    };
    rows.iter().map(row).collect()
}
