//! The programs of a [world](super): daemons, and the clients that attack them.
//!
//! All of them live in the world's namespaces, and end with their value or with the world.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{until, until_or};

/// The server's addresses.
pub const SERVER: &str = "203.0.113.1";
pub const SERVER6: &str = "2001:db8::1";
/// The good admin's address.
pub const ADMIN: &str = "203.0.113.200";
/// A port on which the server accepts anything: connects to it leave nothing in sshd's log.
pub const PORT: u16 = 7777;
/// Nothing here takes so long on a machine that works, however busy it is.
pub const BOUND: Duration = Duration::from_secs(30);

pub const CLIENT: &str = include_str!("client.py");

/// Where a program runs.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Server,
    Attacker,
    Admin,
}

pub fn enter(init: Pid, place: Place, command: &[&str]) -> Command {
    let mut entering = Command::new("nsenter");
    entering.args(["-t", &init.to_string(), "-m", "-u", "-n", "-i", "-p", "-C", "-r", "-w"]);
    match place {
        Place::Server => {}
        Place::Attacker => _ = entering.args(["nsenter", "--net=/run/netns/att"]),
        Place::Admin => _ = entering.args(["nsenter", "--net=/run/netns/att2"]),
    }
    entering.args(command).env_remove("JOURNAL_STREAM").stdin(Stdio::null());
    entering
}

pub fn python() -> &'static str {
    "/usr/bin/python3"
}

/// The process that `parent` started inside; its number outside.
pub fn child_of(parent: u32) -> Pid {
    until("a process to start", || first_child(parent))
}

fn first_child(parent: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next().map(|pid| Pid::from_raw(pid.parse().unwrap()))
}

/// A program of the world, with what it said; killed with this value.
pub struct Process {
    child: Child,
    pid: Pid,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    pub fn new(command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut pipe in pipes {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                    said.lock().unwrap().extend_from_slice(&chunk[..length]);
                }
            });
        }
        let pid = child_of(child.id());
        Process { child, pid, said }
    }

    /// The first process that it started itself.
    pub fn child(&self) -> Option<Pid> {
        first_child(self.pid.as_raw().unsigned_abs())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
        if signal == Signal::SIGCONT {
            // nsenter stops itself with what it waits for
            kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let Process { child, said, .. } = self;
        until_or(
            "a process to end",
            || String::from_utf8_lossy(&said.lock().unwrap()).into_owned(),
            || child.try_wait().unwrap(),
        )
    }

    pub fn is_running(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// What it wrote to stdout and stderr so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    pub fn wait_said(&self, text: &str) {
        until_or(&format!("{text:?} in"), || self.said(), || self.said().contains(text).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child, self.pid);
        if std::thread::panicking() {
            println!("--- process {} said:\n{}", self.pid, self.said());
        }
    }
}

/// A program that answers lines with lines; killed with this value.
struct Talk {
    child: Child,
    pid: Pid,
    asks: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Talk {
    fn new(command: &mut Command) -> Talk {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let pid = child_of(child.id());
        Talk { child, pid, asks: Some(asks), answers }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.asks.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        end(&mut self.child, self.pid);
    }
}

/// A login by the real ssh that lasts, with `cat` at its other end.
pub struct Login(Talk);

impl Login {
    pub(super) fn new(command: &mut Command) -> Login {
        let mut login = Login(Talk::new(command.stderr(Stdio::null())));
        assert!(login.answers(BOUND), "nobody was logged in");
        login
    }

    /// Whether what is said comes back within this time.
    pub fn answers(&mut self, within: Duration) -> bool {
        self.0.say("still there");
        self.0.answers.recv_timeout(within).is_ok()
    }

    /// Ends the session as a person does.
    pub fn leave(mut self) {
        drop(self.0.asks.take());
        until("ssh to end", || self.0.child.try_wait().unwrap());
    }
}

/// `client.py`, on one machine.
pub struct Client {
    init: Pid,
    place: Place,
    talk: Talk,
}

impl Client {
    pub fn new(init: Pid, place: Place) -> Client {
        let talk = Talk::new(&mut enter(init, place, &[python(), "-B", "-c", CLIENT]));
        Client { init, place, talk }
    }

    /// Another one at the same place, to do something else at the same time.
    pub fn another(&self) -> Client {
        Client::new(self.init, self.place)
    }

    /// One wrong password in a connection of its own; asserts that sshd refused it.
    pub fn fail(&mut self, source: &str, user: &str) {
        let answer = self.ask(source, json!({"do": "login", "user": user, "tries": ["wrong"]}));
        assert!(answer[0].as_str().unwrap().starts_with("AuthenticationException"), "{source} {user}: {answer}");
    }

    /// What sshd says first, `closed`, or `silent`.
    pub fn banner(&mut self, source: &str) -> String {
        self.ask(source, json!({"do": "banner"})).as_str().unwrap().to_owned()
    }

    /// What becomes of a login with the right password: `ok`, or why not.
    pub fn login(&mut self, source: &str) -> String {
        let answer = self.ask(source, json!({"do": "login", "user": "tbuser", "tries": ["Tb-Right-1"]}));
        answer[0].as_str().unwrap().to_owned()
    }

    /// Connects again and again to [`PORT`] until the tries are `until`; see [`finish`](Self::finish).
    pub fn hammer(&mut self, source: &str, until: &str) {
        let ask = json!({"do": "hammer", "port": PORT, "until": until, "bound_s": BOUND.as_secs()});
        self.start(source, ask);
    }

    /// Asks a hammer to stop.
    pub fn stop(&mut self) -> Value {
        self.talk.say("");
        self.finish()
    }

    pub fn ask(&mut self, source: &str, ask: Value) -> Value {
        self.start(source, ask);
        self.finish()
    }

    pub fn start(&mut self, source: &str, mut ask: Value) {
        ask["src"] = source.into();
        ask["dst"] = if source.contains(':') { SERVER6 } else { SERVER }.into();
        self.talk.say(&ask.to_string());
    }

    pub fn finish(&mut self) -> Value {
        let answer = self.talk.answers.recv_timeout(BOUND * 2).expect("the client does not answer");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }
}

/// Kills `pid`, which `entering` waits for.
fn end(entering: &mut Child, pid: Pid) {
    if entering.try_wait().is_ok_and(|ended| ended.is_none()) {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = kill(Pid::from_raw(entering.id() as i32), Signal::SIGCONT);
        let _ = entering.wait();
    }
}

/// The end of a process, as `exit N` or `signal N`.
pub fn how(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit {}", status.code().unwrap_or(-1)),
    }
}
