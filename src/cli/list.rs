//! `denyd list`: who is denied; the users and the addresses that were tried.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::office;
use super::output::{Screen, when_text};
use crate::config::Config;
use crate::desk::{Request, What};

/// What `list` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// hosts: who is denied; users, addresses: who was tried from where
    #[arg(value_enum, default_value = "hosts")]
    what: What,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let rows = office::ask(config, &Request::List { what: arguments.what })?;
    let mut screen = Screen::new();
    if arguments.json {
        writeln!(screen, "{rows}")?;
        screen.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let join = |value: &Value| {
        let all: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
        all.join(",")
    };
    let until = |value: &Value| value.as_str().map_or("for ever".to_owned(), when_text);
    let since = |value: &Value| value.as_str().map_or("-".to_owned(), when_text);
    let (align, head, cells): (_, &[&str], &dyn Fn(&Value) -> Vec<String>) = match arguments.what {
        What::Hosts => ("<<<<><<", &["DENIED", "SINCE", "UNTIL", "BECAUSE", "COUNT", "BY", "SEEN ON"], &|row| {
            let state = if row["enforced"] == true { until(&row["until"]) } else { "not enforced".to_owned() };
            vec![
                text(&row["prefix"]),
                since(&row["since"]),
                state,
                text(&row["class"]),
                text(&row["count"]),
                join(&row["claimants"]),
                join(&row["hosts"]),
            ]
        }),
        What::Users => ("<<>", &["USER", "ACCOUNT", "ATTEMPTS"], &|row| {
            vec![text(&row["user"]), text(&row["account"]), text(&row["attempts"])]
        }),
        What::Addresses => (
            "<>>>>>><<",
            &["ADDRESS", "INVALID", "VALID", "ROOT", "RESTRICTED", "PROBE", "LOGINS", "LAST FAILURE", "DENIED"],
            &|row| {
                let mut cells = vec![text(&row["prefix"])];
                cells.extend(
                    ["invalid", "valid", "root", "restricted", "probe", "successes"].map(|key| text(&row[key])),
                );
                cells.push(since(&row["last"]));
                cells.push(if row["denied"] == true { "yes" } else { "" }.to_owned());
                cells
            },
        ),
    };
    if rows.is_empty() {
        let nothing = match arguments.what {
            What::Hosts => "Nobody is denied.",
            What::Users => "No user was tried.",
            What::Addresses => "No address has failed.",
        };
        writeln!(screen, "{nothing}")?;
    } else {
        let mut table = vec![head.iter().map(|text| (*text).to_owned()).collect()];
        table.extend(rows.iter().map(cells));
        screen.table(align, &table)?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}
