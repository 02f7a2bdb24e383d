//! `denyhosts --daemon` and `--foreground`: `denyd run`, in the background or not.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::options::Options;
use super::paper;
use crate::clock;
use crate::config::Config;
use crate::daemon::{self as runs, Log, Mode, Origin};
use crate::desk::Request;
use crate::desk::control::Client;
use crate::desk::reply::Status;

/// What is taken at once of what the process says that starts, in bytes.
const SAID_MAX: usize = 4_096;

/// How long a start waits for a run that ends by itself.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How often in a row it may not answer, as it ends.
const SILENT_MAX: u32 = 40;
/// How often is looked whether it has ended.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What runs by this configuration: a daemon, or a run that ends by itself.
pub(super) fn running(config: &Config) -> anyhow::Result<Option<Status>> {
    let Some(mut client) = Client::connect(&config.control_socket)? else { return Ok(None) };
    client.ask(&Request::Status).map(Some)
}

/// The daemon that runs by this configuration. A run that ends by itself, as cron starts it, is none, and is waited for: else
/// a machine that starts in that moment would have no daemon.
pub(super) fn daemon(config: &Config) -> anyhow::Result<Option<u32>> {
    let end = clock::monotonic() + ENDS_WITHIN;
    let mut silent = 0;
    loop {
        match running(config) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) if !status.ends => return Ok(Some(status.pid)),
            Ok(Some(status)) if clock::monotonic() >= end => {
                bail!("process {} reads the logs and has not ended after {} s", status.pid, ENDS_WITHIN.as_secs())
            }
            // It may end while it is asked.
            Err(error) if silent >= SILENT_MAX => return Err(error),
            Err(_) => silent += 1,
            Ok(Some(_)) => silent = 0,
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Starts one in the background, and waits until it denies who is denied, or has failed: what it says until then is said here.
pub(super) fn start(options: &Options, file: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(pid) = daemon(config)? {
        bail!("DenyHosts could not obtain lock (pid: {pid})");
    }
    if let Some(path) = paper::hinders_daemon(config) {
        bail!("only root may start a daemon: {} cannot be written by you", path.display());
    }
    let mut command = Command::new(std::env::current_exe().context("cannot tell which program this is")?);
    command.arg0("denyhosts").args(["--foreground", "--detached", "--config"]).arg(file);
    let flags = [(options.noemail, "--noemail"), (options.verbose, "--verbose"), (options.debug, "--debug")];
    command.args(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("the process in the background cannot be started")?;
    let (mut said, mut runs) = ([0; SAID_MAX], false);
    while let Some(len) = child.stderr.as_mut().and_then(|err| err.read(&mut said).ok()).filter(|len| *len > 0) {
        for part in said[..len].split(|&byte| byte == runs::RUNS) {
            let _ = std::io::stderr().write_all(part);
        }
        runs |= said[..len].contains(&runs::RUNS);
    }
    // It has let go of its output: it runs, or is about to have ended.
    match runs || child.wait()?.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(1)),
    }
}

/// Runs here.
pub(super) fn here(config: Config, origin: Origin, detached: bool) -> anyhow::Result<ExitCode> {
    runs::hold_signals()?;
    if detached {
        // Who closes the terminal does not end it.
        nix::unistd::setsid().context("cannot leave the terminal")?;
        // Nor does it hold the file system of the directory, below which it has found relative paths.
        std::env::set_current_dir("/").context("cannot leave the directory")?;
    }
    let mut config = config;
    origin.given.apply(&mut config);
    let (log, mode) = match detached {
        true => (Log::to_syslog(config.log_level), Mode::Background),
        false => (Log::to_stderr(config.log_level), Mode::Real),
    };
    runs::run(config, origin, mode, log)?;
    Ok(ExitCode::SUCCESS)
}
