//! The thread that owns the [`Book`]: it does one thing after the other that those who ask want of it, and between them a
//! piece of what takes long, so that nobody waits for that. It writes the file that `denyd hub status` shows.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::book::{Added, Book, Wait};
use super::count::{Count, Counters};
use super::due::Wish;
use super::feed::{PAGE, Page};
use super::rates::Rates;
use crate::clock;
use crate::detect::address::Address;

/// How many tasks may wait for the thread; who comes then is turned away.
pub const TASKS_MAX: usize = 64;

/// The file in the state directory that says how the hub is.
pub const STATUS: &str = "status.json";

/// How often that file is written.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How often what expired is forgotten, in seconds.
const EXPIRY_EVERY: i64 = 3600;

/// What the thread is asked to do.
#[derive(Debug)]
pub enum Task {
    /// To record hosts.
    Add {
        /// Who reports them.
        reporter: String,
        /// What he reports, at most a page.
        hosts: Vec<Address>,
        /// Whom to tell.
        reply: oneshot::Sender<Result<Added, Refusal>>,
    },
    /// To say what is due.
    New {
        /// Who asks.
        reporter: String,
        /// With which threshold and resiliency.
        wish: Wish,
        /// Since when.
        since: u64,
        /// What he knows already.
        known: HashSet<Address>,
        /// Whom to tell.
        reply: oneshot::Sender<Result<Page, Refusal>>,
    },
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client's timestamp is after the hub's time.
    Future,
    /// Who asks had too much of it.
    Rate,
    /// What is wrong with the database; the log says it.
    Broken,
}

/// How a hub is, as its file says it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// When it was written, in seconds of the epoch.
    pub time: i64,
    /// The version of denyd.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Where it listens.
    pub listen: String,
    /// Hosts that are known.
    pub hosts: i64,
    /// Rows of reports.
    pub reports_kept: i64,
    /// Who reported within the time that is kept.
    pub reporters: i64,
    /// What is asked for.
    pub wishes: Vec<Wished>,
    /// How often each happened since the hub started.
    pub counters: serde_json::Map<String, serde_json::Value>,
}

/// What is asked for, and how many hosts are due by that.
#[derive(Debug, Serialize, Deserialize)]
pub struct Wished {
    /// How many must have reported a host.
    pub threshold: u32,
    /// Seconds between its first report and its latest.
    pub resiliency: i64,
    /// Hosts.
    pub hosts: usize,
}

/// What the thread works with.
pub struct Keeper {
    /// The database and what is in memory of it.
    pub book: Book,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where the hub listens, for its status.
    pub listen: String,
    /// How much each may ask for.
    pub rates: Rates,
}

impl Keeper {
    /// Works until nobody can send a task any more; `dir` is the state directory.
    pub fn run(mut self, tasks: &Receiver<Task>, dir: &Path) {
        let mut waiting: Vec<Task> = Vec::new();
        let mut expired = clock::now().secs();
        let mut told = None;
        let mut second = (0, 0);
        let mut is_more = true;
        loop {
            let pause = if is_more { Duration::ZERO } else { Duration::from_secs(1) };
            match tasks.recv_timeout(pause) {
                Ok(task) => {
                    wait_for_room(&task, &mut second);
                    waiting.extend(self.carry_out(task));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = clock::now().secs();
            if now - expired >= EXPIRY_EVERY {
                expired = now;
                self.book.expire_soon();
            }
            let stepped = self.book.step(now, &self.counters);
            for task in std::mem::take(&mut waiting) {
                waiting.extend(self.carry_out(task));
            }
            is_more = match stepped {
                Ok(is_more) => is_more || !waiting.is_empty(),
                Err(error) => {
                    tracing::error!(%error, "the hub's database cannot be used; it is tried again in a second");
                    false
                }
            };
            if told.is_none_or(|told: std::time::Instant| told.elapsed() >= STATUS_EVERY) {
                told = Some(clock::monotonic());
                if let Err(error) = self.tell(dir) {
                    tracing::warn!(%error, "the hub's status cannot be written");
                }
            }
        }
    }

    /// Does a task; one that must wait for what is being read comes back.
    fn carry_out(&mut self, task: Task) -> Option<Task> {
        let now = clock::now().secs();
        match task {
            Task::Add { reporter, hosts, reply } => {
                let added = if self.rates.hosts(&reporter, hosts.len(), now) {
                    self.book.add(&reporter, &hosts, now, &self.counters).map_err(|error| {
                        tracing::error!(%error, "a report cannot be recorded");
                        Refusal::Broken
                    })
                } else {
                    Err(Refusal::Rate)
                };
                // Who hung up is told nothing.
                let _ = reply.send(added);
                None
            }
            Task::New { reporter, wish, since, known, reply } => {
                if reply.is_closed() {
                    return None;
                }
                let time = self.book.time(now);
                let answer = match i64::try_from(since) {
                    Ok(since) if since <= time => {
                        let rates = &mut self.rates;
                        match self.book.new_hosts(wish, since, &known, now, || rates.wish(&reporter, now)) {
                            Ok(page) => Ok(page),
                            Err(Wait::Refused) => Err(Refusal::Rate),
                            Err(Wait::Reading) => {
                                let since = since.unsigned_abs();
                                return Some(Task::New { reporter, wish, since, known, reply });
                            }
                        }
                    }
                    _ => Err(Refusal::Future),
                };
                if let Ok(page) = &answer {
                    self.counters.add(Count::Told, page.hosts.len());
                }
                let _ = reply.send(answer);
                None
            }
        }
    }

    fn tell(&self, dir: &Path) -> std::io::Result<()> {
        let [hosts, reports_kept, reporters] = self.book.size();
        let wished =
            |(wish, hosts): (Wish, usize)| Wished { threshold: wish.threshold, resiliency: wish.resiliency, hosts };
        let status = Status {
            time: clock::now().secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            listen: self.listen.clone(),
            hosts,
            reports_kept,
            reporters,
            wishes: self.book.wishes().into_iter().map(wished).collect(),
            counters: self.counters.all().map(|(name, count)| (name.to_owned(), count.into())).collect(),
        };
        let fresh = dir.join("status.json.new");
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(&status)?)?;
        std::fs::rename(fresh, dir.join(STATUS))
    }
}

/// Waits for the next second where this one has a page of reports: so an answer can tell each second as a whole.
fn wait_for_room(task: &Task, second: &mut (i64, usize)) {
    let Task::Add { hosts, .. } = task else { return };
    let now = clock::now();
    if second.0 != now.secs() {
        *second = (now.secs(), 0);
    }
    if second.1 > 0 && second.1 + hosts.len() > PAGE {
        let left = 1_000_000 - now.0.rem_euclid(1_000_000);
        std::thread::sleep(Duration::from_micros(left.unsigned_abs()));
        *second = (clock::now().secs(), 0);
    }
    second.1 += hosts.len();
}
