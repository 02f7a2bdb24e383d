//! Stamps that are written in another way than the two plain ones. Slow and out of line: it is asked only where the
//! plain way did not find a program.
//!
//! | stamp | who writes it: with a version, as it wrote here |
//! |---|---|
//! | `2023-09-08T17:20:30+0200` | `journalctl -o short-iso`, `short-iso-precise` (252; since 255 `+02:00`) |
//! | `2023-09-08 17:20:30,123`, `2023/09/08 17:20:30`, `2023-09-08t17:20:30z`, `…+02` | templates of rsyslog and syslog-ng |
//! | `2023-09-08 17:20:30.123456789  ` | `s6-log T` (2.11) |
//! | `Fri 2023-09-08 17:20:30 CEST` | `journalctl -o short-full`, `with-unit` (252) |
//! | `Tue May 14 11:01:35 2024` | OpenWrt's `logd` |
//! | `2026 Nov 21 23:52:48`, `2026 Nov 21 23:52:48.123` | syslog-ng's `ts-format(full)` (3.38) |
//! | `Nov 21 23:52:48 2026`, `Nov 21 23:52:48 CET` | syslog daemons of appliances |
//! | `20230908T172030Z`, `2023.09.08 17:20:30`, `08 Sep 2023 17:20:30`, `08-Sep-2023 …` | templates, loggers of services |
//! | `2023-09-08 17:20:30.123456+0200  ` | macOS' `log show --style syslog` |
//! | `1694186430`, `1694186430.560211` | `journalctl -o short-unix` (252) |
//! | `[2023-09-08 17:20:30]`, `[Fri Sep  8 17:20:30 2023]` | loggers of services, `dmesg -T` |
//! | `[12345.678901]`, `[12345.678901 <    0.000012 >]` | `journalctl -o short-monotonic`, `short-delta` (252): since the boot, so no time is known |
//! | `1234 2023-09-08 17:20:30.123 ` | sshd of Windows, in its own file: pid, time, message |
//!
//! Behind each of them a tab stands as well as a blank.

use super::stamp::Stamps;
use crate::record::Timestamp;
use jiff::civil;

/// Names of zones that mean one thing only, and their hours east of Greenwich (RFC 822 and Europe's).
const ZONES: [(&[u8], i64); 19] = [
    (b"UTC", 0),
    (b"GMT", 0),
    (b"WET", 0),
    (b"WEST", 1),
    (b"CET", 1),
    (b"CEST", 2),
    (b"EET", 2),
    (b"EEST", 3),
    (b"MSK", 3),
    (b"JST", 9),
    (b"AEST", 10),
    (b"EST", -5),
    (b"EDT", -4),
    (b"CST", -6),
    (b"CDT", -5),
    (b"MST", -7),
    (b"MDT", -6),
    (b"PST", -8),
    (b"PDT", -7),
];
/// The longest stamp in brackets, in bytes.
const BRACKETED_MAX: usize = 40;
const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
const WEEKDAYS: &[u8] = b"montuewedthufrisatsun";

/// The stamp at the beginning of a line, and what follows it and its blanks. It may say no time that is known.
pub(super) fn stamp<'a>(
    line: &'a [u8],
    reference: Timestamp,
    stamps: &Stamps,
) -> Option<(Option<Timestamp>, &'a [u8])> {
    if let Some(rest) = line.strip_prefix(b"[") {
        return since_boot(rest).map(|rest| (None, rest)).or_else(|| bracketed(rest, reference, stamps));
    }
    if let Some((seconds, rest)) = digits(line, 10..=10) {
        let (micros, rest) = fraction(rest)?;
        return Some((Some(Timestamp(seconds.checked_mul(1_000_000)? + micros)), blanks(after_blank(rest)?)));
    }
    let line = match place(WEEKDAYS, line) {
        Some(_) => blanks(line[3..].strip_prefix(b",").unwrap_or(&line[3..]).strip_prefix(b" ")?),
        None => line,
    };
    let led = digits(line, 4..=4).and_then(|(year, rest)| Some((year, rest.strip_prefix(b" ")?)));
    let led = led.filter(|(_, rest)| place(MONTHS, rest).is_some());
    let (year, line) = led.map_or((None, line), |(year, rest)| (Some(year), rest));
    let (time, rest) = match place(MONTHS, line) {
        Some(month) => by_month(month, &line[3..], year, reference, stamps)?,
        None => by_day(line, stamps).or_else(|| by_year(line, stamps))?,
    };
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    Some((Some(time), blanks(after_blank(rest)?)))
}

/// What a logger puts before a program's output: a stamp that begins with the year, and before that
/// Windows' sshd its pid.
pub(super) fn before_output<'a>(text: &'a [u8], stamps: &mut Stamps) -> Option<(Option<u32>, Timestamp, &'a [u8])> {
    let (pid, text) = match digits(text, 1..=10).and_then(|(pid, rest)| Some((pid, rest.strip_prefix(b" ")?))) {
        Some((pid, rest)) => (Some(u32::try_from(pid).ok()?), rest),
        None => (None, text),
    };
    let plain = stamps.rfc3339(text).map(|(time, len)| (time, &text[len..]));
    let (time, rest) = plain.or_else(|| by_year(text, stamps))?;
    let rest = rest.strip_prefix(b" ")?;
    // `s6-log T` writes two.
    Some((pid, time, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// `12345.678901] `, and `12345.678901 <    0.000012 >] ` with the time since the entry before.
fn since_boot(text: &[u8]) -> Option<&[u8]> {
    let seconds = |text| {
        let (_, rest) = digits(blanks(text), 1..=10)?;
        Some(fraction(rest).filter(|_| rest.first() == Some(&b'.'))?.1)
    };
    let rest = blanks(seconds(text)?);
    let rest = match rest.strip_prefix(b"<") {
        Some(rest) => blanks(seconds(rest)?).strip_prefix(b">")?,
        None => rest,
    };
    Some(blanks(after_blank(rest.strip_prefix(b"]")?)?))
}

/// `2023-09-08 17:20:30] `: any other stamp but one in brackets itself.
fn bracketed<'a>(text: &'a [u8], reference: Timestamp, stamps: &Stamps) -> Option<(Option<Timestamp>, &'a [u8])> {
    let end = text.iter().take(BRACKETED_MAX).position(|byte| *byte == b']')?;
    if text.first() == Some(&b'[') {
        return None;
    }
    // What a stamp has behind it is a blank.
    let mut inner = [b' '; BRACKETED_MAX + 1];
    inner[..end].copy_from_slice(&text[..end]);
    let (time, rest) = stamp(&inner[..=end], reference, stamps)?;
    rest.is_empty().then_some((time, blanks(after_blank(&text[end + 1..])?)))
}

/// `2023-09-08 17:20:30,123 +0200` in all its forms.
fn by_year<'a>(line: &'a [u8], stamps: &Stamps) -> Option<(Timestamp, &'a [u8])> {
    if let Some((date, rest)) = digits(line, 8..=8) {
        return compact(date, rest, stamps);
    }
    let (year, rest) = digits(line, 4..=4)?;
    let separator = *rest.first().filter(|byte| matches!(byte, b'-' | b'/' | b'.'))?;
    let (month, rest) = digits(&rest[1..], 2..=2)?;
    let (day, rest) = digits(rest.strip_prefix(&[separator])?, 2..=2)?;
    let (_, rest) = rest.split_first().filter(|(byte, _)| matches!(byte, b'T' | b't' | b' '))?;
    let (time, micros, rest) = clock(rest, (year, month, day))?;
    let (east, rest) = zone(rest).map_or((None, rest), |(east, rest)| (Some(east), rest));
    Some((instant(time, micros, east, stamps)?, rest))
}

/// `20230908T172030Z`, behind its date.
fn compact<'a>(date: i64, rest: &'a [u8], stamps: &Stamps) -> Option<(Timestamp, &'a [u8])> {
    let (time, rest) = digits(rest.strip_prefix(b"T")?, 6..=6)?;
    let parts = |number: i64| (number / 10_000, number / 100 % 100, number % 100);
    let (micros, rest) = fraction(rest)?;
    let time = civil(parts(date), parts(time))?;
    let (east, rest) = zone(rest).map_or((None, rest), |(east, rest)| (Some(east), rest));
    Some((instant(time, micros, east, stamps)?, rest))
}

/// `08 Sep 2023 17:20:30`, `08-Sep-2023 17:20:30`.
fn by_day<'a>(line: &'a [u8], stamps: &Stamps) -> Option<(Timestamp, &'a [u8])> {
    let (day, rest) = digits(line, 1..=2)?;
    let separator = *rest.first().filter(|byte| matches!(byte, b'-' | b' '))?;
    let month = place(MONTHS, &rest[1..])?;
    let (year, rest) = digits(rest[4..].strip_prefix(&[separator])?, 4..=4)?;
    let (time, micros, rest) = clock(rest.strip_prefix(b" ")?, (year, month, day))?;
    let (east, rest) = zone(rest).map_or((None, rest), |(east, rest)| (Some(east), rest));
    Some((instant(time, micros, east, stamps)?, rest))
}

/// ` 8 17:20:30 CEST 2023`, behind the month, in all its forms.
fn by_month<'a>(
    month: i64,
    text: &'a [u8],
    led: Option<i64>,
    reference: Timestamp,
    stamps: &Stamps,
) -> Option<(Timestamp, &'a [u8])> {
    let (day, rest) = digits(blanks(text.strip_prefix(b" ")?), 1..=2)?;
    let rest = blanks(rest.strip_prefix(b" ")?);
    let (mut year, rest) = match digits(rest, 4..=4) {
        Some((year, rest)) => (Some(year), rest.strip_prefix(b" ")?),
        None => (led, rest),
    };
    // Any leap year will do until the year is known.
    let (time, micros, mut rest) = clock(rest, (2000, month, day))?;
    let mut east = None;
    for _ in 0..2 {
        if let Some((offset, after)) = zone(rest).filter(|_| east.is_none()) {
            (east, rest) = (Some(offset), after);
        } else if let Some((number, after)) = rest.strip_prefix(b" ").and_then(|rest| digits(rest, 4..=4))
            && year.is_none()
            && (1970..2200).contains(&number)
            && matches!(after, [b' ' | b'\t', ..] | [b':', b' ' | b'\t', ..])
        {
            (year, rest) = (Some(number), after);
        }
    }
    let year = match year {
        Some(year) => i16::try_from(year).ok()?,
        None => stamps.year((time.month(), time.day(), time.hour(), time.minute()), reference)?,
    };
    let time = time.with().year(year).build().ok().filter(|new| new.day() == time.day())?;
    Some((instant(time, micros, east, stamps)?, rest))
}

/// `hh:mm:ss` with a fraction or none, of that day.
fn clock(text: &[u8], date: (i64, i64, i64)) -> Option<(civil::DateTime, i64, &[u8])> {
    let (hour, rest) = digits(text, 1..=2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2..=2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 1..=2)?;
    let (micros, rest) = fraction(rest)?;
    Some((civil(date, (hour, minute, second))?, micros, rest))
}

fn civil((year, month, day): (i64, i64, i64), (hour, minute, second): (i64, i64, i64)) -> Option<civil::DateTime> {
    let small = |number: i64| i8::try_from(number).ok();
    let (month, day, hour, minute, second) = (small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?);
    if second > 59 {
        return None;
    }
    civil::DateTime::new(i16::try_from(year).ok()?, month, day, hour, minute, second, 0).ok()
}

fn instant(time: civil::DateTime, micros: i64, east: Option<i64>, stamps: &Stamps) -> Option<Timestamp> {
    let start = match east {
        Some(east) => jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?.as_second() - east,
        None => stamps.local(time)?.secs(),
    };
    Some(Timestamp(start.checked_mul(1_000_000)? + micros))
}

/// A zone behind a time, with a blank before it or none, in seconds east of Greenwich. A word that
/// is no zone is a host.
fn zone(text: &[u8]) -> Option<(i64, &[u8])> {
    if let [b'Z' | b'z', rest @ ..] = text {
        return Some((0, rest));
    }
    let word = text.strip_prefix(b" ").unwrap_or(text);
    if let [sign @ (b'+' | b'-'), rest @ ..] = word {
        let (hours, rest) = digits(&rest[..rest.len().min(2)], 2..=2).map(|(hours, _)| (hours, &rest[2..]))?;
        let (minutes, rest) = match rest.strip_prefix(b":") {
            Some(rest) => digits(rest, 2..=2)?,
            None => digits(rest, 2..=2).unwrap_or((0, rest)),
        };
        let east = hours * 3600 + minutes * 60;
        let is_one = hours < 24 && minutes < 60 && matches!(rest.first(), Some(b' ' | b'\t' | b':'));
        return is_one.then_some((if *sign == b'-' { -east } else { east }, rest));
    }
    let (word, rest) = word.split_at(word.iter().take(6).position(|byte| !byte.is_ascii_uppercase())?);
    let is_ended = matches!(rest.first(), Some(b' ' | b'\t' | b':')) && text.first() == Some(&b' ');
    let (_, hours) = ZONES.iter().find(|(name, _)| is_ended && *name == word)?;
    Some((hours * 3600, rest))
}

/// The place of a name of three letters among such names, from 1, where it is a word of its own.
fn place(names: &[u8], line: &[u8]) -> Option<i64> {
    let name = line.get(..3).filter(|_| matches!(line.get(3), Some(b' ' | b',' | b'-')))?;
    let at = names.chunks_exact(3).position(|known| known.eq_ignore_ascii_case(name))?;
    Some(at as i64 + 1)
}

/// So many digits, and no more, as a number.
fn digits(text: &[u8], allowed: std::ops::RangeInclusive<usize>) -> Option<(i64, &[u8])> {
    let count = text.iter().take(allowed.end() + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..count].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    allowed.contains(&count).then_some((number, &text[count..]))
}

/// `.123` or `,123` in microseconds; nothing is 0.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', rest @ ..] = text else { return Some((0, text)) };
    let count = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let micros = (0..6).fold(0, |sum, at| sum * 10 + if at < count { i64::from(rest[at] - b'0') } else { 0 });
    (1..=9).contains(&count).then_some((micros, &rest[count..]))
}

/// What follows one blank or tab.
pub(super) fn after_blank(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b" ").or_else(|| text.strip_prefix(b"\t"))
}

/// What follows all blanks and tabs, of which there may be none.
pub(super) fn blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len())..]
}
