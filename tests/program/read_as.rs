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
    let stamped = &format!("2026-11-21T23:26:32.12345 {BARE}");
    check("", &["--identifier", "sshd", "--timezone", "UTC"], stamped, "1 2026-11-21T23:26:32");
    check("identifier = \"sshd\"\ntimezone = \"Etc/GMT-2\"", &[], stamped, "1 2026-11-21T21:26:32");
    check("identifier = \"sshd\"\ntimezone = \"Etc/GMT-2\"", &["--timezone", "UTC"], stamped, "1 2026-11-21T23:26:32");
    check("format = \"message\"", &[], BARE, "1 -");
    check("format = \"message\"", &["--format", "syslog"], "Nov 21 23:26:32 b sshd[9]: x\n", "0 20");
    check("", &["--identifier", "sshd", "--format", "syslog"], BARE, "leave one of the two options out");
    check("", &["--timezone", "Nowhere"], BARE, "Nowhere is not a time zone");
}

#[test]
fn what_journalctl_prints_without_headers_is_refused_by_its_name() {
    check("", &[], BARE, "`journalctl -o cat`");
    let verbose = "Sat 2026-11-21 23:26:32.123456 UTC [s=1;i=2;b=3;m=4;t=5;x=6]\n    _UID=0\n    MESSAGE=x\n";
    check("", &[], verbose, "`journalctl -o verbose`");
    check("", &[], "{\n\t\"__CURSOR\" : \"s=1\",\n\t\"MESSAGE\" : \"x\"\n}\n", "`journalctl -o json-pretty`");
}

#[test]
fn a_scan_that_understands_nothing_ends_with_3() {
    let config = kit::config();
    let check = |log: &[u8], want: i32, said: &str| {
        let (status, _, err) = kit::run(&["--config", config.arg(), "scan", "-"], log);
        let err = String::from_utf8(err).unwrap();
        assert_eq!(status.code(), Some(want), "{err}");
        assert!(err.contains(said), "{err}");
    };
    check(b"", 0, "");
    check(&std::fs::read("/bin/ls").unwrap(), 3, "nothing here was understood");
    check(b"Nov 21 23:26:32 b cron[9]: x\n", 3, "a line of it: x");
    check(b"??|b|sshd[9]|x\n?? sshd[9]: \x1b[31m\n", 3, "may have written this line: ?? sshd[9]: \\x1b[31m");
    check(format!("Nov 21 23:26:32 b sshd[9]: {BARE}").as_bytes(), 0, "");
}

#[test]
fn a_daemon_that_understands_nothing_of_an_input_says_so() {
    let home = kit::Home::with_log();
    let daemon = home.start();
    home.append(b"?? h cron[1] x\n?? h sshd[9] Failed \x1b[31m\n");
    daemon.folded(2);
    let doctor = home.denyd(&["doctor"]).output().unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL auth: nothing is understood") && said.contains("sshd[9] Failed \\x1b[31m"), "{said}");
    home.append(b"Nov 21 23:26:32 b sshd[9]: Failed password for root from 192.0.2.7 port 22 ssh2\n");
    daemon.folded(3);
    let said = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(!said.contains("nothing is understood"), "{said}");
    daemon.stop();
}
