//! How much each who asks may ask for. What is counted is forgotten with the hour, and never leaves the hub.

use std::collections::HashMap;

/// How many who ask are told apart; others have to wait until an hour is over.
const ASKERS_MAX: usize = 65_536;

/// How many wishes that nobody asked for lately somebody may ask for in an hour: each has all hosts read.
const WISHES_PER_HOUR: u32 = 6;

/// What somebody may do.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests in a minute.
    pub requests_per_minute: u32,
    /// Hosts reported in an hour.
    pub hosts_per_hour: u32,
}

/// What those did who asked in this hour.
#[derive(Debug)]
pub struct Rates {
    rate: Rate,
    askers: HashMap<String, Asked>,
    hour: i64,
}

#[derive(Debug, Default)]
struct Asked {
    minute: i64,
    requests: u32,
    hosts: u32,
    wishes: u32,
}

impl Rates {
    /// Nobody has asked.
    pub fn new(rate: Rate) -> Self {
        Rates { rate, askers: HashMap::new(), hour: 0 }
    }

    fn asked(&mut self, who: &str, now: i64) -> Option<&mut Asked> {
        let hour = now.div_euclid(3600);
        if hour != self.hour {
            (self.hour, self.askers) = (hour, HashMap::new());
        }
        if self.askers.len() >= ASKERS_MAX && !self.askers.contains_key(who) {
            return None;
        }
        Some(self.askers.entry(who.to_owned()).or_default())
    }

    /// Counts a request; whether it may be.
    pub fn request(&mut self, who: &str, now: i64) -> bool {
        let most = self.rate.requests_per_minute;
        let Some(asked) = self.asked(who, now) else { return false };
        let minute = now.div_euclid(60);
        if asked.minute != minute {
            (asked.minute, asked.requests) = (minute, 0);
        }
        asked.requests = asked.requests.saturating_add(1);
        asked.requests <= most
    }

    /// Counts hosts, all or none of them; whether they may be.
    pub fn hosts(&mut self, who: &str, hosts: usize, now: i64) -> bool {
        let most = self.rate.hosts_per_hour;
        let Some(asked) = self.asked(who, now) else { return false };
        let sum = asked.hosts.saturating_add(u32::try_from(hosts).unwrap_or(u32::MAX));
        let may = sum <= most;
        if may {
            asked.hosts = sum;
        }
        may
    }

    /// Counts a wish; whether it may be.
    pub fn wish(&mut self, who: &str, now: i64) -> bool {
        let Some(asked) = self.asked(who, now) else { return false };
        asked.wishes = asked.wishes.saturating_add(1);
        asked.wishes <= WISHES_PER_HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_his_own() {
        let mut rates = Rates::new(Rate { requests_per_minute: 2, hosts_per_hour: 10 });
        assert_eq!([0, 1, 2, 60].map(|now| rates.request("a", now)), [true, true, false, true]);
        assert!(rates.request("b", 2));
        assert_eq!([7, 4, 3, 1].map(|hosts| rates.hosts("a", hosts, 100)), [true, false, true, false]);
        assert!(rates.hosts("b", 10, 100) && rates.hosts("a", 10, 3600));
        assert_eq!((0..8).filter(|_| rates.wish("a", 3600)).count(), 6);
        for asker in 0..ASKERS_MAX {
            rates.request(&asker.to_string(), 3600);
        }
        assert!(rates.askers.len() == ASKERS_MAX && !rates.request("new", 3600) && rates.request("a", 3601));
        assert!(rates.request("new", 7200) && rates.askers.len() == 1);
    }
}
