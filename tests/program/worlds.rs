//! What may be forged moves nothing that is certain: what is counted as sound from all lines is what is counted from the
//! sound lines alone. Over generated mixes of both.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use denyd::decide::engine::{Engine, Input};
use denyd::decide::policy::Policy;
use denyd::detect::rule::{Draft, Happened, Rule, Rules};
use denyd::intake::{Counts, Source, fold};
use inputs::record::{SourceId, Timestamp};
use inputs::syslog::parse::{Format, Parser};
use kit::Random;

/// Mixes that are generated, times `DENYD_LONG`.
const MIXES: usize = 100_000;
/// Where the mixes begin: 2026-11-01T00:00:00Z.
const BEGIN: i64 = 1_793_491_200;

/// Mixes among which one must show a leak that is planted.
const SHOWN_WITHIN: u64 = 5_000;

/// What one line of a mix is: a message by a process, at a time in microseconds behind the beginning. Of one source some lines
/// may be sound and some not, as in the journal.
#[derive(Clone, Debug)]
struct Line {
    sound: bool,
    source: u16,
    at: i64,
    identifier: &'static str,
    pid: Option<u32>,
    message: String,
    /// We are restarted before it.
    restarted: bool,
}

impl Line {
    fn new(sound: bool, seconds: i64, pid: u32, message: &str) -> Self {
        let (source, at, message) = (u16::from(!sound), seconds * 1_000_000 + 1, message.to_owned());
        Line { sound, source, at, identifier: "sshd", pid: Some(pid), message, restarted: false }
    }

    fn text(&self) -> String {
        let at = jiff::Timestamp::from_microsecond(BEGIN * 1_000_000 + self.at).unwrap();
        let pid = self.pid.map_or(String::new(), |pid| format!("[{pid}]"));
        format!("{at:.6} here {}{pid}: {}", self.identifier, self.message)
    }

    /// Which record it is, for who was brought it before.
    fn record(&self) -> (u16, String) {
        (self.source, self.text())
    }
}

/// Lines, each so many seconds behind the one before, and some a second time: from the same source or another, by the same
/// hand or another.
fn mix(random: &mut Random) -> Vec<Line> {
    let (mut mix, mut at) = (Vec::<Line>::new(), 0);
    for index in 0..3 + random.below(8) as i64 {
        at += 1_000_000 * [0, 0, 1, 1, 5, 12, -3, 140, 1_200][random.below(9)];
        let again = random.one_in(4) && !mix.is_empty();
        let line = if again { mix[random.below(mix.len())].clone() } else { line(random) };
        mix.push(Line {
            sound: random.below(3) > 0,
            source: random.below(2) as u16,
            // Whole seconds tell no try from another.
            at: if again { line.at } else { at + if random.one_in(4) { 0 } else { index + 1 } },
            restarted: random.one_in(16),
            ..line
        });
    }
    mix
}

/// What sshd, PAM, and a mail server say: all that joins connections, ends them, and hides one account behind another.
fn line(random: &mut Random) -> Line {
    let address = random.pick(&["192.0.2.7", "192.0.2.8"]);
    let user = random.pick(&["root", "al"]);
    let port = random.pick(&["", " port 22", " port 23"]);
    let from = format!("{address}{port}");
    let pam = format!("authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user={user}");
    let (mut identifier, mut pid) = ("sshd", [None, Some(9), Some(9), Some(9), Some(10), Some(10)][random.below(6)]);
    let message = match random.below(21) {
        0 | 1 => format!("Failed password for {user} from {from} ssh2"),
        2 => format!("Failed publickey for {user} from {from} ssh2: RSA SHA256:x"),
        3 => format!("Invalid user {user} from {from}"),
        4 | 5 => format!("Accepted password for {user} from {from} ssh2"),
        6 => format!("error: PAM: Authentication failure for {user} from {address}"),
        7 => format!("error: PAM: Authentication failure for {user} from h.example.org"),
        8 | 9 => format!("pam_unix(sshd:auth): {pam}"),
        10 => format!("pam_sss(sshd:auth): {pam}"),
        11 => format!("Connection from {address} port 22 on 198.51.100.1 port 22"),
        12 => format!("Connection closed by {from} [preauth]"),
        13 => format!("Connection closed by authenticating user {user} {address} port 22 [preauth]"),
        14 => format!("Timeout before authentication for {from}"),
        15 => format!("Received disconnect from {from}:11: Bye"),
        16..=18 => {
            (identifier, pid) = ("imapd", Some(9));
            let what = random.pick(&["failed", "failed 3 times", "logged in"]);
            format!("{user} from {address} {what}")
        }
        // What a rule for sshd knows.
        19 => format!("badge of {user} from {address} refused"),
        _ => "Server listening on 0.0.0.0 port 22.".to_owned(),
    };
    Line { identifier, pid, message, ..Line::new(true, 0, 0, "") }
}

fn rules() -> Arc<Rules> {
    let rule = |name: &str, identifier: &str, event, ends: &str| Draft {
        name: name.to_owned(),
        identifiers: vec![identifier.to_owned()],
        event,
        pattern: format!("^(?:badge of )?(?P<user>[a-z]{{1,64}}) from (?P<addr>[0-9.]+) {ends}$"),
        ..Draft::default()
    };
    let mut rules = Rules::default();
    for draft in [
        rule("imap", "imapd", Happened::Failure, "failed(?: (?P<times>[0-9]+) times)?"),
        rule("imap-login", "imapd", Happened::Success, "logged in"),
        rule("badge", "sshd", Happened::Failure, "refused"),
    ] {
        rules.add(Rule::compile(draft).unwrap()).unwrap();
    }
    Arc::new(rules)
}

/// A fault that is planted, to see that the property shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leak {
    /// A forged login is believed.
    Login,
    /// What a rule knows of a login, forged or not, is sshd's own word.
    Rule,
    /// A record is dropped that a forged one was like.
    Redelivered,
}

/// What a fault makes of a line: another line; nothing if it is dropped.
fn leaked(line: &Line, leak: Option<Leak>, forged: &HashSet<(u16, String)>) -> Option<Line> {
    let mut line = line.clone();
    match leak {
        Some(Leak::Login) => line.sound |= line.message.starts_with("Accepted "),
        Some(Leak::Rule) if line.message.ends_with(" logged in") => {
            line.sound = true;
            line.identifier = "sshd";
            line.message = format!("Accepted password for {} port 1 ssh2", line.message.replace(" logged in", ""));
        }
        Some(Leak::Redelivered) if line.sound && forged.contains(&line.record()) => return None,
        _ => {}
    }
    Some(line)
}

/// What is counted as sound: by prefix and class in the end, and in all behind each sound line.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    tallies: BTreeMap<String, [u8; 5]>,
    behind: Vec<u32>,
}

/// Folds the sound lines of a mix, or all of them.
fn counted(mix: &[Line], forged_too: bool, rules: &Arc<Rules>, leak: Option<Leak>) -> Counted {
    let policy = Policy { thresholds: [None; 5], age_reset: [None; 5], ..Policy::default() };
    let (mut engine, mut behind, mut kept) = (Engine::new(policy), Vec::new(), Kept::default());
    engine.state.sessions.track_changes();
    let received = Timestamp::from_secs(BEGIN + 365 * 86_400);
    let sources = || {
        [0, 1].map(|id| {
            let mut source = Source::new(SourceId(id), None, "here");
            source.rules = Arc::clone(rules);
            source
        })
    };
    let (mut sources, mut parser, mut counts) =
        (sources(), Parser::new(Format::Auto, jiff::tz::TimeZone::UTC), Counts::default());
    let mut forged = HashSet::new();
    for line in mix {
        if line.restarted {
            kept.restart(&mut engine);
        }
        if !line.sound && !forged_too {
            continue;
        }
        if !line.sound && leak == Some(Leak::Redelivered) {
            forged.insert(line.record());
        }
        if let Some(line) = leaked(line, leak, &forged) {
            let mut batch = parser.batch(received, std::iter::once(line.text().as_bytes()));
            batch.source = SourceId(line.source);
            if !line.sound {
                batch.printed();
            }
            engine.changes.clear();
            fold(&mut engine, &mut sources[usize::from(line.source)], &batch, &mut counts, |_, _| {});
        }
        if line.sound {
            let all = engine.state.tallies.iter();
            behind.push(all.map(|(_, tally)| tally.sound.map(u32::from).iter().sum::<u32>()).sum());
        }
    }
    engine.step(received, Input::End);
    let tallies = engine.state.tallies.iter().filter(|(_, tally)| tally.sound != [0; 5]);
    let tallies = tallies.map(|(prefix, tally)| (prefix.to_string(), tally.sound)).collect();
    Counted { tallies, behind }
}

/// What a store would have of the connections.
#[derive(Default)]
struct Kept {
    sessions: BTreeMap<String, String>,
}

impl Kept {
    fn restart(&mut self, engine: &mut Engine) {
        let sessions = &mut engine.state.sessions;
        for (key, session) in sessions.take_changes() {
            let key = serde_json::to_string(&key).unwrap();
            match session {
                Some(session) => self.sessions.insert(key, serde_json::to_string(&session).unwrap()),
                None => self.sessions.remove(&key),
            };
        }
        let waiting = serde_json::to_string(&sessions.waiting()).unwrap();
        let read = |(key, session): (&String, &String)| {
            (serde_json::from_str(key).unwrap(), serde_json::from_str(session).unwrap())
        };
        let kept = self.sessions.iter().map(read).collect();
        *sessions = Default::default();
        sessions.restore(kept, serde_json::from_str(&waiting).unwrap());
        sessions.track_changes();
    }
}

#[track_caller]
fn check(mix: &[Line]) {
    let rules = rules();
    assert_eq!(counted(mix, true, &rules, None), counted(mix, false, &rules, None));
}

#[test]
fn what_may_be_forged_moves_nothing_certain() {
    let rules = rules();
    kit::property("worlds", (MIXES * kit::longer()) as u32, |random| {
        let mix = mix(random);
        let [all, sound] = [true, false].map(|all| counted(&mix, all, &rules, None));
        if all != sound {
            let lines: Vec<_> = mix.iter().map(|line| format!("{line:?}")).collect();
            panic!("{}\nfrom all lines   {all:?}\nfrom sound lines {sound:?}", lines.join("\n"));
        }
    });
}

/// The property can fail: of mixes as above a few show each fault.
#[test]
fn a_leak_that_is_planted_is_shown() {
    let rules = rules();
    for leak in [Leak::Login, Leak::Rule, Leak::Redelivered] {
        let shows = |seed: &u64| {
            let mix = mix(&mut Random::seeded(*seed));
            counted(&mix, true, &rules, Some(leak)) != counted(&mix, false, &rules, None)
        };
        let shown = (0..SHOWN_WITHIN).find(shows);
        println!("{leak:?} is shown by mix {shown:?}");
        assert!(shown.is_some(), "{leak:?}");
    }
}

const PAM: &str =
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root";

/// Found in review, and by the generator.
#[test]
fn a_forged_login_hides_no_pam_line() {
    let login = "Accepted password for root from 192.0.2.7 port 22 ssh2";
    check(&[Line::new(true, 0, 9, PAM), Line::new(false, 5, 9, login)]);
    check(&[Line::new(false, 0, 9, login), Line::new(true, 5, 9, PAM)]);
}

/// Found in review, and by the generator.
#[test]
fn a_rules_session_hides_no_pam_line_after_a_restart() {
    let failed = Line { identifier: "imapd", ..Line::new(false, 0, 9, "al from 192.0.2.7 failed") };
    check(&[failed.clone(), Line { restarted: true, ..Line::new(true, 1, 10, PAM) }]);
    // Nor does one that is certain.
    let mix = [Line { sound: true, ..failed }, Line { restarted: true, ..Line::new(true, 1, 10, PAM) }];
    assert_eq!(counted(&mix, true, &rules(), None).tallies["192.0.2.7"].iter().sum::<u8>(), 2);
}

/// A record counts though a forged one was like it before; and once, however often and by whom it is brought.
#[test]
fn a_forged_copy_hides_no_try() {
    let tried = Line { source: 0, ..Line::new(true, 0, 9, "Failed password for root from 192.0.2.7 port 22 ssh2") };
    let forged = Line { sound: false, ..tried.clone() };
    let elsewhere = |line: &Line| Line { source: 1, ..line.clone() };
    let mix = [forged.clone(), tried.clone(), forged.clone(), elsewhere(&forged), elsewhere(&tried), tried.clone()];
    check(&mix);
    let root = |mix: &[Line]| counted(mix, true, &rules(), None).tallies["192.0.2.7"].iter().sum::<u8>();
    assert_eq!(root(&mix), 1);
    // Equal lines whose stamps tell nothing apart are tries.
    let whole = Line { at: 0, ..tried };
    assert_eq!(root(&[whole.clone(), whole]), 2);
}

/// More than any bound holds: connections, logins, lines that wait, records that were brought before.
#[test]
fn a_forged_flood_pushes_nothing_certain_out() {
    let from = |number: usize| format!("10.{}.{}.{} port 22", number >> 16, number >> 8 & 255, number & 255);
    let sound = |seconds: i64, pid: u32, message: &str| Line { source: 0, ..Line::new(true, seconds, pid, message) };
    let tried = sound(0, 9, "Failed password for root from 192.0.2.7 port 22 ssh2");
    let mut mix = vec![
        sound(0, 8, "Accepted password for al from 192.0.2.8 port 22 ssh2"),
        tried.clone(),
        sound(0, 10, PAM),
        sound(0, 11, "Failed publickey for al from 192.0.2.9 port 22 ssh2: RSA SHA256:x"),
    ];
    for number in 0..101_000 {
        let message = match number % 16 {
            0 => PAM.replace("192.0.2.7", from(number).split(' ').next().unwrap()),
            1..=7 => format!("Accepted password for al from {} ssh2", from(number)),
            _ => format!("Failed password for root from {} ssh2", from(number)),
        };
        mix.push(Line { at: 2 + number as i64 % 9_000, ..Line::new(false, 0, 100 + number as u32, &message) });
        mix.last_mut().unwrap().source = 0;
    }
    mix.extend([
        tried,
        sound(3, 9, "Connection closed by authenticating user root 192.0.2.7 port 22 [preauth]"),
        sound(4, 12, "Connection closed by 192.0.2.8 port 22"),
        sound(5, 11, "Connection closed by authenticating user al 192.0.2.9 port 22 [preauth]"),
    ]);
    check(&mix);
}
