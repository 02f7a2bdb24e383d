//! Who is at this terminal, and from where: whoever may change something is root, and says which person that is.

use std::io::{BufRead as _, IsTerminal as _};
use std::net::IpAddr;

/// How many parents are looked at for the person's login.
const PARENTS_MAX: usize = 32;

/// The name of the person that became root by sudo or doas, or that is logged in.
pub(super) fn name() -> Option<String> {
    let of = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    of("SUDO_USER").or_else(|| of("DOAS_USER")).or_else(|| of("LOGNAME")).or_else(|| of("USER"))
}

/// Where the person at this terminal is logged in from: sshd says so (`sshd(8)`, `SSH_CONNECTION`). sudo does not hand
/// that on, but the shell that it was called from has it.
pub(super) fn address() -> Option<IpAddr> {
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        return address_of(connection.as_bytes());
    }
    let mut pid = std::os::unix::process::parent_id();
    for _ in 0..PARENTS_MAX {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let connection = environ.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(connection) = connection {
            return address_of(connection);
        }
        pid = parent_of(&std::fs::read(format!("/proc/{pid}/stat")).ok()?).filter(|&parent| parent > 1)?;
    }
    None
}

/// So many are denied at once by an old log without asking.
const UNASKED_MAX: usize = 100;

/// Whether a person agrees that so many are denied. Who said so already, or sits at no terminal, is not asked; nor is anybody for
/// a few.
pub(super) fn agrees_to_deny(many: usize, said_so: bool) -> std::io::Result<bool> {
    if many <= UNASKED_MAX || said_so || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    agrees(&format!("{many} addresses are to be denied. Deny them?"))
}

/// Whether a person who is asked this types yes.
pub(super) fn agrees(question: &str) -> std::io::Result<bool> {
    eprint!("{question} [yes/no] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// The first word of `192.0.2.7 50022 198.51.100.1 22`.
fn address_of(connection: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(connection).ok()?.split(' ').next()?.parse().ok()
}

/// The fourth field of `/proc/PID/stat`; the second, the name, may hold blanks and parentheses.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let behind = memchr::memrchr(b')', stat)?;
    std::str::from_utf8(&stat[behind + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_caller_is() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(address_of(text.as_bytes()), expected.map(|text| text.parse().expect("an address")), "{text}");
        };
        check("192.0.2.7 50022 198.51.100.1 22", Some("192.0.2.7"));
        check("2001:db8::7 50022 2001:db8::1 22", Some("2001:db8::7"));
        check("UNKNOWN 0 UNKNOWN 22", None);
        check("", None);
    }

    #[test]
    fn finds_the_parent() {
        let check = |text: &str, expected| assert_eq!(parent_of(text.as_bytes()), expected, "{text}");
        check("77 (bash) S 76 77 77 34816", Some(76));
        check("77 (a) S 1 (b) S 76 77 77 34816", Some(76));
        check("77 (bash", None);
        check("", None);
    }
}
