//! `denyd drill` through the log daemons and firewalls of a machine: the failures come by /dev/log as sshd's, and the kernel's
//! set is read back.

use kit::until;
use kit::world::{JOURNALD, Route, World};
use serde_json::Value;

/// What a drill says of each step, and its exit status.
fn drill(world: &World, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = world.denyd(&[&["drill", "--json"], arguments].concat());
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    let steps = said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}")));
    (output.status.code(), steps.collect())
}

/// It goes all the way, with either family of addresses, and nothing of it is left.
fn goes(world: &World, back_end: &str) {
    for arguments in [&[][..], &["--ipv6"]] {
        let (code, steps) = drill(world, arguments);
        assert_eq!(code, Some(0), "{steps:?}");
        let set = steps.iter().find(|step| step["step"] == "set").unwrap()["what"].as_str().unwrap();
        assert!(set.starts_with(back_end), "{set}");
    }
    assert!(world.denyd(&["history", "--json"]).stdout.is_empty());
    assert_eq!(world.denied(), Vec::<String>::new());
}

#[test]
fn by_a_file_and_nftables() {
    let Some(mut world) = World::new("drill::by_a_file_and_nftables") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(super::denies::FILE));
    goes(&world, "nftables: ");
    for set in ["deny4", "deny6"] {
        let set = world.run(&["nft", &format!("list set inet denyd {set}")]);
        assert!(!set.contains("elements"), "{set}");
    }
}

#[test]
fn by_a_file_and_iptables() {
    let Some(mut world) = World::new("drill::by_a_file_and_iptables") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(&format!("deny.backends = [\"iptables\"]\n{}", super::denies::FILE)));
    goes(&world, "iptables: ");
}

#[test]
fn by_a_journal() {
    let Some(world) = World::new("drill::by_a_journal") else { return };
    let _journald = world.spawn(&["bash", "-c", JOURNALD]);
    until("journald", || world.path("/run/journald.ready").exists().then_some(()));
    let _denyd = world.start_denyd(Some("[[input]]\nkind = \"journald\"\n"));
    goes(&world, "nftables: ");
}

/// Nobody writes what /dev/log is given into the file that is read.
#[test]
fn a_log_daemon_that_writes_elsewhere_is_told() {
    let Some(mut world) = World::new("drill::a_log_daemon_that_writes_elsewhere_is_told") else { return };
    world.start_sshd(Route::File);
    world.write("/var/log/other.log", "");
    let _denyd = world.start_denyd(Some("[[input]]\nkind = \"file\"\npath = \"/var/log/other.log\"\n"));
    let (code, steps) = drill(&world, &[]);
    let last = |index: usize| (steps[index]["step"].as_str().unwrap(), steps[index]["ok"].as_bool().unwrap());
    assert_eq!((code, last(0), last(1)), (Some(1), ("written", true), ("read", false)), "{steps:?}");
    // By the file itself it goes.
    let (code, steps) = drill(&world, &["--append"]);
    assert_eq!(code, Some(0), "{steps:?}");
}
