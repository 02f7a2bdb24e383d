//! Who is logged in now as this machine itself knows, beside whom records told of.

use std::collections::BTreeMap;

use inputs::record::Timestamp;

use super::prefix::Prefix;
use crate::detect::address::Address;

/// Who is logged in as the machine itself knows, and since when: the peer's address, and the user, bytes. Of their
/// connections nothing is known, nor when they end but by another look.
pub type Logins = BTreeMap<(Address, Box<[u8]>), Timestamp>;

/// Those from addresses of a prefix: users, and since when they are logged in.
pub fn logins<'a>(all: &'a Logins, prefix: &Prefix) -> impl Iterator<Item = (&'a [u8], Timestamp)> {
    let [first, last] = [prefix.address(), prefix.last()].map(Address::from);
    let within = all.range((first, Box::default())..).take_while(move |((peer, _), _)| *peer <= last);
    let prefix = *prefix;
    within
        .filter(move |((peer, _), _)| prefix.contains(&Prefix::host(*peer)))
        .map(|((_, user), since)| (&**user, *since))
}
