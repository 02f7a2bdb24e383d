//! The only place that asks for the time. Everybody else is told it.

use inputs::record::Timestamp;

/// The wall clock, now.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// A clock that never steps, for how long something took, and for how the wall clock moves.
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// How long this machine has run, suspended or not (`CLOCK_BOOTTIME`): the clock by which the kernel says when a process
/// began, and which nobody sets.
pub(crate) fn boottime() -> std::time::Duration {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    time.map_or(std::time::Duration::ZERO, std::time::Duration::from)
}

/// What this machine calls itself; `localhost` where it does not say.
pub(crate) fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}
