//! What libwrap answers for an address, and by which line: `tcpdmatch`, asked of the files that are there.
//!
//! The rules are those of hosts_access(5) and hosts_options(5), as Debian's libwrap (7.6.q) has them: the first line of
//! hosts.allow that matches grants, else the first of hosts.deny refuses, else access is granted; options may say otherwise.
//! A list file is words with white space between them, each a pattern: it knows neither comments nor `EXCEPT`.
//!
//! libwrap asks for the name of an address; here nobody does, since an attacker's name server would see it. So what a
//! line says may depend on the name, and then that is said.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::file;
use crate::decide::prefix::Prefix;
use crate::text::printable;

/// The two files that libwrap reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Whoever it lets in is let in.
    pub allow: PathBuf,
    /// Whoever else it refuses is refused.
    pub deny: PathBuf,
}

/// A line of a file that libwrap reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file; a list file, where the address stands in one.
    pub file: PathBuf,
    /// The line's number, from 1.
    pub number: usize,
    /// What it says, escaped for terminals, and cut.
    pub text: String,
}

/// What libwrap answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether it refuses.
    pub refused: bool,
    /// The line that says so; `None` if no line matches, which grants.
    pub line: Option<Line>,
    /// Where the address stands in a list file, the line that names that file.
    pub by_list_of: Option<Line>,
    /// Lines before it that have another answer if the address has a certain name, or a program decides so.
    pub by_name: Vec<Line>,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// There is none, as `tcpdmatch ADDRESS` has it.
    None,
    /// Nobody asked.
    Unasked,
}

/// A line of hosts.allow that lets programs in whom a firewall may deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The line.
    pub line: Line,
    /// The addresses and networks that it names and that nothing takes away from it, be it behind them or in a line before.
    pub prefixes: Vec<Prefix>,
    /// Why it lets in somebody else, too, or may do so; `None` if it does not.
    pub others: Option<&'static str>,
    /// What it names and a line before refuses, all of it or a part, or may do so.
    pub refused: Vec<(Prefix, Line)>,
    /// Whether it lets in everybody.
    pub everybody: bool,
}

impl Tables {
    /// The files that libwrap reads where denies are written into this one: those beside it, if it is one of them, else those
    /// of /etc.
    pub fn of(hosts_deny: &Path) -> Tables {
        let beside = hosts_deny.parent().filter(|_| is_own(hosts_deny)).unwrap_or(Path::new("/etc"));
        Tables { allow: beside.join("hosts.allow"), deny: beside.join("hosts.deny") }
    }

    /// What libwrap answers a daemon that asks for this address. A file that cannot be read is as if it were empty, as for
    /// libwrap.
    pub fn answer(&self, daemon: &str, address: IpAddr, name: Name) -> Answer {
        self.rules().answer(daemon, address, name)
    }

    /// The rules of both files, as they are now.
    pub fn rules(&self) -> Rules {
        let of = |table: &PathBuf, grants| (table.clone(), grants, rules(&text(table)).collect());
        Rules([of(&self.allow, true), of(&self.deny, false)])
    }

    /// The lines of hosts.allow that let somebody in to one of these daemons.
    pub fn admitted(&self, daemons: &[&str]) -> Vec<Admitted> {
        const NAME: &str = "it has a name, a word or a file, and no address";
        let text = text(&self.allow);
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let daemons: Vec<&&str> = daemons.iter().filter(|name| !["", "ALL"].contains(*name)).collect();
        let (mut admitted, mut refusing) = (Vec::new(), Vec::new());
        for rule in rules(&text) {
            let of_one = |daemon: &&&str| Asked::new(daemon, here, Name::Unasked).list(&rule.daemons, Asked::daemon);
            let named = daemons.iter().fold(Is::No, |is, daemon| is.or(|| of_one(daemon)));
            let verdict = rule.verdict(true);
            if named == Is::No || verdict == Some(false) {
                refusing.extend((named != Is::No).then_some(rule));
                continue;
            }
            let words: Vec<&str> = words(&rule.clients).collect();
            let has_exception = words.iter().any(|word| word.eq_ignore_ascii_case("EXCEPT"));
            let odd = if verdict.is_none() || rule.has_side_effects() {
                Some("it has an option")
            } else if has_exception {
                Some("it has an EXCEPT")
            } else if named != Is::Yes {
                Some("it is for one address of this machine alone")
            } else {
                None
            };
            let found: Vec<_> = words.iter().map(|word| prefix(word)).collect();
            let others = odd.or(found.iter().any(Option::is_none).then_some(NAME));
            let all = found.into_iter().flatten().filter(|_| odd.is_none());
            let before = |prefix: &Prefix| refusing.iter().find(|rule: &&Rule| rule.may_speak_of(prefix));
            let (refused, prefixes): (Vec<_>, Vec<_>) = all
                .map(|prefix| (prefix, before(&prefix).map(|rule| rule.line(&self.allow))))
                .partition(|(_, line)| line.is_some());
            admitted.push(Admitted {
                line: rule.line(&self.allow),
                prefixes: prefixes.into_iter().map(|(prefix, _)| prefix).collect(),
                others,
                refused: refused.into_iter().filter_map(|(prefix, line)| Some((prefix, line?))).collect(),
                everybody: odd.is_none() && words.iter().any(|word| word.eq_ignore_ascii_case("ALL")),
            });
            if verdict.is_none() {
                refusing.push(rule);
            }
        }
        admitted
    }

    /// The lines of both files that name a list file, and whether each does so in hosts.allow, and behind an `EXCEPT`.
    pub fn naming(&self, list: &Path) -> Vec<(Line, bool, bool)> {
        let mut found = Vec::new();
        for (table, is_allow) in [(&self.allow, true), (&self.deny, false)] {
            let text = text(table);
            for rule in rules(&text) {
                let words: Vec<&str> = words(&rule.clients).collect();
                if let Some(at) = words.iter().position(|word| Path::new(word) == list) {
                    let is_excepted = words[..at].iter().any(|word| word.eq_ignore_ascii_case("EXCEPT"));
                    found.push((rule.line(table), is_allow, is_excepted));
                }
            }
        }
        found
    }
}

/// The rules of both files, read once.
pub struct Rules([(PathBuf, bool, Vec<Rule>); 2]);

impl Rules {
    /// What libwrap answers by them: see [`Tables::answer`].
    pub fn answer(&self, daemon: &str, address: IpAddr, name: Name) -> Answer {
        let asked = Asked::new(daemon, address, name);
        let mut by_name = Vec::new();
        for (table, grants, rules) in &self.0 {
            for rule in rules {
                asked.hit.take();
                let matches = asked.list(&rule.daemons, Asked::daemon).and(|| asked.list(&rule.clients, Asked::client));
                let line = || rule.line(table);
                match (matches, rule.verdict(*grants)) {
                    (Is::No, _) => {}
                    (Is::Maybe, verdict) | (Is::Yes, verdict @ None) => by_name.push((line(), verdict)),
                    (Is::Yes, Some(granted)) => {
                        let (hit, rule) = (asked.hit.take(), line());
                        let by_list_of = hit.is_some().then(|| rule.clone());
                        let by_name = others(by_name, granted);
                        return Answer { refused: !granted, line: Some(hit.unwrap_or(rule)), by_list_of, by_name };
                    }
                }
            }
        }
        Answer { by_name: others(by_name, true), ..Answer::default() }
    }
}

/// Whether a file is one of libwrap's own two, and no list file.
pub(super) fn is_own(file: &Path) -> bool {
    ["hosts.deny", "hosts.allow"].iter().any(|name| file.ends_with(name))
}

/// Lists of clients, as libwrap reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists(Vec<String>);

impl Lists {
    /// Adds those of a line, which is one of a list file or a rule.
    pub(super) fn add(&mut self, line: &str, is_of_list: bool) {
        match is_of_list {
            true if line.is_empty() => {}
            true => self.0.push(line.to_owned()),
            false => self.0.extend(rules(line).map(|rule| rule.clients)),
        }
    }

    /// Whether one of them names the first or the last address of a prefix, whatever names these have.
    pub(super) fn name(&self, prefix: &Prefix) -> bool {
        [prefix.address(), prefix.last()].into_iter().any(|address| {
            let asked = Asked::new("", address, Name::Unasked);
            self.0.iter().any(|list| asked.list(list, Asked::client) == Is::Yes)
        })
    }
}

/// Lines that do not answer so.
fn others(lines: Vec<(Line, Option<bool>)>, granted: bool) -> Vec<Line> {
    lines.into_iter().filter(|(_, verdict)| *verdict != Some(granted)).map(|(line, _)| line).collect()
}

/// A rule of a table.
struct Rule {
    number: usize,
    text: String,
    daemons: String,
    clients: String,
    /// What is behind the second colon, if there is one.
    options: Option<String>,
}

impl Rule {
    fn line(&self, table: &Path) -> Line {
        Line::new(table, self.number, &self.text)
    }

    /// Whether it grants, in a table that does so or not; `None` if a program decides.
    fn verdict(&self, grants: bool) -> Option<bool> {
        let mut options = self.options().peekable();
        while let Some(option) = options.next() {
            let is_last = options.peek().is_none();
            match option.to_ascii_lowercase().as_str() {
                "allow" if is_last => return Some(true),
                "aclexec" => return None,
                known if OPTIONS.contains(&known) => {}
                // `deny`; `twist`, by which another program answers; and what cannot be read, where libwrap refuses.
                _ => return Some(false),
            }
        }
        Some(grants)
    }

    /// Whether a part of a prefix may be among its clients: by its address, or by what nobody can tell here.
    fn may_speak_of(&self, of: &Prefix) -> bool {
        let clients = words(&self.clients).take_while(|word| !word.eq_ignore_ascii_case("EXCEPT"));
        let speaks = |word: &str| match prefix(word) {
            Some(other) => other.contains(of) || of.contains(&other),
            // A net with bits behind its mask is nobody's; whatever else stands there may be somebody's.
            None => split(word, '/').is_none_or(|(net, _)| net.parse::<Ipv4Addr>().is_err()),
        };
        clients.into_iter().any(speaks)
    }

    fn has_side_effects(&self) -> bool {
        self.options().any(|option| !option.eq_ignore_ascii_case("allow"))
    }

    /// The first words of its options.
    fn options(&self) -> impl Iterator<Item = &str> {
        let options = self.options.iter().flat_map(|options| options.split(':'));
        options.map(|option| option.trim().split([' ', '\t', '=']).next().unwrap_or_default())
    }
}

/// The rules of a table.
fn rules(text: &str) -> impl Iterator<Item = Rule> {
    logical(text).filter_map(|(number, line)| {
        let text = line.strip_suffix('\n').unwrap_or(&line);
        // A longer one is not looked at.
        let text = Some(text).filter(|text| text.len() < LINE_MAX && !text.starts_with('#'))?;
        let (daemons, rest) = split(text, ':')?;
        let (clients, options) = split(rest, ':').map_or((rest, None), |(clients, options)| (clients, Some(options)));
        let options = options.map(str::to_owned);
        let [text, daemons, clients] = [text, daemons, clients].map(str::to_owned);
        Some(Rule { number, text, daemons, clients, options })
    })
}

/// Lines, with those that end in a backslash joined to the next ones, and the number of the last of them.
pub(super) fn logical(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = text.split_inclusive('\n').enumerate();
    std::iter::from_fn(move || {
        let (at, first) = lines.next()?;
        let (mut number, mut whole) = (at + 1, first.to_owned());
        while whole.ends_with("\\\n") {
            whole.truncate(whole.len() - 2);
            let Some((at, next)) = lines.next() else { break };
            number = at + 1;
            whole += next;
        }
        Some((number, whole))
    })
}

impl Line {
    fn new(file: &Path, number: usize, text: &str) -> Line {
        Line { file: file.to_owned(), number, text: shown(text.as_bytes()) }
    }
}

/// A line for people: escaped for terminals, and cut.
pub(super) fn shown(line: &[u8]) -> String {
    let cut: String = String::from_utf8_lossy(line).trim().chars().take(SHOWN_MAX).collect();
    printable(cut.as_bytes())
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of {} ({})", self.number, self.file.display(), self.text)
    }
}

/// Whether something is so; it may depend on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    No,
    Maybe,
    Yes,
}

impl Is {
    fn and(self, other: impl FnOnce() -> Is) -> Is {
        match self {
            Is::No => Is::No,
            Is::Yes => other(),
            Is::Maybe => {
                if other() == Is::No {
                    Is::No
                } else {
                    Is::Maybe
                }
            }
        }
    }

    fn or(self, other: impl FnOnce() -> Is) -> Is {
        match self {
            Is::Yes => Is::Yes,
            Is::No => other(),
            Is::Maybe => {
                if other() == Is::Yes {
                    Is::Yes
                } else {
                    Is::Maybe
                }
            }
        }
    }

    fn not(self) -> Is {
        match self {
            Is::No => Is::Yes,
            Is::Maybe => Is::Maybe,
            Is::Yes => Is::No,
        }
    }
}

impl From<bool> for Is {
    fn from(is: bool) -> Is {
        if is { Is::Yes } else { Is::No }
    }
}

/// Who asks libwrap for what.
struct Asked<'a> {
    daemon: &'a str,
    address: IpAddr,
    name: Name,
    /// The texts of list files; each is read once.
    lists: RefCell<BTreeMap<PathBuf, String>>,
    /// The line of a list file that matched last.
    hit: RefCell<Option<Line>>,
}

impl<'a> Asked<'a> {
    fn new(daemon: &'a str, address: IpAddr, name: Name) -> Self {
        let address = address.to_canonical();
        Asked { daemon, address, name, lists: RefCell::default(), hit: RefCell::default() }
    }

    /// Whether a list matches: something before its first `EXCEPT` does, and what is behind that does not.
    fn list(&self, list: &str, matches: fn(&Self, &str) -> Is) -> Is {
        let words: Vec<&str> = words(list).collect();
        let mut lists = words.split(|word| word.eq_ignore_ascii_case("EXCEPT")).rev();
        let mut any = |list: &[&str]| list.iter().fold(Is::No, |is, word| is.or(|| matches(self, word)));
        // From the last exception to the first list.
        let last = lists.next().map_or(Is::No, &mut any);
        lists.fold(last, |except, list| any(list).and(|| except.not()))
    }

    fn daemon(&self, word: &str) -> Is {
        match word.get(1..).and_then(|rest| rest.find('@')) {
            // Of which address of ours it is asked nobody knows here.
            Some(at) => is_text(&word[..at + 1], self.daemon).and(|| match &word[at + 2..] {
                host if host.eq_ignore_ascii_case("ALL") => Is::Yes,
                _ => self.unknown(),
            }),
            None => is_text(word, self.daemon),
        }
    }

    fn client(&self, word: &str) -> Is {
        let at = word.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| at);
        match at {
            Some(at) => self.host(&word[at + 1..]).and(|| match &word[..at] {
                user if user.eq_ignore_ascii_case("ALL") => Is::Yes,
                user => self.unknown().or(|| match self.name {
                    Name::None => is_text(user, UNKNOWN),
                    Name::Unasked => Is::No,
                }),
            }),
            None => self.host(word),
        }
    }

    /// What depends on what nobody asked.
    fn unknown(&self) -> Is {
        match self.name {
            Name::None => Is::No,
            Name::Unasked => Is::Maybe,
        }
    }

    fn host(&self, word: &str) -> Is {
        if word.starts_with('@') {
            return self.unknown(); // a netgroup
        }
        if word.starts_with('/') {
            return self.listed(Path::new(word));
        }
        if ["KNOWN", "LOCAL"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return self.unknown();
        }
        if let Some((net, mask)) = split(word, '/') {
            return in_net(net, mask, self.address).into();
        }
        let address = self.address.to_string();
        let by_address = match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            Some(inner) if !has_wildcard(word) => {
                inner.parse::<Ipv6Addr>().is_ok_and(|inner| IpAddr::V6(inner) == self.address).into()
            }
            _ => is_text(word, &address),
        };
        by_address.or(|| match self.name {
            _ if word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/')) => Is::No,
            Name::None => is_text(word, UNKNOWN),
            // What can be no name says nothing of one.
            Name::Unasked if word.contains([':', '[']) => Is::No,
            Name::Unasked => Is::Maybe,
        })
    }

    /// Whether a word of a list file matches.
    fn listed(&self, file: &Path) -> Is {
        let mut lists = self.lists.borrow_mut();
        // A list that names itself has no text while it is read; libwrap would not come to an end.
        let text = lists.entry(file.to_owned()).or_insert_with(|| text(file)).clone();
        drop(lists);
        let mut is = Is::No;
        for (number, line) in text.lines().enumerate() {
            let words = line.split_ascii_whitespace().filter(|word| !word.starts_with('/'));
            let found = words.fold(Is::No, |is, word| is.or(|| self.host(word)));
            if found == Is::Yes {
                self.hit.replace(Some(Line::new(file, number + 1, line)));
                return Is::Yes;
            }
            is = is.or(|| found);
        }
        is
    }
}

/// Whether a pattern that is no net, list or keyword matches a text.
fn is_text(pattern: &str, text: &str) -> Is {
    let begins = |text: &str, with: &str| text.get(..with.len()).is_some_and(|part| part.eq_ignore_ascii_case(with));
    let is = match pattern {
        _ if has_wildcard(pattern) => wildcard(pattern.as_bytes(), text.as_bytes()),
        _ if pattern.starts_with('.') => {
            text.len() > pattern.len()
                && text.get(text.len() - pattern.len()..).is_some_and(|end| end.eq_ignore_ascii_case(pattern))
        }
        _ if pattern.eq_ignore_ascii_case("ALL") => true,
        _ if pattern.eq_ignore_ascii_case("KNOWN") => text != UNKNOWN,
        _ if pattern.ends_with('.') => begins(text, pattern),
        _ => pattern.eq_ignore_ascii_case(text),
    };
    is.into()
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// `*` is any text, `?` any byte. Goes back to the last `*` alone, so it takes no longer than both lengths multiplied.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&text[t]) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether the address is in a net: `192.0.2.0/255.255.255.0`, `192.0.2.0/24`, `[2001:db8::]/64`.
fn in_net(net: &str, mask: &str, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let Ok(net) = net.parse::<Ipv4Addr>() else { return false };
            // libwrap takes 255.255.255.255 for no mask.
            let dotted = mask.parse::<Ipv4Addr>().ok().map(|mask| mask.to_bits()).filter(|mask| *mask != u32::MAX);
            let length = || {
                mask.parse::<u8>()
                    .ok()
                    .filter(|len| (1..=32).contains(len))
                    .map(|len| u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0))
            };
            dotted.or_else(length).is_some_and(|mask| address.to_bits() & mask == net.to_bits())
        }
        IpAddr::V6(address) => {
            let inner = net.strip_prefix('[').and_then(|net| net.strip_suffix(']'));
            let Some(net) = inner.and_then(|net| net.parse::<Ipv6Addr>().ok()) else { return false };
            let Some(len) = mask.parse::<u8>().ok().filter(|len| *len <= 128) else { return false };
            Prefix::of(IpAddr::V6(net), len).contains(&Prefix::host(IpAddr::V6(address)))
        }
    }
}

/// The prefix that a word names in every libwrap; `None` for any other word.
fn prefix(word: &str) -> Option<Prefix> {
    if let Some(parts) = word.strip_suffix('.') {
        let bytes: Option<Vec<u8>> = parts.split('.').map(|part| part.parse().ok()).collect();
        let bytes = bytes.filter(|bytes| bytes.len() < 4)?;
        let mut all = [0; 4];
        all[..bytes.len()].copy_from_slice(&bytes);
        return Some(Prefix::of(IpAddr::from(all), 8 * bytes.len() as u8));
    }
    let found = super::entry::address(word).filter(|_| word.starts_with('[') || !word.contains(':'))?;
    // With bits behind the mask it is nobody's, and as every libwrap reads a mask.
    let is_so = |address| split(word, '/').is_none_or(|(net, mask)| in_net(net, mask, address));
    (is_so(found.address()) && is_so(found.last())).then_some(found)
}

/// The words of a list, as libwrap separates them.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty())
}

/// What is before and behind the first `by` that is in no brackets.
fn split(text: &str, by: char) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c if c == by && depth == 0 => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// The text of a file; one that is not there or cannot be read is empty.
fn text(path: &Path) -> String {
    file::text(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The name of what has none.
const UNKNOWN: &str = "unknown";
/// A line of so many bytes libwrap does not look at.
const LINE_MAX: usize = 2047;
/// How much of a line is shown, in characters.
const SHOWN_MAX: usize = 120;
/// Options of hosts_options(5) after which the answer is still that of the table.
const OPTIONS: &[&str] =
    &["severity", "spawn", "banners", "linger", "keepalive", "nice", "rfc931", "setenv", "umask", "user", "group"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let check = |pattern: &str, text: &str, is: bool| {
            assert_eq!(wildcard(pattern.as_bytes(), text.as_bytes()), is, "{pattern} {text}")
        };
        check("192.0.*.1", "192.0.2.1", true);
        check("192.0.*.1", "192.0.2.12", false);
        check("*", "", true);
        check("a*b*c", "aXbXbXc", true);
        check("?b", "b", false);
        check(&"*a".repeat(500), &"a".repeat(5000), true);
        check(&("*a".repeat(500) + "b"), &"a".repeat(5000), false);
    }

    #[test]
    fn what_depends_on_a_name_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::of(&dir.path().join("hosts.deny"));
        let check = |allow: &str, deny: &str, refused: bool, by_name: usize| {
            std::fs::write(&tables.allow, allow).unwrap();
            std::fs::write(&tables.deny, deny).unwrap();
            let answer = tables.answer("sshd", IpAddr::from([192, 0, 2, 1]), Name::Unasked);
            assert_eq!((answer.refused, answer.by_name.len()), (refused, by_name), "{allow:?} {deny:?}: {answer:?}");
        };
        check("", "sshd: .example.org\n", false, 1);
        check("sshd: 192.0.2.1\n", "sshd: .example.org\n", false, 0);
        check("sshd: .example.org\n", "", false, 0);
        check("sshd: LOCAL\n", "ALL: ALL\n", true, 1);
        check("sshd: LOCAL : deny\n", "ALL: ALL\n", true, 0);
        check("", "ALL: ALL EXCEPT LOCAL\n", false, 1);
        check("", "ALL: PARANOID\nsshd: 192.0.2.1\n", true, 0);
        check("", "sshd: 192.0.2.1 : aclexec /bin/true\n", false, 1);
    }

    #[test]
    fn prefixes() {
        let check = |word: &str, want: Option<&str>| {
            assert_eq!(prefix(word).map(|prefix| prefix.to_string()).as_deref(), want, "{word}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.", Some("192.0.2.0/24"));
        check("10.", Some("10.0.0.0/8"));
        check("192.0.2.0/255.255.255.0", Some("192.0.2.0/24"));
        check("[2001:db8::]/64", Some("2001:db8::/64"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        // tcpdmatch 7.6.q refuses each address by the first two, as nothing admits it.
        for other in ["192.0.2.1/255.255.255.0", "192.0.2.1/255.255.255.255", "192.0.2.0/255.0.255.0", "192.0.2.1/99"] {
            check(other, None);
        }
        for other in ["2001:db8::1", "ALL", ".example.org", "host", "/etc/list", "1.2.3.4.", "", ".", "300."] {
            check(other, None);
        }
    }

    /// Whom the lines of hosts.allow let in to sshd or ftpd; `N [TEXT] WHY` is what line N says beside that.
    #[test]
    fn whom_hosts_allow_lets_in() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::of(&dir.path().join("hosts.deny"));
        let check = |text: &str, want: &str| {
            std::fs::write(&tables.allow, text).unwrap();
            let told = tables.admitted(&["sshd", "ftpd"]).into_iter().flat_map(|one| {
                let number = one.line.number;
                let plain = one.prefixes.iter().map(|prefix| format!("{number} {prefix}")).collect::<Vec<_>>();
                let refused =
                    one.refused.iter().map(|(prefix, line)| format!("{number} not {prefix} by {}", line.number));
                let others = one.others.map(|why| format!("{number} {why}"));
                let all = one.everybody.then(|| format!("{number} everybody"));
                plain.into_iter().chain(refused.collect::<Vec<_>>()).chain(others).chain(all)
            });
            assert_eq!(told.collect::<Vec<_>>().join("|"), want, "{text:?}");
        };
        let (name, option, except) =
            ("it has a name, a word or a file, and no address", "it has an option", "it has an EXCEPT");
        check("", "");
        check("# sshd: 192.0.2.1\n\nin.telnetd: 192.0.2.1\n", "");
        // Only in the first column a `#` begins a comment.
        check(" # sshd: 192.0.2.1\n", "1 192.0.2.1");
        check(
            "sshd: 192.0.2.1\nALL : 192.0.2.2, 192.0.2.3 : allow\nFTPD:192.0.2.4:ALLOW\n",
            "1 192.0.2.1|2 192.0.2.2|2 192.0.2.3|3 192.0.2.4",
        );
        check("in.telnetd, sshd: 192.0.2.", "1 192.0.2.0/24");
        check("sshd: 10. 192.0.2.0/255.255.255.0 198.51.100.0/25", "1 10.0.0.0/8|1 192.0.2.0/24|1 198.51.100.0/25");
        check("sshd: [2001:db8::1] [2001:db8::]/64", "1 2001:db8::1|1 2001:db8::/64");
        check("sshd: 192.0.2.1 \\\n 192.0.2.2\nsshd: 192.0.2.3\n", "2 192.0.2.1|2 192.0.2.2|3 192.0.2.3");
        check("sshd: 192.0.2.1 : deny\n", "");
        check("sshd: 192.0.2.1 : spawn /usr/bin/denyhosts.py & : allow\n", &format!("1 {option}"));
        check("sshd: ALL EXCEPT /etc/hosts.evil\n", &format!("1 {except}"));
        // To ftpd, as tcpdmatch says, too: that is no exception from what is excepted.
        check("ALL EXCEPT in.telnetd: 192.0.2.1\nALL EXCEPT sshd EXCEPT ftpd: 192.0.2.2\n", "1 192.0.2.1|2 192.0.2.2");
        check("ALL EXCEPT sshd ftpd: 192.0.2.2\n", "");
        check("sshd@10.0.0.1: 192.0.2.1\n", "1 it is for one address of this machine alone");
        check("sshd: .example.org 192.0.2.1\n", &format!("1 192.0.2.1|1 {name}"));
        check("sshd: ALL\n", &format!("1 {name}|1 everybody"));
        check("sshd: 192.0.2.1/255.255.255.0\n", &format!("1 {name}"));
        // The first line that matches counts.
        check("sshd: 203.0.113.7 : deny\nsshd: 203.0.113.0/24 192.0.2.1\n", "2 192.0.2.1|2 not 203.0.113.0/24 by 1");
        check("sshd: 203.0.113.0/24 : deny\nsshd: 203.0.113.7\n", "2 not 203.0.113.7 by 1");
        check("in.telnetd: ALL : deny\nsshd: 203.0.113.7\n", "2 203.0.113.7");
        check("ALL: .example.org : twist /bin/echo\nsshd: 203.0.113.7\n", "2 not 203.0.113.7 by 1");
        check("sshd: 203.0.113.7\nsshd: 203.0.113.0/24 : deny\n", "1 203.0.113.7");
    }
}
