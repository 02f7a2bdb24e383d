//! `denyd status`: how the daemon and its inputs are.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{self, Column, Screen, Style, when_if};
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

const BACK_ENDS: &[Column<BackEnd>] = &[
    ("ENFORCED BY", '<', |one| one.name.clone()),
    ("WANTED", '>', |one| one.wanted.to_string()),
    ("ENFORCED", '>', |one| one.enforced.to_string()),
    ("SINCE", '<', |one| when_if(one.replaced)),
    ("PROBLEM", '<', |one| one.error.clone().unwrap_or("-".to_owned())),
];
const INPUTS: &[Column<Input>] = &[
    ("INPUT", '<', |one| one.name.clone()),
    ("KIND", '<', |one| one.kind.clone()),
    ("RECORDS", '>', |one| one.records.to_string()),
    ("A MINUTE", '>', |one| rate(one.per_minute)),
    ("UNDERSTOOD", '>', |one| share(one.understood, one.unknown)),
    ("FORGED", '>', |one| one.forged.to_string()),
    ("TWICE", '>', |one| one.duplicates.to_string()),
    ("LOST", '>', |one| one.lost.to_string()),
    ("LAG", '>', |one| one.last.map_or("-".to_owned(), |_| seconds(one.lag_s))),
    ("CLOCK", '<', |one| one.skew_s.map_or("right".to_owned(), skew)),
    ("LAST RECORD", '<', |one| when_if(one.last)),
];
const SENDERS: &[Column<Sender>] = &[
    ("HOST", '<', |one| one.host.clone().unwrap_or("-".to_owned())),
    ("BY", '<', |one| one.sender.clone()),
    ("INPUT", '<', |one| one.source.clone()),
    ("RECORDS", '>', |one| one.records.to_string()),
    ("A MINUTE", '>', |one| rate(one.per_minute)),
    ("UNDERSTOOD", '>', |one| share(one.understood, one.unknown)),
    ("LOST", '>', |one| one.lost.to_string()),
    ("LAG", '>', |one| seconds(one.lag_s)),
    ("CLOCK", '>', |one| one.skew_s.map_or("right".to_owned(), skew)),
    ("LAST RECEIVED", '<', |one| when_if(one.last)),
];
const SHAPES: &[Column<Shape>] = &[
    ("NOT UNDERSTOOD (please report it)", '<', |one| printable(one.shape.as_bytes())),
    ("INPUT", '<', |one| one.input.clone()),
    ("RECORDS", '>', |one| one.records.to_string()),
];

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
    screen.table(BACK_ENDS, &status.backends)?;
    writeln!(screen)?;
    screen.table(INPUTS, &status.inputs)?;
    for input in &status.inputs {
        if let Some(problem) = &input.problem {
            let problem = format!("{}: {}", input.name, printable(problem.as_bytes()));
            writeln!(screen, "{}", screen.paint(Style::Red, &problem))?;
        }
    }
    if !status.senders.is_empty() {
        writeln!(screen)?;
        screen.table(SENDERS, &status.senders)?;
    }
    if !status.shapes.is_empty() {
        writeln!(screen)?;
        screen.table(SHAPES, &status.shapes)?;
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
