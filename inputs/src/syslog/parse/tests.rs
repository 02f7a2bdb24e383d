//! Tables: a line, and what it says, as `host identifier pid time | message`; `-` is nothing.

use super::tag::{PID_MAX, TAG_MAX};
use super::*;
use jiff::tz::TimeZone;

const RECEIVED: &str = "2026-11-22T00:00:00Z";

/// Reads one line; bytes that are not printable ASCII come out escaped.
fn read(parser: &mut Parser, line: &[u8], reference: &str) -> String {
    let reference: jiff::Timestamp = reference.parse().unwrap();
    let batch = parser.batch(Timestamp(reference.as_microsecond()), [line]);
    let record = batch.record(0);
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
    // The second time the minute is remembered, how the line began, and its host.
    assert_eq!(read(&mut parser, line, RECEIVED), expected, "again: {}", line.escape_ascii());
    // After another stamp or the same, of another host, of the same one, and of one that looks like metalog's program.
    let blanks = line.iter().take(40).enumerate().filter(|(_, byte)| **byte == b' ');
    let stamps = blanks.map(|(at, _)| &line[..=at]).chain([&b"Nov  1 02:03:04 "[..], b"2026-11-01T02:03:04.5Z "]);
    for stamp in stamps {
        for host in [&b"web1"[..], b"b", b"[sshd]"] {
            read(&mut parser, &[b"<86>", stamp, host, b" su[7]: x"].concat(), RECEIVED);
            assert_eq!(read(&mut parser, line, RECEIVED), expected, "after another: {}", line.escape_ascii());
        }
    }
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
    check(
        "Nov 21 23:53:57 --- last message repeated 3 times ---",
        "- - - 2026-11-21T23:53:57Z | --- last message repeated 3 times ---",
    );
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

/// One line read in a zone at a time; only the time is compared.
#[track_caller]
fn check_time(zone: &str, reference: &str, line: &str, expected: &str) {
    let mut parser = Parser::new(Format::Auto, TimeZone::get(zone).unwrap());
    for _ in 0..2 {
        let said = read(&mut parser, format!("{line} b sshd[9]: x").as_bytes(), reference);
        assert_eq!(said, format!("b sshd 9 {expected} | x"), "{line} in {zone} at {reference}");
    }
}

#[test]
fn finds_the_year() {
    check_time("UTC", "2026-11-22T00:00:00Z", "Nov 21 23:59:59", "2026-11-21T23:59:59Z");
    check_time("UTC", "2026-11-22T00:00:00Z", "Nov 23 00:00:59", "2026-11-23T00:00:59Z");
    check_time("UTC", "2026-11-22T00:00:00Z", "Nov 23 00:01:00", "2025-11-23T00:01:00Z");
    check_time("UTC", "2026-11-22T00:00:00Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z");
    // New Year: yesterday's line read today, and tomorrow's (their clock is ahead).
    check_time("UTC", "2027-01-01T00:00:10Z", "Dec 31 23:59:59", "2026-12-31T23:59:59Z");
    check_time("UTC", "2026-12-31T23:59:50Z", "Jan  1 00:00:10", "2027-01-01T00:00:10Z");
    check_time("UTC", "2026-12-31T23:59:50Z", "Jan  2 00:00:10", "2026-01-02T00:00:10Z");
    // It is the zone's year that counts: 2027 begins in Tokyo nine hours early.
    check_time("Asia/Tokyo", "2026-12-31T15:30:00Z", "Jan  1 00:29:00", "2026-12-31T15:29:00Z");
    check_time("America/New_York", "2027-01-01T03:00:00Z", "Dec 31 21:59:00", "2027-01-01T02:59:00Z");
}

#[test]
fn finds_leap_years() {
    check_time("UTC", "2026-11-22T00:00:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z");
    check_time("UTC", "2024-02-29T12:00:30Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z");
    check_time("UTC", "2024-02-28T00:00:00Z", "Feb 29 12:00:00", "2020-02-29T12:00:00Z");
    check_time("UTC", "2103-06-01T00:00:00Z", "Feb 29 12:00:00", "2096-02-29T12:00:00Z");
}

#[test]
fn remembers_a_minute_no_longer_than_it_is_right() {
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    let mut time = |reference| read(&mut parser, b"Jan  1 00:00:10 b sshd[9]: x", reference);
    assert_eq!(time("2026-12-30T12:00:00Z"), "b sshd 9 2026-01-01T00:00:10Z | x");
    assert_eq!(time("2026-12-31T12:00:00Z"), "b sshd 9 2027-01-01T00:00:10Z | x");
    assert_eq!(time("2026-12-30T12:00:00Z"), "b sshd 9 2026-01-01T00:00:10Z | x");
    assert_eq!(time("2029-06-01T00:00:00Z"), "b sshd 9 2029-01-01T00:00:10Z | x");
}

#[test]
fn reads_zones_and_their_changes() {
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "Nov 21 23:52:48", "2026-11-21T22:52:48Z");
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "Jul  1 12:00:00", "2026-07-01T10:00:00Z");
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "2026-11-21T23:52:48", "2026-11-21T22:52:48Z");
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "2026-11-21T23:52:48Z", "2026-11-21T23:52:48Z");
    // 29 March 2026, 02:00 to 03:00 does not exist: an hour later. 25 October, 02:00 to 03:00 twice: the first.
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "Mar 29 02:30:00", "2026-03-29T01:30:00Z");
    check_time("Europe/Berlin", "2026-11-22T00:00:00Z", "Oct 25 02:30:00", "2026-10-25T00:30:00Z");
}

#[test]
fn refuses_what_is_no_date() {
    for stamp in [
        "Foo 21 23:52:48",
        "Nov 31 23:52:48",
        "Feb 30 23:52:48",
        "Nov  0 23:52:48",
        "Nov 00 23:52:48",
        "Nov 21 24:52:48",
        "Nov 21 25:52:48",
        "Nov 21 23:60:48",
        "Nov 21 23:59:60",
        "Nov 21 23:59:99",
        "Nov 21 23-52-48",
        "Nov 21 23:52:48.",
        "Nov 21 23:52:48.1234567890",
        "2026-13-21T23:52:53Z",
        "2026-00-21T23:52:53Z",
        "2026-02-29T23:52:53Z",
        "2026-11-21T24:52:53Z",
        "2026-11-21T23:60:53Z",
        "2026-11-21T23:59:60Z",
        "2026-11-21T23:52:53+24:00",
        "2026-11-21T23:52:53X",
        "2026-11-21T23:52:53.Z",
        "92026-11-21T23:52:53Z",
        "99999999-11-21T23:52:53Z",
        "Nov 99999999999999999999 2026 10:10:10",
        "Nov 21 99999999999999999999 10:10:10",
        "Nov 21 2026 25:10:10",
    ] {
        refused(format!("{stamp} b sshd[9]: x"));
        refused(format!("<86>{stamp} b sshd[9]: x"));
        refused(format!("<86>1 {stamp} b sshd 9 - - x"));
    }
}

#[test]
fn refuses_what_is_no_header() {
    refused("");
    refused("\0\0x");
    refused("Failed password for root from 192.0.2.1 port 22 ssh2");
    refused("Nov 21 23:52:48");
    refused("Mar y had a little lamb");
    refused("May 1");
    refused(b"\xff\xfe\xfd");
    refused(b"Nov \xff1 23:52:48 b sshd[9]: x");
    refused("<86>1");
    refused("<86>1 \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0:00Z b sshd 9 - - x");
    refused("<86>1 ");
    refused("<86>1 - b sshd");
    refused("<86>2 2026-11-21T23:52:53Z b sshd 9 - - x");
    refused("@400000006b022fd7078dd0a");
    refused("@400000006b022fd7078dd0a4x");
    refused("@3fffffffffffffff078dd0a4 x");
    refused("@ffffffffffffffff078dd0a4 x");
    refused("@400000006b022fd73b9aca00 x");
    refused("@400000006B022FD7078DD0A4 x");
}

#[test]
fn bounds_what_it_looks_at() {
    let tag = "t".repeat(7_000);
    check(format!("Nov 21 23:52:48 b {tag}[9]: x"), &format!("b - - 2026-11-21T23:52:48Z | {tag}[9]: x"));
    check(format!("Nov 21 23:52:48 {tag} sshd[9]: x"), &format!("- - - 2026-11-21T23:52:48Z | {tag} sshd[9]: x"));
    let name = "t".repeat(TAG_MAX);
    check(format!("Nov 21 23:52:48 b {name}[9]: x"), &format!("b {name} 9 2026-11-21T23:52:48Z | x"));
    check(format!("Nov 21 23:52:48 b t{name}[9]: x"), &format!("b - - 2026-11-21T23:52:48Z | t{name}[9]: x"));
    let digits = "9".repeat(PID_MAX + 1);
    check(format!("Nov 21 23:52:48 b t[{digits}]: x"), &format!("b - - 2026-11-21T23:52:48Z | t[{digits}]: x"));
    refused(format!("<86>1 2026-11-21T23:52:53Z b {tag} 9 - - x"));
    refused(format!("<86>1 2026-11-21T23:52:53Z {tag} sshd 9 - - x"));
    refused(format!("{}{}", "<86>1 2026-11-21T23:52:53Z b sshd 9 - [", "x".repeat(7_000)));
}

#[test]
fn takes_no_word_of_the_message_for_a_tag() {
    check(
        "Nov 21 23:52:48 b last message repeated 2 times",
        "b - - 2026-11-21T23:52:48Z | last message repeated 2 times",
    );
    check(
        "Nov 21 23:52:48 last message repeated 2 times",
        "- - - 2026-11-21T23:52:48Z | last message repeated 2 times",
    );
    check("Nov 21 23:52:48 b -- MARK --", "b - - 2026-11-21T23:52:48Z | -- MARK --");
    check("Nov 21 23:52:48 -- MARK --", "- - - 2026-11-21T23:52:48Z | -- MARK --");
    check("Nov 21 23:52:48 b see http://example.org", "b - - 2026-11-21T23:52:48Z | see http://example.org");
    check("Nov 21 23:52:48 b http://example.org", "b - - 2026-11-21T23:52:48Z | http://example.org");
    check("Nov 21 23:52:48 b su[x] y", "b - - 2026-11-21T23:52:48Z | su[x] y");
    check("Nov 21 23:52:48 b su[] y", "b - - 2026-11-21T23:52:48Z | su[] y");
    check("Nov 21 23:52:48 b su[1 2]: y", "b - - 2026-11-21T23:52:48Z | su[1 2]: y");
    check("Nov 21 23:52:48 b", "- - - 2026-11-21T23:52:48Z | b");
    check("Nov 21 23:52:48 ", "- - - 2026-11-21T23:52:48Z | ");
    check(b"Nov 21 23:52:48 b \xff\xfe[9]: x", "b \\xff\\xfe 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48 b s\0shd[9]: x", "b - - 2026-11-21T23:52:48Z | s\\x00shd[9]: x");
}

#[test]
fn reads_5424() {
    // The examples of RFC 5424, section 6.5, with its own times.
    check(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
        "mymachine.example.com su - 2003-10-11T22:14:15.003Z | \\'su root\\' failed for lonvick on /dev/pts/8",
    );
    check(
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
        "192.0.2.1 myproc 8710 2003-08-24T12:14:15.000003Z | %% It\\'s time to make the do-nuts.",
    );
    check(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\"][examplePriority@32473 class=\"high\"]",
        "mymachine.example.com evntslog - 2003-10-11T22:14:15.003Z | ",
    );
    check("<86>1 - - - - - - x", "- - - - | x");
    check("<86>1 - - - - - -", "- - - - | ");
    check("<86>1 - b sshd 9 - [a b=\"]\\\"\\]\\\\\"] x", "b sshd 9 - | x");
    check("<86>1 - b sshd 9 - [a] [b] x", "b sshd 9 - | [b] x");
    check("<86>1 - b sshd 9 - -   x", "b sshd 9 - |  x");
    check("<86>1 - b sshd x9 - - x", "b sshd - - | x");
    check(b"<86>1 - b sshd 9 - - \xff\xfe ", "b sshd 9 - | \\xff\\xfe ");
    refused("<86>1 - b sshd 9 - x");
    refused("<86>1 - b sshd 9 - -x");
    refused("<86>1 - b sshd 9 - [a b=c x".replace('=', "").as_str());
    refused("<86>1 - b  sshd 9 - - x");
    refused("<86>1 2026-11-21T23:52:53Z+ b sshd 9 - - x");
}

#[test]
fn reads_multilog() {
    // 0x40000000 6b022fd7: 1795305431 - 10 s; 0x078dd0a4 ns = 126.7345 ms.
    let label = "@400000006b022fd7078dd0a4";
    for format in [Format::Auto, Format::Multilog] {
        check_as(format, format!("{label} x y"), "- - - 2026-11-21T23:57:01.126734Z | x y");
        check_as(format, format!("{label}  x"), "- - - 2026-11-21T23:57:01.126734Z |  x");
        check_as(format, format!("{label} "), "- - - 2026-11-21T23:57:01.126734Z | ");
        check_as(format, label, "- - - 2026-11-21T23:57:01.126734Z | ");
        check_as(format, format!("{label} sshd[1]: x"), "- - - 2026-11-21T23:57:01.126734Z | sshd[1]: x");
        // The label's time stands.
        check_as(format, format!("{label} Nov 20 10:00:00 b sshd[1]: x"), "b sshd 1 2026-11-21T23:57:01.126734Z | x");
        check_as(format, format!("{label} <86>Nov 20 10:00:00 sshd[1]: x"), "- sshd 1 2026-11-21T23:57:01.126734Z | x");
        let twice = format!("- - - 2026-11-21T23:57:01.126734Z | {label} x");
        check_as(format, format!("{label} {label} x"), &twice);
    }
    // The epoch itself, and what is before it.
    check("@400000000000000a00000000 x", "- - - 1970-01-01T00:00:00Z | x");
    refused("@400000000000000900000000 x");
    check_as(Format::Syslog, format!("{label} x"), &format!("- - - - | {label} x"));
}

#[test]
fn reads_metalog() {
    for format in [Format::Auto, Format::Metalog] {
        check_as(format, "Nov 21 23:26:32 [sshd] Failed x", "- sshd - 2026-11-21T23:26:32Z | Failed x");
        check_as(format, "Nov 21 23:26:32 [sshd] error: x", "- sshd - 2026-11-21T23:26:32Z | error: x");
        check_as(format, "Nov 21 23:26:32 [sshd]", "- sshd - 2026-11-21T23:26:32Z | ");
        check_as(format, "Nov 21 23:26:32 [sshd]  x ", "- sshd - 2026-11-21T23:26:32Z |  x ");
    }
    check_as(Format::Metalog, "Nov 21 23:26:32 b sshd[1]: x", "- - - - | Nov 21 23:26:32 b sshd[1]: x");
    check_as(Format::Metalog, "Nov 21 23:26:32 [] x", "- - - - | Nov 21 23:26:32 [] x");
    check_as(Format::Metalog, "Nov 21 23:26:32 [sshd[1]] x", "- - - - | Nov 21 23:26:32 [sshd[1]] x");
    check_as(Format::Metalog, "Nov 21 23:26:32 [a b] x", "- - - - | Nov 21 23:26:32 [a b] x");
}

#[test]
fn reads_bare_messages() {
    check_as(Format::Message, "Nov 21 23:26:32 b sshd[1]: x\r\n", "- sshd - - | Nov 21 23:26:32 b sshd[1]: x");
    check_as(Format::Message, "Invalid user  from 192.0.2.1 ", "- sshd - - | Invalid user  from 192.0.2.1 ");
}

#[test]
fn unwraps_only_on_demand_and_only_once() {
    let line = b"<86>1 2026-11-21T23:53:15Z t sshlog - - - Nov 21 23:26:32 web1 sshd[1]: Nov 20 10:00:00 c su[2]: x";
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    let wrapped = "t sshlog - 2026-11-21T23:53:15Z | Nov 21 23:26:32 web1 sshd[1]: Nov 20 10:00:00 c su[2]: x";
    assert_eq!(read(&mut parser, line, RECEIVED), wrapped);
    parser.unwrap(true);
    let unwrapped = "web1 sshd 1 2026-11-21T23:26:32Z | Nov 20 10:00:00 c su[2]: x";
    assert_eq!(read(&mut parser, line, RECEIVED), unwrapped);
    // An inner stamp without a program is no header.
    let stamped = "b app 9 2026-11-21T23:52:48Z | Nov 20 10:00:00 something happened";
    assert_eq!(read(&mut parser, b"Nov 21 23:52:48 b app[9]: Nov 20 10:00:00 something happened", RECEIVED), stamped);
    let plain = "b sshd 9 2026-11-21T23:52:48Z | sshd[1]: x";
    assert_eq!(read(&mut parser, b"Nov 21 23:52:48 b sshd[9]: sshd[1]: x", RECEIVED), plain);
}

#[test]
fn reads_odd_stamps() {
    for stamp in [
        "2026-11-21T23:52:53+0000",
        "2026-11-22T00:52:53+01",
        "2026-11-21 23:52:53Z",
        "2026-11-21 23:52:53 UTC",
        "2026-11-21 23:52:53",
        "2026-11-22 00:52:53 +0100",
        "2026-11-21t23:52:53z",
        "2026/11/21 23:52:53",
        "2026-11-21 23:52:53  ",
        "Sat 2026-11-21 23:52:53 UTC",
        "Sun 2026-11-22 00:52:53 CET",
        "Sat Nov 21 23:52:53 2026",
        "Sat Nov 21 23:52:53 UTC 2026",
        "Sat, Nov 21 23:52:53",
        "Nov 21 23:52:53 2026",
        "Nov 22 00:52:53 CET",
        "Nov 21 2026 23:52:53",
        "Nov 21 2026 23:52:53 GMT:",
        "1795305173",
        "2026 Nov 21 23:52:53",
    ] {
        check(format!("{stamp} b sshd[9]: x"), "b sshd 9 2026-11-21T23:52:53Z | x");
        check(format!("<38>{stamp} b sshd[9]: x"), "b sshd 9 2026-11-21T23:52:53Z | x");
    }
    check("2026-11-21 23:52:53,123 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.123Z | x");
    check("1795305173.560211 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.560211Z | x");
    check("[12345.678901] b sshd[9]: x", "b sshd 9 - | x");
    check("[    5.678901] b sshd[9]: x", "b sshd 9 - | x");
    check("[20586.776279                ] b sshd[9]: x", "b sshd 9 - | x");
    check("[20586.776329 <    0.000050 >] b sshd[9]: x", "b sshd 9 - | x");
    refused("[20586.776329 <    0.000050] b sshd[9]: x");
    check("2026 Nov 21 23:52:53.250 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53.25Z | x");
    check("\u{feff}Nov 21 23:52:53 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:53Z | x");
}

#[test]
fn reads_what_containers_print() {
    let json = |text: &str| format!("{{\"log\":\"{text}\",\"stream\":\"stderr\",\"time\":\"2026-11-21T23:52:53.5Z\"}}");
    check(json("a \\u003cb\\u003e \\\"c\\\" \\\\ d\\r\\n"), "- - - 2026-11-21T23:52:53.5Z | a <b> \\\"c\\\" \\\\ d");
    check(
        "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2026-11-21T23:52:53Z\"}",
        "- - - 2026-11-21T23:52:53Z | x",
    );
    check("2026-11-21T23:52:53.5Z stdout F x y", "- - - 2026-11-21T23:52:53.5Z | x y");
    // A syslog daemon in the container: its host and tag, the container's time.
    let inner = "Nov 20 10:00:00 b authpriv.info sshd[9]: x";
    check(json(&format!("{inner}\\n")), "b sshd 9 2026-11-21T23:52:53.5Z | x");
    check(format!("2026-11-21T23:52:53.5Z stdout F {inner}"), "b sshd 9 2026-11-21T23:52:53.5Z | x");
    // No daemon puts one stamp of a container into another: a stranger would make the next line a piece.
    let mut parser = Parser::default();
    let twice = "2026-11-21T23:52:53.5Z stdout P x";
    let said = read(&mut parser, format!("2026-11-21T23:52:53.5Z stdout F {twice}").as_bytes(), RECEIVED);
    assert_eq!(said, format!("- - - 2026-11-21T23:52:53.5Z | {twice}"));
    let said = read(&mut parser, b"2026-11-21T23:52:53.5Z stdout F x", RECEIVED);
    assert_eq!(said, "- - - 2026-11-21T23:52:53.5Z | x");
    // docker's `syslog` driver: the pid is dockerd's.
    check("Nov 21 23:52:48 b 4f1c0a2b3c4d[812]: Failed x", "b - - 2026-11-21T23:52:48Z | Failed x");
    check("<30>Nov 21 23:52:48 4f1c0a2b3c4d[812]: Failed x", "- - - 2026-11-21T23:52:48Z | Failed x");
    check("Nov 21 23:52:48 b sshd-session[8]: x", "b sshd-session 8 2026-11-21T23:52:48Z | x");
    // A piece is no message, nor is what goes on with it.
    let mut parser = Parser::default();
    let mut said = |line: &str| read(&mut parser, line.as_bytes(), RECEIVED);
    let nothing = "- - - 2026-11-21T23:52:53.5Z | ";
    assert_eq!(said(&json("a")), nothing);
    assert_eq!(said(&json("Failed x\\n")), nothing);
    assert_eq!(said(&json("b\\n")), "- - - 2026-11-21T23:52:53.5Z | b");
    assert_eq!(said("2026-11-21T23:52:53.5Z stdout P a"), nothing);
    assert_eq!(said("2026-11-21T23:52:53.5Z stdout F Failed x"), nothing);
    assert_eq!(said("2026-11-21T23:52:53.5Z stdout F b"), "- - - 2026-11-21T23:52:53.5Z | b");
}

/// Whoever writes to a program's output can make it up, and a piece counts as cut.
#[test]
fn what_containers_print_is_told_as_such() {
    let mut parser = Parser::default();
    let mut check = |line: &str, stdout: bool, truncated: bool| {
        let batch = parser.batch(Timestamp::default(), [line.as_bytes()]);
        let record = batch.record(0);
        assert_eq!((record.stdout, record.truncated), (stdout, truncated), "{line}");
    };
    let json = |text: &str| format!("{{\"log\":\"{text}\",\"stream\":\"stderr\",\"time\":\"2026-11-21T23:52:53.5Z\"}}");
    check(&json("x\\n"), true, false);
    check("2026-11-21T23:52:53.5Z stdout F x", true, false);
    check("2026-11-21T23:52:53.5Z stdout F Nov 21 23:52:48 b sshd[9]: x", true, false);
    check("Nov 21 23:52:48 b 4f1c0a2b3c4d[812]: x", true, false);
    check("Nov 21 23:52:48 b docker/sshd[812]: x", true, false);
    check("Nov 21 23:52:48 b registry/sshd/4f1c0a2b3c4d[812]: x", true, false);
    check("Nov 21 23:52:48 b registry:5000/sshd:9/sshd/4f1c0a2b3c4d[812]: x", true, false);
    check("sshd-1  | x", true, false);
    check("sshd-1  | Nov 21 23:52:48 b sshd[9]: x", true, false);
    check("Nov 21 23:52:48 b sshd[9]: x", false, false);
    check("Nov 21 23:52:48 b docker[812]: x", false, false);
    check("x-1 x | x", false, false);
    check("2026-11-21T23:52:53.5Z stdout P x", true, true);
    check("2026-11-21T23:52:53.5Z stdout P x", true, true);
    check("2026-11-21T23:52:53.5Z stdout F x", true, true);
    check("2026-11-21T23:52:53.5Z stdout F x", true, false);
    check(&json("x"), true, true);
    check(&json("x\\n"), true, true);
    check(&json("x\\n"), true, false);
}

/// ESXi 8 writes a message's severity where others write the host.
#[test]
fn a_severity_of_esxi_is_no_host() {
    for severity in ["Em", "Al", "Cr", "Er", "Wa", "No", "In", "Db"] {
        for number in ["0", "35", "38", "187"] {
            for stamp in ["2026-11-21T23:52:53.000Z", "2026-11-21T23:52:53Z", "Nov 21 23:52:53"] {
                let said = "sshd 9 2026-11-21T23:52:53Z | x";
                check(format!("{stamp} {severity}({number}) sshd[9]: x"), &format!("- {said}"));
                check(format!("{stamp} b {severity}({number}) sshd[9]: x"), &format!("b {said}"));
            }
        }
    }
}

#[test]
fn reads_words_before_the_tag() {
    let stamp = "Nov 21 23:52:48";
    let check = |text: &str, host: &str, program: &str, pid: &str, message: &str| {
        check(format!("{stamp} {text}"), &format!("{host} {program} {pid} 2026-11-21T23:52:48Z | {message}"));
    };
    let sshd = |text: &str, host: &str| check(text, host, "sshd", "9", "x");
    sshd("b auth.info sshd[9]: x", "b");
    sshd("auth.info sshd[9]: x", "-");
    sshd("auth.info: sshd[9]: x", "-");
    sshd("auth.info: Nov 20 01:02:03 sshd[9]: x", "-");
    sshd("auth.info: Nov 20 01:02:03 b sshd[9]: x", "b");
    sshd("<auth.info> b sshd[9]: x", "b");
    sshd("<4.6> b sshd[9]: x", "b");
    sshd("b info sshd[9]: x", "b");
    sshd("b auth|security:info sshd[9]: x", "b");
    sshd("b auth|security:info Message forwarded from c: sshd[9]: x", "c");
    sshd("In(38) sshd[9]: x", "-");
    sshd("b Er(35) sshd[9]: x", "b");
    sshd("b aabbccddeeff,U7-Pro-XG-8.6.11+18870: sshd[9]: x", "b");
    sshd("b (\"U7PG2,788a20ddeeff,v4.0.42\") sshd[9]: x", "b");
    sshd("[192.0.2.50] sshd[9]: x", "192.0.2.50");
    sshd("192.0.2.50 web1 sshd[9]: x", "web1");
    sshd("b b.example.org sshd[9]: x", "b.example.org");
    sshd(" b  sshd[9]: x", "b");
    sshd("b 1 2026-11-20T01:02:03Z c sshd 9 - - x", "c");
    sshd("b <38>1 2026-11-20T01:02:03Z c sshd 9 - - x", "c");
    sshd("b sshd 9 - - x", "b");
    sshd("b sshd [9]: x", "b");
    sshd("sshd [9]: x", "-");
    sshd("b /usr/sbin/sshd[9]: x", "b");
    check("b [sshd]: x", "b", "sshd", "-", "x");
    check("b [sshd] x", "b", "sshd", "-", "x");
    check("[sshd]: x", "-", "sshd", "-", "x");
    // A word of a line without tag is no host, and what follows it no tag: a stranger may have written it.
    let failed = "sshd[1]: Failed password for root from 203.0.113.9 port 1 ssh2";
    check(&format!("b User {failed}"), "b", "-", "-", &format!("User {failed}"));
    check(&format!("b login of user {failed}"), "b", "-", "-", &format!("login of user {failed}"));
    check(&format!("b info User {failed}"), "b", "-", "-", &format!("info User {failed}"));
    check(&format!("b app[7]: x {failed}"), "b", "app", "7", &format!("x {failed}"));
    check(&format!("b auth.info app[7]: x {failed}"), "b", "app", "7", &format!("x {failed}"));
    check(&format!("b auth.info User {failed}"), "b", "-", "-", &format!("auth.info User {failed}"));
}

#[test]
fn asks_about_odd_stamps() {
    check("Nov 1 03:06:25 b sshd[9]: x", "b sshd 9 2026-11-01T03:06:25Z | x");
    check("<86>Nov 1 03:06:25 sshd[9]: x", "- sshd 9 2026-11-01T03:06:25Z | x");
    check("nov 21 23:52:48 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("<86>Nov 21 2026 23:52:48 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:48: b sshd[9]: x", "b sshd 9 2026-11-21T23:52:48Z | x");
    check("Nov 21 23:52:4 b sshd[9]: x", "b sshd 9 2026-11-21T23:52:04Z | x");
    check("Feb 9 2:03:04 b sshd[9]: x", "b sshd 9 2026-02-09T02:03:04Z | x");
    // What it would do wrong: trim, eat structured data, lose bytes, take `message` for a program.
    check("Nov 1 03:06:25 b sshd[9]: [id k=v] x ", "b sshd 9 2026-11-01T03:06:25Z | [id k=v] x ");
    check(b"Nov 1 03:06:25 b sshd[9]: \xff ", "b sshd 9 2026-11-01T03:06:25Z | \\xff ");
    check("Nov 1 03:06:25 b sshd[9]:  x", "b sshd 9 2026-11-01T03:06:25Z |  x");
    check(
        "Nov 1 03:06:25 b message repeated 2 times: [ x]",
        "b - - 2026-11-01T03:06:25Z | message repeated 2 times: [ x]",
    );
    refused("Nov 1 03:06:61 b sshd[9]: x");
    refused("Feb 30 3:06:01 b sshd[9]: x");
    let mut parser = Parser::new(Format::Auto, TimeZone::get("Europe/Berlin").unwrap());
    let said = read(&mut parser, b"Nov 1 03:06:25 b sshd[9]: x", RECEIVED);
    assert_eq!(said, "b sshd 9 2026-11-01T02:06:25Z | x");
    let said = read(&mut parser, b"Jul 1 2025 03:06:25 b sshd[9]: x", RECEIVED);
    assert_eq!(said, "b sshd 9 2025-07-01T01:06:25Z | x");
}

/// Any beginning of a line, with any byte changed, is read without a panic, the message is its end, and what was read
/// before changes nothing.
#[test]
fn never_fails() {
    let lines: [&[u8]; 6] = [
        b"<86>Nov 21 23:52:48 b sshd[9]: x",
        b"2026-11-21T23:52:53.351918+00:00 b sshd[9]: x",
        b"<86>1 2026-11-21T23:52:53Z b sshd 9 - [a b=\"c\"] x",
        b"@400000006b022fd7078dd0a4 Nov 21 23:52:48 [sshd] x",
        b"Nov 1 2026 03:06:25 b sshd[9]: x",
        b"feb 29 3:06:25 b sshd[9]: x",
    ];
    let mut anew = Parser::new(Format::Auto, TimeZone::UTC);
    anew.unwrap(true);
    let mut parser = anew.clone();
    for line in lines {
        for end in 0..=line.len() {
            for at in 0..end {
                for byte in [0, b'\n', b' ', b'-', b':', b'<', b'[', b'"', b'9', b'Z', 0x80, 0xff] {
                    let mut line = line[..end].to_vec();
                    line[at] = byte;
                    let batch = parser.batch(Timestamp::default(), [line.as_slice()]);
                    let record = batch.record(0);
                    assert!(without_end(&line).ends_with(record.message));
                    let alone = anew.clone().batch(Timestamp::default(), [line.as_slice()]);
                    let alone = alone.record(0);
                    assert_eq!((record.host, record.identifier), (alone.host, alone.identifier));
                    assert_eq!((record.pid, record.event, record.message), (alone.pid, alone.event, alone.message));
                }
            }
        }
    }
}

#[test]
fn reads_svlogd() {
    check("2026-11-21_23:26:32.12345 b sshd[9]: x", "b sshd 9 2026-11-21T23:26:32.12345Z | x");
    check("2026-11-21T23:26:32.12345 b sshd[9]: x", "b sshd 9 2026-11-21T23:26:32.12345Z | x");
    let mut berlin = Parser::new(Format::Auto, TimeZone::get("Europe/Berlin").unwrap());
    for utc in ["2026-11-21_23:26:32.12345 b sshd[9]: x", "2026-11-21T23:26:32.12345 b sshd[9]: x"] {
        assert_eq!(read(&mut berlin, utc.as_bytes(), RECEIVED), "b sshd 9 2026-11-21T23:26:32.12345Z | x", "{utc}");
    }
    let local = "2026-11-21T23:26:32.1234 b sshd[9]: x";
    assert_eq!(read(&mut berlin, local.as_bytes(), RECEIVED), "b sshd 9 2026-11-21T22:26:32.1234Z | x");
    refused("2026-11-21_23:26:32.12345Z b sshd[9]: x");
    refused("2026-11-21_23:26:32+01:00 b sshd[9]: x");
}

#[track_caller]
fn check_bare(format: Format, line: &str, expected: &str) {
    let mut parser = Parser::new(format, TimeZone::UTC);
    parser.bare(Some("sshd"));
    assert_eq!(read(&mut parser, line.as_bytes(), RECEIVED), expected, "{line}");
}

#[test]
fn bare_output_has_no_header_that_a_stranger_could_write() {
    let label = "@400000006b022fd7078dd0a4";
    for format in [Format::Auto, Format::Multilog] {
        let time = "- sshd - 2026-11-21T23:57:01.126734Z |";
        let check = |text: &str| check_bare(format, &format!("{label} {text}"), &format!("{time} {text}"));
        check("Failed password for root from 192.0.2.1 port 22 ssh2");
        check("Nov 21 23:52:48 b sshd[9]: x");
        check("<38>Nov 21 23:52:48 b sshd[9]: x");
        check("Nov 21 23:52:48 [sshd] x");
        check("@400000006b022fd7078dd0a4 x");
        check_bare(format, &format!("{label} x\r"), &format!("{time} x"));
        check_bare(format, label, &format!("{time} "));
        check_bare(format, "Nov 21 23:52:48 b sshd[9]: x", "- sshd - - | Nov 21 23:52:48 b sshd[9]: x");
        check_bare(format, "@4000x x", "- sshd - - | @4000x x");
    }
    check_bare(Format::Auto, "2026-11-21_23:26:32.12345 Failed x", "- sshd - 2026-11-21T23:26:32.12345Z | Failed x");
    check_bare(Format::Auto, "2026-11-21T23:26:32.12345 Failed x", "- sshd - 2026-11-21T23:26:32.12345Z | Failed x");
    check_bare(Format::Auto, "Failed x", "- sshd - - | Failed x");
    let s6 = "2026-11-21 23:26:32.622327647  Failed x";
    check_bare(Format::Auto, s6, "- sshd - 2026-11-21T23:26:32.622327Z | Failed x");
    let both = format!("@400000006b022fd7078dd0a4 {s6}");
    check_bare(Format::Auto, &both, "- sshd - 2026-11-21T23:57:01.126734Z | Failed x");
    check_bare(Format::Auto, "2026/11/21 23:26:32 Failed x", "- sshd - 2026-11-21T23:26:32Z | Failed x");
    let windows = "1234 2026-11-21 23:26:32.123 Failed x";
    check_bare(Format::Auto, windows, "- sshd 1234 2026-11-21T23:26:32.123Z | Failed x");
    let in_container = "2026-11-21T23:26:32.5Z stderr F Nov 21 23:52:48 b su[9]: x";
    check_bare(Format::Auto, in_container, "- sshd - 2026-11-21T23:26:32.5Z | Nov 21 23:52:48 b su[9]: x");
    check_bare(Format::Message, "@400000006b022fd7078dd0a4 x", "- sshd - - | @400000006b022fd7078dd0a4 x");
    check_bare(Format::Message, "2026-11-21_23:26:32.12345 x", "- sshd - - | 2026-11-21_23:26:32.12345 x");
}

/// Every header that is known to be written, and what looks like one and is none. See the head of the table.
#[test]
fn headers_of_the_field() {
    let mut wrong = String::new();
    for row in include_str!("../../../tests/data/headers.tsv").lines().filter(|row| !row.starts_with("# ")) {
        let [line, host, tag, pid, time, message] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("six columns: {row}");
        };
        let want = format!("{host} {tag} {pid} {time} | {}", unescaped(message).escape_ascii());
        let mut parser = Parser::default();
        // The second time the minute is remembered, and how the line began.
        for _ in 0..2 {
            let found = read(&mut parser, &unescaped(line), RECEIVED);
            if found != want {
                wrong += &format!("{line}\n    {found}\n    {want}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "a line, what was read, and what it says:\n{wrong}");
}

/// `\xNN`, `\r` and `\\` of a table.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match rest.next().unwrap() {
                b'r' => b'\r',
                b'x' => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
        });
    }
    bytes
}
