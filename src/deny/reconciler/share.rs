//! How much of the time goes to what others cause.

use std::time::{Duration, Instant};

/// A fifth of the time, for work that others cause. What was not used is saved, up to a bound, so that there is no rest
/// before that is used up.
pub(super) struct Share {
    saved: Duration,
    most: Duration,
    /// Until when it was reckoned.
    at: Instant,
}

impl Share {
    pub(super) fn new(most: Duration, now: Instant) -> Share {
        Share { saved: most, most, at: now }
    }

    /// How long to rest after work from `begun` to `ended`; [`REST_MAX`] at most.
    pub(super) fn rest(&mut self, begun: Instant, ended: Instant) -> Duration {
        self.saved = self.most.min(self.saved + begun.saturating_duration_since(self.at) / (REST + 1));
        self.at = self.at.max(ended);
        let took = ended.saturating_duration_since(begun);
        let beyond = took.saturating_sub(self.saved);
        self.saved = self.saved.saturating_sub(took);
        let rest = (beyond * REST).min(REST_MAX);
        // That time is for this work, and saves nothing for the next.
        self.at += rest;
        rest
    }
}

/// For so many times as long as looking or mending took, neither is done again because of what others did, once nothing is
/// saved of [`Pace::unrested`](super::Pace::unrested).
pub(super) const REST: u32 = 4;
/// For no longer than this, or what hung once would be left as it is for as many times as long.
pub(super) const REST_MAX: Duration = Duration::from_secs(60);
