//! What rate limits on the way threw away of an input, as far as the daemons say so: whose, by whose limit, how many.
//!
//! A denied address that knocks on makes a service so loud that its unit's limit drops what others do. Which records
//! those were, nobody knows; so nothing is done with it but to tell a person, with the remedy.

use indexmap::IndexMap;
use inputs::record::{Record, Sender};
use inputs::syslog::losses::{Limit, Loss, losses};

use crate::decide::session::Trust;

/// Services that are told apart. What is more is one row, `others`.
const ROWS_MAX: usize = 16;
/// The longest name that is kept, in bytes.
const NAME_MAX: usize = 64;

/// The losses of one input.
#[derive(Debug, Default)]
pub struct Suppressed {
    rows: IndexMap<(Limit, Box<[u8]>), u64, foldhash::fast::RandomState>,
}

impl Suppressed {
    /// How many records `record` says were lost. It is not believed where the kernel tells that another user than root
    /// wrote it and `vouched` says that this counts, nor of a program's own output. What strangers may have made up is
    /// a number, and names nobody.
    #[inline(always)]
    pub(super) fn hear(&mut self, record: &Record<'_>, vouched: bool, trust: Trust) -> u64 {
        losses(record).map_or(0, |loss| self.add(loss, record, vouched, trust))
    }

    #[cold]
    fn add(&mut self, loss: Loss<'_>, record: &Record<'_>, vouched: bool, trust: Trust) -> u64 {
        let Loss { by, of, records } = loss;
        let is_daemons = match record.sender {
            Sender::Uid(uid) => *uid == 0 || !vouched,
            Sender::Peer(_) | Sender::Cert(_) | Sender::Unknown => true,
        };
        if !is_daemons || record.stdout {
            return 0;
        }
        if trust == Trust::Sound {
            let name = (by, of[..of.len().min(NAME_MAX)].into());
            let is_room = self.rows.len() < ROWS_MAX || self.rows.contains_key(&name);
            let row = self.rows.entry(if is_room { name } else { (by, b"others"[..].into()) }).or_default();
            *row = row.saturating_add(records);
        }
        records
    }

    /// By whose limit, of whom, how many.
    pub fn rows(&self) -> impl Iterator<Item = (Limit, &[u8], u64)> {
        self.rows.iter().map(|((by, of), records)| (*by, &of[..], *records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNALD: (&str, &str) = ("systemd-journald", "Suppressed 17 messages from ssh.service");

    /// What two such records add up to, and what is named.
    fn check(
        (identifier, message): (&str, &str),
        sender: Sender,
        stdout: bool,
        trust: Trust,
        want: (u64, Option<u64>),
    ) {
        let record = Record { sender: &sender, stdout, ..Record::of(identifier.as_bytes(), message.as_bytes()) };
        let mut suppressed = Suppressed::default();
        let lost = suppressed.hear(&record, true, trust) + suppressed.hear(&record, true, trust);
        let named = suppressed.rows().next().map(|(_, _, records)| records);
        assert_eq!((lost, named), want, "{record:?}");
    }

    #[test]
    fn only_the_daemons_are_believed() {
        let peer = Sender::Peer(std::net::IpAddr::from([192, 0, 2, 1]));
        check(JOURNALD, Sender::Uid(0), false, Trust::Sound, (34, Some(34)));
        check(JOURNALD, Sender::Unknown, false, Trust::Sound, (34, Some(34)));
        check(JOURNALD, Sender::Uid(1000), false, Trust::Sound, (0, None));
        check(JOURNALD, Sender::NOBODY, false, Trust::Sound, (0, None));
        check(JOURNALD, Sender::Uid(0), true, Trust::Forgeable, (0, None));
        // Its sender's claim, which names nobody to anybody.
        check(JOURNALD, peer, false, Trust::Forgeable, (34, None));
        check(("sshd", JOURNALD.1), Sender::Uid(0), false, Trust::Sound, (0, None));
        let begun = ("rsyslogd", "imuxsock[pid: 1, name: sshd]: begin to drop messages due to rate-limiting");
        check(begun, Sender::Unknown, false, Trust::Sound, (0, Some(0)));
    }

    #[test]
    fn rows_have_a_bound() {
        let mut suppressed = Suppressed::default();
        for n in 0..100 {
            let message = format!("Suppressed 2 messages from {n}{}", "x".repeat(300));
            let record = Record::of(JOURNALD.0.as_bytes(), message.as_bytes());
            assert_eq!(suppressed.hear(&record, true, Trust::Sound), 2);
        }
        let rows: Vec<_> = suppressed.rows().collect();
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert_eq!(rows.iter().map(|(_, _, records)| records).sum::<u64>(), 200);
        assert!(rows.iter().all(|(_, of, _)| of.len() <= NAME_MAX));
    }
}
