//! The loop of the thread that owns the desk: whatever happens is told to it, in turn, and what follows is carried out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inputs::record::{Batch, Timestamp};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Origin;
use super::alone::Alone;
use super::configured::Configured;
use super::connected::Connected;
use super::drill::Drill;
use super::here::Here;
use super::leave::Leave;
use super::lock_file::LockFile;
use super::log::Log;
use super::mailing::Mailing;
use super::manager::Manager;
use super::names::{Answered, Resolver};
use super::pace::Pace;
use super::protected::Late;
use super::reading::Reading;
use super::trial::Trial;
use super::wall::{Clock, Wall};
use super::{logins, machine};
use crate::clock;
use crate::config::OldLog;
use crate::decide::forgives::FORGIVES_MAX;
use crate::deny::Diff;
use crate::deny::reconciler::{self, Reconcilers};
use crate::desk::control::{Ask, Told};
use crate::desk::reply::{self, At, Reply};
use crate::desk::{Asked, Committed, Desk, Effects, Look, Request};
use crate::outbox::AllDone;
use crate::work_dir::WorkDir;

/// How long the inputs may take to end.
const INPUTS_END: Duration = Duration::from_secs(5);
/// How often is looked whether this machine's addresses changed that nobody told of, while something else is to be done
/// anyway.
const MACHINE_EVERY: Duration = Duration::from_secs(60);
/// How long a run that ends by itself waits until people are told.
const TOLD_MAX: Duration = Duration::from_secs(30);
/// How long such a run waits for a server with which it shares: a little longer than a round may take.
const SHARED_MAX: Duration = Duration::from_secs(750);
/// How often is looked whether they are.
const TOLD_EVERY: Duration = Duration::from_millis(20);
/// How often is looked whether a trial is over.
const TRIAL_EVERY: Duration = Duration::from_secs(1);
/// Who may wait to ask something of configurations while one is read.
const LATER_MAX: usize = 64;
/// The status is made anew before a commit if it is older.
const SHOWN_EVERY: Duration = Duration::from_millis(250);

/// What people see.
pub(super) struct Shown {
    pub(super) taps: broadcast::Sender<Arc<str>>,
    /// How a commit found us, not long ago.
    pub(super) latest: watch::Sender<Option<Arc<reply::Status>>>,
    pub(super) dry_run: bool,
    /// When it was started.
    pub(super) since: Timestamp,
    pub(super) origin: Origin,
    /// Whether it ends by itself.
    pub(super) ends: bool,
    /// Who was deleted by hand before the start and is not forgiven.
    pub(super) not_forgiven: Option<String>,
    /// That DenyHosts itself was started beside us.
    pub(super) beside: watch::Receiver<Option<String>>,
}

/// Who is told of what happens at the desk.
pub(super) struct Outside {
    pub(super) reconcilers: Reconcilers,
    pub(super) alone: Alone,
    pub(super) leave: Leave,
    pub(super) mailing: Mailing,
    /// What keeps DenyHosts' files; none in a dry run.
    pub(super) work_dir: Option<WorkDir>,
    pub(super) shown: Shown,
    pub(super) log: Log,
    pub(super) manager: Manager,
    pub(super) resolver: Resolver,
    pub(super) lock_file: LockFile,
    /// Where it is told who is protected, if that took long.
    pub(super) late: watch::Sender<Late>,
    /// Where it is told which log a DenyHosts configuration names.
    pub(super) old_log: watch::Sender<Option<OldLog>>,
}

/// What other threads tell.
pub(super) struct News {
    /// That this machine's addresses changed.
    pub(super) moved: watch::Receiver<()>,
    /// How far mail, webhook and the others have come.
    pub(super) told: watch::Receiver<AllDone>,
    /// What names on the allow list resolve to.
    pub(super) answers: mpsc::Receiver<Answered>,
    /// Who is protected, if that took long.
    pub(super) late: watch::Receiver<Late>,
}

/// What the engine's thread owns.
pub(super) struct Owner {
    pub(super) desk: Desk,
    pub(super) configured: Configured,
    pub(super) sources: Vec<Connected>,
    pub(super) here: Here,
    pub(super) outside: Outside,
    /// The configuration is on trial, or went back.
    pub(super) trial: Option<Trial>,
    /// When the latest status was made.
    shown_at: Instant,
    /// When this machine's addresses were looked at.
    machine_at: Instant,
    /// When it was last looked who is logged in.
    looked_at: Instant,
    pub(super) clock: Clock,
    /// A configuration is being read.
    pub(super) reading: Option<Reading>,
    /// What was asked of configurations meanwhile.
    pub(super) later: VecDeque<Ask>,
    /// When people forgave while the clock was not believed, by it and by time.
    forgiven: Vec<(Timestamp, Instant)>,
    /// Failures that count nowhere.
    pub(super) drill: Option<Drill>,
    pace: Pace,
    sharing: Sharing,
}

/// How far sharing is, of a run that ends by itself.
enum Sharing {
    /// Nobody wants that.
    Unwanted,
    /// It comes once all is read.
    Later,
    /// It goes on.
    Now(oneshot::Receiver<Told>),
    /// It is done.
    Done(Result<Reply, String>),
}

impl Owner {
    /// The owner of a desk, and of inputs that have just been started.
    pub(super) fn new(
        desk: Desk,
        (configured, sources): (Configured, Vec<Connected>),
        outside: Outside,
        trial: Option<Trial>,
        clock: Clock,
    ) -> Self {
        let time = clock::monotonic();
        let pace = Pace::new(time);
        let here = Here::new(&configured.inputs());
        let forgiven = Vec::new();
        Owner {
            desk,
            configured,
            sources,
            here,
            outside,
            trial,
            shown_at: time,
            machine_at: time,
            looked_at: time,
            clock,
            reading: None,
            later: VecDeque::new(),
            forgiven,
            drill: None,
            pace,
            sharing: Sharing::Unwanted,
        }
    }

    pub(super) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        (mut asks, mut looks): (mpsc::Receiver<Ask>, mpsc::Receiver<Look>),
        mut stop: watch::Receiver<bool>,
        News { mut moved, mut told, mut answers, mut late }: News,
    ) -> (Self, mpsc::Receiver<Batch>) {
        // Since when all is read, where the inputs end by themselves.
        let mut read = None;
        loop {
            if read.is_some_and(|read| self.is_told(read)) {
                break;
            }
            let left = self.trial.as_ref().and_then(Trial::left);
            if left == Some(Duration::ZERO) {
                self.go_back();
                continue;
            }
            while self.reading.is_none()
                && let Some(ask) = self.later.pop_front()
            {
                self.hear(ask);
            }
            let wake = self.pace.wake(self.desk.waits(self.clock.now(), Pace::IDLE));
            // By chance among those that are ready: people who only look must not keep records waiting, nor these them.
            tokio::select! {
                _ = stop.changed() => break,
                // Where nobody can tell, it is looked once a minute.
                Ok(()) = moved.changed() => self.look_at_machine(self.clock.now(), clock::monotonic()),
                Ok(()) = told.changed() => self.told(told.borrow_and_update().clone()),
                Some(Answered { name, answer }) = answers.recv() => {
                    let effects = self.desk.hear_name(&name, answer, self.clock.now());
                    self.carry_out(effects);
                }
                Ok(()) = late.changed() => self.protect(late.borrow_and_update().clone()),
                () = tokio::time::sleep_until(wake.into()) => self.tick(!batches.is_empty()),
                // Its clock goes on while the machine sleeps, and the timer's does not.
                () = tokio::time::sleep(left.unwrap_or_default().min(TRIAL_EVERY)), if left.is_some() => {}
                read = Reading::done(&mut self.reading) => self.was_read(read, &mut batches).await,
                Some(ask) = asks.recv() => self.hear(ask),
                Some(look) = looks.recv() => look(&self.desk, self.clock.now()),
                () = tokio::time::sleep(TOLD_EVERY), if read.is_some() => {}
                batch = batches.recv(), if !self.pace.is_blocked() && read.is_none() => {
                    let Some(batch) = batch else {
                        self.sources.iter_mut().for_each(|source| source.keep(&mut self.desk));
                        self.commit();
                        read = Some(clock::monotonic());
                        continue;
                    };
                    self.batch(batch);
                    // Chance may keep a person waiting; more than one batch and its commit it is not to be.
                    if let Ok(ask) = asks.try_recv() {
                        self.hear(ask);
                    }
                }
            }
        }
        (self, batches)
    }

    /// Denied hosts are to be shared once all is read.
    pub(super) fn share_at_end(&mut self) {
        self.sharing = Sharing::Later;
    }

    /// What came of that.
    pub(super) fn shared(&mut self) -> Option<Result<Reply, String>> {
        match std::mem::replace(&mut self.sharing, Sharing::Unwanted) {
            Sharing::Unwanted => None,
            Sharing::Done(done) => Some(done),
            Sharing::Later | Sharing::Now(_) => Some(Err("denyd was stopped before it was done".to_owned())),
        }
    }

    /// Whether nobody waits for sharing any more, since when all was read.
    fn is_shared(&mut self, read: Instant) -> bool {
        match &mut self.sharing {
            Sharing::Unwanted | Sharing::Done(_) => return true,
            Sharing::Later => {
                let (reply, answer) = oneshot::channel();
                self.outside.mailing.share(reply);
                self.sharing = Sharing::Now(answer);
            }
            Sharing::Now(answer) => match answer.try_recv() {
                Ok(told) => self.sharing = Sharing::Done(told.reply),
                Err(oneshot::error::TryRecvError::Empty) if clock::monotonic() < read + SHARED_MAX => {}
                Err(_) => self.sharing = Sharing::Done(Err("the server is too slow".to_owned())),
            },
        }
        false
    }

    /// Whether all that was decided is told to people, or cannot be now, since when all was read.
    fn is_told(&mut self, read: Instant) -> bool {
        if !self.is_shared(read) {
            return false;
        }
        let decided = *self.desk.decided().borrow();
        self.outside.mailing.has_told(decided) || clock::monotonic() >= read + TOLD_MAX
    }

    /// What did not go well: of a run that ends by itself, for who started it.
    pub(super) fn problems(&self) -> Vec<String> {
        let inputs = self.sources.iter().filter_map(Connected::problem);
        let unwritten = self.pace.is_unwritten().then(|| "the database cannot be written; make room".to_owned());
        inputs.chain(unwritten).collect()
    }

    /// Does what a person or a signal asks for. While a configuration is read, what else is asked of configurations waits.
    pub(super) fn hear(&mut self, ask: Ask) {
        let is_of_configurations = matches!(ask.request, Request::Reload | Request::Try { .. } | Request::Keep { .. });
        if is_of_configurations && self.reading.is_some() {
            // Who is turned away by the bound learns it by the end of his line.
            if self.later.len() < LATER_MAX {
                self.later.push_back(ask);
            }
            return;
        }
        match ask.request {
            Request::Reload | Request::Try { .. } => self.reload(ask),
            Request::Keep { console } => self.keep(ask, console),
            Request::Drill { step, input, ipv6 } => {
                let reply = self.drill_on(step, input.as_deref(), ipv6).map(|told| Reply::Drill(Box::new(told)));
                let _ = ask.reply.send(Told { reply, unwritten: false });
            }
            Request::Sync => self.outside.mailing.share(ask.reply),
            _ => self.ask(ask),
        }
    }

    /// Takes what the inputs, which were told to stop, still hand over: what came by a socket is nowhere else.
    pub(super) async fn finish(&mut self, mut batches: mpsc::Receiver<Batch>) {
        let all = async {
            while let Some(batch) = batches.recv().await {
                self.batch(batch);
            }
        };
        if tokio::time::timeout(INPUTS_END, all).await.is_err() {
            tracing::warn!("an input did not end in time; what it had read may be lost");
        }
        self.end_drill();
        self.sources.iter_mut().for_each(|source| source.keep(&mut self.desk));
        let told = self.outside.mailing.settle();
        let _ = self.outside.mailing.keep(told, &mut self.desk, self.clock.now());
        self.commit();
        if self.pace.is_unwritten() {
            tracing::error!(
                "the database cannot be written: files and journals will be read again, what came by sockets or was asked \
                 since the last commit is lost; what is denied now stays denied until the next start"
            );
        }
    }

    pub(super) fn batch(&mut self, mut batch: Batch) {
        if self.drill.is_some() {
            self.drill(&mut batch);
        }
        let Some(source) = self.sources.iter_mut().find(|source| source.fold.id == batch.source) else { return };
        let taps = &self.outside.shown.taps;
        let tapped = taps.receiver_count() > 0;
        let effects = source.take(&mut self.desk, &batch, self.clock.now(), |seen, name| {
            if tapped {
                let row = reply::json(&reply::Record::of(seen, name));
                let _ = taps.send(format!("{row}\n").into());
            }
        });
        self.carry_out(effects);
    }

    /// People were told so far.
    fn told(&mut self, told: AllDone) {
        let effects = self.outside.mailing.keep(told, &mut self.desk, self.clock.now());
        self.carry_out(effects);
    }

    /// `waiting`: records have come that were not folded yet.
    fn tick(&mut self, waiting: bool) {
        let time = clock::monotonic();
        self.end_drill_in_time();
        self.outside.manager.alive(time);
        self.outside.log.tell_dropped();
        let (steady, wall) = (self.clock.tick(), self.clock.now());
        let effects = match steady {
            Wall::Steady if self.pace.ticks(waiting, time) => {
                for source in &mut self.sources {
                    source.notice(wall);
                    source.keep(&mut self.desk);
                }
                self.here.look(&mut self.sources, wall, false);
                if time.saturating_duration_since(self.machine_at) >= MACHINE_EVERY {
                    self.look_at_machine(wall, time);
                }
                // However often addresses come and go.
                if time.saturating_duration_since(self.looked_at) >= MACHINE_EVERY {
                    self.looked_at = time;
                    self.desk.set_logins(logins::read());
                    self.outside.mailing.mend(&mut self.desk, &self.configured.config);
                }
                self.desk.tick(wall)
            }
            Wall::Steady | Wall::Unsteady => Effects::default(),
            Wall::Stepped(seconds) => {
                tracing::warn!(seconds, "the clock was set; nothing is released until it has been steady for a minute");
                Effects::default()
            }
            Wall::SteadyAgain(after) => {
                for (at, then) in std::mem::take(&mut self.forgiven) {
                    let right = wall.before(time.saturating_duration_since(then));
                    self.desk.redate(at, right, wall);
                }
                // Kernel timeouts do not follow the clock.
                self.outside.reconcilers.rewrite();
                let diff = self.desk.clock_was_set(after, wall);
                self.publish(&diff);
                self.desk.tick(wall)
            }
        };
        self.carry_out(effects);
    }

    /// It is known at last who is of some groups.
    fn protect(&mut self, late: Late) {
        if let Some((groups, users)) = late
            && groups == self.configured.config.decide.protect_groups
        {
            self.desk.set_protected(users);
        }
    }

    /// Sees whether addresses or links came or went.
    fn look_at_machine(&mut self, wall: Timestamp, time: Instant) {
        // Where it is to be spared at all, loopback is known.
        let is_wanted = !self.desk.machine().own.is_empty();
        self.machine_at = time;
        if !is_wanted {
            return;
        }
        let now = machine::read();
        if now != *self.desk.machine() {
            tracing::info!(addresses = now.own.len(), links = now.links.len(), "this machine's addresses changed");
            let effects = self.desk.set_machine(now, wall);
            self.carry_out(effects);
        }
    }

    pub(super) fn carry_out(&mut self, effects: Effects) {
        self.publish(&effects.publish);
        if self.pace.is_full(effects.waiting.rows) {
            let rows = self.desk.squeeze();
            self.pace.squeezed(rows);
        }
        if self.pace.hear(effects.waiting, clock::monotonic()) {
            self.commit();
        }
    }

    pub(super) fn commit(&mut self) {
        self.show();
        let begun = clock::monotonic();
        let done = self.desk.commit(self.clock.now());
        self.committed(begun, done);
    }

    /// Who asks while the disk is written shall not have to wait for it.
    fn show(&mut self) {
        let time = clock::monotonic();
        if time.saturating_duration_since(self.shown_at) >= SHOWN_EVERY {
            self.shown_at = time;
            self.outside.shown.latest.send_replace(Some(Arc::new(self.status())));
        }
    }

    pub(super) fn committed(&mut self, begun: Instant, Committed { publish, written }: Committed) {
        let time = clock::monotonic();
        match written {
            Ok(()) => {
                if self.pace.committed(time) {
                    tracing::info!("the database can be written again, and all is written");
                }
                if let Some(trial) = &mut self.trial {
                    trial.committed(&self.configured.config.state_dir);
                }
            }
            Err(error) => {
                if self.pace.failed(begun, time) {
                    tracing::error!(%error, "the database cannot be written: what is decided holds from memory until it can; make room");
                }
            }
        }
        self.publish(&publish);
    }

    /// Whether nothing is enforced: a trial went back to that.
    pub(super) fn is_idle(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.is_idle)
    }

    /// Whether something waits for a database that cannot be written.
    pub(super) fn is_unwritten(&self) -> bool {
        self.pace.is_unwritten()
    }

    pub(super) fn publish(&self, diff: &Diff) {
        if !diff.is_empty() && !self.is_idle() {
            self.outside.reconcilers.send(diff, || self.desk.wanted(self.clock.now()));
        }
    }

    fn ask(&mut self, ask: Ask) {
        if ask.request == Request::Status {
            self.here.look(&mut self.sources, clock::now(), true);
            let _ = ask.reply.send(Told { reply: Ok(Reply::Status(Box::new(self.status()))), unwritten: false });
            return;
        }
        let now = self.clock.now();
        if !ask.request.only_reads() {
            self.show();
        }
        let begun = clock::monotonic();
        let at = self.clock.asked(&ask.request);
        if matches!(ask.request, Request::Forgive { .. } | Request::ForgiveUser { .. }) {
            self.forgave(at);
        }
        let Asked { reply, committed } = self.desk.ask_by(&ask.request, at, now);
        let unwritten = committed.as_ref().is_some_and(|done| done.written.is_err());
        if let Some(done) = committed {
            self.committed(begun, done);
        }
        if matches!(ask.request, Request::Allow { entry: Some(_), .. }) {
            self.outside.resolver.want(self.desk.allowed_names());
        }
        let _ = ask.reply.send(Told { reply, unwritten });
    }

    /// Somebody forgives. When that was is set right once it is known.
    fn forgave(&mut self, at: Timestamp) {
        if !self.clock.is_believed() && self.forgiven.len() < FORGIVES_MAX {
            self.forgiven.push((at, clock::monotonic()));
        }
    }

    fn status(&self) -> reply::Status {
        let now = clock::now();
        let statuses = self.outside.reconcilers.statuses();
        let [mail, webhook] = self.outside.mailing.status();
        reply::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            ends: self.outside.shown.ends,
            at: At(now),
            since: Some(At(self.outside.shown.since)),
            configuration: self.outside.shown.origin.file.clone(),
            configuration_broken: self.outside.shown.origin.broken.clone(),
            trial: self.trial.as_ref().map(Trial::shown),
            dry_run: self.outside.shown.dry_run,
            enforced: reconciler::enforced(&statuses),
            backends: statuses,
            left: self.outside.leave.problems(),
            unread: self.here.unread(&self.sources),
            inputs: self.sources.iter().map(|source| source.status(now)).collect(),
            senders: self.sources.iter().flat_map(|source| source.senders(now)).collect(),
            senders_untold: self.sources.iter().map(|source| source.fold.senders.untold).sum(),
            shapes: self.sources.iter().flat_map(Connected::shapes).collect(),
            unwritten: self.pace.is_unwritten(),
            held_back: self.pace.is_blocked(),
            mail,
            webhook,
            work_dir: self.outside.work_dir.as_ref().and_then(WorkDir::status),
            not_forgiven: self.outside.shown.not_forgiven.clone(),
            beside: self.outside.shown.beside.borrow().clone(),
            outputs: self.outside.mailing.outputs(),
            sync: self.outside.mailing.shared(&self.desk),
            ..self.desk.status()
        }
    }
}
