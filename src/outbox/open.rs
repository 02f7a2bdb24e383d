//! Which TCP connections an address has to this machine, as the kernel lists them (proc_net(5), `/proc/net/tcp`).

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the kernel's lists that are read: some 100 000 connections.
const READ_MAX: u64 = 16 * 1024 * 1024;
/// The kernel's number for a connection that stands.
const ESTABLISHED: &str = "01";

/// The ends of each: here, and there; the first `most`.
pub(super) fn connections(peer: IpAddr, most: usize) -> Vec<(SocketAddr, SocketAddr)> {
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"].map(|list| {
        let mut text = String::new();
        // A list that is cut in a line, or is not there, tells less.
        let _ = File::open(list).and_then(|file| file.take(READ_MAX).read_to_string(&mut text));
        text
    });
    lists.iter().flat_map(|text| of(text, peer)).take(most).collect()
}

/// Those of `peer` in a list.
fn of(text: &str, peer: IpAddr) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
    let row = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (here, there, state) = (end(words.next()?)?, end(words.next()?)?, words.next()?);
        (state == ESTABLISHED).then_some((here, there))
    };
    text.lines().filter_map(row).filter(move |(_, there)| there.ip() == peer)
}

/// `0100007F:0016`: words of 32 bits as the machine has them, and a port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_tells_who_is_connected() {
        for (host, port) in [("127.0.0.1", 0), ("::1", 0)] {
            let Ok(listener) = TcpListener::bind((host, port)) else { continue };
            let here = listener.local_addr().unwrap();
            let client = TcpStream::connect(here).unwrap();
            let want = (here, client.local_addr().unwrap());
            assert!(connections(here.ip(), usize::MAX).contains(&want), "{want:?}");
            assert_eq!(connections(here.ip(), 1).len(), 1);
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_the_kernels_rows() {
        let check = |row: &str, want: Option<(&str, &str)>| {
            let want = want.map(|(here, there)| (here.parse().unwrap(), there.parse().unwrap()));
            assert_eq!(of(row, "192.0.2.7".parse().unwrap()).next(), want, "{row}");
        };
        let both = Some(("10.0.0.1:22", "192.0.2.7:4711"));
        check("  3: 0100000A:0016 070200C0:1267 01 00000000:00000000 00:00000000 00000000 0 0 1", both);
        let mapped = "0000000000000000FFFF00000100000A:0016 0000000000000000FFFF0000070200C0:1267";
        check(&format!("  3: {mapped} 01 0"), both);
        check("  3: 0100000A:0016 070200C0:1267 06 0", None);
        check("  3: 0100000A:0016 080200C0:1267 01 0", None);
        check("  sl  local_address rem_address   st tx_queue", None);
        check("  3: 0100000A:0016 070200C0", None);
        check("  3: é00000A:0016 070200C0:1267 01", None);
    }
}
