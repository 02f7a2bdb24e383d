//! What the targets about journals share.

#![allow(dead_code)] // each uses a part of it

use std::io::Cursor;
use std::path::Path;

use inputs::journald::stored::{Kind, Reader};
use inputs::record::{Batch, SourceId, Timestamp};

/// Batches that are read of one journal at most: more of the same tells nothing new.
const BATCHES_MAX: usize = 4;

/// Reads entries.
pub fn drain(mut reader: Reader) {
    let mut batch = Batch::new(SourceId(0), Timestamp::from_secs(1_795_305_600));
    for _ in 0..BATCHES_MAX {
        if !reader.fill(&mut batch).unwrap_or(false) {
            break;
        }
        assert!(batch.records().all(|record| record.time() <= batch.received));
    }
}

/// The same of what cannot seek.
pub fn drain_stream(kind: Kind, bytes: Vec<u8>) {
    if let Ok(reader) = Reader::stream(kind, Cursor::new(bytes), Path::new("-")) {
        drain(reader);
    }
}

/// A journal of a real journald, and where in it there is anything but zeros, in blocks of [`BLOCK`] bytes.
pub struct Journal {
    pub bytes: Vec<u8>,
    blocks: Vec<usize>,
}

const BLOCK: usize = 256;

impl Journal {
    /// The test data: compact with zstd, and neither compact nor compressed with keyed hashes.
    pub fn all() -> Vec<Journal> {
        ["real-sshd-9.2", "sealed"].map(|name| Journal::of(kit::journal(name))).into()
    }

    fn of(mut bytes: Vec<u8>) -> Journal {
        // By block, since each comparison of the fuzzer's own is traced.
        let is_used = |at: &usize| bytes[*at..(*at + BLOCK).min(bytes.len())] != [0; BLOCK][..];
        let blocks: Vec<_> = (0..bytes.len()).step_by(BLOCK).filter(is_used).collect();
        let used = blocks.last().map_or(0, |at| at + BLOCK);
        bytes.truncate(used.next_multiple_of(4096));
        Journal { bytes, blocks }
    }

    /// The places and bytes that `data` says are damaged: for each, two bytes of block, one of place, one of width, and
    /// the bytes.
    pub fn damage<'a>(&self, mut data: &'a [u8]) -> Vec<(usize, &'a [u8])> {
        let mut damage = Vec::new();
        while let [a, b, place, width, rest @ ..] = data {
            let block = self.blocks[usize::from(u16::from_le_bytes([*a, *b])) % self.blocks.len()];
            let (bytes, behind) = rest.split_at((usize::from(width % 8) + 1).min(rest.len()));
            let at = block + usize::from(*place);
            if at + bytes.len() <= self.bytes.len() {
                damage.push((at, bytes));
            }
            data = behind;
        }
        damage
    }
}
