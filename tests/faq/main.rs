//! What DenyHosts' FAQ promises, entry by entry: somebody follows what it says, with DenyHosts' configuration, and gets it.
//! The entries about people, downloads and Python are not among them.
//!
//! Without root. What an entry promises is told in a line above its test; how things work beyond that is tested elsewhere.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

mod configuring;
mod general;
mod sharing;
mod using;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use kit::{Daemon, Home};
use serde_json::Value;

/// What each of these has; a key that comes again holds.
const CONF: &str = "SECURE_LOG = DIR/log\nHOSTS_DENY = DIR/hosts.deny\nWORK_DIR = DIR/work\nETC_DIR = DIR/etc\n\
                    LOCK_FILE = DIR/lock\nBLOCK_SERVICE = sshd\nPURGE_DENY = 4w\nADMIN_EMAIL =\nDENY_THRESHOLD_INVALID = 2\n\
                    DENY_THRESHOLD_VALID = 3\nDENY_THRESHOLD_ROOT = 1\n";

/// A directory with a `denyhosts.conf`, the files that it names, and what denyd makes of it.
struct Site {
    home: Home,
}

impl Site {
    /// With these further lines in its `denyhosts.conf`; `DIR` in them is the directory.
    fn new(lines: &str) -> Self {
        Site::with(lines, &[])
    }

    /// The same with files that are there before.
    fn with(lines: &str, files: &[(&str, &str)]) -> Self {
        let site = Site { home: Home::new("") };
        fs::write(site.home.log(), "").unwrap();
        for (name, text) in files {
            site.write(name, text);
        }
        site.configure(lines);
        site
    }

    /// Has denyd go by these lines from now on: by what `import` makes of them, but that what is denied stands in hosts.deny
    /// alone, that all is below the directory, and that nobody waits a minute for mail.
    fn configure(&self, lines: &str) {
        self.write("denyhosts.conf", &format!("{CONF}{lines}"));
        let (code, toml, err) = self.denyd(&["import", self.path("denyhosts.conf").to_str().unwrap()]);
        assert_eq!(code, Some(0), "{err}");
        let (before, after) = toml.split_once("backends = [").unwrap();
        let toml = format!("{before}backends = [\"hosts.deny\"]{}", &after[after.find('\n').unwrap()..])
            .replacen("kind = \"file\"\n", "kind = \"file\"\nfirst_read = \"beginning\"\n", 1)
            .replacen("[mail]\n", "[mail]\nfirst_within = \"1s\"\n", 1);
        let own = "state_dir = \"DIR/state\"\ncontrol_socket = \"DIR/control\"\nrules_dir = \"DIR/rules.d\"\nspare_machine = false\n";
        self.write("config", &(own.to_owned() + &toml));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }

    fn write(&self, name: &str, text: &str) {
        let (path, dir) = (self.path(name), self.home.path("").display().to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("DIR/", &dir)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A verb of denyd: its exit status and what it says.
    fn denyd(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        told(&mut self.home.denyd(arguments))
    }

    /// The program under the name `denyhosts.py`, with these options.
    fn denyhosts(&self, options: &[&str]) -> (Option<i32>, String, String) {
        told(kit::denyd(&["-c", self.path("config").to_str().unwrap()]).args(options).arg0("denyhosts.py"))
    }

    /// The same; it must end well and say nothing.
    #[track_caller]
    fn quiet(&self, options: &[&str]) {
        assert_eq!(self.denyhosts(options), (Some(0), String::new(), String::new()), "{options:?}");
    }

    /// The program under the name `daemon-control`.
    fn control(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let config = format!("--config={}", self.path("config").display());
        told(kit::denyd(words).arg(config).arg0("daemon-control"))
    }

    fn log(&self, lines: &str) {
        self.home.append(lines.as_bytes());
    }

    fn start(&self) -> Daemon<'_> {
        self.home.start()
    }

    /// The addresses in hosts.deny, in order, without the service.
    fn denied(&self) -> Vec<String> {
        entries(&self.read("hosts.deny"))
    }

    /// Waits until these stand in hosts.deny, and no other.
    #[track_caller]
    fn wait_denied(&self, want: &[&str]) {
        kit::until_or(&format!("{want:?}"), || self.read("hosts.deny"), || (self.denied() == want).then_some(()));
    }

    /// Whom the log convicts.
    fn scan(&self) -> Value {
        let (code, out, err) = self.denyd(&["scan", "--json", "--all", "--timezone", "UTC"]);
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Their addresses, in the order in which they are denied.
    fn convicted(&self) -> Vec<String> {
        self.scan()["denied"].as_array().unwrap().iter().map(|row| kit::text(&row["prefix"])).collect()
    }

    /// Waits until a file holds this.
    #[track_caller]
    fn wait_file(&self, name: &str, text: &str) {
        kit::until_or(
            &format!("{name} to hold {text:?}"),
            || self.read(name),
            || self.read(name).contains(text).then_some(()),
        );
    }

    /// What libwrap answers an address that comes to sshd, by hosts.allow and hosts.deny of the directory.
    fn libwrap(&self, address: &str) -> Option<String> {
        let Some(program) = kit::program("tcpdmatch") else {
            kit::skip("faq: what libwrap answers", "no tcpdmatch");
            return None;
        };
        let output = Command::new(program).args(["-d", "sshd", address]).current_dir(self.path("")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        Some(said.lines().find_map(|line| line.strip_prefix("access:   ")).unwrap_or(&said).to_owned())
    }
}

/// What a program says when it has ended.
fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What the lines of a hosts.deny that are no comments name, in order, without the service.
fn entries(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut all: Vec<_> = lines.map(|line| line.strip_prefix("sshd: ").unwrap_or(line).to_owned()).collect();
    all.sort();
    all
}

/// A line of sshd's, so many hours ago; each is of a connection of its own.
fn said(hours: i64, message: &str) -> String {
    static PID: AtomicU32 = AtomicU32::new(100);
    let at = (kit::now() - jiff::SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%S+00:00");
    format!("{at} b sshd[{}]: {message}\n", PID.fetch_add(1, Ordering::Relaxed))
}

/// So many wrong passwords of a user from an address, an hour ago. A user without an account is `invalid user NAME`, and sshd
/// says so in a line of its own.
fn wrong(user: &str, address: &str, times: usize) -> String {
    wrong_ago(1, user, address, times)
}

fn wrong_ago(hours: i64, user: &str, address: &str, times: usize) -> String {
    let one = |n| {
        let port = 1024 + n;
        let line = said(hours, &format!("Failed password for {user} from {address} port {port} ssh2"));
        let Some(name) = user.strip_prefix("invalid user ") else { return line };
        let (head, _) = line.split_once("Failed").unwrap();
        format!("{head}Invalid user {name} from {address} port {port}\n{line}")
    };
    (0..times).map(one).collect()
}

/// A good login.
fn good(hours: i64, user: &str, address: &str) -> String {
    said(hours, &format!("Accepted password for {user} from {address} port 1024 ssh2"))
}

/// Lines of a `denyhosts.conf` that have mail sent to a server of the kit's.
fn mail_by(sink: &kit::Sink) -> String {
    format!(
        "ADMIN_EMAIL = root@localhost\nSMTP_HOST = localhost\nSMTP_PORT = {}\nSMTP_FROM = DenyHosts <nobody@example.org>\n",
        sink.port()
    )
}

/// The time so many days ago as DenyHosts wrote it into hosts.deny, by this machine's clock.
fn stamp(days: i64) -> String {
    let at = jiff::Zoned::now() - jiff::SignedDuration::from_hours(24 * days);
    at.strftime("%a %b %e %H:%M:%S %Y").to_string()
}
