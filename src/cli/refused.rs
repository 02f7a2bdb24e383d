//! How many packets of single denies were refused, where `counters = true` has them counted: asked of the kernel, by root.

use std::collections::BTreeMap;

use super::output::Column;
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::desk;
use crate::desk::reply::Host;

/// What was counted since the sets were last written.
pub(super) struct Counts(BTreeMap<Prefix, u64>);

impl Counts {
    /// Asks the kernel; `None` where nothing is counted. Says on standard error why it cannot be told.
    pub(super) fn read(config: &Config) -> Option<Counts> {
        if !config.deny.effect.counters {
            return None;
        }
        let counts = desk::refused_of_each(config);
        counts
            .map_err(|error| eprintln!("denyd: what was refused of each deny cannot be told: {error}"))
            .ok()
            .map(Counts)
    }

    /// Those of a denied prefix: where others are denied within it, it is several elements of a set, and one with them.
    pub(super) fn of(&self, prefix: &Prefix) -> Option<u64> {
        let Counts(all) = self;
        let within = all.range(*prefix..=Prefix::host(prefix.last())).map(|(_, count)| *count);
        within.reduce(u64::saturating_add).or_else(|| {
            let wider = (0..prefix.bits()).rev().map(|bits| Prefix::of(prefix.address(), bits));
            wider.into_iter().find_map(|wider| all.get(&wider)).copied()
        })
    }
}

/// Their column in a list of who is denied.
pub(super) const REFUSED: Column<Host> =
    ("REFUSED", '>', |row| row.refused.map_or("-".to_owned(), |packets| packets.to_string()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_may_be_a_part_of_an_element_or_several() {
        let counts = [("192.0.2.1", 3), ("192.0.2.128/26", 5), ("192.0.2.192/26", 7), ("198.51.100.0/24", 9)];
        let counts = Counts(counts.iter().map(|(prefix, count)| (prefix.parse().expect("a prefix"), *count)).collect());
        let check = |prefix: &str, want| assert_eq!(counts.of(&prefix.parse().expect("a prefix")), want, "{prefix}");
        check("192.0.2.1", Some(3));
        check("192.0.2.2", None);
        check("192.0.2.128/25", Some(12));
        check("192.0.2.0/24", Some(15));
        check("198.51.100.128/25", Some(9));
        check("2001:db8::/64", None);
    }
}
