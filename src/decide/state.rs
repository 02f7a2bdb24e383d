//! All that is remembered, and the one way in which it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::{IndexMap, IndexSet};
use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::claim::{Claim, Claimant, Deny};
use super::familiar::{Familiar, Known};
use super::forgives::Forgives;
use super::links::Links;
use super::live::{Live, LiveKey, Session, Spared};
use super::namesakes::{self, Namesakes};
use super::nets::{Net, Nets, World};
use super::prefix::Prefix;
use super::session::{Connection, HostId, KeptKey, Sessions};
use super::tally::{Slot, Tallies, Tally};
use super::wave::{Stranger, Target, Turn, Waves};
use super::window::Windows;
use crate::detect::event::Account;

/// User names that are counted at once; further ones are counted together.
pub const USERS_MAX: usize = 10_000;
/// Bytes of a user's name that are kept; who is told apart by more of it is counted together. sshd's own lines hold
/// some hundreds, forged ones thousands.
pub const USER_MAX: usize = 256;
/// Origin hosts that are known by name. Further ones are told apart by a hash, so that whoever claims to be ten
/// thousand hosts cannot make one of all others.
pub const HOSTS_MAX: usize = 10_000;
/// Bytes of a host's name that are kept.
pub const HOST_MAX: usize = 255;
/// Prefixes of which it is remembered how often they were released; further ones push out others.
pub const RELEASED_MAX: usize = 1_000_000;
/// Prefixes that may be denied at once.
pub const DENIES_MAX: usize = 1_000_000;
/// Of them, those whose deny rests on what strangers may have made up. They give way to the others.
pub const FORGEABLE_DENIES_MAX: usize = 100_000;
/// Of them, those that a server told of: further ones are refused, so that it pushes out nobody.
pub const RECEIVED_MAX: usize = 100_000;

/// Why a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Its time was over.
    Expired,
    /// A person forgave it.
    Forgiven,
    /// It is on the allow list now.
    Allowed,
    /// Only one address of it was meant: it is [`Special`](crate::detect::special::Special).
    Narrowed,
    /// It rested on what strangers may have made up, and its room was needed.
    Crowded,
}

/// A person, by name, for reading: whoever may change something is root, and says who that is.
pub type Who = Option<Box<str>>;

/// What changed, in absolute values: applying one twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A prefix' counts.
    Counted {
        /// Whose.
        prefix: Prefix,
        /// All of them as they are now; `None` = forgotten.
        tally: Option<Tally>,
    },
    /// How much of a prefix' counts came from one origin host; kept only where a success may clear it.
    Shared {
        /// Whose.
        prefix: Prefix,
        /// Of which host; `None` = all hosts' shares are gone.
        host: Option<HostId>,
        /// The share as it is now.
        counts: [u32; 5],
    },
    /// A prefix is denied.
    Denied {
        /// Which.
        prefix: Prefix,
        /// Who wants it.
        by: Claimant,
        /// Since when, until when, why.
        claim: Claim,
    },
    /// A claim ended.
    Released {
        /// On which prefix.
        prefix: Prefix,
        /// Whose claim.
        by: Claimant,
        /// When.
        at: Timestamp,
        /// Why.
        why: Why,
        /// Whether it rested on what strangers may have made up.
        forgeable: bool,
        /// How often the prefix has been released now.
        times: u32,
        /// Who did it, where a person did.
        who: Who,
    },
    /// A prefix was forgiven.
    Forgave {
        /// Which.
        prefix: Prefix,
        /// When: what failed until then counts nothing. `None` = that is forgotten.
        at: Option<Timestamp>,
    },
    /// How often a prefix has been released, apart from a release; 0 = that is forgotten, there were too many.
    Remembered {
        /// Which.
        prefix: Prefix,
        /// How often.
        times: u32,
        /// When last, where that is known and new.
        last: Option<Timestamp>,
    },
    /// From where somebody logged in, or had a probation.
    Familiar {
        /// The prefix by which it is counted.
        prefix: Prefix,
        /// What is known of it; `None` = it is forgotten.
        known: Option<Known>,
    },
    /// Somebody logged in; `None` = out.
    Live {
        /// From where, and on which host.
        key: LiveKey,
        /// The session.
        session: Option<Session>,
    },
    /// A prefix came to be over a threshold, and is not denied because somebody is logged in from there.
    Spared {
        /// Who.
        spared: Box<Spared>,
        /// When.
        at: Timestamp,
    },
    /// Somebody logged in from where too many failed.
    Suspicious {
        /// From where.
        address: std::net::IpAddr,
        /// As whom: bytes of the log.
        user: Vec<u8>,
        /// By what, where the line tells: see [`login_method`](crate::detect::login_method).
        method: Option<&'static str>,
        /// When.
        at: Timestamp,
    },
    /// Somebody logged in, by a record that strangers cannot have made up.
    LoggedIn {
        /// From where: the prefix by which it is counted.
        prefix: Prefix,
        /// As whom: bytes of the log.
        user: Box<[u8]>,
        /// When.
        at: Timestamp,
    },
    /// A user was tried from a prefix at least so often, by what another program counted before us.
    Paired {
        /// From where.
        prefix: Prefix,
        /// Whom.
        user: Box<[u8]>,
        /// How often.
        times: u64,
        /// When last.
        last: Timestamp,
    },
    /// Somebody logged in at least so often from where too many had failed, by what another program knew before us.
    Suspected {
        /// From where.
        address: std::net::IpAddr,
        /// As whom.
        user: Box<[u8]>,
        /// How often.
        times: u64,
        /// When last.
        last: Timestamp,
    },
    /// Who was tried from a prefix and what lies in it is forgotten, since people forgave it.
    Cleared {
        /// Which.
        prefix: Prefix,
    },
    /// An attempt that was decided after its line was counted; its counts are beside it.
    Late(Box<Attempt<'static>>),
    /// A user that nobody tried before takes the next number.
    User {
        /// Its name, cut: bytes of the log.
        name: Box<[u8]>,
    },
    /// How often a user was tried.
    Tried {
        /// The user's number: the place in [`State::users`].
        user: usize,
        /// Its counts.
        counts: UserCounts,
    },
    /// An origin host of which nobody heard before takes the next number.
    Host {
        /// Its name.
        name: Box<[u8]>,
    },
    /// A connection changed.
    Connection(KeptKey, Option<Box<Connection>>),
    /// A wider net changed, in one world; `None` = forgotten.
    Net(Prefix, World, Option<Box<Net>>),
    /// What is known of a stranger changed; `None` = forgotten.
    Stranger(Prefix, Option<Box<Stranger>>),
    /// What is known of a target changed, by its place.
    Target(u16, Box<Target>),
    /// A wave began, or is over. What is known of it is beside it.
    Wave {
        /// Which, and what it was.
        turn: Box<Turn>,
        /// The address by whose try it began, where it is one on our hosts.
        by: Option<Prefix>,
        /// When.
        at: Timestamp,
    },
    /// Which hosts are one changed.
    Namesakes(Box<namesakes::Kept>),
    /// Something was not kept because there was too much of it.
    Untold {
        /// What.
        what: Bound,
        /// How much of it, in all, since the start.
        total: u64,
    },
}

/// What has a bound that strangers can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Prefixes that are counted: beyond [`TRACKED_MAX`](super::tally::TRACKED_MAX) others are forgotten.
    Tallies,
    /// Attempts of users beyond [`USERS_MAX`].
    Users,
    /// Records of hosts beyond [`HOSTS_MAX`].
    Hosts,
    /// Prefixes with a login beyond [`FAMILIAR_MAX`](super::familiar::FAMILIAR_MAX).
    Familiar,
    /// Sessions beyond [`LIVE_MAX`](super::live::LIVE_MAX).
    Live,
    /// Forgives beyond [`FORGIVES_MAX`](super::forgives::FORGIVES_MAX).
    Forgives,
    /// Denies beyond [`DENIES_MAX`] or [`FORGEABLE_DENIES_MAX`], which were refused, or released to make room.
    Denies,
    /// Hosts that a server told of beyond [`RECEIVED_MAX`].
    Received,
}

/// How often a user name was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserCounts {
    /// Attempts.
    pub attempts: u64,
    /// What is known of the account.
    pub account: Account,
    /// The last time; the epoch where that is not known.
    pub last: Timestamp,
}

/// All that is remembered between records.
#[derive(Debug, Default)]
pub struct State {
    /// Failures per prefix.
    pub tallies: Tallies,
    /// How much of the counts came from which origin host; empty unless `reset_on_success`.
    pub shares: BTreeMap<(Prefix, HostId), [u32; 5]>,
    /// What is denied.
    pub denies: IndexMap<Prefix, Deny, foldhash::fast::RandomState>,
    /// Of them, those that rest on what strangers may have made up alone.
    pub forgeable: IndexSet<Prefix, foldhash::fast::RandomState>,
    /// How many of them a server told of.
    pub received: usize,
    /// When claims end, soonest first.
    pub ends: BTreeSet<(Timestamp, Prefix, Claimant)>,
    /// How often prefixes were released; only those that were.
    pub released: IndexMap<Prefix, u32, foldhash::fast::RandomState>,
    /// From where somebody logged in lately.
    pub familiar: Familiar,
    /// When failures happened, where only those within a window count. They change by themselves, and are not kept.
    pub windows: Windows,
    /// Who failed from the machine's own prefixes. They change by themselves, and are not kept.
    pub links: Links,
    /// Who was forgiven.
    pub forgives: Forgives,
    /// Who is logged in, of those whom a deny must not lock out.
    pub live: Live,
    /// Users that were tried.
    pub users: IndexMap<Box<[u8]>, UserCounts, foldhash::fast::RandomState>,
    /// Origin hosts by name; [`HostId`] is the place here.
    pub hosts: IndexMap<Box<[u8]>, (), foldhash::fast::RandomState>,
    /// Connections.
    pub sessions: Sessions,
    /// Wider nets of IPv6. As connections they change by themselves, and say afterwards what changed.
    pub nets: Nets,
    /// Slow attacks by many. They change by themselves, too.
    pub waves: Waves,
    /// Which hosts are one. They change by themselves, too.
    pub namesakes: Namesakes,
    /// What was not kept, by [`Bound`].
    untold: [u64; 8],
}

impl State {
    /// Applies a change: the only way in which state changes, live, loaded and replayed alike. Connections alone follow
    /// their lines by themselves, and say afterwards what of them changed.
    #[inline]
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Counted { prefix, tally: Some(tally) } => self.count(self.tallies.find(prefix), *prefix, tally),
            Change::Counted { prefix, tally: None } => self.tallies.remove(prefix),
            Change::Shared { prefix, host: Some(host), counts } => {
                self.shares.insert((*prefix, *host), *counts);
            }
            Change::Shared { prefix, host: None, .. } => {
                let all = (*prefix, HostId(0))..=(*prefix, HostId(u16::MAX));
                let keys: Vec<_> = self.shares.range(all).map(|(key, _)| *key).collect();
                for key in keys {
                    self.shares.remove(&key);
                }
            }
            Change::Denied { prefix, by, claim } => self.deny(*prefix, *by, claim),
            Change::Released { prefix, by, times, .. } => {
                self.release(*prefix, *by);
                if *times > 0 {
                    self.released.insert(*prefix, *times);
                }
            }
            Change::Remembered { prefix, times: 0, .. } => {
                self.released.swap_remove(prefix);
            }
            Change::Remembered { prefix, times, .. } => {
                self.released.insert(*prefix, *times);
            }
            Change::Familiar { prefix, known } => self.familiar.put(*prefix, *known),
            Change::Forgave { prefix, at } => self.forgives.put(*prefix, *at),
            Change::Live { key, session } => self.live.put(*key, session.clone()),
            Change::User { name } => {
                self.users.entry(name.clone()).or_default();
            }
            Change::Tried { user, counts } => {
                if let Some((_, known)) = self.users.get_index_mut(*user) {
                    *known = *counts;
                }
            }
            Change::Host { name } => {
                self.hosts.insert(name.clone(), ());
            }
            Change::Untold { what, total } => self.untold[*what as usize] = *total,
            Change::Net(net, world, known) => self.nets.put(*net, *world, known.as_deref().copied()),
            Change::Stranger(prefix, known) => self.waves.put_stranger(*prefix, known.as_deref().copied()),
            Change::Target(place, target) => self.waves.put_target(*place, target),
            Change::Wave { .. }
            | Change::Spared { .. }
            | Change::Suspicious { .. }
            | Change::LoggedIn { .. }
            | Change::Paired { .. }
            | Change::Suspected { .. }
            | Change::Cleared { .. }
            | Change::Late(_)
            | Change::Connection(..)
            | Change::Namesakes(_) => {}
        }
    }

    /// Applies [`Change::Counted`] to a prefix that was just looked for: each record comes through here.
    #[inline]
    pub(super) fn count(&mut self, slot: Slot, prefix: Prefix, tally: &Tally) {
        self.tallies.put(slot, prefix, tally);
    }

    fn deny(&mut self, prefix: Prefix, by: Claimant, claim: &Claim) {
        let deny = self.denies.entry(prefix).or_default();
        let old = deny.put(by, claim.clone());
        self.received += usize::from(by == Claimant::Sync && old.is_none());
        if let Some(Claim { until: Some(old), .. }) = old {
            self.ends.remove(&(old, prefix, by));
        }
        let is_forgeable = deny.is_forgeable();
        if let Some(until) = claim.until {
            self.ends.insert((until, prefix, by));
        }
        self.sort(prefix, is_forgeable);
    }

    /// Puts a denied prefix among those that give way, or takes it from there.
    fn sort(&mut self, prefix: Prefix, is_forgeable: bool) {
        match is_forgeable {
            true => self.forgeable.insert(prefix),
            false => self.forgeable.swap_remove(&prefix),
        };
    }

    fn release(&mut self, prefix: Prefix, by: Claimant) {
        let Some(deny) = self.denies.get_mut(&prefix) else { return };
        let old = deny.withdraw(by);
        self.received -= usize::from(by == Claimant::Sync && old.is_some());
        if let Some(Claim { until: Some(until), .. }) = old {
            self.ends.remove(&(until, prefix, by));
        }
        let is_forgeable = deny.is_forgeable();
        if deny.claims().next().is_none() {
            self.denies.swap_remove(&prefix);
        }
        self.sort(prefix, is_forgeable);
    }

    /// What is denied and holds an address, the widest first.
    pub fn holding(&self, address: IpAddr) -> impl Iterator<Item = (Prefix, &Deny)> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (0..=most)
            .filter_map(move |len| self.denies.get_key_value(&Prefix::of(address, len)).map(|(p, deny)| (*p, deny)))
    }

    /// Takes the room that it needs, once it was loaded: what is put in one by one leaves a tree half empty.
    pub(crate) fn pack(&mut self) {
        self.ends = std::mem::take(&mut self.ends).into_iter().collect();
        self.denies.shrink_to_fit();
    }

    /// How much was not kept, since the start.
    pub fn untold(&self, what: Bound) -> u64 {
        self.untold[what as usize]
    }

    /// The number of a user that is counted.
    pub fn user(&self, name: &[u8]) -> Option<usize> {
        self.users.get_index_of(&name[..name.len().min(USER_MAX)])
    }

    /// The name of an origin host.
    pub fn host_name(&self, host: HostId) -> &[u8] {
        self.hosts.get_index(usize::from(host.0)).map_or(b"(other)", |(name, ())| name)
    }
}
