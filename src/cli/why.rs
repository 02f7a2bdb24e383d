//! `denyd why ADDR`: the verdict on an address, what it rests on, and what would change it.

use std::io::Write;
use std::process::ExitCode;

use super::office;
use super::output::{self, Column, Screen, Style, count, until, when};
use crate::config::Config;
use crate::decide::claim::Reason;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::{Evidence, Held, Verdict, Why};
use crate::detect::special::Special;
use crate::detect::sshd;
use crate::text::printable;

/// What `why` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The address, or a prefix as `list` shows it: what is so of its first address
    address: Prefix,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if the address is denied, 1 if not.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let why: Why = office::ask(config, &Request::Why { address: arguments.address.address() })?;
    let special = config.policy().special(why.address.into());
    output::show(arguments.json, &why, |screen| print(screen, &why, special))?;
    Ok(if why.verdict == Verdict::Denied { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

const CLASSES: &[Column<(Class, (u32, String))>] = &[
    ("CLASS", '<', |(class, _)| class.name().to_owned()),
    ("COUNT", '>', |(_, (count, _))| count.to_string()),
    ("DENIED ABOVE", '>', |(_, (_, above))| above.clone()),
];

const CLAIMS: &[Column<Held>] = &[
    ("HELD AS", '<', |one| one.prefix.to_string()),
    ("BY", '<', |one| one.by.to_string()),
    ("UNTIL", '<', |one| output::end(one.until)),
    ("WHY", '<', |one| {
        let over = if one.enforced { "" } else { " (not enforced)" };
        reason(&one.reason) + over
    }),
];

fn print(screen: &mut Screen, why: &Why, special: Option<&Special>) -> std::io::Result<()> {
    let sentence = sentence(screen, why);
    writeln!(screen, "{sentence}")?;
    if let Some(special) = special.filter(|special| special.bits.is_some()) {
        writeln!(screen, "it is special: {special}")?;
    }
    if why.verdict == Verdict::Unknown {
        return Ok(());
    }
    writeln!(screen)?;
    let above = why.thresholds.all().map(|threshold| threshold.to_string());
    let rows: Vec<_> = Class::ALL.into_iter().zip(why.tallies.all().into_iter().zip(above)).collect();
    screen.table(CLASSES, &rows)?;
    if why.successes > 0 {
        let logins = count(why.successes, "good login", "good logins");
        writeln!(screen, "{logins} from here since it was first counted")?;
    }
    if why.times > 0 {
        writeln!(screen, "denied and released {} before", count(why.times, "time", "times"))?;
    }
    if why.claims.len() > 1 || why.claims.iter().any(|claim| !claim.enforced) {
        writeln!(screen)?;
        screen.table(CLAIMS, &why.claims)?;
    }
    let (forgiven, counted): (Vec<_>, Vec<_>) = why.evidence.iter().partition(|one| one.forgiven);
    print_evidence(screen, "The last failures that were counted:", &counted)?;
    if let Some(at) = why.forgiven {
        print_evidence(screen, &format!("Forgiven {}, and counted no more:", when(at.0)), &forgiven)?;
    }
    if why.verdict == Verdict::Denied {
        let address = why.address;
        writeln!(screen, "\nTo let it in: denyd forgive {address}; to never deny it again: denyd allow {address}")?;
    }
    Ok(())
}

fn print_evidence(screen: &mut Screen, head: &str, evidence: &[&Evidence]) -> std::io::Result<()> {
    if !evidence.is_empty() {
        writeln!(screen, "\n{head}")?;
    }
    for one in evidence {
        writeln!(screen, "  {}  {}  {}", when(one.at.0), one.host, one.message)?;
        if ended_without_login(one.message.as_bytes()) {
            let remark = "(no login succeeded in this connection, probably a refused key)";
            writeln!(screen, "  {:19}  {}", "", screen.paint(Style::Dim, remark))?;
        }
    }
    Ok(())
}

/// Why a claim is there.
fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Policy { class, count, threshold, probation, .. } => {
            let short = if *probation { "; on probation, since somebody logged in from there lately" } else { "" };
            format!(
                "{} of class {}, above {threshold}{short}",
                output::count(*count, "failure", "failures"),
                class.name()
            )
        }
        Reason::Operator { because: Some(because) } => printable(because.as_bytes()),
        Reason::Operator { because: None } => "an operator denied it".to_owned(),
        Reason::Adopted => "taken over when the database was lost".to_owned(),
        Reason::Sync => "a shared list has it".to_owned(),
        Reason::Peer(number) => format!("denyd number {number} denies it"),
    }
}

/// Whether a failure is only that a connection ended: no password was refused in it, or the evidence were that line.
/// Where the account does not exist the reason is another one.
fn ended_without_login(message: &[u8]) -> bool {
    const ENDS: [&str; 5] = ["sshd.closed", "sshd.disconnected", "sshd.timed_out", "sshd.timeout", "sshd.dispatch"];
    let ends = sshd::parse(message, false).is_some_and(|event| ENDS.contains(&event.rule));
    ends && memchr::memmem::find(message, b" invalid user ").is_none()
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
                    let from = match why.parts {
                        0 => String::new(),
                        parts => {
                            let parts_are = if prefix.is_ipv4() { "addresses" } else { "/64s" };
                            format!(", from {parts} of its {parts_are} or more, and no login from there in 30 days")
                        }
                    };
                    let is_probation = why.claims.iter().any(|claim| claim.enforced && claim.reason.is_probation());
                    let short = if is_probation { "; shortly, since somebody logged in from there lately" } else { "" };
                    format!(", since {}: too many failures of class {}{from}{short}", when(since.0), class.name())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_named_where_nothing_else_was_tried() {
        let check = |want, message: &str| assert_eq!(ended_without_login(message.as_bytes()), want, "{message}");
        check(true, "Connection closed by authenticating user root 192.0.2.7 port 5 [preauth]");
        check(true, "Disconnected from authenticating user root 192.0.2.7 port 5 [preauth]");
        check(true, "Connection reset by 192.0.2.7 port 5 [preauth]");
        check(true, "Timeout before authentication for 192.0.2.7 port 5");
        check(false, "Connection closed by invalid user bob 192.0.2.7 port 5 [preauth]");
        check(false, "Failed password for root from 192.0.2.7 port 5 ssh2");
        check(false, "Invalid user bob from 192.0.2.7 port 5");
        check(false, "nothing of sshd");
    }
}
