//! The patterns of a `denyhosts.conf`: the examples of DenyHosts' FAQ (2.12 to 2.15) and what strangers make of them.

use std::fs;

use serde_json::Value;

/// What every file has that DenyHosts starts with.
const WHOLE: &str = "DENY_THRESHOLD_INVALID = 2\nDENY_THRESHOLD_VALID = 2\nDENY_THRESHOLD_ROOT = 2\nPURGE_DENY = 4w\n\
                     BLOCK_SERVICE = sshd\nHOSTS_DENY = DIR/hosts.deny\nWORK_DIR = DIR\nSECURE_LOG = DIR/log\n";
/// FAQ 2.13.
const FAQ: &str = "USERDEF_FAILED_ENTRY_REGEX=break in attempt for (?P<user>.*) from (?P<host>.*)\n\
                   USERDEF_FAILED_ENTRY_REGEX=break in attempt from (?P<host>.*)\n";

/// A `denyhosts.conf` with the log that it names.
struct Old {
    dir: tempfile::TempDir,
}

impl Old {
    fn new(lines: &str, log: &str) -> Old {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        fs::write(dir.path().join("denyhosts.conf"), format!("{WHOLE}{lines}").replace("DIR", place)).unwrap();
        fs::write(dir.path().join("log"), log).unwrap();
        Old { dir }
    }

    fn file(&self) -> String {
        self.dir.path().join("denyhosts.conf").to_str().unwrap().to_owned()
    }

    fn denyd(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let (status, out, err) = kit::run(&[&["--config", &self.file()], arguments].concat(), b"");
        (status.code(), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// What `scan` finds in the log.
    fn scan(&self) -> Value {
        kit::json(&["--config", &self.file(), "scan", "--json", "--all", "--timezone", "UTC"], b"").remove(0)
    }

    /// What each line of the log is: outcome, address, user, rule.
    fn explain(&self) -> Vec<String> {
        let log = self.dir.path().join("log");
        let rows = kit::json(&["--config", &self.file(), "explain", "--json", log.to_str().unwrap()], b"");
        let of = |row: &Value| {
            let word = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", word("outcome"), word("address"), word("user"), word("rule"))
        };
        rows.iter().map(of).collect()
    }
}

/// For how many seconds the first address of a scan is denied, and what counted.
fn denied(scan: &Value) -> Option<(String, i64, String)> {
    let row = scan["denied"].as_array().unwrap().first()?;
    let at = |key: &str| row[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    Some((kit::text(&row["prefix"]), at("until") - at("at"), kit::text(&row["class"])))
}

/// FAQ 2.13: both examples, of whatever program says so. Neither can be trusted: an hour at most.
#[test]
fn the_examples_of_the_faq_count_and_deny_for_an_hour() {
    let log = "Nov 21 23:26:32 web app[7]: break in attempt for bob from 192.0.2.7\n\
               Nov 21 23:26:33 web other: break in attempt from 192.0.2.7\n\
               Nov 21 23:26:34 web sshd[9]: break in attempt from 192.0.2.7\n\
               Nov 21 23:26:35 web app[7]: break in attempt from nowhere\n\
               Nov 21 23:26:36 web sshd[9]: Failed password for root from 192.0.2.8 port 22 ssh2\n";
    let old = Old::new(&format!("{FAQ}UNSAFE_REGEX = yes\n"), log);
    assert_eq!(
        old.explain(),
        [
            "failure 192.0.2.7 bob userdef_failed_entry_regex.1",
            "failure 192.0.2.7 - userdef_failed_entry_regex.2",
            "failure 192.0.2.7 - userdef_failed_entry_regex.2",
            "ignored - - -",
            "failure 192.0.2.8 root sshd.failed",
        ]
    );
    assert_eq!(denied(&old.scan()), Some(("192.0.2.7".to_owned(), 3600, "invalid".to_owned())));
    let (code, out, _) = old.denyd(&["check"]);
    assert_ne!(code, Some(2), "{out}");
    let fooled = "denyhosts.conf:9: USERDEF_FAILED_ENTRY_REGEX is taken by UNSAFE_REGEX, though strangers can fool it";
    assert!(
        out.contains(fooled) && out.contains("`what a stranger wrote: break in attempt for bob from 192.0.2.7`"),
        "{out}"
    );
    // Which pattern hits is shown, and that it is not to be trusted.
    let (_, out, _) = old.denyd(&["explain", "Nov 21 23:26:33 web other: break in attempt from 192.0.2.7"]);
    for want in [
        "shape      userdef_failed_entry_regex.2",
        "pattern    break in attempt from (?P<host>.*)",
        "trust      strangers may have made it up",
    ] {
        assert!(out.lines().any(|line| line.starts_with(want)), "{want} is not in\n{out}");
    }
    // What `import` prints is the same, and loads by itself.
    let (_, toml, _) = old.denyd(&["import"]);
    let ours = old.dir.path().join("ours.toml");
    fs::write(&ours, toml).unwrap();
    let (status, again, err) = kit::run(&["--config", ours.to_str().unwrap(), "check", "--print"], b"");
    assert!(status.success(), "{}", String::from_utf8_lossy(&err));
    assert_eq!(old.denyd(&["check", "--print"]).1, String::from_utf8(again).unwrap());
}

/// Without the key it is refused, by its line, with what a stranger would do; and nothing starts with it.
#[test]
fn an_unsafe_pattern_is_refused_without_the_key() {
    let old = Old::new(FAQ, "");
    for arguments in [&["check"][..], &["scan"], &["explain"], &["run", "--dry-run"]] {
        let (code, out, err) = old.denyd(arguments);
        let want = "denyhosts.conf:9: USERDEF_FAILED_ENTRY_REGEX: it does not begin with ^";
        assert!(
            code == Some(2) && err.contains(want) && err.contains("write UNSAFE_REGEX = yes"),
            "{code:?} {out}{err}"
        );
    }
}

/// Of a pattern that holds a whole message of sshd's nobody can make up anything: it denies as long as anything.
#[test]
fn a_safe_pattern_denies_for_as_long_as_configured() {
    let line = "sshd-session[9]: refused (?P<user>.{0,80}) at (?P<host>[0-9.]+)";
    let line = line.replace("sshd-session[9]: refused", "USERDEF_FAILED_ENTRY_REGEX = ^refused") + "$\n";
    let log = "Nov 21 23:26:32 web sshd-session[9]: refused root at 192.0.2.7\n".repeat(3)
        + &"Nov 21 23:26:33 web app[9]: refused root at 192.0.2.8\n".repeat(3);
    let log: String = (0..).zip(log.lines()).map(|(n, line)| line.replace("[9]", &format!("[{n}]")) + "\n").collect();
    let old = Old::new(&line, &log);
    let scan = old.scan();
    assert_eq!(denied(&scan), Some(("192.0.2.7".to_owned(), 28 * 86_400, "root".to_owned())));
    assert_eq!(scan["denied"].as_array().unwrap().len(), 1, "another program's is not asked");
}

/// The group `invalid` tells unknown users from known ones; a pattern without it is of unknown ones.
#[test]
fn the_group_invalid_says_which_users_do_not_exist() {
    let tells = "^refused (?P<invalid>unknown )?user (?P<user>.{0,80}) at (?P<host>[0-9.]+)$";
    let never = "^dropped (?P<user>.{0,80}) at (?P<host>[0-9.]+)$";
    let log = "Nov 21 23:26:32 web sshd[1]: refused unknown user al at 192.0.2.7\n\
               Nov 21 23:26:33 web sshd[2]: refused user bob at 192.0.2.8\n\
               Nov 21 23:26:34 web sshd[3]: dropped carol at 192.0.2.9\n";
    let old = Old::new(&format!("FAILED_ENTRY_REGEX3 = {tells}\nFAILED_ENTRY_REGEX4 = {never}\n"), log);
    let scan = old.scan();
    let tally = |address: &str, class: &str| {
        let rows = scan["tallies"].as_array().unwrap();
        rows.iter().find(|row| row["prefix"] == address).unwrap()[class].as_u64().unwrap()
    };
    assert_eq!([tally("192.0.2.7", "invalid"), tally("192.0.2.8", "valid"), tally("192.0.2.9", "invalid")], [1, 1, 1]);
}

/// What an unsafe pattern takes for a login is none: it clears nothing, and nobody is reported.
#[test]
fn a_login_by_an_unsafe_pattern_is_none() {
    let failed = "Nov 21 23:26:32 web sshd[1]: Failed password for bob from 192.0.2.7 port 22 ssh2\n\
                  Nov 21 23:26:33 web sshd[2]: Failed password for bob from 192.0.2.7 port 23 ssh2\n";
    let log = |login: &str| {
        format!(
            "{failed}Nov 21 23:26:40 web sshd[3]: {login}\nNov 21 23:26:50 web sshd[4]: Failed password for bob from 192.0.2.7 port 24 ssh2\n"
        )
    };
    let scan = |pattern: &str, login: &str| {
        let reset = "RESET_ON_SUCCESS = yes\nUNSAFE_REGEX = yes\nSUCCESSFUL_ENTRY_REGEX = ";
        Old::new(&format!("{reset}{pattern}\n"), &log(login)).scan()
    };
    let safe = scan(r"^Welcome (?P<user>\w{1,9}) of (?P<host>[0-9.]+)$", "Welcome bob of 192.0.2.7");
    assert_eq!((denied(&safe), safe["successes"].as_u64()), (None, Some(1)), "{safe}");
    let unsafe_one = scan(r"Welcome (?P<user>\w+) of (?P<host>[0-9.]+)", "Welcome bob of 192.0.2.7");
    assert_eq!(denied(&unsafe_one).unwrap().0, "192.0.2.7", "{unsafe_one}");
}

/// A rule of one's own that lets text without a bound stand before the address: what it finds is forgeable.
#[test]
fn a_rule_with_unbounded_text_before_the_address_denies_for_an_hour() {
    let log: String =
        (0..3).map(|n| format!("Nov 21 23:26:3{n} web app[{n}]: login of bob from 192.0.2.7 refused\n")).collect();
    for (text, seconds) in [(".{0,80}", 28 * 86_400), (".*", 3600)] {
        let old = Old::new("", &log);
        let (_, toml, _) = old.denyd(&["import"]);
        let rule = format!(
            "[[rule]]\nname = \"app\"\nidentifiers = [\"app\"]\naccount = \"unknown\"\n\
             pattern = '^login of (?P<user>{text}) from (?P<addr>[0-9.]+) refused$'\n"
        );
        let ours = old.dir.path().join("ours.toml");
        fs::write(&ours, format!("{toml}\n{rule}")).unwrap();
        let ours = ours.to_str().unwrap();
        let scan = kit::json(&["--config", ours, "scan", "--json", "--timezone", "UTC"], b"").remove(0);
        assert_eq!(denied(&scan), Some(("192.0.2.7".to_owned(), seconds, "invalid".to_owned())), "{text}");
        let (_, out, _) = kit::run(&["--config", ours, "check"], b"");
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.contains("of app; forgeable: it denies for an hour at most"), seconds == 3600, "{out}");
    }
}

/// FAQ 2.15: djb's multilog, with its own two lines; FAQ 2.12: DenyHosts' own value, which says nothing new.
#[test]
fn a_framing_is_how_lines_are_read() {
    let failed = "Failed password for root from 192.0.2.7 port 22 ssh2";
    let multilog = format!(
        "@4000000042f4e1d3057febbc Failed password for invalid user network from 192.0.2.7 port 22 ssh2\n\
         @4000000042f4e1d305800ee4 Connection closed by 192.0.2.7\n@4000000042f4e1d405800ee4 {failed}\n"
    );
    let old = Old::new("SSHD_FORMAT_REGEX = @.*? (?P<message>.*)\n", &multilog);
    assert_eq!(old.explain()[0], "failure 192.0.2.7 network sshd.failed");
    assert_eq!(old.scan()["failures"], 2, "{}", old.scan());
    // A line by itself is read as the log is, and where nothing says so, by --identifier.
    let line = multilog.lines().next().unwrap();
    assert!(old.denyd(&["explain", line]).1.contains("sshd.failed"));
    let none = kit::config();
    let (_, out, _) = kit::run(&["--config", none.arg(), "explain", "--identifier", "sshd", line], b"");
    assert!(String::from_utf8(out).unwrap().contains("sshd.failed"));
    let plain = format!("Nov 21 23:26:32 web sshd[9]: {failed}\n").repeat(3);
    let plain: String =
        (0..).zip(plain.lines()).map(|(n, line)| line.replace("[9]", &format!("[{n}]")) + "\n").collect();
    let old = Old::new("SSHD_FORMAT_REGEX = .* (sshd.*:|\\[sshd\\]) (?P<message>.*)\n", &plain);
    assert_eq!(denied(&old.scan()).unwrap().1, 28 * 86_400);
    let (code, _, err) = Old::new("SSHD_FORMAT_REGEX = .* (sshd.*:|\\[sshd\\]) (?P.*)\n", "").denyd(&["check"]);
    assert!(code == Some(2) && err.contains("it was probably .* (sshd.*:|\\[sshd\\]) (?P<message>.*)"), "{err}");
}

/// Any other value finds sshd's message where no header is known. The address still comes from sshd's own place in it.
#[test]
fn a_framing_of_ones_own_finds_the_message() {
    let hostile = "Failed password for invalid user x from 203.0.113.9 port 1 ssh2 from 192.0.2.7 port 22 ssh2";
    let log = |mark: &str| {
        let lines = (0..3).map(|n| format!("17324{n}|{mark}|{hostile}\n"));
        let other = "Nov 21 23:26:32 web app[7]: |sshd|Failed password for root from 203.0.113.9 port 22 ssh2\n";
        lines.collect::<String>() + other + "17324|cron|Failed password for root from 203.0.113.9 port 22 ssh2\n"
    };
    let hit = "failure 192.0.2.7 x from 203.0.113.9 port 1 ssh2 sshd.failed";
    let check = |pattern: &str, mark: &str, is_sound: bool| {
        let old = Old::new(&format!("SSHD_FORMAT_REGEX = {pattern}\n"), &log(mark));
        assert_eq!(old.explain(), [hit, hit, hit, "ignored - - -", "ignored - - -"], "{pattern}");
        let (prefix, seconds, _) = denied(&old.scan()).unwrap();
        // It counts when it is read.
        let is_long = seconds > 3600;
        assert_eq!((prefix.as_str(), is_long), ("192.0.2.7", is_sound), "{pattern}: {seconds}");
        let (_, out, _) = old.denyd(&["check"]);
        assert_eq!(out.contains("strangers can write what it wants before the message"), !is_sound, "{out}");
        let (_, out, _) = old.denyd(&["explain", log(mark).lines().next().unwrap()]);
        assert!(out.contains("format_regex of the configuration") && out.contains("sshd.failed"), "{out}");
    };
    check(r"^\d+\|sshd\|(?P<message>.*)$", "sshd", true);
    check(r"\|sshd\|(?P<message>.*)", "sshd", false);
    check(r"^.*\|sshd\|(?P<message>.*)$", "sshd", false);
}

/// FAQ 2.5: Solaris' pam_afs has words of its own, which a line of the configuration makes known.
#[test]
fn a_module_of_pam_may_be_made_known() {
    let line = "Nov 29 10:00:01 sol sshd[7]: [ID 800047 auth.info] pam_afs: login of root from 192.0.2.7 failed\n";
    let session = "Nov 29 10:00:02 sol sshd[8]: pam_unix(sshd:session): session opened for user bob\n";
    let pattern = r"USERDEF_FAILED_ENTRY_REGEX = ^pam_afs: login of (?P<user>.{0,80}) from (?P<host>\S+) failed$";
    let explained = |lines: &str| Old::new(lines, &(line.to_owned() + session)).explain();
    assert!(explained("").iter().all(|row| row.starts_with("ignored - ")), "{:?}", explained(""));
    let known = explained(&format!("{pattern}\n"));
    assert!(known[0].starts_with("failure 192.0.2.7 root ") && known[1].starts_with("ignored - "), "{known:?}");
}
