//! `denyd off`: takes away all that was ever written into firewalls and files, and keeps the state.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::{office, output};
use crate::clock;
use crate::config::Config;
use crate::desk::control::Client;
use crate::desk::reply::Status;
use crate::desk::{self, Request};

/// What `off` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("off", "let everybody in; systemctl stop denyd comes first"),
]))]
pub(super) struct Arguments {}

/// Runs the verb: exit status 2 if something is left.
///
/// A daemon would write its denies again within a second, so it must be stopped first: whoever switches it off means
/// that, and a deny that comes back a second later would say otherwise.
pub(super) fn run(_: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(mut client) = Client::connect(&config.control_socket)? {
        let status: Status = client.ask(&Request::Status)?;
        if !client.dry_run {
            bail!(
                "the daemon runs (process {}), and would deny again within a second; stop it first: systemctl stop denyd, or \
                 kill {}. Nothing was taken away",
                status.pid,
                status.pid
            );
        }
    }
    let store = office::store(config)?;
    if store.is_lost()? {
        bail!(
            "the database was lost, and with it where denies were written; start the daemon once, which takes over what is \
             denied: denyd run. Then stop it, and try again. Nothing was taken away"
        );
    }
    let (mut left, mut screen) = (false, output::Screen::new());
    for (place, back_end) in desk::written(&store).map_err(anyhow::Error::msg)? {
        match back_end.map(|mut back_end| back_end.take_away(clock::now())) {
            Some(Ok(())) => writeln!(screen, "{place}: nothing of denyd is there now")?,
            Some(Err(error)) => (left, _) = (true, eprintln!("denyd: {place}: {error}")),
            None => (left, _) = (true, eprintln!("denyd: {place}: this version does not know what that is")),
        }
    }
    writeln!(screen, "Who is denied is kept: `denyd run` denies them again, and `denyd forgive --all` forgets them.")?;
    screen.flush()?;
    Ok(if left { ExitCode::from(2) } else { ExitCode::SUCCESS })
}
