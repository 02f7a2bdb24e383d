//! A configuration on trial: what a start finds of one, and how long one waits.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::configured::Fresh;
use super::newcomer::{Before, Processes, Session};
use crate::clock;
use crate::config::{self, Config};
use crate::desk::reply::{self, At};

/// The longest that a trial may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(86_400);

/// A trial, or one that nobody kept.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) order: config::Trial,
    /// What it waits for; `None` = it went back.
    pub(super) waits: Option<Waits>,
    /// Whether nothing is enforced, because that is what it went back to.
    pub(super) is_idle: bool,
    /// Whether whom it denied is let in again, which the next commit writes.
    pub(super) is_taken_back: bool,
}

/// What a trial waits for.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    pub(super) before: Before,
    /// When it goes back: so long after this machine began.
    pub(super) ends: Duration,
}

/// An order to try a configuration, before that holds.
pub(super) struct Order {
    pub(super) trial: config::Trial,
    seconds: u64,
    /// The sessions that live.
    sessions: BTreeSet<Session>,
}

/// What to do for a configuration that nobody kept.
pub(super) const AGAIN: &str = "to have the file hold: denyd reload; to try it again: denyd reload --confirm 10m";

impl Order {
    /// One for `seconds`. `before` is what it goes back to; `decided` is the number of the newest decision.
    pub(super) fn new(seconds: u64, decided: i64, before: Option<&Config>) -> Result<Order, String> {
        if !(1..=LONGEST.as_secs()).contains(&seconds) {
            let longest = config::duration::show(LONGEST);
            return Err(format!("a configuration is tried for a second at least, and for {longest} at most"));
        }
        let sessions = Processes::here().sessions();
        let sessions =
            sessions.map_err(|error| format!("/proc cannot be read, so nobody could tell a new session: {error}"))?;
        let now = clock::now();
        let (since, until) = (At(now), At(now.after(Duration::from_secs(seconds))));
        let before = before.map(|before| before.whole().to_toml());
        Ok(Order { trial: config::Trial { since, until, decided, before, ended: false }, seconds, sessions })
    }
}

impl Trial {
    /// What a start finds: a trial that nobody kept, and what holds instead of `config`. Where what was before cannot hold,
    /// nothing is enforced.
    pub(super) fn found(config: Config) -> anyhow::Result<(Fresh, Option<Trial>)> {
        let order = match config::Trial::read(&config.state_dir) {
            Ok(None) => return Ok((Fresh::of(config, false)?, None)),
            Ok(Some(order)) => order,
            Err(error) => {
                tracing::error!(%error, "the order to try a configuration cannot be read, nor what was before it");
                let now = At(clock::now());
                config::Trial { since: now, until: now, decided: i64::MAX, before: None, ended: true }
            }
        };
        let since = order.since;
        let before = order.before(&config).and_then(|before| {
            let fresh = Fresh::of(before, false);
            fresh.inspect_err(|error| tracing::error!("what was before the trial cannot hold again: {error:#}")).ok()
        });
        let is_idle = before.is_none();
        let what = if is_idle { "NOTHING IS ENFORCED" } else { "the one before holds" };
        tracing::error!(%since, "nobody kept the configuration that was tried, so {what}; {AGAIN}");
        let fresh = before.map_or_else(|| Fresh::of(config, false), Ok)?;
        Ok((fresh, Some(Trial { order, waits: None, is_idle, is_taken_back: false })))
    }

    /// A trial that begins now.
    pub(super) fn begin(Order { trial, seconds, sessions }: Order) -> Trial {
        let before = Before { at: clock::boottime(), sessions };
        let ends = before.at + Duration::from_secs(seconds);
        tracing::warn!(
            until = %trial.until,
            "the configuration is on trial: it goes back unless denyd keep is said in time, in a new session; see denyd status"
        );
        Trial { order: trial, waits: Some(Waits { before, ends }), is_idle: false, is_taken_back: false }
    }

    /// How long it still waits; `None` = it went back.
    pub(super) fn left(&self) -> Option<Duration> {
        self.waits.as_ref().map(|waits| waits.ends.saturating_sub(clock::boottime()))
    }

    /// Whether it went back.
    pub(super) fn went_back(&self) -> bool {
        self.waits.is_none()
    }

    /// Something was committed. Once that has written whom the trial denied and is let in again, it is noted that the trial
    /// ended. Until then, and where that note cannot be written, the next start goes back once more.
    pub(super) fn committed(&mut self, state_dir: &Path) {
        if !self.is_taken_back || self.order.ended {
            return;
        }
        self.order.ended = true;
        if let Err(error) = self.order.write(state_dir) {
            tracing::warn!(%error, "that the trial ended cannot be written");
        }
    }

    /// What people are told.
    pub(super) fn shown(&self) -> reply::Trial {
        let until = self.left().map_or(self.order.until, |left| At(clock::now().after(left)));
        let to_nothing = self.is_idle || self.order.before.is_none();
        reply::Trial { since: self.order.since, until, ended: self.went_back(), to_nothing }
    }
}
