//! Host names of the allow list, and the addresses that they resolve to: handed in, since nothing here asks anybody.
//!
//! A name whose address changes, as by dynamic DNS, allows the address that it resolved to last. Where it resolves no
//! longer, that is kept for a week: DNS that fails locks nobody out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::prefix::Prefix;

/// Bytes of a name (RFC 1035, 2.3.4, without the root's).
pub const NAME_MAX: usize = 253;
/// Bytes of a part of a name between two dots.
const LABEL_MAX: usize = 63;
/// Names that a list may have.
pub const NAMES_MAX: usize = 256;
/// Addresses of a name that are allowed.
pub const ADDRESSES_MAX: usize = 16;
/// How long the addresses of a name that resolves no longer are kept.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of a reason that are kept.
const PROBLEM_MAX: usize = 200;

/// A host name by RFC 1123, 2.1: labels of letters, digits and inner hyphens. The case of letters does not matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// A text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host name; such a name has at most {NAME_MAX} letters, digits and hyphens (IDN: write xn--…), at most \
     {LABEL_MAX} from dot to dot, no hyphen beside a dot, no dot at its ends, and no number behind its last dot"
)]
pub struct BadName;

impl Name {
    /// As it is asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_label = |label: &str| {
            let is_of = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            (1..=LABEL_MAX).contains(&label.len()) && is_of && !label.starts_with('-') && !label.ends_with('-')
        };
        let last = text.rsplit('.').next().unwrap_or_default();
        // What ends in a number resolvers take for an address in one of its odd forms: `127.1`, `0x7f.1`, `127.0x1`.
        let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let is_number = match digits {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => last.bytes().all(|byte| byte.is_ascii_digit()),
        };
        match text.len() <= NAME_MAX && !is_number && text.split('.').all(is_label) {
            true => Ok(Name(text.to_ascii_lowercase().into())),
            false => Err(BadName),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a resolver said of a name: its addresses, or why there are none.
pub type Answer = Result<Vec<IpAddr>, String>;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// The addresses that are allowed: in order, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<IpAddr>,
    /// When it resolved last.
    pub resolved: Option<Timestamp>,
    /// Since when it does not, and why.
    pub failing: Option<(Timestamp, String)>,
}

/// What is new by an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: it resolves as before, or still does not.
    None,
    /// It resolves to other addresses; how many more it has than are allowed.
    Moved(usize),
    /// It resolves again, to the same.
    Back,
    /// It resolves no longer. What it resolved to stays allowed.
    Failing,
    /// It has not resolved for so long that its addresses are allowed no longer.
    Dropped,
}

/// What is known of the names of an allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<Name, Known>);

impl Names {
    /// Takes what a resolver said of a name.
    pub fn hear(&mut self, name: &Name, answer: Answer, now: Timestamp) -> News {
        let known = self.0.entry(name.clone()).or_default();
        let found = answer.and_then(|all| match all.is_empty() {
            true => Err("it has no address".to_owned()),
            false => Ok(all),
        });
        match found {
            Ok(all) => {
                let mut all: Vec<_> = all.iter().map(IpAddr::to_canonical).collect();
                all.sort();
                all.dedup();
                let more = all.len().saturating_sub(ADDRESSES_MAX);
                all.truncate(ADDRESSES_MAX);
                known.resolved = Some(now);
                let was_failing = known.failing.take().is_some();
                match std::mem::replace(&mut known.addresses, all) == known.addresses {
                    true if was_failing => News::Back,
                    true => News::None,
                    false => News::Moved(more),
                }
            }
            Err(problem) => {
                let is_new = known.failing.is_none();
                let problem = problem.chars().take(PROBLEM_MAX).collect();
                known.failing.get_or_insert((now, problem));
                let is_over = known.resolved.is_none_or(|at| at.after(KEPT) <= now);
                if is_over && !known.addresses.is_empty() {
                    known.addresses.clear();
                    return News::Dropped;
                }
                if is_new { News::Failing } else { News::None }
            }
        }
    }

    /// What is known of a name.
    pub fn get(&self, name: &Name) -> Option<&Known> {
        self.0.get(name)
    }

    /// Forgets the names that are not wanted and have not resolved for [`KEPT`]; whether there were any. Until then one that is
    /// wanted again, as when a configuration on trial goes back, is known also where DNS fails.
    pub fn forget(&mut self, is_wanted: impl Fn(&Name) -> bool, now: Timestamp) -> bool {
        let before = self.0.len();
        let is_known = |known: &Known| known.resolved.is_some_and(|at| now < at.after(KEPT));
        self.0.retain(|name, known| is_wanted(name) || is_known(known));
        self.0.len() < before
    }

    /// Each address that is allowed, with its name that is wanted: never a prefix.
    pub fn held(&self, is_wanted: impl Fn(&Name) -> bool) -> impl Iterator<Item = (&str, Prefix)> {
        self.0
            .iter()
            .filter(move |(name, _)| is_wanted(name))
            .flat_map(|(name, known)| known.addresses.iter().map(|one| (name.as_str(), Prefix::host(*one))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_names() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(text.parse::<Name>().ok().as_ref().map(Name::as_str), want, "{text:?}");
        };
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for name in
            ["foo", "home.example.org", "a", "3com.example", "163.com", "xn--mller-kva.example", "a-b.c--d", "1.a1"]
        {
            check(name, Some(name));
        }
        check("Home.EXAMPLE.org", Some("home.example.org"));
        check(&long, Some(&long));
        check("0xg", Some("0xg"));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-.b",
            "a.-b",
            "a_b",
            "a b",
            "a\n",
            "a\0",
            "a/b",
            "a:b",
            "a,b",
            "*",
            "*.a",
            "m\u{fc}ller.example",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x",
            "127.0X1",
            "a.0x1f",
            "a.7",
            "[::1]",
            "fe80::1%eth0",
            "$(a)",
            "a;b",
            "a\u{1b}[31m",
        ] {
            check(bad, None);
        }
        check(&"a".repeat(64), None);
        check(&format!("{long}b"), None);
    }

    const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

    fn of(all: &[&str]) -> Answer {
        Ok(all.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_name_off_the_list_is_known_for_a_week() {
        let (mut names, name): (_, Name) = (Names::default(), "home.example.org".parse().unwrap());
        names.hear(&name, of(&["192.0.2.7"]), NOW);
        names.hear(&"none.example.org".parse().unwrap(), Err("no".to_owned()), NOW);
        assert_eq!(names.held(|_| false).count(), 0, "it allows nobody");
        assert!(names.forget(|_| false, NOW), "one that never resolved is forgotten");
        assert!(!names.forget(|_| false, NOW.after(KEPT - Duration::from_secs(1))));
        assert_eq!(names.held(|one| *one == name).count(), 1);
        assert!(!names.forget(|_| true, NOW.after(KEPT)), "who is wanted stays");
        assert!(names.forget(|_| false, NOW.after(KEPT)));
    }

    /// Answers to a name, each so many hours after the first: what is new, and what is allowed then.
    #[test]
    fn what_a_name_allows() {
        let no = || Err("no".to_owned());
        let check = |answers: Vec<(u64, Answer, News, &[&str])>| {
            let (mut names, name) = (Names::default(), "home.example.org".parse().unwrap());
            for (at, answer, news, allowed) in answers {
                let told = format!("{answer:?} at {at}");
                assert_eq!(names.hear(&name, answer, NOW.after(Duration::from_secs(at * 3_600))), news, "{told}");
                let held: Vec<_> = names.held(|_| true).map(|(_, prefix)| prefix.to_string()).collect();
                assert_eq!(held, allowed, "{told}");
                let kept: Names = serde_json::from_str(&serde_json::to_string(&names).unwrap()).unwrap();
                assert_eq!(kept, names);
            }
        };
        let (a, b) = ("192.0.2.7", "198.51.100.7");
        check(vec![
            (0, of(&[a]), News::Moved(0), &[a]),
            (1, of(&[a]), News::None, &[a]),
            (2, of(&[b]), News::Moved(0), &[b]),
        ]);
        check(vec![
            (0, of(&[b, a, "::ffff:192.0.2.7"]), News::Moved(0), &[a, b]),
            (1, of(&[a, b]), News::None, &[a, b]),
        ]);
        check(vec![(0, no(), News::Failing, &[]), (1, no(), News::None, &[]), (2, of(&[a]), News::Moved(0), &[a])]);
        check(vec![
            (0, of(&[a]), News::Moved(0), &[a]),
            (1, of(&[]), News::Failing, &[a]),
            (2, of(&[a]), News::Back, &[a]),
        ]);
        // A week after it resolved last, and not after it began to fail.
        check(vec![
            (0, of(&[a]), News::Moved(0), &[a]),
            (100, no(), News::Failing, &[a]),
            (167, no(), News::None, &[a]),
            (168, no(), News::Dropped, &[]),
            (169, no(), News::None, &[]),
            (170, of(&[a]), News::Moved(0), &[a]),
        ]);
        // It was off for long.
        check(vec![(0, of(&[a]), News::Moved(0), &[a]), (500, of(&[a]), News::None, &[a])]);
        check(vec![(0, of(&[a]), News::Moved(0), &[a]), (500, no(), News::Dropped, &[]), (501, no(), News::None, &[])]);
        // The clock was set back.
        check(vec![(500, of(&[a]), News::Moved(0), &[a]), (0, no(), News::Failing, &[a])]);
        let many: Vec<_> = (1..=20).map(|n| format!("192.0.2.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        check(vec![(0, of(&many), News::Moved(4), &many[..16])]);
    }
}
