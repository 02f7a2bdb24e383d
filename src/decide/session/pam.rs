//! PAM lines, where sshd's own may be missing.
//!
//! A module's account of a failure counts only if sshd itself says nothing: for a few seconds nothing about that address
//! on that host; and where sshd is known to speak for itself, nothing by that process for as long as a login may take, since
//! the modules behind may ask a server or a person before they refuse, or let in.

use std::time::Duration;

use super::{FNV, HostId, Key, Late, Name, PAM_WINDOW, Place, Sessions, fnv, near};
use crate::detect::address::Address;
use crate::detect::event::{Event, Peer};

/// How long a PAM line waits for its own process: LoginGraceTime's default, and a window.
const PATIENCE: Duration = Duration::from_secs(120 + PAM_WINDOW.as_secs());
/// PAM lines that wait, for a short time or a long one. At the bound the oldest is decided early.
const WAITING_MAX: usize = 4_096;
/// How far apart, in lines that wait, the accounts that a stack's modules give of one try may be.
const TOGETHER: usize = 64;

impl Sessions {
    /// A module tells of a failure.
    pub(super) fn pam(&mut self, place: Place, event: &Event<'_>, address: Option<Address>) {
        // A host's name stands for its connection's address.
        let known = || self.map.get(&Key::Pid(place.host, place.pid?)).and_then(|session| session.peer);
        let Some(peer) = address.or_else(known) else {
            if matches!(event.peer, Peer::Name(_)) && place.pid.is_none() {
                self.unresolved += 1;
            }
            return;
        };
        if self.own.get(&(place.host, peer)).is_some_and(|own| near(own.at, place.at)) {
            return;
        }
        let (Place { host, source, trust, pid, at, .. }, seen) = (place, self.clock(place.host));
        let module = 1 << (fnv(FNV, event.rule.as_bytes()) % 64);
        let is_same = |late: &&mut Late| {
            (late.host, late.pid, late.peer) == (host, pid, peer) && late.modules & module == 0 && late.trust == trust
        };
        let behind = self.waiting.len().saturating_sub(TOGETHER);
        if let Some(told) = self.waiting.range_mut(behind..).find(is_same) {
            told.modules |= module;
            return;
        }
        let user = Name::cut(event.user.unwrap_or_default());
        self.waiting.push_back(Late { host, source, trust, peer, at, seen, user, pid, modules: module });
        self.is_due |= self.waiting.len() > WAITING_MAX;
    }

    /// Takes the next PAM line that stayed alone for long enough.
    pub(super) fn next_pam(&mut self) -> Option<Late> {
        while let Some(late) = self.waiting.front() {
            let over = late.seen.after(PAM_WINDOW) < self.clock(late.host) || self.waiting.len() > WAITING_MAX;
            if !over {
                break;
            }
            let is_told = self.own.get(&(late.host, late.peer)).is_some_and(|own| near(own.at, late.at));
            let late = self.waiting.pop_front();
            match late.filter(|_| !is_told) {
                Some(late) if late.pid.is_some() && self.speaks(late.host) => self.patient.push_back(late),
                Some(late) => return Some(late),
                None => {}
            }
        }
        while let Some(late) = self.patient.front() {
            let over = late.seen.after(PATIENCE) < self.clock(late.host) || self.patient.len() > WAITING_MAX;
            if !over {
                break;
            }
            let is_told = self.is_told(late);
            let late = self.patient.pop_front();
            if !is_told {
                return late;
            }
        }
        None
    }

    /// Whether sshd told of failures or logins on a host itself.
    fn speaks(&self, host: HostId) -> bool {
        self.clocks.get(usize::from(host.0)).is_some_and(|clock| clock.speaks)
    }

    /// Whether the process of a PAM line said itself, with it or later, what came of it: what may be forged hides nothing
    /// that is not.
    fn is_told(&self, late: &Late) -> bool {
        let session = late.pid.and_then(|pid| self.map.get(&Key::Pid(late.host, pid)));
        session.is_some_and(|session| {
            let is_judged = session.attempts(late.trust) > 0 || session.succeeded(late.trust);
            is_judged && session.last >= late.at && session.fits(Some(late.peer), None)
        })
    }
}
