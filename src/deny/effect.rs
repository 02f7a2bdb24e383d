//! What a deny does to the packets of its address, where a firewall enforces it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::decide::prefix::Prefix;

/// What an administrator decides of it. hosts.deny knows none of this: there libwrap asks for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The ports of TCP that are closed to a denied address, 1 to [`PORTS_MAX`]; `None` = all that it sends is refused.
    pub ports: Option<Vec<u16>>,
    /// What becomes of its packets.
    pub action: Action,
    /// Whether packets are counted for each deny.
    pub counters: bool,
    /// Ports of ours that stay open to some who are denied; [`SPARED_MAX`] at most.
    pub spared: Vec<Spared>,
}

/// A port of ours that stays open to some who are denied, as a listener's to its log senders: who breaks into a sender and
/// guesses from there is denied everything else, and what the sender logs still arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spared {
    /// To whom.
    pub from: Prefix,
    /// By what.
    pub protocol: Protocol,
    /// At which address of ours; `None` = at all of them, and at nobody else's.
    pub at: Option<IpAddr>,
    /// Which.
    pub port: u16,
}

/// What ports are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As nft and iptables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
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

    /// The ports that stay open to some who are denied, of those of one family.
    pub(super) fn spared(&self, ipv4: bool) -> impl Iterator<Item = &Spared> {
        self.spared.iter().filter(move |spared| spared.from.is_ipv4() == ipv4)
    }

    /// The same without ports at all addresses of ours, for a kernel that cannot tell which those are; `None` = there are none.
    pub(super) fn without_everywhere(&self) -> Option<Effect> {
        let spared: Vec<_> = self.spared.iter().filter(|spared| spared.at.is_some()).copied().collect();
        (spared.len() < self.spared.len()).then(|| Effect { spared, ..self.clone() })
    }

    /// Whether a connection of TCP from `peer` to this end of ours stays open to whoever is denied.
    pub(super) fn spares(&self, peer: IpAddr, (our, port): (IpAddr, u16)) -> bool {
        let reaches = |spared: &Spared| spared.port == port && spared.at.is_none_or(|at| at == our);
        let mut tcp = self.spared(peer.is_ipv4()).filter(|spared| spared.protocol == Protocol::Tcp);
        tcp.any(|spared| reaches(spared) && spared.from.contains(&Prefix::host(peer)))
    }
}

/// What is said where [`Effect::without_everywhere`] takes the place of what was wanted.
pub(super) const NOT_EVERYWHERE: &str = "this kernel cannot tell its own addresses in rules, so log senders that are denied do not reach \
    listeners at 0.0.0.0 or [::]: let `listen` name one address";
/// Ports of a list: what iptables' multiport takes.
pub const PORTS_MAX: usize = 15;
/// Ports of ours that stay open to some who are denied, counted once for each prefix of them: a rule each, which a packet of
/// whoever is denied passes.
pub const SPARED_MAX: usize = 1_000;
