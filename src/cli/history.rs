//! `denyd history`: what was decided.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::office;
use super::output::{Screen, when_text};
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::desk::Request;

/// What `history` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only decisions about this address or prefix, as `denyd list` names it
    prefix: Option<Prefix>,
    /// The newest so many decisions
    #[arg(short = 'n', long, default_value_t = 1_000, value_name = "N")]
    count: usize,
    /// Print one JSON object a decision
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if there are decisions, 1 if there are none.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = Request::History { prefix: arguments.prefix, limit: arguments.count };
    let rows = office::ask(config, &request)?;
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut screen = Screen::new();
    if arguments.json {
        for row in rows {
            writeln!(screen, "{row}")?;
        }
    } else if rows.is_empty() {
        writeln!(screen, "Nothing was decided.")?;
    } else {
        let mut table = vec![["WHEN", "WHAT", "WHO", "WHY"].map(str::to_owned).to_vec()];
        table.extend(rows.iter().map(cells));
        screen.table("<<<<", &table)?;
    }
    screen.flush()?;
    Ok(if rows.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn cells(row: &Value) -> Vec<String> {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let when = |key: &str| row[key].as_str().map_or("for ever".to_owned(), when_text);
    let why = match row["decision"].as_str() {
        Some("denied") => {
            let because = match row["class"].as_str() {
                Some(class) => format!("{} failures of class {class}", row["count"]),
                None if row["by"] == "operator" => "an operator".to_owned(),
                None => "taken over when the database was lost".to_owned(),
            };
            let enforced = if row["enforced"] == true { "" } else { ", too late to be enforced" };
            format!("{because}, until {}{enforced}", when("until"))
        }
        Some("suspicious") => format!("logged in as {} after too many failures", text("user")),
        _ => text("why"),
    };
    vec![when("at"), text("decision"), text("prefix"), why]
}
