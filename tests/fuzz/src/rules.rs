//! Rules: any pattern over any message, and the shipped ones over what a stranger calls himself.
#![no_main]

use std::net::IpAddr;
use std::path::Path;
use std::sync::LazyLock;

use denyd::config::Config;
use denyd::detect::detect;
use denyd::detect::rule::pattern::{forgery, judge};
use denyd::detect::rule::{Draft, Rule, Rules};
use inputs::record::Record;

const PEER: &str = "198.51.100.7";

/// Shipped rules, their program, and what it writes on either side of a name, of so many bytes at most.
const SHIPPED: [(&str, &str, &str, &str, usize); 4] = [
    (
        "dovecot.toml",
        "dovecot",
        "imap-login: Disconnected: Aborted login by logging out (auth failed, 1 attempts in 4 secs): user=<",
        ">, method=PLAIN, rip=198.51.100.7, lip=192.0.2.1, session=<vvjAPdZgD5rGM2QH>",
        80,
    ),
    (
        "dovecot-pam.toml",
        "auth",
        "pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=",
        " rhost=198.51.100.7 ",
        usize::MAX,
    ),
    (
        "postfix.toml",
        "postfix/smtpd",
        "warning: unknown[198.51.100.7]: SASL LOGIN authentication failed: authentication failure, sasl_username=",
        "",
        usize::MAX,
    ),
    ("vsftpd.toml", "vsftpd", "[", "] FAIL LOGIN: Client \"::ffff:198.51.100.7\"", usize::MAX),
];

/// Each file of [`SHIPPED`] by itself.
static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/rules.d");
    let alone = |(file, ..): &(&str, &str, &str, &str, usize)| {
        let dir = std::env::temp_dir().join(format!("denyd-fuzz-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a directory of its own");
        std::fs::copy(shipped.join(file), dir.join(file)).expect("a shipped file");
        let rules = Config { rules_dir: dir.clone(), ..Config::default() }.rules();
        std::fs::remove_dir_all(&dir).expect("the same directory");
        rules.expect("right rules").rules
    };
    SHIPPED.iter().map(alone).collect()
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    match (usize::from(*mode) % (1 + SHIPPED.len())).checked_sub(1) {
        Some(index) => shipped(index, data),
        None => any(data),
    }
});

/// A pattern, a newline, a message. What is accepted matches no empty message, and finds no address that is not there.
fn any(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(pattern), Some(message)) = (parts.next().and_then(|text| std::str::from_utf8(text).ok()), parts.next())
    else {
        return;
    };
    let draft = Draft {
        name: "any".to_owned(),
        identifiers: vec!["any".to_owned()],
        pattern: pattern.to_owned(),
        is_unsafe: true,
        ..Draft::default()
    };
    let Ok(rule) = Rule::compile(draft) else { return };
    if let Ok(Some(fooled)) = judge(pattern) {
        let _ = forgery(pattern, fooled);
    }
    let mut rules = Rules::default();
    rules.add(rule).expect("the only one");
    assert_eq!(address(&rules, "any", b""), None, "{pattern}");
    if let Some(found) = address(&rules, "any", message) {
        let is_there = |text: &[u8]| denyd::detect::address::parse(text) == Some(found.into());
        let is_in = |from: usize| (from..=message.len()).any(|to| is_there(&message[from..to]));
        assert!((0..message.len()).any(is_in), "{found} by {pattern}");
    }
}

/// Whatever he calls himself, the address is his own or none.
fn shipped(index: usize, name: &[u8]) {
    let (_, identifier, before, behind, most) = SHIPPED[index];
    let name = &name[..name.len().min(most)];
    let message = [before.as_bytes(), name, behind.as_bytes()].concat();
    let found = address(&RULES[index], identifier, &message);
    let own: IpAddr = PEER.parse().expect("an address");
    assert!(found.is_none_or(|found| found == own), "{found:?}: {}", message.escape_ascii());
    let usual = (1..=32).contains(&name.len()) && name.iter().all(u8::is_ascii_lowercase);
    assert!(!usual || found == Some(own), "nobody: {}", message.escape_ascii());
}

fn address(rules: &Rules, identifier: &str, message: &[u8]) -> Option<IpAddr> {
    let record = Record::of(identifier.as_bytes(), message);
    detect(&record, rules)?.peer.address().map(IpAddr::from)
}
