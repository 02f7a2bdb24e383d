//! Rules of others for one address, as the kernel has them.

use denyd::deny::choose::Settings;
use denyd::deny::elsewhere::Elsewhere;

use crate::world::in_namespace;

/// The rules that DenyHosts left, twice as it did, and one of nftables: each is found, and removed where that is wanted.
#[test]
fn rules_of_others_are_found_and_removed() {
    in_namespace("elsewhere::rules_of_others_are_found_and_removed", async |world| {
        let run = |command: &str| {
            let (program, rest) = command.split_once(' ').unwrap();
            world.run(program, &rest.split(' ').collect::<Vec<_>>())
        };
        run("iptables -I INPUT -s 203.0.113.9 -j DROP");
        run("iptables -I INPUT -s 203.0.113.9 -j DROP");
        run("iptables -I INPUT -p tcp -m multiport --dports 22,2222 -s 203.0.113.9 -j DROP");
        run("iptables -I INPUT -s 203.0.113.8 -j DROP");
        run("ip6tables -I INPUT -s 2001:db8::9 -j REJECT");
        run("nft add table inet mine");
        run("nft add chain inet mine in { type filter hook input priority 0 ; }");
        run("nft add rule inet mine in ip saddr 203.0.113.9 counter drop");
        let check = |prefix: &str, want: usize| {
            let (prefix, settings) = (prefix.parse().unwrap(), Settings::default());
            let found = Elsewhere::read(&settings).of(&prefix);
            assert_eq!(found.len(), want, "{prefix}: {found:?}");
            for one in &found {
                assert!(one.is_certain());
                one.remove(&prefix).unwrap();
            }
            assert_eq!(Elsewhere::read(&settings).of(&prefix), []);
        };
        check("203.0.113.9", 4);
        check("2001:db8::9", 1);
        check("203.0.113.7", 0);
        check("203.0.113.8", 1);
    });
}
