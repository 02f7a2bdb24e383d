//! A slow attack by many, as an administrator meets it: told once, over a restart, in history, status and why; and denied
//! where the configuration says so.

use std::time::Duration;

use kit::Home;

/// Addresses that try, each once a day.
const ATTACKERS: u32 = 150;

fn home(waves: &str) -> Home {
    let input = "[[input]]\nkind = \"file\"\npath = \"DIR/log\"\nfirst_read = \"beginning\"\ntimezone = \"UTC\"\n";
    let home = Home::new(&format!("decide.waves = \"{waves}\"\n{input}"));
    home.append(b"");
    home
}

/// A failure of each attacker a second, from a time on; and what somebody does who is none.
fn day(from: jiff::Timestamp, honest: &[&str]) -> String {
    let line = |second: u32, says: &str| {
        let at = from + Duration::from_secs(second.into());
        format!("{at} web{} sshd[{}]: {says} port 22 ssh2\n", second % 5, 100 + second)
    };
    let attacks = (0..ATTACKERS).map(|n| line(n, &format!("Failed password for invalid user admin from 192.0.2.{n}")));
    let others = honest.iter().enumerate().map(|(n, says)| line(ATTACKERS + n as u32, says));
    attacks.chain(others).collect()
}

/// Both days with a kill between them; how many are denied, and the decisions about waves.
#[track_caller]
fn check(waves: &str, denied: usize, told: usize) {
    let home = home(waves);
    let now = kit::now();
    let [before, then] = [26 * 3_600, 600].map(|ago| now - Duration::from_secs(ago));
    let mistyped = "Failed password for invalid user admin from 198.51.100.7";
    home.append(day(before, &[mistyped, mistyped, "Accepted password for al from 198.51.100.7"]).as_bytes());
    let daemon = home.start();
    daemon.caught_up();
    // What was read is committed with the cursor, which the history shows.
    kit::until("the wave is told", || (home.history().len() >= told).then_some(()));
    daemon.kill();
    home.append(day(then, &[mistyped]).as_bytes());
    let daemon = home.start();
    daemon.caught_up();
    let listed = home.ask(&["list"]).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), denied, "{listed}");
    let waves: Vec<_> = home.history().into_iter().filter(|one| one["decision"] == "wave").collect();
    assert_eq!(waves.len(), told, "{waves:?}");
    let status = home.ask(&["status"]).unwrap();
    let why = |address: &str| home.ask(&["why", address]).unwrap();
    if told > 0 {
        let wave = &waves[0];
        assert_eq!((&wave["user"], &wave["addresses"], &wave["over"]), (&"admin".into(), &128.into(), &false.into()));
        let wave = &status["waves"][0];
        assert_eq!(
            (&wave["user"], &wave["addresses"], &wave["hosts"]),
            (&"admin".into(), &ATTACKERS.into(), &5.into())
        );
        let one = why("192.0.2.7");
        assert_eq!((&one["waves"][0]["user"], &one["occasions"]), (&"admin".into(), &2.into()), "{one}");
        assert!(why("198.51.100.7")["waves"].is_null());
        let line = format!("{}", home.stderr().matches("a wave: a slow attack by many addresses").count());
        assert_eq!(line, "1", "it is logged once: {}", home.stderr());
    }
    let screen = |arguments: &[&str]| {
        let output = home.denyd(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if denied > 0 {
        let why = screen(&["why", "192.0.2.7"]);
        assert!(why.contains("it takes part in a wave on admin: one of 150 addresses that tried admin"), "{why}");
        let history = screen(&["history", "192.0.2.7"]);
        assert!(history.contains("2 failures of class valid, part of a wave on admin"), "{history}");
    }
    if told > 0 {
        let status = screen(&["status"]);
        assert!(status.contains("150 addresses tried admin on 5 hosts, a few times each"), "{status}");
    }
    daemon.stop();
}

#[test]
fn it_is_reported() {
    check("report", 0, 1);
}

#[test]
fn who_takes_part_is_denied() {
    check("deny", ATTACKERS as usize, 1);
}

#[test]
fn nobody_looks_for_it() {
    check("off", 0, 0);
}
