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
    /// How often denies of addresses ended, and when last, where that is known.
    pub released: Vec<(IpAddr, u32, Option<Timestamp>)>,
    /// How often users were tried, what is known of each, and when last; the epoch where that is not known.
    pub users: Vec<(Box<[u8]>, u64, Account, Timestamp)>,
    /// How often users were tried from where.
    pub pairs: Vec<Pair>,
    /// How often users logged in from where too many had failed.
    pub suspicious: Vec<Pair>,
}

/// A user and an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The user: bytes of a log.
    pub user: Box<[u8]>,
    /// From where.
    pub address: IpAddr,
    /// How often.
    pub times: u64,
    /// The last time; the epoch where that is not known.
    pub last: Timestamp,
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
