//! A copy of all that is remembered: taken beside the daemon, put back, and known as one; and a database that a newer denyd
//! has written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::{Home, until};

/// A command, its exit status, and what it must say on both outputs.
fn check(home: &Home, command: &[&str], code: i32, wants: &[&str]) {
    let output = home.denyd(command).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    for want in wants {
        assert!(text.contains(want), "{command:?}: no {want:?} in {text}");
    }
}

/// A failed login of root.
fn failure(address: &str, pid: u32) -> String {
    format!("Nov 28 23:00:{:02} b sshd[{pid}]: Failed password for root from {address} port {pid} ssh2\n", pid % 60)
}

/// How often root failed from an address, as far as that is counted.
fn count(home: &Home, address: &str) -> u64 {
    home.ask(&["why", address]).unwrap()["tallies"]["root"].as_u64().unwrap()
}

fn copy(home: &Home, name: &str) -> String {
    home.path(name).to_str().unwrap().to_owned()
}

#[test]
fn a_copy_is_taken_beside_the_daemon_and_knows_that_it_is_one() {
    let home = Home::with_weeks();
    let daemon = home.start();
    let lines = [failure("192.0.2.1", 1), failure("192.0.2.2", 2), failure("192.0.2.2", 3)];
    home.append(lines.concat().as_bytes());
    daemon.folded(3);
    until("it is committed", || (home.history().len() == 1).then_some(()));
    let file = copy(&home, "copy");
    check(&home, &["backup", &file], 0, &["To go back to it: denyd restore"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "people type passwords as user names");
    check(&home, &["backup", &file], 2, &["it is there already"]);
    // What comes after that is as if it had never been.
    home.append(failure("192.0.2.1", 4).as_bytes());
    daemon.folded(4);
    until("it is committed", || (home.history().len() == 2).then_some(()));
    check(&home, &["forgive", "192.0.2.2"], 0, &[]);
    check(&home, &["deny", "192.0.2.3"], 0, &[]);
    let running = format!("another denyd (pid {}) uses", daemon.pid());
    check(&home, &["restore", &file], 2, &[&running, "stop it first"]);
    check(&home, &["why", "192.0.2.3"], 0, &[]);
    daemon.stop();
    check(&home, &["restore", &file], 0, &["as it was at", "before is in", "denyd scan --apply"]);
    check(&home, &["why", "192.0.2.2"], 0, &[]);
    check(&home, &["why", "192.0.2.1", "192.0.2.3"], 1, &["192.0.2.3 is not denied, and nothing is known"]);
    // The log is not read again: not from where it was at the copy, nor from its beginning.
    for records in 1..3 {
        let daemon = home.start();
        daemon.caught_up();
        let status = home.ask(&["status"]).unwrap();
        assert!(status["restored"]["copied"].is_string() && status["restored"]["restored"].is_string(), "{status}");
        check(&home, &["status"], 0, &["a copy that was taken at"]);
        assert!(home.stderr().contains("the database is a copy"), "{}", home.stderr());
        home.append(failure("192.0.2.9", 10 + records).as_bytes());
        daemon.folded(1);
        until("it is counted", || (count(&home, "192.0.2.9") == u64::from(records)).then_some(()));
        assert_eq!(count(&home, "192.0.2.1"), 1);
        daemon.stop();
    }
    // Nor is what was before lost.
    let before = fs::read_dir(home.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let before = before.filter(|path| path.to_str().unwrap().contains(".before-")).min().unwrap();
    check(&home, &["restore", before.to_str().unwrap()], 0, &[]);
    check(&home, &["why", "192.0.2.1", "192.0.2.3"], 0, &[]);
    check(&home, &["why", "192.0.2.2"], 1, &[]);
}

/// What is in hosts.deny is of now, whatever the copy thinks.
#[test]
fn what_was_written_since_the_copy_is_taken_away() {
    let home = denied_since_the_copy();
    check(&home, &["restore", &copy(&home, "copy")], 0, &[]);
    let daemon = home.start();
    until("it is taken away", || (!is_denied(&home, "192.0.2.2") && is_denied(&home, "192.0.2.1")).then_some(()));
    daemon.stop();
}

/// Nobody knows then which lines are ours.
#[test]
fn what_a_database_wrote_that_cannot_be_read_is_taken_over() {
    let home = denied_since_the_copy();
    fs::write(home.path("state/denyd.db"), [b'x'; 8192]).unwrap();
    check(&home, &["restore", &copy(&home, "copy")], 0, &["as it was at", "could not be read", "taken over"]);
    let daemon = home.start();
    check(&home, &["why", "192.0.2.1", "192.0.2.2"], 0, &[]);
    check(&home, &["forgive", "192.0.2.2"], 0, &[]);
    until("it is taken away", || (!is_denied(&home, "192.0.2.2") && is_denied(&home, "192.0.2.1")).then_some(()));
    daemon.stop();
}

/// A home with a copy, where hosts.deny has 192.0.2.1, which the copy has too, and 192.0.2.2.
fn denied_since_the_copy() -> Home {
    let home = Home::with_log();
    let deny = home.path("hosts.deny");
    let config = fs::read_to_string(home.path("config")).unwrap();
    let to = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = {deny:?}");
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]", &to)).unwrap();
    fs::write(&deny, "# mine\n").unwrap();
    let daemon = home.start();
    for (address, is_copied) in [("192.0.2.1", true), ("192.0.2.2", false)] {
        check(&home, &["deny", address], 0, &[]);
        until("it is written", || is_denied(&home, address).then_some(()));
        if is_copied {
            check(&home, &["backup", &copy(&home, "copy")], 0, &[]);
        }
    }
    daemon.stop();
    home
}

fn is_denied(home: &Home, address: &str) -> bool {
    fs::read_to_string(home.path("hosts.deny")).unwrap().contains(&format!("sshd: {address}\n"))
}

/// Bytes of a database, with what is not in its own file yet.
fn bytes(file: &Path) -> Vec<Vec<u8>> {
    let wal = file.with_extension("db-wal");
    [file, &wal].iter().map(|file| fs::read(file).unwrap_or_default()).collect()
}

#[test]
fn what_is_no_copy_of_denyd_is_refused_and_nothing_is_lost() {
    let home = Home::with_log();
    home.start().stop();
    check(&home, &["deny", "192.0.2.1"], 0, &[]);
    let database = home.path("state/denyd.db");
    let before = bytes(&database);
    let refused = |name: &str, wants: &[&str]| {
        check(&home, &["restore", &copy(&home, name)], 2, wants);
        assert!(bytes(&database) == before, "{name}");
        let left = fs::read_dir(home.path("state")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!left.into_iter().any(|name| name.to_str().unwrap().contains("fresh")), "{name}");
    };
    refused("missing", &["missing: No such file"]);
    fs::write(home.path("rubbish"), "this is no database\n".repeat(500)).unwrap();
    refused("rubbish", &["rubbish: file is not a database"]);
    let other = rusqlite::Connection::open(home.path("other")).unwrap();
    other.execute_batch("CREATE TABLE notes(x); CREATE TABLE other(x)").unwrap();
    refused("other", &["other: it is no database of denyd"]);
    check(&home, &["backup", &copy(&home, "newer")], 0, &[]);
    rusqlite::Connection::open(home.path("newer")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    refused("newer", &["newer was written by a newer denyd (schema 99", "install that version again"]);
    check(&home, &["backup", &copy(&home, "nowhere/copy")], 2, &["nowhere/copy: No such file"]);
    check(&home, &["why", "192.0.2.1"], 0, &[]);
}

/// Somebody goes back to an older denyd: whatever it does, the newer one finds all as it was.
#[test]
fn a_database_of_a_newer_denyd_is_named_and_left_alone() {
    let home = Home::with_log();
    home.start().stop();
    check(&home, &["deny", "192.0.2.1"], 0, &[]);
    let database = home.path("state/denyd.db");
    let set = |version: i64| {
        let db = rusqlite::Connection::open(&database).unwrap();
        let before: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        before
    };
    let ours = set(99);
    let before = bytes(&database);
    let wants = [
        &format!("denyd.db was written by a newer denyd (schema 99, this one knows {ours})"),
        "install that version again",
    ];
    for command in
        [&["run"][..], &["run", "--dry-run"], &["list"], &["why", "192.0.2.1"], &["forgive", "--all"], &["off"]]
    {
        check(&home, command, 2, &wants);
        assert!(bytes(&database) == before, "{command:?}");
    }
    check(&home, &["doctor"], 1, &wants);
    assert!(bytes(&database) == before, "doctor");
    set(ours);
    let daemon = home.start();
    check(&home, &["why", "192.0.2.1"], 0, &[]);
    daemon.stop();
}
