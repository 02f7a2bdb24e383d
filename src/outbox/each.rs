//! The thread that tells one decision after the other, in their order: to programs, a file, or syslog.
//!
//! What could not be told is told again, and what is behind it waits in the history. A decision is acknowledged when it is
//! told, so it is told at least once: again only where denyd was killed in between.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::asking::{Asking, Ended};
use super::logfile::LogFile;
use super::news::{self, News, What};
use super::output::{Beside, Output, Told, fails, lock};
use super::plugin::Plugins;
use super::reverse::Names;
use super::syslog::Syslog;
use super::table::Table;
use super::{Done, EACH, LOOK_EVERY, Reporter, Saying, enforced_by};
use crate::clock;
use crate::config::plugin::{Of, Plugin};
use crate::config::{Config, Report, Source};
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::control::Line;
use crate::desk::reply::{self, At, Decided, Reply};

/// News that are told at once; after a crash so many at most are told again.
const AT_ONCE: usize = 16;
/// After what could not be told it is tried again after this time, then after twice as long, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// It is tried at least so often.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// By what each decision is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Each {
    /// By programs.
    Plugins(Plugin),
    /// By a log file.
    File {
        /// How it is written.
        report: Report,
        /// The logs that are read; `None` for a run that ends, which says nothing of itself: no daemon starts and ends with it.
        logs: Option<Vec<PathBuf>>,
    },
    /// By syslog.
    Syslog {
        /// Whether it is.
        is_wanted: bool,
        /// What is said of addresses.
        saying: Saying,
        /// What `hosts.deny` is called on this machine.
        hosts_deny: PathBuf,
    },
    /// By a file with a line for each.
    Table(Option<PathBuf>),
}

impl Each {
    /// Those of a configuration, in the order of [`NAMES`](super::NAMES), whether somebody is told by them or not.
    pub fn all(config: &Config) -> [Each; EACH] {
        let log = |source: &Source| match source {
            Source::File(file) => Some(file.path.clone()),
            Source::Multilog(multilog) => Some(multilog.path.clone()),
            _ => None,
        };
        let logs = config.inputs.iter().filter_map(|input| log(&input.source)).collect();
        let (report, saying) = (config.report.clone(), Saying::of(config));
        let (is_wanted, hosts_deny) = (report.syslog, config.deny.hosts_deny.path.clone());
        [
            Each::Plugins(config.plugin.clone()),
            Each::File { report, logs: Some(logs) },
            Each::Syslog { is_wanted, saying, hosts_deny },
            Each::Table(config.report.table_file.clone()),
        ]
    }

    /// The same for a run that ends.
    pub fn of_run(self) -> Each {
        match self {
            Each::File { report, .. } => Each::File { report, logs: None },
            other => other,
        }
    }

    /// Whether anybody is to be told.
    pub fn is_wanted(&self) -> bool {
        match self {
            Each::Plugins(plugin) => !plugin.deny.is_empty() || !plugin.purge.is_empty(),
            Each::File { report, .. } => report.log_file.is_some(),
            Each::Syslog { is_wanted, .. } => *is_wanted,
            Each::Table(path) => path.is_some(),
        }
    }

    /// Who is told, for reading.
    pub fn whom(&self) -> String {
        match self {
            Each::Plugins(plugin) => {
                let programs = plugin.programs().into_iter().map(|path| path.display().to_string());
                programs.collect::<Vec<_>>().join(", ")
            }
            Each::File { report, .. } => {
                report.log_file.as_ref().map_or(String::new(), |path| path.display().to_string())
            }
            Each::Syslog { .. } => super::syslog::SOCKET.to_owned(),
            Each::Table(path) => path.as_ref().map_or(String::new(), |path| path.display().to_string()),
        }
    }

    /// What a person may do where telling fails.
    pub fn remedy(&self) -> &'static str {
        match self {
            Each::Plugins(_) => "see what it says, and the log; denyd runs it once for each decision, whatever it says",
            Each::File { .. } | Each::Table(_) => {
                "make its directory, and let denyd write there (ReadWritePaths= of its unit); what waits is written then"
            }
            Each::Syslog { .. } => "see whether a syslog daemon or journald runs; what waits is told then",
        }
    }

    /// Whose denies are told.
    fn of(&self) -> Of {
        match self {
            Each::Plugins(plugin) => plugin.of,
            Each::File { .. } | Each::Syslog { .. } => Of::Log,
            Each::Table(_) => Of::All,
        }
    }

    fn output(&self, note: Option<&str>) -> Box<dyn Output> {
        match self {
            Each::Plugins(plugin) => Box::new(Plugins::new(plugin.clone(), note)),
            Each::File { report, logs } => Box::new(LogFile::new(report.clone(), logs.as_deref())),
            Each::Syslog { .. } => Box::new(Syslog),
            Each::Table(path) => Box::new(Table::new(path.clone().unwrap_or_default())),
        }
    }
}

/// What the thread is to do from now on.
#[derive(Clone, Debug)]
pub struct Orders {
    /// What it tells by.
    pub by: Each,
    /// The last decision that was acknowledged.
    pub seen: i64,
    /// Whether the daemon ends.
    pub ends: bool,
}

/// A thread that tells each decision, from outside.
#[derive(Debug)]
pub struct Teller {
    orders: watch::Sender<Orders>,
    state: Arc<Mutex<reply::Output>>,
    ends: Arc<AtomicBool>,
    has_ended: Arc<AtomicBool>,
}

impl Teller {
    /// Starts the thread of that name. It asks by `line`, and reports how far it has come. `note` is what it had to remember.
    pub fn start(
        name: &'static str,
        line: Line,
        orders: Orders,
        note: Option<String>,
        reporter: Reporter,
    ) -> io::Result<Teller> {
        let (orders, heard) = watch::channel(orders);
        let (state, ends, has_ended) = Default::default();
        let teller = Teller { orders, state, ends, has_ended };
        let first = heard.borrow().clone();
        let thread = Thread {
            name,
            asking: Asking(line),
            orders: heard,
            output: first.by.output(note.as_deref()),
            reporter,
            note,
            state: Arc::clone(&teller.state),
            ends: Arc::clone(&teller.ends),
            has_ended: Arc::clone(&teller.has_ended),
            has_begun: false,
            names: Names::default(),
            queue: VecDeque::new(),
            seen: first.seen,
            by: first.by,
            unread: false,
            refused: 0,
            retry: None,
            logged: Mutex::default(),
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || thread.run())?;
        Ok(teller)
    }

    /// What it is to do from now on. What is being told is told as it was begun.
    pub fn order(&self, orders: Orders) {
        self.orders.send_replace(orders);
    }

    /// How it goes; `None` where nobody is to be told.
    pub fn status(&self) -> Option<reply::Output> {
        let is_wanted = self.orders.borrow().by.is_wanted();
        is_wanted.then(|| lock(&self.state).clone())
    }

    /// The last decision that was acknowledged when it was ordered.
    pub fn seen(&self) -> i64 {
        self.orders.borrow().seen
    }

    /// Nothing more is begun. What was begun is waited for, for `most` at most.
    pub fn settle(&self, most: Duration) {
        self.ends.store(true, Ordering::Relaxed);
        self.orders.send_modify(|orders| orders.ends = true);
        let end = clock::monotonic() + most;
        while !self.has_ended.load(Ordering::Acquire) && clock::monotonic() < end {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// What the thread has.
struct Thread {
    name: &'static str,
    asking: Asking,
    orders: watch::Receiver<Orders>,
    by: Each,
    output: Box<dyn Output>,
    reporter: Reporter,
    note: Option<String>,
    state: Arc<Mutex<reply::Output>>,
    ends: Arc<AtomicBool>,
    has_ended: Arc<AtomicBool>,
    /// Whether the output has begun.
    has_begun: bool,
    /// Names of addresses.
    names: Names,
    /// What was read and is not told.
    queue: VecDeque<Decided>,
    /// The last decision that is told, or nobody's affair.
    seen: i64,
    /// Whether what was decided could not be read.
    unread: bool,
    /// How often the same could not be told, and when it is tried again.
    refused: u32,
    retry: Option<Instant>,
    /// When a failure was logged.
    logged: Mutex<Option<Instant>>,
}

impl Thread {
    fn run(mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => {
                let Err(Ended) = runtime.block_on(self.follow());
                if self.has_begun {
                    self.output.end();
                }
            }
            Err(error) => {
                tracing::error!(%error, by = self.name, "nothing can be told");
                fails(&mut lock(&self.state), format!("it could not begin: {error}"));
            }
        }
        self.has_ended.store(true, Ordering::Release);
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        loop {
            self.asking.0.decided.mark_unchanged();
            if self.orders.has_changed().map_err(|_| Ended)? {
                self.ordered()?;
            }
            let now = clock::monotonic();
            if self.by.is_wanted() && self.queue.is_empty() && !(self.unread && self.retry > Some(now)) {
                self.read().await?;
            }
            self.show();
            match self.retry.filter(|retry| *retry > now) {
                None if self.by.is_wanted() && !self.has_begun => self.begin().await?,
                None if !self.queue.is_empty() => self.tell().await?,
                retry => self.wait(retry).await?,
            }
        }
    }

    /// Takes new orders. Where the history was not followed meanwhile, it is from now on.
    fn ordered(&mut self) -> Result<(), Ended> {
        let Orders { by, seen, ends } = self.orders.borrow_and_update().clone();
        if ends {
            return Err(Ended);
        }
        if by != self.by {
            self.output = by.output(self.note.as_deref());
            self.has_begun = false;
        }
        (self.by, self.seen) = (by, self.seen.max(seen));
        self.queue.clear();
        (self.retry, self.refused, self.unread) = (None, 0, false);
        let state = &mut lock(&self.state);
        (state.problem, state.failing_since) = (None, None);
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Ended> {
        if self.output.wants_all() && !self.tell_all().await? {
            return Ok(());
        }
        match self.output.begin() {
            Ok(()) => {
                self.has_begun = true;
                self.goes_again();
            }
            Err(problem) => self.not_told(problem),
        }
        Ok(())
    }

    /// Tells that those are denied who are; whether all of it is told.
    async fn tell_all(&mut self) -> Result<bool, Ended> {
        let reader = self.asking.look(|desk| desk.reader()).await?;
        let read = reader.map(|database| database.denied(self.by.of() == Of::All, clock::now()));
        let denied = match read {
            Some(Ok(denied)) => denied,
            Some(Err(error)) => {
                self.not_told(error.to_string());
                return Ok(false);
            }
            None => {
                self.not_told("the database is in memory only".to_owned());
                return Ok(false);
            }
        };
        for some in denied.chunks(AT_ONCE) {
            let now = At(clock::now());
            let news = |(id, prefix): (i64, &Prefix)| News { id, at: now, what: What::Denied(*prefix) };
            let news: Vec<_> = (0..).zip(some).map(news).collect();
            let mut beside = Beside::default();
            for prefix in some {
                if self.output.wants_addresses()
                    && let Some(address) = self.address(*prefix).await?
                {
                    beside.addresses.insert(*prefix, address);
                }
            }
            let so_far = Mutex::new(self.seen);
            let (state, ends, logged) = (&*self.state, &*self.ends, &self.logged);
            let told = Told { state, ends, seen: &so_far, logged, name: self.name };
            if let Err(problem) = self.output.tell(&news, &beside, &told) {
                self.not_told(problem);
                return Ok(false);
            }
        }
        self.output.has_all();
        self.note = self.output.note();
        self.reporter.report(Done { seen: self.seen, note: self.note.clone() });
        Ok(true)
    }

    /// Whatever could not be done can be again.
    fn goes_again(&mut self) {
        if self.refused > 0 {
            tracing::info!(by = self.name, "what was decided can be told there again");
            let state = &mut lock(&self.state);
            (state.problem, state.failing_since) = (None, None);
        }
        (self.retry, self.refused) = (None, 0);
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self, retry: Option<Instant>) -> Result<(), Ended> {
        let until = async {
            match retry {
                Some(retry) => tokio::time::sleep_until(retry.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            changed = self.asking.0.decided.changed() => changed.map_err(|_| Ended)?,
            changed = self.orders.changed() => {
                changed.map_err(|_| Ended)?;
                self.ordered()?;
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Ended> {
        match self.asking.ask(Request::Since { id: self.seen }).await? {
            Ok(Reply::History(rows)) => self.queue = rows.into(),
            Ok(_) => {}
            Err(problem) => {
                self.unread = true;
                self.not_told(format!("what was decided cannot be read: {problem}"));
                return Ok(());
            }
        }
        if std::mem::take(&mut self.unread) {
            self.goes_again();
        }
        Ok(())
    }

    /// Tells the first of what waits.
    async fn tell(&mut self) -> Result<(), Ended> {
        let (mut news, mut beside, mut last) = (Vec::new(), Beside::default(), self.seen);
        for at in 0..self.queue.len() {
            let Some(decided) = self.queue.get(at).cloned() else { break };
            last = decided.id;
            let prefix = news::about(&decided, self.by.of());
            let before = match prefix {
                Some(prefix) => self.claims(prefix, decided.id).await?,
                None => news::Claims::new(),
            };
            let Some(one) = news::of(decided, &before, self.by.of()) else { continue };
            if !self.is_told(&one.what).await? {
                continue;
            }
            if let What::Denied(prefix) = one.what
                && self.output.wants_addresses()
                && let Some(address) = self.address(prefix).await?
            {
                beside.addresses.insert(prefix, address);
            }
            news.push(one);
            if news.len() >= AT_ONCE {
                break;
            }
        }
        self.look_beside(&news, &mut beside).await?;
        let so_far = Mutex::new(self.seen);
        let (state, ends, logged) = (&*self.state, &*self.ends, &self.logged);
        let told = Told { state, ends, seen: &so_far, logged, name: self.name };
        let result = match news.is_empty() {
            true => Ok(()),
            false => self.output.tell(&news, &beside, &told),
        };
        let so_far = *lock(&so_far);
        match result {
            Ok(()) => {
                self.seen = last;
                self.goes_again();
            }
            Err(_) if self.ends.load(Ordering::Relaxed) => self.seen = so_far,
            Err(problem) => {
                self.seen = so_far;
                self.not_told(problem);
            }
        }
        let seen = self.seen;
        self.queue.retain(|one| one.id > seen);
        self.note = self.output.note();
        self.reporter.report(Done { seen, note: self.note.clone() });
        Ok(())
    }

    fn not_told(&mut self, problem: String) {
        let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(self.refused)).min(RETRY_MAX);
        if self.refused == 0 {
            tracing::error!(
                by = self.name,
                problem,
                "what was decided cannot be told there; it is tried again until it can"
            );
        }
        self.refused = self.refused.saturating_add(1);
        self.retry = Some(clock::monotonic() + wait);
        fails(&mut lock(&self.state), problem);
    }

    /// What was decided of a prefix before the decision of number `id`.
    async fn claims(&self, prefix: Prefix, id: i64) -> Result<news::Claims, Ended> {
        self.asking.look(move |desk| desk.claims_before(prefix, id)).await
    }

    /// Whether it is told at all: a login from an allowed address may be nobody's affair.
    async fn is_told(&self, what: &What) -> Result<bool, Ended> {
        let of_allowed = match &self.by {
            Each::Syslog { saying, .. } => saying.suspicious_of_allowed,
            Each::File { report, .. } => report.suspicious_of_allowed,
            Each::Plugins(_) | Each::Table(_) => true,
        };
        match what {
            What::Suspicious(address, _) if !of_allowed => Ok(!self.asking.allows(*address).await?),
            _ => Ok(true),
        }
    }

    /// Looks for what syslog is told beside the news.
    async fn look_beside(&mut self, news: &[News], beside: &mut Beside) -> Result<(), Ended> {
        let Each::Syslog { saying, hosts_deny, .. } = &self.by else { return Ok(()) };
        let latest = self.asking.0.latest.borrow().clone();
        beside.enforced_by = match latest {
            Some(status) => enforced_by(&status, hosts_deny),
            // It is made with a commit, but for the first moments.
            None => match self.asking.ask(Request::Status).await? {
                Ok(Reply::Status(status)) => enforced_by(&status, hosts_deny),
                _ => Vec::new(),
            },
        };
        if saying.host_names {
            beside.names = self.names.of(news.iter().filter_map(|one| match &one.what {
                What::Denied(prefix) => prefix.is_host().then(|| prefix.address()),
                What::Suspicious(address, _) => Some(*address),
                What::Ended(_) => None,
            }));
        }
        Ok(())
    }

    /// An address of a denied prefix that failed, by the messages that are kept.
    async fn address(&self, prefix: Prefix) -> Result<Option<IpAddr>, Ended> {
        if prefix.is_host() {
            return Ok(None);
        }
        self.asking.address(prefix).await
    }

    fn show(&self) {
        let waiting = *self.asking.0.decided.borrow() - self.seen;
        let state = &mut lock(&self.state);
        state.name = self.name.to_owned();
        state.whom = self.by.whom();
        state.waiting = u64::try_from(waiting).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::control::{Ask, Told as Answered};
    use crate::outbox::AllDone;

    /// One that cannot read what was decided says so, and tries it again by itself.
    #[test]
    fn what_cannot_be_read_is_told_and_read_again() {
        use tokio::sync::{broadcast, mpsc};

        let (asks_in, mut asks) = mpsc::channel::<Ask>(1);
        let (looks, _looks) = mpsc::channel(1);
        let (_latest, latest) = watch::channel(None);
        let (_decided, decided) = watch::channel(1);
        let (taps, _) = broadcast::channel(1);
        let (told, _told) = watch::channel(AllDone::default());
        let line = Line { asks: asks_in, looks, latest, dry_run: false, taps, decided };
        let dir = tempfile::tempdir().unwrap();
        let orders = Orders { by: Each::Table(Some(dir.path().join("list"))), seen: 0, ends: false };
        let teller = Teller::start("table-file", line, orders, None, Reporter::new(told, 5)).unwrap();
        let mut answer = |reply: Result<Reply, String>| {
            let ask = asks.blocking_recv().unwrap();
            assert!(matches!(ask.request, Request::Since { id: 0 }));
            let _ = ask.reply.send(Answered { reply, unwritten: false });
        };
        let until = |is_well: bool| {
            let is_so = || teller.status().is_some_and(|status| status.problem.is_none() == is_well);
            let end = clock::monotonic() + Duration::from_secs(20);
            while !is_so() && clock::monotonic() < end {
                std::thread::sleep(LOOK_EVERY);
            }
            is_so()
        };
        answer(Err("disk I/O error".to_owned()));
        assert!(until(false));
        assert!(teller.status().unwrap().problem.unwrap().ends_with("cannot be read: disk I/O error"));
        answer(Ok(Reply::History(Vec::new())));
        assert!(until(true));
    }
}
