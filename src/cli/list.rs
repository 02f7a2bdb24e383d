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
    let (nothing, align, head, cells) = match arguments.what {
        What::Hosts => ("Nobody is denied.", "<<<<><<", HOSTS, hosts as fn(&Value) -> Vec<String>),
        What::Users => ("No user was tried.", "<<>", USERS, users as _),
        What::Addresses => ("No address has failed.", "<>>>>>><<", ADDRESSES, addresses as _),
    };
    if rows.is_empty() {
        writeln!(screen, "{nothing}")?;
    } else {
        let mut table = vec![head.iter().map(|text| (*text).to_owned()).collect()];
        table.extend(rows.iter().map(cells));
        screen.table(align, &table)?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

const HOSTS: &[&str] = &["DENIED", "SINCE", "UNTIL", "BECAUSE", "COUNT", "BY", "SEEN ON"];
const USERS: &[&str] = &["USER", "ACCOUNT", "ATTEMPTS"];
const ADDRESSES: &[&str] =
    &["ADDRESS", "INVALID", "VALID", "ROOT", "RESTRICTED", "PROBE", "LOGINS", "LAST FAILURE", "DENIED"];

fn hosts(row: &Value) -> Vec<String> {
    let until = match row["until"].as_str() {
        _ if row["enforced"] != true => "not enforced".to_owned(),
        Some(until) => when_text(until),
        None => "for ever".to_owned(),
    };
    let [prefix, class, count] = ["prefix", "class", "count"].map(|key| text(&row[key]));
    vec![prefix, when(&row["since"]), until, class, count, join(&row["claimants"]), join(&row["hosts"])]
}

fn users(row: &Value) -> Vec<String> {
    ["user", "account", "attempts"].map(|key| text(&row[key])).to_vec()
}

fn addresses(row: &Value) -> Vec<String> {
    const COUNTS: [&str; 7] = ["prefix", "invalid", "valid", "root", "restricted", "probe", "successes"];
    let mut cells = COUNTS.map(|key| text(&row[key])).to_vec();
    cells.push(when(&row["last"]));
    cells.push(if row["denied"] == true { "yes" } else { "" }.to_owned());
    cells
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn when(value: &Value) -> String {
    value.as_str().map_or("-".to_owned(), when_text)
}

fn join(value: &Value) -> String {
    let all: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
    all.join(",")
}
