//! A configuration on trial is kept by who begins a session anew, or goes back to what was.

use inputs::record::Batch;
use tokio::sync::mpsc;

use super::configured::Fresh;
use super::machine;
use super::newcomer::Processes;
use super::owner::Owner;
use super::reading::{Purpose, Reading};
use super::reload::{UNKEPT, refuse};
use super::trial::AGAIN;
use crate::clock;
use crate::config;
use crate::decide::prefix::Prefix;
use crate::desk::control::{Ask, Told};
use crate::desk::reply::{Kept, Reply};

impl Owner {
    /// Answers who asks to keep the configuration that is tried.
    pub(super) fn keep(&mut self, ask: Ask, console: bool) {
        let reply = self.kept(ask.caller, console);
        if let Err(why) = &reply {
            tracing::warn!(why, "denyd keep was refused");
        }
        // Nobody may be waiting for it.
        let _ = ask.reply.send(Told { reply, unwritten: false });
    }

    fn kept(&mut self, caller: Option<i32>, console: bool) -> Result<Reply, String> {
        let Some(trial) = &self.trial else {
            return Err("no configuration is on trial: what holds is kept".to_owned());
        };
        let Some(waits) = trial.waits.as_ref().filter(|waits| clock::boottime() < waits.ends) else {
            return Err(format!("nobody kept the configuration until {}, so it went back; {AGAIN}", trial.order.until));
        };
        let caller = caller.ok_or("denyd cannot tell which process asks")?;
        let own = machine::read().own;
        let is_own = |from| own.iter().any(|prefix| prefix.contains(&Prefix::host(from)));
        match console {
            true => Processes::here().at_console(caller)?,
            false => Processes::here().newcomer(caller, &waits.before, is_own)?,
        }
        let state_dir = &self.configured.config.state_dir;
        config::Trial::remove(state_dir).map_err(|error| {
            format!("the order cannot be removed from {}, so it still waits: {error}", state_dir.display())
        })?;
        let tried_since = trial.order.since;
        self.trial = None;
        tracing::info!("the configuration was kept, and holds");
        // It is good, and runs, whatever became of its file meanwhile.
        let unkept = self.configured.config.keep(self.file()).err().map(|error| error.to_string());
        if let Some(error) = &unkept {
            tracing::warn!(error, "{UNKEPT}");
        }
        Ok(Reply::Kept(Kept { tried_since, unkept }))
    }

    /// Goes back to what was before the trial, whose time is over: that is read first.
    pub(super) fn go_back(&mut self) {
        let Some(trial) = &mut self.trial else { return };
        trial.waits = None;
        let before = trial.order.before(&self.configured.config);
        // Whoever asked for another one meanwhile may ask again: this one waits for nobody.
        if let Some(ask) = self.reading.take().and_then(Reading::asked) {
            refuse(ask, "the configuration that was on trial goes back");
        }
        tracing::warn!("nobody kept the configuration in time: going back to what was; see denyd status");
        match before {
            Some(before) => self.read(Purpose::Back, || Fresh::of(before, false)),
            None => self.end_trial(Ok(false)),
        }
    }

    /// What was before the trial was read: that holds. Where it cannot, nothing is enforced.
    pub(super) async fn has_gone_back(&mut self, fresh: anyhow::Result<Fresh>, batches: &mut mpsc::Receiver<Batch>) {
        let is_back = match fresh {
            Ok(fresh) => self.take(fresh, batches).await.map(|_| true),
            Err(error) => Err(error),
        };
        self.end_trial(is_back);
    }

    /// Withdraws what the trial denied. `is_back`: whether what was before holds again.
    pub(super) fn end_trial(&mut self, is_back: anyhow::Result<bool>) {
        let Some(decided) = self.trial.as_ref().map(|trial| trial.order.decided) else { return };
        match is_back {
            Ok(true) => tracing::warn!("the configuration that was before the trial holds again"),
            Ok(false) => self.enforce_nothing(),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the configuration that was before the trial cannot hold again");
                self.enforce_nothing();
            }
        }
        self.take_back(decided);
    }

    /// Has the back ends deny nobody.
    fn enforce_nothing(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.is_idle = true;
        }
        let config = self.configured.config.clone();
        self.change_back_ends_or_end(&config);
        tracing::error!("NOTHING IS ENFORCED from now on; {AGAIN}");
    }

    /// Withdraws what was denied on trial: whoever was locked out by it gets in again.
    pub(super) fn take_back(&mut self, decided: i64) {
        let begun = clock::monotonic();
        match self.desk.take_back(decided, self.clock.now()) {
            Ok(done) => {
                if let Some(trial) = &mut self.trial {
                    trial.is_taken_back = true;
                }
                self.committed(begun, done);
            }
            Err(error) => {
                tracing::error!(%error, "whom the trial denied cannot be told, and stays denied until the next start; see denyd list");
            }
        }
    }
}
