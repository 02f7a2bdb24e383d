//! Open connections are cut, and it is seen that they are.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use denyd::deny::DenyBackend as _;
use denyd::deny::cut::Cut;
use denyd::deny::effect::Effect;
use kit::{program, skip};

use crate::world::{OTHER_PORT, PORT, in_namespace};
use crate::{Dir, NOW, diff, set};

#[test]
fn cuts_connections_of_who_is_denied() {
    if program("ss").is_none() {
        return skip("cut::cuts_connections_of_who_is_denied", "no ss");
    }
    in_namespace("cut::cuts_connections_of_who_is_denied", async |world| {
        let mut cut = Cut::new(Effect::default());
        let sources = ["192.0.2.10", "192.0.2.11", "198.51.100.7", "198.51.100.9", "2001:db8::10", "2001:db8::11"];
        let open = sources.map(|source| (source, world.hold(source)));
        let kept = world.hold("192.0.2.10");
        let are = |want: [&str; 6]| assert_eq!(open.map(|(source, port)| world.talk(source, port)), want);
        cut.replace(&set("", ""), NOW).unwrap();
        are(["open"; 6]);
        // another port is closed to it
        let mut want = set("192.0.2.10", "");
        let some = |port| Effect { ports: Some(vec![port]), ..Effect::default() };
        Cut::new(some(OTHER_PORT)).replace(&want, NOW).unwrap();
        are(["open"; 6]);
        want.kept = [("192.0.2.10".parse::<IpAddr>().unwrap(), kept)].into();
        Cut::new(some(PORT)).replace(&want, NOW).unwrap();
        are(["cut", "open", "open", "open", "open", "open"]);
        assert_eq!(world.talk("192.0.2.10", kept), "open", "somebody is logged in by it");
        let want = set("192.0.2.10 198.51.100.0/24 2001:db8::10", "198.51.100.9");
        cut.update(&diff(&want, "198.51.100.0/24 2001:db8::10", ""), &want, NOW).unwrap();
        are(["cut", "open", "cut", "open", "cut", "open"]);
        assert_eq!(world.talk("192.0.2.10", kept), "cut");
        // one that began just before its address was denied
        let late = world.hold("192.0.2.10");
        cut.probe(&want, NOW).unwrap();
        assert_eq!(world.talk("192.0.2.10", late), "cut");
    });
}

/// A program that says that it did what it did not.
#[test]
fn what_is_still_there_is_an_error() {
    let Some(ss) = program("ss") else { return skip("cut::what_is_still_there_is_an_error", "no ss") };
    in_namespace("cut::what_is_still_there_is_an_error", async |world| {
        let dir = Dir::new();
        let lies = dir.0.join("ss");
        std::fs::write(&lies, format!("#!/bin/sh\n[ \"$1\" = -K ] || exec {} \"$@\"\n", ss.display())).unwrap();
        std::fs::set_permissions(&lies, std::fs::Permissions::from_mode(0o755)).unwrap();
        let open = world.hold("192.0.2.10");
        let error = Cut::new(Effect::default()).with_binary(lies).replace(&set("192.0.2.10", ""), NOW).unwrap_err();
        assert_eq!(error.cause, "1 of 1 that were to be cut are still there");
        assert!(error.remedy.unwrap().contains("CONFIG_INET_DIAG_DESTROY"));
        assert_eq!(world.talk("192.0.2.10", open), "open");
    });
}
