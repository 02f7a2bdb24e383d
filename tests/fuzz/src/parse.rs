//! Lines with and without syslog headers, in every format.
#![no_main]

use inputs::record::{LINE_MAX, Timestamp};
use inputs::syslog::losses::losses;
use inputs::syslog::parse::{Format, Parser};

const FORMATS: [Format; 5] = [Format::Auto, Format::Syslog, Format::Message, Format::Multilog, Format::Metalog];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((how, line)) = data.split_first() else { return };
    let how = usize::from(*how);
    let mut parser = Parser::new(FORMATS[how % FORMATS.len()], jiff::tz::TimeZone::UTC);
    parser.unwrap(how & 64 != 0);
    parser.bare((how & 128 != 0).then_some("sshd"));
    let now = Timestamp::from_secs(1_795_305_600);
    let batch = parser.batch(now, [line]);
    let (record, kept) = (batch.record(0), batch.lines().next().expect("a line"));
    let is_cut = kept.len() < line.len();
    // Of what a container printed there are pieces as well.
    assert!(kept.len() == line.len().min(LINE_MAX) && (record.truncated == is_cut || record.truncated && record.stdout));
    // What it says is of the line.
    assert!(record.time() <= now);
    assert!(record.host.len() <= 255 && record.identifier.len() <= 64);
    for part in [record.host, record.message] {
        assert!(part.is_empty() || kept.as_ptr_range().contains(&part.as_ptr()));
    }
    let _ = losses(&record);
});
