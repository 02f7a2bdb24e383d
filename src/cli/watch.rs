//! `denyd watch`: what is decided, a line each, live.

use std::io::Write;
use std::process::ExitCode;

use super::output::Screen;
use super::{history, office};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{Decided, json};

/// What `watch` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("watch", "every decision as it is made"),
    ("watch -n 1", "wait for the next one"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object a decision
    #[arg(long)]
    json: bool,
    /// End after so many decisions
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let mut client = office::daemon(config)?;
    client.ask::<()>(&Request::Watch)?;
    let mut screen = Screen::new();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(row) = client.line::<Decided>()? else { break };
        writeln!(screen, "{}", if arguments.json { json(&row) } else { history::line(&row) })?;
        screen.flush()?;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}
