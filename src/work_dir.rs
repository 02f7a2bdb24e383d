//! DenyHosts' work directory, kept current: the files that people and their scripts read, in DenyHosts' formats.
//!
//! A thread of its own gathers what is kept by looks at the desk, as a list is made, and writes what changed: at once after a
//! decision, else each half minute. Nobody waits for it. What people delete from the files while the daemon is stopped is
//! forgiven at the next start: see [`by_hand`].

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::clock;
use crate::desk::control::Line;
use crate::desk::kept;
use crate::desk::reply::{self, At};
use crate::spot::Seen;
use crate::text::printable;

pub mod by_hand;
mod files;

use files::render;

/// How often the files are written at most, while denies are decided.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How often it is looked whether counts changed, of which nobody tells.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Of its time the thread sleeps so many parts for one in which it works.
const REST: u32 = 50;
/// How long a round may last that is under way when the daemon ends.
const ENDS: Duration = Duration::from_secs(5);
/// How often is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The thread, from outside.
pub struct WorkDir {
    orders: watch::Sender<Option<PathBuf>>,
    shown: Arc<Mutex<reply::WorkDir>>,
    thread: JoinHandle<()>,
}

impl WorkDir {
    /// Starts the thread, which keeps `dir` current, if there is one.
    pub fn start(line: Line, dir: Option<PathBuf>) -> io::Result<WorkDir> {
        let (orders, heard) = watch::channel(dir);
        let shown = Arc::<Mutex<reply::WorkDir>>::default();
        let writer = Writer { line, orders: heard, shown: Arc::clone(&shown), written: BTreeMap::new(), dir: None };
        let thread = std::thread::Builder::new().name("work_dir".to_owned()).spawn(move || writer.run())?;
        Ok(WorkDir { orders, shown, thread })
    }

    /// Keeps this directory current from now on, or none.
    pub fn order(&self, dir: Option<PathBuf>) {
        self.orders.send_if_modified(|known| std::mem::replace(known, dir.clone()) != dir);
    }

    /// How it goes; `None` where there is no directory.
    pub fn status(&self) -> Option<reply::WorkDir> {
        self.orders.borrow().is_some().then(|| lock(&self.shown).clone())
    }

    /// Ends the thread; whether it ended, and so writes no more.
    pub fn stop(self) -> bool {
        drop(self.orders);
        let end = clock::monotonic() + ENDS;
        while !self.thread.is_finished() && clock::monotonic() < end {
            std::thread::sleep(LOOK_EVERY);
        }
        self.thread.is_finished()
    }
}

/// Whether DenyHosts' files can be kept in a directory, as far as that can be seen without writing there; else why not.
pub fn usable(dir: &Path) -> Result<(), String> {
    files::usable(dir)
}

fn lock(shown: &Mutex<reply::WorkDir>) -> MutexGuard<'_, reply::WorkDir> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread knows.
struct Writer {
    line: Line,
    orders: watch::Receiver<Option<PathBuf>>,
    shown: Arc<Mutex<reply::WorkDir>>,
    /// What was written last, by a hash, and what the file looked like then.
    written: BTreeMap<&'static str, (u64, Seen)>,
    /// Where that was.
    dir: Option<PathBuf>,
}

impl Writer {
    fn run(mut self) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.tell(Err(format!("it could not begin: {error}"))),
        };
        loop {
            let begun = clock::monotonic();
            self.line.decided.mark_unchanged();
            let dir = self.orders.borrow_and_update().clone();
            if dir != self.dir {
                self.written.clear();
                *lock(&self.shown) = reply::WorkDir::default();
                self.dir.clone_from(&dir);
            }
            if let Some(dir) = dir {
                lock(&self.shown).dir = printable(dir.as_os_str().as_encoded_bytes());
                let done = self.round(&dir);
                // Where the engine has ended nothing is wrong with the directory.
                if self.orders.has_changed().is_err() || self.line.looks.is_closed() {
                    return;
                }
                self.tell(done);
            }
            let worked = clock::monotonic().saturating_duration_since(begun);
            if runtime.block_on(self.wait(PAUSE_MIN.max(worked * REST))).is_none() {
                return;
            }
        }
    }

    /// Waits so long, and then for a decision; `None` once the daemon ends.
    async fn wait(&mut self, least: Duration) -> Option<()> {
        tokio::select! {
            changed = self.orders.changed() => return changed.ok(),
            () = tokio::time::sleep(least) => {}
        }
        let is_idle = self.orders.borrow().is_none();
        tokio::select! {
            changed = self.orders.changed() => changed.ok(),
            Ok(()) = self.line.decided.changed(), if !is_idle => Some(()),
            () = tokio::time::sleep(PAUSE_MAX), if !is_idle => Some(()),
        }
    }

    /// Writes what changed.
    fn round(&mut self, dir: &Path) -> Result<(), String> {
        let kept = kept(self.line.looks.clone())?;
        let dir = files::own(dir)?;
        files::take(&dir)?;
        for (name, bytes) in render(&kept, clock::now(), &TimeZone::system()) {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let hash = hasher.finish();
            // What somebody else wrote there meanwhile is written over.
            if self
                .written
                .get(name)
                .is_some_and(|(known, seen)| *known == hash && files::is_still(seen, &dir.join(name)))
            {
                continue;
            }
            // Each takes a while on a slow disk, and the end is not to wait for all of them.
            if self.orders.has_changed().is_err() {
                return Ok(());
            }
            let seen = files::write(&dir, name, &bytes, &mut |_| Ok(()))?;
            self.written.insert(name, (hash, seen));
        }
        files::sync(&dir)
    }

    /// What came of a round: what fails is told once, and counted.
    fn tell(&self, done: Result<(), String>) {
        let mut shown = lock(&self.shown);
        match done {
            Ok(()) => {
                if shown.problem.take().is_some() {
                    tracing::info!(dir = shown.dir, "the work directory can be written again");
                }
                shown.written = Some(At(clock::now()));
            }
            Err(problem) => {
                shown.failed += 1;
                if shown.problem.is_none() {
                    tracing::error!(
                        dir = shown.dir,
                        problem,
                        "the work directory cannot be written; it is tried again"
                    );
                }
                shown.problem = Some(problem);
            }
        }
    }
}
