//! Listeners on real sockets: loopback and temporary unix paths. Waits are bounded, nothing sleeps.

mod tls;

use inputs::input::{Counters, Now, Worker};
use inputs::record::{Batch, LINE_MAX, Sender, SourceId, Timestamp};
use inputs::syslog::frame::Framing;
use inputs::syslog::listen::{Listen, ListenError, Listener, Options, bind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

const WAIT: Duration = Duration::from_secs(10);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A running listener.
struct Running {
    address: Option<SocketAddr>,
    worker: Worker,
    batches: mpsc::Receiver<Batch>,
    /// The seconds that its clock shows.
    seconds: Arc<AtomicU64>,
}

fn clock() -> Timestamp {
    Timestamp::from_secs(1_795_305_600)
}

fn start(listen: &Listen, options: Options) -> Running {
    run(bind(listen, options).unwrap())
}

fn run(listener: Listener) -> Running {
    let address = listener.address();
    let (sink, batches) = mpsc::channel(1);
    let seconds = Arc::new(AtomicU64::new(0));
    let time = seconds.clone();
    let now = move || Now { wall: clock(), steady: Duration::from_secs(time.load(Ordering::Relaxed)) };
    let hand_on = move |batch| sink.blocking_send(batch).is_ok();
    let worker = Worker::start("listener", SourceId(7), Box::new(listener), now, hand_on).unwrap();
    Running { address, worker, batches, seconds }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(WAIT, future).await.expect("it takes too long")
}

impl Running {
    /// The next `count` messages, cut ones ending in `…`, each with its sender.
    async fn messages(&mut self, count: usize) -> Vec<(String, Sender)> {
        let mut out = Vec::new();
        while out.len() < count {
            let batch = bounded(self.batches.recv()).await.unwrap();
            assert_eq!((batch.received, batch.reference, batch.source), (clock(), clock(), SourceId(7)));
            for (line, record) in batch.lines().zip(batch.records()) {
                let mark = if record.truncated { "…" } else { "" };
                out.push((format!("{}{mark}", line.escape_ascii()), record.sender.clone()));
            }
        }
        assert_eq!(out.len(), count);
        out
    }

    async fn check(&mut self, expected: &[&str], sender: Sender) {
        let expected: Vec<_> = expected.iter().map(|text| (text.to_string(), sender.clone())).collect();
        assert_eq!(self.messages(expected.len()).await, expected);
    }

    fn counters(&self) -> Counters {
        self.worker.health.now().counters
    }

    /// Waits until a counter has a value.
    async fn until(&self, counter: fn(&Counters) -> u64, expected: u64) {
        bounded(async {
            while counter(&self.counters()) != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Stops it, and says how many records it still handed over.
    async fn stop(mut self) -> (Counters, usize) {
        self.worker.reins.stop();
        let mut left = 0;
        while let Some(batch) = bounded(self.batches.recv()).await {
            left += batch.len();
        }
        let health = self.worker.health.clone();
        assert!(self.worker.wait(WAIT));
        (health.now().counters, left)
    }
}

fn options() -> Options {
    Options::default()
}

fn udp() -> Listen {
    Listen::Udp(SocketAddr::new(LOOPBACK, 0))
}

fn tcp() -> Listen {
    Listen::Tcp(SocketAddr::new(LOOPBACK, 0))
}

fn uid() -> Sender {
    Sender::Uid(nix::unistd::getuid().as_raw())
}

#[tokio::test]
async fn udp_takes_datagrams() {
    let mut running = start(&udp(), options());
    let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for text in ["<86>one\n", "", "<86>two\nlines"] {
        client.send_to(text.as_bytes(), running.address.unwrap()).unwrap();
    }
    client.send_to(&[b'L'; LINE_MAX + 1], running.address.unwrap()).unwrap();
    let long = "L".repeat(LINE_MAX) + "…";
    running.check(&["<86>one\\n", "<86>two\\nlines", &long], Sender::Peer(LOOPBACK)).await;
    assert_eq!(running.stop().await, (Counters::default(), 0));
}

#[tokio::test]
async fn udp_on_ipv6_knows_ipv4_peers() {
    let mut running = start(&Listen::Udp("[::]:0".parse().unwrap()), options());
    let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client.send_to(b"<86>x", (LOOPBACK, running.address.unwrap().port())).unwrap();
    running.check(&["<86>x"], Sender::Peer(LOOPBACK)).await;
    running.stop().await;
}

#[tokio::test]
async fn udp_refuses_strangers() {
    let from = vec![("192.0.2.0".parse().unwrap(), 24)];
    let running = start(&udp(), Options { from, ..options() });
    let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client.send_to(b"<86>x", running.address.unwrap()).unwrap();
    running.until(|all| all.refused, 1).await;
    assert_eq!(running.stop().await.1, 0);
}

#[tokio::test]
async fn udp_counts_what_the_kernel_dropped() {
    let listener = bind(&udp(), Options { rcvbuf: 1, ..options() }).unwrap();
    let address = listener.address().unwrap();
    let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for _ in 0..200 {
        client.send_to(&[b'x'; 1000], address).unwrap();
    }
    let mut running = run(listener);
    let first = bounded(running.batches.recv()).await.unwrap();
    assert!(first.len() < 200);
    // The kernel tells its count with the next datagram that finds room.
    client.send_to(b"next", address).unwrap();
    let second = bounded(running.batches.recv()).await.unwrap();
    assert_eq!(first.len() as u64 + first.lost + second.lost, 200);
    running.stop().await;
}

#[tokio::test]
async fn udp_drops_and_counts_what_a_sender_sends_too_much() {
    let listener = bind(&udp(), Options { max_rate: 3, ..options() }).unwrap();
    let address = listener.address().unwrap();
    let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
    // All are there before the first is read, so they are of one second.
    for text in ["<86>1", "<86>2", "<86>3", "<86>4", "<86>5"] {
        client.send_to(text.as_bytes(), address).unwrap();
    }
    let mut running = run(listener);
    let batch = bounded(running.batches.recv()).await.unwrap();
    assert!(batch.lines().eq([b"<86>1", b"<86>2", b"<86>3"]) && batch.lost == 2);
    assert_eq!(running.stop().await.0.limited, 2);
}

#[tokio::test]
async fn udp_takes_more_than_one_call_reads_and_mixes_no_senders() {
    // They fit into the receive buffer that anybody may have.
    let (count, listener) = (300, bind(&udp(), options()).unwrap());
    let address = listener.address().unwrap();
    let clients: Vec<_> =
        (1..=3).map(|last| std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).unwrap()).collect();
    for index in 0..count {
        clients[index / 50 % 3].send_to(format!("<86>{index}").as_bytes(), address).unwrap();
    }
    let mut running = run(listener);
    let mut index = 0;
    while index < count {
        let batch = bounded(running.batches.recv()).await.unwrap();
        assert!(batch.len() <= 1_000 && batch.lost == 0);
        for (line, record) in batch.lines().zip(batch.records()) {
            let sender = Sender::Peer(Ipv4Addr::new(127, 0, 0, (index / 50 % 3 + 1) as u8).into());
            assert_eq!((line, record.sender), (format!("<86>{index}").as_bytes(), &sender));
            index += 1;
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn tcp_takes_both_framings_in_pieces() {
    let mut running = start(&tcp(), options());
    let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    client.write_all(b"<86>one\n7 <86>").await.unwrap();
    running.check(&["<86>one"], Sender::Peer(LOOPBACK)).await;
    client.write_all(b"two7 <86>sixunfinished").await.unwrap();
    running.check(&["<86>two", "<86>six"], Sender::Peer(LOOPBACK)).await;
    drop(client);
    running.check(&["unfinished"], Sender::Peer(LOOPBACK)).await;
    assert_eq!(running.stop().await, (Counters { connections: 1, ..Counters::default() }, 0));
}

#[tokio::test]
async fn tcp_takes_the_framing_that_is_said() {
    let mut running = start(&tcp(), Options { framing: Framing::Newline, ..options() });
    let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    client.write_all(b"<86>one\n7 <86>two\n").await.unwrap();
    running.check(&["<86>one", "7 <86>two"], Sender::Peer(LOOPBACK)).await;
    running.stop().await;

    let mut running = start(&tcp(), Options { framing: Framing::OctetCounted, ..options() });
    let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    client.write_all(b"7 <86>one<86>two\n7 <86>three").await.unwrap();
    running.check(&["<86>one"], Sender::Peer(LOOPBACK)).await;
    // Either is an end: what it sent is unread.
    assert!(matches!(bounded(client.read(&mut [0; 1])).await, Ok(0) | Err(_)));
    let (counters, left) = running.stop().await;
    assert_eq!((counters.broken, left), (1, 0));
}

#[tokio::test]
async fn tcp_pushes_back_and_loses_nothing() {
    let mut running = start(&tcp(), options());
    let client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    let (mut sent, line) = (Vec::new(), [b"<86>".as_slice(), &[b'x'; 4091], b"\n"].concat());
    // Until all buffers on the way are full: nobody reads the sink.
    while tokio::time::timeout(Duration::from_millis(300), client.writable()).await.is_ok() {
        let at = sent.len() % line.len();
        if let Ok(len) = client.try_write(&line[at..]) {
            sent.extend_from_slice(&line[at..at + len]);
        }
    }
    drop(client);
    let mut received = 0;
    while received < sent.len() / line.len() {
        let batch = bounded(running.batches.recv()).await.unwrap();
        assert!(batch.records().all(|record| !record.truncated) && batch.lost == 0);
        received += batch.len();
    }
    running.stop().await;
}

#[tokio::test]
async fn tcp_limits_connections() {
    let mut running = start(&tcp(), Options { max_connections: 1, ..options() });
    let mut first = TcpStream::connect(running.address.unwrap()).await.unwrap();
    first.write_all(b"<86>x\n").await.unwrap();
    running.check(&["<86>x"], Sender::Peer(LOOPBACK)).await;
    let mut second = TcpStream::connect(running.address.unwrap()).await.unwrap();
    assert_eq!(bounded(second.read(&mut [0; 1])).await.unwrap(), 0);
    running.until(|all| all.refused, 1).await;
    // The place is free again when the first goes.
    first.write_all(b"<86>last").await.unwrap();
    drop(first);
    running.check(&["<86>last"], Sender::Peer(LOOPBACK)).await;
    bounded(async {
        loop {
            let mut third = TcpStream::connect(running.address.unwrap()).await.unwrap();
            let sent = third.write_all(b"<86>y\n").await;
            if sent.is_ok() && running.counters().connections >= 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn tcp_limits_connections_of_one_sender() {
    let mut running = start(&tcp(), Options { max_per_sender: 1, ..options() });
    let mut first = TcpStream::connect(running.address.unwrap()).await.unwrap();
    first.write_all(b"<86>x\n").await.unwrap();
    running.check(&["<86>x"], Sender::Peer(LOOPBACK)).await;
    let mut second = TcpStream::connect(running.address.unwrap()).await.unwrap();
    assert_eq!(bounded(second.read(&mut [0; 1])).await.unwrap(), 0);
    let (counters, _) = running.stop().await;
    assert_eq!((counters.refused, counters.connections), (1, 1));
}

#[tokio::test]
async fn tcp_refuses_strangers() {
    let from = vec![("192.0.2.0".parse().unwrap(), 24)];
    let running = start(&tcp(), Options { from, ..options() });
    let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    assert_eq!(bounded(client.read(&mut [0; 1])).await.unwrap(), 0);
    let (counters, _) = running.stop().await;
    assert_eq!((counters.refused, counters.connections), (1, 0));
}

#[tokio::test]
async fn what_was_read_before_a_stop_is_handed_over() {
    for listen in [tcp(), udp()] {
        let mut running = start(&listen, options());
        let address = running.address.unwrap();
        // The sink has room for one batch; another waits.
        match listen {
            Listen::Tcp(_) => {
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all("<86>x\n".repeat(20_000).as_bytes()).await.unwrap();
            }
            _ => {
                let client = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
                client.send_to(b"<86>x", address).unwrap();
            }
        }
        let first = bounded(running.batches.recv()).await.unwrap();
        assert!(!first.is_empty());
        running.stop().await;
    }
}

#[tokio::test]
async fn ends_when_nobody_reads_the_sink() {
    let running = start(&tcp(), options());
    let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
    drop(running.batches);
    client.write_all(b"<86>x\n").await.unwrap();
    assert!(running.worker.wait(WAIT));
}

/// Whoever sends without end does not keep the others out.
#[tokio::test]
async fn each_connection_has_its_turn() {
    let mut running = start(&tcp(), Options { max_rate: u32::MAX, ..options() });
    let address = running.address.unwrap();
    let mut flood = TcpStream::connect(address).await.unwrap();
    let flood = tokio::spawn(async move {
        let text = "<86>flood\n".repeat(10_000);
        while flood.write_all(text.as_bytes()).await.is_ok() {}
    });
    bounded(running.batches.recv()).await.unwrap();
    let mut quiet = TcpStream::connect(address).await.unwrap();
    quiet.write_all(b"<86>quiet\n").await.unwrap();
    bounded(async {
        while let Some(batch) = running.batches.recv().await {
            if batch.lines().any(|line| line == b"<86>quiet") {
                break;
            }
        }
    })
    .await;
    running.stop().await;
    flood.await.unwrap();
}

#[tokio::test]
async fn unix_datagrams_tell_who_sent_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut running = start(&Listen::UnixDatagram(path.clone()), Options { mode: 0o666, ..options() });
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
    client.send_to(b"<86>x", &path).unwrap();
    running.check(&["<86>x"], uid()).await;
    running.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn unix_datagrams_with_attached_files_are_of_nobody() {
    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
    use std::os::fd::AsRawFd;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut running = start(&Listen::UnixDatagram(path.clone()), options());
    let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let (text, files) = ([std::io::IoSlice::new(b"<86>x")], [client.as_raw_fd()]);
    let attached = [ControlMessage::ScmRights(&files)];
    let address = UnixAddr::new(&path).unwrap();
    sendmsg(client.as_raw_fd(), &text, &attached, MsgFlags::empty(), Some(&address)).unwrap();
    running.check(&["<86>x"], Sender::NOBODY).await;
    running.stop().await;
}

#[tokio::test]
async fn unix_streams_tell_who_sent_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut running = start(&Listen::UnixStream(path.clone()), options());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"<86>x\n").await.unwrap();
    running.check(&["<86>x"], uid()).await;
    running.stop().await;
    assert!(!path.exists());
}

fn both(path: &Path) -> [Listen; 2] {
    [Listen::UnixDatagram(path.into()), Listen::UnixStream(path.into())]
}

#[tokio::test]
async fn a_socket_file_in_use_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for first in both(&path) {
        let held = bind(&first, options()).unwrap();
        for second in both(&path) {
            let error = bind(&second, options()).err().unwrap();
            assert!(matches!(&error, ListenError::Live(live) if *live == path), "{error}");
        }
        drop(held);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_socket_file_left_over_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for listen in both(&path) {
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        assert!(path.exists());
        bind(&listen, options()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        bind(&listen, options()).unwrap();
    }
}

#[tokio::test]
async fn another_file_is_never_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, "precious").unwrap();
    for listen in both(&path) {
        let error = bind(&listen, options()).err().unwrap();
        assert!(matches!(error, ListenError::NotSocket(_)));
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_file_that_replaced_ours_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let held = bind(&Listen::UnixStream(path.clone()), options()).unwrap();
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(held);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn a_busy_port_and_a_bad_network_are_errors() {
    let held = bind(&tcp(), options()).unwrap();
    let error = bind(&Listen::Tcp(held.address().unwrap()), options()).err().unwrap();
    assert!(error.to_string().starts_with("cannot listen on tcp 127.0.0.1:"), "{error}");
    let from = vec![("192.0.2.0".parse().unwrap(), 33)];
    let error = bind(&tcp(), Options { from, ..options() }).err().unwrap();
    assert_eq!(error.to_string(), "192.0.2.0/33 is no network: the prefix is too long");
}
