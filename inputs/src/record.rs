//! What a log line is, before anyone believes it.
//!
//! A [`Batch`] owns one buffer and says where its lines are; a [`Record`] borrows from it. Log bytes stay
//! bytes: text is made only for people, and escaped then.

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
    /// The program: `sshd`, `sshd-session`, `CRON`; empty where the line names none.
    pub identifier: &'a [u8],
    /// The process id, where the line has one.
    pub pid: Option<u32>,
    /// The text, without header and without line end.
    pub message: &'a [u8],
    /// The line was longer than [`LINE_MAX`] and its rest is gone.
    pub truncated: bool,
    /// The journal has it from a program's standard output or error. Nothing escapes a newline there, so a stranger
    /// whose text the program prints can make up whole lines of it.
    pub stdout: bool,
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
            identifier,
            pid: None,
            message,
            truncated: false,
            stdout: false,
        }
    }

    /// When it happened, as far as we believe the sender: never after we received it.
    #[inline]
    pub fn time(&self) -> Timestamp {
        self.event.map_or(self.received, |event| event.min(self.received))
    }
}

/// Where a line or frame lies in its batch's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// First byte.
    pub start: u32,
    /// Bytes, without line end.
    pub len: u32,
    /// Index into [`Batch::senders`]; a batch without senders is [`Sender::Unknown`] throughout.
    pub sender: u16,
    /// The line was longer than [`LINE_MAX`]; only its beginning is here.
    pub truncated: bool,
}

/// Lines or frames that were read together, with the cursor behind the last of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which configured input.
    pub source: SourceId,
    /// Our clock when it was read.
    pub received: Timestamp,
    /// A stamp without a year is of the latest year that is not after this time plus one day.
    /// Live it is `received`; for an archive its own stamp or its modification time.
    pub reference: Timestamp,
    /// The bytes.
    pub buf: Vec<u8>,
    /// Where in `buf` the lines lie, in their order.
    pub frames: Vec<Frame>,
    /// Who sent them; see [`Frame::sender`].
    pub senders: Vec<Sender>,
    /// Where to go on after this batch, for inputs that can.
    pub cursor: Option<crate::cursor::Cursor>,
    /// Messages that the kernel dropped before this batch, where it says so (`SO_RXQ_OVFL`).
    pub lost: u64,
}

impl Batch {
    /// Forgets the contents, keeps the memory.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.frames.clear();
        self.senders.clear();
        self.cursor = None;
        self.lost = 0;
    }

    /// The bytes of a frame.
    #[inline]
    pub fn bytes(&self, frame: Frame) -> &[u8] {
        &self.buf[frame.start as usize..][..frame.len as usize]
    }

    /// Who sent a frame.
    #[inline]
    pub fn sender(&self, frame: Frame) -> &Sender {
        self.senders.get(usize::from(frame.sender)).unwrap_or(&Sender::Unknown)
    }
}
