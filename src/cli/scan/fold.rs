//! The lines of a log through detector and engine.
//!
//! Two threads do the same: each takes a batch, hears what its records say, and decides when its turn has come. So one
//! hears while the other one decides, and what is decided is decided in the order of the log.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use indicatif::ProgressBar;
use inputs::input::{Error, Progress};
use inputs::log::{Log, Stored};
use inputs::record::Batch;

use super::super::lines::Reading;
use super::{ADDRESSES_MAX, BlindFile, Found, ODD_MIN, take_changes};
use crate::clock;
use crate::decide::engine::Engine;
use crate::detect::event::Event;
use crate::detect::rule::Rules;
use crate::intake::sight::Sight;
use crate::intake::{Counts, Source, decide, hear};

/// What the batches go through, and what is found.
pub(super) struct Fold {
    pub(super) engine: Engine,
    pub(super) lines: Source,
    pub(super) journal: Source,
    pub(super) found: Found,
}

/// A log, as far as it was read.
struct Reader<'a, L> {
    log: &'a mut L,
    /// Its first batch, if it was not given out yet.
    first: Option<Batch>,
    /// Batches that were given out.
    batches: u64,
    end: Option<Result<(), Error>>,
    bar: &'a ProgressBar,
    /// Where the bar was before.
    done: u64,
}

impl<L: Stored> Reader<'_, L> {
    /// Gives out the next batch, and its number.
    fn next(&mut self, batch: &mut Batch) -> Option<u64> {
        if self.end.is_some() {
            return None;
        }
        let read = match self.first.take() {
            Some(first) => {
                *batch = first;
                Ok(if batch.is_empty() { Progress::End } else { Progress::More })
            }
            None => self.log.refill(clock::now().into(), batch),
        };
        self.bar.set_position(self.done + self.log.consumed());
        if !matches!(read, Ok(Progress::More)) {
            self.end = Some(read.map(|_| ()));
            return None;
        }
        self.batches += 1;
        Some(self.batches)
    }
}

/// What decides, and how many batches it has decided.
struct Deciding<'a> {
    engine: &'a mut Engine,
    source: &'a mut Source,
    found: &'a mut Found,
    batches: u64,
}

impl Fold {
    /// A log begins that is read so. Returns what was counted before it.
    pub(super) fn begin(&mut self, reading: Reading) -> Counts {
        self.lines.bare = reading.bare;
        for source in [&mut self.lines, &mut self.journal] {
            source.forgeable = reading.forgeable;
            source.host.clone_from(&reading.host);
            source.sight = Sight::default();
        }
        self.found.counts
    }

    /// It has ended.
    pub(super) fn end(&mut self, path: PathBuf, log: &Log, before: Counts) {
        let counts = self.found.counts;
        if counts.lines == before.lines {
            return;
        }
        let sight = match log {
            Log::Lines(_) => &self.lines.sight,
            Log::Journal(_) => &self.journal.sight,
        };
        self.found.odd += sight.odd;
        let (line, is_a_services) = sight.example().map_or((None, false), |(line, is)| (Some(line.into()), is));
        // What came before was understood as well.
        let understood = |counts: Counts| counts.understood + counts.duplicates - counts.unknown;
        let (what, is_sure) = if understood(counts) == understood(before) {
            let whose = if is_a_services { "sshd or dropbear may have written this line" } else { "a line of it" };
            (format!("nothing here was understood, so nobody could be found; {whose}"), is_a_services)
        } else if let Some(fallen) = sight.fallen() {
            (fallen.what, true)
        } else if sight.odd >= ODD_MIN {
            let many = sight.odd;
            (format!("{many} lines look like sshd's or dropbear's and were not understood, as this one"), false)
        } else {
            return;
        };
        self.found.blind.push(BlindFile { path, what, line, is_sure, remedy: sight.remedy() });
    }

    /// Folds a log of which the first batch was read.
    pub(super) fn log(&mut self, log: &mut Log, first: Batch, bar: &ProgressBar) -> Result<(), Error> {
        let Fold { engine, lines, journal, found } = self;
        match log {
            Log::Lines(log) => {
                let both = Both::new(log, first, bar, Deciding { engine, source: lines, found, batches: 0 });
                if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
                    std::thread::scope(|scope| {
                        // Where no thread is to be had, one does it all.
                        _ = std::thread::Builder::new().spawn_scoped(scope, || both.work());
                        both.work();
                    });
                }
                both.work_alone();
                both.end()
            }
            Log::Journal(log) => {
                let both = Both::new(log, first, bar, Deciding { engine, source: journal, found, batches: 0 });
                both.work_alone();
                both.end()
            }
        }
    }
}

/// The two things of which there is one.
struct Both<'a, L> {
    reading: Mutex<Reader<'a, L>>,
    deciding: Mutex<Deciding<'a>>,
    /// The next batch may be decided.
    turn: Condvar,
    rules: Arc<Rules>,
}

impl<'a, L: Stored> Both<'a, L> {
    fn new(log: &'a mut L, first: Batch, bar: &'a ProgressBar, deciding: Deciding<'a>) -> Self {
        let reading = Reader { log, first: Some(first), batches: 0, end: None, bar, done: bar.position() };
        let rules = Arc::clone(&deciding.source.rules);
        Both { reading: Mutex::new(reading), deciding: Mutex::new(deciding), turn: Condvar::new(), rules }
    }

    /// What each of two threads does, until there is no more.
    fn work(&self) {
        let mut batch = Batch::default();
        let next = |batch: &mut Batch| held(self.reading.lock()).next(batch);
        while let Some(number) = next(&mut batch) {
            let told: Vec<_> = batch.records().map(|record| hear(&record, &self.rules)).collect();
            let deciding = held(self.deciding.lock());
            held(self.turn.wait_while(deciding, |deciding| deciding.batches + 1 < number))
                .batch(&batch, told.into_iter());
            self.turn.notify_one();
        }
    }

    /// The same for one thread, which hears a record when it decides: that is quicker than to hear them all first.
    fn work_alone(&self) {
        let (mut reading, mut deciding) = (held(self.reading.lock()), held(self.deciding.lock()));
        let mut batch = Batch::default();
        while reading.next(&mut batch).is_some() {
            deciding.batch(&batch, batch.records().map(|record| hear(&record, &self.rules)));
        }
    }

    fn end(self) -> Result<(), Error> {
        let Reader { end, log, bar, done, .. } = held(self.reading.into_inner());
        bar.set_position(done + log.size());
        end.unwrap_or(Ok(()))
    }
}

/// What a lock holds. A thread that panicked would have ended the program.
fn held<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

impl Deciding<'_> {
    fn batch<'b>(&mut self, batch: &'b Batch, told: impl Iterator<Item = Option<Event<'b>>>) {
        let Deciding { engine, source, found, batches } = self;
        *batches += 1;
        let Found { counts, first, last, addresses, pairs, .. } = found;
        decide(engine, source, batch, told, counts, |seen, engine| {
            if let Some(at) = seen.record.event
                && *last != Some(at)
            {
                *first = Some(first.map_or(at, |known| known.min(at)));
                *last = Some(last.map_or(at, |known| known.max(at)));
            }
            let Some(folded) = seen.folded else { return };
            let Some(attempt) = folded.attempt.as_ref().filter(|attempt| attempt.times > 0) else { return };
            // What is counted alone needs no second look-up: see `counted_alone`.
            if !attempt.prefix.is_host() {
                addresses.insert(attempt.peer.into());
            }
            if let Some(pairs) = pairs
                && !attempt.is_probe()
                && pairs.len() < ADDRESSES_MAX
            {
                let user = seen.event.and_then(|event| event.user).unwrap_or_default();
                if let Some(user) = engine.state.user(user) {
                    pairs.insert((user, attempt.peer.into()));
                }
            }
        });
        take_changes(engine, found);
    }
}
