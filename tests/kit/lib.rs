//! What the tests of all crates share: a directory of their own, the program, a daemon, a sandbox, the corpora, and
//! randomness that can be repeated. Every wait is for a condition and has a bound.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]
#![allow(clippy::new_without_default, reason = "what is new prints its seed, or connects")]

pub mod hostile;
pub mod journald;
pub mod shapes;

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long: {what}");
        std::thread::park_timeout(LOOK);
    }
}

/// Runs the program to its end over `input`; returns its exit status and what it printed.
pub fn run(arguments: &[&str], input: &[u8]) -> (ExitStatus, Vec<u8>, Vec<u8>) {
    let mut child = denyd(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || stdin.write_all(input).is_ok());
        child.wait_with_output().unwrap()
    });
    (output.status, output.stdout, output.stderr)
}

/// The same, for a run that must succeed: the JSON that it printed, an object a line.
pub fn json(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let (status, out, err) = run(arguments, input);
    assert!(status.success(), "denyd {arguments:?}: {status}: {}", String::from_utf8_lossy(&err));
    let lines = out.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// What each line of `input` means, as `explain --json` has it; none may be missing.
pub fn explain(input: &[u8]) -> Vec<Value> {
    let config = config();
    let rows = json(&["--config", config.arg(), "explain", "--json", "--timezone", "UTC"], input);
    let lines = input.iter().filter(|&&b| b == b'\n').count() + usize::from(input.last().is_some_and(|&b| b != b'\n'));
    assert_eq!(rows.len(), lines, "one row a line");
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["line"], index as u64 + 1);
    }
    rows
}

/// What `scan --json --all` finds in `input`.
pub fn scan(input: &[u8]) -> Value {
    let config = config();
    json(&["--config", config.arg(), "scan", "--json", "--all", "--timezone", "UTC", "-"], input).remove(0)
}

/// The program, to be started; nothing of this machine's configuration reaches it if `--config` is among the arguments.
pub fn denyd(arguments: &[&str]) -> Command {
    let mut command = Command::new(program_under_test());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("JOURNAL_STREAM").env_remove("SSH_CONNECTION");
    command
}

/// The program, as cargo built it beside the tests.
pub fn program_under_test() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().with_file_name("denyd")
}

/// A configuration file with the defaults and no rules, whatever this machine has.
pub struct EmptyConfig {
    file: tempfile::NamedTempFile,
    _rules: tempfile::TempDir,
}

impl EmptyConfig {
    pub fn arg(&self) -> &str {
        self.file.path().to_str().unwrap()
    }
}

pub fn config() -> EmptyConfig {
    let (mut file, rules) = (tempfile::NamedTempFile::new().unwrap(), tempfile::tempdir().unwrap());
    writeln!(file, "rules_dir = {:?}", rules.path()).unwrap();
    EmptyConfig { file, _rules: rules }
}

/// A directory with a configuration, a state and a log, all of which go when it is dropped.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// A home whose daemon has the inputs that `inputs` says; `DIR` in it is the directory.
    pub fn new(inputs: &str) -> Self {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        let dir = home.dir.path().to_str().unwrap().to_owned();
        fs::create_dir(home.path("rules.d")).unwrap();
        let text = format!(
            "state_dir = \"{dir}/state\"\ncontrol_socket = \"{dir}/control\"\nrules_dir = \"{dir}/rules.d\"\n\
             deny.backends = [\"stdout\"]\n{inputs}"
        );
        fs::write(home.path("config"), text.replace("DIR", &dir)).unwrap();
        home
    }

    /// A home whose daemon follows `DIR/log`, from its beginning.
    pub fn with_log() -> Self {
        let inputs = "[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n";
        let home = Home::new(inputs);
        fs::write(home.path("log"), "").unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Appends to the log, in one write.
    pub fn append(&self, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).create(true).open(self.log()).unwrap().write_all(bytes).unwrap();
    }

    pub fn denyd(&self, arguments: &[&str]) -> Command {
        let config = self.path("config");
        let mut command = denyd(&["--config", config.to_str().unwrap()]);
        command.args(arguments);
        command
    }

    /// Starts the daemon and does not wait for it. Its outputs are appended to `stdout` and `stderr`.
    pub fn spawn(&self) -> Daemon<'_> {
        self.spawn_with(&["run"])
    }

    /// Starts it with these arguments.
    pub fn spawn_with(&self, arguments: &[&str]) -> Daemon<'_> {
        let file = |name| fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        let mut command = self.denyd(arguments);
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        Daemon { home: self, child }
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&self) -> Daemon<'_> {
        self.start_with(&["run"])
    }

    /// The same with these arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Daemon<'_> {
        let mut daemon = self.spawn_with(arguments);
        daemon.up();
        daemon
    }

    /// Asks a verb that prints one JSON value; `None` if nobody answers.
    pub fn ask(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.denyd(arguments).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// What the daemon decided, in order.
    pub fn history(&self) -> Vec<Value> {
        let output = self.denyd(&["history", "--json", "-n", "100000"]).output().unwrap();
        assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// What the daemon printed: whom it denies.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.path("stdout")).unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}

/// A daemon; it is killed when it is dropped.
pub struct Daemon<'a> {
    home: &'a Home,
    child: Child,
}

impl Daemon<'_> {
    fn up(&mut self) {
        wait_for("the daemon answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended: {status}: {}", self.home.stderr());
            }
            self.home.ask(&["status"])
        });
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has folded `records` records of its first input since it started.
    pub fn folded(&self, records: u64) {
        wait_for("all records are folded", || {
            let status = self.home.ask(&["status"])?;
            (status["inputs"][0]["records"].as_u64()? >= records).then_some(())
        });
    }

    /// Waits until it has read the log to its present end.
    pub fn caught_up(&self) {
        use std::os::unix::fs::MetadataExt as _;
        let log = fs::metadata(self.home.log()).unwrap();
        wait_for("the log is read to its end", || {
            let status = self.home.ask(&["status"])?;
            let cursor = &status["inputs"][0]["cursor"];
            (cursor["inode"].as_u64()? == log.ino() && cursor["offset"].as_u64()? == log.len()).then_some(())
        });
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as systemd would, and expects it to end well.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = wait_for("the daemon ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.home.stderr());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file below `tests/data`.
pub fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}

/// A journal of the corpus, unpacked.
pub fn journal(name: &str) -> Vec<u8> {
    let path = root().join(format!("inputs/tests/data/journals/{name}.journal.gz"));
    let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success(), "{name}");
    output.stdout
}

/// One line that a real sshd wrote, with what was really done (`tests/data/sshd`).
pub struct Row {
    pub line: String,
    /// The same with an RFC 3339 stamp.
    pub iso: String,
    /// The same as it went to /dev/log.
    pub datagram: Vec<u8>,
    pub pid: u64,
    /// The peer that was really there; `None` where nobody was.
    pub src: Option<IpAddr>,
    /// That peer as sshd writes it.
    pub src_text: Option<String>,
    /// What the client sent as its name.
    pub user: Option<String>,
    /// The line may stand under the next action: it was written late, or by the listening process.
    pub astray: bool,
}

/// What an ideal reader concludes of one connection.
pub struct Connection {
    pub action: String,
    pub src: Option<IpAddr>,
    /// Its lines: places in the corpus, from 0.
    pub lines: Vec<usize>,
    pub user: Option<String>,
    pub account: Option<String>,
    pub attempts: Vec<u64>,
    pub probe: bool,
    pub success: bool,
    pub refused: bool,
    pub address_logged: bool,
}

/// The rows and connections of one version of OpenSSH.
pub struct Corpus {
    pub version: &'static str,
    pub rows: Vec<Row>,
    pub connections: Vec<Connection>,
}

/// The corpora, by version.
pub const VERSIONS: [&str; 2] = ["9.2", "10.0"];

pub fn corpus(version: &'static str) -> Corpus {
    let read = |kind: &str| -> Vec<Value> {
        let text = fs::read_to_string(data(&format!("sshd/{kind}-{version}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let real = read(if version.starts_with(|c: char| c.is_ascii_digit()) { "real-sshd" } else { "real" });
    let listening: Vec<_> =
        real.iter().filter(|row| text(&row["line"]).contains("Server listening")).map(|row| &row["pid"]).collect();
    let rows = real.iter().map(|row| {
        let src_text = row["src"].as_str().map(|src| src.split('%').next().unwrap().to_owned());
        Row {
            line: text(&row["line"]),
            iso: text(&row["iso"]),
            datagram: base64(row["datagram_b64"].as_str().unwrap()),
            pid: row["pid"].as_u64().unwrap(),
            src: src_text.as_ref().map(|src| src.parse().unwrap()),
            src_text,
            user: row["user"].as_str().map(str::to_owned),
            astray: row["late"] == true || row["action"] == "daemon" || listening.contains(&&row["pid"]),
        }
    });
    let expected = read("expected");
    let connections = expected.iter().map(|row| {
        let numbers = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>();
        let accepted = &row["accept_attempts"];
        Connection {
            action: text(&row["action"]),
            src: row["src"].as_str().map(|src| src.split('%').next().unwrap().parse().unwrap()),
            lines: numbers(&row["lines"]).into_iter().map(|n| n as usize - 1).collect(),
            user: row["user"].as_str().map(str::to_owned),
            account: row["account"].as_str().map(str::to_owned),
            attempts: match accepted.is_array() {
                true => numbers(accepted),
                false => vec![row["attempts_visible"].as_u64().unwrap()],
            },
            probe: row["probe"] == true,
            success: row["success"] == true,
            refused: row["refused"] == true,
            address_logged: row["address_logged"] == true,
        }
    });
    let (rows, connections) = (rows.collect(), connections.collect());
    Corpus { version, rows, connections }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The address of an explained line.
pub fn address(row: &Value) -> Option<IpAddr> {
    row["address"].as_str().map(|address| address.parse().unwrap())
}

/// Lines as a file has them.
pub fn file<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<u8> {
    let mut all = Vec::new();
    for line in lines {
        all.extend_from_slice(line.as_ref());
        all.push(b'\n');
    }
    all
}

/// Splits an RFC 3339 line behind its stamp.
pub fn stamped(line: &str) -> (jiff::Timestamp, &str) {
    let (stamp, rest) = line.split_at(line.find(' ').unwrap());
    (stamp.parse().unwrap(), rest)
}

/// RFC 3339 lines with all their stamps moved so that the last is at `last`, in whole seconds.
pub fn moved(lines: &[&str], last: jiff::Timestamp) -> Vec<String> {
    let end = lines.iter().map(|line| stamped(line).0).max().unwrap();
    let by = jiff::SignedDuration::from_secs(last.as_second() - end.as_second());
    let moved = lines.iter().map(|line| {
        let (at, rest) = stamped(line);
        format!("{}{rest}", (at + by).strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
    });
    moved.collect()
}

/// The clock.
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A year before the clock, about.
pub fn last_year() -> jiff::Timestamp {
    now() - jiff::SignedDuration::from_hours(24 * 365)
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|&b| b != b'=') {
        let digit = DIGITS.iter().position(|&d| d == byte).unwrap();
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// Randomness that a seed repeats (splitmix64).
pub struct Random(u64);

impl Random {
    /// Seeded by `DENYD_SEED`, else by chance; prints the seed.
    pub fn new() -> Self {
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
        let seed = std::env::var("DENYD_SEED").map_or(chance, |seed| seed.parse().unwrap());
        eprintln!("DENYD_SEED={seed}");
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// How much longer than usual: `DENYD_LONG` is a factor that `tests/run --long` sets.
pub fn longer() -> usize {
    std::env::var("DENYD_LONG").map_or(1, |factor| factor.parse().unwrap())
}

/// Where a program is, if it is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Says that a test is not run. As root and with `CI=true` every test must run.
pub fn skip(test: &str, why: &str) {
    let strict = nix::unistd::geteuid().is_root() || std::env::var("CI").as_deref() == Ok("true");
    assert!(!strict, "{test} was not run: {why}");
    eprintln!("skipped {test}: {why}");
}

/// Whether a check that needs root may be left out; says so. As root or with `CI=true` nothing is left out.
pub fn skipped_without_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} needs root");
        eprintln!("SKIPPED: {what} needs root");
    }
    !root
}
