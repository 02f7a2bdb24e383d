//! What root does in a directory that is the daemon's own user's: nothing that this user could have it do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use kit::Home;

/// The daemon's own user.
const USER: u32 = 65534;

/// Gives a directory and all in it to the daemon's user.
fn give(dir: &Path) {
    chown(dir, Some(USER), Some(USER)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { give(&path) } else { chown(&path, Some(USER), Some(USER)).unwrap() }
    }
}

/// A command, its exit status, and what it must say.
#[track_caller]
fn check(home: &Home, command: &[&str], code: i32, wants: &[&str]) {
    let output = home.denyd(command).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    for want in wants {
        assert!(text.contains(want), "{command:?}: no {want:?} in {text}");
    }
}

#[test]
fn root_does_nothing_that_the_daemons_user_could_have_it_do() {
    if !kit::in_box("owners::root_does_nothing_that_the_daemons_user_could_have_it_do") {
        return;
    }
    let home = Home::with_log();
    let hosts_deny =
        |name: &str| format!("backends = [\"hosts.deny\"]\n[deny.hosts_deny]\npath = {:?}\n", home.path(name));
    let config = fs::read_to_string(home.path("config")).unwrap();
    let config = |name: &str| {
        let top = config.replace("deny.backends = [\"stdout\"]\n", "");
        fs::write(home.path("config"), format!("{top}[deny]\n{}", hosts_deny(name))).unwrap();
    };
    config("hosts.deny");
    home.start().stop();
    give(&home.path("state"));
    let (state, before) = (home.path("state"), "PasswordAuthentication no\nsshd: 192.0.2.1\n");
    let belongs = format!("belongs to uid {USER}");

    // A place that only the database names, and lines that deny nobody.
    fs::write(home.path("secret"), before).unwrap();
    let note = format!("written hosts.deny {}", home.path("secret").display());
    let lines = r#"{"PasswordAuthentication no":"192.0.2.1","sshd: 192.0.2.1":"192.0.2.1"}"#;
    let database = rusqlite::Connection::open(home.path("state/denyd.db")).unwrap();
    database.execute("INSERT INTO notes VALUES(?1, ?2)", [&note, lines]).unwrap();
    drop(database);
    give(&state);
    check(&home, &["off"], 2, &[&belongs, "root changes nothing"]);
    assert_eq!(fs::read_to_string(home.path("secret")).unwrap(), before);
    config("secret");
    check(&home, &["off"], 2, &["secret: nothing of denyd is there now", "hosts.deny: only the database says"]);
    assert_eq!(fs::read_to_string(home.path("secret")).unwrap(), "PasswordAuthentication no\n");
    config("hosts.deny");

    // A configuration on trial, by which a verb would enforce.
    let trial = serde_json::json!({"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T00:10:00Z", "decided": 0,
        "before": format!("deny.{}", hosts_deny("other").replace("[deny.hosts_deny]\n", "deny.hosts_deny.")), "ended": false});
    fs::write(home.path("state/trial.json"), trial.to_string()).unwrap();
    chown(home.path("state/trial.json"), Some(USER), None).unwrap();
    check(&home, &["deny", "192.0.2.9"], 0, &[&belongs, "nothing is enforced"]);
    fs::remove_file(home.path("state/trial.json")).unwrap();
    // The last good one, while the file is broken.
    let file = home.path("config");
    let head = format!("# What denyd ran with last, by {file:?}. It holds while that file is broken.\n");
    let text = fs::read_to_string(&file).unwrap();
    config("other");
    let good = head + &fs::read_to_string(&file).unwrap();
    fs::write(home.path("state/last-good.toml"), good).unwrap();
    fs::write(&file, format!("{text}nonsense = 1\n")).unwrap();
    let denied = |code, wants| check(&home, &["deny", "192.0.2.10"], code, wants);
    give(&state);
    denied(2, &["nonsense"]);
    assert!(!home.path("other").exists());
    // Root's own counts.
    chown(&state, Some(0), Some(0)).unwrap();
    chown(home.path("state/last-good.toml"), Some(0), None).unwrap();
    denied(0, &["the last good one holds"]);
    assert!(fs::read_to_string(home.path("other")).unwrap().contains("sshd: 192.0.2.10"));
    fs::write(&file, text).unwrap();

    // What root makes there is his.
    give(&state);
    let copy = home.path("copy");
    check(&home, &["backup", copy.to_str().unwrap()], 0, &[]);
    for name in fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        fs::remove_file(name).unwrap();
    }
    check(&home, &["restore", copy.to_str().unwrap()], 0, &[]);
    check(&home, &["deny", "192.0.2.11"], 0, &[]);
    let all: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(all.len() >= 2);
    all.iter().for_each(|file| assert_eq!(file.metadata().unwrap().uid(), USER, "{file:?}"));
}
