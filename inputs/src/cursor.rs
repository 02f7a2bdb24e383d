//! Where an input goes on after a restart.
//!
//! A cursor is committed in the same transaction as the effect of the records before it, so a record counts
//! exactly once over any crash. It is stored as JSON: readers can be added without a migration.

/// A position in an input that can be read again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cursor {
    /// A plain file.
    File(FileCursor),
    /// The systemd journal.
    Journal(JournalCursor),
}

pub use crate::journald::place::{Id128, Place};

/// A position in the systemd journal, which is many files.
///
/// Files of one writer share a sequence of numbers; the journals of several writers (users of systemd before 254,
/// the volatile and the persistent journal, other boxes) each have their own, and each its own place: an entry of
/// another box can arrive long after newer ones of this one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JournalCursor {
    /// The last entry that was read. `journalctl --cursor=` understands its text.
    pub last: Place,
    /// The last entry that was read of `/run/log/journal`: journald copies what is there into the persistent
    /// journal when that comes up, and those copies are not to be read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatile: Option<Place>,
    /// The last entries of all sequences, that of `last` included; `None` where the reader does not know them
    /// (`journalctl`): then what is newer than `last` is read of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<Place>>,
}

/// A position in a plain file, with what is needed to know the file again.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileCursor {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file. Inodes are reused: see `fingerprint`.
    pub inode: u64,
    /// Bytes consumed: the start of the first line that was not yet delivered.
    pub offset: u64,
    /// The file's first bytes (its first line, at most [`FINGERPRINT_MAX`] bytes), hashed with FNV-1a (64 bit),
    /// and how many bytes that was. An inode that was reused, or a file that was truncated and written anew, begins otherwise.
    pub fingerprint: u64,
    /// How many bytes `fingerprint` covers; 0 = the file was empty.
    pub fingerprint_len: u32,
}

/// How many bytes of a file's beginning identify it at most.
pub const FINGERPRINT_MAX: usize = 256;
