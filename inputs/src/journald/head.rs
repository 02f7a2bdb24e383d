//! The header of a journal file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Error;
use crate::cursor::{Id128, Place};

/// Greater objects are skipped. journald's own limit of a field is 768 MiB, of which we keep 8 KiB.
pub(super) const OBJECT_MAX: u64 = 16 << 20;

/// What every journal file begins with.
pub(super) const MAGIC: &[u8; 8] = b"LPKSHHRH";

/// The part of the header that is read; what later versions added behind it is not needed.
const HEADER_LEN: usize = 208;

pub(super) mod flag {
    pub(in super::super) const XZ: u32 = 1;
    pub(in super::super) const LZ4: u32 = 1 << 1;
    pub(in super::super) const KEYED_HASH: u32 = 1 << 2;
    pub(in super::super) const ZSTD: u32 = 1 << 3;
    pub(in super::super) const COMPACT: u32 = 1 << 4;
    pub(in super::super) const KNOWN: u32 = XZ | LZ4 | KEYED_HASH | ZSTD | COMPACT;
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: u32,
    pub(super) file_id: Id128,
    pub(super) seqnum_id: Id128,
    pub(super) header_size: u64,
    /// Entries that are linked. journald counts up after it has written everything else of an entry.
    pub(super) entries: u64,
    pub(super) entry_array: u64,
    /// The first entry, as far as the header tells it: not its boot.
    pub(super) first: Place,
    /// The number that was given out last; its entry may not be linked yet.
    pub(super) tail: Place,
}

impl Head {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], path: &Path) -> Result<Self, Error> {
        let damaged = |what| Error::Damaged { path: path.to_owned(), offset: 0, what };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("it does not begin as a journal does"));
        }
        let seqnum_id = id_at(bytes, 72);
        let first = Place { seqnum_id, seqnum: u64_at(bytes, 168), realtime: u64_at(bytes, 184), ..Place::default() };
        let head = Head {
            flags: u32_at(bytes, 12),
            file_id: id_at(bytes, 24),
            seqnum_id,
            header_size: u64_at(bytes, 88),
            entries: u64_at(bytes, 152),
            entry_array: u64_at(bytes, 176),
            first,
            tail: Place {
                seqnum_id,
                seqnum: u64_at(bytes, 160),
                boot_id: id_at(bytes, 56),
                monotonic: u64_at(bytes, 200),
                realtime: u64_at(bytes, 192),
                xor_hash: None,
            },
        };
        if head.flags & !flag::KNOWN != 0 {
            return Err(Error::Unsupported { path: path.to_owned(), flags: head.flags & !flag::KNOWN });
        }
        if head.header_size < HEADER_LEN as u64 {
            return Err(damaged("its header is too short"));
        }
        Ok(head)
    }
}

/// The header, and how long the file is.
pub(super) fn read(file: &File, path: &Path) -> Result<(Head, u64), Error> {
    let mut bytes = [0; HEADER_LEN];
    file.read_exact_at(&mut bytes, 0).map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::Damaged { path: path.to_owned(), offset: 0, what: "it is too short for a journal" }
        }
        _ => Error::Read { path: path.to_owned(), cause },
    })?;
    let head = Head::parse(&bytes, path)?;
    let metadata = file.metadata().map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    Ok((head, metadata.len()))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Ids are written as bytes, most significant first.
pub(super) fn id_at(bytes: &[u8], at: usize) -> Id128 {
    Id128(bytes[at..].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
}
