//! What a deny does to the packets of its address, where a firewall enforces it.

use serde::{Deserialize, Serialize};

/// What an administrator decides of it. hosts.deny knows none of this: there libwrap asks for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The ports of TCP that are closed to a denied address, 1 to [`PORTS_MAX`]; `None` = all that it sends is refused.
    pub ports: Option<Vec<u16>>,
    /// What becomes of its packets.
    pub action: Action,
    /// Whether packets are counted for each deny.
    pub counters: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It is dropped, and nobody answers.
    #[default]
    Drop,
    /// It is answered: TCP by a reset, all else by ICMP's port unreachable.
    Reject,
}

/// What was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Packets.
    pub packets: u64,
    /// Those of them that would have begun a connection of TCP. Who is not answered tries one several times.
    pub connections: u64,
}

impl std::ops::AddAssign for Refused {
    fn add_assign(&mut self, other: Refused) {
        self.packets = self.packets.saturating_add(other.packets);
        self.connections = self.connections.saturating_add(other.connections);
    }
}

impl Effect {
    /// The ports, with commas between them.
    pub(super) fn ports(&self) -> Option<String> {
        let ports = self.ports.as_ref()?.iter().map(u16::to_string);
        Some(ports.collect::<Vec<_>>().join(","))
    }
}

/// Ports of a list: what iptables' multiport takes.
pub const PORTS_MAX: usize = 15;
