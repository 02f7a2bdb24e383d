//! `denyd drill`: failures that nobody made go from the log to the back end, and leave nothing.

use std::fs;

use kit::Home;
use serde_json::Value;

const FILE: &str = "[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\n";

/// A home that denies by a file as libwrap reads one.
fn home(inputs: &str) -> Home {
    let home = Home::new(inputs);
    fs::write(home.log(), "").unwrap();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let list = home.path("denied");
    fs::write(&list, "").unwrap();
    let deny = format!(
        "deny.backends = [\"hosts.deny\", \"stdout\"]\ndeny.hosts_deny = {{ path = {list:?}, service = \"sshd\" }}\n"
    );
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]\n", &deny)).unwrap();
    home
}

/// Runs a drill; returns its exit status and its steps.
fn drill(home: &Home, arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output = home.denyd(&[&["drill", "--json"], arguments].concat()).output().unwrap();
    let steps = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let steps = steps.map(|line| serde_json::from_slice(line).unwrap()).collect();
    (output.status.code(), steps, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn told(steps: &[Value]) -> Vec<(&str, bool)> {
    steps.iter().map(|step| (step["step"].as_str().unwrap(), step["ok"].as_bool().unwrap())).collect()
}

const ALL: [(&str, bool); 7] = [
    ("written", true),
    ("read", true),
    ("decided", true),
    ("set", true),
    ("reports", true),
    ("withdrawn", true),
    ("no trace", true),
];

/// What is remembered, and is to be the same after a drill.
fn remembered(home: &Home) -> Vec<String> {
    let asked = [&["list", "hosts"][..], &["list", "addresses"], &["list", "users"], &["list", "pairs"], &["history"]];
    let mut all: Vec<String> = asked
        .iter()
        .map(|asked| {
            let output = home.denyd(&[*asked, &["--json"]].concat()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    let status = home.denyd(&["status", "--json"]).output().unwrap().stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    for key in ["wanted", "tracked", "sessions", "shapes", "followers"] {
        all.push(format!("{key} {}", status[key]));
    }
    all
}

#[test]
fn a_drill_goes_all_the_way_and_leaves_nothing() {
    let home = home(FILE);
    let daemon = home.start();
    let now = kit::now().to_zoned(jiff::tz::TimeZone::system()).strftime("%b %e %H:%M:%S");
    let line = format!("{now} here sshd[7]: Failed password for root from 198.51.100.250 port 9 ssh2\n");
    home.append(line.as_bytes());
    // By a commit, too, which is what says who tried whom.
    let is_known = |all: Vec<String>| [1, 3].iter().all(|at| all[*at].contains("198.51.100.250"));
    kit::until("the failure", || is_known(remembered(&home)).then_some(()));
    let before = remembered(&home);
    for arguments in [&["--append"][..], &["--append", "--ipv6"], &["--append", "--input", "auth"]] {
        let (code, steps, error) = drill(&home, arguments);
        assert_eq!((told(&steps), code), (ALL.to_vec(), Some(0)), "{arguments:?}: {steps:?} {error}");
        assert_eq!(remembered(&home), before, "{arguments:?}");
        assert_eq!(fs::read_to_string(home.path("denied")).unwrap().trim(), "", "{arguments:?}");
    }
    // The screen of a person.
    let screen = home.denyd(&["drill", "--append"]).output().unwrap().stdout;
    let screen = String::from_utf8(screen).unwrap();
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    assert_eq!(screen.matches("ok  ").count(), ALL.len(), "{screen}");
    // Who reads the log and writes the same once more is counted as anybody.
    let log = fs::read_to_string(home.log()).unwrap();
    let again: Vec<&str> = log.lines().filter(|line| line.contains("denyd-drill")).collect();
    assert_eq!(again.len(), 4 * 6);
    home.append(again[23].replace("sshd[", "sshd[9").as_bytes());
    home.append(b"\n");
    kit::until("what comes again", || (remembered(&home)[1] != before[1]).then_some(()));
    drop(daemon);
}

#[test]
fn a_step_that_is_missing_is_told() {
    // Nobody writes into the file that is read.
    let inputs = format!("{FILE}[[input]]\nkind = \"multilog\"\nname = \"multi\"\npath = \"DIR/multi\"\n");
    let home = home(&inputs);
    fs::create_dir(home.path("multi")).unwrap();
    let daemon = home.start();
    let (code, _, error) = drill(&home, &["--input", "multi"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("multilog writes there"), "{error}");
    let (code, _, error) = drill(&home, &["--input", "nobody"]);
    assert!(code == Some(2) && error.contains("there is no input nobody"), "{error}");
    // The back end cannot write.
    fs::remove_file(home.path("denied")).unwrap();
    fs::create_dir(home.path("denied")).unwrap();
    let (code, steps, _) = drill(&home, &["--append"]);
    assert_eq!(code, Some(1));
    assert!(told(&steps).contains(&("set", false)), "{steps:?}");
    assert!(told(&steps).contains(&("no trace", true)), "{steps:?}");
    drop(daemon);
    let (code, _, error) = drill(&home, &["--append"]);
    assert!(code == Some(2) && error.contains("no daemon answers"), "{error}");
}

#[test]
fn a_listener_is_drilled_by_its_socket() {
    let home = home("[[input]]\nkind = \"syslog\"\nname = \"socket\"\nlisten = \"unix-datagram://DIR/log-socket\"\n");
    let daemon = home.start();
    let (code, steps, error) = drill(&home, &[]);
    assert_eq!((told(&steps), code), (ALL.to_vec(), Some(0)), "{steps:?} {error}");
    drop(daemon);
}
