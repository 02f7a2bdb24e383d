//! Passwords by `password` and by `keyboard-interactive`, in any order, within one connection of a real sshd with PAM.

use kit::until;
use kit::world::{Route, World};
use serde_json::json;

use super::denies::FILE;

/// sshd as most have it, and an end for each method after six tries.
fn world(test: &str, level: &str) -> Option<World> {
    let mut world = World::new(test)?;
    let set = "sed -i 's/^KbdInteractiveAuthentication no/KbdInteractiveAuthentication yes/' /etc/ssh/e2e_config";
    world.run(&["sh", "-ec", &format!("{set}; echo LogLevel {level} >>/etc/ssh/e2e_config")]);
    world.start_sshd(Route::File);
    Some(world)
}

/// Tries wrong passwords in one connection, in this order.
fn mix(world: &mut World, source: &str, user: &str, order: &str) {
    let prompted: Vec<_> = order.bytes().map(|method| method == b'k').collect();
    let answer = world
        .attacker
        .ask(source, json!({"do": "login", "user": user, "tries": vec!["wrong"; order.len()], "prompted": prompted}));
    assert!(answer[0].as_str().unwrap().starts_with("AuthenticationException"), "{order}: {answer}");
}

#[test]
fn each_password_counts_once_in_any_order_of_methods() {
    for level in ["INFO", "VERBOSE"] {
        let Some(mut world) = world("each_password_counts_once_in_any_order_of_methods", level) else { return };
        let config = format!("[decide]\nthreshold_valid = 100\nthreshold_invalid = 100\n{FILE}");
        let _denyd = world.start_denyd(Some(&config));
        for (index, order) in ["k", "kp", "pkk", "kpkp", "ppkkk", "kkkppp", "pkpkpk"].into_iter().enumerate() {
            for (class, user, net) in [("valid", "tbuser", 100), ("invalid", "nobody-here", 200)] {
                let source = format!("198.51.100.{}", net + index);
                mix(&mut world, &source, user, order);
                world.wait_count(&source, class, order.len() as u64);
            }
        }
    }
}

/// How the data of `tests/program/mixing.rs` come about.
#[test]
#[ignore = "writes tests/data/sshd/mixed-*.log.xz"]
fn record() {
    for level in ["INFO", "VERBOSE"] {
        let mut world = world("record", level).unwrap();
        for order in kit::orders(6) {
            for user in ["tbuser", "nobody-here"] {
                mix(&mut world, &kit::source_of(&order, user == "tbuser"), user, &order);
            }
        }
        until("all connections to end", || {
            let states = world.run(&["ps", "-C", "sshd", "-o", "stat="]);
            (states.lines().filter(|state| !state.starts_with('Z')).count() == 1).then_some(())
        });
        world.run(&["logger", "that was all"]);
        let log = until("rsyslogd to write all", || {
            Some(world.read("/var/log/auth.log")).filter(|log| log.contains("that was all"))
        });
        let lines = log.lines().filter(|line| line.contains("sshd[") && !line.contains("Server listening"));
        let log: String = lines.map(|line| format!("{line}\n")).collect();
        let path = kit::data(&format!("sshd/mixed-{}.log", level.to_lowercase()));
        std::fs::write(&path, log).unwrap();
        assert!(std::process::Command::new("xz").args(["-9", "-f"]).arg(&path).status().unwrap().success());
    }
}
