//! Sends syslog messages as fast as it is told: what `tests/bench/syslog` measures listeners with.
//!
//! usage: syslog_sender udp|tcp ADDRESS --count N [--rate N] [--kind mixed|tries|others]
//!        [--addresses N] [--hosts N] [--spoof N]
//!
//! Each message has 105 bytes. `mixed` is a log as it is: of five lines three are one failed login's and two are other
//! programs'. `tries` is the worst: each line is a refused attempt of a connection of its own, at one of `--hosts`
//! and from one of `--addresses`, in no order. `--rate` is messages a second, 0 = as fast as it goes. `--spoof` sends
//! from so many addresses of 127.0.0.0/8 in turn (UDP). Prints how many were sent, in how many seconds.

use std::io::{IoSlice, Write as _};
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::exit;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, sendmsg, setsockopt, sockopt};

/// Messages that go out by one call.
const BURST: usize = 64;
/// Bytes of a message.
const LEN: usize = 105;
/// A prime, so that its multiples visit every number below a smaller one.
const STRIDE: u64 = 2_654_435_761;

struct Wanted {
    count: u64,
    rate: u64,
    kind: Kind,
    addresses: u64,
    hosts: u64,
    spoof: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Mixed,
    Tries,
    Others,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((protocol, address, wanted)) = parse(&arguments) else {
        eprintln!("usage: see the head of {}", file!());
        exit(2);
    };
    let began = Instant::now();
    match protocol {
        "udp" if wanted.spoof > 0 => spoofed(address, &wanted),
        "udp" => datagrams(address, &wanted),
        _ => stream(address, &wanted),
    }
    println!("{} {:.3}", wanted.count, began.elapsed().as_secs_f64());
}

fn parse(arguments: &[String]) -> Option<(&str, SocketAddrV4, Wanted)> {
    let [protocol, address, options @ ..] = arguments else { return None };
    let mut wanted = Wanted { count: 0, rate: 0, kind: Kind::Mixed, addresses: 1_000, hosts: 1, spoof: 0 };
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        let number = value.parse().ok();
        match name.as_str() {
            "--count" => wanted.count = number?,
            "--rate" => wanted.rate = number?,
            "--addresses" => wanted.addresses = number.filter(|number| *number > 0)?,
            "--hosts" => wanted.hosts = number.filter(|number| *number > 0)?,
            "--spoof" => wanted.spoof = number?,
            "--kind" => {
                wanted.kind = match value.as_str() {
                    "mixed" => Kind::Mixed,
                    "tries" => Kind::Tries,
                    "others" => Kind::Others,
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some((protocol.as_str(), address.parse().ok()?, wanted)).filter(|(protocol, ..)| ["udp", "tcp"].contains(protocol))
}

/// Writes message `index`, [`LEN`] bytes without line end.
fn message(wanted: &Wanted, index: u64, out: &mut Vec<u8>) {
    out.clear();
    let (kind, connection) = match wanted.kind {
        Kind::Mixed => (index % 5, index / 5),
        Kind::Tries => (0, index),
        Kind::Others => (3 + index % 2, index),
    };
    let spread = connection.wrapping_mul(STRIDE);
    let [_, a, b, c] = ((spread % wanted.addresses) as u32 + 1).to_be_bytes();
    let (host, pid, port) = (spread % wanted.hosts, 1_000 + connection % 4_000_000, 1_024 + connection % 60_000);
    let _ = write!(out, "<86>{} web{host} ", stamp());
    let end: &[&dyn std::fmt::Display] = &[&"10.", &a, &".", &b, &".", &c, &" port ", &port];
    let before_user = match kind {
        0 if matches!(wanted.kind, Kind::Tries) => "Failed password for invalid user ",
        0 => "Invalid user ",
        1 => "Failed password for invalid user ",
        2 => "Connection closed by invalid user ",
        3 => "pam_unix(cron:session): session opened for user root(uid=0) by ",
        _ => "Started session of user ",
    };
    match kind {
        0..=2 => {
            let _ = write!(out, "sshd[{pid}]: {before_user}");
            let at = out.len();
            out.extend_from_slice(if kind == 2 { b" " } else { b" from " });
            end.iter().for_each(|part| drop(write!(out, "{part}")));
            out.extend_from_slice(match kind {
                1 => b" ssh2",
                2 => b" [preauth]",
                _ if matches!(wanted.kind, Kind::Tries) => b" ssh2",
                _ => b"",
            });
            // The user's name fills it up.
            let fill = LEN.saturating_sub(out.len()).max(1);
            out.splice(at..at, std::iter::repeat_n(b'u', fill));
        }
        _ => {
            let _ = write!(out, "{}[{pid}]: {before_user}", if kind == 3 { "CRON" } else { "systemd" });
            out.resize(LEN, b'u');
        }
    }
}

/// Now, as the old syslog writes it, in UTC; made anew each time, as a sender must.
fn stamp() -> impl std::fmt::Display {
    thread_local!(static LAST: std::cell::RefCell<(u64, String)> = const { std::cell::RefCell::new((0, String::new())) });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now {
            *second = now;
            let now = jiff::Timestamp::from_second(now as i64).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
            *text = now.strftime("%b %e %H:%M:%S").to_string();
        }
        text.clone()
    })
}

/// Waits until message `index` is due.
fn pace(began: Instant, index: u64, wanted: &Wanted) {
    if wanted.rate > 0 {
        let due = began + Duration::from_secs_f64(index as f64 / wanted.rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn socket(address: SocketAddrV4) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    let _ = setsockopt(&socket, sockopt::SndBuf, &(4 << 20));
    let _ = address;
    socket
}

fn datagrams(address: SocketAddrV4, wanted: &Wanted) {
    let socket = socket(address);
    socket.connect(address).expect("an address on this machine");
    let mut texts: Vec<_> = (0..BURST).map(|_| Vec::with_capacity(256)).collect();
    let began = Instant::now();
    let mut sent = 0;
    while sent < wanted.count {
        let burst = BURST.min((wanted.count - sent) as usize);
        texts[..burst].iter_mut().enumerate().for_each(|(index, text)| message(wanted, sent + index as u64, text));
        pace(began, sent, wanted);
        let slices: Vec<[IoSlice<'_>; 1]> = texts[..burst].iter().map(|text| [IoSlice::new(text)]).collect();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(burst, None);
        let nobody = vec![None; burst];
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &nobody, [], MsgFlags::empty()) {
            Ok(done) => sent += done.count() as u64,
            Err(error) => fail(&format!("cannot send: {error}")),
        }
    }
}

fn spoofed(address: SocketAddrV4, wanted: &Wanted) {
    let socket = socket(address);
    let to = SockaddrIn::from(address);
    let mut text = Vec::with_capacity(256);
    let began = Instant::now();
    for index in 0..wanted.count {
        message(wanted, index, &mut text);
        if index % BURST as u64 == 0 {
            pace(began, index, wanted);
        }
        let source = 0x7f00_0001 + (index.wrapping_mul(STRIDE) % wanted.spoof) as u32;
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: source.to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let from = [ControlMessage::Ipv4PacketInfo(&info)];
        if let Err(error) = sendmsg(socket.as_raw_fd(), &[IoSlice::new(&text)], &from, MsgFlags::empty(), Some(&to)) {
            fail(&format!("cannot send: {error}"));
        }
    }
}

fn stream(address: SocketAddrV4, wanted: &Wanted) {
    let mut stream = TcpStream::connect(address).expect("a listener");
    let (mut text, mut burst) = (Vec::with_capacity(256), Vec::with_capacity(BURST * 256));
    let began = Instant::now();
    let mut sent = 0;
    while sent < wanted.count {
        burst.clear();
        let end = wanted.count.min(sent + BURST as u64);
        pace(began, sent, wanted);
        for index in sent..end {
            message(wanted, index, &mut text);
            burst.extend_from_slice(&text);
            burst.push(b'\n');
        }
        if let Err(error) = stream.write_all(&burst) {
            fail(&format!("cannot send: {error}"));
        }
        sent = end;
    }
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    exit(1);
}
