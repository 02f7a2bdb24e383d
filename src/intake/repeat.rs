//! What a syslog daemon says of the line before: `last message repeated 3 times`.
//!
//! BSD's syslogds and metalog write such a line in place of repeats, about the line directly before it in the same
//! file; so does syslog-ng where it is told to. So that line, and no other, counts as often again; it is forgotten over a
//! restart. rsyslog's `message repeated 3 times: [ … ]` holds its message itself: see `detect::sshd`.

use inputs::record::{Record, Sender, SourceId};

/// The most that one such line counts.
const REPEATED_MAX: u32 = 1_000;
/// Bytes of the last message that syslog-ng repeats.
const QUOTED: usize = 20;
/// The longest message that is remembered, in bytes: no message of sshd's is longer.
const MESSAGE_MAX: usize = 2_048;

/// A line that another one may say to have been repeated, kept from one batch to the next.
#[derive(Debug)]
pub(super) struct Last {
    source: SourceId,
    sender: Sender,
    pid: Option<u32>,
    host: Vec<u8>,
    identifier: Vec<u8>,
    message: Vec<u8>,
}

impl Last {
    /// Keeps it.
    pub(super) fn keep(record: &Record<'_>) -> Self {
        Last {
            source: record.source,
            sender: record.sender.clone(),
            pid: record.pid,
            host: record.host.into(),
            identifier: record.identifier.into(),
            message: record.message.into(),
        }
    }

    /// What was kept, without its time.
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            source: self.source,
            sender: &self.sender,
            host: &self.host,
            pid: self.pid,
            ..Record::of(&self.identifier, &self.message)
        }
    }
}

/// Whether a line can be spoken of by the one behind it.
pub(super) fn can_repeat(record: &Record<'_>) -> bool {
    record.message.len() <= MESSAGE_MAX && !record.truncated
}

/// The record that `record` repeats, if that is what it says of the last line, and how often: the same, at `record`'s own
/// time.
///
/// It must come from where that line came from, and name no other host or program, but that FreeBSD's (since 12) is
/// `syslogd`; and no program's own output is a syslog daemon's.
pub(super) fn repeated<'a>(last: &Record<'a>, record: &Record<'a>) -> Option<(Record<'a>, u32)> {
    let times = repeats(record.message).or_else(|| suppressed(record.message, last.message))?;
    let is_its = |its: &[u8], theirs: &[u8]| theirs.is_empty() || its == theirs;
    let is_another = record.stdout
        || last.sender != record.sender
        || !is_its(last.host, record.host)
        || !(is_its(last.identifier, record.identifier) || record.identifier == b"syslogd");
    let again = Record {
        host: last.host,
        identifier: last.identifier,
        pid: last.pid,
        message: last.message,
        truncated: false,
        ..*record
    };
    (!is_another).then_some((again, times))
}

/// How often: `last message repeated 3 times` (BSD; with dashes on either side: macOS), `Last output repeated twice`
/// (metalog, with blanks before and dashes on either side). The whole message, or it is somebody's text.
fn repeats(message: &[u8]) -> Option<u32> {
    // Hardly a message begins so.
    if !message.first().is_some_and(|byte| matches!(byte, b'l' | b'L' | b'-') || byte.is_ascii_whitespace()) {
        return None;
    }
    let text = dashes(message);
    let rest = text.strip_prefix(b"last message repeated ").or_else(|| text.strip_prefix(b"Last output repeated "))?;
    let times = match rest {
        b"once" => 1,
        b"twice" => 2,
        _ => number(rest.strip_suffix(b" times").or_else(|| rest.strip_suffix(b" time"))?)?,
    };
    (times > 0).then_some(times.min(REPEATED_MAX))
}

/// How often: `Last message 'Failed password for ' repeated 3 times, suppressed by syslog-ng on HOST`, which has the first
/// bytes of the message (syslog-ng's `suppress()`).
fn suppressed(message: &[u8], last: &[u8]) -> Option<u32> {
    let quoted = &last[..last.len().min(QUOTED)];
    let rest = message.strip_prefix(b"Last message '")?.strip_prefix(quoted)?.strip_prefix(b"' repeated ")?;
    let end = memchr::memmem::find(rest, b" times, suppressed by syslog-ng on ")?;
    number(&rest[..end]).filter(|times| *times > 0).map(|times| times.min(REPEATED_MAX))
}

/// One to nine digits.
fn number(digits: &[u8]) -> Option<u32> {
    let is_number = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// The text without the blanks and dashes around it.
fn dashes(message: &[u8]) -> &[u8] {
    let text = message.trim_ascii();
    for dashes in [&b"---"[..], b"-"] {
        if let Some(rest) = text.strip_prefix(dashes).and_then(|rest| rest.strip_prefix(b" ")) {
            return rest.strip_suffix(dashes).and_then(|rest| rest.strip_suffix(b" ")).unwrap_or(rest);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_own_output_repeats_nothing() {
        let record =
            |message, stdout| Record { sender: &Sender::Uid(0), host: b"b", stdout, ..Record::of(b"sshd", message) };
        let last = record(b"Failed password for root from 192.0.2.7 port 22 ssh2", false);
        let times = |stdout| repeated(&last, &record(b"last message repeated 3 times", stdout)).map(|(_, times)| times);
        assert_eq!((times(false), times(true)), (Some(3), None));
    }

    #[test]
    fn reads_what_daemons_write() {
        let check = |message: &str, want: Option<u32>| assert_eq!(repeats(message.as_bytes()), want, "{message:?}");
        check("last message repeated 3 times", Some(3));
        check("last message repeated 1 time", Some(1));
        check("--- last message repeated 1 time ---", Some(1));
        check("                - Last output repeated twice -", Some(2));
        check("- Last output repeated 17 times -", Some(17));
        check("Last output repeated 3 times", Some(3));
        check("last message repeated 999999999 times", Some(REPEATED_MAX));
        check("last message repeated 0 times", None);
        check("last message repeated 9999999999 times", None);
        check("last message repeated -1 times", None);
        check("last message repeated +1 times", None);
        check("last message repeated times", None);
        check("last message repeated 3 times: x", None);
        check("x last message repeated 3 times", None);
        check("Last Message repeated 3 times", None);
        check("message repeated 3 times: [ x]", None);
        check("", None);
        check("-", None);
        check("- -", None);
    }
}
