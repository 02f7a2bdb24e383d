//! Whether a log that has records tells anything: a log that nobody understands looks like one in which nothing happens.
//!
//! What is judged are records that may be sshd's: those that a known service wrote, and those that nobody understood but
//! that look so. Only what its writer may write counts, for both: neither junk nor a good line that somebody forged says
//! how well a source is understood. Where strangers may have made up all records of a source, all of them count.

use std::sync::LazyLock;
use std::time::Duration;

use inputs::record::{Record, Timestamp};
use memchr::memmem::Finder;

use crate::text::printable;

mod share;

pub use share::Share;

/// Bytes of a line that are kept.
const EXAMPLE_MAX: usize = 300;
/// Records that are not understood of which one is looked for that a service wrote: no longer, since each look costs time.
const LOOKED_AT: u32 = 10_000;
/// A warning comes so often at most.
const WARNED_EVERY: Duration = Duration::from_secs(86_400);
/// What a service's line holds, however its header is written. Anybody can write that, so it is a warning and never more.
static MARKS: LazyLock<[Finder<'static>; 5]> =
    LazyLock::new(|| [" sshd[", " sshd:", "sshd-session[", "dropbear[", "Failed password for"].map(Finder::new));
/// What a line of a failed login holds that a rule is for.
static FAILED: LazyLock<[Finder<'static>; 6]> =
    LazyLock::new(|| ["fail", "FAIL", "Fail", "invalid", "incorrect", "denied"].map(Finder::new));
/// So many lines look like failures to a rule's program, and none is one, before that is said.
const FAILED_MIN: u32 = 10;
/// So many records in a row without a header are no log, or one of a header that is not known.
const BARE_MIN: u32 = 200;

/// What was seen of a source's records.
#[derive(Debug, Default)]
pub struct Sight {
    /// Records that sshd or dropbear wrote.
    pub known: u64,
    looked_at: u32,
    marked: bool,
    /// Records without a header since the last that has one.
    bare: u32,
    /// The beginning of a record that was not understood: of one that looks like a service's, if there was one.
    example: Option<Box<[u8]>>,
    /// How much was understood lately, and in the days before.
    pub share: Share,
    /// The programs that rules are for; there are no more of them than the rules name.
    programs: Vec<Program>,
    warned: Option<Timestamp>,
}

/// A program that has rules.
#[derive(Debug)]
struct Program {
    name: Box<[u8]>,
    /// Its records that a rule knew.
    known: u64,
    /// The others that look like failures.
    failed: u32,
    example: Box<[u8]>,
}

/// How a source is blind.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Blind {
    /// What is wrong.
    pub what: String,
    /// A line that was not understood, escaped.
    pub line: String,
    /// What to do.
    pub remedy: String,
}

/// What to do where lines are not understood.
const REMEDY: &str = "see how it is read: denyd explain 'LINE'; name the input's format, or its identifier where lines have no \
                      header; please report a header that denyd does not know";

impl Sight {
    /// A known service wrote a record; whether it fits a shape. What strangers may have written in a source that is
    /// sound is not judged.
    #[inline]
    pub fn know(&mut self, record: &Record<'_>, fits: bool, is_judged: bool) {
        self.known += 1;
        if !is_judged {
            return;
        }
        self.bare = 0;
        self.add(record.received, fits);
        if !fits && self.example.is_none() {
            self.example = Some(beginning(record));
        }
    }

    /// A rule knew a record.
    pub fn know_by_rule(&mut self, record: &Record<'_>) {
        self.bare = 0;
        self.program(record).known += 1;
    }

    /// A record was not understood; whether it has no header, or looks like a service's. `is_of_rule`: its program has rules.
    #[inline]
    pub fn miss(&mut self, record: &Record<'_>, is_of_rule: bool) -> bool {
        let is_bare = record.identifier.is_empty();
        self.bare = if is_bare { self.bare.saturating_add(1) } else { 0 };
        is_bare | (self.looked_at < LOOKED_AT && self.look(record, is_of_rule))
    }

    fn look(&mut self, record: &Record<'_>, is_of_rule: bool) -> bool {
        self.looked_at += 1;
        let holds = |marks: &[Finder<'static>]| marks.iter().any(|mark| mark.find(record.message).is_some());
        if is_of_rule {
            if holds(&*FAILED) {
                let program = self.program(record);
                program.failed = program.failed.saturating_add(1);
                program.example = beginning(record);
            }
            return false;
        }
        let is_marked = holds(&*MARKS);
        if (is_marked && !self.marked || self.example.is_none()) && !record.message.is_empty() {
            self.example = Some(beginning(record));
        }
        if is_marked {
            self.marked = true;
            self.add(record.received, false);
        }
        is_marked
    }

    fn add(&mut self, at: Timestamp, fits: bool) {
        if self.share.add(at, fits) {
            // The example is one of those that were judged.
            self.share.keep(self.example.take());
            self.marked = false;
        }
    }

    fn program(&mut self, record: &Record<'_>) -> &mut Program {
        let at = self.programs.iter().position(|program| *program.name == *record.identifier);
        let at = at.unwrap_or_else(|| {
            let name = record.identifier.into();
            self.programs.push(Program { name, known: 0, failed: 0, example: Box::default() });
            self.programs.len() - 1
        });
        &mut self.programs[at]
    }

    /// As many may be looked at again: some time has passed.
    pub fn rest(&mut self) {
        self.looked_at = 0;
    }

    /// How the source is blind, if it is: it is as good as not there.
    pub fn blind(&self) -> Option<Blind> {
        let blind = |what: String, line: &[u8], remedy: &str| {
            Some(Blind { what, line: printable(line), remedy: remedy.to_owned() })
        };
        let example = self.example.as_deref().unwrap_or_default();
        if let Some((what, line)) = self.share.fallen() {
            return blind(what, if line.is_empty() { example } else { line }, REMEDY);
        }
        if self.marked && self.known == 0 {
            return blind(
                "nothing is understood, though sshd or dropbear may have written this".to_owned(),
                example,
                REMEDY,
            );
        }
        if self.bare >= BARE_MIN {
            let what = format!("the last {} records have no header that is known, as this one", self.bare);
            return blind(what, example, REMEDY);
        }
        let failed = |program: &&Program| program.known == 0 && program.failed >= FAILED_MIN;
        let Program { name, failed, example, .. } = self.programs.iter().find(failed)?;
        let name = printable(name);
        let what = format!("no rule knows any record of {name}, though {failed} look like failures, as this one");
        let remedy = format!("see what its rules find: denyd explain; write a rule for {name} that knows this line");
        blind(what, example, &remedy)
    }

    /// How it is blind, if that is to be warned of now: once a day.
    pub fn warns(&mut self, now: Timestamp) -> Option<Blind> {
        let blind = self.blind().filter(|_| self.warned.is_none_or(|at| at.after(WARNED_EVERY) <= now))?;
        self.warned = Some(now);
        Some(blind)
    }

    /// A line that was not understood, and whether it looks like a service's.
    pub fn example(&self) -> Option<(&[u8], bool)> {
        let judged = || self.share.line().map(|line| (line, true));
        self.example.as_deref().map(|line| (line, self.marked)).or_else(judged)
    }
}

/// What is kept of a record, whose header may be what is not understood.
pub(super) fn beginning(record: &Record<'_>) -> Box<[u8]> {
    record.message[..record.message.len().min(EXAMPLE_MAX)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many records of a second each: of sshd as known, of it as unknown, or with these messages.
    fn tell(sight: &mut Sight, times: u32, program: &str, message: &str) {
        for _ in 0..times {
            let record = Record::of(program.as_bytes(), message.as_bytes());
            match program {
                "sshd" => sight.know(&record, message != "?", true),
                "rule" if message == "known" => sight.know_by_rule(&record),
                _ => _ = sight.miss(&record, program == "rule"),
            }
        }
    }

    #[test]
    fn the_example_is_a_line_that_looks_like_a_services() {
        let check = |messages: &[&str], want: Option<&str>, marked| {
            let mut sight = Sight::default();
            messages.iter().for_each(|message| tell(&mut sight, 1, "", message));
            assert_eq!(sight.example(), want.map(|want| (want.as_bytes(), marked)), "{messages:?}");
        };
        check(&[], None, false);
        check(&["", "a", "b"], Some("a"), false);
        check(&["a", "x sshd[1] y", "z sshd: b"], Some("x sshd[1] y"), true);
        check(&["a", "dropbear[1]"], Some("dropbear[1]"), true);
        check(&["a h sshd-session[1]: x"], Some("a h sshd-session[1]: x"), true);
        let long = "x".repeat(1_000);
        check(&[&long], Some(&long[..300]), false);
    }

    #[test]
    fn how_a_source_is_blind() {
        let check = |told: &[(u32, &str, &str)], want: Option<(&str, &str)>| {
            let mut sight = Sight::default();
            told.iter().for_each(|(times, program, message)| tell(&mut sight, *times, program, message));
            let blind = sight.blind();
            let found = blind.as_ref().map(|blind| (blind.what.as_str(), blind.line.as_str()));
            assert_eq!(found, want, "{told:?}");
        };
        let odd = "?? h sshd[1]: x\u{1b}";
        let nothing = "nothing is understood, though sshd or dropbear may have written this";
        check(&[(1_000, "cron", "x")], None);
        check(&[(1, "", odd)], Some((nothing, "?? h sshd[1]: x\\x1b")));
        check(&[(1, "", odd), (1, "sshd", "x")], None);
        // One that is understood does not speak for two hundred that are not, nor do as many of others.
        let none = "of the last 200 records that may be sshd's or dropbear's, none was understood, as this one";
        check(&[(1, "sshd", "x"), (199, "", odd)], None);
        check(&[(200, "", odd)], Some((none, "?? h sshd[1]: x\\x1b")));
        let fallen = |now, before| {
            format!(
                "of the last 200 records that may be sshd's or dropbear's, {now} % were understood, and {before} % in the seven \
                 days before, as not this one"
            )
        };
        check(
            &[(200, "sshd", "x"), (40, "sshd", "x"), (1_000, "cron", "x"), (160, "", odd)],
            Some((&fallen(20, 100), "?? h sshd[1]: x\\x1b")),
        );
        check(&[(200, "sshd", "x"), (50, "sshd", "x"), (150, "sshd", "?")], Some((&fallen(25, 100), "?")));
        check(&[(200, "sshd", "x"), (100, "sshd", "x"), (100, "", odd)], None);
        // It is over when two hundred are better.
        check(&[(200, "sshd", "x"), (200, "", odd), (200, "sshd", "x")], None);
        check(&[(199, "", "x")], None);
        check(&[(200, "", "x")], Some(("the last 200 records have no header that is known, as this one", "x")));
        check(&[(200, "", "x"), (1, "cron", "x")], None);
    }

    #[test]
    fn a_rule_that_finds_nothing_where_there_are_failures() {
        let check = |told: &[(u32, &str)], want: bool| {
            let mut sight = Sight::default();
            told.iter().for_each(|(times, message)| tell(&mut sight, *times, "rule", message));
            assert_eq!(sight.blind().is_some(), want, "{told:?}");
        };
        check(&[(1_000, "Login: user=<bob>")], false);
        check(&[(9, "auth failed")], false);
        check(&[(10, "auth failed")], true);
        check(&[(10, "auth failed"), (1, "known")], false);
    }

    #[test]
    fn one_warning_a_day() {
        let mut sight = Sight::default();
        let mut check = |program: &str, message: &str, hours: i64, want| {
            tell(&mut sight, 1, program, message);
            assert_eq!(sight.warns(Timestamp::from_secs(hours * 3_600)).is_some(), want, "{message} {hours}");
        };
        check("", "x", 0, false);
        check("", "h sshd[1] x", 1, true);
        check("", "x", 24, false);
        check("", "x", 25, true);
        check("sshd", "x", 50, false);
    }

    #[test]
    fn the_look_has_an_end() {
        let mut sight = Sight::default();
        tell(&mut sight, LOOKED_AT, "cron", "x");
        tell(&mut sight, 1, "cron", "h sshd[1]");
        assert_eq!(sight.blind(), None);
        sight.rest();
        tell(&mut sight, 1, "cron", "h sshd[1]");
        assert!(sight.blind().is_some());
    }
}
