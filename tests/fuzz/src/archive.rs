//! Archives: told by their first bytes, unpacked, and cut into lines or entries.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use inputs::file::archive;
use inputs::file::lines::LineReader;
use inputs::journald::stored::{self, Stored};
use inputs::record::{Batch, LINE_MAX, Timestamp};

/// Batches that are read: a few bytes may unpack to any length.
const BATCHES_MAX: usize = 16;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(archive) = archive::from_reader(Cursor::new(data.to_vec()), Path::new("-"), Timestamp::default()) else {
        return;
    };
    let mut batch = Batch::default();
    match stored::tell(archive) {
        Ok(Stored::Lines(archive)) => {
            let mut lines = LineReader::new(archive);
            for _ in 0..BATCHES_MAX {
                if !lines.fill(&mut batch).unwrap_or(false) {
                    break;
                }
                assert!(batch.lines().all(|line| line.len() <= LINE_MAX));
            }
        }
        Ok(Stored::Entries(mut reader)) => {
            for _ in 0..BATCHES_MAX {
                if !reader.fill(&mut batch).unwrap_or(false) {
                    break;
                }
            }
        }
        Err(_) => {}
    }
});
