//! What `doctor` finds in a firewall: whether who is denied is really refused, with the daemon stopped, whose denies outlive it.

use kit::until;
use kit::world::World;
use nix::sys::signal::Signal;

const SOURCE: &str = "198.51.100.1";

/// What it says of a back end: whether that is a failure, and what.
fn of(world: &World, about: &str) -> (bool, String) {
    let said = world.denyd(&["doctor", "--json"]);
    let said = String::from_utf8(said.stdout).unwrap();
    let all = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut all = all.filter(|one| one["about"] == about);
    let one = all.next().unwrap_or_else(|| panic!("nothing of {about}: {said}"));
    (one["level"] == "fail", one["what"].as_str().unwrap().to_owned())
}

/// Denies by these back ends, and stops the daemon; what is denied stays so.
fn denied_by(world: &World, config: &str, about: &str) {
    world.write("/var/log/auth.log", "");
    let mut denyd = world.start_denyd(Some(&format!("{config}{}", super::denies::FILE)));
    assert!(world.denyd(&["deny", SOURCE, "2001:db8:66::/48", "192.0.2.0/25"]).status.success());
    assert!(world.denyd(&["deny", SOURCE]).status.success());
    let is_refused = |(fails, said): (bool, String)| (!fails && said.contains("is refused there")).then_some(());
    until("doctor to see that it is refused", || is_refused(of(world, about)));
    denyd.signal(Signal::SIGTERM);
    denyd.wait();
    is_refused(of(world, about)).expect("as long as nobody touches it");
}

/// It fails by this, with what to do about it.
fn fails(world: &World, about: &str, cause: &str) {
    let (fails, said) = of(world, about);
    assert!(fails && said.contains(cause) && said.contains("systemctl start denyd"), "{said}");
}

#[test]
fn a_table_that_refuses_nobody_is_found() {
    let Some(world) = World::new("doctor::a_table_that_refuses_nobody_is_found") else { return };
    denied_by(&world, "", "nftables");
    let nft = |script: &str| world.run(&["nft", script]);
    nft(&format!("delete element inet denyd deny4 {{ {SOURCE} }}"));
    fails(&world, "nftables", &format!("set deny4 does not hold {SOURCE}"));
    nft("insert rule inet denyd prerouting counter accept");
    fails(&world, "nftables", "a rule that is not ours comes first: counter packets ");
    nft("add table inet denyd { flags dormant; }");
    fails(&world, "nftables", "the table is dormant");
    nft("delete table inet denyd");
    fails(&world, "nftables", "the table is gone");
    let _denyd = world.start_denyd(None);
    assert!(!of(&world, "nftables").0, "denyd has mended it");
}

#[test]
fn a_chain_that_refuses_nobody_is_found() {
    let Some(world) = World::new("doctor::a_chain_that_refuses_nobody_is_found") else { return };
    denied_by(&world, "deny.backends = [\"iptables\"]\n", "iptables");
    world.run(&["ipset", "del", "denyd-deny4", SOURCE]);
    fails(&world, "iptables", &format!("set denyd-deny4 does not hold {SOURCE}"));
    world.run(&["iptables", "-t", "raw", "-I", "denyd", "-j", "RETURN"]);
    fails(&world, "iptables", "a rule that is not ours lets pass");
    world.run(&["iptables", "-t", "raw", "-I", "PREROUTING", "-j", "ACCEPT"]);
    fails(&world, "iptables", "the jump to it is not PREROUTING's first rule");
    let _denyd = world.start_denyd(None);
    assert!(!of(&world, "iptables").0, "denyd has mended it");
}
