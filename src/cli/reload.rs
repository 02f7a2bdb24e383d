//! `denyd reload`: has the daemon read its configuration anew.

use std::io::Write;
use std::process::ExitCode;

use super::{office, output, status};
use crate::config::{Config, duration};
use crate::daemon;
use crate::desk::Request;
use crate::desk::reply::Reloaded;

/// What `reload` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("reload", "what stands in the configuration, its files and rules holds from now on"),
    ("reload --confirm 10m", "go back unless you log in anew within that time, and say denyd keep"),
]))]
pub(super) struct Arguments {
    /// Go back to what was unless denyd keep is said in a new session within this time, such as 10m; a crash and a reboot
    /// go back, too
    #[arg(long, value_name = "TIME", value_parser = trial)]
    confirm: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 where the daemon keeps what it had.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = arguments.confirm.map_or(Request::Reload, |seconds| Request::Try { seconds });
    let told: Reloaded = office::ask_daemon(config, &request)?;
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
        writeln!(screen, "The configuration was read, and holds.")?;
        told.trial.as_ref().map_or(Ok(()), |one| writeln!(screen, "{}", status::trial(one)))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// For how long a configuration is tried, in seconds.
pub(super) fn trial(text: &str) -> Result<u64, String> {
    let time = duration::parse(text)?;
    match time.as_secs() {
        0 => Err("expected a second at least".to_owned()),
        seconds if time <= daemon::LONGEST_TRIAL => Ok(seconds),
        _ => Err(format!("expected {} at most", duration::show(daemon::LONGEST_TRIAL))),
    }
}
