//! Log bytes for people: escaped, never raw. Knows nothing of what the bytes mean. And times, as JSON has them.

use std::fmt::{self, Write as _};

use inputs::record::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Log text as a person may safely see it: printable ASCII as it is, all else escaped (`\n`, `\x1b`, `\xff`).
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' => out.push(byte as char),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out
}

/// What a person wrote, for a terminal: its letters as they are, what moves the cursor or hides escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\'' | '"' | '\\' => out.push(char),
            _ => out.extend(char.escape_debug()),
        }
    }
    out
}

/// A TOML string (a basic one of TOML 1.0).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // What moves the cursor or hides, as U+202E does, too.
            c if c != '\'' && c.escape_debug().len() > 1 => quoted += &format!("\\U{:08X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Bytes in base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let shown = if digit <= chunk.len() { DIGITS[(word >> (18 - 6 * digit) & 63) as usize] } else { b'=' };
            out.push(shown as char);
        }
    }
    out
}

/// Log bytes for reading, and in base64 where that changed them: what a row of JSON has under `KEY` and `KEY_b64`.
pub(crate) fn shown(bytes: &[u8]) -> (String, Option<String>) {
    let text = printable(bytes);
    let exact = (text.as_bytes() != bytes).then(|| base64(bytes));
    (text, exact)
}

/// A time, as text: RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What lies behind the calendar's end is written as a count of microseconds.
        let micros = text.strip_suffix("us").and_then(|micros| micros.parse().ok());
        let time = || text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond);
        micros.map_or_else(time, Ok).map(|micros| At(Timestamp(micros))).map_err(serde::de::Error::custom)
    }
}

/// A time as people read it: this machine's zone, to the second.
pub(crate) fn when(at: inputs::record::Timestamp) -> String {
    match jiff::Timestamp::from_second(at.secs()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "never".to_owned(),
    }
}

/// `Sat Nov 21 23:38:26 2026`, as C's asctime, and DenyHosts, which does not say in which zone.
pub(crate) fn asctime(at: Timestamp, zone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_microsecond(at.0).unwrap_or_default().to_zoned(zone.clone());
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// The time of such a text. The day of the week is not looked at: who moves a clock by hand may not know it. Of an hour that
/// the zone has twice it is the first.
pub(crate) fn from_asctime(text: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let mut word = || words.next();
    let (_, month, day, time, year) = (word()?, word()?, word()?, word()?, word()?);
    let month = MONTHS.iter().position(|name| *name == month)? as i8 + 1;
    let mut numbers = time.split(':').map(|number| number.parse::<i8>().ok());
    let mut number = || numbers.next().flatten();
    let (hour, minute, second) = (number()?, number()?, number()?);
    let time =
        jiff::civil::DateTime::new(year.parse().ok()?, month, day.parse().ok()?, hour, minute, second, 0).ok()?;
    let is_all = numbers.next().is_none() && words.next().is_none();
    is_all.then(|| time.to_zoned(zone.clone()).ok()).flatten().map(|time| Timestamp(time.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_the_calendar_is_read_back() {
        for at in [At(Timestamp(i64::MAX)), At(Timestamp(i64::MIN)), At(Timestamp(1))] {
            assert_eq!(serde_json::from_str::<At>(&serde_json::to_string(&at).expect("a text")).expect("a time"), at);
        }
    }

    #[test]
    fn reads_the_times_of_c() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let check = |text: &str, want: Option<&str>| {
            let at = from_asctime(text.as_bytes(), &zone);
            assert_eq!(at.map(|at| at.to_string()).as_deref(), want, "{text:?}");
        };
        check("Sat Nov 21 23:38:26 2026", Some("2026-11-21T22:38:26Z"));
        check("Sat Nov  1 09:05:00 2025", Some("2025-11-01T08:05:00Z"));
        check("Xxx Jul  1 09:05:00 2025", Some("2025-07-01T07:05:00Z"));
        // Twice, and never.
        check("Sun Oct 25 02:30:00 2026", Some("2026-10-25T00:30:00Z"));
        check("Sun Mar 29 02:30:00 2026", Some("2026-03-29T01:30:00Z"));
        let bad = [
            "",
            "Sat Nov 31 23:38:26 2026",
            "Sat Nov 21 24:38:26 2026",
            "Sat Nov 21 23:38 2026",
            "Sat nov 21 23:38:26 2026",
        ];
        let more = [
            "Sat Nov 21 23:38:26:1 2026",
            "Sat Nov 21 23:38:26 2026 x",
            "Sat Nov 21 23:38:26 99999",
            "Sat Nov 21 23:38:\u{0661} 2026",
        ];
        bad.iter().chain(&more).for_each(|text| check(text, None));
        let at = from_asctime(b"Sat Nov  1 09:05:00 2025", &zone).expect("a time");
        assert_eq!(asctime(at, &zone), "Sat Nov  1 09:05:00 2025");
    }
}
