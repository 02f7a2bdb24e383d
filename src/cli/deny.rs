//! `denyd deny ADDR|PREFIX`: an operator's deny.

use std::net::IpAddr;
use std::process::ExitCode;

use super::office;
use super::output::when_text;
use crate::config::{Config, duration};
use crate::decide::prefix::Prefix;
use crate::desk::Request;

/// What `deny` takes.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// An address, or a prefix such as 192.0.2.0/24
    prefix: Prefix,
    /// For how long, such as 2h or 7d [default: for ever]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// Also what is dangerously wide, or where you are logged in from
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let time = arguments.duration.as_deref().map(duration::parse).transpose().map_err(anyhow::Error::msg)?;
    let request = Request::Deny {
        prefix: arguments.prefix,
        seconds: time.map(|time| time.as_secs().max(1)),
        force: arguments.force,
        caller: caller(),
    };
    let answer = office::ask(config, &request)?;
    if arguments.json {
        println!("{answer}");
    } else {
        let until = answer["until"].as_str().map_or("for ever".to_owned(), |at| format!("until {}", when_text(at)));
        println!("{} is denied {until}. To let it in again: denyd forgive {}", arguments.prefix, arguments.prefix);
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the person at this terminal is logged in from: sshd says so (`sshd(8)`, `SSH_CONNECTION`).
fn caller() -> Option<IpAddr> {
    std::env::var("SSH_CONNECTION").ok()?.split(' ').next()?.parse().ok()
}
