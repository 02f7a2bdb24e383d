//! What may be forged moves nothing that is certain: what is counted as sound from all lines is what is counted from the
//! sound lines alone. Over generated mixes of both.

use std::collections::BTreeMap;

use denyd::decide::engine::{Engine, Input};
use denyd::decide::policy::Policy;
use denyd::decide::session::{HostId, Trust};
use denyd::detect::detect;
use denyd::detect::rule::{Draft, Rule, Rules};
use inputs::record::{Record, SourceId, Timestamp};
use kit::Random;

/// Mixes that are generated, times `DENYD_LONG`.
const MIXES: usize = 100_000;
/// Where the mixes begin: 2026-11-01T00:00:00Z.
const BEGIN: i64 = 1_793_491_200;

/// What one line of a mix is: a message by a process, so many seconds behind the line before.
#[derive(Clone, Debug)]
struct Line {
    sound: bool,
    source: u16,
    seconds: i64,
    identifier: &'static str,
    pid: Option<u32>,
    message: String,
    /// We are restarted before it.
    restarted: bool,
}

impl Line {
    fn new(sound: bool, seconds: i64, pid: u32, message: &str) -> Self {
        let message = message.to_owned();
        Line {
            sound,
            source: u16::from(!sound),
            seconds,
            identifier: "sshd",
            pid: Some(pid),
            message,
            restarted: false,
        }
    }
}

/// What sshd, PAM, and a mail server say: all that joins connections, ends them, and hides one account behind another.
fn line(random: &mut Random) -> Line {
    let address = random.pick(&["192.0.2.7", "192.0.2.8"]);
    let user = random.pick(&["root", "al"]);
    let port = random.pick(&["", " port 22", " port 23"]);
    let from = format!("{address}{port}");
    let pam = format!("authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user={user}");
    let (mut identifier, mut pid) = ("sshd", [None, Some(9), Some(9), Some(9), Some(10), Some(10)][random.below(6)]);
    let message = match random.below(18) {
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
        16 => {
            (identifier, pid) = ("imapd", Some(9));
            format!("{user} from {address} failed")
        }
        _ => "Server listening on 0.0.0.0 port 22.".to_owned(),
    };
    Line {
        sound: random.below(3) > 0,
        source: random.below(2) as u16,
        seconds: [0, 0, 1, 1, 5, 12, -3, 140, 1_200][random.below(9)],
        identifier,
        pid,
        message,
        restarted: random.one_in(16),
    }
}

fn rules() -> Rules {
    let draft = Draft {
        name: "imap".to_owned(),
        identifiers: vec!["imapd".to_owned()],
        pattern: "^(?P<user>.*) from (?P<addr>[0-9.]+) failed$".to_owned(),
        ..Draft::default()
    };
    let mut rules = Rules::default();
    rules.add(Rule::compile(draft).unwrap()).unwrap();
    rules
}

/// What is counted as sound: by prefix and class in the end, and in all behind each sound line.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    tallies: BTreeMap<String, [u8; 5]>,
    behind: Vec<u32>,
}

/// Folds the sound lines of a mix, or all of them.
fn counted(mix: &[Line], forged_too: bool, rules: &Rules) -> Counted {
    let policy = Policy { thresholds: [None; 5], age_reset: [None; 5], ..Policy::default() };
    let (mut engine, mut counted, mut kept) = (Engine::new(policy), Vec::new(), Kept::default());
    engine.state.sessions.track_changes();
    let (mut at, received) = (BEGIN, Timestamp::from_secs(BEGIN + 365 * 86_400));
    for line in mix {
        at += line.seconds;
        if line.restarted {
            kept.restart(&mut engine);
        }
        if !line.sound && !forged_too {
            continue;
        }
        let record = Record {
            // Of one source some lines may be sound and some not, as in the journal.
            source: SourceId(line.source),
            received,
            event: Some(Timestamp::from_secs(at)),
            pid: line.pid,
            ..Record::of(line.identifier.as_bytes(), line.message.as_bytes())
        };
        let event = detect(&record, rules).unwrap();
        let trust = if line.sound { Trust::Sound } else { Trust::Forgeable };
        engine.changes.clear();
        engine.step(received, Input::Record { record: &record, host: HostId(0), event: &event, trust });
        if line.sound {
            counted.push(
                engine.state.tallies.iter().map(|(_, tally)| tally.sound.map(u32::from).iter().sum::<u32>()).sum(),
            );
        }
    }
    engine.step(received, Input::End);
    let tallies = engine.state.tallies.iter().filter(|(_, tally)| tally.sound != [0; 5]);
    let tallies = tallies.map(|(prefix, tally)| (prefix.to_string(), tally.sound)).collect();
    Counted { tallies, behind: counted }
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
    assert_eq!(counted(mix, true, &rules), counted(mix, false, &rules));
}

#[test]
fn what_may_be_forged_moves_nothing_certain() {
    let rules = rules();
    kit::property("worlds", (MIXES * kit::longer()) as u32, |random| {
        let mix: Vec<_> = (0..3 + random.below(8)).map(|_| line(random)).collect();
        let [all, sound] = [true, false].map(|all| counted(&mix, all, &rules));
        if all != sound {
            let lines: Vec<_> = mix.iter().map(|line| format!("{line:?}")).collect();
            panic!("{}\nfrom all lines   {all:?}\nfrom sound lines {sound:?}", lines.join("\n"));
        }
    });
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
    assert_eq!(counted(&mix, true, &rules()).tallies["192.0.2.7"].iter().sum::<u8>(), 2);
}
