//! What the hub counts, by names that a monitoring system can have as they are.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// HTTP requests.
    Requests,
    /// Calls that said whom a client denied.
    AddHosts,
    /// Calls that asked whom others denied.
    GetNewHosts,
    /// Calls that told versions, which are not kept.
    VersionReport,
    /// Answers that were faults.
    Faults,
    /// Hosts that were reported and taken.
    Reports,
    /// Hosts that were reported and not taken: there was no room.
    Refused,
    /// Reports that count in a host's total alone: there was no room for a row.
    Untold,
    /// Hosts that were forgotten to make room.
    Evicted,
    /// Hosts that were forgotten as nobody reported them any more.
    Expired,
    /// Hosts that were handed out.
    Told,
    /// Requests of who may not ask, or had no token that is known.
    Strangers,
    /// Requests, or hosts, of who had too many of them.
    Rates,
    /// Requests that were too large, in a form that is not read, or no XML-RPC.
    Unread,
    /// Requests whose rest did not come in time.
    Slow,
    /// Requests that were turned away as there was too much to do.
    Busy,
    /// Connections that could not be made, by TLS or by the system.
    Broken,
    /// Connections that were closed at once, as their peer had too many.
    Crowds,
}

/// The names, in the order of the variants. Those of `/metrics` would be `denyd_hub_` and these, and `_total`.
pub const NAMES: [(Count, &str); 18] = [
    (Count::Requests, "requests"),
    (Count::AddHosts, "add_hosts"),
    (Count::GetNewHosts, "get_new_hosts"),
    (Count::VersionReport, "version_report"),
    (Count::Faults, "faults"),
    (Count::Reports, "reports"),
    (Count::Refused, "reports_refused"),
    (Count::Untold, "reports_untold"),
    (Count::Evicted, "hosts_evicted"),
    (Count::Expired, "hosts_expired"),
    (Count::Told, "hosts_told"),
    (Count::Strangers, "strangers"),
    (Count::Rates, "over_rate"),
    (Count::Unread, "unread"),
    (Count::Slow, "slow"),
    (Count::Busy, "busy"),
    (Count::Broken, "broken"),
    (Count::Crowds, "over_connections"),
];

/// How often each happened since the hub started.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    /// It happened so many times more.
    pub fn add(&self, what: Count, times: usize) {
        self.0[what as usize].fetch_add(times as u64, Relaxed);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().map(|(what, name)| (*name, self.0[*what as usize].load(Relaxed)))
    }
}
