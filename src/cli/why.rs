//! `denyd why ADDR|PREFIX…`: the verdict on each, what it rests on, and what would change it.

use std::io::Write;
use std::process::ExitCode;

use super::elsewhere;
use super::list::{ADDRESSES, HOSTS};
use super::office::Office;
use super::output::{self, Column, Screen, Style, count, until, when};
use super::reason::reason;
use super::refused::Counts;
use crate::config::Config;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::{Evidence, Held, Verdict, Why};
use crate::detect::special::Special;
use crate::detect::sshd;
use crate::text::plain;

/// What `why` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("why 192.0.2.7", "is it denied, and why"),
    ("why 192.0.2.0/24", "who is denied and counted in there"),
]))]
pub(super) struct Arguments {
    /// Addresses, or prefixes such as 2001:db8::/64
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<Prefix>,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if each is denied, by us or by another's line or rule, 1 if one is not.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let (policy, counts, mut is_first) = (config.policy(), Counts::read(config), true);
    Office::new(config).each(&arguments.prefixes, |office, &address| {
        let mut why: Why = office.ask(&Request::Why { address })?;
        if why.verdict == Verdict::Denied {
            why.refused = counts.as_ref().and_then(|counts| counts.of(&why.prefix));
        }
        let (refused, problems) = elsewhere::of(config, &address);
        why.elsewhere = refused;
        let is_refused = why.elsewhere.iter().any(|one| one.only.is_empty());
        let special = policy.special(why.address.address().into());
        output::show(arguments.json, &why, |screen| {
            if !std::mem::take(&mut is_first) {
                writeln!(screen)?;
            }
            print(screen, &why, special.filter(|_| policy.prefix(address.address().into()).contains(&address)))?;
            problems.iter().try_for_each(|problem| writeln!(screen, "{problem}"))
        })?;
        Ok(why.verdict == Verdict::Denied || is_refused)
    })
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
        reason(&one.reason, &one.prefix) + over
    }),
];

fn print(screen: &mut Screen, why: &Why, special: Option<&Special>) -> std::io::Result<()> {
    let sentence = sentence(screen, why);
    writeln!(screen, "{sentence}")?;
    if let Some(special) = special.filter(|special| special.bits.is_some()) {
        writeln!(screen, "it is special: {special}")?;
    }
    if !why.elsewhere.is_empty() {
        let is_certain = why.elsewhere.iter().any(|one| one.only.is_empty());
        let by = match why.verdict {
            Verdict::Denied => "It is refused by",
            _ if is_certain => "It is refused all the same, by",
            _ => "It may be refused all the same, by",
        };
        writeln!(screen, "\n{by}")?;
        for one in &why.elsewhere {
            let only = if one.only.is_empty() { String::new() } else { format!(" ({})", one.only) };
            writeln!(screen, "  {}: {}{only}", one.place, one.text)?;
        }
        if why.verdict != Verdict::Denied && is_certain {
            let address = why.address;
            writeln!(screen, "To remove what names {address} alone: denyd forgive {address} --all-of-it")?;
        }
    }
    if why.verdict == Verdict::Unknown {
        return Ok(());
    }
    writeln!(screen)?;
    inside(screen, why)?;
    let above = why.thresholds.all().map(|threshold| threshold.to_string());
    let rows: Vec<_> = Class::ALL.into_iter().zip(why.tallies.all().into_iter().zip(above)).collect();
    if why.denied_inside.is_empty() && why.counted_inside.is_empty() {
        screen.table(CLASSES, &rows)?;
    }
    if why.successes > 0 {
        let logins = count(why.successes, "good login", "good logins");
        writeln!(screen, "{logins} from here since it was first counted")?;
    }
    if let Some(packets) = why.refused {
        writeln!(screen, "{} refused since the sets were last written", count(packets, "packet", "packets"))?;
    }
    for wave in &why.waves {
        let (told, occasions) = (plain(&wave.told()), count(why.occasions, "time", "times"));
        let since = when(wave.since.0);
        writeln!(
            screen,
            "it takes part in a wave: {told} since {since}; it did so {occasions}, an hour apart or more"
        )?;
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

/// Who is denied and counted inside a prefix.
fn inside(screen: &mut Screen, why: &Why) -> std::io::Result<()> {
    if !why.denied_inside.is_empty() {
        screen.table(HOSTS, &why.denied_inside)?;
    }
    if !why.counted_inside.is_empty() {
        screen.table(ADDRESSES, &why.counted_inside)?;
    }
    Ok(())
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
            let within = if prefix == address { String::new() } else { format!(" (as part of {prefix})") };
            // The one that it is denied by to the end.
            let claims = why.claims.iter().filter(|claim| claim.enforced && claim.prefix == *prefix);
            let claim = claims.max_by_key(|claim| (claim.until.is_none(), claim.until));
            let told = |claim: &Held| format!(", since {}: {}", when(claim.since.0), reason(&claim.reason, prefix));
            let by = claim.map(told).unwrap_or_default();
            screen.paint(Style::Red, &format!("{address} is denied{within} {until}{by}"))
        }
        Verdict::Allowed => {
            let by = why.allowed_by.as_deref().unwrap_or("-");
            screen.paint(Style::Green, &format!("{address} is never denied: it is allowed by {by}"))
        }
        Verdict::Counted if !why.denied_inside.is_empty() || !why.counted_inside.is_empty() => {
            format!("{address} is not denied as a whole; in it are")
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
