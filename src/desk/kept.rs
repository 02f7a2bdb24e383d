//! What is kept of failures and logins, by what DenyHosts had files for, and what people forgive by their hands in these.
//!
//! It is gathered as a list is: by looks at the desk, of a moment each.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use inputs::record::Timestamp;
use tokio::sync::mpsc;

use super::aside::{Aside, Here, Look, Looks, turn};
use super::{Committed, Desk, ROWS_MAX};
use crate::decide::engine::{Command, Input};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, UserCounts};
use crate::deny::hosts_deny::{self, Standing};
use crate::store::{self, Pair, Released, StoreError, Wanted};

/// Who did it, in the history.
const BY_HAND: &str = "hand";

/// The classes that DenyHosts has, in the order of [`Kept::failed`].
pub const CLASSES: [Class; 4] = [Class::Invalid, Class::Valid, Class::Root, Class::Restricted];

/// How often a prefix failed in a class, and when last.
pub type Failed = (Prefix, u32, Timestamp);

/// What is kept: of each kind the [`ROWS_MAX`] that count most.
#[derive(Debug, Default)]
pub struct Kept {
    /// Failures of each class.
    pub failed: [Vec<Failed>; 4],
    /// Users that were tried.
    pub users: Vec<(Box<[u8]>, UserCounts)>,
    /// From where.
    pub pairs: Vec<Pair>,
    /// Logins from where too many had failed: from where, as whom, how often, and when last.
    pub suspicious: Vec<(IpAddr, Vec<u8>, u64, Timestamp)>,
    /// Who was released.
    pub released: Vec<Released>,
}

/// Gathers it by looks at the desk. It blocks: never within a runtime.
pub fn kept(mut looks: mpsc::Sender<Look>) -> Result<Kept, String> {
    gather(&mut looks)
}

fn gather(looks: &mut impl Looks) -> Result<Kept, String> {
    let _turn = turn();
    let mut aside = Aside::begin(looks)?;
    let mut kept = Kept::default();
    for (class, failed) in CLASSES.into_iter().zip(&mut kept.failed) {
        let rows = aside.failed(ROWS_MAX, class)?;
        *failed = rows.into_iter().map(|(Reverse(count), prefix, at)| (prefix, count, at)).collect();
    }
    kept.users = aside.tried(ROWS_MAX)?;
    let now = aside.now;
    kept.pairs = aside.read(move |database| database.pairs(&Wanted::default(), now, ROWS_MAX))?;
    let suspicious = aside.logins(|_, _| true)?.into_iter();
    kept.suspicious = suspicious.map(|((address, user), (times, last))| (address, user, times, last)).collect();
    kept.suspicious.truncate(ROWS_MAX);
    kept.released = aside.read(|database| database.released(None, ROWS_MAX))?;
    Ok(kept)
}

impl Desk {
    /// The same, for who has the desk.
    pub fn kept(&self, now: Timestamp) -> Result<Kept, String> {
        gather(&mut Here(self, now))
    }

    /// Which denies stand in a hosts.deny: of ours, and of anybody's.
    pub fn standing(&self, file: &Path) -> Result<Standing, String> {
        let ledger = self.note(&hosts_deny::note(file)).map_err(|error| error.to_string())?;
        hosts_deny::standing(file, ledger.as_deref())
    }

    /// What was noted at a clean stop; nothing after any other end.
    pub fn stopped(&self) -> Result<Option<String>, StoreError> {
        Ok(self.note(store::STOPPED)?.filter(|note| !note.is_empty()))
    }

    /// Notes what stood where at a clean stop, at once: nothing else is to be written before the next start.
    pub fn note_stopped(&self, note: &str) -> Result<(), StoreError> {
        self.store.database.set_note(store::STOPPED, note)
    }

    /// Forgives prefixes that a person deleted from the files, also how often they were released. What was noted at the clean
    /// stop is gone with the same commit, so that it holds for one start.
    pub fn forgive_by_hand(&mut self, prefixes: Vec<Prefix>, now: Timestamp) -> Committed {
        if !prefixes.is_empty() {
            let released = prefixes.iter().filter(|prefix| self.engine.state.released.contains_key(*prefix));
            let released: Vec<_> = released.copied().collect();
            self.engine.step(now, Input::Command(Command::Forgive(prefixes, Some(BY_HAND.into()))));
            for prefix in released {
                let change = Change::Remembered { prefix, times: 0, last: None };
                self.engine.state.apply(&change);
                self.engine.changes.push(change);
            }
        }
        self.set_note(store::STOPPED.to_owned(), String::new());
        self.commit(now)
    }

    /// Those of these prefixes that are denied, or of which something is counted.
    pub fn known(&self, prefixes: BTreeSet<Prefix>) -> Vec<Prefix> {
        let state = &self.engine.state;
        let is_known = |prefix: &Prefix| state.denies.contains_key(prefix) || state.tallies.get(prefix).is_some();
        prefixes.into_iter().filter(is_known).collect()
    }

    /// Whether a wider network is denied that holds the prefix.
    pub fn is_denied_wider(&self, prefix: &Prefix) -> bool {
        let mut wider = (0..prefix.bits()).map(|bits| Prefix::of(prefix.address(), bits));
        wider.any(|wider| self.engine.state.denies.contains_key(&wider))
    }

    /// The prefix by which an address is counted.
    pub fn counted_by(&self, address: IpAddr) -> Prefix {
        self.engine.policy.prefix(address.into())
    }
}
