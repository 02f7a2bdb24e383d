//! Detect: what a record says was tried. Pure: bytes in, events out; no I/O, no clock, nothing that can fail.
#![deny(clippy::disallowed_methods)]

pub mod address;
pub mod dropbear;
pub mod event;
pub mod rule;
pub mod special;
pub mod sshd;

use event::{Event, Kind};
use inputs::record::Record;
use rule::{Rules, TIMES_MAX};

/// What `record` says, or `None` if it is of a program that we do not know.
///
/// The first thing that looks at a record: other programs' records leave after a comparison of a few bytes.
pub fn detect<'a>(record: &Record<'a>, rules: &'a Rules) -> Option<Event<'a>> {
    let is_sshd = sshd::is_sshd(record.identifier);
    let is_dropbear = !is_sshd && dropbear::is_dropbear(record.identifier);
    let mut event = if is_sshd {
        sshd::parse(without_end(record.message), record.truncated)
    } else if is_dropbear {
        dropbear::parse(without_end(record.message), record.truncated)
    } else if record.stdout && record.identifier.is_empty() {
        // A container's output names no program: what has a shape of sshd's is taken for its own, as forgeable as it is.
        sshd::parse(without_end(record.message), record.truncated).or_else(|| rules.event(record))
    } else {
        rules.event(record)
    };
    if event.is_none() && (is_sshd || is_dropbear) {
        event = Some(unknown(record, rules, is_sshd));
    }
    if record.times != 1
        && let Some(event) = &mut event
    {
        event.times = record.times.saturating_mul(event.times).min(TIMES_MAX);
    }
    event
}

/// A message without what templates, terminals and relays leave behind it: blanks, CR, and CR as rsyslog escapes it.
/// sshd and dropbear end no message of theirs so, but ` ruser ` without a name, whose end tells it from a stranger's.
#[inline]
fn without_end(mut message: &[u8]) -> &[u8] {
    while let Some((last, rest)) = message.split_last() {
        message = match last {
            b' ' if message.ends_with(b" ruser ") => break,
            b' ' | b'\r' => rest,
            b'5' if message.ends_with(b"#015") => &message[..message.len() - 4],
            _ => break,
        };
    }
    message
}

/// What a record of sshd or dropbear is that no shape of theirs fits.
fn unknown<'a>(record: &Record<'a>, rules: &'a Rules, is_sshd: bool) -> Event<'a> {
    if record.identifier.ends_with(b")") {
        // `sshd(pam_google_authenticator)`: a module's own words, beside what sshd says.
        return Event::new(Kind::Note, "sshd.pam");
    }
    let rule = if is_sshd { "sshd.unknown" } else { "dropbear.unknown" };
    rules.event(record).unwrap_or_else(|| Event::new(Kind::Unknown, rule))
}
