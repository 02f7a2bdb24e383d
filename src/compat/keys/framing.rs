//! `SSHD_FORMAT_REGEX`: where sshd's message is in a line. It is how lines are read, and never a rule: it has no address.

use super::Draft;
use crate::compat::conf::Setting;
use crate::compat::python;
use crate::detect::rule::pattern::{found, is_led_by_fixed_text};

/// The key.
pub(super) const FORMAT: &str = "SSHD_FORMAT_REGEX";
/// The group that has the message.
const MESSAGE: &str = "message";
/// A message of sshd's.
const SAMPLE: &str = "Failed password for root from 192.0.2.7 port 22 ssh2";
/// What stands before it in formats that denyd tells by itself, and before another program's.
const KNOWN: [&str; 3] =
    ["Nov 21 23:26:32 web sshd[9]: ", "Nov 21 23:26:32 [sshd] ", "2026-11-21T23:26:32.123456+00:00 web sshd[9]: "];
const OTHERS: &str = "Nov 21 23:26:32 web CRON[9]: ";
const MULTILOG: &str = "@4000000042f4e1d3057febbc ";

/// How lines are read by such a key.
pub(super) enum Framing {
    /// As denyd reads them without it.
    Auto,
    /// All of them as sshd's, behind multilog's label: the value of DenyHosts' FAQ.
    Multilog,
    /// By this expression.
    Other(String),
}

impl Draft<'_> {
    /// What the key says, if it is there and says something.
    pub(super) fn framing(&mut self) -> Option<Framing> {
        let setting = self.value(FORMAT)?;
        let pattern = match python::translated(&setting.value, &[MESSAGE]) {
            Ok(pattern) => pattern,
            Err(what) => {
                self.problem(setting, what);
                return None;
            }
        };
        if !pattern.contains("(?P<message>") {
            self.problem(setting, "it has no group (?P<message>…), which says where the message is".to_owned());
            return None;
        }
        let framing = known(pattern);
        if let Framing::Other(pattern) = &framing {
            self.tell(setting, pattern);
        }
        Some(framing)
    }

    fn tell(&mut self, setting: &Setting, pattern: &str) {
        let sound = if is_led_by_fixed_text(pattern, MESSAGE) {
            ""
        } else {
            "; strangers can write what it wants before the message, so what it finds denies for an hour at most, clears nothing \
             and is no login: begin it with ^, and write [^ ]* or \\d+ instead of .* before the message"
        };
        let what =
            "is asked of lines whose header denyd does not know; a line that names its program is read without it";
        self.remark(setting.line, format!("{FORMAT} {what}{sound}"));
    }
}

/// What an expression is to denyd, by what it finds in lines of known formats.
fn known(pattern: String) -> Framing {
    let reads = |before: &str| found(&pattern, MESSAGE, &format!("{before}{SAMPLE}")).as_deref() == Some(SAMPLE);
    match (reads(MULTILOG), KNOWN.into_iter().any(reads)) {
        (true, false) => Framing::Multilog,
        // It finds the message wherever it stands: what stands before it is known better.
        (true, true) => Framing::Auto,
        (false, true) if !reads(OTHERS) => Framing::Auto,
        _ => Framing::Other(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalents_of_what_is_known_are_known() {
        let check = |pattern: &str, want: &str| {
            let told = match known(pattern.to_owned()) {
                Framing::Auto => "auto",
                Framing::Multilog => "multilog",
                Framing::Other(_) => "other",
            };
            assert_eq!(told, want, "{pattern}");
        };
        check(r".* (sshd.*:|\[sshd\]) (?P<message>.*)", "auto");
        check(r".*\s(sshd\S*:|\[sshd\])\s(?P<message>.*)$", "auto");
        check(r".*sshd\[\d+\]: (?P<message>.*)", "auto");
        check(r"^\S+ \S+ sshd(-session)?\[\d+\]: (?P<message>.*)", "auto");
        check(r"@.*? (?P<message>.*)", "multilog");
        check(r"^@[0-9a-f]{24} (?P<message>.*)$", "multilog");
        check(r"(?P<message>(Failed|Invalid|Accepted) .*)$", "auto");
        check(r".*?(?P<message>Failed.*)", "auto");
        check(r"^\d+ sshd: (?P<message>.*)$", "other");
        check(r".*: (?P<message>.*)", "other");
    }
}
