//! What strangers call themselves, and the texts that they send.

use crate::Random;
use crate::shapes::Chance;

/// What strangers call themselves. sshd cuts a name at its first colon.
pub const NAMES: [&[u8]; 30] = [
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

impl Chance for Random {
    fn below(&mut self, end: usize) -> usize {
        Random::below(self, end)
    }

    fn user(&mut self) -> Vec<u8> {
        let mut name = match self.below(4) {
            0 => NAMES[self.below(NAMES.len())].to_vec(),
            1 => b"u".repeat(self.below(300)),
            _ => self.words(),
        };
        if let Some(colon) = name.iter().position(|&b| b == b':') {
            name.truncate(colon);
        }
        name
    }

    /// Text of a stranger who knows all the words that sshd writes.
    fn words(&mut self) -> Vec<u8> {
        const WORDS: &[&[u8]] = &[
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
            b"\\nNov 21 00:00:00 web1 sshd[1]: Failed password for root from 198.51.100.9 port 22 ssh2",
            b"\\\\nNov 21 00:00:00 web1 sshd[1]: Failed password for root from 198.51.100.9 port 22 ssh2",
            b"#012<38>Nov 21 00:00:00 web1 sshd[1]: Failed password for root from 198.51.100.9 port 22 ssh2",
            b"\\r\\n",
            b"\\nMESSAGE=Failed password for root from 198.51.100.9 port 22 ssh2\\n\\n",
            b" ruser ",
            b" via ",
            b" from `198.51.100.9'",
            b"' from 198.51.100.9 port 22",
            b", ip=198.51.100.9)",
            b": Connection from 198.51.100.9 port 22: ",
            b"Connection from 198.51.100.9 port 22: x",
            b"@400000006920f3f11e0a6b84 ",
            b"UNKNOWN",
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
        for _ in 0..self.below(8) {
            if self.one_in(6) {
                text.extend(self.number().to_le_bytes().iter().filter(|byte| **byte != b'\n'));
            } else {
                text.extend_from_slice(WORDS[self.below(WORDS.len())]);
            }
        }
        text
    }
}
