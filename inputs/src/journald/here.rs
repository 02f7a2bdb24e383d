//! The journals of this machine: where journald keeps them, and what systemd's own configuration says of them.
//!
//! A unit with `LogNamespace=` logs by a journald of its own, into a directory of its own beside the main one. With
//! `Storage=none` nothing is kept at all. Both are read from the files, drop-ins included, as systemd does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Error;
use crate::cursor::Id128;

/// Persistent and volatile: in these journald has a directory by the machine's id, and one more a namespace.
pub(super) const KEPT_IN: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Where systemd's configuration is. What stands in an earlier one goes before a file of the same name in a later one.
const CONFIGURED_IN: [&str; 5] =
    ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd"];

/// The units that an sshd or a dropbear runs as.
const UNITS: [&str; 6] =
    ["ssh.service", "sshd.service", "ssh@.service", "sshd@.service", "dropbear.service", "dropbear@.service"];

/// How much is read of a file of systemd's, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// The id of this machine, by which its journals are called.
pub(super) fn machine() -> Result<Id128, Error> {
    let path = Path::new("/etc/machine-id");
    let id = fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    id.trim_end().parse().map_err(|_| Error::Damaged { path: path.to_owned(), offset: 0, what: "it is no machine id" })
}

/// Whether this machine has a journal of a namespace.
pub(super) fn has_namespaces() -> bool {
    let Ok(machine) = machine().map(|id| format!("{id}.")) else { return false };
    let is_one = |item: io::Result<fs::DirEntry>| {
        item.is_ok_and(|item| item.file_name().as_encoded_bytes().starts_with(machine.as_bytes()))
    };
    KEPT_IN.iter().filter_map(|path| fs::read_dir(path).ok()).flatten().any(is_one)
}

/// Whether this machine has a journal that may be there to follow: a journald that runs, or files of one.
pub fn is_here() -> bool {
    let is_machines = |machine: Id128| KEPT_IN.iter().any(|path| Path::new(path).join(machine.to_string()).is_dir());
    machine().is_ok_and(is_machines) || Path::new("/run/systemd/journal/socket").exists()
}

/// A namespace of the journal that an sshd's unit logs into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// The unit.
    pub unit: &'static str,
}

/// The namespaces that the units of an sshd log into, of the machine whose root directory this is.
pub fn namespaces(root: &Path) -> Vec<Namespace> {
    let mut found: Vec<Namespace> = Vec::new();
    for unit in UNITS {
        let set = setting(root, &format!("system/{unit}"), "LogNamespace");
        let Some((name, _)) = set.filter(|(name, _)| !name.is_empty()) else { continue };
        if !found.iter().any(|other| other.name == name) {
            found.push(Namespace { name, unit });
        }
    }
    found
}

/// The file that says that nothing of an sshd's is kept in the journal of this machine: in no
/// namespace that one logs into.
pub fn keeps_nothing(root: &Path) -> Option<PathBuf> {
    let drops =
        |name: &str| setting(root, name, "Storage").and_then(|(storage, file)| (storage == "none").then_some(file));
    let spaces = namespaces(root);
    if spaces.is_empty() {
        return drops("journald.conf");
    }
    let each: Option<Vec<_>> = spaces.iter().map(|space| drops(&format!("journald@{}.conf", space.name))).collect();
    each?.pop()
}

/// What a file of systemd's and its drop-ins set a key to, and which of them does.
fn setting(root: &Path, name: &str, key: &str) -> Option<(String, PathBuf)> {
    let places = CONFIGURED_IN.map(|place| root.join(place));
    let own = places.iter().map(|place| place.join(name)).find(|file| file.exists());
    let mut dropped_in: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for place in &places {
        let items = fs::read_dir(place.join(format!("{name}.d"))).ok().into_iter().flatten().flatten();
        for item in items.filter(|item| item.file_name().as_encoded_bytes().ends_with(b".conf")) {
            dropped_in.entry(item.file_name()).or_insert_with(|| item.path());
        }
    }
    own.into_iter().chain(dropped_in.into_values()).filter_map(|file| Some((last(&file, key)?, file))).next_back()
}

/// The last value that a file gives to a key.
fn last(file: &Path, key: &str) -> Option<String> {
    // One that is a device, as of a unit that is masked, or a pipe, says nothing.
    let opened = fs::metadata(file).is_ok_and(|found| found.is_file()).then(|| fs::File::open(file))?.ok()?;
    let mut text = Vec::new();
    opened.take(FILE_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found on a machine that has these files.
    fn check(files: &[(&str, &str)], namespaces: &[&str], keeps_nothing: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = super::namespaces(root.path());
        let found: Vec<_> = found.iter().map(|space| format!("{} {}", space.unit, space.name)).collect();
        assert_eq!(found, namespaces, "{files:?}");
        let told = super::keeps_nothing(root.path());
        assert_eq!(told, keeps_nothing.map(|file| root.path().join(file)), "{files:?}");
    }

    #[test]
    fn the_namespaces_of_sshds_units() {
        let unit = ("usr/lib/systemd/system/ssh.service", "[Service]\nExecStart=/usr/sbin/sshd -D\n");
        let logs_to = |name| format!("[Service]\n# LogNamespace=no\n LogNamespace = {name}\n");
        let (a, b, none) = (logs_to("a"), logs_to("b"), logs_to(""));
        check(&[], &[], None);
        check(&[unit], &[], None);
        check(&[("lib/systemd/system/dropbear.service", &a)], &["dropbear.service a"], None);
        check(&[unit, ("etc/systemd/system/ssh.service.d/x.conf", &a)], &["ssh.service a"], None);
        check(&[unit, ("etc/systemd/system/ssh.service.d/x.conf~", &a)], &[], None);
        // The unit of an administrator takes the place of the packaged one, and so does a drop-in of the same name.
        check(&[("usr/lib/systemd/system/ssh.service", &a), ("etc/systemd/system/ssh.service", "")], &[], None);
        let lib = ("usr/lib/systemd/system/ssh.service.d/9.conf", &*a);
        check(&[unit, lib, ("run/systemd/system/ssh.service.d/9.conf", &b)], &["ssh.service b"], None);
        // By their names, wherever they are.
        check(&[unit, lib, ("etc/systemd/system/ssh.service.d/1.conf", &b)], &["ssh.service a"], None);
        check(&[unit, lib, ("etc/systemd/system/ssh.service.d/99.conf", &none)], &[], None);
        let sshd = ("etc/systemd/system/sshd.service", &*a);
        check(&[lib, sshd, ("etc/systemd/system/sshd@.service", &b)], &["ssh.service a", "sshd@.service b"], None);
    }

    #[test]
    fn what_is_not_kept() {
        let (main, drop_in) = ("etc/systemd/journald.conf", "usr/lib/systemd/journald.conf.d/1.conf");
        let (none, auto) = ("[Journal]\nStorage=none\n", "[Journal]\n#Storage=none\nStorage=auto\n");
        check(&[(main, auto)], &[], None);
        check(&[(main, none)], &[], Some(main));
        check(&[(main, none), (drop_in, auto)], &[], None);
        check(&[(main, auto), (drop_in, none)], &[], Some(drop_in));
        // sshd's own namespace has a configuration of its own.
        let unit = ("etc/systemd/system/ssh.service", "LogNamespace=a");
        let spaces = &["ssh.service a"];
        check(&[unit, (main, none)], spaces, None);
        let own = "etc/systemd/journald@a.conf";
        check(&[unit, (own, none)], spaces, Some(own));
        check(
            &[unit, (own, none), ("etc/systemd/system/sshd.service", "LogNamespace=b")],
            &["ssh.service a", "sshd.service b"],
            None,
        );
    }
}
