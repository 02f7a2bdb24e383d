//! What is said with nf_tables over netlink (linux/netfilter/nf_tables.h): steps as a transaction, and what the kernel says.
//!
//! Pure. Only what we ask for is read, and of the rest nothing is believed. Numbers of nf_tables are big endian.

use std::net::IpAddr;

use super::Table;
use super::plan::{Set, Step};
use super::script::TIMEOUT_MAX_S;
use super::wire::{Message, Writer, attribute, attributes, word};
use crate::decide::range::{Range, next};
use crate::deny::{Connection, Life};

/// What a message says, of one table of family inet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// A transaction is committed, or what the last one was.
    Generation {
        /// The kernel counts transactions, whoever made them.
        id: u32,
        /// Who made it, where the kernel says so: the name of a process, as it calls itself.
        by: Option<&'a [u8]>,
    },
    /// Elements of a set are there, or were added or deleted.
    Elements {
        /// The set's name.
        set: &'a [u8],
        /// At most [`ELEMENTS_MAX`].
        elements: Vec<Element>,
    },
    /// The table is there, or was changed or deleted.
    Table {
        /// A number that no other table has or had, where the kernel tells it: Linux before 4.16 does not.
        handle: Option<u64>,
        /// `NFT_TABLE_F_…`: a table that is dormant drops nothing.
        flags: u32,
    },
    /// A chain is there, or was changed or deleted.
    Chain {
        /// The chain's name.
        name: &'a [u8],
        /// Where it stands, and what becomes of packets that pass it; `None` for one that only rules lead to.
        base: Option<Base>,
    },
    /// A set is there, or was changed or deleted.
    Set {
        /// The set's name.
        name: &'a [u8],
    },
    /// A rule is there, or was added, changed or deleted.
    Rule {
        /// The chain's name.
        chain: &'a [u8],
        /// What it does, one expression behind the other.
        does: &'a [u8],
    },
    /// All of what was asked for has been said.
    Done,
    /// What a request came to: an error number, or 0.
    Answer {
        /// The request's number.
        seq: u32,
        /// As in errno(3).
        errno: i32,
    },
    /// Something of another table, or that we have no use for.
    Other,
}

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The address, or the first of a range, or the one behind a range's last.
    pub key: IpAddr,
    /// A connection's port; 0 where elements are addresses alone.
    pub port: u16,
    /// Whether a range ends before it.
    pub ends: bool,
    /// How long it stays, in milliseconds, if not for ever.
    pub left_ms: Option<u64>,
    /// Packets that found it, where its set counts them.
    pub packets: u64,
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// `NF_INET_…`.
    pub hook: u32,
    /// Chains of one hook come in this order.
    pub priority: i32,
    /// `NF_DROP` or `NF_ACCEPT`.
    pub policy: u32,
}

impl<'a> Told<'a> {
    /// Reads a message; `None` for one that says less than it should, or more than it may. What is of another table than
    /// `ours` is [`Told::Other`], whatever it says: its keys may be ports, or several things at once.
    pub fn read(message: &Message<'a>, ours: &Table) -> Option<Told<'a>> {
        match message.kind {
            NLMSG_DONE => {
                let errno = word(message.body, 0).map_or(Some(0), |word| word.cast_signed().checked_neg())?;
                return Some(if errno == 0 { Told::Done } else { Told::Answer { seq: message.seq, errno } });
            }
            NLMSG_ERROR => {
                // the error, and the header of what caused it
                let errno = word(message.body, 0)?.cast_signed().checked_neg()?;
                return Some(Told::Answer { seq: word(message.body, 4 + 8)?, errno });
            }
            _ => {}
        }
        let family = *message.body.first()?;
        let all = message.body.get(NFGENMSG..)?;
        let bytes = |kind| attribute(all, kind);
        let name = |kind| bytes(kind).map(named);
        if message.kind == NEWGEN {
            return Some(Told::Generation { id: number(bytes(1)?)?, by: name(3) });
        }
        if family != NFPROTO_INET || !OF_TABLES.contains(&message.kind) || name(1)? != ours.0.as_bytes() {
            return Some(Told::Other);
        }
        Some(match message.kind {
            NEWTABLE | DELTABLE => Told::Table {
                handle: bytes(4).map_or(Some(None), |handle| long(handle).map(Some))?.filter(|handle| *handle > 0),
                flags: bytes(2).map_or(Some(0), number)?,
            },
            NEWCHAIN | DELCHAIN => Told::Chain {
                name: name(3)?,
                base: bytes(4).map_or(Some(None), |hook| base(hook, bytes(5)).map(Some))?,
            },
            NEWSET | DELSET => Told::Set { name: name(2)? },
            NEWRULE | DELRULE => Told::Rule { chain: name(2)?, does: bytes(4).unwrap_or_default() },
            NEWSETELEM | DELSETELEM => {
                let list = attributes(bytes(3)?).filter(|(kind, _)| *kind == LIST_ELEM);
                let elements: Option<Vec<Element>> = list.take(ELEMENTS_MAX + 1).map(|(_, one)| element(one)).collect();
                let elements = elements.filter(|elements| elements.len() <= ELEMENTS_MAX)?;
                Told::Elements { set: name(2)?, elements }
            }
            _ => Told::Other,
        })
    }
}

/// A name, without the zero byte that ends it.
fn named(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).unwrap_or(value)
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn long(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

fn base(hook: &[u8], policy: Option<&[u8]>) -> Option<Base> {
    let of = |kind| number(attribute(hook, kind)?);
    Some(Base { hook: of(1)?, priority: of(2)?.cast_signed(), policy: policy.map_or(Some(NF_ACCEPT), number)? })
}

/// Expressions of a rule, but for its counters: what these say changes by itself.
pub(super) fn expressions(does: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = attributes(does).filter(|(kind, _)| *kind == LIST_ELEM).map(|(_, one)| one);
    all.filter(|one| attribute(one, 1).map(named) != Some(b"counter"))
}

/// Packets that the counter of a rule has seen; `None` if it has none.
pub(super) fn packets(does: &[u8]) -> Option<u64> {
    attributes(does).filter(|(kind, _)| *kind == LIST_ELEM).find_map(|(_, one)| counted(one))
}

/// What an expression has counted, if it is a counter.
fn counted(expression: &[u8]) -> Option<u64> {
    let counter = attribute(expression, 1).map(named) == Some(b"counter");
    long(attribute(attribute(expression, 2).filter(|_| counter)?, COUNTER_PACKETS)?)
}

fn element(one: &[u8]) -> Option<Element> {
    let value = attribute(attribute(one, ELEM_KEY)?, DATA_VALUE)?;
    // The parts of a key are padded to 4 bytes.
    let (key, port) = match value.len() {
        8 | 20 => value.split_at(value.len() - 4),
        _ => (value, &[0; 4][..]),
    };
    let v4 = <[u8; 4]>::try_from(key).map(IpAddr::from);
    let key = v4.or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from)).ok()?;
    let port = u16::from_be_bytes([*port.first()?, *port.get(1)?]);
    let flags = attribute(one, ELEM_FLAGS).map_or(Some(0), number)?;
    let left = attribute(one, ELEM_EXPIRATION).or_else(|| attribute(one, ELEM_TIMEOUT));
    let left_ms = left.map_or(Some(None), |left| long(left).map(Some))?;
    let packets = attribute(one, ELEM_EXPR).and_then(counted).unwrap_or_default();
    Some(Element { key, port, ends: flags & ELEM_INTERVAL_END != 0, left_ms, packets })
}

/// Steps as one transaction whose last message, numbered `seq`, is answered.
pub(super) fn transaction(table: &Table, steps: &[Step], seq: u32) -> Vec<u8> {
    let mut writer = Writer::default();
    let bound = |writer: &mut Writer, kind| {
        writer.message(kind, NLM_F_REQUEST, seq, |writer| writer.put(&head(0, NFNL_SUBSYS_NFTABLES)));
    };
    let pieces: Vec<_> = steps.iter().flat_map(pieces).collect();
    bound(&mut writer, BATCH_BEGIN);
    for (index, piece) in pieces.iter().enumerate() {
        let last = index + 1 == pieces.len();
        let (kind, flags) = match piece {
            Piece::Add(..) | Piece::Keep(..) => (NEWSETELEM, NLM_F_CREATE),
            Piece::Flush(_) | Piece::Delete(..) => (DELSETELEM, 0),
        };
        let flags = flags | NLM_F_REQUEST | if last { NLM_F_ACK } else { 0 };
        writer.message(kind, flags, seq, |writer| put_piece(writer, table, piece));
    }
    bound(&mut writer, BATCH_END);
    writer.bytes
}

/// A step, or a part of it, that one message holds.
enum Piece<'a> {
    Flush(Set),
    Add(Set, &'a [(Range, Life)]),
    Delete(Set, &'a [Range]),
    Keep(Set, &'a [Connection]),
}

fn pieces(step: &Step) -> Vec<Piece<'_>> {
    match step {
        Step::Flush(set) => vec![Piece::Flush(*set)],
        Step::Add(set, elements) => elements.chunks(MESSAGE_MAX).map(|some| Piece::Add(*set, some)).collect(),
        Step::Delete(set, elements) => elements.chunks(MESSAGE_MAX).map(|some| Piece::Delete(*set, some)).collect(),
        Step::Keep(set, connections) => connections.chunks(MESSAGE_MAX).map(|some| Piece::Keep(*set, some)).collect(),
    }
}

fn put_piece(writer: &mut Writer, table: &Table, piece: &Piece<'_>) {
    let (Piece::Flush(set) | Piece::Add(set, _) | Piece::Delete(set, _) | Piece::Keep(set, _)) = piece;
    put_place(writer, table, set.name);
    match piece {
        Piece::Flush(_) => {}
        Piece::Add(_, elements) => writer.nest(3, |writer| {
            elements.iter().for_each(|(range, life)| put_range(writer, set, range, *life));
        }),
        Piece::Delete(_, elements) => writer.nest(3, |writer| {
            elements.iter().for_each(|range| put_range(writer, set, range, Life::Forever));
        }),
        Piece::Keep(_, connections) => writer.nest(3, |writer| {
            connections.iter().for_each(|(peer, port)| put_element(writer, *peer, Some(*port), Life::Forever, 0));
        }),
    }
}

/// The family, and the names of our table and of what is in it.
fn put_place(writer: &mut Writer, table: &Table, name: &str) {
    writer.put(&head(NFPROTO_INET, 0));
    writer.attribute(1, &text(&table.0));
    writer.attribute(2, &text(name));
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn put_range(writer: &mut Writer, set: &Set, range: &Range, life: Life) {
    put_element(writer, range.first, None, life, 0);
    // one that goes to the last address of all has no end
    if let Some(end) = next(range.last).filter(|_| set.ranges) {
        put_element(writer, end, None, Life::Forever, ELEM_INTERVAL_END);
    }
}

fn put_element(writer: &mut Writer, key: IpAddr, port: Option<u16>, life: Life, flags: u32) {
    writer.nest(LIST_ELEM, |writer| {
        writer.nest(ELEM_KEY, |writer| match (key, port.map(u16::to_be_bytes)) {
            (IpAddr::V4(v4), None) => writer.attribute(DATA_VALUE, &v4.octets()),
            (IpAddr::V6(v6), None) => writer.attribute(DATA_VALUE, &v6.octets()),
            (IpAddr::V4(v4), Some(port)) => writer.attribute(DATA_VALUE, &[&v4.octets()[..], &port, &[0; 2]].concat()),
            (IpAddr::V6(v6), Some(port)) => writer.attribute(DATA_VALUE, &[&v6.octets()[..], &port, &[0; 2]].concat()),
        });
        if flags != 0 {
            writer.attribute(ELEM_FLAGS, &flags.to_be_bytes());
        }
        if let Life::Seconds(left) = life {
            writer.attribute(ELEM_TIMEOUT, &(left.min(TIMEOUT_MAX_S) * 1000).to_be_bytes());
        }
    });
}

/// Asks for the generation.
pub(super) fn ask_generation(seq: u32) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(GETGEN, NLM_F_REQUEST, seq, |writer| writer.put(&head(0, 0)));
    writer.bytes
}

/// Asks what there is of our table.
pub(super) fn ask(ask: Ask, table: &Table, seq: u32) -> Vec<u8> {
    let mut writer = Writer::default();
    let (kind, how, names) = match ask {
        Ask::Table => (GETTABLE, NLM_F_ACK, None),
        Ask::Chain(name) => (GETCHAIN, NLM_F_ACK, Some((3, name))),
        Ask::Set(set) => (GETSET, NLM_F_ACK, Some((2, set.name))),
        Ask::Rules(chain) => (GETRULE, NLM_F_DUMP, Some((2, chain))),
        Ask::Elements(set) => (GETSETELEM, NLM_F_DUMP, Some((2, set.name))),
    };
    writer.message(kind, NLM_F_REQUEST | how, seq, |writer| {
        writer.put(&head(NFPROTO_INET, 0));
        writer.attribute(1, &text(&table.0));
        if let Some((kind, name)) = names {
            writer.attribute(kind, &text(name));
        }
    });
    writer.bytes
}

/// What can be asked for. It is told without a promise that nobody changes it meanwhile; who listens hears of that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Table,
    /// The chain of this name.
    Chain(&'static str),
    Set(Set),
    /// Those of the chain of this name.
    Rules(&'static str),
    Elements(Set),
}

/// `struct nfgenmsg` (linux/netfilter/nfnetlink.h).
fn head(family: u8, subsystem: u16) -> [u8; NFGENMSG] {
    let [high, low] = subsystem.to_be_bytes();
    [family, 0, high, low]
}

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
// linux/netfilter/nfnetlink.h
const NFGENMSG: usize = 4;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
// linux/netfilter.h
const NFPROTO_INET: u8 = 1;
pub(super) const NF_ACCEPT: u32 = 1;
// linux/netfilter/nf_tables.h: enum nf_tables_msg_types, behind the subsystem
const NEWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8;
const DELTABLE: u16 = NEWTABLE + 2;
const NEWCHAIN: u16 = NEWTABLE + 3;
const DELCHAIN: u16 = NEWTABLE + 5;
const NEWRULE: u16 = NEWTABLE + 6;
const DELRULE: u16 = NEWTABLE + 8;
const NEWSET: u16 = NEWTABLE + 9;
const DELSET: u16 = NEWTABLE + 11;
const NEWSETELEM: u16 = NEWTABLE + 12;
const DELSETELEM: u16 = NEWTABLE + 14;
const GETTABLE: u16 = NEWTABLE + 1;
const GETCHAIN: u16 = NEWTABLE + 4;
const GETRULE: u16 = NEWTABLE + 7;
const GETSET: u16 = NEWTABLE + 10;
const GETSETELEM: u16 = NEWTABLE + 13;
const NEWGEN: u16 = NEWTABLE + 15;
const GETGEN: u16 = NEWTABLE + 16;
/// Those whose first attribute is the name of their table.
const OF_TABLES: [u16; 10] =
    [NEWTABLE, DELTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE, NEWSET, DELSET, NEWSETELEM, DELSETELEM];
/// `NFTA_LIST_ELEM`.
const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
// enum nft_set_elem_attributes
const ELEM_KEY: u16 = 1;
const ELEM_FLAGS: u16 = 3;
const ELEM_TIMEOUT: u16 = 4;
const ELEM_EXPIRATION: u16 = 5;
const ELEM_EXPR: u16 = 7;
const ELEM_INTERVAL_END: u32 = 1;
/// `NFTA_COUNTER_PACKETS`.
const COUNTER_PACKETS: u16 = 2;
/// Elements of a message that is read: the kernel's are of 64 KiB, and one takes 16 bytes at least.
pub const ELEMENTS_MAX: usize = 4096;
/// Ranges of a message that is written: a list's length has 16 bits, and one takes 88 bytes at most.
const MESSAGE_MAX: usize = 700;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::nft::plan::{USUAL, WIDE};
    use crate::deny::nft::wire::messages;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn told(kind: u16, body: &[u8]) -> Option<Told<'_>> {
        Told::read(&Message { kind, flags: 0, seq: 1, port: 27365, body }, &Table("t".to_owned()))
    }

    /// What Linux 6.18 sent to the group of nftables while nft 1.0.6 worked, without the headers.
    #[test]
    fn reads_what_the_kernel_sends() {
        let check = |kind: u16, hex: &str, want: Told<'_>| {
            let body = bytes(hex);
            assert_eq!(told(kind, &body), Some(want), "{hex}");
            for len in 0..body.len() {
                _ = told(kind, &body[..len]); // and none of what is cut is read beyond its end
            }
        };
        // table inet t
        check(
            NEWTABLE,
            "01000002 0600010074000000 0800030000000004 0c0004000000000000000001 0800020000000000",
            Told::Table { handle: Some(1), flags: 0 },
        );
        // add table inet t { flags dormant; }
        check(
            NEWTABLE,
            "01000009 0600010074000000 0800030000000004 0c0004000000000000000001 0800020000000001",
            Told::Table { handle: Some(1), flags: 1 },
        );
        // type filter hook prerouting priority -300; policy accept
        check(
            NEWCHAIN,
            "01000002 0600010074000000 0f000300707265726f7574696e670000 0c0002000000000000000001
             14000400 0800010000000000 08000200fffffed4 0800050000000001 0b00070066696c7465720000
             08000a0000000001 0800060000000003",
            Told::Chain { name: b"prerouting", base: Some(Base { hook: 0, priority: -300, policy: 1 }) },
        );
        check(
            DELSET,
            "0100000b 0600010074000000 0a00020064656e7934000000 0c0010000000000000000002",
            Told::Set { name: b"deny4" },
        );
        // ip saddr @deny4 counter drop
        let counter = "2c000100 0c000100636f756e74657200 1c000200 0c0001000000000000000bb8 0c0002000000000000000032";
        let rest = [
            "24000100 090001006d65746100000000 14000200 080002000000000f 0800010000000001",
            "2c000100 08000100636d7000 20000200 0800010000000001 0800020000000000 0c000300 0500010002000000",
            "34000100 0c0001007061796c6f616400 24000200 0800010000000001 0800020000000001 080003000000000c \
             0800040000000004",
            "30000100 0b0001006c6f6f6b75700000 20000200 0a00010064656e7934000000 0800020000000001 0800050000000000",
            "30000100 0e000100696d6d656469617465000000 1c000200 0800010000000000 10000200 0c000200 0800010000000000",
        ];
        let does = bytes(&[&rest[..4], &[counter], &rest[4..]].concat().concat());
        let head = "01000002 0600010074000000 0f000200707265726f7574696e670000 0c0003000000000000000006 14010400";
        let rule = [bytes(head), does.clone()].concat();
        let want = Told::Rule { chain: b"prerouting", does: &does };
        assert_eq!(told(NEWRULE, &rule), Some(want));
        let values = rest.map(|one| bytes(one)[4..].to_vec());
        assert_eq!(expressions(&does).collect::<Vec<_>>(), values, "all but the counter");
        assert_eq!(packets(&does), Some(50));
        assert_eq!(packets(&bytes(rest[0])), None, "no counter");
        let element =
            |key: &str, ends, left_ms| Element { key: key.parse().unwrap(), port: 0, ends, left_ms, packets: 0 };
        let elements = |set, elements| Told::Elements { set, elements };
        // 192.0.2.1 timeout 60s, deleted 16 ms later
        check(
            DELSETELEM,
            "01000006 0600010074000000 0a00020064656e7934000000 2c000300 28000100 0c000100 08000100c0000201
             0c000400000000000000ea60 0c000500000000000000ea50",
            elements(b"deny4", vec![element("192.0.2.1", false, Some(59_984))]),
        );
        // the end of 192.0.2.128-192.0.2.255
        check(
            NEWSETELEM,
            "01000004 0600010074000000 0a00020077696465 34000000 1c000300 18000100 0c000100 08000100c0000300 0800030000000001",
            elements(b"wide4", vec![element("192.0.3.0", true, None)]),
        );
        check(
            NEWSETELEM,
            "01000005 0600010074000000 0a0002007769646536000000 38000300 34000100 18000100 1400010020010db8000000000000000000000000
             0c000400000000000000ea60 0c000500000000000000ea60",
            elements(b"wide6", vec![element("2001:db8::", false, Some(60_000))]),
        );
        // add element inet t keep4 { 192.0.2.1 . 22 }
        check(
            NEWSETELEM,
            "01000006 0600010074000000 0a0002006b65657034000000 18000300 14000100 10000100 0c000100c000020100160000",
            elements(b"keep4", vec![Element { port: 22, ..element("192.0.2.1", false, None) }]),
        );
        check(
            NEWGEN,
            "00000003 0800010000000003 0800020000006ae6 080003006e667400",
            Told::Generation { id: 3, by: Some(b"nft") },
        );
        // delete element inet t deny4 { 1.2.3.4 }, which is not there: -ENOENT, and the header of what asked
        check(NLMSG_ERROR, "feffffff 3c0000000e0a010001000000e56a0000", Told::Answer { seq: 1, errno: 2 });
    }

    #[test]
    fn believes_nothing_else() {
        let check = |kind: u16, hex: &str| assert_eq!(told(kind, &bytes(hex)), None, "{hex}");
        check(NEWGEN, "00000003");
        check(NEWGEN, "00000003 0700010000000003"); // an id of three bytes
        check(NEWTABLE, "01000002 0600010074000000 0800040000000001"); // a handle of four bytes
        check(NEWSETELEM, "01000006 0600010074000000 0a00020064656e7934000000 10000300 0c000100 08000100c0000201"); // no key
        // a key of two bytes
        check(
            NEWSETELEM,
            "01000006 0600010074000000 0a00020064656e7934000000 14000300 10000100 0c000100 06000100c0000000",
        );
        check(NLMSG_ERROR, "00000080 3c0000000e0a010001000000e56a0000"); // the number that has no opposite
        check(NEWTABLE, "01000002"); // of no table
        assert_eq!(told(NEWTABLE, &bytes("02000002")), Some(Told::Other), "of family ip");
        for no_handle in ["", "0c0004000000000000000000"] {
            let body = bytes(&format!("01000002 0600010074000000 {no_handle}"));
            assert_eq!(told(NEWTABLE, &body), Some(Told::Table { handle: None, flags: 0 }));
        }
        // table inet u: a port, an address with two, and an element that stands for all others
        let key = |key: &str| format!("01000006 0600010075000000 0a00020064656e7934000000 {key}");
        for elements in [
            "14000300 10000100 0c000100 0600010000160000",
            "1c000300 18000100 14000100 10000100 c0000201 00160000 00170000",
            "10000300 0c000100 0800030000000002",
        ] {
            assert_eq!(told(NEWSETELEM, &bytes(&key(elements))), Some(Told::Other), "of another table");
            assert_eq!(told(NEWSETELEM, &bytes(&key(elements).replace("75000000", "74000000"))), None, "of ours");
        }
        let many = [bytes("01000006 0600010074000000 0a00020064656e7934000000"), vec![0xff, 0xff, 3, 0]].concat();
        let many = [many, [20, 0, 1, 0, 12, 0, 1, 0, 8, 0, 1, 0, 1, 2, 3, 4, 0, 0, 0, 0].repeat(3276)].concat();
        assert_eq!(told(NEWSETELEM, &many[..many.len() - 1]), None, "a list that is cut");
    }

    /// As strace shows what nft 1.0.6 sends, but for what it adds for itself: the order of an element's attributes, a
    /// number for each set and element, and an end at 0.0.0.0.
    #[test]
    fn writes_what_nft_writes() {
        let table = Table("t".to_owned());
        let range = |first: &str, last: &str| Range { first: first.parse().unwrap(), last: last.parse().unwrap() };
        let check = |steps: &[Step], want: &[&str]| {
            let bytes_sent = transaction(&table, steps, 9);
            let all: Vec<_> = messages(&bytes_sent).map(Option::unwrap).collect();
            assert!(all.iter().all(|message| message.seq == 9));
            let shown: Vec<_> = all
                .iter()
                .map(|message| {
                    let body: String = message.body.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("{:04x} {:03x} {body}", message.kind, message.flags)
                })
                .collect();
            let want = want.iter().map(|line| {
                let (head, body) = line.split_at(9);
                format!("{head}{}", body.replace(char::is_whitespace, ""))
            });
            assert_eq!(shown, want.collect::<Vec<_>>());
        };
        let one = range("192.0.2.1", "192.0.2.1");
        check(
            &[
                Step::Add(USUAL[0], vec![(one, Life::Seconds(60))]),
                Step::Delete(USUAL[0], vec![one]),
            ],
            &[
                "0010 001 0000000a",
                "0a0c 401 01000000 0600010074000000 0a00020064656e7934000000 20000380 1c000180 0c000180 08000100c0000201
                 0c000400000000000000ea60",
                "0a0e 005 01000000 0600010074000000 0a00020064656e7934000000 14000380 10000180 0c000180 08000100c0000201",
                "0011 001 0000000a",
            ],
        );
        check(
            &[
                Step::Flush(WIDE[0]),
                Step::Add(
                    WIDE[0],
                    vec![
                        (range("192.0.2.128", "192.0.2.255"), Life::Seconds(90)),
                        (range("255.255.255.0", "255.255.255.255"), Life::Forever),
                    ],
                ),
            ],
            &[
                "0010 001 0000000a",
                "0a0e 001 01000000 0600010074000000 0a0002007769646534000000",
                "0a0c 405 01000000 0600010074000000 0a0002007769646534000000 48000380
                 1c000180 0c000180 08000100c0000280 0c0004000000000000015f90
                 18000180 0c000180 08000100c0000300 0800030000000001
                 10000180 0c000180 08000100ffffff00",
                "0011 001 0000000a",
            ],
        );
    }

    /// No list is longer than its length can say.
    #[test]
    fn cuts_long_lists() {
        let ranges = |n: u128| Range {
            first: std::net::Ipv6Addr::from(n << 8).into(),
            last: std::net::Ipv6Addr::from(n << 8).into(),
        };
        let all = (0..2001).map(|n| (ranges(n), Life::Seconds(9))).collect();
        let bytes = transaction(&Table("t".repeat(64)), &[Step::Add(WIDE[1], all)], 1);
        let counts: Vec<_> = messages(&bytes)
            .filter_map(|message| match Told::read(&message.unwrap(), &Table("t".repeat(64))) {
                Some(Told::Elements { elements, .. }) => Some(elements.len()),
                _ => None,
            })
            .collect();
        assert_eq!(counts, [1400, 1400, 1202], "a beginning and an end each");
    }
}
