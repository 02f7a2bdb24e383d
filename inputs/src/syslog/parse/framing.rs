//! The lines of sshd in a format that nobody knows but the administrator: a regular expression says where the message is.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes of a compiled expression, by the engine's own measure.
const COMPILED_MAX: usize = 256 * 1024;
/// Groups within groups.
const NEST_MAX: u32 = 50;
/// The group that holds the message.
pub const MESSAGE: &str = "message";

/// Finds sshd's message in a line without a header that the parser knows.
#[derive(Clone, Debug)]
pub struct Framing {
    regex: Regex,
    is_sound: bool,
}

impl Framing {
    /// A framing of a regular expression over bytes, with a group `message`, in which `.` is any byte. `is_sound`: what it
    /// wants before the message no stranger can write. Takes time linear in a line.
    pub fn new(pattern: &str, is_sound: bool) -> Result<Self, String> {
        let mut engine = RegexBuilder::new(pattern);
        engine.unicode(false).dot_matches_new_line(true).nest_limit(NEST_MAX);
        engine.size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX);
        let regex = engine.build().map_err(|error| error.to_string())?;
        if !regex.capture_names().flatten().any(|name| name == MESSAGE) {
            return Err("it has no group (?P<message>…), which says where the message is".to_owned());
        }
        Ok(Framing { regex, is_sound })
    }

    /// The expression.
    pub fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether no stranger can write what stands before the message.
    pub fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// sshd's message in a line, if it is of sshd.
    pub fn message<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        if !self.regex.is_match(line) {
            return None;
        }
        Some(self.regex.captures(line)?.name(MESSAGE)?.as_bytes())
    }
}

impl PartialEq for Framing {
    fn eq(&self, other: &Self) -> bool {
        (self.pattern(), self.is_sound) == (other.pattern(), other.is_sound)
    }
}

impl Eq for Framing {}
