//! One shape of input, and the one loop that drives all of them.
//!
//! Whatever is read, a file, a journal, a stored log or a socket with a thousand senders, is an [`Input`]: it was told
//! where to begin, gives the next records with the cursor behind them, says what can wake it, and counts what befell
//! it. A [`Worker`] is the thread that drives one: it sleeps while nothing happens, tells the operator of a problem
//! once, and hands every batch to a sink that may make it wait. Nobody here asks for the time: the loop is given a
//! clock, and tells its input.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cursor::Cursor;
use crate::record::{Batch, SourceId, Timestamp};

/// How many records a batch of a log has at most.
pub const FRAMES_MAX: usize = 1000;

/// After an error an input is read again so much later. What has come meanwhile waits where it is.
const RETRY: Duration = Duration::from_millis(250);

/// A program that reads for us has said all that is there when it has been silent for so long.
const SILENT: Duration = Duration::from_secs(2);

/// Why an input could not be read. Each has its own errors; here they are only told.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Where an earlier reader was. One of another kind of input says nothing, which is [`Beginning`](Self::Beginning).
    Cursor(Cursor),
    /// At the first record that is there.
    Beginning,
    /// Behind the last record that is there.
    #[default]
    Now,
    /// At the first record that is not older than this. An input that cannot tell begins at its beginning.
    Back(Duration),
}

/// What the clocks say.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of day. It can be set.
    pub wall: Timestamp,
    /// How long it is since some moment, always the same. It only grows.
    pub steady: Duration,
}

/// As by a clock that is never set.
impl From<Timestamp> for Now {
    fn from(wall: Timestamp) -> Self {
        Now { wall, steady: Duration::from_micros(u64::try_from(wall.0).unwrap_or(0)) }
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more at once.
    More,
    /// All was read.
    Idle,
    /// Another program reads for us; what it has to say comes in its own time.
    Pending,
    /// There is nothing to read, for this reason; it may come.
    Missing(&'static str),
    /// All was read, and nothing more will come.
    End,
}

/// What can wake an input that is [`Idle`](Progress::Idle).
#[derive(Clone, Copy, Debug)]
pub struct Wake<'a> {
    /// Readable once there may be something new.
    pub fd: Option<BorrowedFd<'a>>,
    /// It is to be read again after so long, whatever happens.
    pub within: Duration,
}

/// What has befallen an input since it was opened. What cannot happen to it stays 0; what happens seldom is
/// told only if it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Records that were gone before they were read: entries of a journal; of lines nobody knows how many, so each time
    /// counts one.
    #[serde(skip_serializing_if = "is_zero")]
    pub gaps: u64,
    /// Records and fields that were damaged, or too great to be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub damaged: u64,
    /// Files that are there now and cannot be read, while others can.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// A file was replaced by another one.
    #[serde(skip_serializing_if = "is_zero")]
    pub rotations: u64,
    /// A file was truncated, or written anew, and read from its beginning again.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncations: u64,
    /// Copies of entries that were not delivered again.
    #[serde(skip_serializing_if = "is_zero")]
    pub copies: u64,
    /// Connections that were taken.
    pub connections: u64,
    /// Connections and datagrams that were not: by a sender who may not send, or by one too many.
    pub refused: u64,
    /// Connections that were closed because they were idle or left a frame unfinished.
    pub expired: u64,
    /// Connections of which the TLS handshake failed.
    pub handshakes_failed: u64,
    /// Connections that were closed because a frame had no octet count though each must have one.
    pub broken: u64,
    /// Connections that were closed because they began as HTTP, TLS or SSH does, which no syslog does.
    #[serde(skip_serializing_if = "is_zero")]
    pub foreign: u64,
    /// Datagrams that were dropped because their sender sent too many. They are among a batch's `lost`, too.
    pub limited: u64,
    /// How often a connection had to wait because its sender had sent so much.
    pub slowed: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Counters {
    /// Records that were there and were not delivered.
    pub fn lost(&self) -> u64 {
        self.gaps + self.damaged
    }
}

/// Something that gives records. One thread drives it: it reads until there is no [`More`](Progress::More), sleeps
/// until it is woken, and reads again.
pub trait Input {
    /// Adds the next records to `batch`, which is empty, and says where to go on behind them, if there is a cursor.
    ///
    /// The cursor of an empty batch is worth something, too: it says where reading began. After an error the batch may
    /// have records; the next read goes on behind them.
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, Error>;

    /// What may bring more, as of the last read.
    fn wake(&mut self) -> Wake<'_>;

    /// What has befallen it.
    fn counters(&self) -> Counters;

    /// Reads anew what was read once at its opening (certificates), and says whether there was any. On an error it goes
    /// on with what it has.
    fn reload(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Refills `batch` by a [`read`](Self::read) that happens `now`.
    fn refill(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, Error> {
        batch.clear();
        (batch.received, batch.reference) = (now.wall, now.wall);
        self.read(now, batch)
    }
}

/// Wakes who waits, from another thread; clones are the same one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        Ok(Bell(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Ends the wait that is going on, or else the next one.
    pub fn ring(&self) {
        let _ = self.0.write(1); // fails where it has rung 2^64 times and nobody waited
    }

    /// Waits until it rings, an input may have more, or the input's time is over.
    pub fn wait(&self, wake: Wake<'_>) {
        // Rounded up, or the last millisecond would be spent in asking again and again.
        let within = wake.within.as_nanos().div_ceil(1_000_000);
        let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        let fd = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [fd(self.0.as_fd()), fd(wake.fd.unwrap_or(self.0.as_fd()))];
        // An interrupted call only means to look earlier.
        let _ = poll(&mut fds, within);
        if fds[0].any().unwrap_or(false) {
            let _ = self.0.read(); // silent again
        }
    }
}

/// How an input goes; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

/// What [`Health`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Why nothing can be read now.
    pub problem: Option<String>,
    /// What has befallen it.
    pub counters: Counters,
}

impl Health {
    /// How it is now.
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker was told.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    finish: AtomicBool,
    reload: AtomicBool,
}

/// What tells a worker what to do; clones tell the same one.
#[derive(Clone, Debug)]
pub struct Reins {
    told: Arc<Told>,
    bell: Bell,
}

impl Reins {
    /// Tells it to stop; it hands over what it has read.
    pub fn stop(&self) {
        self.told.stop.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Tells it to stop once it has read all that is there, or cannot.
    pub fn finish(&self) {
        self.told.finish.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Tells it to [`reload`](Input::reload).
    pub fn reload(&self) {
        self.told.reload.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// The thread that drives an input.
#[derive(Debug)]
pub struct Worker {
    /// What tells it what to do.
    pub reins: Reins,
    /// How it goes.
    pub health: Health,
    name: Arc<str>,
    /// Its other end is dropped when the thread ends.
    ended: mpsc::Receiver<Infallible>,
}

impl Worker {
    /// Starts it. Batches are marked with `source`; `sink` says whether it wants more of them, and may take its time.
    pub fn start(
        name: &str,
        source: SourceId,
        input: Box<dyn Input + Send>,
        clock: impl Fn() -> Now + Send + 'static,
        sink: impl FnMut(Batch) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let reins = Reins { told: Arc::default(), bell: Bell::new()? };
        let (name, health) = (Arc::<str>::from(name), Health::default());
        let (running, ended) = mpsc::channel();
        let driver = Driver { name: name.clone(), source, input, reins: reins.clone(), health: health.clone() };
        std::thread::Builder::new().name("input".to_owned()).spawn(move || {
            driver.run(clock, sink);
            drop(running);
        })?;
        Ok(Worker { reins, health, name, ended })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(mpsc::TryRecvError::Disconnected)
    }

    /// Waits for its end, and says whether that came in time. A thread that hangs in the system is left behind.
    pub fn wait(self, at_most: Duration) -> bool {
        let in_time = self.ended.recv_timeout(at_most) == Err(mpsc::RecvTimeoutError::Disconnected);
        if !in_time {
            tracing::warn!(input = &*self.name, "an input did not end in time; what it had read may be lost");
        }
        in_time
    }
}

/// What the thread has.
struct Driver {
    name: Arc<str>,
    source: SourceId,
    input: Box<dyn Input + Send>,
    reins: Reins,
    health: Health,
}

impl Driver {
    /// Drives until told to stop. Errors are told once, and tried again: a log that is away comes back.
    fn run(mut self, clock: impl Fn() -> Now, mut sink: impl FnMut(Batch) -> bool) {
        let (mut cursor, mut caught_up, mut heard) = (None, false, clock().steady);
        while !self.reins.told.stop.load(Ordering::Acquire) {
            if self.reins.told.reload.swap(false, Ordering::AcqRel) {
                self.reload();
            }
            // Seen before it reads: what is there then is read, and perhaps more.
            let is_last = self.reins.told.finish.load(Ordering::Acquire);
            let mut batch = Batch::new(self.source, Timestamp::default());
            let now = clock();
            let progress = self.input.refill(now, &mut batch);
            if !batch.is_empty() {
                heard = now.steady;
            }
            self.note(&progress);
            // What has no cursor is never there before it is read.
            batch.live = caught_up || batch.cursor.is_none();
            // A file that is not there yet holds nothing old when it comes, but after a late mount.
            caught_up |= matches!(progress, Ok(Progress::Idle | Progress::Pending | Progress::Missing(_)));
            // A batch without records may still say where reading began.
            let moved = batch.cursor.is_some() && batch.cursor != cursor;
            if moved {
                cursor.clone_from(&batch.cursor);
            }
            if (moved || !batch.is_empty() || batch.lost > 0) && !sink(batch) {
                return;
            }
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::End) => return,
                Ok(Progress::Pending) if is_last && now.steady.saturating_sub(heard) < SILENT => {
                    let wake = self.input.wake();
                    self.reins.bell.wait(Wake { within: wake.within.min(RETRY), ..wake });
                }
                _ if is_last => return,
                Ok(Progress::Idle | Progress::Pending | Progress::Missing(_)) => {
                    self.reins.bell.wait(self.input.wake())
                }
                Err(_) => self.reins.bell.wait(Wake { fd: None, within: RETRY }),
            }
        }
    }

    fn reload(&mut self) {
        let input = &*self.name;
        match self.input.reload() {
            Ok(true) => tracing::info!(input, "the certificates were read again"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(input, %error, "the new certificates cannot be used; the old ones stay in use");
            }
        }
    }

    /// Tells the operator what is new, and whoever asks how it is.
    fn note(&mut self, progress: &Result<Progress, Error>) {
        let (input, counters, before) = (&*self.name, self.input.counters(), self.health.now());
        let lost = counters.lost();
        if lost > before.counters.lost() {
            tracing::warn!(input, lost, "something was gone before it was read, or damaged: records may be missing");
        }
        let problem = match progress {
            Ok(Progress::Missing(why)) => Some((*why).to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if problem != before.problem {
            match &problem {
                Some(problem) => tracing::warn!(input, problem, "cannot follow"),
                None => tracing::info!(input, "following again"),
            }
        }
        *self.health.lock() = State { problem, counters };
    }
}
