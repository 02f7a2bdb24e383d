//! How an entry of the journal travels in a batch: seven fields of it, behind a compact header.
//!
//! All readers fill an [`Entry`] and push it; [`record`] takes it out again without allocation. Who sent it is
//! `_UID`, which journald has from the kernel; `_PID` likewise. `SYSLOG_IDENTIFIER` and `MESSAGE` are what the sender
//! says. `_COMM`, `_EXE` and `_SYSTEMD_UNIT` are not carried: they are missing of processes that ended at once, so
//! nothing may depend on them. The time is `__REALTIME_TIMESTAMP`, when journald had it: every entry has it, it is
//! what cursors and `journalctl --since` mean, and no sender chooses it. `_SOURCE_REALTIME_TIMESTAMP` is earlier by
//! microseconds, or by hours if a suspended machine lies between.
//!
//! The layout is private to this crate and never stored.

use crate::record::{Batch, Frame, LINE_MAX, Record, Sender, Timestamp};

/// The longest identifier and host that are kept, in bytes; what is longer is cut.
const NAME_MAX: usize = 255;

/// Flags, time, pid, and how long identifier and host are. The uid is the frame's sender.
const HEADER: usize = 1 + 8 + 4 + 1 + 1;

const HAS_PID: u8 = 1;
const IS_STDOUT: u8 = 2;

/// A field that a record is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Message,
    Identifier,
    Host,
    Uid,
    Pid,
    Transport,
}

impl Field {
    /// How many there are.
    pub(super) const COUNT: u32 = 6;

    /// The longest name of one, in bytes.
    pub(super) const NAME_MAX: usize = 17;

    #[inline]
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"MESSAGE" => Some(Field::Message),
            b"SYSLOG_IDENTIFIER" => Some(Field::Identifier),
            b"_HOSTNAME" => Some(Field::Host),
            b"_UID" => Some(Field::Uid),
            b"_PID" => Some(Field::Pid),
            b"_TRANSPORT" => Some(Field::Transport),
            _ => None,
        }
    }
}

/// An entry on its way from a reader into a batch. Reused: its memory is bounded by its fields' limits.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// `__REALTIME_TIMESTAMP`: microseconds since 1970.
    pub(super) realtime: u64,
    seen: u8,
    uid: Option<u32>,
    pid: Option<u32>,
    stdout: bool,
    identifier: Vec<u8>,
    host: Vec<u8>,
    message: Vec<u8>,
    truncated: bool,
}

impl Entry {
    pub(super) fn clear(&mut self) {
        (self.realtime, self.seen, self.uid, self.pid) = (0, 0, None, None);
        (self.stdout, self.truncated) = (false, false);
        self.identifier.clear();
        self.host.clear();
        self.message.clear();
    }

    /// Whether all fields have a value, so that no other is worth a look.
    pub(super) fn is_full(&self) -> bool {
        self.seen.count_ones() == Field::COUNT
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.seen & (1 << field as u8) != 0
    }

    /// Takes a field's value; of several the first counts.
    pub(super) fn set(&mut self, field: Field, value: &[u8]) {
        if self.has(field) {
            return;
        }
        self.seen |= 1 << field as u8;
        match field {
            Field::Message => {
                self.message.extend_from_slice(&value[..value.len().min(LINE_MAX)]);
                self.truncated = value.len() > LINE_MAX;
            }
            Field::Identifier => self.identifier.extend_from_slice(&value[..value.len().min(NAME_MAX)]),
            Field::Host => self.host.extend_from_slice(&value[..value.len().min(NAME_MAX)]),
            // A uid that is no number is nobody's, and above all not root's.
            Field::Uid => self.uid = Some(number(value).unwrap_or(u32::MAX)),
            Field::Pid => self.pid = number(value),
            Field::Transport => self.stdout = value == b"stdout",
        }
    }

    /// Puts it at the end of `batch`, and says whether its message was cut.
    pub(super) fn push(&self, batch: &mut Batch) -> bool {
        let start = batch.buf.len();
        let flags = [(self.pid.is_some(), HAS_PID), (self.stdout, IS_STDOUT)];
        // What has no uid was not written by a process that journald saw.
        let sender = self.uid.map_or(Sender::NOBODY, Sender::Uid);
        let known = batch.senders.iter().position(|other| *other == sender);
        let sender = known.unwrap_or_else(|| {
            batch.senders.push(sender);
            batch.senders.len() - 1
        });
        batch.buf.push(flags.iter().filter(|(is_set, _)| *is_set).fold(0, |sum, (_, flag)| sum | flag));
        batch.buf.extend_from_slice(&self.realtime.to_le_bytes());
        batch.buf.extend_from_slice(&self.pid.unwrap_or_default().to_le_bytes());
        batch.buf.extend_from_slice(&[self.identifier.len() as u8, self.host.len() as u8]); // at most NAME_MAX
        batch.buf.extend_from_slice(&self.identifier);
        batch.buf.extend_from_slice(&self.host);
        batch.buf.extend_from_slice(&self.message);
        let len = (batch.buf.len() - start) as u32; // HEADER + 2 * NAME_MAX + LINE_MAX at most
        batch.frames.push(Frame { start: start as u32, len, sender: sender as u16, truncated: self.truncated }); // a batch has fewer frames
        self.truncated
    }
}

/// The record of a frame that a reader of the journal made. What is none is all message, of nobody.
pub(crate) fn record(batch: &Batch, frame: Frame) -> Record<'_> {
    let bytes = batch.bytes(frame);
    let decoded = decode(bytes).unwrap_or(Decoded { message: bytes, ..Decoded::default() });
    Record {
        source: batch.source,
        sender: batch.sender(frame),
        host: decoded.host,
        received: batch.received,
        event: decoded.realtime,
        identifier: decoded.identifier,
        pid: decoded.pid,
        message: decoded.message,
        truncated: frame.truncated,
        stdout: decoded.stdout,
    }
}

#[derive(Default)]
struct Decoded<'a> {
    realtime: Option<Timestamp>,
    pid: Option<u32>,
    stdout: bool,
    identifier: &'a [u8],
    host: &'a [u8],
    message: &'a [u8],
}

fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let realtime = u64::from(word(1)) | u64::from(word(5)) << 32;
    let (identifier, rest) = rest.split_at_checked(header[13].into())?;
    let (host, message) = rest.split_at_checked(header[14].into())?;
    Some(Decoded {
        realtime: Some(Timestamp(i64::try_from(realtime).unwrap_or(i64::MAX))),
        pid: (header[0] & HAS_PID != 0).then(|| word(9)),
        stdout: header[0] & IS_STDOUT != 0,
        identifier,
        host,
        message,
    })
}

/// A decimal number, all of it.
pub(super) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{Format, Parser};

    fn check(fields: &[(&[u8], &[u8])], want: &str) {
        let mut entry = Entry { realtime: 1_700_000_000_250_000, ..Entry::default() };
        for (name, value) in fields {
            entry.set(Field::of(name).unwrap(), value);
        }
        let mut batch = Batch { received: Timestamp(i64::MAX), ..Batch::default() };
        entry.push(&mut batch);
        let record = Parser::new(Format::Journal, jiff::tz::TimeZone::UTC).record(&batch, batch.frames[0]);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let got = format!(
            "{} {:?} host={} id={} pid={:?} stdout={} cut={} {}",
            record.time(),
            record.sender,
            text(record.host),
            text(record.identifier),
            record.pid,
            record.stdout,
            record.truncated,
            text(record.message),
        );
        assert_eq!(got, want);
    }

    #[test]
    fn carries_a_record() {
        let time = "2023-11-14T22:13:20.25Z";
        check(&[], &format!("{time} Uid(4294967295) host= id= pid=None stdout=false cut=false "));
        check(
            &[
                (b"MESSAGE", b"a\nb\xff\0\n"),
                (b"SYSLOG_IDENTIFIER", b"sshd"),
                (b"_HOSTNAME", b"web1"),
                (b"_UID", b"0"),
                (b"_PID", b"4242"),
                (b"_TRANSPORT", b"stdout"),
            ],
            &format!("{time} Uid(0) host=web1 id=sshd pid=Some(4242) stdout=true cut=false {}", "a\\nb\\xff\\x00\\n"),
        );
        check(
            &[(b"_TRANSPORT", b"syslog"), (b"_UID", b"65534"), (b"MESSAGE", b"one"), (b"MESSAGE", b"two")],
            &format!("{time} Uid(65534) host= id= pid=None stdout=false cut=false one"),
        );
    }

    #[test]
    fn a_uid_that_is_none_is_not_roots() {
        for uid in [b"".as_slice(), b"+0", b"0x0", b" 0", b"4294967296", b"-1"] {
            check(
                &[(b"_UID", uid), (b"_PID", uid)],
                "2023-11-14T22:13:20.25Z Uid(4294967295) host= id= pid=None stdout=false cut=false ",
            );
        }
    }

    #[test]
    fn cuts_what_is_long() {
        let mut entry = Entry::default();
        entry.set(Field::Message, &vec![b'm'; LINE_MAX + 1]);
        entry.set(Field::Host, &[b'h'; 300]);
        entry.set(Field::Identifier, &[b'i'; 300]);
        let mut batch = Batch::default();
        assert!(entry.push(&mut batch));
        let got = record(&batch, batch.frames[0]);
        assert_eq!((got.message.len(), got.host.len(), got.identifier.len()), (LINE_MAX, NAME_MAX, NAME_MAX));
        assert!(got.truncated && got.host.iter().all(|&byte| byte == b'h'));
        entry.clear();
        entry.set(Field::Message, &vec![b'm'; LINE_MAX]);
        assert!(!entry.push(&mut batch));
    }

    #[test]
    fn what_is_no_entry_is_all_message() {
        for bytes in [b"".as_slice(), b"text", &[0xff; HEADER + 3]] {
            let frame = Frame { start: 0, len: bytes.len() as u32, sender: 0, truncated: false };
            let batch = Batch { buf: bytes.to_vec(), ..Batch::default() };
            let got = record(&batch, frame);
            assert_eq!((got.message, got.sender, got.event), (bytes, &Sender::Unknown, None));
        }
    }
}
