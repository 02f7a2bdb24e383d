//! Durations as people write them: `7d`, `1h30m`.
//!
//! A number without a unit is refused: seconds to one reader are days to the next. Months and years are no
//! units, because nobody agrees how long they are.

use std::time::Duration;

/// The longest duration, in seconds: 100 years of 365 days.
pub const LONGEST_S: u64 = 100 * 365 * 86_400;

const UNITS: [(char, u64); 5] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration: numbers, each with its unit, the greatest unit first; or says what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "expected a duration such as \"7d\" or \"1h30m\" (units are s, m, h, d, w)";
    const TOO_LONG: &str = "longer than 100 years";
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    if rest.is_empty() {
        return Err(SHAPE.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        if number.is_empty() {
            return Err(SHAPE.to_owned());
        }
        let Some(unit) = behind.chars().next() else {
            return Err(if number == text { no_unit(number) } else { SHAPE.to_owned() });
        };
        if !UNITS.iter().any(|&(known, _)| known == unit) {
            let unknown = || format!("`{unit}` is not a unit of time; units are s, m, h, d, w, and a year is \"365d\"");
            return Err(if unit.is_alphabetic() { unknown() } else { SHAPE.to_owned() });
        }
        let (_, worth) = units
            .find(|&&(known, _)| known == unit)
            .ok_or("expected the greatest unit first and each once, such as \"1h30m\"")?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*worth));
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or(TOO_LONG)?;
        rest = &behind[unit.len_utf8()..];
    }
    if seconds > LONGEST_S {
        return Err(TOO_LONG.to_owned());
    }
    Ok(Duration::from_secs(seconds))
}

/// What to write for a bare number.
pub(super) fn no_unit(number: &str) -> String {
    format!("a duration needs a unit; write \"{number}d\" for days (units are s, m, h, d, w)")
}

/// Writes whole seconds so that [`parse`] reads them again: `7d`, `1h30m`, `0s`. Weeks are written as days.
pub fn show(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut shown = String::new();
    for (unit, worth) in &UNITS[1..] {
        if seconds >= *worth {
            shown.push_str(&format!("{}{unit}", seconds / worth));
            seconds %= worth;
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        let got = parse(text).map_or_else(|bad| bad, show);
        assert_eq!(got, shown, "{text}");
    }

    #[test]
    fn reads_and_shows() {
        check("7d", "7d");
        check("1w", "7d");
        check("1h30m", "1h30m");
        check("90m", "1h30m");
        check("1w1d1h1m1s", "8d1h1m1s");
        check("0s", "0s");
        check("36500d", "36500d");
    }

    #[test]
    fn refuses_with_a_remedy() {
        check("7", "a duration needs a unit; write \"7d\" for days (units are s, m, h, d, w)");
        check("1y", "`y` is not a unit of time; units are s, m, h, d, w, and a year is \"365d\"");
        check("5D", "`D` is not a unit of time; units are s, m, h, d, w, and a year is \"365d\"");
        check("30m1h", "expected the greatest unit first and each once, such as \"1h30m\"");
        check("1h1h", "expected the greatest unit first and each once, such as \"1h30m\"");
        check("36501d", "longer than 100 years");
        check("99999999999999999999d", "longer than 100 years");
        check("9999999999999999999w", "longer than 100 years");
        for bad in ["", "d", "-1d", "1h30", "1.5h", "1h 30m", "never", "+1d"] {
            check(bad, "expected a duration such as \"7d\" or \"1h30m\" (units are s, m, h, d, w)");
        }
    }
}
