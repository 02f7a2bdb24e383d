//! How many messages a second each sender may send.
//!
//! There can be as many senders as there are addresses, so counts are kept in a fixed number of places that senders
//! share by a hash of theirs. Nobody can choose with whom: the hash is keyed at random. Seconds are told from outside.

use crate::record::Sender;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Places. A flood from many addresses spreads over all of them, and so reaches the limit of none for long.
const PLACES: usize = 4096;

/// The length of a window, in which so many messages are allowed.
const WINDOW: Duration = Duration::from_secs(1);

/// What each sender sent in this second.
pub(super) struct Rates {
    /// Messages a second.
    most: u32,
    until: Duration,
    sent: Box<[u32]>,
    /// The last sender and its place: the next message is most often its, too.
    last: (Sender, usize),
    keys: RandomState,
}

impl Rates {
    pub(super) fn new(most: u32) -> Self {
        let keys = RandomState::new();
        let last = (Sender::Unknown, place(&keys, &Sender::Unknown));
        Rates { most, until: WINDOW, sent: vec![0; PLACES].into(), last, keys }
    }

    /// Tells what time it is.
    pub(super) fn tell(&mut self, now: Duration) {
        if now >= self.until {
            self.sent.fill(0);
            self.until = now + WINDOW;
        }
    }

    /// Counts messages of a sender; `Some` = these are more than it may send in this second, which ends then.
    pub(super) fn take(&mut self, sender: &Sender, messages: u32) -> Option<Duration> {
        if self.last.0 != *sender {
            self.last = (sender.clone(), place(&self.keys, sender));
        }
        let sent = &mut self.sent[self.last.1];
        *sent = sent.saturating_add(messages);
        (*sent > self.most).then_some(self.until)
    }
}

fn place(keys: &RandomState, sender: &Sender) -> usize {
    keys.hash_one(sender) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peer(number: u32) -> Sender {
        Sender::Peer(Ipv4Addr::from_bits(0x7f00_0000 + number).into())
    }

    #[test]
    fn each_sender_has_so_many_a_second() {
        let mut rates = Rates::new(3);
        let (one, now) = (peer(1), Duration::ZERO);
        // Two of 4096 places: another sender that shares the first one's would make this test a lie.
        let two = (2..).map(peer).find(|two| place(&rates.keys, two) != place(&rates.keys, &one)).unwrap();
        let mut may = |sender: &Sender, messages| rates.take(sender, messages).is_none();
        assert_eq!([1, 1, 1, 1].map(|messages| may(&one, messages)), [true, true, true, false]);
        assert!(may(&two, 3) && !may(&two, 1) && !may(&one, 1));
        rates.tell(now);
        assert!(rates.take(&one, 1).is_some(), "the second is not over");
        rates.tell(now + 2 * WINDOW);
        let mut may = |sender: &Sender, messages| rates.take(sender, messages).is_none();
        assert!(may(&one, 3) && !may(&one, 1) && may(&two, 1));
    }

    #[test]
    fn a_flood_from_many_addresses_leaves_room_for_the_others() {
        let mut rates = Rates::new(1_000);
        let refused = (0..1_000_000).filter(|&number| rates.take(&peer(number), 1).is_some()).count();
        // 244 a place, give or take 16.
        assert_eq!(refused, 0);
        assert!(rates.take(&Sender::Uid(0), 100).is_none());
    }
}
