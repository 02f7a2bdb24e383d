//! Streams of syslog frames: however the bytes come in pieces, the frames are the same.
#![no_main]

use inputs::record::{Batch, LINE_MAX};
use inputs::syslog::frame::{Decoder, Framing};

/// The frames of a stream that comes in pieces of so many bytes.
fn frames(framing: Framing, data: &[u8], piece: usize) -> Vec<(Vec<u8>, bool)> {
    let (mut decoder, mut batch, mut found) = (Decoder::new(framing), Batch::default(), Vec::new());
    let mut take = |batch: &mut Batch| {
        found.extend(batch.records().map(|record| (record.message.to_vec(), record.truncated)));
        batch.clear();
    };
    for piece in data.chunks(piece) {
        decoder.push(piece, 0, &mut batch);
        take(&mut batch);
    }
    decoder.end(0, &mut batch);
    take(&mut batch);
    found
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let framing = [Framing::Auto, Framing::Newline, Framing::OctetCounted][usize::from(how % 3)];
    let whole = frames(framing, data, data.len().max(1));
    assert!(whole.iter().all(|(frame, _)| frame.len() <= LINE_MAX));
    for piece in [1, usize::from(how / 3) + 2] {
        assert_eq!(frames(framing, data, piece), whole);
    }
});
