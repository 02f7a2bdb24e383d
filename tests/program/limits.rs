//! The limits of the syslog listener, through the daemon: what is beyond one is in `status --json`, by its name.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixStream};

use kit::{Home, until};
use serde_json::Value;

/// The daemon's first input, as it says.
fn input(home: &Home) -> Value {
    home.ask(&["status"]).unwrap()["inputs"][0].clone()
}

/// Waits until a counter has a value.
#[track_caller]
fn counted(home: &Home, counter: &str, expected: u64) {
    until(counter, || (input(home)[counter] == expected).then_some(()));
}

const STREAM: &str = "[[input]]\nkind = \"syslog\"\nlisten = \"unix://DIR/log\"\n";

#[test]
fn datagrams_beyond_the_rate_of_their_sender_are_lost_and_counted() {
    let home = Home::new("[[input]]\nkind = \"syslog\"\nlisten = \"unix-datagram://DIR/log\"\nmax_rate = 100\n");
    let daemon = home.start();
    let (client, mut sent) = (UnixDatagram::unbound().unwrap(), 0);
    // However long it takes: a hundred a second is less than it sends.
    until("the limit is reached", || {
        for _ in 0..500 {
            client.send_to(b"<86>Nov 22 00:00:00 b cron[9]: x", home.log()).unwrap();
            sent += 1;
        }
        let all = |one: &Value, key: &str| one[key].as_u64().unwrap();
        until("all are accounted for", || {
            let one = input(&home);
            (all(&one, "records") + all(&one, "lost") == sent).then_some(())
        });
        let one = input(&home);
        assert_eq!(one["lost"], one["limited"]);
        (all(&one, "limited") > 0).then_some(())
    });
    daemon.stop();
}

#[test]
fn a_stream_beyond_its_rate_waits_and_loses_nothing() {
    let home = Home::new(&format!("{STREAM}max_rate = 100\n"));
    let daemon = home.start();
    let mut client = UnixStream::connect(home.log()).unwrap();
    client.write_all(&b"<86>Nov 22 00:00:00 b cron[9]: x\n".repeat(250)).unwrap();
    counted(&home, "records", 250);
    until("it had to wait", || (input(&home)["slowed"].as_u64().unwrap() > 0).then_some(()));
    assert_eq!((&input(&home)["lost"], &input(&home)["limited"]), (&0.into(), &0.into()));
    drop(client);
    daemon.stop();
}

#[test]
fn connections_and_lines_have_their_limits() {
    let home = Home::new(&format!("{STREAM}max_connections = 2\nmax_per_sender = 1\n"));
    let daemon = home.start();
    let mut first = UnixStream::connect(home.log()).unwrap();
    counted(&home, "connections", 1);
    let mut second = UnixStream::connect(home.log()).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0, "a second one of the same user is closed");
    counted(&home, "refused", 1);
    first.write_all(&[b"<86>".as_slice(), &[b'x'; 9_000], b"\n<86>y\n"].concat()).unwrap();
    counted(&home, "records", 2);
    counted(&home, "truncated", 1);
    daemon.stop();
}

#[test]
fn who_says_nothing_is_closed() {
    let home = Home::new(&format!("{STREAM}idle_timeout = \"1s\"\n"));
    let daemon = home.start();
    let mut client = UnixStream::connect(home.log()).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    counted(&home, "expired", 1);
    daemon.stop();
}

/// The limit of descriptors is raised to what the inputs may need, and more than may be had is refused at the start.
#[test]
fn more_connections_than_descriptors_are_made_room_for_or_refused() {
    let home = Home::new("[[input]]\nkind = \"syslog\"\nlisten = \"unix://DIR/s\"\nmax_connections = 700\n");
    let limited = |soft: u64, hard: u64| {
        let mut shell = std::process::Command::new("sh");
        let denyd = home.denyd(&["run"]);
        shell.args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"")]);
        shell.arg(denyd.get_program()).args(denyd.get_args());
        shell.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        shell.spawn().unwrap()
    };
    let mut refused = limited(100, 900);
    kit::until("it is refused", || refused.try_wait().unwrap());
    let output = refused.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("may need 988") && said.contains("may have 900") && said.contains("LimitNOFILE"), "{said}");
    let mut daemon = limited(100, 2_000);
    kit::until("the daemon answers", || home.ask(&["status"]));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("988"), "{line}");
}
