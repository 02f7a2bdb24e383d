//! dropbear's grammar (0.43 to 2026.94; `svr-session.c`, `svr-main.c`, `svr-auth*.c`, `loginrec`).
//!
//! Until 0.52 its messages began with a small letter, later with a capital one. An address is written `A:PORT`, which
//! for IPv6 has brackets only since 2026: the port follows the last colon. A user's name stands in quotes that are not
//! escaped, so what stands behind it is read from the right end. `Exit before auth from <A:PORT>: …` has its address
//! before any stranger's text, and is read from the left.
//!
//! With `-E`, as Debian's unit has it, dropbear writes to stderr, and puts `[PID] Mon dd hh:mm:ss `
//! before each message.

use super::address::{self, Peer, number};
use super::event::{Account, Event, Kind};
use super::wrapped::behind_date;

/// Whether an identifier is dropbear's, or its units'.
#[inline(always)]
pub fn is_dropbear(identifier: &[u8]) -> bool {
    identifier.starts_with(b"drop") && matches!(identifier, b"dropbear" | b"dropbear.service" | b"dropbear@")
}

/// What a message of dropbear says, if a shape fits it. `truncated`: its end is missing, and nothing is believed that
/// needs the end.
pub fn parse(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some((pid, message)) = stamped(message) {
        // The header has the pid of whoever writes stderr to the log, or of the service: this one is of the connection.
        return plain(message, truncated).map(|event| Event { of_pid: Some(pid), ..event });
    }
    plain(message, truncated)
}

/// What a line says that names no program: dropbear's only if it begins as with `-E`.
pub fn parse_stamped(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    stamped(message).and_then(|_| parse(message, truncated))
}

fn plain(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    shape(message, truncated).or_else(|| {
        let noted = NOTES.iter().any(|note| begins(message, note).is_some());
        noted.then_some(Event::new(Kind::Note, "dropbear.note"))
    })
}

/// `[PID] Mon dd hh:mm:ss MESSAGE`, or `[PID] SECONDS MESSAGE` where there is no local time.
fn stamped(message: &[u8]) -> Option<(u32, &[u8])> {
    let rest = message.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', rest)?;
    let pid = number(&rest[..end])?;
    let rest = rest[end + 1..].strip_prefix(b" ")?;
    if let Some(behind) = behind_date(rest) {
        return Some((pid, behind));
    }
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    (digits > 0).then(|| rest[digits..].strip_prefix(b" ")).flatten().map(|behind| (pid, behind))
}

/// What follows `prefix`, whose first letter may be small.
fn begins<'a>(message: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = message.split_first()?;
    let (wanted, prefix) = prefix.split_first()?;
    rest.strip_prefix(prefix).filter(|_| first.eq_ignore_ascii_case(wanted))
}

/// Beginnings of messages about no peer, or of who has logged in.
const NOTES: &[&[u8]] = &[
    b"/",
    b"Agent forwarding disabled",
    b"Aiee",
    b"Attempt to write login records",
    b"Available ",
    b"Bad public key options",
    b"Badly formatted ",
    b"Command forced to ",
    b"Couldn't ",
    b"Error ",
    b"Exit (",
    b"Exit after auth (",
    b"Exited",
    b"Failed ",
    b"Forced command ",
    b"Generated ",
    b"Generating ",
    b"Getting ",
    b"Lastlog_",
    b"Login_",
    b"No pty was allocated",
    b"Not backgrounding",
    b"Not forking",
    b"PAM unknown prompt",
    b"Pam_",
    b"PamConvFunc",
    b"Port forwarding disabled",
    b"Premature exit",
    b"Pty allocation disabled",
    b"Restrict option set",
    b"Running in background",
    b"Syslogin_",
    b"TCP ",
    b"Terminated by signal",
    b"Timeout ",
    b"Too many groups for user ",
    b"User ",
    b"Utmp_",
    b"Utmpx_",
    b"Warning: ",
    b"Wtmp_",
    b"Wtmpx_",
    b"X11 ",
];

/// Messages that name a user and a peer, `… 'U'[…] from A:PORT[, extra auth required]`.
const OF_USERS: &[(&[u8], Kind, &str)] = &[
    (b"Bad password attempt for '", Kind::Tried, "dropbear.bad_password"),
    (b"Bad PAM password attempt for '", Kind::Tried, "dropbear.bad_password"),
    (b"Too-long password attempt for '", Kind::Tried, "dropbear.bad_password"),
    (b"Pubkey auth bad signature for '", Kind::Offered, "dropbear.bad_key"),
    (b"Pubkey auth attempt with unknown algo for '", Kind::Offered, "dropbear.bad_key"),
    (b"Password auth succeeded for '", Kind::Accepted, "dropbear.accepted"),
    (b"PAM password auth succeeded for '", Kind::Accepted, "dropbear.accepted"),
    (b"Pubkey auth succeeded for '", Kind::Accepted, "dropbear.accepted"),
    (b"Auth succeeded with blank password for '", Kind::Accepted, "dropbear.accepted"),
];

/// `User 'U' …`, `User account 'U' is locked`: U exists, so it is no stranger's text.
const REJECTED: &[(&[u8], &[u8])] = &[
    (b"User '", b"' has invalid shell, rejected"),
    (b"User '", b"' has blank password, rejected"),
    (b"User account '", b"' is locked"),
    (b"Logins are restricted to the group ", b"' is not a member"),
];

fn shape(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = begins(message, b"Child connection from ") {
        return Some(Event::new(Kind::Opened, "dropbear.connection").from(endpoint(rest)?));
    }
    for (prefix, kind, rule) in OF_USERS {
        if let Some(rest) = begins(message, prefix) {
            return quoted(rest, truncated, Event::new(*kind, rule));
        }
    }
    if let Some(rest) = begins(message, b"Login attempt for nonexistent user") {
        // 2020 to 2022 name neither user nor address: the connection's other lines do.
        let event = Event { account: Account::Unknown, ..Event::new(Kind::Begun, "dropbear.nonexistent") };
        return at_end(rest, truncated, event);
    }
    if let Some(rest) = begins(message, b"Login attempt with wrong user ") {
        return at_end(rest, truncated, Event::new(Kind::Begun, "dropbear.not_allowed"));
    }
    if begins(message, b"Root login rejected").is_some() {
        return Some(Event::new(Kind::Begun, "dropbear.not_allowed").by(b"root", Account::Known));
    }
    for (prefix, end) in REJECTED {
        if let Some(user) = begins(message, prefix).and_then(|rest| rest.strip_suffix(*end)) {
            // `… the group G but user 'U`
            let user = memchr::memmem::rfind(user, b" but user '").map_or(user, |at| &user[at + 11..]);
            return Some(Event::new(Kind::Begun, "dropbear.not_allowed").by(user, Account::Known));
        }
    }
    if let Some(rest) = begins(message, b"Client trying multiple usernames")
        .or_else(|| begins(message, b"Attempted username with a null byte"))
    {
        return at_end(rest, truncated, Event::new(Kind::Note, "dropbear.note"));
    }
    if let Some(rest) = begins(message, b"Exit before auth") {
        return exit_before_auth(rest, truncated);
    }
    if let Some(rest) = begins(message, b"Early exit") {
        let (from, _) = angled(rest)?;
        let event = Event::new(Kind::Probe, "dropbear.early_exit");
        return Some(from.map_or(event, |from| event.from(from)));
    }
    let rest = begins(message, b"Exit (")?;
    let at = memchr::memmem::find(rest, b") from <")?;
    let (from, _) = angled(&rest[at + 1..])?;
    Some(Event::new(Kind::Note, "dropbear.exit").from(from?).by(&rest[..at], Account::Known))
}

/// `U'… from A:PORT[, extra auth required]`, from the right end. The oldest say no more than `U'…`.
fn quoted<'a>(rest: &'a [u8], truncated: bool, event: Event<'a>) -> Option<Event<'a>> {
    if truncated {
        return Some(event);
    }
    let (rest, event) = match rest.strip_suffix(b", extra auth required") {
        Some(rest) => (rest, Event { kind: Kind::Note, ..event }),
        None => (rest, event),
    };
    let (name, event) = match memchr::memmem::rfind(rest, b" from ") {
        Some(at) if rest.last() != Some(&b'\'') => (&rest[..at], event.from(endpoint(&rest[at + 6..])?)),
        _ => (rest, event),
    };
    // `U' with key …`: who has a key has a name without quotes.
    let user = match event.kind {
        Kind::Accepted | Kind::Offered | Kind::Note => &name[..memchr::memchr(b'\'', name).unwrap_or(name.len())],
        _ => name.strip_suffix(b"'").unwrap_or(name),
    };
    Some(event.by(user, Account::Known))
}

/// `… from A:PORT`, if that ends the message.
fn at_end<'a>(rest: &'a [u8], truncated: bool, event: Event<'a>) -> Option<Event<'a>> {
    match memchr::memmem::rfind(rest, b" from ") {
        Some(at) if !truncated => Some(event.from(endpoint(&rest[at + 6..])?)),
        _ => Some(event),
    }
}

/// ` from <A:PORT>`, if it begins so, and what follows; before 2020 there is none.
fn angled(rest: &[u8]) -> Option<(Option<Endpoint<'_>>, &[u8])> {
    let Some(rest) = rest.strip_prefix(b" from <") else { return Some((None, rest)) };
    let end = memchr::memchr(b'>', rest)?;
    Some((Some(endpoint(&rest[..end])?), &rest[end + 1..]))
}

/// The room of `svr_dropbear_exit` for a reason, from 2016 on: what fills it may have been cut.
const REASON_MAX: usize = 149;

/// `[ from <A:PORT>]: (user 'U', N fails): REASON`; before 2020 ` (user 'U', N fails): REASON`.
fn exit_before_auth(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    let (from, rest) = angled(rest)?;
    let mut reason = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii_start();
    let user = reason.strip_prefix(b"(user '").and_then(|rest| {
        let end = memchr::memmem::find(rest, b"', ")?;
        let fails = rest[end + 3..].iter().take_while(|b| b.is_ascii_digit()).count();
        reason = rest[end + 3 + fails..].strip_prefix(b" fails): ")?;
        Some(&rest[..end])
    });
    // Before 2020 this reason ends in the address. The one reason with a stranger's text begins with other words.
    let many = begins(reason, b"Max auth tries reached - user ").filter(|_| !truncated && reason.len() < REASON_MAX);
    let from = from.or_else(|| {
        let reason = many?;
        endpoint(&reason[memchr::memmem::rfind(reason, b" from ")? + 6..])
    });
    let kind = match (user, from) {
        (Some(_), _) => Kind::Begun,
        (None, _) if many.is_some() => Kind::Begun,
        (None, Some(_)) => Kind::Probe,
        (None, None) => Kind::Note,
    };
    let event = Event::new(kind, "dropbear.exit_before_auth");
    let event = from.map_or(event, |from| event.from(from));
    Some(user.map_or(event, |user| event.by(user, Account::Unsaid)))
}

type Endpoint<'a> = (Peer<'a>, Option<u16>);

/// `A:PORT`, `[A]:PORT`: the port follows the last colon.
fn endpoint(text: &[u8]) -> Option<Endpoint<'_>> {
    let at = memchr::memrchr(b':', text)?;
    let port = number(&text[at + 1..]).and_then(|port| u16::try_from(port).ok())?;
    let address = &text[..at];
    let address = address.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(address);
    Some((Peer::Address(address::parse(address)?), Some(port)))
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
        check("Bad password attempt for 'bob' from [2001:db8::6]:5", "Tried 2001:db8::6 5 bob");
        check("Bad password attempt for 'bob' from ::ffff:192.0.2.1:5", "Tried 192.0.2.1 5 bob");
        check("bad password attempt for 'bob'", "Tried - - bob");
        check(
            "Bad PAM password attempt for '<invalid username>' from 192.0.2.1:5",
            "Tried 192.0.2.1 5 <invalid username>",
        );
        check("bad PAM password attempt for 'bob' from 192.0.2.1:5", "Tried 192.0.2.1 5 bob");
        check("Too-long password attempt for 'bob' from 192.0.2.1:5", "Tried 192.0.2.1 5 bob");
        check("Pubkey auth attempt with unknown algo for 'bob' from 192.0.2.1:5", "Offered 192.0.2.1 5 bob");
        check("Pubkey auth bad signature for 'bob' with key md5 aa:bb from 192.0.2.1:5", "Offered 192.0.2.1 5 bob");
        check("Login attempt for nonexistent user", "Begun - - -");
        check("login attempt for nonexistent user from 192.0.2.1:5", "Begun 192.0.2.1 5 -");
        check("User 'sys' has invalid shell, rejected", "Begun - - sys");
        check("user 'sys' has blank password, rejected", "Begun - - sys");
        check("User account 'sys' is locked", "Begun - - sys");
        check("Logins are restricted to the group ssh but user 'sys' is not a member", "Begun - - sys");
        check("root login rejected", "Begun - - root");
        check("Login attempt with wrong user sys from 192.0.2.1:5", "Begun 192.0.2.1 5 -");
        check("Login attempt with wrong user sys", "Begun - - -");
        check("Client trying multiple usernames from 192.0.2.1:5", "Note 192.0.2.1 5 -");
        check("Password auth succeeded for 'bob' from fe80::1%eth0:7", "Accepted fe80::1 7 bob");
        check("Pubkey auth succeeded for 'bob' with key md5 aa:bb from 192.0.2.1:5", "Accepted 192.0.2.1 5 bob");
        check("pubkey auth succeeded for 'bob' with key md5 aa:bb", "Accepted - - bob");
        check("Auth succeeded with blank password for 'bob' from 192.0.2.1:5", "Accepted 192.0.2.1 5 bob");
        check("Password auth succeeded for 'bob' from 192.0.2.1:5, extra auth required", "Note 192.0.2.1 5 bob");
        check("Exit before auth from <192.0.2.1:5>: (user 'bob', 3 fails): Exited normally", "Begun 192.0.2.1 5 bob");
        check("Exit before auth from <[2001:db8::6]:5>: Exited normally", "Probe 2001:db8::6 5 -");
        check("Exit before auth (user 'bob', 3 fails): Exited normally", "Begun - - bob");
        check("exit before auth: Incompatible remote version 'x' from 6.6.6.6:1", "Note - - -");
        check("exit before auth: Disconnect received", "Note - - -");
        check("Exit before auth from <192.0.2.1:5>: No matching algo kex", "Probe 192.0.2.1 5 -");
        check("Exit before auth from <192.0.2.1:5>: Incompatible remote version '<6.6.6.6:1>'", "Probe 192.0.2.1 5 -");
        check(
            "exit before auth (user 'root', 3 fails): Max auth tries reached - user 'root' from 192.0.2.1:5",
            "Begun 192.0.2.1 5 root",
        );
        check("Exit before auth: Max auth tries reached - user 'is invalid' from 192.0.2.1:5", "Begun 192.0.2.1 5 -");
        check(
            &format!("Exit before auth: Max auth tries reached - user '{}' from 192.0.2.1:5", "x".repeat(120)),
            "Note - - -",
        );
        check("Exit (bob) from <192.0.2.1:5>: Disconnect received", "Note 192.0.2.1 5 bob");
        check("exit after auth (bob): Exited normally", "Note - - -");
        check("User bob executing 'echo from 6.6.6.6:1'", "Note - - -");
        check("Early exit: Failed socket address", "Probe - - -");
        check("Early exit from <192.0.2.1:5>: Failed socket address", "Probe 192.0.2.1 5 -");
        check("something new", "Unknown - - -");
    }

    #[test]
    fn reads_behind_what_it_puts_before_a_message_on_stderr() {
        let tried = "Bad password attempt for 'bob' from 192.0.2.1:5";
        for (head, pid) in [
            ("[8] Nov 28 17:47:10 ", Some(8)),
            ("[4194304] Jan  1 00:00:00 ", Some(4_194_304)),
            ("[8] 1764352030 ", Some(8)),
            ("", None),
        ] {
            let line = format!("{head}{tried}");
            let event = parse(line.as_bytes(), false).unwrap();
            assert_eq!((event.kind, event.of_pid), (Kind::Tried, pid), "{line}");
            assert_eq!(parse_stamped(line.as_bytes(), false).is_some(), pid.is_some(), "{line}");
        }
        for head in ["[8]", "[x] Nov 28 17:47:10 ", "[8] Nov 28 17:47 ", "[99999999999] Nov 28 17:47:10 ", "[8] [8] "] {
            check(&format!("{head}{tried}"), "Unknown - - -");
        }
    }
}
