//! A socket to nf_tables. The kernel answers while a request is sent, so nobody ever waits here for an answer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recvfrom, send,
    setsockopt, socket, sockopt,
};

use super::Table;
pub(super) use super::message::Ask;
use super::message::{self, Told};
use super::plan::Step;
use super::wire::{Message, messages};

/// A socket of the kernel's netfilter, for our table.
#[derive(Debug)]
pub(super) struct Socket {
    table: Table,
    fd: OwnedFd,
    /// What the kernel calls it in what it tells of its requests.
    pub(super) port: u32,
    seq: u32,
    buffer: Vec<u8>,
}

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The kernel says so.
    #[error("{}", .0.desc())]
    By(#[from] Errno),
    /// It says nothing, or nothing that we can read.
    #[error("the kernel's answer over netlink cannot be read")]
    Unread,
}

impl Socket {
    /// One that asks.
    pub(super) fn open(table: &Table) -> Result<Socket, Errno> {
        Socket::bound(table, 0)
    }

    /// One that hears of every change of anybody's.
    pub(super) fn watching(table: &Table) -> Result<Socket, Errno> {
        Socket::bound(table, 1 << (NFNLGRP_NFTABLES - 1))
    }

    /// What is readable once there is something to receive.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn bound(table: &Table, groups: u32) -> Result<Socket, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
        // In a user namespace the usual room has to do. What does not fit is told.
        _ = setsockopt(&fd, sockopt::SndBufForce, &SEND_MAX).or_else(|_| setsockopt(&fd, sockopt::SndBuf, &SEND_MAX));
        _ = setsockopt(&fd, sockopt::RcvBufForce, &NEWS_MAX).or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &NEWS_MAX));
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Socket { table: table.clone(), fd, port, seq: 0, buffer: vec![0; DATAGRAM_MAX] })
    }

    /// Carries steps out, all or none.
    pub(super) fn commit(&mut self, steps: &[Step]) -> Result<(), Refused> {
        let mut answer = None;
        let request = |table: &Table, seq| message::transaction(table, steps, seq);
        self.ask(request, |told| {
            // Of several complaints the first is it.
            if let Told::Answer { errno, .. } = told
                && answer.is_none_or(|before| before == 0)
            {
                answer = Some(errno);
            }
            Ok(true)
        })?;
        match answer {
            Some(0) => Ok(()),
            Some(errno) => Err(Errno::from_raw(errno).into()),
            None => Err(Refused::Unread),
        }
    }

    /// How many transactions there were in this network namespace, as the kernel counts them.
    pub(super) fn generation(&mut self) -> Result<u32, Refused> {
        let mut found = None;
        self.ask(
            |_, seq| message::ask_generation(seq),
            |told| {
                if let Told::Generation { id, .. } = told {
                    found = Some(id);
                }
                refused(&told).map(|()| true)
            },
        )?;
        found.ok_or(Refused::Unread)
    }

    /// Hands over what there is of our table; false if there is no such thing.
    pub(super) fn list(
        &mut self,
        ask: Ask,
        mut each: impl FnMut(Told<'_>) -> Result<(), Refused>,
    ) -> Result<bool, Refused> {
        let (mut done, mut there) = (false, true);
        self.ask(
            |table, seq| message::ask(ask, table, seq),
            |told| {
                match told {
                    Told::Done | Told::Answer { errno: 0, .. } => done = true,
                    Told::Answer { errno, .. } if Errno::from_raw(errno) == Errno::ENOENT => {
                        (done, there) = (true, false)
                    }
                    told => {
                        refused(&told)?;
                        each(told)?;
                    }
                }
                Ok(!done)
            },
        )?;
        if done { Ok(there) } else { Err(Refused::Unread) }
    }

    /// The next datagram, if one is there: its messages and what each says, up to one that cannot be read, which is `None`.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Option<(Message<'_>, Told<'_>)>)) -> Result<bool, Errno> {
        let Socket { table, fd, buffer, .. } = self;
        loop {
            match recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buffer) {
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
                // Not of the kernel: only root could send it.
                Ok((_, from)) if from.is_some_and(|from| from.pid() != 0) => {}
                Ok((len, _)) => {
                    let all = messages(buffer.get(..len).unwrap_or_default());
                    all.map(|message| Some((message?, Told::read(&message?, table)?))).for_each(&mut each);
                    return Ok(true);
                }
            }
        }
    }

    /// Sends a request and hands over what is said about it, while `each` says to go on.
    fn ask(
        &mut self,
        request: impl FnOnce(&Table, u32) -> Vec<u8>,
        mut each: impl FnMut(Told<'_>) -> Result<bool, Refused>,
    ) -> Result<(), Refused> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        send(self.fd.as_raw_fd(), &request(&self.table, seq), MsgFlags::empty())?;
        let mut result = Ok(true);
        while result == Ok(true) {
            let more = self.receive(|heard| match heard {
                None => result = Err(Refused::Unread),
                Some((message, told)) if message.seq == seq && result == Ok(true) => result = each(told),
                Some(_) => {}
            })?;
            if !more {
                break;
            }
        }
        result.map(|_| ())
    }
}

/// The error in an answer.
fn refused(told: &Told<'_>) -> Result<(), Refused> {
    match told {
        Told::Answer { errno, .. } if *errno != 0 => Err(Errno::from_raw(*errno).into()),
        _ => Ok(()),
    }
}

/// The group that hears of changes (linux/netfilter/nfnetlink.h).
const NFNLGRP_NFTABLES: u32 = 7;
/// News that wait to be read. The kernel takes it of its own memory, when there are some.
const NEWS_MAX: usize = 4 << 20;
/// The largest transaction that is sent; a larger one is `nft`'s to write.
const SEND_MAX: usize = 1 << 20;
/// The kernel's datagrams of news are of a page or two, those of listings of 32 KiB; an answer to a large message that
/// failed holds that message, and its end is not missed.
const DATAGRAM_MAX: usize = 64 * 1024;
