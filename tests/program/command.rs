//! DenyHosts' command line: what people and scripts who ran it type goes on, and does what it says.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kit::{Home, Sink, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A home whose log is read by `denyhosts`, which writes `DIR/hosts.deny`; denied is who fails a second time. `more` are further
/// keys, of the tables before `[[input]]`.
fn home(more: &str) -> Home {
    let home = Home::new(&format!(
        "decide.threshold_root = 1\ndecide.deny_for = \"4w\"\ndeny.hosts_deny.path = \"DIR/hosts.deny\"\n\
         compat.lock_file = \"DIR/lock\"\n{more}\n[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\ntimezone = \"UTC\"\n"
    ));
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replace("[\"stdout\"]", "[\"hosts.deny\"]")).unwrap();
    fs::write(home.log(), "").unwrap();
    home
}

/// So many failures of root from an address, so many days ago.
fn failures(address: &str, many: u32, days: i64) -> String {
    let at = kit::now() - jiff::SignedDuration::from_hours(24 * days);
    let at = at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let line =
        |n| format!("{at} b sshd[{}]: Failed password for root from {address} port {} ssh2\n", 100 + n, 1_024 + n);
    (0..many).map(line).collect()
}

/// The program under a name, with the configuration of a home.
fn command(home: &Home, name: &str, words: &[&str]) -> Command {
    let mut command = kit::denyd(&[]);
    command.arg0(name).args(words);
    let config = home.path("config");
    match name {
        "daemon-control" => command.arg(format!("--config={}", config.display())),
        // Before words that are no options.
        _ => {
            command = kit::denyd(&[]);
            command.arg0(name).arg("-c").arg(config).args(words)
        }
    };
    command
}

/// Runs it; what it says, and its exit status.
#[track_caller]
fn run(home: &Home, name: &str, words: &[&str]) -> (Option<i32>, String, String) {
    told(command(home, name, words).output().unwrap())
}

fn told(Output { status, stdout, stderr }: Output) -> (Option<i32>, String, String) {
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs `denyhosts`, which is to be silent.
#[track_caller]
fn quiet(home: &Home, words: &[&str]) {
    assert_eq!(run(home, "denyhosts", words), (Some(0), String::new(), String::new()), "{words:?}");
}

/// Whom hosts.deny denies, in order.
fn denied(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.path("hosts.deny")).unwrap_or_default();
    let entries = text.lines().filter(|line| !line.starts_with('#'));
    let mut denied: Vec<_> = entries.map(|line| line.strip_prefix("sshd: ").unwrap_or(line).to_owned()).collect();
    denied.sort();
    denied
}

#[test]
fn cron_runs_it_and_hears_nothing() {
    let home = home("");
    home.append(failures("192.0.2.7", 2, 2).as_bytes());
    home.append(failures("192.0.2.8", 1, 0).as_bytes());
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.7"], "the first run reads all that is there");
    let text = fs::read_to_string(home.path("hosts.deny")).unwrap();
    assert!(text.starts_with("# DenyHosts: "), "{text}");
    assert!(!home.path("lock").exists());
    // Nothing came.
    quiet(&home, &[]);
    // The next one goes on where the last one ended, with what that counted.
    home.append(failures("192.0.2.8", 1, 0).as_bytes());
    quiet(&home, &["--noemail"]);
    assert_eq!(denied(&home), ["192.0.2.7", "192.0.2.8"]);
    assert_eq!(home.history().len(), 2);
    // The log was rotated in between: what was behind the last line read is read, and then the new one.
    home.append(failures("192.0.2.9", 1, 0).as_bytes());
    fs::rename(home.log(), home.path("log.1")).unwrap();
    fs::write(home.log(), failures("192.0.2.9", 1, 0)).unwrap();
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.7", "192.0.2.8", "192.0.2.9"]);
    // Whoever wants to know is told.
    let (code, _, err) = run(&home, "denyhosts.py", &["--verb"]);
    assert!(code == Some(0) && err.contains("running") && err.contains("stopped"), "{err}");
}

#[test]
fn what_is_wrong_is_said() {
    let home = home("");
    let check = |words: &[&str], code: i32, want: &str| {
        let (got, out, err) = run(&home, "denyhosts", words);
        assert!(got == Some(code) && [out.as_str(), &err].concat().contains(want), "{words:?}: {got:?} {out}{err}");
    };
    check(&["--version"], 0, "DenyHosts version: denyd ");
    check(&["--help"], 0, "--purge-all");
    check(&["-?"], 0, "Usage: denyhosts");
    check(&["--nothing"], 1, "option --nothing is not known");
    check(&["-m"], 1, "option -m is not known");
    check(&["--purgeip"], 1, "--purgeip needs addresses");
    check(&["--purgeip", "192.0.2.1", "-n"], 1, "-n is no address");
    check(&["--sync"], 1, "--sync needs SYNC_SERVER");
    check(&["-f", "/nowhere/log"], 1, "/nowhere/log");
    check(&["what"], 0, "what means nothing here");
    check(&["start"], 1, "start is daemon-control's: daemon-control start");
    check(&["--purgeip", "192.0.2.1", "0.0.0.0/0"], 1, "0.0.0.0/0 is no single address");
    check(&["--identifier", "sshd"], 0, "--identifier means nothing without --file or --ignore");
    check(&["-c", "/nowhere/denyhosts.conf"], 1, "/nowhere/denyhosts.conf");
    check(&["--daemon", "--purge", "-c", "/nowhere/denyhosts.conf"], 1, "/nowhere/denyhosts.conf");
    // What a daemon does not do is named, each; this one does not come to run.
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replace("/state\"", "/log/state\"")).unwrap();
    for name in ["--ignore", "--purge", "--purge-all", "--migrate", "--upgrade099", "--sync"] {
        check(&["--daemon", name], 1, &format!("{name} means nothing beside --daemon"));
    }
    fs::write(home.path("config"), config).unwrap();
    fs::remove_file(home.log()).unwrap();
    check(&[], 1, "auth: ");
    assert_eq!(run(&home, "denyhosts", &[]).1, "");
}

#[test]
fn denies_end_by_purges_alone() {
    let home = home("decide.permanent_after = 1\n");
    home.append(failures("192.0.2.7", 2, 20).as_bytes());
    home.append(failures("192.0.2.8", 2, 30).as_bytes());
    home.append(failures("192.0.2.9", 2, 1).as_bytes());
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.7", "192.0.2.9"], "one is older than PURGE_DENY");
    // Nobody was let in by time: DenyHosts, too, had to be told.
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replace("\"4w\"", "\"10d\"")).unwrap();
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.7", "192.0.2.9"]);
    let (code, out, err) = run(&home, "denyhosts", &["--purge", "-v"]);
    // The one that was too old to be denied was noted, too.
    assert!(code == Some(0) && out.contains("num entries purged: 2"), "{out}{err}");
    assert_eq!(denied(&home), ["192.0.2.9"]);
    // Its counts are gone with it; the second time is for life.
    home.append(failures("192.0.2.7", 1, 0).as_bytes());
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.9"]);
    home.append(failures("192.0.2.7", 1, 0).as_bytes());
    quiet(&home, &["-p"]);
    assert_eq!(denied(&home), ["192.0.2.7", "192.0.2.9"]);
    // All but who is denied for life.
    kit::until("a second is over", || {
        quiet(&home, &["--purge-all"]);
        (denied(&home) == ["192.0.2.7"]).then_some(())
    });
    quiet(&home, &["--purgeip", "192.0.2.7", "2001:db8::1"]);
    assert_eq!(denied(&home), [""; 0]);
    // Without a PURGE_DENY there is no age.
    fs::write(home.path("config"), config.replace("\"4w\"", "\"forever\"")).unwrap();
    let (code, _, err) = run(&home, "denyhosts", &["--purge"]);
    assert!(code == Some(1) && err.contains("--purge needs a PURGE_DENY"), "{err}");
    // With DAEMON_PURGE blank, too, there is one.
    let blank = config.replace("\"4w\"", "\"forever\"").replace("compat.", "compat.purge_after = \"4w\"\ncompat.");
    fs::write(home.path("config"), blank).unwrap();
    quiet(&home, &["--purge"]);
}

/// FAQ 2.8 and 3.12: lines that DenyHosts wrote before denyd was there.
#[test]
fn lines_of_denyhosts_end_too() {
    let home = home("");
    let stamp = |days: i64| {
        let at = jiff::Zoned::now() - jiff::SignedDuration::from_hours(24 * days);
        at.strftime("%a %b %e %H:%M:%S %Y").to_string()
    };
    let stamped = |address: &str, days| format!("# DenyHosts: {0} | sshd: {address}\nsshd: {address}\n", stamp(days));
    let text = |name: &str| fs::read_to_string(home.path(name)).unwrap();
    let mine = "# mine\nALL: PARANOID\n";
    let before = mine.to_owned() + &stamped("203.0.113.5", 100) + &stamped("203.0.113.6", 1) + "sshd: 203.0.113.7\n";
    fs::write(home.path("hosts.deny"), &before).unwrap();
    let deny = |address: &str| {
        assert!(home.denyd(&["deny", address]).output().unwrap().status.success(), "{address}");
    };
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    quiet(&home, &[]);
    deny("192.0.2.50");
    assert!(text("hosts.deny").starts_with(&before), "{}", text("hosts.deny"));
    quiet(&home, &["--purge"]);
    assert_eq!(denied(&home)[..4], ["192.0.2.50", "192.0.2.7", "203.0.113.6", "203.0.113.7"]);
    assert!(text("hosts.deny.purge.bak").contains("203.0.113.5"));
    // It changes others' lines, so somebody must agree.
    let (code, _, err) = run(&home, "denyhosts", &["--migrate"]);
    assert!(code == Some(1) && err.contains("+ # DenyHosts: ") && err.contains("say --yes"), "{err}");
    assert!(!text("hosts.deny").contains("| sshd: 203.0.113.7"));
    quiet(&home, &["--migrate", "--yes"]);
    assert!(text("hosts.deny").contains("| sshd: 203.0.113.7\nsshd: 203.0.113.7\n"), "{}", text("hosts.deny"));
    // What a person denied stays, since it is still denied, and it stays in its place.
    kit::until("a second is over", || {
        quiet(&home, &["--purge-all"]);
        (denied(&home) == ["192.0.2.50", "ALL: PARANOID"]).then_some(())
    });
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.50", "ALL: PARANOID"]);
    // By address, whoever wrote it.
    let then = stamp(100);
    let old = format!("sshd: 203.0.113.8 # DenyHosts: {then}\n");
    fs::write(home.path("hosts.deny"), text("hosts.deny") + "sshd: 203.0.113.9\n" + &old).unwrap();
    let (code, out, err) = run(&home, "denyhosts", &["-v", "--purgeip", "203.0.113.9", "192.0.2.50"]);
    assert!(code == Some(0) && out.contains("num entries purged: 2"), "{out}{err}");
    quiet(&home, &["--upgrade099"]);
    let new = format!("# DenyHosts: {then} | sshd: 203.0.113.8\nsshd: 203.0.113.8\n");
    assert!(text("hosts.deny").ends_with(&new), "{}", text("hosts.deny"));
    quiet(&home, &["--purge"]);
    assert_eq!(text("hosts.deny"), mine);
}

/// FAQ 3.0, 3.4, 3.10 and 3.11: old logs, rotated and packed ones.
#[test]
fn old_logs_convict_and_nothing_counts_twice() {
    let pack = |home: &Home, name: &str, text: String, with: &str| {
        fs::write(home.path(name), text).unwrap();
        assert!(Command::new(with).arg(home.path(name)).status().unwrap().success());
    };
    let check = |deny_for: &str, want: &[&str]| {
        let home = home("");
        let config = fs::read_to_string(home.path("config")).unwrap();
        fs::write(home.path("config"), config.replace("\"4w\"", &format!("\"{deny_for}\""))).unwrap();
        pack(&home, "secure.2", failures("192.0.2.1", 2, 400) + &failures("192.0.2.2", 1, 301), "gzip");
        pack(&home, "secure.1", failures("192.0.2.2", 1, 300) + &failures("192.0.2.3", 2, 9), "bzip2");
        home.append(failures("192.0.2.4", 1, 0).as_bytes());
        let (one, two) = (home.path("secure.1.bz2"), home.path("secure.2.gz"));
        let files = [format!("--file={}", one.display()), format!("-f{}", two.display())];
        for _ in 0..2 {
            let (code, out, err) = run(&home, "denyhosts", &files.each_ref().map(String::as_str));
            assert!(code == Some(0) && out.contains("hosts denied") && err.is_empty(), "{out}{err}");
            assert_eq!(denied(&home), want, "{deny_for}");
        }
        // The log itself was not read by that, and is read once by all of these.
        for words in [&["--ignore"][..], &["-i"], &[]] {
            quiet(&home, words);
            assert_eq!(denied(&home), want, "{deny_for}");
        }
        home.append(failures("192.0.2.4", 1, 0).as_bytes());
        quiet(&home, &["--ignore"]);
        assert_eq!(denied(&home), [want, &["192.0.2.4"]].concat());
    };
    // For ever, however old: an explicit reading acts.
    check("forever", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    check("10d", &["192.0.2.3"]);
}

/// FAQ 3.1.
#[test]
fn an_ordinary_user_has_lines_to_paste() {
    let home = home("");
    home.append((failures("192.0.2.7", 2, 1) + &failures("2001:db8::7", 2, 1)).as_bytes());
    home.append(failures("192.0.2.8", 2, 1).as_bytes());
    // Nothing can be written below a file, whoever tries.
    let config = fs::read_to_string(home.path("config")).unwrap();
    let config = config.replace("/state\"", "/log/state\"");
    fs::write(home.path("config"), &config).unwrap();
    fs::write(home.path("hosts.deny"), "# mine\nsshd: 192.0.2.8\n").unwrap();
    let want = (Some(0), "sshd: 192.0.2.7\nsshd: [2001:db8::]/64\n".to_owned(), String::new());
    assert_eq!(run(&home, "denyhosts", &[]), want);
    assert_eq!(run(&home, "denyhosts", &["--file", home.log().to_str().unwrap()]), want);
    assert_eq!(fs::read_to_string(home.path("hosts.deny")).unwrap(), "# mine\nsshd: 192.0.2.8\n");
    // A hosts.deny that nobody can write, where nothing else enforces.
    fs::write(
        home.path("config"),
        config.replace("/log/state\"", "/state\"").replace("/hosts.deny\"", "/log/hosts.deny\""),
    )
    .unwrap();
    let (code, out, err) = run(&home, "denyhosts", &[]);
    assert_eq!((code, out.lines().count(), err.as_str()), (Some(0), 3, ""), "{out}");
    assert!(!home.path("state").exists());
    // Nor can he start a daemon: that is said in a line, with the status that init has for it.
    fs::write(home.path("config"), &config).unwrap();
    fs::set_permissions(home.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let place = format!("{}/state cannot be written by you\n", home.log().display());
    let nobody = |name: &str, words: &[&str]| {
        let mut command = command(&home, name, words);
        if nix::unistd::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
        }
        told(command.output().unwrap())
    };
    let want = format!("daemon-control: only root may start DenyHosts: {place}");
    assert_eq!(nobody("daemon-control", &["start"]), (Some(4), String::new(), want));
    let want = format!("denyhosts: only root may start a daemon: {place}");
    assert_eq!(nobody("denyhosts", &["--daemon"]), (Some(1), String::new(), want));
}

/// An old log that convicts many: at a terminal a person is asked, unless he said so already.
#[test]
fn before_many_are_denied_a_person_is_asked() {
    let home = home("");
    let many: String = (0..101).map(|n| failures(&format!("10.0.0.{n}"), 2, 1)).collect();
    fs::write(home.path("old"), many).unwrap();
    let old = home.path("old").to_str().unwrap().to_owned();
    // A terminal, at which somebody types.
    let types = |arguments: &[&str], typed: &str| {
        let command = home.denyd(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = terminal.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    if kit::program("script").is_none() {
        kit::skip("command::before_many_are_denied_a_person_is_asked", "no script");
        return;
    }
    home.start().stop();
    const QUESTION: &str = "101 addresses are to be denied. Deny them? [yes/no]";
    let (code, said) = types(&["scan", "--apply", &old], "no\n");
    assert!(code == Some(1) && said.contains(QUESTION) && said.contains("nobody was denied"), "{code:?} {said}");
    assert!(denied(&home).is_empty());
    let (code, said) = types(&["scan", "--apply", "--yes", &old], "no\n");
    assert!(code == Some(0) && !said.contains(QUESTION) && said.contains("101 denied now"), "{code:?} {said}");
    assert_eq!(denied(&home).len(), 101);
    quiet(&home, &["--purge-all"]);
    let (code, said) = types(&["scan", "--apply", &old], "yes\n");
    assert!(code == Some(0) && said.contains(QUESTION) && said.contains("denied now"), "{code:?} {said}");
    // Where nobody sits nobody is asked.
    let output = home.denyd(&["scan", "--apply", &old]).output().unwrap();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("yes/no"));
}

/// DenyHosts that is started beside a denyd that runs.
#[test]
fn denyhosts_that_comes_later_is_noticed() {
    if !kit::in_box("command::denyhosts_that_comes_later_is_noticed") {
        return;
    }
    let home = home("");
    let _daemon = home.start();
    let beside = |home: &Home| home.ask(&["status"])?["beside"].as_str().map(str::to_owned);
    assert_eq!(beside(&home), None);
    fs::write(home.path("denyhosts"), "import time\ntime.sleep(300)\n").unwrap();
    let mut old = Command::new("python3").arg(home.path("denyhosts")).arg("--daemon").spawn().unwrap();
    fs::write(home.path("lock"), format!("{}\n", old.id())).unwrap();
    let told = until("it is noticed", || beside(&home));
    assert!(told.contains(&format!("(pid {})", old.id())), "{told}");
    let output = home.denyd(&["doctor"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.contains("DenyHosts itself was started beside denyd")), "{said}");
    assert!(home.stderr().contains("DenyHosts itself was started beside denyd"));
    old.kill().unwrap();
    old.wait().unwrap();
    until("that it is gone", || beside(&home).is_none().then_some(()));
}

#[test]
fn a_run_that_meets_a_daemon_hands_over_and_ends() {
    let home = home("");
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replace("name = \"auth\"", "name = \"auth\"\nfirst_read = \"beginning\""))
        .unwrap();
    fs::write(home.path("old"), failures("192.0.2.9", 2, 3)).unwrap();
    let daemon = home.start();
    daemon.caught_up();
    until("it is denied", || (denied(&home) == ["192.0.2.7"]).then_some(()));
    // As by `spawn` of tcp_wrappers: many at once.
    let words = |words: &[&str]| command(&home, "denyhosts", words).spawn().unwrap();
    let all: Vec<_> = (0..8).map(|_| words(&[])).collect();
    for one in all {
        assert_eq!(told(one.wait_with_output().unwrap()), (Some(0), String::new(), String::new()));
    }
    let (code, out, _) = run(&home, "denyhosts", &["-f", home.path("old").to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(0), "1 hosts denied\n"));
    until("both are", || (denied(&home) == ["192.0.2.7", "192.0.2.9"]).then_some(()));
    let (code, out, err) = run(&home, "denyhosts", &["-v"]);
    assert!(code == Some(0) && out.is_empty() && err.contains("denyd runs, and reads the log by itself"), "{out}{err}");
    quiet(&home, &["--purgeip", "192.0.2.9"]);
    until("one is let in", || (denied(&home) == ["192.0.2.7"]).then_some(()));
    quiet(&home, &["--purge-all"]);
    until("all are", || denied(&home).is_empty().then_some(()));
    let (code, _, err) = run(&home, "denyhosts", &["--daemon"]);
    let want = format!("DenyHosts could not obtain lock (pid: {})", daemon.pid());
    assert!(code == Some(1) && err.contains(&want), "{err}");
    daemon.stop();
}

/// Cron runs it in the moment in which init starts the daemon.
#[test]
fn a_daemon_that_meets_a_run_starts_after_it() {
    // A mail server that takes a connection and says nothing keeps the run from ending.
    let silent = std::net::TcpListener::bind("localhost:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let home = home(&format!(
        "mail.to = [\"root@example.org\"]\nmail.from = \"d@example.org\"\nmail.server = \"localhost:{port}\"\nmail.tls = \"none\"\n"
    ));
    let _ends = Ends(&home);
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    let once = command(&home, "denyhosts", &[]).spawn().unwrap();
    silent.set_nonblocking(true).unwrap();
    let connection = until("it mails", || silent.accept().ok());
    // It is no daemon, and is left alone.
    for (verb, code, want) in [("status", 3, "is not running"), ("stop", 0, "is not running"), ("condrestart", 0, "")] {
        let (got, out, err) = run(&home, "daemon-control", &[verb]);
        assert!(got == Some(code) && out.contains(want) && !out.contains("start"), "{verb}: {got:?} {out}{err}");
    }
    let start = command(&home, "daemon-control", &["start"]).spawn().unwrap();
    let meets = format!("/proc/{}/cmdline", start.id());
    until("that runs", || fs::read(&meets).ok().filter(|line| line.starts_with(b"daemon-control")));
    drop((connection, silent));
    assert_eq!(once.wait_with_output().unwrap().status.code(), Some(0));
    let (code, out, err) = told(start.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, _) = run(&home, "daemon-control", &["status"]);
    assert!(code == Some(0) && out.contains("is running"), "{out}");
    assert_eq!(run(&home, "daemon-control", &["stop"]).0, Some(0));
}

/// Many runs at once, as by `spawn` of tcp_wrappers: one reads, and none complains.
#[test]
fn runs_at_once_do_not_hinder_each_other() {
    let home = home("");
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    let all: Vec<_> = (0..8).map(|_| command(&home, "denyhosts", &[]).spawn().unwrap()).collect();
    for one in all {
        assert_eq!(told(one.wait_with_output().unwrap()), (Some(0), String::new(), String::new()));
    }
    assert_eq!((denied(&home), home.history().len()), (vec!["192.0.2.7".to_owned()], 1));
}

/// Who asks for something waits for one that holds the database and does not answer yet.
#[test]
fn a_request_waits_for_who_does_not_answer_yet() {
    let home = home("");
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    quiet(&home, &[]);
    let lock = fs::File::open(home.path("state/lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let mut purge = command(&home, "denyhosts", &["--purgeip", "192.0.2.7"]).spawn().unwrap();
    // Longer than an open of the database tries, which is a second.
    let begun = std::time::Instant::now();
    until("it still waits", || {
        assert_eq!(purge.try_wait().unwrap(), None, "it ended");
        (begun.elapsed() > std::time::Duration::from_secs(3)).then_some(())
    });
    drop(lock);
    assert_eq!(told(purge.wait_with_output().unwrap()), (Some(0), String::new(), String::new()));
    assert_eq!(denied(&home), [""; 0]);
}

#[test]
fn a_run_mails_what_it_did() {
    let sink = Sink::new();
    let mail = format!(
        "mail.to = [\"root@example.org\"]\nmail.from = \"d@example.org\"\nmail.server = \"localhost:{}\"\nmail.tls = \"none\"\n",
        sink.port()
    );
    let home = home(&mail);
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    quiet(&home, &["--noemail"]);
    assert_eq!(denied(&home), ["192.0.2.7"]);
    home.append(failures("192.0.2.8", 2, 1).as_bytes());
    quiet(&home, &[]);
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    let text = format!("{:?}", mails[0]);
    assert!(text.contains("192.0.2.8") && !text.contains("192.0.2.7"), "{text}");
    // The next one within the hour waits for the next run; nothing is mailed where nothing was decided.
    quiet(&home, &[]);
    assert_eq!(sink.mails().len(), 1);
    home.append(failures("192.0.2.9", 2, 1).as_bytes());
    quiet(&home, &[]);
    assert_eq!(sink.mails().len(), 1);
}

/// The pid in the lock file.
fn locked_by(home: &Home) -> Option<i32> {
    fs::read_to_string(home.path("lock")).ok()?.trim().parse().ok()
}

/// Ends a daemon in the background if the test fails.
struct Ends<'a>(&'a Home);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if let Some(pid) = locked_by(self.0).filter(|pid| is_ours(*pid)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn is_ours(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"denyhosts\0")
}

/// FAQ 3.16 and the article: in the background, by `daemon-control`, with signals.
#[test]
fn daemon_control_starts_and_stops_it() {
    let home = home("log_level = \"info\"\n");
    let _ends = Ends(&home);
    let control = |words: &[&str], code: i32, want: &str| {
        let (got, out, err) = run(&home, "daemon-control", words);
        assert!(got == Some(code) && out.contains(want), "{words:?}: {got:?} {out}{err}");
    };
    control(&["status"], 3, "DenyHosts is not running");
    control(&["stop"], 0, "DenyHosts is not running");
    control(&["condrestart"], 0, "");
    control(&["debug"], 1, "DenyHosts is not running");
    assert_eq!(locked_by(&home), None);
    home.append(failures("192.0.2.6", 2, 1).as_bytes());
    control(&["start"], 0, "starting DenyHosts");
    let pid = locked_by(&home).expect("it runs when start ends");
    assert!(is_ours(pid));
    control(&["status"], 0, &format!("DenyHosts is running with pid = {pid}"));
    control(&["start"], 0, &format!("DenyHosts is running with pid = {pid}"));
    home.append(failures("192.0.2.7", 2, 0).as_bytes());
    until("it is denied", || (denied(&home) == ["192.0.2.7"]).then_some(()));
    // It is nobody's of a terminal, and has nobody's directory.
    assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))), Ok(Pid::from_raw(pid)));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/2")).unwrap(), Path::new("/dev/null"));
    control(&["debug"], 0, "sent DenyHosts SIGUSR1");
    control(&["reload"], 0, "sent DenyHosts SIGHUP");
    control(&["restart", "--debug"], 0, "sent DenyHosts SIGTERM");
    let next = locked_by(&home).unwrap();
    assert_ne!(next, pid);
    control(&["condrestart"], 0, "starting DenyHosts");
    let last = locked_by(&home).unwrap();
    assert!(!is_ours(next) && is_ours(last));
    assert_eq!(denied(&home), ["192.0.2.7"], "nobody was let in");
    control(&["stop"], 0, "sent DenyHosts SIGTERM");
    assert!(!is_ours(last) && !home.path("lock").exists());
    control(&["frobnicate"], 2, "");
    control(&[], 2, "");
    // One that cannot start says so, and why.
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(
        home.path("config"),
        config.replace("/control\"", "/nowhere/that/log/control\"").replace("/state\"", "/log/state\""),
    )
    .unwrap();
    let (code, _, err) = run(&home, "daemon-control", &["start"]);
    assert!(code == Some(1) && err.contains("state directory"), "{code:?} {err}");
}

#[test]
fn sigusr1_has_it_log_more_and_less() {
    let home = home("");
    let file = fs::File::create(home.path("stderr")).unwrap();
    let mut child = command(&home, "denyhosts", &["--foreground"]).stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    until("it runs", || home.ask(&["status"]));
    for want in ["setting debug level to: DEBUG", "setting debug level to: INFO"] {
        kill(pid, Signal::SIGUSR1).unwrap();
        until(want, || home.stderr().contains(want).then_some(()));
    }
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A lock file hinders nobody but who would work against DenyHosts itself.
#[test]
fn denyhosts_itself_is_not_worked_against() {
    if !kit::in_box("command::denyhosts_itself_is_not_worked_against") {
        return;
    }
    let home = home("");
    home.append(failures("192.0.2.7", 2, 1).as_bytes());
    fs::write(home.path("denyhosts.py"), "import time\nprint('up', flush=True)\ntime.sleep(600)\n").unwrap();
    let mut python = Command::new("python3");
    let mut python = python.arg(home.path("denyhosts.py")).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut up).unwrap();
    fs::write(home.path("lock"), format!("{}\n", python.id())).unwrap();
    let want = format!("DenyHosts itself runs (pid {})", python.id());
    for words in [&["--daemon"][..], &[], &["--unlock"], &["--foreground"]] {
        let (code, _, err) = run(&home, "denyhosts", words);
        let want = if words == ["--unlock"] { "which runs: stop it first" } else { want.as_str() };
        assert!(code == Some(1) && err.contains(want), "{words:?}: {err}");
    }
    let (code, _, err) = told(home.denyd(&["run"]).output().unwrap());
    assert!(code == Some(2) && err.contains(&want) && err.contains("kill"), "{err}");
    assert_eq!(denied(&home), [""; 0]);
    python.kill().unwrap();
    python.wait().unwrap();
    // What it left behind is stale.
    assert!(run(&home, "daemon-control", &["status"]).1.contains("LOCK exists but DenyHosts is not running"));
    quiet(&home, &[]);
    assert_eq!(denied(&home), ["192.0.2.7"]);
    fs::write(home.path("lock"), "99999999\n").unwrap();
    quiet(&home, &["--unlock"]);
    assert!(!home.path("lock").exists());
}

/// R33: a directory that is not there is made, and one that cannot be hinders nothing.
#[test]
fn a_lock_file_is_no_reason_not_to_start() {
    let home = home("");
    let config = fs::read_to_string(home.path("config")).unwrap();
    let check = |name: &str, is_made: bool| {
        fs::write(home.path("config"), config.replace("/lock\"", &format!("/{name}\""))).unwrap();
        let daemon = home.start();
        let pid = fs::read_to_string(home.path(name)).ok();
        assert_eq!(pid == Some(format!("{}\n", daemon.pid())), is_made, "{name}");
        daemon.stop();
        assert!(!home.path(name).is_file());
    };
    check("subsys/not/there", true);
    check("log/lock", false);
    assert!(home.stderr().contains("the lock file cannot be written"), "{}", home.stderr());
}
