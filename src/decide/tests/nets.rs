//! Wider nets of IPv6: who is denied, who is not, and what strangers can do about it.

use super::policies::decisions;
use super::*;
use crate::decide::claim::Basis;
use crate::decide::nets::{FORGEABLE_NETS_MAX, Nets, World as By};
use crate::decide::policy::Threshold;

/// So many failures from each of these /64s of 2001:db8::/48, one after the other, each from an address of its own.
fn tries(when: &str, parts: std::ops::Range<u32>, each: u32) -> String {
    let one = |part: u32, n: u32| format!("{when} 2001:db8:0:{part:x}::{n:x} valid\n");
    parts.flat_map(|part| (1..=each).map(move |n| one(part, n))).collect()
}

/// What is decided of nets wider than a /64; a user that exists is tolerated ten times.
#[track_caller]
fn check(policy: &Policy, story: &str, want: &[&str]) {
    let told = decisions(policy, story);
    let wide: Vec<_> = told.split("; ").filter(|one| one.contains("/48") || one.contains("/56")).collect();
    assert_eq!(wide, want);
}

#[test]
fn many_64s_of_one_net_are_denied_together() {
    let policy = Policy::default();
    // 16 * 11 are tolerated of a /48, from however many /64s; here no /56 has more than two of them.
    let spread = |n: u32, each| (0..n).map(|n| tries("1d", n * 0x81..n * 0x81 + 1, each)).collect::<String>();
    check(&policy, &spread(88, 2), &[]);
    check(&policy, &spread(89, 2), &["2001:db8::/48 valid 177 until day 1.0416666666666667"]);
    check(&policy, &spread(300, 1), &["2001:db8::/48 valid 177 until day 1.0416666666666667"]);
    // 4 * 11 are of a /56.
    check(&policy, &tries("1d", 0..44, 1), &[]);
    check(&policy, &tries("1d", 0..45, 1), &["2001:db8::/56 valid 45 until day 1.0416666666666667"]);
    // From fewer /64s than four it is they who are denied, and however often they try.
    check(&policy, &tries("1d", 0..3, 50), &[]);
    check(&policy, &tries("1d", 0..4, 50), &["2001:db8::/56 valid 45 until day 1.0416666666666667"]);
    let off = Policy { wider_nets: false, ..Policy::default() };
    check(&off, &tries("1d", 0..300, 5), &[]);
    let wide = Policy { ipv6_bits: 48, ..Policy::default() };
    assert_eq!(decisions(&wide, &tries("1d", 0..11, 1)), "2001:db8::/48 valid 11 until day 8");
    let never = Policy { thresholds: [Some(Threshold(5)), None, None, None, None], ..Policy::default() };
    check(&never, &tries("1d", 0..300, 5), &[]);
}

/// A site's own translator shows all of IPv4 in one of its /64s.
#[test]
fn a_net_that_holds_a_translator_is_never_denied() {
    let policy = |nat64: &str| Policy { nat64: vec![nat64.parse().unwrap()], ..Policy::default() };
    let denied = ["2001:db8::/56 valid 45 until day 1.0416666666666667"];
    check(&policy("2001:db8:0:64::/96"), &tries("1d", 0..45, 1), &[]);
    // Of a /56 beside its own one.
    check(&policy("2001:db8:0:164::/96"), &tries("1d", 0..45, 1), &denied);
    check(&policy("2001:db8:0:164::/96"), &tries("1d", 0..300, 1), &denied);
}

#[test]
fn it_is_for_an_hour_at_first() {
    let story = tries("1d", 0..45, 1) + &tries("2d", 50..100, 1);
    let want = [
        "2001:db8::/56 valid 45 until day 1.0416666666666667",
        "2001:db8::/56 released 1",
        "2001:db8::/56 valid 45 until day 9",
    ];
    check(&Policy::default(), &story, &want);
    // What a class forgets, a net forgets.
    check(&Policy::default(), &(tries("1d", 0..44, 1) + &tries("7d", 50..90, 1)), &[]);
}

/// People mistype, some of them often, and are denied for that alone; the others go on working.
#[test]
fn an_office_whose_people_mistype_is_not_hit() {
    let policy = Policy::default();
    // 40 desks in one /56, each a /64: one types wrongly all day, nobody logs in for now.
    check(&policy, &(tries("1d", 0..30, 1) + &tries("1d", 31..32, 100)), &[]);
    // A year of it, with logins between.
    let mut year = String::new();
    for day in 0..365 {
        let login = if day % 20 == 0 { format!("{day}d 2001:db8::7 login\n") } else { String::new() };
        year += &(login + &tries(&format!("{day}d"), day % 37..day % 37 + 4, 2));
    }
    check(&policy, &year, &[]);
    // A login elsewhere, or two months ago, is none.
    for story in ["1d 2001:db8:1::7 login", "1d 2001:db8:0:9900::7 login"] {
        let want = ["2001:db8::/56 valid 45 until day 2.0416666666666665"];
        check(&policy, &format!("{story}\n{}", tries("2d", 0..50, 1)), &want);
    }
    let want = ["2001:db8::/56 valid 45 until day 32.041666666666664"];
    check(&policy, &format!("1d 2001:db8::7 login\n{}", tries("32d", 0..50, 1)), &want);
    check(&policy, &format!("1d 2001:db8::7 login\n{}", tries("30d", 0..50, 1)), &[]);
}

/// Lines about so many /64s, each with a process of its own.
fn lines(pid: u32, parts: std::ops::Range<u32>, says: &str) -> String {
    let line = |part: u32| {
        let pid = pid + part;
        format!(
            "2026-11-20T10:00:00Z web sshd[{pid}]: {says} password for al from 2001:db8:0:{part:x}::1 port 9 ssh2\n"
        )
    };
    parts.map(line).collect()
}

#[test]
fn what_strangers_make_up_denies_for_an_hour_and_is_no_login() {
    let net = "2001:db8::/56".parse().unwrap();
    let claim = |world: &World| Some(world.engine.state.denies.get(&net)?.claim(Claimant::Policy)?.reason.clone());
    let policy = |count, basis, parts| Reason::Policy {
        class: Class::Valid,
        count,
        threshold: 44,
        basis,
        parts,
        probation: false,
    };
    let mut world = World::new(Policy::default());
    world.lines(0, &lines(1_000, 0..40, "Failed"));
    world.lines(1, &lines(2_000, 200..201, "Accepted"));
    assert_eq!(claim(&world), None);
    world.lines(1, &lines(3_000, 100..200, "Failed"));
    assert_eq!(claim(&world), Some(policy(45, Basis::Forgeable, 21)));
    let sound = world.engine.state.nets.get(net, By::Sound).unwrap();
    assert_eq!((sound.count(Class::Valid), sound.is_at_home(RECEIVED)), (40, false));
    // Sound ones alone are too many now, and begin an hour of their own when that one is over.
    world.lines(0, &lines(4_000, 40..50, "Failed"));
    assert_eq!(claim(&world), Some(policy(45, Basis::Forgeable, 21)));
    world.lines(0, &lines(5_000, 60..61, "Failed").replace("T10:00", "T11:30"));
    assert_eq!(claim(&world), Some(policy(51, Basis::Sound, 16)));
    // Forgiven, it begins at zero.
    world.engine.step(RECEIVED, Input::Command(Command::Forgive(vec!["2001:db8::5".parse().unwrap()], None)));
    assert_eq!(claim(&world), None);
    assert_eq!(world.engine.state.nets.get(net, By::Sound).unwrap().count(Class::Valid), 0);
    // Before a commit all of it leaves as changes, from which the same comes.
    world.engine = Engine::with(Policy::default(), State::default());
    world.lines(0, &lines(6_000, 0..40, "Failed"));
    world.engine.settle();
    let mut state = State::default();
    world.engine.changes.iter().for_each(|change| state.apply(change));
    let known = |state: &State| state.nets.get(net, By::Sound).copied();
    assert!(known(&state).is_some() && known(&state) == known(&world.engine.state));
}

#[test]
fn nets_are_bounded_and_what_is_forged_pushes_out_nothing_sound() {
    let (mut nets, home) = (Nets::default(), Prefix::of("2001:db8::1".parse::<IpAddr>().unwrap(), 48));
    nets.room_for(home, By::Sound).0.log_in(RECEIVED);
    let net = |n: usize| Prefix::of(std::net::Ipv6Addr::from_bits((0x2600_0000_0000 + n as u128) << 80), 48);
    for n in 0..FORGEABLE_NETS_MAX + 1_000 {
        let (known, victim) = nets.room_for(net(n), By::Forgeable);
        known.add(Class::Valid, if n == 7 { 9 } else { 1 }, 0, RECEIVED);
        assert_eq!(victim.is_some(), n >= FORGEABLE_NETS_MAX);
    }
    assert_eq!((nets.len(By::Forgeable), nets.len(By::Sound), nets.forgotten()), (FORGEABLE_NETS_MAX, 1, 1_000));
    assert!(nets.get(home, By::Sound).is_some_and(|net| net.is_at_home(RECEIVED)));
    assert!(nets.get(net(7), By::Forgeable).is_some(), "who failed more often stays");
}
