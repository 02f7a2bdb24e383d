//! `denyd tap`: the records as the daemon folds them, live.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{Screen, Style, when, word};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{Tapped, json};

/// What `tap` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("tap", "every record, until you end it"),
    ("tap -n 10", "the next ten"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object a record
    #[arg(long)]
    json: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let mut client = office::daemon(config)?;
    client.ask::<()>(&Request::Tap)?;
    let mut screen = Screen::new();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(row) = client.line()? else { break };
        match &row {
            _ if arguments.json => writeln!(screen, "{}", json(&row))?,
            Tapped::Missed { missed } => {
                writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("({missed} records went by too fast)")))?;
            }
            Tapped::Record(row) => {
                let pid = row.pid.map_or(String::new(), |pid| format!("[{pid}]"));
                let at = when(row.time.unwrap_or(row.received).0);
                let outcome = screen.paint(Style::Dim, &format!("{:<7}", word(&row.outcome)));
                let added = if row.attempts > 0 { format!("+{}", row.attempts) } else { String::new() };
                writeln!(screen, "{at} {outcome} {added:<3} {} {}{pid}: {}", row.host, row.identifier, row.message)?;
            }
        }
        screen.flush()?;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}
