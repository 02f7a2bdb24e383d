//! Runs a program of the system: nothing of our environment, no shell, for a limited time, and not all that it says.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;

/// Where programs are looked for. `$PATH` is not asked: it is not ours.
pub(super) const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Half a second is what nft takes for 100 000 elements; a million on a slow box must not be cut off.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// What is kept of standard output: nft's listing of all tables of a family, without elements, is smaller.
const STDOUT_MAX: usize = 16 * 1024 * 1024;
const STDERR_MAX: usize = 4 * 1024;
/// How often at least it is looked whether a program has ended that says nothing any more.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a program said, the beginning of it, and how it ended.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Where the program `name` is.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Starts a program.
pub(super) fn start(program: &Path, arguments: &[&str]) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Gives a program its input and waits until it ends; one that takes more than [`TIME_MAX`] is killed, which is an error of
/// kind `TimedOut`.
pub(super) fn finish(mut child: Child, input: &[u8]) -> io::Result<Output> {
    let end = clock::monotonic() + TIME_MAX;
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

/// Writes all of `input` while reading both outputs to their end, so that no pipe fills up.
fn talk(child: &mut Child, mut input: &[u8], end: Instant) -> io::Result<[Vec<u8>; 2]> {
    let mut stdin = child.stdin.take().map(OwnedFd::from).map(File::from);
    let outputs = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut outputs = outputs.map(|pipe| pipe.map(File::from));
    for pipe in stdin.iter().chain(outputs.iter().flatten()) {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut said = [Vec::new(), Vec::new()];
    let mut chunk = [0; 16 * 1024];
    while outputs.iter().any(Option::is_some) {
        stdin = stdin.filter(|_| !input.is_empty());
        let writes = stdin.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        let reads = outputs.iter().flatten().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        let left = end.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match poll(
            &mut writes.chain(reads).collect::<Vec<_>>(),
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(pipe) = &mut stdin {
            match pipe.write(input) {
                // it ended early, and its status says why
                Err(error) if error.kind() == ErrorKind::BrokenPipe => input = &[],
                written => input = &input[ready(written)?.unwrap_or(0)..],
            }
        }
        for ((output, said), most) in outputs.iter_mut().zip(&mut said).zip([STDOUT_MAX, STDERR_MAX]) {
            let Some(pipe) = output else { continue };
            match ready(pipe.read(&mut chunk))? {
                Some(0) => *output = None,
                Some(len) => said.extend(&chunk[..len.min(most - said.len())]),
                None => {}
            }
        }
    }
    Ok(said)
}

/// `None` for a pipe that had nothing to say, or no room.
fn ready(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        done => done.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talks_both_ways_and_keeps_the_beginning() {
        let input: Vec<u8> = (0..STDOUT_MAX + 100_000).map(|n| n as u8).collect();
        let output = finish(start(Path::new("/bin/cat"), &[]).unwrap(), &input).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input[..STDOUT_MAX], "{} bytes", output.stdout.len());
        let script = "head -c 9 >/dev/null; head -c 9000 /dev/zero >&2; exec 0<&-; exit 7";
        let output = finish(start(Path::new("/bin/sh"), &["-c", script]).unwrap(), &input).unwrap();
        assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(7), 0, STDERR_MAX));
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
