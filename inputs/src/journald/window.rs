//! Reads small pieces of a file by reading big ones: the last few blocks are kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::file::read_up_to;

/// What is read at once, and how many such blocks are kept of a file that is being read.
const BLOCK: u64 = 16 << 10;
const BLOCKS: usize = 4;

/// No file is longer; the system would call a greater offset invalid, which here is damage like any other.
const OFFSET_MAX: u64 = 1 << 60;

/// The blocks of a file that were read last.
#[derive(Default)]
pub(super) struct Window {
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
    pub(super) fn forget(&mut self) {
        self.blocks.clear();
    }

    pub(super) fn bytes(&mut self, file: &File, offset: u64, len: usize) -> io::Result<&[u8]> {
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
        let len = read_up_to(file, &mut block.bytes, number * BLOCK)?;
        block.bytes.truncate(len);
        block.number = number;
        Ok(self.turn)
    }
}
