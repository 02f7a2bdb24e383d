//! `denyd sync`: shares denied hosts with the server now.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{self, count};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::Synced;
use crate::text::printable;

/// What `sync` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("sync", "send whom we denied, and take whom others did, now"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 where the server could not be reached, or does not take part.
pub(super) fn run(Arguments { json }: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let done: Synced = office::ask_daemon(config, &Request::Sync)?;
    output::show(json, &done, |screen| writeln!(screen, "{}", words(&done)))?;
    Ok(ExitCode::SUCCESS)
}

/// What a round came to, in a line.
pub(super) fn words(done: &Synced) -> String {
    let mut all = Vec::new();
    if let Some(sent) = done.sent {
        let unsent = if done.unsent > 0 { format!(" ({} it does not take)", done.unsent) } else { String::new() };
        all.push(format!("sent {}{unsent}", count(sent, "new host", "new hosts")));
    }
    if let Some(received) = done.received {
        let mut parts = vec![format!("{} denied", done.taken.denied)];
        parts.extend(done.taken.refused.words());
        let parts = if received > 0 { format!(" ({})", parts.join(", ")) } else { String::new() };
        all.push(format!("received {}{parts}", count(received, "new host", "new hosts")));
    }
    format!("{}: {}", printable(done.server.as_bytes()), all.join("; "))
}
