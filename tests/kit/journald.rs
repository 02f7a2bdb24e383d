//! A real systemd-journald in a box.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether the test runs in a box of its own, with all that a journald needs; if not, runs it in one.
pub fn in_box(test: &str) -> bool {
    if let Some(missing) = ["journalctl", "logger"].iter().find(|name| crate::program(name).is_none()) {
        crate::skip(test, &format!("no {missing}"));
        return false;
    }
    if !Path::new(JOURNALD).exists() {
        crate::skip(test, "no systemd-journald");
        return false;
    }
    crate::in_box(test)
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
        crate::until("journald listens", || UnixDatagram::unbound().unwrap().connect(SOCKET).ok());
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
