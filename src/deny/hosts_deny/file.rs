//! Reading and replacing a file as a whole, so that nobody sees half of it: [`crate::spot`], with what is said of errors.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::deny::DenyError;
use crate::spot::{Old, Seen, Spot, Temporary};

/// The file itself, where the path is a symbolic link: that stays a link. `None` where its directory is missing.
pub(super) fn target(path: &Path) -> Result<Option<Spot>, DenyError> {
    match Spot::of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Ok(spot) if spot.is_link() && stat(&spot)?.is_none() => {
            Err(failed("follow", path, &ErrorKind::NotFound.into()))
        }
        found => found.map(Some).map_err(|error| failed("follow", path, &error)),
    }
}

/// Gives a file the extended attributes of another one; returns the names of those that it does not take.
pub fn copy_attributes(from: &Path, to: &fs::File) -> io::Result<Vec<String>> {
    Ok(crate::spot::copy_attributes(&fs::File::open(from)?, to))
}

/// The bytes of what a path leads to, as libwrap reads it: it follows any link. Nothing of a missing file.
pub(super) fn text(path: &Path) -> io::Result<Vec<u8>> {
    let file = match fs::File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a file, and the file; nothing of a missing one.
pub(super) fn read(spot: &Spot) -> Result<(Vec<u8>, Option<Old>), DenyError> {
    spot.read(FILE_MAX).map_err(|error| failed("read", spot.path(), &error))
}

/// What a file looks like now; `None` for a missing one.
pub(super) fn stat(spot: &Spot) -> Result<Option<Seen>, DenyError> {
    spot.seen().map_err(|error| failed("look at", spot.path(), &error))
}

/// See [`Spot::append`].
pub(super) fn append(spot: &Spot, seen: Seen, added: &[u8]) -> Result<Option<Seen>, DenyError> {
    spot.append(seen, added).map_err(|error| failed("append to", spot.path(), &error))
}

/// A new file beside the old one.
pub(super) fn write<'a>(spot: &'a Spot, bytes: &[u8], old: Option<&Old>) -> Result<Temporary<'a>, DenyError> {
    Temporary::write(spot, "denyd-new", bytes, old).map_err(|error| failed("write", spot.path(), &error))
}

/// The same for an edit: a daemon may be writing the same file, and other edits, and a temporary file of theirs is not ours.
pub(super) fn write_edit<'a>(spot: &'a Spot, bytes: &[u8], old: Option<&Old>) -> Result<Temporary<'a>, DenyError> {
    let suffix = format!("denyd-edit-{}", std::process::id());
    Temporary::write(spot, &suffix, bytes, old).map_err(|error| failed("write", spot.path(), &error))
}

/// Puts a new file in the place of the old one; returns what it looks like.
pub(super) fn rename(new: Temporary<'_>, spot: &Spot) -> Result<Seen, DenyError> {
    new.rename().map_err(|error| failed("replace", spot.path(), &error))
}

pub(super) fn sync_directory(spot: &Spot) -> Result<(), DenyError> {
    spot.sync().map_err(|error| failed("sync the directory of", spot.path(), &error))
}

/// What keeps a program that is neither root nor in a group of ours from reading a file: itself, or a directory above it.
pub(super) fn closed(file: &Path) -> Option<&Path> {
    let lacks = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bit == 0);
    let above = || file.ancestors().skip(1).find(|directory| lacks(directory, 0o001));
    if lacks(file, 0o004) { Some(file) } else { above() }
}

pub(super) fn failed(verb: &str, path: &Path, error: &io::Error) -> DenyError {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied if error.raw_os_error() == Some(nix::errno::Errno::EPERM as i32) => {
            Some("if it is immutable or append-only, which lsattr shows: chattr -ia")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("free some space; the old file is still in force"),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(
            "let denyd write its directory (ReadWritePaths= in the unit), or use a list file in its state directory",
        ),
        ErrorKind::ResourceBusy => Some("it is mounted by itself and cannot be replaced: mount its directory instead"),
        ErrorKind::NotFound => Some("make its directory, or correct the path"),
        _ => None,
    };
    DenyError { backend: NAME, tried: format!("{verb} {}", path.display()), cause: error.to_string(), remedy }
}

/// The back end's name.
pub const NAME: &str = "hosts.deny";
/// libwrap reads the whole file for every connection; one as large as this is a mistake. 1 000 000 entries fit.
const FILE_MAX: u64 = 128 << 20;
