//! The daemon, killed at random moments while a log is written and rotated, decides what it would have decided
//! undisturbed: every attempt counts once, every decision is made once.
//!
//! `DENYD_SEED` repeats a run as far as the machine's own timing allows; `DENYD_LONG` makes it longer.

use std::fs;
use std::time::{Duration, Instant};

use kit::{Home, Random};
use serde_json::Value;

/// Kills over one log.
const KILLS: usize = 50;
/// Logs, each with its kills.
const ROUNDS: usize = 2;
/// The longest that a daemon lives, about: two of its commits and the waits between them.
const LIFE_MS: usize = 400;

#[test]
fn a_log_of_now() {
    check(kit::now, Lone::No);
}

#[test]
fn a_log_of_last_year() {
    check(kit::last_year, Lone::Yes);
}

#[test]
fn what_a_pid_that_came_again_ended() {
    let home = Home::new(
        "[decide]\nthreshold_root = 0\n[[input]]\nkind = \"file\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\n",
    );
    // The second has the first one's number and denies, so that both are committed at once. The first may be open still.
    let now = kit::now();
    home.append(
        format!(
            "{now} web1 sshd[5]: Failed publickey for bob from 192.0.2.1 port 1 ssh2: RSA x\n\
             {now} web1 sshd[5]: Failed password for root from 192.0.2.2 port 2 ssh2\n"
        )
        .as_bytes(),
    );
    let daemon = home.spawn();
    kit::until("the deny", || home.stdout().contains("deny 192.0.2.2").then_some(()));
    daemon.kill();
    home.append(format!("{now} web1 sshd[5]: Connection closed by 192.0.2.1 port 1\n").as_bytes());
    let daemon = home.start();
    daemon.caught_up();
    daemon.stop();
    let counted = home.ask(&["list", "addresses"]).unwrap();
    let counted: Vec<_> = counted.as_array().unwrap().iter().map(|row| kit::text(&row["prefix"])).collect();
    assert_eq!(counted, ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn where_a_first_start_began_is_kept_at_once() {
    let home = Home::new("[[input]]\nkind = \"file\"\npath = \"DIR/log\"\n");
    let failure =
        |port| format!("{} web1 sshd[{port}]: Failed password for bob from 192.0.2.1 port {port} ssh2\n", kit::now());
    home.append(b"");
    let daemon = home.start();
    kit::until("it follows", || home.ask(&["status"])?["inputs"][0]["cursor"].is_object().then_some(()));
    daemon.kill();
    home.append(failure(1).as_bytes());
    let daemon = home.start();
    daemon.folded(1);
    daemon.stop();
}

#[test]
fn an_input_is_the_same_one_in_another_order() {
    let input = |name| {
        format!("[[input]]\nkind = \"file\"\nname = \"{name}\"\npath = \"DIR/{name}\"\nfirst_read = \"beginning\"\n")
    };
    let home = Home::new(&(input("a") + &input("b")));
    let now = jiff::Timestamp::from_second(kit::now().as_second()).unwrap(); // whole: each line a try
    let tries =
        |count| format!("{now} web1 sshd[5]: Failed password for bob from 192.0.2.1 port 1 ssh2\n").repeat(count);
    // Two ways of one connection's three tries; one is behind when the daemon is killed, and the other comes first then.
    fs::write(home.path("a"), tries(3)).unwrap();
    fs::write(home.path("b"), tries(1)).unwrap();
    let records = |home: &Home, wanted: u64| {
        kit::until("all records are folded", || {
            let status = home.ask(&["status"])?;
            let records = status["inputs"].as_array()?.iter().filter_map(|one| one["records"].as_u64()).sum::<u64>();
            (records >= wanted).then_some(())
        });
    };
    let daemon = home.start();
    records(&home, 4);
    daemon.stop();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let (top, inputs) = config.split_once("[[input]]").unwrap();
    let (a, b) = inputs.split_once("[[input]]").unwrap();
    fs::write(home.path("config"), format!("{top}[[input]]{b}[[input]]{a}")).unwrap();
    fs::write(home.path("b"), tries(3)).unwrap();
    let daemon = home.start();
    records(&home, 2);
    daemon.stop();
    let counted = home.ask(&["list", "addresses"]).unwrap();
    assert_eq!(counted[0]["valid"], 3, "{counted}");
}

/// Whether the log has PAM lines that no line of sshd's own goes with. They wait ten seconds for one, by the log's
/// clock, so such a log must end in a line of much later.
#[derive(PartialEq)]
enum Lone {
    Yes,
    No,
}

/// Rounds with one log: with stamps of a quarter of an hour ago it would be one whose clock is wrong.
const FRESH: usize = 5;

/// Kills over logs whose last stamp is `last`.
fn check(last: impl Fn() -> jiff::Timestamp, lone: Lone) {
    let mut random = Random::new();
    let (mut log, mut want) = Default::default();
    for round in 0..ROUNDS * kit::longer() {
        if round % FRESH == 0 {
            log = self::log(last(), &lone);
            want = undisturbed(&log);
            assert!(want.contains("denied") && want.contains("suspicious"), "{want}");
        }
        let got = disturbed(&log, &mut random);
        let only = |a: &str, b: &str| {
            let b: Vec<_> = b.lines().collect();
            a.lines().filter(|line| !b.contains(line)).map(|line| format!("{line}\n")).collect::<String>()
        };
        assert!(
            got == want,
            "round {round}:\nonly after crashes:\n{}only undisturbed:\n{}",
            only(&got, &want),
            only(&want, &got)
        );
    }
}

/// Both corpora, from two hosts.
fn log(last: jiff::Timestamp, lone: &Lone) -> Vec<String> {
    let mut lines = Vec::new();
    for (version, host) in kit::VERSIONS.into_iter().zip(["web1", "web2"]) {
        let corpus = kit::corpus(version);
        let iso = corpus.rows.iter().map(|row| row.iso.replacen(" tbhost ", &format!(" {host} "), 1));
        lines.extend(iso);
    }
    for index in 0..if *lone == Lone::Yes { 40 } else { 0 } {
        let at = 17 * index % lines.len();
        let (stamp, rest) = lines[at].split_at(lines[at].find(' ').unwrap());
        let host = rest.split(' ').nth(1).unwrap();
        let lone = "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2";
        let line =
            format!("{stamp} {host} sshd[{}]: pam_unix(sshd:auth): {lone}.{}  user=bob", 900_000 + index, index % 5);
        lines.insert(at + 1, line);
    }
    // Logged in from where too many failed.
    let (stamp, _) = lines[2_000].split_at(lines[2_000].find(' ').unwrap());
    let told = |says: &str, pid: u32| format!("{stamp} web1 sshd[{pid}]: {says} from 192.0.2.99 port {pid} ssh2");
    let root = "Failed password for root";
    let guessed = [told(root, 999_997), told(root, 999_998), told("Accepted password for bob", 999_999)];
    lines.splice(2_001..2_001, guessed);
    let stamps = lines.iter().map(|line| kit::stamped(line).0).max().unwrap();
    for host in if *lone == Lone::Yes { &["web1", "web2"][..] } else { &[] } {
        let later = stamps + jiff::SignedDuration::from_hours(1);
        lines.push(format!("{later} {host} sshd[1]: Server listening on 0.0.0.0 port 22."));
    }
    kit::moved(&lines.iter().map(String::as_str).collect::<Vec<_>>(), last)
}

/// What is decided by a daemon that nobody kills.
fn undisturbed(log: &[String]) -> String {
    let home = Home::with_weeks();
    let daemon = home.start();
    for some in log.chunks(500) {
        home.append(&kit::file(some));
    }
    daemon.caught_up();
    daemon.stop();
    decided(&home)
}

/// What is decided by one that is killed again and again, while the log is written and rotated.
fn disturbed(log: &[String], random: &mut Random) -> String {
    let home = Home::with_weeks();
    // From here on it knows where it was: only what happens before a first start is nobody's to find again.
    let daemon = home.start();
    daemon.caught_up();
    daemon.stop();
    let mut left = log;
    let mut generation = 0;
    for kill in 0..KILLS {
        // The last lives find little to read: the whole log is theirs that come before.
        let share = left.len() / (KILLS - kill);
        let (now, later) = left.split_at(share);
        left = later;
        let rotates = random.one_in(4).then(|| random.below(now.len().max(1)));
        let bytes = kit::file(now);
        // Some of it is there before the daemon is, and a writer may be in the middle of a line.
        let before = random.below(bytes.len() + 1);
        let mut write = Writer { home: &home, generation: &mut generation, bytes: &bytes, at: 0, rotates };
        write.until(before);
        let mut daemon = Some(home.spawn());
        let life = Duration::from_millis(random.below(LIFE_MS) as u64);
        let end = Instant::now() + life;
        while Instant::now() < end {
            write.until(write.at + random.below(1 + bytes.len() / 8));
            std::thread::park_timeout(Duration::from_millis(1 + random.below(20) as u64));
        }
        if random.one_in(2) {
            write.until(bytes.len());
        }
        daemon.take().unwrap().kill();
        write.until(bytes.len());
    }
    assert!(left.is_empty());
    assert!(generation > 3, "the log was rotated");
    let daemon = home.start();
    daemon.caught_up();
    daemon.stop();
    decided(&home)
}

/// Writes one share of the log.
struct Writer<'a> {
    home: &'a Home,
    generation: &'a mut usize,
    bytes: &'a [u8],
    at: usize,
    /// Before which of its lines the log is rotated.
    rotates: Option<usize>,
}

impl Writer<'_> {
    /// Writes on to the place `end` of the share; rotates by renaming where it is due.
    fn until(&mut self, end: usize) {
        let end = end.min(self.bytes.len());
        if self.at >= end {
            return;
        }
        if let Some(line) = self.rotates {
            let ends = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            let place = std::iter::once(0).chain(ends).nth(line).unwrap_or(0);
            if self.at <= place && place <= end {
                self.write(place);
                self.rotate();
            }
        }
        self.write(end);
    }

    fn write(&mut self, end: usize) {
        self.home.append(&self.bytes[self.at..end]);
        self.at = end;
    }

    /// As logrotate does: the older ones move on by one name each.
    fn rotate(&mut self) {
        let name = |number: usize| self.home.path(&format!("log.{number}"));
        for number in (1..=*self.generation).rev() {
            fs::rename(name(number), name(number + 1)).unwrap();
        }
        fs::rename(self.home.log(), name(1)).unwrap();
        fs::write(self.home.log(), "").unwrap();
        *self.generation += 1;
        self.rotates = None;
    }
}

/// All that a user can ask about: tallies, users, denies, decisions, and the evidence on who is denied.
fn decided(home: &Home) -> String {
    let mut all = String::new();
    let mut put = |what: &str, mut rows: Vec<Value>| {
        // Rows of the same rank have no order among themselves.
        rows.sort_by_key(Value::to_string);
        all.push_str(&format!("{what}\n"));
        rows.iter().for_each(|row| all.push_str(&format!("  {row}\n")));
    };
    for what in ["addresses", "users", "hosts"] {
        put(what, home.ask(&["list", what]).unwrap().as_array().unwrap().clone());
    }
    let history = home.history();
    for row in history.iter().filter(|row| row["decision"] == "denied").take(5) {
        put("why", vec![home.ask(&["why", row["prefix"].as_str().unwrap().split('/').next().unwrap()]).unwrap()]);
    }
    put("history", history);
    all
}
