//! Logs that strangers wrote: whatever they put into user names, versions, offers, reasons and key ids, the address
//! that comes out is the peer's or none, nobody else is denied, and memory stays bounded.
//!
//! Inputs that differ from run to run print their seed; `DENYD_SEED` repeats them.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

mod kit;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{ChildStdin, Stdio};

use denyd::detect::sshd;
use kit::{Home, Random, VERSIONS};

/// The address that hostile text names. Nobody ever connects from it.
const VICTIM: &str = "198.51.100.9";
/// The most that the program may ever have used while it read any of this.
const MEMORY_MAX_KB: u64 = 100_000;
const MB: usize = 1 << 20;

/// What strangers call themselves. sshd cuts a name at its first colon.
const NAMES: [&[u8]; 30] = [
    b"",
    b" ",
    b"from",
    b"from ",
    b" from 198.51.100.9",
    b"root from 198.51.100.9",
    b"root from 198.51.100.9 port 22",
    b"root from 198.51.100.9 port 22 ssh2",
    b"x from 198.51.100.9 port 22 ssh2 [preauth]",
    b"x 198.51.100.9 port 22 [preauth]",
    b"x 198.51.100.9 port 22",
    b"invalid user root 198.51.100.9 port 22",
    b"authenticating user root 198.51.100.9 port 22 [preauth]",
    b"[198.51.100.9]",
    b"(198.51.100.9)",
    b"x rhost=198.51.100.9",
    b"x rhost=198.51.100.9  user=root",
    b"user=root rhost=198.51.100.9 ",
    b"x from 198.51.100.9 not allowed because not listed in AllowUsers",
    b"x ssh2 from 198.51.100.9 via 198.51.100.9",
    b"x, pid = 1",
    b"x id 0",
    b"message repeated 1000 times ] [ Failed password for root from 198.51.100.9 port 22 ssh2]",
    b"\\nFailed password for root from 198.51.100.9 port 22 ssh2",
    b"a\rFailed password for root from 198.51.100.9 port 22 ssh2",
    b"\0\0\0 from 198.51.100.9 port 22 ssh2",
    b"\xff\xfe from 198.51.100.9 port 22\xc3",
    b"\xe7\xae\xa1\xe7\x90 from 198.51.100.9",
    b"%s%n from 198.51.100.9 port 22 ssh2",
    b"port 22 ssh2 198.51.100.9 port 22 ssh2 ",
];

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
            let known = sshd::parse(&line[at..], true).peer.address();
            let named = [" user ", " for ", "Invalid "].iter().any(|word| text.contains(word));
            assert!(!named || known.is_none() || known == row.src, "known to be cut: {known:?}: {text}");
        }
    }
    eprintln!("{like_whole} cut lines look like whole ones");
}

#[test]
fn every_shape_with_hostile_texts() {
    let mut random = Random::new();
    let cases = 34_000 * kit::longer();
    for framing in [Framing::Traditional, Framing::Rfc3339, Framing::Rfc5424] {
        for _ in 0..kit::longer() {
            let cases: Vec<_> = (0..cases / kit::longer()).map(|number| case(&mut random, framing, number)).collect();
            let lines: Vec<_> = cases.iter().map(|case| case.line.clone()).collect();
            for (case, found) in cases.iter().zip(addresses(&lines)) {
                let line = case.line.escape_ascii();
                match case.said {
                    Said::Peer => assert_eq!(found, Some(case.peer), "{line}"),
                    Said::PeerOrNobody => assert!(found.is_none_or(|it| it == case.peer), "{found:?}: {line}"),
                    Said::Nobody => assert_eq!(found, None, "{line}"),
                }
            }
        }
    }
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
    assert_eq!(found["truncated"], 4);
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
            line(&[head, &[byte; 3], failed]);
        }
    }
    line(&[head, real]);
    line(&[head, b"Failed password for invalid user cut in the middle from 198.51.1"]);
    log
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

/// How a message reaches us.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Traditional,
    Rfc3339,
    Rfc5424,
}

/// What sshd wrote of the peer's address.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    /// It is there.
    Peer,
    /// It is there in a form that need not be read.
    PeerOrNobody,
    /// It is not.
    Nobody,
}

struct Case {
    line: Vec<u8>,
    peer: IpAddr,
    said: Said,
}

/// A message of sshd's with hostile texts in it, framed. Each has a pid of its own.
fn case(random: &mut Random, framing: Framing, number: usize) -> Case {
    let peer: IpAddr = match random.below(4) {
        0 => format!("2001:db8::{:x}", 1 + random.below(0xffff)).parse().unwrap(),
        1 => format!("2001:db8:{:x}:1:2:3:4:5", random.below(0xffff)).parse().unwrap(),
        _ => format!("192.0.2.{}", random.below(256)).parse().unwrap(),
    };
    let (mut message, said) = message(random, peer);
    // A text behind the address may be cut anywhere; the address stands in the first so many bytes.
    let keep = 25 + 45;
    if said == Said::Peer && random.one_in(8) && starts_with_address(&message) && message.len() > keep + 60 {
        let cut = keep + 60 + random.below(message.len() - keep - 60);
        message.truncate(cut);
    }
    let program = random.pick(&["sshd", "sshd-session", "sshd-auth"]);
    let pid = number + 1;
    let head = match framing {
        Framing::Traditional => format!("Nov 21 23:47:19 web1 {program}[{pid}]: "),
        Framing::Rfc3339 => format!("2025-11-21T23:47:19.350189+00:00 web1 {program}[{pid}]: "),
        Framing::Rfc5424 => {
            let data =
                random.pick(&["-", "[x@1 a=\"b \\] from 198.51.100.9\"]", "[timeQuality tzKnown=\"1\"][o b=\"\"]"]);
            format!("<38>1 2025-11-21T23:47:19.350189Z web1 {program} {pid} - {data} ")
        }
    };
    Case { line: [head.as_bytes(), &message].concat(), peer, said }
}

/// Whether the peer's address comes before any text of a stranger's.
fn starts_with_address(message: &[u8]) -> bool {
    [&b"Received disconnect from "[..], b"error: Received disconnect from ", b"Unable to negotiate with "]
        .iter()
        .any(|start| message.starts_with(start))
}

/// One of the messages that OpenSSH has about a peer, from its format strings.
fn message(random: &mut Random, peer: IpAddr) -> (Vec<u8>, Said) {
    let port = 1 + random.below(65_535);
    let at = format!("{peer} port {port}");
    let name = user(random);
    let user100 = cut(&name, 100);
    let user187 = cut(&name, 187);
    let invalid = random.pick(&["", "invalid user "]);
    let method = random.pick(&["password", "keyboard-interactive/pam", "keyboard-interactive", "none", "publickey"]);
    let who = random.pick(&["invalid user ", "authenticating user "]);
    let preauth = random.pick(&["", " [preauth]"]);
    let bytes = |parts: &[&[u8]]| parts.concat();
    let text = words(random);
    let peer_text = peer.to_string();
    let key = "RSA-CERT SHA256:uF3Mmv0sVvQfQ2uFyaV5Y0pBdWpiCl9HAHzx0m5NB4k ID ";
    match random.below(33) {
        0 => {
            let failed = format!("Failed {method} for {invalid}");
            (bytes(&[failed.as_bytes(), &user100, format!(" from {at} ssh2").as_bytes()]), Said::Peer)
        }
        1 => {
            let failed = format!("Failed publickey for {invalid}");
            let tail = format!(" from {at} ssh2: ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
            (bytes(&[failed.as_bytes(), &user100, tail.as_bytes()]), Said::Peer)
        }
        2 | 3 => {
            let verb = random.pick(&["Failed", "Accepted", "Postponed"]);
            let head = format!("{verb} publickey for {}", if *verb == *"Failed" { invalid } else { "" });
            let mut all = bytes(&[head.as_bytes(), &user100, format!(" from {at} ssh2: {key}").as_bytes(), &text]);
            // `auth.c` cuts it where its buffer ends.
            if random.one_in(2) {
                all.extend_from_slice(b" (serial 5) CA ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
            }
            (all, Said::Peer)
        }
        4 => (bytes(&[b"Accepted password for ", &user100, format!(" from {at} ssh2").as_bytes()]), Said::Peer),
        5 => {
            let head = random.pick(&["Invalid user ", "Illegal user "]);
            (bytes(&[head.as_bytes(), &user100, format!(" from {at}").as_bytes()]), Said::Peer)
        }
        6 => (bytes(&[b"Invalid user ", &user100, format!(" from {peer}").as_bytes()]), Said::Peer),
        7 => {
            let head = format!("error: maximum authentication attempts exceeded for {invalid}");
            (bytes(&[head.as_bytes(), &user100, format!(" from {at} ssh2 [preauth]").as_bytes()]), Said::Peer)
        }
        8..=10 => {
            let head = random.pick(&["Connection closed by ", "Connection reset by ", "Disconnected from "]);
            let tail = format!(" {at}{preauth}");
            (bytes(&[head.as_bytes(), who.as_bytes(), &user187, tail.as_bytes()]), Said::Peer)
        }
        11 => {
            let tail = format!(" {at}: Too many authentication failures [preauth]");
            (bytes(&[b"Disconnecting ", who.as_bytes(), &user187, tail.as_bytes()]), Said::Peer)
        }
        12 => {
            // The service's name is any text, too.
            let reason = format!(" {at}: Change of username or service not allowed: (");
            let all =
                [&b"Disconnecting "[..], who.as_bytes(), &user187, reason.as_bytes(), &user100, b",", &text, b") -> ("];
            (bytes(&[&bytes(&all), &text, b",ssh-connection) [preauth]"]), Said::Peer)
        }
        13 | 14 => {
            let head = random.pick(&["", "error: "]);
            let head = format!("{head}Received disconnect from {at}:{}: ", random.below(16));
            (bytes(&[head.as_bytes(), &text, preauth.as_bytes()]), Said::Peer)
        }
        15 => {
            let what = random.pick(&["key exchange method", "host key type", "cipher", "MAC", "compression method"]);
            let head = format!("Unable to negotiate with {at}: no matching {what} found. Their offer: ");
            (bytes(&[head.as_bytes(), &text, b" [preauth]"]), Said::Peer)
        }
        16 => {
            let tail = format!("' from {at}");
            (bytes(&[b"Bad protocol version identification '", &text, tail.as_bytes()]), Said::Peer)
        }
        17 => (format!("banner exchange: Connection from {at}: invalid format").into(), Said::Peer),
        18 => {
            let head = b"error: kex_exchange_identification: client sent invalid protocol identifier \"";
            (bytes(&[head, &text, b"\""]), Said::Nobody)
        }
        19 => {
            let why =
                random.pick(&["not listed in AllowUsers", "listed in DenyUsers", "a group is listed in DenyGroups"]);
            (format!("User bob from {peer} not allowed because {why}").into(), Said::Peer)
        }
        20 => {
            let error =
                random.pick(&["Authentication failure", "User not known to the underlying authentication module"]);
            let illegal = random.pick(&["", "illegal user "]);
            let head = format!("error: PAM: {error} for {illegal}");
            (bytes(&[head.as_bytes(), &user100, format!(" from {peer}").as_bytes()]), Said::Peer)
        }
        21 => {
            let module = random.pick(&["pam_unix", "pam_sss", "pam_ldap"]);
            let head =
                format!("{module}(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=");
            (bytes(&[head.as_bytes(), peer_text.as_bytes(), b"  user=", &name]), Said::Peer)
        }
        22 => {
            let head = "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=";
            (bytes(&[head.as_bytes(), peer_text.as_bytes(), b"  user=", &name]), Said::Peer)
        }
        23 => (format!("Did not receive identification string from {at}").into(), Said::Peer),
        24 => {
            let why = random.pick(&[
                "past MaxStartups",
                "penalty: failed authentication",
                "penalty: exceeded LoginGraceTime",
            ]);
            (format!("drop connection #3 from [{peer}]:{port} on [{VICTIM}]:22 {why}").into(), Said::Peer)
        }
        25 => {
            let old = format!("fatal: Timeout before authentication for {at}");
            let new = format!("Timeout before authentication for connection from {peer} to {VICTIM}, pid = 12345678");
            ((if random.one_in(2) { old } else { new }).into(), Said::Peer)
        }
        26 => {
            let why =
                random.pick(&["message authentication code incorrect", "Broken pipe", "no matching cipher found"]);
            (format!("ssh_dispatch_run_fatal: Connection from {at}: {why} [preauth]").into(), Said::Peer)
        }
        27 => {
            // A name is its owner's to choose, as far as it is one.
            let host = random.pick(&["198.51.100.9.example.org", "198-51-100-9.example.org", "from.example.org"]);
            let text = random.pick(&["", "x"]);
            let all = match random.below(3) {
                0 => format!("refused connect from {host}{text} ({peer})"),
                1 => format!(
                    "reverse mapping checking getaddrinfo for {host}{text} [{peer}] failed - POSSIBLE BREAK-IN ATTEMPT!"
                ),
                _ => format!(
                    "Address {peer} maps to {host}{text}, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!"
                ),
            };
            (all.into(), Said::Peer)
        }
        28 => {
            let all = bytes(&[b"input_userauth_request: invalid user ", &user100, b" [preauth]"]);
            (all, Said::Nobody)
        }
        29 => (format!("Connection from {at} on {VICTIM} port 22 rdomain \"\"").into(), Said::Peer),
        30 => {
            let head = format!("Protocol major versions differ for {at}: SSH-2.0-OpenSSH_9.2 vs. ");
            (bytes(&[head.as_bytes(), &text]), Said::Peer)
        }
        31 => {
            let all = format!(
                "srclimit_penalise: ipv4: new {peer}/32 deferred penalty of 5 seconds for penalty: failed authentication"
            );
            (all.into(), Said::PeerOrNobody)
        }
        _ => {
            let head = random.pick(&["error: Could not get shadow information for ", "Account ", "userauth_pubkey: "]);
            (bytes(&[head.as_bytes(), &user100]), Said::Nobody)
        }
    }
}

/// A user's name as sshd logs it: nothing behind a colon, no line end.
fn user(random: &mut Random) -> Vec<u8> {
    let mut name = match random.below(4) {
        0 => NAMES[random.below(NAMES.len())].to_vec(),
        1 => b"u".repeat(random.below(300)),
        _ => words(random),
    };
    if let Some(colon) = name.iter().position(|&b| b == b':') {
        name.truncate(colon);
    }
    name
}

fn cut(text: &[u8], len: usize) -> Vec<u8> {
    text[..text.len().min(len)].to_vec()
}

/// Text of a stranger who knows all the words that sshd writes. Without line ends: sshd escapes those.
fn words(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 40] = [
        b" ",
        b" ",
        b"from ",
        b" from ",
        b"198.51.100.9",
        b"198.51.100.9 port 22",
        b" from 198.51.100.9 port 22 ssh2",
        b"2001:db8:bad::1",
        b"::ffff:198.51.100.9",
        b" port 22",
        b" port 22:",
        b" port ",
        b"22",
        b" ssh2",
        b" ssh2: ",
        b": ",
        b":",
        b" [preauth]",
        b"invalid user ",
        b"authenticating user root ",
        b"[198.51.100.9]:22",
        b"(198.51.100.9)",
        b" rhost=198.51.100.9 ",
        b" user=root",
        b" not allowed because ",
        b", pid = 99",
        b" id 0",
        b"message repeated 9 times: [ Failed password for root from 198.51.100.9 port 22 ssh2]",
        b"Failed password for root",
        b"Accepted password for root from 198.51.100.9 port 22 ssh2",
        b"\\012",
        b"\\nNov 21 00:00:00 web1 sshd[1]: ",
        b"<38>",
        b"'",
        b"\"",
        b"]",
        b"\0",
        b"\xff\xc3",
        b"\xe7\xae\xa1",
        b"\t\r\x1b[31m",
    ];
    let mut text = Vec::new();
    for _ in 0..random.below(8) {
        if random.one_in(6) {
            text.extend(random.number().to_le_bytes().iter().filter(|byte| **byte != b'\n'));
        } else {
            text.extend_from_slice(WORDS[random.below(WORDS.len())]);
        }
    }
    text
}
