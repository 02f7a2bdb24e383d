//! Takes connections, and reads the frames of all of them in turn.
//!
//! One thread asks which have something (`epoll`), and reads of each what there is into one batch, until that is full;
//! whoever was not read to the end comes behind the others. A connection holds no more than half a frame.

use super::tls::{Certificates, HANDSHAKE_MAX, TlsError, TlsStream};
use super::{ERROR_PAUSE, Gate};
use crate::input::{Progress, Wake};
use crate::record::{Batch, Sender};
use crate::syslog::frame::{self, Decoder};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{getsockopt, sockopt};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// How much is read at once, in bytes. A batch can be so much greater than a full one.
const READ_SIZE: usize = 32 * 1024;

/// How often one connection is read before it is the others' turn, however little comes of it: an empty line is no
/// frame, and of a frame that is too long the end is skipped. Lines of usual length fill a batch before.
const READS_MAX: usize = 8;

/// How many connections are found ready at once, at most.
const EVENTS_MAX: usize = 256;

/// How many connections are taken at once, at most.
const ACCEPTS_MAX: usize = 64;

/// The number of the socket that takes connections; theirs begin behind it.
const SOCKET: u64 = 0;

/// A socket that takes connections, and the connections.
pub(super) struct Streams {
    socket: Socket,
    /// What comes by TCP is TLS.
    certificates: Option<Certificates>,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    connections: HashMap<u64, Connection>,
    /// The number of the last connection.
    last: u64,
    /// Those that may have more to read. Each is here once.
    ready: VecDeque<u64>,
    /// After an error no connection is taken before this time.
    rests_until: Option<Duration>,
    /// When it was read last, and when a connection's time may be over.
    now: Duration,
    due: Duration,
    chunk: Box<[u8]>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

struct Connection {
    stream: Stream,
    /// Until the connection is closed it counts as this one's, whatever name it proves to have.
    peer: Sender,
    /// Who sends; `None` during the handshake.
    sender: Option<Sender>,
    decoder: Decoder,
    beginning: Beginning,
    /// It is among those that are ready.
    is_ready: bool,
    /// It is closed at this time.
    deadline: Duration,
    /// It sent so much that it is not read before this time.
    waits_until: Option<Duration>,
}

enum Stream {
    Tcp(TcpStream),
    Tls(TlsStream),
    Unix(UnixStream),
}

/// What came of reading a connection.
enum Turn {
    /// There is no more for now.
    Dry,
    /// There may be more.
    More,
    /// There was more than it may send, so it is not read before this time.
    Wait(Duration),
    /// It has ended.
    Over,
}

impl Streams {
    /// Takes TCP connections; with certificates, what is in them is TLS.
    pub(super) fn tcp(socket: TcpListener, certificates: Option<Certificates>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::new(Socket::Tcp(socket), certificates)
    }

    /// Takes connections of local processes.
    pub(super) fn unix(socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::new(Socket::Unix(socket), None)
    }

    fn new(socket: Socket, certificates: Option<Certificates>) -> io::Result<Self> {
        let streams = Streams {
            socket,
            certificates,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); EVENTS_MAX],
            connections: HashMap::new(),
            last: SOCKET,
            ready: VecDeque::new(),
            rests_until: None,
            now: Duration::ZERO,
            due: Duration::MAX,
            chunk: vec![0; READ_SIZE].into_boxed_slice(),
        };
        watch(&streams.epoll, streams.socket.as_fd(), SOCKET)?;
        Ok(streams)
    }

    pub(super) fn wake(&self) -> Wake<'_> {
        Wake { fd: Some(self.epoll.0.as_fd()), within: self.due.saturating_sub(self.now) }
    }

    /// Reads the certificates again, and says whether there are any.
    pub(super) fn reload(&mut self) -> Result<bool, TlsError> {
        self.certificates.as_mut().map_or(Ok(false), |certificates| certificates.reload().map(|()| true))
    }

    /// Takes what there is, as much as fits.
    pub(super) fn read(&mut self, gate: &mut Gate, now: Duration, batch: &mut Batch) -> io::Result<Progress> {
        self.now = now;
        let found = match self.epoll.wait(&mut self.events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => return Ok(Progress::More),
            found => found?,
        };
        let mut accept = false;
        for event in &self.events[..found] {
            match self.connections.get_mut(&event.data()) {
                Some(connection) if !connection.is_ready => {
                    connection.is_ready = true;
                    self.ready.push_back(event.data());
                }
                Some(_) => {}
                None => accept |= event.data() == SOCKET,
            }
        }
        for _ in 0..self.ready.len() {
            if frame::full(batch) {
                break;
            }
            if let Some(number) = self.ready.pop_front() {
                self.turn(number, gate, batch);
            }
        }
        if accept {
            self.accept(gate);
        }
        if self.due <= now {
            self.expire(gate, found < self.events.len());
        }
        Ok(if self.ready.is_empty() { Progress::Idle } else { Progress::More })
    }

    /// Reads one connection.
    fn turn(&mut self, number: u64, gate: &mut Gate, batch: &mut Batch) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.is_ready = false;
        if !connection.is_open(self.certificates.as_ref(), gate, self.now) {
            self.connections.remove(&number);
            return;
        }
        let turn = connection.turn(&mut self.chunk, gate, self.now, batch);
        self.due = self.due.min(connection.deadline);
        match turn {
            Turn::Dry => {}
            Turn::More => {
                connection.is_ready = true;
                self.ready.push_back(number);
            }
            Turn::Wait(until) if self.epoll.delete(connection.stream.as_fd()).is_ok() => {
                connection.waits_until = Some(until);
                self.due = self.due.min(until);
            }
            Turn::Wait(_) | Turn::Over => _ = self.connections.remove(&number),
        }
    }

    /// Takes the connections that wait for it.
    fn accept(&mut self, gate: &mut Gate) {
        for _ in 0..ACCEPTS_MAX {
            let taken = match self.socket.accept() {
                Ok((_, peer)) if !self.has_room(&peer, gate) => {
                    gate.counters.refused += 1;
                    continue;
                }
                Ok((stream, peer)) => {
                    gate.counters.connections += 1;
                    self.open(stream, peer, gate)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                if let Some(times) = gate.untaken.count(self.now) {
                    tracing::warn!(listen = gate.listen, %error, times, "cannot take a connection");
                }
                let _ = self.epoll.delete(self.socket.as_fd());
                let until = self.now + ERROR_PAUSE;
                (self.rests_until, self.due) = (Some(until), self.due.min(until));
                return;
            }
        }
    }

    /// Whether one more connection of this peer is allowed.
    fn has_room(&self, peer: &Sender, gate: &Gate) -> bool {
        let mine = self.connections.values().filter(|other| is_same(&other.peer, peer)).count();
        let Gate { options, .. } = gate;
        gate.allows(peer) && self.connections.len() < options.max_connections && mine < options.max_per_sender
    }

    /// Begins a connection.
    fn open(&mut self, stream: Stream, peer: Sender, gate: &Gate) -> io::Result<()> {
        let (stream, sender, time) = match (&mut self.certificates, stream) {
            (Some(certificates), Stream::Tcp(stream)) => {
                let stream = certificates.greet(stream, self.now, &gate.listen).map_err(io::Error::other)?;
                (Stream::Tls(stream), None, HANDSHAKE_MAX)
            }
            (_, stream) => (stream, Some(peer.clone()), gate.options.idle),
        };
        self.last += 1;
        watch(&self.epoll, stream.as_fd(), self.last)?;
        let (decoder, deadline) = (Decoder::new(gate.options.framing), self.now + time);
        self.due = self.due.min(deadline);
        let beginning = Beginning::default();
        let connection =
            Connection { stream, peer, sender, decoder, beginning, is_ready: false, deadline, waits_until: None };
        self.connections.insert(self.last, connection);
        Ok(())
    }

    /// Closes connections whose time is over, if all were asked: whoever has sent something in time is known only then.
    /// Goes on with what had to wait.
    fn expire(&mut self, gate: &mut Gate, all_asked: bool) {
        let (epoll, now) = (&self.epoll, self.now);
        if self.rests_until.is_some_and(|until| until <= now) && watch(epoll, self.socket.as_fd(), SOCKET).is_ok() {
            self.rests_until = None;
        }
        self.due = self.rests_until.map_or(Duration::MAX, |until| until.max(now + ERROR_PAUSE));
        self.connections.retain(|number, connection| {
            if connection.waits_until.is_some_and(|until| until <= now) {
                connection.waits_until = None;
                if watch(epoll, connection.stream.as_fd(), *number).is_err() {
                    return false;
                }
            }
            let is_over = all_asked && connection.deadline <= now;
            if is_over && connection.waits_until.is_none() && !connection.is_ready {
                match connection.sender {
                    Some(_) => gate.counters.expired += 1,
                    None => {
                        gate.failed(now, &connection.peer, &format!("not done after {} s", HANDSHAKE_MAX.as_secs()))
                    }
                }
                return false;
            }
            self.due = self.due.min(connection.waits_until.unwrap_or(connection.deadline));
            true
        });
    }
}

impl Gate {
    /// Counts a handshake that failed, and tells it now and then.
    fn failed(&mut self, now: Duration, peer: &Sender, error: &str) {
        self.counters.handshakes_failed += 1;
        if let Some(times) = self.handshakes.count(now) {
            tracing::warn!(listen = self.listen, %peer, error, times, "TLS handshakes failed; this is the last of them");
        }
    }
}

impl Gate {
    /// Counts a connection that speaks another protocol, and tells it now and then.
    fn foreign(&mut self, now: Duration, sender: &Sender, what: &str) {
        self.counters.foreign += 1;
        if let Some(times) = self.foreign.count(now) {
            let listen = &self.listen;
            tracing::warn!(listen, %sender, what, times, "connections that speak no syslog were closed; this is the last of them");
        }
    }
}

/// What a connection begins with, as far as other protocols are known by it.
///
/// A browser, or a web application that strangers make post somewhere, sends lines that they choose, behind its own
/// first one. No frame ends before that one is known.
#[derive(Default)]
struct Beginning {
    bytes: [u8; 8],
    len: usize,
}

/// Methods of HTTP; a TLS record of a handshake; SSH's version.
const FOREIGN: [(&[u8], &str); 11] = [
    (b"GET ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"PATCH ", "HTTP"),
    (b"TRACE ", "HTTP"),
    (b"DELETE ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"CONNECT ", "HTTP"),
    (b"\x16\x03", "TLS"),
    (b"SSH-2.0-", "SSH"),
];

impl Beginning {
    /// Which other protocol it is, once that is told.
    fn tells(&mut self, bytes: &[u8]) -> Option<&'static str> {
        if self.len == self.bytes.len() {
            return None;
        }
        let more = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + more].copy_from_slice(&bytes[..more]);
        self.len += more;
        let known = FOREIGN.iter().find(|(begins, _)| self.bytes[..self.len].starts_with(begins));
        known.map(|(_, what)| *what)
    }
}

impl Connection {
    /// Whether it may be read, or will be once hands are shaken.
    fn is_open(&mut self, certificates: Option<&Certificates>, gate: &mut Gate, now: Duration) -> bool {
        let (Some(certificates), Stream::Tls(stream), None) = (certificates, &mut self.stream, &self.sender) else {
            return true;
        };
        match certificates.shake(stream, &self.peer) {
            Ok(Some(sender)) => (self.sender, self.deadline) = (Some(sender), now + gate.options.idle),
            Ok(None) => {}
            Err(why) => {
                gate.failed(now, &self.peer, &why);
                return false;
            }
        }
        true
    }

    /// Takes what there is, as much as fits.
    fn turn(&mut self, chunk: &mut [u8], gate: &mut Gate, now: Duration, batch: &mut Batch) -> Turn {
        let Some(sender) = &self.sender else { return Turn::Dry };
        let (half, frames, senders) = (self.decoder.unfinished(), batch.len(), batch.senders.len());
        batch.senders.push(sender.clone());
        let number = senders as u16; // each but the last has a frame, and there are fewer of those
        let mut turn = Turn::More;
        for _ in 0..READS_MAX {
            if !matches!(turn, Turn::More) || frame::full(batch) {
                break;
            }
            match self.stream.read(chunk) {
                Ok(0) => {
                    self.decoder.end(number, batch);
                    turn = Turn::Over;
                }
                Ok(len) => {
                    if let Some(what) = self.beginning.tells(&chunk[..len]) {
                        gate.foreign(now, sender, what);
                        turn = Turn::Over;
                        break;
                    }
                    self.decoder.push(&chunk[..len], number, batch);
                    // What comes later makes it ready again.
                    if len < chunk.len() {
                        turn = Turn::Dry;
                    }
                    if self.decoder.broken() {
                        turn = Turn::Over;
                        gate.counters.broken += 1;
                        if let Some(times) = gate.broken.count(now) {
                            let listen = &gate.listen;
                            tracing::warn!(listen, %sender, times, "a frame has no octet count; is framing = \"octet-counted\" right?");
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => turn = Turn::Dry,
                // The stream broke: a line may be cut in the middle of an address. What is whole goes out.
                Err(_) => turn = Turn::Over,
            }
        }
        let ended = batch.len() - frames;
        if ended == 0 {
            batch.senders.truncate(senders);
        }
        // One byte a minute must not keep a half frame alive, so its time runs from its beginning.
        match self.decoder.unfinished() {
            true if half && ended == 0 => {}
            true => self.deadline = now + gate.options.half,
            false => self.deadline = now + gate.options.idle,
        }
        match gate.rates.take(sender, ended as u32) {
            Some(until) if !matches!(turn, Turn::Over) => {
                gate.counters.slowed += 1;
                Turn::Wait(until)
            }
            _ => turn,
        }
    }
}

impl Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }

    /// The next connection, and who made it.
    fn accept(&self) -> io::Result<(Stream, Sender)> {
        match self {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Tcp(stream), Sender::Peer(peer.ip().to_canonical())))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                let peer = getsockopt(&stream, sockopt::PeerCredentials);
                Ok((Stream::Unix(stream), peer.map_or(Sender::NOBODY, |peer| Sender::Uid(peer.uid()))))
            }
        }
    }
}

impl Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.socket().as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Tls(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
        }
    }
}

/// Lets a socket be found ready by its number.
fn watch(epoll: &Epoll, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
    Ok(epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
}

/// Whether two connections are one sender's. Whoever has one address of an IPv6 /64 has all of it.
fn is_same(one: &Sender, other: &Sender) -> bool {
    match (one, other) {
        (Sender::Peer(IpAddr::V6(one)), Sender::Peer(IpAddr::V6(other))) => one.octets()[..8] == other.octets()[..8],
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;
    use crate::input::Counters;
    use nix::sys::socket::setsockopt;
    use std::io::Write;

    /// A connection whose far end the test has, read at times that the test says.
    struct Open {
        far: UnixStream,
        streams: Streams,
        gate: Gate,
        now: Duration,
    }

    impl Open {
        fn new(options: Options) -> Self {
            let (far, near) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let mut streams = Streams::unix(UnixListener::bind(directory.path().join("log")).unwrap()).unwrap();
            let gate = Gate::new("a test".to_owned(), options);
            streams.open(Stream::Unix(near), Sender::Unknown, &gate).unwrap();
            Open { far, streams, gate, now: Duration::ZERO }
        }

        /// Reads until there is nothing more now, and says how many frames there were.
        fn read(&mut self) -> usize {
            let mut batch = Batch::default();
            self.gate.rates.tell(self.now);
            while self.streams.read(&mut self.gate, self.now, &mut batch).unwrap() == Progress::More {}
            batch.len()
        }

        /// Lets so much time go by, as far as the connection wants to be read then.
        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while !self.is_over() && self.streams.due <= end {
                self.now = self.streams.due;
                self.read();
            }
            if !self.is_over() {
                self.now = end;
            }
        }

        fn is_over(&self) -> bool {
            self.streams.connections.is_empty()
        }

        fn counters(&self) -> Counters {
            self.gate.counters
        }
    }

    /// Seconds after which a connection expires on which each text is written, one a `pause`.
    fn expires(pause: u64, texts: &[&str]) -> u64 {
        let mut open = Open::new(Options::default());
        for text in texts {
            let _ = open.far.write_all(text.as_bytes());
            open.read();
            open.pass(Duration::from_secs(pause));
        }
        open.pass(Duration::from_secs(10_000));
        assert_eq!((open.is_over(), open.counters().expired), (true, 1));
        open.now.as_secs()
    }

    #[test]
    fn what_begins_as_another_protocol_is_closed() {
        let line = "<86>x\n";
        // How many frames are taken, and how many connections closed.
        let check = |pieces: &[&[u8]], frames: usize, foreign: u64| {
            let mut open = Open::new(Options::default());
            let taken = pieces.iter().map(|piece| {
                let _ = open.far.write_all(piece);
                open.read()
            });
            let taken: usize = taken.sum();
            assert_eq!((taken, open.counters().foreign, open.is_over()), (frames, foreign, foreign > 0), "{pieces:?}");
        };
        for (begins, _) in FOREIGN {
            let all = [begins, b" / HTTP/1.1\r\nHost: x\r\n\r\n", line.as_bytes()].concat();
            check(&[&all], 0, 1);
            let (first, rest) = all.split_at(1);
            check(&[first, rest, line.as_bytes()], 0, 1);
        }
        check(&[line.as_bytes(), b"GET / HTTP/1.1\n"], 2, 0);
        check(&[b"<86>GET / HTTP/1.1\n", b"5 <86>x", b"GETTY x\n"], 3, 0);
        check(&[b"GETTY\n", b"SSH-1\n"], 2, 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let check = |one: &str, other: &str, want: bool| {
            let peer = |text: &str| Sender::Peer(text.parse().unwrap());
            assert_eq!(is_same(&peer(one), &peer(other)), want, "{one} {other}");
        };
        check("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true);
        check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "2001:db8::1", false);
    }

    #[test]
    fn closes_idle_connections() {
        assert_eq!(expires(0, &[]), 600);
        assert_eq!(expires(0, &["<86>x\n"]), 600);
        assert_eq!(expires(500, &["<86>x\n", "<86>y\n"]), 1100);
    }

    #[test]
    fn closes_connections_that_leave_a_frame_half() {
        assert_eq!(expires(0, &["<86>x\n<86>"]), 60);
        assert_eq!(expires(0, &["99 "]), 60);
        // Dribbling does not help; whoever ends frames may go on, though each read leaves a half one.
        assert_eq!(expires(25, &["a"; 10]), 60);
        assert_eq!(expires(50, &["a\nb", "c\nd", "e\nf"]), 160);
    }

    #[test]
    fn a_sender_of_too_much_waits_and_loses_nothing() {
        let mut open = Open::new(Options { max_rate: 100, ..Options::default() });
        // At which time how many are read of what is written.
        for (lines, milliseconds, want) in [(60, 0, 60), (60, 0, 60), (1, 0, 0), (0, 999, 0), (0, 1, 1)] {
            open.far.write_all(&b"<86>x\n".repeat(lines)).unwrap();
            open.now += Duration::from_millis(milliseconds);
            let mut read = open.read();
            read += open.read();
            assert_eq!(read, want, "at {:?}", open.now);
        }
        assert_eq!(open.counters().slowed, 1);
    }

    #[test]
    fn who_waits_goes_on_however_many_others_send() {
        let mut open = Open::new(Options { max_rate: 2, ..Options::default() });
        let (mut other, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        open.streams.open(Stream::Unix(near), Sender::Uid(1), &open.gate).unwrap();
        open.streams.events.truncate(1); // as many as send are found at once
        let waits = |open: &Open| open.streams.connections.values().any(|one| one.waits_until.is_some());
        open.far.write_all(&b"<86>x\n".repeat(3)).unwrap();
        assert_eq!((open.read(), waits(&open)), (3, true));
        open.now += Duration::from_secs(2);
        other.write_all(b"<86>x\n").unwrap();
        let mut batch = Batch::default();
        let _ = open.streams.read(&mut open.gate, open.now, &mut batch).unwrap();
        assert_eq!((batch.len(), waits(&open)), (1, false));
    }

    #[test]
    fn a_sender_of_nothing_but_empty_lines_takes_its_turn_only() {
        let mut open = Open::new(Options::default());
        setsockopt(&open.far, sockopt::SndBuf, &(4 * READS_MAX * READ_SIZE)).unwrap();
        open.far.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(len) = open.far.write(&[b'\n'; READ_SIZE]) {
            written += len;
        }
        assert!(written > READS_MAX * READ_SIZE, "{written}");
        let mut batch = Batch::default();
        assert_eq!(open.streams.read(&mut open.gate, open.now, &mut batch).unwrap(), Progress::More);
        assert_eq!((batch.len(), open.read(), open.is_over()), (0, 0, false));
        open.far.write_all(b"<86>x\n").unwrap();
        assert_eq!(open.read(), 1, "all was read");
    }

    #[test]
    fn data_that_waited_while_nobody_read_keeps_a_connection_alive() {
        let mut open = Open::new(Options::default());
        open.far.write_all(b"<86>x\n").unwrap();
        open.now = Duration::from_secs(10_000);
        assert_eq!((open.read(), open.is_over()), (1, false));
    }
}
