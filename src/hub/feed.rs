//! What is due for one threshold and resiliency, in the order in which it became due, and how it is handed out.
//!
//! An answer is a page: whole seconds, since a client asks the next time with a second. No host is lost by that, however
//! many are due, and no page is asked for twice.

use std::collections::{BTreeSet, HashSet};

use crate::detect::address::Address;

/// How many hosts an answer has. The hub records no more reports than these in a second, so that a second fits into one.
pub const PAGE: usize = 10_000;

/// What is due, of which second. Of so many hosts it takes about 40 bytes each.
#[derive(Debug, Default)]
pub struct Feed {
    due: BTreeSet<(u32, Address)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What to ask with the next time.
    pub timestamp: i64,
    /// Whom to deny.
    pub hosts: Vec<Address>,
}

impl Feed {
    /// A host is due since another time than before, or no longer.
    pub fn moved(&mut self, address: Address, before: Option<i64>, after: Option<i64>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(second(before), address));
        }
        if let Some(after) = after {
            self.due.insert((second(after), address));
        }
    }

    /// What became due at `since` or later, but for `known`. `now` is the hub's time; what became due after it, by a clock that
    /// was ahead, is told when it is that time. The second that is not over is told again the next time, as more may become
    /// due within it.
    pub fn page(&self, since: i64, known: &HashSet<Address>, now: i64) -> Page {
        let mut hosts = Vec::new();
        // The second that is being added, and where its hosts begin.
        let (mut group, mut begins) = (second(since), 0);
        let last = (second(now).max(group), Address::from_bits(u128::MAX));
        for &(at, address) in self.due.range((group, Address::from_bits(0))..=last) {
            if known.contains(&address) {
                continue;
            }
            if at != group {
                if hosts.len() >= PAGE {
                    return Page { timestamp: i64::from(at), hosts };
                }
                (group, begins) = (at, hosts.len());
            }
            hosts.push(address);
            // A second with more than a page, of a database that was imported, is told to its end.
            if hosts.len() > PAGE && begins > 0 {
                hosts.truncate(begins);
                return Page { timestamp: i64::from(group), hosts };
            }
        }
        Page { timestamp: now, hosts }
    }

    /// How many hosts it has.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// Seconds of the epoch until the year 2106, which is as far as DenyHosts' 32 bits go.
fn second(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Address {
        std::net::Ipv4Addr::from_bits(0xc612_0000 + number).into()
    }

    /// A feed with so many hosts in each of these seconds.
    fn feed(seconds: &[(i64, u32)]) -> Feed {
        let mut feed = Feed::default();
        let mut next = 0;
        for &(at, count) in seconds {
            for _ in 0..count {
                feed.moved(address(next), None, Some(at));
                next += 1;
            }
        }
        feed
    }

    /// Asks until an answer is of now, and says how many hosts each had; no host is missing, and none is told twice but those
    /// of the second that is not over.
    fn check(seconds: &[(i64, u32)], now: i64, want: &[usize]) {
        let feed = feed(seconds);
        let mut since = 0;
        let mut told = Vec::new();
        let mut pages = Vec::new();
        loop {
            let page = feed.page(since, &HashSet::new(), now);
            pages.push(page.hosts.len());
            told.extend(page.hosts);
            assert!(page.timestamp > since && page.timestamp <= now, "{seconds:?}: {since} {}", page.timestamp);
            since = page.timestamp;
            if since == now {
                break;
            }
        }
        assert_eq!(pages, want, "{seconds:?}");
        let all = told.len();
        told.sort_unstable();
        told.dedup();
        assert_eq!((all, told.len()), (feed.len(), feed.len()), "{seconds:?}");
    }

    #[test]
    fn pages_lose_no_host_and_cut_no_second() {
        check(&[], 100, &[0]);
        check(&[(7, 3)], 100, &[3]);
        check(&[(7, 10_000)], 100, &[10_000]);
        check(&[(7, 10_000), (8, 1)], 100, &[10_000, 1]);
        check(&[(7, 9_999), (8, 2)], 100, &[9_999, 2]);
        check(&[(7, 9_999), (8, 1), (9, 1)], 100, &[10_000, 1]);
        check(&[(1, 4_000), (2, 4_000), (3, 4_000), (4, 4_000)], 100, &[8_000, 8_000]);
        // More than a page in a second.
        check(&[(7, 25_000)], 100, &[25_000]);
        check(&[(7, 25_000), (8, 3), (9, 12_000), (99, 1)], 100, &[25_000, 3, 12_000, 1]);
    }

    #[test]
    fn the_second_of_an_answer_is_told_again() {
        let mut feed = feed(&[(7, 1), (9, 1)]);
        let page = |feed: &Feed, since| feed.page(since, &HashSet::new(), 9);
        assert_eq!(page(&feed, 8), Page { timestamp: 9, hosts: vec![address(1)] });
        feed.moved(address(2), None, Some(9));
        assert_eq!(page(&feed, 9).hosts, [address(1), address(2)]);
        feed.moved(address(1), Some(9), None);
        assert_eq!(page(&feed, 9).hosts, [address(2)]);
        feed.moved(address(0), Some(7), Some(9));
        assert_eq!(page(&feed, 9).hosts, [address(0), address(2)]);
        assert_eq!(feed.page(0, &HashSet::from([address(0)]), 9).hosts, [address(2)]);
    }
}
