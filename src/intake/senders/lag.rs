//! Lags that are kept over a restart: whose clock was known to be behind need not show it again. What is read at a
//! start has its stamps set right by them, and `status` and `doctor` know at once.
//!
//! A clock that is ahead shows that by itself: its stamps are of the future.

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PROGRAMS_MAX, Row, SENDERS_MAX, SKEW, Senders};
use crate::text::printable;

/// That the clock of a sender's program is behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lag {
    sender: String,
    host: String,
    program: u64,
    /// By so many microseconds.
    by: i64,
}

impl Senders {
    /// Whose clocks are behind, and of whom nothing was heard yet since the start that was behind before.
    pub fn lags(&self) -> Vec<Lag> {
        let of = |row: &Row| {
            let (sender, host) = (row.sender.to_string(), printable(&row.host));
            let behind =
                row.clocks.iter().filter_map(|(program, clock)| Some((*program, clock.skew().filter(|by| *by > 0)?)));
            behind
                .map(move |(program, by)| Lag { sender: sender.clone(), host: host.clone(), program, by })
                .collect::<Vec<_>>()
        };
        let is_off = |row: &&Row| row.skew().is_some();
        let mut lags: Vec<_> = self.rows.values().filter(is_off).flat_map(of).chain(self.lags.clone()).collect();
        lags.sort();
        lags
    }

    /// Takes back what an earlier run found.
    pub fn recall(&mut self, mut lags: Vec<Lag>) {
        lags.truncate(SENDERS_MAX * PROGRAMS_MAX);
        self.lags = lags;
    }
}

impl Row {
    /// Takes from `lags` what is known of its clocks.
    pub(super) fn recall(&mut self, lags: &mut Vec<Lag>) {
        if lags.is_empty() {
            return;
        }
        let (sender, host) = (self.sender.to_string(), printable(&self.host));
        lags.retain(|lag| {
            let is_its = lag.sender == sender && lag.host == host;
            if is_its {
                *self.clock(lag.program) = super::Clock::behind(lag.by);
            }
            !is_its
        });
    }
}

/// A stamp of what is read at a start, set right. One that would be of the future then was written
/// after the clock was set.
pub(super) fn set_right(event: Timestamp, skew: Option<i64>, received: Timestamp) -> Timestamp {
    let right = Timestamp(event.0.saturating_add(skew.unwrap_or(0).max(0)));
    if right.0 <= received.0.saturating_add(SKEW) { right } else { event }
}
