//! Wider nets of IPv6: a /48 or a /56 whose owner tries from many of its /64s, each of which stays below its threshold.
//!
//! Each /64 adds at most what it is denied for alone, and one, so only many of them exceed a net's own threshold. Nets
//! are counted in two worlds, by sound records alone and by the others, each with its own bound: what is sound does not
//! depend on what is not.

use std::time::Duration;

use indexmap::IndexMap;
use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Class;
use super::prefix::Prefix;

/// The nets, by their length, and from how many /64s at least one is denied. It is when its failures of a class exceed
/// so many times what one /64 is denied for.
pub const WIDTHS: [(u8, u32); 2] = [(56, 4), (48, 16)];

/// The same of IPv4, and from how many addresses, where the configuration wants it.
pub const IPV4_WIDTHS: &[(u8, u32)] = &[(24, 8)];

/// No net is denied from which somebody logged in within this time, by a sound record.
pub const AT_HOME: Duration = Duration::from_secs(30 * 86_400);

/// A login is noted anew after so long: whoever logs in each minute need not be written each minute.
pub(super) const NOTED_FOR: Duration = Duration::from_secs(86_400);

/// Nets that are counted at once by sound records: 10 MB. Further ones push out others.
pub const NETS_MAX: usize = 65_536;

/// Those by records that strangers may have made up.
pub const FORGEABLE_NETS_MAX: usize = 8_192;

/// How many /64s of a net are told apart.
const PARTS_MAX: usize = 16;

/// Of how many the one to forget is chosen.
const SAMPLE: usize = 8;

/// What is known of a net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Failures per class.
    counts: [u32; 5],
    /// When each class failed last: seconds since the epoch.
    last: [u32; 5],
    /// The first of its /64s that failed, each by its last 16 bits.
    parts: [u16; PARTS_MAX],
    /// How many of these there are.
    spread: u8,
    /// The last login: seconds since the epoch, 0 = none.
    login: u32,
}

impl Net {
    /// Forgets what is too old, as each class says, and then of which parts it was.
    pub(super) fn age(&mut self, ages: &[Option<Duration>; 5], at: Timestamp) {
        for ((count, last), age) in self.counts.iter_mut().zip(self.last).zip(ages) {
            let last = Timestamp::from_secs(i64::from(last));
            if age.is_some_and(|age| last.after(age) < at) {
                *count = 0;
            }
        }
        if self.counts == [0; 5] {
            self.spread = 0;
        }
    }

    /// Counts failures of a class by one of its /64s. A negative number are failures that are certain by now.
    pub fn add(&mut self, class: Class, times: i64, part: u16, at: Timestamp) {
        let count = &mut self.counts[class as usize];
        *count = u32::try_from((i64::from(*count) + times).max(0)).unwrap_or(u32::MAX);
        let last = &mut self.last[class as usize];
        *last = (*last).max(u32::try_from(at.secs()).unwrap_or(0));
        if times > 0 && !self.parts().contains(&part) && self.parts().len() < PARTS_MAX {
            self.parts[usize::from(self.spread)] = part;
            self.spread += 1;
        }
    }

    /// Failures of a class.
    pub fn count(&self, class: Class) -> u32 {
        self.counts[class as usize]
    }

    /// Its /64s that failed, as far as they are told apart.
    pub fn parts(&self) -> &[u16] {
        &self.parts[..usize::from(self.spread).min(PARTS_MAX)]
    }

    /// Whether somebody logged in from here lately.
    pub fn is_at_home(&self, at: Timestamp) -> bool {
        self.login > 0 && Timestamp::from_secs(i64::from(self.login)).after(AT_HOME) > at
    }

    /// Notes a login; says whether that is news.
    pub(super) fn log_in(&mut self, at: Timestamp) -> bool {
        let is_news = self.login == 0 || Timestamp::from_secs(i64::from(self.login)).after(NOTED_FOR) <= at;
        if is_news {
            self.login = u32::try_from(at.secs()).unwrap_or(0);
        }
        is_news
    }

    /// Begins again from zero. Who logged in stays known.
    pub(super) fn forgive(&mut self) {
        *self = Net { login: self.login, ..Net::default() };
    }
}

/// By which records a net is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum World {
    /// By sound ones.
    Sound,
    /// By those that strangers may have made up.
    Forgeable,
}

impl World {
    /// Both.
    pub const BOTH: [World; 2] = [World::Sound, World::Forgeable];

    fn bound(self) -> usize {
        match self {
            World::Sound => NETS_MAX,
            World::Forgeable => FORGEABLE_NETS_MAX,
        }
    }
}

/// All nets.
#[derive(Debug, Default)]
pub struct Nets {
    worlds: [IndexMap<Prefix, Net, foldhash::fast::RandomState>; 2],
    /// How many were forgotten because there were too many.
    forgotten: u64,
}

impl Nets {
    /// What is known of a net.
    pub fn get(&self, net: Prefix, world: World) -> Option<&Net> {
        self.worlds[world as usize].get(&net)
    }

    /// Puts a net as it is now; `None` = it is forgotten.
    pub(super) fn put(&mut self, net: Prefix, world: World, known: Option<Net>) {
        match known {
            Some(known) => self.worlds[world as usize].insert(net, known),
            None => self.worlds[world as usize].swap_remove(&net),
        };
    }

    /// A net, to be changed, and another one that is forgotten for it.
    pub(super) fn room_for(&mut self, net: Prefix, world: World) -> (&mut Net, Option<Prefix>) {
        let nets = &mut self.worlds[world as usize];
        let mut victim = None;
        if nets.len() >= world.bound() && !nets.contains_key(&net) {
            victim = least(nets, self.forgotten);
            self.forgotten += 1;
        }
        if let Some(victim) = victim {
            nets.swap_remove(&victim);
        }
        (nets.entry(net).or_default(), victim)
    }

    /// All nets in both worlds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Prefix, World)> {
        World::BOTH.into_iter().flat_map(|world| self.worlds[world as usize].keys().map(move |net| (*net, world)))
    }

    /// How many there are in one world.
    pub fn len(&self, world: World) -> usize {
        self.worlds[world as usize].len()
    }

    /// How many were forgotten because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// Whom to forget, the `nth`: of a sample the one where nobody logged in, that failed from the fewest /64s, the least
/// often, and longest ago.
fn least(nets: &IndexMap<Prefix, Net, foldhash::fast::RandomState>, nth: u64) -> Option<Prefix> {
    let sample = (0..SAMPLE).filter_map(|step| nets.get_index((nth as usize * SAMPLE + step) % nets.len()));
    let least = sample.min_by_key(|(_, net)| {
        let failures: u64 = net.counts.iter().map(|count| u64::from(*count)).sum();
        (net.login > 0, net.spread, failures, net.last)
    });
    least.map(|(net, _)| *net)
}
