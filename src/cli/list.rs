//! `denyd list`: who is denied; the users and the addresses that were tried.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{Column, Screen, end, when, when_if, word};
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
            print(&mut screen, &rows, "Nobody is denied.", HOSTS)?;
        }
        What::Users => {
            let rows: Vec<User> = office::ask(config, &request)?;
            print(&mut screen, &rows, "No user was tried.", USERS)?;
        }
        What::Addresses => {
            let rows: Vec<Address> = office::ask(config, &request)?;
            print(&mut screen, &rows, "No address has failed.", ADDRESSES)?;
        }
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

const HOSTS: &[Column<Host>] = &[
    ("DENIED", '<', |row| row.prefix.to_string()),
    ("SINCE", '<', |row| when_if(row.since)),
    ("UNTIL", '<', |row| if row.enforced { end(row.until) } else { "not enforced".to_owned() }),
    ("BECAUSE", '<', |row| row.class.map_or("-", Class::name).to_owned()),
    ("COUNT", '>', |row| row.count.to_string()),
    ("BY", '<', |row| row.claimants.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    ("SEEN ON", '<', |row| row.hosts.join(",")),
];
const USERS: &[Column<User>] = &[
    ("USER", '<', |row| row.user.clone()),
    ("ACCOUNT", '<', |row| word(&row.account)),
    ("ATTEMPTS", '>', |row| row.attempts.to_string()),
];
const ADDRESSES: &[Column<Address>] = &[
    ("ADDRESS", '<', |row| row.prefix.to_string()),
    ("INVALID", '>', |row| row.counts.invalid.to_string()),
    ("VALID", '>', |row| row.counts.valid.to_string()),
    ("ROOT", '>', |row| row.counts.root.to_string()),
    ("RESTRICTED", '>', |row| row.counts.restricted.to_string()),
    ("PROBE", '>', |row| row.counts.probe.to_string()),
    ("LOGINS", '>', |row| row.successes.to_string()),
    ("LAST FAILURE", '<', |row| when(row.last.0)),
    ("DENIED", '<', |row| if row.denied { "yes" } else { "" }.to_owned()),
];

fn print<T>(screen: &mut Screen, rows: &[T], nothing: &str, columns: &[Column<T>]) -> std::io::Result<()> {
    if rows.is_empty() { writeln!(screen, "{nothing}") } else { screen.table(columns, rows) }
}
