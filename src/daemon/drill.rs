//! A drill: failures of an address of documentation (RFC 5737, RFC 3849) come by a real input, and are decided apart.
//!
//! Its messages are made here, when a person asks, and each holds 128 bits that nobody can guess. A record with exactly one of
//! them is taken out of its batch before anything else sees it, once, and within [`LASTS`]: by the input that was meant, so
//! that whoever reads the log, or guesses, changes nothing by it. An engine of its own judges it by the policy in force, and is
//! forgotten. What it denies is told to the back ends alone.
//!
//! What a crash leaves: a log that is read again counts its records then, of an address that nobody has.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use inputs::record::{Batch, Record, Timestamp};
use inputs::syslog::listen::Listen;
use inputs::syslog::parse::Format;

use crate::config::{File, Input, Journald, Source as Kind};
use crate::decide::engine::{self, Engine};
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, State};
use crate::deny::Diff;
use crate::desk::reply::{self, At, Way};
use crate::detect::special::Special;
use crate::intake::{self, Counts, Source};

/// How long a drill lasts at most.
const LASTS: Duration = Duration::from_secs(30);
/// Failures of a drill at most: thresholds above it are no threshold that a person waits for.
const FAILURES_MAX: u32 = 100;
/// The port of the first connection.
const FIRST_PORT: u32 = 40_400;

/// A drill that has begun.
pub(super) struct Drill {
    engine: Engine,
    source: Source,
    /// The messages that have not come.
    left: Vec<Vec<u8>>,
    ends: Instant,
    /// As it is told.
    pub(super) told: reply::Drill,
}

impl Drill {
    /// Begins one by an input, for an address of which nothing is known.
    pub(super) fn begin(
        (input, source): (&Input, Source),
        policy: &Policy,
        prefix: Prefix,
        nonce: [u8; 16],
        time: Instant,
    ) -> Result<Drill, String> {
        let threshold = policy.thresholds[Class::Invalid as usize].map(|threshold| threshold.0);
        let threshold = threshold.ok_or("failures of unknown users deny nobody here (threshold_invalid)")?;
        if threshold >= FAILURES_MAX {
            return Err(format!("threshold_invalid is {threshold}; a drill fails {FAILURES_MAX} times at most"));
        }
        let nonce = nonce.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let address = prefix.address();
        // A connection each, and so a port each.
        let message = |n: u32| format!("Invalid user denyd-drill-{nonce}-{n} from {address} port {}", FIRST_PORT + n);
        let messages: Vec<String> = (0..=threshold).map(message).collect();
        let told = reply::Drill {
            prefix: policy.prefix(address.into()),
            input: input.name.clone(),
            way: way(input)?,
            messages: messages.clone(),
            read: 0,
            read_at: None,
            decided_at: None,
            class: None,
            until: None,
            published: false,
            backends: Vec::new(),
        };
        let left = messages.into_iter().map(String::into_bytes).collect();
        let engine = Engine::with(policy.clone(), State::default());
        Ok(Drill { engine, source, left, ends: time + LASTS, told })
    }

    /// Whether it has lasted too long.
    pub(super) fn is_over(&self, time: Instant) -> bool {
        time >= self.ends
    }

    /// Takes its records out of a batch and judges them; returns what the back ends are to be told.
    pub(super) fn take(&mut self, batch: &mut Batch, now: Timestamp) -> Option<Diff> {
        if batch.source != self.source.id || self.left.is_empty() {
            return None;
        }
        let left = &mut self.left;
        let mine = batch.take_out(|record: Record<'_>| {
            let found = left.iter().position(|message| *message == record.message);
            found.map(|at| left.swap_remove(at)).is_some()
        });
        if mine.is_empty() {
            return None;
        }
        self.told.read += mine.len();
        self.told.read_at = Some(At(now));
        self.engine.believed = Some(now);
        intake::fold(&mut self.engine, &mut self.source, &mine, &mut Counts::default(), |_, _| ());
        self.judged(now)
    }

    /// The clock moved on: what waited may be decided.
    pub(super) fn tick(&mut self, now: Timestamp) -> Option<Diff> {
        self.engine.step(now, engine::Input::Tick);
        self.judged(now)
    }

    fn judged(&mut self, now: Timestamp) -> Option<Diff> {
        let prefix = self.told.prefix;
        let denied = std::mem::take(&mut self.engine.changes).into_iter().find_map(|change| match change {
            Change::Denied { prefix: denied, claim, .. } if denied == prefix => Some(claim),
            _ => None,
        });
        let claim = denied.filter(|_| self.told.decided_at.is_none())?;
        self.told.decided_at = Some(At(now));
        self.told.class = Some(Class::Invalid);
        self.told.until = claim.until.map(At);
        // A firewall forgets it by itself, whatever becomes of us.
        let until = now.after(LASTS * 2);
        claim.enforceable.then(|| Diff { denies: [(prefix, Some(Some(until)))].into(), ..Diff::default() })
    }

    /// What takes its deny back.
    pub(super) fn withdrawal(&self) -> Option<Diff> {
        self.told.published.then(|| Diff { denies: [(self.told.prefix, None)].into(), ..Diff::default() })
    }
}

/// An address of documentation, of which there are many: the table of special addresses says that they are counted as others.
pub(super) fn address(ipv6: bool, random: [u8; 16]) -> IpAddr {
    const NETS: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let address: IpAddr = if ipv6 {
        let [a, b, c, d, ..] = random;
        Ipv6Addr::new(0x2001, 0xdb8, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), 0, 0, 0, 1).into()
    } else {
        let [a, b, c] = NETS[usize::from(random[0]) % NETS.len()];
        Ipv4Addr::new(a, b, c, random[1]).into()
    };
    debug_assert!(Special::of(address.into()).is_some_and(|it| it.name.starts_with("documentation")));
    address
}

/// How records get to an input.
fn way(input: &Input) -> Result<Way, String> {
    let no = |why: &str| Err(format!("input {} cannot be drilled: {why}; name another one: --input", input.name));
    match &input.source {
        Kind::Journald(Journald { directory: None, .. }) => Ok(Way::Log(None)),
        Kind::Journald(_) => no("its journals are of other machines"),
        Kind::Multilog(_) => no("only multilog writes there"),
        Kind::File(file) if input.bare().is_some() => Ok(Way::Bare(file.path.clone())),
        Kind::File(File { framing: Some(_), .. }) => no("its lines have a format of their own"),
        Kind::File(File { path, format: Format::Auto | Format::Syslog, .. }) => Ok(Way::Log(Some(path.clone()))),
        Kind::File(_) => no("its lines have a format that a syslog daemon does not write"),
        Kind::Syslog(syslog) => match &syslog.listen {
            Listen::Udp(address) => Ok(Way::Udp(*address)),
            Listen::Tcp(address) => Ok(Way::Tcp(*address)),
            Listen::UnixDatagram(path) => Ok(Way::UnixDatagram(path.clone())),
            Listen::UnixStream(path) => Ok(Way::UnixStream(path.clone())),
            Listen::Tls(..) => no("it asks for a client's certificate"),
        },
    }
}

/// Whether an input can be drilled.
pub(super) fn can(input: &Input) -> bool {
    way(input).is_ok()
}

#[cfg(test)]
mod tests {
    use inputs::record::SourceId;
    use inputs::syslog::parse::Parser;

    use super::*;
    use crate::decide::policy::Threshold;

    const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

    fn drill(policy: &Policy) -> Result<Drill, String> {
        let input = Input::of(Kind::File(File { path: "/var/log/auth.log".into(), ..File::default() }));
        let source = Source::new(SourceId(3), None, "here");
        let prefix = Prefix::host(IpAddr::from([192, 0, 2, 7]));
        Drill::begin((&input, source), policy, prefix, [0xab; 16], crate::clock::monotonic())
    }

    fn batch(source: u16, lines: &[String]) -> Batch {
        let mut batch = Parser::default().batch(NOW, lines.iter().map(String::as_bytes));
        (batch.source, batch.live) = (SourceId(source), true);
        batch
    }

    fn line(message: &str) -> String {
        format!("Nov 22 01:38:26 here sshd[77]: {message}")
    }

    #[test]
    fn its_records_are_taken_once_and_by_its_input_alone() {
        let mut drill = drill(&Policy::default()).expect("a drill");
        let messages = drill.told.messages.clone();
        assert_eq!(messages.len(), 6, "the threshold of unknown users is 5");
        let all: Vec<String> = messages.iter().map(|message| line(message)).collect();
        // Another input brings them.
        let mut other = batch(2, &all);
        assert!(drill.take(&mut other, NOW).is_none());
        assert_eq!(other.len(), 6);
        // What only looks like them.
        let near: Vec<String> = messages
            .iter()
            .flat_map(|message| {
                [message.replace("192.0.2.7", "192.0.2.8"), format!("{message}1"), message.replace("-0 ", "-9 ")]
            })
            .filter(|message| !messages.contains(message))
            .map(|message| line(&message))
            .collect();
        let mut forged = batch(3, &near);
        assert!(drill.take(&mut forged, NOW).is_none());
        assert_eq!((forged.len(), drill.told.read), (near.len(), 0));
        // Five are no deny; the sixth is. What stands between them stays.
        let mut first = batch(3, &all[..5]);
        assert!(drill.take(&mut first, NOW).is_none());
        assert_eq!((first.len(), drill.told.read), (0, 5));
        let mut last = batch(3, &[line("Connection from 192.0.2.9 port 1"), all[5].clone(), all[0].clone()]);
        let diff = drill.take(&mut last, NOW).expect("a deny");
        assert_eq!(diff.denies.keys().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7"]);
        let kept: Vec<_> = last.records().map(|record| String::from_utf8_lossy(record.message).into_owned()).collect();
        assert_eq!(
            kept,
            ["Connection from 192.0.2.9 port 1", messages[0].as_str()],
            "one that came again is no drill's"
        );
        assert!(drill.told.decided_at.is_some());
    }

    #[test]
    fn what_denies_nobody_is_said() {
        let mut policy = Policy::default();
        policy.thresholds[Class::Invalid as usize] = None;
        assert!(drill(&policy).is_err_and(|error| error.contains("threshold_invalid")));
        policy.thresholds[Class::Invalid as usize] = Some(Threshold(100));
        assert!(drill(&policy).is_err_and(|error| error.contains("100")));
        policy.thresholds[Class::Invalid as usize] = Some(Threshold(99));
        assert_eq!(drill(&policy).map(|drill| drill.told.messages.len()), Ok(100));
    }

    #[test]
    fn addresses_are_of_documentation() {
        for byte in 0..=255 {
            for ipv6 in [false, true] {
                let address = address(ipv6, [byte; 16]);
                assert!(
                    Special::of(address.into()).is_some_and(|it| it.name.starts_with("documentation")),
                    "{address}"
                );
            }
        }
    }
}
