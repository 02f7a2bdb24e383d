//! Whose a file is: whether somebody else than root and we may write it, or put another one in its place. Whatever root does by
//! a file is done for whoever may write that.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// The bits of permissions that let a group or everybody write.
const WRITABLE: u32 = 0o022;
/// The bit of a directory in which only the owner of a file renames and removes it, as in `/tmp`.
const STICKY: u32 = 0o1000;
/// The most bytes of a file that is read here.
const FILE_MAX: u64 = 64 << 20;

/// Somebody else may write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// It is his.
    Owner(PathBuf, u32),
    /// Its mode says so.
    Mode(PathBuf, u32),
}

impl fmt::Display for Others {
    /// Who may, and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Others::Owner(path, uid) => {
                let path = path.display();
                write!(f, "{path} belongs to uid {uid}: chown root {path}")
            }
            Others::Mode(path, mode) => {
                let path = path.display();
                write!(f, "others may write {path} (its mode is {:04o}): chmod go-w {path}", mode & 0o7777)
            }
        }
    }
}

/// Whether root or our own user owns it.
pub(crate) fn is_ours(found: &Metadata) -> bool {
    [0, nix::unistd::geteuid().as_raw()].contains(&found.uid())
}

/// Sees that nobody else may write what was found at a path.
pub(crate) fn closed(path: &Path, found: &Metadata) -> Result<(), Others> {
    match (is_ours(found), found.mode() & WRITABLE) {
        (false, _) => Err(Others::Owner(path.to_owned(), found.uid())),
        (true, 0) => Ok(()),
        (true, _) => Err(Others::Mode(path.to_owned(), found.mode())),
    }
}

/// Sees that nobody else may write a file or directory, or put another one in its place: not in any directory on the way, nor
/// by any link. An error of the outer kind says that it cannot be told.
pub(crate) fn closed_place(path: &Path) -> io::Result<Result<(), Others>> {
    let real = fs::canonicalize(path)?;
    for path in path.ancestors().chain(real.ancestors()).filter(|path| !path.as_os_str().is_empty()) {
        let found = fs::symlink_metadata(path)?;
        let is_shared = found.is_dir() && found.mode() & STICKY != 0 && path != real;
        let is_closed = match found.is_symlink() || is_shared {
            // What its mode says of a link means nothing, and in such a directory nobody removes what is another's.
            true if is_ours(&found) => Ok(()),
            true => Err(Others::Owner(path.to_owned(), found.uid())),
            false => closed(path, &found),
        };
        if is_closed.is_err() {
            return Ok(is_closed);
        }
    }
    Ok(Ok(()))
}

/// What stands in a file that nobody else could have written, nor put there; `None` if it is not there. An error says why it
/// counts for nothing.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        opened => opened?,
    };
    let found = file.metadata()?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let others = |others: Others| io::Error::other(others.to_string());
    closed(path, &found).and(closed(dir, &fs::metadata(dir)?)).map_err(others)?;
    if !found.is_file() || found.len() > FILE_MAX {
        return Err(io::Error::other(format!("{} is no file of ours", path.display())));
    }
    let mut bytes = Vec::new();
    (&mut file).take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The user whose directory it is, if this process is root and he is not.
pub(crate) fn of_another(dir: &Path) -> Option<u32> {
    let owner = fs::metadata(dir).ok()?.uid();
    (nix::unistd::geteuid().is_root() && owner != 0).then_some(owner)
}

/// Gives a file that root made to whoever owns the directory that it is in, as the daemon's own user must be able to open it.
/// One with a second name is left alone: it may be anybody's.
pub(crate) fn give(file: &File, dir: &Path) -> io::Result<()> {
    let (found, owner) = (file.metadata()?, fs::metadata(dir)?);
    let is_other = (found.uid(), found.gid()) != (owner.uid(), owner.gid());
    if nix::unistd::geteuid().is_root() && owner.uid() != 0 && is_other && found.is_file() && found.nlink() == 1 {
        std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    #[test]
    fn who_may_write_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let set = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        for name in ["in", "tmp"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "").unwrap();
        }
        symlink(path("in/file"), path("link")).unwrap();
        let check = |name: &str, want: &str| {
            let said = closed_place(&path(name)).unwrap().map_or_else(|others| others.to_string(), |()| String::new());
            let want = want.replace("DIR", dir.path().to_str().unwrap());
            assert_eq!(said, want, "{name}");
        };
        set("in/file", 0o755);
        set("in", 0o755);
        check("in/file", "");
        check("link", "");
        set("in/file", 0o775);
        check("in/file", "others may write DIR/in/file (its mode is 0775): chmod go-w DIR/in/file");
        set("in/file", 0o755);
        set("in", 0o757);
        check("in/file", "others may write DIR/in (its mode is 0757): chmod go-w DIR/in");
        check("link", "others may write DIR/in (its mode is 0757): chmod go-w DIR/in");
        set("in", 0o1777);
        check("in/file", "");
        check("in", "others may write DIR/in (its mode is 1777): chmod go-w DIR/in");
        assert!(closed_place(&path("none")).is_err());
        // Only root can make files of others.
        if nix::unistd::geteuid().is_root() {
            chown(path("in/file"), Some(1), None).unwrap();
            check("in/file", "DIR/in/file belongs to uid 1: chown root DIR/in/file");
            chown(path("in/file"), Some(0), None).unwrap();
            lchown(path("link"), Some(1), None).unwrap();
            check("link", "DIR/link belongs to uid 1: chown root DIR/link");
            chown(path("in"), Some(1), None).unwrap();
            check("in/file", "DIR/in belongs to uid 1: chown root DIR/in");
        }
    }

    /// Root alone can give a file to somebody else; the modes are asked of everybody.
    #[test]
    fn what_others_could_have_written_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let check = |want: Result<Option<&str>, &str>| match (read(&file), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want.map(|text| text.as_bytes().to_vec())),
            (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
            (got, want) => panic!("{got:?} is not {want:?}"),
        };
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        check(Ok(None));
        fs::write(&file, "text").unwrap();
        mode(&file, 0o600);
        check(Ok(Some("text")));
        mode(&file, 0o620);
        check(Err("others may write"));
        mode(&file, 0o600);
        mode(dir.path(), 0o777);
        check(Err("others may write"));
        mode(dir.path(), 0o700);
        if nix::unistd::geteuid().is_root() {
            chown(&file, Some(65534), None).unwrap();
            check(Err("belongs to uid 65534"));
            give(&File::open(&file).unwrap(), dir.path()).unwrap();
            check(Err("belongs to uid 65534"));
            chown(&file, Some(0), None).unwrap();
            chown(dir.path(), Some(65534), None).unwrap();
            check(Err("belongs to uid 65534"));
            assert_eq!(of_another(dir.path()), Some(65534));
            fs::hard_link(&file, dir.path().join("other")).unwrap();
            give(&File::open(&file).unwrap(), dir.path()).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "it has a second name");
            fs::remove_file(dir.path().join("other")).unwrap();
            give(&File::open(&file).unwrap(), dir.path()).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 65534);
            chown(dir.path(), Some(0), None).unwrap();
        }
        fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(read(&file).is_err(), "a link");
    }
}
