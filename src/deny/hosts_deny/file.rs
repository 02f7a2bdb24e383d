//! Reading and replacing a file as a whole, so that nobody sees half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::deny::DenyError;

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The file itself, where the path is a symbolic link: that stays a link.
pub(super) fn target(path: &Path) -> Result<PathBuf, DenyError> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(path.to_owned()),
        found => found.map_err(|error| failed("follow", path, &error)),
    }
}

/// A new file beside the old one; removed again if it is not renamed.
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
    /// Extended attributes of the old file that could not be given to it.
    pub(super) lost: Vec<String>,
}

/// A file that another one is to be like.
#[derive(Clone, Copy)]
pub(super) struct Like<'a>(pub(super) &'a Path, pub(super) &'a fs::Metadata);

impl Temporary {
    /// Writes and syncs it, with owner, mode and extended attributes of another file (an SELinux label and an ACL are such),
    /// or with 0644.
    pub(super) fn write(target: &Path, bytes: &[u8], like: Option<Like<'_>>) -> Result<Self, DenyError> {
        Self::write_as("denyd-new", target, bytes, like)
    }

    /// The same for an edit: a daemon may be writing the same file, and other edits, and a temporary file of theirs is not ours.
    pub(super) fn write_edit(target: &Path, bytes: &[u8], like: Option<Like<'_>>) -> Result<Self, DenyError> {
        Self::write_as(&format!("denyd-edit-{}", std::process::id()), target, bytes, like)
    }

    fn write_as(suffix: &str, target: &Path, bytes: &[u8], like: Option<Like<'_>>) -> Result<Self, DenyError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{suffix}"));
        let fail = |error: io::Error| failed("write", &path, &error);
        _ = fs::remove_file(&path); // what is there is left of a crash of ours: nobody else has that name
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
        let mut temporary = Temporary { path: path.clone(), file, lost: Vec::new() };
        let Temporary { file, lost, .. } = &mut temporary;
        let mut write = || {
            file.write_all(bytes)?;
            let own = file.metadata()?;
            if let Some(Like(path, like)) = like {
                if (like.uid(), like.gid()) != (own.uid(), own.gid()) {
                    std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
                }
                *lost = copy_attributes(path, file);
            }
            let mode = like.map_or(0o644, |Like(_, like)| like.mode() & 0o7777);
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        write().map_err(fail)?;
        Ok(temporary)
    }

    /// Puts it in the place of the old one; returns what it looks like.
    pub(super) fn rename(self, target: &Path) -> Result<Seen, DenyError> {
        let renamed = self.file.metadata().and_then(|new| fs::rename(&self.path, target).map(|()| Seen::of(&new)));
        renamed.map_err(|error| failed("replace", target, &error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path); // once it was renamed there is none
    }
}

/// Adds bytes to the end of the file that was seen, and returns what it looks like then; `None` if it is another one by now, of
/// which nothing is changed, or if somebody else wrote it at the same time.
pub(super) fn append(target: &Path, seen: Seen, added: &[u8]) -> Result<Option<Seen>, DenyError> {
    let fail = |error: io::Error| failed("append to", target, &error);
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW;
    let mut file = OpenOptions::new().append(true).custom_flags(flags.bits()).open(target).map_err(fail)?;
    if Seen::of(&file.metadata().map_err(fail)?) != seen {
        return Ok(None);
    }
    if let Err(error) = file.write_all(added).and_then(|()| file.sync_all()) {
        // Half a line may be there. What others appended meanwhile is not taken away with it.
        if file.metadata().is_ok_and(|now| now.len() <= seen.size + added.len() as u64) {
            _ = file.set_len(seen.size);
        }
        return Err(fail(error));
    }
    let now = Seen::of(&file.metadata().map_err(fail)?);
    let is_alone = now.size == seen.size + added.len() as u64 && stat(target)? == Some(now);
    Ok(is_alone.then_some(now))
}

/// Gives a file the extended attributes of another one; returns the names of those that it does not take.
pub fn copy_attributes(from: &Path, to: &File) -> Vec<String> {
    let mut names = vec![0; ATTRIBUTES_MAX];
    // A file system that knows none has none.
    let len = rustix::fs::listxattr(from, &mut names[..]).unwrap_or(0);
    names.truncate(len);
    let mut value = vec![0; ATTRIBUTES_MAX];
    let mut lost = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !OF_CONTENT.contains(name)) {
        let copied = rustix::fs::getxattr(from, name, &mut value[..])
            .and_then(|len| rustix::fs::fsetxattr(to, name, &value[..len], rustix::fs::XattrFlags::empty()));
        if copied.is_err() {
            lost.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    lost
}

pub(super) fn sync_directory(target: &Path) -> Result<(), DenyError> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = OpenOptions::new().read(true).open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| failed("sync", directory, &error))
}

impl Seen {
    pub(super) fn of(metadata: &fs::Metadata) -> Seen {
        Seen {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What keeps a program that is neither root nor in a group of ours from reading a file: itself, or a directory above it.
pub(super) fn closed(file: &Path) -> Option<&Path> {
    let lacks = |path: &Path, bit: u32| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bit == 0);
    let above = || file.ancestors().skip(1).find(|directory| lacks(directory, 0o001));
    if lacks(file, 0o004) { Some(file) } else { above() }
}

/// The bytes of a file and what it looked like when they were read; nothing for a missing one.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Option<fs::Metadata>), DenyError> {
    bytes(path).map_err(|error| failed("read", path, &error))
}

fn bytes(path: &Path) -> io::Result<(Vec<u8>, Option<fs::Metadata>)> {
    let mut file = match OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None)),
        opened => opened?,
    };
    // Before the bytes: a change while we read shows as a difference afterwards.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("larger than {} MB", FILE_MAX >> 20)));
    }
    Ok((bytes, Some(metadata)))
}

/// What a file looks like now; `None` for a missing one.
pub(super) fn stat(path: &Path) -> Result<Option<Seen>, DenyError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(|metadata| Some(Seen::of(&metadata))).map_err(|error| failed("look at", path, &error)),
    }
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> DenyError {
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
/// The most bytes of all names of a file's extended attributes, and of one value: Linux' own limits.
const ATTRIBUTES_MAX: usize = 64 * 1024;
/// Attributes that say what is in a file, and so are no other file's.
const OF_CONTENT: &[&[u8]] = &[b"security.ima", b"security.evm"];
/// libwrap reads the whole file for every connection; one as large as this is a mistake. 1 000 000 entries fit.
const FILE_MAX: u64 = 128 << 20;
