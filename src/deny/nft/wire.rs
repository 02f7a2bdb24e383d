//! Netlink as it lies in a datagram (RFC 3549; linux/netlink.h): messages, and attributes in them. Pure.
//!
//! Promises that nothing is read beyond its end, and that whatever the bytes are, reading them ends. Numbers of netlink itself
//! are in this machine's byte order; what they mean to nf_tables is in [`super::message`].

/// One message, without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is: a number of netlink's own, or a subsystem (upper byte) and its number.
    pub kind: u16,
    /// `NLM_F_…`.
    pub flags: u16,
    /// The number of the request that it answers, or that caused it.
    pub seq: u32,
    /// Whose request that was.
    pub port: u32,
    /// What follows the header, without what fills it up.
    pub body: &'a [u8],
}

/// The messages of a datagram, up to one that is cut; then `None`.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    let mut rest = Some(datagram);
    std::iter::from_fn(move || {
        let here = rest.take().filter(|here| !here.is_empty())?;
        let Some((message, len)) = message(here) else { return Some(None) };
        rest = Some(here.get(padded(len)..).unwrap_or_default());
        Some(Some(message))
    })
}

fn message(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let len = usize::try_from(word(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER..len)?;
    Some((
        Message { kind: half(bytes, 4)?, flags: half(bytes, 6)?, seq: word(bytes, 8)?, port: word(bytes, 12)?, body },
        len,
    ))
}

/// Attributes: what each is, without `NLA_F_NESTED` and its like, and its value. One that is cut ends them.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(half(rest, 0)?);
        let value = rest.get(ATTRIBUTE..len)?;
        let kind = half(rest, 2)? & KIND;
        rest = rest.get(padded(len)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Writes messages one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    /// A message with this header; `body` writes the rest. The port is the kernel's to fill in.
    pub(super) fn message(&mut self, kind: u16, flags: u16, seq: u32, body: impl FnOnce(&mut Self)) {
        let begin = self.bytes.len();
        self.put(&[0; 4]);
        self.put(&kind.to_ne_bytes());
        self.put(&flags.to_ne_bytes());
        self.put(&seq.to_ne_bytes());
        self.put(&[0; 4]);
        body(self);
        let len = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX); // which no kernel takes
        self.bytes[begin..begin + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// An attribute with this value, of less than 64 KiB.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |writer| writer.put(value), 0);
    }

    /// An attribute of attributes.
    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.nested(kind, body, NESTED);
    }

    /// Bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self), flag: u16) {
        let begin = self.bytes.len();
        self.put(&[0; 2]);
        self.put(&(kind | flag).to_ne_bytes());
        body(self);
        let len = u16::try_from(self.bytes.len() - begin).unwrap_or(u16::MAX); // which no kernel takes
        self.bytes[begin..begin + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(padded(self.bytes.len()), 0);
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Everything begins at a multiple of four.
fn padded(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nlattr`.
const ATTRIBUTE: usize = 4;
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`.
const KIND: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;

    fn two_messages() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(0x0a0c, 5, 7, |writer| {
            writer.put(b"head");
            writer.nest(3, |writer| {
                writer.attribute(1, b"abcde");
                writer.attribute(2, b"");
            });
        });
        writer.message(0x11, 1, 8, |writer| writer.attribute(9, b"z"));
        writer.bytes
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = two_messages();
        let all: Vec<_> = messages(&bytes).map(Option::unwrap).collect();
        let heads: Vec<_> = all.iter().map(|m| (m.kind, m.flags, m.seq, m.port, m.body.len())).collect();
        assert_eq!(heads, [(0x0a0c, 5, 7, 0, 24), (0x11, 1, 8, 0, 8)]);
        let inner = attribute(&all[0].body[4..], 3).unwrap();
        assert_eq!(attributes(inner).collect::<Vec<_>>(), [(1, &b"abcde"[..]), (2, &b""[..])]);
        assert_eq!(attribute(all[1].body, 8), None);
    }

    #[test]
    fn what_is_cut_is_told() {
        let bytes = two_messages();
        assert_eq!(bytes.len(), 40 + 24);
        for len in 1..bytes.len() {
            let whole = messages(&bytes[..len]).flatten().count();
            let cut = messages(&bytes[..len]).any(|message| message.is_none());
            assert_eq!((whole, cut), (usize::from(len >= 40), len != 40), "{len} bytes");
        }
    }

    #[test]
    fn lengths_that_lie_end_it() {
        let check = |len: u32| {
            let mut bytes = two_messages();
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            messages(&bytes).map(|message| message.is_some()).collect::<Vec<_>>()
        };
        for len in [0, 15, 1000, u32::MAX] {
            assert_eq!(check(len), [false], "{len}");
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0, "an attribute of no length");
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "one that is shorter than its head");
        assert_eq!(attributes(&[9, 0, 1, 0, 0]).count(), 0, "one that is longer than what holds it");
    }
}
