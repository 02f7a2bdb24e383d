//! What an administrator types: each verb with the daemon running and stopped.

use std::fs;
use std::process::Command;

use kit::Home;

/// Somebody at a shell beside a daemon, or beside none.
struct Shell<'a>(&'a Home);

impl Shell<'_> {
    /// What a command says on both outputs must hold each of `wants`, and its exit status be `code`.
    fn check(&self, command: &[&str], code: i32, wants: &[&str]) -> String {
        // Where these tests run from is not where the administrator is logged in.
        let output = self.0.denyd(command).env("SSH_CONNECTION", "203.0.113.99 5 203.0.113.98 22").output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
        for want in wants {
            assert!(text.contains(want), "{command:?}: no {want:?} in {text}");
        }
        text
    }
}

/// Does it beside a daemon that has read `log`, and again, in another home, when that daemon was stopped.
fn both(log: &str, work: impl Fn(&Shell)) {
    for is_stopped in [false, true] {
        let home = Home::with_log();
        home.append(log.as_bytes());
        let daemon = home.start();
        daemon.caught_up();
        if is_stopped {
            daemon.stop();
            work(&Shell(&home));
        } else {
            work(&Shell(&home));
            daemon.stop();
        }
    }
}

/// `Failed password` of each (user, address), in turn.
fn failures(tried: &[(&str, &str)]) -> String {
    let line = |(n, (user, address)): (usize, &(&str, &str))| {
        let pid = 1_000 + n;
        format!("Nov 28 23:00:{:02} b sshd[{pid}]: Failed password for {user} from {address} port {pid} ssh2\n", n % 60)
    };
    tried.iter().enumerate().map(line).collect()
}

#[test]
fn several_are_denied_looked_at_and_forgiven_at_once() {
    both("", |shell| {
        let some = ["192.0.2.7", "2001:db8:1::/64", "198.51.100.0/24"];
        let with = |verb, rest: &[&'static str]| [&[verb], &some[..], rest].concat();
        assert_eq!(
            shell.check(&["why", "192.0.2.7"], 1, &[]),
            "192.0.2.7 is not denied, and nothing is known against it\n"
        );
        shell.check(&with("why", &[]), 1, &["192.0.2.7 is not denied", "198.51.100.0/24 is not denied"]);
        let told = ["192.0.2.7 is denied until", "2001:db8:1::/64 is denied until", "198.51.100.0/24 is denied until"];
        shell.check(&with("ban", &["--for", "2d"]), 0, &told);
        shell.check(&with("why", &[]), 0, &told);
        shell.check(
            &["why", "198.51.100.7", "198.51.100.0/25"],
            0,
            &["198.51.100.0/25 is denied (as part of 198.51.100.0/24)"],
        );
        shell.check(&["why", "192.0.2.7", "192.0.2.8"], 1, &["192.0.2.8 is not denied"]);
        shell.check(&["why", "192.0.2.0/24"], 1, &["192.0.2.0/24 is not denied as a whole", "192.0.2.7  "]);
        shell.check(&with("unban", &[]), 0, &["192.0.2.7 is let in again", "198.51.100.0/24 is let in again"]);
        shell.check(&with("forgive", &[]), 1, &["nothing to forgive 192.0.2.7."]);
        // One that is refused hinders no other.
        let refused = "10.0.0.0/7 is wider than /8";
        shell.check(&["deny", "192.0.2.1", "10.0.0.0/7", "192.0.2.2"], 2, &[refused, "192.0.2.2 is denied for ever"]);
        shell.check(&["why", "192.0.2.1", "192.0.2.2"], 0, &[]);
        shell.check(&["deny", "192.0.2.1", "nowhere"], 2, &["`nowhere` is neither"]);
        for nobody in [
            &["why"][..],
            &["deny"],
            &["forgive"],
            &["forgive", "--all", "192.0.2.1"],
            &["forgive", "--user", "al", "--all"],
        ] {
            shell.check(nobody, 2, &["Usage:"]);
        }
    });
}

#[test]
fn a_deny_keeps_the_words_of_who_made_it() {
    both("", |shell| {
        let hostile = "spam from \u{1b}[2Jthe \"Müller\" list";
        shell.check(&["deny", "192.0.2.7", "--because", hostile], 0, &["for ever"]);
        let words = "spam from \\u{1b}[2Jthe \"Müller\" list";
        let told = shell.check(&["why", "192.0.2.7"], 0, &[&format!("an operator denied it: {words}")]);
        assert!(!told.contains('\u{1b}'), "{told}");
        shell.check(&["list"], 0, &[words]);
        shell.check(&["history"], 0, &[&format!("an operator: {words}, for ever")]);
        shell.check(&["history", "--json"], 0, &[r#""because":"spam from \u001b[2Jthe \"Müller\" list""#]);
        shell.check(&["deny", "192.0.2.8", "--because", &"x".repeat(201)], 2, &["201 bytes; it may have 200"]);
    });
}

#[test]
fn a_longer_deny_is_not_made_shorter_in_passing() {
    both(&failures(&[("root", "192.0.2.9"); 2]), |shell| {
        shell.check(&["deny", "192.0.2.7", "--for", "2d"], 0, &[]);
        shell.check(
            &["deny", "192.0.2.7", "--for", "1h"],
            2,
            &["is denied until", "already, which is longer", "--force"],
        );
        shell.check(&["deny", "192.0.2.7", "--for", "3d"], 0, &[]);
        shell.check(&["deny", "192.0.2.7"], 0, &["for ever"]);
        shell.check(&["deny", "192.0.2.7", "--for", "3d"], 2, &["is denied for ever already, which is longer"]);
        shell.check(&["deny", "192.0.2.7", "--for", "1h", "--force"], 0, &["is denied until"]);
        let told = shell.check(&["why", "192.0.2.7"], 0, &["is denied until"]);
        assert!(!told.contains("HELD AS"), "{told}");
        // What the policy wants is not an operator's to end, and lasts for seven days.
        shell.check(&["deny", "192.0.2.9", "--for", "1h"], 0, &["is denied until"]);
        let both = ["HELD AS", "an operator denied it", "too many failures of class root (2, where 1"];
        let told = shell.check(&["why", "192.0.2.9"], 0, &both);
        assert!(told.lines().next().is_some_and(|first| first.contains("class root")), "{told}");
    });
}

#[test]
fn a_deny_that_drops_nothing_says_so() {
    both("", |shell| {
        let check = |prefix: &str, want: &str| {
            shell.check(&["deny", prefix], 0, &["is denied for ever", want]);
        };
        check("127.0.0.1", "But 127.0.0.1 is this machine itself: nftables and iptables let loopback pass");
        check("127.8.0.0/16", "nftables and iptables let loopback pass");
        check("::1", "nftables and iptables let loopback pass");
        check("224.0.0.5", "But nobody connects from 224.0.0.5 (multicast (RFC 5771)), so it drops nothing.");
        check("ff02::/32", "so it drops nothing.");
        check("0.0.0.0", "so it drops nothing.");
        let told = shell.check(&["deny", "192.0.2.7", "10.0.0.0/8"], 0, &[]);
        assert!(!told.contains("But"), "{told}");
    });
}

#[test]
fn an_allow_entry_is_not_wide_by_mistake() {
    both("", |shell| {
        shell.check(&["deny", "192.0.2.7", "192.0.2.8"], 0, &[]);
        let told = ["192.0.2.7 is on the allow list", "192.0.2.7 is let in again", "192.0.2.8 is let in again"];
        shell.check(&["allow", "192.0.2.7", "192.0.2.8", "198.51.100.[1-9]"], 0, &told);
        for wide in ["0.0.0.0/0", "192.0.0.0/7", "::/0", "2001:db8::/31"] {
            shell.check(&["allow", wide], 2, &[wide, "is wider than /", "--force"]);
        }
        for wide in ["10.0.0.0/8", "2001:db8::/32"] {
            shell.check(&["allow", wide], 0, &["is on the allow list"]);
        }
        shell.check(&["allow", "192.0.0.0/7", "--force"], 0, &["is on the allow list"]);
        shell.check(&["allow", "192.0.0.0/7"], 0, &["already"]);
        shell.check(
            &["allow", "--remove", "192.0.0.0/7", "192.0.2.8", "192.0.2.99"],
            2,
            &["192.0.2.8 is off", "192.0.2.99: it is not on"],
        );
        let list = shell.check(&["allow"], 0, &["192.0.2.7  (added"]);
        assert!(!list.contains("192.0.2.8") && !list.contains("/7"), "{list}");
    });
}

/// The clock of a machine without a battery, or of one that was off for long: nobody can tell.
#[test]
fn a_clock_that_is_days_from_the_last_commit_releases_nobody_without_a_daemon() {
    let home = Home::with_log();
    let (shell, daemon) = (Shell(&home), home.start());
    shell.check(&["deny", "192.0.2.7", "--for", "1h"], 0, &[]);
    daemon.stop();
    let database = rusqlite::Connection::open(home.path("state/denyd.db")).unwrap();
    let days = "10 * 86400 * 1000000";
    let sql = format!(
        "UPDATE denies SET since = since - {days}, until = until - {days};
         UPDATE notes SET value = CAST(value AS INT) - {days} WHERE name = 'wall'"
    );
    database.execute_batch(&sql).unwrap();
    drop(database);
    shell.check(
        &["deny", "192.0.2.8", "--for", "10m"],
        0,
        &["nobody is released by such a clock", "192.0.2.8 is denied"],
    );
    shell.check(&["list"], 0, &["192.0.2.7", "192.0.2.8"]);
    let [one, other] = ["192.0.2.7", "192.0.2.8"].map(|address| home.ask(&["why", address]).unwrap()["until"].clone());
    let left = |until: &serde_json::Value| {
        let until: jiff::Timestamp = until.as_str().unwrap().parse().unwrap();
        until.duration_since(jiff::Timestamp::now()).as_secs()
    };
    assert!(left(&one) < 0 && (500..=600).contains(&left(&other)), "{one} {other}");
}

/// Whoever allowed it so relies on that, also when the configuration drops it.
#[test]
fn what_the_configuration_allows_too_is_kept() {
    let home =
        Home::new("[decide]\nallow = [\"192.0.2.7\"]\n[[input]]\nkind = \"syslog\"\nlisten = \"unix://DIR/log\"\n");
    let shell = Shell(&home);
    let daemon = home.start();
    shell.check(&["allow", "192.0.2.7"], 0, &["192.0.2.7 is on the allow list, also in the configuration, and will"]);
    let config = std::fs::read_to_string(home.path("config")).unwrap();
    std::fs::write(home.path("config"), config.replace("[\"192.0.2.7\"]", "[]")).unwrap();
    shell.check(&["reload"], 0, &[]);
    shell.check(&["deny", "192.0.2.7"], 2, &["192.0.2.7 is on the allow list"]);
    daemon.stop();
    std::fs::write(home.path("config"), config).unwrap();
    shell.check(&["allow", "--remove", "192.0.2.7"], 0, &["but still by the configuration"]);
    shell.check(&["allow", "--remove", "192.0.2.7"], 2, &["it is in the configuration; take it out there"]);
}

#[test]
fn host_names_are_allowed_and_each_is_taken_off_by_itself() {
    // `denyd allow list` is a mistake, and no host.
    let output = Home::with_log().denyd(&["allow", "list"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("`list` is one word"), "{said}");
    both("", |shell| {
        let told = ["home.example.org is on the allow list and what it resolves to will not be denied"];
        shell.check(&["allow", "--force", "home.example.org", "Foo"], 0, &told);
        shell.check(&["allow", "HOME.example.org"], 0, &["is on the allow list already"]);
        shell.check(&["allow", "home.example.org.", "a_b"], 2, &["not a host name"]);
        shell.check(&["allow", "--remove", "foo"], 0, &["foo is off the allow list"]);
        let list = shell.check(&["allow"], 0, &["home.example.org  (added by denyd allow)  "]);
        assert!(!list.contains("Foo"), "{list}");
    });
}

#[test]
fn a_user_is_forgiven_where_nobody_else_was_tried() {
    let al = |address| [("al", address); 11];
    let tried = [&al("192.0.2.1")[..], &al("192.0.2.2"), &[("bob", "192.0.2.2")], &[("bob", "192.0.2.3")]].concat();
    both(&failures(&tried), |shell| {
        shell.check(&["why", "192.0.2.1", "192.0.2.2"], 0, &["class valid (11, where 10 are tolerated)"]);
        shell.check(&["forgive", "--user", "nobody"], 1, &["There was nothing to forgive."]);
        let told = shell.check(&["forgive", "--user", "al"], 0, &["192.0.2.1 is let in", "192.0.2.2 stays denied"]);
        assert!(!told.contains("192.0.2.3"), "{told}");
        shell.check(&["why", "192.0.2.1"], 1, &[]);
        shell.check(&["why", "192.0.2.2"], 0, &[]);
    });
}

#[test]
fn off_takes_away_what_was_written_wherever_that_was() {
    let home = Home::with_log();
    let config = std::fs::read_to_string(home.path("config")).unwrap();
    let foreign = "# mine\nALL: 192.0.2.77\n";
    let read = |name: &str| std::fs::read_to_string(home.path(name)).unwrap();
    // The file is another one by the second start, which cannot reach the first one: what is in there is ours all the same.
    std::fs::create_dir(home.path("dir")).unwrap();
    for (name, address) in [("dir/one.deny", "192.0.2.7"), ("two.deny", "192.0.2.8")] {
        if name == "two.deny" {
            std::fs::rename(home.path("dir"), home.path("moved")).unwrap();
            std::fs::write(home.path("dir"), "").unwrap();
        }
        std::fs::write(home.path(name), foreign).unwrap();
        let path = home.path(name);
        let hosts_deny = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = {path:?}");
        std::fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]", &hosts_deny)).unwrap();
        let daemon = home.start();
        Shell(&home).check(&["deny", address], 0, &[]);
        kit::until("it is written", || read(name).contains(&format!("sshd: {address}\n")).then_some(()));
        let pid = daemon.pid();
        let running = format!("the daemon runs (process {pid})");
        Shell(&home).check(&["off"], 2, &[&running, "stop it first", "Nothing was taken away"]);
        assert!(read(name).contains(address));
        daemon.stop();
    }
    std::fs::remove_file(home.path("dir")).unwrap();
    std::fs::rename(home.path("moved"), home.path("dir")).unwrap();
    let shell = Shell(&home);
    shell.check(&["off"], 0, &["one.deny: nothing of denyd is there now", "two.deny: nothing of denyd is there now"]);
    assert_eq!([read("dir/one.deny"), read("two.deny")], [foreign, foreign]);
    shell.check(&["off"], 0, &["Who is denied is kept"]);
    shell.check(&["why", "192.0.2.7", "192.0.2.8"], 0, &[]);
    let daemon = home.start();
    kit::until("they are denied again", || read("two.deny").contains("sshd: 192.0.2.7\n").then_some(()));
    daemon.stop();
    // And for good: what is not denyd's stays in its directory.
    std::fs::write(home.path("state/mine"), "").unwrap();
    shell.check(&["off", "--forget"], 0, &["two.deny: nothing of denyd is there now", "Who was denied is forgotten"]);
    assert_eq!(read("two.deny"), foreign);
    let left = || home.path("state").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left(), ["mine"]);
    shell.check(&["why", "192.0.2.7"], 2, &["there is no state"]);
    std::fs::remove_file(home.path("state/mine")).unwrap();
    shell.check(&["off", "--forget"], 0, &["There is no database"]);
    // Where the database was lost, what the configuration names is looked at.
    let stamped = "# DenyHosts: Sat Nov 21 23:38:26 2026 | sshd: 192.0.2.8\nsshd: 192.0.2.8\n";
    std::fs::write(home.path("two.deny"), format!("{foreign}{stamped}")).unwrap();
    std::fs::create_dir(home.path("state")).unwrap();
    std::fs::write(home.path("state/denyd.db"), "this is no database\n".repeat(500)).unwrap();
    shell.check(&["off"], 2, &["the database is corrupt"]);
    shell.check(&["off", "--forget"], 0, &["two.deny: nothing of denyd is there now"]);
    assert_eq!(read("two.deny"), foreign);
    assert!(!home.path("state").exists());
    shell.check(&["off", "--forget"], 0, &["There is no database"]);
}

#[test]
fn a_list_shows_some_of_its_rows() {
    let tried = [("root", "192.0.2.1"), ("root", "192.0.2.1"), ("al", "192.0.2.2"), ("root", "198.51.100.1")];
    let login = "Nov 28 23:00:30 b sshd[9]: Accepted publickey for al from 192.0.2.2 port 41 ssh2: RSA SHA256:x\n";
    both(&(failures(&tried) + login), |shell| {
        shell.check(&["deny", "192.0.2.9", "203.0.113.1"], 0, &[]);
        let check = |command: &[&str], want: &[&str]| {
            let said = shell.check(&[&["list"], command].concat(), 0, &[]);
            let rows: Vec<_> = said.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
            assert_eq!(rows, want, "{command:?}: {said}");
        };
        check(&[], &["192.0.2.1", "192.0.2.9", "203.0.113.1"]);
        check(&["hosts", "192.0.2.0/24"], &["192.0.2.1", "192.0.2.9"]);
        check(&["--by", "operator"], &["192.0.2.9", "203.0.113.1"]);
        check(&["--by", "operator", "--limit", "1"], &["192.0.2.9"]);
        check(&["--class", "root"], &["192.0.2.1"]);
        check(&["addresses", "192.0.2.0/24"], &["192.0.2.1", "192.0.2.2"]);
        check(&["addresses", "--class", "root"], &["192.0.2.1", "198.51.100.1"]);
        check(&["users", "--limit", "1"], &["root"]);
        shell.check(&["list", "hosts", "--class", "valid"], 0, &["Nobody is denied"]);
        shell.check(&["list", "users", "--class", "root"], 2, &["see denyd list addresses"]);
        shell.check(&["list", "addresses", "--by", "policy"], 2, &["--by is for denies"]);
        shell.check(&["list", "--class", "toor"], 2, &["the classes are invalid, valid, root"]);
        shell.check(&["deny", "192.0.2.2"], 0, &[]);
        let row = shell.check(&["list", "hosts", "192.0.2.2", "--json"], 0, &[]);
        assert!(row.contains(r#""last_login":""#), "{row}");
    });
}

#[test]
fn history_is_of_what_lies_in_a_prefix_and_of_the_allow_list() {
    both("", |shell| {
        shell.check(&["deny", "192.0.2.1", "192.0.2.0/25", "192.0.2.128/25", "192.0.0.0/16", "198.51.100.1"], 0, &[]);
        shell.check(&["allow", "198.51.100.1", "198.51.100.2"], 0, &[]);
        shell.check(&["allow", "--remove", "198.51.100.2"], 0, &[]);
        let who = |prefix: &str| {
            let said = shell.check(&["history", prefix, "--json"], 0, &[]);
            let row = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["prefix"].as_str().unwrap().to_owned()
            };
            said.lines().filter(|line| line.starts_with('{')).map(row).collect::<Vec<_>>()
        };
        assert_eq!(who("192.0.2.0/24"), ["192.0.2.1", "192.0.2.0/25", "192.0.2.128/25"]);
        assert_eq!(who("192.0.2.0/25"), ["192.0.2.1", "192.0.2.0/25"]);
        assert_eq!(who("192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(who("0.0.0.0/0").len(), 6, "with the release of the one that was allowed");
        let said = shell.check(&["history"], 0, &[]);
        let of = |what: &str| said.lines().filter(|line| line.contains(what)).count();
        assert_eq!((of("it is on the allow list"), of("no more: it is off the allow list")), (2, 1), "{said}");
    });
}

#[test]
fn decisions_are_watched_as_they_are_made() {
    let home = Home::with_log();
    let daemon = home.start();
    let shell = Shell(&home);
    shell.check(&["deny", "192.0.2.1"], 0, &[]);
    let watch = home.denyd(&["watch", "-n", "3"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // It sees what is decided once it watches; nobody says when that is.
    let mut watching = Some(watch);
    let mut number = 0;
    let said = kit::until("it has seen three", || {
        if watching.as_mut()?.try_wait().unwrap().is_none() {
            number += 1;
            shell.check(&["deny", &format!("198.51.100.{number}"), "--because", "a \u{1b}[2J flood"], 0, &[]);
            return None;
        }
        Some(String::from_utf8(watching.take()?.wait_with_output().unwrap().stdout).unwrap())
    });
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for line in lines {
        assert!(line.contains(" denied 198.51.100.") && line.contains(r"an operator: a \u{1b}[2J flood"), "{line}");
    }
    daemon.stop();
    shell.check(&["watch"], 2, &["no daemon answers"]);
}

#[test]
fn a_scan_without_a_file_is_of_the_configured_inputs() {
    let home = Home::with_log();
    home.append(failures(&[("root", "192.0.2.1"); 2]).as_bytes());
    let log = home.log();
    let shell = Shell(&home);
    shell.check(&["scan"], 0, &[&format!("scans {}", log.display()), "192.0.2.1"]);
    let none = Home::new("[[input]]\nkind = \"syslog\"\nlisten = \"unix-datagram://DIR/log\"\n");
    Shell(&none).check(&["scan"], 2, &["name one: denyd scan FILE"]);
}

#[test]
fn who_tried_whom_and_who_got_in_after_that_is_listed() {
    let tried = [("root", "192.0.2.1"), ("root", "192.0.2.1"), ("al", "192.0.2.1"), ("al", "198.51.100.1")];
    let login = |second: u32, user: &str, address: &str| {
        format!(
            "Nov 28 23:00:{second} b sshd[{second}]: Accepted publickey for {user} from {address} port 41 ssh2: RSA SHA256:x\n"
        )
    };
    // One typo of al is nothing to suspect.
    let logins = [login(30, "root", "192.0.2.1"), login(31, "root", "192.0.2.1"), login(32, "al", "198.51.100.1")];
    both(&(failures(&tried) + &logins.concat()), |shell| {
        let rows = |command: &[&str]| {
            let said = shell.check(&[&["list"], command].concat(), 0, &[]);
            let words = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
            said.lines().skip(1).map(words).collect::<Vec<_>>()
        };
        assert_eq!(rows(&["pairs", "--limit", "1"]), ["root 192.0.2.1 2"]);
        let mut all = rows(&["pairs"]);
        all.sort();
        assert_eq!(all, ["al 192.0.2.1 1", "al 198.51.100.1 1", "root 192.0.2.1 2"]);
        assert_eq!(rows(&["pairs", "198.51.100.0/24"]), ["al 198.51.100.1 1"]);
        // Newest first, of failures and of good logins.
        assert_eq!(rows(&["--user", "al"]), ["al 198.51.100.1 1", "al 192.0.2.1 1"]);
        assert_eq!(rows(&["suspicious", "--user", "root"]), ["192.0.2.1 root 2"]);
        shell.check(&["list", "suspicious", "--user", "al"], 0, &["Nobody has logged in from where"]);
        shell.check(&["list", "hosts", "--user", "al"], 2, &["--user is for denyd list pairs"]);
        shell.check(&["list", "released"], 0, &["No deny has ended by its time."]);
        let row = shell.check(&["list", "pairs", "--user", "al", "--json"], 0, &[]);
        assert!(row.contains(r#""login":"2026-11-28T23:00:32Z""#) || row.contains(r#""login":"2025-11-28"#), "{row}");
        let row = shell.check(&["list", "users", "--json"], 0, &[]);
        assert!(row.contains(r#""last":"20"#), "{row}");
        assert_eq!(rows(&["suspicious"]), ["192.0.2.1 root 2"]);
        let row = shell.check(&["list", "suspicious", "--json"], 0, &[]);
        assert!(row.contains(r#""address":"192.0.2.1""#) && row.contains(r#""logins":2"#), "{row}");
        shell.check(&["list", "suspicious", "198.51.100.0/24"], 0, &["Nobody has logged in from where"]);
        shell.check(&["list", "pairs", "--class", "root"], 2, &["see denyd list hosts"]);
    });
}

/// What bash offers where these words of a command stand, the last of them begun.
fn bash_offers(words: &[&str]) -> Vec<String> {
    let (_, completion, _) = kit::run(&["describe", "denyd.bash"], b"");
    let script = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _denyd denyd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, completion).unwrap();
    let output =
        std::process::Command::new("bash").args(["-c", script, "bash"]).arg(file.path()).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_and_values() {
    let check = |words: &[&str], want: &[&str]| assert_eq!(bash_offers(words), want, "{words:?}");
    check(&["denyd", "for"], &["forgive"]);
    check(&["denyd", "w"], &["why", "watch"]);
    check(&["denyd", "forgive", "--u"], &["--user"]);
    check(&["denyd", "unban", "--u"], &["--user"]);
    check(&["denyd", "list", "ho"], &["hosts"]);
}

/// What packages install: each of it is there and is not empty, and nothing else is printed.
#[test]
fn all_that_packages_have_is_described() {
    let print = |arguments: &[&str]| String::from_utf8(kit::run(&[&["describe"], arguments].concat(), b"").1).unwrap();
    let names = print(&[]);
    for name in names.lines() {
        assert!(print(&[name]).lines().count() > 5, "{name}");
    }
    for name in [
        "denyd.1",
        "denyd-why.1",
        "denyd.toml.5",
        "denyd.toml",
        "denyd.bash",
        "_denyd",
        "denyd.fish",
        "denyhosts.8",
        "daemon-control.8",
    ] {
        assert!(names.lines().any(|one| one == name), "{names}");
    }
    let page = print(&["denyhosts.8"]).replace('\\', "");
    for part in
        ["\n.SH NAME\ndenyhosts - ", "\n.TP\nfB-f FILE, --file=FILEfR\n", "\n.TP\nfB--purge-allfR\nend all denies"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let (status, _, said) = kit::run(&["describe", "denyd.2"], b"");
    assert_eq!(status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&said), "denyd: there is no denyd.2; denyd describe lists what there is\n");
}

#[test]
fn restricted_users_are_found_among_accounts_and_among_the_names_that_were_tried() {
    let tried = |n: u32, user: &str| {
        let (pid, second) = (n % 2 + 1_000 + n, n % 60);
        format!("Nov 28 23:00:{second:02} b sshd[{pid}]: Invalid user {user} from 198.51.100.{n} port {pid}\n")
    };
    let names = ["oracle", "oracle", "#x", "git", "oracle", "git", "a", "root"];
    let log = (1..).zip(names).map(|(n, user)| tried(n, user)).collect::<String>();
    both(&log, |shell| {
        assert_eq!(shell.check(&["restricted", "--from-invalid"], 0, &[]), "oracle\ngit\na\n");
        assert_eq!(shell.check(&["restricted", "--from-invalid", "-n", "1"], 0, &[]), "oracle\n");
        let passwd = shell.0.path("passwd");
        std::fs::write(&passwd, "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/usr/sbin/nologin\n").unwrap();
        let passwd = passwd.to_str().unwrap();
        assert_eq!(shell.check(&["restricted", "--from-passwd", passwd], 0, &[]), "mail\n");
        assert_eq!(
            shell.check(&["restricted", "--from-passwd", passwd, "--from-invalid", "-n", "1"], 0, &[]),
            "mail\noracle\n"
        );
        shell.check(&["restricted"], 2, &["--from-passwd"]);
    });
}

/// One back end that cannot be written keeps no other one from it, and the answer is told before that.
#[test]
fn one_back_end_that_fails_hinders_no_other() {
    if !kit::in_box("verbs::one_back_end_that_fails_hinders_no_other") {
        return;
    }
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    // Its directory is not there.
    let two = "deny.backends = [\"hosts.deny\", \"nftables\"]\ndeny.hosts_deny.path = \"/nowhere/hosts.deny\"";
    home.start().stop();
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]", two)).unwrap();
    let said = |words: &[&str]| {
        let output = home.denyd(words).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), text.concat())
    };
    let sets = || String::from_utf8(Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout).unwrap();
    let (code, text) = said(&["deny", "192.0.2.6", "192.0.2.7"]);
    assert!(code == Some(2) && text.starts_with("192.0.2.6 is denied for ever"), "{text}");
    assert!(
        text.contains("it is noted, and not enforced everywhere: ") && text.contains("/nowhere/hosts.deny"),
        "{text}"
    );
    assert!(sets().contains("192.0.2.6"));
    let (code, text) = said(&["forgive", "192.0.2.6"]);
    assert!(code == Some(2) && text.contains("192.0.2.6 is denied by denyd no more"), "{text}");
    assert!(!sets().contains("192.0.2.6"));
}
