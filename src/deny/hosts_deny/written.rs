//! The entries of hosts.deny that DenyHosts may have written. Pure.

use std::path::Path;

use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use super::Service;
use super::entry::{Entry, entry, pattern, stamped};
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use crate::deny::overlap::without;
use crate::text::from_asctime;

/// An entry that DenyHosts may have written, or a denyd: `SERVICE: ADDRESS`, or an address alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its line, from 1.
    pub line: usize,
    /// All of it.
    pub entry: String,
    /// Whom it denies: one address, or a network; DenyHosts denied none, but we do.
    pub prefix: Prefix,
    /// When it was written, by the `# DenyHosts:` comment just above it; without one, nothing here says who wrote it.
    pub stamp: Option<Timestamp>,
}

/// Such entries, in their order. Those with anything beside them, and those that libwrap joins to another line, are somebody
/// else's.
pub fn of_denyhosts(text: &[u8], zone: &TimeZone) -> Vec<Written> {
    let mut found = Vec::new();
    let (mut above, mut continued) = (None, false);
    for (line, raw) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let was_continued = std::mem::replace(&mut continued, raw.ends_with(b"\\"));
        let comment = std::mem::take(&mut above);
        if was_continued || continued {
            continue;
        }
        if let Some((time, named)) = stamped(raw) {
            above = from_asctime(time, zone).map(|at| (named, at));
            continue;
        }
        // DenyHosts denied one service.
        let is_its_form = |one: &Entry<'_>| one.text.as_bytes() == raw && !one.service.contains([' ', '\t', ',']);
        let Some(entry) = std::str::from_utf8(raw).ok().and_then(entry).filter(is_its_form) else { continue };
        let stamp = comment.filter(|(named, _)| *named == raw).map(|(_, at)| at);
        found.push(Written { line, entry: entry.text.to_owned(), prefix: entry.prefix, stamp });
    }
    found
}

/// The entry of a prefix in the file `path`: in hosts.allow a line that does not say so lets in.
pub fn entry_of(service: &Service, path: &Path, prefix: &Prefix) -> String {
    let end = if path.ends_with("hosts.allow") { " : deny" } else { "" };
    match service.is_list() {
        true => pattern(prefix),
        false => format!("{service}: {}{end}", pattern(prefix)),
    }
}

/// What is written for a denied prefix, around what is `allowed` in it, which is merged; `None` if that is too much.
pub fn pieces(denied: Prefix, allowed: &[Range]) -> Option<Vec<Prefix>> {
    without(denied, allowed, PIECES_MAX)
}

/// Lines that one denied prefix may take because of allowed addresses inside it. One address in an IPv6
/// /64 takes 64.
const PIECES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_denyhosts_wrote() {
        let check = |text: &str, want: &str| {
            let found = of_denyhosts(text.replace(';', "\n").as_bytes(), &TimeZone::UTC);
            let shown = found.iter().map(|Written { line, entry, prefix, stamp }| {
                let stamp = stamp.map_or("-".to_owned(), |at| at.to_string());
                format!("{line} {prefix} {stamp} {entry}")
            });
            assert_eq!(shown.collect::<Vec<_>>().join("|"), want, "{text:?}");
        };
        let (time, told) = ("# DenyHosts: Sat Nov 21 23:38:26 2026 |", "2026-11-21T23:38:26Z");
        check(&format!("{time} sshd: 1.1.1.1;sshd: 1.1.1.1;"), &format!("2 1.1.1.1 {told} sshd: 1.1.1.1"));
        check(&format!("{time} 1.1.1.1;1.1.1.1"), &format!("2 1.1.1.1 {told} 1.1.1.1"));
        let bsd = "ALL: 1.1.1.1 : deny";
        check(&format!("{time} {bsd};{bsd}"), &format!("2 1.1.1.1 {told} {bsd}"));
        let six = "sshd: 2001:db8::1";
        check(&format!("{time} {six};{six}"), &format!("2 2001:db8::1 {told} {six}"));
        let net = "sshd: [2001:db8::]/64";
        check(&format!("{time} {net};{net}"), &format!("2 2001:db8::/64 {told} {net}"));
        // No comment, that of another line, one that cannot be read, and one that is not just above.
        check("sshd: 1.1.1.1;ALL: [2001:db8::1]", "1 1.1.1.1 - sshd: 1.1.1.1|2 2001:db8::1 - ALL: [2001:db8::1]");
        check(&format!("{time} sshd: 1.1.1.1;sshd: 1.1.1.2"), "2 1.1.1.2 - sshd: 1.1.1.2");
        check("# DenyHosts: today | sshd: 1.1.1.1;sshd: 1.1.1.1", "2 1.1.1.1 - sshd: 1.1.1.1");
        check(&format!("{time} sshd: 1.1.1.1;;sshd: 1.1.1.1"), "3 1.1.1.1 - sshd: 1.1.1.1");
        // Others' lines, also where --migrate put a comment above one.
        check("ALL: PARANOID;sshd, ftpd: 1.1.1.1;sshd: 1.1.1.1 1.1.1.2;# sshd: 1.1.1.1;sshd: 1.1.1.1 # mine", "");
        check(&format!("{time} ALL: PARANOID;ALL: PARANOID"), "");
        check("ALL: x \\;sshd: 1.1.1.1;sshd: 1.1.1.2 \\", "");
    }
}
