//! Host names on the allow list, as of dynamic DNS: who is at the address that such a name resolves to is never denied.
//!
//! `/etc/hosts` of the machine is the DNS: it is asked by the same call, and can be written.

use super::attack;
use super::denies::FILE;
use kit::until;
use kit::world::{Route, World};
use nix::sys::signal::Signal;
use serde_json::Value;

const HOME: &str = "home.example.org";
const NET: &str = "198.51.100.0/24";

/// A world in which this name, which is allowed, has this address.
fn world(test: &str, address: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n");
    resolves_to(&world, address);
    world.start_sshd(Route::File);
    Some(world)
}

fn resolves_to(world: &World, address: &str) {
    world.write("/etc/hosts", &format!("127.0.0.1 localhost\n{address} {HOME}\n"));
}

fn config() -> String {
    format!("decide.allow = [\"{HOME}\"]\n{FILE}")
}

/// Waits until this is so of the name.
fn wait_name(world: &World, what: &str, is: impl Fn(&Value) -> bool) {
    until(what, || is(&world.denyd_json(&["allow", "--json"])["names"][0]).then_some(()));
}

/// Waits until the name has this address.
fn wait_address(world: &World, address: &str) {
    wait_name(world, &format!("{HOME} to be {address}"), |name| name["addresses"] == serde_json::json!([address]));
}

/// Waits until who is at an address is let in ("open") or kept out ("silent").
fn wait_until(world: &World, source: &str, is: &str) {
    let mut other = world.attacker.another();
    other.hammer(source, is);
    let seen = other.finish();
    assert_eq!(seen["ended"], is, "{source}: {seen}");
}

fn deny(world: &World, prefix: &str) {
    let output = world.denyd(&["deny", prefix]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_name_whose_address_changes_lets_the_new_one_in() {
    let (old, new) = ("198.51.100.7", "198.51.100.9");
    let Some(mut world) = world("names::a_name_whose_address_changes_lets_the_new_one_in", old) else { return };
    let denyd = world.start_denyd(Some(&config()));
    wait_address(&world, old);
    deny(&world, NET);
    deny(&world, new);
    wait_until(&world, new, "silent");
    assert!(world.attacker.banner(old).starts_with("SSH-2.0"), "allowed wins inside a wider deny");
    assert_eq!(world.denyd(&["deny", old]).status.code(), Some(2), "it is allowed");

    resolves_to(&world, new);
    assert!(world.denyd(&["reload"]).status.success());
    wait_until(&world, new, "open");
    assert_eq!(world.denied(), [NET], "its own deny is released");
    // The old one is anybody's now.
    wait_until(&world, old, "silent");
    denyd.wait_said(&format!("who=\"{HOME}\""));
    let why = String::from_utf8(world.denyd(&["why", new]).stdout).unwrap();
    let by = format!("{new} is never denied: it is allowed by {HOME}, which resolved to it at 20");
    assert!(why.starts_with(&by), "{why}");
    // Off the list it allows nobody.
    world.write("/etc/denyd/denyd.toml", FILE);
    assert!(world.denyd(&["reload"]).status.success());
    wait_until(&world, new, "silent");
}

#[test]
fn a_name_that_no_longer_resolves_keeps_its_last_address() {
    let home = "198.51.100.7";
    let Some(mut world) = world("names::a_name_that_no_longer_resolves_keeps_its_last_address", home) else { return };
    let mut denyd = world.start_denyd(Some(&config()));
    wait_address(&world, home);
    deny(&world, NET);
    wait_until(&world, "198.51.100.9", "silent");
    world.write("/etc/hosts", "127.0.0.1 localhost\n");
    assert!(world.denyd(&["reload"]).status.success());
    wait_name(&world, "the name not to resolve", |name| !name["failing"].is_null());
    wait_address(&world, home);
    assert!(world.attacker.banner(home).starts_with("SSH-2.0"));
    // Nor does a crash lock it out.
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    let _denyd = world.start_denyd(None);
    assert!(world.attacker.banner(home).starts_with("SSH-2.0"));
    wait_name(&world, "the name still not to resolve", |name| !name["failing"].is_null());
    assert!(world.attacker.banner(home).starts_with("SSH-2.0"));
    // Nor does a configuration that leaves it out for a while, as one that is tried.
    for config in [FILE, &config()] {
        world.write("/etc/denyd/denyd.toml", config);
        assert!(world.denyd(&["reload"]).status.success());
    }
    wait_address(&world, home);
    wait_name(&world, "the name again not to resolve", |name| !name["failing"].is_null());
    let said = String::from_utf8(world.denyd(&["check"]).stdout).unwrap();
    assert!(said.contains(&format!("FAIL allow {HOME}: does not resolve")), "{said}");
    for verb in ["allow", "status", "doctor"] {
        let said = String::from_utf8(world.denyd(&[verb]).stdout).unwrap();
        let stale = format!("stale: resolved to {home} at ");
        assert!(said.lines().any(|line| line.contains(HOME) && line.contains(&stale)), "{verb}: {said}");
    }
}

#[test]
fn a_resolver_that_hangs_holds_up_nothing() {
    // It is there, and never answers.
    const SILENT: &str = "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                          s.bind(('127.0.0.1', 53))\nprint('bound', flush=True)\ntime.sleep(300)";
    let Some(mut world) = world("names::a_resolver_that_hangs_holds_up_nothing", "192.0.2.1") else { return };
    let silent = world.spawn(&["/usr/bin/python3", "-c", SILENT]);
    silent.wait_said("bound");
    world.keep(silent);
    world.write("/etc/hosts", "127.0.0.1 localhost\n");
    world.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n");
    world.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:2\n");
    let mut denyd = world.start_denyd(Some(&config()));
    let is_asked = || world.run(&["ss", "-Huan", "dst 127.0.0.1:53"]).contains(":53");
    until("the name to be asked for", || is_asked().then_some(()));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    assert!(world.denyd(&["reload"]).status.success());
    let said = String::from_utf8(world.denyd(&["allow"]).stdout).unwrap();
    assert!(said.contains("not resolved yet: it allows nobody"), "{said}");
    assert!(world.run(&["ss", "-Huan", "dst 127.0.0.1:53"]).contains(":53"), "the lookup hangs meanwhile");
    let begun = std::time::Instant::now();
    denyd.signal(Signal::SIGTERM);
    assert_eq!(kit::world::how(denyd.wait()), "exit 0", "{}", denyd.said());
    assert!(begun.elapsed().as_secs() < 5, "nor is the end held up");
}
