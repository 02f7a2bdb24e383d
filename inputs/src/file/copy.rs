//! Finds the place in a file's copy: which lines of a file that was replaced, or written anew, were read before.
//!
//! `sed -i`, an editor, rsync and log2ram put a copy in a log's place, and a log that drops its oldest lines is one,
//! too. It is known by its lines: the last [`KNOWN_MAX`] that were read are remembered, each by a hash, and the place
//! is where they end in the copy. That is so only if it is one place: lines that are equal are tries that happened, so
//! where they fit twice or nowhere the file is new. A copy may have been made a moment before the last lines were
//! written, and may begin within those that are remembered.

use std::fs::File;
use std::io;

use super::lines::{Lines, READ_SIZE};
use crate::cursor::Known;
use crate::record::Batch;

/// How many lines are remembered: 4 KiB and more of what sshd writes. A cursor has ten bytes for each.
pub(super) const KNOWN_MAX: usize = 64;

/// How much of a file is looked through at most, from its end back: two seconds.
const SEARCH_MAX: u64 = 1 << 30;

/// So many lines in a row are a copy's, whatever stands before them: an editor took a line out.
const SURE: usize = 8;

/// So many are, where the file begins with them and they are not all equal: its oldest lines were dropped.
const FEW: usize = 2;

/// A place in a copy; in what is none, its beginning.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Behind the lines that were read before.
    pub offset: u64,
    /// How many there are of them.
    pub lines: u64,
    /// The last of them.
    pub known: Known,
    /// How many lines were read that the copy does not have, or not yet.
    pub missing: usize,
}

impl Known {
    /// Remembers lines that were read, too.
    pub(super) fn extend(&mut self, batch: &Batch) {
        let new = batch.len().min(KNOWN_MAX);
        self.0.drain(..(self.0.len() + new).saturating_sub(KNOWN_MAX));
        self.0.extend(batch.lines().skip(batch.len() - new).map(hash));
    }

    /// What there is before `offset`: whole lines, as many as one read brings.
    pub(super) fn before(file: &File, offset: u64) -> io::Result<Self> {
        let begin = offset.saturating_sub(READ_SIZE as u64);
        let mut text = vec![0; (offset - begin) as usize];
        let len = super::read_up_to(file, &mut text, begin)?;
        let (mut lines, mut batch) = (Lines::new(begin), Batch::default());
        lines.read_from(&mut &text[..len])?;
        // The first one may have begun before.
        lines.cut(&mut batch, usize::from(begin > 0));
        batch.clear();
        lines.cut(&mut batch, usize::MAX);
        let mut known = Known::default();
        known.extend(&batch);
        Ok(known)
    }

    /// Whether `file` has these lines before `offset`, as far as it is quickly seen.
    pub(super) fn are_before(&self, file: &File, offset: u64) -> io::Result<bool> {
        let there = Known::before(file, offset)?.0;
        Ok(self.0.iter().rev().zip(there.iter().rev()).all(|(one, two)| one == two))
    }

    /// Where in `file`, if it is a copy.
    pub(super) fn place_in(&self, mut file: &File) -> io::Result<Option<Place>> {
        if self.is_empty() {
            return Ok(None);
        }
        let begin = file.metadata()?.len().saturating_sub(SEARCH_MAX);
        io::Seek::seek(&mut file, io::SeekFrom::Start(begin))?;
        let (mut lines, mut batch) = (Lines::new(begin), Batch::default());
        let mut search = Search::new(&self.0);
        // Behind the beginning the first line may be half a one. It counts as one before those that are looked at, so
        // that none of these is the file's first.
        let mut is_half = begin > 0;
        search.lines = u64::from(is_half);
        while lines.read_from(&mut file)? > 0 {
            while lines.cut(&mut batch, 1) > 0 {
                if !std::mem::take(&mut is_half) {
                    search.line(batch.lines().map(hash).next().unwrap_or_default(), lines.offset());
                }
                batch.clear();
            }
        }
        Ok(search.end())
    }
}

/// The lines of a file beside those that are known.
struct Search<'a> {
    known: &'a [u32],
    /// For each known line: how many lines end with it both there and at the line that was looked at last.
    common: Vec<usize>,
    /// Where all of them are.
    all: Found,
    /// For each known line: where enough of them are that end with it.
    some: Vec<Found>,
    /// How many lines were looked at.
    lines: u64,
}

/// How often something was found, and where last: behind so many lines, which end there.
#[derive(Clone, Copy, Default)]
struct Found {
    times: u64,
    lines: u64,
    offset: u64,
}

impl<'a> Search<'a> {
    fn new(known: &'a [u32]) -> Self {
        let (common, some) = (vec![0; known.len()], vec![Found::default(); known.len()]);
        Search { known, common, all: Found::default(), some, lines: 0 }
    }

    /// Looks at the next line, which ends at `offset`.
    fn line(&mut self, line: u32, offset: u64) {
        self.lines += 1;
        for index in (0..self.known.len()).rev() {
            let before = if index == 0 { 0 } else { self.common[index - 1] };
            let common = if self.known[index] == line { before + 1 } else { 0 };
            self.common[index] = common;
            let found = match common {
                0 => continue,
                _ if common == self.known.len() => &mut self.all,
                _ if common >= SURE || self.begins(index) => &mut self.some[index],
                _ => continue,
            };
            *found = Found { times: found.times + 1, lines: self.lines, offset };
        }
    }

    /// Whether the file begins with known lines, up to the one of that index.
    fn begins(&self, index: usize) -> bool {
        let common = self.common[index];
        let lines = &self.known[index + 1 - common..=index];
        common as u64 == self.lines && common >= FEW && lines.iter().any(|line| *line != lines[0])
    }

    /// The place, if there is one: the last known line that the file has decides, and it is there once.
    fn end(&self) -> Option<Place> {
        let all = std::iter::once((self.all, 0));
        let (found, missing) =
            all.chain(self.some.iter().rev().copied().zip(0..)).find(|(found, _)| found.times > 0)?;
        let known = Known(self.known[..self.known.len() - missing].to_vec());
        (found.times == 1).then_some(Place { offset: found.offset, lines: found.lines, known, missing })
    }
}

/// 32 bits of FNV-1a. Not made against forgery: who would hide what the next file begins with needs eight lines in a
/// row that are alike to known ones, and would have to know the second, the process and the port of each beforehand.
fn hash(line: &[u8]) -> u32 {
    let hash = super::fnv1a(line);
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines are letters. What stands before `|` is known, what is behind is the file; where the place is, it has a
    /// `|`, too.
    fn check(known: &str, want: &str) {
        let lines = |text: &str| text.chars().map(|c| format!("{c}\n")).collect::<String>();
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), lines(known)).unwrap();
        let before = Known::before(&File::open(log.path()).unwrap(), 2 * known.len() as u64).unwrap();
        std::fs::write(log.path(), lines(&want.replace('|', ""))).unwrap();
        let place = before.place_in(&File::open(log.path()).unwrap()).unwrap();
        assert_eq!(
            place.map(|it| (it.offset, it.lines)),
            want.find('|').map(|at| (2 * at as u64, at as u64)),
            "{want}"
        );
    }

    #[test]
    fn finds_the_place() {
        check("abc", "abc|");
        check("abc", "abc|de");
        check("abc", "xabc|de"); // what came before it was merged with it
        check("a", "a|b");
        // Its oldest lines are gone.
        check("abcd", "bcd|ef");
        check("abcd", "cd|");
        // It was made a moment before the last lines.
        check("abcd", "abc|");
        check("abcd", "abc|xy");
        check("abcd", "bc|xy");
        // An editor took one out.
        check("abcdefghijklm", "abdefghijklm|n");
        check("abcdefghijklm", "abcdefghij|m");
        // Equal lines, all of which are there once.
        check("aaaa", "aaaa|");
        check("aaab", "aaab|a");
    }

    #[test]
    fn what_is_no_copy_or_not_certainly_one_is_new() {
        check("abc", "");
        check("abc", "xyz");
        check("", "abc");
        check("abc", "abcabc");
        check("aaaa", "aaaaa");
        check("aaaa", "aaa");
        check("abcd", "d"); // the same try once more, perhaps
        check("abcd", "ax");
        check("abbb", "bb"); // two more of the last one
        check("abcd", "xbcd"); // a line in the middle is another one: the lines before were not ours
    }

    #[test]
    fn the_last_lines_decide_of_many() {
        let all: Vec<u32> = (0..1000).collect();
        let known = &all[1000 - KNOWN_MAX..];
        let check = |file: &[u32], want: Option<u64>| {
            let mut search = Search::new(known);
            file.iter().zip(1..).for_each(|(line, offset)| search.line(*line, offset));
            assert_eq!(search.end().map(|it| it.offset), want);
        };
        check(&all, Some(1000));
        check(&all[100..], Some(900));
        check(&all[995..], Some(5));
        check(&all[..980], Some(980));
        check(&all[..900], None);
        check(&[&all[..], &all[..]].concat(), None);
    }
}
