//! `denyd allow [ENTRY] [--remove]`: the allow list.

use std::process::ExitCode;

use serde::Serialize;

use super::office;
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{AllowList, Allowed, Removed, json};

/// What `allow` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// An address, a prefix, a range such as 192.0.2.[6-23], or a wildcard such as 192.0.2.*; without it the list is shown
    entry: Option<String>,
    /// Take it off the list
    #[arg(long, requires = "entry")]
    remove: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = Request::Allow { entry: arguments.entry.clone(), remove: arguments.remove };
    match arguments.entry {
        None => {
            let list: AllowList = office::ask(config, &request)?;
            print(arguments.json, &list, || {
                list.configured.iter().for_each(|entry| println!("{entry}  (configuration)"));
                list.added.iter().for_each(|entry| println!("{entry}  (added by denyd allow)"));
                if list.configured.is_empty() && list.added.is_empty() {
                    println!("Nobody is on the allow list.");
                }
            });
        }
        Some(entry) if arguments.remove => {
            let removed: Removed = office::ask(config, &request)?;
            print(arguments.json, &removed, || println!("{entry} is off the allow list"));
        }
        Some(entry) => {
            let allowed: Allowed = office::ask(config, &request)?;
            print(arguments.json, &allowed, || {
                let known = if allowed.known { " already" } else { "" };
                println!("{entry} is on the allow list{known} and will not be denied");
                allowed.released.iter().for_each(|prefix| println!("{prefix} is let in again"));
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(as_json: bool, answer: &impl Serialize, for_people: impl FnOnce()) {
    if as_json { println!("{}", json(answer)) } else { for_people() }
}
