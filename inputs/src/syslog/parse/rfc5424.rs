//! RFC 5424's header. It is read by hand: its grammar is short, and `syslog_loose` wants text (hostile user names are
//! raw bytes), trims the message and collects structured data that nobody reads.

use super::stamp::Stamps;
use super::tag::{HOST_MAX, TAG_MAX, nil, number};
use crate::record::Parts;

/// The longest process id of RFC 5424, in bytes.
const PROCID_MAX: usize = 128;

/// What follows `<PRI>1 `: six fields that may be `-`, and the message.
pub(super) fn header<'a>(line: &'a [u8], stamps: &mut Stamps) -> Option<Parts<'a>> {
    let (stamp, rest) = field(line, HOST_MAX)?;
    let event = match stamp {
        b"" => None,
        _ => Some(stamps.rfc3339(stamp).filter(|&(_, len)| len == stamp.len())?.0),
    };
    Some(Parts { event, ..behind_stamp(rest)? })
}

/// The same without priority, version and stamp, as sysklogd has it in its files. The process must be a number or none.
pub(super) fn bare<'a>(line: &'a [u8]) -> Option<Parts<'a>> {
    let header = behind_stamp(line)?;
    let pid = line.split(|byte| *byte == b' ').nth(2)?;
    (header.pid.is_some() || pid == b"-").then_some(header)
}

fn behind_stamp(rest: &[u8]) -> Option<Parts<'_>> {
    let (host, rest) = field(rest, HOST_MAX)?;
    let (identifier, rest) = field(rest, TAG_MAX)?;
    let (pid, rest) = field(rest, PROCID_MAX)?;
    let (_, rest) = field(rest, TAG_MAX)?;
    let rest = after_structured_data(rest)?;
    // rsyslog's template puts a blank before a message that begins with one already.
    let message = rest.strip_prefix(b" ").map_or(rest, |rest| rest.strip_prefix(b" ").unwrap_or(rest));
    Some(Parts { host, identifier, pid: number(pid), message, ..Parts::default() })
}

/// A field of an RFC 5424 header, empty where it is `-`, and what follows its blank.
fn field(text: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', &text[..text.len().min(max + 1)]).filter(|&end| end > 0)?;
    Some((nil(&text[..end]), &text[end + 1..]))
}

/// What follows `-` or `[id name="value"]…`, with its blank. In a value a backslash keeps the next `"`, `\` or
/// `]` from its meaning.
fn after_structured_data(text: &[u8]) -> Option<&[u8]> {
    let mut rest = match text.strip_prefix(b"-") {
        Some(rest) => rest,
        None => after_element(text)?,
    };
    while text[0] == b'[' && rest.first() == Some(&b'[') {
        rest = after_element(rest)?;
    }
    matches!(rest.first(), None | Some(b' ')).then_some(rest)
}

/// What follows one `[id name="value"]`.
fn after_element(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.strip_prefix(b"[")?.iter();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next()?;
            }
            b']' if !quoted => return Some(bytes.as_slice()),
            _ => {}
        }
    }
    None
}
