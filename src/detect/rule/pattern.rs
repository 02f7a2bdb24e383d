//! The regular expression of a rule: what makes one, and what strangers could do with it.
//!
//! A pattern that holds a whole message, with bounded text before its address, can be trusted as far as its examples go.
//! Any other can be [`Fooled`]: it is taken only where an administrator says so, and what it finds is forgeable.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::{ADDRESS, COMPILED_MAX, GROUPS, NEST_MAX, PATTERN_MAX, Refusal};
use crate::detect::address;

/// The longest free text before an address in which no relay can have cut a line, in bytes: daemons take 1024 with what stands before a
/// message (RFC 3164, section 4.1).
const WHOLE_MAX: usize = 900;
/// How long an example may become, in bytes.
const EXAMPLE_MAX: usize = 2_000;
/// The address in an example, and the user.
pub const VICTIM: &str = "192.0.2.7";
const USER: &str = "bob";

/// How strangers may make a pattern find an address of their choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fooled {
    /// It can match behind the beginning.
    Start,
    /// It can match before the end.
    End,
    /// Text without a bound stands before the address.
    Unbounded,
    /// Free text stands on both sides of the address.
    BothSides,
}

impl fmt::Display for Fooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fooled::Start => "it does not begin with ^, so it is found within whatever a stranger gets logged",
            Fooled::End => "it does not end in $, so a stranger's text may go on behind the address",
            Fooled::Unbounded => {
                "text without a bound stands before the address, so a stranger's may be so long that the line is cut in it; \
                 write .{0,80} instead of .*"
            }
            Fooled::BothSides => "free text stands on both sides of the address, and a stranger's may hold another one",
        })
    }
}

/// A pattern that is in force.
pub(super) struct Compiled {
    pub(super) regex: Regex,
    pub(super) fooled: Option<Fooled>,
}

/// Makes a pattern of what is written; one that does not hold the whole message only if `is_unsafe`.
pub(super) fn compile(pattern: &str, is_unsafe: bool) -> Result<Compiled, Refusal> {
    let hir = parse(pattern)?;
    let mut engine = RegexBuilder::new(pattern);
    engine.unicode(false).dot_matches_new_line(true).nest_limit(NEST_MAX);
    engine.size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX);
    let regex = engine.build().map_err(|_| Refusal::TooLarge)?;
    let fooled = fooled(&hir);
    match fooled {
        Some(Fooled::Start) if !is_unsafe => return Err(Refusal::NoStart),
        Some(Fooled::End) if !is_unsafe => return Err(Refusal::NoEnd),
        _ => {}
    }
    if regex.is_match(b"") {
        return Err(Refusal::Empty);
    }
    let mut groups = regex.capture_names().flatten();
    if let Some(group) = groups.find(|name| !GROUPS.contains(name)) {
        return Err(Refusal::Group(group.to_owned()));
    }
    match regex.capture_names().flatten().filter(|name| ADDRESS.contains(name)).count() {
        0 => Err(Refusal::NoAddr),
        1 => Ok(Compiled { regex, fooled }),
        _ => Err(Refusal::TwoAddresses),
    }
}

/// What a pattern means, by the settings that the engine has, too.
fn parse(pattern: &str) -> Result<Hir, Refusal> {
    if pattern.len() > PATTERN_MAX {
        return Err(Refusal::TooLong(pattern.len()));
    }
    let mut parser = regex_syntax::ParserBuilder::new();
    let hir = parser.unicode(false).utf8(false).dot_matches_new_line(true).nest_limit(NEST_MAX).build().parse(pattern);
    hir.map_err(|error| syntax(&error))
}

fn syntax(error: &regex_syntax::Error) -> Refusal {
    let (span, why) = match error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        other => return Refusal::Syntax { at: 1, why: other.to_string() },
    };
    Refusal::Syntax { at: span.start.column, why }
}

/// How strangers may use it, as far as the pattern alone tells.
fn fooled(hir: &Hir) -> Option<Fooled> {
    let properties = hir.properties();
    if !properties.look_set_prefix().contains(Look::Start) {
        return Some(Fooled::Start);
    }
    if !properties.look_set_suffix().contains(Look::End) {
        return Some(Fooled::End);
    }
    let free = sides(hir)?.0.into_iter().map(free).sum::<Option<usize>>();
    free.is_none_or(|free| free > WHOLE_MAX).then_some(Fooled::Unbounded)
}

/// The same of one that has no examples, by which somebody would have looked at what can stand where.
pub fn judge(pattern: &str) -> Result<Option<Fooled>, Refusal> {
    let fooled = compile(pattern, true)?.fooled;
    let hir = parse(pattern)?;
    let is_sound = |(before, after): &(Vec<&Hir>, Vec<&Hir>)| is_told(before) || is_closed(before) || is_closed(after);
    let both = || sides(&hir).filter(|sides| !is_sound(sides)).map(|_| Fooled::BothSides);
    Ok(fooled.or_else(both))
}

/// What stands before a group called `name`, deterministically read or not: see [`is_told`].
pub fn is_led_by_fixed_text(pattern: &str, name: &str) -> bool {
    let Ok(hir) = parse(pattern) else { return false };
    let before = around(&hir, &[name]).map(|(before, _)| before);
    hir.properties().look_set_prefix().contains(Look::Start) && before.is_some_and(|before| is_told(&before))
}

/// What a group of that name finds in a line; nothing by a pattern that is wrong.
pub fn found(pattern: &str, name: &str, line: &str) -> Option<String> {
    parse(pattern).ok()?;
    let mut engine = RegexBuilder::new(pattern);
    engine.unicode(false).dot_matches_new_line(true).nest_limit(NEST_MAX);
    let regex = engine.size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build().ok()?;
    let found = regex.captures(line.as_bytes())?.name(name)?.as_bytes();
    Some(String::from_utf8_lossy(found).into_owned())
}

/// Whether each part ends where it must, whatever stands behind it: words, and runs of what the next word does not
/// begin with. So no stranger's text, which may hold anything, can stand in for one of them.
fn is_told(parts: &[&Hir]) -> bool {
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        match part.kind() {
            HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => {}
            HirKind::Repetition(run) => {
                let HirKind::Class(Class::Bytes(class)) = run.sub.kind() else { return false };
                let next = parts.peek().map(|next| next.kind());
                let Some(HirKind::Literal(next)) = next else { return false };
                let first = next.0.first().copied().unwrap_or_default();
                if class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&first)) {
                    return false;
                }
            }
            HirKind::Capture(_) | HirKind::Concat(_) | HirKind::Alternation(_) => return false,
        }
    }
    true
}

/// What stands on either side of the address.
fn sides(hir: &Hir) -> Option<(Vec<&Hir>, Vec<&Hir>)> {
    around(hir, &ADDRESS)
}

/// What stands on either side of the group that has one of these names.
fn around<'a>(hir: &'a Hir, names: &[&str]) -> Option<(Vec<&'a Hir>, Vec<&'a Hir>)> {
    match hir.kind() {
        HirKind::Capture(group) if group.name.as_deref().is_some_and(|name| names.contains(&name)) => {
            Some((Vec::new(), Vec::new()))
        }
        HirKind::Capture(group) => around(&group.sub, names),
        // What is repeated may stand before it.
        HirKind::Repetition(run) => {
            let (mut before, mut after) = around(&run.sub, names)?;
            if run.max != Some(1) {
                before.push(hir);
                after.push(hir);
            }
            Some((before, after))
        }
        HirKind::Alternation(parts) => parts.iter().find_map(|part| around(part, names)),
        HirKind::Concat(parts) => parts.iter().enumerate().find_map(|(at, part)| {
            let (inner_before, mut after) = around(part, names)?;
            after.extend(&parts[at + 1..]);
            Some((parts[..at].iter().chain(inner_before).collect(), after))
        }),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => None,
    }
}

/// How much of it may be a stranger's text, in bytes; `None` without a bound.
fn free(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Repetition(_) => longest(hir),
        HirKind::Capture(group) => free(&group.sub),
        HirKind::Concat(parts) => parts.iter().map(free).sum(),
        HirKind::Alternation(parts) => parts.iter().try_fold(0, |most, part| Some(free(part)?.max(most))),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => Some(0),
    }
}

/// How long it may become, in bytes. Runs of digits and blanks are nobody's to make long.
fn longest(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Repetition(run) if is_plain(&run.sub) => Some(0),
        HirKind::Repetition(run) => longest(&run.sub)?.checked_mul(run.max? as usize),
        HirKind::Capture(group) => longest(&group.sub),
        HirKind::Concat(parts) => parts.iter().map(longest).sum(),
        HirKind::Alternation(parts) => parts.iter().try_fold(0, |most, part| Some(longest(part)?.max(most))),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => hir.properties().maximum_len(),
    }
}

/// Whether it is digits or blanks.
fn is_plain(hir: &Hir) -> bool {
    let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || byte == 0x0b;
    match hir.kind() {
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().all(|range| (range.start()..=range.end()).all(plain))
        }
        HirKind::Literal(text) => text.0.iter().copied().all(plain),
        HirKind::Capture(group) => is_plain(&group.sub),
        _ => false,
    }
}

/// Whether no other address can stand in it, and what goes with one: neither a stranger's, nor the true one behind his.
fn is_closed(parts: &[&Hir]) -> bool {
    let count = |byte| parts.iter().map(|part| most(part, byte)).sum::<usize>();
    // With digits or runs between them these are an address.
    if parts.iter().any(|part| !is_fixed(part))
        && (count(b'.') >= 3 || count(b':') >= 7 || parts.iter().any(|part| elides(part)))
    {
        return false;
    }
    let runs = parts.iter().try_fold(false, |runs, part| Some(runs | has_runs(part)?));
    // A separator in the fixed text may be one within an address of which the runs have the rest.
    runs.is_some_and(|runs| !runs || !parts.iter().any(|part| has_separator(part)))
}

/// How often a byte can stand in it at most, where a class is one byte.
fn most(hir: &Hir, byte: u8) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(text) => text.0.iter().filter(|it| **it == byte).count(),
        HirKind::Class(_) => usize::from(has_separator(hir)),
        HirKind::Repetition(run) => {
            let most = most(&run.sub, byte);
            if most == 0 { 0 } else { most.saturating_mul(run.max.map_or(usize::MAX, |max| max as usize)) }
        }
        HirKind::Capture(group) => most(&group.sub, byte),
        HirKind::Concat(parts) => parts.iter().fold(0, |sum, part| sum.saturating_add(most(part, byte))),
        HirKind::Alternation(parts) => parts.iter().map(|part| most(part, byte)).max().unwrap_or(0),
    }
}

/// Whether it is the same text in each message.
fn is_fixed(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) => true,
        HirKind::Class(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => false,
        HirKind::Capture(group) => is_fixed(&group.sub),
        HirKind::Concat(parts) => parts.iter().all(is_fixed),
    }
}

/// Whether `::` stands in it, which is all that a short address of IPv6 needs.
fn elides(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => false,
        HirKind::Literal(text) => text.0.windows(2).any(|two| two == b"::"),
        HirKind::Repetition(run) => elides(&run.sub),
        HirKind::Capture(group) => elides(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(elides),
    }
}

/// Whether it has runs of more than digits and blanks; `None` if an address fits into one.
fn has_runs(hir: &Hir) -> Option<bool> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => Some(false),
        HirKind::Repetition(run) if is_plain(&run.sub) => Some(false),
        HirKind::Repetition(run) if run.max == Some(1) => has_runs(&run.sub),
        HirKind::Repetition(run) => match run.sub.kind() {
            HirKind::Class(_) if !has_separator(&run.sub) => Some(true),
            _ => None,
        },
        HirKind::Capture(group) => has_runs(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().try_fold(false, |runs, part| Some(runs | has_runs(part)?))
        }
    }
}

/// Whether a `.` or a `:` can stand in it, which each address has.
fn has_separator(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(text) => text.0.iter().any(|byte| matches!(byte, b'.' | b':')),
        HirKind::Class(Class::Bytes(class)) => class
            .ranges()
            .iter()
            .any(|range| [b'.', b':'].iter().any(|byte| (range.start()..=range.end()).contains(byte))),
        HirKind::Class(Class::Unicode(_)) => true,
        HirKind::Repetition(run) => has_separator(&run.sub),
        HirKind::Capture(group) => has_separator(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_separator),
    }
}

/// A message that a pattern matches, and what it finds in it beside [`VICTIM`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The message.
    pub message: String,
    /// The user that is found in it.
    pub user: Option<String>,
}

/// The shortest message that a pattern matches, if that can be made, with [`VICTIM`] for its address.
pub fn example(pattern: &str) -> Option<Example> {
    let (hir, regex) = (parse(pattern).ok()?, compile(pattern, true).ok()?.regex);
    [Some(USER), None].into_iter().find_map(|user| {
        let mut message = Vec::new();
        write(&hir, user, &mut message)?;
        let message = String::from_utf8(message).ok()?;
        let found = regex.captures(message.as_bytes())?;
        let named = |name| found.name(name).map(|part| part.as_bytes());
        let address = ADDRESS.into_iter().find_map(named)?;
        (address::parse(address) == address::parse(VICTIM.as_bytes())).then_some(())?;
        let user = named("user").map(|user| String::from_utf8_lossy(user).into_owned());
        Some(Example { message, user })
    })
}

/// A line by which a stranger has [`VICTIM`] found, as a pattern lets him, if one can be made.
pub fn forgery(pattern: &str, fooled: Fooled) -> Option<String> {
    let Example { message, .. } = example(pattern)?;
    let regex = compile(pattern, true).ok()?.regex;
    let lines = match fooled {
        Fooled::Start => vec![format!("what a stranger wrote: {message}"), format!("{message} from 198.51.100.9")],
        Fooled::End => vec![format!("{message} from 198.51.100.9"), format!("{message} and what else he wrote")],
        Fooled::Unbounded | Fooled::BothSides => vec![message],
    };
    let finds = |line: &String| {
        let found = regex.captures(line.as_bytes());
        let found =
            found.and_then(|found| ADDRESS.into_iter().find_map(|name| found.name(name).map(|part| part.range())));
        found.is_some_and(|range| address::parse(line[range].trim().as_bytes()) == address::parse(VICTIM.as_bytes()))
    };
    lines.into_iter().find(finds)
}

/// Appends the shortest text that fits; `None` if it becomes too long.
fn write(hir: &Hir, user: Option<&str>, out: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(text) => out.extend_from_slice(&text.0),
        HirKind::Class(Class::Bytes(class)) => {
            let holds = |byte: &u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(byte));
            let usual = b"x1 -.".iter().copied().find(|byte| holds(byte));
            out.push(usual.or(class.ranges().first().map(|range| range.start()))?);
        }
        HirKind::Class(Class::Unicode(_)) => return None,
        HirKind::Repetition(run) => {
            let least = if around(&run.sub, &ADDRESS).is_some() { run.min.max(1) } else { run.min };
            for _ in 0..least {
                write(&run.sub, user, out)?;
            }
        }
        HirKind::Capture(group) => match (group.name.as_deref(), user) {
            (Some(name), _) if ADDRESS.contains(&name) => out.extend_from_slice(VICTIM.as_bytes()),
            (Some("user"), Some(user)) => out.extend_from_slice(user.as_bytes()),
            _ => write(&group.sub, user, out)?,
        },
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, user, out))?,
        HirKind::Alternation(parts) => {
            let with = parts.iter().find(|part| around(part, &ADDRESS).is_some());
            write(with.or(parts.first())?, user, out)?;
        }
    }
    (out.len() <= EXAMPLE_MAX).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a pattern without examples can be fooled, and by which line.
    #[test]
    fn a_pattern_says_how_it_can_be_fooled() {
        let check = |pattern: &str, want: Option<(Fooled, &str)>| {
            let found = judge(pattern).unwrap();
            let forged = found.map(|fooled| (fooled, forgery(pattern, fooled).unwrap()));
            assert_eq!(forged, want.map(|(fooled, line)| (fooled, line.to_owned())), "{pattern}");
        };
        let (start, end) = (Fooled::Start, Fooled::End);
        check(r"break in from (?P<host>.*)", Some((start, "what a stranger wrote: break in from 192.0.2.7")));
        check(r"x (?P<user>.*) from (?P<host>.*)", Some((start, "what a stranger wrote: x bob from 192.0.2.7")));
        check(r"^x (?P<host>[0-9.]+)", Some((end, "x 192.0.2.7 from 198.51.100.9")));
        check(r"^x (?P<user>.*) from (?P<host>\S+)$", Some((Fooled::Unbounded, "x bob from 192.0.2.7")));
        check(r"^(?:\S+ )+(?P<host>[0-9.]+)$", Some((Fooled::Unbounded, "x 192.0.2.7")));
        let both = r"^x (?P<user>.{0,80}) from (?P<host>\S+) by .{0,9}$";
        check(both, Some((Fooled::BothSides, "x bob from 192.0.2.7 by ")));
        // Free text needs no blank, may be of several words, and be free of some bytes.
        let check_both = |pattern: &str, line: &str| check(pattern, Some((Fooled::BothSides, line)));
        check_both(
            r"^x user=(?P<user>\S{1,80}),from=(?P<host>[0-9.]+),client=.{0,80}$",
            "x user=bob,from=192.0.2.7,client=",
        );
        check_both(
            r"^x (?P<user>(?:[^ ]{1,30} ){0,3}[^ ]{1,30}) from (?P<host>[0-9.]+)(?: [^ ]{1,30}){0,6}$",
            "x bob from 192.0.2.7",
        );
        check_both(r"^x (?P<user>.{0,80}?) from (?P<host>[0-9.]+)[^:x]*$", "x bob from 192.0.2.7");
        check_both(
            r"^x (?P<user>.{0,80}) of (?P<host>\S+) [a-z0-9]*\.[a-z0-9]*\.[a-z0-9]*\.[a-z0-9 ]*$",
            "x bob of 192.0.2.7 ...",
        );
        // Each part may be short enough, and both together may not.
        let via = r"^x (?P<user>.{0,500}) via .{0,500} from (?P<host>[0-9.]+)$";
        let behind = r"^x (?P<user>.{0,80}?) (?P<host>[0-9.]+)(?: \d+\.\d+\.\d+\.\d+)?$";
        check_both(behind, "x bob 192.0.2.7");
        check_both(r"^x (?P<user>.{0,80}?) (?P<host>\S+)(?: \d+::\d+)?$", "x bob 192.0.2.7");
        check(r"^\d+:\d+:\d+ v1.2.3.4 (?P<user>.{0,80}) from (?P<host>[0-9.]+)$", None);
        check(via, Some((Fooled::Unbounded, "x bob via  from 192.0.2.7")));
        check(r"^x (?:.{0,30} ){0,30}(?P<host>[0-9.]+)$", Some((Fooled::Unbounded, "x 192.0.2.7")));
        check(r"^x (?P<user>.{0,400}) via .{0,400} from (?P<host>[0-9.]+)$", None);
        // What stands on one side may be told, or hold no address.
        check(
            r"^x (?P<user>.{0,80}) from (?P<host>\S+) port \d+( ssh2)?(: [a-z]+)?$",
            Some((Fooled::BothSides, "x bob from 192.0.2.7 port 1")),
        );
        check(r"^x (?P<user>.{0,80}) from (?P<host>\S+) port \d+( ssh2|: no)?$", None);
        check(r"^x (?P<user>.{0,80}) from (?P<host>\S+) by [a-z ]+$", None);
        check(r"^x for [^,]{0,80},(?P<host>\S+) .*$", None);
        check(r"^x (?P<invalid>no )?\w{1,9} (?P<host>\S+) .*$", None);
        check(r"^x (?P<user>.{0,80}) from (?P<host>\S+)$", None);
        check(r"^x from (?P<host>\S+): .*$", None);
        check(
            r"^\w{1,9}\[\d+\]: x +(?P<invalid>no )?(?P<user>\w{1,9})@(::ffff:)?(?P<host>\d{1,3}(?:\.\d{1,3}){3})$",
            None,
        );
    }

    #[test]
    fn what_leads_to_a_message_is_told() {
        let check = |pattern: &str, want: bool| assert_eq!(is_led_by_fixed_text(pattern, "message"), want, "{pattern}");
        check(r"^sshd: (?P<message>.*)", true);
        check(r"^\d+ sshd\[\d+\]: (?P<message>.*)$", true);
        check(r"^[^|]*\|sshd\|(?P<message>.*)$", true);
        check(r"^\S+ \S+ sshd: (?P<message>.*)$", true);
        check(r"sshd: (?P<message>.*)", false);
        check(r"^.* sshd: (?P<message>.*)", false);
        check(r"^.*?sshd: (?P<message>.*)", false);
        check(r"^(?:\S+ )+sshd: (?P<message>.*)", false);
        check(r"^.{0,20} sshd: (?P<message>.*)", false);
        check(r"^sshd: .*", false);
    }
}
