//! The journal export format.
#![no_main]

#[path = "../kit.rs"]
mod kit;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kit::drain_stream(inputs::journald::stored::Kind::Export, data.to_vec()));
