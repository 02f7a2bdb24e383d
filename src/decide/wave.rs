//! Slow attacks by many: a *wave*. Each address tries once or twice, far apart, and so stays below every threshold; only
//! together they are many.
//!
//! There are two kinds. *On an account:* 128 addresses or more, and three times as many as are usual for it here, fail
//! on one name within seven days. *On our hosts:* an address fails on four hosts or more, on several occasions. A wave begins
//! with the failure that makes it so, and ends when its week has half as many addresses. It is told when it begins and when
//! it ends. Only where the configuration says so it also denies: then an address that takes part is denied at its second
//! try, while the wave lasts.
//!
//! What is remembered: of each *stranger*, which is an address (by the prefix that it is counted by) that failed and from
//! where nobody logged in, when it tried first and last, on how many occasions, on which hosts, and on which accounts; for
//! four weeks, so that a second try counts though the tally was begun anew because of its age. And of each *target*, which is
//! an account or all our hosts, how many strangers came to it on each of seven days, each counted once a week, and what is
//! usual.
//!
//! Who never takes part: who is allowed, from where somebody logged in within 30 days, and who has more than a few failures
//! in its tally, since those are what thresholds are for. A login takes back all that its address counted: where many people
//! mistype and then log in, as on a shared account or behind the addresses of a mobile network, there is no wave. Only what
//! is certain counts; what strangers may have made up neither begins a wave nor makes anybody part of it.
//!
//! Whoever wants others denied by a wave that he makes needs 128 addresses, and then hits those who fail on that account on
//! two occasions, an hour apart or more, from an address where nobody ever logged in. Failures within an hour of each other
//! are one occasion: whoever mistypes and tries again is not denied for that.
//!
//! A flood of names fills the room for targets with names that one address tried: those give way first, and an address counts
//! for four names a week. A flood of addresses fills the room for strangers, of whom those who tried once give way first.
//! Whoever is counted by a /64 and has a /48 makes a wave alone; for him there are the [wider nets](super::nets).

use std::collections::HashMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::prefix::Prefix;
use super::session::HostId;

/// Strangers that are remembered: 5 MB. At the bound one who tried once, or else longest ago, is forgotten, and counted.
pub const STRANGERS_MAX: usize = 65_536;
/// Targets that are watched, our hosts and accounts; at the bound one that the fewest addresses tried is forgotten.
pub const TARGETS_MAX: usize = 1_024;
/// Bytes of the name of an account that is watched: no account has a longer one.
pub const NAME_MAX: usize = 64;
/// A stranger is remembered for so many seconds after its last try.
pub const REMEMBERED: u32 = 28 * DAY;
/// Tries within so many seconds of each other are of one occasion.
pub const APART: u32 = 3_600;
/// On how many occasions an address fails before it takes part.
pub const OCCASIONS: u16 = 2;
/// Failures of a tally above which its prefix is no slow one.
pub(super) const FEW: u32 = 8;

/// Addresses within a week that make a wave on an account.
const ADDRESSES_LEAST: u32 = 128;
/// And so many times those that are usual for it.
const TIMES_USUAL: u32 = 3;
/// Hosts on which an address fails that makes a wave on our hosts.
const HOSTS_LEAST: u32 = 4;
/// Days of a week, in which a stranger counts once for a target.
const WEEK: u16 = 7;
/// Accounts for which a stranger counts in a week.
const ACCOUNTS: usize = 4;
/// Days of which what is usual is the average, those before with less weight.
const LEARNT_IN: i64 = 28;
/// Days that pass at most for what is usual: after more of them hardly anything is left of it.
const LEARNT_MAX: u16 = 200;
/// Of how many the one to forget is chosen.
const SAMPLE: usize = 16;
/// Seconds of a day.
const DAY: u32 = 86_400;
/// The place of our hosts among the targets.
const HOSTS: u16 = 0;

/// What is known of a stranger. Times are seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// The first try.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// On how many occasions it tried.
    pub tries: u16,
    /// On which hosts: a bit for each, by its number modulo 32.
    hosts: u32,
    /// For which accounts it counts: each by its number, with the day; no account where that is 0.
    accounts: [(u16, u16); ACCOUNTS],
    /// The day on which it counted for our hosts, or 0.
    roved: u16,
}

/// How a stranger comes to a target.
enum Visit {
    /// For the first time in a week; the day before that, if any is known.
    New(Option<u16>),
    /// Again.
    Again,
    /// It counts for others already.
    Full,
}

impl Stranger {
    /// On how many hosts it tried, as far as 32 are told apart.
    pub fn hosts(&self) -> u32 {
        self.hosts.count_ones()
    }

    /// Whether it tries one host after the other.
    fn roves(&self) -> bool {
        self.hosts() >= HOSTS_LEAST && self.tries >= OCCASIONS
    }

    fn visit(&mut self, account: u16, day: u16) -> Visit {
        let is_over = |then: u16| then == 0 || then.saturating_add(WEEK) <= day;
        if let Some((_, then)) = self.accounts.iter_mut().find(|(one, then)| *one == account && *then > 0) {
            return if is_over(*then) { Visit::New(Some(std::mem::replace(then, day))) } else { Visit::Again };
        }
        match self.accounts.iter_mut().find(|(_, then)| is_over(*then)) {
            Some(free) => {
                *free = (account, day);
                Visit::New(None)
            }
            None => Visit::Full,
        }
    }

    /// The same for our hosts.
    fn rove(&mut self, day: u16) -> Visit {
        if self.roved > 0 && self.roved.saturating_add(WEEK) > day {
            return Visit::Again;
        }
        let before = std::mem::replace(&mut self.roved, day);
        Visit::New(Some(before).filter(|before| *before > 0))
    }

    /// For which targets it counts, and since which day.
    fn counts(&self) -> impl Iterator<Item = (u16, u16)> {
        self.accounts.into_iter().chain([(HOSTS, self.roved)]).filter(|(_, day)| *day > 0)
    }
}

/// An attack that is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The day when the first of its addresses came, from its beginning on; seconds since the epoch.
    pub since: u32,
    /// When it was one.
    pub begun: u32,
    /// The last try.
    pub last: u32,
    /// How many addresses took part, but for those from where somebody logged in since.
    pub addresses: u32,
    /// On which hosts: a bit for each, by its number modulo 32.
    hosts: u32,
}

impl Wave {
    /// On how many hosts, as far as 32 are told apart.
    pub fn hosts(&self) -> u32 {
        self.hosts.count_ones()
    }

    /// Whether who counted on a day counts for it.
    fn has(&self, day: u16) -> bool {
        day.saturating_add(WEEK) > day_of(self.begun)
    }
}

/// What a day brought to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    /// Strangers that came, each counted once a week.
    addresses: u32,
    /// To which hosts.
    hosts: u32,
}

/// What is tried: an account, or our hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The account's name, bytes of the log; empty = our hosts.
    pub name: Box<[u8]>,
    /// Its number: its place, and how often that was another one's before.
    id: u16,
    /// The last seven days.
    days: [Day; WEEK as usize],
    /// The last of them, in days since the epoch.
    day: u16,
    /// How many addresses a week usually has, in 256ths: an average of when there was no wave.
    usual: u32,
    /// The wave that is on.
    pub wave: Option<Wave>,
}

impl Target {
    /// Days of the week that ends with `day`, as far as they are known.
    fn week(&self, day: u16) -> impl Iterator<Item = (u16, &Day)> {
        let known = self.day.saturating_sub(WEEK - 1)..=self.day;
        (day.saturating_sub(WEEK - 1)..=day)
            .filter(move |day| known.contains(day))
            .map(|day| (day, &self.days[usize::from(day % WEEK)]))
    }

    /// How many addresses came within the week that ends with `day`.
    fn addresses(&self, day: u16) -> u32 {
        self.week(day).map(|(_, day)| day.addresses).sum()
    }

    /// How many addresses within a week make a wave.
    fn least(&self) -> u32 {
        if self.name.is_empty() { 1 } else { ADDRESSES_LEAST.max((self.usual / 256).saturating_mul(TIMES_USUAL)) }
    }

    /// Days pass, up to `day`; what they bring becomes usual, but for a wave.
    fn pass(&mut self, day: u16) {
        if self.day == 0 {
            self.day = day;
        }
        for _ in 0..day.saturating_sub(self.day).min(LEARNT_MAX) {
            if self.wave.is_none() {
                let (usual, now) = (i64::from(self.usual), i64::from(self.addresses(self.day)) * 256);
                self.usual = u32::try_from(usual + (now - usual) / LEARNT_IN).unwrap_or(0);
            }
            self.day += 1;
            self.days[usize::from(self.day % WEEK)] = Day::default();
        }
        if self.day < day {
            self.day = day;
            self.days = Default::default();
        }
    }

    /// A wave begins by a try.
    fn begin(&mut self, at: u32) -> Wave {
        let week = || self.week(self.day);
        let first = week().find(|(_, day)| day.addresses > 0).map_or(self.day, |(day, _)| day);
        let hosts = week().fold(0, |hosts, (_, day)| hosts | day.hosts);
        let since = u32::from(first) * DAY;
        *self.wave.insert(Wave { since, begun: at, last: at, addresses: self.addresses(self.day), hosts })
    }

    /// Whether its wave is over by a day.
    fn is_quiet(&self, day: u16) -> bool {
        self.wave.is_some() && self.addresses(day).saturating_mul(2) < self.least()
    }

    /// A day that is remembered.
    fn day_mut(&mut self, day: u16) -> Option<&mut Day> {
        let is_known = day <= self.day && day.saturating_add(WEEK) > self.day;
        is_known.then(|| &mut self.days[usize::from(day % WEEK)])
    }
}

/// A failed try that is certain, of nobody who logged in from there lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try<'a> {
    /// By which prefix it is counted.
    pub(super) prefix: Prefix,
    /// Whom it tried; empty if no line named one.
    pub(super) user: &'a [u8],
    /// Where.
    pub(super) host: HostId,
    /// When, in seconds since the epoch; not later than `wall`.
    pub(super) at: u32,
    /// The clock.
    pub(super) wall: u32,
}

/// A wave that began, or that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The account's name; empty = our hosts.
    pub name: Box<[u8]>,
    /// Whether it is over.
    pub is_over: bool,
    /// The wave.
    pub wave: Wave,
}

/// What comes of a try.
#[derive(Debug, Default)]
pub(super) struct Failed {
    /// Waves that begin by it, or are seen to be over.
    pub(super) turns: Vec<Turn>,
    /// The wave that it is part of, the account's first, and on how many occasions its address tried.
    pub(super) part: Option<(Turn, u16)>,
}

/// All strangers and targets. They change by themselves, and say afterwards what changed.
#[derive(Debug, Default)]
pub struct Waves {
    strangers: IndexMap<Prefix, Stranger, foldhash::fast::RandomState>,
    targets: Vec<Target>,
    /// Where among them each account is. It is never walked.
    places: HashMap<Box<[u8]>, u16, foldhash::fast::RandomState>,
    /// How many strangers and targets were forgotten because there were too many.
    forgotten: u64,
    /// How many waves are on.
    on: usize,
    /// What changed, where somebody keeps it.
    changed: Option<Changed>,
}

/// Strangers that changed, as they are by now, and targets by their places.
type Changes = (Vec<(Prefix, Option<Stranger>)>, Vec<(u16, Target)>);

#[derive(Debug, Default)]
struct Changed {
    strangers: Vec<Prefix>,
    targets: Vec<u16>,
}

impl Waves {
    /// Counts a try.
    pub(super) fn fail(&mut self, one: &Try<'_>) -> Failed {
        let Try { prefix, user, host, at, wall } = *one;
        // Of the first day since the epoch is a clock that was never set; and no day is that of an empty place.
        if day_of(at) == 0 {
            return Failed::default();
        }
        let is_known = |known: &Stranger| known.last <= wall && known.last.saturating_add(REMEMBERED) > at;
        let mut stranger = self.strangers.get(&prefix).copied().filter(is_known).unwrap_or_default();
        // What comes late, or is read again, is none of another occasion.
        if stranger.tries == 0 || at >= stranger.last.saturating_add(APART) {
            stranger.tries = stranger.tries.saturating_add(1);
        }
        stranger.first = if stranger.first == 0 { at } else { stranger.first.min(at) };
        stranger.last = stranger.last.max(at);
        let bit = 1 << (host.0 % 32);
        stranger.hosts |= bit;
        let (day, mut failed) = (day_of(at), Failed::default());
        let account = self.account(user, &stranger, day);
        let visits = [
            account.map(|place| (place, stranger.visit(self.targets[usize::from(place)].id, day))),
            stranger.roves().then(|| (self.hosts(), stranger.rove(day))),
        ];
        for (place, visit) in visits.into_iter().flatten() {
            self.come(place, &visit, (at, wall), bit, &mut failed.turns);
            let Target { name, wave, .. } = &self.targets[usize::from(place)];
            if let Some(wave) = wave.filter(|_| stranger.tries >= OCCASIONS && failed.part.is_none()) {
                failed.part = Some((Turn { name: name.clone(), is_over: false, wave }, stranger.tries));
            }
        }
        self.room_for(&prefix);
        self.strangers.insert(prefix, stranger);
        self.touch(prefix);
        failed
    }

    /// A stranger comes to a target.
    fn come(&mut self, place: u16, visit: &Visit, (at, wall): (u32, u32), bit: u32, turns: &mut Vec<Turn>) {
        let (day, target) = (day_of(at), &mut self.targets[usize::from(place)]);
        if target.day > day_of(wall) {
            // A clock that was ahead, as is known now.
            (target.days, target.day) = Default::default();
        }
        target.pass(day.max(target.day));
        if target.is_quiet(target.day)
            && let Some(wave) = target.wave.take()
        {
            self.on -= 1;
            turns.push(Turn { name: target.name.clone(), is_over: true, wave });
        }
        if let Some(known) = target.day_mut(day) {
            known.addresses += u32::from(matches!(visit, Visit::New(_)));
            known.hosts |= bit;
        }
        let last = target.day;
        if let Some(wave) = &mut target.wave {
            wave.hosts |= bit;
            wave.last = wave.last.max(at);
            let is_new = matches!(visit, Visit::New(before) if before.is_none_or(|before| !wave.has(before)));
            wave.addresses += u32::from(is_new && wave.has(day));
        } else if matches!(visit, Visit::New(_)) && target.addresses(last) >= target.least() {
            let wave = target.begin(at);
            turns.push(Turn { name: target.name.clone(), is_over: false, wave });
            self.on += 1;
        }
        if let Some(changed) = &mut self.changed {
            changed.targets.push(place);
        }
    }

    /// The place of our hosts.
    fn hosts(&mut self) -> u16 {
        if self.targets.is_empty() {
            self.targets.push(Target::default());
        }
        HOSTS
    }

    /// The place of an account, which it gets if a stranger may count for it.
    fn account(&mut self, user: &[u8], stranger: &Stranger, day: u16) -> Option<u16> {
        if user.is_empty() || user.len() > NAME_MAX {
            return None;
        }
        if let Some(place) = self.places.get(user) {
            return Some(*place);
        }
        let has_room = stranger.accounts.iter().any(|(_, then)| *then == 0 || then.saturating_add(WEEK) <= day);
        if !has_room {
            return None;
        }
        self.hosts();
        let mut id = self.targets.len() as u16;
        if self.targets.len() >= TARGETS_MAX {
            let place = self.least_target(day)?;
            let known = &self.targets[usize::from(place)];
            self.places.remove(&known.name);
            id = known.id.wrapping_add(TARGETS_MAX as u16);
            self.forgotten += 1;
        } else {
            self.targets.push(Target::default());
        }
        let place = id % TARGETS_MAX as u16;
        self.targets[usize::from(place)] = Target { name: user.into(), id, ..Target::default() };
        self.places.insert(user.into(), place);
        Some(place)
    }

    /// Which account to forget: of a sample the one that the fewest addresses tried, and longest ago.
    fn least_target(&self, day: u16) -> Option<u16> {
        let accounts = TARGETS_MAX - 1;
        let sample = (0..SAMPLE).map(|step| 1 + (self.forgotten as usize * SAMPLE + step) % accounts);
        let free = sample.filter(|place| self.targets[*place].wave.is_none());
        let least = free.min_by_key(|place| {
            let target = &self.targets[*place];
            (target.addresses(day.max(target.day)), target.usual, target.day)
        });
        least.map(|place| place as u16)
    }

    /// Forgets a stranger where there is no room for another one.
    fn room_for(&mut self, prefix: &Prefix) {
        if self.strangers.len() < STRANGERS_MAX || self.strangers.contains_key(prefix) {
            return;
        }
        // They are apart: who came together may have tried as often.
        let at = |step| (self.forgotten as usize + step * (STRANGERS_MAX / SAMPLE)) % self.strangers.len();
        let sample = (0..SAMPLE).filter_map(|step| self.strangers.get_index(at(step)));
        let least = sample.min_by_key(|(_, one)| (one.tries >= OCCASIONS, one.last)).map(|(prefix, _)| *prefix);
        if let Some(victim) = least {
            self.strangers.swap_remove(&victim);
            self.forgotten += 1;
            self.touch(victim);
        }
    }

    /// Somebody logged in there, or a person forgave it: what it counted is taken back.
    pub(super) fn take_back(&mut self, prefix: &Prefix) {
        let Some(stranger) = self.strangers.swap_remove(prefix) else { return };
        self.touch(*prefix);
        for (id, day) in stranger.counts() {
            let place = id % TARGETS_MAX as u16;
            let Some(target) = self.targets.get_mut(usize::from(place)).filter(|target| target.id == id) else {
                continue;
            };
            if let Some(known) = target.day_mut(day) {
                known.addresses = known.addresses.saturating_sub(1);
            }
            if let Some(wave) = target.wave.as_mut().filter(|wave| wave.has(day)) {
                wave.addresses = wave.addresses.saturating_sub(1);
            }
            if let Some(changed) = &mut self.changed {
                changed.targets.push(place);
            }
        }
    }

    /// A deny of it is over: it begins anew. What it counted for was so.
    pub(super) fn forget(&mut self, prefix: &Prefix) {
        if self.strangers.swap_remove(prefix).is_some() {
            self.touch(*prefix);
        }
    }

    /// Waves that are over by a time, in seconds since the epoch.
    pub(super) fn end(&mut self, at: u32) -> Vec<Turn> {
        if self.on == 0 {
            return Vec::new();
        }
        let (day, mut turns) = (day_of(at), Vec::new());
        for (place, target) in self.targets.iter_mut().enumerate() {
            // What was read may be ahead of what is told.
            let day = day.max(target.day);
            if !target.is_quiet(day) {
                continue;
            }
            target.pass(day);
            let Some(wave) = target.wave.take() else { continue };
            turns.push(Turn { name: target.name.clone(), is_over: true, wave });
            if let Some(changed) = &mut self.changed {
                changed.targets.push(place as u16);
            }
        }
        self.on -= turns.len();
        turns
    }

    /// What is known of a stranger.
    pub fn get(&self, prefix: &Prefix) -> Option<&Stranger> {
        self.strangers.get(prefix)
    }

    /// All strangers, by the prefixes that they are counted by.
    pub(super) fn strangers(&self) -> impl Iterator<Item = &Prefix> {
        self.strangers.keys()
    }

    /// The waves that are on: our hosts first, then accounts in the order in which they were tried.
    pub fn on(&self) -> impl Iterator<Item = (&[u8], Wave)> {
        self.targets.iter().filter_map(|target| Some((&*target.name, target.wave?)))
    }

    /// Those of them in which a stranger takes part.
    pub fn of(&self, prefix: &Prefix) -> impl Iterator<Item = (&[u8], Wave)> {
        let known = self.strangers.get(prefix).filter(|known| known.tries >= OCCASIONS);
        known.into_iter().flat_map(Stranger::counts).filter_map(|(id, day)| {
            let target = self.targets.get(usize::from(id) % TARGETS_MAX).filter(|target| target.id == id)?;
            Some((&*target.name, target.wave.filter(|wave| wave.has(day))?))
        })
    }

    /// How many strangers and targets were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// From now on what changes is kept.
    pub(super) fn track_changes(&mut self) {
        self.changed = Some(Changed::default());
    }

    /// How many changes there are, about.
    pub(super) fn changes(&self) -> usize {
        self.changed.as_ref().map_or(0, |changed| changed.strangers.len())
    }

    /// What changed since it was taken last, each once, as it is by now.
    pub(super) fn take_changes(&mut self) -> Changes {
        let Some(changed) = &mut self.changed else { return Default::default() };
        let Changed { mut strangers, mut targets } = std::mem::take(changed);
        strangers.sort_unstable();
        strangers.dedup();
        targets.sort_unstable();
        targets.dedup();
        let strangers = strangers.into_iter().map(|prefix| (prefix, self.strangers.get(&prefix).copied()));
        let targets = targets.into_iter().map(|place| (place, self.targets[usize::from(place)].clone()));
        (strangers.collect(), targets.collect())
    }

    /// Puts a stranger as it is now; `None` = it is forgotten.
    pub(super) fn put_stranger(&mut self, prefix: Prefix, known: Option<Stranger>) {
        match known {
            Some(known) => self.strangers.insert(prefix, known),
            None => self.strangers.swap_remove(&prefix),
        };
    }

    /// Puts a target as it is now; not where its number says that it has another place.
    pub(super) fn put_target(&mut self, place: u16, target: &Target) {
        let index = usize::from(place);
        if index >= TARGETS_MAX || usize::from(target.id) % TARGETS_MAX != index {
            return;
        }
        while self.targets.len() <= index {
            self.targets.push(Target { id: self.targets.len() as u16, ..Target::default() });
        }
        let before = std::mem::replace(&mut self.targets[index], target.clone());
        self.on = self.on + usize::from(target.wave.is_some()) - usize::from(before.wave.is_some());
        if before.name != target.name {
            self.places.remove(&before.name);
        }
        if place != HOSTS {
            self.places.insert(target.name.clone(), place);
        }
    }

    fn touch(&mut self, prefix: Prefix) {
        if let Some(changed) = &mut self.changed {
            changed.strangers.push(prefix);
        }
    }
}

/// The day of a time, since the epoch: in 16 bits until 2149.
fn day_of(at: u32) -> u16 {
    u16::try_from(at / DAY).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// 2026-11-16T00:00:00Z.
    const BEGIN: u32 = 1_794_787_200;

    fn host(number: u32) -> Prefix {
        Prefix::host(Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    /// An address tries a name, so many seconds after the beginning; whether a wave begins by it.
    fn fail(waves: &mut Waves, number: u32, user: &str, after: u32) -> bool {
        fail_at(waves, number, user, after, BEGIN + 400 * DAY)
    }

    fn fail_at(waves: &mut Waves, number: u32, user: &str, after: u32, wall: u32) -> bool {
        let at = BEGIN + after;
        let one = Try { prefix: host(number), user: user.as_bytes(), host: HostId(0), at, wall };
        waves.fail(&one).turns.iter().any(|turn| !turn.is_over)
    }

    #[test]
    fn a_flood_of_names_is_none_and_hides_none() {
        let mut waves = Waves::default();
        let mut begun = Vec::new();
        for number in 0..20_000 {
            let names = (0..8).map(|n| format!("{number}-{n}")).chain(["x".repeat(NAME_MAX + 1), String::new()]);
            for name in names {
                assert!(!fail(&mut waves, number, &name, number), "{name}");
            }
            if number % 20 == 0 && fail(&mut waves, 1_000_000 + number, "root", number) {
                begun.push(number / 20 + 1);
            }
        }
        assert_eq!(begun, [ADDRESSES_LEAST], "as many as ever");
        assert_eq!((waves.targets.len(), waves.places.len()), (TARGETS_MAX, TARGETS_MAX - 1));
        // Four of each address came to count, and root.
        assert_eq!(waves.forgotten, 4 * 20_000 + 1 - (TARGETS_MAX as u64 - 1));
    }

    #[test]
    fn a_flood_of_addresses_forgets_who_tried_once() {
        let mut waves = Waves::default();
        for after in [0, APART] {
            for number in 0..1_000 {
                fail(&mut waves, number, "al", after);
            }
        }
        let flood = 1_000..STRANGERS_MAX as u32 + 100_000;
        for number in flood {
            fail(&mut waves, number, "al", 2 * APART);
        }
        assert_eq!((waves.strangers.len(), waves.forgotten), (STRANGERS_MAX, 100_000));
        let left = (0..1_000).filter(|number| waves.get(&host(*number)).is_some()).count();
        assert_eq!(left, 1_000);
        assert!(size_of::<(u64, Prefix, Stranger)>() <= 80, "65 536 of them, and their places, are 5 MB");
    }

    /// What is read again, or comes in another order, is the same.
    #[test]
    fn what_is_read_again_counts_nothing() {
        let mut waves = Waves::default();
        let read = |waves: &mut Waves| {
            for (number, after) in (0..100).flat_map(|number| [(number, 0), (number, 2 * DAY), (number, 5 * DAY)]) {
                fail(waves, number, "al", after);
            }
            let known: Vec<_> = (0..100).map(|number| *waves.get(&host(number)).unwrap()).collect();
            (known, waves.targets[1].addresses(day_of(BEGIN + 5 * DAY)))
        };
        let first = read(&mut waves);
        assert_eq!((first.0[7].tries, first.1), (3, 100));
        assert_eq!(read(&mut waves), first);
    }

    /// A shared account whose people mistype anywhere, and log in then.
    #[test]
    fn who_logs_in_takes_back_what_he_counted() {
        let mut waves = Waves::default();
        for number in 0..1_000 {
            assert!(!fail(&mut waves, number, "shared", number));
            if number >= ADDRESSES_LEAST - 2 {
                waves.take_back(&host(number));
            }
        }
        assert_eq!((waves.strangers.len(), waves.targets[1].addresses(day_of(BEGIN))), (126, 126));
        assert!(!fail(&mut waves, 1_000, "shared", 1_000) && fail(&mut waves, 1_001, "shared", 1_001));
        waves.take_back(&host(7));
        assert_eq!(waves.on().map(|(_, wave)| wave.addresses).collect::<Vec<_>>(), [127]);
    }

    #[test]
    fn what_is_usual_makes_no_wave() {
        let mut waves = Waves::default();
        let mut number = 0;
        let mut week = |waves: &mut Waves, week: u32, addresses: u32| {
            (0..addresses)
                .filter(|n| {
                    number += 1;
                    fail(waves, number, "root", week * 7 * DAY + n * (7 * DAY / addresses))
                })
                .count()
        };
        // 98 a week, for twenty weeks: what is usual has come to that by then, and three times as many make a wave.
        assert_eq!((0..20).map(|n| week(&mut waves, n, 98)).sum::<usize>(), 0);
        let usual = waves.targets[1].usual / 256;
        assert!((90..=98).contains(&usual), "{usual}");
        assert_eq!(week(&mut waves, 20, 240), 0);
        assert_eq!(week(&mut waves, 21, 800), 1);
        // A wave does not become usual.
        let before = waves.targets[1].usual;
        assert_eq!((22..30).map(|n| week(&mut waves, n, 500)).sum::<usize>(), 0);
        assert_eq!(waves.targets[1].usual, before);
    }

    #[test]
    fn an_address_on_many_hosts_is_one() {
        let mut waves = Waves::default();
        let mut on = |number: u32, host_id: u16, day: u32| {
            let at = BEGIN + day * DAY;
            let one = Try { prefix: host(number), user: b"", host: HostId(host_id), at, wall: at };
            waves.fail(&one).turns
        };
        // One after the other within an hour is one occasion.
        assert!((0..40).all(|host| on(1, host, 0).is_empty()));
        assert!((0..3).all(|day| on(2, day, day.into()).is_empty()));
        let turns = on(2, 3, 3);
        assert_eq!((turns.len(), turns[0].name.len(), turns[0].wave.addresses), (1, 0, 1));
        assert!(on(2, 4, 4).is_empty() && on(1, 1, 4).is_empty(), "it is told once");
        assert_eq!(waves.on().map(|(name, wave)| (name.len(), wave.addresses)).collect::<Vec<_>>(), [(0, 2)]);
        assert_eq!(waves.of(&host(2)).count(), 1);
        assert!(waves.end(BEGIN + 10 * DAY).is_empty());
        assert_eq!(waves.end(BEGIN + 11 * DAY).len(), 1);
    }

    /// Numbers that were another account's before are not that account's.
    #[test]
    fn an_account_in_the_place_of_another_is_another() {
        let mut waves = Waves::default();
        for number in 0..3 * TARGETS_MAX as u32 {
            fail(&mut waves, number, &number.to_string(), number);
        }
        let known = *waves.get(&host(1)).unwrap();
        assert!(waves.targets.iter().all(|target| target.id != known.accounts[0].0));
        waves.take_back(&host(1));
        assert!(waves.targets[1..].iter().all(|target| target.addresses(day_of(BEGIN)) == 1));
    }

    /// A place that could not be read stays empty until there is need of it.
    #[test]
    fn a_target_that_is_missing_is_no_other() {
        let (mut waves, mut again) = (Waves::default(), Waves::default());
        for number in 0..TARGETS_MAX as u32 {
            fail(&mut waves, number, &number.to_string(), number);
        }
        for (place, target) in waves.targets.iter().enumerate().filter(|(place, _)| *place != 7) {
            again.put_target(place as u16, target);
        }
        again.put_target(7, &waves.targets[8]);
        assert_eq!((again.targets.len(), &*again.targets[7].name), (TARGETS_MAX, &b""[..]));
        for number in 0..3 * TARGETS_MAX as u32 {
            fail(&mut again, 10_000 + number, &format!("new{number}"), DAY);
        }
        assert!(again.targets[0].name.is_empty() && again.targets[1..].iter().all(|target| !target.name.is_empty()));
        for (place, target) in again.targets.iter().enumerate() {
            assert_eq!(usize::from(target.id) % TARGETS_MAX, place);
        }
    }

    #[test]
    fn a_clock_that_was_never_set_makes_no_wave() {
        let mut waves = Waves::default();
        let one = Try { prefix: host(1), user: b"al", host: HostId(0), at: 7, wall: BEGIN };
        assert!((0..1_000).all(|_| waves.fail(&one).turns.is_empty()) && waves.strangers.is_empty());
    }

    /// A clock that was ahead, and is right now, hides nothing for longer.
    #[test]
    fn what_a_clock_that_was_ahead_told_is_forgotten() {
        let mut waves = Waves::default();
        fail_at(&mut waves, 1, "al", 300 * DAY, BEGIN + 300 * DAY);
        let right = BEGIN + 2 * DAY;
        let begun = (1..=ADDRESSES_LEAST).filter(|number| fail_at(&mut waves, *number, "al", DAY, right)).count();
        assert_eq!((begun, waves.get(&host(1)).unwrap().tries), (1, 1));
    }
}
