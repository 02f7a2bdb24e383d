use super::*;

/// A directory like `/proc`: a row a process, `PID PARENT NAME TERMINAL BEGAN AUDIT SCOPE`.
fn processes(rows: &str) -> (tempfile::TempDir, Processes) {
    let dir = tempfile::tempdir().expect("a directory");
    for row in rows.lines() {
        let words: Vec<_> = row.split_whitespace().collect();
        let [pid, parent, name, terminal, began, audit, scope] = words[..] else { panic!("{row}") };
        let own = dir.path().join(pid);
        fs::create_dir(&own).expect("a directory");
        let stat = format!("{pid} ({name}) S {parent} 1 1 {terminal} -1 0 1 1 1 1 1 1 1 1 20 0 1 0 {began} 1 1");
        fs::write(own.join("stat"), stat).expect("a file");
        let audit = if audit == "-" { UNSET.to_string() } else { audit.to_owned() };
        fs::write(own.join("sessionid"), audit).expect("a file");
        let scope = if scope == "-" { "/system.slice/ssh.service".to_owned() } else { format!("/user.slice/{scope}") };
        fs::write(own.join("cgroup"), format!("1:name=systemd:{scope}\n0::{scope}\n")).expect("a file");
    }
    let processes = Processes(dir.path().to_owned(), dir.path().to_owned());
    (dir, processes)
}

/// Asks as process 9, of an order at 1000 ticks by who was there then. logind knows a session, `c9`, which is from there.
fn check_from(from: &str, rows: &str, there: &[Session], expected: Result<(), &str>) {
    let (dir, processes) = processes(rows);
    fs::write(dir.path().join("c9"), format!("UID=0\nREMOTE=1\nREMOTE_HOST={from}\n")).expect("a file");
    let before = Before { at: Duration::from_secs(10), sessions: there.iter().cloned().collect() };
    let got = processes.newcomer(9, &before, |from| from == IpAddr::from([192, 0, 2, 1]));
    match (&got, expected) {
        (Ok(()), Ok(())) => {}
        (Err(got), Err(want)) if got.contains(want) => {}
        _ => panic!("{got:?}, not {expected:?}, of\n{rows}"),
    }
}

fn check(rows: &str, there: &[Session], expected: Result<(), &str>) {
    check_from("192.0.2.7", rows, there, expected);
}

#[test]
fn a_login_from_this_machine_itself_shows_nothing() {
    let rows = "5 1 sshd 0 1001 7 session-c9.scope\n9 5 denyd 34816 2000 7 session-c9.scope";
    check(rows, &[], Ok(()));
    for from in ["127.0.0.1", "::1", "192.0.2.1", "\"::ffff:192.0.2.1\""] {
        check_from(from, rows, &[], Err("from this machine itself"));
    }
    // cron and run0 begin sessions of their own. A name is somebody's word, and tells nothing.
    check("5 1 cron 0 1001 7 session-c9.scope\n9 5 denyd 0 2000 7 session-c9.scope", &[], Err("no sshd"));
    check_from("home.example.org", rows, &[], Ok(()));
}

#[test]
fn a_login_after_the_order_may_keep() {
    let audit = |id| Session::Audit(id);
    let old = "had begun before the order";
    let listener = "2 1 sshd 0 100 - -\n";
    let login = |began: u32, audit: &str, scope: &str| {
        format!(
            "{listener}5 2 sshd-session 0 {began} {audit} {scope}\n6 5 sshd-session 0 {began} {audit} {scope}\n9 6 denyd 34816 2000 {audit} {scope}"
        )
    };
    // By audit, whatever logind says.
    check(&login(1001, "7", "-"), &[audit(6)], Ok(()));
    check(&login(1001, "7", "session-6.scope"), &[audit(6), Session::Logind("session-6.scope".to_owned())], Ok(()));
    // One that is the same, another that was there, and one that connected before and logged in after.
    check(&login(1001, "6", "-"), &[audit(6)], Err("audit session 6"));
    check(&login(500, "5", "-"), &[audit(5), audit(6)], Err("audit session 5"));
    check(&login(1000, "7", "-"), &[audit(6)], Err(old));
    // A child of an old session that init took over has its number.
    check("9 1 denyd 0 2000 6 -", &[audit(6)], Err("audit session 6"));
    // By logind.
    check(&login(1001, "-", "session-c2.scope"), &[Session::Logind("session-c1.scope".to_owned())], Ok(()));
    check(
        &login(1001, "-", "session-c1.scope"),
        &[Session::Logind("session-c1.scope".to_owned())],
        Err("session-c1.scope"),
    );
    check(&login(1000, "-", "session-c2.scope"), &[], Err(old));
    // By processes alone: one that listens is no connection.
    check(&login(1001, "-", "-"), &[], Ok(()));
    check(&login(999, "-", "-"), &[], Err(old));
    check("2 1 sshd 0 100 - -\n5 2 sshd 0 1001 - -\n7 5 bash 34816 1002 - -\n9 7 denyd 34816 2000 - -", &[], Ok(()));
    check("5 1 dropbear 0 1001 - -\n9 5 denyd 34816 2000 - -", &[], Ok(()));
    check("5 1 sshd 0 999 - -\n9 5 denyd 34816 2000 - -", &[], Err(old));
    check("7 1 tmux 0 1500 - -\n9 7 denyd 34816 2000 - -", &[], Err("no sshd"));
    check("8 1 denyd 0 2000 - -", &[], Err("does not see your process"));
    check("9 9 denyd 0 2000 - -", &[], Err("no sshd"));
}

#[test]
fn a_console_is_known_by_its_number() {
    let check = |rows: &str, expected: bool| {
        let (_dir, processes) = processes(rows);
        let got = processes.at_console(9);
        assert_eq!(got.is_ok(), expected, "{got:?} of\n{rows}");
    };
    let alone = |terminal: u32| format!("9 1 denyd {terminal} 2000 - -");
    let tty = |major: u32, minor: u32| major << 8 | minor & 0xff | (minor & 0xfff00) << 12;
    for (major, minor, expected) in [
        (4, 1, true),
        (4, 64, true),
        (204, 64, true),
        (229, 0, true),
        (5, 1, true),
        (4, 0, false),
        (5, 0, false),
        (136, 1, false),
    ] {
        check(&alone(tty(major, minor)), expected);
    }
    check(&alone(0), false);
    let (console, pts) = (tty(4, 2), tty(136, 3));
    // sudo, by its monitor; and an sshd that somebody started at the console.
    check(
        &format!("6 1 bash {console} 5 - -\n7 6 sudo {console} 5 - -\n8 7 sudo {pts} 5 - -\n9 8 denyd {pts} 9 - -"),
        true,
    );
    check(&format!("6 1 bash {console} 5 - -\n7 6 sshd {console} 5 - -\n9 7 denyd {pts} 9 - -"), false);
    check(&format!("6 1 bash {pts} 5 - -\n7 6 sudo {pts} 5 - -\n9 7 denyd {} 9 - -", tty(136, 4)), false);
}

#[test]
fn reads_what_the_kernel_writes() {
    let own = Processes::here();
    let pid = std::process::id().cast_signed();
    let process = own.process(pid).expect("this process");
    let now = crate::clock::boottime().as_millis() * TICKS / 1_000;
    assert!(process.pid == pid && process.began <= now && now - process.began < 60 * 60 * TICKS, "{process:?} {now}");
    assert!(own.sessions().is_ok());
    assert_eq!(parse(b"7 (a) S (b) S 1 2 3 4"), None);
    assert_eq!(scope("0::/user.slice/user-0.slice/session-5.scope\n").as_deref(), Some("session-5.scope"));
    assert_eq!(scope("0::/system.slice/ssh.service\n"), None);
}
