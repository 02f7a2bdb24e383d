//! `denyd run`: the daemon.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;
use crate::daemon::{self, feeds};

/// What `run` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Decide, but enforce nothing and keep nothing: print what would be denied and released
    #[arg(long)]
    dry_run: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, mut config: Config, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    log_to_stderr(config.log_level);
    if path.is_none() && config == Config::default() {
        config.inputs = vec![feeds::found()?];
        let what: Vec<_> = config.inputs.iter().map(feeds::describe).collect();
        tracing::info!("no configuration: the defaults hold; denyd check --print shows them");
        tracing::info!("found: {}", what.join(", "));
    }
    daemon::run(config, path, arguments.dry_run)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs to stderr, where systemd and people look; the journal stamps lines itself.
fn log_to_stderr(level: tracing::Level) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails only if a subscriber was set before, which then is used.
    let _ = match std::env::var("JOURNAL_STREAM") {
        Ok(_) => builder.without_time().try_init(),
        Err(_) => builder.with_timer(Stamp).try_init(),
    };
}

struct Stamp;

impl tracing_subscriber::fmt::time::FormatTime for Stamp {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", super::output::when(crate::clock::now()))
    }
}
