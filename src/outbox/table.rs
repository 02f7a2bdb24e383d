//! A file with what is denied, one address or prefix a line, as DenyHosts' `PF_TABLE_FILE`: for pf, and for other machines that
//! fetch it.
//!
//! A line is appended when a deny begins and taken away when it ends, which DenyHosts never did. Ours are marked, in a comment
//! that pf passes over: a line of somebody else's stays, and stands for the same deny as well.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::appended;
use super::news::{News, What};
use super::output::{Beside, Output, Told};
use crate::text::printable;

/// The mark of our lines.
const MARK: &str = " # denyd";
/// The largest file that is changed, in bytes: a million lines.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// A fresh file is for everybody to read: pfctl, or who fetches it.
const MODE: u32 = 0o644;

/// What writes the file.
pub(super) struct Table {
    path: PathBuf,
}

impl Table {
    pub(super) fn new(path: PathBuf) -> Table {
        Table { path }
    }
}

impl Output for Table {
    fn tell(&mut self, news: &[News], _: &Beside, told: &Told<'_>) -> Result<(), String> {
        // Whether each is to be there, by what was decided last.
        let mut wanted = BTreeMap::new();
        for one in news {
            match one.what {
                What::Denied(prefix) => _ = wanted.insert(prefix.to_string(), true),
                What::Ended(prefix) => _ = wanted.insert(prefix.to_string(), false),
                What::Suspicious(..) => {}
            }
        }
        change(&self.path, &wanted)
            .map_err(|error| printable(format!("{} cannot be written: {error}", self.path.display()).as_bytes()))?;
        wanted.iter().for_each(|_| told.went(Ok(())));
        Ok(())
    }
}

/// Appends what is to be there and is not, and takes away those of our lines that are not to be. Changing it twice is as once.
fn change(path: &Path, wanted: &BTreeMap<String, bool>) -> io::Result<()> {
    let mut file = appended::open(path, OpenOptions::new().read(true).append(true).create(true).mode(MODE))?;
    let found = file.metadata()?;
    let mut text = Vec::new();
    (&file).take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", FILE_MAX >> 20)));
    }
    let (mut kept, mut missing) = (Vec::with_capacity(text.len()), wanted.clone());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (host, is_ours) = parts(line);
        match host.and_then(|host| wanted.get(host).map(|is_wanted| (host, *is_wanted))) {
            Some((_, false)) if is_ours => continue,
            Some((host, true)) => _ = missing.remove(host),
            _ => {}
        }
        kept.extend_from_slice(line);
    }
    let mut more = String::new();
    if kept.last().is_some_and(|byte| *byte != b'\n') {
        more.push('\n'); // somebody was cut off
    }
    let begun = more.len();
    for host in missing.iter().filter(|(_, is_wanted)| **is_wanted).map(|(host, _)| host) {
        more += &format!("{host}{MARK}\n");
    }
    if kept.len() < text.len() {
        if more.len() > begun {
            kept.extend_from_slice(more.as_bytes());
        }
        return replace(path, &kept, &found);
    }
    if more.len() == begun {
        return Ok(());
    }
    file.write_all(more.as_bytes()).inspect_err(|_| {
        let _ = file.set_len(text.len() as u64); // else there is half a line
    })
}

/// What a line names, if anything, and whether it is ours.
fn parts(line: &[u8]) -> (Option<&str>, bool) {
    let Ok(line) = std::str::from_utf8(line) else { return (None, false) };
    let line = line.trim_end_matches(['\n', '\r']);
    match line.strip_suffix(MARK) {
        Some(host) => (Some(host), true),
        None => (line.split('#').next().map(str::trim).filter(|host| !host.is_empty()), false),
    }
}

/// Puts another file in its place, with its owner and its mode.
fn replace(path: &Path, text: &[u8], found: &fs::Metadata) -> io::Result<()> {
    // Where it is a link, what that leads to is replaced.
    let path = fs::canonicalize(path)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".denyd-new");
    let fresh = PathBuf::from(name);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text)?;
        let is_its = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) == (found.uid(), found.gid());
        if !is_its {
            fchown(&file, Some(found.uid()), Some(found.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(found.mode() & 0o7777))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_and_go_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blacklist");
        let change = |wanted: &[(&str, bool)], want: &str| {
            let wanted = wanted.iter().map(|(host, is_wanted)| ((*host).to_owned(), *is_wanted)).collect();
            for _ in 0..2 {
                super::change(&path, &wanted).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), want, "{wanted:?}");
            }
        };
        change(&[("192.0.2.7", true), ("2001:db8::/64", true)], "192.0.2.7 # denyd\n2001:db8::/64 # denyd\n");
        fs::write(&path, "# mine\n192.0.2.8\n192.0.2.7 # denyd\n10.0.0.0/8 # lab\nnot cut").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        change(
            &[("192.0.2.8", true), ("10.0.0.0/8", false)],
            "# mine\n192.0.2.8\n192.0.2.7 # denyd\n10.0.0.0/8 # lab\nnot cut",
        );
        let all = "# mine\n192.0.2.8\n192.0.2.7 # denyd\n10.0.0.0/8 # lab\nnot cut\n192.0.2.9 # denyd\n";
        change(&[("192.0.2.9", true)], all);
        let left = "# mine\n192.0.2.8\n10.0.0.0/8 # lab\nnot cut\n192.0.2.9 # denyd\n";
        change(&[("192.0.2.7", false), ("192.0.2.8", false)], left);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let wanted = [("192.0.2.7".to_owned(), true)].into();
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [dir.path().join("none/file"), dir.path().join("fifo"), "/dev/null".into()] {
            assert!(change(&path, &wanted).is_err(), "{path:?}");
        }
    }
}
