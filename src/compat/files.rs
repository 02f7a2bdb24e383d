//! The files of DenyHosts' work directory (`WORK_DIR`), read and written in its own formats.
//!
//! Pure but for [`load`]: bytes in, values out, and back. All are text, a record a line. DenyHosts' manual does not tell
//! the formats: they are what its 3.1.2 writes and reads back.
//!
//! | file | a line |
//! |---|---|
//! | `hosts`, `hosts-valid`, `hosts-root`, `hosts-restricted` | `ADDRESS:COUNT:TIME` |
//! | `users-invalid`, `users-valid` | `USER:COUNT:TIME` |
//! | `users-hosts`, `suspicious-logins` | `USER - ADDRESS:COUNT:TIME` |
//! | `purge-history` | `ADDRESS:TIMES:TIME` |
//! | `offset` | two lines: the first one of the log, and how many bytes of it were read |
//! | `sync-hosts`, `sync-hosts.tmp` | `ADDRESS` |
//! | `sync-received` | `ADDRESS:TIME` |
//! | `sync-timestamp` | seconds since 1970, without a line end |
//! | `allowed-hosts`, `allowed-warned-hosts`, `restricted-usernames` | a word; `#` begins a comment |
//!
//! A time is C's asctime in local time, as `Sat Nov 21 23:38:26 2026`; where an old version wrote none it is unknown.
//!
//! DenyHosts cuts a line at its first `:`, and so loses IPv6 addresses and users such as `a:b`. It is read from the right here,
//! which finds them. Written is `%3A` instead, as in a URL: a byte that is no printable ASCII, `%`, `:`, and a blank at either
//! end of a name becomes `%` and two digits in capitals. Only what is written so is read as such: `100%` is `100%`.
//!
//! A line that is none is never dropped in silence: it comes back as [`Bad`], with all its bytes, and whoever writes the file
//! anew must put it somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use crate::text::{asctime, from_asctime};

/// Failures of unknown users, by address.
pub const HOSTS: &str = "hosts";
/// Failures of known users, by address.
pub const HOSTS_VALID: &str = "hosts-valid";
/// Failures of root, by address.
pub const HOSTS_ROOT: &str = "hosts-root";
/// Failures of restricted users, by address.
pub const HOSTS_RESTRICTED: &str = "hosts-restricted";
/// Failures of unknown users, by user.
pub const USERS_INVALID: &str = "users-invalid";
/// Failures of known users, by user.
pub const USERS_VALID: &str = "users-valid";
/// Failures of known users, by user and address.
pub const USERS_HOSTS: &str = "users-hosts";
/// Logins after too many failures, by user and address.
pub const SUSPICIOUS_LOGINS: &str = "suspicious-logins";
/// How often, and when last, a deny of an address ended.
pub const PURGE_HISTORY: &str = "purge-history";
/// How far the log was read.
pub const OFFSET: &str = "offset";
/// Who is to be told to the synchronisation server.
pub const SYNC_HOSTS: &str = "sync-hosts";
/// The same, while it is told.
pub const SYNC_HOSTS_TMP: &str = "sync-hosts.tmp";
/// Whom the server told of.
pub const SYNC_RECEIVED: &str = "sync-received";
/// When the server was asked last, by its own clock.
pub const SYNC_TIMESTAMP: &str = "sync-timestamp";
/// Who is never denied.
pub const ALLOWED_HOSTS: &str = "allowed-hosts";
/// Of them, those of whom it was said that they are in hosts.deny.
pub const ALLOWED_WARNED_HOSTS: &str = "allowed-warned-hosts";
/// Users that nobody logs in as from outside.
pub const RESTRICTED_USERNAMES: &str = "restricted-usernames";

/// The largest file that is read, in bytes.
pub const FILE_MAX: u64 = 256 << 20;
/// The longest line, in bytes.
pub const LINE_MAX: usize = 4096;
/// The most records of one file. Further ones are bad lines.
pub const RECORDS_MAX: usize = 1_000_000;

/// What a file holds, and what of it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<T> {
    /// What it holds.
    pub records: T,
    /// Its other lines, in their order.
    pub bad: Vec<Bad>,
}

/// A line that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its number, from 1.
    pub line: usize,
    /// All its bytes, without the line end.
    pub text: Box<[u8]>,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A user, by its name: bytes of a log.
pub type User = Box<[u8]>;

/// A user, and from where it was tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The user.
    pub user: User,
    /// From where.
    pub address: IpAddr,
}

/// How often something happened, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How often. DenyHosts has many zeros.
    pub count: u64,
    /// When last; `None` where the line does not tell.
    pub at: Option<Timestamp>,
}

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The first line of that log, without its line end: another one is another log, to be read from its beginning.
    pub first_line: Box<[u8]>,
    /// How many bytes were read.
    pub bytes: u64,
}

/// What stands before a count.
pub trait Key: Ord + Sized {
    /// Reads it.
    fn read(text: &[u8]) -> Result<Self, &'static str>;
    /// Writes it, with nothing in it that ends a line or a field.
    fn write(&self) -> String;
}

impl Key for IpAddr {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        let text = decoded(text.trim_ascii());
        let address = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<IpAddr>().ok());
        address.map(|address| address.to_canonical()).ok_or("no address")
    }

    fn write(&self) -> String {
        encoded(self.to_string().as_bytes())
    }
}

impl Key for User {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        Ok(decoded(text).into())
    }

    fn write(&self) -> String {
        encoded(self)
    }
}

impl Key for Pair {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        const SEPARATOR: &[u8] = b" - ";
        // An address holds none, so it is the last one; where there is no user the line's own trimming took its first blank.
        let at = text.windows(SEPARATOR.len()).rposition(|window| window == SEPARATOR);
        let (user, address) = match at {
            Some(at) => (&text[..at], &text[at + SEPARATOR.len()..]),
            None => (&b""[..], text.strip_prefix(b"- ").ok_or("no ` - ` between a user and an address")?),
        };
        Ok(Pair { user: decoded(user).into(), address: IpAddr::read(address)? })
    }

    fn write(&self) -> String {
        format!("{} - {}", encoded(&self.user), self.address.write())
    }
}

/// What stands in `dir/name`, or `None` if there is no such file. Only regular files of at most [`FILE_MAX`] bytes are read.
pub fn load(dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    if metadata.len() <= FILE_MAX {
        file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    }
    if metadata.len().max(bytes.len() as u64) > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {} MiB", FILE_MAX >> 20)));
    }
    Ok(Some(bytes))
}

/// The counts of a file. Of several lines of one key the last one holds, as in DenyHosts.
pub fn counts<K: Key>(text: &[u8], zone: &TimeZone) -> Found<BTreeMap<K, Count>> {
    records(text, |line| {
        let (key, count) = counted(line, zone)?;
        Ok((K::read(key)?, count))
    })
}

/// The counts as a file, sorted by key as DenyHosts writes it. A count without a time is given `now`.
pub fn write_counts<K: Key>(counts: impl IntoIterator<Item = (K, Count)>, now: Timestamp, zone: &TimeZone) -> Vec<u8> {
    let counts: BTreeMap<String, Count> = counts.into_iter().map(|(key, count)| (key.write(), count)).collect();
    let lines = counts.iter().map(|(key, Count { count, at })| {
        let at = asctime(at.unwrap_or(now), zone);
        format!("{key}:{count}:{at}\n")
    });
    lines.collect::<String>().into_bytes()
}

/// The addresses of `sync-hosts`, each once.
pub fn hosts(text: &[u8]) -> Found<BTreeSet<IpAddr>> {
    let Found { records, bad } = records(text, |line| Ok((IpAddr::read(line)?, ())));
    Found { records: records.into_keys().collect(), bad }
}

/// Addresses as such a file.
pub fn write_hosts(hosts: impl IntoIterator<Item = IpAddr>) -> Vec<u8> {
    hosts.into_iter().map(|host| host.write() + "\n").collect::<String>().into_bytes()
}

/// Whom the synchronisation server told of, and when last, by its clock.
pub fn received(text: &[u8], zone: &TimeZone) -> Found<BTreeMap<IpAddr, Timestamp>> {
    records(text, |line| {
        let (address, at) = timed(line, zone).ok_or("no time behind an address")?;
        Ok((IpAddr::read(address)?, at))
    })
}

/// The same as a file.
pub fn write_received(hosts: impl IntoIterator<Item = (IpAddr, Timestamp)>, zone: &TimeZone) -> Vec<u8> {
    let lines = hosts.into_iter().map(|(host, at)| format!("{}:{}\n", host.write(), asctime(at, zone)));
    lines.collect::<String>().into_bytes()
}

/// When the server was asked last, by its clock, in seconds since 1970.
pub fn timestamp(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// How far the log was read; `None` if the file is cut or damaged, which DenyHosts took for nothing read.
pub fn offset(text: &[u8]) -> Option<Offset> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let first_line = lines.next()?.into();
    let bytes = std::str::from_utf8(lines.next()?.trim_ascii()).ok()?.parse().ok()?;
    Some(Offset { first_line, bytes })
}

/// The same as a file.
pub fn write_offset(offset: &Offset) -> Vec<u8> {
    let line = offset.first_line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    [line, b"\n", offset.bytes.to_string().as_bytes(), b"\n"].concat()
}

/// The words of a file that people write, in their order, without blank lines and comments.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Words as such a file, and those that cannot stand in it: with a line end in them, a blank at an end, a `#` at the
/// beginning, or nothing at all.
pub fn write_words<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<&'a [u8]>) {
    let (mut text, mut left_out) = (Vec::new(), Vec::new());
    for word in words {
        match self::words(word).eq([word]) {
            true => text.extend([word, b"\n"].concat()),
            false => left_out.push(word),
        }
    }
    (text, left_out)
}

/// The records of a file of one a line, by their keys, of which the last one holds; and what is none.
fn records<K: Ord, V>(
    text: &[u8],
    mut record: impl FnMut(&[u8]) -> Result<(K, V), &'static str>,
) -> Found<BTreeMap<K, V>> {
    let (mut records, mut bad) = (BTreeMap::new(), Vec::new());
    for (number, raw) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = raw.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let read = match line.len() > LINE_MAX {
            true => Err("longer than any record"),
            false if records.len() >= RECORDS_MAX => Err("too many records before it"),
            false => record(line),
        };
        match read {
            Ok((key, value)) => drop(records.insert(key, value)),
            Err(why) => bad.push(Bad { line: number, text: raw.into(), why }),
        }
    }
    Found { records, bad }
}

/// `KEY:COUNT:TIME`, from the right, where the key may have colons; or `KEY:COUNT`, as before 1.1.
fn counted<'a>(line: &'a [u8], zone: &TimeZone) -> Result<(&'a [u8], Count), &'static str> {
    let number = |text: &[u8]| std::str::from_utf8(text.trim_ascii()).ok()?.parse::<u64>().ok();
    let (before, at) = match timed(line, zone) {
        Some((before, at)) => (before, Some(at)),
        None => (line.strip_suffix(b":").unwrap_or(line), None),
    };
    let colon = match at {
        Some(_) => memchr::memrchr(b':', before),
        // Without a time nothing tells a count from a part of the key.
        None => memchr::memchr(b':', before),
    };
    let (key, count) = before.split_at(colon.ok_or("no `:` before a count")?);
    let count = number(&count[1..]).ok_or("no count and time behind the first field")?;
    Ok((key, Count { count, at }))
}

/// What stands before `:TIME`, and the time.
fn timed<'a>(line: &'a [u8], zone: &TimeZone) -> Option<(&'a [u8], Timestamp)> {
    // The time has two colons of its own.
    let colon = memchr::memrchr_iter(b':', line).nth(2)?;
    Some((&line[..colon], from_asctime(&line[colon + 1..], zone)?))
}

/// A key as it is written: see the head of this file.
fn encoded(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for (place, &byte) in key.iter().enumerate() {
        let is_end = place == 0 || place + 1 == key.len();
        match byte {
            b' ' if !is_end => text.push(' '),
            b'!'..=b'~' if !is_encoded(byte) => text.push(char::from(byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// A key as it was meant.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| match byte {
        Some(byte @ b'0'..=b'9') => Some(byte - b'0'),
        Some(byte @ b'A'..=b'F') => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let code = digit(after.first()).zip(digit(after.get(1))).map(|(high, low)| high << 4 | low);
        match code.filter(|&code| byte == b'%' && is_encoded(code)) {
            Some(code) => (key.push(code), rest = &after[2..]).1,
            None => (key.push(byte), rest = after).1,
        }
    }
    key
}

/// Whether a byte may stand for itself nowhere, or, as a blank, not everywhere.
fn is_encoded(byte: u8) -> bool {
    matches!(byte, b'%' | b':' | b' ') || !byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests;
