//! Who ran DenyHosts takes over what it knew and did, and may give it back; and what denyd knows leaves in DenyHosts' files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use kit::{until, until_or};
use serde_json::Value;

/// What a fake iptables does with a file of rules: lists those of INPUT, and carries out scripts.
const IPTABLES: &str = r#"#!/bin/sh
case "$*" in "-w 10 -S INPUT") cat DIR/rules;; *) echo "no such arguments: $*" >&2; exit 2;; esac
"#;
const IPTABLES_RESTORE: &str = r#"#!/bin/sh
[ "$*" = "-w 10 --noflush" ] || exit 2
awk 'NR == FNR { if (/^-A/) rule[++n] = $0; else head = head $0 "\n"; next }
    /^-D INPUT / { sub(/^-D/, "-A"); for (i = 1; i <= n && rule[i] != $0; i++); if (i > n) exit 1
        for (n--; i <= n; i++) rule[i] = rule[i + 1] }
    /^-I INPUT / { at = $3; sub(/^-I INPUT [0-9]+/, "-A INPUT"); if (at > n + 1) exit 1
        for (i = ++n; i > at; i--) rule[i] = rule[i - 1]; rule[at] = $0 }
    END { printf "%s", head; for (i = 1; i <= n; i++) print rule[i] }' DIR/rules - >DIR/rules.new && mv DIR/rules.new DIR/rules
"#;

/// A machine on which DenyHosts ran, below a directory.
struct Old {
    dir: tempfile::TempDir,
}

impl Old {
    fn new() -> Self {
        let old = Old { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(old.path("etc/cron.d")).unwrap();
        fs::create_dir(old.path("work")).unwrap();
        for file in fs::read_dir(kit::data("denyhosts/work")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), old.path("work").join(file.file_name())).unwrap();
        }
        let line = |second: u32, user: &str| {
            format!(
                "Nov 20 23:38:{second:02} b sshd[{second}]: Failed password for {user} from 192.0.2.12 port 9 ssh2\n"
            )
        };
        let read = line(1, "root") + &line(2, "root");
        old.write("log", &(read.clone() + &line(3, "root") + &line(4, "root")));
        old.write("work/offset", &format!("{}\n{}\n", line(1, "root").trim_end(), read.len()));
        let (fresh, stale) = (days_ago(1), days_ago(60));
        old.write(
            "hosts.deny",
            &format!(
                "# local rules\nALL: PARANOID\n# DenyHosts: {fresh} | sshd: 192.0.2.10\nsshd: 192.0.2.10\n\
                 # DenyHosts: {stale} | sshd: 192.0.2.14\nsshd: 192.0.2.14\nsshd: 192.0.2.12\nsshd: 192.0.2.99\n\
                 # DenyHosts: {fresh} | sshd: 1.1.1.1\nsshd: 1.1.1.1\nsshd: 192.0.2.40\nsshd: 203.0.113.0/255.255.255.0\n"
            ),
        );
        old.write(
            "hosts.allow",
            "sshd: 203.0.113.7\nsshd: .example.org EXCEPT /etc/hosts.evil\nsshd: 203.0.113.8 : spawn /usr/bin/denyhosts.py &\n",
        );
        old.write(
            "rules",
            "-P INPUT ACCEPT\n-A INPUT -s 192.0.2.10/32 -j DROP\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 192.0.2.10/32 -j DROP\n\
             -A INPUT -s 192.0.2.77/32 -j DROP\n-A INPUT -s 192.0.2.30/32 -p tcp -m tcp --dport 22 -j DROP\n",
        );
        for (name, text) in [("iptables", IPTABLES), ("iptables-restore", IPTABLES_RESTORE)] {
            old.write(name, text);
            fs::set_permissions(old.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        old.write("etc/cron.d/denyhosts", "*/10 * * * * root python /usr/bin/denyhosts.py -c /etc/denyhosts.conf\n");
        old.write(
            "denyhosts.conf",
            "SECURE_LOG = DIR/log\nHOSTS_DENY = DIR/hosts.deny\nWORK_DIR = DIR/work\nETC_DIR = DIR/etc\nLOCK_FILE = DIR/lock\n\
             BLOCK_SERVICE = sshd\nPURGE_DENY = 4w\nDENY_THRESHOLD_INVALID = 5\nDENY_THRESHOLD_VALID = 10\n\
             DENY_THRESHOLD_ROOT = 1\nDENY_THRESHOLD_RESTRICTED = 1\nIPTABLES = DIR/iptables\n",
        );
        old.configure("\"hosts.deny\"");
        old
    }

    /// What denyd runs by: what `import` prints, with directories of the test's own, and these back ends.
    fn configure(&self, back_ends: &str) {
        let (code, toml, err) = self.run(&["import", self.path("denyhosts.conf").to_str().unwrap(), "--root", "DIR/"]);
        assert_eq!(code, Some(0), "{err}");
        let top = "state_dir = \"DIR/state\"\ncontrol_socket = \"DIR/control\"\nspare_machine = false\n";
        let start = toml.find("backends = [").unwrap();
        let end = start + toml[start..].find('\n').unwrap();
        let toml = format!("{top}{}backends = [{back_ends}]{}", &toml[..start], &toml[end..]);
        self.write("denyd.toml", &toml);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let dir = format!("{}/", self.dir.path().display());
        fs::write(self.path(name), text.replace("DIR/", &dir)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = kit::denyd(&[]);
        let ours = self.path("denyd.toml");
        if ours.exists() {
            command.args(["--config", ours.to_str().unwrap()]);
        }
        let dir = format!("{}/", self.dir.path().display());
        command.args(arguments.iter().map(|argument| argument.replace("DIR/", &dir))).env("TZ", "UTC");
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs `import` of the old configuration with these arguments; what it says.
    #[track_caller]
    fn import(&self, arguments: &[&str], code: i32) -> String {
        let all = [&["import", "DIR/denyhosts.conf", "--root", "DIR/"], arguments].concat();
        let (found, out, err) = self.run(&all);
        assert_eq!(found, Some(code), "{out}{err}");
        out + &err
    }

    fn list(&self, what: &[&str]) -> Vec<Value> {
        let (_, out, err) = self.run(&[what, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{what:?}: {out}{err}"))
    }

    fn why(&self, address: &str) -> Value {
        let (_, out, err) = self.run(&["why", address, "--json"]);
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"))
    }

    /// What is known, by what lists show.
    fn known(&self) -> Vec<Vec<Value>> {
        let lists = ["hosts", "addresses", "users", "pairs", "suspicious", "released"].map(|what| ["list", what]);
        lists.iter().map(|what| self.list(what)).collect()
    }

    /// The files of DenyHosts, byte by byte.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let work = fs::read_dir(self.path("work")).unwrap();
        let work = work.map(|file| format!("work/{}", file.unwrap().file_name().to_str().unwrap()));
        let names = work.chain(["hosts.deny", "hosts.allow", "rules", "log"].map(str::to_owned));
        names.map(|name| (name.clone(), fs::read(self.path(&name)).unwrap())).collect()
    }
}

/// The time so many days ago as DenyHosts wrote it, in UTC.
fn days_ago(days: i64) -> String {
    let at = kit::now().as_second() - days * 86_400;
    jiff::Timestamp::from_second(at).unwrap().strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// Prefix and end of each deny, without the time of day.
fn denied(list: &[Value]) -> Vec<String> {
    let row = |row: &Value| {
        let until = row["until"].as_str().map_or("for ever", |until| &until[..10]);
        format!("{} {until}", row["prefix"].as_str().unwrap())
    };
    let mut rows: Vec<_> = list.iter().map(row).collect();
    rows.sort();
    rows
}

fn in_days(days: i64) -> String {
    jiff::Timestamp::from_second(kit::now().as_second() + days * 86_400).unwrap().strftime("%Y-%m-%d").to_string()
}

#[test]
fn what_denyhosts_knew_is_shown_then_taken_over_once_and_given_back() {
    let old = Old::new();
    let before = old.files();
    let told = old.import(&[], 0);
    for want in [
        "entries of DIR/hosts.deny",
        "denies of 2 addresses, 1 copies; then the rules go",
        "rules for all ports",
        "closed to the service sshd alone from now on",
        "work/hosts:6: no address".trim_start_matches("work/"),
        "purge-history:2: no address",
        "hosts.deny:8: sshd: 192.0.2.99 stays as it is",
        "iptables, INPUT 4: -s 192.0.2.77/32 -j DROP stays as it is",
        "hosts.allow:2: not taken, since it has an EXCEPT",
        "hosts.allow:3: not taken, since it has an option",
        "etc/cron.d/denyhosts:1: */10",
        "The unit must run as root, since it writes DIR/hosts.deny",
    ] {
        let want = want.replace("DIR", old.dir.path().to_str().unwrap());
        assert!(told.contains(&want), "no {want:?} in {told}");
    }
    assert!(old.files() == before && !old.path("state").exists(), "it only looks");

    let told = old.import(&["--yes"], 0);
    assert!(told.contains("Taken over from DenyHosts") && told.contains("4 addresses are denied by denyd"), "{told}");
    let known = old.known();
    // Until the stamp and PURGE_DENY; for ever where nobody would have purged it; the rule of one that was purged once more.
    let (fresh, anew) = (in_days(27), in_days(28));
    let want = [
        format!("192.0.2.10 {fresh}"),
        "192.0.2.12 for ever".to_owned(),
        format!("192.0.2.30 {anew}"),
        "192.0.2.40 for ever".to_owned(),
    ];
    assert_eq!(denied(&known[0]), want);
    let (_, why, _) = old.run(&["why", "192.0.2.10"]);
    assert!(why.contains("taken over from DenyHosts"), "{why}");
    let why = |address: &str| old.why(address);
    assert_eq!(
        (&why("192.0.2.11")["tallies"]["invalid"], &why("192.0.2.11")["tallies"]["valid"]),
        (&3.into(), &2.into())
    );
    assert_eq!(why("2001:db8:0:1::1")["tallies"]["invalid"], 7, "an IPv6 address, which DenyHosts lost");
    assert_eq!((&why("192.0.2.14")["tallies"]["invalid"], &why("192.0.2.14")["times"]), (&0.into(), &1.into()), "over");
    assert_eq!((&why("192.0.2.30")["times"], &why("203.0.113.7")["verdict"]), (&2.into(), &"allowed".into()));
    let users: BTreeMap<_, _> =
        known[2].iter().map(|row| (row["user"].as_str().unwrap(), row["attempts"].as_u64().unwrap())).collect();
    assert_eq!(users, BTreeMap::from([("", 1), ("a:b", 1), ("alice", 2), ("oracle", 9), ("root", 7)]));
    let rows = |what: &str| -> Vec<String> {
        let name = |row: &Value| row["user"].as_str().or(row["prefix"].as_str()).unwrap().to_owned();
        let from = |row: &Value| row["address"].as_str().or(row["prefix"].as_str()).unwrap().to_owned();
        let times = |row: &Value| ["attempts", "logins", "times"].iter().find_map(|key| row[*key].as_u64()).unwrap();
        let last = |row: &Value| row["last"].as_str().unwrap()[..19].to_owned();
        let row = |row: &Value| format!("{} {} {} {}", name(row), from(row), times(row), last(row));
        let mut rows: Vec<_> = old.list(&["list", what]).iter().map(row).collect();
        rows.sort();
        rows
    };
    let at = "2026-11-20T23:38:26";
    assert_eq!(rows("pairs"), [format!("alice 192.0.2.11 2 {at}"), format!("root 192.0.2.12 5 {at}")]);
    assert_eq!(rows("suspicious"), [format!("alice 192.0.2.10 1 {at}")]);
    let end = jiff::Timestamp::from_second(kit::now().as_second() - 32 * 86_400).unwrap();
    let (over, purged) = (end.strftime("%Y-%m-%d").to_string(), "192.0.2.30 192.0.2.30 2 2025-12-16T11:24:15");
    let released = rows("released");
    assert!(released.len() == 2 && released[0].starts_with(&format!("192.0.2.14 192.0.2.14 1 {over}")), "{released:?}");
    assert_eq!(released[1], purged);
    let last = known[2].iter().find(|row| row["user"] == "alice").unwrap()["last"].as_str().unwrap();
    assert_eq!(&last[..19], at);
    // What is over or allowed is let in there, too; lines of others stay.
    let hosts_deny = old.read("hosts.deny");
    let entries: Vec<_> = hosts_deny.lines().filter(|line| !line.starts_with('#')).collect();
    let others = ["ALL: PARANOID", "sshd: 192.0.2.10", "sshd: 192.0.2.12", "sshd: 192.0.2.99", "sshd: 192.0.2.40"];
    assert_eq!(entries[..5], others);
    assert_eq!(entries[5..], ["sshd: 203.0.113.0/255.255.255.0", "sshd: 192.0.2.30"]);
    assert_eq!(old.read("rules"), "-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 192.0.2.77/32 -j DROP\n");

    let files = old.files();
    let told = old.import(&["--yes"], 0);
    assert!(told.contains("taken over at"), "{told}");
    assert!(old.files() == files && old.known() == known, "the second time changes nothing");

    let told = old.import(&["--undo"], 0);
    assert!(told.contains("All is as it was"), "{told}");
    assert!(old.files() == before, "{}", old.read("hosts.deny"));
    assert!(!old.path("state/denyd.db").exists() && !old.path("state.before-import").exists());
    let told = old.import(&["--undo"], 2);
    assert!(told.contains("nothing was taken over"), "{told}");
}

/// A daemon that is killed when the test ends.
struct Daemon(std::process::Child);

impl Daemon {
    fn start(old: &Old) -> Daemon {
        let out = fs::File::create(old.path("out")).unwrap();
        let daemon = Daemon(old.command(&["run"]).stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap());
        until_or("it answers", || old.read("out"), || old.path("control").exists().then_some(()));
        daemon
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_log_is_read_on_where_denyhosts_was() {
    let old = Old::new();
    old.configure("\"stdout\"");
    old.import(&["--yes"], 0);
    let daemon = Daemon::start(&old);
    let count = || old.why("192.0.2.12")["tallies"]["root"].as_u64();
    until_or("two lines are read", || format!("{:?}", count()), || (count() == Some(7)).then_some(()));
    daemon.stop();
}

/// hosts.deny is no back end of denyd here: what DenyHosts wrote there goes once denyd denies by its own means.
#[test]
fn what_denyd_knew_and_denied_before_comes_back() {
    if !kit::in_box("import::what_denyd_knew_and_denied_before_comes_back") {
        return;
    }
    let old = Old::new();
    old.configure("\"nftables\"");
    let before = old.files();
    let daemon = Daemon::start(&old);
    assert_eq!(old.run(&["deny", "198.51.100.9"]).0, Some(0));
    let told = old.import(&["--yes"], 2);
    assert!(told.contains("denyd runs; stop it first"), "{told}");
    daemon.stop();
    let known = old.known();
    old.import(&["--yes"], 0);
    let entries = "# local rules\nALL: PARANOID\nsshd: 192.0.2.99\nsshd: 203.0.113.0/255.255.255.0\n";
    assert_eq!((old.list(&["list", "hosts"]).len(), old.read("hosts.deny")), (5, entries.to_owned()));
    // What a person wrote there since stays.
    old.write("hosts.deny", &format!("{entries}sshd: 192.0.2.200\n"));
    // So do its owner, mode and attributes of now.
    let path = old.path("hosts.deny");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&path, None, Some(4)).unwrap();
    rustix::fs::setxattr(&path, "user.label", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let told = old.import(&["--undo"], 0);
    assert!(told.contains("was changed by others since"), "{told}");
    let found = fs::metadata(&path).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((found.mode() & 0o7777, found.gid()), (0o640, 4));
    assert_eq!(rustix::fs::getxattr(&path, "user.label", &mut [0; 8][..]), Ok(1));
    assert_eq!(old.known(), known);
    let mut lines: Vec<_> = old.read("hosts.deny").lines().map(str::to_owned).collect();
    let mut want: Vec<_> = std::str::from_utf8(&before["hosts.deny"]).unwrap().lines().map(str::to_owned).collect();
    want.push("sshd: 192.0.2.200".to_owned());
    lines.sort();
    want.sort();
    assert_eq!(lines, want);
    let stamp = lines.iter().position(|line| line.ends_with("| sshd: 192.0.2.10"));
    assert!(stamp.is_some());
}

/// What DenyHosts did is taken away once, and once denyd is seen to refuse in its place.
#[test]
fn what_enforces_is_taken_away_for_what_enforces() {
    let old = Old::new();
    let (rules, entries) = (old.read("rules"), old.read("hosts.deny"));
    let toml = old.read("denyd.toml");
    old.configure("\"stdout\"");
    let told = old.import(&["--yes"], 0);
    assert!(told.contains("denyd would refuse nobody in their place: no back end refuses anybody"), "{told}");
    assert!(old.read("rules") == rules && old.read("hosts.deny") == entries);
    old.write("denyd.toml", &toml);
    let ours = old.path("denyd.toml");
    let told = old.import(&["--yes"], 0);
    assert!(told.contains("taken over at"), "{told}");
    assert!(told.contains(&format!("Start it: denyd --config {} run", ours.display())), "{told}");
    assert!(!old.read("rules").contains("192.0.2.10"));
    // A person's rule that looks the same.
    old.write("rules", &rules);
    old.import(&["--yes"], 0);
    assert_eq!(old.read("rules"), rules);
}

/// The copy by which it is given back stays until that is done, whatever becomes of the database.
#[test]
fn what_was_taken_over_comes_back_without_the_database() {
    let old = Old::new();
    let before = old.files();
    old.import(&["--yes"], 0);
    // What people write there is theirs.
    old.write("work/restricted-usernames", "oracle\n");
    let allowed = old.read("work/allowed-hosts") + "203.0.113.200\n";
    old.write("work/allowed-hosts", &allowed);
    for file in fs::read_dir(old.path("state")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let told = old.import(&["--yes"], 2);
    assert!(told.contains("the database knows nothing of it") && told.contains("denyd import --undo"), "{told}");
    let told = old.import(&["--undo"], 0);
    assert!(told.contains("All is as it was"), "{told}");
    let mut after = old.files();
    let restricted = after.insert("work/restricted-usernames".to_owned(), before["work/restricted-usernames"].clone());
    assert_eq!(restricted.as_deref(), Some(&b"oracle\n"[..]));
    assert_eq!(
        after.insert("work/allowed-hosts".to_owned(), before["work/allowed-hosts"].clone()).unwrap(),
        allowed.as_bytes()
    );
    assert!(after == before, "{}", old.read("hosts.deny"));
    assert!(!old.path("state.before-import").exists());
}

/// What denyd's own configuration does not have of DenyHosts' is said, and its allow list comes along.
#[test]
fn what_denyds_own_configuration_lacks_is_said() {
    let old = Old::new();
    let (allowed, stale) = (old.read("work/allowed-hosts") + "192.0.2.10\n", days_ago(60));
    old.write("work/allowed-hosts", &allowed);
    // Purged more often than PURGE_THRESHOLD, so denied for life, old as the entry is; and one that is unstamped.
    old.write("work/purge-history", &format!("203.0.113.1:3:{stale}\n203.0.113.2:3:{stale}\n203.0.113.3:2:{stale}\n"));
    let entry = |host: &str| format!("# DenyHosts: {stale} | sshd: {host}\nsshd: {host}\n");
    let entries = entry("203.0.113.1") + "sshd: 203.0.113.2\n" + &entry("203.0.113.3");
    old.write("hosts.deny", &(old.read("hosts.deny") + &entries));
    old.write("denyhosts.conf", &(old.read("denyhosts.conf") + "PURGE_THRESHOLD = 2\n"));
    let config = "state_dir = \"DIR/state\"\ncontrol_socket = \"DIR/control\"\nspare_machine = false\n\
        deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny.path = \"DIR/hosts.deny\"\n";
    old.write("denyd.toml", config);
    let told = old.import(&["--yes"], 0);
    for want in [
        "allowed by DenyHosts, not by denyd's own configuration",
        "deny_for is ",
        "permanent_after is \"never\" in denyd's own configuration, and 2 by DenyHosts'",
    ] {
        assert!(told.contains(want), "no {want:?} in {told}");
    }
    assert_eq!(old.why("192.0.2.10")["verdict"], "allowed");
    let hosts = denied(&old.list(&["list", "hosts"]));
    let of = |host: &str| hosts.iter().find(|row| row.starts_with(host)).map(String::as_str);
    assert_eq!(of("203.0.113.1 "), Some("203.0.113.1 for ever"));
    assert_eq!(of("203.0.113.2 "), Some("203.0.113.2 for ever"));
    assert_eq!(of("203.0.113.3 "), None, "it was purged at PURGE_THRESHOLD");
    assert_eq!(of("192.0.2.10 "), None);
}

/// libwrap's own hosts.allow counts, wherever HOSTS_DENY is.
#[test]
fn a_list_file_has_no_hosts_allow_beside_it() {
    if !kit::in_box("import::a_list_file_has_no_hosts_allow_beside_it") {
        return;
    }
    fs::write("/etc/hosts.allow", "sshd: 198.51.100.0/24\n").unwrap();
    let old = Old::new();
    old.write("hosts.evil", "192.0.2.10\n");
    let config = old
        .read("denyhosts.conf")
        .replace("hosts.deny", "hosts.evil")
        .replace("BLOCK_SERVICE = sshd", "BLOCK_SERVICE =");
    old.write("denyhosts.conf", &config);
    old.configure("\"hosts.deny\"");
    old.import(&["--yes"], 0);
    assert_eq!(old.why("198.51.100.7")["verdict"], "allowed");
    assert_ne!(old.why("203.0.113.7")["verdict"], "allowed", "it is in the hosts.allow beside it, which nobody asks");
}

/// Who is allowed inside a denied network is not shut out by what is exported.
#[test]
fn what_is_exported_denies_nobody_who_is_allowed() {
    let old = Old::new();
    old.import(&["--yes"], 0);
    assert_eq!(old.run(&["deny", "198.51.100.0/30"]).0, Some(0));
    assert_eq!(old.run(&["allow", "198.51.100.1"]).0, Some(0));
    let (code, out, err) = old.run(&["export", "denyhosts", "DIR/exported"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let text = old.read("exported/hosts.deny");
    let of_it: Vec<_> = text.lines().filter(|line| line.starts_with("sshd: 198.51.100.")).collect();
    assert_eq!(of_it, ["sshd: 198.51.100.0", "sshd: 198.51.100.2/255.255.255.254"]);
    let told = old.run(&["off", "--forget"]);
    assert!(told.1.contains("state.before-import: `denyd import --undo` gives it back"), "{told:?}");
}

/// By what the daemon's own user could have written root runs no program and writes no file.
#[test]
fn what_others_could_have_kept_counts_for_nothing() {
    if !kit::in_box("import::what_others_could_have_kept_counts_for_nothing") {
        return;
    }
    use std::os::unix::fs::{chown, symlink};
    let old = Old::new();
    old.write("evil", "#!/bin/sh\ntouch DIR/ran\n");
    fs::set_permissions(old.path("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    let rule = serde_json::json!({"place": 1, "rule": "-s 192.0.2.1/32 -j DROP", "address": "192.0.2.1"});
    let manifest = serde_json::json!({"at": "2026-11-22T00:00:00Z", "source": "x", "had_database": false, "entries": [], "came": "Done",
        "files": [{"file": old.path("secret"), "copy": null, "is_shared": false}], "iptables": old.path("evil"), "rules": [rule]});
    old.write("secret", "mine\n");
    for dir in ["state/before-import", "state.before-import"] {
        fs::create_dir_all(old.path(dir)).unwrap();
        fs::write(old.path(dir).join("import.json"), manifest.to_string()).unwrap();
    }
    let given = ["state", "state/before-import", "state.before-import", "state.before-import/import.json"];
    given.iter().for_each(|name| chown(old.path(name), Some(65534), Some(65534)).unwrap());
    for command in ["--undo", "--yes"] {
        let told = old.import(&[command], 2);
        assert!(told.contains("counts for nothing") && told.contains("belongs to uid 65534"), "{told}");
    }
    fs::remove_dir_all(old.path("state.before-import")).unwrap();
    assert!(old.import(&["--undo"], 2).contains("nothing was taken over"));
    assert!(old.path("secret").exists() && !old.path("ran").exists());
    fs::remove_dir_all(old.path("state")).unwrap();

    // A work directory that somebody else has meanwhile.
    old.import(&["--yes"], 0);
    chown(old.path("work"), Some(65534), None).unwrap();
    fs::remove_file(old.path("work/hosts")).unwrap();
    symlink(old.path("secret"), old.path("work/hosts")).unwrap();
    let told = old.import(&["--undo"], 0);
    assert!(told.contains("work/hosts stays as it is now, since") && told.contains("All else is as it was"), "{told}");
    assert_eq!(old.read("secret"), "mine\n");
}

/// What denyd knows goes back into DenyHosts' files, and comes back the same from there.
#[test]
fn what_is_exported_and_imported_again_is_the_same() {
    let old = Old::new();
    old.import(&["--yes"], 0);
    // A person's deny, for ever and of an IPv6 network, and one of another class.
    assert_eq!(old.run(&["deny", "198.51.100.9", "2001:db8:0:9::/64"]).0, Some(0));
    let (code, out, err) = old.run(&["export", "denyhosts", "DIR/exported"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(old.read("exported/hosts-valid"), "192.0.2.11:2:Sat Nov 21 08:00:00 2026\n");
    let six = "2001%3Adb8%3A0%3A1%3A%3A:7:Fri Nov 20 23:38:26 2026";
    assert!(old.read("exported/hosts").lines().any(|line| line == six), "{}", old.read("exported/hosts"));
    assert!(old.read("exported/users-invalid").contains("\na%3Ab:1:"));
    assert_eq!(old.read("exported/offset"), old.read("work/offset"));
    let fresh = old.read("hosts.deny").lines().find(|line| line.ends_with("| sshd: 192.0.2.10")).unwrap().to_owned();
    assert!(old.read("exported/hosts.deny").contains(&format!("{fresh}\nsshd: 192.0.2.10\n")));
    assert_eq!(old.read("exported/allowed-hosts").lines().filter(|line| *line == "1.1.1.[6-23]").count(), 1);
    let (code, _, err) = old.run(&["export", "denyhosts", "DIR/exported"]);
    assert!(code == Some(2) && err.contains("has files already"), "{err}");

    assert!(seen(&again(&old)) == seen(&old));
}

/// What a person sees of each: who, until when (to the second), what counts, which user.
fn seen(old: &Old) -> Vec<String> {
    let hosts = old.list(&["list", "hosts", "--limit", "100000"]).into_iter().map(|row| {
        let until = row["until"].as_str().map_or("for ever", |until| &until[..19]);
        format!("{} {until}", row["prefix"].as_str().unwrap())
    });
    let mut all: Vec<String> = hosts.collect();
    for what in ["addresses", "users", "pairs", "suspicious", "released"] {
        let rows = old.list(&["list", what, "--limit", "100000"]);
        assert!(!rows.is_empty(), "{what}");
        all.extend(rows.iter().map(|row| format!("{what} {row}")));
    }
    all.sort();
    all
}

/// Another machine, which took over what that one exported.
fn again(old: &Old) -> Old {
    let again = Old::new();
    fs::remove_dir_all(again.path("work")).unwrap();
    fs::create_dir(again.path("work")).unwrap();
    for file in fs::read_dir(old.path("exported")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), again.path("work").join(file.file_name())).unwrap();
    }
    fs::rename(again.path("work/hosts.deny"), again.path("hosts.deny")).unwrap();
    again.write("rules", "-P INPUT ACCEPT\n");
    again.configure("\"hosts.deny\"");
    again.import(&["--yes"], 0);
    again
}

/// A work directory as large as any is taken over in one go.
#[test]
fn a_large_work_directory_is_taken_over_whole() {
    let old = Old::new();
    let many = std::env::var("DENYD_HOSTS").map_or(2000, |many| many.parse::<u32>().unwrap());
    let (fresh, hosts) = (days_ago(1), |n: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
    let lines: String = (0..many).map(|n| format!("{}:9:{fresh}\n", hosts(n))).collect();
    old.write("work/hosts", &lines);
    let lines: String = (0..many).map(|n| format!("# DenyHosts: {fresh} | sshd: {0}\nsshd: {0}\n", hosts(n))).collect();
    old.write("hosts.deny", &lines);
    old.write("rules", "-P INPUT ACCEPT\n");
    let began = std::time::Instant::now();
    old.import(&["--yes"], 0);
    let took = began.elapsed();
    eprintln!("{many} hosts were taken over in {took:?}");
    // `packaging/doc/figures.md` has what a release takes; this is for a debug build on a machine that is busy.
    assert!(took < std::time::Duration::from_secs(60 + u64::from(many) / 1000), "{took:?}");
    assert_eq!(old.read("hosts.deny"), lines, "they are denied there already");
    let (code, out, _) = old.run(&["list", "hosts", "--json", "--limit", "100000"]);
    assert!(code == Some(0) && out.matches("\"prefix\"").count() == many.min(100_000) as usize);
    assert_eq!(old.run(&["export", "denyhosts", "DIR/exported"]).0, Some(0));
    assert!(seen(&again(&old)) == seen(&old), "it comes back the same");
}

/// Two that deny beside each other would each undo what the other does.
#[test]
fn nothing_is_taken_over_while_denyhosts_runs() {
    if !kit::in_box("import::nothing_is_taken_over_while_denyhosts_runs") {
        return;
    }
    let old = Old::new();
    let before = old.files();
    old.write("denyhosts.py", "import sys; sys.stdin.read()");
    let check = |lock: bool| {
        let mut python = Command::new("/usr/bin/python3");
        let mut running = python.arg(old.path("denyhosts.py")).stdin(std::process::Stdio::piped()).spawn().unwrap();
        if lock {
            old.write("lock", &format!("{}\n", running.id()));
        }
        let command = format!("/proc/{}/cmdline", running.id());
        until("it is Python's", || fs::read(&command).unwrap().starts_with(b"/usr/bin/python3").then_some(()));
        let told = [old.import(&[], 0), old.import(&["--yes"], 2)];
        running.kill().unwrap();
        running.wait().unwrap();
        let want = format!("DenyHosts itself runs (pid {})", running.id());
        assert!(told.iter().all(|told| told.contains(&want)) && told[1].contains("Nothing was changed"), "{told:?}");
        assert!(old.files() == before);
    };
    // By its name alone, and by its lock file.
    check(false);
    check(true);
    old.import(&["--yes"], 0);
}

/// What a program says, which is to succeed.
#[track_caller]
fn said(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Rules of DenyHosts in a real INPUT, some of them twice, by BLOCKPORT and without: denyd's own refuse before these go.
#[test]
fn rules_of_a_real_iptables_are_taken_over_and_given_back() {
    if !kit::in_box("import::rules_of_a_real_iptables_are_taken_over_and_given_back") {
        return;
    }
    let old = Old::new();
    let iptables = ["/usr/sbin/iptables", "/sbin/iptables"].into_iter().find(|file| fs::exists(file).unwrap()).unwrap();
    let config = old.read("denyhosts.conf").replace(old.path("iptables").to_str().unwrap(), iptables);
    old.write("denyhosts.conf", &format!("{config}BLOCKPORT = 22\n"));
    old.configure("\"iptables\"");
    // A wire to another machine, which asks from these addresses.
    for words in [
        "netns add other",
        "link add here type veth peer name there netns other",
        "address add 192.0.2.1/24 dev here",
        "link set here up",
        "-n other address add 192.0.2.10/24 dev there",
        "-n other address add 192.0.2.30/24 dev there",
        "-n other address add 192.0.2.50/24 dev there",
        "-n other link set there up",
    ] {
        said("ip", words);
    }
    let _listener = std::net::TcpListener::bind("192.0.2.1:22").unwrap();
    let is_open = |source: &str| {
        said("ip", &format!("-n other route replace 192.0.2.1 dev there src {source}"));
        let words = ["netns", "exec", "other", "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/22"];
        Command::new("ip").args(words).output().unwrap().status.success()
    };
    for rule in [
        "-A INPUT -i lo -j ACCEPT",
        "-I INPUT -s 192.0.2.10 -j DROP",
        "-I INPUT -s 192.0.2.10 -j DROP",
        "-I INPUT -p tcp --dport 22 -s 192.0.2.30 -j DROP",
        "-I INPUT -p tcp --dport 22 -s 192.0.2.30 -j DROP",
        "-I INPUT -p tcp -m multiport --dports 22,2222 -s 192.0.2.12 -j DROP",
        "-A INPUT -s 192.0.2.77 -j DROP",
    ] {
        said(iptables, rule);
    }
    let before = said(iptables, "-S");
    let told = old.import(&["--yes"], 0);
    assert!(told.contains("denies of 3 addresses, 2 copies; then the rules go"), "{told}");
    let others = "-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 192.0.2.77/32 -j DROP\n";
    assert_eq!(said(iptables, "-S INPUT"), others);
    assert!(is_open("192.0.2.50") && !is_open("192.0.2.10") && !is_open("192.0.2.30"));
    old.import(&["--undo"], 0);
    assert_eq!(said(iptables, "-S"), before);
    assert!(!said(iptables, "-t raw -S").contains("denyd"), "{}", said(iptables, "-t raw -S"));
    assert!(is_open("192.0.2.50") && !is_open("192.0.2.10") && !is_open("192.0.2.30"));
}

/// Each file is given back as it was, whose, with which mode and of when; and meanwhile whom DenyHosts denied stays denied.
#[test]
fn undo_gives_back_each_file_as_it_was_and_lets_in_nobody() {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    let old = Old::new();
    // A deny of all services, which denyd will write as one of sshd.
    let text = old.read("hosts.deny").replace("sshd: 192.0.2.40", "ALL: 192.0.2.40");
    old.write("hosts.deny", &text);
    let names: Vec<String> = old.files().into_keys().collect();
    for (number, name) in (1u64..).zip(&names) {
        let path = old.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(if number % 2 == 0 { 0o640 } else { 0o604 })).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&path, None, Some(1000 + number as u32)).unwrap();
        }
        let then = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000 + number, 123_456_789);
        // The log is read on, and not ours to touch.
        fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
    }
    let state = |name: &String| {
        let found = fs::metadata(old.path(name)).unwrap();
        let of = (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec());
        (name.clone(), of, fs::read(old.path(name)).unwrap())
    };
    let before: Vec<_> = names.iter().filter(|name| *name != "rules").map(state).collect();
    let rules = old.read("rules");
    let told = old.import(&["--yes"], 0);
    assert!(told.contains("entries for ALL services") && told.contains("closed to the service sshd alone"), "{told}");
    // A daemon that keeps these files, too, and denies somebody of its own.
    let daemon = Daemon::start(&old);
    assert_eq!(old.run(&["deny", "198.51.100.9"]).0, Some(0));
    let writes =
        |name: &str, want: &str| until_or(name, || old.read(name), || old.read(name).contains(want).then_some(()));
    writes("hosts.deny", "sshd: 198.51.100.9");
    until("it keeps the work directory", || old.path("work/.denyd").exists().then_some(()));
    daemon.stop();
    let (ends, hosts_deny) = (AtomicBool::new(false), old.path("hosts.deny"));
    let looks = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !ends.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&hosts_deny).unwrap();
                assert!(text.lines().any(|line| line == "sshd: 192.0.2.10"), "{text}");
                looks += 1;
            }
            looks
        });
        let told = old.import(&["--undo"], 0);
        ends.store(true, Ordering::Relaxed);
        assert!(told.contains("All is as it was") && !told.contains("was changed by others"), "{told}");
        watcher.join().unwrap()
    });
    assert!(looks > 10, "{looks}");
    let after: Vec<_> = names.iter().filter(|name| *name != "rules").map(state).collect();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.0, before.1), (&after.0, after.1));
        assert!(before.2 == after.2, "{}: {}", before.0, String::from_utf8_lossy(&after.2));
    }
    assert_eq!(old.read("rules"), rules);
    let mut now: Vec<String> = old.files().into_keys().collect();
    now.sort();
    assert_eq!(now, names, "nothing is left beside them");
}

/// The addresses are of the internet: nobody shares others.
#[test]
fn what_is_shared_is_taken_over_and_exported() {
    let sink = kit::Sink::of_sync("none", None);
    let old = Old::new();
    let server = format!("SYNC_SERVER = http://127.0.0.1:{}\n", sink.port());
    old.write("denyhosts.conf", &(old.read("denyhosts.conf") + &server));
    old.configure("\"hosts.deny\"");
    old.write("work/sync-hosts", "20.9.9.1\n10.0.0.1\n20.9.9.2\n");
    old.write("work/sync-hosts.tmp", "20.9.9.2\n20.9.9.3\nsync.example.org\n");
    old.write("work/sync-timestamp", "1700000123");
    let told = old.import(&["--yes"], 0);
    for want in ["hosts that SYNC_SERVER is to be told of", "1 are not sent: no hosts of the internet"] {
        assert!(told.contains(want), "{told}");
    }
    let (code, out, err) = old.run(&["export", "denyhosts", "DIR/exported"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(old.read("exported/sync-hosts"), "20.9.9.1\n20.9.9.2\n20.9.9.3\n");
    assert_eq!(old.read("exported/sync-timestamp"), "1700000123");
    fs::write(sink.path("hosts"), "1700000100 20.7.7.1\n1700000200 20.7.7.2\n").unwrap();
    let daemon = Daemon::start(&old);
    until("all is shared", || {
        let (_, out, _) = old.run(&["status", "--json"]);
        serde_json::from_str::<Value>(&out).ok()?["sync"]["succeeded"].as_str().map(drop)
    });
    daemon.stop();
    assert_eq!(fs::read_to_string(sink.path("added")).unwrap(), "20.9.9.1\n20.9.9.2\n20.9.9.3\n");
    let asked = &sink.calls()[1]["parameters"];
    assert_eq!(asked[0], 1_700_000_123, "{asked}");
    let (code, out, err) = old.run(&["export", "denyhosts", "DIR/later"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!old.path("later/sync-hosts").exists());
    assert_eq!(old.read("later/sync-timestamp"), "1700000200");
    let received = old.read("later/sync-received");
    assert!(
        received.lines().any(|line| line.starts_with("20.7.7.2:")) && !received.contains("20.7.7.1:"),
        "{received}"
    );
}
