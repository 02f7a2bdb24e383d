//! sshd's grammar: every message that portable OpenSSH 3.9 to 10.x logs about a peer.
//!
//! Written from OpenSSH's format strings (`auth.c`, `auth2.c`, `auth-pam.c`, `packet.c`, `kex.c`, `sshd.c`,
//! `sshd-session.c`, `srclimit.c`, `monitor.c`), not from anybody's patterns. For each shape it says which
//! part is attacker's text, and the address is taken only from where that text cannot reach:
//!
//! | shape | attacker's text | the address is read |
//! |---|---|---|
//! | `Failed M for U from A port N ssh2` | U | from the right end |
//! | `Failed publickey for U from A port N ssh2: KEY` | U (never a colon), KEY (a certificate's id) | left of the first ` ssh2: ` |
//! | `Accepted`, `Postponed`, `Partial` | the same | the same |
//! | `Invalid user U from A port N` | U | from the right end |
//! | `User U from H not allowed because …` | none (U exists) | left of the last ` not allowed because ` |
//! | `Connection closed by … user U A port N` and the like | U | from the right end |
//! | `Disconnecting … user U A port N: …` | U (never a colon), the reason | left of the first ` port N: ` |
//! | `Received disconnect from A port N:C: …` | the reason | from the left |
//! | `Unable to negotiate with A port N: …` | the offer | from the left |
//! | `banner exchange: Connection from A …` | – | from the left |
//! | `Bad protocol version identification 'T' from A` | T | from the right end |
//! | `PAM: E for U from H` | U | from the right end |
//! | `pam_unix(…): … rhost=H user=U` | U | the first ` rhost=`, which sshd writes |
//!
//! sshd cuts a user name at its first `:` (`auth2.c`, the style), so no user name holds one.

use super::address::{self, leading, peer, trailing};
use super::event::{Account, Event, Kind, Peer};

/// Whether an identifier is sshd's: `sshd`, `sshd-session`, `sshd-auth`, and old PAM's `sshd(pam_unix)`.
pub fn is_sshd(identifier: &[u8]) -> bool {
    match identifier.strip_prefix(b"sshd") {
        Some(b"" | b"-session" | b"-auth") => true,
        Some(rest) => rest.first() == Some(&b'('),
        None => false,
    }
}

/// What a message of sshd says. `truncated`: its end is missing, and nothing is believed that needs the end.
pub fn parse(message: &[u8], truncated: bool) -> Event<'_> {
    let message = without_solaris_id(if truncated { without_last_word(message) } else { message });
    if let Some((times, inner)) = repeated(message) {
        let event = shape(without_solaris_id(inner), truncated);
        return Event { times, ..event };
    }
    shape(message, truncated)
}

/// The most that one `message repeated N times` line counts: what rsyslog folds at once is less.
const REPEATED_MAX: u32 = 1_000;

/// Reads the wrapper of a syslog daemon that folds repeats: `message repeated 3 times: [ Failed …]`
/// (rsyslog's `$RepeatedMsgReduction`). No message of sshd's own begins so: text of a user never stands first.
fn repeated(message: &[u8]) -> Option<(u32, &[u8])> {
    let rest = message.strip_prefix(b"message repeated ")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let times = address::number(&rest[..digits])?;
    let inner = rest[digits..].strip_prefix(b" times: [")?.strip_suffix(b"]")?;
    Some((times.clamp(1, REPEATED_MAX), inner.strip_prefix(b" ").unwrap_or(inner)))
}

/// The last word of what was cut may be half an address.
fn without_last_word(message: &[u8]) -> &[u8] {
    &message[..memchr::memrchr(b' ', message).unwrap_or(0)]
}

/// The longest `authentication failure; logname=U … rhost=H` that no syslog daemon cuts. sshd's own line tells of what
/// is longer.
const KRB5_MAX: usize = 400;

/// Solaris puts `[ID 800047 auth.info] ` before each message.
fn without_solaris_id(message: &[u8]) -> &[u8] {
    match message.strip_prefix(b"[ID ") {
        Some(rest) => match memchr::memmem::find(&rest[..rest.len().min(40)], b"] ") {
            Some(at) => &rest[at + 2..],
            None => message,
        },
        None => message,
    }
}

/// Finds the shape by the words that it begins with; those are sshd's, never a stranger's.
fn shape(message: &[u8], truncated: bool) -> Event<'_> {
    let message = message.strip_prefix(b"error: ").or_else(|| message.strip_prefix(b"fatal: ")).unwrap_or(message);
    let found = match message.first() {
        Some(b'F') => after(message, b"Failed ").and_then(|rest| login(rest, truncated, "sshd.failed", Kind::Tried)),
        Some(b'A') => accepted(message, truncated),
        Some(b'P') => postponed(message, truncated).or_else(|| rare(message, truncated)),
        Some(b'I') => after(message, b"Invalid user ")
            .or_else(|| after(message, b"Illegal user "))
            .and_then(|rest| invalid_user(rest, truncated)),
        Some(b'C') => connection(message, truncated),
        Some(b'D') => disconnect(message, truncated),
        Some(b'R') => r_shapes(message),
        Some(b'U') => u_shapes(message, truncated),
        Some(b'm') => after(message, b"maximum authentication attempts exceeded for ")
            .and_then(|rest| login_tail(rest, truncated, "sshd.max_attempts", Kind::Begun)),
        Some(b'p') => p_shapes(message, truncated),
        Some(b'B') => b_shapes(message, truncated),
        Some(b'S') => message.starts_with(b"Starting session: ").then(|| logged_in(message)).flatten(),
        _ => rare(message, truncated),
    };
    found.unwrap_or_else(|| {
        let noted = NOTES.iter().any(|note| message.starts_with(note));
        if noted { Event::new(Kind::Note, "sshd.note") } else { Event::new(Kind::Unknown, "sshd.unknown") }
    })
}

/// Beginnings of messages about no peer, or that carry no address and no attempt.
const NOTES: &[&[u8]] = &[
    b"Accepted key ",
    b"Account ",
    b"Access denied for user ",
    b"Allocated ",
    b"Attempt to write login records by non-root user",
    b"Authentication refused: ",
    b"Authentication key ",
    b"Authorized to ",
    b"Bad packet length ",
    b"Bind to port ",
    b"Cannot bind any address",
    b"Certificate ",
    b"Changed root directory",
    b"Child ",
    b"Closing connection to ",
    b"Corrupted ",
    b"Could not ",
    b"Deprecated ",
    b"Disabling ",
    b"Disconnecting: ",
    b"Entering interactive session",
    b"Exiting on signal",
    b"Forked child ",
    b"Found matching ",
    b"Generating ",
    b"Host ",
    b"Key ",
    b"Missing privilege separation directory",
    b"Nasty PTR ",
    b"PAM service(",
    b"Protocol major versions differ",
    b"RSA key generation complete",
    b"Read from socket failed",
    b"Received SIG",
    b"Received signal ",
    b"Received request to ",
    b"Remote: ",
    b"Restarting",
    b"Server listening on ",
    b"Session ",
    b"Set /proc/self/oom_score_adj",
    b"Setting ",
    b"Skipped ",
    b"Subsystem ",
    b"Timeout, client not responding from ",
    b"Transferred: ",
    b"User child is on pid ",
    b"User/password ssh access",
    b"Write failed: ",
    b"bad ",
    b"beginning MaxStartups throttling",
    b"buffer_get_",
    b"channel ",
    b"chan_",
    b"chroot",
    b"dispatch_protocol_error",
    b"do_cleanup",
    b"exited MaxStartups throttling",
    b"fork of unprivileged child failed",
    b"get_socket_address",
    b"input_userauth_request: ",
    b"kex_",
    b"key_",
    b"last message repeated ",
    b"lastlog_",
    b"mm_",
    b"monitor_",
    b"no matching ",
    b"rexec ",
    b"session_",
    b"session opened for ",
    b"srclimit_penalise: ",
    b"sshd: ",
    b"sshpam_",
    b"subsystem ",
    b"subsystem request for ",
    b"syslogin_",
    b"userauth_",
    b"xauth ",
];

fn after<'a>(message: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    message.strip_prefix(prefix)
}

/// Cuts ` [preauth]`, which the unprivileged child's messages end in.
fn without_preauth(text: &[u8]) -> &[u8] {
    text.strip_suffix(b" [preauth]").unwrap_or(text)
}

/// `METHOD for [invalid user ]U from A port N ssh2[: KEY]` (`auth.c`, `auth_log`).
fn login<'a>(rest: &'a [u8], truncated: bool, rule: &'static str, kind: Kind) -> Option<Event<'a>> {
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let (method, rest) = rest.split_at(space);
    let rest = rest.strip_prefix(b" for ")?;
    let keyed = method == b"publickey" || method == b"hostbased" || method.starts_with(b"gssapi");
    let kind = match (kind, method) {
        (Kind::Tried, b"publickey" | b"none") => Kind::Offered,
        _ => kind,
    };
    // A key's details may hold a certificate's id, which is a stranger's text, and may be cut anywhere.
    let keyed_end = if keyed { memchr::memmem::find(rest, b" ssh2: ") } else { None };
    let event = match keyed_end {
        Some(at) => login_tail(&rest[..at], false, rule, kind)?,
        None => login_tail(rest, truncated, rule, kind)?,
    };
    // Nobody can log in as an account that sshd calls invalid: such a key or `none` is worth its attempt now.
    let hopeless = kind == Kind::Offered && rest.starts_with(b"invalid user ");
    Some(if hopeless { Event { kind: Kind::Begun, ..event } } else { event })
}

/// `[invalid user |illegal user ]U from A[ port N][ ssh2][ [preauth]]`.
fn login_tail<'a>(text: &'a [u8], truncated: bool, rule: &'static str, kind: Kind) -> Option<Event<'a>> {
    let text = without_preauth(text);
    let text = text.strip_suffix(b" ssh2").or_else(|| text.strip_suffix(b" ssh1")).unwrap_or(text);
    let (named, account) = match text.strip_prefix(b"invalid user ").or_else(|| text.strip_prefix(b"illegal user ")) {
        Some(rest) => (rest, Account::Unsaid),
        None => (text, Account::Known),
    };
    if truncated {
        return Some(Event::new(kind, rule));
    }
    let (from, head) = trailing(named)?;
    // An empty user name leaves no blank before `from` but the one that follows `for`.
    let user = head.strip_suffix(b" from").or(if head == b"from" { Some(&head[..0]) } else { None })?;
    Some(Event::new(kind, rule).from(from).by(user, account))
}

fn accepted(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"Accepted ") {
        if rest.starts_with(b"key ") || rest.starts_with(b"certificate ") {
            return None;
        }
        return login(rest, truncated, "sshd.accepted", Kind::Accepted);
    }
    // `Address A maps to H, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!`
    let rest = after(message, b"Address ")?;
    let (from, _) = leading(rest)?;
    Some(Event::new(Kind::Note, "sshd.dns").from(from))
}

fn postponed(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"Postponed ").or_else(|| after(message, b"Partial ")) {
        return login(rest, truncated, "sshd.postponed", Kind::Note);
    }
    if let Some(rest) = after(message, b"PAM: ") {
        // `PAM: Authentication failure for [illegal user ]U from H[ via H2]` (`auth-pam.c`)
        let at = memchr::memmem::find(rest, b" for ")?;
        let rest = match rest[at + 5..].strip_prefix(b"service for ") {
            // PAM_MAXTRIES holds one itself: `Have exhausted maximum number of retries for service`
            Some(behind) if rest.starts_with(b"Have exhausted ") => behind,
            _ => &rest[at + 5..],
        };
        let named = rest.strip_prefix(b"illegal user ").or_else(|| rest.strip_prefix(b"invalid user ")).unwrap_or(rest);
        if truncated {
            return Some(Event::new(Kind::PamTried, "sshd.pam_error"));
        }
        let at = memchr::memmem::rfind(named, b" from ");
        let (user, host) = match at {
            Some(at) => (&named[..at], &named[at + 6..]),
            None => (&named[..0], named.strip_prefix(b"from ")?),
        };
        let host = host.split(|&b| b == b' ').next().unwrap_or(host);
        let account = if named.len() == rest.len() { Account::Known } else { Account::Unsaid };
        return Some(Event::new(Kind::PamTried, "sshd.pam_error").from((peer(host), None)).by(user, account));
    }
    // `PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=H  user=U`
    let rest = after(message, b"PAM ")?;
    let (peer, user) = rhost(rest)?;
    let event = Event::new(Kind::Note, "sshd.pam_more").from((peer, None));
    Some(Event { user, ..event })
}

/// `… rhost=H[ user=U]` of a PAM module. sshd leaves `logname=` and `ruser=` empty, so the first `rhost=` is PAM's.
fn rhost(text: &[u8]) -> Option<(Peer<'_>, Option<&[u8]>)> {
    // Nearly always so: to make ready for a search takes longer than the rest.
    let rest = match text.strip_prefix(b"logname= uid=0 euid=0 tty=ssh ruser= rhost=") {
        Some(rest) => rest,
        None => &text[memchr::memmem::find(text, b" rhost=")? + 7..],
    };
    let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
    let (host, tail) = rest.split_at(end);
    let tail = tail.strip_prefix(b" ").unwrap_or(tail);
    let user = tail.strip_prefix(b" user=").or_else(|| tail.strip_prefix(b"user="));
    Some((peer(host), user))
}

fn invalid_user(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    if truncated {
        return Some(Event { account: Account::Unknown, ..Event::new(Kind::Begun, "sshd.invalid_user") });
    }
    let (from, head) = trailing(rest)?;
    let user = head.strip_suffix(b" from").or(if head == b"from" { Some(&head[..0]) } else { None })?;
    Some(Event::new(Kind::Begun, "sshd.invalid_user").from(from).by(user, Account::Unknown))
}

/// `[invalid user U |authenticating user U |user U ]A port N[ [preauth]]`: how a connection ended (`packet.c`).
fn ended<'a>(rest: &'a [u8], truncated: bool, rule: &'static str) -> Option<Event<'a>> {
    let preauth = rest.ends_with(b" [preauth]");
    let rest = without_preauth(rest);
    let (named, kind) =
        if let Some(named) = after(rest, b"invalid user ").or_else(|| after(rest, b"authenticating user ")) {
            (named, Kind::Begun)
        } else if let Some(named) = after(rest, b"user ") {
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

fn connection(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if message.starts_with(b"Close session: ") {
        return logged_in(message);
    }
    let rest = after(message, b"Connection ")?;
    if let Some(rest) = after(rest, b"closed by ").or_else(|| after(rest, b"reset by ")) {
        return ended(rest, truncated, "sshd.closed");
    }
    // `Connection from [authenticating user U ]A port N timed out` (`packet.c`, `sshpkt_vfatal`)
    if let Some(rest) = after(rest, b"from ").and_then(|rest| without_preauth(rest).strip_suffix(b" timed out")) {
        return ended(rest, truncated, "sshd.timed_out");
    }
    // `Connection from A port N on B port M[ rdomain "R"]`
    let (from, _) = leading(after(rest, b"from ")?)?;
    Some(Event::new(Kind::Opened, "sshd.connection").from(from))
}

fn disconnect(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"Disconnected from ") {
        return ended(rest, truncated, "sshd.disconnected");
    }
    if let Some(rest) = after(message, b"Disconnecting ") {
        // `[invalid user |authenticating user ]U A port N: reason`; the reason may quote a stranger.
        let end = end_of_port(rest)?;
        return ended(&rest[..end], false, "sshd.disconnecting");
    }
    let rest = after(message, b"Did not receive identification string from ")?;
    let (from, _) = leading(rest)?;
    Some(Event::new(Kind::Probe, "sshd.no_identification").from(from))
}

/// `Starting session: WHAT for U from A port N id D`, `Close session: user U from A port N id D` (`session.c`).
fn logged_in(message: &[u8]) -> Option<Event<'_>> {
    let at = memchr::memmem::rfind(message, b" id ")?;
    address::number(&message[at + 4..])?;
    let (from, _) = trailing(&message[..at])?;
    Some(Event::new(Kind::Note, "sshd.session").from(from))
}

/// Where the first ` port N:` ends, before its colon.
fn end_of_port(text: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(text, b" port ").find_map(|at| {
        let digits = text[at + 6..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = at + 6 + digits;
        (digits > 0 && text.get(end) == Some(&b':')).then_some(end)
    })
}

fn r_shapes(message: &[u8]) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"Received disconnect from ") {
        let (from, rest) = leading(rest)?;
        // Before OpenSSH 7.2 there was no port, and no closing line followed.
        let kind = if from.1.is_none() && rest.ends_with(b" [preauth]") { Kind::Probe } else { Kind::Note };
        return Some(Event::new(kind, "sshd.received_disconnect").from(from));
    }
    if let Some(rest) = after(message, b"ROOT LOGIN REFUSED FROM ") {
        let (from, _) = leading(rest)?;
        return Some(Event::new(Kind::Begun, "sshd.root_refused").from(from).by(b"root", Account::Known));
    }
    let rest = after(message, b"Read error from remote host ")?;
    let (from, _) = leading(rest)?;
    Some(Event::new(Kind::Note, "sshd.read_error").from(from))
}

fn u_shapes(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"Unable to negotiate with ") {
        let (from, _) = leading(rest)?;
        return Some(Event::new(Kind::Probe, "sshd.no_match").from(from));
    }
    let rest = after(message, b"User ")?;
    if truncated {
        return None;
    }
    // `User U[ from H] not allowed because R` (`auth.c`, `allowed_user`): U exists, or this is not reached.
    let at = memchr::memmem::rfind(rest, b" not allowed because ")?;
    let head = &rest[..at];
    let event = Event::new(Kind::Begun, "sshd.not_allowed");
    Some(match memchr::memmem::rfind(head, b" from ") {
        Some(at) => event.from((peer(&head[at + 6..]), None)).by(&head[..at], Account::Known),
        None => event.by(head, Account::Known),
    })
}

fn p_shapes(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = after(message, b"probed from ") {
        let (from, _) = leading(rest)?;
        return Some(Event::new(Kind::Probe, "sshd.probed").from(from));
    }
    pam(after(message, b"pam_")?, truncated).or(Some(Event::new(Kind::Note, "sshd.note")))
}

/// `MODULE(sshd:auth): authentication failure; … rhost=H[  user=U]`
fn pam(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    let at = rest.windows(2).position(|two| two == b": ")?;
    let (module, text) = (&rest[..at], &rest[at + 2..]);
    let text = text.strip_prefix(b"authentication failure; ")?;
    if !module.ends_with(b"(sshd:auth)") && !module.ends_with(b"(sshd:account)") {
        return None;
    }
    if module.starts_with(b"krb5(") || module.starts_with(b"afs") {
        // These put the user's name, of any length, into `logname=`, before `rhost=`, which ends the line: unless it
        // was cut, by us or by a syslog daemon on the way, behind a `rhost=` in the name.
        if truncated || text.len() > KRB5_MAX {
            return Some(Event::new(Kind::Note, "sshd.pam"));
        }
        let at = memchr::memmem::rfind(text, b" rhost=")?;
        let host = text[at + 7..].trim_ascii_end();
        return Some(Event::new(Kind::Pam, "sshd.pam").from((peer(host), None)));
    }
    let (peer, user) = rhost(text)?;
    let event = Event::new(Kind::Pam, "sshd.pam").from((peer, None));
    Some(Event { user, ..event })
}

fn b_shapes(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if message.starts_with(b"Bad protocol version identification ") && !truncated {
        let (from, _) = trailing(without_preauth(message))?;
        return Some(Event::new(Kind::Probe, "sshd.bad_protocol").from(from));
    }
    None
}

fn rare(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    const LEADING: &[(&[u8], Kind, &str)] = &[
        (b"banner exchange: Connection from ", Kind::Probe, "sshd.banner"),
        (b"ssh_dispatch_run_fatal: Connection from ", Kind::Probe, "sshd.dispatch"),
        (b"Timeout before authentication for connection from ", Kind::Timeout, "sshd.timeout"),
        (b"Timeout before authentication for ", Kind::Timeout, "sshd.timeout"),
        (b"scanned from ", Kind::Probe, "sshd.probed"),
        (b"Protocol major versions differ for ", Kind::Probe, "sshd.bad_protocol"),
    ];
    for (prefix, kind, rule) in LEADING {
        if let Some(rest) = after(message, prefix) {
            if *rule == "sshd.dispatch"
                && let Some(end) = end_of_port(rest)
            {
                // `[invalid user U |authenticating user U |user U ]A port N: E` (`packet.c`, `sshpkt_vfatal`)
                return ended(&rest[..end], false, rule);
            }
            let (from, rest) = leading(rest)?;
            // 9.9 and later: `… from A to B, pid = N`, written by the listening process
            let of_pid = memchr::memmem::rfind(rest, b", pid = ").and_then(|at| address::number(&rest[at + 8..]));
            let of_pid = if *kind == Kind::Timeout && !truncated { of_pid } else { None };
            return Some(Event { of_pid, ..Event::new(*kind, rule).from(from) });
        }
    }
    if let Some(rest) = after(message, b"drop connection #") {
        // `drop connection #N from [A]:P on [B]:22 past MaxStartups|penalty: R` (`sshd.c`)
        let at = memchr::memmem::find(rest, b" from [")?;
        let rest = &rest[at + 7..];
        let end = memchr::memchr(b']', rest)?;
        let port = rest[end + 1..].strip_prefix(b":").map(|p| p.split(|b| !b.is_ascii_digit()).next().unwrap_or(p));
        let port = port.and_then(address::number).and_then(|n| u16::try_from(n).ok());
        return Some(Event::new(Kind::Refused, "sshd.drop").from((peer(&rest[..end]), port)));
    }
    if let Some(rest) = after(message, b"refused connect from ") {
        // libwrap: `A`, `H (A)` or `A (A)`; H is a name that its owner chose
        let text =
            rest.strip_suffix(b")").and_then(|r| memchr::memrchr(b'(', r).map(|at| &r[at + 1..])).unwrap_or(rest);
        return Some(Event::new(Kind::Refused, "sshd.libwrap").from((peer(text), None)));
    }
    if message.starts_with(b"reverse mapping checking getaddrinfo for ") {
        // `… for H [A] failed - POSSIBLE BREAK-IN ATTEMPT!`; H is a name that its owner chose
        let at = memchr::memrchr(b'[', message)?;
        let end = at + memchr::memchr(b']', &message[at..])?;
        let found = address::parse(&message[at + 1..end])?;
        return Some(Event::new(Kind::Note, "sshd.dns").from((Peer::Address(found), None)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Kind address port user`, as `message` says it.
    #[track_caller]
    fn check_as(truncated: bool, message: &str, expected: &str) {
        let event = parse(message.as_bytes(), truncated);
        let address = event.peer.address().map_or("-".to_owned(), |address| address.to_string());
        let port = event.port.map_or("-".to_owned(), |port| port.to_string());
        let user = event.user.map_or("-".into(), |user| String::from_utf8_lossy(user));
        assert_eq!(format!("{:?} {address} {port} {user}", event.kind), expected, "{message}");
    }

    #[track_caller]
    fn check(message: &str, expected: &str) {
        check_as(false, message, expected);
    }

    #[test]
    fn believes_no_address_that_may_be_cut() {
        let cut = |message: &str, expected: &str| check_as(true, message, expected);
        cut("Connection closed by 203.0.113.4", "Unknown - - -");
        cut("Connection closed by 203.0.113.45 port 2", "Unknown - - -");
        cut("Received disconnect from 203.0.113.4", "Unknown - - -");
        cut("Received disconnect from 203.0.113.45 port 22:11: Bye", "Note 203.0.113.45 22 -");
        cut("Connection from 203.0.113.4", "Unknown - - -");
        cut("ROOT LOGIN REFUSED FROM 203.0.113.4", "Unknown - - -");
        cut(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.4",
            "Note - - -",
        );
    }

    #[test]
    fn a_connection_that_broke_had_begun_a_login() {
        let broke = "ssh_dispatch_run_fatal: Connection from";
        let error = "message authentication code incorrect [preauth]";
        check(&format!("{broke} authenticating user root 192.0.2.7 port 22: {error}"), "Begun 192.0.2.7 22 root");
        check(
            &format!("{broke} invalid user a 203.0.113.9 port 1 192.0.2.7 port 22: {error}"),
            "Begun 192.0.2.7 22 a 203.0.113.9 port 1",
        );
        check(&format!("{broke} user al 192.0.2.7 port 22: {error}"), "Note 192.0.2.7 22 al");
        check(&format!("{broke} 192.0.2.7 port 22: {error}"), "Probe 192.0.2.7 22 -");
        check(&format!("{broke} 192.0.2.7: {error}"), "Probe 192.0.2.7 - -");
        check(
            "Connection from authenticating user root 192.0.2.7 port 22 timed out [preauth]",
            "Begun 192.0.2.7 22 root",
        );
        check("Connection from user al 192.0.2.7 port 22 timed out", "Note 192.0.2.7 22 al");
        check("Timeout, client not responding from user al 192.0.2.7 port 22", "Note - - -");
    }

    #[test]
    fn a_pam_error_may_hold_a_for_of_its_own() {
        let error = "PAM: Have exhausted maximum number of retries for service";
        check(&format!("error: {error} for root from 192.0.2.7"), "PamTried 192.0.2.7 - root");
        check(&format!("error: {error} for illegal user bob from 192.0.2.7"), "PamTried 192.0.2.7 - bob");
        check(
            "error: PAM: Authentication failure for service for x from 192.0.2.7",
            "PamTried 192.0.2.7 - service for x",
        );
    }

    #[test]
    fn a_long_name_that_names_an_address_is_not_believed() {
        let line = |name: &str, end: &str| format!("pam_krb5(sshd:auth): authentication failure; logname={name}{end}");
        let end = " uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7";
        check(&line("al", end), "Pam 192.0.2.7 - -");
        check(&line("x rhost=203.0.113.9", end), "Pam 192.0.2.7 - -");
        // The name's rest was cut, and with it the true `rhost=`.
        let name = format!("{} rhost=203.0.113.9", "x".repeat(1000));
        check(&line(&name, ""), "Note - - -");
        check_as(true, &line("x rhost=203.0.113.9", " xxxx"), "Note - - -");
    }
}
