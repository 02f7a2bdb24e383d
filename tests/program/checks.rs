//! What `check` takes, `run` takes.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

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

/// Root may do all, so what is tried is tried with the rights of the unit.
#[test]
fn root_is_told_what_the_unit_may_not_do() {
    let Some(systemctl) = kit::program("systemctl") else { return kit::skip("the unit's rights", "no systemctl") };
    if !kit::in_box("checks::root_is_told_what_the_unit_may_not_do") {
        return;
    }
    // A service manager that knows a unit, and a program that its user can reach.
    fs::write("/run/systemctl", "#!/bin/sh\nexec cat /run/shown\n").unwrap();
    fs::set_permissions("/run/systemctl", fs::Permissions::from_mode(0o755)).unwrap();
    let bind = Command::new("mount").arg("--bind").arg("/run/systemctl").arg(systemctl).status().unwrap();
    assert!(bind.success());
    fs::copy(kit::program_under_test(), "/run/denyd-here").unwrap();
    fs::create_dir_all("/etc/denyd").unwrap();
    fs::write("/run/secret.log", "").unwrap();
    fs::set_permissions("/run/secret.log", fs::Permissions::from_mode(0o600)).unwrap();
    let inputs = "[[input]]\nkind = \"file\"\npath = \"/run/secret.log\"\n\
                  [[input]]\nkind = \"syslog\"\nlisten = \"udp://0.0.0.0:514\"\nfrom = [\"192.0.2.0/24\"]\n";
    let check = |unit: &str, deny: &str, want: i32, said: &[&str]| {
        fs::write("/run/shown", unit).unwrap();
        fs::write("/etc/denyd/denyd.toml", format!("[deny]\n{deny}\n{inputs}")).unwrap();
        let output = Command::new("/run/denyd-here").arg("check").output().unwrap();
        let out = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        let is_told = said.iter().all(|said| out.contains(said));
        assert!(output.status.code() == Some(want) && is_told, "{unit}\n{deny}\n{out}");
    };
    let all = "backends = [\"nftables\", \"hosts.deny\"]\ncut_connections = true";
    check("LoadState=not-found\n", all, 0, &["ok   follow /run/secret.log", "ok   deny by: nftables"]);
    let unit = |capabilities: &str| {
        format!(
            "LoadState=loaded\nUser=nobody\nGroup=nogroup\nSupplementaryGroups=adm\nProtectSystem=strict\nStateDirectory=denyd\n\
             RuntimeDirectory=denyd\nCapabilityBoundingSet={capabilities}\nAmbientCapabilities={capabilities}\n"
        )
    };
    let tried = "ok   tried: as denyd.service runs denyd, as the user nobody";
    let (log, port) = ("FAIL follow /run/secret.log: ", "FAIL listen on udp://0.0.0.0:514: ");
    let hosts_deny = "FAIL deny by hosts.deny: denyd.service may not write there, by ProtectSystem=strict";
    check(&unit("cap_net_admin"), all, 1, &[tried, log, port, "ok   deny by: nftables", hosts_deny]);
    let root = "LoadState=loaded\nProtectSystem=strict\nReadWritePaths=/etc\nStateDirectory=denyd\nRuntimeDirectory=denyd\n\
                CapabilityBoundingSet=cap_net_admin cap_net_bind_service\nAmbientCapabilities=\n";
    check(root, all, 0, &["as the user root", "ok   listen on udp://0.0.0.0:514"]);
    check(&unit("cap_net_bind_service"), all, 1, &["FAIL deny by", "FAIL cut_connections", "ok   listen on udp://"]);
    fs::set_permissions("/etc/denyd/denyd.toml", fs::Permissions::from_mode(0o600)).unwrap();
    let unread = "with the rights of denyd.service: cannot read /etc/denyd/denyd.toml: Permission denied";
    check(&unit("cap_net_admin"), all, 2, &[unread]);
    check("LoadState=loaded\nUser=no-such-user\n", all, 1, &["FAIL tried: as root, and not", "there is no user"]);
}

/// Whether DenyHosts' files can be kept in the work directory is tried, and nothing is made there.
#[test]
fn the_work_directory_is_tried() {
    let home = kit::Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let dir = home.path("work");
    fs::write(
        home.path("config"),
        config.replacen("[[input]]", &format!("[compat]\nwork_dir = {dir:?}\n[[input]]"), 1),
    )
    .unwrap();
    let check = |want: &str| {
        let output = home.denyd(&["check"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("compat work_dir: ")).unwrap();
        assert!(line.contains(want), "{want}: {line}");
    };
    check("ok   compat work_dir: DenyHosts' files are kept in ");
    assert!(!dir.exists());
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    check("FAIL compat work_dir: somebody else could forgive addresses there: others may write ");
    fs::remove_dir(&dir).unwrap();
    fs::write(&dir, "").unwrap();
    check("is no directory");
}
