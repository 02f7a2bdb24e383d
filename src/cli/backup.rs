//! `denyd backup FILE` and `denyd restore FILE`: a copy of all that is remembered, and its way back.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{Screen, when};
use crate::clock;
use crate::config::Config;
use crate::deny::ledger;
use crate::store::{self, Before, Restored};

/// What `backup` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("backup /root/denyd-2026-11-29", "the daemon may run; nobody else can read the file"),
]))]
pub(super) struct Backup {
    /// The file that is made; it must not be there
    file: PathBuf,
}

/// What `restore` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("restore /root/denyd-2026-11-29", "systemctl stop denyd comes first"),
]))]
pub(super) struct Restore {
    /// What `denyd backup` made; it stays as it is
    file: PathBuf,
}

/// Runs `backup`.
pub(super) fn backup(Backup { file }: Backup, config: &Config) -> anyhow::Result<ExitCode> {
    if !config.state_dir.join(store::FILE).exists() {
        anyhow::bail!("there is no state in {}; see state_dir in the configuration", config.state_dir.display());
    }
    store::backup(&config.state_dir, &file, clock::now())?;
    let file = file.display();
    let mut screen = Screen::new();
    writeln!(screen, "{file} has all that is remembered. To go back to it: denyd restore {file}")?;
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `restore`.
pub(super) fn restore(Restore { file }: Restore, config: &Config) -> anyhow::Result<ExitCode> {
    let is_here = |note: &str| ledger::place(note).is_some();
    let (Restored { copied, .. }, before) = store::restore(&file, &config.state_dir, is_here, clock::now())?;
    let mut screen = Screen::new();
    writeln!(screen, "All that is remembered is as it was at {}; start denyd now.", when(copied.0))?;
    if let Some(Before { file, is_lost }) = before {
        writeln!(screen, "What was remembered before is in {}.", file.display())?;
        if is_lost {
            writeln!(screen, "It could not be read: who is denied now is taken over when denyd starts.")?;
        }
    }
    writeln!(screen, "Logs are read from their ends on. To count what was logged since then: denyd scan --apply")?;
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}
