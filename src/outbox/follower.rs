//! The thread that tells: reads what is decided, waits until it is due, writes it up, and hands it over.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::asking::{Asking, Ended};
use super::due::Due;
use super::post::Refused;
use super::report::{Beside, Report};
use super::reverse::Names;
use super::{Done, Orders, Reporter, State, Told, enforced_by, lock, open};
use crate::clock;
use crate::deny::hosts_deny;
use crate::desk::Request;
use crate::desk::control::Line;
use crate::desk::reply::{At, Decision, Reply};

/// It is looked no more often than so for what was decided, whatever comes.
const READ_EVERY: Duration = Duration::from_millis(200);
/// It is looked so often whether there is anything to tell that nobody decided.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// What could not be read is read again after this time.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// After a mail that was not taken it is tried again after this time, then after twice as long, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// It is tried at least so often.
const RETRY_MAX: Duration = Duration::from_secs(900);
/// After so many refusals, and so many more, a try leaves strangers' text out, whatever they said.
const BARE_EVERY: u32 = 3;
/// Connections that are told of somebody who logged in.
const OPEN_MAX: usize = 20;

/// What the thread has.
pub(super) struct Follower {
    /// By which it follows the history.
    name: &'static str,
    asking: Asking,
    orders: watch::Receiver<Orders>,
    told: Told,
    reporter: Reporter,
    state: Arc<Mutex<State>>,
    /// How far it has read.
    read: i64,
    /// How far it has told.
    seen: i64,
    waiting: Report,
    /// When the first of what waits was read.
    begun: Instant,
    /// When mails were sent.
    due: Due,
    /// When what could not be read is read again.
    read_again: Option<Instant>,
    /// How often the same was refused, and when it is tried again.
    refused: u32,
    retry: Option<Instant>,
    /// Whether strangers' text is left out of all tries, as one was refused for good.
    bare: bool,
    /// Names of addresses.
    names: Names,
}

impl Follower {
    pub(super) fn new(
        name: &'static str,
        line: Line,
        orders: watch::Receiver<Orders>,
        told: Told,
        reporter: Reporter,
        state: Arc<Mutex<State>>,
    ) -> Self {
        let seen = orders.borrow().seen;
        let time = clock::monotonic();
        let sent = told.since(clock::now()).and_then(|since| time.checked_sub(since));
        Follower {
            name,
            asking: Asking(line),
            orders,
            told,
            reporter,
            state,
            read: seen,
            seen,
            waiting: Report::default(),
            begun: time,
            due: Due::since(sent),
            read_again: None,
            refused: 0,
            retry: None,
            bare: false,
            names: Names::default(),
        }
    }

    /// Runs until the daemon ends.
    pub(super) fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        match runtime {
            Ok(runtime) => {
                let Err(Ended) = runtime.block_on(self.follow());
            }
            Err(error) => {
                tracing::error!(%error, by = self.name, "nothing can be told");
                lock(&self.state).shown.problem = Some(format!("it could not begin: {error}"));
            }
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        loop {
            self.asking.0.decided.mark_unchanged();
            if self.orders.has_changed().map_err(|_| Ended)? {
                self.ordered();
            }
            self.read_all().await?;
            let due = self.due();
            self.show(due);
            match due {
                Some(due) if due <= clock::monotonic() => self.tell().await?,
                _ => self.wait(due.into_iter().chain(self.read_again).min()).await?,
            }
        }
    }

    /// Takes new orders: what waits is read again, as what is to be told may have begun anew.
    fn ordered(&mut self) {
        let seen = self.orders.borrow_and_update().seen;
        (self.seen, self.read) = (self.seen.max(seen), self.seen.max(seen));
        (self.waiting, self.retry, self.refused, self.bare) = (Report::default(), None, 0, false);
    }

    /// Waits until something is due, or there is something to read.
    async fn wait(&mut self, due: Option<Instant>) -> Result<(), Ended> {
        let until = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            () = tokio::time::sleep(LOOK_EVERY), if self.orders.borrow().way.is_wanted() => {}
            changed = self.asking.0.decided.changed() => {
                changed.map_err(|_| Ended)?;
                tokio::time::sleep(READ_EVERY).await;
            }
            changed = self.orders.changed() => {
                changed.map_err(|_| Ended)?;
                self.ordered();
            }
        }
        Ok(())
    }

    /// Reads what was decided since. What nobody is to be told of is done with at once.
    async fn read_all(&mut self) -> Result<(), Ended> {
        if !self.orders.borrow().way.is_wanted() {
            return Ok(());
        }
        loop {
            let rows = match self.asking.ask(Request::Since { id: self.read }).await? {
                Ok(Reply::History(rows)) => rows,
                Ok(_) => break,
                Err(problem) => {
                    self.not_read(problem);
                    break;
                }
            };
            if self.read_again.take().is_some() {
                let shown = &mut lock(&self.state).shown;
                (shown.problem, shown.failing_since) = (None, None);
            }
            let Some(last) = rows.last().map(|row| row.id) else { break };
            let now = clock::now();
            let was_empty = self.waiting.is_empty();
            for row in rows {
                if self.is_told(&row.what).await? {
                    self.waiting.add(row, now);
                }
            }
            if was_empty && !self.waiting.is_empty() {
                self.begun = clock::monotonic();
            }
            self.read = last;
        }
        self.refused().await?;
        if self.waiting.is_empty() && self.read > self.seen {
            self.acknowledge();
        }
        Ok(())
    }

    /// Sees who is allowed and refused all the same by others' lines in hosts.deny, and was not told of.
    async fn refused(&mut self) -> Result<(), Ended> {
        let note = hosts_deny::memo(&self.orders.borrow().hosts_deny);
        let known = self.asking.look(move |desk| desk.note(&note)).await?;
        // What cannot be read now is told the next time.
        let all = known.map(|note| hosts_deny::warned(note.as_deref())).unwrap_or_default();
        let was_empty = self.waiting.is_empty();
        self.waiting.refuse(all.difference(&self.told.refused).cloned().collect());
        if was_empty && !self.waiting.is_empty() {
            self.begun = clock::monotonic();
        }
        Ok(())
    }

    /// What was decided cannot be read: it is tried again, whether something is decided meanwhile or not.
    fn not_read(&mut self, problem: String) {
        if self.read_again.is_none() {
            tracing::error!(by = self.name, problem, "what was decided cannot be read; it is tried again until it can");
        }
        self.read_again = Some(clock::monotonic() + READ_AGAIN);
        let shown = &mut lock(&self.state).shown;
        shown.failing_since = shown.failing_since.or(Some(At(clock::now())));
        shown.problem = Some(format!("what was decided cannot be read: {problem}"));
    }

    /// Whether it is told at all: a login from an allowed address may be nobody's affair.
    async fn is_told(&self, what: &Decision) -> Result<bool, Ended> {
        let is_wanted = self.orders.borrow().saying.suspicious_of_allowed;
        match *what {
            Decision::Suspicious { address, .. } if !is_wanted => Ok(!self.asking.allows(address).await?),
            _ => Ok(true),
        }
    }

    /// All that was read is told, or nobody's affair.
    fn acknowledge(&mut self) {
        self.seen = self.read;
        self.reporter.report(Done { seen: self.seen, note: Some(self.told.note()) });
    }

    /// When what waits is to be told.
    fn due(&mut self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let periods = self.orders.borrow().way.periods();
        let due = self.due.of(self.begun, self.waiting.is_urgent(), periods, clock::monotonic());
        Some(self.retry.map_or(due, |retry| retry.max(due)))
    }

    /// Tells all that waits.
    async fn tell(&mut self) -> Result<(), Ended> {
        let way = self.orders.borrow().way.clone();
        let beside = self.beside().await?;
        let letter = self.waiting.letter(&beside.0);
        lock(&self.state).is_sending = true;
        let sent = way.send(&letter);
        match sent {
            Ok(answer) => {
                self.due.sent(self.waiting.is_urgent(), clock::monotonic());
                let refused = self.told.refused.union(self.waiting.refused()).cloned().collect();
                self.told = Told { sent: clock::now().secs(), missed: beside.1, refused };
                (self.waiting, self.retry, self.refused, self.bare) = (Report::default(), None, 0, false);
                self.acknowledge();
                self.taken(answer);
                tracing::info!(by = self.name, subject = letter.subject, "told");
            }
            Err(refused) => self.not_taken(refused),
        }
        lock(&self.state).is_sending = false;
        Ok(())
    }

    fn taken(&self, answer: String) {
        let shown = &mut lock(&self.state).shown;
        shown.mails += 1;
        (shown.sent, shown.answer) = (Some(At(clock::now())), Some(answer));
        (shown.problem, shown.failing_since) = (None, None);
    }

    fn not_taken(&mut self, Refused { why, for_good }: Refused) {
        let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(self.refused)).min(RETRY_MAX);
        if self.refused == 0 {
            tracing::error!(
                by = self.name,
                problem = why,
                "what was decided could not be told; it is tried again until it can, see denyd doctor"
            );
        }
        self.refused = self.refused.saturating_add(1);
        self.retry = Some(clock::monotonic() + wait);
        // A filter may not like what a stranger wrote: that must keep nobody from knowing whom we deny.
        self.bare |= for_good;
        let shown = &mut lock(&self.state).shown;
        shown.failing_since = shown.failing_since.or(Some(At(clock::now())));
        shown.problem = Some(why);
    }

    /// What is known beside the decisions; and how many were missed in all.
    async fn beside(&mut self) -> Result<(Beside, i64), Ended> {
        let hosts_deny = self.orders.borrow().hosts_deny.display().to_string();
        let mut beside = Beside { bare: self.bare || is_bare_after(self.refused), hosts_deny, ..Beside::default() };
        let mut all = self.told.missed;
        if let Ok(Reply::Status(status)) = self.asking.ask(Request::Status).await? {
            beside.enforced_by = enforced_by(&status, &self.orders.borrow().hosts_deny);
            all = status.followers.iter().find(|one| one.name == self.name).map_or(all, |one| one.missed);
        }
        beside.missed = u64::try_from(all - self.told.missed).unwrap_or(0);
        beside.open = self.waiting.logins().map(|from| (from, open::connections(from, OPEN_MAX))).collect();
        if self.orders.borrow().saying.host_names {
            beside.names = self.names.of(self.waiting.addresses());
        }
        for prefix in self.waiting.about().collect::<Vec<_>>() {
            if let Some(why) = self.asking.why(prefix).await? {
                beside.known.insert(prefix, why);
            }
        }
        Ok((beside, all))
    }

    fn show(&self, due: Option<Instant>) {
        let wait = due.map(|due| due.saturating_duration_since(clock::monotonic()));
        let shown = &mut lock(&self.state).shown;
        shown.server = self.orders.borrow().way.server();
        shown.waiting = self.waiting.waiting();
        shown.next = wait.map(|wait| At(clock::now().after(wait)));
    }
}

/// Whether the try after so many refusals leaves strangers' text out: some filters say "later" for ever, or nothing at all.
fn is_bare_after(refused: u32) -> bool {
    refused > 0 && refused.is_multiple_of(BARE_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_try_after_three_refusals_is_bare_and_the_next_is_not() {
        assert_eq!((0..8).filter(|refused| is_bare_after(*refused)).collect::<Vec<_>>(), [3, 6]);
    }
}
