//! `denyd doctor`: what is wrong with the running daemon and its inputs, and what to do about it.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{Screen, Style, when_text};
use super::{office, status};
use crate::config::Config;
use crate::desk::Request;
use crate::text::printable;

/// What `doctor` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Print one JSON object a finding
    #[arg(long)]
    json: bool,
}

/// Something that a person should know.
struct Finding {
    /// Whether it must be mended: somebody may get in, or be locked out.
    is_grave: bool,
    /// About what.
    about: String,
    what: String,
}

/// Runs the verb: exit status 0 if there is nothing to say, 1 if there is, 2 if no daemon answers.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let found = findings(&office::ask_daemon(config, &Request::Status)?);
    let mut screen = Screen::new();
    for Finding { is_grave, about, what } in &found {
        if arguments.json {
            writeln!(screen, "{}", json!({"grave": is_grave, "about": about, "what": what}))?;
        } else {
            let (style, word) = if *is_grave { (Style::Red, "FAIL") } else { (Style::Yellow, "look") };
            writeln!(screen, "{} {about}: {what}", screen.paint(style, word))?;
        }
    }
    if found.is_empty() && !arguments.json {
        writeln!(screen, "{} nothing is wrong that denyd knows of", screen.paint(Style::Green, "ok  "))?;
    }
    screen.flush()?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn findings(status: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut put = |is_grave, about: &str, what: String| found.push(Finding { is_grave, about: about.to_owned(), what });
    let rows = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let count = |row: &Value, key: &str| row[key].as_u64().unwrap_or(0);
    if status["dry_run"] == true {
        put(false, "daemon", "it is a DRY RUN: nothing is enforced, and all is forgotten when it ends".to_owned());
    }
    if status["held_back"] == true {
        put(true, "database", "it cannot be written, so no input is read; see the log, make room".to_owned());
    }
    for place in rows("backends") {
        if let Some(error) = place["error"].as_str() {
            let since = when_text(&text(&place, "failing_since"));
            put(true, &text(&place, "name"), format!("denies are not enforced since {since}: {error}"));
        }
    }
    for input in rows("inputs") {
        let name = text(&input, "name");
        if let Some(problem) = input["problem"].as_str() {
            let problem = printable(problem.as_bytes());
            put(true, &name, format!("what is written there is not seen, or not all of it: {problem}"));
        }
        if input["forgeable"] == true {
            let what = "strangers may be able to make up its records, so what it alone denies it denies for an hour at most, \
                        and it clears nothing; use TCP, TLS or the journal, or for UDP say trust_network = true if no false \
                        address can come in";
            put(false, &name, what.to_owned());
        }
        for (key, what) in [
            ("lost", "records were lost before they came; the sender's rate limit, or too small a buffer"),
            ("refused", "connections or messages were refused by `from` or a limit"),
            ("handshakes_failed", "TLS handshakes failed; the log says why"),
            ("broken", "streams were broken off; the log says why"),
            ("truncated", "lines were longer than 8 KiB and were cut"),
            ("forged", "records were not believed: who wrote them may not write for that program"),
        ] {
            if count(&input, key) > 0 {
                put(false, &name, format!("{} {what}", count(&input, key)));
            }
        }
    }
    for sender in rows("senders") {
        let about = format!("{} by {}", text(&sender, "host"), text(&sender, "sender"));
        if let Some(by) = sender["skew_s"].as_f64() {
            let what = "; its stamps are not believed; set it, or `timezone` of the input";
            put(false, &about, format!("its clock is {}{what}", status::skew(by)));
        }
        if sender["silent"] == true {
            put(true, &about, format!("has said nothing since {}", when_text(&text(&sender, "last"))));
        }
    }
    for shape in rows("shapes") {
        let what = "records like this are not understood, please report it";
        put(false, &text(&shape, "input"), format!("{} {what}: {}", count(&shape, "records"), text(&shape, "shape")));
    }
    for (key, what) in status::REACHED {
        if count(status, key) > 0 {
            put(false, "limits", format!("{} {what}", count(status, key)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_says_about_what() {
        let status = json!({
            "held_back": true, "evicted": 3,
            "backends": [{"name": "nftables", "error": "no", "failing_since": "2026-11-22T00:00:00Z"},
                         {"name": "stdout", "error": null}],
            "inputs": [{"name": "a", "forgeable": true, "lost": 2, "forged": 0},
                       {"name": "b", "forgeable": false, "problem": "no"}],
            "shapes": [{"input": "a", "shape": "Frobnicated *", "records": 2}],
            "senders": [{"host": "web", "sender": "192.0.2.1", "skew_s": -3600.0, "silent": false},
                        {"host": "db", "sender": "192.0.2.2", "skew_s": null, "silent": true, "last": "2026-11-22T00:00:00Z"}],
        });
        let found: Vec<_> = findings(&status).into_iter().map(|one| (one.is_grave, one.about)).collect();
        let want = [
            (true, "database"),
            (true, "nftables"),
            (false, "a"),
            (false, "a"),
            (true, "b"),
            (false, "web by 192.0.2.1"),
            (true, "db by 192.0.2.2"),
            (false, "a"),
            (false, "limits"),
        ];
        assert_eq!(found, want.map(|(is_grave, about)| (is_grave, about.to_owned())));
        assert!(findings(&json!({"held_back": false})).is_empty());
    }
}
