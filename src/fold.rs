//! A batch through parser, detector and engine: the one path that `run`, `scan`, `explain` and the tests share.

use inputs::record::{Batch, Record, Sender, SourceId};
use inputs::syslog::parse::Parser;

use crate::decide::engine::{Engine, Folded};
use crate::decide::session::{HostId, Outcome, Trust};
use crate::detect::detect;
use crate::detect::event::{Event, Peer};

/// One input as the fold needs it.
pub struct Source {
    /// Its number.
    pub id: SourceId,
    /// Makes records of its lines.
    pub parser: Parser,
    /// The origin host of all its records, where the configuration says so.
    pub host: Option<Box<[u8]>>,
    /// The name of this machine: what a record without host comes from.
    pub local_host: Box<[u8]>,
    /// Whether a record must come from uid 0 where the kernel tells a uid.
    pub vouched: bool,
    /// Its lines are bare messages: what names no port stands alone, since nothing tells its connection.
    pub bare: bool,
    /// Whether strangers may be able to make up its records.
    pub forgeable: bool,
    /// The last claimed host and its number: a source's next record is most often from the same.
    last_host: Option<(Box<[u8]>, HostId)>,
}

impl Source {
    /// A source whose records without host come from `local_host`.
    pub fn new(id: SourceId, parser: Parser, host: Option<&str>, local_host: &str) -> Self {
        Source {
            id,
            parser,
            host: host.map(|host| host.as_bytes().into()),
            local_host: local_host.as_bytes().into(),
            vouched: true,
            forgeable: false,
            bare: false,
            last_host: None,
        }
    }

    fn host(&mut self, claimed: &[u8], engine: &mut Engine) -> HostId {
        let name = match &self.host {
            Some(host) => host,
            None if claimed.is_empty() => &self.local_host,
            None => claimed,
        };
        if let Some((last, id)) = &self.last_host
            && **last == *name
        {
            return *id;
        }
        let id = engine.state.host(name);
        self.last_host = Some((name.into(), id));
        id
    }
}

/// How many records amounted to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines or frames, empty ones included.
    pub lines: u64,
    /// Records: lines that are not empty.
    pub records: u64,
    /// Of them, sshd's (or another known service's).
    pub understood: u64,
    /// Records of a failure, whether or not they added an attempt.
    pub failures: u64,
    /// Connections without a login begun.
    pub probes: u64,
    /// Logins.
    pub successes: u64,
    /// Connections that the server refused.
    pub refused: u64,
    /// Other programs' records, and what said nothing new.
    pub ignored: u64,
    /// Records of a known service that no shape fits.
    pub unknown: u64,
    /// Records that would have changed something, from a sender that may not write them.
    pub forged: u64,
    /// Lines that were longer than [`LINE_MAX`](inputs::record::LINE_MAX).
    pub truncated: u64,
    /// Attempts.
    pub attempts: u64,
}

/// One record on its way out of the fold, for those who show or keep it.
pub struct Seen<'a> {
    /// The record.
    pub record: Record<'a>,
    /// What it says, if its program is known.
    pub event: Option<Event<'a>>,
    /// What it amounted to, if it was folded.
    pub folded: Option<Folded>,
}

impl Seen<'_> {
    /// What it amounted to; other programs' records are ignored.
    pub fn outcome(&self) -> Outcome {
        self.folded.map_or(Outcome::Ignored, |folded| folded.verdict.outcome)
    }
}

/// Set in the made-up process ids of bare messages.
pub const BARE_PID: u32 = 1 << 31;

/// Folds a batch; `each` sees every record, in order, empty lines included.
pub fn fold(
    engine: &mut Engine,
    source: &mut Source,
    batch: &Batch,
    counts: &mut Counts,
    mut each: impl FnMut(&Seen<'_>, &Engine),
) {
    engine.tell_wall(batch.received);
    for &frame in &batch.frames {
        counts.lines += 1;
        counts.truncated += u64::from(frame.truncated);
        let mut record = source.parser.record(batch, frame);
        counts.records += u64::from(!record.message.is_empty() || !record.identifier.is_empty());
        let Some(event) = detect(&record) else {
            counts.ignored += u64::from(!record.message.is_empty() || !record.identifier.is_empty());
            each(&Seen { record, event: None, folded: None }, engine);
            continue;
        };
        if source.vouched && !vouched(&record) && event.changes_something() {
            counts.forged += 1;
            counts.ignored += 1;
            each(&Seen { record, event: Some(event), folded: None }, engine);
            continue;
        }
        if source.bare && event.port.is_none() {
            // A number that no process has: beyond what the kernel gives (`PID_MAX_LIMIT`, 2^22).
            record.pid = Some(BARE_PID | counts.lines as u32);
        }
        let host = source.host(record.host, engine);
        // sshd that logs to stderr does not escape newlines: strangers write whole lines there.
        let trust = if source.forgeable || record.stdout { Trust::Forgeable } else { Trust::Sound };
        let folded = engine.record(&record, host, &event, trust);
        counts.understood += 1;
        counts.attempts += u64::from(folded.verdict.attempts);
        match folded.verdict.outcome {
            Outcome::Failure => counts.failures += 1,
            Outcome::Probe => counts.probes += 1,
            Outcome::Success => counts.successes += 1,
            Outcome::Refused => counts.refused += 1,
            Outcome::Ignored => counts.ignored += 1,
            Outcome::Unknown => counts.unknown += 1,
        }
        each(&Seen { record, event: Some(event), folded: Some(folded) }, engine);
    }
}

/// Whether the kernel, where it tells a uid at all, says that root wrote the record.
fn vouched(record: &Record<'_>) -> bool {
    match record.sender {
        Sender::Uid(uid) => *uid == 0,
        Sender::Peer(_) | Sender::Cert(_) | Sender::Unknown => true,
    }
}

/// The address that a line itself carries, or its connection's.
pub fn address(seen: &Seen<'_>) -> Option<std::net::IpAddr> {
    match (&seen.folded, &seen.event) {
        (Some(folded), Some(event)) if folded.verdict.outcome != Outcome::Ignored => {
            event.peer.address().or(folded.verdict.peer)
        }
        (_, Some(Event { peer: Peer::Address(address), .. })) => Some(*address),
        _ => None,
    }
}
