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

/// What this machine calls itself; `localhost` where it does not say.
pub(crate) fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}
