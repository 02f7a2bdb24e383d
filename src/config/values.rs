//! What the values of denyd's own keys may be.

use std::net::SocketAddr;
use std::path::PathBuf;

use inputs::syslog::listen::Listen;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::codec::{Codec, text_that};
use crate::text::quoted;

/// The longest path of a unix socket, in bytes: `sun_path` is 108 with its end.
const SOCKET_PATH_MAX: usize = 107;

/// The longest path, in bytes: the system's 4096, less what files in it are called.
const PATH_MAX: usize = 4000;

/// The longest name of an input, host, user or file, in bytes.
const NAME_MAX: usize = 255;

/// Any text.
pub(super) fn any() -> Codec<String> {
    text_that(|_| true, "")
}

/// An absolute path: what it is relative to would depend on who starts the daemon.
pub(super) fn path() -> Codec<PathBuf> {
    let parse = |text: &str| match text.starts_with('/') && !text.contains('\0') {
        true if text.len() > PATH_MAX || text.split('/').any(|name| name.len() > NAME_MAX) => {
            Err(format!("a path has at most {PATH_MAX} bytes, and {NAME_MAX} between slashes"))
        }
        true => Ok(PathBuf::from(text)),
        false => Err("expected an absolute path, one that begins with /".to_owned()),
    };
    Codec::text(parse, |path| path.to_string_lossy().into_owned())
}

/// An absolute path that a unix socket can have.
pub(super) fn socket_path() -> Codec<PathBuf> {
    path().then(fits_a_socket, PathBuf::clone)
}

fn fits_a_socket(path: PathBuf) -> Result<PathBuf, String> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(format!("a socket's path has at most {SOCKET_PATH_MAX} bytes; choose a shorter one"));
    }
    Ok(path)
}

/// A unix socket's permissions: an octal number in quotes, since TOML has no leading zeros.
pub(super) fn mode() -> Codec<u32> {
    let read = |value: &DeValue<'_>| {
        let text = value.as_str().filter(|text| (3..=4).contains(&text.len()) && !text.starts_with('+'));
        let mode = text.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| "expected permissions as an octal number in quotes, such as \"0660\"".to_owned())
    };
    Codec::new(read, |mode| quoted(&format!("{mode:04o}")))
}

/// What an input is called.
pub(super) fn name() -> Codec<String> {
    let fits = |text: &str| !text.trim().is_empty() && text.len() <= NAME_MAX && !text.contains(char::is_control);
    text_that(fits, format!("expected a name of 1 to {NAME_MAX} bytes, without control characters"))
}

/// A host as records name it, in lower case.
pub(super) fn host() -> Codec<String> {
    let parse = |text: &str| {
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if text.is_empty() || text.starts_with('.') || text.len() > NAME_MAX || !text.chars().all(of_host) {
            return Err("expected a host name, such as \"web1\"".to_owned());
        }
        Ok(text.to_ascii_lowercase())
    };
    Codec::text(parse, String::clone)
}

/// A time zone that has a name.
pub(super) fn timezone() -> Codec<TimeZone> {
    let expected =
        "expected the name of a time zone, such as \"Europe/Berlin\" or \"UTC\", that /usr/share/zoneinfo has";
    let parse = |text: &str| {
        let zone = TimeZone::get(text).ok().filter(|zone| zone.iana_name().is_some());
        zone.ok_or_else(|| expected.to_owned())
    };
    Codec::text(parse, |zone| zone.iana_name().unwrap_or_default().to_owned())
}

/// Whether this is the name of a user, byte for byte as the log prints it.
pub(super) fn is_user(name: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.iter().any(u8::is_ascii_control)
}

/// A user.
pub(super) fn user() -> Codec<String> {
    let expected = format!("expected a user name of 1 to {NAME_MAX} bytes, without control characters");
    text_that(|text| is_user(text.as_bytes()), expected)
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// A user of this machine, by name.
pub(super) fn local_user() -> Codec<Trusted> {
    let find = |name: String| match nix::unistd::User::from_name(&name) {
        Ok(Some(user)) => Ok(Trusted { name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) => {
            Err("this machine has no such user; `ps -o user= -C rsyslogd` says which one rsyslogd runs as".to_owned())
        }
        Err(error) => Err(format!("the users of this machine cannot be read: {error}")),
    };
    user().then(find, |user| user.name.clone())
}

/// Where to listen. Whose certificates TLS has, other keys say.
pub(super) fn listen() -> Codec<Listen> {
    let expected = "expected \"udp://ADDRESS:PORT\", \"tcp://ADDRESS:PORT\", \"tls://ADDRESS:PORT\", \
                    \"unix:///PATH\" or \"unix-datagram:///PATH\"";
    let parse = move |text: &str| {
        let (scheme, rest) = text.split_once("://").ok_or(expected)?;
        match scheme {
            "udp" => address(rest).map(Listen::Udp),
            "tcp" => address(rest).map(Listen::Tcp),
            "tls" => address(rest).map(|address| Listen::Tls(address, Box::default())),
            "unix" => socket(scheme, rest).map(Listen::UnixStream),
            "unix-datagram" => socket(scheme, rest).map(Listen::UnixDatagram),
            _ => Err(expected.to_owned()),
        }
    };
    Codec::text(parse, url)
}

/// Where is listened, as in the configuration.
pub(super) fn url(listen: &Listen) -> String {
    match listen {
        Listen::Udp(address) => format!("udp://{address}"),
        Listen::Tcp(address) => format!("tcp://{address}"),
        Listen::Tls(address, _) => format!("tls://{address}"),
        Listen::UnixStream(path) => format!("unix://{}", path.display()),
        Listen::UnixDatagram(path) => format!("unix-datagram://{}", path.display()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an address of this machine and a port, \
                    such as 192.0.2.1:514, [2001:db8::1]:514, or 0.0.0.0:514 for all addresses";
    let address: SocketAddr = text.parse().map_err(|_| expected)?;
    if address.port() == 0 {
        return Err("expected a port from 1 to 65535; syslog's is 514".to_owned());
    }
    Ok(address)
}

fn socket(scheme: &str, text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("expected an absolute path behind it: three slashes, as in \"{scheme}:///run/denyd/log\""));
    }
    fits_a_socket(PathBuf::from(text))
}
