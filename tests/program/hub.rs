//! `denyd hub`: with clients as DenyHosts has them, by the bytes that they send, and with whatever strangers send.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kit::{denyd, until};
use serde_json::Value;

/// A hub in a directory of its own.
pub(super) struct Hub {
    dir: tempfile::TempDir,
    child: Option<Child>,
    pub(super) port: u16,
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Hub {
    /// A hub that is not started; `more` is put into its configuration, `DIR` in it is its directory.
    pub(super) fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub { dir, child: None, port: 0 };
        let listen = if more.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        let requests = if more.contains("requests") { "" } else { "requests_per_minute = 1000000\n" };
        let text = format!("{listen}state_dir = \"DIR/state\"\n{requests}{more}\n");
        fs::write(hub.path("hub.toml"), text.replace("DIR", hub.dir.path().to_str().unwrap())).unwrap();
        hub
    }

    fn started(more: &str) -> Self {
        let mut hub = Hub::new(more);
        hub.start();
        hub
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn verb(&self, arguments: &[&str]) -> Command {
        let config = self.path("hub.toml");
        denyd(&[&["--config", config.to_str().unwrap(), "hub"], arguments].concat())
    }

    pub(super) fn start(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = self.verb(&[]).stderr(log).spawn().unwrap();
        let pid = child.id();
        self.child = Some(child);
        self.port = until("the hub listens", || {
            let status = self.status()?;
            (status["pid"] == pid).then(|| status["listen"].as_str()?.rsplit_once(':')?.1.parse().ok())?
        });
    }

    fn status(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path("state/status.json")).ok()?).ok()
    }

    /// A counter, once it has a value.
    fn counted(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        until(name, || self.status()?["counters"][name].as_u64().filter(|count| wanted(*count)));
    }

    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Sends a request as it is; returns the number of the status, the head, and the body.
    fn send(&self, request: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // What is refused may be so before it was all sent.
        let _ = stream.write_all(request);
        receive(&mut stream)
    }

    /// Calls by a body of XML; the answer's body.
    fn call(&self, headers: &str, body: &str) -> String {
        let (status, head, answer) = self.send(post(headers, body).as_bytes());
        assert_eq!(status, 200, "{head}");
        String::from_utf8(answer).unwrap()
    }

    fn add(&self, headers: &str, hosts: &[&str]) -> String {
        self.call(headers, &add_hosts(hosts))
    }

    fn new_hosts(&self, headers: &str, since: u64, threshold: u32, resiliency: u64) -> (u64, Vec<String>) {
        let answer = self.call(headers, &get_new_hosts(since, threshold, resiliency));
        let timestamp = between(&answer, "<name>timestamp</name>\n<value><string>", "</string>")[0].parse().unwrap();
        let array = answer.split_once("<array>").unwrap().1;
        (timestamp, between(array, "<string>", "</string>"))
    }

    fn client(&self, name: &str, url: &str, more: &[&str]) -> String {
        let work_dir = self.path(name);
        fs::create_dir_all(&work_dir).unwrap();
        let output = Command::new("python3")
            .arg(kit::data("sync/client.py"))
            .args([url, work_dir.to_str().unwrap()])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn add_hosts(hosts: &[&str]) -> String {
    let hosts: String = hosts.iter().map(|host| format!("<value><string>{host}</string></value>\n")).collect();
    format!(
        "<?xml version='1.0'?>\n<methodCall>\n<methodName>add_hosts</methodName>\n<params>\n<param>\n<value><array><data>\n\
         {hosts}</data></array></value>\n</param>\n</params>\n</methodCall>\n"
    )
}

fn get_new_hosts(since: u64, threshold: u32, resiliency: u64) -> String {
    let int = |number: u64| format!("<param><value><string>{number}</string></value></param>");
    format!(
        "<methodCall><methodName>get_new_hosts</methodName><params>{}{}<param><value><array><data></data></array></value>\
         </param>{}</params></methodCall>",
        int(since),
        int(threshold.into()),
        int(resiliency)
    )
}

/// Reads an answer, whose length its head says or the end of the connection.
fn receive(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let mut all = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let end = all.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&all[..end]).into_owned();
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if length.is_some_and(|length: usize| all.len() >= end + 4 + length) {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, head, all[end + 4..].to_vec());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return (0, String::from_utf8_lossy(&all).into_owned(), Vec::new()),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
        }
    }
}

fn between(text: &str, before: &str, after: &str) -> Vec<String> {
    text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap().to_owned()).collect()
}

const DONE: &str = "<value><int>0</int></value>";

#[test]
fn clients_of_denyhosts_share_what_they_deny() {
    let hub = Hub::started("proxies = [\"127.0.0.1\"]");
    let url = format!("http://127.0.0.1:{}", hub.port);
    for (name, address) in [("a", "198.51.100.1"), ("b", "198.51.100.2"), ("c", "198.51.100.3")] {
        fs::create_dir_all(hub.path(name)).unwrap();
        fs::write(hub.path(name).join("sync-hosts"), "192.0.2.1\n2001:db8::1\n").unwrap();
        let own = format!("192.0.2.{}\n", 10 + address.len() + name.len());
        fs::write(hub.path(name).join("sync-hosts"), format!("192.0.2.1\n2001:db8::1\n{own}")).unwrap();
        let told = hub.client(name, &url, &["3", "0", &format!("X-Real-IP={address}")]);
        assert!(told.starts_with("received 0 new hosts\n"), "its own are not told: {told}");
        assert!(!hub.path(name).join("sync-hosts").exists());
    }
    // One more, by http://NAME and /RPC2 as Python makes it of that; it has sent nothing.
    hub.client("d", &url, &["3", "0", "X-Real-IP=198.51.100.4"]);
    let received = fs::read_to_string(hub.path("d/sync-received")).unwrap();
    let mut received: Vec<_> = received.lines().collect();
    received.sort_unstable();
    received.dedup();
    assert_eq!(received, ["192.0.2.1", "192.0.2.23", "2001:db8::1"]);
    let stamp: i64 = fs::read_to_string(hub.path("d/sync-timestamp")).unwrap().parse().unwrap();
    assert!((kit::now().as_second() - stamp).abs() <= 5);
}

/// Requests and answers of `tests/data/sync`, as Python's own client and server wrote them.
#[test]
fn recorded_requests_are_answered_as_recorded() {
    let hub = Hub::started("");
    let recorded = |name: &str| fs::read(kit::data(&format!("sync/{name}"))).unwrap();
    let check = |name: &str, want: &dyn Fn(&str) -> String| {
        let (status, head, body) = hub.send(&recorded(&format!("{name}.request")));
        let answer = String::from_utf8(recorded(&format!("{name}.answer"))).unwrap();
        let answer = answer.split_once("\r\n\r\n").unwrap().1;
        assert_eq!((status, String::from_utf8(body).unwrap()), (200, want(answer)), "{name}");
        assert!(head.to_lowercase().contains("content-type: text/xml"), "{head}");
    };
    check("add_hosts", &str::to_owned);
    check("add_hosts-fault", &str::to_owned);
    let at = hub.new_hosts("", 0, 3, 0).0;
    // It may be a second later by then.
    let now = |answer: &str, now: u64| answer.replace("1700000000", &now.to_string());
    let request = recorded("get_new_hosts-none.request");
    let (_, _, body) = hub.send(&request);
    let answer = String::from_utf8(recorded("get_new_hosts-none.answer")).unwrap();
    let answer = answer.split_once("\r\n\r\n").unwrap().1;
    let body = String::from_utf8(body).unwrap();
    assert!((at..at + 5).any(|at| now(answer, at) == body), "{body}");
    // What came before the bad one is recorded.
    assert_eq!(hub.new_hosts("", 0, 1, 18_000).1, ["192.0.2.6", "2001:db8::6"]);
    let (status, _, body) = hub.send(&recorded("version_report.request"));
    assert!(status == 200 && String::from_utf8(body).unwrap().contains(DONE), "no fault, as nothing is kept");
}

#[test]
fn long_answers_are_compressed_for_who_takes_that() {
    let hub = Hub::started("");
    let hosts: Vec<_> = (1..=50).map(|number| format!("192.0.2.{number}")).collect();
    hub.add("", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    let request = fs::read(kit::data("sync/gzip.request")).unwrap();
    let (status, head, body) = hub.send(&request);
    assert!(status == 200 && head.to_lowercase().contains("content-encoding: gzip") && body.len() < 1000, "{head}");
    let mut text = String::new();
    let script = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&body).unwrap();
    python.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(python.wait().unwrap().success());
    for host in &hosts {
        assert!(text.contains(&format!("<string>{host}</string>")), "{host}");
    }
    for refuses in ["", "Accept-Encoding: identity\r\n", "Accept-Encoding: deflate, gzip;q=0\r\n"] {
        assert_eq!(hub.new_hosts(refuses, 0, 1, 0).1.len(), 50, "{refuses}");
    }
    // And Python's client takes it.
    let told = hub.client("a", &format!("http://127.0.0.1:{}", hub.port), &["1", "0"]);
    assert!(told.contains("received 50 new hosts"), "{told}");
}

#[test]
fn what_is_wrong_is_a_fault() {
    let hub = Hub::started("");
    let check = |body: &str, code: i64, text: &str| {
        let answer = hub.call("", body);
        assert!(answer.contains(&format!("<int>{code}</int>")) && answer.contains(text), "{body}: {answer}");
    };
    check(&add_hosts(&["10.0.0.1"]), 101, "Illegal IP address \"10.0.0.1\".");
    check(&add_hosts(&["192.0.2.1; echo"]), 101, "Illegal IP address \"192.0.2.1; echo\".");
    check(&get_new_hosts(0, 1, 0).replace("<data>", "<data><value>fe80::1</value>"), 101, "fe80::1");
    check(&get_new_hosts(0, 1, 0).replace("<string>1</string>", "<string>one</string>"), 102, "Illegal parameters.");
    check(&get_new_hosts(u64::MAX, 1, 0), 103, "Illegal timestamp.");
    let now = u64::try_from(kit::now().as_second()).unwrap();
    check(&get_new_hosts(now + 3600, 1, 0), 103, "Illegal timestamp.");
    let many: Vec<_> = (0..10_001).map(|number| format!("198.18.{}.{}", number / 250, number % 250)).collect();
    check(&add_hosts(&many.iter().map(String::as_str).collect::<Vec<_>>()), 104, "send 10000 at most");
    check("<methodCall><methodName>debug.list_all_hosts</methodName></methodCall>", 8001, "debug.list_all_hosts");
    check("<methodCall>", 8002, "deserialize");
    check("\u{fffd}", 8002, "deserialize");
    assert_eq!(hub.new_hosts("", 0, 1, 0).1, [""; 0]);
    let status = |request: &str| hub.send(request.as_bytes()).0;
    assert_eq!(status("GET /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
    assert_eq!(status("GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_eq!(status(&post("Content-Encoding: gzip\r\n", "x")), 415);
    assert_eq!(status("POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"), 413);
    let rates = Hub::started("requests_per_minute = 3");
    let all: Vec<_> = (0..8).map(|_| rates.send(post("", &add_hosts(&[])).as_bytes()).0).collect();
    assert!(all.contains(&200) && all.contains(&429), "{all:?}");
    let hosts = Hub::started("hosts_per_hour = 2");
    assert!(hosts.add("", &["192.0.2.1", "192.0.2.2"]).contains(DONE));
    assert!(hosts.add("", &["192.0.2.3"]).contains("<int>104</int>"));
}

#[test]
fn a_hub_that_others_reach_says_who_may_ask() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let output = Hub::new(&format!("listen = \"{listen}\"")).verb(&[]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("from = ") && told.contains("tokens = ") && told.contains("public = true"), "{told}");
    }
    let hub = Hub::started("from = [\"192.0.2.0/24\"]");
    assert_eq!(hub.send(post("", &add_hosts(&["192.0.2.1"])).as_bytes()).0, 403);
    let first = Hub::started("");
    let second = first.verb(&[]).output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("a hub runs with"), "{second:?}");
}

/// A stranger holds few connections, and none once he is turned away.
#[test]
fn a_stranger_holds_no_connections() {
    let hub = Hub::started("from = [\"192.0.2.0/24\"]");
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", hub.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let mut stream = connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(receive(&mut stream).0, 403);
    // Before the 15 s that a head may take.
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed");
    let mut all: Vec<_> = (0..40).map(|_| connect()).collect();
    hub.counted("over_connections", |count| (7..=8).contains(&count));
    // The last one was closed, the first one waits for a head.
    assert!(matches!(all[39].read(&mut [0; 1]), Ok(0) | Err(_)));
    all[0].set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(all[0].read(&mut [0; 1]).is_err());
}

/// A stranger who sends `X-Real-IP` is one reporter, whatever he writes there.
#[test]
fn a_forged_address_makes_no_reporter() {
    let hub = Hub::started("");
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        hub.add(&format!("X-Real-IP: {address}\r\n"), &["192.0.2.1"]);
    }
    assert_eq!((hub.new_hosts("", 0, 2, 0).1.len(), hub.new_hosts("", 0, 1, 0).1.len()), (0, 1));
    let behind = Hub::started("proxies = [\"127.0.0.1\"]");
    for address in ["198.51.100.1", "198.51.100.2", "2001:db8:1:2::3", "2001:db8:1:4::5"] {
        behind.add(&format!("X-Real-IP: {address}\r\n"), &["192.0.2.1"]);
    }
    // The last two are of one /48.
    assert_eq!((behind.new_hosts("", 0, 3, 0).1.len(), behind.new_hosts("", 0, 4, 0).1.len()), (1, 0));
}

const TOKENS: &str = "alpha AAAAAAAAAAAAAAAAAAAAAAAA\nbeta BBBBBBBBBBBBBBBBBBBBBBBB\n";

fn with_tokens(more: &str) -> Hub {
    use std::os::unix::fs::PermissionsExt as _;
    let mut hub = Hub::new(&format!("tokens = \"DIR/tokens\"\n{more}"));
    fs::write(hub.path("tokens"), TOKENS).unwrap();
    fs::set_permissions(hub.path("tokens"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = hub.verb(&[]).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stderr).contains("chmod 600"), "{told:?}");
    fs::set_permissions(hub.path("tokens"), fs::Permissions::from_mode(0o600)).unwrap();
    hub.start();
    hub
}

#[test]
fn a_token_is_who_reports() {
    let hub = with_tokens("");
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let (alpha, beta) = (bearer("AAAAAAAAAAAAAAAAAAAAAAAA"), bearer("BBBBBBBBBBBBBBBBBBBBBBBB"));
    hub.add(&alpha, &["192.0.2.1"]);
    hub.add(&alpha, &["192.0.2.1"]);
    assert_eq!(hub.new_hosts(&alpha, 0, 2, 0).1.len(), 0);
    // As Python sends http://NAME:TOKEN@HOST.
    let url = format!("http://any:BBBBBBBBBBBBBBBBBBBBBBBB@127.0.0.1:{}/RPC2", hub.port);
    fs::create_dir_all(hub.path("b")).unwrap();
    fs::write(hub.path("b/sync-hosts"), "192.0.2.1\n").unwrap();
    hub.client("b", &url, &["1", "0"]);
    assert_eq!(hub.new_hosts(&beta, 0, 2, 0).1, ["192.0.2.1"]);
    let status = |headers: &str| hub.send(post(headers, &add_hosts(&["192.0.2.2"])).as_bytes()).0;
    for none in [
        bearer("AAAAAAAAAAAAAAAAAAAAAAAB"),
        bearer(""),
        "Authorization: Basic ====\r\n".into(),
        "Authorization: x\r\n".into(),
    ] {
        assert_eq!(status(&none), 401, "{none}");
    }
    assert_eq!(status(""), 403);
    assert_eq!(hub.new_hosts(&beta, 0, 1, 0).1, ["192.0.2.1"]);
}

/// R26: who reports is shown and handed out to nobody but who may read the database.
#[test]
fn who_reports_is_never_told() {
    let mut hub = with_tokens("from = [\"198.51.100.0/24\", \"2001:db8:77::/48\"]\nproxies = [\"127.0.0.1\"]");
    let token = "Authorization: Bearer AAAAAAAAAAAAAAAAAAAAAAAA\r\n";
    let (four, six) = ("X-Real-IP: 198.51.100.77\r\n", "X-Real-IP: 2001:db8:77::7\r\n");
    for reporter in [token, four, six] {
        hub.add(reporter, &["192.0.2.1", "192.0.2.2"]);
    }
    let mut all = Vec::new();
    for asker in [token, four, six] {
        for threshold in 1..4 {
            all.push(hub.call(asker, &get_new_hosts(0, threshold, 0)));
        }
        all.push(hub.add(asker, &["nobody"]));
        all.push(hub.call(asker, "<methodCall><methodName>list_reporters</methodName></methodCall>"));
    }
    hub.counted("get_new_hosts", |count| count >= 9);
    all.push(fs::read_to_string(hub.path("state/status.json")).unwrap());
    all.push(String::from_utf8(hub.verb(&["status"]).output().unwrap().stdout).unwrap());
    hub.stop();
    all.push(fs::read_to_string(hub.path("log")).unwrap());
    // The figures of the page are made at the start.
    hub.start();
    for asker in [token, four, six] {
        all.push(until("the page has the hosts", || {
            let (status, head, body) = hub.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{asker}\r\n").as_bytes());
            let page = head + &String::from_utf8(body).unwrap();
            assert!(status == 200 && page.contains("content-security-policy: default-src 'none'"), "{page}");
            page.contains("192.0.2.2").then_some(page)
        }));
    }
    for text in &all {
        for secret in ["198.51.100.77", "2001:db8:77", "alpha", "AAAAAAAA", "127.0.0.1/32"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    assert!(all.iter().filter(|text| text.contains("192.0.2.1")).count() > 6, "they are looked at");
    let database = fs::read(hub.path("state/hub.db")).unwrap();
    let has = |text: &str| database.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("net:198.51.100.77/32") && has("token:alpha") && !has("AAAAAAAA"));
}

#[test]
fn more_hosts_than_an_answer_has_come_without_loss() {
    let hub = Hub::started("hosts_per_hour = 1000000");
    let name = |number: usize| format!("2001:db8:{:x}::{:x}", number / 5000, number % 5000);
    for part in 0..5 {
        let hosts: Vec<_> = (part * 5000..(part + 1) * 5000).map(name).collect();
        assert!(hub.add("", &hosts.iter().map(String::as_str).collect::<Vec<_>>()).contains(DONE));
    }
    let told = hub.client("a", &format!("http://127.0.0.1:{}", hub.port), &["1", "0"]);
    let received = fs::read_to_string(hub.path("a/sync-received")).unwrap();
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap();
    let all: std::collections::HashSet<_> = received.lines().map(address).collect();
    let wanted: std::collections::HashSet<_> = (0..25_000).map(|number| address(&name(number))).collect();
    assert!(all == wanted, "{} of them: {told}", all.len());
    // Each second whole, and none of them larger than what an answer has.
    assert!(told.lines().count() >= 3, "{told}");
}

#[test]
fn what_a_hub_knows_lasts_and_is_copied_while_it_runs() {
    let mut hub = Hub::started("");
    hub.add("", &["192.0.2.1", "2001:db8::1"]);
    let copy = hub.path("copy");
    let backup = |hub: &Hub| hub.verb(&["backup", copy.to_str().unwrap()]).output().unwrap();
    assert!(backup(&hub).status.success());
    assert!(!backup(&hub).status.success(), "it is there already");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    hub.add("", &["192.0.2.2"]);
    // Killed: what was answered is there.
    let mut child = hub.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let status = hub.verb(&["status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(1), "it is known at once: {status:?}");
    hub.start();
    assert_eq!(hub.new_hosts("", 0, 1, 0).1.len(), 3);
    assert!(hub.verb(&["status"]).output().unwrap().status.success());
    hub.stop();
    for rest in ["-wal", "-shm"] {
        let _ = fs::remove_file(hub.path(&format!("state/hub.db{rest}")));
    }
    fs::copy(&copy, hub.path("state/hub.db")).unwrap();
    hub.start();
    let mut hosts = hub.new_hosts("", 0, 1, 0).1;
    hosts.sort();
    assert_eq!(hosts, ["192.0.2.1", "2001:db8::1"]);
}

/// What a server of denyhosts_sync knew, in its SQLite and in a dump of its MySQL, made by hand.
#[test]
fn what_denyhosts_sync_knew_is_taken_over() {
    let now = u64::try_from(kit::now().as_second()).unwrap();
    let old = now - 10 * 86_400;
    let date = (kit::now() - jiff::SignedDuration::from_hours(240)).strftime("%Y-%m-%d").to_string();
    let crackers = format!(
        "(1,'192.0.2.1',{old},{now},7,2,864000),(2,'192.0.2.2',{old},{old},1,1,0),(3,'10.0.0.1',{old},{old},1,1,0),\
         (4,'192.0.2.4',{old},{old},1,0,0)"
    );
    let reports = format!(
        "(1,1,'198.51.100.1',{old},{old}),(2,1,'198.51.100.2',{now},{now}),(3,2,'198.51.100.1',{old},{old}),\
         (4,3,'198.51.100.1',{old},{old}),(5,1,'x''; DROP',{old},{old}),(6,99,'198.51.100.1',{old},{old})"
    );
    let tables = "CREATE TABLE crackers (id INTEGER PRIMARY KEY, ip_address CHAR(15), first_time INTEGER, latest_time INTEGER, \
        total_reports INTEGER, current_reports INTEGER, resiliency INTEGER);
        CREATE TABLE reports (id INTEGER PRIMARY KEY, cracker_id INTEGER, ip_address CHAR(15), first_report_time INTEGER, \
        latest_report_time INTEGER);
        CREATE TABLE history (date DATE PRIMARY KEY, num_reports INTEGER, num_contributors INTEGER, num_reported_hosts INTEGER);";
    let rows = format!(
        "INSERT INTO crackers VALUES {crackers};\nINSERT INTO reports VALUES {reports};\n\
         INSERT INTO history VALUES ('{date}',33,4,5);\n"
    );
    let check = |file: &Path, hub: &mut Hub| {
        for _ in 0..2 {
            let output = hub.verb(&["import", file.to_str().unwrap()]).output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{output:?}");
            assert!(
                told.contains("3 hosts, 3 reports, the figures of 1 days") && told.contains("Left out: 4"),
                "{told}"
            );
        }
        hub.start();
        let locked = hub.verb(&["import", file.to_str().unwrap()]).output().unwrap();
        assert!(String::from_utf8_lossy(&locked.stderr).contains("stop it first"), "{locked:?}");
        assert_eq!(hub.new_hosts("", 0, 1, 0).1, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(hub.new_hosts("", 0, 2, 86_400).1, ["192.0.2.1"]);
        assert_eq!(hub.new_hosts("", old + 1, 2, 86_400).1, ["192.0.2.1"]);
    };
    let mut from_sqlite = Hub::new("");
    let file = from_sqlite.path("denyhosts.sqlite");
    let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.executescript(sys.argv[2])";
    let made = Command::new("python3").args(["-c", script]).arg(&file).arg(format!("{tables}{rows}")).status().unwrap();
    assert!(made.success());
    check(&file, &mut from_sqlite);

    let mut from_dump = Hub::new("");
    let file = from_dump.path("denyhosts.sql");
    let head = "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS `crackers`;\n";
    let created = "CREATE TABLE `crackers` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `ip_address` char(15) DEFAULT NULL,\n  \
        `first_time` int(11) DEFAULT NULL,\n  `latest_time` int(11) DEFAULT NULL,\n  `total_reports` int(11) DEFAULT NULL,\n  \
        `current_reports` int(11) DEFAULT NULL,\n  `resiliency` int(11) DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  \
        UNIQUE KEY `cracker_ip_address` (`ip_address`)\n) ENGINE=InnoDB;\nLOCK TABLES `crackers` WRITE;\n";
    fs::write(&file, format!("{head}{created}{}", rows.replace("x''; DROP", "x\\'; DROP"))).unwrap();
    check(&file, &mut from_dump);

    let nothing = Hub::new("");
    let output = nothing.verb(&["import", kit::data("sync/client.py").to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("no table `crackers`"), "{output:?}");
}

#[test]
fn https_is_served_with_a_certificate() {
    let mut hub = Hub::new("certificate = \"DIR/cert\"\nkey = \"DIR/key\"");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(hub.path("cert"), made.cert.pem()).unwrap();
    fs::write(hub.path("key"), made.signing_key.serialize_pem()).unwrap();
    hub.start();
    fs::create_dir_all(hub.path("a")).unwrap();
    fs::write(hub.path("a/sync-hosts"), "192.0.2.1\n").unwrap();
    let url = format!("https://localhost:{}", hub.port);
    let ca = format!("ca={}", hub.path("cert").display());
    hub.client("a", &url, &["1", "0", &ca]);
    assert!(hub.client("b", &url, &["1", "0", &ca]).contains("received 1 new hosts"));
    // Who does not speak it is closed, and harms nobody.
    assert_eq!(hub.send(post("", &add_hosts(&["192.0.2.2"])).as_bytes()).0, 0);
    hub.counted("broken", |count| count == 1);
}

/// 1000 of them, and 10 000 of a long run.
#[test]
fn hostile_requests_cost_no_crash_no_memory_and_no_row() {
    // A proxy, which may hold as many connections as there are.
    let hub = Hub::started("proxies = [\"127.0.0.1\"]");
    hub.add("", &["192.0.2.1"]);
    // Slow ones hold their connections all the while.
    let slow: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", hub.port)).unwrap();
            let head = match number % 3 {
                0 => "POST /RPC2 HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
                1 => "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n<methodCall>".to_owned(),
                _ => {
                    format!("POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(100_000))
                }
            };
            let _ = stream.write_all(head.as_bytes());
            stream
        })
        .collect();
    let total = 1000 * kit::longer();
    let began = Instant::now();
    kit::property("hub-hostile", 1, |random| {
        let mut bodies = vec![
            "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]><methodCall><methodName>&b;</methodName></methodCall>".to_owned(),
            format!("<methodCall><methodName>x</methodName><params><param>{}", "<value><array><data>".repeat(50_000)),
            "<".repeat(1_000_000),
            "<a>".repeat(300_000),
            format!("<methodCall><methodName>{}</methodName></methodCall>", "A".repeat(1_000_000)),
            add_hosts(&[]).replace("<data>\n", &format!("<data>{}", "<value/>".repeat(120_000))),
            add_hosts(&["10.0.0.1", "192.0.2.9"]),
            add_hosts(&["\u{1b}[31m", "192.0.2.9"]),
            add_hosts(&["192.0.2.9/24", "$(reboot)"]),
            get_new_hosts(u64::MAX, u32::MAX, u64::MAX),
            get_new_hosts(0, u32::MAX, u64::MAX),
            get_new_hosts(0, 1, 0).replace("0", "-1e400"),
            "\0\u{1}\u{2}".to_owned(),
            String::new(),
        ];
        let recorded = fs::read_to_string(kit::data("sync/get_new_hosts.request")).unwrap();
        bodies.push(recorded.split_once("\r\n\r\n").unwrap().1.to_owned());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let mut random = kit::Random::seeded(random.number());
                let (bodies, hub) = (&bodies, &hub);
                scope.spawn(move || {
                    for _ in 0..total / 8 {
                        let mut body = bodies[random.below(bodies.len())].clone().into_bytes();
                        // Some are damaged on their way; none of the hosts in them can come of that.
                        if random.one_in(2) && !body.is_empty() {
                            let place = random.below(body.len());
                            body[place] = b'<';
                        }
                        let forged = format!("X-Real-IP: 198.51.100.{}\r\n", random.below(256u32));
                        let mut request = match random.below(6u32) {
                            0 => format!(
                                "POST /RPC2 HTTP/1.1\r\nHost: x\r\n{forged}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                                body.len()
                            ),
                            1 => format!(
                                "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nContent-Length: 5\r\n\r\n",
                                body.len()
                            ),
                            2 => format!(
                                "POST /RPC2 HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
                                "h".repeat(random.below(40_000))
                            ),
                            3 => format!("POST /{} HTTP/9.9\r\n\r\n", "../".repeat(random.below(1000))),
                            _ => format!(
                                "POST /RPC2 HTTP/1.1\r\nHost: x\r\n{forged}Content-Length: {}\r\n\r\n",
                                body.len()
                            ),
                        }
                        .into_bytes();
                        request.extend(&body);
                        let mut stream = TcpStream::connect(("127.0.0.1", hub.port)).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                        let _ = stream.write_all(&request);
                        // One in four hangs up at once, the others once they have sent all.
                        if !random.one_in(4) {
                            let _ = stream.shutdown(std::net::Shutdown::Write);
                            let mut answer = [0; 64];
                            let _ = stream.read(&mut answer);
                        }
                    }
                });
            }
        });
    });
    eprintln!("{total} hostile requests in {:?}, at most {} KiB", began.elapsed(), hub.memory_peak_kib());
    drop(slow);
    assert!(hub.memory_peak_kib() < 128 * 1024, "{} KiB", hub.memory_peak_kib());
    // Alive, and with the row that it had.
    assert_eq!(hub.new_hosts("", 0, 1, 0).1, ["192.0.2.1"]);
    let status =
        until("a status of afterwards", || hub.status().filter(|it| it["counters"]["unread"].as_u64() > Some(10)));
    assert_eq!((&status["hosts"], &status["reporters"]), (&Value::from(1), &Value::from(1)), "{status}");
}
