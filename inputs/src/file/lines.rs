//! Cuts a byte stream into lines.
//!
//! Promises every line once and in order, in bounded memory however long a line is. A line ends at LF and nowhere else;
//! invalid UTF-8 is bytes like any other, and so are NULs but in a hole. Reads are big and files are never mapped: a
//! mapped file that is truncated is a SIGBUS. Knows nothing of files: what a rotation or a decompressor does is the
//! business of the modules beside it.

use std::io::{self, ErrorKind, Read};

use crate::record::{Batch, LINE_MAX};

/// How many bytes are asked of the source at once.
pub const READ_SIZE: usize = 64 * 1024;

/// The same of a log that is read from end to end: two threads may take its batches in turn, and
/// should not do so often.
pub(crate) const STORED_READ_SIZE: usize = 8 * READ_SIZE;

/// How many lines a batch of such a log has at most: a stranger's may be empty, and each takes more than its bytes.
const STORED_LINES_MAX: usize = 8 * 1024;

/// How much of an unfinished line is kept: one byte that proves it too long, and a CR that may precede the LF.
const HELD_MAX: usize = LINE_MAX + 2;

/// So many NULs in a line are a hole. Programs' texts end at their first.
const HOLE_MIN: usize = 16;

/// A buffer that is filled from a source and emptied into batches, line by line.
#[derive(Debug)]
pub struct Lines {
    buf: Box<[u8]>,
    /// The first undelivered line begins here.
    start: usize,
    /// What was read ends here.
    end: usize,
    /// Bytes of the last line that were read and thrown away because it is too long.
    dropped: u64,
    /// Where in the stream `start` is.
    offset: u64,
}

impl Lines {
    /// An empty buffer for a stream that is about to be read at `offset`.
    pub fn new(offset: u64) -> Self {
        Lines { offset, ..Lines::of(READ_SIZE) }
    }

    /// The same for reads of that many bytes.
    fn of(size: usize) -> Self {
        Lines { buf: vec![0; HELD_MAX + size].into_boxed_slice(), start: 0, end: 0, dropped: 0, offset: 0 }
    }

    /// Forgets what was read; the stream goes on at `offset`. Keeps the memory.
    pub fn restart(&mut self, offset: u64) {
        (self.start, self.end, self.dropped, self.offset) = (0, 0, 0, offset);
    }

    /// Where in the stream the first undelivered line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How far the stream was read.
    pub fn position(&self) -> u64 {
        self.offset + (self.end - self.start) as u64 + self.dropped
    }

    /// Reads once from `source`, what there is room for; 0 = the end.
    ///
    /// To be called when [`cut`](Self::cut) found no more whole line, so that only the tail has to move.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.make_room();
        debug_assert!(self.end < self.buf.len(), "whole lines are cut before more is read");
        loop {
            match source.read(&mut self.buf[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the unfinished line to the front and throws away what is too much of it.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > HELD_MAX && memchr::memchr(b'\n', &self.buf[..self.end]).is_none() {
            // A hole: what was written behind it is a line, however far behind.
            let hole = hole(&self.buf[..self.end]).min(self.end - 1);
            self.buf.copy_within(hole..self.end, 0);
            self.end -= hole;
            self.dropped += hole as u64;
        }
        if self.end > HELD_MAX && memchr::memchr(b'\n', &self.buf[..self.end]).is_none() {
            self.dropped += (self.end - HELD_MAX) as u64;
            self.end = HELD_MAX;
        }
    }

    /// Moves whole lines into `batch`, `max` at most, and says how many.
    pub fn cut(&mut self, batch: &mut Batch, max: usize) -> usize {
        let text = &self.buf[self.start..self.end];
        let (count, taken) = mark(batch, text, max, |_| 0);
        if memchr::memchr(0, &text[..taken]).is_some() {
            batch.unmark(count);
            mark(batch, text, max, hole);
        }
        if count > 0 {
            batch.buf.extend_from_slice(&text[..taken]);
            self.start += taken;
            self.offset += taken as u64 + std::mem::take(&mut self.dropped);
        }
        count
    }

    /// Moves the last line into `batch` though no LF ends it, and says whether there was one.
    ///
    /// To be called at the end of the stream, when [`cut`](Self::cut) found no more.
    pub fn finish(&mut self, batch: &mut Batch) -> bool {
        let text = &self.buf[self.start..self.end];
        if text.is_empty() {
            return false;
        }
        let hole = Some(hole(text)).filter(|hole| *hole < text.len()).unwrap_or(0);
        batch.mark(batch.buf.len() + hole, without_cr(&text[hole..]), 0, false);
        batch.buf.extend_from_slice(text);
        self.restart(self.position());
        true
    }
}

/// Marks whole lines of `text`, each without as many first bytes as `skipped` says; how many there were, and bytes.
#[inline(always)]
fn mark(batch: &mut Batch, text: &[u8], max: usize, skipped: impl Fn(&[u8]) -> usize) -> (usize, usize) {
    let base = batch.buf.len();
    let (mut begin, mut count) = (0, 0);
    for lf in memchr::memchr_iter(b'\n', text).take(max) {
        begin += skipped(&text[begin..lf]);
        batch.mark(base + begin, without_cr(&text[begin..lf]), 0, false);
        begin = lf + 1;
        count += 1;
    }
    (count, begin)
}

/// How many bytes of a line end in its last hole, whose NULs nobody wrote: a file that was truncated under a writer
/// without `O_APPEND` has one at a line's beginning, and one that was being written when the power went in its middle.
fn hole(line: &[u8]) -> usize {
    let leading = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
    let mut end = line.iter().rposition(|byte| *byte != 0).map_or(leading, |last| last + 1);
    while let Some(last) = memchr::memrchr(0, &line[leading..end]) {
        let behind = leading + last + 1;
        let nuls = line[..behind].iter().rev().take_while(|byte| **byte == 0).count();
        if nuls >= HOLE_MIN {
            return behind;
        }
        end = behind - nuls;
    }
    leading
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads a source from end to end in batches: archives, standard input.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    lines: Lines,
    ended: bool,
}

impl<R: Read> LineReader<R> {
    /// A reader at the beginning of `source`, which needs no buffer of its own.
    pub fn new(source: R) -> Self {
        Self::with_reads_of(READ_SIZE, source)
    }

    /// The same, which asks for so many bytes at once.
    pub(crate) fn with_reads_of(size: usize, source: R) -> Self {
        LineReader { source, lines: Lines::of(size), ended: false }
    }

    /// Refills `batch` with the next lines, as many as one read brought and a batch may have; `false`
    /// = there are no more.
    ///
    /// A last line without LF is delivered at a clean end. After an error it is not: cut off in its middle, it
    /// could name another address than the one that was meant. The lines before the error were delivered, and
    /// nothing comes after it.
    pub fn fill(&mut self, batch: &mut Batch) -> io::Result<bool> {
        batch.clear();
        loop {
            if self.lines.cut(batch, STORED_LINES_MAX) > 0 {
                return Ok(true);
            }
            if self.ended {
                return Ok(self.lines.finish(batch));
            }
            match self.lines.read_from(&mut self.source) {
                Ok(count) => self.ended = count == 0,
                Err(error) => {
                    self.ended = true;
                    self.lines.restart(self.lines.position());
                    return Err(error);
                }
            }
        }
    }

    /// What it reads from; for progress.
    pub fn source(&self) -> &R {
        &self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out `data` in reads of at most `step` bytes.
    struct Slow<'a> {
        data: &'a [u8],
        step: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = self.step.min(buf.len()).min(self.data.len());
            buf[..count].copy_from_slice(&self.data[..count]);
            self.data = &self.data[count..];
            Ok(count)
        }
    }

    fn read_all(data: &[u8], step: usize) -> Vec<(Vec<u8>, bool)> {
        let mut reader = LineReader::new(Slow { data, step });
        let mut batch = Batch::default();
        let mut lines = Vec::new();
        while reader.fill(&mut batch).unwrap() {
            assert!(!batch.is_empty());
            lines.extend(batch.records().map(|record| (record.message.to_vec(), record.truncated)));
        }
        assert!(!reader.fill(&mut batch).unwrap(), "the end stays the end");
        assert_eq!(reader.lines.offset(), data.len() as u64, "every byte is accounted for");
        lines
    }

    /// Lines are given with `…` behind those that are cut.
    fn check(data: &[u8], want: &[&[u8]]) {
        for step in [1, 2, 3, 7, LINE_MAX - 1, LINE_MAX, LINE_MAX + 1, READ_SIZE, usize::MAX] {
            let got = read_all(data, step);
            let got: Vec<&[u8]> = got.iter().map(|line| &line.0[..]).collect();
            assert!(got == want, "step {step}: {:?}", got.iter().map(|line| line.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ends_lines_at_lf_only() {
        check(b"", &[]);
        check(b"\n", &[b""]);
        check(b"a", &[b"a"]);
        check(b"a\nb\n", &[b"a", b"b"]);
        check(b"a\nb", &[b"a", b"b"]);
        check(b"\n\n\na\n\n", &[b"", b"", b"", b"a", b""]);
        check(b"a\r\nb\r\r\n\r\nc\r", &[b"a", b"b\r", b"", b"c"]);
        check(b"a\rb\x0bc\x0cd\n", &[b"a\rb\x0bc\x0cd"]);
        check(b"a\0b\0\n\xff\xfe\xc3\n\0", &[b"a\0b\0", b"\xff\xfe\xc3", b"\0"]);
        check("a\u{2028}b\u{85}c\n".as_bytes(), &["a\u{2028}b\u{85}c".as_bytes()]);
    }

    /// A line of `len` bytes between two short ones, ended by `end`.
    fn check_long(len: usize, end: &[u8], truncated: bool) {
        let mut data = b"before\n".to_vec();
        data.resize(data.len() + len, b'x');
        data.extend_from_slice(end);
        data.extend_from_slice(b"after\n");
        let long = vec![b'x'; len.min(LINE_MAX)];
        for step in [1000, LINE_MAX, LINE_MAX + 8, LINE_MAX + 9, READ_SIZE, usize::MAX] {
            let got = read_all(&data, step);
            let want = [(b"before".to_vec(), false), (long.clone(), truncated), (b"after".to_vec(), false)];
            assert!(got == want, "len {len}, step {step}");
        }
    }

    #[test]
    fn cuts_long_lines() {
        for end in [&b"\n"[..], b"\r\n"] {
            check_long(LINE_MAX - 1, end, false);
            check_long(LINE_MAX, end, false);
            check_long(LINE_MAX + 1, end, true);
            check_long(LINE_MAX + 2, end, true);
            check_long(LINE_MAX + 3, end, true);
            check_long(READ_SIZE - 1, end, true);
            check_long(READ_SIZE + HELD_MAX, end, true);
            check_long(3 * READ_SIZE + 17, end, true);
        }
    }

    #[test]
    fn a_line_behind_a_hole_is_read() {
        for len in [1, 5_000, HELD_MAX, READ_SIZE, 3 * READ_SIZE + 17] {
            let data = [b"a\n".to_vec(), vec![0; len], b"behind\nb\n".to_vec()].concat();
            check(&data, &[b"a", b"behind", b"b"]);
        }
        for len in [HOLE_MIN, 5_000] {
            let hole = vec![0; len];
            check(&[&b"half"[..], &hole, b"behind\nb\n"].concat(), &[b"behind", b"b"]);
            check(&[&b"half"[..], &hole, b"end"].concat(), &[b"end"]);
        }
        let long = [&b"half"[..], &[0; 3 * READ_SIZE], b"behind\nb\n"].concat();
        let lines: Vec<_> = read_all(&long, READ_SIZE).into_iter().map(|line| line.0).collect();
        assert_eq!(lines, [&b"behind"[..], b"b"]);
        let few = [&b"a"[..], &[0; HOLE_MIN - 1], b"b"].concat();
        check(&[&few[..], b"\n"].concat(), &[&few]);
        check(&[&few[..], &[0; HOLE_MIN], b"\n"].concat(), &[&[&few[..], &[0; HOLE_MIN]].concat()]);
        check(&[&few[..], &[0; HOLE_MIN], &few, b"\n"].concat(), &[&few]);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let endless = io::repeat(b'x').take(1 << 26);
        let mut reader = LineReader::new(endless.chain(&b"\nlast"[..]));
        let mut batch = Batch::default();
        assert!(reader.fill(&mut batch).unwrap());
        assert_eq!((batch.len(), batch.record(0).truncated), (1, true));
        assert!(batch.buf.capacity() <= 2 * (HELD_MAX + READ_SIZE));
        assert!(reader.fill(&mut batch).unwrap());
        assert_eq!(batch.record(0).message, b"last");
        assert!(!reader.fill(&mut batch).unwrap());
    }

    #[test]
    fn empty_lines_come_in_batches_that_are_small() {
        let empty = vec![b'\n'; 3 * STORED_READ_SIZE];
        let mut reader = LineReader::with_reads_of(STORED_READ_SIZE, &empty[..]);
        let (mut batch, mut lines) = (Batch::default(), 0);
        while reader.fill(&mut batch).unwrap() {
            assert!((1..=STORED_LINES_MAX).contains(&batch.len()));
            lines += batch.len();
        }
        assert_eq!(lines, empty.len());
    }

    #[test]
    fn an_error_comes_after_the_lines_before_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut reader = LineReader::new((&b"one\ntwo\nhal"[..]).chain(Broken));
        let mut batch = Batch::default();
        assert!(reader.fill(&mut batch).unwrap());
        assert_eq!(batch.len(), 2);
        assert_eq!(reader.fill(&mut batch).unwrap_err().to_string(), "broken");
        assert!(batch.is_empty(), "half a line is no line");
        assert!(!reader.fill(&mut batch).unwrap(), "not even later");
    }

    #[test]
    fn cuts_at_most_what_is_asked_for() {
        let mut lines = Lines::new(100);
        let mut batch = Batch::default();
        assert_eq!(lines.read_from(&mut &b"a\nb\nc\nd"[..]).unwrap(), 7);
        assert_eq!((lines.cut(&mut batch, 2), lines.offset(), lines.position()), (2, 104, 107));
        assert_eq!((lines.cut(&mut batch, 2), lines.offset()), (1, 106));
        assert_eq!((lines.cut(&mut batch, 2), lines.offset()), (0, 106));
        let got: Vec<&[u8]> = batch.lines().collect();
        assert_eq!(got, [b"a", b"b", b"c"], "lines of several cuts lie in one buffer");
        lines.restart(7);
        assert_eq!((lines.offset(), lines.position(), lines.finish(&mut batch)), (7, 7, false));
    }
}
