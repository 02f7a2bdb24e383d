//! The bytes that real senders put on the wire, against what was given to them to send.
//!
//! Each sender got the same messages; what it escapes, cuts and drops differs. The captures are in `data/wire`
//! (rsyslog 8.2302, syslog-ng 4.8, busybox 1.35, util-linux 2.38, daemontools on Debian 12).

mod traps;

use inputs::input::{Input, Start};
use inputs::multilog;
use inputs::record::{Batch, SourceId, Timestamp};
use inputs::syslog::frame::Decoder;
use inputs::syslog::parse::{Format, Parser};
use jiff::tz::TimeZone;
use std::path::PathBuf;

/// How a sender treats control characters.
#[derive(Clone, Copy, PartialEq)]
enum Controls {
    /// rsyslog: `\n` is `#012`.
    Escaped,
    /// They go out as they are, and a frame keeps them.
    Raw,
    /// They go out as they are, and newline framing ends the frame at them.
    RawCut,
    /// busybox in files: a newline becomes a blank, others but tab `^[`.
    Blank,
}

/// Which of the messages a sender sends.
#[derive(Clone, Copy, PartialEq)]
enum Sends {
    All,
    /// The four repetitions as one and `message repeated 3 times`.
    Reduced,
    /// Cut at 1 KiB with header: 991 of the letters.
    Busybox,
    /// logger got only the first nine, drops the empty one and cuts a message at 1024 bytes.
    Logger,
}

/// What must come out: process id and message.
fn known(controls: Controls, sends: Sends) -> Vec<(Option<u32>, Vec<u8>)> {
    let long = match sends {
        Sends::All | Sends::Reduced => "L".repeat(3000) + " END",
        Sends::Busybox => "L".repeat(991),
        Sends::Logger => "L".repeat(1024),
    };
    let mut out: Vec<(Option<u32>, Vec<u8>)> = Vec::new();
    let mut add = |pid, message: &[u8]| out.push((pid, message.to_vec()));
    add(Some(4000), b"Failed password for invalid user admin from 203.0.113.9 port 40000 ssh2");
    add(Some(4001), b"Failed password for root from 2001:db8::9 port 40001 ssh2");
    add(Some(4002), b"Invalid user j\xc3\xb3zef \xe7\xae\xa1 from 203.0.113.9 port 40002");
    add(
        Some(4003),
        b"Failed password for invalid user root from 1.2.3.4 port 22 ssh2 from 203.0.113.9 port 40003 ssh2",
    );
    match controls {
        Controls::Escaped => add(Some(4004), b"two#012lines and#011tab and #033[31mesc \x7f"),
        Controls::Raw => add(Some(4004), b"two\nlines and\ttab and \x1b[31mesc \x7f"),
        Controls::RawCut => {
            add(Some(4004), b"two");
            add(None, b"lines and\ttab and \x1b[31mesc \x7f");
        }
        Controls::Blank => add(Some(4004), b"two lines and\ttab and ^[[31mesc \x7f"),
    }
    if sends != Sends::Logger {
        add(Some(4005), b"");
    }
    add(Some(4006), long.as_bytes());
    add(Some(4007), b"10 Failed password for root from 203.0.113.9 port 40004 ssh2");
    add(Some(4008), b"<34>1 2003-10-11T22:14:15.003Z h a - - - forged");
    let again = b"Failed password for root from 203.0.113.9 port 5 ssh2";
    match sends {
        Sends::Logger => return out,
        Sends::All | Sends::Busybox => (0..4).for_each(|_| add(Some(5000), again)),
        Sends::Reduced => {
            add(Some(5000), again);
            add(Some(5000), b"message repeated 3 times: [ Failed password for root from 203.0.113.9 port 5 ssh2]");
        }
    }
    add(Some(5001), b"Connection closed by 203.0.113.9 port 5 [preauth]");
    add(Some(5002), b"Invalid user \xff\xfe from 203.0.113.9 port 6");
    out
}

fn read(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn batch() -> Batch {
    // 2026-11-22T00:00:00Z, some minutes after the captures.
    let received = Timestamp::from_secs(1_795_305_600);
    Batch::new(SourceId(0), received)
}

fn add(bytes: &[u8], batch: &mut Batch) {
    batch.add(bytes, 0, false);
}

/// The datagrams of a capture.
fn datagrams(name: &str) -> Batch {
    let (bytes, lens) = (read(&format!("{name}.bin")), read(&format!("{name}.lens")));
    let mut rest = bytes.as_slice();
    let mut batch = batch();
    for len in String::from_utf8(lens).unwrap().split_whitespace() {
        let (datagram, after) = rest.split_at(len.parse().unwrap());
        add(datagram, &mut batch);
        rest = after;
    }
    assert!(rest.is_empty());
    batch
}

/// The frames of a stream that arrives in these pieces.
fn frames<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Batch {
    let (mut decoder, mut batch) = (Decoder::default(), batch());
    for piece in pieces {
        decoder.push(piece, 0, &mut batch);
    }
    decoder.end(0, &mut batch);
    batch
}

/// The frames of a captured stream, which are the same wherever it is cut.
fn stream(name: &str) -> Batch {
    let bytes = read(&format!("{name}.bin"));
    let whole = frames([bytes.as_slice()]);
    assert!(frames(bytes.chunks(1)).lines().eq(whole.lines()), "{name}, byte by byte");
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert!(frames([a, b]).lines().eq(whole.lines()), "{name}, cut at {at}");
    }
    whole
}

/// The same lines, as a parser reads them.
fn parsed(batch: &Batch, parser: &mut Parser) -> Batch {
    parser.batch(batch.received, batch.lines())
}

/// What a capture says, against what was sent from `host` (empty = it says none) at `first`.
#[track_caller]
fn check(batch: &Batch, controls: Controls, sends: Sends, host: &str, first: Option<&str>) {
    let batch = parsed(batch, &mut Parser::default());
    let expected = known(controls, sends);
    assert_eq!(batch.len(), expected.len());
    for (index, (record, (pid, message))) in batch.records().zip(expected).enumerate() {
        assert_eq!(record.message.escape_ascii().to_string(), message.escape_ascii().to_string(), "frame {index}");
        assert_eq!(record.pid, pid, "frame {index}");
        let (identifier, host) = if pid.is_some() { ("sshd", host) } else { ("", "") };
        assert_eq!(record.identifier, identifier.as_bytes(), "frame {index}");
        assert_eq!(record.host, host.as_bytes(), "frame {index}");
        assert_eq!(record.event.is_some(), pid.is_some() && first.is_some(), "frame {index}");
    }
    let time = batch.record(0).event.map(|time| time.to_string());
    assert_eq!(time.as_deref(), first);
}

#[test]
fn rsyslog_udp_3164_has_no_line_end() {
    let (escaped, all) = (Controls::Escaped, Sends::All);
    check(&datagrams("rsyslog-udp-rfc3164"), escaped, all, "tbhost", Some("2026-11-21T23:52:48Z"));
    check(&datagrams("rsyslog-udp-default-at"), escaped, all, "tbhost", Some("2026-11-21T23:53:03Z"));
}

#[test]
fn rsyslog_forward_format_has_the_old_layout_with_the_new_stamp() {
    let (escaped, all) = (Controls::Escaped, Sends::All);
    check(&datagrams("rsyslog-udp-forward"), escaped, all, "tbhost", Some("2026-11-21T23:52:53.351918Z"));
    check(&stream("rsyslog-tcp-newline-forward"), escaped, all, "tbhost", Some("2026-11-21T23:52:55.064143Z"));
    check(&stream("rsyslog-tcp-octet-forward"), escaped, all, "tbhost", Some("2026-11-21T23:52:56.640712Z"));
    check(&stream("rsyslog-tls-newline-forward"), escaped, all, "tbhost", Some("2026-11-21T23:53:13.644116Z"));
}

#[test]
fn rsyslog_5424_has_two_blanks_and_a_line_end_inside() {
    let (escaped, all) = (Controls::Escaped, Sends::All);
    check(&datagrams("rsyslog-udp-rfc5424"), escaped, all, "tbhost", Some("2026-11-21T23:52:58.203923Z"));
    check(&stream("rsyslog-tcp-newline-rfc5424"), escaped, all, "tbhost", Some("2026-11-21T23:52:59.912127Z"));
    check(&stream("rsyslog-tcp-octet-rfc5424"), escaped, all, "tbhost", Some("2026-11-21T23:53:01.476095Z"));
    check(&stream("rsyslog-tls-octet-rfc5424"), escaped, all, "tbhost", Some("2026-11-21T23:53:11.157156Z"));
}

#[test]
fn rsyslog_streams_in_either_framing() {
    let (escaped, all) = (Controls::Escaped, Sends::All);
    check(&stream("rsyslog-tcp-newline-rfc3164"), escaped, all, "tbhost", Some("2026-11-21T23:52:50Z"));
    check(&stream("rsyslog-tcp-octet-rfc3164"), escaped, all, "tbhost", Some("2026-11-21T23:52:51Z"));
    check(&stream("rsyslog-tcp-default-atat"), escaped, all, "tbhost", Some("2026-11-21T23:53:04Z"));
    check(&stream("rsyslog-tcp-default-atat-o"), escaped, all, "tbhost", Some("2026-11-21T23:53:06Z"));
}

#[test]
fn rsyslog_without_escaping_sends_newlines_inside_a_counted_frame() {
    let batch = stream("rsyslog-tcp-octet-noescape");
    check(&batch, Controls::Raw, Sends::All, "tbhost", Some("2026-11-21T23:53:09.591914Z"));
}

#[test]
fn rsyslog_reduces_repetitions() {
    let batch = datagrams("rsyslog-udp-repeatedmsgreduction");
    check(&batch, Controls::Escaped, Sends::Reduced, "tbhost", Some("2026-11-21T23:53:07Z"));
}

#[test]
fn syslog_ng_ends_datagrams_with_a_newline_and_keeps_controls() {
    let (raw, all) = (Controls::Raw, Sends::All);
    check(&datagrams("syslog-ng-network-udp"), raw, all, "tbhost", Some("2026-11-21T23:55:46Z"));
    check(&datagrams("syslog-ng-network-udp-isodate"), raw, all, "tbhost", Some("2026-11-21T23:55:58Z"));
    check(&datagrams("syslog-ng-syslog-udp"), raw, all, "tbhost", Some("2026-11-21T23:55:53Z"));
    check(&stream("syslog-ng-syslog-tcp"), raw, all, "tbhost", Some("2026-11-21T23:55:51Z"));
}

#[test]
fn syslog_ng_in_newline_framing_cuts_messages_at_their_newlines() {
    let (cut, all) = (Controls::RawCut, Sends::All);
    check(&stream("syslog-ng-network-tcp"), cut, all, "tbhost", Some("2026-11-21T23:55:48Z"));
    check(&stream("syslog-ng-network-tcp-flags-syslog"), cut, all, "tbhost", Some("2026-11-21T23:55:56Z"));
}

#[test]
fn busybox_names_no_host() {
    let (raw, sends) = (Controls::Raw, Sends::Busybox);
    check(&datagrams("busybox-syslogd-R"), raw, sends, "", Some("2026-11-21T23:56:01Z"));
    check(&datagrams("busybox-syslogd-R-L-S"), raw, sends, "", Some("2026-11-21T23:56:03Z"));
    assert!(datagrams("busybox-syslogd-R-L-D").is_empty());
}

#[test]
fn busybox_files_name_no_host() {
    let bytes = read("busybox-syslogd-L-S-file.log");
    let whole = frames([bytes.as_slice()]);
    // Its own two lines, at the beginning and the end, are like any other program's.
    let theirs = Parser::default().batch(whole.received, whole.lines().take(whole.len() - 1).skip(1));
    check(&theirs, Controls::Blank, Sends::Busybox, "", Some("2026-11-21T23:56:03Z"));
}

#[test]
fn logger_sends_structured_data() {
    let (raw, logger) = (Controls::Raw, Sends::Logger);
    check(&datagrams("logger-udp-default"), raw, logger, "tbhost", Some("2026-11-21T23:54:04.663655Z"));
    check(&datagrams("logger-udp-rfc5424"), raw, logger, "tbhost", Some("2026-11-21T23:54:05.887444Z"));
    check(&datagrams("logger-udp-sd"), raw, logger, "tbhost", Some("2026-11-21T23:54:08.45587Z"));
    check(&stream("logger-tcp-octet-rfc5424"), raw, logger, "tbhost", Some("2026-11-21T23:54:07.936037Z"));
}

#[test]
fn logger_in_newline_framing_cuts_messages_at_their_newlines() {
    let (cut, logger) = (Controls::RawCut, Sends::Logger);
    check(&stream("logger-tcp-default"), cut, logger, "tbhost", Some("2026-11-21T23:54:06.893363Z"));
    check(&stream("logger-tcp-rfc3164"), cut, logger, "tbhost", Some("2026-11-21T23:54:07Z"));
}

#[test]
fn logger_in_other_clothes() {
    let (raw, logger) = (Controls::Raw, Sends::Logger);
    check(&datagrams("logger-udp-rfc3164"), raw, logger, "tbhost", Some("2026-11-21T23:54:05Z"));
    check(&datagrams("logger-udp-rfc5424-notime-notq-nohost"), raw, logger, "", None);
}

/// One record as `host identifier pid time | message`, cut after 60 bytes.
fn line(parser: &mut Parser, batch: &Batch, index: usize) -> String {
    let batch = parsed(batch, parser);
    let record = batch.record(index);
    let text = |bytes: &[u8]| if bytes.is_empty() { "-".into() } else { bytes.escape_ascii().to_string() };
    let (host, identifier) = (text(record.host), text(record.identifier));
    let pid = record.pid.map_or("-".into(), |pid| pid.to_string());
    let time = record.event.map_or("-".into(), |time| time.to_string());
    let message = &record.message[..record.message.len().min(60)];
    format!("{host} {identifier} {pid} {time} | {}", message.escape_ascii())
}

#[test]
fn imfile_wraps_a_header_which_is_unwrapped_only_on_demand() {
    let batch = datagrams("rsyslog-imfile-udp-rfc5424");
    assert_eq!(batch.len(), 9);
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    assert_eq!(
        line(&mut parser, &batch, 1),
        "tbhost sshlog - 2026-11-21T23:53:15.856858Z | Nov 21 23:26:32 web1 sshd[1]: Failed password for root from "
    );
    parser.unwrap(true);
    assert_eq!(
        line(&mut parser, &batch, 1),
        "web1 sshd 1 2026-11-21T23:26:32Z | Failed password for root from 2001:db8::9 port 40001 ssh2"
    );
    assert_eq!(line(&mut parser, &batch, 5), "web1 sshd 1 2026-11-21T23:26:32Z | ");
    assert_eq!(
        line(&mut parser, &batch, 8),
        "web1 sshd 1 2026-11-21T23:26:32Z | <34>1 2003-10-11T22:14:15.003Z h a - - - forged"
    );
}

/// A file's lines, without their LF.
fn lines(file: &str) -> Batch {
    let mut batch = batch();
    for line in read(file).split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        add(line, &mut batch);
    }
    batch
}

#[test]
fn multilog_labels_raw_lines() {
    for format in [Format::Auto, Format::Multilog] {
        let mut parser = Parser::new(format, TimeZone::UTC);
        // 0x6b022fd7 - 10 = 1795305421; 0x078dd0a4 = 126734500 ns.
        assert_eq!(
            line(&mut parser, &lines("multilog-rotated"), 0),
            "- - - 2026-11-21T23:57:01.126734Z | Failed keyboard-interactive/pam for invalid user guest from "
        );
        let current = lines("multilog-t-current");
        assert_eq!(current.len(), 15);
        // A user name of two blanks: neither is the header's.
        assert_eq!(
            line(&mut parser, &current, 13),
            "- - - 2026-11-21T23:57:01.127922Z | Invalid user   from 10.66.0.173 port 33259"
        );
    }
}

#[test]
fn multilog_of_sshd_e_ends_lines_with_cr() {
    let batch = lines("multilog-t-sshd-e-current");
    let mut parser = Parser::new(Format::Multilog, TimeZone::UTC);
    parser.bare(Some("sshd"));
    // 0x6b02303d - 10 = 1795305523; 0x13dff1ac = 333443500 ns.
    assert_eq!(
        line(&mut parser, &batch, 0),
        "- sshd - 2026-11-21T23:58:43.333443Z | Server listening on 0.0.0.0 port 2223."
    );
    // What a stranger's user name forged looks no better and no worse than the rest: the source is forgeable.
    assert_eq!(
        line(&mut parser, &batch, 3),
        "- sshd - 2026-11-21T23:58:45.030922Z | Failed password for root from 1.2.3.4 port 22 ssh2"
    );
}

/// What `TZ=UTC tai64nlocal` (daemontools 0.76) says of the first line, the first with its neighbour's label, and the
/// last of each file, to the microsecond.
#[test]
fn multilog_directories_are_followed_at_tai64nlocals_times() {
    let check = |name: &str, count: usize, times: [(usize, &str); 3]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("current"), read(name)).unwrap();
        let start = Start::Beginning;
        let parser = Parser::new(Format::Multilog, TimeZone::UTC);
        let mut follower = multilog::Follower::new(dir.path().to_owned(), start, parser);
        let mut batch = batch();
        let now = batch.received;
        follower.refill(now.into(), &mut batch).unwrap();
        assert_eq!(batch.len(), count, "{name}");
        for (index, seconds) in times {
            let record = batch.record(index);
            let time = record.event.unwrap().to_string();
            assert_eq!(time.rsplit_once(':').unwrap().1, format!("{seconds}Z"), "{name}, line {index}");
            assert!(!record.message.ends_with(b"\r"));
        }
    };
    check("multilog-rotated", 22, [(0, "01.126734"), (2, "01.126964"), (19, "01.126975")]);
    check("multilog-t-current", 15, [(0, "01.12769"), (2, "01.127913"), (14, "01.127922")]);
    check("multilog-t-sshd-e-current", 12, [(0, "43.333443"), (4, "45.030922"), (11, "48.309488")]);
}
