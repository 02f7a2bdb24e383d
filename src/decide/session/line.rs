//! What each part of this module knows: lines, where they come from, and what they amount to.

use std::time::Duration;

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

/// Connections that each world remembers at once. At the bound the oldest is forgotten, and counted.
pub(crate) const SESSIONS_MAX: usize = 100_000;
/// PAM lines that wait in each world at once. Further ones are not taken, and counted.
pub(crate) const WAITING_MAX: usize = 4_096;
/// Bytes of a user's name that are remembered.
pub(super) const USER_MAX: usize = 100;

/// How far apart, in event time, lines may be that several processes or programs wrote about the same try.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// An origin host, interned by the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u16);

/// What a record amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A failure; how many attempts it adds is said beside it.
    Failure,
    /// A connection without a login begun.
    Probe,
    /// A login.
    Success,
    /// The server would not talk to the address.
    Refused,
    /// Nothing, or what another line of the connection already said.
    Ignored,
    /// A record of a known service that no shape fits.
    Unknown,
}

/// Whether strangers may be able to make up the records of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// They are what the origin's syslog wrote.
    #[default]
    Sound,
    /// They may be forged: such a record counts, but clears nothing, and what would not be denied without such records
    /// is denied for [`FORGEABLE_FOR`](crate::decide::claim::FORGEABLE_FOR) at most.
    Forgeable,
}

/// Where a line comes from: which host, source and process, and when.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The origin host.
    pub host: HostId,
    /// Which input delivered it.
    pub source: SourceId,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// When it was written.
    pub at: Timestamp,
    /// When we received it.
    pub received: Timestamp,
    /// From when a deny lasts that it leads to.
    pub from: Timestamp,
}

/// Whether two lines may be of the same try.
pub(super) fn near(a: Timestamp, b: Timestamp) -> bool {
    a.0.abs_diff(b.0) <= WINDOW.as_micros() as u64
}
