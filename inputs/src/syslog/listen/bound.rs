//! A socket that is bound and not read yet: our own, or the service manager's.

use super::Listen;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

/// See the module.
pub(super) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
    UnixStream(UnixListener),
    UnixDatagram(UnixDatagram),
}

impl Bound {
    /// The same socket once more.
    pub(super) fn try_clone(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Tcp(socket) => Bound::Tcp(socket.try_clone()?),
            Bound::Udp(socket) => Bound::Udp(socket.try_clone()?),
            Bound::UnixStream(socket) => Bound::UnixStream(socket.try_clone()?),
            Bound::UnixDatagram(socket) => Bound::UnixDatagram(socket.try_clone()?),
        })
    }

    /// Its address; `None` of a unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(socket) => socket.local_addr().ok(),
            Bound::Udp(socket) => socket.local_addr().ok(),
            Bound::UnixStream(_) | Bound::UnixDatagram(_) => None,
        }
    }

    /// Whether it is of the kind of `listen`.
    pub(super) fn fits(&self, listen: &Listen) -> bool {
        matches!(
            (self, listen),
            (Bound::Tcp(_), Listen::Tcp(_) | Listen::Tls(..))
                | (Bound::Udp(_), Listen::Udp(_))
                | (Bound::UnixStream(_), Listen::UnixStream(_))
                | (Bound::UnixDatagram(_), Listen::UnixDatagram(_))
        )
    }

    /// Whether it is of the kind of `listen`, and bound where that says.
    pub(super) fn is_at(&self, listen: &Listen) -> bool {
        let name = match self {
            Bound::UnixStream(socket) => socket.local_addr().ok(),
            Bound::UnixDatagram(socket) => socket.local_addr().ok(),
            Bound::Tcp(_) | Bound::Udp(_) => None,
        };
        let is_there = match listen {
            Listen::Udp(address) | Listen::Tcp(address) | Listen::Tls(address, _) => self.address() == Some(*address),
            Listen::UnixDatagram(path) | Listen::UnixStream(path) => {
                name.is_some_and(|name| name.as_pathname() == Some(path))
            }
        };
        is_there && self.fits(listen)
    }
}
