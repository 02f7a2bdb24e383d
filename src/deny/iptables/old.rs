//! The rules that DenyHosts left in INPUT: found, taken away, and put back.
//!
//! It wrote `-s ADDRESS -j DROP`, with a port or several where `BLOCKPORT` said so; at the top, again and again, and before 3.1 it
//! took none away. Such a rule is what an administrator may write, too: whoever asks here must know which addresses were DenyHosts'.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{NAME, WAIT_S, remedy};
use crate::deny::{DenyError, program};

/// A rule of that form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Old {
    /// Which rule of INPUT it was, from 1.
    pub place: usize,
    /// What stands behind `-A INPUT`.
    pub rule: String,
    /// Whom it drops.
    pub address: IpAddr,
}

/// The rules of that form that are there now, by the program that made them.
pub fn find(iptables: &Path) -> Result<Vec<Old>, DenyError> {
    Ok(read(&listed(iptables)?))
}

/// Takes rules away, in one transaction; of those that are not there any more it says nothing.
pub fn take(iptables: &Path, rules: &[Old]) -> Result<(), DenyError> {
    let found = find(iptables)?;
    let mut there = counted(&found);
    let still = rules.iter().filter(|old| match there.get_mut(&*old.rule) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    });
    let script: Vec<_> = still.map(|old| format!("-D INPUT {}", old.rule)).collect();
    restore(iptables, "take away the rules of DenyHosts", &script)
}

/// Puts rules back where they were, in one transaction; those that are there are not put there twice.
pub fn give_back(iptables: &Path, rules: &[Old]) -> Result<(), DenyError> {
    let text = listed(iptables)?;
    let found = read(&text);
    let mut there = counted(&found);
    let mut missing: Vec<_> = rules
        .iter()
        .filter(|old| match there.get_mut(&*old.rule) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        })
        .collect();
    missing.sort_by_key(|old| old.place);
    let rules_there = text.lines().filter(|line| line.starts_with(RULE)).count();
    let script = missing.iter().zip(rules_there + 1..);
    let script: Vec<_> = script.map(|(old, last)| format!("-I INPUT {} {}", old.place.min(last), old.rule)).collect();
    restore(iptables, "put back the rules of DenyHosts", &script)
}

const RULE: &str = "-A INPUT ";

fn listed(iptables: &Path) -> Result<String, DenyError> {
    let listed = program::ask_at(iptables, NAME, &["-w", WAIT_S, "-S", "INPUT"], "");
    let listed = listed.map_err(|cause| failed("list the rules of INPUT", cause))?;
    Ok(String::from_utf8_lossy(&listed).into_owned())
}

/// Reads what `iptables -S INPUT` prints.
fn read(text: &str) -> Vec<Old> {
    let rules = text.lines().filter_map(|line| line.strip_prefix(RULE));
    let old = |(place, rule): (usize, &str)| Some(Old { place, address: dropped(rule)?, rule: rule.to_owned() });
    (1..).zip(rules).filter_map(old).collect()
}

/// Whom a rule drops that has DenyHosts' form.
fn dropped(rule: &str) -> Option<IpAddr> {
    let words: Vec<_> = rule.split(' ').collect();
    let address = match words[..] {
        ["-s", address, "-j", "DROP"] => address,
        ["-s", address, "-p", "tcp", "-m", "tcp", "--dport", port, "-j", "DROP"] if is_ports(port) => address,
        ["-s", address, "-p", "tcp", "-m", "multiport", "--dports", ports, "-j", "DROP"] if is_ports(ports) => address,
        _ => return None,
    };
    address.strip_suffix("/32")?.parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

fn is_ports(text: &str) -> bool {
    text.split(',').all(|port| port.parse::<u16>().is_ok())
}

/// How often each is there.
fn counted(rules: &[Old]) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    for old in rules {
        *counted.entry(&*old.rule).or_default() += 1;
    }
    counted
}

fn restore(iptables: &Path, tried: &str, script: &[String]) -> Result<(), DenyError> {
    if script.is_empty() {
        return Ok(());
    }
    let text = format!("*filter\n{}\nCOMMIT\n", script.join("\n"));
    let done = program::ask_at(&restorer(iptables), NAME, &["-w", WAIT_S, "--noflush"], &text);
    done.map(|_| ()).map_err(|cause| failed(tried, cause))
}

/// The program that carries out a script: beside the other one, by its name.
fn restorer(iptables: &Path) -> PathBuf {
    let mut name = iptables.as_os_str().to_owned();
    name.push("-restore");
    PathBuf::from(name)
}

fn failed(tried: &str, cause: String) -> DenyError {
    let remedy = remedy(&cause);
    DenyError { remedy, ..DenyError::new(NAME, tried, cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As iptables 1.8.9 prints what DenyHosts wrote.
    #[test]
    fn tells_the_rules_of_denyhosts() {
        let check = |rule: &str, want: Option<&str>| {
            let found = read(&format!("-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT {rule}\n"));
            let shown: Vec<_> = found.iter().map(|old| (old.place, old.address.to_string())).collect();
            let want: Vec<_> = want.iter().map(|want| (2, (*want).to_owned())).collect();
            assert_eq!(shown, want, "{rule}");
        };
        check("-s 192.0.2.1/32 -j DROP", Some("192.0.2.1"));
        check("-s 192.0.2.1/32 -p tcp -m tcp --dport 22 -j DROP", Some("192.0.2.1"));
        check("-s 192.0.2.1/32 -p tcp -m multiport --dports 22,2222 -j DROP", Some("192.0.2.1"));
        let others = [
            "-s 192.0.2.0/24 -j DROP",
            "-s 192.0.2.1/32 -j REJECT",
            "-s 192.0.2.1/32 -m comment --comment x -j DROP",
            "-j DROP",
        ];
        let more = [
            "-s 192.0.2.1/32 -p udp -m udp --dport 22 -j DROP",
            "-s 192.0.2.1/32 -p tcp -m tcp --dport 22:23 -j DROP",
            "-s 192.0.2.1/32 -i eth0 -j DROP",
        ];
        others.iter().chain(&more).for_each(|rule| check(rule, None));
    }
}
