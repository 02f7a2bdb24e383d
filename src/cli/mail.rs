//! `denyd mail --test`: tells a test by mail and webhook as the daemon would, and shows what the servers say.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::output::Screen;
use crate::clock;
use crate::config::Config;
use crate::outbox::{Way, test};

/// What `mail` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("mail --test", "does mail arrive, and what does the server say"),
]))]
pub(super) struct Arguments {
    /// Send a mail to all that `to` of the configuration names, and a message to its webhook
    #[arg(long, required = true)]
    test: bool,
}

/// Runs the verb: exit status 0 if each server took what it was told, 1 if one did not.
pub(super) fn run(Arguments { test: _ }: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let wanted = Way::all(config).into_iter().filter(Way::is_wanted).collect::<Vec<_>>();
    if wanted.is_empty() {
        bail!("nobody is to have mail: write `to` into [mail] of the configuration, or `url_file` into [webhook]");
    }
    let mut screen = Screen::new();
    let mut code = ExitCode::SUCCESS;
    for way in wanted {
        let server = way.server();
        match way.send(&test(&clock::host_name())) {
            Ok(answer) => writeln!(screen, "{server} took it: {answer}")?,
            Err(refused) => {
                writeln!(screen, "{server} took nothing: {}\n{}", refused.why, way.remedy(&refused.why))?;
                code = ExitCode::from(1);
            }
        }
    }
    screen.flush()?;
    Ok(code)
}
