//! What strangers can write into sshd's messages, by its format strings, and that it never moves the address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use inputs::record::Record;

use super::parse;
use crate::detect::detect;
use crate::detect::rule::Rules;

/// Who it is, and whom strangers name.
const PEER: &str = "192.0.2.7";
const VICTIM: &str = "198.51.100.9";

/// Which bytes a text can hold as sshd prints it. `log.c` escapes what is not printable (`strnvis`), so that no text
/// has a line end, a NUL ends it or is refused, and a backslash before digits is all that is left of other bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bytes {
    /// All that is printable.
    Any,
    /// The same but a colon: `auth1.c` and `auth2.c` cut a user's name there, before anything logs it.
    NoColon,
    /// Letters, digits, `.`, `-` and `_`: what `canohost.c` takes for a host's name.
    Host,
}

use Bytes::{Any, Host, NoColon};

/// A format: the source file and its versions, `<T>` for the text and `<A>` for the address, what the text can hold,
/// how long it can be before it is escaped, and whether the address is always found.
type Format = (&'static str, &'static str, Bytes, usize, bool);

#[rustfmt::skip]
const FORMATS: &[Format] = &[
    ("auth.c 3.9-", "Failed password for invalid user <T> from <A> port 22 ssh2", NoColon, 100, true),
    ("auth.c 3.9-", "Failed keyboard-interactive/pam for <T> from <A> port 22 ssh2", NoColon, 100, true),
    ("auth.c 3.9-7.4, protocol 1", "Failed password for <T> from <A> port 22", NoColon, 100, true),
    ("auth.c 6.2-", "Failed publickey for invalid user <T> from <A> port 22 ssh2: RSA SHA256:abc", NoColon, 100, true),
    ("auth.c 6.2-", "Failed publickey for bob from <A> port 22 ssh2: RSA-CERT SHA256:abc ID <T> (serial 5) CA RSA SHA256:x", Any, 150, true),
    ("auth.c 6.2-", "Accepted publickey for bob from <A> port 22 ssh2: RSA-CERT SHA256:abc ID <T> (serial 5) CA RSA SHA256:x", Any, 150, true),
    ("auth.c 3.9-", "Accepted password for <T> from <A> port 22 ssh2", NoColon, 100, true),
    ("auth.c 3.9-", "Postponed keyboard-interactive for invalid user <T> from <A> port 22 ssh2 [preauth]", NoColon, 100, true),
    ("auth.c 6.2-", "Partial publickey for <T> from <A> port 22 ssh2", NoColon, 100, true),
    ("auth2-hostbased.c 6.2-", "Failed hostbased for bob from <A> port 22 ssh2: RSA SHA256:x, client user \"<T>\", client host \"<T>\"", Any, 100, true),
    ("auth1.c 3.9-6.1", "Failed rhosts-rsa for bob from <A> port 22 ruser <T>", Any, 100, false),
    ("auth1.c 6.2-7.4", "Failed rhosts-rsa for bob from <A> port 22 ssh1: ruser <T>", Any, 100, false),
    ("auth2.c 3.9-7.4, without privilege separation", "Failed <T> for root from <A> port 22 ssh2", Any, 800, false),
    ("auth2.c 3.9-7.4, without privilege separation", "Failed publickey<T> for root from <A> port 22 ssh2", Any, 800, false),
    ("auth.c 6.9-", "error: maximum authentication attempts exceeded for invalid user <T> from <A> port 22 ssh2 [preauth]", NoColon, 100, true),
    ("auth.c 7.2-", "Invalid user <T> from <A> port 22", NoColon, 100, true),
    ("auth.c 3.9-7.1", "Invalid user <T> from <A>", NoColon, 100, true),
    ("packet.c 7.6-", "Connection closed by invalid user <T> <A> port 22 [preauth]", NoColon, 187, true),
    ("packet.c 7.6-", "Connection reset by authenticating user <T> <A> port 22 [preauth]", NoColon, 187, true),
    ("packet.c 7.6-", "Disconnected from invalid user <T> <A> port 22 [preauth]", NoColon, 187, true),
    ("packet.c 7.6-", "Disconnecting invalid user <T> <A> port 22: Too many authentication failures [preauth]", NoColon, 187, true),
    ("auth2.c 7.6-", "Disconnecting authenticating user bob <A> port 22: Change of username or service not allowed: (bob,<T>) -> (x,<T>) [preauth]", Any, 100, true),
    ("packet.c 7.6-", "ssh_dispatch_run_fatal: Connection from invalid user <T> <A> port 22: Broken pipe [preauth]", NoColon, 187, true),
    ("packet.c 8.4-", "Connection from authenticating user <T> <A> port 22 timed out [preauth]", NoColon, 187, true),
    ("serverloop.c 7.6-", "Timeout, client not responding from user <T> <A> port 22", NoColon, 187, true),
    ("packet.c 7.2-", "Received disconnect from <A> port 22:11: <T> [preauth]", Any, 400, true),
    ("packet.c 3.9-7.1", "Received disconnect from <A>: 11: <T>", Any, 400, true),
    ("packet.c 7.0-", "Unable to negotiate with <A> port 22: no matching cipher found. Their offer: <T> [preauth]", Any, 800, true),
    ("kex.c 3.9-6.2", "fatal: no matching cipher found: client <T> server aes128-ctr", Any, 800, false),
    ("sshd.c 7.4-7.9", "Protocol major versions differ for <A> port 22: SSH-2.0-OpenSSH_7.4 vs. <T>", Any, 200, true),
    ("sshd.c 3.9-7.4", "probed from <A> with <T>.  Don't panic.", Any, 200, true),
    ("sshd.c 3.9-7.9", "Bad protocol version identification '<T>' from <A> port 22", Any, 200, true),
    ("kex.c 8.0-", "error: kex_exchange_identification: client sent invalid protocol identifier \"<T>\"", Any, 256, false),
    ("auth-pam.c 3.9-", "error: PAM: Authentication failure for illegal user <T> from <A>", NoColon, 100, true),
    ("pam_unix", "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=<A>  user=<T>", NoColon, 300, true),
    ("pam_unix", "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=<A>  user=<T>", NoColon, 300, true),
    ("pam_krb5", "pam_krb5(sshd:auth): authentication failure; logname=<T> uid=0 euid=0 tty=ssh ruser= rhost=<A>", NoColon, 300, false),
    ("auth2.c 3.9-7.1", "input_userauth_request: invalid user <T> [preauth]", NoColon, 800, false),
    ("packet.c 3.9-7.5", "Disconnecting: Too many authentication failures for <T> [preauth]", NoColon, 100, false),
    ("auth2-hostbased.c 3.9-", "userauth_hostbased mismatch: client sends <T>, but we resolve <A> to host.example.org", Any, 800, false),
    ("auth2-pubkeyfile.c 9.0-", "error: Refusing certificate ID \"<T>\" serial=5 signed by RSA CA SHA256:x: name is not a listed principal", Any, 800, false),
    ("auth.c 3.9-", "Login name <T> does not match stored username bob", NoColon, 100, false),
    ("libwrap", "refused connect from <T>@<A>", Any, 128, true),
    ("libwrap", "refused connect from <T> (<A>)", Host, 128, true),
    ("canohost.c 5.1-", "reverse mapping checking getaddrinfo for <T> [<A>] failed - POSSIBLE BREAK-IN ATTEMPT!", Host, 255, true),
    ("canohost.c 3.9-", "Address <A> maps to <T>, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!", Host, 255, true),
    ("canohost.c 3.9-", "Nasty PTR record \"<T>\" is set up for <A>, ignoring", Host, 255, true),
    ("auth-options.c 3.9-", "Authentication tried for bob with correct key but not from a permitted host (host=<T>, ip=<A>).", Host, 255, true),
];

fn filled(format: &str, text: &str, address: &str) -> String {
    format.replace("<A>", address).replace("<T>", text)
}

/// What is left of a text where only these bytes can be.
fn as_printed(text: &str, bytes: Bytes) -> String {
    match bytes {
        Any => text.to_owned(),
        NoColon => text.split(':').next().unwrap_or_default().to_owned(),
        Host => text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect(),
    }
}

/// Every run of words of each message, about the victim.
fn imitations() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (_, format, ..) in FORMATS {
        let message = filled(format, "root", VICTIM);
        let words: Vec<_> = message.split(' ').collect();
        for from in 0..words.len() {
            all.extend((from + 1..=words.len()).map(|to| words[from..to].join(" ")));
        }
    }
    all
}

/// The address that sshd's message yields.
fn found(message: &[u8]) -> Option<IpAddr> {
    let rules = Rules::default();
    let record = Record { pid: Some(12_345), ..Record::of(b"sshd", message) };
    detect(&record, &rules)?.peer.address().map(IpAddr::from)
}

#[test]
fn no_text_moves_the_address() {
    let peer: IpAddr = PEER.parse().unwrap();
    let imitations = imitations();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (source, format, bytes, max, told) in FORMATS {
        let texts: BTreeSet<_> = imitations.iter().map(|text| as_printed(text, *bytes)).collect();
        for text in texts {
            for mut text in [text.clone(), format!("x {text}"), format!("{text} ")] {
                text.truncate(*max);
                let message = filled(format, &text, PEER);
                let found = parse(message.as_bytes(), false).and_then(|event| event.peer.address()).map(IpAddr::from);
                cases += 1;
                if found != Some(peer) && (found.is_some() || *told) {
                    wrong.push(format!("{found:?} ({source}): {message}"));
                }
            }
        }
    }
    assert!(
        cases > 100_000 && wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// `<38>Nov 21 23:26:32 sshd[12345]: `
const BEFORE: usize = 33;

/// A text that is pushed to where somebody cuts has the last word, and nobody is told by it.
#[test]
fn no_cut_moves_the_address() {
    let peer: IpAddr = PEER.parse().unwrap();
    let imitations: Vec<_> = imitations().into_iter().filter(|text| text.contains(VICTIM)).collect();
    let (mut cases, mut wrong) = (0, Vec::new());
    let mut check = |message: &str| {
        let found = found(message.as_bytes());
        cases += 1;
        if found.is_some_and(|found| found != peer) {
            wrong.push(format!("{found:?}, {} bytes: {message}", message.len()));
        }
    };
    // sshd's own end, those of BusyBox, and what all receivers must take (RFC 5424).
    let limits = [500, 255 - BEFORE, 511 - BEFORE, 480 - BEFORE];
    for (_, format, bytes, ..) in FORMATS {
        let head = filled(format.split("<T>").next().unwrap(), "", PEER);
        for text in imitations.iter().step_by(3) {
            let text = as_printed(text, *bytes);
            for limit in limits {
                let Some(padding) = limit.checked_sub(head.len() + text.len() + 2) else { continue };
                for name in [
                    // The cut comes right behind the text, or within the blanks behind it.
                    format!("{} {text} {}", "x".repeat(padding + 1), "y".repeat(40)),
                    format!("{} {text}{}", "x".repeat(padding), " ".repeat(40)),
                    format!("{} {text}1 y", "x".repeat(padding + 1)),
                ] {
                    let mut message = filled(format, &name, PEER);
                    message.truncate(limit);
                    check(&message);
                }
            }
        }
    }
    // journald takes blanks off the end, and a byte of a name may be escaped as four or five. Only a method's length
    // has no bound, without privilege separation: what is left of such a line after that is, to the letter, a true one.
    // And sshd does not cut what PAM's modules write.
    let of_sshd = |source: &str| !source.ends_with("separation") && !source.starts_with("pam_");
    for (_, format, bytes, max, _) in FORMATS.iter().filter(|(source, ..)| of_sshd(source)) {
        for escaped in 0..*max {
            for (text, escape) in imitations.iter().zip(["\\377", "\\\\377"].iter().cycle()).step_by(23) {
                let text = as_printed(text, *bytes);
                let Some(blanks) = max.checked_sub(escaped + text.len() + 1) else { continue };
                let mut message =
                    filled(format, &format!("{} {text}{}", escape.repeat(escaped), " ".repeat(blanks)), PEER);
                message.truncate(500);
                check(message.trim_end());
            }
        }
    }
    assert!(
        cases > 100_000 && wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// Else strangers could make a source look as if nobody understood it.
#[test]
fn what_was_cut_within_a_text_is_known() {
    let unknown = |message: &String| parse(message.as_bytes(), false).is_none();
    let cut = FORMATS.iter().filter(|(.., bytes, _, _)| *bytes != Host).map(|(_, format, ..)| {
        let mut message = filled(format, &"\\377".repeat(125), PEER);
        message.truncate(500);
        message
    });
    assert_eq!(cut.filter(unknown).collect::<Vec<_>>(), [""; 0]);
}
