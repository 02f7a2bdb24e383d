//! The patterns of a `denyhosts.conf`, as rules: `FAILED_ENTRY_REGEX` and its like, `USERDEF_FAILED_ENTRY_REGEX`, dovecot's.
//!
//! DenyHosts asked a pattern of any line and found it anywhere in it. Where one holds a whole message, no stranger can
//! write around it: it is asked of sshd's messages, as DenyHosts 2.6 did. Any other is taken only by `UNSAFE_REGEX = yes`,
//! and what it finds is forgeable; those of any program are asked of any then, as by DenyHosts 3.

use super::Draft;
use crate::compat::conf::{self, Setting, UNSAFE};
use crate::compat::{Origin, python};
use crate::detect::rule::pattern::{self, Fooled, VICTIM};
use crate::detect::rule::{EVERY, Refusal};
use crate::text::quoted;

/// The programs of sshd, which changed with OpenSSH 9.8 and 10.
const SSHD: [&str; 3] = ["sshd", "sshd-session", "sshd-auth"];
/// What is said of what cannot be trusted.
const FORGEABLE: &str = "denies for an hour at most, clears nothing and is no login";
/// The rule that takes the place of DenyHosts' pattern for dovecot, which was for PAM's lines.
const DOVECOT: &str = include_str!("../../../packaging/rules.d/dovecot-pam.toml");
/// Keys of patterns, but for the numbered ones.
pub(super) const USERDEF: &str = "USERDEF_FAILED_ENTRY_REGEX";
const SUCCESSFUL: &str = "SUCCESSFUL_ENTRY_REGEX";
const DETECT_DOVECOT: &str = "DETECT_DOVECOT_LOGIN_ATTEMPTS";
const FAILED_DOVECOT: &str = "FAILED_DOVECOT_ENTRY_REGEX";

/// A rule as the text of a `denyd.toml` has it, without the comment above it.
pub(super) struct Rule {
    pub(super) lines: Vec<String>,
    pub(super) origin: Origin,
}

/// Whether a key is one of the numbered patterns: DenyHosts had no tenth.
pub(super) fn is_numbered(name: &str) -> bool {
    let number = name.strip_prefix("FAILED_ENTRY_REGEX");
    number.is_some_and(|number| matches!(number.as_bytes(), [] | [b'2'..=b'9']))
}

impl Draft<'_> {
    pub(super) fn patterns(&mut self) {
        let detects_dovecot = match self.value(DETECT_DOVECOT).map(|setting| (setting, conf::yes(&setting.value))) {
            Some((setting, Err(what))) => return self.problem(setting, what),
            Some((_, Ok(yes))) => yes,
            None => false,
        };
        let mut userdef = 0;
        for setting in self.settings {
            let name = setting.name.as_str();
            let is_last = self.get(name).is_some_and(|last| last.line == setting.line);
            let asked = match name {
                USERDEF if setting.value.is_empty() => {
                    let what = format!("{name} is blank, and sets nothing; DenyHosts would not have started");
                    self.remark(setting.line, what);
                    continue;
                }
                USERDEF => {
                    userdef += 1;
                    Asked { name: format!("{}.{userdef}", name.to_lowercase()), ..Asked::of_every(name) }
                }
                _ if !is_last || setting.value.is_empty() => continue,
                FAILED_DOVECOT if detects_dovecot => Asked::of_every(name),
                FAILED_DOVECOT => {
                    let what = format!("{name} sets nothing without {DETECT_DOVECOT} = yes, as in DenyHosts");
                    self.remark(setting.line, what);
                    continue;
                }
                SUCCESSFUL => Asked { event: "success", ..Asked::of_sshd(name) },
                DETECT_DOVECOT if detects_dovecot && self.value(FAILED_DOVECOT).is_none() => {
                    self.dovecot(setting);
                    continue;
                }
                _ if is_numbered(name) => Asked::of_sshd(name),
                _ => continue,
            };
            self.pattern(setting, asked);
        }
    }

    /// Takes a pattern over, or says why not.
    fn pattern(&mut self, setting: &Setting, asked: Asked) {
        let pattern = match python::translated(&setting.value, &["host", "user"]) {
            // DenyHosts looked for this one at the beginning of a message.
            Ok(pattern) if asked.event == "success" && !pattern.starts_with('^') => format!("^(?:{pattern})"),
            Ok(pattern) => pattern,
            Err(what) => return self.problem(setting, what),
        };
        let fooled = match pattern::judge(&pattern) {
            Ok(fooled) => fooled,
            Err(Refusal::NoAddr) => {
                let what =
                    "it has no group (?P<host>…), which says where the address is; DenyHosts counted nothing by it";
                return self.problem(setting, what.to_owned());
            }
            Err(refusal) => return self.problem(setting, refusal.to_string()),
        };
        let name = &setting.name;
        match fooled {
            Some(fooled) if !self.is_unsafe(setting) => {
                return self.problem(setting, format!(
                    "{}; write it so that it holds a whole message of sshd, from ^ to $, or write {UNSAFE} = yes on a line above it: then \
                     it is taken as it is, and what it finds {FORGEABLE}",
                    told(&pattern, fooled, asked.event),
                ));
            }
            Some(fooled) => {
                let what = format!(
                    "is taken by {UNSAFE}, though strangers can fool it: {}",
                    told(&pattern, fooled, asked.event)
                );
                self.remark(setting.line, format!("{name} {what}. So what it finds {FORGEABLE}"));
            }
            None if asked.is_of_every => {
                let what = "is asked of sshd's messages alone, as by DenyHosts 2.6; for another program write it as a rule of that: \
                            rules.md of the documentation says how";
                self.remark(setting.line, format!("{name} {what}"));
            }
            None => {}
        }
        if !asked.is_of_every {
            let what = "does not replace denyd's own grammar of sshd, which knows more lines: it is asked of what that does not know";
            self.remark(setting.line, format!("{name} {what}"));
        }
        let of_every = asked.is_of_every && fooled.is_some();
        let identifiers: Vec<_> = if of_every { vec![EVERY] } else { SSHD.to_vec() }.into_iter().map(quoted).collect();
        let mut lines = vec![
            "[[rule]]".to_owned(),
            format!("name = {}", quoted(&asked.name)),
            format!("identifiers = [{}]", identifiers.join(", ")),
            format!("pattern = {}", literal(&pattern)),
        ];
        match asked.event {
            // A pattern that does not tell them apart was of users that do not exist.
            "failure" => lines.push("account = \"unknown\"".to_owned()),
            event => lines.push(format!("event = {}", quoted(event))),
        }
        if fooled.is_some() {
            lines.push("unsafe = true".to_owned());
        }
        if let Some(example) = pattern::example(&pattern) {
            let user = example.user.map_or(String::new(), |user| format!(", user = {}", quoted(&user)));
            let message = quoted(&example.message);
            lines.push(format!("hit = [{{ message = {message}, addr = \"{VICTIM}\"{user} }}]"));
        }
        self.rules.push(Rule { lines, origin: Origin { line: setting.line, key: setting.name.clone() } });
    }

    /// The packaged rule for dovecot.
    fn dovecot(&mut self, setting: &Setting) {
        let rule = DOVECOT.lines().skip_while(|line| *line != "[[rule]]").map(str::to_owned).collect();
        self.rules.push(Rule { lines: rule, origin: Origin { line: setting.line, key: setting.name.clone() } });
    }

    /// Whether an unsafe pattern is taken at this place: by the nearest such key above it, else by the first of the file.
    fn is_unsafe(&mut self, at: &Setting) -> bool {
        let mut all = self.settings.iter().filter(|setting| setting.name == UNSAFE && !setting.value.is_empty());
        let first = all.clone().next();
        let Some(setting) = all.rfind(|setting| setting.line < at.line).or(first) else { return false };
        match conf::yes(&setting.value) {
            Ok(yes) => yes,
            Err(what) => {
                self.problem(setting, what);
                false
            }
        }
    }
}

/// Of what a pattern is asked.
struct Asked {
    /// What the rule is called.
    name: String,
    event: &'static str,
    /// DenyHosts asked it of every program.
    is_of_every: bool,
}

impl Asked {
    fn of_sshd(key: &str) -> Asked {
        Asked { name: key.to_lowercase(), event: "failure", is_of_every: false }
    }

    fn of_every(key: &str) -> Asked {
        Asked { is_of_every: true, ..Asked::of_sshd(key) }
    }
}

/// How a pattern can be fooled, with a line that does it, and what becomes of that.
fn told(pattern: &str, fooled: Fooled, event: &str) -> String {
    let what = match event {
        "success" => format!("which is a login from {VICTIM}, and clears what failed there"),
        _ => format!("which has {VICTIM} denied"),
    };
    let line = pattern::forgery(pattern, fooled).map_or(String::new(), |line| format!(", as in `{line}`, {what}"));
    format!("{fooled}{line}")
}

/// A TOML string in which backslashes are themselves, where it can be.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\'') || text.chars().any(char::is_control) { quoted(text) } else { format!("'{text}'") }
}
