//! What this machine is, as its kernel tells whoever asks: handed in, since nothing here asks anybody.

use super::prefix::Prefix;
use crate::detect::address::Address;

/// Addresses, and links, that are taken of a machine.
pub const MACHINE_MAX: usize = 4_096;

/// This machine's place in the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its addresses; never denied.
    pub own: Vec<Prefix>,
    /// Its default gateways; never denied.
    pub gateways: Vec<Prefix>,
    /// The prefixes of IPv6 that are on its links: its neighbours are other machines.
    pub links: Vec<Prefix>,
}

impl Machine {
    /// The link that an address is on, the widest of them.
    pub fn link(&self, peer: Address) -> Option<Prefix> {
        if self.links.is_empty() || peer.is_ipv4() {
            return None;
        }
        let host = Prefix::host(peer);
        self.links.iter().filter(|link| link.contains(&host)).min_by_key(|link| link.bits()).copied()
    }

    /// Whether a prefix is one of its links.
    pub fn is_link(&self, prefix: &Prefix) -> bool {
        self.links.contains(prefix)
    }
}
