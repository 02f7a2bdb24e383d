//! `denyd describe`, which `help` does not show: the files of packages that are written from the keys' descriptions.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::config;

/// What `describe` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What is printed
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// `packaging/denyd.toml`
    #[value(name = "denyd.toml")]
    Packaged,
    /// `packaging/denyd.toml.5`
    #[value(name = "denyd.toml.5")]
    Manual,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let text = match arguments.file {
        File::Packaged => config::packaged(),
        File::Manual => config::manual(),
    };
    print!("{text}");
    ExitCode::SUCCESS
}
