//! What another program counted before we came: DenyHosts, say.

use std::net::IpAddr;

use inputs::record::Timestamp;

use super::policy::Class;
use crate::detect::event::Account;

/// What another program knew. An administrator vouches for it, so that all of it is taken for certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Failures.
    pub failed: Vec<Failed>,
    /// How often denies of addresses ended.
    pub released: Vec<(IpAddr, u32)>,
    /// How often users were tried, and what is known of each.
    pub users: Vec<(Box<[u8]>, u64, Account)>,
}

/// Failures of one address and class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Who.
    pub address: IpAddr,
    /// Of which class.
    pub class: Class,
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: Timestamp,
}
