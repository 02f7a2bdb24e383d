//! Reads systemd's journal export format from a stream of bytes, in pieces of any size.
//!
//! Promises never to panic, and to keep no more than an [`Entry`] and half a line whatever comes. A field is
//! `NAME=value` and LF, or `NAME`, LF, its length as 8 bytes, the bytes and LF; an empty line ends an entry. What is
//! too long is cut, and what is of no interest passed over, however long.

use std::io::{self, BufRead, ErrorKind};

use super::entry::{Entry, Field, number};
use crate::cursor::Place;
use crate::record::LINE_MAX;

/// How much of a field is kept: name, `=`, the beginning of a message, and one byte that proves it too long.
const KEPT_MAX: usize = Field::NAME_MAX + 1 + LINE_MAX + 1;

/// A binary field that claims to be longer ends the stream: its length is not one. journald's own limit of a field.
const FIELD_MAX: u64 = 768 << 20;

/// Why there is no more.
#[derive(Debug)]
pub(super) enum Stop {
    /// The source could not be read.
    Read(io::Error),
    /// It is no journal export, or went out of step.
    Broken(&'static str),
}

const TOO_LONG: &str = "a field claims to be longer than any can be";
const NO_END: &str = "a binary field does not end in a newline";
const NO_NAME: &str = "a field has no name";

/// Where the parser is.
#[derive(Clone, Copy, Default)]
enum State {
    /// In a line: a field, the name of a binary one, or the empty line.
    #[default]
    Line,
    /// In the 8 bytes that say how long a binary field is.
    Length,
    /// In a binary field.
    Value { left: u64 },
    /// At the LF behind one.
    ValueEnd,
}

/// The parser. What is complete is in [`entry`](Self::entry).
#[derive(Default)]
pub(super) struct Export {
    /// How many bytes it was given.
    pub(super) taken: u64,
    state: State,
    /// The line or value so far, cut at [`KEPT_MAX`].
    kept: Vec<u8>,
    /// The field that a binary value is of.
    field: Option<Field>,
    begun: bool,
    pub(super) entry: Entry,
    /// The entry's cursor, where it has one.
    pub(super) place: Option<Place>,
}

impl Export {
    /// Takes what `source` has now, which is one read at most, until an entry is complete, and says whether one is;
    /// `None` at the source's end.
    pub(super) fn read_from(&mut self, source: &mut impl BufRead) -> Result<Option<bool>, Stop> {
        let bytes = match source.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Some(false)),
            Err(error) => return Err(Stop::Read(error)),
        };
        let mut rest = bytes;
        let complete = self.advance(&mut rest);
        let taken = bytes.len() - rest.len();
        source.consume(taken);
        self.taken += taken as u64;
        complete.map(Some).map_err(Stop::Broken)
    }

    /// Takes bytes from `input` until an entry is complete, and says whether one is.
    fn advance(&mut self, input: &mut &[u8]) -> Result<bool, &'static str> {
        while !input.is_empty() {
            match self.state {
                State::Line => {
                    if !self.line(input) {
                        break;
                    }
                    if self.kept.is_empty() && std::mem::take(&mut self.begun) {
                        return Ok(true);
                    }
                    self.take_line()?;
                }
                State::Length => {
                    let (bytes, rest) = input.split_at(input.len().min(8 - self.kept.len()));
                    self.keep(bytes);
                    *input = rest;
                    if let Ok(length) = self.kept[..].try_into() {
                        let left = u64::from_le_bytes(length);
                        if left > FIELD_MAX {
                            return Err(TOO_LONG);
                        }
                        self.kept.clear();
                        self.state = State::Value { left };
                    }
                }
                State::Value { left } => {
                    let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    let (value, rest) = input.split_at(count);
                    self.keep(value);
                    *input = rest;
                    let left = left - count as u64;
                    self.state = if left == 0 { State::ValueEnd } else { State::Value { left } };
                }
                State::ValueEnd => {
                    if input[0] != b'\n' {
                        return Err(NO_END);
                    }
                    *input = &input[1..];
                    if let Some(field) = self.field.take() {
                        self.entry.set(field, &self.kept);
                    }
                    self.kept.clear();
                    self.state = State::Line;
                }
            }
        }
        Ok(false)
    }

    /// Whether the stream may end here: between entries. An entry at its very end needs no empty line.
    pub(super) fn end(&mut self) -> Result<bool, &'static str> {
        if let State::Line = self.state {
            self.take_line()?;
        }
        match self.state {
            State::Line => Ok(std::mem::take(&mut self.begun)),
            _ => Err(NO_END),
        }
    }

    /// Keeps the line that goes on in `input`, without LF, and says whether it ends there.
    fn line(&mut self, input: &mut &[u8]) -> bool {
        let lf = memchr::memchr(b'\n', input);
        let (line, rest) = input.split_at(lf.unwrap_or(input.len()));
        self.keep(line);
        *input = &rest[usize::from(lf.is_some())..];
        lf.is_some()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT_MAX - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes the line that is kept.
    fn take_line(&mut self) -> Result<(), &'static str> {
        if self.kept.is_empty() {
            return Ok(()); // one more between two entries
        }
        if !self.begun {
            self.entry.clear();
            self.place = None;
        }
        self.begun = true;
        let line = std::mem::take(&mut self.kept);
        match memchr::memchr(b'=', &line) {
            Some(0) => return Err(NO_NAME),
            Some(end) => self.take_field(&line[..end], &line[end + 1..]),
            None => {
                self.field = Field::of(&line);
                self.state = State::Length;
            }
        }
        self.kept = line;
        self.kept.clear();
        Ok(())
    }

    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"__REALTIME_TIMESTAMP" if self.entry.realtime == 0 => self.entry.realtime = number(value).unwrap_or(0),
            b"__CURSOR" if self.place.is_none() => {
                self.place = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            _ => {
                if let Some(field) = Field::of(name) {
                    self.entry.set(field, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    /// The entries of a text that comes in pieces of `size` bytes, and how it ended.
    fn read(text: &[u8], size: usize) -> (String, Result<bool, &'static str>) {
        let mut export = Export::default();
        let mut out = String::new();
        let mut show = |export: &Export| {
            let mut batch = Batch::default();
            export.entry.push(&mut batch);
            let record = batch.record(0);
            let (id, message) = (record.identifier.escape_ascii(), record.message.escape_ascii());
            let cursor = if export.place.is_some() { " +" } else { "" };
            out += &format!("{}{cursor} {id}: {message}|", export.entry.realtime);
        };
        for mut piece in text.chunks(size) {
            loop {
                match export.advance(&mut piece) {
                    Ok(true) => show(&export),
                    Ok(false) => break,
                    Err(broken) => return (out, Err(broken)),
                }
            }
        }
        let end = export.end();
        if end == Ok(true) {
            show(&export);
        }
        (out, end)
    }

    fn check(text: &[u8], want: &str, end: Result<bool, &'static str>) {
        for size in [1, 2, 3, 7, text.len().max(1)] {
            assert_eq!(read(text, size), (want.to_owned(), end), "{} by {size}", text.escape_ascii());
        }
    }

    const CURSOR: &str =
        "__CURSOR=s=00000000000000000000000000000001;i=1;b=00000000000000000000000000000002;m=1;t=1;x=1\n";

    #[test]
    fn reads_entries() {
        check(b"", "", Ok(false));
        check(b"\n\n", "", Ok(false));
        check(b"__REALTIME_TIMESTAMP=7\nMESSAGE=a b=c\n\n", "7 : a b=c|", Ok(false));
        check(b"MESSAGE=a\n\n\nMESSAGE=b\n\n", "0 : a|0 : b|", Ok(false));
        check(b"SYSLOG_IDENTIFIER=sshd\nMESSAGE=a\n\nMESSAGE=b\n\n", "0 sshd: a|0 : b|", Ok(false));
        check(format!("{CURSOR}MESSAGE=a\n\nMESSAGE=b\n\n").as_bytes(), "0 + : a|0 : b|", Ok(false));
        // The last one needs no empty line, and no newline.
        check(b"MESSAGE=a\n", "0 : a|", Ok(true));
        check(b"MESSAGE=a", "0 : a|", Ok(true));
        check(b"MESSAGE=a\nMESSAGE=b\n\n", "0 : a|", Ok(false));
        check(b"__CURSOR=x\n__REALTIME_TIMESTAMP=-1\n_UID=0\n\n", "0 : |", Ok(false));
    }

    #[test]
    fn reads_binary_fields() {
        check(b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nb\xff\0\nSYSLOG_IDENTIFIER=x\n\n", "0 x: a\\nb\\xff\\x00|", Ok(false));
        check(b"MESSAGE\n\0\0\0\0\0\0\0\0\n\n", "0 : |", Ok(false));
        check(b"OTHER\n\x03\0\0\0\0\0\0\0\n\n\n\nMESSAGE=a\n\n", "0 : a|", Ok(false));
        // In a binary field nothing is a field.
        check(b"OTHER\n\x0a\0\0\0\0\0\0\0\nMESSAGE=x\nMESSAGE=a\n\n", "0 : a|", Ok(false));
    }

    #[test]
    fn refuses_what_is_out_of_step() {
        check(b"MESSAGE\n\x01\0\0\0\0\0\0\0ab\n", "", Err(NO_END));
        check(b"MESSAGE\n\x05\0\0\0\0\0\0\0ab", "", Err(NO_END));
        check(b"MESSAGE\n\x05\0", "", Err(NO_END));
        check(b"MESSAGE", "", Err(NO_END));
        check(b"MESSAGE\n\0\0\0\0\0\0\0\x80", "", Err(TOO_LONG));
        check(b"=a\n", "", Err(NO_NAME));
        check(b"MESSAGE=a\n\n=a\n", "0 : a|", Err(NO_NAME));
    }

    #[test]
    fn keeps_little() {
        let long = [b"MESSAGE=".as_slice(), &vec![b'x'; 5 << 20], b"\n\n"].concat();
        let mut export = Export::default();
        for mut piece in long.chunks(1 << 16) {
            while export.advance(&mut piece).unwrap() {}
        }
        assert!(export.kept.capacity() <= 4 * KEPT_MAX);
        let mut batch = Batch::default();
        export.entry.push(&mut batch);
        assert!(batch.record(0).truncated);
    }

    #[test]
    fn rubbish_ends() {
        let words: [&[u8]; 9] =
            [b"MESSAGE", b"=", b"\n", b"\x02\0\0\0\0\0\0\0", b"\0", b"\xff", b"_UID", b"0", CURSOR.as_bytes()];
        kit::property("export-of-rubbish", 3000, |random| {
            let mut text = Vec::new();
            for _ in 0..random.below(80) {
                text.extend_from_slice(random.pick(&words));
            }
            let whole = read(&text, text.len().max(1));
            assert_eq!(read(&text, 1 + random.below(16)), whole, "{}", text.escape_ascii());
        });
    }
}
