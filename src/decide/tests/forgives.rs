//! Forgiven is forgiven up to that moment, whatever is read later.

use super::*;
use crate::decide::forgives::FORGIVES_MAX;
use crate::decide::state::{Bound, Why};

/// A time of 2026-11-20.
fn at(minute: u32) -> Timestamp {
    Timestamp::from_secs(1_795_168_800 + i64::from(minute) * 60) // 10:00:00Z
}

/// So many failures of root from an address at this minute of 10 o'clock, each by a process of its own.
fn fails(address: &str, minute: u32, n: u32) -> String {
    let one = |n| {
        format!("2026-11-20T10:{minute:02}:00Z web sshd[{n}]: Failed password for root from {address} port {n} ssh2\n")
    };
    (minute * 100 + 1..=minute * 100 + n).map(one).collect()
}

fn forgive(world: &mut World, minute: u32, prefix: Option<&str>) {
    let prefixes = prefix.map_or_else(|| Prefix::all().to_vec(), |prefix| vec![prefix.parse().unwrap()]);
    world.engine.step(at(minute), Input::Command(Command::Forgive(prefixes, Some("al".into()))));
}

fn is_denied(world: &World, prefix: &str) -> bool {
    world.engine.state.denies.contains_key(&prefix.parse::<Prefix>().unwrap())
}

#[test]
fn what_failed_before_counts_nothing_by_whatever_input_it_comes_later() {
    let check = |address: &str, forgiven: Option<&str>, counted: &str, is_forgiven: bool| {
        let mut world = World::new(Policy::default());
        world.lines(0, &fails(address, 5, 2));
        assert!(is_denied(&world, counted), "{counted}");
        forgive(&mut world, 10, forgiven);
        // Of before, by the same input and another one; then of after.
        world.lines(0, &fails(address, 6, 9));
        world.lines(1, &fails(address, 7, 9));
        world.lines(0, &fails(address, 10, 9));
        assert_eq!(!is_denied(&world, counted), is_forgiven, "{address} {forgiven:?}");
        let tallies = world.engine.state.tallies.get(&counted.parse().unwrap()).map(|tally| tally.failures());
        assert_eq!(tallies.is_none(), is_forgiven, "{address} {forgiven:?}");
        // History does not run backwards: nothing is decided of before the release.
        let mut known = Timestamp::default();
        for change in &world.engine.changes {
            let (Change::Denied { claim: Claim { since: moment, .. }, .. } | Change::Released { at: moment, .. }) =
                change
            else {
                continue;
            };
            assert!(*moment >= known, "{change:?}");
            known = if is_forgiven { *moment } else { known };
        }
        world.lines(0, &fails(address, 11, 2));
        assert!(is_denied(&world, counted), "{address} {forgiven:?}");
    };
    check("192.0.2.7", Some("192.0.2.7"), "192.0.2.7", true);
    check("192.0.2.7", Some("192.0.2.0/24"), "192.0.2.7", true);
    check("192.0.2.7", None, "192.0.2.7", true);
    check("192.0.2.7", Some("192.0.2.8"), "192.0.2.7", false);
    check("192.0.2.7", Some("::/0"), "192.0.2.7", false);
    // An address of IPv6 is counted by its /64, and forgiven with it.
    check("2001:db8::7", Some("2001:db8::7"), "2001:db8::/64", true);
    check("2001:db8::7", Some("2001:db8::/32"), "2001:db8::/64", true);
    check("2001:db8::7", None, "2001:db8::/64", true);
    check("2001:db8::7", Some("2001:db8:0:1::7"), "2001:db8::/64", false);
}

#[test]
fn who_was_not_denied_is_forgiven_as_well() {
    let mut world = World::new(Policy::default());
    world.lines(0, &fails("2001:db8::7", 5, 1));
    forgive(&mut world, 10, Some("2001:db8::7"));
    world.lines(0, &fails("2001:db8::7", 6, 1));
    world.lines(0, &fails("2001:db8::7", 11, 1));
    assert!(!is_denied(&world, "2001:db8::/64"));
    world.lines(0, &fails("2001:db8::7", 12, 1));
    assert!(is_denied(&world, "2001:db8::/64"));
}

#[test]
fn a_wider_net_counts_nothing_of_before_either() {
    let tries = |minute: u32, parts: std::ops::Range<u32>| -> String {
        parts
            .map(|part| {
                fails(&format!("2001:db8:0:{part:x}::1"), minute, 1)
                    .replace(&format!("[{minute}01]"), &format!("[{minute}{part:03}]"))
            })
            .collect()
    };
    let denied = |world: &World| is_denied(world, "2001:db8::/56");
    let mut world = World::new(Policy::default());
    world.lines(0, &tries(5, 0..9));
    assert!(denied(&world), "4 * 2 are tolerated");
    forgive(&mut world, 10, Some("2001:db8::7"));
    world.lines(0, &tries(6, 100..150));
    assert!(!denied(&world));
    world.lines(0, &tries(11, 150..159));
    assert!(denied(&world));
}

/// What a scan of old logs found is applied by claims.
#[test]
fn a_deny_that_a_scan_found_of_before_is_left_out() {
    let mut world = World::new(Policy::default());
    forgive(&mut world, 10, Some("192.0.2.7"));
    let prefix = "192.0.2.7".parse().unwrap();
    for (minute, want) in [(9, false), (11, true)] {
        let claim = Claim { since: at(minute), until: None, reason: Reason::Adopted, enforceable: true };
        world.engine.step(at(12), Input::Claim { prefix, by: Claimant::Policy, claim });
        assert_eq!(is_denied(&world, "192.0.2.7"), want, "{minute}");
    }
}

#[test]
fn who_forgave_is_named() {
    let mut world = World::new(Policy::default());
    world.lines(0, &fails("192.0.2.7", 5, 2));
    forgive(&mut world, 10, Some("192.0.2.7"));
    let released = world.engine.changes.iter().find_map(|change| match change {
        Change::Released { why: Why::Forgiven, who, .. } => who.as_deref(),
        _ => None,
    });
    assert_eq!(released, Some("al"));
}

#[test]
fn forgives_are_bounded_and_the_oldest_go() {
    let mut world = World::new(Policy::default());
    let host = |n: usize| std::net::Ipv4Addr::from_bits(0x0a00_0000 + n as u32).to_string();
    for n in 0..FORGIVES_MAX + 5 {
        forgive(&mut world, n as u32, Some(&host(n)));
    }
    let end = at(FORGIVES_MAX as u32 + 4);
    let known = |world: &World, n| world.engine.state.forgives.of(&host(n).parse().unwrap(), end);
    let state = &world.engine.state;
    assert_eq!((state.forgives.len(), state.untold(Bound::Forgives)), (FORGIVES_MAX, 5));
    assert_eq!((known(&world, 4), known(&world, 5)), (None, Some(at(5))));
    // One that is forgiven again needs no more room.
    forgive(&mut world, FORGIVES_MAX as u32 + 4, Some(&host(7)));
    assert_eq!((world.engine.state.forgives.len(), known(&world, 5)), (FORGIVES_MAX, Some(at(5))));
    // What is forgiven with a net, or with all, needs none of its own. A clock that was set back a little takes nothing
    // back.
    forgive(&mut world, FORGIVES_MAX as u32 + 3, Some("10.0.0.0/8"));
    assert_eq!((world.engine.state.forgives.len(), known(&world, 7)), (1, Some(end)));
    forgive(&mut world, 5, None);
    assert_eq!((world.engine.state.forgives.len(), known(&world, 7)), (2, Some(at(5))));
}

#[test]
fn many_are_forgiven_at_once_and_what_lies_in_another_one_is_none_of_its_own() {
    let mut world = World::new(Policy::default());
    for n in 0..10 {
        forgive(&mut world, n, Some(&format!("192.0.2.{n}")));
    }
    world.lines(0, &(fails("198.51.100.7", 5, 2) + &fails("2001:db8::7", 5, 1)));
    let mut all: Vec<Prefix> =
        (0..FORGIVES_MAX as u32 - 2).map(|n| Prefix::host(std::net::Ipv4Addr::from_bits(n))).collect();
    all.extend(["198.51.100.0/24", "198.51.100.7", "2001:db8::9"].map(|text| text.parse::<Prefix>().unwrap()));
    world.engine.step(at(20), Input::Command(Command::Forgive(all, None)));
    let state = &world.engine.state;
    let known = |text: &str| state.forgives.of(&text.parse().unwrap(), at(20));
    assert_eq!((state.forgives.len(), state.untold(Bound::Forgives)), (FORGIVES_MAX, 10), "the older ones went");
    assert_eq!((known("192.0.2.9"), known("198.51.100.9"), known("2001:db8::/64")), (None, Some(at(20)), Some(at(20))));
    assert_eq!((state.denies.len(), state.tallies.len()), (0, 0));
}

/// One that is later than now is of a clock that was wrong when somebody forgave.
#[test]
fn a_clock_that_was_wrong_blinds_nobody() {
    let mut world = World::new(Policy::default());
    assert!(at(60_000) > RECEIVED);
    forgive(&mut world, 60_000, None);
    world.lines(0, &fails("192.0.2.7", 20, 2));
    assert!(is_denied(&world, "192.0.2.7"));
    // Forgiven again, it is forgiven until then and no longer.
    forgive(&mut world, 30, Some("192.0.2.7"));
    world.lines(0, &fails("192.0.2.7", 30, 2));
    assert!(!is_denied(&world, "192.0.2.7"));
    world.lines(0, &fails("192.0.2.7", 31, 2));
    assert!(is_denied(&world, "192.0.2.7"));
}
