//! What the tests of all crates share: a directory of their own, the program, a daemon, a sandbox, the corpora, and
//! randomness that can be repeated. Every wait is for a condition and has a bound.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]
#![allow(clippy::new_without_default, reason = "what is new prints its seed, or connects")]

mod corpus;
mod home;
pub mod hostile;
pub mod journald;
mod random;
mod sandbox;
pub mod shapes;
mod sink;
pub mod world;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use corpus::{Connection, Corpus, Row, VERSIONS, corpus, moved, orders, source_of, stamped};
pub use home::{Daemon, Home, config, denyd, explain, json, program_under_test, run, scan};
pub use random::{Random, batches, property};
pub use sandbox::{alone, in_box};
pub use sink::{Mail, Sink};

/// How long a test waits for what must come. Nothing takes so long on a machine that works, however busy it is.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_or(what, String::new, look)
}

/// The same; `why` tells why it did not.
#[track_caller]
pub fn until_or<T>(what: &str, why: impl FnOnce() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() > end {
            panic!("waited {PATIENCE:?} for {what} {}", why());
        }
        std::thread::park_timeout(LOOK);
    }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file below `tests/data`.
pub fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}

/// Whether what is found becomes what is expected (`DENYD_BLESS=1`): transcripts and screens, which a person then reads
/// in the difference. With `CI=true` nothing does.
pub fn blesses() -> bool {
    let blesses = std::env::var("DENYD_BLESS").as_deref() == Ok("1");
    assert!(!blesses || std::env::var("CI").as_deref() != Ok("true"), "nothing is blessed with CI=true");
    blesses
}

/// Compares what is shown with a file below `tests/data`, or blesses it.
#[track_caller]
pub fn assert_screen(name: &str, found: &str) {
    let path = data(name);
    if blesses() {
        return std::fs::write(path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(path).unwrap(), "{name}; DENYD_BLESS=1 writes what is found instead");
}

/// A journal of the corpus, unpacked.
pub fn journal(name: &str) -> Vec<u8> {
    let path = root().join(format!("inputs/tests/data/journals/{name}.journal.gz"));
    let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success(), "{name}");
    output.stdout
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The address of an explained line.
pub fn address(row: &Value) -> Option<IpAddr> {
    row["address"].as_str().map(|address| address.parse().unwrap())
}

/// Lines as a file has them.
pub fn file<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<u8> {
    let mut all = Vec::new();
    for line in lines {
        all.extend_from_slice(line.as_ref());
        all.push(b'\n');
    }
    all
}

/// The clock.
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A year before the clock, about.
pub fn last_year() -> jiff::Timestamp {
    now() - jiff::SignedDuration::from_hours(24 * 365)
}

/// How much longer than usual: `DENYD_LONG` is a factor that `tests/run --long` sets.
pub fn longer() -> usize {
    std::env::var("DENYD_LONG").map_or(1, |factor| factor.parse().unwrap())
}

/// Where a program is, if it is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Says that a test is not run. As root and with `CI=true` every test must run.
pub fn skip(test: &str, why: &str) {
    let strict = nix::unistd::geteuid().is_root() || std::env::var("CI").as_deref() == Ok("true");
    assert!(!strict, "{test} was not run: {why}");
    eprintln!("skipped {test}: {why}");
}

/// Whether a check that needs root may be left out; says so. As root or with `CI=true` nothing is left out.
pub fn skipped_without_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} needs root");
        eprintln!("SKIPPED: {what} needs root");
    }
    !root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All test data, in bytes of the disk.
    const DATA_MAX: u64 = 5 << 20;

    fn size(path: &Path) -> u64 {
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_dir() {
            return metadata.len().next_multiple_of(4096);
        }
        path.read_dir().unwrap().map(|entry| size(&entry.unwrap().path())).sum()
    }

    /// The place to put a sample is `tests/README.md`'s; each line is there once.
    #[test]
    fn the_test_data_is_small() {
        let sizes = ["tests/data", "inputs/tests/data", "tests/fuzz/corpus"].map(|of| (of, size(&root().join(of))));
        let all: u64 = sizes.iter().map(|(_, size)| size).sum();
        assert!(all > DATA_MAX / 100, "where is it? {sizes:?}");
        assert!(all < DATA_MAX, "{all} bytes: {sizes:?}");
    }
}
