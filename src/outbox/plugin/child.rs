//! Runs a program that an administrator named: no shell, next to nothing of an environment, for a limited time, and what it
//! says is cut. Whatever it starts is killed with it when its time is over, and not waited for when it ends in time.

use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::clock;
use crate::deny::program;
use crate::text::printable;

/// What is kept of what it says, in bytes.
const SAID_MAX: usize = 1024;
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where a program that is a script finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How it went: what it said, for reading, where it ended well; else what was wrong.
pub(super) fn run(words: &[String], argument: &str, most: Duration) -> Result<String, String> {
    let Some((program, arguments)) = words.split_first() else { return Err("no program".to_owned()) };
    let begun = clock::monotonic();
    let (reader, mut child) = start(program, arguments, argument).map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    let ended = wait(&mut child, &reader, &mut said, begun.checked_add(most));
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            end(&mut child);
            return Err(match error.kind() {
                ErrorKind::TimedOut => format!("it took more than {} s and was killed{}", most.as_secs(), told(&said)),
                _ => format!("it cannot be waited for: {error}"),
            });
        }
    };
    drain(&reader, &mut said);
    match status.success() {
        true => Ok(printable(said.trim_ascii())),
        false => Err(format!("it ended with {status}{}", told(&said))),
    }
}

/// What it said, behind what is wrong.
fn told(said: &[u8]) -> String {
    match said.trim_ascii() {
        [] => String::new(),
        said => format!(": {}", printable(said)),
    }
}

/// Starts it in a process group of its own, both its outputs into one pipe.
fn start(program: &str, arguments: &[String], argument: &str) -> io::Result<(PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut command = Command::new(program);
    command.args(arguments).arg(argument).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = program::spawn(&mut command)?;
    Ok((reader, child))
}

/// Waits until it has ended; an error of kind `TimedOut` if it has not by `end`.
fn wait(child: &mut Child, reader: &PipeReader, said: &mut Vec<u8>, end: Option<Instant>) -> io::Result<ExitStatus> {
    let mut is_open = true;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if end.is_some_and(|end| clock::monotonic() >= end) {
            return Err(ErrorKind::TimedOut.into());
        }
        let pause = PollTimeout::try_from(LOOK_EVERY).unwrap_or(PollTimeout::ZERO);
        let mut pipe = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match is_open {
            true => {
                let _ = poll(&mut pipe, pause); // a signal is as good as a pause
                is_open = drain(reader, said);
            }
            false => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Takes what is in the pipe, and keeps the beginning; whether somebody may still write.
fn drain(mut reader: &PipeReader, said: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    // What it says for ever must not keep us from looking at the clock.
    for _ in 0..16 {
        match reader.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => said.extend(&bytes[..count.min(SAID_MAX - said.len())]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

/// Kills it and whatever else is of its group.
fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL); // it may have ended meanwhile
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, most: Duration) -> Result<String, String> {
        // `$0` is what is added.
        run(&["/bin/sh", "-c", script].map(str::to_owned), "192.0.2.7", most)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_told_its_argument_and_little_else() {
        assert_eq!(sh("echo \"$0\"; pwd", LONG).unwrap(), "192.0.2.7\\n/");
        let environment = run(&["/usr/bin/env".to_owned()], "-0", LONG).unwrap();
        assert_eq!(environment.replace("\\x00", "\n"), format!("LC_ALL=C\nPATH={PATH}\n"));
    }

    #[test]
    fn what_is_wrong_is_said_and_cut() {
        let check = |script: &str, want: &str| assert_eq!(sh(script, LONG).unwrap_err(), want);
        check("exit 3", "it ended with exit status: 3");
        check("printf 'no\\033[31m way' >&2; exit 1", "it ended with exit status: 1: no\\x1b[31m way");
        check("kill -9 $$", "it ended with signal: 9 (SIGKILL)");
        let said = sh("head -c 9000000 /dev/zero | tr '\\0' x; exit 1", LONG).unwrap_err();
        assert_eq!(said, format!("it ended with exit status: 1: {}", "x".repeat(SAID_MAX)));
        let said = run(&["/nowhere/at/all".to_owned()], "192.0.2.7", LONG).unwrap_err();
        assert!(said.contains("No such file"), "{said}");
    }

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let soon = Duration::from_millis(100);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let said = sh(&format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display()), soon);
        assert_eq!(said.unwrap_err(), "it took more than 0 s and was killed");
        // The limit may have come before it wrote that.
        if let Ok(pid) = std::fs::read_to_string(&file) {
            let ends = LONG.as_millis() / LOOK_EVERY.as_millis();
            let is_there = || {
                let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
                state.is_ok_and(|state| !state.contains(") Z"))
            };
            assert!((0..ends).any(|_| !is_there() || {
                std::thread::sleep(LOOK_EVERY);
                false
            }));
        }
        assert!(sh("while :; do echo y; done", soon).unwrap_err().starts_with("it took more than 0 s"));
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let begun = clock::monotonic();
        let said = sh("echo begun; sleep 600 & echo $!", LONG).unwrap();
        let pid = said.strip_prefix("begun\\n").expect("both lines").parse().unwrap();
        assert!(begun.elapsed() < LONG);
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}
