//! `denyd list`: who is denied; the users and the addresses that were tried; who logged in after too many failures.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::office;
use super::output::{self, Column, end, when, when_if, word};
use super::refused::{Counts, REFUSED};
use crate::config::Config;
use crate::decide::claim::Claimant;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::desk::reply::{Address, Host, Pair, Released, Suspicious, User};
use crate::desk::{Filter, Request, What};
use crate::text::plain;

/// What `list` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("list", "who is denied"),
    ("list hosts 2001:db8::/32 --class root", "who is denied in there for failures of root"),
    ("list users --limit 20", "the 20 users who were tried most often"),
    ("list pairs 192.0.2.0/24", "who was tried from which address in there"),
    ("list --user al", "from where al failed or logged in, the last first"),
    ("list released", "who was denied and let in again, how often and when"),
    ("list suspicious", "who logged in from where too many had failed"),
]))]
pub(super) struct Arguments {
    /// What is listed
    #[arg(
        value_enum,
        default_value = "hosts",
        default_value_if("user", clap::builder::ArgPredicate::IsPresent, "pairs")
    )]
    what: What,
    /// Only what lies in this prefix
    #[arg(value_name = "PREFIX")]
    within: Option<Prefix>,
    /// Only who is denied for failures of this class, or has some
    #[arg(long, value_parser = class, value_name = "CLASS")]
    class: Option<Class>,
    /// Only who is denied by it: policy, operator, or peer:NUMBER
    #[arg(long, value_name = "WHO")]
    by: Option<Claimant>,
    /// Only pairs or suspicious logins of this user, the last first
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The first so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// The class of that name.
fn class(text: &str) -> Result<Class, String> {
    let named = Class::ALL.into_iter().find(|class| class.name() == text);
    named.ok_or_else(|| format!("the classes are {}", Class::ALL.map(Class::name).join(", ")))
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Hosts => {
            let counts = Counts::read(config);
            let columns = [HOSTS, if counts.is_some() { &[REFUSED] } else { &[] }].concat();
            let count = |host: &mut Host| host.refused = counts.as_ref().and_then(|counts| counts.of(&host.prefix));
            list(arguments, config, "Nobody is denied.", &columns, count)
        }
        What::Users => list(arguments, config, "No user was tried.", USERS, |_| {}),
        What::Addresses => list(arguments, config, "No address has failed.", ADDRESSES, |_| {}),
        What::Pairs => list(arguments, config, "No failure is kept.", PAIRS, |_| {}),
        What::Released => list(arguments, config, "No deny has ended by its time.", RELEASED, |_| {}),
        What::Suspicious => {
            list(arguments, config, "Nobody has logged in from where too many had failed.", SUSPICIOUS, |_| {})
        }
    }
}

fn list<T: DeserializeOwned + Serialize>(
    arguments: Arguments,
    config: &Config,
    nothing: &str,
    columns: &[Column<T>],
    complete: impl Fn(&mut T),
) -> anyhow::Result<ExitCode> {
    let Arguments { what, within, class, by, user, limit, json } = arguments;
    let filter = Filter { within, class, by, user, limit };
    let mut rows: Vec<T> = office::ask(config, &Request::List { what, filter })?;
    rows.iter_mut().for_each(complete);
    output::show(json, &rows, |screen| match rows.is_empty() {
        true => writeln!(screen, "{nothing}"),
        false => screen.table(columns, &rows),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) const HOSTS: &[Column<Host>] = &[
    ("DENIED", '<', |row| row.prefix.to_string()),
    ("SINCE", '<', |row| when_if(row.since)),
    ("UNTIL", '<', |row| if row.enforced { end(row.until) } else { "not enforced".to_owned() }),
    ("BECAUSE", '<', because),
    ("COUNT", '>', |row| row.count.to_string()),
    ("BY", '<', |row| row.claimants.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    ("LAST LOGIN", '<', |row| when_if(row.last_login)),
    ("SEEN ON", '<', |row| row.hosts.join(",")),
];
/// The class that decided it, a person's words, or neither.
fn because(row: &Host) -> String {
    let words = row.because.as_deref().map(plain);
    row.class.map(|class| class.name().to_owned()).or(words).unwrap_or("-".to_owned())
}

/// The name of a user.
fn name(user: &str) -> String {
    if user.is_empty() { "(empty)".to_owned() } else { user.to_owned() }
}

const USERS: &[Column<User>] = &[
    ("USER", '<', |row| name(&row.user)),
    ("ACCOUNT", '<', |row| word(&row.account)),
    ("ATTEMPTS", '>', |row| row.attempts.to_string()),
    ("LAST", '<', |row| when_if(row.last)),
];
const RELEASED: &[Column<Released>] = &[
    ("ADDRESS", '<', |row| row.prefix.to_string()),
    ("RELEASED", '>', |row| row.times.to_string()),
    ("LAST", '<', |row| when_if(row.last)),
];
pub(super) const ADDRESSES: &[Column<Address>] = &[
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
const PAIRS: &[Column<Pair>] = &[
    ("USER", '<', |row| name(&row.user)),
    ("ADDRESS", '<', |row| row.prefix.to_string()),
    ("ATTEMPTS", '>', |row| row.attempts.to_string()),
    ("LAST", '<', |row| when(row.last.0)),
    ("LAST LOGIN", '<', |row| when_if(row.login)),
    ("DENIED", '<', |row| if row.denied { "yes" } else { "" }.to_owned()),
];
const SUSPICIOUS: &[Column<Suspicious>] = &[
    ("ADDRESS", '<', |row| row.address.to_string()),
    ("USER", '<', |row| name(&row.user)),
    ("LOGINS", '>', |row| row.logins.to_string()),
    ("LAST LOGIN", '<', |row| when(row.last.0)),
];
