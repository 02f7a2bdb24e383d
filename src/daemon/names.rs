//! Asks for the addresses of the host names on the allow list. Nobody waits for an answer.
//!
//! The system's resolver is asked, as by any program of this machine: by `/etc/hosts`, DNS, or whatever `nsswitch.conf(5)`
//! says. It tells no time to live, and may take minutes, so each name is asked in a thread of its own and anew each five
//! minutes. What it says late is taken all the same. There is no thread where there are no names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::ToSocketAddrs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::decide::names::{Answer, Name};

/// A name that resolves is asked again after so long.
const REFRESH: Duration = Duration::from_secs(300);
/// One that does not, after so long; then after twice that, and so on up to [`REFRESH`].
const RETRY: Duration = Duration::from_secs(5);
/// A name that has no answer by then does not resolve, until it has.
const LATE: Duration = Duration::from_secs(10);
/// Names that are asked at once.
const LOOKUPS_MAX: usize = 16;
/// Names that `check` asks at once, and how long each may take.
const CHECKED_AT_ONCE: usize = 32;
const CHECKED_MAX: Duration = Duration::from_secs(2);
/// The names of this machine's own, hosts(5), and bytes of it that are read.
const HOSTS: &str = "/etc/hosts";
const HOSTS_MAX: u64 = 1 << 20;
/// Answers that wait for the engine.
const ANSWERS_MAX: usize = 16;

/// What a name resolves to.
pub(super) struct Answered {
    pub(super) name: Name,
    pub(super) answer: Answer,
}

/// Who asks. The thread is started with the first name.
pub(super) struct Resolver {
    thread: Option<mpsc::Sender<Told>>,
    answers: tokio::sync::mpsc::Sender<Answered>,
}

/// What the thread is told.
enum Told {
    /// These names are wanted.
    Want(Vec<Name>),
    /// Each is to be asked now.
    Again,
    /// A name was asked.
    Done(Name, Answer),
}

impl Resolver {
    /// One that has nobody to ask for yet, and where its answers come.
    pub(super) fn new() -> (Resolver, tokio::sync::mpsc::Receiver<Answered>) {
        let (answers, come) = tokio::sync::mpsc::channel(ANSWERS_MAX);
        (Resolver { thread: None, answers }, come)
    }

    /// These names are on the allow list now. Those that are new are asked at once.
    pub(super) fn want(&mut self, names: Vec<Name>) {
        if names.is_empty() && self.thread.is_none() {
            return;
        }
        if self.thread.is_none() {
            match start(self.answers.clone()) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    tracing::warn!(%error, "host names on the allow list cannot be asked for: reload denyd to try again")
                }
            }
        }
        self.tell(Told::Want(names));
    }

    /// Each name is asked now.
    pub(super) fn again(&self) {
        self.tell(Told::Again);
    }

    fn tell(&self, told: Told) {
        if let Some(thread) = &self.thread {
            let _ = thread.send(told);
        }
    }
}

fn start(answers: tokio::sync::mpsc::Sender<Answered>) -> std::io::Result<mpsc::Sender<Told>> {
    let (telling, told) = mpsc::channel();
    let done = telling.clone();
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        let mut rounds = Rounds::default();
        let tell = |name, answer| answers.blocking_send(Answered { name, answer }).is_ok();
        loop {
            let now = clock::monotonic();
            for name in rounds.due(now) {
                let (asked, done) = (name.clone(), done.clone());
                let ask = move || _ = done.send(Told::Done(asked.clone(), resolve(&asked)));
                if let Err(error) = thread::Builder::new().name("name".to_owned()).spawn(ask) {
                    rounds.done(&name, false, now);
                    tell(name, Err(error.to_string()));
                }
            }
            for (name, problem) in rounds.late(now) {
                tell(name, Err(problem));
            }
            let wait = rounds.wake().map_or(REFRESH, |at| at.saturating_duration_since(now));
            match told.recv_timeout(wait) {
                Ok(Told::Want(names)) => rounds.want(names, clock::monotonic()),
                Ok(Told::Again) => rounds.again(clock::monotonic()),
                Ok(Told::Done(name, answer)) => {
                    let resolves = answer.as_ref().is_ok_and(|all| !all.is_empty());
                    if rounds.done(&name, resolves, clock::monotonic()) && !tell(name, answer) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })?;
    Ok(telling)
}

/// Asks the system. May take minutes.
fn resolve(name: &Name) -> Answer {
    let hosts = File::open(HOSTS).and_then(|file| {
        let mut text = Vec::new();
        file.take(HOSTS_MAX).read_to_end(&mut text).map(|_| text)
    });
    let hosts = hosts.unwrap_or_default(); // without it, its names are not known
    match (absolute(name.as_str(), &String::from_utf8_lossy(&hosts)).as_str(), 0).to_socket_addrs() {
        Ok(all) => Ok(all.map(|one| one.ip()).collect()),
        Err(error) => {
            let text = error.to_string();
            Err(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned())
        }
    }
}

/// The name as the system is asked for it: with a dot at its end it stands for itself. Without one a name that is not there
/// would be asked for below each domain of `search` in resolv.conf(5), where a wildcard's address would be allowed. Where
/// `hosts` has the name it stays bare, since glibc finds none with a dot there; so does one without dots, which is meant so.
fn absolute(name: &str, hosts: &str) -> String {
    let is_of = |line: &str| {
        let names = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
        names.into_iter().any(|one| one.eq_ignore_ascii_case(name))
    };
    match name.contains('.') && !hosts.lines().any(is_of) {
        true => format!("{name}."),
        false => name.to_owned(),
    }
}

/// Asks for each of these names once, for a person who waits: at most two seconds for each 32.
pub(crate) fn resolve_all(names: Vec<Name>) -> Vec<(Name, Answer)> {
    let mut all = Vec::new();
    for some in names.chunks(CHECKED_AT_ONCE) {
        let (done, come) = mpsc::channel();
        for (at, name) in some.iter().cloned().enumerate() {
            let done = done.clone();
            // A thread that the system refuses is a name without an answer.
            let _ = thread::Builder::new().spawn(move || _ = done.send((at, resolve(&name))));
        }
        drop(done);
        let none = || Err(format!("no answer within {} s", CHECKED_MAX.as_secs()));
        let mut answers: Vec<Answer> = some.iter().map(|_| none()).collect();
        let end = clock::monotonic() + CHECKED_MAX;
        while let Ok((at, answer)) = come.recv_timeout(end.saturating_duration_since(clock::monotonic())) {
            answers[at] = answer;
        }
        all.extend(some.iter().cloned().zip(answers));
    }
    all
}

/// When each name is to be asked.
#[derive(Default)]
struct Rounds(BTreeMap<Name, Asked>);

/// How it stands with a name.
struct Asked {
    is_wanted: bool,
    /// A thread asks for it.
    is_running: bool,
    /// Since when it is asked, or is to be.
    since: Instant,
    /// That there is no answer yet was told.
    is_late: bool,
    /// So often, one after another, it did not resolve.
    failed: u32,
}

impl Rounds {
    /// These names are wanted, and no others.
    fn want(&mut self, names: Vec<Name>, now: Instant) {
        self.0.values_mut().for_each(|asked| asked.is_wanted = false);
        for name in names {
            let new = Asked { is_wanted: true, is_running: false, since: now, is_late: false, failed: 0 };
            self.0.entry(name).or_insert(new).is_wanted = true;
        }
        // A thread that asks for one counts until it ends.
        self.0.retain(|_, asked| asked.is_wanted || asked.is_running);
    }

    /// Each is to be asked at once.
    fn again(&mut self, now: Instant) {
        self.0.values_mut().filter(|asked| !asked.is_running).for_each(|asked| asked.since = asked.since.min(now));
    }

    /// Those that are to be asked now, from now on: the first that are due, as far as there are threads.
    fn due(&mut self, now: Instant) -> Vec<Name> {
        let free = LOOKUPS_MAX.saturating_sub(self.0.values().filter(|asked| asked.is_running).count());
        let mut due: Vec<_> = self.0.iter_mut().filter(|(_, asked)| !asked.is_running && asked.since <= now).collect();
        due.sort_by_key(|(_, asked)| asked.since);
        let begin = |(name, asked): (&Name, &mut Asked)| {
            (asked.is_running, asked.since) = (true, now);
            name.clone()
        };
        due.into_iter().take(free).map(begin).collect()
    }

    /// Those of which it is to be told now that there is no answer, and why.
    fn late(&mut self, now: Instant) -> Vec<(Name, String)> {
        let late = self.0.iter_mut().filter(|(_, one)| one.is_wanted && !one.is_late && one.since + LATE <= now);
        let tell = |(name, asked): (&Name, &mut Asked)| {
            asked.is_late = true;
            let problem = match asked.is_running {
                true => format!("no answer within {} s", LATE.as_secs()),
                false => format!("{LOOKUPS_MAX} other names have no answer yet"),
            };
            (name.clone(), problem)
        };
        late.map(tell).collect()
    }

    /// A name was asked; whether anybody wants to know.
    fn done(&mut self, name: &Name, resolves: bool, now: Instant) -> bool {
        let Some(asked) = self.0.get_mut(name) else { return false };
        (asked.is_running, asked.is_late) = (false, false);
        asked.failed = if resolves { 0 } else { asked.failed.saturating_add(1) };
        let again = match asked.failed {
            0 => REFRESH,
            failed => RETRY.saturating_mul(2_u32.saturating_pow(failed - 1)).min(REFRESH),
        };
        asked.since = now + again;
        let is_wanted = asked.is_wanted;
        self.0.retain(|_, asked| asked.is_wanted || asked.is_running);
        is_wanted
    }

    /// When something is to be done next.
    fn wake(&self) -> Option<Instant> {
        let is_full = self.0.values().filter(|asked| asked.is_running).count() >= LOOKUPS_MAX;
        let next = |asked: &Asked| match asked.is_running || is_full {
            // A thread that ends wakes us.
            true => (asked.is_wanted && !asked.is_late).then(|| asked.since + LATE),
            false => Some(asked.since),
        };
        self.0.values().filter_map(next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<Name> {
        all.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_is_asked_each_five_minutes_and_sooner_while_it_does_not_resolve() {
        let (mut rounds, begun, home) = (Rounds::default(), clock::monotonic(), &names(&["home"])[0]);
        let mut at = begun;
        rounds.want(names(&["home"]), at);
        for (resolves, next) in
            [(true, 300), (true, 300), (false, 5), (false, 10), (false, 20), (true, 300), (false, 5)]
        {
            assert_eq!(rounds.wake(), Some(at));
            assert_eq!(rounds.due(at - Duration::from_secs(1)), []);
            assert_eq!(rounds.due(at), names(&["home"]));
            assert_eq!(rounds.due(at), [], "one thread a name");
            assert!(rounds.done(home, resolves, at));
            at += Duration::from_secs(next);
        }
        for _ in 0..100 {
            rounds.done(home, false, at);
        }
        assert_eq!(rounds.wake(), Some(at + REFRESH));
        rounds.again(at);
        assert_eq!(rounds.due(at), names(&["home"]));
        rounds.want(Vec::new(), at);
        assert!(!rounds.done(home, true, at), "nobody wants it");
        assert_eq!(rounds.wake(), None);
    }

    #[test]
    fn names_without_an_answer_are_told_once_and_keep_no_more_threads_than_there_may_be() {
        let (mut rounds, at) = (Rounds::default(), clock::monotonic());
        let all: Vec<Name> = (10..10 + LOOKUPS_MAX + 1).map(|n| format!("h{n}").parse().unwrap()).collect();
        rounds.want(all.clone(), at);
        assert_eq!(rounds.due(at), all[..LOOKUPS_MAX]);
        assert_eq!((rounds.late(at), rounds.wake()), (Vec::new(), Some(at + LATE)));
        let late = rounds.late(at + LATE);
        assert_eq!(late.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), all);
        assert_eq!(
            (&*late[0].1, &*late[LOOKUPS_MAX].1),
            ("no answer within 10 s", "16 other names have no answer yet")
        );
        assert_eq!((rounds.late(at + LATE), rounds.due(at + LATE), rounds.wake()), (Vec::new(), Vec::new(), None));
        // One that is not wanted has its thread all the same.
        rounds.want(all[1..].to_vec(), at);
        assert_eq!(rounds.due(at), []);
        assert!(!rounds.done(&all[0], true, at));
        assert_eq!(rounds.due(at), all[LOOKUPS_MAX..]);
        // What comes late is taken.
        assert!(rounds.done(&all[1], true, at + 2 * LATE));
    }

    #[test]
    fn a_name_stands_for_itself_and_not_for_one_of_the_search_list() {
        let hosts = "127.0.0.1 localhost\n192.0.2.1\thome.example.org # not.example.org\n#192.0.2.2 old.example.org\n";
        let check = |name: &str, want: &str| assert_eq!(absolute(name, hosts), want);
        check("home.example.com", "home.example.com.");
        check("home.example.org", "home.example.org");
        check("not.example.org", "not.example.org.");
        check("old.example.org", "old.example.org.");
        check("example.org", "example.org.");
        check("nas", "nas");
        assert_eq!(absolute("a.example", "192.0.2.1 A.Example"), "a.example");
    }

    #[test]
    fn the_system_is_asked() {
        let all = resolve_all(names(&["localhost"]));
        assert!(all[0].1.as_ref().is_ok_and(|all| all.iter().any(std::net::IpAddr::is_loopback)), "{all:?}");
    }
}
