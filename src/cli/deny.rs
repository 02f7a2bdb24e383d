//! `denyd deny ADDR|PREFIX…`: an operator's deny.

use std::io::Write;
use std::process::ExitCode;

use super::office::{self, Office};
use super::output::{self, until};
use super::person;
use crate::config::{Config, duration};
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::{Denied, Status};
use crate::text::printable;

/// What `deny` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("deny 192.0.2.7", "for ever"),
    (r#"deny 192.0.2.0/24 --for 2d --because "their abuse desk sleeps""#, "for two days, and why"),
]))]
pub(super) struct Arguments {
    /// Addresses, or prefixes such as 192.0.2.0/24
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<Prefix>,
    /// For how long, such as 2h or 7d [default: for ever]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// Why, in your words: `why`, `list` and `history` show them
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Also what is dangerously wide, where you are logged in from, or what makes a deny shorter that you made before
    #[arg(long)]
    force: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 if one of the prefixes was refused; the others are denied.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Arguments { prefixes, duration, because, force, json } = arguments;
    let time = duration.as_deref().map(duration::parse).transpose().map_err(anyhow::Error::msg)?;
    let (seconds, caller) = (time.map(|time| time.as_secs().max(1)), person::address());
    let code = Office::new(config).each(&prefixes, |office, &prefix| {
        let request = Request::Deny { prefix, seconds, force, caller, because: because.clone() };
        let answer: Denied = office.ask(&request)?;
        output::show(json, &answer, |screen| {
            let until = until(answer.until);
            writeln!(screen, "{prefix} is denied {until}. To let it in again: denyd forgive {prefix}")?;
            answer.note.iter().try_for_each(|note| writeln!(screen, "But {note}."))
        })?;
        Ok(true)
    })?;
    if let Ok(status) = office::ask_daemon::<Status>(config, &Request::Status) {
        unenforced(&status).iter().for_each(|why| eprintln!("denyd: not enforced now: {why}; see denyd doctor"));
    }
    Ok(code)
}

/// Why nobody is refused whom the daemon denies, by its back ends or all of them.
fn unenforced(status: &Status) -> Vec<String> {
    let on_trial = status.trial.iter().filter(|trial| trial.ended && trial.to_nothing).map(super::status::trial);
    let failing = status.backends.iter().filter(|one| !one.cuts).filter_map(|one| {
        let error = one.error.as_ref()?;
        Some(format!("{}: {}", one.name, printable(error.as_bytes())))
    });
    on_trial.chain(failing).collect()
}
