//! Records of a known service that no shape of its grammar fits, counted by what they look like.
//!
//! A message is reduced to its fixed words: numbers, addresses, quoted text and whatever stands where a name would are a
//! `*` each. So a new version's new message is one row, however many addresses sent it; and what is shown holds no byte
//! but printable ASCII.

use std::time::Duration;

use indexmap::IndexMap;
use inputs::record::Timestamp;

/// Shapes that are told apart. At the bound the rarest is forgotten: strangers may be able to make up more.
const SHAPES_MAX: usize = 100;
/// Words of a message that are looked at.
const WORDS_MAX: usize = 16;
/// The longest word that is taken for a fixed one, in bytes.
const WORD_MAX: usize = 24;
/// A warning of new shapes comes so often at most.
const WARNED_EVERY: Duration = Duration::from_secs(86_400);

/// A new shape.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it looks like.
    pub shape: String,
    /// Records of it so far.
    pub records: u64,
    /// New shapes beside it.
    pub others: u64,
}

/// The shapes of one input.
#[derive(Debug, Default)]
pub struct Shapes {
    rows: IndexMap<String, u64, foldhash::fast::RandomState>,
    /// Records whose shapes were forgotten.
    pub untold: u64,
    /// Of the shapes that are new since the last warning: the first, and how many others there are.
    fresh: Option<(String, u64)>,
    warned: Option<Timestamp>,
}

impl Shapes {
    /// Counts a message.
    pub(super) fn add(&mut self, message: &[u8]) {
        let shape = shape(message);
        if let Some(count) = self.rows.get_mut(&shape) {
            *count += 1;
            return;
        }
        if self.rows.len() >= SHAPES_MAX
            && let Some(rarest) = (0..self.rows.len()).min_by_key(|at| self.rows[*at])
            && let Some((_, count)) = self.rows.swap_remove_index(rarest)
        {
            self.untold += count;
        }
        match &mut self.fresh {
            Some((_, others)) => *others += 1,
            fresh @ None => *fresh = Some((shape.clone(), 0)),
        }
        self.rows.insert(shape, 1);
    }

    /// The most frequent so many, with how many records they were of.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut rows: Vec<_> = self.rows.iter().map(|(shape, count)| (shape.as_str(), *count)).collect();
        rows.sort_by_key(|(shape, count)| (std::cmp::Reverse(*count), *shape));
        rows.truncate(most);
        rows
    }

    /// What to warn of, once a day at most.
    pub fn notice(&mut self, now: Timestamp) -> Option<Notice> {
        if self.warned.is_some_and(|at| at.after(WARNED_EVERY) > now) {
            return None;
        }
        let (shape, others) = self.fresh.take()?;
        self.warned = Some(now);
        let records = self.rows.get(&shape).copied().unwrap_or(1);
        Some(Notice { shape, records, others })
    }
}

/// The fixed words of a message.
fn shape(message: &[u8]) -> String {
    let mut shape = String::new();
    let mut words = message.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut named = false;
    for _ in 0..WORDS_MAX {
        let Some(word) = words.next() else { return shape };
        if let Some(quote @ (b'\'' | b'"' | b'`')) = word.first() {
            let quote = if *quote == b'`' { b'\'' } else { *quote };
            let ends = |word: &[u8]| bare(word).0.ends_with(&[quote]) || word.ends_with(&[quote]);
            if word.len() == 1 || !ends(&word[1..]) {
                let _ = words.by_ref().find(|word| ends(word));
            }
            put(&mut shape, "*", b"");
            named = false;
            continue;
        }
        let (core, behind) = bare(word);
        let text = std::str::from_utf8(core).ok().filter(|_| !named && is_fixed(core));
        put(&mut shape, text.unwrap_or("*"), behind);
        named = matches!(core, b"user" | b"User" | b"for" | b"by");
    }
    if words.next().is_some() {
        shape.push_str(" ...");
    }
    shape
}

/// A word and the marks that end it.
fn bare(word: &[u8]) -> (&[u8], &[u8]) {
    let marks = word.iter().rev().take_while(|byte| matches!(byte, b':' | b',' | b';' | b'.' | b'!')).count();
    word.split_at(word.len() - marks.min(word.len()))
}

/// Whether a word can be one of the program's own: letters, and nothing that addresses, hosts or keys have.
fn is_fixed(core: &[u8]) -> bool {
    let inner = core.strip_prefix(b"[").or(core.strip_prefix(b"(")).unwrap_or(core);
    let inner = inner.strip_suffix(b"]").or(inner.strip_suffix(b")")).unwrap_or(inner);
    inner.len() <= WORD_MAX
        && inner.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'\''))
}

/// Adds a word; of several `*` one is enough.
fn put(shape: &mut String, word: &str, behind: &[u8]) {
    if word == "*" && (shape == "*" || shape.ends_with(" *")) {
        return;
    }
    if !shape.is_empty() {
        shape.push(' ');
    }
    shape.push_str(word);
    shape.extend(behind.iter().take(2).map(|byte| char::from(*byte)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, want: &str) {
        assert_eq!(shape(message.as_bytes()), want, "{message}");
    }

    #[test]
    fn only_fixed_words_are_left() {
        check(
            "Connection from 192.0.2.1 port 22 on 198.51.100.1 closed weirdly",
            "Connection from * port * on * closed weirdly",
        );
        check("Frobnicated user bob from 2001:db8::1 [preauth]", "Frobnicated user * from * [preauth]");
        check("error: new_thing: Refused 'x y z' of h.example.org.", "error: new_thing: Refused * of *.");
        check("said \"Failed password for root from 192.0.2.1\" again", "said * again");
        check("said \"Failed password for root", "said *");
        check("said ' ' twice", "said * twice");
        check("key SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU x", "key * x");
        check("a 1 2 3 b", "a * b");
        check("\u{1b}[31m \u{e9}\0 x", "* x");
        check(&"word ".repeat(100), &format!("{}...", "word ".repeat(16)));
        check(&"w".repeat(1000), "*");
        check("", "");
    }

    #[test]
    fn a_flood_of_shapes_leaves_the_frequent_ones() {
        let mut shapes = Shapes::default();
        for first in 'a'..='z' {
            for second in 'a'..='z' {
                shapes.add(b"really new 1");
                shapes.add(format!("{first} {second}").as_bytes());
            }
        }
        assert_eq!(shapes.top(1), [("really new *", 676)]);
        assert_eq!(shapes.rows.len(), SHAPES_MAX);
        assert_eq!(shapes.rows.values().sum::<u64>() + shapes.untold, 2 * 676);
    }

    #[test]
    fn one_warning_a_day() {
        let mut shapes = Shapes::default();
        let at = |hours: i64| Timestamp::from_secs(1_795_305_600 + hours * 3_600);
        assert_eq!(shapes.notice(at(0)), None);
        shapes.add(b"new 1");
        shapes.add(b"new 2");
        let notice = |shape: &str, records, others| Some(Notice { shape: shape.to_owned(), records, others });
        assert_eq!(shapes.notice(at(1)), notice("new *", 2, 0));
        shapes.add(b"new 3");
        assert_eq!(shapes.notice(at(26)), None, "it is known");
        shapes.add(b"newer 3");
        shapes.add(b"newer still");
        assert_eq!(shapes.notice(at(26)), notice("newer *", 1, 1));
        shapes.add(b"newest 3");
        assert_eq!(shapes.notice(at(49)), None);
        assert_eq!(shapes.notice(at(50)), notice("newest *", 1, 0));
    }
}
