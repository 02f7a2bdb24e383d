//! Special addresses: by what each is counted and denied, and what `hosts.deny` has of it. What nftables is told is in a unit
//! test beside its back end.

use std::fs;

use kit::{Home, text, until};

/// An address as a line has it, by what it is counted, and its entry in `hosts.deny`; none = it is never denied.
const ADDRESSES: &[(&str, &str, Option<&str>)] = &[
    ("9.9.9.9", "9.9.9.9", Some("9.9.9.9")),
    ("::ffff:9.9.9.8", "9.9.9.8", Some("9.9.9.8")),
    ("0.0.0.0", "0.0.0.0", None),
    ("0.1.2.3", "0.1.2.3", None),
    ("127.0.0.2", "127.0.0.2", None),
    ("169.254.7.7", "169.254.7.7", Some("169.254.7.7")),
    ("224.0.0.251", "224.0.0.251", None),
    ("255.255.255.255", "255.255.255.255", None),
    ("10.1.2.3", "10.1.2.3", Some("10.1.2.3")),
    ("172.16.2.3", "172.16.2.3", Some("172.16.2.3")),
    ("192.168.2.3", "192.168.2.3", Some("192.168.2.3")),
    ("100.64.2.3", "100.64.2.3", Some("100.64.2.3")),
    ("198.18.2.3", "198.18.2.3", Some("198.18.2.3")),
    ("192.0.2.7", "192.0.2.7", Some("192.0.2.7")),
    ("198.51.100.7", "198.51.100.7", Some("198.51.100.7")),
    ("203.0.113.7", "203.0.113.7", Some("203.0.113.7")),
    ("::", "::", None),
    ("::1", "::1", None),
    ("::9.9.9.7", "::909:907", Some("[::909:907]")),
    ("::ffff:0:9.9.9.7", "::ffff:0:909:907", Some("[::ffff:0:909:907]")),
    ("64:ff9b::9.9.9.7", "64:ff9b::909:907", Some("[64:ff9b::909:907]")),
    ("64:ff9b:1::9.9.9.7", "64:ff9b:1::909:907", Some("[64:ff9b:1::909:907]")),
    // The site's own translator.
    ("2001:db8:64::9.9.9.7", "2001:db8:64::909:907", Some("[2001:db8:64::909:907]")),
    ("2001:0:909:907::1", "2001:0:909:907::1", Some("[2001:0:909:907::1]")),
    ("2002:909:907:5::1", "2002:909:907::/48", Some("[2002:909:907::]/48")),
    ("fe80::7%eth0", "fe80::7", Some("[fe80::7]")),
    ("ff02::1", "ff02::1", None),
    ("fd00:1:2:3::4", "fd00:1:2:3::/64", Some("[fd00:1:2:3::]/64")),
    ("2001:2:0:5::4", "2001:2:0:5::/64", Some("[2001:2:0:5::]/64")),
    ("2001:db8:1:2::3", "2001:db8:1:2::/64", Some("[2001:db8:1:2::]/64")),
    ("3fff:1:2:3::4", "3fff:1:2:3::/64", Some("[3fff:1:2:3::]/64")),
    ("2600:1:2:3::4", "2600:1:2:3::/64", Some("[2600:1:2:3::]/64")),
];

#[test]
fn each_is_denied_as_the_table_says() {
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let hosts_deny = home.path("hosts.deny");
    let config = config.replace("[\"stdout\"]", "[\"stdout\", \"hosts.deny\"]");
    let more = format!("decide.nat64_prefixes = [\"2001:db8:64::/96\"]\ndeny.hosts_deny.path = {hosts_deny:?}\n");
    fs::write(home.path("config"), more + &config).unwrap();
    fs::write(&hosts_deny, "").unwrap();
    let now = jiff::Timestamp::now().strftime("%b %e %H:%M:%S").to_string();
    let tries = ADDRESSES.iter().zip(1_000..).flat_map(|((address, ..), port)| {
        let line = |pid| format!("{now} box sshd[{pid}]: Failed password for root from {address} port {port} ssh2\n");
        [line(2 * port), line(2 * port + 1)]
    });
    home.append(tries.collect::<String>().as_bytes());
    let daemon = home.start();
    daemon.caught_up();
    let mut entries: Vec<_> =
        ADDRESSES.iter().filter_map(|(.., entry)| *entry).map(|it| format!("sshd: {it}")).collect();
    entries.sort();
    until("all are denied", || {
        let found = fs::read_to_string(&hosts_deny).unwrap();
        let mut found: Vec<_> = found.lines().filter(|line| line.starts_with("sshd")).collect();
        found.sort_unstable();
        (found == entries).then_some(())
    });
    for (address, counted, entry) in ADDRESSES {
        let address = address.split('%').next().unwrap();
        let why = home.ask(&["why", address]).unwrap();
        let verdict = if entry.is_some() { "denied" } else { "not denied" };
        assert_eq!((&*text(&why["prefix"]), &why["tallies"]["root"]), (*counted, &2.into()), "{address}");
        assert_eq!(home.stdout().contains(&format!("deny {counted} until ")), entry.is_some(), "{address}: {verdict}");
        let told = String::from_utf8(home.denyd(&["why", address]).output().unwrap().stdout).unwrap();
        assert_eq!(told.contains("it is never denied"), entry.is_none(), "{told}");
    }
    daemon.stop();
}
