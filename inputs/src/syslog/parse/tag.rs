//! The host and the program's name with its process id, which stand behind a stamp and before the message.

use crate::record::Parts;

/// The longest program name that is taken for one, in bytes.
pub(super) const TAG_MAX: usize = 64;

/// The longest text in the brackets behind a program's name, in bytes.
pub(super) const PID_MAX: usize = 32;

/// The longest host name, in bytes (RFC 5424, section 6).
pub(super) const HOST_MAX: usize = 255;

/// What syslog daemons say for themselves, where they name no host.
const UNHOSTED: [&[u8]; 3] = [b"last message repeated ", b"--- last message repeated ", b"-- MARK --"];

/// Splits what follows a stamp. A first word that is a tag means that there is no host (busybox, glibc's /dev/log).
#[inline(always)]
pub(super) fn host_and_tag(rest: &[u8]) -> Parts<'_> {
    let bare = Parts { message: rest, ..Parts::default() };
    let name = name_len(rest);
    let end = match rest.get(name) {
        // Nearly always: a word without colon and bracket.
        Some(b' ') => name,
        _ => match (tagged(rest), memchr::memchr(b' ', &rest[..rest.len().min(HOST_MAX + 1)])) {
            (Some(header), _) => return header,
            (None, Some(end)) => end,
            (None, None) => return bare,
        },
    };
    if end == 0 {
        return bare;
    }
    let (host, after) = (nil(&rest[..end]), &rest[end + 1..]);
    match tagged(after) {
        Some(header) => Parts { host, ..header },
        // BSD, macOS and busybox speak of the line before without a host or with one.
        None if UNHOSTED.iter().any(|beginning| rest.starts_with(beginning)) => bare,
        None => Parts { host, message: after, ..Parts::default() },
    }
}

/// `tag:`, `tag[pid]:`, `tag[pid]` at the beginning, and the message behind one blank.
///
/// A word without colon and brackets is not a tag: no rule tells it from a host or from the message's first word.
#[inline(always)]
pub(super) fn tagged(rest: &[u8]) -> Option<Parts<'_>> {
    // Most lines are of these.
    for sshd in [&b"sshd"[..], b"sshd-session"] {
        if let Some(after) = rest.strip_prefix(sshd).and_then(|after| after.strip_prefix(b"[")) {
            return with_pid(&rest[..sshd.len()], after);
        }
    }
    let (name, after) = rest.split_at(name_len(rest));
    let identifier = base(name);
    match after.split_first()? {
        _ if identifier.is_empty() => None,
        (b':', after) => behind(identifier, None, after),
        (b'[', after) => with_pid(identifier, after),
        _ => None,
    }
}

/// The same of what stands behind `tag[`.
#[inline(always)]
fn with_pid<'a>(identifier: &'a [u8], text: &'a [u8]) -> Option<Parts<'a>> {
    let (pid, after) = bracketed(text)?;
    match after.split_first() {
        Some((b':', after)) => behind(identifier, pid, after),
        Some((b' ', rest)) if pid.is_some() => behind(identifier, pid, after_level(rest).unwrap_or(after)),
        None if pid.is_some() => behind(identifier, pid, after),
        _ => None,
    }
}

/// What macOS' ASL puts there: `<Info>:`.
#[cold]
fn after_level(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"<")?;
    let letters = rest.iter().take(10).take_while(|byte| byte.is_ascii_alphabetic()).count();
    rest[letters..].strip_prefix(b">:").filter(|rest| letters > 0 && rest.first() == Some(&b' '))
}

/// What stands behind the colon.
#[inline(always)]
fn behind<'a>(identifier: &'a [u8], pid: Option<u32>, after: &'a [u8]) -> Option<Parts<'a>> {
    let message = match after.split_first() {
        None => after,
        Some((b' ', message)) => message,
        // `tag[12]:text` is a tag; `2001:db8::1` is a host, `http://` is text.
        Some(_) if pid.is_some() => after,
        Some(_) => return None,
    };
    Some(Parts { identifier, pid, message, ..Parts::default() })
}

/// What stands before `]`, as a number if it is one, and what follows.
#[inline(always)]
fn bracketed(text: &[u8]) -> Option<(Option<u32>, &[u8])> {
    if let Some(&word) = text.first_chunk()
        && let (pid, digits @ 1..) = leading_digits(word)
        && text.get(digits) == Some(&b']')
    {
        return Some((Some(pid), &text[digits + 1..]));
    }
    let end = text.iter().take(PID_MAX + 1).position(|&byte| byte == b']' || byte == b' ')?;
    (text[end] == b']' && end > 0).then(|| (number(&text[..end]), &text[end + 1..]))
}

/// The number that eight bytes begin with, and how many digits it has: all bytes at once, in one word.
#[inline(always)]
fn leading_digits(bytes: [u8; 8]) -> (u32, usize) {
    const HALVES: u64 = 0x0000_00ff_0000_00ff;
    let word = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030; // a digit is its value now
    let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    let digits = others.trailing_zeros() / 8;
    if digits == 0 {
        return (0, 0);
    }
    // Zeros come in before the digits, and neighbours are added up: two, four, eight.
    let word = word << (64 - 8 * digits);
    let pairs = (word * 10).wrapping_add(word >> 8);
    let upper = (pairs & HALVES).wrapping_mul(100 + (1_000_000 << 32));
    let lower = (pairs >> 16 & HALVES).wrapping_mul(1 + (10_000 << 32));
    ((upper.wrapping_add(lower) >> 32) as u32, digits as usize)
}

/// How many bytes at the beginning can be a program's name; 0 where they are too many.
#[inline(always)]
pub(super) fn name_len(text: &[u8]) -> usize {
    text[..text.len().min(TAG_MAX + 1)].iter().position(|&byte| !NAME[usize::from(byte)]).unwrap_or(0)
}

/// Bytes that a program's name can have: no blanks, no controls, none of `:[]`. Five comparisons a byte were a fifth of the line's time.
const NAME: [bool; 256] = {
    let mut name = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        name[byte] =
            byte > 0x20 && byte != 0x7f && byte != b':' as usize && byte != b'[' as usize && byte != b']' as usize;
        byte += 1;
    }
    name
};

/// The program of a path.
pub(super) fn base(name: &[u8]) -> &[u8] {
    match name.first() {
        Some(b'/') => &name[name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)..],
        _ => name,
    }
}

/// A value, empty where it is `-`.
pub(super) fn nil(value: &[u8]) -> &[u8] {
    if value == b"-" { b"" } else { value }
}

/// A process id: decimal digits, all of them.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.iter().try_fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u32::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digits_at_once() {
        let check = |text: &[u8; 8], want| assert_eq!(leading_digits(*text), want, "{}", text.escape_ascii());
        check(b"1]: Fail", (1, 1));
        for number in [0, 7, 10, 4_001, 32_768, 4_194_304, 9_999_999, 12_345_678, 99_999_999] {
            for behind in [b"]: x    ", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"/:9 0000", b"\0\0\0\0\0\0\0\0"] {
                let text = [number.to_string().as_bytes(), behind].concat();
                check(text.first_chunk().unwrap(), (number, number.to_string().len()));
            }
        }
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            check(&[byte, b'1', b'2', b']', byte, b'3', byte, byte], (0, 0));
            check(&[b'0', b'1', byte, b'2', b'9', byte, b'3', byte], (1, 2));
        }
    }
}
