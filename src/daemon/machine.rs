//! What this machine is: its addresses, its default gateways, and the prefixes of IPv6 on its links.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::sync::watch;

use crate::decide::machine::{MACHINE_MAX, Machine};
use crate::decide::prefix::Prefix;

/// Routes of IPv4: hexadecimal words as this machine's processor has them (`fib_trace.c`, `fib_route_seq_show`).
const IPV4_ROUTES: &str = "/proc/net/route";
/// Routes of IPv6 (`net/ipv6/route.c`, `rt6_info_route`).
const IPV6_ROUTES: &str = "/proc/net/ipv6_route";
/// The route goes by a gateway, and it refuses (`uapi/linux/route.h`).
const RTF_GATEWAY: u32 = 0x2;
const RTF_REJECT: u32 = 0x200;
/// The groups that hear of addresses (`uapi/linux/rtnetlink.h`).
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
/// Who gives an address gives a route just after.
const SETTLED: Duration = Duration::from_millis(100);
/// Addresses are read so often at most, however often they change.
const CHANGES_EVERY: Duration = Duration::from_secs(1);
/// A prefix that is shorter is a site's, or a provider's, and not a link's.
const LINK_MIN: u8 = 48;

/// Asks the kernel. What it does not tell is left out.
pub(super) fn read() -> Machine {
    let file = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (ipv4, ipv6) = (file(IPV4_ROUTES), file(IPV6_ROUTES));
    let loopback = Prefix::of(Ipv4Addr::LOCALHOST, 8);
    let mut own: Vec<_> = std::iter::once(loopback).chain(addresses().map(Prefix::host)).take(MACHINE_MAX).collect();
    own.sort();
    own.dedup();
    let gateways = ipv4.lines().filter_map(ipv4_gateway).map(IpAddr::from);
    let gateways = gateways.chain(ipv6.lines().filter_map(ipv6_gateway).map(IpAddr::from));
    let gateways = gateways.map(Prefix::host).take(MACHINE_MAX).collect();
    let mut links: Vec<_> = ipv6.lines().filter_map(link).take(MACHINE_MAX).collect();
    links.sort();
    links.dedup();
    Machine { own, gateways, links }
}

/// Starts a thread that tells when an address of this machine came or went, as the kernel says (`rtnetlink(7)`). Gateways
/// change with them, or are seen at the next look.
pub(super) fn watch(changed: watch::Sender<()>) -> std::io::Result<()> {
    let news = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    bind(news.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
    let mut some = [0; 8_192];
    // What it says does not matter, nor whether some of it was lost: all is read anew.
    let mut hear = move |flags| match recv(news.as_raw_fd(), &mut some, flags) {
        Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => true,
        Err(_) => false,
    };
    std::thread::Builder::new().name("addresses".to_owned()).spawn(move || {
        while hear(MsgFlags::empty()) {
            std::thread::sleep(SETTLED);
            while hear(MsgFlags::MSG_DONTWAIT) {}
            if changed.send(()).is_err() {
                return;
            }
            std::thread::sleep(CHANGES_EVERY);
        }
    })?;
    Ok(())
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|one| one.address);
    all.filter_map(|address| {
        let ipv4 = address.as_sockaddr_in().map(|found| IpAddr::from(found.ip()));
        ipv4.or_else(|| address.as_sockaddr_in6().map(|found| IpAddr::from(found.ip())))
    })
}

/// The default gateway that a line of [`IPV4_ROUTES`] tells: `eth0 00000000 010200C0 0003 0 0 0 00000000 …`.
fn ipv4_gateway(line: &str) -> Option<Ipv4Addr> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let is_default = number(1)? == 0 && number(7)? == 0 && number(3)? & RTF_GATEWAY != 0;
    let gateway = Ipv4Addr::from(number(2)?.to_ne_bytes());
    (is_default && !gateway.is_unspecified()).then_some(gateway)
}

/// A line of [`IPV6_ROUTES`]: destination, its length, source and length, next hop, metric, counters, flags, interface.
fn ipv6_route(line: &str) -> Option<(Ipv6Addr, u8, Ipv6Addr, u32)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let address = |at: usize| u128::from_str_radix(fields.get(at)?, 16).ok().map(Ipv6Addr::from_bits);
    let len = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    Some((address(0)?, len, address(4)?, u32::from_str_radix(fields.get(8)?, 16).ok()?))
}

fn ipv6_gateway(line: &str) -> Option<Ipv6Addr> {
    let (_, len, next, flags) = ipv6_route(line)?;
    (len == 0 && flags & RTF_GATEWAY != 0 && !next.is_unspecified()).then_some(next)
}

/// The prefix of a link: one without a next hop, that is neither link-local nor a single address.
fn link(line: &str) -> Option<Prefix> {
    let (to, len, next, flags) = ipv6_route(line)?;
    let is_there = (LINK_MIN..128).contains(&len) && next.is_unspecified() && flags & (RTF_REJECT | RTF_GATEWAY) == 0;
    let is_own = !to.is_unicast_link_local() && !to.is_multicast() && !to.is_loopback() && !to.is_unspecified();
    (is_there && is_own).then(|| Prefix::of(to, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_tell_gateways_and_links() {
        let to = |address: u32| format!("{:08X}", u32::from_ne_bytes(address.to_be_bytes()));
        let line = |net: u32, gateway: u32, flags: &str, mask: u32| {
            format!("eth0\t{}\t{}\t{flags}\t0\t0\t100\t{}\t0\t0\t0", to(net), to(gateway), to(mask))
        };
        assert_eq!(ipv4_gateway(&line(0, 0xc000_0201, "0003", 0)), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(ipv4_gateway(&line(0xc000_0200, 0, "0001", 0xffff_ff00)), None);
        assert_eq!(ipv4_gateway(&line(0xc633_6400, 0xc000_0201, "0003", 0xffff_ff00)), None, "a gateway to one net");
        assert_eq!(ipv4_gateway("Iface\tDestination\tGateway \tFlags\tRefCnt"), None);
        let none = "0".repeat(32);
        let line = |to: &str, len: &str, next: &str, flags: &str| {
            format!("{to} {len} {none} 00 {next} 00000100 00000001 00000000 {flags}     eth0")
        };
        let (net, router) = ("20010db8000100020000000000000000", "fe800000000000000000000000000001");
        assert_eq!(ipv6_gateway(&line(&none, "00", router, "00000003")), "fe80::1".parse().ok());
        assert_eq!(ipv6_gateway(&line(net, "40", router, "00000003")), None);
        assert_eq!(ipv6_gateway(&line(&none, "00", &none, "00200200")), None);
        assert_eq!(link(&line(net, "40", &none, "00000001")), "2001:db8:1:2::/64".parse().ok());
        assert_eq!(link(&line(net, "7f", &none, "00000001")), "2001:db8:1:2::/127".parse().ok());
        for no in [
            line(net, "80", &none, "80200001"),
            line(net, "20", &none, "00000001"),
            line(net, "40", router, "00000003"),
            line(net, "40", &none, "00200200"),
            line("fe800000000000000000000000000000", "40", &none, "00000001"),
            line("ff000000000000000000000000000000", "08", &none, "00000001"),
            "garbage".to_owned(),
        ] {
            assert_eq!(link(&no), None, "{no}");
        }
    }

    #[test]
    fn this_machine_has_loopback() {
        let machine = read();
        let holds = |address: &str| machine.own.iter().any(|own| own.contains(&address.parse().unwrap()));
        assert!(holds("127.0.0.1") && holds("127.9.9.9") && !holds("192.0.2.7"), "{machine:?}");
    }
}
