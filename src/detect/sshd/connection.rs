//! What sshd says of connections: `packet.c`, `kex.c`, `sshd.c`, `canohost.c`, and libwrap.

use super::login::{self, without_preauth};
use crate::detect::address::{Found, Peer, leading, number, parse, peer, trailing};
use crate::detect::event::{Account, Event, Kind};

/// `[invalid user U |authenticating user U |user U ]A port N[ [preauth]]`: how a connection ended (`ssh_remote_id`).
fn ended<'a>(rest: &'a [u8], truncated: bool, rule: &'static str) -> Option<Event<'a>> {
    let preauth = rest.ends_with(b" [preauth]");
    let rest = without_preauth(rest);
    let (named, kind) = if let Some(named) =
        rest.strip_prefix(b"invalid user ").or_else(|| rest.strip_prefix(b"authenticating user "))
    {
        (named, Kind::Begun)
    } else if let Some(named) = rest.strip_prefix(b"user ") {
        (named, Kind::Note)
    } else {
        // No login begun. Before OpenSSH 7.4 the same words without a port also ended good sessions.
        let (from, head) = trailing(rest)?;
        if !head.is_empty() {
            return None;
        }
        let kind = if preauth || from.1.is_some() { Kind::Probe } else { Kind::Note };
        return Some(Event::new(kind, rule).from(from));
    };
    if truncated {
        return Some(Event::new(kind, rule));
    }
    // sshd writes the port in these; without it somebody's relay cut the line, perhaps where a stranger wished.
    match trailing(named) {
        Some((from @ (_, Some(_)), user)) => Some(Event::new(kind, rule).from(from).by(user, Account::Unsaid)),
        _ => Some(Event::new(kind, rule)),
    }
}

/// Whether a user's name stands before the address (`ssh_remote_id`).
fn is_named(rest: &[u8]) -> bool {
    [&b"authenticating user "[..], b"invalid user ", b"user "].iter().any(|who| rest.starts_with(who))
}

/// Where the first ` port N: ` ends, before its colon. No user's name holds a colon, but an address may, and the name
/// before it end in ` port`.
fn end_of_port(text: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(text, b" port ").find_map(|at| {
        let digits = text[at + 6..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = at + 6 + digits;
        (digits > 0 && text[end..].starts_with(b": ")).then_some(end)
    })
}

/// `[… user U ]A port N: R`, where R may quote a stranger. What was cut within U names nobody.
fn ended_for<'a>(rest: &'a [u8], truncated: bool, rule: &'static str) -> Option<Event<'a>> {
    match end_of_port(rest) {
        Some(end) => ended(&rest[..end], false, rule),
        None if truncated && is_named(rest) => ended(rest, true, rule),
        None => None,
    }
}

/// `Connection …`, `Close session: …`, and `Could not …`.
pub(super) fn c_shapes(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    let Some(rest) = message.strip_prefix(b"Connection ") else {
        if message.starts_with(b"Close session: ") {
            return login::session(message);
        }
        // `Could not write ident string to A port N`
        let (from, _) = leading(message.strip_prefix(b"Could not write ident string to ")?)?;
        return Some(Event::new(Kind::Note, "sshd.no_identification").from(from));
    };
    if let Some(rest) = rest.strip_prefix(b"closed by ").or_else(|| rest.strip_prefix(b"reset by ")) {
        return ended(rest, truncated, "sshd.closed");
    }
    if let Some(rest) = rest.strip_prefix(b"to ") {
        // `Connection to A timed out while waiting to read` (before 7.4, by the server too)
        let (from, behind) = leading(rest)?;
        return behind.starts_with(b" timed out").then_some(Event::new(Kind::Note, "sshd.timed_out").from(from));
    }
    let rest = rest.strip_prefix(b"from ")?;
    // `Connection from [authenticating user U ]A port N timed out` (`packet.c`, `sshpkt_vfatal`)
    if let Some(rest) = without_preauth(rest).strip_suffix(b" timed out") {
        return ended(rest, truncated, "sshd.timed_out");
    }
    // `Connection from A port N[ on B port M[ rdomain "R"]]`
    if let Some((from, behind)) = leading(rest).filter(|_| !is_named(rest)) {
        if behind.is_empty() || is_on(behind) || truncated {
            return Some(Event::new(Kind::Opened, "sshd.connection").from(from));
        }
        // `Connection from A port N with IP opts: X`, before 7.3 `Connection from A with IP options: X`
        if behind.starts_with(b" with IP opt") {
            return Some(Event::new(Kind::Probe, "sshd.ip_options").from(from));
        }
        if !behind.starts_with(b":") {
            return None;
        }
    }
    broken(rest, truncated)
}

/// ` on B port M[ rdomain "R"]`.
fn is_on(text: &[u8]) -> bool {
    let found = text.strip_prefix(b" on ").and_then(leading);
    found.is_some_and(|(_, behind)| behind.is_empty() || behind.starts_with(b" rdomain \""))
}

/// `[… user U ]A[ port N]: E`, what `sshpkt_vfatal` says behind `Connection from `.
fn broken(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    ended_for(rest, truncated, "sshd.dispatch").or_else(|| {
        let (from, behind) = leading(rest).filter(|_| !is_named(rest))?;
        behind.starts_with(b":").then_some(Event::new(Kind::Probe, "sshd.dispatch").from(from))
    })
}

/// `Disconnected from …`, `Disconnecting …`, `Did not receive identification string from A[ port N]`.
pub(super) fn d_shapes(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"Disconnected from ") {
        return ended(rest, truncated, "sshd.disconnected");
    }
    if let Some(rest) = message.strip_prefix(b"Disconnecting ") {
        return ended_for(rest, truncated, "sshd.disconnecting");
    }
    if let Some(rest) = message.strip_prefix(b"Disconnecting: Too many authentication failures for ") {
        // Before 7.4 the only line about a connection that offered nothing but keys. Another line has the address.
        let event = Event::new(Kind::Begun, "sshd.disconnecting");
        return Some(if truncated { event } else { event.by(without_preauth(rest), Account::Unsaid) });
    }
    let (from, _) = leading(message.strip_prefix(b"Did not receive identification string from ")?)?;
    Some(Event::new(Kind::Probe, "sshd.no_identification").from(from))
}

/// `Received disconnect …`, `ROOT LOGIN REFUSED …`, `Read …`.
pub(super) fn r_shapes(message: &[u8]) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"Received disconnect from ") {
        let (from, rest) = leading(rest)?;
        // Before OpenSSH 7.2 there was no port, and no closing line followed.
        let kind = if from.1.is_none() && rest.ends_with(b" [preauth]") { Kind::Probe } else { Kind::Note };
        return Some(Event::new(kind, "sshd.received_disconnect").from(from));
    }
    if let Some(rest) = message.strip_prefix(b"Received request from ") {
        // `… A port N to connect to host H port M, but the request was denied.`: of one who is logged in
        let (from, _) = leading(rest)?;
        return Some(Event::new(Kind::Note, "sshd.forwarding").from(from));
    }
    if let Some(rest) = message.strip_prefix(b"ROOT LOGIN REFUSED FROM ") {
        let (from, _) = leading(rest)?;
        return Some(Event::new(Kind::Begun, "sshd.root_refused").from(from).by(b"root", Account::Known));
    }
    let rest = message
        .strip_prefix(b"Read error from remote host ")
        .or_else(|| message.strip_prefix(b"Read from remote host "))?;
    let (from, _) = leading(rest)?;
    Some(Event::new(Kind::Note, "sshd.read_error").from(from))
}

/// `Bad protocol version identification 'T' from A[ port N]`.
pub(super) fn bad_protocol(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    let rest = message.strip_prefix(b"Bad protocol version identification ")?;
    let event = Event::new(Kind::Probe, "sshd.bad_protocol");
    if truncated {
        return Some(event);
    }
    let (from, head) = trailing(without_preauth(rest))?;
    head.ends_with(b"' from").then_some(event.from(from))
}

/// `Timeout …`.
pub(super) fn timeout(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"Timeout, client not responding from ") {
        let event = ended(rest, truncated, "sshd.timed_out")?;
        return Some(Event { kind: Kind::Note, ..event });
    }
    let rest = message.strip_prefix(b"Timeout before authentication for ")?;
    let (from, rest) = leading(rest.strip_prefix(b"connection from ").unwrap_or(rest))?;
    // 9.9 and later: `… from A to B, pid = N`, written by the listening process
    let of_pid = memchr::memmem::rfind(rest, b", pid = ").filter(|_| !truncated);
    let of_pid = of_pid.and_then(|at| number(&rest[at + 8..]));
    Some(Event { of_pid, ..Event::new(Kind::Timeout, "sshd.timeout").from(from) })
}

/// Messages whose address comes first, behind words of sshd's own.
const LEADING: &[(&[u8], Kind, &str)] = &[
    (b"banner exchange: Connection from ", Kind::Probe, "sshd.banner"),
    (b"probed from ", Kind::Probe, "sshd.probed"),
    (b"scanned from ", Kind::Probe, "sshd.probed"),
    (b"Unable to negotiate with ", Kind::Probe, "sshd.no_match"),
    (b"Protocol major versions differ for ", Kind::Probe, "sshd.bad_protocol"),
    (b"Username too long from ", Kind::Begun, "sshd.invalid_user"),
    (b"Finished discarding for ", Kind::Note, "sshd.read_error"),
];

/// `WORD;Remote: A-N;…`, which the patch HPN-SSH has of each connection behind `SSH: Server;Ltype: `.
pub(super) fn hpn(rest: &[u8]) -> Option<Event<'_>> {
    let at = memchr::memmem::find(rest, b";Remote: ")?;
    let remote = &rest[at + 9..];
    let remote = &remote[..memchr::memchr(b';', remote)?];
    let dash = memchr::memrchr(b'-', remote)?;
    let port = number(&remote[dash + 1..]).and_then(|port| u16::try_from(port).ok());
    Some(Event::new(Kind::Note, "sshd.hpn").from((Peer::Address(parse(&remote[..dash])?), port)))
}

/// Everything that is rare.
pub(super) fn rare(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    // `cert: Authentication tried for …`: what in the certificate did not permit it
    for source in [&b"cert: "[..], b"principals: "] {
        if let Some(rest) = message.strip_prefix(source) {
            return login::not_permitted(rest.strip_prefix(b"Authentication tried for ")?, truncated);
        }
    }
    if let Some(rest) = message.strip_prefix(b"terminating inactive connection from ") {
        return ended(rest, truncated, "sshd.timed_out");
    }
    for (prefix, kind, rule) in LEADING {
        if let Some(rest) = message.strip_prefix(*prefix) {
            // 7.5 and later: keys may be exchanged anew once a user was named
            if is_named(rest) {
                return ended_for(rest, truncated, rule);
            }
            let (from, _) = leading(rest)?;
            return Some(Event::new(*kind, rule).from(from));
        }
    }
    // `FUNCTION: Connection from [… user U ]A port N: E` (`sshpkt_vfatal`); a stranger's text is never the first word.
    let word = message.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    if let Some(rest) = message[word..].strip_prefix(b": Connection from ")
        && word > 0
    {
        return broken(rest, truncated);
    }
    refused(message, truncated).or_else(|| name(message, truncated))
}

fn refused(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"drop connection #") {
        // `drop connection #N from [A]:P on [B]:22 past MaxStartups|penalty: R` (`sshd.c`)
        let at = memchr::memmem::find(rest, b" from [")?;
        let rest = &rest[at + 7..];
        let end = memchr::memchr(b']', rest)?;
        let port = rest[end + 1..].strip_prefix(b":").map(|p| p.split(|b| !b.is_ascii_digit()).next().unwrap_or(p));
        let port = port.and_then(number).and_then(|n| u16::try_from(n).ok());
        return Some(Event::new(Kind::Refused, "sshd.drop").from((peer(&rest[..end]), port)));
    }
    // libwrap: `[U@]A`, `[U@]H (A)`; U is what the peer's own ident server says, H a name that its owner chose
    let (kind, rest) = match message.strip_prefix(b"refused ") {
        Some(rest) => (Kind::Refused, rest),
        None => (Kind::Opened, message),
    };
    let rest = rest.strip_prefix(b"connect from ")?;
    if truncated {
        return Some(Event::new(kind, "sshd.libwrap"));
    }
    let text = rest.strip_suffix(b")").and_then(|r| memchr::memrchr(b'(', r).map(|at| &r[at + 1..])).unwrap_or(rest);
    let text = memchr::memrchr(b'@', text).map_or(text, |at| &text[at + 1..]);
    Some(Event::new(kind, "sshd.libwrap").from((peer(text), None)))
}

/// What sshd says of the peer's name (`canohost.c`). H is a name that its owner chose. The address comes first of all
/// lines of a connection, so that those have it which know no more than the name.
fn name(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"reverse mapping checking ").map(without_preauth) {
        // `getaddrinfo for H [A] failed - POSSIBLE BREAK-IN ATTEMPT!`; before 5.1 without the address
        let Some(at) = memchr::memrchr(b'[', rest) else { return Some(Event::new(Kind::Note, "sshd.dns")) };
        let end = at + memchr::memchr(b']', &rest[at..])?;
        let found = Peer::Address(parse(&rest[at + 1..end])?);
        return Some(Event::new(Kind::Opened, "sshd.dns").from((found, None)));
    }
    // `Nasty PTR record "H" is set up for A, ignoring`
    let rest = without_preauth(message.strip_prefix(b"Nasty PTR record ")?)
        .strip_suffix(b", ignoring")
        .filter(|_| !truncated)?;
    let (from, head): Found<'_> = trailing(rest)?;
    head.ends_with(b"\" is set up for").then_some(Event::new(Kind::Opened, "sshd.dns").from(from))
}
