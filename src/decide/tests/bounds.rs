//! What a stranger can grow is bounded, in either world.

use std::net::Ipv4Addr;

use super::*;
use crate::decide::session::line::SESSIONS_MAX;

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
