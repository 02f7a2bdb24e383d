//! The rules that are shipped, over what the real programs wrote, and over what strangers could make them write; and
//! the example of `packaging/doc`.
//!
//! `tests/data/rules/*.log` are what dovecot 2.3.19, vsftpd 3.0.3 and postfix 3.7.11 (Debian 12, with Cyrus' and with
//! dovecot's SASL) sent to `/dev/log` while a client at 198.51.100.7 and 2001:db8:66::7 failed to log in, also with names
//! that name 203.0.113.9. Nobody connected from there. What must be counted is what that client did.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use denyd::config::Config;
use denyd::detect::detect;
use denyd::detect::rule::Rules;
use inputs::record::Record;
use kit::{Home, Random};

/// Whom hostile names name.
const VICTIM: &str = "203.0.113.9";
/// The shortest that a syslog daemon cuts records to is 256 bytes (busybox), with a header of at least 26.
const CUT_MIN: usize = 230;
/// What dovecot's login processes print of a name, in bytes, `...` at the end included.
const DOVECOT_MAX: usize = 80;

fn shipped(name: &str) -> PathBuf {
    kit::root().join("packaging/rules.d").join(name)
}

/// A directory of these rules, and the configuration that names it.
fn with_rules(files: &[(&str, String)]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.d");
    std::fs::create_dir(&rules).unwrap();
    for (name, text) in files {
        std::fs::write(rules.join(name), text).unwrap();
    }
    let config = dir.path().join("denyd.toml");
    std::fs::write(&config, format!("rules_dir = {rules:?}\n")).unwrap();
    (dir, config.to_str().unwrap().to_owned())
}

fn with_shipped(name: &str) -> (tempfile::TempDir, String) {
    with_rules(&[(name, std::fs::read_to_string(shipped(name)).unwrap())])
}

/// What the rules of `file` count in `log`: by prefix the failures of root, those of others, and the logins; and what each
/// line is, as `explain` has it.
#[track_caller]
fn check(file: &str, log: &str, want: &[(&str, [u64; 3])]) {
    let (_dir, config) = with_shipped(file);
    let log = std::fs::read(kit::data(&format!("rules/{log}"))).unwrap();
    let rows = kit::json(&["--config", &config, "explain", "--json", "--timezone", "UTC"], &log);
    let mut found: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for row in &rows {
        assert_ne!(row["address"], VICTIM, "{row}");
        assert_ne!(row["outcome"], "unknown", "{row}");
        if row["outcome"] != "ignored" {
            let class = usize::from(row["user"] != "root");
            let class = if row["outcome"] == "success" { 2 } else { class };
            let count = if class == 2 { 1 } else { row["attempts"].as_u64().unwrap() };
            found.entry(kit::text(&row["address"])).or_default()[class] += count;
            assert!(row["rule"].as_str().unwrap().starts_with(file.split(['.', '-']).next().unwrap()), "{row}");
        }
    }
    let want: BTreeMap<_, _> = want.iter().map(|(address, counts)| ((*address).to_owned(), *counts)).collect();
    assert_eq!(found, want, "{file}");
    let scanned = kit::json(&["--config", &config, "scan", "--json", "--timezone", "UTC", "-"], &log).remove(0);
    let attempts: u64 = want.values().map(|counts| counts[0] + counts[1]).sum();
    assert_eq!((scanned["attempts"].as_u64(), scanned["unresolved"].as_u64()), (Some(attempts), Some(0)));
}

#[test]
fn what_was_done_to_dovecot() {
    // 20 by IPv4 in the first run of dovecot and 8 in the second, one of them of root. A failure before a login in the
    // same connection leaves no line of dovecot's own.
    check("dovecot.toml", "dovecot.log", &[("198.51.100.7", [1, 27, 2]), ("2001:db8:66::7", [0, 3, 1])]);
}

/// However a connection ends, by TLS and without: logged out, closed with and without close_notify, reset, garbage or an
/// alert instead of a record, too many commands, too long a line, a handshake that fails; of IMAP, POP3, submission, sieve.
#[test]
fn every_ending_of_dovecots_connections() {
    // By TLS 17, without 14; two in one connection, by two kinds of STARTTLS, 8 by POP3, 3 by submission, 3 by sieve, one
    // with a certificate, five with a hostile name. Two ended with a mechanism that there is not, which is all that
    // dovecot says of them.
    let by_ipv4 = 17 + 14 + 2 + 2 + 8 + 3 + 3 + 1 + 5;
    check("dovecot.toml", "dovecot-endings.log", &[("198.51.100.7", [0, by_ipv4, 2]), ("2001:db8:66::7", [0, 1, 0])]);
}

#[test]
fn what_pam_says_was_done_to_dovecot() {
    // 8 and 7, of a name of 200 bytes none; hostile names did not get past dovecot to PAM in the first run.
    check("dovecot-pam.toml", "dovecot.log", &[("198.51.100.7", [1, 14, 0]), ("2001:db8:66::7", [0, 3, 0])]);
}

#[test]
fn what_was_done_to_vsftpd() {
    // Beside them: two names with a quote, and one of 200 bytes.
    check("vsftpd.toml", "vsftpd.log", &[("198.51.100.7", [1, 5, 0]), ("2001:db8:66::7", [0, 1, 0])]);
}

#[test]
fn what_was_done_to_postfix() {
    // 5 with Cyrus' SASL and 6 with dovecot's; what was aborted, no answer or no mechanism is no attempt.
    check("postfix.toml", "postfix.log", &[("198.51.100.7", [0, 11, 0]), ("2001:db8:66::7", [0, 2, 0])]);
}

#[test]
fn dovecots_two_accounts_are_never_counted_together() {
    let read = |name: &str| (name.to_owned(), std::fs::read_to_string(shipped(name)).unwrap());
    let both = [read("dovecot.toml"), read("dovecot-pam.toml")];
    let (dir, config) = with_rules(&both.each_ref().map(|(name, text)| (name.as_str(), text.clone())));
    let (status, _, err) = kit::run(&["--config", &config, "check"], b"");
    let file = dir.path().join("rules.d/dovecot.toml");
    let want = format!("denyd: {}:", file.display());
    let err = String::from_utf8(err).unwrap();
    assert_eq!(status.code(), Some(2));
    assert!(err.starts_with(&want) && err.contains("another rule has this name"), "{err}");
}

/// A rule's examples as they are written.
fn hits(name: &str) -> Vec<toml::Table> {
    let table: toml::Table = std::fs::read_to_string(shipped(name)).unwrap().parse().unwrap();
    let rules = table["rule"].as_array().unwrap();
    let hits = rules.iter().flat_map(|rule| {
        rule["hit"].as_array().unwrap().iter().map(|hit| {
            let mut hit = hit.as_table().unwrap().clone();
            hit.insert("identifier".to_owned(), rule["identifiers"][0].clone());
            hit
        })
    });
    hits.collect()
}

fn rules_of(name: &str) -> Rules {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(shipped(name), dir.path().join(name)).unwrap();
    Config { rules_dir: dir.path().to_owned(), ..Config::default() }.rules().unwrap().rules
}

/// Whom a message is counted against, if anybody.
fn address(rules: &Rules, identifier: &str, message: &[u8]) -> Option<IpAddr> {
    let record = Record::of(identifier.as_bytes(), message);
    detect(&record, rules)?.peer.address().map(IpAddr::from)
}

/// In every example of every shipped rule, whatever a stranger calls himself, the address is his own or none; also where
/// a syslog daemon cuts the record. A name of usual letters is always counted.
#[test]
fn a_hostile_name_names_nobody_else() {
    let files = std::fs::read_dir(shipped("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (cases, counted) = (Cell::new(0u32), Cell::new(0u32));
    for file in files {
        let (rules, hits) = (rules_of(&file), hits(&file));
        let texts: Vec<_> = hits.iter().map(|hit| hit["message"].as_str().unwrap()).collect();
        for hit in &hits {
            let (Some(message), Some(user)) = (hit["message"].as_str(), hit.get("user").and_then(toml::Value::as_str))
            else {
                continue; // no name in it
            };
            let (identifier, own) = (hit["identifier"].as_str().unwrap(), hit["addr"].as_str().unwrap());
            let own: IpAddr = own.parse().unwrap();
            // Where the name stands: behind the same text in all of its examples.
            let marks = ["user=<", "sasl_username=", "ruser=", "["];
            let at = marks.iter().find_map(|mark| message.find(mark).map(|at| at + mark.len())).unwrap();
            assert!(message[at..].starts_with(user), "{message}");
            let with = |name: &[u8]| [&message.as_bytes()[..at], name, &message.as_bytes()[at + user.len()..]].concat();
            assert_eq!(address(&rules, identifier, &with(b"carol@example.org")), Some(own), "{message}");
            let known = format!("rule-{}", file.trim_end_matches(".toml"));
            kit::property(&known, (500 * kit::longer()) as u32, |random| {
                let mut name = hostile_name(random, &texts);
                if file == "dovecot.toml" && name.len() > DOVECOT_MAX {
                    name.truncate(DOVECOT_MAX - 3);
                    name.extend_from_slice(b"...");
                }
                let whole = with(&name);
                cases.update(|cases| cases + 1);
                let found = address(&rules, identifier, &whole);
                counted.update(|counted| counted + u32::from(found.is_some()));
                assert!(found.is_none_or(|found| found == own), "{found:?} in {}", whole.escape_ascii());
                for cut in CUT_MIN..whole.len() {
                    let found = address(&rules, identifier, &whole[..cut]);
                    assert!(found.is_none_or(|found| found == own), "{found:?} in {}", whole[..cut].escape_ascii());
                }
            });
        }
    }
    let (cases, counted) = (cases.get(), counted.get());
    assert!(counted > cases / 4, "{counted} of {cases}: most names are short enough to be counted");
}

/// Parts of what the program writes itself, with the victim's address, between letters.
fn hostile_name(random: &mut Random, texts: &[&str]) -> Vec<u8> {
    let mut name = Vec::new();
    for _ in 0..=random.below(4) {
        match random.below(5) {
            0 => name.extend((0..random.below(30)).map(|_| b'a')),
            1 => name.extend((0..random.below(10)).map(|_| random.number() as u8)),
            2 => name
                .extend_from_slice(random.pick(&[", rip=", " rhost=", "\n", ">", "\"", " user=", VICTIM]).as_bytes()),
            _ => {
                // From anywhere in a real message to anywhere behind it: mostly its end, where the address stands.
                let text = random.pick(texts).replace("198.51.100.7", VICTIM).replace("2001:db8:66::7", VICTIM);
                let start = random.below(text.len());
                let end = if random.one_in(3) { start + random.below(text.len() - start + 1) } else { text.len() };
                name.extend_from_slice(&text.as_bytes()[start..end]);
            }
        }
    }
    if random.one_in(2) {
        name.truncate(80);
    }
    name
}

#[test]
fn the_example_that_is_documented_is_right() {
    let told = std::fs::read_to_string(kit::root().join("packaging/doc/rules.md")).unwrap();
    let (_, behind) = told.split_once("    [[rule]]\n").unwrap();
    let example: String = behind
        .lines()
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let (_dir, config) = with_rules(&[("mine.toml", format!("[[rule]]\n{example}"))]);
    let log = "<85>Nov 22 05:00:00 web intranet[9]: login of bob from 198.51.100.7 refused\n";
    let rows = kit::json(&["--config", &config, "explain", "--json"], log.as_bytes());
    let row = &rows[0];
    assert_eq!((kit::text(&row["address"]), kit::text(&row["user"])), ("198.51.100.7".to_owned(), "bob".to_owned()));
    assert_eq!((row["attempts"].as_u64(), kit::text(&row["rule"])), (Some(1), "intranet.refused".to_owned()));
}

#[test]
fn the_daemon_and_check_read_the_rules() {
    let home = Home::with_log();
    std::fs::copy(shipped("vsftpd.toml"), home.path("rules.d/vsftpd.toml")).unwrap();
    let check = || home.denyd(&["check"]).output().unwrap();
    let said = String::from_utf8(check().stdout).unwrap();
    assert!(
        said.contains("rules: 1 rule in 1 file, all examples hold\n     vsftpd.failed        of vsftpd\n"),
        "{said}"
    );
    let daemon = home.start();
    let now = jiff::Timestamp::now();
    // The eleventh failure of a user who may exist exceeds 10; each is of a process of its own.
    let line = |n: i32| format!("{now} ftp vsftpd[{n}]: [bob] FAIL LOGIN: Client \"::ffff:198.51.100.7\"\n");
    home.append((0..11).map(line).collect::<String>().as_bytes());
    daemon.caught_up();
    let denied = kit::until("it is denied", || home.history().into_iter().next());
    assert_eq!((kit::text(&denied["prefix"]), denied["count"].as_u64()), ("198.51.100.7".to_owned(), Some(11)));
    daemon.stop();
    // A rule that is not right: nothing starts, and all say the same.
    let text = std::fs::read_to_string(shipped("vsftpd.toml")).unwrap();
    std::fs::write(home.path("rules.d/vsftpd.toml"), text.replace("pattern = '''^", "pattern = '''")).unwrap();
    for arguments in [&["check"][..], &["run", "--dry-run"], &["scan", "-"], &["explain"]] {
        let output = home.denyd(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let want = format!(
            "denyd: {}:12: rule \"vsftpd.failed\": the pattern does not begin with ^",
            home.path("rules.d/vsftpd.toml").display()
        );
        assert!(said.starts_with(&want), "{arguments:?}: {said}");
    }
    assert!(home.denyd(&["list"]).output().unwrap().status.success(), "what needs no rules goes on");
}
