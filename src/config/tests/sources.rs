//! `[[input]]`: what is read from where.

use super::*;

/// The lines of one `[[input]]` and why it is refused, without `denyd.toml:LINE: [[input]] `.
#[track_caller]
fn check_input(lines: &str, messages: &[&str]) {
    let text = format!("[[input]]\n{}", lines.replace("; ", "\n"));
    let got = parse(&text).map_or_else(|error| error, |_| "fine".to_owned());
    let got: Vec<&str> =
        got.lines().map(|line| line.split_once(": [[input]] ").map_or(line, |(_, text)| text)).collect();
    assert_eq!(got, messages, "{text}");
}

#[test]
fn inputs() {
    check(
        "[[input]]\n\n[[input]]\nkind = \"file\"",
        &[
            "denyd.toml:1: [[input]] without `kind`; write kind = \"file\", kind = \"multilog\", kind = \"journald\" or kind = \"syslog\"",
            "denyd.toml:3: [[input]] without `path`; write the file's path, such as path = \"/var/log/auth.log\"",
        ],
    );
    check_input(
        "kind = \"metalog\"",
        &[
            "kind = \"metalog\": metalog writes files; write kind = \"file\" and format = \"metalog\", and name the file, such as path = \"/var/log/sshd/current\"",
        ],
    );
    check_input(
        "kind = \"x\"",
        &[
            "kind = \"x\": no such kind of input; write kind = \"file\", kind = \"multilog\", kind = \"journald\" or kind = \"syslog\"",
        ],
    );
    check_input(
        "kind = \"syslog\"",
        &["without `listen`; write where to listen, such as listen = \"udp://127.0.0.1:514\""],
    );
    check_input(
        "kind = \"file\"; path = \"/x\"; first_read = \"1d\"; format = \"csv\"; timezone = \"Mars/Olympus\"; host = \"a b\"; name = \" \"; from = []",
        &[
            "first_read = \"1d\": a file cannot be entered at a time, only a journal can; write \"now\" or \"beginning\"",
            "format = \"csv\": expected \"auto\", \"syslog\", \"message\", \"multilog\" or \"metalog\"",
            "timezone = \"Mars/Olympus\": expected the name of a time zone, such as \"Europe/Berlin\" or \"UTC\", that /usr/share/zoneinfo has",
            "host = \"a b\": expected a host name, such as \"web1\"",
            "name = \" \": expected a name of 1 to 255 bytes, without control characters",
            "from has no meaning for kind = \"file\"; remove it",
        ],
    );
}

#[test]
fn multilogs() {
    let input = |path: &str, rest: &str| format!("kind = \"multilog\"; path = \"{path}\"{rest}");
    check_input(&input("/var/log/sshd", "; first_read = \"beginning\"; identifier = \"sshd\""), &["fine"]);
    check_input(
        "kind = \"multilog\"",
        &["without `path`; write the directory that multilog writes, such as path = \"/var/log/sshd\""],
    );
    check_input(
        &input("/var/log/sshd/current", ""),
        &[
            "path = \"/var/log/sshd/current\": expected the directory that multilog writes, not a file in it: path = \"/var/log/sshd\"",
        ],
    );
    check_input(
        &input("/var/log/sshd", "; format = \"auto\"; listen = \"udp://127.0.0.1:514\"; identifier = \"a b\""),
        &[
            "format has no meaning for kind = \"multilog\", whose lines begin with its labels; remove it",
            "listen has no meaning for kind = \"multilog\"; remove it",
            "identifier = \"a b\": expected a program's name without blanks, such as \"sshd\" or \"dropbear\"",
        ],
    );
    check_input(
        "kind = \"metalog\"; path = \"/var/log/sshd\"",
        &[
            "kind = \"metalog\": metalog writes files; write kind = \"file\" and format = \"metalog\", and name the file, such as path = \"/var/log/sshd/current\"",
        ],
    );
    check_input(
        "kind = \"file\"; path = \"/var/log/sshd/current\"; format = \"multilog\"",
        &[
            "path = \"/var/log/sshd/current\": a live multilog is followed by its directory; write kind = \"multilog\" and path = \"/var/log/sshd\", without format",
        ],
    );
    for format in ["syslog", "metalog"] {
        check_input(
            &format!("kind = \"file\"; path = \"/x\"; format = \"{format}\"; identifier = \"sshd\""),
            &["identifier has no meaning for lines that name their programs, as this format's do; remove it"],
        );
    }
    check_input(
        "kind = \"syslog\"; listen = \"udp://127.0.0.1:514\"; identifier = \"sshd\"",
        &["identifier has no meaning for kind = \"syslog\"; remove it"],
    );
    let (file, multilog) = ("kind = \"file\"\npath = \"/d/current\"", "kind = \"multilog\"\npath = \"/d\"");
    let both = |one: &str, two: &str| format!("[[input]]\n{one}\n[[input]]\n{two}\n");
    let twice = "another input reads files in /d; its records would count twice";
    check(&both(file, multilog), &[&format!("denyd.toml:6: [[input]] path = \"/d\": {twice}")]);
    check(&both(multilog, file), &[&format!("denyd.toml:6: [[input]] path = \"/d/current\": {twice}")]);
    check(
        &both(multilog, multilog),
        &["denyd.toml:6: [[input]] path = \"/d\": another input reads this directory; its records would count twice"],
    );
}

/// Which inputs strangers can write lines of.
/// Loopback tells nothing of who writes; a unix socket does.
#[test]
fn what_strangers_can_reach_is_forgeable() {
    let check = |lines: &str, is_forgeable: bool, uid: Option<u32>| {
        let config = parse(&format!("[[input]]\nkind = \"syslog\"\n{}", lines.replace("; ", "\n"))).unwrap();
        let input = &config.inputs[0];
        assert_eq!((input.is_forgeable(), input.trusted_uid()), (is_forgeable, uid), "{lines}");
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    };
    let tls = "listen = \"tls://127.0.0.1:6514\"; certificate = \"/c\"; key = \"/k\"";
    for lines in [
        "listen = \"udp://127.0.0.1:514\"",
        "listen = \"udp://192.0.2.1:514\"; from = [\"192.0.2.0/24\"]",
        "listen = \"tcp://127.0.0.1:514\"",
        "listen = \"tcp://[::1]:514\"",
        "listen = \"tcp://[::ffff:127.0.0.1]:514\"",
        tls,
    ] {
        check(lines, true, None);
        check(&format!("{lines}; trust_network = true"), false, None);
    }
    check("listen = \"tcp://192.0.2.1:514\"; from = [\"192.0.2.0/24\"]", false, None);
    check(&format!("{tls}; client_ca = \"/ca\""), false, None);
    check("listen = \"unix:///run/x\"", false, None);
    check("listen = \"unix-datagram:///run/x\"; trusted_user = \"root\"", false, Some(0));
    check_input(
        "kind = \"syslog\"; listen = \"unix:///x\"; trusted_user = \"no-such-user\"",
        &[
            "trusted_user = \"no-such-user\": this machine has no such user; `ps -o user= -C rsyslogd` says which one rsyslogd runs as",
        ],
    );
    check_input(
        "kind = \"syslog\"; listen = \"tcp://127.0.0.1:514\"; trusted_user = \"root\"",
        &["trusted_user has no meaning except for a unix socket, of which the kernel tells who writes; remove it"],
    );
}

/// Where senders reach a listener though they are denied.
#[test]
fn log_senders_reach_our_listeners() {
    let check = |lines: &str, want: &str| {
        let config = parse(&format!("[[input]]\nkind = \"syslog\"\n{}", lines.replace("; ", "\n"))).unwrap();
        let spared = config.inputs[0].spared();
        assert_eq!(config.deny.effect.spared, spared, "what back ends are made of, with a daemon or without");
        let said = spared.iter().map(|Spared { from, protocol, at, port }| {
            let at = at.map_or("*".to_owned(), |at| at.to_string());
            format!("{from} {} {at} {port}", format!("{protocol:?}").to_lowercase())
        });
        assert_eq!(said.collect::<Vec<_>>().join(", "), want, "{lines}");
    };
    let from = "from = [\"192.0.2.0/25\", \"2001:db8::/64\", \"192.0.2.128/25\", \"192.0.2.7\"]";
    check(&format!("listen = \"udp://0.0.0.0:514\"; {from}"), "192.0.2.0/24 udp * 514");
    check(&format!("listen = \"tcp://[::]:514\"; {from}"), "192.0.2.0/24 tcp * 514, 2001:db8::/64 tcp * 514");
    check(&format!("listen = \"tcp://198.51.100.1:514\"; {from}"), "192.0.2.0/24 tcp 198.51.100.1 514");
    check(&format!("listen = \"tcp://[2001:db8::1]:514\"; {from}"), "2001:db8::/64 tcp 2001:db8::1 514");
    let tls = "certificate = \"/c\"; key = \"/k\"; client_ca = \"/ca\"";
    check(&format!("listen = \"tls://[::]:6514\"; {tls}"), "0.0.0.0/0 tcp * 6514, ::/0 tcp * 6514");
    check(&format!("listen = \"tls://0.0.0.0:6514\"; {tls}; {from}"), "192.0.2.0/24 tcp * 6514");
    check("listen = \"udp://127.0.0.1:514\"", "");
    check("listen = \"unix:///run/x\"", "");
}

#[test]
fn output_of_sshd_itself_is_forgeable() {
    let check = |lines: &str, want: Option<&str>| {
        let config = parse(&format!("[[input]]\n{}", lines.replace("; ", "\n"))).unwrap();
        let input = &config.inputs[0];
        let is_forgeable = want.is_some() || input.source.kind() == "multilog";
        assert_eq!((input.bare(), input.is_forgeable()), (want, is_forgeable), "{lines}");
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    };
    check("kind = \"multilog\"; path = \"/d\"", None);
    check("kind = \"multilog\"; path = \"/d\"; identifier = \"sshd\"", Some("sshd"));
    check("kind = \"file\"; path = \"/d\"", None);
    check("kind = \"file\"; path = \"/d\"; format = \"metalog\"", None);
    check("kind = \"file\"; path = \"/d\"; format = \"message\"", Some("sshd"));
    check("kind = \"file\"; path = \"/d\"; identifier = \"sshd\"", Some("sshd"));
    check("kind = \"file\"; path = \"/d\"; format = \"message\"; identifier = \"sshd\"", Some("sshd"));
    check("kind = \"file\"; path = \"/d\"; identifier = \"dropbear\"", Some("dropbear"));
}

#[test]
fn listeners() {
    let exposed = "whoever can reach it could write log lines, and so decide who is denied; \
                   name the senders, such as from = [\"192.0.2.0/24\"], or listen on 127.0.0.1";
    let listener = |listen: &str| format!("kind = \"syslog\"; listen = \"{listen}\"");
    for open in ["udp://0.0.0.0:514", "tcp://192.0.2.1:601", "tcp://[::]:514"] {
        check_input(&listener(open), &[&format!("listen = \"{open}\": {exposed}")]);
        check_input(&(listener(open) + "; from = []"), &[&format!("listen = \"{open}\": {exposed}")]);
        check_input(&(listener(open) + "; from = [\"192.0.2.0/24\"]"), &["fine"]);
    }
    for local in
        ["udp://127.0.0.1:514", "tcp://[::1]:514", "udp://[::ffff:127.0.0.1]:514", "unix:///x", "unix-datagram:///x"]
    {
        check_input(&listener(local), &["fine"]);
    }
    check_input(
        &(listener("udp://0.0.0.0:514") + "; from = [\"example.org\", 7]"),
        &[
            "from, \"example.org\": expected an address or a prefix, such as \"192.0.2.0/24\" or \"2001:db8::/64\"",
            "from, 7: expected a text in quotes",
        ],
    );
    let schemes = "expected \"udp://ADDRESS:PORT\", \"tcp://ADDRESS:PORT\", \"tls://ADDRESS:PORT\", \"unix:///PATH\" or \"unix-datagram:///PATH\"";
    for bad in ["514", "http://127.0.0.1:514", "0.0.0.0:514", "ssl://127.0.0.1:6514"] {
        check_input(&listener(bad), &[&format!("listen = \"{bad}\": {schemes}")]);
    }
    let address = "expected an address of this machine and a port, such as 192.0.2.1:514, [2001:db8::1]:514, or 0.0.0.0:514 for all addresses";
    for bad in ["udp://localhost:514", "udp://127.0.0.1", "udp://::1:514", "tcp://*:514", "tcp://:514"] {
        check_input(&listener(bad), &[&format!("listen = \"{bad}\": {address}")]);
    }
    check_input(
        &listener("udp://127.0.0.1:0"),
        &["listen = \"udp://127.0.0.1:0\": expected a port from 1 to 65535; syslog's is 514"],
    );
    check_input(
        &listener("unix://run/x"),
        &[
            "listen = \"unix://run/x\": expected an absolute path behind it: three slashes, as in \"unix:///run/denyd/log\"",
        ],
    );
    check_input(
        &(listener("unix-datagram:///x")
            + "; from = [\"192.0.2.1\"]; max_connections = 5; trust_network = true; socket_mode = \"888\"; path = \"/x\""),
        &[
            "from has no meaning for a unix socket: its permissions (socket_mode) say who may send; remove it",
            "max_connections has no meaning without connections; remove it",
            "trust_network has no meaning except for UDP, where a sender's address can be made up, and on loopback, which every local user reaches; remove it",
            "socket_mode = \"888\": expected permissions as an octal number in quotes, such as \"0660\"",
            "path has no meaning for kind = \"syslog\"; remove it",
        ],
    );
    check_input(
        &(listener("tcp://127.0.0.1:514") + "; max_connections = 0; idle_timeout = 5; socket_mode = \"0660\""),
        &[
            "max_connections = 0: expected a whole number from 1 to 65536",
            "idle_timeout = 5: a duration needs a unit; write \"5d\" for days (units are s, m, h, d, w)",
            "socket_mode has no meaning except for a unix socket; remove it",
        ],
    );
}

#[test]
fn listeners_with_certificates() {
    let files = "certificate = \"/s.pem\"; key = \"/s.key\"";
    let tls = |address: &str, rest: &str| format!("kind = \"syslog\"; listen = \"tls://{address}\"; {rest}");
    check_input(&tls("0.0.0.0:6514", &format!("{files}; client_ca = \"/ca.pem\"")), &["fine"]);
    check_input(&tls("0.0.0.0:6514", &format!("{files}; from = [\"192.0.2.0/24\"]")), &["fine"]);
    check_input(&tls("127.0.0.1:6514", files), &["fine"]);
    check_input(
        &tls("0.0.0.0:6514", files),
        &["listen = \"tls://0.0.0.0:6514\": whoever can reach it could write log lines, and so decide who is denied; \
             demand certificates of a CA of yours, such as client_ca = \"/etc/denyd/ca.pem\", \
             name the senders, such as from = [\"192.0.2.0/24\"], or listen on 127.0.0.1"],
    );
    check_input(
        &tls("127.0.0.1:6514", "permitted = [\"web1\"]; framing = \"lines\""),
        &[
            "without `certificate`; write the PEM file of this machine's certificate, such as certificate = \"/etc/denyd/server.pem\"",
            "without `key`; write the PEM file of the certificate's private key, such as key = \"/etc/denyd/server.key\"",
            "without `client_ca`; write the PEM file of the CA that issues certificates of permitted names",
            "framing = \"lines\": expected \"auto\", \"newline\" or \"octet-counted\"",
        ],
    );
    let name = "expected a name in certificates, such as \"web1.example.org\", or \"*.example.org\" for all with one more label";
    check_input(
        &tls(
            "0.0.0.0:6514",
            "certificate = \"s.pem\"; key = 7; client_ca = \"ca\"; permitted = [\"*\", 7, \"a b\", \"192.0.2.0/24\"]",
        ),
        &[
            "certificate = \"s.pem\": expected an absolute path, one that begins with /",
            "key = 7: expected a text in quotes",
            "client_ca = \"ca\": expected an absolute path, one that begins with /",
            &format!("permitted, \"*\": {name}"),
            "permitted, 7: expected a text in quotes",
            &format!("permitted, \"a b\": {name}"),
            &format!("permitted, \"192.0.2.0/24\": {name}"),
        ],
    );
    check_input(
        &tls("127.0.0.1:6514", &format!("{files}; client_ca = \"/ca.pem\"; permitted = []")),
        &["permitted = []: expected at least one name; without this key every certificate of client_ca is taken"],
    );
    check_input(
        "kind = \"syslog\"; listen = \"tcp://127.0.0.1:514\"; certificate = \"/s.pem\"; permitted = [\"web1\"]",
        &[
            "certificate has no meaning except for TLS, listen = \"tls://ADDRESS:PORT\"; remove it",
            "permitted has no meaning except for TLS, listen = \"tls://ADDRESS:PORT\"; remove it",
        ],
    );
    check_input(
        "kind = \"syslog\"; listen = \"udp://127.0.0.1:514\"; framing = \"auto\"",
        &["framing has no meaning without connections; remove it"],
    );
}

#[test]
fn inputs_differ() {
    let file = |path: &str, rest: &str| format!("[[input]]\nkind = \"file\"\npath = \"{path}\"\n{rest}\n");
    let socket = |listen: &str| format!("[[input]]\nkind = \"syslog\"\nlisten = \"{listen}\"\n");
    check(
        &(file("/a", "") + &file("//a/.", "name = \"b\"")),
        &["denyd.toml:7: [[input]] path = \"//a/.\": another input reads this file; its records would count twice"],
    );
    check(
        &(file("/a", "name = \"x\"") + &file("/b", "name = \"x\"")),
        &["denyd.toml:8: [[input]] name = \"x\": another input has the name \"x\"; names must differ"],
    );
    check(
        &(file("/a", "name = \"/b\"") + &file("/b", "")),
        &["denyd.toml:5: [[input]] without `name`; another input has the name \"/b\"; names must differ"],
    );
    check(
        &(socket("udp://127.0.0.1:514") + &socket("udp://127.0.0.1:514")),
        &["denyd.toml:6: [[input]] listen = \"udp://127.0.0.1:514\": another input listens there"],
    );
    let tls = format!("{}certificate = \"/s.pem\"\nkey = \"/s.key\"\n", socket("tls://127.0.0.1:514"));
    check(
        &(socket("tcp://127.0.0.1:514") + &tls),
        &["denyd.toml:6: [[input]] listen = \"tls://127.0.0.1:514\": another input listens there"],
    );
    check(&(socket("udp://127.0.0.1:514") + &tls), &["fine"]);
    check(
        &(socket("unix:///x") + &socket("unix-datagram:///x")),
        &["denyd.toml:6: [[input]] listen = \"unix-datagram:///x\": another input listens there"],
    );
    check(
        &socket("unix:///run/denyd/control"),
        &[
            "denyd.toml:3: [[input]] listen = \"unix:///run/denyd/control\": this path is the control socket; choose another",
        ],
    );
    check(
        &(socket("udp://127.0.0.1:514") + &socket("tcp://127.0.0.1:514") + &file("/a", "") + &file("/b", "")),
        &["fine"],
    );
}
