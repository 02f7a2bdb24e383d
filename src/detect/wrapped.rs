//! What relays and templates leave between a service's tag and its message. It is looked for only where no shape fits: a
//! stranger's text never begins a message, so what begins so was put there on the way.
//!
//! | beginning | who writes it |
//! |---|---|
//! | a second blank, a tab | rsyslog's template `%syslogtag% %msg%`: its `%msg%` begins with a blank |
//! | `sshd[1]: ` again | templates that write the tag before a line that has it |
//! | `Nov 29 14:00:00 sshd[1]: `, with a host before the tag or none | relays that take a whole line for a message |
//!
//! The second tag must be the record's own, with its process where it has one. So nothing becomes another program's.

use inputs::record::Record;

use super::address::number;

/// The longest stamp or host, in bytes.
const WORD_MAX: usize = 255;

/// The message without them; `None` = there is nothing of the kind.
#[cold]
pub(super) fn inner<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let text = without_blanks(record.message);
    let inner = behind_tag(record, text).or_else(|| {
        let line = behind_stamp(text)?;
        behind_tag(record, line).or_else(|| behind_tag(record, behind_word(line)?.1))
    });
    let inner = inner.unwrap_or(text);
    (inner.len() < record.message.len()).then_some(inner)
}

/// What stands behind the record's own tag and its blanks.
fn behind_tag<'a>(record: &Record<'_>, text: &'a [u8]) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(record.identifier).filter(|_| !record.identifier.is_empty())?;
    let rest = match record.pid {
        Some(pid) => {
            let rest = rest.strip_prefix(b"[")?;
            let digits = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
            rest[digits..].strip_prefix(b"]").filter(|_| number(&rest[..digits]) == Some(pid))?
        }
        None => rest,
    };
    let rest = rest.strip_prefix(b":")?;
    let inner = without_blanks(rest);
    (inner.len() < rest.len()).then_some(inner)
}

/// What stands behind `Nov 29 14:00:00 ` or `2026-11-29T14:00:00.5+00:00 `, which no calendar is asked about.
fn behind_stamp(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = behind_date(text) {
        return Some(rest);
    }
    let (word, rest) = behind_word(text)?;
    let is_stamp =
        matches!(word, [b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _, ..])
            && word.iter().all(|byte| byte.is_ascii_digit() || b"-+:.TZ".contains(byte));
    is_stamp.then_some(rest)
}

/// What stands behind `Mon dd hh:mm:ss `.
pub(super) fn behind_date(text: &[u8]) -> Option<&[u8]> {
    let (stamp, rest) = text.split_at_checked(16)?;
    let is_one = matches!(stamp, [b'A'..=b'Z', _, _, b' ', _, _, b' ', _, _, b':', _, _, b':', _, _, b' ']);
    is_one.then_some(rest)
}

/// A word, and what stands behind it and its blank.
fn behind_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', &text[..text.len().min(WORD_MAX + 1)])?;
    Some((&text[..end], &text[end + 1..]))
}

fn without_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: &str, message: &str, want: Option<&str>) {
        let (name, pid) = tag.split_once('[').unwrap_or((tag, ""));
        let pid = pid.strip_suffix(']').map(|pid| pid.parse().unwrap());
        let record = Record { pid, ..Record::of(name.as_bytes(), message.as_bytes()) };
        assert_eq!(inner(&record).map(|inner| str::from_utf8(inner).unwrap()), want, "{tag}: {message}");
    }

    #[test]
    fn takes_off_what_is_the_records_own() {
        let sshd = |message: &str| check("sshd[7]", message, Some("Failed x"));
        sshd(" Failed x");
        sshd("\tFailed x");
        sshd(" \t Failed x");
        sshd("sshd[7]: Failed x");
        sshd("sshd[7]:\tFailed x");
        sshd(" sshd[7]:  Failed x");
        sshd("Nov 29 14:00:00 sshd[7]: Failed x");
        sshd("Nov  1 14:00:00 web1 sshd[7]: Failed x");
        sshd("2026-11-29T14:00:00Z sshd[7]: Failed x");
        sshd("2026-11-29T14:00:00.5+01:00 web1 sshd[7]: Failed x");
        check("sshd", "sshd: Failed x", Some("Failed x"));
        check("sshd-session[7]", "sshd-session[7]: Failed x", Some("Failed x"));
        check("sshd[7]", " ", Some(""));
    }

    #[test]
    fn leaves_all_else() {
        let none = |message: &str| check("sshd[7]", message, None);
        none("Failed x");
        none("");
        none("sshd: Failed x");
        none("sshd[8]: Failed x");
        none("sshd[07: Failed x");
        none("sshd[7] Failed x");
        none("sshd[7]:Failed x");
        none("sshd[7]");
        none("sshd-session[7]: Failed x");
        none("User sshd[7]: Failed x");
        none("web1 sshd[7]: Failed x");
        none("Nov 29 14:00:00 Failed x");
        none("Nov 29 14:00:00 login of sshd[7]: Failed x");
        none("Nov 29 14:00 sshd[7]: Failed x");
        none("2026-11-29T14:00:00root sshd[7]: Failed x");
        none("2026-11-29 sshd[7]: Failed x");
        check("sshd", "sshd[7]: Failed x", None);
        check("", ": Failed x", None);
        check("sshd[7]", " User sshd[7]: Failed x", Some("User sshd[7]: Failed x"));
        // Once is enough.
        check("sshd[7]", "sshd[7]: sshd[7]: Failed x", Some("sshd[7]: Failed x"));
    }
}
