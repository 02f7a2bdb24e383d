//! `denyd check`: whether the configuration is right, and what can be opened with it.

use std::path::Path;
use std::process::ExitCode;

use super::CONFIG;
use super::output::{Screen, Style};
use crate::config::{Backends, Config, Source};
use crate::{daemon, enforce};

/// What `check` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print the effective configuration, every key written out
    #[arg(long)]
    print: bool,
}

/// Runs the verb: exit status 0 if all is well, 1 if something would not work, 2 if the file is wrong.
pub fn run(arguments: Arguments, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let file = path.or_else(|| Some(Path::new(CONFIG)).filter(|usual| usual.exists()));
    let mut config = file.map_or_else(|| Ok(Config::default()), Config::read)?;
    if arguments.print {
        print!("{}", config.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    let screen = Screen::new();
    let mut well = true;
    let mut say = |what: &str, result: Result<String, String>| match result {
        Ok(found) => println!("{} {what}: {found}", screen.paint(Style::Green, "ok  ")),
        Err(problem) => {
            well = false;
            println!("{} {what}: {problem}", screen.paint(Style::Red, "FAIL"));
        }
    };
    say("configuration", Ok(file.map_or("none; the defaults hold".to_owned(), |file| file.display().to_string())));
    if config.inputs.is_empty() {
        match daemon::found_input() {
            Ok(input) => config.inputs.push(input),
            Err(error) => say("input", Err(error.to_string())),
        }
    }
    for input in &config.inputs {
        let tried = match &input.source {
            Source::File(file) => match std::fs::metadata(&file.path) {
                Ok(found) if !found.is_file() => Err("is no plain file".to_owned()),
                Ok(_) => std::fs::File::open(&file.path).map(|_| "can be read".to_owned()).map_err(|e| e.to_string()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Ok("is not there yet; it will be read from its beginning when it comes".to_owned())
                }
                Err(error) => Err(error.to_string()),
            },
            Source::Journald(_) if inputs::journald::follow::is_here() => Ok("is there".to_owned()),
            Source::Journald(journald) => match &journald.directory {
                Some(directory) => {
                    std::fs::read_dir(directory).map(|_| "can be read".to_owned()).map_err(|e| e.to_string())
                }
                None => Err("this machine has no journal".to_owned()),
            },
            Source::Multilog(multilog) => crate::follow::try_multilog(multilog),
            Source::Syslog(_) => Ok("is opened at start".to_owned()),
        };
        say(&daemon::describe(input), tried);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &config.deny.backends {
        Backends::Auto => {
            let found = runtime.block_on(enforce::choose(&config));
            let show = |(found, why): (crate::config::Backend, Option<String>)| match why {
                Some(why) => format!("{}, since nftables cannot be used: {why}", found.name()),
                None => found.name().to_owned(),
            };
            say("deny by", found.map(show).map_err(|error| error.to_string()));
        }
        Backends::These(these) => {
            let names: Vec<_> = these.iter().map(|backend| backend.name()).collect();
            say("deny by", Ok(names.join(", ")));
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
