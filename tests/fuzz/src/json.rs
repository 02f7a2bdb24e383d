//! `journalctl -o json`.
#![no_main]

#[path = "../kit.rs"]
mod kit;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kit::drain_stream(inputs::journald::stored::Kind::Json, data.to_vec()));
