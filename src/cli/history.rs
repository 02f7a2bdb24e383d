//! `denyd history`: what was decided.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{self, Column, Screen, until, when, word};
use crate::config::Config;
use crate::decide::claim::Claimant;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::{Decided, Decision, json};
use crate::text::plain;

/// What `history` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("history -n 20", "the last 20 decisions"),
    ("history 192.0.2.0/24", "of a prefix, and of what lies in it"),
]))]
pub(super) struct Arguments {
    /// Only decisions about this address, or about this prefix and what lies in it
    prefix: Option<Prefix>,
    /// The newest so many decisions
    #[arg(short = 'n', long, default_value_t = 1_000, value_name = "N")]
    count: usize,
    /// Print one JSON object a decision
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if there are decisions, 1 if there are none.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = Request::History { prefix: arguments.prefix, limit: arguments.count };
    let rows: Vec<Decided> = office::ask(config, &request)?;
    let mut screen = Screen::new();
    if arguments.json {
        for row in &rows {
            writeln!(screen, "{}", json(row))?;
        }
    } else if rows.is_empty() {
        writeln!(screen, "Nothing was decided.")?;
    } else {
        screen.table(COLUMNS, &rows)?;
    }
    screen.flush()?;
    Ok(if rows.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

const COLUMNS: &[Column<Decided>] = &[
    ("WHEN", '<', |row| when(row.at.0)),
    ("WHAT", '<', |row| decision(row).0.to_owned()),
    ("WHO", '<', who),
    ("WHY", '<', |row| decision(row).1),
];

/// About whom it was decided.
fn who(row: &Decided) -> String {
    match &row.what {
        Decision::Allowed { entry, .. } => plain(entry),
        Decision::Wave { wave, .. } if row.prefix.is_none() => plain(wave.on()),
        _ => row.prefix.map_or("-".to_owned(), |prefix| prefix.to_string()),
    }
}

/// A decision, as a line.
pub(super) fn line(row: &Decided) -> String {
    let (what, why) = decision(row);
    format!("{} {what} {}: {why}", when(row.at.0), who(row))
}

/// What was decided, and why.
fn decision(row: &Decided) -> (&'static str, String) {
    match &row.what {
        Decision::Denied { by, class, count, until: end, enforced, because } => {
            let because = match (class, by) {
                (Some(class), _) => {
                    let part = because.as_ref().map_or(String::new(), |part| format!(", {}", plain(part)));
                    format!("{} of class {}{part}", output::count(*count, "failure", "failures"), class.name())
                }
                (None, Claimant::Operator) => match because {
                    Some(because) => format!("an operator: {}", plain(because)),
                    None => "an operator".to_owned(),
                },
                (None, Claimant::Sync) => "a server told of it that many share".to_owned(),
                (None, _) => "taken over when the database was lost".to_owned(),
            };
            let late = if *enforced { "" } else { ", too late to be enforced" };
            ("denied", format!("{because}, {}{late}", until(*end)))
        }
        Decision::Released { why, who: Some(who), .. } => ("released", format!("{} by {who}", word(why))),
        Decision::Released { why, .. } => ("released", word(why)),
        Decision::Spared { user, class, count, .. } => {
            let failures = output::count(*count, "failure", "failures");
            ("spared", format!("{failures} of class {}, and {user} is logged in from there", class.name()))
        }
        Decision::Wave { over, wave } => {
            let is_over = if *over { "over: " } else { "" };
            ("wave", format!("{is_over}{}, a few times each, since {}", plain(&wave.told()), when(wave.since.0)))
        }
        Decision::Allowed { removed: false, .. } => ("allowed", "it is on the allow list".to_owned()),
        Decision::Allowed { removed: true, .. } => ("allowed", "no more: it is off the allow list".to_owned()),
        Decision::Suspicious { user, .. } => ("suspicious", format!("logged in as {user} after too many failures")),
    }
}
