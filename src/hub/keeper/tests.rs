use super::*;
use crate::hub::book::Limits;
use crate::hub::rates::Rate;
use crate::hub::store;

const T: i64 = 1_700_000_000;

type Told<T> = oneshot::Receiver<Result<T, Refusal>>;

/// A keeper, and what waits for it.
struct Hub {
    keeper: Keeper,
    waiting: VecDeque<Task>,
    _dir: tempfile::TempDir,
}

fn hub() -> Hub {
    let dir = tempfile::tempdir().expect("a directory");
    let db = store::open(dir.path()).expect("a database");
    db.pragma_update(None, "synchronous", "off").expect("a pragma");
    let book = Book::new(db, Limits::default(), T).expect("a book");
    let rates = Rates::new(Rate { requests_per_minute: 60, hosts_per_hour: 20_000 });
    let keeper = Keeper { book, counters: Arc::default(), listen: String::new(), rates };
    Hub { keeper, waiting: VecDeque::new(), _dir: dir }
}

impl Hub {
    fn add(&mut self, reporter: &str, from: u32, count: u32, now: i64) -> Told<Added> {
        let hosts = (from..from + count).map(|number| std::net::Ipv4Addr::from_bits(0xc612_0000 + number).into());
        let (reply, told) = oneshot::channel();
        let task = Task::Add { reporter: reporter.to_owned(), hosts: hosts.collect(), reply };
        self.keeper.take(task, now, &mut self.waiting);
        told
    }

    fn new_hosts(&mut self, now: i64) -> Told<Page> {
        let (reply, told) = oneshot::channel();
        let wish = Wish::new(1, 0);
        let task = Task::New { reporter: "asker".to_owned(), wish, since: 0, known: HashSet::new(), reply };
        self.keeper.take(task, now, &mut self.waiting);
        told
    }

    /// A turn, and all steps.
    fn turn(&mut self, now: i64) {
        self.keeper.turn(&mut self.waiting, now);
        while self.keeper.book.step(now, &self.keeper.counters).expect("a database") {}
    }
}

fn taken(told: &mut Told<Added>) -> Option<Result<usize, Refusal>> {
    told.try_recv().ok().map(|told| told.map(|added| added.taken))
}

#[test]
fn a_full_second_makes_nobody_wait_but_who_reports() {
    let mut hub = hub();
    let mut first = hub.add("a", 0, 10_000, T);
    let mut second = hub.add("a", 10_000, 10_000, T);
    let mut third = hub.add("a", 0, 10_000, T);
    let mut other = hub.add("b", 0, 1, T);
    let mut asked = hub.new_hosts(T);
    // Who reports too much is told so at once.
    assert_eq!(taken(&mut third), Some(Err(Refusal::Rate)));
    hub.turn(T);
    assert_eq!((taken(&mut first), taken(&mut second), taken(&mut other)), (Some(Ok(10_000)), None, None));
    // Who asks is answered in the same second.
    hub.turn(T);
    assert_eq!(asked.try_recv().expect("an answer").map(|page| page.hosts.len()), Ok(10_000));
    hub.turn(T + 1);
    assert_eq!((taken(&mut second), taken(&mut other)), (Some(Ok(10_000)), None));
    hub.turn(T + 2);
    assert_eq!((taken(&mut other), hub.waiting.len()), (Some(Ok(1)), 0));
}

#[test]
fn what_waits_has_a_limit() {
    let mut hub = hub();
    hub.add("a", 0, 10_000, T);
    // Whoever gave up takes no place.
    hub.turn(T);
    let mut full = hub.add("a", 0, 10_000, T);
    assert_eq!(taken(&mut hub.add("a", 0, 1, T)), Some(Err(Refusal::Rate)));
    let mut waits: Vec<_> = (1..TASKS_MAX).map(|number| hub.add(&number.to_string(), 0, 1, T)).collect();
    assert_eq!(taken(&mut hub.add("last", 0, 1, T)), Some(Err(Refusal::Busy)));
    hub.turn(T);
    assert_eq!(taken(&mut full), Some(Ok(10_000)));
    assert!(waits.iter_mut().all(|told| taken(told).is_none()));
    // The clock was set back: nobody waits until it is there again.
    hub.turn(T - 100);
    assert!(waits.iter_mut().all(|told| taken(told) == Some(Err(Refusal::Busy))));
    assert!(hub.waiting.is_empty());
}
