//! What may stand between stamp and message beside `host tag[pid]:`. Slow and out of line, as `odd`.
//!
//! | words | who writes them: with a version, bytes that it wrote here; else by its manual, or by public reports |
//! |---|---|
//! | `host auth.info tag[1]:` | BusyBox `syslogd` (1.35), Tomato, OpenWrt's `logd` (without host) |
//! | `<4.6> host tag[1]:`, `<auth.info> host …` | FreeBSD `syslogd -v`, `-vv` (manual) |
//! | `host [auth.info] tag[1]:`, `host (auth.info) tag[1]:` | templates |
//! | `192.0.2.1 OpenWrt auth.info tag[1]:` | a relay that puts the sender's address before a router's own line |
//! | `relay <38>Jun  1 04:31:28 host tag[1]:` | relays that take a frame for a message |
//! | `auth.info: tag[1]:`, `auth.info: Jun  1 04:31:28 tag[1]:` | socklog (2.1) |
//! | `host info tag[1]:` | BIG-IP |
//! | `host auth\|security:info tag[1]:`, `… Message forwarded from HOST: tag[1]:` | AIX `syslogd` without `-N`, without `-n` (manual) |
//! | `In(38) tag[1]:` | ESXi 8 |
//! | `host aabbccddeeff,U7-Pro-8.6.11: tag[1]:`, `…: : tag[1]:`, `("U7PG2,788a20ddeeff,v4.0") tag[1]:` | UniFi |
//! | `host sshd[1] <Info>: message` | macOS' ASL (`system.log`) |
//! | `0x1a2b  Default  0x0  1  0  sshd: message` | macOS' `log show` |
//! | `host ssh.service[1]:`, `host sshd@1-192.0.2.1:22-….service[1]:` | `journalctl -o with-unit` (its source): a unit for the program |
//! | `HOST: auth.info: Jun  1 04:31:28 tag[1]:`, `STAMP ADDRESS: auth.info: …` | svlogd's `pHOST`, socklog's `inet` (2.1) |
//! | `registry/image:1.2/name/4f1c0a2b3c4d[1]:` | docker's `syslog` driver with a `tag` |
//! | `FILE:Jun  1 04:31:28 host tag[1]:` | `grep` in several files |
//! | `host app 1 - - message`, `host 1 2022-… host app 1 - - message` | sysklogd 2, relays: RFC 5424 without `<PRI>1` |
//! | `sshd [1]:`, `/usr/sbin/sshd[1]:`, `[sshd]`, `[sshd]:` | templates, wrappers, metalog |
//!
//! A tab may stand for each blank. A stranger's text may look like any of it, so only a few words are looked at, each
//! must be one of these, and a second host must look like one: `User sshd[1]: …` of a line without tag is nobody's. What
//! is left of this is known: a program that writes no tag and begins its line with a stranger's text can be made to write
//! `Nov 29 10:00:00 h sshd[1]: …` behind its own stamp and host, which is to the letter what a relay writes. So what no
//! relay writes is not read: a name with a colon (`web1: sshd[1]: …` may be a program's), and a host behind multilog's
//! label.

use super::odd::{self, after_blank, blanks};
use super::rfc5424;
use super::stamp::Stamps;
use super::tag::{HOST_MAX, TAG_MAX, base, name_len, number, tagged};
use crate::record::{Parts, Timestamp, is_container_id};

/// How many words may stand before the tag.
const WORDS_MAX: usize = 6;

/// The longest level with its facility, in bytes: `auth|security:info:`.
pub(super) const LEVEL_MAX: usize = 40;

const FACILITIES: [&[u8]; 26] = [
    b"kern",
    b"user",
    b"mail",
    b"daemon",
    b"auth",
    b"syslog",
    b"lpr",
    b"news",
    b"uucp",
    b"cron",
    b"authpriv",
    b"ftp",
    b"ntp",
    b"security",
    b"console",
    b"audit",
    b"caa",
    b"aso",
    b"local0",
    b"local1",
    b"local2",
    b"local3",
    b"local4",
    b"local5",
    b"local6",
    b"local7",
];
const SEVERITIES: [&[u8]; 11] =
    [b"emerg", b"panic", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info", b"debug"];

/// What stands behind a stamp, where there is a program in it.
pub(super) fn read<'a>(text: &'a [u8], reference: Timestamp, stamps: &mut Stamps) -> Option<Parts<'a>> {
    let (mut rest, mut host) = (blanks(text), &b""[..]);
    let (mut stamped, mut just_stamped) = (false, false);
    if let Some(header) = rfc5424::bare(rest).filter(|header| is_host(header.host) && is_name(header.identifier)) {
        return Some(header);
    }
    for _ in 0..WORDS_MAX {
        rest = blanks(super::after_priority(rest).unwrap_or(rest));
        if let Some(header) = tag(rest).or_else(|| unnumbered(rest, stamps)) {
            let host = if header.host.is_empty() { host } else { header.host };
            return Some(Parts { host, ..header });
        }
        if let Some((from, after)) = forwarded(rest) {
            (host, rest) = (from, blanks(after));
            continue;
        }
        let inner = odd::stamp(rest, reference, stamps).map(|(_, after)| after);
        let inner = inner.or_else(|| stamps.rfc3339(rest).and_then(|(_, len)| after_blank(&rest[len..])));
        if let Some(after) = inner.filter(|_| !stamped) {
            (stamped, just_stamped, rest) = (true, true, after);
            continue;
        }
        let (word, after) = first_word(rest, HOST_MAX + 1)?;
        rest = after;
        if is_device(word) {
            rest = rest.strip_prefix(b": ").unwrap_or(rest);
            continue;
        }
        if is_level(word) || (!host.is_empty() && is_severity(word)) {
            continue;
        }
        let name = bare_address(word);
        // Whoever stamped it again says which host it is of.
        let is_second = || just_stamped || looks_like_a_host(name, host) || is_named_behind(name, host, after);
        if !is_host(name) || !(host.is_empty() || is_second()) {
            return None;
        }
        (host, just_stamped) = (name, false);
    }
    None
}

/// A program's name with its process id, in all forms.
pub(super) fn tag(text: &[u8]) -> Option<Parts<'_>> {
    if let Some(header) = tagged(text).filter(|header| is_name(header.identifier)) {
        return Some(header);
    }
    if let Some(rest) = text.strip_prefix(b"[") {
        let (name, rest) = rest.split_at(name_len(rest));
        let rest = rest.strip_prefix(b"]")?;
        let rest = rest.strip_prefix(b":").unwrap_or(rest);
        let message = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
        return (!name.is_empty() && !is_no_program(name)).then_some(Parts {
            identifier: name,
            message,
            ..Parts::default()
        });
    }
    if let Some(header) = of_instance(text).or_else(|| of_container(text)).or_else(|| of_macos(text)) {
        return Some(header);
    }
    let (name, rest) = text.split_at(name_len(text));
    if let Some(message) = rest.strip_prefix(b":\t").filter(|_| is_name(name)) {
        return Some(Parts { identifier: base(name), message, ..Parts::default() });
    }
    // `sshd [1]: `
    let rest = blanks(rest).strip_prefix(b"[").filter(|_| is_name(name) && rest.first() == Some(&b' '))?;
    let end = rest.iter().take(11).position(|byte| *byte == b']')?;
    let message = rest[end + 1..].strip_prefix(b": ")?;
    Some(Parts { identifier: base(name), pid: Some(number(&rest[..end])?), message, ..Parts::default() })
}

/// `ssh@0-192.0.2.1:22-198.51.100.7:40000.service[1]: `, where an instance's name is no tag's: its template stands for it.
fn of_instance(text: &[u8]) -> Option<Parts<'_>> {
    let word = &text[..memchr::memchr(b' ', &text[..text.len().min(HOST_MAX)])?];
    let (at, end) = (memchr::memchr(b'@', word)?, memchr::memmem::rfind(word, b".service[")?);
    let header = tagged(&text[end..])?;
    (at < end && at < TAG_MAX).then_some(Parts { identifier: &text[..=at], ..header })
}

/// `image:1.2/name/4f1c0a2b3c4d[1]: `, where a tag has no colon: the container's id stands for it.
fn of_container(text: &[u8]) -> Option<Parts<'_>> {
    let (word, _) = first_word(text, HOST_MAX)?;
    let name = &word[..memchr::memrchr(b'[', word)?];
    let at = memchr::memrchr(b'/', name)? + 1;
    tagged(&text[at..]).filter(|header| is_container_id(header.identifier))
}

/// `0x1a2b     Default     0x0                  1      0    sshd: `: thread, kind, activity, process and time to live.
fn of_macos(text: &[u8]) -> Option<Parts<'_>> {
    let (mut rest, mut pid) = (text.strip_prefix(b"0x")?, None);
    for at in 0..5 {
        let end = memchr::memchr(b' ', &rest[..rest.len().min(24)])?;
        pid = if at == 3 { Some(number(&rest[..end])?) } else { pid };
        rest = blanks(&rest[end..]);
    }
    Some(Parts { pid, ..tagged(rest)? })
}

/// What a line begins with that is not the daemon's own: `HOST: ` before a level (svlogd, socklog), `FILE:` before a stamp
/// (grep).
pub(super) fn led(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, after) = first_word(line, HOST_MAX + 1)?;
    let Some(host) = word.strip_suffix(b":") else { return Some((b"", &line[memchr::memchr(b':', word)? + 1..])) };
    (is_host(host) && begins_with_level(after)).then_some((host, after))
}

/// What stands before the first blank or tab, of so many bytes at most, and what follows all of them.
fn first_word(text: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr2(b' ', b'\t', &text[..text.len().min(max)])?;
    Some((&text[..end], blanks(&text[end..])))
}

fn begins_with_level(text: &[u8]) -> bool {
    first_word(text, LEVEL_MAX).is_some_and(|(word, _)| is_level(word))
}

/// A version of RFC 5424 without its priority, in the place of a tag: `1 2022-… host app 1 - - message`.
fn unnumbered<'a>(text: &'a [u8], stamps: &mut Stamps) -> Option<Parts<'a>> {
    let rest = super::after_priority(text).unwrap_or(text);
    let header = rfc5424::header(rest.strip_prefix(b"1 ")?, stamps)?;
    (!header.identifier.is_empty()).then_some(header)
}

/// AIX: `Message forwarded from HOST: `.
fn forwarded(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b"Message forwarded from ")?;
    let end = memchr::memchr(b' ', &rest[..rest.len().min(HOST_MAX + 2)])?;
    Some((rest[..end].strip_suffix(b":").filter(|host| is_host(host))?, &rest[end + 1..]))
}

/// Whether a tag can be a program: no level, no device, no address.
#[inline]
pub(super) fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !(first.is_ascii_digit() && is_address(name)))
        && !is_level(name)
        && !is_device(name)
}

/// `auth.info`, `<auth.info>`, `[auth.info]`, `(auth.info)`, `<4.6>`, `<38>`, `auth.info:`, `auth|security:info`,
/// `In(38)`: of what kind and how bad a message is.
#[inline]
pub(super) fn is_level(word: &[u8]) -> bool {
    // As they end, and few hosts do.
    matches!(
        word.last(),
        Some(
            b')' | b'>'
                | b']'
                | b':'
                | b'g'
                | b'c'
                | b't'
                | b'r'
                | b'n'
                | b'e'
                | b'o'
                | b'I'
                | b'O'
                | b'G'
                | b'E'
                | b'T'
                | b'N'
                | b'R'
                | b'C'
        )
    ) && is_level_indeed(word)
}

#[cold]
fn is_level_indeed(word: &[u8]) -> bool {
    let word = word.strip_suffix(b":").unwrap_or(word);
    if let Some(inner) = word.strip_prefix(b"<").and_then(|word| word.strip_suffix(b">")) {
        let is_number = |text: &[u8]| number(text).is_some_and(|number| number < 192);
        return is_pair(inner)
            || is_number(inner)
            || inner.split(|byte| *byte == b'.').count() == 2 && inner.split(|byte| *byte == b'.').all(is_number);
    }
    if let [b'[', inner @ .., b']'] | [b'(', inner @ .., b')'] = word {
        return is_pair(inner);
    }
    if let Some([a, b, b'(', digits @ ..]) = word.strip_suffix(b")") {
        return a.is_ascii_uppercase() && b.is_ascii_lowercase() && number(digits).is_some_and(|number| number < 192);
    }
    is_pair(word)
}

/// `auth.info`, `auth|security:info`.
fn is_pair(word: &[u8]) -> bool {
    let Some(at) = word.iter().rposition(|byte| matches!(byte, b'.' | b':')) else { return false };
    let (facility, severity) = (&word[..at], &word[at + 1..]);
    is_severity(severity) && facility.split(|byte| *byte == b'|').all(|name| FACILITIES.contains(&name))
}

fn is_severity(word: &[u8]) -> bool {
    SEVERITIES.iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// A word with commas, of which one part is a mac of 12 digits.
fn is_device(word: &[u8]) -> bool {
    let is_mac = |part: &[u8]| part.len() == 12 && part.iter().all(u8::is_ascii_hexdigit);
    word.contains(&b',')
        && word.split(|byte| *byte == b',').any(|part| is_mac(part.strip_prefix(b"(\"").unwrap_or(part)))
}

/// What the plain way takes for a host and is none: a level, a year, a device, an address in brackets or with a colon.
#[inline(always)]
pub(super) fn is_no_plain_host(host: &[u8]) -> bool {
    match host {
        [] => false,
        [b'[', ..] => bare_address(host) != host || is_level(host),
        [b'(', ..] => is_device(host) || is_level(host),
        [.., b':'] => bare_address(host) != host || is_level(host),
        [_, _, _, _] if host.iter().all(u8::is_ascii_digit) => true,
        _ => is_level(host),
    }
}

/// The address in `[192.0.2.50]` and `192.0.2.50:`; another word as it is.
fn bare_address(word: &[u8]) -> &[u8] {
    let inner = match word.strip_prefix(b"[") {
        Some(rest) => rest.strip_suffix(b"]"),
        // `2001:db8::` ends so.
        None => word.strip_suffix(b":").filter(|_| !is_address(word)),
    };
    inner.filter(|inner| is_address(inner)).unwrap_or(word)
}

/// What metalog's brackets cannot have in them: a host, a time, a level.
pub(super) fn is_no_program(word: &[u8]) -> bool {
    is_address(word) || is_pair(word) || word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn is_address(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

fn is_host(word: &[u8]) -> bool {
    let is_of_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/@%".contains(byte);
    word.first().is_some_and(u8::is_ascii_alphanumeric) && !word.ends_with(b":") && word.iter().all(is_of_one)
}

/// What stands before text of a stranger's in a message is words of letters. A second host is of another look, or
/// the first one with or without its domain.
fn looks_like_a_host(word: &[u8], first: &[u8]) -> bool {
    let label = |host: &[u8]| host.split(|byte| *byte == b'.').next().map(<[u8]>::to_ascii_lowercase);
    word.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-')) || label(word) == label(first)
}

/// A router's name before a level, behind the address that a relay put there: `192.0.2.1 OpenWrt auth.info`. No word of
/// a message has a capital letter behind a small one, but a product's name.
fn is_named_behind(word: &[u8], first: &[u8], after: &[u8]) -> bool {
    let is_name = word.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    is_name && is_address(first) && begins_with_level(after)
}
