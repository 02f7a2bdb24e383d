//! What is iptables' own.

use std::time::Duration;

use denyd::deny::{DenyBackend as _, DenySet};

use crate::world::{Way, in_namespace};
use crate::{NOW, diff, set};

/// What others made stays as it is and holds, also for what is allowed: RETURN, not ACCEPT.
#[test]
fn leaves_others_alone_and_notices_what_they_do() {
    in_namespace("iptables::leaves_others_alone_and_notices_what_they_do", async |world| {
        world.run("ipset", &["create", "denyd-t", "hash:ip"]);
        world.run("ipset", &["add", "denyd-t", "192.0.2.99"]);
        for way in Way::IPTABLES {
            println!("{way:?}");
            let mut iptables = world.iptables(*way);
            let run = |command: &str| {
                let (program, rest) = command.split_once(' ').unwrap();
                let legacy = if matches!(way, Way::IpsetLegacy | Way::RulesLegacy) && program != "ipset" {
                    "-legacy"
                } else {
                    ""
                };
                world.run(&format!("{program}{legacy}"), &rest.split(' ').collect::<Vec<_>>())
            };
            let others =
                ["-t raw -N other", "-t raw -A PREROUTING -s 192.0.2.12 -j DROP", "-A INPUT -s 192.0.2.13 -j DROP"];
            others.iter().for_each(|rule| _ = run(&format!("iptables {rule}")));
            let listed = |iptables: &str| run(&format!("{iptables} -t raw -S")) + &run(&format!("{iptables} -S"));
            let before = ["iptables", "ip6tables"].map(listed);
            let sets = run("ipset save");
            iptables.probe(&DenySet::default(), NOW).unwrap_err();
            let want = set("192.0.2.10 198.51.100.0/24 2001:db8:66::/64", "192.0.2.11 192.0.2.12 192.0.2.13");
            iptables.replace(&want, NOW).unwrap();
            iptables.probe(&DenySet::default(), NOW).unwrap();
            world.is("192.0.2.10 silent, 192.0.2.11 open, 192.0.2.12 silent, 192.0.2.13 silent").await;
            let gone = "chain denyd-t";
            let mut spoil = vec![
                ("iptables -t raw -F", "PREROUTING does not jump to it"),
                ("iptables -t raw -F denyd-t", "2 rules where there were"),
                ("iptables -t raw -F denyd-t-refused", "rules where there were"),
                ("ip6tables -t raw -I denyd-t -j ACCEPT", "rules where there were"),
                ("iptables -t raw -R denyd-t 1 -j ACCEPT", "its rules are others"),
                ("iptables -t raw -I PREROUTING -j ACCEPT", "not PREROUTING's first rule"),
                ("iptables -t raw -A PREROUTING -j denyd-t", "or not the only one"),
            ];
            if !way.has_rules_alone() {
                spoil.push(("ipset flush denyd-t-deny4", "set denyd-t-deny4 has 0 elements where there were 2"));
                spoil.push(("ipset del denyd-t-deny6 2001:db8:66::/64", "set denyd-t-deny6 has 0 elements"));
                spoil.push(("ipset add denyd-t-deny4 192.0.2.11", "set denyd-t-deny4 has 3 elements"));
                spoil.push(("ipset flush", "set denyd-t-deny4 has 0 elements"));
            }
            for (command, cause) in spoil {
                run(command);
                let error = iptables.probe(&DenySet::default(), NOW).unwrap_err();
                assert!(error.cause.contains(cause) && error.tried.contains(gone), "{command}: {error}");
                // an update on top of it mends it, or the probe goes on to see it
                if iptables.update(&diff(&want, "192.0.2.10", ""), &want, NOW).is_err() || !way.has_rules_alone() {
                    iptables.probe(&DenySet::default(), NOW).unwrap_err();
                }
                iptables.replace(&want, NOW).unwrap();
                iptables.probe(&DenySet::default(), NOW).unwrap();
                world.is("192.0.2.10 silent, 2001:db8:66::1 silent").await;
                if command.ends_with("-F") {
                    others[1..2].iter().for_each(|rule| _ = run(&format!("iptables {rule}")));
                } else if command.contains("-I PREROUTING") {
                    run("iptables -t raw -D PREROUTING -j ACCEPT");
                } else if command == "ipset flush" {
                    run("ipset add denyd-t 192.0.2.99");
                }
            }
            world.is("192.0.2.11 open, 192.0.2.12 silent, 192.0.2.13 silent").await;
            iptables.remove().unwrap();
            assert_eq!(["iptables", "ip6tables"].map(listed), before, "{way:?}: rules of others");
            assert_eq!(run("ipset save"), sets, "{way:?}: sets of others");
            let gone = iptables.update(&diff(&want, "192.0.2.10", ""), &want, NOW);
            assert!(gone.is_err() != way.has_rules_alone(), "{way:?}: {gone:?}");
            iptables.remove().unwrap();
            for rule in ["-t raw -F", "-t raw -X other", "-F"] {
                run(&format!("iptables {rule}"));
            }
        }
    });
}

/// Where the database was lost; and after a crash between two lines of a script, with sets of another form.
#[test]
fn is_taken_over() {
    in_namespace("iptables::is_taken_over", async |world| {
        for way in Way::IPTABLES {
            let mut iptables = world.iptables(*way);
            assert_eq!(iptables.kept(NOW).unwrap(), [], "{way:?}");
            let mut want = set("192.0.2.10 2001:db8:66::/64", "");
            want.denied.insert("198.51.100.0/24".parse().unwrap(), Some(NOW.after(Duration::from_secs(600))));
            iptables.replace(&want, NOW).unwrap();
            let mut kept = iptables.kept(NOW).unwrap();
            kept.sort_unstable();
            let ends: Vec<String> = kept
                .iter()
                .map(|(prefix, end)| match end {
                    // whole seconds, of which one may have gone
                    Some(Some(end)) => format!("{prefix} {}", (end.secs() - NOW.secs() + 5) / 10),
                    Some(None) => format!("{prefix} -"),
                    None => format!("{prefix} ?"),
                })
                .collect();
            let known = ["192.0.2.10 -", "198.51.100.0/24 60", "2001:db8:66::/64 -"];
            let unknown = ["192.0.2.10 ?", "198.51.100.0/24 ?", "2001:db8:66::/64 ?"];
            assert_eq!(ends, if way.has_rules_alone() { unknown } else { known }, "{way:?}");
            iptables.remove().unwrap();
        }
        for left in [
            "denyd-t-deny4 hash:net timeout 9 maxelem 3",
            "denyd-t-deny4-new hash:ip",
            "denyd-t-allow6 hash:net family inet6",
        ] {
            world.run("ipset", &[&["create"][..], &left.split(' ').collect::<Vec<_>>()].concat());
        }
        let mut iptables = world.iptables(Way::Ipset);
        iptables.replace(&set("192.0.2.10 192.0.2.11 192.0.2.12 192.0.2.13", "2001:db8::10"), NOW).unwrap();
        iptables.probe(&DenySet::default(), NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.13 silent, 192.0.2.14 open").await;
        iptables.remove().unwrap();
        // a set of this name that is none of ours
        world.run("ipset", &["create", "denyd-t-deny4", "bitmap:port", "range", "0-9"]);
        let error = iptables.replace(&set("192.0.2.10", ""), NOW).unwrap_err();
        assert!(error.to_string().starts_with("iptables: cannot replace the sets of denyd-t: "), "{error}");
        println!("{error}");
    });
}
