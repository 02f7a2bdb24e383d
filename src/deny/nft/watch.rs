//! Hears what others do to our table, as they do it.
//!
//! The kernel tells every change to those who listen, and behind each transaction its number. So what was not heard shows
//! as a gap in the numbers; then, and where the kernel says that it dropped news, our table has to be read.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::Table;
use super::message::Told;
use super::plan::{SETS, Touched};
use super::socket::Socket;
use crate::text::printable;

/// Listens to the group of nftables.
#[derive(Debug)]
pub(super) struct Watch {
    socket: Socket,
    /// Transactions up to this one are known.
    known: u32,
}

/// What others did since it was last taken.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Elements that they touched.
    pub(super) touched: Touched,
    /// Something was not heard, or was more than elements: the table has to be read.
    pub(super) unsure: bool,
    /// Who did it, as processes call themselves; of several the last.
    pub(super) by: Option<String>,
}

impl Watch {
    /// Listens from now on.
    pub(super) fn begin() -> Result<Watch, Errno> {
        Ok(Watch { socket: Socket::watching()?, known: 0 })
    }

    /// All up to this transaction is known from elsewhere.
    pub(super) fn know(&mut self, generation: u32) {
        self.known = generation;
    }

    /// Whether all is known up to this transaction.
    pub(super) fn knows(&self, generation: u32) -> bool {
        generation.wrapping_sub(self.known).cast_signed() <= 0
    }

    /// What is readable once there are news.
    pub(super) fn stirs(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Takes the news that wait. What `port` did is ours.
    pub(super) fn hear(&mut self, table: &Table, port: u32, news: &mut News) -> Result<(), Errno> {
        let Watch { socket, known } = self;
        for _ in 0..DATAGRAMS_MAX {
            let heard = socket.receive(|message| {
                let told = message.and_then(|message| Some((message.port != port, Told::read(&message)?)));
                match told {
                    Some((foreign, told)) => news.take(told, foreign, table, known),
                    None => news.unsure = true,
                }
            });
            match heard {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Errno::ENOBUFS) => news.unsure = true,
                Err(error) => return Err(error),
            }
        }
        Ok(()) // the rest next time: it is readable still
    }
}

impl News {
    fn take(&mut self, told: Told<'_>, foreign: bool, ours: &Table, known: &mut u32) {
        let is_ours = |table: &[u8]| foreign && table == ours.0.as_bytes();
        match told {
            Told::Generation { id, by } => {
                let step = id.wrapping_sub(*known).cast_signed();
                self.unsure |= step > 1;
                if step > 0 {
                    *known = id;
                }
                if foreign && !self.is_empty() {
                    self.by = by.map(|name| printable(&name[..name.len().min(NAME_MAX)]).to_string());
                }
            }
            Told::Elements { table, set, elements } if is_ours(table) => {
                match SETS.into_iter().find(|ours| ours.name.as_bytes() == set) {
                    Some(set) if set.ranges => _ = self.touched.anew.insert(set),
                    Some(set) => self.touched.elements.extend(elements.iter().map(|element| (set, element.key))),
                    None => self.unsure = true,
                }
                // They are told one by one: a set that was flushed comes to this.
                if self.touched.elements.len() > TOUCHED_MAX {
                    self.touched = Touched::default();
                    self.unsure = true;
                }
            }
            Told::Table { table, .. }
            | Told::Chain { table, .. }
            | Told::Set { table, .. }
            | Told::Rule { table, .. } => self.unsure |= is_ours(table),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.touched.is_empty() && !self.unsure
    }
}

/// Datagrams that are taken at once: a few milliseconds' work.
const DATAGRAMS_MAX: usize = 4096;
/// Elements that are mended one by one; beyond, the whole set is written.
pub(super) const TOUCHED_MAX: usize = 4096;
/// A process' name is of 16 bytes (`TASK_COMM_LEN`).
const NAME_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::nft::message::Element;

    #[test]
    fn a_gap_in_the_numbers_is_seen() {
        let check = |known: u32, ids: &[u32], unsure: bool, then: u32| {
            let (mut news, mut known) = (News::default(), known);
            for id in ids {
                news.take(Told::Generation { id: *id, by: None }, true, &Table::default(), &mut known);
            }
            assert_eq!((news.unsure, known), (unsure, then), "{ids:?}");
        };
        check(7, &[8, 9], false, 9);
        check(7, &[6, 7, 8], false, 8);
        check(7, &[9], true, 9);
        check(u32::MAX, &[0, 1], false, 1);
    }

    #[test]
    fn hears_of_our_table_alone() {
        let element = Element { key: "192.0.2.1".parse().unwrap(), ends: false, left_ms: None };
        let check = |table: &[u8], set: &[u8], foreign: bool, elements: usize, want: (usize, usize, bool)| {
            let (mut news, mut known) = (News::default(), 7);
            let key = |n: usize| std::net::Ipv4Addr::from(n as u32).into();
            let elements = (0..elements).map(|n| Element { key: key(n), ..element }).collect();
            news.take(Told::Elements { table, set, elements }, foreign, &Table::default(), &mut known);
            assert_eq!((news.touched.elements.len(), news.touched.anew.len(), news.unsure), want);
        };
        check(b"denyd", b"deny4", true, 3, (3, 0, false));
        check(b"denyd", b"wide4", true, 3, (0, 1, false));
        check(b"denyd", b"deny4", false, 3, (0, 0, false));
        check(b"other", b"deny4", true, 3, (0, 0, false));
        check(b"denyd", b"theirs", true, 3, (0, 0, true));
        check(b"denyd", b"deny4", true, TOUCHED_MAX, (TOUCHED_MAX, 0, false));
        check(b"denyd", b"deny4", true, TOUCHED_MAX + 1, (0, 0, true));
    }

    /// A process chooses its name, and an administrator reads it.
    #[test]
    fn a_name_is_printable() {
        let (mut news, mut known) = (News { unsure: true, ..News::default() }, 7);
        news.take(
            Told::Generation { id: 8, by: Some(b"a\x1b[31mbcdefghijklmnop") },
            true,
            &Table::default(),
            &mut known,
        );
        assert_eq!(news.by.unwrap(), "a\\x1b[31mbcdefghijk");
    }
}
