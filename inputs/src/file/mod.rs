//! Plain files: followed live, or read once from end to end, compressed or not.

pub mod archive;
mod copy;
pub mod follow;
pub mod lines;
pub(crate) mod rotation;
pub(crate) mod watch;

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::record::Timestamp;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to open it.
    #[error("cannot open {}: {cause}", path.display())]
    Refused {
        /// What was to be opened.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not a regular file. Opening a FIFO or a device can hang, or do things.
    #[error("cannot read {}: it is a {kind}, not a regular file; {}", path.display(), remedy(kind))]
    NotRegular {
        /// What was to be opened.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It was opened, and not read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |cause| Error::Read { path, cause }
    }

    /// Whether there is nothing of that name.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Refused { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

fn remedy(kind: &str) -> &'static str {
    match kind {
        "directory" => "name the files in it",
        "fifo" | "socket" => "pipe the lines into standard input",
        _ => "name a log file",
    }
}

/// Opens a regular file for reading; symbolic links are followed, for `/var/log` is full of them.
///
/// Asks what it is before it opens it, and again afterwards: the name may be another file by then. `O_NONBLOCK`
/// so that a FIFO that came in between cannot hang us.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata), Error> {
    let refused = |cause| Error::Refused { path: path.to_owned(), cause };
    let regular = |metadata: Metadata| match metadata.is_file() {
        true => Ok(metadata),
        false => Err(Error::NotRegular { path: path.to_owned(), kind: kind(metadata.file_type()) }),
    };
    regular(fs::metadata(path).map_err(refused)?)?;
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits(); // std adds O_CLOEXEC
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(refused)?;
    let metadata = regular(file.metadata().map_err(refused)?)?;
    Ok((file, metadata))
}

/// Fills `buf` with what stands at `offset`, as much as there is of it before the file's end, and
/// says how much that is.
pub(crate) fn read_up_to(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match file.read_at(&mut buf[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn kind(file_type: FileType) -> &'static str {
    match file_type {
        it if it.is_dir() => "directory",
        it if it.is_fifo() => "fifo",
        it if it.is_socket() => "socket",
        _ => "device",
    }
}

/// When a file was last written to.
pub(crate) fn modified(metadata: &Metadata) -> Timestamp {
    Timestamp(metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000))
}

/// FNV-1a, 64 bit. Not against forgery: who writes the log can forge it anyway.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
