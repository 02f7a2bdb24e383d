//! Who logged in lately is denied shortly at first.

use super::policies::{check, times};
use super::*;
use crate::decide::familiar::FAMILIAR_MAX;

/// So many failures of users that exist; eleven are denied.
fn typos(when: &str, n: usize) -> String {
    times(n, &format!("{when} 192.0.2.7 valid"))
}

const LOGIN: &str = "1d 192.0.2.7 login\n";

#[test]
fn an_office_that_mistypes_is_out_for_ten_minutes_and_not_for_a_week() {
    let policy = Policy { permanent_after: Some(1), ..Policy::default() };
    let office = times(10, "1d 192.0.2.7 login") + &typos("48h", 11);
    check(&policy, &office, "192.0.2.7 valid 11 until day 2.0069444444444446");
    // The next is as any, whoever logged in meanwhile; what was a probation is no release for `permanent_after`.
    let again = office.clone() + "3d 192.0.2.7 login\n" + &typos("4d", 11);
    let probation = "192.0.2.7 valid 11 until day 2.0069444444444446; 192.0.2.7 released 0; ";
    check(&policy, &again, &format!("{probation}192.0.2.7 valid 11 until day 11"));
    // 30 days later there is one more, if somebody logged in within those.
    let later = again.clone() + "30d 192.0.2.7 login\n" + &typos("32d", 11);
    let full = format!("{probation}192.0.2.7 valid 11 until day 11; 192.0.2.7 released 1; ");
    check(&policy, &later, &format!("{full}192.0.2.7 valid 11 until day 32.00694444444444"));
    let soon = again.clone() + "30d 192.0.2.7 login\n" + &typos("31d", 11);
    check(&policy, &soon, &format!("{full}192.0.2.7 valid 11 until ever"));
    check(&policy, &(again + &typos("40d", 11)), &format!("{full}192.0.2.7 valid 11 until ever"));
}

#[test]
fn only_a_good_login_within_thirty_days_makes_it_short() {
    let policy = Policy::default();
    let short = "192.0.2.7 valid 11 until day 30.006944444444443";
    check(&policy, &(LOGIN.to_owned() + &typos("30d", 11)), short);
    check(&policy, &(LOGIN.to_owned() + &typos("31d", 11)), "192.0.2.7 valid 11 until day 38");
    check(&policy, &("1d 192.0.2.8 login\n".to_owned() + &typos("2d", 11)), "192.0.2.7 valid 11 until day 9");
    // Who guessed until it fitted is a stranger: too many failures were before it.
    let mut guessed = Policy::default();
    guessed.thresholds[Class::Root as usize] = Some(crate::decide::policy::Threshold(0));
    let story = "1d 192.0.2.7 root\n2d 192.0.2.7 login\n".to_owned() + &typos("9d", 11);
    let told =
        "192.0.2.7 root 1 until day 8; 192.0.2.7 suspicious; 192.0.2.7 released 1; 192.0.2.7 valid 11 until day 16";
    check(&guessed, &story, told);
    for (probation, until) in [(None, "9"), (Some(std::time::Duration::from_secs(3_600)), "2.0416666666666665")] {
        let policy = Policy { probation, ..Policy::default() };
        check(&policy, &(LOGIN.to_owned() + &typos("2d", 11)), &format!("192.0.2.7 valid 11 until day {until}"));
    }
    // What is shorter than a probation is none.
    let policy = Policy { deny_for: Some(std::time::Duration::from_secs(60)), ..policy };
    let story = LOGIN.to_owned() + &typos("2d", 11) + &typos("3d", 11);
    let told = "192.0.2.7 valid 11 until day 2.0006944444444446; 192.0.2.7 released 1; 192.0.2.7 valid 11 until day 3.0006944444444446";
    check(&policy, &story, told);
}

#[test]
fn strangers_lines_give_no_probation_and_take_none() {
    let login = "Nov  1 01:50:00 web sshd[70]: Accepted password for al from 192.0.2.7 port 70 ssh2";
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    let mut world = World::new(Policy::default());
    world.lines(1, login);
    world.lines(0, &failures_of_al(1..=11));
    assert_eq!(denied_for(&world), Policy::default().deny_for, "a login that may be made up is none");
    let mut world = World::new(Policy::default());
    world.lines(0, login);
    world.lines(1, &failures_of_al(1..=11));
    assert_eq!(denied_for(&world), minutes(10));
    // It is over, and what is certain has its probation still.
    world.engine.step(RECEIVED.after(Duration::from_secs(60)), Input::Tick);
    world.lines(0, &failures_of_al(20..=30));
    assert_eq!(denied_for(&world), minutes(10));
    world.engine.step(RECEIVED.after(Duration::from_secs(60)), Input::Tick);
    world.lines(1, &failures_of_al(31..=41));
    assert_eq!(denied_for(&world), Some(FORGEABLE_FOR), "now there is none");
    // Nor do failures that may be made up make a stranger of who logs in.
    let mut world = World::new(Policy::default());
    world.lines(1, &failures_of_al(1..=11));
    world.lines(0, &login.replace("01:50:00", "02:00:20"));
    assert!(world.engine.state.familiar.get(&"192.0.2.7".parse().unwrap()).is_some());
    // What becomes certain while it is denied is on probation from then.
    let mut world = World::new(Policy::default());
    world.lines(0, login);
    world.lines(1, &failures_of_al(1..=11));
    world.lines(0, &failures_of_al(20..=30));
    let deny = &world.engine.state.denies[&"192.0.2.7".parse::<Prefix>().unwrap()];
    assert!(deny.claim(Claimant::Policy).unwrap().reason.is_probation());
}

#[test]
fn logins_are_bounded_and_the_older_ones_go() {
    let mut engine = Engine::default();
    let peer = |n: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(0x1400_0000 + n as u32));
    let at = |n: usize| Timestamp::from_secs(1_793_494_800 + n as i64);
    for n in 0..FAMILIAR_MAX + 1_000 {
        engine.success(peer(n).into(), (b"al", None), crate::decide::session::HostId(0), at(n));
    }
    assert_eq!(engine.state.familiar.len(), FAMILIAR_MAX);
    assert_eq!(engine.state.untold(crate::decide::state::Bound::Familiar), 1_000);
    let known = |n: usize| engine.state.familiar.get(&Prefix::host(peer(n))).is_some();
    assert!(!known(0) && (FAMILIAR_MAX..FAMILIAR_MAX + 1_000).all(known));
}
