//! Journal files that cannot seek (standard input, compressed ones), damaged or cut.
#![no_main]

#[path = "../journals.rs"]
mod journals;

use std::sync::LazyLock;

use inputs::journald::stored::Kind;

static JOURNALS: LazyLock<Vec<journals::Journal>> = LazyLock::new(journals::Journal::all);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let journal = &JOURNALS[usize::from(*which) % JOURNALS.len()];
    let mut bytes = journal.bytes.clone();
    for (at, some) in journal.damage(data) {
        bytes[at..][..some.len()].copy_from_slice(some);
    }
    if *which >= 128 {
        bytes.truncate(journal.damage(data).last().map_or(0, |(at, _)| *at));
    }
    journals::drain_stream(Kind::Journal, bytes);
});
