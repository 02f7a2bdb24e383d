//! A new configuration takes the place of the old one while we run: all of it, or nothing.

use std::path::Path;
use std::time::Duration;

use inputs::record::Batch;
use tokio::sync::mpsc;

use super::configured::Fresh;
use super::here::Here;
use super::leave::{self, Leave};
use super::newcomer::Processes;
use super::owner::Owner;
use super::protected::{ASKED_WITHIN, Asking};
use super::reading::{Purpose, Reading};
use super::trial::{Order, Trial};
use super::{Origin, policy_with, start_back_ends};
use crate::config::Config;
use crate::deny::DenySet;
use crate::desk::Request;
use crate::desk::control::{Ask, Told};
use crate::desk::reply::{Reloaded, Reply};
use crate::{clock, config};

/// How long inputs that leave may take to hand over what they have read.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// How often is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long back ends that leave may take to carry out what they were told last.
const BACK_ENDS_LEAVE: Duration = Duration::from_secs(2);
/// What is said where a configuration cannot be kept.
pub(super) const UNKEPT: &str = "this configuration could not be kept for when its file is broken";

/// Says that nothing is read.
pub(super) fn refuse(ask: Ask, refused: &str) {
    tracing::error!(refused, "the configuration was not read");
    let _ = ask.reply.send(Told { reply: Err(format!("nothing was changed: {refused}")), unwritten: false });
}

impl Owner {
    /// Begins to read the configuration, as SIGHUP or a person asks.
    pub(super) fn reload(&mut self, ask: Ask) {
        if let Err(refused) = self.ordered(&ask) {
            return refuse(ask, &refused);
        }
        let Origin { file, given, .. } = &self.outside.shown.origin;
        let (file, given, dry_run) = (file.clone(), *given, self.outside.shown.dry_run);
        self.read(Purpose::Asked(ask), move || Fresh::read(file.as_deref(), given, dry_run));
    }

    /// Begins to read a configuration, once none is being read.
    pub(super) fn read(&mut self, purpose: Purpose, read: impl FnOnce() -> anyhow::Result<Fresh> + Send + 'static) {
        let goes_back = matches!(purpose, Purpose::Back);
        match Reading::begin(purpose, read) {
            Ok(reading) => self.reading = Some(reading),
            Err(error) => {
                tracing::error!(%error, "no configuration can be read: the system refuses a thread");
                // Who asks learns by the end of his line that nothing came of it; a trial has nobody who asks.
                if goes_back {
                    self.end_trial(Err(error.into()));
                }
            }
        }
    }

    /// A configuration was read: lets it take the place of the old one, says what came of it, and logs it.
    pub(super) async fn was_read(
        &mut self,
        (purpose, fresh): (Purpose, anyhow::Result<Fresh>),
        batches: &mut mpsc::Receiver<Batch>,
    ) {
        match purpose {
            Purpose::Back => self.has_gone_back(fresh, batches).await,
            // Who asks may have gone, and what was on trial may have ended.
            Purpose::Asked(ask) => match self.ordered(&ask) {
                Ok(order) => {
                    let reply = self.reload_by(order, fresh, batches).await;
                    // Nobody may be waiting for it.
                    let _ = ask.reply.send(Told { reply, unwritten: false });
                }
                Err(refused) => refuse(ask, &refused),
            },
        }
    }

    /// What is asked for: a trial of so many seconds, or that it holds for good.
    fn ordered(&self, ask: &Ask) -> Result<Option<Order>, String> {
        let Request::Try { seconds } = ask.request else {
            // The end of a terminal sends SIGHUP, also of one whose person was locked out.
            return match self.trial.as_ref().is_some_and(Trial::went_back) && ask.caller.is_none() {
                true => {
                    Err("the configuration was tried and nobody kept it; to have it hold all the same: denyd reload"
                        .to_owned())
                }
                false => Ok(None),
            };
        };
        if self.outside.shown.dry_run {
            return Err("a dry run enforces nothing, so there is nothing to try".to_owned());
        }
        Processes::here().sees(ask.caller.ok_or("denyd cannot tell which process asks")?)?;
        // Whatever was not kept meanwhile, it goes back to what was.
        let decided = *self.desk.decided().borrow();
        let mut order = Order::new(seconds, decided, Some(&self.configured.config))?;
        if let Some(Trial { order: known, .. }) = &self.trial {
            order.trial.before = known.before.clone();
            order.trial.decided = if known.ended { decided } else { known.decided };
        }
        Ok(Some(order))
    }

    async fn reload_by(
        &mut self,
        order: Option<Order>,
        fresh: anyhow::Result<Fresh>,
        batches: &mut mpsc::Receiver<Batch>,
    ) -> Result<Reply, String> {
        let state_dir = self.configured.config.state_dir.clone();
        let fresh = fresh.and_then(|fresh| self.configured.admits(&fresh).map(|()| fresh));
        if let Some(order) = order.as_ref().filter(|_| fresh.is_ok()) {
            order.trial.write(&state_dir).map_err(|error| {
                format!(
                    "nothing was changed: the order to go back cannot be written to {}: {error}",
                    state_dir.display()
                )
            })?;
        }
        let was_ordered = fresh.is_ok() && order.is_some();
        let taken = match fresh {
            Ok(fresh) => self.take(fresh, batches).await,
            Err(error) => Err(error),
        };
        let mut told = match taken {
            Ok(told) => told,
            Err(error) => {
                let problem = format!("{error:#}");
                tracing::error!(problem, "the configuration cannot take the place of the old one, which stays in use");
                self.outside.shown.origin.broken = Some(problem.clone());
                let before = self.trial.as_ref().map(|trial| trial.order.write(&state_dir));
                if was_ordered && let Err(error) = before.unwrap_or_else(|| config::Trial::remove(&state_dir)) {
                    tracing::error!(%error, "the order to go back cannot be withdrawn: the next start goes back");
                }
                return Err(format!("nothing was changed, the old configuration stays in use: {problem}"));
            }
        };
        tracing::info!(
            inputs_begun = told.begun.join(", "),
            inputs_ended = told.ended.join(", "),
            inputs_changed = told.changed.join(", "),
            back_ends_changed = told.back_ends,
            "the configuration was read anew, and holds"
        );
        self.outside.shown.origin.broken = None;
        if let Some(order) = order {
            self.trial = Some(Trial::begin(order));
        } else if self.trial.as_ref().is_some_and(Trial::went_back) {
            self.trial = None;
            if let Err(error) = config::Trial::remove(&state_dir) {
                tracing::error!(%error, "that it was not kept before cannot be forgotten: the next start goes back");
            }
        }
        self.keep_configuration();
        told.trial = self.trial.as_ref().map(Trial::shown);
        Ok(Reply::Reloaded(told))
    }

    /// Lets other back ends, or these made otherwise, take the place of those that are at work. What is denied stays denied
    /// meanwhile.
    fn change_back_ends(&mut self, config: &Config) -> anyhow::Result<()> {
        self.outside.leave.stop();
        let want = self.desk.publish_all(self.clock.now());
        let want = if self.is_idle() { DenySet::default() } else { want };
        let none = start_back_ends(Vec::new(), DenySet::default(), &self.clock)?;
        // The new ones may write into the same table or file, and begin with what is noted of it: the old ones end first.
        if !std::mem::replace(&mut self.outside.reconcilers, none).stop(BACK_ENDS_LEAVE) {
            tracing::warn!("a back end that is not wanted any more hangs; what it denies stays denied");
        }
        let back_ends = self.desk.back_ends(config)?;
        let left = leave::left(&self.desk, config, &back_ends, self.outside.shown.dry_run);
        self.desk.note_places(config, &back_ends);
        self.outside.reconcilers = start_back_ends(back_ends, want, &self.clock)?;
        self.outside.leave = Leave::begin(left, self.outside.reconcilers.enforced())?;
        Ok(())
    }

    /// The same. A daemon that can have none of them ends: all is committed, and what is denied stays denied, but one that
    /// enforces nothing unknowingly must not go on.
    pub(super) fn change_back_ends_or_end(&mut self, config: &Config) {
        if let Err(error) = self.change_back_ends(config) {
            let error = format!("{error:#}");
            tracing::error!(error, "the back ends cannot be begun anew; denyd ends, to be started again");
            std::process::exit(1);
        }
    }

    /// The configuration's file. Where there is none yet, that will be the usual one.
    pub(super) fn file(&self) -> &Path {
        self.outside.shown.origin.file.as_deref().unwrap_or(Path::new(config::FILE))
    }

    /// Keeps the configuration for when its file is broken.
    pub(super) fn keep_configuration(&self) {
        let shown = &self.outside.shown;
        if !shown.dry_run
            && self.trial.is_none()
            && shown.origin.broken.is_none()
            && let Err(error) = self.configured.config.keep(self.file())
        {
            tracing::warn!(%error, "{UNKEPT}");
        }
    }

    /// Folds in what the inputs bring until something is so, or so much time is over.
    async fn until(&mut self, is_so: impl Fn() -> bool, most: Duration, batches: &mut mpsc::Receiver<Batch>) {
        let end = clock::monotonic() + most;
        while !is_so() && clock::monotonic() < end {
            tokio::select! {
                Some(batch) = batches.recv() => self.batch(batch),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Lets a configuration take the place of this one. One that holds ends that nothing is enforced.
    pub(super) async fn take(&mut self, fresh: Fresh, batches: &mut mpsc::Receiver<Batch>) -> anyhow::Result<Reloaded> {
        let changes = self.configured.changes_back_ends(&fresh) || self.is_idle();
        if changes {
            // That they can be made, and that nobody else keeps their places, is seen before anything is given up.
            let back_ends = self.desk.back_ends(&fresh.config)?;
            self.outside.alone.also(&fresh.config, &back_ends)?;
        }

        let asking = Asking::begin(&fresh.config.decide.protect_groups, self.outside.late.clone());
        self.until(|| asking.is_answered(), ASKED_WITHIN, batches).await;
        let protected = asking.users(Duration::ZERO);
        let leaving = self.configured.leave(&fresh);
        self.until(|| leaving.have_ended(), LEAVE_MAX, batches).await;
        // What they have read is here by now, and is folded in before it is asked where they were. No more is: another input may
        // be reading a long file, and bring as fast as we take.
        for _ in 0..batches.len() {
            if let Ok(batch) = batches.try_recv() {
                self.batch(batch);
            }
        }
        self.sources.iter_mut().for_each(|source| source.keep(&mut self.desk));
        self.commit();
        let left = leaving.names();
        let (entered, sources) = self.configured.enter(&fresh, leaving, &mut self.desk);
        let begun: Vec<_> = sources.iter().map(|source| source.name().to_owned()).collect();
        for mut source in sources {
            if let Some(at) = self.sources.iter().position(|before| before.name() == source.name()) {
                let mut before = self.sources.swap_remove(at);
                source.fold.take_over(&mut before.fold, clock::now());
            }
            self.sources.push(source);
        }
        entered?;

        // From here on nothing fails, but for a thread that the system refuses.
        let is_fresh = |name: &str| fresh.inputs.iter().any(|input| input.name == name);
        self.sources.retain(|source| is_fresh(source.name()));
        self.sources.sort_by_key(|source| fresh.inputs.iter().position(|input| input.name == source.name()));
        self.sources.iter_mut().for_each(|source| source.fold.rules = fresh.rules.clone());
        self.here = Here::new(&fresh.inputs);
        self.outside.log.set_level(fresh.config.log_level);
        let effects = self.desk.set_policy(policy_with(&fresh.config, protected), self.clock.now());
        self.carry_out(effects);
        self.commit();
        self.outside.resolver.want(self.desk.allowed_names());
        self.outside.resolver.again();
        if changes {
            if let Some(trial) = &mut self.trial {
                trial.is_idle = false;
            }
            self.change_back_ends_or_end(&fresh.config);
        }
        let now = &self.configured.config;
        let mails = now.mail != fresh.config.mail
            || now.webhook != fresh.config.webhook
            || now.plugin != fresh.config.plugin
            || now.report != fresh.config.report
            || now.sync != fresh.config.sync
            || now.inputs != fresh.config.inputs
            || now.deny != fresh.config.deny;
        self.configured.take(fresh);
        if let Some(work_dir) = &self.outside.work_dir {
            work_dir.order(self.configured.config.compat.work_dir.clone());
        }
        if !self.outside.shown.dry_run {
            self.outside.lock_file.be_at(self.configured.config.compat.lock_file.as_deref());
        }
        let _ = self.outside.old_log.send(self.configured.config.old_log.clone());
        if mails {
            self.outside.mailing.configure(&mut self.desk, &self.configured.config);
        }
        let (changed, begun) = begun.into_iter().partition(|name| left.contains(name));
        let ended = left.into_iter().filter(|name| !self.sources.iter().any(|source| source.name() == name)).collect();
        Ok(Reloaded { begun, ended, changed, back_ends: changes, trial: None })
    }
}
