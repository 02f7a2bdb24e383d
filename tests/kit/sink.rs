//! A mail server, and a web server, that keep what they are sent.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::until;

/// The mail server, a web server that takes what is posted, and one with which denied hosts are shared.
const SCRIPTS: [&str; 3] = [include_str!("smtp_sink.py"), include_str!("http_sink.py"), include_str!("sync_server.py")];

/// A mail server in a directory of its own, at a port of 127.0.0.1. It ends when it is dropped.
pub struct Sink {
    dir: tempfile::TempDir,
    server: Child,
    mode: String,
    script: &'static str,
}

/// A mail that came.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its headers, unfolded, and before them `X-From` and `X-To` of its envelope.
    pub headers: Vec<(String, String)>,
    /// Its text as it was sent.
    pub body: String,
}

impl Mail {
    /// The value of a header, which is there once.
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<_> = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        &found[0].1
    }
}

impl Sink {
    /// One without TLS.
    pub fn new() -> Self {
        Sink::with("none", None)
    }

    /// One that is `none`, `starttls` or `implicit`, with a certificate and its key, in PEM.
    pub fn with(mode: &str, identity: Option<(&str, &str)>) -> Self {
        Sink::of(SCRIPTS[0], mode, identity)
    }

    /// A web server: `none` or `tls`. What is posted to it is the body of a mail, and its path the header `Path`.
    pub fn of_web(mode: &str, identity: Option<(&str, &str)>) -> Self {
        Sink::of(SCRIPTS[1], mode, identity)
    }

    /// A server with which denied hosts are shared, as DenyHosts had them: `none` or `tls`. Files in its directory say what it
    /// does; see `sync_server.py`.
    pub fn of_sync(mode: &str, identity: Option<(&str, &str)>) -> Self {
        Sink::of(SCRIPTS[2], mode, identity)
    }

    /// What it was called with: a value of JSON for each call, in their order.
    pub fn calls(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn of(script: &'static str, mode: &str, identity: Option<(&str, &str)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some((certificate, key)) = identity {
            fs::write(dir.path().join("certificate"), certificate).unwrap();
            fs::write(dir.path().join("key"), key).unwrap();
        }
        let server = begin(script, &dir, "0", mode);
        Sink { dir, server, mode: mode.to_owned(), script }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn port(&self) -> u16 {
        fs::read_to_string(self.path("port")).unwrap().parse().unwrap()
    }

    /// Ends the server; nobody listens at its port until it begins again.
    pub fn stop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Begins again at the same port.
    pub fn begin_again(&mut self) {
        let port = self.port().to_string();
        fs::remove_file(self.path("port")).unwrap();
        self.server = begin(self.script, &self.dir, &port, &self.mode);
    }

    /// All mails, in the order in which they came.
    pub fn mails(&self) -> Vec<Mail> {
        let texts = (1..).map_while(|number| fs::read_to_string(self.path(&format!("{number}.eml"))).ok());
        texts.map(|text| parse(&text)).collect()
    }

    /// Waits until there are so many mails.
    pub fn wait(&self, mails: usize) -> Vec<Mail> {
        until("the mail comes", || Some(self.mails()).filter(|all| all.len() >= mails))
    }
}

impl Default for Sink {
    fn default() -> Self {
        Sink::new()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn begin(script: &str, dir: &tempfile::TempDir, port: &str, mode: &str) -> Child {
    let path = dir.path();
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(path).args([port, mode]).arg(path.join("certificate")).arg(path.join("key"));
    let server = command.stdin(Stdio::null()).spawn().unwrap();
    until("the mail server listens", || path.join("port").exists().then_some(()));
    server
}

fn parse(text: &str) -> Mail {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    Mail {
        headers: unfolded.split("\r\n").map(header).collect(),
        body: body.replace("=\r\n", "").replace("\r\n", "\n"),
    }
}
