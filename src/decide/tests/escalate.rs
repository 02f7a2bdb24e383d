//! Each further deny lasts longer; only what is within a window counts.

use super::policies::{check, times};
use super::*;

const HOUR: u64 = 3_600;

#[test]
fn each_further_deny_lasts_longer_up_to_the_last_of_the_list() {
    let escalate = [24, 48].map(|hours| Duration::from_secs(hours * HOUR)).to_vec();
    let policy = Policy { deny_for: Some(Duration::from_secs(12 * HOUR)), escalate, ..Policy::default() };
    let story: String = (1..=4).map(|n| times(2, &format!("{}d 192.0.2.7 root", 10 * n))).collect();
    let told = "192.0.2.7 root 2 until day 10.5; 192.0.2.7 released 1; 192.0.2.7 root 2 until day 21; \
                192.0.2.7 released 2; 192.0.2.7 root 2 until day 32; 192.0.2.7 released 3; 192.0.2.7 root 2 until day 42";
    check(&policy, &story, told);
    // Then for good, if that is wanted.
    let policy = Policy { permanent_after: Some(2), ..policy };
    let told = "192.0.2.7 root 2 until day 10.5; 192.0.2.7 released 1; 192.0.2.7 root 2 until day 21; \
                192.0.2.7 released 2; 192.0.2.7 root 2 until ever";
    check(&policy, &story, told);
    // A probation is no sentence, nor is what strangers may have made up.
    let story = "1d 192.0.2.7 login\n".to_owned() + &story;
    let told = "192.0.2.7 root 2 until day 10.006944444444445; 192.0.2.7 released 0; 192.0.2.7 root 2 until day 20.5; \
                192.0.2.7 released 1; 192.0.2.7 root 2 until day 31; 192.0.2.7 released 2; 192.0.2.7 root 2 until ever";
    check(&policy, &story, told);
    // What is denied for ever at once is never longer.
    let policy = Policy { deny_for: None, permanent_after: None, ..policy };
    check(&policy, &times(9, "1d 192.0.2.8 root"), "192.0.2.8 root 2 until ever");
}

/// Failures of one user that is unknown, of whom six are denied, by their minutes.
fn minutes(minutes: &[u32]) -> String {
    minutes.iter().map(|minute| format!("{minute}m 192.0.2.7 invalid\n")).collect()
}

#[test]
fn only_failures_within_the_window_count_together() {
    let policy = Policy { within: Some(Duration::from_secs(600)), deny_for: None, ..Policy::default() };
    let denied = "192.0.2.7 invalid 6 until ever";
    check(&policy, &minutes(&[0, 2, 4, 6, 8, 10]), denied);
    check(&policy, &minutes(&[0, 2, 4, 6, 8, 11]), "");
    // Wherever the window lies, and however long it goes on.
    check(&policy, &minutes(&[0, 5, 9, 11, 13, 15, 17, 19]), denied);
    check(&policy, &minutes(&(0..300).map(|n| 3 * n).collect::<Vec<_>>()), "");
    // Without one they add up.
    let policy = Policy { within: None, ..policy };
    check(&policy, &minutes(&[0, 60, 120, 180, 240, 300]), denied);
}

#[test]
fn a_login_that_clears_and_a_release_leave_nothing_in_the_window() {
    let ten = Some(Duration::from_secs(600));
    let policy = Policy {
        within: ten,
        deny_for: Some(Duration::from_secs(60)),
        reset_on_success: true,
        probation: None,
        ..Policy::default()
    };
    let five = minutes(&[0, 0, 0, 0, 0]);
    check(&policy, &(five.clone() + "1m 192.0.2.7 login web1\n" + &minutes(&[2, 2, 2, 2, 2])), "");
    let again = five + &minutes(&[1, 3, 3, 3, 3, 3]);
    let told = "192.0.2.7 invalid 6 until day 0.001388888888888889; 192.0.2.7 released 1";
    check(&policy, &again, told);
}

/// So many addresses of 192.0.2.0/24 fail once each.
fn each_once(addresses: u32) -> String {
    (1..=addresses).map(|n| format!("1d 192.0.2.{n} root\n")).collect()
}

#[test]
fn a_24_is_denied_by_configuration_alone() {
    check(&Policy::default(), &each_once(250), "");
    let policy = Policy { ipv4_wider_nets: true, ..Policy::default() };
    check(&policy, &each_once(16), "");
    check(&policy, &each_once(17), "192.0.2.0/24 root 17 until day 1.0416666666666667");
    // From fewer than eight it is they who are denied, and not when somebody is at home there.
    let few: String = (1..=7).map(|n| times(9, &format!("1d 192.0.2.{n} root"))).collect();
    assert!(!super::policies::decisions(&policy, &few).contains("/24"));
    check(&policy, &("1h 192.0.2.200 login\n".to_owned() + &each_once(199)), "");
}
