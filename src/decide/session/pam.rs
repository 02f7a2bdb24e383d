//! PAM's modules and sshd tell of the same tries. This joins their accounts, try by try, for each address on each host.
//!
//! A module's account of a failure counts only if sshd itself says nothing: for a few seconds nothing about that address
//! on that host; and where sshd is known to speak for itself, nothing by that process for as long as a login may take, since
//! the modules behind may ask a server or a person before they refuse, or let in.

use std::collections::BTreeSet;
use std::time::Duration;

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::{FNV, fnv};
use super::recent::Recent;
use super::world::{Due, World};
use super::{HostId, Key, Line, SESSIONS_MAX};
use crate::detect::address::{Address, Peer};
use crate::detect::event::Event;

/// How far apart, in event time, a PAM line and sshd's own line about the same try may be.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// How long a PAM line waits for its own process: LoginGraceTime's default, and a window.
const PATIENCE: Duration = Duration::from_secs(120 + WINDOW.as_secs());
/// How long it is remembered at least that sshd wrote about an address.
const REMEMBERED: Duration = Duration::from_secs(3 * WINDOW.as_secs());
/// PAM lines that wait. At the bound the one of its host that is due next is decided early.
const WAITING_MAX: usize = 4_096;
/// How far apart, in lines that wait, the accounts that a stack's modules give of one try may be.
const TOGETHER: usize = 64;

/// Whether two lines may be of the same try.
pub(super) fn near(a: Timestamp, b: Timestamp) -> bool {
    a.0.abs_diff(b.0) <= WINDOW.as_micros() as u64
}

/// A failure of which only a module of PAM told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub(super) host: HostId,
    pub(super) source: SourceId,
    pub(super) peer: Address,
    at: Timestamp,
    /// The host's watermark when it came.
    pub(super) seen: Timestamp,
    /// The user, cut; empty if the line named none.
    user: Box<[u8]>,
    /// The process that wrote it.
    #[serde(default)]
    pid: Option<u32>,
    /// Which modules told of it: a bit for each, by a hash of its rule's name.
    #[serde(default)]
    modules: u64,
    /// The other world has a copy and decides for itself. Nothing in this world looks at it.
    #[serde(default)]
    is_copied: bool,
    /// It waits for its own process now.
    #[serde(skip)]
    is_patient: bool,
}

impl Waiting {
    /// When its time to wait is over.
    fn due(&self) -> Timestamp {
        self.seen.after(if self.is_patient { PATIENCE } else { WINDOW })
    }

    fn place(&self) -> (HostId, Timestamp, Address) {
        (self.host, self.due(), self.peer)
    }
}

/// sshd's last own line about an address: when it was written, and which connection and user it was of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) at: Timestamp,
    pub(super) key: Key,
    /// A hash.
    pub(super) user: u64,
}

/// What PAM and sshd told of an address on a host.
#[derive(Clone, Debug, Default)]
struct Account {
    own: Option<Own>,
    waiting: Vec<Waiting>,
}

/// An address on a host.
type About = (HostId, Address);

/// The accounts of all addresses that were told of lately.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    of: Recent<About, Account, SESSIONS_MAX>,
    /// When lines that wait are to be looked at: by host, since each has its own time.
    due: BTreeSet<(HostId, Timestamp, Address)>,
    /// Lines that wait.
    waiting: usize,
    /// Where the watermark of which host was when the younger half began.
    began: (HostId, Timestamp),
}

impl Accounts {
    pub(super) fn contains(&self, about: About) -> bool {
        self.of.get(&about).is_some()
    }

    /// sshd's last own line, if it was written near that time.
    pub(super) fn own(&self, about: About, at: Timestamp) -> Option<&Own> {
        self.of.get(&about)?.own.as_ref().filter(|own| near(own.at, at))
    }

    /// sshd wrote of it itself: what PAM told of that try is no other.
    pub(super) fn tell(&mut self, about: About, own: Own) {
        let Accounts { of, due, waiting, .. } = self;
        let account = of.entry(about);
        account.own = Some(own);
        if !account.waiting.is_empty() {
            *waiting -= account.waiting.len();
            account.waiting.retain(|one| {
                due.remove(&one.place());
                !near(own.at, one.at)
            });
            due.extend(account.waiting.iter().map(Waiting::place));
            *waiting += account.waiting.len();
        }
        self.rotate();
    }

    /// A module tells of a failure.
    pub(super) fn wait(&mut self, one: Waiting) {
        let about = (one.host, one.peer);
        let account = self.of.entry(about);
        let behind = account.waiting.len().saturating_sub(TOGETHER);
        let is_same =
            |other: &&mut Waiting| other.pid == one.pid && other.modules & one.modules == 0 && near(other.at, one.at);
        if let Some(told) = account.waiting[behind..].iter_mut().find(is_same) {
            told.modules |= one.modules;
            return;
        }
        self.due.insert(one.place());
        account.waiting.push(one);
        self.waiting += 1;
        self.rotate();
    }

    /// Takes over what another world knows of an address.
    pub(super) fn copy(&mut self, about: About, other: &mut Accounts) {
        if self.of.get(&about).is_none()
            && let Some(known) = other.of.get_mut(&about)
        {
            let mut account = known.clone();
            known.waiting.iter_mut().for_each(|one| one.is_copied = true);
            account.waiting.iter_mut().for_each(|one| one.is_copied = false);
            self.due.extend(account.waiting.iter().map(Waiting::place));
            self.waiting += account.waiting.len();
            *self.of.entry(about) = account;
        }
        self.of.entry(about);
        self.rotate();
    }

    /// All lines that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        let about: BTreeSet<About> = self.due.iter().map(|(host, _, address)| (*host, *address)).collect();
        about.into_iter().filter_map(|about| self.of.get(&about)).flat_map(|account| &account.waiting)
    }

    /// Whether any does.
    pub(super) fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Forgets the older half where there are too many, but no line that waits.
    fn rotate(&mut self) {
        if self.of.is_full() {
            self.forget(|_| true);
        }
    }

    /// The watermark of a host moved: what it told of long ago is forgotten.
    #[inline]
    pub(super) fn tick(&mut self, host: HostId, now: Timestamp) {
        if self.of.len() == 0 {
            self.began = (host, now);
        } else if self.began.0 == host && self.began.1.after(REMEMBERED) < now {
            self.began.1 = now;
            self.forget(|of| of == host);
        }
    }

    fn forget(&mut self, is_old: impl Fn(HostId) -> bool) {
        for (about, account) in self.of.rotate() {
            if !account.waiting.is_empty() || !is_old(about.0) {
                *self.of.entry(about) = account;
            }
        }
    }

    /// The address whose line is due next on a host, where its watermark is `now`.
    fn next(&mut self, host: HostId, now: Timestamp) -> Option<(Timestamp, About)> {
        let (_, due, address) = *self.due.range((host, Timestamp(i64::MIN), Address::from_bits(0))..).next()?;
        ((host, due) < (host, now) && self.due.contains(&(host, due, address))).then(|| {
            self.due.remove(&(host, due, address));
            (due, (host, address))
        })
    }
}

impl World {
    /// A module tells of a failure.
    pub(super) fn pam(&mut self, line: &Line, event: &Event<'_>) {
        // A host's name stands for its connection's address.
        let known = || self.connections.get(&Key::Pid(line.host, line.pid?)).and_then(|connection| connection.peer);
        let Some(peer) = event.peer.address().or_else(known) else {
            if matches!(event.peer, Peer::Name(_)) && line.pid.is_none() {
                self.unresolved += 1;
            }
            return;
        };
        if self.accounts.own((line.host, peer), line.at).is_some() {
            return;
        }
        let user = event.user.unwrap_or_default();
        self.accounts.wait(Waiting {
            host: line.host,
            source: line.source,
            peer,
            at: line.at,
            seen: self.watermarks.of(line.host),
            user: user[..user.len().min(super::USER_MAX)].into(),
            pid: line.pid,
            modules: 1 << (fnv(FNV, event.rule.as_bytes()) % 64),
            is_copied: false,
            is_patient: false,
        });
        if self.accounts.waiting > WAITING_MAX {
            let first = self.accounts.next(line.host, Timestamp(i64::MAX));
            if let Some((due, about)) = first {
                self.look(about, due.after(Duration::from_micros(1)), true);
            }
        }
    }

    /// Decides the PAM lines of a host that have waited for long enough.
    pub(super) fn decide_pam(&mut self, host: HostId) {
        let now = self.watermarks.of(host);
        while let Some((_, about)) = self.accounts.next(host, now) {
            self.look(about, now, false);
        }
    }

    /// The same for all hosts.
    pub(super) fn decide_all_pam(&mut self) {
        let mut next = self.accounts.due.first().map(|(host, ..)| *host);
        while let Some(host) = next {
            self.decide_pam(host);
            let behind = (
                std::ops::Bound::Excluded((host, Timestamp(i64::MAX), Address::from_bits(u128::MAX))),
                std::ops::Bound::Unbounded,
            );
            next = self.accounts.due.range(behind).next().map(|(host, ..)| *host);
        }
    }

    /// Decides the lines about an address that were due before `now`.
    fn look(&mut self, about: About, now: Timestamp, early: bool) {
        let speaks = self.watermarks.speaks(about.0);
        let Some(account) = self.accounts.of.get_mut(&about) else { return };
        let mut left = std::mem::take(&mut account.waiting);
        self.accounts.waiting -= left.len();
        let due: Vec<_> = left.extract_if(.., |one| one.due() < now).collect();
        for mut one in due {
            let may_be_told = one.pid.is_some() && speaks;
            if may_be_told && !one.is_patient && !early {
                one.is_patient = true;
                self.accounts.due.insert(one.place());
                left.push(one);
            } else if !may_be_told || !self.is_told(&one) {
                let Waiting { host, source, peer, at, user, is_copied, .. } = one;
                self.due.push_back(Due { host, source, peer, at, user, is_copied });
            }
        }
        self.accounts.waiting += left.len();
        if let Some(account) = self.accounts.of.get_mut(&about) {
            account.waiting = left;
        }
    }

    /// Whether the process of a PAM line said itself, with it or later, what came of it.
    fn is_told(&self, one: &Waiting) -> bool {
        let connection = one.pid.and_then(|pid| self.connections.get(&Key::Pid(one.host, pid)));
        connection.is_some_and(|connection| {
            let is_judged = connection.worth() > 0 || connection.succeeded;
            is_judged && connection.last >= one.at && connection.fits(Some(one.peer), None)
        })
    }
}
