//! An input as the engine's thread knows it: what was folded of it, and who sends to it.

use std::sync::Arc;
use std::time::Duration;

use inputs::input::{Health, State};
use inputs::record::{Batch, Sender, SourceId, Timestamp};

use super::feeds;
use crate::config::{self, Input, Journald};
use crate::desk::reply::{self, At};
use crate::desk::{Desk, Effects};
use crate::detect::rule::Rules;
use crate::intake::senders::{self, Lag, Minutes};
use crate::intake::shapes::Notice;
use crate::intake::sight::Blind;
use crate::intake::{Counts, Seen, Source};
use crate::store::StoreError;
use crate::text::printable;

/// Shapes that `status` shows of an input.
const SHAPES_SHOWN: usize = 10;

/// Senders that are warned of at a time, each by its name.
const NOTICES_MAX: usize = 5;

/// An input as the engine's thread knows it.
pub(super) struct Connected {
    pub(super) fold: Source,
    counts: Counts,
    health: Health,
    minutes: Minutes,
    /// Whose clocks are behind, as that was kept.
    lags: Vec<Lag>,
    /// How it was blind, as that was kept.
    blind: Option<Blind>,
    /// Why it brings nothing, where that is known of this machine.
    pub(super) dead: Option<String>,
    is_journal_of_here: bool,
    /// What `status` shows of it, but for what the others know.
    shown: reply::Input,
}

impl Connected {
    pub(super) fn new(input: &Input, id: SourceId, rules: &Arc<Rules>, health: Health) -> Self {
        let fold = feeds::source(input, id, rules);
        let shown = reply::Input {
            name: input.name.clone(),
            kind: input.source.kind().to_owned(),
            forgeable: fold.forgeable,
            ..reply::Input::default()
        };
        Connected {
            fold,
            counts: Counts::default(),
            health,
            minutes: Minutes::default(),
            lags: Vec::new(),
            blind: None,
            dead: None,
            is_journal_of_here: matches!(input.source, config::Source::Journald(Journald { directory: None, .. })),
            shown,
        }
    }

    /// The note that has how much of it was understood, by day.
    fn share_note(&self) -> String {
        format!("understood {}", self.shown.name)
    }

    /// The note that has whose clocks are behind.
    fn lags_note(&self) -> String {
        format!("clocks {}", self.shown.name)
    }

    /// The note that has how it is blind.
    fn blind_note(&self) -> String {
        format!("blind {}", self.shown.name)
    }

    /// How it is blind: as it was, before it brings anything.
    fn blind(&self) -> Option<Blind> {
        if self.counts.records == 0 { self.blind.clone() } else { self.fold.sight.blind() }
    }

    /// Takes back whose clocks were behind, how much was understood, and how it was blind.
    pub(super) fn recall(&mut self, desk: &Desk) -> Result<(), StoreError> {
        let note = desk.note(&self.lags_note())?.filter(|_| !self.fold.forgeable);
        self.lags = note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
        self.fold.senders.recall(self.lags.clone());
        let days = desk.note(&self.share_note())?.and_then(|note| serde_json::from_str(&note).ok());
        self.fold.sight.share.resume(days.unwrap_or_default());
        let blind = desk.note(&self.blind_note())?;
        self.blind = blind.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
        Ok(())
    }

    /// Keeps all that, but not the clocks of whom strangers may have made up.
    pub(super) fn keep(&mut self, desk: &mut Desk) {
        let lags = if self.fold.forgeable { Vec::new() } else { self.fold.senders.lags() };
        if lags != self.lags {
            desk.set_note(self.lags_note(), reply::json(&lags));
            self.lags = lags;
        }
        if let Some(days) = self.fold.sight.share.changed() {
            desk.set_note(self.share_note(), reply::json(&days));
        }
        let blind = self.blind();
        if blind.is_some() != self.blind.is_some() {
            desk.set_note(self.blind_note(), reply::json(&blind));
            self.blind = blind;
        }
    }

    /// Hands a batch of it to the desk, and counts. `tap` is shown each record, with the input's name.
    pub(super) fn take(
        &mut self,
        desk: &mut Desk,
        batch: &Batch,
        now: Timestamp,
        mut tap: impl FnMut(&Seen<'_>, &str),
    ) -> Effects {
        let Connected { fold, counts, minutes, shown, .. } = self;
        shown.lost = shown.lost.saturating_add(batch.lost);
        let mut lag = None;
        let effects = desk.fold(fold, batch, counts, now, |seen| {
            let record = seen.record;
            minutes.add(record.received);
            if let Some(at) = record.event {
                shown.last = Some(At(at));
                lag = Some(record.received.0.saturating_sub(at.0).max(0));
            }
            tap(seen, &shown.name);
        });
        if let Some(lag) = lag {
            shown.lag_s = Duration::from_micros(lag.unsigned_abs()).as_secs_f64();
        }
        if let Some(cursor) = &batch.cursor {
            shown.cursor = Some(cursor.clone());
        }
        effects
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.shown.name
    }

    /// Whether it is the journal of this machine.
    pub(super) fn is_journal_of_here(&self) -> bool {
        self.is_journal_of_here
    }

    /// Why it cannot be read now, with its name.
    pub(super) fn problem(&self) -> Option<String> {
        let problem = self.dead.clone().or(self.health.now().problem)?;
        Some(format!("{}: {problem}", self.shown.name))
    }

    pub(super) fn status(&self, now: Timestamp) -> reply::Input {
        let State { problem, counters } = self.health.now();
        let unreadable = counters.unreadable;
        let some = || format!("{unreadable} files of the journal cannot be read");
        reply::Input {
            records: self.counts.records,
            understood: self.counts.understood,
            unknown: self.counts.unknown,
            odd: self.fold.sight.odd,
            forged: self.counts.forged,
            duplicates: self.counts.duplicates,
            lost: self.shown.lost.saturating_add(self.counts.lost).saturating_add(counters.lost()),
            suppressed: self.suppressed(),
            problem: self.dead.clone().or(problem).or_else(|| (unreadable > 0).then(some)),
            counters,
            truncated: self.counts.truncated,
            no_header: self.counts.no_header,
            blind: self.blind(),
            per_minute: self.minutes.rate(now),
            skew_s: self.skew().map(|skew| skew as f64 / 1e6),
            ..self.shown.clone()
        }
    }

    /// What its records look like that no shape fits, the most frequent first.
    pub(super) fn shapes(&self) -> impl Iterator<Item = reply::Shape> {
        let top = self.fold.shapes.top(SHAPES_SHOWN).into_iter();
        top.map(|(shape, records)| reply::Shape { input: self.shown.name.clone(), shape: shape.to_owned(), records })
    }

    /// What a rate limit on the way threw away.
    fn suppressed(&self) -> Vec<reply::Suppressed> {
        let rows = self.fold.suppressed.rows();
        rows.map(|(by, of, records)| reply::Suppressed { by, of: printable(of), records }).collect()
    }

    /// The clock of its senders that is most off.
    fn skew(&self) -> Option<i64> {
        let skews = self.fold.senders.rows().into_iter().filter_map(|row| row.skew());
        skews.max_by_key(|skew| skew.unsigned_abs())
    }

    pub(super) fn senders(&self, now: Timestamp) -> impl Iterator<Item = reply::Sender> {
        // Of a file nobody is known to send; what is known of its clock is the input's.
        let rows = self.fold.senders.rows().into_iter().filter(|row| row.sender != Sender::Unknown);
        rows.map(move |row| reply::Sender {
            source: self.shown.name.clone(),
            sender: row.sender.to_string(),
            host: (!row.host.is_empty()).then(|| printable(&row.host)),
            records: row.records,
            understood: row.understood,
            unknown: row.unknown,
            odd: row.odd,
            lost: row.lost,
            last: Some(At(row.last)),
            per_minute: row.minutes.rate(now),
            lag_s: row.lag().as_secs_f64(),
            skew_s: row.skew().map(|skew| skew as f64 / 1e6),
            silent: row.is_silent,
            blind: row.blind(),
        })
    }

    /// Tells the operator of senders that fell silent or whose clocks are off, and of records that nobody understands.
    pub(super) fn notice(&mut self, now: Timestamp) {
        self.fold.sight.rest();
        if let Some(blind) = self.fold.sight.warns(now) {
            tracing::warn!(input = self.shown.name, line = blind.line, "{}: see `denyd doctor`", blind.what);
        }
        if let Some(Notice { shape, records, others }) = self.fold.shapes.notice(now) {
            tracing::warn!(
                input = self.shown.name,
                records,
                shape,
                others,
                "records of a new shape are not understood: please report it; `denyd status` shows all"
            );
        }
        let notices = self.fold.senders.notices(now);
        let more = notices.len().saturating_sub(NOTICES_MAX);
        for (row, notice) in notices.into_iter().take(NOTICES_MAX) {
            let (seconds, what) = match notice {
                senders::Notice::Blind(blind) => {
                    let (sender, host) = (row.sender.to_string(), printable(&row.host));
                    let what = blind.what;
                    tracing::warn!(
                        input = self.shown.name,
                        sender,
                        host,
                        line = blind.line,
                        "{what}: see `denyd doctor`"
                    );
                    continue;
                }
                senders::Notice::Silent(silence) => {
                    (silence.as_secs(), "a sender has fallen silent; what happens there is not seen")
                }
                senders::Notice::Skewed(skew) => {
                    let what = match (senders::zone(skew), skew > 0) {
                        (Some(_), true) => {
                            "a sender's stamps are ahead, by a wrong zone: say `timezone =` of this input, or start its syslog \
                             daemon again"
                        }
                        (Some(_), false) => {
                            "a sender's stamps are behind, by a wrong zone: say `timezone =` of this input, or start its syslog \
                             daemon again; meanwhile they are set right"
                        }
                        (None, true) => "a sender's clock is ahead; its records are judged by when they came",
                        (None, false) => "a sender's clock is behind; its stamps are set right",
                    };
                    (skew.unsigned_abs() / 1_000_000, what)
                }
            };
            let sender = (row.sender != Sender::Unknown).then(|| row.sender.to_string());
            let host = printable(&row.host);
            tracing::warn!(input = self.shown.name, sender, host, seconds, "{what}");
        }
        if more > 0 {
            tracing::warn!(
                input = self.shown.name,
                senders = more,
                "more senders are silent, have wrong clocks or are not understood: see `denyd status`"
            );
        }
    }
}
