//! `denyd forgive ADDR|PREFIX|--all`: lets in again, and forgets the failures.

use std::io::Write;
use std::process::ExitCode;

use super::{office, output, person};
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::Forgiven;

/// What `forgive` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// An address, or a prefix such as 192.0.2.0/24
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    prefix: Option<Prefix>,
    /// Everybody
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if something was forgiven, 1 if there was nothing.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let answer: Forgiven = office::ask(config, &Request::Forgive { prefix: arguments.prefix, who: person::name() })?;
    let (released, counts) = (&answer.released, answer.counts_cleared);
    output::show(arguments.json, &answer, |screen| {
        released.iter().try_for_each(|prefix| writeln!(screen, "{prefix} is let in again"))?;
        match (released.is_empty(), counts) {
            (true, 0) => writeln!(screen, "There was nothing to forgive."),
            (true, _) => {
                writeln!(screen, "Nobody was denied; the failures of {counts} counted prefixes are forgotten.")
            }
            (false, _) => writeln!(screen, "Their failures are forgotten."),
        }
    })?;
    Ok(if released.is_empty() && counts == 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
