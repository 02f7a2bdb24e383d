//! What a syslog daemon says of the line before: `last message repeated 3 times`.
//!
//! BSD's syslogds and metalog write such a line in place of repeats, about the line directly before it in the same
//! file. So that line, and no other, counts as often again; it is forgotten over a restart. rsyslog's `message repeated 3 times: [ … ]` holds its
//! message itself: see `detect::sshd`.

use inputs::record::{Record, Sender};

/// The most that one such line counts.
const REPEATED_MAX: u32 = 1_000;
/// The longest message that is remembered, in bytes: no message of sshd's is longer.
const MESSAGE_MAX: usize = 2_048;

/// The last line of a source, if it was one that can count.
#[derive(Debug, Default)]
pub(super) struct Last {
    is_set: bool,
    sender: Sender,
    pid: Option<u32>,
    host: Vec<u8>,
    identifier: Vec<u8>,
    message: Vec<u8>,
}

impl Last {
    /// Remembers a line.
    pub(super) fn set(&mut self, record: &Record<'_>) {
        self.is_set = record.message.len() <= MESSAGE_MAX && !record.truncated;
        if self.is_set {
            (self.sender, self.pid) = (record.sender.clone(), record.pid);
            for (ours, theirs) in [
                (&mut self.host, record.host),
                (&mut self.identifier, record.identifier),
                (&mut self.message, record.message),
            ] {
                ours.clear();
                ours.extend_from_slice(theirs);
            }
        }
    }

    /// Forgets it: another line came.
    pub(super) fn clear(&mut self) {
        self.is_set = false;
    }

    /// The record that `record` repeats, if that is what it says, and how often: the same, at `record`'s own time.
    ///
    /// It must come from where the line came from, and name no other host or program; and no program's own output is a
    /// syslog daemon's.
    pub(super) fn repeated_by<'a>(&'a self, record: &Record<'a>) -> Option<(Record<'a>, u32)> {
        if !self.is_set || record.stdout || self.sender != *record.sender {
            return None;
        }
        let times = repeats(record.message)?;
        let is_ours = |ours: &[u8], theirs: &[u8]| theirs.is_empty() || ours == theirs;
        if !is_ours(&self.host, record.host) || !is_ours(&self.identifier, record.identifier) {
            return None;
        }
        let again = Record {
            host: &self.host,
            identifier: &self.identifier,
            pid: self.pid,
            message: &self.message,
            truncated: false,
            ..*record
        };
        Some((again, times))
    }
}

/// How often: `last message repeated 3 times` (BSD; with dashes on either side: macOS), `Last output repeated twice`
/// (metalog, with blanks before and dashes on either side). The whole message, or it is somebody's text.
fn repeats(message: &[u8]) -> Option<u32> {
    let text = dashes(message);
    let rest = text.strip_prefix(b"last message repeated ").or_else(|| text.strip_prefix(b"Last output repeated "))?;
    let times = match rest {
        b"once" => 1,
        b"twice" => 2,
        _ => {
            let digits = rest.strip_suffix(b" times").or_else(|| rest.strip_suffix(b" time"))?;
            let is_number = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?
        }
    };
    (times > 0).then_some(times.min(REPEATED_MAX))
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
        let record = |message, stdout| Record {
            source: inputs::record::SourceId(0),
            sender: &Sender::Uid(0),
            host: b"b",
            received: inputs::record::Timestamp(0),
            event: None,
            identifier: b"sshd",
            pid: None,
            message,
            truncated: false,
            stdout,
        };
        let mut last = Last::default();
        last.set(&record(b"Failed password for root from 192.0.2.7 port 22 ssh2", false));
        let times =
            |stdout| last.repeated_by(&record(b"last message repeated 3 times", stdout)).map(|(_, times)| times);
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
