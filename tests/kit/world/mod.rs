//! A world of real programs: a server with sshd, PAM, rsyslogd and denyd, an attacker and a good admin.
//!
//! Promises that all of it is gone with its value, in a panic too, and if the test is killed: it lives in
//! namespaces without a name, whose first process ends when the pipe to it does. Changes nothing outside of them.

mod program;
pub mod tap;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;

use crate::{program, program_under_test, skip, until, until_or};
use program::CLIENT;
pub use program::{ADMIN, BOUND, Client, Login, PORT, Place, Process, SERVER, SERVER6, how, python};
use program::{child_of, enter};

const WORLD: &str = concat!(include_str!("../sandbox.sh"), include_str!("world.sh"));
const SYSTEMD: &str = concat!(include_str!("../machine.sh"), include_str!("systemd.sh"));
/// A journald of the world's own, without systemd.
pub const JOURNALD: &str = include_str!("journald.sh");
const NEEDED: [&str; 14] = [
    "unshare", "nsenter", "setpriv", "logger", "ss", "ip", "nft", "sysctl", "sshd", "ssh", "sshpass", "rsyslogd",
    "useradd", "python3",
];

/// What rsyslogd does with sshd's records, besides noting when each came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// There is no rsyslogd: somebody else has /dev/log.
    None,
    /// Writes them to /var/log/auth.log.
    File,
    Udp,
    /// The same to the server's own address on the wire.
    UdpWire,
    Tcp,
    TcpWire,
    TcpCounted,
    /// As packaging/doc says, to the name `log.example.org`.
    Tls,
    UnixDatagram,
    UnixStream,
    /// A file, in which equal records in a row become one that says how many they were.
    FileReduced,
    /// A file, and UDP besides.
    FileAndUdp,
}

pub struct World {
    holder: Child,
    pipe: Option<ChildStdin>,
    init: Pid,
    /// A process of the server: the first, or that of the system that was booted within.
    server: Pid,
    daemons: Vec<Process>,
    pub attacker: Client,
}

impl World {
    /// A server without daemons; `None` if the test had to be skipped.
    pub fn new(test: &str) -> Option<World> {
        if !nix::unistd::geteuid().is_root() {
            skip(test, "not root");
            return None;
        }
        if let Some(missing) = NEEDED.iter().find(|name| program(name).is_none()) {
            skip(test, &format!("no {missing}"));
            return None;
        }
        if !Command::new(python()).args(["-c", "import paramiko"]).stderr(Stdio::null()).status().unwrap().success() {
            skip(test, "no paramiko for /usr/bin/python3");
            return None;
        }
        let mut holder = Command::new("unshare")
            .args(
                "--mount --pid --net --uts --ipc --fork --kill-child=KILL --mount-proc --propagation private"
                    .split(' '),
            )
            .args(["bash", "-c", WORLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = holder.stdin.take();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "world.sh failed");
        let init = child_of(holder.id());
        let attacker = Client::new(init, Place::Attacker);
        let mut world = World { holder, pipe, init, server: init, daemons: Vec::new(), attacker };
        let listener = world.python(&["listen", &PORT.to_string()]);
        listener.wait_said("listening");
        world.daemons.push(listener);
        Some(world)
    }

    /// The server becomes a machine that systemd booted, with sshd and journald and no other log. Returns when it is up.
    pub fn boot(&mut self) {
        let booting = self.spawn(&["bash", "-c", SYSTEMD, "systemd.sh", &self.program()]);
        let is_systemd =
            |pid: Pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "systemd\n");
        let why = || booting.said();
        self.server = until_or("systemd to start", why, || booting.child().filter(|pid| is_systemd(*pid)));
        until_or("systemd to be up", why, || {
            let state = self.enter(Place::Server, &["systemctl", "is-system-running"]).output().unwrap().stdout;
            [&b"running\n"[..], b"degraded\n"].contains(&&state[..]).then_some(())
        });
        self.daemons.push(booting);
    }

    /// rsyslogd, then sshd. Returns when both are ready, so that the first record is in the log.
    pub fn start_sshd(&mut self, route: Route) {
        if route != Route::None {
            self.write("/etc/e2e-client.py", CLIENT);
            self.write("/etc/rsyslog.conf", &rsyslog(route));
            let rsyslogd = self.spawn(&["rsyslogd", "-n", "-f", "/etc/rsyslog.conf", "-i", "/run/rsyslogd.pid"]);
            self.daemons.push(rsyslogd);
            until("rsyslogd to open /dev/log", || self.path("/dev/log").exists().then_some(()));
        }
        let sshd = self.spawn(&[program("sshd").unwrap().to_str().unwrap(), "-D", "-f", "/etc/ssh/e2e_config"]);
        self.daemons.push(sshd);
        let listens = |log: &str| (log.matches("Server listening on").count() >= 2).then_some(());
        match route {
            Route::None => until("sshd to listen", || {
                (self.run(&["ss", "-Hltn", "sport = :22"]).lines().count() >= 2).then_some(())
            }),
            _ => until("sshd to say that it listens", || listens(&self.log())),
        }
        if matches!(route, Route::File | Route::FileReduced | Route::FileAndUdp) {
            until("the same in auth.log", || listens(&self.read("/var/log/auth.log")));
        }
    }

    /// `denyd run` with this configuration, or without one; returns when it enforces.
    pub fn start_denyd(&self, config: Option<&str>) -> Process {
        self.start_denyd_by(&[], config)
    }

    /// The same by another program, which is given denyd's command line.
    pub fn start_denyd_by(&self, starter: &[&str], config: Option<&str>) -> Process {
        if let Some(config) = config {
            self.write("/etc/denyd/denyd.toml", config);
        }
        let denyd = self.spawn(&[starter, &[&self.program(), "run"]].concat());
        until("denyd to enforce", || {
            assert!(denyd.is_running(), "denyd ended: {}", denyd.said());
            let status = self.status()?;
            status["backends"].as_array()?.iter().all(|one| !one["replaced"].is_null()).then_some(())
        });
        denyd
    }

    /// denyd's file, as the server sees it.
    pub fn program(&self) -> String {
        if self.server == self.init {
            program_under_test().display().to_string()
        } else {
            "/usr/local/sbin/denyd".to_owned()
        }
    }

    /// What `denyd status` says, if one runs.
    pub fn status(&self) -> Option<Value> {
        let output = self.denyd(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Runs a verb of denyd to its end.
    pub fn denyd(&self, arguments: &[&str]) -> Output {
        self.enter(Place::Server, &[&self.program()]).args(arguments).output().unwrap()
    }

    /// Runs a verb of denyd that must succeed and prints JSON.
    pub fn denyd_json(&self, arguments: &[&str]) -> Value {
        let output = self.denyd(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "denyd {arguments:?}: {text}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("denyd {arguments:?}: {error}: {text}"))
    }

    /// The failures of a class that are counted for a prefix.
    pub fn count(&self, prefix: &str, class: &str) -> u64 {
        let rows = self.denyd_json(&["list", "addresses", "--json"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["prefix"] == prefix).cloned();
        row.map_or(0, |row| row[class].as_u64().unwrap())
    }

    /// Waits until so many failures are counted.
    pub fn wait_count(&self, prefix: &str, class: &str, count: u64) {
        let what = format!("{count} failures ({class}) of {prefix}");
        let counted = || format!("there are {}", self.count(prefix, class));
        until_or(&what, counted, || (self.count(prefix, class) >= count).then_some(()));
        assert_eq!(self.count(prefix, class), count, "{prefix} {class}");
    }

    /// The prefixes that are denied.
    pub fn denied(&self) -> Vec<String> {
        let rows = self.denyd_json(&["list", "hosts", "--json"]);
        rows.as_array().unwrap().iter().map(|row| row["prefix"].as_str().unwrap().to_owned()).collect()
    }

    /// A login by password with the real ssh; whether it succeeded.
    pub fn ssh(&self, place: Place, source: &str, password: &str) -> bool {
        self.sshpass(place, source, ("tbuser", password), &[], "true").output().unwrap().status.success()
    }

    /// The same of any user, one that lasts; it must succeed.
    pub fn log_in(&self, place: Place, source: &str, who: (&str, &str)) -> Login {
        Login::new(&mut self.sshpass(place, source, who, &[], "cat"))
    }

    /// What a command says that is run by ssh; `options` are more of ssh's own.
    pub fn over_ssh(&self, place: Place, source: &str, who: (&str, &str), options: &[&str], command: &str) -> Output {
        self.sshpass(place, source, who, options, command).output().unwrap()
    }

    fn sshpass(
        &self,
        place: Place,
        source: &str,
        (user, password): (&str, &str),
        more: &[&str],
        command: &str,
    ) -> Command {
        let to = if source.contains(':') { SERVER6 } else { SERVER };
        let options = "-F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 \
                       -o NumberOfPasswordPrompts=1 -o PubkeyAuthentication=no -l";
        let mut ssh = self.enter(place, &["sshpass", "-p", password, "ssh", "-b", source]);
        ssh.args(options.split_whitespace()).arg(user).args(more).args([to, command]);
        ssh
    }

    /// What rsyslogd got, a line each: seconds since 1970, and the message.
    pub fn log(&self) -> String {
        self.read("/var/log/witness.log")
    }

    /// When rsyslogd got the `nth` record (from 1) with this text about `source`.
    pub fn logged_at(&self, text: &str, source: &str, nth: usize) -> f64 {
        let about = format!("from {source} ");
        until(&format!("record {nth} of {text:?} {about}"), || {
            let log = self.log();
            let line = log.lines().filter(|line| line.contains(text) && line.contains(&about)).nth(nth - 1)?;
            Some(line.split_once(' ').unwrap().0.parse().unwrap())
        })
    }

    pub fn read(&self, path: &str) -> String {
        let bytes = std::fs::read(self.path(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// When a file was last written, in seconds since 1970.
    pub fn changed_at(&self, path: &str) -> f64 {
        let at = std::fs::metadata(self.path(path)).unwrap().modified().unwrap();
        at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs a program on the server to its end; it must succeed.
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.enter(Place::Server, command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a program on the server.
    pub fn spawn(&self, command: &[&str]) -> Process {
        Process::new(&mut self.enter(Place::Server, command))
    }

    /// Keeps a daemon running as long as the world is.
    pub fn keep(&mut self, daemon: Process) {
        self.daemons.push(daemon);
    }

    /// The processes that live here, by their numbers outside.
    pub fn pids(&self) -> Vec<Pid> {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let ours = namespace(&self.init.to_string());
        let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let numbers = all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        numbers.filter(|pid| namespace(pid) == ours).map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    fn python(&self, arguments: &[&str]) -> Process {
        Process::new(self.enter(Place::Server, &[python(), "-B", "-c", CLIENT]).args(arguments))
    }

    pub fn enter(&self, place: Place, command: &[&str]) -> Command {
        let of = if matches!(place, Place::Server) { self.server } else { self.init };
        enter(of, place, command)
    }

    /// A path of the server, as seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.server))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- what rsyslogd got:\n{}", self.log());
        }
        // The first process reads the end of its input and ends, and the kernel ends all others with it.
        drop(self.pipe.take());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !matches!(self.holder.try_wait(), Ok(Some(_))) {
            std::thread::park_timeout(crate::LOOK);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The recipe of `packaging/doc` that has this text in it.
pub fn recipe(text: &str) -> String {
    let blocks = ["inputs.md", "firewalls.md"]
        .map(|name| std::fs::read_to_string(crate::root().join("packaging/doc").join(name)).unwrap());
    let blocks = blocks.join("\n\n");
    let blocks = blocks.split("\n\n");
    let block = blocks.filter(|block| block.starts_with("    ")).find(|block| block.contains(text));
    let block = block.unwrap_or_else(|| panic!("packaging/doc has no recipe with {text}"));
    block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

fn rsyslog(route: Route) -> String {
    let forward = |to: &str, more: &str| {
        format!(
            r#"action(type="omfwd" target="{to}" port="514" template="RSYSLOG_TraditionalForwardFormat" action.resumeInterval="1" action.resumeRetryCount="-1" queue.type="LinkedList" {more})"#
        )
    };
    let file = r#"action(type="omfile" file="/var/log/auth.log" template="RSYSLOG_TraditionalFileFormat")"#.to_owned();
    let action = match route {
        Route::None => unreachable!("there is no rsyslogd"),
        Route::File | Route::FileReduced => file,
        Route::FileAndUdp => file + "\n" + &forward("127.0.0.1", r#"protocol="udp""#),
        Route::Udp => forward("127.0.0.1", r#"protocol="udp""#),
        Route::UdpWire => forward(SERVER, r#"protocol="udp""#),
        Route::Tcp => forward("127.0.0.1", r#"protocol="tcp""#),
        Route::TcpWire => forward(SERVER, r#"protocol="tcp""#),
        Route::TcpCounted => forward("127.0.0.1", r#"protocol="tcp" TCP_Framing="octet-counted""#),
        Route::Tls => recipe("StreamDriver="),
        Route::UnixDatagram => {
            "$OMUxSockSocket /run/denyd/log\n*.* :omuxsock:;RSYSLOG_TraditionalForwardFormat".to_owned()
        }
        // rsyslogd of Debian 12 has no output for these: a program hands on what it is given
        Route::UnixStream => format!(
            "template(name=\"lines\" type=\"string\" string=\"<%PRI%>%TIMESTAMP% %HOSTNAME% %syslogtag%%msg%\\n\")\n\
             action(type=\"omprog\" binary=\"{} -B /etc/e2e-client.py relay /run/denyd/log\" template=\"lines\")",
            python()
        ),
    };
    let load = match route {
        Route::UnixDatagram => r#"module(load="omuxsock")"#,
        Route::UnixStream => r#"module(load="omprog")"#,
        Route::FileReduced => "$RepeatedMsgReduction on",
        _ => "",
    };
    format!(
        r#"module(load="imuxsock" SysSock.RateLimit.Interval="0")
{load}
template(name="witness" type="string" string="%timegenerated:::date-unixtimestamp%.%timegenerated:::date-subseconds%%msg%\n")
action(type="omfile" file="/var/log/witness.log" template="witness")
{action}
"#
    )
}
