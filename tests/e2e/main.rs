//! denyd among real programs: sshd, PAM, rsyslogd, nftables and libwrap, and somebody who guesses passwords.
//!
//! Every test has a [world](kit::world::World) of its own. They need root, and say so if they have not got it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

mod booted;
mod command;
mod denies;
mod denyhosts;
mod doctor;
mod drill;
mod faults;
mod field;
mod hostile;
mod insurance;
mod journal;
mod lasts;
mod mixing;
mod multilog;
mod names;
mod offers;
mod recipes;
mod routes;
mod senders;
mod shared;
mod statistics;

use kit::until;
use kit::world::{BOUND, Route, World};

/// Fails `failures` logins from `source`, the last of them the one too many: `users` are root alone, or unknown.
///
/// Prints and returns the milliseconds from when rsyslogd got the record that decides to the first connection, to a port
/// that is not sshd's, that was dropped. One of them says little, since other tests have the machine: see [`median`].
fn attack(world: &mut World, source: &str, users: &[&str], failures: usize) -> f64 {
    let text = if users == ["root"] { "Failed password for root" } else { "Invalid user" };
    for index in 0..failures - 1 {
        world.attacker.fail(source, users[index % users.len()]);
    }
    let first = world.attacker.banner(source);
    assert!(first.starts_with("SSH-2.0"), "{source} is denied after {} failures: {first}", failures - 1);
    let (mut watcher, mut last) = (world.attacker.another(), world.attacker.another());
    watcher.hammer(source, "silent");
    // nobody may get an answer to this one
    last.start(
        source,
        serde_json::json!({"do": "login", "user": users[(failures - 1) % users.len()], "tries": ["wrong"]}),
    );
    let seen = watcher.finish();
    assert_eq!(seen["ended"], "silent", "{source} was not denied within {} s: {seen}", BOUND.as_secs());
    assert!(seen["open"].as_u64().unwrap() > 0, "{source} was denied too early: {seen}");
    let latency = (seen["first_silent"].as_f64().unwrap() - world.logged_at(text, source, failures)) * 1000.0;
    println!("LATENCY {latency:.1} ms, {source}");
    latency
}

/// The one in the middle.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Seconds since 1970.
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The killed test of `nothing_stays_behind`: a world that waits to be killed.
const VICTIM: &str = "DENYD_E2E_VICTIM";

#[test]
fn nothing_stays_behind() {
    if std::env::var(VICTIM).is_ok() {
        let mut world = World::new("nothing_stays_behind").unwrap();
        world.start_sshd(Route::File);
        let _denyd = world.start_denyd(None);
        println!("\nPIDS {}", world.pids().iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        std::thread::sleep(BOUND);
        return;
    }
    let Some(mut world) = World::new("nothing_stays_behind") else { return };
    world.start_sshd(Route::File);
    let denyd = world.start_denyd(None);
    let pids = world.pids();
    assert!(pids.len() >= 6, "{pids:?}");
    drop(world);
    drop(denyd);
    gone(&pids);
    // the same when the test is killed
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_stays_behind", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(victim.stdout.take().unwrap());
    let line = std::io::BufRead::lines(said)
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("PIDS ").map(str::to_owned));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let pids: Vec<_> = line.unwrap().split(' ').map(|pid| nix::unistd::Pid::from_raw(pid.parse().unwrap())).collect();
    assert!(pids.len() >= 6, "{pids:?}");
    gone(&pids);
}

fn gone(pids: &[nix::unistd::Pid]) {
    until("all processes to be gone", || {
        pids.iter().all(|pid| nix::sys::signal::kill(*pid, None).is_err()).then_some(())
    });
}
