//! `denyd run`: the daemon.

use std::path::Path;
use std::process::ExitCode;

use super::person;
use crate::config::Config;
use crate::daemon::{self, Given, Log, Mode, Origin, feeds};

/// What `run` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("run --dry-run", "say whom it would deny, and deny nobody"),
    ("run", "find the log and the firewall, and deny"),
    ("run --confirm 10m", "go back unless you log in anew within that time, and say denyd keep"),
]))]
pub(super) struct Arguments {
    /// Decide, but enforce nothing and keep nothing: print what would be denied and released
    #[arg(long)]
    dry_run: bool,
    /// Go back to the last configuration that was kept, or to nothing, unless denyd keep is said in a new session within
    /// this time, such as 10m; a crash and a reboot go back, too
    #[arg(long, value_name = "TIME", value_parser = super::reload::trial, conflicts_with = "dry_run")]
    confirm: Option<u64>,
    /// Forgive, this once, whoever's lines are gone from hosts.deny and from the files of compat.work_dir since denyd was
    /// stopped, however many they are
    #[arg(long, conflicts_with = "dry_run")]
    forgive_deleted: bool,
}

/// Runs the verb. Where the file is broken the last good configuration holds, but for a dry run, which tries the file.
pub(super) fn run(arguments: Arguments, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    daemon::hold_signals()?;
    let (mut config, broken) = match file {
        None => (Config::default(), None),
        Some(file) if arguments.dry_run => (Config::read(file)?, None),
        Some(file) => Config::read_or_last(file)?,
    };
    let log = Log::to_stderr(config.log_level);
    if file.is_none() {
        config.inputs = vec![feeds::found()?];
        let what: Vec<_> = config.inputs.iter().map(feeds::describe).collect();
        tracing::info!("no configuration: the defaults hold; denyd check --print shows them");
        tracing::info!("found: {}", what.join(", "));
    }
    let broken = broken.map(|error| error.to_string());
    let origin = Origin {
        file: file.map(Path::to_owned),
        broken,
        caller: person::address(),
        given: Given::default(),
        forgive_deleted: arguments.forgive_deleted,
    };
    let mode = match arguments.confirm {
        _ if arguments.dry_run => Mode::DryRun,
        Some(seconds) => Mode::Trial(seconds),
        None => Mode::Real,
    };
    daemon::run(config, origin, mode, log)?;
    Ok(ExitCode::SUCCESS)
}
