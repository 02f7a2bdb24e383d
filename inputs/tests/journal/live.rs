//! A real journald is followed: through bursts, rotation, vacuuming, crashes of ours and of its own.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use inputs::cursor::{Cursor, JournalCursor};
use inputs::input::{Counters, Input, Progress, Start};
use inputs::journald::follow::{Follower, Options, Reader};
use inputs::record::{Batch, Timestamp};
use kit::journald::{Journald, Sender, in_box, journalctl, logger, run};
use kit::{PATIENCE, Random, until};

use crate::rows::{self, Row, rows};

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(now.as_micros() as i64)
}

fn follower(reader: Reader, start: Start) -> Follower {
    Follower::new(Options { directory: None, reader, start }).unwrap()
}

fn cursor(batch: &Batch) -> Option<JournalCursor> {
    match &batch.cursor {
        Some(Cursor::Journal(cursor)) => Some(cursor.clone()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

/// Polls until `wanted` says that it has seen all, and returns every row of these tests.
fn gather(follower: &mut Follower, mut wanted: impl FnMut(&Row) -> bool) -> Vec<Row> {
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    let end = Instant::now() + PATIENCE;
    loop {
        let progress = follower.refill(now().into(), &mut batch).unwrap();
        assert!(batch.len() <= 1000);
        for row in rows(&batch).into_iter().filter(|row| row.identifier.starts_with(b"tb")) {
            let is_end = wanted(&row);
            all.push(row);
            if is_end {
                return all;
            }
        }
        assert!(Instant::now() < end, "{} rows, {:?}", all.len(), follower.counters());
        if progress != Progress::More {
            rows::wait(follower, Duration::from_millis(250));
        }
    }
}

fn is_end(row: &Row) -> bool {
    row.message == b"end"
}

/// The numbers of the messages of one sender.
fn numbers(rows: &[Row], identifier: &str) -> Vec<u32> {
    let number = |row: &Row| str::from_utf8(&row.message).unwrap().split(' ').next().unwrap().parse().unwrap();
    rows.iter().filter(|row| row.identifier == identifier.as_bytes()).map(number).collect()
}

fn assert_each_once(rows: &[Row], identifier: &str, count: u32) {
    let numbers = numbers(rows, identifier);
    let wrong = numbers.iter().zip(0..).find(|(number, want)| **number != *want);
    assert!(
        wrong.is_none() && numbers.len() == count as usize,
        "{identifier}: {} of {count}, at {wrong:?}",
        numbers.len()
    );
}

/// Starts a follower on a thread once it stands at the journal's end.
fn following(reader: Reader) -> (std::thread::JoinHandle<(Vec<Row>, Counters)>, Arc<AtomicUsize>) {
    let mut follower = follower(reader, Start::Now);
    until("the follower has begun", || {
        let mut batch = Batch::default();
        follower.refill(now().into(), &mut batch).unwrap();
        assert!(batch.is_empty(), "it begins at the end");
        batch.cursor.is_some().then_some(())
    });
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let thread = std::thread::spawn(move || {
        let all = gather(&mut follower, |row| {
            count.fetch_add(1, Ordering::Relaxed);
            is_end(row)
        });
        assert_eq!(follower.reader(), reader);
        (all, follower.counters())
    });
    (thread, seen)
}

/// 60 000 records, with a rotation every 5000, a vacuum, and another user's journal beside.
#[test]
fn bursts_rotation_and_vacuum() {
    if !in_box("live::bursts_rotation_and_vacuum") {
        return;
    }
    let _journald = Journald::start();
    journalctl(&["--flush"]);
    let sender = Sender::new();
    sender.send("tbold", "0");
    journalctl(&["--sync"]);
    let (native, native_seen) = following(Reader::Native);
    let (child, child_seen) = following(Reader::Journalctl);
    let pad = "x".repeat(80);
    for number in 0..60_000 {
        if number % 5000 == 2500 {
            journalctl(&["--rotate"]);
        }
        if number % 1000 == 0 {
            logger(1000, &["-t", "tbuser", &(number / 1000).to_string()]);
        }
        if number == 15_000 {
            let seen = || native_seen.load(Ordering::Relaxed).min(child_seen.load(Ordering::Relaxed));
            let sent = || (seen() >= 15_000).then_some(());
            until("both have read what is to be vacuumed", sent);
            journalctl(&["--rotate", "--vacuum-files=1"]);
        }
        sender.send("tbseq", &format!("{number} {pad}"));
    }
    journalctl(&["--sync"]);
    logger(0, &["-t", "tbend", "end"]);
    let (native, counts) = native.join().unwrap();
    let (child, _) = child.join().unwrap();
    assert_each_once(&native, "tbuser", 60);
    for rows in [&native, &child] {
        assert_each_once(rows, "tbseq", 60_000);
    }
    // journalctl 252 itself loses entries of users' journals at rotation, though never of the system's.
    let of_system =
        |rows: Vec<Row>| -> Vec<Row> { rows.into_iter().filter(|row| row.identifier != b"tbuser").collect() };
    rows::assert_same("journalctl against native", &of_system(child), &of_system(native));
    assert_eq!(counts, Counters::default());
}

/// A follower that is killed again and again, and goes on at the last cursor that was committed.
fn killed_and_resumed(reader: Reader, mut random: Random) {
    let sender = std::thread::spawn(|| {
        let sender = Sender::new();
        for number in 0..8000 {
            if number % 2000 == 1000 {
                journalctl(&["--rotate"]);
            }
            sender.send("tbseq", &number.to_string());
        }
        journalctl(&["--sync"]);
        sender.send("tbseq", "8000");
    });
    let (mut committed, mut starts) = (Vec::new(), 0);
    let mut at = Start::Beginning;
    let end = Instant::now() + PATIENCE;
    while committed.len() < 8001 {
        assert!(Instant::now() < end, "{} rows after {starts} starts", committed.len());
        let mut follower = follower(reader, at.clone());
        starts += 1;
        let mut batch = Batch::default();
        for _ in 0..random.below(4) {
            let progress = follower.refill(now().into(), &mut batch).unwrap();
            if random.below(8) == 0 {
                break; // killed before it was committed
            }
            committed.extend(rows(&batch).into_iter().filter(|row| row.identifier == b"tbseq"));
            // As text: what is stored must be enough.
            if let Some(cursor) = cursor(&batch) {
                let text = serde_json::to_string(&Cursor::Journal(cursor)).unwrap();
                let Cursor::Journal(cursor) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
                at = Start::Cursor(Cursor::Journal(cursor));
            }
            if progress != Progress::More {
                rows::wait(&mut follower, Duration::from_millis(random.below(30)));
            }
        }
    }
    sender.join().unwrap();
    assert_each_once(&committed, "tbseq", 8001);
    println!("{reader:?}: {starts} starts");
}

#[test]
fn native_is_killed_and_resumed() {
    if in_box("live::native_is_killed_and_resumed") {
        let _journald = Journald::start();
        journalctl(&["--flush"]);
        killed_and_resumed(Reader::Native, Random::new());
    }
}

#[test]
fn journalctl_is_killed_and_resumed() {
    if in_box("live::journalctl_is_killed_and_resumed") {
        let _journald = Journald::start();
        journalctl(&["--flush"]);
        killed_and_resumed(Reader::Journalctl, Random::new());
    }
}

/// The readers go on at each other's cursors.
#[test]
fn readers_are_swapped() {
    if !in_box("live::readers_are_swapped") {
        return;
    }
    let _journald = Journald::start();
    journalctl(&["--flush"]);
    let sender = Sender::new();
    let (mut all, mut at) = (Vec::new(), Start::Beginning);
    for round in 0..10 {
        for number in 0..100 {
            sender.send("tbseq", &(round * 100 + number).to_string());
        }
        journalctl(&["--sync"]);
        let reader = [Reader::Native, Reader::Journalctl][round % 2];
        let mut follower = follower(reader, at);
        let until = format!("{}", round * 100 + 99);
        all.extend(gather(&mut follower, |row| row.message == until.as_bytes()));
        let mut batch = Batch::default();
        follower.refill(now().into(), &mut batch).unwrap();
        at = Start::Cursor(Cursor::Journal(cursor(&batch).unwrap()));
    }
    assert_each_once(&all, "tbseq", 1000);
}

/// journald is killed, its file becomes `system@….journal~`, and nothing that it had written is lost.
#[test]
fn journald_is_killed() {
    if !in_box("live::journald_is_killed") {
        return;
    }
    let mut journald = Journald::start();
    journalctl(&["--flush"]);
    let mut live = follower(Reader::Native, Start::Beginning);
    let mut batch = Batch::default();
    live.refill(now().into(), &mut batch).unwrap();
    let at = cursor(&batch).unwrap();
    let mut early = rows(&batch);
    early.retain(|row| row.identifier.starts_with(b"tb"));
    for round in 0..4 {
        let sender = Sender::new();
        for number in 0..1000 {
            sender.send("tbseq", &(round * 1000 + number).to_string());
        }
        // What journald had not read when it was killed is lost with its socket. A sync would close the file well.
        let last = (round * 1000 + 999).to_string();
        early.extend(gather(&mut live, |row| row.message == last.as_bytes()));
        journald.kill();
        journald = Journald::start();
        journalctl(&["--flush"]);
    }
    Sender::new().send("tbend", "end");
    let has_tilde = String::from_utf8(run(Command::new("find").args(["/var/log/journal", "-name", "*~"]))).unwrap();
    assert!(has_tilde.lines().count() >= 4, "{has_tilde}");
    early.extend(gather(&mut live, is_end));
    assert_each_once(&early, "tbseq", 4000);
    // And so after a restart of ours, and from the beginning.
    for start in [Start::Cursor(Cursor::Journal(at)), Start::Beginning, Start::Back(Duration::from_secs(600))] {
        let mut resumed = follower(Reader::Native, start);
        let all = gather(&mut resumed, is_end);
        assert_each_once(&all, "tbseq", 4000);
        assert_eq!(resumed.counters().gaps, 0);
    }
}

/// What is in `/run/log/journal` is copied to `/var/log/journal` when that comes up, with other numbers.
#[test]
fn the_volatile_journal_is_flushed() {
    if !in_box("live::the_volatile_journal_is_flushed") {
        return;
    }
    let _journald = Journald::start();
    let sender = Sender::new();
    let send = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| sender.send("tbseq", &number.to_string()));
        journalctl(&["--sync"]);
    };
    send(0..500);
    let mut live = follower(Reader::Native, Start::Beginning);
    let mut all = gather(&mut live, |row| row.message == b"499");
    let mut batch = Batch::default();
    live.refill(now().into(), &mut batch).unwrap();
    let at = cursor(&batch).unwrap();
    assert!(at.volatile.is_some());
    journalctl(&["--flush"]);
    send(500..1000);
    all.extend(gather(&mut live, |row| row.message == b"999"));
    assert_each_once(&all, "tbseq", 1000);
    assert!(live.counters().copies >= 500, "{:?}", live.counters());
    // The same for one that was down meanwhile.
    let mut resumed = follower(Reader::Native, Start::Cursor(Cursor::Journal(at)));
    let rest = gather(&mut resumed, |row| row.message == b"999");
    assert_eq!(numbers(&rest, "tbseq"), (500..1000).collect::<Vec<_>>());
}

/// What was vacuumed while nobody read it is counted, as far as the numbers tell.
#[test]
fn a_gap_is_counted() {
    if !in_box("live::a_gap_is_counted") {
        return;
    }
    let _journald = Journald::start();
    journalctl(&["--flush"]);
    let sender = Sender::new();
    sender.send("tbseq", "begin");
    let mut first = follower(Reader::Native, Start::Beginning);
    gather(&mut first, |row| row.message == b"begin");
    let mut batch = Batch::default();
    first.refill(now().into(), &mut batch).unwrap();
    let at = cursor(&batch).unwrap();
    for number in 0..6000 {
        sender.send("tbseq", &number.to_string());
    }
    journalctl(&["--sync"]);
    journalctl(&["--rotate", "--vacuum-files=1"]);
    sender.send("tbend", "end");
    let mut resumed = follower(Reader::Native, Start::Cursor(Cursor::Journal(at)));
    let rest = gather(&mut resumed, is_end);
    let numbers = numbers(&rest, "tbseq");
    let lost = 6000 - numbers.len() as u64;
    assert!(lost > 0 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{} are left", numbers.len());
    // journald itself says something of each rotation.
    let gaps = resumed.counters().gaps;
    assert!((lost..lost + 50).contains(&gaps), "{lost} lost, {gaps} counted");
}

/// A record by `logger` is in a batch soon, and is never root's who is not root.
#[test]
fn latency_and_forgery() {
    if !in_box("live::latency_and_forgery") {
        return;
    }
    let _journald = Journald::start();
    journalctl(&["--flush"]);
    let mut random = Random::new();
    for (reader, bound) in [(Reader::Native, 60), (Reader::Journalctl, 1000)] {
        let mut follower = follower(reader, Start::Now);
        until("it has begun", || {
            let mut batch = Batch::default();
            follower.refill(now().into(), &mut batch).unwrap();
            batch.cursor.is_some().then_some(())
        });
        let (arrived, arrivals) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            gather(&mut follower, |row| {
                arrived.send(Instant::now()).unwrap();
                is_end(row)
            })
        });
        let mut delays: Vec<Duration> = (0..41)
            .map(|_| {
                // At no fixed time after the last one: the poll must not keep step with us.
                assert!(arrivals.recv_timeout(Duration::from_millis(random.below(40))).is_err());
                let sent = Instant::now();
                logger(0, &["-t", "tblag", "x"]);
                arrivals.recv_timeout(PATIENCE).unwrap().saturating_duration_since(sent)
            })
            .collect();
        logger(0, &["-t", "tbend", "end"]);
        thread.join().unwrap();
        delays.sort();
        println!("{reader:?}: p50 {:?}, p90 {:?}, worst {:?}", delays[20], delays[36], delays[40]);
        assert!(delays[20] < Duration::from_millis(bound), "{reader:?}: {:?}", delays[20]);
    }

    let text = "Failed password for root from 192.0.2.9 port 1 ssh2";
    for reader in [Reader::Native, Reader::Journalctl] {
        let mut follower = follower(reader, Start::Now);
        let mut batch = Batch::default();
        until("it has begun", || {
            follower.refill(now().into(), &mut batch).unwrap();
            batch.cursor.is_some().then_some(())
        });
        logger(65534, &["-t", "sshd", "--id=4242", "-p", "authpriv.info", text]);
        let row = until("it arrives", || {
            rows::wait(&mut follower, Duration::from_millis(250));
            follower.refill(now().into(), &mut batch).unwrap();
            rows(&batch).into_iter().find(|row| row.identifier == b"sshd")
        });
        assert_eq!((row.uid, row.message.as_slice(), row.stdout), (Some(65534), text.as_bytes(), false));
        assert!(row.pid != Some(4242) && row.host == b"tbhost", "{row:?}");
    }
    // What a program prints can be anybody's text.
    let mut follower = follower(Reader::Native, Start::Now);
    follower.refill(now().into(), &mut Batch::default()).unwrap();
    run(Command::new("systemd-cat").args(["-t", "tbend", "echo", "end"]));
    let printed = gather(&mut follower, is_end);
    assert!(printed.iter().all(|row| row.stdout && row.uid == Some(0)), "{printed:?}");
}
