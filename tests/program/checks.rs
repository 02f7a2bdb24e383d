//! What `check` takes, `run` takes.

use std::net::UdpSocket;

/// The system gives one of two sockets that are in each other's way.
#[test]
fn two_listeners_may_be_in_each_others_way() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("denyd.toml");
    let check = |other: &str| {
        let input = |address: &str| format!("[[input]]\nkind = \"syslog\"\nlisten = \"udp://{address}:{port}\"\n");
        let (one, two) = (input("127.0.0.1"), input(other) + "from = [\"192.0.2.0/24\"]\n");
        let socket = format!("control_socket = \"{}\"\n", dir.path().join("control").display());
        std::fs::write(&file, format!("{socket}[deny]\nbackends = [\"stdout\"]\n{one}{two}")).unwrap();
        let (status, out, err) = kit::run(&["--config", file.to_str().unwrap(), "check"], b"");
        (status.code(), String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
    };
    let (code, said) = check("127.0.0.2");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("0.0.0.0");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
}

/// More than the first record is looked at.
#[test]
fn an_input_that_is_not_understood_is_told() {
    let check_as = |keys: &str, log: &str, want: i32, said: &str| {
        let home = kit::Home::new(&format!("[[input]]\nkind = \"file\"\npath = \"DIR/log\"\n{keys}\n"));
        std::fs::write(home.log(), log).unwrap();
        let output = home.denyd(&["check"]).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(want) && out.contains(said), "{out}");
    };
    let check = |log: &str, want: i32, said: &str| check_as("", log, want, said);
    let cron = "Nov 21 23:26:32 b cron[9]: x\n";
    check("", 0, "it is empty");
    check(cron, 0, "0 of its first 1 are sshd's");
    check(
        &format!("{cron}Nov 21 23:26:32 b sshd[9]: Connection closed by 192.0.2.7 port 22\n"),
        0,
        "1 of its first 2 are",
    );
    check(&format!("{cron}?? h sshd[9] \x1b\n"), 1, "may have written this: ?? h sshd[9] \\x1b");
    let failed = "Failed password for root from 192.0.2.7 port 22 ssh2\n";
    let good = &format!("Nov 21 23:26:32 b sshd[9]: {failed}");
    check_as("identifier = \"sshd\"", good, 1, "leave `identifier` away");
    check_as("identifier = \"dropbear\"", "Invalid user bob from 192.0.2.7 port 22\n", 1, "let `identifier` be sshd");
    check_as("identifier = \"sshd\"", failed, 0, "1 of its first 1 are sshd's");
    check(failed, 1, "`journalctl -o cat`");
    check(&format!("Sat 2026-11-21 23:26:32.123456 UTC [s=1;i=2]\n    MESSAGE={failed}"), 1, "`journalctl -o verbose`");
    check(
        "{\n\t\"MESSAGE\" : \"Failed password for root from 192.0.2.7 port 22 ssh2\"\n}\n",
        1,
        "`journalctl -o json-pretty`",
    );
}

#[test]
fn a_host_name_is_asked_for() {
    let home = kit::Home::new("decide.allow = [\"localhost\"]\n");
    let output = home.denyd(&["check"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let has = |begin: &str, end: &str| said.lines().any(|line| line.starts_with(begin) && line.contains(end));
    assert!(has("ok   allow localhost: resolves to ", "127.0.0.1"), "{said}");
}
