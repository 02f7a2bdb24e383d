//! Reads the time stamps that log lines begin with.
//!
//! Promises no allocation, and arithmetic once a minute of log: the stamp's text up to the minute is kept
//! beside its epoch second. Accepts only what is a date on the calendar; 23:59:60 is refused, as RFC 5424
//! demands. Knows nothing of hosts and tags.

use crate::record::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// How far past its batch's reference a stamp without a year may lie, in seconds: clocks differ,
/// zones are misconfigured.
const AHEAD_MAX_S: i64 = 24 * 60 * 60;

/// How many years back a stamp's year is looked for: 29 February skips eight around 1900 and 2100.
const YEARS_BACK: i16 = 8;

/// What two stamps of the same text, a leap day included, are apart at least, in seconds.
const YEAR_MIN_S: i64 = 364 * 24 * 60 * 60;

/// How long svlogd's fraction is: `.35191`.
const SVLOGD_LEN: usize = 6;

/// A time and how many bytes of the line said it.
pub(super) type Stamp = (Timestamp, usize);

/// Reads stamps; remembers the last minute of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    zone: TimeZone,
    traditional: Option<Minute>,
    /// `yyyy-mm-ddThh:mm` as of UTC, and the second at which it begins.
    rfc3339: Option<([u8; 16], i64)>,
}

/// A minute of a stamp without year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Minute {
    /// `Mon dd hh:mm`, as it was written.
    text: [u8; 12],
    /// Seconds since the epoch at which the minute begins.
    start: i64,
    /// Until which limit (reference plus [`AHEAD_MAX_S`]) that year is the right one; its first limit is `start`.
    until: i64,
}

impl Stamps {
    /// Reads stamps without zone as of `zone`.
    pub(super) fn new(zone: TimeZone) -> Self {
        Stamps { zone, traditional: None, rfc3339: None }
    }

    /// `Mon dd hh:mm:ss`, with a fraction of the second where there is one (`.123`).
    ///
    /// Its year is the latest that puts the minute not after `reference` plus one day.
    #[inline]
    pub(super) fn traditional(&mut self, line: &[u8], reference: Timestamp) -> Option<Stamp> {
        let text: &[u8; 12] = line.first_chunk()?;
        if line.get(12) != Some(&b':') {
            return None;
        }
        let second = below(two(line.get(13..15)?)?, 60)?;
        let limit = reference.secs().saturating_add(AHEAD_MAX_S);
        let minute = match &self.traditional {
            Some(minute) if minute.text == *text && (minute.start..minute.until).contains(&limit) => *minute,
            _ => *self.traditional.insert(minute(text, limit, &self.zone)?),
        };
        let (micros, len) = fraction(&line[15..])?;
        Some((Timestamp((minute.start + i64::from(second)) * 1_000_000 + micros), 15 + len))
    }

    /// `2026-11-21T23:52:53.351918+00:00`, `…Z`, or without zone; and svlogd's `2026-11-21_23:52:53.35191`, with `_`
    /// or `T`, which is UTC.
    #[inline]
    pub(super) fn rfc3339(&mut self, line: &[u8]) -> Option<Stamp> {
        let text: &[u8; 16] = line.first_chunk()?;
        if line.get(16) != Some(&b':') {
            return None;
        }
        let second = below(two(line.get(17..19)?)?, 60)?;
        let minute = match self.rfc3339 {
            Some((known, minute)) if known == *text => minute,
            _ => TimeZone::UTC.to_timestamp(civil_minute(text)?).ok()?.as_second(),
        };
        self.rfc3339 = Some((*text, minute));
        let (micros, len) = fraction(&line[19..])?;
        let end = 19 + len;
        // `-tt` has `_` for the `T`; `-ttt` is told by its five digits, which nobody else writes without a zone.
        let is_svlogd = text[10] == b'_' || len == SVLOGD_LEN && matches!(line.get(end), None | Some(b' '));
        let start = match offset(&line[end..]) {
            _ if is_svlogd => matches!(line.get(end), None | Some(b' ')).then_some(minute)?,
            Some((offset, len)) => return Some((at(minute - offset, second, micros)?, end + len)),
            None if matches!(line.get(end), None | Some(b' ')) => local(civil_minute(text)?, &self.zone)?,
            None => return None,
        };
        Some((at(start, second, micros)?, end))
    }

    /// The year of a date without one, for a batch of this `reference`; `None` where there is none such date.
    pub(super) fn year(&self, date: (i8, i8, i8, i8), reference: Timestamp) -> Option<i16> {
        year(date, reference.secs().saturating_add(AHEAD_MAX_S), &self.zone).map(|(year, _, _)| year)
    }

    /// The instant of a civil time in the parser's zone.
    pub(super) fn local(&self, time: civil::DateTime) -> Option<Timestamp> {
        Some(Timestamp::from_secs(local(time, &self.zone)?))
    }
}

/// multilog's `@4000000069…`: 2^62 plus ten seconds plus Unix time, then nanoseconds, as 24 hexadecimal digits.
///
/// The ten is multilog's own arithmetic (`tai_now.c`): it knows no leap second later than 1972, so that
/// subtracting today's 37 seconds would be wrong by 27.
pub(super) fn tai64n(line: &[u8]) -> Option<Stamp> {
    let digits = line.strip_prefix(b"@")?.get(..24)?;
    let seconds = hex(&digits[..16])?.checked_sub((1 << 62) + 10)?;
    let nanos = hex(&digits[16..])?;
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
    (nanos < 1_000_000_000).then_some((Timestamp(micros.checked_add((nanos / 1000) as i64)?), 25))
}

/// The number of a month's English abbreviation.
fn month(name: [u8; 3]) -> Option<i8> {
    Some(match &name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// The minute that `Mon dd hh:mm` names; the day may be written ` 1` or `01`.
fn minute(text: &[u8; 12], limit: i64, zone: &TimeZone) -> Option<Minute> {
    let [m, o, n, b' ', tens, ones, b' ', h, h2, b':', i, i2] = *text else { return None };
    let day = match tens {
        b' ' => two(&[b'0', ones])?,
        _ => two(&[tens, ones])?,
    };
    let date = (month([m, o, n])?, day, below(two(&[h, h2])?, 24)?, below(two(&[i, i2])?, 60)?);
    let (_, start, until) = year(date, limit, zone)?;
    Some(Minute { text: *text, start, until })
}

/// The latest year in which (month, day, hour, minute) is not after `limit`, its epoch second, and the limit from which
/// on a later year is right.
fn year((month, day, hour, minute): (i8, i8, i8, i8), limit: i64, zone: &TimeZone) -> Option<(i16, i64, i64)> {
    let last = jiff::Timestamp::from_second(limit).ok()?.to_zoned(zone.clone()).year();
    let mut later = None;
    for year in (last - YEARS_BACK..=last.saturating_add(1)).rev() {
        let Ok(time) = civil::DateTime::new(year, month, day, hour, minute, 0, 0) else { continue };
        let Some(start) = local(time, zone) else { continue };
        if start <= limit {
            return Some((year, start, later.unwrap_or(start + YEAR_MIN_S)));
        }
        later = Some(start);
    }
    None
}

/// Epoch seconds of a civil time in a zone. In the gap of a clock change the time before it counts on, in the fold the
/// first of the two is meant.
fn local(time: civil::DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_ambiguous_timestamp(time).compatible().ok()?.as_second())
}

/// `2026-11-21T23:52`, or with `_` for the `T`.
fn civil_minute(text: &[u8; 16]) -> Option<civil::DateTime> {
    if [text[4], text[7], text[13]] != *b"--:" || !matches!(text[10], b'T' | b'_') {
        return None;
    }
    let year = i16::from(two(&text[..2])?) * 100 + i16::from(two(&text[2..4])?);
    let [month, day, hour, minute] = [two(&text[5..7])?, two(&text[8..10])?, two(&text[11..13])?, two(&text[14..16])?];
    civil::DateTime::new(year, month, day, hour, minute, 0, 0).ok()
}

/// Puts a time together.
fn at(minute: i64, second: i8, micros: i64) -> Option<Timestamp> {
    Some(Timestamp((minute + i64::from(second)).checked_mul(1_000_000)? + micros))
}

/// `.351918` in microseconds and its length; nothing is 0 and 0. One to nine digits.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, usize)> {
    const SCALE: [i64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, 0)) };
    let (mut micros, mut digits) = (0, 0);
    for byte in rest.iter().take_while(|byte| byte.is_ascii_digit()).take(10) {
        if digits < 6 {
            micros = micros * 10 + i64::from(byte - b'0');
        }
        digits += 1;
    }
    (1..=9).contains(&digits).then(|| (micros * SCALE[digits.min(6)], 1 + digits))
}

/// `Z` or `+hh:mm` in seconds east of Greenwich, and its length.
#[inline]
fn offset(text: &[u8]) -> Option<(i64, usize)> {
    let sign = match *text.first()? {
        b'Z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if *text.get(3)? != b':' {
        return None;
    }
    let (hours, minutes) = (below(two(&text[1..3])?, 24)?, below(two(text.get(4..6)?)?, 60)?);
    Some((sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60), 6))
}

/// Two decimal digits.
#[inline]
fn two(text: &[u8]) -> Option<i8> {
    match *text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(((a - b'0') * 10 + (b - b'0')) as i8),
        _ => None,
    }
}

/// The number, if it is smaller than `end`.
fn below(number: i8, end: i8) -> Option<i8> {
    (number < end).then_some(number)
}

/// At most 16 lower-case hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, &digit| match digit {
        b'0'..=b'9' => Some(sum << 4 | u64::from(digit - b'0')),
        b'a'..=b'f' => Some(sum << 4 | u64::from(digit - b'a' + 10)),
        _ => None,
    })
}
