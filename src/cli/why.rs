//! `denyd why ADDR`: the verdict on an address, what it rests on, and what would change it.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use super::office;
use super::output::{self, Column, Screen, Style, until, when};
use crate::config::Config;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::{Verdict, Why};

/// What `why` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The address
    address: IpAddr,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if the address is denied, 1 if not.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let why: Why = office::ask(config, &Request::Why { address: arguments.address })?;
    output::show(arguments.json, &why, |screen| print(screen, &why))?;
    Ok(if why.verdict == Verdict::Denied { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

const CLASSES: &[Column<(Class, (u32, String))>] = &[
    ("CLASS", '<', |(class, _)| class.name().to_owned()),
    ("COUNT", '>', |(_, (count, _))| count.to_string()),
    ("DENIED ABOVE", '>', |(_, (_, above))| above.clone()),
];

fn print(screen: &mut Screen, why: &Why) -> std::io::Result<()> {
    let sentence = sentence(screen, why);
    writeln!(screen, "{sentence}\n")?;
    if why.verdict == Verdict::Unknown {
        return Ok(());
    }
    let above = why.thresholds.all().map(|threshold| threshold.to_string());
    let rows: Vec<_> = Class::ALL.into_iter().zip(why.tallies.all().into_iter().zip(above)).collect();
    screen.table(CLASSES, &rows)?;
    if why.successes > 0 {
        writeln!(screen, "{} good logins from here since it was first counted", why.successes)?;
    }
    if why.times > 0 {
        writeln!(screen, "denied and released {} times before", why.times)?;
    }
    if !why.evidence.is_empty() {
        writeln!(screen, "\nThe last failures that were counted:")?;
    }
    for one in &why.evidence {
        writeln!(screen, "  {}  {}  {}", when(one.at.0), one.host, one.message)?;
    }
    if why.verdict == Verdict::Denied {
        let address = why.address;
        writeln!(screen, "\nTo let it in: denyd forgive {address}; to never deny it again: denyd allow {address}")?;
    }
    Ok(())
}

/// The verdict, for people.
fn sentence(screen: &Screen, why: &Why) -> String {
    let Why { address, prefix, .. } = why;
    match why.verdict {
        Verdict::Denied => {
            let until = until(why.until);
            let is_alone = *prefix == Prefix::host(*address);
            let within = if is_alone { String::new() } else { format!(" (as part of {prefix})") };
            let by = match (why.class, why.since) {
                (Some(class), Some(since)) => {
                    format!(", since {}: too many failures of class {}", when(since.0), class.name())
                }
                (None, Some(_)) => ": taken over from the firewall when the database was lost".to_owned(),
                _ => ": an operator denied it".to_owned(),
            };
            screen.paint(Style::Red, &format!("{address} is denied{within} {until}{by}"))
        }
        Verdict::Allowed => {
            let by = why.allowed_by.as_deref().unwrap_or("-");
            screen.paint(Style::Green, &format!("{address} is allowed by {by} and never denied"))
        }
        Verdict::Counted => format!("{address} is not denied; its failures are counted by {prefix}"),
        Verdict::Unknown => format!("{address} is not denied, and nothing is known against it"),
    }
}
