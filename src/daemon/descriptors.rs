//! How many files and connections this process may have open: as many as its configuration may need, and some to spare.

use anyhow::ensure;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{Input, Source};

/// What the daemon needs for itself: its database, firewalls, log, clients of the control socket.
const OURS: u64 = 256;
/// What an input needs that has no connections: a journal is of several files.
const OF_INPUT: u64 = 32;

/// Raises the limit to what these inputs may need; an error where that is more than may be had.
pub(super) fn make_room(inputs: &[Input]) -> anyhow::Result<()> {
    let most: u64 = inputs.iter().map(|input| connections(input) + OF_INPUT).sum();
    let wanted = most + OURS;
    let (now, limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        wanted <= limit,
        "the inputs may need {wanted} open files and connections, and this process may have {limit}: lower their \
         max_connections, or raise LimitNOFILE in the unit (ulimit -Hn)"
    );
    if now < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, limit)?;
    }
    Ok(())
}

fn connections(input: &Input) -> u64 {
    match &input.source {
        Source::Syslog(syslog) if syslog.is_stream() => syslog.options.max_connections as u64,
        _ => 0,
    }
}
