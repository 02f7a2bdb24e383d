//! What differs between senders, one test a trap: the bytes that show it, and that it is read right all the same.

use super::*;
use inputs::syslog::frame::Framing;

const FORWARD: &str = "2026-11-21T23:53:18.32808Z";

/// Whether a capture has such bytes: a test of a trap that is not there would prove nothing.
#[track_caller]
fn has(name: &str, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    let is_there = read(name).windows(bytes.len()).any(|window| window == bytes);
    assert!(is_there, "{name} has no {}", bytes.escape_ascii());
}

/// The records of lines as `host identifier pid time | message`.
fn records(format: Format, text: &str) -> Vec<String> {
    let mut batch = batch();
    text.lines().for_each(|line| add(line.as_bytes(), &mut batch));
    let mut parser = Parser::new(format, TimeZone::UTC);
    (0..batch.len()).map(|index| line(&mut parser, &batch, index)).collect()
}

#[test]
fn rsyslog_counted_frames_follow_one_another_without_a_separator() {
    has("rsyslog-tcp-octet-rfc3164.bin", "port 40000 ssh2");
    has("rsyslog-tcp-octet-rfc3164.bin", "ssh296 <86>");
    let batch = stream("rsyslog-tcp-octet-rfc3164");
    let ends = |index: usize, end: &[u8]| assert!(batch.lines().nth(index).unwrap().ends_with(end));
    ends(0, b"port 40000 ssh2");
    ends(1, b"port 40001 ssh2");
}

#[test]
fn rsyslog_counts_the_newline_that_ends_its_5424_frames() {
    has("rsyslog-tcp-octet-rfc5424.bin", "- -  Failed password");
    has("rsyslog-tcp-octet-rfc5424.bin", "ssh2\n119 <86>1");
    for batch in [stream("rsyslog-tcp-octet-rfc5424"), datagrams("rsyslog-udp-rfc5424")] {
        assert!(batch.lines().all(|line| line.ends_with(b"\n")));
        let batch = parsed(&batch, &mut Parser::default());
        assert_eq!(batch.record(1).message, b"Failed password for root from 2001:db8::9 port 40001 ssh2");
    }
}

#[test]
fn rsyslog_escapes_control_characters_but_neither_del_nor_what_is_no_ascii() {
    for name in ["rsyslog-udp-rfc3164", "rsyslog-udp-forward", "rsyslog-udp-rfc5424"] {
        has(&format!("{name}.bin"), b"two#012lines and#011tab and #033[31mesc \x7f");
        has(&format!("{name}.bin"), b"Invalid user j\xc3\xb3zef \xe7\xae\xa1 from");
        has(&format!("{name}.bin"), b"Invalid user \xff\xfe from");
        let batch = parsed(&datagrams(name), &mut Parser::default());
        let last = batch.record(batch.len() - 1);
        assert_eq!(last.message, b"Invalid user \xff\xfe from 203.0.113.9 port 6");
    }
}

/// The capture has them counted; in newline framing the same frames are ended by their own newline.
#[test]
fn rsyslog_without_escaping_in_newline_framing_cuts_messages_at_their_newlines() {
    let whole = stream("rsyslog-tcp-octet-noescape");
    let bytes: Vec<u8> = whole.lines().collect::<Vec<_>>().concat();
    for framing in [Framing::Newline, Framing::Auto] {
        let (mut decoder, mut cut) = (Decoder::new(framing), batch());
        decoder.push(&bytes, 0, &mut cut);
        check(&cut, Controls::RawCut, Sends::All, "tbhost", Some("2026-11-21T23:53:09.591914Z"));
    }
}

#[test]
fn rsyslog_sends_no_bom_and_nil_structured_data() {
    let batch = datagrams("rsyslog-udp-rfc5424");
    for bytes in batch.lines() {
        assert!(!bytes.windows(3).any(|window| window == b"\xef\xbb\xbf"));
        let nil = format!("tbhost sshd {} - -  ", String::from_utf8_lossy(bytes).split(' ').nth(4).unwrap());
        assert!(bytes.windows(nil.len()).any(|window| window == nil.as_bytes()), "{}", bytes.escape_ascii());
    }
}

/// And who does send a BOM is read all the same.
#[test]
fn a_bom_is_no_part_of_the_message() {
    let expected = ["h sshd 9 2026-11-21T23:52:48Z | Failed x"];
    assert_eq!(records(Format::Auto, "<86>1 2026-11-21T23:52:48Z h sshd 9 - - \u{feff}Failed x"), expected);
}

#[test]
fn rsyslog_puts_a_blank_into_the_bracket_of_what_it_reduced() {
    let repeated = "message repeated 3 times: [ Failed password for root from 203.0.113.9 port 5 ssh2]";
    has("rsyslog-udp-repeatedmsgreduction.bin", repeated);
    let batch = parsed(&datagrams("rsyslog-udp-repeatedmsgreduction"), &mut Parser::default());
    assert_eq!(batch.records().filter(|record| record.message == repeated.as_bytes()).count(), 1);
}

#[test]
fn a_message_that_begins_with_digits_is_no_octet_count() {
    has("syslog-ng-network-tcp.bin", "sshd[4007]: 10 Failed password");
    // Where a raw newline puts such a message at the beginning of a line.
    let (mut decoder, mut cut) = (Decoder::default(), batch());
    decoder.push(b"<86>Nov 21 23:55:48 b sshd[4007]: x\n10 Failed password for root\n<86>y\n", 0, &mut cut);
    let frames: Vec<_> = cut.lines().collect();
    assert_eq!(frames[1..], [b"10 Failed password for root".as_slice(), b"<86>y"]);
}

#[test]
fn a_message_that_looks_like_a_header_is_a_message() {
    for name in ["rsyslog-udp-rfc3164", "rsyslog-udp-rfc5424", "logger-udp-default", "busybox-syslogd-R"] {
        has(&format!("{name}.bin"), "<34>1 2003-10-11T22:14:15.003Z h a - - - forged");
        let batch = parsed(&datagrams(name), &mut Parser::default());
        let records: Vec<_> = batch.records().collect();
        let forged = records.iter().find(|record| record.message.ends_with(b"forged")).unwrap();
        assert_eq!((forged.identifier, forged.pid), (b"sshd".as_slice(), Some(4008)), "{name}");
        assert!(forged.message.starts_with(b"<34>1 "), "{name}");
    }
}

#[test]
fn syslog_ng_counts_frames_with_structured_data_and_whole_seconds() {
    has("syslog-ng-syslog-tcp.bin", "145 <86>1 2026-11-21T23:55:51+00:00 tbhost sshd 4000 - [meta sequenceId=\"1\"] F");
    let batch = parsed(&stream("syslog-ng-syslog-tcp"), &mut Parser::default());
    let record = batch.record(0);
    assert_eq!(record.event, Some(Timestamp::from_secs(1_795_305_351)));
    assert!(record.message.starts_with(b"Failed password") && record.message.ends_with(b"ssh2"));
}

#[test]
fn syslog_ng_with_flags_syslog_protocol_sends_5424_in_lines() {
    has("syslog-ng-network-tcp-flags-syslog.bin", "<86>1 2026-11-21T23:55:56+00:00 tbhost sshd 4000 - ");
    assert!(read("syslog-ng-network-tcp-flags-syslog.bin").starts_with(b"<86>1 "), "there is no count");
    let batch = stream("syslog-ng-network-tcp-flags-syslog");
    check(&batch, Controls::RawCut, Sends::All, "tbhost", Some("2026-11-21T23:55:56Z"));
}

#[test]
fn syslog_ng_keeps_the_old_stamp_whatever_ts_format_says() {
    has("syslog-ng-network-udp-isodate.bin", "<86>Nov 21 23:55:58 tbhost sshd[4000]: ");
    let batch = datagrams("syslog-ng-network-udp-isodate");
    check(&batch, Controls::Raw, Sends::All, "tbhost", Some("2026-11-21T23:55:58Z"));
}

#[test]
fn busybox_and_logger_cut_messages_at_1_kib() {
    for (name, letters) in [("busybox-syslogd-R", 991), ("logger-udp-default", 1024), ("logger-udp-rfc3164", 1024)] {
        let batch = parsed(&datagrams(name), &mut Parser::default());
        let records: Vec<_> = batch.records().collect();
        let long = records.iter().find(|record| record.message.starts_with(b"LLL")).unwrap();
        assert_eq!((long.message.len(), long.pid), (letters, Some(4006)), "{name}");
        assert!(long.message.iter().all(|byte| *byte == b'L') && !long.truncated);
    }
}

#[test]
fn logger_drops_the_empty_message() {
    for name in ["logger-udp-default", "logger-udp-rfc3164"] {
        let batch = parsed(&datagrams(name), &mut Parser::default());
        assert!(batch.records().all(|record| !record.message.is_empty()), "{name}");
        assert_eq!(batch.len(), 8, "{name}");
    }
}

#[test]
fn logger_says_nothing_of_time_and_host_where_it_is_told_so() {
    has("logger-udp-rfc5424-notime-notq-nohost.bin", "<86>1 - - sshd 4000 - - Failed");
    let batch = parsed(&datagrams("logger-udp-rfc5424-notime-notq-nohost"), &mut Parser::default());
    let record = batch.record(0);
    assert_eq!((record.host, record.event, record.time()), (b"".as_slice(), None, record.received));
}

/// RELP is not spoken. A sender that is set to it by mistake waits for an answer that never comes; what it says until
/// then is nobody's record, however it is framed.
#[test]
fn relp_is_no_records_of_sshd() {
    for (name, time) in
        [("rsyslog-relp-forward.bin", FORWARD), ("rsyslog-relp-rfc5424.bin", "2026-11-21T23:53:21.348059Z")]
    {
        let bytes = read(name);
        assert!(bytes.starts_with(b"1 open 86 relp_version=0\n"));
        for record in parsed(&frames([bytes.as_slice()]), &mut Parser::default()).records() {
            assert_eq!((record.identifier, record.event), (b"".as_slice(), None), "{}", record.message.escape_ascii());
        }
        let (mut counted, mut none) = (Decoder::new(Framing::OctetCounted), batch());
        counted.push(&bytes, 0, &mut none);
        // `1 ` is a count of one byte, the `o`; then the stream makes no sense.
        assert!(counted.broken() && none.len() == 1);
        // What RELP carries is the frame of the other transports: from its `<` on it is read.
        let start = bytes.windows(4).position(|window| window == b"<86>").unwrap();
        let end = start + bytes[start..].iter().position(|byte| *byte == b'\n').unwrap();
        let carried = Parser::default().batch(batch().received, [&bytes[start..end]]);
        let record = carried.record(0);
        assert_eq!((record.identifier, record.pid), (b"sshd".as_slice(), Some(4000)));
        assert_eq!(record.event.unwrap().to_string(), time);
    }
}

/// Nor is systemd-journal-upload's HTTP, which may come to the same port.
#[test]
fn journal_upload_is_no_records_of_sshd() {
    let bytes = read("systemd-journal-upload-http.bin");
    assert!(bytes.starts_with(b"POST /upload HTTP/1.1\r\n"));
    let whole = parsed(&frames([bytes.as_slice()]), &mut Parser::default());
    assert!(whole.len() > 10);
    for record in whole.records() {
        assert!(!record.identifier.starts_with(b"sshd") && record.event.is_none(), "{}", record.message.escape_ascii());
    }
}

/// A directory as multilog left it: four files that it finished, and `current`; no file stands for another one.
#[test]
fn multilog_directories_are_read_in_the_order_of_their_names() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let rotated = read("multilog-rotated");
    let lines: Vec<&[u8]> = rotated.split_inclusive(|byte| *byte == b'\n').collect();
    let names = [
        "@400000006b022fd70793e73c.s",
        "@400000006b022fd7079790bc.s",
        "@400000006b022fd7079b2a9c.s",
        "@400000006b022fd7079ec864.s",
    ];
    // What the directory held besides: its lock and state.
    for name in ["lock", "state"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    for (name, lines) in names.iter().zip(lines.chunks(6)) {
        let path = dir.path().join(name);
        std::fs::write(&path, lines.concat()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o744)).unwrap();
    }
    let current = dir.path().join("current");
    std::fs::write(&current, read("multilog-t-current")).unwrap();
    std::fs::set_permissions(&current, PermissionsExt::from_mode(0o644)).unwrap();
    let start = Start::Beginning;
    let mut follower = multilog::Follower::new(dir.path().to_owned(), start, Parser::default());
    let mut read_lines = Vec::new();
    loop {
        let mut batch = batch();
        follower.refill(batch.received.into(), &mut batch).unwrap();
        if batch.is_empty() {
            break;
        }
        read_lines.extend(batch.lines().map(<[u8]>::to_vec));
    }
    let expected = [rotated, read("multilog-t-current")].concat();
    let expected: Vec<_> = expected.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(read_lines, expected);
}

#[test]
fn metalog_has_the_program_in_brackets_and_no_pid() {
    let text = "Nov 21 23:26:32 [sshd] Failed password for root from 192.0.2.1 port 22 ssh2\n\
                Nov 21 23:26:33 [sshd] Last output repeated 3 times";
    for format in [Format::Auto, Format::Metalog] {
        let expected = [
            "- sshd - 2026-11-21T23:26:32Z | Failed password for root from 192.0.2.1 port 22 ssh2",
            "- sshd - 2026-11-21T23:26:33Z | Last output repeated 3 times",
        ];
        assert_eq!(records(format, text), expected);
    }
}

#[test]
fn bsd_files_repeat_without_a_program() {
    let text = "Nov 21 23:26:32 host sshd[123]: Failed password for root from 192.0.2.1 port 22 ssh2\n\
                Nov 21 23:26:40 host last message repeated 2 times\n\
                Nov 21 23:26:41 host --- last message repeated 2 times";
    let expected = [
        "host sshd 123 2026-11-21T23:26:32Z | Failed password for root from 192.0.2.1 port 22 ssh2",
        "host - - 2026-11-21T23:26:40Z | last message repeated 2 times",
        "host - - 2026-11-21T23:26:41Z | --- last message repeated 2 times",
    ];
    assert_eq!(records(Format::Auto, text), expected);
}

#[test]
fn freebsd_sends_5424_and_words_pam_its_own_way() {
    let text = "<86>1 2026-11-21T23:26:32.123456+00:00 host sshd 123 - - error: PAM: Authentication error for root from h\n\
                Nov 21 23:26:32 host sshd[123]: error: PAM: Authentication error for root from h";
    let expected = [
        "host sshd 123 2026-11-21T23:26:32.123456Z | error: PAM: Authentication error for root from h",
        "host sshd 123 2026-11-21T23:26:32Z | error: PAM: Authentication error for root from h",
    ];
    assert_eq!(records(Format::Auto, text), expected);
}

#[test]
fn svlogd_has_three_stamps() {
    // 0x6b022fd7 - 10 = 1795305421, 0x078dd0a4 = 126734500 ns.
    let text = "@400000006b022fd7078dd0a4 b sshd[9]: x\n\
                2026-11-21_23:26:32.12345 b sshd[9]: x\n\
                2026-11-21T23:26:32.12345 b sshd[9]: x";
    let times: Vec<_> = records(Format::Auto, text);
    assert_eq!(times[1..], ["b sshd 9 2026-11-21T23:26:32.12345Z | x"; 2]);
    assert!(times[0].contains("2026-11-21T23:57:01.126734Z"), "{}", times[0]);
}
