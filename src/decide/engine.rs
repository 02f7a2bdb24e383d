//! The fold: one input in, changes out.

use std::net::Ipv6Addr;
use std::time::Duration;

use indexmap::IndexSet;
use inputs::record::{Record, SourceId, Timestamp};

use super::attempt::{Attempt, Folded};
use super::claim::{Claim, Claimant, Deny, Reason};
use super::machine::Machine;
use super::nets::World;
use super::past::Past;
use super::policy::Policy;
use super::prefix::Prefix;
use super::rooms::fits;
use super::session::{FNV, HostId, Line, Trust, fnv};
use super::state::{Bound, Change, HOST_MAX, HOSTS_MAX, State, Who, Why};
use crate::detect::address::Address;
use crate::detect::event::Event;
use crate::detect::login_method;

mod ahead;
mod forgive;
mod judge;
mod nets;
mod past;
pub mod received;
mod sentence;
mod spare;
mod wave;

/// All that can change what is decided, but for the policy: this machine, and the addresses of allowed names, are in that.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record of a known service.
    Record {
        /// The record.
        record: &'a Record<'a>,
        /// Its origin.
        host: HostId,
        /// What it says.
        event: &'a Event<'a>,
        /// How far it is to be trusted.
        trust: Trust,
    },
    /// An attempt that somebody else made out.
    Attempt(Attempt<'a>),
    /// Somebody wants a prefix denied.
    Claim {
        /// Which.
        prefix: Prefix,
        /// Who.
        by: Claimant,
        /// Until when, and why.
        claim: Claim,
    },
    /// What an operator asks for.
    Command(Command),
    /// What another program counted before us.
    Past(&'a Past),
    /// Time went on: what is over is released.
    Tick,
    /// The end of the log: nothing more will come, so what waits for another line is decided now.
    End,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Withdraw all denies inside some prefixes, or that hold one of them; clear counts inside them, and those that they
    /// are counted in. What failed before counts nothing any more, in their wider nets either. They are at most
    /// [`FORGIVES_MAX`](super::forgives::FORGIVES_MAX).
    Forgive(Vec<Prefix>, Who),
    /// Withdraw the policy's own denies of these, and clear what counted for them. Who else denies them still does.
    Withdraw(Vec<Prefix>, Who),
    /// Withdraw what is denied on a server's word, of these; `None` = all. Who else denies them still does.
    Distrust(Option<Vec<Prefix>>, Who),
    /// End the policy's own denies, and those that a server told of, that began at this time at the latest, as if their time
    /// were over; not those that are for ever because of how often they were released, or because DenyHosts never purged them.
    Purge(Timestamp),
    /// The allow list changed: what it covers now is released.
    Allowed(Who),
    /// Withdraw what an earlier version denied of the policy's own: a whole link, or all that is behind a translator,
    /// for one address of it.
    ReleaseWideLinks,
    /// What was decided later than this time was so by a clock that was ahead: it lasts as long as it was to, from now on, and
    /// what was forgiven then is forgiven now.
    SetBack(Timestamp),
    /// What was forgiven at the first of these times was so at the second, as is known now.
    Redate(Timestamp, Timestamp),
}

/// A claim that ended so long ago, at most, is released by the wall clock alone.
const RECENTLY: Duration = Duration::from_secs(3_600);

/// Numbers of hosts that have no name: they are told apart by a hash.
const UNNAMED: u64 = u16::MAX as u64 + 1 - HOSTS_MAX as u64;

/// Policy, state, and what changed of it.
#[derive(Debug, Default)]
pub struct Engine {
    /// What is tolerated.
    pub policy: Policy,
    /// What is remembered.
    pub state: State,
    /// What changed since the caller last took it, in order.
    pub changes: Vec<Change>,
    /// Users that were tried since they last left as changes, each as often as it was.
    tried: Vec<usize>,
    /// Wider nets that changed since then.
    nets: Vec<(Prefix, World)>,
    /// Somebody keeps what changes.
    is_kept: bool,
    /// The wall clock, as the last input told it: what lies before it is not enforced.
    wall: Timestamp,
    /// Addresses of which a login was guessed, the last of them: who is logged in from there as this machine knows is no guest.
    guessers: IndexSet<Address, foldhash::fast::RandomState>,
    /// What time it is as far as the clock is believed, where that may be another one: records tell of no later end.
    pub believed: Option<Timestamp>,
}

impl Engine {
    /// An engine that remembers nothing.
    pub fn new(policy: Policy) -> Self {
        Engine { policy, ..Engine::default() }
    }

    /// An engine that remembers `state`, of which somebody keeps what changes.
    pub fn with(policy: Policy, mut state: State) -> Self {
        state.sessions.track_changes();
        state.waves.track_changes();
        Engine { policy, state, is_kept: true, ..Engine::default() }
    }

    /// Folds one input in, of which we knew at `wall`; says what it amounted to, if it is a record.
    #[inline]
    pub fn step<'a>(&mut self, wall: Timestamp, input: Input<'a>) -> Folded<'a> {
        self.wall = wall;
        match input {
            Input::Record { record, host, event, trust } => return self.record(record, host, event, trust),
            Input::Attempt(attempt) => self.attempt(&attempt),
            Input::Claim { prefix, by, claim } => self.claim(prefix, by, claim),
            Input::Command(command) => self.command(&command),
            Input::Past(past) => self.past(past),
            Input::Tick => self.tick(),
            Input::End => {
                self.state.sessions.finish();
                self.overdue();
            }
        }
        Folded::default()
    }

    fn record<'a>(&mut self, record: &Record<'_>, host: HostId, event: &Event<'a>, trust: Trust) -> Folded<'a> {
        let at = record.time();
        let line =
            Line { host, source: record.source, pid: record.pid, at, received: record.received, from: record.from() };
        // What waits is decided before the line that shows its time to be over, however the lines are batched.
        self.state.sessions.tell(&line, trust);
        if self.state.sessions.is_due() {
            self.overdue();
        }
        let folded = self.state.sessions.fold(line, trust, event, &self.policy);
        for attempt in folded.attempt.iter().chain(folded.certain.as_deref()) {
            self.attempt(attempt);
        }
        if folded.logged_in
            && let Some(peer) = folded.peer
        {
            let login = (event.user.unwrap_or_default(), login_method(record.message));
            let guessed = self.success(peer, login, host, at);
            self.logged_in(record, peer, event, host, guessed);
        } else if trust == Trust::Sound {
            self.logged_out(record, event, host);
        }
        // A connection whose pid came again has just been forgotten: what it was worth is counted before a commit.
        if self.state.sessions.is_due() {
            self.overdue();
        }
        folded
    }

    /// Counts what was waiting for another line and is due now, by the watermarks of the hosts.
    fn overdue(&mut self) {
        while let Some(attempt) = self.state.sessions.next_due(&self.policy) {
            self.attempt(&attempt);
            if attempt.times > 0 {
                self.changes.push(Change::Late(Box::new(attempt)));
            }
        }
    }

    /// How many changes [`settle`](Self::settle) has, about, but for users.
    pub fn unsettled(&self) -> usize {
        self.state.sessions.changes() + self.nets.len() + self.state.waves.changes()
    }

    /// Puts among the changes what changes with nearly every line, users' counts and connections, each as it is by now.
    /// Called before a commit: what leaves so need not leave a hundred times between two.
    pub fn settle(&mut self) {
        let mut tried = std::mem::take(&mut self.tried);
        tried.sort_unstable();
        tried.dedup();
        let users = &self.state.users;
        self.changes.extend(tried.into_iter().map(|user| Change::Tried { user, counts: users[user] }));
        let mut nets = std::mem::take(&mut self.nets);
        nets.sort_unstable();
        nets.dedup();
        let known = |net, world| self.state.nets.get(net, world).map(|net| Box::new(*net));
        self.changes.extend(nets.into_iter().map(|(net, world)| Change::Net(net, world, known(net, world))));
        let (strangers, targets) = self.state.waves.take_changes();
        self.changes.extend(strangers.into_iter().map(|(prefix, known)| Change::Stranger(prefix, known.map(Box::new))));
        self.changes.extend(targets.into_iter().map(|(place, target)| Change::Target(place, Box::new(target))));
        let names = self.state.namesakes.take_changes();
        self.changes.extend(names.map(|names| Change::Namesakes(Box::new(names))));
        let connections = self.state.sessions.take_changes().into_iter();
        self.changes.extend(connections.map(|(key, connection)| Change::Connection(key, connection.map(Box::new))));
    }

    /// The number of an origin host: of what it calls itself, in lower case. Names that strangers may have made up
    /// become numbers alone where there are many.
    pub fn host(&mut self, name: &[u8], trust: Trust) -> HostId {
        let mut lower = [0u8; HOST_MAX];
        let len = name.len().min(lower.len());
        lower[..len].copy_from_slice(&name[..len]);
        lower[..len].make_ascii_lowercase();
        let lower = &lower[..len];
        let known = self.state.hosts.len();
        if let Some(index) = self.state.hosts.get_index_of(lower) {
            return HostId(index as u16);
        }
        if !fits(known, HOSTS_MAX, trust == Trust::Forgeable) {
            self.untold(Bound::Hosts, 1);
            return HostId(HOSTS_MAX as u16 + (fnv(FNV, lower) % UNNAMED) as u16);
        }
        self.change(Change::Host { name: lower.into() });
        HostId(known as u16)
    }

    /// The host that a record is of which its input calls `called`: the same, or a namesake.
    pub fn origin(&mut self, record: &Record<'_>, called: HostId, trust: Trust) -> HostId {
        let State { hosts, namesakes, .. } = &mut self.state;
        namesakes.hear(record, called, trust, |host| Some(&**hosts.get_index(usize::from(host.0))?.0))
    }

    /// What this machine is has changed: what is allowed is to be made anew. Links that are none of it any more are
    /// forgotten, or one that moves each day would leave one each day.
    pub fn set_machine(&mut self, machine: Machine) {
        self.state.links.retain(|link| machine.is_link(link));
        self.policy.machine = machine;
    }

    /// How many inputs there are. With one alone, nobody looks for a host's other name.
    pub fn set_inputs(&mut self, inputs: usize) {
        self.state.namesakes.set_alone(inputs == 1);
    }

    /// An input's number is another one's now.
    pub fn renumber(&mut self, input: SourceId) {
        self.state.namesakes.forget(input);
    }

    /// The same of a record that tells no new host: of a repetition.
    pub fn meant(&self, record: &Record<'_>, called: HostId) -> HostId {
        self.state.namesakes.meant((record.source, called))
    }

    fn tick(&mut self) {
        let wall = self.wall;
        self.state.sessions.tick(wall);
        self.overdue();
        // What was over long before is released when the records have come that far: earlier, the rest of a backlog
        // would count from zero and deny once more. Its end is not late by that, it is enforced no longer.
        let told = self.state.sessions.told(wall);
        let recent = (wall.before(RECENTLY), Prefix::of(Ipv6Addr::UNSPECIFIED, 0), Claimant::Policy);
        // One that lasts no longer than that always waits for them: its end may lie within any backlog.
        let is_brief = |state: &State, (until, prefix, by): &(Timestamp, Prefix, Claimant)| {
            let claim = state.denies.get(prefix).and_then(|deny| deny.claim(*by));
            *by == Claimant::Policy && claim.is_some_and(|claim| claim.since.after(RECENTLY) > *until)
        };
        let over = |state: &State| {
            let oldest = state.ends.first().filter(|(until, ..)| *until <= told);
            let recent = || state.ends.range(recent..).take_while(|(until, ..)| *until <= wall);
            oldest.or_else(|| recent().find(|end| !is_brief(state, end))).copied()
        };
        while let Some((until, prefix, by)) = over(&self.state) {
            self.release(prefix, by, until, Why::Expired, None);
        }
        self.end_waves(told);
    }

    /// Takes a claim. One of the policy was decided elsewhere, by a scan or before the database was lost: what is
    /// allowed, is denied already, or is not to be enforced any more, is left out. So is what a scan decided who did not
    /// know the machine's own prefixes, nor who is logged in.
    fn claim(&mut self, prefix: Prefix, by: Claimant, claim: Claim) {
        if by == Claimant::Policy {
            let known = self.state.denies.get(&prefix).is_some_and(|deny| deny.claim(by).is_some());
            let over = !claim.enforceable || claim.until.is_some_and(|until| until <= self.wall);
            // Who was forgiven since is not denied for what was before.
            let over = over || self.state.forgives.cover(&prefix, claim.since, self.wall);
            let spared = claim.reason != Reason::Adopted
                && (self.is_own_link(&prefix, &claim) || self.spares_claim(&prefix, &claim));
            if known || over || spared || self.policy.allow.covers(&prefix) || !self.has_room(prefix, &claim) {
                return;
            }
        }
        if by == Claimant::Sync && self.refuses(&prefix, self.wall).is_some() {
            return;
        }
        self.change(Change::Denied { prefix, by, claim });
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Forgive(prefixes, who) => self.forgive(prefixes, who),
            Command::Withdraw(prefixes, who) => {
                for prefix in prefixes {
                    if self.state.denies.get(prefix).is_some_and(|deny| deny.claim(Claimant::Policy).is_some()) {
                        self.release(*prefix, Claimant::Policy, self.wall, Why::Forgiven, who.clone());
                    }
                }
            }
            Command::Distrust(prefixes, who) => {
                let is_one = |deny: &Deny| deny.claim(Claimant::Sync).is_some();
                let denies = &self.state.denies;
                let ones: Vec<_> = match prefixes {
                    Some(some) => some.iter().filter(|one| denies.get(*one).is_some_and(is_one)).copied().collect(),
                    None => denies.iter().filter(|(_, deny)| is_one(deny)).map(|(one, _)| *one).collect(),
                };
                for prefix in ones {
                    self.release(prefix, Claimant::Sync, self.wall, Why::Forgiven, who.clone());
                }
            }
            Command::Purge(until) => {
                for by in [Claimant::Policy, Claimant::Sync] {
                    let is_over = |(prefix, deny): &(&Prefix, &Deny)| {
                        let times = self.state.released.get(*prefix).copied().unwrap_or(0);
                        let is_for_life = self.policy.permanent_after.is_some_and(|most| times >= most);
                        let claim = deny.claim(by).filter(|claim| claim.since <= *until);
                        let is_endless = |claim: &Claim| is_for_life || claim.reason == Reason::Imported;
                        claim.is_some_and(|claim| claim.until.is_some() || !is_endless(claim))
                    };
                    let over = self.state.denies.iter().filter(is_over).map(|(prefix, _)| *prefix);
                    for prefix in over.collect::<Vec<_>>() {
                        self.release(prefix, by, self.wall, Why::Expired, None);
                    }
                }
            }
            Command::SetBack(after) => self.set_back(*after),
            Command::Redate(from, to) => self.redate(|at| at == *from, *to),
            Command::Allowed(who) => {
                let covered: Vec<_> =
                    self.state.denies.keys().filter(|p| self.policy.allow.covers(p)).copied().collect();
                for prefix in covered {
                    self.release_all(prefix, Why::Allowed, who);
                }
            }
            Command::ReleaseWideLinks => {
                let is_wide = |prefix: &Prefix| {
                    let first = Address::from(prefix.address());
                    let is_special = self.policy.special(first).is_some_and(|special| special.bits.is_some());
                    let narrow = self.policy.prefix(first);
                    is_special && prefix.contains(&narrow) && *prefix != narrow
                };
                let ours = |prefix: &Prefix| self.state.denies[prefix].claim(Claimant::Policy);
                let is_too_wide = |prefix: &&Prefix| {
                    ours(prefix).is_some_and(|claim| is_wide(prefix) || self.is_own_link(prefix, claim))
                };
                let denied = self.state.denies.keys().filter(is_too_wide);
                for prefix in denied.copied().collect::<Vec<_>>() {
                    self.release(prefix, Claimant::Policy, self.wall, Why::Narrowed, None);
                }
            }
        }
    }

    /// Whether a claim is of one of the machine's own prefixes, and was decided as that of any other: before, or where it was
    /// not known to be one.
    fn is_own_link(&self, prefix: &Prefix, claim: &Claim) -> bool {
        self.policy.machine.is_link(prefix) && claim.reason.parts() == 0
    }

    fn change(&mut self, change: Change) {
        self.state.apply(&change);
        self.changes.push(change);
    }

    /// Counts what a bound kept out. Only who looks at the state is told: a flood would fill the changes with it.
    fn untold(&mut self, what: Bound, more: u64) {
        let total = self.state.untold(what) + more;
        self.state.apply(&Change::Untold { what, total });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_those_with_names_hosts_are_told_apart_too() {
        let mut engine = Engine::default();
        let named: Vec<_> =
            (0..HOSTS_MAX).map(|number| engine.host(format!("h{number}").as_bytes(), Trust::Sound)).collect();
        let (one, two) = (engine.host(b"mail", Trust::Sound), engine.host(b"web", Trust::Sound));
        assert!(one != two && !named.contains(&one) && !named.contains(&two));
        assert_eq!((engine.host(b"MAIL", Trust::Sound), engine.state.host_name(one)), (one, &b"(other)"[..]));
        assert_eq!((engine.state.hosts.len(), engine.state.untold(Bound::Hosts)), (HOSTS_MAX, 3));
    }
}
