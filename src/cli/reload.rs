//! `denyd reload`: has the daemon read its configuration anew.

use std::io::Write;
use std::process::ExitCode;

use super::{office, output};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::Reloaded;

/// What `reload` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("reload", "what stands in the configuration, its files and rules holds from now on"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 where the daemon keeps what it had.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let told: Reloaded = office::ask_daemon(config, &Request::Reload)?;
    output::show(arguments.json, &told, |screen| {
        let mut say = |what: &str, names: &[String]| match names {
            [] => Ok(()),
            names => writeln!(screen, "{what}: {}", names.join(", ")),
        };
        say("begun", &told.begun)?;
        say("ended", &told.ended)?;
        say("begun anew", &told.changed)?;
        if told.back_ends {
            writeln!(screen, "the back ends were begun anew")?;
        }
        writeln!(screen, "The configuration was read, and holds.")
    })?;
    Ok(ExitCode::SUCCESS)
}
