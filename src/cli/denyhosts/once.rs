//! `denyhosts` without `--daemon`: what came since the last time, and what else is asked for; then it ends.
//!
//! It is the daemon itself, which ends when its inputs have come to their ends. Where a daemon runs already, that one does what is
//! asked for, and reads the log anyway.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use inputs::input::Start;

use super::options::Options;
use super::{background, edits, given, paper};
use crate::cli::office::Office;
use crate::cli::{person, scan, sync};
use crate::clock;
use crate::config::{Config, Source, program_name};
use crate::daemon::lock_file;
use crate::daemon::{self, Log, Mode, Origin, feeds};
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::control::Client;
use crate::desk::reply::{Applied, Forgiven, Reply, Synced};
use crate::store::{Store, StoreError};

/// How far back a journal is read by a run that is the first.
const JOURNAL_BACK: Duration = Duration::from_secs(7 * 86_400);

/// What DenyHosts said where that went wrong.
const NOT_SYNCED: &str = "Error synchronizing data";

/// What is asked for beside that the log is read, and what its answer means.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// Denies of old logs.
    Denied,
    /// Denies that end.
    Purged,
}

/// Runs it.
pub(super) fn run(options: &Options, file: &Path, mut config: Config) -> anyhow::Result<ExitCode> {
    let named = named(options)?;
    if options.identifier.is_some() && options.files.is_empty() && !options.ignore {
        eprintln!("denyhosts: --identifier means nothing without --file or --ignore, and is left out");
    }
    let mut requests = purges(options, &config, &named)?;
    given(options).apply(&mut config);
    let is_paper = paper::is_all(&config);
    let edits = options.migrate || options.upgrade099 || !requests.is_empty();
    ensure!(
        !is_paper || !edits,
        "whoever purges or migrates must be root: HOSTS_DENY and denyd's state are to be written"
    );
    if !is_paper && let Some(predecessor) = lock_file::predecessor(config.compat.lock_file.as_deref()) {
        bail!("{predecessor}");
    }
    ensure!(
        !options.sync || config.sync.is_wanted(),
        "--sync needs SYNC_SERVER in the configuration, and SYNC_UPLOAD or SYNC_DOWNLOAD"
    );
    ensure!(
        !options.sync || !is_paper,
        "whoever synchronises must be root: HOSTS_DENY and denyd's state are to be written"
    );
    edits::before(options, &config)?;
    // Their own records decide, whatever counts the log has come to.
    let mut files = options.files.clone();
    if files.is_empty() && (options.ignore || is_paper) {
        files = scan::stored(&config)?;
    }
    let mut code = ExitCode::SUCCESS;
    if !files.is_empty() {
        let judged = judge(options, files, &config, !is_paper)?;
        if judged.code != ExitCode::SUCCESS {
            code = ExitCode::from(1);
        }
        let due = judged.due();
        if is_paper {
            paper::print(&config, &due)?;
        } else if person::agrees_to_deny(due.len(), options.yes)? {
            requests.extend(scan::requests(&due).into_iter().map(|request| (request, Told::Denied)));
        } else {
            bail!("nobody was denied");
        }
    }
    if !is_paper {
        let mut counted = match running(&config, !requests.is_empty() || options.sync)? {
            Some(_) => {
                if options.verbose || options.debug {
                    eprintln!("denyhosts: denyd runs, and reads the log by itself; denyd status tells how that goes");
                }
                hand_over(&requests, &config, options)?
            }
            None => here(&requests, file, config.clone(), options)?,
        };
        counted.purged += edits::after(options, &config, &named)?;
        counted.tell(options)?;
    }
    Ok(code)
}

/// The addresses of `--purgeip`.
fn named(options: &Options) -> anyhow::Result<Vec<Prefix>> {
    if !options.purgeip {
        return Ok(Vec::new());
    }
    ensure!(!options.words.is_empty(), "--purgeip needs addresses, as in: denyhosts --purgeip 192.0.2.7 192.0.2.8");
    let parse = |word: &String| {
        word.parse().map_err(|_| {
            anyhow::anyhow!("{} is no address; options come before --purgeip and its addresses", word.escape_debug())
        })
    };
    let named: Vec<Prefix> = options.words.iter().map(parse).collect::<anyhow::Result<_>>()?;
    if let Some(net) = named.iter().find(|prefix| !prefix.is_host()) {
        bail!("{net} is no single address; for all of it: denyd forgive {net}");
    }
    Ok(named)
}

/// What ends.
fn purges(options: &Options, config: &Config, named: &[Prefix]) -> anyhow::Result<Vec<(Request, Told)>> {
    let mut requests = Vec::new();
    let who = person::name();
    for prefix in named {
        requests.push((Request::Forgive { prefix: Some(*prefix), who: who.clone() }, Told::Purged));
    }
    if options.purge_all {
        requests.push((Request::Purge { seconds: 1 }, Told::Purged));
    }
    if options.purge {
        let age = edits::age(config, "--purge")?;
        requests.push((Request::Purge { seconds: age.as_secs() }, Told::Purged));
    }
    Ok(requests)
}

/// What the files come to.
fn judge(options: &Options, files: Vec<PathBuf>, config: &Config, apply: bool) -> anyhow::Result<scan::Judged> {
    let identifier = options.identifier.as_deref().map(program_name).transpose().map_err(anyhow::Error::msg)?;
    scan::judge(&scan::Arguments::of(files, identifier, apply), config)
}

/// Has the daemon that runs do it. It reads the log by itself.
fn hand_over(requests: &[(Request, Told)], config: &Config, options: &Options) -> anyhow::Result<Counted> {
    let mut office = Office::new(config);
    let mut counted = Counted::default();
    for (request, told) in requests {
        match told {
            Told::Denied => counted.denied += office.ask::<Applied>(request)?.denied,
            Told::Purged => counted.purged += office.ask::<Forgiven>(request)?.released.len(),
        }
    }
    if options.sync {
        counted.synced = Some(office.ask(&Request::Sync).context(NOT_SYNCED)?);
    }
    Ok(counted)
}

/// Does it here.
fn here(requests: &[(Request, Told)], file: &Path, config: Config, options: &Options) -> anyhow::Result<Counted> {
    let given = given(options);
    let log = Log::to_stderr(given.log_level.unwrap_or(tracing::Level::WARN));
    let to_read = options.files.is_empty();
    let origin = Origin { file: Some(file.to_owned()), broken: None, caller: None, given, forgive_deleted: false };
    let asked = requests.iter().map(|(request, _)| request.clone()).collect();
    let answers = match daemon::run(
        of_once(config, options)?,
        origin,
        Mode::Once { asked, to_read, to_share: options.sync },
        log,
    ) {
        // Another run is at it, or a person: it, or the next one, reads what there is.
        Err(error) if requests.is_empty() && !options.sync && is_locked(&error) => return Ok(Counted::default()),
        answers => answers?,
    };
    let mut counted = Counted::default();
    let last = answers.len();
    for (nth, answer) in answers.into_iter().enumerate() {
        let answer = answer.map_err(anyhow::Error::msg);
        match if options.sync && nth + 1 == last { answer.context(NOT_SYNCED)? } else { answer? } {
            Reply::Synced(synced) => counted.synced = Some(synced),
            Reply::Applied(Applied { denied }) => counted.denied += denied,
            Reply::Forgiven(Forgiven { released, .. }) => counted.purged += released.len(),
            _ => {}
        }
    }
    Ok(counted)
}

/// Who runs, by its socket. Who asks for something waits for one that has not opened it yet, or is about to end.
fn running(config: &Config, asks: bool) -> anyhow::Result<Option<Client>> {
    let end = clock::monotonic() + background::ENDS_WITHIN;
    loop {
        let client = Client::connect(&config.control_socket)?;
        if client.is_some() || !asks || !Store::is_locked(&config.state_dir) || clock::monotonic() >= end {
            return Ok(client);
        }
        std::thread::sleep(background::LOOK_EVERY);
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Locked { .. }))
}

/// The configuration as it holds for a run that ends.
///
/// Nobody is there to end denies in time, so none has an end unless `--purge` is given: with DenyHosts, too, that alone ended
/// them. What is older than they last is not enforced any more.
fn of_once(mut config: Config, options: &Options) -> anyhow::Result<Config> {
    let policy = &mut config.decide.policy;
    let lasts = config.compat.purge_after.or(policy.deny_for);
    policy.replay_max_age = lasts.unwrap_or(Duration::MAX);
    policy.deny_for = lasts.filter(|_| options.purge);
    if !options.purge {
        policy.escalate.clear();
    }
    // A person is not to wait for the report of what he does.
    (config.mail.first_within, config.webhook.first_within) = (Duration::ZERO, Duration::ZERO);
    // `denyhosts` is silent; `denyd check` tells these.
    config.remarks.clear();
    if config.inputs.is_empty() {
        config.inputs = vec![feeds::found()?];
    }
    config.inputs.retain(|input| !matches!(input.source, Source::Syslog(_)));
    ensure!(
        !config.inputs.is_empty(),
        "no log that is stored is configured, and nobody sends by the network while denyd does not run"
    );
    for input in &mut config.inputs {
        input.first_read = match input.source {
            Source::Journald(_) => Start::Back(JOURNAL_BACK),
            _ => Start::Beginning,
        };
    }
    Ok(config)
}

/// What was done.
#[derive(Default)]
struct Counted {
    denied: usize,
    purged: usize,
    synced: Option<Synced>,
}

impl Counted {
    /// Says it, to who named logs, or wants to know.
    fn tell(&self, options: &Options) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        if !options.files.is_empty() || options.verbose && options.ignore {
            writeln!(out, "{} hosts denied", self.denied)?;
        }
        if options.verbose && (options.purge || options.purge_all || options.purgeip) {
            writeln!(out, "num entries purged: {}", self.purged)?;
        }
        if let Some(synced) = self.synced.as_ref().filter(|_| options.verbose) {
            writeln!(out, "{}", sync::words(synced))?;
        }
        Ok(())
    }
}
