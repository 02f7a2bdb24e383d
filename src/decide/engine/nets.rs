//! An attempt in the wider nets of its address.

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::attempt::Attempt;
use crate::decide::claim::{Basis, Reason};
use crate::decide::links::{LINK_HOSTS_MAX, LINK_TIMES};
use crate::decide::nets::{IPV4_WIDTHS, Net, WIDTHS, World};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::tally::Tally;
use crate::detect::address::Address;

/// A net that is counted, and when it is denied.
#[derive(Clone, Copy)]
struct Wide {
    net: Prefix,
    /// When its failures of a class exceed so many times what one part is denied for,
    times: u32,
    /// from so many parts at least.
    parts: usize,
    /// It is one of the machine's own.
    is_link: bool,
}

impl Engine {
    /// The nets of an address that are counted. One that holds a translator's prefix is none: all of IPv4 is in it. Of the
    /// machine's own prefixes only these themselves are: all who are there are its neighbours.
    fn nets_of(&self, peer: Address) -> impl Iterator<Item = Wide> + use<> {
        let policy = &self.policy;
        let mut nets = [None; WIDTHS.len()];
        if let Some(net) = policy.link(peer) {
            nets[0] = Some(Wide { net, times: LINK_TIMES, parts: 1, is_link: true });
            return nets.into_iter().flatten();
        }
        let (is_wanted, widths, bits) = match peer.is_ipv4() {
            true => (policy.ipv4_wider_nets, IPV4_WIDTHS, policy.ipv4_bits),
            false => (policy.wider_nets, &WIDTHS[..], policy.ipv6_bits),
        };
        let is_counted = is_wanted && policy.special(peer).is_none_or(|special| special.bits.is_none());
        for (found, (width, spread)) in nets.iter_mut().zip(widths).filter(|_| is_counted) {
            let net = Prefix::of(peer, *width);
            let is_one = *width < bits && !policy.nat64.iter().any(|own| net.contains(own));
            *found = is_one.then_some(Wide { net, times: *spread, parts: *spread as usize, is_link: false });
        }
        nets.into_iter().flatten()
    }

    /// Whether more addresses of one of the machine's own prefixes fail than are counted apart. Then that is denied.
    pub(super) fn is_crowded(&mut self, attempt: &Attempt<'_>) -> bool {
        let Attempt { peer, prefix, classes, at, from, sound, .. } = *attempt;
        let Some(link) = self.policy.link(peer) else { return false };
        let is_familiar = self.state.familiar.get(&prefix).is_some_and(|known| known.is_lately(at));
        if is_familiar || self.state.links.admit(link, peer, at, sound > 0) {
            return false;
        }
        let most = LINK_HOSTS_MAX as u32;
        let basis = if sound > 0 { Basis::Sound } else { Basis::Forgeable };
        let is_judged = |class: &Class| self.policy.thresholds[*class as usize].is_some();
        if let Some(class) = classes.iter().find(is_judged) {
            let (count, parts) = (most + 1, LINK_HOSTS_MAX as u16 + 1);
            let reason = Reason::Policy { class, count, threshold: most, basis, parts, probation: false };
            self.expire(link, at);
            self.sentence(link, reason, at, from);
        }
        true
    }

    /// Counts an attempt in the nets of its address, and judges them. `before` and `after` are what its prefix had.
    pub(super) fn widen(&mut self, attempt: &Attempt<'_>, before: &Tally, after: &Tally) {
        let Attempt { peer, classes, at, .. } = *attempt;
        for wide in self.nets_of(peer) {
            let net = wide.net;
            if self.state.forgives.cover(&net, at, self.wall) {
                continue;
            }
            self.expire(net, at);
            for class in classes.iter() {
                self.count_in_net(net, peer, class, (before, after), at);
            }
            self.judge_net(wide, attempt);
        }
    }

    /// Counts what a prefix adds to a net in one class: no more than it is denied for itself, and one.
    fn count_in_net(&mut self, net: Prefix, peer: Address, class: Class, tallies: (&Tally, &Tally), at: Timestamp) {
        let Some(threshold) = self.policy.thresholds[class as usize] else { return };
        let (before, after) = tallies;
        let known = before.aged(class, self.policy.age(class), at);
        let was_sound = if known == 0 { 0 } else { before.sound[class as usize] };
        let capped = |count: u32| i64::from(count.min(threshold.0.saturating_add(2)));
        let all = capped(after.counts[class as usize]) - capped(known);
        let sound = capped(after.sound[class as usize].into()) - capped(was_sound.into());
        let is_host = peer.is_ipv4() || self.policy.machine.is_link(&net);
        let part = if is_host { peer.to_bits() as u16 } else { (peer.to_bits() >> 64) as u16 };
        for (world, times) in [(World::Sound, sound), (World::Forgeable, all - sound)] {
            // What is certain by now is taken from what was not, if that is known.
            if times > 0 || times < 0 && self.state.nets.get(net, world).is_some() {
                let ages = self.policy.ages();
                self.change_net(net, world, |net| {
                    net.age(&ages, at);
                    net.add(class, times, part, at);
                });
            }
        }
    }

    /// Denies a net whose count exceeds its threshold, from enough of its /64s, if nobody is at home there.
    fn judge_net(&mut self, wide: Wide, attempt: &Attempt<'_>) {
        let Wide { net, times, parts: least, is_link } = wide;
        let Attempt { classes, at, from, .. } = *attempt;
        // Most often it is clear at once.
        let parts = World::BOTH.map(|world| self.state.nets.get(net, world).map_or(0, |net| net.parts().len()));
        if parts[0] + parts[1] < least {
            return;
        }
        let known = |world| {
            let mut net = self.state.nets.get(net, world).copied().unwrap_or_default();
            net.age(&self.policy.ages(), at);
            net
        };
        let [sound, forgeable] = World::BOTH.map(known);
        // Of a link those are spared who are at home there, and not all.
        let is_at_home = || sound.is_at_home(at) || self.guest(&net, at).is_some();
        if !is_link && is_at_home() || self.policy.allow.covers(&net) {
            return;
        }
        let new = forgeable.parts().iter().filter(|part| !sound.parts().contains(part)).count();
        let by_sound = sound.parts().len();
        let over = classes.iter().filter_map(|class| {
            let each = self.policy.thresholds[class as usize]?.0.saturating_add(1);
            let threshold = each.saturating_mul(times);
            let reason = |count: u32, parts: usize, basis| {
                let is_over = count > threshold && parts >= least;
                is_over.then_some(Reason::Policy {
                    class,
                    count,
                    threshold,
                    basis,
                    parts: parts as u16,
                    probation: false,
                })
            };
            let all = sound.count(class).saturating_add(forgeable.count(class));
            reason(sound.count(class), by_sound, Basis::Sound).or_else(|| reason(all, by_sound + new, Basis::Forgeable))
        });
        let is_sound = |reason: &Reason| matches!(reason, Reason::Policy { basis: Basis::Sound, .. });
        if let Some(reason) = over.reduce(|a, b| if is_sound(&b) && !is_sound(&a) { b } else { a }) {
            self.sentence(net, reason, at, from);
        }
    }

    /// Notes a login that strangers cannot have made up.
    pub(super) fn at_home(&mut self, peer: Address, at: Timestamp) {
        for Wide { net, .. } in self.nets_of(peer) {
            let mut known = self.state.nets.get(net, World::Sound).copied().unwrap_or_default();
            if known.log_in(at) {
                self.change_net(net, World::Sound, |net| *net = known);
            }
        }
    }

    /// A net begins again from zero: by all records, or by those that strangers may have made up.
    pub(super) fn forget_net(&mut self, net: Prefix, all: bool) {
        for world in World::BOTH {
            if (all || world == World::Forgeable) && self.state.nets.get(net, world).is_some() {
                self.change_net(net, world, Net::forgive);
            }
        }
    }

    fn change_net(&mut self, net: Prefix, world: World, change: impl FnOnce(&mut Net)) {
        let (known, victim) = self.state.nets.room_for(net, world);
        change(known);
        if self.is_kept {
            self.nets.push((net, world));
            self.nets.extend(victim.map(|victim| (victim, world)));
        }
    }
}
