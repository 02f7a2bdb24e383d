//! Reads one journal file, live or archived, by the number of its entries.
//!
//! Promises every entry that journald has linked, in its order, and never to panic, hang or allocate more than
//! [`OBJECT_MAX`] whatever stands in the file. All flags of systemd 195 to 257 are understood: regular and compact,
//! keyed hash or not, no compression, XZ, LZ4, Zstandard, sealed or not; an unknown incompatible flag is refused.
//! Reads with `pread` and never maps: a mapped file that is truncated is a SIGBUS. Verifies no seal and no hash, uses
//! no hash table, and writes nothing.
//!
//! The layout is systemd's `journal-def.h`; it is documented and has only been added to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::entry::{Entry, Field};
use super::place::{Id128, Place};
use super::unpack::{self, Compression};
use crate::record::LINE_MAX;

/// What every journal file begins with.
pub(super) const MAGIC: &[u8; 8] = b"LPKSHHRH";

/// The part of the header that is read; what later versions added behind it is not needed.
const HEADER_LEN: usize = 208;

/// Greater objects are skipped. journald's own limit of a field is 768 MiB, of which we keep 8 KiB.
pub(super) const OBJECT_MAX: u64 = 16 << 20;

/// journald writes no entry with more fields.
const ITEMS_MAX: u64 = 1024;

/// A chain of entry arrays is not followed further. Each is twice as long as the one before.
const ARRAYS_MAX: usize = 4096;

/// How many damaged entries in a row a search passes.
const DAMAGED_MAX: u64 = 256;

/// No file is longer; the system would call a greater offset invalid, which here is damage like any other.
const OFFSET_MAX: u64 = 1 << 60;

/// What is read at once, and how many such blocks are kept of a file that is being read.
const BLOCK: u64 = 16 << 10;
const BLOCKS: usize = 4;

/// How many fields' contents are remembered of a file that is being read. Most of an entry's fields are those of the
/// entry before, and journald stores each value once.
const KNOWN: usize = 1024;

/// The longest value that is remembered, in bytes.
const KNOWN_VALUE_MAX: usize = 44;

pub(super) mod flag {
    pub(in super::super) const XZ: u32 = 1;
    pub(in super::super) const LZ4: u32 = 1 << 1;
    pub(in super::super) const KEYED_HASH: u32 = 1 << 2;
    pub(in super::super) const ZSTD: u32 = 1 << 3;
    pub(in super::super) const COMPACT: u32 = 1 << 4;
    pub(in super::super) const KNOWN: u32 = XZ | LZ4 | KEYED_HASH | ZSTD | COMPACT;
}

pub(super) const OBJECT_DATA: u8 = 1;
pub(super) const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: u32,
    pub(super) file_id: Id128,
    pub(super) seqnum_id: Id128,
    header_size: u64,
    /// Entries that are linked. journald counts up after it has written everything else of an entry.
    pub(super) entries: u64,
    /// The number that was given out last; its entry may not be linked yet.
    pub(super) tail_seqnum: u64,
    pub(super) head_seqnum: u64,
    pub(super) head_realtime: u64,
    entry_array: u64,
    tail_realtime: u64,
    tail_monotonic: u64,
    tail_boot_id: Id128,
}

impl Head {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], path: &Path) -> Result<Self, Error> {
        let damaged = |what| Error::Damaged { path: path.to_owned(), offset: 0, what };
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("it does not begin as a journal does"));
        }
        let head = Head {
            flags: u32_at(bytes, 12),
            file_id: id_at(bytes, 24),
            tail_boot_id: id_at(bytes, 56),
            seqnum_id: id_at(bytes, 72),
            header_size: u64_at(bytes, 88),
            entries: u64_at(bytes, 152),
            tail_seqnum: u64_at(bytes, 160),
            head_seqnum: u64_at(bytes, 168),
            entry_array: u64_at(bytes, 176),
            head_realtime: u64_at(bytes, 184),
            tail_realtime: u64_at(bytes, 192),
            tail_monotonic: u64_at(bytes, 200),
        };
        if head.flags & !flag::KNOWN != 0 {
            return Err(Error::Unsupported { path: path.to_owned(), flags: head.flags & !flag::KNOWN });
        }
        if head.header_size < HEADER_LEN as u64 {
            return Err(damaged("its header is too short"));
        }
        Ok(head)
    }

    /// The place of the first entry, as far as the header tells it; `None` of a file without entries.
    pub(super) fn first(&self) -> Option<Place> {
        (self.entries > 0).then_some(Place {
            seqnum_id: self.seqnum_id,
            seqnum: self.head_seqnum,
            boot_id: Id128::default(),
            monotonic: 0,
            realtime: self.head_realtime,
            xor_hash: None,
        })
    }

    /// The place of the last entry, as far as the header tells it; `None` of a file without entries.
    pub(super) fn tail(&self) -> Option<Place> {
        (self.entries > 0).then_some(Place {
            seqnum_id: self.seqnum_id,
            seqnum: self.tail_seqnum,
            boot_id: self.tail_boot_id,
            monotonic: self.tail_monotonic,
            realtime: self.tail_realtime,
            xor_hash: None,
        })
    }
}

/// Where an entry lies, and its stamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    items: u64,
    count: u64,
}

/// One journal file that is open.
pub(super) struct Journal {
    path: PathBuf,
    /// `None` while it is not needed; opened again by name.
    file: Option<File>,
    pub(super) head: Head,
    /// How long the file is, asked after the header was read.
    len: u64,
    arrays: Vec<Array>,
    window: Window,
    known: Vec<Known>,
    /// Fields that were not to be read: too great, or damaged.
    pub(super) skipped: u64,
}

/// One piece of the list of a file's entries.
#[derive(Clone, Copy)]
struct Array {
    /// The number of its first entry.
    first: u64,
    offset: u64,
    capacity: u64,
}

impl Journal {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let (file, _) = crate::file::open_regular(path)?;
        let (head, len) = read_head(&file, path)?;
        Ok(Journal {
            path: path.to_owned(),
            file: Some(file),
            head,
            len,
            arrays: Vec::new(),
            window: Window::default(),
            known: Vec::new(),
            skipped: 0,
        })
    }

    /// Reads the header again: there may be more entries.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        self.reopen()?;
        let Some(file) = &self.file else { return Ok(()) };
        let (head, len) = read_head(file, &self.path)?;
        self.len = len;
        if head != self.head {
            self.head = head;
            self.window.forget();
        }
        Ok(())
    }

    /// Whether there are other entries than at the last refresh. One small read.
    pub(super) fn has_grown(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let mut bytes = [0; 16];
        match file.read_exact_at(&mut bytes, 152) {
            Ok(()) => (u64_at(&bytes, 0), u64_at(&bytes, 8)) != (self.head.entries, self.head.tail_seqnum),
            Err(_) => true, // refreshing says what is wrong
        }
    }

    /// Gives the memory back that reading takes. To be called of a file that has nothing more for now.
    pub(super) fn rest(&mut self) {
        self.window = Window::default();
        self.known = Vec::new();
    }

    /// Closes it until it is read again, so that a thousand archives need no thousand descriptors.
    pub(super) fn close(&mut self) {
        self.rest();
        self.file = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.file.is_none()
    }

    /// Says what it is called now.
    pub(super) fn rename(&mut self, path: &Path) {
        if self.path != path {
            path.clone_into(&mut self.path);
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        if self.file.is_none() {
            let other = Journal::open(&self.path)?;
            if other.head.file_id != self.head.file_id {
                let cause = io::Error::new(io::ErrorKind::NotFound, "it is another file now");
                return Err(Error::Read { path: self.path.clone(), cause });
            }
            self.file = other.file;
        }
        Ok(())
    }

    /// The entry of this number, counted from 0; `None` if it is not linked (yet).
    pub(super) fn find(&mut self, index: u64) -> Result<Option<Found>, Error> {
        if index >= self.head.entries {
            return Ok(None);
        }
        let Some(array) = self.array_of(index)? else { return Ok(None) };
        let width = if self.is_compact() { 4 } else { 8 };
        let at = array.offset + 24 + (index - array.first) * width;
        let mut item = [0; 8];
        item[..width as usize].copy_from_slice(self.bytes(at, width as usize)?);
        match u64::from_le_bytes(item) {
            // Other processors may see the count before what it counts.
            0 => Ok(None),
            offset => self.found(offset).map(Some),
        }
    }

    /// Reads the fields of an entry into `entry`, which is cleared before.
    pub(super) fn read(&mut self, found: &Found, entry: &mut Entry) -> Result<(), Error> {
        entry.clear();
        entry.realtime = found.place.realtime;
        let width = if self.is_compact() { 4 } else { 16 };
        for item in 0..found.count {
            if entry.is_full() {
                break;
            }
            let at = found.items + item * width;
            let offset = match width {
                4 => u64::from(u32_at(self.bytes(at, 4)?, 0)),
                _ => u64_at(self.bytes(at, 8)?, 0),
            };
            // Damage is in a field, not in the entry: what can be read of it counts.
            if offset != 0 && self.data(offset, entry).is_err() {
                self.skipped += 1;
            }
        }
        Ok(())
    }

    /// The number of the first entry for which `is_after` holds, where it holds for all behind it too.
    pub(super) fn first(&mut self, mut is_after: impl FnMut(&Place) -> bool) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.head.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.readable(middle, high)? {
                Some((index, found)) if !is_after(&found.place) => low = index + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first entry of `begin..end` that can be read.
    fn readable(&mut self, begin: u64, end: u64) -> Result<Option<(u64, Found)>, Error> {
        for index in begin..end.min(begin + DAMAGED_MAX) {
            match self.find(index) {
                Ok(Some(found)) => return Ok(Some((index, found))),
                Ok(None) | Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether the list of entries ends before this one, so that none behind it can be found.
    pub(super) fn is_lost(&self, index: u64) -> bool {
        self.arrays.last().is_none_or(|last| index >= last.first + last.capacity)
    }

    fn is_compact(&self) -> bool {
        self.head.flags & flag::COMPACT != 0
    }

    fn damaged(&self, offset: u64, what: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, what }
    }

    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        self.reopen()?;
        let Some(file) = &self.file else { return Ok(&[]) };
        // Not by `damaged`: the window is borrowed.
        self.window.bytes(file, offset, len).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::Damaged { path: self.path.clone(), offset, what: "the file ends here" }
            }
            _ => Error::Read { path: self.path.clone(), cause },
        })
    }

    /// An object's flags and size, if it is of `kind` and long enough.
    fn object(&mut self, offset: u64, kind: u8, min: u64) -> Result<(u8, u64), Error> {
        if offset < self.head.header_size || !offset.is_multiple_of(8) {
            return Err(self.damaged(offset, "no object can be here"));
        }
        let header = self.bytes(offset, 16)?;
        let (found, flags, size) = (header[0], header[1], u64_at(header, 8));
        if found != kind {
            return Err(self.damaged(offset, "this is another kind of object"));
        }
        if size < min || offset.checked_add(size).is_none() {
            return Err(self.damaged(offset, "this object's size is impossible"));
        }
        Ok((flags, size))
    }

    fn found(&mut self, offset: u64) -> Result<Found, Error> {
        let (_, size) = self.object(offset, OBJECT_ENTRY, 64)?;
        let seqnum_id = self.head.seqnum_id;
        let width = if self.is_compact() { 4 } else { 16 };
        let bytes = self.bytes(offset, 64)?;
        let place = Place {
            seqnum_id,
            seqnum: u64_at(bytes, 16),
            realtime: u64_at(bytes, 24),
            monotonic: u64_at(bytes, 32),
            boot_id: id_at(bytes, 40),
            xor_hash: Some(u64_at(bytes, 56)),
        };
        Ok(Found { place, items: offset + 64, count: ((size - 64) / width).min(ITEMS_MAX) })
    }

    /// The array that has the entry of this number.
    fn array_of(&mut self, index: u64) -> Result<Option<Array>, Error> {
        loop {
            let last = self.arrays.last().copied();
            if last.is_some_and(|last| index < last.first + last.capacity) {
                let after = self.arrays.partition_point(|array| array.first <= index);
                return Ok(after.checked_sub(1).map(|at| self.arrays[at]));
            }
            let (first, offset) = match last {
                None => (0, self.head.entry_array),
                Some(last) => (last.first + last.capacity, u64_at(self.bytes(last.offset + 16, 8)?, 0)),
            };
            if offset == 0 {
                return Ok(None);
            }
            // journald appends: a chain that goes back is damage, and would have no end.
            if last.is_some_and(|last| offset <= last.offset) || self.arrays.len() == ARRAYS_MAX {
                return Err(self.damaged(offset, "the list of entries goes back"));
            }
            let (_, size) = self.object(offset, OBJECT_ENTRY_ARRAY, 24)?;
            // No more than the file has room for, whatever the list claims.
            let room = size.min(self.len.saturating_sub(offset)).saturating_sub(24);
            let capacity = room / if self.is_compact() { 4 } else { 8 };
            if capacity == 0 || first.checked_add(capacity).is_none() {
                return Err(self.damaged(offset, "this list of entries has no room"));
            }
            self.arrays.push(Array { first, offset, capacity });
        }
    }

    /// Gives a field to `entry`, if it is one of a record's.
    fn data(&mut self, offset: u64, entry: &mut Entry) -> Result<(), Error> {
        if self.known.is_empty() {
            self.known.resize(KNOWN, Known::NONE);
        }
        // Objects lie 8 bytes apart at least, and often 64 to 200.
        let slot = ((offset >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % KNOWN;
        if self.known[slot].offset == offset {
            self.known[slot].give(entry);
            return Ok(());
        }
        let payload = if self.is_compact() { 72 } else { 64 };
        let (flags, size) = self.object(offset, OBJECT_DATA, payload)?;
        let (at, len) = (offset + payload, size - payload);
        let known = match Compression::of(flags) {
            None => self.plain(at, len, entry)?,
            Some(compression) => self.compressed(at, len, compression, entry)?,
        };
        if let Some(known) = known {
            self.known[slot] = Known { offset, ..known };
        }
        Ok(())
    }

    /// Returns what is to be remembered of the field.
    fn plain(&mut self, at: u64, len: u64, entry: &mut Entry) -> Result<Option<Known>, Error> {
        let head = self.bytes(at, len.min(Field::NAME_MAX as u64 + 1) as usize)?;
        let Some((field, name)) = field(head) else { return Ok(Some(Known::NONE)) };
        if entry.has(field) {
            return Ok(None);
        }
        // One byte more than is kept says that it was cut.
        let value_len = (len - name as u64).min(LINE_MAX as u64 + 1) as usize;
        let value = self.bytes(at + name as u64, value_len)?;
        entry.set(field, value);
        Ok(Known::of(field, value))
    }

    fn compressed(&mut self, at: u64, len: u64, how: Compression, entry: &mut Entry) -> Result<Option<Known>, Error> {
        if len > OBJECT_MAX {
            return Err(self.damaged(at, "this field is too great"));
        }
        let packed = self.bytes(at, len as usize)?;
        let text = unpack::beginning(packed, how, Field::NAME_MAX + 1 + LINE_MAX + 1);
        let text = text.map_err(|cause| Error::Unpack { path: self.path.clone(), offset: at, cause })?;
        let Some((field, name)) = field(&text) else { return Ok(Some(Known::NONE)) };
        entry.set(field, &text[name..]);
        Ok(Known::of(field, &text[name..]))
    }
}

/// The field that a payload begins with, and where its value does.
fn field(payload: &[u8]) -> Option<(Field, usize)> {
    let end = memchr::memchr(b'=', &payload[..payload.len().min(Field::NAME_MAX + 1)])?;
    Some((Field::of(&payload[..end])?, end + 1))
}

/// The header, and how long the file is.
fn read_head(file: &File, path: &Path) -> Result<(Head, u64), Error> {
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

/// What stands at an offset: a field of no interest, or one with its value.
#[derive(Clone, Copy)]
struct Known {
    offset: u64,
    field: Option<Field>,
    len: u8,
    value: [u8; KNOWN_VALUE_MAX],
}

impl Known {
    /// Nothing; no object is at offset 0.
    const NONE: Known = Known { offset: 0, field: None, len: 0, value: [0; KNOWN_VALUE_MAX] };

    /// A value, if it is short. A message seldom comes again.
    fn of(field: Field, value: &[u8]) -> Option<Self> {
        let mut known = Known { field: Some(field), len: u8::try_from(value.len()).ok()?, ..Known::NONE };
        known.value.get_mut(..value.len())?.copy_from_slice(value);
        (field != Field::Message).then_some(known)
    }

    fn give(&self, entry: &mut Entry) {
        if let Some(field) = self.field {
            entry.set(field, &self.value[..self.len.into()]);
        }
    }
}

/// The blocks of a file that were read last.
#[derive(Default)]
struct Window {
    blocks: Vec<Block>,
    /// What does not lie within one block.
    across: Vec<u8>,
    turn: usize,
}

struct Block {
    number: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn forget(&mut self) {
        self.blocks.clear();
    }

    fn bytes(&mut self, file: &File, offset: u64, len: usize) -> io::Result<&[u8]> {
        if offset > OFFSET_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (number, within) = (offset / BLOCK, (offset % BLOCK) as usize);
        if within + len > BLOCK as usize {
            self.across.resize(len, 0);
            file.read_exact_at(&mut self.across, offset)?;
            return Ok(&self.across);
        }
        let at = match self.blocks.iter().position(|block| block.number == number) {
            Some(at) => at,
            None => self.load(file, number)?,
        };
        self.blocks[at].bytes.get(within..within + len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn load(&mut self, file: &File, number: u64) -> io::Result<usize> {
        if self.blocks.len() < BLOCKS {
            self.blocks.push(Block { number, bytes: Vec::new() });
            self.turn = self.blocks.len() - 1;
        } else {
            self.turn = (self.turn + 1) % BLOCKS;
        }
        let block = &mut self.blocks[self.turn];
        block.number = u64::MAX; // in case of an error
        block.bytes.resize(BLOCK as usize, 0);
        let mut len = 0;
        while len < block.bytes.len() {
            match file.read_at(&mut block.bytes[len..], number.saturating_mul(BLOCK) + len as u64) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        block.bytes.truncate(len);
        block.number = number;
        Ok(self.turn)
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Ids are written as bytes, most significant first.
fn id_at(bytes: &[u8], at: usize) -> Id128 {
    Id128(bytes[at..].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
}
