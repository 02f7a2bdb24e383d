//! One attempt counts once: joins the lines of a connection.
//!
//! sshd writes up to six lines about one wrong password. They belong together by (origin host, pid); without a
//! pid by (host, address, port); without either by (host, address, user). Each source that delivers a
//! connection's lines keeps its own counters, and a connection is worth the *maximum* over its sources: the same
//! line through two paths adds nothing, while equal lines on one path are separate tries (they are, in real logs).
//!
//! Strangers may be able to write some lines. What is certain must not depend on these, so there are two worlds: `sound` is
//! told the sound lines alone, `all` every line. Neither knows of trust, and nothing flows from `all` to `sound`. What no
//! forgeable line is about is the same in both and lies in `sound` only; the first such line about a connection copies it to
//! `all`, and from then on each world judges its lines. An attempt says how much is due in each.

use std::borrow::Cow;

use inputs::record::{SourceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Classes, Folded};
use super::policy::Policy;
use crate::detect::event::{Account, Event};

mod connection;
mod kept;
mod key;
mod pam;
mod recent;
mod table;
mod watermark;
mod world;

pub use connection::Connection;
pub use kept::{Kept, KeptKey, KeptWaiting};
pub use key::Key;
pub(crate) use key::{FNV, fnv};
use world::{Due, Judged, World};

/// Connections that each world remembers at once. At the bound the oldest is forgotten, and counted.
pub const SESSIONS_MAX: usize = 100_000;
/// Bytes of a user's name that are remembered.
const USER_MAX: usize = 100;

/// An origin host, interned by the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u16);

/// What a record amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A failure; how many attempts it adds is said beside it.
    Failure,
    /// A connection without a login begun.
    Probe,
    /// A login.
    Success,
    /// The server would not talk to the address.
    Refused,
    /// Nothing, or what another line of the connection already said.
    Ignored,
    /// A record of a known service that no shape fits.
    Unknown,
}

/// What a line amounts to.
#[derive(Debug)]
pub struct Judgement<'a> {
    /// For who believes every line; with what of that is certain, where it is of the same user and class.
    pub folded: Folded<'a>,
    /// What is certain beside it.
    pub certain: Option<Attempt<'a>>,
    /// Somebody logged in, for certain.
    pub logged_in: bool,
}

/// Whether strangers may be able to make up the records of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// They are what the origin's syslog wrote.
    #[default]
    Sound,
    /// They may be forged: such a record counts, but clears nothing, and what would not be denied without such records
    /// is denied for [`FORGEABLE_FOR`](super::claim::FORGEABLE_FOR) at most.
    Forgeable,
}

/// Where a line comes from: which host, source and process, and when.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The origin host.
    pub host: HostId,
    /// Which input delivered it.
    pub source: SourceId,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// When it was written.
    pub at: Timestamp,
    /// When we received it.
    pub received: Timestamp,
}

/// All connections that are not forgotten yet.
#[derive(Debug, Default)]
pub struct Sessions {
    sound: World,
    /// What forgeable lines are about, once there was one.
    all: Option<Box<World>>,
}

impl Sessions {
    /// A line came: what waits is decided if it shows the wait to be over. Then [`Sessions::next_due`], then
    /// [`Sessions::fold`].
    #[inline]
    pub fn tell(&mut self, line: &Line, trust: Trust) {
        if trust == Trust::Forgeable {
            self.all().tell(line);
            return;
        }
        self.sound.tell(line);
        if let Some(all) = &mut self.all {
            all.tell(line);
        }
    }

    /// Folds one event of a known service in.
    pub fn fold<'a>(&mut self, mut line: Line, trust: Trust, event: &Event<'a>, policy: &Policy) -> Judgement<'a> {
        line.pid = event.of_pid.or(line.pid);
        // In `all` first: it copies what `sound` knew before.
        let in_all = self.fold_in_all(&line, trust, event);
        if trust == Trust::Forgeable {
            let judged = in_all.unwrap_or(Judged::nothing(Outcome::Ignored, event));
            let folded = folded(self.all(), judged, &line, event, policy);
            return Judgement { folded, certain: None, logged_in: false };
        }
        let judged = self.sound.fold(&line, event);
        let logged_in = judged.outcome == Outcome::Success;
        let mut sound = folded(&self.sound, judged, &line, event, policy);
        let certain = sound.attempt.take().map(|attempt| Attempt { sound: attempt.times, ..attempt });
        let Some(all) = in_all else {
            return Judgement { folded: Folded { attempt: certain, ..sound }, certain: None, logged_in };
        };
        let all = self.raise(all, judged);
        let mut all = folded(self.all(), all, &line, event, policy);
        let mut certain = certain.map(|attempt| Attempt { times: 0, ..attempt });
        if let (Some(all), Some(sound)) = (&mut all.attempt, &certain)
            && (all.prefix, all.classes, &all.user) == (sound.prefix, sound.classes, &sound.user)
        {
            all.sound = sound.sound;
            certain = None;
        }
        let shown = if all.outcome == Outcome::Ignored { Folded { attempt: all.attempt, ..sound } } else { all };
        Judgement { folded: shown, certain, logged_in }
    }

    /// Judges a line in `all`, unless that would be what `sound` says.
    fn fold_in_all(&mut self, line: &Line, trust: Trust, event: &Event<'_>) -> Option<Judged> {
        let Sessions { sound, all } = self;
        let all = all.as_mut()?;
        let mut line = *line;
        match trust {
            Trust::Sound => {
                let peer = line.pid.and_then(|pid| sound.connections.get(&Key::Pid(line.host, pid))?.peer);
                if !all.knows(&line, event, peer) {
                    return None;
                }
            }
            // Strangers may know the pid of a connection that a sound source tells of: if their line is about another one,
            // that stands beside it, as without a pid, and not in its place.
            Trust::Forgeable if sound.holds_another(&line, event) => line.pid = None,
            Trust::Forgeable => {}
        }
        all.copy(sound, &line, event);
        Some(all.fold(&line, event))
    }

    /// A connection is worth no less by all lines than by those that are certain.
    fn raise(&mut self, all: Judged, sound: Judged) -> Judged {
        let Some(key) = sound.key else { return all };
        let certain = self.sound.connections.get(&key).map_or(0, |known| known.counted);
        let Some(known) = self.all().connections.get_mut(&key) else { return all };
        let more = certain.saturating_sub(known.counted);
        known.counted += more;
        if more > 0 { Judged { due: all.due + more, peer: sound.peer, key: Some(key), ..all } } else { all }
    }

    fn all(&mut self) -> &mut World {
        let Sessions { sound, all } = self;
        all.get_or_insert_with(|| {
            let mut all = World::default();
            (all.watermarks, all.tracks_changes) = (sound.watermarks.clone(), sound.tracks_changes);
            Box::new(all)
        })
    }

    fn worlds(&self) -> impl Iterator<Item = &World> {
        std::iter::once(&self.sound).chain(self.all.as_deref())
    }

    fn worlds_mut(&mut self) -> impl Iterator<Item = &mut World> {
        std::iter::once(&mut self.sound).chain(self.all.as_deref_mut())
    }

    /// Takes the next attempt that is due though no line says so now.
    #[inline]
    pub fn next_due(&mut self, policy: &Policy) -> Option<Attempt<'static>> {
        if let Some(due) = self.sound.due.pop_front() {
            let times = u32::from(!due.is_copied);
            return Some(due.attempt(times, 1, policy));
        }
        let due = self.all.as_mut()?.due.pop_front()?;
        Some(due.attempt(1, 0, policy))
    }

    /// The wall clock moved.
    pub fn tick(&mut self, wall: Timestamp) {
        self.worlds_mut().for_each(|world| world.tick(wall));
    }

    /// The end of the log: nothing more will come, so all that waits is decided.
    pub fn finish(&mut self) {
        self.worlds_mut().for_each(World::finish);
    }

    /// Up to when all hosts have told what happened, as far as we can know.
    pub fn told(&self, wall: Timestamp) -> Timestamp {
        self.worlds().map(|world| world.watermarks.least(wall)).fold(wall, Timestamp::min)
    }

    /// How many connections and logins are remembered.
    pub fn len(&self) -> usize {
        self.worlds().map(|world| world.connections.len() + world.logins.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections forgotten because there were too many.
    pub fn evicted(&self) -> u64 {
        self.worlds().map(|world| world.evicted).sum()
    }

    /// Attempts whose connection never showed an address.
    pub fn unresolved(&self) -> u64 {
        self.worlds().map(|world| world.unresolved).sum()
    }
}

/// What a line amounts to in a world, for those who count and show it.
fn folded<'a>(world: &World, judged: Judged, line: &Line, event: &Event<'a>, policy: &Policy) -> Folded<'a> {
    let Judged { outcome, due, peer, account, key } = judged;
    let is_probe = due == 0 && outcome == Outcome::Probe;
    let attempt = peer.filter(|_| due > 0 || is_probe).map(|peer| {
        // A line that names nobody is of whom an earlier line of its connection named.
        let named = || Some(world.connections.get(&key?)?.user.as_deref()?.to_vec());
        let user = event.user.map_or_else(|| named().unwrap_or_default().into(), Cow::from);
        let classes = if is_probe { Classes::probe() } else { Classes::of(&user, account, policy) };
        let (prefix, times) = (policy.prefix(peer), due.max(u32::from(is_probe)));
        let Line { host, source, at, .. } = *line;
        Attempt { peer, prefix, host, source, at, user, account, classes, times, sound: 0 }
    });
    Folded { outcome, peer, account, attempt }
}

impl Due {
    fn attempt(self, times: u32, sound: u32, policy: &Policy) -> Attempt<'static> {
        let Due { host, source, peer, at, user, .. } = self;
        let classes = Classes::of(&user, Account::Unsaid, policy);
        let prefix = policy.prefix(peer);
        let user = Cow::from(Vec::from(user));
        Attempt { peer, prefix, host, source, at, user, account: Account::Unsaid, classes, times, sound }
    }
}
