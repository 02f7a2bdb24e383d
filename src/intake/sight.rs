//! Whether a log that has records tells anything: a log that nobody understands looks like one in which nothing happens.
//!
//! What is judged are records that may be sshd's: those that a known service wrote, and those that nobody understood but
//! that look so. Only what its writer may write counts, for both: neither junk nor a good line that somebody forged says
//! how well a source is understood. Where strangers may have made up all records of a source, all of them count.

use std::sync::LazyLock;
use std::time::Duration;

use inputs::journald::printed;
use inputs::record::{Record, Timestamp};
use memchr::memmem::Finder;

use crate::text::printable;

mod remedy;
mod share;

pub use share::Share;

/// Bytes of a line that are kept.
const EXAMPLE_MAX: usize = 300;
/// Records that are not understood of which one is looked for that a service wrote: no longer, since each look costs time.
const LOOKED_AT: u32 = 10_000;
/// A warning comes so often at most.
const WARNED_EVERY: Duration = Duration::from_secs(86_400);
/// What a service's line holds, however its header is written: what stands before its `d`, and the rest of it. Anybody can
/// write that, so it is a warning and never more.
const MARKS: [(&[u8], &[u8]); 5] =
    [(b" ssh", b"d["), (b" ssh", b"d:"), (b"ssh", b"d-session["), (b"", b"dropbear["), (b"Faile", b"d password for")];
/// What a line of a failed login holds that a rule is for.
static FAILED: LazyLock<[Finder<'static>; 6]> =
    LazyLock::new(|| ["fail", "FAIL", "Fail", "invalid", "incorrect", "denied"].map(Finder::new));
/// So many lines look like failures to a rule's program, and none is one, before that is said.
const FAILED_MIN: u32 = 10;
/// So many records in a row without a header are no log, or one of a header that is not known.
const BARE_MIN: u32 = 200;
/// So many records of a service's, and no shape fits any, before that is said of what is followed.
const UNFIT_MIN: u64 = 10;

/// What was seen of a source's records.
#[derive(Debug, Default)]
pub struct Sight {
    /// Records that sshd or dropbear wrote.
    pub known: u64,
    /// Of them, those that were judged, by whether a shape fits.
    fit: u64,
    unfit: u64,
    /// Records that are nobody's and look like theirs, as far as that was looked for.
    pub odd: u64,
    looked_at: u32,
    marked: bool,
    /// Records without a header since the last that has one.
    bare: u32,
    /// A record that was not understood: one that looks like a service's, if there was one.
    example: Option<Example>,
    /// How much was understood lately, and in the days before.
    pub share: Share,
    /// The programs that rules are for; there are no more of them than the rules name.
    programs: Vec<Program>,
    warned: Option<Timestamp>,
}

/// A record that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Example {
    /// Its beginning.
    line: Box<[u8]>,
    /// The known service that wrote it.
    whose: Option<Box<[u8]>>,
    is_stamped: bool,
}

impl Example {
    fn of(record: &Record<'_>, whose: Option<&[u8]>) -> Self {
        Example { line: beginning(record), whose: whose.map(Into::into), is_stamped: record.event.is_some() }
    }
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

/// A record of which nobody knows what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is another program's.
    Other,
    /// It has no header.
    Bare,
    /// It looks like a service's.
    Odd,
}

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
        self.fit += u64::from(fits);
        self.add(record.received, fits);
        if !fits {
            self.unfit += 1;
            self.keep_unfit(record);
        }
    }

    fn keep_unfit(&mut self, record: &Record<'_>) {
        if self.example.is_none() {
            self.example = Some(Example::of(record, Some(record.identifier)));
        }
    }

    /// A rule knew a record.
    pub fn know_by_rule(&mut self, record: &Record<'_>) {
        self.bare = 0;
        self.program(record).known += 1;
    }

    /// A record was not understood. `is_of_rule`: its program has rules.
    #[inline]
    pub fn miss(&mut self, record: &Record<'_>, is_of_rule: bool) -> Miss {
        let is_bare = record.identifier.is_empty();
        self.bare = if is_bare { self.bare.saturating_add(1) } else { 0 };
        if self.looked_at < LOOKED_AT && self.look(record, is_of_rule) {
            Miss::Odd
        } else if is_bare {
            Miss::Bare
        } else {
            Miss::Other
        }
    }

    fn look(&mut self, record: &Record<'_>, is_of_rule: bool) -> bool {
        self.looked_at += 1;
        if is_of_rule {
            if FAILED.iter().any(|mark| mark.find(record.message).is_some()) {
                let program = self.program(record);
                program.failed = program.failed.saturating_add(1);
                program.example = beginning(record);
            }
            return false;
        }
        let is_marked = is_marked(record.message);
        if !record.message.is_empty() && !self.marked && (is_marked || self.is_better(record)) {
            self.example = Some(Example::of(record, None));
        }
        if is_marked {
            self.marked = true;
            self.odd += 1;
            self.add(record.received, false);
        }
        is_marked
    }

    /// Whether a record tells more than the one that is kept: what journalctl prints says so in its fields, not in its first line.
    fn is_better(&self, record: &Record<'_>) -> bool {
        let Some(Example { line, .. }) = &self.example else { return true };
        record.identifier.is_empty() && printed::field(record.message).is_some() && printed::field(line).is_none()
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
        self.blind_from(UNFIT_MIN)
    }

    /// The same of a log of which no more will be read: each record has its weight.
    pub fn blind_at_end(&self) -> Option<Blind> {
        self.blind_from(1)
    }

    fn blind_from(&self, unfit_min: u64) -> Option<Blind> {
        if let Some(blind) = self.fallen() {
            return Some(blind);
        }
        if self.marked && self.known == self.unfit {
            return Some(
                self.blind_by("nothing is understood, though sshd or dropbear may have written this".to_owned()),
            );
        }
        if self.fit == 0 && self.unfit >= unfit_min {
            let what = format!("sshd or dropbear wrote {} records, and none was understood, as this one", self.unfit);
            return Some(self.blind_by(what));
        }
        if self.bare >= BARE_MIN {
            let what = format!("the last {} records have no header that is known, as this one", self.bare);
            return Some(self.blind_by(what));
        }
        let failed = |program: &&Program| program.known == 0 && program.failed >= FAILED_MIN;
        let Program { name, failed, example, .. } = self.programs.iter().find(failed)?;
        let name = printable(name);
        let what = format!("no rule knows any record of {name}, though {failed} look like failures, as this one");
        let remedy = format!("see what its rules find: denyd explain; write a rule for {name} that knows this line");
        Some(Blind { what, line: printable(example), remedy })
    }

    /// How the last records were understood less than those before, if they were.
    pub fn fallen(&self) -> Option<Blind> {
        self.share.fallen().map(|what| self.blind_by(what))
    }

    fn blind_by(&self, what: String) -> Blind {
        let (line, remedy) = self.example().map_or(Default::default(), |(line, _)| (printable(line), self.remedy()));
        Blind { what, line, remedy }
    }

    /// What to do about the example.
    pub fn remedy(&self) -> String {
        let example = self.shown();
        let line = example.map_or(&[][..], |example| &example.line);
        let is_stamped = example.is_some_and(|example| example.is_stamped);
        remedy::of(line, is_stamped, example.and_then(|example| example.whose.as_deref()))
    }

    /// Of those that were judged last, if these were not understood.
    fn shown(&self) -> Option<&Example> {
        let judged = self.share.line();
        judged.filter(|_| self.share.fallen().is_some()).or(self.example.as_ref()).or(judged)
    }

    /// How it is blind, if that is to be warned of now: once a day.
    pub fn warns(&mut self, now: Timestamp) -> Option<Blind> {
        let blind = self.blind().filter(|_| self.warned.is_none_or(|at| at.after(WARNED_EVERY) <= now))?;
        self.warned = Some(now);
        Some(blind)
    }

    /// A line that was not understood, and whether it is a service's, or looks so.
    pub fn example(&self) -> Option<(&[u8], bool)> {
        self.shown().map(|example| (&*example.line, self.odd > 0 || self.unfit > 0))
    }
}

/// Whether a text holds one of [`MARKS`]: by one search for all of them, since most records are looked at for nothing.
fn is_marked(text: &[u8]) -> bool {
    let is_there =
        |at: usize, (before, rest): (&[u8], &[u8])| text[..at].ends_with(before) && text[at..].starts_with(rest);
    memchr::memchr_iter(b'd', text).any(|at| MARKS.iter().any(|mark| is_there(at, *mark)))
}

/// What is kept of a record, whose header may be what is not understood.
pub(super) fn beginning(record: &Record<'_>) -> Box<[u8]> {
    record.message[..record.message.len().min(EXAMPLE_MAX)].into()
}

#[cfg(test)]
mod tests;
