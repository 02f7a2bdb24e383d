//! Reads what the programs on the way say of records that they threw away.
//!
//! Only the programs' own identifiers are believed here; who may use them is for the caller to say. Which records were
//! lost, nobody knows.

use crate::record::Record;

/// Whose limit it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// systemd-journald's, of a unit.
    #[default]
    Journald,
    /// rsyslogd's `imuxsock`: of a process that writes to a socket of its.
    Imuxsock,
    /// rsyslogd's `imjournal`, of all that it reads.
    Imjournal,
    /// Of another input of rsyslogd's.
    Rsyslogd,
}

/// What was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss<'a> {
    /// By which limit.
    pub by: Limit,
    /// Whose records: a unit, a program, or rsyslogd's input where it names no program.
    pub of: &'a [u8],
    /// How many; 0 where it has just begun, and nobody knows yet.
    pub records: u64,
}

/// What a record says was lost before it came to us, if it says so.
///
/// rsyslogd 5 to 8 (`imuxsock`, `imjournal` and its other inputs) and systemd-journald tell when their limits end.
#[inline(always)]
pub fn losses<'a>(record: &Record<'a>) -> Option<Loss<'a>> {
    match record.identifier {
        b"rsyslogd" | b"rsyslogd-2177" => rsyslogd(record.message),
        b"systemd-journald" => journald(record.message),
        _ => None,
    }
}

/// `imuxsock[pid: 7, name: sshd]: 42 messages lost due to rate-limiting (…)`, or
/// `imuxsock[pid: 7, name: sshd] from <host:sshd>: begin to drop messages due to rate-limiting`, or
/// `imuxsock lost 42 messages from pid 7 due to …`
///
/// A process may never log again whose messages were dropped, as sshd's that served a connection: then only the
/// beginning is told.
#[cold]
fn rsyslogd(message: &[u8]) -> Option<Loss<'_>> {
    let message = message.trim_ascii();
    if let Some(rest) = message.strip_prefix(b"imuxsock lost ") {
        let records = counted(rest, b" messages from pid ")?;
        return Some(Loss { by: Limit::Imuxsock, of: &message[..b"imuxsock".len()], records });
    }
    // The name of the input may hold a program's name, which is not rsyslogd's text: what counts stands behind it.
    if let Some(input) = message.strip_suffix(b": begin to drop messages due to rate-limiting") {
        return Some(of_input(input, 0));
    }
    let end = memchr::memmem::rfind(message, b" messages lost due to rate-limiting")?;
    let start = memchr::memrchr(b' ', &message[..end])?;
    let records = counted(&message[start + 1..], b" messages lost")?;
    Some(of_input(message[..start].strip_suffix(b":")?, records))
}

/// A loss of rsyslogd's input that is called so.
fn of_input(input: &[u8], records: u64) -> Loss<'_> {
    let end = input.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(input.len());
    let (module, rest) = input.split_at(end);
    let by = match module {
        b"imuxsock" => Limit::Imuxsock,
        b"imjournal" => Limit::Imjournal,
        _ => Limit::Rsyslogd,
    };
    let name = memchr::memmem::find(rest, b", name: ").map(|at| &rest[at + b", name: ".len()..]);
    let name = name.map(|name| &name[..memchr::memchr(b']', name).unwrap_or(name.len())]);
    let program = name.and_then(|name| name.rsplit(|byte| *byte == b'/').next());
    Loss { by, of: program.filter(|name| !name.is_empty()).unwrap_or(module), records }
}

/// `Suppressed 42 messages from ssh.service`; older ones wrote the unit's whole cgroup.
#[cold]
fn journald(message: &[u8]) -> Option<Loss<'_>> {
    const FROM: &[u8] = b" messages from ";
    let rest = message.strip_prefix(b"Suppressed ")?;
    let records = counted(rest, FROM)?;
    let unit = &rest[memchr::memmem::find(rest, FROM)? + FROM.len()..];
    Some(Loss { by: Limit::Journald, of: unit.rsplit(|byte| *byte == b'/').next().unwrap_or(unit), records })
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
    fn check(identifier: &str, message: &str, expected: Option<(u64, &str)>) {
        let record = Record::of(identifier.as_bytes(), message.as_bytes());
        let found = losses(&record).map(|loss| (loss.records, str::from_utf8(loss.of).unwrap()));
        assert_eq!(found, expected, "{identifier}: {message}");
    }

    #[test]
    fn reads_rsyslogd() {
        // rsyslogd 8.2302 with processInternalMessages="on", after 40 messages of which it took 5.
        let ran = "imuxsock[pid: 15137, name: /usr/bin/python3]: 35 messages lost due to rate-limiting (5 allowed within 2 seconds)";
        check("rsyslogd-2177", ran, Some((35, "python3")));
        let began =
            "imuxsock[pid: 15137, name: /usr/bin/python3] from <vm:sshd>: begin to drop messages due to rate-limiting";
        check("rsyslogd-2177", began, Some((0, "python3")));
        let eight =
            "imuxsock[pid: 4711, name: sshd]: 42 messages lost due to rate-limiting (20 allowed within 5 seconds)";
        check("rsyslogd", eight, Some((42, "sshd")));
        check(
            "rsyslogd",
            "imjournal: 70000 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
            Some((70_000, "imjournal")),
        );
        let remedy = " [v8.2302.0 try https://www.rsyslog.com/e/2177 ]";
        check(
            "rsyslogd",
            &format!("imuxsock lost 5 messages from pid 99 due to rate-limiting{remedy}"),
            Some((5, "imuxsock")),
        );
        check("rsyslogd-2177", "imuxsock lost 5 messages from pid 99 due to rate-limiting", Some((5, "imuxsock")));
        check("rsyslogd", " imuxsock lost 5 messages from pid 99 due to rate-limiting", Some((5, "imuxsock")));
        // The beginning of a loss has no number yet.
        check("rsyslogd", "imjournal: begin to drop messages due to rate-limiting", Some((0, "imjournal")));
        check(
            "rsyslogd",
            "imudp(*:514): 9 messages lost due to rate-limiting (1 allowed within 1 seconds)",
            Some((9, "imudp")),
        );
        check(
            "rsyslogd",
            "imuxsock[pid: 1, name: /x/]: begin to drop messages due to rate-limiting",
            Some((0, "imuxsock")),
        );
        check(
            "rsyslogd",
            "imuxsock[pid: 4711, name: sshd]: begin to drop messages due to rate-limiting",
            Some((0, "sshd")),
        );
        check("rsyslogd", "imuxsock begins to drop messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "[origin software=\"rsyslogd\" swVersion=\"8.2302.0\"] start", None);
    }

    #[test]
    fn reads_journald() {
        check("systemd-journald", "Suppressed 17 messages from ssh.service", Some((17, "ssh.service")));
        check("systemd-journald", "Suppressed 1 messages from /system.slice/ssh.service", Some((1, "ssh.service")));
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
        check(
            "rsyslogd",
            "imuxsock lost 4294967295 messages from pid 9 due to rate-limiting",
            Some((4_294_967_295, "imuxsock")),
        );
        check("rsyslogd", "imuxsock lost -5 messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "imuxsock lost  messages from pid 99 due to rate-limiting", None);
        check("rsyslogd", "7 messages lost due to rate-limiting", None);
        check("rsyslogd", " messages lost due to rate-limiting", None);
        // A program may call itself anything; behind its name stands rsyslogd's own number.
        let name =
            "imuxsock[pid: 1, name: x]: 9 messages lost due to rate-limiting]: 3 messages lost due to rate-limiting";
        check("rsyslogd", name, Some((3, "x")));
    }
}
