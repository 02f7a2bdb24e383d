//! `denyd allow [ENTRY…] [--remove]`: the allow list.

use std::io::Write;
use std::process::ExitCode;

use super::office::Office;
use super::{output, person};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{AllowList, Allowed, Removed};

/// What `allow` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("allow", "the list"),
    ("allow 192.0.2.7 198.51.100.0/24", "never deny these"),
    ("allow 192.0.2.7 --remove", "take it off the list"),
]))]
pub(super) struct Arguments {
    /// Addresses, prefixes, ranges such as 192.0.2.[6-23], wildcards such as 192.0.2.*; without any the list is shown
    #[arg(value_name = "ENTRY")]
    entries: Vec<String>,
    /// Take them off the list
    #[arg(long, requires = "entries")]
    remove: bool,
    /// Also what is dangerously wide: more than a /8, of IPv6 a /32
    #[arg(long, conflicts_with = "remove")]
    force: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 if one of the entries was refused; the others are done.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Arguments { entries, remove, force, json } = arguments;
    let mut office = Office::new(config);
    if entries.is_empty() {
        let list: AllowList = office.ask(&Request::Allow { entry: None, remove: false, force, who: None })?;
        output::show(json, &list, |out| {
            list.configured.iter().try_for_each(|entry| writeln!(out, "{entry}  (configuration)"))?;
            list.added.iter().try_for_each(|entry| writeln!(out, "{entry}  (added by denyd allow)"))?;
            match list.configured.is_empty() && list.added.is_empty() {
                true => writeln!(out, "Nobody is on the allow list."),
                false => Ok(()),
            }
        })?;
    }
    office.each(&entries, |office, entry| {
        let request = Request::Allow { entry: Some(entry.clone()), remove, force, who: person::name() };
        if remove {
            let removed: Removed = office.ask(&request)?;
            output::show(json, &removed, |out| writeln!(out, "{entry} is off the allow list"))?;
        } else {
            let allowed: Allowed = office.ask(&request)?;
            output::show(json, &allowed, |out| {
                let known = if allowed.known { " already" } else { "" };
                writeln!(out, "{entry} is on the allow list{known} and will not be denied")?;
                allowed.released.iter().try_for_each(|prefix| writeln!(out, "{prefix} is let in again"))
            })?;
        }
        Ok(true)
    })
}
