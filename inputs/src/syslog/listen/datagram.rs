//! Reads datagrams, as many as there are, into one batch.
//!
//! One `recvmsg` a datagram: it alone tells the sender's credentials, what was cut and what the kernel dropped.
//! Buffers are small on purpose: there is no room for file descriptors that somebody attaches, so none are opened.

use super::{Clock, ERROR_PAUSE, Flow, Outlet, Shared, count, stopped};
use crate::record::{Batch, LINE_MAX, Sender};
use crate::syslog::frame::{self, BATCH_MAX};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, UnixCredentials, recvmsg, setsockopt, sockopt};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};

/// A datagram socket and how to read it.
pub(super) struct Datagrams {
    socket: Socket,
    /// The kernel's count of dropped datagrams, as of the last one that told it.
    dropped: u32,
    buf: Box<[u8]>,
    control: Vec<u8>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// One datagram, whose bytes are in the socket's buffer.
struct Datagram {
    len: usize,
    truncated: bool,
    sender: Sender,
    /// Dropped before this one, since the one before it.
    lost: u32,
}

impl Datagrams {
    /// A UDP socket on `address`.
    pub(super) fn udp(address: SocketAddr, rcvbuf: usize) -> io::Result<Self> {
        Self::of_udp(std::net::UdpSocket::bind(address)?, rcvbuf)
    }

    /// Reads a bound UDP socket.
    pub(super) fn of_udp(socket: std::net::UdpSocket, rcvbuf: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        ask_for_room(&socket, rcvbuf)?;
        Ok(Self::new(Socket::Udp(UdpSocket::from_std(socket)?), nix::cmsg_space!(u32)))
    }

    /// Reads a bound unix socket that passes credentials.
    pub(super) fn unix(socket: std::os::unix::net::UnixDatagram, rcvbuf: usize) -> io::Result<Self> {
        ask_for_room(&socket, rcvbuf)?;
        Ok(Self::new(Socket::Unix(UnixDatagram::from_std(socket)?), nix::cmsg_space!(UnixCredentials)))
    }

    fn new(socket: Socket, control: Vec<u8>) -> Self {
        Datagrams { socket, dropped: 0, buf: vec![0; LINE_MAX].into_boxed_slice(), control }
    }

    /// The bound address of a UDP socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Waits for a datagram, then adds what is there now to a batch.
    async fn read<C: Clock>(&mut self, shared: &Shared<C>) -> io::Result<Batch> {
        match &self.socket {
            Socket::Udp(socket) => socket.readable().await?,
            Socket::Unix(socket) => socket.readable().await?,
        }
        let mut batch = shared.batch();
        // Bounded also where all are refused and none fills the batch.
        for _ in 0..BATCH_MAX {
            if frame::full(&batch) {
                break;
            }
            let datagram = match self.receive() {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What was read before goes out; an error that stays comes back on the next call.
                Err(error) if batch.frames.is_empty() && batch.lost == 0 => return Err(error),
                Err(_) => break,
            };
            batch.lost += u64::from(datagram.lost);
            if !shared.allowed(&datagram.sender) {
                count(&shared.counters.refused, 1);
            } else if datagram.len > 0 {
                let sender = number(datagram.sender, &mut batch);
                frame::add(&self.buf[..datagram.len], sender, datagram.truncated, &mut batch);
            }
        }
        count(&shared.counters.lost, batch.lost);
        Ok(batch)
    }

    /// Reads one datagram, or says that there is none now.
    fn receive(&mut self) -> io::Result<Datagram> {
        let Datagrams { socket, dropped, buf, control } = self;
        match socket {
            Socket::Udp(socket) => {
                socket.try_io(Interest::READABLE, || Ok(receive_udp(socket.as_raw_fd(), dropped, buf, control)?))
            }
            Socket::Unix(socket) => {
                socket.try_io(Interest::READABLE, || Ok(receive_unix(socket.as_raw_fd(), buf, control)?))
            }
        }
    }
}

/// Asks for a receive buffer of so many bytes and takes what is given: beyond `net.core.rmem_max` only the privileged get it.
fn ask_for_room(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &bytes)?;
    }
    Ok(())
}

/// Reads a socket until it is time to stop.
pub(super) async fn run<C: Clock>(mut socket: Datagrams, shared: Shared<C>, mut outlet: Outlet) {
    loop {
        let batch = tokio::select! {
            biased;
            () = stopped(&mut outlet.stop) => return,
            batch = socket.read(&shared) => batch,
        };
        match batch {
            Ok(batch) => {
                if outlet.send(batch).await == Flow::Stop {
                    return;
                }
                // A flood keeps the socket readable; other tasks have their turn all the same.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!(source = shared.options.source.0, %error, "cannot read a datagram");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Reads one UDP datagram. What the kernel dropped before it is told once.
fn receive_udp(fd: RawFd, dropped: &mut u32, buf: &mut [u8], control: &mut [u8]) -> nix::Result<Datagram> {
    let mut parts = [IoSliceMut::new(buf)];
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let total = message.cmsgs()?.find_map(|cmsg| match cmsg {
        ControlMessageOwned::RxqOvfl(total) => Some(total),
        _ => None,
    });
    // The kernel's count wraps; it is not sent while it is 0.
    let lost = total.map_or(0, |total| total.wrapping_sub(std::mem::replace(dropped, total)));
    let sender = message.address.as_ref().and_then(peer).map_or(Sender::Unknown, Sender::Peer);
    Ok(Datagram { len: message.bytes, truncated: message.flags.contains(MsgFlags::MSG_TRUNC), sender, lost })
}

/// Reads one datagram of a unix socket, whose senders wait and so lose none.
fn receive_unix(fd: RawFd, buf: &mut [u8], control: &mut [u8]) -> nix::Result<Datagram> {
    let mut parts = [IoSliceMut::new(buf)];
    let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
    // An error here means that somebody attached more than credentials, and with them hides who he is.
    let uid = message.cmsgs().ok().and_then(|mut cmsgs| {
        cmsgs.find_map(|cmsg| match cmsg {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.uid()),
            _ => None,
        })
    });
    let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
    Ok(Datagram { len: message.bytes, truncated, sender: uid.map_or(Sender::NOBODY, Sender::Uid), lost: 0 })
}

/// The address of a sender; IPv4 in IPv6's clothes is IPv4.
fn peer(address: &SockaddrStorage) -> Option<IpAddr> {
    let address: IpAddr = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => v4.ip().into(),
        (None, Some(v6)) => v6.ip().into(),
        (None, None) => return None,
    };
    Some(address.to_canonical())
}

/// The number of a sender in a batch. Bursts come from one sender, so only the last is looked at; a batch has fewer frames than numbers.
fn number(sender: Sender, batch: &mut Batch) -> u16 {
    if batch.senders.last() != Some(&sender) {
        batch.senders.push(sender);
    }
    (batch.senders.len() - 1) as u16
}
