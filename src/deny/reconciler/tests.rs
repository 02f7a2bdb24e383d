use super::inbox::CHANGES_MAX;
use super::share::{REST, REST_MAX};
use super::*;
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use kit::Random;
use std::os::fd::BorrowedFd;
use std::sync::MutexGuard;

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
