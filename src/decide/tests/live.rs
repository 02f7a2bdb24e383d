//! Where an administrator is logged in more is tolerated, until the end of the session is told.

use super::*;
use crate::decide::claim::Basis;
use crate::decide::live::{LIVE_FOR, LIVE_MAX, Spared};
use crate::decide::policy::Threshold;
use crate::decide::state::Bound;

/// What a world comes to of which the lines are told, each with its source, second of 10:00 and process:
/// `0 7 41 MESSAGE`.
fn world(lines: &str) -> World {
    let protected = [b"root".to_vec(), b"admin".to_vec()].into();
    let mut world = World::new(Policy { protected, probation: None, ..Policy::default() });
    tell(&mut world, lines);
    world
}

fn tell(world: &mut World, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let [source, second, pid, message] = [(); 4].map(|()| words.next().unwrap());
        let second: u32 = second.parse().unwrap();
        let stamp = format!("2026-11-20T10:{:02}:{:02}Z", second / 60, second % 60);
        world.lines(source.parse().unwrap(), &format!("{stamp} web sshd[{pid}]: {message}"));
    }
}

/// So many failures of a user from an address, each by a process of its own.
fn fails(source: usize, user: &str, address: &str, second: u32, n: u32) -> String {
    let one = |n| format!("{source} {second} {} Failed password for {user} from {address} port {n} ssh2\n", 1_000 + n);
    (second * 100..second * 100 + n).map(one).collect()
}

/// Of which class which prefix is denied, and who was told to be spared.
fn told(world: &World) -> String {
    let told = world.engine.changes.iter().filter_map(|change| match change {
        Change::Denied { prefix, claim, .. } => Some(format!("{prefix} denied by {}", claim.reason.count())),
        Change::Spared { spared, .. } => {
            let Spared { prefix, user, class, count, most, forgeable } = &**spared;
            let may_be = if *forgeable { ", perhaps" } else { "" };
            Some(format!("{prefix} spared for {} {} {count} of {most}{may_be}", user.escape_ascii(), class.name()))
        }
        _ => None,
    });
    told.collect::<Vec<_>>().join("; ")
}

const ROOT: &str = "0 1 41 Accepted publickey for root from 192.0.2.7 port 41 ssh2: RSA SHA256:x\n";

#[test]
fn who_was_logged_in_before_we_read_anything_is_known_of_the_machine() {
    let check = |address: &str, user: &str, n: u32, want: &str| {
        let mut world = world("");
        let address: std::net::IpAddr = address.parse().unwrap();
        let login = ((address.into(), user.as_bytes().into()), Timestamp(0));
        world.engine.policy.logins = [login].into();
        tell(&mut world, &fails(0, "root", "192.0.2.7", 5, n));
        assert_eq!(told(&world), want, "{address} {user}");
        world.engine.policy.logins.clear();
        tell(&mut world, &fails(0, "root", "192.0.2.7", 6, 1));
        assert!(told(&world).contains("192.0.2.7 denied by"), "it ends with the session");
    };
    let spared = "192.0.2.7 spared for root root 2 of 6";
    check("192.0.2.7", "root", 2, spared);
    check("192.0.2.7", "root", 6, spared);
    check("192.0.2.7", "root", 7, &format!("{spared}; 192.0.2.7 denied by 7"));
    check("192.0.2.7", "al", 2, "192.0.2.7 denied by 2");
    check("192.0.2.8", "root", 2, "192.0.2.7 denied by 2");
}

#[test]
fn a_root_who_is_logged_in_mistypes_and_is_only_warned_of() {
    let check = |lines: String, want: &str| assert_eq!(told(&world(&lines)), want, "{lines}");
    let spared = "192.0.2.7 spared for root root 2 of 6";
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 1), "");
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 2), spared);
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 6), spared);
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 7), &format!("{spared}; 192.0.2.7 denied by 7"));
    // Each class by its own threshold; twenty typos of a user are no reason.
    let al = "192.0.2.7 spared for root valid 11 of 33";
    check(ROOT.to_owned() + &fails(0, "al", "192.0.2.7", 5, 20), al);
    check(ROOT.to_owned() + &fails(0, "al", "192.0.2.7", 5, 34), &format!("{al}; 192.0.2.7 denied by 34"));
    // Another address is another one's, and so is another user.
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.8", 5, 2), "192.0.2.8 denied by 2");
    check(ROOT.replace("root", "al") + &fails(0, "root", "192.0.2.7", 5, 2), "192.0.2.7 denied by 2");
    let admin = "192.0.2.7 spared for admin root 2 of 6";
    check(ROOT.replace("root", "admin") + &fails(0, "root", "192.0.2.7", 5, 2), admin);
    // What shares a /64 with it would be hit as well.
    let six = ROOT.replace("192.0.2.7", "2001:db8::7") + &fails(0, "root", "2001:db8::8", 5, 2);
    check(six, "2001:db8::/64 spared for root root 2 of 6");
}

#[test]
fn whoever_told_of_it_the_end_is_the_end() {
    let check = |end: &str, is_over: bool| {
        let world = world(&(ROOT.to_owned() + "0 3 " + end + "\n" + &fails(0, "root", "192.0.2.7", 5, 2)));
        let want = if is_over { "192.0.2.7 denied by 2" } else { "192.0.2.7 spared for root root 2 of 6" };
        let is_open = world.engine.state.live.iter().any(|(_, session)| *session.user == *b"root");
        assert_eq!((told(&world).as_str(), is_open), (want, !is_over), "{end}");
    };
    check("41 pam_unix(sshd:session): session closed for user root", true);
    check("41 (pam_unix) session closed for user root", true);
    for end in [
        "Received disconnect from 192.0.2.7 port 41:11: disconnected by user",
        "Disconnected from user root 192.0.2.7 port 41",
        "Connection closed by 192.0.2.7 port 41",
        "Connection reset by 192.0.2.7 port 41",
        "Timeout, client not responding from user root 192.0.2.7 port 41",
    ] {
        check(&format!("43 {end}"), true);
        check(&format!("43 {}", end.replace("port 41", "port 42")), false);
        check(&format!("43 {}", end.replace("192.0.2.7", "192.0.2.8")), false);
    }
    check("42 pam_unix(sshd:session): session closed for user root", false);
    check("41 pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)", false);
    check("42 Connection closed by 192.0.2.7 port 42 [preauth]", false);
    // Its process' number, or its port, is another login's by now.
    check("41 Accepted password for al from 192.0.2.8 port 9 ssh2", true);
    check("42 Accepted password for al from 192.0.2.7 port 41 ssh2", true);
    check("42 Accepted password for al from 192.0.2.7 port 42 ssh2", false);
}

#[test]
fn a_number_that_is_used_again_ends_what_had_it() {
    let again = "0 3 41 Accepted password for root from 192.0.2.8 port 9 ssh2\n";
    let world = world(&(ROOT.to_owned() + again));
    let known: Vec<_> = world.engine.state.live.iter().map(|((peer, ..), _)| peer.to_string()).collect();
    assert_eq!(known, ["192.0.2.8"]);
}

#[test]
fn strangers_open_no_session_end_none_and_lock_nobody_out() {
    let (closed, two) =
        ("1 3 41 pam_unix(sshd:session): session closed for user root\n", fails(0, "root", "192.0.2.7", 5, 2));
    assert_eq!(told(&world(&(ROOT.replacen('0', "1", 1) + &two))), "192.0.2.7 denied by 2");
    let spared = "192.0.2.7 spared for root root 2 of 6";
    let ended = closed.to_owned() + "1 3 43 Disconnected from user root 192.0.2.7 port 41\n";
    assert_eq!(told(&world(&(ROOT.to_owned() + &ended + &two))), spared);
    // However many failures may be made up.
    let forged = ROOT.to_owned() + &fails(1, "root", "192.0.2.7", 5, 50);
    assert_eq!(told(&world(&forged)), format!("{spared}, perhaps"));
    assert_eq!(
        told(&world(&(forged + &fails(0, "root", "192.0.2.7", 6, 7)))),
        format!("{spared}, perhaps; 192.0.2.7 denied by 57")
    );
}

/// 255 may be more, and is not always more than three times a large threshold.
#[test]
fn a_large_threshold_is_three_times_as_large_too() {
    let mut policy = Policy { probation: None, ..Policy::default() };
    policy.thresholds[Class::Root as usize] = Some(Threshold(99));
    let denied = |failures: u32| {
        let mut world = World::new(policy.clone());
        tell(&mut world, &(ROOT.to_owned() + &many(failures)));
        !world.engine.state.denies.is_empty()
    };
    assert_eq!((denied(300), denied(301)), (false, true));
}

/// So many failures of root in one second, each by a process of its own.
fn many(n: u32) -> String {
    (1..=n).map(|n| format!("0 5 {} Failed password for root from 192.0.2.7 port {n} ssh2\n", 2_000 + n)).collect()
}

/// A machine that knows of a session does not know that it was guessed.
#[test]
fn a_guess_makes_no_guest_by_what_the_machine_tells() {
    let login = |second: i64| {
        let peer: std::net::IpAddr = "192.0.2.7".parse().unwrap();
        ((peer.into(), (&b"root"[..]).into()), Timestamp::from_secs(1_795_168_800 + second))
    };
    let guess = ROOT.replacen("0 1 ", "0 9 ", 1);
    let next = guess.replace("41", "42").replacen("0 9 ", "0 99 ", 1);
    // The machine tells after the record, and before it.
    for is_first in [false, true] {
        let mut world = world(&fails(0, "root", "192.0.2.7", 5, 1));
        if !is_first {
            tell(&mut world, &fails(0, "root", "192.0.2.7", 6, 1));
            tell(&mut world, &guess);
        }
        world.engine.set_logins([login(9)].into());
        if is_first {
            tell(&mut world, &fails(0, "root", "192.0.2.7", 6, 1));
            tell(&mut world, &guess);
        }
        assert!(world.engine.state.denies.len() == 1 && world.engine.policy.logins.is_empty(), "{}", told(&world));
        world.engine.set_logins([login(9)].into());
        tell(&mut world, &next);
        assert!(world.engine.state.live.is_empty(), "{}", told(&world));
    }
    // Who was there before is a guest.
    let mut world = world("");
    world.engine.set_logins([login(4)].into());
    tell(&mut world, &(fails(0, "root", "192.0.2.7", 5, 2) + &guess));
    assert_eq!((world.engine.state.denies.len(), world.engine.state.live.len()), (0, 1));
}

/// Who guessed until it fitted keeps no connection, whosever account it is; unless somebody is spared there.
#[test]
fn a_guess_opens_no_session() {
    let check = |lines: String, want: &[&str]| {
        let world = world(&lines);
        let users = world.engine.state.live.iter().map(|(_, session)| session.user.escape_ascii().to_string());
        assert_eq!(users.collect::<Vec<_>>(), want, "{lines}");
    };
    let root = ROOT.replacen("0 1 ", "0 9 ", 1);
    let al = "0 9 42 Accepted password for al from 192.0.2.7 port 42 ssh2\n";
    check(al.to_owned() + &root, &["root", "al"]);
    check(fails(0, "root", "192.0.2.7", 5, 2) + &root, &[]);
    check(fails(0, "root", "192.0.2.7", 5, 2) + al, &[]);
    check(fails(1, "root", "192.0.2.7", 5, 2) + al, &["al"]);
    check(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 2) + al, &["root", "al"]);
}

#[test]
fn who_is_spared_is_shown_until_the_end() {
    let mut world = world(&(ROOT.to_owned() + &fails(0, "root", "192.0.2.7", 5, 3)));
    let shown = |world: &World| world.engine.spared().iter().map(|one| one.count).collect::<Vec<_>>();
    assert_eq!(shown(&world), [3]);
    tell(&mut world, "0 7 41 pam_unix(sshd:session): session closed for user root");
    assert!(shown(&world).is_empty());
    tell(&mut world, &fails(0, "root", "192.0.2.7", 9, 1));
    assert_eq!(told(&world), "192.0.2.7 spared for root root 2 of 6; 192.0.2.7 denied by 4");
}

#[test]
fn sessions_are_bounded_and_end_after_a_month_without_a_word() {
    let mut world = world("");
    let line = |n: usize| {
        format!("0 {} {n} Accepted password for root from 10.1.{}.{} port 9 ssh2\n", n / 100, n / 250, n % 250)
    };
    (1..=LIVE_MAX + 10).for_each(|n| tell(&mut world, &line(n)));
    assert_eq!((world.engine.state.live.len(), world.engine.state.untold(Bound::Live)), (LIVE_MAX, 10));
    // Any user may open many: those of others go first.
    let root = "0 70 20000 Accepted password for root from 10.2.0.1 port 9 ssh2\n";
    tell(&mut world, root);
    (5_000..10_000).for_each(|n| tell(&mut world, &line(n).replace("root", "al").replace("10.1.", "10.3.")));
    let roots = world.engine.state.live.iter().filter(|(_, session)| *session.user == *b"root").count();
    assert_eq!((world.engine.state.live.len(), roots), (LIVE_MAX, LIVE_MAX - 1), "of root alone");
    let within = |at: Timestamp| world.engine.state.live.within(&"10.1.1.0".parse().unwrap(), at).count();
    let since = Timestamp::from_secs(1_795_168_802); // 2026-11-20T10:00:02Z
    assert_eq!((within(since), within(since.after(LIVE_FOR))), (1, 0));
}

#[test]
fn a_scan_denies_nobody_who_is_spared() {
    let check = |basis: Basis, count: u32, want: bool| {
        let mut world = world(ROOT);
        let reason = Reason::Policy { class: Class::Root, count, threshold: 1, basis, parts: 0, probation: false };
        let prefix: Prefix = "192.0.2.7".parse().unwrap();
        let claim = Claim { since: RECEIVED, until: None, reason, enforceable: true };
        world.engine.step(RECEIVED, Input::Claim { prefix, by: Claimant::Policy, claim });
        assert_eq!(world.engine.state.denies.contains_key(&prefix), want, "{basis:?} {count}");
    };
    check(Basis::Sound, 6, false);
    check(Basis::Sound, 7, true);
    check(Basis::Forgeable, 7, false);
}
