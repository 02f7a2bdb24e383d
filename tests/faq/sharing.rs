//! 4.0 to 4.17: synchronisation mode.
//!
//! The server is one of Python's, to DenyHosts' protocol; addresses are of the internet, since nobody shares those of examples.

use std::fs;

use kit::{Sink, until};
use serde_json::{Value, json};

use super::{Site, wrong_ago};

/// A site that synchronises with a server, and the lines that say so.
fn site(sink: &Sink, lines: &str) -> Site {
    Site::new(&format!("SYNC_SERVER = http://127.0.0.1:{}\n{lines}", sink.port()))
}

/// Two wrong passwords of root, now: the address is denied.
fn attack(site: &Site, address: &str) {
    site.log(&wrong_ago(0, "root", address, 2));
}

/// So many hosts wait to be sent.
fn waits(site: &Site, hosts: u64) {
    until("they wait", || (site.home.ask(&["status"])?["sync"]["waiting"] == hosts).then_some(()));
}

/// The first round is over, which is had at once.
fn first(site: &Site) {
    until("the first round is over", || site.home.ask(&["status"])?["sync"]["succeeded"].as_str().map(drop));
}

/// A round by `--sync`; it is tried again until it is not too soon after the last one.
fn sync(site: &Site) -> (Option<i32>, String) {
    until("a round", || {
        let (code, out, err) = site.denyhosts(&["--sync"]);
        (!err.contains("ask again then")).then_some((code, out + &err))
    })
}

/// What the server was called with, without what is no affair of the entry.
fn calls(sink: &Sink) -> Vec<Value> {
    sink.calls().iter().map(|call| json!([call["name"], call["parameters"]])).collect()
}

/// Hosts that were denied by this daemon are sent by itself, those that others denied are added to HOSTS_DENY, and only what has
/// changed since the last time goes over the wire.
#[test]
fn q4_2_who_is_denied_here_is_sent_and_who_others_denied_is_denied() {
    let sink = Sink::of_sync("none", None);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
    let site = site(&sink, "");
    let _daemon = site.start();
    site.wait_denied(&["20.7.7.1"]);
    first(&site);
    attack(&site, "20.9.9.1");
    waits(&site, 1);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n1700000009 20.7.7.2\n").unwrap();
    assert_eq!(sync(&site), (Some(0), String::new()));
    site.wait_denied(&["20.7.7.1", "20.7.7.2", "20.9.9.1"]);
    assert_eq!(sync(&site), (Some(0), String::new()));
    let want = [
        json!(["get_new_hosts", [0, 3, [], 18_000]]),
        json!(["add_hosts", [["20.9.9.1"]]]),
        json!(["get_new_hosts", [1_700_000_000, 3, ["20.9.9.1"], 18_000]]),
        // The server tells again of the second in which it answered, and of what it had of us then.
        json!(["get_new_hosts", [1_700_000_009, 3, ["20.9.9.1"], 18_000]]),
    ];
    assert_eq!(calls(&sink), want);
}

/// DenyHosts needs daemon mode for it; here a run that ends does it, too, by `--sync`, once the log is read.
#[test]
fn q4_3_a_daemon_does_it_or_a_run_that_is_told_to() {
    let sink = Sink::of_sync("none", None);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
    let site = site(&sink, "");
    attack(&site, "20.9.9.1");
    site.quiet(&[]);
    assert!(calls(&sink).is_empty(), "nobody said so");
    attack(&site, "20.9.9.2");
    assert_eq!(sync(&site), (Some(0), String::new()));
    assert_eq!(site.denied(), ["20.7.7.1", "20.9.9.1", "20.9.9.2"]);
    assert_eq!(calls(&sink)[0], json!(["add_hosts", [["20.9.9.1", "20.9.9.2"]]]));
    // Where the server does not answer it says so, and nothing is lost.
    fs::write(sink.path("fault"), "105 no").unwrap();
    let (code, said) = sync(&site);
    assert!(code == Some(1) && said.contains("Error synchronizing data") && said.contains("fault 105: no"), "{said}");
}

/// It is off until SYNC_SERVER is set, and off again once that is commented out and the daemon restarted.
#[test]
fn q4_4_and_4_11_it_is_off_unless_a_server_is_named() {
    let sink = Sink::of_sync("none", None);
    let keys = "SYNC_UPLOAD = yes\nSYNC_DOWNLOAD = yes\nSYNC_DOWNLOAD_THRESHOLD = 3\n";
    let site = Site::new(keys);
    let daemon = site.start();
    attack(&site, "20.9.9.1");
    site.wait_denied(&["20.9.9.1"]);
    assert!(site.home.ask(&["status"]).unwrap()["sync"].is_null());
    daemon.stop();
    let (code, said) = sync(&site);
    assert!(code == Some(1) && said.contains("--sync needs SYNC_SERVER"), "{said}");
    site.configure(&format!("SYNC_SERVER = http://127.0.0.1:{}\n{keys}", sink.port()));
    let daemon = site.start();
    first(&site);
    let before = calls(&sink).len();
    assert_eq!(before, 1, "what was denied before is not sent");
    daemon.stop();
    site.configure(&format!("#SYNC_SERVER = http://127.0.0.1:{}\n{keys}", sink.port()));
    let _daemon = site.start();
    attack(&site, "20.9.9.2");
    site.wait_denied(&["20.9.9.1", "20.9.9.2"]);
    assert!(site.home.ask(&["status"]).unwrap()["sync"].is_null());
    assert_eq!(calls(&sink).len(), before);
}

/// The keys, and the server that the FAQ names: it is gone, and that is said.
#[test]
fn q4_5_and_4_6_the_keys_are_taken() {
    let keys = "SYNC_SERVER = http://xmlrpc.denyhosts.net:9911\nSYNC_INTERVAL = 10s\nSYNC_UPLOAD = no\nSYNC_DOWNLOAD = yes\n\
                SYNC_DOWNLOAD_THRESHOLD = 10\nSYNC_DOWNLOAD_RESILIENCY = 2d\n";
    let site = Site::new(keys);
    let (_, toml, _) = site.denyd(&["import", site.path("denyhosts.conf").to_str().unwrap()]);
    for line in [
        "server = \"http://xmlrpc.denyhosts.net:9911/\"",
        "interval = \"5m\"",
        "upload = false",
        "download = true",
        "threshold = 10",
        "resiliency = \"2d\"",
    ] {
        assert!(toml.contains(line), "{line}: {toml}");
    }
    let (_, said, _) = site.denyd(&["check"]);
    assert!(said.contains("xmlrpc.denyhosts.net:9911 is gone") && said.contains("denyd hub"), "{said}");
}

/// SYNC_DOWNLOAD = no only sends, SYNC_UPLOAD = no only takes.
#[test]
fn q4_7_and_4_8_one_direction_alone() {
    for (line, called, denied) in [
        ("SYNC_DOWNLOAD = no\n", "add_hosts", vec!["20.9.9.1"]),
        ("SYNC_UPLOAD = no\n", "get_new_hosts", vec!["20.7.7.1", "20.9.9.1"]),
    ] {
        let sink = Sink::of_sync("none", None);
        fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
        let site = site(&sink, line);
        attack(&site, "20.9.9.1");
        assert_eq!(sync(&site), (Some(0), String::new()));
        assert_eq!(site.denied(), denied, "{line}");
        assert!(calls(&sink).iter().all(|call| call[0] == called), "{line}: {:?}", calls(&sink));
    }
}

/// The server is asked for those that enough others denied, for long enough; with a threshold of 1 how long means nothing.
#[test]
fn q4_9_threshold_and_resiliency_are_asked_for() {
    for (lines, want) in [
        ("SYNC_DOWNLOAD_THRESHOLD = 4\nSYNC_DOWNLOAD_RESILIENCY = 4h\n", json!([0, 4, [], 14_400])),
        ("SYNC_DOWNLOAD_THRESHOLD = 1\nSYNC_DOWNLOAD_RESILIENCY = 4h\n", json!([0, 1, [], 0])),
    ] {
        let sink = Sink::of_sync("none", None);
        let site = site(&sink, lines);
        assert_eq!(sync(&site), (Some(0), String::new()));
        assert_eq!(calls(&sink), [json!(["get_new_hosts", want])]);
    }
}

/// DAEMON_LOG has a line for each direction. Where the server is down it says so, and who was denied meanwhile is sent later.
#[test]
fn q4_10_the_log_tells_and_what_could_not_be_sent_is_sent_later() {
    let mut sink = Sink::of_sync("none", None);
    let site = site(&sink, "DAEMON_LOG = DIR/denyhosts.log\n");
    let _daemon = site.start();
    site.wait_file("denyhosts.log", " - sync        : INFO     received 0 new hosts\n");
    sink.stop();
    attack(&site, "20.9.9.1");
    waits(&site, 1);
    let (code, said) = sync(&site);
    assert!(code == Some(1) && said.contains("Connection refused"), "{said}");
    site.wait_file("denyhosts.log", "Connection refused");
    sink.begin_again();
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
    assert_eq!(sync(&site), (Some(0), String::new()));
    site.wait_file("denyhosts.log", " - sync        : INFO     sent 1 new host\n");
    site.wait_file("denyhosts.log", " - sync        : INFO     received 1 new host\n");
    assert_eq!(calls(&sink).iter().filter(|call| call[0] == "add_hosts").count(), 1);
}

/// Who was taken from the server is purged by PURGE_DENY, and after PURGE_THRESHOLD purges no more.
#[test]
fn q4_12_those_of_the_server_are_purged_like_others() {
    let sink = Sink::of_sync("none", None);
    let site = site(&sink, "PURGE_DENY = 1s\nPURGE_THRESHOLD = 1\n");
    let _daemon = site.start();
    first(&site);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
    assert_eq!(sync(&site), (Some(0), String::new()));
    until("it is denied, and that ends", || {
        let history = site.home.history();
        (history.first()?["by"] == "sync" && history.get(1)?["why"] == "expired").then_some(())
    });
    site.wait_denied(&[]);
    fs::write(sink.path("hosts"), "1700000001 20.7.7.1\n").unwrap();
    assert_eq!(sync(&site), (Some(0), String::new()));
    site.wait_denied(&["20.7.7.1"]);
    assert!(site.home.history()[2]["until"].is_null(), "{:?}", site.home.history());
    // A blank PURGE_DENY is suggested against.
    site.configure(&format!("SYNC_SERVER = http://127.0.0.1:{}\nPURGE_DENY =\n", sink.port()));
    let (_, said, _) = told_check(&site);
    assert!(said.contains("PURGE_DENY is blank while SYNC_SERVER is set"), "{said}");
}

/// What `check` says of the `denyhosts.conf` itself.
fn told_check(site: &Site) -> (Option<i32>, String, String) {
    let conf = site.path("denyhosts.conf");
    super::told(&mut kit::denyd(&["--config", conf.to_str().unwrap(), "check"]))
}

/// What is collected: the own address, as with any connection, and with SYNC_UPLOAD whom this machine denied. No version, no user,
/// no time goes along.
#[test]
fn q4_14_and_4_15_nothing_else_is_told() {
    let sink = Sink::of_sync("none", None);
    let site = site(&sink, "");
    let _daemon = site.start();
    first(&site);
    attack(&site, "20.9.9.1");
    // A person's deny is no affair of others, nor is a machine of this site.
    assert_eq!(site.denyd(&["deny", "20.9.9.2"]).0, Some(0));
    attack(&site, "10.0.0.1");
    waits(&site, 1);
    assert_eq!(sync(&site), (Some(0), String::new()));
    let want = [
        json!(["get_new_hosts", [0, 3, [], 18_000]]),
        json!(["add_hosts", [["20.9.9.1"]]]),
        json!(["get_new_hosts", [0, 3, ["20.9.9.1"], 18_000]]),
    ];
    assert_eq!(calls(&sink), want);
    assert!(sink.calls().iter().all(|call| call["token"].is_null()));
}
