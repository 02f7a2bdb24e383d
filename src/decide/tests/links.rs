//! The machine's own prefixes: neighbours are other people's machines, up to a number of them.

use super::policies::{check, times};
use super::*;
use crate::decide::claim::Basis;
use crate::decide::links::{LINK_HOSTS_MAX, Links};
use crate::decide::machine::Machine;
use crate::decide::policy::Threshold;

fn policy() -> Policy {
    let links = vec!["2001:db8::/64".parse().unwrap()];
    Policy { machine: Machine { links, ..Machine::default() }, ..Policy::default() }
}

/// One failure of each of so many addresses of the link.
fn each(when: &str, what: &str, hosts: std::ops::RangeInclusive<usize>) -> String {
    hosts.map(|host| format!("{when} 2001:db8::{host:x} {what}\n")).collect()
}

#[test]
fn a_neighbour_is_counted_and_denied_alone() {
    check(&policy(), "1d 2001:db8::1 root\n1d 2001:db8::2 root", "");
    let alone = "2001:db8::2 root 2 until day 8";
    check(&policy(), &("1d 2001:db8::1 root\n".to_owned() + &times(50, "1d 2001:db8::2 root")), alone);
    // Elsewhere a /64 is one household's.
    check(&policy(), "1d 2001:db8:0:1::1 root\n1d 2001:db8:0:1::2 root", "2001:db8:0:1::/64 root 2 until day 8");
    check(&Policy::default(), "1d 2001:db8::1 root\n1d 2001:db8::2 root", "2001:db8::/64 root 2 until day 8");
    // It raises no net that the link is in.
    let all: String = (1..=9).map(|n| times(2, &format!("1d 2001:db8::{n} root"))).collect();
    assert!(!super::policies::decisions(&policy(), &all).contains('/'));
}

#[test]
fn above_sixteen_times_together_the_link_is_out_for_an_hour() {
    check(&policy(), &each("1d", "root", 1..=32), "");
    let denied = "2001:db8::/64 root 33 until day 1.0416666666666667";
    check(&policy(), &each("1d", "root", 1..=33), denied);
    // And for no more when it happens again; who logged in there does not keep the others in.
    let again = "1h 2001:db8::fff login\n".to_owned() + &each("1d", "root", 1..=33) + &each("2d", "root", 101..=133);
    let told = format!("{denied}; 2001:db8::/64 released 1; 2001:db8::/64 root 33 until day 2.0416666666666665");
    check(&policy(), &again, &told);
    // It begins anew after each.
    let less = each("1d", "root", 1..=33) + &each("2d", "root", 101..=132);
    check(&policy(), &less, &format!("{denied}; 2001:db8::/64 released 1"));
    // What one of them is denied for adds hardly more.
    let noisy: String = (1..=10).map(|n| times(9, &format!("1d 2001:db8::{n} root"))).collect();
    assert!(!super::policies::decisions(&policy(), &noisy).contains("/64"));
}

#[test]
fn beyond_256_of_them_the_link_is_out_for_an_hour() {
    let mut policy = policy();
    policy.thresholds[Class::Valid as usize] = Some(Threshold(100));
    check(&policy, &each("1d", "valid", 1..=256), "");
    let denied = "2001:db8::/64 valid 257 until day 1.0416666666666667";
    check(&policy, &each("1d", "valid", 1..=257), denied);
    // The last one that has a place counts on, and one more has none; but who logged in lately always has.
    let full = each("1d", "valid", 1..=256) + "1d 2001:db8::100 valid\n";
    check(&policy, &full, "");
    check(&policy, &("1h 2001:db8::fff login\n".to_owned() + &full + "1d 2001:db8::fff valid"), "");
    // A day later places are free again.
    check(&policy, &(each("1d", "valid", 1..=256) + "3d 2001:db8::fff valid"), "");
    // A class that never denies denies no link.
    policy.thresholds[Class::Valid as usize] = None;
    check(&policy, &each("1d", "valid", 1..=999), "");
}

#[test]
fn what_strangers_make_up_takes_no_place() {
    let mut links = Links::default();
    let (link, at) = ("2001:db8::/64".parse().unwrap(), RECEIVED);
    let host = |n: usize| std::net::Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | n as u128).into();
    let admitted = |links: &mut Links, from: usize, sound: bool| {
        (from..from + 1_000).filter(|n| links.admit(link, host(*n), at, sound)).count()
    };
    assert_eq!(admitted(&mut links, 0, false), LINK_HOSTS_MAX);
    assert_eq!(admitted(&mut links, 5_000, true), LINK_HOSTS_MAX);
    assert!(links.admit(link, host(5_000), at, false), "it has a place by what is sound");
    links.forget(&link);
    assert_eq!(admitted(&mut links, 9_000, true), LINK_HOSTS_MAX);
}

/// A provider may give another prefix each day.
#[test]
fn a_link_that_the_machine_left_is_forgotten() {
    let mut engine = Engine::new(Policy::default());
    for day in 0..10 {
        let link: Prefix = format!("2001:db8:0:{day}::/64").parse().unwrap();
        engine.set_machine(Machine { links: vec![link], ..Machine::default() });
        engine.state.links.admit(link, link.address().into(), RECEIVED, true);
        assert_eq!(engine.state.links.len(), 1, "day {day}");
    }
}

#[test]
fn a_link_that_was_denied_before_it_was_known_is_released() {
    let mut world = World::new(Policy::default());
    let fail = |n: u32| {
        format!("2026-11-20T10:00:00Z web sshd[{n}]: Failed password for root from 2001:db8::{n} port 9 ssh2\n")
    };
    world.lines(0, &(1..=2).map(fail).collect::<String>());
    let link: Prefix = "2001:db8::/64".parse().unwrap();
    assert!(world.engine.state.denies.contains_key(&link));
    world.engine.policy.machine = policy().machine;
    world.engine.step(RECEIVED, Input::Command(Command::ReleaseWideLinks));
    assert!(!world.engine.state.denies.contains_key(&link));
    // Nor does a scan deny it that did not know.
    let reason =
        Reason::Policy { class: Class::Root, count: 2, threshold: 1, basis: Basis::Sound, parts: 0, probation: false };
    let mut claim = Claim { since: RECEIVED, until: None, reason, enforceable: true };
    world.engine.step(RECEIVED, Input::Claim { prefix: link, by: Claimant::Policy, claim: claim.clone() });
    assert!(!world.engine.state.denies.contains_key(&link));
    claim.reason = Reason::Adopted;
    world.engine.step(RECEIVED, Input::Claim { prefix: link, by: Claimant::Policy, claim });
    assert!(world.engine.state.denies.contains_key(&link), "what was enforced when the database was lost stays");
    world.engine.step(RECEIVED, Input::Command(Command::ReleaseWideLinks));
    assert!(!world.engine.state.denies.contains_key(&link));
    // What it is denied for as a link stays.
    world.lines(0, &(100..=140).map(fail).collect::<String>());
    assert!(world.engine.state.denies.contains_key(&link));
    world.engine.step(RECEIVED, Input::Command(Command::ReleaseWideLinks));
    assert!(world.engine.state.denies.contains_key(&link));
}
