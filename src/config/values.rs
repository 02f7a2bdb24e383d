//! What one value may be. Each function makes a final type of it, or says what it expected.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use inputs::journald::follow::Reader;
use inputs::syslog::frame::Framing;
use inputs::syslog::listen::Permitted;
use inputs::syslog::parse::Format;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::duration::{self, BadDuration};
use super::input::{FirstEntry, FirstRead, Listen};
use crate::decide::policy::Threshold;
use crate::decide::prefix::Prefix;
use crate::deny::hosts_deny::Service;
use crate::deny::nft::Table;

/// The longest path of a unix socket, in bytes: `sun_path` is 108 with its end.
const SOCKET_PATH_MAX: usize = 107;

/// The longest name of an input, host or user, in bytes.
const NAME_MAX: usize = 255;

/// Lines that are read as one format: its name in the file.
pub(super) const FORMATS: [(&str, Format); 5] = [
    ("auto", Format::Auto),
    ("syslog", Format::Syslog),
    ("message", Format::Message),
    ("multilog", Format::Multilog),
    ("metalog", Format::Metalog),
];

/// How frames are told apart: its name in the file.
pub(super) const FRAMINGS: [(&str, Framing); 3] =
    [("auto", Framing::Auto), ("newline", Framing::Newline), ("octet-counted", Framing::OctetCounted)];

type Value<'a> = DeValue<'a>;

pub(super) fn text<'a>(value: &'a Value<'a>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| "expected a text in quotes".to_owned())
}

pub(super) fn yes(value: &Value<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "expected true or false, without quotes".to_owned())
}

/// A whole number; `or` names what else could stand there.
fn whole(value: &Value<'_>, range: RangeInclusive<u32>, or: &str) -> Result<u32, String> {
    let expected = || format!("expected a whole number from {} to {}{or}", range.start(), range.end());
    if let Some(text) = value.as_str()
        && text.parse::<u32>().is_ok()
    {
        return Err(expected() + "; leave out the quotes");
    }
    let integer = value.as_integer().ok_or_else(expected)?;
    let number = u32::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| expected())?;
    if range.contains(&number) { Ok(number) } else { Err(expected()) }
}

/// `None` = off.
pub(super) fn threshold(value: &Value<'_>) -> Result<Option<Threshold>, String> {
    match value.as_str() {
        Some("off") => Ok(None),
        _ => whole(value, 0..=u32::MAX, ", or \"off\"").map(|count| Some(Threshold(count))),
    }
}

/// `None` = never.
pub(super) fn permanent_after(value: &Value<'_>) -> Result<Option<u32>, String> {
    if value.as_str() == Some("never") {
        return Ok(None);
    }
    if value.as_integer().is_some_and(|integer| integer.as_str() == "0") {
        return Err("expected 1 or more releases, or \"never\" (DenyHosts' 0); \
                    to deny for ever at once, write deny_for = \"forever\""
            .to_owned());
    }
    whole(value, 1..=u32::MAX, ", or \"never\"").map(Some)
}

/// A user, as the kernel knows it.
pub(super) fn uid(value: &Value<'_>) -> Result<u32, String> {
    whole(value, 0..=u32::MAX, " (a user id)")
}

/// How many attempts one record is.
pub(super) fn times(value: &Value<'_>) -> Result<u32, String> {
    whole(value, 1..=crate::detect::rule::TIMES_MAX, "")
}

pub(super) fn connections(value: &Value<'_>) -> Result<u32, String> {
    whole(value, 1..=65_536, "")
}

/// Messages a second; one a second would still be one too few for some logins.
pub(super) fn rate(value: &Value<'_>) -> Result<u32, String> {
    whole(value, 100..=u32::MAX, " (messages a second)")
}

/// A prefix length; below 8 and 32 one failure too many would deny a continent.
pub(super) fn bits(value: &Value<'_>, range: RangeInclusive<u8>) -> Result<u8, String> {
    let wide = u32::from(*range.start())..=u32::from(*range.end());
    whole(value, wide, " (a prefix length, in bits)").map(|bits| u8::try_from(bits).unwrap_or(*range.end()))
}

/// At least a second.
pub(super) fn duration(value: &Value<'_>) -> Result<Duration, String> {
    duration_or(value, None).map(|duration| duration.expect("without a word for it there is no `None`"))
}

/// `None` = `word`, which is `"never"` or `"forever"`.
pub(super) fn duration_unless(value: &Value<'_>, word: &str) -> Result<Option<Duration>, String> {
    duration_or(value, Some(word))
}

fn duration_or(value: &Value<'_>, word: Option<&str>) -> Result<Option<Duration>, String> {
    let or = word.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
    if let Some(integer) = value.as_integer() {
        return Err(format!("{}{or}", BadDuration::NoUnit(integer.to_string())));
    }
    let text = value.as_str().ok_or_else(|| format!("{}{or}", BadDuration::Shape))?;
    if word == Some(text) {
        return Ok(None);
    }
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err(format!("expected at least \"1s\"{or}")),
        Ok(duration) => Ok(Some(duration)),
        Err(bad) => Err(format!("{bad}{or}")),
    }
}

pub(super) fn log_level(value: &Value<'_>) -> Result<tracing::Level, String> {
    let levels = [
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    one_of(value, &levels)
}

pub(super) fn format(value: &Value<'_>) -> Result<Format, String> {
    one_of(value, &FORMATS)
}

pub(super) fn framing(value: &Value<'_>) -> Result<Framing, String> {
    one_of(value, &FRAMINGS)
}

pub(super) fn permitted(value: &Value<'_>) -> Result<Permitted, String> {
    let expected = "expected a name in certificates, such as \"web1.example.org\", or \"*.example.org\" for all with one more label";
    text(value)?.parse().map_err(|_| expected.to_owned())
}

/// A program that we know and that can write to its standard error: sshd.
pub(super) fn identifier(value: &Value<'_>) -> Result<&'static str, String> {
    one_of(value, &[("sshd", "sshd")])
}

pub(super) fn first_read(value: &Value<'_>) -> Result<FirstRead, String> {
    if value.as_str().is_some_and(|text| duration::parse(text).is_ok()) {
        return Err("a file cannot be entered at a time, only a journal can; write \"now\" or \"beginning\"".to_owned());
    }
    one_of(value, &[("now", FirstRead::Now), ("beginning", FirstRead::Beginning)])
}

pub(super) fn first_entry(value: &Value<'_>) -> Result<FirstEntry, String> {
    if let Some(time) = value.as_str().and_then(|text| duration::parse(text).ok()) {
        return Ok(FirstEntry::Back(time));
    }
    one_of(value, &[("now", FirstEntry::Now), ("beginning", FirstEntry::Beginning)])
        .map_err(|_| "expected \"now\", \"beginning\" or a time back, such as \"1d\"".to_owned())
}

/// The names of the readers of a journal.
pub(super) const READERS: [(&str, Reader); 3] =
    [("auto", Reader::Auto), ("native", Reader::Native), ("journalctl", Reader::Journalctl)];

pub(super) fn reader(value: &Value<'_>) -> Result<Reader, String> {
    one_of(value, &READERS)
}

pub(super) fn one_of<T: Copy>(value: &Value<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let found = value.as_str();
    choices.iter().find(|(name, _)| found == Some(*name)).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("expected {} or {last}", others.join(", ")),
            _ => format!("expected {}", names.concat()),
        }
    })
}

/// An absolute path: what it is relative to would depend on who starts the daemon.
pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, String> {
    let text = text(value)?;
    if !text.starts_with('/') || text.contains('\0') {
        return Err("expected an absolute path, one that begins with /".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// An absolute path that a unix socket can have.
pub(super) fn socket_path(value: &Value<'_>) -> Result<PathBuf, String> {
    let path = path(value)?;
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(too_long_for_a_socket());
    }
    Ok(path)
}

fn too_long_for_a_socket() -> String {
    format!("a socket's path has at most {SOCKET_PATH_MAX} bytes; choose a shorter one")
}

/// A unix socket's permissions: an octal number in quotes, since TOML has no leading zeros.
pub(super) fn mode(value: &Value<'_>) -> Result<u32, String> {
    let expected = || "expected permissions as an octal number in quotes, such as \"0660\"".to_owned();
    let text = value.as_str().ok_or_else(expected)?;
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(expected)
}

pub(super) fn name(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    if text.trim().is_empty() || text.len() > NAME_MAX || text.contains(char::is_control) {
        return Err(format!("expected a name of 1 to {NAME_MAX} bytes, without control characters"));
    }
    Ok(text.to_owned())
}

/// A host as records name it: lower case, the first label; an address is kept whole.
pub(super) fn host(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || text.starts_with('.') || text.len() > NAME_MAX || !text.chars().all(of_host) {
        return Err("expected a host name, such as \"web1\"".to_owned());
    }
    let host = text.to_ascii_lowercase();
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(host);
    }
    Ok(host.split('.').next().unwrap_or_default().to_owned())
}

pub(super) fn timezone(value: &Value<'_>) -> Result<TimeZone, String> {
    let expected = || {
        "expected the name of a time zone, such as \"Europe/Berlin\" or \"UTC\", that /usr/share/zoneinfo has"
            .to_owned()
    };
    TimeZone::get(text(value)?).ok().filter(|zone| zone.iana_name().is_some()).ok_or_else(expected)
}

/// The name of a user, byte for byte as the log prints it.
pub(super) fn is_user(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.iter().any(u8::is_ascii_control)
}

pub(super) fn user(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    if is_user(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected a user name of 1 to {NAME_MAX} bytes, without control characters"))
}

pub(super) fn prefix(value: &Value<'_>) -> Result<Prefix, String> {
    let expected = || "expected an address or a prefix, such as \"192.0.2.0/24\" or \"2001:db8::/64\"".to_owned();
    text(value)?.parse().map_err(|_| expected())
}

pub(super) fn listen(value: &Value<'_>) -> Result<Listen, String> {
    let text = text(value)?;
    let expected = || {
        "expected \"udp://ADDRESS:PORT\", \"tcp://ADDRESS:PORT\", \"tls://ADDRESS:PORT\", \"unix:///PATH\" or \
         \"unix-datagram:///PATH\""
            .to_owned()
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    match scheme {
        "udp" => address(rest).map(Listen::Udp),
        "tcp" => address(rest).map(Listen::Tcp),
        // Whose certificates, other keys say.
        "tls" => address(rest).map(|address| Listen::Tls(address, Box::default())),
        "unix" | "unix-datagram" if !rest.starts_with('/') || rest.contains('\0') => {
            Err(format!("expected an absolute path behind it: three slashes, as in \"{scheme}:///run/denyd/log\""))
        }
        "unix" | "unix-datagram" if rest.len() > SOCKET_PATH_MAX => Err(too_long_for_a_socket()),
        "unix" => Ok(Listen::UnixStream(PathBuf::from(rest))),
        "unix-datagram" => Ok(Listen::UnixDatagram(PathBuf::from(rest))),
        _ => Err(expected()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an address of this machine and a port, \
                    such as 192.0.2.1:514, [2001:db8::1]:514, or 0.0.0.0:514 for all addresses";
    let address: SocketAddr = text.parse().map_err(|_| expected.to_owned())?;
    if address.port() == 0 {
        return Err("expected a port from 1 to 65535; syslog's is 514".to_owned());
    }
    Ok(address)
}

/// The name of an nftables table.
pub(super) fn nft_table(value: &Value<'_>) -> Result<Table, String> {
    text(value)?.parse().map_err(|problem| format!("expected {problem}"))
}

/// What stands before the colon in hosts.deny.
pub(super) fn service(value: &Value<'_>) -> Result<Service, String> {
    text(value)?.parse().map_err(|problem| format!("expected {problem}"))
}
