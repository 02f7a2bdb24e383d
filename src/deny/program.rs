//! Runs a program of the system: nothing of our environment, no shell, for a limited time, with a limit to what it says.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::clock;

/// Where programs are looked for. `$PATH` is not asked: it is not ours.
pub(super) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Half a second is what nft takes for 100 000 elements; a million on a slow box must not be cut off.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// The longest standard output, in bytes; one that is longer is an error. `nft -j` lists a million elements in 75 MB.
const STDOUT_MAX: u64 = 128 * 1024 * 1024;
/// What is kept of standard error, in bytes.
const STDERR_MAX: u64 = 4 * 1024;
/// Characters of a complaint that go into an error.
const COMPLAINT_MAX: usize = 300;
/// How often the start of a program is tried again whose file somebody writes, and how long is waited before.
const BUSY_TRIES: u32 = 50;
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// How often at least it is looked whether a program has ended that says nothing any more.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a program said, of its complaints the beginning, and how it ended.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Where the program `name` is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Runs the program `name` with this input; returns what it printed, or why it failed, in one line for people.
pub(super) fn ask(name: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, String> {
    let program = find(name).ok_or_else(|| format!("no {name} in {}", DIRECTORIES.join(", ")))?;
    ask_at(&program, name, arguments, input)
}

/// The same of a program that is there.
pub(super) fn ask_at(program: &Path, name: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, String> {
    let child = start(program, arguments).map_err(|error| format!("{}: {error}", program.display()))?;
    let output = finish(child, input.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => format!("{name} took more than {} s", TIME_MAX.as_secs()),
        _ => format!("cannot talk to {name}: {error}"),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let cause = complaint(&output.stderr);
    Err(if cause.is_empty() { format!("{name} ended with {}", output.status) } else { cause })
}

/// What a program complained of, in one line without its warnings, which begin with `#`.
fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(COMPLAINT_MAX).collect()
}

/// Starts a program.
pub(crate) fn start(program: &Path, arguments: &[&str]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(&mut command)
}

/// Starts a program that may be written just now, by who installs it or by a child of ours that has its file yet (ETXTBSY,
/// execve(2)): that passes.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::sleep(BUSY_WAIT),
            started => return started,
        }
    }
    command.spawn()
}

/// Gives a program its input and waits until it ends. One that takes more than [`TIME_MAX`] is killed, which is an error of
/// kind `TimedOut`; one that says more than [`STDOUT_MAX`] is killed, too.
pub(super) fn finish(child: Child, input: &[u8]) -> io::Result<Output> {
    finish_within(TIME_MAX, child, input)
}

/// The same for one that is given so much time.
pub(crate) fn finish_within(time: Duration, mut child: Child, input: &[u8]) -> io::Result<Output> {
    let end = clock::monotonic() + time;
    let output = talk(&mut child, input, end).and_then(|[stdout, stderr]| {
        let status = wait(&mut child, end)?;
        Ok(Output { status, stdout, stderr })
    });
    if output.is_err() {
        _ = child.kill(); // the error that matters is on its way already
        child.wait()?;
    }
    output
}

/// Waits for a program that has said all: it may go on for long, but hardly one does.
fn wait(child: &mut Child, end: Instant) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if clock::monotonic() >= end {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Writes all of `input` while reading both outputs to their end, each pipe in a thread, so that none fills up. Of a program
/// that is killed the threads end with it.
fn talk(child: &mut Child, input: &[u8], end: Instant) -> io::Result<[Vec<u8>; 2]> {
    let thread = || std::thread::Builder::new();
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        // If it ended early, its status says why.
        thread().spawn(move || pipe.write_all(&input))?;
    }
    let mut said = [Vec::new(), Vec::new()];
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut threads = Vec::new();
    let readers: [Reader; 2] = [|pipe| all(pipe, STDOUT_MAX), |pipe| beginning(pipe, STDERR_MAX)];
    for (pipe, read) in pipes.into_iter().flatten().zip(readers) {
        let (tell, told) = mpsc::channel();
        thread().spawn(move || tell.send(read(File::from(pipe))))?;
        threads.push(told);
    }
    for (told, said) in threads.iter().zip(&mut said) {
        let left = end.saturating_duration_since(clock::monotonic());
        *said = told.recv_timeout(left).map_err(|_| ErrorKind::TimedOut)??;
    }
    Ok(said)
}

type Reader = fn(File) -> io::Result<Vec<u8>>;

/// Reads a pipe to its end; an error if that is more than `most` bytes.
fn all(pipe: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it says more than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// Reads a pipe to its end; returns the first `most` bytes.
fn beginning(mut pipe: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut pipe).take(most).read_to_end(&mut bytes)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talks_both_ways() {
        let input: Vec<u8> = (0..1_000_000).map(|n| n as u8).collect();
        let output = finish(start(Path::new("/bin/cat"), &[]).unwrap(), &input).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input, "{} bytes", output.stdout.len());
        let script = "head -c 9 >/dev/null; head -c 9000 /dev/zero >&2; exec 0<&-; exit 7";
        let output = finish(start(Path::new("/bin/sh"), &["-c", script]).unwrap(), &input).unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(7), 0, STDERR_MAX as usize));
    }

    #[test]
    fn one_that_says_too_much_is_an_error() {
        let says =
            |bytes: u64| finish(start(Path::new("/bin/head"), &["-c", &bytes.to_string(), "/dev/zero"]).unwrap(), b"");
        assert_eq!(says(STDOUT_MAX).unwrap().stdout.len() as u64, STDOUT_MAX);
        assert_eq!(
            says(STDOUT_MAX + 1).map(|output| output.stdout.len()).unwrap_err().to_string(),
            "it says more than 128 MiB"
        );
    }

    #[test]
    fn complains_in_one_line() {
        let check = |stderr: &str, want: &str| assert_eq!(complaint(stderr.as_bytes()), want);
        check("", "");
        let said = "# Warning: iptables-legacy tables present\niptables-restore v1.8.9 (nf_tables): \nline 4: failed\n";
        check(said, "iptables-restore v1.8.9 (nf_tables): line 4: failed");
        check("\n\x1b[1mhm\n", "[1mhm");
        check(&"x".repeat(4000), &"x".repeat(300));
        assert_eq!(ask("false", &[], "").unwrap_err(), "false ended with exit status: 1");
        assert_eq!(ask("no-such", &[], "").unwrap_err(), "no no-such in /usr/sbin, /sbin, /usr/bin, /bin");
    }

    #[test]
    fn one_that_hangs_is_given_up() {
        let mut child = start(Path::new("/bin/sleep"), &["100"]).unwrap();
        assert_eq!(talk(&mut child, b"", clock::monotonic()).unwrap_err().kind(), ErrorKind::TimedOut);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_says_no_more_and_does_not_end_is_given_up() {
        let mut child = start(Path::new("/bin/sh"), &["-c", "exec >&- 2>&-; exec /bin/sleep 100"]).unwrap();
        let soon = clock::monotonic() + Duration::from_secs(30);
        assert_eq!(talk(&mut child, b"", soon).unwrap(), [b"", b""]);
        assert_eq!(wait(&mut child, clock::monotonic()).unwrap_err().kind(), ErrorKind::TimedOut);
        child.kill().unwrap();
        assert!(!wait(&mut child, soon).unwrap().success());
    }

    #[test]
    fn one_that_never_stops_talking_is_given_up() {
        let mut child = start(Path::new("/bin/sh"), &["-c", "while :; do echo; done"]).unwrap();
        let soon = clock::monotonic() + Duration::from_millis(1);
        assert_eq!(talk(&mut child, b"", soon).unwrap_err().kind(), ErrorKind::TimedOut);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
