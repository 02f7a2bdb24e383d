//! The text of hosts.deny: which lines are ours, and what the file has to become.
//!
//! Pure: bytes in, bytes out. Lines of others come out as they went in, in their order, whatever they hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::deny::ledger::Lines;

use super::entry::{self, denied};

/// What a file has to become.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The whole file.
    pub(super) bytes: Vec<u8>,
    /// The entries in it that are ours, and those that we leave deleted.
    pub(super) ledger: Lines,
    /// Ours that somebody deleted and that are back.
    pub(super) put_back: Vec<String>,
    /// Ours that somebody deleted again and that stay away.
    pub(super) left_out: Vec<String>,
    /// Ours of which somebody deleted the comment: they are no longer ours, and stay whatever is wanted.
    pub(super) given_up: Vec<String>,
}

/// What we know when a file is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// The entries that the file is to hold.
    pub(super) want: &'a Lines,
    /// The entries that we wrote.
    pub(super) ledger: &'a Lines,
    /// The entries that were put back once already.
    pub(super) put_back: &'a BTreeSet<String>,
    /// Whether entries under a `# DenyHosts:` comment are ours although the ledger does not have them.
    pub(super) adopt: bool,
    /// The time for the comments of new entries; `None` = no comments.
    pub(super) stamp: Option<&'a str>,
    /// Whether each of ours had a comment when the file was written last, so that one without was touched by a person.
    pub(super) had_comments: bool,
    /// Whether a write of ours may have been cut off, so that the last line is half of one of ours.
    pub(super) may_be_torn: bool,
    /// Whether it is a list file, in which an entry of ours has no comment, also where an earlier version wrote one.
    pub(super) list: bool,
}

/// Says what the file `old` has to become.
///
/// Ours is one line for each entry of the ledger, with the `# DenyHosts:` comment above it; without a ledger
/// (see [`Known::adopt`]) every such pair. An entry that others wrote, DenyHosts itself included, is as good as
/// one of ours, but is never removed. Nor is one of ours whose comment a person deleted.
pub(super) fn render(old: &[u8], known: Known<'_>) -> Rendered {
    let old = if known.may_be_torn { without_torn(old, known.ledger) } else { old };
    let (lines, orphans, given_up) = classify(old, known);
    let mut bytes = Vec::with_capacity(old.len());
    let mut present: BTreeSet<&[u8]> = BTreeSet::new();
    let mut ledger = Lines::new();
    for line in &lines {
        match *line {
            Line::Foreign(raw) | Line::Bare(raw) => {
                bytes.extend(raw);
                present.insert(bare(raw));
            }
            Line::Ours { raw, entry } => {
                let wanted = std::str::from_utf8(entry).ok().and_then(|text| known.want.get_key_value(text));
                if let Some((text, deny)) = wanted
                    && present.insert(entry)
                {
                    if let Some(stamp) = known.stamp.filter(|_| bare(raw) == entry) {
                        bytes.extend(
                            orphans.get(entry).map_or_else(|| entry::stamp(stamp, entry), |line| line.to_vec()),
                        );
                        bytes.push(b'\n');
                    }
                    bytes.extend(raw);
                    if !raw.ends_with(b"\n") {
                        bytes.push(b'\n'); // so that nobody's next line is glued to it
                    }
                    ledger.insert(text.clone(), *deny);
                }
            }
            Line::Orphan => {}
        }
    }
    // One line gone is an operator's wish, at most mistaken; all gone is a file that was replaced.
    let survivors = lines.iter().any(|line| matches!(line, Line::Ours { .. }));
    let by_hand = survivors || known.ledger.len() == 1;
    let mut rendered = Rendered { bytes, ledger, put_back: Vec::new(), left_out: Vec::new(), given_up };
    for (entry, deny) in known.want.iter().filter(|(entry, _)| !present.contains(entry.as_bytes())) {
        if known.ledger.contains_key(entry) {
            if by_hand && known.put_back.contains(entry) {
                rendered.left_out.push(entry.clone());
                rendered.ledger.insert(entry.clone(), *deny);
                continue;
            }
            rendered.put_back.push(entry.clone());
        }
        append(&mut rendered.bytes, entry, known.stamp);
        rendered.ledger.insert(entry.clone(), *deny);
    }
    rendered
}

/// The first comment in a list file. libwrap knows none there: each word is a pattern, and `ALL` would be everybody.
pub(super) fn comment(list: &[u8]) -> Option<&[u8]> {
    list.split(|&byte| byte == b'\n').find(|line| line.contains(&b'#'))
}

/// The entries that stand under a `# DenyHosts:` comment of their own.
pub(super) fn stamped_entries(text: &[u8]) -> impl Iterator<Item = &str> {
    let lines = text.split(|&byte| byte == b'\n');
    let pairs = lines.clone().zip(lines.skip(1));
    let entries = pairs.filter_map(|(comment, line)| stamped(comment).filter(|entry| *entry == line));
    entries.filter_map(|entry| std::str::from_utf8(entry).ok())
}

/// A line, or the two lines of comment and entry, with their line ends.
#[derive(Clone, Copy, Debug)]
enum Line<'a> {
    Foreign(&'a [u8]),
    /// Without a comment: ours if the ledger has it.
    Bare(&'a [u8]),
    Ours {
        raw: &'a [u8],
        entry: &'a [u8],
    },
    /// A comment of ours whose entry is gone.
    Orphan,
}

/// A file without its last line, where that is the beginning of what we write for an entry that is not there.
fn without_torn<'a>(old: &'a [u8], ledger: &Lines) -> &'a [u8] {
    let from = memchr::memrchr(b'\n', old).map_or(0, |at| at + 1);
    let last = &old[from..];
    if last.is_empty() {
        return old;
    }
    let begins = |entry: &String| {
        let of_entry = |part: &[u8]| entry.as_bytes().starts_with(part) && part.len() < entry.len();
        let of_comment = || entry::begins_stamp(last).is_some_and(|rest| rest.is_none_or(of_entry));
        of_entry(last) || of_comment()
    };
    let present: BTreeSet<&[u8]> = old.split(|&byte| byte == b'\n').collect();
    let is_torn = ledger.keys().any(|entry| begins(entry) && !present.contains(entry.as_bytes()));
    if is_torn { &old[..from] } else { old }
}

/// The lines; comments of ours without their entries, by those; and entries that are ours no more.
type Classified<'a> = (Vec<Line<'a>>, BTreeMap<&'a [u8], &'a [u8]>, Vec<String>);

fn classify<'a>(old: &'a [u8], known: Known<'_>) -> Classified<'a> {
    let written = |entry: &[u8]| std::str::from_utf8(entry).is_ok_and(|entry| known.ledger.contains_key(entry));
    let (mut lines, mut orphans, mut given_up) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut paired: BTreeSet<&[u8]> = BTreeSet::new();
    let mut rest = old;
    // libwrap joins a line that ends in a backslash with the next one, which then is no line of ours.
    let mut continued = false;
    while !rest.is_empty() {
        let (raw, after) = rest.split_at(line_len(rest));
        let next = &after[..line_len(after)];
        let was_continued = continued;
        continued = trim(raw).ends_with(b"\\");
        rest = after;
        lines.push(match stamped(bare(raw)).filter(|_| !was_continued) {
            Some(entry) if entry == bare(next) && (known.adopt || written(entry)) => {
                paired.insert(entry);
                let (both, after) = old[old.len() - raw.len() - after.len()..].split_at(raw.len() + next.len());
                rest = after;
                Line::Ours { raw: if known.list { next } else { both }, entry }
            }
            Some(entry) if written(entry) => {
                orphans.insert(entry, bare(raw));
                Line::Orphan
            }
            _ if was_continued => Line::Foreign(raw),
            _ => Line::Bare(raw),
        });
    }
    // Only one of equal lines is ours, and rather the one under its comment.
    for line in &mut lines {
        if let Line::Bare(raw) = *line {
            let entry = bare(raw);
            let ours = written(entry) && paired.insert(entry);
            let lost_comment = known.had_comments && !orphans.contains_key(entry);
            *line = match ours {
                true if lost_comment => {
                    given_up.push(String::from_utf8_lossy(entry).into_owned());
                    Line::Foreign(raw)
                }
                true => Line::Ours { raw, entry },
                false => Line::Foreign(raw),
            };
        }
    }
    (lines, orphans, given_up)
}

/// The entry that a `# DenyHosts: TIME | ENTRY` comment names, if it denies an address or a network.
///
/// DenyHosts' `--migrate` put such comments over every rule of the operator's; those are not ours.
fn stamped(line: &[u8]) -> Option<&[u8]> {
    let (_, entry) = entry::stamped(line)?;
    denied(std::str::from_utf8(entry).ok()?).map(|_| entry)
}

fn append(bytes: &mut Vec<u8>, entry: &str, stamp: Option<&str>) {
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    if bytes.ends_with(b"\\\n") {
        bytes.push(b'\n'); // else libwrap would join us to it
    }
    if let Some(stamp) = stamp {
        bytes.extend(entry::stamp(stamp, entry.as_bytes()));
        bytes.push(b'\n');
    }
    bytes.extend(entry.as_bytes());
    bytes.push(b'\n');
}

/// The length of the first line with its end; 0 for nothing.
pub(super) fn line_len(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

pub(super) fn trim(raw: &[u8]) -> &[u8] {
    raw.strip_suffix(b"\n").unwrap_or(raw)
}

/// The same without what an editor of another system put before the end: libwrap takes it for a blank.
fn bare(raw: &[u8]) -> &[u8] {
    trim(raw).trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_denyhosts_wrote_before_us_is_never_removed() {
        let old = b"# DenyHosts: Sat Nov 21 23:38:26 2026 | sshd: 192.0.2.1\nsshd: 192.0.2.1\n";
        let none = Lines::new();
        let known = Known {
            want: &none,
            ledger: &none,
            put_back: &BTreeSet::new(),
            adopt: false,
            stamp: None,
            list: false,
            had_comments: false,
            may_be_torn: false,
        };
        assert_eq!(render(old, known).bytes, old);
        assert_eq!(render(old, Known { adopt: true, ..known }).bytes, b"");
    }

    /// An editor wrote CRLF: the entries are the same, and go with their denies; one without its comment is a person's, also
    /// where all is taken away.
    #[test]
    fn ends_of_lines_make_no_other_entry() {
        let old = b"# DenyHosts: T | sshd: 192.0.2.1\r\nsshd: 192.0.2.1\r\nsshd: 192.0.2.2\r\nsshd: 192.0.2.3\r\n";
        let (ledger, none) = (entries("192.0.2.1 192.0.2.2"), Lines::new());
        let known = Known {
            want: &ledger,
            ledger: &ledger,
            put_back: &BTreeSet::new(),
            adopt: false,
            stamp: None,
            list: false,
            had_comments: false,
            may_be_torn: false,
        };
        assert_eq!(render(old, known).bytes, old);
        assert_eq!(render(old, Known { want: &none, ..known }).bytes, b"sshd: 192.0.2.3\r\n");
        let taken_away = render(old, Known { want: &none, had_comments: true, ..known });
        assert_eq!(taken_away.bytes, b"sshd: 192.0.2.2\r\nsshd: 192.0.2.3\r\n");
        assert_eq!(taken_away.given_up, ["sshd: 192.0.2.2"]);
    }

    fn entries(text: &str) -> Lines {
        text.split_whitespace().map(|host| (format!("sshd: {host}"), host.parse().unwrap())).collect()
    }

    /// `;` stands for a line end, `#H` for the comment of H, in `old` and `new`.
    fn expand(text: &str) -> Vec<u8> {
        let lines: Vec<String> = text
            .split_inclusive(';')
            .map(|line| {
                let line = line.replace(';', "\n");
                match line.strip_prefix('#') {
                    Some(host) if !host.starts_with(' ') => format!("# DenyHosts: T | sshd: {host}"),
                    _ => line,
                }
            })
            .collect();
        lines.concat().into_bytes()
    }

    /// In a list file there are no comments of ours: one that an earlier version wrote goes, all else stays.
    #[test]
    fn lists_have_no_comments() {
        let entries =
            |text: &str| text.split_whitespace().map(|host| (host.to_owned(), host.parse().unwrap())).collect();
        let check = |old: &str, want: &str, ledger: &str, new: &str| {
            let (want, ledger): (Lines, Lines) = (entries(want), entries(ledger));
            let known = Known {
                want: &want,
                ledger: &ledger,
                put_back: &BTreeSet::new(),
                adopt: false,
                stamp: None,
                list: true,
                had_comments: false,
                may_be_torn: false,
            };
            let got = render(old.replace(';', "\n").as_bytes(), known);
            assert_eq!(String::from_utf8_lossy(&got.bytes).replace('\n', ";"), new, "{old:?}");
        };
        let stamped = "# DenyHosts: T | 192.0.2.1;192.0.2.1;192.0.2.9;";
        check(stamped, "192.0.2.1 192.0.2.2", "192.0.2.1", "192.0.2.1;192.0.2.9;192.0.2.2;");
        check(stamped, "", "192.0.2.1", "192.0.2.9;");
        check("# DenyHosts: T | 192.0.2.1;", "192.0.2.1", "192.0.2.1", "192.0.2.1;");
        check("# mine;192.0.2.1;", "192.0.2.1", "", "# mine;192.0.2.1;");
        assert_eq!(comment(b"192.0.2.1\n192.0.2.2 # mine\n# x\n"), Some(&b"192.0.2.2 # mine"[..]));
        assert_eq!(comment(b"192.0.2.1\n192.0.2.2\n"), None);
    }

    #[track_caller]
    fn check(old: &str, want: &str, ledger: &str, new: &str, new_ledger: &str) -> Rendered {
        check_again(old, want, ledger, "", new, new_ledger)
    }

    #[track_caller]
    fn check_again(old: &str, want: &str, ledger: &str, put_back: &str, new: &str, new_ledger: &str) -> Rendered {
        let (want, ledger) = (entries(want), entries(ledger));
        let put_back: BTreeSet<String> = entries(put_back).into_keys().collect();
        let known = Known {
            want: &want,
            ledger: &ledger,
            put_back: &put_back,
            adopt: true,
            stamp: Some("T"),
            list: false,
            had_comments: false,
            may_be_torn: false,
        };
        let got = render(&expand(old), known);
        assert_eq!(String::from_utf8_lossy(&got.bytes), String::from_utf8_lossy(&expand(new)), "{old:?}");
        assert_eq!(got.ledger, entries(new_ledger), "ledger of {old:?}");
        let put_back: BTreeSet<String> = put_back.iter().chain(&got.put_back).cloned().collect();
        let again = render(&got.bytes, Known { ledger: &got.ledger, put_back: &put_back, ..known });
        assert_eq!((&again.bytes, &again.ledger), (&got.bytes, &got.ledger), "a second time changes nothing: {old:?}");
        got
    }

    #[test]
    fn adds_and_removes_ours_only() {
        check("", "", "", "", "");
        check("", "1.1.1.1", "", "#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1");
        check("a;b", "1.1.1.1", "", "a;b;#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1");
        check("a;b", "", "", "a;b", "");
        check("a;#1.1.1.1;sshd: 1.1.1.1;b;", "", "", "a;b;", "");
        check("a;sshd: 1.1.1.1;b;", "", "1.1.1.1", "a;b;", "");
        check("a;sshd: 1.1.1.1", "", "1.1.1.1", "a;", "");
        check("#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1", "", "#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1");
    }

    #[test]
    fn an_entry_of_others_stays() {
        check("sshd: 1.1.1.1;", "1.1.1.1", "", "sshd: 1.1.1.1;", "");
        check("sshd: 1.1.1.1;", "", "", "sshd: 1.1.1.1;", "");
        // theirs and ours: ours goes
        check("sshd: 1.1.1.1;#1.1.1.1;sshd: 1.1.1.1;", "", "1.1.1.1", "sshd: 1.1.1.1;", "");
        check("sshd: 1.1.1.1;sshd: 1.1.1.1;", "", "1.1.1.1", "sshd: 1.1.1.1;", "");
        check(
            "ALL: PARANOID;sshd:1.1.1.1;  sshd: 1.1.1.1;",
            "",
            "1.1.1.1",
            "ALL: PARANOID;sshd:1.1.1.1;  sshd: 1.1.1.1;",
            "",
        );
        // ours, with what an editor left at its end
        check("a;sshd: 1.1.1.1 ;sshd: 1.1.1.2\r;", "", "1.1.1.1 1.1.1.2", "a;", "");
        // what --migrate did
        check(
            "# DenyHosts: T | ALL: PARANOID;ALL: PARANOID;",
            "",
            "",
            "# DenyHosts: T | ALL: PARANOID;ALL: PARANOID;",
            "",
        );
        check(
            "# DenyHosts: T | sshd: .example.org;sshd: .example.org;",
            "",
            "",
            "# DenyHosts: T | sshd: .example.org;sshd: .example.org;",
            "",
        );
        // a comment over something else
        check("#1.1.1.1;sshd: 1.1.1.2;", "", "", "#1.1.1.1;sshd: 1.1.1.2;", "");
        check("#1.1.1.1;", "", "", "#1.1.1.1;", "");
    }

    #[test]
    fn continued_lines_are_not_ours() {
        check("ALL: a \\;sshd: 1.1.1.1;", "", "1.1.1.1", "ALL: a \\;sshd: 1.1.1.1;", "");
        check("ALL: a \\;", "1.1.1.1", "", "ALL: a \\;;#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1");
        check("ALL: a \\;#1.1.1.1;sshd: 1.1.1.1;", "", "", "ALL: a \\;#1.1.1.1;sshd: 1.1.1.1;", "");
    }

    #[test]
    fn bytes_stay_bytes() {
        let (want, ledger) = (entries("1.1.1.1"), entries("1.1.1.1"));
        let known = Known {
            want: &want,
            ledger: &ledger,
            put_back: &BTreeSet::new(),
            adopt: true,
            stamp: None,
            list: false,
            had_comments: false,
            may_be_torn: false,
        };
        let got = render(b"\xff\0\r\n\n\nsshd: 1.1.1.1\r\nx", known);
        // Its line is there: what stands before the end of it is a blank to libwrap.
        assert_eq!(got.bytes, b"\xff\0\r\n\n\nsshd: 1.1.1.1\r\nx");
        let got = render(b"\xff\0\r\n\n\nsshd: 1.1.1.2\r\nx", known);
        assert_eq!(got.bytes, b"\xff\0\r\n\n\nsshd: 1.1.1.2\r\nx\nsshd: 1.1.1.1\n");
    }

    #[test]
    fn puts_back_once() {
        let got = check(
            "#2.2.2.2;sshd: 2.2.2.2;",
            "1.1.1.1 2.2.2.2",
            "1.1.1.1 2.2.2.2",
            "#2.2.2.2;sshd: 2.2.2.2;#1.1.1.1;sshd: 1.1.1.1;",
            "1.1.1.1 2.2.2.2",
        );
        assert_eq!((got.put_back, got.left_out.len()), (vec!["sshd: 1.1.1.1".to_owned()], 0));
        let got = check_again(
            "#2.2.2.2;sshd: 2.2.2.2;",
            "1.1.1.1 2.2.2.2",
            "1.1.1.1 2.2.2.2",
            "1.1.1.1",
            "#2.2.2.2;sshd: 2.2.2.2;",
            "1.1.1.1 2.2.2.2",
        );
        assert_eq!((got.put_back.len(), got.left_out), (0, vec!["sshd: 1.1.1.1".to_owned()]));
        // the file was replaced as a whole: all come back, each time
        let got = check_again(
            "# new;",
            "1.1.1.1 2.2.2.2",
            "1.1.1.1 2.2.2.2",
            "1.1.1.1 2.2.2.2",
            "# new;#1.1.1.1;sshd: 1.1.1.1;#2.2.2.2;sshd: 2.2.2.2;",
            "1.1.1.1 2.2.2.2",
        );
        assert_eq!(got.put_back.len(), 2);
        // only the entry was deleted: its comment does not stay twice
        check("#1.1.1.1;x;", "1.1.1.1", "1.1.1.1", "x;#1.1.1.1;sshd: 1.1.1.1;", "1.1.1.1");
    }

    /// What a person deletes with the comment is theirs; what loses it by a blank line is not.
    #[test]
    fn an_entry_without_its_comment_is_the_administrators() {
        let (first, none) = (entries("1.1.1.1"), Lines::new());
        let known = Known {
            want: &first,
            ledger: &first,
            put_back: &BTreeSet::new(),
            adopt: false,
            stamp: Some("T"),
            list: false,
            had_comments: true,
            may_be_torn: false,
        };
        let check = |old: &str, known: Known<'_>, new: &str, given_up: usize, ledger: usize| {
            let got = render(&expand(old), known);
            assert_eq!(String::from_utf8_lossy(&got.bytes), String::from_utf8_lossy(&expand(new)), "{old:?}");
            assert_eq!((got.given_up.len(), got.ledger.len()), (given_up, ledger), "{old:?}");
        };
        check("sshd: 1.1.1.1;", known, "sshd: 1.1.1.1;", 1, 0);
        check("sshd: 1.1.1.1;", Known { want: &none, ..known }, "sshd: 1.1.1.1;", 1, 0);
        check("#1.1.1.1;sshd: 1.1.1.1;", Known { want: &none, ..known }, "", 0, 0);
        check("#1.1.1.1;;sshd: 1.1.1.1;", known, ";#1.1.1.1;sshd: 1.1.1.1;", 0, 1);
        check("#1.1.1.1;;sshd: 1.1.1.1;", Known { want: &none, ..known }, ";", 0, 0);
        // Where comments begin to be written, there is no such sign; where they end, there still is.
        check("sshd: 1.1.1.1;", Known { had_comments: false, ..known }, "#1.1.1.1;sshd: 1.1.1.1;", 0, 1);
        check("sshd: 1.1.1.1;", Known { want: &none, stamp: None, ..known }, "sshd: 1.1.1.1;", 1, 0);
    }

    #[test]
    fn half_a_line_of_ours_is_mended() {
        let (both, first) = (entries("1.1.1.1 2.2.2.2"), entries("1.1.1.1"));
        let known = Known {
            want: &both,
            ledger: &both,
            put_back: &BTreeSet::new(),
            adopt: false,
            stamp: None,
            list: false,
            had_comments: false,
            may_be_torn: true,
        };
        let check = |old: &str, known: Known<'_>, new: &str| {
            let got = render(&expand(old), known);
            assert_eq!(String::from_utf8_lossy(&got.bytes), String::from_utf8_lossy(&expand(new)), "{old:?}");
        };
        let whole = "a;sshd: 1.1.1.1;sshd: 2.2.2.2;";
        for torn in
            ["s", "sshd: 2.2", "sshd: 2.2.2.2", "# Deny", "# DenyHosts: Sat Nov", "# DenyHosts: T | ss", "#2.2.2.2"]
        {
            check(&format!("a;sshd: 1.1.1.1;{torn}"), known, whole);
        }
        check("a;sshd: 1.1.1.1;#2.2.2.2;sshd: 2.2", known, whole);
        // What is no beginning of what is missing is somebody's.
        check("a;sshd: 1.1.1.1;sshd: 3", known, "a;sshd: 1.1.1.1;sshd: 3;sshd: 2.2.2.2;");
        check(
            "a;sshd: 1.1.1.1;sshd: 2.2",
            Known { want: &first, ledger: &first, ..known },
            "a;sshd: 1.1.1.1;sshd: 2.2",
        );
        check("a;sshd: 2.2", Known { may_be_torn: false, want: &first, ..known }, "a;sshd: 2.2;sshd: 1.1.1.1;");
    }
}
