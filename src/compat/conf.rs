//! The grammar of `denyhosts.conf`: `NAME = value` or `NAME: value`, one a line; `#` begins a comment; `$[NAME]` is a
//! variable of the environment.
//!
//! It is DenyHosts' own, with what that got wrong set right: a comment may stand behind a value, several variables each have
//! their own value, and a line that says nothing is told of. What DenyHosts would have misread in silence is an error.

use super::{Remark, World};

/// How long a value may be, in bytes.
const VALUE_MAX: usize = 4096;
/// How many settings a file may have.
const SETTINGS_MAX: usize = 2000;

/// The key that takes patterns which strangers can fool; it holds none.
pub(super) const UNSAFE: &str = "UNSAFE_REGEX";

/// One setting of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Its name, in capitals.
    pub(super) name: String,
    /// Its value, without the comment behind it; empty if it is blank.
    pub(super) value: String,
}

/// The settings of a file in their order, what is to be known of them, and what is wrong.
pub(super) fn read(text: &str, world: &World<'_>) -> (Vec<Setting>, Vec<Remark>, Vec<(usize, String)>) {
    let (mut settings, mut remarks, mut problems) = (Vec::<Setting>::new(), Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let Some(separator) = content.find([':', '=']) else {
            let what = "this line has neither `=` nor `:`, so that it sets nothing; DenyHosts passed over it, too";
            remarks.push(Remark { line, what: what.to_owned(), differs: true });
            continue;
        };
        let name = content[..separator].trim().to_uppercase();
        let value = content[separator + 1..].trim();
        let value = if may_hold_hashes(&name) { value } else { without_comment(value) };
        let too_much = match () {
            () if value.len() > VALUE_MAX => Some(format!("a value of more than {VALUE_MAX} bytes")),
            () if settings.len() >= SETTINGS_MAX => Some(format!("more than {SETTINGS_MAX} settings")),
            () => None,
        };
        if let Some(what) = too_much {
            problems.push((line, format!("{what}; no configuration has that, and nothing below is read")));
            break;
        }
        match substitute(value, world) {
            Ok(value) => settings.push(Setting { line, name, value }),
            Err(unset) => problems.push((
                line,
                format!("{name}: there is no variable {unset} in the environment, as in DenyHosts; set it where denyd is started, or write its value"),
            )),
        }
    }
    (settings, remarks, problems)
}

/// Whether ` #` is part of the values of this key: of regular expressions, subjects and passwords.
fn may_hold_hashes(name: &str) -> bool {
    name.contains("REGEX") && name != UNSAFE || ["SMTP_SUBJECT", "SMTP_PASSWORD"].contains(&name)
}

/// A value without the comment behind it, which begins with a `#` at the beginning or after a blank.
fn without_comment(value: &str) -> &str {
    let begins = |&(at, _): &(usize, &str)| at == 0 || value[..at].ends_with([' ', '\t']);
    let comment = value.match_indices('#').find(begins);
    comment.map_or(value, |(at, _)| value[..at].trim_end())
}

/// A value with each `$[NAME]`, of capitals and `_`, replaced once; or the name of one that is not set or empty.
fn substitute(value: &str, world: &World<'_>) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("$[") {
        let (before, behind) = (&rest[..at], &rest[at + 2..]);
        whole.push_str(before);
        let name = behind.split(']').next().unwrap_or_default();
        let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if !is_name || name.len() == behind.len() {
            // DenyHosts leaves it as it is, too.
            whole.push_str("$[");
            rest = behind;
            continue;
        }
        let own = (name == "HOSTNAME").then(|| world.hostname.to_owned());
        let found = own.or_else(|| (world.variable)(name)).filter(|found| !found.is_empty());
        whole.push_str(&found.ok_or_else(|| format!("`{name}`"))?);
        rest = &behind[name.len() + 1..];
    }
    Ok(whole + rest)
}

/// Seconds of a time value: a number, and one of `s m h d w y` behind it; without one, seconds. Or what is wrong, and what
/// DenyHosts would have made of it.
pub(super) fn seconds(value: &str) -> Result<u64, String> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let behind = value[digits..].trim();
    let shape = "write a number and one of s, m, h, d, w, y, as in 5d; a month is 30d";
    let Ok(number) = value[..digits].parse::<u64>() else {
        return Err(format!("`{value}` is no time, and DenyHosts would not have started; {shape}"));
    };
    let worth = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        'w' => Some(7 * 86_400),
        'y' => Some(365 * 86_400),
        _ => None,
    };
    let mut letters = behind.chars();
    let first = letters.next();
    let known = first.map_or(Some(1), worth);
    let all = number.checked_mul(known.unwrap_or(1)).ok_or_else(|| format!("`{value}` is too long; {shape}"))?;
    if number == 0 {
        return Err(format!("`{value}` is no time, and DenyHosts would not have started; leave it blank for never"));
    }
    match (known, letters.next()) {
        (Some(_), None) => Ok(all),
        _ => Err(format!("`{value}`: DenyHosts would have taken it for {all} seconds, without a word; {shape}")),
    }
}

/// Yes or no; or what is wrong, and what DenyHosts would have made of it.
pub(super) fn yes(value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        "0" | "f" | "false" | "n" | "no" | "off" | "none" => Ok(false),
        _ => Err(format!("`{value}` is neither yes nor no, and DenyHosts would have taken it for no; write yes or no")),
    }
}
