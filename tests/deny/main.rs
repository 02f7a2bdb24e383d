//! The back ends against the real thing: a kernel, real connections, and libwrap.
//!
//! Tests that need a network run themselves once more in a machine of their own, with a wire to a client (`world`); nothing
//! outside it is changed. They need root, `ip`, `nft`, `iptables`, `ipset` and `tcpdmatch`. What holds for all firewalls is
//! in `both`.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use denyd::decide::prefix::Prefix;
use denyd::decide::range::Range;
use denyd::deny::ledger::Notes;
use denyd::deny::{DenySet, Diff};
use inputs::record::Timestamp;

mod both;
mod cut;
mod edits;
mod elsewhere;
mod hosts_deny;
mod iptables;
mod libwrap;
mod nft;
mod reconciled;
mod world;

const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

/// Prefixes without end, and what is allowed: addresses, or prefixes as ranges.
fn set(denied: &str, allowed: &str) -> DenySet {
    let prefixes = |text: &str| text.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<Prefix>>();
    DenySet {
        denied: prefixes(denied).into_iter().map(|prefix| (prefix, None)).collect(),
        allowed: prefixes(allowed).into_iter().map(Range::from).collect(),
        ..DenySet::default()
    }
}

fn diff(want: &DenySet, denied: &str, released: &str) -> Diff {
    let prefixes = |text: &str| text.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<Prefix>>();
    let denied = prefixes(denied).into_iter().map(|prefix| (prefix, Some(want.denied[&prefix])));
    Diff {
        denies: prefixes(released).into_iter().map(|prefix| (prefix, None)).chain(denied).collect(),
        ..Diff::default()
    }
}

/// What outlasts a back end, as long as this value does.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    texts: BTreeMap<String, String>,
    /// Done at the next write.
    edit: Option<Box<dyn FnOnce() + Send>>,
}

impl Memory {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    fn notes(&self) -> Box<dyn Notes> {
        Box::new(self.clone())
    }
}

impl Notes for Memory {
    fn read(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.lock().texts.get(name).cloned())
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.lock().texts.insert(name.to_owned(), text.to_owned());
        if let Some(edit) = self.lock().edit.take() {
            edit();
        }
        Ok(())
    }

    fn forget(&mut self, name: &str) -> Result<(), String> {
        self.lock().texts.remove(name);
        Ok(())
    }
}

/// A directory that goes with this value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("denyd-t-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
