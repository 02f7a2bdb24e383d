//! The command line: one file a verb. Each prints for people, or JSON with `--json`; exit 0 yes, 1 no, 2 error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::stat::{Mode, umask};

use crate::config::{self, Config, ConfigError};
use crate::desk::control::Client;

mod allow;
mod backup;
mod check;
mod deny;
mod denyhosts;
mod describe;
mod doctor;
mod drill;
mod elsewhere;
mod explain;
mod export;
mod forgive;
mod history;
mod hub;
mod import;
mod keep;
mod lines;
mod list;
mod mail;
mod off;
mod office;
mod output;
mod person;
mod reason;
mod refused;
mod reload;
mod restricted;
mod run;
mod scan;
mod status;
mod sync;
mod tap;
mod watch;
mod why;

/// Reads sshd's log records, decides which addresses failed too often, and denies them.
#[derive(Parser, Debug)]
#[command(name = "denyd", version, subcommand_required = true)]
#[command(after_help = describe::examples([
    ("scan /var/log/auth.log*", "who would have been denied; changes nothing"),
    ("run", "read, decide, deny"),
    ("why 192.0.2.7", "is it denied, and why"),
]))]
struct Arguments {
    /// The configuration file [default: /etc/denyd/denyd.toml, of `hub` /etc/denyd/hub.toml, if it is there, else the defaults]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Read logs as they are written and deny who fails too often
    Run(run::Arguments),
    /// Read log files from end to end and show who would be denied, and why
    Scan(scan::Arguments),
    /// Show what each line of a log means and what it would count
    Explain(explain::Arguments),
    /// Show the records as the daemon folds them, live
    Tap(tap::Arguments),
    /// Show how the daemon and its inputs are
    Status(status::Arguments),
    /// Tell what is wrong with the daemon, its inputs and senders, and what to do; exit status 0 if nothing is
    Doctor(doctor::Arguments),
    /// Let failures of an address that nobody has go from the log to the firewall, and leave nothing; exit status 0 if they do
    Drill(drill::Arguments),
    /// List who is denied, who was tried from where, or who logged in after too many failures
    List(list::Arguments),
    /// Tell why addresses and prefixes are denied, or are not; exit status 0 if each is, 1 if not
    Why(why::Arguments),
    /// Show what was decided
    History(history::Arguments),
    /// Show what is decided, a line each, live
    Watch(watch::Arguments),
    /// Deny addresses and prefixes
    #[command(visible_alias = "ban")]
    Deny(deny::Arguments),
    /// Let addresses and prefixes in again, and forget their failures
    #[command(visible_alias = "unban")]
    Forgive(forgive::Arguments),
    /// Show the allow list, or put addresses on it, which releases them
    Allow(allow::Arguments),
    /// Have the daemon read its configuration anew: all of it, or where it cannot be, nothing
    Reload(reload::Arguments),
    /// Keep the configuration that run --confirm or reload --confirm has on trial
    Keep(keep::Arguments),
    /// Take every deny out of firewalls and files, with the daemon stopped; who is denied is kept
    Off(off::Arguments),
    /// Copy all that is remembered into a file, also while the daemon runs
    Backup(backup::Backup),
    /// Put such a copy in place, with the daemon stopped; what was remembered before is kept beside it
    Restore(backup::Restore),
    /// Send a mail and tell the webhook as the daemon would, and show what the servers say; exit status 0 if they took it
    Mail(mail::Arguments),
    /// Share denied hosts with the server of the configuration now: send whom we denied, take whom others did
    Sync(sync::Arguments),
    /// Check the configuration, and whether its inputs can be opened
    Check(check::Arguments),
    /// Print what DenyHosts' configuration means, as one of denyd, or take over what DenyHosts knew and did
    Import(import::Arguments),
    /// Write what is remembered as the files of DenyHosts
    Export(export::Arguments),
    /// Serve those who share their denies: DenyHosts' clients and other denyds
    Hub(hub::Arguments),
    /// Print names for a file of restricted users: accounts that nobody logs in to, names that were tried in vain
    Restricted(restricted::Arguments),
    /// Print the files of packages that are written from what the program knows of itself
    #[command(hide = true)]
    Describe(describe::Arguments),
}

/// Runs the command line; errors are printed and become exit status 2.
pub fn main() -> ExitCode {
    // Whatever who started us had: nobody else is to write the files and directories that we make.
    let before = umask(Mode::all());
    umask(before | Mode::S_IWGRP | Mode::S_IWOTH);
    let words: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some((name, rest)) = denyhosts::meant(&words) {
        return denyhosts::run(name, &rest);
    }
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            if output::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("denyd: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = arguments.config.as_deref();
    match arguments.verb {
        Verb::Run(verb) => run::run(verb, file(path)),
        Verb::Scan(verb) => scan::run(verb, &config(path)?),
        Verb::Explain(verb) => explain::run(verb, &config(path)?),
        Verb::Tap(verb) => tap::run(verb, &holding(path)?),
        Verb::Status(verb) => status::run(verb, &holding(path)?),
        Verb::Doctor(verb) => doctor::run(verb, &holding(path)?),
        Verb::Drill(verb) => drill::run(verb, &holding(path)?),
        Verb::List(verb) => list::run(verb, &holding(path)?),
        Verb::Why(verb) => why::run(verb, &holding(path)?),
        Verb::History(verb) => history::run(verb, &holding(path)?),
        Verb::Watch(verb) => watch::run(verb, &holding(path)?),
        Verb::Deny(verb) => deny::run(verb, &holding(path)?),
        Verb::Forgive(verb) => forgive::run(verb, &holding(path)?),
        Verb::Allow(verb) => allow::run(verb, &holding(path)?),
        // The daemon says what is wrong with the file.
        Verb::Reload(verb) => reload::run(verb, &found(path)?.0),
        Verb::Keep(verb) => keep::run(verb, &holding(path)?),
        Verb::Off(verb) => off::run(verb, &holding(path)?),
        Verb::Backup(verb) => backup::backup(verb, &holding(path)?),
        Verb::Restore(verb) => backup::restore(verb, &holding(path)?),
        Verb::Mail(verb) => mail::run(verb, &config(path)?),
        Verb::Sync(verb) => sync::run(verb, &holding(path)?),
        Verb::Check(verb) => check::run(verb, path),
        Verb::Import(verb) => import::run(verb, path),
        Verb::Export(verb) => export::run(verb, &holding(path)?),
        Verb::Hub(verb) => hub::run(verb, path),
        Verb::Restricted(verb) => restricted::run(verb, &holding(path)?),
        Verb::Describe(verb) => describe::run(verb),
    }
}

/// The configuration: of the file that was named, else of the usual one if it is there, else the defaults.
fn config(path: Option<&Path>) -> anyhow::Result<Config> {
    Ok(file(path).map_or_else(|| Ok(Config::default()), Config::read)?)
}

/// The configuration that holds: the last good one while the file is broken, so that a verb finds daemon and state.
fn holding(path: Option<&Path>) -> anyhow::Result<Config> {
    match found(path) {
        Ok((config, None)) => Ok(config),
        Ok((config, Some(error))) => {
            eprintln!("denyd: the configuration is broken, and the last good one holds: {error}");
            Ok(config)
        }
        // A daemon may run by the last good one, which root does not read where it is that daemon's user's. Then it alone is asked.
        Err(error) => {
            let config = file(path).map(Config::reachable).unwrap_or_default();
            if Client::connect(&config.control_socket).ok().flatten().is_none() {
                return Err(error.into());
            }
            eprintln!("denyd: the configuration is broken; the daemon that runs is asked: {error}");
            Ok(config)
        }
    }
}

/// The same, and what is wrong with the file.
fn found(path: Option<&Path>) -> Result<(Config, Option<ConfigError>), ConfigError> {
    file(path).map_or_else(|| Ok((Config::default(), None)), Config::read_or_last)
}

/// The file that holds the configuration, if there is one.
fn file(path: Option<&Path>) -> Option<&Path> {
    path.or_else(|| Some(Path::new(config::FILE)).filter(|usual| usual.exists()))
}
