//! The systemd journal: followed live, or read once from files and streams.
//!
//! [`follow`] reads the journal of this machine, or any directory of journals, by our own reader of journal files or by
//! a `journalctl` child, whichever can. [`stored`] reads what lies in a file or comes by a pipe: journal files, the
//! journal export format, `journalctl -o json`. Both put the parts of entries into [`Batch`](crate::record::Batch)es.
//!
//! Live, no crate is used. `sdjournal` 0.1.15 was to be: it opens directories only, so that each look at one new entry
//! opens every file anew; it orders and resumes by time alone, so that entries of other boxes that arrive late, and
//! those behind a clock that was set back, are never delivered; it tells no sequence id, which a cursor must have; its
//! XZ cannot be linked beside ours (both bring `lzma`), it maps files, and wants Rust 1.95. What is needed of the file
//! format is the module `disk`: 400 lines.

mod disk;
mod entry;
mod export;
pub mod follow;
mod head;
pub mod here;
mod journalctl;
mod json;
mod native;
pub mod printed;
pub mod stored;
mod stream;
mod unpack;
mod window;

use std::io;
use std::path::PathBuf;

/// Why a journal was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file was not opened.
    #[error(transparent)]
    Open(#[from] crate::file::Error),
    /// The system did not read it.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is of a later systemd, and says that who does not know must not read it.
    #[error("cannot read {}: it has incompatible flags that this reader does not know ({flags:#x})", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The unknown ones of its incompatible flags.
        flags: u32,
    },
    /// Something in it cannot be.
    #[error("cannot read {} at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file, or what the stream was called.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A field of it was not unpacked.
    #[error("cannot unpack {} at byte {offset}: {cause}", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What the decompressor said.
        cause: io::Error,
    },
    /// A stream has what only a file can give.
    #[error(
        "cannot read {} as a stream: it has fields that are compressed with {compression}; unpack it to a file and name that",
        path.display()
    )]
    NeedsFile {
        /// What the stream was called.
        path: PathBuf,
        /// LZ4 or XZ.
        compression: &'static str,
    },
    /// `journalctl` did not start, or ended: what happened, and what it said itself.
    #[error("journalctl: {0}")]
    Journalctl(String),
}
