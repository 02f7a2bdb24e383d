//! The program, run to its end or as a daemon in a directory of its own.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::until;

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
             spare_machine = false\ndeny.backends = [\"stdout\"]\n{}",
            // In the directory's own name these letters stay.
            inputs.replace("DIR", &dir)
        );
        fs::write(home.path("config"), text).unwrap();
        home
    }

    /// A home whose daemon follows `DIR/log`, from its beginning.
    pub fn with_log() -> Self {
        let inputs = "[[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n";
        let home = Home::new(inputs);
        fs::write(home.path("log"), "").unwrap();
        home
    }

    /// The same where each deny takes a week: from when one of minutes lasts depends on whether its record was read as it
    /// came.
    pub fn with_weeks() -> Self {
        let home = Home::with_log();
        let config = fs::read_to_string(home.path("config")).unwrap();
        fs::write(home.path("config"), config.replacen("[[input]]", "[decide]\nprobation = \"off\"\n[[input]]", 1))
            .unwrap();
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
        // What a test puts into `DIR/bin` comes before the real program of that name.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.path("bin")).chain(std::env::split_paths(&path));
        command.args(arguments).env("PATH", std::env::join_paths(path).unwrap());
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
        until("the daemon answers", || {
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
        until("all records are folded", || {
            let status = self.home.ask(&["status"])?;
            (status["inputs"][0]["records"].as_u64()? >= records).then_some(())
        });
    }

    /// Waits until it has read the log to its present end.
    pub fn caught_up(&self) {
        use std::os::unix::fs::MetadataExt as _;
        let log = fs::metadata(self.home.log()).unwrap();
        until("the log is read to its end", || {
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
        let status = until("the daemon ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.home.stderr());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
