//! Denied means denied, and nobody else: random orders, records, tampering, faults, crashes and clocks, over engine, real
//! database, desk and reconcilers, with a firewall that is a model and a clock that the simulation turns.
//!
//! Two things must hold. Whoever this machine or its configuration allows is never dropped. And once all is quiet, each
//! address is dropped by each firewall or not as the [`oracle`] says, which knows README and no line of the engine.
//!
//! A story that fails shrinks, prints its choices, and is kept in `tests/regressions`; `DENYD_SEED` repeats a run.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inputs::cursor::{Cursor, FileCursor};
use inputs::record::{SourceId, Timestamp};
use inputs::syslog::parse::Parser;
use kit::Random;

use super::super::wall::{Wall, WallGuard};
use crate::clock;
use crate::decide::machine::Machine;
use crate::decide::policy::{Class, Policy, Threshold};
use crate::deny::Diff;
use crate::deny::reconciler::{Feed, Pace, Reconciler};
use crate::desk::reply::Reply;
use crate::desk::{Asked, Committed, Desk, Effects, Request};
use crate::intake::{Counts, Source};
use crate::store::{FILE, Store};

mod kernel;
mod oracle;

use kernel::{Clock, Kernel, Model, lock};
use oracle::{DENY_FOR, Net, Oracle, Time};

/// How long it runs, times `DENYD_LONG`.
const FOR: Duration = Duration::from_secs(60);
/// Stories between two looks at the time.
const STORIES: u32 = 20;
/// Stories of which one must show a fault that is planted.
const FOUND_WITHIN: u64 = 300;
/// What happens in a story.
const EVENTS: usize = 60;
/// Where the clock begins: 2026-11-01T00:00:00Z.
const BEGIN: Time = 1_793_491_200;
/// The clock is so many seconds off, times at most so many: never by so much that what is over was so an hour ago. A step
/// of less than a minute is none to us, and a deny may end by so much too early or too late.
const OFF: (i64, i64) = (100, 15);
/// The input's name.
const LOG: &str = "log";

/// A fault of ours that must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// What is allowed is not written.
    AllowIgnored,
    /// Nothing ever ends.
    ExpiryIgnored,
    /// Who is released stays denied.
    ReleaseForgotten,
    /// What failed is taken for done.
    ErrorIgnored,
    /// What others change is not seen.
    TamperingUnseen,
    /// Timeouts are not written anew after the clock was set.
    StepIgnored,
    /// After a crash the log is read from its beginning.
    ReadTwice,
    /// After a crash the log is read from its end.
    Unread,
    /// What was decided and not told early is never told.
    CommitUntold,
}

type Now = Box<dyn Fn() -> (Timestamp, Instant)>;

/// Everything, and what it must come to.
struct Story<'a> {
    random: &'a mut Random,
    plant: Option<Plant>,
    dir: tempfile::TempDir,
    /// How often it was killed: each time what is on disk is copied as it is.
    kills: usize,
    clock: Clock,
    /// How far the clock is off.
    off: i64,
    guard: WallGuard,
    desk: Desk,
    source: Source,
    /// All lines that were ever written, and how many were read.
    log: Vec<(String, IpAddr, Time)>,
    read: usize,
    kernels: [Arc<Mutex<Kernel>>; 2],
    back_ends: Vec<(usize, Reconciler<Now>, Feed)>,
    oracle: Oracle,
    /// What the database has of it, and how many lines that is.
    committed: (Oracle, usize),
    is_spoilt: bool,
    told: Vec<String>,
}

/// All addresses there are: of IPv4 and of two /64.
fn world() -> Vec<IpAddr> {
    let ipv4 = (0..16).map(|n| format!("192.0.2.{n}"));
    let ipv6 = (0..8).map(|n| format!("2001:db8:0:{}::{}", n % 2, n));
    ipv4.chain(ipv6).map(|text| text.parse().unwrap()).collect()
}

fn net(text: &str) -> Net {
    let (address, len) = text.split_once('/').unwrap();
    Net::of(address.parse().unwrap(), len.parse().unwrap())
}

/// This machine, and what the configuration allows now and then.
const OWN: [&str; 2] = ["192.0.2.1/32", "2001:db8:0:1::1/128"];
const CONFIGURED: &str = "192.0.2.4/31";

fn policy(is_configured: bool) -> Policy {
    let own = OWN.map(|text| text.parse().unwrap()).to_vec();
    let mut policy = Policy {
        age_reset: [None; 5],
        deny_for: Some(Duration::from_secs(DENY_FOR as u64)),
        probation: None,
        wider_nets: false,
        machine: Machine { own, ..Machine::default() },
        ..Policy::default()
    };
    policy.thresholds[Class::Root as usize] = Some(Threshold(1));
    if is_configured {
        policy.allow.add(CONFIGURED).unwrap();
    }
    policy
}

fn always(is_configured: bool) -> BTreeSet<Net> {
    OWN.iter().chain(is_configured.then_some(&CONFIGURED)).map(|text| net(text)).collect()
}

impl<'a> Story<'a> {
    fn new(random: &'a mut Random, plant: Option<Plant>) -> Self {
        // What is written to a disk for good would be most of the time.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let clock = Clock(Arc::new(Mutex::new((Timestamp::from_secs(BEGIN), clock::monotonic()))));
        let (wall, time) = clock.now();
        let desk = Desk::open(Store::open(&dir.path().join("0")).unwrap(), policy(false), wall).unwrap();
        let oracle = Oracle::new(world(), always(false));
        let mut story = Story {
            random,
            plant,
            dir,
            kills: 0,
            off: 0,
            guard: WallGuard::begin(None, wall, time),
            desk,
            source: Source::new(SourceId(0), None, "here"),
            log: Vec::new(),
            read: 0,
            kernels: Default::default(),
            back_ends: Vec::new(),
            committed: (oracle.clone(), 0),
            oracle,
            is_spoilt: false,
            told: Vec::new(),
            clock,
        };
        story.begin();
        story
    }

    fn wall(&self) -> Time {
        self.clock.now().0.secs()
    }

    /// A daemon that has opened its desk begins.
    fn begin(&mut self) {
        self.desk.number(&[LOG]).unwrap();
        self.source = Source::new(SourceId(0), None, "here");
        let want = self.desk.publish_all(self.clock.now().0);
        let kinds: &[usize] = self.random.of(&[&[0][..], &[1], &[0, 1]]);
        let pace = Pace::default();
        self.back_ends = kinds
            .iter()
            .map(|kind| {
                let kernel = self.kernels[*kind].clone();
                let random = Arc::new(Mutex::new(Random::seeded(self.random.number())));
                let model = Model { kernel, clock: self.clock.clone(), random, plant: self.plant };
                let clock = self.clock.clone();
                let now: Now = Box::new(move || clock.now());
                let (reconciler, feed) = Reconciler::new(Box::new(model), want.clone(), now, pace).unwrap();
                (*kind, reconciler, feed)
            })
            .collect();
    }

    fn publish(&self, diff: &Diff) {
        if !diff.is_empty() {
            self.back_ends.iter().for_each(|(.., feed)| feed.send(diff, || self.desk.wanted(self.clock.now().0)));
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        self.publish(&effects.publish);
    }

    fn committed(&mut self, Committed { publish, written }: Committed) {
        assert_eq!(written.is_err(), self.is_spoilt, "{written:?}");
        if self.plant != Some(Plant::CommitUntold) {
            self.publish(&publish);
        }
        if written.is_ok() {
            self.committed = (self.oracle.clone(), self.read);
        }
    }

    fn commit(&mut self) {
        let done = self.desk.commit(self.clock.now().0);
        self.committed(done);
    }

    /// What a person asks for; `false` if it was refused.
    fn ask(&mut self, request: &Request, done: impl FnOnce(&mut Oracle, &Reply)) -> bool {
        let Asked { reply, committed } = self.desk.ask(request, self.clock.now().0);
        if let Ok(reply) = &reply {
            done(&mut self.oracle, reply);
        }
        if let Some(committed) = committed {
            self.committed(committed);
        }
        reply.is_ok()
    }

    /// Reads what is new in the log.
    fn read(&mut self) {
        let lines = &self.log[self.read..];
        let mut batch = Parser::default().batch(self.clock.now().0, lines.iter().map(|(line, ..)| line.as_bytes()));
        self.read = self.log.len();
        let cursor = FileCursor { offset: self.read as u64, ..FileCursor::default() };
        batch.cursor = Some(Cursor::File(cursor));
        let wall = self.wall();
        for (_, address, at) in lines {
            self.oracle.fails(*address, *at, wall);
        }
        let now = self.clock.now().0;
        let effects = self.desk.fold(&mut self.source, &batch, &mut Counts::default(), now, |_| {});
        self.carry_out(effects);
    }

    /// Time passes, and the desk sees it, as its owner does.
    fn pass(&mut self, seconds: u64) {
        self.clock.pass(Duration::from_secs(seconds));
        let (wall, time) = self.clock.now();
        let wall_is = self.guard.tick(wall, time);
        if let Wall::SteadyAgain(after) = wall_is
            && self.plant != Some(Plant::StepIgnored)
        {
            self.back_ends.iter().for_each(|(.., feed)| feed.rewrite());
            let diff = self.desk.clock_was_set(after, wall);
            self.oracle.set_back(after.secs(), wall.secs());
            self.publish(&diff);
        }
        if matches!(wall_is, Wall::Steady | Wall::SteadyAgain(_)) && self.plant != Some(Plant::ExpiryIgnored) {
            let effects = self.desk.tick(wall);
            self.oracle.expire(wall.secs(), |_| true);
            self.carry_out(effects);
        }
    }

    fn step_back_ends(&mut self) {
        for (kind, reconciler, _) in &mut self.back_ends {
            reconciler.step();
            let kernel = lock(&self.kernels[*kind]);
            for address in OWN.map(|text| text.split_once('/').unwrap().0.parse().unwrap()) {
                let drops = kernel.drops(address, self.clock.now().1, self.plant);
                assert!(!drops || kernel.is_spoilt, "{address} is this machine's own, and dropped: {:#?}", self.told);
            }
        }
    }

    /// Ends without a word, or in peace, and begins again.
    fn restart(&mut self, is_killed: bool, is_configured: bool) {
        let from = self.state_dir();
        if is_killed {
            self.kills += 1;
            self.copy(&from);
        } else {
            self.commit();
        }
        let read;
        (self.oracle, read) = self.committed.clone();
        self.back_ends.clear();
        let (wall, time) = self.clock.now();
        // The one before is closed first.
        let none = Store::rehearse(Path::new("/nonexistent")).unwrap();
        self.desk = Desk::open(none, Policy::default(), wall).unwrap();
        self.desk = Desk::open(Store::open(&self.state_dir()).unwrap(), policy(is_configured), wall).unwrap();
        self.is_spoilt = false;
        let cursor = match self.desk.cursor(LOG) {
            Some(Cursor::File(cursor)) => cursor.offset as usize,
            _ => 0,
        };
        assert_eq!(cursor, read, "what is committed has its cursor");
        self.read = match self.plant {
            Some(Plant::ReadTwice) if is_killed => 0,
            Some(Plant::Unread) if is_killed => self.log.len(),
            _ => read,
        };
        self.configure(is_configured);
        self.guard = WallGuard::begin(None, wall, time);
        self.begin();
    }

    fn configure(&mut self, is_configured: bool) {
        self.oracle.always = always(is_configured);
        self.oracle.let_in();
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join(self.kills.to_string())
    }

    /// Leaves the database as it is when it is killed, with what of a commit is on its way.
    fn copy(&mut self, from: &Path) {
        let to = self.state_dir();
        std::fs::create_dir(&to).unwrap();
        for name in [FILE.to_owned(), format!("{FILE}-wal")] {
            let Ok(mut bytes) = std::fs::read(from.join(&name)) else { continue };
            if name != FILE && self.random.one_in(2) {
                bytes.extend((0..self.random.below(5_000)).map(|n| (n * 31) as u8));
            }
            std::fs::write(to.join(&name), bytes).unwrap();
        }
    }

    /// The database cannot be written, or can again.
    fn spoil(&mut self, is_spoilt: bool) {
        self.is_spoilt = is_spoilt;
        self.desk.spoil(is_spoilt);
    }

    fn address(&mut self) -> IpAddr {
        self.random.of(&self.oracle.world.clone())
    }

    fn some_net(&mut self) -> Net {
        let address = self.address();
        let len =
            if address.is_ipv4() { self.random.of(&[32, 32, 31, 30, 28]) } else { self.random.of(&[128, 64, 64, 60]) };
        Net::of(address, len)
    }

    /// One thing happens.
    fn event(&mut self) {
        let wall = self.wall();
        match self.random.below(20) {
            0..=5 => {
                let address = self.address();
                let n = self.log.len() + 1;
                let stamp = jiff::Timestamp::from_second(wall).unwrap();
                let line = format!("{stamp} web sshd[{n}]: Failed password for root from {address} port {n} ssh2");
                self.note(format!("{wall}: {address} fails"));
                self.log.push((line, address, wall));
                if self.random.one_in(3) {
                    self.read();
                }
            }
            6 => {
                let net = self.some_net();
                let seconds = (!self.random.one_in(4)).then(|| self.random.of(&[5, 60, 600, 3_000]));
                let force = self.random.one_in(2);
                let request = Request::Deny { prefix: text(&net), seconds, force, caller: None, because: None };
                let until = seconds.map(|seconds| wall + seconds as Time);
                let is_done = self.ask(&request, |oracle, _| oracle.deny(net, wall, until));
                let is_allowed =
                    self.oracle.allowed.iter().chain(&self.oracle.always).any(|entry| entry.contains(&net));
                assert!(!is_done || !is_allowed, "{net} is allowed and was denied");
                self.note(format!("{wall}: deny {net} for {seconds:?}: {is_done}"));
            }
            7 => {
                let net = self.some_net();
                self.note(format!("{wall}: forgive {net}"));
                let request = Request::Forgive { prefix: Some(text(&net)), who: None };
                assert!(self.ask(&request, |oracle, _| oracle.forgive(net, wall)));
            }
            8 => {
                let net = self.some_net();
                let remove = self.random.one_in(2);
                let entry = Some(net.to_string());
                let request = Request::Allow { entry, remove, force: false, who: None };
                let is_done = self.ask(&request, |oracle, reply| match reply {
                    // Also where the configuration has it, which may drop it one day.
                    Reply::Allowed(_) => oracle.allow(net),
                    _ => drop(oracle.allowed.remove(&net)),
                });
                self.note(format!("{wall}: allow {net}, remove {remove}: {is_done}"));
            }
            9 => self.commit(),
            10 => self.read(),
            11 | 12 => {
                let seconds = self.random.of(&[1, 5, 30, 50, 600, 1_500]);
                self.note(format!("{wall}: {seconds} s pass"));
                self.pass(seconds);
            }
            13 => {
                let off = OFF.0 * (self.random.below(2 * OFF.1 + 1) - OFF.1);
                self.note(format!("{wall}: the clock is {off} s off"));
                self.clock.step(off - self.off);
                self.off = off;
                self.pass(1);
                if self.random.one_in(2) {
                    self.quiet();
                }
            }
            14 => {
                let some = text(&self.some_net());
                let kernel = self.random.of(&self.kernels);
                self.note(format!("{wall}: somebody changes the firewall"));
                lock(&kernel).tamper(self.random, some, self.clock.now().1);
            }
            15 => {
                let faults = self.random.of(&[0, 20, 90]);
                self.note(format!("{wall}: {faults} % of the calls of the firewall fail"));
                self.kernels.iter().for_each(|kernel| lock(kernel).faults = faults);
            }
            16 => {
                let is_spoilt = self.random.one_in(2);
                self.note(format!("{wall}: the database cannot be written: {is_spoilt}"));
                self.spoil(is_spoilt);
            }
            17 => {
                let is_configured = self.random.one_in(2);
                match self.random.below(4) {
                    0 => {
                        self.note(format!("{wall}: reloaded, {CONFIGURED} allowed {is_configured}"));
                        let effects = self.desk.set_policy(policy(is_configured), self.clock.now().0);
                        self.carry_out(effects);
                        self.configure(is_configured);
                    }
                    more => {
                        let is_killed = more > 1;
                        self.note(format!(
                            "{wall}: restarted, killed {is_killed}, {CONFIGURED} allowed {is_configured}"
                        ));
                        self.restart(is_killed, is_configured);
                    }
                }
            }
            _ => self.step_back_ends(),
        }
    }

    fn note(&mut self, what: String) {
        self.told.push(what);
    }

    /// Time passes until the clock is steady again.
    fn quiet(&mut self) {
        for _ in 0..70 {
            self.pass(1);
            if self.random.one_in(8) {
                self.step_back_ends();
            }
        }
    }

    /// All is quiet, and each address is as it is to be.
    fn settle(&mut self) {
        self.kernels.iter().for_each(|kernel| lock(kernel).faults = 0);
        self.spoil(false);
        self.read();
        self.quiet();
        self.commit();
        for _ in 0..40 {
            self.pass(5);
            self.step_back_ends();
        }
        self.commit();
        self.step_back_ends();
        let (wall, time) = self.clock.now();
        let wanted = self.desk.wanted(wall);
        for (kind, _, feed) in &self.back_ends {
            let status = feed.status();
            assert_eq!((status.enforced, status.error), (wanted.denied.len(), None), "{:#?}", self.told);
            let kernel = lock(&self.kernels[*kind]);
            for address in &self.oracle.world {
                let must = self.oracle.is_dropped(*address, wall.secs());
                let drops = kernel.drops(*address, time, self.plant);
                assert_eq!(drops, must, "{address} at {}: {:#?}\n{:#?}", wall.secs(), self.told, self.oracle.claims);
            }
        }
    }

    /// Tells it; returns how often it was killed.
    fn tell(mut self) -> usize {
        for n in 0..EVENTS {
            self.event();
            if n % 15 == 14 {
                self.settle();
            }
        }
        self.kills
    }
}

/// What a person types.
fn text(net: &Net) -> crate::decide::prefix::Prefix {
    net.to_string().parse().unwrap()
}

/// Stories until the time is over.
fn stories(time: Duration) -> (u32, usize) {
    let (begun, kills) = (clock::monotonic(), Cell::new(0));
    let mut told = 0;
    while begun.elapsed() < time {
        kit::property("simulation", STORIES, |random| kills.set(kills.get() + Story::new(random, None).tell()));
        told += STORIES;
    }
    (told, kills.get())
}

#[test]
fn a_few_stories() {
    assert!(stories(Duration::from_millis(1)).0 > 0);
}

#[test]
#[ignore = "a minute, times DENYD_LONG: tests/run"]
fn stories_at_length() {
    let time = FOR * u32::try_from(kit::longer()).unwrap();
    let (told, kills) = stories(time);
    println!("{told} stories of {EVENTS} events, {kills} kills, in {time:?}");
    assert!(told > 0 && kills > 0);
}

/// What the stories are worth: each of these is found.
#[test]
fn planted_faults_are_found() {
    const ALL: [Plant; 9] = [
        Plant::AllowIgnored,
        Plant::ExpiryIgnored,
        Plant::ReleaseForgotten,
        Plant::ErrorIgnored,
        Plant::TamperingUnseen,
        Plant::StepIgnored,
        Plant::ReadTwice,
        Plant::Unread,
        Plant::CommitUntold,
    ];
    let tells = |seed, plant| {
        let story = || Story::new(&mut Random::seeded(seed), Some(plant)).tell();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(story)).is_err()
    };
    for plant in ALL {
        let seed = (0..FOUND_WITHIN).find(|seed| tells(*seed, plant));
        println!("{plant:?}: {seed:?}");
        assert!(seed.is_some(), "{plant:?} is not found");
    }
}
