//! What we say that libwrap answers, against what it does answer: `tcpdmatch -d`.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use denyd::deny::hosts_deny::libwrap::{Name, Tables};
use kit::{program, property, skip};

use crate::Dir;

/// Whether libwrap refuses, with the files of a directory; `None` without `tcpdmatch`.
fn tcpdmatch(dir: &Path, address: IpAddr) -> Option<bool> {
    let program = program("tcpdmatch")?;
    let output = Command::new(program).args(["-d", "sshd", &address.to_string()]).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let access = text.lines().find_map(|line| line.strip_prefix("access:")).unwrap_or_else(|| panic!("{output:?}"));
    Some(access.trim() == "denied")
}

/// Asks both, of files with these texts; `DIR` in them is the directory, and `list` a file in it.
fn check(dir: &Path, allow: &str, deny: &str, list: &str, address: &str) -> bool {
    let here = dir.to_str().unwrap();
    std::fs::write(dir.join("hosts.allow"), allow.replace("DIR", here)).unwrap();
    std::fs::write(dir.join("hosts.deny"), deny.replace("DIR", here)).unwrap();
    std::fs::write(dir.join("list"), list).unwrap();
    let address: IpAddr = address.parse().unwrap();
    let Some(want) = tcpdmatch(dir, address) else { return false };
    let answer = Tables::of(&dir.join("hosts.deny")).answer("sshd", address, Name::None);
    assert_eq!(answer.refused, want, "{address}\n{answer:?}\n--- allow\n{allow}\n--- deny\n{deny}\n--- list\n{list}");
    true
}

#[test]
fn we_answer_what_libwrap_answers() {
    let dir = Dir::new();
    let a = "203.0.113.5";
    for (allow, deny, list) in [
        ("", "", ""),
        ("", "sshd: 203.0.113.5\n", ""),
        ("", "sshd: 203.0.113.5", ""),
        ("", "sshd:203.0.113.5\r\n", ""),
        ("", "# sshd: 203.0.113.5\n", ""),
        ("", " # sshd: 203.0.113.5\n", ""),
        ("", "ALL: 203.0.113.5 # DenyHosts: Sat Nov 21 23:38:26 2026\n", ""),
        ("", "vsftpd: 203.0.113.5\n", ""),
        ("", "vsftpd, SSHD: 203.0.113.5\n", ""),
        ("", "ALL EXCEPT sshd: ALL\n", ""),
        ("", "ALL EXCEPT vsftpd: ALL\n", ""),
        ("", "203.0.113.5\n", ""),
        ("sshd: 203.0.113.5\n", "ALL: 203.0.113.5\n", ""),
        ("sshd: 203.0.113.5 : deny\n", "", ""),
        ("sshd: 203.0.113.5 : DENY\n", "", ""),
        ("sshd: 203.0.113.5 : nonsense\n", "", ""),
        ("sshd: 203.0.113.5 :\n", "", ""),
        ("sshd : DIR/list : deny\nsshd : ALL : allow\n", "", a),
        ("sshd : DIR/list : deny\nsshd : ALL : allow\n", "", "203.0.113.6"),
        ("sshd: ALL EXCEPT DIR/list\n", "", a),
        ("sshd: ALL EXCEPT DIR/list\n", "sshd: ALL\n", a),
        ("", "sshd: 203.0.113.5 : allow\n", ""),
        ("", "sshd: DIR/list\n", "# office 203.0.113.5 never block\n"),
        ("", "sshd: DIR/list\n", "# DenyHosts: Sat Nov 21 23:38:26 2026 | 203.0.113.5\n"),
        ("", "sshd: DIR/list\n", "203.0.113.0/24 EXCEPT 203.0.113.5\n"),
        ("", "sshd: DIR/list\n", "203.0.113.5,203.0.113.6\n"),
        ("", "sshd: DIR/list\n", "203.0.113.5"),
        ("", "sshd: DIR/list\n", "203.0.113."),
        ("", "sshd: DIR/list\n", "ALL"),
        ("", "sshd: DIR/none\n", ""),
        ("", "sshd: DIR/list EXCEPT 203.0.113.5\n", a),
        ("", "sshd: 203.0.113.0/24 EXCEPT 203.0.113.5\n", ""),
        ("", "sshd: 203.0.113.0/24 EXCEPT 203.0.113.0/28 EXCEPT 203.0.113.5\n", ""),
        ("", "sshd: EXCEPT 203.0.113.5\n", ""),
        ("", "sshd: ALL EXCEPT\n", ""),
        ("", "sshd: 203.0.113.0/255.255.255.0\n", ""),
        ("", "sshd: 203.0.113.5/255.255.255.0\n", ""),
        ("", "sshd: 203.0.113.5/255.255.255.255\n", ""),
        ("", "sshd: 203.0.113.5/32\n", ""),
        ("", "sshd: 203.0.113.5/24\n", ""),
        ("", "sshd: 203.0.113.0/33\n", ""),
        ("", "sshd: 0.0.0.0/0\n", ""),
        ("", "sshd: 0.0.0.0/0.0.0.0\n", ""),
        ("", "sshd: 203.0.113.\n", ""),
        ("", "sshd: 203.0.11\n", ""),
        ("", "sshd: 203.0.113.*\n", ""),
        ("", "sshd: 203.0.11?.5\n", ""),
        ("", "sshd: *.5\n", ""),
        ("", "sshd: .5\n", ""),
        ("", "sshd: .113.5\n", ""),
        ("", "sshd: UNKNOWN\n", ""),
        ("", "sshd: KNOWN\n", ""),
        ("", "sshd: LOCAL\n", ""),
        ("", "sshd: PARANOID\n", ""),
        ("", "sshd: ALL@203.0.113.5\n", ""),
        ("", "sshd: bob@203.0.113.5\n", ""),
        ("", "sshd: UNKNOWN@203.0.113.5\n", ""),
        ("", "sshd@ALL: 203.0.113.5\n", ""),
        ("", "sshd@192.0.2.1: 203.0.113.5\n", ""),
        ("", "sshd: 198.51.100.1, \\\n  203.0.113.5\n", ""),
        ("", "# a comment \\\nsshd: 203.0.113.5\n", ""),
        ("", "sshd: [2001:db8::5]\n", ""),
        ("", "sshd: example.org, .example.org\n", ""),
    ] {
        if !check(&dir.0, allow, deny, list, a) {
            return skip("libwrap::we_answer_what_libwrap_answers", "no tcpdmatch");
        }
    }
    for (deny, list) in [
        ("sshd: [2001:db8::5]\n", ""),
        ("sshd: [2001:db8:0::5]\n", ""),
        ("sshd: 2001:db8::5\n", ""),
        ("sshd: [2001:db8::]/64\n", ""),
        ("sshd: [2001:db8::1]/64\n", ""),
        ("sshd: [2001:db8::]/129\n", ""),
        ("sshd: [2001:db8:0:1::]/64\n", ""),
        ("sshd: [::]/0\n", ""),
        ("sshd: [2001:db8::5] : deny\n", ""),
        ("sshd: DIR/list\n", "2001:db8::5\n"),
        ("sshd: DIR/list\n", "2001:DB8:0::5\n"),
        ("sshd: DIR/list\n", "[2001:db8::5]\n"),
        ("sshd: DIR/list\n", "2001:db8::/64\n"),
        ("sshd: DIR/list\n", "[2001:db8::]/64\n"),
        ("sshd: 2001.\n", ""),
        ("sshd: ALL EXCEPT [2001:db8::5]\n", ""),
        ("sshd: 0.0.0.0/0\n", ""),
    ] {
        check(&dir.0, "", deny, list, "2001:db8::5");
    }
}

/// Tables of words that each mean something, put together at random.
#[test]
fn random_tables_are_answered_alike() {
    const DAEMONS: &[&str] = &["sshd", "ALL", "vsftpd", "EXCEPT", "sshd@ALL"];
    const CLIENTS: &[&str] = &[
        "203.0.113.5",
        "203.0.113.4",
        "203.0.113.0/24",
        "203.0.113.",
        "198.51.100.0/255.255.255.0",
        "[2001:db8::]/64",
        "[2001:db8::5]",
        "2001:db8::5",
        "ALL",
        "EXCEPT",
        "EXCEPT",
        "DIR/list",
        "KNOWN",
        "UNKNOWN",
        "LOCAL",
        "203.*.5",
        "x@203.0.113.5",
        "name.example.org",
        "#",
    ];
    const OPTIONS: &[&str] = &["", "", "", "", ": allow", ": deny", ":", ": wrong", ": severity auth.info"];
    let dir = Dir::new();
    property("libwrap", 100, |random| {
        let random = std::cell::RefCell::new(random);
        let pick = |from: &[&str]| random.borrow_mut().pick(from).to_owned();
        let many = |words: &[&str], by: &str| {
            (0..pick(&["1", "2", "5"]).parse().unwrap()).map(|_| pick(words)).collect::<Vec<_>>().join(by)
        };
        let line = || {
            let by = pick(&[" ", ", ", ",", "\t"]);
            format!("{}{}{} {}\n", many(DAEMONS, &by), pick(&[":", ": ", " : "]), many(CLIENTS, &by), pick(OPTIONS))
        };
        let table = || (0..pick(&["0", "1", "2"]).parse().unwrap()).map(|_| line()).collect::<String>();
        let list = pick(&["", "203.0.113.5 # x\n", "# 203.0.113.9\n2001:db8::5\n", "ALL\n", "203.0.113.0/28\n"]);
        let address = pick(&["203.0.113.5", "203.0.113.200", "198.51.100.1", "2001:db8::5", "2001:db8::6"]);
        if !check(&dir.0, &table(), &table(), &list, &address) {
            skip("libwrap::random_tables_are_answered_alike", "no tcpdmatch");
        }
    });
}
