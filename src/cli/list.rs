//! `denyd list`: who is denied; the users and the addresses that were tried.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{Screen, table, when, when_if, word};
use crate::config::Config;
use crate::decide::policy::Class;
use crate::desk::reply::{Address, Host, User};
use crate::desk::{Request, What};

/// What `list` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// hosts: who is denied; users, addresses: who was tried from where
    #[arg(value_enum, default_value = "hosts")]
    what: What,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = Request::List { what: arguments.what };
    let mut screen = Screen::new();
    match arguments.what {
        _ if arguments.json => {
            let rows: serde_json::Value = office::ask(config, &request)?;
            writeln!(screen, "{rows}")?;
        }
        What::Hosts => {
            let rows: Vec<Host> = office::ask(config, &request)?;
            print(&mut screen, &rows, "Nobody is denied.", "<<<<><<", HOSTS, hosts)?;
        }
        What::Users => {
            let rows: Vec<User> = office::ask(config, &request)?;
            print(&mut screen, &rows, "No user was tried.", "<<>", USERS, users)?;
        }
        What::Addresses => {
            let rows: Vec<Address> = office::ask(config, &request)?;
            print(&mut screen, &rows, "No address has failed.", "<>>>>>><<", ADDRESSES, addresses)?;
        }
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

const HOSTS: &[&str] = &["DENIED", "SINCE", "UNTIL", "BECAUSE", "COUNT", "BY", "SEEN ON"];
const USERS: &[&str] = &["USER", "ACCOUNT", "ATTEMPTS"];
const ADDRESSES: &[&str] =
    &["ADDRESS", "INVALID", "VALID", "ROOT", "RESTRICTED", "PROBE", "LOGINS", "LAST FAILURE", "DENIED"];

fn print<T>(
    screen: &mut Screen,
    rows: &[T],
    nothing: &str,
    align: &str,
    head: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> std::io::Result<()> {
    if rows.is_empty() {
        return writeln!(screen, "{nothing}");
    }
    screen.table(align, &table(head, rows, cells))
}

fn hosts(row: &Host) -> Vec<String> {
    let until = match row.until {
        _ if !row.enforced => "not enforced".to_owned(),
        Some(until) => when(until.0),
        None => "for ever".to_owned(),
    };
    let claimants: Vec<_> = row.claimants.iter().map(ToString::to_string).collect();
    vec![
        row.prefix.to_string(),
        when_if(row.since),
        until,
        row.class.map_or("-", Class::name).to_owned(),
        row.count.to_string(),
        claimants.join(","),
        row.hosts.join(","),
    ]
}

fn users(row: &User) -> Vec<String> {
    vec![row.user.clone(), word(&row.account), row.attempts.to_string()]
}

fn addresses(row: &Address) -> Vec<String> {
    let mut cells = vec![row.prefix.to_string()];
    cells.extend(row.counts.all().map(|count| count.to_string()));
    cells.push(row.successes.to_string());
    cells.push(when(row.last.0));
    cells.push(if row.denied { "yes" } else { "" }.to_owned());
    cells
}
