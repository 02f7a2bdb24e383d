//! `denyd why ADDR`: the verdict on an address, what it rests on, and what would change it.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use super::office;
use super::output::{Screen, Style, when_text};
use crate::config::Config;
use crate::decide::policy::Class;
use crate::desk::Request;

/// What `why` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The address
    address: IpAddr,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if the address is denied, 1 if not.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let answer = office::ask(config, &Request::Why { address: arguments.address })?;
    let denied = answer["verdict"] == "denied";
    let mut screen = Screen::new();
    if arguments.json {
        writeln!(screen, "{answer}")?;
    } else {
        print(&mut screen, &answer)?;
    }
    screen.flush()?;
    Ok(if denied { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(screen: &mut Screen, answer: &serde_json::Value) -> std::io::Result<()> {
    let text = |key: &str| answer[key].as_str().unwrap_or("-").to_owned();
    let address = text("address");
    let sentence = match answer["verdict"].as_str() {
        Some("denied") => {
            let until = answer["until"].as_str().map_or("for ever".to_owned(), |at| format!("until {}", when_text(at)));
            let within =
                if text("prefix") == address { String::new() } else { format!(" (as part of {})", text("prefix")) };
            let by = match (answer["class"].as_str(), answer["since"].as_str()) {
                (Some(class), Some(since)) => {
                    format!(", since {}: too many failures of class {class}", when_text(since))
                }
                (None, Some(_)) => ": taken over from the firewall when the database was lost".to_owned(),
                _ => ": an operator denied it".to_owned(),
            };
            screen.paint(Style::Red, &format!("{address} is denied{within} {until}{by}"))
        }
        Some("allowed") => {
            screen.paint(Style::Green, &format!("{address} is allowed by {} and never denied", text("allowed_by")))
        }
        Some("counted") => format!("{address} is not denied; its failures are counted by {}", text("prefix")),
        _ => format!("{address} is not denied, and nothing is known against it"),
    };
    writeln!(screen, "{sentence}\n")?;
    if answer["verdict"] == "unknown" {
        return Ok(());
    }
    let mut table = vec![["CLASS", "COUNT", "DENIED ABOVE"].map(str::to_owned).to_vec()];
    for class in Class::ALL {
        let threshold = &answer["thresholds"][class.name()];
        let threshold = threshold.as_str().map_or_else(|| threshold.to_string(), str::to_owned);
        table.push(vec![class.name().to_owned(), answer["tallies"][class.name()].to_string(), threshold]);
    }
    screen.table("<>>", &table)?;
    let logins = answer["successes"].as_u64().unwrap_or(0);
    if logins > 0 {
        writeln!(screen, "{logins} good logins from here since it was first counted")?;
    }
    let times = answer["times"].as_u64().unwrap_or(0);
    if times > 0 {
        writeln!(screen, "denied and released {times} times before")?;
    }
    let evidence = answer["evidence"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !evidence.is_empty() {
        writeln!(screen, "\nThe last failures that were counted:")?;
        for one in evidence {
            let at = one["at"].as_str().map_or("-".to_owned(), when_text);
            let (host, message) = (one["host"].as_str().unwrap_or("-"), one["message"].as_str().unwrap_or("-"));
            writeln!(screen, "  {at}  {host}  {message}")?;
        }
    }
    if answer["verdict"] == "denied" {
        writeln!(screen, "\nTo let it in: denyd forgive {address}; to never deny it again: denyd allow {address}")?;
    }
    Ok(())
}
