//! What joins the lines of a connection.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::line::HostId;
use crate::detect::address::Address;

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

/// What FNV-1a begins with.
pub(crate) const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of bytes behind those of which `hash` is.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
