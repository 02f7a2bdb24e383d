//! `denyd keep`: keeps the configuration that is on trial.

use std::io::Write;
use std::process::ExitCode;

use super::{office, output, person};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::Kept;

/// What `keep` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("keep", "in a session that began after run --confirm or reload --confirm: you still get in"),
    ("keep --console", "at the console of this machine"),
]))]
pub(super) struct Arguments {
    /// Ask from this machine's own console, a virtual terminal or a serial line, which needs no new session
    #[arg(long)]
    console: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 where it is not kept. The daemon judges who asks.
pub(super) fn run(Arguments { console, json }: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    // It may be made up to be let, but nobody makes it up to be refused.
    if let Some(from) = person::address().filter(|from| !console && from.to_canonical().is_loopback()) {
        anyhow::bail!(
            "your session came from this machine itself ({from}), and tells nothing of others; log in from elsewhere, and say denyd keep there"
        );
    }
    let kept: Kept = office::ask_daemon(config, &Request::Keep { console })?;
    output::show(json, &kept, |screen| {
        let since = output::when_if(Some(kept.tried_since));
        writeln!(screen, "The configuration that was tried since {since} is kept, and holds.")
    })?;
    if let Some(error) = &kept.unkept {
        eprintln!("this configuration could not be kept for when its file is broken, see denyd doctor: {error}");
    }
    Ok(ExitCode::SUCCESS)
}
