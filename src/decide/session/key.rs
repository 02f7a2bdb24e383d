//! What joins the lines of a connection.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::line::{HostId, Line};
use crate::detect::address::Address;
use crate::detect::event::Event;

/// What the lines of a connection have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// The process that held it.
    Pid(HostId, u32),
    /// No pid in the log: the peer's address and port.
    Port(HostId, Address, u16),
    /// Neither: the address and a hash (FNV-1a) of the user.
    User(HostId, Address, u64),
    /// What an administrator's rule knows: the address and a hash of rule and user. Not the process, since one of a
    /// mail server serves many peers.
    Rule(HostId, Address, u64),
}

impl Key {
    /// The origin host.
    pub(super) fn host(self) -> HostId {
        match self {
            Key::Pid(host, _) | Key::Port(host, ..) | Key::User(host, ..) | Key::Rule(host, ..) => host,
        }
    }
}

/// By few whole words: every line of sshd's is looked up by it, and a field at a time takes three times as long.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Key::Pid(host, pid) => state.write_u64(u64::from(host.0) << 32 | u64::from(pid)),
            Key::Port(host, address, port) => {
                address.hash(state);
                state.write_u64(1 << 48 | u64::from(host.0) << 32 | u64::from(port));
            }
            Key::User(host, address, user) => {
                address.hash(state);
                state.write_u64(user);
                state.write_u64(1 << 49 | u64::from(host.0) << 32);
            }
            Key::Rule(host, address, rule) => {
                address.hash(state);
                state.write_u64(rule);
                state.write_u64(1 << 50 | u64::from(host.0) << 32);
            }
        }
    }
}

/// What joins a line to others by what it says itself, where that is more than an address.
pub(super) fn plain_key(line: &Line, event: &Event<'_>, address: Option<Address>) -> Option<Key> {
    match line.pid {
        Some(pid) if !event.is_by_rule() => Some(Key::Pid(line.host, pid)),
        _ => key_by_address(line, event, address),
    }
}

/// The same, whatever process wrote it.
pub(super) fn key_by_address(line: &Line, event: &Event<'_>, address: Option<Address>) -> Option<Key> {
    let hash = |behind| fnv(behind, event.user.unwrap_or_default());
    if event.is_by_rule() {
        return Some(Key::Rule(line.host, address?, hash(fnv(FNV, event.rule.as_bytes()))));
    }
    let by_user = || Some(Key::User(line.host, address?, hash(FNV)));
    event.port.map_or_else(by_user, |port| Some(Key::Port(line.host, address?, port)))
}

/// What FNV-1a begins with.
pub(crate) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of bytes behind those of which `hash` is.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
