use super::*;

/// So many records of a second each: of sshd as known, of it as unknown, or with these messages.
fn tell(sight: &mut Sight, times: u32, program: &str, message: &str) {
    for _ in 0..times {
        let record = Record::of(program.as_bytes(), message.as_bytes());
        match program {
            "sshd" => sight.know(&record, message != "?", true),
            "rule" if message == "known" => sight.know_by_rule(&record),
            _ => _ = sight.miss(&record, program == "rule"),
        }
    }
}

#[test]
fn the_example_is_a_line_that_looks_like_a_services() {
    let check = |messages: &[&str], want: Option<&str>, marked| {
        let mut sight = Sight::default();
        messages.iter().for_each(|message| tell(&mut sight, 1, "", message));
        assert_eq!(sight.example(), want.map(|want| (want.as_bytes(), marked)), "{messages:?}");
    };
    check(&[], None, false);
    check(&["", "a", "b"], Some("a"), false);
    check(&["a", "x sshd[1] y", "z sshd: b"], Some("x sshd[1] y"), true);
    check(&["a", "dropbear[1]"], Some("dropbear[1]"), true);
    check(&["a h sshd-session[1]: x"], Some("a h sshd-session[1]: x"), true);
    check(&["ddd", "a sshd", "", "Failed password for root"], Some("Failed password for root"), true);
    let long = "x".repeat(1_000);
    check(&[&long], Some(&long[..300]), false);
}

#[test]
fn how_a_source_is_blind() {
    let check = |told: &[(u32, &str, &str)], want: Option<(&str, &str)>| {
        let mut sight = Sight::default();
        told.iter().for_each(|(times, program, message)| tell(&mut sight, *times, program, message));
        let blind = sight.blind();
        let found = blind.as_ref().map(|blind| (blind.what.as_str(), blind.line.as_str()));
        assert_eq!(found, want, "{told:?}");
    };
    let odd = "?? h sshd[1]: x\u{1b}";
    let nothing = "nothing is understood, though sshd or dropbear may have written this";
    check(&[(1_000, "cron", "x")], None);
    check(&[(1, "", odd)], Some((nothing, "?? h sshd[1]: x\\x1b")));
    check(&[(1, "", odd), (1, "sshd", "x")], None);
    // What sshd itself wrote and nobody understands is no better.
    let unfit = "sshd or dropbear wrote 10 records, and none was understood, as this one";
    check(&[(9, "sshd", "?")], None);
    check(&[(10, "sshd", "?")], Some((unfit, "?")));
    check(&[(10, "sshd", "?"), (1, "sshd", "x"), (100, "sshd", "?")], None);
    check(&[(1, "sshd", "?"), (1, "", odd)], Some((nothing, "?? h sshd[1]: x\\x1b")));
    // One that is understood does not speak for two hundred that are not, nor do as many of others.
    let none = "of the last 200 records that may be sshd's or dropbear's, none was understood, as this one";
    check(&[(1, "sshd", "x"), (199, "", odd)], None);
    check(&[(200, "", odd)], Some((none, "?? h sshd[1]: x\\x1b")));
    let fallen = |now, before| {
        format!(
            "of the last 200 records that may be sshd's or dropbear's, {now} % were understood, and {before} % in the seven \
             days before, as not this one"
        )
    };
    check(
        &[(200, "sshd", "x"), (40, "sshd", "x"), (1_000, "cron", "x"), (160, "", odd)],
        Some((&fallen(20, 100), "?? h sshd[1]: x\\x1b")),
    );
    check(&[(200, "sshd", "x"), (50, "sshd", "x"), (150, "sshd", "?")], Some((&fallen(25, 100), "?")));
    check(&[(200, "sshd", "x"), (100, "sshd", "x"), (100, "", odd)], None);
    // It is over when two hundred are better.
    check(&[(200, "sshd", "x"), (200, "", odd), (200, "sshd", "x")], None);
    check(&[(199, "", "x")], None);
    check(&[(200, "", "x")], Some(("the last 200 records have no header that is known, as this one", "x")));
    check(&[(200, "", "x"), (1, "cron", "x")], None);
}

#[test]
fn of_a_log_that_has_ended_each_record_has_its_weight() {
    let check = |told: &[(u32, &str, &str)], want: bool| {
        let mut sight = Sight::default();
        told.iter().for_each(|(times, program, message)| tell(&mut sight, *times, program, message));
        assert_eq!(sight.blind_at_end().is_some(), want, "{told:?}");
    };
    check(&[(1, "cron", "x")], false);
    check(&[(1, "sshd", "?")], true);
    check(&[(1, "sshd", "?"), (1, "sshd", "x")], false);
}

#[test]
fn what_journalctl_prints_is_told_by_a_field_of_it() {
    let check = |lines: &[&str], want: &str| {
        let mut sight = Sight::default();
        lines.iter().for_each(|line| tell(&mut sight, 100, "", line));
        let blind = sight.blind().unwrap();
        assert!(blind.remedy.contains(want), "{blind:?}");
    };
    check(&["{", "\"PRIORITY\" : \"6\","], "`journalctl -o json-pretty`");
    check(&["Sat 2026-11-21 23:26:32.123456 UTC [s=1;i=2]", "_UID=0"], "`journalctl -o verbose`");
    check(&["Failed password for root from 192.0.2.7 port 22 ssh2"], "`journalctl -o cat`");
    check(&["a", "b"], "denyd explain");
}

#[test]
fn a_rule_that_finds_nothing_where_there_are_failures() {
    let check = |told: &[(u32, &str)], want: bool| {
        let mut sight = Sight::default();
        told.iter().for_each(|(times, message)| tell(&mut sight, *times, "rule", message));
        assert_eq!(sight.blind().is_some(), want, "{told:?}");
    };
    check(&[(1_000, "Login: user=<bob>")], false);
    check(&[(9, "auth failed")], false);
    check(&[(10, "auth failed")], true);
    check(&[(10, "auth failed"), (1, "known")], false);
}

#[test]
fn one_warning_a_day() {
    let mut sight = Sight::default();
    let mut check = |program: &str, message: &str, hours: i64, want| {
        tell(&mut sight, 1, program, message);
        assert_eq!(sight.warns(Timestamp::from_secs(hours * 3_600)).is_some(), want, "{message} {hours}");
    };
    check("", "x", 0, false);
    check("", "h sshd[1] x", 1, true);
    check("", "x", 24, false);
    check("", "x", 25, true);
    check("sshd", "x", 50, false);
}

#[test]
fn the_look_has_an_end() {
    let check = |understood: u32, looked_at: u32| {
        let mut sight = Sight::default();
        tell(&mut sight, understood, "sshd", "x");
        tell(&mut sight, looked_at - 1, "cron", "x");
        tell(&mut sight, 2, "cron", "h sshd[1]");
        assert_eq!(sight.odd, 1, "{understood}");
        sight.rest();
        tell(&mut sight, 1, "cron", "h sshd[1]");
        assert_eq!(sight.odd, 2, "{understood}");
    };
    check(0, LOOKED_AT);
    check(1, LOOKED_AT);
}
