//! `denyd mail --test`: sends a mail as the daemon would, and shows what the server says.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::output::Screen;
use crate::clock;
use crate::config::Config;
use crate::outbox::{post, test};

/// What `mail` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("mail --test", "does mail arrive, and what does the server say"),
]))]
pub(super) struct Arguments {
    /// Send a mail to all that `to` of the configuration names
    #[arg(long, required = true)]
    test: bool,
}

/// Runs the verb: exit status 0 if the server took the mail, 1 if it did not.
pub(super) fn run(Arguments { test: _ }: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let mail = &config.mail;
    if mail.to.is_empty() {
        bail!("nobody is to have mail: write `to` into [mail] of the configuration");
    }
    let mut screen = Screen::new();
    let server = &mail.server;
    let code = match post::send(mail, &test(&clock::host_name())) {
        Ok(answer) => {
            writeln!(screen, "{server} took a mail: {answer}")?;
            ExitCode::SUCCESS
        }
        Err(refused) => {
            writeln!(screen, "{server} took no mail: {}", refused.why)?;
            writeln!(screen, "{}", post::remedy(mail, &refused.why))?;
            ExitCode::from(1)
        }
    };
    screen.flush()?;
    Ok(code)
}
