//! Takes connections and reads their frames.
//!
//! A connection is a task with a buffer of its own: at most 32 KiB beside the batch it is filling, which is sent as
//! soon as the socket has no more to read. It waits for room in the sink, and so does its sender.

use super::{Clock, ERROR_PAUSE, Flow, Outlet, Shared, count, stopped};
use crate::record::{Batch, Sender};
use crate::syslog::frame::{self, Decoder};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
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
        let sender = stream.peer_cred().map_or(Sender::Unknown, |peer| Sender::Uid(peer.uid()));
        Ok((stream, sender))
    }
}

/// Takes connections until it is time to stop, then waits for theirs to end, which know it too.
pub(super) async fn run<C: Clock, L: Accept>(listener: L, shared: Shared<C>, mut outlet: Outlet) {
    let mut tasks = JoinSet::new();
    let mut open: HashMap<Id, Sender> = HashMap::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut outlet.stop) => break,
            () = outlet.sink.closed() => break,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                open.remove(&id);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, sender)) if !room(&open, sender, &shared) => count(&shared.counters.refused, 1),
            Ok((stream, sender)) => {
                count(&shared.counters.connections, 1);
                let task = tasks.spawn(read(stream, Connection::new(sender, shared.clone(), outlet.clone())));
                open.insert(task.id(), sender);
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

/// Whether one more connection of this sender is allowed.
fn room<C: Clock>(open: &HashMap<Id, Sender>, sender: Sender, shared: &Shared<C>) -> bool {
    let mine = open.values().filter(|other| **other == sender).count();
    shared.allowed(sender) && open.len() < shared.options.max_connections && mine < shared.options.max_per_sender
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
                Err(_) => {
                    connection.send().await;
                    Flow::Stop
                }
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
        Connection { decoder: Decoder::new(), batch: Batch::default(), ended: 0, sender, shared, outlet }
    }

    /// Begins a batch now: something was read.
    fn begin(&mut self) {
        self.batch = self.batch_now();
        self.ended = 0;
    }

    fn batch_now(&self) -> Batch {
        Batch { senders: vec![self.sender], ..self.shared.batch() }
    }

    /// Adds the frames of `bytes`, sending what is full.
    async fn take(&mut self, mut bytes: &[u8]) -> Flow {
        loop {
            let frames = self.batch.frames.len();
            bytes = &bytes[self.decoder.push(bytes, 0, &mut self.batch)..];
            self.ended += self.batch.frames.len() - frames;
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
        self.send().await;
        Flow::Stop
    }

    async fn send(&mut self) -> Flow {
        self.outlet.send(std::mem::take(&mut self.batch)).await
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
