//! `denyd explain [FILE|-|LINE]`: what each line of a log means, given the lines before it.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use inputs::record::{Batch, SourceId};
use inputs::syslog::parse::{Format, Parser};
use serde_json::{Value, json};

mod derivation;
mod parts;

use super::log::Log;
use super::output::{Screen, Style};
use crate::clock;
use crate::config::Config;
use crate::decide::engine::Engine;
use crate::decide::session::Outcome;
use crate::intake::{BARE_PID, Counts, Seen, Source, address, fold};
use crate::text::printable;

/// What `explain` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A log file, also .gz .bz2 .zst .xz; `-` is standard input; or one line of a log, of which everything is said
    #[arg(default_value = "-", value_name = "FILE|LINE")]
    file: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// How the lines are written
    #[arg(long, default_value = "auto")]
    format: super::LineFormat,
    /// The zone of stamps that name none [default: this machine's]
    #[arg(long, value_name = "IANA-NAME")]
    timezone: Option<String>,
}

/// Runs the verb.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let zone = super::zone(arguments.timezone.as_deref())?;
    // No log has a blank in its name and is not there.
    let line = arguments.file.as_os_str().as_bytes();
    if line.contains(&b' ') && !arguments.json && !arguments.file.exists() {
        return derivation::print(line, arguments.format.0, zone, config);
    }
    let mut log = Log::open(&arguments.file)?;
    if arguments.format.0 == Format::Journal && log.format().is_none() {
        anyhow::bail!(
            "{}: these are no entries of a journal; make them with `journalctl -o json`",
            arguments.file.display()
        );
    }
    let format = log.format().unwrap_or(arguments.format.0);
    let mut engine = Engine::new(config.policy());
    let mut source = Source::new(SourceId(0), Parser::new(format, zone), None, &clock::host_name());
    source.bare = matches!(format, Format::Message);
    source.rules = Arc::new(config.rules()?.rules);
    let mut batch = Batch::default();
    let mut counts = Counts::default();
    let mut screen = Screen::new();
    let mut number = 0u64;
    while log.fill(&mut batch)? {
        let mut failed = Ok(());
        fold(&mut engine, &mut source, &batch, &mut counts, |seen, _| {
            number += 1;
            if failed.is_ok() {
                failed = if arguments.json {
                    print_json(&mut screen, number, seen)
                } else {
                    print_line(&mut screen, number, seen)
                };
            }
        });
        failed?;
        engine.changes.clear();
        engine.late.clear();
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| printable(bytes))
}

fn print_json(out: &mut Screen, number: u64, seen: &Seen<'_>) -> std::io::Result<()> {
    let record = seen.record;
    let folded = seen.folded;
    let event = seen.event;
    let classes: Vec<_> = folded.map(|f| f.classes.iter().map(|c| c.name()).collect()).unwrap_or_default();
    let account = folded.filter(|_| event.is_some_and(|e| e.user.is_some())).map(|f| f.verdict.account);
    let mut row = json!({
        "line": number,
        "time": record.event.map(|at| at.to_string()),
        "host": text(record.host),
        "identifier": text(record.identifier),
        "pid": record.pid.filter(|pid| *pid < BARE_PID),
        "outcome": seen.outcome(),
        "address": address(seen),
        "port": event.and_then(|event| event.port),
        "user": Value::Null,
        "account": account,
        "classes": classes,
        "attempts": folded.map_or(0, |folded| folded.verdict.attempts),
        "rule": event.map(|event| event.rule),
    });
    if let Some(user) = event.and_then(|event| event.user) {
        crate::text::put_bytes(&mut row, "user", user);
    }
    if record.truncated {
        row["truncated"] = true.into();
    }
    serde_json::to_writer(&mut *out, &row)?;
    writeln!(out)
}

fn word(outcome: Outcome) -> (&'static str, Style) {
    match outcome {
        Outcome::Failure => ("failure", Style::Red),
        Outcome::Probe => ("probe", Style::Yellow),
        Outcome::Success => ("success", Style::Green),
        Outcome::Refused => ("refused", Style::Yellow),
        Outcome::Unknown => ("unknown", Style::Bold),
        Outcome::Ignored => ("ignored", Style::Dim),
    }
}

fn print_line(out: &mut Screen, number: u64, seen: &Seen<'_>) -> std::io::Result<()> {
    let (word, style) = word(seen.outcome());
    let mut said = String::new();
    if let Some(folded) = seen.folded {
        if folded.verdict.attempts > 0 {
            said.push_str(&format!("+{} ", folded.verdict.attempts));
            let classes: Vec<_> = folded.classes.iter().map(|class| class.name()).collect();
            said.push_str(&classes.join(", "));
            said.push(' ');
        }
        if let Some(address) = address(seen) {
            said.push_str(&format!("from {address} "));
        }
    }
    let rule = seen.event.map_or("", |event| event.rule);
    let word = out.paint(style, &format!("{word:<7}"));
    let message: String = parts::of(seen).iter().map(|(text, style)| out.paint(*style, &printable(text))).collect();
    writeln!(out, "{number:>6}  {word}  {said:<42} {rule:<20} {message}")
}
