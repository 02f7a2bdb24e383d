//! `denyd doctor`: what is wrong with the daemon, its inputs and this machine, and what to do about it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::office;
use super::output::{Screen, Style};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::control::Client;
use crate::desk::reply::{Status, json};

mod bundle;
mod firewall;
mod here;
mod sshd;
mod told;
mod veil;

/// What `doctor` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("doctor", "what is wrong, and what to do about it"),
    ("doctor --bundle report.txt", "one file for a report of a fault, without what is private"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object a finding
    #[arg(long)]
    json: bool,
    /// Show what a report of a fault needs, and write it into this new file: versions, configuration, findings, status, the last
    /// warnings. Addresses, users and host names are replaced, and secrets are left out
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    bundle: Option<PathBuf>,
    /// The file with denyd's own log, for the bundle [default: the journal is asked]
    #[arg(long, value_name = "FILE", requires = "bundle")]
    log: Option<PathBuf>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// It must be mended: somebody may get in, or be locked out.
    Fail,
    /// It may matter, and a person should look at it.
    Look,
    /// It is so, and good to know.
    Note,
}

/// Something that a person should know.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// Whether it must be mended.
    grave: bool,
    /// About what.
    about: String,
    what: String,
}

impl Finding {
    fn new(level: Level, about: &str, what: String) -> Finding {
        Finding { level, grave: level == Level::Fail, about: about.to_owned(), what }
    }
}

/// Runs the verb: exit status 0 if there is nothing to mend or to look at, 1 if there is. Where no daemon runs, what can be
/// seen without it is told too.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let (mut found, mut status) = (Vec::new(), None);
    match Client::connect(&config.control_socket) {
        Ok(Some(mut daemon)) => {
            let told = daemon.ask::<Status>(&Request::Status)?;
            found.extend(told::findings(&told, config));
            status = Some(told);
        }
        Ok(None) => found.extend(here::without_daemon(config)),
        Err(error) => found.push(Finding::new(Level::Fail, "daemon", format!("{error:#}"))),
    }
    found.extend(here::findings(config, &mut office::Office::new(config)));
    found.extend(firewall::findings(config, status.as_ref(), &mut office::Office::new(config)));
    found.extend(sshd::findings(&mut office::Office::new(config)));
    found.sort_by_key(|finding| finding.level as u8);
    if let Some(file) = &arguments.bundle {
        bundle::write(file, arguments.log.as_deref(), config, status.as_ref(), &found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut screen = Screen::new();
    for finding in &found {
        if arguments.json {
            writeln!(screen, "{}", json(finding))?;
        } else {
            let (style, word) = match finding.level {
                Level::Fail => (Style::Red, "FAIL"),
                Level::Look => (Style::Yellow, "look"),
                Level::Note => (Style::Dim, "note"),
            };
            writeln!(screen, "{} {}: {}", screen.paint(style, word), finding.about, finding.what)?;
        }
    }
    let is_well = found.iter().all(|finding| finding.level == Level::Note);
    if is_well && !arguments.json {
        writeln!(screen, "{} nothing is wrong that denyd knows of", screen.paint(Style::Green, "ok  "))?;
    }
    screen.flush()?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
