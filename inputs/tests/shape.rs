//! What a new input costs: all that one must know is here, in fifty lines, and the loop does the rest.

#![allow(clippy::unwrap_used, reason = "clippy does not know helpers of tests")]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use inputs::input::{Counters, Error, Input, Now, Progress, State, Wake, Worker};
use inputs::record::{Batch, SourceId, Timestamp};

/// What another program writes into a pipe, a line each.
struct Pipe {
    source: UnixStream,
    line: Vec<u8>,
    counters: Counters,
    reads: Arc<AtomicUsize>,
}

impl Input for Pipe {
    fn read(&mut self, _: Now, batch: &mut Batch) -> Result<Progress, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 4096];
        let count = match self.source.read(&mut bytes) {
            Ok(0) => return Ok(Progress::End),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Idle),
            Err(error) => return Err(error.into()),
        };
        for &byte in &bytes[..count] {
            match byte {
                b'\n' => {
                    batch.add(&self.line, 0, false);
                    self.line.clear();
                }
                0 => self.counters.damaged += 1,
                byte => self.line.push(byte),
            }
        }
        match self.counters.damaged {
            0..=2 => Ok(Progress::More),
            _ => Err("the pipe is full of zeros".into()),
        }
    }

    fn wake(&mut self) -> Wake<'_> {
        Wake { fd: Some(self.source.as_fd()), within: Duration::MAX }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

const WAIT: Duration = Duration::from_secs(20);

/// A pipe that is read and has something, the end that is written to, its batches, and how often it was read.
fn start(text: &[u8]) -> (Worker, UnixStream, mpsc::Receiver<Batch>, Arc<AtomicUsize>) {
    let (mut far, source) = UnixStream::pair().unwrap();
    source.set_nonblocking(true).unwrap();
    far.write_all(text).unwrap();
    let (reads, counters) = (Arc::new(AtomicUsize::new(0)), Counters::default());
    let pipe = Pipe { source, line: Vec::new(), counters, reads: reads.clone() };
    let (sink, batches) = mpsc::sync_channel(1);
    let clock = || Now::from(Timestamp(7));
    let worker = Worker::start("pipe", SourceId(3), Box::new(pipe), clock, move |batch| sink.send(batch).is_ok());
    (worker.unwrap(), far, batches, reads)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + WAIT;
    while !condition() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_input_of_fifty_lines_is_driven_as_any_other() {
    let (worker, mut far, batches, reads) = start(b"one\ntwo\nth");
    let batch = batches.recv_timeout(WAIT).unwrap();
    assert_eq!((batch.source, batch.received, batch.len()), (SourceId(3), Timestamp(7), 2));
    // It is read once more, and then sleeps until there is more.
    until("it comes to rest", || reads.load(Ordering::Relaxed) == 2);
    far.write_all(b"ree\n").unwrap();
    let batch = batches.recv_timeout(WAIT).unwrap();
    assert!(batch.lines().eq([b"three"]));
    assert!(reads.load(Ordering::Relaxed) <= 4);
    drop(far);
    assert!(worker.wait(WAIT), "it ends with its source");
}

#[test]
fn what_befalls_it_is_told_and_ends() {
    let (worker, mut far, batches, _) = start(b"a\0\n");
    assert!(batches.recv_timeout(WAIT).unwrap().lines().eq([b"a"]));
    let health = worker.health.clone();
    let damaged = |damaged| Counters { damaged, ..Counters::default() };
    until("what was damaged is counted", || health.now() == State { problem: None, counters: damaged(1) });
    far.write_all(b"b\n\0\0").unwrap();
    assert!(batches.recv_timeout(WAIT).unwrap().lines().eq([b"b"]), "what was read before the error counts");
    let problem = Some("the pipe is full of zeros".to_owned());
    until("the problem is told", || health.now() == State { problem: problem.clone(), counters: damaged(3) });
    until("it comes to rest", || health.now().problem.is_none());
    worker.reins.stop();
    assert!(worker.wait(WAIT));
}

#[test]
fn a_stop_waits_for_nobody_who_hangs() {
    struct Hangs(UnixStream, mpsc::Sender<()>);
    impl Input for Hangs {
        fn read(&mut self, _: Now, _: &mut Batch) -> Result<Progress, Error> {
            self.1.send(())?;
            Ok(self.0.read(&mut [0]).map(|_| Progress::End)?)
        }
        fn wake(&mut self) -> Wake<'_> {
            Wake { fd: None, within: Duration::MAX }
        }
        fn counters(&self) -> Counters {
            Counters::default()
        }
    }
    let (far, source) = UnixStream::pair().unwrap();
    let (reads, read) = mpsc::channel();
    let clock = || Now::from(Timestamp(7));
    let worker = Worker::start("hangs", SourceId(0), Box::new(Hangs(source, reads)), clock, |_| true).unwrap();
    // Told before it reads, it would end at once.
    read.recv_timeout(WAIT).unwrap();
    worker.reins.stop();
    assert!(!worker.wait(Duration::from_millis(1)));
    drop(far);
}
