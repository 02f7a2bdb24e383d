//! `denyd status`: how the daemon and its inputs are.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::output::{Screen, Style};
use super::{office, output};
use crate::config::Config;
use crate::desk::Request;
use crate::text::printable;

/// What `status` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Counters of limits that were reached.
pub const REACHED: [(&str, &str); 7] = [
    ("evidence_untold", "failures counted, but of too many at once to keep their messages"),
    ("evicted", "counters were forgotten because there were too many"),
    ("unresolved", "attempts had no address"),
    ("users_untold", "attempts were of more users than are told apart"),
    ("hosts_untold", "records were of more hosts than are known by name"),
    ("senders_untold", "records were of more senders than are told apart"),
    ("denies_refused", "denies were refused because there were too many"),
];

/// Runs the verb: exit status 0 if all is well, 1 if something is not enforced or held back.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let status = office::ask_daemon(config, &Request::Status)?;
    let failing = status["backends"].as_array().is_some_and(|all| all.iter().any(|one| !one["error"].is_null()));
    let well = !failing && status["held_back"] == false;
    let mut screen = Screen::new();
    if arguments.json {
        writeln!(screen, "{status}")?;
    } else {
        print(&mut screen, &status)?;
    }
    screen.flush()?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(screen: &mut Screen, status: &Value) -> std::io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let when = |value: &Value| value.as_str().map_or("-".to_owned(), output::when_text);
    writeln!(screen, "denyd {} runs, pid {}", text(&status["version"]), status["pid"])?;
    writeln!(
        screen,
        "{} denied; {} addresses counted, {} connections open\n",
        status["wanted"], status["tracked"], status["sessions"]
    )?;
    if status["dry_run"] == true {
        let warning = "DRY RUN: nothing is enforced, and all is forgotten when it ends";
        writeln!(screen, "{}\n", screen.paint(Style::Yellow, warning))?;
    }
    if status["held_back"] == true {
        let warning = "INPUTS ARE HELD BACK: the database cannot be written (see the log)";
        writeln!(screen, "{}\n", screen.paint(Style::Red, warning))?;
    }
    let rows = |all: &Value, head: &[&str], row: &dyn Fn(&Value) -> Vec<String>| {
        let mut rows = vec![head.iter().map(|text| (*text).to_owned()).collect()];
        rows.extend(all.as_array().into_iter().flatten().map(row));
        rows
    };
    let table = rows(&status["backends"], &["ENFORCED BY", "WANTED", "ENFORCED", "SINCE", "PROBLEM"], &|one| {
        vec![
            text(&one["name"]),
            one["wanted"].to_string(),
            one["enforced"].to_string(),
            when(&one["replaced"]),
            text(&one["error"]),
        ]
    });
    screen.table("<>><<", &table)?;
    writeln!(screen)?;
    let number = |one: &Value, key: &str| one[key].to_string();
    let rate = |one: &Value| format!("{:.1}", one["per_minute"].as_f64().unwrap_or(0.0));
    let table = rows(
        &status["inputs"],
        &[
            "INPUT",
            "KIND",
            "RECORDS",
            "A MINUTE",
            "UNDERSTOOD",
            "FORGED",
            "TWICE",
            "LOST",
            "LAG",
            "CLOCK",
            "LAST RECORD",
        ],
        &|one| {
            vec![
                text(&one["name"]),
                text(&one["kind"]),
                number(one, "records"),
                rate(one),
                share(one),
                number(one, "forged"),
                number(one, "duplicates"),
                number(one, "lost"),
                one["lag_s"].as_f64().filter(|_| !one["last"].is_null()).map_or("-".to_owned(), seconds),
                one["skew_s"].as_f64().map_or("right".to_owned(), skew),
                when(&one["last"]),
            ]
        },
    );
    screen.table("<<>>>>>>><", &table)?;
    for input in status["inputs"].as_array().into_iter().flatten() {
        if let Some(problem) = input["problem"].as_str() {
            let problem = format!("{}: {}", text(&input["name"]), printable(problem.as_bytes()));
            writeln!(screen, "{}", screen.paint(Style::Red, &problem))?;
        }
    }
    if status["senders"].as_array().is_some_and(|all| !all.is_empty()) {
        writeln!(screen)?;
        let head =
            &["HOST", "BY", "INPUT", "RECORDS", "A MINUTE", "UNDERSTOOD", "LOST", "LAG", "CLOCK", "LAST RECEIVED"];
        let table = rows(&status["senders"], head, &|one| {
            vec![
                text(&one["host"]),
                text(&one["sender"]),
                text(&one["source"]),
                number(one, "records"),
                rate(one),
                share(one),
                number(one, "lost"),
                one["lag_s"].as_f64().map_or("-".to_owned(), seconds),
                one["skew_s"].as_f64().map_or("right".to_owned(), skew),
                when(&one["last"]),
            ]
        });
        screen.table("<<<>>>>>><", &table)?;
    }
    if status["shapes"].as_array().is_some_and(|all| !all.is_empty()) {
        writeln!(screen)?;
        let head = &["NOT UNDERSTOOD (please report it)", "INPUT", "RECORDS"];
        let table = rows(&status["shapes"], head, &|one| {
            vec![printable(text(&one["shape"]).as_bytes()), text(&one["input"]), number(one, "records")]
        });
        screen.table("<<>", &table)?;
    }
    for (key, what) in REACHED {
        if status[key].as_u64().is_some_and(|count| count > 0) {
            writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("{} {what}", status[key])))?;
        }
    }
    Ok(())
}

/// How much of what sshd (or another known service) wrote was understood; `-` where it wrote nothing.
fn share(one: &Value) -> String {
    let count = |key: &str| one[key].as_u64().unwrap_or(0);
    match (count("understood"), count("unknown")) {
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
pub fn skew(by: f64) -> String {
    format!("{:.0} s {}", by.abs(), if by > 0.0 { "ahead" } else { "behind" })
}
