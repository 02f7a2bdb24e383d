//! Rules: what other programs say of failures and logins, as patterns that an administrator writes.
//!
//! A rule is a regular expression over a record's *message*, tied to the programs that may say so, and it brings
//! examples: it is compiled only if they come out as it claims. Since strangers write parts of most messages, a
//! pattern must hold the whole message: it begins at the message's first byte and ends at its last, in each of its
//! alternatives. What was cut matches nothing. Patterns are over bytes: `.` is any byte, `\d`, `\s`, `\w` and `(?i)`
//! know ASCII. Matching takes time linear in the message (the crate `regex`).
//!
//! An administrator may say that a pattern need not hold the whole message (`unsafe`), and then also that it is asked of
//! every program ([`EVERY`]). What such a rule finds is forgeable, and so is what one finds that lets text without a bound
//! stand before the address: see [`pattern`].
//!
//! sshd and dropbear have grammars of their own; a rule for them is asked only of what those do not know. Pure: the
//! text of rules comes from [`config`](crate::config).

use std::collections::HashMap;

use regex::bytes::Regex;

use super::address::{self, Address, Peer};
use super::event::{Account, Event, Kind};
use inputs::record::Record;
use pattern::{Compiled, Fooled};

pub mod pattern;

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
/// Instead of a program: every one. Its pattern is asked of `HOST PROGRAM[PID]: MESSAGE`.
pub const EVERY: &str = "*";
/// Rules for every program: each is asked of all records that nothing else knows.
pub const EVERY_MAX: usize = 50;
/// What syslog calls us, and what we call ourselves where we tell it in DenyHosts' words. What we write about a failure must not
/// be one.
const OURSELVES: [&str; 2] = ["denyd", "denyhosts"];
/// Beginnings of the names of built-in shapes.
const BUILT_IN: [&str; 2] = ["sshd.", "dropbear."];
/// The groups that mean something. Others must have no name.
const GROUPS: [&str; 5] = ["addr", "host", "user", "times", "invalid"];
/// What the group of the address may be called: here, and in DenyHosts.
const ADDRESS: [&str; 2] = ["addr", "host"];

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
    /// It is taken though it does not hold the whole message, or for every program.
    pub is_unsafe: bool,
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
    /// Every program, and not `unsafe`.
    #[error(
        "\"*\", every program, needs unsafe = true, since any of them may log what a stranger wrote; and it stands alone"
    )]
    Every,
    /// There are [`EVERY_MAX`] already.
    #[error(
        "there are {EVERY_MAX} rules for every program already, each of which costs time of all records; name programs"
    )]
    TooManyEvery,
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
    /// Both names of that group.
    #[error("the pattern has both (?P<addr>…) and (?P<host>…), which are the same; keep one")]
    TwoAddresses,
    /// A group that means nothing.
    #[error(
        "the pattern has a group `{0}`; those with a meaning are addr (or host), user, times and invalid, others stand in (?:…)"
    )]
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
    is_unsafe: bool,
    fooled: Option<Fooled>,
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
            if OURSELVES.contains(&identifier.as_str()) {
                return Err((Part::Identifier(index), Refusal::Ourselves));
            }
            if identifier == EVERY && !(draft.is_unsafe && draft.identifiers.len() == 1) {
                return Err((Part::Identifier(index), Refusal::Every));
            }
        }
        let kind = match draft.event {
            Happened::Failure => Kind::Tried,
            Happened::Success => Kind::Accepted,
        };
        let Draft { name, identifiers, uids, account, is_unsafe, .. } = draft;
        let compiled = pattern::compile(&draft.pattern, is_unsafe).map_err(|why| (Part::Pattern, why))?;
        let Compiled { regex, fooled } = compiled;
        let rule = Rule { name, identifiers, uids, kind, account, regex, is_unsafe, fooled };
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

    /// The regular expression.
    pub fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether strangers may make it find what they like: it counts as forgeable.
    pub fn is_forgeable(&self) -> bool {
        self.is_unsafe || self.fooled.is_some()
    }

    /// How strangers may do so, where the pattern itself shows it.
    pub fn fooled(&self) -> Option<Fooled> {
        self.fooled
    }

    /// What a message says by this rule.
    fn of_message<'a>(&'a self, message: &'a [u8]) -> Option<Event<'a>> {
        self.of_text(message, message)
    }

    /// The same of a text that ends with the message.
    fn of_text<'a>(&'a self, text: &[u8], message: &'a [u8]) -> Option<Event<'a>> {
        // A search for groups is slower than one for a match, and most messages match nothing.
        if !self.regex.is_match(text) {
            return None;
        }
        let found = self.regex.captures(text)?;
        let before = text.len() - message.len();
        let group = |name| {
            let range = found.name(name)?.range();
            message.get(range.start.checked_sub(before)?..range.end.checked_sub(before)?)
        };
        let times = group("times").and_then(address::number).unwrap_or(1).clamp(1, TIMES_MAX);
        let mut peer = ADDRESS.into_iter().find_map(group);
        if self.is_unsafe {
            // What such a pattern takes for an address may be anything: it is one, or the next rule is asked.
            peer = Some(peer?.trim_ascii()).filter(|text| address::parse(text).is_some());
            peer?;
        }
        let account = match self.regex.capture_names().flatten().any(|name| name == "invalid") {
            true if found.name("invalid").is_some_and(|part| !part.is_empty()) => Account::Unknown,
            true => Account::Known,
            false => self.account,
        };
        Some(Event {
            peer: peer.map_or(Peer::Unsaid, address::peer),
            user: group("user"),
            account,
            times,
            rule_uids: Some(&self.uids),
            forgeable: self.is_forgeable(),
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

/// All rules that are in force.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// By program, in order.
    of: HashMap<Box<[u8]>, Vec<usize>, foldhash::fast::RandomState>,
    /// Those of every program, in order.
    every: Vec<usize>,
}

impl Rules {
    /// Adds a rule, behind those that are there, or says what of it is in the way.
    pub fn add(&mut self, rule: Rule) -> Result<(), (Part, Refusal)> {
        if self.rules.len() >= RULES_MAX {
            return Err((Part::Name, Refusal::TooMany));
        }
        if self.rules.iter().any(|other| other.name == rule.name) {
            return Err((Part::Name, Refusal::Taken));
        }
        for identifier in &rule.identifiers {
            if identifier == EVERY {
                if self.every.len() >= EVERY_MAX {
                    return Err((Part::Identifier(0), Refusal::TooManyEvery));
                }
                self.every.push(self.rules.len());
                continue;
            }
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

    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Whether a record's program has rules of its own.
    #[inline]
    pub fn are_for(&self, record: &Record<'_>) -> bool {
        !self.rules.is_empty() && self.of.contains_key(record.identifier)
    }

    /// Whether a rule may know a record.
    #[inline]
    pub(super) fn are_asked(&self, record: &Record<'_>) -> bool {
        self.are_for(record) || !self.every.is_empty()
    }

    /// What a record says by the first rule of its program that matches, else by the first of every program. `None`: no
    /// rule knows it.
    pub(super) fn event<'a>(&'a self, record: &Record<'a>) -> Option<Event<'a>> {
        // Of what was cut nobody knows where it would have ended.
        if self.rules.is_empty() || record.truncated {
            return None;
        }
        let of = self.of.get(record.identifier).into_iter().flatten();
        let event = of.copied().find_map(|index| self.rules[index].of_message(record.message));
        let is_ours = OURSELVES.iter().any(|ours| ours.as_bytes() == record.identifier);
        if event.is_some() || self.every.is_empty() || is_ours {
            return event;
        }
        let line = line(record);
        self.every.iter().find_map(|index| self.rules[*index].of_text(&line, record.message))
    }
}

/// A record as a line without its stamp, of which rules for every program are asked: `HOST PROGRAM[PID]: MESSAGE`.
fn line(record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(record.host.len() + record.identifier.len() + record.message.len() + 16);
    line.extend_from_slice(if record.host.is_empty() { b"-" } else { record.host });
    line.push(b' ');
    line.extend_from_slice(record.identifier);
    if let Some(pid) = record.pid {
        line.extend_from_slice(format!("[{pid}]").as_bytes());
    }
    line.extend_from_slice(if record.identifier.is_empty() { b"" } else { b": " });
    line.extend_from_slice(record.message);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rules for every program say of a record: address, user, account, and whether that is forgeable.
    #[test]
    fn rules_of_every_program_see_the_line() {
        let mut rules = Rules::default();
        for (name, identifier, pattern) in [
            ("own", "ftpd", "^no (?P<user>[a-z]{1,9}) from (?P<addr>[0-9.]{7,15})$"),
            ("tells", "*", r" ftpd\[7\]: no (?P<invalid>such )?(?P<user>\S+) of (?P<host>.*)"),
            ("any", "*", "from (?P<host>.*)"),
        ] {
            let (name, pattern, is_unsafe) = (name.to_owned(), pattern.to_owned(), identifier == EVERY);
            let draft =
                Draft { name, identifiers: vec![identifier.to_owned()], pattern, is_unsafe, ..Draft::default() };
            rules.add(Rule::compile(draft).unwrap()).unwrap();
        }
        let check = |program: &str, message: &str, want: &str| {
            let record = Record { pid: Some(7), ..Record::of(program.as_bytes(), message.as_bytes()) };
            let told = rules.event(&record).map(|event| {
                let user = event.user.map_or("-".into(), String::from_utf8_lossy);
                let forgeable = if event.forgeable { " forgeable" } else { "" };
                format!("{} {} {user} {:?}{forgeable}", event.rule, shown(event.peer), event.account)
            });
            assert_eq!(told.as_deref().unwrap_or("nothing"), want, "{program}: {message}");
        };
        check("ftpd", "no bob from 192.0.2.7", "own 192.0.2.7 bob Unsaid");
        check("ftpd", "no bob of 192.0.2.7", "tells 192.0.2.7 bob Known forgeable");
        check("ftpd", "no such bob of 192.0.2.7", "tells 192.0.2.7 bob Unknown forgeable");
        check("ftpd", "no bob of 192.0.2.7, from 192.0.2.8 ", "any 192.0.2.8 - Unsaid forgeable");
        check("httpd", "no bob from 192.0.2.7", "any 192.0.2.7 - Unsaid forgeable");
        check("", "from 2001:db8::1", "any 2001:db8::1 - Unsaid forgeable");
        check("httpd", "from all", "nothing");
        check("denyd", "from 192.0.2.7", "nothing");
        check("denyhosts", "Added the following hosts to /etc/hosts.deny - from 192.0.2.7", "nothing");
    }
}
