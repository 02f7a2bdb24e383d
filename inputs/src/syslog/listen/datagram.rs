//! Reads datagrams, as many as there are, into one batch.
//!
//! On a thread of its own, by `recvmmsg`: an executor's readiness and a call for each datagram cost twice as much as
//! all the rest. Buffers for control messages are small on purpose: there is no room for file descriptors that
//! somebody attaches, so none are opened.

use super::rates::Rates;
use super::{Clock, ERROR_PAUSE, Flow, Outlet, Shared, count, stopped};
use crate::record::{Batch, LINE_MAX, Sender};
use crate::syslog::frame::{self, BATCH_MAX};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, UnixCredentials, recvmmsg, recvmsg, setsockopt,
    sockopt,
};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::MutexGuard;
use tokio::runtime::Handle;

/// Datagrams that one call reads.
const CALL_MAX: usize = 64;

/// From one datagram's buffer to the next. Not a multiple of the page's size: their beginnings, which is all that most
/// datagrams fill, would share a few lines of the processor's cache.
const STRIDE: usize = LINE_MAX + 192;

/// A datagram socket.
pub(super) enum Datagrams {
    Udp(UdpSocket),
    /// It passes credentials.
    Unix(UnixDatagram),
}

impl Datagrams {
    /// A UDP socket on `address`.
    pub(super) fn udp(address: SocketAddr, rcvbuf: usize) -> io::Result<Self> {
        Self::of_udp(UdpSocket::bind(address)?, rcvbuf)
    }

    /// Reads a bound UDP socket.
    pub(super) fn of_udp(socket: UdpSocket, rcvbuf: usize) -> io::Result<Self> {
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        ask_for_room(&socket, rcvbuf)?;
        Ok(Datagrams::Udp(socket))
    }

    /// Reads a bound unix socket that passes credentials.
    pub(super) fn unix(socket: UnixDatagram, rcvbuf: usize) -> io::Result<Self> {
        ask_for_room(&socket, rcvbuf)?;
        Ok(Datagrams::Unix(socket))
    }

    /// The bound address of a UDP socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Datagrams::Udp(socket) => socket.local_addr().ok(),
            Datagrams::Unix(_) => None,
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Datagrams::Udp(socket) => socket.as_fd(),
            Datagrams::Unix(socket) => socket.as_fd(),
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

/// Reads a socket until it is time to stop, or nobody reads the sink.
pub(super) async fn run<C: Clock>(socket: Datagrams, shared: Shared<C>, mut outlet: Outlet) {
    let (going, gone) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            tracing::error!(source = shared.options.source.0, %error, "cannot read datagrams");
            return;
        }
    };
    let thread = tokio::task::spawn_blocking({
        let outlet = outlet.clone();
        move || Reader::new(shared).run(&socket, &gone, outlet)
    });
    tokio::select! {
        () = stopped(&mut outlet.stop) => {}
        () = outlet.sink.closed() => {}
    }
    // It sees that its end has no other any more.
    drop(going);
    let _ = thread.await;
}

/// What the thread of a socket has.
struct Reader<C> {
    shared: Shared<C>,
    /// The kernel's count of dropped datagrams, as of the last one that told it.
    dropped: u32,
    buf: Box<[u8]>,
    control: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl<C: Clock> Reader<C> {
    fn new(shared: Shared<C>) -> Self {
        let buf = vec![0; STRIDE * CALL_MAX].into_boxed_slice();
        // Room for either: a UDP socket sends only the number, which is smaller.
        let control = nix::cmsg_space!(UnixCredentials);
        Reader { shared, dropped: 0, buf, control, headers: MultiHeaders::preallocate(CALL_MAX, None) }
    }

    fn run(mut self, socket: &Datagrams, gone: &UnixStream, mut outlet: Outlet) {
        let runtime = Handle::current();
        while wait(Some(socket.as_fd()), gone, PollTimeout::NONE) {
            match self.read(socket) {
                Ok(batch) => {
                    // It waits for room; meanwhile the socket's own buffer fills, and what does not fit is counted.
                    if runtime.block_on(outlet.send(batch)) == Flow::Stop {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(source = self.shared.options.source.0, %error, "cannot read a datagram");
                    wait(None, gone, PollTimeout::try_from(ERROR_PAUSE).unwrap_or(PollTimeout::MAX));
                }
            }
        }
    }

    /// Takes what is there now.
    fn read(&mut self, socket: &Datagrams) -> io::Result<Batch> {
        let Reader { shared, .. } = self;
        let (shared, mut batch) = (shared.clone(), shared.batch());
        let mut taker = Taker { shared: &shared, rates: shared.rates(), batch: &mut batch };
        let read = match socket {
            Datagrams::Udp(socket) => self.read_udp(socket.as_raw_fd(), &mut taker),
            Datagrams::Unix(socket) => self.read_unix(socket.as_raw_fd(), &mut taker),
        };
        drop(taker);
        count(&shared.counters.lost, batch.lost);
        match read {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(batch),
            // What was read before goes out; an error that stays comes back on the next call.
            Err(_) if !batch.is_empty() || batch.lost > 0 => Ok(batch),
            Err(error) => Err(error.into()),
        }
    }

    /// The first datagram by itself, with what the kernel dropped before it; nix' headers for many cannot be used again
    /// for control messages. What it drops from here on, the next batch tells.
    fn read_udp(&mut self, fd: RawFd, taker: &mut Taker<'_, C>) -> nix::Result<()> {
        let Reader { dropped, buf, control, headers, .. } = self;
        let mut parts = [IoSliceMut::new(&mut buf[..LINE_MAX])];
        let first = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
        let total = first.cmsgs()?.find_map(|cmsg| match cmsg {
            ControlMessageOwned::RxqOvfl(total) => Some(total),
            _ => None,
        });
        // The kernel's count wraps; it is not sent while it is 0.
        let lost = total.map_or(0, |total| total.wrapping_sub(std::mem::replace(dropped, total)));
        taker.batch.lost += u64::from(lost);
        let (len, truncated, sender) = (first.bytes, is_cut(first.flags), peer(first.address));
        taker.take(&buf[..len], truncated, &sender);
        // Bounded also where all are refused and none fills the batch.
        for _ in 0..BATCH_MAX / CALL_MAX {
            let mut buffers = buf.chunks_exact_mut(STRIDE);
            let mut parts: [_; CALL_MAX] = std::array::from_fn(|_| {
                [IoSliceMut::new(&mut buffers.next().expect("there are as many buffers")[..LINE_MAX])]
            });
            let room = CALL_MAX.min(BATCH_MAX - taker.batch.len());
            let mut received = 0;
            for datagram in recvmmsg(fd, headers, parts[..room].iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
                received += 1;
                let (bytes, truncated) = (datagram.iovs().next().unwrap_or_default(), is_cut(datagram.flags));
                taker.take(bytes, truncated, &peer(datagram.address));
            }
            if received < room || frame::full(taker.batch) {
                break;
            }
        }
        Ok(())
    }

    /// One call for each: it alone tells who sent it. Senders wait, so that none is lost.
    fn read_unix(&mut self, fd: RawFd, taker: &mut Taker<'_, C>) -> nix::Result<()> {
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
            taker.take(&self.buf[..len], truncated, &sender);
            if frame::full(taker.batch) {
                break;
            }
        }
        Ok(())
    }
}

/// Waits until there is something to read; `false` = it is time to stop.
fn wait(socket: Option<BorrowedFd<'_>>, gone: &UnixStream, at_most: PollTimeout) -> bool {
    let fd = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut both = [fd(gone.as_fd()), fd(socket.unwrap_or(gone.as_fd()))];
    // An interrupted call only means to look earlier.
    let _ = poll(&mut both, at_most);
    !both[0].any().unwrap_or(false)
}

/// Where datagrams go.
struct Taker<'a, C> {
    shared: &'a Shared<C>,
    rates: MutexGuard<'a, Rates>,
    batch: &'a mut Batch,
}

impl<C: Clock> Taker<'_, C> {
    /// Adds a datagram to the batch, if its sender may send it.
    fn take(&mut self, bytes: &[u8], truncated: bool, sender: &Sender) {
        if !self.shared.allowed(sender) {
            count(&self.shared.counters.refused, 1);
        } else if !self.rates.take(sender, 1) {
            count(&self.shared.counters.limited, 1);
            self.batch.lost += 1;
        } else if !bytes.is_empty() {
            let sender = self.batch.number(sender);
            self.batch.add(bytes, sender, truncated);
        }
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
