//! The daemon as a service: what its manager is told, a log that nobody reads, and a configuration that was broken.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use kit::{Home, until};

/// A home whose daemon follows a log from its beginning and denies at the second failure.
fn home() -> Home {
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), format!("decide.threshold_root = 1\n{config}")).unwrap();
    home
}

/// So many failures of root each, of so many addresses.
fn failures(addresses: u32, of_each: u32) -> String {
    let line = |n: u32| {
        let (address, pid) = (std::net::Ipv4Addr::from(0xc612_0000 + n / of_each), 1_000 + n);
        format!(
            "Nov 28 23:00:00 b sshd[{pid}]: Failed password for root from {address} port {} ssh2\n",
            1_024 + n % 60_000
        )
    };
    (0..addresses * of_each).map(line).collect()
}

#[test]
fn the_service_manager_is_told() {
    let home = home();
    let manager = UnixDatagram::bind(home.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || {
        let mut text = [0; 100];
        let len = manager.recv(&mut text).expect("it tells something");
        String::from_utf8_lossy(&text[..len]).trim().to_owned()
    };
    let mut command = home.denyd(&["run"]);
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", "4000000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert_eq!(hear(), "READY=1");
    let status = home.ask(&["status"]).expect("it answers when it is ready");
    assert!(status["backends"][0]["replaced"].is_string(), "what is denied was enforced before: {status}");
    assert_eq!([hear(), hear()], ["WATCHDOG=1"; 2]);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let last = std::iter::repeat_with(hear).find(|told| told != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let home = home();
    home.append(failures(10_000, 2).as_bytes());
    let mut child = home.denyd(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("all are denied", || (home.ask(&["status"])?["wanted"] == 10_000).then_some(()));
    // Ten thousand lines do not fit into the pipe, nor into what waits. Now somebody reads again.
    let (mut log, mut text) = (child.stderr.take().unwrap(), Vec::new());
    until("it says what was dropped", || {
        let mut some = [0; 65_536];
        let len = log.read(&mut some).unwrap();
        text.extend_from_slice(&some[..len]);
        String::from_utf8_lossy(&text).contains("lines of this log were dropped since the start").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_configuration_that_is_broken_leaves_the_last_good_one() {
    let home = home();
    home.append(failures(1, 2).as_bytes());
    let good = fs::read_to_string(home.path("config")).unwrap();
    let daemon = home.start();
    daemon.caught_up();
    daemon.stop();
    let told = |arguments: &[&str]| {
        let output = home.denyd(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    };
    let syntax = format!("{good}\nthreshold_root = = 5\n");
    let wrong = good.replace("threshold_root = 1", "threshold_rooot = 1");
    for broken in [syntax, wrong] {
        fs::write(home.path("config"), broken).unwrap();
        let daemon = home.start();
        daemon.caught_up();
        let (code, why) = told(&["why", "198.18.0.0"]);
        assert!(code == Some(0) && why.contains("the last good one holds"), "{why}");
        assert!(told(&["status"]).1.contains("it is broken, and the last good one holds"));
        let (code, doctor) = told(&["doctor"]);
        assert!(code == Some(1) && doctor.contains("mend it"), "{doctor}");
        assert!(home.stderr().contains("the configuration is broken"), "{}", home.stderr());
        daemon.stop();
        // Also without a daemon.
        let (code, list) = told(&["list"]);
        assert!(code == Some(0) && list.contains("198.18.0.0"), "{list}");
        assert_eq!(told(&["forgive", "198.18.0.0"]).0, Some(0));
        assert_eq!(told(&["deny", "198.18.0.0"]).0, Some(0));
        // Who only tries the file is told that it is wrong.
        for verb in [&["check"][..], &["run", "--dry-run"], &["scan", "log"]] {
            assert_eq!(told(verb).0, Some(2), "{verb:?}");
        }
    }
    // What is kept is of that file, and a mended one takes its place.
    let other = home.path("other");
    fs::copy(home.path("config"), &other).unwrap();
    let output = kit::denyd(&["--config", other.to_str().unwrap(), "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    fs::write(home.path("config"), good).unwrap();
    let (code, doctor) = told(&["doctor"]);
    assert!(code == Some(1) && doctor.contains("FAIL daemon: it does not run"), "{doctor}");
    home.start().stop();
    assert!(!told(&["list"]).1.contains("broken"));
}

#[test]
fn a_file_that_the_configuration_names_may_break() {
    let home = home();
    let list = home.path("allowed");
    fs::write(&list, "# the office\n203.0.113.0/24\n").unwrap();
    let good = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), format!("decide.allow_file = {:?}\n{good}", list.to_str().unwrap())).unwrap();
    home.start().stop();
    for broken in [Some("this is no address\n"), None] {
        match broken {
            Some(text) => fs::write(&list, text).unwrap(),
            None => fs::remove_file(&list).unwrap(),
        }
        let daemon = home.start();
        assert!(home.stderr().contains("the configuration is broken"), "{}", home.stderr());
        let why = home.denyd(&["why", "203.0.113.7"]).output().unwrap().stdout;
        let why = String::from_utf8(why).unwrap();
        assert!(why.contains("203.0.113.0/24"), "who was allowed still is: {why}");
        daemon.stop();
    }
}

#[test]
fn denies_end_with_the_daemon_where_that_is_wanted() {
    let home = home();
    let (deny, foreign) = (home.path("hosts.deny"), "ALL: 192.0.2.77\n");
    let config = fs::read_to_string(home.path("config")).unwrap();
    let of = |more: &str| {
        let to = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = {deny:?}\n{more}");
        fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]", &to)).unwrap();
    };
    fs::write(&deny, foreign).unwrap();
    let is_denied = || fs::read_to_string(&deny).unwrap().contains("sshd: 192.0.2.7\n");
    let denied = || until("it is denied", || is_denied().then_some(()));
    of("");
    let daemon = home.start();
    assert!(home.denyd(&["deny", "192.0.2.7"]).output().unwrap().status.success());
    denied();
    daemon.stop();
    assert!(is_denied(), "it stands");
    of("deny.release_on_exit = true\n");
    home.start().kill();
    assert!(is_denied(), "nobody can release who is killed");
    home.start().stop();
    assert_eq!(fs::read_to_string(&deny).unwrap(), foreign);
    assert!(home.stderr().contains("nobody is denied until the next start"), "{}", home.stderr());
    let daemon = home.start();
    denied();
    daemon.stop();
    home.start_with(&["run", "--dry-run"]).stop();
    assert!(home.denyd(&["why", "192.0.2.7"]).output().unwrap().status.success(), "who is denied is kept");
}

#[test]
fn who_starts_it_from_afar_is_told_how_not_to_be_locked_out() {
    let home = home();
    let good = fs::read_to_string(home.path("config")).unwrap();
    let check = |allow: &str, want: bool| {
        fs::write(home.path("config"), format!("decide.allow = [{allow}]\n{good}")).unwrap();
        let _ = fs::remove_file(home.path("stderr"));
        let log = fs::File::create(home.path("stderr")).unwrap();
        let mut command = home.denyd(&["run"]);
        command.env("SSH_CONNECTION", "203.0.113.7 50022 192.0.2.1 22").stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        until("it answers", || home.ask(&["status"]));
        let output = home.denyd(&["doctor"]).env("SSH_CONNECTION", "203.0.113.7 50022 192.0.2.1 22").output().unwrap();
        let doctor = String::from_utf8(output.stdout).unwrap();
        let remedy = "denyd allow 203.0.113.7";
        assert_eq!((home.stderr().contains(remedy), doctor.contains(remedy)), (want, want), "{allow}: {doctor}");
        child.kill().unwrap();
        child.wait().unwrap();
    };
    check("", true);
    check("\"203.0.113.0/24\"", false);
}
