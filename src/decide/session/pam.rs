//! PAM's modules and sshd tell of the same tries. This joins their accounts, try by try, for each address on each host.
//!
//! A module's account of a failure counts only if sshd itself says nothing: for a few seconds nothing about that
//! address on that host; and where sshd is known to speak for itself, nothing by that process for as long as a login
//! may take, since the modules behind may ask a server or a person before they refuse, or let in.

use inputs::record::Timestamp;

use super::accounts::{About, Waiting};
use super::connection::Connection;
use super::key::{FNV, Key, fnv};
use super::line::{HostId, Line, USER_MAX};
use super::world::{Due, Of, World};
use crate::detect::address::{Address, Peer};
use crate::detect::event::Event;

impl World {
    /// A module tells of a failure. Where too many wait already, it counts nothing: what another line would have said
    /// of it nobody can know, and one that is pushed out would be replaced by one that is pushed out in its turn.
    ///
    /// Returns about whom, where it waits now.
    pub(super) fn pam(&mut self, line: &Line, event: &Event<'_>) -> Option<Address> {
        // A host's name stands for its connection's address.
        let connection = line.pid.and_then(|pid| self.connections.get(&Key::Pid(line.host, pid)));
        let is_shared = connection.is_some_and(|connection| connection.is_shared);
        let known = || connection.filter(|_| !is_shared)?.peer;
        let Some(peer) = event.peer.address().or_else(known) else {
            if matches!(event.peer, Peer::Name(_)) && (line.pid.is_none() || is_shared) {
                self.unresolved += 1;
            }
            return None;
        };
        if self.accounts.own((line.host, peer), line.at).is_some() {
            return None;
        }
        let user = event.user.unwrap_or_default();
        let one = Waiting {
            host: line.host,
            source: line.source,
            peer,
            at: line.at,
            seen: self.watermarks.of(line.host),
            user: user[..user.len().min(USER_MAX)].into(),
            pid: line.pid,
            modules: 1 << (fnv(FNV, event.rule.as_bytes()) % 64),
            is_copied: false,
            is_patient: false,
        };
        let waits = self.accounts.wait(one);
        self.undecided += u64::from(!waits);
        waits.then_some(peer)
    }

    /// Decides the PAM lines of a host that have waited for long enough.
    pub(super) fn decide_pam(&mut self, host: HostId) {
        let now = self.watermarks.of(host);
        while let Some((_, about)) = self.accounts.first(host).filter(|(due, _)| *due < now) {
            self.look(about, now);
        }
    }

    /// Decides the lines about an address that were due before `now`.
    fn look(&mut self, about: About, now: Timestamp) {
        let speaks = self.watermarks.speaks(about.0);
        for one in self.accounts.take(about, now) {
            let may_be_told = one.pid.is_some() && speaks;
            if may_be_told && !one.is_patient {
                self.accounts.put(Waiting { is_patient: true, ..one });
            } else if !may_be_told || !self.is_told(&one) {
                let Waiting { host, source, peer, at, user, pid, is_copied, .. } = one;
                self.due.push_back(Due { host, source, peer, at, user, of: Of::Pam(pid), is_copied });
            }
        }
    }

    /// Whether the process of a PAM line said itself, with it or later, what came of it.
    fn is_told(&self, one: &Waiting) -> bool {
        let Some(key) = one.pid.map(|pid| Key::Pid(one.host, pid)) else { return false };
        let is_told = |connection: &Connection| {
            connection.is_judged() && connection.last >= one.at && connection.fits(Some(one.peer), None)
        };
        let Some(holder) = self.connections.get(&key) else {
            return self.evicted.of(key, one.peer).is_some_and(|last| last >= one.at);
        };
        let beside = || self.connections.get(&self.accounts.last((one.host, one.peer))?.key);
        is_told(holder) || holder.is_shared && beside().is_some_and(is_told)
    }
}
