//! What is decided: stories of failures and logins, and what they come to.

use std::time::Duration;

use inputs::record::Timestamp;

use super::World;
use crate::decide::policy::{Class, Policy, Threshold};
use crate::decide::prefix::Prefix;
use crate::decide::state::Change;

/// When the stories begin: 2026-10-01 00:00:00 UTC.
const BEGIN: i64 = 1_790_812_800;
const DAY: u64 = 86_400;

/// What a story comes to. A line of it is `TIME ADDRESS WHAT [HOST]`; TIME as in `3d` or `5h`, since the beginning;
/// WHAT is `root`, `valid`, `invalid`, `probe` (each one failure of that class, by the user al), or `login`.
pub(super) fn decisions(policy: &Policy, story: &str) -> String {
    let mut world = World::new(policy.clone());
    for (n, line) in story.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let words: Vec<_> = line.split(' ').collect();
        let time = crate::config::duration::parse(words[0]).unwrap();
        let at = Timestamp::from_secs(BEGIN).after(time);
        let (address, host) = (words[1], words.get(3).unwrap_or(&"web1"));
        let from = format!("from {address} port {}", 1000 + n);
        let message = match words[2] {
            "root" => format!("Failed password for root {from} ssh2"),
            "valid" => format!("Failed password for al {from} ssh2"),
            "invalid" => format!("Invalid user al {from}"),
            "probe" => format!("Connection closed by {address} port {} [preauth]", 1000 + n),
            "login" => format!("Accepted password for al {from} ssh2"),
            other => panic!("{other}"),
        };
        world.lines(0, &format!("{at} {host} sshd[{}]: {message}", 100 + n));
    }
    let day = |at: Timestamp| (at.secs() - BEGIN) as f64 / 86_400.0;
    let told = world.engine.changes.iter().filter_map(|change| match change {
        Change::Denied { prefix, claim, .. } => {
            let class = claim.reason.class().unwrap().name();
            let until = claim.until.map_or("ever".to_owned(), |until| format!("day {}", day(until)));
            Some(format!("{prefix} {class} {} until {until}", claim.reason.count()))
        }
        Change::Released { prefix, times, .. } => Some(format!("{prefix} released {times}")),
        Change::Suspicious { address, .. } => Some(format!("{address} suspicious")),
        _ => None,
    });
    told.collect::<Vec<_>>().join("; ")
}

#[track_caller]
pub(super) fn check(policy: &Policy, story: &str, want: &str) {
    assert_eq!(decisions(policy, story), want, "{story}");
}

pub(super) fn times(n: usize, line: &str) -> String {
    format!("{line}\n").repeat(n)
}

#[test]
fn a_threshold_is_exceeded_not_reached() {
    let policy = Policy::default();
    check(&policy, &times(5, "1h 192.0.2.7 invalid"), "");
    check(&policy, &times(6, "1d 192.0.2.7 invalid"), "192.0.2.7 invalid 6 until day 8");
    check(&policy, &times(10, "1h 192.0.2.7 valid"), "");
    check(&policy, &times(11, "1d 192.0.2.7 valid"), "192.0.2.7 valid 11 until day 8");
    check(&policy, &times(1, "1h 192.0.2.7 root"), "");
    check(&policy, &times(9, "1d 192.0.2.7 root"), "192.0.2.7 root 2 until day 8");
    check(&policy, &times(99, "1h 192.0.2.7 probe"), "");
    let classes = times(5, "1h 192.0.2.7 invalid") + &times(10, "1h 192.0.2.7 valid") + "1h 192.0.2.7 root";
    check(&policy, &classes, "");
}

#[test]
fn nought_denies_at_once_and_off_never() {
    let mut policy = Policy::default();
    policy.thresholds[Class::Root as usize] = Some(Threshold(0));
    policy.thresholds[Class::Valid as usize] = None;
    policy.thresholds[Class::Probe as usize] = Some(Threshold(2));
    check(&policy, "1d 192.0.2.7 root", "192.0.2.7 root 1 until day 8");
    check(&policy, &times(50, "1d 192.0.2.7 valid"), "");
    check(&policy, &times(3, "1d 192.0.2.7 probe"), "192.0.2.7 probe 3 until day 8");
}

#[test]
fn a_restricted_user_is_restricted_instead_of_valid_and_besides_the_others() {
    let mut policy = Policy::default();
    policy.restricted.extend([b"al".to_vec(), b"root".to_vec()]);
    check(&policy, &times(2, "1d 192.0.2.7 valid"), "192.0.2.7 restricted 2 until day 8");
    check(&policy, &times(2, "1d 192.0.2.7 invalid"), "192.0.2.7 restricted 2 until day 8");
    check(&policy, &times(2, "1d 192.0.2.7 root"), "192.0.2.7 root 2 until day 8");
}

#[test]
fn a_count_begins_anew_after_its_age() {
    let policy = Policy::default();
    // 25 days for root, counted from the last failure of that class.
    check(&policy, "1h 192.0.2.7 root\n600h 192.0.2.7 root", "192.0.2.7 root 2 until day 32");
    check(&policy, "1h 192.0.2.7 root\n602h 192.0.2.7 root", "");
    let mut never = Policy::default();
    never.age_reset[Class::Root as usize] = None;
    check(&never, "1h 192.0.2.7 root\n50d 192.0.2.7 root", "192.0.2.7 root 2 until day 57");
}

#[test]
fn a_login_clears_what_came_from_its_own_host() {
    let mut policy = Policy { reset_on_success: true, probation: None, ..Policy::default() };
    let before = "1h 192.0.2.7 root web1\n2h 192.0.2.7 login web1\n3h 192.0.2.7 root web1";
    check(&policy, before, "");
    let elsewhere = "1h 192.0.2.7 root web2\n2h 192.0.2.7 login web1\n24h 192.0.2.7 root web1";
    check(&policy, elsewhere, "192.0.2.7 root 2 until day 8");
    policy.reset_on_success = false;
    check(&policy, &before.replace("3h", "1d"), "192.0.2.7 root 2 until day 8");
}

#[test]
fn a_login_after_too_many_failures_is_suspicious_and_releases_nobody() {
    let policy = Policy { reset_on_success: true, ..Policy::default() };
    let story = times(2, "1d 192.0.2.7 root") + "2d 192.0.2.7 login\n" + "3d 192.0.2.8 login";
    check(&policy, &story, "192.0.2.7 root 2 until day 8; 192.0.2.7 suspicious");
    check(&policy, "1h 192.0.2.7 root\n2h 192.0.2.7 login", "");
    // Too many, but too long ago.
    let old = Policy { deny_for: None, ..Policy::default() };
    let story = times(6, "1d 192.0.2.7 invalid") + "12d 192.0.2.7 login";
    check(&old, &story, "192.0.2.7 invalid 6 until ever");
}

#[test]
fn a_deny_ends_with_its_counts_and_in_the_end_no_more() {
    let policy = Policy { permanent_after: Some(1), ..Policy::default() };
    let story = times(2, "1d 192.0.2.7 root") + "9d 192.0.2.7 root\n10d 192.0.2.7 root";
    check(&policy, &story, "192.0.2.7 root 2 until day 8; 192.0.2.7 released 1; 192.0.2.7 root 2 until ever");
}

#[test]
fn ipv6_is_counted_by_household_and_mapped_addresses_are_ipv4() {
    let policy = Policy::default();
    check(&policy, "1d 2001:db8::1 root\n1d 2001:db8::2 root", "2001:db8::/64 root 2 until day 8");
    check(&policy, "1d 2001:db8:0:1::1 root\n1d 2001:db8:0:2::1 root", "");
    check(&policy, "1d ::ffff:192.0.2.7 root\n1d 192.0.2.7 root", "192.0.2.7 root 2 until day 8");
    let wider = Policy { ipv4_bits: 24, ..Policy::default() };
    check(&wider, "1d 192.0.2.7 root\n1d 192.0.2.8 root", "192.0.2.0/24 root 2 until day 8");
}

#[test]
fn who_is_allowed_is_not_denied_and_harms_no_neighbour() {
    let mut policy = Policy::default();
    for entry in ["192.0.2.[6-23]", "2001:db8::5"] {
        policy.allow.add(entry).unwrap();
    }
    check(&policy, &times(9, "1d 192.0.2.6 root"), "");
    check(&policy, &times(9, "1d 192.0.2.23 root"), "");
    check(&policy, &times(2, "1d 192.0.2.24 root"), "192.0.2.24 root 2 until day 8");
    let neighbour = times(9, "1d 2001:db8::5 root") + "1d 2001:db8::6 root";
    check(&policy, &neighbour, "");
    check(&policy, &times(2, "1d 2001:db8::6 root"), "2001:db8::/64 root 2 until day 8");
}

/// Who shares a link, this machine or a translator with an attacker is somebody else.
#[test]
fn what_has_other_peoples_neighbours_is_denied_alone() {
    let nat64 = vec!["2001:db8:64::/96".parse().unwrap()];
    let policy = Policy { ipv4_bits: 16, ipv6_bits: 32, nat64, ..Policy::default() };
    for (alone, neighbour) in [
        ("fe80::1", "fe80::2"),
        ("febf::1", "febf::2"),
        ("169.254.0.1", "169.254.0.2"),
        ("64:ff9b::c000:201", "64:ff9b::c000:202"),
        ("64:ff9b:1::1", "64:ff9b:1::2"),
        ("2001:0:c000:207::3fff:fdd2", "2001:0:c000:207::3fff:fdd3"),
        ("::c000:206", "::c000:207"),
        ("2001:db8:64::c000:201", "2001:db8:64::c000:202"),
    ] {
        let denied = format!("{alone} root 2 until day 8");
        check(&policy, &format!("1d {alone} root\n1d {neighbour} root\n1d {alone} root"), &denied);
    }
    // Nobody connects from there, and whoever does from here is this machine.
    for never in ["::", "::1", "127.0.0.1", "127.9.9.9"] {
        check(&policy, &times(9, &format!("1d {never} root")), "");
    }
    check(&policy, "1d fec0::1 root\n1d fec0::2 root", "fec0::/32 root 2 until day 8");
    // 6to4: who has an IPv4 address has all of its /48, and none of the others.
    check(&policy, "1d 2002:c000:207:1::1 root\n1d 2002:c000:207:2::1 root", "2002:c000:207::/48 root 2 until day 8");
    check(&policy, "1d 2002:c000:207::1 root\n1d 2002:c000:208::1 root", "");
    check(&policy, "1d 169.253.0.1 root\n1d 169.253.0.2 root", "169.253.0.0/16 root 2 until day 8");
}

#[test]
fn a_permanent_deny_by_an_old_record_is_not_enforced() {
    let policy = Policy { deny_for: None, replay_max_age: Duration::from_secs(DAY), ..Policy::default() };
    let mut world = World::new(policy);
    for n in 0..2 {
        world.lines(
            0,
            &format!("2026-10-01T00:00:0{n}Z web1 sshd[{n}]: Failed password for root from 192.0.2.7 port 1 ssh2"),
        );
    }
    let deny = &world.engine.state.denies[&"192.0.2.7".parse::<Prefix>().unwrap()];
    assert_eq!(deny.enforced(super::RECEIVED), None, "it is of two months ago");
    assert_eq!(deny.until(), None, "and it was decided for ever");
}
