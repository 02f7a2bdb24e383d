use std::path::{Path, PathBuf};

use super::*;

/// What every file has that DenyHosts starts with.
const WHOLE: &str = "DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\n\
    BLOCK_SERVICE = ALL\nSECURE_LOG = /var/log/auth.log\nHOSTS_DENY = /etc/hosts.deny\nWORK_DIR = /var/lib/denyhosts\n";

/// The settings of `text` with `there` on the machine.
fn translated(text: &str, there: &[&str]) -> Result<Translation, Vec<(usize, String)>> {
    translated_where(text, there, true)
}

/// The environment.
fn variable(name: &str) -> Option<String> {
    let known = [("A", "one"), ("B", "$[A]"), ("EMPTY", "")].into_iter().find(|(known, _)| *known == name);
    known.map(|(_, value)| value.to_owned())
}

fn translated_where(text: &str, there: &[&str], wrapped: bool) -> Result<Translation, Vec<(usize, String)>> {
    let is_there = |path: &Path| {
        let there = [there, &["/var/lib/denyhosts/"]].concat();
        let found = there.iter().find(|name| Path::new(name.trim_end_matches('/')) == path)?;
        Some(if found.ends_with('/') { Kind::Directory } else { Kind::File })
    };
    translate(
        text,
        &World {
            hostname: "web1",
            variable: &variable,
            directory: Path::new("/srv"),
            is_there: &is_there,
            is_writable: &|path| is_there(path) == Some(Kind::File),
            journal_instead: &|path| path.ends_with("silent.log").then(|| "is empty".to_owned()),
            sshd_reads_hosts_deny: &|| wrapped,
            firewall: &|| Some("nftables"),
            has_program: &|name| !there.contains(&"/usr/local/sbin/iptables") || name != "iptables",
            service: &|name| (name == "ssh").then_some(22),
            sshd_ports: &|| vec![22, 2222],
        },
    )
}

/// What the lines of the grammar set, or what is said of them.
#[test]
fn the_grammar_is_denyhosts_with_its_faults_mended() {
    let check = |text: &str, want: &str| {
        let world = World {
            hostname: "web1",
            variable: &variable,
            directory: Path::new("/srv"),
            is_there: &|_| None,
            is_writable: &|_| false,
            journal_instead: &|_| None,
            sshd_reads_hosts_deny: &|| true,
            firewall: &|| None,
            has_program: &|_| true,
            service: &|_| None,
            sshd_ports: &Vec::new,
        };
        let (settings, remarks, problems) = conf::read(text, &world);
        let settings = settings.iter().map(|Setting { name, value, .. }| format!("{name}={value}"));
        let remarks = remarks.iter().map(|remark| format!("remark {}", remark.line));
        let problems = problems.iter().map(|(line, what)| format!("{line}: {what}"));
        assert_eq!(settings.chain(remarks).chain(problems).collect::<Vec<_>>().join("|"), want, "{text:?}");
    };
    use super::conf::Setting;
    check("\u{feff}# nothing\n\n   # nothing\r\n", "");
    check("work_dir: /srv/d\r\n", "WORK_DIR=/srv/d");
    check("SMTP_SUBJECT = a: b = c", "SMTP_SUBJECT=a: b = c");
    check("A : 1\nB=2", "A=1|B=2");
    check("nothing at all", "remark 1");
    check("PURGE_DENY = # for ever", "PURGE_DENY=");
    check("PURGE_DENY = 1w # a week", "PURGE_DENY=1w");
    check("HOSTS_DENY = /etc/hosts#1", "HOSTS_DENY=/etc/hosts#1");
    check("SMTP_SUBJECT = ticket # 5\nSMTP_PASSWORD = a # b", "SMTP_SUBJECT=ticket # 5|SMTP_PASSWORD=a # b");
    check("USERDEF_FAILED_ENTRY_REGEX = x # (?P<host>.*)", "USERDEF_FAILED_ENTRY_REGEX=x # (?P<host>.*)");
    check("SMTP_SUBJECT = $[HOSTNAME] $[A] - $[A] $[B]", "SMTP_SUBJECT=web1 one - one $[A]");
    check("SMTP_SUBJECT = $[host] $[HOST1] $[ open", "SMTP_SUBJECT=$[host] $[HOST1] $[ open");
    let unset = |name: &str| {
        format!(
            "1: SMTP_FROM: there is no variable `{name}` in the environment, as in DenyHosts; set it where denyd is started, or write its value"
        )
    };
    check("SMTP_FROM = $[NOT_SET]", &unset("NOT_SET"));
    check("SMTP_FROM = $[EMPTY]", &unset("EMPTY"));
    check("SMTP_FROM = $[]", &unset(""));
    let long = format!("WORK_DIR = {}", "x".repeat(5000));
    check(&long, "1: a value of more than 4096 bytes; no configuration has that, and nothing below is read");
}

#[test]
fn times_and_yes_are_read_or_what_denyhosts_made_of_them_is_said() {
    let check = |text: &str, want: &str| {
        let got = conf::seconds(text).map_or_else(|what| what, |seconds| seconds.to_string());
        assert!(got.starts_with(want), "{text}: {got}");
    };
    check("10", "10");
    check("1h", "3600");
    check("5 d", "432000");
    check("2w", "1209600");
    check("1y", "31536000");
    check("10 minutes", "`10 minutes`: DenyHosts would have taken it for 600 seconds");
    check("1h30m", "`1h30m`: DenyHosts would have taken it for 3600 seconds");
    check("1.5h", "`1.5h`: DenyHosts would have taken it for 1 seconds");
    check("2 months", "`2 months`: DenyHosts would have taken it for 120 seconds");
    check("5D", "`5D`: DenyHosts would have taken it for 5 seconds");
    check("1M", "`1M`: DenyHosts would have taken it for 1 seconds");
    for none in ["0", "0d", "abc", "-5d", "99999999999999999999d", "9999999999999999999y"] {
        assert!(conf::seconds(none).is_err(), "{none}");
    }
    for (text, want) in
        [("YES", true), ("on", true), ("1", true), ("t", true), ("No", false), ("off", false), ("0", false)]
    {
        assert_eq!(conf::yes(text), Ok(want), "{text}");
    }
    assert!(conf::yes("enable").is_err());
}

/// What lines beside those of `WHOLE` come to.
#[test]
fn each_key_is_translated_or_named() {
    let check = |lines: &str, there: &[&str], want: &[&str]| {
        let translation = translated(&format!("{WHOLE}{lines}"), there).unwrap();
        let remarks = translation
            .remarks
            .iter()
            .map(|remark| format!("{}: {}", remark.line, remark.what))
            .collect::<Vec<_>>()
            .join("\n");
        for want in want {
            let found = translation.toml.lines().any(|line| line == *want) || remarks.contains(want);
            assert!(found, "{lines:?} gives\n{}\n{remarks}\nand not {want}", translation.toml);
        }
    };
    check("", &[], &["threshold_invalid = 5", "threshold_valid = 10", "threshold_root = 1"]);
    check(
        "",
        &[],
        &["threshold_restricted = 1", "0: DENY_THRESHOLD_RESTRICTED is absent: that of DENY_THRESHOLD_ROOT holds"],
    );
    check("DENY_THRESHOLD_RESTRICTED = 4", &[], &["threshold_restricted = 4"]);
    check(
        "DENY_THRESHOLD_ROOT = 0",
        &[],
        &["threshold_root = 0", "9: DENY_THRESHOLD_ROOT = 0 denies at the first failure"],
    );
    check(
        "AGE_RESET_VALID = 5d",
        &[],
        &[r#"age_reset_valid = "5d""#, r#"age_reset_root = "never""#, "0: AGE_RESET_ROOT is absent"],
    );
    check("RESET_ON_SUCCESS = yes", &[], &["reset_on_success = true"]);
    check("", &[], &[r#"deny_for = "forever""#, "comment = false", "4: PURGE_DENY is blank"]);
    check(
        "PURGE_DENY = 4w\nPURGE_THRESHOLD = 2",
        &[],
        &[r#"deny_for = "28d""#, "permanent_after = 2", "4: PURGE_DENY comes again in line 9"],
    );
    check("PURGE_DENY = 90", &[], &[r#"deny_for = "90s""#]);
    check("PURGE_DENY = 1y", &[], &[r#"deny_for = "365d""#]);
    check(
        "PURGE_DENY = 1d\nDAEMON_PURGE =",
        &[],
        &[r#"deny_for = "forever""#, r#"purge_after = "1d""#, "9: DAEMON_PURGE is blank"],
    );
    check("LOCK_FILE = /run/lock", &[], &[r#"lock_file = "/run/lock""#]);
    check("PURGE_THRESHOLD = 0", &[], &[r#"permanent_after = "never""#]);
    check("BLOCK_SERVICE = sshd", &[], &[r#"service = "sshd""#, r#"backends = ["hosts.deny"]"#]);
    check(
        "IPTABLES = /sbin/iptables\nBLOCKPORT = 22, 2222",
        &["/sbin/iptables"],
        &[r#"backends = ["hosts.deny", "iptables"]"#, "ports = [22, 2222]"],
    );
    check("IPTABLES = /sbin/iptables", &[], &["9: IPTABLES = /sbin/iptables: there is no such program"]);
    check(
        "IPTABLES = /usr/local/sbin/iptables",
        &["/usr/local/sbin/iptables"],
        &[r#"backends = ["hosts.deny"]"#, "9: IPTABLES = /usr/local/sbin/iptables: denyd runs iptables from /usr/sbin"],
    );
    check("BLOCKPORT = ssh,2222", &[], &["ports = [22, 2222]"]);
    for odd in ["1024:2000", "0", "nothing", "22;23", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"] {
        check(
            &format!("BLOCKPORT = {odd}"),
            &[],
            &[&format!("9: BLOCKPORT = {odd}: it is no list of 15 ports at most")],
        );
    }
    let pf = "PFCTL_PATH = /sbin/pfctl\nPF_TABLE = bad";
    check(pf, &["/sbin/pfctl"], &[r#"backends = ["hosts.deny", "pf"]"#, r#"anchor = "none""#, r#"table = "bad""#]);
    check(pf, &[], &["9: PFCTL_PATH = /sbin/pfctl: there is no such program, and pf is not used"]);
    check("PF_TABLE = bad", &[], &["9: PF_TABLE alone does nothing"]);
    check("", &["/var/log/auth.log"], &[r#"path = "/var/log/auth.log""#, r#"kind = "file""#]);
    let waits =
        "6: SECURE_LOG = /var/log/auth.log is not there: there is no journal to read instead, and it is waited for";
    check("", &[], &[waits, r#"path = "/var/log/auth.log""#, r#"kind = "file""#]);
    let other = "9: SECURE_LOG = /var/log/sshd.log is not there: /var/log/secure is read instead";
    check("SECURE_LOG = /var/log/sshd.log", &["/var/log/secure"], &[other, r#"path = "/var/log/secure""#]);
    check("SECURE_LOG = /var/log/sshd.log", &["/var/log/messages"], &[r#"path = "/var/log/sshd.log""#]);
    let secret = "9: SYNC_SERVER has a token in it, so nothing is sent and nothing taken";
    check("SYNC_SERVER = http://web1:sekrit@hub.example.org:9911", &["/var/log/auth.log"], &[secret]);
    let translation = translated(&format!("{WHOLE}SYNC_SERVER = http://web1:sekrit@hub.example.org\n"), &[]).unwrap();
    let told = translation.remarks.iter().map(|remark| remark.what.as_str()).collect::<String>();
    assert!(!told.contains("sekrit") && !translation.toml.contains("sekrit"), "{told}");
    check("SECURE_LOG = /var/log/sshd/", &[], &[r#"path = "/var/log/sshd/""#, r#"kind = "multilog""#]);
    let instead = "9: SECURE_LOG = /srv/silent.log is empty: the journal is read instead";
    check(
        "SECURE_LOG = silent.log",
        &["/srv/silent.log"],
        &[instead, r#"kind = "journald""#, r#"name = "/srv/silent.log""#],
    );
    check("SECURE_LOG = log", &["/srv/log"], &[r#"path = "/srv/log""#]);
    check(
        "SECURE_LOG = /var/log/sshd\nSSHD_FORMAT_REGEX = @.*? (?P<message>.*)",
        &["/var/log/sshd/"],
        &[r#"kind = "multilog""#, r#"identifier = "sshd""#],
    );
    let there = &["/var/log/auth.log"];
    check(
        r"SSHD_FORMAT_REGEX = ^\d+ sshd: (?P<message>.*)$",
        there,
        &[r"format_regex = '^\d+ sshd: (?P<message>.*)$'", "9: SSHD_FORMAT_REGEX is asked of lines whose header"],
    );
    check(
        r"SSHD_FORMAT_REGEX = .*: (?P<message>.*)",
        there,
        &["denies for an hour at most, clears nothing and is no login"],
    );
    let auto =
        translated(&format!("{WHOLE}SSHD_FORMAT_REGEX = .* (sshd.*:|\\[sshd\\]) (?P<message>.*)"), there).unwrap();
    assert!(!auto.toml.contains("format") && auto.remarks.iter().all(|remark| remark.line < 9), "{}", auto.toml);
    check("", &["/var/lib/denyhosts/allowed-hosts"], &[r#"allow_file = "/var/lib/denyhosts/allowed-hosts""#]);
    check(
        "",
        &["/var/lib/denyhosts/restricted-usernames"],
        &[r#"restricted_users_file = "/var/lib/denyhosts/restricted-usernames""#],
    );
    check(
        "ETC_DIR = /var/lib/denyhosts",
        &["/var/lib/denyhosts/restricted-usernames"],
        &[r#"restricted_users_file = "/var/lib/denyhosts/restricted-usernames""#],
    );
    let both = ["/var/lib/denyhosts/restricted-usernames", "/usr/local/etc/restricted-usernames"];
    check(
        "ETC_DIR = /usr/local/etc",
        &both,
        &[
            r#"restricted_users_file = ["/usr/local/etc/restricted-usernames", "/var/lib/denyhosts/restricted-usernames"]"#,
        ],
    );
    check("DAEMON_SLEEP = 30s", &[], &["9: DAEMON_SLEEP needs no translation"]);
    check("PLUGIN_DENY = /bin/true, /opt/a 'b c'", &[], &[r#"deny = [["/bin/true"], ["/opt/a", "b c"]]"#]);
    check("PLUGIN_PURGE = /bin/true -x", &[], &[r#"purge = [["/bin/true", "-x"]]"#]);
    check("PLUGIN_DENY = true", &["/usr/bin/true"], &[r#"deny = [["/usr/bin/true"]]"#]);
    check("DAEMON_LOG = /var/log/denyhosts", &[], &[r#"log_file = "/var/log/denyhosts""#]);
    check(
        "PURGE_DENY =",
        &["/var/log/denyhosts"],
        &[r#"log_file = "/var/log/denyhosts""#, "DAEMON_LOG is absent: /var/log/denyhosts goes on"],
    );
    check("PURGE_DENY =", &[], &["DAEMON_LOG is absent: no log file is written"]);
    check("DAEMON_LOG =", &["/var/log/denyhosts"], &[]);
    check("DAEMON_LOG_TIME_FORMAT = %b %d", &[], &[r#"log_time_format = "%b %d""#]);
    check(
        "DAEMON_LOG_MESSAGE_FORMAT = %(asctime)s %(funcName)-8s: %(message)s",
        &[],
        &[r#"log_message_format = "%(asctime)s -: %(message)s""#, "9: DAEMON_LOG_MESSAGE_FORMAT: a `-` stands for"],
    );
    check("SYSLOG_REPORT = YES\nHOSTNAME_LOOKUP = yes", &[], &["syslog = true", "host_names = true"]);
    // A slip in what only tells somebody keeps nobody from being denied.
    check("PLUGIN_DENY = \"/bin/x", &[], &["9: no program is run by PLUGIN_DENY: "]);
    check("PLUGIN_PURGE = /bin/x >/dev/null", &[], &["9: no program is run by PLUGIN_PURGE: "]);
    check("SYSLOG_REPORT = perhaps", &[], &["9: SYSLOG_REPORT: `perhaps` is neither yes nor no"]);
    check("ADMIN_EMAIL = root@localhost\nSMTP_SSL = perhaps", &[], &["10: no mail is sent: SMTP_SSL: `perhaps` is"]);
    check("PF_TABLE_FILE = blacklist", &[], &[r#"table_file = "/srv/blacklist""#]);
    check("SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS=NO", &[], &["suspicious_of_allowed = false"]);
    check("PLUGIN_DENY = nowhere", &[], &["9: PLUGIN_DENY = nowhere: there is no such program, and it is not run"]);
    check(
        "PLUGIN_PURGE=/usr/share/denyhosts/plugins/restorecon.sh",
        &[],
        &["9: PLUGIN_PURGE = /usr/share/denyhosts/plugins/restorecon.sh: it needs no plugin"],
    );
    check(
        "DENY_TRESHOLD_ROOT = 1",
        &[],
        &["9: DENY_TRESHOLD_ROOT is no key of DenyHosts, and sets nothing; did you mean DENY_THRESHOLD_ROOT?"],
    );
}

/// Mail goes where it went; a password stays where it is, and is shown nowhere.
#[test]
fn mail_is_sent_as_denyhosts_did() {
    let check = |lines: &str, there: &[&str], want: &str| {
        let translation = translated(&format!("{WHOLE}{lines}"), there).unwrap();
        let mail =
            translation.toml.split("[mail]\n").nth(1).and_then(|mail| mail.split("\n[").next()).unwrap_or_default();
        let mail: Vec<&str> = mail.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(mail.join(" ").trim(), want, "{lines}");
        let told = format!("{translation:?}");
        assert!(!told.contains("hunter2"), "{told}");
        translation
            .remarks
            .iter()
            .filter(|remark| remark.line > 8)
            .map(|remark| remark.what.clone())
            .collect::<String>()
    };
    let from = "SMTP_FROM = DenyHosts <a@example.org>\nSMTP_SUBJECT = Report # 1\n";
    let (to, ours) =
        (r#"to = ["root@localhost", "b@example.org"]"#, r#"from = "DenyHosts <a@example.org>" subject = "Report # 1""#);
    check("ADMIN_EMAIL =", &[], "");
    check("ADMIN_EMAIL = root@localhost\nSMTP_SSL = perhaps", &[], "");
    check("ADMIN_EMAIL = root@localhost,, ,", &[], r#"to = ["root@localhost"] server = "localhost:25" tls = "none""#);
    let local = r#"to = ["root@localhost", "joe@localhost"] server = "localhost:25" tls = "none""#;
    assert!(check("ADMIN_EMAIL = root, joe", &[], local).contains("a name without @ is one of this machine"));
    let base = format!("ADMIN_EMAIL = root@localhost, b@example.org\n{from}");
    check(&base, &[], &format!(r#"{to} {ours} server = "localhost:25" tls = "none""#));
    let said =
        check(&format!("{base}SMTP_SSL = yes"), &[], &format!(r#"{to} {ours} server = "localhost:25" tls = "none""#));
    assert!(said.contains("no server speaks TLS first at port 25"), "{said}");
    let remote = format!("{base}SMTP_HOST = mail.example.org\n");
    check(&remote, &[], &format!(r#"{to} {ours} server = "mail.example.org:25" tls = "none""#));
    check(
        &format!("{remote}SMTP_PORT = 465\nSMTP_SSL = yes"),
        &[],
        &format!(r#"{to} {ours} server = "mail.example.org:465" tls = "implicit""#),
    );
    check(
        &format!("{remote}SMTP_PORT = 587"),
        &[],
        &format!(r#"{to} {ours} server = "mail.example.org:587" tls = "starttls""#),
    );
    let login = format!("{remote}SMTP_USERNAME = d\nSMTP_PASSWORD = hunter2");
    let server = r#"server = "mail.example.org:25" tls = "starttls""#;
    let said = check(&login, &[], &format!("{to} {ours} {server}"));
    assert!(said.contains("write it alone into /etc/denyd/mail-password"), "{said}");
    let file = r#"username = "d" password_file = "/etc/denyd/mail-password""#;
    check(&login, &["/etc/denyd/mail-password"], &format!("{to} {ours} {server} {file}"));
    check(&format!("{base}EMAIL_METHOD = SENDMAIL"), &[], &format!(r#"{to} {ours} server = "sendmail""#));
}

/// A file that would deny into the void does not.
#[test]
fn where_sshd_does_not_ask_libwrap_a_firewall_enforces_as_well() {
    let check = |service: &str, want: &str| {
        let translation = translated_where(&format!("{WHOLE}BLOCK_SERVICE = {service}"), &[], false).unwrap();
        assert!(translation.toml.lines().any(|line| line == want), "{}", translation.toml);
        translation.remarks.iter().any(|remark| remark.differs && remark.what.contains("not linked with libwrap"))
    };
    assert!(check("ALL", r#"backends = ["hosts.deny", "nftables"]"#));
    assert!(!check("", r#"backends = ["hosts.deny"]"#));
}

#[test]
fn what_denyhosts_would_not_start_with_is_refused_with_its_line() {
    let check = |lines: &str, want: &str| {
        let problems = translated(lines, &[]).unwrap_err();
        let told: Vec<String> = problems.iter().map(|(line, what)| format!("{line}: {what}")).collect();
        assert!(told.iter().any(|told| told.starts_with(want)), "{lines:?}: {told:#?}");
    };
    check(
        "",
        "0: DENY_THRESHOLD_ROOT is missing, and DenyHosts does not start without it: how many failures of root are tolerated",
    );
    for (lines, want) in [
        (
            "DENY_THRESHOLD_ROOT = -1",
            "9: DENY_THRESHOLD_ROOT: below zero DenyHosts denied everybody who ever logged in",
        ),
        ("DENY_THRESHOLD_ROOT = five", "9: DENY_THRESHOLD_ROOT: `five` is no whole number"),
        ("DENY_THRESHOLD_ROOT =", "9: DENY_THRESHOLD_ROOT: `` is no whole number"),
        ("PURGE_DENY = 5D", "9: PURGE_DENY: `5D`: DenyHosts would have taken it for 5 seconds"),
        ("AGE_RESET_ROOT = 1h30m", "9: AGE_RESET_ROOT: `1h30m`"),
        ("RESET_ON_SUCCESS = enable", "9: RESET_ON_SUCCESS: `enable` is neither yes nor no"),
        ("PURGE_THRESHOLD = x", "9: PURGE_THRESHOLD: `x` is no count"),
        ("SSHD_FORMAT_REGEX = x", "9: SSHD_FORMAT_REGEX: it has no group (?P<message>…)"),
        ("SSHD_FORMAT_REGEX = @.*? (?P.*)", "9: SSHD_FORMAT_REGEX: its group at character 6 has lost its name"),
        ("SECURE_LOG = /private/var/log/asl.log", "9: SECURE_LOG: /private/var/log/asl.log is Apple's system log"),
    ] {
        check(&format!("{WHOLE}{lines}"), want);
    }
    // The key that is missing is there, misspelt; and one problem is told once.
    let misspelt = WHOLE.replace("DENY_THRESHOLD_ROOT", "DENY_THRESHHOLD_ROOT");
    check(
        &misspelt,
        "3: DENY_THRESHHOLD_ROOT is no key of DenyHosts, and sets nothing; did you mean DENY_THRESHOLD_ROOT?",
    );
    assert_eq!(translated(&format!("{WHOLE}DENY_THRESHOLD_ROOT ="), &[]).unwrap_err().len(), 1);
    let long = format!("{}=1", "A".repeat(100_000));
    assert!(translated(&long, &[]).unwrap_err().iter().all(|(_, what)| what.len() < 300));
    let old = WHOLE.replace("DENY_THRESHOLD_INVALID", "DENY_THRESHOLD");
    let translation = translated(&old, &[]).unwrap();
    assert!(translation.toml.contains("threshold_invalid = 5"), "{}", translation.toml);
}

/// What is wrong with whom it tells is left out, of mail all of it; nothing else is.
#[test]
fn what_only_tells_is_left_out() {
    let whole = translated(
        &format!("{WHOLE}ADMIN_EMAIL = a@b\nSMTP_PORT = smtp\nDAEMON_LOG = /log\nDAEMON_LOG_TIME_FORMAT = %Q\n"),
        &[],
    )
    .unwrap();
    let check = |begin: &str, want: Option<(&str, &[&str])>| {
        let line = whole.toml.lines().position(|line| line.starts_with(begin)).unwrap() + 1;
        let left = whole.without(line, "it is wrong");
        let Some((remark, gone)) = want else { return assert_eq!(left, None, "{begin}") };
        let left = left.unwrap();
        assert!(left.remarks.iter().any(|one| format!("{}: {}", one.line, one.what) == remark), "{:?}", left.remarks);
        let is_gone = |line: &&str| !left.toml.lines().any(|left| left == *line);
        let lost: Vec<_> = whole.toml.lines().filter(is_gone).filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lost, gone, "{begin}");
        assert_eq!(left.lines.len(), left.toml.lines().count());
    };
    let mail = ["[mail]", r#"to = ["a@b"]"#, r#"server = "localhost:smtp""#, r#"tls = "none""#];
    check("server = ", Some(("10: SMTP_PORT: no mail is sent, as it is wrong", &mail)));
    let format = r#"log_time_format = "%Q""#;
    check("log_time", Some(("12: DAEMON_LOG_TIME_FORMAT: it is left out, as it is wrong", &[format])));
    check("threshold_root", None);
    check("backends", None);
    check("[mail]", None);
}

/// Each line of the translation knows whence it comes.
#[test]
fn lines_know_their_keys() {
    let translation = translated(WHOLE, &[]).unwrap();
    let (line, _) = (0..).zip(translation.toml.lines()).find(|(_, line)| *line == "threshold_root = 1").unwrap();
    assert_eq!(translation.lines[line], Some(Origin { line: 3, key: "DENY_THRESHOLD_ROOT".to_owned() }));
    assert_eq!(translation.lines.len(), translation.toml.lines().count());
}

#[test]
fn a_file_is_denyhosts_by_its_name() {
    for (name, want) in [
        ("/etc/denyhosts.conf", true),
        ("denyhosts.cfg", true),
        ("/usr/share/denyhosts/denyhosts.cfg-dist", true),
        ("/etc/mine.conf", true),
        ("/etc/denyd/denyd.toml", false),
        ("/etc/denyhosts.toml", false),
        ("/etc/mine", false),
    ] {
        assert_eq!(is_denyhosts(&PathBuf::from(name)), want, "{name}");
    }
}

/// The migration page has each key.
#[test]
fn the_page_names_every_key() {
    let page = include_str!("../../packaging/doc/denyhosts.md");
    let missing: Vec<_> = keys::names::known().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "packaging/doc/denyhosts.md lacks {missing:?}");
}

/// `ALL` closes all ports in a firewall, a service those of sshd, and BLOCKPORT those that it says.
#[test]
fn block_service_chooses_the_ports() {
    let check = |more: &str, want: Option<&str>| {
        let text = format!(
            "{more}DENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\nDENY_THRESHOLD_ROOT = 1\nPURGE_DENY =\nSECURE_LOG = /log\n\
             HOSTS_DENY = /etc/hosts.deny\nWORK_DIR = /var/lib/denyhosts\nLOCK_FILE = /run/x\n"
        );
        let toml = translated(&text, &["/sbin/iptables", "/log"]).unwrap().toml;
        let ports = toml.lines().find_map(|line| line.strip_prefix("ports = "));
        assert_eq!(ports, want, "{more}");
    };
    let iptables = "IPTABLES = /sbin/iptables\n";
    check(&format!("BLOCK_SERVICE = sshd\n{iptables}"), Some("[22, 2222]"));
    check(&format!("BLOCK_SERVICE = vsftpd\n{iptables}"), Some("[22, 2222]"));
    check(&format!("BLOCK_SERVICE = ALL\n{iptables}"), None);
    check(&format!("BLOCK_SERVICE =\n{iptables}"), None);
    check(&format!("BLOCK_SERVICE = sshd\nBLOCKPORT = 9922\n{iptables}"), Some("[9922]"));
    check("BLOCK_SERVICE = sshd\n", None);
}

/// The rules of the translation, each in a line, and what is said of patterns.
fn patterns(lines: &str) -> Result<(Vec<String>, String), String> {
    let told = |problems: Vec<(usize, String)>| {
        problems.iter().map(|(line, what)| format!("{line}: {what}")).collect::<Vec<_>>().join("\n")
    };
    let translation = translated(&format!("{WHOLE}{lines}"), &[]).map_err(told)?;
    let rules = translation.toml.split("\n[[rule]]\n").skip(1);
    let rules = rules.map(|rule| rule.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("; "));
    let remarks = translation.remarks.iter().filter(|remark| remark.line > 8);
    let remarks = remarks.map(|remark| format!("{}: {}", remark.line, remark.what)).collect::<Vec<_>>().join("\n");
    Ok((rules.collect(), remarks))
}

const FAQ: &str = "USERDEF_FAILED_ENTRY_REGEX=break in attempt for (?P<user>.*) from (?P<host>.*)\n\
                   USERDEF_FAILED_ENTRY_REGEX=break in attempt from (?P<host>.*)\n";

#[test]
fn patterns_become_rules() {
    let check = |lines: &str, want: &[&str], remark: &str| {
        let (rules, remarks) = patterns(lines).unwrap();
        let rules: Vec<_> = rules.iter().map(|rule| rule.trim_end_matches("; ")).collect();
        assert_eq!(rules, want, "{lines}");
        assert!(remarks.contains(remark), "{lines}: {remarks}");
    };
    let every = r#"identifiers = ["*"]"#;
    let sshd = r#"identifiers = ["sshd", "sshd-session", "sshd-auth"]"#;
    let faq = [
        format!(
            "name = \"userdef_failed_entry_regex.1\"; {every}; pattern = 'break in attempt for (?P<user>.*) from (?P<host>.*)'; account = \"unknown\"; unsafe = true; hit = [{{ message = \"break in attempt for bob from 192.0.2.7\", addr = \"192.0.2.7\", user = \"bob\" }}]"
        ),
        format!(
            "name = \"userdef_failed_entry_regex.2\"; {every}; pattern = 'break in attempt from (?P<host>.*)'; account = \"unknown\"; unsafe = true; hit = [{{ message = \"break in attempt from 192.0.2.7\", addr = \"192.0.2.7\" }}]"
        ),
    ];
    let faq: Vec<&str> = faq.iter().map(String::as_str).collect();
    let fooled = "strangers can fool it: it does not begin with ^, so it is found within whatever a stranger gets logged, as in \
                  `what a stranger wrote: break in attempt from 192.0.2.7`, which has 192.0.2.7 denied. So what it finds denies \
                  for an hour at most, clears nothing and is no login";
    check(&format!("UNSAFE_REGEX = yes # both\n{FAQ}"), &faq, fooled);
    // The whole file, wherever it stands; or what is below it.
    check(&format!("{FAQ}UNSAFE_REGEX = yes"), &faq, fooled);
    check(&format!("UNSAFE_REGEX = no\nUNSAFE_REGEX = yes\n{FAQ}UNSAFE_REGEX = no"), &faq, fooled);
    // One that holds a whole message is of sshd's alone.
    let safe = format!(
        "name = \"userdef_failed_entry_regex.1\"; {sshd}; pattern = '^no (?P<user>.{{0,80}}) from (?P<host>[0-9.]+)$'; account = \"unknown\"; hit = [{{ message = \"no bob from 192.0.2.7\", addr = \"192.0.2.7\", user = \"bob\" }}]"
    );
    let line = "USERDEF_FAILED_ENTRY_REGEX = ^no (?P<user>.{0,80}) from (?P<host>[0-9.]+)$";
    check(line, &[&safe], "9: USERDEF_FAILED_ENTRY_REGEX is asked of sshd's messages alone");
    check("USERDEF_FAILED_ENTRY_REGEX =", &[], "9: USERDEF_FAILED_ENTRY_REGEX is blank, and sets nothing");
    // The others are sshd's in any case, and replace nothing.
    let own = format!(
        "name = \"failed_entry_regex3\"; {sshd}; pattern = '^(?P<invalid>no )?login from (?P<host>[0-9.]+)$'; account = \"unknown\"; hit = [{{ message = \"login from 192.0.2.7\", addr = \"192.0.2.7\" }}]"
    );
    let replaces = "FAILED_ENTRY_REGEX3 does not replace denyd's own grammar of sshd";
    check("FAILED_ENTRY_REGEX3 = ^(?P<invalid>no )?login from (?P<host>[0-9.]+)$", &[&own], replaces);
    check("FAILED_ENTRY_REGEX10 = x", &[], "9: FAILED_ENTRY_REGEX10 sets nothing; DenyHosts, too");
    let welcome = format!(
        "name = \"successful_entry_regex\"; {sshd}; pattern = '^(?:Welcome (?P<user>\\w{{1,9}}) of (?P<host>[0-9.]+)$)'; event = \"success\"; hit = [{{ message = \"Welcome bob of 192.0.2.7\", addr = \"192.0.2.7\", user = \"bob\" }}]"
    );
    check(r"SUCCESSFUL_ENTRY_REGEX = Welcome (?P<user>\w{1,9}) of (?P<host>[0-9.]+)$", &[&welcome], "9: SUCCESSFUL");
    // dovecot's: the packaged rule, or a pattern of one's own.
    let (rules, _) = patterns("DETECT_DOVECOT_LOGIN_ATTEMPTS = yes").unwrap();
    assert!(
        rules.len() == 1 && rules[0].starts_with("name = \"dovecot.failed\"; identifiers = [\"auth\""),
        "{rules:?}"
    );
    check("DETECT_DOVECOT_LOGIN_ATTEMPTS = no", &[], "");
    let without = "9: FAILED_DOVECOT_ENTRY_REGEX sets nothing without DETECT_DOVECOT_LOGIN_ATTEMPTS = yes";
    check("FAILED_DOVECOT_ENTRY_REGEX = x", &[], without);
    let (rules, _) = patterns("UNSAFE_REGEX = 1\nDETECT_DOVECOT_LOGIN_ATTEMPTS = yes\nFAILED_DOVECOT_ENTRY_REGEX = dovecot.*rhost=(?P<host>\\S+)").unwrap();
    assert!(
        rules.len() == 1 && rules[0].starts_with("name = \"failed_dovecot_entry_regex\"; identifiers = [\"*\"]"),
        "{rules:?}"
    );
}

#[test]
fn a_pattern_that_cannot_be_taken_is_refused_with_its_line() {
    let check = |lines: &str, want: &str| {
        let told = patterns(lines).unwrap_err();
        assert!(told.lines().any(|line| line.starts_with(want)), "{lines}: {told}");
    };
    let remedy = "9: USERDEF_FAILED_ENTRY_REGEX: it does not begin with ^, so it is found within whatever a stranger gets logged, as in \
                  `what a stranger wrote: break in attempt for bob from 192.0.2.7`, which has 192.0.2.7 denied; write it so that it \
                  holds a whole message of sshd, from ^ to $, or write UNSAFE_REGEX = yes on a line above it";
    check(FAQ, remedy);
    check(
        &format!("UNSAFE_REGEX = no\n{FAQ}UNSAFE_REGEX = yes"),
        "10: USERDEF_FAILED_ENTRY_REGEX: it does not begin with ^",
    );
    check(&format!("UNSAFE_REGEX = perhaps\n{FAQ}"), "9: UNSAFE_REGEX: `perhaps` is neither yes nor no");
    check(
        "FAILED_ENTRY_REGEX = ^no (?P<user>.*) from (?P<host>[0-9.]+)$",
        "9: FAILED_ENTRY_REGEX: text without a bound",
    );
    check(
        "FAILED_ENTRY_REGEX2 = ^a(?=b) from (?P<host>.*)$",
        "9: FAILED_ENTRY_REGEX2: a look-around (character 3) cannot be had",
    );
    check(
        r"FAILED_ENTRY_REGEX9 = (a)\1 from (?P<host>.*)",
        "9: FAILED_ENTRY_REGEX9: a reference to an earlier group (character 4)",
    );
    // What a login says denies nobody, and a line that shows nothing is not shown.
    let cleared = "9: SUCCESSFUL_ENTRY_REGEX: it does not end in $, so a stranger's text may go on behind the address, as in `Welcome 192.0.2.7 \
                   from 198.51.100.9`, which is a login from 192.0.2.7, and clears what failed there; write it";
    check("SUCCESSFUL_ENTRY_REGEX = Welcome (?P<host>[0-9.]+)", cleared);
    check(
        "SUCCESSFUL_ENTRY_REGEX = Welcome (?P<host>.*)",
        "9: SUCCESSFUL_ENTRY_REGEX: it does not end in $, so a stranger's text may go on behind the address; write it",
    );
    let lost = "9: USERDEF_FAILED_ENTRY_REGEX: its group at character 22 has lost its name, as web pages lose what stands in angle \
                brackets; it was probably break in attempt for (?P<user>.*) from (?P<host>.*)";
    check("USERDEF_FAILED_ENTRY_REGEX=break in attempt for (?P.*) from (?P.*)", lost);
    check(
        "FAILED_ENTRY_REGEX7 = ^User (?P<user>.{1,9}) not allowed$",
        "9: FAILED_ENTRY_REGEX7: it has no group (?P<host>…)",
    );
    check(
        "FAILED_ENTRY_REGEX7 = ^(",
        "9: FAILED_ENTRY_REGEX7: the pattern is wrong at its character 2: unclosed group",
    );
    let long = format!("FAILED_ENTRY_REGEX = ^{}(?P<host>.*)$", "x".repeat(2000));
    check(&long, "9: FAILED_ENTRY_REGEX: the pattern has 2014 bytes; at most 2000 can be");
}
