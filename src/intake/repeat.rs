//! What syslog daemons put around a message, and what they write in place of one, for every service alike.
//!
//! Solaris puts a number before each message. rsyslog folds repeats into `message repeated 3 times: [ … ]`. BSD's syslogds
//! and metalog write `last message repeated 3 times` about the line directly before it in the same file; so does
//! syslog-ng where it is told to. So that line, and no other, counts as often again; it is forgotten over a restart.

use inputs::record::{Record, Sender, SourceId};

use crate::detect::address::number;
use crate::detect::rule::TIMES_MAX;

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

/// Whether a line can be spoken of by the one behind it. A program's own output is no syslog daemon's, whose word would
/// make it sound.
pub(super) fn can_repeat(record: &Record<'_>) -> bool {
    record.message.len() <= MESSAGE_MAX && !record.truncated && !record.stdout
}

/// A record without what a daemon put around its message; `None` = there is nothing.
#[inline(always)]
pub(super) fn unwrapped<'a>(record: &Record<'a>) -> Option<Record<'a>> {
    // Hardly a message begins so.
    if matches!(record.message.first(), Some(b'[' | b'm' | b' ' | b'\t')) { unwrapped_indeed(record) } else { None }
}

fn unwrapped_indeed<'a>(record: &Record<'a>) -> Option<Record<'a>> {
    // A template may leave blanks there: see `detect::wrapped`.
    let blanks = record.message.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let begun = &record.message[blanks..];
    let message = without_solaris_id(begun);
    let (times, message) = match folded(message) {
        // The end of what was cut is not the bracket.
        Some((times, inner)) if !record.truncated => (times, without_solaris_id(inner)),
        _ => (1, message),
    };
    (message.len() < begun.len()).then_some(Record { times, message, ..*record })
}

/// Reads rsyslog's account of repeats (`$RepeatedMsgReduction`): `message repeated 3 times: [ Failed …]`. No message of a
/// service begins so: text of a user never stands first.
fn folded(message: &[u8]) -> Option<(u32, &[u8])> {
    let rest = message.strip_prefix(b"message repeated ")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let times = number(&rest[..digits])?;
    let inner = rest[digits..].strip_prefix(b" times: [")?.strip_suffix(b"]")?;
    Some((times.clamp(1, TIMES_MAX), inner.strip_prefix(b" ").unwrap_or(inner)))
}

/// The message behind `[ID 800047 auth.info] `: its number, facility and level.
fn without_solaris_id(message: &[u8]) -> &[u8] {
    let id = |text: &'_ [u8]| text.iter().all(|byte| byte.is_ascii_alphanumeric() || b". ".contains(byte));
    let inner = message.strip_prefix(b"[ID ").and_then(|rest| {
        let end = memchr::memmem::find(&rest[..rest.len().min(40)], b"] ")?;
        id(&rest[..end]).then_some(&rest[end + 2..])
    });
    inner.unwrap_or(message)
}

/// The last record once more, as often as `record` says of it: the same, at `record`'s own time. `None` if it says no
/// such thing.
///
/// It must come from where that line came from, and name no other host or program, but that FreeBSD's (since 12) is
/// `syslogd`; and no program's own output is a syslog daemon's.
pub(super) fn again<'a>(last: &Record<'a>, record: &Record<'a>) -> Option<Record<'a>> {
    let times = repeats(record.message).or_else(|| suppressed(record.message, last.message))?;
    let is_its = |its: &[u8], theirs: &[u8]| theirs.is_empty() || its == theirs;
    let is_another = record.stdout
        || last.sender != record.sender
        || !is_its(last.host, record.host)
        || !(is_its(last.identifier, record.identifier) || record.identifier == b"syslogd");
    let message = unwrapped(last).map_or(last.message, |last| last.message);
    let (host, identifier, pid) = (last.host, last.identifier, last.pid);
    (!is_another).then_some(Record { host, identifier, pid, message, times, truncated: false, ..*record })
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
    (times > 0).then_some(times.min(TIMES_MAX))
}

/// How often: `Last message 'Failed password for ' repeated 3 times, suppressed by syslog-ng on HOST`, which has the first
/// bytes of the message (syslog-ng's `suppress()`).
fn suppressed(message: &[u8], last: &[u8]) -> Option<u32> {
    let quoted = &last[..last.len().min(QUOTED)];
    let rest = message.strip_prefix(b"Last message '")?.strip_prefix(quoted)?.strip_prefix(b"' repeated ")?;
    let end = memchr::memmem::find(rest, b" times, suppressed by syslog-ng on ")?;
    number(&rest[..end]).filter(|times| *times > 0).map(|times| times.min(TIMES_MAX))
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
        let times = |stdout| again(&last, &record(b"last message repeated 3 times", stdout)).map(|again| again.times);
        assert_eq!((times(false), times(true)), (Some(3), None));
        let of_program = record(b"Failed password for root from 192.0.2.7 port 22 ssh2", true);
        assert_eq!((can_repeat(&last), can_repeat(&of_program)), (true, false));
    }

    #[test]
    fn unwraps_what_daemons_put_around_a_message() {
        let check = |message: &str, want: Option<(u32, &str)>| {
            let record = Record::of(b"x", message.as_bytes());
            let got = unwrapped(&record).map(|inner| (inner.times, str::from_utf8(inner.message).unwrap()));
            assert_eq!(got, want, "{message}");
        };
        check("[ID 800047 auth.info] Failed x", Some((1, "Failed x")));
        check(" [ID 800047 auth.info] Failed x", Some((1, "Failed x")));
        check("\t message repeated 2 times: [ Failed x]", Some((2, "Failed x")));
        check("  Failed x", None);
        check(" ", None);
        check("message repeated 2 times: [ Failed x]", Some((2, "Failed x")));
        check("message repeated 2 times: [Failed x]", Some((2, "Failed x")));
        check("message repeated 0 times: [ x]", Some((1, "x")));
        check("message repeated 4000000000 times: [ x]", Some((TIMES_MAX, "x")));
        check("[ID 800047 auth.info] message repeated 2 times: [ [ID 800047 auth.crit] x]", Some((2, "x")));
        check(
            "message repeated 2 times: [ message repeated 3 times: [ x]]",
            Some((2, "message repeated 3 times: [ x]")),
        );
        for text in
            ["", "[", "[ID", "[ID 8 x", "[ID 8 (x)] y", "message repeated 2 times: x", "message repeated 2 times: [ x"]
        {
            check(text, None);
        }
        for text in
            ["message repeated times: [ x]", "message repeated -2 times: [ x]", "Message repeated 2 times: [ x]"]
        {
            check(text, None);
        }
        let cut = Record { truncated: true, ..Record::of(b"x", b"message repeated 2 times: [ x]") };
        assert!(unwrapped(&cut).is_none(), "its end is not the daemon's");
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
        check("last message repeated 999999999 times", Some(TIMES_MAX));
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
