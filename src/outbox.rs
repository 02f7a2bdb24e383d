//! What leaves by mail: a follower of the history that tells each decision once, at its own pace.
//!
//! The queue is the history itself. What a server took is acknowledged, and all behind it is read again at the next
//! start; so nothing is lost with a restart or a dead server, and a mail goes twice at most where denyd was killed between
//! the server's word and the commit that notes it. A thread of its own asks the desk as any client does, and waits for
//! servers. Nobody waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock;
use crate::config::Mail;
use crate::desk::control::Line;
use crate::desk::reply;

mod due;
mod follower;
mod open;
pub mod post;
mod report;

pub use report::test;

use follower::Follower;

/// The name by which mail follows the history.
pub const NAME: &str = "mail";
/// How often is looked whether a mail that is on its way has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the thread is to do from now on.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Whom it writes to, and how.
    pub mail: Mail,
    /// What `hosts.deny` is called on this machine.
    pub hosts_deny: PathBuf,
    /// The last decision that was acknowledged.
    pub seen: i64,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The last decision that is told, or that nobody is to be told of.
    pub seen: i64,
    /// What is to be remembered beside that.
    pub told: Told,
}

/// What is remembered over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When the last mail was taken, in seconds since the epoch.
    pub sent: i64,
    /// How many decisions were missed in all, as far as that is told.
    pub missed: i64,
}

/// The thread that sends mail, from outside.
#[derive(Debug)]
pub struct Outbox {
    orders: watch::Sender<Orders>,
    state: Arc<Mutex<State>>,
}

/// What the thread shows.
#[derive(Debug, Default)]
struct State {
    shown: reply::Mail,
    is_sending: bool,
}

impl Outbox {
    /// Starts the thread. It asks by `line`, and tells `done` how far it has come.
    pub fn start(line: Line, orders: Orders, told: Told, done: watch::Sender<Done>) -> io::Result<Outbox> {
        let (orders, heard) = watch::channel(orders);
        let state = Arc::<Mutex<State>>::default();
        let follower = Follower::new(line, heard, told, done, Arc::clone(&state));
        std::thread::Builder::new().name(NAME.to_owned()).spawn(move || follower.run())?;
        Ok(Outbox { orders, state })
    }

    /// What it is to do from now on. A mail that is on its way goes on as it was.
    pub fn order(&self, orders: Orders) {
        self.orders.send_replace(orders);
    }

    /// How mail goes; `None` where nobody is to have any.
    pub fn status(&self) -> Option<reply::Mail> {
        let has_recipients = !self.orders.borrow().mail.to.is_empty();
        has_recipients.then(|| lock(&self.state).shown.clone())
    }

    /// Waits until a mail that is on its way was taken or not, for `most` at most: so it need not go once more.
    pub fn settle(&self, most: Duration) {
        let end = clock::monotonic() + most;
        while lock(&self.state).is_sending && clock::monotonic() < end {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Told {
    /// What a note says of it; nothing where it says nothing.
    pub fn of(note: Option<&str>) -> Told {
        note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default()
    }

    /// The same as a note.
    pub fn note(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }

    fn since(self, now: Timestamp) -> Option<Duration> {
        let seconds = now.secs() - self.sent;
        (self.sent > 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
