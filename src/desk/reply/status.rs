//! How the daemon and all around it are.

use std::path::PathBuf;

use inputs::cursor::Cursor;
use inputs::input::Counters;
use inputs::syslog::losses::Limit;
use serde::{Deserialize, Serialize};

use super::{At, BackEnd, Follower, Name, Restored, Sync, Wave};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::intake::sight::Blind;

/// How the daemon and all around it are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Whether it ends by itself once it has read its logs, as `denyhosts` does that is not told to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// When this was so.
    pub at: At,
    /// Since when it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<At>,
    /// The file of its configuration, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PathBuf>,
    /// What was wrong with it at the start, so that the last good one holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_broken: Option<String>,
    /// That the configuration is on trial, or that nobody kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// That the database is a copy, where it was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// Whether nothing is enforced, and all is forgotten when it ends.
    pub dry_run: bool,
    /// Prefixes that are to be denied.
    pub wanted: usize,
    /// Of them, those that every back end denies.
    pub enforced: usize,
    /// Where denies are enforced.
    pub backends: Vec<BackEnd>,
    /// Where earlier configurations denied, and what stands there cannot be taken away: each place, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What is read.
    pub inputs: Vec<Input>,
    /// What the sshd of this machine writes and no input brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// Who sends to the inputs that listen.
    pub senders: Vec<Sender>,
    /// What the records look like that no shape fits.
    pub shapes: Vec<Shape>,
    /// Prefixes that are counted.
    pub tracked: usize,
    /// Connections that are remembered.
    pub sessions: usize,
    /// Attempts without an address.
    pub unresolved: u64,
    /// What may have been attempts, or have become logins, and counted nothing because too many waited at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub undecided: u64,
    /// Whether the database cannot be written, so that what is decided holds from memory alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unwritten: bool,
    /// Whether so much waits for that that nothing more is read.
    pub held_back: bool,
    /// Counters that were forgotten because there were too many.
    pub evicted: u64,
    /// Records of senders beyond those that are told apart.
    pub senders_untold: u64,
    /// Attempts of users beyond those that are told apart.
    pub users_untold: u64,
    /// Records of hosts beyond those with names.
    pub hosts_untold: u64,
    /// Denies that were refused, or gave way to others, because there were too many.
    pub denies_refused: u64,
    /// Failures that counted, of which no message was kept: there were too many at once.
    pub evidence_untold: u64,
    /// Users with an address that were forgotten because there were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub pairs_untold: u64,
    /// Who follows the decisions and has not seen them all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<Follower>,
    /// Who is over a threshold and not denied, because somebody is logged in from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<Spared>,
    /// Slow attacks by many that are on: the first so many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// Short names of hosts that are two hosts'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namesakes: Vec<Namesake>,
    /// The host names on the allow list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// How mail goes, where somebody is to have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    /// The same of the webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Mail>,
    /// How it goes with sharing, where a server is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// How it goes with what each decision is told by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// How DenyHosts' files are written, where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<WorkDir>,
    /// Whose lines were deleted by hand, and is not forgiven, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_forgiven: Option<String>,
    /// That DenyHosts itself was started while we run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// How DenyHosts' files are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkDir {
    /// Where, for reading.
    pub dir: String,
    /// When they were all as they should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<At>,
    /// How often they could not be written since the start.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Why they cannot be now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How mail goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mail {
    /// Who takes it.
    pub server: String,
    /// How many denies and logins wait to be told.
    pub waiting: u64,
    /// When they will be, at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<At>,
    /// How many mails were taken since the daemon began.
    pub mails: u64,
    /// When the last one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<At>,
    /// What the server said last, for reading, cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Why no mail goes, for reading, cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<At>,
}

/// How it goes with what each decision is told by itself: programs, a file, syslog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// By which name it follows the history.
    pub name: String,
    /// Who is told.
    pub whom: String,
    /// How much was told since the daemon began.
    pub told: u64,
    /// How much failed since then, and is not told again.
    pub failed: u64,
    /// How many decisions it has not seen.
    pub waiting: u64,
    /// What failed last, or why nothing can be told, for reading, cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<At>,
}

/// A configuration on trial, or one that nobody kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Since when.
    pub since: At,
    /// When it goes back, or went.
    pub until: At,
    /// Whether it went back.
    pub ended: bool,
    /// Whether what it goes back to is that nothing is enforced.
    pub to_nothing: bool,
}

/// A prefix that is over a threshold and spared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spared {
    /// Which.
    pub prefix: Prefix,
    /// Who is logged in from there, for reading.
    pub user: String,
    /// The name's bytes, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_b64: Option<String>,
    /// What it is over.
    pub class: Class,
    /// By how many failures.
    pub count: u32,
    /// Above how many it is denied.
    pub denied_above: u32,
}

/// A short name of a host that is two hosts'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namesake {
    /// The input that calls them so.
    pub input: String,
    /// The name.
    pub host: String,
}

/// One input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    /// As the configuration calls it.
    pub name: String,
    /// `file`, `syslog` and so on.
    pub kind: String,
    /// Whether strangers may be able to make up its records.
    pub forgeable: bool,
    /// Records that were read.
    pub records: u64,
    /// Of them, those of a known service.
    pub understood: u64,
    /// Of these, those that no shape fits.
    pub unknown: u64,
    /// Records that are nobody's and look like a known service's.
    #[serde(skip_serializing_if = "is_zero")]
    pub odd: u64,
    /// Records that were not believed.
    pub forged: u64,
    /// Records that came before.
    pub duplicates: u64,
    /// Records that were lost before they came.
    pub lost: u64,
    /// Of them, what rate limits threw away, whose daemons we believe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suppressed: Vec<Suppressed>,
    /// Why it cannot be read, or not all of it.
    pub problem: Option<String>,
    /// How nothing of it is understood, or much less than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blind: Option<Blind>,
    /// What has befallen it since the start.
    #[serde(flatten)]
    pub counters: Counters,
    /// Lines that were cut.
    pub truncated: u64,
    /// Records in which no program was found.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_header: u64,
    /// The stamp of its last record.
    pub last: Option<At>,
    /// Records in the last minute.
    pub per_minute: f64,
    /// How long the last record took to come, in seconds.
    pub lag_s: f64,
    /// How far the clock of its senders is off that is most off, in seconds: more than 0 if it is ahead.
    pub skew_s: Option<f64>,
    /// How far it was read.
    pub cursor: Option<Cursor>,
}

/// What a rate limit on the way to an input threw away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Suppressed {
    /// Whose limit.
    pub by: Limit,
    /// Whose records: a unit, a program, or an input of rsyslogd's.
    pub of: String,
    /// How many; 0 where it has just begun.
    pub records: u64,
}

/// One that sends to an input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sender {
    /// The input.
    pub source: String,
    /// From where.
    pub sender: String,
    /// What it calls itself.
    pub host: Option<String>,
    /// Records that came from it.
    pub records: u64,
    /// Of them, those of a known service.
    pub understood: u64,
    /// Of these, those that no shape fits.
    pub unknown: u64,
    /// Records that are nobody's and look like a known service's.
    #[serde(skip_serializing_if = "is_zero")]
    pub odd: u64,
    /// Records that were lost on the way.
    pub lost: u64,
    /// When the last one came.
    pub last: Option<At>,
    /// Records in the last minute.
    pub per_minute: f64,
    /// How long its records take to come, in seconds.
    pub lag_s: f64,
    /// How far its clock is off, in seconds: more than 0 if it is ahead.
    pub skew_s: Option<f64>,
    /// Whether it has fallen silent.
    pub silent: bool,
    /// How half of what it sends fits nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blind: Option<Blind>,
}

/// What records look like that no shape fits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// The input.
    pub input: String,
    /// What they look like.
    pub shape: String,
    /// How many.
    pub records: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
