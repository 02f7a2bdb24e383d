//! `denyd allow [ENTRY] [--remove]`: the allow list.

use std::io::Write;
use std::process::ExitCode;

use super::{office, output, person};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{AllowList, Allowed, Removed};

/// What `allow` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// An address, a prefix, a range such as 192.0.2.[6-23], or a wildcard such as 192.0.2.*; without it the list is shown
    entry: Option<String>,
    /// Take it off the list
    #[arg(long, requires = "entry")]
    remove: bool,
    /// Also what is dangerously wide: more than a /8 of IPv4, or a /32 of IPv6
    #[arg(long, requires = "entry")]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Arguments { remove, force, .. } = arguments;
    let request = Request::Allow { entry: arguments.entry.clone(), remove, force, who: person::name() };
    match arguments.entry {
        None => {
            let list: AllowList = office::ask(config, &request)?;
            output::show(arguments.json, &list, |out| {
                list.configured.iter().try_for_each(|entry| writeln!(out, "{entry}  (configuration)"))?;
                list.added.iter().try_for_each(|entry| writeln!(out, "{entry}  (added by denyd allow)"))?;
                match list.configured.is_empty() && list.added.is_empty() {
                    true => writeln!(out, "Nobody is on the allow list."),
                    false => Ok(()),
                }
            })?;
        }
        Some(entry) if arguments.remove => {
            let removed: Removed = office::ask(config, &request)?;
            output::show(arguments.json, &removed, |out| writeln!(out, "{entry} is off the allow list"))?;
        }
        Some(entry) => {
            let allowed: Allowed = office::ask(config, &request)?;
            output::show(arguments.json, &allowed, |out| {
                let known = if allowed.known { " already" } else { "" };
                writeln!(out, "{entry} is on the allow list{known} and will not be denied")?;
                allowed.released.iter().try_for_each(|prefix| writeln!(out, "{prefix} is let in again"))
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
