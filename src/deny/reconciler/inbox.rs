//! What lies between the engine and a reconciler: what was told and not taken yet, and how the back end is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inputs::record::Timestamp;
use nix::sys::eventfd::EventFd;

use super::Status;
use crate::clock;
use crate::deny::{DenySet, Diff};
use crate::text::At;

/// The engine's end of a reconciler, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feed(pub(super) Arc<Shared>);

/// What lies between the engine and a reconciler. The locks are held for moments, never while a back end works.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    /// Readable once something was put into the inbox.
    pub(super) news: EventFd,
    pub(super) status: Mutex<Status>,
    /// When it was last looked at.
    pub(super) looked: Mutex<Option<Instant>>,
    /// Since when the back end has been at work, and when that began by the wall clock.
    pub(super) busy: Mutex<Option<(Instant, Timestamp)>>,
}

/// What a reconciler was told and has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Changes of what was told before, or of `whole`.
    pub(super) changes: Diff,
    /// The set, where there were too many changes.
    pub(super) whole: Option<DenySet>,
    /// The set must be written anew although it is the same.
    pub(super) rewrite: bool,
    /// Somebody wants to know how it is.
    pub(super) asked: bool,
    pub(super) closed: bool,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.whole.is_none() && !self.rewrite && !self.asked
    }
}

impl Feed {
    pub(crate) fn send(&self, diff: &Diff, whole: impl Fn() -> DenySet) {
        self.tell(|inbox| match &mut inbox.whole {
            Some(set) => set.apply(diff),
            None if inbox.changes.denies.len() + diff.denies.len() <= CHANGES_MAX => inbox.changes.extend(diff),
            None => {
                inbox.changes = Diff::default();
                inbox.whole = Some(whole());
            }
        });
    }

    pub(crate) fn rewrite(&self) {
        self.tell(|inbox| inbox.rewrite = true);
    }

    pub(crate) fn status(&self) -> Status {
        let mut status = lock(&self.0.status).clone();
        // What is told now may be a minute old; who asks again is told better.
        if status.refused.is_some() && lock(&self.0.looked).is_none_or(|at| clock::monotonic() >= at + FRESH) {
            self.tell(|inbox| inbox.asked = true);
        }
        let busy = lock(&self.0.busy).filter(|(since, _)| clock::monotonic().duration_since(*since) >= SLOW);
        if let (None, Some((_, since))) = (&status.error, busy) {
            status.error = Some("it has not done yet what it was told; see what holds it up".to_owned());
            status.failing_since = Some(At(since));
        }
        status
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut lock(&self.0.inbox));
        // It can be full only if nobody has read it, and is readable then.
        _ = self.0.news.write(1);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tell(|inbox| inbox.closed = true);
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A look that is not older is good enough for who asks.
const FRESH: Duration = Duration::from_secs(2);
/// Who has been at work for so long is told of.
const SLOW: Duration = Duration::from_secs(2);
/// Changes that may wait, about 2 MB: at 1 000 denies a second, a quarter of a minute of a back end that hangs. More are the
/// whole set.
pub(super) const CHANGES_MAX: usize = 16_384;
