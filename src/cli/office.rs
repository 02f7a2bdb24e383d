//! Whom a verb asks: the daemon where one runs, else engine and store directly.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::clock;
use crate::config::Config;
use crate::desk::control::Client;
use crate::desk::{self, Asked, Desk, Request};
use crate::store::Store;

/// Asks the daemon; with none running, does it here, and enforces what that changed.
pub(super) fn ask<T: DeserializeOwned>(config: &Config, request: &Request) -> anyhow::Result<T> {
    if let Some(mut client) = Client::connect(&config.control_socket)? {
        let answer = client.ask(request)?;
        if client.dry_run {
            eprintln!("DRY RUN: nothing of this is enforced, and it is forgotten when the daemon ends");
        }
        if client.unwritten {
            eprintln!(
                "it is done, and not yet written: the database cannot be written, see denyd doctor. If denyd ends before it can, it is \
                 forgotten"
            );
        }
        return Ok(answer);
    }
    if !config.state_dir.join(crate::store::FILE).exists() {
        bail!(
            "no daemon answers at {}, and there is no state in {}; start it: denyd run",
            config.control_socket.display(),
            config.state_dir.display()
        );
    }
    let store = Store::open_intact(&config.state_dir).map_err(|error| match error.is_corrupt() {
        true => anyhow::Error::from(error).context("the database is corrupt; denyd run sets it aside and goes on"),
        false => error.into(),
    })?;
    let back_ends = match request.only_reads() {
        true => None,
        false => Some(desk::back_ends(config, &store)?),
    };
    let now = clock::now();
    let mut desk = Desk::open(store, config.policy(), now)?;
    // Whatever it tells is in the whole that is written below.
    let _ = desk.tick(now);
    let Asked { reply, committed } = desk.ask(request, now);
    if let (Some(done), Some(mut back_ends)) = (committed, back_ends) {
        let want = desk.wanted(now);
        back_ends.iter_mut().try_for_each(|back_end| back_end.replace(&want, now))?;
        done.written.context("it is done, but could not be written: the next start of denyd does not know of it")?;
    }
    // As it would have come from the daemon.
    Ok(serde_json::from_value(serde_json::to_value(reply.map_err(anyhow::Error::msg)?)?)?)
}

/// Asks what only a running daemon knows.
pub(super) fn ask_daemon<T: DeserializeOwned>(config: &Config, request: &Request) -> anyhow::Result<T> {
    daemon(config)?.ask(request)
}

/// The daemon, which must run.
pub(super) fn daemon(config: &Config) -> anyhow::Result<Client> {
    let daemon = Client::connect(&config.control_socket)?;
    daemon.with_context(|| format!("no daemon answers at {}; start it: denyd run", config.control_socket.display()))
}
