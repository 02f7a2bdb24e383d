//! Takes connections, opens them, and reads their frames.
//!
//! A connection is a task with a buffer of its own: at most 32 KiB beside the batch it is filling, which is sent as
//! soon as the socket has no more to read. It waits for room in the sink, and so does its sender.

use super::{Clock, ERROR_PAUSE, Flow, Outlet, Shared, count, stopped};
use crate::record::{Batch, Sender};
use crate::syslog::frame::{self, Decoder};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{Id, JoinSet};

/// How much is read at once, in bytes.
const READ_SIZE: usize = 16 * 1024;

/// A socket that takes connections, and who made them.
pub(super) trait Accept {
    /// What a connection is read from.
    type Stream: AsyncRead + Unpin + Send + 'static;
    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Sender)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn accept(&self) -> io::Result<(Self::Stream, Sender)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        Ok((stream, Sender::Peer(peer.ip().to_canonical())))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn accept(&self) -> io::Result<(Self::Stream, Sender)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let sender = stream.peer_cred().map_or(Sender::NOBODY, |peer| Sender::Uid(peer.uid()));
        Ok((stream, sender))
    }
}

/// Opens a connection that needs no opening.
pub(super) async fn as_it_is<S, C>(stream: S, sender: Sender, _: Shared<C>) -> Option<(S, Sender)> {
    Some((stream, sender))
}

/// Takes connections until it is time to stop, then waits for theirs to end, which know it too.
///
/// `open` is what must happen before the first byte of a connection, in its own task. It says who the sender really
/// is, or refuses. Until a connection is closed it counts as its address's, whatever name it has.
pub(super) async fn run<C, L, S, F>(
    listener: L,
    open: impl Fn(L::Stream, Sender, Shared<C>) -> F,
    shared: Shared<C>,
    mut outlet: Outlet,
) where
    C: Clock,
    L: Accept,
    S: AsyncRead + Unpin + Send + 'static,
    F: Future<Output = Option<(S, Sender)>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut connected: HashMap<Id, Sender> = HashMap::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut outlet.stop) => break,
            () = outlet.sink.closed() => break,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                connected.remove(&id);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, sender)) if !room(&connected, &sender, &shared) => count(&shared.counters.refused, 1),
            Ok((stream, sender)) => {
                count(&shared.counters.connections, 1);
                let opening = open(stream, sender.clone(), shared.clone());
                let task = tasks.spawn(connection(opening, shared.clone(), outlet.clone()));
                connected.insert(task.id(), sender);
            }
            Err(error) => {
                tracing::warn!(source = shared.options.source.0, %error, "cannot take a connection");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
    drop(listener);
    if outlet.sink.is_closed() {
        tasks.shutdown().await;
    }
    while tasks.join_next().await.is_some() {}
}

/// Opens and reads one connection.
async fn connection<C, S, F>(opening: F, shared: Shared<C>, mut outlet: Outlet)
where
    C: Clock,
    S: AsyncRead + Unpin,
    F: Future<Output = Option<(S, Sender)>>,
{
    let opened = tokio::select! {
        biased;
        () = stopped(&mut outlet.stop) => return,
        opened = opening => opened,
    };
    if let Some((stream, sender)) = opened {
        read(stream, Connection::new(sender, shared, outlet)).await;
    }
}

/// Whether one more connection of this sender is allowed.
fn room<C: Clock>(connected: &HashMap<Id, Sender>, sender: &Sender, shared: &Shared<C>) -> bool {
    let mine = connected.values().filter(|other| is_same(other, sender)).count();
    shared.allowed(sender) && connected.len() < shared.options.max_connections && mine < shared.options.max_per_sender
}

/// Whether two connections are one sender's. Whoever has one address of an IPv6 /64 has all of it.
fn is_same(one: &Sender, other: &Sender) -> bool {
    match (one, other) {
        (Sender::Peer(IpAddr::V6(one)), Sender::Peer(IpAddr::V6(other))) => one.octets()[..8] == other.octets()[..8],
        _ => one == other,
    }
}

/// Reads one connection to its end.
async fn read<C: Clock>(mut stream: impl AsyncRead + Unpin, mut connection: Connection<C>) {
    let mut chunk = vec![0; READ_SIZE];
    let mut deadline = pin!(tokio::time::sleep(connection.shared.options.idle));
    loop {
        let mut next = tokio::select! {
            biased;
            () = stopped(&mut connection.outlet.stop) => return,
            read = stream.read(&mut chunk) => Some(read),
            () = &mut deadline => return count(&connection.shared.counters.expired, 1),
        };
        let half_before = connection.decoder.unfinished();
        connection.begin();
        while let Some(read) = next {
            let flow = match read {
                Ok(0) => connection.end().await,
                // The stream broke: a line may be cut in the middle of an address. What is whole goes out.
                Err(_) => connection.send_last().await,
                Ok(len) => connection.take(&chunk[..len]).await,
            };
            if flow == Flow::Stop {
                return;
            }
            next = read_now(&mut stream, &mut chunk).await;
        }
        let ended = connection.ended;
        if connection.send().await == Flow::Stop {
            return;
        }
        // One byte a minute must not keep a half frame alive, so its time runs from its beginning.
        match connection.decoder.unfinished() {
            true if half_before && ended == 0 => {}
            true => deadline.set(tokio::time::sleep(connection.shared.options.half)),
            false => deadline.set(tokio::time::sleep(connection.shared.options.idle)),
        }
    }
}

/// A connection, but for its stream.
struct Connection<C> {
    decoder: Decoder,
    batch: Batch,
    /// Frames that ended since [`Connection::begin`].
    ended: usize,
    sender: Sender,
    shared: Shared<C>,
    outlet: Outlet,
}

impl<C: Clock> Connection<C> {
    fn new(sender: Sender, shared: Shared<C>, outlet: Outlet) -> Self {
        let decoder = Decoder::new(shared.options.framing);
        Connection { decoder, batch: Batch::default(), ended: 0, sender, shared, outlet }
    }

    /// Begins a batch now: something was read.
    fn begin(&mut self) {
        self.batch = self.batch_now();
        self.ended = 0;
    }

    fn batch_now(&self) -> Batch {
        let mut batch = self.shared.batch();
        batch.number(&self.sender);
        batch
    }

    /// Adds the frames of `bytes`, sending what is full.
    async fn take(&mut self, mut bytes: &[u8]) -> Flow {
        loop {
            let frames = self.batch.len();
            bytes = &bytes[self.decoder.push(bytes, 0, &mut self.batch)..];
            self.ended += self.batch.len() - frames;
            if self.decoder.broken() {
                self.tell_broken();
                return self.send_last().await;
            }
            if !frame::full(&self.batch) {
                return Flow::On;
            }
            if self.send().await == Flow::Stop {
                return Flow::Stop;
            }
            self.batch = self.batch_now();
        }
    }

    /// Adds what the end of the stream finished, and sends.
    async fn end(&mut self) -> Flow {
        self.decoder.end(0, &mut self.batch);
        self.send_last().await
    }

    fn tell_broken(&self) {
        count(&self.shared.counters.broken, 1);
        if let Some(times) = self.shared.broken.count() {
            let (source, sender) = (self.shared.options.source.0, &self.sender);
            tracing::warn!(source, %sender, times, "a frame has no octet count; is framing = \"octet-counted\" right?");
        }
    }

    /// Sends what is whole, and ends.
    async fn send_last(&mut self) -> Flow {
        self.send().await;
        Flow::Stop
    }

    /// Sends what there is, and then waits if that was more than the sender may send in this second.
    async fn send(&mut self) -> Flow {
        let batch = std::mem::take(&mut self.batch);
        let messages = batch.len() as u32;
        if self.outlet.send(batch).await == Flow::Stop {
            return Flow::Stop;
        }
        let Some(until) = self.shared.rates().wait(&self.sender, messages) else { return Flow::On };
        count(&self.shared.counters.slowed, 1);
        tokio::select! {
            biased;
            () = stopped(&mut self.outlet.stop) => Flow::Stop,
            () = tokio::time::sleep_until(until) => Flow::On,
        }
    }
}

/// Reads what is there without waiting for more; `None` where nothing is.
async fn read_now<S: AsyncRead + Unpin>(stream: &mut S, chunk: &mut [u8]) -> Option<io::Result<usize>> {
    poll_fn(|context| {
        let mut buf = ReadBuf::new(chunk);
        Poll::Ready(match Pin::new(&mut *stream).poll_read(context, &mut buf) {
            Poll::Pending => None,
            Poll::Ready(read) => Some(read.map(|()| buf.filled().len())),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::{Counters, Options};
    use super::*;
    use crate::record::Timestamp;
    use crate::syslog::parse::Parser;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use tokio::io::{AsyncWriteExt, DuplexStream};
    use tokio::sync::{mpsc, watch};
    use tokio::time::{Instant, sleep};

    type Open = (DuplexStream, mpsc::Receiver<Batch>, watch::Sender<bool>, tokio::task::JoinHandle<u64>);

    /// A connection whose far end it returns, and the task that ends with how often it expired.
    fn open() -> Open {
        open_with(Options::default(), |counters| &counters.expired)
    }

    /// The same with other limits, and another counter.
    fn open_with(options: Options, counter: fn(&Counters) -> &AtomicU64) -> Open {
        let (far, near) = tokio::io::duplex(1024);
        let (sink, batches) = mpsc::channel(100);
        let (stop, stopped) = watch::channel(false);
        let clock = || Timestamp::from_secs(0);
        let shared = Shared::new(options, clock);
        let counters = shared.counters.clone();
        let outlet = Outlet { sink, stop: stopped, counters: counters.clone(), parser: Parser::default() };
        let task = tokio::spawn(async move {
            read(near, Connection::new(Sender::Unknown, shared, outlet)).await;
            counter(&counters).load(Ordering::Relaxed)
        });
        (far, batches, stop, task)
    }

    /// Seconds (of the tests' own clock) after which a connection expires on which each text is written, one a `pause`.
    async fn expires(pause: u64, texts: &[&str]) -> u64 {
        let (mut far, _batches, _stop, task) = open();
        let began = Instant::now();
        for text in texts {
            if far.write_all(text.as_bytes()).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(pause)).await;
        }
        assert_eq!(task.await.unwrap(), 1);
        began.elapsed().as_secs()
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

    #[tokio::test(start_paused = true)]
    async fn closes_idle_connections() {
        assert_eq!(expires(0, &[]).await, 600);
        assert_eq!(expires(0, &["<86>x\n"]).await, 600);
        assert_eq!(expires(500, &["<86>x\n", "<86>y\n"]).await, 1100);
    }

    #[tokio::test(start_paused = true)]
    async fn closes_connections_that_leave_a_frame_half() {
        assert_eq!(expires(0, &["<86>x\n<86>"]).await, 60);
        assert_eq!(expires(0, &["99 "]).await, 60);
        // Dribbling does not help; whoever ends frames may go on, though each read leaves a half one.
        assert_eq!(expires(25, &["a"; 10]).await, 75);
        assert_eq!(expires(50, &["a\nb", "c\nd", "e\nf"]).await, 160);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_of_too_much_waits_and_loses_nothing() {
        let options = Options { max_rate: 100, ..Options::default() };
        let (mut far, mut batches, _stop, task) = open_with(options, |counters| &counters.slowed);
        let began = Instant::now();
        // What is read after each write: the far end has room for less than the next.
        let mut arrivals = Vec::new();
        for lines in [60, 60, 1] {
            far.write_all(&b"<86>x\n".repeat(lines)).await.unwrap();
            let mut left = lines;
            while left > 0 {
                left -= batches.recv().await.unwrap().len();
            }
            arrivals.push(began.elapsed().as_millis());
        }
        assert_eq!(arrivals, [0, 0, 1000]);
        drop(far);
        assert_eq!(task.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_it_and_leaves_the_half_frame() {
        let (mut far, mut batches, stop, task) = open();
        far.write_all(b"<86>x\n<86>half").await.unwrap();
        let batch = batches.recv().await.unwrap();
        assert!(batch.lines().eq([b"<86>x"]));
        stop.send(true).unwrap();
        assert_eq!(task.await.unwrap(), 0);
        assert!(batches.recv().await.is_none());
    }
}
