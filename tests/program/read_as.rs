//! How `scan` and `explain` read a log: as their options say, else as the input of the configuration says that reads it.

use serde_json::Value;

const BARE: &str = "Failed password for root from 192.0.2.7 port 22 ssh2\n";

/// What `scan` makes of a file `log`, whose input of the configuration has these keys beside: attempts, and its first stamp; or
/// its error.
fn check(keys: &str, options: &[&str], log: &str, want: &str) {
    let home = kit::Home::new(&format!("[[input]]\nkind = \"file\"\npath = \"DIR/log\"\n{keys}\n"));
    std::fs::write(home.log(), log).unwrap();
    let output = home.denyd(&["scan", "--json"]).args(options).arg(home.log()).output().unwrap();
    let found: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let found = match found {
        Some(found) => format!("{} {}", found["attempts"], found["first"].as_str().unwrap_or("-")),
        None => String::from_utf8(output.stderr).unwrap(),
    };
    assert!(found.contains(want), "{keys} {options:?}: {found}");
}

#[test]
fn by_the_options_else_by_the_configuration() {
    let stamped = &format!("2026-11-21T23:26:32.123456 {BARE}");
    check("", &["--identifier", "sshd", "--timezone", "UTC"], stamped, "1 2026-11-21T23:26:32");
    check("identifier = \"sshd\"\ntimezone = \"Etc/GMT-2\"", &[], stamped, "1 2026-11-21T21:26:32");
    check("identifier = \"sshd\"\ntimezone = \"Etc/GMT-2\"", &["--timezone", "UTC"], stamped, "1 2026-11-21T23:26:32");
    check("format = \"message\"", &[], BARE, "1 -");
    check("identifier = \"dropbear\"", &[], "Bad password attempt for 'root' from 192.0.2.7:22\n", "1 -");
    check("format = \"message\"", &["--format", "syslog"], "Nov 21 23:26:32 b sshd[9]: x\n", "0 20");
    check("", &["--identifier", "sshd", "--format", "syslog"], BARE, "leave --identifier out");
    check("", &["--timezone", "Nowhere"], BARE, "Nowhere is not a time zone");
}

#[test]
fn what_journalctl_prints_without_headers_is_refused_by_its_name() {
    check("", &[], BARE, "`journalctl -o cat`");
    let verbose = "Sat 2026-11-21 23:26:32.123456 UTC [s=1;i=2;b=3;m=4;t=5;x=6]\n    _UID=0\n    MESSAGE=x\n";
    check("", &[], verbose, "`journalctl -o verbose`");
    check("", &[], "{\n    \"__CURSOR\" : \"s=1\",\n}\n", "`journalctl -o json-pretty`");
    check("", &[], "{\n\t\"__CURSOR\" : \"s=1\",\n\t\"MESSAGE\" : \"x\"\n}\n", "`journalctl -o json-pretty`");
}

#[test]
fn what_relays_and_engines_of_containers_put_before_a_line_is_taken_off() {
    let one = |before: &str| check("", &["--timezone", "UTC"], &format!("{before}{BARE}"), "1 ");
    one("sshbox-1  | ");
    one("Nov 21 23:26:32 b docker/sshbox[812]: ");
    one("Nov 21 23:26:32 b sshd[9]:  ");
    one("Nov 21 23:26:32\tb\tsshd[9]:\t");
    one("Nov 21 23:26:32 b sshd[9]: sshd[9]: ");
    one("Nov 21 23:26:32 b sshd[9]: Nov 21 23:26:32 sshd[9]: ");
    one("Nov 21 23:26:32 b [auth.info] sshd[9]: ");
    let none = |before: &str| check("", &["--timezone", "UTC"], &format!("{before}{BARE}"), "0 ");
    none("Nov 21 23:26:32 b sshd[9]: sshd[8]: ");
    none("Nov 21 23:26:32 b sshd[9]: User sshd[9]: ");
    none("Nov 21 23:26:32 b app[9]:  sshd[9]: ");
}

#[test]
fn a_scan_that_understands_nothing_ends_with_3() {
    let config = kit::config();
    let check_as = |options: &[&str], log: &[u8], want: i32, said: &str| {
        let (status, _, err) = kit::run(&[&["--config", config.arg(), "scan", "-"], options].concat(), log);
        let err = String::from_utf8(err).unwrap();
        assert_eq!(status.code(), Some(want), "{err}");
        assert!(err.contains(said), "{err}");
    };
    let check = |log: &[u8], want: i32, said: &str| check_as(&[], log, want, said);
    check(b"", 0, "");
    check(&std::fs::read("/bin/ls").unwrap(), 3, "nothing here was understood");
    check(b"Nov 21 23:26:32 b cron[9]: x\n", 3, "a line of it: x");
    check(b"??|b|sshd[9]|x\n?? sshd[9]: \x1b[31m\n", 3, "may have written this line: ?? sshd[9]: \\x1b[31m");
    let good = &format!("Nov 21 23:26:32 b sshd[9]: {BARE}");
    check(good.as_bytes(), 0, "");
    check(good.repeat(2).as_bytes(), 0, "");
    // All of it is sshd's, by what was asked for, and no shape fits.
    for options in [["--identifier", "sshd"], ["--identifier", "dropbear"], ["--format", "message"]] {
        check_as(&options, good.as_bytes(), 3, "this line has a header of its own: leave `identifier` away");
    }
    check_as(
        &["--identifier", "dropbear"],
        b"Invalid user bob from 192.0.2.7 port 22\n",
        3,
        "let `identifier` be sshd",
    );
    let by_docker = serde_json::json!({"log": good, "stream": "stderr", "time": "2026-11-21T23:26:32Z"});
    check_as(&["--identifier", "sshd"], by_docker.to_string().as_bytes(), 3, "leave `identifier` away");
    check(format!("@400000006a20ff0a0bebc200 {BARE}").as_bytes(), 3, "let `identifier` be sshd");
}

#[test]
fn what_looks_like_sshds_behind_good_lines_is_told() {
    let config = kit::config();
    let check = |log: &str, want: i32, told: &str, warned: &str| {
        let (status, out, err) = kit::run(&["--config", config.arg(), "scan", "-"], log.as_bytes());
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        assert!(status.code() == Some(want) && out.contains(told) && err.contains(warned), "{out} {err}");
        assert_eq!(err.is_empty(), warned.is_empty(), "{err}");
    };
    let good = format!("Nov 21 23:26:32 b sshd[9]: {BARE}").repeat(30);
    let odd = |times| format!("Nov 21 23:26:33 b {{auth.info}} sshd[9]: {BARE}").repeat(times);
    check(&(good.clone() + &odd(9)), 0, "\n9 lines not understood that look like sshd's", "");
    let warned = "standard input: 10 lines look like sshd's or dropbear's and were not understood, as this one: {auth.info} sshd";
    check(&(good.clone() + &odd(10)), 0, "\n10 lines not understood that look like sshd's", warned);
    let none =
        "of the last 200 records that may be sshd's or dropbear's, none was understood, as this one: {auth.info} sshd";
    check(&(good + &odd(3_000)), 3, "\n3000 lines not understood that look like sshd's", none);
}

#[test]
fn a_daemon_that_understands_nothing_of_an_input_says_so() {
    let home = kit::Home::with_log();
    let daemon = home.start();
    home.append(b"?? h cron[1] x\n?? h sshd[9] Failed \x1b[31m\n");
    daemon.folded(2);
    let output = home.denyd(&["doctor"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL auth: nothing is understood") && said.contains("sshd[9] Failed \\x1b[31m"), "{said}");
    home.append(b"Nov 21 23:26:32 b sshd[9]: Failed password for root from 192.0.2.7 port 22 ssh2\n");
    daemon.folded(3);
    assert!(!doctor(&home).contains("nothing is understood"));
    // A daemon that puts another header before all that comes, from then on.
    home.append("Nov 21 23:26:32 b sshd[9]: Connection closed by 192.0.2.7 port 22\n".repeat(400).as_bytes());
    home.append("?? h sshd[9] \x1b[31m\n".repeat(400).as_bytes());
    daemon.folded(803);
    let said = doctor(&home);
    assert!(said.contains("FAIL auth: of the last 200 records") && said.contains(": ?? h sshd[9] \\x1b[31m"), "{said}");
    let status = String::from_utf8(home.denyd(&["status"]).output().unwrap().stdout).unwrap();
    assert!(
        status.contains("auth: of the last 200 records") && status.contains(": ?? h sshd[9] \\x1b[31m"),
        "{status}"
    );
    kit::until("the warning", || home.stderr().contains("see `denyd doctor`").then_some(()));
    daemon.stop();
    assert_eq!(home.stderr().matches("see `denyd doctor`").count(), 1, "one warning a day");
    // It is as blind as it was, until it brings something.
    let daemon = home.start();
    let again = doctor(&home);
    assert!(
        again.contains("FAIL auth: of the last 200 records") && again.contains(": ?? h sshd[9] \\x1b[31m"),
        "{again}"
    );
    home.append(b"Nov 21 23:26:33 b sshd[9]: Failed password for root from 192.0.2.7 port 22 ssh2\n");
    daemon.folded(1);
    assert!(!doctor(&home).contains("of the last 200 records"));
    daemon.stop();
}

#[test]
fn a_daemon_says_of_ten_records_of_sshd_that_none_fits() {
    let home =
        kit::Home::new("[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nidentifier = \"sshd\"\n");
    let daemon = home.start();
    home.append(format!("Nov 21 23:26:32 b sshd[9]: {BARE}").repeat(9).as_bytes());
    daemon.folded(9);
    assert!(!doctor(&home).contains("FAIL"));
    home.append(format!("Nov 21 23:26:32 b sshd[9]: {BARE}").as_bytes());
    daemon.folded(10);
    let said = doctor(&home);
    assert!(said.contains("FAIL auth: sshd or dropbear wrote 10 records, and none was understood"), "{said}");
    assert!(said.contains("FAIL auth: this line has a header of its own: leave `identifier` away"), "{said}");
    daemon.stop();
}

/// Those that look like sshd's are of what it wrote.
#[test]
fn the_share_that_is_understood_is_of_all_that_looks_like_sshds() {
    let home = kit::Home::with_log();
    let daemon = home.start();
    home.append(format!("Nov 21 23:26:32 b sshd[9]: {BARE}").repeat(3).as_bytes());
    home.append(format!("Nov 21 23:26:33 b {{auth.info}} sshd[9]: {BARE}").repeat(57).as_bytes());
    daemon.folded(60);
    let status = String::from_utf8(home.denyd(&["status"]).output().unwrap().stdout).unwrap();
    assert!(status.contains(" 5.0 % "), "{status}");
    daemon.stop();
}

fn doctor(home: &kit::Home) -> String {
    String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap()
}

#[test]
fn a_blind_file_among_several_is_named() {
    let home = kit::Home::with_log();
    let good = format!("Nov 21 23:26:32 b sshd[9]: {BARE}");
    let check = |files: &[(&str, &str)], want: i32, said: &[&str]| {
        let mut scan = home.denyd(&["scan"]);
        for (name, text) in files {
            std::fs::write(home.path(name), text).unwrap();
            scan.arg(home.path(name));
        }
        let output = scan.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(want), "{files:?} {err}");
        assert_eq!(err.matches("nothing here was understood").count(), said.len(), "{err}");
        assert!(said.iter().all(|said| err.contains(said)), "{err}");
    };
    check(&[("a", &good), ("b", "")], 0, &[]);
    check(&[("a", &good), ("b", "Nov 21 23:26:32 b cron[9]: x\n")], 0, &["b: nothing here was understood"]);
    check(&[("a", &good), ("b", "?? h sshd[9] x\n")], 3, &["may have written this line: ?? h sshd[9] x"]);
    // Nothing in it looks like sshd's.
    let ls: String = std::fs::read("/bin/ls").unwrap().iter().map(|byte| char::from(byte & 0x7f)).collect();
    check(&[("a", &good), ("b", &ls)], 0, &["b: nothing here was understood"]);
    check(&[("a", &good), ("b", "Nov 21 23:26:32 b sshd[9]: Frobnicated 7\n")], 3, &["b: nothing here was understood"]);
    check(&[("a", "x\n"), ("b", "y\n")], 3, &["a line of it: x", "a line of it: y"]);
}

/// Half of what a sender brings is no syslog, and half of it is.
#[test]
fn a_sender_of_whom_half_fits_nothing_is_named() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home =
        kit::Home::new(&format!("[[input]]\nkind = \"syslog\"\nname = \"net\"\nlisten = \"udp://127.0.0.1:{port}\"\n"));
    let daemon = home.start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let send =
        |text: &str, times| (0..times).for_each(|_| _ = socket.send_to(text.as_bytes(), ("127.0.0.1", port)).unwrap());
    send("<13>Nov 21 23:26:32 h cron[9]: x", 5);
    send("\x1b{\"not\": \"syslog\"}", 4);
    daemon.folded(9);
    assert!(!doctor(&home).contains("fit nothing"));
    send("\x1b{\"not\": \"syslog\"}", 100);
    daemon.folded(109);
    let said = doctor(&home);
    assert!(said.contains("by 127.0.0.1: of its last ") && said.contains(r#": \x1b{"not": "syslog"}"#), "{said}");
    daemon.stop();
}

#[test]
fn a_rule_that_finds_nothing_where_there_are_failures_is_named() {
    let home = kit::Home::with_log();
    let rule = kit::root().join("packaging/rules.d/dovecot.toml");
    std::fs::copy(rule, home.path("rules.d/dovecot.toml")).unwrap();
    let daemon = home.start();
    home.append("Nov 21 23:26:32 b dovecot: imap-login: Some new words of a failed login\n".repeat(10).as_bytes());
    daemon.folded(10);
    let said = doctor(&home);
    assert!(said.contains("FAIL auth: no rule knows any record of dovecot, though 10 look like failures"), "{said}");
    daemon.stop();
}

#[test]
fn what_a_program_prints_has_no_header_to_be_known() {
    let check = |line: &str, want: Option<u64>| {
        let (_, out, _) = kit::run(&["scan", "--json", "-"], line.as_bytes());
        let found: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(found["no_header"].as_u64(), want, "{line}");
    };
    check("GET / 200\n", Some(1));
    check("{\"log\":\"GET / 200\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T23:26:32Z\"}\n", None);
    check("2026-11-21T23:26:32Z stdout F GET / 200\n", None);
}
