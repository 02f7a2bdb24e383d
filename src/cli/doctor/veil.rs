//! Text of this machine for others to read: addresses, users and host names are replaced, each by the same word throughout.
//!
//! What looks like an address, a mail address or a whole host name is replaced wherever it stands; single words only if
//! they were told to be a user or a host. Loopback and addresses of all zeros are everybody's, and stay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use regex::{Captures, Regex};
use serde_json::Value;

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Address,
    Mail,
    Host,
    User,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Address => "ADDRESS",
            Kind::Mail => "MAIL",
            Kind::Host => "HOST",
            Kind::User => "USER",
        }
    }
}

/// Last parts of names that are no host's: of files, services and of what we print. Those of files that may be a host's, too
/// (`jail.local`), are a file's behind a `/`.
const NO_HOSTS: [&str; 10] = ["allow", "conf", "db", "deny", "log", "pid", "service", "sock", "socket", "toml"];
const FILES: [&str; 6] = ["d", "list", "local", "rs", "sh", "so"];
/// The longest text of an address: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const ADDRESS_MAX: usize = 45;

/// The words that stand for others.
pub(super) struct Veil {
    /// Users and hosts that are single words.
    known: BTreeMap<String, Kind>,
    given: BTreeMap<(Kind, String), usize>,
    mail: Regex,
    field: Regex,
    address: Regex,
    host: Regex,
}

impl Veil {
    pub(super) fn new() -> Result<Veil, regex::Error> {
        Ok(Veil {
            known: BTreeMap::new(),
            given: BTreeMap::new(),
            mail: Regex::new(r"[A-Za-z0-9._%+=-]+@[A-Za-z0-9.-]*[A-Za-z0-9]")?,
            // As our log writes fields.
            field: Regex::new(r#"(?-u:\b)(user|host|sender)=("(?:[^"\\\n]|\\[^\n])*"|[^ ,\n]+)"#)?,
            address: Regex::new(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*")?,
            host: Regex::new(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}(?-u:\b)")?,
        })
    }

    /// A word is a user's or a host's name, wherever it stands.
    pub(super) fn know(&mut self, kind: Kind, word: &str) {
        if word.len() > 1 && word.parse::<IpAddr>().is_err() {
            self.known.entry(word.to_owned()).or_insert(kind);
        }
    }

    /// What a text says to be a user's or a host's name is one in all other texts, too.
    pub(super) fn learn(&mut self, text: &str) {
        let field = self.field.clone();
        for found in field.captures_iter(text) {
            self.know(if &found[1] == "user" { Kind::User } else { Kind::Host }, found[2].trim_matches('"'));
        }
    }

    /// The word for this one.
    fn word(&mut self, kind: Kind, of: &str) -> String {
        let number = self.given.len() + 1;
        format!("{}-{}", kind.name(), self.given.entry((kind, of.to_owned())).or_insert(number))
    }

    /// Replaces all of a text.
    pub(super) fn text(&mut self, text: &str) -> String {
        let (mail, field, address, host) =
            (self.mail.clone(), self.field.clone(), self.address.clone(), self.host.clone());
        let text = mail.replace_all(text, |found: &Captures<'_>| self.word(Kind::Mail, &found[0]));
        let text = field.replace_all(&text, |found: &Captures<'_>| {
            let value = found[2].trim_matches('"');
            let kind = if &found[1] == "user" { Kind::User } else { Kind::Host };
            format!("{}={}", &found[1], self.value(kind, value))
        });
        let text = address.replace_all(&text, |found: &Captures<'_>| self.address(&found[0]));
        let hosts = host.replace_all(&text, |found: &Captures<'_>| {
            let last = found[0].rsplit('.').next().unwrap_or_default().to_lowercase();
            let before = &text[..found.get(0).map_or(0, |it| it.start())];
            let is_file = FILES.contains(&last.as_str()) && before.ends_with('/') && !before.ends_with("//");
            if is_file || NO_HOSTS.contains(&last.as_str()) {
                found[0].to_owned()
            } else {
                self.word(Kind::Host, &found[0])
            }
        });
        let mut text = hosts.into_owned();
        let known: Vec<_> = self.known.iter().map(|(word, kind)| (word.clone(), *kind)).collect();
        // The longer ones first: one may be a part of another.
        let mut known = known;
        known.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        for (word, kind) in known {
            if text.contains(&word) {
                let instead = self.word(kind, &word);
                text = replace_words(&text, &word, &instead);
            }
        }
        text
    }

    /// A whole value that is a user's or a host's name, or an address.
    fn value(&mut self, kind: Kind, value: &str) -> String {
        match value.parse::<IpAddr>() {
            Ok(_) => self.address(value),
            Err(_) if value.is_empty() => String::new(),
            Err(_) => self.word(kind, value),
        }
    }

    /// Replaces the addresses in what may be one: a letter or a colon of a word before it, and a port or a full stop behind it,
    /// may have been taken for a part of it.
    fn address(&mut self, found: &str) -> String {
        let (mut out, mut at) = (String::new(), 0);
        while at < found.len() {
            let rest = &found[at..];
            let is_within_number = found[..at].ends_with(|char: char| char.is_ascii_digit());
            let longest = rest.len().min(ADDRESS_MAX);
            let end = (2..=longest).rev().filter(|_| !is_within_number);
            let Some((end, address)) = end.filter_map(|end| Some((end, rest[..end].parse::<IpAddr>().ok()?))).next()
            else {
                out.push_str(&rest[..1]);
                at += 1;
                continue;
            };
            let is_everybodys = address.is_loopback() || address.is_unspecified();
            out += &if is_everybodys { rest[..end].to_owned() } else { self.word(Kind::Address, &address.to_string()) };
            at += end;
        }
        out
    }

    /// Replaces what the keys of JSON say to be names; bytes beside a text go.
    pub(super) fn value_of(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                // Bytes of a text, and a line of a log as it came.
                map.retain(|key, _| !key.ends_with("_b64") && key != "line");
                for (key, value) in map {
                    let kind = match key.as_str() {
                        "user" => Some(Kind::User),
                        "host" | "sender" => Some(Kind::Host),
                        _ => None,
                    };
                    match (kind, &mut *value) {
                        (Some(kind), Value::String(text)) => {
                            self.know(kind, text);
                            *text = self.value(kind, text);
                        }
                        _ => self.value_of(value),
                    }
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|value| self.value_of(value)),
            _ => {}
        }
    }
}

/// Replaces `word` where no letter, digit or `_` stands beside it.
fn replace_words(text: &str, word: &str, instead: &str) -> String {
    let is_part = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        out += before;
        out += if is_part(last) || is_part(after.chars().next()) { word } else { instead };
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_the_same_ones_by_the_same() {
        let check = |text: &str, want: &str| {
            let mut veil = Veil::new().expect("patterns");
            veil.know(Kind::User, "alice");
            veil.know(Kind::User, "al");
            veil.know(Kind::Host, "web7");
            assert_eq!(veil.text(text), want, "{text}");
        };
        check("nothing of note", "nothing of note");
        check("192.0.2.1 and 192.0.2.1 and 192.0.2.2", "ADDRESS-1 and ADDRESS-1 and ADDRESS-2");
        check("192.0.2.1:22, 192.0.2.1.", "ADDRESS-1:22, ADDRESS-1.");
        check("192.0.2.0/24 [2001:db8::1]:22 2001:DB8:0::1", "ADDRESS-1/24 [ADDRESS-2]:22 ADDRESS-2");
        check("::ffff:192.0.2.1 fe80::1%eth0", "ADDRESS-1 ADDRESS-2%eth0");
        check("127.0.0.1 ::1 0.0.0.0 at 10:11:12 of 0.1.0", "127.0.0.1 ::1 0.0.0.0 at 10:11:12 of 0.1.0");
        check("sshd:192.0.2.1 ALL:192.0.2.1 sshd:[2001:db8::1]", "sshd:ADDRESS-1 ALL:ADDRESS-1 sshd:[ADDRESS-2]");
        check("192.0.2.1:192.0.2.2 denied192.0.2.3", "ADDRESS-1:ADDRESS-2 deniedADDRESS-3");
        check("db1.corp.local /etc/jail.local https://hub.so/x", "HOST-1 /etc/jail.local https://HOST-2/x");
        check("2026-11-30T10:11:12Z cafe: bad", "2026-11-30T10:11:12Z cafe: bad");
        check("to alice@web7.example.org", "to MAIL-1");
        check(
            "from mail.example.org:25, /etc/denyd/denyd.toml, auth.log",
            "from HOST-1:25, /etc/denyd/denyd.toml, auth.log",
        );
        check("alice on web7, /home/alice, malice, alice_2", "USER-1 on HOST-2, /home/USER-1, malice, alice_2");
        check("al alice", "USER-2 USER-1");
        check(r#"user="bob \" x" host=db2 sender=192.0.2.9 n=1"#, "user=USER-1 host=HOST-2 sender=ADDRESS-3 n=1");
        check("host=db2\nnext line", "host=HOST-1\nnext line");
    }

    #[test]
    fn keys_of_json_say_what_is_a_name() {
        let mut veil = Veil::new().expect("patterns");
        let mut value = serde_json::json!({"user": "bob", "user_b64": "Ym9i", "rows": [{"host": "db2", "sender": "192.0.2.9"}],
            "input": "auth", "what": "bob at db2",
            "blind": {"what": "w", "line": "a stranger's"}});
        veil.value_of(&mut value);
        assert_eq!(value["user"].as_str().map(|it| it.starts_with("USER-")), Some(true));
        assert!(value.get("user_b64").is_none() && value["blind"].get("line").is_none());
        assert_eq!(value["rows"][0]["sender"].as_str().map(|it| it.starts_with("ADDRESS-")), Some(true));
        // What was a name once is one in all other texts.
        let text = veil.text(&value.to_string());
        assert!(!text.contains("bob") && !text.contains("db2") && text.contains("auth"), "{text}");
    }
}
