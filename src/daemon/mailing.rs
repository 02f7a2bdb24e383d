//! Mail as the configuration wants it: who follows the decisions for it, and the thread that sends it.

use std::time::Duration;

use inputs::record::Timestamp;
use tokio::sync::watch;

use crate::config::Config;
use crate::desk::control::Line;
use crate::desk::reply;
use crate::desk::{Desk, Effects};
use crate::outbox::{Done, NAME, Orders, Outbox, Told};

/// How long a mail that is on its way is waited for when the daemon ends.
const ARRIVES: Duration = Duration::from_secs(2);

/// What sends mail.
pub(super) struct Mailing {
    line: Line,
    done: watch::Sender<Done>,
    outbox: Option<Outbox>,
    /// Why no mail goes, whatever the thread says.
    problem: Option<String>,
}

impl Mailing {
    /// Nobody has mail yet. The thread is to ask by `line`, and to tell `done` how far it has come.
    pub(super) fn new(line: Line, done: watch::Sender<Done>) -> Self {
        Mailing { line, done, outbox: None, problem: None }
    }

    /// From now on mail goes as the configuration says. Whatever is wrong with it holds up nothing else.
    pub(super) fn configure(&mut self, desk: &mut Desk, config: &Config) {
        let is_wanted = !config.mail.to.is_empty();
        if self.line.dry_run {
            if is_wanted {
                tracing::warn!("no mail is sent");
            }
            return;
        }
        self.problem = self.begin(desk, config, is_wanted).err();
        if let Some(problem) = &self.problem {
            tracing::error!(problem, "no mail can be sent yet; it is tried again");
        }
    }

    /// Tries again what could not be begun.
    pub(super) fn mend(&mut self, desk: &mut Desk, config: &Config) {
        if self.problem.is_some() {
            self.problem = self.begin(desk, config, !config.mail.to.is_empty()).err();
        }
    }

    fn begin(&mut self, desk: &mut Desk, config: &Config, is_wanted: bool) -> Result<(), String> {
        let names = if is_wanted { &[NAME][..] } else { &[] };
        let (followers, _) = desk.follow(names).map_err(|error| error.to_string())?;
        let seen = followers.iter().find(|one| one.name == NAME).map_or(0, |one| one.seen);
        let orders = Orders { mail: config.mail.clone(), hosts_deny: config.deny.hosts_deny.path.clone(), seen };
        match &self.outbox {
            Some(outbox) => outbox.order(orders),
            None if is_wanted => {
                let note = desk.note(NAME).map_err(|error| error.to_string())?;
                let told = Told::of(note.as_deref());
                let outbox = Outbox::start(self.line.clone(), orders, told, self.done.clone());
                self.outbox = Some(outbox.map_err(|error| format!("a thread cannot be started: {error}"))?);
            }
            None => {}
        }
        Ok(())
    }

    /// How mail goes, where somebody is to have some.
    pub(super) fn status(&self) -> Option<reply::Mail> {
        let status = self.outbox.as_ref().and_then(Outbox::status);
        match &self.problem {
            Some(problem) => Some(reply::Mail { problem: Some(problem.clone()), ..status.unwrap_or_default() }),
            None => status,
        }
    }

    /// Mail has come so far, which the next commit keeps.
    pub(super) fn keep(Done { seen, told }: Done, desk: &mut Desk, now: Timestamp) -> Effects {
        desk.set_note(NAME.to_owned(), told.note());
        desk.acknowledge(NAME, seen, now)
    }

    /// Waits for a mail that is on its way, so that it is known whether it was taken.
    pub(super) fn settle(&self) -> Done {
        if let Some(outbox) = &self.outbox {
            outbox.settle(ARRIVES);
        }
        *self.done.borrow()
    }
}
