//! `daemon-control`: starts and stops the daemon for init, with exit statuses that init understands (the LSB's).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{background, denyhosts, file, options, paper};
use crate::clock;
use crate::config::Config;
use crate::daemon::lock_file::{self, Holder};

/// How long a daemon may take to end: it writes what it knows first, and then its back ends carry out what they were told.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The LSB's exit statuses of `status`: not running, and the same with a lock file left behind.
const NOT_RUNNING: u8 = 3;
const LEFT_BEHIND: u8 = 1;
/// The LSB's exit status of a verb that its caller may not say.
const NOT_ALLOWED: u8 = 4;

/// What can be asked for; `status` is the last.
pub(super) const VERBS: &[&str] =
    &["start", "stop", "restart", "condrestart", "try-restart", "reload", "force-reload", "debug", "status"];

/// Who runs.
enum Running {
    Pid(Pid),
    /// Nobody, and a lock file was left behind.
    Left,
    Nobody,
}

pub(super) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((verb, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    if !VERBS.contains(&verb.as_str()) {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(2));
    }
    let named = options::parse(rest).map_err(anyhow::Error::msg)?.config;
    let config = Config::read_or_last(&file(named)?)?.0;
    match verb.as_str() {
        "start" => start(&config, rest),
        "stop" => stop(&config),
        "restart" => {
            stop(&config)?;
            start(&config, rest)
        }
        "condrestart" | "try-restart" => match running(&config)? {
            Running::Pid(_) => {
                stop(&config)?;
                start(&config, rest)
            }
            _ => Ok(ExitCode::SUCCESS),
        },
        "reload" | "force-reload" => signal(&config, Signal::SIGHUP),
        "debug" => signal(&config, Signal::SIGUSR1),
        _ => match running(&config)? {
            Running::Pid(pid) => {
                println!("DenyHosts is running with pid = {pid}");
                Ok(ExitCode::SUCCESS)
            }
            Running::Left => {
                println!("LOCK exists but DenyHosts is not running");
                Ok(ExitCode::from(LEFT_BEHIND))
            }
            Running::Nobody => {
                println!("DenyHosts is not running");
                Ok(ExitCode::from(NOT_RUNNING))
            }
        },
    }
}

/// Who runs: it answers, or its lock file says so. A run that ends by itself, as cron starts it, is no daemon.
fn running(config: &Config) -> anyhow::Result<Running> {
    // Whoever may not ask may read.
    let answers = background::running(config);
    let pid = match &answers {
        Ok(Some(status)) if status.ends => return Ok(Running::Nobody),
        Ok(Some(status)) => status.pid,
        Ok(None) | Err(_) => match config.compat.lock_file.as_deref().and_then(lock_file::holder) {
            Some(Holder::Denyd(pid) | Holder::DenyHosts(pid)) => pid,
            Some(Holder::Stale) => return Ok(Running::Left),
            None => return answers.map(|_| Running::Nobody),
        },
    };
    // Numbers beyond that are no process'.
    Ok(i32::try_from(pid).map_or(Running::Nobody, |pid| Running::Pid(Pid::from_raw(pid))))
}

fn start(config: &Config, rest: &[String]) -> anyhow::Result<ExitCode> {
    // A run that ends by itself is waited for: it is no daemon.
    background::daemon(config)?;
    if let Running::Pid(pid) = running(config)? {
        println!("DenyHosts is running with pid = {pid}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = paper::hinders_daemon(config) {
        eprintln!("daemon-control: only root may start DenyHosts: {} cannot be written by you", path.display());
        return Ok(ExitCode::from(NOT_ALLOWED));
    }
    println!("starting DenyHosts");
    denyhosts(&[&["--daemon".to_owned()], rest].concat())
}

fn stop(config: &Config) -> anyhow::Result<ExitCode> {
    let Running::Pid(pid) = running(config)? else {
        println!("DenyHosts is not running");
        return Ok(ExitCode::SUCCESS);
    };
    if kill(pid, Signal::SIGTERM) == Err(Errno::EPERM) {
        eprintln!("daemon-control: only root may stop DenyHosts (pid {pid})");
        return Ok(ExitCode::from(NOT_ALLOWED));
    }
    println!("sent DenyHosts SIGTERM");
    let end = clock::monotonic() + ENDS_WITHIN;
    while !has_ended(pid) {
        if clock::monotonic() >= end {
            bail!("process {pid} has not ended after {} s", ENDS_WITHIN.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a process has ended, though nobody may have asked how: then it has no command line any more.
fn has_ended(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
        || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
}

fn signal(config: &Config, signal: Signal) -> anyhow::Result<ExitCode> {
    let Running::Pid(pid) = running(config)? else {
        println!("DenyHosts is not running");
        return Ok(ExitCode::from(1));
    };
    kill(pid, signal).with_context(|| format!("process {pid} cannot be told; only root may do that"))?;
    println!("sent DenyHosts {signal}");
    Ok(ExitCode::SUCCESS)
}

/// What it says of itself.
pub(super) const USAGE: &str = "\
Usage: daemon-control VERB [options of denyhosts]
  start        start DenyHosts in the background
  stop         stop it, and wait until it has ended
  restart      stop it, if it runs, and start it
  condrestart  restart it, if it runs
  reload       have it read its configuration anew
  status       tell whether it runs; exit status 0 if so, 3 if not, 1 if not and its LOCK_FILE is there
  debug        have it log more, or less again
";
