//! Where the daemon's own log goes: stderr, which a person or the service manager reads, and which nobody waits for. Or, of a
//! daemon that leaves its terminal, syslog.
//!
//! A thread writes it. Where whoever reads it stands still, as a full pipe does, lines are dropped and counted, and
//! records are decided all the same.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use crate::clock;
use crate::outbox::syslog;
use crate::text::when;

/// Lines that wait for who reads the log.
const LINES_MAX: usize = 1_024;
/// The facility daemon, and the severity info (RFC 3164, section 4.1.1).
const DAEMON: u8 = 3 * 8;
const INFO: u8 = 6;

/// The log of this process. What waits is written when it is dropped, unless that takes more than a second.
pub(crate) struct Log {
    level: reload::Handle<LevelFilter, Registry>,
    dropped: ErrorCounter,
    told: usize,
    _writes: WorkerGuard,
}

impl Log {
    /// Logs what is not less severe than `level`. Lines begin with the time, or for the journal, which has a time of its
    /// own, with their priority (`sd-daemon(3)`).
    pub(crate) fn to_stderr(level: Level) -> Self {
        match is_journal() {
            true => Self::to(std::io::stderr(), Form::Prioritised, level),
            false => Self::to(std::io::stderr(), Form::Stamped, level),
        }
    }

    /// The same until [`leave_stderr`], and from then on to syslog, as facility daemon: whoever started the daemon has gone.
    pub(crate) fn to_syslog(level: Level) -> Self {
        Self::to(Leaving { socket: syslog::SOCKET.into() }, Form::Prioritised, level)
    }

    fn to(writer: impl Write + Send + 'static, form: Form, level: Level) -> Self {
        let (lines, writes) = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(writer);
        let dropped = lines.error_counter();
        let (filter, level) = reload::Layer::new(LevelFilter::from_level(level));
        let layer = tracing_subscriber::fmt::layer().with_target(false);
        let layer = match form {
            Form::Prioritised => {
                layer.with_level(false).without_time().with_ansi(false).with_writer(Prioritised(lines)).boxed()
            }
            Form::Stamped => {
                layer.with_timer(Stamp).with_ansi(std::io::stderr().is_terminal()).with_writer(lines).boxed()
            }
        };
        // Fails only if a subscriber was set before, which then is used.
        let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
        Log { level, dropped, told: 0, _writes: writes }
    }

    /// Logs what is not less severe than `level` from now on.
    pub(crate) fn set_level(&self, level: Level) {
        // Fails only where the subscriber is another one, or gone.
        let _ = self.level.reload(LevelFilter::from_level(level));
    }

    /// What has it log more and less, from another thread.
    pub(crate) fn toggle(&self) -> impl Fn() + Send + 'static {
        let handle = self.level.clone();
        move || {
            let to = match handle.with_current(|level| *level) {
                Ok(level) if level >= LevelFilter::DEBUG => LevelFilter::INFO,
                _ => LevelFilter::DEBUG,
            };
            // DenyHosts' words, and as it did before the level changes.
            tracing::info!("setting debug level to: {}", to.to_string().to_uppercase());
            let _ = handle.reload(to);
        }
    }

    /// Says how many lines were dropped, if more were than it said before.
    pub(crate) fn tell_dropped(&mut self) {
        let lines = self.dropped.dropped_lines();
        if lines > self.told {
            tracing::warn!(lines, "lines of this log were dropped since the start: whoever reads it stood still");
            self.told = lines;
        }
    }
}

/// What stands before each line.
#[derive(Clone, Copy)]
enum Form {
    /// Its priority alone: who reads it has a time of its own.
    Prioritised,
    /// The time and the level.
    Stamped,
}

/// Whether lines go to syslog by now.
static HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// Whatever is logged from now on goes to syslog, if the log is one that [does so](Log::to_syslog).
pub(super) fn leave_stderr() {
    HAS_LEFT.store(true, Ordering::Relaxed);
}

/// Writes lines that begin with their priority to stderr, and once that was left to syslog. Where nobody listens there, they are
/// lost.
struct Leaving {
    socket: PathBuf,
}

impl Leaving {
    fn tell(&self, lines: &[u8], has_left: bool) -> std::io::Result<()> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let (priority, text) = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
                Some((priority, text)) => (priority.parse().unwrap_or(INFO), text),
                None => (INFO, &*line),
            };
            match has_left {
                true => syslog::send(&self.socket, DAEMON + priority, "denyd", text)?,
                false => writeln!(std::io::stderr(), "{text}")?,
            }
        }
        Ok(())
    }
}

impl Write for Leaving {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        // Nobody could be told.
        let _ = self.tell(lines, HAS_LEFT.load(Ordering::Relaxed));
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether stderr is the journal: `JOURNAL_STREAM` holds device and inode of the stream that the service manager opened
/// (`systemd.exec(5)`); it is inherited by who redirects stderr, too.
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let metadata = stderr.and_then(|stderr| stderr.metadata());
    metadata.is_ok_and(|metadata| stream == format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// Writes lines that begin with their priority.
struct Prioritised(NonBlocking);

/// Lines of one priority.
struct Lines {
    priority: &'static str,
    writer: NonBlocking,
}

impl<'a> MakeWriter<'a> for Prioritised {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines { priority: "<6>", writer: self.0.clone() }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Lines {
        Lines { priority: priority(*metadata.level()), ..self.make_writer() }
    }
}

/// As `syslog(3)` numbers them.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl Write for Lines {
    /// Takes a whole event, whose text may have several lines.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let mut prefixed = Vec::with_capacity(event.len() + 8);
        for line in event.split_inclusive(|byte| *byte == b'\n') {
            prefixed.extend_from_slice(self.priority.as_bytes());
            prefixed.extend_from_slice(line);
        }
        self.writer.write_all(&prefixed)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

struct Stamp;

impl tracing_subscriber::fmt::time::FormatTime for Stamp {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", when(clock::now()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn once_stderr_was_left_lines_go_to_syslog() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("log");
        let leaving = Leaving { socket: socket.clone() };
        assert!(leaving.tell(b"<4>nobody listens\n", true).is_err());
        let listener = UnixDatagram::bind(&socket).unwrap();
        leaving.tell(b"<4>a warning\n<3>an error\nmore of it\n", true).unwrap();
        let pid = std::process::id();
        for (priority, text) in [(28, "a warning"), (27, "an error"), (30, "more of it")] {
            let mut heard = [0; 1000];
            let len = listener.recv(&mut heard).unwrap();
            let heard = String::from_utf8_lossy(&heard[..len]).into_owned();
            assert!(heard.starts_with(&format!("<{priority}>")), "{heard}");
            assert!(heard.ends_with(&format!(" denyd[{pid}]: {text}")), "{heard}");
        }
    }
}
