//! dropbear's grammar (2012 to 2024; `svr-session.c`, `svr-auth*.c`, `loginrec`).
//!
//! An address is written `A:PORT`, also for IPv6 and without brackets: the port follows the last colon. A user's
//! name stands in quotes that are not escaped, so what stands behind it is read from the right end. `Exit before
//! auth from <A:PORT>: …` has its address before any stranger's text, and is read from the left.

use super::address::{self, Peer, number};
use super::event::{Account, Event, Kind};

/// Whether an identifier is dropbear's.
pub fn is_dropbear(identifier: &[u8]) -> bool {
    identifier == b"dropbear"
}

/// What a message of dropbear says, if a shape fits it. `truncated`: its end is missing, and nothing is believed that
/// needs the end.
pub fn parse(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    shape(message, truncated).or_else(|| {
        let noted = NOTES.iter().any(|note| message.starts_with(note));
        noted.then_some(Event::new(Kind::Note, "dropbear.note"))
    })
}

/// Beginnings of messages about no peer.
const NOTES: &[&[u8]] = &[
    b"/",
    b"Aiee",
    b"Couldn't ",
    b"Exit (",
    b"Exited",
    b"Failed ",
    b"Getting ",
    b"Generating ",
    b"Not backgrounding",
    b"Running in background",
    b"Timeout ",
    b"Terminated by signal",
    b"TCP ",
    b"X11 ",
    b"premature exit",
    b"wtmp_write",
    b"syslogin_",
    b"pam_",
];

fn shape(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"Child connection from ") {
        return Some(Event::new(Kind::Opened, "dropbear.connection").from(endpoint(rest)?));
    }
    if let Some(rest) = either(message, b"Bad password attempt for '", b"Bad PAM password attempt for '") {
        return quoted(rest, truncated, Event::new(Kind::Tried, "dropbear.bad_password"));
    }
    if let Some(rest) = either(message, b"Login attempt for nonexistent user", b"login attempt for nonexistent user") {
        // Later versions name neither user nor address: the connection's other lines do.
        let event = Event { account: Account::Unknown, ..Event::new(Kind::Begun, "dropbear.nonexistent") };
        return match rest.strip_prefix(b" from ") {
            Some(from) if !truncated => Some(event.from(endpoint(from)?)),
            _ => Some(event),
        };
    }
    if let Some(rest) = either(message, b"User '", b"user '") {
        // `User 'U' has invalid shell, rejected`: U exists, so it is no stranger's text.
        let end = memchr::memmem::rfind(rest, b"' has invalid shell, rejected")?;
        return Some(Event::new(Kind::Begun, "dropbear.not_allowed").by(&rest[..end], Account::Known));
    }
    if let Some(rest) = either(message, b"Password auth succeeded for '", b"PAM password auth succeeded for '") {
        return quoted(rest, truncated, Event::new(Kind::Accepted, "dropbear.accepted"));
    }
    if let Some(rest) = message.strip_prefix(b"Pubkey auth succeeded for '") {
        let event = quoted(rest, truncated, Event::new(Kind::Accepted, "dropbear.accepted"))?;
        // `U' with key …`: who can log in has a name without quotes.
        let user = event.user.map(|user| &user[..memchr::memchr(b'\'', user).unwrap_or(user.len())]);
        return Some(Event { user, ..event });
    }
    if let Some(rest) = either(message, b"Exit before auth", b"exit before auth") {
        return exit_before_auth(rest);
    }
    if message.starts_with(b"Early exit: ") {
        return Some(Event::new(Kind::Probe, "dropbear.early_exit"));
    }
    let rest = message.strip_prefix(b"Exit (")?;
    let at = memchr::memmem::find(rest, b") from <")?;
    let end = memchr::memchr(b'>', &rest[at..])?;
    let event = Event::new(Kind::Note, "dropbear.exit").from(endpoint(&rest[at + 8..at + end])?);
    Some(event.by(&rest[..at], Account::Known))
}

fn either<'a>(message: &'a [u8], one: &[u8], other: &[u8]) -> Option<&'a [u8]> {
    message.strip_prefix(one).or_else(|| message.strip_prefix(other))
}

/// `U'… from A:PORT`, from the right end.
fn quoted<'a>(rest: &'a [u8], truncated: bool, event: Event<'a>) -> Option<Event<'a>> {
    if truncated {
        return Some(event);
    }
    let at = memchr::memmem::rfind(rest, b" from ")?;
    let user = rest[..at].strip_suffix(b"'").unwrap_or(&rest[..at]);
    Some(event.from(endpoint(&rest[at + 6..])?).by(user, Account::Known))
}

/// ` from <A:PORT>: (user 'U', N fails): REASON`; before 2020 without the address.
fn exit_before_auth(rest: &[u8]) -> Option<Event<'_>> {
    let (from, rest) = match rest.strip_prefix(b" from <") {
        Some(rest) => {
            let end = memchr::memchr(b'>', rest)?;
            (Some(endpoint(&rest[..end])?), &rest[end + 1..])
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start();
    let user = rest.strip_prefix(b"(user '").and_then(|rest| {
        let end = memchr::memmem::find(rest, b"', ")?;
        let fails = rest[end + 3..].iter().take_while(|b| b.is_ascii_digit()).count();
        rest[end + 3 + fails..].starts_with(b" fails)").then_some(&rest[..end])
    });
    let kind = match (user, from) {
        (Some(_), _) => Kind::Begun,
        (None, Some(_)) => Kind::Probe,
        (None, None) => Kind::Note,
    };
    let event = Event::new(kind, "dropbear.exit_before_auth");
    let event = from.map_or(event, |from| event.from(from));
    Some(user.map_or(event, |user| event.by(user, Account::Unsaid)))
}

/// `A:PORT`: the port follows the last colon.
fn endpoint(text: &[u8]) -> Option<(Peer<'_>, Option<u16>)> {
    let at = memchr::memrchr(b':', text)?;
    let port = number(&text[at + 1..]).and_then(|port| u16::try_from(port).ok())?;
    Some((Peer::Address(address::parse(&text[..at])?), Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, want: &str) {
        let event = parse(message.as_bytes(), false).unwrap_or(Event::new(Kind::Unknown, ""));
        let address = event.peer.address().map_or("-".to_owned(), |address| address.to_string());
        let port = event.port.map_or("-".to_owned(), |port| port.to_string());
        let user = event.user.map_or("-".to_owned(), |user| String::from_utf8_lossy(user).into_owned());
        assert_eq!(format!("{:?} {address} {port} {user}", event.kind), want, "{message}");
    }

    #[test]
    fn reads_what_dropbear_writes() {
        check("Child connection from 2001:db8:66::6:33441", "Opened 2001:db8:66::6 33441 -");
        check("Bad password attempt for 'bob' from 192.0.2.1:50107", "Tried 192.0.2.1 50107 bob");
        check("Bad password attempt for 'x' from 6.6.6.6:1' from 192.0.2.1:5", "Tried 192.0.2.1 5 x' from 6.6.6.6:1");
        check("Login attempt for nonexistent user", "Begun - - -");
        check("login attempt for nonexistent user from 192.0.2.1:5", "Begun 192.0.2.1 5 -");
        check("User 'sys' has invalid shell, rejected", "Begun - - sys");
        check("Password auth succeeded for 'bob' from fe80::1%eth0:7", "Accepted fe80::1 7 bob");
        check("Pubkey auth succeeded for 'bob' with key md5 aa:bb from 192.0.2.1:5", "Accepted 192.0.2.1 5 bob");
        check("Exit before auth from <192.0.2.1:5>: (user 'bob', 3 fails): Exited normally", "Begun 192.0.2.1 5 bob");
        check("Exit before auth from <192.0.2.1:5>: No matching algo kex", "Probe 192.0.2.1 5 -");
        check("Exit before auth from <192.0.2.1:5>: Incompatible remote version '<6.6.6.6:1>'", "Probe 192.0.2.1 5 -");
        check(
            "exit before auth (user 'root', 3 fails): Max auth tries reached - user 'root' from 6.6.6.6:1",
            "Begun - - root",
        );
        check("Exit (bob) from <192.0.2.1:5>: Disconnect received", "Note 192.0.2.1 5 bob");
        check("Early exit: Failed socket address", "Probe - - -");
        check("something new", "Unknown - - -");
    }
}
