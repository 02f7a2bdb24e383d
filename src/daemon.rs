//! `denyd run`: inputs to engine to store to projections.
//!
//! One thread owns engine and store and does everything in turn: fold, publish new denies, commit, publish the
//! rest. Inputs push into a bounded inbox and wait; projections are told and never waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use inputs::input::Worker;
use inputs::record::Batch;
use inputs::syslog::listen;
use inputs::syslog::losses::losses;
use tokio::sync::{broadcast, mpsc, watch};

use crate::clock;
use crate::config::{self, Config};
use crate::decide::engine::Input;
use crate::decide::state::{Claim, Claimant};
use crate::deny::Diff;
use crate::deny::choose;
use crate::deny::reconciler::{Command as DenyCommand, Feed, SnapshotRequest, Status};
use crate::desk::control::{self, Ask, Line};
use crate::desk::reply::{self, At, BackEnd, Reply};
use crate::desk::{self, Desk, Request};
use crate::intake::fold;
use crate::store::{Evidence, Store, StoreError};

mod connected;
pub mod feeds;
mod wall;

use connected::Connected;
use wall::{Wall, WallGuard};

/// Batches that wait for the engine; a full inbox makes inputs wait.
const INBOX_MAX: usize = 16;
/// Requests that wait for the engine.
const ASKS_MAX: usize = 16;
/// Changes are committed at least so often; it is also how often the clock ticks.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
/// Progress without effect is committed so often.
const CURSORS_EVERY: Duration = Duration::from_secs(1);
/// Rows that are to be written, about, before a commit is made at once: whoever asks for the status waits for it.
const PENDING_MAX: usize = 6_000;
/// New denies make a commit of their own no sooner after the last one: each waits for the disk.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);
/// Failures by sockets of which the message is kept at once, and how many more at each tick: a flood must not wash out all
/// that was kept before. What has a cursor comes as fast only when it catches up.
const EVIDENCE_BURST: usize = 20_000;
const EVIDENCE_TICK: usize = 2_000;
/// After a failed commit the next is tried so much later.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long the inputs may take to end.
const INPUTS_END: Duration = Duration::from_secs(5);
/// How long the thread of one may take then, which has handed over everything, or hangs.
const WORKER_END: Duration = Duration::from_secs(1);
/// Records that a slow `tap` may be behind.
const TAP_MAX: usize = 4_096;

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Enforce nothing; print what would be.
    pub dry_run: bool,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(config: Config, options: &Options) -> anyhow::Result<()> {
    let mut inherited = listen::Inherited::of_process();
    let inputs = if config.inputs.is_empty() { vec![feeds::found()?] } else { config.inputs.clone() };
    let rules = Arc::new(config.rules()?.rules);
    let _told = options.dry_run.then(|| tracing::error_span!("DRY RUN").entered());
    let mut store = if options.dry_run { rehearse(&config.state_dir)? } else { open_store(&config.state_dir)? };
    if let Some(aside) = &store.set_aside {
        tracing::error!(file = %aside.display(), "the database was corrupt; it was set aside and a fresh one begun");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let places = runtime.block_on(choose::find(&config, options.dry_run, &mut store))?;
    let lost = store.set_aside.is_some();
    let mut desk = Desk::open(store, config.policy(), clock::now())?;
    if lost {
        let now = clock::now();
        let until = config.decide.policy.deny_for.map(|time| now.after(time));
        let kept = runtime.block_on(places.kept(now, until))?;
        tracing::warn!(denied = kept.len(), "counts and cursors begin anew; what is denied now was taken over");
        for (prefix, until) in kept {
            let claim = Claim { since: now, until, class: None, count: 0, enforceable: true };
            desk.engine.step(now, Input::Claim { prefix, by: Claimant::Policy, claim });
        }
    }
    let (batches_in, batches) = mpsc::channel(INBOX_MAX);
    let (asks_in, asks) = mpsc::channel(ASKS_MAX);
    let (snapshots_in, snapshots) = mpsc::channel(4);
    let (stop_in, stop) = watch::channel(false);
    let (taps, _) = broadcast::channel(TAP_MAX);
    let running = runtime.enter();
    let control = control::bind(&config.control_socket)?;
    let mut sources = Vec::new();
    let mut workers = Vec::new();
    let mut certificates = Vec::new();
    let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    anyhow::ensure!(names.len() <= usize::from(u16::MAX), "there are too many inputs");
    for (id, input) in desk.number(&names)?.into_iter().zip(&inputs) {
        let cursor = desk.cursors.get(&input.name).cloned();
        let named = || format!("input {}", input.name);
        let worker = feeds::follow(input, id, cursor, batches_in.clone()).with_context(named)?;
        let health = worker.as_ref().map(|worker| worker.health().clone());
        workers.extend(worker);
        let mut counters = None;
        if let config::Source::Syslog(syslog) = &input.source {
            let endpoint = syslog.endpoint();
            let options = listen::Options { parser: input.parser(), ..syslog.options(id) };
            let listener = match inherited.take(&input.name, &endpoint) {
                Some(socket) => listen::adopt(socket, &endpoint, options, clock::now),
                None => listen::bind(&endpoint, options, clock::now),
            };
            let listener = listener.with_context(named)?;
            counters = Some(listener.counters());
            certificates.extend(listener.certificates().map(|these| (input.name.clone(), these)));
            tokio::spawn(listener.run(batches_in.clone(), stop.clone()));
        }
        sources.push(Connected::new(input, id, &rules, counters, health));
    }
    drop(batches_in);
    for socket in inherited.names() {
        tracing::warn!(socket, "no input listens where this socket of the service manager is, or has its name");
    }
    let now = clock::now();
    desk.gather();
    let want = desk.publish_all(now);
    tracing::info!(
        inputs = inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", "),
        enforced_by = places.names().join(", "),
        rules = rules.iter().len(),
        denied = want.denied.len(),
        allowed = want.allowed.len(),
        "running"
    );
    let mut tasks = tokio::task::JoinSet::new();
    let (feeds, statuses) = places.start(&mut tasks, snapshots_in);
    let (latest, latest_out) = watch::channel(None);
    let line = Line { asks: asks_in, latest: latest_out, dry_run: options.dry_run, taps: taps.clone() };
    let server = tokio::spawn(control::serve(control, line));
    let signals = tokio::spawn(wait_for_signal(stop_in));
    let hangups = tokio::spawn(reload_on_hangup(certificates));
    let core = Core {
        desk,
        dry_run: options.dry_run,
        sources,
        feeds,
        statuses,
        taps,
        seq: 0,
        wall: WallGuard::new(now, clock::monotonic()),
        cursors_due: None,
        put_off: false,
        latest,
        shown: clock::monotonic(),
        committed: clock::monotonic(),
        evidence_left: EVIDENCE_BURST,
        evidence_untold: 0,
        blocked: None,
        lost: 0,
    };
    drop(running);
    // The engine has this thread; inputs, projections and clients have the runtime's.
    let core = runtime.block_on(async {
        let (mut core, batches) = core.run(batches, asks, snapshots, stop).await;
        // First they are told, or the reader of a long file would hand over as fast as we take.
        workers.iter().for_each(Worker::tell_to_stop);
        core.finish(batches).await;
        core
    });
    for worker in workers {
        worker.wait(WORKER_END);
    }
    server.abort();
    signals.abort();
    hangups.abort();
    drop(core);
    // The feeds are gone with the core: each reconciler carries out what it was told last, and ends.
    runtime.block_on(async {
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), ended).await.is_err() {
            tracing::warn!("a back end did not end in time; what is denied stays denied");
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    let _ = std::fs::remove_file(&config.control_socket);
    match options.dry_run {
        true => tracing::info!("stopped; nothing is kept"),
        false => tracing::info!("stopped; what is denied stays denied"),
    }
    Ok(())
}

/// What a dry run begins with: what is remembered, in memory only.
fn rehearse(dir: &std::path::Path) -> anyhow::Result<Store> {
    tracing::warn!("nothing is enforced and nothing is kept: the database is only read");
    Store::rehearse(dir)
        .context("a dry run begins with what the database holds; give another state_dir, or move it away")
}

/// Opens the store. A verb on the command line may have it for a moment, so one try is not enough.
fn open_store(dir: &std::path::Path) -> Result<Store, StoreError> {
    for _ in 0..10 {
        match Store::open(dir) {
            Err(StoreError::Locked { .. }) => std::thread::sleep(Duration::from_millis(100)),
            opened => return opened,
        }
    }
    Store::open(dir)
}

async fn wait_for_signal(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("cannot wait for signals");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    let _ = stop.send(true);
    // A second signal ends us at once: the default action is gone once a handler was set.
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    std::process::exit(1);
}

/// Reads the listeners' certificates again on SIGHUP. Each that cannot be used leaves the old one in use.
async fn reload_on_hangup(certificates: Vec<(String, listen::Certificates)>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("cannot wait for SIGHUP");
        return;
    };
    while hangup.recv().await.is_some() {
        if certificates.is_empty() {
            tracing::info!("SIGHUP: no input has certificates; the rest of the configuration is read at start");
        }
        for (input, these) in &certificates {
            match these.reload() {
                Ok(()) => tracing::info!(input, "the certificates were read again"),
                Err(error) => {
                    tracing::error!(input, %error, "the new certificates cannot be used; the old ones stay in use");
                }
            }
        }
    }
}

/// What the engine's thread owns.
struct Core {
    desk: Desk,
    dry_run: bool,
    sources: Vec<Connected>,
    feeds: Vec<Feed>,
    statuses: Vec<watch::Receiver<Status>>,
    taps: broadcast::Sender<Arc<str>>,
    /// The number of the last command to the projections.
    seq: u64,
    wall: WallGuard,
    /// When progress without effect is to be committed.
    cursors_due: Option<Instant>,
    /// The last tick let the records go first.
    put_off: bool,
    /// How a commit found us, not long ago.
    latest: watch::Sender<Option<Arc<reply::Status>>>,
    /// When that was.
    shown: Instant,
    /// When the last commit ended.
    committed: Instant,
    /// Failures by sockets of which the message may still be kept until the next tick.
    evidence_left: usize,
    /// Failures that counted, and of which no message was kept: there were too many at once.
    evidence_untold: u64,
    /// Since a commit failed: when the next is tried. Inputs are held back meanwhile.
    blocked: Option<Instant>,
    lost: u64,
}

impl Core {
    async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        mut asks: mpsc::Receiver<Ask>,
        mut snapshots: mpsc::Receiver<SnapshotRequest>,
        mut stop: watch::Receiver<bool>,
    ) -> (Self, mpsc::Receiver<Batch>) {
        let mut ticks = tokio::time::interval(COMMIT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // By chance among those that are ready: people who only look must not keep records waiting, nor these them.
            tokio::select! {
                _ = stop.changed() => break,
                _ = ticks.tick() => self.tick(!batches.is_empty()),
                Some(ask) = asks.recv() => self.ask(ask),
                Some(request) = snapshots.recv() => self.snapshot(request),
                Some(batch) = batches.recv(), if self.blocked.is_none() => {
                    self.batch(&batch);
                    // Chance may keep a person waiting; more than one batch and its commit it is not to be.
                    if let Ok(ask) = asks.try_recv() {
                        self.ask(ask);
                    }
                }
            }
        }
        (self, batches)
    }

    /// Takes what the inputs, which were told to stop, still hand over: what came by a socket is nowhere else.
    async fn finish(&mut self, mut batches: mpsc::Receiver<Batch>) {
        let end = tokio::time::sleep(INPUTS_END);
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => {
                    tracing::warn!("an input did not end in time; what it had read may be lost");
                    break;
                }
                batch = batches.recv() => match batch {
                    Some(batch) => self.batch(&batch),
                    None => break,
                },
            }
        }
        self.commit();
        if self.blocked.is_some() {
            tracing::error!(
                "the database cannot be written: files and journals will be read again, what came by sockets since the last \
                 commit is lost"
            );
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let Some(source) = self.sources.iter_mut().find(|source| source.fold.id == batch.source) else { return };
        let tapped = self.taps.receiver_count() > 0;
        let Core { desk, taps, evidence_left, evidence_untold, .. } = self;
        let evidence = &mut desk.pending.evidence;
        let mut lost = batch.lost;
        let Connected { name, fold: folding, counts, last, lag, minutes, .. } = source;
        fold(&mut desk.engine, folding, batch, counts, |seen, _| {
            lost = lost.saturating_add(losses(seen.record).unwrap_or(0));
            minutes.add(seen.record.received, seen.record.event);
            if let Some(at) = seen.record.event {
                *last = Some(at);
                *lag = Duration::from_micros(seen.record.received.0.saturating_sub(at.0).max(0).unsigned_abs());
            }
            if tapped {
                let row = reply::json(&reply::Record::of(seen, name));
                let _ = taps.send(format!("{row}\n").into());
            }
            let attempt = seen.folded.and_then(|folded| folded.attempt.as_ref());
            let Some(attempt) = attempt.filter(|attempt| attempt.times > 0 && !attempt.is_probe()) else { return };
            if batch.cursor.is_none() {
                let Some(left) = evidence_left.checked_sub(1) else {
                    *evidence_untold += 1;
                    return;
                };
                *evidence_left = left;
            }
            evidence.push(Evidence::of(attempt, name, seen.record.message));
        });
        source.lost = source.lost.saturating_add(lost);
        self.lost = self.lost.saturating_add(lost);
        if let Some(cursor) = &batch.cursor {
            source.cursor = Some(cursor.clone());
            // The first says where following began: without it, a crash now would make the next start begin anew.
            let first = !self.desk.cursors.contains_key(&source.name);
            self.desk.pending.cursors.insert(source.name.clone(), cursor.clone());
            let due = clock::monotonic() + if first { Duration::ZERO } else { CURSORS_EVERY };
            self.cursors_due = Some(self.cursors_due.map_or(due, |other| other.min(due)));
        }
        self.desk.gather();
        // A new deny is told at once, and committed with it, but in a flood of them; everything else waits for its group.
        let early = self.desk.early(clock::now());
        let denies = !early.denied.is_empty();
        if denies {
            self.publish(early);
        }
        let time = clock::monotonic();
        if denies && time.saturating_duration_since(self.committed) >= COMMIT_PAUSE
            || self.desk.pending_rows() >= PENDING_MAX
            || commit_is_due(time, self.blocked, self.cursors_due, false)
        {
            self.commit();
        }
    }

    /// `waiting`: records have come that were not folded yet.
    fn tick(&mut self, waiting: bool) {
        let (wall, time) = (clock::now(), clock::monotonic());
        self.evidence_left = (self.evidence_left + EVIDENCE_TICK).min(EVIDENCE_BURST);
        match self.wall.tick(wall, time) {
            // After a slow commit the records come first, or their hosts would seem to have been silent meanwhile.
            Wall::Steady if waiting && (self.blocked.is_some() || !self.put_off) => self.put_off = true,
            Wall::Steady => {
                self.put_off = false;
                self.desk.engine.step(wall, Input::Tick);
                self.sources.iter_mut().for_each(|source| source.notice(wall));
            }
            Wall::Stepped(seconds) => {
                tracing::warn!(seconds, "the clock was set; nothing is released until it has been steady for a minute");
            }
            Wall::Unsteady => {}
            Wall::SteadyAgain => {
                self.desk.engine.step(wall, Input::Tick);
                // Kernel timeouts do not follow the clock.
                self.send(|seq| DenyCommand::Replace { seq });
            }
        }
        self.desk.gather();
        if commit_is_due(time, self.blocked, self.cursors_due, self.desk.is_dirty()) {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let now = clock::now();
        // Who asks meanwhile shall not have to wait for the disk.
        let time = clock::monotonic();
        if time.saturating_duration_since(self.shown) >= COMMIT_EVERY {
            self.shown = time;
            self.latest.send_replace(Some(Arc::new(self.status())));
        }
        let done = self.desk.commit(now);
        self.committed = clock::monotonic();
        match done {
            Ok(changes) => {
                self.cursors_due = None;
                if self.blocked.take().is_some() {
                    tracing::info!("the database can be written again");
                }
                for change in &changes {
                    desk::log(change, now);
                }
                let diff = self.desk.late(&changes, now);
                self.publish(diff);
            }
            Err(error) => {
                if self.blocked.is_none() {
                    tracing::error!(%error, "inputs are held back until the database can be written; what is denied stays denied");
                }
                self.blocked = Some(clock::monotonic() + RETRY_EVERY);
            }
        }
    }

    fn publish(&mut self, diff: Diff) {
        if !diff.is_empty() {
            self.send(|seq| DenyCommand::Update { seq, diff: diff.clone() });
        }
    }

    fn send(&mut self, command: impl Fn(u64) -> DenyCommand) {
        self.seq += 1;
        for feed in &self.feeds {
            feed.send(command(self.seq));
        }
    }

    fn snapshot(&mut self, request: SnapshotRequest) {
        let want = self.desk.wanted(clock::now());
        let _ = request.reply.send((self.seq, want));
    }

    fn ask(&mut self, ask: Ask) {
        let answer = match &ask.request {
            Request::Status => Ok(Reply::Status(Box::new(self.status()))),
            request => {
                let answer = self.desk.answer(request, clock::now());
                self.desk.gather();
                let changes = !request.only_reads();
                if changes {
                    self.commit();
                }
                // What was refused will not be done later either.
                if changes && answer.is_ok() && self.blocked.is_some() {
                    Err("the database cannot be written now; it will be done as soon as it can".to_owned())
                } else {
                    answer
                }
            }
        };
        let _ = ask.reply.send(answer);
    }

    fn status(&self) -> reply::Status {
        let now = clock::now();
        let backends: Vec<_> = self.statuses.iter().map(|status| back_end(&status.borrow())).collect();
        let state = &self.desk.engine.state;
        reply::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            at: At(now),
            dry_run: self.dry_run,
            wanted: self.desk.wanted_len(),
            enforced: backends.iter().map(|place| place.enforced).min().unwrap_or(0),
            backends,
            inputs: self.sources.iter().map(|source| source.status(now)).collect(),
            senders: self.sources.iter().flat_map(|source| source.senders(now)).collect(),
            shapes: self.sources.iter().flat_map(Connected::shapes).collect(),
            tracked: state.tallies.len(),
            sessions: state.sessions.len(),
            unresolved: state.sessions.unresolved,
            held_back: self.blocked.is_some(),
            evicted: state.tallies.evicted + state.sessions.evicted,
            senders_untold: self.sources.iter().map(|source| source.fold.senders.untold).sum(),
            users_untold: state.users_untold,
            hosts_untold: state.hosts_untold,
            denies_refused: state.denies_refused,
            evidence_untold: self.evidence_untold,
        }
    }
}

fn back_end(status: &Status) -> BackEnd {
    let failing = status.failing.as_ref();
    BackEnd {
        name: status.name.clone(),
        wanted: status.wanted,
        enforced: status.enforced,
        error: failing.map(|(error, _)| error.clone()),
        failing_since: failing.map(|(_, at)| At(*at)),
        replaced: status.replaced.map(At),
    }
}

/// Whether to commit at a tick. While inputs are held back, also with nothing to write: only a commit that succeeds
/// lets them go on.
fn commit_is_due(time: Instant, blocked: Option<Instant>, cursors_due: Option<Instant>, dirty: bool) -> bool {
    match blocked {
        Some(retry) => retry <= time,
        None => dirty || cursors_due.is_some_and(|due| due <= time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_commit_is_tried_again_with_nothing_to_write() {
        let now = clock::monotonic();
        let later = now + RETRY_EVERY;
        assert!(commit_is_due(later, Some(later), None, false), "or the inputs are held back for ever");
        assert!(!commit_is_due(now, Some(later), Some(now), true));
        assert!(!commit_is_due(now, None, Some(later), false));
        assert!(commit_is_due(later, None, Some(later), false));
        assert!(commit_is_due(now, None, None, true));
    }
}
