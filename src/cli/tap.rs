//! `denyd tap`: the records as the daemon folds them, live.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use super::output::{Screen, Style};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::control::Client;
use crate::intake::{Seen, address};

/// What `tap` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print one JSON object a record
    #[arg(long)]
    json: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// Runs the verb.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Some(mut client) = Client::connect(&config.control_socket)? else {
        bail!("no daemon answers at {}; start it: denyd run", config.control_socket.display());
    };
    client.ask(&Request::Tap)?;
    let mut screen = Screen::new();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(row) = client.answer()? else { break };
        if arguments.json {
            writeln!(screen, "{row}")?;
        } else if let Some(missed) = row["missed"].as_u64() {
            writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("({missed} records went by too fast)")))?;
        } else {
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            let pid = row["pid"].as_u64().map_or(String::new(), |pid| format!("[{pid}]"));
            let (outcome, host, identifier, message) =
                (text("outcome"), text("host"), text("identifier"), text("message"));
            writeln!(
                screen,
                "{} {host} {identifier}{pid}: {message}",
                screen.paint(Style::Dim, &format!("{outcome:<7}"))
            )?;
        }
        screen.flush()?;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// A record as `tap --json` prints it.
pub fn record_json(seen: &Seen<'_>) -> Value {
    let record = seen.record;
    let mut row = json!({
        "time": record.event.map(|at| at.to_string()), "received": record.received.to_string(), "pid": record.pid,
        "outcome": seen.outcome(), "address": address(seen),
        "attempts": seen.folded.map_or(0, |folded| folded.verdict.attempts),
    });
    crate::text::put_bytes(&mut row, "host", record.host);
    crate::text::put_bytes(&mut row, "identifier", record.identifier);
    crate::text::put_bytes(&mut row, "message", record.message);
    row
}
