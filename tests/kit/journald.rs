//! A real systemd-journald in a box.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const SOCKET: &str = "/run/systemd/journal/socket";
const IN_BOX: &str = "INPUTS_TEST_IN_BOX";

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test runs in a box. If not, runs it in one, and fails as it does.
pub fn in_box(test: &str) -> bool {
    if std::env::var_os(IN_BOX).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        super::skip(test, "only root can make namespaces");
        return false;
    }
    if !Path::new(JOURNALD).exists() || super::program("journalctl").is_none() || super::program("logger").is_none() {
        super::skip(test, "systemd and logger are not here");
        return false;
    }
    let state = tempfile::tempdir().unwrap();
    let script = super::root().join("tests/kit/box.sh");
    let output = Command::new("timeout")
        .args(["-k", "5", "150"])
        .arg(script)
        .arg(state.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(IN_BOX, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(output.status.success(), "in the box: {}\n{}", output.status, text(&output.stderr));
    false
}

/// A journald that runs in our box.
pub struct Journald(Child);

impl Journald {
    /// Starts it, with the persistent journal on or not yet.
    pub fn start() -> Self {
        fs::write(
            "/etc/systemd/journald.conf",
            "[Journal]\nStorage=persistent\nCompress=yes\nSeal=no\nSyncIntervalSec=1s\nRateLimitIntervalSec=0\n\
             SystemMaxUse=64M\nSystemMaxFileSize=2M\nRuntimeMaxUse=64M\nRuntimeMaxFileSize=2M\nForwardToSyslog=no\n\
             ForwardToWall=no\nAudit=no\nReadKMsg=no\nMaxLevelStore=debug\n",
        )
        .unwrap();
        if !Path::new("/run/machine-id").exists() {
            let id = run(Command::new("systemd-id128").arg("new"));
            fs::write("/run/machine-id", &id).unwrap();
            fs::write("/etc/machine-id", &id).unwrap();
        }
        fs::create_dir_all("/var/log/journal").unwrap();
        let _ = fs::remove_file(SOCKET);
        let child = Command::new(JOURNALD).stderr(Stdio::null()).spawn().unwrap();
        until("journald listens", || UnixDatagram::unbound().unwrap().connect(SOCKET).is_ok());
        Journald(child)
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs a command that must succeed, and returns what it prints.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs `journalctl` with these arguments.
pub fn journalctl(arguments: &[&str]) -> Vec<u8> {
    run(Command::new("journalctl").args(arguments))
}

/// Runs `logger` as a user.
pub fn logger(uid: u32, arguments: &[&str]) {
    run(Command::new("logger").uid(uid).args(arguments));
}

/// Waits for a condition, not for ever.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// Sends entries by journald's own protocol.
pub struct Sender(UnixDatagram);

impl Sender {
    pub fn new() -> Self {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(SOCKET).unwrap();
        Sender(socket)
    }

    pub fn send(&self, identifier: &str, message: &str) {
        let text = format!("SYSLOG_IDENTIFIER={identifier}\nPRIORITY=6\nMESSAGE={message}\n");
        self.0.send(text.as_bytes()).unwrap();
    }
}
