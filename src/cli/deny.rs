//! `denyd deny ADDR|PREFIX…`: an operator's deny.

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use super::office::Office;
use super::output::{self, until};
use crate::config::{Config, duration};
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::Denied;

/// How many parents are looked at for the person's login.
const PARENTS_MAX: usize = 32;

/// What `deny` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("deny 192.0.2.7", "for ever"),
    (r#"deny 192.0.2.0/24 --for 2d --because "their abuse desk sleeps""#, "for two days, and why"),
]))]
pub(super) struct Arguments {
    /// Addresses, or prefixes such as 192.0.2.0/24
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<Prefix>,
    /// For how long, such as 2h or 7d [default: for ever]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// Why, in your words: `why`, `list` and `history` show them
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Also what is dangerously wide, where you are logged in from, or what makes a deny shorter that you made before
    #[arg(long)]
    force: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 if one of the prefixes was refused; the others are denied.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Arguments { prefixes, duration, because, force, json } = arguments;
    let time = duration.as_deref().map(duration::parse).transpose().map_err(anyhow::Error::msg)?;
    let (seconds, caller) = (time.map(|time| time.as_secs().max(1)), caller());
    Office::new(config).each(&prefixes, |office, &prefix| {
        let request = Request::Deny { prefix, seconds, force, caller, because: because.clone() };
        let answer: Denied = office.ask(&request)?;
        output::show(json, &answer, |screen| {
            let until = until(answer.until);
            writeln!(screen, "{prefix} is denied {until}. To let it in again: denyd forgive {prefix}")?;
            answer.note.iter().try_for_each(|note| writeln!(screen, "But {note}."))
        })?;
        Ok(true)
    })
}

/// Where the person at this terminal is logged in from: sshd says so (`sshd(8)`, `SSH_CONNECTION`). sudo does not hand
/// that on, but the shell that it was called from has it.
fn caller() -> Option<IpAddr> {
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return address_of(connection.as_bytes());
    }
    let mut pid = std::os::unix::process::parent_id();
    for _ in 0..PARENTS_MAX {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let connection = environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(connection) = connection {
            return address_of(connection);
        }
        pid = parent_of(&std::fs::read(format!("/proc/{pid}/stat")).ok()?).filter(|&parent| parent > 1)?;
    }
    None
}

/// The first word of `192.0.2.7 50022 198.51.100.1 22`.
fn address_of(connection: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(connection).ok()?.split(' ').next()?.parse().ok()
}

/// The fourth field of `/proc/PID/stat`; the second, the name, may hold blanks and parentheses.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let behind = memchr::memrchr(b')', stat)?;
    std::str::from_utf8(&stat[behind + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_caller_is() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(address_of(text.as_bytes()), expected.map(|text| text.parse().expect("an address")), "{text}");
        };
        check("192.0.2.7 50022 198.51.100.1 22", Some("192.0.2.7"));
        check("2001:db8::7 50022 2001:db8::1 22", Some("2001:db8::7"));
        check("UNKNOWN 0 UNKNOWN 22", None);
        check("", None);
    }

    #[test]
    fn finds_the_parent() {
        let check = |text: &str, expected| assert_eq!(parent_of(text.as_bytes()), expected, "{text}");
        check("77 (bash) S 76 77 77 34816", Some(76));
        check("77 (a) S 1 (b) S 76 77 77 34816", Some(76));
        check("77 (bash", None);
        check("", None);
    }
}
