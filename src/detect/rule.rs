//! Rules: what other programs say of failures and logins, as patterns that an administrator writes.
//!
//! A rule is a regular expression over a record's *message*, tied to the programs that may say so, and it brings
//! examples: it is compiled only if they come out as it claims. Since strangers write parts of most messages, a
//! pattern must hold the whole message: it begins at the message's first byte and ends at its last, in each of its
//! alternatives. What was cut matches nothing. Patterns are over bytes: `.` is any byte, `\d`, `\s`, `\w` and `(?i)`
//! know ASCII. Matching takes time linear in the message (the crate `regex`).
//!
//! sshd and dropbear have grammars of their own; a rule for them is asked only of what those do not know. Pure: the
//! text of rules comes from [`config`](crate::config).

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::Look;

use super::address::{self, Address, Peer};
use super::event::{Account, Event, Kind};
use inputs::record::Record;

/// Rules at a time.
pub const RULES_MAX: usize = 500;
/// Bytes of a pattern.
pub const PATTERN_MAX: usize = 2_000;
/// Bytes of a compiled pattern, by the engine's own measure. A name of 1 to 255 bytes takes about 30 000.
pub const COMPILED_MAX: usize = 256 * 1024;
/// Groups within groups.
const NEST_MAX: u32 = 50;
/// Programs, examples or uids of a rule.
pub const ITEMS_MAX: usize = 64;
/// Bytes of a name, of a rule or of a program.
pub const NAME_MAX: usize = 64;
/// The most that one line counts: what a syslog daemon folds at once is less.
pub const TIMES_MAX: u32 = 1_000;
/// What syslog calls us. What we write about a failure must not be one.
const OURSELVES: &str = "denyd";
/// Beginnings of the names of built-in shapes.
const BUILT_IN: [&str; 2] = ["sshd.", "dropbear."];
/// The groups that mean something. Others must have no name.
const GROUPS: [&str; 3] = ["addr", "user", "times"];

/// A rule as it is written, of which nothing but the types is right yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// What `explain` calls it.
    pub name: String,
    /// The programs, as records name them.
    pub identifiers: Vec<String>,
    /// What a match is.
    pub event: Happened,
    /// What a match says about the account.
    pub account: Account,
    /// Who may write such a record, where the kernel tells a uid.
    pub uids: Vec<u32>,
    /// The regular expression.
    pub pattern: String,
    /// Messages that it must match, and what it must find in them.
    pub hits: Vec<Hit>,
    /// Messages that it must not match.
    pub misses: Vec<String>,
}

/// What a match of a rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Happened {
    /// A failed login.
    #[default]
    Failure,
    /// A login.
    Success,
}

/// An example that a rule must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The message.
    pub message: String,
    /// The address that must be found.
    pub addr: Address,
    /// The user that must be found; `None` = none must.
    pub user: Option<String>,
    /// How many attempts it is.
    pub times: u32,
}

/// Where in a rule something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its name.
    Name,
    /// One of the programs, by index.
    Identifier(usize),
    /// The pattern.
    Pattern,
    /// An example that must match, by index.
    Hit(usize),
    /// An example that must not, by index.
    Miss(usize),
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its name is no name.
    #[error("a rule's name has 1 to {NAME_MAX} small letters, digits, dots, dashes and underscores")]
    Name,
    /// It could be taken for a built-in shape.
    #[error("names that begin with `sshd.` or `dropbear.` are those of built-in shapes; choose another")]
    BuiltIn,
    /// Two rules have one name.
    #[error("another rule has this name; give each its own, and remove what is there twice")]
    Taken,
    /// There are [`RULES_MAX`] already.
    #[error("there are {RULES_MAX} rules already; remove some")]
    TooMany,
    /// Not how a program is called.
    #[error("a program's name has 1 to {NAME_MAX} printable characters without blanks, such as \"dovecot\"")]
    Identifier,
    /// Our own records.
    #[error("denyd's own records never count, or what it logs of a failure would be one; remove it")]
    Ourselves,
    /// The pattern is longer than [`PATTERN_MAX`].
    #[error("the pattern has {0} bytes; at most {PATTERN_MAX} can be")]
    TooLong(usize),
    /// The pattern is no regular expression.
    #[error("the pattern is wrong at its character {at}: {why}")]
    Syntax {
        /// The character, from 1.
        at: usize,
        /// As the parser says it.
        why: String,
    },
    /// Compiled it is larger than [`COMPILED_MAX`].
    #[error("the pattern is too large when it is compiled; repeat less, such as .{{0,100}} instead of .{{0,1000}}")]
    TooLarge,
    /// It can match behind the beginning.
    #[error(
        "the pattern does not begin with ^ (in each alternative), so strangers could write a message of their own around it"
    )]
    NoStart,
    /// It can match before the end.
    #[error(
        "the pattern does not end in $ (in each alternative), so strangers could write a message of their own around it"
    )]
    NoEnd,
    /// It matches the empty message.
    #[error("the pattern matches the empty message; it must demand something")]
    Empty,
    /// Nothing says where the address is.
    #[error("the pattern has no group (?P<addr>…); it says where the address is")]
    NoAddr,
    /// A group that means nothing.
    #[error("the pattern has a group `{0}`; those with a meaning are addr, user and times, others stand in (?:…)")]
    Group(String),
    /// A hit that is none.
    #[error("this hit does not match the pattern")]
    HitMisses,
    /// A hit with something else in it.
    #[error("in this hit the pattern finds {what} {found}, not {wanted}")]
    HitDiffers {
        /// Address, user or times.
        what: &'static str,
        /// What is found.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// A miss that is none.
    #[error("this miss matches the pattern, which finds the address {0}")]
    MissHits(String),
}

/// A rule that is in force.
#[derive(Debug)]
pub struct Rule {
    /// What `explain` calls it.
    pub name: String,
    /// The programs.
    pub identifiers: Vec<String>,
    /// Who may write such a record, where the kernel tells a uid.
    pub uids: Vec<u32>,
    kind: Kind,
    account: Account,
    regex: Regex,
}

impl Rule {
    /// Makes a rule of what is written. On refusal says where it is wrong and why.
    pub fn compile(draft: Draft) -> Result<Rule, (Part, Refusal)> {
        let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        if draft.name.is_empty() || draft.name.len() > NAME_MAX || !draft.name.chars().all(of_name) {
            return Err((Part::Name, Refusal::Name));
        }
        if BUILT_IN.iter().any(|built_in| draft.name.starts_with(built_in)) {
            return Err((Part::Name, Refusal::BuiltIn));
        }
        for (index, identifier) in draft.identifiers.iter().enumerate() {
            if identifier.is_empty() || identifier.len() > NAME_MAX || !identifier.bytes().all(|b| b.is_ascii_graphic())
            {
                return Err((Part::Identifier(index), Refusal::Identifier));
            }
            if identifier == OURSELVES {
                return Err((Part::Identifier(index), Refusal::Ourselves));
            }
        }
        let kind = match draft.event {
            Happened::Failure => Kind::Tried,
            Happened::Success => Kind::Accepted,
        };
        let Draft { name, identifiers, uids, account, .. } = draft;
        let regex = compile(&draft.pattern).map_err(|why| (Part::Pattern, why))?;
        let rule = Rule { name, identifiers, uids, kind, account, regex };
        for (index, hit) in draft.hits.iter().enumerate() {
            rule.must_hit(hit).map_err(|why| (Part::Hit(index), why))?;
        }
        for (index, miss) in draft.misses.iter().enumerate() {
            if let Some(event) = rule.of_message(miss.as_bytes()) {
                return Err((Part::Miss(index), Refusal::MissHits(shown(event.peer))));
            }
        }
        Ok(rule)
    }

    fn must_hit(&self, hit: &Hit) -> Result<(), Refusal> {
        let event = self.of_message(hit.message.as_bytes()).ok_or(Refusal::HitMisses)?;
        let differs = |what, found, wanted| Err(Refusal::HitDiffers { what, found, wanted });
        if event.peer != Peer::Address(hit.addr) {
            return differs("the address", shown(event.peer), hit.addr.to_string());
        }
        if event.user != hit.user.as_deref().map(str::as_bytes) {
            let quoted =
                |user: Option<&[u8]>| user.map_or("none".to_owned(), |user| format!("`{}`", user.escape_ascii()));
            return differs("the user", quoted(event.user), quoted(hit.user.as_deref().map(str::as_bytes)));
        }
        if event.times != hit.times {
            return differs("times", event.times.to_string(), hit.times.to_string());
        }
        Ok(())
    }

    /// What a message says by this rule.
    fn of_message<'a>(&'a self, message: &'a [u8]) -> Option<Event<'a>> {
        // A search for groups is slower than one for a match, and most messages match nothing.
        if !self.regex.is_match(message) {
            return None;
        }
        let found = self.regex.captures(message)?;
        let group = |name| found.name(name).map(|part| part.as_bytes());
        let times = group("times").and_then(address::number).unwrap_or(1).clamp(1, TIMES_MAX);
        Some(Event {
            peer: group("addr").map_or(Peer::Unsaid, address::peer),
            user: group("user"),
            account: self.account,
            times,
            rule_uids: Some(&self.uids),
            ..Event::new(self.kind, &self.name)
        })
    }
}

fn shown(peer: Peer<'_>) -> String {
    match peer {
        Peer::Address(address) => address.to_string(),
        Peer::Name(name) => format!("of the host `{}`", name.escape_ascii()),
        Peer::Unsaid => "none".to_owned(),
    }
}

/// A pattern that can be trusted with strangers' text.
fn compile(pattern: &str) -> Result<Regex, Refusal> {
    if pattern.len() > PATTERN_MAX {
        return Err(Refusal::TooLong(pattern.len()));
    }
    // The same settings twice: the parser tells what the pattern means, the engine matches.
    let mut parser = regex_syntax::ParserBuilder::new();
    let hir = parser.unicode(false).utf8(false).dot_matches_new_line(true).nest_limit(NEST_MAX).build().parse(pattern);
    let meaning = hir.map_err(|error| syntax(&error))?;
    let meaning = meaning.properties();
    let mut engine = RegexBuilder::new(pattern);
    engine.unicode(false).dot_matches_new_line(true).nest_limit(NEST_MAX);
    engine.size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX);
    let regex = engine.build().map_err(|_| Refusal::TooLarge)?;
    if !meaning.look_set_prefix().contains(Look::Start) {
        return Err(Refusal::NoStart);
    }
    if !meaning.look_set_suffix().contains(Look::End) {
        return Err(Refusal::NoEnd);
    }
    if regex.is_match(b"") {
        return Err(Refusal::Empty);
    }
    if let Some(group) = regex.capture_names().flatten().find(|name| !GROUPS.contains(name)) {
        return Err(Refusal::Group(group.to_owned()));
    }
    if !regex.capture_names().flatten().any(|name| name == "addr") {
        return Err(Refusal::NoAddr);
    }
    Ok(regex)
}

fn syntax(error: &regex_syntax::Error) -> Refusal {
    let (span, why) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        other => return Refusal::Syntax { at: 1, why: other.to_string() },
    };
    Refusal::Syntax { at: span.start.column, why }
}

/// All rules that are in force.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// By program, in order.
    of: HashMap<Box<[u8]>, Vec<usize>, foldhash::fast::RandomState>,
}

impl Rules {
    /// Adds a rule, behind those that are there; returns it if another has its name.
    pub fn add(&mut self, rule: Rule) -> Result<(), Rule> {
        if self.rules.iter().any(|other| other.name == rule.name) {
            return Err(rule);
        }
        for identifier in &rule.identifiers {
            let of = self.of.entry(identifier.as_bytes().into()).or_default();
            if of.last() != Some(&self.rules.len()) {
                of.push(self.rules.len());
            }
        }
        self.rules.push(rule);
        Ok(())
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether a record's program has rules.
    #[inline]
    pub fn are_for(&self, record: &Record<'_>) -> bool {
        !self.rules.is_empty() && self.of.contains_key(record.identifier)
    }

    /// What a record says by the first rule of its program that matches. `None`: no rule knows it.
    pub(super) fn event<'a>(&'a self, record: &Record<'a>) -> Option<Event<'a>> {
        // Of what was cut nobody knows where it would have ended.
        if self.rules.is_empty() || record.truncated {
            return None;
        }
        let of = self.of.get(record.identifier)?;
        of.iter().find_map(|index| self.rules[*index].of_message(record.message))
    }
}
