//! Journals as files and streams, against the real `journalctl`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use inputs::cursor::Cursor;
use inputs::file::archive;
use inputs::file::lines::LineReader;
use inputs::input::{Input, Start};
use inputs::journald::Error;
use inputs::journald::follow::{self, Follower, Options};
use inputs::journald::stored::{self, Kind, Reader, Stored};
use inputs::record::{Batch, Timestamp};
use kit::journal;

use crate::rows::{self, Row, rows};

/// The corpus: six of the same text by systemd 252 and 257, with each two of their properties; a real sshd's, and a
/// sealed one.
const JOURNALS: [(&str, usize); 8] = [
    ("252-none", 200),
    ("252-keyed-zstd", 200),
    ("252-compact-zstd", 200),
    ("252-compact-keyed-none", 200),
    ("257-compact-keyed-lz4", 200),
    ("257-compact-keyed-xz", 200),
    ("real-sshd-9.2", 81),
    ("sealed", 5),
];

fn unpacked(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(format!("{name}.journal"));
    fs::write(&path, journal(name)).unwrap();
    path
}

/// All records, and the error that ended them.
fn read(mut reader: Reader) -> (Vec<Row>, Option<Error>) {
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    batch.received = Timestamp(i64::MAX);
    loop {
        match reader.fill(&mut batch) {
            Ok(true) => all.extend(rows(&batch)),
            Ok(false) => return (all, None),
            Err(error) => {
                assert!(!reader.fill(&mut batch).unwrap(), "nothing comes after an error");
                return (all, Some(error));
            }
        }
    }
}

fn read_all(reader: Reader) -> Vec<Row> {
    let (all, error) = read(reader);
    assert!(error.is_none(), "{error:?}");
    all
}

fn journalctl(path: &Path, format: &str) -> Vec<u8> {
    let output =
        Command::new("journalctl").args(["--all", "--no-pager", "-q", "-o", format, "--file"]).arg(path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn has_journalctl() -> bool {
    let is_there = kit::program("journalctl").is_some();
    if !is_there {
        kit::skip("against journalctl", "it is not here");
    }
    is_there
}

#[test]
fn a_file_reads_as_journalctl_reads_it() {
    if !has_journalctl() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, count) in JOURNALS {
        let path = unpacked(directory.path(), name);
        let want = rows::rows_of_json(&journalctl(&path, "json"));
        assert_eq!(want.len(), count, "{name}");
        rows::assert_same(name, &read_all(Reader::file(&path).unwrap()), &want);
        // The readers of text agree with it.
        for (format, kind) in
            [("export", Kind::Export), ("json", Kind::Json), ("json-seq", Kind::Json), ("json-sse", Kind::Json)]
        {
            let text = journalctl(&path, format);
            assert_eq!(Kind::of(&text[..text.len().min(stored::HEAD_MAX)]), Some(kind), "{name} {format}");
            let reader = Reader::stream(kind, io::Cursor::new(text), Path::new("-")).unwrap();
            rows::assert_same(&format!("{name} {format}"), &read_all(reader), &want);
        }
    }
}

/// Our cursors are journald's, bit for bit.
#[test]
fn cursors_are_journalds() {
    if !has_journalctl() {
        return;
    }
    for (name, count) in JOURNALS {
        let directory = tempfile::tempdir().unwrap();
        let path = unpacked(directory.path(), name);
        let text = journalctl(&path, "export");
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"__CURSOR="));
        let want: Vec<&str> = lines.map(|line| str::from_utf8(line).unwrap()).collect();
        assert_eq!(want.len(), count);
        let (directory, reader) = (Some(directory.path().to_owned()), follow::Reader::Native);
        let options = Options { directory, reader, start: Start::Beginning };
        let mut follower = Follower::new(options).unwrap();
        let (mut batch, mut seen) = (Batch::default(), 0);
        while seen < count {
            follower.refill(Timestamp(i64::MAX).into(), &mut batch).unwrap();
            seen += batch.len();
            let Some(Cursor::Journal(cursor)) = &batch.cursor else { panic!("{name}: no cursor") };
            assert_eq!(cursor.last.to_string(), want[seen - 1], "{name}: entry {seen}");
        }
    }
}

#[test]
fn a_stream_reads_as_the_file() {
    let directory = tempfile::tempdir().unwrap();
    for (name, _) in JOURNALS {
        let path = unpacked(directory.path(), name);
        let want = read_all(Reader::file(&path).unwrap());
        let stream = Reader::stream(Kind::Journal, fs::File::open(&path).unwrap(), Path::new("standard input"));
        let (got, error) = read(stream.unwrap());
        if let Some(compression) = name.strip_prefix("257-compact-keyed-").map(str::to_uppercase) {
            let error = error.unwrap().to_string();
            let want = format!(
                "cannot read standard input as a stream: it has fields that are compressed with {compression}; unpack it to a file and name that"
            );
            assert_eq!(error, want);
            continue;
        }
        assert!(error.is_none(), "{name}: {error:?}");
        // What is no UTF-8 is lost by the crate.
        let lossy: Vec<Row> = want.into_iter().map(|row| row.lossy()).collect();
        rows::assert_same(name, &got, &lossy);
    }
}

#[test]
fn archives_are_told_by_content() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, want: Option<usize>| {
        let got = match stored::tell(archive::open(path).unwrap()).unwrap() {
            Stored::Lines(_) => None,
            Stored::Entries(reader) => Some(read_all(reader).len()),
        };
        assert_eq!(got, want, "{}", path.display());
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let journal = journal("real-sshd-9.2");
    check(&write("auth.log", &journal), Some(81));
    check(&kit::root().join("inputs/tests/data/journals/real-sshd-9.2.journal.gz"), Some(81));
    check(&write("x.journal.zst", &zstd::encode_all(&journal[..], 1).unwrap()), Some(81));
    check(&write("export", b"__CURSOR=x\n__REALTIME_TIMESTAMP=1\nMESSAGE=m\n\n"), Some(1));
    check(&write("json", b"{\"MESSAGE\":\"m\",\"__REALTIME_TIMESTAMP\":\"1\"}\n"), Some(1));
    check(&write("text", b"Nov 21 23:47:19 web1 sshd[1]: x\n"), None);
    check(&write("other.json", b"{\"MESSAGE\":\"m\"}\n"), None);
    check(&write("empty", b""), None);
    // What was looked at is given again.
    let text = write("long", &[b"x".repeat(100_000), b"\ny\n".to_vec()].concat());
    let Stored::Lines(archive) = stored::tell(archive::open(&text).unwrap()).unwrap() else { panic!() };
    let (mut lines, mut batch, mut lens) = (LineReader::new(archive), Batch::default(), Vec::new());
    while lines.fill(&mut batch).unwrap() {
        lens.extend(batch.records().map(|record| (record.message.len(), record.truncated)));
    }
    assert_eq!(lens, [(8192, true), (1, false)]);
}
