//! FAQ 1.0 to 1.5.

use kit::Sink;

use super::{Site, good, mail_by, wrong};

/// Which hosts attack, which accounts they try, how often; hosts.deny is updated; a person is mailed.
#[test]
fn q1_0_attackers_are_counted_denied_and_reported() {
    let sink = Sink::new();
    let site = Site::new(&mail_by(&sink));
    let daemon = site.start();
    site.log(&(wrong("root", "192.0.2.7", 2) + &wrong("invalid user oracle", "192.0.2.8", 2)));
    site.wait_denied(&["192.0.2.7"]);
    let mail = &sink.wait(1)[0];
    assert!(mail.header("To").contains("root@localhost"), "{mail:?}");
    assert!(mail.body.contains("192.0.2.7") && !mail.body.contains("192.0.2.8"), "{mail:?}");
    daemon.caught_up();
    let row = |what: &str, key: &str, name: &str| {
        let rows = site.home.ask(&["list", what]).unwrap();
        rows.as_array().unwrap().iter().find(|row| row[key] == name).unwrap_or_else(|| panic!("{name}: {rows}")).clone()
    };
    assert_eq!(row("users", "user", "oracle")["attempts"], 2);
    assert_eq!(row("addresses", "prefix", "192.0.2.8")["invalid"], 2);
    daemon.stop();
}

/// It helps anybody who runs sshd: without any configuration a log is read, and who attacks is named.
#[test]
fn q1_1_it_needs_no_configuration() {
    let (config, log) = (kit::config(), wrong("root", "192.0.2.7", 10));
    let found = kit::json(&["--config", config.arg(), "scan", "--json", "-"], log.as_bytes()).remove(0);
    assert_eq!(found["denied"][0]["prefix"], "192.0.2.7", "{found}");
}

/// The first run makes a work directory, whose files people can read; each class of users has its own threshold, which is to
/// be exceeded; a login by who exceeded it is suspicious.
#[test]
fn q1_5_it_works_as_it_says() {
    let site = Site::new("");
    assert!(!site.path("work").exists());
    let daemon = site.start();
    site.log(&(wrong("root", "192.0.2.1", 2) + &wrong("root", "192.0.2.2", 1)));
    site.log(&(wrong("bob", "192.0.2.3", 4) + &wrong("bob", "192.0.2.4", 3)));
    site.log(&(wrong("invalid user al", "192.0.2.5", 3) + &wrong("invalid user al", "192.0.2.6", 2)));
    site.wait_denied(&["192.0.2.1", "192.0.2.3", "192.0.2.5"]);
    site.log(&(good(0, "root", "192.0.2.1") + &good(0, "bob", "192.0.2.4")));
    site.wait_file("work/suspicious-logins", "root - 192.0.2.1:1:");
    daemon.stop();
    assert!(!site.read("work/suspicious-logins").contains("192.0.2.4"), "{}", site.read("work/suspicious-logins"));
    assert!(site.read("work/hosts-root").starts_with("192.0.2.1:2:"), "{}", site.read("work/hosts-root"));
    assert_eq!(site.denied(), ["192.0.2.1", "192.0.2.3", "192.0.2.5"]);
}
