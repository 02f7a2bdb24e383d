//! Journal files as journald writes them, damaged, read by the native reader.
#![no_main]

#[path = "../journals.rs"]
mod journals;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use inputs::journald::stored::Reader;

/// The journals, and each as a file without a name, so that none is left behind.
static JOURNALS: LazyLock<Vec<(journals::Journal, File)>> = LazyLock::new(|| {
    let file = |(number, journal): (usize, journals::Journal)| {
        let path = std::env::temp_dir().join(format!("denyd-fuzz-{}-{number}.journal", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        std::fs::remove_file(&path).expect("it is there");
        file.write_all_at(&journal.bytes, 0).expect("space");
        (journal, file)
    };
    journals::Journal::all().into_iter().enumerate().map(file).collect()
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let (journal, file) = &JOURNALS[usize::from(*which) % JOURNALS.len()];
    let damage = journal.damage(data);
    for (at, bytes) in &damage {
        file.write_all_at(bytes, *at as u64).expect("space");
    }
    if let Ok(reader) = Reader::file(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))) {
        journals::drain(reader);
    }
    for (at, bytes) in &damage {
        file.write_all_at(&journal.bytes[*at..][..bytes.len()], *at as u64).expect("space");
    }
});
