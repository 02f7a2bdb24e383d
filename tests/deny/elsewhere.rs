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
            let found = Elsewhere::read(&settings, Default::default()).of(&prefix);
            assert_eq!(found.len(), want, "{prefix}: {found:?}");
            for one in &found {
                assert!(one.is_certain());
                one.remove(&prefix).unwrap();
            }
            assert_eq!(Elsewhere::read(&settings, Default::default()).of(&prefix), []);
        };
        // Sets of others, ours not among them, and routes that lead nowhere.
        run("nft add set inet mine bad { type ipv4_addr ; flags interval ; }");
        run("nft add element inet mine bad { 203.0.113.20, 203.0.113.64/26 }");
        run("nft add set inet mine good { type ipv4_addr ; }");
        run("nft add element inet mine good { 203.0.113.22 }");
        run("nft add rule inet mine in ip saddr @bad counter drop");
        run("nft add rule inet mine in ip saddr != @good accept");
        run("ip route add blackhole 203.0.113.21");
        run("ip route add unreachable 198.51.100.0/25 table 7");
        check("203.0.113.20", 1);
        check("203.0.113.21", 1);
        check("203.0.113.22", 0);
        let wider = |prefix: &str, want: &str| {
            let prefix = prefix.parse().unwrap();
            let found = Elsewhere::read(&Settings::default(), Default::default()).of(&prefix);
            assert!(found.len() == 1 && found[0].to_string() == want, "{found:?}");
            assert!(found[0].remove(&prefix).is_err(), "it is of others, too");
        };
        wider("198.51.100.7", "the routes of this machine: unreachable 198.51.100.0/25 table 7");
        // One that is asked for mail alone is named, and left to who made it; one that is asked for both refuses.
        run("nft add set inet mine spammers { type ipv4_addr ; }");
        run("nft add element inet mine spammers { 203.0.113.23 }");
        run("nft add rule inet mine in ip saddr @spammers tcp dport 25 drop");
        let found = Elsewhere::read(&Settings::default(), Default::default()).of(&"203.0.113.23".parse().unwrap());
        assert!(
            found.len() == 1 && !found[0].is_certain() && found[0].remove(&"203.0.113.23".parse().unwrap()).is_err()
        );
        run("nft add rule inet mine in ip saddr @spammers drop");
        check("203.0.113.23", 1);
        if kit::program("ipset").is_some() {
            run("ipset create theirs hash:net");
            run("ipset add theirs 203.0.113.30");
            run("iptables -A INPUT -m set --match-set theirs src -j DROP");
            check("203.0.113.30", 1);
        }
        run("iptables -A INPUT -s 203.0.113.40/29 -p tcp --dport 22 -j DROP");
        let found = Elsewhere::read(&Settings::default(), Default::default()).of(&"203.0.113.41".parse().unwrap());
        assert!(
            found.len() == 1 && !found[0].is_certain() && found[0].remove(&"203.0.113.41".parse().unwrap()).is_err()
        );
        check("203.0.113.9", 4);
        check("2001:db8::9", 1);
        check("203.0.113.7", 0);
        check("203.0.113.8", 1);
    });
}
