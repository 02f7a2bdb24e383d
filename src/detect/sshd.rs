//! sshd's grammar: every message that portable OpenSSH 3.9 to 10.x logs about a peer.
//!
//! Written from OpenSSH's format strings, not from anybody's patterns: `login` has those of `auth.c`, `auth1.c` and
//! `auth2*.c`, `pam` those of `auth-pam.c` and of the modules, `connection` those of `packet.c`, `kex.c`, `sshd.c` and
//! `canohost.c`. `tests/data/sshd/messages.txt` has one of each. For each shape this table says which part is a
//! stranger's text; the address is taken only from where that text cannot reach:
//!
//! | shape | stranger's text | the address is read |
//! |---|---|---|
//! | `Failed M for U from A port N ssh2` | U | from the right end |
//! | `Failed M for U from A port N ssh2: TEXT` | U (never a colon), TEXT (a certificate's id, a client's host) | left of the first ` port N ssh2: ` or ` port N ssh1: ` |
//! | `Failed rhosts-rsa for U from A port N ruser R` | U, R | left of ` ruser `, if there is one only |
//! | `Accepted`, `Postponed`, `Partial` | the same | the same |
//! | `Invalid user U from A port N` | U | from the right end |
//! | `maximum authentication attempts exceeded for U from A port N ssh2` | U | from the right end |
//! | `User U from H not allowed because …` | none (U exists) | left of the last ` not allowed because ` |
//! | `administratively prohibited connection for U from A port N` | U | from the right end |
//! | `public key T F signature for U from A port N rejected: …` | none (U has that key) | left of the last ` rejected: ` |
//! | `Authentication tried for U … (host=H, ip=A).` | H, as far as it is a name | behind `ip=` in the list |
//! | `Connection closed by … user U A port N`, `reset by`, `Disconnected from`, `… timed out` | U | from the right end |
//! | `Disconnecting … user U A port N: …` | U (never a colon), the reason | left of the first ` port N: ` |
//! | `FUNCTION: Connection from … user U A port N: …` | U (never a colon) | left of the first ` port N: ` |
//! | `Received disconnect from A port N:C: …` | the reason | from the left |
//! | `Unable to negotiate with [… user U ]A port N: …` | U (never a colon), the offer | from the left; left of the first ` port N: ` |
//! | `Protocol major versions differ for A port N: …`, `probed from A …` | the version | from the left |
//! | `banner exchange: Connection from A …`, `Did not receive identification string from A …` | – | from the left |
//! | `Connection from A port N on B port M` | – | from the left |
//! | `Timeout before authentication for A`, `… for connection from A to B, pid = N` | – | from the left |
//! | `Bad protocol version identification 'T' from A` | T | from the right end |
//! | `drop connection #N from [A]:P on [B]:Q …` | – | in the first brackets |
//! | `SSH: Server;Ltype: W;Remote: A-N;…` (HPN) | what is behind it | behind the first `;Remote: ` |
//! | `refused connect from U@H (A)`, `connect from …` | U, and H as far as it is a name | in the last parentheses, or behind the last `@` |
//! | `reverse mapping checking getaddrinfo for H [A] failed` | H, as far as it is a name | in the last brackets |
//! | `Nasty PTR record "H" is set up for A, ignoring` | H, as far as it is a name | from the right end |
//! | `PAM: E for U from H[ via L]` | U | from the right end |
//! | `pam_unix(…): … rhost=H user=U`, `PAM N more …` | U | behind the first ` rhost=`, which sshd writes |
//! | `pam_krb5(…): … logname=U … rhost=H` | U | behind the last ` rhost=`, unless it may be cut |
//! | ``pam_access(…): access denied for user `U' from `H'`` | none (U exists) | from the right end |
//!
//! Without privilege separation (before 7.5) M is a stranger's text too: a `Failed` that has two ends has no address.
//! Nor has what may have been cut, by sshd at 500 bytes or by a relay, one that stands behind a stranger's text. sshd
//! cuts a user name at its first `:` (`auth2.c`, the style), so no user name holds one. What sshd does not know it
//! calls `UNKNOWN`. Where H is a host's name, the connection's address is taken if another line tells it.

use super::event::{Event, Kind};

mod connection;
mod login;
mod notes;
mod pam;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod texts;

/// Whether an identifier is sshd's: `sshd`, `sshd-session`, `sshd-auth`, old PAM's `sshd(pam_unix)`, and its units,
/// which `journalctl -o with-unit` prints.
#[inline(always)]
pub fn is_sshd(identifier: &[u8]) -> bool {
    identifier.starts_with(b"ssh") && is_sshd_indeed(identifier)
}

fn is_sshd_indeed(identifier: &[u8]) -> bool {
    let Some(rest) = identifier.strip_prefix(b"sshd") else {
        return matches!(identifier, b"ssh.service" | b"ssh@");
    };
    if matches!(rest, b"" | b".service" | b"@") {
        return true;
    }
    let rest = rest.strip_prefix(b"-session").or_else(|| rest.strip_prefix(b"-auth")).unwrap_or(rest);
    rest.is_empty() || rest.first() == Some(&b'(')
}

/// The shortest message that may have been cut. sshd itself cuts at 500 bytes (`log.c`: `syslog(pri, "%.500s", …)`),
/// behind whatever stands there: a name of 187 bytes, of which each may be escaped as five, can be followed by an
/// address of its choice and by blanks, which journald takes off the end. So an end that is a stranger's may come after
/// 398 bytes. Messages that are as long and whole are of such names too, or have their address before the text.
const CUT_MIN: usize = 380;

/// What a message of sshd says, if a shape fits it. `truncated`: its end is missing, and nothing is believed that needs
/// the end.
#[inline(always)]
pub fn parse(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    let truncated = truncated || message.len() >= CUT_MIN;
    let message = if truncated { without_last_word(message) } else { message };
    let trouble = message.strip_prefix(b"error: ").or_else(|| message.strip_prefix(b"fatal: "));
    let message = trouble.unwrap_or(message);
    let mut event = shape(message, truncated);
    if event.is_none() && notes::is_note(message, trouble.is_some()) {
        event = Some(Event::new(Kind::Note, "sshd.note"));
    }
    event
}

/// The last word of what was cut may be half an address. The blank before it stays: it ends sshd's own words where a
/// stranger's name is all that follows.
fn without_last_word(message: &[u8]) -> &[u8] {
    &message[..memchr::memrchr(b' ', message).map_or(0, |at| at + 1)]
}

/// Finds the shape by the words that it begins with; those are sshd's, never a stranger's.
fn shape(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    match message.first() {
        Some(b'F') => match message.strip_prefix(b"Failed ") {
            Some(rest) => login::tried(rest, truncated, "sshd.failed", Kind::Tried),
            None => connection::rare(message, truncated),
        },
        Some(b'A') => login::accepted(message, truncated),
        Some(b'P') => match message.strip_prefix(b"Postponed ").or_else(|| message.strip_prefix(b"Partial ")) {
            Some(rest) => login::tried(rest, truncated, "sshd.postponed", Kind::Note),
            None => pam::error(message, truncated).or_else(|| connection::rare(message, truncated)),
        },
        Some(b'I') => message
            .strip_prefix(b"Invalid user ")
            .or_else(|| message.strip_prefix(b"Illegal user "))
            .and_then(|rest| login::invalid_user(rest, truncated)),
        Some(b'C') => connection::c_shapes(message, truncated),
        Some(b'D') => connection::d_shapes(message, truncated),
        Some(b'R') => connection::r_shapes(message),
        Some(b'T') => connection::timeout(message, truncated),
        Some(b'U') => match message.strip_prefix(b"User ") {
            Some(rest) => login::not_allowed(rest, truncated),
            None => connection::rare(message, truncated),
        },
        Some(b'm') => message
            .strip_prefix(b"maximum authentication attempts exceeded for ")
            .and_then(|rest| login::of_user(login::before_details(rest), truncated, "sshd.max_attempts", Kind::Begun)),
        Some(b'p') => match message.strip_prefix(b"public key ") {
            Some(rest) => login::untouched_key(rest, truncated),
            None => pam::module(message, truncated).or_else(|| connection::rare(message, truncated)),
        },
        Some(b'a') => match message.strip_prefix(b"administratively prohibited connection for ") {
            Some(rest) => login::of_user(rest, truncated, "sshd.not_allowed", Kind::Begun),
            None => message
                .strip_prefix(b"authentication failure; ")
                .and_then(|rest| pam::failure(b"unix", rest, truncated)),
        },
        Some(b'(') => pam::module(message, truncated),
        Some(b'0'..=b'9') => pam::more(message),
        Some(b'B') => connection::bad_protocol(message, truncated),
        Some(b'S') => match message.strip_prefix(b"SSH: Server;Ltype: ") {
            Some(rest) => connection::hpn(rest),
            None => message.starts_with(b"Starting session: ").then(|| login::session(message)).flatten(),
        },
        Some(b'L') => {
            message.strip_prefix(b"Login restricted for ").and_then(|rest| login::restricted(rest, truncated))
        }
        // `FILE:LINE: Authentication tried for …`
        Some(b'/') => memchr::memmem::find(message, b": Authentication tried for ")
            .and_then(|at| login::not_permitted(&message[at + 26..], truncated)),
        _ => connection::rare(message, truncated),
    }
}
