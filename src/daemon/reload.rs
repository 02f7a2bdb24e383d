//! A new configuration takes the place of the old one while we run: all of it, or nothing.

use std::path::Path;
use std::time::Duration;

use inputs::record::Batch;
use tokio::sync::mpsc;

use super::here::Here;
use super::leave::{self, Leave};
use super::owner::Owner;
use super::{policy, start_back_ends};
use crate::config::Config;
use crate::deny::DenySet;
use crate::desk::control::{Ask, Told};
use crate::desk::reply::{Reloaded, Reply};
use crate::{clock, config};

/// How long inputs that leave may take to hand over what they have read.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// How often is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long back ends that leave may take to carry out what they were told last.
const BACK_ENDS_LEAVE: Duration = Duration::from_secs(2);

impl Owner {
    /// Does what SIGHUP or a person asks for, says what came of it, and logs it.
    pub(super) async fn reload(&mut self, ask: Ask, batches: &mut mpsc::Receiver<Batch>) {
        let reply = match self.reload_all(batches).await {
            Ok(told) => {
                tracing::info!(
                    inputs_begun = told.begun.join(", "),
                    inputs_ended = told.ended.join(", "),
                    inputs_changed = told.changed.join(", "),
                    back_ends_changed = told.back_ends,
                    "the configuration was read anew, and holds"
                );
                self.outside.shown.origin.broken = None;
                Ok(Reply::Reloaded(told))
            }
            Err(error) => {
                let problem = format!("{error:#}");
                tracing::error!(problem, "the configuration cannot take the place of the old one, which stays in use");
                self.outside.shown.origin.broken = Some(problem.clone());
                Err(format!("nothing was changed, the old configuration stays in use: {problem}"))
            }
        };
        // Nobody may be waiting for it.
        let _ = ask.reply.send(Told { reply, unwritten: false });
    }

    /// Lets other back ends, or these made otherwise, take the place of those that are at work. What is denied stays denied
    /// meanwhile.
    fn change_back_ends(&mut self, config: &Config) -> anyhow::Result<()> {
        self.outside.leave.stop();
        let want = self.desk.publish_all(self.clock.now());
        let none = start_back_ends(Vec::new(), DenySet::default(), &self.clock)?;
        // The new ones may write into the same table or file, and begin with what is noted of it: the old ones end first.
        if !std::mem::replace(&mut self.outside.reconcilers, none).stop(BACK_ENDS_LEAVE) {
            tracing::warn!("a back end that is not wanted any more hangs; what it denies stays denied");
        }
        let back_ends = self.desk.back_ends(config)?;
        let left = leave::left(&self.desk, config, &back_ends, self.outside.shown.dry_run);
        self.outside.reconcilers = start_back_ends(back_ends, want, &self.clock)?;
        self.outside.leave = Leave::begin(left, self.outside.reconcilers.enforced())?;
        Ok(())
    }

    /// Keeps the configuration for when its file is broken. Where there is none yet, that will be the usual one.
    pub(super) fn keep_configuration(&self) {
        let shown = &self.outside.shown;
        let file = shown.origin.file.as_deref().unwrap_or(Path::new(config::FILE));
        if !shown.dry_run
            && shown.origin.broken.is_none()
            && let Err(error) = self.configured.config.keep(file)
        {
            tracing::warn!(%error, "this configuration could not be kept for when its file is broken");
        }
    }

    async fn reload_all(&mut self, batches: &mut mpsc::Receiver<Batch>) -> anyhow::Result<Reloaded> {
        let dry_run = self.outside.shown.dry_run;
        let fresh = self.configured.read(self.outside.shown.origin.file.as_deref(), dry_run)?;
        let changes = self.configured.changes_back_ends(&fresh);
        if changes {
            // That they can be made, and that nobody else keeps their places, is seen before anything is given up.
            let back_ends = self.desk.back_ends(&fresh.config)?;
            self.outside.alone.also(&fresh.config, &back_ends)?;
        }

        let leaving = self.configured.leave(&fresh);
        let end = clock::monotonic() + LEAVE_MAX;
        while !leaving.have_ended() && clock::monotonic() < end {
            tokio::select! {
                Some(batch) = batches.recv() => self.batch(&batch),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        // What they have read is here by now, and is folded in before it is asked where they were. No more is: another input may
        // be reading a long file, and bring as fast as we take.
        for _ in 0..batches.len() {
            if let Ok(batch) = batches.try_recv() {
                self.batch(&batch);
            }
        }
        self.sources.iter_mut().for_each(|source| source.keep(&mut self.desk));
        self.commit();
        let left = leaving.names();
        let (entered, sources) = self.configured.enter(&fresh, leaving, &mut self.desk);
        let begun: Vec<_> = sources.iter().map(|source| source.name().to_owned()).collect();
        self.sources.retain(|source| !begun.iter().any(|name| name == source.name()));
        self.sources.extend(sources);
        entered?;

        // From here on nothing fails, but for a thread that the system refuses.
        let is_fresh = |name: &str| fresh.inputs.iter().any(|input| input.name == name);
        self.sources.retain(|source| is_fresh(source.name()));
        self.sources.sort_by_key(|source| fresh.inputs.iter().position(|input| input.name == source.name()));
        self.sources.iter_mut().for_each(|source| source.fold.rules = fresh.rules.clone());
        self.here = Here::new(&fresh.inputs);
        self.outside.log.set_level(fresh.config.log_level);
        let effects = self.desk.set_policy(policy(&fresh.config), self.clock.now());
        self.carry_out(effects);
        self.commit();
        if changes && let Err(error) = self.change_back_ends(&fresh.config) {
            // All is committed, and what is denied stays denied; a daemon that enforces nothing must not go on.
            tracing::error!(
                error = format!("{error:#}"),
                "the back ends cannot be begun anew; denyd ends, to be started again"
            );
            std::process::exit(1);
        }
        let mails =
            self.configured.config.mail != fresh.config.mail || self.configured.config.deny != fresh.config.deny;
        self.configured.take(fresh);
        if mails {
            self.outside.mailing.configure(&mut self.desk, &self.configured.config);
        }
        self.keep_configuration();
        let (changed, begun) = begun.into_iter().partition(|name| left.contains(name));
        let ended = left.into_iter().filter(|name| !self.sources.iter().any(|source| source.name() == name)).collect();
        Ok(Reloaded { begun, ended, changed, back_ends: changes })
    }
}
