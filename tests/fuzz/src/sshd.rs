//! sshd's grammar: any bytes, and its own messages with any text of strangers in them. The address that comes out is the
//! peer's, or none.
#![no_main]

use denyd::detect::rule::Rules;
use denyd::detect::sshd;
use denyd::intake::hear;
use inputs::record::Record;
use kit::shapes::{self, Chance, Said};

/// Choices as the fuzzer's bytes have them; the texts are those bytes themselves.
struct Bytes<'a>(&'a [u8]);

impl Chance for Bytes<'_> {
    fn below(&mut self, end: usize) -> usize {
        let (choice, rest) = match self.0 {
            [a, b, rest @ ..] if end > 256 => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [a, rest @ ..] => (usize::from(*a), rest),
            [] => (0, self.0),
        };
        self.0 = rest;
        choice % end
    }

    fn words(&mut self) -> Vec<u8> {
        let len = self.below(256).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text.iter().copied().filter(|byte| *byte != b'\n').collect()
    }
}

/// The address that a message names, whatever a syslog daemon put around it.
fn found(message: &[u8], truncated: bool) -> Option<std::net::IpAddr> {
    let rules = Rules::default();
    let record = Record { truncated, ..Record::of(b"sshd", message) };
    hear(&record, &rules).and_then(|event| event.peer.address()).map(std::net::IpAddr::from)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 0 {
        for truncated in [false, true] {
            let _ = sshd::parse(data, truncated);
        }
        return;
    }
    let mut bytes = Bytes(data);
    let printed = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "fe80::7%eth0"][usize::from(mode / 2 % 4)];
    let peer = printed.split('%').next().and_then(|text| text.parse().ok());
    let peer: Option<std::net::IpAddr> = peer.map(|address: std::net::IpAddr| address.to_canonical());
    let (message, said) = shapes::message(&mut bytes, printed);
    let names = found(&message, false);
    // As long as BusyBox's syslogd reads, behind `<38>` or `<166>`, a stamp and `sshd: `: nobody knows whether it was cut.
    let may_be_cut = [255, 254].contains(&("<38>Nov 21 23:26:32 sshd: ".len() + message.len()));
    let right = match said {
        Said::Peer if !may_be_cut => names == peer,
        Said::Peer | Said::PeerOrNobody => names.is_none() || names == peer,
        Said::Nobody => names.is_none(),
    };
    assert!(right, "{names:?}, not {peer:?}: {}", message.escape_ascii());
    // Known to be cut, it names the peer or nobody.
    let cut = &message[..bytes.below(message.len() + 1)];
    let names = found(cut, true);
    assert!(names.is_none() || names == peer, "{names:?}, not {peer:?}, cut: {}", cut.escape_ascii());
});
