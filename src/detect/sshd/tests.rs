//! The grammar against OpenSSH's messages.

use super::*;
use crate::detect::address::Peer;

/// What a message says, be it that no shape fits it.
fn said(message: &[u8], truncated: bool) -> Event<'_> {
    parse(message, truncated).unwrap_or(Event::new(Kind::Unknown, "sshd.unknown"))
}

/// `Kind address port user`, as `message` says it.
#[track_caller]
fn check_as(truncated: bool, message: &str, expected: &str) {
    let event = said(message.as_bytes(), truncated);
    let address = event.peer.address().map_or("-".to_owned(), |address| address.to_string());
    let port = event.port.map_or("-".to_owned(), |port| port.to_string());
    let user = event.user.map_or("-".into(), |user| String::from_utf8_lossy(user));
    assert_eq!(format!("{:?} {address} {port} {user}", event.kind), expected, "{message}");
}

#[track_caller]
fn check(message: &str, expected: &str) {
    check_as(false, message, expected);
}

/// Each message of the table says what the table says.
#[test]
fn every_message() {
    let table = include_str!("../../../tests/data/sshd/messages.txt");
    let lines: Vec<_> = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (rows, rest) = lines.as_chunks::<2>();
    assert!(rest.is_empty() && rows.len() > 200, "{} rows", rows.len());
    let wrong = rows.iter().filter_map(|[message, want]| {
        let event = said(message.as_bytes(), false);
        let address = match event.peer {
            Peer::Address(address) => address.to_string(),
            Peer::Name(name) => format!("({})", String::from_utf8_lossy(name)),
            Peer::Unsaid => "-".to_owned(),
        };
        let port = event.port.map_or("-".to_owned(), |port| port.to_string());
        let user = event.user.map_or("-".into(), String::from_utf8_lossy);
        let user = if user.is_empty() { "''".into() } else { user };
        let account = format!("{:?}", event.account).to_lowercase();
        let found = format!("= {:?} {address} {port} {account} {user}", event.kind);
        (found != *want).then(|| format!("{message}\n  found {found}\n  not   {want}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn believes_no_address_that_may_be_cut() {
    let cut = |message: &str, expected: &str| check_as(true, message, expected);
    cut("Connection closed by 203.0.113.4", "Unknown - - -");
    cut("Connection closed by 203.0.113.45 port 2", "Unknown - - -");
    cut("Received disconnect from 203.0.113.4", "Unknown - - -");
    cut("Received disconnect from 203.0.113.45 port 22:11: Bye", "Note 203.0.113.45 22 -");
    cut("Connection from 203.0.113.4", "Unknown - - -");
    cut("ROOT LOGIN REFUSED FROM 203.0.113.4", "Unknown - - -");
    cut(
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.4",
        "Note - - -",
    );
}

#[test]
fn a_method_that_names_an_address_is_not_believed() {
    // What a client of an sshd without privilege separation may call a method.
    for method in [
        "gssapi-with-mic for root from 203.0.113.9 port 1 ssh2: x",
        "publickey for invalid user y from 203.0.113.9 port 1 ssh2: x",
        "rhosts for root from 203.0.113.9 port 1 ruser x",
        "password for root from 203.0.113.9 port 1 ssh2",
    ] {
        for whom in ["root", "invalid user x"] {
            let line = format!("Failed {method} for {whom} from 192.0.2.7 port 22 ssh2");
            let found = said(line.as_bytes(), false).peer.address().map(|address| address.to_string());
            assert!(found.is_none_or(|address| address == "192.0.2.7"), "{line}");
        }
        // sshd cuts what is longer than 1023 bytes.
        let (word, rest) = method.split_once(' ').unwrap();
        for cut in [format!("Failed {word}{} {rest}", "x".repeat(1000)), format!("Failed {method}{}", "x".repeat(1000))]
        {
            assert_eq!(said(cut.as_bytes(), false).peer.address(), None, "{cut}");
        }
    }
}

#[test]
fn a_connection_that_broke_had_begun_a_login() {
    let broke = "ssh_dispatch_run_fatal: Connection from";
    let error = "message authentication code incorrect [preauth]";
    check(&format!("{broke} authenticating user root 192.0.2.7 port 22: {error}"), "Begun 192.0.2.7 22 root");
    check(
        &format!("{broke} invalid user a 203.0.113.9 port 1 192.0.2.7 port 22: {error}"),
        "Begun 192.0.2.7 22 a 203.0.113.9 port 1",
    );
    check(&format!("{broke} user al 192.0.2.7 port 22: {error}"), "Note 192.0.2.7 22 al");
    check(&format!("{broke} 192.0.2.7 port 22: {error}"), "Probe 192.0.2.7 22 -");
    check(&format!("{broke} 192.0.2.7: {error}"), "Probe 192.0.2.7 - -");
    check("Connection from authenticating user root 192.0.2.7 port 22 timed out [preauth]", "Begun 192.0.2.7 22 root");
    check("Connection from user al 192.0.2.7 port 22 timed out", "Note 192.0.2.7 22 al");
    check("Timeout, client not responding from user al 192.0.2.7 port 22", "Note 192.0.2.7 22 al");
}

#[test]
fn a_pam_error_may_hold_a_for_of_its_own() {
    let error = "PAM: Have exhausted maximum number of retries for service";
    check(&format!("error: {error} for root from 192.0.2.7"), "PamTried 192.0.2.7 - root");
    check(&format!("error: {error} for illegal user bob from 192.0.2.7"), "PamTried 192.0.2.7 - bob");
    check("error: PAM: Authentication failure for service for x from 192.0.2.7", "PamTried 192.0.2.7 - service for x");
}

#[test]
fn a_long_name_that_names_an_address_is_not_believed() {
    let line = |name: &str, end: &str| format!("pam_krb5(sshd:auth): authentication failure; logname={name}{end}");
    let end = " uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7";
    check(&line("al", end), "Pam 192.0.2.7 - -");
    check(&line("x rhost=203.0.113.9", end), "Pam 192.0.2.7 - -");
    // The name's rest was cut, and with it the true `rhost=`.
    let name = format!("{} rhost=203.0.113.9", "x".repeat(1000));
    check(&line(&name, ""), "Note - - -");
    check_as(true, &line("x rhost=203.0.113.9", " xxxx"), "Note - - -");
}
