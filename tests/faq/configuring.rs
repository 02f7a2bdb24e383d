//! FAQ 2.0 to 2.24.

use std::collections::BTreeMap;
use std::fs;

use super::{Site, good, said, stamp, told, wrong, wrong_ago};
use kit::until;

/// What `import` makes of these lines, or says of them: exit status, TOML, remarks.
fn import(lines: &str) -> (Option<i32>, String, String) {
    let site = Site::new("");
    site.write("denyhosts.conf", lines);
    site.denyd(&["import", site.path("denyhosts.conf").to_str().unwrap()])
}

/// The three failures of root that convict an address.
fn root(address: &str) -> String {
    wrong("root", address, 3)
}

/// A simple configuration file, which is copied and edited: one that is full of comments is taken as it is.
#[test]
fn q2_0_the_example_is_read() {
    let seed = kit::data("denyhosts/seed.conf");
    let (code, out, err) = told(&mut kit::denyd(&["--config", seed.to_str().unwrap(), "check", "--print"]));
    assert!(code == Some(0) && out.contains("threshold_root = 2\n"), "{out}{err}");
    let ours = kit::root().join("packaging/denyd.toml");
    let (code, _, err) = told(&mut kit::denyd(&["--config", ours.to_str().unwrap(), "check", "--print"]));
    assert_eq!(code, Some(0), "{err}");
}

/// Cron calls it every 20 minutes; each time it denies whom the log convicts by then, and says nothing.
#[test]
fn q2_1_cron_runs_it() {
    let site = Site::new("");
    site.log(&(root("192.0.2.7") + &wrong("root", "192.0.2.8", 1)));
    site.quiet(&[]);
    assert_eq!(site.denied(), ["192.0.2.7"]);
    assert!(site.read("work/hosts-root").contains("192.0.2.7:3:"), "{}", site.read("work/hosts-root"));
    site.quiet(&[]);
    site.log(&wrong("root", "192.0.2.8", 1));
    site.quiet(&[]);
    assert_eq!(site.denied(), ["192.0.2.7", "192.0.2.8"]);
}

/// HOSTNAME_LOOKUP = NO: no names are asked for, and reports have addresses alone.
#[test]
fn q2_2_names_of_hosts_are_not_asked_for() {
    let sink = kit::Sink::new();
    let check = |line: &str, want: &str| {
        let site = Site::new(&(super::mail_by(&sink) + line));
        let (_, out, err) = site.denyd(&["check", "--print"]);
        assert!(out.contains(want), "{line}: {out}{err}");
        site
    };
    check("HOSTNAME_LOOKUP = YES\n", "host_names = true\n");
    let site = check("HOSTNAME_LOOKUP = NO\n", "host_names = false\n");
    let daemon = site.start();
    site.log(&root("192.0.2.7"));
    let mail = &sink.wait(1)[0];
    assert!(mail.body.contains("\n192.0.2.7\n"), "{mail:?}");
    daemon.stop();
}

/// metalog's files are read without any setting.
#[test]
fn q2_3_metalog_is_known() {
    let site = Site::new("");
    for second in 1..=2 {
        site.log(&format!(
            "Jan  5 10:00:0{second} [sshd] Failed password for root from 192.0.2.7 port {second} ssh2\n"
        ));
    }
    assert_eq!(site.convicted(), ["192.0.2.7"]);
}

/// FreeBSD: with HOSTS_DENY = …/hosts.allow each entry ends in ` : deny`.
#[test]
fn q2_4_freebsd_has_its_entries() {
    let site =
        Site::with("HOSTS_DENY = DIR/hosts.allow\n", &[("hosts.allow", "sshd : ALL : allow\n"), ("hosts.deny", "")]);
    let daemon = site.start();
    site.log(&root("192.0.2.7"));
    site.wait_file("hosts.allow", "sshd: 192.0.2.7 : deny\n");
    daemon.stop();
    assert!(site.read("hosts.allow").contains("sshd : ALL : allow\n"), "the rule of others stays");
}

/// Solaris: its form of a record is read. (The line that the FAQ would have added is lost in it.)
#[test]
fn q2_5_solaris_is_known() {
    let site = Site::new("");
    for second in 1..=2 {
        let message = format!("Failed password for root from 192.0.2.7 port {second} ssh2");
        site.log(&format!("Nov 29 10:00:0{second} sol sshd[{second}]: [ID 800047 auth.info] {message}\n"));
    }
    assert_eq!(site.convicted(), ["192.0.2.7"]);
}

/// HOSTS_DENY is another file and BLOCK_SERVICE blank: libwrap refuses those in the list, and them alone. By the FAQ's rule
/// of hosts.allow that takes a hosts.deny that refuses everybody else whom no rule lets in; without one, `doctor` says so.
#[test]
fn q2_6_the_list_may_be_a_file_of_its_own() {
    let site = Site::with(
        "HOSTS_DENY = DIR/hosts.evil\nBLOCK_SERVICE =\n",
        &[("hosts.evil", ""), ("hosts.allow", "sshd: ALL EXCEPT DIR/hosts.evil\n"), ("hosts.deny", "sshd: ALL\n")],
    );
    let daemon = site.start();
    site.log(&root("192.0.2.7"));
    until("it is in the list", || (super::entries(&site.read("hosts.evil")) == ["192.0.2.7"]).then_some(()));
    daemon.stop();
    if let (Some(evil), Some(good)) = (site.libwrap("192.0.2.7"), site.libwrap("192.0.2.8")) {
        assert_eq!((evil.as_str(), good.as_str()), ("denied", "granted"), "{}", site.read("hosts.evil"));
    }
}

/// FreeBSD with a list of its own: `sshd : FILE : deny`, then `sshd : ALL : allow`.
#[test]
fn q2_7_freebsd_may_have_a_list_too() {
    let site = Site::with(
        "HOSTS_DENY = DIR/hosts.evil\nBLOCK_SERVICE =\n",
        &[
            ("hosts.evil", ""),
            ("hosts.allow", "sshd : DIR/hosts.evil : deny\nsshd : ALL : allow\n"),
            ("hosts.deny", ""),
        ],
    );
    let daemon = site.start();
    site.log(&root("192.0.2.7"));
    until("it is in the list", || (super::entries(&site.read("hosts.evil")) == ["192.0.2.7"]).then_some(()));
    daemon.stop();
    if let (Some(evil), Some(good)) = (site.libwrap("192.0.2.7"), site.libwrap("192.0.2.8")) {
        assert_eq!((evil.as_str(), good.as_str()), ("denied", "granted"), "{}", site.read("hosts.evil"));
    }
}

/// `--purge`: entries with a time older than PURGE_DENY go, all others stay; the old file is kept beside it; where none is so
/// old nothing is changed. Entries have a time if PURGE_DENY is set, and only then.
#[test]
fn q2_8_old_entries_are_purged() {
    let site = Site::new("PURGE_DENY = 2w # purge entries older than two weeks\n");
    let entry = |days, address: &str| format!("# DenyHosts: {} | sshd: {address}\nsshd: {address}\n", stamp(days));
    let kept = "# mine\nsshd: 192.0.2.1\n".to_owned() + &entry(13, "192.0.2.2");
    let all = kept.clone() + &entry(15, "192.0.2.3");
    site.write("hosts.deny", &all);
    site.quiet(&["--purge"]);
    assert_eq!((site.read("hosts.deny"), site.read("hosts.deny.purge.bak")), (kept.clone(), all.clone()));
    let before = fs::metadata(site.path("hosts.deny")).unwrap().modified().unwrap();
    site.quiet(&["--purge"]);
    assert_eq!(fs::metadata(site.path("hosts.deny")).unwrap().modified().unwrap(), before, "nothing was so old");
    site.log(&root("192.0.2.7"));
    site.quiet(&[]);
    let text = site.read("hosts.deny");
    let new = text.strip_prefix(&kept).unwrap_or_else(|| panic!("{text}"));
    assert!(new.starts_with("# DenyHosts: ") && new.ends_with(" | sshd: 192.0.2.7\nsshd: 192.0.2.7\n"), "{new}");
    // Blank: no times, and nothing to purge.
    let site = Site::new("PURGE_DENY =    # an empty value disables the purge facility\n");
    site.log(&root("192.0.2.7"));
    site.quiet(&[]);
    assert_eq!(site.read("hosts.deny"), "sshd: 192.0.2.7\n");
    assert_eq!(site.denyhosts(&["--purge"]).0, Some(1));
}

/// A number of s, m, h, d, w or y; without one, of seconds.
#[test]
fn q2_9_times_have_units() {
    let check = |value: &str, want: &str| {
        let site = Site::new(&format!("PURGE_DENY = {value}\n"));
        let (_, out, err) = site.denyd(&["check", "--print"]);
        let want = format!("deny_for = \"{want}\"");
        assert!(out.lines().any(|line| line == want), "{value}: no {want} in {out}{err}");
    };
    for (value, want) in
        [("1d", "1d"), ("10", "10s"), ("10s", "10s"), ("3w", "21d"), ("30m", "30m"), ("120d", "120d"), ("1y", "365d")]
    {
        check(value, want);
    }
}

/// What an upgrade requires anew is named.
#[test]
fn q2_10_what_is_missing_is_named() {
    let lines = "DENY_THRESHOLD_INVALID = 5\nPURGE_DENY =\nBLOCK_SERVICE = sshd\n";
    let (code, _, err) = import(lines);
    assert_eq!(code, Some(2), "{err}");
    for name in ["DENY_THRESHOLD_ROOT is missing, and", "DENY_THRESHOLD_VALID is missing, and"] {
        assert!(err.contains(name), "{err}");
    }
}

/// `--upgrade099`: a time behind an entry, which libwrap cannot read, moves above it.
#[test]
fn q2_11_old_times_are_moved() {
    let site = Site::new("");
    let then = stamp(2);
    site.write("hosts.deny", &format!("# mine\nsshd: 192.0.2.7 # DenyHosts: {then}\nsshd: 192.0.2.8\n"));
    site.quiet(&["--upgrade099"]);
    let want = format!("# mine\n# DenyHosts: {then} | sshd: 192.0.2.7\nsshd: 192.0.2.7\nsshd: 192.0.2.8\n");
    assert_eq!(site.read("hosts.deny"), want);
}

/// A log that is not understood is by patterns of one's own: SSHD_FORMAT_REGEX as the FAQ has it, FAILED_ENTRY_REGEX.
#[test]
fn q2_12_patterns_of_ones_own_are_read() {
    let site = Site::new(
        "SSHD_FORMAT_REGEX = .* (sshd.*:|\\[sshd\\]) (?P<message>.*)\n\
         FAILED_ENTRY_REGEX3 = ^refused (?P<invalid>unknown )?(?P<user>\\S{1,32}) at (?P<host>[0-9.]+)$\n",
    );
    site.log(&(said(1, "refused root at 192.0.2.7") + &said(1, "refused root at 192.0.2.7")));
    site.log(&root("192.0.2.8"));
    assert_eq!(site.convicted(), ["192.0.2.7", "192.0.2.8"]);
}

/// Both examples of further patterns count; what strangers can fool must be asked for, and denies for an hour.
#[test]
fn q2_13_further_patterns_count() {
    let examples = "USERDEF_FAILED_ENTRY_REGEX=break in attempt for (?P<user>.*) from (?P<host>.*)\n\
                    USERDEF_FAILED_ENTRY_REGEX=break in attempt from (?P<host>.*)\n";
    let site = Site::new(&format!("{examples}UNSAFE_REGEX = yes\n"));
    for user in ["for bob ", "", ""] {
        site.log(&said(1, &format!("break in attempt {user}from 192.0.2.7")));
    }
    let found = site.scan();
    assert_eq!(
        (&found["denied"][0]["prefix"], &found["denied"][0]["count"]),
        (&"192.0.2.7".into(), &3.into()),
        "{found}"
    );
    let (code, _, err) = import(&(super::CONF.to_owned() + examples));
    assert!(code == Some(2) && err.contains("UNSAFE_REGEX = yes"), "{err}");
}

/// USERDEF_FAILED_ENTRY_REGEX extends what is known, and FAILED_ENTRY_REGEX does so, too: what is known is not lost by it.
#[test]
fn q2_14_patterns_extend_what_is_known() {
    for name in ["USERDEF_FAILED_ENTRY_REGEX", "FAILED_ENTRY_REGEX"] {
        let site = Site::new(&format!(
            "{name} = ^refused (?P<user>\\S{{1,32}}) at (?P<host>[0-9.]+)$\nDENY_THRESHOLD_INVALID = 0\n"
        ));
        site.log(&(root("192.0.2.7") + &said(1, "refused root at 192.0.2.8") + &said(1, "refused root at 192.0.2.8")));
        assert_eq!(site.convicted(), ["192.0.2.7", "192.0.2.8"], "{name}");
    }
}

/// djb multilog, by the line of the FAQ.
#[test]
fn q2_15_multilog_is_known() {
    let site = Site::new("SSHD_FORMAT_REGEX = @.*? (?P<message>.*)\n");
    for (port, second) in (1024..).zip(["d3", "d4", "d5", "d6"]) {
        let at = format!("@4000000042f4e1{second}057febbc");
        site.log(&format!("{at} Failed password for invalid user network from 192.0.2.7 port {port} ssh2\n"));
        site.log(&format!("{at} Connection closed by 192.0.2.7\n"));
    }
    assert_eq!(site.convicted(), ["192.0.2.7"]);
}

/// Good logins are recognised, and so is the line of the FAQ.
#[test]
fn q2_16_logins_are_recognised() {
    let site = Site::new("");
    let line = "error: PAM: authentication error for bob from 192.168.1.1";
    site.log(&(said(1, line) + &said(1, line) + &said(1, line) + &said(1, line) + &good(1, "al", "192.0.2.8")));
    let found = site.scan();
    assert_eq!((&found["failures"], &found["successes"]), (&4.into(), &1.into()), "{found}");
    assert_eq!(found["denied"][0]["prefix"], "192.168.1.1", "{found}");
}

/// Users who exist, users who do not: each has its threshold, and whoever tries both is out with the first that is exceeded.
#[test]
fn q2_17_each_class_has_its_threshold() {
    let site = Site::new("DENY_THRESHOLD_RESTRICTED = 1\n");
    site.log(&(wrong("foo", "192.0.2.1", 3) + &wrong("invalid user bar", "192.0.2.2", 2)));
    site.log(&(wrong("foo", "192.0.2.3", 3) + &wrong("invalid user bar", "192.0.2.3", 2)));
    assert_eq!(site.convicted(), [""; 0], "none is exceeded");
    site.log(&wrong("invalid user bar", "192.0.2.3", 1));
    site.log(&wrong("invalid user bar", "192.0.2.2", 1));
    site.log(&wrong("foo", "192.0.2.1", 1));
    let mut all = site.convicted();
    all.sort();
    assert_eq!(all, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
}

/// Names in WORK_DIR/restricted-usernames have the threshold of restricted ones, by default that of root; the names for it
/// come from /etc/passwd, or from what was tried.
#[test]
fn q2_18_some_users_never_log_in() {
    let site = Site::with(
        "",
        &[
            ("work/restricted-usernames", "mysql\ntoor\n"),
            ("passwd", "bob:x:1:1::/:/bin/bash\nlpd:x:2:2::/:/sbin/nologin\noff:x:3:3::/:/sbin/halt\n"),
        ],
    );
    let daemon = site.start();
    site.log(
        &(wrong("mysql", "192.0.2.7", 2) + &wrong("bob", "192.0.2.8", 2) + &wrong("invalid user toor", "192.0.2.9", 2)),
    );
    site.wait_denied(&["192.0.2.7", "192.0.2.9"]);
    site.log(&(wrong("invalid user al", "192.0.2.10", 1) + &wrong("invalid user zed", "192.0.2.11", 1)));
    daemon.caught_up();
    let passwd = site.path("passwd").display().to_string();
    assert_eq!(site.denyd(&["restricted", "--from-passwd", &passwd]).1, "lpd\noff\n");
    assert_eq!(site.denyd(&["restricted", "--from-invalid", "-n", "1"]).1, "toor\n");
    assert_eq!(site.denyd(&["restricted", "--from-invalid"]).1.lines().count(), 3);
    daemon.stop();
}

/// DAEMON_LOG_TIME_FORMAT: the stamp of the log file is as one wants it.
#[test]
fn q2_19_the_log_has_the_stamp_that_is_wanted() {
    for (line, stamp) in [
        ("", r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - \S+ +: INFO "),
        ("DAEMON_LOG_TIME_FORMAT = %b %d %H:%M:%S\n", r"^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d - \S+ +: INFO "),
    ] {
        let site = Site::new(&format!("DAEMON_LOG = DIR/daemon.log\n{line}"));
        let daemon = site.start();
        site.log(&root("192.0.2.7"));
        site.wait_file("daemon.log", "new denied hosts: ['192.0.2.7']");
        daemon.stop();
        let (text, stamp) = (site.read("daemon.log"), regex::Regex::new(stamp).unwrap());
        assert!(text.lines().all(|line| stamp.is_match(line)), "{text}");
    }
}

/// AGE_RESET_*: counts begin anew where the failure before is older; without it they never do.
#[test]
fn q2_20_counts_end_with_time() {
    let log = wrong_ago(50, "bob", "192.0.2.7", 3)
        + &wrong_ago(1, "bob", "192.0.2.7", 1)
        + &wrong_ago(26, "root", "192.0.2.8", 1)
        + &wrong("root", "192.0.2.8", 1);
    for (lines, want) in [
        ("", &["192.0.2.7", "192.0.2.8"][..]),
        ("AGE_RESET_VALID = 2d\nAGE_RESET_ROOT = 3d\n", &["192.0.2.8"]),
        ("AGE_RESET_VALID = 3d\nAGE_RESET_ROOT = 1d\n", &["192.0.2.7"]),
    ] {
        let site = Site::new(lines);
        site.log(&log);
        let mut found = site.convicted();
        found.sort();
        assert_eq!(found, want, "{lines}");
    }
}

/// RESET_ON_SUCCESS = yes: a good login begins the counts of its address anew; by default it does not.
#[test]
fn q2_21_a_login_ends_counts() {
    for (lines, want) in [("", &["192.0.2.7"][..]), ("RESET_ON_SUCCESS = yes\n", &[])] {
        let site = Site::new(lines);
        site.log(&(wrong_ago(3, "bob", "192.0.2.7", 3) + &good(2, "bob", "192.0.2.7") + &wrong("bob", "192.0.2.7", 2)));
        assert_eq!(site.convicted(), want, "{lines}");
    }
}

/// PLUGIN_DENY and PLUGIN_PURGE are run with the host as their last argument.
#[test]
fn q2_22_plugins_are_run() {
    let lines = "PLUGIN_DENY = /bin/sh DIR/plugin denied\nPLUGIN_PURGE = /bin/sh DIR/plugin purged\n";
    let site = Site::with(lines, &[("plugin", "echo \"$@\" >>DIR/told\n")]);
    let daemon = site.start();
    site.log(&root("192.0.2.7"));
    site.wait_file("told", "denied 192.0.2.7\n");
    assert_eq!(site.denyd(&["forgive", "192.0.2.7"]).0, Some(0));
    site.wait_file("told", "purged 192.0.2.7\n");
    daemon.stop();
    assert_eq!(site.read("told"), "denied 192.0.2.7\npurged 192.0.2.7\n");
}

/// tcp_wrappers may start it at each login: several at once hinder nobody, say nothing, and end.
#[test]
fn q2_23_tcp_wrappers_may_start_it() {
    let site = Site::new("");
    site.log(&root("192.0.2.7"));
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| site.quiet(&[])))));
    assert_eq!(site.denied(), ["192.0.2.7"]);
    let daemon = site.start();
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| site.quiet(&[])))));
    daemon.stop();
    assert_eq!(site.home.history().len(), 1);
}

/// `$[NAME]` is a variable of the environment, in any value; `$[HOSTNAME]` is always known.
#[test]
fn q2_24_values_come_from_the_environment() {
    let lines =
        super::CONF.to_owned() + "ADMIN_EMAIL = $[WHO]@example.org\nSMTP_SUBJECT = report of $[HOSTNAME] for $[WHO]\n";
    let site = Site::new("");
    site.write("denyhosts.conf", &lines);
    let file = site.path("denyhosts.conf").display().to_string();
    let run = |who: &[(&str, &str)]| {
        told(
            kit::denyd(&["import", &file]).env_remove("HOSTNAME").envs(who.iter().copied().collect::<BTreeMap<_, _>>()),
        )
    };
    let (code, toml, err) = run(&[("WHO", "al")]);
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let want = format!("report of {host} for al");
    assert!(code == Some(0) && toml.contains(&want) && toml.contains("\"al@example.org\""), "no {want} in {toml}{err}");
    let (code, _, err) = run(&[]);
    assert!(code == Some(2) && err.contains("there is no variable `WHO`"), "{err}");
}
