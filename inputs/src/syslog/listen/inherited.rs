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
use std::io;
use std::os::fd::AsFd;

/// The sockets that were handed to this process.
#[derive(Default)]
pub struct Inherited(Vec<Kept>);

struct Kept {
    passed: Passed,
    /// An input has it, or had.
    taken: bool,
}

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
                Some(socket) => passed.push(Kept { passed: Passed { name, socket }, taken: false }),
                None => tracing::warn!(index, name, "the service manager handed over what is no socket to listen on"),
            }
        }
        Inherited(passed)
    }

    /// Gives the socket that is meant for an input. It stays open beside, since only the service manager could open it
    /// again: an input that changes while we run has it once more.
    pub fn take(&mut self, name: &str, listen: &Listen) -> io::Result<Option<Passed>> {
        let named = |kept: &Kept| kept.passed.name == name && kept.passed.socket.fits(listen);
        let index = self.0.iter().position(named);
        let Some(index) = index.or_else(|| self.0.iter().position(|kept| kept.passed.socket.is_at(listen))) else {
            return Ok(None);
        };
        let Kept { passed, taken } = &mut self.0[index];
        *taken = true;
        Ok(Some(Passed { name: passed.name.clone(), socket: passed.socket.try_clone()? }))
    }

    /// The names of those that no input has taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|kept| !kept.taken).map(|kept| kept.passed.name.as_str())
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
