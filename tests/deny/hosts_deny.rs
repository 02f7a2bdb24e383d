//! hosts.deny against files and libwrap.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use denyd::deny::hosts_deny::{self, Form, HostsDeny, Service};
use denyd::deny::ledger::Lines;
use denyd::deny::{DenyBackend as _, DenySet, Diff, Probe};
use inputs::record::Timestamp;
use kit::{program, skip};

use crate::world::in_namespace;
use crate::{Dir, Memory, NOW, set};

#[test]
fn libwrap_understands_us() {
    for service in [Some("sshd"), None] {
        let dir = Dir::new();
        let path = dir.0.join(if service.is_some() { "hosts.deny" } else { "list" });
        if service.is_none() {
            std::fs::write(dir.0.join("hosts.deny"), format!("sshd: {}\n", path.display())).unwrap();
        }
        let mut backend = hosts_deny(&path, service);
        let allowed = "192.0.2.7 2001:db8:1::5 203.0.113.64/27 10.9.8.7";
        let denied = "192.0.2.0/24 198.51.100.7 203.0.113.0/25 10.0.0.0/8 2001:db8::/64 2001:db8:1::/64 2001:db8:2::9";
        backend.replace(&set(denied, allowed), NOW).unwrap();
        let truth = "192.0.2.6 denied, 192.0.2.7 granted, 192.0.2.8 denied, 192.0.3.1 granted, 198.51.100.7 denied, \
            198.51.100.8 granted, 203.0.113.63 denied, 203.0.113.64 granted, 203.0.113.95 granted, 203.0.113.96 denied, \
            203.0.113.128 granted, 10.1.1.1 denied, 10.9.8.7 granted, 10.9.8.6 denied, 11.0.0.1 granted, \
            2001:db8::5 denied, 2001:db8:0:1::5 granted, 2001:db8:1::5 granted, 2001:db8:1::4 denied, \
            2001:db8:1:0:ffff::5 denied, 2001:db8:2::9 denied, 2001:db8:2::8 granted";
        for (address, want) in truth.split(", ").map(|case| case.split_once(' ').unwrap()) {
            let Some(got) = tcpdmatch(&dir.0, address) else { return };
            assert_eq!(got, want, "{address}, service {service:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().contains('#'), service.is_some(), "no comment in a list");
        backend.update(&Diff::default(), &DenySet::default(), NOW).unwrap();
        assert_eq!(tcpdmatch(&dir.0, "192.0.2.6").as_deref(), Some("granted"));
    }
}

/// FreeBSD's form: a line of hosts.allow names the list and ends in `: deny`, before the one that allows all.
#[test]
fn a_list_file_is_denied_by_hosts_allow() {
    let dir = Dir::new();
    let path = dir.0.join("list");
    hosts_deny(&path, None).replace(&set("192.0.2.0/24 2001:db8::/64", "192.0.2.7"), NOW).unwrap();
    let allow = format!("sshd : {} : deny\nALL : ALL : allow\n", path.display());
    let truth =
        [("192.0.2.6", "denied"), ("192.0.2.7", "granted"), ("2001:db8::5", "denied"), ("192.0.3.1", "granted")];
    for (address, want) in truth {
        let Some(got) = tcpdmatch_with(&dir.0, address, &allow) else { return };
        assert_eq!(got, want, "{address}");
    }
}

/// A wrapped daemon that is not root reads the list, whatever our umask is; and where it cannot, libwrap denies nobody.
#[test]
fn a_list_file_is_for_daemons_that_are_not_root() {
    let Some(match_of) = program("tcpdmatch").filter(|_| nix::unistd::geteuid().is_root()) else {
        return skip("hosts_deny::a_list_file_is_for_daemons_that_are_not_root", "no tcpdmatch, or not root");
    };
    let setpriv = program("setpriv").unwrap();
    let dir = Dir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lists = dir.0.join("lists");
    std::fs::create_dir(&lists).unwrap();
    let path = lists.join("denied-hosts");
    std::fs::write(dir.0.join("hosts.deny"), format!("sshd: {}\n", path.display())).unwrap();
    std::fs::write(dir.0.join("hosts.allow"), "").unwrap();
    hosts_deny(&path, None).replace(&set("192.0.2.6", ""), NOW).unwrap();
    let check = |mode: u32, want: &str| {
        std::fs::set_permissions(&lists, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&match_of);
        let output = command.args(["-d", "sshd", "192.0.2.6"]).current_dir(&dir.0).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let access = text.lines().find_map(|line| line.strip_prefix("access:")).unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(access.trim(), want, "mode {mode:o}");
    };
    check(0o755, "denied");
    check(0o711, "denied");
    check(0o700, "granted");
}

#[test]
fn writes_denyhosts_format() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let mut backend = hosts_deny(&path, Some("sshd"));
    backend.replace(&DenySet::default(), NOW).unwrap();
    assert!(!path.exists(), "nothing to say, nothing written");
    backend.replace(&set("192.0.2.1", ""), Timestamp::from_secs(1_795_304_306)).unwrap();
    let text = "# DenyHosts: Sat Nov 21 23:38:26 2026 | sshd: 192.0.2.1\nsshd: 192.0.2.1\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
    backend.replace(&set("192.0.2.1 192.0.2.2", ""), Timestamp::from_secs(1_793_512_800)).unwrap();
    let text = format!("{text}# DenyHosts: Sun Nov  1 06:00:00 2026 | sshd: 192.0.2.2\nsshd: 192.0.2.2\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(lines(backend.ours()), ["sshd: 192.0.2.1", "sshd: 192.0.2.2"]);
    assert!("a: b\n".parse::<Service>().is_err());
}

#[test]
fn keeps_owner_mode_link_and_foreign_lines() {
    let dir = Dir::new();
    std::fs::create_dir(dir.0.join("real")).unwrap();
    let (real, path) = (dir.0.join("real/deny"), dir.0.join("hosts.deny"));
    symlink("real/deny", &path).unwrap();
    let mut backend = hosts_deny(&path, Some("sshd"));
    let error = backend.replace(&set("192.0.2.1", ""), NOW).unwrap_err();
    assert!(error.to_string().contains("cannot follow"), "a dangling link: {error}");
    std::fs::write(&real, b"# mine\xff\nsshd: 192.0.2.9").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let chowned = std::os::unix::fs::chown(&real, Some(7), Some(8)).is_ok();
    std::fs::write(dir.0.join("real/.deny.denyd-new"), "of a crash").unwrap();
    backend.replace(&set("192.0.2.1 192.0.2.9", ""), NOW).unwrap();
    assert!(path.symlink_metadata().unwrap().is_symlink());
    let metadata = real.metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    assert!(!chowned || (metadata.uid(), metadata.gid()) == (7, 8));
    backend.replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"# mine\xff\nsshd: 192.0.2.9\n");
    assert_eq!(std::fs::read_dir(dir.0.join("real")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn notices_edits_and_knows_its_lines_after_a_restart() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let memory = Memory::default();
    let make = || HostsDeny::new(path.clone(), bare("sshd"), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let mut backend = make();
    let want = set("192.0.2.1 192.0.2.2", "");
    std::fs::write(&path, "sshd: 192.0.2.3\n").unwrap();
    backend.replace(&want, NOW).unwrap();
    backend.probe(&want, NOW).unwrap();
    // an edit that is none of our business
    std::fs::write(&path, "# hello\nsshd: 192.0.2.1\nsshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    backend.probe(&want, NOW).unwrap();
    std::fs::write(&path, "# hello\nsshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    assert!(backend.probe(&want, NOW).unwrap_err().to_string().contains("denyd forgive"));
    backend.replace(&want, NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# hello\nsshd: 192.0.2.2\nsshd: 192.0.2.3\nsshd: 192.0.2.1\n");
    std::fs::write(&path, "sshd: 192.0.2.2\nsshd: 192.0.2.3\n").unwrap();
    backend.probe(&want, NOW).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(backend.probe(&want, NOW).is_err());
    backend.replace(&want, NOW).unwrap();
    // another process, which knows only the ledger
    let mut backend = make();
    std::fs::write(&path, "sshd: 192.0.2.3\nsshd: 192.0.2.1\nsshd: 192.0.2.2\n").unwrap();
    backend.replace(&set("192.0.2.2", ""), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "sshd: 192.0.2.3\nsshd: 192.0.2.2\n");
    assert_eq!(lines(make().ours()), ["sshd: 192.0.2.2"]);
}

/// Somebody else appends to the file all the time; nothing of theirs is lost but in the last microseconds.
#[test]
fn starts_over_when_the_file_changes_meanwhile() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    std::fs::write(&path, "a\n").unwrap();
    // the ledger is kept between reading and renaming: the moment for an edit
    let memory = Memory::default();
    let mut backend = HostsDeny::new(path.clone(), bare("sshd"), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let file = path.clone();
    memory.lock().edit = Some(Box::new(move || {
        std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"b\n").unwrap();
    }));
    backend.replace(&set("192.0.2.1", ""), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nsshd: 192.0.2.1\n");
}

/// Who follows the file sees what comes, since it is the same file; what is half written after a crash is mended.
#[test]
fn a_new_deny_is_appended_to_the_same_file() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    std::fs::write(&path, "# mine").unwrap();
    let inode = || path.metadata().unwrap().ino();
    let (before, memory) = (inode(), Memory::default());
    let make = || HostsDeny::new(path.clone(), bare("sshd"), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let mut backend = make();
    let both = set("192.0.2.1 192.0.2.2", "");
    backend.replace(&set("192.0.2.1", ""), NOW).unwrap();
    backend.replace(&both, NOW).unwrap();
    let whole = "# mine\nsshd: 192.0.2.1\nsshd: 192.0.2.2\n";
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), inode()), (whole, before));
    assert_eq!(backend.probe(&both, NOW).unwrap(), Probe::Ours);
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    make().replace(&both, NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    make().replace(&set("192.0.2.1", ""), NOW).unwrap();
    assert_ne!(inode(), before, "what goes is replaced as a whole");
}

/// The comment is what DenyHosts' purge went by: without it a line stays, also over a restart.
#[test]
fn a_line_whose_comment_was_deleted_is_the_administrators() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let memory = Memory::default();
    let form = || Form { stamped: Some(jiff::tz::TimeZone::UTC), adopt: false, ..bare("sshd") };
    let make = || HostsDeny::new(path.clone(), form(), hosts_deny::ledger(&path, memory.notes()).unwrap());
    let both = set("192.0.2.1 192.0.2.2", "");
    let mut backend = make();
    backend.replace(&both, NOW).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(backend.probe(&both, NOW).unwrap(), Probe::Ours);
    assert_eq!(lines(backend.ours()), ["sshd: 192.0.2.2"], "it has left the ledger");
    make().replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "sshd: 192.0.2.1\n");
}

/// In hosts.allow, as on FreeBSD, a line says that it denies; without that it would let in.
#[test]
fn hosts_allow_is_told_to_deny() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.allow");
    let mut backend = hosts_deny(&path, Some("sshd"));
    backend.replace(&set("192.0.2.1 2001:db8::/64", ""), NOW).unwrap();
    let allow = std::fs::read_to_string(&path).unwrap() + "ALL : ALL : allow\n";
    for (address, want) in [("192.0.2.1", "denied"), ("2001:db8::5", "denied"), ("192.0.2.2", "granted")] {
        let Some(got) = tcpdmatch_with(&dir.0, address, &allow) else { return };
        assert_eq!(got, want, "{address}");
    }
    backend.replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "ALL : ALL : allow\n");
}

/// A deny whose line a person deleted twice is not enforced, and counted so.
#[test]
fn what_is_left_out_is_counted() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    let mut backend = hosts_deny(&path, Some("sshd"));
    let want = set("192.0.2.1 192.0.2.2 192.0.2.3", "");
    backend.replace(&want, NOW).unwrap();
    let without = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let left = text.lines().filter(|line| !line.ends_with(": 192.0.2.1")).map(|line| format!("{line}\n"));
        std::fs::write(&path, left.collect::<String>()).unwrap();
    };
    without();
    assert!(backend.probe(&want, NOW).is_err());
    backend.replace(&want, NOW).unwrap();
    assert_eq!(backend.left_out(), 0, "put back");
    without();
    assert_eq!(backend.probe(&want, NOW).unwrap(), Probe::Ours);
    assert_eq!(backend.left_out(), 1);
}

/// Each deny is remembered with the file that it was written to, so that it can be taken back when that is no longer used.
#[test]
fn what_was_written_can_be_taken_back_later() {
    let dir = Dir::new();
    let (first, second) = (dir.0.join("first"), dir.0.join("second"));
    let memory = Memory::default();
    let open = |path: &PathBuf| {
        let form = Form { adopt: false, ..bare("sshd") };
        HostsDeny::new(path.clone(), form, hosts_deny::ledger(path, memory.notes()).unwrap())
    };
    std::fs::write(&first, "sshd: 192.0.2.9\n").unwrap();
    open(&first).replace(&set("192.0.2.0/30 192.0.2.9", "192.0.2.1"), NOW).unwrap();
    open(&second).replace(&set("192.0.2.8", ""), NOW).unwrap();
    let wide = "192.0.2.0/30".parse().unwrap();
    let pieces = ["sshd: 192.0.2.0", "sshd: 192.0.2.2/255.255.255.254"].map(|line| (line.to_owned(), wide));
    assert_eq!(*open(&first).ours(), pieces.into(), "the entry that was there before us is not ours");
    assert_eq!(lines(open(&second).ours()), ["sshd: 192.0.2.8"]);
    open(&first).replace(&DenySet::default(), NOW).unwrap();
    assert_eq!(std::fs::read_to_string(&first).unwrap(), "sshd: 192.0.2.9\n");
    assert_eq!(std::fs::read_to_string(&second).unwrap(), "sshd: 192.0.2.8\n");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    in_namespace("hosts_deny::a_full_disk_leaves_the_old_file", async |world| {
        let dir = Dir::new();
        // in a mount namespace of our own
        world.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir.0.to_str().unwrap()]);
        let path = dir.0.join("hosts.deny");
        let old = "# mine\n".repeat(5000);
        std::fs::write(&path, &old).unwrap();
        let mut backend = hosts_deny(&path, Some("sshd"));
        let want = set("192.0.2.1", "");
        backend.replace(&want, NOW).unwrap();
        let old = std::fs::read_to_string(&path).unwrap();
        let filler = dir.0.join("filler");
        _ = std::fs::write(&filler, [0; 65536]);
        // An append that stops in the middle, and a new file.
        let many: Vec<String> = (0..100).map(|n| format!("192.0.2.{n}")).collect();
        for want in [set(&many.join(" "), ""), DenySet::default()] {
            let error = backend.replace(&want, NOW).unwrap_err();
            assert!(error.to_string().contains("No space left on device"), "{error}");
            assert!(error.remedy.unwrap().contains("free some space"));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
            assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 2, "no temporary file is left");
        }
        std::fs::remove_file(&filler).unwrap();
        std::fs::write(&path, "# mine\n").unwrap();
        backend.replace(&want, NOW).unwrap();
        world.run("mount", &["-o", "remount,ro", dir.0.to_str().unwrap()]);
        let error = backend.replace(&DenySet::default(), NOW).unwrap_err();
        assert!(error.to_string().contains("Read-only file system") && error.remedy.is_some(), "{error}");
        world.run("umount", &[dir.0.to_str().unwrap()]);
    });
}

/// `chattr +i`, as some do it so that nobody changes their file.
#[test]
fn an_immutable_file_stays_as_it_is_and_is_named() {
    in_namespace("hosts_deny::an_immutable_file_stays_as_it_is_and_is_named", async |world| {
        let dir = Dir::new();
        world.run("mount", &["-t", "tmpfs", "tmpfs", dir.0.to_str().unwrap()]);
        let path = dir.0.join("hosts.deny");
        std::fs::write(&path, "# mine\n").unwrap();
        world.run("chattr", &["+i", path.to_str().unwrap()]);
        let mut backend = hosts_deny(&path, Some("sshd"));
        let want = set("192.0.2.1", "");
        let error = backend.replace(&want, NOW).unwrap_err();
        assert!(error.to_string().contains("Operation not permitted"), "{error}");
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("chattr -ia")), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1, "no temporary file is left");
        world.run("chattr", &["-i", path.to_str().unwrap()]);
        backend.replace(&want, NOW).unwrap();
        world.run("umount", &[dir.0.to_str().unwrap()]);
    });
}

fn bare(service: &str) -> Form {
    Form { service: service.parse().unwrap(), stamped: None, adopt: true }
}

fn lines(ours: &Lines) -> Vec<&str> {
    ours.keys().map(String::as_str).collect()
}

fn hosts_deny(path: &Path, service: Option<&str>) -> HostsDeny {
    let form = Form { stamped: Some(jiff::tz::TimeZone::UTC), ..bare(service.unwrap_or("")) };
    HostsDeny::new(path.to_owned(), form, hosts_deny::ledger(path, Memory::default().notes()).unwrap())
}

/// What libwrap says of an address, by the hosts.deny of `dir`; `None` if it is not installed.
fn tcpdmatch(dir: &Path, address: &str) -> Option<String> {
    tcpdmatch_with(dir, address, "")
}

/// The same with this hosts.allow.
fn tcpdmatch_with(dir: &Path, address: &str, allowed: &str) -> Option<String> {
    let path = program("tcpdmatch").or_else(|| {
        skip("hosts_deny::libwrap_understands_us", "no tcpdmatch");
        None
    })?;
    let allow = dir.join("hosts.allow");
    std::fs::write(allow, allowed).unwrap();
    let output = Command::new(path).args(["-d", "sshd", address]).current_dir(dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("warning"), "{text}");
    let access = text.lines().find_map(|line| line.strip_prefix("access:")).unwrap_or_else(|| panic!("{text}"));
    Some(access.trim().to_owned())
}
