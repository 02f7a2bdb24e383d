//! The generation of this network namespace's nftables rules, asked over netlink.
//!
//! The kernel counts every committed transaction, whoever made it. One 20-byte question says that nobody
//! touched anything since we last looked; `nft` would take a process and, with 100 000 elements, a second.
//! Nothing else is asked or changed here.

use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, socket,
};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWGEN: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 15;
const NFT_MSG_GETGEN: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 16;
const NLM_F_REQUEST: u16 = 1;
const NFTA_GEN_ID: u16 = 1;
/// A netlink header and the nfgenmsg behind it.
const HEADERS: usize = 16 + 4;

/// The generation id; `None` where the kernel does not tell us (no CAP_NET_ADMIN, a sandbox without netlink).
pub(super) fn generation() -> Option<u32> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter).ok()?;
    connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).ok()?;
    // No sequence number and no port, since a socket has one question; nfgenmsg with no family, version 0.
    let mut question = [0; HEADERS];
    question[..4].copy_from_slice(&(HEADERS as u32).to_ne_bytes());
    question[4..6].copy_from_slice(&NFT_MSG_GETGEN.to_ne_bytes());
    question[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    send(socket.as_raw_fd(), &question, MsgFlags::empty()).ok()?;
    // The kernel answers inside send(), so there is nothing to wait for.
    let mut answer = [0; 1024];
    let len = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).ok()?;
    parse(answer.get(..len)?)
}

/// The id in an answer.
fn parse(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != NFT_MSG_NEWGEN {
        return None;
    }
    let mut rest = answer.get(HEADERS..)?;
    // Each step takes at least an attribute's four bytes, so this ends.
    loop {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..len)?;
        if kind == NFTA_GEN_ID {
            return Some(u32::from_be_bytes(value.try_into().ok()?));
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_answers() {
        let mut answer = vec![0; HEADERS];
        answer[4..6].copy_from_slice(&NFT_MSG_NEWGEN.to_ne_bytes());
        assert_eq!(parse(&answer), None, "no attribute");
        let mut attribute = |kind: u16, value: &[u8]| {
            answer.extend((4 + value.len() as u16).to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(value);
            answer.resize(answer.len().next_multiple_of(4), 0);
        };
        attribute(3, b"nft\0x");
        attribute(NFTA_GEN_ID, &[0, 0, 1, 2]);
        assert_eq!(parse(&answer), Some(258));
        for len in 0..answer.len() {
            assert_eq!(parse(&answer[..len]), None, "cut at {len}");
        }
        answer[HEADERS..HEADERS + 2].copy_from_slice(&0_u16.to_ne_bytes());
        assert_eq!(parse(&answer), None, "an attribute of no length");
    }
}
