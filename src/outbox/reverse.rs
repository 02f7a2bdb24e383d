//! Names of addresses, for reports: asked of the system's resolver, by the program `getent`, since one that hangs can be
//! killed. Nothing that is decided rests on them.
//!
//! Whoever has an address says what its name is, and may say anybody's. A name that does not resolve back to the address is
//! shown as unconfirmed. One that has other characters than names have is shown as none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::deny::program;

/// Addresses of which names are asked for one report; the others have none.
const ASKED_MAX: usize = 50;
/// Of them at once.
const AT_ONCE: usize = 8;
/// How long each question may take, and all for one report.
const ONE_MAX: Duration = Duration::from_secs(3);
const ALL_MAX: Duration = Duration::from_secs(10);
/// Names that are remembered, and for how long.
const KNOWN_MAX: usize = 1_000;
const KNOWN_FOR: Duration = Duration::from_secs(3_600);
/// The longest name, in bytes (RFC 1035).
const NAME_MAX: usize = 253;

/// What is known of addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<IpAddr, (String, Instant)>,
}

impl Names {
    /// What is to be shown behind each of these addresses: its name, that it is unconfirmed, or that there is none. Those that
    /// there was no time for are left out.
    pub(super) fn of(&mut self, addresses: impl Iterator<Item = IpAddr>) -> HashMap<IpAddr, String> {
        let Some(getent) = program::find("getent") else { return HashMap::new() };
        self.look_up(addresses, |address| shown(|database, key| asked(&getent, database, key), address))
    }

    fn look_up(
        &mut self,
        addresses: impl Iterator<Item = IpAddr>,
        ask: impl Fn(IpAddr) -> Option<String> + Sync,
    ) -> HashMap<IpAddr, String> {
        let now = clock::monotonic();
        self.known.retain(|_, (_, at)| now.saturating_duration_since(*at) < KNOWN_FOR);
        let (mut names, mut open) = (HashMap::new(), Vec::new());
        for address in addresses {
            match self.known.get(&address) {
                Some((name, _)) => _ = names.insert(address, name.clone()),
                None if open.len() < ASKED_MAX && !open.contains(&address) => open.push(address),
                None => {}
            }
        }
        open.reverse();
        let workers = open.len().min(AT_ONCE);
        let (open, found) = (Mutex::new(open), Mutex::new(Vec::new()));
        let next = || open.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            while let Some(address) = next().filter(|_| now.elapsed() < ALL_MAX) {
                if let Some(name) = ask(address) {
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((address, name));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..workers {
                // Where the system has no thread, there are fewer names.
                let _ = thread::Builder::new().name("name-of".to_owned()).spawn_scoped(scope, work);
            }
        });
        for (address, name) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if self.known.len() < KNOWN_MAX {
                self.known.insert(address, (name.clone(), now));
            }
            names.insert(address, name);
        }
        names
    }
}

/// What is to be shown behind an address; `None` where nobody answers in time. `ask` asks a database of a key.
fn shown(ask: impl Fn(&str, &str) -> Option<Option<String>>, address: IpAddr) -> Option<String> {
    let Some(name) = ask("hosts", &address.to_string())?.and_then(|answer| name_in(&answer)) else {
        return Some("unknown".to_owned());
    };
    // With a dot it stands for itself, and not for one below a domain of ours; `/etc/hosts` has it without.
    let names = [format!("{name}."), name.clone()];
    let is_its = |name: &String| {
        let answer = ask("ahosts", name).flatten().unwrap_or_default();
        let mut addresses = answer.lines().filter_map(|line| line.split_whitespace().next()?.parse::<IpAddr>().ok());
        addresses.any(|one| one.to_canonical() == address.to_canonical())
    };
    match names.iter().any(is_its) {
        true => Some(name),
        false => Some(format!("{name}, unconfirmed")),
    }
}

/// The name in an answer: behind the address. There is none where strangers wrote something else there.
fn name_in(answer: &str) -> Option<String> {
    let name = answer.lines().next()?.split_whitespace().nth(1)?.trim_end_matches('.');
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    // One that begins with a `-` would be an option.
    let is_name = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(of_name) && !name.starts_with('-');
    is_name.then(|| name.to_owned())
}

/// What `getent` says of a key; `Some(None)` where there is nothing, `None` where it does not say in time.
fn asked(getent: &Path, database: &str, key: &str) -> Option<Option<String>> {
    let child = program::start(getent, &[database, key]).ok()?;
    let output = program::finish_within(ONE_MAX, child, b"").ok()?;
    Some(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_name_has_the_characters_of_names() {
        let check = |answer: &str, want: Option<&str>| assert_eq!(name_in(answer).as_deref(), want, "{answer:?}");
        check("192.0.2.7       host.example.org alias\n", Some("host.example.org"));
        check("192.0.2.7 host.example.org.\n", Some("host.example.org"));
        check("192.0.2.7 \x1b[31mred\n", None);
        check("192.0.2.7 a<b>\n", None);
        check("192.0.2.7\n", None);
        check("192.0.2.7 --help\n", None);
        check("", None);
        check(&format!("192.0.2.7 {}\n", "x".repeat(254)), None);
    }

    #[test]
    fn a_name_that_does_not_resolve_back_is_unconfirmed() {
        let ask = |database: &str, key: &str| {
            let answer = match (database, key) {
                ("hosts", "192.0.2.7") => "192.0.2.7 own.example.org\n",
                ("ahosts", "own.example.org.") => "192.0.2.6 STREAM\n192.0.2.7 STREAM own.example.org\n",
                ("hosts", "192.0.2.8") => "192.0.2.8 bank.example.org\n",
                ("ahosts", "bank.example.org.") => "198.51.100.1 STREAM bank.example.org\n",
                ("hosts", "192.0.2.10") => return None,
                ("hosts", "192.0.2.11") => "192.0.2.11 local\n",
                ("ahosts", "local") => "::ffff:192.0.2.11 STREAM local\n",
                ("hosts", "192.0.2.12") => "192.0.2.12 mute.example.org\n",
                ("ahosts", "mute.example.org.") => return None,
                _ => return Some(None),
            };
            Some(Some(answer.to_owned()))
        };
        let check = |address: &str, want: Option<&str>| {
            assert_eq!(shown(ask, address.parse().unwrap()).as_deref(), want, "{address}");
        };
        check("192.0.2.7", Some("own.example.org"));
        check("192.0.2.8", Some("bank.example.org, unconfirmed"));
        check("192.0.2.9", Some("unknown"));
        check("192.0.2.10", None);
        check("192.0.2.11", Some("local"));
        check("192.0.2.12", Some("mute.example.org, unconfirmed"));
    }

    #[test]
    fn each_address_is_asked_for_once_and_so_many_at_most() {
        let mut names = Names::default();
        let asked = AtomicUsize::new(0);
        let address = |n: usize| IpAddr::from([10, 0, (n / 250) as u8, (n % 250) as u8]);
        let mut look = |numbers: std::ops::Range<usize>| {
            let ask = |address: IpAddr| {
                asked.fetch_add(1, Ordering::Relaxed);
                Some(format!("host-{address}"))
            };
            let found = names.look_up(numbers.clone().chain(numbers).map(address), ask);
            (found.len(), asked.swap(0, Ordering::Relaxed))
        };
        assert_eq!(look(0..3), (3, 3));
        assert_eq!(look(0..4), (4, 1));
        assert_eq!(look(100..500), (ASKED_MAX, ASKED_MAX));
        for n in 2..40 {
            look(n * 500..n * 500 + 50);
        }
        assert_eq!(names.known.len(), KNOWN_MAX);
    }

    #[test]
    fn the_system_is_asked() {
        let names = Names::default().of(["127.0.0.1".parse().unwrap()].into_iter());
        // What the machine calls itself there is its own affair.
        assert_eq!(names.len(), 1);
        assert_ne!(names.values().next().unwrap(), "unknown");
    }
}
