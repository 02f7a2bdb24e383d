//! The inputs that the configuration names: which there are, how each is opened, and whether it could be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use inputs::cursor::Cursor;
use inputs::input::{self, Bell, Now, Progress, Start, Wake, Worker};
use inputs::journald::{follow as journald, here};
use inputs::record::{Batch, Record, SourceId};
use inputs::syslog::listen::{self, Inherited};
use inputs::{file, multilog};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::{File, Input, Journald, Source};
use crate::decide::engine::Engine;
use crate::decide::policy::Policy;
use crate::detect::rule::Rules;
use crate::intake::sight::Blind;
use crate::intake::{self, Counts};
use crate::text::{plain, printable};

/// The log that a machine without configuration has: the journal, which tells who wrote what, else a file.
pub(crate) fn found() -> anyhow::Result<Input> {
    let dropped = here::keeps_nothing(Path::new("/"));
    if here::is_here() && dropped.is_none() {
        return Ok(Input::of(Source::Journald(Journald::default())));
    }
    const KNOWN: &[&str] = &["/var/log/auth.log", "/var/log/secure", "/var/log/authlog", "/var/log/messages"];
    let path = KNOWN.iter().map(PathBuf::from).find(|path| path.is_file()).with_context(|| {
        format!(
            "no log of sshd was found (looked for the journal{}, {}). Name a file or a syslog listener in an [[input]] of the \
             configuration: see packaging/denyd.toml",
            dropped.map_or(String::new(), |file| format!(", which keeps nothing by Storage=none in {}", file.display())),
            KNOWN.join(", ")
        )
    })?;
    Ok(Input::of(Source::File(File { path, ..File::default() })))
}

/// What is done with an input, for messages about it.
pub(crate) fn describe(input: &Input) -> String {
    let shown = |path: &Path| plain(&path.to_string_lossy());
    match &input.source {
        Source::File(file) => format!("follow {}", shown(&file.path)),
        Source::Multilog(multilog) => format!("follow the multilog {}", shown(&multilog.path)),
        Source::Journald(journald) => match &journald.directory {
            Some(directory) => format!("follow the journal in {}", shown(directory)),
            None => "follow the journal".to_owned(),
        },
        Source::Syslog(_) => format!("listen on {}", plain(&input.source.name())),
    }
}

/// Where an input begins: at its cursor if it has one of its kind, else where the configuration says.
fn start(input: &Input, cursor: Option<Cursor>) -> Start {
    match (&input.source, cursor) {
        (Source::File(_), Some(cursor @ Cursor::File(_)))
        | (Source::Multilog(_), Some(cursor @ Cursor::Multilog(_)))
        | (Source::Journald(_), Some(cursor @ Cursor::Journal(_))) => Start::Cursor(cursor),
        _ => input.first_read.clone(),
    }
}

/// Opens a log.
fn open_log(input: &Input, start: Start) -> anyhow::Result<Box<dyn input::Input + Send>> {
    Ok(match &input.source {
        Source::File(file) => {
            Box::new(file::follow::Follower::new(file.path.clone(), settled(start, &file.path), input.parser()))
        }
        Source::Multilog(multilog) => Box::new(multilog::Follower::new(multilog.path.clone(), start, input.parser())),
        Source::Journald(journald) => {
            let (directory, reader) = (journald.directory.clone(), journald.reader);
            Box::new(journald::Follower::new(journald::Options { directory, reader, start })?)
        }
        Source::Syslog(_) => anyhow::bail!("is no log"),
    })
}

/// Where a file begins to be read that is read from now on: now, and not when its thread comes to it, so that what is written
/// once we say that we run is read. What cannot be looked at yet is as it is.
fn settled(start: Start, path: &Path) -> Start {
    if !matches!(start, Start::Now) {
        return start;
    }
    match file::follow::end(path) {
        Ok(end) => Start::Cursor(Cursor::File(end)),
        Err(error) if error.is_missing() => Start::Beginning,
        Err(_) => start,
    }
}

/// Opens an input, at its cursor or by a socket of the service manager's if it has one.
pub(super) fn open(
    input: &Input,
    cursor: Option<Cursor>,
    inherited: &mut Inherited,
) -> anyhow::Result<Box<dyn input::Input + Send>> {
    let Source::Syslog(syslog) = &input.source else {
        return open_log(input, start(input, cursor));
    };
    let group = syslog.trusted_user.as_ref().map(|user| user.gid);
    let options = listen::Options { parser: input.parser(), group, ..syslog.options.clone() };
    let endpoint = &syslog.listen;
    Ok(Box::new(match inherited.take(&input.name, endpoint)? {
        Some(socket) => listen::adopt(socket, endpoint, options)?,
        None => listen::bind(endpoint, options)?,
    }))
}

/// Starts an input that was opened: whatever it reads goes to `sink`.
pub(super) fn feed(
    input: &Input,
    id: SourceId,
    opened: Box<dyn input::Input + Send>,
    sink: mpsc::Sender<Batch>,
) -> anyhow::Result<Worker> {
    let began = clock::monotonic();
    let clock = move || Now { wall: clock::now(), steady: clock::monotonic().saturating_duration_since(began) };
    Ok(Worker::start(&input.name, id, opened, clock, move |batch| sink.blocking_send(batch).is_ok())?)
}

/// An input as the fold needs it.
pub(super) fn source(input: &Input, id: SourceId, rules: &Arc<Rules>) -> intake::Source {
    let mut source = intake::Source::new(id, input.host.as_deref(), &clock::host_name());
    source.forgeable = input.is_forgeable();
    source.trusted_uid = input.trusted_uid();
    source.bare = input.bare().is_some();
    source.rules = Arc::clone(rules);
    source.our_pid = Some(std::process::id());
    source
}

/// Whether a log can be followed and is understood: reads its first records, and says what was found.
pub(crate) fn try_log(input: &Input, rules: &Arc<Rules>) -> Result<String, String> {
    /// Records that are read.
    const RECORDS_MAX: u64 = 10_000;
    /// Reads until a record must have come.
    const READS_MAX: usize = 1_000;
    /// Waits, of [`WAIT`] each at most, for a program that reads for us.
    const WAITS_MAX: usize = 20;
    const WAIT: Duration = Duration::from_millis(250);
    if let Source::Journald(Journald { directory: None, .. }) = input.source
        && let Some(file) = here::keeps_nothing(Path::new("/"))
    {
        return Err(keeps_nothing(&file));
    }
    let mut log = open_log(input, Start::Beginning).map_err(|error| format!("{error:#}"))?;
    let bell = Bell::new().map_err(|error| error.to_string())?;
    let (mut batch, mut waits, mut first) = (Batch::default(), 0, None);
    let (mut engine, mut counts) = (Engine::new(Policy::default()), Counts::default());
    let mut source = source(input, SourceId(0), rules);
    for _ in 0..READS_MAX {
        let progress = log.refill(clock::now().into(), &mut batch).map_err(|error| error.to_string())?;
        first = first.or_else(|| batch.records().next().map(|record| begins(&record)));
        intake::fold(&mut engine, &mut source, &batch, &mut counts, |_, _| {});
        if counts.records >= RECORDS_MAX {
            break;
        }
        match progress {
            Progress::More => {}
            Progress::Missing(_) if matches!(input.source, Source::Journald(_)) => {
                return Err("there is no journal".to_owned());
            }
            Progress::Missing(_) => {
                return Ok("is not there yet; it will be read from its beginning when it comes".to_owned());
            }
            Progress::Idle | Progress::End => break,
            Progress::Pending if first.is_some() => break,
            Progress::Pending if waits == WAITS_MAX => {
                return Ok("journalctl runs, and has said nothing yet".to_owned());
            }
            Progress::Pending => {
                waits += 1;
                let wake = log.wake();
                bell.wait(Wake { within: wake.within.min(WAIT), ..wake });
            }
        }
    }
    if let Some(Blind { what, line, remedy }) = source.sight.blind_at_end() {
        return Err(format!("{what}: {line}\n     {remedy}"));
    }
    let Some(first) = first else { return Ok("can be read; it is empty".to_owned()) };
    let Counts { records, understood, .. } = counts;
    Ok(format!("can be read; {first}; {understood} of its first {records} are sshd's, or a rule's"))
}

/// When the first record of a log is of, and by whom.
fn begins(record: &Record<'_>) -> String {
    let program = if record.identifier.is_empty() { b"no program" } else { record.identifier };
    match record.event {
        Some(at) => format!("its first record is of {at}, by {}", printable(program)),
        None => "its first line has no time that is known, so it counts when it is read".to_owned(),
    }
}

/// What to say of a journal that keeps nothing.
pub(super) fn keeps_nothing(file: &Path) -> String {
    let file = file.display();
    format!("the journal keeps nothing, by Storage=none in {file}: set Storage=auto there, or name another log")
}

#[cfg(test)]
mod tests {
    use inputs::cursor::{FileCursor, FileId, Fingerprint};
    use inputs::input::{Counters, State};

    use super::*;

    /// Follows a file until its health is as wanted.
    fn check(path: PathBuf, cursor: FileCursor, want: &dyn Fn(&State) -> bool) {
        let (sink, mut batches) = mpsc::channel(16);
        let input = Input::of(Source::File(File { path, ..File::default() }));
        let opened = open(&input, Some(Cursor::File(cursor)), &mut Inherited::default()).unwrap();
        let worker = feed(&input, SourceId(0), opened, sink).unwrap();
        let end = clock::monotonic() + Duration::from_secs(30);
        while !want(&worker.health.now()) {
            assert!(clock::monotonic() < end, "{:?}", worker.health.now());
            let _ = batches.try_recv();
            std::thread::yield_now();
        }
        worker.reins.stop();
        drop(batches);
        assert!(worker.wait(Duration::from_secs(30)));
    }

    #[test]
    fn a_journal_is_not_called_empty_while_journalctl_starts() {
        let directory = tempfile::tempdir().unwrap();
        let (reader, directory) = (journald::Reader::Journalctl, Some(directory.path().join("none")));
        let input = Input::of(Source::Journald(Journald { directory, reader }));
        // With no journalctl it cannot be started; with one, there is no such directory.
        assert!(try_log(&input, &Arc::default()).unwrap_err().starts_with("journalctl: "));
    }

    #[test]
    fn what_cannot_be_read_and_what_was_lost_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        check(log.clone(), FileCursor::default(), &|state| {
            state.problem.as_deref().is_some_and(|it| it.contains("not there"))
        });
        std::fs::create_dir(&log).unwrap();
        check(log.clone(), FileCursor::default(), &|state| state.problem.is_some());
        std::fs::remove_dir(&log).unwrap();
        std::fs::write(&log, "another file\n").unwrap();
        let (id, fingerprint) = (FileId { device: 0, inode: 1 }, Fingerprint { hash: 7, len: 9 });
        let gone = FileCursor { id, offset: 9, fingerprint, ..FileCursor::default() };
        let want = State { problem: None, counters: Counters { gaps: 1, ..Counters::default() } };
        check(log, gone, &|state| *state == want);
    }
}
