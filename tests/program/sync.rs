//! Sharing with a server of DenyHosts' kind: what is sent, what is taken, and that nothing is lost or believed too much.
//!
//! The addresses are of the internet, and not those of examples, which nobody shares. Nobody connects to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::{Home, Sink, until};
use serde_json::{Value, json};

use super::hub::Hub;

mod recorded;
mod times;

/// A home that shares with `sink`, once in an hour and when it is told to.
fn home(sink: &Sink, more: &str) -> Home {
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let sync = format!("[sync]\nserver = \"http://127.0.0.1:{}\"\n", sink.port());
    fs::write(home.path("config"), config.replacen("[[input]]", &format!("{more}{sync}[[input]]"), 1)).unwrap();
    home
}

/// Changes the configuration.
fn configure(home: &Home, from: &str, to: &str) {
    let config = fs::read_to_string(home.path("config")).unwrap();
    assert!(config.contains(from), "{config}");
    fs::write(home.path("config"), config.replace(from, to)).unwrap();
}

/// Two failures of root from an address, now: it is denied.
fn attack(home: &Home, address: &str) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let line = |pid| format!("{now} web1 sshd[{pid}]: Failed password for root from {address} port {pid} ssh2\n");
    home.append((100..102).map(line).collect::<String>().as_bytes());
}

/// Has a round: what it came to, or what is wrong. There is one in ten seconds.
fn sync(home: &Home) -> Result<Value, String> {
    until("a round", || {
        let output = home.denyd(&["sync", "--json"]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let is_soon = error.contains("ask again then");
        (!is_soon).then(|| serde_json::from_slice(&output.stdout).map_err(|_| error))
    })
}

/// Waits until so many hosts wait to be sent.
fn waits(home: &Home, hosts: u64) {
    until("they wait", || (home.ask(&["status"])?["sync"]["waiting"] == hosts).then_some(()));
}

/// The first round is over, which is had at once.
fn first(home: &Home) {
    until("the first round is over", || home.ask(&["status"])?["sync"]["succeeded"].as_str().map(drop));
}

fn denied(home: &Home) -> Vec<String> {
    let rows = home.ask(&["list"]).unwrap();
    let mut all: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["prefix"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

/// Whom the server was told of.
fn added(sink: &Sink) -> Vec<String> {
    let text = fs::read_to_string(sink.path("added")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_denied_is_sent_and_what_others_denied_is_denied() {
    let sink = Sink::of_sync("none", None);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n1700000001 20.7.7.2\n").unwrap();
    let home = home(&sink, "");
    let _daemon = home.start();
    first(&home);
    let calls = sink.calls();
    assert_eq!(calls.len(), 1, "nothing is to be sent: {calls:?}");
    assert_eq!((&calls[0]["name"], &calls[0]["path"]), (&json!("get_new_hosts"), &json!("/RPC2")));
    assert_eq!(calls[0]["parameters"], json!([0, 3, [], 18_000]));
    assert_eq!(denied(&home), ["20.7.7.1", "20.7.7.2"]);
    attack(&home, "20.9.9.1");
    // What is nobody's on the internet is denied, and not sent.
    attack(&home, "10.0.0.1");
    attack(&home, "192.0.2.1");
    waits(&home, 1);
    assert_eq!(
        sync(&home).unwrap(),
        json!({"server": format!("127.0.0.1:{}", sink.port()), "sent": 1, "unsent": 0, "received": 0, "denied": 0,
               "refused": {"known": 0, "illegal": 0, "special": 0, "allowed": 0, "forgiven": 0, "in_use": 0, "ours": 0, "too_many": 0}})
    );
    assert_eq!(added(&sink), ["20.9.9.1"]);
    let calls = sink.calls();
    assert_eq!(calls[1]["parameters"], json!([["20.9.9.1"]]));
    assert_eq!(calls[2]["parameters"], json!([1_700_000_001, 3, ["20.9.9.1"], 18_000]));
    let why = home.ask(&["why", "20.7.7.1"]).unwrap();
    assert_eq!((&why["verdict"], &why["by"]), (&json!("denied"), &json!(["sync"])), "{why}");
    let reason = json!({"sync": {"server": format!("127.0.0.1:{}", sink.port()), "reporters": 3}});
    assert_eq!(why["claims"][0]["reason"], reason, "{why}");
    let status = home.ask(&["status"]).unwrap();
    let shown = &status["sync"];
    assert_eq!(
        (&shown["sent"], &shown["received"], &shown["denied_now"]),
        (&json!(1), &json!(2), &json!(2)),
        "{shown}"
    );
    assert_eq!((&shown["waiting"], &shown["problem"]), (&json!(0), &Value::Null), "{shown}");
}

#[test]
fn what_a_server_says_is_not_believed() {
    let sink = Sink::of_sync("none", None);
    let hostile = [
        "20.1.1.2; echo PWNED",
        "$(touch /tmp/pwned)",
        "127.0.0.1",
        "10.0.0.1",
        "192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "20.0.0.0/8",
        "0.0.0.0/0",
        "bad.example.org",
        "ALL",
        "sshd: ALL",
        "020.1.1.1",
        "::1",
        "fe80::1%lo",
        "20.2.7.7",
        "20.3.1.1",
        "20.1.1.1",
        "20.1.1.1",
        "2a00:0:0:1::5",
    ];
    let rows: String = hostile.iter().map(|host| format!("1700000000 {host}\n")).collect();
    fs::write(sink.path("hosts"), rows).unwrap();
    let home = home(&sink, "[decide]\nallow = [\"20.2.0.0/16\"]\n");
    let daemon = home.start();
    first(&home);
    assert_eq!(denied(&home), ["20.1.1.1", "20.3.1.1", "2a00:0:0:1::/64"]);
    let shown = home.ask(&["status"]).unwrap()["sync"].clone();
    assert_eq!(
        shown["refused"],
        json!({"known": 1, "illegal": 9, "special": 6, "allowed": 1, "forgiven": 0, "in_use": 0, "ours": 0, "too_many": 0}),
        "{shown}"
    );
    daemon.stop();
    assert!(!home.stdout().contains("PWNED") && !home.stderr().contains("PWNED") && !Path::new("/tmp/pwned").exists());
}

#[test]
fn who_is_forgiven_is_not_denied_again_on_its_word() {
    let sink = Sink::of_sync("none", None);
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n1700000000 20.7.7.2\n").unwrap();
    let home = home(&sink, "");
    let daemon = home.start();
    first(&home);
    let forgiven = home.denyd(&["forgive", "20.7.7.1"]).status().unwrap();
    assert!(forgiven.success());
    // It says it once more, and so it does to who comes back.
    fs::write(sink.path("hosts"), "1700000007 20.7.7.1\n1700000007 20.7.7.2\n").unwrap();
    daemon.stop();
    let _daemon = home.start();
    let done = sync(&home).unwrap();
    assert_eq!((&done["received"], &done["denied"]), (&json!(2), &json!(0)), "{done}");
    assert_eq!((&done["refused"]["forgiven"], &done["refused"]["known"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(denied(&home), ["20.7.7.2"]);
    // It is counted as ever.
    attack(&home, "20.7.7.1");
    until("it is denied", || (denied(&home).len() == 2).then_some(()));
}

/// FAQ 4.10: what a server could not be told is sent later. It is told twice at most, where denyd is killed in between.
#[test]
fn nothing_is_lost_while_the_server_is_away_or_denyd_is_killed() {
    let mut sink = Sink::of_sync("none", None);
    let home = home(&sink, "[report]\nlog_file = \"DIR/denyhosts\"\n");
    configure(&home, "DIR/denyhosts", home.path("denyhosts").to_str().unwrap());
    let daemon = home.start();
    first(&home);
    sink.stop();
    attack(&home, "20.9.9.1");
    waits(&home, 1);
    let why = sync(&home).unwrap_err();
    assert!(why.contains("Connection refused"), "{why}");
    let shown = home.ask(&["status"]).unwrap()["sync"].clone();
    assert!(shown["problem"].as_str().unwrap().contains("Connection refused") && shown["waiting"] == 1, "{shown}");
    assert!(shown["next"].is_string() && shown["failing_since"].is_string(), "{shown}");
    let doctor = home.denyd(&["doctor"]).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("nothing is shared with 127.0.0.1:"), "{doctor}");
    // Neither a restart nor a kill forgets it.
    daemon.stop();
    let daemon = home.start();
    until("it is tried again at once", || {
        home.ask(&["status"])?["sync"]["problem"].as_str()?.contains("Connection refused").then_some(())
    });
    attack(&home, "20.9.9.2");
    waits(&home, 2);
    daemon.kill();
    sink.begin_again();
    fs::write(sink.path("hold"), "").unwrap();
    let daemon = home.start();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| sync(&home));
        until("the server has it and says nothing", || sink.path("held").exists().then_some(()));
        assert_eq!(added(&sink), ["20.9.9.1", "20.9.9.2"]);
        // Detection does not wait for it.
        attack(&home, "20.9.9.3");
        until("it is denied meanwhile", || denied(&home).contains(&"20.9.9.3".to_owned()).then_some(()));
        daemon.kill();
        assert!(asked.join().unwrap().is_err());
    });
    fs::remove_file(sink.path("hold")).unwrap();
    let _daemon = home.start();
    sync(&home).unwrap();
    waits(&home, 0);
    let mut all = added(&sink);
    all.sort();
    all.dedup();
    assert_eq!(all, ["20.9.9.1", "20.9.9.2", "20.9.9.3"]);
    let log = fs::read_to_string(home.path("denyhosts")).unwrap();
    for line in [
        " - sync        : INFO     received 0 new hosts",
        " - sync        : INFO     sent ",
        " - sync        : ERROR    ",
        "Connection refused",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn one_host_that_a_server_does_not_take_keeps_back_no_other() {
    let check = |silent: bool, ipv6: bool, want: &[&str], unsent: u64| {
        let sink = Sink::of_sync("none", None);
        for (name, is_there) in [("silent", silent), ("ipv6", ipv6), ("int", silent)] {
            if is_there {
                fs::write(sink.path(name), "").unwrap();
            }
        }
        let home = home(&sink, "");
        let _daemon = home.start();
        first(&home);
        fs::write(sink.path("bad"), "20.9.9.1").unwrap();
        for address in ["20.9.9.1", "2a00:0:0:9::1", "20.9.9.3", "20.9.9.2"] {
            attack(&home, address);
        }
        waits(&home, 4);
        let done = sync(&home).unwrap();
        assert_eq!((&done["sent"], &done["unsent"]), (&json!(want.len()), &json!(unsent)), "{done}");
        let mut all = added(&sink);
        all.sort();
        all.dedup();
        assert_eq!(all, want);
    };
    check(false, false, &["20.9.9.2", "20.9.9.3"], 2);
    check(true, true, &["20.9.9.2", "20.9.9.3", "2a00:0:0:9::1"], 1);
}

/// What the server does not take of us is tried again, and is no reason to do without what it knows.
#[test]
fn a_server_that_adds_nobody_now_still_tells_whom_others_denied() {
    let sink = Sink::of_sync("none", None);
    let home = home(&sink, "");
    let _daemon = home.start();
    first(&home);
    fs::write(sink.path("full"), "").unwrap();
    fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
    attack(&home, "20.9.9.1");
    waits(&home, 1);
    let why = sync(&home).unwrap_err();
    assert!(why.contains("fault 104: Error adding hosts: database is locked"), "{why}");
    assert_eq!(denied(&home), ["20.7.7.1", "20.9.9.1"]);
    let shown = home.ask(&["status"]).unwrap()["sync"].clone();
    assert_eq!((&shown["sent"], &shown["received"], &shown["waiting"]), (&json!(0), &json!(1), &json!(1)), "{shown}");
    fs::remove_file(sink.path("full")).unwrap();
    assert_eq!(sync(&home).unwrap()["sent"], 1);
    assert_eq!(added(&sink), ["20.9.9.1"]);
    // The next round says whom it had last, too.
    sync(&home).unwrap();
    assert_eq!(sink.calls().last().unwrap()["parameters"][2], json!(["20.9.9.1"]));
}

/// Who poisons a list wants us to cut ourselves off: from a resolver, a mail server, the server itself.
#[test]
fn whom_this_machine_connects_to_is_not_denied_on_its_word() {
    let sink = Sink::of_sync("none", None);
    fs::write(sink.path("hosts"), "1700000000 20.1.1.8\n1700000000 20.1.1.9\n").unwrap();
    let home = home(&sink, "");
    let _daemon = home.start();
    first(&home);
    assert_eq!(denied(&home), ["20.1.1.8", "20.1.1.9"]);
    // It becomes ours: the next round lets it in, though the server cannot be asked.
    configure(&home, "[sync]\n", "[mail]\nto = [\"root@example.org\"]\nserver = \"20.1.1.8:25\"\n[sync]\n");
    fs::write(sink.path("fault"), "105 not now").unwrap();
    assert!(home.denyd(&["reload"]).status().unwrap().success());
    sync(&home).unwrap_err();
    assert_eq!(denied(&home), ["20.1.1.9"]);
    fs::remove_file(sink.path("fault")).unwrap();
    fs::write(sink.path("hosts"), "1700000001 20.1.1.8\n1700000001 20.1.1.7\n").unwrap();
    let done = sync(&home).unwrap();
    assert_eq!((&done["refused"]["ours"], &done["denied"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(denied(&home), ["20.1.1.7", "20.1.1.9"]);
}

#[test]
fn faults_and_rubbish_are_told_and_tried_again() {
    let sink = Sink::of_sync("none", None);
    let home = home(&sink, "");
    let _daemon = home.start();
    first(&home);
    let check = |file: &str, text: &str, want: &str| {
        fs::write(sink.path(file), text).unwrap();
        let why = sync(&home).unwrap_err();
        assert!(why.contains(want) && !why.contains('\u{1b}'), "{text:.60}: {why}");
        fs::remove_file(sink.path(file)).unwrap();
    };
    check(
        "fault",
        "105 Error in get_new_hosts: \u{1b}[31m database",
        "fault 105: Error in get_new_hosts: \\x1b[31m database",
    );
    check("fault", "102 Illegal parameters.", "fault 102");
    check("raw", "no XML at all", "cannot be read");
    check("raw", "<!DOCTYPE x [<!ENTITY a \"b\">]><methodResponse/>", "cannot be read");
    check("raw", &"x".repeat(10_000_000), "more than 4096 KiB");
    let no_hosts = "<?xml version='1.0'?><methodResponse><params><param><value><int>0</int></value></param></params></methodResponse>";
    check("raw", no_hosts, "does not say whom others denied");
    let done = sync(&home).unwrap();
    assert_eq!(done["received"], 0, "{done}");
    assert!(home.ask(&["status"]).unwrap()["sync"]["problem"].is_null());
}

/// The server's clock was set back: what it knows is asked for from the beginning, once.
#[test]
fn pages_are_followed_and_a_clock_that_was_set_back_is_coped_with() {
    let sink = Sink::of_sync("none", None);
    let rows: String = (0..120).map(|n| format!("{} 20.7.{}.{}\n", 1_700_000_000 + n, n / 200, n % 200 + 1)).collect();
    fs::write(sink.path("hosts"), rows).unwrap();
    // Further on than 32 bits go.
    fs::write(sink.path("now"), "4102444800").unwrap();
    let home = home(&sink, "");
    let _daemon = home.start();
    first(&home);
    assert_eq!(denied(&home).len(), 120);
    let asked: Vec<_> = sink.calls().iter().map(|call| call["parameters"][0].clone()).collect();
    assert_eq!(asked, [json!(0), json!(1_700_000_049), json!(1_700_000_099)]);
    fs::write(sink.path("hosts"), "4102444700 20.8.8.8\n").unwrap();
    assert_eq!(sync(&home).unwrap()["denied"], 1);
    fs::write(sink.path("now"), "1700000200").unwrap();
    fs::write(sink.path("hosts"), "1700000150 20.8.8.9\n").unwrap();
    assert_eq!(sync(&home).unwrap()["denied"], 1);
    let asked: Vec<_> = sink.calls().iter().skip(4).map(|call| call["parameters"][0].clone()).collect();
    // What is too large for an int is sent as a string.
    assert_eq!(asked, [json!("4102444700"), json!(0)]);
}

#[test]
fn a_server_is_believed_by_its_certificate_and_given_its_token_alone() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let sink = Sink::of_sync("tls", Some((&certificate, &key)));
    let home = home(&sink, "");
    configure(&home, "http://127.0.0.1", "https://localhost");
    let dir = home.path("").display().to_string();
    configure(
        &home,
        "[sync]\n",
        &format!("[sync]\ntoken_file = \"{dir}token\"\nca_file = \"{dir}ca\"\nthreshold = 1\n"),
    );
    fs::write(home.path("ca"), rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem())
        .unwrap();
    fs::write(home.path("token"), "s3cret\n").unwrap();
    let _daemon = home.start();
    let why = sync(&home).unwrap_err();
    assert!(why.contains("has mode 0") && why.contains("chmod 0600"), "{why}");
    fs::set_permissions(home.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
    let why = sync(&home).unwrap_err();
    assert!(why.contains("certificate"), "{why}");
    assert!(sink.calls().is_empty());
    fs::write(home.path("ca"), &certificate).unwrap();
    sync(&home).unwrap();
    let calls = sink.calls();
    assert_eq!(calls[0]["token"], "Bearer s3cret");
    // With a threshold of 1 the resiliency means nothing.
    assert_eq!(calls[0]["parameters"], json!([0, 1, [], 0]));
    let shown = home.denyd(&["status", "--json"]).output().unwrap().stdout;
    assert!(!String::from_utf8(shown).unwrap().contains("s3cret") && !home.stderr().contains("s3cret"));
}

/// FAQ 4.7, 4.8, 4.11: one direction alone, and none.
#[test]
fn one_direction_may_be_off_and_none_is_the_default() {
    let check = |keys: &str, sent: Option<u64>, received: Option<u64>, calls: &[&str]| {
        let sink = Sink::of_sync("none", None);
        fs::write(sink.path("hosts"), "1700000000 20.7.7.1\n").unwrap();
        let home = home(&sink, "");
        configure(&home, "[sync]\n", &format!("[sync]\n{keys}"));
        let _daemon = home.start();
        first(&home);
        attack(&home, "20.9.9.1");
        until("it is denied", || denied(&home).contains(&"20.9.9.1".to_owned()).then_some(()));
        if sent.is_some() {
            waits(&home, 1);
        }
        let done = sync(&home).unwrap();
        assert_eq!((done["sent"].as_u64(), done["received"].as_u64()), (sent, received), "{keys}: {done}");
        let told: Vec<_> = sink.calls().iter().map(|call| call["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, calls, "{keys}");
    };
    check("download = false\n", Some(1), None, &["add_hosts"]);
    check("upload = false\n", None, Some(0), &["get_new_hosts", "get_new_hosts"]);
    check(
        "version_report = true\nupload = false\n",
        None,
        Some(0),
        &["version_report", "get_new_hosts", "get_new_hosts"],
    );

    let sink = Sink::of_sync("none", None);
    let home = home(&sink, "");
    let daemon = home.start();
    first(&home);
    configure(&home, "server =", "# server =");
    assert!(home.denyd(&["reload"]).status().unwrap().success());
    let why = sync(&home).unwrap_err();
    assert!(why.contains("nothing is shared: write `server` into [sync]"), "{why}");
    assert!(home.ask(&["status"]).unwrap()["sync"].is_null());
    daemon.stop();
    assert_eq!(sink.calls().len(), 1);
}

#[test]
fn check_says_what_is_risky() {
    let check = |sync: &str, want: &[&str]| {
        let home = Home::with_log();
        let config = fs::read_to_string(home.path("config")).unwrap();
        fs::write(home.path("config"), config.replacen("[[input]]", &format!("{sync}[[input]]"), 1)).unwrap();
        let output = home.denyd(&["check"]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        for want in want {
            assert!(text.contains(want), "{sync}: {want}: {text}");
        }
        assert_eq!(
            text.matches("look sync").count(),
            want.iter().filter(|want| want.starts_with("look")).count(),
            "{text}"
        );
    };
    check("[sync]\nserver = \"https://hub.example.org\"\n", &["ok   sync: with hub.example.org:443"]);
    check(
        "[sync]\nserver = \"http://xmlrpc.denyhosts.net:9911\"\n",
        &["look sync: xmlrpc.denyhosts.net:9911 is gone", "`denyd hub`"],
    );
    check(
        "[sync]\nserver = \"http://hub.example.org:9911\"\n",
        &["look sync: hub.example.org:9911 is spoken to in the clear"],
    );
    check("[sync]\nserver = \"http://10.0.0.7:9911\"\n", &["ok   sync: with 10.0.0.7:9911"]);
    check(
        "[decide]\ndeny_for = \"forever\"\n[sync]\nserver = \"http://127.0.0.1:9911\"\n",
        &["look sync: whoever the server tells of is denied for ever"],
    );
    check(
        "[sync]\nserver = \"http://hub.example.org:9911\"\ntoken_file = \"/etc/denyd/t\"\n",
        &["the token would go over the network as it is"],
    );
    check("[sync]\nserver = \"http://127.0.0.1:9911\"\ninterval = \"299s\"\n", &["expected at least \"5m\""]);
    check("[sync]\nserver = \"ftp://hub.example.org\"\n", &["expected a URL such as"]);
}

/// FAQ 4.17: a hub of one's own. Who is denied on one machine is denied on the others within one round, subject to threshold and
/// resiliency of each; and forgiven stays forgiven.
#[test]
fn denied_on_one_machine_denied_on_all_that_ask_the_hub() {
    let mut hub = Hub::new("tokens = \"DIR/tokens\"");
    let names = ["a", "c", "one", "two", "long"];
    let token = |name: &str| format!("{name}-token-{name}-token-{name}-token");
    let tokens: String = names.iter().map(|name| format!("{name} {}\n", token(name))).collect();
    fs::write(hub.path("tokens"), tokens).unwrap();
    fs::set_permissions(hub.path("tokens"), PermissionsExt::from_mode(0o600)).unwrap();
    hub.start();
    let machine = |name: &str, keys: &str| {
        let home = Home::with_log();
        fs::write(home.path("token"), token(name)).unwrap();
        fs::set_permissions(home.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
        let (port, file) = (hub.port, home.path("token").display().to_string());
        let sync = format!("[sync]\nserver = \"http://127.0.0.1:{port}\"\ntoken_file = \"{file}\"\n{keys}[[input]]");
        configure(&home, "[[input]]", &sync);
        home
    };
    let a = machine("a", "download = false\n");
    let c = machine("c", "download = false\n");
    let one = machine("one", "threshold = 1\n");
    let two = machine("two", "threshold = 2\nresiliency = \"none\"\n");
    let long = machine("long", "threshold = 2\n");
    let homes = [&a, &c, &one, &two, &long];
    let _daemons: Vec<_> = homes.iter().map(|home| home.start()).collect();
    homes.iter().for_each(|home| first(home));
    let reported = |home: &Home, address: &str| {
        attack(home, address);
        waits(home, 1);
        assert_eq!(sync(home).unwrap()["sent"], 1);
    };
    reported(&a, "20.9.9.1");
    for (home, want) in [(&one, 1), (&two, 0), (&long, 0)] {
        assert_eq!(sync(home).unwrap()["denied"], want);
    }
    assert_eq!(denied(&one), ["20.9.9.1"]);
    assert!(one.denyd(&["forgive", "20.9.9.1"]).status().unwrap().success());
    reported(&c, "20.9.9.1");
    for (home, want) in [(&one, 0), (&two, 1), (&long, 0)] {
        assert_eq!(sync(home).unwrap()["denied"], want);
    }
    assert_eq!((denied(&one).len(), denied(&long).len()), (0, 0));
    assert_eq!(denied(&two), ["20.9.9.1"]);
    let why = two.denyd(&["why", "20.9.9.1"]).output().unwrap();
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("told of it: at least 2 machines reported it"), "{why}");
    // IPv6 goes by its /64.
    reported(&a, "2a00:0:0:7::1");
    assert_eq!(sync(&one).unwrap()["denied"], 1);
    assert_eq!(denied(&one), ["2a00:0:0:7::/64"]);
}
