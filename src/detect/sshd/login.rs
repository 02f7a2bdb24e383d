//! What sshd says of logins: `auth.c`, `auth1.c`, `auth2*.c`.

use crate::detect::address::{Peer, leading, parse, peer, trailing};
use crate::detect::event::{Account, Event, Kind};

/// The methods by which a client guesses: what it sends may be right by luck, and is another secret each time.
/// All others are offers: who has the wrong key, host key or ticket, cannot try another one until it fits, and
/// clients offer all that they have before they ask for a password. The names are those that sshd's monitor and
/// dispatch tables have.
///
/// | method | what is guessed | who names it so |
/// |---|---|---|
/// | `password` | a password | all versions |
/// | `keyboard-interactive`, `…/pam`, `…/bsdauth`, any device | an answer to a prompt, mostly a password | 2.9 and later |
/// | `pam` | the same | old FreeBSD |
/// | `challenge-response`, `tis`, `bsdauth`, `skey`, `s/key` | an answer to a prompt | protocol 1, and old monitors |
///
/// So `publickey`, `hostbased`, `gssapi-with-mic`, `gssapi-keyex`, `rsa`, `rhosts`, `rhosts-rsa`, `kerberos`, a
/// vendor's own, `none`, and `unknown` (what the monitor calls the key of an account that does not exist) are offers.
const GUESSES: &[&[u8]] =
    &[b"password", b"keyboard-interactive", b"pam", b"challenge-response", b"tis", b"bsdauth", b"skey", b"s/key"];

fn refused(method: &[u8]) -> Kind {
    match method {
        b"password" => Kind::Tried,
        _ if GUESSES.contains(&method) || method.starts_with(b"keyboard-interactive/") => Kind::Answered,
        _ => Kind::Offered,
    }
}

/// Cuts ` [preauth]`, which the unprivileged child's messages end in.
pub(super) fn without_preauth(text: &[u8]) -> &[u8] {
    text.strip_suffix(b" [preauth]").unwrap_or(text)
}

/// `METHOD for [invalid user ]U from A port N ssh2[: KEY]` (`auth_log`).
#[inline(always)]
pub(super) fn tried<'a>(rest: &'a [u8], truncated: bool, rule: &'static str, kind: Kind) -> Option<Event<'a>> {
    let method = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
    let Some(rest) = rest[method.len()..].strip_prefix(b" for ") else {
        // Cut within a method that a stranger named.
        return (truncated && kind == Kind::Tried).then_some(Event::new(Kind::Offered, rule));
    };
    let kind = if kind == Kind::Tried { refused(method) } else { kind };
    // The details may hold a certificate's id or a client's host, which are a stranger's text, and may be cut anywhere.
    let end = end_of_try(rest);
    // Without privilege separation (before 7.5) METHOD is whatever the client names, and may hold a line of its own.
    // The true end follows, unless the line became too long for it.
    let is_foreign = end.is_some_and(|at| truncated || holds_another(&rest[at..]));
    if is_foreign && matches!(kind, Kind::Tried | Kind::Answered | Kind::Offered) {
        return Some(Event::new(Kind::Offered, rule));
    }
    // Nobody can log in as an account that sshd calls invalid: such an offer is worth its attempt now.
    let hopeless = kind == Kind::Offered && unknown_to_sshd(rest).is_some();
    let kind = if hopeless { Kind::Begun } else { kind };
    match end {
        Some(at) if !method.starts_with(b"rhosts") || memchr::memmem::find(&rest[..at], b" ruser ").is_none() => {
            of_user(&rest[..at], false, rule, kind)
        }
        None if !method.starts_with(b"rhosts") => of_user(rest, truncated, rule, kind),
        _ => of_ruser(rest, truncated, rule, kind),
    }
}

/// Where the first ` port N ssh2: ` or ` port N ssh1: ` ends, before its ` ssh`: no user's name holds a colon, so that
/// what follows is detail, and never names the peer. Colons are few.
fn end_of_try(text: &[u8]) -> Option<usize> {
    let end = |colon: usize| {
        let head = text[..colon].strip_suffix(b" ssh2").or_else(|| text[..colon].strip_suffix(b" ssh1"))?;
        let digits = head.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let is_port = digits > 0 && head[..head.len() - digits].ends_with(b" port ");
        (is_port && text[colon..].starts_with(b": ")).then_some(head.len())
    };
    memchr::memchr_iter(b':', text).find_map(end)
}

/// Whether details hold a whole try of their own, `… for U from A port N ssh2`.
fn holds_another(details: &[u8]) -> bool {
    details.ends_with(b" ssh2") && memchr::memmem::find(details, b" for ").is_some()
}

/// What precedes the details, if there are any.
pub(super) fn before_details(text: &[u8]) -> &[u8] {
    end_of_try(text).map_or(text, |at| &text[..at])
}

/// What follows `invalid user `, or what the oldest versions and SunSSH have in its place.
fn unknown_to_sshd(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"invalid user ")
        .or_else(|| text.strip_prefix(b"illegal user "))
        .or_else(|| text.starts_with(b"<invalid username> ").then_some(text))
}

/// `[invalid user |illegal user ]U from A[ port N][ ssh2][ [preauth]]`.
#[inline(always)]
pub(super) fn of_user<'a>(text: &'a [u8], truncated: bool, rule: &'static str, kind: Kind) -> Option<Event<'a>> {
    let text = without_preauth(text);
    let text = text.strip_suffix(b" ssh2").or_else(|| text.strip_suffix(b" ssh1")).unwrap_or(text);
    let (named, account) = match unknown_to_sshd(text) {
        Some(rest) => (rest, Account::Unsaid),
        None => (text, Account::Known),
    };
    if truncated {
        return Some(Event::new(kind, rule));
    }
    let (from, head) = trailing(named)?;
    Some(Event::new(kind, rule).from(from).by(before_from(head)?, account))
}

/// `U from A port N[ ruser R]` (protocol 1): neither end is sshd's if R was chosen so, but then there are two `ruser`.
/// Nor does a line of protocol 2 have one.
fn of_ruser<'a>(text: &'a [u8], truncated: bool, rule: &'static str, kind: Kind) -> Option<Event<'a>> {
    let mut found = memchr::memmem::find_iter(text, b" ruser ");
    match (found.next(), found.next()) {
        (None, _) => of_user(text, truncated, rule, kind),
        (Some(at), None) if !truncated && !text.ends_with(b" ssh2") => of_user(&text[..at], false, rule, kind),
        _ => Some(Event::new(kind, rule)),
    }
}

/// The user of `U from`; an empty name leaves no blank but the one that precedes it.
fn before_from(head: &[u8]) -> Option<&[u8]> {
    head.strip_suffix(b" from").or(if head == b"from" { Some(&head[..0]) } else { None })
}

/// `Invalid user U from A[ port N]`.
pub(super) fn invalid_user(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    if truncated {
        return Some(Event { account: Account::Unknown, ..Event::new(Kind::Begun, "sshd.invalid_user") });
    }
    let (from, head) = trailing(without_preauth(rest))?;
    Some(Event::new(Kind::Begun, "sshd.invalid_user").from(from).by(before_from(head)?, Account::Unknown))
}

pub(super) fn accepted(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"Accepted ") {
        // `Accepted key …`, `Accepted certificate ID …`, `Accepted RSA public key …`: what follows tells of the login.
        let about_key = rest.starts_with(b"key ") || rest.starts_with(b"certificate ");
        let of_host = memchr::memchr(b' ', rest).is_some_and(|at| rest[at..].starts_with(b" public key "));
        if about_key || of_host {
            return Some(Event::new(Kind::Note, "sshd.accepted_key"));
        }
        return tried(rest, truncated, "sshd.accepted", Kind::Accepted);
    }
    if let Some(rest) = message.strip_prefix(b"Authentication tried for ") {
        return not_permitted(rest, truncated);
    }
    // `Address A maps to H, but this does not map back to the address[ - POSSIBLE BREAK-IN ATTEMPT!]`
    let (from, _) = leading(message.strip_prefix(b"Address ")?)?;
    Some(Event::new(Kind::Opened, "sshd.dns").from(from))
}

/// `U with correct key but not from a permitted host (host=H, ip=A[, required=L]).`, `U with valid certificate but not
/// from a permitted source address (A).` (`auth-options.c`, `auth2-pubkeyfile.c`). U has that key, so it exists.
pub(super) fn not_permitted(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    let event = Event::new(Kind::Note, "sshd.not_permitted");
    if truncated {
        return Some(event);
    }
    let at = memchr::memmem::rfind(rest, b" but not from a permitted ")?;
    let list = &rest[at..];
    let text = match memchr::memmem::find(list, b", ip=").or_else(|| memchr::memmem::find(list, b"(ip=")) {
        Some(at) => &list[at + if list[at] == b',' { 5 } else { 4 }..],
        None => &list[memchr::memchr(b'(', list)? + 1..],
    };
    let end = text.iter().position(|&byte| byte == b',' || byte == b')')?;
    Some(event.from((Peer::Address(parse(&text[..end])?), None)))
}

/// `User U[ from H] not allowed because R` (`allowed_user`): U exists, or this is not reached.
pub(super) fn not_allowed(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    if truncated {
        return None;
    }
    let Some(at) = memchr::memmem::rfind(rest, b" not allowed because ") else {
        // `User U password has expired (…)` (`auth-shadow.c`)
        memchr::memmem::rfind(rest, b" password has expired")?;
        return Some(Event::new(Kind::Note, "sshd.note"));
    };
    let head = &rest[..at];
    let event = Event::new(Kind::Begun, "sshd.not_allowed");
    Some(match memchr::memmem::rfind(head, b" from ") {
        Some(at) => event.from((peer(&head[at + 6..]), None)).by(&head[..at], Account::Known),
        None => event.by(head, Account::Known),
    })
}

/// `T F signature for [invalid user ]U from A port N rejected: R` (`monitor.c`, `auth2-pubkey.c`; 8.2 and later),
/// behind which a line `Failed publickey` comes.
pub(super) fn untouched_key(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    let start = memchr::memmem::find(rest, b" signature for ")? + 15;
    let end = memchr::memmem::rfind(rest, b" rejected: ").filter(|end| *end > start && !truncated)?;
    of_user(&rest[start..end], false, "sshd.untouched_key", Kind::Note)
}

/// `Login restricted for U: R` (AIX).
pub(super) fn restricted(rest: &[u8], truncated: bool) -> Option<Event<'_>> {
    let end = memchr::memmem::find(rest, b": ").filter(|_| !truncated)?;
    Some(Event::new(Kind::Begun, "sshd.not_allowed").by(&rest[..end], Account::Known))
}

/// `Starting session: WHAT for U from A port N[ id D]` (before 7.2 without `id`),
/// `Close session: user U from A port N id D` (`session.c`).
pub(super) fn session(message: &[u8]) -> Option<Event<'_>> {
    let id = memchr::memmem::rfind(message, b" id ");
    let id = id.filter(|at| crate::detect::address::number(&message[at + 4..]).is_some());
    let (from, _) = trailing(&message[..id.unwrap_or(message.len())]).filter(|((_, port), _)| port.is_some())?;
    Some(Event::new(Kind::Note, "sshd.session").from(from))
}
