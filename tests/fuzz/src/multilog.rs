//! multilog's and svlogd's lines: a label, then anything.
#![no_main]

use inputs::cursor::Label;
use inputs::record::Timestamp;
use inputs::syslog::parse::{Format, Parser};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let label = Label::leading(data);
    if let Some(label) = label {
        assert_eq!(label.to_string().as_bytes(), &data[..Label::LEN]);
    }
    let now = Timestamp::from_secs(1_795_305_600);
    for (format, bare) in [(Format::Multilog, true), (Format::Multilog, false), (Format::Auto, true)] {
        let mut parser = Parser::new(format, jiff::tz::TimeZone::UTC);
        parser.bare(bare.then_some("sshd"));
        let batch = parser.batch(now, [data]);
        let record = batch.record(0);
        assert!(record.time() <= now);
        // Behind the label strangers may have written the line, and would be any host or program. A file of sshd's own on
        // Windows begins each with the process' number.
        assert!(!bare || (record.host.is_empty() && record.identifier == b"sshd"));
        assert!(!bare || record.pid.is_none() || (format == Format::Auto && label.is_none()));
        assert!(!bare || label.is_none() || record.event.is_none() || record.message.len() < data.len());
    }
});
