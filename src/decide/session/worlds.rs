//! The two worlds, and which line is told to which.

use std::borrow::Cow;

use inputs::record::Timestamp;

use super::key::Key;
use super::line::{Line, Outcome, Trust};
use super::world::{Due, Judged, World};
use crate::decide::attempt::{Attempt, Classes, Folded};
use crate::decide::policy::Policy;
use crate::detect::event::{Account, Event};

/// All connections that are not forgotten yet.
#[derive(Debug, Default)]
pub struct Sessions {
    pub(super) sound: World,
    /// What forgeable lines are about, once there was one.
    pub(super) all: Option<Box<World>>,
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
    #[inline]
    pub fn fold<'a>(&mut self, mut line: Line, trust: Trust, event: &Event<'a>, policy: &Policy) -> Folded<'a> {
        line.pid = event.of_pid.or(line.pid);
        if self.all.is_some() || trust == Trust::Forgeable {
            return self.fold_in_both(&line, trust, event, policy);
        }
        let judged = self.sound.fold(&line, event);
        folded(&self.sound, judged, trust, &line, event, policy)
    }

    fn fold_in_both<'a>(&mut self, line: &Line, trust: Trust, event: &Event<'a>, policy: &Policy) -> Folded<'a> {
        // In `all` first: it copies what `sound` knew before.
        let in_all = self.fold_in_all(line, trust, event);
        if trust == Trust::Forgeable {
            let judged = in_all.unwrap_or(Judged::nothing(Outcome::Ignored, event));
            return folded(self.all(), judged, trust, line, event, policy);
        }
        let judged = self.sound.fold(line, event);
        let mut sound = folded(&self.sound, judged, trust, line, event, policy);
        let Some(all) = in_all else { return sound };
        self.sound.copied(line, judged, all);
        let all = self.raise(all, judged);
        let mut all = folded(self.all(), all, Trust::Forgeable, line, event, policy);
        let mut certain = sound.attempt.take().map(|attempt| Box::new(Attempt { times: 0, ..attempt }));
        if let (Some(all), Some(sound)) = (&mut all.attempt, &certain)
            && (all.prefix, all.classes, &all.user) == (sound.prefix, sound.classes, &sound.user)
        {
            all.sound = sound.sound;
            certain = None;
        }
        let shown = if all.outcome == Outcome::Ignored { Folded { attempt: all.attempt, ..sound } } else { all };
        Folded { certain, logged_in: judged.outcome == Outcome::Success, ..shown }
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
            // Strangers may know the pid of a connection that a sound source tells of: if their line is about another
            // one, that stands beside it, as without a pid, and not in its place.
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
        // Where forged lines took its process' number it is known there by its address.
        let key = all.key.unwrap_or(key);
        let Some(known) = self.all().connections.get_mut(&key).filter(|known| known.fits(sound.peer, None)) else {
            return all;
        };
        let more = certain.saturating_sub(known.counted);
        known.counted += more;
        if more > 0 { Judged { due: all.due + more, peer: sound.peer, key: Some(key), ..all } } else { all }
    }

    pub(super) fn all(&mut self) -> &mut World {
        let Sessions { sound, all } = self;
        all.get_or_insert_with(|| {
            let mut all = World::default();
            (all.watermarks, all.tracks_changes) = (sound.watermarks.clone(), sound.tracks_changes);
            Box::new(all)
        })
    }

    pub(super) fn worlds(&self) -> impl Iterator<Item = &World> {
        std::iter::once(&self.sound).chain(self.all.as_deref())
    }

    pub(super) fn worlds_mut(&mut self) -> impl Iterator<Item = &mut World> {
        std::iter::once(&mut self.sound).chain(self.all.as_deref_mut())
    }

    /// Whether an attempt is due though no line says so now.
    #[inline]
    pub fn is_due(&self) -> bool {
        !self.sound.due.is_empty() || self.all.as_ref().is_some_and(|all| !all.due.is_empty())
    }

    /// Takes the next of them. What both worlds wait for counts once: by all lines, if that is decided first, and what is
    /// certain then only vouches for it; else by what is certain.
    pub fn next_due(&mut self, policy: &Policy) -> Option<Attempt<'static>> {
        let Sessions { sound, all } = self;
        if let Some(all) = all
            && let Some(due) = all.due.pop_front()
        {
            return Some(due.attempt(all, 1, 0, policy));
        }
        let due = sound.due.pop_front()?;
        let is_new = !due.is_copied || all.as_mut().is_some_and(|all| all.forgoes(&due));
        Some(due.attempt(sound, is_new.into(), 1, policy))
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

    /// How many connections and logins are remembered, in either world.
    pub(crate) fn len(&self) -> usize {
        self.worlds().map(|world| world.connections.len() + world.logins.len()).sum()
    }

    /// How many there are: what both worlds know is one.
    pub fn distinct(&self) -> usize {
        let World { connections, logins, .. } = &self.sound;
        let in_both = |all: &World| connections.in_both(&all.connections) + logins.in_both(&all.logins);
        self.len() - self.all.as_deref().map_or(0, in_both)
    }

    /// Connections forgotten because there were too many.
    pub fn evicted(&self) -> u64 {
        self.worlds().map(|world| world.evicted.count).sum()
    }

    /// Lines of PAM's, and connections in which keys were refused, of which nobody will know what came: there was no
    /// room for them to wait. Each may have been an attempt, and counts as none.
    pub fn undecided(&self) -> u64 {
        self.worlds().map(|world| world.undecided).sum()
    }

    /// Attempts whose connection never showed an address.
    pub fn unresolved(&self) -> u64 {
        self.worlds().map(|world| world.unresolved).sum()
    }
}

/// What a line amounts to in a world, for those who count and show it.
#[inline(always)]
fn folded<'a>(
    world: &World,
    judged: Judged,
    trust: Trust,
    line: &Line,
    event: &Event<'a>,
    policy: &Policy,
) -> Folded<'a> {
    let Judged { outcome, due, peer, account, key, .. } = judged;
    let is_probe = due == 0 && outcome == Outcome::Probe;
    let mut folded = Folded { outcome, peer, account, ..Folded::default() };
    folded.logged_in = trust == Trust::Sound && outcome == Outcome::Success;
    if let Some(peer) = peer
        && (due > 0 || is_probe)
    {
        // A line that names nobody is of whom an earlier line of its connection named.
        let named = || Some(world.connections.get(&key?)?.user().to_vec());
        let user = event.user.map_or_else(|| named().unwrap_or_default().into(), Cow::from);
        let classes = if is_probe { Classes::probe() } else { Classes::of(&user, account, policy) };
        let (prefix, times) = (policy.prefix(peer), due.max(u32::from(is_probe)));
        let sound = if trust == Trust::Sound { times } else { 0 };
        let Line { host, source, at, from, .. } = *line;
        folded.attempt = Some(Attempt { peer, prefix, host, source, at, from, user, account, classes, times, sound });
    }
    folded
}

impl Due {
    fn attempt(self, world: &World, times: u32, sound: u32, policy: &Policy) -> Attempt<'static> {
        let Due { host, source, peer, at, user, .. } = self;
        let classes = Classes::of(&user, Account::Unsaid, policy);
        let prefix = policy.prefix(peer);
        let (from, user) = (world.watermarks.from(host, at), Cow::from(Vec::from(user)));
        Attempt { peer, prefix, host, source, at, from, user, account: Account::Unsaid, classes, times, sound }
    }
}
