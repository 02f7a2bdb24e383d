//! `denyd run`: inputs to engine to store to projections.
//!
//! One thread owns engine and store and does everything in turn: fold, publish new denies, commit, publish the
//! rest. Inputs push into a bounded inbox and wait; projections are told and never waited for.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use inputs::record::{Batch, Timestamp};
use inputs::syslog::listen;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock;
use crate::config::{self, Config};
use crate::decide::machine::Machine;
use crate::decide::policy::Policy;
use crate::decide::prefix::Prefix;
use crate::deny;
use crate::deny::reconciler::{self, Reconcilers, Status};
use crate::deny::{DenyBackend, DenySet, choose};
use crate::desk::control::{self, Ask, Line};
use crate::desk::reply::Reply;
use crate::desk::{self, Desk, Request};
use crate::outbox;
use crate::store::{Restored, Store, StoreError};
use crate::work_dir::{WorkDir, by_hand};

mod alone;
mod configured;
mod connected;
mod descriptors;
mod drill;
pub(crate) mod feeds;
mod here;
mod keep;
mod leave;
pub(crate) mod lock_file;
mod log;
mod logins;
mod machine;
mod mailing;
mod manager;
pub(crate) mod names;
mod newcomer;
mod owner;
mod pace;
mod protected;
mod reading;
mod rehearse;
mod reload;
mod signals;
mod silent;
#[cfg(test)]
mod tests;
mod trial;
mod wall;

use alone::Alone;
use configured::{Configured, Fresh};
use connected::Connected;
use leave::Leave;
use lock_file::LockFile;
pub(crate) use log::Log;
use mailing::Mailing;
use manager::Manager;
pub(crate) use manager::RUNS;
use names::Resolver;
use owner::{News, Outside, Owner, Shown};
use protected::{ASKED_WITHIN, Asking, Late};
pub(crate) use trial::LONGEST as LONGEST_TRIAL;
use trial::{Order, Trial};
pub(crate) use wall::Clock;

/// Batches that wait for the engine; a full inbox makes inputs wait.
const INBOX_MAX: usize = 16;
/// Requests that wait for the engine.
const ASKS_MAX: usize = 16;
/// How long the back ends may take to carry out what they were told last.
const BACK_ENDS_END: Duration = Duration::from_secs(10);
/// Records that a slow `tap` may be behind.
const TAP_MAX: usize = 4_096;
/// Looks at the desk that may wait: each who looks waits for what he sees.
const LOOKS_MAX: usize = 1;

/// Where a configuration is from.
pub(crate) struct Origin {
    /// The file, unless the defaults hold.
    pub(crate) file: Option<PathBuf>,
    /// What is wrong with it, so that the last good one holds.
    pub(crate) broken: Option<String>,
    /// Where the person is logged in from who started us, if one did.
    pub(crate) caller: Option<IpAddr>,
    /// That person says that all who are gone from the files are to be forgiven.
    pub(crate) forgive_deleted: bool,
    /// What holds whatever the file says.
    pub(crate) given: Given,
}

/// What was said on the command line, which holds beside the configuration, and after each reload of it, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    /// No mail is sent.
    pub(crate) no_mail: bool,
    /// The least severe message that is logged.
    pub(crate) log_level: Option<tracing::Level>,
}

impl Given {
    /// The configuration as it holds with that.
    pub(crate) fn apply(self, config: &mut Config) {
        if self.no_mail {
            config.mail.to.clear();
        }
        config.log_level = self.log_level.unwrap_or(config.log_level);
    }
}

/// SIGHUP and SIGUSR1 wait from now on until [`run`] listens for them: they would end us. To be called before a thread is
/// started.
pub(crate) fn hold_signals() -> anyhow::Result<()> {
    Ok(signals::hold()?)
}

/// How it runs.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// It enforces.
    Real,
    /// The same, and once it does, who started it is told so, and it lets go of its output.
    Background,
    /// It does what is asked for, reads what its inputs have, unless it is `to_read` nothing, enforces, tells people, and ends.
    Once {
        /// What is asked for.
        asked: Vec<Request>,
        /// Whether the inputs are read.
        to_read: bool,
        /// Whether denied hosts are shared once all is read.
        to_share: bool,
    },
    /// It enforces, and goes back to what was unless somebody keeps the configuration within so many seconds.
    Trial(u64),
    /// It enforces nothing, and prints what would be.
    DryRun,
}

/// Runs until SIGTERM or SIGINT, or once. Where a configuration was tried and nobody kept it, what was before holds, in any
/// mode but a dry run. Returns what was answered to what was asked for.
pub(crate) fn run(config: Config, origin: Origin, mode: Mode, log: Log) -> anyhow::Result<Vec<Result<Reply, String>>> {
    if let Some(problem) = &origin.broken {
        tracing::error!(
            problem,
            "the configuration is broken, and the last good one holds; see denyd check, then restart"
        );
    }
    let ready = manager::ready(matches!(mode, Mode::Background))?;
    let inherited = listen::Inherited::of_process();
    let dry_run = matches!(mode, Mode::DryRun);
    if let Some(predecessor) = lock_file::predecessor(config.compat.lock_file.as_deref()).filter(|_| !dry_run) {
        bail!("{predecessor}");
    }
    let (once, to_read, to_share) = match mode {
        Mode::Once { ref asked, to_read, to_share } => (Some(asked.clone()), to_read, to_share),
        _ => (None, true, false),
    };
    let (fresh, mut trial) = if dry_run { (Fresh::of(config, true)?, None) } else { Trial::found(config)? };
    let _told = dry_run.then(|| tracing::error_span!("DRY RUN").entered());
    if once.is_none() {
        fresh.tell_admitted();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (late_in, late) = watch::channel(None);
    let (mut desk, back_ends, clock) = open_desk(&fresh.config, &mode, &late_in)?;
    let not_forgiven = if dry_run {
        None
    } else {
        let order = by_hand::Start {
            compat: &fresh.config.compat,
            hosts_deny: hosts_deny(&fresh.config, back_ends.iter().map(|back_end| back_end.name())),
            all: origin.forgive_deleted,
        };
        by_hand::start(&mut desk, order, clock.now())
    };
    if let Some(trial) = trial.as_mut().filter(|trial| !trial.order.ended) {
        // What that publishes is in the whole that is published below.
        match desk.take_back(trial.order.decided, clock.now()) {
            Ok(done) => {
                trial.is_taken_back = true;
                match done.written {
                    Ok(()) => trial.committed(&fresh.config.state_dir),
                    Err(error) => {
                        tracing::error!(%error, "whom the trial denied is let in again, and that is not yet written")
                    }
                }
            }
            // A start that fails lets everybody in, and whoever is denied in the firewall stays so.
            Err(error) => {
                tracing::error!(%error, "whom the trial denied cannot be told, and stays denied until the next start; see denyd list");
            }
        }
    }
    let order = match mode {
        Mode::Trial(seconds) if trial.is_none() => Some(order(seconds, &fresh.config, &origin, &desk)?),
        _ => None,
    };
    let is_idle = trial.as_ref().is_some_and(|trial| trial.is_idle);
    let mut alone = Alone::default();
    alone.also(&fresh.config, &back_ends)?;
    let (batches_in, batches) = mpsc::channel(INBOX_MAX);
    let (asks_in, asks) = mpsc::channel(ASKS_MAX);
    let (looks_in, looks) = mpsc::channel(LOOKS_MAX);
    let (stop_in, stop) = watch::channel(false);
    let (moved_in, moved) = watch::channel(());
    let (told_in, told) = watch::channel(outbox::AllDone::default());
    let (taps, _) = broadcast::channel(TAP_MAX);
    let (latest_in, latest) = watch::channel(None);
    let running = runtime.enter();
    let socket = fresh.config.control_socket.clone();
    let control = control::bind(&socket)?;
    let mut lock_file = LockFile::default();
    if !dry_run {
        lock_file.be_at(fresh.config.compat.lock_file.as_deref());
    }
    let asking = once.as_ref().map(|_| batches_in.clone());
    let (mut configured, sources) = Configured::start(fresh, inherited, &mut desk, (batches_in, to_read))?;
    let want = desk.publish_all(clock.now());
    let want = if is_idle { DenySet::default() } else { want };
    tracing::info!(
        inputs = sources.iter().map(Connected::name).collect::<Vec<_>>().join(", "),
        enforced_by = back_ends.iter().map(|back_end| back_end.name()).collect::<Vec<_>>().join(", "),
        rules = configured.rules().iter().len(),
        denied = want.denied.len(),
        allowed = want.allowed.len(),
        "running"
    );
    let left = leave::left(&desk, &configured.config, &back_ends, dry_run);
    desk.note_places(&configured.config, &back_ends);
    if let Some(address) = origin.caller.filter(|address| !dry_run && !desk.allows(*address)) {
        tracing::warn!("you are logged in from {address}, which may be denied as any other: denyd allow {address}");
    }
    let mut reconcilers = start_back_ends(back_ends, want, &clock)?;
    let leave = Leave::begin(left, reconcilers.enforced())?;
    if let Some(tried) = reconcilers.tried() {
        let _ = ready.send(tried);
    }
    let line =
        Line { asks: asks_in.clone(), looks: looks_in, latest, dry_run, taps: taps.clone(), decided: desk.decided() };
    let mut mailing = Mailing::new(line.clone(), told_in, once.is_some());
    mailing.configure(&mut desk, &configured.config);
    let work_dir = (!dry_run).then(|| WorkDir::start(line.clone(), configured.config.compat.work_dir.clone()));
    let work_dir = work_dir.transpose()?;
    let server = tokio::spawn(control::serve(control, line));
    let stops = tokio::spawn(signals::stop(stop_in));
    let is_once = once.is_some();
    let asked = once.zip(asking).map(|(asked, batches)| tokio::spawn(ask_all(asked, asks_in.clone(), batches)));
    if is_once {
        configured.finish();
    }
    // Who runs once has read its configuration just now.
    let (old_log_in, old_log) = watch::channel(configured.config.old_log.clone());
    let rereads = (!is_once)
        .then(|| [tokio::spawn(signals::hangup(asks_in.clone())), tokio::spawn(silent::watch(old_log, asks_in))]);
    let debug = tokio::spawn(signals::debug(log.toggle()));
    let (beside_in, beside) = watch::channel(None);
    let is_watched = !is_once && !dry_run;
    let beside_us =
        is_watched.then(|| tokio::spawn(lock_file::watch(configured.config.compat.lock_file.clone(), beside_in)));
    if let Err(error) = machine::watch(moved_in) {
        tracing::warn!(%error, "the kernel tells no changes of this machine's addresses; they are looked for once a minute");
    }
    let shown =
        Shown { taps, latest: latest_in, dry_run, since: clock::now(), origin, ends: is_once, not_forgiven, beside };
    let (mut resolver, answers) = Resolver::new();
    resolver.want(desk.allowed_names());
    let outside = Outside {
        reconcilers,
        alone,
        leave,
        mailing,
        work_dir,
        shown,
        log,
        late: late_in,
        manager: Manager::new(clock::monotonic()),
        resolver,
        lock_file,
        old_log: old_log_in,
    };
    if let Some(order) = order {
        trial = Some(Trial::begin(order));
    }
    let mut owner = Owner::new(desk, (configured, sources), outside, trial, clock);
    if to_share {
        owner.share_at_end();
    }
    if !is_once {
        owner.keep_configuration();
    }
    drop(running);
    // The desk has this thread, and timers of its own, or another thread would have to wake for each of its ticks.
    // Clients and signals have the runtime's; inputs and projections have threads.
    let owner = tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let (mut owner, batches) = owner.run(batches, (asks, looks), stop, News { moved, told, answers, late }).await;
        manager::tell_stopping();
        // First they are told, or the reader of a long file would hand over as fast as we take.
        owner.configured.stop();
        owner.finish(batches).await;
        owner
    });
    let mut owner = owner;
    let config = owner.configured.config.clone();
    let release_on_exit = config.deny.release_on_exit && !is_once;
    let mut problems = owner.problems();
    let shared = owner.shared();
    let statuses = owner.outside.reconcilers.statuses();
    let hosts_deny = hosts_deny(&config, statuses.iter().map(|place| &*place.name));
    let ends_well = !dry_run && !owner.is_idle() && !owner.is_unwritten();
    let is_still = owner.outside.work_dir.take().is_none_or(WorkDir::stop);
    owner.configured.wait();
    for task in [server, stops, debug].into_iter().chain(rereads.into_iter().flatten()).chain(beside_us) {
        task.abort();
    }
    let ended = owner.outside.reconcilers.stop_and_tell(BACK_ENDS_END);
    let is_ended = ended.is_ok();
    if !is_ended {
        tracing::warn!("a back end did not end in time; what is denied stays denied");
    }
    let statuses = ended.unwrap_or_else(|statuses| statuses).into_iter();
    problems.extend(statuses.filter_map(|Status { name, error, .. }| Some(format!("{name}: {}", error?))));
    let answers = asked.map(|asked| {
        runtime.block_on(async {
            let ended = tokio::time::timeout(Duration::ZERO, asked).await;
            ended.ok().and_then(Result::ok)
        })
    });
    let is_released = release_on_exit && !dry_run && is_ended && release(&config, &owner.desk);
    let noted = match (is_ended, is_still) {
        (true, true) if ends_well => by_hand::stop(&owner.desk, &config.compat, hosts_deny, clock::now()),
        (true, false) => Err("the work directory is still being written".to_owned()),
        _ => Ok(()),
    };
    if let Err(error) = noted {
        tracing::warn!(error, "whose lines are deleted until the next start is not forgiven by that");
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    let _ = std::fs::remove_file(&socket);
    owner.outside.lock_file.be_at(None);
    match (dry_run, is_released) {
        (true, _) => tracing::info!("stopped; nothing is kept"),
        (false, true) => tracing::info!("stopped; nobody is denied until the next start, as release_on_exit says"),
        (false, false) => tracing::info!("stopped; what is denied stays denied"),
    }
    ensure!(!is_once || problems.is_empty(), "{}", problems.join("; "));
    Ok(answers.flatten().unwrap_or_default().into_iter().chain(shared).collect())
}

/// Asks all of this in turn. What goes in by `batches` has not ended before that is answered.
async fn ask_all(
    asked: Vec<Request>,
    asks: mpsc::Sender<Ask>,
    batches: mpsc::Sender<Batch>,
) -> Vec<Result<Reply, String>> {
    let mut answers = Vec::new();
    for request in asked {
        let (reply, answer) = oneshot::channel();
        if asks.send(Ask { request, caller: None, reply }).await.is_err() {
            break;
        }
        let told = answer.await.map(|told| told.reply);
        answers.push(told.unwrap_or_else(|_| Err("denyd was stopped before it was done".to_owned())));
    }
    drop(batches);
    answers
}

/// Orders that the configuration goes back to the one that was kept last, or to nothing, and writes that.
fn order(seconds: u64, config: &Config, origin: &Origin, desk: &Desk) -> anyhow::Result<Order> {
    let file = origin.file.as_deref().unwrap_or(Path::new(config::FILE));
    let order =
        Order::new(seconds, *desk.decided().borrow(), config.kept(file).as_ref()).map_err(anyhow::Error::msg)?;
    order.trial.write(&config.state_dir).context("the order to go back cannot be written, so nothing is tried")?;
    Ok(order)
}

/// Starts the back ends, each in a thread of its own.
fn start_back_ends(back_ends: Vec<Box<dyn DenyBackend>>, want: DenySet, clock: &Clock) -> std::io::Result<Reconcilers> {
    let clock = clock.clone();
    let time = move || (clock.now(), clock::monotonic());
    Reconcilers::start(back_ends, want, time, reconciler::Pace::default())
}

/// The file of the back end hosts.deny, if that is among those in use.
fn hosts_deny<'a>(config: &'a Config, mut names: impl Iterator<Item = &'a str>) -> Option<&'a Path> {
    names.any(|name| name == deny::hosts_deny::NAME).then_some(&*config.deny.hosts_deny.path)
}

/// Takes every deny out of firewalls and files; whether nothing is left.
fn release(config: &Config, desk: &Desk) -> bool {
    let places =
        desk.take_away(config, clock::now()).unwrap_or_else(|error| vec![("the database".to_owned(), Err(error))]);
    let failed = places.iter().filter_map(|(place, done)| Some((place, done.as_ref().err()?)));
    failed.map(|(place, error)| tracing::error!(place, error, "what is denied there stays denied")).count() == 0
}

type BackEnds = Vec<Box<dyn DenyBackend>>;

/// Opens the desk and makes the back ends. Where the database was lost, what they deny is taken over.
fn open_desk(config: &Config, mode: &Mode, late: &watch::Sender<Late>) -> anyhow::Result<(Desk, BackEnds, Clock)> {
    let dry_run = matches!(mode, Mode::DryRun);
    let asking = Asking::begin(&config.decide.protect_groups, late.clone());
    let store = if dry_run { rehearse(&config.state_dir)? } else { open_store(&config.state_dir)? };
    if let Some(aside) = &store.set_aside {
        tracing::error!(file = %aside.display(), "the database was corrupt; it was set aside and a fresh one begun");
    }
    if let Some(error) = &store.without_disk {
        tracing::error!(%error, "the database cannot be opened: what could be read of it is enforced, and what is decided holds from memory until it can; make room");
    }
    let lost = store.is_lost()?;
    if let Some(Restored { copied, restored, .. }) = store.restored()? {
        tracing::warn!(%copied, %restored, "the database is a copy: what was logged since it was taken is not read; see denyd scan --apply");
    }
    let mut back_ends = desk::back_ends(config, &store)?;
    // Who runs once a week is always long after the last time, and does not wait for a minute.
    let is_usual = |last: &Timestamp| !matches!(mode, Mode::Once { .. }) || *last > clock::now();
    let last = store.last_wall()?.filter(is_usual);
    let clock = Clock::begin(last);
    if !clock.is_believed() {
        let seconds = last.map_or(0, |last| clock::now().secs() - last.secs());
        tracing::warn!(
            seconds,
            "the clock is far from when the database was written last; nothing is released until it has been steady for a minute"
        );
    }
    let now = clock.now();
    let mut desk = Desk::open(store, policy_with(config, asking.users(ASKED_WITHIN)), now)?;
    if lost {
        let until = config.decide.policy.deny_for.map(|time| now.after(time));
        let kept = choose::kept(&mut back_ends, now, until)?;
        let allowed = choose::allowed(&mut back_ends, now)?;
        let denied = kept.len();
        let allowed: Vec<_> = desk.take_over(kept, allowed, now).iter().map(Prefix::to_string).collect();
        let allowed = allowed.join(", ");
        tracing::warn!(
            denied,
            allowed,
            "counts and cursors begin anew; what is denied and allowed now was taken over; see denyd allow"
        );
    }
    Ok((desk, back_ends, clock))
}

/// What the engine decides by: the configuration, and what this machine is and whom it has. Whoever decides or enforces
/// here decides by that, a verb without a daemon too.
pub(crate) fn policy(config: &Config) -> Policy {
    let asking = Asking::begin(&config.decide.protect_groups, watch::Sender::new(None));
    policy_with(config, asking.users(ASKED_WITHIN))
}

/// The same, where it is known who is protected.
fn policy_with(config: &Config, protected: HashSet<Vec<u8>>) -> Policy {
    let machine = if config.spare_machine { machine::read() } else { Machine::default() };
    Policy { protected, machine, logins: logins::read(), ..config.policy() }
}

/// What a dry run begins with: what is remembered, in memory only.
fn rehearse(dir: &std::path::Path) -> anyhow::Result<Store> {
    tracing::warn!("nothing is enforced and nothing is kept: the database is only read");
    Store::rehearse(dir)
        .context("a dry run begins with what the database holds; give another state_dir if that cannot be read")
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
