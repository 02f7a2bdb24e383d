//! Whom a verb asks: the daemon where one runs, else engine and store directly.

use std::borrow::Cow;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use super::output::is_broken_pipe;
use crate::clock;
use crate::config::{self, Config};
use crate::daemon::{self, lock_file};
use crate::deny::DenyBackend;
use crate::desk::control::Client;
use crate::desk::{self, Asked, Desk, Request};
use crate::store::Store;

/// Who answers: the daemon where one runs, else engine and store, opened here once and for all questions.
pub(super) struct Office<'a> {
    config: &'a Config,
    here: Option<(Desk, daemon::Clock)>,
    /// The back ends, and whether each was told all.
    back_ends: Option<Vec<(Box<dyn DenyBackend>, bool)>>,
    /// What could not be enforced of what was written, and why.
    problems: Vec<String>,
    /// What is so of all that is asked was said once.
    told: bool,
}

impl<'a> Office<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Office { config, here: None, back_ends: None, problems: Vec::new(), told: false }
    }

    /// Asks the daemon; with none running, does it here, and enforces what that changed.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> anyhow::Result<T> {
        if self.here.is_none()
            && let Some(mut client) = Client::connect(&self.config.control_socket)?
        {
            let answer = client.ask(request)?;
            if client.dry_run && !std::mem::replace(&mut self.told, true) {
                eprintln!("DRY RUN: nothing of this is enforced, and it is forgotten when the daemon ends");
            }
            if client.unwritten && !std::mem::replace(&mut self.told, true) {
                eprintln!(
                    "it is done, and not yet written: the database cannot be written, see denyd doctor. If denyd ends before it can, it is \
                     forgotten"
                );
            }
            return Ok(answer);
        }
        let (desk, clock) = match &mut self.here {
            Some(here) => here,
            None => {
                let (config, is_idle) = in_force(self.config);
                let config = config.as_ref();
                let store = store(config)?;
                let last = store.last_wall()?;
                let clock = daemon::Clock::begin(last);
                if let Some(last) = last.filter(|_| !clock.is_believed()) {
                    let now = clock::now();
                    eprintln!(
                        "it is {now} by the clock, and the last that is remembered was at {last}: nobody is released by such a clock \
                         until denyd runs"
                    );
                }
                let now = clock.now();
                if !request.only_reads() {
                    if let Some(predecessor) = lock_file::predecessor(config.compat.lock_file.as_deref()) {
                        bail!("{predecessor}");
                    }
                    self.back_ends = Some(match is_idle {
                        true => Vec::new(),
                        false => {
                            desk::back_ends(config, &store)?.into_iter().map(|back_end| (back_end, false)).collect()
                        }
                    });
                    if is_idle {
                        eprintln!(
                            "a configuration was tried and nobody kept it, so nothing is enforced: this is written to the database only"
                        );
                    }
                }
                let mut desk = Desk::open(store, daemon::policy(config), now)?;
                // Whatever it tells is in the whole that is written below.
                let _ = desk.tick(now);
                self.here.insert((desk, clock))
            }
        };
        let (at, now) = (clock.asked(request), clock.now());
        let Asked { reply, committed } = desk.ask_by(request, at, now);
        if let (Some(done), Some(back_ends)) = (committed, &mut self.back_ends) {
            let want = desk.wanted(now);
            // One that fails keeps none of the others from it.
            self.problems.clear();
            for (back_end, is_told) in back_ends {
                let done = match *is_told {
                    true => back_end.update(&done.publish, &want, now),
                    false => back_end.replace(&want, now),
                };
                *is_told = done.is_ok();
                self.problems.extend(done.err().map(|error| error.to_string()));
            }
            done.written
                .context("it is done, but could not be written: the next start of denyd does not know of it")?;
        }
        // As it would have come from the daemon.
        Ok(serde_json::from_value(serde_json::to_value(reply.map_err(anyhow::Error::msg)?)?)?)
    }

    /// What could not be enforced of what was written, if anything.
    pub(super) fn unenforced(&self) -> Option<anyhow::Error> {
        let problems = self.problems.join("; ");
        let told = || anyhow::anyhow!("it is noted, and not enforced everywhere: {problems}; denyd run tries it again");
        (!self.is_enforced()).then(told)
    }

    /// Whether each back end has what was written.
    pub(super) fn is_enforced(&self) -> bool {
        self.problems.is_empty()
    }

    /// Asks about several in turn, of which one that fails hinders no other: exit status 0 if all are, 1 if one is
    /// not, 2 if one failed.
    pub(super) fn each<T>(
        mut self,
        all: &[T],
        mut one: impl FnMut(&mut Self, &T) -> anyhow::Result<bool>,
    ) -> anyhow::Result<ExitCode> {
        let (mut is_all, mut failed) = (true, None);
        for asked in all {
            match one(&mut self, asked) {
                Ok(is) => is_all &= is,
                Err(error) if is_broken_pipe(&error) => return Err(error),
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        eprintln!("denyd: {before:#}");
                    }
                }
            }
        }
        if let Some(unenforced) = self.unenforced()
            && let Some(before) = failed.replace(unenforced)
        {
            eprintln!("denyd: {before:#}");
        }
        failed.map_or(Ok(if is_all { ExitCode::SUCCESS } else { ExitCode::from(1) }), Err)
    }
}

/// What a start of the daemon would hold now, and whether it would enforce nothing: a configuration that was tried, and that
/// nobody kept, holds no more.
fn in_force(config: &Config) -> (Cow<'_, Config>, bool) {
    match config::Trial::read(&config.state_dir) {
        Ok(None) => (Cow::Borrowed(config), false),
        Ok(Some(trial)) => {
            trial.before(config).map_or((Cow::Borrowed(config), true), |before| (Cow::Owned(before), false))
        }
        // Nor can anybody tell what was before.
        Err(error) => {
            eprintln!("denyd: the order to try a configuration cannot be read: {error}");
            (Cow::Borrowed(config), true)
        }
    }
}

/// Asks one question.
pub(super) fn ask<T: DeserializeOwned>(config: &Config, request: &Request) -> anyhow::Result<T> {
    let mut office = Office::new(config);
    let answer = office.ask(request)?;
    if let Some(unenforced) = office.unenforced() {
        eprintln!("denyd: {unenforced}");
    }
    Ok(answer)
}

/// The store of a daemon that does not run.
pub(super) fn store(config: &Config) -> anyhow::Result<Store> {
    if !config.state_dir.join(crate::store::FILE).exists() {
        bail!(
            "no daemon answers at {}, and there is no state in {}; start it: denyd run",
            config.control_socket.display(),
            config.state_dir.display()
        );
    }
    Store::open_intact(&config.state_dir).map_err(|error| match error.is_corrupt() {
        true => anyhow::Error::from(error).context("the database is corrupt; denyd run sets it aside and goes on"),
        false => error.into(),
    })
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
