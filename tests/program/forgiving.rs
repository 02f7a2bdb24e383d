//! Forgiving as DenyHosts' users know it: stop, delete the lines of an address from every file, start.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use kit::{Home, until};

/// The files that say who failed.
const HOSTS: [&str; 4] = ["hosts", "hosts-valid", "hosts-root", "hosts-restricted"];
/// Who fails, each once, as root.
const THREE: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];

/// A home whose daemon writes `DIR/hosts.deny`, denies at the first failure of root, and has this in `[compat]`.
fn home(compat: &str) -> Home {
    let home = Home::new(&format!(
        "[decide]\nthreshold_root = 0\n[compat]\n{compat}\n[[input]]\nkind = \"file\"\nname = \"auth\"\n\
         path = \"DIR/log\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n"
    ));
    let config = fs::read_to_string(home.path("config")).unwrap();
    let to = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = {:?}", home.path("hosts.deny"));
    fs::write(home.path("config"), config.replacen("deny.backends = [\"stdout\"]", &to, 1)).unwrap();
    fs::write(home.log(), "").unwrap();
    home
}

const WORK_DIR: &str = "work_dir = \"DIR/work\"";

fn fail(home: &Home, user: &str, address: &str) {
    home.append(
        format!("{} web1 sshd[5]: Failed password for {user} from {address} port 1 ssh2\n", kit::now()).as_bytes(),
    );
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn is_refused(home: &Home, address: &str) -> bool {
    text(&home.path("hosts.deny")).contains(&format!("sshd: {address}\n"))
}

/// Denies these, and stops.
fn deny_and_stop(home: &Home, addresses: &[&str]) {
    addresses.iter().for_each(|address| fail(home, "root", address));
    let daemon = home.start();
    until("they are denied", || addresses.iter().all(|address| is_refused(home, address)).then_some(()));
    daemon.stop();
    println!("{}", home.stderr()); // shown where the test fails
}

/// Deletes each line with the address from a file, as an editor would.
fn delete(path: &Path, address: &str) {
    let left: Vec<_> =
        text(path).lines().filter(|line| !line.contains(address)).map(|line| format!("{line}\n")).collect();
    fs::write(path, left.concat()).unwrap();
}

fn delete_everywhere(home: &Home, address: &str) {
    for file in fs::read_dir(home.path("work")).unwrap() {
        delete(&file.unwrap().path(), address);
    }
    delete(&home.path("hosts.deny"), address);
}

fn denied(home: &Home) -> Vec<String> {
    let rows = home.ask(&["list"]).unwrap();
    let mut all: Vec<_> = rows.as_array().unwrap().iter().map(|row| kit::text(&row["prefix"])).collect();
    all.sort();
    all
}

/// How often each of these is in the history as forgiven by hand.
fn by_hand(home: &Home) -> Vec<String> {
    let is_it = |row: &&serde_json::Value| row["why"] == "forgiven" && row["who"] == "hand";
    home.history().iter().filter(is_it).map(|row| kit::text(&row["prefix"])).collect()
}

#[test]
fn the_five_steps_of_the_article_let_in_again() {
    let home = home(WORK_DIR);
    fail(&home, "al", "192.0.2.1");
    deny_and_stop(&home, &THREE);
    let roots = text(&home.path("work/hosts-root"));
    assert_eq!(roots.lines().count(), 3, "{roots}");
    assert!(roots.starts_with("192.0.2.1:1:"), "{roots}");
    assert!(text(&home.path("work/users-hosts")).contains("al - 192.0.2.1:1:"));
    assert!(text(&home.path("work/users-valid")).contains("root:3:"));
    delete_everywhere(&home, "192.0.2.1");
    let daemon = home.start();
    assert_eq!(denied(&home), THREE[1..]);
    until("hosts.deny is written", || (!is_refused(&home, THREE[0]) && is_refused(&home, THREE[1])).then_some(()));
    assert_eq!(by_hand(&home), ["192.0.2.1"]);
    let log = home.stderr();
    assert_eq!(log.matches("forgiven by hand").count(), 1, "{log}");
    let counted = home.ask(&["list", "addresses"]).unwrap();
    assert!(!counted.to_string().contains("192.0.2.1"), "its counts are cleared: {counted}");
    let history = String::from_utf8(home.denyd(&["history"]).output().unwrap().stdout).unwrap();
    assert!(history.contains("forgiven by hand"), "{history}");
    daemon.stop();
    // It stays so, and what the files list is what is known.
    let daemon = home.start();
    assert_eq!((denied(&home), by_hand(&home).len()), (THREE[1..].iter().map(ToString::to_string).collect(), 1));
    daemon.stop();
    let all = HOSTS.map(|name| text(&home.path("work").join(name))).concat() + &text(&home.path("work/users-hosts"));
    assert!(!all.contains("192.0.2.1") && all.contains("192.0.2.2"), "{all}");
}

#[test]
fn a_line_that_stands_anywhere_forgives_nobody() {
    let home = home(WORK_DIR);
    deny_and_stop(&home, &THREE);
    delete(&home.path("hosts.deny"), "192.0.2.1");
    for name in HOSTS {
        delete(&home.path("work").join(name), "192.0.2.2");
    }
    let daemon = home.start();
    until("the lines are put back", || is_refused(&home, THREE[0]).then_some(()));
    until("in the work directory too", || text(&home.path("work/hosts-root")).contains("192.0.2.2:1:").then_some(()));
    assert_eq!((denied(&home), by_hand(&home).len()), (THREE.map(str::to_owned).to_vec(), 0));
    for verb in ["doctor", "status"] {
        let said = String::from_utf8(home.denyd(&[verb]).output().unwrap().stdout).unwrap();
        assert!(said.contains("put back: 192.0.2.1, 192.0.2.2; see denyd forgive"), "{said}");
    }
    daemon.stop();
}

#[test]
fn where_all_is_gone_a_person_must_say_so() {
    let home = home(WORK_DIR);
    deny_and_stop(&home, &THREE);
    let empty = || {
        THREE.iter().for_each(|address| delete_everywhere(&home, address));
    };
    empty();
    let daemon = home.start();
    until("the lines are put back", || THREE.iter().all(|address| is_refused(&home, address)).then_some(()));
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("every line of ours is gone") && doctor.contains("--forgive-deleted"), "{doctor}");
    daemon.stop();
    empty();
    let daemon = home.start_with(&["run", "--forgive-deleted"]);
    assert_eq!((denied(&home).len(), by_hand(&home).len()), (0, 3));
    daemon.stop();
}

#[test]
fn without_a_work_dir_the_line_of_hosts_deny_does_where_denyhosts_is_configured() {
    for (compat, want) in [("forgive_deleted = true", 1), ("", 0)] {
        let home = home(compat);
        deny_and_stop(&home, &THREE);
        delete(&home.path("hosts.deny"), "192.0.2.2");
        let daemon = home.start();
        assert_eq!((by_hand(&home).len(), denied(&home).len()), (want, 3 - want), "{compat}");
        until("all others stand there", || (denied(&home).iter().all(|one| is_refused(&home, one))).then_some(()));
        daemon.stop();
    }
}

/// Where it did not end well nobody knows what was written.
#[test]
fn after_a_kill_no_line_that_is_gone_forgives() {
    let home = home(WORK_DIR);
    deny_and_stop(&home, &THREE);
    let daemon = home.start();
    until("the files are written", || home.ask(&["status"])?["work_dir"]["written"].is_string().then_some(()));
    daemon.kill();
    delete_everywhere(&home, "192.0.2.1");
    let daemon = home.start();
    until("the lines are put back", || is_refused(&home, THREE[0]).then_some(()));
    assert_eq!((denied(&home).len(), by_hand(&home).len()), (3, 0));
    daemon.stop();
}

/// Killed at any moment, of a write, of a stop or of a start, it forgives nobody: nobody deleted a line.
#[test]
fn kills_at_random_moments_forgive_nobody() {
    const KILLS: usize = 12;
    let home = home(WORK_DIR);
    let mut random = kit::Random::new();
    deny_and_stop(&home, &THREE);
    for kill in 0..KILLS * kit::longer() {
        let address = format!("198.51.100.{}", kill % 250 + 1);
        fail(&home, "root", &address);
        let daemon = home.spawn();
        // A deny makes it write all its files; half of the kills come while it ends.
        let wait = std::time::Duration::from_millis(u64::from(random.below(400_u32)));
        if random.below(2) == 0 {
            until("it is denied", || is_refused(&home, &address).then_some(()));
            let pid = nix::unistd::Pid::from_raw(daemon.pid().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            std::thread::sleep(wait / 4);
        } else {
            std::thread::sleep(wait);
        }
        daemon.kill();
    }
    let daemon = home.start();
    daemon.caught_up();
    assert_eq!(by_hand(&home), Vec::<String>::new());
    assert_eq!(denied(&home).len(), THREE.len() + (KILLS * kit::longer()).min(250));
    daemon.stop();
}

/// Whoever may write the directory could forgive addresses. That holds up no deny, and is told.
#[test]
fn a_work_dir_of_others_is_refused_and_told() {
    let home = home(WORK_DIR);
    let work = home.path("work");
    fs::create_dir(&work).unwrap();
    fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).unwrap();
    fail(&home, "root", THREE[0]);
    let daemon = home.start();
    until("it is denied all the same", || is_refused(&home, THREE[0]).then_some(()));
    let problem = until("it is told", || home.ask(&["status"])?["work_dir"]["problem"].as_str().map(str::to_owned));
    assert!(problem.contains("others may write") && problem.contains("chmod go-w"), "{problem}");
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("FAIL work directory: "), "{doctor}");
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
    // It is tried again, and told once.
    fs::set_permissions(&work, fs::Permissions::from_mode(0o700)).unwrap();
    fail(&home, "root", THREE[1]);
    until("the files are written", || text(&work.join("hosts-root")).contains(THREE[0]).then_some(()));
    assert_eq!(home.stderr().matches("the work directory cannot be written").count(), 1, "{}", home.stderr());
    daemon.stop();
    // A file that others may write is believed no more than that, and a link is followed nowhere.
    delete_everywhere(&home, THREE[0]);
    fs::set_permissions(work.join("hosts"), fs::Permissions::from_mode(0o666)).unwrap();
    let target = home.path("elsewhere");
    fs::write(&target, "mine").unwrap();
    fs::remove_file(work.join("users-valid")).unwrap();
    symlink(&target, work.join("users-valid")).unwrap();
    let daemon = home.start();
    until("the files are written", || text(&work.join("hosts-root")).contains(THREE[0]).then_some(()));
    until("the link is replaced", || fs::symlink_metadata(work.join("users-valid")).unwrap().is_file().then_some(()));
    assert_eq!((by_hand(&home).len(), text(&target).as_str()), (0, "mine"));
    assert_eq!(fs::metadata(work.join("hosts")).unwrap().permissions().mode() & 0o022, 0);
    daemon.stop();
}

/// What strangers call themselves is one field of one line, whatever it holds.
#[test]
fn a_strangers_name_makes_no_line_of_its_own() {
    let home = home(WORK_DIR);
    let long = "x".repeat(300);
    let names = ["a:9:Sat Nov 21 23:38:26 2026", "b - 192.0.2.99", "c%0A192.0.2.98:9:x", " d ", "\u{1b}[2J", &long];
    for (pid, name) in (10..).zip(names) {
        home.append(
            format!("{} web1 sshd[{pid}]: Invalid user {name} from 192.0.2.50 port {pid}\n", kit::now()).as_bytes(),
        );
    }
    deny_and_stop(&home, &THREE);
    let users = text(&home.path("work/users-invalid"));
    assert_eq!(users.lines().count(), names.len(), "{users}");
    for line in users.lines() {
        assert!(line.len() < 1000 && line.is_ascii() && !line.contains('\u{1b}'), "{line:?}");
        assert_eq!(line.matches(':').count(), 4, "{line:?}");
    }
    assert!(text(&home.path("work/hosts")).starts_with("192.0.2.50:6:"));
    // Nothing of it is an address that is listed, or could be deleted.
    let daemon = home.start();
    assert_eq!(by_hand(&home).len(), 0);
    daemon.stop();
}

/// What DenyHosts itself had written is kept beside our files.
#[test]
fn what_denyhosts_wrote_before_is_kept() {
    let home = home(WORK_DIR);
    fs::create_dir(home.path("work")).unwrap();
    fs::write(home.path("work/hosts-root"), "203.0.113.9:7:Sat Nov 21 23:38:26 2026\n").unwrap();
    deny_and_stop(&home, &THREE);
    let [before, now] = ["work/hosts-root.denyhosts", "work/hosts-root"].map(|name| text(&home.path(name)));
    assert_eq!(before, "203.0.113.9:7:Sat Nov 21 23:38:26 2026\n");
    assert!(now.contains(THREE[0]) && !now.contains("203.0.113.9"), "{now}");
    deny_and_stop(&home, &["192.0.2.4"]);
    assert_eq!(text(&home.path("work/hosts-root.denyhosts")), before, "it is what was there first");
}
