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
    /// The transaction that is being told touched our table.
    ours: bool,
}

impl Watch {
    /// Listens from now on.
    pub(super) fn begin(table: &Table) -> Result<Watch, Errno> {
        Ok(Watch { socket: Socket::watching(table)?, known: 0 })
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
    pub(super) fn hear(&mut self, port: u32, news: &mut News) -> Result<(), Errno> {
        let Watch { socket, known } = self;
        for _ in 0..DATAGRAMS_MAX {
            let heard = socket.receive(|heard| match heard {
                Some((message, told)) => news.take(told, message.port != port, known),
                None => news.unsure = true,
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
    /// `foreign`: somebody else did it.
    fn take(&mut self, told: Told<'_>, foreign: bool, known: &mut u32) {
        if let Told::Generation { id, by } = told {
            let step = id.wrapping_sub(*known).cast_signed();
            self.unsure |= step > 1;
            if step > 0 {
                *known = id;
            }
            if std::mem::take(&mut self.ours) {
                self.by = by.map(|name| printable(&name[..name.len().min(NAME_MAX)]).to_string());
            }
            return;
        }
        if !foreign {
            return;
        }
        match told {
            Told::Elements { set, elements } => {
                match SETS.into_iter().find(|ours| ours.name.as_bytes() == set) {
                    Some(set) if set.is_small() => _ = self.touched.anew.insert(set),
                    Some(set) => self.touched.elements.extend(elements.iter().map(|element| (set, element.key))),
                    None => self.unsure = true,
                }
                // They are told one by one: a set that was flushed comes to this.
                if self.touched.elements.len() > TOUCHED_MAX {
                    self.touched = Touched::default();
                    self.unsure = true;
                }
            }
            Told::Table { .. } | Told::Chain { .. } | Told::Set { .. } | Told::Rule { .. } => self.unsure = true,
            Told::Generation { .. } | Told::Done | Told::Answer { .. } | Told::Other => return,
        }
        self.ours = true;
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
                news.take(Told::Generation { id: *id, by: None }, true, &mut known);
            }
            assert_eq!((news.unsure, known), (unsure, then), "{ids:?}");
        };
        check(7, &[8, 9], false, 9);
        check(7, &[6, 7, 8], false, 8);
        check(7, &[9], true, 9);
        check(u32::MAX, &[0, 1], false, 1);
    }

    #[test]
    fn hears_of_what_others_do() {
        let element = Element { key: "192.0.2.1".parse().unwrap(), port: 0, ends: false, left_ms: None, packets: 0 };
        let check = |set: &[u8], foreign: bool, elements: usize, want: (usize, usize, bool)| {
            let (mut news, mut known) = (News::default(), 7);
            let key = |n: usize| std::net::Ipv4Addr::from(n as u32).into();
            let elements = (0..elements).map(|n| Element { key: key(n), ..element }).collect();
            news.take(Told::Elements { set, elements }, foreign, &mut known);
            assert_eq!((news.touched.elements.len(), news.touched.anew.len(), news.unsure), want);
        };
        check(b"deny4", true, 3, (3, 0, false));
        check(b"wide4", true, 3, (0, 1, false));
        check(b"keep4", true, 3, (0, 1, false));
        check(b"deny4", false, 3, (0, 0, false));
        check(b"theirs", true, 3, (0, 0, true));
        check(b"deny4", true, TOUCHED_MAX, (TOUCHED_MAX, 0, false));
        check(b"deny4", true, TOUCHED_MAX + 1, (0, 0, true));
    }

    #[test]
    fn names_who_touched_our_table_alone() {
        let (mut news, mut known) = (News::default(), 7);
        let set = || Told::Set { name: b"deny4" };
        let done = |id, by: &'static [u8]| Told::Generation { id, by: Some(by) };
        let mut check = |told: Vec<Told<'_>>, foreign: bool, by: Option<&str>| {
            told.into_iter().for_each(|told| news.take(told, foreign, &mut known));
            assert_eq!(news.by.as_deref(), by);
        };
        check(vec![Told::Other, done(8, b"before")], true, None);
        check(vec![set(), done(9, b"denyd")], false, None);
        check(vec![Told::Other, set(), Told::Other, done(10, b"nft")], true, Some("nft"));
        check(vec![Told::Other, done(11, b"after")], true, Some("nft"));
        check(vec![set(), done(12, b"firewalld")], true, Some("firewalld"));
    }

    /// A process chooses its name, and an administrator reads it.
    #[test]
    fn a_name_is_printable() {
        let (mut news, mut known) = (News { ours: true, ..News::default() }, 7);
        news.take(Told::Generation { id: 8, by: Some(b"a\x1b[31mbcdefghijklmnop") }, true, &mut known);
        assert_eq!(news.by.unwrap(), "a\\x1b[31mbcdefghijk");
    }
}
