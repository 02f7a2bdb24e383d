//! Directories of journals are followed, without a journald: what comes late, what is damaged, what is too new.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inputs::cursor::Cursor;
use inputs::input::{Bell, Input, Progress, Start, Wake};
use inputs::journald::follow::{Follower, Options, Reader};
use inputs::record::{Batch, Timestamp};
use kit::journal;

fn follower(directory: &Path, reader: Reader, start: Start) -> Follower {
    Follower::new(Options { directory: Some(directory.to_owned()), reader, start }).unwrap()
}

/// The time of the corpus' last entries, and a little.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// How many entries there are until nothing more comes, and the cursor behind them.
fn drain(follower: &mut Follower) -> (usize, Start) {
    let (mut batch, mut count, mut idle) = (Batch::default(), 0, 0);
    while idle < 20 {
        let progress = follower.refill(NOW.into(), &mut batch).unwrap();
        count += batch.len();
        idle = if progress == Progress::More { 0 } else { idle + 1 };
    }
    let Some(cursor @ Cursor::Journal(_)) = batch.cursor else { return (count, Start::Beginning) };
    (count, Start::Cursor(cursor))
}

/// Other boxes' journals: what one of them logged a year ago arrives today, and again after a restart of ours.
#[test]
fn what_arrives_late_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let remote = directory.path().join("0123456789abcdef0123456789abcdef");
    let mut live = follower(directory.path(), Reader::Native, Start::Now);
    let progress = live.refill(NOW.into(), &mut Batch::default()).unwrap();
    assert_eq!(progress, Progress::Missing("there is no journal yet"));
    fs::create_dir(&remote).unwrap();
    fs::write(remote.join("remote-web1.journal"), journal("real-sshd-9.2")).unwrap();
    let (count, at) = drain(&mut live);
    assert_eq!(count, 81);
    // Its entries are of 2023, those above of 2026.
    fs::write(remote.join("remote-web2.journal"), journal("252-compact-zstd")).unwrap();
    let (count, later) = drain(&mut live);
    assert_eq!(count, 200);
    assert_eq!(drain(&mut follower(directory.path(), Reader::Native, at)).0, 200);
    assert_eq!(drain(&mut follower(directory.path(), Reader::Native, later)).0, 0);
    assert_eq!(drain(&mut follower(directory.path(), Reader::Native, Start::Now)).0, 0);
    assert_eq!(drain(&mut follower(directory.path(), Reader::Native, Start::Beginning)).0, 281);
    // The same file under another name is not another.
    fs::copy(remote.join("remote-web2.journal"), remote.join("copy.journal")).unwrap();
    assert_eq!(drain(&mut live).0, 0);
    assert_eq!(live.counters().gaps, 0);
}

#[test]
fn begins_a_duration_back() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("system.journal"), journal("252-none")).unwrap();
    // An entry each quarter of a second, from 1 700 000 000 on.
    let back = |seconds: u64| Start::Back(Duration::from_secs(1_800_000_000 - 1_700_000_000 - seconds));
    for (seconds, want) in [(0, 200), (1, 196), (49, 4), (50, 0), (1000, 0)] {
        let (count, _) = drain(&mut follower(directory.path(), Reader::Native, back(seconds)));
        assert_eq!(count, want, "{seconds}");
    }
}

#[test]
fn goes_on_at_any_entry() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("system.journal"), journal("real-sshd-9.2")).unwrap();
    let mut batch = Batch::default();
    follower(directory.path(), Reader::Native, Start::Beginning).refill(NOW.into(), &mut batch).unwrap();
    let Some(Cursor::Journal(end)) = &batch.cursor else { panic!() };
    for left in 0..81 {
        let mut at = end.clone();
        at.last.seqnum -= left;
        at.places = Some(vec![at.last]);
        let (count, _) = drain(&mut follower(directory.path(), Reader::Native, Start::Cursor(Cursor::Journal(at))));
        assert_eq!(count as u64, left);
    }
}

/// journald syncs every five minutes. What a power cut took from it, and not from our cursor, had numbers that it gives
/// out again.
#[test]
fn numbers_that_are_given_out_again_are_not_read_already() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("system.journal"), journal("252-none")).unwrap();
    let mut all = Batch::default();
    follower(directory.path(), Reader::Native, Start::Beginning).refill(NOW.into(), &mut all).unwrap();
    let Some(Cursor::Journal(cursor)) = &all.cursor else { panic!() };
    let check = |boot: u128, seqnum: u64, seconds: u64, want: usize| {
        let mut at = cursor.clone();
        at.last.boot_id.0 ^= boot;
        at.last.seqnum = seqnum;
        at.last.realtime = (1_700_000_000 + seconds) * 1_000_000;
        at.places = Some(vec![at.last]);
        let mut follower = follower(directory.path(), Reader::Native, Start::Cursor(Cursor::Journal(at)));
        let (count, next) = drain(&mut follower);
        assert_eq!((count, follower.counters().gaps), (want, 0), "{boot} {seqnum} {seconds}");
        assert_eq!(
            drain(&mut self::follower(directory.path(), Reader::Native, next)).0,
            0,
            "{boot} {seqnum} {seconds}"
        );
    };
    // The corpus has one boot, and an entry each quarter of a second, numbered from 1.
    check(1, 500, 25, 99);
    check(1, 150, 25, 99);
    check(1, 500, 100, 0);
    check(0, 500, 25, 0);
    check(0, 150, 25, 50);
}

fn with_flags(directory: &Path, flags: u8) -> PathBuf {
    let mut bytes = journal("real-sshd-9.2");
    bytes[12] |= flags;
    let path = directory.join("system.journal");
    fs::write(&path, bytes).unwrap();
    path
}

/// A later systemd may say that nobody must read what he does not understand.
#[test]
fn unknown_flags_are_journalctls() {
    let directory = tempfile::tempdir().unwrap();
    let path = with_flags(directory.path(), 0x80);
    let mut native = follower(directory.path(), Reader::Native, Start::Beginning);
    let error = native.refill(NOW.into(), &mut Batch::default()).unwrap_err().to_string();
    let want =
        format!("cannot read {}: it has incompatible flags that this reader does not know (0x80)", path.display());
    assert_eq!(error, want);
    assert_eq!(native.reader(), Reader::Native);
    let mut auto = follower(directory.path(), Reader::Auto, Start::Beginning);
    assert_eq!(auto.reader(), Reader::Native);
    assert_eq!(auto.refill(NOW.into(), &mut Batch::default()).unwrap(), Progress::More);
    assert_eq!(auto.reader(), Reader::Journalctl);
}

/// One file that is none does not keep us from the others.
#[test]
fn a_bad_file_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.journal"), b"").unwrap();
    fs::write(directory.path().join("b.journal"), b"LPKSHHRH").unwrap();
    fs::write(directory.path().join("c.journal"), vec![b'x'; 4096]).unwrap();
    fs::write(directory.path().join("d.txt"), b"x").unwrap();
    fs::create_dir(directory.path().join("e.journal")).unwrap();
    fs::write(directory.path().join("system.journal"), journal("sealed")).unwrap();
    let mut follower = follower(directory.path(), Reader::Native, Start::Beginning);
    assert_eq!(drain(&mut follower).0, 5);
    assert_eq!(follower.counters().unreadable, 4);
}

#[test]
fn a_wait_ends_when_woken() {
    let directory = tempfile::tempdir().unwrap();
    for reader in [Reader::Native, Reader::Journalctl] {
        let mut follower = follower(directory.path(), reader, Start::Beginning);
        let bell = Bell::new().unwrap();
        let ringer = bell.clone();
        let (told, ended) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            bell.wait(Wake { within: Duration::from_secs(600), ..follower.wake() });
            told.send(()).unwrap();
        });
        ringer.ring();
        ended.recv_timeout(Duration::from_secs(30)).unwrap();
        thread.join().unwrap();
    }
}
