//! What strangers may write into the log denies themselves and nobody else.

use std::fmt::Write as _;

use serde_json::json;

use kit::until;
use kit::world::{ADMIN, Place};
use kit::world::{Route, World};

const SOURCE: &str = "198.51.100.1";
const VICTIM: &str = "192.0.2.66";

/// User names that look like the end of a record, or like more than one.
pub(crate) const NAMES: &[&[u8]] = &[
    b"root from 192.0.2.66",
    b"root from 192.0.2.66 port 22 ssh2",
    b"x from 192.0.2.66",
    b"x from 192.0.2.66 port 22",
    b"invalid user x from 192.0.2.66 port 22 ssh2",
    b"a\nFailed password for root from 192.0.2.66 port 22 ssh2",
    b"a\r\nFailed password for root from 192.0.2.66 port 22 ssh2\r\nb",
    b"a\nNov 22 00:00:00 tbhost sshd[1]: Failed password for root from 192.0.2.66 port 22 ssh2\nb",
    b"\n<38>Nov 22 00:00:00 tbhost sshd[1]: Invalid user x from 192.0.2.66 port 22",
    b"Invalid user x from 192.0.2.66 port 22",
    b" from 192.0.2.66 port 22 ssh2",
    b"message repeated 99 times: [ Failed password for root from 192.0.2.66 port 22 ssh2]",
    b"x from ::ffff:192.0.2.66 port 22 ssh2",
    b"x\x1b[2K\xff\xfe from 192.0.2.66 port 22 ssh2",
    b"rhost=192.0.2.66  user=root",
    b"x rhost=192.0.2.66 ",
    b"",
    b" ",
    b"%s%n from 192.0.2.66 port 22 ssh2",
    b"[preauth] from 192.0.2.66 port 22 ssh2 [preauth]",
    b"x 192.0.2.66 port 22 [preauth]",
    b"x 192.0.2.66 port 22",
    b"authenticating user root 192.0.2.66 port 22",
    b"x from 192.0.2.66 port 22 ruser y",
    b"x from 192.0.2.66 via 192.0.2.66",
    b"x timed out 192.0.2.66 port 22 timed out",
    b"a\\nFailed password for root from 192.0.2.66 port 22 ssh2",
    b"a#012Failed password for root from 192.0.2.66 port 22 ssh2",
    b"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234 from 192.0.2.66 port 22 ssh2",
];

/// Text that sshd logs of a connection in which nobody logged in.
const TEXTS: &[&str] = &[
    "Failed password for root from 192.0.2.66 port 22 ssh2",
    "x from 192.0.2.66 port 22 ssh2",
    "Invalid user x from 192.0.2.66 port 22",
    "root 192.0.2.66 port 22 [preauth]",
    "x: Connection from 192.0.2.66 port 22: x",
    "x' from 192.0.2.66 port 22",
    "message repeated 9 times: [ Failed password for root from 192.0.2.66 port 22 ssh2]",
    "11: Bye Bye [preauth]\nFailed password for root from 192.0.2.66 port 22 ssh2",
];

#[test]
fn names_and_texts_deny_nobody_else_from_a_file() {
    hostile("names_and_texts_deny_nobody_else_from_a_file", Route::File, super::denies::FILE);
}

#[test]
fn names_and_texts_deny_nobody_else_over_tcp() {
    let input = "[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:514\"\ntrust_network = true\n";
    hostile("names_and_texts_deny_nobody_else_over_tcp", Route::Tcp, input);
}

fn hostile(test: &str, route: Route, input: &str) {
    let Some(mut world) = World::new(test) else { return };
    let off = "decide = { threshold_invalid = \"off\", threshold_valid = \"off\", threshold_root = \"off\" }\n";
    let _denyd = world.start_denyd(Some(&format!("{off}{input}")));
    world.start_sshd(route);
    for name in NAMES {
        let answer = world.attacker.ask(SOURCE, json!({"do": "login", "user_hex": hex(name), "tries": ["wrong"]}));
        let refused = answer[0].as_str().unwrap().starts_with("AuthenticationException");
        assert!(refused, "{}: {answer}", name.escape_ascii());
    }
    for text in TEXTS {
        let hex = hex(text.as_bytes());
        world.attacker.ask(SOURCE, json!({"do": "kex", "offer_hex": hex}));
        world.attacker.ask(SOURCE, json!({"do": "leave", "text_hex": hex}));
        for banner in [format!("{text}\r\n"), format!("SSH-2.0-{text}\r\n"), format!("GET / {text}\n\n")] {
            world.attacker.ask(SOURCE, json!({"do": "raw", "send": banner}));
        }
    }
    // a record after all of these, by which all of these have been read
    assert!(world.ssh(Place::Admin, ADMIN, "Tb-Right-1"));
    assert!(!world.ssh(Place::Admin, ADMIN, "wrong"));
    world.wait_count(ADMIN, "valid", 1);
    assert!(world.log().contains(VICTIM), "sshd wrote what it was given");
    let rows = world.denyd_json(&["list", "addresses", "--json"]);
    let prefixes: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["prefix"].as_str().unwrap()).collect();
    assert_eq!(prefixes, [SOURCE, ADMIN], "{rows}");
    let count = |class: &str| world.count(SOURCE, class);
    assert_eq!(count("invalid") + count("valid") + count("root"), NAMES.len() as u64, "{rows}\n{}", world.log());
    assert_eq!(world.denied(), [""; 0]);
    // all of it can be shown
    until("users", || world.denyd_json(&["list", "users", "--json"]).as_array().map(|_| ()));
    let why = world.denyd(&["why", VICTIM, "--json"]);
    assert_eq!(why.status.code(), Some(1), "{why:?}");
    for output in [world.denyd(&["list", "users"]), world.denyd(&["why", SOURCE])] {
        let raw = output.stdout.iter().any(|byte| byte.is_ascii_control() && *byte != b'\n');
        assert!(!raw, "control characters reach the terminal: {}", output.stdout.escape_ascii());
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
