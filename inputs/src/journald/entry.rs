//! What of an entry of the journal is a record: eight of its fields.
//!
//! All readers fill an [`Entry`] and push it into a batch. Who sent it is
//! `_UID`, which journald has from the kernel; `_PID` likewise. `SYSLOG_IDENTIFIER` and `MESSAGE` are what the sender
//! says. `_EXE` and `_SYSTEMD_UNIT` are not carried: they are missing of processes that ended at once, so nothing may
//! depend on them. `_COMM` only tells the engines of containers, which stay: what docker's `journald` driver or podman's
//! conmon sends to the journal's own socket is what a program in a container printed, and `SYSLOG_IDENTIFIER` the
//! container's id, name, or any word that its `tag` says. So it names no program. The time is `__REALTIME_TIMESTAMP`, when
//! journald had it: every entry has it, it is what cursors and `journalctl --since` mean, and no sender chooses it.
//! `_SOURCE_REALTIME_TIMESTAMP` is earlier by microseconds, or by hours if a suspended machine lies between.

use crate::record::{Batch, LINE_MAX, Parts, Sender, Timestamp, is_container_id};

/// The longest identifier and host that are kept, in bytes; what is longer is cut.
const NAME_MAX: usize = 255;

/// A field that a record is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Message,
    Identifier,
    Host,
    Uid,
    Pid,
    Transport,
    Command,
}

impl Field {
    /// How many there are.
    pub(super) const COUNT: u32 = 7;

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
            b"_COMM" => Some(Field::Command),
            _ => None,
        }
    }

    /// The field that `NAME=value` is of, and where its value begins.
    pub(super) fn leading(text: &[u8]) -> Option<(Self, usize)> {
        let end = memchr::memchr(b'=', &text[..text.len().min(Self::NAME_MAX + 1)])?;
        Some((Field::of(&text[..end])?, end + 1))
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
    /// By the journal's own socket.
    native: bool,
    /// By an engine of containers.
    by_engine: bool,
    identifier: Vec<u8>,
    host: Vec<u8>,
    message: Vec<u8>,
    truncated: bool,
}

impl Entry {
    pub(super) fn clear(&mut self) {
        (self.realtime, self.seen, self.uid, self.pid) = (0, 0, None, None);
        (self.stdout, self.native, self.by_engine, self.truncated) = (false, false, false, false);
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
            Field::Transport => (self.stdout, self.native) = (value == b"stdout", value == b"journal"),
            Field::Command => self.by_engine = matches!(value, b"dockerd" | b"conmon"),
        }
    }

    /// Puts it at the end of `batch`.
    pub(super) fn push(&self, batch: &mut Batch) {
        // What has no uid was not written by a process that journald saw.
        let sender = batch.number(&self.uid.map_or(Sender::NOBODY, Sender::Uid));
        let is_container = self.native && self.by_engine || is_container_id(&self.identifier);
        let (identifier, pid) = if is_container { (&b""[..], None) } else { (&self.identifier[..], self.pid) };
        let parts = Parts {
            event: Some(Timestamp(i64::try_from(self.realtime).unwrap_or(i64::MAX))),
            labelled: false,
            host: &self.host,
            identifier,
            pid,
            message: &self.message,
            stdout: self.stdout || is_container,
            is_framed: false,
            is_piece: false,
        };
        batch.add_parts(&parts, sender, self.truncated);
    }
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
    use crate::record::SourceId;

    fn check(fields: &[(&[u8], &[u8])], want: &str) {
        let mut entry = Entry { realtime: 1_700_000_000_250_000, ..Entry::default() };
        for (name, value) in fields {
            entry.set(Field::of(name).unwrap(), value);
        }
        let mut batch = Batch::new(SourceId(0), Timestamp(i64::MAX));
        entry.push(&mut batch);
        let record = batch.record(0);
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

    /// By docker's `journald` driver, where nothing else says so: the process is dockerd.
    #[test]
    fn a_containers_id_is_no_program() {
        let of = |tag: &'static [u8], want: &str| {
            let told: [(&[u8], &[u8]); 5] = [
                (b"_TRANSPORT", b"journal"),
                (b"_UID", b"0"),
                (b"_PID", b"812"),
                (b"SYSLOG_IDENTIFIER", tag),
                (b"MESSAGE", b"x"),
            ];
            check(&told, &format!("2023-11-14T22:13:20.25Z Uid(0) host= {want} cut=false x"));
        };
        of(b"4f1c0a2b3c4d", "id= pid=None stdout=true");
        of(b"sshd", "id=sshd pid=Some(812) stdout=false");
        of(b"4f1c0a2b3c4", "id=4f1c0a2b3c4 pid=Some(812) stdout=false");
        of(b"4F1C0A2B3C4D", "id=4F1C0A2B3C4D pid=Some(812) stdout=false");
        of(b"docker/sshbox", "id= pid=None stdout=true");
        of(b"registry/sshbox/4f1c0a2b3c4d", "id= pid=None stdout=true");
        of(b"x4f1c0a2b3c4d", "id=x4f1c0a2b3c4d pid=Some(812) stdout=false");
    }

    #[test]
    fn what_an_engine_of_containers_hands_on_names_no_program() {
        let of = |command: &'static [u8], transport: &'static [u8], tag: &'static [u8], want: &str| {
            let told: [(&[u8], &[u8]); 6] = [
                (b"SYSLOG_IDENTIFIER", tag),
                (b"_COMM", command),
                (b"_UID", b"0"),
                (b"_PID", b"812"),
                (b"_TRANSPORT", transport),
                (b"MESSAGE", b"x"),
            ];
            check(&told, &format!("2023-11-14T22:13:20.25Z Uid(0) host= {want} cut=false x"));
        };
        let printed = "id= pid=None stdout=true";
        of(b"dockerd", b"journal", b"sshbox", printed);
        of(b"dockerd", b"journal", b"sshd", printed);
        of(b"conmon", b"journal", b"sshbox", printed);
        // Its own words, and others'.
        of(b"dockerd", b"stdout", b"dockerd", "id=dockerd pid=Some(812) stdout=true");
        of(b"conmon", b"syslog", b"conmon", "id=conmon pid=Some(812) stdout=false");
        of(b"sshd", b"journal", b"sshd", "id=sshd pid=Some(812) stdout=false");
        of(b"sshd", b"syslog", b"sshd", "id=sshd pid=Some(812) stdout=false");
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
        entry.push(&mut batch);
        let got = batch.record(0);
        assert_eq!((got.message.len(), got.host.len(), got.identifier.len()), (LINE_MAX, NAME_MAX, NAME_MAX));
        assert!(got.truncated && got.host.iter().all(|&byte| byte == b'h'));
        entry.clear();
        entry.set(Field::Message, &vec![b'm'; LINE_MAX]);
        entry.push(&mut batch);
        assert!(!batch.record(1).truncated);
    }
}
