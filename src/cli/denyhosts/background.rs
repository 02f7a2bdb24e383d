//! `denyhosts --daemon` and `--foreground`: `denyd run`, in the background or not.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::options::Options;
use crate::config::Config;
use crate::daemon::{self, Log, Mode, Origin};
use crate::desk::Request;
use crate::desk::control::Client;
use crate::desk::reply::Status;

/// What is taken at once of what the process says that starts, in bytes.
const SAID_MAX: usize = 4_096;

/// The daemon that runs by this configuration.
pub(super) fn running(config: &Config) -> anyhow::Result<Option<u32>> {
    let Some(mut client) = Client::connect(&config.control_socket)? else { return Ok(None) };
    let status: Status = client.ask(&Request::Status)?;
    Ok(Some(status.pid))
}

/// Starts one in the background, and waits until it denies who is denied, or has failed: what it says until then is said here.
pub(super) fn start(options: &Options, file: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(pid) = running(config)? {
        bail!("DenyHosts could not obtain lock (pid: {pid})");
    }
    let mut command = Command::new(std::env::current_exe().context("cannot tell which program this is")?);
    command.arg0("denyhosts").args(["--foreground", "--detached", "--config"]).arg(file);
    let flags = [(options.noemail, "--noemail"), (options.verbose, "--verbose"), (options.debug, "--debug")];
    command.args(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("the process in the background cannot be started")?;
    let (mut said, mut runs) = ([0; SAID_MAX], false);
    while let Some(len) = child.stderr.as_mut().and_then(|err| err.read(&mut said).ok()).filter(|len| *len > 0) {
        for part in said[..len].split(|&byte| byte == daemon::RUNS) {
            let _ = std::io::stderr().write_all(part);
        }
        runs |= said[..len].contains(&daemon::RUNS);
    }
    // It has let go of its output: it runs, or is about to have ended.
    match runs || child.wait()?.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(1)),
    }
}

/// Runs here.
pub(super) fn here(config: Config, origin: Origin, detached: bool) -> anyhow::Result<ExitCode> {
    daemon::hold_hangup()?;
    if detached {
        // Who closes the terminal does not end it.
        nix::unistd::setsid().context("cannot leave the terminal")?;
    }
    let mut config = config;
    origin.given.apply(&mut config);
    let log = Log::to_stderr(config.log_level);
    let mode = if detached { Mode::Background } else { Mode::Real };
    daemon::run(config, origin, mode, log)?;
    Ok(ExitCode::SUCCESS)
}
