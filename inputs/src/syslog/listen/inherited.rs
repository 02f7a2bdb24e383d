//! Sockets that the service manager opened for us: sd_listen_fds(3).
//!
//! A socket serves the input that has its name (`FileDescriptorName=` in the socket unit, `LISTEN_FDNAMES` here), or
//! else the one that listens on its address. To make a socket of a number needs `unsafe`, so the crate `listenfd` does
//! it, which looks first whether the number is a socket's.

use super::datagram::Datagrams;
use super::stream::Streams;
use super::{Certificates, Listen, ListenError, Socket};
use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::env;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};

/// The sockets that nobody has taken yet.
#[derive(Default)]
pub struct Inherited(Vec<Passed>);

/// A socket that was handed to us.
pub struct Passed {
    /// What the service manager calls it; by default the name of its socket unit.
    pub name: String,
    socket: Kind,
}

enum Kind {
    Tcp(TcpListener),
    Udp(UdpSocket),
    UnixStream(UnixListener),
    UnixDatagram(UnixDatagram),
}

impl Inherited {
    /// The sockets that were handed to this process. To be called once, before it opens anything or starts a thread.
    pub fn of_process() -> Self {
        // Without it they may be somebody else's: the crate would take them.
        if env::var_os("LISTEN_PID").is_none() {
            return Inherited::default();
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut passed = Vec::new();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match kind(&mut descriptors, index) {
                Some(socket) => passed.push(Passed { name, socket }),
                None => tracing::warn!(index, name, "the service manager handed over what is no socket to listen on"),
            }
        }
        Inherited(passed)
    }

    /// Takes the socket that is meant for an input.
    pub fn take(&mut self, name: &str, listen: &Listen) -> Option<Passed> {
        let named = |passed: &Passed| passed.name == name && passed.fits(listen);
        let index = self.0.iter().position(named).or_else(|| self.0.iter().position(|passed| passed.is_at(listen)))?;
        Some(self.0.remove(index))
    }

    /// The names of those that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|passed| passed.name.as_str())
    }
}

/// The descriptor number `index` as a socket that can be listened on.
fn kind(descriptors: &mut ListenFd, index: usize) -> Option<Kind> {
    if let Ok(Some(socket)) = descriptors.take_tcp_listener(index) {
        return listens(&socket).then_some(Kind::Tcp(socket));
    }
    if let Ok(Some(socket)) = descriptors.take_unix_listener(index) {
        return listens(&socket).then_some(Kind::UnixStream(socket));
    }
    if let Ok(Some(socket)) = descriptors.take_udp_socket(index) {
        return Some(Kind::Udp(socket));
    }
    descriptors.take_unix_datagram(index).ok().flatten().map(Kind::UnixDatagram)
}

/// Whether it takes connections; with `Accept=yes` the manager hands over one that is a connection.
fn listens(socket: &impl AsFd) -> bool {
    getsockopt(socket, sockopt::AcceptConn).unwrap_or(false)
}

impl Passed {
    /// Whether it is of the kind of `listen`.
    fn fits(&self, listen: &Listen) -> bool {
        matches!(
            (&self.socket, listen),
            (Kind::Tcp(_), Listen::Tcp(_) | Listen::Tls(..))
                | (Kind::Udp(_), Listen::Udp(_))
                | (Kind::UnixStream(_), Listen::UnixStream(_))
                | (Kind::UnixDatagram(_), Listen::UnixDatagram(_))
        )
    }

    /// Whether it is bound where `listen` says.
    fn is_at(&self, listen: &Listen) -> bool {
        match (&self.socket, listen) {
            (Kind::Tcp(socket), Listen::Tcp(address) | Listen::Tls(address, _)) => {
                socket.local_addr().is_ok_and(|bound| bound == *address)
            }
            (Kind::Udp(socket), Listen::Udp(address)) => socket.local_addr().is_ok_and(|bound| bound == *address),
            (Kind::UnixStream(socket), Listen::UnixStream(path)) => {
                socket.local_addr().is_ok_and(|bound| bound.as_pathname() == Some(path))
            }
            (Kind::UnixDatagram(socket), Listen::UnixDatagram(path)) => {
                socket.local_addr().is_ok_and(|bound| bound.as_pathname() == Some(path))
            }
            _ => false,
        }
    }

    /// Makes a listener's socket of it, as [`Inherited::take`] found it for `listen`.
    pub(super) fn open(
        self,
        listen: &Listen,
        rcvbuf: usize,
        failed: impl Fn(io::Error) -> ListenError,
    ) -> Result<Socket, ListenError> {
        let certificates = match listen {
            Listen::Tls(_, identity) => Some(Certificates::load((**identity).clone())?),
            _ => None,
        };
        let socket = match self.socket {
            Kind::Tcp(socket) => Streams::tcp(socket, certificates).map(Socket::streams),
            Kind::Udp(socket) => Datagrams::of_udp(socket, rcvbuf).map(Socket::datagrams),
            Kind::UnixStream(socket) => Streams::unix(socket).map(Socket::streams),
            Kind::UnixDatagram(socket) => unix_datagrams(socket, rcvbuf).map(Socket::datagrams),
        };
        socket.map_err(failed)
    }
}

/// What was sent before credentials were asked for has none, and so is of
/// [`Sender::NOBODY`](crate::record::Sender::NOBODY).
fn unix_datagrams(socket: UnixDatagram, rcvbuf: usize) -> io::Result<Datagrams> {
    setsockopt(&socket, sockopt::PassCred, &true)?;
    Datagrams::unix(socket, rcvbuf)
}
