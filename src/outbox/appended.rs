//! Files that are appended to, by root, where others may make files, as in `/var/log`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::whose;

/// Opens a file by these options. A FIFO that nobody reads would hold us up, and a device would take anything. A link that
/// somebody else made would have us write into a file of theirs to choose.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let mut with = |flags: OFlag| options.custom_flags((OFlag::O_NONBLOCK | flags).bits()).open(path);
    let file = match with(OFlag::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            followed(path)?;
            with(OFlag::empty())?
        }
        opened => opened?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    }
}

/// An error if it is a link that is not followed.
pub(super) fn followed(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() && !whose::is_ours(&found) => Err(io::Error::other(format!(
            "it is a link that uid {} made, and is not followed; remove it, or name the file that it leads to",
            found.uid()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn a_link_is_followed_if_root_or_we_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        symlink(&file, &link).unwrap();
        let open = || open(&link, OpenOptions::new().append(true).create(true));
        open().unwrap();
        assert!(file.exists() && followed(&link).is_ok());
        // Only root can make links of others.
        if nix::unistd::geteuid().is_root() {
            fs::remove_file(&file).unwrap();
            lchown(&link, Some(65_534), None).unwrap();
            for error in [open().unwrap_err(), followed(&link).unwrap_err()] {
                assert!(error.to_string().contains("a link that uid 65534 made"), "{error}");
            }
            assert!(!file.exists());
        }
    }
}
