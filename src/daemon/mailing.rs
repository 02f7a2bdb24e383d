//! Mail, webhook and what else is told as the configuration wants it: who follows the decisions for them, and the threads
//! that tell.

use std::time::Duration;

use inputs::record::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::clock;
use crate::config::Config;
use crate::desk::control::{Line, Told as Answered};
use crate::desk::reply;
use crate::desk::{Desk, Effects};
use crate::outbox::each::{self, Each, Teller};
use crate::outbox::sync::{self, Sharing};
use crate::outbox::{AllDone, Done, EACH, LETTERS, NAMES, Orders, Outbox, Reporter, Saying, Told, Way, plugin};
use crate::text::printable;

/// How long what is on its way is waited for when the daemon ends.
const ARRIVES: Duration = Duration::from_secs(2);

/// What tells people and programs.
pub(super) struct Mailing {
    line: Line,
    told: watch::Sender<AllDone>,
    /// How far each has come, as far as that is to be committed.
    kept: AllDone,
    letters: [Option<Outbox>; LETTERS],
    each: [Option<Teller>; EACH],
    sync: Option<Sharing>,
    /// Whether the run ends by itself: hosts are shared only where somebody asks for it.
    is_once: bool,
    /// Why nothing goes, whatever the threads say.
    problem: Option<String>,
}

impl Mailing {
    /// Nobody is told yet. The threads are to ask by `line`, and to report to `told` how far they have come.
    pub(super) fn new(line: Line, told: watch::Sender<AllDone>, is_once: bool) -> Self {
        let (kept, letters, each) = Default::default();
        Mailing { line, told, kept, letters, each, sync: None, is_once, problem: None }
    }

    /// From now on mail goes as the configuration says. Whatever is wrong with it holds up nothing else.
    pub(super) fn configure(&mut self, desk: &mut Desk, config: &Config) {
        if self.line.dry_run {
            if !wanted(config).is_empty() {
                tracing::warn!(
                    "no mail is sent, no webhook is told, no program is run, nothing is shared, and nothing is written but this log"
                );
            }
            return;
        }
        for problem in plugin::missing(&config.plugin) {
            tracing::warn!("a plugin cannot be run: {}", printable(problem.as_bytes()));
        }
        self.problem = self.begin(desk, config).err();
        if let Some(problem) = &self.problem {
            tracing::error!(problem, "no mail can be sent yet, and no program run; it is tried again");
        }
    }

    /// Tries again what could not be begun.
    pub(super) fn mend(&mut self, desk: &mut Desk, config: &Config) {
        if self.problem.is_some() {
            self.problem = self.begin(desk, config).err();
        }
    }

    fn begin(&mut self, desk: &mut Desk, config: &Config) -> Result<(), String> {
        let (followers, _) = desk.follow(&wanted(config)).map_err(|error| error.to_string())?;
        let seen = |name: &str| followers.iter().find(|one| one.name == name).map_or(0, |one| one.seen);
        let no_thread = |error: std::io::Error| format!("a thread cannot be started: {error}");
        for (at, (way, outbox)) in Way::all(config).into_iter().zip(&mut self.letters).enumerate() {
            let (name, is_wanted) = (NAMES[at], way.is_wanted());
            let (hosts_deny, saying) = (config.deny.hosts_deny.path.clone(), Saying::of(config));
            let orders = Orders { way, hosts_deny, saying, seen: seen(name) };
            match outbox {
                Some(outbox) => outbox.order(orders),
                None if is_wanted => {
                    let note = desk.note(name).map_err(|error| error.to_string())?;
                    let (told, reporter) = (Told::of(note.as_deref()), Reporter::new(self.told.clone(), at));
                    let begun = Outbox::start(name, self.line.clone(), orders, told, reporter);
                    *outbox = Some(begun.map_err(no_thread)?);
                }
                None => {}
            }
        }
        for (at, (by, teller)) in (LETTERS..).zip(Each::all(config).into_iter().zip(&mut self.each)) {
            let (name, is_wanted) = (NAMES[at], by.is_wanted());
            let by = if self.is_once { by.of_run() } else { by };
            let orders = each::Orders { by, seen: seen(name), ends: false };
            match teller {
                Some(teller) => teller.order(orders),
                None if is_wanted => {
                    let note = desk.note(name).map_err(|error| error.to_string())?;
                    let reporter = Reporter::new(self.told.clone(), at);
                    let begun = Teller::start(name, self.line.clone(), orders, note, reporter);
                    *teller = Some(begun.map_err(no_thread)?);
                }
                None => {}
            }
        }
        let (is_wanted, _) = sync::is_wanted(config);
        let orders = sync::Orders {
            sync: config.sync.clone(),
            servers: sync::servers(config),
            report: config.report.clone(),
            seen: seen(sync::NAME),
            is_steady: !self.is_once,
        };
        match &self.sync {
            Some(sync) => sync.order(orders),
            None if is_wanted => {
                let note = desk.note(sync::NAME).map_err(|error| error.to_string())?;
                let reporter = Reporter::new(self.told.clone(), LETTERS + EACH);
                self.sync = Some(Sharing::start(self.line.clone(), orders, note, reporter).map_err(no_thread)?);
            }
            None => {}
        }
        Ok(())
    }

    /// Has hosts shared now; that is answered once it is done.
    pub(super) fn share(&self, reply: oneshot::Sender<Answered>) {
        match &self.sync {
            Some(sync) => sync.ask(reply),
            None => {
                let what = match self.line.dry_run {
                    true => "it is a dry run: nothing is shared",
                    false => "nothing is shared: write `server` into [sync] of the configuration",
                };
                let _ = reply.send(Answered { reply: Err(what.to_owned()), unwritten: false });
            }
        }
    }

    /// How sharing goes, where a server is configured.
    pub(super) fn shared(&self, desk: &Desk) -> Option<reply::Sync> {
        let shown = self.sync.as_ref().and_then(Sharing::status)?;
        Some(reply::Sync { denied_now: desk.received_now() as u64, ..shown })
    }

    /// How mail and webhook go, where somebody is to be told by them.
    pub(super) fn status(&self) -> [Option<reply::Mail>; LETTERS] {
        let mut status = [0, 1].map(|way| self.letters[way].as_ref().and_then(Outbox::status));
        if let Some(problem) = &self.problem {
            let mail = status[0].get_or_insert_default();
            mail.problem = Some(problem.clone());
        }
        status
    }

    /// Whether all up to the decision of that number is told by each way, or waits: for its time, or for a server.
    pub(super) fn has_told(&self, decided: i64) -> bool {
        let told = self.told.borrow();
        let letters = self.letters.iter().zip(&told[..LETTERS]).all(|(outbox, done)| {
            outbox.as_ref().and_then(|outbox| Some((outbox, outbox.status()?))).is_none_or(|(outbox, shown)| {
                let waits = shown.problem.is_some() || shown.next.is_some_and(|next| next.0 > clock::now());
                outbox.seen().max(done.seen) >= decided || shown.waiting > 0 && waits
            })
        });
        let each = self.each.iter().zip(&told[LETTERS..LETTERS + EACH]).all(|(teller, done)| {
            teller
                .as_ref()
                .and_then(|teller| Some((teller, teller.status()?)))
                .is_none_or(|(teller, shown)| teller.seen().max(done.seen) >= decided || shown.problem.is_some())
        });
        letters && each
    }

    /// How the others go.
    pub(super) fn outputs(&self) -> Vec<reply::Output> {
        self.each.iter().flatten().filter_map(Teller::status).collect()
    }

    /// Each way out has come so far, which the next commit keeps.
    pub(super) fn keep(&mut self, told: AllDone, desk: &mut Desk, now: Timestamp) -> Effects {
        let mut acknowledged = Vec::new();
        for ((name, kept), done) in NAMES.into_iter().zip(&mut self.kept).zip(told) {
            if *kept == done {
                continue;
            }
            let Done { seen, note } = &done;
            if let Some(note) = note.as_ref().filter(|note| kept.note.as_ref() != Some(*note)) {
                desk.set_note(name.to_owned(), note.clone());
            }
            acknowledged.push((name, *seen));
            *kept = done;
        }
        desk.acknowledge(&acknowledged, now)
    }

    /// Waits for what is on its way, so that it is known whether it was taken.
    pub(super) fn settle(&self) -> AllDone {
        self.each.iter().flatten().for_each(|teller| teller.settle(ARRIVES));
        self.letters.iter().flatten().for_each(|outbox| outbox.settle(ARRIVES));
        self.sync.iter().for_each(|sync| sync.settle(ARRIVES));
        self.told.borrow().clone()
    }
}

/// Which ways out of a configuration somebody is told by.
fn wanted(config: &Config) -> Vec<&'static str> {
    let (letters, each) = (Way::all(config), Each::all(config));
    let (_, is_followed) = sync::is_wanted(config);
    let wanted = letters.iter().map(Way::is_wanted).chain(each.iter().map(Each::is_wanted)).chain([is_followed]);
    NAMES.into_iter().zip(wanted).filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name).collect()
}
