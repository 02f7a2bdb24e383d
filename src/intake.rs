//! A batch through detector and engine: the one path that `run`, `scan`, `explain` and the tests share.

use std::sync::Arc;

use inputs::record::{Batch, Record, Sender, SourceId, Timestamp};

use crate::decide::attempt::Folded;
use crate::decide::engine::{Engine, Input};
use crate::decide::session::{HostId, Outcome, Trust};
use crate::detect::address::Peer;
use crate::detect::detect;
use crate::detect::event::{Event, Kind};
use crate::detect::rule::Rules;
use sight::Miss;

mod handover;
mod redelivered;
mod repeat;
pub mod senders;
pub mod shapes;
pub mod sight;
pub mod suppressed;

/// One input as the fold needs it.
pub struct Source {
    /// Its number.
    pub id: SourceId,
    /// The origin host of all its records, where the configuration says so.
    pub host: Option<Box<[u8]>>,
    /// The name of this machine: what a record without host comes from.
    pub local_host: Box<[u8]>,
    /// Whether a record must come from uid 0 where the kernel tells a uid.
    pub vouched: bool,
    /// Who is believed beside root, of whomever the record tells: a log daemon hands on what it was given.
    pub trusted_uid: Option<u32>,
    /// Its lines are bare messages: a login that was begun and names no port stands alone, since nothing tells its connection.
    pub bare: bool,
    /// Whether strangers may be able to make up its records.
    pub forgeable: bool,
    /// The last claimed host and its number: a source's next record is most often from the same.
    last_host: Option<(Box<[u8]>, HostId)>,
    /// The last line, which the next one may say to have been repeated.
    last: Option<repeat::Last>,
    /// What other programs' records mean.
    pub rules: Arc<Rules>,
    /// Our own process, where we run on this machine: what it writes never counts.
    pub our_pid: Option<u32>,
    /// What it brought lately.
    redelivered: redelivered::Redelivered,
    /// What it brought for who takes its place, or what was brought in its place before.
    handover: handover::Handover,
    /// Who sends, where something vouches for the last hop.
    pub senders: senders::Senders,
    /// What its records that no shape fits look like.
    pub shapes: shapes::Shapes,
    /// Whether anything of it is understood.
    pub sight: sight::Sight,
    /// What a rate limit on the way threw away.
    pub suppressed: suppressed::Suppressed,
}

impl Source {
    /// A source whose records without host come from `local_host`.
    pub fn new(id: SourceId, host: Option<&str>, local_host: &str) -> Self {
        Source {
            id,
            host: host.map(|host| host.as_bytes().into()),
            local_host: local_host.as_bytes().into(),
            vouched: true,
            trusted_uid: None,
            forgeable: false,
            bare: false,
            rules: Arc::default(),
            our_pid: None,
            last_host: None,
            last: None,
            redelivered: redelivered::Redelivered::default(),
            handover: handover::Handover::default(),
            senders: senders::Senders::default(),
            shapes: shapes::Shapes::default(),
            sight: sight::Sight::default(),
            suppressed: suppressed::Suppressed::default(),
        }
    }

    /// Another source will take its place, which may have some of its records: what it brings is remembered for that.
    pub fn will_hand_over(&mut self) {
        self.handover = handover::Handover::begin();
    }

    /// Takes the place of another one from now on, and counts nothing again which that one brought.
    pub fn take_over(&mut self, before: &mut Source, now: Timestamp) {
        if let Some(known) = std::mem::take(&mut before.handover).take(now) {
            self.handover = known;
        }
    }

    /// Whether we wrote it ourselves, under whatever name.
    fn is_ours(&self, record: &Record<'_>) -> bool {
        let here = record.host.is_empty() || *record.host == *self.local_host;
        here && record.pid.is_some() && record.pid == self.our_pid
    }

    /// Whether a record that would change something must not: its writer may not write so, or the source brought it before.
    #[inline]
    fn leaves_out(
        &mut self,
        record: &Record<'_>,
        stamp: Option<Timestamp>,
        vouched: bool,
        trust: Trust,
        counts: &mut Counts,
    ) -> bool {
        if !vouched {
            counts.forged += 1;
            return true;
        }
        // multilog's label is of all that it read at once, and nobody sends a program's own output again.
        let known = |stamp| self.redelivered.knows(record, stamp, trust, trust_of(self.forgeable));
        let is_again = !self.bare && !record.labelled && stamp.is_some_and(known) || self.handover.knows(record);
        counts.duplicates += u64::from(is_again);
        is_again
    }

    fn host(&mut self, claimed: &[u8], engine: &mut Engine) -> HostId {
        let (name, trust) = match &self.host {
            Some(host) => (&**host, Trust::Sound),
            None if claimed.is_empty() => (&*self.local_host, Trust::Sound),
            None => (claimed, trust_of(self.forgeable)),
        };
        if let Some((last, id)) = &self.last_host
            && **last == *name
        {
            return *id;
        }
        let id = engine.host(name, trust);
        self.last_host = Some((name.into(), id));
        id
    }
}

fn trust_of(forgeable: bool) -> Trust {
    if forgeable { Trust::Forgeable } else { Trust::Sound }
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
    /// Records that the same source had brought before.
    pub duplicates: u64,
    /// Lines that were longer than [`LINE_MAX`](inputs::record::LINE_MAX), or pieces that a container's engine cut.
    pub truncated: u64,
    /// Records in which no program was found: none is guessed.
    pub no_header: u64,
    /// Attempts.
    pub attempts: u64,
    /// Records that daemons on the way say they threw away.
    pub lost: u64,
}

impl Counts {
    /// Counts a record of a known service.
    fn add(&mut self, folded: &Folded<'_>) {
        self.understood += 1;
        self.attempts += u64::from(folded.attempts());
        match folded.outcome {
            Outcome::Failure => self.failures += 1,
            Outcome::Probe => self.probes += 1,
            Outcome::Success => self.successes += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Ignored => self.ignored += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

/// One record on its way out of the fold, for those who show or keep it.
pub struct Seen<'a> {
    /// The record.
    pub record: &'a Record<'a>,
    /// What it says, if its program is known.
    pub event: Option<&'a Event<'a>>,
    /// What it amounted to, if it was folded.
    pub folded: Option<&'a Folded<'a>>,
}

impl Seen<'_> {
    /// What it amounted to; other programs' records are ignored.
    pub fn outcome(&self) -> Outcome {
        self.folded.map_or(Outcome::Ignored, |folded| folded.outcome)
    }
}

/// Set in the made-up process ids of bare messages.
pub const BARE_PID: u32 = 1 << 31;

/// What a record says by itself: all of the way that needs nothing but the record. Several batches may be heard at once.
#[inline]
pub fn hear<'a>(record: &Record<'a>, rules: &'a Rules) -> Option<Event<'a>> {
    match repeat::unwrapped(record) {
        Some(inner) => detect(&inner, rules),
        None => detect(record, rules),
    }
}

/// Folds a batch; `each` sees every record, in order, empty lines included.
pub fn fold(
    engine: &mut Engine,
    source: &mut Source,
    batch: &Batch,
    counts: &mut Counts,
    each: impl FnMut(&Seen<'_>, &Engine),
) {
    let rules = Arc::clone(&source.rules);
    decide(engine, source, batch, batch.records().map(|record| hear(&record, &rules)), counts, each);
}

/// The same of a batch of whose records it is `told` what they say: the rest of the way, on which they keep their order.
pub fn decide<'a>(
    engine: &mut Engine,
    source: &mut Source,
    batch: &'a Batch,
    told: impl IntoIterator<Item = Option<Event<'a>>>,
    counts: &mut Counts,
    mut each: impl FnMut(&Seen<'_>, &Engine),
) {
    let rules = Arc::clone(&source.rules);
    let kept = source.last.take();
    let mut last = kept.as_ref().map(repeat::Last::record);
    for (mut record, event) in batch.records().zip(told) {
        counts.lines += 1;
        counts.truncated += u64::from(record.truncated);
        // dropbear prints names that exist, and of strangers a client's version alone, which is one line.
        record.stdout = record.stdout && !crate::detect::dropbear::is_dropbear(record.identifier);
        let stamp = record.event;
        // sshd that logs to stderr does not escape newlines: strangers write whole lines there.
        let is_foreign = record.stdout && !source.forgeable;
        // A program's own output was written by no daemon that could say that the last line was repeated.
        let again = last.as_ref().filter(|_| !source.bare).and_then(|last| repeat::again(last, &record));
        let program = again.map(|again| again.identifier).or(event.as_ref().map(|_| record.identifier));
        let sender = source.senders.hear(&mut record, program.filter(|_| !is_foreign));
        let by_rule = event.as_ref().is_some_and(|event| event.forgeable);
        let trust = trust_of(source.forgeable || record.stdout || by_rule);
        let is_empty = record.message.is_empty() && record.identifier.is_empty();
        counts.records += u64::from(!is_empty);
        if let Some(again) = again.map(|again| Record { event: record.event, live: record.live, ..again })
            && let Some(event) = detect(&again, &rules)
        {
            let called = source.host(again.host, engine);
            let host = engine.meant(&again, called);
            let trust = if event.forgeable { Trust::Forgeable } else { trust };
            let folded = engine.step(batch.received, Input::Record { record: &again, host, event: &event, trust });
            counts.add(&folded);
            source.senders.tell(sender, |row| row.understood += 1);
            each(&Seen { record: &record, event: Some(&event), folded: Some(&folded) }, engine);
            continue;
        }
        last = None;
        let Some(event) = event.as_ref().filter(|event| !event.is_by_rule() || !source.is_ours(&record)) else {
            counts.ignored += u64::from(!is_empty);
            // What a program prints has none to be known.
            let is_bare = !is_empty && record.identifier.is_empty() && !record.stdout;
            counts.no_header += u64::from(is_bare && !record.message.starts_with(b"-- MARK --"));
            let tells = !is_empty && !is_foreign && may_be_judged(&record, source);
            let miss = tells.then(|| source.sight.miss(&record, rules.are_for(&record)));
            let lost = source.suppressed.hear(&record, source.vouched, trust);
            counts.lost = counts.lost.saturating_add(lost);
            source.senders.tell(sender, |row| {
                row.lost = row.lost.saturating_add(lost);
                row.odd += u64::from(miss == Some(Miss::Odd));
                row.judge(matches!(miss, Some(Miss::Odd | Miss::Bare)), &record);
            });
            each(&Seen { record: &record, event: None, folded: None }, engine);
            continue;
        };
        let fits = event.kind != Kind::Unknown;
        if !fits {
            source.shapes.add(record.message);
        }
        let vouched = !source.vouched || vouched(&record, event, source.trusted_uid);
        match (vouched, event.is_by_rule()) {
            (false, _) => {}
            (true, true) if rules.are_for(&record) => source.sight.know_by_rule(&record),
            // What is asked of every program tells of none.
            (true, true) => {}
            (true, false) => source.sight.know(&record, fits, !is_foreign),
        }
        if event.changes_something() && source.leaves_out(&record, stamp, vouched, trust, counts) {
            counts.ignored += 1;
            each(&Seen { record: &record, event: Some(event), folded: None }, engine);
            continue;
        }
        if source.bare && event.port.is_none() && event.kind == Kind::Begun {
            // A number that no process has: beyond what the kernel gives (`PID_MAX_LIMIT`, 2^22).
            record.pid = Some(BARE_PID | counts.lines as u32);
        }
        let called = source.host(record.host, engine);
        let host = if source.bare { called } else { engine.origin(&record, called, trust) };
        // Nor may it say where others' attempts came from.
        let without_peer;
        let told = if vouched {
            event
        } else {
            without_peer = Event { peer: Peer::Unsaid, ..*event };
            &without_peer
        };
        let folded = engine.step(batch.received, Input::Record { record: &record, host, event: told, trust });
        counts.add(&folded);
        source.senders.tell(sender, |row| {
            row.understood += 1;
            row.unknown += u64::from(folded.outcome == Outcome::Unknown);
            row.judge(!fits, &record);
        });
        if matches!(event.kind, Kind::Tried | Kind::Answered | Kind::PamTried)
            && event.times == 1
            && repeat::can_repeat(&record)
        {
            last = Some(record);
        }
        each(&Seen { record: &record, event: Some(event), folded: Some(&folded) }, engine);
    }
    source.last = last.as_ref().map(repeat::Last::keep);
}

/// Whether a record of which nobody knows what it says tells of its source: root wrote it, or its log daemon.
fn may_be_judged(record: &Record<'_>, source: &Source) -> bool {
    match record.sender {
        Sender::Uid(uid) => !source.vouched || *uid == 0 || source.trusted_uid == Some(*uid),
        Sender::Peer(_) | Sender::Cert(_) | Sender::Unknown => true,
    }
}

/// Whether the kernel, where it tells a uid at all, says that one wrote the record who may: root, or whom a rule names.
fn vouched(record: &Record<'_>, event: &Event<'_>, trusted: Option<u32>) -> bool {
    match record.sender {
        Sender::Uid(uid) => event.may_be_by(*uid) || trusted == Some(*uid),
        Sender::Peer(_) | Sender::Cert(_) | Sender::Unknown => true,
    }
}

/// The address that a line itself carries, or its connection's.
pub fn address(seen: &Seen<'_>) -> Option<std::net::IpAddr> {
    match (seen.folded, seen.event) {
        (Some(folded), Some(event)) if folded.outcome != Outcome::Ignored => {
            event.peer.address().or(folded.peer).map(Into::into)
        }
        (_, Some(Event { peer: Peer::Address(address), .. })) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use inputs::syslog::parse::{Format, Parser};

    use super::*;
    use crate::decide::policy::Policy;

    /// How many attempts lines are, in one batch and in one batch each. `X` is a failure of root, `Y` of somebody
    /// else, both without what stands before a message in that format.
    #[track_caller]
    fn check(bare: Option<&'static str>, lines: &str, want: u64) {
        let text = lines
            .replace('X', "Failed password for root from 192.0.2.7 port 22 ssh2")
            .replace('Y', "Failed password for bob from 192.0.2.8 port 23 ssh2");
        for together in [true, false] {
            let mut parser = Parser::new(Format::Auto, jiff::tz::TimeZone::UTC);
            parser.bare(bare);
            let mut source = Source::new(SourceId(0), None, "here");
            source.bare = bare.is_some();
            let (mut engine, mut counts) = (Engine::new(Policy::default()), Counts::default());
            let lines: Vec<&str> = text.lines().collect();
            for lines in lines.chunks(if together { lines.len() } else { 1 }) {
                let now = Timestamp::from_secs(1_795_305_600); // 2026-11-22T00:00:00Z
                let batch = parser.batch(now, lines.iter().map(|line| line.as_bytes()));
                fold(&mut engine, &mut source, &batch, &mut counts, |_, _| {});
            }
            assert_eq!(counts.attempts, want, "{text}");
            let folded = counts.failures + counts.probes + counts.successes + counts.refused;
            assert_eq!(counts.records, folded + counts.ignored + counts.unknown, "{text}");
        }
    }

    #[test]
    fn a_repeated_line_counts_as_often_again() {
        let bsd = "Nov 21 23:26:32 b sshd[9]: X\nNov 21 23:26:40 b last message repeated 3 times";
        check(None, bsd, 4);
        check(None, &format!("{bsd}\nNov 21 23:27:32 b last message repeated 2 times"), 6);
        check(
            None,
            &format!("{bsd}\nNov 21 23:27:32 b sshd[9]: Y\nNov 21 23:27:33 b last message repeated 2 times"),
            7,
        );
        check(None, "Nov 21 23:26:32 sshd[9]: X\nNov 21 23:26:40 last message repeated 2 times", 3);
        check(None, "Nov 21 23:26:32 b sshd[9]: X\nNov 21 23:26:40 last message repeated 2 times", 3);
        // FreeBSD since 12 has a tag for it, macOS dashes and no host.
        check(None, "Nov 21 23:26:32 b sshd[9]: X\nNov 21 23:26:40 b syslogd: last message repeated 1 times", 2);
        check(None, "Nov 21 23:26:32 b sshd[9]: X\nNov 21 23:26:40 --- last message repeated 2 times ---", 3);
        check(None, "Nov 21 23:26:32 [sshd] X\n                - Last output repeated twice -", 3);
        check(None, "Nov 21 23:26:32 [sshd] X\nNov 21 23:26:40 [sshd] Last output repeated 3 times", 4);
        check(None, "Nov 21 23:26:32 [sshd] X\nNov 21 23:26:40 [sshd] last message repeated 3 times", 4);
        let suppressed = "repeated 3 times, suppressed by syslog-ng on b.example.org";
        check(
            None,
            &format!(
                "Nov 21 23:26:32 b sshd[9]: X\nNov 21 23:26:32 b sshd: Last message 'Failed password for ' {suppressed}"
            ),
            4,
        );
        // rsyslog's own form does not nest.
        let both = "Nov 21 23:26:32 b sshd[9]: message repeated 2 times: [ X]\nNov 21 23:26:40 b last message repeated 3 times";
        check(None, both, 2);
    }

    #[test]
    fn repeats_are_counted_for_every_service() {
        let dropbear = "dropbear[9]: Bad password attempt for 'root' from 192.0.2.7:22";
        check(None, &format!("Nov 21 23:26:32 b {dropbear}"), 1);
        check(None, &format!("Nov 21 23:26:32 b {dropbear}\nNov 21 23:26:40 b last message repeated 3 times"), 4);
        let folded = |text: &str| text.replace(": ", ": message repeated 3 times: [ ") + "]";
        check(None, &format!("Nov 21 23:26:32 b {}", folded(dropbear)), 3);
        check(None, &format!("Nov 21 23:26:32 b {}", folded("sshd[9]: X")), 3);
        // Solaris' number stands before the message, and where a relay folds it, inside.
        check(None, "Nov 21 23:26:32 b sshd[9]: [ID 800047 auth.info] X", 1);
        check(None, "Nov 21 23:26:32 b sshd[9]: message repeated 3 times: [ [ID 800047 auth.info] X]", 3);
    }

    #[test]
    fn lines_that_multilog_read_at_once_have_one_label_and_are_tries_of_their_own() {
        let line = "@400000006a20ff0a0bebc200 X\n"; // 200 ms past a second
        check(Some("sshd"), &line.repeat(3), 3);
        let pid = "@400000006a20ff0a0bebc200 Nov 21 23:26:32 b sshd[7]: X\n";
        check(None, &pid.repeat(3), 3);
    }

    #[test]
    fn what_only_looks_repeated_counts_nothing() {
        let after_x = |line: &str, want| check(None, &format!("Nov 21 23:26:32 b sshd[9]: X\n{line}"), want);
        after_x("Nov 21 23:26:40 c last message repeated 3 times", 1);
        let suppressed = "repeated 3 times, suppressed by syslog-ng on b";
        after_x(&format!("Nov 21 23:26:40 b sshd: Last message 'Accepted password fo' {suppressed}"), 1);
        after_x(&format!("Nov 21 23:26:40 b sshd: Last message '' {suppressed}"), 1);
        after_x(&format!("Nov 21 23:26:40 b su: Last message 'Failed password for ' {suppressed}"), 1);
        after_x("Nov 21 23:26:40 c syslogd: last message repeated 3 times", 1);
        after_x("Nov 21 23:26:40 b su[9]: last message repeated 3 times", 1);
        after_x("Nov 21 23:26:40 b sshd[9]: Invalid user last message repeated 3 times from 192.0.2.7 port 22", 1);
        after_x("Nov 21 23:26:40 b sshd[9]: last message repeated 3 times from 192.0.2.7 port 22", 1);
        after_x("Nov 21 23:26:39 b su: y\nNov 21 23:26:40 b last message repeated 3 times", 1);
        after_x("Nov 21 23:26:39 b last message repeated 3 times of user", 1);
        after_x("\nNov 21 23:26:39 b last message repeated 3 times", 1);
        check(None, "Nov 21 23:26:40 b last message repeated 3 times", 0);
        check(
            None,
            "Nov 21 23:26:32 b sshd[9]: Accepted password for root from 192.0.2.7 port 22 ssh2\nNov 21 23:26:40 b last message repeated 3 times",
            0,
        );
        // Strangers can write such a line themselves.
        check(Some("sshd"), "X\nlast message repeated 3 times", 1);
        check(Some("sshd"), "X\n                - Last output repeated twice -", 1);
    }
}
