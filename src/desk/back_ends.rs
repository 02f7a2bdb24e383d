//! The back ends of a configuration, with the database as what outlasts them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use inputs::record::Timestamp;

use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::deny::DenyBackend;
use crate::deny::choose::{self, Means, NoBackend};
use crate::deny::hosts_deny::{self, Form, HostsDeny};
use crate::deny::ledger::{self, Notes};
use crate::deny::nft::Lengths;
use crate::deny::places::{self, Place};
use crate::store::{Database, STOPPED, Store};

impl Notes for Database {
    fn read(&mut self, name: &str) -> Result<Option<String>, String> {
        self.note(name).map_err(|error| error.to_string())
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.set_note(name, text).map_err(|error| error.to_string())
    }

    fn forget(&mut self, name: &str) -> Result<(), String> {
        self.forget_note(name).map_err(|error| error.to_string())
    }
}

/// Makes the back ends of a configuration.
pub fn back_ends(config: &Config, store: &Store) -> Result<Vec<Box<dyn DenyBackend>>, NoBackend> {
    let notes = || notes(store);
    choose::make(&Means {
        settings: &config.deny,
        lengths: lengths(config),
        notes: &notes,
        lost: store.is_lost().map_err(|error| NoBackend::Lost(error.to_string()))?,
    })
}

/// Packets of single denies that were refused since the sets were last written: asked of the kernel here and now.
pub fn refused_of_each(config: &Config) -> Result<BTreeMap<Prefix, u64>, String> {
    choose::refused_of_each(&config.deny, lengths(config))
}

fn lengths(config: &Config) -> Lengths {
    Lengths { v4: config.decide.policy.ipv4_bits, v6: config.decide.policy.ipv6_bits }
}

/// A place, and whether all that was ours there is taken away.
pub type Taken = (String, Result<(), String>);

/// Takes away all that is ours in every place where something was ever written, whatever is configured now; what came of it
/// in each. Where the database is another's than root's, root changes no file that the configuration does not name.
pub fn take_away(config: &Config, store: &Store, now: Timestamp) -> Result<Vec<Taken>, String> {
    take_away_but(config, store, "", now)
}

/// The same but for one place, by its name.
pub fn take_away_but(config: &Config, store: &Store, spared: &str, now: Timestamp) -> Result<Vec<Taken>, String> {
    let take = |mut place: Place| {
        let done = place.take_away(now);
        (place.name, done)
    };
    // What is gone now no person deleted.
    store.database.set_note(STOPPED, "").map_err(|error| error.to_string())?;
    Ok(written(config, store)?.into_iter().filter(|place| place.name != spared).map(take).collect())
}

/// Takes away from the file of these settings in one step what is ours there, but for these entries. Where nothing was ever
/// written there that is nothing; where what was written is not known, all that has a comment of DenyHosts'.
pub fn leave_entries(
    store: &Store,
    settings: &hosts_deny::Settings,
    (entries, is_known): (&BTreeSet<String>, bool),
    now: Timestamp,
) -> Result<(), String> {
    let place = hosts_deny::place(&settings.path);
    let names = store.database.note_names().map_err(|error| error.to_string())?;
    if is_known && !names.contains(&ledger::note(&place)) {
        return Ok(());
    }
    let ledger = hosts_deny::ledger(&settings.path, notes(store)?)?;
    let form = Form { service: settings.service.clone(), stamped: None, adopt: !is_known };
    HostsDeny::new(settings.path.clone(), form, ledger).leave(entries, now).map_err(|error| error.to_string())
}

/// The places where something was written and where these back ends of a configuration do not write.
pub fn left(config: &Config, store: &Store, back_ends: &[Box<dyn DenyBackend>]) -> Result<Vec<Place>, String> {
    let used = choose::places(&config.deny, back_ends);
    Ok(written(config, store)?.into_iter().filter(|place| !used.contains(&place.name)).collect())
}

fn written(config: &Config, store: &Store) -> Result<Vec<Place>, String> {
    let names = store.database.note_names().map_err(|error| error.to_string())?;
    let may = |file: &Path| match store.of_another() {
        Some(uid) if file != config.deny.hosts_deny.path => Err(format!(
            "only the database says that denyd wrote there, which belongs to uid {uid}, so root changes nothing: name the file as \
             path in [deny.hosts_deny], or do it as that user: setpriv --reuid={uid} --clear-groups denyd off"
        )),
        _ => Ok(()),
    };
    places::written(&names, &may, &|| notes(store))
}

fn notes(store: &Store) -> Result<Box<dyn Notes>, String> {
    let database = store.notes().map_err(|error| error.to_string())?;
    Ok(Box::new(database))
}
