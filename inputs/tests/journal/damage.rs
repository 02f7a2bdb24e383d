//! Damaged, truncated and hostile journals: fewer entries or an error, never a panic, a hang, or much memory.
//!
//! Alone in its process, which is asked how much memory it ever had.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use inputs::input::{Input, Start};
use inputs::journald::follow::{Follower, Options};
use inputs::journald::stored::{Kind, Reader};
use inputs::record::{Batch, Timestamp};

/// The most memory that the process may ever have had, in KiB.
const MEMORY_MAX: u64 = 64 << 10;

/// The longest that one journal may take; the worst was 0.3 s, not optimized, on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(30);

fn journal(name: &str) -> Vec<u8> {
    let mut bytes = kit::journal(name);
    // What was never used is a hole; damage is wanted in what was.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end.next_multiple_of(4096));
    bytes
}

/// How many entries a reader gives, and its error.
fn drain(reader: Result<Reader, inputs::journald::Error>) -> (usize, Option<String>) {
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return (0, Some(error.to_string())),
    };
    let (mut batch, mut count) = (Batch::default(), 0);
    loop {
        match reader.fill(&mut batch) {
            Ok(true) => count += batch.len(),
            Ok(false) => return (count, None),
            Err(error) => return (count, Some(error.to_string())),
        }
    }
}

/// How many entries following the directory gives, until it is idle twice.
fn follow(directory: &Path) -> usize {
    let (directory, start) = (Some(directory.to_owned()), Start::Beginning);
    let reader = inputs::journald::follow::Reader::Native;
    let mut follower = Follower::new(Options { directory, reader, start }).unwrap();
    let (mut batch, mut count, mut idle) = (Batch::default(), 0, 0);
    while idle < 2 {
        let _ = follower.refill(Timestamp(0).into(), &mut batch);
        count += batch.len();
        idle = if batch.is_empty() { idle + 1 } else { 0 };
    }
    count
}

fn check(what: &str, bytes: &[u8], most: usize) {
    let begun = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("system.journal");
    fs::write(&path, bytes).unwrap();
    let (by_file, _) = drain(Reader::file(&path));
    let (by_stream, _) = drain(Reader::stream(Kind::Journal, Cursor::new(bytes.to_vec()), Path::new("-")));
    let followed = follow(directory.path());
    for count in [by_file, by_stream, followed] {
        assert!(count <= most, "{what}: {by_file} {by_stream} {followed} of {most}");
    }
    assert!(begun.elapsed() < TIME_MAX, "{what}: {:?}", begun.elapsed());
}

#[test]
fn damage_is_survived() {
    if !kit::alone("damage::damage_is_survived") {
        return;
    }
    for (name, most) in [
        ("real-sshd-9.2", 81),
        ("sealed", 5),
        ("257-compact-keyed-lz4", 200),
        ("257-compact-keyed-xz", 200),
        ("252-keyed-zstd", 200),
    ] {
        let whole = journal(name);
        check(name, &whole, most);
        for part in [0, 7, 8, 100, 207, 208, 240, 272, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
            check(&format!("{name}: {part} bytes"), &whole[..part], most);
        }
        kit::property(&format!("damaged-{name}"), 40, |random| {
            let mut bytes = whole.clone();
            // Few and many, in the header, in objects' heads, anywhere.
            for _ in 0..random.of(&[1, 4, 40, 2000]) {
                let at = match random.below(8) {
                    0 | 1 => random.below(272),
                    2..5 => random.below(bytes.len()) & !7,
                    _ => random.below(bytes.len()),
                };
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => 1,
                    _ => random.below(255),
                };
            }
            // Mostly still a journal, so that what is behind the magic is tried.
            bytes[..8].copy_from_slice(b"LPKSHHRH");
            if random.one_in(2) {
                bytes[8..16].copy_from_slice(&whole[8..16]);
            }
            check(name, &bytes, most);
        });
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    println!("at most {most} KiB");
    assert!(most < MEMORY_MAX, "{most} KiB");
}

/// Fields, lines and entries that go on and on.
#[test]
fn text_without_end() {
    let begun = Instant::now();
    // A binary field that claims 700 MiB, and one that claims more than there is.
    for (length, want) in [
        (700u64 << 20, "a binary field does not end in a newline"),
        (u64::MAX, "a field claims to be longer than any can be"),
    ] {
        let head = [b"__REALTIME_TIMESTAMP=1\nMESSAGE\n".as_slice(), &length.to_le_bytes()].concat();
        let text = Cursor::new(head).chain(std::io::repeat(b'x').take(1 << 20));
        let (count, error) = drain(Reader::stream(Kind::Export, text, Path::new("-")));
        assert_eq!(count, 0);
        assert!(error.as_deref().unwrap().ends_with(want), "{error:?}");
    }
    // A line without end, and an entry without end.
    for kind in [Kind::Export, Kind::Json] {
        let line = std::io::repeat(b'x').take(64 << 20);
        assert_eq!(drain(Reader::stream(kind, line, Path::new("-"))).0, 0, "{kind:?}");
        let fields = b"A=b\n".repeat(1 << 18);
        assert!(drain(Reader::stream(kind, Cursor::new(fields), Path::new("-"))).0 <= 1);
    }
    assert!(begun.elapsed() < TIME_MAX);
}
