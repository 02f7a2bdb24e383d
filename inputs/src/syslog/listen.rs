//! Listens for syslog on UDP, TCP, TLS and unix sockets, its own or the service manager's.
//!
//! A [`Listener`] is an [`Input`] as any other: one thread reads its datagrams, or all its connections in turn, and
//! asks for no more while nobody takes what it has, which reaches TCP and unix senders as back-pressure. Promises that
//! what a stranger can grow is bounded and counted: connections, connections of one sender, frames, batches, messages
//! of one sender in a second. What the kernel dropped of UDP is in [`Batch::lost`]. Whether a listener that anybody can
//! reach may start without [`Options::from`] is the configuration's question, not asked here.

mod bound;
mod datagram;
mod inherited;
mod rates;
mod socket_file;
mod stream;
mod tls;

pub use inherited::{Inherited, Passed};
pub use tls::{Clients, HANDSHAKE_MAX, Identity, LOOK_EVERY, Permitted, TlsError};

use crate::input::{self, Counters, Input, Now, Progress, Wake};
use crate::record::{Batch, Sender};
use crate::syslog::frame::Framing;
use crate::syslog::parse::Parser;
use bound::Bound;
use datagram::Datagrams;
use nix::sys::socket::SockType;
use rates::Rates;
use socket_file::SocketFile;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;
use stream::Streams;
use tls::Certificates;

/// How long a listener rests after an error of its socket that may pass, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Messages of one sender in a second, if nothing else is said: more than one processor folds.
pub const RATE_MAX: u32 = 500_000;

/// How often at most is told what strangers can make happen at will.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Datagrams, one message each.
    Udp(SocketAddr),
    /// A stream in either framing.
    Tcp(SocketAddr),
    /// The same over TLS.
    Tls(SocketAddr, Box<Identity>),
    /// Datagrams of local processes, as on `/dev/log`.
    UnixDatagram(PathBuf),
    /// Streams of local processes.
    UnixStream(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Udp(address) => write!(f, "udp {address}"),
            Listen::Tcp(address) => write!(f, "tcp {address}"),
            Listen::Tls(address, _) => write!(f, "tls {address}"),
            Listen::UnixDatagram(path) | Listen::UnixStream(path) => write!(f, "unix {}", path.display()),
        }
    }
}

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Networks whose messages are taken, as address and prefix length; empty = any. Known users of unix sockets are
    /// taken all the same.
    pub from: Vec<(IpAddr, u8)>,
    /// Receive buffer to ask of the kernel for datagrams, in bytes. Without CAP_NET_ADMIN it gives
    /// `net.core.rmem_max` at most.
    pub rcvbuf: usize,
    /// Connections at a time; further ones are closed at once and counted.
    pub max_connections: usize,
    /// Connections at a time of one address (of IPv6, of one /64) or user id.
    pub max_per_sender: usize,
    /// Messages that one sender (address, user id or certificate) may send in a second. Of datagrams the rest is lost,
    /// and counted; a connection waits.
    pub max_rate: u32,
    /// How long a connection may say nothing before it is closed.
    pub idle: Duration,
    /// How long a frame may be unfinished before its connection is closed: it would hold a place for ever.
    pub half: Duration,
    /// Permissions of a unix socket's file.
    pub mode: u32,
    /// The group of a unix socket, where it is not our own.
    pub group: Option<u32>,
    /// How the frames of a stream are told apart.
    pub framing: Framing,
    /// What reads the frames.
    pub parser: Parser,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            from: Vec::new(),
            rcvbuf: 8 * 1024 * 1024,
            max_connections: 256,
            max_per_sender: 32,
            max_rate: RATE_MAX,
            idle: Duration::from_secs(600),
            half: Duration::from_secs(60),
            mode: 0o600,
            group: None,
            framing: Framing::Auto,
            parser: Parser::default(),
        }
    }
}

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses the socket.
    #[error("cannot listen on {listen}: {error}")]
    Bind {
        /// What was tried.
        listen: Listen,
        /// Why not.
        error: io::Error,
    },
    /// Another process has the socket file.
    #[error("another process listens on {}", .0.display())]
    Live(PathBuf),
    /// The socket's path is that of another kind of file, which is not deleted.
    #[error("{} exists and is no socket", .0.display())]
    NotSocket(PathBuf),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A network of `from` is none.
    #[error("{0}/{1} is no network: the prefix is too long")]
    Network(IpAddr, u8),
}

impl ListenError {
    /// Whether another process has the socket.
    pub fn is_in_use(&self) -> bool {
        match self {
            ListenError::Bind { error, .. } => error.kind() == io::ErrorKind::AddrInUse,
            ListenError::Live(_) => true,
            _ => false,
        }
    }
}

/// A listener that has its socket. A unix socket's file goes with it.
pub struct Listener {
    address: Option<SocketAddr>,
    socket: Socket,
    /// Dropped after the socket.
    _file: Option<SocketFile>,
    gate: Gate,
}

enum Socket {
    Datagrams(Datagrams),
    Streams(Box<Streams>),
}

/// Who may send, and how much, and what came of it.
struct Gate {
    listen: String,
    options: Options,
    rates: Rates,
    counters: Counters,
    /// Handshakes that failed.
    handshakes: Seldom,
    /// Streams that were broken.
    broken: Seldom,
    /// Connections that spoke another protocol.
    foreign: Seldom,
    /// Connections that were not taken, for an error.
    untaken: Seldom,
}

/// Counts what is told only now and then.
#[derive(Default)]
struct Seldom {
    times: u64,
    told: Option<Duration>,
}

impl Seldom {
    /// Counts one more; `Some` = it is time to tell that it happened so often since that was last told.
    fn count(&mut self, now: Duration) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

/// Opens the socket.
pub fn bind(listen: &Listen, options: Options) -> Result<Listener, ListenError> {
    let certificates = listen.certificates()?;
    let (socket, file) = match listen {
        Listen::Udp(address) => (UdpSocket::bind(address).map(Bound::Udp), None),
        Listen::Tcp(address) | Listen::Tls(address, _) => (TcpListener::bind(address).map(Bound::Tcp), None),
        Listen::UnixDatagram(path) => {
            let (socket, file) = socket_file::bind(listen, path, SockType::Datagram, &options)?;
            (Ok(Bound::UnixDatagram(socket.into())), Some(file))
        }
        Listen::UnixStream(path) => {
            let (socket, file) = socket_file::bind(listen, path, SockType::Stream, &options)?;
            (Ok(Bound::UnixStream(socket.into())), Some(file))
        }
    };
    Listener::new(listen, certificates, socket.map_err(listen.failed())?, file, options)
}

/// Takes a socket that the service manager opened for `listen`. Its file and its permissions are the manager's.
pub fn adopt(passed: Passed, listen: &Listen, options: Options) -> Result<Listener, ListenError> {
    Listener::new(listen, listen.certificates()?, passed.socket, None, options)
}

impl Listen {
    fn certificates(&self) -> Result<Option<Certificates>, TlsError> {
        match self {
            Listen::Tls(_, identity) => Certificates::load((**identity).clone()).map(Some),
            _ => Ok(None),
        }
    }

    fn failed(&self) -> impl Fn(io::Error) -> ListenError {
        |error| ListenError::Bind { listen: self.clone(), error }
    }
}

impl Listener {
    fn new(
        listen: &Listen,
        certificates: Option<Certificates>,
        bound: Bound,
        file: Option<SocketFile>,
        mut options: Options,
    ) -> Result<Self, ListenError> {
        let address = bound.address();
        let socket = match bound {
            Bound::Tcp(socket) => Streams::tcp(socket, certificates).map(Box::new).map(Socket::Streams),
            Bound::Udp(socket) => Datagrams::udp(socket, options.rcvbuf).map(Socket::Datagrams),
            Bound::UnixStream(socket) => Streams::unix(socket).map(Box::new).map(Socket::Streams),
            Bound::UnixDatagram(socket) => Datagrams::unix(socket, options.rcvbuf).map(Socket::Datagrams),
        };
        let socket = socket.map_err(listen.failed())?;
        for network in &mut options.from {
            *network = canonical(*network).ok_or(ListenError::Network(network.0, network.1))?;
        }
        Ok(Listener { address, socket, _file: file, gate: Gate::new(listen.to_string(), options) })
    }

    /// The address that was given to us, for those who asked for port 0; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Input for Listener {
    fn read(&mut self, now: Now, batch: &mut Batch) -> Result<Progress, input::Error> {
        self.gate.rates.tell(now.steady);
        let progress = match &mut self.socket {
            Socket::Datagrams(socket) => socket.read(&mut self.gate, batch),
            Socket::Streams(socket) => socket.read(&mut self.gate, now.steady, batch),
        };
        self.gate.options.parser.parse(batch);
        Ok(progress?)
    }

    fn wake(&mut self) -> Wake<'_> {
        match &self.socket {
            Socket::Datagrams(socket) => socket.wake(),
            Socket::Streams(socket) => socket.wake(),
        }
    }

    fn counters(&self) -> Counters {
        self.gate.counters
    }

    fn reload(&mut self) -> Result<bool, input::Error> {
        match &mut self.socket {
            Socket::Datagrams(_) => Ok(false),
            Socket::Streams(socket) => Ok(socket.reload()?),
        }
    }
}

impl Gate {
    fn new(listen: String, options: Options) -> Self {
        Gate {
            listen,
            rates: Rates::new(options.max_rate),
            options,
            counters: Counters::default(),
            handshakes: Seldom::default(),
            broken: Seldom::default(),
            foreign: Seldom::default(),
            untaken: Seldom::default(),
        }
    }

    /// Adds a datagram to the batch, if its sender may send it.
    fn take(&mut self, bytes: &[u8], truncated: bool, sender: &Sender, batch: &mut Batch) {
        if !self.allows(sender) {
            self.counters.refused += 1;
        } else if self.rates.take(sender, 1).is_some() {
            self.counters.limited += 1;
            batch.lost += 1;
        } else if !bytes.is_empty() {
            let sender = batch.number(sender);
            batch.add(bytes, sender, truncated);
        }
    }

    /// Whether `from` lets a sender in.
    fn allows(&self, sender: &Sender) -> bool {
        let from = &self.options.from;
        match sender {
            Sender::Uid(_) | Sender::Cert(_) => true,
            Sender::Peer(address) => from.is_empty() || from.iter().any(|network| contains(*network, *address)),
            Sender::Unknown => from.is_empty(),
        }
    }
}

/// A network as its addresses are compared: IPv4 in IPv6's clothes is IPv4. `None` where the prefix is too long.
fn canonical((address, prefix): (IpAddr, u8)) -> Option<(IpAddr, u8)> {
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if (96..=128).contains(&prefix) => Some((v4, prefix - 96)),
        (IpAddr::V6(_), _) => (prefix <= 128).then_some((address, prefix)),
        (IpAddr::V4(_), _) => (prefix <= 32).then_some((address, prefix)),
    }
}

/// Whether a network contains an address; both canonical.
fn contains((network, prefix): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_at_once_and_then_seldom() {
        let (mut seldom, now) = (Seldom::default(), Duration::from_secs(9));
        assert_eq!(seldom.count(now), Some(1));
        for _ in 0..5 {
            assert_eq!(seldom.count(now), None);
        }
        let later = now + TELL_EVERY;
        assert_eq!([seldom.count(later), seldom.count(later)], [Some(6), None]);
    }

    #[track_caller]
    fn check(network: &str, prefix: u8, address: &str, expected: Option<bool>) {
        let network = canonical((network.parse().unwrap(), prefix));
        assert_eq!(network.map(|network| contains(network, address.parse().unwrap())), expected);
    }

    #[test]
    fn compares_networks() {
        check("192.0.2.0", 24, "192.0.2.255", Some(true));
        check("192.0.2.0", 24, "192.0.3.0", Some(false));
        check("192.0.2.77", 24, "192.0.2.1", Some(true));
        check("192.0.2.1", 32, "192.0.2.1", Some(true));
        check("192.0.2.1", 32, "192.0.2.2", Some(false));
        check("0.0.0.0", 0, "198.51.100.1", Some(true));
        check("0.0.0.0", 0, "2001:db8::1", Some(false));
        check("0.0.0.0", 33, "192.0.2.1", None);
        check("2001:db8::", 32, "2001:db8:ffff::1", Some(true));
        check("2001:db8::", 32, "2001:db9::1", Some(false));
        check("::", 0, "2001:db8::1", Some(true));
        check("::", 129, "2001:db8::1", None);
        check("::ffff:192.0.2.0", 120, "192.0.2.9", Some(true));
        check("::ffff:192.0.2.0", 120, "192.0.3.9", Some(false));
        check("::ffff:192.0.2.0", 129, "192.0.3.9", None);
    }
}
