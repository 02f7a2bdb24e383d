//! Lines through parser, detector and engine, as an input delivers them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use inputs::record::{SourceId, Timestamp};
use inputs::syslog::parse::{Format, Parser};
use jiff::tz::TimeZone;

mod bounds;
mod escalate;
mod familiar;
mod forgives;
mod links;
mod live;
mod names;
mod nets;
mod policies;
mod purges;
mod received;
mod rules;
mod wave;

use super::attempt::{Attempt, Classes};
use super::claim::{Claim, Claimant, FORGEABLE_FOR, Reason};
use super::engine::{Command, Engine, Input};
use super::policy::{Class, Policy};
use super::prefix::Prefix;
use super::state::{Change, State, USER_MAX};
use crate::detect::event::Account;
use crate::intake::{Counts, Source, fold};

/// Some time after all lines here: they are of October and November 2026.
const RECEIVED: Timestamp = Timestamp::from_secs(1_796_083_200);

/// An engine, and two inputs of it; the second is one that strangers can forge.
struct World {
    engine: Engine,
    sources: [Source; 2],
    counts: Counts,
}

fn parser() -> Parser {
    Parser::new(Format::Auto, TimeZone::get("Europe/Berlin").unwrap())
}

impl World {
    fn new(policy: Policy) -> Self {
        let [sound, mut forgeable] = [0, 1].map(|id| Source::new(SourceId(id), None, "here"));
        forgeable.forgeable = true;
        World { engine: Engine::new(policy), sources: [sound, forgeable], counts: Counts::default() }
    }

    /// Folds lines in, as one batch of one input; returns what each added.
    fn lines(&mut self, source: usize, lines: &str) -> String {
        self.lines_at(RECEIVED, source, lines)
    }

    fn lines_at(&mut self, received: Timestamp, source: usize, lines: &str) -> String {
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut batch = parser().batch(received, lines.map(str::as_bytes));
        batch.source = SourceId(source as u16);
        let mut added = Vec::new();
        fold(&mut self.engine, &mut self.sources[source], &batch, &mut self.counts, |seen, _| {
            added.push(seen.folded.map_or(0, |folded| folded.attempts()).to_string());
        });
        added.join(" ")
    }

    /// All that is counted against an address in the end.
    fn failures(&mut self, address: &str) -> u32 {
        self.engine.step(RECEIVED, Input::End);
        self.engine.state.tallies.get(&address.parse().unwrap()).map_or(0, |tally| tally.failures())
    }
}

/// What each line adds, and what is counted against 192.0.2.7 in the end.
#[track_caller]
fn check(lines: &str, added: &str, failures: u32) {
    let mut world = World::new(Policy::default());
    assert_eq!(world.lines(0, lines), added, "{lines}");
    assert_eq!(world.failures("192.0.2.7"), failures, "{lines}");
}

/// A login is remembered for seven days after its last line, apart from what is forgotten after a quarter of an hour.
#[test]
fn what_ends_a_login_days_later_is_no_probe() {
    let mut world = World::new(Policy::default());
    let mut probes = |lines: &str| {
        world.lines(0, lines);
        world.counts.probes
    };
    let login = |time: &str| format!("{time} web1 sshd[9]: Accepted password for al from 192.0.2.7 port 22 ssh2\n");
    let end = |time: &str| format!("{time} web1 sshd[11]: Connection closed by 192.0.2.7 port 22\n");
    // Another's line, by which the host's clock is known to have moved on.
    let other = |time: &str| format!("{time} web1 sshd[10]: Invalid user x from 192.0.2.8 port 23\n");
    probes(&(login("2026-10-01T00:00:00Z") + &other("2026-10-01T01:00:00Z") + &other("2026-10-03T00:00:00Z")));
    assert_eq!(probes(&end("2026-10-04T00:00:00Z")), 0, "it ends a login");
    probes(&(login("2026-10-05T00:00:00Z") + &other("2026-10-05T01:00:00Z") + &other("2026-10-08T01:00:00Z")));
    assert_eq!(probes(&end("2026-10-09T00:00:00Z")), 0, "the port's second login");
    probes(&other("2026-10-12T01:00:00Z"));
    assert_eq!(probes(&end("2026-10-12T02:00:00Z")), 1, "nobody remembers a login");
}

/// Three tries of one connection, as a box writes them; with fractions of a second or without.
fn three_tries(host: &str, fractions: bool) -> String {
    let line = |index: u32| {
        let fraction = if fractions { format!(".{}", 123_456 + index) } else { String::new() };
        format!("2026-11-20T10:00:00{fraction}Z {host} sshd[7]: Failed password for bob from 192.0.2.7 port 41 ssh2\n")
    };
    (0..3).map(line).collect()
}

#[test]
fn a_try_that_comes_by_two_ways_counts_once() {
    for fractions in [true, false] {
        let mut world = World::new(Policy::default());
        let tries = three_tries("web", fractions);
        assert_eq!(world.lines(0, &tries), "1 1 1");
        // Another daemon's stamps and its name for the host differ.
        let by_syslog = tries.replace("10:00:00", "10:00:01").replace(" web ", " WEB.example.net ");
        assert_eq!(world.lines(1, &by_syslog), "0 0 0");
        assert_eq!(world.failures("192.0.2.7"), 3);
    }
}

#[test]
fn a_record_that_is_sent_again_counts_once() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.lines(0, &three_tries("web", true)), "1 1 1");
    assert_eq!(world.lines(0, &three_tries("web", true)), "0 0 0");
    assert_eq!(world.counts.duplicates, 3);
    // Whole seconds tell no try from another, nor do a fraction that is always zero, and tenths and hundredths.
    let mut world = World::new(Policy::default());
    for stamp in ["10:00:00Z", "10:00:00.000Z", "10:00:00.5Z", "10:00:00.25Z"] {
        let tries = three_tries("web", false).replace("10:00:00Z", stamp);
        assert_eq!(world.lines(0, &tries), "1 1 1", "{stamp}");
    }
    assert_eq!(world.counts.duplicates, 0);
    // Nor is what another host wrote, or another process, the same.
    let mut world = World::new(Policy::default());
    world.lines(0, &three_tries("web", true));
    assert_eq!(world.lines(0, &three_tries("mail", true)), "1 1 1");
    assert_eq!(world.lines(0, &three_tries("web", true).replace("[7]", "[8]")), "1 1 1");
}

#[test]
fn one_try_on_each_of_five_boxes_is_five() {
    let mut world = World::new(Policy::default());
    for host in ["web1", "web2", "web3", "web4", "web5"] {
        let one = three_tries(host, false).lines().next().unwrap().to_owned();
        assert_eq!(world.lines(0, &one), "1", "{host}: the same process id, address and port");
    }
    assert_eq!(world.failures("192.0.2.7"), 5);
}

#[test]
fn the_hour_that_autumn_repeats_counts_once() {
    // At 3:00 the clock is set to 2:00: all lines of an hour are written "before" the ones that we know.
    check(
        "Oct 25 02:59:50 web sshd[77]: pam_unix(sshd:session): session closed for user carol
         Oct 25 02:01:00 web sshd[101]: Invalid user alcie from 192.0.2.7 port 4101
         Oct 25 02:01:02 web sshd[101]: Failed password for invalid user alcie from 192.0.2.7 port 4101 ssh2
         Oct 25 02:01:05 web sshd[101]: Failed password for invalid user alcie from 192.0.2.7 port 4101 ssh2
         Oct 25 02:01:08 web sshd[101]: Connection closed by invalid user alcie 192.0.2.7 port 4101 [preauth]",
        "0 1 0 1 0",
        2,
    );
    check(
        "Oct 25 02:59:50 web sshd[77]: pam_unix(sshd:session): session closed for user carol
         Oct 25 02:01:00 web sshd[9]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=al
         Oct 25 02:01:02 web sshd[9]: Failed password for al from 192.0.2.7 port 41 ssh2
         Oct 25 02:01:05 web sshd[9]: Connection closed by authenticating user al 192.0.2.7 port 41 [preauth]",
        "0 0 1 0",
        1,
    );
    // sshd's own line first, then the PAM line of the next try.
    check(
        "Oct 25 02:59:50 web sshd[77]: pam_unix(sshd:session): session closed for user carol
         Oct 25 02:01:00 web sshd[9]: Failed password for al from 192.0.2.7 port 41 ssh2
         Oct 25 02:01:02 web sshd[8]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=al
         Oct 25 03:30:00 web sshd[77]: Connection closed by 198.51.100.1 port 9 [preauth]",
        "0 1 0 0",
        1,
    );
}

#[test]
fn an_older_log_of_the_same_host_counts_as_well_as_the_newer() {
    let mut world = World::new(Policy::default());
    world.lines(0, "Nov  1 09:00:00 web sshd[1]: Received signal 1; restarting.");
    let older = "Nov  1 02:00:00 web sshd[2]: Invalid user bob from 192.0.2.7 port 42
                 Nov  1 02:00:02 web sshd[2]: Failed password for invalid user bob from 192.0.2.7 port 42 ssh2
                 Nov  1 02:00:03 web sshd[2]: Connection closed by invalid user bob 192.0.2.7 port 42 [preauth]";
    assert_eq!(world.lines(1, older), "1 0 0");
    assert_eq!(world.failures("192.0.2.7"), 1);
}

#[test]
fn what_a_forgeable_line_decides_late_ends_within_the_hour() {
    let mut world = World::new(Policy::default());
    let pam = "web sshd[9]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root";
    world.lines(1, &format!("Nov  1 02:00:00 {pam}\nNov  1 02:00:01 {pam}"));
    // It is decided when a line of another input shows the wait to be over.
    world.lines(0, "Nov  1 02:01:00 web sshd[77]: Received signal 1; restarting.");
    let deny = world.engine.state.denies.get(&"192.0.2.7".parse::<Prefix>().unwrap()).unwrap();
    let claim = deny.claim(Claimant::Policy).unwrap();
    assert_eq!(claim.until, Some(claim.since.after(FORGEABLE_FOR)));
}

#[test]
fn a_host_whose_clock_stands_still_holds_up_no_other() {
    let pam = |host: &str, address: &str| {
        format!(
            "{host} sshd[9]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user=al"
        )
    };
    let check = |stamp: &dyn Fn(i64) -> Timestamp| {
        let mut world = World::new(Policy::default());
        world.lines(1, &format!("{} {}", stamp(0), pam("evil", "198.51.100.1")));
        world.lines(0, &format!("{RECEIVED} {}", pam("web", "192.0.2.7")));
        for second in 1..=30 {
            let now = RECEIVED.after(Duration::from_secs(second));
            let line = |at: Timestamp, host: &str| format!("{at} {host} sshd[1]: Received signal 1; restarting.");
            world.lines_at(now, 1, &line(stamp(second as i64), "evil"));
            world.lines_at(now, 0, &line(now, "web"));
            world.engine.step(now, Input::Tick);
        }
        let counted = world.engine.state.tallies.get(&"192.0.2.7".parse().unwrap()).map(|tally| tally.failures());
        assert_eq!(counted, Some(1), "{}", stamp(0));
    };
    let hour_ago = RECEIVED.before(Duration::from_secs(3_600));
    check(&|_| hour_ago);
    check(&|second| Timestamp(hour_ago.0 + second));
    check(&|_| Timestamp(0));
    check(&|_| Timestamp::from_secs(-1));
}

/// Failures of al on connections `from..=to`, a second each.
fn failures_of_al(connections: std::ops::RangeInclusive<u32>) -> String {
    let fail = |n| format!("Nov  1 02:00:{n:02} web sshd[{n}]: Failed password for al from 192.0.2.7 port {n} ssh2\n");
    connections.map(fail).collect()
}

/// For how long the policy denies 192.0.2.7, if it does.
fn denied_for(world: &World) -> Option<Duration> {
    let claim = world.engine.state.denies.get(&"192.0.2.7".parse::<Prefix>().unwrap())?.claim(Claimant::Policy)?;
    Some(Duration::from_micros((claim.until.unwrap().0 - claim.since.0).unsigned_abs()))
}

#[test]
fn what_would_not_be_denied_without_forgeable_lines_is_denied_for_an_hour() {
    let week = Policy::default().deny_for.unwrap();
    let check = |parts: &[(usize, u32)], want: Option<Duration>| {
        let mut world = World::new(Policy::default());
        let mut next = 1;
        for (source, count) in parts {
            world.lines(*source, &failures_of_al(next..=next + count - 1));
            next += count;
        }
        assert_eq!(denied_for(&world), want, "{parts:?}");
    };
    // How many of the sound source (0) and of the other (1), in turn; the threshold is 10.
    check(&[(0, 10)], None);
    check(&[(0, 11)], Some(week));
    check(&[(1, 11)], Some(FORGEABLE_FOR));
    check(&[(1, 10), (0, 1)], Some(FORGEABLE_FOR));
    check(&[(0, 10), (1, 1)], Some(FORGEABLE_FOR));
    check(&[(0, 10), (1, 1), (0, 1)], Some(week));
    check(&[(1, 11), (0, 10)], Some(FORGEABLE_FOR));
    check(&[(1, 11), (0, 11)], Some(week));
}

#[test]
fn a_sound_source_vouches_for_what_another_said_before() {
    let mut world = World::new(Policy::default());
    world.lines(1, &failures_of_al(1..=11));
    assert_eq!(denied_for(&world), Some(FORGEABLE_FOR));
    assert_eq!(world.lines(0, &failures_of_al(1..=11)), ["0"; 11].join(" "));
    assert_eq!(denied_for(&world), Policy::default().deny_for);
    assert_eq!(world.failures("192.0.2.7"), 11);
}

/// `status` shows how many are remembered: one that all sorts of lines tell of is one.
#[test]
fn a_connection_that_forgeable_lines_tell_of_too_is_one() {
    let mut world = World::new(Policy::default());
    let accepted =
        |pid| format!("Nov  1 02:00:00 web sshd[{pid}]: Accepted password for al from 192.0.2.{pid} port {pid} ssh2\n");
    world.lines(0, &(failures_of_al(1..=3) + &accepted(8)));
    let alone = world.engine.state.sessions.distinct();
    world.lines(1, &(failures_of_al(2..=3) + &accepted(8)));
    assert_eq!((alone, world.engine.state.sessions.distinct()), (5, 5));
    world.lines(1, &accepted(9));
    assert_eq!(world.engine.state.sessions.distinct(), 7);
}

#[test]
fn the_end_of_a_deny_that_was_forged_forgets_nothing_certain() {
    let mut world = World::new(Policy::default());
    let prefix: Prefix = "192.0.2.7".parse().unwrap();
    world.lines(0, &failures_of_al(1..=10));
    world.lines(1, &failures_of_al(11..=11));
    assert_eq!(denied_for(&world), Some(FORGEABLE_FOR));
    // A stranger may have written his stamp, too: it is over as soon as it was decided.
    world.engine.step(RECEIVED.after(Duration::from_secs(60)), Input::Tick);
    assert_eq!(denied_for(&world), None);
    assert_eq!(world.engine.state.released.get(&prefix), None, "it is no sentence that was served");
    assert_eq!(world.engine.state.tallies.get(&prefix).unwrap().failures(), 10);
    world.lines(0, &failures_of_al(12..=12));
    assert_eq!(denied_for(&world), Policy::default().deny_for);
    // What was certain is forgotten in the end, as ever.
    world.engine.step(RECEIVED.after(Duration::from_secs(120)), Input::Tick);
    assert_eq!((denied_for(&world), world.engine.state.released.get(&prefix)), (None, Some(&1)));
    assert!(world.engine.state.tallies.get(&prefix).is_none());
    // So is what a short deny rested on that was certain.
    let hour = Policy { deny_for: Some(FORGEABLE_FOR / 2), ..Policy::default() };
    for (source, times, left) in [(0, Some(&1), false), (1, None, false)] {
        let mut world = World::new(hour.clone());
        world.lines(source, &failures_of_al(1..=11));
        world.engine.step(RECEIVED.after(Duration::from_secs(60)), Input::Tick);
        assert_eq!(world.engine.state.released.get(&prefix), times);
        assert_eq!(world.engine.state.tallies.get(&prefix).is_some(), left);
    }
}

#[test]
fn what_was_forged_before_it_happened_does_not_hide_it() {
    // A short deny that was forged is over while its connections are still remembered.
    let mut world = World::new(Policy { deny_for: Some(Duration::from_secs(60)), ..Policy::default() });
    let tries = failures_of_al(1..=11).replace("Nov  1 02:00", "Dec  1 00:55"); // RECEIVED is at 1:00
    world.lines(1, &tries);
    world.engine.step(RECEIVED.after(Duration::from_secs(11)), Input::Tick);
    assert!(world.engine.state.denies.is_empty());
    world.lines(0, &tries);
    let tally = *world.engine.state.tallies.get(&"192.0.2.7".parse().unwrap()).unwrap();
    assert_eq!(tally.failures(), 11);
    assert!(denied_for(&world).is_some());
}

#[test]
fn a_login_clears_nothing_certain_of_another_host_for_what_was_forged_of_its_own() {
    let mut world = World::new(Policy { reset_on_success: true, probation: None, ..Policy::default() });
    world.lines(0, &failures_of_al(1..=5));
    world.lines(1, &failures_of_al(11..=15).replace(" web ", " mail "));
    world.lines(0, "Nov  1 02:00:30 mail sshd[20]: Accepted password for al from 192.0.2.7 port 20 ssh2");
    let tally = *world.engine.state.tallies.get(&"192.0.2.7".parse().unwrap()).unwrap();
    assert_eq!(tally.sound.iter().sum::<u8>(), 5);
    world.lines(0, &failures_of_al(31..=36));
    assert_eq!(denied_for(&world), Policy::default().deny_for);
}

#[test]
fn a_forged_login_hides_no_keys_from_a_sound_source() {
    let key = "Nov  1 02:00:00 web sshd[9]: Failed publickey for al from 192.0.2.7 port 9 ssh2: RSA SHA256:x";
    let login = "Nov  1 02:00:01 web sshd[9]: Accepted password for al from 192.0.2.7 port 9 ssh2";
    let end = "Nov  1 02:00:02 web sshd[9]: Connection closed by 192.0.2.7 port 9 [preauth]";
    let mut world = World::new(Policy::default());
    assert_eq!(world.lines(0, key), "0");
    world.lines(1, login);
    assert_eq!(world.lines(0, end), "1");
    // Among lines of one trust it is believed, or who logs in with the second key would be counted.
    for source in [0, 1] {
        let mut world = World::new(Policy::default());
        assert_eq!(world.lines(source, &format!("{key}\n{login}\n{end}")), "0 0 0");
    }
}

#[test]
fn a_forged_login_hides_no_pam_line_from_a_sound_source() {
    let mut world = World::new(Policy::default());
    world.lines(0, "Nov  1 02:00:00 web sshd[8]: Failed password for root from 192.0.2.9 port 8 ssh2");
    world.lines(
        0,
        "Nov  1 02:00:01 web sshd[9]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root",
    );
    world.lines(1, "Nov  1 02:00:31 web sshd[9]: Accepted password for root from 192.0.2.7 port 9 ssh2");
    assert_eq!(world.failures("192.0.2.7"), 1);
}

#[test]
fn a_forged_address_makes_nothing_sound_of_what_had_none() {
    let forged = "Nov  1 02:00:00 web sshd[9]: Connection from 203.0.113.9 port 9 on 198.51.100.1 port 22";
    let real =
        "Nov  1 02:00:01 web sshd[9]: error: PAM: Authentication failure for root from h.example.org\n".repeat(2);
    let prefix: Prefix = "203.0.113.9".parse().unwrap();
    let mut world = World::new(Policy::default());
    world.lines(1, forged);
    assert_eq!(world.lines(0, &real), "1 1");
    let until = |world: &World| world.engine.state.denies[&prefix].claim(Claimant::Policy).unwrap().until.unwrap();
    let at = Timestamp::from_secs(1_793_494_801); // 2026-11-01T01:00:01Z
    assert_eq!(until(&world), at.after(FORGEABLE_FOR));
    // A sound line that says the same makes it so.
    let mut world = World::new(Policy::default());
    world.lines(1, forged);
    world.lines(0, &format!("{forged}\n{real}"));
    assert_eq!(until(&world), at.after(Duration::from_secs(7 * 86_400)));
}

#[test]
fn forged_keys_are_not_certain_because_the_connections_end_is() {
    let key = "Nov  1 02:00:00 web sshd[9]: Failed publickey for al from 192.0.2.7 port 9 ssh2: RSA SHA256:x";
    let end = "Nov  1 02:00:02 web sshd[9]: Connection closed by 192.0.2.7 port 9 [preauth]";
    for (source, sound) in [(0, 1), (1, 0)] {
        let mut world = World::new(Policy::default());
        assert_eq!((world.lines(source, key), world.lines(0, end)), ("0".to_owned(), "1".to_owned()));
        let tally = *world.engine.state.tallies.get(&"192.0.2.7".parse().unwrap()).unwrap();
        // Without the key its end alone would be a probe, and as such it is certain.
        let count = |class: Class| (tally.counts[class as usize], tally.sound[class as usize]);
        assert_eq!(
            (count(Class::Valid), count(Class::Probe)),
            ((1, sound), (1 - u32::from(sound), 1 - sound)),
            "{source}"
        );
    }
}

#[test]
fn a_forged_line_ends_no_connection_that_a_sound_source_tells_of() {
    let tried = "Nov  1 02:00:02 web sshd[9]: Failed password for invalid user bob from 192.0.2.7 port 9 ssh2";
    for forged in [
        "Connection from 198.51.100.1 port 5 on 192.0.2.1 port 22",
        "Failed password for al from 198.51.100.1 port 5 ssh2",
    ] {
        let mut world = World::new(Policy::default());
        assert_eq!(world.lines(0, "Nov  1 02:00:00 web sshd[9]: Invalid user bob from 192.0.2.7 port 9"), "1");
        world.lines(1, &format!("Nov  1 02:00:01 web sshd[9]: {forged}"));
        assert_eq!(world.lines(0, tried), "0", "{forged}");
    }
    // The other way round, and among lines of one trust, the pid was used again.
    for (first, then) in [(0, 0), (1, 1), (1, 0)] {
        let mut world = World::new(Policy::default());
        world.lines(first, "Nov  1 02:00:00 web sshd[9]: Connection from 198.51.100.1 port 5 on 192.0.2.1 port 22");
        assert_eq!(world.lines(then, tried), "1");
        let bob = world.engine.state.tallies.get(&"192.0.2.7".parse().unwrap()).unwrap();
        assert_eq!((bob.failures(), bob.sound.iter().sum::<u8>()), (1, u8::from(then == 0)));
    }
}

#[test]
fn names_are_bounded_in_length() {
    let mut world = World::new(Policy::default());
    let name = "x".repeat(300);
    world.lines(1, &format!("Nov  1 02:00:00 web sshd[9]: Invalid user {name} from 192.0.2.7 port 9"));
    let kept: Vec<_> = world.engine.state.users.keys().map(|user| user.len()).collect();
    assert_eq!(kept, [USER_MAX]);
}

#[test]
fn the_end_of_an_operators_deny_forgets_nothing() {
    let mut world = World::new(Policy::default());
    let prefix: Prefix = "192.0.2.7".parse().unwrap();
    let fail = |n| format!("Nov  1 02:00:0{n} web sshd[{n}]: Failed password for al from 192.0.2.7 port {n} ssh2\n");
    world.lines(0, &(1..=5).map(fail).collect::<String>());
    let until = Some(RECEIVED.after(Duration::from_secs(60)));
    let claim = Claim { since: RECEIVED, until, reason: Reason::Operator { because: None }, enforceable: true };
    world.engine.step(RECEIVED, Input::Claim { prefix, by: Claimant::Operator, claim });
    world.engine.step(RECEIVED.after(Duration::from_secs(61)), Input::Tick);
    assert!(world.engine.state.denies.is_empty());
    assert_eq!(world.failures("192.0.2.7"), 5);
}

/// What leaves as changes is all that a second engine needs to be where the first is.
#[test]
fn changes_make_the_state_again() {
    let policy = Policy { reset_on_success: true, permanent_after: Some(1), ..Policy::default() };
    let mut world = World::new(policy.clone());
    world.engine = Engine::with(policy, State::default());
    world.lines(0, &failures_of_al(1..=11));
    world.lines(1, &failures_of_al(11..=25).replace("al from 192.0.2.7", "invalid user bob from 192.0.2.8"));
    world.lines(0, "Nov  1 02:01:00 mail.example.org sshd[80]: Accepted password for al from 192.0.2.9 port 80 ssh2");
    world.lines(0, "Nov  1 02:01:00 web sshd[81]: Accepted password for root from 192.0.2.10 port 81 ssh2");
    let (prefix, now) = ("198.51.100.0/24".parse().unwrap(), RECEIVED.after(Duration::from_secs(60)));
    let claim = Claim { since: RECEIVED, until: None, reason: Reason::Operator { because: None }, enforceable: true };
    world.engine.step(now, Input::Claim { prefix, by: Claimant::Operator, claim });
    world.engine.step(now, Input::Tick);
    world.engine.step(now, Input::Command(Command::Forgive(vec!["192.0.2.8".parse().unwrap()], None)));
    world.engine.settle();
    let engine = &world.engine;
    let (mut again, mut connections) = (State::default(), 0);
    // Twice is as good as once.
    for change in engine.changes.iter().flat_map(|change| [change, change]) {
        again.apply(change);
        connections += usize::from(matches!(change, Change::Connection(..)));
    }
    let tallies =
        |state: &State| state.tallies.iter().map(|(prefix, tally)| (prefix, *tally)).collect::<BTreeMap<_, _>>();
    assert_eq!(tallies(&again), tallies(&engine.state));
    let State { shares, denies, ends, released, familiar, users, hosts, .. } = &engine.state;
    let known = "192.0.2.9".parse().unwrap();
    assert_eq!(engine.state.live.iter().collect::<Vec<_>>(), again.live.iter().collect::<Vec<_>>());
    assert_eq!(again.live.len(), 2);
    let forgiven = "192.0.2.8".parse().unwrap();
    assert_eq!((again.forgives.of(&forgiven, now), again.forgives.of(&prefix, now)), (Some(now), None));
    assert!(familiar.get(&known).is_some() && familiar.get(&known) == again.familiar.get(&known));
    assert!(!denies.is_empty() && !released.is_empty() && !users.is_empty() && hosts.len() == 2 && connections > 0);
    assert_eq!((&again.shares, &again.denies, &again.ends), (shares, denies, ends));
    assert_eq!((&again.released, &again.users, &again.hosts), (released, users, hosts));
}

/// An attempt that another made out counts as one that a record tells of.
#[test]
fn an_attempt_from_elsewhere_counts() {
    let policy = Policy::default();
    let (mut one, mut other) = (World::new(policy.clone()), World::new(policy));
    one.lines(0, &failures_of_al(1..=11));
    for second in 1..=11 {
        let peer = "192.0.2.7".parse::<IpAddr>().unwrap().into();
        let attempt = Attempt {
            peer,
            prefix: other.engine.policy.prefix(peer),
            host: other.engine.host(b"web", super::session::Trust::Sound),
            source: SourceId(0),
            at: Timestamp::from_secs(1_793_494_800 + second), // 2026-11-01T02:00:00+01:00
            from: Timestamp::from_secs(1_793_494_800 + second),
            user: b"al".into(),
            account: Account::Known,
            classes: Classes::of(b"al", Account::Known, &other.engine.policy),
            times: 1,
            sound: 1,
        };
        other.engine.step(RECEIVED, Input::Attempt(attempt));
    }
    assert_eq!(other.engine.changes, one.engine.changes);
    assert!(denied_for(&other).is_some());
}
