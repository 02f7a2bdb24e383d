//! What is told in DenyHosts' own words: its log file, as Logwatch reads it, and syslog; and the names of addresses.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use kit::{Home, Sink, in_box, until};

/// A home with these lines at the end of its configuration; `DIR` in them is its directory.
fn home(more: &str) -> Home {
    let home = Home::with_log();
    let dir = home.path("").display().to_string();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let more = more.replace("DIR", dir.trim_end_matches('/'));
    fs::write(home.path("config"), format!("{config}[decide]\nthreshold_root = 0\n{more}")).unwrap();
    home
}

/// A line of sshd, now.
fn line(message: &str) -> String {
    format!("{} web1 sshd[77]: {message}\n", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn failure(address: &str) -> String {
    line(&format!("Failed password for root from {address} port 22 ssh2"))
}

/// Fails from an address, and waits until it is denied.
fn deny(home: &Home, address: &str) {
    home.append(failure(address).as_bytes());
    until("it is denied", || home.stdout().contains(&format!("deny {address}")).then_some(()));
}

/// How it goes with the one output that is wanted.
fn output(home: &Home) -> Option<serde_json::Value> {
    Some(home.ask(&["status"])?["outputs"].as_array()?.first()?.clone())
}

/// Waits until this is what keeps it from telling.
fn wait_problem(home: &Home, problem: &str) {
    until(problem, || output(home).filter(|one| one["problem"].as_str().is_some_and(|why| why.contains(problem))));
}

/// Waits until a log file says this.
fn wait_said(home: &Home, name: &str, text: &str) {
    until(text, || said(home, name).join("\n").contains(text).then_some(()));
}

/// What a log file says, without stamps.
fn said(home: &Home, name: &str) -> Vec<String> {
    let text = fs::read_to_string(home.path(name)).unwrap_or_default();
    let stamp = regex::Regex::new(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - denyhosts   : INFO     ").unwrap();
    text.lines()
        .map(|line| {
            assert!(stamp.is_match(line), "{line:?} has not DenyHosts' form");
            stamp.replace(line, "").into_owned()
        })
        .collect()
}

#[test]
fn a_log_file_has_denyhosts_lines_and_logwatch_reads_them() {
    let home = home("[report]\nlog_file = \"DIR/denyhosts\"\n");
    let daemon = home.start();
    let pid = daemon.pid();
    deny(&home, "192.0.2.7");
    home.append(failure("2001:db8:0:1::7").as_bytes());
    wait_said(&home, "denyhosts", "'2001:db8:0:1::/64'");
    home.append(line("Accepted password for root from 192.0.2.7 port 23 ssh2").as_bytes());
    wait_said(&home, "denyhosts", "new suspicious logins: ['root - 192.0.2.7']");
    assert!(home.denyd(&["forgive", "192.0.2.7"]).output().unwrap().status.success());
    wait_said(&home, "denyhosts", "num entries purged: 1");
    daemon.stop();
    let all = said(&home, "denyhosts").join("\n");
    let begun = format!(
        "launching DenyHosts daemon (version denyd {})...\nDenyHost daemon is now running, pid: {pid}\nmonitoring log: {}\n",
        env!("CARGO_PKG_VERSION"),
        home.log().display()
    );
    assert!(all.starts_with(&begun), "{all}");
    assert!(all.ends_with("\nDenyHosts daemon is shutting down"), "{all}");
    // A restart tells nothing again.
    let daemon = home.start();
    deny(&home, "192.0.2.9");
    wait_said(&home, "denyhosts", "'192.0.2.9'");
    daemon.stop();
    let all = said(&home, "denyhosts").join("\n");
    for once in ["'192.0.2.7'", "'2001:db8:0:1::/64'", "'192.0.2.9'", "new suspicious logins", "num entries purged"] {
        assert_eq!(all.matches(once).count(), 1, "{once}: {all}");
    }

    let script = kit::root().join("target/programs/usr/share/logwatch/scripts/services/denyhosts");
    if !script.exists() {
        return kit::skip("reported::logwatch", "no logwatch in target/programs: tests/setup");
    }
    let log = fs::File::open(home.path("denyhosts")).unwrap();
    let read = Command::new("perl").arg(script).stdin(log).output().unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    let hosts: Vec<_> = read.lines().map(str::trim).filter(|line| !line.is_empty()).skip(1).collect();
    assert_eq!(hosts, ["192.0.2.7", "2001:db8:0:1::/64", "192.0.2.9"], "{read}");
}

#[test]
fn a_log_file_that_cannot_be_written_holds_up_nothing_and_loses_nothing() {
    let home = home("[report]\nlog_file = \"DIR/none/denyhosts\"\n");
    let check = home.denyd(&["check"]).output().unwrap();
    let checked = String::from_utf8(check.stdout).unwrap();
    assert!(checked.contains("FAIL report log_file: ") && checked.contains("No such file or directory"), "{checked}");
    let daemon = home.start();
    deny(&home, "192.0.2.7");
    wait_problem(&home, "none/denyhosts");
    fs::create_dir(home.path("none")).unwrap();
    wait_said(&home, "none/denyhosts", "new denied hosts: ['192.0.2.7']");
    // As logrotate does.
    fs::rename(home.path("none/denyhosts"), home.path("none/denyhosts-old")).unwrap();
    deny(&home, "192.0.2.8");
    wait_said(&home, "none/denyhosts", "192.0.2.8");
    assert_eq!(said(&home, "none/denyhosts"), ["new denied hosts: ['192.0.2.8']"]);
    daemon.stop();
}

#[test]
fn a_full_disk_leaves_no_half_lines() {
    if !in_box("reported::a_full_disk_leaves_no_half_lines") {
        return;
    }
    let home = home("[report]\nlog_file = \"DIR/disk/denyhosts\"\n");
    fs::create_dir(home.path("disk")).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(home.path("disk")).status();
    assert!(mount.unwrap().success());
    let daemon = home.start();
    wait_said(&home, "disk/denyhosts", "monitoring log");
    let mut filler = fs::File::create(home.path("disk/filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    drop(filler);
    // What is left of the log's last page is soon full.
    let mut number = 0;
    until("the disk is full", || {
        number += 1;
        deny(&home, &format!("10.0.{}.{}", number / 250, number % 250 + 1));
        output(&home).filter(|one| one["problem"].as_str().is_some_and(|why| why.contains("No space")))
    });
    fs::remove_file(home.path("disk/filler")).unwrap();
    wait_said(&home, "disk/denyhosts", &format!("'10.0.{}.{}'", number / 250, number % 250 + 1));
    let all = said(&home, "disk/denyhosts").join("\n");
    for n in 1..=number {
        let address = format!("'10.0.{}.{}'", n / 250, n % 250 + 1);
        assert_eq!(all.matches(&address).count(), 1, "{address}: {all}");
    }
    daemon.stop();
    assert!(Command::new("umount").arg(home.path("disk")).status().unwrap().success());
}

#[test]
fn syslog_is_told_each_item_and_is_never_waited_for() {
    if !in_box("reported::syslog_is_told_each_item_and_is_never_waited_for") {
        return;
    }
    fs::write("/etc/hosts", "127.0.0.1 localhost\n192.0.2.7 own.example.org\n").unwrap();
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n").unwrap();
    fs::remove_file("/dev/log").unwrap();
    let home = home("[report]\nsyslog = true\nhost_names = true\nsuspicious_of_allowed = false\n");
    let daemon = home.start();
    deny(&home, "192.0.2.7");
    wait_problem(&home, "/dev/log: ");
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("FAIL syslog: it fails since "), "{doctor}");

    // Somebody listens who writes what comes into the very log that denyd reads.
    let socket = UnixDatagram::bind("/dev/log").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut bytes = [0; 2000];
    let mut next = || {
        let count = socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
        let message = regex::Regex::new(r"^<14>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d (denyhosts: .*)$").unwrap();
        let message = message.captures(&text).unwrap_or_else(|| panic!("{text:?}"))[1].to_owned();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        home.append(format!("{now} web1 {message}\n").as_bytes());
        message
    };
    let added = "denyhosts: Added the following hosts to stdout - ";
    assert_eq!(next(), format!("{added}192.0.2.7 (own.example.org)"));
    // A login from there, as a user whose name wants to be one of sshd's lines.
    home.append(line("Accepted password for x Failed password for root from 192.0.2.7 port 23 ssh2").as_bytes());
    let item = "x Failed password for root - 192.0.2.7 (own.example.org)";
    assert_eq!(next(), format!("denyhosts: Observed the following suspicious login activity - {item}"));
    // More than a socket's queue takes: they come when they are read, in their order.
    for n in 1..=40 {
        deny(&home, &format!("198.51.100.{n}"));
    }
    for n in 1..=40 {
        assert_eq!(next(), format!("{added}198.51.100.{n} (unknown)"));
    }
    daemon.caught_up();
    let status = home.ask(&["status"]).unwrap();
    let denied = home.history().iter().filter(|one| one["decision"] == "denied").count();
    assert_eq!(
        (denied, status["inputs"][0]["unknown"].as_u64()),
        (41, Some(0)),
        "nothing came of what it wrote: {status}"
    );
    // From who is allowed, where that is nobody's affair.
    home.append(failure("203.0.113.9").as_bytes());
    next();
    assert!(home.denyd(&["allow", "192.0.2.7"]).output().unwrap().status.success());
    home.append((failure("192.0.2.7") + &line("Accepted password for root from 192.0.2.7 port 23 ssh2")).as_bytes());
    deny(&home, "203.0.113.10");
    assert_eq!(next(), format!("{added}203.0.113.10 (unknown)"));
    daemon.stop();
}

#[test]
fn a_file_of_addresses_has_those_that_are_denied() {
    let home = home("[report]\ntable_file = \"DIR/blacklist\"\n");
    fs::write(home.path("blacklist"), "# mine\n203.0.113.1\n").unwrap();
    let daemon = home.start();
    let wait = |want: &str| {
        let want = format!("# mine\n203.0.113.1\n{want}");
        until(&want, || (fs::read_to_string(home.path("blacklist")).unwrap() == want).then_some(()));
    };
    deny(&home, "192.0.2.7");
    wait("192.0.2.7 # denyd\n");
    home.append(failure("2001:db8:0:1::7").as_bytes());
    wait("192.0.2.7 # denyd\n2001:db8:0:1::/64 # denyd\n");
    assert!(home.denyd(&["deny", "203.0.113.1"]).output().unwrap().status.success());
    assert!(home.denyd(&["forgive", "192.0.2.7"]).output().unwrap().status.success());
    assert!(home.denyd(&["forgive", "203.0.113.1"]).output().unwrap().status.success());
    wait("2001:db8:0:1::/64 # denyd\n");
    daemon.stop();
    wait("2001:db8:0:1::/64 # denyd\n");
}

#[test]
fn mail_shows_the_names_of_addresses() {
    if !in_box("reported::mail_shows_the_names_of_addresses") {
        return;
    }
    fs::write("/etc/hosts", "127.0.0.1 localhost\n192.0.2.7 own.example.org\n").unwrap();
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n").unwrap();
    // The network of the box begins without loopback.
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).stdin(Stdio::null()).status().unwrap().success());
    let sink = Sink::new();
    let mail = format!(
        "[mail]\nto = [\"root@localhost\"]\nfrom = \"denyd@web1.example.org\"\nserver = \"127.0.0.1:{}\"\nfirst_within = \
         \"1s\"\n[report]\nhost_names = true\nsuspicious_of_allowed = false\n",
        sink.port()
    );
    let home = home(&mail);
    let daemon = home.start();
    home.append((failure("192.0.2.7") + &failure("192.0.2.8")).as_bytes());
    let body = &sink.wait(1)[0].body;
    assert!(
        body.contains("Added the following hosts to stdout:\n\n192.0.2.7 (own.example.org)\n192.0.2.8 (unknown)\n"),
        "{body}"
    );
    home.append(line("Accepted password for al from 192.0.2.7 port 23 ssh2").as_bytes());
    let body = &sink.wait(2)[1].body;
    let title = "Observed the following suspicious login activity:\n\nal - 192.0.2.7 (own.example.org)\n";
    assert!(body.contains(title), "{body}");
    daemon.stop();
}
