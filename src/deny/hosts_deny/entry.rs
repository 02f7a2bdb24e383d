//! One entry of hosts.deny, in every form that DenyHosts wrote; everything else there is an administrator's.
//!
//! Pure. The forms: `sshd: 192.0.2.1`; a bare `192.0.2.1`; FreeBSD's `sshd: 192.0.2.1 : deny` and `192.0.2.1 : deny`; IPv6 in
//! brackets, and without them as DenyHosts wrote it; and each with `# DenyHosts: TIME` behind it, as DenyHosts 0.9.8 did.

use std::net::{IpAddr, Ipv4Addr};

use crate::decide::prefix::Prefix;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The entry without what is behind it.
    pub(super) text: &'a str,
    /// What stands before the address; empty for a bare one.
    pub(super) service: &'a str,
    pub(super) prefix: Prefix,
    /// Whether FreeBSD's `: deny` is behind it, without which a line of hosts.allow lets in.
    pub(super) says_deny: bool,
    /// The comment behind it, from `#` on; empty if there is none.
    pub(super) comment: &'a str,
}

/// Reads a line as an entry of one address or network; `None` for any other: a comment, a list, a name, a wildcard.
pub(super) fn entry(line: &str) -> Option<Entry<'_>> {
    let (text, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
    let text = text.trim();
    let (denied, says_deny) = match text.rsplit_once(':') {
        Some((denied, option)) if option.trim().eq_ignore_ascii_case("deny") => (denied.trim_end(), true),
        _ => (text, false),
    };
    let entry = |service, pattern| address(pattern).map(|prefix| Entry { text, service, prefix, says_deny, comment });
    // `2001:db8::1` has no service.
    entry("", denied).or_else(|| {
        let (service, pattern) = denied.split_once(':')?;
        let service = service.trim_end();
        // With `@` it names an address of ours, too. BLOCK_SERVICE could be a list.
        let is_plain = !service.is_empty() && !service.contains(['@', '/', '[']);
        entry(service, pattern.trim_start()).filter(|_| is_plain)
    })
}

/// The prefix that an entry denies; `None` for what is none.
pub(super) fn denied(text: &str) -> Option<Prefix> {
    entry(text).map(|entry| entry.prefix)
}

/// The prefix that a pattern of libwrap means: `192.0.2.1`, `192.0.2.0/255.255.255.0`, `[2001:db8::]/64`.
pub(super) fn address(pattern: &str) -> Option<Prefix> {
    let (address, length) = match pattern.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(address, _)| address.contains(':'))?,
        None => pattern.split_at(pattern.find('/').unwrap_or(pattern.len())),
    };
    let address: IpAddr = address.parse().ok()?;
    if length.is_empty() {
        return Some(Prefix::host(address));
    }
    let length = length.strip_prefix('/')?;
    let of_mask = |mask: u32| (mask.leading_ones() == mask.count_ones()).then_some(mask.leading_ones() as u8);
    let mask = || of_mask(length.parse::<Ipv4Addr>().ok()?.to_bits());
    let length = length.parse().ok().or_else(mask)?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then(|| Prefix::of(address, length))
}

/// The pattern of `prefix` as every libwrap reads it: `192.0.2.1`, `192.0.2.0/255.255.255.0`, `[2001:db8::]/64`.
pub(super) fn pattern(prefix: &Prefix) -> String {
    match prefix.address() {
        IpAddr::V4(v4) if prefix.is_host() => v4.to_string(),
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.bits())).unwrap_or(0);
            format!("{v4}/{}", Ipv4Addr::from(mask))
        }
        IpAddr::V6(v6) if prefix.is_host() => format!("[{v6}]"),
        IpAddr::V6(v6) => format!("[{v6}]/{}", prefix.bits()),
    }
}

/// The time and the entry of a `# DenyHosts: TIME | ENTRY` line; `None` for any other line.
pub(super) fn stamped(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(COMMENT)?;
    let at = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR)?;
    Some((&rest[..at], &rest[at + SEPARATOR.len()..]))
}

/// Whether a text is the beginning of a stamp; `Some(Some(entry))` if as much as the beginning of its entry is there.
pub(super) fn begins_stamp(text: &[u8]) -> Option<Option<&[u8]>> {
    match stamped(text) {
        Some((_, entry)) => Some(Some(entry)),
        None if text.starts_with(COMMENT) || COMMENT.starts_with(text) => Some(None),
        None => None,
    }
}

/// The line of a stamp above an entry, without its end.
pub(super) fn stamp(time: &str, entry: &[u8]) -> Vec<u8> {
    [COMMENT, time.as_bytes(), SEPARATOR, entry].concat()
}

const COMMENT: &[u8] = b"# DenyHosts: ";
const SEPARATOR: &[u8] = b" | ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_denyhosts_wrote() {
        let check = |line: &str, want: Option<(&str, &str)>| {
            let got = entry(line).map(|entry| (entry.service.to_owned(), entry.prefix.to_string()));
            assert_eq!(got, want.map(|(service, prefix)| (service.to_owned(), prefix.to_owned())), "{line:?}");
        };
        check("sshd: 192.0.2.1", Some(("sshd", "192.0.2.1")));
        check("ALL:192.0.2.1\r", Some(("ALL", "192.0.2.1")));
        check("192.0.2.1", Some(("", "192.0.2.1")));
        check("sshd: 192.0.2.1 : deny", Some(("sshd", "192.0.2.1")));
        check("sshd : 192.0.2.1: DENY", Some(("sshd", "192.0.2.1")));
        check("192.0.2.1 : deny", Some(("", "192.0.2.1")));
        check("sshd, vsftpd: 192.0.2.1", Some(("sshd, vsftpd", "192.0.2.1")));
        check("sshd: 2001:db8::1", Some(("sshd", "2001:db8::1")));
        check("sshd: [2001:db8::1]", Some(("sshd", "2001:db8::1")));
        check("sshd: [2001:db8::1] : deny", Some(("sshd", "2001:db8::1")));
        check("2001:db8::1", Some(("", "2001:db8::1")));
        check("2001:db8::1 : deny", Some(("", "2001:db8::1")));
        check("[2001:db8::]/64", Some(("", "2001:db8::/64")));
        check("sshd: 192.0.2.0/255.255.255.0", Some(("sshd", "192.0.2.0/24")));
        check("sshd: 192.0.2.1 # DenyHosts: Sat Nov 21 23:38:26 2026", Some(("sshd", "192.0.2.1")));
        for others in [
            "",
            "# sshd: 192.0.2.1",
            "ALL: PARANOID",
            "ALL: a, b",
            "sshd: 192.0.2.1, 192.0.2.2",
            "sshd: 192.0.2.1 192.0.2.2",
            "sshd@192.0.2.2: 192.0.2.1",
            "sshd: 192.0.2.1 : spawn /bin/true",
            "sshd: 192.0.2.1 : allow",
            "sshd: 192.0.2.",
            "sshd: .example.org",
            "sshd: ALL EXCEPT 192.0.2.1",
            "sshd: /etc/hosts.evil",
            "sshd: user@192.0.2.1",
            ": 192.0.2.1",
            "sshd: [192.0.2.1]",
            "deny",
        ] {
            check(others, None);
        }
    }

    #[test]
    fn patterns() {
        let check = |prefix: &str, want: &str| {
            let got = pattern(&prefix.parse().unwrap());
            assert_eq!(got, want);
            assert_eq!(denied(&got), prefix.parse().ok());
        };
        check("192.0.2.1", "192.0.2.1");
        check("192.0.2.0/24", "192.0.2.0/255.255.255.0");
        check("0.0.0.0/0", "0.0.0.0/0.0.0.0");
        check("2001:db8::1", "[2001:db8::1]");
        check("2001:db8::/64", "[2001:db8::]/64");
        check("::ffff:192.0.2.1", "192.0.2.1");
        for bad in [
            "ALL",
            "[192.0.2.1]",
            "192.0.2.",
            ".example.org",
            "192.0.2.1/x",
            "192.0.2.1/99",
            "192.0.2.0/255.0.255.0",
            "[2001:db8::1",
            "[2001:db8::]x",
            "[2001:db8::]/129",
            "",
        ] {
            assert_eq!(denied(bad), None, "{bad}");
        }
    }
}
