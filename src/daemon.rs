//! `denyd run`: inputs to engine to store to projections.
//!
//! One thread owns engine and store and does everything in turn: fold, publish new denies, commit, publish the
//! rest. Inputs push into a bounded inbox and wait; projections are told and never waited for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use inputs::input::Worker;
use inputs::record::Batch;
use inputs::syslog::listen;
use tokio::sync::{broadcast, mpsc, watch};

use crate::clock;
use crate::config::{Backends, Config, Input};
use crate::decide::machine::Machine;
use crate::decide::policy::Policy;
use crate::deny::reconciler::{self, Reconcilers};
use crate::deny::{DenyBackend, choose};
use crate::desk::control::{self, Line};
use crate::desk::{self, Desk};
use crate::detect::rule::Rules;
use crate::store::{Store, StoreError};

mod connected;
pub(crate) mod feeds;
mod here;
mod log;
mod machine;
mod manager;
mod owner;
mod pace;
mod protected;
mod signals;
mod wall;

use connected::Connected;
use here::Here;
pub(crate) use log::Log;
use manager::Manager;
use owner::{Outside, Owner, Shown};

/// Batches that wait for the engine; a full inbox makes inputs wait.
const INBOX_MAX: usize = 16;
/// Requests that wait for the engine.
const ASKS_MAX: usize = 16;
/// How long the thread of an input may take to end, which has handed over everything, or hangs.
const WORKER_END: Duration = Duration::from_secs(1);
/// How long the back ends may take to carry out what they were told last.
const BACK_ENDS_END: Duration = Duration::from_secs(10);
/// Records that a slow `tap` may be behind.
const TAP_MAX: usize = 4_096;

/// Where a configuration is from.
pub(crate) struct Origin {
    /// The file, unless the defaults hold.
    pub(crate) file: Option<PathBuf>,
    /// What is wrong with it, so that the last good one holds.
    pub(crate) broken: Option<String>,
}

/// Runs until SIGTERM or SIGINT. A dry run enforces nothing, and prints what would be.
pub(crate) fn run(mut config: Config, origin: Origin, dry_run: bool, log: Log) -> anyhow::Result<()> {
    let ready = manager::ready()?;
    if dry_run {
        config.deny.backends = Backends::printing();
    }
    let inherited = listen::Inherited::of_process();
    let inputs = if config.inputs.is_empty() { vec![feeds::found()?] } else { config.inputs.clone() };
    let rules = Arc::new(config.rules()?.rules);
    let _told = dry_run.then(|| tracing::error_span!("DRY RUN").entered());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut desk, back_ends) = open_desk(&config, dry_run)?;
    let (batches_in, batches) = mpsc::channel(INBOX_MAX);
    let (asks_in, asks) = mpsc::channel(ASKS_MAX);
    let (stop_in, stop) = watch::channel(false);
    let (taps, _) = broadcast::channel(TAP_MAX);
    let (latest_in, latest) = watch::channel(None);
    let running = runtime.enter();
    let control = control::bind(&config.control_socket)?;
    let (sources, workers) = connect(&inputs, inherited, &rules, &mut desk, &batches_in)?;
    // So that they end when the last input does.
    drop(batches_in);
    let now = clock::now();
    if let Some(file) = origin.file.as_ref().filter(|_| !dry_run && origin.broken.is_none())
        && let Err(error) = config.keep(file)
    {
        tracing::warn!(%error, "this configuration could not be kept for when its file is broken");
    }
    let want = desk.publish_all(now);
    tracing::info!(
        inputs = inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", "),
        enforced_by = back_ends.iter().map(|back_end| back_end.name()).collect::<Vec<_>>().join(", "),
        rules = rules.iter().len(),
        denied = want.denied.len(),
        allowed = want.allowed.len(),
        "running"
    );
    let time = || (clock::now(), clock::monotonic());
    let mut reconcilers = Reconcilers::start(back_ends, &want, time, reconciler::Pace::default())?;
    if let Some(tried) = reconcilers.tried() {
        let _ = ready.send(tried);
    }
    let line = Line { asks: asks_in, latest, dry_run, taps: taps.clone(), decided: desk.decided() };
    let server = tokio::spawn(control::serve(control, line));
    let signals = tokio::spawn(signals::stop(stop_in));
    let reins = workers.iter().map(|worker| worker.reins.clone()).collect();
    let hangups = tokio::spawn(feeds::reload_on_hangup(reins, inputs.iter().any(Input::has_certificates)));
    let shown = Shown { taps, latest: latest_in, dry_run, since: now, origin };
    let outside = Outside { reconcilers, shown, log, manager: Manager::new(clock::monotonic()) };
    let owner = Owner::new(desk, sources, Here::new(&inputs), outside, now);
    drop(running);
    // The desk has this thread, and timers of its own, or another thread would have to wake for each of its ticks.
    // Clients and signals have the runtime's; inputs and projections have threads.
    let owner = tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let (mut owner, batches) = owner.run(batches, asks, stop).await;
        manager::tell_stopping();
        // First they are told, or the reader of a long file would hand over as fast as we take.
        workers.iter().for_each(|worker| worker.reins.stop());
        owner.finish(batches).await;
        owner
    });
    for worker in workers {
        worker.wait(WORKER_END);
    }
    for task in [server, signals, hangups] {
        task.abort();
    }
    if !owner.outside.reconcilers.stop(BACK_ENDS_END) {
        tracing::warn!("a back end did not end in time; what is denied stays denied");
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    let _ = std::fs::remove_file(&config.control_socket);
    match dry_run {
        true => tracing::info!("stopped; nothing is kept"),
        false => tracing::info!("stopped; what is denied stays denied"),
    }
    Ok(())
}

/// Opens the desk and makes the back ends. Where the database was lost, what they deny is taken over.
fn open_desk(config: &Config, dry_run: bool) -> anyhow::Result<(Desk, Vec<Box<dyn DenyBackend>>)> {
    let store = if dry_run { rehearse(&config.state_dir)? } else { open_store(&config.state_dir)? };
    if let Some(aside) = &store.set_aside {
        tracing::error!(file = %aside.display(), "the database was corrupt; it was set aside and a fresh one begun");
    }
    let lost = store.is_lost()?;
    let mut back_ends = desk::back_ends(config, &store)?;
    let now = clock::now();
    let mut desk = Desk::open(store, policy(config), now)?;
    if lost {
        let until = config.decide.policy.deny_for.map(|time| now.after(time));
        let kept = choose::kept(&mut back_ends, now, until)?;
        tracing::warn!(denied = kept.len(), "counts and cursors begin anew; what is denied now was taken over");
        desk.take_over(kept, now);
    }
    Ok((desk, back_ends))
}

/// What the engine decides by: the configuration, and what this machine is and whom it has. Whoever decides or enforces
/// here decides by that, a verb without a daemon too.
pub(crate) fn policy(config: &Config) -> Policy {
    let machine = if config.spare_machine { machine::read() } else { Machine::default() };
    let protected = protected::users(&config.decide.protect_groups);
    Policy { protected, machine, ..config.policy() }
}

/// Starts the inputs, each where its cursor is.
fn connect(
    inputs: &[Input],
    mut inherited: listen::Inherited,
    rules: &Arc<Rules>,
    desk: &mut Desk,
    sink: &mpsc::Sender<Batch>,
) -> anyhow::Result<(Vec<Connected>, Vec<Worker>)> {
    let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    anyhow::ensure!(names.len() <= usize::from(u16::MAX), "there are too many inputs");
    let (mut sources, mut workers) = (Vec::new(), Vec::new());
    for (id, input) in desk.number(&names)?.into_iter().zip(inputs) {
        let cursor = desk.cursor(&input.name);
        let worker = feeds::feed(input, id, cursor, &mut inherited, sink.clone())
            .with_context(|| format!("input {}", input.name))?;
        let mut source = Connected::new(input, id, rules, worker.health.clone());
        source.recall(desk)?;
        sources.push(source);
        workers.push(worker);
    }
    for socket in inherited.names() {
        tracing::warn!(socket, "no input listens where this socket of the service manager is, or has its name");
    }
    Ok((sources, workers))
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
