//! Reads zstandard streams of any number of frames.
//!
//! `ruzstd` decodes one frame and keeps the last window of it back until the frame ends, so a truncated archive
//! would lose up to 128 MiB of text that was decoded. Blocks are therefore handed to it whole, and a stream that
//! ends inside a frame is ended with an empty last block; then the text comes out, and the error after it.

use std::io::{self, BufRead, ErrorKind, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Frames that need a greater window are refused: what `zstd` itself accepts unless told otherwise.
const WINDOW_MAX: u64 = 128 << 20;

/// A block's compressed bytes are at most this many (RFC 8878, 3.1.1.2.4).
const BLOCK_MAX: usize = 128 << 10;

/// A block header of a last, raw block of no bytes, and room for a checksum.
const EMPTY_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// A decoder of all frames of `source`.
pub(super) struct ZstdDecoder<R> {
    source: R,
    decoder: FrameDecoder,
    block: Vec<u8>,
    state: State,
}

enum State {
    BetweenFrames,
    InFrame,
    /// The frame's last block is decoded; its last window is still to be given out.
    EndOfFrame,
    /// The source ended inside a frame; what was decoded of it is still to be given out.
    CutOff,
    Ended,
}

impl<R: BufRead> ZstdDecoder<R> {
    pub(super) fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_MAX);
        ZstdDecoder { source, decoder, block: Vec::new(), state: State::BetweenFrames }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    fn begin_frame(&mut self) -> io::Result<State> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(State::Ended);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => Ok(State::InFrame),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length { Err(cut_off()) } else { Ok(State::BetweenFrames) }
            }
            Err(_) if self.source.fill_buf()?.is_empty() => Err(cut_off()),
            Err(error) => Err(damaged(&error)),
        }
    }

    fn decode_block(&mut self) -> io::Result<State> {
        if let Err(error) = self.read_block() {
            if error.kind() != ErrorKind::UnexpectedEof {
                return Err(error);
            }
            self.block.clear();
            self.block.extend_from_slice(&EMPTY_LAST_BLOCK);
            return self.decode().map(|_| State::CutOff);
        }
        self.decode()
    }

    /// Gives the block to the decoder, which reads a checksum behind the last one from the source itself.
    fn decode(&mut self) -> io::Result<State> {
        let source = self.block.chain(&mut self.source);
        match self.decoder.decode_blocks(source, BlockDecodingStrategy::UptoBlocks(1)) {
            Ok(true) => Ok(State::EndOfFrame),
            Ok(false) => Ok(State::InFrame),
            Err(FrameDecoderError::FailedToReadChecksum(_)) => Ok(State::CutOff),
            Err(error) => Err(damaged(&error)),
        }
    }

    /// Reads one whole block (RFC 8878, 3.1.1.2): its header says how long it is.
    fn read_block(&mut self) -> io::Result<()> {
        self.block.resize(3, 0);
        self.source.read_exact(&mut self.block)?;
        let header = u32::from_le_bytes([self.block[0], self.block[1], self.block[2], 0]);
        let is_run = header >> 1 & 3 == 1;
        let size = if is_run { 1 } else { (header >> 3) as usize };
        if size > BLOCK_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "a block is longer than 128 KiB"));
        }
        self.block.resize(3 + size, 0);
        self.source.read_exact(&mut self.block[3..])
    }

    fn check(&self) -> io::Result<State> {
        let (told, found) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        match told.is_none() || told == found {
            true => Ok(State::BetweenFrames),
            false => Err(io::Error::new(ErrorKind::InvalidData, "the checksum does not match")),
        }
    }
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !matches!(self.state, State::BetweenFrames | State::Ended) {
                let count = self.decoder.read(buf)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            // An error is final: what follows it would be nonsense.
            let next = match std::mem::replace(&mut self.state, State::Ended) {
                State::BetweenFrames => self.begin_frame(),
                State::InFrame => self.decode_block(),
                State::EndOfFrame => self.check(),
                State::CutOff => Err(cut_off()),
                State::Ended => return Ok(0),
            };
            self.state = next?;
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file ends inside a frame")
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}
