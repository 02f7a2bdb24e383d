//! One connection: what each of its sources told of it, and what that is worth.

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::key::Key;
use super::line::{Line, Outcome, USER_MAX};
use crate::detect::address::Address;
use crate::detect::event::{Account, Event, Kind};

/// What one source told of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witness {
    pub(super) source: SourceId,
    /// Passwords that the server refused.
    #[serde(default, skip_serializing_if = "is_default")]
    tries: u32,
    /// Answers to prompts that it refused, by its own account, which leaves out some.
    #[serde(default, skip_serializing_if = "is_default")]
    answers: u32,
    /// The same by PAM's account, where PAM judged them.
    #[serde(default, skip_serializing_if = "is_default")]
    pam_answers: u32,
    /// A login was begun.
    #[serde(default, skip_serializing_if = "is_default")]
    begun: bool,
    /// Logins, where nothing tells one connection from the next.
    #[serde(default, skip_serializing_if = "is_default")]
    logins: u32,
}

/// What is as it was at first is not written: there may be a hundred thousand connections.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One connection, as one world knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub(super) peer: Option<Address>,
    pub(super) port: Option<u16>,
    /// When its last line was written.
    pub(super) last: Timestamp,
    /// Its host's watermark when that line came. Later than `last` where lines come out of order: in the hour that
    /// autumn repeats, from a second log of the host, from an outage.
    pub(super) seen: Timestamp,
    /// Attempts that were given out so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) counted: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    user_unknown: bool,
    /// What is no guess was refused, keys mostly; worth one attempt if the connection ends so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) offered: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) succeeded: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    probed: bool,
    /// The rest of one that was forgotten for want of room, when something had come of it: only tries count still.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_rest: bool,
    /// The other world has a copy and decides for itself. Nothing in this world looks at it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_copied: bool,
    /// Its process' number names another one, too, that may be open: a line without an address may be of either.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) is_shared: bool,
    #[serde(rename = "side")]
    pub(super) witness: Witness,
    /// What few connections have.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "rare")]
    rare: Option<Box<Rare>>,
}

/// A connection is looked up for each line: it should lie in two lines of the cache.
const _: () = assert!(size_of::<Connection>() <= 88);

/// What few connections have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rare {
    /// Who it was, while what it is worth awaits an address, or its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<[u8]>>,
    /// Further sources.
    #[serde(default, skip_serializing_if = "is_default")]
    more: Vec<Witness>,
}

fn rare<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Rare>>, D::Error> {
    let rare = Rare::deserialize(from)?;
    Ok((rare != Rare::default()).then(|| Box::new(rare)))
}

/// What a connection amounts to between two lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Attempts that are due: once the address is known.
    pub(super) due: u32,
    offered: bool,
    succeeded: bool,
    probed: bool,
    logins: u32,
    has_peer: bool,
}

/// What a line amounts to that brought a connection from one standing to another.
pub(super) fn outcome(kind: Kind, before: Standing, after: Standing) -> Outcome {
    match kind {
        // The line that ends a connection of which all was said already.
        Kind::Begun if after.due == 0 && after.has_peer => Outcome::Ignored,
        Kind::Tried | Kind::Answered | Kind::PamTried | Kind::Offered | Kind::Begun => Outcome::Failure,
        // The same login by another path.
        Kind::Accepted if before.succeeded && after.logins == before.logins => Outcome::Ignored,
        Kind::Accepted => Outcome::Success,
        Kind::Note if after.due > 0 => Outcome::Failure,
        // What ends a connection in which keys were refused, and nothing else.
        Kind::Probe | Kind::Timeout if before.offered && !before.succeeded => Outcome::Failure,
        Kind::Probe | Kind::Timeout if after.probed && !before.probed => Outcome::Probe,
        _ => Outcome::Ignored,
    }
}

impl Connection {
    pub(super) fn new(line: &Line, seen: Timestamp) -> Self {
        Connection {
            peer: None,
            port: None,
            last: line.at,
            seen,
            counted: 0,
            user_unknown: false,
            offered: false,
            succeeded: false,
            probed: false,
            is_rest: false,
            is_copied: false,
            is_shared: false,
            witness: Witness { source: line.source, ..Witness::default() },
            rare: None,
        }
    }

    /// Whether a line of this peer and port can be of this connection, or the pid was used again.
    pub(super) fn fits(&self, peer: Option<Address>, port: Option<u16>) -> bool {
        let same =
            |ours: Option<Address>, theirs: Option<Address>| ours.is_none() || theirs.is_none() || ours == theirs;
        same(self.peer, peer) && (self.port.is_none() || port.is_none() || self.port == port)
    }

    /// A line opens it, or tells its address.
    pub(super) fn open(&mut self, line: &Line, peer: Option<Address>, port: Option<u16>) {
        self.peer = peer.or(self.peer);
        self.port = port.or(self.port);
        self.last = self.last.max(line.at);
    }

    /// A line tells of it.
    pub(super) fn tell(&mut self, line: &Line, event: &Event<'_>) {
        self.open(line, event.peer.address(), self.port.or(event.port));
        self.user_unknown |= event.account == Account::Unknown;
        if (self.peer.is_none() || event.kind == Kind::Offered)
            && let Some(user) = event.user
        {
            self.rare().user = Some(user[..user.len().min(USER_MAX)].into());
        }
        match event.kind {
            Kind::Tried | Kind::Answered | Kind::PamTried => {
                let Witness { tries, answers, pam_answers, .. } = self.witness(line);
                let tries = match event.kind {
                    Kind::Tried => tries,
                    Kind::Answered => answers,
                    _ => pam_answers,
                };
                // Whoever forges lines can keep a connection for long.
                *tries = tries.saturating_add(event.times);
            }
            Kind::Begun => self.witness(line).begun = !self.is_rest,
            Kind::Offered => self.offered = !self.is_rest,
            Kind::Accepted => {
                self.succeeded = true;
                // Where a process or a port names the connection there is one; else there are as many as that source
                // tells of which tells of most.
                self.witness(line).logins += u32::from(event.is_by_rule());
            }
            Kind::Probe | Kind::Timeout if self.offered && !self.succeeded => self.witness(line).begun = true,
            Kind::Probe | Kind::Timeout => {
                self.probed |= !self.succeeded && !self.is_rest && self.worth() == 0;
            }
            _ => {}
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Who it was, where that is remembered; else empty.
    pub(super) fn user(&self) -> &[u8] {
        self.rare.as_ref().and_then(|rare| rare.user.as_deref()).unwrap_or_default()
    }

    fn witness(&mut self, line: &Line) -> &mut Witness {
        if self.witness.source == line.source {
            return &mut self.witness;
        }
        let more = &mut self.rare().more;
        let known = more.iter().position(|witness| witness.source == line.source);
        let at = known.unwrap_or_else(|| {
            more.push(Witness { source: line.source, ..Witness::default() });
            more.len() - 1
        });
        &mut more[at]
    }

    /// The largest of the sources' accounts: the same line by two paths adds nothing.
    fn most(&self, account: impl Fn(&Witness) -> u32) -> u32 {
        let first = account(&self.witness);
        self.rare.as_ref().map_or(first, |rare| rare.more.iter().map(account).fold(first, u32::max))
    }

    /// Attempts: judged tries, else one for a login begun. sshd tells of each password, and of an answer to a prompt
    /// only where the user does not exist, half of the tries that it grants are used up, or the log is verbose; PAM
    /// tells of each answer that it refused, and of no password. So passwords count beside the larger of the two
    /// accounts of answers.
    pub(super) fn worth(&self) -> u32 {
        let answers = self.most(|witness| witness.answers.max(witness.pam_answers));
        let judged = self.most(|witness| witness.tries).saturating_add(answers);
        judged.max(u32::from(self.most(|witness| witness.begun.into()) > 0))
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            due: if self.peer.is_some() { self.worth().saturating_sub(self.counted) } else { 0 },
            offered: self.offered,
            succeeded: self.succeeded,
            probed: self.probed,
            logins: self.most(|witness| witness.logins),
            has_peer: self.peer.is_some(),
        }
    }

    /// What is known of the account behind a line.
    pub(super) fn account(&self, event: &Event<'_>) -> Account {
        if self.user_unknown { Account::Unknown } else { event.account }
    }

    /// Whether it is known what came of a try.
    pub(super) fn is_judged(&self) -> bool {
        self.worth() > 0 || self.succeeded
    }

    /// Whether something came of it that a later line must not bring anew.
    pub(super) fn is_told(&self) -> bool {
        self.is_judged() || self.probed || self.is_rest
    }

    /// Whether keys were refused and nothing came of it: worth an attempt in the end, if no line tells of the end.
    pub(super) fn is_overdue(&self) -> bool {
        self.offered && !self.succeeded && self.worth() == 0 && self.counted == 0
    }

    /// What is kept of a login when all else is forgotten.
    pub(super) fn of_login(key: Key, seen: Timestamp) -> Self {
        let source = SourceId::default();
        let line = Line { host: key.host(), source, pid: None, at: seen, received: seen, from: seen };
        Connection { succeeded: true, ..Connection::new(&line, seen) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::HostId;
    use super::*;

    #[test]
    fn tries_without_end_stay_as_many_as_there_can_be() {
        let (source, at) = (SourceId(0), Timestamp(0));
        let line = Line { host: HostId(0), source, pid: None, at, received: at, from: at };
        for kind in [Kind::Tried, Kind::Answered, Kind::PamTried] {
            let mut connection = Connection::new(&line, at);
            let event = Event { times: u32::MAX - 1, ..Event::new(kind, "x") };
            for want in [u32::MAX - 1, u32::MAX, u32::MAX] {
                connection.tell(&line, &event);
                assert_eq!(connection.worth(), want);
            }
        }
    }

    /// A site may write what is an error into one file and what is information into another one.
    #[test]
    fn sources_that_tell_a_part_each_add_up_and_the_same_twice_does_not() {
        const SAID: [(u16, Kind, u32); 8] = [
            (0, Kind::PamTried, 1),
            (1, Kind::Tried, 2),
            (0, Kind::PamTried, 3),
            (1, Kind::Answered, 3),
            (2, Kind::Tried, 3),
            (2, Kind::PamTried, 3),
            (2, Kind::PamTried, 3),
            (2, Kind::PamTried, 4),
        ];
        let line = |source| {
            let (source, at) = (SourceId(source), Timestamp(0));
            Line { host: HostId(0), source, pid: None, at, received: at, from: at }
        };
        let mut connection = Connection::new(&line(0), Timestamp(0));
        for (source, kind, want) in SAID {
            connection.tell(&line(source), &Event::new(kind, "x"));
            assert_eq!(connection.worth(), want, "{kind:?} by {source}");
        }
    }
}
