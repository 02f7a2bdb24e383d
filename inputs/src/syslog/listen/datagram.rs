//! Reads datagrams, as many as there are, into one batch.
//!
//! By `recvmmsg`: a call for each datagram costs as much as all the rest. Buffers for control messages are small on
//! purpose: there is no room for file descriptors that somebody attaches, so none are opened.

use super::Gate;
use crate::input::{Progress, Wake};
use crate::record::{Batch, LINE_MAX, Sender};
use crate::syslog::frame::{self, BATCH_MAX};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, UnixCredentials, recvmmsg, recvmsg, setsockopt,
    sockopt,
};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Datagrams that one call reads.
const CALL_MAX: usize = 64;

/// From one datagram's buffer to the next. Not a multiple of the page's size: their beginnings, which is all that most
/// datagrams fill, would share a few lines of the processor's cache.
const STRIDE: usize = LINE_MAX + 192;

/// A datagram socket.
pub(super) struct Datagrams {
    socket: OwnedFd,
    /// It passes credentials; else it is of UDP.
    is_unix: bool,
    /// The kernel's count of dropped datagrams, as of the last one that told it.
    dropped: u32,
    buf: Box<[u8]>,
    control: Vec<u8>,
}

thread_local! {
    /// nix's headers are full of pointers, and so cannot go to another thread with the reader whose they are.
    static HEADERS: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(CALL_MAX, None));
}

impl Datagrams {
    /// Reads a bound UDP socket.
    pub(super) fn udp(socket: UdpSocket, rcvbuf: usize) -> io::Result<Self> {
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        Self::new(socket.into(), false, rcvbuf)
    }

    /// Reads a bound unix socket. What was sent before it passed credentials has none, and so is of [`Sender::NOBODY`].
    pub(super) fn unix(socket: UnixDatagram, rcvbuf: usize) -> io::Result<Self> {
        setsockopt(&socket, sockopt::PassCred, &true)?;
        Self::new(socket.into(), true, rcvbuf)
    }

    /// Asks for a receive buffer of so many bytes and takes what is given: beyond `net.core.rmem_max` only the
    /// privileged get it.
    fn new(socket: OwnedFd, is_unix: bool, rcvbuf: usize) -> io::Result<Self> {
        if setsockopt(&socket, sockopt::RcvBufForce, &rcvbuf).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &rcvbuf)?;
        }
        let buf = vec![0; STRIDE * CALL_MAX].into_boxed_slice();
        // Room for either: a UDP socket sends only the number, which is smaller.
        let control = nix::cmsg_space!(UnixCredentials);
        Ok(Datagrams { socket, is_unix, dropped: 0, buf, control })
    }

    pub(super) fn wake(&self) -> Wake<'_> {
        Wake { fd: Some(self.socket.as_fd()), within: Duration::MAX }
    }

    /// Takes what is there now.
    pub(super) fn read(&mut self, gate: &mut Gate, batch: &mut Batch) -> io::Result<Progress> {
        let read = if self.is_unix { self.read_unix(gate, batch) } else { self.read_udp(gate, batch) };
        match read {
            Ok(()) if frame::full(batch) => Ok(Progress::More),
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(Progress::Idle),
            Err(error) => Err(error.into()),
        }
    }

    /// The first datagram by itself, with what the kernel dropped before it; nix' headers for many cannot be used again
    /// for control messages. What it drops from here on, the next batch tells.
    fn read_udp(&mut self, gate: &mut Gate, batch: &mut Batch) -> nix::Result<()> {
        let Datagrams { socket, dropped, buf, control, .. } = self;
        let fd = socket.as_raw_fd();
        let mut parts = [IoSliceMut::new(&mut buf[..LINE_MAX])];
        let first = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let total = first.cmsgs()?.find_map(|cmsg| match cmsg {
            ControlMessageOwned::RxqOvfl(total) => Some(total),
            _ => None,
        });
        // The kernel's count wraps; it is not sent while it is 0.
        let lost = total.map_or(0, |total| total.wrapping_sub(std::mem::replace(dropped, total)));
        batch.lost += u64::from(lost);
        let (len, truncated, sender) = (first.bytes, is_cut(first.flags), peer(first.address));
        gate.take(&buf[..len], truncated, &sender, batch);
        HEADERS.with_borrow_mut(|headers| Self::read_many(fd, headers, buf, gate, batch))
    }

    fn read_many(
        fd: RawFd,
        headers: &mut MultiHeaders<SockaddrStorage>,
        buf: &mut [u8],
        gate: &mut Gate,
        batch: &mut Batch,
    ) -> nix::Result<()> {
        // Bounded also where all are refused and none fills the batch.
        for _ in 0..BATCH_MAX / CALL_MAX {
            let mut buffers = buf.chunks_exact_mut(STRIDE);
            let mut parts: [_; CALL_MAX] = std::array::from_fn(|_| {
                [IoSliceMut::new(&mut buffers.next().expect("there are as many buffers")[..LINE_MAX])]
            });
            let room = CALL_MAX.min(BATCH_MAX - batch.len());
            let mut received = 0;
            for datagram in recvmmsg(fd, headers, parts[..room].iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
                received += 1;
                let (bytes, truncated) = (datagram.iovs().next().unwrap_or_default(), is_cut(datagram.flags));
                gate.take(bytes, truncated, &peer(datagram.address), batch);
            }
            if received < room || frame::full(batch) {
                break;
            }
        }
        Ok(())
    }

    /// One call for each: it alone tells who sent it. Senders wait, so that none is lost.
    fn read_unix(&mut self, gate: &mut Gate, batch: &mut Batch) -> nix::Result<()> {
        let fd = self.socket.as_raw_fd();
        for _ in 0..BATCH_MAX {
            let mut parts = [IoSliceMut::new(&mut self.buf[..LINE_MAX])];
            let message = recvmsg::<()>(fd, &mut parts, Some(&mut self.control), MsgFlags::MSG_DONTWAIT)?;
            // An error here means that somebody attached more than credentials, and with them hides who he is.
            let uid = message.cmsgs().ok().and_then(|mut cmsgs| {
                cmsgs.find_map(|cmsg| match cmsg {
                    ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.uid()),
                    _ => None,
                })
            });
            let (len, truncated) = (message.bytes, is_cut(message.flags));
            let sender = uid.map_or(Sender::NOBODY, Sender::Uid);
            gate.take(&self.buf[..len], truncated, &sender, batch);
            if frame::full(batch) {
                break;
            }
        }
        Ok(())
    }
}

fn is_cut(flags: MsgFlags) -> bool {
    flags.contains(MsgFlags::MSG_TRUNC)
}

/// Who sent a UDP datagram; IPv4 in IPv6's clothes is IPv4.
fn peer(address: Option<SockaddrStorage>) -> Sender {
    let address = address.as_ref();
    let v4 = address.and_then(|address| address.as_sockaddr_in()).map(|v4| IpAddr::from(v4.ip()));
    let v6 = || address.and_then(|address| address.as_sockaddr_in6()).map(|v6| v6.ip().to_canonical());
    v4.or_else(v6).map_or(Sender::Unknown, Sender::Peer)
}
