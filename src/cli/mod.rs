//! The command line: one file a verb. Each prints for people, or JSON with `--json`; exit 0 yes, 1 no, 2 error.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use inputs::syslog::parse::Format;

use crate::decide::policy::Policy;

mod explain;
pub mod output;
mod scan;

/// Reads sshd's log records, decides which addresses failed too often, and denies them.
#[derive(Parser, Debug)]
#[command(name = "denyd", version, about, propagate_version = true, subcommand_required = true)]
struct Arguments {
    /// The configuration file [default: /etc/denyd/denyd.toml if it is there, else the defaults]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Read log files from end to end and show who would be denied, and why
    Scan(scan::Arguments),
    /// Show what each line of a log means and what it would count
    Explain(explain::Arguments),
}

/// Runs the command line; errors are printed and become exit status 2.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.verb {
        Verb::Scan(verb) => scan::run(verb, Policy::default()),
        Verb::Explain(verb) => explain::run(verb, Policy::default()),
    };
    match result {
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

/// `--format`: how the lines of a file are written.
#[derive(Clone, Copy, Debug)]
struct LineFormat(Format);

impl std::str::FromStr for LineFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(LineFormat(match text {
            "auto" => Format::Auto,
            "syslog" => Format::Syslog,
            "message" => Format::Message,
            "multilog" => Format::Multilog,
            "metalog" => Format::Metalog,
            _ => return Err("the formats are auto, syslog, message, multilog and metalog".to_owned()),
        }))
    }
}

/// The zone of stamps without one.
fn zone(name: Option<&str>) -> anyhow::Result<jiff::tz::TimeZone> {
    match name {
        Some(name) => jiff::tz::TimeZone::get(name).with_context(|| {
            format!("{name} is not a time zone that this machine knows, such as Europe/Berlin or UTC")
        }),
        None => Ok(jiff::tz::TimeZone::system()),
    }
}

/// Puts log bytes into a JSON row: escaped for reading, and in base64 beside it where that changed them.
pub fn put_bytes(row: &mut serde_json::Value, key: &str, bytes: &[u8]) {
    let shown = output::printable(bytes);
    if shown.as_bytes() != bytes {
        row[format!("{key}_b64")] = output::base64(bytes).into();
    }
    row[key] = shown.into();
}
