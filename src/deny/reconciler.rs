//! Keeps one back end's set equal to the one that was decided, whatever fails.
//!
//! The engine leaves its changes in an inbox and never waits: what lies there already is joined with them, and if too
//! much does, the whole set takes its place. What the inbox holds is one `update`. The whole set is replaced at the
//! start, after any error or clock step, and once a day. A probe notices when somebody else changed it: at once where the
//! back end hears of changes, else every few seconds; what was changed is mended, and that is counted. Whatever others do
//! again and again, looking takes a fifth of the time and mending another at most; neither is put off by more than a minute. The
//! reconciler knows nothing of firewalls and decides nothing. It has a thread; when that ends, the denies stay in force.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::effect::Refused;
use super::{DenyBackend, DenyError, DenySet, Diff, Probe};
use crate::clock;
use crate::text::At;

/// How often a reconciler does what. Tests shorten it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The pause after a first failed `replace`; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// Between two probes. Doubles, up to `probe_max`, while probes fail although `replace` succeeds.
    pub probe_every: Duration,
    /// Between two probes at most.
    pub probe_max: Duration,
    /// Between two probes of a back end that says by itself when somebody changed something.
    pub watched_every: Duration,
    /// Between two calls of `replace` when nothing is wrong.
    pub replace_every: Duration,
    /// How long looking what others did may take without a rest, and mending it: so what happens once is mended at once,
    /// though another thing has just been.
    pub unrested: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            probe_every: Duration::from_secs(5),
            probe_max: Duration::from_secs(10),
            watched_every: Duration::from_secs(60),
            replace_every: Duration::from_secs(24 * 3600),
            unrested: Duration::from_secs(2),
        }
    }
}

/// How a back end is doing, as `denyd status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The back end's name.
    pub name: String,
    /// It denies nobody: it cuts the open connections of who is denied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cuts: bool,
    /// How many prefixes are to be denied.
    pub wanted: usize,
    /// How many of them are denied: what was there when it was last read or written, and all that is known to have become
    /// of it since.
    pub enforced: usize,
    /// How many it leaves out though nothing failed: a person deleted their lines twice, or they cannot be written.
    #[serde(skip_serializing_if = "is_none")]
    pub left_out: usize,
    /// When it was last seen to be so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<At>,
    /// What was refused since we began, a few seconds ago; `None` for one that cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// How often somebody else changed it, and it was mended.
    #[serde(skip_serializing_if = "is_zero")]
    pub healed: u64,
    /// What is wrong; `None` while all is well.
    pub error: Option<String>,
    /// Since when that is wrong.
    pub failing_since: Option<At>,
    /// When the whole set was last written.
    pub replaced: Option<At>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// All back ends at work: the engine's end of them.
#[derive(Debug)]
pub struct Reconcilers {
    feeds: Vec<Feed>,
    /// Closed once each back end has tried to make its set equal for the first time.
    tried: Option<mpsc::Receiver<Infallible>>,
    /// Tells once of each back end that its set is equal.
    enforced: Option<Enforced>,
    /// Closed once the last thread has ended.
    ended: mpsc::Receiver<Infallible>,
}

/// Tells once of each back end that it has made its set equal.
#[derive(Debug)]
pub struct Enforced {
    each: mpsc::Receiver<bool>,
    count: usize,
    /// Tells who waits to give up, by a `false`.
    pub give_up: mpsc::Sender<bool>,
}

impl Enforced {
    /// Waits until all have; false if somebody says to give up.
    pub fn wait(self) -> bool {
        (0..self.count).all(|_| self.each.recv() == Ok(true))
    }
}

impl Reconcilers {
    /// Starts a thread for each back end, which makes its set equal to `want`.
    pub fn start<C>(
        backends: Vec<Box<dyn DenyBackend>>,
        mut want: DenySet,
        clock: C,
        pace: Pace,
    ) -> std::io::Result<Self>
    where
        C: Fn() -> (Timestamp, Instant) + Clone + Send + 'static,
    {
        let ((tries, tried), (ends, ended), (enforces, each)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let (mut feeds, mut count) = (Vec::new(), 0);
        let last = backends.len().saturating_sub(1);
        for (number, backend) in backends.into_iter().enumerate() {
            let thread = std::thread::Builder::new().name(format!("deny {}", backend.name()));
            let denies = backend.denies();
            // Each has a set of its own, which may be large, and there is none besides.
            let want = if number == last { std::mem::take(&mut want) } else { want.clone() };
            let (mut reconciler, feed) = Reconciler::new(backend, want, clock.clone(), pace)?;
            // What cuts connections denies nobody: whoever waits for the denies does not wait for it.
            if denies {
                reconciler.enforces = Some(enforces.clone());
                count += 1;
            }
            let (tried, end) = (tries.clone(), ends.clone());
            thread.spawn(move || {
                reconciler.run(tried);
                drop(end);
            })?;
            feeds.push(feed);
        }
        let enforced = Some(Enforced { each, count, give_up: enforces });
        Ok(Reconcilers { feeds, tried: Some(tried), enforced, ended })
    }

    /// What is closed once each back end has tried for the first time, whether it could or not; the first call has it.
    pub fn tried(&mut self) -> Option<mpsc::Receiver<Infallible>> {
        self.tried.take()
    }

    /// What tells that each has enforced all of the set; the first call has it.
    pub fn enforced(&mut self) -> Option<Enforced> {
        self.enforced.take()
    }

    /// Tells all of them of a change; never waits for a back end. `whole` is the set after it.
    pub fn send(&self, diff: &Diff, whole: impl Fn() -> DenySet) {
        self.feeds.iter().for_each(|feed| feed.send(diff, &whole));
    }

    /// Has all of them write their whole set anew: after a clock step (kernel timeouts are monotonic).
    pub fn rewrite(&self) {
        self.feeds.iter().for_each(Feed::rewrite);
    }

    /// How each is doing.
    pub fn statuses(&self) -> Vec<Status> {
        self.feeds.iter().map(Feed::status).collect()
    }

    /// Lets each carry out what it was told last, and end; whether all ended in time.
    pub fn stop(self, most: Duration) -> bool {
        self.stop_and_tell(most).is_ok()
    }

    /// The same, and how each was doing when it ended; an error where one did not end in time.
    pub fn stop_and_tell(self, most: Duration) -> Result<Vec<Status>, Vec<Status>> {
        let shared: Vec<_> = self.feeds.iter().map(|Feed(shared)| Arc::clone(shared)).collect();
        drop(self.feeds);
        let ended = self.ended.recv_timeout(most);
        let statuses = shared.iter().map(|shared| lock(&shared.status).clone()).collect();
        if matches!(ended, Err(mpsc::RecvTimeoutError::Timeout)) { Err(statuses) } else { Ok(statuses) }
    }
}

/// How many denies are enforced everywhere: what the back end that has fewest says. None enforces none, and one that cuts
/// connections is no part of that.
pub fn enforced(statuses: &[Status]) -> usize {
    statuses.iter().filter(|status| !status.cuts).map(|status| status.enforced).min().unwrap_or(0)
}

/// The engine's end of a reconciler, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feed(Arc<Shared>);

/// What lies between the engine and a reconciler. The locks are held for moments, never while a back end works.
#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    /// Readable once something was put into the inbox.
    news: EventFd,
    status: Mutex<Status>,
    /// When it was last looked at.
    looked: Mutex<Option<Instant>>,
    /// Since when the back end has been at work, and when that began by the wall clock.
    busy: Mutex<Option<(Instant, Timestamp)>>,
}

/// What a reconciler was told and has not taken yet.
#[derive(Debug, Default)]
struct Inbox {
    /// Changes of what was told before, or of `whole`.
    changes: Diff,
    /// The set, where there were too many changes.
    whole: Option<DenySet>,
    /// The set must be written anew although it is the same.
    rewrite: bool,
    /// Somebody wants to know how it is.
    asked: bool,
    closed: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.whole.is_none() && !self.rewrite && !self.asked
    }
}

impl Feed {
    pub(crate) fn send(&self, diff: &Diff, whole: impl Fn() -> DenySet) {
        self.tell(|inbox| match &mut inbox.whole {
            Some(set) => set.apply(diff),
            None if inbox.changes.denies.len() + diff.denies.len() <= CHANGES_MAX => inbox.changes.extend(diff),
            None => {
                inbox.changes = Diff::default();
                inbox.whole = Some(whole());
            }
        });
    }

    pub(crate) fn rewrite(&self) {
        self.tell(|inbox| inbox.rewrite = true);
    }

    pub(crate) fn status(&self) -> Status {
        let mut status = lock(&self.0.status).clone();
        // What is told now may be a minute old; who asks again is told better.
        if status.refused.is_some() && lock(&self.0.looked).is_none_or(|at| clock::monotonic() >= at + FRESH) {
            self.tell(|inbox| inbox.asked = true);
        }
        let busy = lock(&self.0.busy).filter(|(since, _)| clock::monotonic().duration_since(*since) >= SLOW);
        if let (None, Some((_, since))) = (&status.error, busy) {
            status.error = Some("it has not done yet what it was told; see what holds it up".to_owned());
            status.failing_since = Some(At(since));
        }
        status
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut lock(&self.0.inbox));
        // It can be full only if nobody has read it, and is readable then.
        _ = self.0.news.write(1);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tell(|inbox| inbox.closed = true);
    }
}

/// Drives one back end; see the module.
pub(crate) struct Reconciler<C> {
    backend: Box<dyn DenyBackend>,
    /// The wall clock, and one that never steps.
    clock: C,
    pace: Pace,
    shared: Arc<Shared>,
    want: DenySet,
    /// The back end's set may differ from ours: it has to be replaced.
    stale: bool,
    /// No further try to replace before this.
    retry_at: Instant,
    retry_pause: Duration,
    probe_at: Instant,
    probe_pause: Duration,
    replace_at: Instant,
    /// What somebody else changed and nobody has mended yet.
    changed: Option<String>,
    /// No mending before this.
    mend_from: Instant,
    /// How much of the time mending takes, and looking.
    mending: Share,
    looking: Share,
    /// The back end says that somebody changed something.
    stirred: bool,
    /// Somebody wants to know how it is.
    asked: bool,
    /// It is not listened to before this.
    deaf_until: Instant,
    /// Whether the error shown in the status came from a probe.
    probe_failed: bool,
    /// Is told once that the set is equal for the first time.
    enforces: Option<mpsc::Sender<bool>>,
}

/// What failed.
#[derive(Clone, Copy)]
enum Failed {
    Probe,
    /// `replace` or `update`.
    Order,
}

impl<C: Fn() -> (Timestamp, Instant)> Reconciler<C> {
    pub(crate) fn new(
        backend: Box<dyn DenyBackend>,
        want: DenySet,
        clock: C,
        pace: Pace,
    ) -> std::io::Result<(Self, Feed)> {
        let name = backend.name().to_owned();
        let status = Status { name, cuts: !backend.denies(), wanted: want.denied.len(), ..Status::default() };
        let news = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            news,
            status: Mutex::new(status),
            looked: Mutex::default(),
            busy: Mutex::default(),
        });
        let feed = Feed(Arc::clone(&shared));
        let (_, begun) = clock();
        let reconciler = Reconciler {
            backend,
            clock,
            pace,
            shared,
            want,
            stale: true,
            retry_at: begun,
            retry_pause: pace.retry_first,
            probe_at: begun + pace.probe_every,
            probe_pause: pace.probe_every,
            replace_at: begun + pace.replace_every,
            changed: None,
            mend_from: begun,
            mending: Share::new(pace.unrested, begun),
            looking: Share::new(pace.unrested, begun),
            stirred: false,
            asked: false,
            deaf_until: begun,
            probe_failed: false,
            enforces: None,
        };
        Ok((reconciler, feed))
    }

    /// Works until its [`Feed`] is gone, then carries out what it was told last, once. Drops `tried` after its first try.
    fn run(mut self, tried: mpsc::Sender<Infallible>) {
        let mut wake = self.step();
        drop(tried);
        loop {
            if !self.wait(wake) {
                break;
            }
            wake = self.step();
        }
        (_, self.retry_at) = (self.clock)();
        self.carry_out();
    }

    /// Sleeps until there is news, the back end stirs, or `wake`; false once nobody can tell us anything any more.
    fn wait(&mut self, wake: Instant) -> bool {
        loop {
            _ = self.shared.news.read(); // before the inbox: what is put there now is seen
            let inbox = lock(&self.shared.inbox);
            if !inbox.is_empty() || inbox.closed {
                return !inbox.closed;
            }
            drop(inbox);
            let (_, now) = (self.clock)();
            if now >= wake {
                return true;
            }
            let listens = now >= self.deaf_until;
            let until = if listens { wake } else { wake.min(self.deaf_until) };
            // rounded up, or it would come back too early, again and again
            let left = (until - now).as_micros().div_ceil(1000);
            let mut fds = vec![PollFd::new(self.shared.news.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.backend.stirs().filter(|_| listens).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
                self.stirred = true;
                self.deaf_until = (self.clock)().1 + DEAF;
                return true;
            }
        }
    }

    /// Does what there is to do now, and says when to come again at the latest.
    pub(crate) fn step(&mut self) -> Instant {
        *lock(&self.shared.busy) = Some((clock::monotonic(), (self.clock)().0));
        self.carry_out();
        self.look();
        self.mend();
        self.replace();
        *lock(&self.shared.busy) = None;
        match (self.stale, &self.changed) {
            (true, _) => self.retry_at,
            (false, Some(_)) => self.mend_from,
            (false, None) => self.probe_at.min(self.replace_at),
        }
    }

    /// Makes the set what the inbox says.
    fn carry_out(&mut self) {
        let Inbox { changes, whole, rewrite, asked, .. } = {
            let mut inbox = lock(&self.shared.inbox);
            let closed = inbox.closed;
            std::mem::replace(&mut *inbox, Inbox { closed, ..Inbox::default() })
        };
        self.stale |= rewrite || whole.is_some();
        self.asked |= asked;
        if let Some(whole) = whole {
            self.want = whole;
        }
        self.want.apply(&changes);
        lock(&self.shared.status).wanted = self.want.denied.len();
        if !self.stale && !changes.is_empty() {
            match self.backend.update(&changes, &self.want, (self.clock)().0) {
                Ok(()) => self.done(None),
                Err(error) => {
                    self.failed(&error, Failed::Order);
                    self.stale = true; // at once: it mends whatever made the update fail
                }
            }
        }
        self.replace();
    }

    /// Writes the whole set if that has to be, unless it is too early for another try.
    fn replace(&mut self) {
        let (wall, begun) = (self.clock)();
        if !self.stale || begun < self.retry_at {
            return;
        }
        match self.backend.replace(&self.want, wall) {
            Ok(()) => {
                self.stale = false;
                self.changed = None;
                let (_, ended) = (self.clock)();
                self.mend_from = ended + self.mending.rest(begun, ended).max(MEND_PAUSE_MIN);
                if self.probe_failed {
                    lock(&self.shared.status).healed += 1;
                    // Who hears of changes has read what was written.
                    self.probe_failed = self.backend.stirs().is_none();
                }
                if self.backend.stirs().is_some() {
                    self.probe_at = ended; // and may have found something
                }
                self.retry_pause = self.pace.retry_first;
                self.done(Some(wall));
                // Mostly nobody wants to know.
                self.enforces.take().map(|told| told.send(true));
            }
            Err(error) => {
                self.failed(&error, Failed::Order);
                self.retry_at = (self.clock)().1 + self.retry_pause;
                self.retry_pause = (self.retry_pause * 2).min(self.pace.retry_max);
            }
        }
    }

    /// What is due by time alone.
    fn look(&mut self) {
        let (_, now) = (self.clock)();
        if now >= self.replace_at {
            self.replace_at = now + self.pace.replace_every;
            self.stale = true;
        }
        let wanted = std::mem::take(&mut self.stirred) | std::mem::take(&mut self.asked);
        if (now < self.probe_at && !wanted) || self.stale {
            return;
        }
        let wall = (self.clock)().0;
        match self.backend.probe(&self.want, wall) {
            Ok(Probe::Changed { what, missing }) => {
                lock(&self.shared.status).enforced = self.want.denied.len().saturating_sub(missing);
                self.changed = Some(what);
            }
            Ok(Probe::Ours) => {
                self.probe_pause = self.pace.probe_every;
                self.probe_failed = false;
                lock(&self.shared.status).checked = Some(At(wall));
                self.count();
                self.well();
            }
            Err(error) => {
                self.probe_pause = (self.probe_pause * 2).min(self.pace.probe_max);
                self.probe_failed = true;
                lock(&self.shared.status).enforced = 0;
                self.failed(&error, Failed::Probe);
                self.stale = true;
                // Whoever spoils it again and again does not have us do nothing else.
                self.retry_at = self.retry_at.max(self.mend_from);
            }
        }
        lock(&self.shared.status).refused = self.backend.refused();
        *lock(&self.shared.looked) = Some(clock::monotonic());
        let ended = (self.clock)().1;
        // It may have had to read all of the set.
        self.deaf_until = self.deaf_until.max(ended + self.looking.rest(now, ended));
        let pause = if self.backend.stirs().is_some() { self.pace.watched_every } else { self.probe_pause };
        self.probe_at = ended + pause;
    }

    /// Mends what somebody changed, unless it is too early for that.
    fn mend(&mut self) {
        let (wall, begun) = (self.clock)();
        if self.stale || begun < self.mend_from {
            return;
        }
        let Some(what) = self.changed.take() else { return };
        match self.backend.mend(&self.want, wall) {
            Ok(()) => {
                let (_, ended) = (self.clock)();
                self.mend_from = ended + self.mending.rest(begun, ended).max(MEND_PAUSE_MIN);
                lock(&self.shared.status).healed += 1;
                warn!(backend = self.backend.name(), %what, "denies were changed by someone else, and are mended");
                self.done(None);
            }
            Err(error) => {
                self.failed(&error, Failed::Order);
                self.stale = true;
            }
        }
    }

    fn done(&mut self, replaced: Option<Timestamp>) {
        // What is to be mended yet is not denied for certain.
        if self.changed.is_none() {
            self.count();
        }
        let mut status = lock(&self.shared.status);
        status.checked = Some(At((self.clock)().0));
        status.replaced = replaced.map(At).or(status.replaced);
        drop(status);
        // Whether a failed probe is mended only the next one can say.
        if !self.probe_failed {
            self.well();
        }
    }

    /// All that is wanted is denied but for what the back end leaves out.
    fn count(&mut self) {
        let left_out = self.backend.left_out();
        let mut status = lock(&self.shared.status);
        (status.left_out, status.enforced) = (left_out, self.want.denied.len().saturating_sub(left_out));
    }

    fn well(&mut self) {
        let mut status = lock(&self.shared.status);
        status.failing_since = None;
        if status.error.take().is_some() {
            let (cuts, backend, denied) = (status.cuts, self.backend.name(), status.enforced);
            drop(status);
            match cuts {
                true => info!(backend, "open connections of denied addresses are cut again"),
                false => info!(backend, denied, "denies are enforced again"),
            }
        }
    }

    /// Shows and logs an error, if it is not the one that is shown.
    fn failed(&mut self, error: &DenyError, what: Failed) {
        let text = error.to_string();
        let mut status = lock(&self.shared.status);
        if status.error.as_ref() == Some(&text) {
            return;
        }
        (status.error, status.failing_since) = (Some(text), Some(At((self.clock)().0)));
        let cuts = status.cuts;
        drop(status);
        let (tried, cause, remedy) = (&error.tried, &error.cause, error.remedy.unwrap_or("none known"));
        match what {
            Failed::Probe | Failed::Order if cuts => {
                error!(backend = error.backend, %tried, %cause, remedy, "open connections of denied addresses are not cut");
            }
            Failed::Probe => {
                warn!(backend = error.backend, %tried, %cause, remedy, "denies were changed by someone else")
            }
            Failed::Order => error!(backend = error.backend, %tried, %cause, remedy, "denies cannot be enforced"),
        }
    }
}

/// A fifth of the time, for work that others cause. What was not used is saved, up to a bound, so that there is no rest
/// before that is used up.
struct Share {
    saved: Duration,
    most: Duration,
    /// Until when it was reckoned.
    at: Instant,
}

impl Share {
    fn new(most: Duration, now: Instant) -> Share {
        Share { saved: most, most, at: now }
    }

    /// How long to rest after work from `begun` to `ended`; [`REST_MAX`] at most.
    fn rest(&mut self, begun: Instant, ended: Instant) -> Duration {
        self.saved = self.most.min(self.saved + begun.saturating_duration_since(self.at) / (REST + 1));
        self.at = self.at.max(ended);
        let took = ended.saturating_duration_since(begun);
        let beyond = took.saturating_sub(self.saved);
        self.saved = self.saved.saturating_sub(took);
        let rest = (beyond * REST).min(REST_MAX);
        // That time is for this work, and saves nothing for the next.
        self.at += rest;
        rest
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A look that is not older is good enough for who asks.
const FRESH: Duration = Duration::from_secs(2);
/// Who has been at work for so long is told of.
const SLOW: Duration = Duration::from_secs(2);
/// Changes that may wait, about 2 MB: at 1 000 denies a second, a quarter of a minute of a back end that hangs. More are the
/// whole set.
const CHANGES_MAX: usize = 16_384;
/// Between two mendings at least, so that our log has ten lines a second of them at most.
const MEND_PAUSE_MIN: Duration = Duration::from_millis(100);
/// For so many times as long as looking or mending took, neither is done again because of what others did, once nothing is
/// saved of [`Pace::unrested`].
const REST: u32 = 4;
/// For no longer than this, or what hung once would be left as it is for as many times as long.
const REST_MAX: Duration = Duration::from_secs(60);
/// How long a back end is not listened to after it stirred: others may commit all the time, and so do we.
const DEAF: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::prefix::Prefix;
    use crate::decide::range::Range;
    use kit::Random;
    use std::os::fd::BorrowedFd;

    /// A firewall that fails as it is told.
    #[derive(Default)]
    struct World {
        set: DenySet,
        faults: Option<Random>,
        /// Every call of replace and update fails.
        broken: bool,
        probe_broken: bool,
        replaces: usize,
        updates: usize,
        probes: usize,
        /// Somebody changed the set behind our back.
        tampered: bool,
        /// Elements that they took out.
        odd: usize,
        /// Others change something all the time, and to see what takes so long.
        restless: Option<Duration>,
        /// When it was looked at, from when to when.
        looked: Vec<(Instant, Instant)>,
    }

    #[derive(Clone)]
    struct Fake(Arc<Mutex<World>>, Arc<EventFd>);

    fn fault(text: &str) -> DenyError {
        DenyError { backend: "fake", tried: "try".to_owned(), cause: text.to_owned(), remedy: None }
    }

    fn address(n: u64) -> std::net::IpAddr {
        std::net::IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0200 + n as u32))
    }

    fn only(n: u64) -> Range {
        Range::from(Prefix::host(address(n)))
    }

    fn dropped(set: &DenySet, n: u64) -> bool {
        let host = Prefix::host(address(n));
        let allowed = set.allowed.iter().any(|range| range.contains(address(n)));
        !allowed && set.denied.keys().any(|prefix| prefix.contains(&host))
    }

    impl World {
        /// Does `change` or not, and fails or not.
        fn order(&mut self, change: impl FnOnce(&mut DenySet)) -> Result<(), DenyError> {
            let dice = self.faults.as_mut().map_or(9, |random| random.below(10));
            if self.broken || dice == 0 {
                return Err(fault("refused"));
            }
            change(&mut self.set);
            assert!(!dropped(&self.set, ALWAYS_ALLOWED), "an allowed address is dropped");
            if dice == 1 {
                return Err(fault("done, but the answer was lost"));
            }
            if dice == 2 {
                self.tampered = true;
                self.set = DenySet::default();
            }
            Ok(())
        }
    }

    impl DenyBackend for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn replace(&mut self, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
            let mut world = lock(&self.0);
            world.replaces += 1;
            world.tampered = false;
            world.order(|set| *set = want.clone())
        }

        fn update(&mut self, diff: &Diff, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
            let mut world = lock(&self.0);
            world.updates += 1;
            if world.tampered {
                return Err(fault("no such set"));
            }
            world.order(|set| {
                set.apply(diff);
                assert_eq!(set.denied, want.denied, "the diff leads to what is wanted");
                assert_eq!(set.allowed, want.allowed);
            })
        }

        fn probe(&mut self, _want: &DenySet, _now: Timestamp) -> Result<Probe, DenyError> {
            let mut world = lock(&self.0);
            world.probes += 1;
            if let Some(long) = world.restless {
                let begun = clock::monotonic();
                kit::until("the look is over", || (clock::monotonic() >= begun + long).then_some(()));
                world.looked.push((begun, clock::monotonic()));
            }
            match world.odd {
                _ if world.tampered || world.probe_broken => Err(fault("changed")),
                0 => Ok(Probe::Ours),
                missing => Ok(Probe::Changed { what: "some".to_owned(), missing }),
            }
        }

        fn mend(&mut self, _want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
            lock(&self.0).odd = 0;
            Ok(())
        }

        fn stirs(&self) -> Option<BorrowedFd<'_>> {
            lock(&self.0).restless.map(|_| self.1.as_fd())
        }
    }

    const ALWAYS_ALLOWED: u64 = 5;

    fn begin() -> DenySet {
        DenySet { allowed: vec![only(ALWAYS_ALLOWED)], ..DenySet::default() }
    }

    type Clock = Box<dyn Fn() -> (Timestamp, Instant)>;

    /// A reconciler whose clock moves when it waits, and the engine that tells it.
    struct Story {
        reconciler: Reconciler<Clock>,
        feed: Option<Feed>,
        time: Arc<Mutex<Instant>>,
        fake: Fake,
        wanted: DenySet,
        /// How often the whole set was asked for.
        wholes: usize,
    }

    impl Story {
        fn new(world: World) -> Self {
            let fake = Fake(Arc::new(Mutex::new(world)), Arc::new(EventFd::from_value(1).unwrap()));
            let time = Arc::new(Mutex::new(crate::clock::monotonic()));
            let seen = Arc::clone(&time);
            let clock: Clock = Box::new(move || (Timestamp(7), *lock(&seen)));
            let pace = Pace {
                retry_first: Duration::from_millis(1),
                retry_max: Duration::from_millis(4),
                probe_every: Duration::from_millis(2),
                probe_max: Duration::from_millis(4),
                watched_every: Duration::from_millis(2),
                replace_every: Duration::from_secs(3600),
                unrested: Duration::ZERO,
            };
            let (reconciler, feed) = Reconciler::new(Box::new(fake.clone()), begin(), clock, pace).unwrap();
            Story { reconciler, feed: Some(feed), time, fake, wanted: begin(), wholes: 0 }
        }

        fn change(&mut self, diff: &Diff) {
            self.wanted.apply(diff);
            let wholes = std::cell::Cell::new(0);
            if let Some(feed) = &self.feed {
                feed.send(diff, || {
                    wholes.set(1);
                    self.wanted.clone()
                });
            }
            self.wholes += wholes.get();
        }

        /// Lets it work, and the time pass that it then waits.
        fn step(&mut self) {
            let wake = self.reconciler.step();
            let mut time = lock(&self.time);
            *time = (*time).max(wake);
        }

        fn until(&mut self, what: &str, met: impl Fn(&Self) -> bool) {
            for _ in 0..1_000 {
                if met(self) {
                    return;
                }
                self.step();
            }
            panic!("never: {what}");
        }

        fn world(&self) -> MutexGuard<'_, World> {
            lock(&self.fake.0)
        }

        /// How often it was told to update, and to replace.
        fn orders(&self) -> (usize, usize) {
            let world = self.world();
            (world.updates, world.replaces)
        }

        fn status(&self) -> Status {
            lock(&self.reconciler.shared.status).clone()
        }

        fn is_equal(&self) -> bool {
            let world = self.world();
            world.set.denied == self.wanted.denied && world.set.allowed == self.wanted.allowed && !world.tampered
        }

        fn stop(mut self) -> (Fake, DenySet) {
            drop(self.feed.take());
            self.reconciler.run(mpsc::channel().0);
            (self.fake, self.wanted)
        }
    }

    fn deny(n: u64) -> Diff {
        Diff { denies: [(Prefix::host(address(n)), Some(None))].into(), ..Diff::default() }
    }

    fn some_diff(random: &mut Random) -> Diff {
        let mut diff = Diff::default();
        for _ in 0..random.below(4) {
            let prefix = Prefix::of(address(random.below(16)), 28 + random.below(5) as u8);
            let until = Some(Timestamp(random.below(9) as i64));
            diff.denies.insert(prefix, (random.below(3) > 0).then_some(until));
        }
        if random.below(5) == 0 {
            diff.allowed = Some(vec![only(ALWAYS_ALLOWED), only(random.below(16))]);
        }
        diff
    }

    #[test]
    fn converges_whatever_fails() {
        let mut wholes = 0;
        for seed in 1..=40 {
            println!("seed {seed}");
            let mut random = Random::seeded(seed);
            let mut story = Story::new(World { faults: Some(Random::seeded(seed + 1000)), ..World::default() });
            for _ in 0..200 {
                story.change(&some_diff(&mut random));
                if random.below(100) == 0 {
                    // more than the inbox holds, and gone again
                    let many = 256..256 + CHANGES_MAX as u64 + 1;
                    let denies = many.map(|n| (Prefix::host(address(n)), None)).collect();
                    story.change(&Diff { denies, ..Diff::default() });
                }
                if random.below(20) == 0 {
                    story.feed.as_ref().unwrap().rewrite();
                }
                if random.below(2) == 0 {
                    story.step();
                }
            }
            story.world().faults = None;
            story.until("equal", |story| story.is_equal() && story.status().error.is_none());
            let wanted = story.wanted.denied.len();
            story.until("status", |story| story.status().wanted == wanted && story.status().enforced == wanted);
            wholes += story.wholes;
            let (fake, wanted) = story.stop();
            assert_eq!(lock(&fake.0).set.denied, wanted.denied, "stopping leaves the denies");
        }
        assert!(wholes > 20, "{wholes}");
    }

    #[test]
    fn waiting_changes_are_one_update() {
        let mut story = Story::new(World::default());
        story.step();
        assert_eq!(story.status().replaced, Some(At(Timestamp(7))));
        (0..100).for_each(|n| story.change(&deny(n)));
        story.step();
        assert_eq!(story.status().enforced, 100);
        assert_eq!((story.orders(), story.wholes), ((1, 1), 0));
    }

    #[test]
    fn a_full_inbox_becomes_the_whole_set_once() {
        let mut story = Story::new(World::default());
        story.step();
        (0..=CHANGES_MAX as u64 + 9).for_each(|n| story.change(&deny(n)));
        story.step();
        assert_eq!(story.status().enforced, CHANGES_MAX + 10);
        assert_eq!((story.orders(), story.wholes), ((0, 2), 1));
    }

    #[test]
    fn retries_while_broken_and_says_so() {
        let mut story = Story::new(World { broken: true, ..World::default() });
        story.change(&deny(1));
        story.until("five tries", |story| story.world().replaces >= 5);
        let (error, since) = (story.status().error, story.status().failing_since);
        assert_eq!((error.as_deref(), since), (Some("fake: cannot try: refused"), Some(At(Timestamp(7)))));
        assert_eq!((story.status().enforced, story.status().replaced), (0, None));
        story.world().broken = false;
        story.until("enforced", |story| story.status().enforced == 1 && story.status().error.is_none());
        // what waits while broken is not lost at the end
        story.world().broken = true;
        story.change(&deny(2));
        story.until("failing", |story| story.status().error.is_some());
        story.world().broken = false;
        let (fake, _) = story.stop();
        assert!(dropped(&lock(&fake.0).set, 2));
    }

    #[test]
    fn it_is_told_once_that_all_is_enforced() {
        let mut story = Story::new(World { broken: true, ..World::default() });
        let (enforces, each) = mpsc::channel();
        story.reconciler.enforces = Some(enforces.clone());
        story.until("three tries", |story| story.world().replaces >= 3);
        assert_eq!(each.try_recv(), Err(mpsc::TryRecvError::Empty));
        story.world().broken = false;
        story.until("enforced", |story| story.status().replaced.is_some());
        assert_eq!((each.try_recv(), each.try_recv()), (Ok(true), Err(mpsc::TryRecvError::Empty)));
        enforces.send(true).unwrap();
        enforces.send(false).unwrap();
        assert!(!Enforced { each, count: 2, give_up: enforces }.wait(), "it was told to give up");
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let mut story = Story::new(World { broken: true, ..World::default() });
        let mut at = *lock(&story.time);
        let mut pauses = Vec::new();
        for _ in 0..4 {
            story.step();
            let now = *lock(&story.time);
            pauses.push((now - at).as_millis());
            at = now;
        }
        assert_eq!(pauses, [1, 2, 4, 4]);
    }

    #[test]
    fn a_probe_that_always_fails_slows_down() {
        let mut story = Story::new(World { probe_broken: true, ..World::default() });
        story.until("three probes", |story| story.world().probes >= 3);
        assert_eq!(story.status().error.unwrap(), "fake: cannot try: changed");
        assert_eq!(story.reconciler.probe_pause, story.reconciler.pace.probe_max);
        let (fake, _) = story.stop();
        let world = lock(&fake.0);
        assert!(world.replaces >= world.probes && world.replaces <= world.probes + 1, "each is followed by a replace");
    }

    #[test]
    fn what_others_change_is_mended_and_counted() {
        let mut story = Story::new(World::default());
        story.change(&deny(1));
        story.step();
        for times in 1..=3 {
            story.world().odd = 1;
            story.reconciler.stirred = true;
            let replaces = story.world().replaces;
            story.until("mended", |story| story.status().healed == times);
            let enforced = story.status().enforced;
            let world = story.world();
            assert_eq!((world.odd, enforced, world.replaces), (0, 1, replaces));
        }
        // somebody who does it again and again is not answered more often than ten times a second
        let begun = *lock(&story.time);
        for _ in 0..20 {
            story.world().odd = 1;
            story.reconciler.stirred = true;
            story.step();
        }
        let (took, healed) = (*lock(&story.time) - begun, u128::from(story.status().healed - 3));
        assert!(healed >= 2 && took.as_millis() >= 100 * (healed - 1), "{healed} times in {took:?}");
    }

    /// Each look reads all of the set, and something is new again when it ends.
    #[test]
    fn looking_takes_a_share_of_the_time() {
        let long = Duration::from_millis(10);
        let world = World { restless: Some(long), ..World::default() };
        let fake = Fake(Arc::new(Mutex::new(world)), Arc::new(EventFd::from_value(1).unwrap()));
        let time = || (Timestamp(7), clock::monotonic());
        let pace = Pace { unrested: Duration::ZERO, ..Pace::default() };
        let reconcilers = Reconcilers::start(vec![Box::new(fake.clone())], begin(), time, pace).unwrap();
        kit::until("many looks", || (lock(&fake.0).looked.len() > 8).then_some(()));
        assert!(reconcilers.stop(Duration::from_secs(10)));
        // the first follows what was written, and the next is the first that is due to what others did
        for pair in lock(&fake.0).looked[1..].windows(2) {
            let ((begun, ended), (again, _)) = (pair[0], pair[1]);
            assert!(again - ended >= (ended - begun) * REST, "{:?} after {:?}", again - ended, ended - begun);
        }
    }

    #[test]
    fn what_is_enforced_is_what_all_enforce() {
        let status = |enforced| Status { enforced, ..Status::default() };
        assert_eq!(enforced(&[status(3), status(2)]), 2);
        assert_eq!(enforced(&[]), 0);
        // Where connections cannot be cut, denies are enforced all the same.
        assert_eq!(enforced(&[status(3), Status { cuts: true, ..status(0) }]), 3);
    }

    #[test]
    fn what_hung_is_done_again_within_a_minute() {
        let check = |works: &[(u64, u64)], want: &[u64]| {
            let begun = clock::monotonic();
            let mut share = Share::new(Duration::from_secs(2), begun);
            let at = |ms: u64| begun + Duration::from_millis(ms);
            let rests = works.iter().map(|&(from, to)| share.rest(at(from), at(to)).as_millis() as u64);
            assert_eq!(rests.collect::<Vec<_>>(), want, "{works:?}");
        };
        // Two seconds are without a rest; then four times as long as it took, but for what was saved meanwhile.
        check(&[(0, 500), (500, 1500), (1500, 2500), (4500, 5000)], &[0, 0, 2000, 2000]);
        check(&[(0, 2000), (7000, 8000), (9000, 9400)], &[0, 0, 800]);
        check(&[(0, 2000), (3_600_000, 3_602_000)], &[0, 0]);
        check(&[(0, 90_000)], &[60_000]);
        let mut story = Story::new(World::default());
        story.step();
        // It took so long to look, or to write all of it.
        let hangs = Arc::clone(&story.time);
        story.reconciler.clock = Box::new(move || {
            let mut time = lock(&hangs);
            *time += Duration::from_secs(90);
            (Timestamp(7), *time)
        });
        story.reconciler.stirred = true;
        story.reconciler.look();
        let now = *lock(&story.time);
        assert!(story.reconciler.deaf_until > now && story.reconciler.deaf_until <= now + REST_MAX);
        story.reconciler.stale = true;
        story.reconciler.replace();
        let now = *lock(&story.time);
        assert!(story.reconciler.mend_from <= now + REST_MAX);
    }
}
