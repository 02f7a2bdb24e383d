//! A new configuration takes the place of the old one while the daemon runs: all of it, or nothing.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use kit::{Daemon, Home, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const AUTH: &str =
    "[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n";

/// So many failures of root from an address.
fn failures(address: &str, first: u32, n: u32) -> String {
    let line = |n| format!("Nov 28 23:00:00 b sshd[{n}]: Failed password for root from {address} port {n} ssh2\n");
    (first..first + n).map(line).collect()
}

/// The home's configuration, with `decide` before its inputs and `inputs` in their place.
fn configure(home: &Home, decide: &str, inputs: &str) {
    let now = fs::read_to_string(home.path("config")).unwrap();
    let head: String = now
        .lines()
        .take_while(|line| line.contains("= \"/") || line.starts_with("spare_machine"))
        .fold(String::new(), |head, line| head + line + "\n");
    let dir = home.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let text = format!("{head}deny.backends = [\"stdout\"]\n[decide]\nprobation = \"off\"\n{decide}\n{inputs}");
    fs::write(home.path("config"), text.replace("DIR", &dir)).unwrap();
}

/// What `reload` says, and its exit status.
fn reload(home: &Home) -> (Option<i32>, String) {
    let output = home.denyd(&["reload"]).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn reloads(home: &Home, want: &[&str]) {
    let (code, said) = reload(home);
    assert!(code == Some(0) && want.iter().all(|want| said.contains(want)), "{code:?} {said}");
}

fn refuses(home: &Home, want: &str) {
    let (code, said) = reload(home);
    assert!(code == Some(2) && said.contains("nothing was changed") && said.contains(want), "{code:?} {said}");
}

/// Who is denied once the log has been read to its end.
fn denied(home: &Home, daemon: &Daemon<'_>) -> Vec<String> {
    daemon.caught_up();
    let rows = home.ask(&["list"]).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["prefix"].as_str().unwrap().to_owned()).collect()
}

/// A home whose daemon denies at the tenth failure of root.
fn home() -> Home {
    let home = Home::with_log();
    configure(&home, "threshold_root = 9", AUTH);
    home
}

#[test]
fn thresholds_lists_and_rules_hold_from_then_on() {
    let home = home();
    let daemon = home.start();
    home.append(failures("192.0.2.1", 1, 9).as_bytes());
    home.append(failures("192.0.2.2", 21, 9).as_bytes());
    assert!(denied(&home, &daemon).is_empty());
    configure(&home, "threshold_root = 4", AUTH);
    reloads(&home, &["The configuration was read"]);
    // Who is over it already is denied by his next failure, as after a restart.
    home.append(failures("192.0.2.1", 41, 1).as_bytes());
    home.append(failures("192.0.2.3", 51, 5).as_bytes());
    assert_eq!(denied(&home, &daemon), ["192.0.2.1", "192.0.2.3"]);
    // Who is allowed now is released, by a file too, whose contents may change alone.
    fs::write(home.path("allowed"), "192.0.2.1\n").unwrap();
    let lists = "threshold_root = 4\nallow_file = \"DIR/allowed\"\nrestricted_users_file = \"DIR/users\"";
    fs::write(home.path("users"), "www\n").unwrap();
    configure(&home, lists, AUTH);
    reloads(&home, &[]);
    assert_eq!(denied(&home, &daemon), ["192.0.2.3"]);
    fs::write(home.path("allowed"), "192.0.2.0/29\n").unwrap();
    reloads(&home, &[]);
    assert!(denied(&home, &daemon).is_empty());
    home.append(failures("198.51.100.1", 71, 2).replace("root", "www").as_bytes());
    assert_eq!(denied(&home, &daemon), ["198.51.100.1"], "www is restricted now");
    let sasl = "Nov 28 23:00:00 b postfix/smtpd[9]: warning: unknown[203.0.113.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n";
    home.append(sasl.as_bytes());
    daemon.caught_up();
    fs::copy(kit::root().join("packaging/rules.d/postfix.toml"), home.path("rules.d/postfix.toml")).unwrap();
    reloads(&home, &[]);
    home.append(sasl.replace("23:00:00", "23:00:01").as_bytes());
    daemon.caught_up();
    let tried = home.ask(&["list", "addresses", "203.0.113.5"]).unwrap();
    assert_eq!(tried[0]["valid"], 1, "a rule counts from then on: {tried}");
    assert_eq!(daemon.pid(), home.ask(&["status"]).unwrap()["pid"], "it is the same daemon");
}

#[test]
fn inputs_come_go_and_change_and_nothing_counts_twice() {
    let home = home();
    let more = "[[input]]\nkind = \"file\"\nname = \"more\"\npath = \"DIR/more\"\nfirst_read = \"beginning\"\n";
    let listens = "[[input]]\nkind = \"syslog\"\nname = \"net\"\nlisten = \"tcp://127.0.0.1:PORT\"\n";
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listens = listens.replace("PORT", &port.to_string());
    let daemon = home.start();
    home.append(failures("192.0.2.1", 1, 5).as_bytes());
    daemon.caught_up();
    fs::write(home.path("more"), failures("192.0.2.2", 1, 5)).unwrap();
    configure(&home, "threshold_root = 9", &format!("{AUTH}{more}{listens}"));
    reloads(&home, &["begun: more, net"]);
    let mut sender = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let records = |input: usize| home.ask(&["status"])?["inputs"][input]["records"].as_u64();
    sender.write_all(failures("192.0.2.3", 1, 5).as_bytes()).unwrap();
    until("it hears the sender", || (records(2)? == 5).then_some(()));
    // A file that is read otherwise goes on where it was; what did not change keeps its connections.
    let changed = AUTH.replace("timezone = \"UTC\"", "host = \"web\"\ntimezone = \"UTC\"");
    configure(&home, "threshold_root = 9", &format!("{listens}{changed}{more}"));
    reloads(&home, &["begun anew: auth"]);
    home.append(failures("192.0.2.1", 101, 4).as_bytes());
    sender.write_all(failures("192.0.2.3", 101, 4).as_bytes()).unwrap();
    until("it hears both", || (records(0)? == 9 && records(1)? == 4).then_some(()));
    let rows = home.ask(&["list", "addresses"]).unwrap();
    let count = |row: &serde_json::Value| format!("{} {}", row["prefix"].as_str().unwrap(), row["root"]);
    let mut counts: Vec<_> = rows.as_array().unwrap().iter().map(count).collect();
    counts.sort();
    assert_eq!(counts, ["192.0.2.1 9", "192.0.2.2 5", "192.0.2.3 9"]);
    // What is not wanted any more is not read any more.
    configure(&home, "threshold_root = 9", &changed);
    reloads(&home, &["ended: net, more"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    home.append(failures("192.0.2.1", 201, 1).as_bytes());
    until("the tenth denies", || (home.ask(&["list"])?[0]["prefix"] == "192.0.2.1").then_some(()));
}

#[test]
fn other_back_ends_take_over_whom_the_old_ones_deny() {
    let home = home();
    let daemon = home.start();
    home.append(failures("192.0.2.1", 1, 10).as_bytes());
    assert_eq!(denied(&home, &daemon), ["192.0.2.1"]);
    let config = fs::read_to_string(home.path("config")).unwrap();
    let list = home.path("list");
    let lists = format!(
        "deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny = {{ path = {list:?}, service = \"\", comment = false }}\n"
    );
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]\n", &lists)).unwrap();
    reloads(&home, &["the back ends were begun anew"]);
    let is_in = |address: &str| until(address, || fs::read_to_string(&list).ok()?.contains(address).then_some(()));
    is_in("192.0.2.1");
    home.append(failures("192.0.2.2", 101, 10).as_bytes());
    is_in("192.0.2.2");
    assert_eq!(home.ask(&["status"]).unwrap()["backends"][0]["name"], "hosts.deny");
    assert!(!home.stdout().contains("192.0.2.2"), "{}", home.stdout());
}

/// What another configuration wrote is taken away once the new one enforces, by a reload or at a start; and what cannot be
/// reached is named.
#[test]
fn the_place_that_is_left_is_cleared() {
    let home = home();
    let _ = fs::create_dir(home.path("sub"));
    let [first, second] = ["first", "sub/second"].map(|name| home.path(name));
    let config = fs::read_to_string(home.path("config")).unwrap();
    let denies_in = |path: &std::path::Path| {
        let text = format!(
            "deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny = {{ path = {path:?}, service = \"\", comment = false }}\n"
        );
        fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]\n", &text)).unwrap();
    };
    let holds = |path: &std::path::Path, want: &str| {
        until(&format!("{path:?} to hold {want:?}"), || (fs::read_to_string(path).ok()? == want).then_some(()));
    };
    fs::write(&first, "203.0.113.9\n").unwrap();
    denies_in(&first);
    let daemon = home.start();
    home.append(failures("192.0.2.1", 1, 10).as_bytes());
    holds(&first, "203.0.113.9\n192.0.2.1\n");
    denies_in(&second);
    reloads(&home, &["the back ends were begun anew"]);
    holds(&second, "192.0.2.1\n");
    holds(&first, "203.0.113.9\n");
    daemon.stop();
    denies_in(&first);
    let daemon = home.start();
    holds(&first, "203.0.113.9\n192.0.2.1\n");
    holds(&second, "");
    // what cannot be reached stays, and is told until it can be
    denies_in(&second);
    reloads(&home, &["the back ends were begun anew"]);
    holds(&second, "192.0.2.1\n");
    fs::rename(home.path("sub"), home.path("moved")).unwrap();
    fs::write(home.path("sub"), "no directory").unwrap();
    denies_in(&first);
    reloads(&home, &["the back ends were begun anew"]);
    let told = || {
        let output = home.denyd(&["doctor"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().find(|line| line.contains("leftovers")).map(str::to_owned)
    };
    let said = until("doctor to name it", told);
    assert!(said.contains("sub/second") && said.contains("Not a directory"), "{said}");
    daemon.stop();
    fs::remove_file(home.path("sub")).unwrap();
    fs::rename(home.path("moved"), home.path("sub")).unwrap();
    let _daemon = home.start();
    holds(&second, "");
    until("doctor to say no more of it", || told().is_none().then_some(()));
}

#[test]
fn one_that_cannot_hold_changes_nothing() {
    let home = home();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let daemon = home.start();
    let changed = AUTH.replace("timezone = \"UTC\"", "host = \"web\"\ntimezone = \"UTC\"");
    let listens = format!("[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:{port}\"\n");
    let mut n = 0;
    let mut check = |decide: &str, inputs: &str, want: &str| {
        configure(&home, decide, inputs);
        refuses(&home, want);
        assert!(home.ask(&["status"]).unwrap()["configuration_broken"].as_str().unwrap().contains(want));
        // The old one holds: an address is out at its tenth failure, and no sooner.
        n += 1;
        let address = format!("192.0.2.{n}");
        home.append(failures(&address, 100 * n, 9).as_bytes());
        assert!(!denied(&home, &daemon).contains(&address), "{want}");
        home.append(failures(&address, 100 * n + 9, 1).as_bytes());
        assert!(denied(&home, &daemon).contains(&address), "{want}");
    };
    check("threshold_root = = 1", AUTH, "extra `=`");
    check("threshold_rooot = 1", AUTH, "threshold_rooot");
    check("threshold_root = 1\nallow_file = \"DIR/none\"", AUTH, "cannot read this file");
    check("threshold_root = 1", &format!("{changed}{listens}"), "in use");
    fs::write(home.path("rules.d/bad.toml"), "this is no rule").unwrap();
    check("threshold_root = 1", AUTH, "bad.toml");
    fs::remove_file(home.path("rules.d/bad.toml")).unwrap();
    let good = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), good.replace("/state\"", "/other\"")).unwrap();
    refuses(&home, "state_dir");
    // Mended, it is taken.
    fs::write(home.path("config"), good).unwrap();
    reloads(&home, &[]);
    assert!(home.ask(&["status"]).unwrap()["configuration_broken"].is_null());
    home.append(failures("198.51.100.1", 9_000, 2).as_bytes());
    assert!(denied(&home, &daemon).contains(&"198.51.100.1".to_owned()));
}

#[test]
fn signals_in_a_storm_and_from_the_first_moment_end_nobody() {
    let home = home();
    let mut daemons = Vec::new();
    for _ in 0..2 {
        let daemon = home.spawn();
        let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
        // It is told from when it blocks the signal.
        let is_held = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?.trim().to_owned();
            (u64::from_str_radix(&mask, 16).ok()? & 1 == 1).then_some(())
        };
        until("it holds back SIGHUP", is_held);
        until("it answers", || {
            kill(pid, Signal::SIGHUP).unwrap();
            home.ask(&["status"])
        });
        for _ in 0..500 {
            kill(pid, Signal::SIGHUP).unwrap();
        }
        until("it says so", || home.stderr().contains("the configuration was read anew").then_some(()));
        let read = home.stderr().matches("the configuration was read anew").count();
        assert!(read < 20, "it reads it once a second at most: {read}");
        daemons.push(pid);
        daemon.stop();
    }
}

/// A long file that is read meanwhile brings as fast as it is taken.
#[test]
fn a_long_file_holds_up_no_reload() {
    const LINES: u32 = 200_000;
    let home = home();
    // What is counted takes longer than reading it.
    let address = |n: u32| std::net::Ipv4Addr::from(0xc612_0000 + n % 60_000);
    let line = |n| format!("Nov 28 23:00:00 b sshd[{n}]: Failed password for root from {} port 9 ssh2\n", address(n));
    fs::write(home.path("long"), (0..LINES).map(line).collect::<String>()).unwrap();
    let long = AUTH.replace("\"auth\"", "\"long\"").replace("DIR/log", "DIR/long");
    configure(&home, "threshold_root = 9", &format!("{long}{AUTH}"));
    let _daemon = home.start();
    configure(&home, "threshold_root = 4", &long);
    reloads(&home, &["ended: auth"]);
    let records = home.ask(&["status"]).unwrap()["inputs"][0]["records"].as_u64().unwrap();
    assert!(records < u64::from(LINES), "all {records} were read first");
}
