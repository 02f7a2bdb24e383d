//! Detect: what a record says was tried. Pure: bytes in, events out; no I/O, no clock, nothing that can fail.
#![deny(clippy::disallowed_methods)]

pub mod address;
pub mod dropbear;
pub mod event;
pub mod rule;
pub mod special;
pub mod sshd;
mod wrapped;

use event::{Event, Kind};
use inputs::record::Record;
use rule::{Rules, TIMES_MAX};

/// What `record` says, or `None` if it is of a program that we do not know.
///
/// The first thing that looks at a record: other programs' records leave after a comparison of a few bytes.
#[inline(always)]
pub fn detect<'a>(record: &Record<'a>, rules: &'a Rules) -> Option<Event<'a>> {
    let (is_sshd, is_dropbear) = (sshd::is_sshd(record.identifier), dropbear::is_dropbear(record.identifier));
    let is_known = is_sshd || is_dropbear || record.stdout || rules.are_asked(record);
    if is_known { detect_of(record, rules, is_sshd, is_dropbear) } else { None }
}

/// By what somebody logged in, in words of our own, where a line of sshd or dropbear tells of that.
pub fn login_method(message: &[u8]) -> Option<&'static str> {
    const METHODS: [(&[u8], &str); 10] = [
        (b"Accepted password for ", "a password"),
        (b"Accepted keyboard-interactive", "answers to prompts, such as a password"),
        (b"Accepted publickey for ", "a key"),
        (b"Accepted hostbased for ", "the key of a host"),
        (b"Accepted gssapi-", "a ticket (GSSAPI)"),
        (b"Accepted none for ", "no password at all"),
        (b"Password auth succeeded for ", "a password"),
        (b"PAM password auth succeeded for ", "a password"),
        (b"Pubkey auth succeeded for ", "a key"),
        (b"Auth succeeded with blank password for ", "no password at all"),
    ];
    METHODS.iter().find(|(start, _)| message.starts_with(start)).map(|(_, method)| *method)
}

fn detect_of<'a>(record: &Record<'a>, rules: &'a Rules, is_sshd: bool, is_dropbear: bool) -> Option<Event<'a>> {
    let cut;
    let record = if may_be_cut(record) {
        cut = Record { truncated: true, ..*record };
        &cut
    } else {
        record
    };
    let mut event = if is_sshd {
        sshd::parse(without_end(record.message), record.truncated).map(|event| by_module(record, rules, event))
    } else if is_dropbear {
        dropbear::parse(without_end(record.message), record.truncated)
    } else if record.stdout && record.identifier.is_empty() {
        // A container's output names no program: what has a shape of sshd's is taken for its own,
        // as forgeable as it is.
        let message = without_end(record.message);
        sshd::parse(message, record.truncated)
            .or_else(|| dropbear::parse_stamped(message, record.truncated))
            .or_else(|| rules.event(record))
    } else {
        rules.event(record)
    };
    if event.is_none() && (is_sshd || is_dropbear) {
        event = Some(again(record, is_sshd).unwrap_or_else(|| unknown(record, rules, is_sshd)));
    }
    if record.times != 1
        && let Some(event) = &mut event
    {
        event.times = record.times.saturating_mul(event.times).min(TIMES_MAX);
    }
    event
}

/// What BusyBox's syslogd reads of a message as routers have it, `<38>Nov 21 23:26:32 TAG[PID]: MESSAGE`. The next that
/// it can be told is 511, and what is as long sshd's grammar does not believe to be whole.
const BUSYBOX_MAX: usize = 255;

/// Whether a relay may have cut the message: a stranger whose name ends there has the last word of it.
#[inline]
fn may_be_cut(record: &Record<'_>) -> bool {
    // `<38>` or `<166>`, and the stamp.
    const BEFORE_TAG: [usize; 2] = [4 + 16, 5 + 16];
    let behind_tag = record.message.len() + 2;
    if !(BUSYBOX_MAX / 2..=BUSYBOX_MAX).contains(&behind_tag) {
        return false;
    }
    let pid = record.pid.map_or(0, |pid| 3 + pid.checked_ilog10().unwrap_or(0) as usize);
    BEFORE_TAG.iter().any(|before| before + record.identifier.len() + pid + behind_tag == BUSYBOX_MAX)
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

/// What a record of sshd or dropbear says, if a shape fits what was left before its message on the way taken off.
#[cold]
fn again<'a>(record: &Record<'a>, is_sshd: bool) -> Option<Event<'a>> {
    let message = without_end(wrapped::inner(record)?);
    if is_sshd { sshd::parse(message, record.truncated) } else { dropbear::parse(message, record.truncated) }
}

/// What a record of sshd says. Of what a module of PAM says in its own words the grammar knows nothing but that, so rules are asked
/// of it, too: a pattern for `pam_afs` is among those that DenyHosts' FAQ promises.
#[inline]
fn by_module<'a>(record: &Record<'a>, rules: &'a Rules, event: Event<'a>) -> Event<'a> {
    match event.kind == Kind::Note && event.rule == "sshd.note" && record.message.starts_with(b"pam_") {
        true => rules.event(record).unwrap_or(event),
        false => event,
    }
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

#[cfg(test)]
mod tests {
    use super::login_method;

    #[test]
    fn a_login_is_told_with_its_method() {
        let check = |message: &str, want: Option<&str>| assert_eq!(login_method(message.as_bytes()), want, "{message}");
        check("Accepted publickey for al from 192.0.2.7 port 22 ssh2: ED25519 SHA256:x", Some("a key"));
        check("Accepted password for al from 192.0.2.7 port 22 ssh2", Some("a password"));
        let prompts = "answers to prompts, such as a password";
        check("Accepted keyboard-interactive/pam for al from 192.0.2.7 port 22 ssh2", Some(prompts));
        check("Accepted gssapi-with-mic for al from 192.0.2.7 port 22 ssh2", Some("a ticket (GSSAPI)"));
        check("Pubkey auth succeeded for 'al' with key md5 aa:bb from 192.0.2.7:22", Some("a key"));
        check("Accepted certificate ID \"Accepted password for al\"", None);
        check("Failed password for Accepted password for al", None);
    }
}
