//! Cuts the open connections of denied addresses, where that is asked for: a firewall lets them stall.
//!
//! It is driven as a back end of its own, beside those that deny, so it looks again every few seconds: a connection that began
//! in the moment before its address was denied is cut then. The program `ss` lists the sockets of this machine and destroys
//! them (`ss -K`, ss(8)), which sends the peer a reset; whatever it says, a socket counts as cut when it is listed no more. What
//! this machine only forwards, and what containers have in network namespaces of their own, is not seen: that stalls.

use std::net::IpAddr;
use std::path::PathBuf;

use inputs::record::Timestamp;

use super::effect::Effect;
use super::{DenyBackend, DenyError, DenySet, Life, Probe, program};
use crate::decide::prefix::Prefix;

/// The back end that cuts. Needs CAP_NET_ADMIN, and Linux with CONFIG_INET_DIAG_DESTROY.
#[derive(Debug)]
pub struct Cut {
    /// Where `ss` is, if not where programs are.
    binary: Option<PathBuf>,
    effect: Effect,
}

/// A socket as `ss` lists it.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    /// Both ends in its own words, by which it is named again.
    ends: [String; 2],
    our: (IpAddr, u16),
    peer: (IpAddr, u16),
}

impl Cut {
    /// One that cuts connections to the ports that `effect` closes.
    pub fn new(effect: Effect) -> Self {
        Cut { binary: None, effect }
    }

    /// Uses this program instead of looking for `ss`.
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Cut { binary: Some(binary), ..self }
    }

    /// The open connections that are to be cut.
    fn denied(&self, want: &DenySet, now: Timestamp) -> Result<Vec<Socket>, DenyError> {
        let listed = self.ss("list connections", &["-Htn", "state", "established"])?;
        let listed = String::from_utf8_lossy(&listed);
        let sockets = listed.lines().filter_map(socket);
        Ok(sockets.filter(|socket| is_denied(socket, want, now) && self.closes(socket)).collect())
    }

    /// Whether our end is closed to whoever is denied.
    fn closes(&self, Socket { our, peer, .. }: &Socket) -> bool {
        let closes = self.effect.ports.as_ref().is_none_or(|ports| ports.contains(&our.1));
        closes && !self.effect.spares(peer.0, *our)
    }

    fn ss(&self, tried: &str, arguments: &[&str]) -> Result<Vec<u8>, DenyError> {
        let said = match &self.binary {
            Some(binary) => program::ask_at(binary, "ss", arguments, ""),
            None => program::ask("ss", arguments, ""),
        };
        said.map_err(|cause| {
            let remedy = cause.starts_with("no ss in").then_some("install the package iproute2");
            DenyError { remedy, ..DenyError::new(NAME, tried, cause) }
        })
    }
}

impl DenyBackend for Cut {
    fn name(&self) -> &'static str {
        NAME
    }

    fn denies(&self) -> bool {
        false
    }

    /// Costs a process of `ss`, and two more if there is something to cut.
    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let open = self.denied(want, now)?;
        if open.is_empty() {
            return Ok(());
        }
        for some in open.chunks(CUT_AT_ONCE) {
            // Never without a filter: that would be all connections.
            let mut arguments = vec!["-K", "-Htn", "state", "established"];
            for (index, Socket { ends: [local, peer], .. }) in some.iter().enumerate() {
                arguments.extend(if index > 0 { &["or"][..] } else { &[] });
                arguments.extend(["(", "src", local, "and", "dst", peer, ")"]);
            }
            self.ss("cut connections", &arguments)?;
        }
        let still = self.denied(want, now)?.into_iter().filter(|socket| open.contains(socket)).count();
        if still == 0 {
            return Ok(());
        }
        let cause = format!("{still} of {} that were to be cut are still there", open.len());
        let remedy = Some("run denyd with CAP_NET_ADMIN, on a kernel with CONFIG_INET_DIAG_DESTROY");
        Err(DenyError { remedy, ..DenyError::new(NAME, "cut connections", cause) })
    }

    /// Cuts what began meanwhile.
    fn probe(&mut self, want: &DenySet, now: Timestamp) -> Result<Probe, DenyError> {
        self.replace(want, now).map(|()| Probe::Ours)
    }
}

/// Reads a line of `ss -Htn state established`: two queues, our end, and the peer's.
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(2);
    let ends = [words.next()?.to_owned(), words.next()?.to_owned()];
    let (our, peer) = (end(&ends[0])?, end(&ends[1])?);
    Some(Socket { ends, our, peer })
}

/// `192.0.2.1:22`, `[2001:db8::1]:22`, `[fe80::1]%eth0:22`, `[::ffff:192.0.2.1]:22`.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.split('%').next()?.trim_start_matches('[').trim_end_matches(']');
    Some((address.parse::<IpAddr>().ok()?.to_canonical(), port.parse().ok()?))
}

/// Whether its peer is denied, and neither allowed nor logged in by it.
fn is_denied(socket: &Socket, want: &DenySet, now: Timestamp) -> bool {
    let (peer, _) = socket.peer;
    let spared = want.kept.contains(&socket.peer) || want.allowed.iter().any(|range| range.contains(peer));
    let bits = if peer.is_ipv4() { 32 } else { 128 };
    let mut prefixes = (0..=bits).map(|bits| Prefix::of(peer, bits));
    !spared && prefixes.any(|prefix| want.denied.get(&prefix).is_some_and(|end| Life::left(*end, now) != Life::Over))
}

pub(crate) const NAME: &str = "connections";
/// Connections that are cut by one process.
const CUT_AT_ONCE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::effect::{Protocol, Spared};

    #[test]
    fn reads_what_ss_lists() {
        let check = |line: &str, want: Option<(u16, &str, u16)>| {
            let read = socket(line).map(|socket| (socket.our.1, socket.peer.0.to_string(), socket.peer.1));
            assert_eq!(read, want.map(|(local, peer, port)| (local, peer.to_owned(), port)), "{line}");
        };
        check("0      0               192.0.2.1:22          198.51.100.7:37076 ", Some((22, "198.51.100.7", 37076)));
        check("0 36 [::ffff:192.0.2.1]:22 [::ffff:198.51.100.7]:1", Some((22, "198.51.100.7", 1)));
        check("0 0 [2001:db8::1]:7777 [2001:db8::2]:35174", Some((7777, "2001:db8::2", 35174)));
        check("0 0 [fe80::1]%eth0:22 [fe80::2]%eth0:65535", Some((22, "fe80::2", 65535)));
        check("0 0 192.0.2.1%eth0:22 198.51.100.7:1", Some((22, "198.51.100.7", 1)));
        check("", None);
        check("0 0 192.0.2.1:22", None);
        check("0 0 *:22 *:*", None);
        check("0 0 192.0.2.1:ssh 198.51.100.7:1", None);
    }

    #[test]
    fn cuts_who_is_denied_alone() {
        let mut want = DenySet::sample(
            "192.0.2.0/24@- 192.0.2.9@- 198.51.100.1@100 198.51.100.2@101 2001:db8::/64@-",
            "192.0.2.7",
        );
        want.kept = [("192.0.2.8".parse().unwrap(), 41)].into();
        let check = |peer: &str, cut: bool| {
            let socket = socket(&format!("0 0 [::1]:22 {peer}")).unwrap();
            assert_eq!(is_denied(&socket, &want, Timestamp::from_secs(100)), cut, "{peer}");
        };
        check("192.0.2.1:1", true);
        check("192.0.2.7:1", false);
        check("192.0.2.8:41", false);
        check("192.0.2.8:42", true);
        check("[::ffff:192.0.2.1]:1", true);
        check("198.51.100.1:1", false); // its deny is over
        check("198.51.100.2:1", true);
        check("[2001:db8::5]:1", true);
        check("[2001:db8:0:1::5]:1", false);
    }

    #[test]
    fn spares_log_senders() {
        let spared = |from: &str, protocol, at: Option<&str>, port| {
            let at = at.map(|at| at.parse().unwrap());
            Spared { from: from.parse().unwrap(), protocol, at, port }
        };
        let spared = vec![
            spared("192.0.2.0/24", Protocol::Tcp, None, 514),
            spared("192.0.2.0/24", Protocol::Udp, None, 515),
            spared("2001:db8::/64", Protocol::Tcp, Some("2001:db8:1::1"), 514),
        ];
        let cut = Cut::new(Effect { spared, ..Effect::default() });
        let check = |our: &str, peer: &str, closes: bool| {
            let socket = socket(&format!("0 0 {our} {peer}")).unwrap();
            assert_eq!(cut.closes(&socket), closes, "{our} {peer}");
        };
        check("198.51.100.1:514", "192.0.2.7:9", false);
        check("198.51.100.1:514", "192.0.3.7:9", true);
        check("198.51.100.1:515", "192.0.2.7:9", true);
        check("198.51.100.1:22", "192.0.2.7:9", true);
        check("[2001:db8:1::1]:514", "[2001:db8::7]:9", false);
        check("[2001:db8:1::2]:514", "[2001:db8::7]:9", true);
    }
}
