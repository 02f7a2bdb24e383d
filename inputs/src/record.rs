//! What a log line is, before anyone believes it.
//!
//! A [`Batch`] owns one buffer and says where in it the parts of its records lie; a [`Record`] borrows them. Whoever
//! knows the format says where they lie: the [`Parser`](crate::syslog::parse::Parser) of lines, the reader of a
//! journal. Log bytes stay bytes: text is made only for people, and escaped then.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The longest line or frame that is kept, in bytes; what is longer is cut here and marked `truncated`.
///
/// sshd's own lines end well below 2 KiB (`log.c`, `MSGBUFSIZ` 1024); rsyslog's default maximum is 8 KiB.
pub const LINE_MAX: usize = 8 * 1024;

/// A point in time: microseconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time `seconds` after the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Timestamp(seconds * 1_000_000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time plus `duration`, at most the greatest time there is.
    #[inline]
    pub fn after(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// This time minus `duration`.
    #[inline]
    pub fn before(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(micros))
    }
}

/// RFC 3339 in UTC; sub-seconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Which configured input a batch came from: a number that the input keeps over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SourceId(pub u16);

/// What the kernel or TLS vouches for about the last hop. It says nothing about the origin host.
///
/// There is one a batch or few, so that a name costs nothing a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The user id behind a unix socket (`SO_PEERCRED`, `SCM_CREDENTIALS`), or of a journal's entry (`_UID`).
    Uid(u32),
    /// The peer's address of a TCP connection or UDP datagram. UDP's can be spoofed.
    Peer(IpAddr),
    /// The name in a client's certificate that we checked, in lower case: letters, digits, `.`, `-`, `_`, and `*`.
    Cert(Arc<str>),
    /// Nobody vouches: plain files, standard input.
    #[default]
    Unknown,
}

impl Sender {
    /// Somebody behind a unix socket of whom the kernel did not tell who it is. (uid_t)-1 is never a user's.
    pub const NOBODY: Sender = Sender::Uid(u32::MAX);
}

/// As `status` shows it.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Uid(uid) => write!(f, "uid {uid}"),
            Sender::Peer(address) => write!(f, "{address}"),
            Sender::Cert(name) => write!(f, "certificate {name}"),
            Sender::Unknown => f.write_str("unknown"),
        }
    }
}

/// One log record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which configured input.
    pub source: SourceId,
    /// What the kernel or TLS vouches for.
    pub sender: &'a Sender,
    /// The origin host that the message claims; empty where it claims none.
    pub host: &'a [u8],
    /// Our clock, read once a batch at the edge.
    pub received: Timestamp,
    /// The producer's own stamp.
    pub event: Option<Timestamp>,
    /// The stamp is multilog's label, which all lines have that multilog read at once.
    pub labelled: bool,
    /// The program: `sshd`, `sshd-session`, `CRON`; empty where the line names none.
    pub identifier: &'a [u8],
    /// The process id, where the line has one.
    pub pid: Option<u32>,
    /// The text, without header and without line end.
    pub message: &'a [u8],
    /// How often it happened: once, but where a syslog daemon folded repeats.
    pub times: u32,
    /// The line was longer than [`LINE_MAX`] and its rest is gone.
    pub truncated: bool,
    /// The journal has it from a program's standard output or error. Nothing escapes a newline there, so a stranger
    /// whose text the program prints can make up whole lines of it. Or what tells that it is sshd's a stranger can write.
    pub stdout: bool,
    /// It came while its input was followed, after all that was there had been read: it may have been written just now,
    /// whatever its stamp says. Who knows its sender's clock takes that back.
    pub live: bool,
}

impl<'a> Record<'a> {
    /// A record of which nothing is known but its program and its text.
    pub fn of(identifier: &'a [u8], message: &'a [u8]) -> Self {
        Record {
            source: SourceId(0),
            sender: &Sender::Unknown,
            host: b"",
            received: Timestamp(0),
            event: None,
            labelled: false,
            identifier,
            pid: None,
            message,
            times: 1,
            truncated: false,
            stdout: false,
            live: false,
        }
    }

    /// When it happened, as far as we believe the sender: never after we received it.
    #[inline]
    pub fn time(&self) -> Timestamp {
        self.event.map_or(self.received, |event| event.min(self.received))
    }

    /// From when a deny lasts that it leads to: from when it came, where nobody can tell yet how late that was.
    #[inline]
    pub fn from(&self) -> Timestamp {
        if self.live { self.received } else { self.time() }
    }
}

/// Digits of an id that docker shows.
const CONTAINER_ID_LEN: usize = 12;

/// Whether a program's name is a container's: what docker's `syslog` and `journald` drivers call a program. That is its
/// id, and with a `tag` of docker's manual `docker/NAME` or `IMAGE/NAME/ID`. It is no program, and the process is
/// docker's own.
#[inline]
pub(crate) fn is_container_id(identifier: &[u8]) -> bool {
    let Some((path, id)) = identifier.split_last_chunk::<CONTAINER_ID_LEN>() else {
        return identifier.starts_with(b"docker/");
    };
    let is_id =
        matches!(path.last(), None | Some(b'/')) && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id || identifier.starts_with(b"docker/")
}

/// What is known of a record beside its batch: what a line's header says, or what a journal's entry has in its fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) event: Option<Timestamp>,
    pub(crate) labelled: bool,
    pub(crate) host: &'a [u8],
    pub(crate) identifier: &'a [u8],
    pub(crate) pid: Option<u32>,
    pub(crate) message: &'a [u8],
    pub(crate) stdout: bool,
    /// It is sshd's, by a framing of the administrator's; no header says so.
    pub(crate) is_framed: bool,
    /// It is a piece of a text.
    pub(crate) is_piece: bool,
}

/// Where in its batch's buffer the parts of a record lie. An entry of a journal has no line.
#[derive(Clone, Copy, Debug)]
struct Spans {
    /// [`NO_EVENT`] where there is none.
    event: Timestamp,
    pid: Option<u32>,
    line: u32,
    host: u32,
    identifier: u32,
    message: u32,
    line_len: u16,
    message_len: u16,
    /// Index into [`Batch::senders`].
    sender: u16,
    host_len: u8,
    identifier_len: u8,
    labelled: bool,
    stdout: bool,
    is_framed: bool,
    truncated: bool,
}

/// A time that no stamp says.
const NO_EVENT: Timestamp = Timestamp(i64::MIN);

/// A batch has thousands of them, which are written and read once.
const _: () = assert!(size_of::<Spans>() <= 48 && LINE_MAX <= u16::MAX as usize);

impl Spans {
    /// Says that its parts, each empty or behind `first`, lie where these lie in a buffer that has `first` at `start`.
    #[inline(always)]
    fn set(&mut self, start: u32, first: *const u8, parts: &Parts<'_>) {
        let place = |part: &[u8]| match part.is_empty() {
            true => start,
            false => start.wrapping_add((part.as_ptr() as usize).wrapping_sub(first as usize) as u32),
        };
        self.event = parts.event.unwrap_or(NO_EVENT);
        (self.pid, self.labelled) = (parts.pid, parts.labelled);
        (self.stdout, self.is_framed) = (parts.stdout, parts.is_framed);
        self.truncated |= parts.is_piece;
        (self.host, self.host_len) = (place(parts.host), parts.host.len() as u8);
        (self.identifier, self.identifier_len) = (place(parts.identifier), parts.identifier.len() as u8);
        (self.message, self.message_len) = (place(parts.message), parts.message.len() as u16);
    }
}

/// Records that were read together, with the cursor behind the last of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which configured input.
    pub source: SourceId,
    /// Our clock when it was read.
    pub received: Timestamp,
    /// A stamp without a year is of the latest year that is not after this time plus one day.
    /// Live it is `received`; for an archive its own stamp or its modification time.
    pub reference: Timestamp,
    /// Who sent them; a batch without senders is [`Sender::Unknown`] throughout.
    pub senders: Vec<Sender>,
    /// Where to go on after this batch, for inputs that can.
    pub cursor: Option<crate::cursor::Cursor>,
    /// Messages that the kernel dropped before this batch, where it says so (`SO_RXQ_OVFL`).
    pub lost: u64,
    /// The input had read all that was there before: see [`Record::live`].
    pub live: bool,
    /// The program of all records that name none.
    pub(crate) identifier: &'static [u8],
    /// The bytes.
    pub(crate) buf: Vec<u8>,
    spans: Vec<Spans>,
}

impl Batch {
    /// An empty batch that is received now.
    pub fn new(source: SourceId, now: Timestamp) -> Self {
        Batch { source, received: now, reference: now, ..Batch::default() }
    }

    /// Forgets the contents, keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.spans.clear();
        self.senders.clear();
        (self.cursor, self.lost, self.live, self.identifier) = (None, 0, false, b"");
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has no record; it may still have a cursor.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds a line or frame, of the sender of that number. What is too long is cut. Until a parser has read its
    /// header it is all message.
    pub fn add(&mut self, line: &[u8], sender: u16, truncated: bool) {
        self.mark(self.buf.len(), line, sender, truncated);
        self.buf.extend_from_slice(&line[..line.len().min(LINE_MAX)]);
    }

    /// Adds a line that is in the buffer at `start`, or will be; what is too long is cut.
    #[inline]
    pub(crate) fn mark(&mut self, start: usize, line: &[u8], sender: u16, truncated: bool) {
        let len = line.len().min(LINE_MAX) as u16;
        let truncated = truncated || line.len() > LINE_MAX;
        let start = start as u32; // a batch's buffer holds a few reads, and they are small
        self.spans.push(Spans {
            event: NO_EVENT,
            pid: None,
            line: start,
            host: start,
            identifier: start,
            message: start,
            line_len: len,
            message_len: len,
            sender,
            host_len: 0,
            identifier_len: 0,
            labelled: false,
            stdout: false,
            is_framed: false,
            truncated,
        });
    }

    /// Takes the last lines back that were marked.
    pub(crate) fn unmark(&mut self, count: usize) {
        self.spans.truncate(self.spans.len() - count);
    }

    /// Adds a record of which an input knows the parts.
    pub(crate) fn add_parts(&mut self, parts: &Parts<'_>, sender: u16, truncated: bool) {
        let start = self.buf.len();
        for part in [parts.host, parts.identifier, parts.message] {
            self.buf.extend_from_slice(part);
        }
        self.mark(start, b"", sender, truncated);
        let bytes = &self.buf[start..];
        let (host, rest) = bytes.split_at(parts.host.len());
        let (identifier, message) = rest.split_at(parts.identifier.len());
        if let Some(spans) = self.spans.last_mut() {
            spans.set(start as u32, bytes.as_ptr(), &Parts { host, identifier, message, ..*parts });
        }
    }

    /// Lets `parts` say of each line what is in it. It may undo a line's escapes where they are.
    #[inline]
    pub(crate) fn read(&mut self, mut parts: impl for<'l> FnMut(&'l mut [u8]) -> Parts<'l>) {
        for spans in &mut self.spans {
            let line = &mut self.buf[spans.line as usize..][..spans.line_len.into()];
            let first = line.as_ptr();
            spans.set(spans.line, first, &parts(line));
        }
    }

    /// Takes the records out that are `wanted`, into a batch without a cursor.
    pub fn take_out(&mut self, wanted: impl FnMut(Record<'_>) -> bool) -> Batch {
        let wanted: Vec<bool> = self.records().map(wanted).collect();
        let mut out = Batch { reference: self.reference, live: self.live, ..Batch::new(self.source, self.received) };
        if wanted.contains(&true) {
            (out.senders, out.identifier, out.buf) = (self.senders.clone(), self.identifier, self.buf.clone());
            let mut each = wanted.iter();
            out.spans = self.spans.extract_if(.., |_| each.next() == Some(&true)).collect();
        }
        out
    }

    /// Leaves only the lines that `keep` wants.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let buf = &self.buf;
        self.spans.retain(|spans| keep(&buf[spans.line as usize..][..spans.line_len.into()]));
        if self.spans.is_empty() {
            self.buf.clear();
        }
    }

    /// Says of all its lines that their ends are missing.
    pub(crate) fn cut_all(&mut self) {
        self.spans.iter_mut().for_each(|spans| spans.truncated = true);
    }

    /// Says of all its records that a program printed them.
    pub fn printed(&mut self) {
        self.spans.iter_mut().for_each(|spans| spans.stdout = true);
    }

    /// The number of a sender. Bursts come from one sender, so only the last is looked at; a batch has fewer records
    /// than there are numbers.
    pub(crate) fn number(&mut self, sender: &Sender) -> u16 {
        if self.senders.last() != Some(sender) {
            self.senders.push(sender.clone());
        }
        (self.senders.len() - 1) as u16
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// The lines or frames as they came, in their order; that of a journal's entry is empty.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.spans.iter().map(|spans| self.part(spans.line, spans.line_len.into()))
    }

    /// The records, in their order.
    #[inline]
    pub fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> + ExactSizeIterator {
        self.spans.iter().map(|spans| self.view(spans))
    }

    /// One of its records, which must be there.
    pub fn record(&self, index: usize) -> Record<'_> {
        self.view(&self.spans[index])
    }

    #[inline(always)]
    fn view(&self, spans: &Spans) -> Record<'_> {
        Record {
            source: self.source,
            sender: self.senders.get(usize::from(spans.sender)).unwrap_or(&Sender::Unknown),
            host: self.part(spans.host, spans.host_len.into()),
            received: self.received,
            event: (spans.event != NO_EVENT).then_some(spans.event),
            labelled: spans.labelled,
            identifier: match spans.identifier_len {
                0 if spans.is_framed => b"sshd",
                0 => self.identifier,
                len => self.part(spans.identifier, len.into()),
            },
            pid: spans.pid,
            message: self.part(spans.message, spans.message_len.into()),
            times: 1,
            truncated: spans.truncated,
            stdout: spans.stdout,
            live: self.live,
        }
    }

    #[inline(always)]
    fn part(&self, start: u32, len: usize) -> &[u8] {
        &self.buf[start as usize..][..len]
    }
}
