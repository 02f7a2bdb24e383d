//! Real senders and 20 000 records: each counts once and in order, through two `kill -9` of denyd.
//!
//! What a tap shows is what one daemon folded since the tap began, and what was folded and not committed is folded
//! again by the next daemon. So a tap proves order and completeness of the first 10 000, with nobody killed, and the
//! tallies prove that of all each counted once. What has no cursor loses what it says it loses, and no more:
//! `packaging/doc/figures.md` has the table.

use std::ops::Range;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::routes::certified;
use kit::skip;
use kit::world::Place;
use kit::world::tap::{Tap, address, counted, numbered};
use kit::world::{World, recipe};
use kit::{program, until};

/// What is left of what a killed daemon had not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// All: there is a cursor, and the log is on the disk.
    ByCursor,
    /// What the sender has not sent yet.
    BySender,
    /// Nothing, and nobody sends while denyd is away.
    Nowhere,
}

struct Sender<'a> {
    /// denyd's configuration.
    input: &'a str,
    /// A shell script that ends up as the sending daemon; empty if there is none.
    daemon: String,
    /// What is there when the daemon is ready.
    ready: &'static str,
    /// Sends the lines of the file `$1`.
    send: &'a str,
    kept: Kept,
    /// Whether the kernel may drop datagrams that nobody reads fast enough.
    drops: bool,
}

const UDP: &str = "[[input]]\nkind = \"syslog\"\nlisten = \"udp://127.0.0.1:5514\"\ntrust_network = true\n";
const TCP: &str = "[[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:5514\"\ntrust_network = true\n";
const UNIX: &str = "[[input]]\nkind = \"syslog\"\nlisten = \"unix:///run/denyd/log\"\n";
const UNIX_DATAGRAM: &str = "[[input]]\nkind = \"syslog\"\nlisten = \"unix-datagram:///dev/log\"\n";

const MULTILOG: &str = "[[input]]\nkind = \"multilog\"\npath = \"/var/log/sshd\"\nidentifier = \"sshd\"\n";
const FILE: &str = "[[input]]\nkind = \"file\"\npath = \"/var/log/auth.log\"\n";
const JOURNAL: &str = "[[input]]\nkind = \"journald\"\n";
const JOURNALCTL: &str = "[[input]]\nkind = \"journald\"\nreader = \"journalctl\"\n";

const CALM: Range<u32> = 0..10_000;
const AWAY: Range<u32> = 10_000..12_500;
const KILLED: Range<u32> = 12_500..17_500;
const AFTER: Range<u32> = 17_500..20_000;

fn check(test: &str, sender: &Sender<'_>) {
    let Some(world) = World::new(test) else { return };
    run(test, world, sender);
}

fn run(test: &str, mut world: World, sender: &Sender<'_>) {
    if !sender.daemon.is_empty() {
        let daemon = world.spawn(&["sh", "-ec", &sender.daemon]);
        world.keep(daemon);
        until(sender.ready, || world.path(sender.ready).exists().then_some(()));
    }
    let mut denyd = world.start_denyd(Some(sender.input));
    let mut marks = 0;
    let mut mark = |world: &World, tap: &Tap| {
        marks += 1;
        let text = format!("mark {marks}");
        world.write("/run/mark", &format!("{text}\n"));
        // A tap that only begins misses one, and the kernel may drop one.
        until(&text, || {
            world.run(&["sh", "-ec", sender.send, "sh", "/run/mark"]);
            until_soon(|| tap.has_mark(&text))
        });
    };

    let tap = Tap::start(&world);
    mark(&world, &tap);
    wait(start(&world, sender, CALM));
    if !sender.drops {
        tap.wait_number(CALM.end - 1);
    }
    mark(&world, &tap);
    let seen = tap.seen();
    assert_eq!(seen.missed, 0, "records that the tap was too slow for");
    let dropped = |world: &World| world.status().unwrap()["inputs"][0]["lost"].as_u64().unwrap();
    if sender.drops {
        seen.assert_ascending(test);
        assert_eq!(seen.numbers.len() as u64 + dropped(&world), CALM.len() as u64, "all that was lost is counted");
        println!("SENDER {test}: the kernel dropped {}", dropped(&world));
    } else {
        seen.assert_are(test, CALM);
        assert_eq!(dropped(&world), 0);
    }
    let calm = seen.numbers;
    until("all to be committed", || committed(&world, *calm.last().unwrap()));

    // Killed with nothing to do; what is sent meanwhile waits for it.
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    if sender.kept != Kept::Nowhere {
        wait(start(&world, sender, AWAY));
    }
    let mut denyd = world.start_denyd(None);
    let tap = Tap::start(&world);
    mark(&world, &tap);
    if sender.kept != Kept::Nowhere {
        until("what was sent meanwhile", || committed(&world, AWAY.end - 1));
    }

    // Killed with a record in its hands.
    let sending = start(&world, sender, KILLED);
    tap.wait_number(KILLED.start + 100);
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    let before = tap.seen();
    before.assert_ascending(test);
    wait(sending);
    let _denyd = world.start_denyd(None);
    let tap = Tap::start(&world);
    mark(&world, &tap);
    wait(start(&world, sender, AFTER));
    if !sender.drops {
        tap.wait_number(AFTER.end - 1);
    }
    mark(&world, &tap);
    let after = tap.seen();
    let again = after.numbers.len() - after.clone().first_times().numbers.len();
    // rsyslogd may begin a batch anew when its connection broke. What counts is that it counts once.
    let after = if sender.kept == Kept::BySender { after.first_times() } else { after };
    after.assert_ascending(test);

    let counts = counted(&world, 0..AFTER.end);
    let often: Vec<_> = (0..).zip(&counts).filter(|(_, count)| **count > 1).collect();
    assert!(often.is_empty(), "{} counted more than once: {:?}", often.len(), often.first());
    assert_eq!(world.denied(), Vec::<String>::new());
    let missing = |range: Range<u32>| -> Vec<u32> { range.filter(|n| counts[*n as usize] == 0).collect() };
    let lost = missing(KILLED);
    println!(
        "SENDER {test}: {} seen before the kill, {} lost by it, {again} sent again",
        before.numbers.len(),
        lost.len()
    );
    if !sender.drops {
        assert_eq!(missing(CALM), Vec::<u32>::new());
        assert_eq!(missing(AFTER), Vec::<u32>::new());
        let one_gap = lost.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(one_gap, "what a crash loses is in one place: {lost:?}");
    } else {
        assert_eq!(missing(CALM).len(), CALM.len() - calm.len());
    }
    match sender.kept {
        Kept::ByCursor => assert_eq!((missing(AWAY), lost), (vec![], vec![])),
        Kept::BySender => assert_eq!(missing(AWAY), Vec::<u32>::new()),
        Kept::Nowhere => {}
    }
}

/// Whether something is so within a tenth of a second.
fn until_soon(mut condition: impl FnMut() -> bool) -> Option<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_millis(100);
    while !condition() {
        if std::time::Instant::now() > end {
            return None;
        }
        std::thread::yield_now();
    }
    Some(())
}

/// Starts to send these numbers.
fn start(world: &World, sender: &Sender<'_>, numbers: Range<u32>) -> Child {
    let path = format!("/run/records.{}", numbers.start);
    world.write(&path, &numbered(numbers));
    world.enter(Place::Server, &["sh", "-ec", sender.send, "sh", &path]).stderr(Stdio::null()).spawn().unwrap()
}

/// A sender that nobody listens to any more may fail.
fn wait(mut sending: Child) {
    until("the sender to end", || sending.try_wait().unwrap());
}

/// Whether the database has the record of this number: its evidence is of the transaction that counted it.
fn committed(world: &World, number: u32) -> Option<()> {
    let known: Value = serde_json::from_slice(&world.denyd(&["why", &address(number), "--json"]).stdout).ok()?;
    (known["evidence"].as_array()?.len() == 1).then_some(())
}

/// rsyslogd that reads `/run/sender` and carries out these actions.
fn rsyslogd(actions: &str) -> String {
    format!(
        "cat >/etc/sender.conf <<'END'\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"/run/sender\" RateLimit.Interval=\"0\")\n{actions}\nEND\n\
         exec rsyslogd -n -f /etc/sender.conf -i /run/sender.pid\n"
    )
}

const TO_RSYSLOGD: &str = "logger -u /run/sender -t sshd -p auth.info -f \"$1\"";

#[test]
fn rsyslogd_by_udp() {
    let action = r#"action(type="omfwd" target="127.0.0.1" port="5514" protocol="udp")"#;
    let sender = Sender {
        input: UDP,
        daemon: rsyslogd(action),
        ready: "/run/sender",
        send: TO_RSYSLOGD,
        kept: Kept::Nowhere,
        drops: true,
    };
    check("rsyslogd_by_udp", &sender);
}

/// The recipe's action.
fn by_rsyslogd(test: &str, framing: &str) {
    let action = recipe("target=\"192.0.2.100\"").replace("192.0.2.100", "127.0.0.1").replace("auth,authpriv.* ", "");
    assert!(action.contains("octet-counted"), "{action}");
    let sender = Sender {
        input: TCP,
        daemon: rsyslogd(&action.replace("octet-counted", framing)),
        ready: "/run/sender",
        send: TO_RSYSLOGD,
        kept: Kept::BySender,
        drops: false,
    };
    check(test, &sender);
}

#[test]
fn rsyslogd_by_tcp() {
    by_rsyslogd("rsyslogd_by_tcp", "traditional");
}

#[test]
fn rsyslogd_by_tcp_octet_counted() {
    by_rsyslogd("rsyslogd_by_tcp_octet_counted", "octet-counted");
}

#[test]
fn rsyslogd_by_tls() {
    let Some(world) = certified("rsyslogd_by_tls") else { return };
    let sender = Sender {
        input: &recipe("listen = \"tls://"),
        daemon: rsyslogd(&recipe("StreamDriver=")),
        ready: "/run/sender",
        send: TO_RSYSLOGD,
        kept: Kept::BySender,
        drops: false,
    };
    run("rsyslogd_by_tls", world, &sender);
}

/// `logger` without anybody between it and denyd.
fn by_logger(test: &str, input: &str, to: &str, drops: bool) {
    let send = format!("logger {to} -t sshd -p auth.info -f \"$1\"");
    check(test, &Sender { input, daemon: String::new(), ready: "", send: &send, kept: Kept::Nowhere, drops });
}

#[test]
fn logger_to_a_unix_datagram_socket() {
    by_logger("logger_to_a_unix_datagram_socket", UNIX_DATAGRAM, "", false);
}

#[test]
fn logger_to_a_unix_stream_socket() {
    by_logger("logger_to_a_unix_stream_socket", UNIX, "-u /run/denyd/log", false);
}

#[test]
fn logger_by_udp() {
    by_logger("logger_by_udp", UDP, "-d -n 127.0.0.1 -P 5514", true);
}

#[test]
fn logger_by_tcp() {
    by_logger("logger_by_tcp", TCP, "-T -n 127.0.0.1 -P 5514", false);
}

#[test]
fn logger_by_tcp_octet_counted() {
    by_logger("logger_by_tcp_octet_counted", TCP, "-T --octet-count -n 127.0.0.1 -P 5514", false);
}

/// More at once than the socket has room for, while denyd does not come to read them.
#[test]
fn datagrams_that_the_kernel_dropped_are_counted() {
    let name = "datagrams_that_the_kernel_dropped_are_counted";
    let Some(world) = World::new(name) else { return };
    let denyd = world.start_denyd(Some(UDP));
    world.write("/run/records", &numbered(0..60_000));
    world.write("/run/mark", "mark\n");
    let send = |path: &str| {
        world.run(&["logger", "-d", "-n", "127.0.0.1", "-P", "5514", "-t", "sshd", "-p", "auth.info", "-f", path]);
    };
    denyd.signal(Signal::SIGSTOP);
    send("/run/records");
    denyd.signal(Signal::SIGCONT);
    let number = |key: &str| world.status().unwrap()["inputs"][0][key].as_u64().unwrap();
    let mut marks = 0;
    until("all to be read or counted", || {
        // The kernel tells what it dropped with the next that it did not.
        send("/run/mark");
        marks += 1;
        (number("records") + number("lost") == 60_000 + marks).then_some(())
    });
    println!("SENDER {name}: {} of 60000", number("lost"));
    assert!(number("lost") > 1000, "that was no flood");
    assert_eq!(world.denied(), Vec::<String>::new());
}

#[test]
fn busybox_syslogd() {
    if program("busybox").is_none() {
        return skip("busybox_syslogd", "no busybox");
    }
    let sender = Sender {
        input: UDP,
        daemon: "exec busybox syslogd -n -R 127.0.0.1:5514".to_owned(),
        ready: "/dev/log",
        send: "logger -t sshd -p auth.info -f \"$1\"",
        kept: Kept::Nowhere,
        drops: true,
    };
    check("busybox_syslogd", &sender);
}

#[test]
fn multilog_rotates() {
    if program("multilog").is_none() {
        return skip("multilog_rotates", "no multilog");
    }
    // 130 bytes a line: a rotation every 750 lines
    let sender = Sender {
        input: MULTILOG,
        daemon: "mkfifo /run/sender; multilog t s99999 n1000 /var/log/sshd </run/sender & exec sleep 300 >/run/sender"
            .to_owned(),
        ready: "/var/log/sshd/current",
        send: "cat \"$1\" >/run/sender",
        kept: Kept::ByCursor,
        drops: false,
    };
    check("multilog_rotates", &sender);
}

#[test]
fn rsyslogd_by_a_file_that_is_rotated() {
    // as logrotate does, with each thing that is sent; not before rsyslogd has made the file that it was told to make
    let sender = Sender {
        input: FILE,
        daemon: rsyslogd(
            "action(type=\"omfile\" file=\"/var/log/auth.log\" template=\"RSYSLOG_TraditionalFileFormat\")",
        ),
        ready: "/run/sender",
        send: "cd /var/log; if [ -e auth.log ]; then n=$(ls auth.log* | wc -l)\n\
               while [ $n -gt 1 ]; do mv auth.log.$((n - 1)) auth.log.$n; n=$((n - 1)); done\n\
               mv auth.log auth.log.1; kill -HUP $(cat /run/sender.pid); fi\n\
               logger -u /run/sender -t sshd -p auth.info -f \"$1\"",
        kept: Kept::ByCursor,
        drops: false,
    };
    check("rsyslogd_by_a_file_that_is_rotated", &sender);
}

/// Rotates and vacuums before it sends, which nobody does to records that denyd has not read: those would be gone.
const TO_JOURNALD: &str = "[ $(wc -l <\"$1\") = 1 ] || journalctl -q --rotate --vacuum-files=1\n\
                           logger -t sshd -p auth.info -f \"$1\"";

fn by_journald(test: &str, input: &str) {
    if !std::path::Path::new("/lib/systemd/systemd-journald").exists() {
        return skip(test, "no systemd-journald");
    }
    let sender = Sender {
        input,
        daemon: kit::world::JOURNALD.to_owned(),
        ready: "/run/journald.ready",
        send: TO_JOURNALD,
        kept: Kept::ByCursor,
        drops: false,
    };
    check(test, &sender);
}

#[test]
fn journald_rotates_and_vacuums() {
    by_journald("journald_rotates_and_vacuums", JOURNAL);
}

#[test]
fn journald_by_journalctl() {
    by_journald("journald_by_journalctl", JOURNALCTL);
}
