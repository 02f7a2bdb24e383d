//! `denyd scan FILE…`: the whole pipeline over files, by event time. Enforces nothing, unless told to `--apply`.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use inputs::log::Log;
use inputs::record::{Batch, SourceId, Timestamp};

mod fold;
mod report;

use super::lines::Reading;
use super::output::count;
use super::{office, person};
use crate::clock;
use crate::config::{Config, Source as ConfigSource};
use crate::daemon::{self, feeds};
use crate::decide::claim::Claim;
use crate::decide::engine::{Engine, Input};
use crate::decide::policy::Policy;
use crate::decide::prefix::Prefix;
use crate::decide::state::Change;
use crate::desk::reply::Applied;
use crate::desk::{APPLIED_MAX, Request};
use crate::intake::{Counts, Source};
use crate::text::printable;
use fold::Fold;

/// Distinct addresses that are told apart; beyond it `addresses` is a lower bound, and says so.
const ADDRESSES_MAX: usize = 4_000_000;
/// Shapes of what is not understood that are shown.
const SHAPES_SHOWN: usize = 10;
/// Files of which nothing was understood that are named.
const BLIND_SHOWN: usize = 10;
/// Characters of a line that are shown.
const LINE_SHOWN: usize = 120;
/// So many lines of a file look like a service's and were not understood, before that is warned of.
const ODD_MIN: u64 = 10;
/// Input of this size or more gets a progress bar, in bytes.
const PROGRESS_FROM: u64 = 50_000_000;

/// The exit status where nothing was understood, or much that is sshd's was not.
const BLIND: u8 = 3;

/// What `scan` takes.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = super::describe::examples([
    ("scan", "the log that `denyd run` would find"),
    ("scan /var/log/auth.log*", "files, rotated and packed ones too"),
    ("scan --all --json /var/log/auth.log", "all that failed, for a program"),
]))]
pub(super) struct Arguments {
    /// Log files and journals, also .gz .bz2 .zst .xz; `-` is standard input [default: the configured inputs, else the log
    /// that `run` would find]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Deny, by the daemon or the configured back ends, whom the log would still have denied now, however old it is
    #[arg(long)]
    apply: bool,
    /// With --apply: do not ask before many are denied
    #[arg(long, requires = "apply")]
    yes: bool,
    /// Show the counts of every prefix and user too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    lines: super::lines::Options,
}

/// What a scan found beside the engine's state.
#[derive(Default)]
pub(super) struct Found {
    counts: Counts,
    /// What could not be read of journals.
    damaged: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    addresses: Addresses,
    /// The files of which nothing was understood, or much was not.
    blind: Vec<BlindFile>,
    /// Lines that look like a service's and were not understood.
    odd: u64,
    denied: Vec<(Prefix, Claim)>,
    suspicious: Vec<(IpAddr, Vec<u8>, Timestamp)>,
    /// What the records look like that no shape fits, and how many are like that.
    shapes: Vec<(String, u64)>,
    /// With `--all`: who was tried from where.
    pairs: Option<HashSet<(usize, IpAddr), foldhash::fast::RandomState>>,
}

/// Distinct addresses. IPv4's have a set of their own, four bytes each: most of them are.
#[derive(Default)]
struct Addresses {
    v4: HashSet<Ipv4Addr, foldhash::fast::RandomState>,
    v6: HashSet<Ipv6Addr, foldhash::fast::RandomState>,
    /// There were more than [`ADDRESSES_MAX`].
    untold: bool,
}

impl Addresses {
    fn insert(&mut self, address: IpAddr) {
        let is_full = self.len() >= ADDRESSES_MAX;
        match address {
            IpAddr::V4(v4) if is_full => self.untold |= !self.v4.contains(&v4),
            IpAddr::V6(v6) if is_full => self.untold |= !self.v6.contains(&v6),
            IpAddr::V4(v4) => _ = self.v4.insert(v4),
            IpAddr::V6(v6) => _ = self.v6.insert(v6),
        }
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// Runs the verb.
pub(super) fn run(mut arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    if arguments.files.is_empty() {
        arguments.files = stored(config)?;
        let files = arguments.files.iter().map(|file| file.display().to_string());
        eprintln!("denyd: scans {}", files.collect::<Vec<_>>().join(", "));
    }
    let judged = judge(&arguments, config)?;
    let Judged { engine, found, code } = &judged;
    if arguments.json {
        report::print_json(engine, found)?;
    } else {
        report::print(engine, found, arguments.all)?;
    }
    if !arguments.apply {
        return Ok(*code);
    }
    let due = judged.due();
    if !person::agrees_to_deny(due.len(), arguments.yes)? {
        eprintln!("denyd: nobody was denied");
        return Ok(ExitCode::from(1));
    }
    let mut applied = 0;
    for request in requests(&due) {
        let answer: Applied = office::ask(config, &request)?;
        applied += answer.denied;
    }
    if !arguments.json {
        println!("{applied} denied now; the others were already, are over, or are never denied here.");
    }
    Ok(*code)
}

impl Arguments {
    /// Files, of one program's own output or not, of which is shown who would be denied, or denied.
    pub(super) fn of(files: Vec<PathBuf>, identifier: Option<&'static str>, apply: bool) -> Self {
        let lines = super::lines::Options::of_program(identifier);
        Arguments { files, apply, lines, ..Arguments::default() }
    }
}

/// What logs came to.
pub(super) struct Judged {
    engine: Engine,
    pub(super) found: Found,
    /// The exit status: not 0 where something could not be read, or was not understood.
    pub(super) code: ExitCode,
}

/// Reads the files from end to end. Who asks for that means their records, however old they are: what would be denied for ever
/// is not left out for the age of its record.
pub(super) fn judge(arguments: &Arguments, config: &Config) -> anyhow::Result<Judged> {
    let mut files = Vec::new();
    for path in &arguments.files {
        files.push(Opened::new(path, arguments.lines.of(path, config)?)?);
    }
    // By their first stamps; what has none keeps its place before the others.
    files.sort_by_key(|file| file.first);
    let bar = progress(files.iter_mut().map(|file| file.log.stored().size()).sum(), arguments.json);
    let [mut lines, mut journal] = [0, 1].map(|_| Source::new(SourceId(0), None, &clock::host_name()));
    lines.rules = Arc::new(config.rules()?.rules);
    journal.rules = Arc::clone(&lines.rules);
    let found = Found { pairs: arguments.all.then(HashSet::default), ..Found::default() };
    if config.policy().allow.names().next().is_some() {
        eprintln!("denyd: host names on the allow list are not resolved here; what they allow may be shown as denied");
    }
    // What is shown speaks of any machine, and what is denied of this one.
    let policy = if arguments.apply { daemon::policy(config) } else { config.policy() };
    let replay_max_age = config.compat.purge_after.unwrap_or(Duration::MAX);
    let mut engine = Engine::new(Policy { replay_max_age, ..policy });
    // All files are one input: a copy of a log is the same log.
    engine.set_inputs(1);
    let mut fold = Fold { engine, lines, journal, found };
    let mut code = ExitCode::SUCCESS;
    for Opened { path, mut log, batch, reading, .. } in files {
        let before = fold.begin(reading);
        if let Err(error) = fold.log(&mut log, batch, &bar) {
            // What was read of it counts; the others are read all the same.
            eprintln!("denyd: {error}");
            code = ExitCode::from(2);
        }
        fold.found.damaged += log.stored().counters().lost();
        fold.end(path, &log, before);
    }
    bar.finish_and_clear();
    let Fold { mut engine, lines, journal, mut found } = fold;
    // Nothing more will come: what waits for another line of its connection is decided now.
    engine.step(clock::now(), Input::End);
    take_changes(&mut engine, &mut found);
    counted_alone(&engine, &mut found.addresses);
    let shapes = [&lines, &journal].into_iter().flat_map(|source| source.shapes.top(SHAPES_SHOWN));
    found.shapes = shapes.map(|(shape, records)| (shape.to_owned(), records)).collect();
    found.denied.sort_by_key(|(prefix, claim)| (claim.since, *prefix));
    if warn_of_blind(&found) && code == ExitCode::SUCCESS {
        code = ExitCode::from(BLIND);
    }
    Ok(Judged { engine, found, code })
}

/// What is stored of the configured inputs, else of the log that `run` would find.
pub(super) fn stored(config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    let inputs = if config.inputs.is_empty() { vec![feeds::found()?] } else { config.inputs.clone() };
    let mut files = Vec::new();
    for input in &inputs {
        match &input.source {
            ConfigSource::File(file) => files.push(file.path.clone()),
            ConfigSource::Multilog(multilog) => files.push(multilog.path.join("current")),
            ConfigSource::Journald(journald) => files.extend(journals(journald.directory.as_deref())),
            ConfigSource::Syslog(_) => {}
        }
    }
    if files.is_empty() {
        bail!(
            "there is no file to scan: nothing that is stored is configured, or the journal is empty; name one: denyd scan FILE"
        );
    }
    Ok(files)
}

/// The files of a journal: of this machine's, or of the one in that directory.
fn journals(directory: Option<&Path>) -> Vec<PathBuf> {
    let list = |place: &Path| std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let places: Vec<_> = match directory {
        Some(directory) => vec![directory.to_owned()],
        None => ["/var/log/journal", "/run/log/journal"].into_iter().flat_map(|place| list(Path::new(place))).collect(),
    };
    // What users wrote into their own is no sshd's.
    let is_ours = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().as_bytes();
        name.ends_with(b".journal") && !name.starts_with(b"user-")
    };
    places.iter().flat_map(|place| list(place)).filter(is_ours).collect()
}

/// A file that has lines of which none was understood, or many were not.
struct BlindFile {
    path: PathBuf,
    what: String,
    /// One of them.
    line: Option<Box<[u8]>>,
    /// It should have been understood, by what it holds.
    is_sure: bool,
    remedy: String,
}

/// Says of which files nothing was understood, or much was not: each would look like a log in which nothing happened. Returns
/// whether the exit status is to say so: not where it may be one among others that is of another service.
fn warn_of_blind(found: &Found) -> bool {
    for BlindFile { path, what, line, remedy, .. } in found.blind.iter().take(BLIND_SHOWN) {
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        let line = line.as_ref().map_or(String::new(), |line| format!(": {}", cut(printable(line))));
        eprintln!("denyd: {name}: {what}{line}");
        eprintln!("denyd: {remedy}");
    }
    let more = found.blind.len().saturating_sub(BLIND_SHOWN);
    if more > 0 {
        eprintln!("denyd: the same is so of {}", count(more as u64, "more file", "more files"));
    }
    if found.blind.is_empty() {
        return false;
    }
    eprintln!("denyd: is it the log that sshd writes to? See --identifier and --format in denyd scan --help");
    found.counts.understood == found.counts.unknown || found.blind.iter().any(|file| file.is_sure)
}

/// The beginning of a line.
fn cut(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(LINE_SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    line
}

impl Judged {
    /// What is still to be enforced.
    pub(super) fn due(&self) -> Vec<(Prefix, Claim)> {
        self.found.denied.iter().filter(|(_, claim)| enforced(claim)).cloned().collect()
    }
}

/// What has that enforced, in as many requests as it takes.
pub(super) fn requests(due: &[(Prefix, Claim)]) -> Vec<Request> {
    due.chunks(APPLIED_MAX).map(|some| Request::Apply { denied: some.to_vec() }).collect()
}

/// A file whose first lines were read, so that its place among the others is known.
struct Opened {
    path: PathBuf,
    log: Log,
    batch: Batch,
    first: Option<Timestamp>,
    reading: Reading,
}

impl Opened {
    fn new(path: &Path, mut reading: Reading) -> anyhow::Result<Self> {
        let (mut log, mut batch) = (Log::open(path, reading.parser.take(), clock::now)?, Batch::default());
        log.stored().refill(clock::now().into(), &mut batch).map_err(anyhow::Error::from_boxed)?;
        if matches!(log, Log::Lines(_)) {
            reading.refuse_headless(path, &batch)?;
        }
        let first = batch.records().take(100).find_map(|record| record.event);
        Ok(Opened { path: path.to_owned(), log, batch, first, reading })
    }
}

fn progress(total: u64, quiet: bool) -> indicatif::ProgressBar {
    if quiet || total < PROGRESS_FROM || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:40} {percent:>3} %  {bytes_per_sec}  {eta} left");
    let bar = indicatif::ProgressBar::new(total);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn take_changes(engine: &mut Engine, found: &mut Found) {
    for change in engine.changes.drain(..) {
        match change {
            Change::Denied { prefix, claim, .. } => found.denied.push((prefix, claim)),
            Change::Late(attempt) => {
                found.counts.attempts += 1;
                if !attempt.prefix.is_host() {
                    found.addresses.insert(attempt.peer.into());
                }
            }
            Change::Suspicious { address, user, at, .. } => found.suspicious.push((address, user, at)),
            Change::Counted { prefix, tally: None } if prefix.is_host() => found.addresses.insert(prefix.address()),
            _ => {}
        }
    }
}

/// Adds the addresses that are counted each alone, as IPv4's are: they are the prefixes that have a tally. Those whose
/// tally was forgotten were added then.
fn counted_alone(engine: &Engine, addresses: &mut Addresses) {
    for (prefix, _) in engine.state.tallies.iter().filter(|(prefix, _)| prefix.is_host()) {
        addresses.insert(prefix.address());
    }
}

/// Whether a deny would still be enforced now.
fn enforced(claim: &Claim) -> bool {
    claim.is_due(clock::now())
}
