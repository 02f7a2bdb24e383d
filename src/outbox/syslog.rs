//! Tells syslog each item of a report, as DenyHosts does: a line `TITLE - ITEM` of the program `denyhosts`, facility user,
//! priority info, by `/dev/log`.
//!
//! Nobody waits for who reads that: what is not taken at once waits in the history. Records of that program are our own to every
//! rule, so what comes back by a log that denyd reads is nobody's failure.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use inputs::record::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::news::{News, What};
use super::output::{Beside, Output, Told};
use super::report::{ADDED, DENIED_TITLE, NOT_ADDED, OBSERVED};
use crate::clock;
use crate::decide::prefix::Prefix;

/// Where syslog listens (syslog(3)).
pub const SOCKET: &str = "/dev/log";
/// Facility user (1), priority info (6).
const PRIORITY: u8 = 8 + 6;
/// The program that these are of.
const PROGRAM: &str = "denyhosts";
/// Bytes of a message; RFC 3164 has 1024.
const MESSAGE_MAX: usize = 1000;

/// What tells syslog.
pub(super) struct Syslog;

impl Output for Syslog {
    fn tell(&mut self, news: &[News], beside: &Beside, told: &Told<'_>) -> Result<(), String> {
        let failed = |error: io::Error| format!("{SOCKET}: {error}");
        let socket = connect(Path::new(SOCKET)).map_err(failed)?;
        for one in news {
            for message in messages(one, beside) {
                socket.send(line(PRIORITY, PROGRAM, &message, clock::now()).as_bytes()).map_err(failed)?;
                told.went(Ok(()));
            }
            told.done(one.id);
        }
        Ok(())
    }
}

/// Sends a message of a program with our pid to a socket of syslog's, with facility and severity in one number. It does not wait.
pub(crate) fn send(path: &Path, priority: u8, program: &str, message: &str) -> io::Result<()> {
    let program = format!("{program}[{}]", std::process::id());
    connect(path)?.send(line(priority, &program, message, clock::now()).as_bytes()).map(|_| ())
}

/// Whether somebody listens there.
pub fn check() -> Result<(), String> {
    connect(Path::new(SOCKET))
        .map(|_| ())
        .map_err(|error| format!("{SOCKET}: {error}; see whether a syslog daemon runs"))
}

/// A socket that never waits.
fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// What is told of it.
fn messages(news: &News, beside: &Beside) -> Vec<String> {
    match &news.what {
        What::Denied(prefix) => {
            let host = beside.host(*prefix);
            let titles = beside.enforced_by.iter().map(|(name, error)| match error {
                None => format!("{ADDED} {name}"),
                Some(_) => format!("{NOT_ADDED} {name}"),
            });
            let titles = if beside.enforced_by.is_empty() { vec![DENIED_TITLE.to_owned()] } else { titles.collect() };
            titles.into_iter().map(|title| format!("{title} - {host}")).collect()
        }
        What::Suspicious(address, user) => {
            vec![format!("{OBSERVED} - {user} - {}", beside.host(Prefix::host(*address)))]
        }
        What::Ended(_) => Vec::new(),
    }
}

/// A message as syslog(3) writes it.
fn line(priority: u8, program: &str, message: &str, now: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default().to_zoned(TimeZone::system());
    let time = strtime::format("%b %e %H:%M:%S", &time).unwrap_or_default();
    let message: String = message.chars().take(MESSAGE_MAX).collect();
    format!("<{priority}>{time} {program}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::reply::At;

    #[test]
    fn an_item_is_a_line_with_its_title() {
        let news = |what| News { id: 1, at: At::default(), what };
        let enforced_by =
            vec![("/etc/hosts.deny".to_owned(), None), ("nftables".to_owned(), Some("no nft".to_owned()))];
        let beside = Beside { enforced_by, ..Beside::default() };
        let denied = news(What::Denied("192.0.2.7".parse().unwrap()));
        let want = [
            "Added the following hosts to /etc/hosts.deny - 192.0.2.7",
            "WARNING: Could not add the following hosts to nftables - 192.0.2.7",
        ];
        assert_eq!(messages(&denied, &beside), want);
        assert_eq!(messages(&denied, &Beside::default()), ["Denied the following hosts - 192.0.2.7"]);
        let login = news(What::Suspicious("2001:db8::7".parse().unwrap(), "al\\n".to_owned()));
        let want = ["Observed the following suspicious login activity - al\\n - 2001:db8::7"];
        assert_eq!(messages(&login, &beside), want);
        let shown = line(PRIORITY, PROGRAM, &"x".repeat(2000), Timestamp::from_secs(1_795_304_306));
        let pattern = regex::Regex::new("^<14>Nov 2[0-9] [0-9:]{8} denyhosts: x{1000}$").unwrap();
        assert!(pattern.is_match(&shown), "{shown}");
    }

    #[test]
    fn one_that_does_not_read_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(connect(&path).is_err());
        let reader = UnixDatagram::bind(&path).unwrap();
        let socket = connect(&path).unwrap();
        let refused = (0..100_000).find_map(|_| socket.send(b"x").err()).unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(reader);
        assert!(connect(&path).is_err());
    }
}
