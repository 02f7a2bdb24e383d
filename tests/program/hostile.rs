//! Logs that strangers wrote: whatever they put into user names, versions, offers, reasons and key ids, the address
//! that comes out is the peer's or none, nobody else is denied, and memory stays bounded.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{ChildStdin, Stdio};

use denyd::decide::engine::Engine;
use denyd::detect::sshd;
use denyd::intake::{Counts, Source, address, fold};
use inputs::file::lines::LineReader;
use inputs::journald::stored;
use inputs::record::{Batch, SourceId, Timestamp};
use inputs::syslog::parse::{Format, Parser};
use kit::hostile::NAMES;
use kit::shapes::{self, Said, VICTIM};
use kit::{Home, Random, VERSIONS};

/// The most that the program may ever have used while it read any of this.
const MEMORY_MAX_KB: u64 = 100_000;
const MB: usize = 1 << 20;

#[test]
fn hostile_names_in_every_real_line() {
    for version in VERSIONS {
        let corpus = kit::corpus(version);
        let mut lines = Vec::new();
        let mut peers = Vec::new();
        for row in corpus.rows.iter().filter(|row| !row.astray && row.src.is_some()) {
            let Some(user) = row.user.as_deref().filter(|user| user.len() > 2) else { continue };
            let head = row.line.find("]: ").map_or(0, |at| at + 3);
            // Only of accounts that are there: no stranger chooses their names.
            if row.line[head..].starts_with("User ") {
                continue;
            }
            let Some(at) = row.line[head..].find(user).map(|at| head + at) else { continue };
            for name in NAMES {
                let (before, after) = (&row.line[..at], &row.line[at + user.len()..]);
                // A pid of its own: what other lines of the connection say is no help.
                let before = before.replacen(&format!("[{}]", row.pid), &format!("[{}]", lines.len() + 1), 1);
                lines.push([before.as_bytes(), name, after.as_bytes()].concat());
                peers.push(row.src.unwrap());
            }
        }
        assert!(lines.len() > 20_000, "{}", lines.len());
        let found = addresses(&lines);
        for ((line, peer), found) in lines.iter().zip(&peers).zip(found) {
            assert!(found.is_none_or(|found| found == *peer), "{found:?}, not {peer}: {}", line.escape_ascii());
        }
    }
}

/// A line that was cut names the peer, or nobody; or it ends in an address and is, to the letter, the whole line of
/// an OpenSSH that logged no port. Where the reader knows that it cut the line, not even that.
#[test]
fn real_lines_cut_anywhere() {
    let mut like_whole = 0;
    for version in VERSIONS {
        let corpus = kit::corpus(version);
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for row in corpus.rows.iter().filter(|row| !row.astray) {
            let Some(head) = row.line.find("]: ").map(|at| at + 3) else { continue };
            for end in head..=row.line.len() {
                let cut = row.line.as_bytes()[..end].to_vec();
                let own = format!("[{}]", lines.len() + 1);
                let pid = format!("[{}]", row.pid);
                let at = row.line.find(&pid).unwrap();
                lines.push([&cut[..at], own.as_bytes(), &cut[at + pid.len()..]].concat());
                rows.push(row);
            }
        }
        let found = addresses(&lines);
        for ((line, row), found) in lines.iter().zip(&rows).zip(found) {
            if found.is_none() || found == row.src {
                continue;
            }
            let text = String::from_utf8_lossy(line);
            let found = found.unwrap();
            let bare = text.trim_end().trim_end_matches(" [preauth]").trim_end_matches(" ssh2");
            let bare =
                bare.rsplit_once(" port ").filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(bare, |it| it.0);
            let last = bare.rsplit([' ', '=']).next().unwrap();
            // `PAM: E for U from H via H2`
            let via = text.rsplit_once(" from ").map_or("", |(_, host)| host.split(' ').next().unwrap());
            // `Received disconnect from A: …`
            let colon = last.strip_suffix(':').unwrap_or(last);
            assert!([last, via, colon].iter().any(|it| it.parse() == Ok(found)), "{found}, not {:?}: {text}", row.src);
            like_whole += 1;
            let at = line.windows(3).position(|it| it == b"]: ").unwrap() + 3;
            let known = cut_message(&line[at..]);
            let named = [" user ", " for ", "Invalid "].iter().any(|word| text.contains(word));
            assert!(!named || known.is_none() || known == row.src, "known to be cut: {known:?}: {text}");
        }
    }
    eprintln!("{like_whole} cut lines look like whole ones");
}

/// A million messages through reader, parser, grammar and fold, without the program around them.
#[test]
fn every_shape_with_hostile_texts() {
    const CASES: usize = 1_000_000;
    const AT_ONCE: usize = 1_000;
    let told = Cell::new(0);
    for framing in Framing::ALL {
        let batches = CASES / Framing::ALL.len() / AT_ONCE * kit::longer();
        kit::batches("every-shape", batches as u32, AT_ONCE, |randoms| {
            let cases = randoms.iter_mut().enumerate().map(|(number, random)| case(random, framing, number));
            let cases: Vec<_> = cases.collect();
            for ((case, random), found) in cases.iter().zip(randoms).zip(found(framing, &cases)) {
                let line = case.line.escape_ascii();
                match case.said {
                    Said::Peer => assert_eq!(found, Some(case.peer), "{framing:?}: {line}"),
                    Said::PeerOrNobody => {
                        assert!(found.is_none_or(|it| it == case.peer), "{framing:?}: {found:?}: {line}");
                    }
                    Said::Nobody => assert_eq!(found, None, "{framing:?}: {line}"),
                }
                told.update(|told| told + usize::from(found.is_some()));
                // Known to be cut, it names the peer or nobody.
                let message = &case.line[case.message..];
                let cut = cut_message(&message[..random.below(message.len() + 1)]);
                assert!(cut.is_none_or(|it| it == case.peer), "{cut:?}, cut from {line}");
            }
        });
    }
    assert!(told.get() > CASES / 2, "{} yielded an address", told.get());
}

#[test]
fn nobody_else_is_denied() {
    let log = hostile_log(MB);
    let found = kit::scan(&log);
    let prefixes = |rows: &serde_json::Value| -> Vec<String> {
        rows.as_array().unwrap().iter().map(|row| kit::text(&row["prefix"])).collect()
    };
    assert_eq!(prefixes(&found["denied"]), ["192.0.2.7"]);
    let tallied = prefixes(&found["tallies"]);
    assert!(tallied.iter().all(|prefix| prefix.starts_with("192.0.2.")), "{tallied:?}");
    assert_eq!(found["truncated"], 3); // NULs before a line are none of it
    // The daemon, following the same.
    let home = Home::with_log();
    let daemon = home.start();
    for some in log.chunks(777_777) {
        home.append(some);
    }
    daemon.caught_up();
    assert_eq!(prefixes(&home.ask(&["list", "hosts"]).unwrap()), ["192.0.2.7"]);
    let memory = memory_kb(daemon.pid());
    assert!(memory < MEMORY_MAX_KB, "{memory} kB");
    daemon.stop();
    assert!(!home.stdout().contains(VICTIM));
}

#[test]
fn memory_is_bounded() {
    for verb in ["scan", "explain"] {
        let config = kit::config();
        let mut command = kit::denyd(&["--config", config.arg(), verb, "--json", "--timezone", "UTC", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // No LF for 200 MB.
        repeat(&mut stdin, b"Failed password for root from 198.51.100.9 port 22 ssh2 ", 200 * MB);
        repeat(&mut stdin, b"\n\0\xff", 2 * MB);
        stdin.write_all(&hostile_log(MB)).unwrap();
        // A pipe holds 64 kB, so nearly all was read.
        let memory = memory_kb(child.id());
        drop(stdin);
        assert!(child.wait().unwrap().success());
        eprintln!("{verb}: {memory} kB");
        assert!(memory < MEMORY_MAX_KB, "{verb}: {memory} kB");
    }
}

fn repeat(to: &mut ChildStdin, text: &[u8], bytes: usize) {
    let block = text.repeat(MB / text.len());
    for _ in 0..bytes / block.len() {
        to.write_all(&block).unwrap();
    }
}

/// The most memory that a process ever had resident.
fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Bad lines of every kind, four of them too long, among them what 192.0.2.7 did: two failures as root.
fn hostile_log(long: usize) -> Vec<u8> {
    let mut log = Vec::new();
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| log.extend_from_slice(part));
        log.push(b'\n');
    };
    let head: &[u8] = b"Nov 21 23:47:21 web1 sshd[77]: ";
    let failed: &[u8] = b"Failed password for root from 198.51.100.9 port 22 ssh2";
    let real: &[u8] = b"Failed password for root from 192.0.2.7 port 7 ssh2";
    line(&[head, real]);
    line(&[]);
    line(&[b"\0"]);
    line(&[head]);
    line(&[failed]);
    line(&[b"sshd: ", failed]);
    line(&[b"<38>"]);
    line(&[b"<999999999999>1 - - - - - - ", failed]);
    line(&[b"<38>1 2026-99-99T99:99:99Z web1 sshd 1 - - x"]);
    line(&[b"Nov 99 99:99:99 web1 sshd[1]: x"]);
    line(&[b"Nov 21 23:47:21 web1 logger[1]: ", failed]);
    line(&[b"Nov 21 23:47:21 web1 logger[1]: ", head, failed]);
    line(&[b"Nov 21 23:47:21 web1 sshd[99999999999999999999]: Invalid user x from "]);
    line(&[b"Nov 21 23:47:21 web1 CRON[1]: (root) CMD (", failed, b")"]);
    line(&[head, b"Invalid user ", head, failed, b" from 192.0.2.8 port 1"]);
    line(&[head, b"Invalid user \xe7\xae from 198.51.100.9 from 192.0.2.8 port 1"]);
    line(&[head, b"Bad protocol version identification '\x16\x03\x01\0", failed, b"' from 192.0.2.9 port 1"]);
    line(&[head, b"Received disconnect from 192.0.2.9 port 1:11: ", failed, b" [preauth]"]);
    line(&[head, b"error: kex_exchange_identification: client sent invalid protocol identifier \"", failed, b"\""]);
    line(&[head, b"message repeated 4000000000 times: [ x ", failed, b"]"]);
    line(&[head, b"message repeated 5 times: ", failed]);
    line(&[b"message repeated 5 times: [ ", head, failed, b"]"]);
    let from = b"from ".repeat(100_000);
    line(&[head, b"Failed password for invalid user ", &from, b"198.51.100.9 port 22 ssh2"]);
    line(&[head, b"Invalid user ", &b"A".repeat(long), b" from 198.51.100.9 port 22"]);
    line(&[&b"x".repeat(long), b" ", failed]);
    line(&[&b"\0".repeat(long)]);
    for byte in 0..=255u8 {
        if byte != b'\n' {
            line(&[&[byte; 40]]);
            // Blanks and tabs before a message are a template's; no stranger's text begins one.
            let is_templates = matches!(byte, b' ' | b'\t');
            line(&[head, &[byte; 3], if is_templates { real } else { failed }]);
        }
    }
    line(&[head, real]);
    line(&[head, b"Failed password for invalid user cut in the middle from 198.51.1"]);
    log
}

/// The address that a message yields of which it is known that it was cut.
fn cut_message(message: &[u8]) -> Option<IpAddr> {
    sshd::parse(message, true)?.peer.address().map(IpAddr::from)
}

/// The address that each line yields, explained in one run.
fn addresses(lines: &[Vec<u8>]) -> Vec<Option<IpAddr>> {
    const KEY: &[u8] = b"\"address\":";
    let config = kit::config();
    let arguments = ["--config", config.arg(), "explain", "--json", "--timezone", "UTC"];
    let (status, out, err) = kit::run(&arguments, &kit::file(lines));
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&err));
    // Parsing so many objects whole takes a minute in a debug build; a quote inside a text is escaped.
    let found: Vec<_> = out
        .split(|&b| b == b'\n')
        .filter(|row| !row.is_empty())
        .map(|row| {
            let at = row.windows(KEY.len()).position(|it| it == KEY).unwrap() + KEY.len();
            let text = row[at..].strip_prefix(b"\"")?;
            let end = text.iter().position(|&b| b == b'"').unwrap();
            Some(std::str::from_utf8(&text[..end]).unwrap().parse().unwrap())
        })
        .collect();
    assert_eq!(found.len(), lines.len());
    found
}

/// The address that each record yields, read and folded as the framing has it; none may be missing or too many.
fn found(framing: Framing, cases: &[Case]) -> Vec<Option<IpAddr>> {
    let lines = cases.iter().map(|case| &case.line);
    let bytes = if framing.is_export() { lines.flatten().copied().collect() } else { kit::file(lines) };
    let bare = matches!(framing, Framing::Multilog | Framing::S6Log);
    let format = if framing == Framing::Multilog { Format::Multilog } else { Format::Auto };
    let mut parser = Parser::new(format, jiff::tz::TimeZone::UTC);
    parser.bare(bare.then_some("sshd"));
    let mut source = Source::new(SourceId(0), None, "web1");
    source.bare = bare;
    let (mut engine, mut counts, mut batch) = (Engine::default(), Counts::default(), Batch::default());
    let mut found = Vec::new();
    let mut take = |batch: &mut Batch| {
        batch.received = Timestamp::from_secs(1_795_305_600); // 2026-11-22T00:00:00Z
        batch.reference = batch.received;
        if !framing.is_export() {
            parser.parse(batch);
        }
        fold(&mut engine, &mut source, batch, &mut counts, |seen, _| found.push(address(seen)));
    };
    let bytes = std::io::Cursor::new(bytes);
    if framing.is_export() {
        let mut reader = stored::Reader::stream(stored::Kind::Export, bytes, "export".as_ref()).unwrap();
        while reader.fill(&mut batch).unwrap() {
            take(&mut batch);
        }
    } else {
        let mut reader = LineReader::new(bytes);
        while reader.fill(&mut batch).unwrap() {
            take(&mut batch);
        }
    }
    assert_eq!(found.len(), cases.len(), "{framing:?}: one record a message");
    found
}

/// How a message reaches us.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Traditional,
    Rfc3339,
    Rfc5424,
    Export,
    Multilog,
    Busybox,
    Socklog,
    Sysklogd,
    WithUnit,
    Forwarded,
    Asl,
    Spaced,
    Docker,
    DockerSyslog,
    Cri,
    S6Log,
    Blanks,
    Tabs,
    TagTwice,
    LineTwice,
    Bracketed,
    Framed,
    SocklogInet,
    Router,
    Compact,
    DockerTag,
    Compose,
    DockerJournal,
}

impl Framing {
    const ALL: [Framing; 28] = [
        Framing::Traditional,
        Framing::Rfc3339,
        Framing::Rfc5424,
        Framing::Export,
        Framing::Multilog,
        Framing::Busybox,
        Framing::Socklog,
        Framing::Sysklogd,
        Framing::WithUnit,
        Framing::Forwarded,
        Framing::Asl,
        Framing::Spaced,
        Framing::Docker,
        Framing::DockerSyslog,
        Framing::Cri,
        Framing::S6Log,
        Framing::Blanks,
        Framing::Tabs,
        Framing::TagTwice,
        Framing::LineTwice,
        Framing::Bracketed,
        Framing::Framed,
        Framing::SocklogInet,
        Framing::Router,
        Framing::Compact,
        Framing::DockerTag,
        Framing::Compose,
        Framing::DockerJournal,
    ];

    /// Whether it is a stream of a journal's entries.
    fn is_export(self) -> bool {
        matches!(self, Framing::Export | Framing::DockerJournal)
    }

    /// Whether the tag that the reader sees is none of these lengths, or it sees more before the message.
    fn has_another_length(self) -> bool {
        use Framing::*;
        matches!(
            self,
            WithUnit
                | Docker
                | DockerSyslog
                | DockerTag
                | DockerJournal
                | Compose
                | Cri
                | Blanks
                | Tabs
                | TagTwice
                | LineTwice
        )
    }
}

struct Case {
    line: Vec<u8>,
    /// Where in it the message begins.
    message: usize,
    peer: IpAddr,
    said: Said,
}

/// A message of sshd's with hostile texts in it, framed. Each has a pid of its own.
fn case(random: &mut Random, framing: Framing, number: usize) -> Case {
    let (printed, peer) = match random.below(6) {
        0 => both(format!("2001:db8::{:x}", 1 + random.below(0xffff)), ""),
        1 => both(format!("2001:db8:{:x}:1:2:3:4:5", 1 + random.below(0xfffe)), ""),
        2 => both(format!("fe80::{:x}", 1 + random.below(0xffff)), "%eth0"),
        3 => {
            let (printed, peer) = both(format!("192.0.2.{}", random.below(256)), "");
            (format!("::ffff:{printed}"), peer)
        }
        _ => both(format!("192.0.2.{}", random.below(256)), ""),
    };
    let (mut message, said) = shapes::message(random, &printed);
    // A text behind the address may be cut anywhere; the address stands in the first so many bytes.
    let keep = 25 + 45;
    if said == Said::Peer && random.one_in(8) && starts_with_address(&message) && message.len() > keep + 60 {
        let cut = keep + 60 + random.below(message.len() - keep - 60);
        message.truncate(cut);
    }
    let program = random.pick(&["sshd", "sshd-session", "sshd-auth"]);
    let pid = number + 1;
    // As long as BusyBox's syslogd reads: nobody knows whether it was cut.
    let wrapped = if message.starts_with(b"message repeated ") { "message repeated 1 times: [ ]".len() } else { 0 };
    let bare = matches!(framing, Framing::Multilog | Framing::S6Log);
    let tag = if bare { "sshd: ".into() } else { format!("{program}[{pid}]: ") };
    let with_stamp = 16 + tag.len() + message.len() - wrapped;
    let may_be_cut = match framing {
        // What is inside a second tag is a message, and no account of some.
        Framing::TagTwice | Framing::LineTwice if wrapped > 0 => true,
        // A unit or a container's number stands for the tag, or nothing.
        _ if framing.has_another_length() => (180..=280).contains(&with_stamp),
        _ => [250, 251].contains(&with_stamp),
    };
    let may_be_cut = may_be_cut && said == Said::Peer;
    let said = if may_be_cut { Said::PeerOrNobody } else { said };
    let head = match framing {
        Framing::Traditional => format!("Nov 21 23:47:19 web1 {program}[{pid}]: "),
        Framing::Rfc3339 => format!("2025-11-21T23:47:19.350189+00:00 web1 {program}[{pid}]: "),
        Framing::Rfc5424 => {
            let data =
                random.pick(&["-", "[x@1 a=\"b \\] from 198.51.100.9\"]", "[timeQuality tzKnown=\"1\"][o b=\"\"]"]);
            format!("<38>1 2025-11-21T23:47:19.350189Z web1 {program} {pid} - {data} ")
        }
        Framing::Busybox => format!("Nov 21 23:47:19 web1 auth.info {program}[{pid}]: "),
        Framing::Socklog => format!("2025-11-21T23:47:19.35018 auth.info: Nov 21 23:47:19 {program}[{pid}]: "),
        Framing::Sysklogd => format!("2025-11-21T23:47:19.350189+00:00 web1 {program} {pid} - - "),
        Framing::WithUnit => {
            let unit = random.pick(&["ssh", "sshd", "sshd@7-192.0.2.1:22-198.51.100.9:40000"]);
            format!("Fri 2025-11-21 23:47:19 UTC web1 {unit}.service[{pid}]: ")
        }
        Framing::Forwarded => {
            format!("Nov 21 23:47:19 relay auth|security:info Message forwarded from web1: {program}[{pid}]: ")
        }
        Framing::Asl => format!("Nov 21 23:47:19 web1 {program}[{pid}] <Info>: "),
        Framing::Spaced => format!("Nov 21 23:47:19  web1  {program} [{pid}]: "),
        Framing::DockerSyslog => "Nov 21 23:47:19 web1 4f1c0a2b3c4d[812]: ".to_owned(),
        Framing::Cri => "2025-11-21T23:47:19.350189123Z stderr F ".to_owned(),
        Framing::S6Log => "2025-11-21 23:47:19.350189123  ".to_owned(),
        Framing::Multilog => "@400000006920f3f11e0a6b84 ".to_owned(),
        Framing::Blanks => format!("Nov 21 23:47:19 web1 {program}[{pid}]:  "),
        Framing::Tabs => format!("Nov 21 23:47:19\tweb1\t{program}[{pid}]:\t"),
        Framing::TagTwice => format!("Nov 21 23:47:19 web1 {program}[{pid}]: {program}[{pid}]: "),
        Framing::LineTwice => {
            let host = random.pick(&["", "web1 "]);
            format!("Nov 21 23:47:19 web1 {program}[{pid}]: Nov 21 23:47:19 {host}{program}[{pid}]: ")
        }
        Framing::Bracketed => {
            let level = random.pick(&["[auth.info]", "(auth.info)"]);
            format!("Nov 21 23:47:19 web1 {level} {program}[{pid}]: ")
        }
        Framing::Framed => format!("2025-11-21T23:47:19+00:00 relay <38>Nov 21 23:47:19 web1 {program}[{pid}]: "),
        Framing::SocklogInet => {
            format!("2025-11-21_23:47:19.35018 198.51.100.9: auth.info: Nov 21 23:47:19 {program}[{pid}]: ")
        }
        Framing::Router => format!("Nov 21 23:47:19 198.51.100.9 OpenWrt auth.info {program}[{pid}]: "),
        Framing::Compact => {
            let stamp = random.pick(&["20251121T234719Z", "2025.11.21 23:47:19", "21-Nov-2025 23:47:19"]);
            format!("{stamp} web1 {program}[{pid}]: ")
        }
        Framing::DockerTag => {
            let tag = random.pick(&["docker/sshbox", "sshd/sshbox/4f1c0a2b3c4d", "sshd:9/sshbox/4f1c0a2b3c4d"]);
            format!("Nov 21 23:47:19 web1 {tag}[812]: ")
        }
        Framing::Compose => "sshbox-1  | ".to_owned(),
        Framing::Docker => {
            let line = docker(&message);
            return Case { message: line.len(), line, peer, said };
        }
        Framing::Export | Framing::DockerJournal => {
            let fields = match framing {
                Framing::Export => format!("SYSLOG_IDENTIFIER={program}\n_PID={pid}\n_UID=0\n_TRANSPORT=syslog"),
                _ => "SYSLOG_IDENTIFIER=sshbox\n_COMM=dockerd\n_PID=812\n_UID=0\n_TRANSPORT=journal".to_owned(),
            };
            let fields = format!("_HOSTNAME=web1\n{fields}");
            let head = format!("__REALTIME_TIMESTAMP=1763768839350189\n{fields}\nMESSAGE\n");
            let len = (message.len() as u64).to_le_bytes();
            let line = [head.as_bytes(), &len, &message, b"\n\n"].concat();
            return Case { message: head.len() + len.len(), line, peer, said };
        }
    };
    Case { message: head.len(), line: [head.as_bytes(), &message].concat(), peer, said }
}

/// A line of docker's json-file. Its engine makes text of what is none; here it stays.
fn docker(message: &[u8]) -> Vec<u8> {
    let mut line = b"{\"log\":\"".to_vec();
    for &byte in message {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            ..b' ' | b'<' | b'>' | b'&' => line.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => line.push(byte),
        }
    }
    line.extend_from_slice(b"\\n\",\"stream\":\"stderr\",\"time\":\"2025-11-21T23:47:19.350189123Z\"}");
    line
}

/// An address as sshd prints it, and as it must come out.
fn both(address: String, zone: &str) -> (String, IpAddr) {
    let peer = address.parse().unwrap();
    (address + zone, peer)
}

/// Whether the peer's address comes before any text of a stranger's.
fn starts_with_address(message: &[u8]) -> bool {
    [&b"Received disconnect from "[..], b"error: Received disconnect from ", b"Unable to negotiate with "]
        .iter()
        .filter_map(|start| message.strip_prefix(*start))
        .any(|rest| !rest.starts_with(b"invalid user ") && !rest.starts_with(b"authenticating user "))
}
