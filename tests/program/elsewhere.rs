//! What refuses an address and is not denyd's is said, and removed only where a person asks for that.

use std::fs;

use kit::Home;

/// A home that denies in its own hosts.deny, which begins with these lines, and nothing else is in hosts.allow beside it.
fn home(deny: &str, allow: &str) -> Home {
    let home = Home::with_log();
    let path = home.path("hosts.deny");
    let to = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = {path:?}");
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]", &to)).unwrap();
    fs::write(path, deny).unwrap();
    fs::write(home.path("hosts.allow"), allow).unwrap();
    home
}

/// A command, its exit status, and what it must and must not say.
#[track_caller]
fn check(home: &Home, command: &[&str], code: i32, wants: &[&str], never: &[&str]) {
    let output = home.denyd(command).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    for want in wants {
        assert!(text.contains(want), "{command:?}: no {want:?} in {text}");
    }
    for bad in never {
        assert!(!text.contains(bad), "{command:?}: {bad:?} in {text}");
    }
}

#[test]
fn an_address_that_a_foreign_line_refuses_is_not_called_let_in() {
    let foreign =
        "# DenyHosts: Sat Nov 21 23:38:26 2026 | ALL: 192.0.2.77\nALL: 192.0.2.77\nsshd: 192.0.2.78, 192.0.2.79\n";
    let home = home(foreign, "");
    let daemon = home.start();
    let read = || fs::read_to_string(home.path("hosts.deny")).unwrap();
    let all_the_same = "It is refused all the same, by";
    check(&home, &["why", "192.0.2.77"], 0, &["192.0.2.77 is not denied", all_the_same, "line 2 of "], &[]);
    check(&home, &["why", "192.0.2.80"], 1, &["192.0.2.80 is not denied"], &[all_the_same]);
    let row = home.ask(&["why", "192.0.2.79"]).unwrap();
    assert_eq!(row["elsewhere"][0]["text"], "sshd: 192.0.2.78, 192.0.2.79");
    check(&home, &["forgive", "192.0.2.77"], 1, &["nothing to forgive", "still refused by line 2 of "], &["is let in"]);
    check(&home, &["deny", "192.0.2.77", "192.0.2.90"], 0, &[], &[]);
    check(&home, &["forgive", "192.0.2.77"], 0, &["denied by denyd no more", "--all-of-it"], &["is let in"]);
    // One of ours goes by itself.
    check(&home, &["forgive", "192.0.2.90"], 0, &["192.0.2.90 is let in again"], &["still refused"]);
    assert_eq!(read(), foreign, "nobody asked for it to be removed");
    check(&home, &["allow", "192.0.2.78"], 0, &["192.0.2.78 is still refused by line 3 of "], &[]);
    let more = "not removed: it names more than 192.0.2.78";
    check(&home, &["forgive", "192.0.2.78", "--all-of-it"], 1, &["still refused by line 3", more], &[]);
    let removed = "removed; the file as it was: ";
    check(&home, &["forgive", "192.0.2.77", "--all-of-it"], 0, &["still refused by line 2", removed], &[]);
    assert_eq!(read(), "sshd: 192.0.2.78, 192.0.2.79\n");
    assert_eq!(fs::read_to_string(home.path("hosts.deny.purgeip.bak")).unwrap(), foreign);
    check(&home, &["why", "192.0.2.77"], 1, &[], &[all_the_same]);
    daemon.stop();
}

/// What is removed was shown, and what still refuses is named, however many lines there are.
#[test]
fn all_of_it_removes_what_was_shown_until_nothing_refuses() {
    let home = home("sshd: 192.0.2.1\nsmtp: 192.0.2.1\nALL: 192.0.2.1\nsshd: [2001:db8::]/64\n", "");
    let daemon = home.start();
    let read = || fs::read_to_string(home.path("hosts.deny")).unwrap();
    let removed = ["refused by line 1 of ", "refused by line 2 of ", "ALL: 192.0.2.1", "removed; the file as it was: "];
    check(&home, &["forgive", "192.0.2.1", "--all-of-it"], 0, &removed, &["smtp", "not removed"]);
    assert_eq!(read(), "smtp: 192.0.2.1\nsshd: [2001:db8::]/64\n");
    // A network, as IPv6 is denied.
    check(&home, &["why", "2001:db8::/64"], 0, &["It is refused all the same, by", "line 2 of "], &[]);
    check(&home, &["forgive", "2001:db8::/64", "--all-of-it"], 0, &["refused by line 2 of ", "removed"], &[]);
    assert_eq!(read(), "smtp: 192.0.2.1\n");
    // Two lines, of which one stays: it is named, and the status says so.
    fs::write(home.path("hosts.deny"), "sshd: 192.0.2.1, 192.0.2.200\nvsftpd: 192.0.2.1\nsshd: 192.0.2.1\n").unwrap();
    let more = ["not removed: it names more than 192.0.2.1"];
    check(&home, &["forgive", "192.0.2.1", "--all-of-it"], 1, &more, &["removed; the file"]);
    assert!(read().starts_with("sshd: 192.0.2.1, 192.0.2.200\nvsftpd: 192.0.2.1\nsshd: 192.0.2.1\n"));
    daemon.stop();
}

/// Many are looked at at once, and whom a line of denyd's own refuses yet is waited for.
#[test]
fn however_many_are_let_in_each_is_looked_at() {
    let hosts: Vec<String> = (1..=25).map(|host| format!("203.0.113.{host}")).collect();
    let foreign: String = hosts.iter().map(|host| format!("ALL: {host}\n")).collect();
    let home = home(&foreign, "");
    let daemon = home.start();
    let mut deny = vec!["deny"];
    deny.extend(hosts.iter().map(String::as_str));
    check(&home, &deny, 0, &[], &[]);
    let last = "203.0.113.25 is denied by denyd no more";
    let began = std::time::Instant::now();
    check(&home, &["forgive", "--all"], 0, &[last, "203.0.113.25 is still refused by line 25"], &["is let in again"]);
    println!("{:?}", began.elapsed()); // 43 s once
    fs::write(home.path("hosts.deny"), "").unwrap();
    check(&home, &["deny", "192.0.2.0/24"], 0, &[], &[]);
    check(&home, &["allow", "192.0.2.7"], 0, &["192.0.2.7 is on the allow list"], &["still refused", "--all-of-it"]);
    daemon.stop();
}

/// By a rule that may not be meant nobody is said to be refused.
#[test]
fn what_depends_on_a_name_is_said_to() {
    let home = home("ALL: PARANOID\n", "");
    let daemon = home.start();
    let sure = ["It is refused", "is still refused", "--all-of-it"];
    check(&home, &["why", "192.0.2.77"], 1, &["It may be refused all the same, by", "if the name"], &sure);
    check(&home, &["deny", "192.0.2.77"], 0, &[], &[]);
    check(&home, &["forgive", "192.0.2.77"], 0, &["192.0.2.77 may still be refused by line 1 of "], &sure);
    daemon.stop();
}

#[test]
fn whom_hosts_allow_lets_in_is_named() {
    let home = home("", "ALL: 192.0.2.5\nsshd: 198.51.100.7\n");
    let config = fs::read_to_string(home.path("config")).unwrap();
    let config = config.replace("[\"hosts.deny\"]", "[\"hosts.deny\", \"nftables\"]");
    fs::write(home.path("config"), config.clone() + "\n[decide]\nallow = [\"198.51.100.0/24\"]\n").unwrap();
    let output = home.denyd(&["check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("look line 1 of ") && text.contains("denyd allow 192.0.2.5"), "{text}");
    assert!(!text.contains("line 2 of "), "it is allowed: {text}");
}
