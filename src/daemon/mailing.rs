//! Mail and webhook as the configuration wants them: who follows the decisions for them, and the threads that tell.

use std::time::Duration;

use inputs::record::Timestamp;
use tokio::sync::watch;

use crate::clock;
use crate::config::Config;
use crate::desk::control::Line;
use crate::desk::reply;
use crate::desk::{Desk, Effects};
use crate::outbox::{Done, NAMES, Orders, Outbox, Told, Way};

/// How long what is on its way is waited for when the daemon ends.
const ARRIVES: Duration = Duration::from_secs(2);

/// How far each way out has come, in the order of [`NAMES`].
pub(super) type AllDone = [Done; 2];

/// What tells people.
pub(super) struct Mailing {
    line: Line,
    ways: [Sent; 2],
    /// Why nothing goes, whatever the threads say.
    problem: Option<String>,
}

/// One way out.
struct Sent {
    done: watch::Sender<Done>,
    outbox: Option<Outbox>,
}

impl Mailing {
    /// Nobody is told yet. The threads are to ask by `line`, and to tell `done` how far they have come.
    pub(super) fn new(line: Line, done: [watch::Sender<Done>; 2]) -> Self {
        Mailing { line, ways: done.map(|done| Sent { done, outbox: None }), problem: None }
    }

    /// From now on mail goes as the configuration says. Whatever is wrong with it holds up nothing else.
    pub(super) fn configure(&mut self, desk: &mut Desk, config: &Config) {
        if self.line.dry_run {
            if Way::all(config).iter().any(Way::is_wanted) {
                tracing::warn!("no mail is sent, and no webhook is told");
            }
            return;
        }
        self.problem = self.begin(desk, config).err();
        if let Some(problem) = &self.problem {
            tracing::error!(problem, "no mail can be sent yet; it is tried again");
        }
    }

    /// Tries again what could not be begun.
    pub(super) fn mend(&mut self, desk: &mut Desk, config: &Config) {
        if self.problem.is_some() {
            self.problem = self.begin(desk, config).err();
        }
    }

    fn begin(&mut self, desk: &mut Desk, config: &Config) -> Result<(), String> {
        let all = Way::all(config);
        let wanted = NAMES.iter().zip(&all).filter(|(_, way)| way.is_wanted()).map(|(name, _)| *name);
        let (followers, _) = desk.follow(&wanted.collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        for ((name, way), sent) in NAMES.into_iter().zip(all).zip(&mut self.ways) {
            let seen = followers.iter().find(|one| one.name == name).map_or(0, |one| one.seen);
            let is_wanted = way.is_wanted();
            let orders = Orders { way, hosts_deny: config.deny.hosts_deny.path.clone(), seen };
            match &sent.outbox {
                Some(outbox) => outbox.order(orders),
                None if is_wanted => {
                    let note = desk.note(name).map_err(|error| error.to_string())?;
                    let told = Told::of(note.as_deref());
                    let outbox = Outbox::start(name, self.line.clone(), orders, told, sent.done.clone());
                    sent.outbox = Some(outbox.map_err(|error| format!("a thread cannot be started: {error}"))?);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// How mail and webhook go, where somebody is to be told by them.
    pub(super) fn status(&self) -> [Option<reply::Mail>; 2] {
        let mut status = [0, 1].map(|way| self.ways[way].outbox.as_ref().and_then(Outbox::status));
        if let Some(problem) = &self.problem {
            let mail = status[0].get_or_insert_default();
            mail.problem = Some(problem.clone());
        }
        status
    }

    /// Whether all up to the decision of that number is told by each way, or waits: for its time, or for a server.
    pub(super) fn has_told(&self, decided: i64) -> bool {
        self.ways.iter().all(|Sent { done, outbox }| {
            outbox.as_ref().and_then(|outbox| Some((outbox, outbox.status()?))).is_none_or(|(outbox, shown)| {
                let waits = shown.problem.is_some() || shown.next.is_some_and(|next| next.0 > clock::now());
                outbox.seen().max(done.borrow().seen) >= decided || shown.waiting > 0 && waits
            })
        })
    }

    /// One way out has come so far, which the next commit keeps.
    pub(super) fn keep(way: usize, Done { seen, told }: Done, desk: &mut Desk, now: Timestamp) -> Effects {
        desk.set_note(NAMES[way].to_owned(), told.note());
        desk.acknowledge(NAMES[way], seen, now)
    }

    /// Waits for what is on its way, so that it is known whether it was taken.
    pub(super) fn settle(&self) -> AllDone {
        [0, 1].map(|way| {
            let sent = &self.ways[way];
            if let Some(outbox) = &sent.outbox {
                outbox.settle(ARRIVES);
            }
            *sent.done.borrow()
        })
    }
}
