//! Every place where denies were ever written, whatever is configured now, and how they are taken away there.
//!
//! A place is the name of its ledger: `nftables inet denyd`, `hosts.deny /etc/hosts.deny`. The ledger's note is what remains of
//! a configuration that named it.

use std::path::Path;

use inputs::record::Timestamp;

use super::DenyBackend;
use super::hosts_deny::{self, Form, HostsDeny};
use super::iptables::{self, Iptables};
use super::ledger::{self, Ledger, Notes};
use super::nft::{self, Lengths, Nft};
use super::pf::{self, Pf};

/// A place where something was written.
pub struct Place {
    /// Its name.
    pub name: String,
    /// What takes away what is ours there, or why nothing does.
    back_end: Result<Box<dyn DenyBackend>, String>,
    notes: Box<dyn Notes>,
}

/// Every place, by the names of the notes that are kept. Of files only those are touched of which `may` says nothing against it.
pub fn written(
    notes: &[String],
    may: &dyn Fn(&Path) -> Result<(), String>,
    open: &dyn Fn() -> Result<Box<dyn Notes>, String>,
) -> Result<Vec<Place>, String> {
    let place = |name: &str| {
        let refused = hosts_deny::file_of(name).and_then(|file| may(file).err());
        let unknown = || "this version does not know what that is".to_owned();
        let back_end = match refused {
            Some(why) => Err(why),
            None => back_end(name, open)?.ok_or_else(unknown),
        };
        Ok(Place { name: name.to_owned(), back_end, notes: open()? })
    };
    notes.iter().filter_map(|note| ledger::place(note)).map(place).collect()
}

fn back_end(
    place: &str,
    open: &dyn Fn() -> Result<Box<dyn Notes>, String>,
) -> Result<Option<Box<dyn DenyBackend>>, String> {
    let (name, at) = place.split_once(' ').unwrap_or((place, ""));
    Ok(match (name, at.strip_prefix("inet ").map(str::parse)) {
        (nft::NAME, Some(Ok(table))) => Some(Box::new(Nft::new(table, Lengths::default()))),
        (iptables::NAME, _) => at.parse().ok().map(|chain| Box::new(Iptables::new(chain)) as Box<dyn DenyBackend>),
        (pf::NAME, _) => match pf::Settings::of_place(at) {
            Some(settings) => Some(Box::new(Pf::new(settings, Ledger::open(place, open()?, None)?))),
            None => None,
        },
        (hosts_deny::NAME, _) => {
            let form = Form { service: hosts_deny::Service::default(), stamped: None, adopt: false };
            Some(Box::new(HostsDeny::new(at.into(), form, hosts_deny::ledger(Path::new(at), open()?)?)))
        }
        _ => None,
    })
}

impl Place {
    /// Takes away all that is ours there.
    pub fn take_away(&mut self, now: Timestamp) -> Result<(), String> {
        let back_end = self.back_end.as_mut().map_err(|why| why.clone())?;
        back_end.take_away(now).map_err(|error| error.to_string())
    }

    /// Takes away all that is ours there, and forgets the place: nothing will be written there.
    pub fn leave(&mut self, now: Timestamp) -> Result<(), String> {
        self.take_away(now)?;
        self.notes.forget(&ledger::note(&self.name))
    }
}
