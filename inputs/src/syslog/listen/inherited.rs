//! Sockets that the service manager opened for us: sd_listen_fds(3).
//!
//! A socket serves the input that has its name (`FileDescriptorName=` in the socket unit, `LISTEN_FDNAMES` here), or
//! else the one that listens on its address. To make a socket of a number needs `unsafe`, so the crate `listenfd` does
//! it, which looks first whether the number is a socket's.

use super::Listen;
use super::bound::Bound;
use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt};
use std::env;
use std::os::fd::AsFd;

/// The sockets that nobody has taken yet.
#[derive(Default)]
pub struct Inherited(Vec<Passed>);

/// A socket that was handed to us.
pub struct Passed {
    /// What the service manager calls it; by default the name of its socket unit.
    pub name: String,
    pub(super) socket: Bound,
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
            match bound(&mut descriptors, index) {
                Some(socket) => passed.push(Passed { name, socket }),
                None => tracing::warn!(index, name, "the service manager handed over what is no socket to listen on"),
            }
        }
        Inherited(passed)
    }

    /// Takes the socket that is meant for an input.
    pub fn take(&mut self, name: &str, listen: &Listen) -> Option<Passed> {
        let named = |passed: &Passed| passed.name == name && passed.socket.fits(listen);
        let index = self.0.iter().position(named);
        let index = index.or_else(|| self.0.iter().position(|passed| passed.socket.is_at(listen)))?;
        Some(self.0.remove(index))
    }

    /// The names of those that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|passed| passed.name.as_str())
    }
}

/// The descriptor number `index` as a socket that can be listened on.
fn bound(descriptors: &mut ListenFd, index: usize) -> Option<Bound> {
    if let Ok(Some(socket)) = descriptors.take_tcp_listener(index) {
        return listens(&socket).then_some(Bound::Tcp(socket));
    }
    if let Ok(Some(socket)) = descriptors.take_unix_listener(index) {
        return listens(&socket).then_some(Bound::UnixStream(socket));
    }
    if let Ok(Some(socket)) = descriptors.take_udp_socket(index) {
        return Some(Bound::Udp(socket));
    }
    descriptors.take_unix_datagram(index).ok().flatten().map(Bound::UnixDatagram)
}

/// Whether it takes connections; with `Accept=yes` the manager hands over one that is a connection.
fn listens(socket: &impl AsFd) -> bool {
    getsockopt(socket, sockopt::AcceptConn).unwrap_or(false)
}
