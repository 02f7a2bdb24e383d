//! Unpacks the beginning of a compressed field. journald compresses what is longer than 512 bytes (with LZ4 and XZ
//! before systemd 246), and of what is longer than a line we keep only the beginning.

use std::io::{self, ErrorKind, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

/// A greater LZ4 field is not unpacked: its decoder wants room for all of it.
const LZ4_MAX: u64 = super::head::OBJECT_MAX;

/// The logarithm of the greatest window of a zstandard frame.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// What an xz decoder may use, in bytes. journald compresses with the fastest preset.
const XZ_MEMORY_MAX: u64 = 32 << 20;

/// How a field is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Xz,
    Lz4,
    Zstd,
}

impl Compression {
    /// What an object's flags say.
    pub(super) fn of(flags: u8) -> Option<Self> {
        match flags & 7 {
            0 => None,
            1 => Some(Compression::Xz),
            2 => Some(Compression::Lz4),
            _ => Some(Compression::Zstd), // 4; what combines them fails to unpack
        }
    }
}

/// The first bytes of a field, `max` at most.
pub(super) fn beginning(packed: &[u8], how: Compression, max: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match how {
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            decoder.take(max as u64).read_to_end(&mut text)?;
        }
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, 0).map_err(io::Error::from)?;
            XzDecoder::new_stream(packed, stream).take(max as u64).read_to_end(&mut text)?;
        }
        Compression::Lz4 => {
            let damaged = |what| io::Error::new(ErrorKind::InvalidData, what);
            let (size, packed) = packed.split_first_chunk().ok_or_else(|| damaged("it is too short"))?;
            let size = u64::from_le_bytes(*size);
            if size > LZ4_MAX {
                return Err(damaged("it is too great"));
            }
            text = lz4_flex::block::decompress(packed, size as usize)
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
            text.truncate(max);
        }
    }
    Ok(text)
}
