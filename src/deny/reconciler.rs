//! Keeps one back end's set equal to the one that was decided, whatever fails.
//!
//! The engine sends numbered changes and never waits: what does not fit into the inbox is dropped, the gap
//! in the numbers is noticed, and a snapshot is asked for. A batch of waiting changes is one `update`. The
//! whole set is replaced at the start, after any error or clock step, and once a day; a probe every few
//! seconds notices when somebody else changed it. The reconciler knows nothing of firewalls and decides
//! nothing. When it ends, the denies stay in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use inputs::record::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::decide::prefix::Prefix;

use super::{DenyBackend, DenyError, DenySet, Diff, Probe, Until};

/// What a reconciler is told. Numbers go up by one from each to the next, starting anywhere.
#[derive(Debug)]
pub enum Command {
    /// The set changed.
    Update {
        /// The number of this command.
        seq: u64,
        /// What changed.
        diff: Diff,
    },
    /// The set did not change, but must be written anew: after a clock step (kernel timeouts are monotonic).
    Replace {
        /// The number of this command.
        seq: u64,
    },
}

/// A question for the whole set, answered with the number of the last command that is in it.
#[derive(Debug)]
pub struct SnapshotRequest {
    /// Where the answer goes. Dropping it unanswered makes the reconciler ask again later.
    pub reply: oneshot::Sender<(u64, DenySet)>,
}

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
    /// Between two calls of `replace` when nothing is wrong.
    pub replace_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            probe_every: Duration::from_secs(5),
            probe_max: Duration::from_secs(10),
            replace_every: Duration::from_secs(24 * 3600),
        }
    }
}

/// How a back end is doing; for `denyd status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The back end's name.
    pub name: String,
    /// How many prefixes are to be denied.
    pub wanted: usize,
    /// How many of them were denied when the back end last did what it was told; 0 once a probe failed.
    pub enforced: usize,
    /// What is wrong, and since when; `None` while all is well.
    pub failing: Option<(String, Timestamp)>,
    /// When the whole set was last written.
    pub replaced: Option<Timestamp>,
}

/// The engine's end of a reconciler.
#[derive(Clone, Debug)]
pub struct Feed {
    inbox: mpsc::Sender<Command>,
    missed: Arc<Notify>,
}

impl Feed {
    /// Hands over a command; never waits. If the inbox is full the reconciler is told to ask for a snapshot.
    pub fn send(&self, command: Command) {
        // a closed inbox is a reconciler that has ended, at shutdown: nobody to tell
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbox.try_send(command) {
            self.missed.notify_one();
        }
    }
}

/// Drives one back end; see the module.
pub struct Reconciler<B, C> {
    backend: B,
    clock: C,
    pace: Pace,
    inbox: mpsc::Receiver<Command>,
    missed: Arc<Notify>,
    snapshots: mpsc::Sender<SnapshotRequest>,
    status: watch::Sender<Status>,
    want: DenySet,
    /// The last command that is in `want`.
    seq: u64,
    todo: Todo,
    /// Not before this; `None` = at once.
    retry_at: Option<Instant>,
    retry_pause: Duration,
    probe_pause: Duration,
    probe_at: Instant,
    replace_at: Instant,
    replaced_at: Instant,
    replace_took: Duration,
    /// Whether the error shown in the status came from a probe.
    probe_failed: bool,
    /// The error that was logged last, while it lasts.
    logged: Option<String>,
}

/// What has to be done to make the back end's set equal to ours; each contains those before it.
#[derive(Debug)]
enum Todo {
    Nothing,
    Update(Pending),
    Replace,
    /// Commands were lost: ask for the set, then replace.
    Snapshot,
}

/// What failed.
#[derive(Clone, Copy)]
enum Failed {
    Probe,
    /// `replace` or `update`.
    Order,
}

/// Changes that wait for one `update`. No larger than the sets before and after it.
#[derive(Debug, Default)]
struct Pending {
    /// The prefix's end, or `None` for a release.
    denied: BTreeMap<Prefix, Option<Until>>,
    allowed: bool,
}

impl<B: DenyBackend, C: Fn() -> Timestamp + Send> Reconciler<B, C> {
    /// A reconciler that starts with a snapshot, the engine's end of it, and its status.
    ///
    /// `snapshots` may be shared by several. It is small and served by the engine: a full one only means a wait.
    pub fn new(
        backend: B,
        clock: C,
        pace: Pace,
        snapshots: mpsc::Sender<SnapshotRequest>,
    ) -> (Self, Feed, watch::Receiver<Status>) {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let missed = Arc::new(Notify::new());
        let feed = Feed { inbox: sender, missed: Arc::clone(&missed) };
        let (status, watched) = watch::channel(Status { name: backend.name().to_owned(), ..Status::default() });
        let reconciler = Reconciler {
            backend,
            clock,
            pace,
            inbox,
            missed,
            snapshots,
            status,
            want: DenySet::default(),
            seq: 0,
            todo: Todo::Snapshot,
            retry_at: None,
            retry_pause: pace.retry_first,
            probe_pause: pace.probe_every,
            probe_at: Instant::now(),
            replace_at: Instant::now(),
            replaced_at: Instant::now(),
            replace_took: Duration::ZERO,
            probe_failed: false,
            logged: None,
        };
        (reconciler, feed, watched)
    }

    /// Works until every [`Feed`] is gone, then carries out what it was told last, once, and returns the back end.
    pub async fn run(mut self) -> B {
        self.probe_at = Instant::now() + self.pace.probe_every;
        self.replace_at = Instant::now() + self.pace.replace_every;
        loop {
            self.act().await;
            let wake = match (&self.todo, self.retry_at) {
                (Todo::Nothing, _) | (_, None) => self.probe_at.min(self.replace_at),
                (_, Some(at)) => at,
            };
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(command) => self.take(command),
                    None => break,
                },
                () = self.missed.notified() => self.todo = Todo::Snapshot,
                () = tokio::time::sleep_until(wake) => self.tick().await,
            }
            // what else waits goes into the same update; bounded, so that a flood cannot hold up the work
            for _ in 0..INBOX_MAX {
                let Ok(command) = self.inbox.try_recv() else { break };
                self.take(command);
            }
            self.status.send_if_modified(|status| {
                let changed = status.wanted != self.want.denied.len();
                status.wanted = self.want.denied.len();
                changed
            });
        }
        self.retry_at = None;
        self.act().await;
        self.backend
    }

    /// Takes a command into `want`.
    fn take(&mut self, command: Command) {
        let (Command::Update { seq, .. } | Command::Replace { seq }) = command;
        if matches!(self.todo, Todo::Snapshot) || seq <= self.seq {
            return; // it is, or will be, in the snapshot
        }
        if seq != self.seq + 1 {
            self.todo = Todo::Snapshot;
            return;
        }
        self.seq = seq;
        match command {
            Command::Replace { .. } => self.todo = Todo::Replace,
            Command::Update { diff, .. } if diff.is_empty() => {}
            Command::Update { diff, .. } => {
                if matches!(self.todo, Todo::Nothing) {
                    self.todo = Todo::Update(Pending::default());
                }
                if let Todo::Update(pending) = &mut self.todo {
                    pending.allowed |= diff.allowed.is_some();
                    pending.denied.extend(diff.released.iter().map(|prefix| (*prefix, None)));
                    pending.denied.extend(diff.denied.iter().map(|(prefix, until)| (*prefix, Some(*until))));
                }
                self.want.apply(diff);
            }
        }
    }

    /// What is due by time alone.
    async fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.replace_at {
            self.replace_at = now + self.pace.replace_every;
            if !matches!(self.todo, Todo::Snapshot) {
                self.todo = Todo::Replace;
            }
        }
        if now < self.probe_at || !matches!(self.todo, Todo::Nothing) {
            return;
        }
        match self.backend.probe().await {
            Ok(probe) => {
                self.probe_pause = self.pace.probe_every;
                self.probe_failed = false;
                self.well();
                if probe == Probe::Touched {
                    self.replace_at =
                        self.replace_at.min(now.max(self.replaced_at + self.replace_took * REPLACE_SHARE));
                }
            }
            Err(error) => {
                self.probe_pause = (self.probe_pause * 2).min(self.pace.probe_max);
                self.probe_failed = true;
                self.status.send_modify(|status| status.enforced = 0);
                self.failed(&error, Failed::Probe);
                self.todo = Todo::Replace;
            }
        }
        self.probe_at = Instant::now() + self.probe_pause;
    }

    /// Does what is to be done, unless it is too early for another try.
    async fn act(&mut self) {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        if matches!(self.todo, Todo::Snapshot) {
            match self.snapshot().await {
                Some((seq, set)) => {
                    (self.seq, self.want) = (seq, set);
                    self.todo = Todo::Replace;
                }
                // a shutdown, or an engine that is too busy to answer; what is in force stays
                None => return self.pause(),
            }
        }
        if let Todo::Update(pending) = &mut self.todo {
            let diff = std::mem::take(pending).into_diff(&self.want);
            match self.backend.update(&diff, &self.want, (self.clock)()).await {
                Ok(()) => {
                    self.todo = Todo::Nothing;
                    self.done(None);
                }
                Err(error) => {
                    self.failed(&error, Failed::Order);
                    self.todo = Todo::Replace; // at once: it mends whatever made the update fail
                }
            }
        }
        if matches!(self.todo, Todo::Replace) {
            let now = (self.clock)();
            let begun = Instant::now();
            match self.backend.replace(&self.want, now).await {
                Ok(()) => {
                    self.todo = Todo::Nothing;
                    self.replaced_at = Instant::now();
                    self.replace_took = self.replaced_at - begun;
                    self.done(Some(now));
                }
                Err(error) => {
                    self.failed(&error, Failed::Order);
                    self.pause();
                }
            }
        }
    }

    async fn snapshot(&self) -> Option<(u64, DenySet)> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.snapshots.send(SnapshotRequest { reply }).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(SNAPSHOT_WAIT, asked).await.ok()?
    }

    fn pause(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(self.pace.retry_max);
    }

    fn done(&mut self, replaced: Option<Timestamp>) {
        self.retry_at = None;
        self.retry_pause = self.pace.retry_first;
        let count = self.want.denied.len();
        self.status.send_modify(|status| {
            (status.wanted, status.enforced) = (count, count);
            status.replaced = replaced.or(status.replaced);
        });
        // whether a failed probe is mended only the next one can say
        if !self.probe_failed {
            self.well();
        }
    }

    fn well(&mut self) {
        if self.logged.take().is_some() {
            info!(backend = self.backend.name(), denied = self.want.denied.len(), "denies are enforced again");
        }
        self.status.send_if_modified(|status| status.failing.take().is_some());
    }

    /// Shows an error, and logs it if it is not the one that was logged last.
    fn failed(&mut self, error: &DenyError, what: Failed) {
        let text = error.to_string();
        let now = (self.clock)();
        self.status.send_modify(|status| match &mut status.failing {
            Some((same, _)) if *same == text => {}
            failing => *failing = Some((text.clone(), now)),
        });
        if self.logged.as_ref() == Some(&text) {
            return;
        }
        let (tried, cause, remedy) = (&error.tried, &error.cause, error.remedy.unwrap_or("none known"));
        match what {
            Failed::Probe => {
                warn!(backend = error.backend, %tried, %cause, remedy, "denies were changed by someone else")
            }
            Failed::Order => error!(backend = error.backend, %tried, %cause, remedy, "denies cannot be enforced"),
        }
        self.logged = Some(text);
    }
}

impl Pending {
    fn into_diff(self, want: &DenySet) -> Diff {
        let mut diff = Diff { allowed: self.allowed.then(|| want.allowed.clone()), ..Diff::default() };
        for (prefix, until) in self.denied {
            match until {
                Some(until) => diff.denied.push((prefix, until)),
                None => diff.released.push(prefix),
            }
        }
        diff
    }
}

/// Commands that may wait. At 1 000 denies a second this is a quarter of a second of a busy back end.
pub const INBOX_MAX: usize = 256;
/// Replacing because somebody touched something takes one part in so many of the time, whoever commits how often.
const REPLACE_SHARE: u32 = 100;
/// How long the engine may take to answer.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::AllowRange;
    use kit::Random;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
    }

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<World>>);

    fn fault(text: &str) -> DenyError {
        DenyError { backend: "fake", tried: "try".to_owned(), cause: text.to_owned(), remedy: None }
    }

    fn address(n: u64) -> std::net::IpAddr {
        std::net::IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0200 + n as u32))
    }

    fn dropped(set: &DenySet, n: u64) -> bool {
        let host = Prefix::host(address(n));
        let allowed = set.allowed.iter().any(|a| (a.first..=a.last).contains(&address(n)));
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
        fn name(&self) -> &str {
            "fake"
        }

        async fn replace(&mut self, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
            tokio::task::yield_now().await;
            let mut world = self.0.lock().unwrap();
            world.replaces += 1;
            world.tampered = false;
            world.order(|set| *set = want.clone())
        }

        async fn update(&mut self, diff: &Diff, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
            tokio::task::yield_now().await;
            let mut world = self.0.lock().unwrap();
            world.updates += 1;
            if world.tampered {
                return Err(fault("no such set"));
            }
            world.order(|set| {
                set.apply(diff.clone());
                assert_eq!(set.denied, want.denied, "the diff leads to what is wanted");
                assert_eq!(set.allowed, want.allowed);
            })
        }

        async fn probe(&mut self) -> Result<Probe, DenyError> {
            let mut world = self.0.lock().unwrap();
            world.probes += 1;
            if world.tampered || world.probe_broken { Err(fault("changed")) } else { Ok(Probe::Ours) }
        }
    }

    const ALWAYS_ALLOWED: u64 = 5;

    /// An engine with its set, that answers for snapshots.
    #[derive(Clone)]
    struct Engine {
        state: Arc<Mutex<(u64, DenySet)>>,
        snapshots: Arc<AtomicUsize>,
    }

    impl Default for Engine {
        fn default() -> Self {
            let always = AllowRange { first: address(ALWAYS_ALLOWED), last: address(ALWAYS_ALLOWED) };
            let set = DenySet { allowed: vec![always], ..DenySet::default() };
            Engine { state: Arc::new(Mutex::new((0, set))), snapshots: Arc::default() }
        }
    }

    impl Engine {
        fn serve(&self) -> mpsc::Sender<SnapshotRequest> {
            let (sender, mut asked) = mpsc::channel::<SnapshotRequest>(4);
            let engine = self.clone();
            tokio::spawn(async move {
                while let Some(request) = asked.recv().await {
                    engine.snapshots.fetch_add(1, Ordering::Relaxed);
                    let state = engine.state.lock().unwrap().clone();
                    _ = request.reply.send(state);
                }
            });
            sender
        }

        fn change(&self, diff: Diff, feed: &Feed) {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            state.1.apply(diff.clone());
            feed.send(Command::Update { seq: state.0, diff });
        }
    }

    fn pace() -> Pace {
        Pace {
            retry_first: Duration::from_millis(1),
            retry_max: Duration::from_millis(4),
            probe_max: Duration::from_millis(4),
            probe_every: Duration::from_millis(2),
            replace_every: Duration::from_secs(3600),
        }
    }

    fn deny(n: u64) -> Diff {
        Diff { denied: vec![(Prefix::host(address(n)), None)], ..Diff::default() }
    }

    /// Waits, at most 10 s, until `met`.
    async fn until(what: &str, mut met: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if met() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}");
    }

    fn some_diff(random: &mut Random) -> Diff {
        let mut diff = Diff::default();
        for _ in 0..random.below(4) {
            let prefix = Prefix::of(address(random.below(16)), 28 + random.below(5) as u8);
            match random.below(3) {
                0 => diff.released.push(prefix),
                _ => diff.denied.push((prefix, Some(Timestamp(random.below(9) as i64)))),
            }
        }
        if random.below(5) == 0 {
            let other = address(random.below(16));
            let always = AllowRange { first: address(ALWAYS_ALLOWED), last: address(ALWAYS_ALLOWED) };
            diff.allowed = Some(vec![always, AllowRange { first: other, last: other }]);
        }
        diff
    }

    #[tokio::test]
    async fn converges_whatever_fails() {
        for seed in 1..=40 {
            println!("seed {seed}");
            let mut random = Random::seeded(seed);
            let (engine, fake) = (Engine::default(), Fake::default());
            fake.0.lock().unwrap().faults = Some(Random::seeded(seed + 1000));
            let (reconciler, feed, status) = Reconciler::new(fake.clone(), || Timestamp(7), pace(), engine.serve());
            let task = tokio::spawn(reconciler.run());
            for _ in 0..200 {
                // now and then more than the inbox holds
                for _ in 0..if random.below(50) == 0 { INBOX_MAX + 9 } else { 1 } {
                    engine.change(some_diff(&mut random), &feed);
                }
                if random.below(20) == 0 {
                    let mut state = engine.state.lock().unwrap();
                    state.0 += 1;
                    feed.send(Command::Replace { seq: state.0 });
                }
                tokio::task::yield_now().await;
            }
            fake.0.lock().unwrap().faults = None;
            let same = || {
                let (world, state) = (fake.0.lock().unwrap(), engine.state.lock().unwrap());
                world.set.denied == state.1.denied && world.set.allowed == state.1.allowed && !world.tampered
            };
            until("equal", || same() && status.borrow().failing.is_none()).await;
            let wanted = engine.state.lock().unwrap().1.denied.len();
            until("status", || status.borrow().wanted == wanted && status.borrow().enforced == wanted).await;
            drop(feed);
            task.await.unwrap();
            assert!(same(), "stopping leaves the denies");
        }
    }

    #[tokio::test]
    async fn waiting_changes_are_one_update() {
        let (engine, fake) = (Engine::default(), Fake::default());
        let (reconciler, feed, status) = Reconciler::new(fake.clone(), || Timestamp(7), pace(), engine.serve());
        let task = tokio::spawn(reconciler.run());
        until("first replace", || status.borrow().replaced == Some(Timestamp(7))).await;
        for n in 0..100 {
            engine.change(deny(n), &feed);
        }
        until("enforced", || status.borrow().enforced == 100).await;
        drop(feed);
        task.await.unwrap();
        let world = fake.0.lock().unwrap();
        assert!(world.updates <= 2, "{} updates", world.updates);
        assert_eq!((world.replaces, engine.snapshots.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn a_full_inbox_is_healed_without_a_further_command() {
        let (engine, fake) = (Engine::default(), Fake::default());
        let (reconciler, feed, status) = Reconciler::new(fake.clone(), || Timestamp(7), pace(), engine.serve());
        for n in 0..=INBOX_MAX as u64 {
            engine.change(deny(n), &feed); // nobody reads yet
        }
        let task = tokio::spawn(reconciler.run());
        until("enforced", || status.borrow().enforced == INBOX_MAX + 1).await;
        drop(feed);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn retries_while_broken_and_says_so() {
        let (engine, fake) = (Engine::default(), Fake::default());
        fake.0.lock().unwrap().broken = true;
        let (reconciler, feed, status) = Reconciler::new(fake.clone(), || Timestamp(7), pace(), engine.serve());
        let task = tokio::spawn(reconciler.run());
        engine.change(deny(1), &feed);
        until("five tries", || fake.0.lock().unwrap().replaces >= 5).await;
        let failing = status.borrow().failing.clone();
        assert_eq!(failing, Some(("fake: cannot try: refused".to_owned(), Timestamp(7))));
        assert_eq!((status.borrow().enforced, status.borrow().replaced), (0, None));
        fake.0.lock().unwrap().broken = false;
        until("enforced", || status.borrow().enforced == 1 && status.borrow().failing.is_none()).await;
        // what waits while broken is not lost at the end
        fake.0.lock().unwrap().broken = true;
        engine.change(deny(2), &feed);
        until("failing", || status.borrow().failing.is_some()).await;
        fake.0.lock().unwrap().broken = false;
        drop(feed);
        task.await.unwrap();
        assert!(dropped(&fake.0.lock().unwrap().set, 2));
    }

    #[tokio::test]
    async fn a_probe_that_always_fails_slows_down() {
        let (engine, fake) = (Engine::default(), Fake::default());
        fake.0.lock().unwrap().probe_broken = true;
        let slow = Pace { retry_max: Duration::from_secs(60), ..pace() };
        let (reconciler, feed, status) = Reconciler::new(fake.clone(), || Timestamp(7), slow, engine.serve());
        let task = tokio::spawn(reconciler.run());
        until("three probes", || fake.0.lock().unwrap().probes >= 3).await;
        assert_eq!(status.borrow().failing.as_ref().unwrap().0, "fake: cannot try: changed");
        drop(feed);
        task.await.unwrap();
        let world = fake.0.lock().unwrap();
        assert!(world.replaces >= world.probes && world.replaces <= world.probes + 1, "each is followed by a replace");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_answer_costs_nothing_but_time() {
        let fake = Fake::default();
        let (snapshots, asked) = mpsc::channel(1);
        drop(asked);
        let (reconciler, feed, _status) = Reconciler::new(fake.clone(), || Timestamp(7), pace(), snapshots);
        let task = tokio::spawn(reconciler.run());
        // The clock jumps on whenever all wait: ten seconds of tries in no time.
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(feed);
        task.await.unwrap();
        assert_eq!(fake.0.lock().unwrap().replaces, 0, "an empty set would have released everybody");
    }
}
