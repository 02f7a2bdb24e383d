//! OpenSSH's messages about a peer, from its format strings, with text of strangers in them: for the property test and for
//! the fuzzer of the grammar, which differ in where chance comes from.

/// The address that hostile text names. Nobody ever connects from it.
pub const VICTIM: &str = "198.51.100.9";

/// Where choices come from.
pub trait Chance {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize;

    /// Any text without line ends: sshd escapes those.
    fn words(&mut self) -> Vec<u8>;

    /// A user's name as sshd logs it: nothing behind a colon, no line end.
    fn user(&mut self) -> Vec<u8> {
        let mut name = self.words();
        if let Some(colon) = name.iter().position(|&b| b == b':') {
            name.truncate(colon);
        }
        name
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What sshd wrote of the peer's address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// It is there.
    Peer,
    /// It is there in a form that need not be read.
    PeerOrNobody,
    /// It is not.
    Nobody,
}

/// One of the messages, about a peer that sshd writes as `peer`.
pub fn message(random: &mut impl Chance, peer: &str) -> (Vec<u8>, Said) {
    let (message, said) = shape(random, peer);
    // Of what is so long nobody knows whether sshd cut it, at 500 bytes.
    let is_long = message.len() >= 380 && said == Said::Peer;
    (message, if is_long { Said::PeerOrNobody } else { said })
}

fn shape(random: &mut impl Chance, peer: &str) -> (Vec<u8>, Said) {
    let port = 1 + random.below(65_535);
    let at = format!("{peer} port {port}");
    let name = random.user();
    let user100 = cut(&name, 100);
    let user187 = cut(&name, 187);
    let invalid = random.pick(&["", "invalid user "]);
    let method = random.pick(&["password", "keyboard-interactive/pam", "keyboard-interactive", "none", "publickey"]);
    let who = random.pick(&["invalid user ", "authenticating user "]);
    let preauth = random.pick(&["", " [preauth]"]);
    let bytes = |parts: &[&[u8]]| parts.concat();
    let text = random.words();
    let key = "RSA-CERT SHA256:uF3Mmv0sVvQfQ2uFyaV5Y0pBdWpiCl9HAHzx0m5NB4k ID ";
    match random.below(50) {
        0 => {
            let failed = format!("Failed {method} for {invalid}");
            (bytes(&[failed.as_bytes(), &user100, format!(" from {at} ssh2").as_bytes()]), Said::Peer)
        }
        1 => {
            let failed = format!("Failed publickey for {invalid}");
            let tail = format!(" from {at} ssh2: ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
            (bytes(&[failed.as_bytes(), &user100, tail.as_bytes()]), Said::Peer)
        }
        2 | 3 => {
            let verb = random.pick(&["Failed", "Accepted", "Postponed"]);
            let head = format!("{verb} publickey for {}", if *verb == *"Failed" { invalid } else { "" });
            let mut all = bytes(&[head.as_bytes(), &user100, format!(" from {at} ssh2: {key}").as_bytes(), &text]);
            // sshd cuts it at 500 bytes. Then it could be a method of the client's own: see 49.
            let is_cut = random.one_in(2);
            if !is_cut {
                all.extend_from_slice(b" (serial 5) CA ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
            }
            let is_doubtful = *verb == *"Failed" && is_cut;
            (all, if is_doubtful { Said::PeerOrNobody } else { Said::Peer })
        }
        4 => (bytes(&[b"Accepted password for ", &user100, format!(" from {at} ssh2").as_bytes()]), Said::Peer),
        5 => {
            let head = random.pick(&["Invalid user ", "Illegal user "]);
            (bytes(&[head.as_bytes(), &user100, format!(" from {at}").as_bytes()]), Said::Peer)
        }
        6 => (bytes(&[b"Invalid user ", &user100, format!(" from {peer}").as_bytes()]), Said::Peer),
        7 => {
            let head = format!("error: maximum authentication attempts exceeded for {invalid}");
            (bytes(&[head.as_bytes(), &user100, format!(" from {at} ssh2 [preauth]").as_bytes()]), Said::Peer)
        }
        8..=10 => {
            let head = random.pick(&["Connection closed by ", "Connection reset by ", "Disconnected from "]);
            let tail = format!(" {at}{preauth}");
            (bytes(&[head.as_bytes(), who.as_bytes(), &user187, tail.as_bytes()]), Said::Peer)
        }
        11 => {
            let tail = format!(" {at}: Too many authentication failures [preauth]");
            (bytes(&[b"Disconnecting ", who.as_bytes(), &user187, tail.as_bytes()]), Said::Peer)
        }
        12 => {
            // The service's name is any text, too.
            let reason = format!(" {at}: Change of username or service not allowed: (");
            let all =
                [&b"Disconnecting "[..], who.as_bytes(), &user187, reason.as_bytes(), &user100, b",", &text, b") -> ("];
            (bytes(&[&bytes(&all), &text, b",ssh-connection) [preauth]"]), Said::Peer)
        }
        13 | 14 => {
            let head = random.pick(&["", "error: "]);
            let head = format!("{head}Received disconnect from {at}:{}: ", random.below(16));
            (bytes(&[head.as_bytes(), &text, preauth.as_bytes()]), Said::Peer)
        }
        15 => {
            let what = random.pick(&["key exchange method", "host key type", "cipher", "MAC", "compression method"]);
            let end = format!("{at}: no matching {what} found. Their offer: ");
            let head = b"Unable to negotiate with ";
            let user = if random.one_in(2) { bytes(&[who.as_bytes(), &user187, b" "]) } else { Vec::new() };
            (bytes(&[head, &user, end.as_bytes(), &text, b" [preauth]"]), Said::Peer)
        }
        16 => {
            let tail = format!("' from {at}");
            (bytes(&[b"Bad protocol version identification '", &cut(&text, 200), tail.as_bytes()]), Said::Peer)
        }
        17 => (format!("banner exchange: Connection from {at}: invalid format").into(), Said::Peer),
        18 => {
            let head = b"error: kex_exchange_identification: client sent invalid protocol identifier \"";
            (bytes(&[head, &text, b"\""]), Said::Nobody)
        }
        19 => {
            let why =
                random.pick(&["not listed in AllowUsers", "listed in DenyUsers", "a group is listed in DenyGroups"]);
            (format!("User bob from {peer} not allowed because {why}").into(), Said::Peer)
        }
        20 => {
            let error =
                random.pick(&["Authentication failure", "User not known to the underlying authentication module"]);
            let illegal = random.pick(&["", "illegal user "]);
            let head = format!("error: PAM: {error} for {illegal}");
            (bytes(&[head.as_bytes(), &user100, format!(" from {peer}").as_bytes()]), Said::Peer)
        }
        21 => {
            let module = random.pick(&["pam_unix", "pam_sss", "pam_ldap"]);
            let head =
                format!("{module}(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=");
            (bytes(&[head.as_bytes(), peer.as_bytes(), b"  user=", &name]), Said::Peer)
        }
        22 => {
            let head = "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=";
            (bytes(&[head.as_bytes(), peer.as_bytes(), b"  user=", &name]), Said::Peer)
        }
        23 => (format!("Did not receive identification string from {at}").into(), Said::Peer),
        24 => {
            let why = random.pick(&[
                "past MaxStartups",
                "penalty: failed authentication",
                "penalty: exceeded LoginGraceTime",
            ]);
            (format!("drop connection #3 from [{peer}]:{port} on [{VICTIM}]:22 {why}").into(), Said::Peer)
        }
        25 => {
            let old = format!("fatal: Timeout before authentication for {at}");
            let new = format!("Timeout before authentication for connection from {peer} to {VICTIM}, pid = 12345678");
            ((if random.one_in(2) { old } else { new }).into(), Said::Peer)
        }
        26 => {
            let why =
                random.pick(&["message authentication code incorrect", "Broken pipe", "no matching cipher found"]);
            (format!("ssh_dispatch_run_fatal: Connection from {at}: {why} [preauth]").into(), Said::Peer)
        }
        27 => {
            // A name is its owner's to choose, as far as it is one.
            let host = random.pick(&["198.51.100.9.example.org", "198-51-100-9.example.org", "from.example.org"]);
            let text = random.pick(&["", "x"]);
            let all = match random.below(3) {
                0 => format!("refused connect from {host}{text} ({peer})"),
                1 => format!(
                    "reverse mapping checking getaddrinfo for {host}{text} [{peer}] failed - POSSIBLE BREAK-IN ATTEMPT!"
                ),
                _ => format!(
                    "Address {peer} maps to {host}{text}, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!"
                ),
            };
            (all.into(), Said::Peer)
        }
        28 => {
            let all = bytes(&[b"input_userauth_request: invalid user ", &user100, b" [preauth]"]);
            (all, Said::Nobody)
        }
        29 => (format!("Connection from {at} on {VICTIM} port 22 rdomain \"\"").into(), Said::Peer),
        30 => {
            let head = format!("Protocol major versions differ for {at}: SSH-2.0-OpenSSH_9.2 vs. ");
            (bytes(&[head.as_bytes(), &text]), Said::Peer)
        }
        31 => {
            let all = format!(
                "srclimit_penalise: ipv4: new {peer}/32 deferred penalty of 5 seconds for penalty: failed authentication"
            );
            (all.into(), Said::PeerOrNobody)
        }
        32 => {
            // Protocol 1; where the name, too, holds ` ruser ` nobody can tell.
            let method = random.pick(&["rhosts", "rhosts-rsa"]);
            let head = format!("Failed {method} for {invalid}");
            let all = bytes(&[head.as_bytes(), &user100, format!(" from {at} ruser ").as_bytes(), &cut(&text, 100)]);
            (all, Said::PeerOrNobody)
        }
        33 => {
            let method = random.pick(&["password", "rsa"]);
            let head = format!("Failed {method} for {invalid}");
            (bytes(&[head.as_bytes(), &user100, format!(" from {at}").as_bytes()]), Said::Peer)
        }
        34 => {
            let head = random.pick(&["Failed", "Accepted"]);
            let head = format!("{head} hostbased for ");
            let tail = format!(" from {at} ssh2: RSA SHA256:47DE, client user \"");
            let all = [head.as_bytes(), &user100, tail.as_bytes(), &cut(&text, 100), b"\", client host \"", &user100];
            (bytes(&[&bytes(&all), b"\""]), Said::Peer)
        }
        35 => {
            let function = random.pick(&["ssh_dispatch_run_fatal", "ssh_packet_write_poll", "do_ssh2_kex"]);
            let who = random.pick(&["", "user ", who]);
            let head = format!("fatal: {function}: Connection from {who}");
            let user = if who.is_empty() { Vec::new() } else { [&user187[..], b" "].concat() };
            (bytes(&[head.as_bytes(), &user, format!("{at}: Broken pipe{preauth}").as_bytes()]), Said::Peer)
        }
        49 => {
            // Without privilege separation any method of the client's is logged, and `log.c` cuts what is too long.
            let method = random.pick(&["publickey", "gssapi-with-mic", "hostbased", "rhosts-rsa", "password"]);
            let method = format!("Failed {method} for {invalid}root from 198.51.100.9 port 22 ");
            let behind = random.pick(&["ssh2", "ssh2: ", "ruser "]);
            let long = if random.one_in(2) { vec![b'x'; 1000] } else { Vec::new() };
            let end = format!(" from {at} ssh2");
            let all = [method.as_bytes(), behind.as_bytes(), &text, &long, b" for ", &user100, end.as_bytes()];
            (cut(&bytes(&all), 1023), Said::PeerOrNobody)
        }
        36 => {
            let head = format!("Connection from {who}");
            let end = random.pick(&[" timed out", ": Connection reset by peer"]);
            (bytes(&[head.as_bytes(), &user187, format!(" {at}{end}{preauth}").as_bytes()]), Said::Peer)
        }
        37 => {
            let tail = format!(" {at}");
            (bytes(&[b"Timeout, client not responding from user ", &user187, tail.as_bytes()]), Said::Peer)
        }
        38 => {
            let error = random.pick(&["authentication error", "unknown user"]);
            let illegal = random.pick(&["", "illegal user "]);
            let tail = format!(" from {peer} via {VICTIM}");
            (bytes(&[format!("error: PAM: {error} for {illegal}").as_bytes(), &user100, tail.as_bytes()]), Said::Peer)
        }
        39 => {
            // Only a name is known, and names may look like addresses.
            let host = random.pick(&["198.51.100.9.example.org", "198-51-100-9.example.org", "from.example.org"]);
            let all = match random.below(4) {
                0 => format!("User bob from {host} not allowed because not listed in AllowUsers").into(),
                1 => bytes(&[b"error: PAM: Authentication failure for ", &user100, format!(" from {host}").as_bytes()]),
                2 => {
                    let head =
                        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=";
                    bytes(&[head.as_bytes(), host.as_bytes(), b"  user=", &name])
                }
                _ => format!("refused connect from {host}").into(),
            };
            (all, Said::Nobody)
        }
        40 => {
            let head = "pam_krb5(sshd:auth): authentication failure; logname=";
            let tail = format!(" uid=0 euid=0 tty=ssh ruser= rhost={peer}");
            (bytes(&[head.as_bytes(), &name, tail.as_bytes()]), Said::PeerOrNobody)
        }
        41 => {
            let head = random.pick(&["", "(pam_unix) "]);
            let head =
                format!("{head}authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={peer}  user=");
            (bytes(&[head.as_bytes(), &name]), Said::Peer)
        }
        42 => {
            let host = random.pick(&["198.51.100.9.example.org", "ip.example.org"]);
            let why = format!("but not from a permitted host (host={host}, ip={peer}).");
            (format!("Authentication tried for bob with correct key {why}").into(), Said::Peer)
        }
        43 => {
            // What the peer's own ident server says.
            let all = [&b"refused connect from "[..], &cut(&text, 128), b"@", peer.as_bytes()];
            (bytes(&all), Said::Peer)
        }
        44 => {
            let head = random.pick(&["Connection closed by ", "Connection reset by ", "Received disconnect from "]);
            let end = if head.starts_with('R') { ": 11: " } else { "" };
            let text: &[u8] = if end.is_empty() { b"" } else { &text };
            (bytes(&[head.as_bytes(), peer.as_bytes(), end.as_bytes(), text, preauth.as_bytes()]), old_colon(end, peer))
        }
        45 => {
            let head = format!("{} from {at} with ", random.pick(&["probed", "scanned"]));
            (bytes(&[head.as_bytes(), &text, b".  Don't panic."]), Said::Peer)
        }
        46 => {
            let head = "Disconnecting: Too many authentication failures for ";
            (bytes(&[head.as_bytes(), &user100, preauth.as_bytes()]), Said::Nobody)
        }
        47 => {
            let tail = format!(" from {at} ssh2");
            let head = format!("message repeated {} times: [ Failed password for ", 1 + random.below(9));
            (bytes(&[head.as_bytes(), invalid.as_bytes(), &user100, tail.as_bytes(), b"]"]), Said::Peer)
        }
        48 => {
            let all = match random.below(4) {
                0 => {
                    let head = format!("administratively prohibited connection for {invalid}");
                    bytes(&[head.as_bytes(), &user100, format!(" from {at}").as_bytes()])
                }
                1 => {
                    let tail = format!(" from {at} rejected: user verification requirement not met{preauth}");
                    bytes(&[b"error: public key SHA256:47DE signature for al", tail.as_bytes()])
                }
                2 => {
                    let head = format!("SSH: Server;Ltype: Authname;Remote: {peer}-{port};Name: ");
                    bytes(&[head.as_bytes(), &user100, preauth.as_bytes()])
                }
                _ => bytes(&[b"connect from ", &text, b"@", peer.as_bytes()]),
            };
            (all, Said::Peer)
        }
        _ => {
            let head = random.pick(&[
                "error: Could not get shadow information for ",
                "Account ",
                "userauth_pubkey: ",
                "Login name ",
                "debug1: userauth-request for user ",
                "pam_sss(sshd:auth): received for user ",
                "pam_ldap(sshd:auth): Authentication failure; user=",
                "pam_winbind(sshd:auth): user '",
                "pam_faillock(sshd:auth): Consecutive login failures for user ",
                "subsystem request for sftp by user ",
                "refused local port forward: originator ",
                "error: Frobnicated from ",
                "fatal: no matching cipher found: client ",
                "Client version \"",
                "Accepted certificate ID \"",
            ]);
            (bytes(&[head.as_bytes(), &user100]), Said::Nobody)
        }
    }
}

/// `Received disconnect from A: 11: …`, without a port: an IPv6 address may end in a colon itself.
fn old_colon(end: &str, peer: &str) -> Said {
    if !end.is_empty() && peer.ends_with("::") { Said::PeerOrNobody } else { Said::Peer }
}

fn cut(text: &[u8], len: usize) -> Vec<u8> {
    text[..text.len().min(len)].to_vec()
}
