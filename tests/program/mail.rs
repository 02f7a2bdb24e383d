//! Mail, to a real SMTP server: what it says, when it comes, and that nothing is lost or told twice.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use kit::{Home, Sink, until};

/// A home whose daemon writes to two people by `sink`.
fn home(sink: &Sink, more: &str) -> Home {
    let home = Home::with_log();
    let mail = format!(
        "[mail]\nto = [\"root@localhost\", \"Ops <ops@example.org>\"]\nfrom = \"denyd <denyd@web1.example.org>\"\n\
         server = \"localhost:{}\"\n{}{more}\n",
        sink.port(),
        if more.contains("first_within") { "" } else { "first_within = \"1s\"\n" }
    );
    let config = fs::read_to_string(home.path("config")).unwrap();
    let dir = home.path("").display().to_string();
    fs::write(home.path("config"), config + &mail.replace("DIR", dir.trim_end_matches('/'))).unwrap();
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
    let home = home(&sink, "[decide]\nthreshold_root = 0\nwaves = \"off\"");
    let daemon = home.start();
    home.append(failures("192.0.2.7", 1).as_bytes());
    sink.wait(1);
    let many: String = (0..10_000).map(|n| failures(&format!("10.0.{}.{}", n / 250, n % 250 + 1), 1)).collect();
    home.append(many.as_bytes());
    daemon.folded(10_001);
    let status = until("all are read", || {
        let status = home.ask(&["status"])?;
        (status["mail"]["waiting"] == 10_000).then_some(status)
    });
    assert_eq!((sink.mails().len(), status["mail"]["mails"].as_u64()), (1, Some(1)), "the next is in an hour");
}

/// What `denyd mail --test` says.
fn test(home: &Home) -> (Option<i32>, String) {
    let output = home.denyd(&["mail", "--test"]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

/// A certificate for these names, and its key.
fn certificate(names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn servers_are_believed_by_their_certificates_alone() {
    let (right, wrong) = (certificate(&["localhost"]), certificate(&["mail.example.org"]));
    for mode in ["starttls", "implicit"] {
        let check = |identity: &(String, String), ca: Option<&str>, code: i32, says: &str| {
            let sink = Sink::with(mode, Some((&identity.0, &identity.1)));
            let ca_file = ca.map_or(String::new(), |_| "\nca_file = \"DIR/ca\"".to_owned());
            let home = home(&sink, &format!("tls = \"{mode}\"{ca_file}"));
            fs::write(home.path("ca"), ca.unwrap_or_default()).unwrap();
            let (found, said) = test(&home);
            assert!(found == Some(code) && said.contains(says), "{mode} {found:?} {said}");
            assert_eq!(sink.mails().len(), usize::from(code == 0), "{mode} {said}");
        };
        check(&right, Some(&right.0), 0, "queued as 1");
        check(&right, Some(&wrong.0), 1, "invalid peer certificate: ");
        check(&wrong, Some(&wrong.0), 1, "not valid for name \"localhost\"");
        check(&right, None, 1, "must be in the certificate, and its CA in `ca_file`");
        check(&right, Some("no certificate"), 1, "ca holds no certificates in PEM");
    }
    // A server, or somebody between, that hides STARTTLS gets nothing.
    let plain = Sink::new();
    let (code, said) = test(&home(&plain, "tls = \"starttls\""));
    assert!(code == Some(1) && said.contains("STARTTLS is not supported"), "{said}");
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let mut sink = Sink::new();
    fs::write(sink.path("password"), "al:right").unwrap();
    let home = home(&sink, "username = \"al\"\npassword_file = \"DIR/password\"");
    let secret = |text: &str, mode: u32| {
        fs::write(home.path("password"), text).unwrap();
        fs::set_permissions(home.path("password"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |code: i32, says: &str| {
        let (found, said) = test(&home);
        assert!(found == Some(code) && said.contains(says) && !said.contains("\x1b"), "{found:?} {said}");
        assert!(!said.contains("right") && !said.contains("wrung"), "the password: {said}");
    };
    check(1, "cannot read ");
    secret("right\n", 0o644);
    check(1, "chmod 0600");
    secret("two\nlines", 0o600);
    check(1, "in one line");
    secret("wrung", 0o600);
    check(1, "(535): 5.7.8 wrong \\x1b[31mpassword");
    secret("right\n", 0o600);
    check(0, "250 2.0.0 queued as 1");
    fs::write(sink.path("unknown"), "ops@").unwrap();
    check(0, "ops@example.org has it not: permanent error (550): 5.1.1 nobody of that name");
    assert_eq!(sink.mails()[1].header("X-To"), "<root@localhost>");
    fs::write(sink.path("unknown"), "@").unwrap();
    check(1, "root@localhost has it not");
    sink.stop();
    check(1, "nobody listens there");
    let check = |says: &str| {
        let output = home.denyd(&["check"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(says), "{said}");
    };
    check("ok   mail: to 2 recipients by localhost:");
    secret("right", 0o640);
    check("FAIL mail: ");
    let config = fs::read_to_string(home.path("config")).unwrap().replace("denyd@web1.example.org", "denyd@web1");
    fs::write(home.path("config"), config.replace("username", "#").replace("password_file", "#")).unwrap();
    check("look: many servers refuse `from` without a full domain, as denyd@web1 is");
    let mail = "\n[mail]\nto = [\"root@localhost\"]\nserver = \"mail.example.org:25\"\n";
    let config = fs::read_to_string(home.path("config")).unwrap();
    fs::write(home.path("config"), config.split("[mail]").next().unwrap().to_owned() + mail).unwrap();
    check("look: tls = \"none\" to another machine");
}

#[test]
fn what_a_dead_server_did_not_take_comes_once_when_it_lives() {
    let mut sink = Sink::new();
    let home = home(&sink, "every = \"1s\"");
    sink.stop();
    let daemon = home.start();
    home.append(failures("192.0.2.7", 2).as_bytes());
    let status = until("it fails", || {
        let status = home.ask(&["status"])?;
        status["mail"]["problem"].is_string().then_some(status)
    });
    assert!(status["enforced"] == 1 && status["mail"]["waiting"] == 1, "denied all the same: {status}");
    let doctor = home.denyd(&["doctor"]).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("took none since") && doctor.contains("nobody listens there"), "{doctor}");
    let shown = String::from_utf8(home.denyd(&["status"]).output().unwrap().stdout).unwrap();
    assert!(shown.contains("MAIL by localhost:") && shown.contains("1 decision waits to be told"), "{shown}");
    daemon.kill();
    sink.begin_again();
    // The server keeps it, and denyd is killed before it knows.
    fs::write(sink.path("hold"), "").unwrap();
    let daemon = home.start();
    sink.wait(1);
    // Meanwhile nobody waits for it.
    home.append(failures("192.0.2.9", 2).as_bytes());
    until("it is denied", || (home.ask(&["status"])?["enforced"] == 2).then_some(()));
    daemon.kill();
    fs::remove_file(sink.path("hold")).unwrap();
    let daemon = home.start();
    let mails = sink.wait(2);
    assert!(mails[1].body.contains("192.0.2.7") && mails[1].body.contains("192.0.2.9"), "{mails:?}");
    daemon.stop();
    let _daemon = home.start();
    home.append(failures("192.0.2.8", 2).as_bytes());
    let mails = sink.wait(3);
    assert!(
        mails[2].body.contains("192.0.2.8")
            && !mails[2].body.contains("192.0.2.7")
            && !mails[2].body.contains("192.0.2.9"),
        "{mails:?}"
    );
    assert_eq!(mails.len(), 3);
}

/// A filter that refuses what a stranger wrote keeps nobody from knowing who was denied.
#[test]
fn what_a_filter_refuses_is_left_out_of_the_next_try() {
    let sink = Sink::new();
    fs::write(sink.path("reject"), "XJS*C4JDBQADN1").unwrap();
    let home = home(&sink, "");
    let _daemon = home.start();
    let text = failures("192.0.2.7", 12).replace("for root", "for invalid user XJS*C4JDBQADN1");
    home.append(text.as_bytes());
    let mail = &sink.wait(1)[0];
    assert!(mail.body.contains("192.0.2.7 until") && !mail.body.contains("XJS"), "{mail:?}");
    assert!(mail.body.contains("What strangers wrote is left out:"), "{mail:?}");
}

/// Also somebody between can say this, before TLS.
#[test]
fn a_server_that_never_ends_a_line_costs_no_memory() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // It is cut off long before.
            let _ = (0..1600).try_for_each(|_| stream.write_all(&[b'2'; 65536]));
        }
    });
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let mail = format!(
        "[mail]\nto = [\"root@localhost\"]\nserver = \"localhost:{port}\"\ntls = \"starttls\"\nfirst_within = \"1s\"\n"
    );
    fs::write(home.path("config"), config + &mail).unwrap();
    let daemon = home.start();
    let most = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = most();
    home.append(failures("192.0.2.7", 2).as_bytes());
    let problem = until("it fails", || home.ask(&["status"])?["mail"]["problem"].as_str().map(str::to_owned));
    assert_eq!(problem, "it says more than 128 KiB, and is cut off");
    let grown = most() - before;
    assert!(grown < 60_000, "{grown} kB");
}

#[test]
fn a_suspicious_login_is_mailed_at_once() {
    let sink = Sink::new();
    let home = home(&sink, "first_within = \"1h\"");
    let _daemon = home.start();
    let login = |pid| {
        failures("192.0.2.7", 1)
            .replace("Failed password", "Accepted publickey")
            .replace(" ssh2", " ssh2: ED25519 SHA256:x")
            .replace("100", pid)
    };
    // The deny waits for an hour, and comes with what does not wait.
    home.append((failures("192.0.2.7", 2) + &login("200")).as_bytes());
    let mail = &sink.wait(1)[0];
    assert!(mail.header("Subject").ends_with(": 1 suspicious login, 1 host denied"), "{mail:?}");
    for part in [
        "Observed the following suspicious login activity:\n\nroot - 192.0.2.7\n\n-----",
        "root logged in, by a key at ",
        "What failed before:\n",
        "web1: Failed password for root from 192.0.2.7 port 100 ssh2",
        "Sessions from there whose end was not told:\n    none but this one, if that is open\n",
        "Connections from there to this machine now:\n    none\n",
        "    denyd why 192.0.2.7\n    denyd deny 192.0.2.7\n    ss -K dst 192.0.2.7\n",
    ] {
        assert!(mail.body.contains(part), "{part}: {}", mail.body);
    }
}

#[test]
fn who_is_spared_is_mailed_at_once_and_a_reload_says_to_whom() {
    let sink = Sink::new();
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let daemon = home.start();
    home.append(failures("192.0.2.7", 2).as_bytes());
    daemon.folded(2);
    let mail =
        format!("[mail]\nto = [\"root@localhost\"]\nserver = \"localhost:{}\"\nfirst_within = \"1h\"\n", sink.port());
    let reload = |mail: &str| {
        fs::write(home.path("config"), config.clone() + mail).unwrap();
        assert!(home.denyd(&["reload"]).output().unwrap().status.success());
    };
    reload(&mail);
    let login = failures("198.51.100.9", 1).replace("Failed", "Accepted").replace("100 ssh2", "900 ssh2");
    home.append((login + &failures("198.51.100.9", 2)).as_bytes());
    let first = &sink.wait(1)[0];
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(first.header("Subject"), format!("denyd on {host}: 1 administrator's address spared"));
    let item = "198.51.100.9: 2 failures of class root, denied above 6; root is logged in from there\n";
    assert!(first.body.contains(item), "{first:?}");
    assert!(!first.body.contains("192.0.2.7"), "what was decided before is not told: {first:?}");
    until("it is told", || (home.ask(&["status"])?["mail"]["waiting"] == 0).then_some(()));
    reload("");
    assert!(home.ask(&["status"]).unwrap()["mail"].is_null());
    daemon.stop();
    // A dry run says that it sends nothing.
    fs::write(home.path("config"), config + &mail).unwrap();
    let daemon = home.start_with(&["run", "--dry-run"]);
    until("that is logged", || home.stderr().contains("no mail is sent, no webhook is told").then_some(()));
    daemon.stop();
    assert_eq!(sink.mails().len(), 1);
}

#[test]
fn a_webhook_is_told_the_same_and_its_url_stays_a_secret() {
    let (right, wrong) = (certificate(&["localhost"]), certificate(&["mail.example.org"]));
    let sink = Sink::of_web("tls", Some((&right.0, &right.1)));
    let home = Home::with_log();
    let dir = home.path("").display().to_string();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let keys = format!("[webhook]\nurl_file = \"{dir}url\"\nca_file = \"{dir}ca\"\nfirst_within = \"1s\"\n");
    fs::write(home.path("config"), config + &keys).unwrap();
    fs::write(home.path("url"), format!("https://localhost:{}/services/s3cr3t?a=b\n", sink.port())).unwrap();
    let check = |mode: u32, ca: &str, code: i32, says: &str| {
        fs::write(home.path("ca"), ca).unwrap();
        fs::set_permissions(home.path("url"), fs::Permissions::from_mode(mode)).unwrap();
        let (found, said) = test(&home);
        assert!(found == Some(code) && said.contains(says) && !said.contains("s3cr3t"), "{found:?} {said}");
        assert!(!said.contains("localhost"), "{said}");
    };
    check(0o644, &right.0, 1, "chmod 0600");
    check(0o600, &wrong.0, 1, "invalid peer certificate");
    check(0o600, "", 1, "no CA to believe");
    check(0o600, &right.0, 0, "took it: HTTP 200");
    for (status, says) in [(302, "redirects are not followed"), (404, "HTTP 404"), (500, "HTTP 500")] {
        fs::write(sink.path("status"), status.to_string()).unwrap();
        check(0o600, &right.0, 1, says);
    }
    let before = sink.mails().len();
    assert_eq!(before, 4, "nothing goes elsewhere");
    // The server does not take it at first, and then once.
    let daemon = home.start();
    home.append(failures("192.0.2.7", 2).as_bytes());
    let status = until("it fails", || {
        let status = home.ask(&["status"])?;
        status["webhook"]["problem"].is_string().then_some(status)
    });
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("webhook: ") && doctor.contains("HTTP 500"), "{doctor}");
    fs::remove_file(sink.path("status")).unwrap();
    until("it is taken", || (home.ask(&["status"])?["webhook"]["mails"] == 1).then_some(()));
    let message = sink.mails().pop().unwrap();
    assert_eq!(message.header("Path"), "/services/s3cr3t?a=b");
    let json: serde_json::Value = serde_json::from_str(&message.body).unwrap();
    let text = json["text"].as_str().unwrap();
    assert!(text.contains(": 1 host denied\n\nAdded the following hosts to stdout:\n\n192.0.2.7\n"), "{text}");
    for said in [home.stderr(), status.to_string(), doctor] {
        assert!(!said.contains("s3cr3t") && !said.contains(&sink.port().to_string()), "{said}");
    }
    daemon.stop();
    let all = sink.mails().len();
    let _daemon = home.start();
    assert!(home.ask(&["status"]).unwrap()["webhook"]["waiting"] == 0 && sink.mails().len() == all);
}

/// As DenyHosts did: who is allowed and stands in hosts.deny all the same is told of, once.
#[test]
fn an_allowed_host_in_hosts_deny_is_told_of_once() {
    let sink = Sink::new();
    let home = home(&sink, "[decide]\nallow = [\"192.0.2.7\"]");
    let config = fs::read_to_string(home.path("config")).unwrap();
    let list = home.path("hosts.deny");
    let denies = format!("deny.backends = [\"hosts.deny\"]\ndeny.hosts_deny = {{ path = {list:?} }}\n");
    fs::write(home.path("config"), config.replace("deny.backends = [\"stdout\"]\n", &denies)).unwrap();
    fs::write(&list, "sshd: 192.0.2.7\nsshd: 192.0.2.8\n").unwrap();
    let daemon = home.start();
    home.append(failures("192.0.2.9", 2).as_bytes());
    let until_told = |mails| {
        until("it is told", || {
            let all = sink.mails();
            let bodies: String = all.iter().map(|mail| mail.body.clone()).collect();
            (bodies.contains("192.0.2.9") && all.len() >= mails).then_some(bodies)
        })
    };
    let title =
        format!("WARNING: The following hosts appear in {} but should be allowed:\n\n192.0.2.7\n\n", list.display());
    let told = until_told(1);
    assert!(told.matches(&title).count() == 1 && !told.contains("192.0.2.8"), "{told}");
    daemon.stop();
    let _daemon = home.start();
    let status = home.ask(&["status"]).unwrap();
    assert_eq!(status["mail"]["waiting"], 0, "{status}");
    let told: String = sink.mails().iter().map(|mail| mail.body.clone()).collect();
    assert_eq!(told.matches(&title).count(), 1, "{told}");
}
