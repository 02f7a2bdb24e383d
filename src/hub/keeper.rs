//! The thread that owns the [`Book`]: it does one thing after the other that those who ask want of it, and between them a
//! piece of what takes long, so that nobody waits for that. It writes the file that `denyd hub status` shows.

use std::collections::{HashSet, VecDeque};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::book::{Added, Book, Wait};
use super::count::{Count, Counters};
use super::due::Wish;
use super::feed::Page;
use super::rates::Rates;
use super::watch::Watch;
use crate::clock;
use crate::detect::address::Address;

/// How many tasks may wait for the thread, and as many that it took for the next second; who comes then is turned away.
pub const TASKS_MAX: usize = 64;

/// The file in the state directory that says how the hub is.
pub const STATUS: &str = "status.json";

/// How often that file is written.
pub const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How often what expired is forgotten.
const EXPIRY_EVERY: Duration = Duration::from_secs(3600);

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

impl Task {
    /// Tells who asks that it is not done.
    fn refuse(self, why: Refusal) {
        match self {
            // Who hung up is told nothing.
            Task::Add { reply, .. } => drop(reply.send(Err(why))),
            Task::New { reply, .. } => drop(reply.send(Err(why))),
        }
    }

    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        match self {
            Task::Add { reply, .. } => reply.is_closed(),
            Task::New { reply, .. } => reply.is_closed(),
        }
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client's timestamp is after the hub's time.
    Future,
    /// Who asks had too much of it.
    Rate,
    /// There is too much to do.
    Busy,
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
        let mut waiting = VecDeque::new();
        let mut watch = Watch::new(clock::now().secs(), clock::boottime());
        let mut expired: Option<Instant> = None;
        let mut told: Option<Instant> = None;
        let mut is_more = true;
        loop {
            let second = Duration::from_secs(1);
            let pause = match (is_more, waiting.is_empty()) {
                (true, _) => Duration::ZERO,
                (false, true) => second,
                // For room in the next second.
                (false, false) => second - Duration::from_micros(clock::now().0.rem_euclid(1_000_000).unsigned_abs()),
            };
            let task = match tasks.recv_timeout(pause) {
                Ok(task) => Some(task),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let seen = watch.look(clock::now().secs(), clock::boottime(), self.book.known());
            if let Some(task) = task {
                self.take(task, seen.time, &mut waiting);
            }
            self.turn(&mut waiting, seen.time);
            if seen.is_steady && expired.is_none_or(|expired| expired.elapsed() >= EXPIRY_EVERY) {
                expired = Some(clock::monotonic());
                self.book.expire_soon();
            }
            is_more = match self.book.step(seen.time, &self.counters) {
                Ok(is_more) => is_more,
                Err(error) => {
                    tracing::error!(%error, "the hub's database cannot be used; it is tried again in a second");
                    false
                }
            };
            if told.is_none_or(|told| told.elapsed() >= STATUS_EVERY) {
                told = Some(clock::monotonic());
                if let Err(error) = self.tell(dir) {
                    tracing::warn!(%error, "the hub's status cannot be written");
                }
            }
        }
    }

    /// Takes a task among those that wait for their turn, if who asks may have it done.
    fn take(&mut self, task: Task, now: i64, waiting: &mut VecDeque<Task>) {
        if let Task::Add { reporter, hosts, .. } = &task
            && !self.rates.hosts(reporter, hosts.len(), now)
        {
            task.refuse(Refusal::Rate);
        } else if waiting.len() >= TASKS_MAX {
            task.refuse(Refusal::Busy);
        } else {
            waiting.push_back(task);
        }
    }

    /// Does what can be done now of the tasks that wait, in order. A report for which its second has no room waits for the
    /// next one, and the reports after it wait behind it.
    fn turn(&mut self, waiting: &mut VecDeque<Task>, now: i64) {
        let mut is_full = false;
        for task in std::mem::take(waiting) {
            if task.is_given_up() {
                continue;
            }
            if let Task::Add { hosts, .. } = &task
                && (is_full || !self.book.has_room(hosts.len(), now))
            {
                // Where time stands still that may be long.
                if self.book.time(now) > now {
                    task.refuse(Refusal::Busy);
                    continue;
                }
                is_full = true;
                waiting.push_back(task);
            } else {
                waiting.extend(self.carry_out(task, now));
            }
        }
    }

    /// Does a task; one that must wait for what is being read comes back.
    fn carry_out(&mut self, task: Task, now: i64) -> Option<Task> {
        match task {
            Task::Add { reporter, hosts, reply } => {
                let added = self.book.add(&reporter, &hosts, now, &self.counters).map_err(|error| {
                    tracing::error!(%error, "a report cannot be recorded");
                    Refusal::Broken
                });
                // Who hung up is told nothing.
                let _ = reply.send(added);
                None
            }
            Task::New { reporter, wish, since, known, reply } => {
                let rates = &mut self.rates;
                let answer = match self.book.since(since, now) {
                    Some(from) => match self.book.new_hosts(wish, from, &known, now, || rates.wish(&reporter, now)) {
                        Ok(page) => Ok(page),
                        Err(Wait::Refused) => Err(Refusal::Rate),
                        Err(Wait::Reading) => return Some(Task::New { reporter, wish, since, known, reply }),
                    },
                    None => Err(Refusal::Future),
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

#[cfg(test)]
mod tests;
