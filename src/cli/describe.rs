//! `denyd describe`, which `help` does not show: the files of packages that are written from the keys' descriptions.

use std::process::ExitCode;

use crate::config;

/// What `describe` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What is printed
    #[arg(value_parser = ["denyd.toml", "denyd.toml.5"])]
    file: String,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    print!("{}", if arguments.file == "denyd.toml" { config::packaged() } else { config::manual() });
    ExitCode::SUCCESS
}
