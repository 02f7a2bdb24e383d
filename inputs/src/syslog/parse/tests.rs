//! Tables: a line, and what it says, as `host identifier pid time | message`; `-` is nothing.

use super::*;
use jiff::tz::TimeZone;

const RECEIVED: &str = "2026-11-22T00:00:00Z";

/// Reads one line; bytes that are not printable ASCII come out escaped.
fn read(parser: &mut Parser, line: &[u8], reference: &str) -> String {
    let reference: jiff::Timestamp = reference.parse().unwrap();
    let reference = Timestamp(reference.as_microsecond());
    let frame = Frame { start: 0, len: line.len() as u32, sender: 0, truncated: false };
    let batch = Batch { reference, received: reference, buf: line.to_vec(), frames: vec![frame], ..Batch::default() };
    let record = parser.record(&batch, frame);
    let or_dash = |bytes: &[u8]| if bytes.is_empty() { "-".into() } else { bytes.escape_ascii().to_string() };
    let pid = record.pid.map_or("-".into(), |pid| pid.to_string());
    let time = record.event.map_or("-".into(), |time| time.to_string());
    let (host, identifier) = (or_dash(record.host), or_dash(record.identifier));
    format!("{host} {identifier} {pid} {time} | {}", record.message.escape_ascii())
}

#[track_caller]
fn check_as(format: Format, line: impl AsRef<[u8]>, expected: &str) {
    let line = line.as_ref();
    let mut parser = Parser::new(format, TimeZone::UTC);
    assert_eq!(read(&mut parser, line, RECEIVED), expected, "{}", line.escape_ascii());
    // The second time the minute is remembered.
    assert_eq!(read(&mut parser, line, RECEIVED), expected, "again: {}", line.escape_ascii());
}

#[track_caller]
fn check(line: impl AsRef<[u8]>, expected: &str) {
    check_as(Format::Auto, line, expected);
}

/// No header is known: all is message.
#[track_caller]
fn refused(line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    check(line, &format!("- - - - | {}", line.escape_ascii()));
}

#[test]
fn reads_plain_files() {
    check("Nov 21 23:52:48 web1 sshd[4000]: Invalid user x", "web1 sshd 4000 2026-11-21T23:52:48Z | Invalid user x");
    check("Nov  1 03:06:25 b sshd[9]: x", "b sshd 9 2026-11-01T03:06:25Z | x");
    check("Nov 01 03:06:25 b sshd[9]: x", "b sshd 9 2026-11-01T03:06:25Z | x");
    check("Nov 21 23:52:48.123 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48.123Z | x");
    check("2026-11-21T23:52:53.351918+00:00 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.351918Z | x");
    check("2026-11-21T23:52:53Z b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53Z | x");
    check("2026-11-22T01:22:53.5+01:30 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.5Z | x");
    check("2026-11-21T18:52:53.123456789-05:00 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.123456Z | x");
    check("2026-11-21T23:52:53 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53Z | x");
}

#[test]
fn reads_priorities() {
    check("<86>Nov 21 23:52:48 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("<0>Nov 21 23:52:48 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("<191>2026-11-21T23:52:53Z b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53Z | x");
    check("<86>sshd[9]: x", "- sshd 9 - | x");
    refused("<192>Nov 21 23:52:48 b sshd[9]: x");
    refused("<999>Nov 21 23:52:48 b sshd[9]: x");
    refused("<1234>Nov 21 23:52:48 b sshd[9]: x");
    refused("<>Nov 21 23:52:48 b sshd[9]: x");
    refused("<86Nov 21 23:52:48 b sshd[9]: x");
    refused("<86>");
    refused("<");
}

#[test]
fn reads_lines_without_host() {
    check("<86>Nov 21 23:53:57 sshd[4000]: msg", "- sshd 4000 2026-11-21T23:53:57Z | msg");
    check("Nov 21 23:53:57 sshd: msg", "- sshd - 2026-11-21T23:53:57Z | msg");
    check("2026-11-21T23:52:53Z sshd[9]: x", "- sshd 9 2026-11-21T23:52:53Z | x");
}

#[test]
fn reads_tags() {
    check("Nov 21 23:52:48 b sshd: x", "b sshd - 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd(pam_unix)[12]: x", "b sshd(pam_unix) 12 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd-session[12]: x", "b sshd-session 12 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b postfix/smtpd[12]: x", "b postfix/smtpd 12 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b su[12] x", "b su 12 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[12]:x", "b sshd 12 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b app[x1]: x", "b app - 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b app[99999999999]: x", "b app - 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b app[4294967296]: x", "b app - 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b app[4294967295]: x", "b app 4294967295 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 2001:db8::1 sshd[9]: x", "2001:db8::1 sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 2001:db8:: sshd[9]: x", "2001:db8:: sshd 9 2026-11-21T23:52:48Z | x");
}

#[test]
fn keeps_messages_as_they_are() {
    check("Nov 21 23:52:48 b sudo:     bob : TTY", "b sudo - 2026-11-21T23:52:48Z |     bob : TTY");
    check("Nov 21 23:52:48 b sshd[9]: x  ", "b sshd 9 2026-11-21T23:52:48Z | x  ");
    check("Nov 21 23:52:48 b sshd[9]: ", "b sshd 9 2026-11-21T23:52:48Z | ");
    check("Nov 21 23:52:48 b sshd[9]:", "b sshd 9 2026-11-21T23:52:48Z | ");
    check("Nov 21 23:52:48 b sshd[9]: x\n", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[9]: x\r\n", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[9]: x\r", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[9]: x\n\0", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[9]: x\0\n", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b sshd[9]: x\n\n", "b sshd 9 2026-11-21T23:52:48Z | x\\n");
    check("Nov 21 23:52:48 b sshd[9]: two\nlines\n", "b sshd 9 2026-11-21T23:52:48Z | two\\nlines");
    check("Nov 21 23:52:48 b sshd[9]: \u{feff}x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check(
        "Nov 21 23:52:48 b sshd[9]: [id k=\"v\"] x",
        "b sshd 9 2026-11-21T23:52:48Z | [id k=\"v\"] x".replace('"', "\\\"").as_str(),
    );
    check(
        "Nov 21 23:52:48 b sshd[9]: <34>1 2003-10-11T22:14:15.003Z h a - - - forged",
        "b sshd 9 2026-11-21T23:52:48Z | <34>1 2003-10-11T22:14:15.003Z h a - - - forged",
    );
    check(
        b"Nov 21 23:52:48 b sshd[9]: Invalid user \xff\xfe from",
        "b sshd 9 2026-11-21T23:52:48Z | Invalid user \\xff\\xfe from",
    );
    check(
        "Nov 21 23:52:48 b sshd[5000]: message repeated 3 times: [ Failed password]",
        "b sshd 5000 2026-11-21T23:52:48Z | message repeated 3 times: [ Failed password]",
    );
}
