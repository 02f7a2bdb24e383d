//! Programs that are run for denies and their ends: by which decisions, with what, and that none holds up anything.

use std::fs;
use std::process::{Command, Stdio};

use kit::{Home, until};

/// Notes what it is told: a line of what is run by, and for whom. `/bin/sh` reads it, so it need not be executable.
const NOTES: &str = "echo \"$1 $2\" >>DIR/told\n";

/// A home that runs `script` for each deny and each end, with these lines in `[plugin]`.
fn home(script: &str, more: &str) -> Home {
    let home = Home::with_log();
    let dir = home.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    fs::write(home.path("script"), script.replace("DIR", dir)).unwrap();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let plugin = format!(
        "[plugin]\ndeny = [[\"/bin/sh\", \"{dir}/script\", \"denied\"]]\npurge = [[\"/bin/sh\", \"{dir}/script\", \
         \"ended\"]]\n{}\n[decide]\nthreshold_root = 0\nthreshold_valid = 0\n",
        more.replace("DIR", dir)
    );
    fs::write(home.path("config"), config + &plugin).unwrap();
    home
}

/// A failure of `user` from an address, now.
fn failure(user: &str, address: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{now} web1 sshd[77]: Failed password for {user} from {address} port 22 ssh2\n")
}

/// What was told, once there are so many lines.
fn told(home: &Home, lines: usize) -> Vec<String> {
    until("the plugins are run", || {
        let text = fs::read_to_string(home.path("told")).unwrap_or_default();
        let all: Vec<_> = text.lines().map(str::to_owned).collect();
        (all.len() >= lines).then_some(all)
    })
}

/// How it goes with them.
fn plugins(home: &Home) -> Option<serde_json::Value> {
    Some(home.ask(&["status"])?["outputs"].as_array()?.first()?.clone())
}

/// Waits until nothing waits to be told.
fn all_told(home: &Home) {
    until("all is told", || (plugins(home)?["waiting"] == 0).then_some(()));
}

fn verb(home: &Home, arguments: &[&str]) {
    let output = home.denyd(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_deny_and_each_end_run_a_program_once() {
    let home = home(NOTES, "");
    let daemon = home.start();
    home.append(failure("root", "192.0.2.7").as_bytes());
    told(&home, 1);
    home.append(failure("root", "2001:db8:0:1::7").as_bytes());
    told(&home, 2);
    // What a person denies is none of our log; the policy's deny of the same prefix is.
    verb(&home, &["deny", "192.0.2.9"]);
    home.append(failure("root", "192.0.2.9").as_bytes());
    told(&home, 3);
    verb(&home, &["forgive", "192.0.2.7"]);
    told(&home, 4);
    verb(&home, &["allow", "2001:db8::/32"]);
    let all = told(&home, 5);
    let want = [
        "denied 192.0.2.7",
        "denied 2001:db8:0:1::/64",
        "denied 192.0.2.9",
        "ended 192.0.2.7",
        "ended 2001:db8:0:1::/64",
    ];
    assert_eq!(all, want);
    all_told(&home);
    daemon.stop();
    let daemon = home.start();
    verb(&home, &["forgive", "192.0.2.9"]);
    assert_eq!(told(&home, 6)[5], "ended 192.0.2.9", "and nothing was run again");
    all_told(&home);
    // A reload that names none ends it, and what is decided then is nobody's affair.
    let config = fs::read_to_string(home.path("config")).unwrap();
    let [with, without] = [config.clone(), config.replacen("[plugin]", "[plugin]\ntime_limit = \"1s\" #", 1)];
    let without = without.lines().filter(|line| !line.starts_with("deny =") && !line.starts_with("purge ="));
    fs::write(home.path("config"), without.collect::<Vec<_>>().join("\n")).unwrap();
    verb(&home, &["reload"]);
    home.append(failure("root", "192.0.2.8").as_bytes());
    until("it is denied", || home.stdout().contains("deny 192.0.2.8").then_some(()));
    fs::write(home.path("config"), with).unwrap();
    verb(&home, &["reload"]);
    home.append(failure("root", "192.0.2.10").as_bytes());
    assert_eq!(told(&home, 7)[6], "denied 192.0.2.10");
    daemon.stop();
}

#[test]
fn an_address_of_the_prefix_is_told_to_who_knows_no_prefixes() {
    let home = home(NOTES, "argument = \"address\"\nof = \"all\"");
    let daemon = home.start();
    home.append(failure("root", "2001:db8:0:1::7").as_bytes());
    told(&home, 1);
    all_told(&home);
    daemon.stop();
    let daemon = home.start();
    verb(&home, &["deny", "192.0.2.9"]);
    told(&home, 2);
    verb(&home, &["forgive", "2001:db8:0:1::/64"]);
    let want = ["denied 2001:db8:0:1::7", "denied 192.0.2.9", "ended 2001:db8:0:1::7"];
    assert_eq!(told(&home, 3), want);
    daemon.stop();
}

#[test]
fn one_that_hangs_or_fails_holds_up_nothing() {
    // Of the first host it hangs until it is killed; of the second it complains.
    let script = format!(
        "case $2 in 192.0.2.1) exec sleep 1000;; 192.0.2.2) printf 'no \\033[31mway\\n'; exit 7;; esac\n{NOTES}"
    );
    let home = home(&script, "time_limit = \"2s\"");
    let daemon = home.start();
    for n in 1..=3 {
        home.append(failure("root", &format!("192.0.2.{n}")).as_bytes());
    }
    until("all are denied", || {
        let denied = home.stdout();
        (1..=3).all(|n| denied.contains(&format!("deny 192.0.2.{n}"))).then_some(())
    });
    assert_eq!(told(&home, 1), ["denied 192.0.2.3"]);
    let status = until("both have failed", || plugins(&home).filter(|one| one["failed"] == 2 && one["waiting"] == 0));
    assert_eq!(status["told"], 1, "{status}");
    until("it is logged", || home.stderr().contains("failed").then_some(()));
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("FAIL plugins: it fails since ") && !doctor.contains("\x1b[31mway"), "{doctor}");
    daemon.stop();
}

#[test]
fn one_that_runs_when_denyd_is_killed_is_run_again() {
    let script = format!("test -e DIR/ready || {{ echo $$ >DIR/pid; exec sleep 1000; }}\n{NOTES}");
    let home = home(&script, "");
    let daemon = home.start();
    home.append(failure("root", "192.0.2.7").as_bytes());
    let pid: i32 = until("it runs", || fs::read_to_string(home.path("pid")).ok()?.trim().parse().ok());
    daemon.kill();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    fs::write(home.path("ready"), "").unwrap();
    let daemon = home.start();
    assert_eq!(told(&home, 1), ["denied 192.0.2.7"]);
    daemon.stop();
}

#[test]
fn off_tells_that_nobody_is_denied_and_the_next_start_that_they_are() {
    let home = home(NOTES, "");
    let daemon = home.start();
    home.append((failure("root", "192.0.2.7") + &failure("root", "192.0.2.8")).as_bytes());
    told(&home, 2);
    all_told(&home);
    daemon.stop();
    let off = home.denyd(&["off"]).output().unwrap();
    let said = String::from_utf8(off.stdout).unwrap();
    assert!(off.status.success() && said.contains("plugins: told of 2 ends\n"), "{said}");
    let sorted = |lines: usize, from: usize| {
        let mut all = told(&home, lines)[from..].to_vec();
        all.sort();
        all
    };
    assert_eq!(sorted(4, 2), ["ended 192.0.2.7", "ended 192.0.2.8"]);
    for _ in 0..2 {
        let daemon = home.start();
        assert_eq!(sorted(6, 4), ["denied 192.0.2.7", "denied 192.0.2.8"], "and once");
        all_told(&home);
        daemon.stop();
    }
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let home = home(NOTES, "");
    let dir = home.path("").display().to_string();
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.replacen("\"/bin/sh\", ", "", 1)).unwrap();
    for verb in ["check", "doctor"] {
        let output = home.denyd(&[verb]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("script: it may not be executed: chmod +x it"), "{verb} in {dir}: {said}");
        assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
    }
    let daemon = home.start();
    home.append(failure("root", "192.0.2.7").as_bytes());
    until("it has failed", || plugins(&home).filter(|one| one["failed"] == 1));
    verb(&home, &["forgive", "192.0.2.7"]);
    assert_eq!(told(&home, 1), ["ended 192.0.2.7"]);
    daemon.stop();
}

#[test]
fn whatever_a_user_is_called_no_shell_is_given_a_command() {
    if kit::skipped_without_root("a program that traces another") {
        return;
    }
    let home = home(NOTES, "");
    let daemon = home.start();
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-v", "-s", "4096", "-e", "trace=execve,execveat", "-o"])
        .arg(home.path("trace"))
        .args(["-p", &daemon.pid().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", daemon.pid());
    until("each thread is traced", || {
        let is_traced = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        fs::read_dir(&tasks).unwrap().all(|task| task.is_ok_and(is_traced)).then_some(())
    });
    let names =
        ["$(touch /tmp/x)", "`id`", "; sh -c id #", "x\" ; id \"", "' || id '", "-c", "a | sh", "root\\nsh -c id"];
    for (n, name) in names.iter().enumerate() {
        home.append(failure(&format!("invalid user {name}"), &format!("192.0.2.{}", n + 1)).as_bytes());
    }
    let all = told(&home, names.len());
    assert!(all.iter().all(|line| line.starts_with("denied 192.0.2.")), "{all:?}");
    all_told(&home);
    daemon.stop();
    assert!(strace.wait().unwrap().success());
    let trace = fs::read_to_string(home.path("trace")).unwrap();
    let runs: Vec<_> = trace.lines().filter(|line| line.contains("execve")).collect();
    let ours = |line: &&&str| line.contains("/script\", \"denied\", \"192.0.2.");
    assert_eq!(runs.iter().filter(ours).count(), names.len(), "{trace}");
    assert!(
        !runs.iter().any(|line| line.contains("\"-c\"") || line.contains("touch") || line.contains("id")),
        "{trace}"
    );
    // Nothing of this test's own environment reaches them.
    assert!(runs.iter().filter(ours).all(|line| line.contains("[\"LC_ALL=C\", \"PATH=/usr/local/sbin:")), "{trace}");
}

/// What somebody else could make another program is not run; `check` fails by it, and the log names it.
#[test]
fn a_program_that_others_could_change_is_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home(NOTES, "");
    let dir = home.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    fs::create_dir(home.path("plugins")).unwrap();
    fs::write(home.path("plugins/tell"), format!("#!/bin/sh\necho \"$1\" >>{dir}/told\n")).unwrap();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let deny = format!("deny = [[\"/bin/sh\", \"{dir}/script\", \"denied\"]]");
    fs::write(home.path("config"), config.replace(&deny, &format!("deny = [[\"{dir}/plugins/tell\"]]"))).unwrap();
    let mode = |name: &str, mode| fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    let check = |want: Option<&str>| {
        let output = home.denyd(&["check"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains(" plugin: ")).unwrap();
        let want = want
            .map_or("ok   plugin".to_owned(), |want| format!("somebody else could make it another program: {want}"));
        assert!(line.contains(&want), "{want}: {line}");
    };
    mode("plugins", 0o755);
    mode("plugins/tell", 0o755);
    check(None);
    mode("plugins", 0o775);
    check(Some(&format!("others may write {dir}/plugins (its mode is 0775): chmod go-w {dir}/plugins")));
    mode("plugins", 0o755);
    mode("plugins/tell", 0o757);
    check(Some(&format!("others may write {dir}/plugins/tell (its mode is 0757)")));
    let _daemon = home.start();
    home.append(failure("root", "192.0.2.7").as_bytes());
    until("it failed", || (plugins(&home)?["failed"] == 1).then_some(()));
    all_told(&home);
    assert!(home.stderr().contains("somebody else could make it another program") && !home.path("told").exists());
    mode("plugins/tell", 0o755);
    home.append(failure("root", "192.0.2.8").as_bytes());
    assert_eq!(told(&home, 1), ["192.0.2.8"]);
}
