//! Edits of hosts.deny that a person asks for, against files.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use denyd::deny::hosts_deny::edit::{Change, Edit, carry_out, plan};
use jiff::tz::TimeZone;
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::{Dir, NOW};

const UTC: TimeZone = TimeZone::UTC;
const TEXT: &str =
    "# mine\n# DenyHosts: Sat Nov 21 23:38:26 2026 | sshd: 192.0.2.1\nsshd: 192.0.2.1\nsshd: 192.0.2.2\n";

/// It is shown first; then the old file is beside the new one, which has owner, mode and attributes of it, link or not.
#[test]
fn an_edit_is_shown_carried_out_and_backed_up() {
    let dir = Dir::new();
    std::fs::create_dir(dir.0.join("real")).unwrap();
    let (real, path) = (dir.0.join("real/deny"), dir.0.join("hosts.deny"));
    symlink("real/deny", &path).unwrap();
    std::fs::write(&real, TEXT).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let chowned = std::os::unix::fs::chown(&real, Some(7), Some(8)).is_ok();
    let labelled = setxattr(&real, "user.label", b"etc_t", XattrFlags::empty()).is_ok();
    let wanted = ["192.0.2.1".parse().unwrap()];
    let edit = Edit::Release(&wanted);
    let shown = plan(&path, edit, &UTC).unwrap();
    assert!(matches!(&shown.changes[..], [Change::Gone(2, _), Change::Gone(3, entry)] if entry == "sshd: 192.0.2.1"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), TEXT, "a plan writes nothing");
    let done = carry_out(&path, edit, &UTC, Some(&shown)).unwrap();
    assert_eq!((&done.changes, &done.released[..]), (&shown.changes, &wanted[..]));
    let backup = dir.0.join("hosts.deny.purgeip.bak");
    assert_eq!(done.backup.as_ref(), Some(&backup));
    assert_eq!(std::fs::read_to_string(&backup).unwrap(), TEXT);
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "# mine\nsshd: 192.0.2.2\n");
    assert!(path.symlink_metadata().unwrap().is_symlink());
    for file in [&real, &backup] {
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert!(!chowned || (metadata.uid(), metadata.gid()) == (7, 8));
        let mut label = [0; 5];
        assert!(!labelled || getxattr(file, "user.label", &mut label[..]) == Ok(5) && label == *b"etc_t");
    }
    std::fs::remove_file(&backup).unwrap();
    let again = carry_out(&path, edit, &UTC, None).unwrap();
    assert_eq!((again.changes, again.backup), (vec![], None));
    assert!(!backup.exists(), "what changes nothing writes nothing");
    assert_eq!(std::fs::read_dir(dir.0.join("real")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn what_was_not_shown_is_not_done() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    std::fs::write(&path, TEXT).unwrap();
    let edit = Edit::Migrate(NOW);
    let shown = plan(&path, edit, &UTC).unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"sshd: 192.0.2.3\n").unwrap();
    let error = carry_out(&path, edit, &UTC, Some(&shown)).unwrap_err().to_string();
    assert!(error.contains("nothing was done"), "{error}");
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
}

/// Somebody appends while the edit goes on: what they wrote is still there.
#[test]
fn what_others_write_meanwhile_stays() {
    let dir = Dir::new();
    let path = dir.0.join("hosts.deny");
    std::fs::write(&path, TEXT).unwrap();
    // Purge asks of each entry whether it is for life: between reading and writing.
    let once = std::cell::Cell::new(false);
    let for_life = |_: &_| {
        if !once.replace(true) {
            std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"sshd: 192.0.2.3\n").unwrap();
        }
        false
    };
    let done = carry_out(&path, Edit::Purge { before: None, for_life: &for_life }, &UTC, None).unwrap();
    assert_eq!(done.released, ["192.0.2.1".parse().unwrap()]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\nsshd: 192.0.2.2\nsshd: 192.0.2.3\n");
    let missing = carry_out(&dir.0.join("none"), Edit::Upgrade099, &UTC, None).unwrap();
    assert_eq!((missing.changes, missing.backup), (vec![], None), "no file has nothing to edit");
}
