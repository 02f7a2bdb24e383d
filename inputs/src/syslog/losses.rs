//! Reads what the programs on the way say of records that they threw away.
//!
//! Only the programs' own identifiers are believed, and nothing is done with the answer but to add it up: any local
//! user can write under any identifier. Which records were lost, nobody knows.

use crate::record::Record;

/// How many messages a record says were lost before they came to us, if it says so.
///
/// rsyslogd 5 to 8 (`imuxsock`, `imjournal` and its other inputs) and systemd-journald tell when their limits end.
pub fn losses(record: &Record<'_>) -> Option<u64> {
    match record.identifier {
        b"rsyslogd" | b"rsyslogd-2177" => rsyslogd(record.message),
        b"systemd-journald" => journald(record.message),
        _ => None,
    }
}

/// `imuxsock[pid: 7, name: sshd]: 42 messages lost due to rate-limiting (…)`, or
/// `imuxsock lost 42 messages from pid 7 due to …`
fn rsyslogd(message: &[u8]) -> Option<u64> {
    let message = message.trim_ascii();
    if let Some(rest) = message.strip_prefix(b"imuxsock lost ") {
        return counted(rest, b" messages from pid ");
    }
    // The name of the input may hold a program's name, which is not rsyslogd's text: what counts stands behind it.
    let end = memchr::memmem::rfind(message, b" messages lost due to rate-limiting")?;
    let start = memchr::memrchr(b' ', &message[..end])?;
    counted(&message[start + 1..], b" messages lost").filter(|_| message[..start].ends_with(b":"))
}

/// `Suppressed 42 messages from ssh.service`
fn journald(message: &[u8]) -> Option<u64> {
    counted(message.strip_prefix(b"Suppressed ")?, b" messages from ")
}

/// The number before `unit`. The programs count in 32 bits, so no single record says more.
fn counted(text: &[u8], unit: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u32 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    text[digits..].starts_with(unit).then_some(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(identifier: &str, message: &str, expected: Option<u64>) {
        let record = Record::of(identifier.as_bytes(), message.as_bytes());
        assert_eq!(losses(&record), expected, "{identifier}: {message}");
    }

    #[test]
    fn reads_rsyslogd() {
        // rsyslogd 8.2302 with processInternalMessages="on", after 40 messages of which it took 5.
        let ran = "imuxsock[pid: 15137, name: /usr/bin/python3]: 35 messages lost due to rate-limiting (5 allowed within 2 seconds)";
        check("rsyslogd-2177", ran, Some(35));
        let began =
            "imuxsock[pid: 15137, name: /usr/bin/python3] from <vm:sshd>: begin to drop messages due to rate-limiting";
        check("rsyslogd-2177", began, None);
        let eight =
            "imuxsock[pid: 4711, name: sshd]: 42 messages lost due to rate-limiting (20 allowed within 5 seconds)";
        check("rsyslogd", eight, Some(42));
        check(
            "rsyslogd",
            "imjournal: 70000 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
            Some(70_000),
        );
        let remedy = " [v8.2302.0 try https://www.rsyslog.com/e/2177 ]";
        check("rsyslogd", &format!("imuxsock lost 5 messages from pid 99 due to rate-limiting{remedy}"), Some(5));
        check("rsyslogd-2177", "imuxsock lost 5 messages from pid 99 due to rate-limiting", Some(5));
        check("rsyslogd", " imuxsock lost 5 messages from pid 99 due to rate-limiting", Some(5));
        // The beginning of a loss has no number yet.
        check("rsyslogd", "imuxsock[pid: 4711, name: sshd]: begin to drop messages due to rate-limiting", None);
        check("rsyslogd", "imuxsock begins to drop messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "[origin software=\"rsyslogd\" swVersion=\"8.2302.0\"] start", None);
    }

    #[test]
    fn reads_journald() {
        check("systemd-journald", "Suppressed 17 messages from ssh.service", Some(17));
        check("systemd-journald", "Suppressed 1 messages from /system.slice/ssh.service", Some(1));
        check("systemd-journald", "Suppressed messages from ssh.service", None);
        check("systemd-journald", "Received SIGTERM from PID 1 (systemd).", None);
    }

    #[test]
    fn believes_nobody_else() {
        for identifier in ["sshd", "rsyslogd2", "systemd-journald2", "", "logger"] {
            check(identifier, "imuxsock lost 5 messages from pid 99 due to rate-limiting", None);
            check(identifier, "Suppressed 17 messages from ssh.service", None);
        }
        check("systemd-journald", "imuxsock lost 5 messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "Suppressed 17 messages from ssh.service", None);
    }

    #[test]
    fn takes_only_numbers() {
        check("rsyslogd", "imuxsock lost 99999999999999999999 messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "imuxsock lost 4294967295 messages from pid 9 due to rate-limiting", Some(4_294_967_295));
        check("rsyslogd", "imuxsock lost -5 messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "imuxsock lost  messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "7 messages lost due to rate-limiting", None);
        check("rsyslogd", " messages lost due to rate-limiting", None);
        // A program may call itself anything; behind its name stands rsyslogd's own number.
        let name =
            "imuxsock[pid: 1, name: x]: 9 messages lost due to rate-limiting]: 3 messages lost due to rate-limiting";
        check("rsyslogd", name, Some(3));
    }
}
