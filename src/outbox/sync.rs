//! The thread that shares denied hosts with a server: it sends those of the history that are new, and takes those of others.
//!
//! It follows the history as mail does. Whom a server has acknowledged is done with; whom it has not is sent again, also after a
//! restart, which a server counts once. What it tells of goes to the desk as requests, by which all else is decided there.
//! Nobody waits for this thread.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::asking::{Asking, Ended};
use super::{Done, LOOK_EVERY, Reporter, logfile, webhook};
use crate::clock;
use crate::config::mail::Server as MailServer;
use crate::config::{self, Config, Report};
use crate::desk::Request;
use crate::desk::control::{Ask, Line, Told};
use crate::desk::received::{self, Place, Received, Shared};
use crate::desk::reply::{self, At, NotTaken, Reply, Synced, Taken};
use server::{Failed, Server};

mod ours;
mod server;
mod upload;

/// By which it follows the history, and the note of what it remembers.
pub const NAME: &str = "sync";

/// Decisions that are looked at at once, to see what waits.
const LOOKED_MAX: usize = 1_000;
/// Decisions whose hosts are sent before that is acknowledged.
const SENT_MAX: usize = 200;
/// Hosts of one answer that are looked at.
const ANSWER_MAX: usize = 20_000;
/// Of them, those that the desk is told of at once.
const TAKEN_MAX: usize = 500;
/// An answer with fewer hosts is the last of a round: DenyHosts' servers told 50 at most.
const PAGE: usize = 50;
/// Answers of one round.
const PAGES_MAX: usize = 100;
/// Hosts that we have just sent, which the server need not tell us of.
const ADDED_MAX: usize = 1_000;
/// How long a round may take; what is left then is for the next.
const ROUND_MAX: Duration = Duration::from_secs(600);
/// After a round that failed it is tried again after this time, then after twice as long, up to the interval.
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// A round that somebody asks for is no sooner after the last one.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// People who wait for a round.
const ASKED_MAX: usize = 8;
/// A server that took no IPv6 is offered it again after this time, in seconds.
const NO_IPV6_FOR: i64 = 86_400;
/// It is looked no more often than so for what was decided.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Hosts that are kept which another program was to send.
pub const WAITING_MAX: usize = 100_000;

/// What the thread is to do from now on.
#[derive(Clone, Debug)]
pub struct Orders {
    /// With whom it shares, and how.
    pub sync: config::Sync,
    /// The servers that the configuration names, by names or addresses: nobody is cut off from them on this one's word.
    pub servers: Vec<String>,
    /// Where it writes DenyHosts' lines.
    pub report: Report,
    /// The last decision that was acknowledged.
    pub seen: i64,
    /// Whether there are rounds by themselves, and not only those that are asked for.
    pub is_steady: bool,
}

/// The thread, from outside.
#[derive(Debug)]
pub struct Sharing {
    orders: watch::Sender<Orders>,
    asks: mpsc::Sender<oneshot::Sender<Told>>,
    state: Arc<Mutex<Shown>>,
}

/// What the thread shows.
#[derive(Debug, Default)]
struct Shown {
    sync: reply::Sync,
    is_busy: bool,
}

/// What is remembered over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The server, by host and port.
    pub server: String,
    /// When the last round began, in seconds since the epoch.
    pub begun: i64,
    /// When the first one did.
    pub first: i64,
    /// When one went well last.
    pub succeeded: i64,
    /// When the server took no IPv6 last; 0 = it may.
    pub no_ipv6: i64,
    /// Whom it had of us last: it may tell of them once more, as it tells again of the second in which it answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<IpAddr>,
    /// Whom another program was to send: DenyHosts' `sync-hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<IpAddr>,
}

impl Kept {
    /// What a note says of it; nothing where it says nothing.
    pub fn of(note: Option<&str>) -> Kept {
        note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default()
    }

    /// The same as a note.
    pub fn note(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Sharing {
    /// Starts the thread. It asks by `line`, and reports how far it has come. `note` is what it had to remember.
    pub fn start(line: Line, orders: Orders, note: Option<String>, reporter: Reporter) -> io::Result<Sharing> {
        let seen = orders.seen;
        let (orders, heard) = watch::channel(orders);
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        let state = Arc::<Mutex<Shown>>::default();
        let thread = Thread {
            decided: line.decided.clone(),
            asking: Asking(line),
            orders: heard,
            asked,
            reporter,
            state: Arc::clone(&state),
            kept: Kept::of(note.as_deref()),
            seen,
            read: seen,
            waiting: 0,
            ours: Vec::new(),
            failed: 0,
            last: None,
            retry: None,
            has_told_version: false,
        };
        std::thread::Builder::new().name(NAME.to_owned()).spawn(move || thread.run())?;
        Ok(Sharing { orders, asks, state })
    }

    /// What it is to do from now on. A round that goes on does so as it was.
    pub fn order(&self, orders: Orders) {
        self.orders.send_replace(orders);
    }

    /// Has a round at once, and answers once it is over.
    pub fn ask(&self, reply: oneshot::Sender<Told>) {
        if let Err(error) = self.asks.try_send(reply) {
            let what = format!("{ASKED_MAX} others wait for the server already; ask again later");
            let _ = error.into_inner().send(Told { reply: Err(what), unwritten: false });
        }
    }

    /// How it goes; `None` where nothing is shared.
    pub fn status(&self) -> Option<reply::Sync> {
        let is_wanted = self.orders.borrow().sync.is_wanted();
        is_wanted.then(|| lock(&self.state).sync.clone())
    }

    /// Waits until a round that goes on is over, for `most` at most: so its hosts need not go once more.
    pub fn settle(&self, most: Duration) {
        let end = clock::monotonic() + most;
        while lock(&self.state).is_busy && clock::monotonic() < end {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Whether a configuration has something shared, and whether what is decided is followed for that.
pub fn is_wanted(config: &Config) -> (bool, bool) {
    (config.sync.is_wanted(), config.sync.sends())
}

/// The servers that a configuration names, by names or addresses.
pub fn servers(config: &Config) -> Vec<String> {
    let hub = config.sync.server.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
    let mail = match &config.mail.server {
        _ if config.mail.to.is_empty() => None,
        MailServer::Smtp { host, .. } => Some(host.clone()),
        MailServer::Sendmail => None,
    };
    hub.into_iter().chain(mail).chain(webhook::host(&config.webhook)).collect()
}

struct Thread {
    asking: Asking,
    /// The number of the newest decision.
    decided: watch::Receiver<i64>,
    orders: watch::Receiver<Orders>,
    asked: mpsc::Receiver<oneshot::Sender<Told>>,
    reporter: Reporter,
    state: Arc<Mutex<Shown>>,
    kept: Kept,
    /// The last decision that is done with.
    seen: i64,
    /// The last one that was looked at.
    read: i64,
    /// Hosts between the two that wait to be sent.
    waiting: u64,
    /// Whom this machine itself connects to, as of the round that goes on.
    ours: Vec<IpAddr>,
    /// How many rounds have failed since one went well.
    failed: u32,
    /// When the last one began.
    last: Option<Instant>,
    /// When it is tried again.
    retry: Option<Instant>,
    has_told_version: bool,
}

/// Why a round went wrong.
enum Stopped {
    /// The daemon ends.
    Ended,
    /// For reading.
    Failed(String),
}

impl From<Ended> for Stopped {
    fn from(_: Ended) -> Stopped {
        Stopped::Ended
    }
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Stopped {
        Stopped::Failed(failed.words())
    }
}

impl Thread {
    fn run(mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => {
                let Err(Ended) = runtime.block_on(self.follow());
            }
            Err(error) => {
                tracing::error!(%error, "nothing can be shared");
                lock(&self.state).sync.problem = Some(format!("it could not begin: {error}"));
            }
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        self.ordered();
        loop {
            self.decided.mark_unchanged();
            self.read_all().await?;
            let due = self.due();
            self.show(due);
            if due.is_some_and(|due| due <= clock::monotonic()) {
                let _ = self.round().await?;
                continue;
            }
            self.wait(due).await?;
        }
    }

    /// Takes new orders.
    fn ordered(&mut self) {
        let orders = self.orders.borrow_and_update().clone();
        self.seen = self.seen.max(orders.seen);
        (self.read, self.waiting) = (self.seen, 0);
        let server = orders.sync.server.as_ref().map_or(String::new(), config::sync::server);
        if !server.is_empty() && self.kept.server != server {
            // What was to be sent is to be sent to any.
            let waiting = std::mem::take(&mut self.kept.waiting);
            let begun = if self.kept.server.is_empty() { self.kept.begun } else { 0 };
            self.kept = Kept { server: server.clone(), begun, waiting, ..Kept::default() };
            (self.failed, self.retry, self.last, self.has_told_version) = (0, None, None, false);
        }
        if self.last.is_none() {
            // One that did not go well, or was cut off, is had again at once.
            let was_well = self.kept.begun > 0 && self.kept.succeeded >= self.kept.begun;
            let since = u64::try_from(clock::now().secs() - self.kept.begun).unwrap_or(0);
            self.last = clock::monotonic().checked_sub(Duration::from_secs(since)).filter(|_| was_well);
        }
        let state = &mut lock(&self.state).sync;
        let is_other = state.server != server;
        (state.server, state.upload, state.download) = (server, orders.sync.upload, orders.sync.download);
        if is_other {
            (state.problem, state.failing_since) = (None, None);
        }
    }

    /// When the next round is.
    fn due(&self) -> Option<Instant> {
        let orders = self.orders.borrow();
        if !orders.is_steady || !orders.sync.is_wanted() {
            return None;
        }
        let next = self.last.and_then(|last| last.checked_add(orders.sync.interval));
        Some(self.retry.or(next).unwrap_or_else(clock::monotonic))
    }

    /// Waits until something is due, or there is something to do.
    async fn wait(&mut self, due: Option<Instant>) -> Result<(), Ended> {
        let until = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let asked = tokio::select! {
            () = until => None,
            changed = self.decided.changed() => {
                changed.map_err(|_| Ended)?;
                // Who asks is not to wait for that.
                tokio::select! {
                    () = tokio::time::sleep(READ_EVERY) => None,
                    asked = self.asked.recv() => Some(asked.ok_or(Ended)?),
                }
            }
            changed = self.orders.changed() => {
                changed.map_err(|_| Ended)?;
                self.ordered();
                None
            }
            asked = self.asked.recv() => Some(asked.ok_or(Ended)?),
        };
        if let Some(reply) = asked {
            self.answer(reply).await?;
        }
        Ok(())
    }

    /// Has a round for somebody who waits for it.
    async fn answer(&mut self, reply: oneshot::Sender<Told>) -> Result<(), Ended> {
        if self.orders.has_changed().map_err(|_| Ended)? {
            self.ordered();
        }
        self.read_all().await?;
        let since = self.last.map(|last| clock::monotonic().saturating_duration_since(last));
        let told = match since.filter(|since| *since < ASKED_EVERY && self.failed == 0) {
            _ if !self.orders.borrow().sync.is_wanted() => {
                Err("nothing is shared: write `server` into [sync] of the configuration".to_owned())
            }
            Some(since) => {
                let (since, every) = (since.as_secs(), ASKED_EVERY.as_secs());
                Err(format!("the last round was {since} s ago, and there is one in {every} s at most; ask again then"))
            }
            None => self.round().await?.map(Reply::Synced),
        };
        self.show(self.due());
        let _ = reply.send(Told { reply: told, unwritten: false });
        Ok(())
    }

    /// Counts what was decided since and is to be sent. What nobody is to be told of is done with at once.
    async fn read_all(&mut self) -> Result<(), Ended> {
        if !self.orders.borrow().sync.sends() {
            return Ok(());
        }
        loop {
            let Some(shared) = self.shared(self.read, LOOKED_MAX).await? else { break };
            self.waiting += shared.denied.len() as u64;
            self.read = shared.last;
            if shared.is_all {
                break;
            }
        }
        if self.waiting == 0 && self.read > self.seen {
            self.acknowledge(self.read);
        }
        Ok(())
    }

    async fn shared(&self, after: i64, limit: usize) -> Result<Option<Shared>, Ended> {
        let shared = self.asking.look(move |desk| desk.shared_after(after, limit)).await?;
        Ok(shared.ok())
    }

    /// All up to this decision is done with.
    fn acknowledge(&mut self, seen: i64) {
        self.seen = seen;
        self.reporter.report(Done { seen, note: Some(self.kept.note()) });
    }

    /// Shares with the server; the error is for who asked for it.
    async fn round(&mut self) -> Result<Result<Synced, String>, Ended> {
        if self.orders.has_changed().map_err(|_| Ended)? {
            self.ordered();
        }
        let begun = clock::monotonic();
        self.kept.begun = clock::now().secs();
        if self.kept.first == 0 {
            self.kept.first = self.kept.begun;
        }
        (self.last, self.retry) = (Some(begun), None);
        let Orders { sync, report, .. } = self.orders.borrow().clone();
        lock(&self.state).is_busy = true;
        let mut done = Synced {
            server: self.kept.server.clone(),
            sent: sync.sends().then_some(0),
            received: sync.download.then_some(0),
            ..Synced::default()
        };
        let shared = self.share(&sync, begun + ROUND_MAX, &mut done).await;
        for (what, number) in [("sent", done.sent), ("received", done.received)] {
            let is_told = number.is_some_and(|number| number > 0 || what == "received" && shared.is_ok());
            if let Some(number) = number.filter(|_| is_told) {
                let hosts = if number == 1 { "host" } else { "hosts" };
                logfile::say(&report, NAME, "INFO", &format!("{what} {number} new {hosts}"));
            }
        }
        self.count(&done);
        let result = match shared {
            Err(Stopped::Ended) => return Err(Ended),
            Ok(()) => {
                self.succeeded(&done);
                Ok(done)
            }
            Err(Stopped::Failed(why)) => {
                logfile::say(&report, NAME, "ERROR", &why);
                self.not_succeeded(&why, sync.interval);
                Err(why)
            }
        };
        self.acknowledge(self.seen);
        lock(&self.state).is_busy = false;
        Ok(result)
    }

    async fn share(&mut self, sync: &config::Sync, end: Instant, done: &mut Synced) -> Result<(), Stopped> {
        let server = Server::new(sync).map_err(Stopped::Failed)?;
        if sync.version_report && !self.has_told_version {
            server.version_report();
            self.has_told_version = true;
        }
        if sync.download {
            // Also where the server cannot be reached: that may be because of what it told.
            self.ours = ours::ours(self.orders.borrow().servers.clone());
            self.take_some(sync, Vec::new(), None).await?;
        }
        let mut added = Vec::new();
        let sent = match sync.sends() {
            true => self.upload(&server, end, done, &mut added).await,
            false => Ok(()),
        };
        if let Err(Stopped::Ended) = sent {
            return sent;
        }
        // What it does not take of us is no reason to do without what it knows.
        let taken = match sync.download {
            true => {
                let known: Vec<_> = added.iter().chain(&self.kept.added).copied().take(ADDED_MAX).collect();
                self.download(sync, &server, end, done, &known).await
            }
            false => Ok(()),
        };
        if taken.is_ok() && !added.is_empty() {
            self.kept.added = added;
        }
        match (sent, taken) {
            (Err(Stopped::Failed(why)), Err(Stopped::Failed(also))) if why != also => {
                Err(Stopped::Failed(format!("{why}; and whom others denied is not told: {also}")))
            }
            (sent, taken) => taken.and(sent),
        }
    }

    /// Sends whom the server does not know of us yet. What it acknowledged is done with, whatever comes next.
    async fn upload(
        &mut self,
        server: &Server<'_>,
        end: Instant,
        done: &mut Synced,
        added: &mut Vec<IpAddr>,
    ) -> Result<(), Stopped> {
        while let Some(some) = self.kept.waiting.chunks(SENT_MAX).next().map(<[IpAddr]>::to_vec) {
            self.send(server, end, &some, done, added)?;
            self.kept.waiting.drain(..some.len());
            self.acknowledge(self.seen);
        }
        loop {
            let Some(Shared { denied, last, is_all }) = self.shared(self.seen, SENT_MAX).await? else {
                return Err(Stopped::Failed("what was decided cannot be read".to_owned()));
            };
            let count = denied.len() as u64;
            let mut hosts = Vec::new();
            for (_, prefix) in denied {
                match prefix.is_host() {
                    true => hosts.push(prefix.address()),
                    false => match self.asking.address(prefix).await? {
                        Some(address) => hosts.push(address),
                        None => done.unsent += 1,
                    },
                }
            }
            if !hosts.is_empty() {
                self.send(server, end, &hosts, done, added)?;
            }
            self.waiting = self.waiting.saturating_sub(count);
            self.read = self.read.max(last);
            self.acknowledge(last);
            if is_all {
                return Ok(());
            }
        }
    }

    fn send(
        &mut self,
        server: &Server<'_>,
        end: Instant,
        hosts: &[IpAddr],
        done: &mut Synced,
        added: &mut Vec<IpAddr>,
    ) -> Result<(), Stopped> {
        let now = clock::now().secs();
        let known = added.last().or(self.kept.added.last()).copied();
        let takes_ipv6 = !(0..NO_IPV6_FOR).contains(&(now - self.kept.no_ipv6));
        let sent = upload::send(hosts, takes_ipv6, known, |batch| match clock::monotonic() < end {
            true => server.add_hosts(batch),
            false => Err(Failed::Other("the server is too slow: the rest is sent later".to_owned())),
        })?;
        if sent.no_ipv6 {
            tracing::warn!("the server takes no IPv6 addresses; it is offered them again in a day");
            self.kept.no_ipv6 = now;
        }
        done.sent = done.sent.map(|known| known + sent.taken.len() as u64);
        done.unsent += sent.refused.len() as u64;
        added.extend(sent.taken.into_iter().take(ADDED_MAX.saturating_sub(added.len())));
        Ok(())
    }

    /// Takes whom others told the server of, page by page.
    async fn download(
        &mut self,
        sync: &config::Sync,
        server: &Server<'_>,
        end: Instant,
        done: &mut Synced,
        added: &[IpAddr],
    ) -> Result<(), Stopped> {
        let note = self.asking.look(|desk| desk.note(received::NOTE)).await?;
        let note = note.map_err(|error| Stopped::Failed(error.to_string()))?;
        let place: Place = note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
        let is_ours = place.server.is_empty() || place.server == self.kept.server;
        let mut since = if is_ours { place.timestamp } else { 0 };
        let mut may_begin_anew = since > 0;
        for _ in 0..PAGES_MAX {
            if clock::monotonic() >= end {
                break;
            }
            let (hosts, timestamp) = match server.get_new_hosts(since, added) {
                Err(Failed::Timestamp) if may_begin_anew => {
                    tracing::warn!("the server's clock was set back: what it knows is asked for from the beginning");
                    (since, may_begin_anew) = (0, false);
                    continue;
                }
                told => told?,
            };
            let count = hosts.len();
            let taken = self.take(sync, hosts, timestamp).await?;
            done.received = done.received.map(|known| known + count as u64);
            done.taken.denied += taken.denied;
            done.taken.refused.add_all(&taken.refused);
            let stands_still = timestamp <= since;
            since = timestamp;
            if count < PAGE || stands_still {
                break;
            }
        }
        Ok(())
    }

    /// Hands over to the desk whom one answer tells of. How far the list was taken is kept with the last of them.
    async fn take(&self, sync: &config::Sync, hosts: Vec<String>, timestamp: u64) -> Result<Taken, Stopped> {
        let (addresses, refused) = addresses(&hosts);
        let mut all = Taken { refused, ..Taken::default() };
        let chunks = addresses.chunks(TAKEN_MAX).count().max(1);
        let mut some = addresses.chunks(TAKEN_MAX).map(<[IpAddr]>::to_vec);
        for nth in 1..=chunks {
            let timestamp = (nth == chunks).then_some(timestamp);
            let taken = self.take_some(sync, some.next().unwrap_or_default(), timestamp).await?;
            all.denied += taken.denied;
            all.refused.add_all(&taken.refused);
        }
        Ok(all)
    }

    /// The same of some of them, or of none: whoever is ours and was denied so far is let in then.
    async fn take_some(
        &self,
        sync: &config::Sync,
        hosts: Vec<IpAddr>,
        timestamp: Option<u64>,
    ) -> Result<Taken, Stopped> {
        let told = Received {
            server: self.kept.server.clone(),
            hosts,
            reporters: sync.threshold,
            deny_for: sync.deny_for,
            most: sync.hosts_max as usize,
            ours: self.ours.clone(),
            timestamp,
        };
        match self.request(Request::Received(told)).await? {
            Told { unwritten: true, .. } => {
                Err(Stopped::Failed("what the server told could not be written".to_owned()))
            }
            Told { reply: Ok(Reply::Taken(taken)), .. } => Ok(taken),
            Told { reply: Err(why), .. } => Err(Stopped::Failed(why)),
            Told { reply: Ok(_), .. } => Ok(Taken::default()),
        }
    }

    async fn request(&self, request: Request) -> Result<Told, Ended> {
        let (reply, answer) = oneshot::channel();
        self.asking.0.asks.send(Ask { request, caller: None, reply }).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    fn succeeded(&mut self, done: &Synced) {
        if self.failed > 0 {
            tracing::info!("hosts can be shared again");
        }
        (self.failed, self.kept.succeeded) = (0, clock::now().secs());
        let (sent, received) = (done.sent.unwrap_or(0), done.received.unwrap_or(0));
        tracing::info!(server = done.server, sent, received, denied = done.taken.denied, "shared");
        let state = &mut lock(&self.state).sync;
        (state.problem, state.failing_since) = (None, None);
    }

    /// Counts what was sent and what came, however the round ended.
    fn count(&self, done: &Synced) {
        let state = &mut lock(&self.state).sync;
        state.sent += done.sent.unwrap_or(0);
        state.unsent += done.unsent;
        state.received += done.received.unwrap_or(0);
        state.taken.denied += done.taken.denied;
        state.taken.refused.add_all(&done.taken.refused);
    }

    fn not_succeeded(&mut self, why: &str, interval: Duration) {
        let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(self.failed)).min(interval);
        if self.failed == 0 {
            tracing::warn!(problem = why, "hosts could not be shared; it is tried again until they can");
        }
        self.failed = self.failed.saturating_add(1);
        self.retry = Some(clock::monotonic() + wait);
        let state = &mut lock(&self.state).sync;
        state.failing_since = state.failing_since.or(Some(At(clock::now())));
        state.problem = Some(why.to_owned());
    }

    fn show(&self, due: Option<Instant>) {
        let wait = due.map(|due| due.saturating_duration_since(clock::monotonic()));
        let at = |seconds: i64| (seconds > 0).then(|| At(Timestamp::from_secs(seconds)));
        let state = &mut lock(&self.state).sync;
        state.waiting = self.waiting + self.kept.waiting.len() as u64;
        state.next = wait.map(|wait| At(clock::now().after(wait)));
        state.succeeded = at(self.kept.succeeded);
        state.tried_since = at(self.kept.first).filter(|_| state.succeeded.is_none());
    }
}

/// The addresses among hosts of an answer; how many are none, and how many are too many.
fn addresses(hosts: &[String]) -> (Vec<IpAddr>, NotTaken) {
    let mut refused = NotTaken::default();
    let mut all = Vec::new();
    for host in hosts.iter().take(ANSWER_MAX) {
        match host.parse::<IpAddr>() {
            Ok(address) => all.push(address),
            Err(_) => refused.illegal += 1,
        }
    }
    refused.too_many = hosts.len().saturating_sub(ANSWER_MAX) as u64;
    (all, refused)
}

fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    super::output::lock(state)
}

/// What a person may do where sharing fails because of this.
pub fn remedy(why: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    match () {
        () if has(&["token"]) => "see to `token_file`",
        () if has(&["certificate", "Certificate", "CA"]) => {
            "the name in `server` must be in the server's certificate, and its CA in `ca_file`, or among the system's"
        }
        () if has(&["lookup", "Name or service"]) => "no server has that name: see to `server`",
        () if has(&["refused", "timed out", "said nothing"]) => {
            "see whether the server runs, and whether this machine may connect"
        }
        () => "it is what the server says; `denyd sync` tries again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_single_addresses() {
        let check = |host: &str, want: Option<&str>| {
            let (all, refused) = addresses(&[host.to_owned()]);
            assert_eq!(all, want.map(|want| want.parse::<IpAddr>().unwrap()).into_iter().collect::<Vec<_>>(), "{host}");
            assert_eq!(refused.illegal, u64::from(want.is_none()), "{host}");
        };
        check("20.1.1.1", Some("20.1.1.1"));
        check("2a00::1", Some("2a00::1"));
        for bad in [
            "",
            " 20.1.1.1",
            "20.1.1.1\n",
            "20.1.1.1; echo PWNED",
            "20.1.1.0/24",
            "20.1.1.1:22",
            "[2a00::1]",
            "2a00::1%eth0",
            "020.1.1.1",
            "20.1.1",
            "335610113",
            "0x14010101",
            "ALL",
            "bad.example.org",
            "20.1.1.1,20.1.1.2",
            "２０.1.1.1",
        ] {
            check(bad, None);
        }
        let many = vec!["20.1.1.1".to_owned(); ANSWER_MAX + 7];
        let (all, refused) = addresses(&many);
        assert_eq!((all.len(), refused.too_many), (ANSWER_MAX, 7));
    }
}
