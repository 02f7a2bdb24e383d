//! `journalctl -o json`.
#![no_main]

#[path = "../journals.rs"]
mod journals;

libfuzzer_sys::fuzz_target!(|data: &[u8]| journals::drain_stream(inputs::journald::stored::Kind::Json, data.to_vec()));
