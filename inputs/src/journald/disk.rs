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
use super::head::{self, Head, OBJECT_MAX, flag, id_at, u32_at, u64_at};
use super::unpack::{self, Compression};
use super::window::Window;
use crate::cursor::Place;
use crate::record::LINE_MAX;

/// journald writes no entry with more fields.
const ITEMS_MAX: u64 = 1024;

/// A chain of entry arrays is not followed further. Each is twice as long as the one before.
const ARRAYS_MAX: usize = 4096;

/// How many damaged entries in a row a search passes.
const DAMAGED_MAX: u64 = 256;

/// How many fields' contents are remembered of a file that is being read. Most of an entry's fields are those of the
/// entry before, and journald stores each value once.
const KNOWN: usize = 1024;

/// The longest value that is remembered, in bytes.
const KNOWN_VALUE_MAX: usize = 44;

pub(super) const OBJECT_DATA: u8 = 1;
pub(super) const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;

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
    /// The header could not be read again: whatever it was, it is looked at at the next refresh only.
    is_unsure: bool,
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
        let (head, len) = head::read(&file, path)?;
        Ok(Journal {
            path: path.to_owned(),
            file: Some(file),
            head,
            is_unsure: false,
            len,
            arrays: Vec::new(),
            window: Window::default(),
            known: Vec::new(),
            skipped: 0,
        })
    }

    /// Reads the header again: there may be more entries.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        self.is_unsure = true;
        self.reopen()?;
        let Some(file) = &self.file else { return Ok(()) };
        let (head, len) = head::read(file, &self.path)?;
        (self.len, self.is_unsure) = (len, false);
        if head != self.head {
            self.head = head;
            self.window.forget();
        }
        Ok(())
    }

    /// Whether there are other entries than at the last refresh. One small read.
    pub(super) fn has_grown(&self) -> bool {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_unsure) else { return false };
        let mut bytes = [0; 16];
        match file.read_exact_at(&mut bytes, 152) {
            Ok(()) => (u64_at(&bytes, 0), u64_at(&bytes, 8)) != (self.head.entries, self.head.tail.seqnum),
            Err(_) => false, // the next refresh says what is wrong
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
        match self.offset_at(array.offset + 24 + (index - array.first) * width)? {
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
            let offset = self.offset_at(found.items + item * width)?;
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

    /// The offset of an object that stands in a list of them.
    fn offset_at(&mut self, at: u64) -> Result<u64, Error> {
        Ok(if self.is_compact() { u32_at(self.bytes(at, 4)?, 0).into() } else { u64_at(self.bytes(at, 8)?, 0) })
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
        let Some((field, name)) = Field::leading(head) else { return Ok(Some(Known::NONE)) };
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
        let Some((field, name)) = Field::leading(&text) else { return Ok(Some(Known::NONE)) };
        entry.set(field, &text[name..]);
        Ok(Known::of(field, &text[name..]))
    }
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
