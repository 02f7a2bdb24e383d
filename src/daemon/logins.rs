//! Who is logged in by sshd of this machine, as systemd-logind knows: also who logged in before denyd read the first record.
//!
//! It is read where `sd-login(3)` reads it, a file of `KEY=VALUE` a session: no bus has to answer, and no program has to run.
//! root alone makes these files. Where there is no logind, nobody is known.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use inputs::record::Timestamp;

use crate::decide::logins::Logins;

/// Where logind has its sessions.
pub(super) const SESSIONS: &str = "/run/systemd/sessions";
/// Sessions that are looked at: logind has no more, unless `SessionsMax=` of logind.conf(5) says so.
const SESSIONS_MAX: usize = 8_192;
/// The longest that such a file may be, in bytes; they have some hundred.
const FILE_MAX: u64 = 16 * 1024;

/// Those who are logged in now.
pub(super) fn read() -> Logins {
    of(Path::new(SESSIONS))
}

fn of(dir: &Path) -> Logins {
    let Ok(entries) = fs::read_dir(dir) else { return Logins::new() };
    // Beside each there is a pipe, `7.ref`, whose reader would wait.
    let is_session = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let files =
        names.filter(|name| is_session(name)).take(SESSIONS_MAX).filter_map(|name| login(&read_file(&dir.join(name))?));
    files.map(|(address, user, since)| ((address.into(), user.into()), since)).collect()
}

fn read_file(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|data| data.is_file()))?;
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// From which address the session of a name came, as logind knows.
pub(super) fn remote(dir: &Path, session: &str) -> Option<IpAddr> {
    let text = read_file(&dir.join(session))?;
    let host = text.lines().find_map(|line| line.strip_prefix("REMOTE_HOST="))?;
    Some(host.trim_matches('"').split('%').next()?.parse::<IpAddr>().ok()?.to_canonical())
}

/// The login that such a file tells of, where sshd made it and it lasts. A name in the place of the address (`UseDNS`) is
/// somebody's word.
fn login(text: &str) -> Option<(IpAddr, Vec<u8>, Timestamp)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let all: BTreeMap<_, _> = pairs.map(|(key, value)| (key, value.trim_matches('"'))).collect();
    let is = |key: &str, wanted: &[&str]| all.get(key).is_some_and(|value| wanted.contains(value));
    // It opens once who it is was found right.
    if !(is("SERVICE", &["sshd"]) && is("STATE", &["opening", "active", "online"]) && is("REMOTE", &["1"])) {
        return None;
    }
    // A zone (`%eth0`) is no part of an address.
    let address = all.get("REMOTE_HOST")?.split('%').next()?.parse::<IpAddr>().ok()?;
    let user = if is("UID", &["0"]) { "root" } else { all.get("USER")? };
    let since = all.get("REALTIME").and_then(|since| since.parse().ok()).map_or_else(crate::clock::now, Timestamp);
    (!user.is_empty()).then(|| (address.to_canonical(), user.as_bytes().to_vec(), since))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of logind 252, with `KEY=VALUE` of `other` instead of its own.
    fn file(other: &str) -> String {
        let usual = "# This is private data. Do not parse.\nUID=1000\nUSER=al\nACTIVE=1\nIS_DISPLAY=0\nSTATE=active\nREMOTE=1\n\
                     LEADER_FD_SAVED=1\nTYPE=tty\nORIGINAL_TYPE=tty\nCLASS=user\nSCOPE=session-7.scope\nFIFO=/run/systemd/sessions/7.ref\n\
                     REMOTE_HOST=192.0.2.7\nSERVICE=sshd\nPOSITION=0\nLEADER=77\nAUDIT=7\nREALTIME=1795000000000001\nMONOTONIC=5\n";
        let keys: Vec<_> = other.lines().map(|line| line.split('=').next().expect("a key")).collect();
        let rest = usual.lines().filter(|line| !keys.contains(&line.split('=').next().expect("a key")));
        rest.chain(other.lines()).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn who_is_logged_in_by_sshd_from_an_address_is_known() {
        let check = |other: &str, expected: Option<(&str, &str)>| {
            let found = login(&file(other));
            let expected = expected.map(|(address, user)| {
                (address.parse().expect("an address"), user.as_bytes().to_vec(), Timestamp(1_795_000_000_000_001))
            });
            assert_eq!(found, expected, "{other}");
        };
        check("", Some(("192.0.2.7", "al")));
        check("UID=0\nUSER=toor", Some(("192.0.2.7", "root")));
        check("STATE=opening", Some(("192.0.2.7", "al")));
        check("STATE=online", Some(("192.0.2.7", "al")));
        check("REMOTE_HOST=2001:db8::7", Some(("2001:db8::7", "al")));
        check("REMOTE_HOST=\"fe80::7%eth0\"", Some(("fe80::7", "al")));
        check("REMOTE_HOST=::ffff:192.0.2.7", Some(("192.0.2.7", "al")));
        for other in [
            "REMOTE_HOST=web.example.org",
            "REMOTE_HOST=",
            "SERVICE=login",
            "SERVICE=sshd\nREMOTE=0",
            "STATE=closing",
            "USER=",
        ] {
            check(other, None);
        }
        assert_eq!(login(""), None);
    }

    #[test]
    fn what_is_no_session_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).expect("a file");
        put("7", file("").as_bytes());
        put("c1", file("REMOTE_HOST=192.0.2.8").as_bytes());
        put("8", b"UID=\xff");
        put("7.ref", file("REMOTE_HOST=192.0.2.9").as_bytes());
        put("10", &[file("").as_bytes(), &vec![b'#'; 2 * FILE_MAX as usize]].concat());
        fs::create_dir(dir.path().join("9")).expect("a directory");
        nix::unistd::mkfifo(&dir.path().join("11.ref"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let found: Vec<_> = of(dir.path()).into_keys().map(|(address, _)| IpAddr::from(address).to_string()).collect();
        assert_eq!(found, ["192.0.2.7", "192.0.2.8"]);
        assert!(of(&dir.path().join("none")).is_empty());
    }
}
