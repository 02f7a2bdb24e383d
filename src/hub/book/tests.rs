use super::*;
use crate::hub::store;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// A time from which the tests count.
const T: i64 = 1_700_000_000;

/// A book in a directory, with what is needed to ask it.
struct Hub {
    book: Book,
    counters: Counters,
    dir: tempfile::TempDir,
}

fn hub(limits: Limits) -> Hub {
    let dir = tempfile::tempdir().expect("a directory");
    Hub { book: book(&dir, limits, T), counters: Counters::default(), dir }
}

/// Opens it; whether the disk has it is not tested here.
fn book(dir: &tempfile::TempDir, limits: Limits, at: i64) -> Book {
    let db = store::open(dir.path()).expect("a database");
    db.pragma_update(None, "synchronous", "off").expect("a pragma");
    Book::new(db, limits, at).expect("a book")
}

fn addresses(hosts: &[&str]) -> Vec<Address> {
    hosts.iter().map(|host| address::parse(host.as_bytes()).expect("an address")).collect()
}

fn many(from: u32, count: u32) -> Vec<Address> {
    (from..from + count).map(|number| std::net::Ipv4Addr::from_bits(0xc612_0000 + number).into()).collect()
}

impl Hub {
    fn report(&mut self, reporter: &str, hosts: &[&str], at: i64) -> Added {
        self.book.add(reporter, &addresses(hosts), at, &self.counters).expect("a database")
    }

    fn ask(&mut self, threshold: u32, resiliency: u64, since: i64, at: i64) -> Page {
        self.ask_but(threshold, resiliency, since, at, &[])
    }

    fn ask_but(&mut self, threshold: u32, resiliency: u64, since: i64, at: i64, known: &[&str]) -> Page {
        let known = addresses(known).into_iter().collect();
        loop {
            match self.book.new_hosts(Wish::new(threshold, resiliency), since, &known, at, || true) {
                Ok(page) => return page,
                Err(Wait::Reading) => assert!(self.book.step(at, &self.counters).expect("a database")),
                Err(Wait::Refused) => panic!("refused"),
            }
        }
    }

    fn told(&mut self, threshold: u32, resiliency: u64, since: i64, at: i64) -> Vec<String> {
        self.ask(threshold, resiliency, since, at).hosts.iter().map(ToString::to_string).collect()
    }

    /// Lets it run until a time, then forgets what expired.
    fn expire(&mut self, at: i64) {
        for then in (self.book.time..at).step_by(600) {
            self.book.time(then);
        }
        self.expire_by(at);
    }

    /// Forgets what expired by a clock that says this.
    fn expire_by(&mut self, at: i64) {
        self.book.expire_soon();
        while self.book.step(at, &self.counters).expect("a database") {}
    }

    fn counted(&self, what: &str) -> u64 {
        self.counters.all().find(|(name, _)| *name == what).expect("a counter").1
    }

    /// The same hub, started again.
    fn again(self, limits: Limits, at: i64) -> Hub {
        let Hub { book, dir, .. } = self;
        drop(book);
        Hub { book: self::book(&dir, limits, at), counters: Counters::default(), dir }
    }
}

#[test]
fn a_threshold_counts_distinct_reporters() {
    let mut hub = hub(Limits::default());
    // The second time the hosts are in memory, the first time they are read: both say the same.
    for _ in 0..2 {
        assert_eq!(hub.told(4, 0, 0, T), [""; 0]);
    }
    for (at, reporter) in [(1, "a"), (2, "b"), (3, "b"), (4, "a"), (5, "c"), (6, "c")] {
        hub.report(reporter, &["192.0.2.1"], T + at);
        assert_eq!(hub.told(4, 0, 0, T + at), [""; 0], "{at}");
    }
    assert_eq!(hub.told(3, 0, 0, T + 6), ["192.0.2.1"]);
    hub.report("d", &["192.0.2.1"], T + 7);
    assert_eq!(hub.told(4, 0, T, T + 7), ["192.0.2.1"]);
    // Whoever asked since then knows it.
    assert_eq!(hub.told(4, 0, T + 8, T + 9), [""; 0]);
    assert_eq!(hub.told(3, 0, T + 6, T + 9), [""; 0]);
    let mut hub = hub.again(Limits::default(), T + 10);
    assert_eq!(hub.told(4, 0, T, T + 10), ["192.0.2.1"]);
    assert_eq!(hub.told(4, 0, T + 8, T + 10), [""; 0]);
}

/// FAQ 4.9: an attacker at 12, 14 and 17 o'clock, and a client that wants 4 hours.
#[test]
fn faq_4_9_resiliency_is_from_the_first_report_to_the_latest() {
    let mut hub = hub(Limits::default());
    let noon = T - T.rem_euclid(DAY) + 12 * HOUR + DAY;
    hub.report("a", &["192.0.2.1"], noon);
    hub.report("b", &["192.0.2.1"], noon + 2 * HOUR);
    assert_eq!(hub.told(2, 4 * 3600, 0, noon + 3 * HOUR), [""; 0]);
    assert_eq!(hub.told(2, 2 * 3600, 0, noon + 3 * HOUR), ["192.0.2.1"]);
    // No effect with a threshold of 1.
    assert_eq!(hub.told(1, 4 * 3600, 0, noon + 3 * HOUR), ["192.0.2.1"]);
    // By a reporter who reported it before, whose row stays as it is.
    hub.report("a", &["192.0.2.1"], noon + 5 * HOUR);
    assert_eq!(hub.told(2, 4 * 3600, noon + 3 * HOUR, noon + 6 * HOUR), ["192.0.2.1"]);
    assert_eq!(hub.told(2, 4 * 3600, noon + 6 * HOUR, noon + 7 * HOUR), [""; 0]);
}

#[test]
fn what_was_just_sent_is_not_told() {
    let mut hub = hub(Limits::default());
    hub.report("a", &["192.0.2.1", "2001:db8::1", "192.0.2.1"], T);
    let page = hub.ask_but(1, 0, 0, T + 1, &["192.0.2.1"]);
    assert_eq!(page, Page { timestamp: T + 1, hosts: addresses(&["2001:db8::1"]) });
}

#[test]
fn time_never_goes_back() {
    let mut hub = hub(Limits::default());
    hub.report("a", &["192.0.2.1"], T + 100);
    hub.report("a", &["192.0.2.2"], T + 50);
    assert_eq!(hub.ask(1, 0, T + 100, T + 50).timestamp, T + 100);
    assert_eq!(hub.told(1, 0, T + 100, T + 50), ["192.0.2.1", "192.0.2.2"]);
    let mut hub = hub.again(Limits::default(), T + 60);
    assert_eq!(hub.ask(1, 0, 0, T + 60).timestamp, T + 100);
    // A database of next month is not believed.
    let mut hub = hub.again(Limits::default(), T - 30 * DAY);
    assert_eq!(hub.ask(1, 0, 0, T - 30 * DAY).timestamp, T - 30 * DAY);
}

#[test]
fn a_clock_that_was_ahead_is_followed_back_and_forgets_nothing() {
    let month = 31 * DAY;
    let mut hub = hub(Limits { expiry: 30 * DAY, ..Limits::default() });
    hub.report("a", &["192.0.2.1"], T);
    assert_eq!(hub.told(1, 0, 0, T), ["192.0.2.1"]);
    // A start by a clock that is ahead, and a leap of it.
    let mut hub = hub.again(Limits { expiry: 30 * DAY, ..Limits::default() }, T + month);
    hub.expire_by(T + month);
    hub.expire_by(T + 2 * month);
    assert_eq!(hub.book.size(), [1, 1, 1]);
    let told = hub.ask(1, 0, 0, T + 2 * month);
    assert_eq!((told.timestamp, told.hosts.len()), (T + 2 * month, 1));
    // It is right again: what is reported from now on is of now, and who was told a time of the future misses none of it.
    hub.report("a", &["192.0.2.2"], T + 10);
    let since = |hub: &mut Hub, since: i64, at| hub.book.since(since.unsigned_abs(), at);
    assert_eq!(since(&mut hub, T + 2 * month, T + 11), Some(T + 10));
    assert_eq!(since(&mut hub, T + 2 * month + 1, T + 11), None);
    assert_eq!(since(&mut hub, T + 5, T + 11), Some(T + 5));
    assert_eq!(hub.ask(1, 0, T + 10, T + 11), Page { timestamp: T + 11, hosts: addresses(&["192.0.2.2"]) });
    // What was reported by the wrong clock is told when it is that time; what is of now, now.
    hub.report("b", &["192.0.2.3"], T + month);
    hub.report("c", &["192.0.2.3"], T + 20);
    assert_eq!((hub.told(1, 0, T + 12, T + 21).len(), hub.told(2, 0, T + 12, T + 21).len()), (1, 0));
    let mut hub = hub.again(Limits::default(), T + 30);
    assert_eq!((hub.told(2, 0, T + 12, T + 30).len(), since(&mut hub, T + month, T + 30)), (0, Some(T + 30)));
    assert_eq!(hub.told(2, 0, T + 30, T + month), ["192.0.2.3"]);
}

/// A second has no more reports than an answer has hosts, also where the clock went back or the hub began anew.
#[test]
fn a_second_has_room_for_an_answer() {
    let mut hub = hub(Limits::default());
    let add = |hub: &mut Hub, from, count, at| {
        hub.book.add("a", &many(from, count), at, &hub.counters).expect("a database");
    };
    assert!(hub.book.has_room(10_000, T));
    add(&mut hub, 0, 6_000, T);
    assert_eq!([4_000, 4_001].map(|hosts| hub.book.has_room(hosts, T)), [true, false]);
    assert!(hub.book.has_room(4_001, T + 1));
    add(&mut hub, 6_000, 6_000, T + 1);
    assert_eq!([4_000, 4_001].map(|hosts| hub.book.has_room(hosts, T - 500)), [true, false]);
    let mut hub = hub.again(Limits::default(), T - 400);
    assert_eq!([4_000, 4_001].map(|hosts| hub.book.has_room(hosts, T - 300)), [true, false]);
    assert!(hub.book.has_room(10_000, T + 2));
}

#[test]
fn many_hosts_come_in_pages_without_loss() {
    let mut hub = hub(Limits::default());
    for batch in 0..5 {
        hub.book.add("a", &many(batch * 7_000, 7_000), T + i64::from(batch), &hub.counters).expect("a database");
    }
    let (mut since, mut all, mut pages) = (0, HashSet::new(), 0);
    while since < T + 10 {
        let page = hub.ask(1, 0, since, T + 10);
        assert!(page.timestamp > since && page.hosts.len() <= 10_000);
        since = page.timestamp;
        pages += 1;
        for host in page.hosts {
            assert!(all.insert(host), "{host} is told twice");
        }
    }
    assert_eq!((all.len(), pages), (35_000, 5));
}

#[test]
fn what_nobody_reports_any_more_expires() {
    let mut hub = hub(Limits { expiry: 30 * DAY, ..Limits::default() });
    hub.report("a", &["192.0.2.1", "192.0.2.2"], T);
    hub.report("b", &["192.0.2.1"], T + 10 * DAY);
    hub.report("c", &["192.0.2.1"], T + 20 * DAY);
    assert_eq!(hub.told(3, 0, 0, T + 20 * DAY), ["192.0.2.1"]);
    assert_eq!(hub.book.size(), [2, 4, 3]);
    hub.expire(T + 30 * DAY);
    assert_eq!(hub.book.size(), [2, 4, 3]);
    hub.expire(T + 30 * DAY + 1);
    assert_eq!((hub.book.size(), hub.counted("hosts_expired")), ([1, 2, 2], 1));
    // Two are left, who are not three.
    assert_eq!(hub.told(3, 0, 0, T + 31 * DAY), [""; 0]);
    assert_eq!(hub.told(2, 0, 0, T + 31 * DAY), ["192.0.2.1"]);
    hub.expire(T + 99 * DAY);
    assert_eq!((hub.book.size(), hub.told(1, 0, 0, T + 99 * DAY).len()), ([0, 0, 0], 0));
    // And begins anew.
    hub.report("a", &["192.0.2.1"], T + 99 * DAY);
    assert_eq!(hub.told(1, 0, T + 99 * DAY, T + 99 * DAY), ["192.0.2.1"]);
}

#[test]
fn what_has_no_room_takes_that_of_what_one_alone_reported() {
    let limits = Limits { hosts: 3, reports: 5, reporters: 4, ..Limits::default() };
    let mut hub = hub(limits);
    let added = |taken, refused| Added { taken, refused };
    assert_eq!(hub.told(1, 0, 0, T).len(), 0);
    assert_eq!(hub.report("a", &["192.0.2.1", "192.0.2.2", "192.0.2.3"], T), added(3, 0));
    assert_eq!(hub.report("b", &["192.0.2.1"], T + 1), added(1, 0));
    assert_eq!(hub.report("b", &["192.0.2.4"], T + 2), added(1, 0));
    assert_eq!((hub.book.size(), hub.counted("hosts_evicted")), ([3, 4, 2], 1));
    assert_eq!(hub.told(1, 0, 0, T + 2), ["192.0.2.1", "192.0.2.3", "192.0.2.4"]);
    // The rows are full: the host is known, and not by whom.
    assert_eq!(hub.report("c", &["192.0.2.3", "192.0.2.4"], T + 3), added(2, 0));
    assert_eq!((hub.book.size(), hub.counted("reports_untold")), ([3, 5, 3], 1));
    assert_eq!(hub.told(2, 0, 0, T + 3), ["192.0.2.1", "192.0.2.3"]);
    hub.report("d", &["192.0.2.4"], T + 4);
    assert_eq!(hub.report("e", &["192.0.2.1"], T + 5), added(0, 1));
    let mut again = hub.again(limits, T + 6);
    assert_eq!((again.book.size(), again.told(2, 0, 0, T + 6).len()), ([3, 5, 4], 2));
    // None is of one alone.
    let mut hub = self::hub(Limits { hosts: 1, ..Limits::default() });
    hub.report("a", &["192.0.2.1"], T);
    hub.report("b", &["192.0.2.1"], T);
    assert_eq!(hub.report("c", &["192.0.2.2", "192.0.2.1"], T + 1), added(1, 1));
    assert_eq!((hub.counted("reports_refused"), hub.book.size()), (1, [1, 3, 3]));
}

#[test]
fn wishes_have_a_limit() {
    let mut hub = hub(Limits::default());
    hub.report("a", &["192.0.2.1"], T);
    for threshold in 1..=20 {
        hub.ask(threshold, 0, 0, T + i64::from(threshold));
    }
    let kept: Vec<_> = hub.book.wishes().iter().map(|(wish, _)| wish.threshold).collect();
    assert_eq!(kept, (13..=20).collect::<Vec<_>>());
    let ask = |hub: &mut Hub, threshold| {
        hub.book.new_hosts(Wish::new(threshold, 0), 0, &HashSet::new(), T + 30, || false).map(|page| page.hosts.len())
    };
    assert_eq!((ask(&mut hub, 20), ask(&mut hub, 1)), (Ok(0), Err(Wait::Refused)));
}

/// What is kept in memory is what the database says, whatever was reported and expired.
#[test]
fn memory_and_database_say_the_same() {
    kit::property("hub", 40, |random| {
        let limits = Limits { hosts: 30, reports: 80, reporters: 6, expiry: 20 * DAY };
        let mut hub = hub(limits);
        let wishes = [(1, 0), (2, 0), (2, 5 * 3600), (3, 24 * 3600)];
        let mut now = T;
        for _ in 0..150 {
            now += random.below(12 * HOUR);
            let host = format!("192.0.2.{}", random.below(40u32));
            let reporter = random.below(8u32).to_string();
            hub.report(&reporter, &[&host], now);
            if random.one_in(10) {
                hub.expire(now);
            }
            let (threshold, resiliency) = random.of(&wishes);
            hub.ask(threshold, resiliency, 0, now);
        }
        let live = wishes.map(|(threshold, resiliency)| hub.ask(threshold, resiliency, 0, now));
        let size = hub.book.size();
        let mut again = hub.again(limits, now);
        let read = wishes.map(|(threshold, resiliency)| again.ask(threshold, resiliency, 0, now));
        assert_eq!((live, size), (read, again.book.size()));
    });
}
