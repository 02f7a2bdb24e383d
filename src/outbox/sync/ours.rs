//! Whom this machine itself connects to: a server's word must not cut it off from them.
//!
//! A deny drops all that comes from an address, also the answers to what we asked there. The policy denies nobody but those who
//! came to sshd; a server may tell of any address: a resolver, a mail server, itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use crate::clock;

/// Where resolvers are named: resolv.conf(5), and what stands behind the local ones that it may name.
const RESOLVERS: [&str; 4] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/dnsmasq/resolv.conf",
];
/// The sockets of this machine: proc_pid_net(5). Those that listen come first.
const SOCKETS: [&str; 4] = ["/proc/self/net/tcp", "/proc/self/net/tcp6", "/proc/self/net/udp", "/proc/self/net/udp6"];
/// Bytes of each that are read: some 25 000 sockets.
const FILE_MAX: u64 = 4 << 20;
/// How long the names of servers are waited for, in all.
const NAMES_TIME: Duration = Duration::from_secs(10);
/// States of a socket.
const ESTABLISHED: &str = "01";
const LISTENS: &str = "0A";

/// The addresses of our resolvers, of the servers of these names or addresses, and of whom we are connected to by our own wish.
/// It waits for a resolver for [`NAMES_TIME`] at most; a name that has no answer by then has no address.
pub(super) fn ours(servers: Vec<String>) -> Vec<IpAddr> {
    let mut all: BTreeSet<IpAddr> = RESOLVERS.iter().flat_map(|file| resolvers(&text(file))).collect();
    all.extend(SOCKETS.iter().flat_map(|file| connected(&text(file))));
    let (told, come) = mpsc::channel();
    for name in servers {
        match bare(&name).parse::<IpAddr>() {
            Ok(address) => _ = all.insert(address.to_canonical()),
            Err(_) => {
                let told = told.clone();
                // Without a thread, or an answer, it is known when we are connected.
                let _ = std::thread::Builder::new().name("sync-names".to_owned()).spawn(move || {
                    let found = (name.as_str(), 0).to_socket_addrs();
                    for one in found.into_iter().flatten() {
                        let _ = told.send(one.ip().to_canonical());
                    }
                });
            }
        }
    }
    drop(told);
    let end = clock::monotonic() + NAMES_TIME;
    while let Ok(address) = come.recv_timeout(end.saturating_duration_since(clock::monotonic())) {
        all.insert(address);
    }
    all.into_iter().collect()
}

fn text(file: &str) -> String {
    let mut bytes = Vec::new();
    // What is not there names nobody.
    let _ = File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The resolvers of a resolv.conf(5): `nameserver fe80::1%eth0`.
fn resolvers(text: &str) -> impl Iterator<Item = IpAddr> + use<> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(name.split('%').next()?.parse::<IpAddr>().ok()?.to_canonical())
    };
    text.lines().filter_map(address).collect::<Vec<_>>().into_iter()
}

/// The peers of connections that did not come to a port where we listen, by a table of proc_pid_net(5).
fn connected(text: &str) -> impl Iterator<Item = IpAddr> + use<> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (ours, theirs, state) = (words.next()?, words.next()?, words.next()?.to_owned());
        Some((ours.rsplit_once(':')?.1.to_owned(), address(theirs.rsplit_once(':')?.0)?, state))
    };
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    let listens: BTreeSet<&str> = rows.iter().filter(|row| row.2 == LISTENS).map(|row| row.0.as_str()).collect();
    let is_ours = |(port, _, state): &&(String, _, String)| state == ESTABLISHED && !listens.contains(port.as_str());
    rows.iter().filter(is_ours).map(|row| row.1).collect::<Vec<_>>().into_iter()
}

/// An address as the kernel prints it: words of 32 bits in this machine's order.
fn address(hex: &str) -> Option<IpAddr> {
    let words = (0..hex.len()).step_by(8).map(|at| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn resolvers_are_those_of_their_lines() {
        let check = |text: &str, want: &str| {
            assert_eq!(resolvers(text).collect::<Vec<_>>(), addresses(want), "{text}");
        };
        check("# nameserver 20.1.1.9\nnameserver 20.1.1.1\n nameserver\t2a00::1 # ours\n", "20.1.1.1 2a00::1");
        check("search example.org\noptions edns0\nnameserver\nnameserver x\nnameservers 20.1.1.1\n", "");
        check("nameserver fe80::1%eth0\nnameserver ::ffff:20.1.1.2", "fe80::1 20.1.1.2");
    }

    /// Tables as Linux prints them on a machine whose words begin with their low byte.
    #[test]
    #[cfg(target_endian = "little")]
    fn who_is_connected_is_ours_unless_he_came() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        let check = |rows: &[&str], want: &str| {
            let table = format!("{head}{}\n", rows.join("\n"));
            assert_eq!(connected(&table).collect::<Vec<_>>(), addresses(want), "{table}");
        };
        let listens = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000";
        // 20.1.1.1 came to port 22; we went to 20.1.1.2; what waits for 20.1.1.3 is not connected.
        let came = "   1: 0A01000A:0016 01010114:D431 01 00000000:00000000";
        let went = "   2: 0A01000A:A0B2 02010114:01BB 01 00000000:00000000";
        let waits = "   3: 0A01000A:A0B3 03010114:01BB 02 00000000:00000000";
        check(&[listens, came, went, waits], "20.1.1.2");
        check(&[came], "20.1.1.1");
        let of_ipv6 = "   4: 0000002A000000000000000001000000:A0B4 0000002A000000000000000009000000:0019 01 0";
        let mapped = "   5: 0000000000000000FFFF00000A01000A:A0B5 0000000000000000FFFF000004010114:0019 01 0";
        check(&[of_ipv6, mapped], "2a00::9 20.1.1.4");
        check(&["", "   6: x:y z:0 01", "   7: 0A:1", "   8: 0:1 ü0000001:2 01"], "");
    }

    #[test]
    fn servers_are_ours_by_address_and_by_name() {
        let all = ours(vec!["20.1.1.7".to_owned(), "[2a00::7]".to_owned(), "localhost".to_owned(), "?".to_owned()]);
        let has = |address: &str| all.contains(&address.parse().unwrap());
        assert!(has("20.1.1.7") && has("2a00::7"), "{all:?}");
        assert!(all.iter().any(IpAddr::is_loopback), "{all:?}");
    }
}
