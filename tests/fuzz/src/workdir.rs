//! The files of DenyHosts' work directory. What is read and written again means the same.
#![no_main]

use std::net::IpAddr;

use denyd::compat::files::{self, Key, Pair, User};
use inputs::record::Timestamp;
use jiff::tz::TimeZone;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    again::<IpAddr>(data);
    again::<User>(data);
    again::<Pair>(data);
    let hosts = files::hosts(data).records;
    assert_eq!(files::hosts(&files::write_hosts(hosts.iter().copied())).records, hosts);
    let received = files::received(data, &TimeZone::UTC).records;
    assert_eq!(files::received(&files::write_received(received.clone(), &TimeZone::UTC), &TimeZone::UTC).records, received);
    if let Some(offset) = files::offset(data) {
        assert_eq!(files::offset(&files::write_offset(&offset)), Some(offset));
    }
    let words: Vec<_> = files::words(data).collect();
    let (text, left_out) = files::write_words(words.iter().copied());
    assert!(files::words(&text).eq(words) && left_out.is_empty());
});

/// Reads counts, writes them, and reads them again.
fn again<K: Key + Clone + std::fmt::Debug>(data: &[u8]) {
    let now = Timestamp(0);
    let found = files::counts::<K>(data, &TimeZone::UTC);
    let text = files::write_counts(found.records.clone(), now, &TimeZone::UTC);
    let back = files::counts::<K>(&text, &TimeZone::UTC);
    assert!(back.bad.is_empty(), "{:?}", back.bad);
    assert_eq!(files::write_counts(back.records.clone(), now, &TimeZone::UTC), text);
    assert!(back.records.keys().eq(found.records.keys()));
}
