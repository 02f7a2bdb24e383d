//! Where an input goes on after a restart.
//!
//! A cursor is committed in the same transaction as the effect of the records before it, so a record counts
//! exactly once over any crash. It is stored as JSON: readers can be added without a migration.

mod place;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

pub use place::{Id128, Place};

/// A position in an input that can be read again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cursor {
    /// A plain file.
    File(FileCursor),
    /// The systemd journal.
    Journal(JournalCursor),
    /// The directory of a multilog.
    Multilog(MultilogCursor),
}

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
    /// The file.
    #[serde(flatten)]
    pub id: FileId,
    /// Bytes consumed: the start of the first line that was not yet delivered.
    pub offset: u64,
    /// How it begins.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// The last lines before the offset: a copy is known by them.
    #[serde(default, skip_serializing_if = "Known::is_empty")]
    pub known: Known,
}

/// A device and an inode: one file for as long as it is open. Inodes are reused: see [`Fingerprint`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileId {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file's first line, or its first [`FINGERPRINT_MAX`] bytes, or as much as there was: hashed. An inode that was
/// reused, or a file that was truncated and written anew, begins otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    /// By FNV-1a (64 bit).
    #[serde(rename = "fingerprint")]
    pub hash: u64,
    /// How many bytes the hash covers; 0 = the file was empty, and the hash says nothing.
    #[serde(rename = "fingerprint_len")]
    pub len: usize,
}

/// The last lines that were read of a file, as hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Known(pub(crate) Vec<u32>);

impl Known {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many bytes of a file's beginning identify it at most.
pub const FINGERPRINT_MAX: usize = 256;

/// A position in the directory of a multilog: behind a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MultilogCursor {
    /// What the line begins with. With `lines` 0: the name of the old file behind which no line was read.
    pub label: Label,
    /// Which of the lines with this label it is, from 1: multilog labels by the microsecond, what it reads at once
    /// gets one label.
    pub lines: u64,
}

/// A TAI64N label as it is written: `@` and 24 hexadecimal digits. The later is the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label([u8; 24]);

impl Label {
    /// Its length as it is written, in bytes.
    pub const LEN: usize = 25;

    /// The label that `text` begins with. What follows must be a blank, or nothing.
    pub fn leading(text: &[u8]) -> Option<Self> {
        let digits: &[u8; 24] = text.strip_prefix(b"@")?.first_chunk()?;
        let is_hex = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let ends = matches!(text.get(Self::LEN), None | Some(b' '));
        (is_hex && ends).then_some(Label(*digits))
    }
}

/// Before all times.
impl Default for Label {
    fn default() -> Self {
        Label([b'0'; 24])
    }
}

/// As it is written.
impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{}", self.0.escape_ascii())
    }
}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.to_string()
    }
}

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let label = Label::leading(text.as_bytes()).filter(|_| text.len() == Self::LEN);
        label.ok_or_else(|| format!("{text:?} is no TAI64N label"))
    }
}
