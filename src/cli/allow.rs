//! `denyd allow [ENTRY] [--remove]`: the allow list.

use std::process::ExitCode;

use super::office;
use crate::config::Config;
use crate::desk::Request;

/// What `allow` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
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
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let request = Request::Allow { entry: arguments.entry.clone(), remove: arguments.remove };
    let answer = office::ask(config, &request)?;
    if arguments.json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    let texts = |key: &str| answer[key].as_array().into_iter().flatten().filter_map(|text| text.as_str());
    match &arguments.entry {
        None => {
            texts("configured").for_each(|entry| println!("{entry}  (configuration)"));
            texts("added").for_each(|entry| println!("{entry}  (added by denyd allow)"));
            if texts("configured").chain(texts("added")).next().is_none() {
                println!("Nobody is on the allow list.");
            }
        }
        Some(entry) if arguments.remove => println!("{entry} is off the allow list"),
        Some(entry) => {
            let known = if answer["known"] == true { " already" } else { "" };
            println!("{entry} is on the allow list{known} and will not be denied");
            texts("released").for_each(|prefix| println!("{prefix} is let in again"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
