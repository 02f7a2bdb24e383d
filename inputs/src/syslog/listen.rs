//! Listens for syslog on UDP, TCP, TLS and unix sockets, its own or the service manager's.
//!
//! Promises that what a stranger can grow is bounded and counted: connections, connections of one sender, frames,
//! batches, messages of one sender in a second; a full sink stops the reading, which reaches TCP and unix senders as back-pressure. What the kernel
//! dropped of UDP is in [`Batch::lost`]. Whether a listener that anybody can reach may start without
//! [`Options::from`] is the configuration's question, not asked here.

mod datagram;
mod inherited;
mod rates;
mod socket_file;
mod stream;
mod tls;

pub use inherited::{Inherited, Passed};
pub use tls::{BadName, Certificates, Clients, HANDSHAKE_MAX, Identity, LOOK_EVERY, Permitted, TlsError};

use crate::record::{Batch, Sender, SourceId, Timestamp};
use crate::syslog::frame::Framing;
use crate::syslog::parse::Parser;
use datagram::Datagrams;
use rates::Rates;
use socket_file::SocketFile;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

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
#[derive(Clone, Debug)]
pub struct Options {
    /// Which configured input the batches are of.
    pub source: SourceId,
    /// Networks whose messages are taken, as address and prefix length; empty = any. Known users of unix sockets are taken all the same.
    pub from: Vec<(IpAddr, u8)>,
    /// Receive buffer to ask of the kernel for datagrams, in bytes. Without CAP_NET_ADMIN it gives `net.core.rmem_max` at most.
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
    /// How the frames of a stream are told apart.
    pub framing: Framing,
    /// What reads the frames.
    pub parser: Parser,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            source: SourceId::default(),
            from: Vec::new(),
            rcvbuf: 8 * 1024 * 1024,
            max_connections: 256,
            max_per_sender: 32,
            max_rate: RATE_MAX,
            idle: Duration::from_secs(600),
            half: Duration::from_secs(60),
            mode: 0o600,
            framing: Framing::Auto,
            parser: Parser::default(),
        }
    }
}

/// What a listener has seen since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were taken.
    pub connections: AtomicU64,
    /// Connections and datagrams that were not: sender not in `from`, or too many connections.
    pub refused: AtomicU64,
    /// Connections of which the TLS handshake failed.
    pub handshakes_failed: AtomicU64,
    /// Connections that were closed because they were idle or left a frame unfinished.
    pub expired: AtomicU64,
    /// Connections that were closed because a frame had no octet count, though [`Options::framing`] demands one.
    pub broken: AtomicU64,
    /// Frames that were delivered.
    pub records: AtomicU64,
    /// Those of them that were cut at [`LINE_MAX`](crate::record::LINE_MAX).
    pub truncated: AtomicU64,
    /// Datagrams that the kernel dropped because we were too slow, those of `limited`, and frames that a stop left behind.
    pub lost: AtomicU64,
    /// Datagrams that were dropped because their sender sent more than [`Options::max_rate`].
    pub limited: AtomicU64,
    /// How often a connection had to wait because its sender had sent so much.
    pub slowed: AtomicU64,
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

/// A listener that has its socket.
pub struct Bound<C> {
    socket: Socket,
    /// Dropped after the socket.
    _file: Option<SocketFile>,
    shared: Shared<C>,
}

enum Socket {
    Datagram(Datagrams),
    Tcp(TcpListener),
    Tls(TcpListener, Certificates),
    Unix(UnixListener),
}

/// What the tasks of a listener share.
#[derive(Clone)]
struct Shared<C> {
    options: Arc<Options>,
    counters: Arc<Counters>,
    /// Handshakes that failed.
    handshakes: Arc<Seldom>,
    /// Streams that were broken.
    broken: Arc<Seldom>,
    rates: Arc<Mutex<Rates>>,
    clock: C,
}

/// Counts what is told only now and then.
#[derive(Default)]
struct Seldom(Mutex<(u64, Option<Instant>)>);

impl Seldom {
    /// Counts one more; `Some` = it is time to tell that it happened so often since that was last told.
    fn count(&self) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, told) = &mut *seen;
        *times += 1;
        if told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        *told = Some(Instant::now());
        Some(std::mem::take(times))
    }
}

/// What tells the time at which a batch was received.
pub trait Clock: Fn() -> Timestamp + Clone + Send + Sync + 'static {}

impl<C: Fn() -> Timestamp + Clone + Send + Sync + 'static> Clock for C {}

/// Opens the socket. To be called within a tokio runtime.
pub fn bind<C: Clock>(listen: &Listen, options: Options, clock: C) -> Result<Bound<C>, ListenError> {
    let failed = |error: io::Error| ListenError::Bind { listen: listen.clone(), error };
    let (socket, file) = match listen {
        Listen::Udp(address) => (Socket::Datagram(Datagrams::udp(*address, options.rcvbuf).map_err(failed)?), None),
        Listen::Tcp(address) => (Socket::Tcp(tcp(*address).map_err(failed)?), None),
        Listen::Tls(address, identity) => {
            let certificates = Certificates::load((**identity).clone())?;
            (Socket::Tls(tcp(*address).map_err(failed)?, certificates), None)
        }
        Listen::UnixDatagram(path) => {
            let (socket, file) = socket_file::datagram(path, options.mode)?;
            (Socket::Datagram(Datagrams::unix(socket, options.rcvbuf).map_err(failed)?), Some(file))
        }
        Listen::UnixStream(path) => {
            let (socket, file) = socket_file::stream(path, options.mode)?;
            (Socket::Unix(UnixListener::from_std(socket).map_err(failed)?), Some(file))
        }
    };
    Bound::new(socket, file, options, clock)
}

/// Takes a socket that the service manager opened for `listen`. To be called within a tokio runtime.
///
/// Its file and its permissions are the manager's.
pub fn adopt<C: Clock>(passed: Passed, listen: &Listen, options: Options, clock: C) -> Result<Bound<C>, ListenError> {
    let failed = |error: io::Error| ListenError::Bind { listen: listen.clone(), error };
    let socket = passed.open(listen, options.rcvbuf, failed)?;
    Bound::new(socket, None, options, clock)
}

impl<C: Clock> Bound<C> {
    fn new(socket: Socket, file: Option<SocketFile>, mut options: Options, clock: C) -> Result<Self, ListenError> {
        for network in &mut options.from {
            *network = canonical(*network).ok_or(ListenError::Network(network.0, network.1))?;
        }
        Ok(Bound { socket, _file: file, shared: Shared::new(options, clock) })
    }

    /// The certificates of a TLS listener, to be read again while it runs.
    pub fn certificates(&self) -> Option<Certificates> {
        match &self.socket {
            Socket::Tls(_, certificates) => Some(certificates.clone()),
            _ => None,
        }
    }

    /// The counters, which go on while it runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    /// The address that was given to us, for those who asked for port 0; `None` for unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Datagram(socket) => socket.address(),
            Socket::Tcp(socket) | Socket::Tls(socket, _) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Sends batches to `sink` until `stop` is true (or its sender gone) or nobody reads the sink. A unix socket's file is removed then.
    ///
    /// Whole frames that were read are still offered to the sink at the end, but nobody waits for room.
    pub async fn run(self, sink: mpsc::Sender<Batch>, stop: watch::Receiver<bool>) -> Arc<Counters> {
        let (counters, parser) = (self.shared.counters.clone(), self.shared.options.parser.clone());
        let outlet = Outlet { sink, stop, counters, parser };
        let counters = self.shared.counters.clone();
        match self.socket {
            Socket::Datagram(socket) => datagram::run(socket, self.shared, outlet).await,
            Socket::Tcp(socket) => stream::run(socket, stream::as_it_is, self.shared, outlet).await,
            Socket::Unix(socket) => stream::run(socket, stream::as_it_is, self.shared, outlet).await,
            Socket::Tls(socket, certificates) => {
                let open = |stream, peer, shared| certificates.clone().open(stream, peer, shared);
                stream::run(socket, open, self.shared, outlet).await;
            }
        }
        counters
    }
}

impl<C: Clock> Shared<C> {
    fn new(options: Options, clock: C) -> Self {
        Shared {
            rates: Arc::new(Mutex::new(Rates::new(options.max_rate))),
            options: Arc::new(options),
            counters: Arc::default(),
            handshakes: Arc::default(),
            broken: Arc::default(),
            clock,
        }
    }

    /// An empty batch, received now.
    fn batch(&self) -> Batch {
        let received = (self.clock)();
        Batch::new(self.options.source, received)
    }

    /// What each sender sent in this second, as of now.
    fn rates(&self) -> MutexGuard<'_, Rates> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.tell(Instant::now());
        rates
    }

    /// Whether `from` lets a sender in.
    fn allowed(&self, sender: &Sender) -> bool {
        let from = &self.options.from;
        match sender {
            Sender::Uid(_) | Sender::Cert(_) => true,
            Sender::Peer(address) => from.is_empty() || from.iter().any(|network| contains(*network, *address)),
            Sender::Unknown => from.is_empty(),
        }
    }
}

/// Where batches go, and when to stop.
#[derive(Clone)]
struct Outlet {
    sink: mpsc::Sender<Batch>,
    stop: watch::Receiver<bool>,
    counters: Arc<Counters>,
    parser: Parser,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

impl Outlet {
    /// Waits for room, unless it is time to stop, and sends. Nothing is sent of an empty batch.
    async fn send(&mut self, mut batch: Batch) -> Flow {
        if batch.is_empty() && batch.lost == 0 {
            return Flow::On;
        }
        self.parser.parse(&mut batch);
        let (records, cut) = (batch.len(), batch.truncated());
        let permit = tokio::select! {
            biased;
            permit = self.sink.reserve() => permit.ok(),
            () = stopped(&mut self.stop) => None,
        };
        let Some(permit) = permit else {
            count(&self.counters.lost, records as u64);
            return Flow::Stop;
        };
        permit.send(batch);
        count(&self.counters.records, records as u64);
        count(&self.counters.truncated, cut as u64);
        Flow::On
    }
}

/// Resolves when it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Adds to a counter. Nobody draws conclusions from the order of two counters.
fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
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

    #[tokio::test(start_paused = true)]
    async fn tells_at_once_and_then_seldom() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(), Some(1));
        for _ in 0..5 {
            assert_eq!(seldom.count(), None);
        }
        tokio::time::advance(TELL_EVERY).await;
        assert_eq!([seldom.count(), seldom.count()], [Some(6), None]);
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
