//! What PAM's modules and sshd told of each address on each host, try by try, and what waits.

use std::collections::BTreeSet;
use std::time::Duration;

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::line::{HostId, SESSIONS_MAX, WAITING_MAX, WINDOW, near};
use super::recent::Recent;
use crate::detect::address::Address;

/// How long a PAM line waits for its own process: LoginGraceTime's default, and a window.
const PATIENCE: Duration = Duration::from_secs(120 + WINDOW.as_secs());
/// How long it is remembered at least that sshd wrote about an address.
const REMEMBERED: Duration = Duration::from_secs(3 * WINDOW.as_secs());
/// What is known is walked over once one part in so many of it was told anew.
const TOLD_SHARE: usize = 4;
/// How far apart, in lines that wait, the accounts that a stack's modules give of one try may be.
const TOGETHER: usize = 64;

/// A failure of which only a module of PAM told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) host: HostId,
    pub(super) source: SourceId,
    pub(super) peer: Address,
    pub(super) at: Timestamp,
    /// The host's watermark when it came.
    pub(super) seen: Timestamp,
    /// The user, cut; empty if the line named none.
    pub(super) user: Box<[u8]>,
    /// The process that wrote it.
    #[serde(default)]
    pub(super) pid: Option<u32>,
    /// Which modules told of it: a bit for each, by a hash of its rule's name.
    #[serde(default)]
    pub(super) modules: u64,
    /// The other world has a copy and decides for itself. Nothing in this world looks at it.
    #[serde(default)]
    pub(super) is_copied: bool,
    /// It waits for its own process now.
    #[serde(skip)]
    pub(super) is_patient: bool,
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
pub(super) type About = (HostId, Address);

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
    /// What was told since then.
    told: usize,
}

impl Accounts {
    pub(super) fn contains(&self, about: About) -> bool {
        self.of.get(&about).is_some()
    }

    /// sshd's last own line, if it was written near that time.
    pub(super) fn own(&self, about: About, at: Timestamp) -> Option<&Own> {
        self.of.get(&about)?.own.as_ref().filter(|own| near(own.at, at))
    }

    /// sshd's last own line, whenever that was.
    pub(super) fn last(&self, about: About) -> Option<&Own> {
        self.of.get(&about)?.own.as_ref()
    }

    /// A connection has another key now.
    pub(super) fn rename(&mut self, about: About, from: Key, to: Key) {
        let own = self.of.get_mut(&about).and_then(|account| account.own.as_mut());
        if let Some(own) = own.filter(|own| own.key == from) {
            own.key = to;
        }
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

    /// What a process itself said came of its tries up to `last`: what PAM told of those is no other.
    pub(super) fn told_by(&mut self, about: About, pid: u32, last: Timestamp) {
        let Accounts { of, due, waiting, .. } = self;
        let Some(account) = of.get_mut(&about) else { return };
        let told = account.waiting.extract_if(.., |one| one.pid == Some(pid) && one.at <= last);
        for one in told {
            *waiting -= 1;
            due.remove(&one.place());
        }
        due.extend(account.waiting.iter().map(Waiting::place));
    }

    /// A module tells of a failure; whether there is room for that.
    pub(super) fn wait(&mut self, one: Waiting) -> bool {
        let about = (one.host, one.peer);
        let account = self.of.entry(about);
        let behind = account.waiting.len().saturating_sub(TOGETHER);
        let is_same =
            |other: &&mut Waiting| other.pid == one.pid && other.modules & one.modules == 0 && near(other.at, one.at);
        if let Some(told) = account.waiting[behind..].iter_mut().find(is_same) {
            told.modules |= one.modules;
            return true;
        }
        let has_room = self.waiting < WAITING_MAX;
        if has_room {
            self.put(one);
        }
        has_room
    }

    /// The line about an address that came last waits in the other world, too.
    pub(super) fn copied(&mut self, about: About) {
        if let Some(last) = self.of.get_mut(&about).and_then(|account| account.waiting.last_mut()) {
            last.is_copied = true;
        }
    }

    /// Lets a line wait.
    pub(super) fn put(&mut self, one: Waiting) {
        self.due.insert(one.place());
        self.of.entry((one.host, one.peer)).waiting.push(one);
        self.waiting += 1;
        self.rotate();
    }

    /// Takes the lines about an address that were due before `now`.
    pub(super) fn take(&mut self, about: About, now: Timestamp) -> Vec<Waiting> {
        let Some(account) = self.of.get_mut(&about) else { return Vec::new() };
        let taken: Vec<_> = account.waiting.extract_if(.., |one| one.due() < now).collect();
        self.waiting -= taken.len();
        for one in &taken {
            self.due.remove(&one.place());
        }
        taken
    }

    /// Gives up the line of that time and process about an address; whether it waited.
    pub(super) fn forgo(&mut self, about: About, at: Timestamp, pid: Option<u32>) -> bool {
        let Some(account) = self.of.get_mut(&about) else { return false };
        let found = account.waiting.iter().position(|one| one.at == at && one.pid == pid);
        let Some(one) = found.map(|found| account.waiting.remove(found)) else { return false };
        self.waiting -= 1;
        self.due.remove(&one.place());
        self.due.extend(account.waiting.iter().map(Waiting::place));
        true
    }

    /// The first address of a host of which a line is due, and when that was.
    pub(super) fn first(&self, host: HostId) -> Option<(Timestamp, About)> {
        let (of, due, address) = *self.due.range((host, Timestamp(i64::MIN), Address::from_bits(0))..).next()?;
        (of == host).then_some((due, (host, address)))
    }

    /// The hosts of which lines wait.
    pub(super) fn hosts(&self) -> Vec<HostId> {
        let mut hosts: Vec<_> = self.due.iter().map(|(host, ..)| *host).collect();
        hosts.dedup();
        hosts
    }

    /// Takes over what another world knows of an address.
    pub(super) fn copy(&mut self, about: About, other: &mut Accounts) {
        if self.of.get(&about).is_none()
            && let Some(known) = other.of.get_mut(&about)
        {
            let mut account = known.clone();
            // What finds no room here is decided there.
            account.waiting.truncate(WAITING_MAX.saturating_sub(self.waiting));
            known.waiting[..account.waiting.len()].iter_mut().for_each(|one| one.is_copied = true);
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

    /// How many lines wait.
    pub(super) fn waits(&self) -> usize {
        self.waiting
    }

    /// Forgets the older half where there are too many, but no line that waits.
    fn rotate(&mut self) {
        self.told += 1;
        if self.of.is_full() {
            self.forget(|_| true);
        }
    }

    /// The watermark of a host moved: what it told of long ago is forgotten. That is a walk over what others told, so
    /// it is made only where much was told since the last: a stranger's host may move by leaps, a year in an hour.
    #[inline]
    pub(super) fn tick(&mut self, host: HostId, now: Timestamp) {
        if self.of.len() == 0 {
            self.began = (host, now);
        } else if self.began.0 == host
            && self.began.1.after(REMEMBERED) < now
            && self.told >= self.of.len() / TOLD_SHARE
        {
            self.began.1 = now;
            self.forget(|of| of == host);
        }
    }

    fn forget(&mut self, is_old: impl Fn(HostId) -> bool) {
        self.told = 0;
        self.of.rotate(|about, account| !account.waiting.is_empty() || !is_old(about.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_whose_clock_leaps_has_no_walk_made_for_each() {
        const HOSTS: [HostId; 2] = [HostId(0), HostId(1)];
        let about = |host: usize, address: u128| (HOSTS[host], Address::from_bits(address));
        let own = Own { at: Timestamp(0), key: Key::Pid(HOSTS[0], 1), user: 0 };
        let (mut accounts, mut now) = (Accounts::default(), Timestamp(0));
        let mut leaps = |accounts: &mut Accounts| {
            for _ in 0..3 {
                now = now.after(2 * REMEMBERED);
                accounts.tick(HOSTS[0], now);
            }
        };
        leaps(&mut accounts);
        accounts.tell(about(0, 1), own);
        (0..1_000).for_each(|address| accounts.tell(about(1, address), own));
        leaps(&mut accounts);
        accounts.tell(about(0, 2), own);
        leaps(&mut accounts);
        assert!(accounts.contains(about(0, 2)), "too little was told for a walk");
        for address in 0..1_000 {
            accounts.tell(about(1, address), own);
            leaps(&mut accounts);
        }
        assert!(!accounts.contains(about(0, 1)) && !accounts.contains(about(0, 2)), "of the host that leaps");
        assert!((0..1_000).all(|address| accounts.contains(about(1, address))), "another host's");
    }
}
