//! Whose a file is: whether somebody else than root and we may write it, or put another one in its place. Whatever root does by
//! a file is done for whoever may write that.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The bits of permissions that let a group or everybody write.
const WRITABLE: u32 = 0o022;
/// The bit of a directory in which only the owner of a file renames and removes it, as in `/tmp`.
const STICKY: u32 = 0o1000;

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
}
