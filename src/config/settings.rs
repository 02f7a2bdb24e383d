//! The keys of the file before its inputs, and the files that they name.

use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use super::codec::{Bad, Codec, Node, duration, parsed, unless, whole, words, yes};
use super::document::{Reader, Table, shorten};
use super::key::{Key, Section};
use super::values::{is_user, path, socket_path, user};
use super::{Backends, Config, compat, mail, plugin, report, sync, webhook};
use crate::decide::allow::AllowList;
use crate::decide::policy::{Class, Threshold, Watch};
use crate::decide::prefix::Prefix;
use crate::deny::choose::{self, KINDS};
use crate::deny::effect::{Action, PORTS_MAX};
use crate::whose;

/// Denies of one prefix that may each have a length of their own.
const TERMS_MAX: usize = 32;

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// All tables but the inputs, each behind the one that it is in.
pub(super) fn sections() -> [Section<Config>; 13] {
    [
        Section {
            name: "",
            keys: top(),
            tables: &["decide", "deny", "mail", "webhook", "plugin", "report", "sync", "compat", "input", "rule"],
        },
        Section { name: "[decide]", keys: classes().into_iter().chain(decide()).collect(), tables: &[] },
        Section { name: "[deny]", keys: deny(), tables: &["nftables", "iptables", "pf", "hosts_deny"] },
        Section { name: "[deny.nftables]", keys: nftables(), tables: &[] },
        Section { name: "[deny.iptables]", keys: iptables(), tables: &[] },
        Section { name: "[deny.pf]", keys: pf(), tables: &[] },
        Section { name: "[deny.hosts_deny]", keys: hosts_deny(), tables: &[] },
        Section { name: "[mail]", keys: mail::keys(), tables: &[] },
        Section { name: "[webhook]", keys: webhook::keys(), tables: &[] },
        Section { name: "[plugin]", keys: plugin::keys(), tables: &[] },
        Section { name: "[report]", keys: report::keys(), tables: &[] },
        Section { name: "[sync]", keys: sync::keys(), tables: &[] },
        Section { name: "[compat]", keys: compat::keys(), tables: &[] },
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(
    name: &'static str,
    codec: Codec<T>,
    place: impl Fn(&mut Config) -> &mut T + 'static,
) -> Key<Config> {
    Key::new(name, codec, move |config| Some(place(config)))
}

fn top() -> Vec<Key<Config>> {
    let levels = ["error", "warn", "info", "debug", "trace"].map(|word| (word, word.parse().expect("a level")));
    vec![
        key("state_dir", path(), |c| &mut c.state_dir).says(
            "The directory of the database. It is readable by denyd alone, because people type passwords as user names.",
        ),
        key("control_socket", socket_path(), |c| &mut c.control_socket).says(
            "The socket on which `denyd status`, `denyd list` and the other commands reach the daemon. At most 107 bytes.",
        ),
        key("log_level", words(&levels), |c| &mut c.log_level)
            .says(r#"The least severe message that is logged: "error", "warn", "info", "debug" or "trace"."#),
        key("spare_machine", yes(), |c| &mut c.spare_machine).says(
            "Whether this machine's own addresses and its default gateways are never denied, and the addresses of IPv6 on its
            links are counted one by one. false is for a machine that judges the logs of others, in whose networks the same
            addresses are other machines.",
        ),
        key("rules_dir", path(), |c| &mut c.rules_dir).says(
            "The directory with the rules for other programs than sshd and dropbear: files that end in .toml, in the
            order of their names. No rules hold if this very directory is missing; another one must be there. rules.md of the documentation
            says how to write one. A [[rule]] may stand at the end of this file, too.",
        ),
    ]
}

/// What is tolerated of each class.
fn classes() -> Vec<Key<Config>> {
    vec![
        threshold("threshold_invalid", Class::Invalid).denyhosts("DENY_THRESHOLD_INVALID").says(
            r#"How many failed logins are tolerated from an address; each of five classes has its own number. It is denied
            when its count *exceeds* the number, so 5 denies at the 6th failure and 0 at the first. "off" never denies.
            One attempt counts once, however many lines sshd writes of it.

            The first class: users that do not exist."#,
        ),
        threshold("threshold_valid", Class::Valid)
            .denyhosts("DENY_THRESHOLD_VALID")
            .says("Users that exist, or of whom the log does not say whether they do; but not root."),
        threshold("threshold_root", Class::Root).denyhosts("DENY_THRESHOLD_ROOT").says("root."),
        threshold("threshold_restricted", Class::Restricted)
            .denyhosts("DENY_THRESHOLD_RESTRICTED")
            .says("Users named under restricted_users below."),
        threshold("threshold_probe", Class::Probe).says(
            r#"Connections that began no login: port scanners, and monitoring. Monitoring is why the default is "off"."#,
        ),
        age("age_reset_invalid", Class::Invalid).says(
            r#"A count begins again at zero when nothing failed for so long (DenyHosts: AGE_RESET_INVALID and so on).
            "never" keeps counts for good."#,
        ),
        age("age_reset_valid", Class::Valid),
        age("age_reset_root", Class::Root),
        age("age_reset_restricted", Class::Restricted),
        age("age_reset_probe", Class::Probe),
    ]
}

fn decide() -> Vec<Key<Config>> {
    let bits = |range| whole(range, " (a prefix length, in bits)");
    let watches = [("off", Watch::Off), ("report", Watch::Report), ("deny", Watch::Deny)];
    vec![
        key("reset_on_success", yes(), |c| &mut c.decide.policy.reset_on_success).says(
            "Whether a good login sets the counts of its address back to zero, as far as they come from the same host.
            It never releases an address that is denied. With true, whoever owns one account can guess at the others for
            ever.",
        ),
        key("deny_for", unless("forever", duration), |c| &mut c.decide.policy.deny_for)
            .denyhosts("PURGE_DENY")
            .says(
                r#"How long a deny lasts, at least "1s"; then the address is released and its counts begin at zero.
                "forever" never releases: consider that addresses change hands."#,
            ),
        key("escalate", terms(), |c| &mut c.decide.policy.escalate).example(r#"["30d", "90d"]"#).says(
            "How long the second deny of an address lasts, the third, and so on; the last of these is for all further ones.
            The first lasts deny_for, and with an empty list all do.",
        ),
        key("probation", unless("off", duration), |c| &mut c.decide.policy.probation).says(
            r#"How long the first deny lasts of an address from which somebody logged in within 30 days, so that an office
            whose people mistype is not out for deny_for. It is for once in 30 days, whoever logs in meanwhile; the next deny
            is as any. "off" makes no difference."#,
        ),
        key("permanent_after", unless("never", releases), |c| &mut c.decide.policy.permanent_after)
            .denyhosts("PURGE_THRESHOLD")
            .says(
                r#"An address that was released this often is denied for ever the next time. "never" is DenyHosts' 0."#,
            ),
        key("within", unless("never", duration), |c| &mut c.decide.policy.within).example(r#""10m""#).says(
            r#"Only failures within this time of each other count together, as fail2ban's findtime.
            "never": they count however far apart they are, until age_reset_… have passed without one."#,
        ),
        key("ipv4_prefix", bits(8..=32), |c| &mut c.decide.policy.ipv4_bits).says(
            "How many bits of an address are counted and denied together: 8 to 32 for IPv4, where 32 is each address
            alone, and 32 to 128 for IPv6, where one household usually has all addresses of a /64. Special addresses have
            lengths of their own; decisions.md of the documentation has the table.",
        ),
        key("ipv6_prefix", bits(32..=128), |c| &mut c.decide.policy.ipv6_bits),
        key("ipv6_wider_nets", yes(), |c| &mut c.decide.policy.wider_nets).says(
            "Whether a /56 or a /48 is denied whose owner tries from many of its /64s, a few times each: a /56 when its
            failures of a class exceed 4 times what one /64 is denied for, from at least 4 of them, a /48 when they exceed 16
            times that, from at least 16. Each /64 adds hardly more than it is denied for itself. For an hour, and for deny_for
            when that was not enough. Never a net from which somebody logged in within 30 days.",
        ),
        key("ipv4_wider_nets", yes(), |c| &mut c.decide.policy.ipv4_wider_nets).says(
            "Whether a /24 of IPv4 is denied, too, when its failures of a class exceed 8 times what one address is denied for,
            from at least 8 of its addresses. Mostly they are other people's, and so the default is false.",
        ),
        key("waves", words(&watches), |c| &mut c.decide.policy.waves).says(
            r#"What becomes of slow attacks by many, each of whose addresses stays below the thresholds: "report" tells of them
            when they begin and when they are over, in the log, in mail, in `denyd status` and `denyd history`; "deny" also denies
            who takes part at its second try, while that lasts; "off" looks for none. Many are 128 addresses or more within
            seven days on one account, and three times those that are usual for it, or one that tries four hosts or more.
            Never an address from which somebody logged in within 30 days. decisions.md of the documentation says more."#,
        ),
        key("nat64_prefixes", nat64().list(), |c| &mut c.decide.policy.nat64).example(r#"["2001:db8:64::/96"]"#).says(
            "Prefixes of this site's own in which a translator (NAT64) shows IPv4 addresses: each address in them is counted
            and denied alone, as those of 64:ff9b::/96 always are.",
        ),
        key("replay_max_age", duration(""), |c| &mut c.decide.policy.replay_max_age).says(
            "A deny for ever that rests on a record older than this is not enforced, so that reading an old log denies
            nobody today. Other denies end at the time of their record plus deny_for anyway.",
        ),
        key("restricted_users", user().list(), |c| &mut c.decide.restricted_users)
            .example(r#"["mysql", "backup", "www-data"]"#)
            .says(
                "Users that nobody logs in as from outside. Failures with these names count as restricted, too. Exactly
                as the log prints them.",
            ),
        key("restricted_users_file", path().one_or_more(), |c| &mut c.decide.restricted_users_files)
            .example(r#""/etc/denyd/restricted-usernames""#)
            .says("The same as a file, one name a line, `#` for comments; or a list of such files. No default."),
        key("protect_groups", group().list(), |c| &mut c.decide.protect_groups).says(
            "Groups of administrators. Where one of them, or root, is logged in from, an address is denied only when its count
            exceeds 3 times what others are denied for; `denyd status` and the log warn before. What counts is a login by a sound
            record whose end was not told. Who is of the groups is looked up at start and at each reload; while that has no
            answer after two seconds, /etc/group and /etc/passwd hold.",
        ),
        key("allow", allowed().list(), |c| &mut c.decide.allow)
            .example(
                r#"["192.0.2.7", "198.51.100.0/24", "192.0.2.[6-23]", "192.0.2.40-192.0.2.60", "10.*", "2001:db8::/32", "home.example.org"]"#,
            )
            .says(
                "Addresses that are never denied, also inside a wider deny: addresses, prefixes, ranges, wildcards, host names. In
                192.0.2.[6-23] both ends are included. A host name, as of dynamic DNS, is looked up at the start and each five
                minutes, and allows the addresses that it resolves to, at most 16. While it resolves no longer, the last of them
                stay allowed, for 7 days. Whoever controls the name, or the DNS on the way, says by that who is never denied. At
                most 256 names.",
            ),
        key("allow_file", path().optional(), |c| &mut c.decide.allow_file)
            .example(r#""/etc/denyd/allowed-hosts""#)
            .says(
                "The same as a file, one entry a line, `#` for comments; DenyHosts' allowed-hosts will do. No default.",
            ),
    ]
}

fn threshold(name: &'static str, class: Class) -> Key<Config> {
    let count = |or| whole(0..=u32::MAX, or).then(|count| Ok(Threshold(count)), |threshold| threshold.0);
    key(name, unless("off", count), move |c| &mut c.decide.policy.thresholds[class as usize])
}

fn age(name: &'static str, class: Class) -> Key<Config> {
    key(name, unless("never", duration), move |c| &mut c.decide.policy.age_reset[class as usize])
}

/// The terms of further denies.
fn terms() -> Codec<Vec<Duration>> {
    let grows = |terms: Vec<Duration>| match terms.len() <= TERMS_MAX && terms.is_sorted() {
        true => Ok(terms),
        false => Err(format!("expected at most {TERMS_MAX} durations, none shorter than the one before")),
    };
    duration("").list().then(grows, Vec::clone)
}

/// How many releases; 0 is what DenyHosts had for never.
fn releases(or: String) -> Codec<u32> {
    let zero = "expected 1 or more releases, or \"never\" (DenyHosts' 0); \
                to deny for ever at once, write deny_for = \"forever\"";
    let Codec { read, show } = whole(1..=u32::MAX, or);
    let read = move |node: &Node<'_>| match node.get_ref().as_integer() {
        Some(integer) if integer.as_str() == "0" => Err(vec![Bad { item: None, expected: zero.to_owned() }]),
        _ => read(node),
    };
    Codec { read: Box::new(read), show }
}

/// The name of a group, as `groupadd(8)` takes them.
fn group() -> Codec<String> {
    let parse = |text: &str| match text.len() {
        1..=32 if text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b':' | b',')) => Ok(text.to_owned()),
        _ => Err("expected the name of a group".to_owned()),
    };
    Codec::text(parse, String::clone)
}

/// A prefix of IPv6.
fn nat64() -> Codec<Prefix> {
    let parse = |text: &str| match text.parse::<Prefix>() {
        Ok(net) if !net.is_ipv4() && net.bits() >= 32 && net.bits() <= 96 => Ok(net),
        _ => Err("expected an IPv6 prefix of 32 to 96 bits, such as \"2001:db8:64::/96\"".to_owned()),
    };
    Codec::text(parse, Prefix::to_string)
}

/// An entry of the allow list.
fn allowed() -> Codec<String> {
    let parse = |text: &str| match AllowList::of([text].into_iter()) {
        Ok(_) => Ok(text.to_owned()),
        Err(bad) => Err(bad.problem.to_string()),
    };
    Codec::text(parse, String::clone)
}

fn deny() -> Vec<Key<Config>> {
    let actions = [("drop", Action::Drop), ("reject", Action::Reject)];
    vec![
        key("backends", backends(), |c| &mut c.deny.backends).example(r#"["nftables", "hosts.deny"]"#).says(
            r#"What enforces: "auto" (nftables where it can be used, else iptables, else hosts.deny if sshd is linked
            with libwrap), or any of "nftables", "iptables", "hosts.deny", "pf", and "stdout", which enforces nothing and
            prints. Nobody has tried "pf" on a BSD yet."#,
        ),
        key("ports", unless("all", ports), |c| &mut c.deny.effect.ports).example("[22, 2222]").says(
            r#"What is closed to a denied address: "all", which is every port of every protocol, or a list of at most 15 ports
            of TCP. This key and the next two are for nftables and iptables, and but for `counters` for pf; hosts.deny has services."#,
        ),
        key("action", words(&actions), |c| &mut c.deny.effect.action).says(
            r#"What becomes of its packets: "drop" leaves it without an answer; "reject" answers TCP with a reset and all else
            with ICMP's "port unreachable". For "reject" nftables needs Linux 5.9, and iptables has its chain in table filter,
            behind DNAT: there a list of ports is of those that containers listen on."#,
        ),
        key("counters", yes(), |c| &mut c.deny.effect.counters).says(
            "Whether packets are counted for each deny, too; `denyd list` and `denyd why` show the counts, if root asks.
            `denyd status` always shows how many were refused in all. Needs nftables with Linux 5.7, or ipset.",
        ),
        key("cut_connections", yes(), |c| &mut c.deny.cut_connections).says(
            "Whether open TCP connections of an address are cut when it is denied, so that they do not stall; not those by which
            an administrator is logged in. It is about connections of this machine itself, to the ports that are closed. Needs
            `ss` and Linux with CONFIG_INET_DIAG_DESTROY, which distributions have.",
        ),
        key("release_on_exit", yes(), |c| &mut c.deny.release_on_exit).says(
            "Whether denyd takes its denies out of firewalls and files when it is stopped (SIGTERM, SIGINT), as `denyd off` does.
            The next start denies again whose time is not over. With true each restart and each upgrade opens the door for
            a moment; killed by SIGKILL, denyd can take nothing away. false: denies stand without it.",
        ),
    ]
}

/// Ports of TCP, none twice.
fn ports(or: String) -> Codec<Vec<u16>> {
    let expected = format!("expected 1 to {PORTS_MAX} ports, none twice{or}");
    let apart = move |ports: Vec<u16>| {
        let twice = (1..ports.len()).any(|index| ports[..index].contains(&ports[index]));
        if twice || !(1..=PORTS_MAX).contains(&ports.len()) { Err(expected.clone()) } else { Ok(ports) }
    };
    whole(1..=65535, " (a port)").list().then(apart, Vec::clone)
}

fn backends() -> Codec<Backends> {
    let choices: Vec<_> = KINDS.iter().map(|kind| (kind.name, Some(kind))).collect();
    let chosen = |given: Vec<Option<&'static choose::Kind>>| {
        let these: Vec<_> = given.iter().copied().flatten().collect();
        let twice = (1..these.len()).any(|index| these[..index].contains(&these[index]));
        match (given.len(), these.is_empty()) {
            (0, _) => Err("expected at least one; to enforce nothing, start the daemon with --dry-run".to_owned()),
            (1, true) => Ok(Backends::Auto),
            (count, _) if count > these.len() => Err("\"auto\" stands alone: it chooses the others itself".to_owned()),
            _ if twice => Err("expected each back end once".to_owned()),
            _ => Ok(Backends::These(these)),
        }
    };
    let given = |chosen: &Backends| match chosen {
        Backends::Auto => vec![None],
        Backends::These(these) => these.iter().copied().map(Some).collect(),
    };
    words(&[&[("auto", None)], choices.as_slice()].concat()).list().then(chosen, given)
}

fn nftables() -> Vec<Key<Config>> {
    vec![
        key("table", parsed(String::from), |c| &mut c.deny.nftables.table).says(
            "The name of denyd's own table, of family inet. Nobody else may write to it. Letters, digits, _ and -.",
        ),
    ]
}

fn iptables() -> Vec<Key<Config>> {
    vec![key("chain", parsed(String::from), |c| &mut c.deny.iptables.chain).says(
        "The name of denyd's own chain in table raw, and what the names of its sets begin with. Nobody else may
            write to them. Small letters, digits, _ and -, at most 20.",
    )]
}

fn pf() -> Vec<Key<Config>> {
    vec![
        key("anchor", unless("none", |_| parsed(String::from)), |c| &mut c.deny.pf.anchor).says(
            r#"The anchor of pf that is denyd's own, with its rules and its table; pf.conf has the line `anchor "denyd"`.
            "none" is for a table that your own rules name, and that others may write to, too: there denyd adds and deletes
            its own entries alone, and `ports` and `action` are your rules'."#,
        ),
        key("table", parsed(String::from), |c| &mut c.deny.pf.table)
            .says("The table. Letters, digits, _ and -, at most 31."),
    ]
}

fn hosts_deny() -> Vec<Key<Config>> {
    vec![
        key("path", path(), |c| &mut c.deny.hosts_deny.path)
            .says("The file. Lines that are not denyd's stay as they are."),
        key("service", parsed(String::from), |c| &mut c.deny.hosts_deny.service)
            .denyhosts("BLOCK_SERVICE")
            .says(
                r#"What is denied there: one service, "ALL", or "" for lines of addresses alone: a list file, which a line
                `sshd: /path/of/the/list` of hosts.deny names."#,
            ),
        key("comment", yes(), |c| &mut c.deny.hosts_deny.comment)
            .says(
            "Whether each line has a comment `# DenyHosts: … | …` with its time above it, as DenyHosts wrote. None in a list
            file: libwrap takes each word there for a pattern.",
        ),
    ]
}

/// Makes the allow list and the restricted users of what `[decide]` names, and of the files that it names.
pub(super) fn take_names(reader: &mut Reader<'_>, table: &Table<'_>, config: &mut Config) {
    let decide = &mut config.decide;
    decide.policy.restricted = decide.restricted_users.iter().map(|name| name.clone().into_bytes()).collect();
    for file in &decide.restricted_users_files {
        decide.policy.restricted.extend(users_of(reader, table, file));
    }
    match AllowList::of(decide.allow.iter().map(String::as_str)) {
        Ok(list) => decide.policy.allow = list,
        Err(full) => reader.wrong(table, "allow", &full.problem.to_string()),
    }
    if let Some(file) = &decide.allow_file
        && let Some(bytes) = named(reader, table, "allow_file", file)
    {
        let (more, bad) = AllowList::read(&bytes);
        for line in bad {
            reader.problem_elsewhere(file, line.line, line.bad.to_string());
        }
        if let Err(full) = decide.policy.allow.extend(&more) {
            reader.wrong(table, "allow_file", &full.problem.to_string());
        }
    }
}

/// The names in the file of restricted users: one a line, `#` begins a comment line, blank lines mean nothing.
fn users_of(reader: &mut Reader<'_>, table: &Table<'_>, file: &Path) -> Vec<Vec<u8>> {
    let bytes = named(reader, table, "restricted_users_file", file).unwrap_or_default();
    let mut names = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let name = line.trim_ascii();
        if name.is_empty() || name.starts_with(b"#") {
            continue;
        }
        if is_user(name) {
            names.push(name.to_owned());
        } else {
            let shown = shorten(&String::from_utf8_lossy(name));
            let expected = "expected one name of at most 255 bytes a line, without control characters";
            reader.problem_elsewhere(file, index + 1, format!("user name `{shown}`: {expected}"));
        }
    }
    names
}

/// The contents of the file that `key` names.
fn named(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, file: &Path) -> Option<Vec<u8>> {
    let read = trusted(file)
        .and_then(|()| contents(file))
        .map_err(|error| reader.wrong(table, key, &format!("cannot read this file: {error}")));
    read.ok()
}

/// Refuses a file that somebody else could write: he would say who is allowed. And a pipe, for which the engine would wait.
fn trusted(file: &Path) -> io::Result<()> {
    let found = std::fs::metadata(file)?;
    let kind = found.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::other("it is a pipe or a socket, and not a file"));
    }
    if !whose::is_ours(&found) {
        let uid = found.uid();
        return Err(io::Error::other(format!("it belongs to uid {uid}, who could let anybody in; chown root it")));
    }
    match found.mode() & 0o002 {
        0 => Ok(()),
        _ => Err(io::Error::other("everybody may write it, and so let anybody in; chmod o-w it")),
    }
}

/// The contents of a file that is not too large.
pub(super) fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("larger than {} MiB", FILE_MAX / (1024 * 1024))));
    }
    Ok(bytes)
}
