//! A connection to a server that is not believed: it has an end in time, and one in bytes.
//!
//! lettre reads a line of a server to its end however long it is, restarts its time limit with each byte, and takes no
//! connection of ours. So it talks to a [`Relay`] on this machine, which is between it and the server and has the limits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;

use crate::clock;

/// How long a server may take to connect, and for each part of an answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a connection may take in all. A server that delays its greeting and each answer by 10 s is in it.
pub(super) const TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of a mail server that are read: a handshake of TLS has 10 KiB or less, the answers 1 KiB.
const SMTP_BYTES: u64 = 128 * 1024;
/// How long we wait for lettre to connect to us, in seconds. It does so at once.
const ACCEPT_SECONDS: i64 = 5;

/// A connection within its limits.
#[derive(Debug)]
pub(super) struct Limited {
    stream: TcpStream,
    end: Instant,
    /// Bytes that may still be read.
    left: u64,
    bytes: u64,
}

impl Limited {
    /// Connects to the first address of `host` that takes us. All must be done within `time`, and what is read must have no
    /// more than `bytes` bytes.
    pub(super) fn connect(host: &str, port: u16, time: Duration, bytes: u64) -> io::Result<Limited> {
        let end = clock::monotonic() + time;
        let addresses: Vec<_> = match host.parse::<IpAddr>() {
            Ok(ip) => vec![(ip, port).into()],
            Err(_) => (host, port).to_socket_addrs()?.collect(),
        };
        let mut last = io::Error::new(ErrorKind::NotFound, "its host has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, left(end)?) {
                Ok(stream) => return Ok(Limited { stream, end, left: bytes, bytes }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The time for the next part of an answer; an error where all is over.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(clock::monotonic());
    match left.is_zero() {
        true => Err(io::Error::new(ErrorKind::TimedOut, "it is too slow: it did not take all in time")),
        false => Ok(left.min(ANSWER_MAX)),
    }
}

/// Says that a limit was met, which the system calls "try again".
fn in_time<T>(end: Instant, done: io::Result<T>) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            left(end)?;
            Err(io::Error::new(ErrorKind::TimedOut, format!("it said nothing for {} s", ANSWER_MAX.as_secs())))
        }
        done => done,
    }
}

impl Read for Limited {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("it says more than {} KiB, and is cut off", self.bytes >> 10)));
        }
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = in_time(self.end, self.stream.read(&mut into[..most]))?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        in_time(self.end, self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Stands between lettre and a mail server, for one connection.
#[derive(Debug)]
pub(super) struct Relay {
    /// Where it is to be talked to.
    pub(super) port: u16,
    thread: JoinHandle<io::Result<()>>,
}

impl Relay {
    /// Connects to a server, and waits on 127.0.0.1 for whom talks to it.
    pub(super) fn start(host: &str, port: u16) -> io::Result<Relay> {
        Self::of(Limited::connect(host, port, TIME_MAX, SMTP_BYTES)?)
    }

    fn of(server: Limited) -> io::Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&listener, ReceiveTimeout, &TimeVal::new(ACCEPT_SECONDS, 0))?;
        let port = listener.local_addr()?.port();
        let thread = std::thread::Builder::new().name("mail-relay".to_owned());
        Ok(Relay { port, thread: thread.spawn(move || relay(listener, server))? })
    }

    /// Waits until it has ended, soon after whom talked to it has; says which limit the server met.
    pub(super) fn end(self) -> Option<String> {
        self.thread.join().ok()?.err().map(|error| error.to_string())
    }
}

/// Hands on both ways, until one of both ends or a limit is met. What the server ends is no error.
fn relay(listener: TcpListener, mut server: Limited) -> io::Result<()> {
    let (mut client, _) = listener.accept()?;
    drop(listener);
    client.set_read_timeout(None)?;
    client.set_write_timeout(Some(ANSWER_MAX))?;
    let (mut asks, mut asked) = (client.try_clone()?, server.stream.try_clone()?);
    let sender = std::thread::Builder::new().name("mail-relay-out".to_owned()).spawn(move || {
        // Each end of this ends the other way, too, which says why.
        _ = io::copy(&mut asks, &mut asked);
        _ = asked.shutdown(Shutdown::Both);
    })?;
    let ended = hand_on(&mut server, &mut client);
    for stream in [&server.stream, &client] {
        _ = stream.shutdown(Shutdown::Both); // it may have ended already
    }
    _ = sender.join();
    ended
}

fn hand_on(server: &mut Limited, client: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let read = match server.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            read => read?,
        };
        if read == 0 || client.write_all(&bytes[..read]).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says these bytes for ever, one after each pause; and a connection to it.
    fn server(says: &'static [u8], pause: Duration, time: Duration) -> Limited {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut to, _) = listener.accept().unwrap();
            while to.write_all(says).is_ok() {
                std::thread::sleep(pause);
            }
        });
        Limited::connect("127.0.0.1", port, time, 64 * 1024).unwrap()
    }

    #[test]
    fn a_server_has_an_end_in_time_and_in_bytes() {
        let check = |server: Limited, want: &str, most: usize| {
            let relay = Relay::of(server).unwrap();
            let mut all = Vec::new();
            _ = TcpStream::connect(("127.0.0.1", relay.port)).unwrap().read_to_end(&mut all);
            assert!(all.len() <= most, "{}", all.len());
            let said = relay.end().unwrap();
            assert!(said.contains(want), "{said}");
        };
        let minute = Duration::from_secs(60);
        check(server(&[b'2'; 4096], Duration::ZERO, minute), "says more than 64 KiB", 64 * 1024);
        check(server(b"2", Duration::from_millis(5), Duration::from_millis(100)), "too slow", 1000);
        let mut direct = server(b"2", Duration::from_millis(5), Duration::from_millis(100));
        assert!(direct.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("too slow"));
    }

    #[test]
    fn it_ends_with_whom_it_serves() {
        let relay = Relay::of(server(b"220 x\r\n", Duration::from_millis(5), Duration::from_secs(60))).unwrap();
        let mut greeting = [0; 7];
        TcpStream::connect(("127.0.0.1", relay.port)).unwrap().read_exact(&mut greeting).unwrap();
        assert_eq!((&greeting, relay.end()), (b"220 x\r\n", None));
    }
}
