//! `denyd explain [FILE|-|LINE]`: what each line of a log means, given the lines before it.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use inputs::input::Progress;
use inputs::log::Log;
use inputs::record::{Batch, SourceId};
use serde_json::json;

mod derivation;
mod parts;

use super::output::{Screen, Style, with_user};
use crate::clock;
use crate::config::Config;
use crate::decide::engine::Engine;
use crate::decide::session::Outcome;
use crate::desk::reply::At;
use crate::intake::{BARE_PID, Counts, Seen, Source, address, fold};
use crate::text::printable;

/// What `explain` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("explain /var/log/auth.log", "what each line means, and what it counts"),
    (r#"explain "Nov 28 23:00:00 web sshd[7]: Invalid user al from 192.0.2.7 port 9""#, "one line"),
]))]
pub(super) struct Arguments {
    /// A log file, also .gz .bz2 .zst .xz; `-` is standard input; or one line of a log, of which everything is said
    #[arg(default_value = "-", value_name = "FILE|LINE")]
    file: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    lines: super::lines::Options,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    // No log has a blank in its name and is not there.
    let line = arguments.file.as_os_str().as_bytes();
    if line.contains(&b' ') && !arguments.file.exists() {
        let reading = arguments.lines.of_line(line, config)?;
        return derivation::print(line, reading, arguments.json, config);
    }
    let mut reading = arguments.lines.of(&arguments.file, config)?;
    let mut log = Log::open(&arguments.file, reading.parser.take(), clock::now)?;
    let mut engine = Engine::new(config.policy());
    let mut source = Source::new(SourceId(0), None, &clock::host_name());
    let has_lines = matches!(log, Log::Lines(_));
    source.bare = reading.bare && has_lines;
    source.forgeable = reading.forgeable;
    source.host.clone_from(&reading.host);
    source.rules = Arc::new(config.rules()?.rules);
    let mut batch = Batch::default();
    let mut counts = Counts::default();
    let mut screen = Screen::new();
    let mut number = 0u64;
    let log = log.stored();
    while log.refill(clock::now().into(), &mut batch).map_err(anyhow::Error::from_boxed)? == Progress::More {
        if has_lines && number == 0 {
            reading.refuse_headless(&arguments.file, &batch)?;
        }
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
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| printable(bytes))
}

fn print_json(out: &mut Screen, number: u64, seen: &Seen<'_>) -> std::io::Result<()> {
    let Seen { record, event, folded, .. } = seen;
    let user = event.and_then(|event| event.user);
    let mut line = json!({
        "line": number,
        "time": record.event.map(At),
        "host": text(record.host),
        "identifier": text(record.identifier),
        "pid": record.pid.filter(|pid| *pid < BARE_PID),
        "outcome": seen.outcome(),
        "address": address(seen),
        "port": event.and_then(|event| event.port),
        "user": null,
        "account": folded.filter(|_| user.is_some()).map(|folded| folded.account),
        "classes": folded.map_or(Vec::new(), |folded| folded.classes().iter().collect()),
        "attempts": folded.map_or(0, |folded| folded.attempts()),
        "rule": event.map(|event| event.rule),
    });
    if let Some(user) = user {
        line = with_user(line, user);
    }
    if record.truncated {
        line["truncated"] = true.into();
    }
    writeln!(out, "{line}")
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
        if folded.attempts() > 0 {
            said.push_str(&format!("+{} ", folded.attempts()));
            let classes: Vec<_> = folded.classes().iter().map(|class| class.name()).collect();
            said.push_str(&classes.join(", "));
            said.push(' ');
        }
        if let Some(address) = address(seen) {
            said.push_str(&format!("from {address} "));
        }
        let counted = folded.attempt.as_ref().map(|attempt| attempt.prefix);
        if let Some(prefix) = counted.filter(|prefix| !prefix.is_host()) {
            said.push_str(&format!("(/{}) ", prefix.bits()));
        }
    }
    let rule = match (seen.event, seen.record.identifier) {
        (Some(event), _) => event.rule.to_owned(),
        (None, b"") if seen.record.message.is_empty() => String::new(),
        (None, b"") => "no header".to_owned(),
        (None, name) => format!("of {:.40}", printable(name)),
    };
    let word = out.paint(style, &format!("{word:<7}"));
    let message: String = parts::of(seen).iter().map(|(text, style)| out.paint(*style, &printable(text))).collect();
    writeln!(out, "{number:>6}  {word}  {said:<42} {rule:<20} {message}")
}
