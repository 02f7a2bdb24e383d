//! Cuts a byte stream into syslog frames.
//!
//! Newline framing and octet counting (RFC 6587) are told apart frame by frame unless it is said which one it is:
//! senders change over, and relays mix them. But where a sender that ends its frames with LF also leaves raw LF in
//! messages, whoever writes `\n99999 <` into one hides what follows, so [`Framing::Newline`] is for those. Bytes may
//! arrive in any pieces. Memory is bounded: of a frame longer than [`LINE_MAX`] the rest is skipped as it comes. It
//! does not look into frames, so a raw LF in an octet-counted one stays.

use crate::record::{Batch, LINE_MAX};

/// How many frames a batch takes at most.
pub const BATCH_MAX: usize = 1000;

/// How many bytes a batch holds before it is full; the frame that fills it is kept whole.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How many digits an octet count has at most where lines may begin with numbers, too. More than [`LINE_MAX`] needs:
/// senders' own maxima can be raised to 64 KiB and more, and a frame that is too long must be skipped, not taken for
/// a line that ends at the next LF.
const COUNT_DIGITS_MAX: usize = 5;

/// The same where every frame has a count. A sender that is refused for one frame would bring the same frame for ever.
const COUNT_DIGITS_ALONE: usize = 9;

/// How frames are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Frame by frame: what begins with `digits SP <` is counted, anything else ends at LF.
    #[default]
    Auto,
    /// Every frame ends at LF, whatever it begins with.
    Newline,
    /// Every frame has its count. What has none breaks the stream, since nobody knows where the next begins.
    OctetCounted,
}

/// Cuts one stream.
#[derive(Default)]
pub struct Decoder {
    framing: Framing,
    state: State,
    /// The unfinished frame, at most [`LINE_MAX`] bytes; in [`State::Begin`] what may be an octet count.
    kept: Vec<u8>,
    truncated: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before a frame, or inside what may be its octet count.
    #[default]
    Begin,
    /// In a frame that ends at the next LF.
    Line,
    /// In a frame of which so many bytes are to come.
    Octets(usize),
    /// No count where one must be: the rest means nothing.
    Broken,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(framing: Framing) -> Self {
        Decoder { framing, ..Self::default() }
    }

    /// Adds the frames that end in `bytes` to `batch`, as of its sender number `sender`. It may be more than full then.
    pub fn push(&mut self, bytes: &[u8], sender: u16, batch: &mut Batch) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.state {
                State::Begin => self.begin(rest),
                State::Line => self.line(rest, sender, batch),
                State::Octets(left) => self.octets(left, rest, sender, batch),
                State::Broken => &[],
            };
        }
    }

    /// Adds what the stream's end finished: a line without LF.
    ///
    /// An octet-counted frame that lacks bytes is marked truncated: what it says may be cut in the middle of an address.
    pub fn end(&mut self, sender: u16, batch: &mut Batch) {
        match self.state {
            State::Begin if self.framing == Framing::OctetCounted => self.kept.clear(),
            State::Begin | State::Line => self.finish_line(sender, batch),
            State::Broken => {}
            State::Octets(_) => {
                self.truncated = true;
                self.finish(sender, batch);
            }
        }
    }

    /// Whether a frame has begun and not ended.
    pub fn unfinished(&self) -> bool {
        self.state != State::Begin || !self.kept.is_empty()
    }

    /// Whether there is no sense in what comes now: a frame had no count, and every one must have.
    pub fn broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Looks for what the frame begins with.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        self.state = match self.framing {
            Framing::Auto => begun(&self.kept, bytes[0]),
            Framing::Newline => State::Line,
            Framing::OctetCounted => return self.begin_counted(bytes),
        };
        match self.state {
            State::Begin => {
                self.kept.push(bytes[0]);
                return &bytes[1..];
            }
            State::Octets(_) => self.kept.clear(),
            State::Line | State::Broken => {}
        }
        bytes
    }

    /// Looks for `digits SP`. Some senders end counted frames with a LF that they did not count.
    fn begin_counted<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match bytes[0] {
            b'\r' | b'\n' | b'\0' if self.kept.is_empty() => {}
            digit @ b'0'..=b'9' if self.kept.len() < COUNT_DIGITS_ALONE && (digit != b'0' || !self.kept.is_empty()) => {
                self.kept.push(digit);
            }
            b' ' if !self.kept.is_empty() => {
                self.state = State::Octets(number(&self.kept));
                self.kept.clear();
            }
            _ => {
                self.state = State::Broken;
                self.kept.clear();
                return &[];
            }
        }
        &bytes[1..]
    }

    fn line<'b>(&mut self, bytes: &'b [u8], sender: u16, batch: &mut Batch) -> &'b [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.keep(&bytes[..end]);
        self.finish_line(sender, batch);
        &bytes[end + 1..]
    }

    fn octets<'b>(&mut self, left: usize, bytes: &'b [u8], sender: u16, batch: &mut Batch) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(left.min(bytes.len()));
        self.keep(taken);
        self.state = State::Octets(left - taken.len());
        if left == taken.len() {
            self.finish(sender, batch);
        }
        rest
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.kept.len();
        self.truncated |= bytes.len() > room;
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Ends a line at LF, CR LF or NUL LF. An empty one is no frame.
    fn finish_line(&mut self, sender: u16, batch: &mut Batch) {
        if !self.truncated && matches!(self.kept.last(), Some(b'\r' | b'\0')) {
            self.kept.pop();
        }
        if self.kept.is_empty() {
            self.state = State::Begin;
            return;
        }
        self.finish(sender, batch);
    }

    fn finish(&mut self, sender: u16, batch: &mut Batch) {
        batch.add(&self.kept, sender, self.truncated);
        self.kept.clear();
        self.truncated = false;
        self.state = State::Begin;
    }
}

/// Whether a batch takes no more frames.
pub fn full(batch: &Batch) -> bool {
    batch.len() >= BATCH_MAX || batch.bytes() >= BATCH_BYTES
}

/// The value of few enough digits.
fn number(digits: &[u8]) -> usize {
    digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

/// In what `kept` and the next byte have begun: looks for `digits SP <`. The `<` is demanded: a line may begin with a
/// number, but no sender counts a frame that has no priority.
fn begun(kept: &[u8], next: u8) -> State {
    let digits = kept.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match next {
        b'1'..=b'9' if digits == kept.len() && digits < COUNT_DIGITS_MAX => State::Begin,
        b'0' if digits == kept.len() && (1..COUNT_DIGITS_MAX).contains(&digits) => State::Begin,
        b' ' if digits == kept.len() && digits > 0 => State::Begin,
        b'<' if digits < kept.len() => State::Octets(number(&kept[..digits])),
        _ => State::Line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a stream in pieces of `size` bytes; frames come out escaped, cut ones end in `…`, a broken stream in `!`.
    fn cut(framing: Framing, stream: &[u8], size: usize) -> Vec<String> {
        let (mut decoder, mut batch, mut out) = (Decoder::new(framing), Batch::default(), Vec::new());
        for piece in stream.chunks(size) {
            decoder.push(piece, 0, &mut batch);
            drain(&mut batch, &mut out);
            assert!(decoder.kept.len() <= LINE_MAX);
        }
        decoder.end(0, &mut batch);
        assert!(decoder.broken() || !decoder.unfinished());
        drain(&mut batch, &mut out);
        out.extend(decoder.broken().then(|| "!".to_owned()));
        out
    }

    fn drain(batch: &mut Batch, out: &mut Vec<String>) {
        for record in batch.records() {
            let mark = if record.truncated { "…" } else { "" };
            out.push(format!("{}{mark}", record.message.escape_ascii()));
        }
        batch.clear();
    }

    #[track_caller]
    fn check(stream: impl AsRef<[u8]>, expected: &[&str]) {
        check_as(Framing::Auto, stream, expected);
    }

    #[track_caller]
    fn check_as(framing: Framing, stream: impl AsRef<[u8]>, expected: &[&str]) {
        for size in 1..=stream.as_ref().len().max(1) {
            assert_eq!(cut(framing, stream.as_ref(), size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn cuts_lines() {
        check("", &[]);
        check("<86>a\n<86>b\n", &["<86>a", "<86>b"]);
        check("<86>a\r\n<86>b\0\n", &["<86>a", "<86>b"]);
        check("\n\n<86>a\n\r\n\0\n<86>b", &["<86>a", "<86>b"]);
        check("a b\n", &["a b"]);
    }

    #[test]
    fn cuts_counted_frames() {
        check("5 <86>a5 <86>b", &["<86>a", "<86>b"]);
        check("5 <86>a\n5 <86>b\n", &["<86>a", "<86>b"]);
        check("9 <86>two\nx6 <86>b\n", &["<86>two\\nx", "<86>b\\n"]);
    }

    #[test]
    fn keeps_raw_newlines_in_counted_frames() {
        check("10 <86>two\nx\n6 <86>b\n", &["<86>two\\nx\\n", "<86>b\\n"]);
    }

    #[test]
    fn tells_framings_apart_per_frame() {
        check("<86>a\n5 <86>b<86>c\n5 <86>d", &["<86>a", "<86>b", "<86>c", "<86>d"]);
    }

    #[test]
    fn takes_only_counts_before_a_priority() {
        check("10 Failed password\n<86>a\n", &["10 Failed password", "<86>a"]);
        check("05 <86>a\n", &["05 <86>a"]);
        check("123456 <86>a\n", &["123456 <86>a"]);
        check("5  <86>a\n", &["5  <86>a"]);
        check("5<86>a\n", &["5<86>a"]);
        check(" 5 <86>a\n", &[" 5 <86>a"]);
        check("12", &["12"]);
        check("12 ", &["12 "]);
        check("12\n\n12 \n", &["12", "12 "]);
    }

    #[test]
    fn cuts_only_lines_where_that_is_said() {
        let check = |stream: &str, expected: &[&str]| check_as(Framing::Newline, stream, expected);
        check("<86>a\r\n\n<86>b", &["<86>a", "<86>b"]);
        check("5 <86>a5 <86>b\n", &["5 <86>a5 <86>b"]);
        // Raw LF in a message, and a stranger who would hide what comes next.
        check("<86>user x\n99999 <86>\n<86>b\n", &["<86>user x", "99999 <86>", "<86>b"]);
    }

    #[test]
    fn a_raw_newline_can_blind_the_one_that_tells_apart() {
        check("<86>user x\n20 <86>\n<86>hidden\n<86>b\n", &["<86>user x", "<86>\\n<86>hidden\\n<86>", "b"]);
    }

    #[test]
    fn cuts_only_counted_frames_where_that_is_said() {
        let check = |stream: &str, expected: &[&str]| check_as(Framing::OctetCounted, stream, expected);
        check("5 <86>a6 <86>b\n", &["<86>a", "<86>b\\n"]);
        check("5 <86>a\n\0\n5 <86>b\n", &["<86>a", "<86>b"]);
        check("3 abc10 <86>two\nx\n", &["abc", "<86>two\\nx\\n"]);
        check("5 <86>a<86>b\n5 <86>c", &["<86>a", "!"]);
        for broken in ["<86>a\n", "05 <86>a", " 5 <86>a", "5<86>a", "x", "1234567890 <86>a"] {
            check(broken, &["!"]);
        }
        check("5 <86>a12", &["<86>a"]);
        check("20 <86>a", &["<86>a…"]);
    }

    #[test]
    fn skips_what_nobody_could_keep() {
        let stream = [b"1000000 <86>".as_slice(), &[b'x'; 999_996], b"5 <86>b"].concat();
        for size in [4096, 1 << 20] {
            let cut = cut(Framing::OctetCounted, &stream, size);
            assert_eq!((cut.len(), cut[0].len(), cut[1].as_str()), (2, LINE_MAX + "…".len(), "<86>b"));
        }
    }

    #[test]
    fn marks_what_the_end_cut() {
        check("<86>a\n<86>b", &["<86>a", "<86>b"]);
        check("20 <86>a", &["<86>a…"]);
    }

    #[test]
    fn cuts_what_is_too_long_and_goes_on() {
        let long = "L".repeat(LINE_MAX);
        for size in [1, 7, 4096, 1 << 20] {
            assert_eq!(cut(Framing::Auto, format!("{long}\n<86>a\n").as_bytes(), size), [long.as_str(), "<86>a"]);
            assert_eq!(
                cut(Framing::Auto, format!("{long}xyz\n<86>a\n").as_bytes(), size),
                [format!("{long}…").as_str(), "<86>a"]
            );
            let counted = format!("<86>{long}{long}");
            let kept = format!("{}…", &counted[..LINE_MAX]);
            assert_eq!(
                cut(Framing::Auto, format!("{} {counted}5 <86>a", counted.len()).as_bytes(), size),
                [kept.as_str(), "<86>a"]
            );
        }
    }
}
