//! `denyd status`: how the daemon and its inputs are.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{self, Screen, Style, table, when_if};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{BackEnd, Follower, Input, Sender, Shape, Status};
use crate::text::printable;

/// What `status` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Counters of limits that were reached.
pub(super) fn reached(status: &Status) -> impl Iterator<Item = (u64, &'static str)> {
    let all = [
        (status.evidence_untold, "failures counted, but of too many at once to keep their messages"),
        (status.evicted, "counters were forgotten because there were too many"),
        (status.unresolved, "attempts had no address"),
        (status.users_untold, "attempts were of more users than are told apart"),
        (status.hosts_untold, "records were of more hosts than are known by name"),
        (status.senders_untold, "records were of more senders than are told apart"),
        (status.denies_refused, "denies were refused because there were too many"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0)
}

/// Runs the verb: exit status 0 if all is well, 1 if something is not enforced or held back.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let status: Status = office::ask_daemon(config, &Request::Status)?;
    let well = !status.held_back && status.backends.iter().all(|one| one.error.is_none());
    output::show(arguments.json, &status, |screen| print(screen, &status))?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

const BACK_ENDS: &[&str] = &["ENFORCED BY", "WANTED", "ENFORCED", "SINCE", "PROBLEM"];
const INPUTS: &[&str] =
    &["INPUT", "KIND", "RECORDS", "A MINUTE", "UNDERSTOOD", "FORGED", "TWICE", "LOST", "LAG", "CLOCK", "LAST RECORD"];
const SENDERS: &[&str] =
    &["HOST", "BY", "INPUT", "RECORDS", "A MINUTE", "UNDERSTOOD", "LOST", "LAG", "CLOCK", "LAST RECEIVED"];
const SHAPES: &[&str] = &["NOT UNDERSTOOD (please report it)", "INPUT", "RECORDS"];

fn print(screen: &mut Screen, status: &Status) -> std::io::Result<()> {
    writeln!(screen, "denyd {} runs, pid {}", status.version, status.pid)?;
    writeln!(
        screen,
        "{} denied; {} addresses counted, {} connections open\n",
        status.wanted, status.tracked, status.sessions
    )?;
    if status.dry_run {
        let warning = "DRY RUN: nothing is enforced, and all is forgotten when it ends";
        writeln!(screen, "{}\n", screen.paint(Style::Yellow, warning))?;
    }
    if status.held_back {
        let warning = "INPUTS ARE HELD BACK: the database cannot be written (see the log)";
        writeln!(screen, "{}\n", screen.paint(Style::Red, warning))?;
    }
    screen.table("<>><<", &table(BACK_ENDS, &status.backends, back_end))?;
    writeln!(screen)?;
    screen.table("<<>>>>>>><", &table(INPUTS, &status.inputs, input))?;
    for input in &status.inputs {
        if let Some(problem) = &input.problem {
            let problem = format!("{}: {}", input.name, printable(problem.as_bytes()));
            writeln!(screen, "{}", screen.paint(Style::Red, &problem))?;
        }
    }
    if !status.senders.is_empty() {
        writeln!(screen)?;
        screen.table("<<<>>>>>><", &table(SENDERS, &status.senders, sender))?;
    }
    if !status.shapes.is_empty() {
        writeln!(screen)?;
        screen.table("<<>", &table(SHAPES, &status.shapes, shape))?;
    }
    for Follower { name, behind, missed, .. } in &status.followers {
        let text = format!("{name} is {behind} decisions behind, and has missed {missed}");
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for (count, what) in reached(status) {
        writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("{count} {what}")))?;
    }
    Ok(())
}

fn back_end(one: &BackEnd) -> Vec<String> {
    let problem = one.error.clone().unwrap_or("-".to_owned());
    vec![one.name.clone(), one.wanted.to_string(), one.enforced.to_string(), when_if(one.replaced), problem]
}

fn input(one: &Input) -> Vec<String> {
    vec![
        one.name.clone(),
        one.kind.clone(),
        one.records.to_string(),
        rate(one.per_minute),
        share(one.understood, one.unknown),
        one.forged.to_string(),
        one.duplicates.to_string(),
        one.lost.to_string(),
        one.last.map_or("-".to_owned(), |_| seconds(one.lag_s)),
        one.skew_s.map_or("right".to_owned(), skew),
        when_if(one.last),
    ]
}

fn sender(one: &Sender) -> Vec<String> {
    vec![
        one.host.clone().unwrap_or("-".to_owned()),
        one.sender.clone(),
        one.source.clone(),
        one.records.to_string(),
        rate(one.per_minute),
        share(one.understood, one.unknown),
        one.lost.to_string(),
        seconds(one.lag_s),
        one.skew_s.map_or("right".to_owned(), skew),
        when_if(one.last),
    ]
}

fn shape(one: &Shape) -> Vec<String> {
    vec![printable(one.shape.as_bytes()), one.input.clone(), one.records.to_string()]
}

fn rate(per_minute: f64) -> String {
    format!("{per_minute:.1}")
}

/// How much of what sshd (or another known service) wrote was understood; `-` where it wrote nothing.
fn share(understood: u64, unknown: u64) -> String {
    match (understood, unknown) {
        (0, _) => "-".to_owned(),
        (_, 0) => "100 %".to_owned(),
        // Never rounded up to all of it.
        (all, unknown) => format!("{:.1} %", (1000 * (all - unknown.min(all)) / all) as f64 / 10.0),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

/// How far a clock is off, in words.
pub(super) fn skew(by: f64) -> String {
    format!("{:.0} s {}", by.abs(), if by > 0.0 { "ahead" } else { "behind" })
}
