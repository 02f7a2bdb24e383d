//! Mail, to a real SMTP server: what it says, when it comes, and that nothing is lost or told twice.

use std::fs;

use kit::{Home, Sink, until};

/// A home whose daemon writes to two people by `sink`.
fn home(sink: &Sink, more: &str) -> Home {
    let home = Home::with_log();
    let mail = format!(
        "[mail]\nto = [\"root@localhost\", \"Ops <ops@example.org>\"]\nfrom = \"denyd <denyd@web1.example.org>\"\n\
         server = \"localhost:{}\"\nfirst_within = \"1s\"\n{more}\n",
        sink.port()
    );
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config + &mail).unwrap();
    home
}

/// So many failures of root from an address, now.
fn failures(address: &str, times: u32) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let line = |pid| format!("{now} web1 sshd[{pid}]: Failed password for root from {address} port {pid} ssh2\n");
    (100..100 + times).map(line).collect()
}

#[test]
fn a_deny_is_mailed_with_its_evidence() {
    let sink = Sink::new();
    let home = home(&sink, "");
    let daemon = home.start();
    // A name that wants to be a header, to paint the terminal, and to be read as what it is.
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut log = failures("192.0.2.7", 2).into_bytes();
    for pid in 1..12 {
        log.extend(format!("{now} web1 sshd[{pid}]: Failed password for invalid user ").bytes());
        log.extend(b"\rBcc: eve@example.org\x1b[31m \xc3\xa9 from 192.0.2.8 port 22 ssh2\n");
    }
    home.append(&log);
    let mail = &sink.wait(1)[0];
    assert_eq!(
        (mail.header("X-From"), mail.header("X-To")),
        ("<denyd@web1.example.org>", "<root@localhost> <ops@example.org>")
    );
    assert!(mail.header("Subject").ends_with(": 2 hosts denied"), "{mail:?}");
    for name in ["Date", "Message-ID", "MIME-Version", "Content-Type", "To", "From"] {
        mail.header(name);
    }
    assert!(!mail.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("bcc")), "{mail:?}");
    let section = format!("Added the following hosts to stdout:\n\n192.0.2.7\n192.0.2.8\n\n{}\n", "-".repeat(70));
    assert!(mail.body.contains(&section), "{mail:?}");
    assert!(mail.body.contains("web1: Failed password for root from 192.0.2.7"), "{mail:?}");
    assert!(mail.body.contains("invalid user \\rBcc: eve@example.org\\x1b[31m \\xc3\\xa9 from"), "{mail:?}");
    until("it is acknowledged", || (home.ask(&["status"])?["mail"]["waiting"] == 0).then_some(()));
    daemon.stop();
    let _daemon = home.start();
    let status = home.ask(&["status"]).unwrap();
    assert!(status["followers"].is_null() && status["mail"]["waiting"] == 0, "{status}");
    assert_eq!(sink.mails().len(), 1, "it is not told again");
}

#[test]
fn ten_thousand_denies_are_one_mail_a_period() {
    let sink = Sink::new();
    let home = home(&sink, "");
    let daemon = home.start();
    home.append(failures("192.0.2.7", 2).as_bytes());
    sink.wait(1);
    let many: String = (0..10_000).map(|n| failures(&format!("10.0.{}.{}", n / 250, n % 250 + 1), 2)).collect();
    home.append(many.as_bytes());
    daemon.folded(20_002);
    let status = until("all are read", || {
        let status = home.ask(&["status"])?;
        (status["mail"]["waiting"] == 10_000).then_some(status)
    });
    assert_eq!((sink.mails().len(), status["mail"]["mails"].as_u64()), (1, Some(1)), "the next is in an hour");
}
