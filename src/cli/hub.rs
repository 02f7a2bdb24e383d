//! `denyd hub`: the server that machines share their denies by, and what its operator does with it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::output::{Screen, when};
use crate::clock;
use crate::daemon::Log;
use crate::hub::import::Imported;
use crate::hub::keeper::{STATUS, STATUS_EVERY, Status};
use crate::hub::settings::{self, Settings};
use crate::hub::{self, store};
use inputs::record::Timestamp;

/// What `hub` takes.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = super::describe::examples([
    ("hub --listen 127.0.0.1:9911", "for this machine alone, or behind a proxy"),
    ("hub --config /etc/denyd/hub.toml", "as that file says"),
    ("hub status", "how the hub of this machine is"),
]))]
pub(super) struct Arguments {
    /// Where to listen [default: 127.0.0.1:9911, or what the configuration says]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The hub's state directory [default: /var/lib/denyd-hub, or what the configuration says]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show how the hub is, and what it counted since it started; exit status 0 if it runs, 1 if not
    #[command(after_help = super::describe::examples([
        ("hub status", "for people"),
        ("hub status --json", "for a monitoring system"),
    ]))]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy all that the hub knows into a file, also while it runs
    #[command(after_help = super::describe::examples([
        ("hub backup /root/hub-2026-11-30", "to go back to it: stop the hub, put it in place of hub.db"),
    ]))]
    Backup {
        /// The file that is made; it must not be there
        file: PathBuf,
    },
    /// Take over what a server of denyhosts_sync knew, with the hub stopped
    #[command(after_help = super::describe::examples([
        ("hub import /var/lib/denyhosts-server/denyhosts.sqlite", "its SQLite database"),
        ("hub import denyhosts.sql", "what mysqldump wrote of its MySQL database"),
    ]))]
    Import {
        /// The database, or the dump; it stays as it is
        file: PathBuf,
    },
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let file = file.or_else(|| Some(Path::new(settings::FILE)).filter(|usual| usual.exists()));
    let mut settings = file.map_or_else(|| Ok(Settings::default()), Settings::read)?;
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    }
    if let Some(state) = arguments.state {
        settings.state_dir = state;
    }
    match arguments.verb {
        None => {
            let _log = Log::to_stderr(tracing::Level::INFO);
            hub::run(&settings)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Verb::Status { json }) => status(&settings.state_dir, json),
        Some(Verb::Backup { file }) => {
            store::backup(&settings.state_dir, &file)?;
            let mut screen = Screen::new();
            writeln!(screen, "{} has all that the hub knows.", file.display())?;
            screen.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Verb::Import { file }) => {
            let done = hub::import::import(&file, &settings.state_dir, clock::now().secs())
                .with_context(|| file.display().to_string())?;
            let Imported { hosts, reports, days, left_out } = done;
            let mut screen = Screen::new();
            writeln!(screen, "Taken over: {hosts} hosts, {reports} reports, the figures of {days} days.")?;
            if left_out > 0 {
                writeln!(
                    screen,
                    "Left out: {left_out} rows that have no public address, no time that was, or no host."
                )?;
            }
            screen.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn status(dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let path = dir.join(STATUS);
    let text = std::fs::read(&path).map_err(|error| {
        anyhow::anyhow!("cannot read {}: {error}; no hub has run there, or another user may look", path.display())
    })?;
    let status: Status = serde_json::from_slice(&text)?;
    // Its number may be another process' by now, and one that hangs writes nothing.
    let age = clock::now().secs() - status.time;
    let is_there = Path::new("/proc").join(status.pid.to_string()).exists();
    let runs = is_there && age <= 4 * STATUS_EVERY.as_secs() as i64;
    let mut screen = Screen::new();
    if json {
        writeln!(screen, "{}", String::from_utf8_lossy(&text))?;
    } else {
        let Status { version, listen, hosts, reports_kept, reporters, wishes, counters, time, .. } = status;
        match runs {
            true => writeln!(screen, "denyd hub {version} listens on {listen}.")?,
            false => writeln!(screen, "The hub does not run.")?,
        }
        let as_of = when(Timestamp(time * 1_000_000));
        writeln!(screen, "At {as_of} it knew {hosts} hosts, by {reports_kept} reports of {reporters} reporters.")?;
        for wish in wishes {
            let (threshold, resiliency) = (wish.threshold, wish.resiliency);
            writeln!(screen, "Due with threshold {threshold} and resiliency {resiliency} s: {} hosts.", wish.hosts)?;
        }
        writeln!(screen, "Since it started:")?;
        for (name, count) in counters {
            writeln!(screen, "  {name:<16} {count}")?;
        }
    }
    screen.flush()?;
    Ok(ExitCode::from(u8::from(!runs)))
}
