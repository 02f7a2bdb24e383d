//! Detect: what a record says was tried. Pure: bytes in, events out; no I/O, no clock, nothing that can fail.
#![deny(clippy::disallowed_methods)]

pub mod address;
pub mod dropbear;
pub mod event;
pub mod rule;
pub mod sshd;

use event::{Event, Kind};
use inputs::record::Record;
use rule::{Rules, TIMES_MAX};

/// What `record` says, or `None` if it is of a program that we do not know.
///
/// The first thing that looks at a record: other programs' records leave after a comparison of a few bytes.
pub fn detect<'a>(record: &Record<'a>, rules: &'a Rules) -> Option<Event<'a>> {
    let mut event = told(record, rules);
    if record.times != 1
        && let Some(event) = &mut event
    {
        event.times = record.times.saturating_mul(event.times).min(TIMES_MAX);
    }
    event
}

#[inline(always)]
fn told<'a>(record: &Record<'a>, rules: &'a Rules) -> Option<Event<'a>> {
    let event = if sshd::is_sshd(record.identifier) {
        sshd::parse(record.message, record.truncated)
    } else if dropbear::is_dropbear(record.identifier) {
        dropbear::parse_message(record.message, record.truncated)
    } else {
        return rules.event(record);
    };
    if event.kind != Kind::Unknown {
        return Some(event);
    }
    if record.identifier.ends_with(b")") {
        // `sshd(pam_google_authenticator)`: a module's own words, beside what sshd says.
        return Some(Event::new(Kind::Note, "sshd.pam"));
    }
    Some(rules.event(record).unwrap_or(event))
}
