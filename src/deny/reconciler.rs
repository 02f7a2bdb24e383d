//! Keeps one back end's set equal to the one that was decided, whatever fails.
//!
//! The engine leaves its changes in an inbox and never waits: what lies there already is joined with them, and if too
//! much does, the whole set takes its place. What the inbox holds is one `update`. The whole set is replaced at the
//! start, after any error or clock step, and once a day. A probe notices when somebody else changed it: at once where the
//! back end hears of changes, else every few seconds; what was changed is mended, and that is counted. Whatever others do
//! again and again, looking takes a fifth of the time and mending another at most; neither is put off by more than a minute. The
//! reconciler knows nothing of firewalls and decides nothing. It has a thread; when that ends, the denies stay in force.

mod inbox;
mod share;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

pub(crate) use inbox::Feed;
use inbox::{Inbox, Shared, lock};
use share::Share;

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

/// Between two mendings at least, so that our log has ten lines a second of them at most.
const MEND_PAUSE_MIN: Duration = Duration::from_millis(100);
/// How long a back end is not listened to after it stirred: others may commit all the time, and so do we.
const DEAF: Duration = Duration::from_millis(20);
