//! What people look at that may be much: lists, the history, and why a prefix is denied that has many in it.
//!
//! Whoever asks has a thread of its own. It looks at the desk for a moment at a time, and sorts, reads the database and
//! writes the answer beside the engine, which so never waits for a list. A list has everybody who is on it from its first look
//! to its last, each once, as he was at one of these moments; who came or went meanwhile may be there or not.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use inputs::record::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::reply::{self, At, Decided, PerClass, Reply, Verdict};
use super::{Desk, Filter, INSIDE_MAX, ROWS_MAX, Request, What};
use crate::decide::claim::{Claimant, Deny};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::UserCounts;
use crate::decide::tally::Tally;
use crate::store::{Database, Login, Pair, Released, StoreError, Wanted};
use crate::text::{printable, shown};

/// Places of a table that are looked at at once: that takes less than a millisecond.
const PLACES: usize = 10_000;
/// Rows that are taken at once: so does that.
const ROWS: usize = 1_000;

/// One long list is made at a time: many who ask would else take the processors.
static TURN: Mutex<()> = Mutex::new(());

/// A look at the desk, of a moment, by the thread that has it.
pub type Look = Box<dyn FnOnce(&Desk, Timestamp) + Send>;

/// Who can look at the desk.
pub(super) trait Looks {
    /// Looks, and returns what was seen; an error if the desk is gone.
    fn look<T: Send + 'static>(&mut self, at: impl FnOnce(&Desk, Timestamp) -> T + Send + 'static)
    -> Result<T, String>;
}

/// Who has the desk, and what time it is.
pub(super) struct Here<'a>(pub(super) &'a Desk, pub(super) Timestamp);

impl Looks for Here<'_> {
    fn look<T: Send + 'static>(
        &mut self,
        at: impl FnOnce(&Desk, Timestamp) -> T + Send + 'static,
    ) -> Result<T, String> {
        Ok(at(self.0, self.1))
    }
}

/// Another thread has it.
impl Looks for mpsc::Sender<Look> {
    fn look<T: Send + 'static>(
        &mut self,
        at: impl FnOnce(&Desk, Timestamp) -> T + Send + 'static,
    ) -> Result<T, String> {
        let gone = || "the engine has ended".to_owned();
        let (seen, told) = oneshot::channel();
        let look: Look = Box::new(move |desk, now| drop(seen.send(at(desk, now))));
        self.blocking_send(look).map_err(|_| gone())?;
        told.blocking_recv().map_err(|_| gone())
    }
}

/// What is known of a prefix. It blocks, once for each look: never within a runtime.
pub fn explain(prefix: Prefix, mut looks: mpsc::Sender<Look>) -> Option<reply::Why> {
    match why(prefix, &mut looks) {
        Ok(Reply::Why(why)) => Some(*why),
        _ => None,
    }
}

/// Answers a request that [`Request::is_aside`]; `Err` is a message for the person who asked.
pub(super) fn answer(request: &Request, looks: &mut impl Looks) -> Result<Reply, String> {
    if let Request::Why { address } = request {
        return why(*address, looks);
    }
    let _turn = turn();
    let mut aside = Aside::begin(looks)?;
    match request {
        Request::List { what, filter } => aside.list(*what, filter),
        Request::History { prefix, limit } => aside.history(*prefix, (*limit).min(ROWS_MAX)),
        _ => Err("that is no list".to_owned()),
    }
}

/// Waits for its turn.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a prefix is denied, and who is in it.
fn why(asked: Prefix, looks: &mut impl Looks) -> Result<Reply, String> {
    let (mut why, is_wide) = looks.look(move |desk, now| desk.why(asked, now))?.map_err(told)?;
    if is_wide {
        let _turn = turn();
        let mut aside = Aside::begin(looks)?;
        let is_in = move |prefix: &Prefix| asked.contains(prefix) && *prefix != asked;
        why.denied_inside = aside.hosts(INSIDE_MAX, move |prefix, _| is_in(prefix))?;
        why.counted_inside = aside.addresses(INSIDE_MAX, move |prefix, _| is_in(prefix))?;
        let is_known = !why.denied_inside.is_empty() || !why.counted_inside.is_empty();
        if why.verdict == Verdict::Unknown && is_known {
            why.verdict = Verdict::Counted;
        }
    }
    Ok(Reply::Why(Box::new(why)))
}

/// A message for who asked.
fn told(error: StoreError) -> String {
    error.to_string()
}

/// A user, by its name's bytes, and how often it was tried.
type User = (Box<[u8]>, UserCounts);

/// A question that is being answered.
pub(super) struct Aside<'a, L> {
    looks: &'a mut L,
    /// Another connection to the database. There is none where it is in memory only: then the engine reads it.
    apart: Option<Database>,
    pub(super) now: Timestamp,
}

impl<'a, L: Looks> Aside<'a, L> {
    pub(super) fn begin(looks: &'a mut L) -> Result<Self, String> {
        let (apart, now) = looks.look(|desk, now| (desk.store.reader(), now))?;
        Ok(Aside { looks, apart, now })
    }

    fn list(&mut self, what: What, filter: &Filter) -> Result<Reply, String> {
        let Filter { within, class, by, ref user, limit } = *filter;
        let most = limit.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        let is_in = move |prefix: &Prefix| within.is_none_or(|within| within.contains(prefix));
        match what {
            What::Hosts | What::Users | What::Addresses | What::Released if user.is_some() => {
                Err("--user is for denyd list pairs and denyd list suspicious".to_owned())
            }
            What::Hosts => {
                let is_because = move |deny: &Deny| {
                    class.is_none_or(|class| deny.claims().any(|(_, claim)| claim.reason.class() == Some(class)))
                };
                let is_by = move |deny: &Deny| by.is_none_or(|by| deny.claim(by).is_some());
                self.hosts(most, move |prefix, deny| is_in(prefix) && is_because(deny) && is_by(deny)).map(Reply::Hosts)
            }
            What::Users if (within, class, by) != (None, None, None) => {
                Err("users are counted wherever they were tried from, and whatever class they were of; see denyd list addresses"
                    .to_owned())
            }
            What::Users => self.users(most).map(Reply::Users),
            What::Addresses if by.is_some() => Err("--by is for denies; see denyd list hosts".to_owned()),
            What::Pairs | What::Suspicious | What::Released if (class, by) != (None, None) => {
                Err("--class and --by are for denies; see denyd list hosts".to_owned())
            }
            What::Pairs => self.pairs(within, user.as_deref(), most),
            What::Suspicious => {
                let user = user.as_deref().map(|user| self.name(user)).transpose()?;
                self.suspicious(most, move |address, name| {
                    is_in(&Prefix::host(address)) && user.as_deref().is_none_or(|user| user == name)
                })
            }
            What::Released => self.released(within, most),
            What::Addresses => {
                let failed = move |tally: &Tally| class.is_none_or(|class| tally.counts[class as usize] > 0);
                self.addresses(most, move |prefix, tally| is_in(prefix) && failed(tally)).map(Reply::Addresses)
            }
        }
    }

    /// The first `most` of those who are denied and wanted, by prefix.
    fn hosts(
        &mut self,
        most: usize,
        wanted: impl Fn(&Prefix, &Deny) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<reply::Host>, String> {
        let some = move |desk: &Desk, places: Range<usize>| {
            let some = desk.engine.state.denies.get_range(places).into_iter().flatten();
            some.filter(|(prefix, deny)| wanted(prefix, deny)).map(|(prefix, _)| *prefix).collect()
        };
        let prefixes = self.first(most, |desk| desk.engine.state.denies.len(), some)?;
        let mut rows = Vec::with_capacity(prefixes.len());
        for some in prefixes.chunks(ROWS) {
            let some = some.to_vec();
            rows.extend(self.looks.look(move |desk, now| {
                let row = |prefix: &Prefix| Some(host(desk, *prefix, desk.engine.state.denies.get(prefix)?, now));
                some.iter().filter_map(row).collect::<Vec<_>>()
            })?);
        }
        self.seen_on(&mut rows)?;
        Ok(rows)
    }

    /// Completes rows by the hosts on which what is kept of each happened.
    fn seen_on(&mut self, rows: &mut [reply::Host]) -> Result<(), String> {
        for some in rows.chunks_mut(ROWS) {
            let prefixes: Vec<_> = some.iter().map(|row| row.prefix).collect();
            let hosts = self.read(move |database| database.hosts_of(&prefixes))?;
            let named: HashSet<HostId> = hosts.iter().flatten().copied().collect();
            let name = |desk: &Desk, host| (host, printable(desk.engine.state.host_name(host)));
            let names = self.looks.look(move |desk, _| {
                named.into_iter().map(|host| name(desk, host)).collect::<IndexMap<HostId, String>>()
            })?;
            for (row, hosts) in some.iter_mut().zip(hosts) {
                row.hosts = hosts.iter().filter_map(|host| names.get(host).cloned()).collect();
            }
        }
        Ok(())
    }

    /// The first `most` of what is counted and wanted, most failures first.
    fn addresses(
        &mut self,
        most: usize,
        wanted: impl Fn(&Prefix, &Tally) -> bool + Clone + Send + 'static,
    ) -> Result<Vec<reply::Address>, String> {
        let mut found = Vec::new();
        // What becomes certain moves to the end of the other room, which is looked at after this one.
        for room in [1, 0] {
            let wanted = wanted.clone();
            let some = move |desk: &Desk, places: Range<usize>| {
                let some = desk.engine.state.tallies.some(room, places);
                let some = some.filter(|(prefix, tally)| wanted(prefix, tally));
                some.map(|(prefix, tally)| (Reverse(tally.failures()), prefix)).collect()
            };
            let len = move |desk: &Desk| desk.engine.state.tallies.lengths()[room];
            found.extend(self.first(most, len, some)?);
        }
        found.sort_unstable();
        let mut known = HashSet::new();
        found.retain(|(_, prefix)| known.insert(*prefix));
        found.truncate(most);
        let mut rows = Vec::with_capacity(found.len());
        for some in found.chunks(ROWS) {
            let some: Vec<_> = some.iter().map(|(_, prefix)| *prefix).collect();
            rows.extend(self.looks.look(move |desk, now| {
                let state = &desk.engine.state;
                let is_denied =
                    |prefix: &Prefix| state.denies.get(prefix).is_some_and(|deny| deny.enforced(now).is_some());
                let row = |prefix: &Prefix| Some(address(*prefix, state.tallies.get(prefix)?, is_denied(prefix)));
                some.iter().filter_map(row).collect::<Vec<_>>()
            })?);
        }
        Ok(rows)
    }

    /// How often prefixes failed in a class, and when last: the first `most`, the most often first.
    pub(super) fn failed(
        &mut self,
        most: usize,
        class: Class,
    ) -> Result<Vec<(Reverse<u32>, Prefix, Timestamp)>, String> {
        let mut found = Vec::new();
        for room in [1, 0] {
            let some = move |desk: &Desk, places: Range<usize>| {
                let some = desk.engine.state.tallies.some(room, places);
                let failed = some.filter(|(_, tally)| tally.counts[class as usize] > 0);
                let row = |(prefix, tally): (Prefix, &Tally)| {
                    let last = Timestamp::from_secs(i64::from(tally.last[class as usize]));
                    (Reverse(tally.counts[class as usize]), prefix, last)
                };
                failed.map(row).collect()
            };
            found.extend(self.first(most, move |desk: &Desk| desk.engine.state.tallies.lengths()[room], some)?);
        }
        found.sort_unstable();
        found.truncate(most);
        Ok(found)
    }

    /// Who was tried, most often first.
    fn users(&mut self, most: usize) -> Result<Vec<reply::User>, String> {
        let row = |(name, counts): (Box<[u8]>, UserCounts)| {
            let (user, user_b64) = shown(&name);
            let last = Some(At(counts.last)).filter(|last| last.0 > Timestamp(0));
            reply::User { user, user_b64, account: counts.account, attempts: counts.attempts, last }
        };
        Ok(self.tried(most)?.into_iter().map(row).collect())
    }

    /// The same, with the bytes of their names.
    pub(super) fn tried(&mut self, most: usize) -> Result<Vec<User>, String> {
        let some = |desk: &Desk, places: Range<usize>| {
            let users = desk.engine.state.users.get_range(places.clone()).into_iter().flatten();
            places.zip(users).map(|(place, (_, counts))| (Reverse(counts.attempts), place)).collect()
        };
        let found = self.first(most, |desk| desk.engine.state.users.len(), some)?;
        let mut rows = Vec::with_capacity(found.len());
        for some in found.chunks(ROWS) {
            let some = some.to_vec();
            rows.extend(self.looks.look(move |desk, _| {
                let users = &desk.engine.state.users;
                let user =
                    |(_, place): &(_, usize)| users.get_index(*place).map(|(name, counts)| (name.clone(), *counts));
                some.iter().filter_map(user).collect::<Vec<_>>()
            })?);
        }
        Ok(rows)
    }

    /// The first `most` users with from where they were tried, the most often first; of one user the last first.
    fn pairs(&mut self, within: Option<Prefix>, user: Option<&str>, most: usize) -> Result<Reply, String> {
        let now = self.now;
        let row = |Pair { user, account, prefix, attempts, last, login, denied }| {
            let (user, user_b64) = shown(&user);
            let [last, login] = [last.max(login.unwrap_or(last)), login.unwrap_or_default()].map(At);
            let login = Some(login).filter(|login| login.0 > Timestamp(0));
            reply::Pair { user, user_b64, account, prefix, attempts, last, login, denied }
        };
        let user = user.map(|user| self.name(user)).transpose()?;
        let pairs = self.read(move |database| database.pairs(&Wanted { within, user }, now, most))?;
        Ok(Reply::Pairs(pairs.into_iter().map(row).collect()))
    }

    /// The bytes of a user's name that was typed: as they are, or as lists show them.
    fn name(&mut self, typed: &str) -> Result<Vec<u8>, String> {
        let bytes = typed.as_bytes().to_vec();
        if !typed.contains('\\') {
            return Ok(bytes);
        }
        let typed = typed.to_owned();
        self.looks.look(move |desk, _| {
            let users = &desk.engine.state.users;
            if users.contains_key(&*bytes) {
                bytes
            } else {
                users.keys().find(|name| printable(name) == typed).map_or(bytes, |name| name.to_vec())
            }
        })
    }

    /// Who was released, the most often first.
    fn released(&mut self, within: Option<Prefix>, most: usize) -> Result<Reply, String> {
        let row = |Released { prefix, times, last }| reply::Released { prefix, times, last: last.map(At) };
        let rows = self.read(move |database| database.released(within, most))?;
        Ok(Reply::Released(rows.into_iter().map(row).collect()))
    }

    /// Who logged in from where too many had failed, the last first.
    fn suspicious(&mut self, most: usize, wanted: impl Fn(IpAddr, &[u8]) -> bool) -> Result<Reply, String> {
        let row = |((address, user), (logins, last)): Login| {
            let (user, user_b64) = shown(&user);
            reply::Suspicious { address, user, user_b64, logins, last: At(last) }
        };
        Ok(Reply::Suspicious(self.logins(wanted)?.into_iter().take(most).map(row).collect()))
    }

    /// The same, with the bytes of their names.
    pub(super) fn logins(&mut self, wanted: impl Fn(IpAddr, &[u8]) -> bool) -> Result<Vec<Login>, String> {
        let rows = self.read(|database| database.logins(ROWS_MAX))?;
        Ok(rows.into_iter().filter(|((address, user), _)| wanted(*address, user)).collect())
    }

    fn history(&mut self, prefix: Option<Prefix>, most: usize) -> Result<Reply, String> {
        let rows = self.read(move |database| database.history(prefix, most))?;
        Ok(Reply::History(rows.into_iter().map(Decided::from).collect()))
    }

    /// Reads the database.
    pub(super) fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        match &self.apart {
            Some(database) => read(database).map_err(told),
            None => self.looks.look(move |desk, _| read(&desk.store.database))?.map_err(told),
        }
    }

    /// The first `most` of what `some` finds at the places of a table of so many. In each of our tables what is new comes to
    /// the end, and the last takes the place of what is gone: so from the end to the beginning nothing is missed, and what
    /// moved meanwhile is only found twice.
    fn first<T: Ord + Send + 'static>(
        &mut self,
        most: usize,
        len: impl Fn(&Desk) -> usize + Copy + Send + 'static,
        some: impl Fn(&Desk, Range<usize>) -> Vec<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, String> {
        let (mut found, mut end) = (Vec::new(), usize::MAX);
        while end > 0 {
            let some = some.clone();
            let (begin, more) = self.looks.look(move |desk, _| {
                let end = end.min(len(desk));
                let begin = end.saturating_sub(PLACES);
                (begin, some(desk, begin..end))
            })?;
            end = begin;
            found.extend(more);
            if end == 0 || found.len() >= 2 * most.max(PLACES) {
                found.sort_unstable();
                found.dedup();
                found.truncate(most);
            }
        }
        Ok(found)
    }
}

/// A row of who is denied, without the hosts.
fn host(desk: &Desk, prefix: Prefix, deny: &Deny, now: Timestamp) -> reply::Host {
    let state = &desk.engine.state;
    let policy = deny.claim(Claimant::Policy);
    let known = state.familiar.get(&prefix).filter(|known| known.login > 0);
    reply::Host {
        prefix,
        last_login: known.map(|known| At(Timestamp::from_secs(i64::from(known.login)))),
        since: deny.claims().map(|(_, claim)| At(claim.since)).min(),
        until: deny.until().map(At),
        class: policy.and_then(|claim| claim.reason.class()),
        count: policy.map_or(0, |claim| claim.reason.count()),
        claimants: deny.claims().map(|(by, _)| by).collect(),
        times: state.released.get(&prefix).copied().unwrap_or(0),
        hosts: Vec::new(),
        enforced: deny.enforced(now).is_some(),
        because: deny.claim(Claimant::Operator).and_then(|claim| claim.reason.because()).map(Box::from),
        refused: None,
    }
}

/// A row of what is counted.
fn address(prefix: Prefix, tally: &Tally, denied: bool) -> reply::Address {
    reply::Address {
        prefix,
        counts: PerClass::of(|class| tally.counts[class as usize]),
        successes: tally.successes.into(),
        last: At(Timestamp::from_secs(i64::from(tally.last_failure()))),
        denied,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::decide::claim::{Claim, Reason};
    use crate::decide::policy::Policy;
    use crate::decide::state::{Change, Why};
    use crate::store::Store;

    const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

    fn host(number: usize) -> Prefix {
        Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + number as u32))
    }

    fn deny(desk: &mut Desk, prefix: Prefix) {
        let until = Some(NOW.after(Duration::from_secs(60)));
        let claim = Claim { since: NOW, until, reason: Reason::Adopted, enforceable: true };
        desk.engine.state.apply(&Change::Denied { prefix, by: Claimant::Policy, claim });
        let mut tally = Tally::default();
        tally.add(Class::Valid, None, 1, 0, NOW);
        desk.engine.state.apply(&Change::Counted { prefix, tally: Some(tally) });
    }

    fn release(desk: &mut Desk, prefix: Prefix) {
        let (by, why) = (Claimant::Policy, Why::Forgiven);
        desk.engine.state.apply(&Change::Released { prefix, by, at: NOW, why, forgeable: false, times: 0, who: None });
        desk.engine.state.apply(&Change::Counted { prefix, tally: None });
    }

    /// What failed there is certain now.
    fn make_certain(desk: &mut Desk, prefix: Prefix) {
        let mut tally = Tally::default();
        tally.add(Class::Valid, None, 1, 1, NOW);
        desk.engine.state.apply(&Change::Counted { prefix, tally: Some(tally) });
    }

    /// Asks, while another thread has the desk and does something after each look; returns the answer and how many looks there
    /// were.
    fn ask(desk: &mut Desk, request: &Request, mut between: impl FnMut(&mut Desk) + Send) -> (Reply, usize) {
        let (mut looks, mut asked) = mpsc::channel::<Look>(1);
        std::thread::scope(|scope| {
            let engine = scope.spawn(move || {
                let mut count = 0;
                while let Some(look) = asked.blocking_recv() {
                    look(desk, NOW);
                    between(desk);
                    count += 1;
                }
                count
            });
            let reply = answer(request, &mut looks).expect("it can be answered");
            drop(looks);
            (reply, engine.join().expect("it ends"))
        })
    }

    #[test]
    fn a_list_takes_moments_of_the_engine_and_misses_nobody_though_others_come_and_go() {
        const ALL: usize = 35_000;
        let dir = tempfile::tempdir().expect("a directory");
        let mut desk = Desk::open(Store::open(dir.path()).expect("a store"), Policy::default(), NOW).expect("it loads");
        (0..ALL).for_each(|number| deny(&mut desk, host(number)));
        let (mut next, mut random) = (ALL, kit::Random::new());
        // Of each ten the first alone stays; some of these become certain, and so move.
        let mut between = |desk: &mut Desk| {
            for _ in 0..500 {
                let number = random.below(ALL as u32) as usize;
                match number % 10 {
                    0 => make_certain(desk, host(number)),
                    _ => release(desk, host(number)),
                }
                deny(desk, host(next));
                next += 1;
            }
        };
        let all = |what| Request::List { what, filter: Filter::default() };
        let check = |prefixes: Vec<Prefix>, looks: usize| {
            let listed: HashSet<_> = prefixes.iter().copied().collect();
            assert_eq!(listed.len(), prefixes.len(), "each is there once");
            assert!((0..ALL).step_by(10).all(|number| listed.contains(&host(number))), "nobody is missed");
            assert!(looks > ALL / PLACES + prefixes.len() / ROWS, "{looks} looks");
        };
        let (Reply::Addresses(rows), looks) = ask(&mut desk, &all(What::Addresses), &mut between) else { panic!() };
        check(rows.iter().map(|row| row.prefix).collect(), looks);
        let (Reply::Hosts(rows), looks) = ask(&mut desk, &all(What::Hosts), &mut between) else { panic!() };
        assert!(rows.is_sorted_by_key(|row| row.prefix));
        check(rows.iter().map(|row| row.prefix).collect(), looks);
        // Of few that are wanted few are taken.
        let filter = Filter { limit: Some(3), ..Filter::default() };
        let few = Request::List { what: What::Hosts, filter };
        let (Reply::Hosts(rows), _) = ask(&mut desk, &few, |_| {}) else { panic!() };
        let mut denied: Vec<_> = desk.engine.state.denies.keys().copied().collect();
        denied.sort();
        assert_eq!(rows.iter().map(|row| row.prefix).collect::<Vec<_>>(), denied[..3]);
    }
}
