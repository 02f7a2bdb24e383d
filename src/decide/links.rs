//! The machine's own prefixes of IPv6: who failed from each, one by one, while they are few.
//!
//! Whoever is on a link may take any address of it. So beyond a number of them the prefix is denied and not one more
//! address.

use std::collections::BTreeMap;

use inputs::record::Timestamp;

use super::familiar::seconds;
use super::prefix::Prefix;
use crate::detect::address::Address;

/// Addresses of one link that are counted apart; as many beside them by records that strangers may have made up.
pub const LINK_HOSTS_MAX: usize = 256;

/// How many times what one address is denied for is tolerated of all of a link.
pub const LINK_TIMES: u32 = 16;

/// One that has not failed for so many seconds gives its place away.
const IDLE: u32 = 86_400;

/// When each address failed last.
type Hosts = BTreeMap<Address, u32>;

/// What failed from each link. It changes by itself, and is not kept over a restart.
#[derive(Debug, Default)]
pub struct Links {
    /// By sound records, and by the others.
    links: BTreeMap<Prefix, [Hosts; 2]>,
}

impl Links {
    /// Whether an address that failed is one of those that are counted apart.
    pub(super) fn admit(&mut self, link: Prefix, peer: Address, at: Timestamp, is_sound: bool) -> bool {
        let at = seconds(at);
        let [sound, other] = self.links.entry(link).or_default();
        if !is_sound && sound.contains_key(&peer) {
            return true;
        }
        let hosts = if is_sound { sound } else { other };
        if hosts.len() >= LINK_HOSTS_MAX && !hosts.contains_key(&peer) {
            hosts.retain(|_, last| last.saturating_add(IDLE) >= at);
            if hosts.len() >= LINK_HOSTS_MAX {
                return false;
            }
        }
        hosts.insert(peer, at);
        true
    }

    /// Forgets the links that are not to be kept.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Prefix) -> bool) {
        self.links.retain(|link, _| keeps(link));
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// A link begins anew.
    pub(super) fn forget(&mut self, link: &Prefix) {
        self.links.remove(link);
    }
}
