//! What a stranger can grow is bounded, in either world.

use std::net::Ipv4Addr;

use super::*;
use crate::decide::session::Trust;
use crate::decide::session::line::{SESSIONS_MAX, WAITING_MAX};
use crate::decide::state::{Bound, DENIES_MAX, FORGEABLE_DENIES_MAX, HOSTS_MAX, USERS_MAX};
use crate::decide::tally::FORGEABLE_TRACKED_MAX;

/// So many processes of the host, each with a line about an address of its own.
fn processes(world: &mut World, source: usize, pids: std::ops::Range<usize>, says: impl Fn(Ipv4Addr) -> String) {
    for first in pids.clone().step_by(1_000) {
        let lines = (first..pids.end.min(first + 1_000))
            .map(|pid| (pid, says(Ipv4Addr::from_bits(0x0a00_0000 + pid as u32))))
            .map(|(pid, says)| format!("2026-11-20T10:00:{:02}Z web sshd[{pid}]: {says}\n", pid * 60 / 1_000_000));
        world.lines(source, &lines.collect::<String>());
    }
}

#[test]
fn what_is_copied_into_the_other_world_fits_its_bound() {
    let mut world = World::new(Policy::default());
    // Again for some that came when there was no room.
    for pids in [1..SESSIONS_MAX + 1, SESSIONS_MAX + 1..SESSIONS_MAX + 1_001] {
        processes(&mut world, 0, pids.clone(), |peer| format!("Invalid user x from {peer} port 22"));
        processes(&mut world, 1, pids, |peer| format!("Received disconnect from {peer} port 22:11: Bye"));
    }
    let sessions = &world.engine.state.sessions;
    assert_eq!((sessions.len(), sessions.evicted()), (2 * SESSIONS_MAX, 2_000));
}

#[test]
fn connections_that_have_one_number_fit_the_bound() {
    let mut world = World::new(Policy::default());
    let says = |peer: usize| {
        let peer = Ipv4Addr::from_bits(0x0a00_0000 + peer as u32);
        format!("2026-11-20T10:00:{:02}Z web sshd[9]: Invalid user x from {peer} port 22\n", peer.octets()[1])
    };
    world.lines(0, &(0..SESSIONS_MAX + 1_000).map(says).collect::<String>());
    let sessions = &world.engine.state.sessions;
    assert_eq!((sessions.len(), sessions.evicted()), (SESSIONS_MAX, 1_000));
    // The last is known by the number, those before it by their addresses.
    let last = says(SESSIONS_MAX - 1);
    let before = world.engine.state.tallies.len();
    world.lines(0, &last.replace("Invalid user x", "Failed password for invalid user x").replace("22\n", "22 ssh2\n"));
    assert_eq!(world.engine.state.tallies.len(), before);
    assert_eq!(world.counts.attempts as usize, SESSIONS_MAX + 1_000, "it had its attempt");
}

/// Stored, and taken back, two connections of one number stay two.
#[test]
fn connections_that_have_one_number_outlast_a_restart() {
    let mut world = World::new(Policy::default());
    world.engine.state.sessions.track_changes();
    let line = |second: u32, says: &str, peer: u32| {
        format!("2026-11-20T10:00:{second:02}Z web sshd[9]: {says} invalid user x from 192.0.2.{peer} port 22 ssh2\n")
    };
    for second in 0..3 {
        for peer in [7, 8] {
            world.lines(0, &line(second, "Failed password for", peer));
        }
        let sessions = &mut world.engine.state.sessions;
        let kept = sessions.take_changes().into_iter().filter_map(|(key, kept)| Some((key, kept?))).collect();
        let waiting = sessions.waiting();
        *sessions = Default::default();
        sessions.restore(kept, waiting);
        sessions.track_changes();
    }
    assert_eq!((world.counts.attempts, world.engine.state.sessions.len()), (6, 2));
}

#[test]
fn a_login_is_remembered_once_over_a_restart() {
    let mut world = World::new(Policy::default());
    world.engine.state.sessions.track_changes();
    let login = |minute: u32, pid: &str, port: u32| {
        format!(
            "2026-11-20T10:{minute:02}:00Z web sshd{pid}: Accepted password for al from 192.0.2.7 port {port} ssh2\n"
        )
    };
    // One with a process, one of which nothing but the port is known, and one whose connection is forgotten since.
    world.lines(0, &(login(0, "[9]", 21) + &login(40, "[10]", 22) + &login(41, "", 23)));
    let sessions = &mut world.engine.state.sessions;
    let (before, waiting) = (sessions.len(), sessions.waiting());
    let kept = sessions.take_changes().into_iter().filter_map(|(key, kept)| Some((key, kept?))).collect();
    *sessions = Default::default();
    sessions.restore(kept, waiting);
    assert_eq!((before, sessions.len()), (5, 5));
    let ends = "2026-11-20T10:50:00Z web sshd[11]: Connection closed by 192.0.2.7 port 21\n
        2026-11-20T10:50:00Z web sshd[11]: Connection closed by 192.0.2.7 port 22\n
        2026-11-20T10:50:00Z web sshd: Connection closed by 192.0.2.7 port 23\n";
    world.lines(0, ends);
    assert_eq!(world.counts.probes, 0, "they end logins");
}

/// An attempt of its own address and user, so often.
fn attempt(engine: &mut Engine, number: usize, times: u32, trust: Trust) {
    let peer = IpAddr::from(Ipv4Addr::from_bits(0x1400_0000 + number as u32)).into();
    let user = format!("u{number}").into_bytes();
    let host = engine.host(&user, trust);
    let classes = Classes::of(&user, Account::Unknown, &engine.policy);
    let prefix = engine.policy.prefix(peer);
    let at = Timestamp::from_secs(1_793_494_800);
    let sound = if trust == Trust::Sound { times } else { 0 };
    let (source, account) = (SourceId(0), Account::Unknown);
    let user = user.into();
    let from = at;
    let attempt = Attempt { peer, prefix, host, source, at, from, user, account, classes, times, sound };
    engine.step(at, Input::Attempt(attempt));
    engine.changes.clear();
}

/// A flood of what may be forged, of `times` failures each, fills its room of what `len` counts, is counted beyond it,
/// and leaves what was there before.
fn check_room(times: u32, flood: usize, bound: Bound, len: fn(&State) -> usize, room: usize) {
    const BEFORE: usize = 100;
    let mut engine = Engine::new(Policy { reset_on_success: true, ..Policy::default() });
    (0..BEFORE).for_each(|number| attempt(&mut engine, number, times, Trust::Sound));
    let known = |state: &State, number: usize| {
        let prefix = Prefix::host(Ipv4Addr::from_bits(0x1400_0000 + number as u32));
        let name = format!("u{number}");
        let (user, host) = (state.user(name.as_bytes()), state.hosts.get_index_of(name.as_bytes()));
        (state.tallies.get(&prefix).copied(), state.denies.get(&prefix).cloned(), user, host)
    };
    let before: Vec<_> = (0..BEFORE).map(|number| known(&engine.state, number)).collect();
    (0..flood).for_each(|number| attempt(&mut engine, 1_000_000 + number, times, Trust::Forgeable));
    let after: Vec<_> = (0..BEFORE).map(|number| known(&engine.state, number)).collect();
    assert_eq!(after, before, "{bound:?}");
    assert_eq!((len(&engine.state), engine.state.shares.len()), (room, BEFORE), "{bound:?}");
    assert!(engine.state.untold(bound) > 0, "{bound:?}");
    // What is sound finds room.
    attempt(&mut engine, BEFORE, times, Trust::Sound);
    assert_eq!(len(&engine.state), room + 1, "{bound:?}");
}

#[test]
fn what_may_be_forged_has_a_room_of_its_own_and_takes_none_of_what_is_sound() {
    let tallies = |state: &State| state.tallies.len();
    check_room(1, FORGEABLE_TRACKED_MAX + 1_000, Bound::Tallies, tallies, 100 + FORGEABLE_TRACKED_MAX);
    check_room(1, 2_000, Bound::Users, |state| state.users.len(), USERS_MAX / 16);
    check_room(1, 2_000, Bound::Hosts, |state| state.hosts.len(), HOSTS_MAX / 16);
    let denies = |state: &State| state.denies.len();
    check_room(99, FORGEABLE_DENIES_MAX + 1_000, Bound::Denies, denies, 100 + FORGEABLE_DENIES_MAX);
}

#[test]
fn counts_that_become_certain_change_the_room() {
    let mut engine = Engine::default();
    for number in 0..FORGEABLE_TRACKED_MAX {
        attempt(&mut engine, number, 1, Trust::Forgeable);
    }
    attempt(&mut engine, 7, 1, Trust::Sound);
    attempt(&mut engine, FORGEABLE_TRACKED_MAX, 1, Trust::Forgeable);
    let state = &engine.state;
    assert_eq!((state.tallies.len(), state.untold(Bound::Tallies)), (FORGEABLE_TRACKED_MAX + 1, 0));
    let prefix = Prefix::host(Ipv4Addr::from_bits(0x1400_0007));
    let tally = state.tallies.get(&prefix).unwrap();
    assert_eq!((tally.failures(), tally.certain().failures()), (2, 1));
    for number in 0..FORGEABLE_TRACKED_MAX {
        attempt(&mut engine, 1_000_000 + number, 1, Trust::Forgeable);
    }
    assert!(engine.state.tallies.get(&prefix).is_some(), "no flood pushes it out now");
}

#[test]
fn at_the_bound_a_deny_that_is_certain_takes_the_room_of_one_that_is_not() {
    let hour = Some(std::time::Duration::from_secs(3_600));
    let mut engine = Engine::new(Policy { deny_for: hour, ..Policy::default() });
    attempt(&mut engine, 1, 99, Trust::Forgeable);
    // Its deny would last no longer, so it stays one that was not certain.
    attempt(&mut engine, 1, 50, Trust::Sound);
    let reason = Reason::Operator { because: None };
    let claim = Claim { since: Timestamp(1), until: None, reason, enforceable: true };
    for number in 0..DENIES_MAX as u32 - 1 {
        let (prefix, by) = (Prefix::host(Ipv4Addr::from_bits(0x1500_0000 + number)), Claimant::Operator);
        engine.state.apply(&Change::Denied { prefix, by, claim: claim.clone() });
    }
    let denied = |engine: &Engine, number: u32| {
        engine.state.denies.contains_key(&Prefix::host(Ipv4Addr::from_bits(0x1400_0000 + number)))
    };
    attempt(&mut engine, 2, 99, Trust::Forgeable);
    assert_eq!([denied(&engine, 1), denied(&engine, 2)], [true, false], "there is no room");
    attempt(&mut engine, 3, 99, Trust::Sound);
    assert_eq!([denied(&engine, 1), denied(&engine, 3)], [false, true]);
    let tally = engine.state.tallies.get(&Prefix::host(Ipv4Addr::from_bits(0x1400_0001))).unwrap();
    assert_eq!(
        (tally.failures(), tally.certain().failures()),
        (50, 50),
        "it served nothing, and what is certain stays"
    );
    attempt(&mut engine, 4, 99, Trust::Sound);
    assert!(!denied(&engine, 4), "and now there is none at all");
    assert_eq!((engine.state.denies.len(), engine.state.untold(Bound::Denies)), (DENIES_MAX, 3));
}

/// A time so many seconds behind 10:00.
fn at(second: usize) -> String {
    format!("2026-11-20T10:{:02}:{:02}Z", second / 60, second % 60)
}

/// What a module of PAM tells of an address, by a process of its own.
fn pam(second: usize, pid: usize, peer: impl std::fmt::Display) -> String {
    let failure = "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost";
    format!("{} web sshd[{pid}]: pam_unix(sshd:auth): {failure}={peer}  user=al\n", at(second))
}

/// sshd lets in by LDAP, later, whom pam_unix had refused.
fn login(second: usize, pid: usize) -> String {
    format!("{} web sshd[{pid}]: Accepted password for al from 192.0.2.7 port {pid} ssh2\n", at(second))
}

/// A flood of PAM's lines about other addresses, more than may wait.
fn flood(second: usize) -> String {
    let peer = |number: usize| Ipv4Addr::from_bits(0x0a00_0000 + number as u32);
    (0..WAITING_MAX + 100).map(|number| pam(second, 1_000_000 + number, peer(number))).collect()
}

/// All that is counted against 192.0.2.7 in the end, what of it is certain, and what was not decided.
fn counted(mut world: World) -> (u32, u32, u64) {
    world.engine.step(RECEIVED, Input::End);
    let state = &world.engine.state;
    let tally = state.tallies.get(&"192.0.2.7".parse().unwrap()).copied().unwrap_or_default();
    (tally.failures(), tally.certain().failures(), state.sessions.undecided())
}

#[test]
fn good_logins_stay_nothing_whatever_floods_what_waits() {
    for (flooding, slow) in [(0, 1), (1, 1), (0, 40), (1, 40)] {
        let mut world = World::new(Policy { thresholds: [None; 5], ..Policy::default() });
        // Both worlds know the address.
        world.lines(1, &login(0, 8));
        world.lines(0, &login(1, 9));
        for number in 0..11 {
            let (second, pid) = (20 + 200 * number, 100 + number);
            let (before, behind) =
                if number % 2 == 0 { (flood(second), String::new()) } else { (String::new(), flood(second)) };
            world.lines(flooding, &before);
            world.lines(0, &pam(second, pid, "192.0.2.7"));
            world.lines(flooding, &behind);
            world.lines(0, &login(second + slow, pid));
        }
        let (failures, certain, undecided) = counted(world);
        assert_eq!((failures, certain), (0, 0), "{flooding} {slow}");
        assert!(undecided >= 11 * 100, "{undecided} {flooding} {slow}");
    }
}

/// A forged line about its address copies what waits; each world decides for itself, and what comes of it is one attempt.
#[test]
fn what_waited_in_both_worlds_is_told_once() {
    let disconnect = format!("{} web sshd[8]: Received disconnect from 192.0.2.7 port 22:11: Bye\n", at(1));
    for forged in [0, 1] {
        let mut world = World::new(Policy::default());
        world.lines(0, &pam(0, 7, "192.0.2.7"));
        (0..forged).for_each(|_| _ = world.lines(1, &disconnect));
        world.engine.step(RECEIVED, Input::End);
        let late = world.engine.changes.iter().filter(|change| matches!(change, Change::Late(_))).count();
        assert_eq!((late, counted(world)), (1, (1, 1, 0)), "{forged} forged lines");
    }
    // By what is certain it is decided before a forged line lets it be.
    let key = |second| format!("{} web sshd[7]: Failed publickey for al from 192.0.2.7 port 22 ssh2\n", at(second));
    let mut world = World::new(Policy::default());
    world.lines(0, &key(0));
    world.lines(1, &key(600));
    world.lines(0, &format!("{} web sshd[9]: Invalid user x from 192.0.2.8 port 23\n", at(1_100)));
    assert_eq!(counted(world), (1, 1, 0));
}

/// Of 25 failures PAM alone tells, in a flood of such lines about others, or in none.
#[track_caller]
fn check_in_flood(flooding: Option<usize>, is_named: bool, want: (u32, u32, u64)) {
    let mut world = World::new(Policy { thresholds: [None; 5], ..Policy::default() });
    if is_named {
        world.lines(1, &pam(0, 7, "192.0.2.7"));
    }
    for number in 0..25 {
        let second = 20 + 20 * number;
        if let Some(flooding) = flooding {
            world.lines(flooding, &flood(second));
        }
        world.lines(0, &pam(second, 100 + number, "192.0.2.7"));
    }
    assert_eq!(counted(world), want, "{flooding:?} {is_named}");
}

#[test]
fn no_forged_flood_hides_what_is_certain_and_what_a_sound_one_hides_is_counted() {
    check_in_flood(None, false, (25, 25, 0));
    // The forged line that names the address counts as well, and makes nothing more.
    check_in_flood(None, true, (26, 25, 0));
    check_in_flood(Some(1), false, (25, 25, 25 * 100));
    check_in_flood(Some(1), true, (26, 25, 25 * 101));
    check_in_flood(Some(0), false, (0, 0, 25 * 101));
}

/// What is counted against 192.0.2.7, what of it is certain, and how often it probed, where a connection's lines have a
/// flood of others between them: of what sound sources tell, or of what is forged.
#[track_caller]
fn check_evicted(before: &str, behind: &str, want: [(u32, u32, u64); 2]) {
    for (flooding, want) in want.into_iter().enumerate() {
        let line = |second: usize, says: &str| format!("{} web sshd[9]: {says}\n", at(second));
        let lines = |from: usize, said: &str| -> String {
            said.lines().enumerate().map(|(number, says)| line(from + number, says.trim())).collect()
        };
        let mut world = World::new(Policy { thresholds: [None; 5], ..Policy::default() });
        if flooding == 1 {
            // Both worlds know its process.
            world.lines(1, &line(0, "Connection from 192.0.2.7 port 22 on 198.51.100.1 port 22"));
        }
        world.lines(0, &lines(0, before));
        let flood = 1_000..SESSIONS_MAX + 2_000;
        processes(&mut world, flooding, flood, |peer| format!("Invalid user x from {peer} port 22"));
        world.lines(0, &lines(60, behind));
        let probes = world.counts.probes;
        let (failures, certain, _) = counted(world);
        assert_eq!((failures, certain, probes), want, "{flooding}: {before} | {behind}");
    }
}

#[test]
fn a_connection_that_was_forgotten_counts_nothing_anew() {
    let failed = "Failed password for al from 192.0.2.7 port 22 ssh2";
    let refused = "Failed publickey for al from 192.0.2.7 port 22 ssh2: RSA SHA256:x";
    let ends = "Connection closed by authenticating user al 192.0.2.7 port 22 [preauth]";
    let probe = "Connection closed by 192.0.2.7 port 22 [preauth]";
    let let_in = "Accepted publickey for al from 192.0.2.7 port 22 ssh2: RSA SHA256:y";
    for (before, behind, want) in [
        (&*[failed; 3].join("\n"), ends, (3, 3, 0)),
        (failed, &*[failed, ends].join("\n"), (2, 2, 0)),
        ("Invalid user al from 192.0.2.7 port 22", ends, (1, 1, 0)),
        (refused, let_in, (0, 0, 0)),
        (refused, ends, (1, 1, 0)),
        (let_in, probe, (0, 0, 0)),
        (probe, probe, (1, 1, 1)),
    ] {
        check_evicted(before, behind, [want; 2]);
    }
    // It may have logged in: who forgot it cannot tell.
    check_evicted(refused, "", [(0, 0, 0), (1, 1, 0)]);
}
