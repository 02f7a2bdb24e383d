//! Hosts by their whole names, and those that go by two.

use super::*;

/// So many failures of root on a host, the first of process `pid`.
fn failures(host: &str, pids: std::ops::Range<u32>) -> String {
    let line = |pid: u32| {
        format!(
            "2026-11-20T10:00:{:02}Z {host} sshd[{pid}]: Failed password for root from 192.0.2.7 port {pid} ssh2\n",
            pid % 60
        )
    };
    pids.map(line).collect()
}

/// What each input is told, line by line in turn: how many attempts it is.
fn check(told: &[(usize, &str, std::ops::Range<u32>)], want: u64) {
    let mut world = World::new(Policy::default());
    world.sources[1].forgeable = false;
    for (source, host, pids) in told {
        world.lines(*source, &failures(host, pids.clone()));
    }
    assert_eq!(world.counts.attempts, want, "{told:?}");
}

#[test]
fn a_whole_name_is_a_host() {
    // The same processes of two machines.
    check(&[(0, "web1.a", 1..9), (0, "web1.b", 1..9)], 16);
    check(&[(0, "web1.a", 1..9), (1, "web1.b", 1..9)], 16);
    check(&[(0, "web1.a", 1..9), (1, "WEB1.A", 1..9)], 8);
    check(&[(0, "10.0.0.1", 1..9), (1, "10.0.0.2", 1..9)], 16);
}

#[test]
fn a_machine_that_two_inputs_call_otherwise_counts_once() {
    check(&[(0, "web1", 1..9), (1, "web1.a", 1..9)], 8);
    check(&[(0, "web1.a", 1..9), (1, "web1", 1..9)], 8);
    check(&[(0, "web1", 1..3), (1, "web1.a", 1..3), (1, "web1.a", 3..9), (0, "web1", 3..9)], 8);
    // One input tells of no namesakes, and another name is another host.
    check(&[(0, "web1", 1..9), (0, "web1.a", 1..9)], 16);
    check(&[(0, "web1", 1..9), (1, "web2.a", 1..9)], 16);
    // It could be two: from then on it is neither.
    check(&[(0, "web1", 1..3), (1, "web1.a", 1..3), (1, "web1.b", 1..3), (1, "web1.b", 3..5), (0, "web1", 3..5)], 8);
}

/// Of `web1`, which is sound, the second input brings the same under another name, as a relay over UDP does.
#[test]
fn what_may_be_forged_joins_no_names_but_its_own() {
    let mut world = World::new(Policy::default());
    world.lines(0, &failures("web1", 1..5));
    world.lines(1, &failures("web1.b", 1..5));
    assert_eq!(world.counts.attempts, 4, "it is what a sound one told");
    world.lines(1, &failures("web1.a", 21..25));
    assert_eq!(world.counts.attempts, 8);
    // That made the short name neither this nor two.
    world.sources[1].forgeable = false;
    world.lines(1, &failures("web1.a", 5..9));
    world.lines(0, &failures("web1", 5..9));
    assert_eq!(world.counts.attempts, 12);
}
