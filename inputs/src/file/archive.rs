//! Reads a log file from its beginning to its end, compressed or not.
//!
//! What a file is, its first bytes say, never its name. Everything streams: memory stays bounded whatever a
//! decompressor unpacks. A damaged or truncated archive gives what comes before the damage, then an error that
//! names the file. Follows nothing and keeps no cursor.

use std::fmt;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::lines::READ_SIZE;
use crate::record::Timestamp;

/// What an xz decoder may use, in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;

/// The logarithm of the greatest window of a zstandard frame: what `zstd` itself accepts unless told otherwise.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How many bytes of a file's beginning tell its format.
const MAGIC_MAX: u64 = 6;

/// How many bytes are read ahead at once.
const LOOK_SIZE: usize = 16 << 10;

/// Why an archive gave no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not opened.
    #[error(transparent)]
    Open(#[from] super::Error),
    /// It could not be read, or not unpacked.
    #[error("cannot read {} as {format}: {cause}", path.display())]
    Read {
        /// The file, or what standard input was called.
        path: PathBuf,
        /// What it was read as.
        format: Format,
        /// What the system or the decompressor said.
        cause: io::Error,
    },
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// gzip, of any number of members.
    Gzip,
    /// bzip2, of any number of streams.
    Bzip2,
    /// zstandard, of any number of frames.
    Zstd,
    /// xz, of any number of streams.
    Xz,
}

impl Format {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 0x08, ..] => Format::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Format::Bzip2, // a block
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => Format::Bzip2, // the end of an empty stream
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd, // a skippable frame, as pzstd writes
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            _ => Format::Plain,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Plain => "plain text",
            Format::Gzip => "gzip",
            Format::Bzip2 => "bzip2",
            Format::Zstd => "zstandard",
            Format::Xz => "xz",
        })
    }
}

/// A file that is read once. As a [`Read`] it gives the unpacked bytes; its errors hold an [`Error`].
pub struct Archive {
    path: PathBuf,
    format: Format,
    decoder: Decoder,
    modified: Timestamp,
    size: Option<u64>,
    consumed: Arc<AtomicU64>,
    /// What was read ahead to tell what it holds, and the error that ended that.
    ahead: io::Cursor<Vec<u8>>,
    problem: Option<io::Error>,
}

enum Decoder {
    /// Its members have stamps.
    Gzip(Box<MultiGzDecoder<BufReader<Source>>>),
    Other(Box<dyn Read + Send>),
}

/// Opens a regular file. `scan` opens one after the other, so that few are open at once.
pub fn open(path: &Path) -> Result<Archive, Error> {
    let (file, metadata) = super::open_regular(path)?;
    let mut archive = from_reader(file, path, super::modified(&metadata))?;
    archive.size = Some(metadata.len());
    Ok(archive)
}

/// Reads what can only be read once: standard input. `name` is for errors; `reference` judges stamps without a
/// year, as [`Archive::reference`] says. Waits for the first bytes.
pub fn from_reader(
    mut reader: impl Read + Send + 'static,
    name: &Path,
    reference: Timestamp,
) -> Result<Archive, Error> {
    let fail = |format| move |cause| Error::Read { path: name.to_owned(), format, cause };
    let mut head = Vec::new();
    reader.by_ref().take(MAGIC_MAX).read_to_end(&mut head).map_err(fail(Format::Plain))?;
    let (format, consumed) = (Format::of(&head), Arc::default());
    let inner = Box::new(io::Cursor::new(head).chain(reader));
    let source = BufReader::with_capacity(READ_SIZE, Source { inner, consumed: Arc::clone(&consumed) });
    Ok(Archive {
        path: name.to_owned(),
        format,
        decoder: Decoder::new(format, source).map_err(fail(format))?,
        modified: reference,
        size: None,
        consumed,
        ahead: io::Cursor::default(),
        problem: None,
    })
}

impl Decoder {
    fn new(format: Format, source: BufReader<Source>) -> io::Result<Self> {
        Ok(Decoder::Other(match format {
            Format::Gzip => return Ok(Decoder::Gzip(Box::new(MultiGzDecoder::new(source)))),
            Format::Plain => Box::new(source),
            Format::Bzip2 => Box::new(MultiBzDecoder::new(source)),
            Format::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Format::Xz => {
                Box::new(XzDecoder::new_stream(source, Stream::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED)?))
            }
        }))
    }
}

impl Archive {
    /// What the file was found to be.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What it was opened as.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first bytes: until they are `enough`, or it has no more. Waits for them; they are given again.
    pub fn look_ahead(&mut self, enough: impl Fn(&[u8]) -> bool) -> &[u8] {
        let mut head = Vec::new();
        while !enough(&head) {
            let begin = head.len();
            head.resize(begin + LOOK_SIZE, 0);
            let read = self.read(&mut head[begin..]);
            head.truncate(begin + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    self.problem = Some(error);
                    break;
                }
                _ => {}
            }
        }
        self.ahead = io::Cursor::new(head);
        self.ahead.get_ref()
    }

    /// The time that stamps without a year are judged against: the gzip member's own, else when the file was last
    /// written to. To be asked for every batch: each member of a gzip file has its own.
    pub fn reference(&self) -> Timestamp {
        let stamp = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.header().map_or(0, |header| header.mtime()),
            _ => 0,
        };
        if stamp == 0 { self.modified } else { Timestamp::from_secs(i64::from(stamp)) }
    }

    /// Bytes of the file; `None` for what is no file. For progress, beside [`consumed`](Self::consumed).
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes of the file that were read so far, compressed as they are.
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }
}

impl Read for Archive {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.ahead.read(buf)?;
        if count > 0 {
            return Ok(count);
        }
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let result = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buf),
            Decoder::Other(decoder) => decoder.read(buf),
        };
        match result {
            Err(cause) if cause.kind() != ErrorKind::Interrupted => {
                let kind = cause.kind();
                Err(io::Error::new(kind, Error::Read { path: self.path.clone(), format: self.format, cause }))
            }
            result => result,
        }
    }
}

/// The bytes as they lie in the file, counted.
struct Source {
    inner: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use super::super::lines::LineReader;
    use super::*;
    use crate::record::Batch;

    const MODIFIED: u64 = 1_700_000_000;

    fn gzip(data: &[u8], mtime: u32) -> Vec<u8> {
        let mut out = flate2::GzBuilder::new().mtime(mtime).write(Vec::new(), flate2::Compression::best());
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(data: &[u8]) -> Vec<u8> {
        let mut out = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        let mut out = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.include_checksum(true).unwrap(); // as the program does
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn pack(format: Format, data: &[u8]) -> Vec<u8> {
        match format {
            Format::Plain => data.to_vec(),
            Format::Gzip => gzip(data, 0),
            Format::Bzip2 => bzip2(data),
            Format::Zstd => zstd(data),
            Format::Xz => xz(data),
        }
    }

    const FORMATS: [Format; 5] = [Format::Plain, Format::Gzip, Format::Bzip2, Format::Zstd, Format::Xz];

    fn numbered(lines: std::ops::Range<u32>) -> Vec<u8> {
        // Multiplied, so that it does not compress to nothing.
        lines
            .flat_map(|n| format!("{n} {:x}\n", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
            .collect()
    }

    /// The bytes of all lines, each with LF, and the error that ended them.
    fn unpack(archive: Archive) -> (Vec<u8>, Option<String>) {
        let mut reader = LineReader::new(archive);
        let (mut batch, mut out) = (Batch::default(), Vec::new());
        loop {
            match reader.fill(&mut batch) {
                Ok(false) => return (out, None),
                Err(error) => {
                    assert!(!reader.fill(&mut batch).unwrap(), "nothing comes after an error");
                    return (out, Some(error.to_string()));
                }
                Ok(true) => {
                    for line in batch.lines() {
                        out.extend_from_slice(line);
                        out.push(b'\n');
                    }
                }
            }
        }
    }

    fn write(data: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), data).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED);
        File::options().write(true).open(file.path()).unwrap().set_modified(modified).unwrap();
        file
    }

    fn check(data: &[u8], format: Format, want: &[u8], error: Option<&str>) {
        let file = write(data);
        let archive = open(file.path()).unwrap();
        assert_eq!((archive.format(), archive.size()), (format, Some(data.len() as u64)));
        let (got, problem) = unpack(archive);
        assert_eq!(got.len(), want.len(), "{format}: {problem:?}");
        assert!(got == want, "{format}");
        match (error, &problem) {
            (None, None) => {}
            (Some(error), Some(problem)) => {
                let name = file.path().display().to_string();
                assert!(problem.contains(error) && problem.contains(&name), "{format}: {problem}");
            }
            _ => panic!("{format}: wanted {error:?}, got {problem:?}"),
        }
    }

    #[test]
    fn unpacks_by_content() {
        let text = numbered(0..9_000);
        for format in FORMATS {
            check(&pack(format, &text), format, &text, None);
            check(&pack(format, b"one"), format, b"one\n", None);
            check(&pack(format, b""), format, b"", None);
        }
        check(b"", Format::Plain, b"", None);
        check(b"BZh9 is how this line begins\n", Format::Plain, b"BZh9 is how this line begins\n", None);
        check(b"\x1f\x8b", Format::Plain, b"\x1f\x8b\n", None);
    }

    #[test]
    fn goes_on_behind_the_first_member() {
        for format in FORMATS {
            let (one, two, three) = (numbered(0..3000), numbered(3000..3001), numbered(3001..9000));
            let packed = [pack(format, &one), pack(format, &two), pack(format, b""), pack(format, &three)].concat();
            check(&packed, format, &[one, two, three].concat(), None);
        }
        // A line may cross from one member into the next.
        check(&[gzip(b"a\nb", 0), gzip(b"c\nd", 0)].concat(), Format::Gzip, b"a\nbc\nd\n", None);
        let skippable = b"\x53\x2a\x4d\x18\x05\0\0\0hello";
        let packed = [skippable, &zstd(b"a\n")[..], skippable, &zstd(b"b\n")[..]].concat();
        check(&packed, Format::Zstd, b"a\nb\n", None);
    }

    /// Cut off anywhere, an archive gives a prefix of its lines, whole ones only, and names the file and the problem.
    #[test]
    fn a_truncated_archive_gives_what_it_has() {
        let text = numbered(0..12_000);
        for format in &FORMATS[1..] {
            let packed = pack(*format, &text);
            let mut most = 0;
            for percent in [1, 20, 50, 80, 99] {
                let file = write(&packed[..packed.len() * percent / 100]);
                let (got, problem) = unpack(open(file.path()).unwrap());
                let problem = problem.unwrap();
                assert!(
                    problem.starts_with(&format!("cannot read {} as {format}: ", file.path().display())),
                    "{problem}"
                );
                assert!(text.starts_with(&got) && got.len() >= most, "{format} {percent}%");
                most = got.len();
            }
            assert!(most > text.len() / 3, "{format}: {most} of {}", text.len());
        }
        // The checksum is cut off: all lines, then the error.
        for format in [Format::Gzip, Format::Zstd, Format::Xz] {
            let packed = pack(format, b"a\nb\n");
            check(&packed[..packed.len() - 2], format, b"a\nb\n", Some("cannot read"));
        }
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let text = numbered(0..12_000);
        for format in &FORMATS[1..] {
            let mut packed = pack(*format, &text);
            let middle = packed.len() / 2;
            packed[middle..middle + 64].fill(0xa5);
            let (got, problem) = unpack(open(write(&packed).path()).unwrap());
            assert!(problem.is_some(), "{format}: {} of {}", got.len(), text.len());
            let packed = [pack(*format, b"a\n"), b"rubbish".to_vec()].concat();
            check(&packed, *format, b"a\n", Some("cannot read"));
        }
    }

    /// Whatever stands in an archive, it ends, and no decoder panics.
    #[test]
    fn rubbish_ends() {
        let text = numbered(0..400);
        let whole = FORMATS.map(|format| pack(format, &text));
        kit::property("archives-of-rubbish", 200 * whole.len() as u32, |random| {
            let mut packed = random.of(&whole);
            for _ in 0..=random.below(4) {
                let at = random.below(packed.len());
                packed[at] = random.number() as u8;
            }
            if let Ok(archive) = from_reader(io::Cursor::new(packed), "-".as_ref(), Timestamp(0)) {
                unpack(archive);
            }
        });
    }

    #[test]
    fn a_bomb_streams() {
        // NULs would be a hole, and no line.
        let zeros = io::repeat(b'0').take(2 << 20);
        let mut packed = flate2::bufread::GzEncoder::new(BufReader::new(zeros), flate2::Compression::fast());
        let mut data = Vec::new();
        packed.read_to_end(&mut data).unwrap();
        let mut reader = LineReader::new(open(write(&data).path()).unwrap());
        let mut batch = Batch::default();
        assert!(reader.fill(&mut batch).unwrap());
        assert_eq!((batch.len(), batch.record(0).truncated), (1, true));
        assert!(batch.buf.capacity() < 1 << 20);
        assert_eq!(reader.source().consumed(), data.len() as u64);
    }

    #[test]
    fn refuses_a_window_that_would_eat_the_memory() {
        // Magic, no single segment, window descriptor 0xb8: 2^33 bytes.
        check(b"\x28\xb5\x2f\xfd\x00\xb8\x01\0\0", Format::Zstd, b"", Some("too much memory"));
    }

    #[test]
    fn knows_its_time() {
        let reference = |data: &[u8]| {
            let mut archive = open(write(data).path()).unwrap();
            archive.read_exact(&mut [0]).unwrap();
            archive.reference().secs()
        };
        let modified = MODIFIED as i64;
        assert_eq!(reference(b"plain"), modified);
        assert_eq!(reference(&gzip(b"x", 0)), modified);
        assert_eq!(reference(&gzip(b"x", 1_600_000_000)), 1_600_000_000);
        assert_eq!(reference(&xz(b"x")), modified);

        let packed = [gzip(b"a\n", 1_500_000_000), gzip(b"b\n", 1_600_000_000)].concat();
        let mut reader = LineReader::new(from_reader(io::Cursor::new(packed), "-".as_ref(), Timestamp(7)).unwrap());
        let mut batch = Batch::default();
        for want in [1_500_000_000, 1_600_000_000] {
            assert!(reader.fill(&mut batch).unwrap());
            assert_eq!((batch.len(), reader.source().reference().secs()), (1, want));
        }
        let plain = from_reader(&b"x\n"[..], "-".as_ref(), Timestamp(7)).unwrap();
        assert_eq!((plain.reference(), plain.size()), (Timestamp(7), None));
    }

    fn check_refused(path: &Path, want: &str) {
        let error = open(path).err().unwrap().to_string();
        assert_eq!(error, want.replace("PATH", &path.display().to_string()));
    }

    #[test]
    fn refuses_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        check_refused(dir.path(), "cannot read PATH: it is a directory, not a regular file; name the files in it");
        let missing = dir.path().join("missing");
        check_refused(&missing, "cannot open PATH: No such file or directory (os error 2)");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let want = "cannot read PATH: it is a fifo, not a regular file; pipe the lines into standard input";
        check_refused(&fifo, want);
        check_refused("/dev/null".as_ref(), "cannot read PATH: it is a device, not a regular file; name a log file");
    }
}
