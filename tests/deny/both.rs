//! What holds for every firewall, whatever way denyd takes to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denyd::decide::prefix::Prefix;
use denyd::deny::effect::{Action, Effect, Protocol, Refused, Spared};
use denyd::deny::{DenyBackend, DenySet, Diff, Probe};
use kit::Random;
use tokio::time::Instant;

use crate::world::{OTHER_PORT, PORT, Way, World, in_namespace};
use crate::{NOW, diff, set};

/// Where nobody listens, and the kernel says so by ICMP.
const NOBODY: u16 = 9;

/// In a world of its own, by one way after the other; nothing is left of any.
fn by_each_way(test: &str, ways: &'static [Way], check: impl AsyncFn(&'static World, &mut dyn DenyBackend, Way)) {
    in_namespace(test, async |world| {
        for way in ways {
            println!("{way:?}");
            let before = world.ruleset();
            let mut back_end = world.back_end(*way, Effect::default());
            check(world, back_end.as_mut(), *way).await;
            back_end.take_away(NOW).unwrap();
            assert_eq!(world.ruleset(), before, "{way:?}");
            back_end.take_away(NOW).unwrap();
        }
    });
}

fn ours(back_end: &mut dyn DenyBackend, want: &DenySet) {
    assert_eq!(back_end.probe(want, NOW).unwrap(), Probe::Ours);
}

#[test]
fn denies_hosts() {
    by_each_way("both::denies_hosts", Way::ALL, async |world, back_end, _| {
        world.is("192.0.2.10 open, 192.0.2.11 open, 2001:db8:66::1 open, 2001:db8:66:1::1 open").await;
        let want = set("192.0.2.10 2001:db8:66::/64", "2001:db8:66::7");
        back_end.replace(&want, NOW).unwrap();
        ours(back_end, &want);
        world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8:66::1 silent, 2001:db8:66:1::1 open").await;
        world.is("2001:db8:66::7 open, 2001:db8:66::8 silent").await;
        // release and a new one in one update
        let want = set("192.0.2.11 2001:db8:66::/64", "2001:db8:66::8");
        let mut diff = diff(&want, "192.0.2.11", "192.0.2.10 203.0.113.1");
        diff.allowed = Some(want.allowed.clone());
        back_end.update(&diff, &want, NOW).unwrap();
        ours(back_end, &want);
        world.is("192.0.2.10 open, 192.0.2.11 silent, 2001:db8:66::7 silent, 2001:db8:66::8 open").await;
        back_end.take_away(NOW).unwrap();
        world.is("192.0.2.11 open, 2001:db8:66::7 open").await;
    });
}

/// A connection that is to stay open does, with its address denied; no other does, and none begins, not even from its port.
#[test]
fn a_connection_stays_open_with_its_address_denied() {
    by_each_way("both::a_connection_stays_open_with_its_address_denied", Way::ALL, async |world, back_end, _| {
        for source in ["192.0.2.12", "2001:db8::12"] {
            back_end.replace(&DenySet::default(), NOW).unwrap();
            let [one, other] = [(); 2].map(|()| world.hold(source));
            assert_eq!([one, other].map(|port| world.talk(source, port)), ["open", "open"]);
            let address: IpAddr = source.parse().unwrap();
            let mut want = set(source, "");
            want.kept = [(address, one), (address, 4_444)].into();
            back_end.update(&Diff { kept: Some(want.kept.clone()), ..diff(&want, source, "") }, &want, NOW).unwrap();
            ours(back_end, &want);
            assert_eq!([one, other].map(|port| world.talk(source, port)), ["open", "silent"]);
            world.is(&format!("{source} silent, {source}#4444 silent")).await;
            back_end.replace(&want, NOW).unwrap();
            ours(back_end, &want);
            assert_eq!(world.talk(source, one), "open");
            want.kept.clear();
            back_end.update(&Diff { kept: Some(BTreeSet::new()), ..Diff::default() }, &want, NOW).unwrap();
            ours(back_end, &want);
            assert_eq!(world.talk(source, one), "silent", "its exception is gone");
        }
    });
}

/// What is behind this machine, as a container is, is reached by nobody who is denied.
#[test]
fn what_is_forwarded_is_denied_too() {
    by_each_way("both::what_is_forwarded_is_denied_too", Way::ALL, async |world, back_end, way| {
        if way == Way::ALL[0] {
            world.container();
        }
        back_end.replace(&set("192.0.2.11", ""), NOW).unwrap();
        assert_eq!(["192.0.2.10", "192.0.2.11"].map(|source| world.forwarded(source)), ["open", "silent"]);
        back_end.update(&diff(&set("", ""), "", "192.0.2.11"), &set("", ""), NOW).unwrap();
        assert_eq!(world.forwarded("192.0.2.11"), "open");
    });
}

#[test]
fn denies_end_by_themselves_and_are_extended() {
    by_each_way("both::denies_end_by_themselves_and_are_extended", Way::TIMED, async |world, back_end, way| {
        let mut want = DenySet::default();
        for short in ["192.0.2.10", "192.0.2.11", "198.51.100.0/24"] {
            want.denied.insert(short.parse().unwrap(), Some(NOW.after(Duration::from_millis(1500))));
        }
        want.denied.insert("192.0.2.12".parse().unwrap(), Some(NOW)); // has ended
        want.denied.insert("192.0.2.13".parse().unwrap(), Some(NOW.after(Duration::from_secs(100 * 365 * 86400))));
        back_end.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.12 open, 192.0.2.13 silent, 198.51.100.1 silent").await;
        want.denied.insert("192.0.2.11".parse().unwrap(), Some(NOW.after(Duration::from_secs(60))));
        back_end.update(&diff(&want, "192.0.2.11", ""), &want, NOW).unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        while world.connect("192.0.2.10").await != "open" {
            assert!(Instant::now() < end, "the timeout did not let it in");
        }
        world.is("192.0.2.11 silent, 192.0.2.13 silent, 198.51.100.1 open").await;
        back_end.probe(&want, NOW).expect("that they ended is no work of others");
        if way != Way::Ipset {
            return;
        }
        // 100 years are more than ipset takes: 2147483 s, which the next `replace` starts anew
        let left = || {
            let saved = world.run("ipset", &["save", "denyd-t-deny4"]);
            let line = saved.lines().find(|line| line.contains("192.0.2.13 ")).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
        };
        assert!((2_147_400..2_147_483).contains(&left()), "{}", left());
        back_end.replace(&want, NOW.after(Duration::from_secs(86_400))).unwrap();
        assert!(left() >= 2_147_481, "{}", left());
    });
}

#[test]
fn denies_wide_prefixes() {
    by_each_way("both::denies_wide_prefixes", Way::ALL, async |world, back_end, _| {
        let mut want = set("198.51.100.0/24 2001:db8:66::/48 2001:db8::10", "198.51.100.9 2001:db8:66:5::/64");
        want.denied.insert("198.51.100.128/25".parse().unwrap(), Some(NOW.after(Duration::from_secs(3600))));
        back_end.replace(&want, NOW).unwrap();
        world.is("198.51.100.1 silent, 198.51.100.9 open, 198.51.100.200 silent, 192.0.2.10 open").await;
        world.is("2001:db8:66:4::1 silent, 2001:db8:66:5::1 open, 2001:db8::10 silent, 2001:db8::11 open").await;
        // the wider one ends: the narrower one is still there
        want.denied.remove(&"198.51.100.0/24".parse().unwrap());
        back_end.update(&diff(&want, "", "198.51.100.0/24"), &want, NOW).unwrap();
        world.is("198.51.100.1 open, 198.51.100.200 silent, 2001:db8:66:4::1 silent").await;
        // neighbour discovery goes on when all of IPv6's neighbours are denied
        back_end.replace(&set("2001:db8::/64 fe80::/10 192.0.2.10", "2001:db8::11"), NOW).unwrap();
        world.run("ip", &["neigh", "flush", "all"]);
        world.is("2001:db8::10 silent, 2001:db8::11 open, 192.0.2.10 silent, 192.0.2.11 open").await;
        // everything but what is allowed, loopback among it
        back_end.replace(&set("0.0.0.0/0 ::/0", "192.0.2.11 2001:db8::11"), NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.11 open, 2001:db8::10 silent, 2001:db8::11 open").await;
        for loopback in ["127.0.0.1", "::1", "192.0.2.1"] {
            let to = SocketAddr::new(loopback.parse().unwrap(), PORT);
            let opened = tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(to));
            opened.await.unwrap().unwrap();
        }
        // half of it, which is an element of it too
        let half = set("128.0.0.0/1", "");
        let mut diff = diff(&half, "128.0.0.0/1", "0.0.0.0/0 ::/0");
        diff.allowed = Some(Vec::new());
        back_end.update(&diff, &half, NOW).unwrap();
        world.is("192.0.2.10 silent, 192.0.2.11 silent, 2001:db8::10 open").await;
        ours(back_end, &half);
        back_end.replace(&set("192.0.2.10", "0.0.0.0/0 ::/0"), NOW).unwrap();
        world.is("192.0.2.10 open").await;
    });
}

/// After any updates the kernel holds what one `replace` would have written.
#[test]
fn updates_lead_where_replace_does() {
    by_each_way("both::updates_lead_where_replace_does", Way::TIMED, async |world, back_end, way| {
        let mut random = Random::new();
        let mut want = DenySet::default();
        back_end.replace(&want, NOW).unwrap();
        let mut compared = 0;
        for step in 0..60 {
            let diff = some_diff(&mut random);
            want.apply(&diff);
            back_end.update(&diff, &want, NOW).unwrap();
            if step % 5 > 0 {
                continue;
            }
            ours(back_end, &want);
            let updated = world.held(way);
            back_end.replace(&want, NOW).unwrap();
            assert_eq!(updated, world.held(way));
            compared += updated.len();
        }
        assert!(compared > 20, "too little to compare: {compared} elements");
    });
}

fn some_diff(random: &mut Random) -> Diff {
    let mut diff = Diff::default();
    for _ in 0..random.below(6) {
        let prefix = match random.below(2) {
            0 => Prefix::of(IpAddr::V4((0xc000_0200 + random.below(16) as u32).into()), 26 + random.below(7) as u8),
            _ => Prefix::of(
                IpAddr::V6((0x2001_0db8 << 96 | u128::from(random.below(8_u64)) << 63).into()),
                random.below(6) as u8 + [0, 60][random.below(2) as usize],
            ),
        };
        let until = NOW.after(Duration::from_secs(random.below(4) * 100_000));
        let until = (random.below(5) > 0).then_some(until);
        diff.denies.insert(prefix, (random.below(3) > 0).then_some(until));
    }
    if random.below(4) == 0 {
        diff.allowed = Some(set("", ["192.0.2.4", "192.0.2.0/29 2001:db8::1"][random.below(2) as usize]).allowed);
    }
    diff
}

/// A hundred thousand, half of them IPv6.
pub(crate) fn many() -> DenySet {
    let mut want = set("192.0.2.10", "192.0.2.11");
    for n in 0..50_000_u32 {
        let until = Some(NOW.after(Duration::from_secs(86400 + u64::from(n))));
        want.denied.insert(Prefix::host(IpAddr::V4((0x0a00_0000 + n).into())), until);
        want.denied.insert(Prefix::of(IpAddr::V6((0x2001_0db9 << 96 | u128::from(n) << 64).into()), 64), until);
    }
    want
}

#[test]
fn replaces_a_large_set_without_a_gap() {
    let ways = &[Way::Netlink, Way::Ipset];
    by_each_way("both::replaces_a_large_set_without_a_gap", ways, async |world, back_end, _| {
        let mut want = many();
        let time = |what: &str, most: u64, started: Instant| {
            let took = started.elapsed();
            println!("{what}: {} ms", took.as_millis());
            assert!(took < Duration::from_secs(most), "{what}");
        };
        let started = Instant::now();
        back_end.replace(&want, NOW).unwrap();
        time("replace 100 001", 10, started);
        world.is("192.0.2.10 silent, 192.0.2.11 open").await;
        let started = Instant::now();
        ours(back_end, &want);
        time("probe, nothing changed", 2, started);
        let started = Instant::now();
        want.denied.insert("192.0.2.12".parse().unwrap(), None);
        back_end.update(&diff(&want, "192.0.2.12", ""), &want, NOW).unwrap();
        time("update by one", 2, started);
        world.run("nft", &["add", "table", "inet", "other"]);
        let started = Instant::now();
        ours(back_end, &want);
        time("probe after a change of others", 2, started);
        world.run("nft", &["delete", "table", "inet", "other"]);
        // While the set is replaced again and again nobody denied gets through, and no rule drops the
        // allowed. (Some of their packets are lost all the same on a busy machine, also while a
        // table without any rule is replaced; so it is the rules' counters that are asked.)
        for _ in 0..4 {
            let hammer = tokio::spawn(world.hammer("192.0.2.10"));
            back_end.replace(&want, NOW).unwrap();
            let (open, _) = hammer.await.unwrap();
            assert_eq!(open, 0, "a denied one got through");
            ours(back_end, &want);
            let before = back_end.refused();
            let hammer = tokio::spawn(world.hammer("192.0.2.11"));
            back_end.replace(&want, NOW).unwrap();
            let (open, _) = hammer.await.unwrap();
            assert!(open > 0);
            ours(back_end, &want);
            assert_eq!(back_end.refused(), before, "an allowed one was refused");
        }
    });
}

/// Only the ports of the list are closed, and only those of TCP; a list that changes leaves the denies as they are.
#[test]
fn closes_ports() {
    by_each_way("both::closes_ports", Way::ALL, async |world, all_closed, way| {
        let want = set("192.0.2.10 198.51.100.0/24 2001:db8:66::/64", "198.51.100.9");
        let closes = |ports: &[u16]| {
            let effect = Effect { ports: Some(ports.to_vec()), ..Effect::default() };
            let mut back_end = world.back_end(way, effect);
            back_end.replace(&want, NOW).unwrap();
            ours(back_end.as_mut(), &want);
            back_end
        };
        closes(&[22, PORT]);
        world
            .is("192.0.2.10 silent, 198.51.100.1 silent, 198.51.100.9 open, 2001:db8:66::1 silent, 192.0.2.11 open")
            .await;
        world.tried("connect", OTHER_PORT, "192.0.2.10 open, 198.51.100.1 open, 2001:db8:66::1 open").await;
        world.tried("datagram", NOBODY, "192.0.2.10 refused, 2001:db8:66::1 refused").await;
        closes(&[OTHER_PORT]);
        world.is("192.0.2.10 open, 2001:db8:66::1 open").await;
        world.tried("connect", OTHER_PORT, "192.0.2.10 silent, 198.51.100.9 open, 2001:db8:66::1 silent").await;
        all_closed.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 2001:db8:66::1 silent").await;
        world.tried("datagram", NOBODY, "192.0.2.10 silent, 2001:db8:66::1 silent").await;
    });
}

/// Who may send to a listener of ours does although it is denied, whatever becomes of others' packets; and nothing else.
#[test]
fn a_log_sender_reaches_our_listener_with_its_address_denied() {
    let ways = &[Way::Netlink, Way::Program, Way::Ipset, Way::Rules];
    by_each_way("both::a_log_sender_reaches_our_listener_with_its_address_denied", ways, async |world, _, way| {
        let want = set("192.0.2.10 198.51.100.0/24 2001:db8:66::/64", "");
        if way == ways[0] {
            world.container();
        }
        let sender = |from: &str, protocol, at: Option<&str>, port| {
            let at = at.map(|at| at.parse().unwrap());
            Spared { from: from.parse().unwrap(), protocol, at, port }
        };
        let spared = vec![
            sender("192.0.2.0/28", Protocol::Tcp, Some("192.0.2.1"), PORT),
            sender("2001:db8:66::1", Protocol::Tcp, None, PORT),
            sender("198.51.100.0/24", Protocol::Tcp, Some("192.0.2.2"), PORT),
            sender("0.0.0.0/0", Protocol::Udp, None, NOBODY),
        ];
        // one way each: what is answered is told sooner
        let (action, refused) = match way {
            Way::Netlink | Way::Ipset => (Action::Drop, "silent"),
            _ => (Action::Reject, "refused"),
        };
        let mut back_end = world.back_end(way, Effect { spared, action, ..Effect::default() });
        let old = world.hold("192.0.2.10");
        back_end.replace(&want, NOW).unwrap();
        ours(back_end.as_mut(), &want);
        let before = back_end.refused();
        world.is("192.0.2.10 open, 2001:db8:66::1 open").await;
        assert_eq!(world.talk("192.0.2.10", old), "open");
        world.tried("datagram", NOBODY, "198.51.100.1 refused").await;
        ours(back_end.as_mut(), &want);
        assert_eq!(back_end.refused(), before, "what passes is not refused");
        world.is(&format!("198.51.100.1 {refused}, 2001:db8:66::2 {refused}")).await;
        world.tried("connect", OTHER_PORT, &format!("192.0.2.10 {refused}, 2001:db8:66::1 {refused}")).await;
        // A listener at all addresses of ours is at none of a machine behind us, which has the same port open.
        let everywhere = vec![sender("192.0.2.0/28", Protocol::Tcp, None, PORT)];
        let mut back_end = world.back_end(way, Effect { spared: everywhere, action, ..Effect::default() });
        back_end.replace(&want, NOW).unwrap();
        ours(back_end.as_mut(), &want);
        world.is("192.0.2.10 open").await;
        assert_eq!(world.forwarded("192.0.2.10"), refused);
        back_end.take_away(NOW).unwrap();
    });
}

/// TCP by a reset, all else by ICMP; and dropped again, with nothing left of what answered.
#[test]
fn answers_where_it_is_to() {
    by_each_way("both::answers_where_it_is_to", Way::ALL, async |world, drops, way| {
        let want = set("192.0.2.10 198.51.100.0/24 2001:db8:66::/64", "198.51.100.9");
        drops.replace(&want, NOW).unwrap();
        let dropping = world.ruleset();
        world.is("192.0.2.10 silent").await;
        let effect = |ports| Effect { ports, action: Action::Reject, ..Effect::default() };
        let mut rejects = world.back_end(way, effect(None));
        rejects.replace(&want, NOW).unwrap();
        ours(rejects.as_mut(), &want);
        world.is("192.0.2.10 refused, 198.51.100.1 refused, 198.51.100.9 open, 2001:db8:66::1 refused").await;
        // again and again: ICMP would be answered a few times only
        for _ in 0..20 {
            world.is("192.0.2.10 refused").await;
        }
        world.tried("datagram", PORT, "192.0.2.10 refused, 2001:db8:66::1 refused, 192.0.2.11 silent").await;
        let mut rejects = world.back_end(way, effect(Some(vec![PORT])));
        rejects.replace(&want, NOW).unwrap();
        ours(rejects.as_mut(), &want);
        world.is("192.0.2.10 refused, 2001:db8:66::1 refused").await;
        world.tried("connect", OTHER_PORT, "192.0.2.10 open, 2001:db8:66::1 open").await;
        world.tried("datagram", PORT, "192.0.2.10 silent").await;
        let mut again = world.back_end(way, Effect::default());
        again.replace(&want, NOW).unwrap();
        world.is("192.0.2.10 silent, 2001:db8:66::1 silent").await;
        // in any order, without counts and what ipset draws at random
        let words = |rules: String| {
            let words = rules.split_whitespace().filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
            let mut words: Vec<_> = words.map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(words(world.ruleset()), words(dropping));
    });
}

#[test]
fn counts_what_it_refuses() {
    by_each_way(
        "both::counts_what_it_refuses",
        &[Way::Netlink, Way::Ipset, Way::IpsetLegacy, Way::Rules],
        async |world, _, way| {
            let mut back_end = world.back_end(way, Effect { counters: true, ..Effect::default() });
            let want = set("192.0.2.10 192.0.2.12 198.51.100.0/24 2001:db8:66::/64", "198.51.100.9");
            // Neighbours are found, by what leaves no packet behind that comes later.
            world.tried("datagram", NOBODY, "192.0.2.10 refused, 198.51.100.1 refused, 2001:db8:66::1 refused").await;
            back_end.replace(&want, NOW).unwrap();
            let counted = |back_end: &mut dyn DenyBackend| {
                ours(back_end, &want);
                back_end.refused().unwrap()
            };
            assert_eq!(counted(back_end.as_mut()), Refused::default());
            world.is("192.0.2.10 silent, 192.0.2.11 open, 198.51.100.9 open").await;
            // a try of 400 ms is one packet
            assert_eq!(counted(back_end.as_mut()), Refused { packets: 1, connections: 1 });
            world.tried("datagram", NOBODY, "198.51.100.1 silent").await;
            world.is("198.51.100.1 silent, 2001:db8:66::1 silent").await;
            let all = Refused { packets: 4, connections: 3 };
            assert_eq!(counted(back_end.as_mut()), all);
            let each = back_end.refused_of_each().unwrap();
            let of = |prefix: &str| each.get(&prefix.parse().unwrap()).copied();
            let known = ["192.0.2.10", "192.0.2.12", "198.51.100.0/24", "2001:db8:66::/64"].map(of);
            let want_each = if way.has_rules_alone() { [None; 4] } else { [Some(1), Some(0), Some(2), Some(1)] };
            assert_eq!(known, want_each);
            // what was written anew counts on
            back_end.replace(&want, NOW).unwrap();
            assert_eq!(counted(back_end.as_mut()), all);
            world.is("192.0.2.10 silent").await;
            assert_eq!(counted(back_end.as_mut()), Refused { packets: 5, connections: 4 });
            // and so it does when somebody else took it away
            if way == Way::Netlink {
                world.run("nft", &["flush", "ruleset"]);
                back_end.probe(&want, NOW).unwrap_err();
                back_end.replace(&want, NOW).unwrap();
                assert_eq!(counted(back_end.as_mut()), Refused { packets: 5, connections: 4 });
            }
            back_end.take_away(NOW).unwrap();
        },
    );
}

impl World {
    /// The elements of our sets with the minutes that each has left.
    fn held(&self, way: Way) -> BTreeSet<String> {
        if way != Way::Ipset {
            let sets = ["allow4", "allow6", "deny4", "deny6", "wide4", "wide6"];
            let named = |set: &str| {
                let elements = self.elements("denyd_t", set).into_iter();
                elements.map(|element| format!("{set} {element}")).collect::<Vec<_>>()
            };
            return sets.into_iter().flat_map(named).collect();
        }
        let saved = self.run("ipset", &["save"]);
        let added = saved.lines().filter_map(|line| line.strip_prefix("add "));
        let minutes = |element: &str| match element.split_once(" timeout ") {
            Some((prefix, left)) => format!("{prefix} {}", left.parse::<u32>().unwrap().div_ceil(60)),
            None => element.to_owned(),
        };
        added.map(minutes).collect()
    }
}
