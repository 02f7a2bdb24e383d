//! What leaves by mail, webhook, programs, a log file and syslog: followers of the history that tell each decision once, each at its own pace.
//!
//! The queue is the history itself. What a server took is acknowledged, and all behind it is read again at the next
//! start; so nothing is lost with a restart or a dead server, and a report goes twice at most where denyd was killed between
//! the server's word and the commit that notes it. A thread of each asks the desk as any client does, and waits for
//! servers. Nobody waits for it. [`follower`] gathers what there is to tell into letters; [`each`] tells one decision after
//! the other.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock;
use crate::config::{Config, Mail, Report, Webhook};
use crate::deny::cut;
use crate::desk::control::Line;
use crate::desk::reply::{self, Status};

mod asking;
mod due;
pub mod each;
mod follower;
mod http;
mod limited;
pub mod logfile;
mod news;
mod open;
mod output;
pub mod plugin;
pub mod post;
mod report;
mod reverse;
pub mod sync;
pub mod syslog;
mod table;
pub mod webhook;

pub use report::test;

use follower::Follower;
use post::{Letter, Refused};

/// The names by which each way out follows the history: those of [`Way::all`], those of [`each::Each::all`], and sharing.
pub const NAMES: [&str; 7] = ["mail", "webhook", plugin::NAME, "denyhosts-log", "syslog", "table-file", sync::NAME];
/// How many of them are ways of letters.
pub const LETTERS: usize = 2;
/// How many tell each decision by itself.
pub const EACH: usize = 4;
/// How often is looked whether a mail that is on its way has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// By what something is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By mail.
    Mail(Mail),
    /// By a POST to a URL.
    Webhook(Webhook),
}

impl Way {
    /// Those of a configuration, in the order of [`NAMES`], whether somebody is told by them or not.
    pub fn all(config: &Config) -> [Way; LETTERS] {
        [Way::Mail(config.mail.clone()), Way::Webhook(config.webhook.clone())]
    }

    /// Whether anybody is to be told.
    pub fn is_wanted(&self) -> bool {
        match self {
            Way::Mail(mail) => !mail.to.is_empty(),
            Way::Webhook(webhook) => webhook.url_file.is_some(),
        }
    }

    /// Who takes it, in words that are no secret.
    pub fn server(&self) -> String {
        match self {
            Way::Mail(mail) => mail.server.to_string(),
            Way::Webhook(_) => "the URL in `url_file`".to_owned(),
        }
    }

    /// How soon the first deny after a quiet time is told, and from one report to the next.
    fn periods(&self) -> (Duration, Duration) {
        match self {
            Way::Mail(mail) => (mail.first_within, mail.every),
            Way::Webhook(webhook) => (webhook.first_within, webhook.every),
        }
    }

    /// Sends a letter, which blocks; returns what the server answers, for reading.
    pub fn send(&self, letter: &Letter) -> Result<String, Refused> {
        match self {
            Way::Mail(mail) => post::send(mail, letter),
            Way::Webhook(hook) => webhook::send(hook, letter),
        }
    }

    /// What a person may do where nothing was taken because of this.
    pub fn remedy(&self, why: &str) -> &'static str {
        match self {
            Way::Mail(mail) => post::remedy(mail, why),
            Way::Webhook(_) => "`denyd mail --test` tries again",
        }
    }
}

/// What is said of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Whether their names are.
    pub host_names: bool,
    /// Whether suspicious logins are told of those that are allowed.
    pub suspicious_of_allowed: bool,
}

impl Saying {
    /// That of a configuration.
    pub fn of(config: &Config) -> Saying {
        let Report { host_names, suspicious_of_allowed, .. } = config.report;
        Saying { host_names, suspicious_of_allowed }
    }
}

/// What the thread is to do from now on.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Whom it tells, and how.
    pub way: Way,
    /// What `hosts.deny` is called on this machine.
    pub hosts_deny: PathBuf,
    /// What is said of addresses.
    pub saying: Saying,
    /// The last decision that was acknowledged.
    pub seen: i64,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The last decision that is told, or that nobody is to be told of.
    pub seen: i64,
    /// What is to be remembered beside that.
    pub note: Option<String>,
}

/// How far each way out has come, in the order of [`NAMES`].
pub type AllDone = [Done; NAMES.len()];

/// Where a thread says how far it has come.
#[derive(Clone, Debug)]
pub struct Reporter {
    all: watch::Sender<AllDone>,
    at: usize,
}

impl Reporter {
    /// That of the way out at this place of [`NAMES`].
    pub fn new(all: watch::Sender<AllDone>, at: usize) -> Reporter {
        Reporter { all, at }
    }

    fn report(&self, done: Done) {
        self.all.send_if_modified(|all| match all[self.at] == done {
            true => false,
            false => {
                all[self.at] = done;
                true
            }
        });
    }
}

/// What is remembered over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When the last mail was taken, in seconds since the epoch.
    pub sent: i64,
    /// How many decisions were missed in all, as far as that is told.
    pub missed: i64,
    /// Who is allowed and refused by others' lines in hosts.deny, and was told of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<String>,
}

/// A thread that tells, from outside.
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
    /// Starts the thread of that name. It asks by `line`, and reports how far it has come.
    pub fn start(name: &'static str, line: Line, orders: Orders, told: Told, reporter: Reporter) -> io::Result<Outbox> {
        let (orders, heard) = watch::channel(orders);
        let state = Arc::<Mutex<State>>::default();
        let follower = Follower::new(name, line, heard, told, reporter, Arc::clone(&state));
        std::thread::Builder::new().name(name.to_owned()).spawn(move || follower.run())?;
        Ok(Outbox { orders, state })
    }

    /// What it is to do from now on. A mail that is on its way goes on as it was.
    pub fn order(&self, orders: Orders) {
        self.orders.send_replace(orders);
    }

    /// The last decision that was acknowledged when it had its orders.
    pub fn seen(&self) -> i64 {
        self.orders.borrow().seen
    }

    /// How it goes; `None` where nobody is to be told.
    pub fn status(&self) -> Option<reply::Mail> {
        let is_wanted = self.orders.borrow().way.is_wanted();
        is_wanted.then(|| lock(&self.state).shown.clone())
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
    fn note(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn since(&self, now: Timestamp) -> Option<Duration> {
        let seconds = now.secs() - self.sent;
        (self.sent > 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

/// What enforces, each with what is wrong with it: `hosts.deny` by its path.
fn enforced_by(status: &Status, hosts_deny: &Path) -> Vec<(String, Option<String>)> {
    let name = |name: &str| if name == "hosts.deny" { hosts_deny.display().to_string() } else { name.to_owned() };
    let all = status.backends.iter().filter(|one| one.name != cut::NAME);
    all.map(|one| (name(&one.name), one.error.clone())).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
