//! A file with what is denied, one address or prefix a line, as DenyHosts' `PF_TABLE_FILE`: for pf, and for other machines that
//! fetch it.
//!
//! A line is appended when a deny begins and taken away when it ends, which DenyHosts never did. Ours are marked, in a comment
//! that pf passes over: a line of somebody else's stays, and stands for the same deny as well.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::news::{News, What};
use super::output::{Beside, Output, Told};
use crate::spot::{Seen, Spot, Temporary};
use crate::text::printable;

/// The mark of our lines.
const MARK: &str = " # denyd";
/// The largest file that is changed, in bytes: a million lines.
const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Rounds against somebody who writes the file at the same time.
const TRIES_MAX: usize = 5;

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

/// Appends what is to be there and is not, and takes away those of our lines that are not to be. Changing it twice is as once. A
/// fresh file is for everybody to read: pfctl, or who fetches it.
fn change(path: &Path, wanted: &BTreeMap<String, bool>) -> io::Result<()> {
    for _ in 0..TRIES_MAX {
        let spot = Spot::of(path)?;
        let (text, old) = spot.read(FILE_MAX)?;
        let seen = old.as_ref().map(|old| Seen::of(&old.metadata));
        let (kept, more) = changed(&text, wanted);
        let goes = kept.len() < text.len();
        match seen {
            Some(_) if !goes && more.is_empty() => return Ok(()),
            Some(seen) if !goes => {
                if spot.append(seen, more.as_bytes())?.is_some() {
                    return Ok(());
                }
            }
            _ => {
                let new = Temporary::write(&spot, "denyd-new", &[kept, more.into_bytes()].concat(), old.as_ref())?;
                // Where somebody else wrote it meanwhile: once more, with what they wrote.
                if spot.seen()? == seen {
                    new.rename()?;
                    return spot.sync();
                }
            }
        }
    }
    Err(io::Error::other(format!("somebody else changed it {TRIES_MAX} times meanwhile")))
}

/// What stays of a text, and what comes behind it.
fn changed(text: &[u8], wanted: &BTreeMap<String, bool>) -> (Vec<u8>, String) {
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
    let lines = missing.iter().filter(|(_, is_wanted)| **is_wanted).map(|(host, _)| format!("{host}{MARK}\n"));
    let mut more: String = lines.collect();
    if !more.is_empty() && kept.last().is_some_and(|byte| *byte != b'\n') {
        more.insert(0, '\n'); // somebody was cut off
    }
    (kept, more)
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

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
        // Extended attributes stay with it, where the file system has any.
        if rustix::fs::setxattr(&path, "user.label", b"x", rustix::fs::XattrFlags::empty()).is_ok() {
            change(&[("192.0.2.9", false)], "# mine\n192.0.2.8\n10.0.0.0/8 # lab\nnot cut\n");
            assert_eq!(rustix::fs::getxattr(&path, "user.label", &mut [0; 9][..]), Ok(1));
        }
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

    /// Only root can give a directory away. What its owner puts there is neither read nor replaced.
    #[test]
    fn in_a_directory_of_others_nothing_of_others_is_touched() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (web, victim) = (dir.path().join("web"), dir.path().join("victim"));
        fs::create_dir(&web).unwrap();
        chown(&web, Some(65_534), None).unwrap();
        fs::write(&victim, "192.0.2.7 # denyd\nroot's\n").unwrap();
        let path = web.join("list");
        let change = |is_wanted| super::change(&path, &[("192.0.2.7".to_owned(), is_wanted)].into());
        fs::write(&path, "192.0.2.7 # denyd\nevil\n").unwrap();
        chown(&path, Some(65_534), None).unwrap();
        assert!(change(false).unwrap_err().to_string().contains("it is uid 65534's"));
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(65_534), None).unwrap();
        assert!(change(false).unwrap_err().to_string().contains("a link that uid 65534 made"));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert!(change(false).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "192.0.2.7 # denyd\nroot's\n");
        fs::remove_file(&path).unwrap();
        change(true).unwrap();
        change(false).unwrap();
        assert_eq!((fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().len()), (0, 0));
    }
}
