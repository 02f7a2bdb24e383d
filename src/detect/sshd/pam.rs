//! PAM, as sshd tells of it (`auth-pam.c`) and as its modules do from within sshd.

use crate::detect::address::{Peer, number, peer};
use crate::detect::event::{Account, Event, Kind};

/// The longest `authentication failure; logname=U … rhost=H` that no syslog daemon cuts. sshd's own line tells of what
/// is longer.
const LOGNAME_MAX: usize = 400;

/// What the accounts of modules are called: those of several may be of one try.
const MODULES: &[(&[u8], &str)] = &[
    (b"unix", "sshd.pam_unix"),
    (b"sss", "sshd.pam_sss"),
    (b"ldap", "sshd.pam_ldap"),
    (b"winbind", "sshd.pam_winbind"),
    (b"krb5", "sshd.pam_krb5"),
    (b"unix2", "sshd.pam_unix2"),
    (b"afs", "sshd.pam_afs"),
];

/// Errors of PAM, Linux' and Solaris', that hold a ` for ` themselves.
const HOLDING_FOR: &[&[u8]] =
    &[b"Have exhausted maximum number of retries for service", b"No account present for user"];

/// `PAM: E for [illegal user ]U from H[ via L]`; FreeBSD and macOS say by which of their addresses.
pub(super) fn error(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    if let Some(rest) = message.strip_prefix(b"PAM: ") {
        let behind = HOLDING_FOR.iter().find_map(|error| rest.strip_prefix(*error)).unwrap_or(rest);
        let at = memchr::memmem::find(behind, b" for ")?;
        let rest = &behind[at + 5..];
        let named = rest.strip_prefix(b"illegal user ").or_else(|| rest.strip_prefix(b"invalid user ")).unwrap_or(rest);
        if truncated {
            return Some(Event::new(Kind::PamTried, "sshd.pam_error"));
        }
        let (user, host) = match memchr::memmem::rfind(named, b" from ") {
            Some(at) => (&named[..at], &named[at + 6..]),
            None => (&named[..0], named.strip_prefix(b"from ")?),
        };
        let (host, behind) = host.split_at(memchr::memchr(b' ', host).unwrap_or(host.len()));
        let via = behind.is_empty() || behind.strip_prefix(b" via ").is_some_and(|at| !at.contains(&b' '));
        let account = if named.len() == rest.len() { Account::Known } else { Account::Unsaid };
        let event = Event::new(Kind::PamTried, "sshd.pam_error").by(user, account);
        return Some(if via { event.from((peer(host), None)) } else { event });
    }
    // `PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=H  user=U`
    more(message.strip_prefix(b"PAM ")?)
}

/// `N more authentication failure[s]; …`.
pub(super) fn more(text: &[u8]) -> Option<Event<'_>> {
    let at = memchr::memchr(b' ', text)?;
    number(&text[..at])?;
    let rest = text[at..].strip_prefix(b" more authentication failure")?;
    let (peer, user) = rhost(rest.strip_prefix(b"s; ").or_else(|| rest.strip_prefix(b"; "))?)?;
    let event = Event::new(Kind::Note, "sshd.pam_more").from((peer, None));
    Some(Event { user, ..event })
}

/// What the process of a login tells when it is over.
const CLOSED: &[u8] = b"session closed for user ";

/// `pam_MODULE(SERVICE:auth): TEXT`, and older PAM's `(pam_unix) TEXT`.
pub(super) fn module(message: &[u8], truncated: bool) -> Option<Event<'_>> {
    let (module, text) =
        match message.strip_prefix(b"pam_unix(sshd:auth): ").or_else(|| message.strip_prefix(b"(pam_unix) ")) {
            Some(text) if text.starts_with(CLOSED) => return Some(Event::new(Kind::Note, "sshd.session_closed")),
            // Nothing but who it is not.
            Some(b"check pass; user unknown") => return Some(Event::new(Kind::Note, "sshd.note")),
            Some(text) => (&b"unix"[..], text),
            None if let Some(text) = message.strip_prefix(b"pam_unix(sshd:session): ") => {
                let rule = if text.starts_with(CLOSED) { "sshd.session_closed" } else { "sshd.note" };
                return Some(Event::new(Kind::Note, rule));
            }
            None => {
                let rest = message.strip_prefix(b"pam_")?;
                let at = rest.windows(2).position(|two| two == b": ")?;
                let (name, text) = (&rest[..at], &rest[at + 2..]);
                let service = memchr::memchr(b'(', name)?;
                if !name.ends_with(b":auth)") && !name.ends_with(b":account)") {
                    return Some(Event::new(Kind::Note, "sshd.note"));
                }
                (&name[..service], text)
            }
        };
    if let Some(text) = text.strip_prefix(b"authentication failure; ") {
        return failure(module, text, truncated);
    }
    if let Some(text) = text.strip_prefix(b"access denied for user `")
        && module == b"access"
        && !truncated
    {
        // `… U' from `H'`: whose password was right already, so U exists.
        let at = memchr::memmem::rfind(text, b"' from `")?;
        let host = text[at + 8..].strip_suffix(b"'")?;
        return Some(Event::new(Kind::Note, "sshd.pam").from((peer(host), None)).by(&text[..at], Account::Known));
    }
    more(text)
}

/// `logname=L uid=0 euid=0 tty=ssh ruser= rhost=H[  user=U]`.
#[inline(always)]
pub(super) fn failure<'a>(module: &[u8], text: &'a [u8], truncated: bool) -> Option<Event<'a>> {
    let rule = MODULES.iter().find(|(name, _)| *name == module).map_or("sshd.pam", |(_, rule)| *rule);
    // These have sshd's own login name or none in `logname=`; others may have put any name there.
    let own = matches!(module, b"unix" | b"unix2" | b"sss" | b"ldap" | b"winbind") || text.starts_with(b"logname= ");
    if own && !matches!(module, b"krb5" | b"afs") {
        let (peer, user) = rhost(text)?;
        let event = Event::new(Kind::Pam, rule).from((peer, None));
        return Some(Event { user, ..event });
    }
    // krb5 and afs put the user's name, of any length, before `rhost=`, which ends the line: unless it was cut, by us
    // or by a syslog daemon on the way, behind a `rhost=` in the name.
    if truncated || text.len() > LOGNAME_MAX {
        return Some(Event::new(Kind::Note, "sshd.pam"));
    }
    let at = memchr::memmem::rfind(text, b" rhost=")?;
    let host = text[at + 7..].trim_ascii_end();
    Some(Event::new(Kind::Pam, rule).from((peer(host), None)))
}

/// `… rhost=H[ user=U]` of a PAM module. sshd leaves `ruser=` empty, so the first `rhost=` is PAM's.
#[inline(always)]
fn rhost(text: &[u8]) -> Option<(Peer<'_>, Option<&[u8]>)> {
    // Nearly always so: to make ready for a search takes longer than the rest.
    let rest = match text.strip_prefix(b"logname= uid=0 euid=0 tty=ssh ruser= rhost=") {
        Some(rest) => rest,
        None => &text[memchr::memmem::find(text, b" rhost=")? + 7..],
    };
    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let (host, tail) = rest.split_at(end);
    let tail = tail.strip_prefix(b" ").unwrap_or(tail);
    let user = tail.strip_prefix(b" user=").or_else(|| tail.strip_prefix(b"user="));
    Some((peer(host), user))
}
